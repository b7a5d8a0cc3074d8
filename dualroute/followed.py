"""A list that somebody follows: what is done to it is done to what it was made from as well.

Headers are kept as text, and seen as pairs of bytes by code that was written for ASGI messages.  Where such code
changes what it sees, the change has to arrive.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, TypeVar

__all__ = ["Followed"]

_T = TypeVar("_T")


class Followed(list[_T]):
    """A list that calls `follow` with itself after each change.

    Where `follow` raises, the list is put back to what it was, and the error goes on to who changed it.

    Args:
        items: what is in it.
        follow: takes the changed list over.
    """

    __slots__ = ("_follow",)

    def __init__(self, items: Iterable[_T], follow: Callable[[list[_T]], object]) -> None:
        super().__init__(items)
        self._follow = follow


def _followed(name: str) -> Callable[..., Any]:
    change = getattr(list, name)

    def method(self: Followed[Any], *args: Any, **options: Any) -> Any:
        before = list(self)
        result = change(self, *args, **options)
        try:
            self._follow(self)
        except Exception:
            list.__setitem__(self, slice(None), before)
            raise
        return result

    method.__name__ = name
    return method


for _name in (
    "__delitem__",
    "__iadd__",
    "__imul__",
    "__setitem__",
    "append",
    "clear",
    "extend",
    "insert",
    "pop",
    "remove",
    "reverse",
    "sort",
):
    setattr(Followed, _name, _followed(_name))
