"""Context variables, across the border between two contexts."""

from __future__ import annotations

from contextvars import Context, copy_context

from dualroute.concurrency import threads

__all__ = ["bind_all"]


def bind_all(context: Context) -> None:
    """Bind, in the current context, the variables that are bound otherwise in `context`.

    All but the one for the threads that there are: in a thread those are others than where it was called from.
    """
    current = copy_context()
    for variable, value in context.items():
        if variable is not threads and (variable not in current or current[variable] is not value):
            variable.set(value)
