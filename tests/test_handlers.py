"""Handlers: the colour of a callable, and the parameters that it is given."""

from __future__ import annotations

import asyncio
import functools
import inspect
import re
import threading
from collections.abc import Callable
from typing import Any

import asgiref.sync
import pytest

from dualroute import (
    DualRoute,
    HTTPEndpoint,
    JSONResponse,
    Mount,
    PlainTextResponse,
    Request,
    Response,
    Route,
    SyncRequest,
)
from dualroute.callables import describe, is_async_callable
from dualroute.handlers import Handler
from tests.conftest import Serve


def exactly(message: str) -> str:
    return f"^{re.escape(message)}$"


def colour(request: Any) -> Response:
    """Answer with the class of the request, which is that of the handler's colour."""
    return PlainTextResponse(type(request).__name__)


def plain(request: Any, extra: str = "") -> Response:
    return colour(request)


async def asynchronous(request: Any, extra: str = "") -> Response:
    return colour(request)


class Methods:
    def plain(self, request: Any) -> Response:
        return colour(request)

    async def asynchronous(self, request: Any) -> Response:
        return colour(request)

    @staticmethod
    def static_plain(request: Any) -> Response:
        return colour(request)

    @staticmethod
    async def static_asynchronous(request: Any) -> Response:
        return colour(request)

    @classmethod
    def class_plain(cls, request: Any) -> Response:
        return colour(request)

    @classmethod
    async def class_asynchronous(cls, request: Any) -> Response:
        return colour(request)


class PlainInstance:
    def __call__(self, request: Any) -> Response:
        return colour(request)


class AsyncInstance:
    async def __call__(self, request: Any) -> Response:
        return colour(request)


def decorated(function: Callable[..., Any]) -> Callable[..., Any]:
    """Wrap by an `async def`, as decorators of async handlers do."""

    @functools.wraps(function)
    async def wrapper(*args: Any, **kwargs: Any) -> Any:
        result = function(*args, **kwargs)
        return await result if inspect.isawaitable(result) else result

    return wrapper


def marked() -> Callable[..., Any]:
    def hands_on_a_coroutine(request: Any) -> Any:
        return asynchronous(request)

    return asgiref.sync.markcoroutinefunction(hands_on_a_coroutine)


SYNC: dict[str, Any] = {
    "function": plain,
    "lambda": lambda request: PlainTextResponse(type(request).__name__),
    "partial": functools.partial(plain, extra="x"),
    "partial of partial": functools.partial(functools.partial(plain), extra="x"),
    "bound method": Methods().plain,
    "staticmethod": Methods.static_plain,
    "staticmethod of an instance": Methods().static_plain,
    "classmethod": Methods.class_plain,
    "instance": PlainInstance(),
    "partial of an instance": functools.partial(PlainInstance()),
    "partialmethod": functools.partial(Methods.plain, Methods()),
}
ASYNC: dict[str, Any] = {
    "function": asynchronous,
    "partial": functools.partial(asynchronous, extra="x"),
    "partial of partial": functools.partial(functools.partial(asynchronous), extra="x"),
    "bound method": Methods().asynchronous,
    "staticmethod": Methods.static_asynchronous,
    "staticmethod of an instance": Methods().static_asynchronous,
    "classmethod": Methods.class_asynchronous,
    "instance": AsyncInstance(),
    "partial of an instance": functools.partial(AsyncInstance()),
    "partialmethod": functools.partial(Methods.asynchronous, Methods()),
    "decorated async": decorated(asynchronous),
    "decorated plain": decorated(plain),
    "marked": marked(),
    "partial of a marked one": functools.partial(marked()),
}


@pytest.mark.parametrize("kind", SYNC)
def test_a_callable_is_told_to_be_plain(kind: str) -> None:
    assert is_async_callable(SYNC[kind]) is False


@pytest.mark.parametrize("kind", ASYNC)
def test_a_callable_is_told_to_be_async(kind: str) -> None:
    assert is_async_callable(ASYNC[kind]) is True


@pytest.mark.parametrize("function", [len, dict, Methods, AsyncInstance, None, 3, "x"])
def test_what_gives_no_coroutine_is_not_async(function: Any) -> None:
    assert is_async_callable(function) is False


@pytest.mark.parametrize("kind", SYNC)
def test_a_plain_callable_gets_a_sync_request(serve: Serve, kind: str) -> None:
    assert serve(DualRoute([Route("/", SYNC[kind])])).get("/").text == "SyncRequest"


@pytest.mark.parametrize("kind", ASYNC)
def test_an_async_callable_gets_a_request(serve: Serve, kind: str) -> None:
    assert serve(DualRoute([Route("/", ASYNC[kind])])).get("/").text == "Request"


def test_a_plain_function_that_returns_a_coroutine_is_waited_for(serve: Serve) -> None:
    def wrapper(request: SyncRequest) -> Any:
        return asynchronous(request)

    assert serve(DualRoute([Route("/", wrapper)])).get("/").text == "SyncRequest"


def thread_name(request: Any) -> Response:
    return PlainTextResponse(threading.current_thread().name)


async def async_thread_name(request: Request) -> Response:
    asyncio.get_running_loop()
    return thread_name(request)


@pytest.mark.protocol("asgi")  # a WSGI server's own thread runs `def` handlers, whatever the route says
def test_sync_to_thread_says_where_a_plain_handler_runs(serve: Serve) -> None:
    class Inline(HTTPEndpoint):
        sync_to_thread = False

        def get(self, request: SyncRequest) -> Response:
            return thread_name(request)

    client = serve(
        DualRoute(
            [
                Route("/thread", thread_name),
                Route("/inline", thread_name, sync_to_thread=False),
                Route("/class", Inline),
                Route("/async", async_thread_name, sync_to_thread=False),
            ]
        )
    )
    loop_thread = client.get("/async").text
    assert client.get("/thread").text == "dualroute-handler"
    assert client.get("/inline").text == loop_thread
    assert client.get("/class").text == loop_thread


@pytest.mark.protocol("wsgi")  # the other side of the test above
def test_under_wsgi_a_plain_handler_runs_in_the_servers_thread(serve: Serve) -> None:
    client = serve(DualRoute([Route("/plain", thread_name), Route("/async", async_thread_name)]))
    assert client.get("/plain").text == threading.current_thread().name
    assert client.get("/async").text == "dualroute-loop"


# Path parameters by name


def show(**values: Any) -> Response:
    return JSONResponse(values)


def none_of_them(request: SyncRequest) -> Response:
    return show(params=request.path_params)


def all_of_them(request: SyncRequest, a: str, b: int) -> Response:
    return show(a=a, b=b)


def by_keyword_only(request: SyncRequest, *, b: int, a: str) -> Response:
    return show(a=a, b=b)


def everything(request: SyncRequest, **params: Any) -> Response:
    return show(**params)


def one_and_everything(request: SyncRequest, a: str, **params: Any) -> Response:
    return show(a=a, params=params)


def positional_only_request(request: SyncRequest, /, a: str, b: int) -> Response:
    return show(a=a, b=b)


def with_a_default_of_its_own(request: SyncRequest, a: str, b: int, page: int = 1) -> Response:
    return show(a=a, b=b, page=page)


def with_a_default_that_the_path_replaces(request: SyncRequest, a: str = "default", b: int = 0) -> Response:
    return show(a=a, b=b)


def with_positionals(*args: Any, **params: Any) -> Response:
    return show(count=len(args), **params)


async def asynchronously(request: Request, a: str, b: int) -> Response:
    return show(a=a, b=b)


def under_another_name(connection: SyncRequest, a: str, b: int) -> Response:
    return show(a=a, b=b)


BOUND: list[tuple[Any, dict[str, Any]]] = [
    (none_of_them, {"params": {"a": "x", "b": 2}}),
    (all_of_them, {"a": "x", "b": 2}),
    (by_keyword_only, {"a": "x", "b": 2}),
    (everything, {"a": "x", "b": 2}),
    (one_and_everything, {"a": "x", "params": {"b": 2}}),
    (positional_only_request, {"a": "x", "b": 2}),
    (with_a_default_of_its_own, {"a": "x", "b": 2, "page": 1}),
    (with_a_default_that_the_path_replaces, {"a": "x", "b": 2}),
    (with_positionals, {"count": 1, "a": "x", "b": 2}),
    (asynchronously, {"a": "x", "b": 2}),
    (under_another_name, {"a": "x", "b": 2}),
    (functools.partial(with_a_default_of_its_own, page=7), {"a": "x", "b": 2, "page": 7}),
]


@pytest.mark.parametrize(("endpoint", "given"), BOUND)
def test_a_handler_gets_the_parameters_that_it_asks_for(serve: Serve, endpoint: Any, given: dict[str, Any]) -> None:
    assert serve(DualRoute([Route("/{a}/{b:int}", endpoint)])).get("/x/2").json() == given


def test_a_handler_with_everything_gets_the_parameters_of_mounts_too(serve: Serve) -> None:
    app = DualRoute([Mount("/{tenant}", routes=[Route("/{a}", everything)])])
    assert serve(app).get("/acme/x").json() == {"tenant": "acme", "a": "x"}


def test_a_default_gives_way_to_no_parameter_of_a_mount(serve: Serve) -> None:
    def endpoint(request: SyncRequest, tenant: str = "default") -> Response:
        return PlainTextResponse(tenant)

    assert serve(DualRoute([Route("/", endpoint)])).get("/").text == "default"


def test_a_parameter_may_have_the_name_of_the_request(serve: Serve) -> None:
    async def takes_request(connection: Request, request: str) -> Response:
        return PlainTextResponse(request)

    assert serve(DualRoute([Route("/{request}", takes_request)])).get("/x").text == "x"


def test_callables_whose_signature_python_does_not_know_get_the_request_alone(serve: Serve) -> None:
    class Unknown:
        __signature__ = "not a signature"

        def __call__(self, request: Any) -> Response:
            return colour(request)

    assert serve(DualRoute([Route("/{a}", Unknown())])).get("/x").text == "SyncRequest"


def wants_more(request: SyncRequest, a: str, b: str, c: str) -> Response:
    raise NotImplementedError


def wants_some(request: SyncRequest, a: str) -> Response:
    raise NotImplementedError


def wants_nothing() -> Response:
    raise NotImplementedError


def wants_keywords(*, request: SyncRequest) -> Response:
    raise NotImplementedError


def wants_positional(request: SyncRequest, a: str, /) -> Response:
    raise NotImplementedError


def signed(function: Any) -> str:
    return f"{function.__module__}.{function.__qualname__}{inspect.signature(function)}"


@pytest.mark.parametrize(
    ("path", "endpoint", "message"),
    [
        (
            "/{a}",
            wants_more,
            (
                f"Route('/{{a}}'): {signed(wants_more)} wants 'b', 'c', which the path does not have ('a'); "
                "the parameters of an enclosing Mount or Host are in request.path_params"
            ),
        ),
        (
            "/",
            wants_some,
            (
                f"Route('/'): {signed(wants_some)} wants 'a', which the path does not have (it has no parameters); "
                "the parameters of an enclosing Mount or Host are in request.path_params"
            ),
        ),
        (
            "/{a}/{b}/{c}",
            wants_some,
            (
                f"Route('/{{a}}/{{b}}/{{c}}'): {signed(wants_some)} takes 'a' but not 'b', 'c'; "
                "take every parameter of the path, or none and use request.path_params"
            ),
        ),
        (
            "/",
            wants_nothing,
            f"Route('/'): {signed(wants_nothing)} must take the connection as its first argument",
        ),
        (
            "/",
            wants_keywords,
            f"Route('/'): {signed(wants_keywords)} must take the connection as its first argument",
        ),
    ],
)
def test_a_mismatch_of_path_and_signature_is_an_error_when_the_route_is_made(
    path: str, endpoint: Any, message: str
) -> None:
    with pytest.raises(TypeError, match=exactly(message)):
        Route(path, endpoint)


def test_a_path_parameter_that_can_only_come_by_position_is_an_error_when_the_route_is_made() -> None:
    with pytest.raises(TypeError, match=r"wants_positional.* by position only"):
        Route("/{a}", wants_positional)


def test_a_positional_default_is_left_alone(serve: Serve) -> None:
    def endpoint(request: SyncRequest, a: str = "default", /) -> Response:
        return PlainTextResponse(a)

    assert serve(DualRoute([Route("/{a}", endpoint)])).get("/x").text == "default"


def test_handlers_are_described_by_module_and_name() -> None:
    assert describe(plain) == f"{__name__}.plain"
    assert describe(functools.partial(plain)) == f"{__name__}.plain"
    assert describe(PlainInstance()) == f"{__name__}.PlainInstance"
    assert describe(Methods().plain) == f"{__name__}.Methods.plain"
    assert repr(Handler(plain)) == f"<Handler {__name__}.plain>"
