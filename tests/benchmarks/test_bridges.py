"""The bridges as pytest runs them, like `test_tables`.

Nothing here depends on how fast anything is.  What fails is a bridge that gives a wrong answer, unless that is known
of it.
"""

from __future__ import annotations

import pytest

from tests.benchmarks.bridge_memory import memory, memory_table
from tests.benchmarks.bridges import DIRECTIONS, Line, lines, measure, table


@pytest.mark.parametrize("line", lines(), ids=lambda line: line.name)
def test_line(line: Line) -> None:
    print(f"\n{table(measure(line))}")


@pytest.mark.parametrize("server", DIRECTIONS)
def test_memory(server: str) -> None:
    print(f"\n{memory_table(memory(server))}")
