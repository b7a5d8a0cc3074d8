"""ASGIAdapter: drives exchanges for an ASGI server, and sends what they return.

An `async def` is awaited where it stands; a `def` gets a thread, unless it never blocks.  Everything else (what to
call, in what order, what an error turns into) is the core's business.
"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Any

from dualroute.background import run_background
from dualroute.concurrency import threads
from dualroute.exceptions import ResponseCut
from dualroute.exchange import Exchange, Plan, after, after_failure, enter, exchange, finish, stream_failed
from dualroute.failures import note
from dualroute.lifespan import told
from dualroute.responses import Response
from dualroute.serving import Servable
from dualroute.streams import BodyFailed, close_all, is_native
from dualroute.types import Receive, Scope, Send
from dualroute_asgi.body import BridgedChannel
from dualroute_asgi.driving import call_in_thread, drive, outwait
from dualroute_asgi.life import Lives
from dualroute_asgi.pump import Pump
from dualroute_asgi.sending import Delivery, Pieces, failure_of, pieces_of, send_whole, start_event
from dualroute_asgi.sockets import Bridge
from dualroute_asgi.threads import ThreadPool

if TYPE_CHECKING:
    from dualroute.handlers import Handler
    from dualroute.lifespan import Lifespan
    from dualroute.requests import Request
    from dualroute.timeouts import TimeLimit

__all__ = ["ASGIAdapter"]

logger: logging.Logger = logging.getLogger("dualroute")

GRACE = 5.0
"""How many seconds requests that are cancelled have to end, before the shutdown goes on."""

DEFAULT_MAX_THREADS = 40
"""How many `def` handlers of an app without a setting of its own may run at once."""

DEFAULT_MAX_WAITING = 1000
"""How many requests may wait for a thread, for an app without a setting of its own."""


class ASGIAdapter:
    """A DualRoute, a Router or another servable object as an ASGI application.

    Args:
        app: the object.
        max_threads: how many `def` handlers may run at once; the app's own setting, or 40, where it is None.
        max_waiting: how many requests may wait for a thread; the app's own setting, or 1000, where it is None.
    """

    def __init__(self, app: Servable, *, max_threads: int | None = None, max_waiting: int | None = None) -> None:
        self.app = app
        if max_threads is None:
            max_threads = int(getattr(app, "max_threads", DEFAULT_MAX_THREADS))
        if max_waiting is None:
            max_waiting = int(getattr(app, "max_waiting", DEFAULT_MAX_WAITING))
        self.threads: ThreadPool = ThreadPool(max_threads, max_waiting)
        self._dispatcher = app.dispatcher
        self._lives: Lives | None = Lives(self._dispatcher.router, self.threads)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve a scope of type "http", "websocket" or "lifespan" (ASGI 3.0)."""
        if threads.get() is not self.threads:
            threads.set(self.threads)
        if scope["type"] != "http":
            await self._serve_other(scope, receive, send)
            return
        lives = self._lives
        lifespan = (lives.running() or await self._start_late()) if lives is not None else None
        request, plan = self._dispatcher.open_scope(scope, (BridgedChannel, receive, scope, send), lifespan)
        response: Response | None = None
        try:
            direct: Any = plan.direct
            alone = plan.alone
            if alone is not None and alone.is_async:
                direct = alone
            if direct is None:
                response = await self._drive(exchange(plan, request), request, plan, refusable=True)
            elif plan.middleware and direct is not alone:
                response = await self._pass(plan, request, direct)
            else:
                # What most requests need: no exchange but the call of a function that returns a response.
                try:
                    if direct.is_async:
                        response = await direct.invoke(request)
                    elif direct.inline:
                        response = direct.invoke(request)
                    else:
                        response = await call_in_thread(direct, request, self.threads)
                except (Exception, asyncio.CancelledError) as error:
                    response = await self._drive(after_failure(plan, request, failure_of(error)), request, plan)
                else:
                    if not isinstance(response, Response) or response.incomplete:
                        response = await self._drive(after(plan, request, response), request, plan)
            assert response is not None, "the exchange of a request returns a response"
            body = response.body_iterator
            if body is not None and type(body) is Pump and not response.encoders:
                whole = body.take_whole()
                if whole is not None:
                    if request._closing:
                        request._closing.remove(body.aclose)
                    response.body, response.body_iterator, body = whole, None, None
            if body is not None:
                await self._send_stream(request, response, send, request._channel)
            elif not response.sent:
                headers, has_body = response.raw_wire(scope["method"])
                await send({"type": "http.response.start", "status": response.status_code, "headers": headers})
                await send({"type": "http.response.body", "body": response.body if has_body else b""})
            elif response.cut:
                raise ResponseCut
        except ResponseCut:
            raise
        except OSError:
            # The client went away ("Disconnected Client - send exception"): there is nobody to answer.
            logger.debug("%s %s: the client went away", request.method, request.printable_path)
        finally:
            if request._opener is None:  # its channel was opened
                limit = request._channel.time_limit
                if limit is not None and limit.stragglers:
                    await outwait(limit, self.threads)
                if request._closing:
                    await drive(close_all(request), self.threads)
                request._channel.close()
            elif request._closing:
                await drive(close_all(request), self.threads)
        if response is not None and response.background is not None:
            await drive(run_background(response.background), self.threads)

    async def _pass(self, plan: Plan, request: Any, direct: Handler) -> Response | None:
        """Answer by a function in middleware, without an exchange as long as nobody asks for anything else."""
        entered = enter(plan, request)
        if not isinstance(entered, list):
            return await self._drive(entered, request, plan, refusable=True)
        try:
            if direct.is_async:
                response = await direct.invoke(request)
            elif direct.inline:
                response = direct.invoke(request)
            else:
                response = await call_in_thread(direct, request, self.threads)
        except BaseException as error:
            return await self._drive(after_failure(plan, request, failure_of(error), entered), request, plan)
        finished = finish(plan, request, response, entered)
        return finished if isinstance(finished, Response) else await self._drive(finished, request, plan)

    async def _drive(self, exchange: Exchange, request: Any, plan: Plan, *, refusable: bool = False) -> Response | None:
        limit: TimeLimit | None = None if plan.timeout is None else request._channel.time_limit
        response = await drive(exchange, self.threads, lambda: request._channel, limit, refusable=refusable)
        if limit is not None:
            limit.is_over = True
        return response

    async def _serve_other(self, scope: Scope, receive: Receive, send: Send) -> None:
        kind = scope["type"]
        if kind == "websocket":
            await self._serve_websocket(scope, receive, send)
        elif kind == "lifespan":
            await self._serve_lifespan(scope, receive, send)
        else:
            raise ValueError(f"dualroute serves http, websocket and lifespan scopes, not {kind!r}")

    async def _start_late(self) -> Lifespan | None:
        """Run the lifespan, if there is one, where the server has not; return it."""
        lives = self._lives
        if lives is None or not lives.needed():
            self._lives = None  # what is mounted from now on is not started
            return None
        return await lives.start_late()

    async def _serve_websocket(self, scope: Scope, receive: Receive, send: Send) -> None:
        lives = self._lives
        lifespan = (lives.running() or await self._start_late()) if lives is not None else None
        bridge = Bridge(self.threads)
        websocket, exchange = self._dispatcher.open_websocket(scope, receive, send, lifespan, bridge)
        await websocket.finish(await drive(exchange, self.threads))

    async def _serve_lifespan(self, scope: Scope, receive: Receive, send: Send) -> None:
        lives = self._lives or Lives(self._dispatcher.router, self.threads)
        lifespan = lives.begin()
        self._lives = lives if lives.needed() else None
        message = await receive()
        if message["type"] == "lifespan.startup":
            reason = None
            try:
                await drive(lifespan.startup(GRACE), self.threads)
            except Exception as error:
                note(error)
                logger.exception("the start-up failed")
                reason = f"the start-up failed: {told(error)}"
            if reason is not None:
                await send({"type": "lifespan.startup.failed", "message": reason})
                return
            if "state" in scope:
                scope["state"].update(lifespan.state)
                lifespan.handed_over = True
            try:
                await send({"type": "lifespan.startup.complete"})
                await receive()
            except GeneratorExit:
                raise
            except BaseException:  # the server ends without a shutdown
                await drive(lifespan.shutdown(), self.threads)
                raise
        await _wait_for_cancelled()
        await drive(lifespan.shutdown(), self.threads)
        self.threads.close()
        if lifespan.failures:
            await send({"type": "lifespan.shutdown.failed", "message": "; ".join(lifespan.failures)})
        else:
            await send({"type": "lifespan.shutdown.complete"})

    async def _send_stream(self, request: Request, response: Response, send: Send, channel: BridgedChannel) -> None:
        """Send a body piece by piece, until it ends or the client goes.  Its iterable is closed in any case."""
        body: Any = response.body_iterator
        if is_native(response):
            headers, has_body = response.raw_wire(request.method)
            await send(start_event(response.status_code, headers))
            await send(body.hand_over() if has_body else {"type": "http.response.body", "body": b""})
            return
        pieces = pieces_of(response, self.threads)
        watcher = _Watcher(channel)
        try:
            try:
                await _deliver(request, response, send, pieces)
            except asyncio.CancelledError:
                watcher.delivered = True
                raise
            finally:
                await watcher.stop()
        except asyncio.CancelledError:
            if not watcher.has_cancelled():
                raise
            logger.debug("%s %s: the client went away", request.method, request.printable_path)
        finally:
            await pieces.close_async()
            if isinstance(body, Pump) and request._closing:
                request._closing.remove(body.aclose)


async def _deliver(request: Request, response: Response, send: Send, pieces: Pieces) -> None:
    delivery = Delivery(response, request.method, send, pieces)
    try:
        await delivery.run()
    except BodyFailed as failed:
        answer = stream_failed(request, response, failed.error, started=delivery.started)
        if delivery.started:
            raise ResponseCut from None
        await send_whole(answer, request.method, send)


class _Watcher:
    """Cancels the current task when the client goes.

    Args:
        channel: tells of that.
    """

    def __init__(self, channel: BridgedChannel) -> None:
        task = asyncio.current_task()
        assert task is not None, "an ASGI app runs in a task"
        self._task: asyncio.Task[Any] | None = task
        self._watching = asyncio.create_task(channel.watch())
        self._watching.add_done_callback(self._leave)
        self._left = False
        self.delivered = False

    def _leave(self, watching: asyncio.Task[None]) -> None:
        if self._task is not None and not watching.cancelled() and watching.exception() is None:
            self._left = True
            self._task.cancel()

    async def stop(self) -> None:
        """Cancel nothing from now on; a cancellation that is under way is waited for."""
        task, self._task = self._task, None
        self._watching.remove_done_callback(self._leave)
        self._watching.cancel()
        if self._left and not self.delivered:
            await asyncio.sleep(0)
            # The body took it for itself.
            assert task is not None
            task.uncancel()

    def has_cancelled(self) -> bool:
        """Tell whether a cancellation is this watcher's, and the only one: then the task goes on."""
        # As in asyncio.timeout.
        task = asyncio.current_task()
        return self._left and task is not None and task.uncancel() == 0


async def _wait_for_cancelled() -> None:
    """Wait a while for the requests that the server has cancelled: the process may end with the lifespan.

    What they have to close may need a thread, and the event loop for as long.
    """
    ending = [task for task in asyncio.all_tasks() if task.cancelling() and task is not asyncio.current_task()]
    if ending:
        await asyncio.wait(ending, timeout=GRACE)
