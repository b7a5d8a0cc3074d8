"""What `dualroute check` does in the process that imports the app: every request by both protocols, and compared.

Each request is asked twice by each protocol.  What differs between two answers by the same protocol varies by itself
(a time, an id, a counter) and tells nothing about protocols, so it is left out of the comparison and said.
"""

from __future__ import annotations

import difflib
import logging
from collections.abc import Iterator, Sequence
from typing import Any

from dualroute.cli.playing import PROTOCOLS, Answer, Asked, Players
from dualroute.cli.requests import LeftOut, Plan, generated, named_by
from dualroute.explaining import explain
from dualroute.inspection import RouteInfo, flattened
from dualroute.probe import CLIError
from dualroute.samples import samples
from dualroute.serving import Servable
from dualroute.urlmaps import listed, unwrapped

__all__ = ["check"]

VARIES = "(varies by itself)"
_WIDTH = 16


def check(app: Any, table: Sequence[RouteInfo], options: dict[str, Any]) -> dict[str, Any]:
    """Return what came of asking an app, as plain values.

    Args:
        app: the app.
        table: its route table.
        options: methods, params, exclude, requests (as `Asked` takes them), generate, seed and timeout.

    Raises CLIError for an app that does not speak both protocols, a lifespan that fails, and options that fit nothing.
    """
    if not isinstance(app, Servable):
        raise CLIError(f"only an app of dualroute's own speaks both protocols, not {type(app).__name__}")
    plan = Plan(tuple(options["methods"]), options["params"], options["exclude"])
    asked = list(_asked(app, table, plan, options))
    _require_used(table, plan)
    results = []
    # What handlers log and raise is seen in the answers; their tracebacks would hide the report.
    logger = logging.getLogger("dualroute")
    level = logger.level
    logger.setLevel(logging.CRITICAL + 1)
    try:
        players = Players(app, options["timeout"])
        try:
            players.__enter__()
        except Exception as error:
            raise CLIError(f"the app can't be started: {error}") from None
        try:
            for one in asked:
                results.append(_compared(one, [[players.ask(name, one) for name in PROTOCOLS] for _ in range(2)]))
        finally:
            players.__exit__(None, None, None)
    finally:
        logger.setLevel(level)
    left_out = [{"what": item.what, "reason": item.reason} for item in plan.left_out]
    return {"requests": results, "left_out": left_out}


def _asked(app: Any, table: Sequence[RouteInfo], plan: Plan, options: dict[str, Any]) -> Iterator[Asked]:
    legacy = dict(_legacy_paths(app))
    for info in flattened(table):
        for asked in plan.for_route(info, legacy):
            yield asked
            for odd in generated(asked, options["generate"], options["seed"]):
                if not _leads_to_excluded(app, odd, plan):
                    yield odd
    for method, target, headers, body, origin in options["requests"]:
        asked = Asked(method, target, tuple((name, value) for name, value in headers), body.encode("latin-1"), origin)
        if plan.methods and method not in plan.methods:
            plan.left_out.append(LeftOut(f"{method} {target}", f"in {origin}; see --method"))
        elif (pattern := _leads_to_excluded(app, asked, plan)) is not None:
            plan.left_out.append(LeftOut(f"{method} {target}", f"in {origin}; --exclude {pattern}"))
        else:
            yield asked


def _leads_to_excluded(app: Any, asked: Asked, plan: Plan) -> str | None:
    """Return the pattern that the route fits to which a request leads, if there is such."""
    if not plan.exclude:
        return None
    host = next((value for name, value in asked.whole_headers() if name.lower() == "host"), "localhost")
    path = asked.target.partition("?")[0]
    trail = explain(app, asked.method, f"http://{host}{path}").trail
    whole = "".join(str(getattr(route, "path", "")) for route in trail)
    names = [name for route in trail if (name := getattr(route, "name", None))]
    found = named_by(plan.exclude, whole, ":".join(names))
    return found or named_by(plan.exclude, f"{whole}/*", None)


def _require_used(table: Sequence[RouteInfo], plan: Plan) -> None:
    routes = list(flattened(table))
    for pattern in plan.exclude:
        if not any(named_by([pattern], info["path"], info["full_name"]) for info in routes):
            raise CLIError(f"--exclude {pattern}: no route has such a path or name (see dualroute routes)")
    text = " ".join(f"{info['host'] or ''}{info['path']}" for info in routes)
    for name in plan.params:
        if f"{{{name}}}" not in text and f"{{{name}:" not in text:
            raise CLIError(f"--param {name}: no route has such a parameter (see dualroute routes)")


def _legacy_paths(app: Any) -> Iterator[tuple[str, list[str]]]:
    """Yield where an app of another framework is mounted whose URLs can be read, with a path for each of those."""
    from dualroute.migration import legacy_places

    for prefix, foreign in legacy_places(app):
        inside = unwrapped(foreign)
        if inside is None:
            continue
        try:
            urls = listed(inside)
        except Exception:  # whatever its framework raises: it is asked at its root then
            continue
        paths = []
        for url in urls:
            for shape in url.shapes or ():
                known = (sample.text for sample in samples(shape, 4))
                paths += [prefix + text for text in known if url.accepts is None or url.accepts(text)][:1]
        if paths:
            yield f"{prefix}/*", list(dict.fromkeys(paths))


def _compared(asked: Asked, rounds: list[list[Answer]]) -> dict[str, Any]:
    shown = {name: [_aspects(asked, answers[number]) for answers in rounds] for number, name in enumerate(PROTOCOLS)}
    varying = sorted(
        {key for first, second in shown.values() for key in {**first, **second} if _differ(first, second, key)}
    )
    asgi, wsgi = (shown[name][0] for name in PROTOCOLS)
    lines: list[str] = []
    if any(_differ(asgi, wsgi, key) for key in {**asgi, **wsgi} if key not in varying):
        texts = [_rendered(aspects, varying) for aspects in (asgi, wsgi)]
        if texts[0] == texts[1]:  # bytes that look alike as text
            texts = [_rendered(aspects, varying, as_hex=True) for aspects in (asgi, wsgi)]
        lines = list(difflib.unified_diff(texts[0], texts[1], *PROTOCOLS, lineterm=""))
    return {
        "method": asked.method,
        "target": asked.target,
        "origin": asked.origin,
        "status": [rounds[0][number].status for number in range(2)],
        "same": not lines,
        "varies": varying,
        "diff": lines,
    }


def _differ(one: dict[str, Any], other: dict[str, Any], key: str) -> bool:
    return bool(one.get(key) != other.get(key))


def _aspects(asked: Asked, answer: Answer) -> dict[str, Any]:
    """Return what of an answer is compared, each by its name."""
    found: dict[str, Any] = {"status": answer.status}
    for name, value in answer.headers:
        found.setdefault(f"header {name.lower()}", []).append(value)
    # Servers drop the body that an app sends in answer to HEAD; one that goes on is as long as time allowed.
    if asked.method != "HEAD" and not answer.error.startswith("not complete"):
        found["body"] = bytes(answer.body)
    if answer.error:
        found["error"] = answer.error
    return found


def _rendered(aspects: dict[str, Any], varying: Sequence[str], *, as_hex: bool = False) -> list[str]:
    """Return an answer in lines, as it would stand on the wire."""
    lines = [f"status: {VARIES if 'status' in varying else aspects['status']}"]
    for key in sorted(aspects):
        if key.startswith("header "):
            name = key.removeprefix("header ")
            values = [VARIES] if key in varying else aspects[key]
            lines += [f"{name}: {value}" for value in values]
    if "error" in aspects:
        lines.append(f"error: {VARIES if 'error' in varying else aspects['error']}")
    lines.append("")
    if "body" in varying:
        lines.append(VARIES)
    elif "body" in aspects:
        lines += _body_lines(aspects["body"], as_hex)
    return [line.encode("ascii", "backslashreplace").decode() if not line.isprintable() else line for line in lines]


def _body_lines(body: bytes, as_hex: bool) -> list[str]:
    if not as_hex:
        try:
            text = body.decode()
        except UnicodeDecodeError:
            pass
        else:
            if "\0" not in text:
                return text.splitlines()
    return [
        f"{at:08x}  {body[at : at + _WIDTH].hex(' '):{_WIDTH * 3 - 1}}  {_visible(body[at : at + _WIDTH])}"
        for at in range(0, len(body), _WIDTH)
    ]


def _visible(piece: bytes) -> str:
    return "".join(chr(byte) if 32 <= byte < 127 else "." for byte in piece)
