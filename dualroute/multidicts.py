"""Mappings whose keys may repeat: those of query strings and forms."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Self, TypeVar
from urllib.parse import parse_qsl, urlencode

__all__ = ["ImmutableMultiDict", "MultiDict", "QueryParams"]

_K = TypeVar("_K")
_V_co = TypeVar("_V_co", covariant=True)


class ImmutableMultiDict(Mapping[_K, _V_co]):
    """A mapping whose keys may repeat.  As a mapping it shows the last value of each key.

    Args:
        items: pairs, or a mapping.
        pairs: further pairs, by name.
    """

    __slots__ = ("_dict", "_list")

    def __init__(self, items: Mapping[_K, _V_co] | Iterable[tuple[_K, _V_co]] = (), /, **pairs: Any) -> None:
        given: Any = items
        if isinstance(items, ImmutableMultiDict):
            given = items._list
        elif isinstance(items, Mapping):
            given = items.items()
        self._list: list[tuple[_K, _V_co]] = list(given)
        if pairs:
            further: Any = pairs.items()
            self._list.extend(further)
        self._dict: dict[_K, _V_co] = dict(self._list)

    @classmethod
    def _of(cls, pairs: list[tuple[_K, _V_co]]) -> Self:
        """Return the mapping of these pairs.  The list is not copied, and must not be changed afterwards."""
        self = cls.__new__(cls)
        self._list = pairs
        self._dict = dict(pairs)
        return self

    def __getitem__(self, key: _K) -> _V_co:
        return self._dict[key]

    def __iter__(self) -> Iterator[_K]:
        return iter(self._dict)

    def __len__(self) -> int:
        return len(self._dict)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, ImmutableMultiDict):
            return NotImplemented
        return type(self) is type(other) and sorted(self._list, key=repr) == sorted(other._list, key=repr)

    __hash__ = None  # type: ignore[assignment]  # as for a dict: equal by content

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._list!r})"

    def getlist(self, key: Any) -> list[_V_co]:
        """Return every value of `key`, in order."""
        return [value for name, value in self._list if name == key]

    def multi_items(self) -> list[tuple[_K, _V_co]]:
        """Return every pair, in order, repeated keys included."""
        return list(self._list)


class MultiDict(ImmutableMultiDict[Any, Any]):
    """A mapping whose keys may repeat, and which may be changed."""

    __slots__ = ()

    def __setitem__(self, key: Any, value: Any) -> None:
        """Set `key` to one value, in place of all that it has."""
        self.setlist(key, [value])

    def __delitem__(self, key: Any) -> None:
        """Remove every value of `key`.  Raises KeyError where it has none."""
        del self._dict[key]
        self._drop(key)

    def _drop(self, *keys: Any) -> None:
        self._list = [pair for pair in self._list if pair[0] not in keys]

    def pop(self, key: Any, default: Any = None) -> Any:
        """Remove every value of `key`, and return the last of them, or `default`."""
        self._drop(key)
        return self._dict.pop(key, default)

    def popitem(self) -> tuple[Any, Any]:
        """Remove a key, and return it with the last of its values.  Raises KeyError where there is none."""
        key, value = self._dict.popitem()
        self._drop(key)
        return key, value

    def poplist(self, key: Any) -> list[Any]:
        """Remove every value of `key`, and return them, in order."""
        values = self.getlist(key)
        self.pop(key)
        return values

    def clear(self) -> None:
        """Remove everything."""
        self._list, self._dict = [], {}

    def setdefault(self, key: Any, default: Any = None) -> Any:
        """Set `key` to `default` unless it is there, and return what it then is."""
        if key not in self._dict:
            self.append(key, default)
        return self._dict[key]

    def setlist(self, key: Any, values: Iterable[Any]) -> None:
        """Set the values of `key`, in place of all that it has; no values remove it."""
        given = list(values)
        self.pop(key)
        for value in given:
            self.append(key, value)

    def append(self, key: Any, value: Any) -> None:
        """Add a value to those that `key` has."""
        self._list.append((key, value))
        self._dict[key] = value

    def update(self, items: Mapping[Any, Any] | Iterable[tuple[Any, Any]] = (), /, **pairs: Any) -> None:
        """Set each of the keys given to the values given with it, in place of those that it has."""
        given = MultiDict(items, **pairs)
        self._drop(*given)
        self._list.extend(given._list)
        self._dict.update(given._dict)


class QueryParams(ImmutableMultiDict[str, str]):
    """The parameters of a query string.

    Args:
        items: a query string, as text or as bytes, or pairs, or a mapping; keys and values are made text.
        pairs: further pairs, by name.
    """

    __slots__ = ()

    def __init__(
        self, items: str | bytes | Mapping[str, Any] | Iterable[tuple[str, Any]] = (), /, **pairs: Any
    ) -> None:
        if isinstance(items, bytes):
            items = items.decode("latin-1")
        if isinstance(items, str):
            super().__init__(parse_qsl(items, keep_blank_values=True))
            if not pairs:
                return
            items = self._list
        given = ImmutableMultiDict(items, **pairs)
        super().__init__([(str(key), str(value)) for key, value in given.multi_items()])

    def __str__(self) -> str:
        return urlencode(self._list)
