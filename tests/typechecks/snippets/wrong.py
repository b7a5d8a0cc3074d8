"""Mistakes that users make, and what mypy and pyright call each of them, in the comment at the end of its line."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from dualroute import (
    BackgroundTask,
    DualRoute,
    HTTPException,
    JSONResponse,
    Limits,
    Mount,
    PlainTextResponse,
    Request,
    Response,
    Route,
    StreamingResponse,
    SyncRequest,
    WebSocket,
    WebSocketRoute,
)
from dualroute.config import Config
from dualroute.connection import HTTPConnection
from dualroute.datastructures import Secret
from dualroute.middleware import Middleware
from dualroute.schemas import SchemaGenerator
from dualroute.templating import Jinja2Templates
from dualroute.types import Flow


def good(request: SyncRequest) -> Response:
    return Response()


# In a handler: the colour


async def forgets_await(request: Request) -> Response:
    data = request.json()
    return JSONResponse(data["key"])  # mypy: index; pyright: reportIndexIssue


async def leaves_a_coroutine(request: Request) -> Response:
    body: bytes = request.body()  # mypy: assignment; pyright: reportAssignmentType
    return Response(body)


async def awaits_what_is_there(request: SyncRequest) -> Response:
    return Response(await request.body())  # mypy: misc; pyright: reportGeneralTypeIssues


def reads_a_stream_by_for(request: Request) -> Response:
    return Response(b"".join(request.stream()))  # mypy: arg-type; pyright: reportArgumentType


# In a handler: the request and the response


def misspells(request: SyncRequest) -> Response:
    request.header["x"]  # mypy: attr-defined; pyright: reportAttributeAccessIssue
    return Response(request.query_params["a"] + 1)  # mypy: operator; pyright: reportOperatorIssue


def asks_an_address_that_may_be_none(request: SyncRequest) -> Response:
    return Response(request.client.host)  # mypy: union-attr; pyright: reportOptionalMemberAccess


def changes_request_headers(request: SyncRequest) -> Response:
    request.headers["x"] = "y"  # mypy: index; pyright: reportIndexIssue
    return Response(status_code="404")  # mypy: arg-type; pyright: reportArgumentType


def passes_numbers_as_headers(request: SyncRequest) -> Response:
    response = PlainTextResponse("", headers={"x-count": 7})  # mypy: dict-item; pyright: reportArgumentType
    response.headers["x-count"] = 7  # mypy: assignment; pyright: reportArgumentType
    return response


def streams_numbers(request: SyncRequest) -> Response:
    def numbers() -> Iterator[int]:
        yield 1

    return StreamingResponse(numbers())  # mypy: arg-type; pyright: reportArgumentType


def raises(request: SyncRequest) -> Response:
    raise HTTPException("not found")  # mypy: arg-type; pyright: reportArgumentType


def runs_nothing(request: SyncRequest) -> Response:
    return Response(background=print)  # mypy: arg-type; pyright: reportArgumentType


def stores(request: SyncRequest) -> Response:
    request.state = {}  # mypy: assignment, misc; pyright: reportAttributeAccessIssue
    return Response(background=BackgroundTask("print"))  # mypy: arg-type; pyright: reportArgumentType


# Where a handler is declared


def returns_text(request: SyncRequest) -> str:
    return "text"


async def returns_a_dict(request: Request) -> dict[str, Any]:
    return {}


def returns_nothing(request: SyncRequest) -> None: ...


def plain_with_the_async_request(request: Request) -> Response:
    return Response()


async def async_with_the_plain_request(request: SyncRequest) -> Response:
    return Response()


async def takes_a_websocket(websocket: WebSocket) -> None: ...


class NoEndpoint:
    def get(self, request: SyncRequest) -> Response:
        return Response()


Route("/", returns_text)  # mypy: arg-type; pyright: reportArgumentType
Route("/", returns_a_dict)  # mypy: arg-type; pyright: reportArgumentType
Route("/", returns_nothing)  # mypy: arg-type; pyright: reportArgumentType
Route("/", plain_with_the_async_request)  # mypy: arg-type; pyright: reportArgumentType
Route("/", async_with_the_plain_request)  # mypy: arg-type; pyright: reportArgumentType
Route("/", takes_a_websocket)  # mypy: arg-type; pyright: reportArgumentType
Route("/", NoEndpoint)  # mypy: arg-type; pyright: reportArgumentType
Route("/", "home")  # mypy: arg-type; pyright: reportArgumentType
Route("/", good, ["GET"])  # mypy: call-arg; pyright: reportCallIssue
Route("/", good, methods=["GET", 7])  # mypy: list-item; pyright: reportArgumentType
Route("/", good, limits=Limits(max_body_size="1 MB"))  # mypy: arg-type; pyright: reportArgumentType
WebSocketRoute("/", good)  # mypy: arg-type; pyright: reportArgumentType
WebSocketRoute("/", forgets_await)  # mypy: arg-type; pyright: reportArgumentType
Mount("/", routes=[good])  # mypy: list-item; pyright: reportArgumentType

app = DualRoute([good])  # mypy: list-item; pyright: reportArgumentType
app.add_route("/", returns_text)  # mypy: arg-type; pyright: reportArgumentType
app.add_websocket_route("/", good)  # mypy: arg-type; pyright: reportArgumentType


@app.route("/")  # mypy: type-var; pyright: reportArgumentType
def decorated(request: SyncRequest) -> int:
    return 1


@app.websocket_route("/")  # mypy: type-var; pyright: reportArgumentType
def decorated_live(websocket: WebSocket) -> None: ...


# Middleware and exception handlers


def calls_next(request: Request, call_next: Any) -> Response:
    return Response()


async def waits(connection: HTTPConnection) -> Response:
    return Response()


def returns_no_response(connection: HTTPConnection) -> Flow:
    yield connection.app
    return "done"  # mypy: return-value; pyright: reportReturnType


def yields_a_function(connection: HTTPConnection) -> Flow:
    yield print  # mypy: misc; pyright: reportReturnType
    return None


def one_argument(error: Exception) -> Response:
    return Response()


def returns_a_text(request: SyncRequest, error: Exception) -> str:
    return ""


DualRoute(middleware=[calls_next])  # mypy: list-item; pyright: reportArgumentType
DualRoute(middleware=[waits])  # mypy: list-item; pyright: reportArgumentType
Route("/", good, middleware=waits)  # mypy: arg-type; pyright: reportArgumentType
app.add_middleware(good)  # mypy: arg-type; pyright: reportArgumentType, reportCallIssue
DualRoute(exception_handlers={404: one_argument})  # mypy: dict-item; pyright: reportArgumentType
DualRoute(exception_handlers={404: returns_a_text})  # mypy: dict-item; pyright: reportArgumentType
DualRoute(exception_handlers={"404": good})  # mypy: dict-item; pyright: reportArgumentType
DualRoute(lifespam=None)  # mypy: call-arg; pyright: reportCallIssue
Route("/", good, timeout="5")  # mypy: arg-type; pyright: reportArgumentType
Middleware("cors")  # mypy: arg-type; pyright: reportArgumentType


@app.exception_handler(404)  # mypy: type-var; pyright: reportArgumentType
def not_found(request: SyncRequest) -> Response:
    return Response()


# Settings, templates, schemas

config = Config(".env")
port: str = config("PORT", cast=int)  # mypy: assignment; pyright: reportAssignmentType
number: int = config("PORT")  # mypy: assignment; pyright: reportAssignmentType
key: str = config("KEY", cast=Secret)  # mypy: assignment; pyright: reportAssignmentType
Jinja2Templates(["a", 1])  # mypy: list-item; pyright: reportArgumentType
SchemaGenerator("3.1.0")  # mypy: arg-type; pyright: reportArgumentType


templates = Jinja2Templates("templates")


def page(request: SyncRequest) -> Response:
    return templates.TemplateResponse("page.html", request)  # mypy: arg-type; pyright: reportArgumentType
