"""The harness: drive each candidate of a case as a server would, check its answer, time it, print the table.

How it measures, so that the figures can be compared at all:

* The candidates of a case run in one process, in turns: A B C, A B C, …  A machine that gets slower or faster
  meanwhile does so for all of them, and every ratio is taken within a round and only then is the median taken.
* A round lasts as long for each candidate, some 0.2 s; the number of requests in it is found beforehand.
* Garbage collection stays on, as it is in a server, but what is there before a round is left out of it
  (`gc.freeze`): so each candidate pays for the garbage that it makes, and not for the routes of the others.
* Each request gets a scope or environ of its own, copied within the timed loop, because candidates write to it.
* Before anything is timed, every candidate has to give the status and the body that the case expects.
* The client waits for its answer: who asks for more than the request's body does so until it is cancelled.
* What a candidate keeps by URL, so as not to look the same one up again, is switched off: no client asks for one URL
  alone, and what is asked is what a look-up costs.

Times are for orientation: they belong to the machine.  The ratios travel further.  *Overhead* is a candidate's time
minus the raw callable's in the same round: what the framework itself costs.  For a case about a way across from one
colour to the other, a *reference* is the bare way across, and the overheads as a part of its own are the figures to
look at: (candidate - raw) / (reference - raw).
"""

from __future__ import annotations

import asyncio
import gc
import io
import os
import platform
import sys
from collections.abc import Callable, Iterable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from importlib import metadata
from statistics import median, quantiles
from time import perf_counter
from typing import Any

__all__ = [
    "OURS",
    "PEERS",
    "RAW",
    "ASGIDriver",
    "Answer",
    "App",
    "Case",
    "Driver",
    "Look",
    "Result",
    "Times",
    "Unable",
    "WSGIDriver",
    "aligned",
    "check",
    "environment",
    "measure",
    "summary",
    "table",
    "timed",
]

App = Callable[..., Any]
"""An ASGI or a WSGI application."""

Look = Callable[[], int]
"""Looks at how much there is of something."""

RAW = "raw"
"""The candidate that the others are compared with: the same answer, made by hand."""

OURS = "dualroute"
"""Our candidate; the names of further ones of ours begin so."""

PEERS = {
    "Starlette": "starlette",
    "Falcon": "falcon",
    "BlackSheep": "blacksheep",
    "Litestar": "litestar",
    "Flask": "flask",
    "Bottle": "bottle",
    "Django": "django",
}
"""The frameworks of others, as their candidates' names begin and as they are called on the package index."""

_OTHERS = {"asgiref": "asgiref", "a2wsgi": "a2wsgi", "uvloop": "uvloop"}

HEADERS = (
    ("host", "bench.example"),
    ("accept", "*/*"),
    ("accept-encoding", "gzip, deflate"),
    ("connection", "keep-alive"),
    ("user-agent", "bench/1.0"),
)
_WARM_UP = 3
_CALIBRATION = 0.02


@dataclass(frozen=True)
class Answer:
    """What a client sees of a response.

    Args:
        status: its status.
        body: its body.
        headers: the names of its headers, in lower case.  Two answers that differ in these alone are equal.
    """

    status: int
    body: bytes
    headers: frozenset[str] = field(default=frozenset(), compare=False)


@dataclass(frozen=True)
class Unable:
    """In place of a candidate: why it does not take part."""

    reason: str


@dataclass(frozen=True)
class Case:
    """One request, and the candidates that answer it.

    Args:
        name: what the table is called.
        protocol: "asgi" or "wsgi".
        path: the path that is asked for.
        answer: what every candidate must answer.
        make: returns the candidates by name, `RAW` among them.  What they need to have closed goes on the stack.
        method: the HTTP method.
        body: what is sent with the request.
        content_type: what that is.
        references: the candidates whose overhead counts as 1, each in a column of its own.  The first is what the case
            is about, for the summary.
        at_once: how many such requests are made at the same time, in ASGI.  The time of one is what all take, shared.
        loop_factory: makes the event loop to run on, in ASGI; asyncio's own by default.
    """

    name: str
    protocol: str
    path: str
    answer: Answer
    make: Callable[[ExitStack], Mapping[str, App | Unable]]
    method: str = "GET"
    body: bytes = b""
    content_type: str = ""
    references: tuple[str, ...] = ()
    at_once: int = 1
    loop_factory: Callable[[], asyncio.AbstractEventLoop] | None = None

    def driver(self) -> Driver:
        """Return what plays the server."""
        if self.protocol == "wsgi":
            return WSGIDriver(self.method, self.path, self.body, self.content_type)
        return ASGIDriver(
            self.method,
            self.path,
            self.body,
            self.content_type,
            at_once=self.at_once,
            loop_factory=self.loop_factory,
        )


class Driver:
    """Plays a server that gets one and the same request again and again."""

    def answer(self, app: App) -> Answer:
        """Serve the request once and return what a client would see."""
        raise NotImplementedError

    def time(self, app: App, count: int) -> float:
        """Serve the request `count` times and return the seconds that took."""
        raise NotImplementedError

    def watch(self, app: App, count: int, before: Look, answered: Look) -> list[int]:
        """Serve the request `count` times, and return by how much `answered` gave more than `before` each time.

        Args:
            app: the app.
            count: how many times.
            before: called before each request.
            answered: called when it has an answer, before anything of it is given up.
        """
        raise NotImplementedError

    def close(self) -> None:
        """Give back what the driver holds."""


class ASGIDriver(Driver):
    """Calls an ASGI app, on one event loop for all candidates."""

    def __init__(
        self,
        method: str,
        path: str,
        body: bytes = b"",
        content_type: str = "",
        *,
        at_once: int = 1,
        loop_factory: Callable[[], asyncio.AbstractEventLoop] | None = None,
    ) -> None:
        self._runner = asyncio.Runner(loop_factory=loop_factory)
        self._body = body
        self._at_once = at_once
        headers = [*HEADERS, *(_about(body, content_type) if body else ())]
        self._scope: dict[str, Any] = {
            "type": "http",
            "asgi": {"version": "3.0", "spec_version": "2.4"},
            "http_version": "1.1",
            "method": method,
            "scheme": "http",
            "path": path,
            "raw_path": path.encode("ascii"),
            "query_string": b"",
            "root_path": "",
            "headers": [(name.encode("ascii"), value.encode("ascii")) for name, value in headers],
            "client": ("127.0.0.1", 50000),
            "server": ("127.0.0.1", 8000),
        }

    def answer(self, app: App) -> Answer:
        async def serve() -> Answer:
            sent: list[dict[str, Any]] = []

            async def send(message: dict[str, Any]) -> None:
                sent.append(message)

            await app(dict(self._scope), _Sender(self._body).receive, send)
            body = b"".join(message.get("body", b"") for message in sent[1:])
            names = frozenset(bytes(name).decode("latin-1").lower() for name, _ in sent[0]["headers"])
            return Answer(sent[0]["status"], body, names)

        async def serve_all() -> list[Answer]:
            return await asyncio.gather(*(serve() for _ in range(self._at_once)))

        first, *others = self._runner.run(serve_all())
        return next((other for other in others if other != first), first)

    def time(self, app: App, count: int) -> float:
        return self._runner.run(self._time(app, count))

    async def _time(self, app: App, count: int) -> float:
        if self._at_once > 1:
            return await self._time_at_once(app, count)
        scope = self._scope
        body = self._body
        # Some keep threads only as long as the outermost task lives, and that is this one.
        for _ in range(_WARM_UP):
            await app(dict(scope), _Sender(body).receive, _send)
        started = perf_counter()
        for _ in range(count):
            await app(dict(scope), _Sender(body).receive, _send)
        return perf_counter() - started

    async def _time_at_once(self, app: App, count: int) -> float:
        scope = self._scope
        body = self._body
        at_once = self._at_once
        times = -(-count // at_once)
        for _ in range(_WARM_UP):
            await asyncio.gather(*(app(dict(scope), _Sender(body).receive, _send) for _ in range(at_once)))
        started = perf_counter()
        for _ in range(times):
            await asyncio.gather(*(app(dict(scope), _Sender(body).receive, _send) for _ in range(at_once)))
        return (perf_counter() - started) * count / (times * at_once)

    def watch(self, app: App, count: int, before: Look, answered: Look) -> list[int]:
        return self._runner.run(self._watch(app, count, before, answered))

    async def _watch(self, app: App, count: int, before: Look, answered: Look) -> list[int]:
        seen = [0] * count
        last = 0

        async def send(message: dict[str, Any]) -> None:
            nonlocal last
            if message["type"] == "http.response.body":
                last = answered()

        for index in range(_WARM_UP + count):
            first = before()
            await app(dict(self._scope), _Sender(self._body).receive, send)
            seen[index % count] = last - first
        return seen

    def close(self) -> None:
        self._runner.close()


class _Sender:
    """The client of one request: sends its body in one go, and then waits for the answer."""

    __slots__ = ("_body",)

    def __init__(self, body: bytes) -> None:
        self._body: bytes | None = body

    async def receive(self) -> dict[str, Any]:
        body, self._body = self._body, None
        if body is None:
            await asyncio.get_running_loop().create_future()
        return {"type": "http.request", "body": body, "more_body": False}


async def _send(message: dict[str, Any]) -> None:
    pass


def _about(body: bytes, content_type: str) -> Iterable[tuple[str, str]]:
    """Return the headers that a request with a body has."""
    return ("content-type", content_type), ("content-length", str(len(body)))


class WSGIDriver(Driver):
    """Calls a WSGI app."""

    def __init__(self, method: str, path: str, body: bytes = b"", content_type: str = "") -> None:
        self._body = body
        self._environ: dict[str, Any] = {
            "REQUEST_METHOD": method,
            "SCRIPT_NAME": "",
            "PATH_INFO": path,
            "QUERY_STRING": "",
            "SERVER_NAME": "127.0.0.1",
            "SERVER_PORT": "8000",
            "SERVER_PROTOCOL": "HTTP/1.1",
            "REMOTE_ADDR": "127.0.0.1",
            "REMOTE_PORT": "50000",
            "wsgi.version": (1, 0),
            "wsgi.url_scheme": "http",
            "wsgi.input": io.BytesIO(),
            "wsgi.errors": sys.stderr,
            "wsgi.multithread": True,
            "wsgi.multiprocess": False,
            "wsgi.run_once": False,
            **{f"HTTP_{name.upper().replace('-', '_')}": value for name, value in HEADERS},
        }
        if body:
            for name, value in _about(body, content_type):
                self._environ[name.upper().replace("-", "_")] = value

    def answer(self, app: App) -> Answer:
        started: list[tuple[str, Any]] = []

        def start_response(status: str, headers: Any, exc_info: Any = None) -> Callable[[bytes], object]:
            started.append((status, headers))
            return _write

        result = app({**self._environ, "wsgi.input": io.BytesIO(self._body)}, start_response)
        body = b"".join(result)
        _close(result)
        ((status, headers),) = started
        return Answer(int(status.partition(" ")[0]), body, frozenset(name.lower() for name, _ in headers))

    def time(self, app: App, count: int) -> float:
        environ = self._environ
        body = self._body
        for _ in range(_WARM_UP):
            _close(app({**environ, "wsgi.input": io.BytesIO(body)}, _start_response))
        started = perf_counter()
        for _ in range(count):
            result = app({**environ, "wsgi.input": io.BytesIO(body)}, _start_response)
            for _chunk in result:
                pass
            _close(result)
        return perf_counter() - started

    def watch(self, app: App, count: int, before: Look, answered: Look) -> list[int]:
        seen = [0] * count
        last = 0

        def start_response(status: str, headers: Any, exc_info: Any = None) -> Callable[[bytes], object]:
            nonlocal last
            last = answered()
            return _write

        for index in range(_WARM_UP + count):
            first = before()
            result = app({**self._environ, "wsgi.input": io.BytesIO(self._body)}, start_response)
            for _chunk in result:
                last = max(last, answered())
            _close(result)
            # Before the next look, so that no request is in another's way.
            result = _chunk = None
            seen[index % count] = last - first
        return seen


def _start_response(status: str, headers: Any, exc_info: Any = None) -> Callable[[bytes], object]:
    return _write


def _write(data: bytes) -> None:
    pass


def _close(result: Any) -> None:
    close = getattr(result, "close", None)
    if close is not None:
        close()


@dataclass(frozen=True, kw_only=True)
class Times:
    """For each candidate the seconds that a request took, round by round."""

    times: dict[str, list[float]]

    def seconds(self, name: str) -> float:
        """Return the median time of a request."""
        return median(self.times[name])

    def spread(self, name: str) -> float:
        """Return how far apart the middle half of the rounds is, as a part of the median."""
        if len(self.times[name]) < 2:
            return 0.0
        lower, _, upper = quantiles(self.times[name], n=4, method="inclusive")
        return (upper - lower) / self.seconds(name)

    def ratio(self, name: str, to: str = RAW) -> float:
        """Return how many times as long as another candidate, the raw callable by default, a candidate takes."""
        return median(own / other for own, other in zip(self.times[name], self.times[to], strict=True))


@dataclass(frozen=True, kw_only=True)
class Result(Times):
    """The times of one case; and by candidate, why it could not take part."""

    case: Case
    notes: dict[str, str] = field(default_factory=dict)

    def overhead(self, name: str) -> float:
        """Return the seconds that a candidate takes beyond the raw callable."""
        return median(own - raw for own, raw in zip(self.times[name], self.times[RAW], strict=True))

    def relative_overhead(self, name: str, peer: str) -> float | None:
        """Return a candidate's overhead as a part of a peer's; None where the peer has no such case."""
        if peer not in self.times:
            return None
        rounds = zip(self.times[name], self.times[RAW], self.times[peer], strict=True)
        # A single request may take exactly as long as another: the clock has ticks.
        return median((own - raw) / ((other - raw) or 1e-9) for own, raw, other in rounds)

    def best_peer(self) -> str | None:
        """Return which framework of others costs the least; None where there is none."""
        peers = [name for name in self.times if name.partition(",")[0] in PEERS]
        return min(peers, key=self.seconds, default=None)


def check(case: Case, apps: Mapping[str, App], driver: Driver) -> None:
    """Raise AssertionError unless every candidate gives the case's answer."""
    assert RAW in apps, f"{case.name}: there is no {RAW} candidate"
    for name, app in apps.items():
        answer = driver.answer(app)
        assert answer == case.answer, f"{case.name}: {name} answered {answer}, not {case.answer}"
        missing = case.answer.headers - answer.headers
        assert not missing, f"{case.name}: {name} answered without the headers {sorted(missing)}"


def measure(case: Case, *, rounds: int = 7, seconds: float = 0.2) -> Result:
    """Check the candidates of a case, then time them.

    Args:
        case: the case.
        rounds: how many times each candidate has its turn.
        seconds: how long a turn is; 0 for a single request, which shows only that everything runs.
    """
    with ExitStack() as stack:
        driver = case.driver()
        stack.callback(driver.close)
        made = case.make(stack)
        apps = {name: app for name, app in made.items() if not isinstance(app, Unable)}
        notes = {name: app.reason for name, app in made.items() if isinstance(app, Unable)}
        check(case, apps, driver)
        return Result(case=case, times=timed(apps, driver, rounds=rounds, seconds=seconds), notes=notes)


def timed(apps: Mapping[str, App], driver: Driver, *, rounds: int, seconds: float) -> dict[str, list[float]]:
    """Time candidates that have been checked, in turns: see `measure`.  Return the seconds that each request took."""
    counts = {name: _count(driver, app, seconds) for name, app in apps.items()}
    times: dict[str, list[float]] = {name: [] for name in apps}
    try:
        for _ in range(rounds):
            for name, app in apps.items():
                times[name].append(_round(driver, app, counts[name]))
    finally:
        gc.unfreeze()
    return times


def _count(driver: Driver, app: App, seconds: float) -> int:
    """Return how many requests take `seconds`."""
    if not seconds:
        return 1
    count = 1
    while (taken := driver.time(app, count)) < _CALIBRATION:
        count *= 2
    return max(1, round(count * seconds / taken))


def _round(driver: Driver, app: App, count: int) -> float:
    # What was frozen before an earlier round stays so: it need not be looked at again.
    gc.collect()
    gc.freeze()
    return driver.time(app, count) / count


def table(result: Result) -> str:
    """Return the table of one case.

    The column `OURS` is our overhead as a part of that of the row: below 1 ours is less.  The columns ``/ name`` are
    the overhead of the row as a part of that reference's.
    """
    case = result.case
    rows = [[case.name, "µs", "±", "x raw", "overhead", f"{OURS} /", *(f"/ {name}" for name in case.references)]]
    for name in result.times:
        row = [f"  {name}", f"{result.seconds(name) * 1e6:.2f}", f"{result.spread(name) / 2:.1%}"]
        row.append(f"{result.ratio(name):.2f}")
        if name != RAW:
            row += [f"{result.overhead(name) * 1e6:.2f}", _share(result.relative_overhead(OURS, name))]
            row += [_share(result.relative_overhead(name, reference)) for reference in case.references]
        rows.append(row)
    lines = aligned(rows).splitlines()
    return "\n".join([*lines, *(f"  {name}: left out, {note}" for name, note in result.notes.items())])


def summary(results: Iterable[Result]) -> str:
    """Return a table with one line for each case: what ours costs in it.

    ``/ peer`` is our overhead as a part of that of the framework which costs the least, named beside it; above 1 it
    is ahead of us.  ``/ hop`` is our overhead as a part of the bare way across, in the cases about that.
    """
    rows = [[f"every case: {OURS}", "µs", "±", "x raw", "overhead", "/ hop", "/ peer", "peer"]]
    for result in results:
        hop = result.case.references[0] if result.case.references else None
        peer = result.best_peer()
        rows.append(
            [
                f"  {result.case.name}",
                f"{result.seconds(OURS) * 1e6:.2f}",
                f"{result.spread(OURS) / 2:.1%}",
                f"{result.ratio(OURS):.2f}",
                f"{result.overhead(OURS) * 1e6:.2f}",
                _share(result.relative_overhead(OURS, hop) if hop is not None and hop.startswith(RAW) else None),
                _share(result.relative_overhead(OURS, peer) if peer is not None else None),
                peer or "-",
            ]
        )
    return aligned(rows)


def environment() -> str:
    """Return what the figures were made with."""
    versions = []
    for name, distribution in {**PEERS, **_OTHERS}.items():
        try:
            versions.append(f"{name} {metadata.version(distribution)}")
        except metadata.PackageNotFoundError:
            versions.append(f"no {name}")
    return (
        f"{platform.python_implementation()} {platform.python_version()}, {platform.system()} on {platform.machine()},"
        f" {os.cpu_count()} CPUs, asyncio's own loop unless another is named; {', '.join(versions)}"
    )


def _share(share: float | None) -> str:
    return "-" if share is None else f"{share:.2f}"


def aligned(rows: list[list[str]]) -> str:
    """Return rows of cells as the lines of a table, whose columns are as wide as the first row wants them."""
    widths = [max(len(cell), 8) for cell in rows[0][1:]]
    return "\n".join(
        f"{first:<36}" + "".join(f"  {cell:>{width}}" for cell, width in zip(cells, widths, strict=False))
        for first, *cells in rows
    )
