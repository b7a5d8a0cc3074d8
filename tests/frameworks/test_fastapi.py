"""A FastAPI app in every place that it can have, under a server of either protocol: always the same app."""

from __future__ import annotations

import hashlib
import json
from functools import partial
from pathlib import Path

import httpx
import pytest
from websockets.exceptions import ConnectionClosed
from websockets.typing import Subprotocol

from tests.frameworks.sites import Site, Sites, all_at_once, client_at, needing, same_url, started
from tests.servers.launching import BOUND, by_name, eventually, require

SITES = Sites("fastapi_app", needs=("fastapi", "python_multipart"))

PAYLOAD = bytes(range(256)) * 6000


def sha(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def test_a_handler_knows_where_it_is(site: Site, client: httpx.Client) -> None:
    answer = client.get("/shop/items/7", params={"q": "ü b"})
    assert answer.status_code == 200
    assert answer.headers["x-legacy"] == "fastapi"
    told = answer.json()
    assert (told["id"], told["q"], told["client"], told["pool"]) == (7, "ü b", True, "an open pool")
    assert told["root_path"] == site.root
    assert told["path"] == f"{site.root}/shop/items/7"
    assert same_url(told["here"], f"{site.url}/shop/items/7")
    assert same_url(told["url"].partition("?")[0], f"{site.url}/shop/items/7")
    assert same_url(told["base_url"], f"{site.url}/")
    assert client.get("/").json() == "the legacy index"


def test_a_def_handler_too(site: Site, client: httpx.Client) -> None:
    told = client.get("/shop/def").json()
    assert told["pool"] == "an open pool"
    assert same_url(told["here"], f"{site.root}/shop/def")


def test_the_docs_know_the_root_path(site: Site, client: httpx.Client) -> None:
    schema = client.get("/openapi.json").json()
    assert "/shop/items/{item_id}" in schema["paths"]
    servers = [unquoted["url"] for unquoted in schema.get("servers", [])]
    assert servers == ([site.root] if site.root else [])
    assert f"{site.root}/openapi.json" in client.get("/docs").text


def test_fastapi_redirects_to_its_own_slash(site: Site, client: httpx.Client) -> None:
    answer = client.get("/shop/list?a=1")
    assert answer.status_code == 307
    assert same_url(answer.headers["location"], f"{site.url}/shop/list/?a=1")
    assert client.get("/shop/list", follow_redirects=True).json() == "the list"


@pytest.mark.parametrize("path", ["/session", "/thread-session"])
def test_dependencies_are_cleaned_up_once(site: Site, client: httpx.Client, token: str, path: str) -> None:
    assert client.get(path, params={"token": token}).json().startswith("a session")
    site.running.event("closed", token=token)
    client.get("/")
    for kind in ("opened", "closed"):
        assert len(site.running.events(kind, token=token)) == 1


def test_dependencies_are_cleaned_up_after_an_error(site: Site, client: httpx.Client, token: str) -> None:
    answer = client.get("/session-refused", params={"token": token})
    assert (answer.status_code, answer.json()) == (403, {"detail": "not you"})
    assert site.running.event("rolled back", token=token)["status"] == 403
    site.running.event("closed", token=token)
    assert len(site.running.events("closed", token=token)) == 1


def test_a_stream_keeps_its_dependencies(site: Site, client: httpx.Client, token: str) -> None:
    assert client.get("/stream", params={"token": token}).text == "0\n1\n2\n3\n4\n"
    site.running.event("closed", token=token)
    assert len(site.running.events("closed", token=token)) == 1


def test_a_stream_ends_when_its_client_has_gone(site: Site, client: httpx.Client, token: str) -> None:
    with client.stream("GET", "/endless", params={"token": token}) as answer:
        assert next(answer.iter_raw())[:1] == b"x"

    def is_closed() -> bool:
        # Where it is cancelled within FastAPI's own middleware, it is closed by this, also with nothing around FastAPI.
        client.get("/collect")
        return bool(site.running.events("generator closed", token=token))

    eventually(is_closed, "the generator is closed")
    assert len(site.running.events("generator closed", token=token)) == 1


def test_a_background_task_runs_once(site: Site, client: httpx.Client, token: str) -> None:
    assert client.get("/background", params={"token": token}).json() == "done, nearly"
    site.running.event("background", token=token)
    client.get("/")
    assert len(site.running.events("background", token=token)) == 1


def test_a_file_is_uploaded(client: httpx.Client) -> None:
    answer = client.post("/upload", files={"file": ("bücher.bin", PAYLOAD, "x/y")}, data={"note": "größer"})
    assert answer.json() == {
        "name": "bücher.bin",
        "type": "x/y",
        "size": len(PAYLOAD),
        "sha": sha(PAYLOAD),
        "note": "größer",
    }


@pytest.mark.parametrize("chunked", [False, True])
@pytest.mark.parametrize("size", [0, 1, 1_500_000])
def test_a_body_arrives_whole(client: httpx.Client, chunked: bool, size: int) -> None:
    data = PAYLOAD[:size]
    content = iter([data[:1000], data[1000:]]) if chunked else data
    assert client.put("/digest", content=content).json() == sha(data)


def test_models_are_validated(client: httpx.Client) -> None:
    assert client.post("/shop/items", json={"name": "ü"}).json() == {"name": "ü", "price": 1.0}
    wrong = client.post("/shop/items", json={"price": "x"})
    assert wrong.status_code == 422
    assert {tuple(error["loc"]) for error in wrong.json()["detail"]} == {("body", "name"), ("body", "price")}


def test_the_error_pages_are_fastapis(site: Site, client: httpx.Client) -> None:
    missing = client.get("/nowhere")
    assert (missing.status_code, missing.json()) == (404, {"detail": "Not Found"})
    wrong = client.delete("/shop/items/1")
    assert (wrong.status_code, wrong.json()) == (405, {"detail": "Method Not Allowed"})
    assert wrong.headers["allow"] == "GET"
    sold_out = client.get("/shop/sold-out")
    assert sold_out.status_code == 409
    assert same_url(sold_out.json()["error"], f"{site.root}/shop/sold-out: out of stock")


def test_an_error_is_answered_500_and_logged(site: Site, client: httpx.Client) -> None:
    answer = client.get("/boom")
    assert (answer.status_code, answer.text) == (500, "Internal Server Error")
    eventually(lambda: "LookupError: boom" in site.running.output, "the traceback is printed")


def test_what_was_moved_is_dualroutes(site: Site, client: httpx.Client) -> None:
    with site.at_the_host() as outside:
        answer = outside.get("/moved")
    assert answer.status_code == (200 if site.place.name in ("fallback", "mount", "around", "deep") else 404)
    assert answer.headers.get("x-legacy") == (None if answer.status_code == 200 else "fastapi")


@pytest.mark.protocol("wsgi")
def test_a_websocket_is_refused_where_the_server_has_none(site: Site, token: str) -> None:
    assert site.refused(f"/ws/{token}") == 501


@pytest.mark.protocol("asgi")
def test_a_websocket_talks_where_the_server_has_them(site: Site, token: str) -> None:
    with site.websocket(f"/ws/{token}?q=%C3%BC", subprotocols=[Subprotocol("chat")]) as client:
        assert client.subprotocol == "chat"
        told = json.loads(client.recv(timeout=BOUND))
        assert same_url(told.pop("url"), f"ws{site.url.removeprefix('http')}/ws/{token}?q=%C3%BC")
        assert told == {"room": token, "pool": "an open pool", "q": "ü"}
        for message in ("hello", "ü 🐍", "x" * 100_000):
            client.send(message)
            assert client.recv(timeout=BOUND) == f"echo {message}"
        client.send("close")
        with pytest.raises(ConnectionClosed):
            client.recv(timeout=BOUND)
        assert (client.close_code, client.close_reason) == (4001, "as told")
    site.running.event("websocket ended", room=token)


@pytest.mark.protocol("asgi")
def test_a_websocket_that_its_client_closes_ends(site: Site, token: str) -> None:
    with site.websocket(f"/ws/{token}") as client:
        client.recv(timeout=BOUND)
    site.running.event("websocket ended", room=token)
    assert site.refused("/nowhere") == 403


def test_the_start_up_ran_once_in_the_worker(site: Site, client: httpx.Client) -> None:
    client.get("/")
    assert len(site.running.events("startup")) == 1
    assert site.running.events("shutdown") == []


@pytest.mark.parametrize("attribute", ["app", "straight"])
def test_start_up_and_shutdown_run_once_in_each_worker(tmp_path: Path, attribute: str) -> None:
    cases = {
        "one worker": (by_name("gunicorn-gthread"), ()),
        "two workers": (by_name("gunicorn-gthread"), ("--workers", "2")),
        "preload": (by_name("gunicorn-preload"), ()),
        "uvicorn": (by_name("uvicorn"), ()),
    }
    for server, _ in cases.values():
        require(needing(server, SITES.needs))
    target = f"fastapi_app:{attribute}"
    starts = {
        case: partial(started, server, tmp_path / case, target, options) for case, (server, options) in cases.items()
    }
    with all_at_once(starts) as running:
        for process in running.values():
            with client_at(process, process.url) as client:
                for _ in range(5):
                    assert client.get("/shop/def").json()["pool"] == "an open pool"
    for case, process in running.items():
        pids = [event["pid"] for event in process.events("startup")]
        assert pids, case
        assert len(set(pids)) == len(pids), case
        assert sorted(event["pid"] for event in process.events("shutdown")) == sorted(pids), case
        assert (process.process.pid in pids) == (case == "uvicorn")
