"""What it costs to find the route for a request, the rest of a framework left out.

There are three parts: look-ups in tables of REST shape, from small to large; look-ups in tables of other shapes, those
that are hard on an index among them; and what it takes to make a large table, and to change one that is in use.

Candidates and sizes take turns, as in `tests.benchmarks.harness`, and every ratio is taken within a round.  So that a
turn need not collect the garbage of all the tables there are, these are frozen once, before the first turn.
"""

from __future__ import annotations

import gc
import inspect
from collections.abc import Iterator, Mapping, Sequence
from itertools import repeat
from time import perf_counter
from typing import Any

from tests.benchmarks.harness import Times, aligned
from tests.benchmarks.matching_building import building_section
from tests.benchmarks.matching_peers import BARE, Call, Candidate, available
from tests.benchmarks.matching_tables import LOOKUPS, SHAPES, Answer, Asked, rest, rest_lookups
from tests.benchmarks.report import Lines, Section

__all__ = ["SIZES", "answer", "lookup_sections", "measure", "sections", "shapes_section"]

SIZES = (10, 100, 1000, 5000)
"""How many routes the tables of REST shape have."""

CHARTS = {"last, with parameters": "matching-last", "404, no such resource": "matching-404"}
"""The look-ups that a chart is made of, and the names of these."""

_CALIBRATION = 0.02


def sections(rounds: int = 7, seconds: float = 0.05) -> Iterator[Section]:
    """Measure everything, and yield it table by table.

    Args:
        rounds: how many times each candidate has its turn.
        seconds: how long a turn is; 0 for a single look-up, which shows only that everything runs.
    """
    yield from lookup_sections(rounds, seconds)
    yield shapes_section(rounds, seconds)
    yield building_section(rounds)


# Measuring


def answer(call: Call) -> Answer:
    """Look up once and return what comes of it."""
    result = call.function(*call.args)
    return call.read(_run(result) if call.awaited else result)


def measure(title: str, calls: Mapping[str, tuple[Call, Asked]], *, rounds: int, seconds: float) -> Times:
    """Check look-ups, then time them in turns.

    Raises AssertionError for one that gives another answer than it is to give.
    """
    for name, (call, asked) in calls.items():
        got = answer(call)
        assert got == asked.answer, f"{title}: {name} answered {got}, not {asked.answer}"
    times: dict[str, list[float]] = {name: [] for name in calls}
    gc.collect()
    gc.freeze()
    try:
        counts = {name: _count(call, seconds) for name, (call, _) in calls.items()}
        for _ in range(rounds):
            for name, (call, _) in calls.items():
                gc.collect()
                gc.freeze()
                times[name].append(_time(call, counts[name]) / counts[name])
    finally:
        gc.unfreeze()
    return Times(times=times)


def _count(call: Call, seconds: float) -> int:
    if not seconds:
        return 1
    count = 1
    while (taken := _time(call, count)) < _CALIBRATION:
        count *= 2
    return max(1, round(count * seconds / taken))


def _time(call: Call, count: int) -> float:
    function, args = call.function, call.args
    if call.awaited:
        return float(_run(_time_awaited(call, count)))
    started = perf_counter()
    for _ in repeat(None, count):
        function(*args)
    return perf_counter() - started


async def _time_awaited(call: Call, count: int) -> float:
    function, args = call.function, call.args
    started = perf_counter()
    for _ in repeat(None, count):
        await function(*args)
    return perf_counter() - started


def _run(coroutine: Any) -> Any:
    """Return the result of a coroutine that waits for nothing, and so needs no event loop."""
    assert inspect.iscoroutine(coroutine)
    try:
        coroutine.send(None)
    except StopIteration as stop:
        return stop.value
    raise AssertionError("a look-up waited for something")


# Tables of REST shape


def lookup_sections(rounds: int, seconds: float, sizes: Sequence[int] = SIZES) -> Iterator[Section]:
    """Yield a table for each kind of look-up, over tables of these sizes."""
    candidates, missing = available()
    tables = {name: [candidate.build(rest(size)) for size in sizes] for name, candidate in candidates.items()}
    for lookup in LOOKUPS:
        yield _lookup_section(lookup, candidates, missing, tables, sizes, rounds, seconds)


def _lookup_section(
    lookup: str,
    candidates: Mapping[str, Candidate],
    missing: Mapping[str, str],
    tables: Mapping[str, Sequence[Any]],
    sizes: Sequence[int],
    rounds: int,
    seconds: float,
) -> Section:
    calls: dict[str, tuple[Call, Asked]] = {}
    for name, candidate in candidates.items():
        if lookup in candidate.unable:
            continue
        for size, table in zip(sizes, tables[name], strict=True):
            asked = rest_lookups(size)[lookup]
            calls[_at(name, size)] = candidate.call(table, asked), asked
    times = measure(lookup, calls, rounds=rounds, seconds=seconds)
    small, large = sizes[0], sizes[-1]
    rows = [
        [f"look-up: {lookup}", *(f"µs, {size}" for size in sizes), f"x bare, {large}", f"{large} / {small}"],
    ]
    notes = [""]
    lines: dict[str, list[float | None]] = {}
    for name in (*candidates, *missing):
        reason = missing.get(name) or candidates[name].unable.get(lookup)
        if reason is not None:
            rows.append([f"  {name}", *["-"] * (len(sizes) + 2)])
            notes.append(reason)
            continue
        taken = [times.seconds(_at(name, size)) * 1e6 for size in sizes]
        lines[name] = [*taken]
        to_bare = times.ratio(_at(name, large), _at(BARE, large))
        growth = times.ratio(_at(name, large), _at(name, small))
        rows.append([f"  {name}", *map(_micros, taken), f"{to_bare:.2f}", f"{growth:.2f}"])
        notes.append(candidates[name].remark)
    charts: list[Lines] = []
    if lookup in CHARTS:
        charts.append(Lines(CHARTS[lookup], f"Look-up: {lookup}", "µs", "routes in the table", list(sizes), lines))
    return Section(f"Route matching: {lookup}", _noted(rows, notes), charts)


def _at(name: str, size: int) -> str:
    return f"{name} of {size}"


def _micros(taken: float) -> str:
    return f"{taken:.2f}" if taken < 100 else f"{taken:.0f}"


def _noted(rows: list[list[str]], notes: list[str]) -> str:
    lines = aligned(rows).splitlines()
    return "\n".join(f"{line}  {note}".rstrip() for line, note in zip(lines, notes, strict=True))


# Other shapes


def shapes_section(rounds: int, seconds: float, sizes: tuple[int, int] | None = None) -> Section:
    """Return the table of the other shapes: each at its own two sizes, or at these."""
    candidates, missing = available()
    rows = [["look-ups in other shapes, µs", "hit, few", "hit, many", "x", "none, few", "none, many", "x"]]
    notes = [""]
    for shape in SHAPES:
        few, many = sizes or shape.sizes
        calls: dict[str, tuple[Call, Asked]] = {}
        left_out: dict[str, str] = {**missing}
        for name, candidate in candidates.items():
            for size in (few, many):
                declared, hit, none = shape.make(size)
                if declared.kind not in candidate.kinds:
                    left_out[name] = f"has no {declared.kind} of its own"
                elif shape.name in candidate.unable:
                    left_out[name] = candidate.unable[shape.name]
                else:
                    table = candidate.build(declared)
                    calls[f"{name} hit {size}"] = candidate.call(table, hit), hit
                    calls[f"{name} none {size}"] = candidate.call(table, none), none
        times = measure(shape.name, calls, rounds=rounds, seconds=seconds)
        rows.append([f"{shape.name}: {shape.routes(few)} and {shape.routes(many)}"])
        notes.append("")
        for name in (each for each in candidates if each not in left_out):
            cells = []
            for kind in ("hit", "none"):
                first, last = f"{name} {kind} {few}", f"{name} {kind} {many}"
                cells += [_micros(times.seconds(each) * 1e6) for each in (first, last)]
                cells.append(f"{times.ratio(last, first):.2f}")
            rows.append([f"  {name}", *cells])
            notes.append(candidates[name].remark)
        for reason in dict.fromkeys(left_out.values()):
            rows.append([f"  left out: {', '.join(name for name in left_out if left_out[name] == reason)} ({reason})"])
            notes.append("")
    return Section("Route matching: other shapes", _noted(rows, notes))
