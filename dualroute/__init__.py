"""dualroute: a web framework core that serves one app object over both WSGI and ASGI."""

from typing import TYPE_CHECKING, Any

from dualroute.applications import DualRoute
from dualroute.background import BackgroundTask, BackgroundTasks
from dualroute.convertors import Convertor, register_url_convertor
from dualroute.endpoints import HTTPEndpoint, WebSocketEndpoint
from dualroute.exceptions import (
    ClientDisconnect,
    HTTPException,
    NoMatchFound,
    WebSocketDisconnect,
    WebSocketException,
)
from dualroute.exchange import Call
from dualroute.limits import Limits
from dualroute.middleware import covers
from dualroute.requests import Request, SyncRequest
from dualroute.responses import (
    HTMLResponse,
    JSONResponse,
    PlainTextResponse,
    RedirectResponse,
    Response,
    StreamingResponse,
)
from dualroute.routing import Host, Mount, Route, Router, WebSocketRoute
from dualroute.websockets import WebSocket

if TYPE_CHECKING:
    from dualroute.fileresponses import FileResponse
    from dualroute.origins import check_origin
    from dualroute.sse import EventSourceResponse, ServerSentEvent
    from dualroute.staticfiles import StaticFiles
    from dualroute.syncwebsockets import SyncWebSocket
    from dualroute_asgi.mounted import ASGIApp
    from dualroute_wsgi.mounted import WSGIApp

__version__ = "0.1.0"

__all__ = [
    "ASGIApp",
    "BackgroundTask",
    "BackgroundTasks",
    "Call",
    "ClientDisconnect",
    "Convertor",
    "DualRoute",
    "EventSourceResponse",
    "FileResponse",
    "HTMLResponse",
    "HTTPEndpoint",
    "HTTPException",
    "Host",
    "JSONResponse",
    "Limits",
    "Mount",
    "NoMatchFound",
    "PlainTextResponse",
    "RedirectResponse",
    "Request",
    "Response",
    "Route",
    "Router",
    "ServerSentEvent",
    "StaticFiles",
    "StreamingResponse",
    "SyncRequest",
    "SyncWebSocket",
    "WSGIApp",
    "WebSocket",
    "WebSocketDisconnect",
    "WebSocketEndpoint",
    "WebSocketException",
    "WebSocketRoute",
    "__version__",
    "check_origin",
    "covers",
    "register_url_convertor",
]


_LAZY = {
    "EventSourceResponse": "dualroute.sse",
    "SyncWebSocket": "dualroute.syncwebsockets",
    "check_origin": "dualroute.origins",
    "FileResponse": "dualroute.fileresponses",
    "ServerSentEvent": "dualroute.sse",
    "StaticFiles": "dualroute.staticfiles",
}


def __getattr__(name: str) -> Any:
    if name in _LAZY:
        from importlib import import_module

        return getattr(import_module(_LAZY[name]), name)
    # An adapter is loaded when something of it is asked for: an ASGI worker need not load the WSGI side, nor the other
    # way round.
    if name in ("ASGIApp", "WSGIApp"):
        from dualroute.applications import foreign_class

        return foreign_class(name.removesuffix("App"))
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
