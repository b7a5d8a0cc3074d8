"""An EventSource, as the HTML standard describes it: what its parser makes of a stream."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any


@dataclass
class Event:
    """What a client is told: the type, the data, and the id that is the last by then."""

    event: str
    data: str
    id: str


@dataclass
class Parser:
    """Takes a stream in whatever pieces it comes (section 9.2.6)."""

    events: list[Event] = field(default_factory=list)
    comments: list[str] = field(default_factory=list)
    retry: int | None = None
    last_event_id: str = ""
    _id: str = ""
    _event: str = ""
    _data: str = ""
    _rest: bytes = b""

    def feed(self, piece: bytes) -> None:
        self._rest += piece
        # A CR at the end may be the first half of a CRLF.
        *lines, self._rest = re.split(rb"\r\n|\n|\r(?!\Z)", self._rest)
        for line in lines:
            self._take(line.decode())

    def _take(self, line: str) -> None:
        if not line:
            self._dispatch()
            return
        name, _, value = line.partition(":")
        value = value.removeprefix(" ")
        if not name:
            self.comments.append(value)
        elif name == "event":
            self._event = value
        elif name == "data":
            self._data += value + "\n"
        elif name == "id" and "\0" not in value:
            self._id = value
        elif name == "retry" and re.fullmatch("[0-9]+", value):
            self.retry = int(value)

    def _dispatch(self) -> None:
        self.last_event_id = self._id
        if self._data:
            self.events.append(Event(self._event or "message", self._data.removesuffix("\n"), self._id))
        self._event = self._data = ""


def parsed(stream: bytes) -> list[Any]:
    parser = Parser()
    parser.feed(stream)
    return parser.events
