"""What an application that is simply awaited sends, looked at on its way to who is around it.

So what is wrong is found as it is everywhere.  A `Link` stands between an ASGI middleware and the one around it, and a
`Transfer` between an application and the server: that one also tells an application whose client has gone.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Collection, Iterable, Sequence
from typing import TYPE_CHECKING, Any

from dualroute.datastructures import MutableHeaders
from dualroute.exceptions import ClientDisconnect
from dualroute.foreign import AppBroken, MountedResponse
from dualroute.responses import has_content
from dualroute.types import Message, Send
from dualroute_asgi import sessions
from dualroute_asgi.body import BridgedChannel
from dualroute_asgi.messages import is_plain, piece_from, response_from, returned_early, send_tells
from dualroute_asgi.sending import Turns

if TYPE_CHECKING:
    from dualroute.requests import Request
    from dualroute_asgi.mounted import ASGIApp

__all__ = ["Link", "Transfer", "server_send"]

logger: logging.Logger = logging.getLogger("dualroute")

# What holds the body of a response, or a part of it.
_BODIES = ("http.response.body", "http.response.zerocopysend", "http.response.pathsend")


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

    def __init__(self, app: ASGIApp, send: Send, method: str, outer: Passage | sessions.Session) -> None:
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
    # Whether the application waits for the client to go, or was told that it has.
    _listens: bool = False
    _turns: Turns | None = None
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
        """Take note when the client goes: sending then fails, and what goes on for long enough is cancelled."""
        await self._channel.watch()
        self.client_left = True
        await asyncio.sleep(sessions.GRACE)
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
        self._listens = self._body_ended
        message = await channel.next_event()
        if message["type"] == "http.request":
            self._body_ended = not message.get("more_body")
            if self._body_ended:
                channel.note_end()  # so that nobody reads ahead for what comes after
        else:
            self.client_left = self._listens = channel.disconnected = True
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
            if (
                self.client_left
                and self.started
                and not (self._listens and not send_tells(self._request.scope.get("asgi")))
            ):
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
                    self._turns = Turns()
                elif self._turns is not None and self._turns.due():
                    await asyncio.sleep(0)
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


def server_send(request: Request) -> Send | None:
    """Return what sends to the server, where that is an ASGI server; it takes no channel to be opened."""
    opener = request._opener
    if opener is not None:
        return opener[3] if opener[0] is BridgedChannel else None
    channel = request._channel
    return channel.send if isinstance(channel, BridgedChannel) else None
