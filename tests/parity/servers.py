"""Two servers in miniature: a request as it stands on the wire, handed to an app by either protocol.

They do with it what real servers do, and no more: percent-decode the path (uvicorn: to text, with U+FFFD for what is
no UTF-8; PEP 3333: to bytes shown as Latin-1), join repeated headers where an environ has room for one, leave out names
with an underscore (gunicorn, waitress), take the chunks off a chunked body.  Cookies are joined by a semicolon, as
RFC 9113 section 8.2.3 wants it; gunicorn and waitress join those of HTTP/1.1 by a comma, where no client may repeat
them (RFC 6265 section 5.4) and no application can tell any more.
"""

from __future__ import annotations

import asyncio
import io
import itertools
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import unquote, unquote_to_bytes

from tests.transports import call_wsgi

TIMEOUT = 20
"""How many seconds an exchange may take before it counts as hanging."""


LEFT = "(left)"
"""The error of an answer that an app gave up, since its client is gone."""


@dataclass(frozen=True)
class Sent:
    """A request on the wire.

    `cut` tells that the client goes after `body`, before the end that it announced.  `splits` are the places in `body`
    between which an ASGI server hands it over in pieces.
    """

    target: bytes
    method: str = "GET"
    headers: tuple[tuple[bytes, bytes], ...] = ((b"host", b"testserver"),)
    body: bytes = b""
    cut: bool = False
    root_path: str = ""
    splits: tuple[int, ...] = ()

    @property
    def pieces(self) -> list[bytes]:
        """The body as it is handed over piece by piece."""
        places = [0, *sorted({place for place in self.splits if 0 < place < len(self.body)}), len(self.body)]
        return [self.body[start:end] for start, end in itertools.pairwise(places)]

    @property
    def chunked(self) -> bool:
        return any(name.lower() == b"transfer-encoding" for name, _ in self.headers)


@dataclass(frozen=True)
class Answer:
    """A response: the status, the headers in a fixed order, the body.

    `error` names the exception by which the application told its server that the response is cut short.
    """

    status: int
    headers: tuple[tuple[str, str], ...]
    body: bytes
    error: str = ""

    def header(self, name: str) -> list[str]:
        return [value for known, value in self.headers if known == name]


class _CutInput(io.RawIOBase):
    """A ``wsgi.input`` whose client is gone after `body`: a chunk breaks off, or the length is not reached."""

    def __init__(self, body: bytes, breaks: bool) -> None:
        super().__init__()
        self._body = io.BytesIO(body)
        self._breaks = breaks

    def read(self, size: int = -1) -> bytes:
        data = self._body.read(size)
        if not data and self._breaks:
            raise OSError("the client is gone")
        return data


def by_wsgi(app: Any, sent: Sent) -> Answer:
    """Have `app` answer by WSGI, under `wsgiref.validate` where that takes the request at all."""
    status, headers, chunks = call_wsgi(app, environ_of(sent), validate=_may_be_validated(sent))
    return Answer(int(status[:3]), tuple(sorted(_lower(headers))), b"".join(chunks))


def as_sent_by_wsgi(app: Any, sent: Sent, *, validate: bool = True) -> Answer:
    """Have `app` answer by WSGI; the headers stay in their order, and what the app raises is part of the answer.

    What a mounted app of others answers is passed on as it is, so `validate` is to be False there.
    """
    started: list[tuple[str, list[tuple[str, str]]]] = []
    chunks: list[bytes] = []
    error = ""
    try:
        validate = validate and _may_be_validated(sent)
        call_wsgi(app, environ_of(sent), validate=validate, started=started, chunks=chunks)
    except AssertionError:  # the validator's, or the transport's: the app does not keep to PEP 3333
        raise
    except Exception as failure:
        error = type(failure).__name__
    status, headers = started[-1] if started else ("000", [])
    return Answer(int(status[:3]), tuple(_lower(headers)), b"".join(chunks), error)


def environ_of(sent: Sent) -> dict[str, Any]:
    """Return what a WSGI server makes of a request."""
    path, _, query = sent.target.partition(b"?")
    decoded = unquote_to_bytes(path).decode("latin-1")
    environ: dict[str, Any] = {
        "REQUEST_METHOD": sent.method,
        "SCRIPT_NAME": sent.root_path.encode().decode("latin-1"),
        "PATH_INFO": decoded,
        "QUERY_STRING": query.decode("latin-1"),
        "SERVER_NAME": "servername",
        "SERVER_PORT": "8000",
        "SERVER_PROTOCOL": "HTTP/1.1",
        "REMOTE_ADDR": "127.0.0.1",
        "REMOTE_PORT": "50000",
        "wsgi.version": (1, 0),
        "wsgi.url_scheme": "http",
        "wsgi.input": _CutInput(sent.body, sent.chunked) if sent.cut else io.BytesIO(sent.body),
        "wsgi.errors": sys.stderr,
        "wsgi.multithread": True,
        "wsgi.multiprocess": False,
        "wsgi.run_once": False,
    }
    if sent.chunked:
        environ["wsgi.input_terminated"] = True
    put_headers(environ, sent.headers)
    return environ


def put_headers(environ: dict[str, Any], headers: Iterable[tuple[bytes, bytes]]) -> None:
    """Put headers into an environ as gunicorn does: names with underscores dropped, others of one name joined."""
    for raw_name, raw_value in headers:
        if b"_" in raw_name:
            continue
        key = raw_name.decode("latin-1").upper().replace("-", "_")
        if key not in ("CONTENT_TYPE", "CONTENT_LENGTH"):
            key = f"HTTP_{key}"
        value = raw_value.decode("latin-1")
        separator = "; " if key == "HTTP_COOKIE" else ","
        environ[key] = f"{environ[key]}{separator}{value}" if key in environ else value


def _may_be_validated(sent: Sent) -> bool:
    # The validator wants a path, and warns of methods that it does not know.
    return sent.target.startswith((b"/", b"%2F")) and sent.method in (
        *("GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PATCH"),
    )


def _lower(headers: list[tuple[str, str]]) -> Iterator[tuple[str, str]]:
    return ((name.lower(), value) for name, value in headers)


def by_asgi(app: Any, sent: Sent) -> Answer:
    """Have `app` answer by ASGI."""
    answer = asyncio.run(as_sent_by_asgi(app, sent))
    assert not answer.error
    return replace(answer, headers=tuple(sorted(answer.headers)))


async def as_sent_by_asgi(app: Any, sent: Sent) -> Answer:
    """Have `app` answer by ASGI; the headers stay in their order, and what the app raises is part of the answer.

    An app may leave a response unfinished, without an exception, where the client has gone.
    """
    events = [{"type": "http.request", "body": piece, "more_body": True} for piece in sent.pieces]
    if sent.cut:
        events.append({"type": "http.disconnect"})
    else:
        events[-1]["more_body"] = False
    messages: list[dict[str, Any]] = []

    async def receive() -> dict[str, Any]:
        if not events:
            await asyncio.Event().wait()
        return events.pop(0)

    async def send(message: dict[str, Any]) -> None:
        messages.append(message)

    error = ""
    try:
        await asyncio.wait_for(app(scope_of(sent), receive, send), TIMEOUT)
    except TimeoutError:
        raise
    except Exception as failure:
        error = type(failure).__name__
    if not messages:
        return Answer(0, (), b"", error or (LEFT if sent.cut else ""))
    start, *rest = messages
    assert start["type"] == "http.response.start"
    more = [bool(message.get("more_body")) for message in rest]
    if sent.cut and all(more):
        error = error or LEFT
    else:
        assert more == ([True] * len(rest) if error else [True] * (len(rest) - 1) + [False])
    headers = tuple((name.decode("latin-1"), value.decode("latin-1")) for name, value in start["headers"])
    return Answer(start["status"], headers, b"".join(message.get("body", b"") for message in rest), error)


def scope_of(sent: Sent) -> dict[str, Any]:
    """Return what an ASGI server makes of a request."""
    path, _, query = sent.target.partition(b"?")
    return {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.4"},
        "http_version": "1.1",
        "method": sent.method,
        "scheme": "http",
        "path": sent.root_path + unquote(path.decode("ascii")),
        "raw_path": sent.root_path.encode() + path,
        "query_string": query,
        "root_path": sent.root_path,
        "headers": [(name.lower(), value) for name, value in sent.headers],
        "client": ("127.0.0.1", 50000),
        "server": ("servername", 8000),
        "state": {},
    }
