"""Handlers that read forms; imported by the server processes, as `form_apps`."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from apps import report  # type: ignore[import-not-found]  # it stands beside this file

from dualroute import DualRoute, JSONResponse, Limits, Request, Response, Route, SyncRequest
from dualroute.datastructures import SyncUploadFile, UploadFile

CHUNK = 65_536


def read(request: SyncRequest) -> Response:
    items: list[Any] = []
    with _reported(request), request.form() as form:
        for name, value in form.multi_items():
            if isinstance(value, SyncUploadFile):
                digest = hashlib.sha256()
                while piece := value.read(CHUNK):
                    digest.update(piece)
                items.append([name, value.filename, value.content_type, value.size, digest.hexdigest()])
            else:
                items.append([name, value])
    return JSONResponse(items)


async def read_async(request: Request) -> Response:
    items: list[Any] = []
    with _reported(request):
        async with request.form() as form:
            for name, value in form.multi_items():
                if isinstance(value, UploadFile):
                    digest = hashlib.sha256()
                    while piece := await value.read(CHUNK):
                        digest.update(piece)
                    items.append([name, value.filename, value.content_type, value.size, digest.hexdigest()])
                else:
                    items.append([name, value])
    return JSONResponse(items)


def kept(request: SyncRequest) -> Response:
    """Leave the files for the framework to close."""
    return JSONResponse([name for name, _ in request.form().multi_items()])


async def kept_async(request: Request) -> Response:
    return JSONResponse([name for name, _ in (await request.form()).multi_items()])


class _reported:
    """Tells the test how reading a form has ended."""

    def __init__(self, request: Any) -> None:
        self._token = request.query_params.get("token")

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: Any, error: Any, traceback: Any) -> None:
        report("form", token=self._token, error=kind and kind.__name__)


def stats(request: SyncRequest) -> Response:
    """Tell how many files without a name are open."""
    folder = Path("/proc/self/fd")
    count = 0
    for entry in folder.iterdir() if folder.exists() else ():
        try:
            count += os.readlink(entry).endswith("(deleted)")
        except OSError:
            pass  # the folder's own
    return JSONResponse({"pid": os.getpid(), "files": count})


def _both(path: str, plain: Callable[..., Any], awaited: Callable[..., Any], **options: Any) -> list[Route]:
    return [
        Route(f"{path}/def", plain, methods=["POST"], **options),
        Route(f"{path}/async", awaited, methods=["POST"], **options),
    ]


app = DualRoute(
    [
        *_both("/read", read, read_async),
        *_both("/kept", kept, kept_async),
        *_both("/limited", read, read_async, limits=Limits(max_body_size=1_000_000, max_file_size=100_000)),
        Route("/stats", stats),
    ]
)
