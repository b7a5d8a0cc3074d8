"""Where the server's thread of one request waits, and what it does meanwhile for those it waits for.

What a request is answered by may be under way elsewhere: on the worker's event loop, or, where there is a limit to its
time, in a helper's thread.  Either may need the server's thread, which alone reads the body of the request, because it
is the one that the server meant to read its socket, and which calls each `def` that an `async def` has done inside its
own call.  Such errands come into the same inbox as the outcome that is waited for.

Nothing here loads an event loop.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable
from contextvars import copy_context
from queue import Empty
from time import monotonic
from typing import TYPE_CHECKING, Any, Protocol

from dualroute.contexts import bind_all
from dualroute.exceptions import ClientDisconnect
from dualroute.exchange import raised

if TYPE_CHECKING:
    import asyncio

__all__ = ["Desk", "Visit"]

_OVER = "the request is over: its body can no longer be read"


class Visit(Protocol):
    """Something that is under way elsewhere.  It puts itself into the inbox of its desk when it is over."""

    def outcome(self) -> Any:
        """Return what it returned, or raise what it raised, after it is over."""
        ...

    def cancel(self) -> None:
        """Have it come to an end early, as far as that can be."""
        ...


class Errand:
    """A function for the server's thread to call.

    Args:
        function: the function.
        settle: is given what it returned and what it raised, in the server's thread.
    """

    __slots__ = ("function", "settle")

    def __init__(self, function: Callable[[], Any], settle: Callable[[Any, BaseException | None], object]) -> None:
        self.function: Callable[[], Any] = function
        self.settle: Callable[[Any, BaseException | None], object] = settle

    def do(self) -> None:
        """Call the function, and hand over what came of it."""
        result, failure = None, None
        try:
            result = self.function()
        except Exception as error:
            failure = error
        try:
            self.settle(result, failure)
        finally:
            del self, result, failure  # an exception would hold this frame, and this frame it


class Desk:
    """Where the server's thread of one request waits.  It is made in that thread."""

    # On the class until they change, since most desks are there for one wait.
    _aside: list[Any] | None = None
    _reading: asyncio.Future[Any] | None = None
    _calls: set[asyncio.Future[Any]] | None = None
    _given_up: bool = False
    _closed: bool = False
    loop: asyncio.AbstractEventLoop | None = None
    """The worker's event loop, once something runs there for this request."""

    def __init__(self) -> None:
        # Errands, pieces of a body, and each visit when it is over.
        self.inbox: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self._thread = threading.get_ident()

    # On the event loop.

    async def hand_over(self, function: Callable[[], bytes]) -> bytes:
        """Have the server's thread read a piece of the body by `function` when it waits here.

        One that is given up is still under way, and is taken up again.  Raises RuntimeError once the request is over.
        """
        import asyncio

        if self._reading is None:
            self._reading = self._send_for(function)
        reading = self._reading
        try:
            piece: bytes = await asyncio.shield(reading)
            return piece
        finally:
            if reading.done():
                self._reading = None

    async def call(self, function: Callable[..., Any], args: tuple[Any, ...]) -> Any:
        """Have the server's thread call `function` when it waits here, in a copy of the caller's context.

        The context variables that it binds are bound for the caller.  Raises RuntimeError once the request is over.
        """
        context = copy_context()
        future = self._send_for(lambda: context.run(function, *args))
        try:
            return await future
        finally:
            del future  # its exception would hold this frame, and this frame it
            bind_all(context)

    def _send_for(self, function: Callable[[], Any]) -> asyncio.Future[Any]:
        import asyncio

        if self._closed:
            raise RuntimeError(_OVER)
        loop = self.loop = asyncio.get_running_loop()
        future: asyncio.Future[Any] = loop.create_future()
        if self._calls is None:
            self._calls = set()
        self._calls.add(future)
        future.add_done_callback(self._calls.discard)

        def settle(result: Any, failure: BaseException | None) -> None:
            loop.call_soon_threadsafe(_settle, future, result, failure)

        self.inbox.put(Errand(function, settle))
        if self._closed:  # looked at once more, now that `close` would find it
            self._refuse_calls()
        return future

    def _refuse_calls(self) -> None:
        for future in list(self._calls or ()):
            if not future.done():
                future.set_exception(RuntimeError(_OVER))
                future.exception()  # seen, if nobody waits for it any more

    # In any thread.

    def post(self, function: Callable[[], None]) -> None:
        """Have the server's thread call `function` before whatever it is given next.

        Nothing waits for it, and nothing is done once the request is over.
        """
        self.inbox.put(Errand(function, lambda *outcome: None))

    def is_here(self) -> bool:
        """Tell whether the current thread is the server's."""
        return threading.get_ident() == self._thread

    def hand_over_from_thread(self, function: Callable[[], bytes]) -> bytes:
        """Have the server's thread read a piece of the body, from a thread that waits for that.

        Raises ClientDisconnect where nobody waits at the desk any more.
        """
        done = threading.Event()
        outcome: list[Any] = [b"", ClientDisconnect()]

        def settle(*given: Any) -> None:
            outcome[:] = given
            done.set()

        if not self._given_up:
            self.inbox.put(Errand(function, settle))
            while not done.wait(0.1):
                if self._given_up:
                    break
        piece, failure = outcome
        if failure is not None:
            raise failure
        return bytes(piece)

    # In the server's thread.

    def take(self, visit: Visit, timeout: float | None = None) -> Any:
        """Return the next piece of a body, or the `visit` that makes them when it is over, errands done meanwhile.

        Raises queue.Empty after `timeout` seconds.
        """
        return self._until(visit, timeout, pieces=True)

    def is_over(self, visit: Visit, timeout: float | None = None) -> bool:
        """Wait until `visit` is over, errands done meanwhile; return False where `timeout` seconds were not enough."""
        try:
            self._until(visit, timeout)
        except Empty:
            return False
        return True

    def _until(self, visit: Visit, timeout: float | None, *, pieces: bool = False) -> Any:
        until = None if timeout is None else monotonic() + timeout
        get = self.inbox.get
        while True:
            if self._aside:
                # It is for who waits further out: this may be an errand of theirs.
                for index, item in enumerate(self._aside):
                    if item is visit or (pieces and isinstance(item, bytes)):
                        del self._aside[index]
                        return item
            item = get() if until is None else get(timeout=max(0.0, until - monotonic()))
            if item is visit or (pieces and isinstance(item, bytes)):
                return item
            if isinstance(item, Errand):
                item.do()
                continue
            if self._aside is None:
                self._aside = []
            self._aside.append(item)

    def abandon(self, visit: Visit, patience: float) -> bool:
        """Cancel a visit, wait `patience` seconds for it to end, and tell whether it did."""
        visit.cancel()
        return self.is_over(visit, patience)

    def give_up(self) -> None:
        """Do no more for threads that read the body: their visits take too long."""
        self._given_up = True

    def close(self) -> None:
        """Do no more errands: the request is over."""
        self._given_up = self._closed = True
        if self._calls and self.loop is not None:
            try:
                self.loop.call_soon_threadsafe(self._refuse_calls)
            except RuntimeError:
                pass  # the loop was closed: nothing runs on it any more


def _settle(future: asyncio.Future[Any], result: Any, failure: BaseException | None) -> None:
    if future.done():
        return
    if failure is None:
        future.set_result(result)
    else:
        future.set_exception(raised(failure))
