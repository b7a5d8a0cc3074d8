"""An event loop that waits at a lock as long as nothing but a thread of the process can have work for it.

An event loop waits in the operating system's selector, and a thread that has work for it writes a byte into a pipe: a
system call to write, one to wait and one to read, where a lock takes a part of one.  But most of the time the worker's
event loop has no socket to watch but the other end of that pipe.  It then waits at a lock, the gate.

No wake-up is lost in going from one to the other.  Who has work puts it down, then opens the gate, then looks where
the loop waits, and writes to the pipe unless that is at the gate.  The loop says where it is going to wait, then looks
for work, and then waits; and an open gate stays open for who comes to it later.

Where threads are greenlets they share what asyncio keeps by thread: which event loop is running.  There the loop says
that it is running only while it does not wait, and so a `def` may run an event loop of its own meanwhile.
"""

from __future__ import annotations

import asyncio
import selectors
import threading
from collections import deque
from collections.abc import Callable
from contextvars import Context
from typing import Any, TypeVarTuple

from dualroute_wsgi import greenlets

__all__ = ["ParkingLoop", "ParkingSelector"]

_Args = TypeVarTuple("_Args")
_Job = tuple[Callable[..., object], tuple[Any, ...]]


class ParkingSelector(selectors.DefaultSelector):
    """The selector of such a loop, in which it waits."""

    def __init__(self) -> None:
        super().__init__()
        self.jobs: deque[_Job] = deque()
        self.is_at_gate: bool = False
        self._gate = threading.Lock()
        self._gate.acquire()

    def open_gate(self) -> None:
        if self._gate.locked():
            try:
                self._gate.release()
            except RuntimeError:
                pass  # somebody else was faster

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        jobs = self.jobs
        self.is_at_gate = len(self.get_map()) == 1  # the pipe
        events = self.wait(0 if jobs else timeout)
        while jobs:
            function, args = jobs.popleft()
            function(*args)
        return events

    def wait(self, timeout: float | None) -> list[tuple[selectors.SelectorKey, int]]:
        """Wait where it was said, `timeout` seconds at most; return what sockets are ready."""
        if not self.is_at_gate:
            return super().select(timeout)
        if timeout is None:
            self._gate.acquire()
        elif timeout > 0:
            self._gate.acquire(timeout=timeout)
        else:
            self._gate.acquire(blocking=False)
        return []


class _GreenletSelector(ParkingSelector):
    """The selector of such a loop that runs in a greenlet."""

    def __init__(self) -> None:
        super().__init__()
        # Those of other greenlets come and go while this one waits, and never otherwise.
        self._other: asyncio.AbstractEventLoop | None = None

    def wait(self, timeout: float | None) -> list[tuple[selectors.SelectorKey, int]]:
        own = asyncio._get_running_loop()
        asyncio._set_running_loop(self._other)
        try:
            return super().wait(timeout)
        finally:
            self._other = asyncio._get_running_loop()
            asyncio._set_running_loop(own)


class ParkingLoop(asyncio.SelectorEventLoop):
    """Such an event loop."""

    def __init__(self) -> None:
        self._parking = _GreenletSelector() if greenlets.are_threads() else ParkingSelector()
        super().__init__(self._parking)

    def hand_over(self, function: Callable[..., object], *args: Any) -> None:
        """Have ``function(*args)`` called on the loop: what `call_soon_threadsafe` does, at less cost.

        There is no handle to cancel it by, and it may raise nothing.  Raises RuntimeError where the loop is closed.
        """
        if self.is_closed():
            raise RuntimeError("Event loop is closed")
        parking = self._parking
        parking.jobs.append((function, args))
        parking.open_gate()
        if not parking.is_at_gate:
            super().call_soon_threadsafe(_nothing)

    def call_soon_threadsafe(
        self, callback: Callable[[*_Args], object], *args: *_Args, context: Context | None = None
    ) -> asyncio.Handle:
        handle = super().call_soon_threadsafe(callback, *args, context=context)
        self._parking.open_gate()
        return handle


def _nothing() -> None:
    """What a loop that waits for its pipe is woken for, to look for work."""
