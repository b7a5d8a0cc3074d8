"""Lifespans under ASGI: those of each event loop, and that of a mounted ASGI application, run by hand.

A server that keeps to the specification ("Lifespan Protocol") has the lifespan run.  Not all do: uvicorn has
``--lifespan off``, and Starlette passes none on to what is mounted in it.  An app whose lifespan never ran would be
served half, so it is then started at the first request, as under WSGI, in a task of its own, and a warning says so.
That task ends, and the lifespan with it, when the loop is closed in good order; no server promises that.
"""

from __future__ import annotations

import asyncio
import logging
from contextvars import Context
from typing import TYPE_CHECKING, Any

from dualroute.lifespan import GivenUp, Lifespan
from dualroute.types import Message
from dualroute_asgi.driving import drive
from dualroute_asgi.threads import ThreadPool

if TYPE_CHECKING:
    from dualroute.routing import Router
    from dualroute_asgi.mounted import ASGIApp

__all__ = ["Life", "Lives"]

logger: logging.Logger = logging.getLogger("dualroute")

GRACE = 5.0
"""How many seconds a mounted app has for its shutdown."""


class Lives:
    """The lifespan of an app on each event loop that serves it; most processes have one.

    Args:
        router: the outermost router.
        pool: the threads for what is no `async def`.
    """

    def __init__(self, router: Router, pool: ThreadPool) -> None:
        self._router = router
        self._pool = pool
        self._begun: dict[asyncio.AbstractEventLoop, Lifespan] = {}
        # Start-ups under way without the server, and the tasks that they live in.
        self._late: dict[asyncio.AbstractEventLoop, asyncio.Future[Lifespan | None]] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    def needed(self) -> bool:
        """Tell whether there is anything to start."""
        return Lifespan(self._router).needed()

    def begin(self) -> Lifespan:
        """Return a new lifespan for the running loop, which the server will have run."""
        for loop in [loop for loop in self._begun if loop.is_closed()]:
            del self._begun[loop]
        lifespan = self._begun[asyncio.get_running_loop()] = Lifespan(self._router)
        return lifespan

    def running(self) -> Lifespan | None:
        """Return the lifespan of the running loop, if one has begun."""
        return self._begun.get(asyncio.get_running_loop())

    async def start_late(self) -> Lifespan | None:
        """Run the start-up of the running loop, where the server has not; each request that comes meanwhile waits.

        Where only mounted apps have one, which may do without, they are left without.

        Raises what it failed with; the next request tries again.
        """
        loop = asyncio.get_running_loop()
        started = self._late.get(loop)
        if started is None:
            lifespan = Lifespan(self._router)
            if not lifespan.has_own():
                # Whether they have one is known only by running it.
                logger.info("the server runs no lifespan: a mounted ASGI app that has a start-up is served without it")
                return self.begin()
            logger.warning(
                "the server has run no lifespan, so the app's start-up comes at its first request; it is up to the"
                " server whether there will be a shutdown"
            )
            started = self._late[loop] = loop.create_future()
            # Nothing of what this request has bound is to stay.
            task = loop.create_task(self._live(lifespan, started), context=Context())
            self._tasks.add(task)  # a loop alone does not keep it
            task.add_done_callback(self._tasks.discard)
        return await asyncio.shield(started)

    async def _live(self, lifespan: Lifespan, started: asyncio.Future[Lifespan | None]) -> None:
        loop = asyncio.get_running_loop()
        try:
            await drive(lifespan.startup(GRACE), self._pool)
        except BaseException as error:
            del self._late[loop]
            logger.exception("the start-up failed")
            failure = RuntimeError("the start-up was cancelled")
            started.set_exception(error if isinstance(error, Exception) else failure)
            started.exception()  # seen, if nobody waits for it any more
            return
        self._begun[loop] = lifespan
        del self._late[loop]
        started.set_result(lifespan)
        try:
            await loop.create_future()  # until the loop ends
        finally:
            await drive(lifespan.shutdown(), self._pool)


class Life:
    """One start-up and shutdown of an application, on the running loop.

    Args:
        app: the application.

    `state` is what its start-up left for its requests.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        self.state: dict[str, Any] = {}
        self._events: asyncio.Queue[Message] = asyncio.Queue()
        self._answer: asyncio.Future[Message | None] = asyncio.get_running_loop().create_future()
        self._task: asyncio.Task[None] | None = None
        self._begun = False

    async def _run(self) -> None:
        scope = {"type": "lifespan", "asgi": {"version": "3.0", "spec_version": "2.0"}, "state": self.state}
        await self._app.app(scope, self._events.get, self._send)

    async def _send(self, message: Message) -> None:
        if message["type"].startswith("lifespan.") and not self._answer.done():
            self._answer.set_result(message)

    def _ended(self, task: asyncio.Task[None]) -> None:
        error = None if task.cancelled() else task.exception()
        if self._begun or self._answer.done():
            if error is not None:
                logger.error("the lifespan of %s failed", self._app.described(), exc_info=error)
        else:
            # It has no lifespan: then it is to be served without.
            logger.debug("%s takes no lifespan: %r", self._app.described(), error)
        if not self._answer.done():
            self._answer.set_result(None)

    async def start(self) -> None:
        self._task = asyncio.create_task(self._run())
        self._task.add_done_callback(self._ended)
        self._events.put_nowait({"type": "lifespan.startup"})
        message = await self._answer
        self._begun = True
        if message is not None and message["type"] == "lifespan.startup.failed":
            raise RuntimeError(f"the start-up of {self._app.described()} failed: {message.get('message') or ''}")

    async def end(self, grace: float) -> None:
        """Run the shutdown; the application has `grace` seconds to say that it is done, and to return.

        Raises GivenUp beyond.
        """
        task = self._task
        assert task is not None, "what ends has begun"
        if task.done():
            return
        self._answer = asyncio.get_running_loop().create_future()
        self._events.put_nowait({"type": "lifespan.shutdown"})
        try:
            async with asyncio.timeout(grace):
                message = await self._answer
                if message is not None and message["type"] == "lifespan.shutdown.failed":
                    logger.error("the shutdown of %s failed: %s", self._app.described(), message.get("message") or "")
                await asyncio.wait([task])
        except TimeoutError:
            task.cancel()
            raise GivenUp(grace) from None
