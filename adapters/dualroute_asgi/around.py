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
from dualroute_asgi.passages import Link, Transfer, server_send
from dualroute_asgi.pump import Pump
from dualroute_asgi.sending import Delivery, failure_of, start_event
from dualroute_asgi.sessions import Session

if TYPE_CHECKING:
    from dualroute.bodies import Channel
    from dualroute.connection import HTTPConnection
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
        crossing = _Crossing(request, inside, channel)
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
        await self._serve(websocket, _Crossing(websocket, inside, None).scope())


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
            return
        following = crossing.inside.following
        if type(following) is ASGIMiddleware and crossing.may_pass_on:
            await crossing.pass_on(following._surrounding, scope, receive, send)
        else:
            await crossing.answer(None, scope, receive, send)


class _Crossing(Crossing):
    """One connection on its way through a middleware.

    Args:
        connection: the connection as it is outside.
        inside: what is further in.
        channel: where the body comes from.
    """

    given: Any = None
    """What the outermost middleware of a chain was given its `receive` by."""
    passage: Any = None
    """Looks at what the middleware sends."""
    _passed: bool = False
    # The `receive` that was passed on, and the channel over it.
    _over: tuple[Any, Any] = (None, None)

    def __init__(self, connection: HTTPConnection, inside: Inside, channel: Channel | None) -> None:
        self.connection: Any = connection
        self.inside: Inside = inside
        self._channel: Any = channel

    @property
    def may_pass_on(self) -> bool:
        """Whether nobody wants to count or to time what goes from one middleware to the next, for the first time.

        One that calls what is further in again can't have the body anew, and is to be told so.
        """
        return not self._passed and self._channel.limit is None and self._channel.time_limit is None

    def scope(self) -> Scope:
        """Return the scope for the middleware.  What it sets in the state is there inside."""
        scope = dict(self.connection.scope)
        scope["headers"] = list(scope["headers"])
        # As it is before any mount has been gone through.
        scope["root_path"] = self._root_path(scope)
        scope[INSIDE] = self
        return scope

    def _root_path(self, scope: Scope) -> Any:
        root_path = scope.get("dualroute.root_path")
        return self.connection.target.root_path if root_path is None else root_path

    async def pass_on(self, surrounding: ASGISurrounding, scope: Scope, receive: Receive, send: Send) -> None:
        """Have the next middleware answer, which is one of this kind: by an event at a time, and no response."""
        self._passed = True
        inner = _Crossing(self.connection, self.inside.inner, self._channel)
        inner.outer = self
        inner.given = self.given
        passed = {**scope, "headers": list(scope["headers"]), "extensions": {}, INSIDE: inner}
        passed["path"] = self.connection.scope["path"]
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
                await self.answer(error, scope, receive, send)

    def _has_changed(self, scope: Scope) -> bool:
        """Tell whether a middleware has passed on another scope than there was outside of all of the chain."""
        given = self.connection.scope
        extensions = scope.get("extensions")
        if extensions and extensions != given.get("extensions"):
            return True
        same = {**given, "root_path": self._root_path(given), INSIDE: scope[INSIDE]}
        if extensions is not None:
            same["extensions"] = extensions
        return scope != same

    async def _response(self, connection: Any, channel: Channel) -> Response | None:
        """Return the response of what is further in."""
        inside = self.inside
        if inside.following is not None or channel.time_limit is not None or not isinstance(channel, BridgedChannel):
            return await channel.drive_async(inside.exchange(connection))
        # The endpoint may as well be called here, without an exchange.
        try:
            call = inside.plan.endpoint(connection)
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

    def _channel_over(self, receive: Receive) -> Channel:
        if self._over[0] is not receive:
            self._over = receive, self._channel.over(receive)
        channel: Channel = self._over[1]
        return channel

    def _recovered(self, connection: Any, channel: Channel, error: Exception) -> Awaitable[Response | None]:
        """Return the response to what has come out of the next middleware."""
        error = self.cause_of(error, cut_short=channel.cut_short or self.given.cut_short)
        return channel.drive_async(self.inside.recover(connection, error))

    async def answer(self, error: Exception | None, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the response of what is further in.

        Args:
            error: what has come out of it already, if it has failed.
            scope: what the middleware has passed on.
            receive: likewise.
            send: takes the response.
        """
        outer: Channel = self._channel
        # A body that the middleware has not touched is read where it comes from.
        channel = outer if getattr(receive, "__self__", None) is self.given else self._channel_over(receive)
        connection = self.connection
        if channel is not outer or self._has_changed(scope):
            connection = connection.inside_scope(scope, channel)
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
