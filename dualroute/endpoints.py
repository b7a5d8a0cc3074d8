"""Class endpoints: a method per HTTP verb, or per websocket event.

An endpoint class is named in a route as the class itself, and each request gets an instance of its own.  The class
is also an app on both protocols, to be handed to a server as it stands: ``uvicorn module:App``,
``gunicorn module:App``.  It follows PEP 3333's own pattern for that, a class whose instances are the response: they
are iterable (WSGI) and awaitable (ASGI).
"""

from __future__ import annotations

import functools
import inspect
import logging
import re
from collections.abc import Callable, Collection, Generator, Iterable, Iterator, Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from dualroute.callables import arguments_for, describe, is_async_callable
from dualroute.exceptions import WebSocketDisconnect, WebSocketException
from dualroute.handlers import Handler
from dualroute.serving import wrong_call
from dualroute.types import Receive, Scope, Send
from dualroute.websockets import MalformedMessage, WebSocket, WebSocketState, decode_json_message

if TYPE_CHECKING:
    from dualroute.routing import Router

__all__ = ["HTTPEndpoint", "WebSocketEndpoint"]

METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "QUERY")
"""The HTTP methods that an endpoint class may have methods for."""

_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")

logger: logging.Logger = logging.getLogger("dualroute")


def _initialize(self: Any) -> None:
    pass


class _EndpointClass:
    """The base of both kinds: what makes the class an app."""

    connection: Any = None
    """The request or websocket that this instance is for."""

    _served: tuple[Any, ...] = ()
    _response: Any = None

    def __init__(self, *served: Any, **kwargs: Any) -> None:
        if served:
            self._served = served
            if len(served) == 2 and isinstance(served[0], dict) and "REQUEST_METHOD" in served[0]:
                self._response = type(self)._router().wsgi(*served)
            elif len(served) != 3:
                raise TypeError(wrong_call(self, list(served)))
        elif kwargs or type(self).initialize is not _initialize:
            self.initialize(**kwargs)

    initialize: Callable[..., None] = _initialize
    """Override this to take what a rule has in its `target_kwargs`, by name; it is called for each request."""

    @classmethod
    def maker(cls) -> Callable[[], Any]:
        """Return what makes an instance for a request that has no arguments for it."""
        plain = type(cls) is type and cls.__init__ is _EndpointClass.__init__
        if plain and cls.initialize is _initialize:
            return functools.partial(cls.__new__, cls)  # there is nothing to initialize
        return cls

    @classmethod
    def _router(cls) -> Router:
        """Return a router that leads every path to this class; made once for each class."""
        router: Router | None = cls.__dict__.get("_own_router")
        if router is None:
            from dualroute.routing import Router

            router = Router(default=cls)
            cls._own_router = router  # type: ignore[attr-defined]  # kept on the class it is for
        return router

    @property
    def scope(self) -> Scope:
        """The ASGI connection scope; over WSGI, the one that the environ amounts to."""
        scope: Scope = self.connection.scope if self.connection is not None else self._served[0]
        return scope

    def __await__(self) -> Generator[Any, Any, None]:
        return type(self)._router().asgi(*self._served).__await__()  # type: ignore[no-any-return]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve as an ASGI app.  Hypercorn finds by this coroutine function that the class is one."""
        await type(self)._router().asgi(scope, receive, send)

    def __iter__(self) -> Iterator[bytes]:
        return iter(self._response)

    def close(self) -> None:
        """Close the response, as PEP 3333 has the server do."""
        if hasattr(self._response, "close"):
            self._response.close()


class HTTPEndpoint(_EndpointClass):
    """An endpoint with a method for each HTTP verb it answers: get, head, post, put, patch, delete, options, query.

    Each is `def` or `async def`, as suits it, and takes the request and, if it wants them, the path's parameters by
    name.  Verbs without a method are answered 405; HEAD is answered by `get`.
    """

    sync_to_thread: ClassVar[bool] = True
    """False for a class whose `def` methods never block: under ASGI they then run on the event loop."""


class WebSocketEndpoint(_EndpointClass):
    """An endpoint with a method for each websocket event.

    Each is `async def` and gets the WebSocket, or `def` and gets a SyncWebSocket: it then runs in a thread of the pool.
    A session's methods run one after the other.
    """

    encoding: ClassVar[Literal["text", "bytes", "json"] | str | None] = None
    """What `on_receive` is given: "text", "bytes", "json" (parsed), or None for whichever came.

    Data of another kind, or JSON that does not parse, closes the websocket with 1003.
    """

    subprotocols: ClassVar[Collection[str]] = ()
    """What the endpoint speaks, the one that it likes best first; the first that the peer offers is accepted."""

    if TYPE_CHECKING:
        # For a type checker they are of either colour, and take a websocket of either.

        def on_connect(self, websocket: Any, *args: Any, **path_params: Any) -> Any:
            """Accept the handshake, or refuse it by closing.

            Path parameters come by name; those of a rule that have no names come by position.
            """

        def on_receive(self, websocket: Any, data: Any) -> Any:
            """Take a message."""

        def on_disconnect(self, websocket: Any, close_code: int) -> Any:
            """Clean up after the session, however it ended.

            Args:
                websocket: the websocket, closed by now.
                close_code: the code it was closed with: by the peer, or by a WebSocketException (1003 for data that was
                    refused), or 1011 after another exception.
            """

    else:

        async def on_connect(self, websocket: WebSocket, *path_args: Any, **path_params: Any) -> None:
            await websocket.accept(websocket.choose_subprotocol(self.subprotocols))

        async def on_receive(self, websocket: WebSocket, data: Any) -> None:
            pass

        async def on_disconnect(self, websocket: WebSocket, close_code: int) -> None:
            pass

    async def dispatch(self, websocket: WebSocket) -> None:
        """Serve one session: connect, receive until it ends, disconnect."""
        path_params = arguments_for(self.on_connect, websocket.path_params)
        await self._tell(self.on_connect, websocket, *websocket.path_args, **path_params)
        if websocket.application_state is not WebSocketState.CONNECTED:
            return  # the handshake was refused
        close_code = 1011
        try:
            while True:
                message = await websocket.receive()
                if message["type"] != "websocket.receive":
                    close_code = int(message.get("code") or 1000)
                    return
                await self._tell(self.on_receive, websocket, await self.decode(websocket, message))
        except WebSocketDisconnect as gone:
            close_code = gone.code
        except WebSocketException as error:
            close_code = error.code
            if isinstance(error, MalformedMessage):
                logger.warning("websocket %s closed with %d: %s", websocket.printable_path, error.code, error.reason)
            raise
        finally:
            await self._tell(self.on_disconnect, websocket, close_code)

    async def _tell(self, method: Any, websocket: WebSocket, *args: Any, **path_params: Any) -> None:
        if is_async_callable(method):
            await method(websocket, *args, **path_params)
            return
        from dualroute.syncwebsockets import SyncWebSocket

        await websocket.in_thread(functools.partial(method, SyncWebSocket.over(websocket), *args, **path_params))

    async def decode(self, websocket: WebSocket, message: Any) -> Any:
        """Return the data in a message, as `encoding` has it.  Raises MalformedMessage.

        Override this for an encoding of your own.
        """
        text: str | None = message.get("text")
        data: bytes | None = message.get("bytes")
        if self.encoding is None:
            return text if text is not None else data
        if self.encoding == "json":
            return decode_json_message(text if text is not None else data)
        wanted = text if self.encoding == "text" else data
        if wanted is None:
            raise MalformedMessage(f"expected {self.encoding} messages")
        return wanted


def http_handlers(
    endpoint: Any,
    methods: Iterable[str] | None,
    *,
    params: Collection[str],
    where: str,
    inline: bool = False,
    make: Callable[..., Handler] | None = None,
) -> dict[str, Handler]:
    """Return the handler of each HTTP method that `endpoint` answers; the method ``*`` stands for any.

    `make` is called in place of Handler, for each function there is, by who makes the class with arguments.

    Raises TypeError for what can't be an endpoint or can't take `params`, and ValueError for a malformed method.
    """
    wanted = None if methods is None else checked_methods(methods, where)
    if isinstance(endpoint, type):
        if not issubclass(endpoint, HTTPEndpoint):
            raise TypeError(f"{where}: {describe(endpoint)} is a class, but no HTTPEndpoint")
        if make is None:
            check_initialize(endpoint, {}, where)
        return _class_handlers(endpoint, wanted, params, where, inline, make or Handler)
    if isinstance(endpoint, _EndpointClass):
        raise TypeError(f"{where}: name the class {describe(type(endpoint))} itself, not an instance of it")
    if not callable(endpoint):
        raise TypeError(f"{where}: an endpoint is a function or an HTTPEndpoint class, not {endpoint!r}")
    _refuse_generators(endpoint, where)
    handler = (make or Handler)(endpoint, params=params, where=where, inline=inline)
    handlers = dict.fromkeys(wanted or ("GET",), handler)
    if "GET" in handlers:
        handlers["HEAD"] = handler
    return handlers


def _class_handlers(
    endpoint: type[HTTPEndpoint],
    wanted: list[str] | None,
    params: Collection[str],
    where: str,
    inline: bool,
    make: Callable[..., Handler],
) -> dict[str, Handler]:
    handlers: dict[str, Handler] = {}
    for method in METHODS:
        function = getattr(endpoint, method.lower(), None)
        if function is None or (wanted is not None and method not in wanted):
            continue
        _refuse_generators(function, where)
        handlers[method] = make(
            function, params=params, where=where, inline=inline or not endpoint.sync_to_thread, owner=endpoint
        )
    if "GET" in handlers:
        handlers.setdefault("HEAD", handlers["GET"])
    missing = [method for method in wanted or () if method not in handlers]
    if missing:
        raise TypeError(f"{where}: {describe(endpoint)} has no method for {', '.join(missing)}")
    if not handlers:
        raise TypeError(f"{where}: {describe(endpoint)} has no method for any HTTP verb ({', '.join(METHODS).lower()})")
    return handlers


def websocket_handler(
    endpoint: Any, *, params: Collection[str], where: str, made_with: Mapping[str, Any] | None = MappingProxyType({})
) -> Handler:
    """Return the handler of a websocket endpoint.  Raises TypeError for what can't be one or can't take `params`.

    `made_with` is what a class is made with, or None where that is looked at elsewhere.
    """
    if isinstance(endpoint, type):
        if not issubclass(endpoint, WebSocketEndpoint):
            raise TypeError(f"{where}: {describe(endpoint)} is a class, but no WebSocketEndpoint")
        if made_with is not None:
            check_initialize(endpoint, made_with, where)
        if endpoint.encoding not in (None, "text", "bytes", "json"):
            raise TypeError(
                f"{where}: the encoding of {describe(endpoint)} is None, 'text', 'bytes' or 'json',"
                f" not {endpoint.encoding!r}"
            )
        # Made only to have refused what can't take its arguments.
        for name in ("on_connect", "on_receive", "on_disconnect"):
            method = getattr(endpoint, name)
            if inspect.isgeneratorfunction(method) or inspect.isasyncgenfunction(method):
                raise TypeError(f"{where}: {describe(method)} is a generator; a websocket method returns none")
            if name != "on_connect":
                Handler(method, where=where, skip=3)
        Handler(endpoint.on_connect, params=params, where=where, owner=endpoint)
        if isinstance(endpoint.subprotocols, str):
            raise TypeError(
                f"{where}: the subprotocols of {describe(endpoint)} are a list of names, not the string"
                f" {endpoint.subprotocols!r}"
            )
        return Handler(endpoint.dispatch, where=where, owner=endpoint)
    if isinstance(endpoint, _EndpointClass):
        raise TypeError(f"{where}: name the class {describe(type(endpoint))} itself, not an instance of it")
    if not callable(endpoint):
        raise TypeError(f"{where}: an endpoint is a function or a WebSocketEndpoint class, not {endpoint!r}")
    handler = Handler(endpoint, params=params, where=where)
    if not handler.is_async:
        raise TypeError(f"{where}: the websocket endpoint {describe(endpoint)} must be async def")
    return handler


def check_initialize(endpoint: type[Any], kwargs: Mapping[str, Any], where: str, *, wholly: bool = True) -> None:
    """Raise TypeError for an endpoint class that can't be made with `kwargs`; further ones may come if not `wholly`."""
    if endpoint.__init__ is not _EndpointClass.__init__:
        return  # whatever it does with them
    try:
        signature = inspect.signature(endpoint.initialize)
        (signature.bind if wholly else signature.bind_partial)(None, **kwargs)
    except TypeError as error:
        given = ", ".join(kwargs) or "none"
        raise TypeError(
            f"{where}: {describe(endpoint)}.initialize{inspect.signature(endpoint.initialize)} can't be called with the"
            f" target_kwargs that there are ({given}): {error}"
        ) from None


def checked_methods(methods: Iterable[str], where: str) -> list[str]:
    """Return HTTP methods in upper case.  Raises TypeError for a bare string, ValueError for what is no token."""
    if isinstance(methods, str):
        raise TypeError(f"{where}: methods is a list of names, not the string {methods!r}")
    checked = []
    for method in methods:
        if not isinstance(method, str) or not _TOKEN.fullmatch(method):
            raise ValueError(f"{where}: {method!r} is no HTTP method")
        checked.append(method.upper())
    if not checked:
        raise ValueError(f"{where}: methods is empty; leave it out for the endpoint's own")
    return checked


def _refuse_generators(function: Any, where: str) -> None:
    if inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function):
        raise TypeError(
            f"{where}: {describe(function)} is a generator function; return StreamingResponse(generator) instead"
        )
