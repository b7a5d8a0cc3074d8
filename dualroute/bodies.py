"""Request bodies: where the next piece comes from, in either colour.

A `Channel` hands out the pieces of one request's body.  It has the same method twice, `receive` for `async def`
handlers and `read` for `def` ones; of the two, one is the server's own way and the other a hand-over that the
adapter adds.  What has been read is kept on the channel, so that a handler, a middleware and an exception handler of
either colour see one body.

Both ways hand out the same bytes and end alike: an empty piece after the last one, `ClientDisconnect` where the
client stopped short.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Generator
from typing import TYPE_CHECKING, Any, TypeVar

from dualroute.exceptions import BodyTooLarge, ClientDisconnect, HTTPException
from dualroute.types import Environ, Message, Receive, Send

if TYPE_CHECKING:
    from dualroute.forms import KeptForm
    from dualroute.limits import Limits
    from dualroute.responses import Response
    from dualroute.timeouts import TimeLimit

__all__ = ["Channel", "InputChannel", "KeptChannel", "ReceiveChannel", "streamable"]

# More digits than any body has bytes, and fewer than int() refuses.
_LENGTH = re.compile("[0-9]{1,18}", re.ASCII)

_T = TypeVar("_T")
_C = TypeVar("_C", bound="Channel")

BUFFER_SIZE = 1_048_576
"""How many bytes at most lie between two threads, each way, unless an app is told otherwise."""

CHUNK_SIZE = 65_536
"""How many bytes of a WSGI request body are asked for at a time."""


class Channel:
    """The body of one request, and what else an adapter has for it; the base of both kinds.

    `body` is the whole body once it has been read as one, `form` the form once it has been read as that, and `consumed`
    tells that pieces were handed out; `ended` that there are no more, `cut_short` that there should have been, and
    `too_large` that there are more than `limit` bytes.  `limits` are those that the route was found to have,
    and `time_limit` the time that there is for its response, if that is limited.  `outer` is the request's own channel,
    where this one stands for a body that a middleware gives in its place.
    """

    # On the class until they change, since most requests are answered without a look at their body.
    body: bytes | None = None
    form: KeptForm | None = None
    limits: Limits | None = None
    time_limit: TimeLimit | None = None
    outer: Channel | None = None
    consumed: bool = False
    ended: bool = False
    cut_short: bool = False
    disconnected: bool = False
    too_large: bool = False
    limit: int | None = None
    _counted: int = 0

    async def receive(self) -> bytes:
        """Return the next piece of the body; empty after the last.  Raises ClientDisconnect or BodyTooLarge."""
        raise NotImplementedError

    def read(self) -> bytes:
        """Return the next piece of the body, waiting for it; empty after the last.

        Raises ClientDisconnect or BodyTooLarge.
        """
        raise NotImplementedError

    async def send_event(self, message: Message) -> None:
        """Send an event of an ASGI extension; nothing where there is no ASGI server."""

    def send_event_from_thread(self, message: Message) -> None:
        """Send an event of an ASGI extension, from a thread that is not the event loop's, and wait for that."""

    def in_server_thread(self, function: Callable[[], None]) -> None:
        """Have the thread of a WSGI server call `function`, which does not fail, before it sends anything."""
        function()

    async def drive_async(self, exchange: Generator[Any, Any, _T]) -> _T:
        """Perform an exchange inside that of the request, from an `async def`: see `dualroute.exchange.Driver`."""
        return await self._require_outer().drive_async(exchange)

    def drive(self, exchange: Generator[Any, Any, _T]) -> _T:
        """Do the same, from a thread."""
        return self._require_outer().drive(exchange)

    def over(self, receive: Receive) -> Channel:
        """Return a channel for the same request, whose body is what `receive` gives; both colours can read it."""
        return self._require_outer().over(receive)

    def over_input(self, environ: Environ) -> Channel:
        """Return a channel for the same request, whose body is what ``wsgi.input`` of `environ` gives."""
        return self._require_outer().over_input(environ)

    def pieces_of(self, response: Response) -> Any:
        """Return the pieces of a response that is iterated over, for an `async def` to send.

        They have the methods `advance_async` and `close_async` of a `BodyStream` that is async.
        """
        return self._require_outer().pieces_of(response)

    def _require_outer(self) -> Channel:
        if self.outer is None:
            raise RuntimeError(
                "this request was made by hand, and did not come through an app: nothing can be inside it"
            )
        return self.outer

    def _share_limits(self, channel: _C) -> _C:
        """Have another channel for the same request keep to the same limits, and return it."""
        channel.limits, channel.limit, channel.time_limit = self.limits, self.limit, self.time_limit
        return channel

    def may_have_body(self) -> bool:
        """Tell whether the request may have a body, without reading it."""
        return not self.ended

    def restrict(self, limit: int, length: str | None) -> None:
        """Have reading raise BodyTooLarge beyond `limit` bytes; at once where `length`, as announced, is beyond."""
        self.limit = limit
        announced = int(length) if length is not None and _LENGTH.fullmatch(length) else 0
        self.too_large = max(announced, self._counted) > limit

    def require_within_limit(self) -> None:
        """Raise BodyTooLarge where the body is known to be."""
        if self.too_large:
            raise BodyTooLarge(self.limit or 0)

    def require_kept(self, limit: int | None) -> None:
        """Raise BodyTooLarge where more was read than `limit`, whatever became of the error that reading gave.

        Where another limit was set since, further in, that is answered for there.
        """
        if self.limit == limit:
            self.require_within_limit()

    def _count(self, piece: bytes) -> bytes:
        """Take note of a piece, and return it.  Raises BodyTooLarge.  Only called where there is a limit."""
        assert self.limit is not None, "what is counted has a limit"
        self._counted += len(piece)
        if self.too_large or self._counted > self.limit:
            self.too_large = True
            raise BodyTooLarge(self.limit)
        return piece

    def _end(self, *, cut_short: bool = False) -> None:
        """Take note that nothing more comes, and that the client stopped short if it did."""
        self.ended = True
        if cut_short:
            self.cut_short = self.disconnected = True

    def note_end(self) -> None:
        """Take note that others have received all of the body."""
        self._end()

    def _after_end(self) -> bytes:
        """Return what follows the last piece: nothing, each time it is asked for.  Raises ClientDisconnect."""
        if self.cut_short:
            raise ClientDisconnect
        return b""

    def note_disconnect(self) -> None:
        """Take note that the client is gone."""
        self.disconnected = True

    async def gone(self) -> bool:
        """Tell whether the client is known to have gone, without waiting for anything."""
        return self.disconnected


class KeptChannel(Channel):
    """A body that is there."""

    def __init__(self, body: bytes) -> None:
        self._piece = body

    def read(self) -> bytes:
        piece, self._piece = self._piece, b""
        return piece

    async def receive(self) -> bytes:
        return self.read()


class ReceiveChannel(Channel):
    """The body behind an ASGI `receive`."""

    send: Send | None = None
    """What sends events, where there is anything for that."""

    def __init__(self, receive: Receive) -> None:
        self._receive = receive

    async def send_event(self, message: Message) -> None:
        if self.send is not None:
            await self.send(message)

    async def receive(self) -> bytes:
        if self.too_large:
            return self._count(b"")
        while not self.ended:
            piece = self.accept(await self._receive())
            if piece:
                return piece if self.limit is None else self._count(piece)
        return self._after_end()

    def accept(self, message: Message) -> bytes:
        """Take an event from the server, and return the piece of the body in it.  Raises ClientDisconnect."""
        if message["type"] == "http.request":
            if not message.get("more_body"):
                self._end()
            piece: bytes = message.get("body") or b""
            return piece
        # The specification has only http.disconnect beside http.request.
        if not self.ended:
            self._end(cut_short=True)
        self.note_disconnect()
        return self._after_end()

    def read(self) -> bytes:
        raise RuntimeError(
            "a SyncRequest made from an ASGI scope by hand can't read its body; make a Request and await that"
        )


class InputChannel(Channel):
    """The body behind ``wsgi.input``.

    With a Content-Length, that many bytes are the body, counted, since a server may show a client that stopped short
    only as an early end.  Without one, or beside a Transfer-Encoding (RFC 9112 section 6.3: the length is then not to
    be trusted), the input is read to its end if the server says that it has one (``wsgi.input_terminated``), and is
    taken to be empty otherwise, because reading on would wait for the next request.  A server that hands over a
    Transfer-Encoding and does not say so has left the chunks as they came: reading is answered 411 then, since an
    upload must not be lost in silence.
    """

    def __init__(self, environ: Environ) -> None:
        self._input: Any = environ["wsgi.input"]
        self._remaining: int | None = 0
        terminated = environ.get("wsgi.input_terminated")
        length: str | None = environ.get("CONTENT_LENGTH")
        chunked = bool(environ.get("HTTP_TRANSFER_ENCODING"))
        self._unframed = chunked and not terminated
        if self._unframed:
            return
        if length and _LENGTH.fullmatch(length) and not (chunked and terminated):
            self._remaining = int(length)
        elif terminated:
            self._remaining = None
        if self._remaining == 0:
            self._end()

    def read(self) -> bytes:
        if self._unframed:
            raise HTTPException(411, "Length Required: the server that answers here takes no body in chunks")
        if self.too_large:
            return self._count(b"")
        if self.ended:
            return self._after_end()
        remaining = self._remaining
        try:
            piece: bytes = self._input.read(CHUNK_SIZE if remaining is None else min(CHUNK_SIZE, remaining))
        except Exception as error:
            # Servers raise what they like for a broken chunk or a lost connection: OSError, or a class of their own.
            self._end(cut_short=True)
            raise ClientDisconnect from error
        if remaining is not None:
            self._remaining = remaining - len(piece)
            if not piece:
                self._end(cut_short=True)
                raise ClientDisconnect
            if self._remaining == 0:
                self._end()
        elif not piece:
            self._end()
        return piece if self.limit is None else self._count(piece)

    async def receive(self) -> bytes:
        """Return the next piece.  It is read in place; the WSGI adapter's own channel has the server's thread do it."""
        return self.read()


def streamable(channel: Channel) -> Channel:
    """Return the channel to take pieces from: `channel` itself, once, or the body that it has kept."""
    if channel.body is not None:
        return KeptChannel(channel.body)
    if channel.consumed:
        raise RuntimeError("the body was streamed before; read it with body(), which keeps it, to use it twice")
    channel.consumed = True
    return channel
