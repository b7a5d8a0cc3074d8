"""The benchmarks run, and every candidate gives the right answer.  How long any of it takes is not looked at."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

pytest.importorskip("a2wsgi", reason="the benchmarks compare with a2wsgi, which is not installed")
pytest.importorskip("falcon", reason="the benchmarks compare with Falcon, which is not installed")
pytest.importorskip("starlette", reason="the benchmarks compare with Starlette, which is not installed")
pytest.importorskip("uvicorn", reason="the benchmarks compare with uvicorn, which is not installed")

from tests.benchmarks import bridges
from tests.benchmarks.bridge_memory import memory, memory_table
from tests.benchmarks.bridge_peers import MAKERS
from tests.benchmarks.bridge_peers import OURS as OUR_BRIDGES
from tests.benchmarks.cases import CASES, OURS
from tests.benchmarks.harness import RAW, measure, summary, table
from tests.benchmarks.imports import CANDIDATES, imports_table, measure_imports

if TYPE_CHECKING:
    from tests.benchmarks.bridges import Line
    from tests.benchmarks.harness import Case

SIZE = 262_144


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_every_candidate_gives_the_right_answer(case: Case) -> None:
    result = measure(case, rounds=1, seconds=0)
    assert {RAW, OURS} < result.times.keys()
    shown = table(result)
    assert case.name in shown
    assert all(name in shown for name in result.times)
    assert case.name in summary([result], OURS)


@pytest.mark.parametrize("line", bridges.lines(size=SIZE, at_once=4), ids=lambda line: line.name)
def test_every_bridge_gives_the_right_answer_or_is_known_not_to(line: Line) -> None:
    result = bridges.measure(line, rounds=1, seconds=0)
    assert {RAW, *OUR_BRIDGES[line.protocol]} <= result.times.keys()
    # Who does not take part has a note about why.
    assert result.times.keys() | result.notes.keys() == MAKERS[line.protocol].keys()
    shown = bridges.table(result)
    assert line.name in shown
    assert all(name in shown for name in MAKERS[line.protocol])
    assert all(note in shown for note in result.notes.values())


@pytest.mark.parametrize("server", bridges.DIRECTIONS)
def test_memory_is_measured_in_a_process_of_its_own(server: str) -> None:
    name = OUR_BRIDGES[server][0]
    result = memory(server, size=SIZE, rounds=1, names=[name], kinds=["up, chunked"])
    assert result.growths[name]["up, chunked"] is not None
    assert name in memory_table(result)


def test_imports_are_measured_in_interpreters_of_their_own() -> None:
    result = measure_imports(rounds=2)
    assert {len(rounds) for rounds in result.times.values()} == {2}
    shown = imports_table(result)
    assert all(name in shown for name in CANDIDATES)
