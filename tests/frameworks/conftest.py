"""The fixtures that run each test of a framework in every place and on every server."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from typing import Any

import httpx
import pytest

from tests.frameworks.sites import Fleet, Site, fleet_of
from tests.servers.conftest import token
from tests.servers.launching import by_name

__all__ = ["client", "fleet", "site", "token"]

_printed = pytest.StashKey[int]()


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "places(*names): run the test in these places only")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "site" in metafunc.fixturenames:
        sites = []
        servers = metafunc.definition.get_closest_marker("protocol")
        places = metafunc.definition.get_closest_marker("places")
        for server, flavour, place in vars(metafunc.module)["SITES"].every():
            if servers is not None and by_name(server).protocol not in servers.args:
                continue
            if places is not None and place.name not in places.args:
                continue
            name = "-".join(filter(None, (server, flavour.rstrip("_"), place.name)))
            sites.append(pytest.param((server, flavour, place), id=name))
        metafunc.parametrize("site", sites, indirect=True)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    site = getattr(item, "funcargs", {}).get("site")
    if isinstance(site, Site):
        output = site.running.output
        if report.when == "setup":
            item.stash[_printed] = len(output)
        if report.failed:
            printed = output[item.stash.get(_printed, 0) :][-20_000:]
            report.sections.append((f"output of {site.running.server} during this test", printed))
    return report


@pytest.fixture(scope="module")
def fleet(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    """The processes that serve this module's app, started once for all of its tests."""
    sites = request.module.SITES
    with fleet_of(sites, tmp_path_factory.mktemp(sites.module)) as fleet:
        yield fleet


@pytest.fixture
def site(fleet: Fleet, request: pytest.FixtureRequest) -> Site:
    """The module's app in a place; the test runs in each of them, on each server."""
    chosen: Any = request.param
    return fleet.at(*chosen)


@pytest.fixture
def client(site: Site) -> Iterator[httpx.Client]:
    """A client that stands at the app's root, and follows no redirects."""
    with site.client() as client:
        yield client
