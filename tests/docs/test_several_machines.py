"""The how-to page about several machines: three servers behind a balancer, one of which stops under load."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import pytest

from tests.docs.operating import Command, commands, started
from tests.docs.pages import Page
from tests.docs.redis_server import RedisServer, require_redis
from tests.servers.conftest import client_of
from tests.servers.launching import BOUND, Running, eventually
from tests.servers.nginx import TEMPORARY, Nginx, require_nginx

PAGE = "how-to/several-machines.md"
MACHINES = ("10.0.0.11", "10.0.0.12", "10.0.0.13")


@dataclass
class Cluster:
    """What the page describes, on one machine."""

    nginx: Nginx
    servers: list[Running]
    redis: RedisServer
    draining: Path
    client: httpx.Client


def settings() -> dict[str, str]:
    (block,) = Page(PAGE).of("ini")
    return dict(line.split("=", 1) for line in block.text.splitlines() if not line.startswith("#"))


def configured(text: str, folder: Path, ports: list[int], servers: list[Running]) -> str:
    replaced = {
        "listen 80;": f"listen 127.0.0.1:{ports[0]};",
        "events {\n": f"pid {folder}/nginx.pid;\nerror_log {folder}/nginx.log warn;\nevents {{\n",
        "http {\n": f"http {{\naccess_log {folder}/access.log;\n" + TEMPORARY.format(folder=folder),
        **{f"{name}:8000": server.address for name, server in zip(MACHINES, servers, strict=True)},
    }
    for written, here in replaced.items():
        assert text.count(written) == 1, f"once in the page: {written}"
        text = text.replace(written, here)
    return text


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    require_nginx("the page")
    require_redis("the page")
    tmp_path = tmp_path_factory.mktemp("cluster")
    Page(PAGE).write(tmp_path)
    with ExitStack() as stack:
        redis = RedisServer(tmp_path)
        stack.callback(redis.stop)
        environ = {
            **settings(),
            "REDIS_URL": redis.url,
            "PROXIES": "127.0.0.1",
            "DRAINING_FILE": str(tmp_path / "draining"),
        }
        servers = []
        for name, command in zip(MACHINES, commands(PAGE), strict=True):
            here = Command.of(command.line.replace(name, "127.0.0.1"))
            (tmp_path / name).mkdir()
            servers.append(stack.enter_context(started(here, tmp_path / name, path=tmp_path, environ=environ)))
        (block,) = Page(PAGE).of("nginx")
        nginx = Nginx(tmp_path, lambda ports: configured(block.text, tmp_path, ports, servers))
        stack.callback(nginx.stop)
        client = stack.enter_context(
            httpx.Client(base_url=f"http://127.0.0.1:{nginx.ports[0]}", timeout=BOUND, trust_env=False)
        )
        yield Cluster(nginx, servers, redis, tmp_path / "draining", client)


def test_any_server_may_answer_any_request(cluster: Cluster) -> None:
    cookie, pids, left = "", set(), []
    for number in range(1, 13):
        answer = cluster.client.get("/", headers={"cookie": cookie, "x-request-id": "forged"})
        assert answer.json()["visits"] == number, "the session goes along"
        assert "secure" in answer.headers["set-cookie"].lower()
        assert answer.json()["id"] == answer.headers["x-request-id"] != "forged", "made by nginx"
        cookie = answer.headers["set-cookie"].partition(";")[0]
        pids.add(answer.json()["pid"])
        left.append(int(answer.headers["ratelimit-remaining"]))
    assert len(pids) >= 3
    assert left[0] - left[-1] == 11, "counted for all together"

    # The older of the secrets is still accepted.
    new, old = settings()["SESSION_SECRET"].split(",")
    assert new != old


def test_a_server_that_drains_says_so_and_goes_on(cluster: Cluster) -> None:
    assert (cluster.client.get("/ready").status_code, cluster.client.get("/health").status_code) == (200, 200)
    cluster.draining.touch()
    for server in cluster.servers:
        with client_of(server) as client:
            assert (client.get("/ready").status_code, client.get("/health").status_code) == (503, 200)
            assert client.get("/", headers={"x-forwarded-for": "198.51.100.7"}).status_code == 200
    cluster.draining.unlink()


@dataclass
class Load:
    """Requests from several threads, for as long as it is wanted."""

    url: str
    statuses: list[int] = field(default_factory=list)
    failures: list[Exception] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._is_over = threading.Event()
        self._threads = [threading.Thread(target=self._ask) for _ in range(4)]

    def _ask(self) -> None:
        with httpx.Client(timeout=BOUND, trust_env=False) as client:
            while not self._is_over.is_set():
                try:
                    self.statuses.append(client.get(self.url).status_code)
                except Exception as error:
                    self.failures.append(error)

    def __enter__(self) -> Load:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._is_over.set()
        for thread in self._threads:
            thread.join()

    def more(self, number: int) -> None:
        """Wait until so many more are answered."""
        target = len(self.statuses) + number
        eventually(lambda: len(self.statuses) >= target or self.failures, f"{number} more answers")


def test_a_server_stops_under_load_and_no_request_fails(cluster: Cluster) -> None:
    with Load(f"http://127.0.0.1:{cluster.nginx.ports[0]}/health") as load:
        load.more(100)
        for server in (cluster.servers[0], cluster.servers[2]):  # one of each protocol
            server.stop()
            load.more(100)
    assert load.failures == []
    assert set(load.statuses) == {200}
    # A POST goes on as well, where a port is closed.
    assert [cluster.client.post("/orders").status_code for _ in range(6)] == [201] * 6
