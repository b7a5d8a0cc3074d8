"""Sample paths: what a URL pattern of any framework could be asked with.

Whether one pattern covers another can't be read off their texts, but paths that the one takes can be handed to the
other.  So a pattern is kept as its *parts*, texts and `Choice`s of values, and what comes out is every combination.
The values are drawn from one list, tried in turn against the regular expression and the conversion of the parameter,
which tells an ``int`` from a ``str``, a ``path`` or a ``uuid`` without knowing any framework's names for those.
"""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Callable, Iterable, Iterator
from typing import Any, NamedTuple, TypeAlias

__all__ = ["Choice", "NoSample", "Part", "Sample", "choice", "names", "regex_groups", "samples"]

LIMIT: int = 64
"""How many samples of one pattern are made at most, unless told otherwise."""

# The most telling first, as the last ones go where there would be too many combinations.
_VALUES = ("a", "1", "a/b", "a-b.c", "1.5", "6f1c2a30-5b1d-4c8e-9f7a-0123456789ab", "42", "2024")
# For parameters that hardly take any of those.
_RARE_VALUES = (
    "abc",
    "A",
    "ABC",
    "a_b",
    "-1",
    "-1.5",
    "2024-01-31",
    "10:30",
    "a@b.c",
    "a.b",
    "/a",
    "a/",
    "a b",
    "",
    "00000000-0000-4000-8000-000000000000",
)


class NoSample(Exception):
    """No value could be found that a parameter takes."""


class Choice(NamedTuple):
    """A parameter of a pattern, and values that it takes."""

    name: str
    values: tuple[str, ...]


Part: TypeAlias = str | Choice


class Sample(NamedTuple):
    """One text that a pattern takes, and the values in it, in the order of the pattern's choices."""

    text: str
    values: tuple[str, ...]


def choice(name: str, regex: str, convert: Callable[[str], Any] | None = None) -> Choice:
    """Return values that a parameter takes.

    Args:
        name: the parameter's name.
        regex: what it takes.
        convert: raises for a text that `regex` matches and that is no value all the same.

    Raises NoSample where nothing is found.
    """

    def takes(value: str) -> bool:
        if pattern.fullmatch(value) is None:
            return False
        if convert is not None:
            try:
                convert(value)
            except Exception:  # a user's code, for which there are many ways to refuse
                return False
        return True

    try:
        pattern = re.compile(regex)
    except re.error as error:
        raise NoSample(f"{name}: {error}") from None
    # Of (en|de) each alternative.
    named = re.split(r"[|()?:^$]+", re.sub(r"\\([^\w])", r"\1", regex)) if "|" in regex else []
    # Of [0-9a-f]{32} the repetition.
    repeated = [letter * min(int(times), 100) for times in re.findall(r"\{(\d{1,3})", regex) for letter in "1aA"]
    values = [value for value in dict.fromkeys((*_VALUES, *named, *repeated)) if takes(value)]
    if len(values) < 2:  # one value could be a literal of some other pattern
        values += [value for value in (*_RARE_VALUES, regex) if value not in values and takes(value)]
    if values:
        return Choice(name, tuple(values[:LIMIT]))
    raise NoSample(f"{name}: nothing is known that {regex!r} takes")


def samples(parts: Iterable[Part], limit: int = LIMIT) -> Iterator[Sample]:
    """Yield texts that the parts take: every combination of the choices' values, of fewer values beyond `limit`."""
    parts = tuple(parts)
    values = [part.values for part in parts if isinstance(part, Choice)]
    counts = [len(each) for each in values]
    while math.prod(counts) > limit:
        counts[counts.index(max(counts))] -= 1
    for chosen in itertools.product(*(each[:count] for each, count in zip(values, counts, strict=True))):
        left = iter(chosen)
        yield Sample("".join(part if isinstance(part, str) else next(left) for part in parts), chosen)


def names(parts: Iterable[Part]) -> tuple[str, ...]:
    """Return the names of the choices, in the order of a sample's values."""
    return tuple(part.name for part in parts if isinstance(part, Choice))


def regex_groups(regex: str) -> dict[str, str]:
    """Return what each outermost capturing group of a regular expression holds.

    A named group stands under its name, the others under ``_0``, ``_1`` and so on.
    """
    groups: dict[str, str] = {}
    opened: list[tuple[str | None, int]] = []  # the name, or None for a group that counts for nothing; its start
    unnamed = 0
    for match in re.finditer(r"\\.|\[\^?\]?(?:\\.|[^\]\\])*\]|\((?:\?P<(\w+)>|\?)?|\)", regex, re.DOTALL):
        token = match[0]
        if token == ")" and opened:
            name, start = opened.pop()
            if name is not None:
                groups[name] = regex[start : match.start()]
        elif token.startswith("("):
            name = match[1]
            if any(outer is not None for outer, _ in opened) or token == "(?":
                name = None
            elif token == "(":
                name, unnamed = f"_{unnamed}", unnamed + 1
            opened.append((name, match.end()))
    return groups
