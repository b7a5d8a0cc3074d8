"""WSGIAdapter: drives exchanges for a WSGI server, and hands it what they return (PEP 3333).

What a request has done is done by `dualroute_wsgi.driving`: a `def` is called where it stands, and an `async def` runs
on the worker's one event loop while the server's thread waits.

Each exchange has a context of its own, in which every part of it runs, streaming the body included: what one request
binds to a context variable is not there for the next request of the thread.
"""

from __future__ import annotations

import logging
import os
import signal
import threading
from collections.abc import Iterable, Iterator
from contextvars import Context, copy_context
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

from dualroute.applications import loop_side
from dualroute.background import run_background
from dualroute.bodies import BUFFER_SIZE
from dualroute.dispatch import websocket_paths
from dualroute.exceptions import ResponseCut
from dualroute.exchange import (
    Call,
    Exchange,
    Layers,
    Plan,
    after_failure,
    enter,
    exchange,
    finish,
    raising,
    stream_failed,
)
from dualroute.lifespan import Lifespan, told
from dualroute.responses import PlainTextResponse, Response
from dualroute.serving import Servable
from dualroute.streams import BodyFailed, BodyStream, close_all, is_native
from dualroute.timeouts import TimeLimit
from dualroute.types import Environ, StartResponse
from dualroute_wsgi import greenlets, process
from dualroute_wsgi.body import HandOverChannel
from dualroute_wsgi.driving import drive, run_async, until_elsewhere
from dualroute_wsgi.mounted import Reply

if TYPE_CHECKING:
    from dualroute.handlers import Handler
    from dualroute.requests import SyncRequest
    from dualroute_wsgi.loop import Pour

__all__ = ["WSGIAdapter"]

logger: logging.Logger = logging.getLogger("dualroute")

DEFAULT_MAX_THREADS = 40
"""How many calls of which the time is limited may go on at once, for an app without a setting of its own."""


class _Awaited(NamedTuple):
    """An `async def` that is to be called without an exchange, in the middleware that were begun."""

    plan: Plan
    handler: Handler
    layers: Layers

    def answer(self, request: Any, context: Context, channel: HandOverChannel) -> Response | Exchange:
        """Have it run, and return the response, or the exchange that goes on from there."""
        try:
            result = run_async(self.handler.invoke, (request,), context, channel)
        except BaseException as error:
            return after_failure(self.plan, request, error, self.layers)
        return context.run(finish, self.plan, request, result, self.layers)


Rest: TypeAlias = "tuple[Exchange, Call | None] | _Awaited"
"""What is left of a request that was opened: an exchange, with the call that it has asked for if it was begun."""

_ENDED_BY = {"gunicorn": signal.SIGTERM, "granian": signal.SIGTERM, "waitress": signal.SIGINT}
"""The signal by which a worker of a server ends in good order, by the server's name for itself."""


class WSGIAdapter:
    """A DualRoute, a Router or another servable object as a WSGI application.

    Args:
        app: the object.
    """

    def __init__(self, app: Servable) -> None:
        self.app = app
        self._dispatcher = app.dispatcher
        self._ready_in = 0
        self._lifespan: Lifespan | None = None
        # By process: one that was forked while it was held would be held for ever in the child.
        self._locks: dict[int, threading.Lock] = {}
        self._doomed = False
        self._places = threading.Semaphore(int(getattr(app, "max_threads", DEFAULT_MAX_THREADS)))

    def __call__(self, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        """Serve one request."""
        if self._ready_in != process.pid:
            try:
                self.get_ready()
            except Exception as error:
                return self._refuse(error, environ, start_response)
        context = copy_context()
        request, response, rest = context.run(self._begin, environ)
        if (
            rest is None
            and response.body_iterator is None
            and response.background is None
            and request._closing is None
            and request._opener is not None
        ):
            # What most requests need: there is nothing to do but to hand the response over.
            status, headers, has_body = response.head(environ["REQUEST_METHOD"])
            start_response(status, headers)
            return [response.body] if has_body else []
        if rest is None and request._opener is not None and (passed := _passed(request, response, context)) is not None:
            passed.start(start_response)
            return passed
        channel: HandOverChannel = request._channel
        served = _Served(request, context, channel)
        limit = channel.time_limit
        if limit is not None:
            channel.places = self._places
        try:
            if rest is not None:
                response = _complete(request, rest, context, channel)
            if limit is not None:
                limit.is_over = True
            assert response is not None, "the exchange of a request returns a response"
            served.response = response
            if response.body_iterator is not None:
                return self._stream(served, response, start_response)
            status, headers, has_body = response.head(environ["REQUEST_METHOD"])
            start_response(status, headers)
        except BaseException:
            served.response = None
            served.end()
            raise
        body = [response.body] if has_body else []
        return _Sent(body, served) if served.has_more() else body

    def _begin(self, environ: Environ) -> tuple[Any, Any, Rest | None]:
        """Open a request, and answer it as far as that can be done in this thread and in place.

        Returns the request, the response, and what is left of the exchange that is to make the response, if it is not
        there yet.
        """
        request, plan = self._dispatcher.open_environ(environ, (HandOverChannel, environ), self._lifespan)
        alone = plan.alone
        direct: Any = alone if alone is not None and not alone.is_async else plan.direct
        entered = enter(plan, request) if direct is not None and direct is not alone and plan.middleware else []
        if direct is None:
            rest = exchange(plan, request)
        elif not isinstance(entered, list):
            rest = entered
        elif direct.is_async:
            return request, None, _Awaited(plan, direct, entered)
        else:
            # What most requests need: no exchange but the call of a function that returns a response.
            try:
                response = direct.invoke(request)
            except BaseException as error:
                rest = after_failure(plan, request, error, entered)
            else:
                if not entered and isinstance(response, Response) and not response.incomplete:
                    return request, response, None
                finished = finish(plan, request, response, entered)
                if isinstance(finished, Response):
                    return request, finished, None
                rest = finished
        if plan.timeout is not None:
            return request, None, (rest, None)
        try:
            outcome = until_elsewhere(rest, rest.send, None)
        except BaseException as error:
            return request, None, (raising(error), None)
        return (request, None, (rest, outcome)) if isinstance(outcome, Call) else (request, outcome, None)

    def startup(self) -> None:
        """Do now what otherwise comes with the process's first request.  Raises what a start-up failed with."""
        if self._ready_in != process.pid:
            self.get_ready()

    def shutdown(self) -> None:
        """Do now what otherwise comes when the process exits.  The next request starts everything again.

        Raises RuntimeError for what failed.
        """
        pid = process.pid
        with self._locks.setdefault(pid, threading.Lock()):
            lifespan, self._lifespan = self._lifespan, None
            if self._ready_in == pid:
                self._ready_in = -1
                if lifespan is not None:
                    from dualroute_wsgi.loop import worker_loop

                    worker_loop().end(lifespan)

    def get_ready(self) -> None:
        """Do what comes before the first request of a process: say what can't be served, run the start-up.

        It is called by the first request, unless somebody has before: `dualroute_wsgi.start`, say.

        Raises what a start-up failed with; the next call tries again.
        """
        pid = process.pid
        # One thread does it, and the others wait.
        with self._locks.setdefault(pid, threading.Lock()):
            if self._ready_in == pid:
                return
            if self._doomed:
                raise RuntimeError("the start-up failed, and this process is about to end")
            if not self._ready_in:
                paths = websocket_paths(self._dispatcher.router)
                if paths:
                    logger.warning("WSGI has no websockets: %s can only be served by an ASGI server", ", ".join(paths))
                if (obstacle := greenlets.obstacle()) is not None:
                    logger.error("%s", obstacle)
            lifespan = Lifespan(self._dispatcher.router)
            self._lifespan = None
            if lifespan.needed():
                from dualroute_wsgi.loop import worker_loop

                try:
                    worker_loop().live(lifespan)
                except SystemExit as error:  # by which no server's thread ends a process
                    raise RuntimeError(f"the start-up called exit({error.code!r})") from error
                self._lifespan = lifespan
            self._ready_in = pid

    def _refuse(self, error: Exception, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        """Refuse a request that came before a start-up which has failed.

        A worker of a server that is known to start another one ends after it, with the reason in its log.  Otherwise
        the server gets the exception, and the next request tries again.
        """
        number = _ENDED_BY.get(str(environ.get("SERVER_SOFTWARE", "")).partition("/")[0].lower())
        if number is None:
            raise error
        with self._locks[process.pid]:
            if not self._doomed:
                self._doomed = True
                logger.critical("the start-up failed, and this worker ends: %s", told(error), exc_info=error)
                os.kill(process.pid, number)
        answer = PlainTextResponse("Service Unavailable: the application could not start", status_code=503)
        status, headers, has_body = answer.head(str(environ["REQUEST_METHOD"]))
        start_response(status, headers)
        return [answer.body] if has_body else []

    def _stream(self, served: _Served, response: Response, start_response: StartResponse) -> Iterable[bytes]:
        request = served.request
        status, headers, has_body = response.head(request.method)
        body: Any = response.body_iterator
        if has_body and is_native(response) and (body.carries_end or not served.has_more(1)):
            start_response(status, headers)
            result: Iterable[bytes] = body.hand_over(served.end_native)
            return result
        pieces = _Pieces(served, response)
        if not has_body:
            start_response(status, headers)
            return _Sent([], pieces)
        # The first piece comes before the status, so that a body that fails at once is a 500.
        try:
            pieces.prepare()
        except BodyFailed as failed:
            answer = served.context.run(stream_failed, request, response, failed.error, started=False)
            status, headers, _ = answer.head(request.method)
            start_response(status, headers)
            return _Sent([answer.body], pieces)
        except BaseException:
            pieces.end()
            raise
        start_response(status, headers)
        return pieces


def _complete(request: Any, rest: Rest, context: Context, channel: HandOverChannel) -> Response | None:
    if isinstance(rest, _Awaited):
        answer = rest.answer(request, context, channel)
        if isinstance(answer, Response):
            return answer
        rest = answer, None
    exchange, call = rest
    return drive(exchange, context, channel, call)


class _Served:
    """What is left of a request once its response is known."""

    response: Response | None = None

    def __init__(self, request: SyncRequest, context: Context, channel: HandOverChannel) -> None:
        self.request = request
        self.context = context
        self.channel = channel

    def has_more(self, expected: int = 0) -> bool:
        """Tell whether there is anything to do after the response, beside closing `expected` things."""
        if self.channel._desk is not None or (self.response is not None and self.response.background is not None):
            return True
        return len(self.request._closing or ()) > expected

    def end(self) -> None:
        """Bring the request to its end: close what is open, then run the background tasks.

        Where something goes on that was answered for, that comes when it is over: it may use what is open.
        """
        limit = self.channel.time_limit
        if limit is not None and limit.stragglers:
            threading.Thread(target=self._end_later, args=(limit,), name="dualroute-ending", daemon=True).start()
        else:
            self._end()

    def _end_later(self, limit: TimeLimit) -> None:
        on_loop = []
        for call, straggler in limit.stragglers:
            if not hasattr(straggler, "outcome"):  # a task that something on the loop has begun
                on_loop.append((call, straggler))
                continue
            straggler.desk.is_over(straggler)
            response, failure = None, None
            try:
                response = straggler.outcome()
            except BaseException as error:
                failure = error if isinstance(error, Exception) else None
            drive(limit.settle(call, response, failure), self.context, self.channel)
            del response, failure  # an exception would hold this frame, and this frame it
        limit.stragglers[:] = on_loop
        if on_loop:
            side = loop_side()
            run_async(side.outwait, (limit, side.spare_pool()), self.context, self.channel)
        self._end()

    def _end(self) -> None:
        if self.request._closing:
            drive(close_all(self.request), self.context, self.channel)
        response, self.response = self.response, None
        if response is not None and response.background is not None:
            drive(run_background(response.background), self.context, self.channel)
        if self.channel._desk is not None:
            self.channel.desk.close()

    def end_native(self, failure: Exception | None) -> None:
        """Bring the request to its end, where the server has sent the body by itself.

        Args:
            failure: what has cut the body short.
        """
        response = self.response
        if failure is not None and response is not None:
            stream_failed(self.request, response, failure, started=True)
        self.end()
        if failure is not None:
            raise ResponseCut


def _passed(request: SyncRequest, response: Response, context: Context) -> _Passed | None:
    """Return what a mounted application answers, if it can be passed to the server as it is."""
    body: Any = response.body_iterator
    if type(body) is not Reply or response.encoders or response.background is not None or body.native():
        return None
    environ: Any = request._environ
    status, headers, has_body = response.head(environ["REQUEST_METHOD"])
    if not has_body or len(request.closing) != 1:  # the one thing to close is the reply
        return None
    return _Passed(request, response, (status, headers), body, context)


class _Passed:
    """The pieces of what a mounted application answers, where nothing is around it: what the server iterates over."""

    def __init__(
        self,
        request: SyncRequest,
        response: Response,
        head: tuple[str, list[tuple[str, str]]],
        reply: Reply,
        context: Context,
    ) -> None:
        self._request = request
        self._response = response
        self._head = head
        self._reply = reply
        self._advance = reply.__next__
        self._context = context

    def start(self, start_response: StartResponse) -> None:
        """Tell the server of the status and the headers."""
        try:
            start_response(*self._head)
        except BaseException:
            self.close()
            raise

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        try:
            return self._context.run(self._advance)
        except StopIteration:
            raise
        except Exception as error:
            self._context.run(stream_failed, self._request, self._response, error, started=True)
            raise ResponseCut from None

    def close(self) -> None:
        """Close what the application returned.  The server calls this in the end, however that comes about."""
        self._context.run(self._reply.close)


class _Sent:
    """A body that is there, and what is to be done after it was sent."""

    def __init__(self, body: list[bytes], after: _Served | _Pieces) -> None:
        self._body = body
        self._after: _Served | _Pieces | None = after

    def __iter__(self) -> Iterator[bytes]:
        return iter(self._body)

    def __len__(self) -> int:
        # Servers that find a body of one piece send it with its length.
        return len(self._body)

    def close(self) -> None:
        """Do what is left.  The server calls this in the end, however that comes about."""
        after, self._after = self._after, None
        if after is not None:
            after.end()


class _Pieces:
    """The pieces of a response's body: what the server iterates over."""

    def __init__(self, served: _Served, response: Response) -> None:
        self._served = served
        self._response = response
        self._stream = BodyStream(response)
        # A mounted app's body keeps pieces itself.
        self._buffer_size: int = getattr(response.body_iterator, "buffer_size", BUFFER_SIZE)
        self._pour: Pour | None = None
        self._first: bytes | None = None
        self._closed = False

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        piece, self._first = self._first, None
        if piece is None:
            try:
                piece = self._fetch()
            except BodyFailed as failed:
                served = self._served
                served.context.run(stream_failed, served.request, self._response, failed.error, started=True)
                raise ResponseCut from None
        if piece is None:
            raise StopIteration
        return piece

    def prepare(self) -> None:
        """Get the first piece ready.  Raises BodyFailed."""
        if self._stream.is_async:
            from dualroute_wsgi.loop import Pour, worker_loop

            desk = worker_loop().serving(self._served.channel.desk)
            keep_alive = getattr(self._response.body_iterator, "keep_alive", None)
            self._pour = Pour(self._stream, desk, self._served.context, self._buffer_size, keep_alive)
        self._first = self._fetch()

    def _fetch(self) -> bytes | None:
        if self._pour is not None:
            encoding = self._stream.encoding
            return self._pour.fetch() if encoding is None else encoding.advance(self._pour.fetch)
        return self._served.context.run(self._stream.advance)

    def end(self) -> None:
        """Close the body, and bring the request to its end."""
        served = self._served
        if self._pour is not None:
            served.context = self._pour.stop()
        drive(self._stream.close(), served.context, served.channel)
        served.end()

    def close(self) -> None:
        """Do what is left.  The server calls this in the end, however that comes about."""
        if not self._closed:
            self._closed = True
            self.end()
