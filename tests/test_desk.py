"""The desk at which the server's thread of a WSGI request waits, by itself."""

from __future__ import annotations

import threading
import time
from typing import Any

import pytest

from dualroute.exceptions import ClientDisconnect
from dualroute_wsgi.desk import Desk, Errand

TIMEOUT = 20
"""How many seconds anything here may take before it counts as hanging."""


class Visit:
    """Something that is under way elsewhere, and over when the test says so."""

    def __init__(self, desk: Desk) -> None:
        self.desk = desk
        self.cancelled = False

    def end(self) -> None:
        self.desk.inbox.put(self)

    def cancel(self) -> None:
        self.cancelled = True

    def outcome(self) -> Any:
        return None


def ignore(result: Any, failure: BaseException | None) -> None:
    pass


def test_errands_are_done_while_it_waits_and_their_outcome_is_told() -> None:
    desk = Desk()
    visit = Visit(desk)
    told: list[Any] = []

    def fail() -> None:
        raise LookupError("errand")

    desk.inbox.put(Errand(lambda: "result", lambda *outcome: told.append(outcome)))
    desk.inbox.put(Errand(fail, lambda *outcome: told.append(outcome)))
    visit.end()
    assert desk.is_over(visit, TIMEOUT)
    assert told[0] == ("result", None)
    assert isinstance(told[1][1], LookupError)


def test_what_comes_meanwhile_is_there_for_who_waits_further_out_and_in_order() -> None:
    desk = Desk()
    outer, inner = Visit(desk), Visit(desk)

    def wait_inside() -> None:
        # While the outer visit makes pieces, and ends.
        desk.inbox.put(b"second")
        outer.end()
        inner.end()
        assert desk.is_over(inner, TIMEOUT)

    desk.inbox.put(b"first")
    desk.inbox.put(Errand(wait_inside, ignore))
    taken = [desk.take(outer, TIMEOUT) for _ in range(2)]
    desk.inbox.put(b"third")
    assert [*taken, desk.take(outer, TIMEOUT), desk.take(outer, TIMEOUT)] == [b"first", b"second", outer, b"third"]


def test_waiting_ends_in_time_errands_or_not() -> None:
    desk = Desk()
    visit = Visit(desk)
    stop = threading.Event()

    def send_errands() -> None:
        while not stop.is_set():
            desk.inbox.put(Errand(lambda: None, ignore))
            time.sleep(0.001)

    sending = threading.Thread(target=send_errands)
    sending.start()
    try:
        assert not desk.is_over(visit, 0.05)
        assert not desk.abandon(visit, 0.05)
    finally:
        stop.set()
        sending.join()
    assert visit.cancelled
    visit.end()
    assert desk.is_over(visit, TIMEOUT)


def test_another_thread_has_the_servers_read_for_it_until_that_gives_up() -> None:
    desk = Desk()
    visit = Visit(desk)
    outcomes: list[Any] = []
    readers: list[int] = []
    given_up = threading.Event()

    def piece() -> bytes:
        readers.append(threading.get_ident())
        return b"piece"

    def read() -> None:
        try:
            outcomes.append(desk.hand_over_from_thread(piece))
            visit.end()
            assert given_up.wait(TIMEOUT)
            desk.hand_over_from_thread(piece)
        except ClientDisconnect:
            outcomes.append("gone")

    def wait_in_vain() -> None:
        with pytest.raises(ClientDisconnect):
            desk.hand_over_from_thread(piece)  # nobody is at the desk any more
        outcomes.append("gone")

    reading = threading.Thread(target=read)
    reading.start()
    assert desk.is_over(visit, TIMEOUT)
    waiting = threading.Thread(target=wait_in_vain)
    waiting.start()
    desk.give_up()
    given_up.set()
    for thread in (reading, waiting):
        thread.join(TIMEOUT)
    assert outcomes == [b"piece", "gone", "gone"]
    assert readers == [threading.get_ident()]
