"""An app of another framework in all its places inside a dualroute app: what the servers of these tests serve."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

from dualroute import DualRoute, Host, Mount, PlainTextResponse, Response, Route, SyncRequest, covers


def moved(request: SyncRequest) -> Response:
    return PlainTextResponse("moved")


@covers("http", "websocket")
def around(connection: Any) -> Generator[Any, Any, Any]:
    """Mark each response; where there is a middleware, an app can't have the server's own `receive` and `send`."""
    response = yield connection
    if response is not None:
        response.headers["x-around"] = "passed"
    return response


def in_all_places(legacy: Any) -> DualRoute:
    """Return an app that has `legacy` in each of the places of `tests.frameworks.sites`, but for the last."""
    return DualRoute(
        routes=[
            Host("legacy.test", app=legacy),
            Route("/moved", moved),
            Mount("/old", app=legacy),
            Mount("/around", app=legacy, middleware=[around]),
            Mount("/shops/{shop}", routes=[Route("/moved", moved), Mount("/old", app=legacy)]),
        ],
        fallback=legacy,
    )
