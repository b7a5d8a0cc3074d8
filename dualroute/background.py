"""Background tasks: what runs after a response was sent, on both protocols.

    return JSONResponse({"accepted": True}, background=BackgroundTask(send_mail, address))

Each function may be `def` or `async def`.  It runs when the response has gone out and its body has been closed; the
client does not wait for it, but the server's own thread (WSGI) or task (ASGI) does.  One that fails is logged, and the
tasks after it are left out, since they may depend on it.
"""

from __future__ import annotations

import functools
import logging
from collections.abc import Callable, Generator, Iterable
from typing import Any

from dualroute.callables import describe, is_async_callable
from dualroute.exchange import Call
from dualroute.failures import note

__all__ = ["BackgroundTask", "BackgroundTasks", "run_background"]

logger: logging.Logger = logging.getLogger("dualroute")


class BackgroundTask:
    """A function to be called after a response was sent.

    Args:
        func: the function, `def` or `async def`.
        args: its positional arguments.
        kwargs: its keyword arguments.

    Raises TypeError for what can't be called.
    """

    def __init__(self, func: Callable[..., Any], *args: Any, **kwargs: Any) -> None:
        if not callable(func):
            raise TypeError(f"a background task is a function, not {func!r}")
        self.func: Callable[..., Any] = func
        self.args: tuple[Any, ...] = args
        self.kwargs: dict[str, Any] = kwargs

    async def __call__(self) -> None:
        """Call the function, a `def` in a thread, for code that runs a task by itself."""
        from dualroute.concurrency import run_in_threadpool

        for call in self.calls():
            if call.is_async:
                await call.function(*call.args)
            else:
                await run_in_threadpool(call.function, *call.args)

    def calls(self) -> Iterable[Call]:
        """Return what there is to do, in order."""
        function = functools.partial(self.func, **self.kwargs) if self.kwargs else self.func
        return [Call.known(function, self.args, is_async_callable(self.func))]


class BackgroundTasks(BackgroundTask):
    """Functions to be called one after the other.

    Args:
        tasks: the first of them; more are added by `add_task`.
    """

    def __init__(self, tasks: Iterable[BackgroundTask | BackgroundTasks] | None = None) -> None:
        self.tasks: list[BackgroundTask | BackgroundTasks] = list(tasks or ())

    def add_task(self, func: Callable[..., Any], *args: Any, **kwargs: Any) -> None:
        """Append a function with its arguments: see `BackgroundTask`."""
        self.tasks.append(BackgroundTask(func, *args, **kwargs))

    def calls(self) -> Iterable[Call]:
        """Return what there is to do, in order."""
        return [call for task in self.tasks for call in task.calls()]


def run_background(background: BackgroundTask | BackgroundTasks) -> Generator[Call, Any, None]:
    """Run background tasks, and log the first that fails."""
    for call in background.calls():
        try:
            yield call
        except Exception as error:
            note(error)
            logger.exception("the background task %s failed", describe(call.function))
            return
