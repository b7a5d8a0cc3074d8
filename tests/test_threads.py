"""The thread pool by itself: what an executor keeps, it keeps too."""

from __future__ import annotations

import asyncio
import gc
import threading
import time
import traceback
from collections.abc import Callable, Coroutine, Iterator
from contextvars import ContextVar
from typing import Any

import pytest

from dualroute_asgi import ThreadPool, threads

TIMEOUT = 20
"""How many seconds anything here may take before it counts as hanging."""

variable: ContextVar[str] = ContextVar("variable", default="default")


def run(main: Coroutine[Any, Any, Any]) -> Any:
    async def within_bounds() -> Any:
        return await asyncio.wait_for(main, TIMEOUT)

    return asyncio.run(within_bounds())


@pytest.fixture
def pool() -> Iterator[ThreadPool]:
    pool = ThreadPool(2)
    yield pool
    pool.close()


class Gate:
    """Something for a thread to wait at, and for a test to know that it does."""

    def __init__(self) -> None:
        self._open = threading.Event()
        self.arrived = threading.Semaphore(0)

    def pass_through(self) -> str:
        self.arrived.release()
        assert self._open.wait(TIMEOUT)
        return threading.current_thread().name

    async def wait_for_arrival(self) -> None:
        assert await asyncio.to_thread(self.arrived.acquire, timeout=TIMEOUT)

    def open(self) -> None:
        self._open.set()


def handler_threads() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "dualroute-handler"]


def new_threads(before: list[threading.Thread]) -> list[threading.Thread]:
    return [thread for thread in handler_threads() if thread not in before]


def test_a_call_runs_in_another_thread_and_its_result_comes_back(pool: ThreadPool) -> None:
    def call(*args: int) -> tuple[bool, int]:
        return threading.current_thread() is threading.main_thread(), sum(args)

    assert run(pool.run(call, (1, 2))) == (False, 3)


def test_an_exception_comes_back_with_its_traceback(pool: ThreadPool) -> None:
    def fail_here() -> None:
        raise LookupError("reason")

    with pytest.raises(LookupError, match="reason") as caught:
        run(pool.run(fail_here))
    assert "fail_here" in [frame.name for frame in traceback.extract_tb(caught.value.__traceback__)]


def test_a_base_exception_comes_back_and_leaves_the_thread_in_order(pool: ThreadPool) -> None:
    class Stop(BaseException):
        pass

    def stop() -> None:
        raise Stop

    async def main() -> str:
        with pytest.raises(Stop):
            await pool.run(stop)
        return await pool.run(str, (1,))  # type: ignore[no-any-return]

    assert run(main()) == "1"


def test_stop_iteration_comes_back_as_a_runtime_error_that_names_it(pool: ThreadPool) -> None:
    with pytest.raises(RuntimeError, match="StopIteration") as caught:
        run(pool.run(next, (iter(()),)))
    assert isinstance(caught.value.__cause__, StopIteration)


def test_context_variables_reach_the_call_and_those_that_it_binds_come_back(pool: ThreadPool) -> None:
    def call() -> str:
        seen = variable.get()
        variable.set("from the thread")
        return seen

    async def main() -> tuple[str, str]:
        variable.set("from the caller")
        return await pool.run(call), variable.get()

    assert run(main()) == ("from the caller", "from the thread")


def test_context_variables_bound_before_a_failure_come_back(pool: ThreadPool) -> None:
    def fail() -> None:
        variable.set("from the thread")
        raise LookupError

    async def main() -> str:
        with pytest.raises(LookupError):
            await pool.run(fail)
        return variable.get()

    assert run(main()) == "from the thread"


def test_what_one_call_binds_the_next_one_of_its_thread_does_not_see() -> None:
    pool = ThreadPool(1)

    async def bind() -> int:
        def call() -> int:
            variable.set("bound")
            return threading.get_ident()

        return await pool.run(call)  # type: ignore[no-any-return]

    async def main() -> None:
        first = await asyncio.create_task(bind())
        ident, seen = await pool.run(lambda: (threading.get_ident(), variable.get()))
        assert (ident, seen) == (first, "default")

    run(main())
    pool.close()


def test_there_is_no_thread_before_the_first_need(pool: ThreadPool) -> None:
    before = handler_threads()
    assert new_threads(before) == []
    run(pool.run(int))
    assert len(new_threads(before)) == 1


def test_an_idle_thread_is_used_again(pool: ThreadPool) -> None:
    async def main() -> set[int]:
        return {await pool.run(threading.get_ident) for _ in range(20)}

    before = handler_threads()
    idents = run(main())
    # A thread counts as idle a moment after it has answered, so one more may have been started; never a third.
    assert len(idents) <= 2
    assert len(new_threads(before)) <= 2


def test_no_more_calls_run_at_once_than_the_pool_has_threads(pool: ThreadPool) -> None:
    gate = Gate()
    running = most = 0
    lock = threading.Lock()

    def call(number: int) -> int:
        nonlocal running, most
        with lock:
            running += 1
            most = max(most, running)
        gate.pass_through()
        with lock:
            running -= 1
        return number

    async def main() -> Any:
        tasks = [asyncio.create_task(pool.run(call, (number,))) for number in range(5)]
        await gate.wait_for_arrival()
        await gate.wait_for_arrival()
        gate.open()
        return await asyncio.gather(*tasks)

    assert run(main()) == [0, 1, 2, 3, 4]
    assert most == 2


def test_a_thousand_calls_at_once_are_all_answered() -> None:
    pool = ThreadPool(8)

    async def main() -> Any:
        return await asyncio.gather(*[pool.run(lambda number: number * 2, (number,)) for number in range(1000)])

    before = handler_threads()
    assert run(main()) == [number * 2 for number in range(1000)]
    assert 1 <= len(new_threads(before)) <= 8
    pool.close()


def test_a_call_cancelled_before_it_began_never_runs() -> None:
    pool = ThreadPool(1)
    gate = Gate()
    called: list[str] = []

    async def main() -> None:
        first = asyncio.create_task(pool.run(gate.pass_through))
        await gate.wait_for_arrival()
        second = asyncio.create_task(pool.run(called.append, ("second",)))
        await asyncio.sleep(0)
        second.cancel()
        with pytest.raises(asyncio.CancelledError):
            await second
        gate.open()
        await first
        await pool.run(called.append, ("third",))

    run(main())
    assert called == ["third"]
    pool.close()


def test_a_call_cancelled_while_it_runs_is_waited_for_and_then_its_caller_is_cancelled(pool: ThreadPool) -> None:
    gate = Gate()
    ended: list[str] = []

    def call() -> None:
        gate.pass_through()
        ended.append("call")

    async def caller() -> None:
        try:
            await pool.run(call)
        finally:
            ended.append("caller")

    async def main() -> None:
        task = asyncio.create_task(caller())
        await gate.wait_for_arrival()
        task.cancel()
        done, _ = await asyncio.wait([task], timeout=0)
        assert not done
        gate.open()
        with pytest.raises(asyncio.CancelledError):
            await task

    run(main())
    assert ended == ["call", "caller"]


def test_a_call_is_told_that_its_caller_was_cancelled(pool: ThreadPool) -> None:
    gate = Gate()

    async def main() -> None:
        task = asyncio.create_task(pool.run(gate.pass_through, on_cancel=gate.open))
        await gate.wait_for_arrival()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    run(main())


def test_a_call_that_fails_after_its_caller_was_cancelled_is_not_reported_by_asyncio(
    pool: ThreadPool, caplog: pytest.LogCaptureFixture
) -> None:
    gate = Gate()

    def fail() -> None:
        gate.pass_through()
        raise LookupError

    async def main() -> None:
        task = asyncio.create_task(pool.run(fail))
        await gate.wait_for_arrival()
        task.cancel()
        await asyncio.sleep(0)
        gate.open()
        with pytest.raises(asyncio.CancelledError):
            await task

    run(main())
    gc.collect()
    assert caplog.records == []


def test_a_timeout_around_a_call_ends_as_a_timeout(pool: ThreadPool) -> None:
    gate = Gate()

    async def main() -> None:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.01):
                await pool.run(gate.pass_through, on_cancel=gate.open)
        current = asyncio.current_task()
        assert current is not None
        assert current.cancelling() == 0

    run(main())


def test_after_close_the_threads_end_when_what_is_queued_is_done() -> None:
    pool = ThreadPool(1)
    gate = Gate()
    before = handler_threads()

    async def main() -> list[Any]:
        tasks = [asyncio.create_task(pool.run(gate.pass_through)), asyncio.create_task(pool.run(str, (1,)))]
        await gate.wait_for_arrival()
        threads = new_threads(before)
        pool.close()
        gate.open()
        results = await asyncio.gather(*tasks)
        for thread in threads:
            await asyncio.to_thread(thread.join, TIMEOUT)
            assert not thread.is_alive()
        return results

    assert run(main()) == ["dualroute-handler", "1"]


def test_a_pool_that_was_closed_while_busy_serves_again() -> None:
    pool = ThreadPool(2)

    async def main() -> None:
        gates = [Gate(), Gate()]
        tasks = [asyncio.create_task(pool.run(gate.pass_through)) for gate in gates]
        for gate in gates:
            await gate.wait_for_arrival()
        pool.close()
        for gate in gates:
            gate.open()
        await asyncio.gather(*tasks)
        assert await asyncio.gather(*[pool.run(abs, (-number,)) for number in range(10)]) == list(range(10))

    for _ in range(3):
        run(main())
    pool.close()


def test_closing_twice_and_before_any_call_is_nothing() -> None:
    pool = ThreadPool(1)
    pool.close()
    pool.close()
    assert run(pool.run(abs, (-1,))) == 1
    pool.close()


def test_a_call_whose_event_loop_was_closed_meanwhile_leaves_its_thread_in_order() -> None:
    pool = ThreadPool(1)
    gate = Gate()
    loop = asyncio.new_event_loop()
    task = loop.create_task(pool.run(gate.pass_through))
    loop.run_until_complete(gate.wait_for_arrival())
    loop.run_until_complete(loop.shutdown_default_executor())
    loop.close()
    gate.open()
    assert run(pool.run(abs, (-1,))) == 1
    # The task was pending when its loop went; end it here, so that it is not reported.
    coroutine: Any = task.get_coro()
    with pytest.raises(RuntimeError, match="closed"):
        coroutine.throw(RuntimeError("closed"))
    task._log_destroy_pending = False  # type: ignore[attr-defined]  # asyncio has no public way
    pool.close()


def test_calls_from_two_event_loops_come_back_each_to_its_own(pool: ThreadPool) -> None:
    results: list[int] = []

    def serve(start: int) -> None:
        async def main() -> Any:
            return [await pool.run(abs, (number,)) for number in range(start, start + 50)]

        results.extend(run(main()))

    threads = [threading.Thread(target=serve, args=(start,)) for start in (0, 100)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(TIMEOUT)
    assert sorted(results) == [*range(50), *range(100, 150)]


@pytest.mark.parametrize("make", [object, LookupError], ids=["result", "exception"])
def test_a_thread_keeps_nothing_of_the_call_before(make: Callable[[], Any]) -> None:
    pool = ThreadPool(1)
    ended = threading.Event()

    class Token:
        def __del__(self) -> None:
            ended.set()

    def call(token: Token) -> Any:
        outcome = make()
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    async def main() -> None:
        try:
            await pool.run(call, (Token(),))
        except LookupError:
            pass

    run(main())
    deadline = time.monotonic() + TIMEOUT
    # An exception and its frames hold one another, so it takes the collector, after the thread has let go.
    while not ended.wait(0.01) and time.monotonic() < deadline:
        gc.collect()
    assert ended.is_set()
    pool.close()


class Pace:
    """Counts for a kind of call, as a Handler does."""

    passes = 0


async def short_calls(pool: ThreadPool, count: int, pace: Pace | None = None) -> list[bool]:
    """Make calls one after the other, and tell of each whether the event loop went on meanwhile."""
    turned = []
    for _ in range(count):
        turns: list[bool] = []
        asyncio.get_running_loop().call_soon(turns.append, True)
        assert await pool.run(str, (1,), pace=pace) == "1"
        turned.append(bool(turns))
        await asyncio.sleep(0)
    return turned


def needs_the_loop(pool: ThreadPool, pace: Pace | None = None) -> Coroutine[Any, Any, Any]:
    """Call a function that ends only when the event loop goes on."""
    event = threading.Event()
    asyncio.get_running_loop().call_soon(event.set)
    return pool.run(event.wait, (TIMEOUT / 2,), pace=pace)


def test_the_loop_stands_still_for_calls_that_come_one_at_a_time(
    pool: ThreadPool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(threads, "BRIEFLY", TIMEOUT)

    async def main() -> list[bool]:
        assert await needs_the_loop(pool)  # it does not begin with that
        return await short_calls(pool, threads.WATCHED + 20)

    assert not any(run(main())[threads.WATCHED :])


def test_now_and_then_the_loop_looks_whether_others_would_come(
    pool: ThreadPool, monkeypatch: pytest.MonkeyPatch
) -> None:
    stood = []
    stand_still = ThreadPool.stand_still

    def count(*args: Any) -> None:
        stood.append(True)
        stand_still(*args)

    monkeypatch.setattr(threads, "BRIEFLY", TIMEOUT)
    monkeypatch.setattr(ThreadPool, "stand_still", count)

    async def main() -> None:
        await short_calls(pool, threads.WATCHED - 1)
        assert not stood
        await short_calls(pool, threads.STOOD + 1)
        assert len(stood) == threads.STOOD + 1
        for _ in range(threads.WATCHED // 2):
            assert await needs_the_loop(pool)
        assert len(stood) == threads.STOOD + 1
        await short_calls(pool, 3)
        assert len(stood) == threads.STOOD + 4

    run(main())


def test_calls_that_take_longer_are_not_stood_still_for(pool: ThreadPool, monkeypatch: pytest.MonkeyPatch) -> None:
    slow, quick = Pace(), Pace()

    async def main() -> None:
        monkeypatch.setattr(threads, "BRIEFLY", TIMEOUT)
        await short_calls(pool, threads.WATCHED)
        monkeypatch.setattr(threads, "BRIEFLY", 0.001)
        assert await needs_the_loop(pool, slow)  # after a moment
        assert slow.passes == threads.PASSES
        monkeypatch.setattr(threads, "BRIEFLY", TIMEOUT)
        for left in reversed(range(threads.PASSES)):
            assert await needs_the_loop(pool, slow)
            assert slow.passes == left
        # Calls of another kind, and calls of no kind, are not concerned.
        assert not any(await short_calls(pool, 3, quick))
        assert not any(await short_calls(pool, 3))
        assert not any(await short_calls(pool, 3, slow))

    run(main())


def test_the_loop_does_not_stand_still_while_other_calls_are_under_way(
    pool: ThreadPool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(threads, "BRIEFLY", TIMEOUT)

    async def main() -> None:
        await short_calls(pool, threads.WATCHED - 1)
        gate = Gate()
        other = asyncio.create_task(pool.run(gate.pass_through, pace=NoStop()))
        await gate.wait_for_arrival()
        assert await needs_the_loop(pool)
        gate.open()
        await other
        assert await needs_the_loop(pool)  # and for a while after

    run(main())


class NoStop(Pace):
    """The pace of calls that the loop never stands still for."""

    passes = 10**6
