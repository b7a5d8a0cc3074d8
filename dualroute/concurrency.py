"""Calling functions that block from an `async def`, on both protocols.

Under ASGI they run in the threads that the app's `def` handlers run in, `max_threads` of them at most; the adapter
says which those are by a context variable.  On the event loop of a WSGI worker, or on any other loop, they run in a
pool that the process keeps for this.
"""

from __future__ import annotations

import functools
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable
from contextvars import ContextVar
from typing import Any, ParamSpec, Protocol, TypeVar

__all__ = ["Threads", "iterate_in_threadpool", "run_in_threadpool", "run_until_first_complete", "threads"]

_P = ParamSpec("_P")
_T = TypeVar("_T")

_END: Any = object()


class Threads(Protocol):
    """Calls functions in threads: a `dualroute_asgi.ThreadPool`."""

    async def run(self, function: Callable[..., Any], args: tuple[Any, ...] = ()) -> Any:
        """Call `function` in a thread, in a copy of the caller's context; return what it returns."""
        ...


threads: ContextVar[Threads | None] = ContextVar("dualroute_threads", default=None)
"""The threads of the adapter that serves this request, where it has any."""


async def run_in_threadpool(func: Callable[_P, _T], *args: _P.args, **kwargs: _P.kwargs) -> _T:
    """Call `func` in a thread and return what it returns, or raise what it raises.

    It sees the caller's context variables, and those that it binds are bound for the caller.  Where the caller is
    cancelled meanwhile, `func` is waited for.

    Args:
        func: a plain function.
        args: its positional arguments.
        kwargs: its keyword arguments.
    """
    if kwargs:
        result: _T = await _threads().run(functools.partial(func, **kwargs), args)
    else:
        result = await _threads().run(func, args)
    return result


async def iterate_in_threadpool(iterator: Iterable[_T]) -> AsyncIterator[_T]:
    """Return an async iterator over the items of `iterator`, each of them got in a thread."""
    pool = _threads()
    items = iter(iterator)
    while (item := await pool.run(next, (items, _END))) is not _END:
        yield item


async def run_until_first_complete(*args: tuple[Callable[..., Coroutine[Any, Any, Any]], dict[str, Any]]) -> None:
    """Run coroutines at the same time until one of them ends, and cancel the others.

    Args:
        args: pairs of an `async def` and the keyword arguments to call it with.
    """
    from dualroute.applications import loop_side

    await loop_side().run_until_first_complete(args)


def _threads() -> Threads:
    pool = threads.get()
    if pool is None:
        from dualroute.applications import loop_side

        pool = loop_side().spare_pool()
    return pool
