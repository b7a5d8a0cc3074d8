"""The cases: what is asked, what must come back, and who takes part."""

from __future__ import annotations

from contextlib import ExitStack
from typing import Any

from tests.benchmarks import falcons, ours, raw, starlettes
from tests.benchmarks.harness import RAW, Answer, App, Case

__all__ = ["CASES", "OURS"]

OURS = "dualroute"

HELLO = Answer(200, b"hello, world")
USER = Answer(200, b'{"id":42}')
NOT_FOUND = Answer(404, b"Not Found")
NOT_ALLOWED = Answer(405, b"Method Not Allowed")

# A thousand of REST shape; all three spell parameters alike.
MANY = [
    path
    for index in range(500)
    for path in (f"/api/v1/resource{index}", f"/api/v1/resource{index}/{{id:int}}/items/{{name}}")
]
LAST = "/api/v1/resource499/7/items/pen"


def _asgi_hello(answer: Answer) -> dict[str, App]:
    return {
        RAW: raw.asgi(answer),
        OURS: ours.hello(ours.hello_async),
        "Starlette": starlettes.hello(starlettes.hello_async),
        "Falcon": falcons.asgi(falcons.HelloAsync(), "/hello"),
    }


def _asgi_hello_def(stack: ExitStack) -> dict[str, App]:
    return {
        RAW: raw.asgi(HELLO),
        "raw, in an executor": raw.asgi_in_executor(HELLO),
        OURS: ours.hello(ours.hello_def),
        "dualroute, sync_to_thread=False": ours.hello(ours.hello_def, sync_to_thread=False),
        "Starlette": starlettes.hello(starlettes.hello_def),
        "Falcon": falcons.asgi(falcons.HelloInThread(), "/hello"),
    }


def _asgi_user(stack: ExitStack) -> dict[str, App]:
    return {
        RAW: raw.asgi_user,
        OURS: ours.user(ours.user_async),
        "Starlette": starlettes.user(),
        "Falcon": falcons.asgi(falcons.UserAsync(), "/users/{id:int}"),
    }


def _asgi_class(stack: ExitStack) -> dict[str, App]:
    return {
        RAW: raw.asgi(HELLO),
        OURS: ours.hello(ours.HelloAsync),
        "Starlette": starlettes.hello(starlettes.Hello),
        "Falcon": falcons.asgi(falcons.HelloAsync(), "/hello"),
    }


def _asgi_many(stack: ExitStack) -> dict[str, App]:
    return {
        RAW: raw.asgi(HELLO),
        OURS: ours.many(ours.hello_async, MANY),
        "Starlette": starlettes.many(MANY),
        "Falcon": falcons.asgi(falcons.ItemAsync(), *MANY),
    }


def _wsgi_hello(answer: Answer) -> dict[str, App]:
    return {
        RAW: raw.wsgi(answer),
        OURS: ours.hello(ours.hello_def),
        "Falcon": falcons.wsgi(falcons.Hello(), "/hello"),
    }


def _wsgi_hello_async(stack: ExitStack) -> dict[str, App]:
    return {
        RAW: raw.wsgi(HELLO),
        "raw, on a loop in a thread": raw.wsgi_on_loop(HELLO, stack),
        OURS: ours.hello(ours.hello_async),
        "async_to_sync": raw.wsgi_async_to_sync(HELLO),
    }


def _wsgi_user(stack: ExitStack) -> dict[str, App]:
    return {
        RAW: raw.wsgi_user,
        OURS: ours.user(ours.user_def),
        "Falcon": falcons.wsgi(falcons.User(), "/users/{id:int}"),
    }


def _wsgi_class(stack: ExitStack) -> dict[str, App]:
    return {
        RAW: raw.wsgi(HELLO),
        OURS: ours.hello(ours.HelloDef),
        "Falcon": falcons.wsgi(falcons.Hello(), "/hello"),
    }


def _wsgi_many(stack: ExitStack) -> dict[str, App]:
    return {
        RAW: raw.wsgi(HELLO),
        OURS: ours.many(ours.hello_def, MANY),
        "Falcon": falcons.wsgi(falcons.Item(), *MANY),
    }


def _asgi(name: str, path: str, answer: Answer, make: Any, **options: Any) -> Case:
    return Case(f"ASGI {name}", "asgi", path, answer, make, **options)


def _wsgi(name: str, path: str, answer: Answer, make: Any, **options: Any) -> Case:
    options.setdefault("peers", ("Falcon",))
    return Case(f"WSGI {name}", "wsgi", path, answer, make, **options)


CASES = (
    _asgi("hello, async def", "/hello", HELLO, lambda stack: _asgi_hello(HELLO)),
    _asgi("hello, def", "/hello", HELLO, _asgi_hello_def, peers=("raw, in an executor", "Starlette", "Falcon")),
    _asgi("one parameter, JSON", "/users/42", USER, _asgi_user),
    _asgi("class endpoint", "/hello", HELLO, _asgi_class),
    _asgi("404", "/nowhere", NOT_FOUND, lambda stack: _asgi_hello(NOT_FOUND)),
    _asgi("405", "/hello", NOT_ALLOWED, lambda stack: _asgi_hello(NOT_ALLOWED), method="POST"),
    _asgi("last of 1,000 routes", LAST, HELLO, _asgi_many),
    _wsgi("hello, def", "/hello", HELLO, lambda stack: _wsgi_hello(HELLO)),
    _wsgi(
        "hello, async def",
        "/hello",
        HELLO,
        _wsgi_hello_async,
        peers=("raw, on a loop in a thread", "async_to_sync"),
    ),
    _wsgi("one parameter, JSON", "/users/42", USER, _wsgi_user),
    _wsgi("class endpoint", "/hello", HELLO, _wsgi_class),
    _wsgi("404", "/nowhere", NOT_FOUND, lambda stack: _wsgi_hello(NOT_FOUND)),
    _wsgi("405", "/hello", NOT_ALLOWED, lambda stack: _wsgi_hello(NOT_ALLOWED), method="POST"),
    _wsgi("last of 1,000 routes", LAST, HELLO, _wsgi_many),
)
