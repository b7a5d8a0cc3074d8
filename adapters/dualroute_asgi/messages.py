"""What a mounted ASGI application sends, looked at: statuses, headers and pieces, and what is wrong with them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from dualroute.datastructures import HOP_BY_HOP, MutableHeaders
from dualroute.foreign import AppBroken, MountedResponse
from dualroute.types import Message

if TYPE_CHECKING:
    from dualroute_asgi.mounted import ASGIApp

__all__ = ["is_plain", "piece_from", "response_from", "returned_early", "send_tells"]

# Names of headers that need no closer look, as ASGI has them: bounded, since programs may choose them by what clients
# send.
_plain_names: set[bytes] = set()
_PLAIN_NAMES_LIMIT = 1024


def is_plain(headers: Any, known: Sequence[tuple[bytes, bytes]]) -> bool:
    """Tell whether headers may be sent as they are.  Where not, that takes a closer look, by `response_from`.

    Args:
        headers: what an application gave.
        known: with which they most likely begin; they were looked at before.
    """
    if type(headers) is not list and type(headers) is not tuple:
        return False
    if known:
        count = len(known)
        if headers[:count] == known:
            headers = headers[count:]
    # CR, LF and NUL are told by their numbers: to look for one as bytes takes six times as long.
    for pair in headers:
        if type(pair) is not tuple or len(pair) != 2:
            return False
        name, value = pair
        if type(name) is not bytes or type(value) is not bytes or 13 in value or 10 in value or 0 in value:
            return False
        if name not in _plain_names and not _is_plain_name(name):
            return False
    return True


def _is_plain_name(name: bytes) -> bool:
    text = name.decode("latin-1")
    if text != text.lower() or text in HOP_BY_HOP:
        return False
    try:
        MutableHeaders.of([(text, "")])
    except ValueError:
        return False
    if len(_plain_names) >= _PLAIN_NAMES_LIMIT:
        _plain_names.clear()
    _plain_names.add(name)
    return True


def send_tells(versions: Mapping[str, Any] | None) -> bool:
    """Tell whether an application expects `send` to raise OSError once the client has gone.

    Args:
        versions: what its scope has as "asgi".

    That came with version 2.4 of the ASGI specification for HTTP; before, it does nothing then (ASGI, "Disconnected
    Client").  There are applications whose stream is not closed before the garbage collector comes, where it raises.
    """
    version = str((versions or {}).get("spec_version", "2.0"))
    try:
        return tuple(map(int, version.split("."))) >= (2, 4)
    except ValueError:
        return False


def returned_early(app: ASGIApp, *, started: bool) -> str:
    """Return what to say of an application that returned too soon."""
    return f"{app.described()} returned {'before the end of its response' if started else 'without a response'}"


def piece_from(app: ASGIApp, message: Message) -> bytes:
    """Return the piece of the body in an ``http.response.body`` event.  Raises AppBroken where it is no bytes."""
    piece = message.get("body", b"")
    if not isinstance(piece, bytes | bytearray | memoryview):
        raise AppBroken(f"{app.described()} sent a body of type {type(piece).__name__}; it must be bytes")
    return piece  # type: ignore[return-value]  # the others are taken as bytes


def response_from(app: ASGIApp, message: Message) -> MountedResponse:
    """Return the response that an ``http.response.start`` event begins.  Raises AppBroken where it can't be sent."""
    status = message.get("status")
    if not isinstance(status, int) or not 100 <= status <= 999:
        raise AppBroken(f"{app.described()} gave the status {status!r}; it must be a number of three digits")
    try:
        headers = [(name.decode("latin-1"), value.decode("latin-1")) for name, value in message.get("headers") or ()]
        return MountedResponse(status, headers)
    except (AttributeError, TypeError, ValueError) as error:
        raise AppBroken(f"{app.described()} gave a response header that can't be sent: {error}") from error
