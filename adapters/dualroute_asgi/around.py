"""An ASGI middleware, around what is further in than it: `dualroute.middleware.asgi`.

It is an application like any mounted one, but that what it calls in turn is the rest of the exchange.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

from dualroute.callables import describe
from dualroute.exceptions import ClientDisconnect
from dualroute.exchange import Inside, only
from dualroute.foreign import INSIDE, AppBroken, Crossing, require_made_for
from dualroute.middleware.asgi import ASGIMiddleware
from dualroute.responses import Response
from dualroute.streams import BodyFailed
from dualroute.types import Receive, Scope, Send
from dualroute_asgi.body import BridgedChannel
from dualroute_asgi.mounted import ASGIApp
from dualroute_asgi.pump import Pump
from dualroute_asgi.sending import Delivery, failure_of, start_event
from dualroute_asgi.sessions import Link, Session, Transfer, server_send

if TYPE_CHECKING:
    from dualroute.bodies import Channel
    from dualroute.requests import Request
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
            crossing.given = crossing.passage = transfer
            response = await self._transfer(request, scope, transfer)
        else:
            channel.require_within_limit()
            scope["extensions"] = {}  # what could be passed on is what both protocols have
            session = Session(self, scope, channel, waits=request.environ is None)
            crossing.given = crossing.passage = session
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
    """What the outermost middleware of the chain was given its `receive` by."""
    passage: Any = None
    """Looks at what the middleware sends."""

    def scope(self) -> Scope:
        """Return the scope for the middleware.  What it sets in the state is there inside."""
        given = self.connection.scope
        scope = dict(given)
        scope["headers"] = list(scope["headers"])
        # As it is before any mount has been gone through.
        root_path = given.get("dualroute.root_path")
        scope["root_path"] = self.connection.target.root_path if root_path is None else root_path
        scope[INSIDE] = self
        return scope

    async def respond(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Have what is further in answer the request, and send its response."""
        outer: Channel = self.connection._body_channel
        plan, index = self.inside.plan, self.inside.index + 1
        if index < len(plan.middleware):
            following = plan.middleware[index]
            if type(following) is ASGIMiddleware and outer.limit is None and outer.time_limit is None:
                await self._pass_on(following._surrounding, Inside(plan, index), scope, receive, send)
                return
        await self._answer(None, scope, receive, send)

    async def _pass_on(
        self, surrounding: ASGISurrounding, inside: Inside, scope: Scope, receive: Receive, send: Send
    ) -> None:
        """Have the next middleware answer, which is one of this kind: by an event at a time, and no response."""
        given = self.connection.scope
        inner = _Crossing(self.connection, inside)
        inner.given = self.given
        passed = dict(scope)
        passed["headers"] = list(passed["headers"])
        passed["path"] = given["path"]
        passed["extensions"] = {}
        passed[INSIDE] = inner
        link = inner.passage = Link(surrounding, send, passed["method"], self.passage)
        try:
            try:
                await surrounding.app(passed, receive, link.send)
            except asyncio.CancelledError as error:
                surrounding.require_cancelled(error)
                raise
            if not link.complete:
                raise ClientDisconnect if self.given.client_left else link.broken_off()
        except Exception as error:
            if link.complete:
                surrounding.failed_after_response(error)
            elif link.started:
                raise
            else:
                await self._answer(error, scope, receive, send)
                return
        self.background = inner.background

    async def _response(self, connection: Any, channel: Channel) -> Response | None:
        """Return the response of what is further in."""
        inside = self.inside
        if channel.time_limit is not None or not isinstance(channel, BridgedChannel):
            return await channel.drive_async(inside.exchange(connection))
        # The endpoint may as well be called here, without an exchange.
        try:
            call = inside.call(connection)
            if call is None:
                return await channel.drive_async(inside.exchange(connection))
            if call.is_async:
                result = await call.function(*call.args)
            elif call.inline:
                result = call.function(*call.args)
            else:
                result = await channel.drive_async(only(call))
        except Exception as error:
            return await channel.drive_async(inside.recover(connection, error))
        except asyncio.CancelledError as error:
            failure = failure_of(error)
            if not isinstance(failure, Exception):
                raise
            return await channel.drive_async(inside.recover(connection, failure))
        if isinstance(result, Response) and not result.incomplete:
            return result
        return await channel.drive_async(inside.settle(connection, call, result))

    def _recovered(self, connection: Any, channel: Channel, error: Exception) -> Awaitable[Response | None]:
        """Return the response to what has come out of the next middleware."""
        if channel.cut_short or self.given.cut_short:
            gone = ClientDisconnect()
            gone.__cause__ = error
            error = gone
        return channel.drive_async(self.inside.recover(connection, error))

    async def _answer(self, error: Exception | None, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the response of what is further in.

        Args:
            error: what has come out of it already, if it has failed.
            scope: what the middleware has passed on.
            receive: likewise.
            send: takes the response.
        """
        outer: Channel = self.connection._body_channel
        # A body that the middleware has not touched is read where it comes from.
        channel = outer if getattr(receive, "__self__", None) is self.given else outer.over(receive)
        connection = self.connection.inside_scope(scope, channel)
        try:
            answering = (
                self._response(connection, channel) if error is None else self._recovered(connection, channel, error)
            )
            response = self.answered(await answering)
            if response.body_iterator is None:
                headers, has_body = response.raw_wire(connection.method)
                self.passage.known = list(headers)
                await send(start_event(response.status_code, headers))
                await send({"type": "http.response.body", "body": response.body if has_body else b""})
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
