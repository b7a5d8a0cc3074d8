"""An attribute that is made when it is first asked for, and kept from then on."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

__all__ = ["Lazily"]


class Lazily:
    """Such an attribute of each instance of a class.

    Unlike `functools.cached_property` it takes no lock on any Python, and leaves the instance's attributes where they
    are fast to get at.

    Args:
        make: returns its value for an instance.
    """

    __slots__ = ("_make", "_name")

    def __init__(self, make: Callable[[Any], Any]) -> None:
        self._make = make
        self._name = ""

    def __set_name__(self, owner: type[Any], name: str) -> None:
        self._name = name

    def __get__(self, instance: Any, owner: type[Any]) -> Any:
        if instance is None:
            return self
        value = self._make(instance)
        setattr(instance, self._name, value)
        return value
