"""``dualroute check``: whether an app answers alike by ASGI and by WSGI, request by request.

The app is imported and asked in a process of its own (`dualroute.probe`, `dualroute.cli.comparing`); here the options
are read, and what came of them is printed.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator
from typing import Any

from dualroute.cli.show import ask
from dualroute.cli.terminal import BOLD, DIM, GREEN, RED, can_print, put, styled
from dualroute.probe import CLIError

__all__ = ["check"]


def check(options: argparse.Namespace) -> int:
    """Ask an app by both protocols and print what differs; the exit code is 0 where nothing does, and 1 otherwise."""
    from dualroute.cli.requests import read_requests  # with it comes asyncio, for which the other commands have no use

    methods = () if options.all_methods else tuple(options.method or ("GET", "HEAD"))
    requests = [asked for path in options.requests or () for asked in read_requests(path)]
    wanted = {
        "methods": methods,
        "params": dict(options.param or ()),
        "exclude": options.exclude or [],
        "generate": options.generate,
        "seed": options.seed,
        "timeout": options.timeout,
        "requests": [(one.method, one.target, one.headers, one.body.decode("latin-1"), one.origin) for one in requests],
    }
    found = ask(options, check=wanted)
    told = found["check"]
    results = told["requests"]
    if not results:
        raise CLIError(f"{options.target}: there is nothing to ask; dualroute check --help tells what is left out")
    different = [result for result in results if not result["same"]]
    if options.json:
        whole = {"target": options.target, "attribute": found["attribute"], **told, "different": len(different)}
        put(json.dumps(whole, indent=2, ensure_ascii=not can_print(json.dumps(whole, ensure_ascii=False))), sys.stdout)
    else:
        put("\n".join(_report(told, different)), sys.stdout)
    return 1 if different else 0


def _report(told: dict[str, Any], different: list[dict[str, Any]]) -> list[str]:
    lines: list[str] = []
    for result in different:
        lines.append(f"{_asked(result)}: {styled('differs', RED)}")
        lines += [f"  {_coloured(line)}" for line in result["diff"]]
    lines += [styled(line, DIM) for line in _varying(told["requests"])]
    lines += [styled(f"left out: {item['what']}: {item['reason']}", DIM) for item in told["left_out"]]
    count = len(told["requests"])
    outcome = f"{len(different)} differ" if len(different) != 1 else "1 differs"
    style = RED if different else GREEN
    left_out = f"; {len(told['left_out'])} left out" if told["left_out"] else ""
    requests = f"{count} request{'s' if count != 1 else ''}"
    lines.append(styled(f"{requests} by ASGI and by WSGI: {outcome if different else 'all the same'}{left_out}", style))
    return lines


def _asked(result: dict[str, Any]) -> str:
    request = f"{result['method']} {result['target']}"
    return f"{styled(request, BOLD)} ({result['origin']})"


def _varying(results: list[dict[str, Any]]) -> Iterator[str]:
    """Yield a line for each thing that was not compared, since it differs between two answers by one protocol."""
    found: dict[str, list[dict[str, Any]]] = {}
    for result in results:
        for name in result["varies"]:
            found.setdefault(name, []).append(result)
    for name, of in found.items():
        first = f"{of[0]['method']} {of[0]['target']}"
        where = first if len(of) == 1 else f"{first} and {len(of) - 1} more"
        yield f"varies by itself, and was not compared: {name}, of {where}"


def _coloured(line: str) -> str:
    if line.startswith("-"):
        return styled(line, RED)
    return styled(line, GREEN) if line.startswith("+") else line
