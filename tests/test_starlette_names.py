"""The names of Starlette, as it is installed, beside ours: code that was written for it finds them under ours.

What is missing on purpose is listed with the reason.  A line that no longer applies fails the test.
"""

from __future__ import annotations

import ast
import importlib
import inspect
import pkgutil
import textwrap
import warnings
from collections.abc import Iterator
from functools import cache
from types import ModuleType
from typing import Any

import pytest

pytest.importorskip("jinja2", reason="Starlette's templating needs it")
pytest.importorskip("itsdangerous", reason="Starlette's sessions need it")
starlette = pytest.importorskip("starlette", minversion="1.10", reason="the reasons are given for what it has")

RENAMED = {"applications.Starlette": "DualRoute"}

# Reasons that hold for several names.
INSIDE = "how Starlette works inside; not in its documentation"
TYPE_VARIABLE = "a type variable of Starlette's own annotations"
OTHER_WAY = "an ASGI app in Starlette, a generator function here, which keeps nothing between its parts"
INDEX = "requests are routed by an index over all routes; a route is asked to serve as an app: `await route(…)`"
ADAPTERS = "the adapters send a response; it does not send itself"
DECODER = "the parser is Werkzeug's decoder, which is fed and not called back"
LIMITS = "`limits=Limits(max_body_size=…)`, which counts for all of a request's limits"

MODULES_LEFT_OUT = {
    "middleware.exceptions": "exceptions are handled where they leave a layer, by no middleware",
}

NAMES_LEFT_OUT = {
    "applications.AppType": TYPE_VARIABLE,
    "applications.P": TYPE_VARIABLE,
    "background.P": TYPE_VARIABLE,
    "concurrency.P": TYPE_VARIABLE,
    "concurrency.T": TYPE_VARIABLE,
    "config.T": TYPE_VARIABLE,
    "exceptions.StarletteDeprecationWarning": "there is nothing of Starlette's here to be deprecated",
    "formparsers.FormMessage": DECODER,
    "formparsers.MultipartPart": DECODER,
    "middleware.P": TYPE_VARIABLE,
    "middleware.base.AsyncContentStream": "`dualroute.responses.AsyncContentStream`",
    "middleware.base.BodyStreamGenerator": INSIDE,
    "middleware.base.T": TYPE_VARIABLE,
    "middleware.body_limit.MAX_BODY_SIZE_SCOPE_KEY": INSIDE,
    "middleware.body_limit.RequestBodyLimitResponder": OTHER_WAY,
    **{
        f"middleware.errors.{name}": "the debug page is made in another way"
        for name in ("CENTER_LINE", "FRAME_TEMPLATE", "JS", "LINE", "STYLES", "TEMPLATE")
    },
    "middleware.gzip.DEFAULT_EXCLUDED_CONTENT_TYPES": INSIDE,
    "middleware.gzip.GZipResponder": OTHER_WAY,
    "middleware.gzip.IdentityResponder": OTHER_WAY,
    "middleware.gzip.unattached_send": INSIDE,
    "middleware.trustedhost.ENFORCE_DOMAIN_WILDCARD": INSIDE,
    "middleware.wsgi.WSGIResponder": OTHER_WAY,
    "middleware.wsgi.build_environ": INSIDE,
    "requests.SERVER_PUSH_HEADERS_TO_COPY": INSIDE,
    "requests.empty_receive": INSIDE,
    "requests.empty_send": INSIDE,
    "responses.MalformedRangeHeader": "a malformed range is none, and no error (RFC 9110 section 14.2)",
    "responses.RangeNotSatisfiable": INSIDE,
    "routing.PARAM_FORMAT_REGEX": INSIDE,
    "routing.PARAM_REGEX": INSIDE,
    "routing.get_name": INSIDE,
    "routing.replace_params": INSIDE,
    "routing.request_response": "an endpoint is no ASGI app here; Route(path, endpoint) is one",
    "routing.websocket_session": "an endpoint is no ASGI app here; WebSocketRoute(path, endpoint) is one",
    "staticfiles.NotModifiedResponse": "conditions make a 304 of any response: Response.make_conditional",
    "staticfiles.PathLike": INSIDE,
    "templating.pass_context": "jinja2.pass_context, which Starlette passes on",
    "testclient.ASGI2App": INSIDE,
    "testclient.ASGI3App": INSIDE,
    "testclient.ASGIInstance": INSIDE,
}

MEMBERS_LEFT_OUT = {
    "applications.Starlette.build_middleware_stack": "`asgi` and `wsgi` are made when they are first called for",
    "applications.Starlette.max_body_size": LIMITS,
    "applications.Starlette.middleware_stack": INSIDE,
    "applications.Starlette.user_middleware": "`middleware`",
    "background.BackgroundTask.is_async": INSIDE,
    "background.BackgroundTasks.is_async": INSIDE,
    "endpoints.HTTPEndpoint.dispatch": "a method is looked up when the route is made, and called by the adapter",
    "endpoints.HTTPEndpoint.method_not_allowed": "405 is routing's; an exception handler for 405 may answer otherwise",
    "endpoints.HTTPEndpoint.receive": "WSGI has none; the body is read by the request",
    "endpoints.HTTPEndpoint.send": "WSGI has none; a method returns its response",
    "endpoints.WebSocketEndpoint.receive": "`websocket.receive`",
    "endpoints.WebSocketEndpoint.send": "`websocket.send`",
    "formparsers.FormParser": DECODER,
    "formparsers.MultiPartParser": DECODER,
    "middleware.authentication.AuthenticationMiddleware": OTHER_WAY,
    "middleware.body_limit.RequestBodyLimitMiddleware": OTHER_WAY,
    "middleware.cors.CORSMiddleware": OTHER_WAY,
    "middleware.errors.ServerErrorMiddleware": OTHER_WAY,
    "middleware.gzip.GZipMiddleware": OTHER_WAY,
    "middleware.httpsredirect.HTTPSRedirectMiddleware": OTHER_WAY,
    "middleware.opentelemetry.OpenTelemetryMiddleware": OTHER_WAY,
    "middleware.sessions.SessionMiddleware": OTHER_WAY,
    "middleware.trustedhost.TrustedHostMiddleware": OTHER_WAY,
    "middleware.wsgi.WSGIMiddleware": OTHER_WAY,
    "requests.Request.receive": "WSGI has none; `stream` reads on either protocol",
    **{
        f"{response}.init_headers": "headers may be changed as long as the response was not sent"
        for response in (
            "responses.FileResponse",
            "responses.HTMLResponse",
            "responses.JSONResponse",
            "responses.PlainTextResponse",
            "responses.RedirectResponse",
            "responses.Response",
            "responses.StreamingResponse",
            "schemas.OpenAPIResponse",
        )
    },
    "responses.FileResponse.generate_multipart": INSIDE,
    "responses.StreamingResponse.listen_for_disconnect": ADAPTERS,
    "responses.StreamingResponse.stream_response": ADAPTERS,
    **{f"routing.{route}.handle": INDEX for route in ("BaseRoute", "Host", "Mount", "Route", "WebSocketRoute")},
    "routing.Host.host_format": "`compile_path(route.host)`",
    "routing.Host.host_regex": "`compile_path(route.host)`",
    "routing.Route.app": "the route is an app itself",
    "routing.WebSocketRoute.app": "the route is an app itself",
    "routing.Router.app": INSIDE,
    "routing.Router.lifespan_context": "`lifespan`, which is run by the adapters",
    "routing.Router.middleware_stack": INSIDE,
    "routing.Router.not_found": "`default`, or an exception handler for 404",
    "staticfiles.StaticFiles.check_config": INSIDE,
    "staticfiles.StaticFiles.config_checked": INSIDE,
    "staticfiles.StaticFiles.get_directories": INSIDE,
    "staticfiles.StaticFiles.is_not_modified": "conditions make a 304 of any response: Response.make_conditional",
    "testclient.TestClient": INSIDE,
    "testclient.WebSocketTestSession": INSIDE,
}
"""By module, class and member; or by module and class, where none of what is missing is in the documentation."""

BY_OPTION = "Starlette's are by position as well; here the options have names"

PARAMETERS_LEFT_OUT = {
    **{
        f"applications.Starlette.__init__: {name}": BY_OPTION
        for name in ("debug", "exception_handlers", "lifespan", "middleware", "routes")
    },
    "applications.Starlette.__init__: max_body_size": LIMITS,
    "endpoints.WebSocketEndpoint.dispatch: (without websocket)": "an endpoint keeps no websocket",
    "middleware.opentelemetry.OpenTelemetryMiddleware.__init__: meter_provider": "no metrics are made",
    "middleware.wsgi.WSGIMiddleware.__init__: (without cls)": "of a middleware class; `WSGIApp(app)` mounts an app",
    "routing.Mount.__init__: max_body_size": LIMITS,
    "routing.Route.__init__: max_body_size": LIMITS,
    "routing.Router.__init__: lifespan": BY_OPTION,
    "routing.Router.__init__: max_body_size": LIMITS,
    "routing.Router.add_route: (without route)": "`route`, as Starlette's own application calls it",
    "routing.Router.add_route: endpoint": "`route`, likewise",
    "routing.Router.add_websocket_route: (without route)": "`route`, likewise",
    "routing.Router.add_websocket_route: endpoint": "`route`, likewise",
    **{
        f"testclient.TestClient.__init__: {name}": "`protocol` has the place of `backend`; what follows has names"
        for name in ("backend", "client", "cookies", "follow_redirects", "headers")
    },
    "testclient.TestClient.__init__: backend_options": "the event loop is the client's own",
    **{
        f"testclient.WebSocketTestSession.__init__: {name}": "sessions are made by TestClient.websocket_connect"
        for name in (
            "(without answer)",
            "(without raise_server_exceptions)",
            "(without request)",
            "(without thread)",
            "portal_factory",
            "scope",
        )
    },
}


@cache
def modules() -> tuple[str, ...]:
    """Return the names of Starlette's public modules, below its own."""
    found = pkgutil.walk_packages(starlette.__path__, "starlette.")
    names = (module.name.removeprefix("starlette.") for module in found)
    return tuple(name for name in names if not any(part.startswith("_") for part in name.split(".")))


@cache
def theirs(module: str) -> ModuleType:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # some of them are deprecated, or would have other libraries
        return importlib.import_module(f"starlette.{module}")


@cache
def ours(module: str) -> ModuleType | None:
    try:
        return importlib.import_module(f"dualroute.{module}")
    except ModuleNotFoundError as error:
        if error.name != f"dualroute.{module}":
            raise
        return None


def defined(body: list[ast.stmt]) -> Iterator[str]:
    """Yield the names that statements of a module bind, other than by importing them."""
    for node in body:
        if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            yield node.name
        elif isinstance(node, ast.Assign | ast.AnnAssign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            yield from (target.id for target in targets if isinstance(target, ast.Name))
        elif isinstance(node, ast.If | ast.Try):
            yield from defined([*node.body, *node.orelse])


@cache
def names(module: str) -> tuple[str, ...]:
    """Return the public names that a module of Starlette's defines."""
    found = dict.fromkeys(defined(ast.parse(inspect.getsource(theirs(module))).body))
    return tuple(name for name in found if not name.startswith("_") and name != "logger")


@cache
def shared() -> dict[str, tuple[Any, Any]]:
    """Return what both have, by module and name."""
    found = {}
    for module in modules():
        for name in names(module) if ours(module) is not None else ():
            mine = getattr(ours(module), RENAMED.get(f"{module}.{name}", name), None)
            if mine is not None:
                found[f"{module}.{name}"] = (getattr(theirs(module), name), mine)
    return found


def classes() -> dict[str, tuple[type[Any], type[Any]]]:
    return {key: pair for key, pair in shared().items() if all(map(inspect.isclass, pair))}


def members(cls: type[Any]) -> frozenset[str]:
    """Return the names that a class and its instances have: what it defines, and what its methods set on `self`."""
    found = set(dir(cls))
    for base in cls.__mro__:
        if base.__module__.partition(".")[0] not in ("starlette", "dualroute"):
            continue
        found.update(inspect.get_annotations(base))
        for node in ast.walk(ast.parse(textwrap.dedent(inspect.getsource(base)))):
            match node:
                case ast.Attribute(value=ast.Name(id="self"), attr=name, ctx=ast.Store()):
                    found.add(name)
    return frozenset(name for name in found if not name.startswith("_"))


def of(module: str, keys: Any) -> set[str]:
    """Return those keys that are about a module."""
    return {key for key in keys if max((name for name in modules() if key.startswith(f"{name}.")), key=len) == module}


def test_every_module_of_starlette_s_is_here_or_has_a_reason_not_to_be() -> None:
    assert {module for module in modules() if ours(module) is None} == MODULES_LEFT_OUT.keys()


every_module = pytest.mark.parametrize("module", modules())


@every_module
def test_every_name_of_a_module_is_here_or_has_a_reason_not_to_be(module: str) -> None:
    there = names(module) if ours(module) is not None else ()
    assert {f"{module}.{name}" for name in there} - shared().keys() == of(module, NAMES_LEFT_OUT)


@every_module
def test_every_member_of_a_class_is_here_or_has_a_reason_not_to_be(module: str) -> None:
    missing: set[str] = set()
    for key in of(module, classes()):
        starlettes, mine = classes()[key]
        left = members(starlettes) - members(mine)
        if key in MEMBERS_LEFT_OUT:
            missing.update([key] if left else [])
        else:
            missing.update(f"{key}.{name}" for name in left)
    assert missing == of(module, MEMBERS_LEFT_OUT)


CALLS = ("__init__", "__call__", "__getitem__", "__setitem__", "__contains__")


@cache
def functions() -> dict[str, tuple[Any, Any]]:
    """Return the functions and methods that both have, with what stands for `self` bound."""
    found = {}
    for key, (starlettes, mine) in shared().items():
        if key not in classes():
            if inspect.isfunction(starlettes):
                found[key] = (starlettes, mine)
            continue
        for name, member in vars(starlettes).items():
            if (name.startswith("_") and name not in CALLS) or not inspect.isfunction(member):
                continue
            other = getattr(mine, name, None)
            if name == "__init__" and other is object.__init__:
                other = mine.__new__  # a subclass of str, say
            if other is not None and not served(member):
                found[f"{key}.{name}"] = (member, other)
    return found


def served(member: Any) -> bool:
    """Tell whether it is what a server calls: `tests/test_public_names.py` looks at those."""
    return list(inspect.signature(member).parameters)[1:] == ["scope", "receive", "send"]


def refused(starlettes: Any, mine: Any, skip: str = "") -> set[str]:
    """Return the parameters of Starlette's function that ours does not take by the same name and in the same place.

    A parameter that ours needs, and code for Starlette's can't know of, is among them too.  What stands for `self` may
    have any name.
    """
    wanted = [item for item in inspect.signature(starlettes).parameters.values() if item.name != skip]
    given = list(inspect.signature(mine).parameters.values())
    places = [item for item in given if item.kind in (item.POSITIONAL_ONLY, item.POSITIONAL_OR_KEYWORD)]
    keywords = {item.name for item in given if item.kind in (item.POSITIONAL_OR_KEYWORD, item.KEYWORD_ONLY)}
    any_place = any(item.kind is item.VAR_POSITIONAL for item in given)
    any_keyword = any(item.kind is item.VAR_KEYWORD for item in given)
    found = set()
    for index, item in enumerate(wanted):
        place = places[index] if index < len(places) else None
        in_place = any_place if place is None else place.kind is place.POSITIONAL_ONLY or place.name == item.name
        by_name = any_keyword or item.name in keywords
        takes = {
            item.POSITIONAL_ONLY: place is not None or any_place,
            item.POSITIONAL_OR_KEYWORD: in_place and by_name,
            item.VAR_POSITIONAL: place is not None or any_place,
            item.KEYWORD_ONLY: by_name,
            item.VAR_KEYWORD: any_keyword,
        }
        if not takes[item.kind] and not (index == 0 and item.name in ("self", "cls")):
            found.add(item.name)
    anything = any(item.kind is item.VAR_POSITIONAL for item in wanted)
    known = {item.name for item in wanted} | ({item.name for item in places} if anything else set())
    for item in given[1:]:
        if (
            item.name not in known
            and item.default is item.empty
            and item.kind in (item.POSITIONAL_OR_KEYWORD, item.KEYWORD_ONLY)
        ):
            found.add(f"(without {item.name})")
    return found


@every_module
def test_every_function_is_called_as_starlette_s_or_has_a_reason_not_to_be(module: str) -> None:
    missing: set[str] = set()
    for key in of(module, functions()):
        starlettes, mine = functions()[key]
        # A middleware is made without the app that it goes around.
        made = module.startswith("middleware.") and key.endswith(".__init__")
        skip = "app" if made and "app" not in inspect.signature(mine).parameters else ""
        missing.update(f"{key}: {name}" for name in refused(starlettes, mine, skip))
    assert missing == of(module, PARAMETERS_LEFT_OUT)
