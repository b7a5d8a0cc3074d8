"""What a request takes of memory, while it is answered and when it is over.

While it is answered: how many blocks the interpreter has more, when the answer is handed over, than before the request;
and by how many bytes the peak in between is above what there was, as tracemalloc sees it.  Both count what
a server would hold as well, the scope or environ for one; the raw callable shows how much that is.

When a thousand of them are over: how many blocks are still there, after a collection; and how many objects each has
left in reference cycles, for the garbage collector to find.
"""

from __future__ import annotations

import gc
import sys
import tracemalloc
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from statistics import median

from tests.benchmarks import asked
from tests.benchmarks.cases import CASES
from tests.benchmarks.harness import App, Case, Driver, Unable, aligned, check
from tests.benchmarks.report import Bars, Section, slug

__all__ = ["ASKED", "Held", "HeldResult", "held_table", "measure_held", "sections"]

REQUESTS = 1_000
"""After how many requests is looked at what is still there."""

WATCHED = 25

ASKED = (
    f"ASGI {asked.ASYNC}",
    f"WSGI {asked.DEF}",
    f"ASGI {asked.ECHO}",
    f"WSGI {asked.ECHO}",
    f"ASGI {asked.MIDDLEWARE}",
    f"WSGI {asked.MIDDLEWARE}",
)
"""The names of the cases whose requests are looked at."""


@dataclass(frozen=True)
class Held:
    """What the requests to one candidate take.

    Args:
        blocks: how many blocks one has in use when its answer is there.
        peak: how many bytes one takes at most.
        kept: how many blocks are still in use after `REQUESTS` of them.
        cycles: how many objects one leaves in reference cycles.
    """

    blocks: float
    peak: float
    kept: int
    cycles: float


@dataclass(frozen=True)
class HeldResult:
    """What the requests of one case take, by candidate."""

    case: Case
    requests: int
    held: dict[str, Held]
    notes: dict[str, str]


def sections(*, rounds: int, seconds: float) -> Iterator[Section]:
    """Measure, and return the tables; for 0 seconds in a quick form, and else the arguments change nothing."""
    for case in CASES:
        if case.name in ASKED:
            result = measure_held(case, requests=REQUESTS if seconds else 10)
            bars = {name: held.peak / 1024 for name, held in result.held.items()}
            title = f"{case.name}: memory of a request"
            chart = Bars(slug(title), f"{case.name}: the most memory that a request takes", "KiB", bars)
            yield Section(title, held_table(result), [chart])


def measure_held(case: Case, *, requests: int = REQUESTS) -> HeldResult:
    """Check the candidates of a case, and look at what their requests take."""
    with ExitStack() as stack:
        driver = case.driver()
        stack.callback(driver.close)
        made = case.make(stack)
        apps = {name: app for name, app in made.items() if not isinstance(app, Unable)}
        check(case, apps, driver)
        return HeldResult(
            case=case,
            requests=requests,
            held={name: _held(driver, app, requests) for name, app in apps.items()},
            notes={name: app.reason for name, app in made.items() if isinstance(app, Unable)},
        )


def held_table(result: HeldResult) -> str:
    """Return the table of one case."""
    rows = [[f"{result.case.name}: memory", "blocks", "KiB", f"kept of {result.requests:,}", "in cycles"]]
    for name, held in result.held.items():
        rows.append(
            [f"  {name}", f"{held.blocks:.0f}", f"{held.peak / 1024:.1f}", str(held.kept), f"{held.cycles:.1f}"]
        )
    return "\n".join([aligned(rows), *(f"  {name}: left out, {note}" for name, note in result.notes.items())])


def _held(driver: Driver, app: App, requests: int) -> Held:
    driver.time(app, max(WATCHED, requests // 10))  # what is made once
    gc.collect()
    # Collections look at what comes from here on, and take no longer where there is much else.
    gc.freeze()
    try:
        return _held_of_late(driver, app, requests)
    finally:
        gc.unfreeze()


def _held_of_late(driver: Driver, app: App, requests: int) -> Held:
    watched = min(WATCHED, requests)
    gc.collect()
    blocks = median(driver.watch(app, watched, sys.getallocatedblocks, sys.getallocatedblocks))
    gc.collect()
    tracemalloc.start()
    try:
        peak = median(driver.watch(app, watched, _reset_peak, _peak))
    finally:
        tracemalloc.stop()
    kept = _kept(driver, app, requests)
    gc.collect()
    gc.disable()
    try:
        driver.time(app, watched)
        cycles = gc.collect() / watched
    finally:
        gc.enable()
    return Held(blocks, peak, kept, cycles)


def _kept(driver: Driver, app: App, requests: int) -> int:
    """Return how many blocks more are in use after so many requests, the least of three times.

    The interpreter keeps a few of its own for later use, or gives them back.
    """
    least = sys.maxsize
    for _ in range(3):
        gc.collect()
        before = sys.getallocatedblocks()
        driver.time(app, requests)
        gc.collect()
        least = min(least, sys.getallocatedblocks() - before)
    return least


def _reset_peak() -> int:
    tracemalloc.reset_peak()
    return tracemalloc.get_traced_memory()[0]


def _peak() -> int:
    return tracemalloc.get_traced_memory()[1]
