"""What a WSGI server gets to iterate over, and what is done when that ends (PEP 3333).

Most responses need neither: their body is a list of one piece.  The others close what their request has open, run the
background tasks, and cut a body that fails.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextvars import Context
from typing import TYPE_CHECKING, Any

from dualroute.applications import loop_side
from dualroute.background import run_background
from dualroute.bodies import BUFFER_SIZE
from dualroute.exceptions import ResponseCut
from dualroute.exchange import stream_failed
from dualroute.responses import Response
from dualroute.streams import BodyFailed, BodyStream, close_all
from dualroute.timeouts import TimeLimit
from dualroute.types import StartResponse
from dualroute_wsgi.body import HandOverChannel
from dualroute_wsgi.driving import drive, run_async
from dualroute_wsgi.replies import Reply

if TYPE_CHECKING:
    from dualroute.requests import SyncRequest
    from dualroute_wsgi.loop import Pour

__all__ = ["Passed", "Pieces", "Sent", "Served", "passed"]


class Served:
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


def passed(request: SyncRequest, response: Response, context: Context) -> Passed | None:
    """Return what a mounted application answers, if it can be passed to the server as it is."""
    body: Any = response.body_iterator
    if type(body) is not Reply or response.encoders or response.background is not None or body.native():
        return None
    environ: Any = request._environ
    status, headers, has_body = response.head(environ["REQUEST_METHOD"])
    if not has_body or len(request.closing) != 1:  # the one thing to close is the reply
        return None
    return Passed(request, response, (status, headers), body, context)


class Passed:
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


class Sent:
    """A body that is there, and what is to be done after it was sent."""

    def __init__(self, body: list[bytes], after: Served | Pieces) -> None:
        self._body = body
        self._after: Served | Pieces | None = after

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


class Pieces:
    """The pieces of a response's body: what the server iterates over."""

    def __init__(self, served: Served, response: Response) -> None:
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
            try:
                return self._pour.fetch() if encoding is None else encoding.advance(self._pour.fetch)
            except BodyFailed:
                # If it was the encoding, pieces may still be made, in the context that what comes now is to run in.
                self._stop()
                raise
        return self._served.context.run(self._stream.advance)

    def _stop(self) -> None:
        if self._pour is not None:
            self._served.context = self._pour.stop()

    def end(self) -> None:
        """Close the body, and bring the request to its end."""
        self._stop()
        served = self._served
        drive(self._stream.close(), served.context, served.channel)
        served.end()

    def close(self) -> None:
        """Do what is left.  The server calls this in the end, however that comes about."""
        if not self._closed:
            self._closed = True
            self.end()
