"""`request.form()`: a form is read once, and shown to handlers and middleware of either colour.

How the two colours read differs in who waits for the next piece, and in where `flush` is called; the rest is here once.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncIterable, Callable, Generator, Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any, BinaryIO

from dualroute.concurrency import run_in_threadpool
from dualroute.exceptions import BodyTooLarge, HTTPException, MultiPartException
from dualroute.formreaders import FormReader, Item, UrlEncodedReader
from dualroute.limits import Limits
from dualroute.uploads import FormData, SyncFormData, as_upload, close_files, in_memory

if TYPE_CHECKING:
    from dualroute.bodies import Channel
    from dualroute.requests import Request, SyncRequest

__all__ = ["AwaitableForm", "KeptForm", "parse", "parse_async", "read_form", "read_form_async"]

logger: logging.Logger = logging.getLogger("dualroute")

SLICE_SIZE = 262_144
"""How many bytes are parsed at a time, so that what waits to be written stays bounded."""

FLUSH_SIZE = 1_048_576
"""How many bytes may wait to be written to disk before a thread does it."""


class KeptForm:
    """The form of a request once it has been read, or why it could not be.

    Args:
        items: its fields.
        refusal: makes the exception to raise in place of them.
    """

    def __init__(self, items: Sequence[Item] = (), refusal: Callable[[], HTTPException] | None = None) -> None:
        self._items = items
        self._refusal = refusal
        self._form: FormData | None = None
        self._sync_form: SyncFormData | None = None

    def _check(self) -> None:
        if self._refusal is not None:
            raise self._refusal()

    @property
    def refused(self) -> bool:
        """True where the form could not be read."""
        return self._refusal is not None

    @property
    def form(self) -> FormData:
        """The form for an `async def` handler."""
        if self._form is None:
            self._check()
            self._form = form_data(self._items)
        return self._form

    @property
    def sync_form(self) -> SyncFormData:
        """The form for a `def` handler."""
        if self._sync_form is None:
            self._check()
            self._sync_form = SyncFormData(self._items)
        return self._sync_form


class AwaitableForm:
    """What `Request.form` returns: awaited, it is the form; with ``async with``, its files are closed in the end."""

    __slots__ = ("_form", "_read")

    def __init__(self, read: Callable[[], Any]) -> None:
        self._read = read

    def __await__(self) -> Generator[Any, Any, FormData]:
        return self._read().__await__()  # type: ignore[no-any-return]  # a coroutine's

    async def __aenter__(self) -> FormData:
        self._form: FormData = await self
        return self._form

    async def __aexit__(self, *exc_info: object) -> None:
        await self._form.close()


class _Closing:
    """Closes the files of a form at the end of its request."""

    def __init__(self, files: list[BinaryIO]) -> None:
        self._files = files

    @property
    def inline(self) -> bool:
        """True where that does not block."""
        return all(in_memory(file) for file in self._files)

    def __call__(self) -> None:
        for file in self._files:
            file.close()


def reader_for(content_type: str | None, limits: Limits) -> FormReader | None:
    """Return a reader for a body of this type, or None where that is no form.  Raises MultiPartException."""
    if not content_type:
        return None
    from werkzeug.http import parse_options_header

    kind, options = parse_options_header(content_type)
    kind = kind.lower()
    if kind == "multipart/form-data":
        from dualroute.multipart import MultipartReader

        return MultipartReader(options.get("boundary"), limits, options.get("charset"))
    if kind == "application/x-www-form-urlencoded":
        return UrlEncodedReader(limits, options.get("charset"))
    return None


def parse(reader: FormReader, pieces: Iterable[bytes]) -> list[Item]:
    """Have a reader read pieces, and return the fields.  Its files are closed where that fails."""
    try:
        for piece in pieces:
            for part in _sliced(piece):
                reader.feed(part)
                if reader.waiting >= FLUSH_SIZE:
                    reader.flush()
        items = reader.finish()
        reader.flush()
    except BaseException:
        for file in reader.files:
            file.close()
        raise
    return items


async def parse_async(reader: FormReader, pieces: AsyncIterable[bytes]) -> list[Item]:
    """Have a reader read pieces, and return the fields.  Its files are closed where that fails.

    A thread is asked for where something is to be written to disk, and not before.
    """
    try:
        async for piece in pieces:
            for part in _sliced(piece):
                reader.feed(part)
                if reader.waiting >= FLUSH_SIZE:
                    await run_in_threadpool(reader.flush)
        items = reader.finish()
        if reader.waiting:
            await run_in_threadpool(reader.flush)
    except Exception:
        await close_files(reader.files)
        raise
    return items


def form_data(items: Iterable[Item]) -> FormData:
    """Return the form that these fields make, for an `async def` handler."""
    return FormData([(name, value if isinstance(value, str) else as_upload(value)) for name, value in items])


def read_form(request: SyncRequest[Any], channel: Channel, **given: int | float | None) -> SyncFormData:
    """Return the form of a request, read if it has not been.

    Args:
        request: the request.
        channel: its body.
        given: what the caller has for limits, by the names of `Limits`; None for those of the app.
    """
    if channel.form is None:
        with _reading(request, channel, given) as reading:
            if reading.reader is not None:
                reading.items = parse(reading.reader, request.stream())
    return channel.form.sync_form  # type: ignore[union-attr]  # it was just set


async def read_form_async(request: Request[Any], channel: Channel, **given: int | float | None) -> FormData:
    """Return the form of a request, read if it has not been: see `read_form`."""
    if channel.form is None:
        with _reading(request, channel, given) as reading:
            if reading.reader is not None:
                reading.items = await parse_async(reading.reader, request.stream())
    return channel.form.form  # type: ignore[union-attr]  # it was just set


class _Reading:
    items: Sequence[Item] = ()

    def __init__(self, reader: FormReader | None) -> None:
        self.reader = reader


@contextmanager
def _reading(
    request: Request[Any] | SyncRequest, channel: Channel, given: dict[str, int | float | None]
) -> Iterator[_Reading]:
    """Keep what is read within, or why it could not be, and have the files closed with the request."""
    try:
        reader = reader_for(request.headers.get("content-type"), form_limits(given).inside(channel.limits))
        if reader is not None:
            request.closing.append(_Closing(reader.files))
        reading = _Reading(reader)
        yield reading
    except HTTPException as error:
        logger.info("%s %s: %s", request.method, request.path, error.detail)
        channel.form = KeptForm(refusal=_again(error))
        raise
    channel.form = KeptForm(reading.items)


def form_limits(given: dict[str, int | float | None]) -> Limits:
    """Return the limits that a caller has given: infinity stands for any number, and None for nothing given."""
    return Limits(
        **{name: None if most == float("inf") else int(most) for name, most in given.items() if most is not None}
    )


def _again(error: HTTPException) -> Callable[[], HTTPException]:
    """Return what makes an exception like this one, without its traceback, which leads back to the request."""
    if isinstance(error, BodyTooLarge):
        return partial(BodyTooLarge, error.limit, error.message)
    if isinstance(error, MultiPartException):
        return partial(MultiPartException, error.message)
    return partial(HTTPException, error.status_code, error.detail, error.headers)


def _sliced(piece: bytes) -> Iterable[bytes]:
    if len(piece) <= SLICE_SIZE:
        return (piece,)
    return (piece[start : start + SLICE_SIZE] for start in range(0, len(piece), SLICE_SIZE))
