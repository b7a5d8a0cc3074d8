"""What a fuzz target is, and what it is fed with.

A target takes bytes, has one of our readers read them, and fails by any exception but those that the reader documents,
or by what it asserts of the outcome.  The same targets are run by hypothesis in the test run and by whatever engine
``python -m tests.fuzz`` finds.
"""

from __future__ import annotations

import ast
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

__all__ = ["KEPT", "TARGETS", "Choices", "Target", "seeds_of", "target", "words_of"]

HERE = Path(__file__).parent
KEPT = HERE / "kept"
"""Inputs that once failed: files called after their target, a hyphen, and what was wrong."""

_T = TypeVar("_T")


@dataclass(frozen=True)
class Target:
    """A fuzz target.

    Args:
        name: its name.
        check: takes an input, and raises where something is wrong.
        read: does no more than the reading, for tests of how long that takes; None where that is not of interest.
        grows: what long inputs are made of: what comes first, what is repeated and what comes last.  Beside these, each
            word of the target is repeated by itself.
    """

    name: str
    check: Callable[[bytes], None]
    read: Callable[[bytes], object] | None = None
    grows: tuple[tuple[bytes, bytes, bytes], ...] = field(default=())

    def __str__(self) -> str:
        return self.name


TARGETS: dict[str, Target] = {}
"""All targets by name: `tests.fuzz.targets` fills it."""


def target(
    *, read: Callable[[bytes], object] | None = None, grows: tuple[tuple[bytes, bytes, bytes], ...] = ()
) -> Callable[[Callable[[bytes], None]], Callable[[bytes], None]]:
    """Make a function a target, of its own name."""

    def register(check: Callable[[bytes], None]) -> Callable[[bytes], None]:
        TARGETS[check.__name__] = Target(check.__name__, check, read, grows)
        return check

    return register


class Choices:
    """An input, of which a target takes its choices from the end, so that what is in front reads as it is meant."""

    def __init__(self, data: bytes) -> None:
        self._data = data

    def number(self, below: int) -> int:
        """Return a number from 0 to `below`, which is at most 256 and not reached."""
        last, self._data = self._data[-1:], self._data[:-1]
        return last[0] % below if last else 0

    def one_of(self, things: list[_T] | tuple[_T, ...]) -> _T:
        """Return one of some things."""
        return things[self.number(len(things))]

    @property
    def rest(self) -> bytes:
        """What no choice has taken."""
        return self._data


def words_of(name: str) -> list[bytes]:
    """Return the words of a target's dictionary, which is written as libFuzzer wants it."""
    return _quoted(HERE / "words" / f"{name}.dict")


def seeds_of(name: str) -> list[bytes]:
    """Return the inputs that a target begins with."""
    return _quoted(HERE / "seeds" / f"{name}.txt")


def _quoted(path: Path) -> list[bytes]:
    lines = path.read_text("ascii").splitlines() if path.exists() else []
    literals: list[Any] = [ast.literal_eval(f"b{line}") for line in lines if line and not line.startswith("#")]
    return literals
