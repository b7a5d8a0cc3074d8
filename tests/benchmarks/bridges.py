"""The bridges measured: an app of one protocol, mounted and served by a server of the other.

Each line asks every bridge for the same thing, in turns, as `harness` does.  The figure is the time of a request, or
of as many as are made at once, or how much is carried in a second.  The last columns say how many times as fast as
the candidate of the row ours are: above 1 ours are ahead.

Not every bridge can do everything.  One that does not give the right answer is left out with a note that says why,
but only where that is known of it: otherwise a wrong answer is an error.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field, replace

from tests.benchmarks import bridge_apps
from tests.benchmarks.bridge_peers import MAKERS, OURS, Unable
from tests.benchmarks.bridge_servers import Traffic, server
from tests.benchmarks.harness import Answer, App, Times, aligned, timed

__all__ = ["DIRECTIONS", "KNOWN", "SIZE", "Line", "LineResult", "figure", "lines", "measure", "table"]

SIZE = 64 * 1_048_576
"""How many bytes are carried up or down."""

AT_ONCE = 64
"""How many requests are made at once, each of which sleeps for NAP seconds."""

NAP = 0.02

MIB = 1_048_576

DIRECTIONS = {"asgi": "WSGI under ASGI", "wsgi": "ASGI under WSGI"}
"""What each is called, by the protocol of the server."""

KNOWN: dict[str, dict[str, str]] = {"asgi": {}, "wsgi": {"a2wsgi": "takes a body without a Content-Length for empty"}}
"""Why a chunked upload is beyond a bridge, by the protocol of the server and by name."""


@dataclass(frozen=True)
class Line:
    """One thing that is asked of every bridge of a direction.

    Args:
        name: what the table is called.
        protocol: the server's, "asgi" or "wsgi".
        app: what is mounted.
        traffic: what is asked of it.
        answer: what must come back.
        unit: "µs", "ms" or "MiB/s".
        threads: how many threads to serve with; None for each bridge's own default.
        known: by name, why a peer does not give that answer.
        remark: called after each candidate's answer; returns what has to be said about it, if anything.
    """

    name: str
    protocol: str
    app: App
    traffic: Traffic
    answer: Answer
    unit: str
    threads: int | None = None
    known: Mapping[str, str] = field(default_factory=dict)
    remark: Callable[[], str | None] = lambda: None

    def candidates(self, stack: ExitStack) -> dict[str, App | Unable]:
        """Return the bridges by name."""
        return {name: make(self.app, self.threads, stack) for name, make in MAKERS[self.protocol].items()}


@dataclass(frozen=True, kw_only=True)
class LineResult(Times):
    """The times of one line; and what is to be said about candidates, those that could not take part among them."""

    line: Line
    notes: dict[str, str]


def lines(size: int = SIZE, at_once: int = AT_ONCE) -> list[Line]:
    """Return all lines.

    Args:
        size: how many bytes are carried up or down, a multiple of CHUNK.
        at_once: how many requests there are at once in the lines about that.
    """
    return [line for protocol in MAKERS for line in _lines(protocol, size, at_once)]


def _lines(protocol: str, size: int, at_once: int) -> Iterator[Line]:
    mounted = bridge_apps.WSGI if protocol == "asgi" else bridge_apps.ASGI
    where = DIRECTIONS[protocol]
    greeting = Answer(200, bridge_apps.HELLO)
    hello = Traffic(len(bridge_apps.HELLO))
    yield Line(f"{where}: hello", protocol, mounted.hello, hello, greeting, "µs")
    if protocol == "asgi":
        yield Line(
            f"{where}: hello, close()",
            protocol,
            bridge_apps.wsgi_closing,
            hello,
            greeting,
            "µs",
            remark=bridge_apps.not_closed,
        )
    body = Answer(200, bridge_apps.told(size, digest=True))
    yield Line(f"{where}: download", protocol, mounted.download(size), Traffic(size), body, "MiB/s")
    for announced in (False, True):
        yield Line(
            f"{where}: upload, {'length' if announced else 'chunked'}",
            protocol,
            mounted.upload,
            Traffic(len(bridge_apps.told(size, digest=False)), up=size, announced=announced),
            body,
            "MiB/s",
            known={} if announced else KNOWN[protocol],
        )
    crowd = replace(hello, at_once=at_once)
    nap = mounted.sleep(NAP)
    # Under WSGI the threads are the server's, and there are as many as requests.
    threads = at_once if protocol == "asgi" else None
    yield Line(f"{where}: {at_once} at once", protocol, nap, crowd, greeting, "ms", threads=threads)
    if protocol == "asgi":
        yield Line(f"{where}: {at_once}, own pool", protocol, nap, crowd, greeting, "ms")


def measure(line: Line, *, rounds: int = 7, seconds: float = 0.2) -> LineResult:
    """Check the bridges of a line, then time them: see `harness.measure`.

    Raises AssertionError for a wrong answer that is not known of the bridge.
    """
    with ExitStack() as stack:
        driver = server(line.protocol, line.traffic)
        stack.callback(driver.close)
        notes: dict[str, str] = {}
        apps: dict[str, App] = {}
        for name, app in line.candidates(stack).items():
            if isinstance(app, Unable):
                notes[name] = app.reason
            elif driver.answer(app) == line.answer:
                apps[name] = app
                if (remark := line.remark()) is not None:
                    notes[name] = remark
            else:
                assert name in line.known, f"{line.name}: {name} answered {driver.answer(app)}, not {line.answer}"
                notes[name] = line.known[name]
        return LineResult(line=line, notes=notes, times=timed(apps, driver, rounds=rounds, seconds=seconds))


def table(result: LineResult) -> str:
    """Return the table of one line.  The columns ``x …`` say how many times as fast as the candidate ours are."""
    line = result.line
    ours = OURS[line.protocol]
    rows = [[line.name, line.unit, "±", *(f"x {name}" for name in ours)]]
    notes = [""]
    for name in MAKERS[line.protocol]:
        cells = [f"  {name}"]
        if name in result.times:
            shown = figure(line, result.seconds(name))
            cells += [f"{shown:.0f}" if line.unit == "MiB/s" else f"{shown:.1f}", f"{result.spread(name) / 2:.1%}"]
            cells += [f"{result.ratio(name, to=our):.2f}" for our in ours]
        else:
            cells += ["-"] * (2 + len(ours))
        rows.append(cells)
        notes.append(f"  {result.notes[name]}" if name in result.notes else "")
    return "\n".join(row + note for row, note in zip(aligned(rows).splitlines(), notes, strict=True))


def figure(line: Line, seconds: float) -> float:
    """Return the seconds that a request took as a figure in the unit of its line."""
    if line.unit == "MiB/s":
        return line.traffic.volume / MIB / seconds
    return seconds * (1e6 if line.unit == "µs" else 1e3)
