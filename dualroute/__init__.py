"""dualroute: a web framework core that serves one app object over both WSGI and ASGI."""

from dualroute.applications import DualRoute
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

__version__ = "0.1.0"

__all__ = [
    "Call",
    "ClientDisconnect",
    "Convertor",
    "DualRoute",
    "HTMLResponse",
    "HTTPEndpoint",
    "HTTPException",
    "Host",
    "JSONResponse",
    "Mount",
    "NoMatchFound",
    "PlainTextResponse",
    "RedirectResponse",
    "Request",
    "Response",
    "Route",
    "Router",
    "StreamingResponse",
    "SyncRequest",
    "WebSocket",
    "WebSocketDisconnect",
    "WebSocketEndpoint",
    "WebSocketException",
    "WebSocketRoute",
    "__version__",
    "covers",
    "register_url_convertor",
]
