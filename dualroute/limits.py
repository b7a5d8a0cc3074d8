"""Limits: how much of a request an app takes."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Limits"]


@dataclass(frozen=True, kw_only=True)
class Limits:
    """How much of a request is taken; what goes beyond is answered 413.

    Set on an app, a mount, a host or a route; the innermost that is set counts.

    Args:
        max_body_size: the most bytes that a request body may have, or None for any number.  The bytes that come are
            counted, whatever the Content-Length says.

    Raises ValueError for a negative size.
    """

    max_body_size: int | None = None

    def __post_init__(self) -> None:
        if self.max_body_size is not None and self.max_body_size < 0:
            raise ValueError(f"max_body_size is a number of bytes, not {self.max_body_size}")
