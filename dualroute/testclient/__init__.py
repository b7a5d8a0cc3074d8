"""TestClient: an httpx client whose requests go to an app in this process, by either protocol.

It plays the server: what it calls is the app itself, with a scope or an environ as a real server makes them, and what
the app sends back is held against the rules of the protocol.

    asgi.py        a request to an ASGI app, on an event loop in a thread
    life.py        that thread, and the lifespan of the app
    sessions.py    websockets
    wsgi.py        a request to a WSGI app, in the thread of the test
    checks.py      what both protocols hold an answer against
    client.py      TestClient
"""

try:
    import httpx as httpx
except ModuleNotFoundError as _missing:
    if _missing.name != "httpx":
        raise
    raise ModuleNotFoundError(
        "dualroute.testclient needs httpx: install it by itself or by pip install 'dualroute[testclient]'", name="httpx"
    ) from None

from dualroute.exceptions import WebSocketDisconnect
from dualroute.testclient.checks import ProtocolViolation
from dualroute.testclient.client import TestClient
from dualroute.testclient.sessions import WebSocketDenialResponse, WebSocketTestSession

__all__ = ["ProtocolViolation", "TestClient", "WebSocketDenialResponse", "WebSocketDisconnect", "WebSocketTestSession"]
