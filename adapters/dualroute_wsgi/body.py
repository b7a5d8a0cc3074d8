"""The request body under WSGI, for handlers of either colour, and what else a request has of its adapter."""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextvars import copy_context
from functools import cache
from threading import Semaphore
from typing import TYPE_CHECKING, Any, TypeVar

from dualroute.applications import loop_side
from dualroute.bodies import Channel, InputChannel, ReceiveChannel
from dualroute.contexts import bind_all
from dualroute.exchange import Call, only, perform, perform_async
from dualroute.types import Environ, Receive
from dualroute_wsgi.driving import run_async, within

if TYPE_CHECKING:
    from dualroute.responses import Response
    from dualroute_wsgi.desk import Desk

__all__ = ["HandOverChannel"]

_T = TypeVar("_T")


class HandOverChannel(InputChannel):
    """A body that others than the server's thread can read too, by having that thread read for them."""

    places: Semaphore
    """How many calls may go on at once of which the time is limited; there only where it is."""
    # Made when something first runs elsewhere for this request.
    _desk: Desk | None = None

    @property
    def desk(self) -> Desk:
        """Where the server's thread waits for what runs elsewhere; made when something first does."""
        if self._desk is None:
            self._desk = _desk_class()()
        return self._desk

    def desk_here(self) -> Desk:
        """Return where the current thread is to wait for what runs elsewhere: the desk, or one of its own."""
        desk = self.desk
        return desk if desk.is_here() else type(desk)()

    def read(self) -> bytes:
        if self._desk is None or self._desk.is_here() or (self.ended and not self.too_large):
            return super().read()
        return self._desk.hand_over_from_thread(self.read)

    async def receive(self) -> bytes:
        if self.ended and not self.too_large:
            return self._after_end()
        if self._desk is None:
            raise RuntimeError("only what the worker's event loop runs for this request can read its body so")
        return await self._desk.hand_over(self.read)

    def in_server_thread(self, function: Callable[[], None]) -> None:
        if self._desk is not None:
            self._desk.post(function)

    async def drive_async(self, exchange: Generator[Any, Any, _T]) -> _T:
        if self.time_limit is None:
            return await perform_async(exchange, self._run_sync)
        # The server's thread is to be free to answer in time.
        side = loop_side()
        result: _T = await side.drive(exchange, side.spare_pool(), None, self.time_limit)
        return result

    async def _run_sync(self, call: Call) -> Any:
        return await self.desk.call(call.function, call.args)

    def drive(self, exchange: Generator[Any, Any, _T]) -> _T:
        return perform(exchange, self._run_async)

    def _run_async(self, call: Call) -> Any:
        # A context can't be entered twice, and this thread is in its own.
        context = copy_context()
        try:
            if self.time_limit is not None and self.time_limit.applies_to(call):
                return within(self.time_limit, call, context, self)
            return run_async(call.function, call.args, context, self)
        finally:
            bind_all(context)

    def over(self, receive: Receive) -> Channel:
        channel = _LoopChannel(receive)
        channel.outer = self
        return self._share_limits(channel)

    def over_input(self, environ: Environ) -> Channel:
        channel = _OtherInput(environ)
        channel.outer = self
        return self._share_limits(channel)

    def pieces_of(self, response: Response) -> Any:
        # Not in the server's thread, which is to send them meanwhile.
        side = loop_side()
        return side.pieces_of(response, side.spare_pool())


@cache
def _desk_class() -> type[Desk]:
    # An import statement takes a microsecond each time.
    from dualroute_wsgi.desk import Desk

    return Desk


class _LoopChannel(ReceiveChannel):
    """A body that an ASGI middleware gives, on the worker's event loop."""

    def read(self) -> bytes:
        piece: bytes = self.drive(only(Call.known(self.receive, (), True)))
        return piece


class _OtherInput(InputChannel):
    """A body that a WSGI middleware gives, in the server's thread."""

    async def receive(self) -> bytes:
        piece: bytes = await self.drive_async(only(Call.known(self.read, (), False)))
        return piece
