"""TestClient: see `dualroute.testclient`."""

from __future__ import annotations

import threading
import weakref
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from contextvars import copy_context
from types import TracebackType
from typing import Any, Literal, Self

import httpx

from dualroute.endpoints import HTTPEndpoint, WebSocketEndpoint
from dualroute.failures import unhandled
from dualroute.foreign import protocol_of, shown
from dualroute.serving import Servable
from dualroute.testclient.asgi import ASGITransport, connection_scope
from dualroute.testclient.checks import raise_later
from dualroute.testclient.life import Life, LoopThread
from dualroute.testclient.sessions import WebSocketTestSession
from dualroute.testclient.wsgi import WSGITransport

__all__ = ["TestClient"]


class TestClient(httpx.Client):
    """An httpx client whose requests go to `app`, in this process.

    As a context manager it runs the start-up of the app and, at the end, its shutdown.  Without, the start-up comes
    with the first request: under WSGI as in any process that serves, with the shutdown when that exits; under ASGI as
    with any server that runs no lifespan, with a warning in the log, and the shutdown with `close`.  Either way it can
    be used again afterwards.

    Args:
        app: any application: a DualRoute, a Router, an HTTPEndpoint class, a WSGIApp or an ASGIApp on either protocol;
            a WSGI or an ASGI application of another framework on its own.
        base_url: what relative URLs are relative to.
        raise_server_exceptions: False to get the answer that a client would where the app fails, instead of the
            exception: status 500, or httpx.RemoteProtocolError where the response had begun.
        root_path: where the app is mounted: the scope's root_path, the environ's SCRIPT_NAME.  The paths of requests
            may start with it or leave it out.
        protocol: which protocol to call the app by: "asgi" or "wsgi".
        cookies: cookies to begin with.  Those that responses set are kept.
        headers: headers of every request.
        follow_redirects: False to see redirects.
        client: the address that requests come from.
        backend: "asyncio", which is what the app runs on under ASGI.

    Under ASGI the app runs on an event loop in a thread, one and the same for all requests until the client is closed
    or its ``with`` block ends; under WSGI in the thread that uses the client.

    Raises ValueError for an unknown protocol or backend, and TypeError for an app that does not speak it.
    """

    __test__ = False  # pytest takes a class of such a name for tests

    app: Any
    """The app."""
    protocol: str
    """The protocol that it is called by."""
    app_state: dict[str, Any]
    """What the app's start-up put into the lifespan's state, under ASGI.  Each request gets a copy."""

    def __init__(
        self,
        app: Any,
        base_url: str = "http://testserver",
        raise_server_exceptions: bool = True,
        root_path: str = "",
        protocol: Literal["asgi", "wsgi"] = "asgi",
        cookies: Mapping[str, str] | httpx.Cookies | None = None,
        headers: Mapping[str, str] | None = None,
        follow_redirects: bool = True,
        client: tuple[str, int] = ("testclient", 50000),
        *,
        backend: Literal["asyncio"] = "asyncio",
    ) -> None:
        _require_protocol(app, protocol)
        if backend != "asyncio":
            raise ValueError(f"TestClient runs an app on asyncio, and has no backend {backend!r}")
        root_path = root_path.rstrip("/")
        if root_path and not root_path.startswith("/"):
            raise ValueError(f"root_path starts with a slash, or is empty: {root_path!r}")
        self.app = app
        self.protocol = protocol
        self.app_state = {}
        self._raise_server_exceptions = raise_server_exceptions
        self._root_path = root_path
        self._client_address = client
        self._loop_thread: LoopThread | None = None
        self._let_go: Any = None
        self._starting = threading.Lock()
        self._running: ExitStack | None = None
        self._app_transport: ASGITransport | WSGITransport
        if protocol == "asgi":
            self._app_transport = ASGITransport(
                app, _WeakThread(self), raise_server_exceptions, root_path, client, self.app_state
            )
        else:
            self._app_transport = WSGITransport(app, raise_server_exceptions, root_path, client)
        super().__init__(
            base_url=base_url,
            headers={"user-agent": "testclient", **{name.lower(): value for name, value in (headers or {}).items()}},
            transport=self._app_transport,
            follow_redirects=follow_redirects,
            cookies=httpx.Cookies(cookies) if isinstance(cookies, httpx.Cookies) else dict(cookies or {}),
        )

    def __enter__(self) -> Self:
        if self._running is not None:
            raise RuntimeError("the client is in a with block already")
        self._running = ExitStack()
        try:
            self._start()
        except BaseException:
            self._end(None)
            raise
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None = None,
        exc_value: BaseException | None = None,
        traceback: TracebackType | None = None,
    ) -> None:
        self._end(exc_value)

    def _start(self) -> None:
        assert self._running is not None, "it was made just now"
        if self.protocol == "asgi":
            self.app_state.clear()
            life = Life(self.app, self._thread(), self.app_state)
            life.startup()
            self._running.callback(life.shutdown)
        elif isinstance(self.app, Servable):
            # The seam with the WSGI adapter: it starts and shuts down once per process, and here when it is told to.
            adapter = self.app.wsgi_adapter
            _raising(adapter.startup)
            self._running.callback(_raising, adapter.shutdown)

    def _end(self, error: BaseException | None) -> None:
        """Shut the app down.  What that fails with is raised, unless a test has failed already."""
        running, self._running = self._running, None
        self._app_transport.close()
        try:
            if running is not None:
                running.close()
        except Exception:
            if error is None:
                raise
        finally:
            self._stop_loop()

    def close(self) -> None:
        """Close the client, its event loop included; in a ``with`` block, that is done at its end."""
        super().close()
        if self._running is not None:
            self._end(None)
        else:
            self._stop_loop()

    def _thread(self) -> LoopThread:
        with self._starting:
            if self._loop_thread is None:
                self._loop_thread = thread = LoopThread()
                # A client that is forgotten takes its thread with it.
                self._let_go = weakref.finalize(self, thread.stop)
            return self._loop_thread

    def _stop_loop(self) -> None:
        with self._starting:
            thread, self._loop_thread = self._loop_thread, None
        if thread is not None:
            self._let_go.detach()
            thread.close()

    def websocket_connect(
        self,
        url: str,
        subprotocols: Sequence[str] | None = None,
        *,
        headers: Mapping[str, str] | None = None,
        params: Mapping[str, str] | None = None,
        **options: Any,
    ) -> WebSocketTestSession:
        """Return a websocket session, which a ``with`` block opens and closes.

        Args:
            url: where to, relative to the client's base URL, or with a scheme ``ws`` or ``wss``.
            subprotocols: what to offer, in order of preference.
            headers: further headers of the handshake.
            params: the query.
            options: what else `httpx.Client.build_request` takes, such as `cookies`.

        On WSGI, which has no websockets, opening it raises the app's answer, status 501, as WebSocketDenialResponse.
        """
        handshake = {
            "connection": "upgrade",
            "upgrade": "websocket",
            "sec-websocket-key": "dGVzdGNsaWVudCBub25jZQ==",
            "sec-websocket-version": "13",
        }
        if subprotocols is not None:
            handshake["sec-websocket-protocol"] = ", ".join(subprotocols)
        handshake.update({name.lower(): value for name, value in (headers or {}).items()})
        request = self.build_request("GET", url, headers=handshake, params=params, **options)
        scheme = {"http": "ws", "https": "wss"}.get(request.url.scheme, request.url.scheme)
        if self.protocol == "wsgi":
            request.url = request.url.copy_with(scheme=scheme.replace("ws", "http"))
            scope = None
        else:
            request.url = request.url.copy_with(scheme=scheme)
            offered = request.headers.get("sec-websocket-protocol")
            scope = {
                **connection_scope(request, self._root_path, self._client_address, self.app_state),
                "type": "websocket",
                "subprotocols": [] if offered is None else [item.strip() for item in offered.split(",")],
                "extensions": {"websocket.http.response": {}},
            }
        return WebSocketTestSession(
            self.app,
            request,
            scope,
            self._thread,
            self._app_transport.handle_request,
            self._raise_server_exceptions,
        )


class _WeakThread:
    """A client's loop, for its transport, which is not to keep the client alive beyond its use."""

    def __init__(self, client: TestClient) -> None:
        self._client = weakref.ref(client)

    def __call__(self) -> LoopThread:
        client = self._client()
        assert client is not None, "a transport is used by its client"
        return client._thread()


def _raising(function: Any) -> None:
    """Call a start-up or a shutdown, and raise what it noted and only logged as well."""
    errors: list[BaseException] = []
    context = copy_context()
    context.run(unhandled.set, errors)
    context.run(function)
    if errors:
        raise_later(errors[0])


def _require_protocol(app: Any, protocol: str) -> None:
    if protocol not in ("asgi", "wsgi"):
        raise ValueError(f"protocol is 'asgi' or 'wsgi', not {protocol!r}")
    if isinstance(app, Servable) or (isinstance(app, type) and issubclass(app, HTTPEndpoint | WebSocketEndpoint)):
        return
    if not callable(app):
        raise TypeError(f"TestClient takes an application, not {app!r}")
    told = protocol_of(app)
    if told is None:
        raise TypeError(
            f"{shown(app)} is called neither like a WSGI app, with (environ, start_response), nor like an ASGI app,"
            " with (scope, receive, send); if it is one, say so by WSGIApp(…) or ASGIApp(…)"
        )
    if told.lower() != protocol:
        raise TypeError(
            f"{shown(app)} is called like {'a WSGI' if told == 'WSGI' else 'an ASGI'} app: pass"
            f" protocol={told.lower()!r}, or {told}App(…), which works on both protocols"
        )
