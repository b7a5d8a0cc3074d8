"""The notes example, served by gunicorn and uvicorn at once over one database."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.servers.conftest import client_of
from tests.servers.launching import BOUND, Running, by_name, running
from tests.servers.wire import opened

EXAMPLES = Path(__file__).parents[2] / "docs" / "examples"


@pytest.fixture(scope="module")
def notes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Running, Running]]:
    folder = tmp_path_factory.mktemp("notes")
    options: dict[str, Any] = {
        "target": "notes:app",
        "path": EXAMPLES,
        "environ": {"NOTES_DB": str(folder / "notes.db")},
    }
    for name in ("gunicorn", "uvicorn"):
        (folder / name).mkdir()
    with_gunicorn = running(by_name("gunicorn-gthread"), folder / "gunicorn", **options)
    with_uvicorn = running(by_name("uvicorn"), folder / "uvicorn", **options)
    yield next(with_gunicorn), next(with_uvicorn)
    for process in (with_gunicorn, with_uvicorn):
        next(process, None)


@pytest.fixture
def clients(notes: tuple[Running, Running]) -> Iterator[tuple[httpx.Client, httpx.Client]]:
    with client_of(notes[0]) as first, client_of(notes[1]) as second:
        yield first, second


def facts(answer: httpx.Response) -> tuple[int, bytes, str | None, str | None, str | None]:
    headers = answer.headers
    location = headers.get("location")
    return (
        answer.status_code,
        answer.content,
        headers.get("content-type"),
        headers.get("allow"),
        location and httpx.URL(location).path,
    )


def test_a_note_made_at_one_is_there_at_the_other(clients: tuple[httpx.Client, httpx.Client]) -> None:
    for here, there in (clients, clients[::-1]):
        made = here.post("/api/notes", json={"title": "Grüße", "text": "<b>hier</b>"})
        assert made.status_code == 201
        assert made.json()["title"] == "Grüße"
        location = made.headers["location"]
        assert location.startswith(str(here.base_url))
        path = httpx.URL(location).path
        assert there.get(path).json() == made.json()
        assert there.patch(path, json={"title": "neu"}).json()["title"] == "neu"
        assert here.get(path).json()["title"] == "neu"
        assert here.put(path, json={"title": "ganz neu", "text": ""}).json()["text"] == ""
        assert there.delete(path).status_code == 204
        assert here.get(path).status_code == 404


def test_both_answer_alike(clients: tuple[httpx.Client, httpx.Client]) -> None:
    gunicorn, uvicorn = clients
    made = gunicorn.post("/api/notes", json={"title": "<i>kursiv</i> & mehr", "text": "Zeile\nZeile"}).json()
    requests: list[tuple[str, str, dict[str, Any]]] = [
        ("GET", "/", {}),
        ("HEAD", "/", {}),
        ("POST", "/", {}),
        ("GET", "/api/notes", {}),
        ("GET", "/api/notes/", {}),
        ("OPTIONS", "/api/notes", {}),
        ("DELETE", "/api/notes", {}),
        ("POST", "/api/notes", {"json": {"title": ""}}),
        ("POST", "/api/notes", {"json": [1]}),
        ("POST", "/api/notes", {"json": {"title": "a", "other": 1}}),
        ("POST", "/api/notes", {"content": b"{"}),
        ("POST", "/api/notes", {"content": b"\xff"}),
        ("GET", f"/api/notes/{made['id']}", {}),
        ("HEAD", f"/api/notes/{made['id']}", {}),
        ("PUT", f"/api/notes/{made['id']}", {"json": {"title": "<b>fett</b> & mehr", "text": "b"}}),
        ("PATCH", f"/api/notes/{made['id']}", {"json": {"text": "c"}}),
        ("PATCH", f"/api/notes/{made['id']}", {"json": {"text": 1}}),
        ("GET", "/api/notes/999999", {}),
        ("DELETE", "/api/notes/999999", {}),
        ("GET", "/api/notes/x", {}),
        ("GET", "/nowhere", {}),
        ("GET", "/%ff", {}),
        ("GET", "/%00", {}),
        ("GET", "/ws", {}),
    ]
    for method, path, options in requests:
        first, second = (client.request(method, path, **options) for client in (gunicorn, uvicorn))
        assert facts(first) == facts(second), (method, path)
        assert first.status_code < 500
    assert "&lt;b&gt;fett&lt;/b&gt; &amp; mehr" in uvicorn.get("/").text


def test_notes_made_at_either_are_announced_over_the_websocket(
    notes: tuple[Running, Running], clients: tuple[httpx.Client, httpx.Client]
) -> None:
    uvicorn = notes[1]
    newest = max((note["id"] for note in clients[0].get("/api/notes").json()), default=0)
    with opened(uvicorn, f"/ws?after={newest}") as websocket:
        for client in clients:
            made = client.post("/api/notes", json={"title": f"from {client.base_url}"}).json()
            assert json.loads(websocket.recv(timeout=BOUND)) == made
