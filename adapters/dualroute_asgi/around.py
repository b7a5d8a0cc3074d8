"""An ASGI middleware, around what is further in than it: `dualroute.middleware.asgi`.

It is an application like any mounted one, but that what it calls in turn is the rest of the exchange.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from dualroute.callables import describe
from dualroute.foreign import INSIDE, AppBroken, Crossing, require_made_for
from dualroute.streams import BodyFailed
from dualroute.types import Receive, Scope, Send
from dualroute_asgi.body import BridgedChannel
from dualroute_asgi.mounted import ASGIApp
from dualroute_asgi.pump import Pump
from dualroute_asgi.sending import Delivery, send_whole
from dualroute_asgi.sessions import Session, Transfer, server_send

if TYPE_CHECKING:
    from dualroute.bodies import Channel
    from dualroute.exchange import Inside
    from dualroute.requests import Request
    from dualroute.responses import Response
    from dualroute.websockets import WebSocket

__all__ = ["ASGISurrounding"]


class ASGISurrounding(ASGIApp):
    """An ASGI application that is made around what is further in.

    Args:
        cls: makes the application, from the one that it is to be around.
        args: its further positional arguments.
        options: its keyword arguments.

    Raises TypeError for what can be no ASGI application.
    """

    def __init__(self, cls: Callable[..., Any], args: tuple[Any, ...], options: dict[str, Any]) -> None:
        app: Any = cls(_FurtherIn(self), *args, **options)
        require_made_for("ASGI", app, cls)
        super().__init__(app, lifespan=False)
        self.cls: Callable[..., Any] = cls

    def described(self) -> str:
        return f"the ASGI middleware {describe(self.cls)}"

    async def respond_around(self, request: Request, inside: Inside) -> Response:
        """Call the middleware, and return its response: see `ASGIApp.respond`."""
        channel = request._body_channel
        crossing = _Crossing(request, inside)
        scope = crossing.scope()
        send = server_send(request) if inside.is_bare else None
        if send is not None:
            transfer = Transfer(self, request, send, scope.get("extensions") or ())
            crossing.given = transfer
            response = await self._transfer(request, scope, transfer)
        else:
            channel.require_within_limit()
            scope["extensions"] = {}  # what could be passed on is what both protocols have
            session = Session(self, scope, channel, waits=request.environ is None)
            crossing.given = session
            response = await self._begin(request, session)
        response.background = crossing.background
        return response

    async def serve_around(self, websocket: WebSocket, inside: Inside) -> None:
        """Have the middleware serve a websocket: see `ASGIApp.serve_websocket`."""
        await self._serve(websocket, _Crossing(websocket, inside).scope())


class _FurtherIn:
    """What is further in, as the application that a middleware is around.

    It is an object with a method ``__call__``, as applications are, because there are middleware that look for it.
    """

    def __init__(self, surrounding: ASGISurrounding) -> None:
        self._surrounding = surrounding

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve a request or a websocket that has come through the middleware."""
        crossing = scope.get(INSIDE)
        if crossing is None:
            raise AppBroken(
                f"{self._surrounding.described()} has called what it is around with a scope that is not made of its own"
            )
        if scope["type"] == "websocket":
            await crossing.serve(scope, receive, send)
        else:
            await crossing.respond(scope, receive, send)


class _Crossing(Crossing):
    given: Any = None
    """What the middleware was given its `receive` by."""

    def scope(self) -> Scope:
        """Return the scope for the middleware.  What it sets in the state is there inside."""
        scope = dict(self.connection.scope)
        scope["headers"] = list(scope["headers"])
        # As it is before any mount has been gone through.
        scope["root_path"] = self.connection.target.root_path
        scope[INSIDE] = self
        return scope

    async def respond(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Have what is further in answer the request, and send its response."""
        outer: Channel = self.connection._body_channel
        # A body that the middleware has not touched is read where it comes from.
        channel = outer if getattr(receive, "__self__", None) is self.given else outer.over(receive)
        connection = self.connection.inside_scope(scope, channel)
        try:
            response = self.answered(await channel.drive_async(self.inside.exchange(connection)))
            if response.body_iterator is None:
                await send_whole(response, connection.method, send)
                return
            pieces = channel.pieces_of(response)
            try:
                await Delivery(response, connection.method, send, pieces).run()
            except BodyFailed as failed:
                raise failed.error from None
            finally:
                await pieces.close_async()
                if isinstance(body := response.body_iterator, Pump) and body.aclose in connection.closing:
                    connection.closing.remove(body.aclose)
        finally:
            if channel is not outer and isinstance(channel, BridgedChannel):
                channel.close()

    async def serve(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Have what is further in serve the websocket."""
        websocket: WebSocket = self.connection.inside_session(scope, receive, send)
        await websocket.finish(await websocket.driver.drive_async(self.inside.exchange(websocket)))
