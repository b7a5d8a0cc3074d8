"""Responses: values that say what to send.  An adapter sends them.

A response has a status, headers, and either a `body` of bytes or a `body_iterator` that gives them as they come.
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterable, Callable, Iterable, Mapping
from datetime import datetime
from functools import cache, lru_cache
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Literal, Self, TypeAlias
from urllib.parse import quote

from dualroute.datastructures import HOP_BY_HOP, URL, MutableHeaders
from dualroute.serving import DualCall, Servable

if TYPE_CHECKING:
    from json import JSONEncoder

    from dualroute.background import BackgroundTask, BackgroundTasks
    from dualroute.connection import HTTPConnection
    from dualroute.dispatch import Dispatcher
    from dualroute.encoders import Encoder
    from dualroute.exchange import Call
    from dualroute.fileresponses import FileResponse

__all__ = [
    "AsyncContentStream",
    "Content",
    "ContentStream",
    "FileResponse",
    "HTMLResponse",
    "JSONResponse",
    "PlainTextResponse",
    "RedirectResponse",
    "Response",
    "StreamingResponse",
    "SyncContentStream",
    "has_content",
    "status_line",
]

# What a streaming response takes, for annotations.
Content: TypeAlias = str | bytes | memoryview
SyncContentStream: TypeAlias = Iterable[Content]
AsyncContentStream: TypeAlias = AsyncIterable[Content]
ContentStream: TypeAlias = AsyncContentStream | SyncContentStream

_COOKIE_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_BINARY = (bytes, bytearray, memoryview)
_BYTES = "application/octet-stream"
_TEXT = "text/plain"
# A 204 or 304 has nothing that a type could be about, and PEP 3333's validator wants none there.
_WITHOUT_TYPE = frozenset((204, 304))
_STATUS_LINES: dict[int, str] = {status.value: f"{status.value} {status.phrase}" for status in HTTPStatus}


@cache
def _json_encoder() -> JSONEncoder:
    # Kept, because json.dumps makes a new one at each call with options.
    from json import JSONEncoder

    return JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":"))


@cache
def _quick_json() -> Callable[[Any, int], Iterable[str]] | None:
    """Return what an encoder has the work done by, and makes anew at each call; None where Python has it not.

    It keeps no account of what it is inside of, and so does not end where a value holds itself, but for the limit of
    recursion.
    """
    from json import encoder

    make: Any = getattr(encoder, "c_make_encoder", None)
    quick: Callable[[Any, int], Iterable[str]]
    try:
        quick = make(None, _json_encoder().default, encoder.encode_basestring, None, ":", ",", False, False, False)
        return quick if "".join(quick({"a": [1, "\x7f"]}, 0)) == '{"a":[1,"\x7f"]}' else None
    except TypeError:  # it is no part of what the module promises
        return None


@lru_cache(256)
def _content_type(media_type: str, charset: str) -> str:
    """Return the checked value of a Content-Type header."""
    if media_type.startswith("text/") and "charset=" not in media_type.lower():
        media_type = f"{media_type}; charset={charset}"
    return MutableHeaders({"content-type": media_type})["content-type"]


_Pair: TypeAlias = tuple[str, str]
_RawPair: TypeAlias = tuple[bytes, bytes]


@lru_cache(256)
def _type_header(media_type: str, charset: str) -> tuple[_Pair, _RawPair]:
    """Return a Content-Type header, as WSGI and as ASGI want it.  Raises ValueError for one that may not be sent."""
    value = _content_type(media_type, charset)
    return ("content-type", value), (b"content-type", value.encode("latin-1"))


@lru_cache(4096)
def _length_header(length: int) -> tuple[_Pair, _RawPair]:
    """Return a Content-Length header in both forms."""
    return ("content-length", str(length)), (b"content-length", b"%d" % length)


_OCTETS = _type_header(_BYTES, "")
_new_headers = MutableHeaders.__new__


def status_line(status_code: int, reason: str | None = None) -> str:
    """Return the status and its reason phrase, as WSGI wants them; the registered one where `reason` is None."""
    if reason is not None:
        return f"{status_code} {reason}"
    return _STATUS_LINES.get(status_code) or f"{status_code} Status {status_code}"


class Response(Servable):
    """A response whose body is there in full.

    Args:
        content: the body; text is encoded by `charset`, None is an empty body.
        status_code: the HTTP status.
        headers: further headers; a Content-Type or Content-Length here comes before the ones made up.
        media_type: the media type; a charset is added to one that starts with ``text/``.  Without one, text and an
            empty body are ``text/plain`` and bytes are ``application/octet-stream``, so that nobody has to guess.
        background: what to run after the response was sent: a BackgroundTask or BackgroundTasks.

    A response is itself an app on both protocols: it answers any request with itself.

    Raises ValueError for a header that may not be sent: see `MutableHeaders`.
    """

    media_type: str | None = None
    charset: str = "utf-8"
    body: bytes = b""
    body_iterator: ContentStream | None = None
    background: BackgroundTask | BackgroundTasks | None = None
    incomplete: bool = False
    """True for one that depends on the request: `completion` then leads to the one to send in its place."""
    sent: bool = False
    """True for one that has gone out already."""
    cut: bool = False
    """True for one that has gone out already, but not to its end."""
    encoders: tuple[Encoder, ...] = ()
    """What the pieces of `body_iterator` go through when they are sent: see `transform`."""

    reason: str | None = None
    """The reason phrase, which WSGI servers send; None for the registered one."""

    # The Content-Type that a response of the class has unless it is told otherwise.
    _type: tuple[_Pair, _RawPair] = _type_header(_TEXT, charset)
    # Whether text is encoded in the usual way.
    _is_plain: bool = True
    # None until somebody looks at the headers: most are sent as they come of the body.
    _headers: MutableHeaders | None = None

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        cls._type = _type_header(cls.media_type or _TEXT, cls.charset)
        cls._is_plain = cls.render is Response.render and cls.charset == "utf-8"

    def __init__(
        self,
        content: Any = None,
        status_code: int = 200,
        headers: Mapping[str, str] | None = None,
        media_type: str | None = None,
        background: BackgroundTask | BackgroundTasks | None = None,
    ) -> None:
        self.status_code: int = status_code
        if content.__class__ is str and self._is_plain:
            self.body = content.encode()
        else:
            self.body = self.render(content)
            if self.media_type is None and isinstance(content, _BINARY) and content:
                self._type = _OCTETS
        if media_type is not None:
            self.media_type = media_type
            self._type = _type_header(media_type, self.charset)
        if background is not None:
            self.background: BackgroundTask | BackgroundTasks | None = background
        if headers is not None:
            self._set_headers(headers, len(self.body), self._type[0][1])

    @property
    def headers(self) -> MutableHeaders:
        """The headers.  Those that are made up follow the body until somebody looks at them here."""
        headers = self._headers
        if headers is None:
            headers = self._headers = _new_headers(MutableHeaders)
            if self.status_code == 200 or has_content(self.status_code):
                headers._list = [_length_header(len(self.body))[0], self._type[0]]
            else:
                headers._list = [] if self.status_code in _WITHOUT_TYPE else [self._type[0]]
        return headers

    @headers.setter
    def headers(self, headers: MutableHeaders) -> None:
        self._headers = headers

    def _describe(self, status_code: int, media_type: str | None) -> None:
        self.status_code = status_code
        if media_type is not None:
            self.media_type = media_type

    def render(self, content: Any) -> bytes:
        """Return the bytes for `content`.  Subclasses say how."""
        if content is None:
            return b""
        if isinstance(content, bytes):
            return content
        if isinstance(content, str):
            return content.encode(self.charset)
        if isinstance(content, memoryview | bytearray):
            return bytes(content)
        raise TypeError(
            f"the content of a {type(self).__name__} must be str or bytes, not {type(content).__name__}"
            " (JSONResponse takes values, StreamingResponse takes iterables)"
        )

    def encode(self, piece: bytes | str) -> bytes:
        """Return a piece of the body as bytes."""
        if isinstance(piece, bytes):
            return piece
        if isinstance(piece, str):
            return piece.encode(self.charset)
        if isinstance(piece, bytearray | memoryview):
            return bytes(piece)
        raise TypeError(f"the body of a streaming response must give bytes or str, not {type(piece).__name__}")

    def _set_headers(self, headers: Mapping[str, str] | None, length: int | None, default_type: str) -> None:
        self._headers = MutableHeaders(headers)
        items = self._headers._list
        names = [name for name, _ in items] if items else items
        if length is not None and "content-length" not in names and has_content(self.status_code):
            items.append(("content-length", str(length)))
        if "content-type" not in names and self.status_code not in _WITHOUT_TYPE:
            items.append(("content-type", _content_type(self.media_type or default_type, self.charset)))

    def copied(self) -> Self:
        """Return a response like this one that can be changed by itself."""
        other = object.__new__(self.__class__)
        other.__dict__ = attributes = self.__dict__.copy()
        if "dispatcher" in attributes:  # those of this one as an app
            for name in ("_call_asgi", "asgi", "dispatcher", "wsgi"):
                attributes.pop(name, None)
        if self._headers is not None:
            other._headers = headers = _new_headers(MutableHeaders)
            headers._list = list(self._headers._list)
        return other

    def transform(self, encoder: Encoder) -> None:
        """Have the body go through `encoder` on its way out.

        A body that comes piece by piece is encoded piece by piece when it is sent, and loses its Content-Length.  One
        that is there is encoded here and now, and gets a new one: where it is large, middleware should leave that to
        a thread, by ``yield Call(response.transform, encoder)``.
        """
        if self.body_iterator is not None:
            self.encoders = (*self.encoders, encoder)
            del self.headers["content-length"]
        else:
            self.body = encoder.feed(self.body) + encoder.flush()
            if "content-length" in self.headers:
                self.headers["content-length"] = str(len(self.body))

    @property
    def raw_headers(self) -> list[tuple[bytes, bytes]]:
        """The headers as an ASGI message holds them.  A change of the list is one of the response's headers."""
        return self.headers.raw

    @raw_headers.setter
    def raw_headers(self, raw_headers: Iterable[tuple[bytes, bytes]]) -> None:
        self.headers.raw[:] = raw_headers

    def wire(self, method: str) -> tuple[list[tuple[str, str]], bool]:
        """Return the headers to send in answer to `method`, and whether the body is to follow.

        None follows for HEAD, 1xx, 204 and 304 (RFC 9110 sections 6.4.1 and 9.3.2); a 1xx or 204 has no Content-Length
        either (section 8.6), and a 204 or 304 no Content-Type.  Headers about the connection are the server's affair
        (section 7.6.1; PEP 3333, "Other HTTP Features") and are left out.
        """
        status_code = self.status_code
        may_have_body = status_code == 200 or has_content(status_code)
        if self._headers is None and may_have_body:
            return [_length_header(len(self.body))[0], self._type[0]], method != "HEAD"
        headers = list((self._headers or self.headers)._list)  # which a server may change
        unwanted = HOP_BY_HOP
        if not may_have_body:
            unwanted = unwanted | ({"content-type"} if status_code == 304 else {"content-type", "content-length"})
        for name, _ in headers:
            if name in unwanted:
                headers = [header for header in headers if header[0] not in unwanted]
                break
        return headers, may_have_body and method != "HEAD"

    def head(self, method: str) -> tuple[str, list[tuple[str, str]], bool]:
        """Return the status line, and what `wire` does."""
        if self._headers is None and self.status_code == 200 and self.reason is None:
            return "200 OK", [_length_header(len(self.body))[0], self._type[0]], method != "HEAD"
        headers, has_body = self.wire(method)
        return status_line(self.status_code, self.reason), headers, has_body

    def raw_wire(self, method: str) -> tuple[list[tuple[bytes, bytes]], bool]:
        """Return the same as `wire`, the headers as ASGI wants them."""
        status_code = self.status_code
        if status_code == 200 or has_content(status_code):
            if self._headers is None:
                return [_length_header(len(self.body))[1], self._type[1]], method != "HEAD"
            ready = self._headers.ready()
            if ready is not None:
                return ready, method != "HEAD"
        headers, has_body = self.wire(method)
        return [(name.encode("latin-1"), value.encode("latin-1")) for name, value in headers], has_body

    def set_cookie(
        self,
        key: str,
        value: str = "",
        max_age: int | None = None,
        expires: datetime | str | int | None = None,
        path: str | None = "/",
        domain: str | None = None,
        secure: bool = False,
        httponly: bool = False,
        samesite: Literal["lax", "strict", "none"] | None = "lax",
        partitioned: bool = False,
    ) -> None:
        """Add a Set-Cookie header (RFC 6265 section 4.1).

        Args:
            key: the name, a token.
            value: the value; what may not stand in a cookie is quoted.
            max_age: the life time in seconds.
            expires: when the cookie expires: a time, a date as HTTP writes it, or a number of seconds from now.
            path: the path it is sent to.
            domain: the domain it is sent to; the one of the request where it is None.
            secure: True to have it sent over https only.
            httponly: True to hide it from scripts.
            samesite: when it goes along with requests from other sites; "none" needs `secure`.
            partitioned: True to keep one per top-level site; implies `secure`.

        Raises ValueError for a part that may not stand in the header, and for what browsers would not take: a name
        that starts with ``__Secure-`` or ``__Host-`` without what that stands for, or "none" without `secure`.
        """
        from datetime import UTC, timedelta

        from werkzeug.http import dump_cookie

        from dualroute.cookies import require_acceptable

        if not _COOKIE_NAME.fullmatch(key):
            raise ValueError(f"{key!r} is no cookie name: it must be a token (RFC 6265 section 4.1.1)")
        for name, text in (("path", path), ("domain", domain), ("expires", expires)):
            if isinstance(text, str) and any(character < " " or character in ";\x7f" for character in text):
                raise ValueError(f"the {name} of cookie {key!r} holds a control character or a semicolon: {text!r}")
        secure = secure or partitioned
        require_acceptable(key, path=path, domain=domain, secure=secure, httponly=httponly, samesite=samesite)
        if isinstance(expires, int):
            expires = datetime.now(UTC) + timedelta(seconds=expires)
        self.headers.append(
            "set-cookie",
            dump_cookie(
                key,
                value,
                max_age=max_age,
                expires=expires,
                path=path,
                domain=domain,
                secure=secure,
                httponly=httponly,
                samesite=samesite,
                partitioned=partitioned,
                sync_expires=False,
                max_size=0,
            ),
        )

    def delete_cookie(
        self,
        key: str,
        path: str | None = "/",
        domain: str | None = None,
        secure: bool = False,
        httponly: bool = False,
        samesite: Literal["lax", "strict", "none"] | None = "lax",
        partitioned: bool = False,
    ) -> None:
        """Add a Set-Cookie header that makes the client forget a cookie.

        Args:
            key: its name.
            path: its path, as when it was set.
            domain: its domain, as when it was set.
            secure: as for `set_cookie`, and so are the next two; browsers may ask for it in a cookie of that name.
            httponly: as for `set_cookie`.
            samesite: as for `set_cookie`.
            partitioned: whether it is partitioned, as when it was set.
        """
        self.set_cookie(
            key,
            max_age=0,
            expires=datetime.fromtimestamp(0).astimezone(),
            path=path,
            domain=domain,
            secure=secure,
            httponly=httponly,
            samesite=samesite,
            partitioned=partitioned,
        )

    def completion(self, connection: HTTPConnection) -> Call:
        """Return the call that makes the response to send of one that is incomplete; it may block."""
        raise NotImplementedError

    def add_etag(self, *, weak: bool = False) -> None:
        """Set an ETag made from the body, unless there is one.

        Args:
            weak: True for a weak one, which stands for the same content in other bytes too (RFC 9110 section 8.8.1).

        Raises TypeError for a response whose body comes piece by piece: give that one a header of its own.
        """
        from dualroute.conditional import etag_of

        if self.body_iterator is not None or self.incomplete:
            raise TypeError(f"the body of a {type(self).__name__} is not known, so no ETag can be made from it")
        self.headers.setdefault("etag", f"W/{etag_of(self.body)}" if weak else etag_of(self.body))

    def make_conditional(self, request: HTTPConnection, *, accept_ranges: bool = False) -> Self:
        """Answer the conditions of a request by what the ETag and the Last-Modified of this response say.

        It becomes a 304 or a 412 where the request says so (RFC 9110 section 13), and otherwise stays as it is.  A
        `FileResponse` does so by itself.

        Args:
            request: a request.  Its conditions count for GET and HEAD, and for a response of 2xx.
            accept_ranges: True to answer a request for ranges as well, with 206 or 416, from a body that is there.

        Returns this response, for ``return response.make_conditional(request)``.
        """
        from dualroute.conditional import make_conditional

        if not self.incomplete:
            make_conditional(self, request, accept_ranges=accept_ranges)
        return self

    # Looked up on the class, where Router and DualRoute put it on each instance: responses are made by the thousand.
    __call__: Any = DualCall()

    def _make_dispatcher(self) -> Dispatcher:
        from dualroute.dispatch import Dispatcher

        return Dispatcher.for_response(self)


class PlainTextResponse(Response):
    """Text."""

    media_type: str | None = "text/plain"


class HTMLResponse(Response):
    """An HTML page."""

    media_type: str | None = "text/html"


class JSONResponse(Response):
    """A value as JSON.

    Raises TypeError for a value that JSON has no form for, and ValueError for NaN and the infinities (RFC 8259).
    """

    media_type: str | None = "application/json"

    def render(self, content: Any) -> bytes:
        quick = _quick_json()
        if quick is not None:
            try:
                return "".join(quick(content, 0)).encode()
            except RecursionError:
                pass  # which the encoder knows a better word for
        return _json_encoder().encode(content).encode()


class RedirectResponse(Response):
    """A redirect.

    Args:
        url: where to, absolute or relative; what may not stand in a URL is percent-encoded.
        status_code: 307, the default, keeps the method; 303 asks for GET; 301 and 308 are permanent.
        headers: further headers.
        background: what to run after the response was sent.

    Raises ValueError for a URL with a CR, LF or NUL in it.
    """

    def __init__(
        self,
        url: str | URL,
        status_code: int = 307,
        headers: Mapping[str, str] | None = None,
        background: BackgroundTask | BackgroundTasks | None = None,
    ) -> None:
        text = str(url)
        if any(character in text for character in "\r\n\0"):
            raise ValueError(f"the target of a redirect holds a CR, LF or NUL: {text!r}")
        super().__init__(status_code=status_code, headers=headers, background=background)
        self.headers["location"] = quote(text, safe=":/%#?=@[]!$&'()*+,;~")


class StreamingResponse(Response):
    """A response whose body comes piece by piece.

    Each piece is sent as it comes.  An iterable that is not of the server's own colour is read ahead of what the server
    has taken, by 1 MiB at most.  It is closed in the end, however that comes about (its `close` or `aclose` method, if
    it has one).

    Args:
        content: an iterable or an async iterable of bytes or text.
        status_code: the HTTP status.
        headers: further headers.
        media_type: the media type; ``application/octet-stream`` where it is None.
        background: what to run after the response was sent.

    Either kind of iterable works on both protocols: the other colour's is run where its colour is at home.
    """

    body_iterator: ContentStream | None

    def __init__(
        self,
        content: ContentStream,
        status_code: int = 200,
        headers: Mapping[str, str] | None = None,
        media_type: str | None = None,
        background: BackgroundTask | BackgroundTasks | None = None,
    ) -> None:
        if isinstance(content, str | bytes | bytearray | memoryview | Mapping) or not isinstance(
            content, Iterable | AsyncIterable
        ):
            raise TypeError(
                "a StreamingResponse takes an iterable or an async iterable of bytes or str,"
                f" not {type(content).__name__}"
            )
        self._describe(status_code, media_type)
        if background is not None:
            self.background: BackgroundTask | BackgroundTasks | None = background
        self.body_iterator = content
        self._set_headers(headers, None, _BYTES)


def has_content(status_code: int) -> bool:
    """Tell whether a response of a status may have a body (RFC 9110 section 6.4.1)."""
    return status_code >= 200 and status_code not in (204, 304)


def __getattr__(name: str) -> Any:
    if name == "FileResponse":
        from dualroute.fileresponses import FileResponse

        return FileResponse
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
