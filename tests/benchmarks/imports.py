"""What an import costs, which each worker of a server pays for when it starts.

Each figure is from an interpreter of its own, which times the import alone: its own start does not count, nor does
what that has loaded anyway.  The candidates take turns, as in `tests.benchmarks.harness`, and every ratio is taken
within a round.  Compiling is no part of it: all of them find the bytecode that a round aside has left for them.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from statistics import median, quantiles

from tests.benchmarks.harness import aligned
from tests.benchmarks.report import Bars, Section

__all__ = ["CANDIDATES", "OURS", "PEER", "ImportResult", "imports_table", "measure_imports", "section"]

OURS = "dualroute"
PEER = "werkzeug.datastructures"
"""What the others are compared with: the least of Werkzeug that a WSGI framework on top of it loads."""

CANDIDATES = tuple(
    name
    for name in (OURS, PEER, "starlette.applications", "flask", "falcon")
    if find_spec(name.partition(".")[0]) is not None  # who is not installed is left out
)

_TIMED = """
import sys
from time import perf_counter

started = perf_counter()
__import__(sys.argv[1])
print(perf_counter() - started)
"""


@dataclass(frozen=True)
class ImportResult:
    """By candidate, the seconds that each round took."""

    times: dict[str, list[float]]

    def seconds(self, name: str) -> float:
        """Return the median of a candidate's rounds."""
        return median(self.times[name])

    def spread(self, name: str) -> float:
        """Return what lies between a candidate's quartiles, as a share of its median."""
        rounds = self.times[name]
        if len(rounds) < 2:
            return 0.0
        low, _, high = quantiles(rounds, n=4)
        return (high - low) / self.seconds(name)

    def ratio(self, name: str) -> float:
        """Return how many times as long as `PEER` a candidate takes: the median over the rounds."""
        return median([ours / theirs for ours, theirs in zip(self.times[name], self.times[PEER], strict=True)])


def measure_imports(names: Sequence[str] = CANDIDATES, *, rounds: int = 15) -> ImportResult:
    """Time the imports of modules, `PEER` among them, in turns.

    Raises subprocess.CalledProcessError for a module that can't be imported.
    """
    times: dict[str, list[float]] = {name: [] for name in names}
    with tempfile.TemporaryDirectory() as folder:
        for name in names:
            _timed(name, folder)  # which compiles it
        for _ in range(rounds):
            for name in names:
                times[name].append(_timed(name, folder))
    return ImportResult(times)


def _timed(name: str, folder: str) -> float:
    environ = {key: value for key, value in os.environ.items() if key != "PYTHONDONTWRITEBYTECODE"}
    ran = subprocess.run(
        # -P: what is imported is what is installed, and not what lies about.
        [sys.executable, "-P", "-X", f"pycache_prefix={folder}", "-c", _TIMED, name],
        capture_output=True,
        check=True,
        cwd=folder,
        env=environ,
        text=True,
        timeout=120,
    )
    return float(ran.stdout)


def imports_table(result: ImportResult) -> str:
    """Return a result as a table."""
    rows = [["import", "ms", "±", f"x {PEER}"]]
    for name in result.times:
        shown = [f"{result.seconds(name) * 1e3:.1f}", f"{result.spread(name) / 2:.1%}", f"{result.ratio(name):.2f}"]
        rows.append([name, *shown])
    return aligned(rows)


def section(result: ImportResult) -> Section:
    """Return the table of a result, and its chart."""
    values = {name: result.seconds(name) * 1e3 for name in result.times}
    return Section("Imports", imports_table(result), [Bars("imports", "What it takes to import", "ms", values)])
