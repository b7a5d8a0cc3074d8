"""Where an exception that nobody handled is to be seen, beside the log: a test wants it raised.

Whatever logs such an exception also notes it here.  Whoever wants to see those of a request binds a list to
`unhandled` in the context that the request runs in, as `dualroute.testclient` does; elsewhere there is none, and
nothing happens.
"""

from __future__ import annotations

from contextvars import ContextVar

__all__ = ["note", "unhandled"]

unhandled: ContextVar[list[BaseException] | None] = ContextVar("dualroute.unhandled", default=None)
"""Takes the exceptions of a request that nobody handled, in order; None where nobody wants them."""


def note(error: BaseException) -> None:
    """Take note of an exception that nobody handled."""
    errors = unhandled.get()
    if errors is not None and not any(other is error for other in errors):
        errors.append(error)
