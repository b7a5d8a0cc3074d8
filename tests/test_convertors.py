"""Convertors, by themselves and in the paths of routes."""

from __future__ import annotations

import math
import uuid
from collections.abc import Iterator
from datetime import datetime
from typing import Any
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dualroute import (
    Convertor,
    DualRoute,
    NoMatchFound,
    PlainTextResponse,
    Request,
    Response,
    Route,
    SyncRequest,
    register_url_convertor,
)
from dualroute.convertors import CONVERTOR_TYPES
from tests.conftest import Serve

UUID = uuid.UUID("12345678-abcd-ef01-2345-6789abcdef01")


@pytest.fixture(autouse=True)
def _registry_as_before() -> Iterator[None]:
    before = dict(CONVERTOR_TYPES)
    yield
    CONVERTOR_TYPES.clear()
    CONVERTOR_TYPES.update(before)


def show_value(request: SyncRequest) -> Response:
    return PlainTextResponse(repr(request.path_params["value"]))


def app_for(*templates: str) -> DualRoute:
    """Return an app that shows what the parameter called "value" became."""
    return DualRoute([Route(template, show_value, name=template) for template in templates])


class Even(Convertor[int]):
    """Takes even numbers; its regex can't tell."""

    regex = "[0-9]+"

    def convert(self, value: str) -> int:
        number = int(value)
        if number % 2:
            raise ValueError("odd")
        return number

    def to_string(self, value: int) -> str:
        return str(value)


class Text(Convertor[str]):
    """Takes what the regex that a test gives takes."""

    def __init__(self, regex: str) -> None:
        self.regex = regex  # type: ignore[misc]  # an attribute of the instance serves as well

    def convert(self, value: str) -> str:
        return value

    def to_string(self, value: str) -> str:
        return value


BOTH_WAYS: list[tuple[str, str, Any]] = [
    ("str", "abc", "abc"),
    ("str", "a b-c.d~", "a b-c.d~"),
    ("str", "ümlaut", "ümlaut"),
    ("int", "0", 0),
    ("int", "42", 42),
    ("float", "42", 42.0),
    ("float", "3.25", 3.25),
    ("uuid", str(UUID), UUID),
    ("path", "a", "a"),
    ("path", "a/b/c.txt", "a/b/c.txt"),
    ("path", "", ""),
]


@pytest.mark.parametrize(("kind", "text", "value"), BOTH_WAYS)
def test_builtin_convertors_go_both_ways(kind: str, text: str, value: Any) -> None:
    convertor = CONVERTOR_TYPES[kind]
    assert convertor.convert(text) == value
    assert type(convertor.convert(text)) is type(value)
    assert convertor.to_string(value) == text


@pytest.mark.parametrize(("kind", "text", "value"), BOTH_WAYS)
def test_a_handler_gets_the_converted_value(serve: Serve, kind: str, text: str, value: Any) -> None:
    client = serve(app_for("/at/{value:%s}" % kind))  # noqa: UP031  # the braces are the template's
    assert client.get(f"/at/{text}").text == repr(value)


def test_str_is_the_default(serve: Serve) -> None:
    assert serve(app_for("/{value}")).get("/12").text == "'12'"


@pytest.mark.parametrize(
    ("kind", "text"),
    [
        ("str", ""),
        ("str", "a/b"),
        ("int", ""),
        ("int", "-1"),
        ("int", "+1"),
        ("int", "1.0"),
        ("int", "1_000"),
        ("int", "0x10"),
        ("int", " 1"),
        ("int", "1\n"),
        ("int", "١٢"),  # Arabic-Indic digits, which \\d would take
        ("float", ""),
        ("float", "-1.0"),
        ("float", "1."),
        ("float", ".5"),
        ("float", "1e5"),
        ("float", "nan"),
        ("float", "inf"),
        ("float", "1,5"),
        ("uuid", ""),
        ("uuid", "12345678"),
        ("uuid", str(UUID) + "0"),
        ("uuid", str(UUID).replace("a", "g")),
        ("uuid", "{" + str(UUID) + "}"),
    ],
)
def test_text_that_a_convertor_does_not_take_is_404(serve: Serve, kind: str, text: str) -> None:
    client = serve(app_for("/at/{value:%s}" % kind))  # noqa: UP031
    assert client.get("/at/" + quote(text)).status_code == 404


def test_a_uuid_may_be_in_upper_case(serve: Serve) -> None:
    assert serve(app_for("/{value:uuid}")).get("/" + str(UUID).upper()).text == repr(UUID)


def test_an_integer_too_long_for_python_is_404(serve: Serve) -> None:
    client = serve(app_for("/{value:int}"))
    assert client.get("/" + "9" * 4300).status_code == 200
    assert client.get("/" + "9" * 4301).status_code == 404


def test_a_float_beyond_the_range_does_not_match(serve: Serve) -> None:
    # Its answer could not be JSON, for one thing (RFC 8259 section 6).
    client = serve(app_for("/{value:float}"))
    assert client.get("/" + "9" * 308).status_code == 200
    assert client.get("/" + "9" * 400).status_code == 404


@pytest.mark.parametrize(
    ("kind", "value", "reason"),
    [
        ("str", "", "must not be empty"),
        ("str", "a/b", "must not contain a slash"),
        ("int", -1, "negative integers are not supported"),
        ("int", "one", "invalid literal"),
        ("float", -0.5, "not negative"),
        ("float", math.nan, "finite"),
        ("float", math.inf, "finite"),
        ("float", -math.inf, "finite"),
        ("uuid", "no", "badly formed"),
    ],
)
def test_convertors_refuse_values_that_would_not_come_back(kind: str, value: Any, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        CONVERTOR_TYPES[kind].to_string(value)
    with pytest.raises(NoMatchFound, match=reason):
        app_for("/{value:%s}" % kind).url_path_for("/{value:%s}" % kind, value=value)  # noqa: UP031


@pytest.mark.parametrize(
    ("kind", "value", "text"),
    [("int", "7", "7"), ("int", True, "1"), ("float", 3, "3"), ("float", "2.50", "2.5"), ("uuid", UUID.hex, str(UUID))],
)
def test_values_of_another_type_are_taken_where_their_meaning_is_plain(kind: str, value: Any, text: str) -> None:
    assert CONVERTOR_TYPES[kind].to_string(value) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.0, "0"),
        (-0.0, "0"),
        (0.1, "0.1"),
        (10.0, "10"),
        (100.5, "100.5"),
        (1e16, "10000000000000000"),
        (1e22, "1" + "0" * 22),
        (1e-7, "0.0000001"),
        (1.5e-30, "0." + "0" * 29 + "15"),
    ],
)
def test_floats_are_written_without_an_exponent(value: float, text: str) -> None:
    assert CONVERTOR_TYPES["float"].to_string(value) == text


@given(st.floats(min_value=0, allow_nan=False, allow_infinity=False))
def test_a_float_comes_back_from_its_url_as_it_was(value: float) -> None:
    app = app_for("/{value:float}")
    path = app.url_path_for("/{value:float}", value=value)
    assert CONVERTOR_TYPES["float"].convert(path.removeprefix("/")) == value


@given(st.integers(min_value=0, max_value=10**40))
def test_an_integer_comes_back_from_its_url_as_it_was(value: int) -> None:
    convertor = CONVERTOR_TYPES["int"]
    assert convertor.convert(convertor.to_string(value)) == value


class DateTimeConvertor(Convertor[datetime]):
    """The one that the documentation writes: its regex holds a group, and a dot that may match a slash."""

    regex = "[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(.[0-9]+)?"

    def convert(self, value: str) -> datetime:
        return datetime.strptime(value, "%Y-%m-%dT%H:%M:%S")

    def to_string(self, value: datetime) -> str:
        return value.strftime("%Y-%m-%dT%H:%M:%S")


def test_the_documented_datetime_convertor_works_both_ways(serve: Serve) -> None:
    register_url_convertor("datetime", DateTimeConvertor())
    app = app_for("/history/{value:datetime}")
    when = datetime(2026, 2, 3, 4, 5, 6)
    path = app.url_path_for("/history/{value:datetime}", value=when)
    assert path == "/history/2026-02-03T04:05:06"
    client = serve(app)
    assert client.get(str(path)).text == repr(when)
    # The regex takes fractions of a second, and `convert` does not: no match, then.
    assert client.get(f"{path}.5").status_code == 404
    assert client.get(f"{path}/5").status_code == 404
    assert client.get("/history/2026-13-03T04:05:06").status_code == 404


def test_a_value_that_convert_refuses_falls_on_to_the_next_route(serve: Serve) -> None:
    register_url_convertor("even", Even())
    client = serve(app_for("/{value:even}", "/{value:int}", "/{value}"))
    assert client.get("/4").text == "4"
    assert client.get("/5").text == "5"
    assert client.get("/x").text == "'x'"


def test_a_value_that_convert_refuses_is_no_405_either(serve: Serve) -> None:
    register_url_convertor("even", Even())
    client = serve(app_for("/{value:even}"))
    assert client.post("/4").status_code == 405
    assert client.post("/5").status_code == 404


def test_another_error_in_convert_is_logged_and_answered_as_one_in_a_handler_is(
    serve: Serve, caplog: pytest.LogCaptureFixture
) -> None:
    class Failing(Text):
        def convert(self, value: str) -> str:
            raise KeyError("a mistake in the convertor")

    register_url_convertor("failing", Failing("[a-z]+"))
    response = serve(app_for("/{value:failing}")).get("/abc")
    assert (response.status_code, response.text) == (500, "Internal Server Error")
    assert [type(record.exc_info[1]) for record in caplog.records if record.exc_info] == [KeyError]


def test_any_kind_of_valueerror_in_convert_is_no_match(serve: Serve) -> None:
    class Decoding(Text):
        def convert(self, value: str) -> str:
            return bytes.fromhex(value).decode("utf-8")

    register_url_convertor("hex", Decoding("[0-9a-f]+"))
    client = serve(app_for("/{value:hex}"))
    assert client.get("/6f6b").text == "'ok'"
    assert client.get("/6").status_code == 404
    assert client.get("/ff").status_code == 404


@pytest.mark.parametrize(
    ("regex", "path", "value"),
    [
        ("[a-z]+/[0-9]+", "/at/ab/12/end", "ab/12"),  # a slash in the regex
        (".+", "/at/a/b/c/end", "a/b/c"),  # a dot takes slashes too
        ("[^x]+", "/at/a/b/end", "a/b"),  # and so does a negated class
        (r"\S+", "/at/a/b/end", "a/b"),
        ("[!-~]+", "/at/a/b/end", "a/b"),  # a range that has the slash inside
        ("(a|b)+", "/at/abba/end", "abba"),
        ("a|bb|ccc", "/at/ccc/end", "ccc"),
        ("(?:x(y)?)+", "/at/xyx/end", "xyx"),
        ("(?P<year>[0-9]{4})-(?P<week>[0-9]{2})", "/at/2026-07/end", "2026-07"),
        ("(?i:abc)", "/at/aBC/end", "aBC"),
        (r"\d{2}", "/at/12/end", "12"),
        ("[a-z]*", "/at//end", ""),
    ],
)
def test_a_regex_may_hold_groups_and_may_match_slashes(serve: Serve, regex: str, path: str, value: str) -> None:
    register_url_convertor("own", Text(regex))
    client = serve(app_for("/at/{value:own}/end"))
    assert client.get(path).text == repr(value)
    assert client.get("/at/%2E%2E%2E%00/end").status_code == 404


def test_the_groups_of_one_convertor_do_not_disturb_the_next_parameter(serve: Serve) -> None:
    register_url_convertor("grouped", Text("([a-z])([a-z])?"))

    async def show_all(request: Request) -> Response:
        return PlainTextResponse(repr(request.path_params))

    client = serve(DualRoute([Route("/{a:grouped}-{b:grouped}/{c:grouped}.{d:int}", show_all)]))
    assert client.get("/x-yz/q.7").text == "{'a': 'x', 'b': 'yz', 'c': 'q', 'd': 7}"


@pytest.mark.parametrize("regex", ["(?i)abc", r"(a)\1", "(?P<_0>a)"])
def test_a_regex_that_can_not_stand_inside_another_is_refused_with_the_route(regex: str) -> None:
    register_url_convertor("unfit", Text(regex))
    with pytest.raises(ValueError, match=r"a convertor's regex does not fit into '/x/\{value:unfit\}': "):
        app_for("/x/{value:unfit}")


def test_a_convertor_registered_anew_counts_for_the_routes_made_from_then_on(serve: Serve) -> None:
    register_url_convertor("mine", Text("a+"))
    app = app_for("/first/{value:mine}")
    register_url_convertor("mine", Text("b+"))
    app.add_route("/second/{value:mine}", show_value)
    client = serve(app)
    assert [client.get(path).status_code for path in ("/first/a", "/first/b", "/second/a", "/second/b")] == [
        200,
        404,
        404,
        200,
    ]


class _NoRegex:
    def convert(self, value: str) -> str:
        return value

    to_string = convert


class _NoToString:
    regex = "a"

    def convert(self, value: str) -> str:
        return value


@pytest.mark.parametrize(
    ("key", "convertor", "error", "message"),
    [
        ("two words", Even(), ValueError, "a convertor's name must be an identifier, not 'two words'"),
        ("", Even(), ValueError, "a convertor's name must be an identifier, not ''"),
        ("even", Even, TypeError, "register an instance: register_url_convertor('even', Even())"),
        ("none", _NoRegex(), TypeError, "convertor 'none' needs a regex that is not empty"),
        ("empty", Text(""), TypeError, "convertor 'empty' needs a regex that is not empty"),
        ("half", _NoToString(), TypeError, "convertor 'half' needs a method to_string(value)"),
        ("open", Text("(a"), ValueError, "the regex of convertor 'open' does not compile: '(a': "),
    ],
)
def test_registering_what_is_no_convertor_says_why(
    key: str, convertor: Any, error: type[Exception], message: str
) -> None:
    with pytest.raises(error) as caught:
        register_url_convertor(key, convertor)
    assert str(caught.value).startswith(message)
    assert key not in CONVERTOR_TYPES


def test_the_base_class_names_the_method_that_is_missing() -> None:
    class Bare(Convertor[str]):
        regex = "a"

    with pytest.raises(NotImplementedError, match=r"Bare must define convert\(value\)"):
        Bare().convert("a")
    with pytest.raises(NotImplementedError, match=r"Bare must define to_string\(value\)"):
        Bare().to_string("a")


def test_an_assertion_in_to_string_refuses_a_value_as_starlettes_convertors_do() -> None:
    class Asserting(Text):
        def to_string(self, value: str) -> str:
            assert value != "bad", "may not be bad"
            return value

    register_url_convertor("asserting", Asserting("[a-z]+"))
    app = app_for("/{value:asserting}")
    assert app.url_path_for("/{value:asserting}", value="good") == "/good"
    with pytest.raises(NoMatchFound, match="may not be bad"):
        app.url_path_for("/{value:asserting}", value="bad")
