"""Request and SyncRequest: the same names, of which one needs `await` and the other does not.

An `async def` handler is given a `Request` and a `def` handler a `SyncRequest`, on either protocol.  What is done
with the bytes of a body is written once, in the functions at the end.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Any, TypeVar

from dualroute.bodies import Channel, ReceiveChannel, streamable
from dualroute.connection import HTTPConnection, StateT, cookie_parser
from dualroute.exceptions import ClientDisconnect, MalformedBody

if TYPE_CHECKING:
    from dualroute.forms import AwaitableForm
    from dualroute.types import Receive, Scope, Send
    from dualroute.uploads import SyncFormData

__all__ = ["ClientDisconnect", "HTTPConnection", "Request", "StateT", "SyncRequest", "cookie_parser"]

_F = TypeVar("_F", bound=Callable[..., Any])


def _returns_awaitable(function: _F) -> _F:
    """Let a function pass for an `async def`, so that ``yield Call(request.form)`` awaits what it returns."""
    function._is_coroutine = object()  # type: ignore[attr-defined]  # see `dualroute.callables`
    return function


class _BaseRequest(HTTPConnection[StateT]):
    def __init__(self, scope: Scope, receive: Receive | None = None, send: Send | None = None) -> None:
        super().__init__(scope, receive)
        if send is not None and isinstance(self._channel, ReceiveChannel):
            self._channel.send = send

    @property
    def _body_channel(self) -> Channel:
        """Where the body comes from."""
        if self._channel is None:
            raise RuntimeError("this request was made without a receive callable, so it has no body to read")
        return self._channel

    @property
    def last_event_id(self) -> str | None:
        """The id of the last server-sent event that the client has got, where it says so: go on from there."""
        value = self.headers.get("last-event-id")
        return None if value is None else value.encode("latin-1").decode("utf-8", "replace")

    def accepts(self, media_type: str) -> bool:
        """Tell whether the client takes a media type, such as "text/html", by its Accept header."""
        return self.preferred_type((media_type,)) is not None

    def preferred_type(self, media_types: Iterable[str]) -> str | None:
        """Return the one of `media_types` that the client likes best; None where it takes none of them.

        The first of them counts where it likes several as well, or does not say.
        """
        from dualroute.negotiation import best_media_type

        return best_media_type(self.headers.get("accept"), media_types)

    def preferred_language(self, languages: Iterable[str]) -> str | None:
        """Return the one of `languages` that the client likes best; None where it takes none of them.

        "en" does for a client that asks for "en-GB", and the other way round.
        """
        from dualroute.negotiation import best_language

        return best_language(self.headers.get("accept-language"), languages)

    def preferred_encoding(self, encodings: Iterable[str]) -> str | None:
        """Return the one of the content codings in `encodings` that the client likes best; None for no coding."""
        from dualroute.negotiation import best_encoding

        return best_encoding(self.headers.get("accept-encoding"), encodings)

    def in_colour(self, is_async: bool) -> HTTPConnection[StateT]:
        cls: type[_BaseRequest[Any]] = Request if is_async else SyncRequest
        return self if isinstance(self, cls) else self._as(cls)


class Request(_BaseRequest[StateT]):
    """A request as an `async def` handler sees it.

    Args:
        scope: an ASGI scope of type "http".
        receive: the ASGI receive callable.
        send: the ASGI send callable, for early hints and pushes.

    Raises HTTPException(400) for a scope whose target or Host is malformed.
    """

    def stream(self) -> AsyncIterator[bytes]:
        """Return an iterator over the pieces of the body, as they come; they are not kept.

        A wait for the next piece may be cancelled, by a timeout for instance, and taken up again.

        Raises RuntimeError where the body was streamed before; the iterator raises ClientDisconnect where the client
        stops short.
        """
        return _Pieces(streamable(self._body_channel))

    async def body(self) -> bytes:
        """Return the whole body.  It is kept, and may be asked for again."""
        channel = self._body_channel
        if channel.body is None:
            channel.body = b"".join([piece async for piece in self.stream()])
        return channel.body

    async def text(self) -> str:
        """Return the body as text, in the charset of its Content-Type or in UTF-8.  Raises MalformedBody (400)."""
        return decode_text(await self.body(), self.headers.get("content-type"))

    async def json(self) -> Any:
        """Return the body parsed as JSON.

        Raises MalformedBody (400) where it is none, which is also a `json.JSONDecodeError` where it does not parse.
        """
        return decode_json(await self.body())

    @_returns_awaitable
    def form(
        self,
        *,
        max_files: float | None = None,
        max_fields: float | None = None,
        max_part_size: float | None = None,
        max_text_size: float | None = None,
        max_file_size: float | None = None,
    ) -> AwaitableForm:
        """Return the form: ``form = await request.form()``, or ``async with request.form() as form``.

        A body of type multipart/form-data or application/x-www-form-urlencoded is parsed; any other is an empty form,
        and is not read.  The form is kept, and may be asked for again; the body can't be read after it, but before.
        Its files are closed when the request is over.

        Text is UTF-8, unless the form says otherwise: by the charset of a part's Content-Type, by a field
        ``_charset_``, or by the charset of the request's Content-Type, whichever comes first in this list.

        Args:
            max_files: how many files it may have.
            max_fields: how many text fields.
            max_part_size: how many bytes one text field may have.
            max_text_size: how many bytes all of them may have together.
            max_file_size: how many bytes one file may have.

        Each of these counts before the `Limits` of the app, which are what counts where it is None; infinity stands for
        any number.

        Raises MultiPartException (400) for a malformed form, BodyTooLarge (413), ClientDisconnect, and RuntimeError
        where the body was streamed before.
        """
        from dualroute.forms import AwaitableForm

        return AwaitableForm(self, (max_files, max_fields, max_part_size, max_text_size, max_file_size))

    async def close(self) -> None:
        """Close the files of the form, if it was read.  That is done in any case when the request is over."""
        form = self._body_channel.form
        if form is not None and not form.refused:
            await form.form.close()

    async def send_early_hints(self, links: str | Iterable[str], /, *additional_links: str) -> None:
        """Tell the client what it may fetch while it waits for the answer (103 Early Hints, RFC 8297).

        Nothing is sent where the server can't, and it is for HTTP/1.1 and later only, so no answer may depend on it.

        Args:
            links: values of a Link header, or a single one: ``</app.css>; rel=preload; as=style``.
            additional_links: further ones.

        Raises ValueError for what may not stand in a header.
        """
        from dualroute.hints import all_links, hint_event, hint_function

        links = all_links(links, additional_links)
        if (event := hint_event(self, links)) is not None:
            await self._body_channel.send_event(event)
        elif (function := hint_function(self, links)) is not None:
            self._body_channel.in_server_thread(function)

    async def send_push_promise(self, path: str) -> None:
        """Have the server send what is at a path before the client asks for it (RFC 9113 section 8.4).

        Nothing is sent where the server can't, or the client would not have it, as browsers no longer do.

        Args:
            path: the path of what to send.
        """
        from dualroute.hints import push_event

        if (event := push_event(self, path)) is not None:
            await self._body_channel.send_event(event)

    async def is_disconnected(self) -> bool:
        """Tell whether the client is known to have gone.  WSGI servers do not tell before something is sent."""
        return await self._body_channel.gone()


class SyncRequest(_BaseRequest[StateT]):
    """A request as a `def` handler sees it.

    Args:
        scope: an ASGI scope of type "http".
        receive: not used by hand; adapters give a channel that can be read from a thread.
        send: likewise.

    Raises HTTPException(400) for a scope whose target or Host is malformed.
    """

    def stream(self) -> Iterator[bytes]:
        """Return an iterator over the pieces of the body, as they come; they are not kept.

        Raises RuntimeError where the body was streamed before; the iterator raises ClientDisconnect where the client
        stops short.
        """
        return iter(streamable(self._body_channel).read, b"")

    def body(self) -> bytes:
        """Return the whole body.  It is kept, and may be asked for again."""
        channel = self._body_channel
        if channel.body is None:
            channel.body = b"".join(self.stream())
        return channel.body

    def text(self) -> str:
        """Return the body as text, in the charset of its Content-Type or in UTF-8.  Raises MalformedBody (400)."""
        return decode_text(self.body(), self.headers.get("content-type"))

    def json(self) -> Any:
        """Return the body parsed as JSON.

        Raises MalformedBody (400) where it is none, which is also a `json.JSONDecodeError` where it does not parse.
        """
        return decode_json(self.body())

    def form(
        self,
        *,
        max_files: float | None = None,
        max_fields: float | None = None,
        max_part_size: float | None = None,
        max_text_size: float | None = None,
        max_file_size: float | None = None,
    ) -> SyncFormData:
        """Return the form: ``form = request.form()``, or ``with request.form() as form``.

        A body of type multipart/form-data or application/x-www-form-urlencoded is parsed; any other is an empty form,
        and is not read.  The form is kept, and may be asked for again; the body can't be read after it, but before.
        Its files are closed when the request is over.

        Text is UTF-8, unless the form says otherwise: by the charset of a part's Content-Type, by a field
        ``_charset_``, or by the charset of the request's Content-Type, whichever comes first in this list.

        Args:
            max_files: how many files it may have.
            max_fields: how many text fields.
            max_part_size: how many bytes one text field may have.
            max_text_size: how many bytes all of them may have together.
            max_file_size: how many bytes one file may have.

        Each of these counts before the `Limits` of the app, which are what counts where it is None; infinity stands for
        any number.

        Raises MultiPartException (400) for a malformed form, BodyTooLarge (413), ClientDisconnect, and RuntimeError
        where the body was streamed before.
        """
        from dualroute.forms import read_form

        return read_form(self, (max_files, max_fields, max_part_size, max_text_size, max_file_size))

    def close(self) -> None:
        """Close the files of the form, if it was read.  That is done in any case when the request is over."""
        form = self._body_channel.form
        if form is not None and not form.refused:
            form.sync_form.close()

    def send_early_hints(self, links: str | Iterable[str], /, *additional_links: str) -> None:
        """Tell the client what it may fetch while it waits for the answer (103 Early Hints, RFC 8297).

        Nothing is sent where the server can't, and it is for HTTP/1.1 and later only, so no answer may depend on it.

        Args:
            links: values of a Link header, or a single one: ``</app.css>; rel=preload; as=style``.
            additional_links: further ones.

        Raises ValueError for what may not stand in a header.
        """
        from dualroute.hints import all_links, hint_event, hint_function

        links = all_links(links, additional_links)
        if (event := hint_event(self, links)) is not None:
            self._body_channel.send_event_from_thread(event)
        elif (function := hint_function(self, links)) is not None:
            function()

    def send_push_promise(self, path: str) -> None:
        """Have the server send what is at a path before the client asks for it (RFC 9113 section 8.4).

        Nothing is sent where the server can't, or the client would not have it, as browsers no longer do.

        Args:
            path: the path of what to send.
        """
        from dualroute.hints import push_event

        if (event := push_event(self, path)) is not None:
            self._body_channel.send_event_from_thread(event)

    def is_disconnected(self) -> bool:
        """Tell whether the client is known to have gone.  WSGI servers do not tell before something is sent."""
        return self._body_channel.disconnected


class _Pieces:
    """What `Request.stream` returns.  Not a generator, since a cancelled wait would end that for good."""

    __slots__ = ("_channel",)

    def __init__(self, channel: Channel) -> None:
        self._channel = channel

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    async def __anext__(self) -> bytes:
        piece = await self._channel.receive()
        if not piece:
            raise StopAsyncIteration
        return piece


def decode_json(body: bytes) -> Any:
    """Parse a JSON body (RFC 8259: UTF-8).  Raises MalformedBody where it does not parse or nests too deeply."""
    import json

    try:
        return json.loads(body)
    except RecursionError:
        raise MalformedBody("Bad Request: the JSON in the body is nested too deeply") from None
    except json.JSONDecodeError as error:
        from dualroute.jsonerrors import MalformedJSON

        raise MalformedJSON(error) from error
    except ValueError as error:  # it is not even text
        raise MalformedBody(f"Bad Request: the body is not valid JSON: {error}") from error


def decode_text(body: bytes, content_type: str | None) -> str:
    """Decode a body by the charset in its Content-Type, or as UTF-8.  Raises MalformedBody where it can't be."""
    codec: str | None = "utf-8"
    if content_type and "charset" in content_type.lower():
        from werkzeug.http import parse_options_header

        from dualroute.charsets import codec_for

        charset = parse_options_header(content_type)[1].get("charset", "utf-8")
        codec = codec_for(charset)
        if codec is None:
            raise MalformedBody(f"Bad Request: unknown charset {charset!r}")
    try:
        return body.decode(codec or "utf-8")
    except ValueError:
        raise MalformedBody(f"Bad Request: the body is not text in {codec}") from None
