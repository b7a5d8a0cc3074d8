"""The worker's event loop: one per process, started on first need, outliving the requests."""

from __future__ import annotations

import asyncio
import io
import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
import traceback
from collections.abc import Callable
from contextvars import ContextVar, copy_context
from pathlib import Path
from typing import Any

import pytest

from dualroute import DualRoute, JSONResponse, PlainTextResponse, Request, Response, Route
from dualroute.types import Environ
from dualroute_wsgi.body import HandOverChannel
from dualroute_wsgi.desk import Desk
from dualroute_wsgi.loop import WorkerLoop, worker_loop
from tests.transports import call_wsgi

TIMEOUT = 20
"""How many seconds anything here may take before it counts as hanging."""

forks = pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")


def environ(body: Any = b"", **further: Any) -> Environ:
    return {
        "REQUEST_METHOD": "POST",
        "SCRIPT_NAME": "",
        "PATH_INFO": "/",
        "QUERY_STRING": "",
        "SERVER_NAME": "testserver",
        "SERVER_PORT": "80",
        "SERVER_PROTOCOL": "HTTP/1.1",
        "CONTENT_LENGTH": str(len(body)) if isinstance(body, bytes) else "3",
        "wsgi.version": (1, 0),
        "wsgi.url_scheme": "http",
        "wsgi.input": io.BytesIO(body) if isinstance(body, bytes) else body,
        "wsgi.errors": sys.stderr,
        "wsgi.multithread": True,
        "wsgi.multiprocess": False,
        "wsgi.run_once": False,
        **further,
    }


def one_route(endpoint: Any) -> DualRoute:
    return DualRoute([Route("/", endpoint, methods=["POST"])])


def call(app: Any, body: Any = b"") -> bytes:
    return b"".join(call_wsgi(app, environ(body))[2])


def on_loop(function: Callable[..., Any], *args: Any) -> Any:
    return worker_loop().run(function, args, copy_context(), Desk())


def python(script: str, timeout: float = 60) -> subprocess.CompletedProcess[str]:
    """Run a script in an interpreter of its own, which finds the same packages as this one."""
    import dualroute
    import dualroute_wsgi

    roots = [str(Path(str(module.__file__)).parents[1]) for module in (dualroute, dualroute_wsgi)]
    return subprocess.run(
        [sys.executable, "-c", textwrap.dedent(PREAMBLE) + textwrap.dedent(script)],
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(dict.fromkeys(roots))},
    )


PREAMBLE = """
import io, os, sys
from dualroute import DualRoute, PlainTextResponse, Route

def call(app):
    environ = {
        "REQUEST_METHOD": "GET", "SCRIPT_NAME": "", "PATH_INFO": "/", "QUERY_STRING": "", "SERVER_NAME": "testserver",
        "SERVER_PORT": "80", "SERVER_PROTOCOL": "HTTP/1.1", "wsgi.version": (1, 0), "wsgi.url_scheme": "http",
        "wsgi.input": io.BytesIO(), "wsgi.errors": sys.stderr, "wsgi.multithread": True, "wsgi.multiprocess": False,
        "wsgi.run_once": False,
    }
    return b"".join(app(environ, lambda *args: None)).decode()
"""


# One loop, for as long as the process lives


def test_two_requests_run_on_the_same_loop_and_thread() -> None:
    async def post(request: Request) -> Response:
        return JSONResponse([id(asyncio.get_running_loop()), threading.get_ident()])

    app = one_route(post)
    assert call(app) == call(app)


def test_two_apps_share_the_loop() -> None:
    async def post(request: Request) -> Response:
        return JSONResponse(id(asyncio.get_running_loop()))

    assert call(one_route(post)) == call(one_route(post))


def test_requests_from_two_threads_run_on_the_loop_at_once() -> None:
    met = asyncio.Barrier(2)

    async def post(request: Request) -> Response:
        async with asyncio.timeout(TIMEOUT):
            await met.wait()
        return PlainTextResponse("met")

    app = one_route(post)
    answers: list[bytes] = []
    threads = [threading.Thread(target=lambda: answers.append(call(app))) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(TIMEOUT)
    assert answers == [b"met", b"met"]


def test_a_task_that_a_handler_starts_goes_on_after_the_response() -> None:
    answered = asyncio.Event()
    done = threading.Event()
    tasks: set[asyncio.Task[None]] = set()

    async def background() -> None:
        await answered.wait()
        done.set()

    async def post(request: Request) -> Response:
        tasks.add(asyncio.create_task(background()))
        return PlainTextResponse("")

    call(one_route(post))
    assert not done.is_set()
    worker_loop().loop.call_soon_threadsafe(answered.set)
    assert done.wait(TIMEOUT)


def test_what_one_request_puts_into_a_queue_the_next_one_gets() -> None:
    queue: asyncio.Queue[str] = asyncio.Queue()
    lock = asyncio.Lock()

    async def post(request: Request) -> Response:
        async with lock:
            if queue.empty():
                await queue.put("from the first")
                return PlainTextResponse("put")
            return PlainTextResponse(await queue.get())

    app = one_route(post)
    assert [call(app), call(app)] == [b"put", b"from the first"]


def test_many_requests_from_many_threads_are_all_answered() -> None:
    async def post(request: Request) -> Response:
        body = await request.body()
        await asyncio.sleep(0)
        return PlainTextResponse(body)

    app = one_route(post)
    wrong: list[bytes] = []

    def work(number: int) -> None:
        for count in range(50):
            body = b"%d-%d" % (number, count)
            if call(app, body) != body:
                wrong.append(body)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(TIMEOUT)
    assert not any(thread.is_alive() for thread in threads)
    assert wrong == []


# Outcomes


def test_an_exception_comes_back_with_its_traceback() -> None:
    async def fail_here() -> None:
        raise LookupError("reason")

    with pytest.raises(LookupError, match="reason") as caught:
        on_loop(fail_here)
    assert "fail_here" in [frame.name for frame in traceback.extract_tb(caught.value.__traceback__)]


def test_a_function_that_fails_to_make_a_coroutine_raises_where_it_is_called() -> None:
    def broken() -> Any:
        raise LookupError

    with pytest.raises(LookupError):
        on_loop(broken)


def test_the_coroutine_runs_in_the_context_it_is_given() -> None:
    variable: ContextVar[str] = ContextVar("variable", default="default")

    async def bind() -> str:
        seen = variable.get()
        variable.set("bound on the loop")
        return seen

    context = copy_context()
    context.run(variable.set, "given")
    assert worker_loop().run(bind, (), context, Desk()) == "given"
    assert (context[variable], variable.get()) == ("bound on the loop", "default")


def test_the_loop_s_own_thread_is_refused_because_it_would_wait_for_itself(caplog: pytest.LogCaptureFixture) -> None:
    inner = one_route(_answer)

    async def post(request: Request) -> Response:
        return PlainTextResponse(call(inner))

    assert call(one_route(post)) == b"Internal Server Error"
    assert "can't wait for itself" in caplog.text


async def _answer(request: Request) -> Response:
    return PlainTextResponse("")


# Reading in the server's thread


def test_a_read_that_was_given_up_is_taken_up_again_and_its_bytes_are_kept() -> None:
    go_on = threading.Event()

    class Slow(io.RawIOBase):
        reads = 0

        def read(self, size: int = -1) -> bytes:
            self.reads += 1
            assert go_on.wait(TIMEOUT)
            return b"abc"

    slow = Slow()
    channel = HandOverChannel(environ(slow))

    async def read() -> bytes:
        for _ in range(3):
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(channel.receive(), 0.01)
        go_on.set()
        return await channel.receive()

    assert worker_loop().run(read, (), copy_context(), channel.desk) == b"abc"
    assert slow.reads == 1


# Interruption of the waiting thread


class Interrupted(BaseException):
    pass


def test_an_interrupted_read_cancels_the_coroutine_and_goes_on_to_the_server() -> None:
    ended: list[str] = []

    class Interrupting(io.RawIOBase):
        def read(self, size: int = -1) -> bytes:
            raise Interrupted

    async def post(request: Request) -> Response:
        try:
            await request.body()
        except asyncio.CancelledError:
            ended.append("cancelled")
            raise
        return PlainTextResponse("")

    started = time.monotonic()
    with pytest.raises(Interrupted):
        call(one_route(post), Interrupting())
    assert ended == ["cancelled"]
    assert time.monotonic() - started < TIMEOUT


@pytest.mark.skipif(not hasattr(signal, "pthread_kill"), reason="this system has no pthread_kill")
def test_a_signal_in_the_waiting_thread_cancels_the_coroutine_and_goes_on_to_the_server() -> None:
    running = threading.Event()
    ended: list[str] = []

    async def post(request: Request) -> Response:
        running.set()
        try:
            await asyncio.Event().wait()
        finally:
            ended.append("cancelled")
        return PlainTextResponse("")

    taken = threading.Event()

    def interrupt(number: int, frame: Any) -> None:
        if not taken.is_set():
            taken.set()
            raise Interrupted

    def send_signal() -> None:
        assert running.wait(TIMEOUT)
        # One that comes while the thread is about to wait is noticed when the next one comes.
        for _ in range(TIMEOUT * 10):
            signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGUSR1)
            if taken.wait(0.1):
                break

    before = signal.signal(signal.SIGUSR1, interrupt)
    sender = threading.Thread(target=send_signal)
    try:
        sender.start()
        with pytest.raises(Interrupted):
            call(one_route(post))
    finally:
        sender.join(TIMEOUT)
        signal.signal(signal.SIGUSR1, before)
    assert ended == ["cancelled"]


def test_a_coroutine_that_will_not_be_cancelled_holds_an_interrupted_thread_for_a_while_only(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("dualroute_wsgi.loop.GRACE", 0.01)
    release = asyncio.Event()

    class Interrupting(io.RawIOBase):
        def read(self, size: int = -1) -> bytes:
            raise Interrupted

    async def post(request: Request) -> Response:
        try:
            await request.body()
        except asyncio.CancelledError:
            await release.wait()
        return PlainTextResponse("")

    with pytest.raises(Interrupted):
        call(one_route(post), Interrupting())
    worker_loop().loop.call_soon_threadsafe(release.set)


# The life of the process


def test_a_closed_loop_cancelled_its_tasks() -> None:
    loop = WorkerLoop()
    ended: list[str] = []
    started = threading.Event()

    async def forever() -> None:
        started.set()
        try:
            await asyncio.Event().wait()
        finally:
            ended.append("task")

    task = asyncio.run_coroutine_threadsafe(forever(), loop.loop)
    assert started.wait(TIMEOUT)
    loop.close()
    loop.close()
    assert ended == ["task"]
    assert task.cancelled()
    assert loop.loop.is_closed()


def test_importing_starts_no_loop() -> None:
    ran = python("""
        import threading, dualroute_wsgi.loop
        print(threading.active_count(), dualroute_wsgi.loop._worker_loop)
    """)
    assert (ran.stdout, ran.stderr) == ("1 None\n", "")


@forks
def test_after_a_fork_the_child_has_a_loop_of_its_own_though_the_parent_has_one() -> None:
    ran = python("""
        import asyncio, warnings
        warnings.simplefilter("ignore", DeprecationWarning)  # 3.12 on: the process that forks has threads

        async def get(request):
            await asyncio.sleep(0)
            return PlainTextResponse(str(id(asyncio.get_running_loop())))

        app = DualRoute([Route("/", get)])
        parents = call(app)
        child = os.fork()
        if child == 0:
            first, second = call(app), call(app)
            assert first == second
            assert first != parents
            sys.stdout.write("child answered\\n")
            sys.stdout.flush()
            sys.exit(0)
        _, status = os.waitpid(child, 0)
        assert call(app) == parents
        print("parent answered", status)
    """)
    assert (ran.stdout, ran.stderr) == ("child answered\nparent answered 0\n", "")


@forks
def test_an_app_made_before_a_fork_serves_in_each_child() -> None:
    ran = python("""
        import asyncio

        async def get(request):
            await asyncio.sleep(0)
            return PlainTextResponse("answered")

        app = DualRoute([Route("/", get)])
        children = []
        for _ in range(2):
            child = os.fork()
            if child == 0:
                os.write(1, (call(app) + "\\n").encode())
                sys.exit(0)
            children.append(child)
        print([os.waitpid(child, 0)[1] for child in children])
    """)
    assert (ran.stdout, ran.stderr) == ("answered\nanswered\n[0, 0]\n", "")


def test_the_process_exits_promptly_with_tasks_on_the_loop_and_they_are_cleaned_up() -> None:
    started = time.monotonic()
    ran = python("""
        import asyncio
        tasks = set()

        async def forever():
            try:
                await asyncio.Event().wait()
            finally:
                print("cleaned up")

        async def get(request):
            tasks.add(asyncio.create_task(forever()))
            await asyncio.sleep(0)
            return PlainTextResponse("answered")

        print(call(DualRoute([Route("/", get)])))
    """)
    assert (ran.returncode, ran.stdout, ran.stderr) == (0, "answered\ncleaned up\n", "")
    assert time.monotonic() - started < TIMEOUT


def test_the_process_exits_within_a_bound_though_a_task_will_not_be_cancelled() -> None:
    ran = python(
        """
        import asyncio
        import dualroute_wsgi.loop
        dualroute_wsgi.loop.GRACE = 0.1
        tasks = set()

        async def stubborn():
            while True:
                try:
                    await asyncio.Event().wait()
                except asyncio.CancelledError:
                    pass

        async def get(request):
            tasks.add(asyncio.create_task(stubborn()))
            await asyncio.sleep(0)
            return PlainTextResponse("answered")

        print(call(DualRoute([Route("/", get)])))
        sys.stdout.flush()
        """,
        timeout=TIMEOUT,
    )
    assert (ran.returncode, ran.stdout) == (0, "answered\n")


def test_the_process_exits_within_a_bound_though_the_loop_is_blocked() -> None:
    ran = python(
        """
        import asyncio, threading
        import dualroute_wsgi.loop
        dualroute_wsgi.loop.GRACE = 0.1
        blocked = threading.Event()

        def block():
            blocked.set()
            threading.Event().wait()

        async def get(request):
            asyncio.get_running_loop().call_later(0.05, block)  # once the response is out
            return PlainTextResponse("answered")

        print(call(DualRoute([Route("/", get)])))
        blocked.wait()
        sys.stdout.flush()
        """,
        timeout=TIMEOUT,
    )
    assert (ran.returncode, ran.stdout) == (0, "answered\n")
