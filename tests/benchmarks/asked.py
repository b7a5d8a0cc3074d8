"""What is asked of every candidate, and what each module of candidates says that it has."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from typing import Any
from urllib.parse import urlencode

from tests.benchmarks.harness import Answer, App

__all__ = [
    "ASYNC",
    "CLASS",
    "DEF",
    "DOCUMENT",
    "ECHO",
    "FIELD",
    "FORM",
    "FORM_BODY",
    "HELLO",
    "JSON",
    "LAST",
    "LAYERED",
    "LAYERS",
    "MANY",
    "MIDDLEWARE",
    "NOT_ALLOWED",
    "NOT_FOUND",
    "PATHS",
    "TEXT",
    "USER",
    "WRONG_METHOD",
    "WRONG_PATH",
    "Candidates",
    "Maker",
    "dumps",
]

Maker = Callable[[ExitStack], App]
"""Returns a candidate.  What it needs to have closed goes on the stack."""

Candidates = Mapping[str, Mapping[str, Maker]]
"""By what is asked, as named below, the candidates for it by name.  Who has no such thing leaves it out."""

ASYNC = "hello, async def"
DEF = "hello, def"
CLASS = "class endpoint"
JSON = "one parameter, JSON"
ECHO = "1 KiB JSON echo"
MIDDLEWARE = "five middleware layers"
WRONG_PATH = "404"
WRONG_METHOD = "405"
FORM = "10 KiB form"
MANY = "last of 1,000 routes"

TEXT = "hello, world"
HELLO = Answer(200, TEXT.encode())
USER = Answer(200, b'{"id":42}')
NOT_FOUND = Answer(404, b"Not Found")
NOT_ALLOWED = Answer(405, b"Method Not Allowed")

LAYERS = tuple((f"x-layer-{number}", str(number)) for number in range(1, 6))
"""The header that each layer of middleware puts on the response, outside in: the least by which it can be seen."""

LAYERED = Answer(HELLO.status, HELLO.body, frozenset(name for name, _ in LAYERS))

PATHS = [
    path
    for index in range(500)
    for path in (f"/api/v1/resource{index}", f"/api/v1/resource{index}/{{id:int}}/items/{{name}}")
]
"""A thousand routes of REST shape, as dualroute, Starlette and Falcon spell them alike."""

LAST = "/api/v1/resource499/7/items/pen"


def dumps(value: Any) -> str:
    """Return a value as JSON without spaces, as everybody shall write it."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


DOCUMENT = dumps(
    {
        "id": 1234567,
        "name": "Größe und Maß",
        "active": True,
        "parent": None,
        "price": 12.75,
        "tags": ["one", "two", "three"],
        "rows": [{"row": row, "label": f"label of row {row}", "done": row % 2 == 0} for row in range(18)],
    }
).encode()
"""What is read, parsed, written again and sent back: 1 KiB."""

FIELD = "field50"
FORM_VALUE = ("a few words " * 8)[:93]
FORM_BODY = urlencode({f"field{index:02}": FORM_VALUE for index in range(100)}).encode()
"""A form of a hundred fields of some hundred bytes, of which `FIELD` is to be sent back."""
