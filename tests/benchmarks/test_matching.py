"""Route matching as pytest runs it, like `test_tables`.

Nothing here depends on how fast anything is.  What fails is a candidate that gives a wrong answer.
"""

from __future__ import annotations

import pytest

from tests.benchmarks.matching import lookup_sections, shapes_section
from tests.benchmarks.matching_building import building_section

pytestmark = pytest.mark.timeout(1800)


def test_lookups() -> None:
    for section in lookup_sections(7, 0.05):
        print(f"\n{section.text}")


def test_shapes() -> None:
    print(f"\n{shapes_section(7, 0.05).text}")


def test_building() -> None:
    print(f"\n{building_section(7).text}")
