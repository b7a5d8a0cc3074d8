"""A Bottle app as one finds them, and the objects by which dualroute serves it."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import bottle as untyped_bottle

from dualroute import WSGIApp
from tests.frameworks.placing import in_all_places
from tests.servers.apps import FOLDER, report

bottle: Any = untyped_bottle
legacy = bottle.Bottle()
Path(FOLDER, "payload.bin").write_bytes(bytes(range(256)) * 1000)


def index() -> str:
    return "the legacy index"


def item(item_id: int) -> dict[str, Any]:
    request = bottle.request
    return {
        "id": item_id,
        "here": legacy.get_url("item", item_id=item_id),
        "script_name": request.script_name,
        "path": request.path,
        "url": request.url,
        "q": request.query.getunicode("q"),
    }


def count() -> dict[str, int]:
    seen = int(bottle.request.get_cookie("count", default=0, secret="only for tests")) + 1
    bottle.response.set_cookie("count", str(seen), secret="only for tests", path="/")
    return {"count": seen}


def upload() -> dict[str, Any]:
    file = bottle.request.files.file
    return {"name": file.raw_filename, "size": len(file.file.read()), "note": bottle.request.forms.getunicode("note")}


def digest() -> str:
    return hashlib.sha256(bottle.request.body.read()).hexdigest()


def download() -> Any:
    return bottle.static_file("payload.bin", root=str(FOLDER), mimetype="application/x-payload")


class Pieces:
    def __init__(self, token: str) -> None:
        self.pieces = iter(b"%d\n" % number for number in range(5))
        self.token = token

    def __iter__(self) -> Iterator[bytes]:
        return self.pieces

    def close(self) -> None:
        report("closed", token=self.token)


def stream() -> Pieces:
    bottle.response.content_type = "text/plain"
    return Pieces(bottle.request.query.token)


def boom() -> str:
    raise LookupError("boom")


def not_found(error: Any) -> str:
    return f"the legacy app has no {bottle.request.path}"


legacy.route("/", callback=index)
legacy.route("/items/<item_id:int>", name="item", callback=item)
legacy.route("/count", callback=count)
legacy.post("/upload", callback=upload)
legacy.put("/digest", callback=digest)
legacy.route("/download", callback=download)
legacy.route("/stream", callback=stream)
legacy.route("/boom", callback=boom)
legacy.error(404, callback=not_found)

straight = WSGIApp(legacy)
app = in_all_places(legacy)
