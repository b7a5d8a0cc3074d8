"""WSGIApp: a WSGI application as an endpoint (PEP 3333), for either protocol.

It is called in the server's own thread under WSGI, and in a thread of the pool under ASGI.  What it reads and what it
gives is the same there: the adapter's channel and the response's iterable are all that it touches.
"""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import IO, TYPE_CHECKING, Any, ClassVar

from dualroute.bodies import BUFFER_SIZE, CHUNK_SIZE, Channel, streamable
from dualroute.exceptions import ClientDisconnect
from dualroute.foreign import (
    DEFAULT_MAX_THREADS,
    INSIDE,
    ForeignApp,
    StreamingHandler,
    note_depth,
)
from dualroute.translation import environ_from_scope, has_untrue_length, wsgi_text
from dualroute.types import Environ
from dualroute_wsgi.inputs import RawInput
from dualroute_wsgi.replies import FileWrapper, Reply

if TYPE_CHECKING:
    from dualroute.handlers import Handler
    from dualroute.requests import SyncRequest
    from dualroute.responses import Response

__all__ = ["WSGIApp"]

# The packages of applications that read no body without a Content-Length.
_NEED_LENGTH = frozenset(("bottle", "django"))


class WSGIApp(ForeignApp):
    """A WSGI application, on both protocols.

    It is an app by itself, to be handed to any server, and it is what a Mount, a Host or a fallback makes of a WSGI
    application.  Under ASGI the environ has the scope in ``dualroute.scope``, and the application runs in a thread,
    which it holds neither while a request of up to `buffer_size` bytes is still coming in nor while a response waits
    for the client.

    Args:
        app: the application, called with an environ and ``start_response``.
        buffer_size: how many bytes at most wait between the application and an ASGI server, each way.
        intercept_errors: True to have the exception handlers for a status answer where the application answers with
            an error status (400 and up); by default its own answer stands.
        max_threads: how many requests may be in the application at once, where this object is served by itself under
            ASGI.
        needs_length: True for an application that reads no body without a Content-Length: one that comes without and
            does not end within `buffer_size` is then kept in a temporary file before the application is called.  Where
            it is None, that is done for those known to be so, Django and Bottle.

    Raises TypeError for what can't be called, or is called like an ASGI application.
    """

    protocol: ClassVar[str] = "WSGI"

    def __init__(
        self,
        app: Callable[..., Any],
        *,
        buffer_size: int = BUFFER_SIZE,
        intercept_errors: bool = False,
        max_threads: int = DEFAULT_MAX_THREADS,
        needs_length: bool | None = None,
    ) -> None:
        super().__init__(app, buffer_size=buffer_size, intercept_errors=intercept_errors, max_threads=max_threads)
        if needs_length is None:
            needs_length = type(app).__module__.partition(".")[0] in _NEED_LENGTH
        self.needs_length: bool = needs_length
        self.handler: Handler = StreamingHandler(self.respond, buffer_size=buffer_size)

    def respond(self, request: SyncRequest) -> Response:
        """Call the application, and return its response; the body is yet to be iterated over.

        Raises what the application raises, BodyTooLarge, and AppBroken where it does not keep to PEP 3333.
        """
        environ = self._environ_without_body(request, request._mounted)
        if environ is not None:
            reply = Reply(self, environ, request)
            try:
                response = reply.begin()
            except BaseException:
                reply.close()
                raise
            return self._answered(response) if self.intercept_errors else response
        channel = request._body_channel
        channel.require_within_limit()
        environ = self._environ(request, channel, request._mounted)
        return self._answered(self._reply(request, environ, channel))

    def _environ_without_body(self, request: SyncRequest, mounted: str) -> Environ | None:
        """Return the environ for the application where there is no body to read, and so need be no channel for it.

        That is what most requests need, under WSGI.  None for any other.
        """
        given = request._environ
        if given is None or request._opener is None or _may_bring_body(given):
            return None
        environ = dict(given)
        note_depth(request, environ, self)
        self._place(request, environ, mounted)
        if "wsgi.file_wrapper" not in environ:
            environ["wsgi.file_wrapper"] = FileWrapper
        environ.pop(INSIDE, None)
        environ["wsgi.input_terminated"] = True
        environ["wsgi.input"] = io.BytesIO()
        return environ

    def _reply(self, request: SyncRequest, environ: Environ, channel: Channel) -> Response:
        """Call the application, and return its response."""
        reply = Reply(self, environ, request)
        limit = channel.limit
        try:
            response = reply.begin()
            channel.require_kept(limit)
        except BaseException as error:
            reply.close()
            channel.require_kept(limit)
            if channel.cut_short and isinstance(error, Exception) and not isinstance(error, ClientDisconnect):
                raise ClientDisconnect from error
            raise
        return response

    def _place(self, request: SyncRequest, environ: Environ, mounted: str) -> None:
        """Say in an environ, which is a copy of the server's, where the application is mounted."""
        path: str = environ.get("PATH_INFO", "")
        if not mounted:
            if path.startswith("/"):
                return
        elif path.isascii() and path.startswith(mounted) and not environ.get("SCRIPT_NAME"):
            environ["SCRIPT_NAME"], environ["PATH_INFO"] = mounted, path[len(mounted) :]
            return
        target = request._target
        environ["SCRIPT_NAME"] = wsgi_text(target.root_path + mounted)
        environ["PATH_INFO"] = wsgi_text(target.path[len(mounted) :])

    def _environ(self, request: SyncRequest, channel: Channel, mounted: str) -> Environ:
        """Return the environ for the application, which is mounted at `mounted`."""
        environ = request.environ
        if environ is None:
            target = request._target
            if mounted:
                target = target._replace(root_path=target.root_path + mounted, path=target.path[len(mounted) :])
            environ = environ_from_scope(request._given_scope or {}, target)
            environ["wsgi.file_wrapper"] = FileWrapper
            length_counts = "HTTP_TRANSFER_ENCODING" not in environ
        else:
            environ = dict(environ)
            self._place(request, environ, mounted)
            environ.setdefault("wsgi.file_wrapper", FileWrapper)
            length_counts = not has_untrue_length(environ)
        if not length_counts:
            environ.pop("CONTENT_LENGTH", None)
        environ.pop(INSIDE, None)
        note_depth(request, environ, self)
        if channel.time_limit is not None:
            environ["wsgi.multithread"] = True  # what is answered for may go on beside the next request
        environ["wsgi.input_terminated"] = True
        environ["wsgi.input"] = self._input(environ, channel, request)
        return environ

    def _input(self, environ: Environ, channel: Channel, request: SyncRequest) -> IO[bytes]:
        nothing = channel.body is None and not channel.may_have_body() and not channel.cut_short
        # What middleware has streamed away is an error, and not an empty body.
        if nothing and not (channel.consumed and _announces_body(environ)):
            return io.BytesIO()
        # One that was cut short while middleware read it says so to whoever reads on.
        source = channel if channel.cut_short else streamable(channel)
        begun: list[bytes] = []
        whole: IO[bytes] | None = None
        size = 0
        if not environ.get("CONTENT_LENGTH"):
            # Many applications read nothing without a length.  A body that is there in full has one.
            piece = b"more"
            try:
                while size <= self.buffer_size and (piece := source.read()):
                    begun.append(piece)
                    size += len(piece)
                if not piece:
                    whole = io.BytesIO(b"".join(begun))
                elif self.needs_length:
                    whole = self._spooled(source, begun, request)
                    size = whole.seek(0, io.SEEK_END)
                    whole.seek(0)
            except ClientDisconnect:
                pass  # which reading on will raise again
        if whole is None:
            return io.BufferedReader(RawInput(source, begun), CHUNK_SIZE)
        environ["CONTENT_LENGTH"] = str(size)
        environ.pop("HTTP_TRANSFER_ENCODING", None)
        return whole

    def _spooled(self, source: Channel, begun: list[bytes], request: SyncRequest) -> IO[bytes]:
        from tempfile import TemporaryFile

        file = TemporaryFile()  # noqa: SIM115  # closed with the request
        request.closing.append(file.close)
        file.writelines(begun)
        del begun[:]
        while piece := source.read():
            file.write(piece)
        return file


def _may_bring_body(environ: Environ) -> bool:
    """Tell whether a request may have a body, by what a WSGI server says of it."""
    if environ.get("CONTENT_LENGTH", "") not in ("", "0") or environ.get("HTTP_TRANSFER_ENCODING"):
        return True
    # HTTP/2 and later frame a body without either header.  Without an end, it could not be read.
    protocol: str = environ.get("SERVER_PROTOCOL", "")
    return bool(environ.get("wsgi.input_terminated")) and not protocol.startswith("HTTP/1.")


def _announces_body(environ: Environ) -> bool:
    return "HTTP_TRANSFER_ENCODING" in environ or environ.get("CONTENT_LENGTH", "").strip("0") != ""
