"""The time that a reader takes grows with what it reads, and not with the square of that.

What is long is one thing over and over: each word of a target, and what the target names as dear (`Target.grows`).  It
is measured in two ways.  Lines of Python that run are counted, which depends on no clock: an input eight times as long
may take ten times as many.  What runs in C (patterns, above all) runs no lines, so time is taken as well: of one long
input beside eight inputs an eighth as long, by the clock of the thread.  Linear readers take as long for the one as for
the eight, quadratic ones eight times as long; the bound lies between, and one attempt of five that keeps to it will do.
"""

from __future__ import annotations

import gc
import sys
import time
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Any

import pytest

from tests.fuzz.registry import Target, words_of
from tests.fuzz.targets import TARGETS

READERS = [target for target in TARGETS.values() if target.read is not None]

TIMES = 8
COUNTED = 1024
"""How many bytes the long input has whose lines are counted, which takes its time."""
TIMED = (8192, 16_384)

MORE_LINES = 1.25
"""For lines that run once for each input, or for each block of it."""
MORE_TIME = 3.0
ATTEMPTS = 5


def long_inputs(target: Target) -> Iterator[Callable[[int], bytes]]:
    """Yield functions that make an input of about so many bytes."""
    frames = [(b"", word, b"") for word in words_of(target.name)]
    frames += [(b"", bytes([character]), end) for character in b' \t,;="\\/a1%&(' for end in (b"", b"@")]
    for start, unit, end in [*frames, *target.grows]:
        yield lambda size, start=start, unit=unit, end=end: start + unit * (size // len(unit)) + end  # type: ignore[misc]  # its defaults are not looked at


def lines_of(read: Callable[[bytes], object], data: bytes) -> int:
    """Return how many lines of Python run while `data` is read."""
    count = 0

    def trace(frame: FrameType, event: str, arg: Any) -> Any:
        nonlocal count
        count += event == "line"
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        read(data)
    finally:
        sys.settrace(before)
    return count


def relative_time(read: Callable[[bytes], object], make: Callable[[int], bytes], size: int) -> float:
    """Return how much longer one input takes than so many that have as many bytes together."""
    short, long = make(size // TIMES), make(size)
    began = time.thread_time()
    for _ in range(TIMES):
        read(short)
    between = time.thread_time()
    read(long)
    end = time.thread_time()
    return (end - between) / max(between - began, 1e-9)


@pytest.mark.parametrize("target", READERS, ids=str)
def test_the_lines_that_run_grow_with_the_input(target: Target) -> None:
    assert target.read is not None
    for make in long_inputs(target):
        target.read(make(10))  # what is looked up once and kept
        short, long = (lines_of(target.read, make(size)) for size in (COUNTED // TIMES, COUNTED))
        assert long <= short * TIMES * MORE_LINES, make(40)


@pytest.mark.parametrize("size", TIMED)
@pytest.mark.parametrize("target", READERS, ids=str)
def test_the_time_grows_with_the_input(target: Target, size: int) -> None:
    assert target.read is not None
    for make in long_inputs(target):
        ratios: list[float] = []
        gc.disable()
        try:
            while len(ratios) < ATTEMPTS and (not ratios or min(ratios) > MORE_TIME):
                ratios.append(relative_time(target.read, make, size))
        finally:
            gc.enable()
        assert min(ratios) <= MORE_TIME, (make(40), ratios)


@pytest.mark.parametrize("size", [2048, 8192])
def test_what_takes_quadratic_time_is_told_from_what_does_not(size: int) -> None:
    import re

    def linear(data: bytes) -> object:
        return re.fullmatch(rb"a*b", data), list(data)

    def quadratic(data: bytes) -> object:
        return re.fullmatch(rb"(?:a*a*c|a*)b", data)

    def spaces(size: int) -> bytes:
        return b"a" * size

    assert min(relative_time(quadratic, spaces, size) for _ in range(ATTEMPTS)) > MORE_TIME
    assert min(relative_time(linear, spaces, size) for _ in range(ATTEMPTS)) <= MORE_TIME
