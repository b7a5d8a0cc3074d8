"""Readers of forms, which do no I/O: bytes are fed in as they come, and fields come out in the end.

A reader never blocks but in `flush`, which writes to disk what is to go there: call that in a thread where there is an
event loop.  The outcome depends on the bytes alone, however they were cut into pieces, and the time that it takes
grows with their number alone.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, BinaryIO, NoReturn, TypeAlias
from urllib.parse import unquote_to_bytes

from dualroute.charsets import UTF_8, codec_for
from dualroute.exceptions import BodyTooLarge, MultiPartException

if TYPE_CHECKING:
    from dualroute.limits import Limits
    from dualroute.uploads import SyncUploadFile

__all__ = ["FormReader", "Item", "UrlEncodedReader"]

Item: TypeAlias = "tuple[str, str | SyncUploadFile]"


@dataclass(slots=True)
class Text:
    """A text field, not decoded yet, since the charset may come last.

    Args:
        name: its name, where that is known to be in UTF-8, or as it was sent.
        value: its value.
        charset: the charset that it came with by itself.
    """

    name: str | bytes
    value: bytes
    charset: str | None = None


class FormReader:
    """A form that is being read; the base of both kinds.

    Args:
        limits: how much is taken.
        charset: the charset of the request, or None.

    Reading raises MultiPartException for what is malformed, and BodyTooLarge.
    """

    waiting: int = 0
    """How many bytes `flush` would write to disk; 0 where it has nothing to do."""

    def __init__(self, limits: Limits, charset: str | None = None) -> None:
        self.limits: Limits = limits
        self.files: list[BinaryIO] = []
        """Every file that was opened."""
        self._charset = charset
        self._fields: list[Text | tuple[str, SyncUploadFile]] = []
        self._text_fields = 0
        self._text_size = 0

    def feed(self, piece: bytes) -> None:
        """Take the next piece of the body."""
        raise NotImplementedError

    def finish(self) -> list[Item]:
        """Return the fields of the form, which has come whole.  There may be something to `flush` first."""
        raise NotImplementedError

    def flush(self) -> None:
        """Write to disk what is to go there."""

    def _count_field(self) -> None:
        self._text_fields += 1
        most = self.limits.max_form_fields
        if most is not None and self._text_fields > most:
            raise BodyTooLarge(most, f"a form may have {most} fields")

    def _count_text(self, size: int) -> None:
        self._text_size += size
        most = self.limits.max_text_size
        if most is not None and self._text_size > most:
            raise BodyTooLarge(most, f"the text of a form may have {most} bytes")

    def _check_field_size(self, size: int) -> None:
        most = self.limits.max_part_size
        if most is not None and size > most:
            raise BodyTooLarge(most, f"a field of a form may have {most} bytes")

    def _items(self) -> list[Item]:
        default = self._default_charset()
        items: list[Item] = []
        for entry in self._fields:
            if isinstance(entry, Text):
                name = entry.name if isinstance(entry.name, str) else _decoded(entry.name, default)
                items.append((name, _decoded(entry.value, entry.charset or default)))
            else:
                items.append(entry)
        return items

    def _default_charset(self) -> str:
        """Return the charset of text that names none: a field ``_charset_`` tells it (RFC 7578 section 4.6)."""
        for entry in self._fields:
            if isinstance(entry, Text) and entry.name in ("_charset_", b"_charset_") and entry.value:
                return entry.value.decode("latin-1")
        return self._charset or UTF_8


def _decoded(data: bytes, charset: str) -> str:
    codec = UTF_8 if charset == UTF_8 else codec_for(charset)
    if codec is None:
        raise MultiPartException("the charset of the form is unknown")
    try:
        return data.decode(codec)
    except ValueError:
        raise MultiPartException(f"the form has a field that is not text in {codec}") from None


def malformed(reason: str) -> NoReturn:
    """Raise MultiPartException."""
    raise MultiPartException(f"the form can't be read: {reason}")


class UrlEncodedReader(FormReader):
    """A form of type ``application/x-www-form-urlencoded`` (WHATWG URL section 5).

    Args:
        limits: how much is taken.
        charset: the charset of the request, or None.
    """

    def __init__(self, limits: Limits, charset: str | None = None) -> None:
        super().__init__(limits, charset)
        # The field that is not at its end yet, in pieces.
        self._open: list[bytes] = []
        self._open_size = 0

    def feed(self, piece: bytes) -> None:
        self._count_text(len(piece))
        first, *others = piece.split(b"&")
        self._extend(first)
        for part in others:
            self._end()
            self._extend(part)

    def finish(self) -> list[Item]:
        self._end()
        return self._items()

    def _extend(self, part: bytes) -> None:
        if part:
            self._open.append(part)
            self._open_size += len(part)
            self._check_field_size(self._open_size - 1)  # there may be an equals sign

    def _end(self) -> None:
        if not self._open:
            return
        name, equals, value = b"".join(self._open).partition(b"=")
        self._check_field_size(self._open_size - len(equals))
        self._open.clear()
        self._open_size = 0
        self._count_field()
        self._fields.append(Text(_unquoted(name), _unquoted(value)))


def _unquoted(data: bytes) -> bytes:
    data = data.replace(b"+", b" ")
    return unquote_to_bytes(data) if b"%" in data else data
