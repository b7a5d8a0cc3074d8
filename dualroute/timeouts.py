"""How long a response may take: ``timeout=`` of an application, a mount, a host or a route.

The seconds count from when a request was matched until its response is there; a body that comes piece by piece after
that has all the time it wants.  The adapters keep to them, each call by itself: what is under way when they are over is
cancelled where it can be, and `HandlerTimeout` is raised in its place, for middleware and exception handlers to see.
A `def` can't be stopped, so it is answered for and goes on; what its request has open is closed when it has ended.

That happens once for a request: what is done about it has all the time it wants as well.  Not timed are websockets, and
what runs on the event loop without being awaited: a `def` with ``sync_to_thread=False``, and middleware between its
yields.
"""

from __future__ import annotations

import logging
from collections.abc import Generator
from math import inf
from time import monotonic
from typing import TYPE_CHECKING, Any

from dualroute.callables import describe
from dualroute.exceptions import HandlerTimeout
from dualroute.responses import Response

if TYPE_CHECKING:
    from dualroute.exchange import Call

__all__ = ["PATIENCE", "TimeLimit", "checked_timeout"]

logger: logging.Logger = logging.getLogger("dualroute")

PATIENCE = 0.25
"""How many seconds what was cancelled has to end, before it is answered for without that."""


class TimeLimit:
    """What is left of the time for one response.

    Args:
        seconds: how long it may take.

    `is_over` tells that nothing more is to be timed: it took too long already, or the response is there.  `stragglers`
    are the calls that are still under way though they were answered for, each with what stands for it in the adapter.
    """

    __slots__ = ("_ends_at", "is_over", "seconds", "stragglers")

    def __init__(self, seconds: float) -> None:
        self.seconds: float = seconds
        self._ends_at = monotonic() + seconds
        self.is_over: bool = False
        self.stragglers: list[tuple[Call, Any]] = []

    def applies_to(self, call: Call) -> bool:
        """Tell whether a call that is about to be made is to be timed."""
        return not self.is_over and call.is_timed

    def left_for(self, call: Call) -> float:
        """Return how many seconds there are for a call, at least 0."""
        # What is inside another call is timed by itself, and is to be found too slow first, and be answered for.
        grace = 2 * PATIENCE * call.args[-1].layers if call.nests else 0.0
        return max(0.0, self._ends_at + grace - monotonic())

    def exceeded_by(self, call: Call, straggler: Any = None) -> HandlerTimeout:
        """Take note that a call took too long, and return what is to be raised in its place.

        Args:
            call: the call.
            straggler: what stands for it in the adapter, where it is still running.
        """
        self.is_over = True
        if straggler is None:
            logger.warning(
                "%s took longer than %g s: it was given up, and answered for with 503", shown(call), self.seconds
            )
        else:
            self.stragglers.append((call, straggler))
            logger.error(
                "%s took longer than %g s and is still running: it was answered for with 503", shown(call), self.seconds
            )
        return HandlerTimeout(self.seconds)

    def settle(self, call: Call, response: Any, error: BaseException | None) -> Generator[Call, Any, None]:
        """Log that a straggler has ended, and how, and close the body of a response that comes too late.

        Args:
            call: the call.
            response: what it returned.
            error: what it failed with, if it did.
        """
        from dualroute.streams import BodyStream

        self._log_end(call, error)
        if isinstance(response, Response) and response.body_iterator is not None:
            yield from BodyStream(response).close()

    def _log_end(self, call: Call, error: BaseException | None) -> None:
        took = self.seconds + monotonic() - self._ends_at
        if error is None:
            logger.warning("%s, which was answered for with 503, has ended after %.1f s", shown(call), took)
        else:
            logger.error(
                "%s, which was answered for with 503, has failed after %.1f s", shown(call), took, exc_info=error
            )


def shown(call: Call) -> str:
    """Return how a log line names a call."""
    # A middleware that has others inside it is known by its class.
    owner: Any = getattr(call.function, "__self__", None) if call.nests else None
    name = describe(getattr(owner, "cls", None) or call.named)
    connection: Any = call.args[0] if call.args else None
    if hasattr(connection, "method") and hasattr(connection, "path"):
        return f"{connection.method} {connection.printable_path}: {name}"
    return name


def checked_timeout(timeout: float | None, where: str) -> float | None:
    """Return a timeout as it was given.  Raises ValueError for what is no positive number, or None."""
    if timeout is not None and (isinstance(timeout, bool) or not isinstance(timeout, int | float) or not timeout > 0):
        raise ValueError(f"{where}: timeout is a positive number of seconds, or None, not {timeout!r}")
    return timeout


def innermost_timeout(*timeouts: float | None) -> float | None:
    """Return the last of `timeouts` that is set, or None where that lifts it."""
    given = [timeout for timeout in timeouts if timeout is not None]
    return given[-1] if given and given[-1] != inf else None
