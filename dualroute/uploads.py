"""Forms and the files in them, as handlers of either colour see them.

An `async def` handler gets a `FormData` with `UploadFile`s, whose methods are awaited; a `def` handler gets a
`SyncFormData` with `SyncUploadFile`s, which have the same methods to be called.  What both show is one file.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Iterable
from typing import Any, BinaryIO, Self

from dualroute.concurrency import run_in_threadpool
from dualroute.datastructures import Headers, ImmutableMultiDict

__all__ = ["FormData", "SyncFormData", "SyncUploadFile", "UploadFile"]


class _Upload:
    """An uploaded file, whoever reads it.

    Args:
        file: where its bytes are.
        size: how many there are, where that is known.
        filename: the name that the client gave it.  It is not to be trusted: it may hold slashes, or be empty.
        headers: the headers of its part of the form.
    """

    def __init__(
        self,
        file: BinaryIO,
        *,
        size: int | None = None,
        filename: str | None = None,
        headers: Headers | None = None,
    ) -> None:
        self.file: BinaryIO = file
        self.size: int | None = size
        self.filename: str | None = filename
        self.headers: Headers = headers if headers is not None else Headers()

    @property
    def content_type(self) -> str | None:
        """The Content-Type that the client gave it, or None.  It is not to be trusted."""
        return self.headers.get("content-type")

    def _note_write(self, data: bytes) -> None:
        if self.size is not None:
            self.size += len(data)

    def __repr__(self) -> str:
        return f"{type(self).__name__}(filename={self.filename!r}, size={self.size!r}, headers={self.headers!r})"


class SyncUploadFile(_Upload):
    """An uploaded file as a `def` handler sees it.

    Args:
        file: where its bytes are.
        size: how many there are, where that is known.
        filename: the name that the client gave it.  It is not to be trusted: it may hold slashes, or be empty.
        headers: the headers of its part of the form.
    """

    def read(self, size: int = -1) -> bytes:
        """Return the next `size` bytes, or all that follow."""
        return self.file.read(size)

    def write(self, data: bytes) -> None:
        """Write where the file stands."""
        self._note_write(data)
        self.file.write(data)

    def seek(self, offset: int) -> None:
        """Go to a place, counted in bytes from the start."""
        self.file.seek(offset)

    def close(self) -> None:
        """Close the file.  Those of a request's form are closed with the request."""
        self.file.close()


class UploadFile(_Upload):
    """An uploaded file as an `async def` handler sees it.

    What is held in memory is read and written in place; what lies on disk, in a thread.

    Args:
        file: where its bytes are.
        size: how many there are, where that is known.
        filename: the name that the client gave it.  It is not to be trusted: it may hold slashes, or be empty.
        headers: the headers of its part of the form.
    """

    async def read(self, size: int = -1) -> bytes:
        """Return the next `size` bytes, or all that follow."""
        data: bytes = await self._call(self.file.read, size)
        return data

    async def write(self, data: bytes) -> None:
        """Write where the file stands."""
        self._note_write(data)
        limit = getattr(self.file, "_max_size", 0)
        if limit and in_memory(self.file) and self.file.tell() + len(data) > limit:
            await run_in_threadpool(self.file.write, data)  # it goes to disk by this
        else:
            await self._call(self.file.write, data)

    async def seek(self, offset: int) -> None:
        """Go to a place, counted in bytes from the start."""
        await self._call(self.file.seek, offset)

    async def close(self) -> None:
        """Close the file.  Those of a request's form are closed with the request."""
        await self._call(self.file.close)

    async def _call(self, function: Callable[..., Any], *args: Any) -> Any:
        return function(*args) if in_memory(self.file) else await run_in_threadpool(function, *args)


class FormData(ImmutableMultiDict[str, str | UploadFile]):
    """The fields of a form: text, and files as an `async def` handler sees them.

    Args:
        items: pairs, or a mapping.
        pairs: further pairs, by name.
    """

    __slots__ = ()

    async def close(self) -> None:
        """Close the files."""
        await close_files([value.file for _, value in self._list if isinstance(value, UploadFile)])


class SyncFormData(ImmutableMultiDict[str, str | SyncUploadFile]):
    """The fields of a form: text, and files as a `def` handler sees them.

    As a context manager it closes the files in the end.

    Args:
        items: pairs, or a mapping.
        pairs: further pairs, by name.
    """

    __slots__ = ()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the files."""
        for _, value in self._list:
            if isinstance(value, SyncUploadFile):
                value.close()


def in_memory(file: Any) -> bool:
    """Tell whether a file is held in memory: a BytesIO, or a SpooledTemporaryFile that was not moved to disk."""
    rolled = getattr(file, "_rolled", None)
    return isinstance(file, io.BytesIO) if rolled is None else not rolled


async def close_files(files: Iterable[BinaryIO]) -> None:
    """Close files, those on disk in a thread, all of them at once."""
    on_disk = []
    for file in files:
        if in_memory(file):
            file.close()
        else:
            on_disk.append(file)
    if on_disk:
        await run_in_threadpool(_close, on_disk)


def _close(files: Iterable[BinaryIO]) -> None:
    for file in files:
        file.close()


def as_upload(upload: SyncUploadFile) -> UploadFile:
    """Return the same file for an `async def` handler: what one of the two changes, the other shows."""
    other = UploadFile.__new__(UploadFile)
    other.__dict__ = upload.__dict__
    return other
