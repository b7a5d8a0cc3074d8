"""Notes over a database: settings from a file, a lifespan that opens what requests use, JSON, forms and files.

It is modelled on the pages of Starlette's documentation about databases, configuration, lifespans, endpoints, requests,
responses and background tasks.
"""

from __future__ import annotations

import contextlib
import csv
import hashlib
import io
import json
import sqlite3
import threading
from collections.abc import AsyncIterator, Iterable, Iterator
from pathlib import Path
from typing import Any, TypedDict

from starlette import status
from starlette.applications import Starlette
from starlette.background import BackgroundTask, BackgroundTasks
from starlette.concurrency import run_in_threadpool
from starlette.config import Config
from starlette.datastructures import CommaSeparatedStrings, Secret, UploadFile
from starlette.endpoints import HTTPEndpoint
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import (
    HTMLResponse,
    JSONResponse,
    PlainTextResponse,
    RedirectResponse,
    Response,
    StreamingResponse,
)
from starlette.routing import Mount, Route, Router

config = Config(Path(__file__).with_name("ledger.env"), env_prefix="LEDGER_")

DATABASE = config("DATABASE")
PAGE_SIZE = config("PAGE_SIZE", cast=int, default=10)
READ_ONLY = config("READ_ONLY", cast=bool, default=False)
TAGS = config("TAGS", cast=CommaSeparatedStrings)
KEY = config("KEY", cast=Secret)
MOTTO = config("MOTTO", default="Write it down")


class Store:
    """The notes, in SQLite.  What it does blocks."""

    def __init__(self, path: str) -> None:
        self.lock = threading.Lock()
        self.connection = sqlite3.connect(path, check_same_thread=False)
        self.connection.row_factory = sqlite3.Row
        self.run("CREATE TABLE IF NOT EXISTS notes (id INTEGER PRIMARY KEY AUTOINCREMENT, text TEXT, tag TEXT)")

    def run(self, statement: str, *values: Any) -> list[dict[str, Any]]:
        with self.lock, self.connection:
            return [dict(row) for row in self.connection.execute(statement, values)]

    def close(self) -> None:
        self.connection.close()


class State(TypedDict):
    store: Store
    log: list[str]


@contextlib.asynccontextmanager
async def lifespan(app: Starlette) -> AsyncIterator[State]:
    store = await run_in_threadpool(Store, DATABASE)
    app.state.motto = MOTTO
    try:
        yield {"store": store, "log": []}
    finally:
        await run_in_threadpool(store.close)


class Invalid(Exception):
    def __init__(self, field: str, problem: str) -> None:
        self.field = field
        self.problem = problem


class NeatJSONResponse(JSONResponse):
    media_type = "application/vnd.ledger+json"

    def render(self, content: Any) -> bytes:
        return json.dumps(content, indent=2, sort_keys=True).encode()


def checked(data: Any) -> tuple[str, str]:
    if not isinstance(data, dict):
        raise Invalid("", "a note is an object")
    text, tag = data.get("text"), data.get("tag", TAGS[0])
    if not isinstance(text, str) or not text.strip():
        raise Invalid("text", "a note has a text")
    if tag not in TAGS:
        raise Invalid("tag", f"a tag is one of {', '.join(TAGS)}")
    return text.strip(), tag


async def run(request: Request, statement: str, *values: Any) -> list[dict[str, Any]]:
    store: Store = request.state.store
    return await run_in_threadpool(store.run, statement, *values)


async def added(request: Request, text: str, tag: str) -> dict[str, Any]:
    (note,) = await run(request, "INSERT INTO notes (text, tag) VALUES (?, ?) RETURNING *", text, tag)
    return note


async def found(request: Request) -> dict[str, Any]:
    notes = await run(request, "SELECT * FROM notes WHERE id = ?", request.path_params["note_id"])
    if not notes:
        raise HTTPException(status_code=status.HTTP_404_NOT_FOUND, detail="there is no such note")
    return notes[0]


async def remember(log: list[str], what: str) -> None:
    log.append(what)


def remember_in_def(log: list[str], *, what: str) -> None:
    log.append(what)


class Notes(HTTPEndpoint):
    async def get(self, request: Request) -> Response:
        page = int(request.query_params.get("page", 1))
        first = (page - 1) * PAGE_SIZE
        notes = await run(request, "SELECT * FROM notes ORDER BY id LIMIT ? OFFSET ?", PAGE_SIZE, first)
        answer: dict[str, Any] = {
            "notes": [note | {"url": str(request.url_for("api:note", note_id=note["id"]))} for note in notes]
        }
        if len(notes) == PAGE_SIZE:
            answer["next"] = str(request.url.include_query_params(page=page + 1))
        return JSONResponse(answer)

    async def post(self, request: Request) -> Response:
        try:
            data = await request.json()
        except json.JSONDecodeError:
            return JSONResponse({"error": "that is no JSON"}, status_code=status.HTTP_400_BAD_REQUEST)
        note = await added(request, *checked(data))
        task = BackgroundTask(remember, request.state.log, f"added {note['id']}")
        location = request.url_for("api:note", note_id=note["id"])
        return JSONResponse(
            note, status_code=status.HTTP_201_CREATED, headers={"location": str(location)}, background=task
        )


class Note(HTTPEndpoint):
    async def get(self, request: Request) -> Response:
        return NeatJSONResponse(await found(request))

    async def put(self, request: Request) -> Response:
        note = await found(request)
        values = (*checked(await request.json()), note["id"])
        (note,) = await run(request, "UPDATE notes SET text = ?, tag = ? WHERE id = ? RETURNING *", *values)
        return JSONResponse(note)

    async def delete(self, request: Request) -> Response:
        note = await found(request)
        await run(request, "DELETE FROM notes WHERE id = ?", note["id"])
        tasks = BackgroundTasks()
        tasks.add_task(remember, request.state.log, f"deleted {note['id']}")
        tasks.add_task(remember_in_def, request.state.log, what=f"forgot {note['id']}")
        return Response(status_code=status.HTTP_204_NO_CONTENT, background=tasks)


async def page(request: Request) -> Response:
    if request.method == "POST":
        form = await request.form()
        await added(request, *checked(dict(form)))
        return RedirectResponse(url=request.url_for("page"), status_code=status.HTTP_302_FOUND)
    notes = await run(request, "SELECT * FROM notes ORDER BY id")
    items = "".join(f"<li>{note['text']} ({note['tag']})</li>" for note in notes)
    return HTMLResponse(f"<h1>{request.app.state.motto}</h1><ul>{items}</ul>")


def as_csv(notes: Iterable[dict[str, Any]]) -> Iterator[str]:
    for note in notes:
        line = io.StringIO()
        csv.writer(line).writerow([note["id"], note["text"], note["tag"]])
        yield line.getvalue()


def export(request: Request) -> Response:
    notes = request.state.store.run("SELECT * FROM notes ORDER BY id")
    headers = {"content-disposition": 'attachment; filename="notes.csv"'}
    return StreamingResponse(as_csv(notes), media_type="text/csv", headers=headers)


async def lines(request: Request) -> Response:
    async def each() -> AsyncIterator[bytes]:
        for note in await run(request, "SELECT * FROM notes ORDER BY id"):
            yield json.dumps(note).encode() + b"\n"

    return StreamingResponse(each(), status_code=status.HTTP_200_OK, media_type="application/x-ndjson")


async def take(request: Request) -> Response:
    told: list[dict[str, Any]] = []
    async with request.form(max_files=3, max_fields=5) as form:
        tag = form["tag"]
        assert isinstance(tag, str)
        for key, upload in form.multi_items():
            if isinstance(upload, UploadFile):
                content = await upload.read()
                await upload.seek(0)
                head = await upload.read(4)
                texts = content.decode().splitlines()
                notes = [await added(request, *checked({"text": text, "tag": tag})) for text in texts]
                told.append(
                    {
                        "field": key,
                        "name": upload.filename,
                        "type": upload.content_type,
                        "size": upload.size,
                        "head": head.decode(),
                        "notes": len(notes),
                    }
                )
    return JSONResponse({"tag": tag, "files": told})


async def digest(request: Request) -> Response:
    total, sha = 0, hashlib.sha256()
    async for piece in request.stream():
        total += len(piece)
        sha.update(piece)
    return PlainTextResponse(f"{total} {sha.hexdigest()}")


async def log(request: Request) -> Response:
    return JSONResponse(sorted(request.state.log))


async def settings(request: Request) -> Response:
    if request.headers.get("authorization") != f"Key {KEY}":
        raise HTTPException(status.HTTP_401_UNAUTHORIZED, headers={"www-authenticate": "Key"})
    return JSONResponse(
        {"page size": PAGE_SIZE, "read only": READ_ONLY, "tags": list(TAGS), "key": repr(KEY), "set": bool(KEY)}
    )


async def invalid(request: Request, exc: Exception) -> Response:
    assert isinstance(exc, Invalid)
    return JSONResponse({"field": exc.field, "error": exc.problem}, status_code=422)


def http_error(request: Request, exc: Exception) -> Response:
    assert isinstance(exc, HTTPException)
    return JSONResponse({"error": exc.detail}, status_code=exc.status_code, headers=exc.headers)


api = Router(
    routes=[
        Route("/notes", Notes, name="notes"),
        Route("/notes/{note_id:int}", Note, name="note"),
        Route("/import", take, methods=["POST"]),
        Route("/digest", digest, methods=["PUT"]),
        Route("/export.csv", export),
        Route("/lines", lines),
    ]
)

app = Starlette(
    routes=[
        Route("/", page, methods=["GET", "POST"]),
        Route("/log", log),
        Route("/settings", settings),
        Mount("/api", app=api, name="api"),
    ],
    exception_handlers={Invalid: invalid, HTTPException: http_error},
    lifespan=lifespan,
)
