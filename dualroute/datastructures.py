"""The values a connection is made of: headers, query parameters, URLs, state.

The names and the behaviour are those that Starlette documents.  Headers are kept as pairs of `str`, decoded as
Latin-1 (RFC 9110 section 5.5), which is what WSGI hands over and what ASGI's bytes turn into without loss.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, MutableMapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import SplitResult, parse_qsl, urlencode, urlsplit

from dualroute.multidicts import ImmutableMultiDict, MultiDict, QueryParams

if TYPE_CHECKING:
    from dualroute.types import Scope
    from dualroute.uploads import FormData, SyncFormData, SyncUploadFile, UploadFile

__all__ = [
    "URL",
    "Address",
    "CommaSeparatedStrings",
    "FormData",
    "Headers",
    "ImmutableMultiDict",
    "MultiDict",
    "MutableHeaders",
    "QueryParams",
    "Secret",
    "State",
    "SyncFormData",
    "SyncUploadFile",
    "URLPath",
    "UploadFile",
]

_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")


class Address(NamedTuple):
    """A peer's host and its port; the port is 0 where the server does not tell it."""

    host: str
    port: int


class Headers(Mapping[str, str]):
    """Request headers: read-only, names in any case, a name may repeat.

    By its name a header is the first of those that have it.  All else shows each of them: `len`, iteration, `keys`,
    `values` and `items`.

    Args:
        headers: a mapping or pairs of text.
        raw: pairs of bytes, as in an ASGI scope, in place of `headers`.
        scope: an ASGI scope or message with the key "headers", in place of both.

    Raises TypeError for more than one of them.
    """

    __slots__ = ("_list",)

    def __init__(
        self,
        headers: Mapping[str, str] | Iterable[tuple[str, str]] | None = None,
        raw: Iterable[tuple[bytes, bytes]] | None = None,
        scope: MutableMapping[str, Any] | None = None,
    ) -> None:
        self._list: list[tuple[str, str]]
        if raw is None and scope is None:
            if headers is None:
                self._list = []
            else:
                pairs = headers.multi_items() if isinstance(headers, Headers) else _pairs(headers)
                self._list = [(name.lower(), value) for name, value in pairs]
        else:
            self._list = _decoded(_sole(type(self), headers, raw, scope))

    @property
    def raw(self) -> list[tuple[bytes, bytes]]:
        """The pairs as bytes, in order: what an ASGI message holds."""
        return _encoded(self._list)

    def multi_items(self) -> list[tuple[str, str]]:
        """Return every pair, in order, repeated names included."""
        return list(self._list)

    def getlist(self, key: str) -> list[str]:
        """Return every value of the header `key`, in order."""
        key = key.lower()
        return [value for name, value in self._list if name == key]

    def mutablecopy(self) -> MutableHeaders:
        """Return a copy that may be changed."""
        return MutableHeaders(self._list)

    def __getitem__(self, key: str) -> str:
        key = key.lower()
        for name, value in self._list:
            if name == key:
                return value
        raise KeyError(key)

    def __contains__(self, key: object) -> bool:
        return isinstance(key, str) and any(name == key.lower() for name, _ in self._list)

    def __iter__(self) -> Iterator[str]:
        return iter(self.keys())

    def __len__(self) -> int:
        return len(self._list)

    def keys(self) -> list[str]:  # type: ignore[override]  # a list, since a view has each key once
        """Return the name of every pair, in order."""
        return [name for name, _ in self._list]

    def values(self) -> list[str]:  # type: ignore[override]  # as `keys`
        """Return the value of every pair, in order."""
        return [value for _, value in self._list]

    def items(self) -> list[tuple[str, str]]:  # type: ignore[override]  # as `keys`
        """Return every pair, in order: the same as `multi_items`."""
        return list(self._list)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Headers) and sorted(self._list) == sorted(other._list)

    __hash__ = None  # type: ignore[assignment]  # as for a dict: equal by content

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._list!r})"


class MutableHeaders(Headers):
    """Response headers: what is put in is checked at once, so that nothing unsendable can get as far as a server.

    Args:
        headers: a mapping or pairs of text.
        raw: a list of pairs of bytes, in place of `headers`.  It is changed along with these headers.
        scope: an ASGI message or scope whose "headers" are changed along with these, in place of both.

    Raises ValueError for a name that is no token (RFC 9110 section 5.1) or a value that holds CR, LF or NUL, and
    for text outside Latin-1; TypeError for more than one of the arguments.
    """

    __slots__ = ()

    def __init__(
        self,
        headers: Mapping[str, str] | Iterable[tuple[str, str]] | None = None,
        raw: list[tuple[bytes, bytes]] | None = None,
        scope: MutableMapping[str, Any] | None = None,
    ) -> None:
        if raw is None and scope is None:
            super().__init__(headers)
            for name, value in self._list:
                _check(name, value)
        else:
            self._share(_sole(type(self), headers, raw, scope), scope)

    def _share(self, raw: Any, scope: MutableMapping[str, Any] | None) -> None:
        """Take headers over from bytes, which follow what is done to these."""
        from dualroute.followed import Followed

        shared: list[tuple[bytes, bytes]] = raw
        if scope is not None:  # where it need not be a list
            scope["headers"] = shared = list(raw)

        def follow(pairs: list[tuple[str, str]]) -> None:
            shared[:] = _encoded(pairs)

        self._list = Followed(_decoded(shared), follow)

    @property
    def raw(self) -> list[tuple[bytes, bytes]]:
        """The pairs as bytes, in order: what an ASGI message holds.  A change of the list is one of these headers.

        It shows the headers as they are when it is asked for, so ask anew after other changes.
        """
        from dualroute.followed import Followed

        return Followed(_encoded(self._list), self._replace)

    def _replace(self, raw: Iterable[tuple[bytes, bytes]]) -> None:
        pairs = _decoded(raw)
        for name, value in pairs:
            _check(name, value)
        self._list[:] = pairs

    def __setitem__(self, key: str, value: str) -> None:
        """Set the header, replacing the first one of that name and removing the others."""
        if key not in _known_names:
            key = key.lower()
            _check(key, value)
        # What `_check` looks at first, without the call.
        elif value.__class__ is not str or not value.isascii() or not value.isprintable():
            _check(key, value)
        pairs = self._list
        for name, _ in pairs:
            if name == key:
                break
        else:
            pairs.append((key, value))
            return
        index = [name for name, _ in pairs].index(key)
        pairs[index] = (key, value)
        pairs[index + 1 :] = [pair for pair in pairs[index + 1 :] if pair[0] != key]

    def __delitem__(self, key: str) -> None:
        """Remove every header of that name; there need not be one."""
        key = key.lower()
        self._list[:] = [pair for pair in self._list if pair[0] != key]

    def setdefault(self, key: str, value: str) -> str:
        """Set the header `key` to `value` unless it is there, and return what it then is."""
        if key in self:
            return self[key]
        self[key] = value
        return value

    def update(self, other: Mapping[str, str]) -> None:
        """Set each of the headers in `other`."""
        for key, value in other.items():
            self[key] = value

    def ready(self) -> list[tuple[bytes, bytes]] | None:
        """Return what `raw` shows, as a plain list; None where a header may be about the connection."""
        try:
            return [(_known_names[name], value.encode("latin-1")) for name, value in self._list]
        except KeyError:
            return None

    @classmethod
    def of(cls, pairs: Iterable[tuple[str, str]]) -> MutableHeaders:
        """Return headers made of pairs of text, checked: what the constructor does, for those who make many."""
        self = cls.__new__(cls)
        self._list = checked = []
        for given, value in pairs:
            # Most are known names and plain values, which need no call.
            name = _spellings.get(given)
            if name is None or type(value) is not str or not (value.isascii() and value.isprintable()):
                name = given.lower()
                _check(name, value)
                if name in _known_names and len(_spellings) < _KNOWN_NAMES_LIMIT:
                    _spellings[given] = name
            checked.append((name, value))
        return self

    def append(self, key: str, value: str) -> None:
        """Add the header `key` with `value`, keeping those of the same name."""
        key = key.lower()
        _check(key, value)
        self._list.append((key, value))

    def add_vary_header(self, vary: str) -> None:
        """Add `vary` to the Vary header (RFC 9110 section 12.5.5) unless it is there."""
        names = [name.strip() for value in self.getlist("vary") for name in value.split(",")]
        if vary.lower() not in [name.lower() for name in names]:
            self["vary"] = ", ".join([*names, vary])


def _pairs(items: Mapping[str, str] | Iterable[tuple[str, str]]) -> Iterable[tuple[str, str]]:
    pairs: Any = items.items() if isinstance(items, Mapping) else items
    return pairs  # type: ignore[no-any-return]  # an Iterable of pairs may itself be a Mapping, for a type checker


def _decoded(raw: Iterable[tuple[bytes, bytes]]) -> list[tuple[str, str]]:
    return [(name.decode("latin-1").lower(), value.decode("latin-1")) for name, value in raw]


def _encoded(pairs: Iterable[tuple[str, str]]) -> list[tuple[bytes, bytes]]:
    return [(name.encode("latin-1"), value.encode("latin-1")) for name, value in pairs]


def _sole(cls: type, headers: object, raw: Any, scope: MutableMapping[str, Any] | None) -> Any:
    """Return the bytes that headers are to be made of.  Raises TypeError where there is more than one choice."""
    if headers is not None or (raw is not None and scope is not None):
        raise TypeError(f"{cls.__name__} takes one of headers=, raw= and scope=")
    return raw if scope is None else scope["headers"]


# Headers about the connection, which are the server's affair (RFC 9110 section 7.6.1).
HOP_BY_HOP = frozenset(
    ("connection", "keep-alive", "proxy-connection", "te", "trailer", "trailers", "transfer-encoding", "upgrade")
)
# Names found well-formed that a response may be sent with, and their bytes.  Programs choose them, but may do so by
# what clients send, so the memory is bounded.
_known_names: dict[str, bytes] = {}
_KNOWN_NAMES_LIMIT = 1024
# Those of nearly every response.
_USUAL_NAMES = {"content-length": b"content-length", "content-type": b"content-type"}
_known_names.update(_USUAL_NAMES)
# The names that they are, by how programs have written them.
_spellings: dict[str, str] = {}


def _check(name: str, value: str) -> None:
    if name not in _known_names:
        _check_name(name)
    if not isinstance(value, str):
        raise TypeError(f"the value of header {name!r} must be a str, not {type(value).__name__}: {value!r}")
    if value.isascii() and value.isprintable():  # as most are; what follows looks closer
        return
    if "\r" in value or "\n" in value or "\0" in value:
        raise ValueError(f"the value of header {name!r} holds a CR, LF or NUL: {value!r}")
    if not value.isascii():
        try:
            value.encode("latin-1")
        except UnicodeEncodeError:
            raise ValueError(f"the value of header {name!r} holds a character outside Latin-1: {value!r}") from None


def _check_name(name: str) -> None:
    if not _TOKEN.fullmatch(name):
        raise ValueError(f"{name!r} is no header name: it must be a token (RFC 9110 section 5.1)")
    if name in HOP_BY_HOP:
        return
    if len(_known_names) >= _KNOWN_NAMES_LIMIT:
        _known_names.clear()
        _spellings.clear()
        _known_names.update(_USUAL_NAMES)
    _known_names[name] = name.encode("ascii")


class URL:
    """An absolute or a relative URL, as text and as its components.

    Args:
        url: the text.
        scope: an ASGI scope whose URL it is, in place of `url`.
        components: the parts that it is made of, as `replace` takes them, in place of both.

    Raises TypeError for more than one of them, and HTTPException(400) for a scope whose target or Host is malformed.
    """

    __slots__ = ("_split", "_url")

    def __init__(self, url: str = "", scope: Scope | None = None, **components: Any) -> None:
        self._url = str(url)
        self._split: SplitResult | None = None
        if scope is not None or components:
            if url or (scope is not None and components):
                raise TypeError("URL takes one of a text, scope= and the components of a URL")
            self._url = str(URL().replace(**components)) if scope is None else _url_of(scope)

    @property
    def components(self) -> SplitResult:
        """The parts, as `urllib.parse.urlsplit` gives them."""
        if self._split is None:
            self._split = urlsplit(self._url)
        return self._split

    @property
    def scheme(self) -> str:
        return self.components.scheme

    @property
    def netloc(self) -> str:
        return self.components.netloc

    @property
    def path(self) -> str:
        """The path, percent-encoded."""
        return self.components.path

    @property
    def query(self) -> str:
        return self.components.query

    @property
    def fragment(self) -> str:
        return self.components.fragment

    @property
    def username(self) -> str | None:
        return self.components.username

    @property
    def password(self) -> str | None:
        return self.components.password

    @property
    def hostname(self) -> str | None:
        return self.components.hostname

    @property
    def port(self) -> int | None:
        return self.components.port

    @property
    def is_secure(self) -> bool:
        """True for https and wss."""
        return self.scheme in ("https", "wss")

    def replace(self, **parts: Any) -> URL:
        """Return a URL with other parts: scheme, netloc, path, query, fragment, username, password, hostname, port."""
        authority = {"username", "password", "hostname", "port"} & parts.keys()
        if authority:
            hostname = parts.pop("hostname", None)
            if hostname is None:
                hostname = self.netloc.rpartition("@")[2]
                if not hostname.endswith("]"):
                    hostname = re.sub(r":[0-9]*$", "", hostname)
            port = parts.pop("port", self.port)
            username = parts.pop("username", self.username)
            password = parts.pop("password", self.password)
            netloc = hostname if port is None else f"{hostname}:{port}"
            if username is not None:
                netloc = f"{username}{'' if password is None else f':{password}'}@{netloc}"
            parts["netloc"] = netloc
        return type(self)(self.components._replace(**parts).geturl())

    def include_query_params(self, **params: Any) -> URL:
        """Return the URL with these query parameters set, in place of those of the same names.

        Args:
            params: the parameters, whose values are put in as `str` gives them.
        """
        items = [(key, value) for key, value in self._query_items() if key not in params]
        return self.replace(query=urlencode([*items, *((key, str(value)) for key, value in params.items())]))

    def replace_query_params(self, **params: Any) -> URL:
        """Return the URL with these query parameters and no others.

        Args:
            params: the parameters, whose values are put in as `str` gives them.
        """
        return self.replace(query=urlencode([(key, str(value)) for key, value in params.items()]))

    def remove_query_params(self, keys: str | Sequence[str]) -> URL:
        """Return the URL without some query parameters.

        Args:
            keys: the name of one, or several names.
        """
        names = [keys] if isinstance(keys, str) else keys
        return self.replace(query=urlencode([item for item in self._query_items() if item[0] not in names]))

    def _query_items(self) -> list[tuple[str, str]]:
        return parse_qsl(self.query, keep_blank_values=True)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, str | URL) and str(self) == str(other)

    def __hash__(self) -> int:
        return hash(self._url)

    def __str__(self) -> str:
        return self._url

    def __repr__(self) -> str:
        """Show the URL with its password hidden."""
        shown = str(self.replace(password="********")) if self.password else self._url
        return f"{type(self).__name__}({shown!r})"


def _url_of(scope: Scope) -> str:
    from dualroute.connection import HTTPConnection

    scheme = "ws" if scope.get("type") == "websocket" else "http"  # where the server does not say
    return str(HTTPConnection({"scheme": scheme, **scope}).url)


class URLPath(str):
    """What a reverse look-up returns: a percent-encoded path, and the scheme and host that its routes ask for.

    Args:
        path: the path.
        protocol: "http" or "websocket", or empty for either.
        host: the host that a Host route puts in front, or empty.
    """

    __slots__ = ("host", "protocol")

    protocol: str
    host: str

    def __new__(cls, path: str, protocol: str = "", host: str = "") -> URLPath:
        if protocol not in ("", "http", "websocket"):
            raise ValueError(f"the protocol of a URLPath is 'http' or 'websocket', not {protocol!r}")
        self = str.__new__(cls, path)
        self.protocol = protocol
        self.host = host
        return self

    def make_absolute_url(self, base_url: str | URL) -> URL:
        """Return the absolute URL of this path below `base_url`, whose path is the one the app is mounted at."""
        base = URL(str(base_url)) if not isinstance(base_url, URL) else base_url
        secure = base.is_secure
        scheme = {"http": ("http", "https"), "websocket": ("ws", "wss")}.get(self.protocol)
        return URL(
            f"{scheme[secure] if scheme else base.scheme}://{self.host or base.netloc}{base.path.rstrip('/')}{self!s}"
        )


class State:
    """A bag of attributes: `app.state` and `request.state`.  Items and attributes are the same thing."""

    _state: dict[str, Any]

    def __init__(self, state: dict[str, Any] | None = None) -> None:
        object.__setattr__(self, "_state", {} if state is None else state)

    def __getattr__(self, name: str) -> Any:
        try:
            return self._state[name]
        except KeyError:
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}") from None

    def __setattr__(self, name: str, value: Any) -> None:
        self._state[name] = value

    def __delattr__(self, name: str) -> None:
        try:
            del self._state[name]
        except KeyError:
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}") from None

    def __getitem__(self, key: str) -> Any:
        return self._state[key]

    def __setitem__(self, key: str, value: Any) -> None:
        self._state[key] = value

    def __delitem__(self, key: str) -> None:
        del self._state[key]

    def __contains__(self, key: object) -> bool:
        return key in self._state

    def __iter__(self) -> Iterator[str]:
        return iter(self._state)

    def __len__(self) -> int:
        return len(self._state)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._state!r})"


class Secret:
    """A text that `repr` and tracebacks do not show; `str` gives it.

    Args:
        value: the text.
    """

    def __init__(self, value: str) -> None:
        self._value = value

    def __repr__(self) -> str:
        return f"{type(self).__name__}('**********')"

    def __str__(self) -> str:
        return self._value

    def __bool__(self) -> bool:
        return bool(self._value)


class CommaSeparatedStrings(Sequence[str]):
    """A list of texts.

    Args:
        value: a sequence, or one text with commas (``a, b, 'c, d'``), quoted as shells do.
    """

    def __init__(self, value: str | Sequence[str]) -> None:
        if isinstance(value, str):
            from shlex import shlex

            splitter = shlex(value, posix=True)
            splitter.whitespace = ","
            splitter.whitespace_split = True
            splitter.commenters = ""
            self._items = [item.strip() for item in splitter]
        else:
            self._items = list(value)

    def __len__(self) -> int:
        return len(self._items)

    def __getitem__(self, index: Any) -> Any:
        return self._items[index]

    def __iter__(self) -> Iterator[str]:
        return iter(self._items)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._items!r})"

    def __str__(self) -> str:
        return ", ".join(map(repr, self._items))


def __getattr__(name: str) -> Any:
    # They have a module of their own, which is loaded with the first form.
    if name in ("FormData", "SyncFormData", "SyncUploadFile", "UploadFile"):
        import dualroute.uploads

        return getattr(dualroute.uploads, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
