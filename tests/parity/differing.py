"""One example asked by both protocols: what each of them answered, saw and logged, and where they differ."""

from __future__ import annotations

import asyncio
import json
import logging
import re
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest.mock import patch

import itsdangerous

from dualroute import DualRoute
from tests.parity.behaviours import STREAM_CLOSED
from tests.parity.built import FOREIGN_CLOSED, FOREIGN_OPENED, build
from tests.parity.servers import LEFT, Answer, Sent, as_sent_by_asgi, as_sent_by_wsgi

__all__ = ["KEPT", "Loop", "Refused", "differences", "keep", "kept_examples", "outcomes", "sent_of"]

KEPT = Path(__file__).parent / "kept"
"""Where examples lie on which the protocols once differed."""

PATIENCE = 10.0
"""How many seconds the body of a mounted app may stay open after its response."""

_RANDOM = re.compile(r"[0-9a-f]{32}")

Outcome = dict[str, Any]


class Refused(Exception):
    """The framework refuses the table, which is no matter of protocols."""


class Loop:
    """The event loop that plays the ASGI server, in the thread of the test."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self.lasting: set[asyncio.Task[Any]] = set()

    def run(self, coroutine: Any) -> Any:
        """Run a coroutine, and then what goes on after it, which has to come to an end."""
        result = self._loop.run_until_complete(coroutine)
        deadline = time.monotonic() + PATIENCE
        while others := [task for task in asyncio.all_tasks(self._loop) if task not in self.lasting]:
            assert time.monotonic() < deadline, f"a request is over, and this goes on: {others}"
            self._loop.run_until_complete(asyncio.wait(others, timeout=1))
        return result

    def close(self) -> None:
        self.run(self._loop.shutdown_asyncgens())
        self._loop.close()


_ANY_TIME = (STREAM_CLOSED, FOREIGN_OPENED, FOREIGN_CLOSED)


def sent_of(request: dict[str, Any]) -> Sent:
    """Return a drawn request as it stands on the wire."""
    return Sent(
        request["target"].encode("latin-1") if request["target"].isascii() else _encoded(request["target"]),
        request["method"],
        tuple((name.encode("latin-1"), value.encode("latin-1")) for name, value in request["headers"]),
        request.get("body", "").encode("latin-1"),
        request.get("cut", False),
        request.get("root_path", ""),
        tuple(request.get("splits", ())),
    )


def _encoded(target: str) -> bytes:
    # What a client sends raw beyond ASCII servers percent-decode to the same bytes.
    return b"".join(b"%c" % byte if byte < 128 else b"%%%02X" % byte for byte in target.encode("latin-1"))


def outcomes(example: dict[str, Any], loop: Loop) -> tuple[list[Outcome], list[Outcome]]:
    """Return what came of each request, by ASGI and by WSGI.  Raises Refused."""
    sent = [sent_of(request) for request in example["requests"]]
    found = []
    for serve in (_served_by_asgi, _served_by_wsgi):
        seen: list[Any] = []
        try:
            app = build(example["app"], seen)
        except (TypeError, ValueError) as error:
            raise Refused(str(error)) from error
        with (
            _logged() as records,
            serve(app, loop, not _has_foreign(example["app"])) as ask,
            patch.object(itsdangerous.TimestampSigner, "get_timestamp", lambda signer: 1_700_000_000),
        ):
            found.append([_outcome(ask, one, seen, records) for one in sent])
    return found[0], found[1]


def _has_foreign(table: dict[str, Any]) -> bool:
    return "fallback" in table or any(
        route["kind"] == "foreign"
        or _has_foreign(route.get("app", {"routes": ()}))
        or _has_foreign({"routes": route.get("routes", ())})
        for route in table["routes"]
    )


def _outcome(ask: Callable[[Sent], Answer], sent: Sent, seen: list[Any], records: list[Any]) -> Outcome:
    seen.clear()
    records.clear()
    answer = ask(sent)
    deadline = time.monotonic() + PATIENCE
    while not (closed := seen.count(FOREIGN_OPENED) == seen.count(FOREIGN_CLOSED)) and time.monotonic() < deadline:
        time.sleep(0.001)
    return {
        "status": answer.status,
        "headers": [(name, _RANDOM.sub("(random)", value)) for name, value in answer.headers],
        # Servers drop what a mounted ASGI app sends in answer to HEAD.
        "body": "" if sent.method == "HEAD" else _RANDOM.sub("(random)", answer.body.decode("latin-1")),
        "error": answer.error,
        # A thread under ASGI may have made all of a body before the middleware around it goes on, and that of a mounted
        # app of which nothing is to be sent may or may not be begun.
        "seen": _RANDOM.sub("(random)", repr([item for item in seen if item not in _ANY_TIME])),
        "closed": (closed, seen.count(STREAM_CLOSED)),
        "logged": list(records),
    }


def differences(example: dict[str, Any], loop: Loop) -> list[str]:
    """Return what differs between the protocols, in words; nothing where all is the same.  Raises Refused."""
    told = []
    by_asgi, by_wsgi = outcomes(example, loop)
    for number, (asgi, wsgi) in enumerate(zip(by_asgi, by_wsgi, strict=True)):
        request = example["requests"][number]
        if asgi["error"] == LEFT:
            continue  # WSGI can't tell that the client has gone before something is sent to it
        for what in asgi:
            if asgi[what] != wsgi[what]:
                asked = f"request {number}, {request['method']} {request['target']}"
                told.append(f"{asked}: {what}\n  by ASGI: {asgi[what]!r}\n  by WSGI: {wsgi[what]!r}")
    return told


@contextmanager
def _served_by_asgi(app: DualRoute, loop: Loop, strict: bool) -> Iterator[Callable[[Sent], Answer]]:
    events: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
    messages: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
    scope = {"type": "lifespan", "asgi": {"version": "3.0"}}

    async def begin() -> asyncio.Task[None]:
        task = asyncio.create_task(app(scope, events.get, messages.put))
        loop.lasting.add(task)
        await events.put({"type": "lifespan.startup"})
        assert (await messages.get())["type"] == "lifespan.startup.complete"
        return task

    async def end() -> None:
        await events.put({"type": "lifespan.shutdown"})
        await life
        loop.lasting.discard(life)

    life = loop.run(begin())
    try:
        yield lambda sent: loop.run(as_sent_by_asgi(app, sent))
    finally:
        loop.run(end())


@contextmanager
def _served_by_wsgi(app: DualRoute, loop: Loop, strict: bool) -> Iterator[Callable[[Sent], Answer]]:
    app.wsgi_adapter.startup()
    try:
        yield lambda sent: as_sent_by_wsgi(app, sent, validate=strict)
    finally:
        app.wsgi_adapter.shutdown()


@contextmanager
def _logged() -> Iterator[list[tuple[str, str, str]]]:
    """Take note of what the framework logs, at any level but DEBUG."""
    records: list[tuple[str, str, str]] = []

    class Noting(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            error = (record.exc_info or (None, None))[1]
            records.append((record.levelname, record.getMessage(), repr(error)))

    logger, handler = logging.getLogger("dualroute"), Noting(logging.INFO)
    level, propagates = logger.level, logger.propagate
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    logger.propagate = False
    try:
        yield records
    finally:
        logger.removeHandler(handler)
        logger.setLevel(level)
        logger.propagate = propagates


def kept_examples() -> list[Path]:
    """Return the files of the examples that are kept."""
    return sorted(KEPT.glob("*.json"))


def keep(example: dict[str, Any], path: Path) -> None:
    """Write an example to a file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(example, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
