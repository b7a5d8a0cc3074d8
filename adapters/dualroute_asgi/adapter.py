"""ASGIAdapter: drives exchanges for an ASGI server, and sends what they return.

An `async def` is awaited where it stands; a `def` gets a thread, unless it never blocks.  Everything else (what to
call, in what order, what an error turns into) is the core's business.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Generator
from typing import TYPE_CHECKING, Any, TypeVar

from dualroute.background import run_background
from dualroute.bodies import BUFFER_SIZE
from dualroute.concurrency import threads
from dualroute.encoders import INLINE_SIZE
from dualroute.exceptions import ResponseCut
from dualroute.exchange import Call, stream_failed
from dualroute.failures import note
from dualroute.foreign import StreamingHandler
from dualroute.lifespan import told
from dualroute.responses import Response
from dualroute.serving import Servable
from dualroute.streams import BodyFailed, BodyStream, Encoding, close_all, is_native
from dualroute.types import Receive, Scope, Send
from dualroute_asgi.body import BridgedChannel
from dualroute_asgi.keepalive import KeptAlive
from dualroute_asgi.life import Lives
from dualroute_asgi.pump import Pump
from dualroute_asgi.sockets import Bridge
from dualroute_asgi.threads import ThreadPool

if TYPE_CHECKING:
    from dualroute.lifespan import Lifespan
    from dualroute.requests import Request

__all__ = ["ASGIAdapter"]

logger: logging.Logger = logging.getLogger("dualroute")

GRACE = 5.0
"""How many seconds requests that are cancelled have to end, before the shutdown goes on."""

DEFAULT_MAX_THREADS = 40
"""How many `def` handlers of an app without a setting of its own may run at once."""

_T = TypeVar("_T")


class ASGIAdapter:
    """A DualRoute, a Router or another servable object as an ASGI application.

    Args:
        app: the object.
        max_threads: how many `def` handlers may run at once; the app's own setting, or 40, where it is None.
    """

    def __init__(self, app: Servable, *, max_threads: int | None = None) -> None:
        self.app = app
        if max_threads is None:
            max_threads = int(getattr(app, "max_threads", DEFAULT_MAX_THREADS))
        self.threads: ThreadPool = ThreadPool(max_threads)
        self._dispatcher = app.dispatcher
        self._lives: Lives | None = Lives(self._dispatcher.router, self._drive)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve a scope of type "http", "websocket" or "lifespan" (ASGI 3.0)."""
        threads.set(self.threads)
        if scope["type"] != "http":
            await self._serve_other(scope, receive, send)
            return
        channel = BridgedChannel(receive, scope, send)
        lives = self._lives
        lifespan = (lives.running() or await self._start_late()) if lives is not None else None
        request, exchange = self._dispatcher.open_request(scope, None, channel, lifespan)
        response: Response | None = None
        try:
            response = await self._drive(exchange, channel)
            assert response is not None, "the exchange of a request returns a response"
            if response.body_iterator is not None:
                await self._send_stream(request, response, send, channel)
            elif not response.sent:
                headers, has_body = response.wire(request.method)
                await send(_start(response.status_code, headers))
                await send({"type": "http.response.body", "body": response.body if has_body else b""})
            elif response.cut:
                raise ResponseCut
        except ResponseCut:
            raise
        except OSError:
            # The client went away ("Disconnected Client - send exception"): there is nobody to answer.
            logger.debug("%s %s: the client went away", request.method, request.path)
        finally:
            if request._closing:
                await self._drive(close_all(request))
            channel.close()
        if response is not None and response.background is not None:
            await self._drive(run_background(response.background))

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
        websocket, exchange = self._dispatcher.open_websocket(scope, receive, send, lifespan, Bridge(self.threads))
        await websocket.finish(await self._drive(exchange))

    async def _serve_lifespan(self, scope: Scope, receive: Receive, send: Send) -> None:
        lives = self._lives or Lives(self._dispatcher.router, self._drive)
        lifespan = lives.begin()
        self._lives = lives if lives.needed() else None
        message = await receive()
        if message["type"] == "lifespan.startup":
            reason = None
            try:
                await self._drive(lifespan.startup(GRACE))
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
                await self._drive(lifespan.shutdown())
                raise
        await _wait_for_cancelled()
        await self._drive(lifespan.shutdown())
        self.threads.close()
        if lifespan.failures:
            await send({"type": "lifespan.shutdown.failed", "message": "; ".join(lifespan.failures)})
        else:
            await send({"type": "lifespan.shutdown.complete"})

    async def _drive(self, exchange: Generator[Call, Any, _T], channel: BridgedChannel | None = None) -> _T:
        """Perform what an exchange asks for until it returns."""
        try:
            call = exchange.send(None)
            while True:
                try:
                    if call.is_async:
                        outcome = await call.function(*call.args)
                    elif call.inline:
                        outcome = call.function(*call.args)
                    elif channel is None:
                        outcome = await self.threads.run(call.function, call.args, pace=call.handler)
                    elif isinstance(handler := call.handler, StreamingHandler):
                        if handler.reads_body and channel.prepare(handler.buffer_size):
                            await channel.read_ahead()
                        quiet = handler.gives_pieces
                        pump = Pump(self.threads, handler.buffer_size, channel.give_up, quiet=quiet, pace=handler)
                        outcome = await pump.call(call.function, call.args)
                        handler.gives_pieces = pump.has_pieces
                        if isinstance(outcome, Response) and outcome.body_iterator is pump:
                            # A body can't be closed while a thread is at it: so this comes before what the function
                            # left to be closed.
                            call.args[0].closing.append(pump.aclose)
                    else:
                        if channel.prepare(BUFFER_SIZE):
                            await channel.read_ahead()
                        outcome = await self.threads.run(
                            call.function, call.args, on_cancel=channel.give_up, pace=handler
                        )
                except BaseException as error:
                    call = exchange.throw(_failure(error))
                else:
                    call = exchange.send(outcome)
        except StopIteration as stop:
            value: _T = stop.value
            return value
        finally:
            exchange.close()

    async def _send_stream(self, request: Request, response: Response, send: Send, channel: BridgedChannel) -> None:
        """Send a body piece by piece, until it ends or the client goes.  Its iterable is closed in any case."""
        body: Any = response.body_iterator
        if is_native(response):
            headers, has_body = response.wire(request.method)
            await send(_start(response.status_code, headers))
            await send(body.hand_over() if has_body else {"type": "http.response.body", "body": b""})
            return
        stream: BodyStream | Pump
        encoding: Encoding | None = None
        if isinstance(body, Pump):
            stream = body
            if response.encoders:
                encoding = Encoding(response)
        else:
            stream = BodyStream(response)
            if stream.is_async:
                encoding = stream.encoding
            else:
                stream = Pump.over(stream, self.threads, BUFFER_SIZE)
        pieces = stream if encoding is None else _EncodedPieces(stream, encoding, self.threads)
        watcher = _Watcher(channel)
        try:
            try:
                await self._send_pieces(request, response, send, pieces)
            except asyncio.CancelledError:
                watcher.delivered = True
                raise
            finally:
                await watcher.stop()
        except asyncio.CancelledError:
            if not watcher.has_cancelled():
                raise
            logger.debug("%s %s: the client went away", request.method, request.path)
        finally:
            await stream.close_async()
            if isinstance(body, Pump) and request._closing:
                request._closing.remove(body.aclose)

    async def _send_pieces(
        self, request: Request, response: Response, send: Send, stream: BodyStream | Pump | _EncodedPieces
    ) -> None:
        headers, has_body = response.wire(request.method)
        started = False
        kept_alive: KeptAlive | None = None
        keep_alive = getattr(response.body_iterator, "keep_alive", None)
        if keep_alive is not None and has_body:
            encoding = stream.alone() if isinstance(stream, _EncodedPieces) else None
            send = kept_alive = KeptAlive(send, _start(response.status_code, headers), keep_alive, encoding)
        try:
            # The status goes out with the first piece, as it does under WSGI; so a body that fails at once is a 500.
            piece = await _next_piece(stream) if has_body else None
            while piece is not None:
                if not started:
                    await send(_start(response.status_code, headers))
                    started = True
                await send({"type": "http.response.body", "body": piece, "more_body": True})
                piece = await _next_piece(stream)
        except BodyFailed as failed:
            if kept_alive is not None:
                kept_alive.stop()
                send, started = kept_alive.send, kept_alive.started
            answer = stream_failed(request, response, failed.error, started=started)
            if started:
                raise ResponseCut from None
            headers, has_body = answer.wire(request.method)
            await send(_start(answer.status_code, headers))
            await send({"type": "http.response.body", "body": answer.body if has_body else b""})
            return
        else:
            if not started:
                await send(_start(response.status_code, headers))
            await send({"type": "http.response.body", "body": b""})
        finally:
            if kept_alive is not None:
                kept_alive.stop()


class _EncodedPieces:
    """The pieces of a body that the event loop has, encoded: small ones in place, others in a thread."""

    def __init__(self, stream: BodyStream | Pump, encoding: Encoding, threads: ThreadPool) -> None:
        self._stream = stream
        self._encoding = encoding
        self._threads: ThreadPool | None = threads
        self._ended = False

    def alone(self) -> Encoding:
        """Return the encoding, for others to use as well; from now on it is used on the event loop and nowhere else."""
        self._threads = None
        return self._encoding

    async def advance_async(self) -> bytes | None:
        """Return the next piece that is not empty, or None after the last.  Raises BodyFailed."""
        while not self._ended:
            piece = await self._stream.advance_async()
            if piece is None:
                self._ended = True
                piece = self._encoding.end()
            elif len(piece) > INLINE_SIZE and self._threads is not None:
                piece = await self._threads.run(self._encoding.feed, (piece,))
            else:
                piece = self._encoding.feed(piece)
            if piece:
                return piece
        return None


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


async def _next_piece(stream: BodyStream | Pump | _EncodedPieces) -> bytes | None:
    try:
        return await stream.advance_async()
    except asyncio.CancelledError as error:
        failure = _failure(error)
        if isinstance(failure, Exception):
            raise BodyFailed(failure) from error
        raise


def _failure(error: BaseException) -> BaseException:
    """Return what a call failed with: a CancelledError of its own making is an error like any other."""
    task = asyncio.current_task()
    if isinstance(error, asyncio.CancelledError) and task is not None and not task.cancelling():
        failure = RuntimeError("a handler raised CancelledError, but its request was not cancelled")
        failure.__cause__ = error
        return failure
    return error


def _start(status_code: int, headers: list[tuple[str, str]]) -> dict[str, Any]:
    return {
        "type": "http.response.start",
        "status": status_code,
        "headers": [(name.encode("latin-1"), value.encode("latin-1")) for name, value in headers],
    }
