"""A span of OpenTelemetry for each request (its semantic conventions, "HTTP server")."""

from __future__ import annotations

import re
from collections.abc import Callable, Generator, Sequence
from typing import TYPE_CHECKING, Any

from dualroute.exceptions import HTTPException
from dualroute.responses import Response

if TYPE_CHECKING:
    from dualroute.connection import HTTPConnection

__all__ = ["OpenTelemetryMiddleware"]

# The conventions have one name for every other method, so that a client can't make names up.
_METHODS = frozenset(("CONNECT", "DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT", "QUERY", "TRACE"))


class OpenTelemetryMiddleware:
    """Has a span around each request and each websocket, the child of the one that the client tells of.

    It is the current span for all that is further in, `def` and `async def` alike, and ends when the response is made:
    the time that a streamed body takes is not in it.  A span is named by the method and the path template of the route,
    which inside mounts is that of the innermost route.

    Args:
        tracer_provider: where spans go; the global one where it is None.
        excludes: returns True for a connection that is to have no span, such as a health check.
        excluded_urls: regular expressions, in a list or in one text with commas between them; where one is found in the
            absolute URL, there is no span either.

    Raises RuntimeError where the package opentelemetry-api is missing.
    """

    __covers__: frozenset[str] = frozenset(("http", "websocket"))

    def __init__(
        self,
        tracer_provider: Any = None,
        *,
        excludes: Callable[[HTTPConnection], bool] | None = None,
        excluded_urls: str | Sequence[str] = (),
    ) -> None:
        try:
            from opentelemetry import context, propagate, trace
        except ImportError:
            raise RuntimeError(
                "OpenTelemetryMiddleware needs the package opentelemetry-api: pip install 'dualroute[opentelemetry]'"
            ) from None
        self._context: Any = context
        self._propagate: Any = propagate
        self._trace: Any = trace
        self._tracer: Any = trace.get_tracer("dualroute", tracer_provider=tracer_provider)
        self._excludes = excludes
        patterns = excluded_urls.split(",") if isinstance(excluded_urls, str) else excluded_urls
        self._excluded_urls = [re.compile(pattern.strip()) for pattern in patterns if pattern.strip()]

    def __call__(self, connection: HTTPConnection) -> Generator[Any, Any, Response | None]:
        """Have a span around the connection."""
        response: Response | None
        if self._is_excluded(connection):
            response = yield connection
            return response
        trace = self._trace
        span = self._tracer.start_span(
            _name(connection),
            context=self._propagate.extract(dict(connection.headers)),
            kind=trace.SpanKind.SERVER,
            attributes=_attributes(connection),
        )
        token = self._context.attach(trace.set_span_in_context(span))
        try:
            response = yield connection
            if response is not None:
                span.set_attribute("http.response.status_code", response.status_code)
                if response.status_code >= 500:
                    span.set_attribute("error.type", str(response.status_code))
                    span.set_status(trace.StatusCode.ERROR)
            return response
        except Exception as error:
            if not isinstance(error, HTTPException):
                span.record_exception(error)
                span.set_attribute("error.type", type(error).__qualname__)
                span.set_attribute("http.response.status_code", 500)
                span.set_status(trace.StatusCode.ERROR, type(error).__name__)
            raise
        finally:
            self._context.detach(token)
            span.end()

    def _is_excluded(self, connection: HTTPConnection) -> bool:
        if self._excludes is not None and self._excludes(connection):
            return True
        return any(pattern.search(str(connection.url)) for pattern in self._excluded_urls)


def _method(connection: HTTPConnection) -> str:
    return connection.method if connection.method in _METHODS else "_OTHER"


def _route(connection: HTTPConnection) -> str | None:
    path = getattr(connection.route, "path", None)
    return path if isinstance(path, str) else None


def _name(connection: HTTPConnection) -> str:
    method = _method(connection).replace("_OTHER", "HTTP")
    route = _route(connection)
    return method if route is None else f"{method} {route or '/'}"


def _attributes(connection: HTTPConnection) -> dict[str, Any]:
    attributes: dict[str, Any] = {
        "http.request.method": _method(connection),
        "url.scheme": connection.scheme,
        "url.path": connection.path,
        "server.address": connection.target.host,
    }
    if connection.method not in _METHODS:
        attributes["http.request.method_original"] = connection.method
    port = connection.target.authority.rpartition(":")[2]
    if port.isdecimal():
        attributes["server.port"] = int(port)
    if (route := _route(connection)) is not None:
        attributes["http.route"] = route or "/"
    if connection.client is not None:
        attributes["client.address"] = connection.client.host
    if agent := connection.headers.get("user-agent"):
        attributes["user_agent.original"] = agent
    return attributes
