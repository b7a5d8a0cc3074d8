"""Limits: how much of a request is taken."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

__all__ = ["Limits"]


class _Unset:
    def __repr__(self) -> str:
        return "…"


_unset: Any = _Unset()

_DEFAULTS: dict[str, float | None] = {
    "max_body_size": None,
    "max_form_fields": 1000,
    "max_form_files": 1000,
    "max_part_size": 1024 * 1024,
    "max_text_size": 16 * 1024 * 1024,
    "max_file_size": None,
    "max_part_headers": 32,
    "max_part_header_size": 8 * 1024,
    "max_message_size": None,
    "idle_timeout": None,
}


@dataclass(frozen=True, kw_only=True)
class Limits:
    """How much of a request is taken; what goes beyond is answered 413.

    Set on an app, a mount, a host or a route.  Each limit by itself counts as the innermost has it that sets it, so a
    route that allows larger files keeps its app's limit on whole bodies.  None sets it to any number.

    All sizes are in bytes.  The bytes that come are counted, whatever a Content-Length says.

    Args:
        max_body_size: the whole request body, a form or anything else; any size unless set.
        max_form_fields: how many text fields a form may have; 1000 unless set.
        max_form_files: how many files it may have; 1000 unless set.
        max_part_size: one text field, in multipart its value and in a urlencoded form its name and value as they are
            sent; 1 MiB unless set.
        max_text_size: all text fields of a form together, which are held in memory; 16 MiB unless set.
        max_file_size: one file; any size unless set.  A file of more than 1 MiB is kept on disk.
        max_part_headers: how many headers one part of a multipart form may have; 32 unless set.  Beyond, and beyond
            the next, the form is malformed: 400.
        max_part_header_size: the headers of one part together; 8 KiB unless set.
        max_message_size: one websocket message, a text as UTF-8; any size unless set.  A larger one closes the
            websocket with 1009.  Servers have a limit of their own.
        idle_timeout: how many seconds may pass without a message while the app waits for one; any number unless set.
            The websocket is then closed with 1001.

    Raises ValueError for a negative number, or a time that is not positive.
    """

    max_body_size: int | None = _unset
    max_form_fields: int | None = _unset
    max_form_files: int | None = _unset
    max_part_size: int | None = _unset
    max_text_size: int | None = _unset
    max_file_size: int | None = _unset
    max_part_headers: int | None = _unset
    max_part_header_size: int | None = _unset
    max_message_size: int | None = _unset
    idle_timeout: float | None = _unset
    _given: frozenset[str] = field(init=False, repr=False, default=frozenset())

    def __post_init__(self) -> None:
        given = set()
        for name, default in _DEFAULTS.items():
            value: Any = getattr(self, name)
            if value is _unset:
                object.__setattr__(self, name, default)
                continue
            given.add(name)
            if name == "idle_timeout":
                if value is not None and (not isinstance(value, int | float) or value <= 0):
                    raise ValueError(f"idle_timeout is a number of seconds, or None for any number, not {value!r}")
            elif value is not None and (not isinstance(value, int) or value < 0):
                what = "bytes" if name.endswith("_size") else name.rpartition("_")[2]
                raise ValueError(f"{name} is a number of {what}, or None for any number, not {value!r}")
        object.__setattr__(self, "_given", frozenset(given))

    def inside(self, outer: Limits | None) -> Limits:
        """Return these limits, completed by those that only `outer` sets."""
        if outer is None:
            return self
        names = self._given | outer._given
        return Limits(**{name: getattr(self if name in self._given else outer, name) for name in names})


def checked_limits(limits: Limits | None, where: str) -> Limits | None:
    """Return limits as they were given.  Raises TypeError for what are none."""
    if limits is not None and not isinstance(limits, Limits):
        raise TypeError(f"{where}: limits are Limits(…), not {limits!r}")
    return limits
