"""Context variables, across the border between two contexts."""

from __future__ import annotations

from contextvars import Context, copy_context

__all__ = ["bind_all"]


def bind_all(context: Context) -> None:
    """Bind, in the current context, the variables that are bound otherwise in `context`."""
    current = copy_context()
    for variable, value in context.items():
        if variable not in current or current[variable] is not value:
            variable.set(value)
