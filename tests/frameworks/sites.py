"""Where an app of another framework stands in these tests, and the processes that serve it there.

A module of tests says which app it is about by a `Sites`; its tests run for each `Place` on each server.
"""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import unquote

import httpx
import pytest
from websockets.exceptions import InvalidStatus
from websockets.sync.client import ClientConnection, connect

from tests.servers.launching import BOUND, Running, Server, by_name, require

__all__ = [
    "PLACES",
    "SERVERS",
    "TESTS",
    "Fleet",
    "Place",
    "Site",
    "Sites",
    "all_at_once",
    "client_at",
    "fleet_of",
    "needing",
    "refusal",
    "same_url",
    "started",
    "websocket_at",
]

_K = TypeVar("_K")

SERVERS = ("gunicorn-gthread", "uvicorn")
TESTS = Path(__file__).parents[1]


@dataclass(frozen=True)
class Place:
    """Where the app is.

    Args:
        name: what the tests call it; "around" has a middleware.
        attribute: the object that the server is given: ``app``, which has the app in all places but one, or
            ``straight``, which is the app wrapped and nothing else.
        prefix: what stands before the app's own paths, percent-encoded.
        host: the host name by which it is reached.
    """

    name: str
    attribute: str = "app"
    prefix: str = ""
    host: str = "www.test"


PLACES = (
    Place("fallback"),
    Place("mount", prefix="/old"),
    Place("deep", prefix="/shops/bj%C3%B6rn%20%26%20co/old"),
    Place("around", prefix="/around"),
    Place("host", host="legacy.test"),
    Place("straight", attribute="straight"),
)


@dataclass(frozen=True)
class Sites:
    """The app that a module of tests is about.

    Args:
        module: the module of this folder that has it.
        needs: what has to be installed for it.
        flavours: what stands before the names of the module's attributes, for a framework that has several sides.
        prepare: called with each server's folder before the server starts.
        places: where it is tried.
    """

    module: str
    needs: tuple[str, ...]
    flavours: tuple[str, ...] = ("",)
    prepare: Callable[[Path], object] | None = None
    places: Sequence[Place] = PLACES

    def every(self) -> Iterator[tuple[str, str, Place]]:
        """Yield each server with each flavour and place."""
        for server in SERVERS:
            for flavour in self.flavours:
                for place in self.places:
                    yield server, flavour, place


@dataclass
class Fleet:
    """The processes that serve a module's app, by server and attribute."""

    running: Mapping[tuple[str, str], Running]

    def at(self, server: str, flavour: str, place: Place) -> Site:
        return Site(self.running[server, flavour + place.attribute], place, flavour.rstrip("_"))


@dataclass(frozen=True)
class Site:
    """The app in its place, served by a server that runs."""

    running: Running
    place: Place
    flavour: str = ""

    @property
    def protocol(self) -> str:
        """What the server speaks: "wsgi" or "asgi"."""
        return self.running.server.protocol

    @property
    def root(self) -> str:
        """The app's root path, as text."""
        return unquote(self.place.prefix)

    @property
    def url(self) -> str:
        """The URL that the app's own paths follow."""
        return f"http://{self.place.host}{self.place.prefix}"

    def client(self) -> httpx.Client:
        """Return a client that stands at the app's root; each request has a connection of its own."""
        return client_at(self.running, self.url)

    def at_the_host(self) -> httpx.Client:
        """Return one that stands at the root of the app's host."""
        return client_at(self.running, f"http://{self.place.host}")

    def websocket(self, path: str, **options: Any) -> AbstractContextManager[ClientConnection]:
        """Return a websocket to a path of the app, to be entered."""
        return websocket_at(self.running, self.url + path, **options)

    def refused(self, path: str) -> int:
        """Return the status with which a websocket is refused."""
        return refusal(self.running, self.url + path)


def same_url(one: str, other: str) -> bool:
    """Tell whether two URLs are the same, however they are percent-encoded."""
    return unquote(one) == unquote(other)


def client_at(running: Running, url: str) -> httpx.Client:
    """Return a client that stands at a URL, whose host is the server that runs, whatever its name."""
    return httpx.Client(base_url=url, transport=_Pinned(running.port), timeout=BOUND, trust_env=False)


@contextmanager
def websocket_at(running: Running, url: str, **options: Any) -> Iterator[ClientConnection]:
    """A websocket to a URL, whose host is the server that runs; the options are those of `connect`."""
    # The socket is made here so that neither a look-up of the name nor a proxy comes between.
    with (
        socket.create_connection((running.host, running.port), timeout=BOUND) as connection,
        connect(url.replace("http", "ws", 1), sock=connection, open_timeout=BOUND, **options) as client,
    ):
        yield client


def refusal(running: Running, url: str) -> int:
    """Return the status with which a websocket is refused."""
    with pytest.raises(InvalidStatus) as raised, websocket_at(running, url):
        pass
    return raised.value.response.status_code


class _Pinned(httpx.HTTPTransport):
    """A transport that connects to one port of this machine, whatever host the URL names."""

    def __init__(self, port: int) -> None:
        # No TLS here; loading the certificates of a machine takes long.
        super().__init__(verify=False, trust_env=False, limits=httpx.Limits(max_keepalive_connections=0))
        self._port = port

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        return super().handle_request(
            httpx.Request(
                request.method,
                request.url.copy_with(host="127.0.0.1", port=self._port),
                headers=request.headers,
                stream=request.stream,
                extensions=request.extensions,
            )
        )


def started(
    server: Server, folder: Path, target: str, options: tuple[str, ...] = (), environ: Mapping[str, str] | None = None
) -> Running:
    """Start a server for a module of this folder.

    Its process finds the tests, by the name `tests`, and nothing else of the checkout.
    """
    folder.mkdir(exist_ok=True)
    (folder / "tests").symlink_to(TESTS, target_is_directory=True)
    return Running(server, folder, f"tests.frameworks.{target}", options=options, environ=environ, path=folder)


def needing(server: Server, needs: tuple[str, ...]) -> Server:
    """Return a server that is missing where one of these modules is."""
    return replace(server, modules=(*server.modules, *needs))


@contextmanager
def all_at_once(starts: Mapping[_K, Callable[[], Running]]) -> Iterator[dict[_K, Running]]:
    """Start several servers at the same time, and stop them likewise."""
    with ThreadPoolExecutor(max(len(starts), 1)) as pool:
        starting = {key: pool.submit(start) for key, start in starts.items()}
        running = [future.result() for future in starting.values() if future.exception() is None]
        try:
            yield {key: future.result() for key, future in starting.items()}
        finally:
            for stopping in [pool.submit(process.stop) for process in running]:
                stopping.result()


@contextmanager
def fleet_of(sites: Sites, folder: Path) -> Iterator[Fleet]:
    """Start the servers of a module's app; skip the test where something that it needs is missing."""

    def start(server: str, attribute: str) -> Running:
        own = folder / f"{server}-{attribute}"
        own.mkdir()
        if sites.prepare is not None:
            sites.prepare(own)
        return started(by_name(server), own, f"{sites.module}:{attribute}")

    keys = {(server, flavour + place.attribute) for server, flavour, place in sites.every()}
    for server, _ in keys:
        require(needing(by_name(server), sites.needs))
    with all_at_once({key: partial(start, *key) for key in keys}) as running:
        yield Fleet(running)
