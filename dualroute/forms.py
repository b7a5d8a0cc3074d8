"""`request.form()`: a form is read once, and shown to handlers and middleware of either colour.

How the two colours read differs in who waits for the next piece, and in where `flush` is called; the rest is here once.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncIterable, Callable, Generator, Iterable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any, BinaryIO, TypeAlias

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

Given: TypeAlias = tuple[float | None, float | None, float | None, float | None, float | None]
"""What a caller has for limits, in the order of `_NAMES`; None for those of the app."""

_NAMES = ("max_form_files", "max_form_fields", "max_part_size", "max_text_size", "max_file_size")
_NOTHING: Given = (None, None, None, None, None)
_DEFAULTS = Limits()


class KeptForm:
    """The form of a request once it has been read, or why it could not be.

    Args:
        items: its fields.
        refusal: makes the exception to raise in place of them.
        has_files: False where all of the fields are text.
    """

    _form: FormData | None = None
    _sync_form: SyncFormData | None = None

    def __init__(
        self,
        items: list[Item] | None = None,
        refusal: Callable[[], HTTPException] | None = None,
        *,
        has_files: bool = True,
    ) -> None:
        self._items: list[Item] = [] if items is None else items
        self._refusal = refusal
        self._has_files = has_files

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
            self._form = form_data(self._items, has_files=self._has_files)
        return self._form

    @property
    def sync_form(self) -> SyncFormData:
        """The form for a `def` handler."""
        if self._sync_form is None:
            self._check()
            self._sync_form = SyncFormData._of(self._items)
        return self._sync_form


class AwaitableForm:
    """What `Request.form` returns: awaited, it is the form; with ``async with``, its files are closed in the end."""

    __slots__ = ("_form", "_given", "_request")

    def __init__(self, request: Request[Any], given: Given) -> None:
        self._request = request
        self._given = given

    def __await__(self) -> Generator[Any, Any, FormData]:
        return read_form_async(self._request, self._given).__await__()

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
    kind, _, rest = content_type.partition(";")
    kind = kind.strip(" \t").lower()
    if kind == "application/x-www-form-urlencoded":
        return UrlEncodedReader(limits, options_of(content_type).get("charset") if rest else None)
    if kind == "multipart/form-data":
        from dualroute.multipart import MultipartReader

        options = options_of(content_type)
        return MultipartReader(options.get("boundary"), limits, options.get("charset"))
    return None


def options_of(content_type: str | None) -> dict[str, str]:
    """Return what a Content-Type has beside the type, by name."""
    from werkzeug.http import parse_options_header

    return parse_options_header(content_type)[1]


def parse(reader: FormReader, pieces: Iterable[bytes]) -> list[Item]:
    """Have a reader read pieces, and return the fields.  Its files are closed where that fails."""
    try:
        for piece in pieces:
            for part in (piece,) if len(piece) <= SLICE_SIZE else _sliced(piece):
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


class _Turn:
    """Awaited, it lets the event loop do something else."""

    def __await__(self) -> Generator[None, None, None]:
        yield  # what a loop takes for no more than that, as in asyncio.sleep(0)


async def parse_async(reader: FormReader, pieces: AsyncIterable[bytes]) -> list[Item]:
    """Have a reader read pieces, and return the fields.  Its files are closed where that fails.

    A thread is asked for where something is to be written to disk, and not before.
    """
    try:
        async for piece in pieces:
            for part in (piece,) if len(piece) <= SLICE_SIZE else _sliced(piece):
                reader.feed(part)
                if reader.waiting >= FLUSH_SIZE:
                    await run_in_threadpool(reader.flush)
        for _ in reader.steps():
            await _Turn()
        items = reader.finish()
        if reader.waiting:
            await run_in_threadpool(reader.flush)
    except Exception:
        await close_files(reader.files)
        raise
    return items


def form_data(items: list[Item], *, has_files: bool = True) -> FormData:
    """Return the form that these fields make, for an `async def` handler.

    Args:
        items: the fields.
        has_files: False where all of them are text.
    """
    shown: list[Any] = items
    if has_files:
        shown = [(name, value if isinstance(value, str) else as_upload(value)) for name, value in items]
    return FormData._of(shown)


def read_form(request: SyncRequest[Any], given: Given) -> SyncFormData:
    """Return the form of a request, read if it has not been.

    Args:
        request: the request.
        given: what the caller has for limits.
    """
    channel = request._body_channel
    kept = channel.form
    if kept is None:
        try:
            reader = _begin(request, channel, given)
            items = parse(reader, request.stream()) if reader is not None else []
        except HTTPException as error:
            _refuse(request, channel, error)
            raise
        kept = channel.form = KeptForm(items, has_files=reader is not None and reader.takes_files)
    return kept.sync_form


async def read_form_async(request: Request[Any], given: Given) -> FormData:
    """Return the form of a request, read if it has not been: see `read_form`."""
    channel = request._body_channel
    kept = channel.form
    if kept is None:
        try:
            reader = _begin(request, channel, given)
            items = await parse_async(reader, request.stream()) if reader is not None else []
        except HTTPException as error:
            _refuse(request, channel, error)
            raise
        kept = channel.form = KeptForm(items, has_files=reader is not None and reader.takes_files)
    return kept.form


def _begin(request: Request[Any] | SyncRequest[Any], channel: Channel, given: Given) -> FormReader | None:
    """Return the reader of a request's form, and have its files closed with the request.

    None stands for a body that is no form.  Raises MultiPartException.
    """
    limits = channel.limits or _DEFAULTS
    if given != _NOTHING:
        limits = form_limits(dict(zip(_NAMES, given, strict=True))).inside(channel.limits)
    reader = reader_for(request._content_type(), limits)
    if reader is not None and reader.takes_files:
        request.closing.append(_Closing(reader.files))
    return reader


def _refuse(request: Request[Any] | SyncRequest[Any], channel: Channel, error: HTTPException) -> None:
    """Keep why a form could not be read."""
    logger.info("%s %s: %s", request.method, request.printable_path, error.detail)
    channel.form = KeptForm(refusal=_again(error))


def form_limits(given: Mapping[str, float | None]) -> Limits:
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
    return (piece[start : start + SLICE_SIZE] for start in range(0, len(piece), SLICE_SIZE))
