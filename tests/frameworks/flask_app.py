"""A Flask app as one finds them, and the objects by which dualroute serves it."""

from __future__ import annotations

import asyncio
import hashlib
import io
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from flask import (
    Blueprint,
    Flask,
    Response,
    abort,
    flash,
    g,
    get_flashed_messages,
    jsonify,
    redirect,
    render_template_string,
    request,
    send_file,
    session,
    stream_with_context,
    url_for,
)

from dualroute import WSGIApp
from tests.frameworks.placing import in_all_places
from tests.servers.apps import FOLDER, report

PAYLOAD = bytes(range(256)) * 1200

legacy = Flask(__name__)
legacy.secret_key = "only for tests"
shop = Blueprint("shop", __name__, url_prefix="/shop")
Path(FOLDER, "payload.bin").write_bytes(PAYLOAD)


@legacy.before_request
def begin() -> None:
    g.token = request.args.get("token")


@legacy.teardown_request
def end(error: BaseException | None) -> None:
    if g.get("token"):
        report("teardown", token=g.token, error=type(error).__name__)


@legacy.after_request
def mark(response: Response) -> Response:
    response.headers["x-legacy"] = "flask"
    return response


@legacy.route("/")
def index() -> str:
    return "the legacy index"


@shop.route("/items/<int:item_id>")
def item(item_id: int) -> Any:
    return jsonify(
        id=item_id,
        here=url_for(".item", item_id=item_id),
        external=url_for("index", _external=True),
        script_root=request.script_root,
        path=request.path,
        url=request.url,
        query=request.args.to_dict(flat=False),
    )


@legacy.route("/async")
async def in_a_loop() -> Any:
    await asyncio.sleep(0)
    return jsonify(here=url_for("in_a_loop"))


@shop.route("/list/")
def items() -> str:
    return "the list"


@shop.route("/only-post", methods=["POST"])
def only_post() -> Any:
    return {"type": request.content_type, "length": request.content_length, "json": request.get_json(silent=True)}


@shop.errorhandler(418)
def teapot(error: Exception) -> tuple[str, int]:
    return "the shop's teapot", 418


@shop.route("/teapot")
def raise_teapot() -> str:
    abort(418)


@legacy.route("/count")
def count() -> Any:
    session["count"] = session.get("count", 0) + 1
    return jsonify(count=session["count"])


@legacy.route("/say", methods=["POST"])
def say() -> Any:
    flash(request.form["text"])
    return redirect(url_for("said"))


@legacy.route("/said")
def said() -> str:
    return render_template_string("{{ messages|join(',') }}", messages=get_flashed_messages())


@legacy.route("/upload", methods=["POST"])
def upload() -> Any:
    file = request.files["file"]
    data = file.read()
    return jsonify(
        name=file.filename, type=file.content_type, size=len(data), sha=digest(data), note=request.form.get("note")
    )


@legacy.route("/digest", methods=["POST", "PUT"])
def digest_body() -> str:
    return digest(request.stream.read())


def digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


@legacy.route("/download")
def download() -> Response:
    return send_file(FOLDER / "payload.bin", as_attachment=True, download_name="ladung ü.bin")


@legacy.route("/from-memory")
def from_memory() -> Response:
    return send_file(io.BytesIO(PAYLOAD), mimetype="text/x-payload")


@legacy.route("/stream")
def stream() -> Response:
    token = g.token

    def pieces() -> Iterator[str]:
        for number in range(5):
            yield f"{number} for {request.args['token']}\n"

    response = Response(stream_with_context(pieces()), mimetype="text/plain")
    response.call_on_close(lambda: report("closed", token=token))
    return response


@legacy.route("/endless")
def endless() -> Response:
    token = g.token

    def pieces() -> Iterator[bytes]:
        try:
            while True:
                yield b"x" * 1000
                time.sleep(0.005)
        finally:
            report("generator closed", token=token)

    response = Response(pieces(), mimetype="text/plain")
    response.call_on_close(lambda: report("closed", token=token))
    return response


@legacy.route("/broken-stream")
def broken_stream() -> Response:
    def pieces() -> Iterator[bytes]:
        yield b"a beginning"
        raise LookupError("in the middle")

    response = Response(pieces(), mimetype="text/plain")
    token = g.token
    response.call_on_close(lambda: report("closed", token=token))
    return response


@legacy.route("/boom")
def boom() -> str:
    raise LookupError("boom")


@legacy.errorhandler(404)
def not_found(error: Exception) -> tuple[str, int]:
    return f"the legacy app has no {request.path}", 404


legacy.register_blueprint(shop)


straight = WSGIApp(legacy)
app = in_all_places(legacy)
