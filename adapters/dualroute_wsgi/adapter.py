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
from collections.abc import Iterable
from contextvars import Context, copy_context
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

from dualroute.dispatch import websocket_paths
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
from dualroute.streams import BodyFailed, is_native
from dualroute.types import Environ, StartResponse
from dualroute_wsgi import greenlets, process
from dualroute_wsgi.body import HandOverChannel
from dualroute_wsgi.driving import drive, run_async, until_elsewhere
from dualroute_wsgi.sending import Pieces, Sent, Served, passed

if TYPE_CHECKING:
    from dualroute.handlers import Handler

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
        if rest is None and request._opener is not None and (result := passed(request, response, context)) is not None:
            result.start(start_response)
            return result
        channel: HandOverChannel = request._channel
        served = Served(request, context, channel)
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
        return Sent(body, served) if served.has_more() else body

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

    def _stream(self, served: Served, response: Response, start_response: StartResponse) -> Iterable[bytes]:
        request = served.request
        status, headers, has_body = response.head(request.method)
        body: Any = response.body_iterator
        if has_body and is_native(response) and (body.carries_end or not served.has_more(1)):
            start_response(status, headers)
            result: Iterable[bytes] = body.hand_over(served.end_native)
            return result
        pieces = Pieces(served, response)
        if not has_body:
            start_response(status, headers)
            return Sent([], pieces)
        # The first piece comes before the status, so that a body that fails at once is a 500.
        try:
            pieces.prepare()
        except BodyFailed as failed:
            answer = served.context.run(stream_failed, request, response, failed.error, started=False)
            status, headers, _ = answer.head(request.method)
            start_response(status, headers)
            return Sent([answer.body], pieces)
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
