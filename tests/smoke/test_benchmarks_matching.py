"""The benchmark of route matching runs, and every candidate gives the right answers.  How long is not looked at.

A peer that is not installed is left out.
"""

from __future__ import annotations

import pytest

from tests.benchmarks.matching import lookup_sections, shapes_section
from tests.benchmarks.matching_building import building_section, time_building, weigh_building
from tests.benchmarks.matching_peers import BARE, CANDIDATES, OURS, Candidate, available
from tests.benchmarks.matching_tables import LOOKUPS, SHAPES
from tests.benchmarks.report import Lines

NAMES = [kind.name for kind in CANDIDATES]


def test_every_candidate_finds_the_right_routes() -> None:
    shown = list(lookup_sections(1, 0, sizes=(10, 20)))
    assert [section.title.partition(": ")[2] for section in shown] == list(LOOKUPS)
    for section in shown:
        assert all(f"  {name}  " in section.text for name in NAMES)
    charts = [chart for section in shown for chart in section.charts]
    assert [chart.name for chart in charts] == ["matching-last", "matching-404"]
    for chart in charts:
        assert isinstance(chart, Lines)
        assert {BARE, OURS} <= chart.values.keys()


def test_every_candidate_finds_the_right_routes_in_other_shapes() -> None:
    text = shapes_section(1, 0, sizes=(3, 5)).text
    assert all(f"\n{shape.name}: " in text for shape in SHAPES)
    # Who does not take part has a note about why.
    assert {name: text.count(name) for name in NAMES} == dict.fromkeys(NAMES, len(SHAPES))


@pytest.mark.parametrize("kind", CANDIDATES, ids=lambda kind: kind.name)
def test_every_candidate_makes_a_table_and_takes_one_more_route(kind: type[Candidate]) -> None:
    candidates, _ = available()
    if kind.name not in candidates:
        pytest.skip(f"{kind.name} is not installed")
    timing = time_building(candidates[kind.name], 10)
    assert timing.build > 0
    assert timing.add > 0
    memory = weigh_building(candidates[kind.name], 10)
    assert memory.peak > 0


def test_tables_are_made_in_processes_of_their_own() -> None:
    section = building_section(1, count=10, names=[BARE, OURS])
    assert all(f"  {name}  " in section.text for name in (BARE, OURS))
    assert [chart.name for chart in section.charts] == ["matching-build", "matching-add", "matching-memory"]


def test_what_is_not_installed_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    for kind in CANDIDATES:
        if kind.modules:
            monkeypatch.setattr(kind, "modules", ("no_such_module",))
    for section in (next(lookup_sections(1, 0, sizes=(10, 20))), shapes_section(1, 0, sizes=(3, 5))):
        assert "not installed" in section.text
        assert all(name in section.text for name in NAMES)
    assert "not installed" in building_section(1, count=10, weigh=False).text
