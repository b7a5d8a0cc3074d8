"""What a reverse proxy tells of the client: X-Forwarded-* and Forwarded (RFC 7239), from proxies that are trusted.

Anybody can send such a header.  So nothing is taken from a peer that is not in the list, and no more than the trusted
proxies themselves have added: each appends to a header what it saw, so the values are read from the right, one for
each proxy, and the next one only where the address before it is in the list as well.
"""

from __future__ import annotations

import re
from collections.abc import Generator, Iterable
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias
from urllib.parse import unquote

from dualroute.datastructures import Address
from dualroute.exceptions import HTTPException
from dualroute.responses import Response
from dualroute.targets import Target, host_of

if TYPE_CHECKING:
    from dualroute.connection import HTTPConnection

__all__ = ["ProxyHeadersMiddleware"]

_SCHEMES = {"http": "http", "https": "https", "ws": "http", "wss": "https"}
_PORTS = {"http": "80", "https": "443"}
_PORT = re.compile(r"[0-9]{1,5}", re.ASCII)
_PREFIX = re.compile(r"(/[^/\x00-\x20\x7f\\?#]+)*")
# One parameter of a Forwarded element (RFC 7239 section 4), and what may follow it.
# Possessive, because a client may send as many spaces as it likes.
_PAIR = re.compile(
    r"[ \t]*+(?:([!#$%&'*+.^_`|~\w-]++)=(?:\"((?:[^\"\\]|\\.)*+)\"|([^\s\",;]*+)))?[ \t]*+([;,]|$)", re.ASCII
)

_IP: TypeAlias = IPv4Address | IPv6Address


class _Told(NamedTuple):
    """What the proxies tell; None for what they do not."""

    client: str | None = None
    scheme: str | None = None
    host: str | None = None
    port: str | None = None
    prefix: str | None = None


class ProxyHeadersMiddleware:
    """Has a request show the client, the scheme and the host that trusted proxies tell of.

    They are what everybody further in sees: `request.client`, `request.url`, `url_for`, the scope, the environ and
    mounted applications.  Put it outermost.  Routing comes before middleware, so a `Host` route goes by the Host header
    that the server got; have the proxy pass that on as it is where there are such routes.

    Let it be the only one to read these headers: a server that does so too (uvicorn unless it is started with
    ``--no-proxy-headers``) shows the client as the peer, which is then not in the list.

    A header is only read if its count is not 0, and must be one that the proxies set or append to: one that they pass
    on untouched is the client's.

    Args:
        trusted_hosts: addresses and networks (``"10.0.0.0/8"``) of the proxies, as a list or separated by commas;
            ``"unix"`` for whoever calls by a unix socket, ``"*"`` for anybody.
        x_for: how many proxies, at most, add to X-Forwarded-For.
        x_proto: the same for X-Forwarded-Proto.
        x_host: the same for X-Forwarded-Host.
        x_port: the same for X-Forwarded-Port.
        x_prefix: the same for X-Forwarded-Prefix, the path that was cut off: the root path.
        forwarded: the same for Forwarded, in place of all of these.  With neither this nor those given, one proxy is
            taken to set X-Forwarded-For and X-Forwarded-Proto.

    A value that can be none (a Host that is no host) is answered 400; an address that can't be read, or is hidden,
    leaves `request.client` None.

    Raises TypeError or ValueError for an entry that is no address, and for counts that contradict one another.
    """

    __covers__: frozenset[str] = frozenset(("http", "websocket"))

    def __init__(
        self,
        trusted_hosts: str | Iterable[str] = ("127.0.0.1", "::1"),
        *,
        x_for: int | None = None,
        x_proto: int | None = None,
        x_host: int | None = None,
        x_port: int | None = None,
        x_prefix: int | None = None,
        forwarded: int = 0,
    ) -> None:
        counts = {"x_for": x_for, "x_proto": x_proto, "x_host": x_host, "x_port": x_port, "x_prefix": x_prefix}
        for name, count in {**counts, "forwarded": forwarded}.items():
            if count is not None and (not isinstance(count, int) or count < 0):
                raise ValueError(f"ProxyHeadersMiddleware: {name} is a number of proxies, not {count!r}")
        if forwarded and any(counts.values()):
            raise ValueError(
                "ProxyHeadersMiddleware: forwarded= and x_…= are two ways of saying the same; give the one that the"
                " proxies set, since they pass the other on as the client sent it"
            )
        if not forwarded and all(count is None for count in counts.values()):
            counts["x_for"] = counts["x_proto"] = 1
        self._counts = {name.removeprefix("x_"): count or 0 for name, count in counts.items()}
        self._forwarded = forwarded
        entries = trusted_hosts.split(",") if isinstance(trusted_hosts, str) else list(trusted_hosts)
        self._networks: list[IPv4Network | IPv6Network] = []
        self._unix = self._any = False
        for entry in entries:
            self._trust(entry)

    def _trust(self, entry: str) -> None:
        text = entry.strip()
        if text == "*":
            self._any = self._unix = True
        elif text == "unix":
            self._unix = True
        else:
            try:
                self._networks.append(ip_network(text))
            except ValueError as error:
                raise ValueError(
                    f"ProxyHeadersMiddleware: {entry!r} is neither an address nor a network ({error}); names are not"
                    " looked up"
                ) from None

    def trusts(self, host: str | None) -> bool:
        """Tell whether a peer, by its address, is in the list; None is one at a unix socket."""
        if self._any:
            return True
        if host is None:
            return self._unix
        address = _address(host)
        return address is not None and any(address in network for network in self._networks)

    def __call__(self, connection: HTTPConnection) -> Generator[Any, Any, Response | None]:
        """Take what the headers tell, if the peer is trusted."""
        peer = connection.client
        if self.trusts(peer.host if peer else None):
            told = self._by_forwarded(connection) if self._forwarded else self._by_x_forwarded(connection)
            if any(value is not None for value in told):
                _take(connection, told)
        response: Response | None = yield connection
        return response

    def _by_x_forwarded(self, connection: HTTPConnection) -> _Told:
        headers = connection.headers
        addresses = _listed(headers.get("x-forwarded-for")) if self._counts["for"] else []
        hops = self._hops([_split(address)[0] for address in addresses])

        def value(name: str, header: str) -> str | None:
            values = _listed(headers.get(header)) if self._counts[name] else []
            return values[-min(self._counts[name], hops, len(values))] if values else None

        return _Told(
            value("for", "x-forwarded-for"),
            value("proto", "x-forwarded-proto"),
            value("host", "x-forwarded-host"),
            value("port", "x-forwarded-port"),
            value("prefix", "x-forwarded-prefix"),
        )

    def _by_forwarded(self, connection: HTTPConnection) -> _Told:
        elements = _elements(connection.headers.get("forwarded") or "")
        hops = self._hops([_split(element.get("for", ""))[0] for element in elements])
        element = elements[-min(self._forwarded, hops, len(elements))]
        return _Told(element.get("for"), element.get("proto"), element.get("host"))

    def _hops(self, addresses: list[str]) -> int:
        """Return how many values from the right are those of trusted proxies; many, where no addresses tell."""
        if self._any or not addresses:
            return 1_000_000
        hops = 1
        for address in reversed(addresses):
            if not self.trusts(address or "?"):
                break
            hops += 1
        return hops


def _take(connection: HTTPConnection, told: _Told) -> None:
    target = connection.target
    scheme = _SCHEMES[connection.scheme]
    client = connection.client
    server: tuple[str, int] | None = None
    if told.client is not None:
        host, port = _split(told.client)
        client = Address(host, port) if host else None
    if told.scheme is not None:
        if told.scheme.lower() not in _SCHEMES:
            raise _malformed("scheme")
        scheme = _SCHEMES[told.scheme.lower()]
    authority = target.authority
    if told.host is not None:
        authority = told.host
        if not authority:
            raise _malformed("host")
    if told.port is not None:
        if not _PORT.fullmatch(told.port) or not 0 < int(told.port) < 65536:
            raise _malformed("port")
        authority = re.sub(r":[0-9]*$", "", authority)
        if told.port != _PORTS[scheme]:
            authority = f"{authority}:{told.port}"
    host = host_of(authority)
    if told.host is not None or told.port is not None:
        name, _, port_text = authority.partition(":") if authority[:1] != "[" else authority.rpartition("]:")
        name = f"{name}]" if authority[:1] == "[" and name else name
        server = (name or authority, int(port_text) if port_text.isdecimal() else int(_PORTS[scheme]))
    root_path = target.root_path if told.prefix is None else _prefix(told.prefix)
    connection.readdress(
        Target(target.method, root_path, target.path or ("" if root_path else "/"), authority, host),
        scheme=scheme,
        client=client,
        server=server,
    )


def _prefix(text: str) -> str:
    text = text.rstrip("/")
    try:
        decoded = unquote(text, errors="strict")
        decoded.encode()
    except UnicodeError:
        raise _malformed("prefix") from None
    if not _PREFIX.fullmatch(text) or "\0" in decoded:
        raise _malformed("prefix")
    return decoded


def _malformed(what: str) -> HTTPException:
    return HTTPException(400, f"Bad Request: the forwarded {what} is malformed")


def _listed(header: str | None) -> list[str]:
    """Return the values of a header in which proxies append to what there is."""
    return [_unquoted(value.strip()) for value in header.split(",")] if header else []


def _unquoted(value: str) -> str:
    return re.sub(r"\\(.)", r"\1", value[1:-1]) if len(value) > 1 and value[0] == value[-1] == '"' else value


def _elements(header: str) -> list[dict[str, str]]:
    """Return the elements of a Forwarded header, the nearest proxy's last; what can't be read is an empty one."""
    elements: list[dict[str, str]] = [{}]
    position = 0
    while position < len(header):
        match = _PAIR.match(header, position)
        if match is None:
            # All to the left of the next comma is unreadable, that is one element.
            elements[-1] = {}
            comma = header.find(",", position)
            if comma < 0:
                break
            position = comma + 1
            elements.append({})
            continue
        name, quoted, plain, end = match.groups()
        if name is not None:
            elements[-1][name.lower()] = plain if quoted is None else re.sub(r"\\(.)", r"\1", quoted)
        if end == ",":
            elements.append({})
        position = match.end()
        if not end:
            break
    return elements


def _address(text: str) -> _IP | None:
    try:
        address = ip_address(text)
    except ValueError:
        return None
    # A server that listens for both kinds shows the one kind as the other.
    return getattr(address, "ipv4_mapped", None) or address


def _split(node: str) -> tuple[str, int]:
    """Return the address and the port of a node; no address where there is none to be read (RFC 7239 section 6)."""
    host, port = node, ""
    if node.startswith("["):
        host, _, rest = node[1:].partition("]")
        port = rest.removeprefix(":")
    elif node.count(":") == 1:
        host, _, port = node.partition(":")
    address = _address(host)
    if address is None:
        return "", 0
    return str(address), int(port) if _PORT.fullmatch(port) and int(port) < 65536 else 0
