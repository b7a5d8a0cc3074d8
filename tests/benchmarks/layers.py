"""Middleware of one protocol and no framework: each layer puts its header on the response, with nothing in between."""

from __future__ import annotations

from typing import Any

__all__ = ["ASGILayer", "WSGILayer"]


class ASGILayer:
    """A layer of ASGI middleware.

    Args:
        app: what it is around.
        name: of the header.
        value: of the header.
    """

    def __init__(self, app: Any, name: str, value: str) -> None:
        self.app = app
        self._header = (name.encode(), value.encode())

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        header = self._header

        async def send_with_header(message: Any) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message["headers"], header]
            await send(message)

        await self.app(scope, receive, send_with_header)


class WSGILayer:
    """A layer of WSGI middleware, with the same arguments."""

    def __init__(self, app: Any, name: str, value: str) -> None:
        self.app = app
        self._header = (name, value)

    def __call__(self, environ: Any, start_response: Any) -> Any:
        header = self._header

        def start_with_header(status: str, headers: Any, exc_info: Any = None) -> Any:
            return start_response(status, [*headers, header], exc_info)

        return self.app(environ, start_with_header)
