"""The benchmark through real servers: requests per second and latency, as `wrk` sees them from outside.

``python -m tests.benchmarks.served [--rounds N] [--seconds S] [WORD ...]`` prints the tables whose names have all of
the words in them: ``uvicorn hello``, say.

Each candidate has a server process of its own with one worker, all of them on the same processor core, and `wrk` has
another core for itself; a server that has nothing to do costs nothing.  The candidates take turns, as in `harness`, and
each ratio is taken within a round: it says how many requests a candidate answers for each one of the reference, the
raw callable or Flask that nobody has mounted.  Everybody's answer is looked at before, and no answer may be an error.

What these figures have and those of `harness` have not is the server's own share of a request, which is the same for
everybody.  The processor time of the server for each request ("CPU") says the same as the requests per second do, but
is disturbed less by what else the machine has to do.  "errors" are those of sockets.
"""

from __future__ import annotations

import argparse
import http.client
import json
import os
import platform
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from statistics import median
from time import perf_counter

from tests.benchmarks.harness import Answer, Times, aligned
from tests.benchmarks.report import Bars, Section
from tests.benchmarks.served_apps import ANSWERS, CANDIDATES, PATHS, REFERENCES, Candidate
from tests.servers.launching import BOUND, Running, Server

__all__ = [
    "LINES",
    "NO_WRK",
    "Cores",
    "Line",
    "LineResult",
    "Load",
    "cores",
    "measure",
    "missing_wrk",
    "section",
    "sections",
    "setting",
    "table",
]

NO_WRK = "wrk is not installed"

TESTS = Path(__file__).parents[1]

_MODULE = "tests.benchmarks.served_apps"
_LUA = Path(__file__).with_name("served.lua")
_WARM_UP = 1


@dataclass(frozen=True)
class Line:
    """One path on one server.

    Args:
        server: which; its name is that of the line as well.
        path: which of PATHS.
        connections: how many `wrk` keeps open.
    """

    server: Server
    path: str
    connections: int

    @property
    def name(self) -> str:
        """What the table is called."""
        return f"{self.server.name}: {self.path}"

    @property
    def missing(self) -> str:
        """Why it can't be measured here, or nothing."""
        return self.server.missing or CANDIDATES[self.server.protocol][self.path][self.reference].missing

    @property
    def reference(self) -> str:
        """The candidate that the others are compared with."""
        return REFERENCES[self.server.protocol][self.path]


def _gunicorn(name: str, *options: str) -> Server:
    command = ("gunicorn", "--bind", "127.0.0.1:{port}", "--workers", "1", "--log-level", "warning", *options)
    return Server(name, "wsgi", command, ("gunicorn",))


def _uvicorn(*options: str) -> Server:
    command = ("uvicorn", "--host", "127.0.0.1", "--port", "{port}", "--no-access-log", "--log-level", "warning")
    return Server("uvicorn", "asgi", (*command, *options), ("uvicorn", "httptools", "uvloop"))


SERVERS = (
    (_uvicorn("--http", "httptools", "--loop", "uvloop"), 64),
    # It closes each connection once it has answered.
    (_gunicorn("gunicorn sync", "--worker-class", "sync"), 8),
    (_gunicorn("gunicorn gthread", "--worker-class", "gthread", "--threads", "4"), 64),
)
"""The servers, and how many connections each is given."""

LINES = tuple(Line(server, path, connections) for server, connections in SERVERS for path in PATHS)


@dataclass(frozen=True)
class Cores:
    """On which processor cores the servers and `wrk` are; None where they can't be told apart."""

    servers: int | None
    client: int | None

    def __str__(self) -> str:
        return "a core each" if self.servers is not None else "cores shared with wrk"


def cores() -> Cores:
    """Return two cores of those that this process may use."""
    if hasattr(os, "sched_getaffinity") and len(allowed := sorted(os.sched_getaffinity(0))) > 1:
        return Cores(allowed[0], allowed[-1])
    return Cores(None, None)


@contextmanager
def _on(core: int | None) -> Iterator[None]:
    """Keep this thread, and the processes that it starts meanwhile for good, on a core."""
    if core is None:
        yield
        return
    allowed = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {core})
    try:
        yield
    finally:
        os.sched_setaffinity(0, allowed)


@dataclass(frozen=True)
class Load:
    """What came of one turn.

    Args:
        requests: how many were answered.
        seconds: how long that took.
        p50: the median latency in seconds.
        p99: the latency in seconds that one request in a hundred exceeds.
        socket_errors: how often it failed to connect, to read, to write, or to get an answer in time.
        failures: how many of the answers were errors.
        cpu: how many seconds of processor time the server took meanwhile; None where that can't be told.
    """

    requests: int
    seconds: float
    p50: float
    p99: float
    socket_errors: int = 0
    failures: int = 0
    cpu: float | None = None


@dataclass(frozen=True, kw_only=True)
class LineResult(Times):
    """What came of a line: by candidate the load of each round, and why others did not take part."""

    line: Line
    loads: Mapping[str, list[Load]]
    absent: Mapping[str, str]

    def rate(self, name: str) -> float:
        """Return the median of the requests per second."""
        return 1 / self.seconds(name)

    def relative_rate(self, name: str) -> float:
        """Return how many requests a candidate answers for each one that the reference answers."""
        return self.ratio(self.line.reference, to=name)

    def latency(self, name: str, percentile: str) -> float:
        """Return the median of the "p50" or the "p99" of the rounds, in seconds."""
        turns: list[float] = [getattr(load, percentile) for load in self.loads[name]]
        return median(turns)

    def cpu(self, name: str) -> float | None:
        """Return the median of the seconds of processor time that the server took for a request."""
        turns = [load.cpu / load.requests for load in self.loads[name] if load.cpu is not None]
        return median(turns) if turns else None

    def socket_errors(self, name: str) -> int:
        """Return how many there were in all rounds."""
        return sum(load.socket_errors for load in self.loads[name])


class _Worker(Running):
    """A server on the core for servers.  It is ended whatever keeps it from starting."""

    def __init__(self, line: Line, candidate: Candidate, core: int | None, folder: Path) -> None:
        self._core = core
        # Its process finds the tests, by the name `tests`, and nothing else of the checkout.
        (folder / "tests").symlink_to(TESTS, target_is_directory=True)
        super().__init__(line.server, folder, f"{_MODULE}:{candidate.attribute}", path=folder)

    def _start(self, arguments: tuple[str, ...]) -> bool:
        try:
            with _on(self._core):
                return super()._start(arguments)
        except BaseException:
            if "process" in vars(self):
                self.kill()
            raise

    def ask(self, path: str) -> Answer:
        """Return the answer to one request."""
        connection = http.client.HTTPConnection(self.host, self.port, timeout=BOUND)
        try:
            connection.request("GET", path)
            response = connection.getresponse()
            return Answer(response.status, response.read())
        finally:
            connection.close()

    def cpu(self) -> float | None:
        """Return how many seconds of processor time the server has taken so far; None where that can't be told."""
        ticks = 0
        # It leads a process group, and a worker of gunicorn's is a process in that.
        for stat in Path("/proc").glob("[0-9]*/stat"):
            with suppress(OSError):  # it has ended meanwhile
                # proc_pid_stat(5): what follows the name are the fields from the third on.
                fields = stat.read_text().rpartition(")")[2].split()
                if int(fields[2]) == self.process.pid:
                    ticks += int(fields[11]) + int(fields[12])
        return ticks / os.sysconf("SC_CLK_TCK") if ticks else None


def measure(
    line: Line, *, rounds: int = 7, seconds: float = 2.0, names: Sequence[str] | None = None, where: Cores | None = None
) -> LineResult:
    """Start the candidates of a line, check what they answer, then measure them in turns.

    Args:
        line: the line; nothing may be missing for it.
        rounds: how many times each candidate has its turn.
        seconds: how long a turn is, in whole seconds; 0 for a single request without `wrk`, which shows only that
            everything runs.
        names: which candidates, the reference among them; all by default.
        where: the cores; `cores()` by default.

    Raises AssertionError for a wrong answer, for an answer that is an error, and where a server does not start.
    """
    where = cores() if where is None else where
    candidates = CANDIDATES[line.server.protocol][line.path]
    path = PATHS[line.path]
    workers: dict[str, _Worker] = {}
    absent: dict[str, str] = {}
    with ExitStack() as stack:
        for name in candidates if names is None else names:
            if reason := candidates[name].missing:
                absent[name] = reason
                continue
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
            workers[name] = _Worker(line, candidates[name], where.servers, folder)
            stack.callback(workers[name].stop)
        for name, worker in workers.items():
            answer = worker.ask(path)
            expected = ANSWERS[line.path]
            assert answer == expected, f"{line.name}: {name} answered {answer}, not {expected}\n{worker.output[-5000:]}"
        if seconds:
            for worker in workers.values():
                _turn(worker, line, _WARM_UP, where.client)
        loads: dict[str, list[Load]] = {name: [] for name in workers}
        for _ in range(rounds):
            for name, worker in workers.items():
                load = _turn(worker, line, seconds, where.client)
                assert load.requests, f"{line.name}: {name} answered nothing\n{worker.output[-5000:]}"
                assert not load.failures, f"{line.name}: {name} answered with errors\n{worker.output[-5000:]}"
                loads[name].append(load)
    times = {name: [load.seconds / load.requests for load in turns] for name, turns in loads.items()}
    return LineResult(line=line, times=times, loads=loads, absent=absent)


def _turn(worker: _Worker, line: Line, seconds: float, core: int | None) -> Load:
    path = PATHS[line.path]
    if not seconds:
        started = perf_counter()
        answer = worker.ask(path)
        taken = perf_counter() - started
        return Load(requests=1, seconds=taken, p50=taken, p99=taken, failures=int(answer.status >= 400))
    duration = max(1, round(seconds))
    command = ["wrk", "-t1", f"-c{line.connections}", f"-d{duration}s", "-s", str(_LUA), f"{worker.url}{path}"]
    before = worker.cpu()
    with _on(core):
        ran = subprocess.run(command, capture_output=True, text=True, check=False, timeout=duration + BOUND)
    after = worker.cpu()
    assert ran.returncode == 0, f"{line.name}: wrk failed: {ran.stdout}{ran.stderr}"
    told: dict[str, int] = json.loads(ran.stdout.splitlines()[-1])
    return Load(
        requests=told["requests"],
        seconds=told["duration"] / 1e6,
        p50=told["p50"] / 1e6,
        p99=told["p99"] / 1e6,
        socket_errors=told["socket_errors"],
        failures=told["failures"],
        cpu=None if before is None or after is None else after - before,
    )


def table(result: LineResult) -> str:
    """Return the table of one line.  The column ``x …`` says how many times as many requests as the reference's."""
    line = result.line
    head = ["req/s", "±", f"x {line.reference}", "p50 ms", "p99 ms", "CPU µs", "errors"]
    rows = [[line.name, *head]]
    for name in result.times:
        cpu = result.cpu(name)
        rows.append(
            [
                f"  {name}",
                f"{result.rate(name):.0f}",
                f"{result.spread(name) / 2:.1%}",
                f"{result.relative_rate(name):.2f}",
                f"{result.latency(name, 'p50') * 1e3:.2f}",
                f"{result.latency(name, 'p99') * 1e3:.2f}",
                "-" if cpu is None else f"{cpu * 1e6:.1f}",
                f"{result.socket_errors(name)}",
            ]
        )
    return "\n".join([aligned(rows), *(f"  {name}: {reason}" for name, reason in result.absent.items())])


def section(result: LineResult) -> Section:
    """Return the table of a line, and charts of the requests per second and of the processor time."""
    line = result.line
    file = "served-" + line.name.lower().replace(":", "").replace(" ", "-")
    title = f"{line.name}, {line.connections} connections"
    rates = {name: result.relative_rate(name) for name in result.times}
    charts = [Bars(file, title, f"requests/s, {line.reference} = 1", rates, more_is_better=True)]
    cpus = {name: cpu * 1e6 for name in result.times if (cpu := result.cpu(name)) is not None}
    if cpus:
        charts.append(Bars(f"{file}-cpu", title, "µs of processor time for a request, the server's part in it", cpus))
    return Section(line.name, table(result), charts)


def setting() -> str:
    """Return what the figures are made with."""
    found = []
    for package in ("uvicorn", "httptools", "uvloop", "gunicorn"):
        with suppress(PackageNotFoundError):
            found.append(f"{package} {version(package)}")
    python = f"{platform.python_implementation()} {platform.python_version()}, {platform.machine()}"
    connections = ", ".join(f"{server.name} {count}" for server, count in SERVERS)
    return f"{python}; {', '.join(found)}, one worker each; {cores()}; connections: {connections}"


def sections(rounds: int = 7, seconds: float = 2.0, lines: Iterable[Line] = LINES) -> Iterator[Section]:
    """Measure lines, all by default, one after the other; what is missing for any of it is said in its place."""
    if missing_wrk():
        yield Section("Real servers", NO_WRK)
        return
    yield Section("Real servers", setting())
    for line in lines:
        if line.missing:
            yield Section(line.name, f"{line.name}: {line.missing}")
        else:
            yield section(measure(line, rounds=rounds, seconds=seconds))


def missing_wrk() -> bool:
    """Tell whether `wrk` can't be had."""
    return shutil.which("wrk") is None


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m tests.benchmarks.served", description="Requests per second through real servers."
    )
    parser.add_argument("words", nargs="*", metavar="WORD", help="what a table has in its name, such as: uvicorn hello")
    parser.add_argument("--rounds", type=int, default=7, help="turns for each candidate (default: 7)")
    parser.add_argument("--seconds", type=float, default=2.0, help="how long a turn is, whole (default: 2)")
    options = parser.parse_args()
    lines = [line for line in LINES if all(word.lower() in line.name.lower() for word in options.words)]
    if not lines:
        parser.error(f"no table is called so; there are {', '.join(repr(line.name) for line in LINES)}")
    # Who is told to end ends the servers first.
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))
    for part in sections(options.rounds, options.seconds, lines):
        print(f"{part.text}\n", flush=True)


if __name__ == "__main__":
    main()
