"""The benchmark through real servers runs, and every candidate gives the right answer.  How fast is not looked at."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from tests.benchmarks import served, served_apps
from tests.benchmarks.report import Bars
from tests.benchmarks.served import LINES, NO_WRK, Cores
from tests.benchmarks.served_apps import CANDIDATES, OURS

if TYPE_CHECKING:
    from tests.benchmarks.served import Line

pytestmark = pytest.mark.skipif(served.missing_wrk(), reason=NO_WRK)


@pytest.mark.parametrize("line", LINES, ids=lambda line: line.name)
def test_every_candidate_gives_the_right_answer(line: Line) -> None:
    if line.missing:
        pytest.skip(line.missing)
    # On whatever core is free: other tests run meanwhile.
    result = served.measure(line, rounds=1, seconds=0, where=Cores(None, None))
    assert {line.reference, OURS} <= result.times.keys()
    # Who does not take part has a note about why.
    assert result.times.keys() | result.absent.keys() == CANDIDATES[line.server.protocol][line.path].keys()
    section = served.section(result)
    assert all(name in section.text for name in (line.name, *result.times, *result.absent))
    (chart,) = section.charts  # without `wrk` there is none about processor time
    assert isinstance(chart, Bars)
    assert chart.values.keys() == result.times.keys()
    assert chart.values[line.reference] == 1


@pytest.mark.parametrize("line", LINES[::3], ids=lambda line: line.server.name)
def test_wrk_loads_a_server_that_is_on_a_core_of_its_own(line: Line) -> None:
    if line.missing:
        pytest.skip(line.missing)
    allowed = os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else None
    result = served.measure(line, rounds=1, seconds=1, names=[line.reference, OURS])
    assert result.times.keys() == {line.reference, OURS}
    (load,) = result.loads[OURS]
    assert load.requests > 1
    assert 0 < load.p50 <= load.p99
    assert load.failures == load.socket_errors == 0
    if allowed is not None:
        assert os.sched_getaffinity(0) == allowed
        assert load.cpu is not None
        _, chart = served.section(result).charts
        assert chart.values.keys() == result.times.keys()


def test_without_wrk_a_note_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(served, "missing_wrk", lambda: True)
    (section,) = served.sections()
    assert section.text == NO_WRK


@pytest.mark.parametrize(
    ("name", "imported"),
    [("raw", set()), (OURS, {"dualroute"}), ("Starlette", {"starlette"}), ("Falcon", {"falcon"})],
)
def test_a_server_imports_only_the_framework_of_its_app(name: str, imported: set[str]) -> None:
    candidate = CANDIDATES["asgi"][served_apps.HELLO][name]
    if candidate.missing:
        pytest.skip(candidate.missing)
    script = (
        "import json, sys; sys.path[:] = json.loads(sys.argv[1]);"
        " from tests.benchmarks import served_apps; getattr(served_apps, sys.argv[2]); print(*sys.modules)"
    )
    path = json.dumps([*sys.path, str(served.TESTS.parent)])
    command = [sys.executable, "-c", script, path, candidate.attribute]
    ran = subprocess.run(command, capture_output=True, check=True, text=True, timeout=60)
    assert {"dualroute", "falcon", "flask", "starlette"} & set(ran.stdout.split()) == imported


def test_a_name_that_is_no_app_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="has no attribute 'nothing'"):
        _ = served_apps.nothing
