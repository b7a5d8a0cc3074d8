"""One request in a mounted ASGI application: in a task of its own, or in the server's.

A `Session` runs the application in a task, and keeps what it sends until that is asked for.  A `Transfer` stands
between an application that is simply awaited and the server: it looks at what passes, so that what is wrong is found
as it is everywhere, and it tells an application whose client has gone.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import AsyncIterator, Collection, Iterable, Sequence
from contextvars import copy_context
from time import monotonic
from typing import TYPE_CHECKING, Any

from dualroute.bodies import Channel, streamable
from dualroute.contexts import bind_all
from dualroute.datastructures import HOP_BY_HOP, MutableHeaders
from dualroute.exceptions import ClientDisconnect
from dualroute.foreign import AppBroken, MountedResponse
from dualroute.responses import has_content
from dualroute.types import Message, Scope, Send
from dualroute_asgi.body import BridgedChannel
from dualroute_asgi.sending import PATIENCE

if TYPE_CHECKING:
    from dualroute.requests import Request
    from dualroute_asgi.mounted import ASGIApp

__all__ = ["Link", "Session", "Transfer"]

logger: logging.Logger = logging.getLogger("dualroute")

GRACE = 5.0
"""How many seconds an application has to end after its request was given up."""

_PIECE_SIZE = 256
"""How many bytes a piece counts for, beside its own, so that tiny ones are bounded too."""

# What holds the body of a response, or a part of it.
_BODIES = ("http.response.body", "http.response.zerocopysend", "http.response.pathsend")

_DISCONNECT: Message = {"type": "http.disconnect"}


class Session:
    """One request in an application, and the pieces of its response."""

    known: Any = ()
    """As `Passage.known`, of which there is no use here."""

    def __init__(self, app: ASGIApp, scope: Scope, channel: Channel, *, waits: bool) -> None:
        self._app = app
        self._scope = scope
        self._channel = channel
        # Whether whoever ends the session waits for what the application does after its response.
        self._waits = waits
        # Where another thread sends the pieces, the other half of them is on the way there.
        self.buffer_size: int = app.buffer_size if waits else app.buffer_size // 2
        self._source: Channel | None = None
        self._told_end = False
        self._task: asyncio.Task[None] | None = None
        self._started = False
        self._response: MountedResponse | None = None
        self._pieces: deque[bytes] = deque()
        self._size = 0
        self._complete = False
        self._failure: BaseException | None = None
        # True once nobody wants the rest of the response.
        self._gone = False
        # True for an application that did not end though it was given up.
        self._abandoned = False
        # Waited for by the consumer, by the application's send, and by its receive after the body.
        self._news: asyncio.Event = asyncio.Event()
        self._room: asyncio.Event | None = None
        self._over: asyncio.Event = asyncio.Event()

    # The application's side.

    async def _run(self) -> None:
        # Not kept, since it may lead here.
        scope, self._scope = self._scope, {}
        await self._app.app(scope, self._receive, self._send)

    async def _receive(self) -> Message:
        if self._source is None:
            self._source = streamable(self._channel)
        if not self._told_end and not self._over.is_set():
            try:
                piece = await self._source.receive()
            except ClientDisconnect:
                return dict(_DISCONNECT)
            self._told_end = not piece or self._source.ended
            return {"type": "http.request", "body": piece, "more_body": not self._told_end}
        await self._until_over()
        return dict(_DISCONNECT)

    async def _until_over(self) -> None:
        """Wait until the response is complete, or given up, or the client has gone."""
        if not isinstance(self._channel, BridgedChannel) or self._over.is_set():
            await self._over.wait()
            return
        watching = asyncio.ensure_future(self._channel.watch())
        ending = asyncio.ensure_future(self._over.wait())
        try:
            await asyncio.wait([watching, ending], return_when=asyncio.FIRST_COMPLETED)
        finally:
            watching.cancel()
            ending.cancel()
        if not self._over.is_set():
            self._give_up()

    def _give_up(self) -> None:
        self._gone = True
        self._over.set()
        if self._room is not None:
            self._room.set()

    async def _send(self, message: Message) -> None:
        kind = message["type"]
        if kind == "http.response.start":
            if self._started:
                raise AppBroken(f"{self._app.described()} sent {kind!r} twice")
            self._response = response_from(self._app, message)
            self._started = True
        elif kind == "http.response.body":
            if not self._started:
                raise AppBroken(f"{self._app.described()} sent {kind!r} before 'http.response.start'")
            if self._complete:
                raise AppBroken(f"{self._app.described()} sent {kind!r} after the end of its response")
            if self._gone:
                raise ConnectionResetError("the client is gone")
            piece = piece_from(self._app, message)
            if piece:
                self._pieces.append(bytes(piece))
                self._size += len(piece) + _PIECE_SIZE
            if not message.get("more_body"):
                self._complete = True
                self._over.set()
                self._news.set()
            elif piece:
                self._news.set()
                while self._size >= self.buffer_size and not self._gone:
                    self._room = asyncio.Event()
                    await self._room.wait()
        else:
            # Trailers, pushes, paths of files: extensions that were not offered.
            logger.debug("%s sent %r, which is dropped", self._app.described(), kind)

    def _ended(self, task: asyncio.Task[None]) -> None:
        # Through its traceback an exception holds who awaits this, so neither it nor the task is kept for longer.
        self._task = None
        failure = asyncio.CancelledError() if task.cancelled() else task.exception()
        if self._complete:
            if isinstance(failure, Exception):
                self._app.failed_after_response(failure)
        elif self._gone:
            self._failure = ClientDisconnect()
        elif failure is None:
            self._failure = AppBroken(returned_early(self._app, started=self._started))
        else:
            self._failure = failure
        self._news.set()

    # The side of whoever answers the request.

    async def begin(self) -> MountedResponse:
        """Return the response, when there is a piece of its body; all of the body, where it is there."""
        context = copy_context()
        self._task = asyncio.create_task(self._run(), context=context)
        self._task.add_done_callback(self._ended)
        await self._news.wait()
        bind_all(context)
        # Not kept, since it is going to hold this.
        response, self._response = self._response, None
        if self._failure is not None and not self._complete and not self._pieces:
            try:
                self._raise_failure()
            except Exception as error:
                if self._channel.cut_short:
                    raise ClientDisconnect from error
                raise
        assert response is not None, "there is no piece without a response"
        if self._complete:
            response.body = b"".join(self._pieces) if len(self._pieces) != 1 else self._pieces[0]
            self._pieces.clear()
        else:
            response.body_iterator = self
        return response

    @property
    def client_left(self) -> bool:
        """Whether the client is known to have gone, or the request was given up."""
        return self._gone

    @property
    def cut_short(self) -> bool:
        """Whether the client stopped short of the end of the request body."""
        return self._channel.cut_short

    def _raise_failure(self) -> None:
        failure, self._failure = self._failure, None
        assert failure is not None
        if isinstance(failure, asyncio.CancelledError):
            failure = AppBroken(f"{self._app.described()} cancelled itself")
        try:
            raise failure
        finally:
            del self, failure  # the exception would hold this frame, and this frame it

    def has_more(self) -> bool:
        """Tell whether there will be something to wait for when the response was sent."""
        return self._task is not None and not self._task.done() and (self._waits or not self._complete)

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    async def __anext__(self) -> bytes:
        while not self._pieces:
            if self._complete:
                raise StopAsyncIteration
            if self._failure is not None:
                self._raise_failure()
            self._news.clear()
            await self._news.wait()
        piece = self._pieces.popleft()
        self._size -= len(piece) + _PIECE_SIZE
        if self._room is not None and self._size <= self.buffer_size // 2:
            self._room.set()
            self._room = None
        return piece

    async def aclose(self) -> None:
        """End the session: cancel the application, unless its response is complete, and wait for it to end."""
        task = self._task
        if task is None or task.done() or self._abandoned:
            return
        if self._complete:
            if self._waits:
                await asyncio.wait([task])
            return
        self._give_up()
        task.cancel()
        _, running = await asyncio.wait([task], timeout=GRACE)
        if running:
            self._abandoned = True
            logger.error("%s goes on %g s after its request was given up", self._app.described(), GRACE)


def is_empty(message: Message) -> bool:
    """Tell whether a message of a body has nothing of it, and is not its end: nothing that a status goes out with."""
    return not message.get("body") and bool(message.get("more_body"))


class Passage:
    """What an application sends, looked at on its way to a `send` further out.

    The status goes out with the first piece of the body, as it does everywhere.

    Args:
        app: the application.
        send: takes what it sends.
    """

    # On the class until they change, since most responses are a start and a piece.
    complete: bool = False
    started: bool = False
    _start: Message | None = None
    # Whether no body may be sent.
    _without_body: bool = False
    known: Sequence[tuple[bytes, bytes]] = ()
    """The headers that were looked at further in."""

    def __init__(self, app: ASGIApp, send: Send) -> None:
        self._app = app
        self._send = send

    def _begin(self, message: Message) -> None:
        """Take in the start of a response.  Raises AppBroken for one that can't be sent."""
        if self._start is not None:
            raise AppBroken(f"{self._app.described()} sent {message['type']!r} twice")
        self._start = self._checked(message)

    def _checked(self, message: Message) -> Message:
        raise NotImplementedError

    def _looked_at(self, message: Message, method: str) -> Message:
        """Return the start of a response as one of ours would be sent."""
        headers, has_body = response_from(self._app, message).raw_wire(method)
        self._without_body = not has_body
        return {**message, "headers": headers}

    def _require_begun(self, kind: str) -> None:
        if self._start is None:
            raise AppBroken(f"{self._app.described()} sent {kind!r} before 'http.response.start'")
        if self.complete:
            raise AppBroken(f"{self._app.described()} sent {kind!r} after the end of its response")

    def drop(self, kind: str) -> None:
        """Say that nobody has asked for a message: trailers, pushes, extensions that were not offered."""
        logger.debug("%s sent %r, which is dropped", self._app.described(), kind)

    def broken_off(self) -> AppBroken:
        """Return what to say of an application that has returned too soon."""
        return AppBroken(returned_early(self._app, started=self._start is not None))


class Link(Passage):
    """What an ASGI middleware sends to the one that is around it."""

    def __init__(self, app: ASGIApp, send: Send, method: str, outer: Passage | Session) -> None:
        super().__init__(app, send)
        self._method = method
        self._outer = outer

    def _checked(self, message: Message) -> Message:
        headers = message.get("headers", ())
        if message.get("status") == 200 and self._method != "HEAD" and is_plain(headers, self.known):
            self._outer.known = list(headers)
            return message
        return self._looked_at(message, self._method)

    async def send(self, message: Message) -> None:
        kind = message["type"]
        if kind == "http.response.body":
            piece = message.get("body", b"")
            if type(piece) is not bytes:
                message = {**message, "body": bytes(piece_from(self._app, message))}
            if self._start is None or self.complete:
                self._require_begun(kind)
            start = self._start
            if not self.started and start is not None:
                if is_empty(message):
                    return
                self.started = True
                await self._send(start)
            await self._send({**message, "body": b""} if self._without_body else message)
            if not message.get("more_body"):
                self.complete = True
        elif kind == "http.response.start":
            self._begin(message)
        else:
            self.drop(kind)


class Transfer(Passage):
    """A response that an application sends to the server itself."""

    client_left: bool = False
    cut_short: bool = False
    _body_ended: bool = False
    # When others on the event loop last had their turn for certain.
    _gave_way: float = 0.0
    _watcher: asyncio.Task[None] | None = None
    _cancelled: bool = False
    _response: SentResponse | None = None

    def __init__(self, app: ASGIApp, request: Request, send: Send, extensions: Collection[str]) -> None:
        super().__init__(app, send)
        self._request = request
        self._extensions = extensions
        self._task = asyncio.current_task()

    @property
    def _channel(self) -> BridgedChannel:
        channel: Any = self._request._channel
        return channel  # type: ignore[no-any-return]  # under an ASGI server

    @property
    def response(self) -> SentResponse:
        """The response, once it was begun."""
        if self._response is None:
            assert self._start is not None, "there is none yet"
            self._response = SentResponse(self._start["status"], self._start.get("headers") or ())
        return self._response

    async def _watch(self) -> None:
        """Take note when the client goes: sending then fails, and what goes on for GRACE seconds is cancelled."""
        await self._channel.watch()
        self.client_left = True
        await asyncio.sleep(GRACE)
        if self._task is not None:
            self._cancelled = True
            self._task.cancel()

    def stop_watching(self) -> None:
        # Not kept, since what a cancelled task raised holds this.
        watcher, self._watcher = self._watcher, None
        if watcher is not None:
            watcher.cancel()

    def given_up(self) -> bool:
        """Tell whether a cancellation is the one that `_watch` made, and the only one."""
        # As in asyncio.timeout: only that one ends here.
        return self._cancelled and self._task is not None and self._task.uncancel() == 0

    async def receive(self) -> Message:
        channel = self._channel
        channel.consumed = True  # so that nobody waits for what has been read here
        message = await channel.next_event()
        if message["type"] == "http.request":
            self._body_ended = not message.get("more_body")
            if self._body_ended:
                channel.note_end()  # so that nobody reads ahead for what comes after
        else:
            self.client_left = True
            self.cut_short = not self._body_ended
        return message

    def _checked(self, message: Message) -> Message:
        status, headers = message.get("status"), message.get("headers", ())
        if type(status) is int and status <= 999 and has_content(status) and is_plain(headers, self.known):
            return message
        return self._looked_at(message, "GET")  # in answer to HEAD, the server drops the body

    async def send(self, message: Message) -> None:
        kind = message["type"]
        if kind == "http.response.start":
            self._begin(message)
            return  # it goes out with the first piece, as everywhere
        if kind == "http.response.body":
            if type(message.get("body", b"")) is not bytes:
                piece_from(self._app, message)
        elif kind not in self._extensions:
            self.drop(kind)
            return
        if kind in _BODIES:
            if self._start is None or self.complete:
                self._require_begun(kind)
            if self.client_left and self.started:
                raise ConnectionResetError("the client is gone")  # of which not every server's own send tells
        try:
            if not self.started and self._start is not None:
                if kind == "http.response.body" and is_empty(message):
                    return
                self.started = True
                await self._send(self._start)
            await self._send({**message, "body": b""} if self._without_body and "body" in message else message)
            if kind in _BODIES:
                if not message.get("more_body"):
                    self.complete = True
                    if self._watcher is not None:
                        self.stop_watching()
                elif self._watcher is None:
                    self._watcher = asyncio.create_task(self._watch())
                    self._gave_way = monotonic()
                elif monotonic() - self._gave_way > PATIENCE:
                    # Sending need not wait, least of all once the client has gone: nobody would ever notice that.
                    await asyncio.sleep(0)
                    self._gave_way = monotonic()
        except OSError:
            self.client_left = True
            raise

    def require_complete(self) -> None:
        """Raise where the application did not finish its response: AppBroken, or ClientDisconnect if it was left."""
        if not self.complete:
            if self.client_left:
                raise ClientDisconnect
            raise self.broken_off()


class SentResponse(MountedResponse):
    """What an application has sent by itself.

    Args:
        status_code: its status.
        raw_headers: its headers, as it has sent them.
    """

    sent: bool = True

    def __init__(self, status_code: int, raw_headers: Iterable[tuple[bytes, bytes]]) -> None:
        self.status_code: int = status_code
        self._given = (status_code, None)
        self._raw = raw_headers

    @property
    def headers(self) -> MutableHeaders:
        """The headers; a change of them comes too late."""
        if self._headers is None:
            self._headers = MutableHeaders.of(
                [(name.decode("latin-1"), value.decode("latin-1")) for name, value in self._raw]
            )
        return self._headers

    @headers.setter
    def headers(self, headers: MutableHeaders) -> None:
        self._headers = headers


# Names of headers that need no closer look, as ASGI has them: bounded, since programs may choose them by what clients
# send.
_plain_names: set[bytes] = set()
_PLAIN_NAMES_LIMIT = 1024


def is_plain(headers: Any, known: Sequence[tuple[bytes, bytes]]) -> bool:
    """Tell whether headers may be sent as they are.  Where not, that takes a closer look, by `response_from`.

    Args:
        headers: what an application gave.
        known: with which they most likely begin; they were looked at before.
    """
    if type(headers) is not list and type(headers) is not tuple:
        return False
    if known:
        count = len(known)
        if headers[:count] == known:
            headers = headers[count:]
    # CR, LF and NUL are told by their numbers: to look for one as bytes takes six times as long.
    for pair in headers:
        if type(pair) is not tuple or len(pair) != 2:
            return False
        name, value = pair
        if type(name) is not bytes or type(value) is not bytes or 13 in value or 10 in value or 0 in value:
            return False
        if name not in _plain_names and not _is_plain_name(name):
            return False
    return True


def _is_plain_name(name: bytes) -> bool:
    text = name.decode("latin-1")
    if text != text.lower() or text in HOP_BY_HOP:
        return False
    try:
        MutableHeaders.of([(text, "")])
    except ValueError:
        return False
    if len(_plain_names) >= _PLAIN_NAMES_LIMIT:
        _plain_names.clear()
    _plain_names.add(name)
    return True


def server_send(request: Request) -> Send | None:
    """Return what sends to the server, where that is an ASGI server; it takes no channel to be opened."""
    opener = request._opener
    if opener is not None:
        return opener[3] if opener[0] is BridgedChannel else None
    channel = request._channel
    return channel.send if isinstance(channel, BridgedChannel) else None


def returned_early(app: ASGIApp, *, started: bool) -> str:
    """Return what to say of an application that returned too soon."""
    return f"{app.described()} returned {'before the end of its response' if started else 'without a response'}"


def piece_from(app: ASGIApp, message: Message) -> bytes:
    """Return the piece of the body in an ``http.response.body`` event.  Raises AppBroken where it is no bytes."""
    piece = message.get("body", b"")
    if not isinstance(piece, bytes | bytearray | memoryview):
        raise AppBroken(f"{app.described()} sent a body of type {type(piece).__name__}; it must be bytes")
    return piece  # type: ignore[return-value]  # the others are taken as bytes


def response_from(app: ASGIApp, message: Message) -> MountedResponse:
    """Return the response that an ``http.response.start`` event begins.  Raises AppBroken where it can't be sent."""
    status = message.get("status")
    if not isinstance(status, int) or not 100 <= status <= 999:
        raise AppBroken(f"{app.described()} gave the status {status!r}; it must be a number of three digits")
    try:
        headers = [(name.decode("latin-1"), value.decode("latin-1")) for name, value in message.get("headers") or ()]
        return MountedResponse(status, headers)
    except (AttributeError, TypeError, ValueError) as error:
        raise AppBroken(f"{app.described()} gave a response header that can't be sent: {error}") from error
