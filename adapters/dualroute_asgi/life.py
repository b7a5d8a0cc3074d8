"""The lifespan of a mounted ASGI application (ASGI specification, "Lifespan Protocol"), run by hand."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Any

from dualroute.types import Message

if TYPE_CHECKING:
    from dualroute_asgi.mounted import ASGIApp

__all__ = ["Life"]

logger: logging.Logger = logging.getLogger("dualroute")

GRACE = 5.0
"""How many seconds an application has to return after its shutdown."""


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

    async def end(self) -> None:
        task = self._task
        assert task is not None, "what ends has begun"
        if task.done():
            return
        self._answer = asyncio.get_running_loop().create_future()
        self._events.put_nowait({"type": "lifespan.shutdown"})
        message = await self._answer
        if message is not None and message["type"] == "lifespan.shutdown.failed":
            logger.error("the shutdown of %s failed: %s", self._app.described(), message.get("message") or "")
        await asyncio.wait([task], timeout=GRACE)
