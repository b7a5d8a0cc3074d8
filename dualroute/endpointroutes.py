"""The routes that end at an endpoint: Route for requests, WebSocketRoute for websockets."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from dualroute.callables import endpoint_name
from dualroute.convertors import Convertor
from dualroute.datastructures import URLPath
from dualroute.endpoints import http_handlers, websocket_handler
from dualroute.handlers import Handler
from dualroute.limits import Limits, checked_limits
from dualroute.matching import HTTP, WEBSOCKET, Entry
from dualroute.middleware import MiddlewareFunction, checked_middleware
from dualroute.paths import Template, quote_path
from dualroute.routes import BaseRoute
from dualroute.timeouts import checked_timeout

if TYPE_CHECKING:
    from dualroute.types import Endpoint, WebSocketHandler

__all__ = ["Route", "WebSocketRoute"]


# Routes by the thousand have but a few sets of methods between them.
_method_sets: dict[frozenset[str], frozenset[str]] = {}


class _EndpointRoute(BaseRoute):
    """A route that ends at an endpoint."""

    protocol = "http"

    def __init__(
        self, path: str, endpoint: Any, name: str | None, middleware: Sequence[MiddlewareFunction] | None
    ) -> None:
        self.path = path
        self.endpoint = endpoint
        self.template: Template = Template(path)
        self.name: str | None = endpoint_name(endpoint) if name is None else name
        self.middleware: tuple[MiddlewareFunction, ...] = checked_middleware(middleware, repr(self))
        self._pass_for_asgi()

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.path!r})"

    @property
    def param_convertors(self) -> dict[str, Convertor[Any]]:
        """The convertor of each path parameter."""
        return self.template.convertors

    def names(self) -> Iterator[str]:
        if self.name:
            yield self.name

    def signatures(self, name: str) -> Iterator[tuple[str, ...]]:
        if name == self.name:
            yield tuple(self.template.convertors)

    def reverse(self, name: str, params: Mapping[str, Any]) -> URLPath | None:
        if name != self.name or params.keys() != self.template.convertors.keys():
            return None
        return URLPath(quote_path(self.template.fill(params)), protocol=self.protocol)

    def reverse_args(self, name: str, args: tuple[Any, ...]) -> URLPath | None:
        if len(args) != len(self.template.convertors):
            return None
        return self.reverse(name, dict(zip(self.template.convertors, args, strict=True)))


class Route(_EndpointRoute):
    """A path whose requests an endpoint answers.

    Args:
        path: the path template, such as ``/users/{user_id:int}``.
        endpoint: a function taking the request, `def` or `async def` (or a partial, a bound method, an instance with
            ``__call__``), or an HTTPEndpoint class.
        methods: the HTTP methods it takes.  A function takes GET unless told otherwise; a class takes those it has a
            method for.  GET brings HEAD along.
        name: the name for reverse look-up; the endpoint's own name where it is None.
        include_in_schema: False to leave it out of generated schemas.
        middleware: generator middleware around this route alone, outermost first.
        limits: how much of a request is taken; the app's limits where it is None.
        sync_to_thread: False for a `def` that never blocks: it then runs on the event loop under ASGI, in no thread.
        timeout: how many seconds there are for the response to be there, after which the answer is 503; those of the
            app where it is None, and ``math.inf`` for any number (see `dualroute.timeouts`).

    Raises ValueError for a malformed path or method, or a timeout that is no positive number, and TypeError where the
    endpoint can't take the request and the path's parameters.
    """

    def __init__(
        self,
        path: str,
        endpoint: Endpoint,
        *,
        methods: Iterable[str] | None = None,
        name: str | None = None,
        include_in_schema: bool = True,
        middleware: Sequence[MiddlewareFunction] | None = None,
        limits: Limits | None = None,
        sync_to_thread: bool = True,
        timeout: float | None = None,
    ) -> None:
        super().__init__(path, endpoint, name, middleware)
        self.limits: Limits | None = checked_limits(limits, repr(self))
        self.timeout: float | None = checked_timeout(timeout, repr(self))
        self.include_in_schema = include_in_schema
        self.handlers: dict[str, Handler] = http_handlers(
            endpoint,
            methods,
            params=self.template.convertors,
            where=repr(self),
            inline=not sync_to_thread,
        )
        methods = frozenset(self.handlers)
        self.methods: frozenset[str] = _method_sets.setdefault(methods, methods)

    def entries(self) -> Iterator[Entry]:
        yield Entry(self, self.template, kinds=(HTTP,), methods=self.methods)

    def handler_for(self, method: str) -> Handler:
        """Return what answers `method`, one of `methods`."""
        return self.handlers[method]


class WebSocketRoute(_EndpointRoute):
    """A path whose websockets an endpoint serves: on ASGI only, since WSGI has none.

    Args:
        path: the path template.
        endpoint: an `async def` taking the websocket, or a WebSocketEndpoint class.
        name: the name for reverse look-up; the endpoint's own name where it is None.
        middleware: generator middleware around this route alone; those marked by `covers("websocket")` apply.
        limits: how large a message may be, and how long one is waited for; the app's limits where it is None.

    Raises ValueError for a malformed path, and TypeError where the endpoint is not `async def`, or can't take the
    websocket and the path's parameters.
    """

    protocol = "websocket"

    def __init__(
        self,
        path: str,
        endpoint: WebSocketHandler,
        *,
        name: str | None = None,
        middleware: Sequence[MiddlewareFunction] | None = None,
        limits: Limits | None = None,
    ) -> None:
        super().__init__(path, endpoint, name, middleware)
        self.limits: Limits | None = checked_limits(limits, repr(self))
        self.websocket_handler: Handler = websocket_handler(endpoint, params=self.template.convertors, where=repr(self))

    def entries(self) -> Iterator[Entry]:
        yield Entry(self, self.template, kinds=(WEBSOCKET,))
