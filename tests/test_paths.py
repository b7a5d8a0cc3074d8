"""Path templates: what they match, what they refuse, and how they are filled."""

from __future__ import annotations

import re
from typing import Any
from urllib.parse import unquote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dualroute import JSONResponse, Mount, Response, Route, Router, SyncRequest
from dualroute.matching import HTTP, Miss
from dualroute.paths import Template, compile_path, nearest, quote_path
from tests.conftest import Serve


def show_params(request: SyncRequest) -> Response:
    return JSONResponse({name: str(value) for name, value in request.path_params.items()})


def exactly(message: str) -> str:
    return f"^{re.escape(message)}$"


def match(template: str, path: str) -> dict[str, Any] | None:
    """Return what the parameters of a route's `template` are in `path`, or None where it does not match."""
    table = Router([Route(template, show_params)]).table
    found = table.match(HTTP, "GET", "testserver", path.split("/")[1:], 0, Miss())
    return None if found is None else found[1]


MATCHES: list[tuple[str, str, dict[str, Any] | None]] = [
    ("/", "/", {}),
    ("/", "//", None),
    ("/a", "/a", {}),
    ("/a", "/A", None),
    ("/a", "/a/", None),
    ("/a", "/ab", None),
    ("/a", "/a\n", None),
    ("/a/", "/a/", {}),
    ("/a/", "/a", None),
    ("/a//b", "/a//b", {}),
    ("/a//b", "/a/b", None),
    # one parameter, one segment
    ("/{name}", "/x", {"name": "x"}),
    ("/{name}", "/", None),
    ("/{name}", "/x/", None),
    ("/{name}", "/x/y", None),
    ("/{name}", "/x\ny", {"name": "x\ny"}),
    ("/{name}/b", "//b", None),
    ("/{a}/{b}/{c}", "/1/2/3", {"a": "1", "b": "2", "c": "3"}),
    ("/{n:int}", "/1\n", None),
    ("/{_x1}", "/v", {"_x1": "v"}),
    ("/{имя}", "/v", {"имя": "v"}),
    # text beside parameters
    ("/{name}.json", "/report.json", {"name": "report"}),
    ("/{name}.json", "/a.b.json", {"name": "a.b"}),
    ("/{name}.json", "/a\nb.json", {"name": "a\nb"}),
    ("/{name}.json", "/.json", None),
    ("/{name}.json", "/reportXjson", None),
    ("/{name}.json", "/a/b.json", None),
    ("/@{user}", "/@me", {"user": "me"}),
    ("/@{user}", "/me", None),
    ("/@{user}", "/@", None),
    ("/v{major:int}.{minor:int}", "/v1.22", {"major": 1, "minor": 22}),
    ("/v{major:int}.{minor:int}", "/v1.x", None),
    # several parameters in one segment: the first takes as much as it can
    ("/{a}-{b}", "/x-y", {"a": "x", "b": "y"}),
    ("/{a}-{b}", "/x-y-z", {"a": "x-y", "b": "z"}),
    ("/{a}-{b}", "/x-", None),
    ("/{a}-{b}", "/-", None),
    ("/{a:int}{b}", "/12ab", {"a": 12, "b": "ab"}),
    # a path parameter at the end, in the middle, beside text, twice
    ("/{rest:path}", "/", {"rest": ""}),
    ("/{rest:path}", "/a/b/", {"rest": "a/b/"}),
    ("/{rest:path}", "//a", {"rest": "/a"}),
    ("/{rest:path}", "/a\n/b", {"rest": "a\n/b"}),
    ("/files/{rest:path}", "/files/", {"rest": ""}),
    ("/files/{rest:path}", "/files", None),
    ("/files/{rest:path}/edit", "/files/a/edit", {"rest": "a"}),
    ("/files/{rest:path}/edit", "/files/a/b/edit", {"rest": "a/b"}),
    ("/files/{rest:path}/edit", "/files/a/edit/edit", {"rest": "a/edit"}),
    ("/files/{rest:path}/edit", "/files//edit", {"rest": ""}),
    ("/files/{rest:path}/edit", "/files/edit", None),
    ("/files/{rest:path}/{name}.txt", "/files/a/b/c.txt", {"rest": "a/b", "name": "c"}),
    ("/files/{rest:path}/edit", "/files/a\n\n/b/edit", {"rest": "a\n\n/b"}),
    ("/x{rest:path}", "/x", {"rest": ""}),
    ("/x{rest:path}", "/xy/z", {"rest": "y/z"}),
    ("/{a:path}/to/{b:path}", "/1/to/2/to/3", {"a": "1/to/2", "b": "3"}),
    ("/{id:int}/{rest:path}", "/7/a/b", {"id": 7, "rest": "a/b"}),
    ("/{id:int}/{rest:path}", "/x/a/b", None),
    # text beyond ASCII, and text that a regular expression would read otherwise
    ("/café/{dish}", "/café/crème", {"dish": "crème"}),
    ("/日本/{x}語", "/日本/中国語", {"x": "中国"}),
    ("/a.b", "/a.b", {}),
    ("/a.b", "/axb", None),
    ("/a.b{x}", "/axb1", None),
    (r"/a+b*(c)[d]^$|\w", r"/a+b*(c)[d]^$|\w", {}),
    (r"/a+b*(c)[d]^$|\w{x}", r"/a+b*(c)[d]^$|\w1", {"x": "1"}),
    (r"/{x}a+b*(c)[d]^$|\w/{rest:path}.*", r"/1a+b*(c)[d]^$|\w/2.*", {"x": "1", "rest": "2"}),
    ("/{x}.*", "/1.*", {"x": "1"}),
    ("/{x}.*", "/123", None),
    ("/a b%20c", "/a b%20c", {}),
]


@pytest.mark.parametrize(("template", "path", "params"), MATCHES)
def test_a_template_matches_as_written(template: str, path: str, params: dict[str, Any] | None) -> None:
    assert match(template, path) == params


@pytest.mark.parametrize(("template", "path", "params"), MATCHES)
def test_a_request_is_matched_by_its_decoded_path(
    serve: Serve, template: str, path: str, params: dict[str, Any] | None
) -> None:
    response = serve(Router([Route(template, show_params)], redirect_slashes=False)).get(
        "http://testserver" + quote_path(path)
    )
    if params is None:
        assert response.status_code == 404
    else:
        assert response.json() == {name: str(value) for name, value in params.items()}


def test_an_encoded_slash_is_a_slash_since_servers_hand_over_decoded_paths(serve: Serve) -> None:
    client = serve(Router([Route("/{a}/{b}", show_params)]))
    assert client.get("/x%2Fy").json() == {"a": "x", "b": "y"}


def test_an_encoded_question_mark_is_part_of_the_path(serve: Serve) -> None:
    client = serve(Router([Route("/a?b", show_params)]))
    assert client.get("/a%3Fb").json() == {}
    assert client.get("/a?b").status_code == 404


MISTAKES = [
    ("users", "a path must start with a slash: 'users'"),
    ("", "a path must start with a slash: ''"),
    ("{name}", "a path must start with a slash: '{name}'"),
    (
        "/{id:itn}",
        (
            "unknown convertor 'itn' in '/{id:itn}'; did you mean 'int'? "
            "(registered: float, int, path, str, uuid; see register_url_convertor)"
        ),
    ),
    (
        "/{id:zebra}",
        (
            "unknown convertor 'zebra' in '/{id:zebra}' "
            "(registered: float, int, path, str, uuid; see register_url_convertor)"
        ),
    ),
    ("/{a}/{a}", "parameter 'a' is repeated in '/{a}/{a}'"),
    ("/{a:int}-{a:path}", "parameter 'a' is repeated in '/{a:int}-{a:path}'"),
    *(
        (
            f"/x/{parameter}",
            (
                f"'{parameter}' in '/x/{parameter}' is no parameter: write {{name}} or {{name:convertor}}, "
                "where both are identifiers"
            ),
        )
        for parameter in (
            "{}",
            "{1a}",
            "{a b}",
            "{a-b}",
            "{a:}",
            "{:int}",
            "{a:in t}",
            "{ a }",
            "{a:b:c}",
            "{*a}",
            "{a²}",
            "{²}",
        )
    ),
    ("/{a", "unbalanced brace in '/{a'"),
    ("/a}", "unbalanced brace in '/a}'"),
    ("/{{a}}", "unbalanced brace in '/{{a}}'"),
    ("/{a}}", "unbalanced brace in '/{a}}'"),
    ("/{a}/{b", "unbalanced brace in '/{a}/{b'"),
]


@pytest.mark.parametrize(("template", "message"), MISTAKES)
def test_a_mistake_in_a_path_is_refused_when_the_route_is_made(template: str, message: str) -> None:
    with pytest.raises(ValueError, match=exactly(message)):
        Route(template, show_params)


@pytest.mark.parametrize(("template", "message"), [mistake for mistake in MISTAKES if mistake[0]])
def test_a_mistake_in_the_prefix_of_a_mount_likewise(template: str, message: str) -> None:
    with pytest.raises(ValueError, match=exactly(message)):
        Mount(template, routes=[])


def test_the_nearest_name_is_suggested_only_where_one_is_near() -> None:
    assert nearest("homepgae", ["about", "homepage"]) == "; did you mean 'homepage'?"
    assert nearest("homepage", ["about"]) == ""
    assert nearest("homepage", []) == ""


@pytest.mark.parametrize(
    ("template", "params", "filled"),
    [
        ("/", {}, "/"),
        ("/{name}.json", {"name": "a b"}, "/a b.json"),
        ("/{a}-{b}/{c:int}", {"a": "x", "b": "y", "c": 3}, "/x-y/3"),
        ("/files/{rest:path}/edit", {"rest": "a/b"}, "/files/a/b/edit"),
        ("/files/{rest:path}", {"rest": ""}, "/files/"),
    ],
)
def test_a_template_is_filled_with_values(template: str, params: dict[str, Any], filled: str) -> None:
    assert Template(template).fill(params) == filled


def test_filling_names_the_parameter_and_the_template_of_a_value_it_refuses() -> None:
    with pytest.raises(
        ValueError, match=exactly("parameter 'id' of '/users/{id:int}': negative integers are not supported: -1")
    ):
        Template("/users/{id:int}").fill({"id": -1})


def test_filling_without_a_value_names_the_parameter() -> None:
    with pytest.raises(KeyError, match="id"):
        Template("/users/{id}").fill({"name": "x"})


def test_what_may_stand_in_a_path_is_not_encoded() -> None:
    unreserved = "/AZaz09-._~!$&'()*+,;=:@"
    assert quote_path(unreserved) == unreserved
    assert quote_path('/ü "<>?#[]%\\^`{|}\n') == "/%C3%BC%20%22%3C%3E%3F%23%5B%5D%25%5C%5E%60%7B%7C%7D%0A"


segment_texts = st.text(st.characters(codec="utf-8", exclude_characters="/\0"), min_size=1, max_size=8)


@given(a=segment_texts, b=segment_texts, n=st.integers(min_value=0), rest=st.lists(segment_texts).map("/".join))
def test_what_a_template_is_filled_with_comes_back_when_it_matches(a: str, b: str, n: int, rest: str) -> None:
    template = "/{a}/x{n:int}/{b}.json/{rest:path}"
    params = {"a": a, "n": n, "b": b, "rest": rest}
    encoded = quote_path(Template(template).fill(params))
    assert encoded.isascii()
    assert match(template, unquote(encoded)) == params


# One expression for a path


@pytest.mark.parametrize(("template", "path", "params"), MATCHES)
def test_the_expression_of_a_template_takes_what_a_route_takes(
    template: str, path: str, params: dict[str, Any] | None
) -> None:
    pattern, _, convertors = compile_path(template)
    found = pattern.match(path)
    if found is None:
        assert params is None
        return
    try:
        converted = {name: convertors[name].convert(text) for name, text in found.groupdict("").items()}
    except ValueError:
        converted = None
    assert converted == params


def test_a_template_is_a_format_with_its_convertors_left_out() -> None:
    pattern, path_format, convertors = compile_path("/users/{id:int}/{rest:path}.txt")
    assert path_format == "/users/{id}/{rest}.txt"
    assert path_format.format(id=1, rest="a/b") == "/users/1/a/b.txt"
    assert list(convertors) == list(pattern.groupindex) == ["id", "rest"]
    assert compile_path("")[0].match("")


def test_a_host_is_compiled_without_its_port_and_in_any_case() -> None:
    pattern, host_format, convertors = compile_path("{sub}.Example.org:8000")
    found = pattern.match("api.EXAMPLE.org")
    assert found is not None
    assert (found["sub"], host_format, list(convertors)) == ("api", "{sub}.Example.org:8000", ["sub"])
    assert not pattern.match("api.example.org:8000")


@pytest.mark.parametrize("template", ["/{a}/{a}", "/{a:none}", "/{a", "/{a b}"])
def test_what_is_no_template_is_not_compiled(template: str) -> None:
    with pytest.raises(ValueError, match=re.escape(template)):
        compile_path(template)
