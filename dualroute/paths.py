"""Path templates: ``/users/{user_id:int}.json`` parsed once, to be matched by the index and filled for a URL.

A template is cut at its slashes into segments, since the index walks a path segment by segment.  There are five
kinds, from cheap to dear:

`Literal`
    text that must be there;
`Whole`
    one ``str`` parameter that is the whole segment: any text but none;
`Digits`
    one parameter that is the whole segment, which is ASCII digits: that of ``int``;
`Pattern`
    anything else that stays within one segment: a typed parameter, text beside parameters, several parameters;
`Tail`
    the first segment that a parameter may leave (``{rest:path}``) together with all that follows it, matched by one
    regular expression against the rest of the path.

Matching is on the decoded path (PEP 3333 and ASGI both hand that over), so a template is written decoded:
``/café``, not ``/caf%C3%A9``.  Filling a template percent-encodes (RFC 3986 section 3.3).
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any, NamedTuple, TypeAlias
from urllib.parse import quote

from dualroute.callables import describe
from dualroute.convertors import CONVERTOR_TYPES, Convertor, IntegerConvertor, PathConvertor, StringConvertor

__all__ = [
    "Digits",
    "Literal",
    "Parameter",
    "Pattern",
    "Segment",
    "Tail",
    "Template",
    "Whole",
    "compile_path",
    "nearest",
    "printable",
    "quote_path",
]

_BRACES = re.compile(r"\{([^{}]*)\}")
_SPECIFICATION = re.compile(r"([^\W\d]\w*)(?::([^\W\d]\w*))?")
# A regex made of these pieces alone can't match a slash.  Whatever else a regex holds (a dot, a negated class, an
# escape, a range between punctuation) might, and is then matched as a Tail: slower, never wrong.
_WITHIN_SEGMENT = re.compile(
    r"""(?: [A-Za-z0-9_:;,=@~ -]            # a letter and the like stands for itself
          | \\[dwbBAZ.+*?()\[\]{}|^$-]      # an escape that can't be a slash
          | [(){}|?*+^$]                    # grouping, repeating, anchors
          | \[(?!\^)(?:[A-Za-z0-9]-[A-Za-z0-9] | \\[dw.-] | [A-Za-z0-9_.:;,=@~ ])*-?\]   # a class of such
        )*""",
    re.VERBOSE,
)


class Parameter(NamedTuple):
    """A named hole in a template."""

    name: str
    convertor: Convertor[Any]


class Literal(NamedTuple):
    """A segment that is exactly this text."""

    text: str


class Whole(NamedTuple):
    """A segment that is one ``str`` parameter."""


class Digits(NamedTuple):
    """A segment that is one parameter made of digits; `fullmatch` tells the same as `isdigit` and `isascii` do."""

    fullmatch: Callable[[str], re.Match[str] | None]


class Pattern(NamedTuple):
    """A segment matched by a regular expression; `groups` are the numbers of the parameters' groups.

    `alone` tells that a parameter is all that there is to it.
    """

    source: str
    fullmatch: Callable[[str], re.Match[str] | None]
    groups: tuple[int, ...]
    alone: bool = False


class Tail(NamedTuple):
    """The rest of a path.  `fullmatch` is None where it is a single ``{name:path}``, which takes anything."""

    source: str
    fullmatch: Callable[[str], re.Match[str] | None] | None
    groups: tuple[int, ...]


Segment: TypeAlias = Literal | Whole | Digits | Pattern | Tail


def quote_path(path: str) -> str:
    """Percent-encode a decoded path, leaving what RFC 3986 lets stand in one (pchar and the slash)."""
    return quote(path, safe="/!$&'()*+,;=:@~")


def printable(path: str) -> str:
    """Return a decoded path as it may stand in a log: percent-encoded where it has line breaks or the like in it."""
    return path if path.isprintable() else quote_path(path)


def nearest(name: str, candidates: list[str]) -> str:
    """Return a sentence end that suggests the nearest of `candidates`, or nothing where none is near."""
    close = difflib.get_close_matches(name, candidates, n=1)
    return f"; did you mean {close[0]!r}?" if close else ""


class Template:
    """A parsed path template, or a host template (which has no slashes and no leading one).

    Args:
        source: the template as written.
        prefix: True for the path of a Mount, which may be empty and loses its trailing slash.
        host: True for a host template.

    Raises ValueError, quoting the template, for a path without a leading slash, a brace that is no parameter, an
    unknown convertor, a parameter name that is repeated, or a convertor regex that does not compile in its place.
    """

    __slots__ = ("convertors", "parts", "segments", "source")

    def __init__(self, source: str, *, prefix: bool = False, host: bool = False) -> None:
        require_str(source, "host" if host else "path")
        if not host and not source.startswith("/") and not (prefix and source == ""):
            raise ValueError(f"a path must start with a slash: {source!r}")
        self.source: str = source.rstrip("/") if prefix else source
        parts = _parse(self.source)
        if host:  # names of hosts are the same in either case (RFC 3986 section 3.2.2)
            parts = [part.lower() if isinstance(part, str) else part for part in parts]
        self.parts: tuple[str | Parameter, ...] = tuple(parts)
        self.convertors: dict[str, Convertor[Any]] = {
            part.name: part.convertor for part in self.parts if isinstance(part, Parameter)
        }
        try:
            self.segments: tuple[Segment, ...] = _segments(self.parts, within_host=host)
        except re.error as error:
            raise ValueError(f"a convertor's regex does not fit into {source!r}: {error}") from error

    def __repr__(self) -> str:
        return f"Template({self.source!r})"

    def fill(self, params: Mapping[str, Any]) -> str:
        """Return the template with its parameters replaced, not percent-encoded.

        Raises KeyError for a parameter that `params` lacks, and ValueError for a value that its convertor refuses.
        """
        filled = []
        for part in self.parts:
            if isinstance(part, str):
                filled.append(part)
                continue
            try:
                filled.append(part.convertor.to_string(params[part.name]))
            except (ValueError, TypeError, AttributeError, AssertionError) as error:
                # AssertionError: convertors written for Starlette refuse a value by assert.
                raise ValueError(f"parameter {part.name!r} of {self.source!r}: {error}") from error
        return "".join(filled)


def require_str(source: Any, what: str) -> None:
    """Raise TypeError unless a path or a host is a str; most often the arguments stand the wrong way round then."""
    if not isinstance(source, str):
        shown = describe(source) if callable(source) else repr(source)
        raise TypeError(f"a {what} is a str, and comes first; {shown} is none")


def _parse(source: str) -> list[str | Parameter]:
    parts: list[str | Parameter] = []
    seen: set[str] = set()
    position = 0
    for match in _BRACES.finditer(source):
        if match.start() > position:
            parts.append(source[position : match.start()])
        position = match.end()
        specification = _SPECIFICATION.fullmatch(match[1])
        if specification is None or not specification[1].isidentifier():  # which a letter is not in each of its forms
            raise ValueError(
                f"{match[0]!r} in {source!r} is no parameter: write {{name}} or {{name:convertor}}, "
                "where both are identifiers"
            )
        name, kind = specification[1], specification[2] or "str"
        if name in seen:
            raise ValueError(f"parameter {name!r} is repeated in {source!r}")
        seen.add(name)
        if kind not in CONVERTOR_TYPES:
            known = sorted(CONVERTOR_TYPES)
            raise ValueError(
                f"unknown convertor {kind!r} in {source!r}{nearest(kind, known)} "
                f"(registered: {', '.join(known)}; see register_url_convertor)"
            )
        parts.append(Parameter(name, CONVERTOR_TYPES[kind]))
    if position < len(source):
        parts.append(source[position:])
    for part in parts:
        if isinstance(part, str) and ("{" in part or "}" in part):
            raise ValueError(f"unbalanced brace in {source!r}")
    return parts


def _segments(parts: tuple[str | Parameter, ...], *, within_host: bool) -> tuple[Segment, ...]:
    """Cut the parts of a template at its slashes; the leading slash is left out."""
    cut: list[list[str | Parameter]] = [[]]
    for part in parts:
        if isinstance(part, str):
            first, *rest = part.split("/")
            if first:
                cut[-1].append(first)
            cut.extend([text] if text else [] for text in rest)
        else:
            cut[-1].append(part)
    if not within_host:
        del cut[0]  # what stands before the leading slash: nothing
    segments: list[Segment] = []
    for index, pieces in enumerate(cut):
        if any(isinstance(piece, Parameter) and not _stays_within_segment(piece.convertor) for piece in pieces):
            segments.append(_tail(cut[index:]))
            break
        segments.append(_segment(pieces))
    return tuple(segments)


def _stays_within_segment(convertor: Convertor[Any]) -> bool:
    # `[^/]+` is the one negated class known to be safe, and that of the default convertor.
    return convertor.regex == StringConvertor.regex or _WITHIN_SEGMENT.fullmatch(convertor.regex) is not None


def _segment(pieces: list[str | Parameter]) -> Segment:
    if not pieces:
        return _literal("")
    if len(pieces) == 1:
        piece = pieces[0]
        if isinstance(piece, str):
            return _literal(piece)
        if piece.convertor.regex == StringConvertor.regex:
            return _WHOLE
        if piece.convertor.regex == IntegerConvertor.regex:
            return _DIGITS
    source, groups, fullmatch = _compile([pieces])
    return Pattern(source, fullmatch, groups, len(pieces) == 1)


# The same few words stand in the paths of a table again and again.
_literal = lru_cache(1024)(Literal)
_WHOLE = Whole()
_DIGITS = Digits(re.compile(IntegerConvertor.regex).fullmatch)


def _tail(cut: list[list[str | Parameter]]) -> Tail:
    source, groups, fullmatch = _compile(cut)
    takes_anything = len(cut) == 1 and len(cut[0]) == 1 and source == f"(?P<_0>{PathConvertor.regex})"
    return Tail(source, None if takes_anything else fullmatch, groups)


def _compile(
    cut: list[list[str | Parameter]],
) -> tuple[str, tuple[int, ...], Callable[[str], re.Match[str] | None]]:
    # The groups are named by position, not by parameter, so that equal segments share an edge of the index; and
    # they are looked up by number afterwards, since a convertor's regex may hold groups of its own.
    count = 0
    texts = []
    for pieces in cut:
        text = ""
        for piece in pieces:
            if isinstance(piece, str):
                text += re.escape(piece)
            else:
                text += f"(?P<_{count}>{piece.convertor.regex})"
                count += 1
        texts.append(text)
    source = "/".join(texts)
    # DOTALL: a newline is a character of a path like any other.
    pattern = re.compile(source, re.DOTALL)
    return source, tuple(pattern.groupindex[f"_{number}"] for number in range(count)), pattern.fullmatch


def compile_path(path: str) -> tuple[re.Pattern[str], str, dict[str, Convertor[Any]]]:
    r"""Return a path template as one regular expression, as a format string, and as its convertors by name.

    Routes are matched by segments and not by this; it is for code that wants a template for itself.

    Args:
        path: the template.  One without a leading slash is that of a host, whose port is left out of the expression.

    Returns for ``/users/{user_id:int}`` the expression ``^/users/(?P<user_id>[0-9]+)\Z``, which is for the decoded
    path, the format ``/users/{user_id}``, and the convertor of ``user_id``.

    Raises ValueError for what is no template.
    """
    host = bool(path) and not path.startswith("/")
    convertors = Template(path, prefix=not path, host=host).convertors  # which refuses what is none
    matched = re.sub(r":[0-9]+\Z", "", path) if host else path
    source = "".join(
        re.escape(part) if isinstance(part, str) else f"(?P<{part.name}>{part.convertor.regex})"
        for part in _parse(matched)
    )
    path_format = "".join(part if isinstance(part, str) else f"{{{part.name}}}" for part in _parse(path))
    flags = re.DOTALL | re.IGNORECASE if host else re.DOTALL
    return re.compile(rf"^{source}\Z", flags), path_format, dict(convertors)
