"""The how-to page about a library's endpoints, and its example in each host, on a real server."""

from __future__ import annotations

import asyncio
import importlib
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import pytest

from dualroute import PlainTextResponse, Route, Router, SyncRequest
from tests.conftest import Serve
from tests.docs.pages import Page, importing
from tests.docs.steps import EXAMPLES, require_quoted, run_python, run_tests
from tests.frameworks.sites import all_at_once, client_at, needing
from tests.servers.launching import Running, Server, by_name, require

PAGE = Page("how-to/library.md")
GUNICORN, UVICORN = map(by_name, ("gunicorn-gthread", "uvicorn"))
AT = "http://127.0.0.1:8000"


@dataclass(frozen=True)
class Host:
    """A host of the example: the object that a server is given, what it needs, and where the pages are."""

    target: str
    server: Server
    needs: tuple[str, ...] = ()
    prefix: str = "/status"

    def __str__(self) -> str:
        return f"{self.target.partition('.')[2]}-{self.server}"

    def started(self, folder: Path) -> Running:
        own = folder / str(self)
        own.mkdir()
        return Running(self.server, own, self.target, path=EXAMPLES)


HOSTS = (
    Host("library.flask_host:app", GUNICORN, ("flask",)),
    Host("library.django_host:wsgi", GUNICORN, ("django",)),
    Host("library.django_host:asgi", UVICORN, ("django",)),
    Host("library.fastapi_host:app", UVICORN, ("fastapi",)),
    Host("library.starlette_host:app", UVICORN, ("starlette",)),
    Host("library.dualroute_host:app", GUNICORN),
    Host("library.dualroute_host:app", UVICORN),
    Host("library.shop:status", GUNICORN, prefix=""),
    Host("library.shop:status", UVICORN, prefix=""),
)
every_host = pytest.mark.parametrize("host", HOSTS, ids=str)


@pytest.fixture(scope="module")
def processes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[Host, Running]]:
    folder = tmp_path_factory.mktemp("hosts")
    present = [host for host in HOSTS if not needing(host.server, host.needs).missing]
    with all_at_once({host: partial(host.started, folder) for host in present}) as running:
        yield running


@pytest.fixture
def running(processes: dict[Host, Running], host: Host) -> Running:
    require(needing(host.server, host.needs))
    return processes[host]


@every_host
def test_both_endpoints_answer_in_each_host(running: Running, host: Host) -> None:
    health_shown, metrics_shown = (block.text for block in PAGE.of("text"))
    if not host.prefix:
        health_shown = health_shown.replace("/status/", "/")
    with client_at(running, AT + host.prefix) as client:
        health = client.get("/health")
        assert (health.status_code, health.headers["cache-control"]) == (200, "no-store")
        assert health.text == health_shown.rstrip()
        metrics = client.get("/metrics")
        assert metrics.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
        assert metrics.text == metrics_shown
        assert client.head("/health").status_code == 200

        one = client.get(health.json()["checks"]["supplier"]["url"])
        assert one.json() == {"ok": True, "error": None}
        assert 'check="supplier",outcome="ok"} 3' in client.get("/metrics").text  # HEAD has counted too
        assert client.get("/health/nothing").status_code == 404
        assert f'href="{AT}{host.prefix}/metrics"' in client.get("/").text
        assert client.post("/health").status_code == 405


@every_host
def test_the_host_goes_on_beside_them(running: Running, host: Host) -> None:
    if not host.prefix:
        return
    with client_at(running, AT) as client:
        assert client.get("/").text.strip('"') == "the shop"
        assert client.get("/health").status_code == 404


@every_host
def test_no_lifespan_is_missed(running: Running, host: Host) -> None:
    assert "WARNING" not in running.output
    assert "Traceback" not in running.output


@pytest.fixture
def statuspages() -> Iterator[Any]:
    with importing(EXAMPLES) as import_module:
        yield import_module("statuspages")


def test_what_is_broken_is_told_and_counted(serve: Serve, statuspages: Any) -> None:
    parser = importlib.import_module("prometheus_client.parser")

    def broken() -> None:
        raise RuntimeError('no "connection"\n')

    async def silent() -> None:
        raise LookupError

    pages = statuspages.StatusPages(checks={"database": broken, "queue": silent}, gauges={"depth": lambda: 1.5})
    client = serve(pages, root_path="/a b")
    answer = client.get("/health")
    assert answer.status_code == 503
    checks = answer.json()["checks"]
    assert {name: told["error"] for name, told in checks.items()} == {
        "database": 'no "connection"\n',
        "queue": "LookupError",
    }
    assert checks["queue"]["url"] == "http://testserver/a%20b/health/queue"
    assert client.get("/health/queue").status_code == 503
    families = {family.name: family for family in parser.text_string_to_metric_families(client.get("/metrics").text)}
    assert {(sample.labels["check"], sample.value) for sample in families["statuspages_checks"].samples} == {
        ("database", 1.0),
        ("queue", 2.0),
    }
    assert [sample.value for sample in families["depth"].samples] == [1.5]


def test_checks_that_take_too_long_are_503(serve: Serve, statuspages: Any) -> None:
    async def endless() -> None:
        await asyncio.sleep(3600)

    client = serve(statuspages.StatusPages(checks={"endless": endless}, timeout=0.05))
    assert client.get("/health").status_code == 503


def test_two_of_them_have_nothing_in_common(serve: Serve, statuspages: Any) -> None:
    one, other = (statuspages.StatusPages(checks={"a": lambda: None}) for _ in range(2))
    assert serve(one).get("/health").status_code == 200
    assert 'outcome="ok"' in serve(one).get("/metrics").text
    assert 'outcome="ok"' not in serve(other).get("/metrics").text


@pytest.mark.parametrize("options", [{"checks": {"a/b": lambda: None}}, {"gauges": {"a b": lambda: 1}}])
def test_names_that_can_not_be_are_refused(statuspages: Any, options: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"'a.b'"):
        statuspages.StatusPages(**options)


def test_a_lifespan_starts_late_in_a_host_that_runs_none(caplog: pytest.LogCaptureFixture) -> None:
    starlette = importlib.import_module("starlette.applications")
    routing = importlib.import_module("starlette.routing")

    @contextmanager
    def lifespan(router: Router) -> Iterator[dict[str, Any]]:
        yield {"opened": "yes"}

    def told(request: SyncRequest) -> PlainTextResponse:
        return PlainTextResponse(request.state.opened)

    async def ask() -> str:
        pages = Router([Route("/", told)], lifespan=lifespan)
        transport = httpx.ASGITransport(starlette.Starlette(routes=[routing.Mount("/in", app=pages)]))
        async with httpx.AsyncClient(transport=transport, base_url=AT) as client:
            return (await client.get("/in/")).text

    assert asyncio.run(ask()) == "yes"
    assert "the server has run no lifespan" in caplog.text


def test_the_library_needs_no_server_and_no_framework() -> None:
    (metadata,) = (tomllib.loads(block.text) for block in PAGE.of("toml"))
    assert metadata["project"]["dependencies"] == ["dualroute"]
    code = "import sys, statuspages; print(sorted({'flask', 'django', 'starlette', 'fastapi'} & set(sys.modules)))"
    assert run_python(EXAMPLES, "-c", code) == "[]\n"


def test_the_library_s_own_test_passes(tmp_path: Path) -> None:
    PAGE.write(tmp_path)
    for folder in ("statuspages", "library"):  # the page's are parts of them
        for path in (tmp_path / folder).iterdir():
            path.unlink()
        (tmp_path / folder).rmdir()
    (tmp_path / "statuspages").symlink_to(EXAMPLES / "statuspages", target_is_directory=True)
    run_tests(tmp_path, "test_statuspages.py", passed=2)


def test_the_commands_are_those_of_the_hosts() -> None:
    commands = [line.split() for block in PAGE.of("sh") for line in block.text.splitlines()]
    assert commands == [["gunicorn", "library.shop:status"], ["uvicorn", "library.shop:status"]]
    told = (EXAMPLES / "library" / "__init__.py").read_text()
    for host in HOSTS:
        assert host.target in told


def test_what_is_quoted_is_in_the_example() -> None:
    require_quoted(PAGE, 11)
