"""The one benchmark that sets a bound, which is a ratio: importing dualroute beside the least of Werkzeug."""

from __future__ import annotations

from tests.benchmarks.imports import OURS, PEER, measure_imports, section
from tests.benchmarks.sources import Run


def test_importing_dualroute_takes_less_than_twice_what_importing_werkzeug_datastructures_takes(run: Run) -> None:
    result = measure_imports()
    run.show(section(result))
    assert result.ratio(OURS) < 2, f"importing {OURS} takes {result.ratio(OURS):.2f} times as long as {PEER}"
