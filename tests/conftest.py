"""The fixture that runs each behaviour test on both protocols.

A test that takes `serve` runs twice: ``serve(app)`` is an httpx client whose requests reach the app by ASGI in one run
and by WSGI in the other.  A test for which one protocol is enough says so: ``@pytest.mark.protocol("asgi")``.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest
from hypothesis import settings

from tests.transports import ASGITransport, EventLoopThread, WSGITransport

# The comparisons of the wire cases, which are in no module of tests, say what was different.
pytest.register_assert_rewrite("tests.servers.wire_cases")

# What hypothesis draws is the same in each run, so that one fails by what was changed alone.
settings.register_profile("steady", derandomize=True, database=None)
if os.environ.get("DUALROUTE_TEST_FULL") != "1":
    settings.load_profile("steady")

Serve = Callable[..., httpx.Client]


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "protocol(name): run the test on this protocol only, asgi or wsgi")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "protocol" in metafunc.fixturenames:
        marker = metafunc.definition.get_closest_marker("protocol")
        metafunc.parametrize("protocol", marker.args if marker else ("asgi", "wsgi"))


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Have ``--dist loadgroup`` keep together the tests of one server, which starts once then, and else of one file."""
    for item in items:
        if item.get_closest_marker("xdist_group") is None:
            server = getattr(getattr(item, "callspec", None), "params", {}).get("server")
            item.add_marker(pytest.mark.xdist_group(str(item.path if server is None else server)))


@pytest.fixture(scope="session")
def event_loop_thread() -> Iterator[EventLoopThread]:
    thread = EventLoopThread()
    yield thread
    thread.close()


@pytest.fixture
def serve(protocol: str, event_loop_thread: EventLoopThread) -> Iterator[Serve]:
    """Return a function that makes an httpx client for an app, served by the protocol of this run.

    Its keyword arguments: `root_path`, where the app is mounted; `base_url`; `extra`, further keys for the scope or
    environ; the rest goes to httpx.Client.
    """
    clients: list[httpx.Client] = []

    def make(
        app: Any,
        *,
        root_path: str = "",
        base_url: str = "http://testserver",
        extra: dict[str, Any] | None = None,
        **options: Any,
    ) -> httpx.Client:
        transport: httpx.BaseTransport
        if protocol == "asgi":
            transport = ASGITransport(app, event_loop_thread, root_path, extra)
        else:
            transport = WSGITransport(app, root_path, extra)
        client = httpx.Client(transport=transport, base_url=base_url, **options)
        clients.append(client)
        return client

    yield make
    for client in clients:
        client.close()
