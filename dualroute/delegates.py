"""Tornado's message delegates: what answers a request piece by piece, and the connection that it answers on.

A delegate is told of a request as it comes in: its headers, each piece of its body, its end.  It answers whenever it
likes, on the connection it was made with.  A rule router (`dualroute.rules`) finds it by a `HTTPServerRequest`, a light
view of what the server handed over in Tornado's vocabulary.  Names and behaviour are those of `tornado.httputil`.

Nothing here does any I/O: what is written to a connection is put in line (`dualroute.outgoing`), and whoever runs the
delegate takes it from there (`dualroute_asgi.delegates`).
"""

from __future__ import annotations

from collections.abc import Awaitable, Iterable, Iterator, Mapping
from typing import Any, NamedTuple
from urllib.parse import parse_qsl

from dualroute.connection import HTTPConnection as _Connection
from dualroute.connection import quote_query
from dualroute.datastructures import Headers, MutableHeaders
from dualroute.outgoing import HTTPOutputError, Outgoing, Written, piece_of, response_for
from dualroute.paths import quote_path
from dualroute.targets import Target
from dualroute.types import Environ, Scope

__all__ = [
    "HTTPConnection",
    "HTTPHeaders",
    "HTTPMessageDelegate",
    "HTTPOutputError",
    "HTTPServerConnectionDelegate",
    "HTTPServerRequest",
    "RequestStartLine",
    "ResponseStartLine",
]


class RequestStartLine(NamedTuple):
    """The first line of a request.

    Args:
        method: the HTTP method.
        path: the percent-encoded path and the query: `HTTPServerRequest.uri`.
        version: always "HTTP/1.1", since that is what a delegate may rely on whatever the server speaks.
    """

    method: str
    path: str
    version: str


class ResponseStartLine(NamedTuple):
    """The first line of a response.

    Args:
        version: "HTTP/1.1"; it is the server that knows.
        code: the status, 200 or above.
        reason: the reason phrase.  ASGI has no place for it, so it is not sent on either protocol.
    """

    version: str
    code: int
    reason: str


class HTTPHeaders(MutableHeaders):
    """Headers as Tornado has them: repeated values read as one, and names show as ``Http-Header-Case``.

    Args:
        headers: a mapping, pairs of text, or HTTPHeaders to copy.
        more: further headers.

    Raises ValueError or TypeError for a header that may not be sent: see `MutableHeaders`.
    """

    __slots__ = ()

    def __init__(self, headers: Mapping[str, str] | Iterable[tuple[str, str]] | None = None, /, **more: str) -> None:
        super().__init__(headers)
        for name, value in more.items():
            self[name] = value

    @classmethod
    def received(cls, pairs: list[tuple[str, str]]) -> HTTPHeaders:
        """Return the headers of a request: lower-case names and values, as the server let them through."""
        self = cls.__new__(cls)
        self._list = pairs
        return self

    def add(self, name: str, value: str) -> None:
        """Add a header, keeping those of the same name."""
        self.append(name, value)

    def get_list(self, name: str) -> list[str]:
        """Return every value of the header, in order."""
        return self.getlist(name)

    def get_all(self) -> Iterable[tuple[str, str]]:
        """Return every pair, those of a name that repeats one after the other."""
        return [(name, value) for name in self for value in self.getlist(name)]

    def __getitem__(self, key: str) -> str:
        """Return the values of the header, joined by commas."""
        values = self.getlist(key)
        if not values:
            raise KeyError(key)
        return ",".join(values)

    def __iter__(self) -> Iterator[str]:
        return iter(self.keys())

    def __len__(self) -> int:
        return len(self.keys())

    def keys(self) -> list[str]:  # type: ignore[override]  # as its base
        """Return each name once, in order."""
        return ["-".join(part.capitalize() for part in name.split("-")) for name in dict.fromkeys(super().keys())]

    def values(self) -> list[str]:  # type: ignore[override]  # as its base
        """Return the values of each name, joined by commas."""
        return [self[name] for name in self.keys()]

    def items(self) -> list[tuple[str, str]]:  # type: ignore[override]  # as its base
        """Return each name with its values, joined by commas."""
        return [(name, self[name]) for name in self.keys()]


class HTTPMessageDelegate:
    """What answers one request, told of it as it comes in.  Every method may be overridden, and does nothing here.

    All are called on the event loop, on either protocol.  What `headers_received`, `data_received` and `finish` return
    is awaited where it can be, and nothing further happens to the request meanwhile; so a delegate that returns what
    `HTTPConnection.write` returned reads no faster than its own answer is taken.  An exception becomes a 500, or cuts
    the response where that has begun.

    In the end `finish` or `on_connection_close` is called.  Both are where the client goes after the one and before the
    response was finished, and where `finish` fails.
    """

    def headers_received(self, start_line: RequestStartLine, headers: HTTPHeaders) -> Awaitable[None] | None:
        """Take the request line and the headers.  Called first."""

    def data_received(self, chunk: bytes) -> Awaitable[None] | None:
        """Take a piece of the body; never an empty one.  No more are delivered once the response is finished."""

    def finish(self) -> Awaitable[None] | None:
        """Take note that the request is complete.

        The response may follow later, for as long as somebody holds the connection; the delegate itself is not held
        for that.  Once nobody does, the answer is a 500.

        Not called where the response was finished before the request was: `on_connection_close` is, as in Tornado.
        """

    def on_connection_close(self) -> Awaitable[None] | None:
        """Take note that it is over: at most once, and not after a response that was finished after the request.

        The client has gone or stopped short, a method of the delegate has failed, the body was too large, the request
        was cancelled, or the response was finished before the request had ended.  WSGI servers tell that a client has
        gone only when something is sent to it.
        """


class HTTPServerConnectionDelegate:
    """What makes a message delegate for each request: the target of a rule, or a Router."""

    def start_request(self, server_conn: object, request_conn: HTTPConnection) -> HTTPMessageDelegate:
        """Return the delegate for a request.

        Args:
            server_conn: stands for the connection of the client; here it is another one for each request.
            request_conn: what the delegate is to answer on.
        """
        raise NotImplementedError(f"{type(self).__name__} has no start_request")

    def on_close(self, server_conn: object) -> None:
        """Take note that a client's connection was closed.  Never called here: no server tells an application."""


class HTTPConnection:
    """Where a message delegate answers its request.

    Its methods may be called at any time, also before the delegate is first called and after it has returned from
    `finish`, but only on the event loop that the delegate runs on: elsewhere, use ``loop.call_soon_threadsafe``.

    What they return may be awaited, or not.  Awaited, it waits until what was written was taken, so that a delegate
    which awaits each write holds no more than a bounded part of its response; it raises ConnectionResetError where
    the client has gone.  What nobody awaits is kept until it can be sent.

    Args:
        request: what is to be answered.

    All raise RuntimeError where they are called in the wrong order, after the end, or on another thread.
    """

    __slots__ = ("__weakref__", "_facts", "_outgoing")

    def __init__(self, request: HTTPServerRequest) -> None:
        # Not the request itself, which holds this: that would be a cycle, and this is to end with its last holder.
        self._facts = (request._scope, request._environ, request._target, request._path)
        self._outgoing = Outgoing(request.method)

    def __repr__(self) -> str:
        request = HTTPServerRequest(*self._facts)
        return f"<HTTPConnection {request.method} {request.uri}>"

    def _opening(self) -> tuple[RequestStartLine, HTTPHeaders]:
        """Return what a delegate's `headers_received` is called with."""
        request = HTTPServerRequest(*self._facts)
        headers = HTTPHeaders.received(request.headers.multi_items())
        return RequestStartLine(request.method, request.uri, request.version), headers

    def write_headers(
        self,
        start_line: ResponseStartLine,
        headers: Mapping[str, str] | Iterable[tuple[str, str]],
        chunk: bytes | None = None,
    ) -> Awaitable[None]:
        """Write the status and the headers; they go out with the first piece of the body.

        Args:
            start_line: its `code` is the status, 200 or above.
            headers: a mapping, HTTPHeaders, or pairs of text.  Those about the connection are the server's affair and
                are left out; a missing Content-Type becomes ``application/octet-stream``.
            chunk: the first piece of the body.

        Raises ValueError or TypeError for a status or a header that may not be sent, and HTTPOutputError where the
        chunk is longer than the Content-Length says.
        """
        outgoing = self._open("write_headers()")
        if outgoing.response is not None:
            raise RuntimeError("write_headers() was called before; use write() for more of the body")
        response, piece = response_for(start_line, headers), piece_of(chunk or b"")
        outgoing.start(response)
        if piece:
            outgoing.add(piece)
            outgoing.notify()
        return Written(outgoing)

    def write(self, chunk: bytes) -> Awaitable[None]:
        """Write a piece of the body.  It is dropped where the response may have none (HEAD, 204, 304).

        Raises HTTPOutputError where the body gets longer than the Content-Length says; the response fails by it.
        """
        outgoing = self._open("write()")
        if outgoing.response is None:
            raise RuntimeError("write() was called before write_headers(); call that first")
        outgoing.add(piece_of(chunk))
        outgoing.notify()
        return Written(outgoing)

    def finish(self) -> Awaitable[None]:
        """End the response.

        Raises HTTPOutputError where the body is shorter than the Content-Length says; the response fails by it.
        """
        outgoing = self._open("finish()")
        if outgoing.response is None:
            raise RuntimeError("finish() was called before write_headers(); call that first")
        if outgoing.remaining:
            outgoing.fail(f"{outgoing.remaining} bytes less were written than the Content-Length says")
        outgoing.finished = True
        outgoing.put += 1
        outgoing.notify()
        return Written(outgoing)

    def _open(self, called: str) -> Outgoing:
        outgoing = self._outgoing
        if outgoing.runner is not None:
            outgoing.runner.require_loop()
        if outgoing.finished:
            raise RuntimeError(f"{called} was called after finish(); a response is finished once, when all is written")
        return outgoing


class ServerConnection:
    """Stands for a client's connection: another one for each request, since servers do not tell them apart."""


class HTTPServerRequest:
    """A request as matchers and routers see it, in Tornado's vocabulary; nothing is worked out before it is asked for.

    Args:
        scope: the ASGI scope, or None.
        environ: the WSGI environ, or None.
        target: what was read off it.
        path: the decoded path below the mounts around the router.
    """

    __slots__ = (
        "__weakref__",
        "_arguments",
        "_connection",
        "_environ",
        "_path",
        "_quoted",
        "_scope",
        "_search",
        "_seen",
        "_server_connection",
        "_target",
    )

    version: str = "HTTP/1.1"
    """What delegates may rely on, whatever the server speaks."""

    _search: Any

    def __init__(self, scope: Scope | None, environ: Environ | None, target: Target, path: str) -> None:
        self._scope = scope
        self._environ = environ
        self._target = target
        self._path = path
        self._quoted: str | None = None
        self._seen: _Connection | None = None
        self._arguments: dict[str, list[bytes]] | None = None
        self._connection: HTTPConnection | None = None
        self._server_connection: ServerConnection | None = None
        self._search = None

    def __repr__(self) -> str:
        return f"<HTTPServerRequest {self.method} {self.host}{self.uri}>"

    @property
    def _as_connection(self) -> _Connection:
        """The same request by the names of the rest of the house."""
        if self._seen is None:
            self._seen = _Connection.routed(self._scope, self._environ, self._target, None)
        return self._seen

    @property
    def method(self) -> str:
        """The HTTP method."""
        return self._target.method

    @property
    def path(self) -> str:
        """The path below the mounts around the router, percent-encoded."""
        if self._quoted is None:
            self._quoted = quote_path(self._path)
        return self._quoted

    @property
    def query(self) -> str:
        """The query string as sent, without its question mark."""
        return self._as_connection.query_string

    @property
    def uri(self) -> str:
        """The path and the query."""
        query = self.query
        return f"{self.path}?{query}" if query else self.path

    @property
    def headers(self) -> Headers:
        """The request headers; a repeated one is one value joined by commas, as everywhere."""
        return self._as_connection.headers

    @property
    def host(self) -> str:
        """The Host header, or what stands in for it."""
        return self._target.authority

    @property
    def host_name(self) -> str:
        """The host in lower case, without its port."""
        return self._target.host

    @property
    def protocol(self) -> str:
        """Either http or https, also where the request asks for a websocket."""
        scheme = self._as_connection.scheme
        return {"ws": "http", "wss": "https"}.get(scheme, scheme)

    @property
    def remote_ip(self) -> str:
        """The peer's address; 0.0.0.0 where the server tells none (a unix socket)."""
        client = self._as_connection.client
        return "0.0.0.0" if client is None else client.host

    @property
    def cookies(self) -> dict[str, str]:
        """The cookies by name: plain values, where Tornado has morsels."""
        return self._as_connection.cookies

    @property
    def query_arguments(self) -> dict[str, list[bytes]]:
        """The arguments of the query: the values of each name, as bytes.  Blank values are kept."""
        if self._arguments is None:
            self._arguments = {}
            # As Latin-1 a character is a byte, so a value that is no UTF-8 is not lost.
            for key, value in parse_qsl(self.query, keep_blank_values=True, encoding="latin-1"):
                name = key.encode("latin-1").decode("utf-8", "replace")
                self._arguments.setdefault(name, []).append(value.encode("latin-1"))
        return self._arguments

    @property
    def arguments(self) -> dict[str, list[bytes]]:
        """The same as `query_arguments`: when a request is routed, nobody has read its body."""
        return self.query_arguments

    def full_url(self) -> str:
        """Return the whole URL, the path that the server and mounts have taken included."""
        query = self.query
        path = quote_path(self._target.root_path + self._target.path)
        return f"{self.protocol}://{self.host}{path}" + (f"?{quote_query(query)}" if query else "")

    @property
    def connection(self) -> HTTPConnection:
        """What a message delegate answers this request on."""
        if self._connection is None:
            self._connection = HTTPConnection(self)
        return self._connection

    @property
    def server_connection(self) -> object:
        """Stands for the client's connection; another one for each request."""
        if self._server_connection is None:
            self._server_connection = ServerConnection()
        return self._server_connection
