"""``dualroute routes`` and ``dualroute match``: what an app answers, and which route answers a request.

The app is imported in a process of its own (`dualroute.probe`), which hands over plain values; here they are printed.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Iterator, Sequence
from typing import Any

from dualroute.cli.terminal import BOLD, DIM, GREEN, RED, aligned, can_print, put, styled
from dualroute.probe import CLIError, parse_target, probe

__all__ = ["ask", "match", "routes"]

_ROUTES_HEAD = ("PATH", "METHODS", "NAME", "COLOUR", "PROTOCOLS", "MIDDLEWARE", "ENDPOINT", "DEFINED")
_LEGACY_HEAD = ("PATH", "METHODS", "ENDPOINT", "STATUS", "LEFT")

# How a tree is drawn: a branch, the last one, and what goes on beside what is inside either.
_LINES = ("├── ", "└── ", "│   ", "    ")
_PLAIN_LINES = ("|-- ", "`-- ", "|   ", "    ")


def routes(options: argparse.Namespace) -> int:
    """Print the routes of an app; the exit code is 0."""
    found = ask(options, legacy=options.legacy)
    if options.json:
        told = {"target": options.target, "attribute": found["attribute"], "routes": found["table"]}
        if options.legacy:
            told["legacy"] = [_legacy_values(*table) for table in found["legacy"]]
        put(json.dumps(told, indent=2, ensure_ascii=not can_print(json.dumps(told, ensure_ascii=False))), sys.stdout)
        return 0
    if options.tree:
        lines = [styled(f"{options.target} ({found['attribute']})", BOLD), *_tree(found["table"])]
        lines = lines if found["table"] else ["no routes"]
    else:
        lines = _headed(_ROUTES_HEAD, [_row(info) for info in found["flat"]]) or ["no routes"]
    for heading, rows, total in found.get("legacy", ()):
        lines += ["", styled(heading, BOLD), *_headed(_LEGACY_HEAD, rows), total]
    if options.legacy and not found["legacy"]:
        lines += ["", "no legacy app stands behind these routes"]
    put("\n".join(lines), sys.stdout)
    return 0


def match(options: argparse.Namespace) -> int:
    """Print which route answers a request; the exit code is 0 where one does, and 1 otherwise."""
    found = ask(options, match=(options.method, options.url))["match"]
    matched = found["outcome"] in ("match", "default")
    if options.json:
        put(json.dumps(found, indent=2), sys.stdout)
        return 0 if matched else 1
    outcome = found["outcome"] if found["outcome"].isdecimal() else found["outcome"].upper()
    lines = [f"{options.method} {options.url}: {styled(outcome, GREEN if matched else RED)}, {found['detail']}"]
    if found["location"] is not None:
        lines.append(f"  to {found['location']}")
    for depth, info in enumerate(found["trail"]):
        lines.append(f"{'  ' * (depth + 1)}{styled(_named(info), BOLD)}")
    if found["params"]:
        lines.append("  with " + ", ".join(f"{name}={value}" for name, value in found["params"].items()))
    shown, left_out = _steps(found["steps"], every=options.all)
    if shown:
        lines += ["", "looked at, in this order:", *shown]
    if left_out:
        lines.append(styled(f"  and {left_out} more, not reached or far from it (--all names them)", DIM))
    put("\n".join(lines), sys.stdout)
    return 0 if matched else 1


def ask(options: argparse.Namespace, **questions: Any) -> dict[str, Any]:
    """Return what the probe answers of the target that the command line names.  Raises CLIError."""
    if os.name != "posix":
        raise CLIError(f"`dualroute {options.command}` needs a POSIX system")
    from dualroute.supervisor import Family, StopRequested

    with Family() as family:
        try:
            return probe(family, parse_target(options.target), **questions)
        except StopRequested:
            raise KeyboardInterrupt from None


def _headed(head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    lines = aligned(head, rows)
    return [styled(lines[0], BOLD), *lines[1:]] if lines else []


def _row(info: dict[str, Any]) -> tuple[str, ...]:
    path = f"{info['host']}{info['path']}" if info["host"] else info["path"]
    middleware = ", ".join(name.rpartition(".")[2] for name in info["middleware"])
    return (
        path,
        ", ".join(info["methods"]) or ("websocket" if info["kind"] == "websocket" else "any"),
        info["full_name"] or "",
        info["colour"],
        ", ".join(info["protocols"]),
        middleware,
        info["endpoint"],
        _place(info["defined"]),
    )


def _place(defined: str | None) -> str:
    """Return file and line, from the working directory where the file is below it."""
    if not defined:
        return ""
    here = os.path.join(os.getcwd(), "")
    return defined.removeprefix(here)


def _tree(table: Sequence[dict[str, Any]], before: str = "") -> Iterator[str]:
    lines = _LINES if can_print("".join(_LINES)) else _PLAIN_LINES
    for position, info in enumerate(table):
        last = position == len(table) - 1
        middleware = [name.rpartition(".")[2] for name in info["middleware"]]
        words = [
            info["kind"] if info["kind"] != "route" else ", ".join(info["methods"]),
            f"name={info['name']}" if info["name"] else "",
            info["colour"],
            "ASGI only" if info["protocols"] == ["ASGI"] else "",
            f"[{', '.join(middleware)}]" if middleware else "",
            f"{info['endpoint']} ({_place(info['defined'])})" if info["defined"] else info["endpoint"],
        ]
        own = info["own"] or "/"
        told = styled("  ".join(word for word in words if word), DIM)
        yield f"{before}{lines[last]}{own}  {told}".rstrip()
        yield from _tree(info["routes"], before + lines[2 + last])


def _legacy_values(heading: str, rows: Sequence[Sequence[str]], total: str) -> dict[str, Any]:
    names = [name.lower() for name in _LEGACY_HEAD]
    return {"heading": heading, "urls": [dict(zip(names, row, strict=True)) for row in rows], "total": total}


def _named(info: dict[str, Any]) -> str:
    methods = f" {', '.join(info['methods'])}" if info["methods"] else ""
    kind = "" if info["kind"] == "route" else f"{info['kind']} "
    place = _place(info["defined"])
    told = f"{kind}{info['own'] or '/'}{methods}"
    return "  ".join(word for word in (told, info["endpoint"], f"({place})" if place else "") if word)


def _steps(steps: Sequence[dict[str, Any]], *, every: bool, depth: int = 1) -> tuple[list[str], int]:
    """Return a line for each route that was looked at, and how many are left out."""
    lines: list[str] = []
    left_out = 0
    for step in steps:
        inside, left_inside = _steps(step["steps"], every=every, depth=depth + 1)
        left_out += left_inside
        unreached = step["outcome"] == "not reached"
        if unreached:
            far = step["reason"] != "order" or step["kind"] == "default"
        else:
            far = step["reason"] in ("path", "kind") and not step["detail"].startswith("it fits")
        if far and not every and not inside:
            left_out += 1
            continue
        outcome = {"wins": styled("wins", GREEN), "inside": "leads there"}.get(step["outcome"], "")
        if not outcome:
            outcome = (
                "not reached" if unreached and far else f"{step['outcome']}, by {step['reason']}: {step['detail']}"
            )
        kind = "" if step["kind"] == "route" else f"{step['kind']} "
        methods = f" {', '.join(step['methods'])}" if step["methods"] else ""
        lines.append(f"{'  ' * depth}{kind}{step['own'] or '/'}{methods}  {outcome}")
        lines += inside
    return lines, left_out
