"""What `dualroute.concurrency` needs an event loop for."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Coroutine, Iterable
from typing import Any

from dualroute_asgi.driving import drive, outwait
from dualroute_asgi.sending import pieces_of
from dualroute_asgi.threads import ThreadPool

__all__ = ["drive", "outwait", "pieces_of", "run_until_first_complete", "spare_pool"]

SPARE_THREADS = 40
"""How many functions may run at once that no ASGI adapter has threads for."""

_spare_pool = ThreadPool(SPARE_THREADS)


def spare_pool() -> ThreadPool:
    """Return the pool for what no ASGI adapter serves, such as the event loop of a WSGI worker; one per process."""
    return _spare_pool


def _renew() -> None:
    """Leave the parent's threads to the parent: a fork copies the pool and not the threads."""
    global _spare_pool
    _spare_pool = ThreadPool(SPARE_THREADS)


os.register_at_fork(after_in_child=_renew)


async def run_until_first_complete(
    functions: Iterable[tuple[Callable[..., Coroutine[Any, Any, Any]], dict[str, Any]]],
) -> None:
    """Run coroutines until one of them ends, and cancel the others; raise what one failed with."""
    tasks = [asyncio.ensure_future(function(**kwargs)) for function, kwargs in functions]
    if not tasks:
        return
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    for task in done:
        task.result()
