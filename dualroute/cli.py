"""The ``dualroute`` command: one app object, served by two servers at once.

``dualroute run notes.py`` starts uvicorn (ASGI) and gunicorn (WSGI) on the same object, watches both, and stops both
(`dualroute.supervisor`).  What is here is what comes before: to have the object found (`dualroute.probe`), to see that
both ports are free, to put the servers' command lines together, and to say in one line what is wrong where something
is.  ``dualroute routes notes.py`` has the object found and prints what it answers.
"""

from __future__ import annotations

import argparse
import contextlib
import errno
import importlib.util
import io
import os
import re
import socket
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NoReturn, TextIO

from dualroute.probe import CLIError, Target, parse_target, probe

__all__ = ["main"]

DESCRIPTION = """\
Serve one app object at once by uvicorn (ASGI) and by gunicorn (WSGI), for development and for trying it out.

"""
ROUTES_DESCRIPTION = """\
Print the routes of an app, in the order in which they are tried.

With --legacy, print for each app of another framework that stands behind it (as its fallback, or in a mount or a
host) that app's own URLs, and whether the new routes answer them by now: all requests (moved), some of them (in part,
with what is left), or none (legacy).  A URL that nobody answers any more is lost.  It is found out by asking the
routes where sample paths lead; the URLs of Flask, Quart, Django, Bottle, Starlette and FastAPI apps can be read.
"""
TARGET = """
TARGET is a file (notes.py, or notes.py:name) or module:name.  Without a name the app is the attribute `app`, else
`application`, else the only DualRoute or Router object of the module.
"""

# The servers' own bound for requests under way; lifespan shutdown comes after it, and within the supervisor's bound.
GRACE = 5

# What gunicorn exits with when its worker can't load the app.
CANT_LOAD = (3, 4)


@dataclass
class Server:
    """One of the two servers: its program, the protocol it speaks, and where it listens."""

    program: str
    protocol: str
    serves: str
    port: int = 0

    def __str__(self) -> str:
        return f"{self.program} ({self.protocol})"


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command and return its exit code.

    0 after a stop that was asked for or when what was asked for is printed, 1 when a server ended by itself, 2 when
    nothing could be started.
    """
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # a route may hold what the terminal's encoding can't
    parser = _Parser(prog="dualroute", description="Routing for WSGI and ASGI from one app object.", allow_abbrev=False)
    parser.add_argument("--version", action=_Version, nargs=0, help="print the version and exit")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    _add_run(commands.add_parser("run", help="serve an app by uvicorn and gunicorn at once", allow_abbrev=False))
    _add_routes(commands.add_parser("routes", help="print the routes of an app", allow_abbrev=False))
    try:
        options = parser.parse_args(argv)
        return _run(options) if options.command == "run" else _routes(options)
    except CLIError as error:
        _say(error)
        return 2
    except KeyboardInterrupt:  # before there was anything to stop
        return 0


class _Parser(argparse.ArgumentParser):
    """An argument parser whose errors are one line."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{self.prog}: {message} (see {self.prog} --help)\n")


class _Version(argparse.Action):
    """Print the version, which is looked up when it is asked for."""

    def __call__(self, parser: argparse.ArgumentParser, *args: Any) -> NoReturn:
        from dualroute import __version__

        print(f"dualroute {__version__}")
        parser.exit()


def _add_run(parser: argparse.ArgumentParser) -> None:
    parser.description = DESCRIPTION + TARGET
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.epilog = "Ctrl-C or SIGTERM stops the servers; a second Ctrl-C while they stop kills them."
    parser.add_argument("target", metavar="TARGET", help="FILE.py, FILE.py:NAME or MODULE:NAME")
    parser.add_argument("--asgi", action="store_true", help="serve by uvicorn only")
    parser.add_argument("--wsgi", action="store_true", help="serve by gunicorn only")
    parser.add_argument("--host", default="127.0.0.1", help="the address to listen on (default: %(default)s)")
    parser.add_argument(
        "--port",
        type=_number(0, 65535),
        default=8000,
        help="the port of uvicorn; gunicorn gets the next one, or this one with --wsgi; 0 picks free ports"
        " (default: %(default)s)",
    )
    parser.add_argument(
        "--workers", type=_number(1, 1000), default=1, metavar="N", help="processes per server (default: %(default)s)"
    )
    parser.add_argument(
        "--reload",
        action="store_true",
        help="each server restarts its worker, by its own reload option, when a file changes: uvicorn watches the .py"
        " files below the target's directory, gunicorn the modules that were imported; requests under way are"
        " finished, websockets are closed",
    )


def _add_routes(parser: argparse.ArgumentParser) -> None:
    parser.description = ROUTES_DESCRIPTION + TARGET
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("target", metavar="TARGET", help="FILE.py, FILE.py:NAME or MODULE:NAME")
    parser.add_argument("--legacy", action="store_true", help="print how far a migration from a legacy app has come")


def _number(least: int, most: int) -> Any:
    def parse(text: str) -> int:
        if not re.fullmatch(r"[0-9]{1,9}", text) or not least <= int(text) <= most:
            raise argparse.ArgumentTypeError(f"{text!r} is not a number from {least} to {most}")
        return int(text)

    return parse


def _run(options: argparse.Namespace) -> int:
    if os.name != "posix":
        raise CLIError("`dualroute run` needs a POSIX system, as gunicorn does; try uvicorn MODULE:NAME")
    from dualroute.supervisor import Family, ProcessEnded, StopRequested

    if options.reload and options.workers > 1:
        raise CLIError("--reload and --workers exclude each other, as uvicorn can't reload several workers")
    target = parse_target(options.target)
    servers = _servers(options)
    with Family() as family:
        try:
            found = probe(family, target)
            for server in servers:
                family.start(str(server), _command(server, target, found, options))
            for server in servers:
                family.wait_until_served(_reachable(options.host), server.port)
            _print_served(servers, options.host, found["routes"])
            while True:
                try:
                    family.watch()
                except ProcessEnded as end:
                    # On a file that can't be imported uvicorn's reloader waits for the next change; gunicorn leaves.
                    if not options.reload or not end.name.startswith("gunicorn") or end.code not in CANT_LOAD:
                        raise
                    _say(f"{end}; it is started again when a file changes")
                    _wait_for_change(family, found["directory"])
                    server = next(server for server in servers if str(server) == end.name)
                    family.start(str(server), _command(server, target, found, options))
        except StopRequested:
            family.stop()
        except ProcessEnded as end:
            others = [str(server) for server in servers if str(server) != end.name]
            _say(f"{end}" + "".join(f"; stopping {other} too" for other in others))
            family.stop()
            return 1
        except BaseException:
            family.stop()
            raise
    return 0


def _routes(options: argparse.Namespace) -> int:
    if os.name != "posix":
        raise CLIError("`dualroute routes` needs a POSIX system")
    from dualroute.supervisor import Family, StopRequested

    with Family() as family:
        try:
            found = probe(family, parse_target(options.target), legacy=options.legacy)
        except StopRequested:
            return 0
    lines = _aligned(("PATH", "METHODS", "NAME", "ENDPOINT"), found["routes"]) or ["no routes"]
    for heading, rows, total in found.get("legacy", ()):
        lines += ["", heading, *_aligned(("PATH", "METHODS", "ENDPOINT", "STATUS", "LEFT"), rows), total]
    if options.legacy and not found["legacy"]:
        lines += ["", "no legacy app stands behind these routes"]
    _print("\n".join(lines), sys.stdout)
    return 0


def _wait_for_change(family: Any, directory: str) -> None:
    """Return when a Python file below the directory has changed."""

    def stamps() -> dict[str, int]:
        found = {}
        for folder, folders, files in os.walk(directory):
            folders[:] = [name for name in folders if not name.startswith((".", "__pycache__"))]
            for file in (os.path.join(folder, name) for name in files if name.endswith(".py")):
                with contextlib.suppress(OSError):
                    found[file] = os.stat(file).st_mtime_ns
        return found

    before = stamps()
    while stamps() == before:
        family.check()
        family.pause(1)


def _servers(options: argparse.Namespace) -> list[Server]:
    """Return the servers to start, each with a port that is free and a program that is installed."""
    both = options.asgi == options.wsgi
    servers = []
    if both or options.asgi:
        servers.append(Server("uvicorn", "ASGI", "HTTP and websockets"))
    if both or options.wsgi:
        servers.append(Server("gunicorn", "WSGI", "HTTP"))
    for server in servers:
        if importlib.util.find_spec(server.program) is None:
            raise CLIError(f'{server.program} is not installed: pip install "dualroute[servers]"')
    taken = []
    try:
        for offset, server in enumerate(servers):
            server.port = options.port and options.port + offset
            if server.port > 65535:
                raise CLIError(f"--port {options.port} leaves no port for {server}, which gets the next one")
            # Held until both are known, so that port 0 gives two.
            taken.append(_bind(options.host, server))
            server.port = taken[-1].getsockname()[1]
    finally:
        for listener in taken:
            listener.close()
    return servers


def _bind(host: str, server: Server) -> socket.socket:
    """Bind the server's address the way it will, and return the socket."""
    failure: OSError | None = None
    bound: list[socket.socket] = []
    try:
        addresses = socket.getaddrinfo(host or "\0", server.port, type=socket.SOCK_STREAM)
    except (OSError, ValueError) as error:  # ValueError: a name that IDNA can't encode
        raise CLIError(f"--host {host!r} is not an address of this machine: {error}") from None
    for family, kind, protocol, _, address in addresses:
        listener = socket.socket(family, kind, protocol)
        try:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if family == socket.AF_INET6:
                listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            listener.bind(address)
            listener.listen(1)
        except OSError as error:
            listener.close()
            # A name may stand for addresses that this machine hasn't got, such as ::1 for localhost.
            if failure is None or error.errno == errno.EADDRINUSE:
                failure = error
        else:
            bound.append(listener)
    if bound and (failure is None or failure.errno != errno.EADDRINUSE):
        for spare in bound[1:]:
            spare.close()
        return bound[0]
    for listener in bound:
        listener.close()
    assert failure is not None
    if failure.errno == errno.EADDRINUSE:
        raise CLIError(f"port {server.port} on {host} is in use, so {server} can't listen there; pass another --port")
    raise CLIError(f"{server} can't listen on {host}, port {server.port}: {os.strerror(failure.errno or 0)}")


def _command(server: Server, target: Target, found: dict[str, Any], options: argparse.Namespace) -> list[str]:
    """Return the command line of a server."""
    # -P keeps the working directory from the front of the import path.  The target's directory is put there by the
    # servers' own options, once they have started: a types.py beside the app is none of their business.
    command = [sys.executable, "-P", "-m", server.program, f"{target.module}:{found['attribute']}"]
    command += ["--workers", str(options.workers), *(["--reload"] if options.reload else [])]
    if server.program == "uvicorn":
        command += ["--host", options.host, "--port", str(server.port), "--interface", "asgi3"]
        command += ["--app-dir", target.directory, "--timeout-graceful-shutdown", str(GRACE)]
        if options.reload:
            command += ["--reload-dir", found["directory"]]
        return command
    host = f"[{options.host}]" if ":" in options.host else options.host
    command += ["--config", "python:dualroute_wsgi.gunicorn"]
    command += ["--bind", f"{host}:{server.port}", "--worker-class", "gthread", "--threads", "4"]
    # Its access log is off by default, uvicorn's is on.
    command += ["--pythonpath", target.directory, "--graceful-timeout", str(GRACE), "--access-logfile", "-"]
    if _gunicorn_version() >= (25, 1):
        command.append("--no-control-socket")  # else each run would replace the one in the user's home
    return command


def _gunicorn_version() -> tuple[int, ...]:
    from importlib.metadata import PackageNotFoundError, version

    try:
        return tuple(int(number) for number in re.findall(r"\d+", version("gunicorn"))[:2])
    except PackageNotFoundError:
        return ()


def _reachable(host: str) -> str:
    """Return the address at which a server on this machine that listens on `host` can be reached."""
    return {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)


def _print_served(servers: Sequence[Server], host: str, routes: Sequence[Sequence[str]]) -> None:
    host = f"[{host}]" if ":" in host else host
    lines = [""]
    for server in servers:
        lines.append(f"{server.protocol}  http://{host}:{server.port}  {server.program}, {server.serves}")
    lines += ["", *_aligned(("PATH", "METHODS", "NAME", "ENDPOINT"), routes)]
    _print("\n".join([*lines, ""]), sys.stdout)


def _aligned(head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """Return the lines of a table, or none where it has no rows."""
    table = [head, *rows] if rows else []
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in table]


def _say(message: object) -> None:
    """Print one line to stderr."""
    _print("dualroute: " + " ".join(str(message).split()), sys.stderr)


def _print(text: str, stream: TextIO) -> None:
    """Print, if anybody is still there to read it."""
    try:
        print(text, file=stream, flush=True)
    except OSError:
        # The terminal was closed, or a pipe's reader left.  What is buffered would fail again when Python exits.
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
