"""Targets: the bodies of requests and the messages of websockets."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterable
from typing import Any
from unittest import mock

from dualroute import Limits, SyncRequest, WebSocketEndpoint
from dualroute import multipart as multipart_module
from dualroute.bodies import InputChannel
from dualroute.exceptions import BodyTooLarge, ClientDisconnect, MalformedBody, MultiPartException, WebSocketException
from dualroute.formreaders import FormReader, UrlEncodedReader
from dualroute.forms import options_of, parse, reader_for
from dualroute.multipart import MultipartReader
from dualroute.requests import decode_json, decode_text
from dualroute.websockets import MalformedMessage
from tests.fuzz.given import environ_of, scope_of
from tests.fuzz.registry import Choices, target

TIGHT = Limits(
    max_form_fields=4,
    max_form_files=2,
    max_part_size=20,
    max_text_size=100,
    max_file_size=30,
    max_part_headers=3,
    max_part_header_size=120,
)
LOOSE = Limits(max_form_fields=None, max_form_files=None, max_part_size=None, max_text_size=None)


def _shown(reader: FormReader, pieces: Iterable[bytes]) -> Any:
    """Return what comes of a form, so that it can be compared; its files are closed afterwards."""
    try:
        items = parse(reader, pieces)
        return [
            (name, value)
            if isinstance(value, str)
            else (name, value.filename, value.size, value.file.read(), value.headers.multi_items())
            for name, value in items
        ]
    except (MultiPartException, BodyTooLarge) as error:
        assert all(file.closed for file in reader.files), "what failed leaves no file open"
        # Where there is too much in more than one way, it depends on the pieces which is seen first.
        return "too much" if isinstance(error, BodyTooLarge) else str(error)
    finally:
        for file in reader.files:
            file.close()


def _cut(body: bytes, choices: Choices) -> list[bytes]:
    places = sorted({choices.number(256) * len(body) // 256 for _ in range(choices.number(4))} | {0})
    return [body[start:end] for start, end in zip(places, [*places[1:], len(body)], strict=True)]


def _within(fields: Any, limits: Limits) -> bool:
    texts = [field for field in fields if len(field) == 2]
    assert limits.max_form_fields is not None, "the limit is set"
    assert limits.max_form_files is not None, "the limit is set"
    return len(texts) <= limits.max_form_fields and len(fields) - len(texts) <= limits.max_form_files


_CHARSETS = (None, "utf-8", "latin-1", "utf-16", "none-such")


@target(read=lambda data: _shown(UrlEncodedReader(LOOSE), [data]), grows=((b"a=", b"%4", b""), (b"", b"%3D%26", b"")))
def urlencoded(data: bytes) -> None:
    """A urlencoded form is what it is however it was cut, and within its limits."""
    choices = Choices(data)
    limits, charset, pieces = choices.one_of((Limits(), TIGHT)), choices.one_of(_CHARSETS), choices.number(2)
    body = choices.rest
    cut = _cut(body, choices) if pieces else [bytes([byte]) for byte in body]
    body = b"".join(cut)
    whole = _shown(UrlEncodedReader(limits, charset), [body])
    assert _shown(UrlEncodedReader(limits, charset), cut) == whole
    assert isinstance(whole, str) or _within(whole, limits)


def _multipart(body: bytes) -> Any:
    return _shown(MultipartReader("B", LOOSE), [body])


_HEAD = b'--B\r\nContent-Disposition: form-data; name="a"\r\n'


@target(
    read=_multipart,
    grows=(
        (_HEAD + b"\r\n", b"\r\n--B x", b"\r\n--B--"),
        (_HEAD + b"\r\n", b"\r\n--B", b""),
        (_HEAD + b"X: ", b"\r\n ", b"x\r\n\r\n"),
        (_HEAD + b"X: ", b" ", b"x\r\n\r\n"),
        (b"--B", b" ", b"x"),
        (b"", b"\r\n", b"--B--"),
        (b"", _HEAD + b"\r\nx\r\n", b"--B--"),
        (b'--B\r\nContent-Disposition: form-data; name="', b'\\"', b'"\r\n\r\n\r\n--B--'),
        (b"--B\r\nContent-Disposition: form-data; name=a", b";a*0=b", b"\r\n\r\n\r\n--B--"),
    ),
)
def multipart(data: bytes) -> None:
    """A multipart form is what it is however it was cut, and within its limits."""
    choices = Choices(data)
    limits, charset, block = choices.one_of((Limits(), TIGHT)), choices.one_of(_CHARSETS), choices.one_of((64, 65_536))
    pieces = choices.number(2)
    body = choices.rest
    cut = _cut(body, choices) if pieces else [bytes([byte]) for byte in body]
    body = b"".join(cut)
    with mock.patch.object(multipart_module, "BLOCK_SIZE", block):
        whole = _shown(MultipartReader("B", limits, charset), [body])
        assert _shown(MultipartReader("B", limits, charset), cut) == whole
    assert isinstance(whole, str) or _within(whole, limits)


def _by_type(data: bytes) -> tuple[Any, Any]:
    content_type = data.decode("latin-1")
    try:
        reader = reader_for(content_type, Limits())
    except MultiPartException:
        reader = None
    try:
        text = decode_text(b"\xc3\xa9=1", content_type)
    except MalformedBody:
        text = None
    return reader, text


@target(
    read=_by_type,
    grows=(
        (b"multipart/form-data", b";", b""),
        (b'multipart/form-data; boundary="', b'\\"', b""),
        (b"text/plain; charset", b" ", b"=x"),
        (b"text/plain; charset=", b" ", b"x"),
        (b"text/plain", b"; charset*0=x", b""),
        (b"text/plain; charset*=utf-8''", b"%41", b""),
        (b"text/plain", b" ", b"; charset=x"),
    ),
)
def content_type(data: bytes) -> None:
    """A Content-Type leads to a reader or to none, and to text or to 400."""
    reader, text = _by_type(data)
    if isinstance(reader, MultipartReader):
        assert 1 <= len(options_of(data.decode("latin-1"))["boundary"]) <= 70
    assert text is None or isinstance(text, str)


def _json(data: bytes) -> Any:
    try:
        return decode_json(data)
    except MalformedBody as error:
        assert error.status_code == 400
        assert error.response().body.decode().isprintable(), "the answer is one line"
        return None


@target(read=_json, grows=((b"", b"[", b""), (b"", b'{"a":', b""), (b"", b"1", b""), (b'"', b"\\u00e9", b'"')))
def json_body(data: bytes) -> None:
    """A JSON body is a value or 400."""
    value = _json(data)
    if value is not None and value == value:  # NaN
        assert json.loads(json.dumps(value)) == value or "NaN" in json.dumps(value)


@target(read=lambda data: _length(data, 10))
def content_length(data: bytes) -> None:
    """No Content-Length makes a limit lose count, and none has more read than was sent."""
    for sent in (0, 10, 11):
        assert _length(data, sent) in (b"x" * sent, b"", None) or data.strip().isdigit()


def _length(data: bytes, sent: int) -> bytes | None:
    environ = environ_of(b"/", [(b"content-length", data)])
    environ["wsgi.input"].write(b"x" * sent)
    environ["wsgi.input"].seek(0)
    channel = InputChannel(environ)
    channel.restrict(10, SyncRequest.from_environ(environ).headers.get("content-length"))
    found = b""
    try:
        while piece := channel.read():
            found += piece
    except (BodyTooLarge, ClientDisconnect):
        return None
    assert len(found) <= min(sent, 10)
    return found


class _Text(WebSocketEndpoint):
    encoding = "text"


class _Bytes(WebSocketEndpoint):
    encoding = "bytes"


class _JSON(WebSocketEndpoint):
    encoding = "json"


class _Any(WebSocketEndpoint):
    pass


def _decoded(data: bytes) -> list[Any]:
    found: list[Any] = []
    for cls in (_Text, _Bytes, _JSON, _Any):
        for message in ({"bytes": data}, {"text": data.decode("utf-8", "replace")}):
            try:
                found.append(_run(cls.decode(cls.__new__(cls), None, {"type": "websocket.receive", **message})))  # type: ignore[arg-type]  # it looks at the message alone
            except MalformedMessage as error:
                assert error.code == 1003
                found.append(None)
    return found


def _run(coroutine: Any) -> Any:
    """Return what a coroutine returns that waits for nothing."""
    try:
        coroutine.send(None)
    except StopIteration as end:
        return end.value
    raise AssertionError("it waits for something")


@target(read=_decoded, grows=((b"", b"[", b""), (b"", b"1", b"")))
def websocket_message(data: bytes) -> None:
    """A websocket message is of its endpoint's encoding, or closes the websocket with 1003."""
    text, refused, data_refused, data_found = _decoded(data)[0:4]
    assert text is None, "bytes where text is expected"
    assert refused == data.decode("utf-8", "replace")
    assert data_refused == data
    assert data_found is None, "text where bytes are expected"


@target()
def websocket_close(data: bytes) -> None:
    """A websocket is closed with a code and a reason that a frame can hold, whatever an exception says."""
    from dualroute import WebSocket

    choices = Choices(data)
    code = choices.number(256) * 256 + choices.number(256)
    reason = choices.rest.decode("utf-8", "replace")
    events = [{"type": "websocket.connect"}]
    sent: list[Any] = []

    async def receive() -> Any:
        return events.pop()

    async def send(message: Any) -> None:
        sent.append(message)

    async def converse() -> None:
        scope = {**scope_of(b"/", [(b"host", b"site.example")]), "type": "websocket"}
        websocket: WebSocket[Any] = WebSocket(scope, receive, send)
        await websocket.accept()
        for call in websocket.refuse(WebSocketException(code, reason)):
            await call.function(*call.args)

    asyncio.run(converse())
    closed = sent[-1]
    assert closed["type"] == "websocket.close"
    assert closed["code"] == 1011 or closed["code"] == code
    assert 1000 <= closed["code"] < 5000
    assert closed["code"] not in (1004, 1005, 1006, 1015)
    assert len(closed["reason"].encode()) <= 123
    assert reason.startswith(closed["reason"])
