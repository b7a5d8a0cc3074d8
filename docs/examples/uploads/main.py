"""Uploads: files go up with a progress bar, streamed to disk, and come down in ranges, so that a download resumes.

    dualroute run docs/examples/uploads/main.py

The files are in the folder that the environment variable UPLOADS names, ``uploads`` in the working directory if it
names none, and one may have UPLOADS_MAX_SIZE bytes, 1 GiB unless that is set.  Both servers share them.

Everybody who can reach it may write here, and read what others have written: put something that knows its users in
front before you let others in.
"""

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from dualroute import (
    DualRoute,
    FileResponse,
    HTMLResponse,
    HTTPEndpoint,
    HTTPException,
    JSONResponse,
    Limits,
    RedirectResponse,
    Response,
    Route,
    SyncRequest,
)
from dualroute.uploads import SyncUploadFile

PAGE = (Path(__file__).parent / "page.html").read_text(encoding="utf-8")
MAX_SIZE = int(os.environ.get("UPLOADS_MAX_SIZE") or 1024**3)  # bytes

# Files are read and written by calls that block, so all of this is `def`: in a thread under ASGI, in place under WSGI.


@contextmanager
def lifespan(app: DualRoute) -> Iterator[dict[str, Any]]:
    folder = Path(os.environ.get("UPLOADS") or "uploads").absolute()
    folder.mkdir(exist_ok=True)
    yield {"folder": folder}


def checked(name: str) -> str:
    """Return a file's name, or answer 400 for what would lead elsewhere, or be hidden there."""
    if not 0 < len(name.encode(errors="replace")) <= 200 or name.startswith(".") or not name.isprintable():
        raise HTTPException(400, "A file's name is printable, of 200 bytes at most, and does not begin with a dot.")
    if any(character in name for character in '/\\:*?"<>|'):
        raise HTTPException(400, "A file's name has no / \\ : * ? \" < > | in it.")
    return name


@contextmanager
def writing(path: Path) -> Iterator[IO[bytes]]:
    """Have a file written beside its place, and put there when it is complete: nobody ever sees half of one."""
    with tempfile.NamedTemporaryFile(dir=path.parent, prefix=".part-", delete=False) as file:
        try:
            yield file
            file.close()
            os.replace(file.name, path)
        except BaseException:  # it was too large, say, or the client has gone
            os.unlink(file.name)
            raise


class Files(HTTPEndpoint):
    def get(self, request: SyncRequest) -> Response:
        folder: Path = request.state.folder
        found = [entry for entry in os.scandir(folder) if entry.is_file() and not entry.name.startswith(".")]
        return JSONResponse(
            [
                {
                    "name": entry.name,
                    "size": entry.stat().st_size,
                    "url": str(request.url_for("file", name=entry.name)),
                }
                for entry in sorted(found, key=lambda entry: entry.name)
            ]
        )

    def post(self, request: SyncRequest) -> Response:
        """Take a form with files, for pages without a script: large files are on disk before it is here."""
        with request.form() as form:
            for file in form.getlist("file"):
                if isinstance(file, SyncUploadFile) and file.filename:
                    with writing(request.state.folder / checked(file.filename)) as target:
                        while piece := file.read(64 * 1024):
                            target.write(piece)
        return RedirectResponse(request.url_for("page"), status_code=303)


class File(HTTPEndpoint):
    def get(self, request: SyncRequest, name: str) -> Response:
        path: Path = request.state.folder / checked(name)
        if not path.is_file():
            raise HTTPException(404, f"There is no file {name}")
        # With a filename it is an attachment: what others have uploaded is saved, and never shown as a page of ours.
        return FileResponse(path, filename=name, media_type="application/octet-stream")

    def put(self, request: SyncRequest, name: str) -> Response:
        """Take a body that is the file, and write each piece as it comes."""
        size = 0
        with writing(request.state.folder / checked(name)) as file:
            for piece in request.stream():
                size += file.write(piece)
        url = request.url_for("file", name=name)
        return JSONResponse({"name": name, "size": size}, status_code=201, headers={"location": str(url)})

    def delete(self, request: SyncRequest, name: str) -> Response:
        path: Path = request.state.folder / checked(name)
        path.unlink(missing_ok=True)
        return Response(status_code=204)


def page(request: SyncRequest) -> Response:
    return HTMLResponse(PAGE.replace("{max_size}", str(MAX_SIZE)))


app = DualRoute(
    [
        Route("/", page),
        Route("/files", Files, limits=Limits(max_file_size=MAX_SIZE)),
        Route("/files/{name}", File, name="file", limits=Limits(max_body_size=MAX_SIZE)),
    ],
    lifespan=lifespan,
)
