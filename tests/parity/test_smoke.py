from __future__ import annotations
from dualroute import DualRoute, PlainTextResponse, Route
from tests.conftest import Serve
def test_hello(serve: Serve) -> None:
    def hello(request): return PlainTextResponse("hi")
    r = serve(DualRoute([Route("/", hello)])).get("/")
    assert (r.status_code, r.text) == (200, "hi")
