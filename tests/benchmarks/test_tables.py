"""The benchmarks as pytest runs them: ``tox -e bench``, or ``pytest -s tests/benchmarks``; ``-k`` picks tables.

Nothing here depends on how fast anything is.  What fails is a candidate that gives a wrong answer.
"""

from __future__ import annotations

import pytest

from tests.benchmarks.sources import IMPORTS, SOURCES, Run, Source


# The imports have a test of their own.
@pytest.mark.parametrize("source", [source for source in SOURCES if source != IMPORTS], ids=lambda source: source.name)
def test_table(source: Source, run: Run) -> None:
    run.take(source)
