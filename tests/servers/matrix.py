"""All the servers that the wire cases are asked of: every kind there is, and some behind a reverse proxy.

A member of the matrix is a `Server` and how it is reached.  It starts once and gets all cases.
"""

from __future__ import annotations

import socket
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from tests.servers.launching import Running, Server, by_name, connect_to_socket, require, workers
from tests.servers.nginx import TEMPORARY, Nginx, require_nginx

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

_NGINX = (
    """\
pid {folder}/nginx.pid;
error_log {folder}/nginx.log warn;
events {{ worker_connections 256; }}
http {{
    access_log off;
    large_client_header_buffers 8 32k;
    """
    + TEMPORARY
    + """\
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
)


class Proxied(Running):
    """A server behind nginx.  A client of it reaches nginx."""

    _proxy: Nginx | None = None

    def __init__(self, member: Member, folder: Path, target: str, **options: Any) -> None:
        self._member = member
        # A path for a socket may have some hundred characters only, so it is made where the server runs.
        self._socket = folder / "socket"
        server = replace(
            member.server, command=tuple(part.replace("{socket}", "socket") for part in member.server.command)
        )
        super().__init__(server, folder, target, **options)
        try:
            self._proxy = Nginx(folder, self._configuration)
            if not self._reaches(self.connect):
                raise AssertionError(f"nginx does not reach {server}:\n{self._proxy.output}")
        except BaseException:
            self.kill()
            raise

    def _configuration(self, ports: list[int]) -> str:
        upstream = f"unix:{self._socket}" if self._member.proxy == "unix" else f"127.0.0.1:{self.port}"
        return _NGINX.format(folder=self.folder, port=ports[0], base=self._member.base, upstream=upstream)

    def connect(self, timeout: float = 20.0) -> socket.socket:
        assert self._proxy is not None, "it is there once the server runs"
        return self._proxy.connect(timeout)

    def connect_directly(self, timeout: float) -> socket.socket:
        if self._member.proxy != "unix":
            return super().connect_directly(timeout)
        return connect_to_socket(self._socket, timeout)

    def kill(self) -> None:
        if self._proxy is not None:
            self._proxy.stop()
        super().kill()


def reached(member: Member, folder: Path, target: str) -> Iterator[Running]:
    """Yield a member of the matrix that runs, and stop it afterwards: the body of a fixture."""
    require(member.server)
    if member.proxy:
        require_nginx(str(member))
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
