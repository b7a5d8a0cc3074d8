"""The reader of multipart forms (RFC 7578), around Werkzeug's decoder.

The decoder takes apart what it is given.  This module sees to what it is given: blocks of one size, whatever the
pieces that came, none of which ends within a line that may be a boundary, since the decoder would take a part of that
line for data.  It also counts, and puts large files on disk.
"""

from __future__ import annotations

import re
from tempfile import SpooledTemporaryFile
from typing import TYPE_CHECKING, Any, BinaryIO, ClassVar, cast

from werkzeug.http import parse_options_header
from werkzeug.sansio.multipart import Data, Field, File, MultipartDecoder, NeedData, State

from dualroute.datastructures import Headers
from dualroute.exceptions import BodyTooLarge
from dualroute.formreaders import FormReader, Item, Text, malformed
from dualroute.uploads import SyncUploadFile

if TYPE_CHECKING:
    from dualroute.limits import Limits

__all__ = ["MultipartReader"]

BLOCK_SIZE = 65_536
"""How many bytes are decoded at a time; so many may come before the first boundary, too."""

SPOOL_SIZE = 1_048_576
"""How many bytes a file may have to be held in memory."""

SMALL_SPOOL_SIZE = 65_536
"""The same, where the files of the form hold MEMORY already."""

MEMORY = 8 * 1_048_576
"""How many bytes of files are held in memory before only small ones are."""

_HEADS = (Field, File)

# RFC 2046 section 5.1.1, but for what stands in it: clients are known to use other characters than those listed there.
_BOUNDARY = re.compile("[ -~]{0,69}[!-~]")


class _Lines:
    """The patterns of the lines that a boundary makes."""

    __slots__ = ("first", "further", "open")

    def __init__(self, delimiter: bytes) -> None:
        # A boundary with the line breaks around it, of which the second is no other boundary's first.
        line = rb"%s(?:--|[^\S\r\n]*+(?:\r\n|\r|\n))" % re.escape(delimiter)
        self.further = re.compile(rb"(?:\r\n|\r|\n)" + line)
        self.first = re.compile(rb"(?:\A|\r\n|\r|\n)" + line)
        # A line that begins like a boundary, whose end has not come.
        self.open = re.compile(rb"(?:\r\n|\r|\n)%s(?:-|[^\S\r\n]*+\r?)\Z" % re.escape(delimiter))


class _File:
    """A file that is being read."""

    __slots__ = ("file", "on_disk", "size", "upload")

    def __init__(self, file: Any, upload: SyncUploadFile) -> None:
        self.file = file
        self.upload = upload
        self.size = 0
        self.on_disk = False


class MultipartReader(FormReader):
    """A form of type ``multipart/form-data``.

    Args:
        boundary: the boundary, as the Content-Type has it, or None.
        limits: how much is taken.
        charset: the charset of the request, or None.
        spool_size: how many bytes a file may have to be held in memory.

    Raises MultiPartException for what can be no boundary.
    """

    takes_files: ClassVar[bool] = True
    waiting: int = 0

    def __init__(
        self, boundary: str | None, limits: Limits, charset: str | None = None, *, spool_size: int = SPOOL_SIZE
    ) -> None:
        super().__init__(limits, charset)
        if not boundary:
            malformed("its Content-Type has no boundary")
        if not _BOUNDARY.fullmatch(boundary):
            malformed("its boundary must have 1 to 70 characters of ASCII")
        delimiter = b"--" + boundary.encode("ascii")
        self._delimiter = delimiter
        self._decoder = MultipartDecoder(boundary.encode("ascii"))
        self._lines: _Lines | None = None
        self._spool_size = spool_size
        self._block = bytearray()
        self._complete = False
        self._part: _File | Text | None = None
        self._chunks: list[bytes] = []
        self._chunks_size = 0
        self._held = 0
        # What flush() writes, each with its file, and None where a file is complete.
        self._writes: list[tuple[Any, bytes | None]] = []

    def feed(self, piece: bytes) -> None:
        for start in range(0, len(piece), BLOCK_SIZE):
            if self._complete:
                return  # what follows the last boundary is passed over (RFC 2046 section 5.1.1)
            self._block += piece[start : start + BLOCK_SIZE]
            while len(self._block) >= BLOCK_SIZE and not self._complete:
                block = bytes(self._block[:BLOCK_SIZE])
                safe = self._safe_size(block)
                if safe == 0:
                    malformed("a boundary has no end")
                del self._block[:safe]
                self._decode(block[:safe])

    def finish(self) -> list[Item]:
        if not self._complete:
            block, self._block = self._block, bytearray()
            self._decode(bytes(block), last=True)
        if not self._complete:
            malformed("it has no boundary" if self._decoder.state is State.PREAMBLE else "it ends within a part")
        return self._items()

    def _safe_size(self, block: bytes) -> int:
        """Return how many bytes of a block come before what may be a boundary that is not there whole."""
        if self._lines is None:
            # To compile them takes longer than to read a small form, and boundaries hardly ever come twice.
            self._lines = _Lines(self._delimiter)
        size = len(block)
        begun = self._decoder.state is not State.PREAMBLE
        after = 0  # the last boundary that is there whole
        for match in (self._lines.further if begun else self._lines.first).finditer(block):
            if match.end() < size or not block.endswith(b"\r"):  # which may be half a line break
                after = match.end()
        found = self._lines.open.search(block, after)
        if found is not None:
            return found.start()
        # A line break, and the delimiter's beginning.
        start = max(after, size - len(self._delimiter))
        at = max(block.rfind(b"\n", start), block.rfind(b"\r", start))
        if at < 0 or not self._delimiter.startswith(block[at + 1 :]):
            return size
        return at - 1 if at > after and block[at - 1 : at + 1] == b"\r\n" else at

    def _decode(self, block: bytes, *, last: bool = False) -> None:
        decoder = self._decoder
        decoder.receive_data(block)
        while True:
            state, size = decoder.state, len(decoder.buffer)
            if state is State.EPILOGUE:
                self._complete = True
                return
            try:
                event = decoder.next_event()
            except ValueError:
                malformed("the headers of a part are malformed")
            if state is State.PART:
                # Without the line break in front of an empty line; one that did not come may be there in part.
                self._check_header_size(size - (4 if decoder.state is state else len(decoder.buffer) + 2))
            if isinstance(event, Data):
                self._take_data(event.data)
                if not event.more_data:
                    self._end_part()
            elif isinstance(event, _HEADS):
                self._begin_part(event)
            elif isinstance(event, NeedData):
                if state is State.PREAMBLE and not last:
                    malformed("it does not begin with its boundary")
                return

    def _check_header_size(self, size: int) -> None:
        most = self.limits.max_part_header_size
        if most is not None and size > most:
            malformed(f"the headers of a part may have {most} bytes")

    def _begin_part(self, event: Any) -> None:
        headers = [(str(name), str(value)) for name, value in event.headers]
        most = self.limits.max_part_headers
        if most is not None and len(headers) > most:
            malformed(f"a part may have {most} headers")
        if event.name is None:
            malformed("a part has no name")
        content_type = None
        for name, value in headers:
            if "\0" in name or "\0" in value:
                malformed("the headers of a part are malformed")
            if content_type is None and name.lower() == "content-type":
                content_type = value
        if isinstance(event, File):
            self._begin_file(event.name, event.filename, headers)
        else:
            self._count_field()
            self._count_text(len(event.name))
            self._part = Text(event.name, b"", _charset_of(content_type))

    def _begin_file(self, name: str, filename: str, headers: list[tuple[str, str]]) -> None:
        most = self.limits.max_form_files
        if most is not None and len(self.files) >= most:
            raise BodyTooLarge(most, f"a form may have {most} files")
        if "\0" in filename:  # percent-encoded, as RFC 2231 has it
            malformed("the headers of a part are malformed")
        file = cast(BinaryIO, SpooledTemporaryFile(self._spool_size))  # noqa: SIM115  # closed with the request
        self.files.append(file)
        upload = SyncUploadFile(
            file,
            size=0,
            filename=filename,
            headers=Headers([(key, value.encode().decode("latin-1")) for key, value in headers]),
        )
        self._part = _File(file, upload)
        self._fields.append((name, upload))

    def _take_data(self, data: bytes) -> None:
        part = self._part
        if isinstance(part, _File):
            if data:
                self._take_file_data(part, data)
        else:
            self._chunks.append(data)
            self._chunks_size += len(data)
            self._check_field_size(self._chunks_size)
            self._count_text(len(data))

    def _take_file_data(self, part: _File, data: bytes) -> None:
        part.size += len(data)
        most = self.limits.max_file_size
        if most is not None and part.size > most:
            raise BodyTooLarge(most, f"a file may have {most} bytes")
        if not part.on_disk:
            crowded = self._held + len(data) > MEMORY and part.size > SMALL_SPOOL_SIZE
            if crowded or part.size > self._spool_size:
                part.on_disk = True
                self._held -= part.size - len(data)
            else:
                self._held += len(data)
                part.file.write(data)
        if part.on_disk:
            self._writes.append((part.file, data))
            self.waiting += len(data)

    def _end_part(self) -> None:
        part, self._part = self._part, None
        if isinstance(part, _File):
            part.upload.size = part.size
            if part.on_disk:
                self._writes.append((part.file, None))
                self.waiting += 1
            else:
                part.file.seek(0)
        elif part is not None:
            part.value = b"".join(self._chunks)
            self._chunks.clear()
            self._chunks_size = 0
            self._fields.append(part)

    def flush(self) -> None:
        writes, self._writes = self._writes, []
        self.waiting = 0
        for file, data in writes:
            if data is None:
                file.seek(0)
            else:
                file.rollover()
                file.write(data)


def _charset_of(content_type: str | None) -> str | None:
    if not content_type or "charset" not in content_type.lower():
        return None
    return parse_options_header(content_type)[1].get("charset")
