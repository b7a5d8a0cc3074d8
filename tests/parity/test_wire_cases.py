"""The wire cases without a server: what a request comes to as a scope and as an environ, whatever servers would filter.

So each case is asked of both adapters, also where no server hands it over.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

import pytest

from tests.parity.servers import Sent, by_asgi, by_wsgi
from tests.servers.wire import Answer
from tests.servers.wire_cases import CASES, Case, Filled, check
from tests.servers.wire_site import site

ASK = {"asgi": by_asgi, "wsgi": by_wsgi}

HANDED = [case for case in CASES if not case.not_in_process]


class Told:
    """What the app has told."""

    def __init__(self) -> None:
        self._events: list[dict[str, Any]] = []

    def __call__(self, kind: str, **fields: Any) -> None:
        self._events.append({"kind": kind, **fields})

    def of(self, kind: str, **fields: Any) -> list[dict[str, Any]]:
        wanted = {"kind": kind, **fields}
        return [event for event in self._events if wanted.items() <= event.items()]


@pytest.fixture(scope="module")
def told() -> Told:
    return Told()


@pytest.fixture(scope="module")
def app(told: Told, tmp_path_factory: pytest.TempPathFactory) -> Any:
    app = site(told, tmp_path_factory.mktemp("site"))
    for ask in ASK.values():
        ask(app, Sent(b"/"))  # what is said once is said now, and in the log of no case
    return app


def sent(filled: Filled) -> Sent:
    body, cut = filled.received()
    return Sent(filled.target, filled.method, tuple(filled.headers), body, cut)


def ask(by: Callable[[Any, Sent], Any], app: Any, filled: Filled) -> Answer:
    answer = by(app, sent(filled))
    return Answer(answer.status, list(answer.headers), answer.body, complete=True)


@pytest.mark.parametrize("case", HANDED, ids=str)
def test_a_case_has_its_answer_at_the_adapter(
    app: Any, told: Told, case: Case, protocol: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "dualroute")
    token = f"{protocol} {case}"
    answer = ask(ASK[protocol], app, case.fill(token))
    (handed,) = told.of("handed", token=token)
    (taken,) = told.of("taken", token=token)
    facts = {**handed, **taken}
    expected = case.expected(facts)
    check(expected, answer, facts)
    for report in expected.reports:
        assert len(told.of(**{**report, "token": token})) == 1
    lines = [
        record
        for record in caplog.records
        # Each request has an event loop of its own here, and each loop that has no lifespan is told of.
        if record.name == "dualroute" and not record.getMessage().startswith("the server runs no lifespan")
    ]
    if expected.log is None:
        assert not [line for line in lines if line.levelno >= logging.WARNING]
    else:
        (line,) = lines
        said = line.getMessage() + (logging.Formatter().formatException(line.exc_info) if line.exc_info else "")
        assert expected.log in said
        assert expected.level in (None, line.levelname)


@pytest.mark.parametrize("case", HANDED, ids=str)
def test_both_protocols_answer_alike(app: Any, case: Case) -> None:
    asgi, wsgi = (ask(by, app, case.fill(f"{name} beside {case}")) for name, by in ASK.items())
    assert asgi == wsgi
