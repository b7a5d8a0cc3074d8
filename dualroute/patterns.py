"""What can be told of a regular expression for paths without running it.

Two things are asked of the pattern of a rule: where in the index it belongs (`placements`), and what URL it stands for
(`template_of`).  Both are read off its tokens, of which only those that patterns for paths are made of are understood.
What is not understood is never guessed at: such a pattern stands early in the index, where it is tried more often than
it need be, and has no URL.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

from dualroute.paths import Literal, Pattern, Segment, Tail

__all__ = ["Token", "placements", "template_of", "tokens_of"]

TEXT = "text"
"""A character that stands for itself."""
GROUP = "group"
"""A capturing group."""
INSIDE = "inside"
"""Anything else that can't match a slash."""
START, END, OR = "start", "end", "or"
OTHER = "other"
"""What may match a slash, or is not understood."""

_QUANTIFIER = re.compile(r"(?:[*+?]|\{[0-9]+(?:,[0-9]*)?\}|\{,[0-9]+\})[?+]?")
_NAMED = re.compile(r"\?P<[^>]*>")
_CLASS_END = re.compile(r"\[\^?\]?(?:[^\]\\]|\\.)*\]", re.DOTALL)
_INSIDE_ESCAPES = frozenset("dwsbB")
_ANYTHING_WITHIN = Pattern("", re.compile("[^/]*").fullmatch, ())
_REST = Tail("", None, ())


class Token(NamedTuple):
    """A piece of a pattern.

    Args:
        kind: what it is.
        text: its source; for TEXT the character that it stands for.
        quantifier: how often it may repeat, as written, or nothing.
        may_hold_slash: True for a group that may match a slash.
    """

    kind: str
    text: str
    quantifier: str = ""
    may_hold_slash: bool = False


def tokens_of(pattern: str) -> list[Token] | None:
    """Return the pieces of a pattern, or None where not even their borders can be told."""
    try:
        return list(_tokens(pattern))
    except _NotUnderstood:
        return None


class _NotUnderstood(Exception):
    pass


def _tokens(pattern: str) -> Iterator[Token]:
    at = 0
    while at < len(pattern):
        token, at = _token(pattern, at)
        quantifier = _QUANTIFIER.match(pattern, at)
        if quantifier is not None:
            if token.kind in (START, END, OR):
                raise _NotUnderstood
            token, at = token._replace(quantifier=quantifier[0]), quantifier.end()
        yield token


def _token(pattern: str, at: int) -> tuple[Token, int]:
    character = pattern[at]
    if character == "\\":
        escaped = pattern[at + 1 : at + 2]
        if not escaped:
            raise _NotUnderstood
        if escaped.isalnum():
            return Token(INSIDE if escaped in _INSIDE_ESCAPES else OTHER, character + escaped), at + 2
        return Token(TEXT, escaped), at + 2
    if character == "[":
        match = _CLASS_END.match(pattern, at)
        if match is None:
            raise _NotUnderstood
        return Token(OTHER if _takes_slash(match[0]) else INSIDE, match[0]), match.end()
    if character == "(":
        end = _group_end(pattern, at)
        return _group(pattern[at + 1 : end - 1]), end
    if character in "*+?)":
        raise _NotUnderstood
    kind = {"^": START, "$": END, "|": OR, ".": OTHER, "{": OTHER}.get(character, TEXT)
    return Token(kind, character), at + 1


def _takes_slash(class_: str) -> bool:
    try:
        return re.match(class_, "/") is not None
    except re.error:
        raise _NotUnderstood from None


def _group_end(pattern: str, start: int) -> int:
    """Return where the group ends that opens at `start`."""
    depth, at = 0, start
    while at < len(pattern):
        character = pattern[at]
        if character == "\\":
            at += 1
        elif character == "[":
            match = _CLASS_END.match(pattern, at)
            if match is None:
                raise _NotUnderstood
            at = match.end() - 1
        elif pattern.startswith("(?#", at):
            raise _NotUnderstood
        elif character in "()":
            depth += 1 if character == "(" else -1
            if not depth:
                return at + 1
        at += 1
    raise _NotUnderstood


def _group(content: str) -> Token:
    kind, inner = GROUP, content
    if content.startswith("?"):
        named = _NAMED.match(content)
        if named is not None:
            inner = content[named.end() :]
        elif content.startswith("?:"):
            kind, inner = INSIDE, content[2:]
        else:
            return Token(OTHER, f"({content})")
    may_hold_slash = any(
        token.kind in (START, END, OTHER) or token.may_hold_slash or (token.kind == TEXT and token.text == "/")
        for token in _tokens(inner)
    )
    if kind == INSIDE and may_hold_slash:
        kind = OTHER
    return Token(kind, f"({content})", may_hold_slash=may_hold_slash)


def placements(regex: re.Pattern[str]) -> list[tuple[Segment, ...]] | None:
    """Return the segments of every path that `regex` may match from its start, or None where they can't be told.

    A path that fits none of the returned ones does not match; one that does fit may match or not.  Literals are
    compared with the path as the regex sees it.  There is more than one where the last slash is optional.
    """
    if regex.flags & ~re.UNICODE:
        return None
    tokens = tokens_of(regex.pattern)
    if tokens is None or any(token.kind == OR for token in tokens):
        return None
    if tokens and tokens[0].kind == START:
        del tokens[0]
    if not tokens or tokens[0] != Token(TEXT, "/"):
        return None
    segments: list[Segment] = []
    text: str | None = ""
    for index, token in enumerate(tokens[1:], 1):
        if token.kind == END and index == len(tokens) - 1:
            return [(*segments, _segment(text))]
        if token == Token(TEXT, "/"):
            segments.append(_segment(text))
            text = ""
        elif token.kind == TEXT and token.text == "/":
            if token.quantifier == "?" and [later.kind for later in tokens[index + 1 :]] == [END]:
                return [(*segments, _segment(text)), (*segments, _segment(text), Literal(""))]
            break
        elif token.kind == TEXT and not token.quantifier:
            text = None if text is None else text + token.text
        elif token.kind in (TEXT, INSIDE) or (token.kind == GROUP and not token.may_hold_slash):
            text = None
        else:
            break
    # From here on anything may follow: there is no `$`, or something may match a slash.
    return [(*segments, _REST)]


def _segment(text: str | None) -> Segment:
    return _ANYTHING_WITHIN if text is None else Literal(text)


def template_of(regex: re.Pattern[str]) -> list[str | None]:
    """Return what `regex` matches, with None in the place of each capturing group.

    An optional character counts as there, and a dot as itself.

    Raises ValueError, quoting the pattern, where what is outside its groups matches more than one text.
    """
    tokens = None if regex.flags & re.VERBOSE else tokens_of(regex.pattern)
    if tokens is None:
        raise _irreversible(regex, "it is too involved")
    if tokens and tokens[0].kind == START:
        del tokens[0]
    if tokens and tokens[-1].kind == END:
        del tokens[-1]
    parts: list[str | None] = []
    for token in tokens:
        if token.kind == TEXT and token.quantifier in ("", "?"):
            parts.append(token.text)
        elif token.kind == OTHER and token.text == "." and not token.quantifier:
            parts.append(".")
        elif token.kind == GROUP and not token.quantifier:
            parts.append(None)
        elif token.kind == GROUP:
            raise _irreversible(regex, f"the group {token.text} repeats or is optional ({token.quantifier})")
        elif token.kind == OR:
            raise _irreversible(regex, "it has alternatives outside its groups")
        else:
            raise _irreversible(regex, f"{token.text + token.quantifier!r} is not in a group")
    if parts.count(None) != regex.groups:
        raise _irreversible(regex, "it has groups inside of groups")
    return parts


def _irreversible(regex: re.Pattern[str], why: str) -> ValueError:
    return ValueError(f"the pattern {regex.pattern!r} can't be turned into a URL: {why}")
