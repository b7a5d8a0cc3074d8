"""The body that a thread reads while the event loop receives: nobody waits for what has come."""

from __future__ import annotations

import asyncio
import sys
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from dualroute_asgi.body import BridgedChannel

TIMEOUT = 20
"""How many seconds anything here may take before it counts as hanging."""

SCOPE: dict[str, Any] = {"type": "http", "method": "POST", "headers": [(b"transfer-encoding", b"chunked")]}


def events(count: int) -> Callable[[], Any]:
    """Return a `receive` for a body of `count` pieces of ten bytes."""
    left = iter(range(count))

    async def receive() -> dict[str, Any]:
        index = next(left)
        return {"type": "http.request", "body": b"%010d" % index, "more_body": index + 1 < count}

    return receive


@pytest.fixture
def hasty_switches() -> Iterator[None]:
    """Have Python change threads far more often than it does."""
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(interval)


@pytest.mark.usefixtures("hasty_switches")
@pytest.mark.parametrize("buffer_size", [1, 300, 1000])
def test_a_thread_gets_every_piece_however_small_the_buffer(buffer_size: int) -> None:
    async def main() -> list[bytes]:
        channel = BridgedChannel(events(3000), SCOPE)
        channel.prepare(buffer_size)
        return await asyncio.wait_for(asyncio.to_thread(lambda: list(iter(channel.read, b""))), TIMEOUT)

    assert asyncio.run(main()) == [b"%010d" % index for index in range(3000)]


def test_a_thread_that_empties_the_buffer_just_as_receiving_ends_has_it_go_on() -> None:
    received = []

    async def main() -> None:
        receive = events(5)

        async def watched() -> dict[str, Any]:
            event: dict[str, Any] = await receive()
            received.append(event)
            if len(received) == 2:
                # What a thread does that comes between the last look at the buffer and the end of the task.
                asyncio.get_running_loop().call_soon(take_all)
            return event

        def take_all() -> None:
            while channel._kept:
                channel._take()
            channel._start_filler()

        channel = BridgedChannel(watched, SCOPE)
        channel.prepare(300)  # two events of ten bytes are more than that
        channel._start_filler()
        async with asyncio.timeout(TIMEOUT):
            while len(received) < 3:
                await asyncio.sleep(0)

    asyncio.run(main())


def test_a_thread_that_begins_to_wait_while_the_loop_ends_its_last_wait_is_not_forgotten() -> None:
    first, second = threading.Lock(), threading.Lock()
    first.acquire()
    second.acquire()

    class Overtaken(BridgedChannel):
        """One whose thread has gone on, and waits again, whenever the loop looks at it."""

        def __getattribute__(self, name: str) -> Any:
            value = super().__getattribute__(name)
            if name == "_thread_waits":
                self._thread_waits = second
            return value

    async def receive() -> dict[str, Any]:
        raise NotImplementedError

    channel = Overtaken(receive, SCOPE)
    channel._thread_waits = first
    channel.wake_thread()
    assert not first.locked()
    channel.wake_thread()
    assert not second.locked()
    channel.wake_thread()  # which changes nothing
