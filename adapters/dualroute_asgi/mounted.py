"""ASGIApp: an ASGI application as an endpoint, for either protocol.

It runs in a task of its own, on the server's event loop under ASGI and on the worker's under WSGI.  What it sends is
kept, a bounded number of bytes of it, until it is asked for.  Under ASGI with nothing around it, it is simply awaited
in the server's own task (`dualroute_asgi.sessions` and `dualroute_asgi.passages`).
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from contextvars import ContextVar
from typing import TYPE_CHECKING, ClassVar

from dualroute.bodies import BUFFER_SIZE
from dualroute.exceptions import ClientDisconnect, WebSocketDisconnect
from dualroute.exchange import stream_failed
from dualroute.failures import note
from dualroute.foreign import INSIDE, AppBroken, ForeignApp, note_depth
from dualroute.handlers import Handler
from dualroute.types import Message, Scope
from dualroute_asgi.life import Life
from dualroute_asgi.passages import Transfer, server_send
from dualroute_asgi.sessions import Session

if TYPE_CHECKING:
    from dualroute.connection import HTTPConnection
    from dualroute.requests import Request
    from dualroute.responses import Response
    from dualroute.websockets import WebSocket

__all__ = ["ASGIApp"]

logger: logging.Logger = logging.getLogger("dualroute")

_starting: ContextVar[tuple[ASGIApp, ...]] = ContextVar("dualroute_starting", default=())
"""The apps whose start-up is under way around here."""


class ASGIApp(ForeignApp):
    """An ASGI application, on both protocols.

    It is an app by itself, to be handed to any server, and it is what a Mount, a Host or a fallback makes of an ASGI
    application.  Under WSGI it runs on the worker's one event loop; it has no websockets there.

    Args:
        app: the application, called with a scope, ``receive`` and ``send``.
        buffer_size: how many bytes of a response at most wait to be sent, before the application has to wait.
        intercept_errors: True to have the exception handlers for a status answer where the application answers with
            an error status (400 and up); by default its own answer stands.
        lifespan: False to leave out the application's start-up and shutdown.

    Raises TypeError for what can't be called, or is called like a WSGI application.
    """

    protocol: ClassVar[str] = "ASGI"

    def __init__(
        self,
        app: Callable[..., Awaitable[None]],
        *,
        buffer_size: int = BUFFER_SIZE,
        intercept_errors: bool = False,
        lifespan: bool = True,
    ) -> None:
        super().__init__(app, buffer_size=buffer_size, intercept_errors=intercept_errors)
        self.has_lifespan: bool = lifespan
        self.handler: Handler = Handler(self.respond)
        self.bare_handler: Handler | None = None if intercept_errors else Handler(self.respond_directly)
        self.websocket_handler: Handler | None = Handler(self.serve_websocket)
        # One for each event loop that serves, since a process may serve both protocols.
        self._lives: dict[asyncio.AbstractEventLoop, Life] = {}

    async def respond(self, request: Request) -> Response:
        """Call the application, and return its response; more of the body may be yet to come.

        Raises what the application raises, BodyTooLarge, and AppBroken where it does not keep to the specification.
        """
        channel = request._body_channel
        channel.require_within_limit()
        scope = self._scope(request)
        scope["extensions"] = {}  # what could be passed on is what both protocols have
        session = Session(self, scope, channel, waits=request.environ is None)
        return self._answered(await self._begin(request, session))

    async def _begin(self, request: Request, session: Session) -> Response:
        """Return the response of a session, which is closed when the request is over."""
        channel = request._body_channel
        limit = channel.limit
        try:
            response = await session.begin()
            channel.require_kept(limit)
        except BaseException:
            await session.aclose()
            raise
        if session.has_more():
            request.closing.append(session.aclose)
        return response

    async def respond_directly(self, request: Request) -> Response:
        """Have the application send its response itself, where the server is an ASGI server."""
        send = server_send(request)
        if send is None:
            return await self.respond(request)
        scope = self._scope(request)
        return await self._transfer(request, scope, Transfer(self, request, send, scope.get("extensions") or ()))

    async def _transfer(self, request: Request, scope: Scope, transfer: Transfer) -> Response:
        """Have the application send its response itself, and return what it has sent."""
        try:
            try:
                await self.app(scope, transfer.receive, transfer.send)
            except asyncio.CancelledError as error:
                self.require_cancelled(error)
                raise
            if not transfer.complete:
                transfer.require_complete()
        except asyncio.CancelledError:
            if not transfer.given_up():
                raise
        except Exception as error:
            if not transfer.started:
                if transfer.cut_short:
                    raise ClientDisconnect from error
                raise
            if transfer.complete:
                self.failed_after_response(error)
            elif transfer.client_left:
                logger.debug("%s: the client went away", request, exc_info=error)
            else:
                stream_failed(request, transfer.response, error, started=True)
                transfer.response.cut = True
        finally:
            if transfer._watcher is not None:
                transfer.stop_watching()
        return transfer.response

    def require_cancelled(self, error: asyncio.CancelledError) -> None:
        """Raise AppBroken where nobody has cancelled the application."""
        task = asyncio.current_task()
        if task is not None and not task.cancelling():
            raise AppBroken(f"{self.described()} cancelled itself") from error

    def failed_after_response(self, error: Exception) -> None:
        """Say in the log that the application has failed when its response was out."""
        note(error)
        logger.error("%s failed after its response", self.described(), exc_info=error)

    async def serve_websocket(self, websocket: WebSocket) -> None:
        """Have the application serve a websocket."""
        await self._serve(websocket, self._scope(websocket))

    async def _serve(self, websocket: WebSocket, scope: Scope) -> None:
        peer_left = False

        async def send(message: Message) -> None:
            nonlocal peer_left
            try:
                await websocket.send(message)
            except WebSocketDisconnect as gone:
                peer_left = True
                raise ConnectionResetError(str(gone)) from None  # which the specification has it raise

        try:
            await self.app(scope, websocket.receive, send)
        except Exception:
            if not peer_left:
                raise
            logger.debug("websocket %s: the peer went away", websocket.printable_path)

    def _scope(self, connection: HTTPConnection) -> Scope:
        scope = connection.foreign_scope()
        if INSIDE in scope:
            del scope[INSIDE]
        note_depth(connection, scope, self)
        life = self._lives.get(asyncio.get_running_loop()) if self._lives else None
        if life is not None and life.state:
            state = scope["state"]
            # Its own comes before what it has from the apps around it, and behind what was set for this request.
            inherited = connection.inherited_state
            for name, value in life.state.items():
                if name not in state or (name in inherited and state[name] is inherited[name]):
                    state[name] = value
        return scope

    def share_life(self, other: ForeignApp) -> None:
        if isinstance(other, ASGIApp):
            self._lives = other._lives

    async def startup(self) -> None:
        """Run the application's start-up, if it has one.  Raises RuntimeError where it says that it failed."""
        around = _starting.get()
        if self in around:
            return  # it leads back into itself: this is a part of its start-up
        loop = asyncio.get_running_loop()
        token = _starting.set((*around, self))
        try:
            life = Life(self)
            await life.start()
        finally:
            _starting.reset(token)
        self._lives[loop] = life

    async def shutdown(self, grace: float) -> None:
        """Run its shutdown, and give it up after `grace` seconds."""
        life = self._lives.pop(asyncio.get_running_loop(), None)
        if life is not None:
            await life.end(grace)
