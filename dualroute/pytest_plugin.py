"""A pytest plugin: tests that ask for `client` run once by each protocol, on the app of the `app` fixture.

    @pytest.fixture
    def app():
        return make_app()

    def test_home(client):                      # test_home[asgi] and test_home[wsgi]
        assert client.get("/").status_code == 200

    @pytest.mark.protocol("asgi")               # websockets, say
    def test_live(client):
        with client.websocket_connect("/live") as session: ...

`protocol` is which of the two it is, for tests and fixtures of your own.  A fixture of the same name in a conftest or
in another plugin comes before the one here.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from dualroute.testclient import TestClient

__all__ = ["pytest_configure", "pytest_generate_tests"]

PROTOCOLS = ("asgi", "wsgi")


@pytest.hookimpl(trylast=True)
def pytest_configure(config: pytest.Config) -> None:
    """Register the marker, and those fixtures whose names no other plugin has taken."""
    config.addinivalue_line("markers", "protocol(name): run the test by this protocol only, asgi or wsgi")
    plugins = config.pluginmanager.get_plugins()
    for fixtures in (_Protocol(), _Client()):
        # Fixtures of plugins are one flat space, and pytest-django and pytest-flask have a `client` too.
        if not any(_has_fixture(plugin, fixtures.name) for plugin in plugins):
            config.pluginmanager.register(fixtures, f"dualroute-{fixtures.name}")


@pytest.hookimpl(trylast=True)
def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run a test that uses the `protocol` fixture once by each protocol."""
    if "_dualroute_protocol" not in metafunc.fixturenames:
        return
    # A conftest's own hook may have given `protocol` its values; there is no public way to ask.
    if any("protocol" in call.params for call in getattr(metafunc, "_calls", ())):
        return
    marker = metafunc.definition.get_closest_marker("protocol")
    names = marker.args if marker is not None else PROTOCOLS
    if not names or not set(names) <= set(PROTOCOLS):
        raise pytest.UsageError(
            f"{metafunc.definition.nodeid}: the protocol marker takes 'asgi' or 'wsgi', not {names!r}"
        )
    metafunc.parametrize("_dualroute_protocol", names, indirect=True)


class _Protocol:
    name = "protocol"

    @pytest.fixture
    def _dualroute_protocol(self, request: pytest.FixtureRequest) -> str:
        """Which protocol this run is by."""
        return str(request.param)

    @pytest.fixture
    def protocol(self, _dualroute_protocol: str) -> str:
        """Which protocol the test runs by: asgi in one run, wsgi in the other."""
        return _dualroute_protocol


class _Client:
    name = "client"

    @pytest.fixture
    def client(self, app: Any, protocol: Any) -> Iterator[TestClient]:
        """A dualroute TestClient for the app of the `app` fixture, its start-up run: by ASGI, and again by WSGI."""
        from dualroute.testclient import TestClient

        with TestClient(app, protocol=protocol) as client:
            yield client


def _has_fixture(plugin: object, name: str) -> bool:
    found = getattr(plugin, name, None)
    return type(found).__name__ == "FixtureFunctionDefinition" or hasattr(found, "_pytestfixturefunction")
