"""Every wire case on every server of the matrix, without an exception for any of them."""

from __future__ import annotations

import ast
import itertools
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from tests.servers.http2 import exchange_http2
from tests.servers.launching import Running, eventually
from tests.servers.matrix import MATRIX, Member, reached
from tests.servers.wire import Answer, Wire, connected, exchange
from tests.servers.wire_cases import CASES, ROWS, Case, Filled, check, refused

TESTS = Path(__file__).parents[1]

IN_HTTP2 = [case for case in CASES if case.http2 and case.then == "reads" and case.fill("token").in_http2]

ONCE = "WSGI has no websockets"
"""What each process says at its first request, whichever that is."""

HANGS = 1.0
"""How many seconds to wait for a server that is known never to end what has failed."""

TAKEN_UP = 0.5
"""How many seconds to wait for requests that others send in part to reach the app."""

Reached = tuple[Member, Running]

_numbers = itertools.count(1)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "member" in metafunc.fixturenames:
        metafunc.parametrize(
            ("member", "case"),
            [
                pytest.param(
                    member, case, id=f"{member}-{case}", marks=pytest.mark.xdist_group(f"{member} of the matrix")
                )
                for member in MATRIX
                for case in (IN_HTTP2 if member.http == "2" else CASES)
            ],
            indirect=["member"],
            scope="session",
        )


@pytest.fixture(scope="session")
def member(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Reached]:
    chosen: Member = request.param
    for running in reached(chosen, tmp_path_factory.mktemp(str(chosen)), "wire_apps:app"):
        yield chosen, running


def test_a_case_has_its_answer(member: Reached, case: Case) -> None:
    chosen, server = member
    token = f"case-{next(_numbers)}"
    before = server.told

    def told(kind: str, **fields: Any) -> list[dict[str, Any]]:
        wanted = {"kind": kind, **fields}
        return [event for event in server.told_since(before) if wanted.items() <= event.items()]

    with busy(chosen, server, case.others(token, chosen.base), told):
        answer = ask(chosen, server, case, case.fill(token, chosen.base))
    if answer.status == 0:
        # Whether the app was called will be known once a later request has been answered.
        assert ask_again(chosen, server).status == 200
    handed = told("handed", token=token)
    if not handed:
        assert refused(answer), f"the app did not see it, and yet it was answered: {answer}"
        assert case.may_refuse, f"{chosen} refused what it should have handed over: {answer}"
        return
    facts = {**vars(chosen.server), **handed[0]}
    assert len(handed) == 1
    if case.asks_how_the_body_ended:
        facts = {**facts, **eventually(lambda: told("taken", token=token), "the request is over")[0]}
    expected = case.expected(facts, chosen.base)
    check(expected, answer, facts, chosen.base)
    for report in expected.reports:
        eventually(partial(told, **{**report, "token": token}), f"report {report}")
    if expected.log is None:
        assert not [
            event
            for event in told("log")
            if event["level"] in ("WARNING", "ERROR") and not event["message"].startswith(ONCE)
        ]
        return
    wanted = expected.log

    def lines() -> list[dict[str, Any]]:
        return [event for event in told("log") if wanted in event["message"] or wanted in event["traceback"]]

    (line,) = eventually(lines, f"a line in the log with {wanted!r}")
    assert expected.level in (None, line["level"])


@contextmanager
def busy(member: Member, server: Running, requests: list[Filled], told: Callable[..., list[Any]]) -> Iterator[None]:
    """Have others send what they have and read nothing, and leave at the end; no later than that, in any case.

    Where a server answers one request at a time, they leave before it is asked for another.
    """
    with ExitStack() as others:
        for request in requests:
            others.enter_context(connected(server)).send(request.data)
        tokens = {dict(request.headers)[b"X-Token"].decode() for request in requests}
        # A server, or what is in front of it, may wait for all of a request before it hands that over.
        until = time.monotonic() + TAKEN_UP
        while tokens - {event["token"] for event in told("handed")} and time.monotonic() < until:
            time.sleep(0.01)
        if not member.server.concurrent:
            others.close()
        yield


def ask(member: Member, server: Running, case: Case, filled: Filled) -> Answer:
    head = filled.method == "HEAD"
    if member.http == "2":
        answer = exchange_http2(server, filled.method, filled.target, filled.headers, filled.body)
        if head:
            assert not answer.body
        return answer
    static = case.expected(vars(member.server), member.base)
    with connected(server) as wire:
        if not static.complete and not member.server.ends_failed:
            wire.give_up_after(HANGS)
        size = case.pieces_of or len(filled.data)
        for start in range(0, len(filled.data), size):
            if start:
                time.sleep(0.002)
            try:
                wire.send(filled.data[start : start + size])
            except (BrokenPipeError, ConnectionResetError):
                break  # it has been refused, or answered, before all of it was sent
        if case.then == "half-closes":
            wire.half_close()
        if case.then == "leaves":
            return Answer(int(wire.first_line().split()[1]), [], b"", complete=True)
        answer = wire.read(head=head)
        if answer.status == 101 and case.frames:
            answer.closed_with = talk(wire, case.frames)
        elif answer.status and b"close" in filled.data.lower():
            rest = wire.rest().decode("latin-1")
            assert not rest or (static.follows and rest.endswith(static.follows)), f"something follows: {rest!r}"
        return answer


def talk(wire: Wire, frames: bytes) -> int:
    """Send frames to a websocket, and return the code that it is closed with, or 0."""
    wire.send(frames)
    while (frame := wire.frame()) is not None:
        opcode, data = frame
        if opcode == 8:
            wire.send(b"\x88\x80\0\0\0\0")
            return int.from_bytes(data[:2]) if len(data) >= 2 else 1005
    return 0


def ask_again(member: Member, server: Running) -> Answer:
    return exchange(server, f"GET {member.base}/ HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n".encode())


def test_each_kind_of_bad_input_is_asked_about() -> None:
    titles = [row["title"] for row in ROWS]
    assert len(titles) == len(set(titles)) == 30
    with_cases = {case.row for case in CASES} - {None}
    assert with_cases == set(titles)
    for row in ROWS:
        for node in row.get("tests", ()):
            path, _, name = node.partition("::")
            module = ast.parse((TESTS.parent / path).read_text(encoding="utf-8"))
            functions = {item.name for item in module.body if isinstance(item, ast.FunctionDef | ast.AsyncFunctionDef)}
            assert name in functions, f"{row['title']}: there is no {node}"


def test_the_cases_have_names_of_their_own() -> None:
    names = [case.name for case in CASES]
    assert len(names) == len(set(names))
