"""Notes over a database, with settings, a lifespan, JSON, forms and files: under Starlette, and ported."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator

import pytest

from tests.porting.asking import GENERAL, Difference, Script, Visitor
from tests.porting.conftest import Compare
from tests.porting.sides import STARLETTE, Side
from tests.servers.launching import eventually

APP = "ledger"

DIFFERENCES = (
    *GENERAL,
    Difference(
        "A redirect adds a slash where that leads somewhere; Starlette's leads to a 404 of the mount.",
        ["status", "location", "body", "content-type", "content-length"],
        lambda theirs, ours: (theirs["status"], ours["status"], ours["body"]) == (307, 404, b'{"error":"Not Found"}'),
        asked="GET /api",
    ),
    Difference(
        "A form that is too much is 413.",
        ["status", "body"],
        lambda theirs, ours: (theirs["status"], ours["status"]) == (400, 413) and b"may have 3 files" in ours["body"],
        asked="POST /api/import",
    ),
    Difference(
        "A form that can't be read is told of in other words.",
        ["body"],
        lambda theirs, ours: theirs["status"] == ours["status"] == 400 and b"no boundary" in ours["body"],
        asked="POST /api/import",
    ),
    Difference(
        "A quote in a file's name is a quote; browsers write %22 (the HTML standard's multipart form data).",
        ["body"],
        lambda theirs, ours: theirs["body"].replace(b"%22", rb"\"") == ours["body"],
        asked="POST /api/import",
    ),
)


def notes(visit: Visitor) -> None:
    visit.get("/api/notes", 200, '{"notes":[]}')
    made = visit.post("/api/notes", 201, '"text":"Buy a lamp"', json={"text": " Buy a lamp ", "tag": "home"})
    assert made.headers["location"] == f"{visit.base}/api/notes/1"
    visit.post("/api/notes", 201, '"tag":"home"', json={"text": "Größe 42 €"})
    visit.post("/api/notes", 201, '"tag":"far away"', json={"text": "Pack", "tag": "far away"})
    visit.get("/api/notes", 200, '"next":"{base}/api/notes?page=2"')
    visit.get("/api/notes?x=%20&page=2", 200, '"url":"{base}/api/notes/3"')
    neat = visit.get("/api/notes/2", 200, '  "tag": "home"')
    assert neat.headers["content-type"] == "application/vnd.ledger+json"
    visit("HEAD", "/api/notes/2", 200)
    visit("PUT", "/api/notes/2", 200, '"text":"new"', json={"text": "new", "tag": "work"})
    gone = visit("DELETE", "/api/notes/2", 204)
    assert "content-length" not in gone.headers
    visit.get("/api/notes/2", 404, '{"error":"there is no such note"}')
    visit("PUT", "/api/notes/2", 404, json={})
    eventually(lambda: len(visit.client.get("/log").json()) == 5, "all background tasks have run")
    visit.get("/log", 200, '["added 1","added 2","added 3","deleted 2","forgot 2"]')


def mistakes(visit: Visitor) -> None:
    visit.post("/api/notes", 400, '{"error":"that is no JSON"}', content=b"{")
    visit.post("/api/notes", 400, '{"error":"that is no JSON"}', content=b"")
    visit.post("/api/notes", 422, '"field":""', json=[])
    visit.post("/api/notes", 422, '"error":"a note has a text"', json={"text": " "})
    visit.post("/api/notes", 422, "home, work, far away", json={"text": "x", "tag": "y"})
    visit.get("/api/notes/x", 404, '{"error":"Not Found"}')
    visit.get("/api/notes/-1", 404, '{"error":"Not Found"}')
    visit.get("/api", None)
    visit.get("/nowhere", 404, '{"error":"Not Found"}')
    visit("PATCH", "/api/notes/1", 405, '{"error":"Method Not Allowed"}')
    visit("DELETE", "/api/export.csv", 405)
    visit.get("/api/notes?page=x", 500, "Internal Server Error")


def pages(visit: Visitor) -> None:
    visit.get("/", 200, "<h1>Write it down</h1>")
    moved = visit.post("/", 302, data={"text": "By a form", "tag": "work"})
    assert moved.headers["location"] == f"{visit.base}/"
    visit.get("/", 200, "<li>By a form (work)</li>")
    visit.post("/", 422, '"field":"text"', data={"tag": "work"})
    visit.post("/", 422, '"field":"text"', content=b"text=x", headers={"content-type": "text/plain"})


def streams(visit: Visitor) -> None:
    export = visit.get("/api/export.csv", 200, ",By a form,work\r\n")
    assert export.headers["content-type"] == "text/csv; charset=utf-8"
    visit("HEAD", "/api/export.csv", 200)
    visit.get("/api/lines", 200, '"text": "By a form"')
    whole = b"z" * 300_000
    visit("PUT", "/api/digest", 200, f"300000 {hashlib.sha256(whole).hexdigest()}", content=whole)
    visit("PUT", "/api/digest", 200, f"300000 {hashlib.sha256(whole).hexdigest()}", content=pieces(whole))
    visit("PUT", "/api/digest", 200, f"0 {hashlib.sha256().hexdigest()}")


def pieces(data: bytes) -> Iterator[bytes]:
    for start in range(0, len(data), 50_000):
        yield data[start : start + 50_000]


def uploads(visit: Visitor) -> None:
    files = [
        ("list", ("liste ü.txt", b"eins\nzwei\n", "text/plain; charset=utf-8")),
        ("list", ("empty", b"", "application/octet-stream")),
        ("more", ('a "b"/../c', b"three", "text/x-list")),
    ]
    visit.post("/api/import", 200, '"size":10,"head":"eins","notes":2', data={"tag": "home"}, files=files)
    visit.post("/api/import", None, data={"tag": "home"}, files=[*files, files[0]])
    visit.post("/api/import", 400, content=b"none", headers={"content-type": "multipart/form-data"})
    visit.get("/api/import", 405)


def settings(visit: Visitor) -> None:
    refused = visit.get("/settings", 401, '{"error":"Unauthorized"}')
    assert refused.headers["www-authenticate"] == "Key"
    visit.get(
        "/settings", 200, '"tags":["home","work","far away"],"key":"Secret(', headers={"authorization": "Key sesame"}
    )


SCRIPTS = (notes, mistakes, pages, streams, uploads, settings)


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda script: script.__name__)
def test_the_notes_answer_as_under_starlette(compare: Compare, script: Script) -> None:
    compare(script)


def test_each_difference_that_is_explained_is_there(side: Side, compare: Compare) -> None:
    needed = set[Difference]().union(*map(compare, SCRIPTS))
    assert needed == (set() if side.name == STARLETTE else set(DIFFERENCES))
