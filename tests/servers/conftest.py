"""The fixtures that run each case on every server, and show what a server printed where one fails."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Generator, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.servers.launching import BOUND, SERVERS, Running, Server, running

Start = Callable[..., Running]

_numbers = itertools.count(1)
_printed = pytest.StashKey[list[int]]()


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "servers(**facts): run the test on those servers only of which all this is true")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "server" in metafunc.fixturenames:
        marker = metafunc.definition.get_closest_marker("servers")
        facts = marker.kwargs if marker is not None else {}
        chosen = [server for server in SERVERS if facts.items() <= vars(server).items()]
        metafunc.parametrize("server", chosen, indirect=True, ids=str, scope="session")


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put all tests of one server together, so that it is started once and runs alone."""
    order = {server: index for index, server in enumerate(SERVERS)}
    places = [index for index, item in enumerate(items) if _server_of(item) is not None]
    moved = sorted((items[index] for index in places), key=lambda item: order[_server_of(item)])
    for index, item in zip(places, moved, strict=True):
        items[index] = item


def _server_of(item: pytest.Item) -> Any:
    # Tests of other folders pass here too.
    chosen = getattr(getattr(item, "callspec", None), "params", {}).get("server")
    return chosen if isinstance(chosen, Server) else None


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    running = [value for value in getattr(item, "funcargs", {}).values() if isinstance(value, Running)]
    if report.when == "setup":
        item.stash[_printed] = [len(server.output) for server in running]
    if report.failed:
        starts = item.stash[_printed] if _printed in item.stash else [0] * len(running)
        for server, printed in zip(running, starts, strict=True):
            report.sections.append((f"output of {server.server} during this test", server.output[printed:][-20_000:]))
    return report


@pytest.fixture(scope="session")
def server(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """A running server; the test runs on each of them.  It is started once for all tests."""
    chosen: Server = request.param
    yield from running(chosen, tmp_path_factory.mktemp(chosen.name))


@pytest.fixture
def client(server: Running) -> Iterator[httpx.Client]:
    """An httpx client of `server`, with a connection for each request."""
    with client_of(server) as client:
        yield client


@pytest.fixture
def token() -> str:
    """A name that no other test uses."""
    return f"token-{next(_numbers)}"


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """A function that starts a server for this test alone: as `Running`, less the folder."""
    started: list[Iterator[Running]] = []

    def begin(server: Server, *args: Any, **options: Any) -> Running:
        folder = tmp_path / f"{server}-{len(started)}"
        folder.mkdir()
        process = running(server, folder, *args, **options)
        first = next(process)
        started.append(process)
        return first

    yield begin
    for process in started:
        next(process, None)


def client_of(server: Running, **options: Any) -> httpx.Client:
    """Return an httpx client of `server`; each request has a connection of its own unless `limits` say otherwise."""
    return httpx.Client(
        base_url=server.url,
        timeout=BOUND,
        trust_env=False,
        verify=False,  # no TLS here; loading the certificates of a machine takes long
        **{"limits": httpx.Limits(max_keepalive_connections=0), **options},
    )
