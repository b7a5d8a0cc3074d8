"""``dualroute run``: one app object, served by two servers at once.

It starts uvicorn (ASGI) and gunicorn (WSGI) on the same object, watches both, and stops both (`dualroute.supervisor`).
What is here is what comes before: to have the object found (`dualroute.probe`), to see that both ports are free, to
put the servers' command lines together, and to say in one line what is wrong where something is.
"""

from __future__ import annotations

import argparse
import contextlib
import errno
import importlib.util
import os
import re
import socket
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from dualroute.cli.terminal import aligned, put, say
from dualroute.probe import CLIError, Target, parse_target, probe

__all__ = ["run"]

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


def run(options: argparse.Namespace) -> int:
    """Serve an app until a signal; the exit code is 0 then, and 1 when a server ended by itself."""
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
                    say(f"{end}; it is started again when a file changes")
                    _wait_for_change(family, found["directory"])
                    server = next(server for server in servers if str(server) == end.name)
                    family.start(str(server), _command(server, target, found, options))
        except StopRequested:
            family.stop()
        except ProcessEnded as end:
            others = [str(server) for server in servers if str(server) != end.name]
            say(f"{end}" + "".join(f"; stopping {other} too" for other in others))
            family.stop()
            return 1
        except BaseException:
            family.stop()
            raise
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
        why = getattr(error, "strerror", None) or error
        raise CLIError(f"--host {host!r} is not an address of this machine: {why}") from None
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
    lines += ["", *aligned(("PATH", "METHODS", "NAME", "ENDPOINT"), routes)]
    put("\n".join([*lines, ""]), sys.stdout)
