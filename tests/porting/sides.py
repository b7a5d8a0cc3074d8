"""Where an application of these tests is served: in a process of a real server, or in this one by the test client."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Literal, Protocol

import httpx
import pytest
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection
from websockets.typing import Subprotocol

from dualroute.testclient import TestClient, WebSocketDenialResponse, WebSocketDisconnect, WebSocketTestSession
from tests.frameworks.sites import all_at_once, needing, refusal, websocket_at
from tests.porting.renaming import copied
from tests.servers.conftest import client_of
from tests.servers.launching import BOUND, Running, by_name, require

__all__ = ["SIDES", "STARLETTE", "Closed", "Side", "Talk", "all_sides"]

STARLETTE = "starlette"
SERVED = {STARLETTE: "uvicorn", "uvicorn": "uvicorn", "gunicorn": "gunicorn-gthread"}
"""The sides that are servers: the original's, and those of the ported one."""

IN_PROCESS: dict[str, Literal["asgi", "wsgi"]] = {"testclient-asgi": "asgi", "testclient-wsgi": "wsgi"}
"""The ported one by the test client."""

SIDES = (*SERVED, *IN_PROCESS)


@dataclass(frozen=True)
class Closed:
    """What is received from a websocket that the application has closed."""

    code: int
    reason: str


class Talk(Protocol):
    """A websocket of a client."""

    @property
    def subprotocol(self) -> str | None:
        """The subprotocol that the application chose."""
        ...

    def send(self, data: str | bytes) -> None: ...

    def receive(self) -> str | bytes | Closed: ...

    def close(self, code: int = 1000) -> None: ...


@dataclass
class _RealTalk:
    connection: ClientConnection

    @property
    def subprotocol(self) -> str | None:
        return self.connection.subprotocol

    def send(self, data: str | bytes) -> None:
        self.connection.send(data)

    def receive(self) -> str | bytes | Closed:
        try:
            return self.connection.recv(timeout=BOUND)
        except ConnectionClosed as closed:
            return Closed(closed.rcvd.code, closed.rcvd.reason) if closed.rcvd is not None else Closed(1006, "")

    def close(self, code: int = 1000) -> None:
        self.connection.close(code)


@dataclass
class _InnerTalk:
    session: WebSocketTestSession

    @property
    def subprotocol(self) -> str | None:
        return self.session.accepted_subprotocol

    def send(self, data: str | bytes) -> None:
        if isinstance(data, str):
            self.session.send_text(data)
        else:
            self.session.send_bytes(data)

    def receive(self) -> str | bytes | Closed:
        message = self.session.receive()
        if message["type"] == "websocket.close":
            return Closed(message["code"], message.get("reason") or "")
        text: str | None = message.get("text")
        return text if text is not None else bytes(message["bytes"])

    def close(self, code: int = 1000) -> None:
        self.session.close(code)


class Side:
    """An application where it is served.

    Args:
        name: what the tests call it.
        websockets: whether it has websockets there.
    """

    def __init__(self, name: str, websockets: bool) -> None:
        self.name = name
        self.websockets = websockets

    @property
    def output(self) -> str:
        """What the server has printed."""
        return ""

    def client(self) -> AbstractContextManager[httpx.Client]:
        """Return a client without cookies, which follows no redirects."""
        raise NotImplementedError

    def talk(
        self, path: str, headers: Mapping[str, str] | None = None, subprotocols: Sequence[str] = ()
    ) -> AbstractContextManager[Talk]:
        """Return a websocket, to be entered."""
        raise NotImplementedError

    def refused(self, path: str) -> int:
        """Return the status with which a websocket is refused."""
        raise NotImplementedError


class _Served(Side):
    def __init__(self, name: str, running: Running) -> None:
        super().__init__(name, running.server.protocol == "asgi")
        self.running = running

    @property
    def output(self) -> str:
        return self.running.output

    def client(self) -> AbstractContextManager[httpx.Client]:
        return client_of(self.running)

    @contextmanager
    def talk(
        self, path: str, headers: Mapping[str, str] | None = None, subprotocols: Sequence[str] = ()
    ) -> Iterator[Talk]:
        offered = [Subprotocol(name) for name in subprotocols] or None
        url = f"{self.running.url}{path}"
        with websocket_at(self.running, url, additional_headers=headers, subprotocols=offered) as connection:
            yield _RealTalk(connection)

    def refused(self, path: str) -> int:
        return refusal(self.running, f"{self.running.url}{path}")


class _InProcess(Side):
    def __init__(self, name: str, client: TestClient) -> None:
        super().__init__(name, client.protocol == "asgi")
        self._client = client

    @contextmanager
    def client(self) -> Iterator[httpx.Client]:
        self._client.cookies.clear()
        yield self._client  # it stays open, since the lifespan is in it

    @contextmanager
    def talk(
        self, path: str, headers: Mapping[str, str] | None = None, subprotocols: Sequence[str] = ()
    ) -> Iterator[Talk]:
        with self._client.websocket_connect(path, subprotocols or None, headers=headers) as session:
            yield _InnerTalk(session)

    def refused(self, path: str) -> int:
        with pytest.raises(WebSocketDisconnect) as raised, self.talk(path):
            pass
        # A server answers 403 where an application closes a websocket that it has not accepted.
        return raised.value.status_code if isinstance(raised.value, WebSocketDenialResponse) else 403


def served(module: str, name: str, folder: Path) -> Running:
    """Start the server of a side for the application that a module of `apps` has."""
    apps = copied(folder / "apps", ported=name != STARLETTE)
    own = folder / "server"
    own.mkdir()
    return Running(by_name(SERVED[name]), own, f"{module}:app", path=apps)


@contextmanager
def in_process(module: str, name: str, protocol: Literal["asgi", "wsgi"], folder: Path) -> Iterator[Side]:
    """Import a ported application of its own, and yield it as its test client reaches it."""
    apps = copied(folder / "apps", ported=True)
    own = f"ported_{module}_{protocol}"
    spec = importlib.util.spec_from_file_location(own, apps / f"{module}.py")
    assert spec is not None
    assert spec.loader is not None
    loaded = importlib.util.module_from_spec(spec)
    sys.modules[own] = loaded
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LEDGER_DATABASE", str(folder / "ledger.db"))
        spec.loader.exec_module(loaded)
        client = TestClient(loaded.app, raise_server_exceptions=False, protocol=protocol, follow_redirects=False)
        with client:
            yield _InProcess(name, client)
    del sys.modules[own]


@contextmanager
def all_sides(module: str, folder: Path) -> Iterator[Mapping[str, Side]]:
    """Yield an application on each of the sides."""
    for server in SERVED.values():
        require(needing(by_name(server), ("starlette", "jinja2", "itsdangerous")))
    starts = {name: partial(served, module, name, made(folder / name)) for name in SERVED}
    with all_at_once(starts) as running, ExitStack() as stack:
        sides: dict[str, Side] = {name: _Served(name, process) for name, process in running.items()}
        for name, protocol in IN_PROCESS.items():
            sides[name] = stack.enter_context(in_process(module, name, protocol, made(folder / name)))
        yield sides


def made(folder: Path) -> Path:
    folder.mkdir()
    return folder
