from __future__ import annotations

import functools
import importlib.util
import json
from typing import Any

import pytest
import yaml

from dualroute import (
    Convertor,
    DualRoute,
    Host,
    HTTPEndpoint,
    Mount,
    PlainTextResponse,
    Response,
    Route,
    Router,
    WebSocketRoute,
    register_url_convertor,
)
from dualroute.convertors import CONVERTOR_TYPES
from dualroute.schemas import BaseSchemaGenerator, OpenAPIResponse, SchemaGenerator
from tests.conftest import Serve

BASE = {"openapi": "3.1.0", "info": {"title": "Notes", "version": "1.0"}}


def described(request: Any) -> Response:
    """
    responses:
      200:
        description: A list of users.
        examples:
          [{"username": "tom"}, {"username": "lucy"}]
    """
    return PlainTextResponse("")


def with_prose(request: Any) -> Response:
    """Make a user,
    or change one.

    This takes a while --- or two.

    Note: it may fail.

    ---
    responses:
      200:
        description: The user.
    """
    return PlainTextResponse("")


async def prose_alone(request: Any) -> Response:
    """Note: this is YAML by accident, and nobody's schema."""
    return PlainTextResponse("")


def bare(request: Any) -> Response:
    return PlainTextResponse("")


class Notes(HTTPEndpoint):
    """Not about any method."""

    def post(self, request: Any) -> Response:
        """
        requestBody:
          content: {}
        """
        return PlainTextResponse("")

    async def get(self, request: Any) -> Response:
        """The notes."""
        return PlainTextResponse("")


async def live(websocket: Any) -> None: ...


def wsgi(environ: Any, start_response: Any) -> Any: ...


DEFAULT = {"default": {"description": "The response."}}
LISTED = {"200": {"description": "A list of users.", "examples": [{"username": "tom"}, {"username": "lucy"}]}}


def paths(routes: list[Any], **options: Any) -> dict[str, Any]:
    found: dict[str, Any] = SchemaGenerator(BASE, **options).get_schema(routes)["paths"]
    return found


def by_text(value: Any) -> Any:
    """Return a value as JSON has it, with text for keys."""
    return json.loads(json.dumps(value))


def test_a_docstring_alone() -> None:
    found = SchemaGenerator(BASE, declared=False).get_schema(
        [
            Route("/users", described),
            Route("/users/{id:int}", with_prose, methods=["PUT"]),
            Route("/prose", prose_alone),
            Route("/bare", bare),
            Route("/notes", Notes),
        ]
    )
    assert by_text(found) == {
        **BASE,
        "paths": {
            "/users": {"get": {"responses": LISTED}},
            "/users/{id}": {"put": {"responses": {"200": {"description": "The user."}}}},
            "/notes": {"post": {"requestBody": {"content": {}}}},
        },
    }


def test_a_declaration_alone() -> None:
    found = paths([Route("/{a}/x{b:int}-{c:float}.{d:uuid}/{e:path}", bare, methods=["GET", "POST"], name="all")])
    parameters = [
        {"name": "a", "in": "path", "required": True, "schema": {"type": "string"}},
        {"name": "b", "in": "path", "required": True, "schema": {"type": "integer", "minimum": 0}},
        {"name": "c", "in": "path", "required": True, "schema": {"type": "number", "minimum": 0}},
        {"name": "d", "in": "path", "required": True, "schema": {"type": "string", "format": "uuid"}},
        {"name": "e", "in": "path", "required": True, "schema": {"type": "string"}},
    ]
    assert found == {
        "/{a}/x{b}-{c}.{d}/{e}": {
            "get": {"operationId": "all.get", "parameters": parameters, "responses": DEFAULT},
            "post": {"operationId": "all.post", "parameters": parameters, "responses": DEFAULT},
        }
    }


def test_both_together() -> None:
    assert by_text(paths([Route("/users/{id:int}", with_prose, methods=["PUT"])]))["/users/{id}"]["put"] == {
        "summary": "Make a user, or change one.",
        "description": "This takes a while --- or two.\n\nNote: it may fail.",
        "responses": {"200": {"description": "The user."}},
        "operationId": "with_prose",
        "parameters": [
            {"name": "id", "in": "path", "required": True, "schema": {"type": "integer", "minimum": 0}},
        ],
    }
    assert paths([Route("/", prose_alone)])["/"]["get"]["summary"].startswith("Note: this is YAML")


def test_what_a_docstring_says_comes_before_the_declaration() -> None:
    def one(request: Any) -> Any:
        """
        ---
        operationId: mine
        parameters:
          - {name: id, in: path, required: true, description: The number.}
          - {name: q, in: query}
        """

    operation = paths([Route("/{id:int}/{other}", one)])["/{id}/{other}"]["get"]
    assert operation["operationId"] == "mine"
    assert [(item["name"], item.get("description")) for item in operation["parameters"]] == [
        ("other", None),
        ("id", "The number."),
        ("q", None),
    ]


def test_a_class_has_the_docstrings_of_its_methods() -> None:
    found = paths([Route("/notes", Notes)])["/notes"]
    assert list(found) == ["get", "post"], "in the order of the specification"
    assert found["get"]["summary"] == "The notes."
    assert found["post"]["requestBody"] == {"content": {}}
    assert [found[method]["operationId"] for method in found] == ["Notes.get", "Notes.post"]


def test_mounts_and_hosts() -> None:
    api = Router([Route("/", bare, name="home"), Route("/{id:int}", bare, name="one")])
    found = paths(
        [
            Mount("/v{version:int}", name="v", routes=[Mount("/users", app=api, name="users")]),
            Host("{shop}.example.org", app=Router([Route("/cart", bare)]), name="shop"),
            Host("example.org:8000", app=Router([Route("/about", bare)])),
            Mount("/legacy", app=wsgi),
            WebSocketRoute("/live", live),
            Mount("/class", app=Notes),
        ]
    )
    assert list(found) == ["/v{version}/users/", "/v{version}/users/{id}", "/cart", "/about"]
    one = found["/v{version}/users/{id}"]["get"]
    assert one["operationId"] == "v:users:one"
    assert [parameter["name"] for parameter in one["parameters"]] == ["version", "id"]
    cart = found["/cart"]["get"]
    assert cart["operationId"] == "shop:bare"
    assert cart["servers"] == [{"url": "//{shop}.example.org", "variables": {"shop": {"default": "www"}}}]
    assert "parameters" not in cart
    assert found["/about"]["get"]["servers"] == [{"url": "//example.org"}]


def test_what_is_to_be_left_out() -> None:
    router = Router([Route("/x", bare)])
    router.routes.append(Mount("/self", app=router))
    found = paths(
        [
            Route("/hidden", described, include_in_schema=False),
            Route("/link", bare, methods=["LINK", "QUERY"]),
            Mount("/r", app=router),
        ]
    )
    assert list(found) == ["/r/x"]


def test_query_is_there_from_3_2_on() -> None:
    found = SchemaGenerator({**BASE, "openapi": "3.2.0"}).get_schema([Route("/", bare, methods=["QUERY"])])
    assert list(found["paths"]["/"]) == ["query"]


def test_the_first_of_two_routes_counts_and_the_base_before_both() -> None:
    routes = [
        Route("/a", bare, name="first"),
        Route("/a", bare, name="second", methods=["GET", "POST"]),
        Route("/b", bare),
    ]
    base = {**BASE, "paths": {"/b": {"get": {"summary": "by hand"}}}}
    found = SchemaGenerator(base).get_schema(routes)["paths"]
    assert [found["/a"][method]["operationId"] for method in ("get", "post")] == ["first", "second.post"]
    assert found["/b"] == {"get": {"summary": "by hand"}}
    assert base["paths"] == {"/b": {"get": {"summary": "by hand"}}}, "the base is not written to"


def test_operations_have_names_of_their_own() -> None:
    found = paths([Route("/a", bare), Route("/b", bare), Route("/c", bare, name="")])
    assert [found[path]["get"].get("operationId") for path in found] == ["bare", "bare.2", None]


def test_a_convertor_of_ones_own() -> None:
    class Slug(Convertor[str]):
        regex = "[a-z-]+"

    register_url_convertor("slug", Slug())
    try:
        found = paths([Route("/{name:slug}", bare)])
    finally:
        del CONVERTOR_TYPES["slug"]
    (parameter,) = found["/{name}"]["get"]["parameters"]
    assert parameter["schema"] == {"type": "string", "pattern": "^(?:[a-z-]+)$"}


def test_partials_and_instances_have_the_docstring_of_what_they_call() -> None:
    class Callable:
        """Not this."""

        def __call__(self, request: Any) -> Response:
            """An instance."""
            return PlainTextResponse("")

    def two(request: Any, x: int = 0) -> Response:
        """A partial."""
        return PlainTextResponse("")

    found = paths([Route("/a", Callable()), Route("/b", functools.partial(two, x=1))])
    assert [found[path]["get"]["summary"] for path in found] == ["An instance.", "A partial."]


def test_get_endpoints() -> None:
    generator = BaseSchemaGenerator()
    found = generator.get_endpoints([Mount("/m", routes=[Route("/{x:int}", described), Route("/n", Notes)])])
    assert [(one.path, one.http_method) for one in found] == [("/m/{x}", "get"), ("/m/n", "get"), ("/m/n", "post")]
    assert found[0].func is described
    assert found[2].func is Notes.post
    assert generator.parse_docstring(described)["responses"][200]["description"] == "A list of users."
    assert generator.parse_docstring(bare) == {}
    with pytest.raises(NotImplementedError, match="must define get_schema"):
        generator.get_schema([])


@pytest.mark.parametrize(
    ("docstring", "words"),
    [("x\n---\na: [", "no valid YAML after `---`"), ("x\n---\n- a", "what follows `---` is no mapping: '- a'")],
)
def test_a_docstring_that_is_malformed_names_its_function(docstring: str, words: str) -> None:
    def broken(request: Any) -> Any: ...

    broken.__doc__ = docstring
    with pytest.raises(ValueError, match=r"the docstring of test_schemas\.|the docstring of .*broken") as refused:
        paths([Route("/", broken)])
    assert words in str(refused.value)


@pytest.mark.parametrize("docstring", ["---\n", "responses: [", "Summary:\n  x", "", "tags"])
def test_a_docstring_that_is_no_schema_is_none(docstring: str) -> None:
    def odd(request: Any) -> Any: ...

    odd.__doc__ = docstring
    assert SchemaGenerator(BASE).parse_docstring(odd) == {}


@pytest.mark.parametrize("colour", ["def", "async def"])
def test_the_schema_is_served(serve: Serve, colour: str) -> None:
    schemas = SchemaGenerator(BASE)

    def plain(request: Any) -> Response:
        return schemas.OpenAPIResponse(request)

    async def waiting(request: Any) -> Response:
        return schemas.OpenAPIResponse(request)

    route = Route("/schema", plain if colour == "def" else waiting, include_in_schema=False)
    for app in (DualRoute([Route("/users", described), route]), Router([Route("/users", described), route])):
        answer = serve(app).get("/schema")
        assert answer.status_code == 200
        assert answer.headers["content-type"] == "application/vnd.oai.openapi"
        found = yaml.safe_load(answer.text)
        assert list(found) == ["openapi", "info", "paths"]
        assert list(found["paths"]) == ["/users"]
        assert answer.text == OpenAPIResponse(schemas.get_schema(app.routes)).body.decode()


def without_yaml(monkeypatch: pytest.MonkeyPatch) -> None:
    found = importlib.util.find_spec
    monkeypatch.setattr("importlib.util.find_spec", lambda name, *args: None if name == "yaml" else found(name, *args))


def test_without_pyyaml_the_answer_is_json(monkeypatch: pytest.MonkeyPatch) -> None:
    schema = SchemaGenerator(BASE).get_schema([Route("/é", bare)])
    without_yaml(monkeypatch)
    body = OpenAPIResponse(schema).body
    assert json.loads(body) == schema == yaml.safe_load(body)
    assert paths([Route("/", prose_alone)])["/"]["get"]["summary"].startswith("Note: ")


@pytest.mark.parametrize("endpoint", [described, with_prose])
def test_without_pyyaml_a_schema_in_a_docstring_says_what_to_install(
    endpoint: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    without_yaml(monkeypatch)
    with pytest.raises(ImportError, match=rf'{endpoint.__name__} .* pip install "dualroute\[schemas\]"'):
        paths([Route("/", endpoint)])


def test_a_schema_is_a_mapping() -> None:
    with pytest.raises(TypeError, match="an OpenAPI schema is a dict, not list"):
        OpenAPIResponse([])
