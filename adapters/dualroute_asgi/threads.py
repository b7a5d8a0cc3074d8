"""The threads that `def` handlers run in under ASGI.

An executor's hop costs more than it need: two chained futures and a condition for each call.  Here a call goes into
a `SimpleQueue`, and its result comes back by a `call_soon_threadsafe`, one for all that come at once, or by the release
of a lock that the loop stands still for.  What an executor keeps is kept: the caller's context variables, exceptions
with their tracebacks, a bound on the threads, and none of them before the first need.
"""

from __future__ import annotations

import asyncio
import logging
import queue
import threading
from collections import deque
from collections.abc import Callable
from contextvars import Context, copy_context
from typing import Any, Protocol

from dualroute.concurrency import threads
from dualroute.contexts import bind_all
from dualroute.exceptions import TooBusy
from dualroute.exchange import raised

__all__ = ["Pace", "Receiver", "ThreadPool", "this_thread"]

logger: logging.Logger = logging.getLogger("dualroute")

BRIEFLY = 0.0001
"""How many seconds at most the event loop stands still for the only call under way."""

PASSES = 16
"""How many calls of a kind go by without that, after one that took longer."""

WATCHED = 32
"""How many calls in a row are the only ones under way before the event loop stands still for one."""

STOOD = 128
"""How many it may stand still for before it looks again whether others would come meanwhile."""


class Pace(Protocol):
    """Remembers how long calls of one kind take; a Handler is one."""

    passes: int
    """How many more of them the event loop does not stand still for."""


class _AnyPace:
    def __init__(self) -> None:
        self.passes = 0


class Receiver:
    """Who is told of a call in a thread."""

    _claim: list[bool]
    """Whoever takes the one in it has decided: the thread to begin the call, or a cancellation to give it up."""
    over: threading.Lock | None = None
    """Released when the call is over, where the event loop stands still for it."""
    given_up: bool = False
    """Whether the call is to wait for nothing any more, so that it comes to an end."""
    awaited: list[asyncio.Task[Any]] | None = None
    """What the thread has the event loop run for it, and waits for."""

    def give_up(self) -> None:
        """Cancel what the thread waits for, and what it wants to wait for from now on.  Called on the loop."""
        self.given_up = True
        for task in self.awaited or ():
            task.cancel()

    def claim(self) -> bool:
        """Decide about the call; False where it was decided before."""
        try:
            return self._claim.pop()
        except IndexError:
            return False

    def report(self, result: Any, error: BaseException | None) -> None:
        """Take the outcome.  Called in the thread."""
        raise NotImplementedError


class _Mail:
    """Outcomes on their way to an event loop, which is woken once for all that come before it looks.

    Args:
        loop: the loop.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        self._outcomes: deque[_Outcome] = deque()
        self._is_announced = False

    def post(self, outcome: _Outcome) -> None:
        """Hand over an outcome.  Called in any thread."""
        self._outcomes.append(outcome)
        # Looked at after that: who announces mail takes out what lies there only after this is false again.
        if not self._is_announced:
            self._is_announced = True
            try:
                self.loop.call_soon_threadsafe(self._deliver)
            except RuntimeError:
                pass  # the loop was closed meanwhile: nobody waits

    def _deliver(self) -> None:
        self._is_announced = False
        outcomes = self._outcomes
        while outcomes:
            outcomes.popleft().settle()


class _Outcome(Receiver):
    """What comes of a call in a thread.

    Args:
        mail: by which the loop hears of it.
    """

    reported: tuple[Any, BaseException | None] | None = None
    # What wakes who waits for it; None as long as nobody does.
    _waiting: asyncio.Future[None] | None = None

    def __init__(self, mail: _Mail) -> None:
        self._mail = mail
        self._claim = [True]

    def report(self, result: Any, error: BaseException | None) -> None:
        self.reported = result, error
        if self._waiting is not None:
            self._mail.post(self)

    def settle(self) -> None:
        """Wake who waits.  Called on the loop."""
        waiting = self._waiting
        if waiting is not None and not waiting.done():
            waiting.set_result(None)

    async def wait(self, on_cancel: Callable[[], object] | None) -> None:
        """Wait until it was reported.

        A call that has not begun is given up when its task is cancelled.  One that has begun can't be stopped, so the
        task goes on waiting for it, and is cancelled when it ends: then no handler outlives its request's clean-up.
        """
        cancelled: asyncio.CancelledError | None = None
        try:
            while True:
                self._waiting = waiting = self._mail.loop.create_future()
                # Looked at after that: one that is reported from now on wakes the loop.
                if self.reported is not None:
                    break
                try:
                    await waiting
                    break
                except asyncio.CancelledError as error:
                    if cancelled is None and self.claim():
                        raise
                    cancelled = error
                    if self.reported is None:
                        self.give_up()
                        if on_cancel is not None:
                            on_cancel()
            if cancelled is not None:
                raise cancelled
        finally:
            del cancelled  # no cycle with its traceback, in which this frame is

    def result(self) -> Any:
        """Return what the call returned, or raise what it raised.  That can be asked once."""
        assert self.reported is not None, "it was waited for"
        result, error = self.reported
        self.reported = None
        try:
            if error is None:
                return result
            raise raised(error)
        finally:
            del self, result, error  # the exception would hold this frame, and this frame it


class _Thread(threading.local):
    """What is known of the current thread."""

    call: Receiver | None = None
    """What is called in it, if it is one of a pool."""


this_thread: _Thread = _Thread()

_Job = tuple[Context, Callable[..., Any], tuple[Any, ...], Receiver]


class ThreadPool:
    """At most `size` threads, started when they are needed and kept.

    What is called in one finds other threads where it asks for some: see `inner`.

    Args:
        size: how many calls may run at once; further ones wait their turn.
        max_waiting: how many may wait before `require_room` refuses, or None.
    """

    def __init__(self, size: int, max_waiting: int | None = None) -> None:
        self.size = size
        self.max_waiting = max_waiting
        # Said once, until the threads have caught up.
        self._is_refusing = False
        self._crew = _Crew()
        self._pace = _AnyPace()
        # How many calls in a row were the only ones.
        self._alone = 0
        # Those who wait for the next tick of a loop.
        self._tick: tuple[asyncio.AbstractEventLoop, list[Callable[[], object]]] | None = None
        self._inner: ThreadPool | None = None
        self._mail: _Mail | None = None

    @property
    def inner(self) -> ThreadPool:
        """As many threads again, for what threads of this pool wait for.

        Threads that wait for one another's turn would wait for ever: so `dualroute.concurrency.threads` is bound to
        these, and not to the pool itself, in all that its threads call, and in the tasks that begin there.
        """
        if self._inner is None:
            self._inner = ThreadPool(self.size, self.max_waiting)
        return self._inner

    def require_room(self) -> None:
        """Raise TooBusy where all threads are taken and as many calls wait for one as may."""
        crew = self._crew
        if self.max_waiting is None or crew.threads < self.size:
            return
        waiting = crew.waiting - crew.idle
        if waiting < self.max_waiting:
            if waiting <= 0:
                self._is_refusing = False
            return
        if not self._is_refusing:
            self._is_refusing = True
            logger.error(
                "all %d threads are taken and %d calls wait for one: what needs a thread is answered 503 for now",
                self.size,
                waiting,
            )
        raise TooBusy

    async def run(
        self,
        function: Callable[..., Any],
        args: tuple[Any, ...] = (),
        *,
        on_cancel: Callable[[], object] | None = None,
        pace: Pace | None = None,
    ) -> Any:
        """Call `function` in a thread and return what it returns, or raise what it raises.

        It runs in a copy of the caller's context, and the context variables that it binds are bound for the caller.

        Args:
            function: the callable.
            args: its positional arguments.
            on_cancel: called where the caller is cancelled while `function` runs, which has been given up by then: to
                wake it from what it waits for, other than the event loop.
            pace: remembers how long such calls take.
        """
        loop = asyncio.get_running_loop()
        mail = self._mail
        if mail is None or mail.loop is not loop:
            mail = self._mail = _Mail(loop)
        outcome = _Outcome(mail)
        self.note_start(outcome, pace)
        context = self.start(function, args, outcome)
        if outcome.over is not None:
            self.stand_still(outcome.over, pace)
        try:
            if outcome.reported is None:
                await outcome.wait(on_cancel)
            return outcome.result()
        finally:
            del outcome  # its exception would hold this frame, and this frame it
            bind_all(context)

    def start(self, function: Callable[..., Any], args: tuple[Any, ...], receiver: Receiver) -> Context:
        """Have `function` called in a thread and `receiver` told; return the context that it runs in."""
        context = copy_context()
        self._crew.take((context, _within, (self.inner, function, args), receiver), self.size)
        return context

    def note_start(self, receiver: Receiver, pace: Pace | None) -> None:
        """Decide whether the event loop is to stand still for a call that is about to be started.

        From a thread that ends a call to one that waits for a lock it is a few microseconds.  An event loop that is
        put to sleep and woken takes several times as long, and longer than many a call.  But where requests come in
        numbers, a loop that stands still only keeps them from being handed to the threads together.
        """
        crew = self._crew
        if crew.threads - crew.idle + crew.waiting:
            self._alone = 0
            return
        self._alone += 1
        if self._alone < WATCHED:
            return
        pace = pace or self._pace
        if self._alone > WATCHED + STOOD:
            # While the loop stands still nothing else can begin.
            self._alone = WATCHED // 2
        elif pace.passes:
            pace.passes -= 1
        else:
            receiver.over = threading.Lock()
            receiver.over.acquire()

    def stand_still(self, over: threading.Lock, pace: Pace | None) -> None:
        """Wait in place until a call is over, for a moment at most."""
        if not over.acquire(timeout=BRIEFLY):
            (pace or self._pace).passes = PASSES

    def listen_later(self, function: Callable[[], object], delay: float) -> None:
        """Have `function` called on the loop in `delay` seconds at most; one timer serves all that come meanwhile."""
        loop = asyncio.get_running_loop()
        if self._tick is None or self._tick[0] is not loop:
            tick = self._tick = (loop, [])
            loop.call_later(delay, self._listen, tick)
        self._tick[1].append(function)

    def _listen(self, tick: tuple[asyncio.AbstractEventLoop, list[Callable[[], object]]]) -> None:
        if self._tick is tick:
            self._tick = None
        for function in tick[1]:
            function()

    def close(self) -> None:
        """Let the threads end when they have done what is queued.  Later calls start others."""
        crew, self._crew = self._crew, _Crew()
        crew.dismiss()
        if self._inner is not None:
            self._inner.close()


def _within(inner: ThreadPool, function: Callable[..., Any], args: tuple[Any, ...]) -> Any:
    """Call a function where `inner` are the threads to be found."""
    token = threads.set(inner)
    try:
        return function(*args)
    finally:
        threads.reset(token)


class _Crew:
    """The threads of a pool from one close() to the next."""

    def __init__(self) -> None:
        self._jobs: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self.threads = 0
        self.idle = 0
        self.waiting = 0

    def take(self, job: _Job, size: int) -> None:
        """Queue a call, and start a thread for it where none is idle and there are fewer than `size`."""
        with self._lock:
            if self.waiting >= self.idle and self.threads < size:
                threading.Thread(target=self._work, name="dualroute-handler", daemon=True).start()
                self.threads += 1
                # Counted as idle from here, so that the next call does not start a thread in place of this one.
                self.idle += 1
            self.waiting += 1
        self._jobs.put(job)

    def dismiss(self) -> None:
        for _ in range(self.threads):
            self._jobs.put(None)

    def _work(self) -> None:
        while True:
            job = self._jobs.get()
            if job is None:
                return
            with self._lock:
                self.waiting -= 1
                self.idle -= 1
            context, function, args, receiver = job
            if receiver.claim():
                result: Any = None
                failure: BaseException | None = None
                this_thread.call = receiver
                try:
                    result = context.run(function, *args)
                except BaseException as error:
                    failure = error
                this_thread.call = None
                # As good as idle: who hears of the outcome may have the next call, and is to find this thread for it.
                with self._lock:
                    self.idle += 1
                receiver.report(result, failure)
                if receiver.over is not None:
                    receiver.over.release()
                # Not kept until the next call comes.
                del result, failure
            else:
                with self._lock:
                    self.idle += 1
            del job, context, function, args, receiver
