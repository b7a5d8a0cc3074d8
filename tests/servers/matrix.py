"""All the servers that the wire cases are asked of: every kind there is, and some behind a reverse proxy.

A member of the matrix is a `Server` and how it is reached.  It starts once and gets all cases.
"""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from tests.servers.launching import Running, Server, by_name, eventually, free_port, require, workers

__all__ = ["MATRIX", "Member", "reached"]


@dataclass(frozen=True, eq=False)
class Member:
    """One place of the matrix.

    Args:
        name: what the tests call it.
        server: the server.
        proxy: "tcp" or "unix", where nginx is in front of it and reaches it that way.
        base: the path below which the proxy has the app.
        http: the version of HTTP that the client speaks.
    """

    name: str
    server: Server
    proxy: str = ""
    base: str = ""
    http: str = "1.1"

    def __str__(self) -> str:
        return self.name


_SYNC = by_name("gunicorn-sync")
_ASYNC = by_name("gunicorn-asgi")


def _gunicorns() -> Iterator[Server]:
    """Yield gunicorn by each kind of worker, with one and two of them, the app loaded before and after the fork."""
    kinds = (
        (_SYNC, "sync", (), ("gunicorn",)),
        (_SYNC, "gthread", ("--threads", "4"), ("gunicorn",)),
        # A worker of gevent's that has not served anything yet hears of its end by this alone, whatever the app.
        (_SYNC, "gevent", ("-k", "gevent", "--graceful-timeout", "5"), ("gunicorn", "gevent")),
        (_ASYNC, "asgi", (), ("gunicorn",)),
    )
    for like, kind, options, modules in kinds:
        for preload in ((), ("--preload",)):
            for number in (1, 2):
                server = replace(
                    like,
                    name=f"gunicorn-{kind}{'-preload' if preload else ''}-{number}",
                    command=(*like.command, *options, *preload),
                    modules=modules,
                )
                yield workers(server, number)


_UVICORN = by_name("uvicorn-h11")

OTHERS = (
    replace(
        by_name("uvicorn-httptools"),
        name="uvicorn-httptools-uvloop",
        command=(*by_name("uvicorn").command, "--http", "httptools", "--loop", "uvloop"),
        modules=("uvicorn", "httptools", "uvloop", "websockets"),
    ),
    replace(
        _ASYNC,
        name="gunicorn-uvicorn-worker",
        command=(*_SYNC.command, "-k", "uvicorn_worker.UvicornWorker"),
        modules=("gunicorn", "uvicorn_worker", "uvloop", "httptools"),
    ),
    Server(
        "daphne",
        "asgi",
        ("daphne", "--bind", "127.0.0.1", "--port", "{port}", "--verbosity", "1"),
        ("daphne",),
        ends_failed=False,
        all_close_codes=False,
    ),
    Server(
        "uwsgi",
        "wsgi",
        (
            *("uwsgi", "--http-socket", "127.0.0.1:{port}", "--master", "--die-on-term", "--need-app"),
            *(
                "--single-interpreter",
                "--enable-threads",
                "--threads",
                "4",
                "--disable-logging",
                "--buffer-size",
                "32768",
            ),
            "--module",
        ),
        ("uwsgidecorators",),
        cut_download=False,
        reads_chunks=False,
        compiled=True,
        program=True,
    ),
)

_ON_SOCKET = replace(
    by_name("uvicorn-httptools"),
    name="uvicorn-on-a-socket",
    command=("uvicorn", "--uds", "{socket}", "--http", "httptools"),
)

_ASYNC_ON_SOCKET = replace(
    _ASYNC,
    name="gunicorn-asgi-on-a-socket",
    command=tuple(part.replace("127.0.0.1:{port}", "unix:{socket}") for part in _ASYNC.command),
)

MATRIX = (
    *(
        Member(str(server), server)
        for server in (
            *_gunicorns(),
            by_name("waitress"),
            _UVICORN,
            by_name("hypercorn"),
            by_name("granian-asgi"),
            by_name("granian-wsgi"),
            *OTHERS,
        )
    ),
    Member("hypercorn-h2", by_name("hypercorn"), http="2"),
    Member("granian-asgi-h2", by_name("granian-asgi"), http="2"),
    Member("granian-wsgi-h2", by_name("granian-wsgi"), http="2"),
    Member("nginx-gunicorn-gthread", by_name("gunicorn-gthread"), proxy="tcp"),
    Member("nginx-unix-uvicorn", _ON_SOCKET, proxy="unix"),
    Member("nginx-prefix-gunicorn-gthread", by_name("gunicorn-gthread"), proxy="tcp", base="/base"),
    Member("nginx-prefix-unix-gunicorn-asgi", _ASYNC_ON_SOCKET, proxy="unix", base="/base"),
)

_NGINX = """\
daemon off;
master_process off;
pid {folder}/nginx.pid;
error_log {folder}/nginx.log warn;
events {{ worker_connections 256; }}
http {{
    access_log off;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    large_client_header_buffers 8 32k;
    server {{
        listen 127.0.0.1:{port};
        location {base}/ {{
            proxy_pass http://{upstream};
            proxy_http_version 1.1;
            proxy_set_header Host $http_host;
            proxy_set_header Upgrade $http_upgrade;
            proxy_set_header Connection $connection_upgrade;
            proxy_buffering off;
        }}
    }}
    map $http_upgrade $connection_upgrade {{
        default upgrade;
        '' close;
    }}
}}
"""


class Proxied(Running):
    """A server behind nginx.  A client of it reaches nginx."""

    def __init__(self, member: Member, folder: Path, target: str, **options: Any) -> None:
        self._member = member
        # A path for a socket may have some hundred characters only, so it is made where the server runs.
        self._socket = folder / "socket"
        self._proxy: subprocess.Popen[bytes] | None = None
        server = replace(
            member.server, command=tuple(part.replace("{socket}", "socket") for part in member.server.command)
        )
        super().__init__(server, folder, target, **options)
        for attempt in range(5):
            self.proxy_port = free_port()
            if self._start_proxy():
                return
            self._stop_proxy()
            if "in use" not in self.proxy_output or attempt == 4:
                break
        self.kill()
        raise AssertionError(f"nginx did not start:\n{self.proxy_output}")

    @property
    def proxy_output(self) -> str:
        return "".join(
            (self.folder / name).read_text(errors="replace")
            for name in ("nginx.log", "nginx.output")
            if (self.folder / name).exists()
        )

    def _start_proxy(self) -> bool:
        upstream = f"unix:{self._socket}" if self._member.proxy == "unix" else f"127.0.0.1:{self.port}"
        configuration = self.folder / "nginx.conf"
        configuration.write_text(
            _NGINX.format(folder=self.folder, port=self.proxy_port, base=self._member.base, upstream=upstream)
        )
        with (self.folder / "nginx.output").open("wb") as output:
            self._proxy = subprocess.Popen(
                ["nginx", "-p", str(self.folder), "-c", str(configuration)],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
            )
        proxy = self._proxy
        return eventually(
            lambda: "no" if proxy.poll() is not None else self._reaches(self.connect) and "yes", "nginx starts"
        ) == ("yes")

    def connect(self, timeout: float = 20.0) -> socket.socket:
        return socket.create_connection((self.host, self.proxy_port), timeout)

    def connect_directly(self, timeout: float) -> socket.socket:
        if self._member.proxy != "unix":
            return super().connect_directly(timeout)
        connection = socket.socket(socket.AF_UNIX)
        connection.settimeout(timeout)
        try:
            connection.connect(os.path.relpath(self._socket))
        except OSError:
            connection.close()
            raise
        return connection

    def _stop_proxy(self) -> None:
        if self._proxy is not None:
            self._proxy.terminate()
            try:
                self._proxy.wait(5)
            except subprocess.TimeoutExpired:
                self._proxy.kill()
                self._proxy.wait()

    def kill(self) -> None:
        self._stop_proxy()
        super().kill()


def reached(member: Member, folder: Path, target: str) -> Iterator[Running]:
    """Yield a member of the matrix that runs, and stop it afterwards: the body of a fixture."""
    require(member.server)
    if member.proxy and shutil.which("nginx") is None:
        pytest.skip(f"{member} needs nginx")
    options: dict[str, Any] = {}
    if member.base:
        environ: Mapping[str, str] = member.server.root_environ
        options = {"options": member.server.root_path or (), "environ": environ}
    running = (
        Proxied(member, folder, target, **options)
        if member.proxy
        else Running(member.server, folder, target, **options)
    )
    try:
        yield running
    finally:
        running.stop()
