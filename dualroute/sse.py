"""Server-sent events: a response that goes on, and says something whenever there is something to say.

    async def ticks(request):
        async def events():
            for number in itertools.count(int(request.last_event_id or 0) + 1):
                yield ServerSentEvent({"tick": number}, id=str(number))
                await asyncio.sleep(1)

        return EventSourceResponse(events())

The format is the WHATWG's ("Server-sent events", section 9.2.6 of the HTML standard).  Where a client leaves, the
iterable is closed; one that comes back says by `request.last_event_id` what it has got.
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterable, AsyncIterator, Awaitable, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, TypeAlias

from dualroute.responses import JSONResponse, StreamingResponse
from dualroute.streams import KeepAlive

if TYPE_CHECKING:
    from dualroute.background import BackgroundTask, BackgroundTasks

__all__ = ["EventSourceResponse", "ServerSentEvent"]

_LINE_END = re.compile(r"\r\n|\r|\n")
_FIELDS = frozenset(("comment", "data", "event", "id", "retry"))

FIRST = 0.1
"""How many seconds a client waits for the status and the headers, where there is no event yet to go with them."""


class ServerSentEvent:
    """One event.

    Args:
        data: what it says; text as it is, in as many lines as it has, and any other value as JSON.  None for what is no
            event to the client, such as a comment.
        event: its type, which is "message" to a client where it is None.
        id: what the client sends as Last-Event-ID when it comes back.
        retry: how many milliseconds the client is to wait before it comes back.
        comment: what the client passes over.

    Raises ValueError for an `event` or an `id` with a line break in it, an `id` with a NUL in it, a negative `retry`,
    and an `event` without data, which a client passes over; TypeError for what is not of its kind.
    """

    __slots__ = ("comment", "data", "event", "id", "retry")

    def __init__(
        self,
        data: Any = None,
        *,
        event: str | None = None,
        id: str | None = None,
        retry: int | None = None,
        comment: str | None = None,
    ) -> None:
        for name, value in (("event", event), ("id", id), ("comment", comment)):
            if value is not None and not isinstance(value, str):
                raise TypeError(f"the {name} of a server-sent event is a str, not {type(value).__name__}: {value!r}")
            if value is not None and name != "comment" and _LINE_END.search(value):
                raise ValueError(f"the {name} of a server-sent event is one line, not {value!r}")
        if id is not None and "\0" in id:
            raise ValueError(f"the id of a server-sent event holds a NUL, for which a client would drop it: {id!r}")
        if event is not None and data is None:
            raise ValueError(f"an event without data reaches nobody: give {event!r} data, which may be empty")
        if retry is not None and (not isinstance(retry, int) or isinstance(retry, bool)):
            raise TypeError(f"retry is a whole number of milliseconds, not {retry!r}")
        if retry is not None and retry < 0:
            raise ValueError(f"retry is a number of milliseconds, not {retry}")
        self.data: Any = data
        self.event: str | None = event
        self.id: str | None = id
        self.retry: int | None = retry
        self.comment: str | None = comment

    def __repr__(self) -> str:
        given = ((name, getattr(self, name)) for name in ("data", "event", "id", "retry", "comment"))
        return f"ServerSentEvent({', '.join(f'{name}={value!r}' for name, value in given if value is not None)})"

    def encode(self) -> bytes:
        """Return the event as it is sent.

        Raises TypeError or ValueError for data that JSON has no form for, or that is not to be had in UTF-8.
        """
        lines = []
        if self.comment is not None:
            lines += [f": {line}" for line in _LINE_END.split(self.comment)]
        if self.event is not None:
            lines.append(f"event: {self.event}")
        if self.id is not None:
            lines.append(f"id: {self.id}")
        if self.retry is not None:
            lines.append(f"retry: {self.retry}")
        if self.data is not None:
            lines += [f"data: {line}" for line in _LINE_END.split(_text(self.data))]
        return "\n".join([*lines, "", ""]).encode() if lines else b""


def _text(data: Any) -> str:
    return data if isinstance(data, str) else JSONResponse.render(_JSON, data).decode()


_JSON = JSONResponse()

Event: TypeAlias = ServerSentEvent | Mapping[str, Any] | str
"""An event as an iterable may give it: itself, its fields by name, or its data."""


def encoded(event: Event) -> bytes:
    """Return an event as it is sent.  Raises TypeError or ValueError for what is none."""
    if isinstance(event, ServerSentEvent):
        return event.encode()
    if isinstance(event, str):
        return ServerSentEvent(event).encode()
    if isinstance(event, Mapping):
        unknown = [name for name in event if name not in _FIELDS]
        if unknown:
            raise TypeError(
                f"a server-sent event has data, event, id, retry and comment, not {unknown[0]!r}; for a value that is"
                " to be sent as JSON give ServerSentEvent(value)"
            )
        return ServerSentEvent(**event).encode()
    raise TypeError(
        f"an event is a ServerSentEvent, a mapping of its fields or a str, not {type(event).__name__}: {event!r:.200}"
    )


class EventSourceResponse(StreamingResponse):
    """Server-sent events, from an iterable or an async iterable.

    An async iterable that says nothing for a while is no reason for a proxy, or for the client, to take the connection
    for dead: a comment goes out then.  An iterable that is not async is advanced by a thread, which has no way to say
    something meanwhile, and holds that thread while it waits: for streams that last, write it as async.

    Nothing on the way is to keep events back: the response says so to caches, and to nginx.

    Args:
        content: gives events: each a `ServerSentEvent`, a mapping of its fields, or a str, its data.
        status_code: the HTTP status.
        headers: further headers.
        media_type: the media type, where it is not ``text/event-stream``.
        background: what to run after the stream has ended.
        ping: after how many seconds without an event a comment is sent, from an async iterable; None for never.

    Raises TypeError for what can't be iterated over, ValueError for a `ping` that is not above 0.
    """

    media_type: str | None = "text/event-stream"

    def __init__(
        self,
        content: Iterable[Event] | AsyncIterable[Event],
        status_code: int = 200,
        headers: Mapping[str, str] | None = None,
        media_type: str | None = None,
        background: BackgroundTask | BackgroundTasks | None = None,
        *,
        ping: float | None = 15.0,
    ) -> None:
        if ping is not None and not ping > 0:
            raise ValueError(f"ping is a number of seconds above 0, or None for no comments, not {ping!r}")
        if isinstance(content, str | bytes | Mapping) or not isinstance(content, Iterable | AsyncIterable):
            raise TypeError(
                f"an EventSourceResponse takes an iterable or an async iterable of events, not {type(content).__name__}"
            )
        body: _Events | _AsyncEvents
        if isinstance(content, AsyncIterable):
            keep_alive = None if ping is None else KeepAlive(min(FIRST, ping), ping, b": keep-alive\n\n")
            body = _AsyncEvents(content, keep_alive)
        else:
            body = _Events(content)
        super().__init__(body, status_code, headers, media_type, background)
        self.headers.setdefault("cache-control", "no-cache, no-transform")
        self.headers.setdefault("x-accel-buffering", "no")


class _Events:
    """Events, encoded one by one."""

    def __init__(self, content: Iterable[Event]) -> None:
        self._content = content
        self._iterator: Iterator[Event] | None = None

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        if self._iterator is None:
            self._iterator = iter(self._content)
        return encoded(next(self._iterator))

    def close(self) -> None:
        for thing in _once(self._iterator, self._content):
            if hasattr(thing, "close"):
                thing.close()


class _AsyncEvents:
    """The same, of an async iterable; `keep_alive` is for the adapters."""

    def __init__(self, content: AsyncIterable[Event], keep_alive: KeepAlive | None) -> None:
        self.keep_alive: KeepAlive | None = keep_alive
        self._content = content
        self._iterator: AsyncIterator[Event] | None = None

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    async def __anext__(self) -> bytes:
        if self._iterator is None:
            self._iterator = aiter(self._content)
        return encoded(await anext(self._iterator))

    async def aclose(self) -> None:
        for thing in _once(self._iterator, self._content):
            close = getattr(thing, "aclose", None) or getattr(thing, "close", None)
            closing = None if close is None else close()
            if isinstance(closing, Awaitable):
                await closing


def _once(iterator: Any, content: Any) -> tuple[Any, ...]:
    return (content,) if iterator is content or iterator is None else (iterator, content)
