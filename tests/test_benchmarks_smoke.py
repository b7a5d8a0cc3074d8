"""The benchmarks run, and every candidate gives the right answer.  How long any of it takes is not looked at."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

pytest.importorskip("falcon", reason="the benchmarks compare with Falcon, which is not installed")
pytest.importorskip("starlette", reason="the benchmarks compare with Starlette, which is not installed")

from tests.benchmarks.cases import CASES, OURS
from tests.benchmarks.harness import RAW, measure, summary, table

if TYPE_CHECKING:
    from tests.benchmarks.harness import Case


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_every_candidate_gives_the_right_answer(case: Case) -> None:
    result = measure(case, rounds=1, seconds=0)
    assert {RAW, OURS} < result.times.keys()
    shown = table(result)
    assert case.name in shown
    assert all(name in shown for name in result.times)
    assert case.name in summary([result], OURS)
