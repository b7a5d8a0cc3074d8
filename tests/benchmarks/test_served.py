"""The benchmark through real servers as pytest runs it, like `test_tables`.

Nothing here depends on how fast anything is.  What fails is a candidate that gives a wrong answer, or an error
under load.
"""

from __future__ import annotations

import pytest

from tests.benchmarks.served import LINES, Line, sections

# A table takes some two minutes.
pytestmark = pytest.mark.timeout(1200)


@pytest.mark.parametrize("line", LINES, ids=lambda line: line.name)
def test_line(line: Line) -> None:
    for part in sections(lines=[line]):
        print(f"\n{part.text}")
