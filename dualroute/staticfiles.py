"""StaticFiles: the files of a directory, as an app on both protocols.

    Mount("/static", app=StaticFiles(directory="static"), name="static")

The path of a request is taken apart and checked before the file system is asked anything: what could mean another place
than one below the directory is no path to a file.  Everything else happens in one visit of a thread: finding the file,
opening it, and reading the first of it.
"""

from __future__ import annotations

import errno
import importlib.util
import logging
import os
import re
import stat
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from dualroute.bodies import BUFFER_SIZE
from dualroute.callables import is_async_callable
from dualroute.concurrency import run_in_threadpool
from dualroute.exceptions import HTTPException
from dualroute.fileresponses import FileResponse, open_file
from dualroute.foreign import StreamingHandler
from dualroute.mediatypes import guess_media_type
from dualroute.negotiation import best_encoding
from dualroute.paths import printable, quote_path
from dualroute.requests import Request, SyncRequest
from dualroute.responses import RedirectResponse, Response
from dualroute.serving import Servable

if TYPE_CHECKING:
    from dualroute.connection import HTTPConnection
    from dualroute.dispatch import Dispatcher

__all__ = ["ENCODINGS", "HASHED_NAME", "StaticFiles"]

logger: logging.Logger = logging.getLogger("dualroute")

_SHORTAGES = frozenset((errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.EIO))
"""What an error is that says nothing of the file."""

ENCODINGS: dict[str, str] = {"br": ".br", "zstd": ".zst", "gzip": ".gz"}
"""The content codings that a file may be there in, and what its name then ends in; the first is the best."""

HASHED_NAME = r"[.-](?=[0-9a-f]*[a-f])(?=[0-9a-f]*[0-9])[0-9a-f]{8,64}\."
"""What a file's name has in it that has a hash of the content in it: ``app.3f2a9c1d.js``, ``app-3f2a9c1d0b77.css``.

A hash is 8 to 64 hexadecimal digits in lower case, between a dot or a hyphen and a dot.  There must be a letter and a
digit among them, since eight digits are likely to be a date.
"""

_IMMUTABLE = "public, max-age=31536000, immutable"
_ALLOW = "GET, HEAD, OPTIONS"
# A drive, or another stream of a file, under Windows; and the names of devices there, in every folder.
_DRIVE = re.compile(r"[A-Za-z]:")
_DEVICE = re.compile(r"(con|prn|aux|nul|conin\$|conout\$|(com|lpt)[0-9¹²³])\s*([.:].*)?", re.IGNORECASE)
_WINDOWS = os.name == "nt"


class StaticFiles(Servable):
    """The files of one or more directories.

    It answers GET and HEAD with what `FileResponse` makes of a file (304, ranges, ETag); 404 for all that is no regular
    file or may not be read, and 405 for other methods.  The names in it are those that Starlette documents.

    Subclasses may override `get_path`, `get_response`, which may then be `async def`, and `file_response`.

    Args:
        directory: the directory.
        packages: packages with directories of files: by name, for the directory ``statics`` in it, or a pair of the
            name and the directory.  They are looked in after `directory`, in order.
        html: True to answer for a directory with the ``index.html`` in it, with a redirect to the path with a slash
            where it has none, and to answer 404 with the ``404.html`` of the directory, where there is one.
        check_dir: False for a directory that need not be there yet; it must be by the first request.
        follow_symlink: True to follow symbolic links that lead out of the directory.
        precompressed: False not to send ``name.br``, ``name.zst`` or ``name.gz``, where it lies beside ``name``, to
            clients that take that coding.
        immutable: a pattern searched for in a file's name; where it is found, clients are told to keep the file for
            good.  None for no such file.

    Raises RuntimeError for a directory that is not there, TypeError where there is neither a directory nor a package.
    """

    def __init__(
        self,
        *,
        directory: str | os.PathLike[str] | None = None,
        packages: Sequence[str | tuple[str, str]] | None = None,
        html: bool = False,
        check_dir: bool = True,
        follow_symlink: bool = False,
        precompressed: bool = True,
        immutable: str | re.Pattern[str] | None = HASHED_NAME,
    ) -> None:
        if directory is None and not packages:
            raise TypeError("StaticFiles needs a directory=, or packages= with directories in them")
        self.directory: str | os.PathLike[str] | None = directory
        self.packages: Sequence[str | tuple[str, str]] | None = packages
        self.html: bool = html
        self.follow_symlink: bool = follow_symlink
        self.precompressed: bool = precompressed
        self.immutable: re.Pattern[str] | None = None if immutable is None else re.compile(immutable)
        self.all_directories: list[str] = list(self._directories())
        self._checked = check_dir
        if check_dir:
            self._check()
        self._pass_for_asgi()

    def __repr__(self) -> str:
        return f"StaticFiles({', '.join(map(repr, self.all_directories))})"

    def _directories(self) -> Iterable[str]:
        if self.directory is not None:
            yield os.fspath(self.directory)
        if isinstance(self.packages, str):
            raise TypeError(f"StaticFiles: packages is a list of names, not the string {self.packages!r}")
        for package in self.packages or ():
            name, folder = (package, "statics") if isinstance(package, str) else package
            try:
                spec = importlib.util.find_spec(name)
            except ModuleNotFoundError:
                spec = None
            if spec is None or not spec.submodule_search_locations:
                raise RuntimeError(f"StaticFiles: there is no package {name!r}")
            path = os.path.join(next(iter(spec.submodule_search_locations)), folder)
            if not os.path.isdir(path):
                raise RuntimeError(f"StaticFiles: there is no directory {folder!r} in the package {name!r}")
            yield path

    def _check(self) -> None:
        if self.directory is not None and not os.path.isdir(self.directory):
            known = "is not a directory" if os.path.exists(self.directory) else "does not exist"
            raise RuntimeError(f"Directory '{os.fspath(self.directory)}' {known}")
        self._checked = True

    def _make_dispatcher(self) -> Dispatcher:
        from dualroute.dispatch import Dispatcher
        from dualroute.routing import Router

        if is_async_callable(self.get_response):
            return Dispatcher(Router(default=self._respond_async))
        router = Router(default=self._respond)
        assert router.default_route is not None
        # A thread that finds the file may as well read on in it.
        router.default_route.handlers["*"] = StreamingHandler(self._respond, buffer_size=BUFFER_SIZE, reads_body=False)
        return Dispatcher(router)

    def _respond(self, request: SyncRequest[Any]) -> Response:
        path = self._asked_for(request)
        response: Response = path if isinstance(path, Response) else self.get_response(path, request)
        return response

    async def _respond_async(self, request: Request[Any]) -> Response:
        path = self._asked_for(request)
        response: Response = path if isinstance(path, Response) else await self.get_response(path, request)
        return response

    def _asked_for(self, request: HTTPConnection[Any]) -> str | Response:
        """Return the path that is asked for, or the answer where it is not about a file.  Raises HTTPException."""
        if not self._checked:
            self._check()
        if request.method not in ("GET", "HEAD"):
            if request.method == "OPTIONS":
                return Response(headers={"allow": _ALLOW})
            raise HTTPException(405, headers={"allow": _ALLOW})
        path = self.get_path(request)
        if path is None:
            logger.info("refused: %s is no path to a static file", request.printable_path)
            raise HTTPException(404)
        return path

    def get_path(self, scope: HTTPConnection[Any]) -> str | None:
        """Return the path below the directory that a request is for, as the system writes it; "." for the directory.

        Args:
            scope: the request, which is the mapping that its scope is.

        None stands for a path that can't be one to a file: with a step up, a backslash, a NUL, a drive or a device of
        Windows in it.  Empty segments and single dots do not count.
        """
        text = scope.path[len(scope.root_path) :]
        segments = []
        for segment in text.split("/"):
            if segment in ("", "."):
                continue
            if segment == ".." or "\\" in segment or "\0" in segment or _DRIVE.match(segment):
                return None
            if _WINDOWS and (":" in segment or segment[-1] in " ." or _DEVICE.fullmatch(segment)):
                return None
            segments.append(segment)
        return os.path.join(*segments) if segments else "."

    def get_response(self, path: str, scope: HTTPConnection[Any]) -> Any:
        """Return the answer for a path below the directory, as `get_path` returns it.

        With a SyncRequest it does so at once, and may block.  With a Request, as an override that is `async def` gets
        one, it returns an awaitable of the answer, which is made in a thread: ``await super().get_response(…)``.

        Args:
            path: the path.
            scope: the request, which is the mapping that its scope is.

        Raises HTTPException(404).
        """
        if isinstance(scope, Request):
            return run_in_threadpool(self._found_response, path, scope)
        return self._found_response(path, scope)

    def _found_response(self, path: str, request: HTTPConnection[Any]) -> Response:
        full_path, stat_result = self.lookup_path(path)
        if stat_result is not None and stat.S_ISDIR(stat_result.st_mode) and self.html:
            index, found = self.lookup_path(os.path.join(path, "index.html"))
            if found is not None and stat.S_ISREG(found.st_mode):
                if not request.path.endswith("/"):
                    return _redirect_to_slash(request)
                full_path, stat_result = index, found
        elif request.path.endswith("/"):
            stat_result = None  # no file has a slash behind it
        if stat_result is not None and stat.S_ISREG(stat_result.st_mode):
            try:
                return self.file_response(full_path, stat_result, request)
            except HTTPException as error:
                if error.status_code != 404:
                    raise
        return self._not_found(request)

    def _not_found(self, request: HTTPConnection[Any]) -> Response:
        if self.html:
            full_path, stat_result = self.lookup_path("404.html")
            if stat_result is not None and stat.S_ISREG(stat_result.st_mode):
                return self.file_response(full_path, stat_result, request, 404)
        raise HTTPException(404)

    def lookup_path(self, path: str) -> tuple[str, os.stat_result | None]:
        """Return the full path of what there is at a path below the directory, and what it is.

        None stands for what is not there, may not be looked at, or leads out of the directory.
        """
        if os.path.isabs(path) or path.startswith(("/", "\\")):
            return "", None
        for directory in self.all_directories:
            try:
                if self.follow_symlink:
                    base, full_path = os.path.abspath(directory), os.path.abspath(os.path.join(directory, path))
                else:
                    base, full_path = os.path.realpath(directory), os.path.realpath(os.path.join(directory, path))
                if os.path.commonpath([base, full_path]) == base:
                    return full_path, os.stat(full_path)
            except PermissionError as error:
                logger.warning("the static file %s can't be read: %s", printable(path), error.strerror)
            except (OSError, ValueError):
                pass  # not there, too long a name, a circle of links, a character that no name has
        return "", None

    def file_response(
        self,
        full_path: str | os.PathLike[str],
        stat_result: os.stat_result,
        scope: HTTPConnection[Any],
        status_code: int = 200,
    ) -> Response:
        """Return a file as a response, complete: 304 or a part of it, where the request asks for that.  It blocks.

        Args:
            full_path: where the file is.
            stat_result: what it was when it was found; what it is when it is opened counts.
            scope: the request, which is the mapping that its scope is.
            status_code: the HTTP status.

        Raises HTTPException(404) for one that has disappeared, or can't be read, and OSError where that is not the
        file's fault: no file can be opened for want of a descriptor, say.
        """
        path, request = os.fspath(full_path), scope
        headers: dict[str, str] = {}
        tried: tuple[str | None, ...] = (None,)
        if status_code == 200:
            if self.immutable is not None and self.immutable.search(os.path.basename(path)):
                headers["cache-control"] = _IMMUTABLE
            available = self._encodings_of(path) if self.precompressed else []
            if available:
                headers["vary"] = "Accept-Encoding"
                # A part of a file in one coding is of no use to somebody who has the rest in another.
                if "range" not in request.headers:
                    tried = (best_encoding(request.headers.get("accept-encoding"), available), None)
        for encoding in dict.fromkeys(tried):
            name = path if encoding is None else path + ENCODINGS[encoding]
            try:
                file, stat_result = open_file(name)
            except (OSError, ValueError) as error:
                if isinstance(error, PermissionError):
                    logger.warning("the static file %s can't be read: %s", printable(name), error.strerror)
                elif isinstance(error, OSError) and error.errno in _SHORTAGES:
                    raise  # it may be there, and a cache would keep a 404
                continue
            media_type = guess_media_type(path) or "application/octet-stream"
            if encoding is not None:
                headers["content-encoding"] = encoding
                headers["accept-ranges"] = "none"
                # It may have the size and the time of the plain one.
                headers["etag"] = f'"{stat_result.st_mtime_ns:x}-{stat_result.st_size:x}-{encoding}"'
            response = FileResponse(name, status_code, headers, media_type)
            return response.complete(request, file, stat_result)
        raise HTTPException(404)

    def _encodings_of(self, path: str) -> list[str]:
        """Return the codings that a file is there in, beside its plain form."""
        look = os.stat if self.follow_symlink else os.lstat
        found = []
        for encoding, extension in ENCODINGS.items():
            try:
                if stat.S_ISREG(look(path + extension).st_mode):
                    found.append(encoding)
            except OSError:
                pass
        return found


def _redirect_to_slash(request: HTTPConnection[Any]) -> Response:
    # Relative to the host; a path with two slashes in front would name one (RFC 3986 section 4.2).
    from dualroute.connection import quote_query

    location = quote_path(request.path + "/")
    if location.startswith("//"):
        location = f"/.{location}"
    query = request.query_string
    return RedirectResponse(f"{location}?{quote_query(query)}" if query else location)
