"""Uploaded files and form data by themselves."""

from __future__ import annotations

import asyncio
import io
import threading
from collections.abc import Awaitable, Callable
from tempfile import SpooledTemporaryFile, TemporaryFile
from typing import Any, BinaryIO, cast

import pytest

import dualroute.datastructures
from dualroute.datastructures import FormData, Headers, SyncFormData, SyncUploadFile, UploadFile
from dualroute.uploads import as_upload


def run(function: Callable[[], Awaitable[None]]) -> None:
    async def main() -> None:
        await function()

    asyncio.run(main())


def spooled(size: int = 10) -> BinaryIO:
    return cast(BinaryIO, SpooledTemporaryFile(size))


def on_disk() -> BinaryIO:
    return cast(BinaryIO, TemporaryFile())  # a test closes it


class Watched(io.BytesIO):
    """A file that remembers the threads it was used in."""

    _rolled = True

    def __init__(self, content: bytes = b"") -> None:
        super().__init__(content)
        self.threads: set[int] = set()

    def read(self, size: int | None = -1) -> bytes:
        self.threads.add(threading.get_ident())
        return super().read(size)


MAKERS = pytest.mark.parametrize("make", [io.BytesIO, spooled, on_disk], ids=["memory", "spooled", "disk"])


@MAKERS
def test_a_file_is_read_and_written_in_both_colours(make: Any) -> None:
    file = SyncUploadFile(make(), size=0, filename="x")
    file.write(b"hello ")
    file.write(b"world")
    file.seek(0)
    assert (file.read(5), file.read(), file.read(), file.size) == (b"hello", b" world", b"", 11)
    file.close()
    assert file.file.closed

    async def main() -> None:
        file = UploadFile(make(), size=0, filename="x")
        await file.write(b"hello ")
        await file.write(b"world")
        await file.seek(0)
        assert (await file.read(5), await file.read(), await file.read(), file.size) == (b"hello", b" world", b"", 11)
        await file.close()
        assert file.file.closed

    run(main)


def test_a_file_says_what_the_client_said() -> None:
    headers = Headers({"Content-Type": "image/png"})
    file = UploadFile(io.BytesIO(), filename="a.png", headers=headers)
    assert (file.filename, file.size, file.content_type, file.headers) == ("a.png", None, "image/png", headers)
    assert repr(file) == "UploadFile(filename='a.png', size=None, headers=Headers([('content-type', 'image/png')]))"
    bare = SyncUploadFile(io.BytesIO())
    assert (bare.filename, bare.content_type, bare.headers) == (None, None, Headers())


def test_a_size_that_is_not_known_stays_so() -> None:
    file = SyncUploadFile(io.BytesIO())
    file.write(b"1")
    assert file.size is None


def test_the_two_colours_of_a_file_are_one_file() -> None:
    file = SyncUploadFile(io.BytesIO(b"abc"), size=3, filename="x")
    other = as_upload(file)

    async def main() -> None:
        assert await other.read(1) == b"a"
        await other.seek(3)
        await other.write(b"d")

    run(main)
    assert (file.size, file.file, file.filename) == (4, other.file, "x")


def test_what_lies_on_disk_is_read_in_a_thread_and_what_is_in_memory_is_not() -> None:
    async def main() -> None:
        file = Watched(b"abc")
        assert await UploadFile(file).read() == b"abc"
        assert threading.get_ident() not in file.threads
        file = Watched(b"abc")
        file._rolled = False
        assert await UploadFile(file).read() == b"abc"
        assert file.threads == {threading.get_ident()}

    run(main)


def test_a_write_that_sends_a_file_to_disk_is_made_in_a_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    threads: list[int] = []
    rollover = SpooledTemporaryFile.rollover

    def noted(self: Any) -> None:
        threads.append(threading.get_ident())
        rollover(self)

    monkeypatch.setattr(SpooledTemporaryFile, "rollover", noted)

    async def main() -> None:
        file = UploadFile(spooled(10))
        await file.write(b"0123456789")
        assert threads == []
        await file.write(b"0")
        assert len(threads) == 1
        assert threads[0] != threading.get_ident()
        await file.close()

    run(main)


def test_a_form_shows_the_last_value_of_a_name_and_lists_them_all() -> None:
    file = UploadFile(io.BytesIO())
    form = FormData([("a", "1"), ("f", file), ("a", "2")])
    assert (form["a"], form["f"], form.get("b")) == ("2", file, None)
    assert form.getlist("a") == ["1", "2"]
    assert form.multi_items() == [("a", "1"), ("f", file), ("a", "2")]
    assert (list(form), len(form), "f" in form) == (["a", "f"], 2, True)
    assert FormData({"a": "1"}) == FormData([("a", "1")])


def test_closing_a_form_closes_its_files() -> None:
    files = [io.BytesIO(), on_disk(), spooled(), on_disk()]
    with SyncFormData([("a", "1"), *(("f", SyncUploadFile(file)) for file in files)]) as form:
        assert form["a"] == "1"
    assert all(file.closed for file in files)
    more = [io.BytesIO(), on_disk(), spooled(), on_disk()]

    async def main() -> None:
        await FormData([("a", "1"), *(("f", UploadFile(file)) for file in more)]).close()

    run(main)
    assert all(file.closed for file in more)


def test_a_form_that_fails_within_its_block_closes_its_files() -> None:
    file = io.BytesIO()
    with pytest.raises(LookupError), SyncFormData([("f", SyncUploadFile(file))]):
        raise LookupError
    assert file.closed


def test_the_names_are_where_starlette_has_them() -> None:
    assert dualroute.datastructures.UploadFile is UploadFile
    with pytest.raises(AttributeError, match="no attribute 'Nothing'"):
        dualroute.datastructures.Nothing  # noqa: B018
