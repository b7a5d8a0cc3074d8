"""The harness: drive each candidate of a case as a server would, check its answer, time it, print the table.

How it measures, so that the figures can be compared at all:

* The candidates of a case run in one process, in turns: A B C, A B C, …  A machine that gets slower or faster
  meanwhile does so for all of them, and every ratio is taken within a round and only then is the median taken.
* A round lasts as long for each candidate, some 0.2 s; the number of requests in it is found beforehand.
* Garbage collection stays on, as it is in a server, but what is there before a round is left out of it
  (`gc.freeze`): so each candidate pays for the garbage that it makes, and not for the routes of the others.
* Each request gets a scope or environ of its own, copied within the timed loop, because candidates write to it.
* Before anything is timed, every candidate has to give the status and the body that the case expects.

Times are for orientation: they belong to the machine.  The ratios travel further.  *Overhead* is a candidate's time
minus the raw callable's in the same round: what the framework itself costs.
"""

from __future__ import annotations

import asyncio
import gc
import io
import platform
import sys
from collections.abc import Callable, Iterable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from statistics import median, quantiles
from time import perf_counter
from typing import Any

__all__ = [
    "RAW",
    "ASGIDriver",
    "Answer",
    "App",
    "Case",
    "Driver",
    "Result",
    "Times",
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

RAW = "raw"
"""The candidate that the others are compared with: the same answer, made by hand."""

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
    """What a client sees of a response."""

    status: int
    body: bytes


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
        peers: the candidates whose overhead counts as 1, each in a column of its own.
    """

    name: str
    protocol: str
    path: str
    answer: Answer
    make: Callable[[ExitStack], dict[str, App]]
    method: str = "GET"
    peers: tuple[str, ...] = ("Starlette", "Falcon")

    def driver(self) -> Driver:
        """Return what plays the server."""
        kind: Callable[[str, str], Driver] = ASGIDriver if self.protocol == "asgi" else WSGIDriver
        return kind(self.method, self.path)


class Driver:
    """Plays a server that gets one and the same request again and again."""

    def answer(self, app: App) -> Answer:
        """Serve the request once and return what a client would see."""
        raise NotImplementedError

    def time(self, app: App, count: int) -> float:
        """Serve the request `count` times and return the seconds that took."""
        raise NotImplementedError

    def close(self) -> None:
        """Give back what the driver holds."""


class ASGIDriver(Driver):
    """Calls an ASGI app, on one event loop for all candidates."""

    def __init__(self, method: str, path: str) -> None:
        self._runner = asyncio.Runner()
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
            "headers": [(name.encode("ascii"), value.encode("ascii")) for name, value in HEADERS],
            "client": ("127.0.0.1", 50000),
            "server": ("127.0.0.1", 8000),
        }

    def answer(self, app: App) -> Answer:
        sent: list[dict[str, Any]] = []

        async def send(message: dict[str, Any]) -> None:
            sent.append(message)

        async def serve() -> None:
            await app(dict(self._scope), _receive, send)

        self._runner.run(serve())
        return Answer(sent[0]["status"], b"".join(message.get("body", b"") for message in sent[1:]))

    def time(self, app: App, count: int) -> float:
        return self._runner.run(self._time(app, count))

    async def _time(self, app: App, count: int) -> float:
        scope = self._scope
        # Some keep threads only as long as the outermost task lives, and that is this one.
        for _ in range(_WARM_UP):
            await app(dict(scope), _receive, _send)
        started = perf_counter()
        for _ in range(count):
            await app(dict(scope), _receive, _send)
        return perf_counter() - started

    def close(self) -> None:
        self._runner.close()


async def _receive() -> dict[str, Any]:
    return {"type": "http.request", "body": b"", "more_body": False}


async def _send(message: dict[str, Any]) -> None:
    pass


class WSGIDriver(Driver):
    """Calls a WSGI app."""

    def __init__(self, method: str, path: str) -> None:
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

    def answer(self, app: App) -> Answer:
        statuses: list[str] = []

        def start_response(status: str, headers: Any, exc_info: Any = None) -> Callable[[bytes], object]:
            statuses.append(status)
            return _write

        result = app(dict(self._environ), start_response)
        body = b"".join(result)
        _close(result)
        return Answer(int(statuses[0].partition(" ")[0]), body)

    def time(self, app: App, count: int) -> float:
        environ = self._environ
        for _ in range(_WARM_UP):
            _close(app(dict(environ), _start_response))
        started = perf_counter()
        for _ in range(count):
            result = app(dict(environ), _start_response)
            for _chunk in result:
                pass
            _close(result)
        return perf_counter() - started


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
    """The times of one case."""

    case: Case

    def overhead(self, name: str) -> float:
        """Return the seconds that a candidate takes beyond the raw callable."""
        return median(own - raw for own, raw in zip(self.times[name], self.times[RAW], strict=True))

    def relative_overhead(self, name: str, peer: str) -> float | None:
        """Return a candidate's overhead as a part of a peer's; None where the peer has no such case."""
        if peer not in self.times:
            return None
        rounds = zip(self.times[name], self.times[RAW], self.times[peer], strict=True)
        return median((own - raw) / (other - raw) for own, raw, other in rounds)


def check(case: Case, apps: dict[str, App], driver: Driver) -> None:
    """Raise AssertionError unless every candidate gives the case's answer."""
    assert RAW in apps, f"{case.name}: there is no {RAW} candidate"
    for name, app in apps.items():
        answer = driver.answer(app)
        assert answer == case.answer, f"{case.name}: {name} answered {answer}, not {case.answer}"


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
        apps = case.make(stack)
        check(case, apps, driver)
        return Result(case=case, times=timed(apps, driver, rounds=rounds, seconds=seconds))


def timed(apps: dict[str, App], driver: Driver, *, rounds: int, seconds: float) -> dict[str, list[float]]:
    """Time candidates that have been checked, in turns: see `measure`.  Return the seconds that each request took."""
    counts = {name: _count(driver, app, seconds) for name, app in apps.items()}
    times: dict[str, list[float]] = {name: [] for name in apps}
    for _ in range(rounds):
        for name, app in apps.items():
            times[name].append(_round(driver, app, counts[name]))
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
    gc.collect()
    gc.freeze()
    try:
        return driver.time(app, count) / count
    finally:
        gc.unfreeze()


def table(result: Result) -> str:
    """Return the table of one case.  The columns ``/ peer`` are the overhead as a part of that peer's."""
    case = result.case
    rows = [[case.name, *_HEAD, *(f"/ {peer}" for peer in case.peers)]]
    rows.extend(_row(result, name, f"  {name}", case.peers) for name in result.times)
    return aligned(rows)


def summary(results: Iterable[Result], name: str, peers: Sequence[str] = ("Starlette", "Falcon")) -> str:
    """Return a table with one line for each case: what the candidate `name` costs in it."""
    rows = [[f"every case: {name}", *_HEAD, *(f"/ {peer}" for peer in peers)]]
    rows.extend(_row(result, name, f"  {result.case.name}", peers) for result in results)
    return aligned(rows)


def environment() -> str:
    """Return what the figures were made with."""
    return f"{platform.python_implementation()} {platform.python_version()}, {platform.machine()}, asyncio's own loop"


_HEAD = ("µs", "±", "x raw", "overhead")


def _row(result: Result, name: str, label: str, peers: Sequence[str]) -> list[str]:
    cells = [label, f"{result.seconds(name) * 1e6:.2f}", f"{result.spread(name) / 2:.1%}", f"{result.ratio(name):.2f}"]
    if name != RAW:
        cells.append(f"{result.overhead(name) * 1e6:.2f}")
        for peer in peers:
            share = result.relative_overhead(name, peer)
            cells.append("-" if share is None else f"{share:.2f}")
    return cells


def aligned(rows: list[list[str]]) -> str:
    """Return rows of cells as the lines of a table, whose columns are as wide as the first row wants them."""
    widths = [max(len(cell), 8) for cell in rows[0][1:]]
    return "\n".join(
        f"{first:<36}" + "".join(f"  {cell:>{width}}" for cell, width in zip(cells, widths, strict=False))
        for first, *cells in rows
    )
