"""All that there is to measure, and a run of it."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from tests.benchmarks import bridge_memory, bridges, cases, imports, matching, memory, report, served
from tests.benchmarks.bridges import DIRECTIONS, MIB, Line
from tests.benchmarks.harness import OURS, Case, Result, measure, summary
from tests.benchmarks.report import Bars, Section, slug

__all__ = ["IMPORTS", "SOURCES", "Run", "Source"]


@dataclass
class Run:
    """One run: how long it takes, and what has come of it so far.

    Args:
        rounds: how many turns each candidate has.
        seconds: how long a turn is.
    """

    rounds: int = 7
    seconds: float = 0.2
    results: list[Result] = field(default_factory=list)
    sections: list[Section] = field(default_factory=list)

    def take(self, source: Source) -> None:
        """Measure what comes of a source, and print it."""
        for section in source.sections(self):
            self.show(section)

    def show(self, section: Section) -> None:
        """Print a section, and keep it."""
        self.sections.append(section)
        print(f"\n{section.text}", flush=True)

    def finish(self, folder: Path | None) -> None:
        """Print the summary, and write everything to a folder; None for nowhere."""
        sections = list(self.sections)
        if self.results:
            sections.insert(0, summarised(self.results))
            print(f"\n{sections[0].text}", flush=True)
        if folder is not None and sections:
            report.write(sections, folder)
            print(f"\nwritten to {folder}", flush=True)


@dataclass(frozen=True)
class Source:
    """Something to measure.

    Args:
        name: what it is picked by.
        sections: measures it, for a run.
    """

    name: str
    sections: Callable[[Run], Iterator[Section]]


class _Sections(Protocol):
    def __call__(self, *, rounds: int, seconds: float) -> Iterator[Section]: ...


def summarised(results: list[Result]) -> Section:
    """Return what ours costs in every case, as a part of what the best peer costs."""
    shares = {}
    for result in results:
        peer = result.best_peer()
        if peer is not None and (share := result.relative_overhead(OURS, peer)) is not None:
            shares[f"{result.case.name} ({peer.partition(',')[0]})"] = share
    bars = Bars(
        "every-case", f"Overhead of {OURS} as a part of that of the best peer", "times the peer's overhead", shares
    )
    return Section("Every case", summary(results), [bars] if shares else [])


def _case(case: Case) -> Source:
    def sections(run: Run) -> Iterator[Section]:
        result = measure(case, rounds=run.rounds, seconds=run.seconds)
        run.results.append(result)
        yield cases.section(result)

    return Source(case.name, sections)


def _bridge(line: Line) -> Source:
    name = f"bridges {line.name}"

    def sections(run: Run) -> Iterator[Section]:
        result = bridges.measure(line, rounds=run.rounds, seconds=run.seconds)
        values = {candidate: bridges.figure(line, result.seconds(candidate)) for candidate in result.times}
        bars = Bars(slug(name), line.name, line.unit, values, more_is_better=line.unit == "MiB/s")
        yield Section(f"Bridges, {line.name}", bridges.table(result), [bars])

    return Source(name, sections)


def _bridge_memory(protocol: str) -> Source:
    name = f"bridges {DIRECTIONS[protocol]}: memory"

    def sections(run: Run) -> Iterator[Section]:
        result = bridge_memory.memory(protocol, rounds=min(run.rounds, 3))
        most = {
            candidate: max(growth or 0.0 for growth in growths.values()) / MIB
            for candidate, growths in result.growths.items()
        }
        title = f"{DIRECTIONS[protocol]}: the most that carrying {result.size // MIB} MiB takes"
        yield Section(
            f"Bridges, {DIRECTIONS[protocol]}: memory",
            bridge_memory.memory_table(result),
            [Bars(slug(name), title, "MiB", most)],
        )

    return Source(name, sections)


def _imports(run: Run) -> Iterator[Section]:
    yield imports.section(imports.measure_imports(rounds=max(run.rounds, 9)))


def _served(*, rounds: int, seconds: float, lines: Sequence[served.Line]) -> Iterator[Section]:
    return served.sections(rounds=rounds, seconds=max(1.0, seconds * 10), lines=lines)


def _further(name: str, sections: _Sections) -> Source:
    return Source(name, lambda run: sections(rounds=run.rounds, seconds=run.seconds))


IMPORTS = Source("imports", _imports)

# What modules of their own measure.
FURTHER: dict[str, _Sections] = {
    "memory of a request": memory.sections,
    # There are hundreds of look-ups, each of which is a matter of microseconds.
    "matching": lambda *, rounds, seconds: matching.sections(rounds=rounds, seconds=seconds / 4),
    # wrk takes whole seconds.
    **{f"served {line.name}": functools.partial(_served, lines=(line,)) for line in served.LINES},
}

SOURCES = (
    *(_case(case) for case in cases.CASES),
    *(_further(name, sections) for name, sections in FURTHER.items()),
    *(_bridge(line) for line in bridges.lines()),
    *(_bridge_memory(protocol) for protocol in DIRECTIONS),
    IMPORTS,
)
"""In the order in which they are measured."""
