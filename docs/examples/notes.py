"""Notes: a small application, served over WSGI and ASGI by one and the same `app`.

    dualroute run docs/examples/notes.py

- a JSON API at ``/api/notes``, kept in SQLite
- a page at ``/`` that lists the notes and has a form for new ones
- a websocket at ``/ws`` that announces new notes; websockets exist on ASGI only, everything else is the same on both

The notes are in the file that the environment variable NOTES_DB names, ``notes.db`` in the working directory if it
names none.  All processes of both servers share it.
"""

import asyncio
import contextlib
import html
import os
import sqlite3
from collections.abc import Iterator
from typing import Any

from dualroute import DualRoute, HTTPEndpoint, Route, SyncRequest, WebSocket, WebSocketRoute
from dualroute.exceptions import HTTPException, WebSocketDisconnect
from dualroute.responses import HTMLResponse, JSONResponse, Response

DATABASE = os.path.abspath(os.environ.get("NOTES_DB") or "notes.db")

# AUTOINCREMENT never gives an id twice, even after a delete, so "newer" always means "a greater id".
SCHEMA = """
CREATE TABLE IF NOT EXISTS notes (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    title TEXT NOT NULL,
    text TEXT NOT NULL,
    created TEXT NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%SZ', 'now'))
)
"""

MAX_LENGTHS = {"title": 200, "text": 10_000}

# SQLite calls block, so the handlers that use it are `def`: dualroute runs them in a thread where the server is
# asynchronous, and just calls them where it is not.


@contextlib.contextmanager
def database() -> Iterator[sqlite3.Connection]:
    """Open the database for one transaction: committed at the end, rolled back on an exception."""
    connection = sqlite3.connect(DATABASE, timeout=10)  # seconds to wait while another process writes
    try:
        connection.row_factory = sqlite3.Row
        # In WAL mode readers and the writer don't wait for each other.  The file remembers the mode; of two processes
        # that set it at the same moment one may fail, and finds it done.
        with contextlib.suppress(sqlite3.OperationalError):
            connection.execute("PRAGMA journal_mode = WAL")
        connection.execute(SCHEMA)
        with connection:
            yield connection
    finally:
        connection.close()


def notes_after(note_id: int = 0) -> list[dict[str, Any]]:
    """Return the notes with a greater id, oldest first."""
    with database() as db:
        return [dict(row) for row in db.execute("SELECT * FROM notes WHERE id > ? ORDER BY id", [note_id])]


def newest_id() -> int:
    """Return the id of the newest note, or 0."""
    with database() as db:
        return int(db.execute("SELECT coalesce(max(id), 0) FROM notes").fetchone()[0])


def read_note(db: sqlite3.Connection, note_id: int) -> dict[str, Any]:
    """Return a note, or answer 404."""
    # Bound as text, since a path may hold more digits than an SQLite integer; compared as a number all the same.
    row = db.execute("SELECT * FROM notes WHERE id = ?", [str(note_id)]).fetchone()
    if row is None:
        raise HTTPException(404, f"There is no note {note_id}")
    return dict(row)


def validated(data: Any, *, partial: bool = False) -> dict[str, str]:
    """Return the fields of a note as a client sent them, or answer 422.  With `partial`, some may be left out."""
    if not isinstance(data, dict):
        raise HTTPException(422, "A note is a JSON object")
    if unknown := data.keys() - MAX_LENGTHS.keys():
        raise HTTPException(422, f"A note has no field {sorted(unknown)[0]!r}")
    fields = data if partial else {"text": "", **data}
    for name, value in fields.items():
        if not isinstance(value, str) or len(value) > MAX_LENGTHS[name]:
            raise HTTPException(422, f"{name!r} must be a string of at most {MAX_LENGTHS[name]} characters")
        if any("\ud800" <= character <= "\udfff" for character in value):
            raise HTTPException(422, f"{name!r} holds half of a surrogate pair")  # JSON can say that, UTF-8 can't
    if not fields.get("title", "-" if partial else "").strip():
        raise HTTPException(422, "'title' must not be empty")
    return fields


class Notes(HTTPEndpoint):
    """All notes."""

    def get(self, request: SyncRequest) -> Response:
        return JSONResponse(notes_after())

    def post(self, request: SyncRequest) -> Response:
        fields = validated(request.json())
        with database() as db:
            new = db.execute("INSERT INTO notes (title, text) VALUES (:title, :text)", fields)
            note = read_note(db, int(new.lastrowid or 0))
        location = request.url_for("note", note_id=note["id"])
        return JSONResponse(note, status_code=201, headers={"location": str(location)})


class Note(HTTPEndpoint):
    """One note.  The path parameter comes by name."""

    def get(self, request: SyncRequest, note_id: int) -> Response:
        with database() as db:
            return JSONResponse(read_note(db, note_id))

    def put(self, request: SyncRequest, note_id: int) -> Response:
        return self.update(note_id, validated(request.json()))

    def patch(self, request: SyncRequest, note_id: int) -> Response:
        return self.update(note_id, validated(request.json(), partial=True))

    def delete(self, request: SyncRequest, note_id: int) -> Response:
        with database() as db:
            if not db.execute("DELETE FROM notes WHERE id = ?", [str(note_id)]).rowcount:
                raise HTTPException(404, f"There is no note {note_id}")
        return Response(status_code=204)

    def update(self, note_id: int, fields: dict[str, str]) -> Response:
        values = {"title": None, "text": None, **fields, "id": str(note_id)}
        with database() as db:
            # The write comes first: a transaction that reads before it writes may find that it has read stale data.
            db.execute(
                "UPDATE notes SET title = coalesce(:title, title), text = coalesce(:text, text) WHERE id = :id", values
            )
            return JSONResponse(read_note(db, note_id))


def json_error(request: SyncRequest, error: HTTPException) -> Response:
    """Answer every HTTPException, those of dualroute itself included, as JSON."""
    return JSONResponse({"error": error.detail}, status_code=error.status_code, headers=error.headers)


async def announcements(websocket: WebSocket) -> None:
    """Send each note newer than ``?after=ID``, or than the newest one now.  A websocket mostly waits: `async def`."""
    await websocket.accept()
    newest = await asyncio.to_thread(newest_id)
    after = websocket.query_params.get("after", "")
    known = min(int(after), newest) if after.isdecimal() and len(after) < 19 else newest
    async with asyncio.TaskGroup() as tasks:
        announcer = tasks.create_task(announce(websocket, known))
        async for _ in websocket.iter_text():  # nothing is expected; it ends when the client goes
            pass
        announcer.cancel()


async def announce(websocket: WebSocket, known: int) -> None:
    # A note may well come from another process, such as a gunicorn worker, so the database is asked.
    with contextlib.suppress(WebSocketDisconnect):
        while True:
            for note in await asyncio.to_thread(notes_after, known):
                await websocket.send_json(note)
                known = note["id"]
            await asyncio.sleep(0.5)


# The page names no host, so it is the same at every address.
PAGE = """<!DOCTYPE html>
<html lang="en">
<meta charset="utf-8">
<title>Notes</title>
<style>body { font: 1rem/1.5 sans-serif; max-width: 40rem; margin: 2rem auto } li p { white-space: pre-wrap }</style>
<h1>Notes</h1>
<form><input name="title" placeholder="Title" required> <input name="text" placeholder="Text">
  <button>Add</button></form>
<p id="status" role="status">Connecting&hellip;</p>
<ul>%(notes)s</ul>
<script>
const form = document.querySelector("form"), list = document.querySelector("ul");
const say = text => { document.querySelector("#status").textContent = text; };

function show(note) {  // textContent, so that nothing in a note is taken for HTML
  if (document.getElementById("note-" + note.id)) return;
  const item = document.createElement("li"), title = document.createElement("strong");
  const text = document.createElement("p");
  item.id = "note-" + note.id; title.textContent = note.title; text.textContent = note.text;
  item.append(title, text); list.append(item);
}

form.addEventListener("submit", async event => {
  event.preventDefault();
  const note = JSON.stringify(Object.fromEntries(new FormData(form)));
  const answer = await fetch("api/notes", {method: "POST", body: note});
  if (!answer.ok) return say((await answer.json()).error);
  form.reset();
  for (const each of await (await fetch("api/notes")).json()) show(each);  // ours, and others' since
});

let live = false;
function listen() {
  const url = new URL("ws", location);
  url.protocol = location.protocol.replace("http", "ws");
  url.searchParams.set("after", list.lastElementChild?.id.slice(5) ?? 0);
  const socket = new WebSocket(url);
  socket.onopen = () => { live = true; say("New notes appear as they are made, on whichever address."); };
  socket.onmessage = event => show(JSON.parse(event.data));
  socket.onclose = () => {
    if (live) { say("Connection lost, trying again…"); setTimeout(listen, 2000); }
    else say("No live announcements at this address: it is served over WSGI, and websockets need ASGI. Open the ASGI"
      + " address that `dualroute run` printed to see notes appear; all else works here as well.");
  };
}
listen();
</script>
</html>
"""


def page(request: SyncRequest) -> Response:
    item = '<li id="note-{id}"><strong>{title}</strong><p>{text}</p></li>'
    escaped = ({name: html.escape(str(value)) for name, value in note.items()} for note in notes_after())
    return HTMLResponse(PAGE.replace("%(notes)s", "".join(item.format(**note) for note in escaped)))


app = DualRoute(
    routes=[
        Route("/", page),
        Route("/api/notes", Notes, name="notes"),
        Route("/api/notes/{note_id:int}", Note, name="note"),
        WebSocketRoute("/ws", announcements),
    ],
    exception_handlers={HTTPException: json_error},
)
