"""OpenTelemetryMiddleware: a span for each request."""

from __future__ import annotations

from typing import Any

import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from dualroute import Mount, PlainTextResponse, Request, Response, Route, SyncRequest
from dualroute.middleware.opentelemetry import OpenTelemetryMiddleware
from tests.conftest import Serve
from tests.middleware_helper import accepted, handshake, site


class Spans:
    def __init__(self) -> None:
        self.exporter = InMemorySpanExporter()
        self.provider = TracerProvider()
        self.provider.add_span_processor(SimpleSpanProcessor(self.exporter))

    def one(self) -> Any:
        (span,) = self.exporter.get_finished_spans()
        self.exporter.clear()
        return span


@pytest.fixture
def spans() -> Spans:
    return Spans()


def current(request: SyncRequest) -> Response:
    return PlainTextResponse(format(trace.get_current_span().get_span_context().span_id, "x"))


async def current_async(request: Request) -> Response:
    return PlainTextResponse(format(trace.get_current_span().get_span_context().span_id, "x"))


def app(spans: Spans, **options: Any) -> Any:
    return site(
        [OpenTelemetryMiddleware(spans.provider, **options)],
        Route("/current/{n:int}", current),
        Route("/current-async", current_async),
        Mount("/in/{name}", routes=[Route("/x/{y}", current)]),
    )


@pytest.mark.parametrize(
    ("path", "route"),
    [("/current/1", "/current/{n:int}"), ("/current-async", "/current-async"), ("/in/a/x/b", "/x/{y}")],
)
def test_a_request_has_a_span_that_is_current_inside(serve: Serve, spans: Spans, path: str, route: str) -> None:
    parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    client = serve(app(spans), base_url="http://testserver:81")
    answer = client.get(f"{path}?q=1", headers={"traceparent": parent, "user-agent": "me"})
    span = spans.one()
    assert answer.text == format(span.context.span_id, "x")
    assert format(span.context.trace_id, "032x") == parent.split("-")[1]
    assert format(span.parent.span_id, "016x") == parent.split("-")[2]
    assert (span.name, span.kind, span.status.status_code.name) == (f"GET {route}", trace.SpanKind.SERVER, "UNSET")
    assert dict(span.attributes) == {
        "http.request.method": "GET",
        "url.scheme": "http",
        "url.path": path,
        "server.address": "testserver",
        "server.port": 81,
        "http.route": route,
        "client.address": "127.0.0.1",
        "user_agent.original": "me",
        "http.response.status_code": 200,
    }
    assert not trace.get_current_span().get_span_context().is_valid


@pytest.mark.parametrize(
    ("path", "status", "error", "events"),
    [("/fail", 500, "LookupError", 1), ("/none", 404, None, 0), ("/teapot", 418, None, 0), ("/stream", 200, None, 0)],
)
def test_how_it_ended(serve: Serve, spans: Spans, path: str, status: int, error: str | None, events: int) -> None:
    assert serve(app(spans)).get(path).status_code == status
    span = spans.one()
    assert span.attributes["http.response.status_code"] == status
    assert span.attributes.get("error.type") == error
    assert (span.status.status_code.name == "ERROR") == (error is not None)
    assert len(span.events) == events
    assert span.name == ("GET" if path == "/none" else f"GET {path}")


@pytest.mark.protocol("asgi")  # the validator of the WSGI tests refuses methods that it does not know
def test_what_a_client_makes_up_names_nothing(serve: Serve, spans: Spans) -> None:
    serve(app(spans)).request("MADEUP", "/", headers={"traceparent": "nonsense"})
    span = spans.one()
    assert (span.name, span.parent) == ("HTTP", None)
    assert span.attributes["http.request.method_original"] == "MADEUP"


def test_some_have_none(serve: Serve, spans: Spans) -> None:
    serve(app(spans, excludes=lambda connection: connection.path == "/")).get("/")
    assert spans.exporter.get_finished_spans() == ()


def test_websockets(spans: Spans) -> None:
    assert accepted(handshake(app(spans)))
    assert spans.one().name == "GET /ws"


def test_without_the_package_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "opentelemetry", None)
    with pytest.raises(RuntimeError, match=r"pip install 'dualroute\[opentelemetry\]'"):
        OpenTelemetryMiddleware()


@pytest.mark.parametrize(
    ("excluded_urls", "path", "has_span"),
    [
        ("/async$,stream", "/", True),
        ("/async$,stream", "/async", False),
        ("/async$, stream", "/stream", False),
        (["teapot", "^http://testserver/$"], "/", False),
        (["teapot", r"\?x="], "/async?x=1", False),
        ("", "/", True),
        (",", "/", True),
    ],
)
def test_urls_may_be_left_out(serve: Serve, spans: Spans, excluded_urls: Any, path: str, has_span: bool) -> None:
    serve(app(spans, excluded_urls=excluded_urls)).get(path)
    assert len(spans.exporter.get_finished_spans()) == has_span
