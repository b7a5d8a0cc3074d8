"""A server that is told where it is mounted: apps of other frameworks know it, in every place."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import httpx
import pytest

from tests.frameworks.sites import PLACES, SERVERS, Place, all_at_once, client_at, needing, same_url, started
from tests.servers.launching import Running, Server, by_name, require

NEEDS = {"flask_app": ("flask",), "fastapi_app": ("fastapi", "python_multipart")}
KEYS = [(module, by_name(server)) for module in NEEDS for server in SERVERS]


@pytest.fixture(scope="module")
def processes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[tuple[str, Server], Running]]:
    folder = tmp_path_factory.mktemp("root-paths")

    def start(module: str, server: Server) -> Running:
        assert server.root_path is not None
        return started(server, folder / f"{module}-{server}", f"{module}:app", server.root_path, server.root_environ)

    available = [(module, server) for module, server in KEYS if not needing(server, NEEDS[module]).missing]
    with all_at_once({key: partial(start, *key) for key in available}) as running:
        yield running


@pytest.mark.parametrize("place", [place for place in PLACES if place.attribute == "app"], ids=lambda place: place.name)
@pytest.mark.parametrize(("module", "under"), KEYS, ids=str)
def test_urls_begin_with_the_root_path(
    processes: dict[tuple[str, Server], Running], module: str, under: Server, place: Place
) -> None:
    require(needing(under, NEEDS[module]))
    asked = ("/base" if under.root_in_target else "") + place.prefix
    root = f"http://{place.host}/base{place.prefix}"
    with client_at(processes[module, under], f"http://{place.host}{asked}") as client:
        told = client.get("/shop/items/7").json()
        slash = client.get("/shop/list")
    path = httpx.URL(root).raw_path.decode()
    assert same_url(told["url"], f"{root}/shop/items/7")
    assert told["here"].endswith("/shop/items/7")
    assert same_url(told["here"].removeprefix(f"http://{place.host}"), f"{path}/shop/items/7")
    assert same_url(slash.headers["location"], f"{root}/shop/list/")
