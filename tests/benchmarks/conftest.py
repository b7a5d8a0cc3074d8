"""A run of the benchmarks by pytest: its options, and what is collected and written at its end."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.benchmarks.harness import environment
from tests.benchmarks.sources import Run


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("benchmarks")
    group.addoption("--rounds", type=int, default=Run.rounds, help="turns for each candidate (default: %(default)s)")
    group.addoption("--seconds", type=float, default=Run.seconds, help="how long a turn is (default: %(default)s)")
    group.addoption("--write", metavar="FOLDER", help="write the tables and charts to a folder as well")


@pytest.fixture(scope="session")
def run(request: pytest.FixtureRequest) -> Iterator[Run]:
    """The run, which is written where everything has passed."""
    options = request.config.option
    print(f"\n{environment()}")
    run = Run(rounds=options.rounds, seconds=options.seconds)
    yield run
    run.finish(Path(options.write) if options.write and not request.session.testsfailed else None)
