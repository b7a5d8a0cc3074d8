"""OpenAPI schemas: what routes declare and what docstrings say, put together into one document.

    schemas = SchemaGenerator({"openapi": "3.1.0", "info": {"title": "Notes", "version": "1.0"}})

    def schema(request):
        return schemas.OpenAPIResponse(request)

The description of an operation is YAML (read by pyyaml, the extra ``schemas``) after a line ``---`` in the docstring,
or the whole docstring where that holds nothing else.  What it leaves open comes from the route: the parameters of its
path with their types, its name, and its host.
"""

from __future__ import annotations

import copy
import importlib.util
import inspect
import json
import re
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

from dualroute.callables import describe
from dualroute.convertors import (
    Convertor,
    FloatConvertor,
    IntegerConvertor,
    PathConvertor,
    StringConvertor,
    UUIDConvertor,
)
from dualroute.responses import Response
from dualroute.routing import Host, Mount, Route, Router

if TYPE_CHECKING:
    from dualroute.paths import Parameter, Template
    from dualroute.requests import Request, SyncRequest
    from dualroute.routes import BaseRoute

__all__ = ["BaseSchemaGenerator", "EndpointInfo", "OpenAPIResponse", "SchemaGenerator"]

# The methods that a Path Item Object has a field for (OpenAPI 3.1.1 section 4.8.9), less HEAD, which GET brings along.
_FIELDS = ("GET", "PUT", "POST", "DELETE", "OPTIONS", "PATCH", "TRACE")
# OpenAPI 3.2 has one more.
_QUERY = "QUERY"

# The fields of an Operation Object (section 4.8.10), by which a docstring without `---` is told from prose.
_OPERATION = frozenset(
    (
        "callbacks",
        "deprecated",
        "description",
        "externalDocs",
        "operationId",
        "parameters",
        "requestBody",
        "responses",
        "security",
        "servers",
        "summary",
        "tags",
    )
)
_SEPARATOR = re.compile(r"^[^\S\n]*---[^\S\n]*$", re.MULTILINE)
_FIRST_KEY = re.compile(r"\s*([A-Za-z-]+)\s*:")

_INSTALL = 'pip install "dualroute[schemas]"'


class EndpointInfo(NamedTuple):
    """One operation: a path, a method, and the function that answers it.

    Args:
        path: the whole path, mounts included, with ``{name}`` for each parameter.
        http_method: the method in lower case.
        func: the function, or the method of an endpoint class, whose docstring describes it.
        name: the route's name as `url_for` takes it.
        parameters: what the path's parameters are called, and their convertors.
        host: the host template around it, or None.
        only: whether it is the route's only method.
    """

    path: str
    http_method: str
    func: Callable[..., Any]
    name: str = ""
    parameters: tuple[Parameter, ...] = ()
    host: Template | None = None
    only: bool = True


class OpenAPIResponse(Response):
    """A schema as YAML; as JSON, which is YAML too, where pyyaml is not installed.

    The media type is ``application/vnd.oai.openapi``.
    """

    media_type: str | None = "application/vnd.oai.openapi"

    def render(self, content: Any) -> bytes:
        if not isinstance(content, Mapping):
            raise TypeError(f"an OpenAPI schema is a dict, not {type(content).__name__}")
        if not _has_yaml():
            return json.dumps(content, ensure_ascii=False, indent=2).encode()
        import yaml

        text: str = yaml.safe_dump(content, default_flow_style=False, sort_keys=False, allow_unicode=True)
        return text.encode()


class BaseSchemaGenerator:
    """The base of what makes a schema from routes: write `get_schema`."""

    def get_schema(self, routes: Iterable[BaseRoute]) -> dict[str, Any]:
        """Return the schema of an app with these routes."""
        raise NotImplementedError(f"{type(self).__name__} must define get_schema(routes)")

    def get_endpoints(self, routes: Iterable[BaseRoute]) -> list[EndpointInfo]:
        """Return every operation of these routes, in the order in which routes are tried, those in mounts included.

        Routes with ``include_in_schema=False`` are left out, as are websockets, and apps of another framework.
        """
        return list(_endpoints(routes, EndpointInfo("", "", describe), ()))

    def parse_docstring(self, func_or_method: Callable[..., Any]) -> dict[str, Any]:
        """Return what a docstring says in YAML; an empty dict where it says nothing.

        Raises ValueError, naming the function, for YAML after a ``---`` that does not parse or is no mapping.
        """
        return _parts_of_docstring(func_or_method)[1]

    def OpenAPIResponse(self, request: Request | SyncRequest) -> Response:
        """Return a response with the schema of the app that the request came to."""
        app = request.app if request.app is not None else request.scope.get("router")
        if app is None:
            raise RuntimeError("OpenAPIResponse needs a request that came through a DualRoute or a Router")
        return OpenAPIResponse(self.get_schema(app.routes))


class SchemaGenerator(BaseSchemaGenerator):
    """Makes an OpenAPI document.

    Args:
        base_schema: what it starts with: ``openapi``, ``info`` and whatever else is to be in it.
        declared: False to take the docstrings alone, and leave out the operations that have none, as Starlette does.
    """

    def __init__(self, base_schema: Mapping[str, Any], *, declared: bool = True) -> None:
        self.base_schema: Mapping[str, Any] = base_schema
        self.declared = declared

    def get_schema(self, routes: Iterable[BaseRoute]) -> dict[str, Any]:
        """Return the OpenAPI document of an app with these routes.

        Paths and methods are in the order in which routes are tried; where two routes have the same, the first counts,
        since it is the one that answers.  What `base_schema` has of an operation comes before both.
        """
        schema = copy.deepcopy(dict(self.base_schema))
        paths: dict[str, Any] = schema.setdefault("paths", {})
        taken: set[str] = set()
        has_query = _version(schema) >= (3, 2)
        for endpoint in self.get_endpoints(routes):
            if endpoint.http_method.upper() not in _FIELDS and not (
                has_query and endpoint.http_method.upper() == _QUERY
            ):
                continue
            said = self.parse_docstring(endpoint.func)
            if self.declared:
                said = _operation(endpoint, said, taken)
            if said:
                paths.setdefault(endpoint.path, {}).setdefault(endpoint.http_method, said)
        return schema


def _version(schema: Mapping[str, Any]) -> tuple[int, ...]:
    found = re.match(r"(\d+)\.(\d+)", str(schema.get("openapi", "")))
    return tuple(map(int, found.groups())) if found else (3, 0)


def _endpoints(
    routes: Iterable[BaseRoute], around: EndpointInfo, routers: tuple[Router, ...]
) -> Iterator[EndpointInfo]:
    """Yield the operations of routes that are inside of mounts and hosts, which `around` tells of."""
    for route in routes:
        if isinstance(route, Mount | Host):
            if route.router is None or route.router in routers:  # mounted inside itself
                continue
            name = f"{around.name}{route.name}:" if route.name else around.name
            parameters = around.parameters + _parameters(route.template)
            inside = around._replace(name=name, parameters=parameters)
            if isinstance(route, Mount):
                inside = inside._replace(path=around.path + _written(route.template))
            else:
                inside = inside._replace(host=route.template)
            yield from _endpoints(route.routes, inside, (*routers, route.router))
        elif isinstance(route, Route) and route.include_in_schema:
            methods = _in_order(route.methods)
            for method in methods:
                handler = route.handlers[method]
                yield EndpointInfo(
                    around.path + _written(route.template),
                    method.lower(),
                    handler.function,
                    around.name + (route.name or ""),
                    around.parameters + _parameters(route.template),
                    around.host,
                    len(methods) == 1,
                )


def _in_order(methods: Iterable[str]) -> list[str]:
    """Return methods in the order of the specification; one that GET brought along is left out."""
    known = (*_FIELDS, _QUERY)
    wanted = [method for method in methods if method not in ("HEAD", "*")]
    return sorted(wanted, key=lambda method: (known.index(method) if method in known else len(known), method))


def _parameters(template: Template) -> tuple[Parameter, ...]:
    return tuple(part for part in template.parts if not isinstance(part, str))


def _written(template: Template) -> str:
    return "".join(part if isinstance(part, str) else f"{{{part.name}}}" for part in template.parts)


# One operation.


def _operation(endpoint: EndpointInfo, said: Mapping[str, Any], taken: set[str]) -> dict[str, Any]:
    """Return what is said of an operation, with what the declaration tells."""
    operation: dict[str, Any] = {}
    prose = _parts_of_docstring(endpoint.func)[0]
    if prose:
        summary, _, description = prose.partition("\n\n")
        operation["summary"] = " ".join(summary.split())
        if description.strip():
            operation["description"] = description.strip()
    operation.update(said)
    if "operationId" not in said and endpoint.name:
        operation["operationId"] = _unique(
            endpoint.name if endpoint.only else f"{endpoint.name}.{endpoint.http_method}", taken
        )
    in_host = set(endpoint.host.convertors) if endpoint.host is not None else set()
    declared = [_parameter(one) for one in endpoint.parameters if one.name not in in_host]
    told: list[Any] = list(said.get("parameters") or ())
    named = {one.get("name") for one in told if isinstance(one, Mapping) and one.get("in") == "path"}
    parameters = [one for one in declared if one["name"] not in named] + told
    if parameters:
        operation["parameters"] = parameters
    if endpoint.host is not None and "servers" not in said:
        operation["servers"] = [_server(endpoint.host)]
    # Required before OpenAPI 3.1, and good manners since.
    operation.setdefault("responses", {"default": {"description": "The response."}})
    return operation


def _unique(name: str, taken: set[str]) -> str:
    number, free = 2, name
    while free in taken:
        number, free = number + 1, f"{name}.{number}"
    taken.add(free)
    return free


def _parameter(parameter: Parameter) -> dict[str, Any]:
    return {"name": parameter.name, "in": "path", "required": True, "schema": _schema(parameter.convertor)}


def _schema(convertor: Convertor[Any]) -> dict[str, Any]:
    """Return the JSON Schema of what a convertor takes."""
    if isinstance(convertor, IntegerConvertor):
        return {"type": "integer", "minimum": 0}
    if isinstance(convertor, FloatConvertor):
        return {"type": "number", "minimum": 0}
    if isinstance(convertor, UUIDConvertor):
        return {"type": "string", "format": "uuid"}
    if isinstance(convertor, StringConvertor | PathConvertor):
        return {"type": "string"}
    return {"type": "string", "pattern": f"^(?:{convertor.regex})$"}


def _server(host: Template) -> dict[str, Any]:
    """Return the Server Object of a host; a variable has to have a default there."""
    server: dict[str, Any] = {"url": f"//{_written(host)}"}
    if host.convertors:
        server["variables"] = {name: {"default": _example(one)} for name, one in host.convertors.items()}
    return server


def _example(convertor: Convertor[Any]) -> str:
    if isinstance(convertor, IntegerConvertor | FloatConvertor):
        return "1"
    return str(uuid.UUID(int=0)) if isinstance(convertor, UUIDConvertor) else "www"


# Docstrings.


def _has_yaml() -> bool:
    return importlib.util.find_spec("yaml") is not None


def _parts_of_docstring(function: Callable[..., Any]) -> tuple[str, dict[str, Any]]:
    """Return the prose of a docstring, and what it says in YAML."""
    docstring = _docstring(function)
    *before, last = _SEPARATOR.split(docstring)
    if before:
        said = _parsed(last, function)
        if not isinstance(said, dict | None):
            raise ValueError(
                f"the docstring of {describe(function)}: what follows `---` is no mapping: {' '.join(last.split())!r}"
            )
        return before[0].strip(), said or {}
    first = _FIRST_KEY.match(docstring)
    if first is None or not _is_field(first[1]):
        return docstring, {}
    # It looks like YAML alone.  A sentence such as "Summary: …" may look like it too.
    try:
        said = _parsed(docstring, function)
    except ValueError:
        return docstring, {}
    if isinstance(said, dict) and all(map(_is_field, said)):
        return "", said
    return docstring, {}


def _is_field(key: object) -> bool:
    return isinstance(key, str) and (key in _OPERATION or key.startswith("x-"))


def _docstring(function: Any) -> str:
    while getattr(function, "func", None) is not None:  # functools.partial has a docstring of its own
        function = function.func
    if not (inspect.isroutine(function) or isinstance(function, type)):
        function = type(function).__call__
    return inspect.cleandoc(getattr(function, "__doc__", None) or "")


def _parsed(text: str, function: Callable[..., Any]) -> Any:
    if not _has_yaml():
        raise ImportError(f"the docstring of {describe(function)} describes a schema, which needs pyyaml: {_INSTALL}")
    import yaml

    try:
        return yaml.safe_load(text)
    except yaml.YAMLError as error:
        what = " ".join(str(error).split())
        raise ValueError(f"the docstring of {describe(function)} is no valid YAML after `---`: {what}") from error
