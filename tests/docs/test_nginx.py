"""The how-to page about nginx: its configuration in front of its two servers, all of them real."""

from __future__ import annotations

import re
import shutil
import socket
import ssl
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
from websockets.exceptions import InvalidStatus
from websockets.sync.client import ClientConnection, connect

from tests.docs.operating import Command, OnSocket, commands, started
from tests.docs.pages import Page
from tests.servers.launching import BOUND
from tests.servers.nginx import TEMPORARY, Nginx, require_nginx

PAGE = "how-to/nginx.md"
MIB = 1024 * 1024


@dataclass
class Site:
    """The site of the page, whose name leads to this machine."""

    nginx: Nginx
    client: httpx.Client

    def websocket(self, path: str, **options: Any) -> ClientConnection:
        websocket: ClientConnection = connect(
            f"wss://example.org{path}",
            sock=socket.create_connection((self.nginx.host, self.nginx.ports[1]), BOUND),
            ssl=_unverified(),
            open_timeout=BOUND,
            **options,
        )
        return websocket


def _unverified() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def make_certificate(folder: Path) -> None:
    subprocess.run(
        [
            *("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"),
            *("-subj", "/CN=example.org", "-days", "2"),
            *("-keyout", str(folder / "example.org.key"), "-out", str(folder / "example.org.crt")),
        ],
        check=True,
        capture_output=True,
    )


def configured(text: str, folder: Path, ports: list[int]) -> str:
    """Return a configuration with ports and folders of this machine's, and nothing else replaced."""
    for written, here in (
        ("listen 80;", f"listen 127.0.0.1:{ports[0]};"),
        ("listen 443 ssl;", f"listen 127.0.0.1:{ports[1]} ssl;"),
        ("/etc/nginx/certificates/", f"{folder}/"),
        ("/run/nginx.pid", f"{folder}/nginx.pid"),
        ("/var/log/nginx/error.log", f"{folder}/nginx.log"),
        ("/var/log/nginx/access.log", f"{folder}/access.log"),
        ("unix:/run/app/gunicorn.sock", f"unix:{folder}/wsgi/gunicorn.sock"),
        ("unix:/run/app/uvicorn.sock", f"unix:{folder}/asgi/uvicorn.sock"),
        ("http {\n", "http {\n" + TEMPORARY.format(folder=folder)),
    ):
        assert written in text, f"in the page: {written}"
        text = text.replace(written, here)
    return text


def on_socket(command: Command) -> Command:
    # Relative to where it runs, since the path of a socket has to be short.
    return Command.of(command.line.replace("/run/app/", ""))


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    require_nginx("the page")
    if shutil.which("openssl") is None:
        pytest.skip("the page needs openssl, for a certificate")
    folder = tmp_path_factory.mktemp("site")
    Page(PAGE).write(folder)
    make_certificate(folder)
    wsgi, asgi = commands(PAGE)
    (block,) = Page(PAGE).of("nginx")
    with ExitStack() as stack:
        for name, command in (("wsgi", wsgi), ("asgi", asgi)):
            (folder / name).mkdir()
            stack.enter_context(started(on_socket(command), folder / name, path=folder, kind=OnSocket))
        nginx = Nginx(folder, lambda ports: configured(block.text, folder, ports), number=2)
        stack.callback(nginx.stop)
        client = stack.enter_context(
            httpx.Client(
                base_url=f"https://127.0.0.1:{nginx.ports[1]}",
                headers={"host": "example.org"},
                verify=False,
                timeout=BOUND,
                trust_env=False,
            )
        )
        yield Site(nginx, client)


def test_links_have_the_scheme_and_the_host_that_the_client_asked(site: Site) -> None:
    answer = site.client.get("/").json()
    assert answer["link"] == "https://example.org/uploads"
    assert answer["by"] == "WSGI"


def test_plain_http_leads_to_https(site: Site) -> None:
    url = f"http://127.0.0.1:{site.nginx.ports[0]}/shop/?a=b"
    answer = httpx.get(url, headers={"host": "example.org"}, trust_env=False)
    assert (answer.status_code, answer.headers["location"]) == (301, "https://example.org/shop/?a=b")


def test_a_prefix_is_cut_off_and_is_in_links(site: Site) -> None:
    assert site.client.get("/shop/").json()["link"] == "https://example.org/shop/uploads"


@pytest.mark.parametrize("path", ["/", "/shop/"])
def test_a_client_is_not_believed_about_itself(site: Site, path: str) -> None:
    forged = {
        "x-forwarded-for": "198.51.100.7",
        "x-forwarded-proto": "http",
        "x-forwarded-host": "evil.example",
        "x-forwarded-prefix": "/evil",
        "forwarded": "for=198.51.100.7;host=evil.example",
        "x-request-id": "forged",
    }
    answer = site.client.get(path, headers=forged)
    assert answer.json() == {**site.client.get(path).json(), "id": answer.headers["x-request-id"]}
    assert answer.json()["client"] == "127.0.0.1"
    assert answer.headers["x-request-id"] != "forged"


def test_another_host_is_refused(site: Site) -> None:
    assert site.client.get("/", headers={"host": "evil.example"}).status_code == 400


def test_the_id_is_the_one_of_nginx_s_log(site: Site) -> None:
    answer = site.client.get("/")
    assert re.fullmatch("[0-9a-f]{32}", answer.headers["x-request-id"])
    assert answer.headers["x-request-id"] in (site.nginx.folder / "access.log").read_text()


def test_a_websocket_works_and_knows_its_client(site: Site) -> None:
    with site.websocket("/live/echo", additional_headers={"x-forwarded-for": "198.51.100.7"}) as websocket:
        websocket.send("hello")
        assert websocket.recv(timeout=BOUND) == '{"text":"hello","client":"127.0.0.1"}'


def test_a_handshake_that_reaches_gunicorn_is_501(site: Site) -> None:
    with pytest.raises(InvalidStatus) as refused:
        site.websocket("/shop/live/echo")
    assert refused.value.response.status_code == 501


def test_events_arrive_at_once(site: Site) -> None:
    # The stream never ends, and is far smaller than any buffer.
    with site.client.stream("GET", "/events", headers={"last-event-id": "6"}) as answer:
        assert answer.headers["content-type"].startswith("text/event-stream")
        assert answer.headers["strict-transport-security"]
        lines = (line for line in answer.iter_lines() if line.startswith("data"))
        assert [next(lines), next(lines)] == ['data: {"number":7}', 'data: {"number":8}']


def test_a_large_upload_goes_through_as_it_comes(site: Site) -> None:
    def pieces() -> Iterator[bytes]:
        for _ in range(8):
            yield b"x" * MIB

    assert site.client.post("/uploads", content=b"x" * 8 * MIB).json() == {"size": 8 * MIB}
    assert site.client.post("/uploads", content=pieces()).json() == {"size": 8 * MIB}


@pytest.mark.parametrize(("path", "size"), [("/uploads", 20 * MIB + 1), ("/", MIB + 1)])
def test_beyond_the_limit_is_413(site: Site, path: str, size: int) -> None:
    try:
        answer = site.client.post(path, content=b"x" * size)
    except httpx.WriteError:
        pytest.fail("nginx cut the connection instead of answering")
    assert answer.status_code == 413
    assert "nginx" in answer.text, "the app never hears of it"


def test_the_limit_of_a_body_without_a_length_is_counted(site: Site) -> None:
    def pieces() -> Iterator[bytes]:
        for _ in range(21):
            yield b"x" * MIB

    assert site.client.post("/uploads", content=pieces()).status_code == 413
