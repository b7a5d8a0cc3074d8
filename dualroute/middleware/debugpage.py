"""The page that shows an error in debug mode: the traceback with source lines and variables, as one piece of HTML.

Whatever comes from the program or the client is escaped.  A value that goes by a name such as ``password`` is not
shown, be it a variable, a header, or a part of something larger.
"""

from __future__ import annotations

import linecache
import re
from html import escape
from types import TracebackType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dualroute.connection import HTTPConnection

__all__ = ["debug_page", "masked"]

_SECRET = (
    r"pass(?:word|wd|phrase|code)?|pwd|secret|token|api_?-?key|access_?-?key|private_?-?key|secret_?-?key|signing_?-?key"
    r"|auth(?:orization|entication)?|credentials?|cookies?|session(?:_?-?id)?|signature|csrf|dsn"
)
# A name with one of these words in it, whichever way its words are put together.
_SECRET_NAME = re.compile(rf"(?:^|[^a-z])(?:{_SECRET})(?:s?$|[^a-z])|(?:password|secret|token|cookie)", re.IGNORECASE)
# The same within a text: a name, which is no longer than names are, perhaps quoted, a sign, and a value.
_SECRET_PAIR = re.compile(
    rf"""((?:\b|_)(?:{_SECRET})[\w-]{{0,40}}b?['"]?\s*(?:[:=]|,(?=\s*b?['"]))\s*)"""
    rf"""((?:(?:Bearer|Basic|Digest)\s+)?(?:b?'(?:[^'\\]|\\.)*'|b?"(?:[^"\\]|\\.)*"|[\[({{][^\])}}]*[\])}}]|[^\s,;)}}\]'"]+))""",
    re.IGNORECASE,
)
_URL_PASSWORD = re.compile(r"(://[^\s:/@'\"]*:)[^\s/@'\"]+(?=@)")
_MASK = "********"

_CONTEXT = 5
"""How many source lines are shown on either side."""
_VALUE_LIMIT = 1000
"""How many characters of a value are shown."""
_FRAMES = 60
"""How many frames of one exception are shown."""
_VARIABLES = 60

_STYLE = """
:root{color-scheme:light dark;--line:#8884;--mark:#f7c94844}
body{font:15px/1.5 system-ui,sans-serif;margin:0 auto;max-width:70em;padding:1.5em}
h1{font-size:1.4em;overflow-wrap:anywhere}h2{font-size:1.1em;margin-top:2em;overflow-wrap:anywhere}
pre,code,td,th{font-family:ui-monospace,monospace;font-size:13px}
pre{margin:0;overflow-x:auto;padding:.5em 0}pre b{background:var(--mark);display:block;font-weight:inherit}
details{border:1px solid var(--line);border-radius:4px;margin:.5em 0;padding:.4em .8em}summary{cursor:pointer}
table{border-collapse:collapse;width:100%}
th,td{border-top:1px solid var(--line);padding:.2em .6em;text-align:left;vertical-align:top}
th{white-space:nowrap;width:1%}td{overflow-wrap:anywhere;white-space:pre-wrap}
""".strip()


def masked(name: str, value: Any) -> str:
    """Return a value as text for people, hidden if it goes by the name of a secret, shortened if it is long."""
    if _SECRET_NAME.search(name):
        return _MASK
    # Looked through before it is cut, and not for ever.
    text = value if type(value) is _Shown else _described(value, 4)
    text = mask(text[: 10 * _VALUE_LIMIT])
    return text if len(text) <= _VALUE_LIMIT else f"{text[:_VALUE_LIMIT]}…"


def _described(value: Any, depth: int) -> str:
    """Return the repr of a value, without what goes by the name of a secret in mappings and pairs."""
    try:
        if isinstance(value, dict) and depth:
            items = [f"{key!r}: {_named(key, item, depth)}" for key, item in list(value.items())[:_VARIABLES]]
            return f"{{{', '.join(items)}{', …' if len(value) > _VARIABLES else ''}}}"
        if type(value) is tuple and len(value) == 2 and isinstance(value[0], str | bytes) and depth:
            return f"({value[0]!r}, {_named(value[0], value[1], depth)})"
        if type(value) in (list, tuple) and depth:
            items = [_described(item, depth - 1) for item in value[:_VARIABLES]]
            start, end = "[]" if type(value) is list else "()"
            return f"{start}{', '.join(items)}{', …' if len(value) > _VARIABLES else ''}{end}"
        if isinstance(value, str | bytes):
            value = value[: 10 * _VALUE_LIMIT]
        return mask(repr(value)[: 10 * _VALUE_LIMIT])
    except Exception as error:
        return f"<its repr raised {type(error).__name__}>"


def _named(name: Any, value: Any, depth: int) -> str:
    text = name.decode("latin-1") if isinstance(name, bytes) else str(name)
    return _MASK if _SECRET_NAME.search(text) else _described(value, depth - 1)


def mask(text: str) -> str:
    """Return a text without the values that go by the name of a secret in it."""
    return _URL_PASSWORD.sub(rf"\1{_MASK}", _SECRET_PAIR.sub(rf"\1{_MASK}", text))


class _Shown(str):
    """Text that is shown as it is, and not as Python would write it."""


def debug_page(connection: HTTPConnection, error: BaseException) -> str:
    """Return the page."""
    title = _title(error)
    head = f"<meta charset=utf-8><title>{_safe(title)}</title><meta name=robots content=none><style>{_STYLE}</style>"
    asked = f"{_safe(connection.method)} {_safe(mask(connection.path))}"
    parts = [
        f"<!doctype html><html lang=en><head>{head}</head><body>",
        f"<h1>{_safe(title)}</h1><p><code>{asked}</code></p>",
    ]
    for failure, why in _chain(error):
        if why:
            parts.append(f"<h2>{why} {_safe(_title(failure))}</h2>")
        parts.extend(_frames(failure.__traceback__))
    parts.append("<h2>Request</h2>")
    parts.append(_table([(name, _Shown(value)) for name, value in connection.headers.multi_items()]))
    parts.append(_table([(name, _Shown(value)) for name, value in connection.query_params.multi_items()]))
    parts.append("</body></html>")
    return "".join(parts)


def _safe(text: str) -> str:
    return escape(text.encode("utf-8", "backslashreplace").decode())


def _title(error: BaseException) -> str:
    name = type(error).__qualname__
    try:
        text = str(error)
    except Exception:
        text = "<its text can't be had>"
    text = mask(text[: 10 * _VALUE_LIMIT])[:_VALUE_LIMIT]
    return f"{name}: {text}" if text else name


def _chain(error: BaseException) -> list[tuple[BaseException, str]]:
    """Return an exception and those that led to it, each with how."""
    chain: list[tuple[BaseException, str]] = []
    seen: set[int] = set()
    current: BaseException | None = error
    why = ""
    while current is not None and id(current) not in seen and len(chain) < 20:
        seen.add(id(current))
        chain.append((current, why))
        if current.__cause__ is not None:
            current, why = current.__cause__, "Caused by"
        else:
            current, why = None if current.__suppress_context__ else current.__context__, "While handling"
    return chain


def _frames(traceback: TracebackType | None) -> list[str]:
    frames = []
    while traceback is not None:
        frames.append((traceback.tb_frame, traceback.tb_lineno))
        traceback = traceback.tb_next
    shown: list[str] = []
    # The innermost comes first, and is open.
    for frame, number in frames[::-1][:_FRAMES]:
        code = frame.f_code
        lines = []
        for at in range(max(1, number - _CONTEXT), number + _CONTEXT + 1):
            line = linecache.getline(code.co_filename, at, frame.f_globals).rstrip("\n")
            if line or at <= number:
                text = f"{at:5} {_safe(mask(line))}"
                lines.append(f"<b>{text}</b>" if at == number else f"{text}\n")
        variables = [(name, value) for name, value in frame.f_locals.items() if not name.startswith("__")]
        shown.append(
            f"<details{'' if shown else ' open'}><summary><code>{_safe(code.co_filename)}:{number}</code> in"
            f" <code>{_safe(code.co_name)}</code></summary><pre>{''.join(lines)}</pre>{_table(variables)}</details>"
        )
    return shown


def _table(rows: list[tuple[str, Any]]) -> str:
    if not rows:
        return ""
    cells = [f"<tr><th>{_safe(name)}<td>{_safe(masked(name, value))}" for name, value in rows[:_VARIABLES]]
    return f"<table>{''.join(cells)}</table>"
