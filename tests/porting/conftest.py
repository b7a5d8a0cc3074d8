"""The fixtures that run a script on each side, and hold its answers against those of the original under Starlette."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from typing import TypeAlias

import pytest

from tests.porting.asking import Answer, Difference, Script, Visitor, differing
from tests.porting.sides import SIDES, STARLETTE, Side, all_sides

Answers: TypeAlias = Callable[[Side, Script], Sequence[Answer]]
Compare: TypeAlias = Callable[[Script], set[Difference]]


@pytest.fixture(scope="module")
def sides(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mapping[str, Side]]:
    """The application of a module of tests, `APP`, on all sides; started once for all of its tests."""
    with all_sides(request.module.APP, tmp_path_factory.mktemp(request.module.APP)) as sides:
        yield sides


@pytest.fixture(params=SIDES)
def side(request: pytest.FixtureRequest, sides: Mapping[str, Side]) -> Side:
    """The application on one side; the test runs on each of them."""
    return sides[request.param]


@pytest.fixture(scope="module")
def answers() -> Answers:
    """A function that returns what a side answers to a script, which is run there once."""
    noted: dict[tuple[str, Script], Sequence[Answer]] = {}

    def of(side: Side, script: Script) -> Sequence[Answer]:
        if (side.name, script) not in noted:
            with side.client() as client:
                visitor = Visitor(client)
                script(visitor)
            noted[side.name, script] = visitor.answers
        return noted[side.name, script]

    return of


@pytest.fixture
def compare(request: pytest.FixtureRequest, side: Side, sides: Mapping[str, Side], answers: Answers) -> Compare:
    """A function that runs a script on this side, and sees that the answers are those of the original.

    What is different has its reason among the module's `DIFFERENCES`; the function returns those that there were.
    """

    def compared(script: Script) -> set[Difference]:
        unexplained, needed = differing(
            answers(sides[STARLETTE], script), answers(side, script), request.module.DIFFERENCES
        )
        assert not unexplained, "\n".join(unexplained)
        return needed

    return compared


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    side = getattr(item, "funcargs", {}).get("side")
    if report.failed and isinstance(side, Side) and side.output:
        report.sections.append((f"output of {side.name}", side.output[-10_000:]))
    return report
