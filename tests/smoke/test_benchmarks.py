"""The benchmarks run, and every candidate gives the right answer.  How long any of it takes is not looked at.

A peer that is not installed has no part in it.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

pytest.importorskip("a2wsgi", reason="the benchmarks compare with a2wsgi, which is not installed")
pytest.importorskip("uvicorn", reason="the benchmarks compare with uvicorn, which is not installed")

from tests.benchmarks import asked, bridges, cases, imports, report
from tests.benchmarks.bridge_memory import memory, memory_table
from tests.benchmarks.bridge_peers import MAKERS
from tests.benchmarks.bridge_peers import OURS as OUR_BRIDGES
from tests.benchmarks.cases import CASES
from tests.benchmarks.harness import OURS, RAW, Result, measure
from tests.benchmarks.memory import ASKED, held_table, measure_held
from tests.benchmarks.report import Bars, Lines, Section
from tests.benchmarks.sources import SOURCES, Run, Source, summarised

if TYPE_CHECKING:
    from tests.benchmarks.bridges import Line
    from tests.benchmarks.harness import Case

SIZE = 262_144


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_every_candidate_gives_the_right_answer(case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    # Some take seconds to add a thousand routes.
    monkeypatch.setattr(asked, "PATHS", asked.PATHS[-20:])
    result = measure(case, rounds=1, seconds=0)
    assert {RAW, OURS, *case.references} <= result.times.keys()
    section = cases.section(result)
    assert section.title == case.name
    assert all(name in section.text for name in [*result.times, *result.notes])
    assert all(len(chart.values) == len(result.times) for chart in section.charts)
    assert case.name in summarised([result]).text


def test_a_peer_that_is_not_installed_is_left_out_with_a_note(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(cases.MODULES["wsgi"], "Nobody", "nobodys")
    case = next(case for case in CASES if case.name == "WSGI hello, def")
    result = measure(case, rounds=1, seconds=0)
    assert "Nobody: left out, " in cases.section(result).text


def test_the_best_peer_is_a_framework_and_neither_ours_nor_raw() -> None:
    times = {RAW: [1.0], "raw, somehow": [2.0], OURS: [3.0], "Falcon": [5.0], "Starlette, somehow": [4.0]}
    result = Result(case=CASES[0], times=times)
    assert result.best_peer() == "Starlette, somehow"
    assert result.relative_overhead(OURS, "Falcon") == 0.5


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


def test_what_a_request_takes_is_measured_for_every_candidate() -> None:
    assert set(ASKED) <= {case.name for case in CASES}
    case = next(case for case in CASES if case.name == "WSGI five middleware layers")
    result = measure_held(case, requests=10)
    shown = held_table(result)
    assert all(name in shown for name in result.held)
    assert result.held[OURS].blocks > 0
    assert result.held[OURS].peak > 0
    assert result.held[OURS].cycles == 0


def test_imports_are_measured_in_interpreters_of_their_own() -> None:
    result = imports.measure_imports(rounds=2)
    assert {len(rounds) for rounds in result.times.values()} == {2}
    shown = imports.section(result).text
    assert all(name in shown for name in imports.CANDIDATES)


def test_every_source_has_a_name_of_its_own() -> None:
    names = [source.name for source in SOURCES]
    assert len(names) == len(set(names))


def test_a_run_prints_what_it_measures_and_writes_it_down(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("matplotlib", reason="the charts are drawn with matplotlib, which is not installed")
    run = Run(rounds=1, seconds=0)
    for source in SOURCES:
        if source.name in ("ASGI hello, async def", "bridges WSGI under ASGI: hello"):
            run.take(source)
    run.finish(tmp_path / "figures")
    printed = capsys.readouterr().out
    written = {path.name: path.read_text(encoding="utf-8") for path in (tmp_path / "figures").iterdir()}
    figures = written.pop(report.FIGURES)
    assert sorted(written) == ["asgi-hello-async-def.svg", "bridges-wsgi-under-asgi-hello.svg", "every-case.svg"]
    assert len(run.sections) == 2
    for section in [*run.sections, summarised(run.results)]:
        assert section.text in printed
        assert f"## {section.title}\n\n```text\n{section.text}\n```\n" in figures
    for name, drawing in written.items():
        assert f"]({name})" in figures
        assert "<svg" in drawing


LINES = Lines("growth", "Growth", "µs", "routes", (1, 10, 100), {"dualroute": (2, 3, 4), "other": (1, 20, None)})
BARS = Bars("speed", "Speed", "requests/s", {"dualroute": 100, "other": 90.5}, more_is_better=True)


def test_what_is_drawn_has_every_name_and_is_the_same_every_time(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib", reason="the charts are drawn with matplotlib, which is not installed")
    sections = [Section("One", "a table", [LINES, BARS])]
    for folder in ("first", "second"):
        report.write(sections, tmp_path / folder)
    for name in ("growth.svg", "speed.svg", report.FIGURES):
        assert (tmp_path / "first" / name).read_bytes() == (tmp_path / "second" / name).read_bytes()
    for chart in (LINES, BARS):
        drawing = (tmp_path / "first" / f"{chart.name}.svg").read_text(encoding="utf-8")
        for shown in (chart.title, chart.unit, *chart.values):
            assert f">{shown}" in drawing


def test_two_charts_of_one_name_are_refused(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib", reason="the charts are drawn with matplotlib, which is not installed")
    with pytest.raises(ValueError, match="two charts have the name 'speed'"):
        report.write([Section("One", "", [BARS]), Section("Two", "", [BARS])], tmp_path)


def test_a_source_is_given_the_rounds_and_seconds_of_its_run() -> None:
    seen = []

    def sections(run: Run) -> list[Section]:
        seen.append((run.rounds, run.seconds))
        return [Section("One", "a table")]

    run = Run(rounds=3, seconds=0.5)
    run.take(Source("one", lambda run: iter(sections(run))))
    assert seen == [(3, 0.5)]
    assert [section.title for section in run.sections] == ["One"]
