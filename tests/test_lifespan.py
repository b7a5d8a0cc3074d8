"""Lifespan functions: what a DualRoute or a Router has done before the first request and after the last."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import AsyncIterator, Callable, Generator, Iterator
from contextvars import ContextVar
from typing import Any

import pytest

import dualroute_wsgi.loop
from dualroute import (
    DualRoute,
    Host,
    JSONResponse,
    Mount,
    PlainTextResponse,
    Request,
    Response,
    Route,
    Router,
    SyncRequest,
    WebSocket,
    WebSocketRoute,
)
from dualroute.lifespan import AppLifespan
from dualroute_wsgi.loop import WorkerLoop
from tests.mounted_asgi_helper import TIMEOUT, errors
from tests.test_loop import forks, python
from tests.test_mounted_lifespan import Living, Server
from tests.test_mounted_lifespan import get as asgi_get
from tests.transports import EventLoopThread, call_wsgi
from tests.websocket_helper import converse, messages


class Life:
    """An app served through its whole life, by either protocol, as a context.

    Args:
        app: the app.
        protocol: "asgi" or "wsgi".
        thread: where an ASGI app runs.
        monkeypatch: puts a worker's loop in place.
        keep_state: whether the ASGI server has `state`.
    """

    def __init__(
        self,
        app: Any,
        protocol: str,
        thread: EventLoopThread,
        monkeypatch: pytest.MonkeyPatch,
        keep_state: bool = True,
    ) -> None:
        self.app = app
        self.protocol = protocol
        self.thread = thread
        self.monkeypatch = monkeypatch
        self.state: dict[str, Any] | None = {} if keep_state else None

    def __enter__(self) -> Life:
        if self.protocol == "asgi":
            self._asgi(self._start())
            return self
        self.worker = WorkerLoop()
        self.monkeypatch.setattr(dualroute_wsgi.loop, "_worker_loop", self.worker)
        dualroute_wsgi.start(self.app)
        return self

    async def _start(self) -> None:
        self.events: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self.sent: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        scope: dict[str, Any] = {"type": "lifespan", "asgi": {"version": "3.0"}}
        if self.state is not None:
            scope["state"] = self.state
        self.task = asyncio.create_task(self.app(scope, self.events.get, self.sent.put))
        await self._tell("startup")

    async def _tell(self, phase: str) -> None:
        self.events.put_nowait({"type": f"lifespan.{phase}"})
        answer = await asyncio.wait_for(self.sent.get(), TIMEOUT)
        if answer["type"] == "lifespan.startup.failed":
            await self.task
            raise RuntimeError(answer["message"])
        self.answer = answer

    def _asgi(self, coroutine: Any) -> Any:
        return self.thread.run(coroutine, TIMEOUT)

    def __exit__(self, *exc_info: object) -> None:
        if self.protocol == "asgi":
            self._asgi(self._stop())
        else:
            self.worker.close()

    async def _stop(self) -> None:
        await self._tell("shutdown")
        await self.task

    def get(self, path: str = "/", host: str = "testserver") -> tuple[int, bytes]:
        if self.protocol == "asgi":
            further: dict[str, Any] = {"headers": [(b"host", host.encode())]}
            if self.state is not None:
                further["state"] = dict(self.state)
            return self._asgi(asgi_get(self.app, path, **further))  # type: ignore[no-any-return]
        return wsgi_get(self.app, path, host)


def wsgi_get(app: Any, path: str = "/", host: str = "testserver", **further: Any) -> tuple[int, bytes]:
    import io
    import sys

    environ = {
        "REQUEST_METHOD": "GET",
        "SCRIPT_NAME": "",
        "PATH_INFO": path,
        "QUERY_STRING": "",
        "SERVER_NAME": "testserver",
        "SERVER_PORT": "80",
        "SERVER_PROTOCOL": "HTTP/1.1",
        "HTTP_HOST": host,
        "wsgi.version": (1, 0),
        "wsgi.url_scheme": "http",
        "wsgi.input": io.BytesIO(),
        "wsgi.errors": sys.stderr,
        "wsgi.multithread": True,
        "wsgi.multiprocess": False,
        "wsgi.run_once": False,
        **further,
    }
    status, _, chunks = call_wsgi(app, environ, validate=False)
    return int(status.split()[0]), b"".join(chunks)


Living_ = Callable[..., Life]


@pytest.fixture
def live(protocol: str, event_loop_thread: EventLoopThread, monkeypatch: pytest.MonkeyPatch) -> Living_:
    """Return a function that makes the context in which an app lives."""

    def make(app: Any, **options: Any) -> Life:
        return Life(app, protocol, event_loop_thread, monkeypatch, **options)

    return make


def noting(log: list[str], name: str = "app", /, **state: Any) -> Callable[[Any], Any]:
    """Return a lifespan that notes what becomes of it and yields a state, if there is one."""

    @contextlib.asynccontextmanager
    async def lifespan(app: Any) -> AsyncIterator[dict[str, Any] | None]:
        await asyncio.sleep(0)
        log.append(f"{name} enters")
        try:
            yield state or None
        finally:
            await asyncio.sleep(0)
            log.append(f"{name} leaves")

    return lifespan


def show(request: SyncRequest) -> Response:
    return JSONResponse({name: request.state[name] for name in sorted(request.state)})


async def show_async(request: Request) -> Response:
    return JSONResponse({name: request.state[name] for name in sorted(request.state)})


SHOWN = [Route("/", show), Route("/async", show_async)]


# What a lifespan may be


def kinds(log: list[Any]) -> dict[str, Callable[[Any], Any]]:
    def note(what: str, app: Any) -> None:
        log.append((what, app))

    @contextlib.asynccontextmanager
    async def asynchronous(app: Any) -> AsyncIterator[dict[str, Any]]:
        note("in", app)
        yield {"pool": 1}
        note("out", app)

    @contextlib.contextmanager
    def plain(app: Any) -> Iterator[dict[str, Any]]:
        note("in", app)
        yield {"pool": 1}
        note("out", app)

    async def async_generator(app: Any) -> AsyncIterator[dict[str, Any]]:
        note("in", app)
        yield {"pool": 1}
        note("out", app)

    def generator(app: Any) -> Iterator[dict[str, Any]]:
        note("in", app)
        yield {"pool": 1}
        note("out", app)

    class Managed:
        def __init__(self, app: Any) -> None:
            self.app = app

        def __aenter__(self) -> Any:  # a plain function that returns an awaitable
            return self._enter()

        async def _enter(self) -> dict[str, Any]:
            note("in", self.app)
            return {"pool": 1}

        async def __aexit__(self, *exc_info: object) -> None:
            note("out", self.app)

    return {
        "asynccontextmanager": asynchronous,
        "contextmanager": plain,
        "async generator": async_generator,
        "generator": generator,
        "class": Managed,
    }


@pytest.mark.parametrize("kind", list(kinds([])))
@pytest.mark.parametrize("make", [DualRoute, Router])
@pytest.mark.parametrize("keep_state", [True, False])
def test_each_kind_of_lifespan_takes_the_app_and_gives_requests_what_it_yields(
    live: Living_, kind: str, make: Any, keep_state: bool
) -> None:
    log: list[Any] = []
    app = make(routes=SHOWN, lifespan=kinds(log)[kind])
    with live(app, keep_state=keep_state) as life:
        assert log == [("in", app)]
        for path in ("/", "/async", "/"):
            assert life.get(path) == (200, b'{"pool":1}')
        assert log == [("in", app)]
    assert log == [("in", app), ("out", app)]


def test_one_that_yields_nothing_leaves_the_state_empty(live: Living_) -> None:
    log: list[str] = []
    with live(DualRoute(SHOWN, lifespan=noting(log))) as life:
        assert life.get() == (200, b"{}")
    assert log == ["app enters", "app leaves"]


def test_each_request_has_a_shallow_copy(live: Living_) -> None:
    def leaves(request: SyncRequest) -> Response:
        seen = [*request.state]
        request.state.left = 1
        request.state.shared.append(1)
        request.state.own = "replaced"
        return JSONResponse([seen, len(request.state.shared)])

    app = DualRoute([Route("/", leaves), Route("/show", show)], lifespan=noting([], shared=[], own="first"))
    with live(app) as life:
        assert life.get() == (200, b'[["shared","own"],1]')
        assert life.get() == (200, b'[["shared","own"],2]')
        assert life.get("/show") == (200, b'{"own":"first","shared":[1,1]}')


def test_middleware_and_exception_handlers_have_the_state_and_so_has_a_404(live: Living_) -> None:
    def around(connection: Any) -> Generator[Any, Any, Response]:
        response: Response = yield connection
        response.headers["x-pool"] = connection.state.pool
        return response

    def missing(request: SyncRequest, error: Exception) -> Response:
        return PlainTextResponse(f"no such {request.state.pool} {request.state.inner}", status_code=404)

    inner = DualRoute(SHOWN, lifespan=noting([], inner="inside"), exception_handlers={404: missing})
    app = DualRoute([Mount("/in", inner)], lifespan=noting([], pool="pool"), middleware=[around])
    with live(app) as life:
        assert life.get("/in/nowhere") == (404, b"no such pool inside")
        assert life.get("/nowhere")[0] == 404


@pytest.mark.protocol("asgi")
def test_websockets_have_the_state(live: Living_) -> None:
    async def serve(websocket: WebSocket) -> None:
        await websocket.accept()
        await websocket.send_json({name: websocket.state[name] for name in sorted(websocket.state)})

    inner = Router([WebSocketRoute("/x", serve)], lifespan=noting([], room=2))
    app = DualRoute([WebSocketRoute("/", serve), Mount("/in", inner)], lifespan=noting([], pool=1))
    with live(app):
        pass  # each of those below is on a loop of its own, and late

    assert messages(converse(app, "/", state={"given": 0})) == ['{"given":0,"pool":1}']
    assert messages(converse(app, "/in/x")) == ['{"pool":1,"room":2}']


@pytest.mark.protocol("asgi")
def test_the_state_goes_to_the_server_too(live: Living_) -> None:
    inner = Router(SHOWN, lifespan=noting([], inner=2))
    with live(DualRoute([Mount("/in", inner)], lifespan=noting([], pool=1))) as life:
        assert life.state is not None
        assert life.state == {"pool": 1}
        life.state["pool"] = "what middleware has made of it"
        assert life.get("/in/") == (200, b'{"inner":2,"pool":"what middleware has made of it"}')


# Nesting


def test_outer_ones_come_first_and_leave_last(live: Living_) -> None:
    log: list[str] = []
    twice = DualRoute(SHOWN, lifespan=noting(log, "twice", name="twice", twice=1))
    app = DualRoute(
        [
            *SHOWN,
            Mount("/a", DualRoute([*SHOWN, Mount("/b", Router(SHOWN, lifespan=noting(log, "b", name="b")))],
                                  lifespan=noting(log, "a", name="a", a=1))),
            Mount("/asgi", Living("asgi", log)),
            Mount("/twice", twice),
            Host("host.example", twice),
            Mount("/plain", routes=SHOWN),
        ],
        lifespan=noting(log, "app", name="app", app=1),
        fallback=DualRoute([Route("/{rest:path}", show)], lifespan=noting(log, "fallback", name="fallback")),
    )  # fmt: skip
    with live(app) as life:
        assert log == ["app enters", "a enters", "b enters", "asgi startup", "twice enters", "fallback enters"]
        assert life.get("/") == (200, b'{"app":1,"name":"app"}')
        assert life.get("/plain/") == (200, b'{"app":1,"name":"app"}')
        assert life.get("/a/") == (200, b'{"a":1,"app":1,"name":"a"}')
        assert life.get("/a/b/") == (200, b'{"a":1,"app":1,"name":"b"}')
        assert life.get("/twice/") == (200, b'{"app":1,"name":"twice","twice":1}')
        assert life.get("/elsewhere", host="host.example") == (200, b'{"app":1,"name":"fallback"}')
        assert life.get("/", host="host.example") == (200, b'{"app":1,"name":"app"}')
        assert life.get("/async", host="host.example") == (200, b'{"app":1,"name":"app"}')
        log.clear()
    assert log == ["fallback leaves", "twice leaves", "asgi shutdown", "b leaves", "a leaves", "app leaves"]


def test_a_mounted_asgi_app_has_the_state_of_the_apps_around_it(live: Living_) -> None:
    living = Living("asgi")
    app = DualRoute(
        [Mount("/in", DualRoute([Mount("/asgi", living)], lifespan=noting([], b=2)))], lifespan=noting([], a=1)
    )
    with live(app) as life:
        assert life.get("/in/asgi/") == (200, b"asgi")
    assert living.states == [{"a": 1, "b": 2, "pool": "asgi"}]


def test_a_router_mounted_inside_itself_lives_once(live: Living_) -> None:
    log: list[str] = []
    router = Router(SHOWN, lifespan=noting(log, pool=1))
    router.mount("/again", router)
    with live(router) as life:
        assert life.get("/again/") == (200, b'{"pool":1}')
    assert log == ["app enters", "app leaves"]


def test_what_is_mounted_after_the_start_up_is_served_with_a_warning(
    live: Living_, caplog: pytest.LogCaptureFixture
) -> None:
    log: list[str] = []
    app = DualRoute(SHOWN)
    with live(app) as life:
        assert life.get() == (200, b"{}")
        app.mount("/late", Router(SHOWN, lifespan=noting(log, pool=1)))
        assert life.get("/late/") == (200, b"{}")
        assert life.get("/late/") == (200, b"{}")
    assert log == []
    (warning,) = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    assert "noting.<locals>.lifespan" in warning
    assert "mounted after the start-up" in warning


# One task, one context


def test_an_async_lifespan_enters_and_leaves_in_one_task_and_context(
    live: Living_, caplog: pytest.LogCaptureFixture
) -> None:
    seen: list[Any] = []
    variable: ContextVar[str] = ContextVar("variable", default="unset")

    @contextlib.asynccontextmanager
    async def lifespan(app: Any) -> AsyncIterator[dict[str, Any]]:
        token = variable.set("set")
        seen.append(asyncio.current_task())
        async with asyncio.TaskGroup() as group:
            stop = asyncio.Event()
            group.create_task(stop.wait())
            yield {"stop": stop}
            stop.set()
        seen.append(asyncio.current_task())
        variable.reset(token)  # raises in another context

    def inside(request: SyncRequest) -> Response:
        return PlainTextResponse(variable.get())

    with live(DualRoute([Route("/", inside)], lifespan=lifespan)) as life:
        assert life.get() == (200, b"unset"), "a lifespan's context is its own"
    assert errors(caplog) == []
    assert len(seen) == 2
    assert seen[0] is seen[1] is not None


def test_the_loop_of_an_async_lifespan_is_that_of_the_handlers(live: Living_) -> None:
    @contextlib.asynccontextmanager
    async def lifespan(app: Any) -> AsyncIterator[dict[str, Any]]:
        yield {"loop": asyncio.get_running_loop()}

    async def same(request: Request) -> Response:
        return JSONResponse(request.state.loop is asyncio.get_running_loop())

    with live(DualRoute([Route("/", same)], lifespan=lifespan)) as life:
        assert life.get() == (200, b"true")


def test_a_plain_lifespan_may_block_and_run_loops_and_has_one_context(
    live: Living_, protocol: str, caplog: pytest.LogCaptureFixture
) -> None:
    threads: list[str] = []
    variable: ContextVar[str] = ContextVar("variable")

    @contextlib.contextmanager
    def lifespan(app: Any) -> Iterator[dict[str, Any]]:
        token = variable.set("set")
        threads.append(threading.current_thread().name)
        asyncio.run(asyncio.sleep(0))  # raises where a loop is running
        yield {"pool": 1}
        asyncio.run(asyncio.sleep(0))
        threads.append(threading.current_thread().name)
        variable.reset(token)

    log: list[str] = []
    app = DualRoute([*SHOWN, Mount("/in", Router(SHOWN, lifespan=noting(log)))], lifespan=lifespan)
    with live(app) as life:
        assert life.get() == (200, b'{"pool":1}')
    assert log == ["app enters", "app leaves"]
    assert set(threads) == {"dualroute-handler" if protocol == "asgi" else "dualroute-lifespan"}
    assert len(threads) == 2
    assert errors(caplog) == []


# Failures


@contextlib.asynccontextmanager
async def fails(app: Any) -> AsyncIterator[None]:
    raise KeyError("DATABASE_URL")
    yield


@contextlib.contextmanager
def fails_plainly(app: Any) -> Iterator[None]:
    raise KeyError("DATABASE_URL")
    yield


async def never_yields(app: Any) -> AsyncIterator[None]:
    if app is None:
        yield


@contextlib.asynccontextmanager
async def yields_a_list(app: Any) -> AsyncIterator[Any]:
    yield [1]


def returns_nothing(app: Any) -> Any:
    return None


@pytest.mark.parametrize(
    ("lifespan", "reason"),
    [
        (fails, "DATABASE_URL"),
        (fails_plainly, "DATABASE_URL"),
        (never_yields, "didn't yield"),
        (yields_a_list, "yields_a_list yielded a list; it must yield a dict"),
        (returns_nothing, "returns_nothing returned a NoneType, which is no context manager"),
    ],
)
def test_a_start_up_that_fails_gives_the_reason_and_what_was_entered_is_left(
    live: Living_, protocol: str, caplog: pytest.LogCaptureFixture, lifespan: Any, reason: str
) -> None:
    log: list[str] = []
    inner = DualRoute(SHOWN, lifespan=lifespan)
    app = DualRoute(
        [Mount("/a", Router([], lifespan=noting(log, "a"))), Mount("/b", inner), Mount("/c", Living("c", log))],
        lifespan=noting(log),
    )
    with pytest.raises((RuntimeError, KeyError, TypeError), match=reason), live(app):
        raise AssertionError("it started")
    assert log == ["app enters", "a enters", "a leaves", "app leaves"]
    if protocol == "asgi":
        assert errors(caplog) == ["the start-up failed"]


@pytest.mark.protocol("asgi")
def test_the_server_is_told_what_kind_of_error_it_was(live: Living_) -> None:
    with pytest.raises(RuntimeError) as caught, live(DualRoute(SHOWN, lifespan=fails)):
        pass
    assert str(caught.value) == "the start-up failed: KeyError: 'DATABASE_URL'"


def test_a_shutdown_that_fails_is_logged_and_told_and_the_others_are_shut_down(
    live: Living_, protocol: str, caplog: pytest.LogCaptureFixture
) -> None:
    log: list[str] = []

    @contextlib.asynccontextmanager
    async def breaks(app: Any) -> AsyncIterator[None]:
        yield
        raise LookupError("it broke")

    app = DualRoute([Mount("/a", Router([], lifespan=noting(log))), Mount("/b", Router([], lifespan=breaks))])
    with live(app) as life:
        pass
    assert log == ["app enters", "app leaves"]
    (line,) = errors(caplog)
    assert line.startswith("the shutdown of the lifespan tests.test_lifespan.")
    assert line.endswith("breaks failed")
    assert "LookupError: it broke" in caplog.text
    if protocol == "asgi":
        assert life.answer == {"type": "lifespan.shutdown.failed", "message": f"{line}: LookupError: it broke"}


@pytest.mark.protocol("wsgi")
@pytest.mark.parametrize("plain", [False, True])
def test_a_shutdown_that_hangs_is_given_up_and_the_others_are_shut_down(
    live: Living_, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, plain: bool
) -> None:
    # Under ASGI the server decides how long it waits.
    monkeypatch.setattr(dualroute_wsgi.loop, "GRACE", 0.05)
    log: list[str] = []
    go_on = threading.Event()

    @contextlib.contextmanager
    def blocks(app: Any) -> Iterator[None]:
        yield
        go_on.wait(TIMEOUT)

    @contextlib.asynccontextmanager
    async def hangs(app: Any) -> AsyncIterator[None]:
        yield
        try:
            await asyncio.Event().wait()
        finally:
            log.append("was cancelled")

    app = DualRoute(
        [
            Mount("/a", Router([], lifespan=noting(log))),
            Mount("/b", Router([], lifespan=blocks if plain else hangs)),
            Mount("/c", Router([], lifespan=kinds([])["contextmanager"])),
        ]
    )
    with live(app) as life:
        pass
    go_on.set()
    assert life.worker.loop.is_closed()
    assert log == ["app enters", *(() if plain else ["was cancelled"]), "app leaves"]
    (line,) = errors(caplog)
    assert line.endswith("was given up after 1.05 s")


@pytest.mark.protocol("asgi")
def test_a_server_that_cancels_the_lifespan_has_it_end(event_loop_thread: EventLoopThread) -> None:
    log: list[str] = []

    async def main() -> None:
        server = Server(DualRoute([Mount("/in", Living("in", log))], lifespan=noting(log)))
        await server.tell("startup")
        server._task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await server.ended()

    asyncio.run(main())
    assert log == ["app enters", "in startup", "in shutdown", "app leaves"]


@pytest.mark.protocol("asgi")
def test_a_shutdown_that_the_server_cancels_goes_on_with_the_others_and_is_cancelled(
    caplog: pytest.LogCaptureFixture,
) -> None:
    log: list[str] = []
    hanging = asyncio.Event()

    @contextlib.asynccontextmanager
    async def hangs(app: Any) -> AsyncIterator[None]:
        yield
        hanging.set()
        await asyncio.Event().wait()

    async def main() -> None:
        server = Server(DualRoute([Mount("/in", Router([], lifespan=hangs))], lifespan=noting(log)))
        await server.tell("startup")
        server._events.put_nowait({"type": "lifespan.shutdown"})
        await asyncio.wait_for(hanging.wait(), TIMEOUT)
        server._task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await server.ended()
        assert server.sent == [{"type": "lifespan.startup.complete"}]

    asyncio.run(main())
    assert log == ["app enters", "app leaves"]
    (line,) = errors(caplog)
    assert line.endswith("hangs was given up")


@pytest.mark.protocol("asgi")
def test_an_app_without_lifespans_asks_nothing_of_a_request() -> None:
    app = DualRoute(SHOWN)

    async def main() -> None:
        server = Server(app)
        await server.tell("startup")
        assert app.asgi._lives is None
        await server.tell("shutdown")
        await server.ended()

    asyncio.run(main())
    another = DualRoute(SHOWN)
    asyncio.run(asgi_get(another, "/"))
    assert another.asgi._lives is None


@pytest.mark.protocol("asgi")
def test_the_shutdown_of_a_mounted_asgi_app_is_waited_for_within_a_bound(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("dualroute_asgi.adapter.GRACE", 0.05)
    log: list[str] = []

    async def hangs(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        await send({"type": "lifespan.startup.complete"})
        await receive()
        await asyncio.Event().wait()

    async def main() -> dict[str, Any]:
        server = Server(DualRoute([Mount("/in", hangs)], lifespan=noting(log)))
        await server.tell("startup")
        answer = await server.tell("shutdown")
        await server.ended()
        return answer

    answer = asyncio.run(main())
    assert log == ["app enters", "app leaves"]
    (line,) = errors(caplog)
    assert line.endswith("hangs was given up after 0.05 s")
    assert answer == {"type": "lifespan.shutdown.failed", "message": line}


# What is refused when the app is made


@pytest.mark.parametrize("make", [DualRoute, Router])
@pytest.mark.parametrize("name", ["on_startup", "on_shutdown"])
def test_lists_of_functions_are_refused_and_the_lifespan_is_named(make: Any, name: str) -> None:
    with pytest.raises(TypeError, match=rf"{make.__name__}\({name}=…\) .*lifespan"):
        make(**{name: [print]})


async def returns(app: Any) -> None:
    """No lifespan: there is nothing between a start and an end."""


def takes_nothing() -> Iterator[None]:
    yield


def takes_two(app: Any, other: Any) -> Iterator[None]:
    yield


@pytest.mark.parametrize("make", [DualRoute, Router])
@pytest.mark.parametrize(
    ("lifespan", "message"),
    [
        (3, "not 3"),
        ({"pool": 1}, "takes a function"),
        (noting([])(None), "takes a function that makes a context manager"),
        (contextlib.nullcontext(), "takes a function that makes a context manager"),
        (returns, "returns is an async def that returns; have it yield"),
        (takes_nothing, r"takes_nothing\(\).* must take the app"),
        (takes_two, r"takes_two\(app.*other.*\).* must take the app, and nothing else"),
    ],
)
def test_what_can_be_no_lifespan_is_refused(make: Any, lifespan: Any, message: str) -> None:
    with pytest.raises(TypeError, match=rf"{make.__name__}\(lifespan=…\).*{message}"):
        make(lifespan=lifespan)


def test_a_lifespan_names_its_function() -> None:
    router = Router(lifespan=fails)
    assert isinstance(router.lifespan, AppLifespan)
    assert router.lifespan.described() == "the lifespan tests.test_lifespan.fails"


# Servers that run no lifespan


@pytest.fixture
def worker(monkeypatch: pytest.MonkeyPatch) -> Iterator[WorkerLoop]:
    loop = WorkerLoop()
    monkeypatch.setattr(dualroute_wsgi.loop, "_worker_loop", loop)
    yield loop
    loop.close()


def test_the_first_request_under_wsgi_runs_it_once_for_all(worker: WorkerLoop) -> None:
    log: list[str] = []
    begun, go_on = threading.Event(), threading.Event()

    @contextlib.contextmanager
    def slow(app: Any) -> Iterator[dict[str, Any]]:
        log.append("enters")
        begun.set()
        go_on.wait(TIMEOUT)
        yield {"pool": 1}
        log.append("leaves")

    app = DualRoute(SHOWN, lifespan=slow)
    answers: list[Any] = []
    threads = [threading.Thread(target=lambda: answers.append(wsgi_get(app))) for _ in range(10)]
    for thread in threads:
        thread.start()
    assert begun.wait(TIMEOUT)
    assert answers == []
    go_on.set()
    for thread in threads:
        thread.join(TIMEOUT)
    assert answers == [(200, b'{"pool":1}')] * 10
    assert log == ["enters"]
    worker.close()
    worker.close()
    assert log == ["enters", "leaves"]


@forks
def test_a_fork_while_a_start_up_is_under_way_leaves_the_child_free_to_run_its_own() -> None:
    ran = python("""
import contextlib, threading, warnings
warnings.simplefilter("ignore", DeprecationWarning)  # 3.12 on: the process that forks has threads
begun, go_on = threading.Event(), threading.Event()
parent = os.getpid()

@contextlib.contextmanager
def lifespan(app):
    begun.set()
    if os.getpid() == parent:
        go_on.wait(30)
    yield {"pid": os.getpid()}

def show(request):
    return PlainTextResponse(str(request.state.pid))

app = DualRoute([Route("/", show)], lifespan=lifespan)
thread = threading.Thread(target=call, args=(app,))
thread.start()
begun.wait(30)
child = os.fork()
if child == 0:
    print(call(app) == str(os.getpid()), flush=True)
    os._exit(0)
assert os.waitpid(child, 0)[1] == 0
go_on.set()
thread.join()
print(call(app) == str(parent))
""")
    assert (ran.stderr, ran.stdout.split()) == ("", ["True", "True"])


def test_a_start_up_may_use_another_app_that_has_one(worker: WorkerLoop) -> None:
    other = DualRoute(SHOWN, lifespan=noting([], pool="other"))

    @contextlib.contextmanager
    def lifespan(app: Any) -> Iterator[dict[str, Any]]:
        yield {"seen": wsgi_get(other)[1].decode()}

    assert wsgi_get(DualRoute(SHOWN, lifespan=lifespan)) == (200, b'{"seen":"{\\"pool\\":\\"other\\"}"}')


def test_an_unknown_wsgi_server_gets_the_exception_and_the_next_request_tries_again(worker: WorkerLoop) -> None:
    log: list[str] = []
    broken = [True]

    @contextlib.asynccontextmanager
    async def lifespan(app: Any) -> AsyncIterator[dict[str, Any]]:
        log.append("enters")
        if broken:
            raise KeyError("DATABASE_URL")
        yield {"pool": 1}

    app = DualRoute([Route("/", show)], lifespan=lifespan)
    for _ in range(2):
        with pytest.raises(KeyError, match="DATABASE_URL"):
            wsgi_get(app)
    broken.clear()
    assert wsgi_get(app) == (200, b'{"pool":1}')
    assert log == ["enters"] * 3


@pytest.mark.parametrize("code", [None, 3, "no database"])
def test_a_start_up_that_calls_exit_is_one_that_fails(worker: WorkerLoop, code: Any) -> None:
    @contextlib.contextmanager
    def lifespan(app: Any) -> Iterator[None]:
        raise SystemExit(code)
        yield

    with pytest.raises(RuntimeError, match=rf"the start-up called exit\({code!r}\)"):
        wsgi_get(DualRoute(SHOWN, lifespan=lifespan))


@pytest.mark.parametrize(
    ("software", "number"), [("gunicorn/27.0.1", 15), ("Granian", 15), ("waitress", 2), ("waitress/3", 2)]
)
def test_a_worker_of_a_known_server_is_ended_once_and_serves_no_more(
    worker: WorkerLoop,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    software: str,
    number: int,
) -> None:
    sent: list[int] = []
    monkeypatch.setattr("os.kill", lambda pid, number: sent.append(int(number)))
    app = DualRoute(SHOWN, lifespan=fails)
    for _ in range(3):
        status, body = wsgi_get(app, SERVER_SOFTWARE=software)
        assert (status, body) == (503, b"Service Unavailable: the application could not start")
    assert sent == [number]
    (line,) = errors(caplog)
    assert line == "the start-up failed, and this worker ends: KeyError: 'DATABASE_URL'"


def test_an_asgi_server_without_a_lifespan_has_it_start_at_the_first_request(
    caplog: pytest.LogCaptureFixture,
) -> None:
    log: list[str] = []
    living = Living("in", log)
    app = DualRoute([*SHOWN, Mount("/in", living)], lifespan=noting(log, pool=1))

    async def main() -> None:
        answers = await asyncio.gather(*[asgi_get(app, "/") for _ in range(10)])
        assert answers == [(200, b'{"pool":1}')] * 10
        assert await asgi_get(app, "/", state={"host": 2, "pool": "host"}) == (200, b'{"host":2,"pool":1}')
        assert await asgi_get(app, "/in/") == (200, b"in")
        assert log == ["app enters", "in startup"]

    asyncio.run(main())
    assert log == ["app enters", "in startup", "app leaves"], (
        "the loop cancels all tasks in the end, a mounted app's too"
    )
    assert living.states == [{"pool": "in"}]
    (warning,) = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    assert "the server has run no lifespan" in warning


def test_a_late_start_up_that_fails_fails_the_request_and_the_next_one_tries_again(
    caplog: pytest.LogCaptureFixture,
) -> None:
    broken = [True]

    @contextlib.asynccontextmanager
    async def lifespan(app: Any) -> AsyncIterator[dict[str, Any]]:
        if broken:
            raise KeyError("DATABASE_URL")
        yield {"pool": 1}

    app = DualRoute(SHOWN, lifespan=lifespan)

    async def main() -> None:
        outcomes = await asyncio.gather(*[asgi_get(app, "/") for _ in range(3)], return_exceptions=True)
        assert [type(outcome) for outcome in outcomes] == [KeyError] * 3
        broken.clear()
        assert await asgi_get(app, "/") == (200, b'{"pool":1}')

    asyncio.run(main())
    assert errors(caplog) == ["the start-up failed"]


def test_mounted_asgi_apps_alone_are_served_without_a_late_start_up_and_that_is_said_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    living = Living()
    app = DualRoute([Mount("/in", living)])
    caplog.set_level("INFO", "dualroute")

    async def main() -> None:
        for _ in range(3):
            assert await asgi_get(app, "/in/") == (200, b"one")

    asyncio.run(main())
    assert living.log == []
    (line,) = [record.getMessage() for record in caplog.records if record.name == "dualroute"]
    assert "that has a start-up is served without it" in line


# Started by hand


def wrapped(inner: Any) -> Any:
    def application(environ: Any, start_response: Any) -> Any:
        return inner(environ, start_response)

    return application


def test_what_can_be_started_by_hand(worker: WorkerLoop) -> None:
    log: list[str] = []
    for app in (
        DualRoute(SHOWN, lifespan=noting(log)),
        DualRoute(SHOWN, lifespan=noting(log), wsgi_middleware=[wrapped]),
        Router(SHOWN, lifespan=noting(log)),
        dualroute_wsgi.WSGIAdapter(DualRoute(SHOWN, lifespan=noting(log))),
    ):
        log.clear()
        dualroute_wsgi.start(app)
        dualroute_wsgi.start(app)
        assert log == ["app enters"]
        assert wsgi_get(app)[0] == 200
        assert log == ["app enters"]
    with pytest.raises(TypeError, match="can be started, not 3"):
        dualroute_wsgi.start(3)
    log.clear()
    dualroute_wsgi.stop()
    dualroute_wsgi.stop()
    assert log == ["app leaves"] * 4
