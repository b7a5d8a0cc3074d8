"""The one benchmark that sets a bound, which is a ratio: importing dualroute beside the least of Werkzeug."""

from __future__ import annotations

import pytest

from tests.benchmarks.harness import environment
from tests.benchmarks.imports import OURS, PEER, imports_table, measure_imports

pytest.importorskip("falcon", reason="it is imported for comparison")


def test_importing_dualroute_takes_less_than_twice_what_importing_werkzeug_datastructures_takes() -> None:
    result = measure_imports()
    print(f"\n{environment()}\n\n{imports_table(result)}")
    assert result.ratio(OURS) < 2, f"importing {OURS} takes {result.ratio(OURS):.2f} times as long as {PEER}"
