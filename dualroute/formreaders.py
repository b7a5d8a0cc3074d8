"""Readers of forms, which do no I/O: bytes are fed in as they come, and fields come out in the end.

A reader never blocks but in `flush`, which writes to disk what is to go there: call that in a thread where there is an
event loop.  The outcome depends on the bytes alone, however they were cut into pieces, and the time that it takes
grows with their number alone.
"""

from __future__ import annotations

from binascii import a2b_qp
from collections.abc import Iterator
from dataclasses import dataclass
from operator import itemgetter
from typing import TYPE_CHECKING, BinaryIO, ClassVar, NoReturn, TypeAlias
from urllib.parse import unquote_to_bytes

from dualroute.charsets import UTF_8, codec_for
from dualroute.exceptions import BodyTooLarge, MultiPartException

if TYPE_CHECKING:
    from dualroute.limits import Limits
    from dualroute.uploads import SyncUploadFile

__all__ = ["FormReader", "Item", "UrlEncodedReader"]

Item: TypeAlias = "tuple[str, str | SyncUploadFile]"

BLOCK_SIZE = 65_536
"""How many bytes of a urlencoded form are made text of at a time, or one field where that is larger."""

_SPACES = bytes.maketrans(b"+", b" ")
_SPACES_AND_PAIRS = bytes.maketrans(b"+&", b" =")
# Into quoted-printable, whose escapes have the other sign, with separators that differ from what was escaped.
_QUOTED_PRINTABLE = bytes.maketrans(b"+%&=", b" =\x1e\x1f")
_QUOTED_PRINTABLE_PAIRS = bytes.maketrans(b"+%&=", b" =\x1f\x1f")
_NO_SEPARATORS = bytes(byte for byte in range(256) if byte not in b"&=")

_name_of = itemgetter(0)


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

    takes_files: ClassVar[bool] = False
    """True where such a form may have files in it."""

    waiting: int = 0
    """How many bytes `flush` would write to disk; 0 where it has nothing to do."""

    _text_fields: int = 0
    _text_size: int = 0

    def __init__(self, limits: Limits, charset: str | None = None) -> None:
        self.limits: Limits = limits
        self.files: list[BinaryIO] = []
        """Every file that was opened."""
        self._charset = charset
        self._fields: list[Text | tuple[str, SyncUploadFile]] = []

    def feed(self, piece: bytes) -> None:
        """Take the next piece of the body."""
        raise NotImplementedError

    def steps(self) -> Iterator[None]:
        """Do what `finish` would else do in one go, where that may take long: an event loop may turn in between.

        If it is begun, it is to be run to its end before `finish`.
        """
        return iter(())

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

    The body is kept as it comes, and taken apart in the end.  Until then it is only counted: roughly, and to the byte
    where a field may be too large or one too many.

    Args:
        limits: how much is taken.
        charset: the charset of the request, or None.
    """

    _body: bytes | bytearray = b""
    # Where the first field begins that `_text_fields` does not count yet, and how many ampersands follow.
    _counted: int = 0
    _ends: int = 0
    # Whether every field has one equals sign, so far; and how many separators there were.
    _regular: bool = True
    _separators: int = 0
    _taken: list[Item] | None = None

    def feed(self, piece: bytes) -> None:
        self._count_text(len(piece))
        if not self._body:
            self._body = bytes(piece)
        else:
            if not isinstance(self._body, bytearray):
                self._body = bytearray(self._body)
            self._body += piece
        separators = piece.translate(None, _NO_SEPARATORS)
        if self._regular:
            count, odd = len(separators), self._separators & 1
            self._regular = separators == (b"=&" * (count // 2 + 1))[odd : odd + count]
            self._separators += count
        self._ends += separators.count(b"&")
        if self._may_exceed(0):
            self._count_ended()

    def steps(self) -> Iterator[None]:
        if len(self._body) > BLOCK_SIZE:
            yield from self._steps()

    def finish(self) -> list[Item]:
        if self._taken is None:
            for _ in self._steps():
                pass
        assert self._taken is not None, "the steps take the fields"
        return self._taken

    def _steps(self) -> Iterator[None]:
        """Take the form apart, and yield between its blocks."""
        if self._may_exceed(1):
            self._count_ended()
            last = bytes(self._body[self._counted :])
            if last:
                self._count_part(last)
        body, self._body = self._body, b""
        if self._charset is None or codec_for(self._charset) == UTF_8:
            take = _pairs_in_utf8 if self._regular and self._separators & 1 else _block_in_utf8
            try:
                if len(body) <= BLOCK_SIZE:
                    items = take(bytes(body))
                else:
                    items = []
                    for block in _blocks(body):
                        items += take(block)
                        yield
            except UnicodeDecodeError:
                pass  # it may name its charset
            else:
                # What has neither of these signs can't have that name.
                if (b"_" not in body and b"%" not in body) or "_charset_" not in map(_name_of, items):
                    self._taken = items
                    return
        for block in _blocks(body):
            for part in block.split(b"&"):
                if part:
                    name, _, value = part.partition(b"=")
                    self._fields.append(Text(_unquoted(name), _unquoted(value)))
            yield
        self._taken = self._items()

    def _may_exceed(self, further: int) -> bool:
        """Tell whether what is not counted may be beyond a limit: all of it one field, or all ampersands fields."""
        most_size, most = self.limits.max_part_size, self.limits.max_form_fields
        return (most_size is not None and len(self._body) - self._counted > most_size) or (
            most is not None and self._text_fields + self._ends + further > most
        )

    def _count_ended(self) -> None:
        """Count the fields that have ended, and look at the size of the one that has not."""
        *ended, last = bytes(self._body[self._counted :]).split(b"&")
        for part in ended:
            if part:
                self._count_part(part)
        self._check_field_size(len(last) - 1)  # there may be an equals sign
        self._counted = len(self._body) - len(last)
        self._ends = 0

    def _count_part(self, part: bytes) -> None:
        self._check_field_size(len(part) - (b"=" in part))
        self._count_field()


def _blocks(body: bytes | bytearray) -> Iterator[bytes]:
    """Yield a body in blocks of whole fields."""
    start = 0
    while start < len(body):
        end = body.find(b"&", start + BLOCK_SIZE)
        if end < 0:
            end = len(body)
        yield bytes(body[start:end])
        start = end + 1


# All of a block is decoded at once, since what separates fields is ASCII, and no part of any other character in UTF-8.


def _pairs_in_utf8(block: bytes) -> list[Item]:
    """Return the fields of a block in which every field has one equals sign.  Raises UnicodeDecodeError."""
    if b"%" in block:
        data = _unescaped(block, _QUOTED_PRINTABLE_PAIRS)
        if data is None or data.count(b"\x1f") != 2 * block.count(b"=") - 1:
            return _one_by_one(block)
        texts = data.decode().split("\x1f")
    else:
        data = block.translate(_SPACES_AND_PAIRS) if b"+" in block else block.replace(b"&", b"=")
        texts = data.decode().split("=")
    return list(zip(texts[::2], texts[1::2], strict=True))


def _block_in_utf8(block: bytes) -> list[Item]:
    """Return the fields of any block.  Raises UnicodeDecodeError."""
    ampersand, equals, marked = "&", "=", False
    if b"%" not in block:
        text = (block.translate(_SPACES) if b"+" in block else block).decode()
    else:
        data = _unescaped(block, _QUOTED_PRINTABLE)
        if data is None or data.count(b"\x1e") != block.count(b"&") or data.count(b"\x1f") != block.count(b"="):
            return _one_by_one(block)
        text = data.decode()
        ampersand, equals, marked = "\x1e", "\x1f", True
    items: list[Item] = []
    for part in text.split(ampersand):
        name, found, value = part.partition(equals)
        if marked and equals in value:
            value = value.replace(equals, "=")
        if name or found:
            items.append((name, value))
    return items


def _one_by_one(block: bytes) -> list[Item]:
    """Return the fields of a block, in UTF-8, each decoded by itself.  Raises UnicodeDecodeError."""
    items: list[Item] = []
    for part in block.split(b"&"):
        if part:
            name, _, value = part.partition(b"=")
            items.append((_unquoted(name).decode(), _unquoted(value).decode()))
    return items


def _unescaped(block: bytes, table: bytes) -> bytes | None:
    """Return a block without its escapes; None where a percent sign is none, which is to be kept.

    Args:
        block: the block.
        table: makes quoted-printable of it, with separators that the caller has to tell from what was escaped.
    """
    data = a2b_qp(block.translate(table))
    # What is no escape keeps its sign there, or is one of the line breaks that quoted-printable has and forms have not.
    if b"=" in data and len(data) != len(block) - 2 * block.count(b"%"):
        return None
    return None if block.endswith(b"%") or b"\n" in block or b"\r" in block else data


def _unquoted(data: bytes) -> bytes:
    data = data.replace(b"+", b" ")
    return unquote_to_bytes(data) if b"%" in data else data
