"""Mounted WSGI apps: what they answer, by PEP 3333, on either protocol."""

from __future__ import annotations

import io
import sys
from collections.abc import Iterator
from typing import Any
from wsgiref.validate import validator

import pytest

from dualroute import (
    DualRoute,
    Mount,
    WSGIApp,
)
from tests.mounted_wsgi_helper import (
    TEXT,
    Ask,
    Body,
    Environ,
    answering,
    ask_fixture,
    logged,
)

__all__ = ["ask_fixture"]

# start_response


def test_a_response_has_the_app_s_status_reason_headers_and_body(ask: Ask, protocol: str) -> None:
    headers = [("Content-Type", "text/x"), ("X-A", "1"), ("Set-Cookie", "a=1"), ("Set-Cookie", "b=2")]
    answer = ask(DualRoute(fallback=WSGIApp(validator(answering([b"one"], "299 Odd  One", headers)))))
    assert (answer.status, answer.body, answer.cut) == (299, b"one", False)
    assert [(name.lower(), value) for name, value in answer.headers] == [
        ("content-type", "text/x"),
        ("x-a", "1"),
        ("set-cookie", "a=1"),
        ("set-cookie", "b=2"),
    ]
    if protocol == "wsgi":
        assert answer.reason == "Odd  One"


def test_start_response_may_come_as_late_as_the_first_piece(ask: Ask) -> None:
    def app(environ: Environ, start_response: Any) -> Iterator[bytes]:
        start_response("201 Made", TEXT)
        yield b"one"
        yield b"two"

    answer = ask(DualRoute(fallback=WSGIApp(validator(app))))
    assert (answer.status, answer.body) == (201, b"onetwo")


def test_start_response_may_come_after_empty_pieces(ask: Ask) -> None:
    def app(environ: Environ, start_response: Any) -> Iterator[bytes]:
        yield b""
        yield b""
        start_response("201 Made", TEXT)
        yield b""
        yield b"one"

    answer = ask(DualRoute(fallback=app))
    assert (answer.status, answer.pieces) == (201, [b"one"])


def test_start_response_may_come_without_any_piece(ask: Ask) -> None:
    def app(environ: Environ, start_response: Any) -> Iterator[bytes]:
        start_response("201 Made", TEXT)
        return
        yield b""

    answer = ask(DualRoute(fallback=app))
    assert (answer.status, answer.body) == (201, b"")


def in_the_call(environ: Environ, start_response: Any) -> Any:
    return [b"x"]


def in_a_generator(environ: Environ, start_response: Any) -> Any:
    yield b"x"


def in_an_empty_generator(environ: Environ, start_response: Any) -> Any:
    return
    yield b"x"


def in_another_iterable(environ: Environ, start_response: Any) -> Any:
    return Body(b"x")


@pytest.mark.parametrize("app", [in_the_call, in_a_generator, in_an_empty_generator, in_another_iterable])
def test_an_app_that_never_calls_start_response_is_named(ask: Ask, app: Any, caplog: pytest.LogCaptureFixture) -> None:
    # BAD_INPUTS 23
    answer = ask(DualRoute(fallback=app))
    assert (answer.status, answer.body) == (500, b"Internal Server Error")
    assert f"{app.__name__} did not call start_response" in logged(caplog)


def twice(environ: Environ, start_response: Any) -> Any:
    start_response("200 OK", TEXT)
    start_response("200 OK", TEXT)
    return [b"x"]


def twice_in_a_generator(environ: Environ, start_response: Any) -> Any:
    start_response("200 OK", TEXT)
    start_response("200 OK", TEXT)
    yield b"x"


@pytest.mark.parametrize("app", [twice, twice_in_a_generator])
def test_start_response_twice_is_a_500(ask: Ask, app: Any, caplog: pytest.LogCaptureFixture) -> None:
    assert ask(DualRoute(fallback=app)).status == 500
    line = logged(caplog)
    assert f"{app.__name__} called start_response twice" in line


def test_start_response_twice_after_the_first_piece_cuts_the_response(
    ask: Ask, caplog: pytest.LogCaptureFixture
) -> None:
    def app(environ: Environ, start_response: Any) -> Any:
        start_response("200 OK", TEXT)
        yield b"one"
        start_response("200 OK", TEXT)
        yield b"two"

    answer = ask(DualRoute(fallback=app))
    assert (answer.status, answer.body, answer.cut) == (200, b"one", True)
    assert "called start_response twice" in logged(caplog)


@pytest.mark.parametrize("form", ["call", "generator", "empty pieces"])
def test_start_response_with_exc_info_replaces_what_has_not_gone_out(ask: Ask, form: str) -> None:
    def started(start_response: Any) -> None:
        start_response("200 OK", [*TEXT, ("x-first", "1")])
        try:
            raise LookupError("oops")
        except LookupError:
            start_response("503 Sorry", [*TEXT, ("x-second", "1")], sys.exc_info())

    def call(environ: Environ, start_response: Any) -> Any:
        started(start_response)
        return [b"sorry"]

    def generator(environ: Environ, start_response: Any) -> Any:
        if form == "empty pieces":
            yield b""
        started(start_response)
        yield b"sorry"

    answer = ask(DualRoute(fallback=call if form == "call" else generator))
    assert (answer.status, answer.body) == (503, b"sorry")
    assert (answer.header("x-first"), answer.header("x-second")) == (None, "1")


def test_start_response_with_exc_info_alone_is_fine(ask: Ask) -> None:
    def app(environ: Environ, start_response: Any) -> Any:
        try:
            raise LookupError("oops")
        except LookupError:
            start_response("503 Sorry", TEXT, sys.exc_info())
        return [b"sorry"]

    answer = ask(DualRoute(fallback=app))
    assert (answer.status, answer.body) == (503, b"sorry")


def test_start_response_with_exc_info_raises_it_once_the_headers_went(
    ask: Ask, caplog: pytest.LogCaptureFixture
) -> None:
    raised: list[str] = []

    def app(environ: Environ, start_response: Any) -> Any:
        start_response("200 OK", TEXT)
        yield b"one"
        try:
            raise LookupError("oops")
        except LookupError:
            try:
                start_response("503 Sorry", TEXT, sys.exc_info())
            except LookupError as error:
                raised.append(str(error))
                raise
        yield b"two"

    answer = ask(DualRoute(fallback=app))
    assert (answer.status, answer.body, answer.cut) == (200, b"one", True)
    assert raised == ["oops"]
    assert "LookupError" in logged(caplog)


def test_start_response_with_exc_info_raises_it_once_something_was_written(ask: Ask) -> None:
    raised: list[str] = []

    def app(environ: Environ, start_response: Any) -> Any:
        start_response("200 OK", TEXT)(b"one")
        try:
            raise LookupError("oops")
        except LookupError:
            start_response("503 Sorry", TEXT, sys.exc_info())
        return [b"two"]

    def look(connection: Any) -> Any:
        try:
            return (yield connection)
        except LookupError as error:
            raised.append(str(error))
            raise

    assert ask(DualRoute(fallback=app, middleware=[look])).status == 500
    assert raised == ["oops"]


# Statuses and headers that are none


@pytest.mark.parametrize(
    "status",
    [
        "200",
        "",
        "OK",
        "200OK",
        "20 OK",
        "2000 OK",
        "099 Low",
        "200 O\r\nx: y",
        "200 O\nK",
        "200 \0",
        b"200 OK",
        200,
        None,
    ],
)
def test_a_malformed_status_is_a_500_that_names_the_app(
    ask: Ask, status: Any, caplog: pytest.LogCaptureFixture
) -> None:
    # BAD_INPUTS 23
    answer = ask(DualRoute(fallback=answering([b"x"], status)))
    assert (answer.status, answer.body) == (500, b"Internal Server Error")
    line = logged(caplog)
    assert "the WSGI app tests.mounted_wsgi_helper.answering" in line
    assert "gave the status" in line


def test_a_reason_phrase_outside_latin_1_is_refused_on_both(ask: Ask, caplog: pytest.LogCaptureFixture) -> None:
    assert ask(DualRoute(fallback=answering([b"x"], "200 \u2603"))).status == 500
    assert "gave the status" in logged(caplog)


def test_a_reason_phrase_in_latin_1_is_kept(ask: Ask, protocol: str) -> None:
    answer = ask(DualRoute(fallback=answering([b"x"], "200 D\xe9j\xe0")))
    assert answer.status == 200
    assert answer.reason == ("D\xe9j\xe0" if protocol == "wsgi" else "")


@pytest.mark.parametrize(
    "header",
    [
        ("x-a", "1\r\nx-b: 2"),
        ("x-a", "1\n"),
        ("x-a", "\0"),
        ("x\r\ny", "1"),
        ("x a", "1"),
        ("", "1"),
        ("x-a", "\u2603"),
        ("x-\xe9", "1"),
        ("x-a", 1),
        ("x-a", b"1"),
        ("x-a", None),
        (b"x-a", "1"),
        ("x-a",),
    ],
)
@pytest.mark.parametrize("form", ["list", "generator"])
def test_a_header_that_can_not_be_sent_is_a_500_that_names_the_app(
    ask: Ask, header: Any, form: str, caplog: pytest.LogCaptureFixture
) -> None:
    # BAD_INPUTS 22
    app = answering([b"x"] if form == "list" else lambda: iter([b"x"]), headers=[*TEXT, header])
    answer = ask(DualRoute(fallback=app))
    assert (answer.status, answer.body) == (500, b"Internal Server Error")
    assert answer.header("x-b") is None
    assert "the WSGI app tests.mounted_wsgi_helper.answering" in logged(caplog)


def test_latin_1_bytes_of_a_header_are_preserved(ask: Ask) -> None:
    # BAD_INPUTS 26
    value = "caf\xe9 " + bytes(range(0x80, 0x100)).decode("latin-1")
    answer = ask(DualRoute(fallback=answering([b"x"], headers=[*TEXT, ("x-a", value)])))
    assert (answer.status, answer.header("x-a")) == (200, value)


# What an app returns


class Items:
    """An iterable that is no iterator, with a close."""

    def __init__(self) -> None:
        self.closed = 0

    def __iter__(self) -> Iterator[bytes]:
        return iter([b"one", b"", b"two"])

    def close(self) -> None:
        self.closed += 1


@pytest.mark.parametrize(
    ("result", "expected"),
    [
        (lambda: [b"onetwo"], b"onetwo"),
        (lambda: [b"one", b"", b"two"], b"onetwo"),
        (lambda: (b"one", b"two"), b"onetwo"),
        (list, b""),
        (tuple, b""),
        (lambda: iter([b"one", b"", b"two"]), b"onetwo"),
        (lambda: iter(()), b""),
        (lambda: (item for item in (b"one", b"two")), b"onetwo"),
        (lambda: {b"onetwo": 1}, b"onetwo"),
        (lambda: io.BytesIO(b"one\ntwo"), b"one\ntwo"),
        (Items, b"onetwo"),
        (lambda: type("Sub", (list,), {})([b"one", b"two"]), b"onetwo"),
        (lambda: [bytes(2_000_000)], bytes(2_000_000)),
        (lambda: iter([bytes(1_500_000), bytes(1_500_000)]), bytes(3_000_000)),
    ],
)
def test_any_iterable_of_bytes_is_a_body(ask: Ask, result: Any, expected: bytes) -> None:
    answer = ask(DualRoute([Mount("/old", app=answering(result))]), path="/old/x")
    assert (answer.status, answer.body, answer.cut) == (200, expected, False)


def test_an_iterable_class_with_a_close_is_closed(ask: Ask) -> None:
    made = Items()
    ask(DualRoute(fallback=answering(lambda: made)))
    assert made.closed == 1


def test_a_file_is_closed(ask: Ask) -> None:
    file = io.BytesIO(b"one\ntwo")
    assert ask(DualRoute(fallback=answering(lambda: file))).body == b"one\ntwo"
    assert file.closed


@pytest.mark.parametrize(
    ("result", "named"), [("text", "a str"), (None, "None"), (b"bytes", "a bytes"), ("", "a str"), (b"", "a bytes")]
)
def test_a_result_that_is_no_iterable_of_bytes_is_a_500(
    ask: Ask, result: Any, named: str, caplog: pytest.LogCaptureFixture
) -> None:
    # BAD_INPUTS 23
    answer = ask(DualRoute(fallback=answering(result)))
    assert (answer.status, answer.body) == (500, b"Internal Server Error")
    assert f"answering.<locals>.wsgi returned {named}" in logged(caplog)


def test_a_result_that_can_not_be_iterated_over_is_a_500(ask: Ask, caplog: pytest.LogCaptureFixture) -> None:
    assert ask(DualRoute(fallback=answering(3))).status == 500
    assert "answering.<locals>.wsgi returned a int" in logged(caplog)


@pytest.mark.parametrize("wrong", ["text", "", 3, None, bytearray(b"x")])
@pytest.mark.parametrize("form", [list, tuple, iter])
def test_a_piece_that_is_no_bytes_is_a_500_that_names_the_app(
    ask: Ask, wrong: Any, form: Any, caplog: pytest.LogCaptureFixture
) -> None:
    answer = ask(DualRoute(fallback=answering(lambda: form([wrong, b"x"]))))
    assert (answer.status, answer.body) == (500, b"Internal Server Error")
    assert f"answering.<locals>.wsgi gave a {type(wrong).__name__} for a piece" in logged(caplog)


def test_a_later_piece_that_is_no_bytes_cuts_the_response(ask: Ask, caplog: pytest.LogCaptureFixture) -> None:
    # BAD_INPUTS 30
    answer = ask(DualRoute(fallback=answering(lambda: iter([b"one", "two"]))))
    assert (answer.status, answer.body, answer.cut) == (200, b"one", True)
    assert "gave a str for a piece of its body" in logged(caplog)


def test_a_callable_object_is_named_by_its_class(ask: Ask, caplog: pytest.LogCaptureFixture) -> None:
    class Legacy:
        def __call__(self, environ: Environ, start_response: Any) -> Any:
            return [b"x"]

    ask(DualRoute(fallback=Legacy()))
    assert "Legacy did not call start_response" in logged(caplog)


# write()


@pytest.mark.parametrize("form", ["list", "iterator", "empty list", "generator"])
def test_what_is_written_comes_before_what_is_returned(ask: Ask, form: str) -> None:
    def call(environ: Environ, start_response: Any) -> Any:
        write = start_response("200 OK", TEXT)
        write(b"one,")
        write(b"")
        write(b"two,")
        return {"list": [b"three,", b"four"], "iterator": iter([b"three,", b"", b"four"])}.get(form, [])

    def generator(environ: Environ, start_response: Any) -> Any:
        write = start_response("200 OK", TEXT)
        write(b"one,")
        write(b"two,")
        yield b"three,"
        write(b"four,")
        yield b"five"
        write(b",six")

    answer = ask(DualRoute(fallback=WSGIApp(generator if form == "generator" else call, buffer_size=6)))
    expected = {"empty list": b"one,two,", "generator": b"one,two,three,four,five,six"}
    assert (answer.status, answer.body) == (200, expected.get(form, b"one,two,three,four"))


def test_write_may_begin_after_the_first_piece(ask: Ask) -> None:
    def app(environ: Environ, start_response: Any) -> Any:
        write = start_response("200 OK", TEXT)
        yield b"one,"
        write(b"two,")
        yield b"three"

    assert ask(DualRoute(fallback=app)).body == b"one,two,three"


@pytest.mark.parametrize("buffer_size", [1000, 1_048_576])
def test_what_is_written_may_be_larger_than_the_buffer(
    ask: Ask, buffer_size: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    import tempfile

    made: list[Any] = []
    spooled = tempfile.SpooledTemporaryFile

    def spy(max_size: int) -> Any:
        made.append(spooled(max_size))
        return made[-1]

    monkeypatch.setattr(tempfile, "SpooledTemporaryFile", spy)
    pieces = [bytes([number]) * 1000 for number in range(100)]
    on_disk: list[bool] = []

    def app(environ: Environ, start_response: Any) -> Any:
        write = start_response("200 OK", TEXT)
        for item in pieces:
            write(item)
        on_disk.append(made[0]._rolled)
        return [b"end"]

    answer = ask(DualRoute(fallback=WSGIApp(app, buffer_size=buffer_size)))
    assert answer.body == b"".join(pieces) + b"end"
    assert on_disk == [buffer_size == 1000]
    assert [file.closed for file in made] == [True]


def test_something_else_than_bytes_can_not_be_written(ask: Ask, caplog: pytest.LogCaptureFixture) -> None:
    def app(environ: Environ, start_response: Any) -> Any:
        start_response("200 OK", TEXT)("text")
        return []

    assert ask(DualRoute(fallback=app)).status == 500
    assert "gave a str" in logged(caplog)


def test_an_app_that_fails_after_it_wrote_is_a_500(ask: Ask, caplog: pytest.LogCaptureFixture) -> None:
    def app(environ: Environ, start_response: Any) -> Any:
        start_response("200 OK", TEXT)(b"one")
        raise LookupError("failed")

    answer = ask(DualRoute(fallback=app))
    assert (answer.status, answer.body) == (500, b"Internal Server Error")
    assert "LookupError('failed')" in logged(caplog)


# Bodies that are not sent


@pytest.mark.parametrize("form", [list, iter])
@pytest.mark.parametrize(("method", "status"), [("HEAD", "200 OK"), ("GET", "304 Not Modified"), ("GET", "204 None")])
def test_head_204_and_304_have_the_headers_and_no_body(ask: Ask, form: Any, method: str, status: str) -> None:
    headers = [("x-a", "1"), ("content-length", "3")] + (TEXT if method == "HEAD" else [])
    answer = ask(DualRoute(fallback=answering(lambda: form([b"abc"]), status, headers)), method)
    assert (answer.status, answer.body, answer.header("x-a")) == (int(status[:3]), b"", "1")
    assert answer.header("content-length") == (None if "204" in status else "3")
