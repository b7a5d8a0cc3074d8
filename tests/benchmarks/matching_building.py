"""What it takes to make a large table of routes, and to put one more route into a table that is in use.

Each figure comes from a process of its own, which has imported everything beforehand.  A table counts as made when it
has answered its first look-up, since some leave their work until then.  Memory is what Python allocated meanwhile, by
tracemalloc; as that slows things down, times come from another process.
"""

from __future__ import annotations

import gc
import json
import subprocess
import sys
import tracemalloc
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Any

from tests.benchmarks.harness import Times, aligned
from tests.benchmarks.matching_peers import CANDIDATES, DICT, OURS, Call, Candidate, available
from tests.benchmarks.matching_tables import LOOKUPS, Answer, Asked, Declared, rest, rest_lookups, rest_more
from tests.benchmarks.report import Bars, Section

__all__ = ["COUNT", "Memory", "Timing", "building_section", "time_building", "weigh_building"]

COUNT = 5000
"""How many routes the table has."""

ADDED = 5
"""How many routes are added, one by one; one alone where that takes seconds."""

MIB = 1024 * 1024


@dataclass(frozen=True)
class Timing:
    """In seconds: making the table, with its first look-up, and adding a route, with the look-up of that."""

    build: float
    add: float


@dataclass(frozen=True)
class Memory:
    """In bytes: the most that was allocated at once, and what the table keeps."""

    peak: int
    kept: int


def time_building(candidate: Candidate, count: int = COUNT) -> Timing:
    """Make a table, change it, and return how long that took.

    Raises AssertionError for a wrong answer.
    """
    declared = _declared(candidate, count)
    started = perf_counter()
    table = candidate.build(declared)
    first = _look_up(candidate, table, _asked(candidate, count))
    built = perf_counter() - started
    _check(candidate, *first)
    added: list[float] = []
    for extra in range(1 if candidate.slow else ADDED):
        route, asked = rest_more(count, extra)
        if candidate.name == DICT:
            route, asked = "/added", Asked("/added", Answer(200, "/added"))
        started = perf_counter()
        candidate.add(table, route)
        found = _look_up(candidate, table, asked)
        added.append(perf_counter() - started)
        _check(candidate, *found)
    return Timing(built, median(added))


def weigh_building(candidate: Candidate, count: int = COUNT) -> Memory:
    """Make a table and return how much memory that took."""
    declared = _declared(candidate, count)
    asked = _asked(candidate, count)
    # What is made once for the first of all tables, and not for each.
    _look_up(candidate, candidate.build(_declared(candidate, 2)), _asked(candidate, 2))
    gc.collect()
    tracemalloc.start()
    try:
        table = candidate.build(declared)
        _look_up(candidate, table, asked)
        gc.collect()
        kept, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    return Memory(peak, kept)


def _declared(candidate: Candidate, count: int) -> Declared:
    declared = rest(count)
    if candidate.name == DICT:
        return Declared(declared.kind, {"": declared.groups[""][::2]})
    return declared


def _asked(candidate: Candidate, count: int) -> Asked:
    lookups = rest_lookups(count)
    return lookups[next(lookup for lookup in ("last, with parameters", *LOOKUPS) if lookup not in candidate.unable)]


def _look_up(candidate: Candidate, table: Any, asked: Asked) -> tuple[Call, Any, Asked]:
    call = candidate.call(table, asked)
    result = call.function(*call.args)
    if call.awaited:
        try:
            result.send(None)
        except StopIteration as stop:
            result = stop.value
    return call, result, asked


def _check(candidate: Candidate, call: Call, result: Any, asked: Asked) -> None:
    got = call.read(result)
    assert got == asked.answer, f"building: {candidate.name} answered {got}, not {asked.answer}"


def building_section(
    rounds: int, *, count: int = COUNT, names: Sequence[str] | None = None, weigh: bool = True
) -> Section:
    """Measure in processes that take turns, and return the table.

    Args:
        rounds: how many turns each has; those that take seconds have one, as has each for its memory.
        count: how many routes the table has.
        names: the candidates, OURS among them; all by default.
        weigh: False to leave memory out.
    """
    candidates, missing = available()
    names = list(names or candidates)
    timings: dict[str, list[Timing]] = {name: [] for name in names}
    for turn in range(rounds):
        for name in names:
            if turn == 0 or not candidates[name].slow:
                timings[name].append(Timing(**_in_a_process("time", name, count)))
    sizes = {name: min(count, candidates[name].weighed or count) for name in names}
    weights = {name: Memory(**_in_a_process("weigh", name, sizes[name])) for name in names} if weigh else {}
    kept = {
        name: weight.kept / len(_declared(candidates[name], sizes[name]).groups[""]) for name, weight in weights.items()
    }
    built = Times(times={name: [timing.build for timing in each] for name, each in timings.items()})
    added = Times(times={name: [timing.add for timing in each] for name, each in timings.items()})
    rows = [
        [f"a table of {count}", "ms", f"x {OURS}", "peak, MiB", "kept, MiB", "kept / route", "add, ms", f"x {OURS}"]
    ]
    notes = [""]
    for name in names:
        weight = weights.get(name)
        memory = [f"{weight.peak / MIB:.2f}", f"{weight.kept / MIB:.2f}", f"{kept[name]:.0f}"] if weight else ["-"] * 3
        rows.append(
            [
                f"  {name}",
                f"{built.seconds(name) * 1e3:.2f}",
                f"{_ratio(built, name):.2f}",
                *memory,
                f"{added.seconds(name) * 1e3:.3f}",
                f"{_ratio(added, name):.2f}",
            ]
        )
        remarks = [
            "one round" if candidates[name].slow else "",
            f"memory: of {sizes[name]} routes" if sizes[name] < count else "",
            "static paths only" if name == DICT else "",
        ]
        notes.append(", ".join(filter(None, remarks)))
    rows += [[f"  {name}", *["-"] * 7] for name in missing]
    notes += missing.values()
    charts = [
        Bars("matching-build", f"Making a table of {count} routes", "ms", _scaled(built, 1e3)),
        Bars("matching-add", f"Adding a route to a table of {count}", "ms", _scaled(added, 1e3)),
    ]
    if weights:
        charts.append(Bars("matching-memory", f"Memory for each route in a table of {count}", "bytes", kept))
    lines = [f"{line}  {note}".rstrip() for line, note in zip(aligned(rows).splitlines(), notes, strict=True)]
    return Section(f"Route matching: building a table of {count}", "\n".join(lines), charts)


def _ratio(times: Times, name: str) -> float:
    """Return the median ratio to ours, over the rounds that a candidate had."""
    return median(own / ours for own, ours in zip(times.times[name], times.times[OURS], strict=False))


def _scaled(times: Times, factor: float) -> dict[str, float]:
    return {name: times.seconds(name) * factor for name in times.times}


def _in_a_process(what: str, name: str, count: int) -> dict[str, Any]:
    # The path that this process has, so that the other one measures the same dualroute, installed or not.
    path = [*sys.path, str(Path(__file__).parents[2])]
    script = (
        "import json, sys; sys.path[:] = json.loads(sys.argv[1]);"
        " from tests.benchmarks.matching_building import main; main(*sys.argv[2:])"
    )
    ran = subprocess.run(
        [sys.executable, "-c", script, json.dumps(path), what, name, str(count)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 0, f"building: {what}, {name}: {ran.stderr}"
    result: dict[str, Any] = json.loads(ran.stdout)
    return result


def main(what: str, name: str, count: str) -> None:
    """Time or weigh one candidate and print the outcome as JSON."""
    candidate = next(kind for kind in CANDIDATES if kind.name == name)()
    measure = time_building if what == "time" else weigh_building
    print(json.dumps(vars(measure(candidate, int(count)))))
