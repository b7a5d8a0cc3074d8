"""A Quart app as one finds them, and the objects by which dualroute serves it."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator
from typing import Any

from quart import Blueprint, Quart, Response, jsonify, redirect, request, session, url_for, websocket

from dualroute import ASGIApp
from tests.frameworks.placing import in_all_places
from tests.servers.apps import report

legacy = Quart(__name__)
legacy.secret_key = "only for tests"
shop = Blueprint("shop", __name__, url_prefix="/shop")


@legacy.before_serving
async def startup() -> None:
    report("startup")


@legacy.after_serving
async def shutdown() -> None:
    report("shutdown")


@legacy.after_request
async def mark(response: Response) -> Response:
    response.headers["x-legacy"] = "quart"
    return response


@legacy.teardown_request
async def end(error: BaseException | None) -> None:
    if token := request.args.get("token"):
        report("teardown", token=token)


@legacy.route("/")
async def index() -> str:
    return "the legacy index"


@shop.route("/items/<int:item_id>")
async def item(item_id: int) -> Any:
    return jsonify(
        id=item_id,
        here=url_for(".item", item_id=item_id),
        external=url_for("index", _external=True),
        script_root=request.script_root,
        path=request.path,
        q=request.args.getlist("q"),
    )


@shop.route("/def")
def in_a_thread() -> str:
    return "from a thread"


@legacy.route("/count")
async def count() -> Any:
    session["count"] = session.get("count", 0) + 1
    return jsonify(count=session["count"])


@legacy.route("/leave", methods=["POST"])
async def leave() -> Any:
    return redirect(url_for("index"))


@legacy.route("/upload", methods=["POST"])
async def upload() -> Any:
    file = (await request.files)["file"]
    return jsonify(name=file.filename, size=len(file.read()), note=(await request.form)["note"])


@legacy.route("/digest", methods=["PUT"])
async def digest() -> str:
    data: Any = await request.get_data()
    return hashlib.sha256(data).hexdigest()


@legacy.route("/stream")
async def stream() -> Response:
    async def pieces() -> AsyncIterator[bytes]:
        for number in range(5):
            await asyncio.sleep(0)
            yield b"%d\n" % number

    return Response(pieces(), mimetype="text/plain")


@legacy.route("/boom")
async def boom() -> str:
    raise LookupError("boom")


@legacy.errorhandler(404)
async def not_found(error: Exception) -> tuple[str, int]:
    return f"the legacy app has no {request.path}", 404


@legacy.websocket("/ws/<room>")
async def talk(room: str) -> None:
    await websocket.send_json({"room": room, "root": websocket.root_path, "q": websocket.args.get("q")})
    try:
        while True:
            await websocket.send(f"echo {await websocket.receive()!s}")
    finally:
        report("websocket ended", room=room)


legacy.register_blueprint(shop)

straight = ASGIApp(legacy)
app = in_all_places(legacy)
