"""Threads for each `def` whose time is limited: the server's own thread waits beside it, and can answer for it.

They are started when they are needed and kept; none of them keeps a process from ending.
"""

from __future__ import annotations

import os
import queue
import threading
from collections.abc import Callable
from contextvars import Context
from typing import Any

from dualroute_wsgi.desk import Desk

__all__ = ["HelperVisit"]


class HelperVisit:
    """One call in a helper's thread, for the server's thread that waits at the desk.

    Args:
        desk: where to say that it is over.
        places: one of them is taken as long as the call goes on, also when nobody waits for it any more.
    """

    def __init__(self, desk: Desk, places: threading.Semaphore) -> None:
        self.desk = desk
        self._places = places
        self._result: Any = None
        self._failure: BaseException | None = None

    def start(self, function: Callable[..., Any], args: tuple[Any, ...], context: Context) -> None:
        """Have `function` called, in `context`, in which nothing else may be running.  A place was taken before."""

        def work() -> None:
            try:
                self._result = context.run(function, *args)
            except BaseException as error:
                self._failure = error
            finally:
                self._places.release()

        _crew.take(work, lambda: self.desk.inbox.put(self))

    def outcome(self) -> Any:
        """Return what the call returned, or raise what it raised, after it is over."""
        result, failure = self._result, self._failure
        self._result = self._failure = None
        try:
            if failure is not None:
                raise failure
            return result
        finally:
            del self, failure  # the exception would hold this frame, and this frame it

    def cancel(self) -> None:
        """Have the call read no more of the body; it can't be stopped otherwise."""
        self.desk.give_up()


class _Crew:
    """The threads of a process."""

    def __init__(self) -> None:
        self._jobs: queue.SimpleQueue[tuple[Callable[[], None], Callable[[], None]]] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._idle = 0

    def take(self, job: Callable[[], None], report: Callable[[], None]) -> None:
        """Have `job` done in a thread, a new one where none is idle, and `report` called there."""
        with self._lock:
            if self._idle:
                self._idle -= 1
            else:
                threading.Thread(target=self._work, name="dualroute-helper", daemon=True).start()
        self._jobs.put((job, report))

    def _work(self) -> None:
        while True:
            job, report = self._jobs.get()
            job()
            # As good as idle: who hears of it may have the next job, and is to find this thread for it.
            with self._lock:
                self._idle += 1
            report()
            del job, report


_crew = _Crew()


def _forget() -> None:
    """Leave the parent's threads to the parent: a fork copies the crew and not the threads."""
    global _crew
    _crew = _Crew()


os.register_at_fork(after_in_child=_forget)
