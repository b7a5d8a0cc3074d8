"""The benchmarks as pytest runs them: ``tox -e bench``, or ``pytest -s tests/benchmarks``; ``-k`` picks cases.

Nothing here depends on how fast anything is.  What fails is a candidate that gives a wrong answer.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.benchmarks.cases import CASES, OURS
from tests.benchmarks.harness import Case, Result, environment, measure, summary, table


@pytest.fixture(scope="module")
def results() -> Iterator[list[Result]]:
    collected: list[Result] = []
    print(f"\n{environment()}")
    yield collected
    print(f"\n\n{summary(collected, OURS)}")


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_table(case: Case, results: list[Result]) -> None:
    results.append(measure(case))
    print(f"\n{table(results[-1])}")
