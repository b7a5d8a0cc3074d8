"""HTTPConnection: what a request and a websocket have in common, over either protocol.

A connection keeps what the server handed over (a scope or an environ) as it is, and derives the rest when it is
asked for.  So a handler that looks at nothing pays for nothing.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Generator, ItemsView, Iterator, KeysView, Mapping, ValuesView
from typing import TYPE_CHECKING, Any, ClassVar, Generic, Self

from dualroute.bodies import Channel, InputChannel, ReceiveChannel
from dualroute.datastructures import URL, Address, Headers, QueryParams, State, URLPath
from dualroute.lazily import Lazily
from dualroute.paths import printable, quote_path
from dualroute.targets import Target, authority_of_scope, host_of, target_from_environ, target_from_scope
from dualroute.translation import (
    environ_after_scope,
    environ_headers,
    joined_headers,
    readdressed_environ,
    readdressed_scope,
    scope_after_environ,
    scope_content_type,
    scope_from_environ,
    scope_headers,
)
from dualroute.types import Environ, Receive, Scope

if TYPE_CHECKING:
    # With a default, which the one of `typing` has from Python 3.13 on.
    from typing_extensions import TypeVar

    from dualroute.exchange import Call, Driver
    from dualroute.limits import Limits
    from dualroute.middleware.sessions import Session
    from dualroute.responses import Response

    StateT = TypeVar("StateT", bound="Mapping[str, Any] | State", default=State)
else:
    from typing import TypeVar

    StateT = TypeVar("StateT")

# Within quotes, a byte is written as three octal digits or escaped by a backslash.
_QUOTED = re.compile(rb"\\(?:([0-3][0-7][0-7])|(.))", re.DOTALL)

# What middleware makes for the handlers and a scope shows, as Starlette's does.
_ATTACHED = ("session", "auth", "user")


# What routing found: an application of others has routes of its own, and would be misled by it.
_FOUND = ("app", "router", "route", "endpoint", "dualroute.root_path")

__all__ = ["HTTPConnection", "Place", "StateT", "cookie_parser"]


class Place:
    """Where routing led.

    Args:
        route: the route, if one matched.
        app: the application that it belongs to, the innermost one, if there is one.
        router: the outermost router or application, whose names lead back to paths.
        limits: how much of a request is taken there.
    """

    __slots__ = ("app", "limits", "route", "router")

    def __init__(self, route: Any = None, app: Any = None, router: Any = None, limits: Limits | None = None) -> None:
        self.route: Any = route
        self.app: Any = app
        self.router: Any = router
        self.limits: Limits | None = limits


_NOWHERE = Place()


class HTTPConnection(Generic[StateT]):
    """A request or a websocket handshake.

    It is a mapping as well: that of its `scope`.  In annotations it may be subscribed with the type of its `state`,
    such as a TypedDict of what a lifespan yields: ``Request[AppState]``.

    Args:
        scope: an ASGI scope of type "http" or "websocket".
        receive: its receive callable, where the body is of interest.

    Raises HTTPException(400) for a scope whose target or Host is malformed.
    """

    is_websocket: ClassVar[bool] = False
    """True for a WebSocket."""

    is_malformed: bool = False
    """True where the target or the Host could not be read: the answer is 400, and what is told of them made up."""

    # Every connection has these; the rest is there once it is asked for, or told.
    _given_scope: Scope | None
    _environ: Environ | None
    _place: Place
    _opener: tuple[Any, ...] | None

    # The path as it came, where a proxy has told of another one since.
    _arrived: str | None = None
    _mounted: str = ""
    _path_args: tuple[Any, ...] = ()
    _scope: Scope | None = None
    _headers: Headers | None = None
    _query_params: QueryParams | None = None
    _cookies: dict[str, str] | None = None
    _url: URL | None = None
    _state: State | None = None
    _asked: list[Any] | None = None
    _attached: dict[str, Any] | None = None
    _closing: list[Callable[[], Any]] | None = None
    _lives: tuple[list[dict[str, Any]], bool] | None = None

    if TYPE_CHECKING:
        path_params: dict[str, Any]
        """The converted parameters of the path, those of mounts and hosts around the route included."""
        _target: Target
        _channel: Channel | None
    else:
        path_params = Lazily(lambda self: {})
        _target = Lazily(lambda self: self._read_target())
        _channel = Lazily(lambda self: self._open_channel())

    def __init__(self, scope: Scope, receive: Receive | None = None) -> None:
        self._start(scope, None, target_from_scope(scope), None if receive is None else ReceiveChannel(receive))
        self.path_params = scope.get("path_params", {})
        app = scope.get("app")
        self._place = Place(scope.get("route"), app, scope.get("router") or app)

    @classmethod
    def from_environ(cls, environ: Environ) -> Self:
        """Return the connection that a WSGI environ describes.

        Raises HTTPException(400) for an environ whose target or Host is malformed.
        """
        self = cls.__new__(cls)
        self._start(None, environ, target_from_environ(environ), InputChannel(environ))
        return self

    @classmethod
    def routed(
        cls,
        scope: Scope | None,
        environ: Environ | None,
        target: Target,
        channel: Channel | None,
    ) -> Self:
        """Return the connection for what a server handed over, its target read before."""
        self = cls.__new__(cls)
        self._start(scope, environ, target, channel)
        return self

    @classmethod
    def opened(cls, scope: Scope | None, environ: Environ | None, place: Place, opener: tuple[Any, ...] | None) -> Self:
        """Return the connection for what a server handed over: how a dispatcher makes one.

        Args:
            scope: the ASGI scope, or None.
            environ: the WSGI environ, or None.
            place: where routing led, with the limits that count there.
            opener: makes the channel for its body when it is first wanted: a callable and its arguments.
        """
        self = cls.__new__(cls)
        self._given_scope = scope
        self._environ = environ
        self._place = place
        self._opener = opener
        return self

    def _start(self, scope: Scope | None, environ: Environ | None, target: Target, channel: Channel | None) -> None:
        self._given_scope = scope
        self._environ = environ
        self._place = _NOWHERE
        self._opener = None
        self._target = target
        self._channel = channel

    def _read_target(self) -> Target:
        if self._given_scope is not None:
            return target_from_scope(self._given_scope)
        assert self._environ is not None, "a connection has a scope or an environ"
        return target_from_environ(self._environ)

    def _open_channel(self) -> Channel | None:
        if self._opener is None:
            return None
        opener, self._opener = self._opener, None
        channel: Channel = opener[0](*opener[1:])
        limits = self._place.limits
        if limits is not None:
            channel.limits = limits
            if limits.max_body_size is not None:
                channel.restrict(limits.max_body_size, self.headers.get("content-length"))
        return channel

    def matched(self, path_params: dict[str, Any], mounted: str, path_args: tuple[Any, ...] = ()) -> None:
        """Take in what routing has found: the parameters, and the part of the path that mounts took."""
        self.path_params = path_params
        self._mounted = mounted
        self._path_args = path_args

    def lives_in(self, states: list[dict[str, Any]], handed_over: bool) -> None:
        """Take in what lifespans have left for requests, the outermost first: how a dispatcher tells of it.

        Args:
            states: what they have left.
            handed_over: True where the first of them is in the server's scope already.
        """
        self._lives = states, handed_over

    @property
    def inherited_state(self) -> dict[str, Any]:
        """What the lifespans around this connection have left for it, before anything was made of it."""
        merged: dict[str, Any] = {}
        for state in self._lives[0] if self._lives is not None else ():
            merged.update(state)
        return merged

    def in_colour(self, is_async: bool) -> HTTPConnection[StateT]:
        """Return this connection in the form for an `async def` or a `def` handler."""
        return self

    def amend(self, function: Callable[[Response], object]) -> None:
        """Have `function` called with the response, if it is one that is made outside of all middleware.

        That is the 500 for what nobody handles.  A middleware whose headers such an answer is to have says so before
        its yield.
        """
        self.amendments.append(function)

    @property
    def amendments(self) -> list[Callable[[Response], object]]:
        """What `amend` was told, outermost first."""
        if self._attached is None:
            self._attached = {}
        amendments: list[Callable[[Response], object]] = self._attached.setdefault("amendments", [])
        return amendments

    def amended(self, response: Response) -> Response:
        """Return a response made outside of all middleware, once those who wanted to have seen it."""
        for amend in reversed(self.amendments):
            amend(response)
        return response

    def limit_body(self, max_body_size: int) -> None:
        """Have reading the body raise BodyTooLarge beyond so many bytes, or beyond fewer where `Limits` say so."""
        if self._channel is not None:
            set_before = self._channel.limits.max_body_size if self._channel.limits is not None else None
            limit = max_body_size if set_before is None else min(max_body_size, set_before)
            self._channel.restrict(limit, self.headers.get("content-length"))

    @property
    def form_refused(self) -> bool:
        """True where the form could not be read, which has been logged then."""
        form = self._channel.form if self._channel is not None else None
        return form is not None and form.refused

    def readdress(
        self, target: Target, *, scheme: str, client: Address | None, server: tuple[str, int] | None = None
    ) -> None:
        """Take other facts about where the request came from and went to: those that a trusted proxy tells of.

        They are what everybody further in sees, in the scope and in the environ too.  Routing has been done by then.

        Args:
            target: what it is for; the root path and the authority may differ from those there were.
            scheme: the scheme, http or https.
            client: the address of the peer, or None where it is not known.
            server: the server's name and port, or None to keep those there are.
        """
        if self._arrived is None:
            self._arrived = self.path
        if self._environ is not None:
            self._environ = readdressed_environ(self._environ, target, scheme, client, server)
        else:
            assert self._given_scope is not None, "a connection has a scope or an environ"
            if self.is_websocket:
                scheme = {"http": "ws", "https": "wss"}[scheme]
            self._given_scope = readdressed_scope(self._given_scope, target, scheme, client, server)
        self._target = target
        self._headers = self._url = self._scope = None

    @property
    def driver(self) -> Driver:
        """What has done what is inside a middleware that does not leave that to the exchange: see `Nest`.

        Raises RuntimeError for a connection that did not come through an app.
        """
        if self._channel is None:
            raise RuntimeError("this connection was made by hand, and did not come through an app")
        return self._channel

    def inside_scope(self, scope: Scope, channel: Channel | None) -> Self:
        """Return this connection as it goes on behind an ASGI middleware.

        Routing has been done: another path in the scope changes nothing.

        Args:
            scope: what the middleware has passed on.
            channel: where the body comes from now.
        """
        view = self._inside(channel)
        given = self.scope
        has_other_headers = scope["headers"] != given["headers"]
        if has_other_headers or _told(scope) != _told(given):
            target = self._target._replace(method=scope.get("method") or "GET")
            if has_other_headers and (authority := authority_of_scope(scope)) != authority_of_scope(given):
                target = target._replace(authority=authority, host=host_of(authority))
            view._target = target
            if self._environ is not None:
                view._environ = environ_after_scope(self._environ, scope, target)
            if self._given_scope is not None:
                view._given_scope = scope
            view._headers = view._query_params = view._cookies = view._url = None
        attached = view._attached = dict(self._attached or ())
        for name in _ATTACHED:
            if name in scope:
                attached[name] = scope[name]
        view._scope = {**scope, "path": given["path"], "root_path": given["root_path"]}
        return view

    def inside_environ(self, environ: Environ, channel: Channel | None) -> Self:
        """Return this connection as it goes on behind a WSGI middleware: see `inside_scope`.

        Args:
            environ: what the middleware has passed on.
            channel: where the body comes from now.
        """
        view = self._inside(channel)
        view._target = self._target._replace(method=environ["REQUEST_METHOD"])
        authority = environ.get("HTTP_HOST", "")
        # One that is malformed has been refused before, and is not refused again on the way to that answer.
        if authority and authority != self.headers.get("host"):
            view._target = view._target._replace(authority=authority, host=host_of(authority))
        view._environ = environ
        if self._given_scope is not None:
            view._given_scope = scope_after_environ(self._given_scope, environ, view._target)
        view._headers = view._query_params = view._cookies = view._url = view._scope = None
        return view

    def _inside(self, channel: Channel | None) -> Self:
        self.amendments  # noqa: B018  # made now, so that it is shared
        view = self._as(type(self))
        view._channel = channel
        return view  # type: ignore[return-value]  # of the class that was asked for

    def _as(self, cls: type[HTTPConnection[Any]]) -> HTTPConnection[Any]:
        """Return a view of this connection as another class; both share the body and the state."""
        self._shared_state()  # made now, so that it is shared
        self.asked_handlers  # noqa: B018
        self.closing  # noqa: B018
        other = cls.__new__(cls)
        _ = self._channel, self.path_params
        other.__dict__.update(self.__dict__)
        return other

    @property
    def asked_handlers(self) -> list[Any]:
        """The exception handlers that were asked for this connection."""
        if self._asked is None:
            self._asked = []
        return self._asked

    @property
    def closing(self) -> list[Callable[[], Any]]:
        """What to call, `def` or `async def`, when the request is over, however it ends; the last one first."""
        if self._closing is None:
            self._closing = []
        return self._closing

    @property
    def scope(self) -> Scope:
        """The ASGI connection scope (over WSGI, the scope that the environ amounts to), one dict per connection.

        As the specification says, ``path`` holds the whole path and ``root_path`` the part of it that servers and
        mounts have taken.  Further keys: app, router, route, endpoint, path_params, state.
        """
        if self._scope is None:
            if self._given_scope is not None:
                scope = dict(self._given_scope)
                scope["headers"] = joined_headers(scope["headers"])
                self._mend_raw_path(scope)
            else:
                assert self._environ is not None, "a connection has a scope or an environ"
                scope = scope_from_environ(self._environ, self._target)
            scope["path"], root_path = self._told_paths()
            scope["root_path"] = root_path + self._mounted
            scope["dualroute.root_path"] = root_path  # less the mounts inside: see `BaseRoute.matches`
            scope["path_params"] = self.path_params
            scope["state"] = self._shared_state()._state
            place = self._place
            for key, value in (("app", place.app), ("router", place.router), ("route", place.route)):
                if value is not None:
                    scope[key] = value
            if place.route is not None:
                scope["endpoint"] = getattr(place.route, "endpoint", None)
            if self._attached is not None:
                scope.update({name: value for name, value in self._attached.items() if name in _ATTACHED})
            self._scope = scope
        return self._scope

    def _told_paths(self) -> tuple[str, str]:
        """Return the whole path and the server's root path, as they are before anything was passed on."""
        given = self._given_scope
        if given is not None and not given.get("root_path"):
            path: str = given["path"]
            if path.startswith("/") and path.isascii():  # as most are: there is nothing to be read off it
                return path, ""
        return self.path, self._target.root_path

    def _mend_raw_path(self, scope: Scope) -> None:
        if not (scope.get("raw_path") or b"/").startswith(b"/"):
            scope["raw_path"] = quote_path(self.path).encode("ascii")  # it was the absolute form

    def foreign_scope(self) -> Scope:
        """Return a scope like `scope` for an application of others, which may change it; without what routing found."""
        given = self._given_scope
        if self._scope is not None or given is None or self._attached is not None:
            scope = dict(self.scope)
            scope["state"] = dict(self._shared_state()._state)
        else:
            scope = dict(given)
            scope["headers"] = joined_headers(scope["headers"])
            self._mend_raw_path(scope)
            scope["path"], root_path = self._told_paths()
            scope["root_path"] = root_path + self._mounted
            scope["path_params"] = self.path_params
            if self._state is None and self._lives is None:
                scope["state"] = dict(given.get("state") or ())
            else:
                scope["state"] = dict(self._shared_state()._state)
        for key in _FOUND:
            if key in scope:
                del scope[key]
        return scope

    def attach(self, name: str, value: Any) -> None:
        """Keep what a middleware makes for the handlers: "session", "user" or "auth".  The scope has it too."""
        if self._attached is None:
            self._attached = {}
        self._attached[name] = value
        if self._scope is not None:
            self._scope[name] = value

    def _made_by(self, middleware: str, name: str) -> Any:
        if self._attached is not None and name in self._attached:
            return self._attached[name]
        # A middleware that was written for Starlette put it into the scope, perhaps one of a host around this app.
        if name in self.scope:
            return self.scope[name]
        raise RuntimeError(
            f"there is no {name} here: {middleware} has to be in the middleware of the application, or around"
            f" this route, and further out than what asks for the {name}"
        )

    @property
    def session(self) -> dict[str, Any]:
        """The session: a dict of what JSON can hold, kept in a signed cookie.

        Raises RuntimeError where there is no `SessionMiddleware` around.
        """
        session: Session = self._made_by("SessionMiddleware", "session")
        if hasattr(session, "mark_accessed"):  # one that an ASGI middleware made is a plain dict
            session.mark_accessed()
        return session

    @property
    def auth(self) -> Any:
        """What the client may do: the AuthCredentials that the authentication backend found.

        Raises RuntimeError where there is no `AuthenticationMiddleware` around.
        """
        return self._made_by("AuthenticationMiddleware", "auth")

    @property
    def user(self) -> Any:
        """Who the client is, as the authentication backend found.

        Raises RuntimeError where there is no `AuthenticationMiddleware` around.
        """
        return self._made_by("AuthenticationMiddleware", "user")

    @property
    def environ(self) -> Environ | None:
        """The WSGI environ, or None over ASGI."""
        return self._environ

    # A connection is read like its scope, as Starlette's are.  It does not derive from Mapping, whose metaclass makes
    # each isinstance() of a connection a look-up.

    def __getitem__(self, key: str) -> Any:
        return self.scope[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self.scope)

    def __len__(self) -> int:
        return len(self.scope)

    def __contains__(self, key: object) -> bool:
        return key in self.scope

    def __bool__(self) -> bool:
        return True  # without the scope's being made for it

    def get(self, key: str, default: Any = None) -> Any:
        """Return what the scope has under `key`, or `default`."""
        return self.scope.get(key, default)

    def keys(self) -> KeysView[str]:
        """Return the keys of the scope."""
        return self.scope.keys()

    def values(self) -> ValuesView[Any]:
        """Return the values of the scope."""
        return self.scope.values()

    def items(self) -> ItemsView[str, Any]:
        """Return the items of the scope."""
        return self.scope.items()

    def __eq__(self, other: object) -> bool:
        return self is other

    def __hash__(self) -> int:
        return id(self)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.method} {self.printable_path}>"

    @property
    def app(self) -> Any:
        """The DualRoute that the route belongs to, the innermost one; None under a bare Router."""
        return self._place.app

    @property
    def route(self) -> Any:
        """The route that matched, or None where none did."""
        return self._place.route

    @property
    def path_args(self) -> tuple[Any, ...]:
        """The parameters of the path that have no names: what the groups of a rule's pattern matched, in order.

        None stands for an optional group that did not take part.  Empty for routes, whose parameters all have names.
        """
        return self._path_args

    @property
    def target(self) -> Target:
        """What the request is for, as plain values: method, root path, path, authority, host."""
        return self._target

    @property
    def method(self) -> str:
        """The HTTP method; GET for a websocket handshake."""
        if self._environ is not None:
            return str(self._environ["REQUEST_METHOD"])
        assert self._given_scope is not None, "a connection has a scope or an environ"
        return self._given_scope.get("method") or "GET"

    @property
    def path(self) -> str:
        """The whole decoded path, root path included."""
        return self._target.root_path + self._target.path

    @property
    def printable_path(self) -> str:
        """The path for a log, as the server's own log has it: without a prefix that a proxy tells of.

        It is percent-encoded where a client has put line breaks or the like in it.
        """
        return printable(self.path if self._arrived is None else self._arrived)

    @property
    def root_path(self) -> str:
        """The decoded part of the path that the server and mounts have taken."""
        return self._target.root_path + self._mounted

    @property
    def scheme(self) -> str:
        """The URL scheme: http or https, ws or wss."""
        if self._environ is not None:
            return str(self._environ["wsgi.url_scheme"])
        assert self._given_scope is not None, "a connection has a scope or an environ"
        return str(self._given_scope.get("scheme") or ("ws" if self.is_websocket else "http"))

    @property
    def headers(self) -> Headers:
        """The request headers.

        A repeated header is one value joined by commas (cookies by semicolons), since that is all WSGI can show.  One
        whose name has an underscore is dropped: WSGI can't tell it from one with a hyphen there.
        """
        if self._headers is None:
            if self._environ is not None:
                self._headers = Headers(environ_headers(self._environ))
            else:
                assert self._given_scope is not None, "a connection has a scope or an environ"
                self._headers = Headers(scope_headers(self._given_scope["headers"]))
        return self._headers

    def _content_type(self) -> str | None:
        """Return the Content-Type, which most that read a body ask for alone, without reading all headers for it."""
        if self._headers is not None:
            return self._headers.get("content-type")
        if self._environ is not None:
            return self._environ.get("CONTENT_TYPE") or None
        assert self._given_scope is not None, "a connection has a scope or an environ"
        return scope_content_type(self._given_scope["headers"])

    @property
    def query_string(self) -> str:
        """The query string as sent, without its question mark."""
        if self._environ is not None:
            return str(self._environ.get("QUERY_STRING", ""))
        assert self._given_scope is not None, "a connection has a scope or an environ"
        query: bytes = self._given_scope.get("query_string") or b""
        return query.decode("latin-1")

    @property
    def query_params(self) -> QueryParams:
        """The parsed query string."""
        if self._query_params is None:
            self._query_params = QueryParams(self.query_string)
        return self._query_params

    @property
    def cookies(self) -> dict[str, str]:
        """The cookies, read leniently: what can't be a cookie is passed over."""
        if self._cookies is None:
            header = self.headers.get("cookie")
            self._cookies = cookie_parser(header) if header else {}
        return self._cookies

    @property
    def client(self) -> Address | None:
        """The peer's address, or None where the server does not tell one (a unix socket)."""
        if self._environ is not None:
            host = self._environ.get("REMOTE_ADDR")
            port = str(self._environ.get("REMOTE_PORT") or "0")
            return Address(host, int(port) if port.isdecimal() else 0) if host else None
        assert self._given_scope is not None, "a connection has a scope or an environ"
        client = self._given_scope.get("client")
        return Address(client[0], client[1] or 0) if client and client[0] else None

    @property
    def state(self) -> StateT:
        """This connection's own state; it starts with what the lifespan of its app, and of those around it, yielded."""
        made: Any = self._shared_state() if self._state is None else self._state
        state: StateT = made
        return state

    def _shared_state(self) -> State:
        if self._state is None:
            given = self._given_scope.get("state") if self._given_scope is not None else None
            self._state = State({} if given is None else given)
            if self._lives is not None:
                states, handed_over = self._lives
                for state in states[1:] if handed_over else states:
                    self._state._state.update(state)
        return self._state

    @property
    def url(self) -> URL:
        """The absolute URL of the request."""
        if self._url is None:
            query = self.query_string
            self._url = URL(
                f"{self.scheme}://{self._target.authority}{quote_path(self.path)}"
                + (f"?{quote_query(query)}" if query else "")
            )
        return self._url

    @property
    def base_url(self) -> URL:
        """The absolute URL of the app's root, with a trailing slash; mounts inside the app do not count."""
        return URL(f"{self.scheme}://{self._target.authority}{quote_path(self._target.root_path)}/")

    def url_for(self, name: str, /, **path_params: Any) -> URL:
        """Return the absolute URL of the route called `name`.

        Args:
            name: a route's name, with those of the mounts around it in front: ``users:detail``.
            path_params: a value for each parameter of the path and of a Host around it; ``path=`` for a mounted app.

        Raises NoMatchFound where there is no such route.
        """
        router = self._place.router
        if router is None:
            raise RuntimeError("url_for needs a connection that came through a Router or a DualRoute")
        path: URLPath = router.url_path_for(name, **path_params)
        return path.make_absolute_url(self.base_url)

    def refuse(self, error: Exception | None) -> Generator[Call, Any, Response | None]:
        """Answer an error on a websocket: see `WebSocket.refuse`.  A request never gets here."""
        raise NotImplementedError


def _told(scope: Scope) -> tuple[Any, ...]:
    """Return what a connection reads off its scope beside the headers, when it is asked."""
    get = scope.get
    return get("method"), get("scheme"), get("query_string"), get("client"), get("server"), get("subprotocols")


# Registered and not inherited: a class with Mapping's metaclass is asked for its instances in Python code.
_mapping: Any = Mapping
_mapping.register(HTTPConnection)


def quote_query(query: str) -> str:
    """Percent-encode what may not stand in a query, leaving it otherwise as it was sent."""
    from urllib.parse import quote

    return quote(query.encode("latin-1"), safe="/?:@!$&'()*+,;=~%")


def cookie_parser(cookie_string: str) -> dict[str, str]:
    """Parse a Cookie header (RFC 6265 section 5.4), as browsers write them rather than as section 4.1.1 has it.

    Whatever stands between semicolons is a cookie: a value may hold spaces and quotes, and one without an equals sign
    has no name.  A value in quotes is unquoted.  Of a name that repeats, the last one counts.
    """
    cookies = {}
    for pair in cookie_string.encode("latin-1", "replace").split(b";"):
        name, equals, value = pair.partition(b"=")
        if not equals:
            name, value = b"", name
        name, value = name.strip(), value.strip()
        if len(value) > 1 and value[:1] == value[-1:] == b'"':
            value = _QUOTED.sub(_unquoted, value[1:-1])
        if name or value:
            cookies[name.decode("utf-8", "replace")] = value.decode("utf-8", "replace")
    return cookies


def _unquoted(match: re.Match[bytes]) -> bytes:
    octal, character = match.groups()
    return bytes([int(octal, 8)]) if octal else character
