"""The lifespan of mounted ASGI applications: by an ASGI server's, and in a WSGI worker before its first request."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from typing import Any

import pytest

import dualroute_wsgi.loop
from dualroute import DualRoute, Host, Mount, PlainTextResponse, Response, Route, Router, SyncRequest
from dualroute_asgi.mounted import ASGIApp
from dualroute_wsgi.loop import WorkerLoop
from tests.mounted_asgi_helper import TIMEOUT, Gate, Receive, Send, Way, errors, respond
from tests.test_loop import forks, python
from tests.transports import EventLoopThread


class Living:
    """An application with a lifespan; `log` tells what has become of it.

    Args:
        name: what it is called in the log.
        log: where it writes to; several may share one.
        startup: "complete", "failed" (and returns), "fails" (tells, then raises), "raises" (tells nothing).
        shutdown: the same for its shutdown.
    """

    def __init__(
        self, name: str = "one", log: list[str] | None = None, startup: str = "complete", shutdown: str = "complete"
    ) -> None:
        self.name = name
        self.log = [] if log is None else log
        self.startup = startup
        self.shutdown = shutdown
        self.scopes: list[Any] = []
        self.states: list[dict[str, Any]] = []
        self.loops: list[Any] = []

    async def __call__(self, scope: Any, receive: Receive, send: Send) -> None:
        self.scopes.append(scope)
        self.loops.append(asyncio.get_running_loop())
        if scope["type"] == "lifespan":
            for phase in ("startup", "shutdown"):
                message = await receive()
                assert message == {"type": f"lifespan.{phase}"}
                self.log.append(f"{self.name} {phase}")
                if phase == "startup":
                    scope["state"]["pool"] = self.name
                await asyncio.sleep(0)
                outcome: str = getattr(self, phase)
                if outcome == "raises":
                    raise LookupError(f"{self.name} {phase} raised")
                if outcome != "complete":
                    await send({"type": f"lifespan.{phase}.failed", "message": f"{self.name} is out of order"})
                    if outcome == "fails":
                        raise LookupError(f"{self.name} {phase} raised")
                    return
                await send({"type": f"lifespan.{phase}.complete"})
            return
        self.states.append(dict(scope["state"]))
        await respond(send, self.name.encode())


async def without(scope: Any, receive: Receive, send: Send) -> None:
    """An application that knows no lifespan."""
    assert scope["type"] == "http", "only http is served here"
    await respond(send, b"served")


def hello(request: SyncRequest) -> Response:
    return PlainTextResponse("hello")


# By an ASGI server


class Server:
    """An ASGI server's side of a lifespan."""

    def __init__(self, app: Any) -> None:
        self.app = app
        self.sent: list[dict[str, Any]] = []
        self._events: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self._news = asyncio.Event()
        self._task = asyncio.create_task(
            app({"type": "lifespan", "asgi": {"version": "3.0"}}, self._events.get, self._send)
        )
        self._task.add_done_callback(lambda task: self._news.set())

    async def _send(self, message: dict[str, Any]) -> None:
        self.sent.append(message)
        self._news.set()

    async def tell(self, phase: str) -> dict[str, Any]:
        """Tell the app of a phase, and return its answer."""
        self._news.clear()
        self._events.put_nowait({"type": f"lifespan.{phase}"})
        await asyncio.wait_for(self._news.wait(), TIMEOUT)
        return self.sent[-1]

    async def ended(self) -> None:
        await asyncio.wait_for(self._task, TIMEOUT)


async def get(app: Any, path: str, **further: Any) -> tuple[int, bytes]:
    sent: list[dict[str, Any]] = []

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    scope = {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": "GET",
        "path": path,
        "query_string": b"",
        "headers": [],
        **further,
    }
    await app(scope, receive, send)
    return sent[0]["status"], b"".join(message.get("body", b"") for message in sent[1:])


COMPLETE = {"type": "lifespan.startup.complete"}


def test_applications_start_in_declared_order_and_shut_down_in_reverse() -> None:
    log: list[str] = []
    app = DualRoute(
        [
            Mount("/a", app=Living("a", log)),
            Route("/x", hello),
            Mount("/b", routes=[Mount("/c", app=DualRoute([Mount("/d", app=Living("d", log))]))]),
            Host("example.org", app=Living("host", log)),
            Mount("/r", app=Router([], default=Living("default", log))),
        ],
        fallback=Living("fallback", log),
    )
    names = ["a", "d", "host", "default", "fallback"]

    async def main() -> None:
        server = Server(app)
        assert await server.tell("startup") == COMPLETE
        assert log == [f"{name} startup" for name in names]
        log.clear()
        assert await server.tell("shutdown") == {"type": "lifespan.shutdown.complete"}
        await server.ended()

    asyncio.run(main())
    assert log == [f"{name} shutdown" for name in reversed(names)]


def test_the_scope_of_a_lifespan_is_one_of_the_specification() -> None:
    living = Living()

    async def main() -> None:
        server = Server(DualRoute([Mount("/a", app=living)]))
        await server.tell("startup")
        await server.tell("shutdown")
        await server.ended()

    asyncio.run(main())
    (scope,) = living.scopes
    assert scope == {"type": "lifespan", "asgi": {"version": "3.0", "spec_version": "2.0"}, "state": {"pool": "one"}}


def test_an_application_served_by_itself_and_one_in_a_router_are_started_too() -> None:
    async def main() -> None:
        for make in (ASGIApp, lambda app: Router([Mount("/", app=app)]), lambda app: Mount("/", app=app)):
            living = Living()
            server = Server(make(living))
            assert await server.tell("startup") == COMPLETE
            await server.tell("shutdown")
            await server.ended()
            assert living.log == ["one startup", "one shutdown"]

    asyncio.run(main())


def test_a_router_mounted_inside_itself_is_no_endless_loop() -> None:
    living = Living()
    router = Router([Mount("/a", app=living)])
    router.mount("/again", router)

    async def main() -> None:
        server = Server(router)
        assert await server.tell("startup") == COMPLETE
        await server.tell("shutdown")
        await server.ended()

    asyncio.run(main())
    assert living.log == ["one startup", "one shutdown"]


@pytest.mark.parametrize("wrap", [False, True])
def test_an_application_mounted_twice_is_started_once_and_has_its_state_in_both_places(wrap: bool) -> None:
    living = Living()
    mounted: Any = ASGIApp(living) if wrap else living

    async def main() -> None:
        app = DualRoute([Mount("/a", app=mounted), Mount("/b", app=mounted)], fallback=mounted)
        server = Server(app)
        await server.tell("startup")
        for path in ("/a/", "/b/", "/c"):
            assert await get(app, path) == (200, b"one")
        await server.tell("shutdown")
        await server.ended()

    asyncio.run(main())
    assert living.log == ["one startup", "one shutdown"]
    assert living.states == [{"pool": "one"}] * 3


@pytest.mark.parametrize("wrapped", [False, True])
def test_the_state_of_the_lifespan_is_there_for_each_request_as_a_copy(wrapped: bool) -> None:
    seen: list[Any] = []
    living = Living()

    async def application(scope: Any, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            seen.append(dict(scope["state"]))
            scope["state"]["left"] = True
        await living(scope, receive, send)

    def marks(connection: Any) -> Any:
        connection.state.user = "ada"
        connection.state.pool = "the request's"
        return (yield connection)

    async def main() -> None:
        app = DualRoute([Mount("/a", app=application)], middleware=[marks] if wrapped else [])
        server = Server(app)
        await server.tell("startup")
        for _ in range(2):
            assert (await get(app, "/a/", state={"outer": 1}))[0] == 200
        await server.tell("shutdown")
        await server.ended()

    asyncio.run(main())
    assert seen == [{"outer": 1, **({"pool": "the request's", "user": "ada"} if wrapped else {"pool": "one"})}] * 2


def test_each_application_has_a_state_of_its_own() -> None:
    one, two = Living("one"), Living("two")

    async def main() -> None:
        app = DualRoute([Mount("/a", app=one), Mount("/b", app=two)])
        server = Server(app)
        await server.tell("startup")
        await get(app, "/a/")
        await get(app, "/b/")
        await server.tell("shutdown")
        await server.ended()

    asyncio.run(main())
    assert (one.states, two.states) == ([{"pool": "one"}], [{"pool": "two"}])


@pytest.mark.parametrize("outcome", ["failed", "fails"])
def test_a_start_up_that_fails_is_told_and_those_before_it_are_shut_down(
    outcome: str, caplog: pytest.LogCaptureFixture
) -> None:
    log: list[str] = []
    app = DualRoute(
        [
            Mount("/a", app=Living("a", log)),
            Mount("/b", app=Living("b", log)),
            Mount("/c", app=Living("c", log, startup=outcome)),
            Mount("/d", app=Living("d", log)),
        ]
    )

    async def main() -> dict[str, Any]:
        server = Server(app)
        answer = await server.tell("startup")
        await server.ended()
        return answer

    answer = asyncio.run(main())
    assert answer["type"] == "lifespan.startup.failed"
    assert "Living" in answer["message"]
    assert "c is out of order" in answer["message"]
    assert log == ["a startup", "b startup", "c startup", "b shutdown", "a shutdown"]
    assert "the start-up failed" in errors(caplog)


@pytest.mark.parametrize("startup", ["raises", "assert", "returns"])
def test_an_application_that_takes_no_lifespan_is_served_without(
    startup: str, caplog: pytest.LogCaptureFixture
) -> None:
    async def returns(scope: Any, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            await respond(send, b"served")

    living = Living("served", startup="raises")
    application = {"raises": living, "assert": without, "returns": returns}[startup]

    async def main() -> None:
        app = DualRoute([Mount("/a", app=application), Mount("/b", app=Living())])
        server = Server(app)
        assert await server.tell("startup") == COMPLETE
        assert await get(app, "/a/") == (200, b"served")
        assert await server.tell("shutdown") == {"type": "lifespan.shutdown.complete"}
        await server.ended()

    asyncio.run(main())
    assert errors(caplog) == []


def test_an_application_whose_lifespan_is_left_out_hears_nothing_of_one() -> None:
    living = Living()

    async def main() -> None:
        app = DualRoute([Mount("/a", app=ASGIApp(living, lifespan=False))])
        server = Server(app)
        assert await server.tell("startup") == COMPLETE
        assert await get(app, "/a/") == (200, b"one")
        await server.tell("shutdown")
        await server.ended()

    asyncio.run(main())
    assert (living.log, living.states) == ([], [{}])


@pytest.mark.parametrize(
    ("outcome", "line"),
    [("failed", "the shutdown of"), ("fails", "the shutdown of"), ("raises", "the lifespan of")],
)
def test_a_shutdown_that_fails_is_logged_and_the_others_are_shut_down(
    outcome: str, line: str, caplog: pytest.LogCaptureFixture
) -> None:
    log: list[str] = []
    app = DualRoute([Mount("/a", app=Living("a", log)), Mount("/b", app=Living("b", log, shutdown=outcome))])

    async def main() -> None:
        server = Server(app)
        await server.tell("startup")
        assert (await server.tell("shutdown"))["type"].startswith("lifespan.shutdown.")
        await server.ended()

    asyncio.run(main())
    assert log == ["a startup", "b startup", "b shutdown", "a shutdown"]
    assert errors(caplog)[0].startswith(line)
    assert "Living" in errors(caplog)[0]
    assert ("b is out of order" if outcome != "raises" else "b shutdown raised") in caplog.text


def test_a_lifespan_that_ends_while_it_serves_is_logged_and_no_shutdown_waits_for_it(
    caplog: pytest.LogCaptureFixture,
) -> None:
    died = asyncio.Event()

    async def dies(scope: Any, receive: Receive, send: Send) -> None:
        await receive()
        await send({"type": "lifespan.startup.complete"})
        died.set()
        raise LookupError("it died")

    async def main() -> None:
        server = Server(DualRoute([Mount("/a", app=dies)]))
        assert await server.tell("startup") == COMPLETE
        await asyncio.wait_for(died.wait(), TIMEOUT)
        assert await server.tell("shutdown") == {"type": "lifespan.shutdown.complete"}
        await server.ended()

    asyncio.run(main())
    (line,) = errors(caplog)
    assert line.startswith("the lifespan of the ASGI app")
    assert "it died" in caplog.text


def test_a_second_lifespan_starts_anew() -> None:
    living = Living()
    app = DualRoute([Mount("/a", app=living)])

    async def main() -> None:
        server = Server(app)
        await server.tell("startup")
        assert await get(app, "/a/") == (200, b"one")
        await server.tell("shutdown")
        await server.ended()

        assert await get(app, "/a/") == (200, b"one")

    asyncio.run(main())
    asyncio.run(main())
    assert living.log == ["one startup", "one shutdown"] * 2
    assert living.states == [{"pool": "one"}, {}] * 2, "what was shut down is not there any more"


def test_what_an_application_does_after_its_shutdown_is_waited_for() -> None:
    log: list[str] = []

    async def application(scope: Any, receive: Receive, send: Send) -> None:
        await receive()
        await send({"type": "lifespan.startup.complete"})
        await receive()
        await send({"type": "lifespan.shutdown.complete"})
        for _ in range(10):
            await asyncio.sleep(0)
        log.append("ended")

    async def main() -> None:
        server = Server(DualRoute([Mount("/a", app=application)]))
        await server.tell("startup")
        await server.tell("shutdown")
        log.append("told")
        await server.ended()

    asyncio.run(main())
    assert log == ["ended", "told"]


def test_two_servers_on_loops_of_their_own_each_have_their_lifespan() -> None:
    living = Living()
    app = DualRoute([Mount("/a", app=living)])
    both = threading.Barrier(2)

    async def serve() -> None:
        server = Server(app)
        assert await server.tell("startup") == COMPLETE
        both.wait(TIMEOUT)
        assert await get(app, "/a/") == (200, b"one")
        both.wait(TIMEOUT)
        await server.tell("shutdown")
        await server.ended()

    failures: list[BaseException] = []

    def run() -> None:
        try:
            asyncio.run(serve())
        except BaseException as error:
            failures.append(error)
            both.abort()

    threads = [threading.Thread(target=run) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(TIMEOUT)
    assert failures == []
    assert sorted(living.log) == ["one shutdown"] * 2 + ["one startup"] * 2
    assert living.states == [{"pool": "one"}] * 2


def test_a_server_that_stops_before_the_start_up_ends_quietly() -> None:
    living = Living()

    async def main() -> None:
        server = Server(DualRoute([Mount("/a", app=living)]))
        await server.tell("shutdown")
        await server.ended()

    asyncio.run(main())
    assert living.log == []


# In a WSGI worker


@pytest.fixture
def worker(monkeypatch: pytest.MonkeyPatch) -> Iterator[WorkerLoop]:
    """A worker's loop for this test alone."""
    loop = WorkerLoop()
    monkeypatch.setattr(dualroute_wsgi.loop, "_worker_loop", loop)
    yield loop
    loop.close()


@pytest.fixture
def wsgi(worker: WorkerLoop, event_loop_thread: EventLoopThread) -> Way:
    return Way("wsgi-bare", event_loop_thread)


def test_the_first_request_starts_what_is_mounted_and_no_other_does(wsgi: Way) -> None:
    log: list[str] = []
    living = Living("a", log)
    app = DualRoute([Route("/x", hello), Mount("/a", app=living), Mount("/b", app=Living("b", log))])
    assert log == []
    assert wsgi.ask(app, path="/x").body == b"hello"
    assert log == ["a startup", "b startup"]
    for _ in range(3):
        assert wsgi.ask(app, path="/a/").body == b"a"
    assert log == ["a startup", "b startup"]
    assert living.states == [{"pool": "a"}] * 3


def test_the_lifespan_runs_on_the_loop_that_serves(wsgi: Way, worker: WorkerLoop) -> None:
    living = Living()
    wsgi.ask(DualRoute([Mount("/a", app=living)]), path="/a/")
    assert set(living.loops) == {worker.loop}
    assert len(living.loops) == 2


def test_many_first_requests_at_once_start_it_once_and_all_wait_for_it(wsgi: Way) -> None:
    living = Living()
    go_on, begun = Gate(), Gate()

    async def application(scope: Any, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            begun.open()
            await go_on.wait()
        await living(scope, receive, send)

    app = DualRoute([Mount("/a", app=application)])
    answers: list[bytes] = []
    threads = [threading.Thread(target=lambda: answers.append(wsgi.ask(app, path="/a/").body)) for _ in range(20)]
    for thread in threads:
        thread.start()
    assert begun.reached()
    assert answers == []
    go_on.open()
    for thread in threads:
        thread.join(TIMEOUT)
    assert answers == [b"one"] * 20
    assert living.log == ["one startup"]
    assert living.states == [{"pool": "one"}] * 20


def test_the_end_of_the_worker_shuts_down_in_reverse(wsgi: Way, worker: WorkerLoop) -> None:
    log: list[str] = []
    app = DualRoute([Mount("/a", app=Living("a", log)), Mount("/b", app=Living("b", log))])
    another = DualRoute([Mount("/c", app=Living("c", log))])
    wsgi.ask(app, path="/a/")
    wsgi.ask(another, path="/c/")
    worker.close()
    assert log == ["a startup", "b startup", "c startup", "c shutdown", "b shutdown", "a shutdown"]


def test_an_application_without_a_lifespan_is_served(wsgi: Way, caplog: pytest.LogCaptureFixture) -> None:
    assert wsgi.ask(DualRoute([Mount("/a", app=without)]), path="/a/").body == b"served"
    assert errors(caplog) == []


def test_an_application_whose_lifespan_is_left_out_starts_no_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    def no_loop() -> Any:
        raise AssertionError("the loop was started")

    monkeypatch.setattr(dualroute_wsgi.loop, "worker_loop", no_loop)
    living = Living()
    way = Way("wsgi-bare", None)  # type: ignore[arg-type]  # it needs no loop of a server
    app = DualRoute([Route("/x", hello), Mount("/a", app=ASGIApp(living, lifespan=False))])
    assert way.ask(app, path="/x").body == b"hello"
    assert living.scopes == []


def test_a_start_up_that_fails_fails_the_request_and_the_next_one_tries_again(
    wsgi: Way, worker: WorkerLoop, caplog: pytest.LogCaptureFixture
) -> None:
    log: list[str] = []
    living = Living("b", log, startup="failed")
    app = DualRoute([Mount("/a", app=Living("a", log)), Mount("/b", app=living)])
    for _ in range(2):
        with pytest.raises(RuntimeError, match=r"the start-up of .*Living.* failed: b is out of order"):
            wsgi.ask(app, path="/a/")
    assert log == ["a startup", "b startup", "a shutdown"] * 2
    living.startup = "complete"
    log.clear()
    assert wsgi.ask(app, path="/b/").body == b"b"
    assert log == ["a startup", "b startup"]
    assert living.states == [{"pool": "b"}]
    worker.close()
    assert log == ["a startup", "b startup", "b shutdown", "a shutdown"]


def test_a_shutdown_that_hangs_is_given_up_within_a_bound(
    wsgi: Way, worker: WorkerLoop, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(dualroute_wsgi.loop, "GRACE", 0.05)

    async def hangs(scope: Any, receive: Receive, send: Send) -> None:
        await receive()
        await send({"type": "lifespan.startup.complete"})
        await receive()
        await asyncio.Event().wait()

    wsgi.ask(DualRoute([Route("/x", hello), Mount("/a", app=hangs)]), path="/x")
    worker.close()
    assert worker.loop.is_closed()
    (line,) = errors(caplog)
    assert line.startswith("the shutdown of the ASGI app")
    assert line.endswith("was given up after 0.05 s")


def test_a_lifespan_may_have_tasks_that_live_as_long_as_the_worker(wsgi: Way, worker: WorkerLoop) -> None:
    ended: list[str] = []
    ticks: asyncio.Queue[str] = asyncio.Queue()

    async def application(scope: Any, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            async with asyncio.TaskGroup() as group:
                await receive()

                async def ticking() -> None:
                    try:
                        while True:
                            await ticks.put("tick")
                            await asyncio.sleep(0)
                    finally:
                        ended.append("ended")

                task = group.create_task(ticking())
                await send({"type": "lifespan.startup.complete"})
                await receive()
                task.cancel()
            await send({"type": "lifespan.shutdown.complete"})
            return
        await respond(send, (await ticks.get()).encode())

    app = DualRoute([Mount("/a", app=application)])
    assert wsgi.ask(app, path="/a/").body == b"tick"
    assert wsgi.ask(app, path="/a/").body == b"tick"
    assert ended == []
    worker.close()
    assert ended == ["ended"]


APPLICATION = """
from dualroute import Mount

async def application(scope, receive, send):
    if scope["type"] == "lifespan":
        await receive()
        print("started in", "child" if os.getpid() != parent else "parent", flush=True)
        scope["state"]["pid"] = os.getpid()
        await send({"type": "lifespan.startup.complete"})
        await receive()
        print("shut down in", "child" if os.getpid() != parent else "parent", flush=True)
        await send({"type": "lifespan.shutdown.complete"})
        return
    await send({"type": "http.response.start", "status": 200})
    await send({"type": "http.response.body", "body": b"%d" % scope["state"]["pid"]})

parent = os.getpid()
app = DualRoute([Mount("/", app=application)])
"""


def lines_of(script: str) -> list[str]:
    ran = python(APPLICATION + script)
    assert (ran.stderr, ran.returncode) == ("", 0)
    return ran.stdout.splitlines()


def test_the_exit_of_the_process_shuts_down() -> None:
    assert lines_of("assert call(app) == call(app) == str(parent)") == ["started in parent", "shut down in parent"]


@forks
def test_a_child_of_a_process_that_has_served_runs_a_lifespan_of_its_own() -> None:
    lines = lines_of("""
import warnings
warnings.simplefilter("ignore", DeprecationWarning)  # 3.12 on: the process that forks has threads
assert call(app) == str(parent)
child = os.fork()
if child == 0:
    assert call(app) == str(os.getpid())
    sys.exit(0)
assert os.waitpid(child, 0)[1] == 0
assert call(app) == str(parent)
""")
    assert lines == ["started in parent", "started in child", "shut down in child", "shut down in parent"]


@forks
def test_after_a_fork_before_the_first_request_each_child_runs_its_own_and_the_parent_none() -> None:
    lines = lines_of("""
for _ in range(2):
    child = os.fork()
    if child == 0:
        assert call(app) == str(os.getpid())
        sys.exit(0)
    assert os.waitpid(child, 0)[1] == 0
""")
    assert lines == ["started in child", "shut down in child"] * 2


def test_an_app_that_serves_both_protocols_in_one_process_has_a_lifespan_for_each_loop(wsgi: Way) -> None:
    living = Living()
    app = DualRoute([Mount("/a", app=living)])

    async def main() -> None:
        server = Server(app)
        await server.tell("startup")
        assert await get(app, "/a/") == (200, b"one")
        assert (await asyncio.to_thread(lambda: wsgi.ask(app, path="/a/"))).body == b"one"
        await server.tell("shutdown")
        await server.ended()

    asyncio.run(main())
    assert wsgi.ask(app, path="/a/").body == b"one"
    assert living.log == ["one startup", "one startup", "one shutdown"]
    assert living.states == [{"pool": "one"}] * 3
