"""What a websocket needs an event loop for, beside the server: threads for its `def` methods, and the time."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Generator
from concurrent.futures import Future
from typing import Any, TypeVar

from dualroute_asgi.driving import drive
from dualroute_asgi.threads import ThreadPool

__all__ = ["Bridge"]

_T = TypeVar("_T")


class Bridge:
    """One websocket's way from the event loop into a thread, and back.

    Args:
        threads: where `def` methods run.
    """

    def __init__(self, threads: ThreadPool) -> None:
        self._threads = threads
        self._loop = asyncio.get_running_loop()
        self._given_up = False
        self._pending: Future[Any] | None = None

    async def in_thread(self, function: Callable[..., Any], *args: Any) -> Any:
        """Call `function` in a thread, and return what it returns."""
        return await self._threads.run(function, args, on_cancel=self._give_up)

    def from_thread(self, function: Callable[..., Coroutine[Any, Any, Any]], *args: Any) -> Any:
        """Await ``function(*args)`` on the loop while the calling thread waits, and return what it returns."""
        if self._given_up:
            raise RuntimeError("the websocket's session was cancelled")
        self._pending = pending = asyncio.run_coroutine_threadsafe(function(*args), self._loop)
        if self._given_up:  # looked at once more, now that it would be found
            pending.cancel()
        try:
            return pending.result()
        finally:
            self._pending = None

    async def drive_async(self, exchange: Generator[Any, Any, _T]) -> _T:
        """Perform an exchange inside that of the websocket: see `dualroute.exchange.Driver`."""
        return await drive(exchange, self._threads)

    async def within(self, seconds: float, function: Callable[[], Awaitable[Any]]) -> Any:
        """Await ``function()``.  Raises TimeoutError where that takes longer."""
        async with asyncio.timeout(seconds):
            return await function()

    def _give_up(self) -> None:
        """End what a thread waits for: its session was cancelled."""
        self._given_up = True
        pending = self._pending
        if pending is not None:
            pending.cancel()
