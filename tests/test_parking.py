"""The worker's event loop waits at a lock, or for sockets, and misses nobody either way."""

from __future__ import annotations

import asyncio
import gc
import socket
import threading
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor

import pytest

from dualroute_wsgi.parking import ParkingLoop

PATIENCE = 30
"""How many seconds something may take that is over at once."""


@pytest.fixture
def loop() -> Iterator[ParkingLoop]:
    """A parking loop that runs in a thread."""
    loop = ParkingLoop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    yield loop
    loop.call_soon_threadsafe(loop.stop)
    thread.join(PATIENCE)
    assert not thread.is_alive()
    loop.close()


@pytest.fixture
def watched(loop: ParkingLoop) -> Iterator[tuple[ParkingLoop, socket.socket]]:
    """A loop with a socket to watch, and the other end of that."""
    here, there = socket.socketpair()
    here.setblocking(False)
    answered(loop, lambda: loop.add_reader(here, here.recv, 1))
    yield loop, there
    answered(loop, lambda: loop.remove_reader(here))
    here.close()
    there.close()


def answered(loop: ParkingLoop, function: object = None) -> None:
    """Have a function called on the loop by `call_soon_threadsafe`, and wait for that."""
    future: Future[None] = Future()

    def call() -> None:
        if callable(function):
            function()
        future.set_result(None)

    loop.call_soon_threadsafe(call)
    future.result(PATIENCE)


def handed_over(loop: ParkingLoop) -> None:
    """Hand something over to the loop, and wait until it was called."""
    future: Future[None] = Future()
    loop.hand_over(future.set_result, None)
    future.result(PATIENCE)


def test_what_is_handed_over_is_called_on_the_loop_in_order(loop: ParkingLoop) -> None:
    future: Future[list[int]] = Future()
    seen: list[int] = []
    for number in range(100):
        loop.hand_over(seen.append, number)
    loop.hand_over(lambda: future.set_result([*seen, threading.get_ident()]))
    *numbers, ident = future.result(PATIENCE)
    assert numbers == list(range(100))
    assert ident != threading.get_ident()


def test_a_loop_at_its_gate_is_woken_in_either_way(loop: ParkingLoop) -> None:
    for _ in range(200):
        handed_over(loop)
        answered(loop)


def test_a_loop_that_watches_a_socket_is_woken_in_either_way(watched: tuple[ParkingLoop, socket.socket]) -> None:
    loop, there = watched
    for _ in range(200):
        handed_over(loop)
        answered(loop)
        there.send(b"x")


def test_a_loop_at_its_gate_keeps_its_timers(loop: ParkingLoop) -> None:
    asyncio.run_coroutine_threadsafe(asyncio.sleep(0.01), loop).result(PATIENCE)


def test_a_socket_is_watched_beside_what_is_handed_over(watched: tuple[ParkingLoop, socket.socket]) -> None:
    loop, _ = watched

    async def served() -> bytes:
        here, there = socket.socketpair()
        with here, there:
            here.setblocking(False)
            there.setblocking(False)
            reading = asyncio.ensure_future(loop.sock_recv(here, 10))
            await asyncio.sleep(0)
            await loop.sock_sendall(there, b"hello")
            return await reading

    assert asyncio.run_coroutine_threadsafe(served(), loop).result(PATIENCE) == b"hello"


def test_no_wake_up_is_lost_while_the_loop_goes_from_one_to_the_other(loop: ParkingLoop) -> None:
    async def flip() -> None:
        # A socket to watch and none, by turns, with a wait in each state.
        here, there = socket.socketpair()
        with here, there:
            here.setblocking(False)
            while not over.is_set():
                loop.add_reader(here, here.recv, 1)
                await asyncio.sleep(0.00002)
                loop.remove_reader(here)
                await asyncio.sleep(0.00002)

    def press() -> None:
        for _ in range(400):
            handed_over(loop)
            answered(loop)

    over = threading.Event()
    flipping = asyncio.run_coroutine_threadsafe(flip(), loop)
    with ThreadPoolExecutor(4) as pool:
        pressing = [pool.submit(press) for _ in range(4)]
        for future in pressing:
            future.result(PATIENCE * 4)
    over.set()
    flipping.result(PATIENCE)


def test_what_is_handed_over_while_the_loop_turns_to_its_sockets_is_not_left_lying() -> None:
    loop = ParkingLoop()
    here, there = socket.socketpair()
    with here, there:
        here.setblocking(False)
        loop.run_until_complete(asyncio.sleep(0))
        assert loop._parking.is_at_gate  # as a thread sees it that looks a moment too early
        loop.add_reader(here, here.recv, 1)
        loop.hand_over(loop.stop)
        running = threading.Thread(target=loop.run_forever, daemon=True)
        running.start()
        running.join(PATIENCE)
        assert not running.is_alive()
        loop.remove_reader(here)
    loop.close()


def test_a_closed_loop_takes_nothing() -> None:
    loop = ParkingLoop()
    loop.close()
    with pytest.raises(RuntimeError, match="closed"):
        loop.hand_over(print)


def test_a_loop_that_was_closed_leaves_nothing_behind() -> None:
    loop = ParkingLoop()
    loop.run_until_complete(asyncio.sleep(0))
    loop.close()
    gc.collect()  # a selector or a socket that is still open would warn, and warnings are errors here
