"""What servers of both protocols hand over for one and the same request, whatever bytes a client has sent."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import Any
from urllib.parse import unquote_to_bytes

from dualroute.types import Environ, Scope
from tests.parity.servers import put_headers

__all__ = ["environ_of", "scope_of"]

Pairs = Sequence[tuple[bytes, bytes]]


def scope_of(raw_path: bytes, headers: Pairs = (), query: bytes = b"", *, root: str = "", peer: str = "") -> Scope:
    """Return the scope of a GET request, as uvicorn makes it."""
    return {
        "type": "http",
        "method": "GET",
        "scheme": "http",
        "path": root + unquote_to_bytes(raw_path).decode("utf-8", "replace"),
        "raw_path": root.encode() + raw_path,
        "query_string": query,
        "root_path": root,
        "headers": [(name.lower(), value) for name, value in headers],
        "client": (peer, 1) if peer else None,
        "server": ("server.example", 80),
    }


def environ_of(raw_path: bytes, headers: Pairs = (), query: bytes = b"", *, root: str = "", peer: str = "") -> Environ:
    """Return the environ of the same request, as gunicorn makes it: names with underscores dropped, others joined."""
    environ: dict[str, Any] = {
        "REQUEST_METHOD": "GET",
        "SCRIPT_NAME": root.encode().decode("latin-1"),
        "PATH_INFO": unquote_to_bytes(raw_path).decode("latin-1"),
        "QUERY_STRING": query.decode("latin-1"),
        "SERVER_NAME": "server.example",
        "SERVER_PORT": "80",
        "SERVER_PROTOCOL": "HTTP/1.1",
        "wsgi.url_scheme": "http",
        "wsgi.input": io.BytesIO(),
    }
    if peer:
        environ["REMOTE_ADDR"], environ["REMOTE_PORT"] = peer, "1"
    put_headers(environ, headers)
    return environ
