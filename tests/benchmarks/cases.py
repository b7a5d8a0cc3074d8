"""The cases: what is asked, what must come back, and who takes part."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import ExitStack
from importlib import import_module
from importlib.util import find_spec
from typing import Any

from tests.benchmarks import asked, ours, raw
from tests.benchmarks.harness import OURS, Answer, App, Case, Result, Unable, table
from tests.benchmarks.report import Bars, Section, slug

__all__ = ["CASES", "MODULES", "OURS", "candidates", "section"]

MODULES = {
    "asgi": {
        "Starlette": "starlettes",
        "Falcon": "falcons",
        "BlackSheep": "blacksheeps",
        "Litestar": "litestars",
        "Django": "djangos",
    },
    "wsgi": {
        "Starlette": "starlettes",
        "Falcon": "falcons",
        "Flask": "flasks",
        "Bottle": "bottles",
        "Django": "djangos",
    },
}
"""The modules with the candidates of others, by protocol."""

AT_ONCE = 64


def candidates(protocol: str, question: str, stack: ExitStack) -> dict[str, App | Unable]:
    """Return the candidates for what is asked, by name: see `asked`.  Peers that are not installed are Unable."""
    made: dict[str, App | Unable] = {}

    def add(module: Any) -> None:
        offered: asked.Candidates = getattr(module, protocol.upper())
        for name, make in offered.get(question, {}).items():
            made[name] = make(stack)

    add(raw)
    add(ours)
    for peer, module in MODULES[protocol].items():
        try:
            add(import_module(f"tests.benchmarks.{module}"))
        except ImportError as error:
            made[peer] = Unable(str(error))
    return made


def _makes(protocol: str, question: str) -> Callable[[ExitStack], Mapping[str, App | Unable]]:
    return lambda stack: candidates(protocol, question, stack)


def _both(question: str, path: str, answer: Answer, **options: Any) -> list[Case]:
    return [
        Case(f"{protocol.upper()} {question}", protocol, path, answer, _makes(protocol, question), **options)
        for protocol in ("asgi", "wsgi")
    ]


def _hop(name: str, **options: Any) -> Case:
    """Return a case of a `def` under ASGI."""
    make = _makes("asgi", asked.DEF)
    return Case(f"ASGI {name}", "asgi", "/hello", asked.HELLO, make, references=(raw.IN_EXECUTOR,), **options)


def _hops() -> list[Case]:
    cases = [_hop(asked.DEF), _hop(f"{asked.DEF}, {AT_ONCE} at once", at_once=AT_ONCE)]
    if find_spec("uvloop"):
        import uvloop

        loop = uvloop.new_event_loop
        cases.append(_hop(f"{asked.DEF}, uvloop", loop_factory=loop))
        cases.append(_hop(f"{asked.DEF}, {AT_ONCE} at once, uvloop", at_once=AT_ONCE, loop_factory=loop))
    return cases


def _cases() -> list[Case]:
    post: dict[str, Any] = {"method": "POST", "body": asked.DOCUMENT, "content_type": "application/json"}
    form = {"method": "POST", "body": asked.FORM_BODY, "content_type": "application/x-www-form-urlencoded"}
    field = Answer(200, asked.FORM_VALUE.encode())
    return [
        Case(f"ASGI {asked.ASYNC}", "asgi", "/hello", asked.HELLO, _makes("asgi", asked.ASYNC)),
        Case(f"WSGI {asked.DEF}", "wsgi", "/hello", asked.HELLO, _makes("wsgi", asked.DEF)),
        *_both(asked.CLASS, "/hello", asked.HELLO, references=(ours.FUNCTION,)),
        *_both(asked.JSON, "/users/42", asked.USER),
        *_both(asked.ECHO, "/echo", Answer(200, asked.DOCUMENT), **post),
        *_both(asked.MIDDLEWARE, "/hello", asked.LAYERED),
        *_both(asked.WRONG_PATH, "/nowhere", asked.NOT_FOUND),
        *_both(asked.WRONG_METHOD, "/hello", asked.NOT_ALLOWED, method="POST"),
        *_both(asked.FORM, "/form", field, **form),
        *_both(asked.MANY, asked.LAST, asked.HELLO),
        *_hops(),
        Case(
            f"WSGI {asked.ASYNC}",
            "wsgi",
            "/hello",
            asked.HELLO,
            _makes("wsgi", asked.ASYNC),
            references=(raw.ON_LOOP, raw.TO_SYNC),
        ),
    ]


CASES = tuple(_cases())


def section(result: Result) -> Section:
    """Return the table and the chart of one case."""
    name = result.case.name
    values = {candidate: result.seconds(candidate) * 1e6 for candidate in result.times}
    return Section(name, table(result), [Bars(slug(name), f"{name}: time of a request", "µs", values)])
