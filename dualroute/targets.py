"""The target of a request, read off what a server hands over, by one set of rules for both protocols.

A server describes a request by a scope (ASGI) or an environ (PEP 3333).  Either is brought down to the plain values
of a `Target`, from which routing goes on without knowing where they came from.  What is wrong with a request line or
with its Host is found here and answered 400, so that what servers let pass differently ends alike:

* a path that is not UTF-8 when percent-decoded, which WSGI hands over byte by byte and ASGI with U+FFFD in it;
* a path without a leading slash.  The absolute form (RFC 9112 section 3.2.2) is first cut down to its path; one that
  has none is refused, because WSGI servers hand that over as they do a target that is no path, as an empty one;
* a Host that is not ``host[:port]``, or more than one.  What is in brackets must be an IPv6 address, and the port one
  that there is, so that the URL of a request can always be taken apart.  Without a Host header (HTTP/1.0), or with an
  empty one, the server's own name and port stand in.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any, NamedTuple
from urllib.parse import unquote_to_bytes

from dualroute.exceptions import HTTPException
from dualroute.types import Environ, Scope

__all__ = [
    "Target",
    "authority_of_scope",
    "host_of",
    "is_plain",
    "known_host_in",
    "known_hosts",
    "require_host",
    "target_from_environ",
    "target_from_scope",
]

# RFC 3986 section 3.2.2, less what no name on a network holds: userinfo, percent-encoding, sub-delims.
_HOST = re.compile(r"([A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\])(?::([0-9]{0,5}))?")
_ABSOLUTE = re.compile(r"[Hh][Tt][Tt][Pp][Ss]?://[^/?#]*")
_DEFAULT_PORTS = {"http": 80, "https": 443, "ws": 80, "wss": 443}

# Hosts seen and found well-formed, with their lower-case names.  A client chooses its Host, so the memory is bounded.
known_hosts: dict[str, str] = {}
_known_raw_hosts: dict[bytes | None, str] = {}
_KNOWN_HOSTS_LIMIT = 1024
_LONGEST_KNOWN = 259  # a name of 253 characters (RFC 1035 section 2.3.4, without the root), and a port


class Target(NamedTuple):
    """What a request is for.

    Args:
        method: the HTTP method, as sent; GET for a websocket handshake.
        root_path: where the server says that the app is mounted, without a trailing slash.
        path: the decoded path below `root_path`; it starts with a slash, or is empty below a root path that is not.
        authority: the Host header, or what stands in for it.
        host: its host in lower case, without the port.
    """

    method: str
    root_path: str
    path: str
    authority: str
    host: str


def target_from_scope(scope: Scope) -> Target:
    """Read the target off an ASGI scope.  Raises HTTPException(400) for one that is malformed."""
    path: str = scope["path"]
    if not path.isascii():
        _require_utf8(path, scope.get("raw_path"))
    root_path: str = scope.get("root_path") or ""
    if root_path:
        if not path.startswith("/"):
            path = _clean(path, root_path)  # the absolute form with the root path in it (gunicorn, hypercorn)
        # The specification wants the path to hold the root path; some servers and hosts leave it out.  One that ends
        # in a slash may have been put before the path as it is, or without that slash.
        for prefix in (root_path, root_path.rstrip("/")):
            rest = path[len(prefix) :]
            if path.startswith(prefix) and (not rest or rest[0] == "/" or _ABSOLUTE.match(rest)):
                path = rest
                break
        root_path = root_path.rstrip("/")
    authority = authority_of_scope(scope)
    return Target(scope.get("method") or "GET", root_path, _clean(path, root_path), authority, host_of(authority))


def authority_of_scope(scope: Scope) -> str:
    """Return the Host header in an ASGI scope, or what stands in for it."""
    authority = ""
    for name, value in scope["headers"]:
        if name == b"host":
            # Two are joined, as a WSGI server joins them, and are then no host.
            authority = f"{authority},{value.decode('latin-1')}" if authority else value.decode("latin-1")
    if not authority:
        scheme: str = scope.get("scheme") or "http"
        server = scope.get("server")
        authority = _server_authority(scheme, *server) if server else "localhost"
    return authority


def target_from_environ(environ: Environ) -> Target:
    """Read the target off a WSGI environ.  Raises HTTPException(400) for one that is malformed."""
    path: str = environ.get("PATH_INFO", "")
    root_path: str = environ.get("SCRIPT_NAME", "")
    if not path.isascii():
        path = _from_latin1(path)
    if root_path:
        if not root_path.isascii():
            root_path = _from_latin1(root_path)
        root_path = root_path.rstrip("/")
    authority: str = environ.get("HTTP_HOST", "")
    if not authority:
        authority = _server_authority(
            environ.get("wsgi.url_scheme", "http"), environ["SERVER_NAME"], environ["SERVER_PORT"]
        )
    return Target(environ["REQUEST_METHOD"], root_path, _clean(path, root_path), authority, host_of(authority))


def host_of(authority: str) -> str:
    """Return the host of ``host[:port]`` in lower case.  Raises HTTPException(400) where it is not of that form."""
    host = known_hosts.get(authority)
    if host is None:
        host = _host_in(authority)
        if host is None:
            raise HTTPException(400, "Bad Request: the Host header is not of the form host[:port]")
        if len(authority) > _LONGEST_KNOWN:
            return host
        if len(known_hosts) >= _KNOWN_HOSTS_LIMIT:
            known_hosts.clear()
            _known_raw_hosts.clear()
        known_hosts[authority] = host
        _known_raw_hosts[authority.encode("latin-1")] = host
    return host


def known_host_in(headers: Iterable[tuple[bytes, bytes]]) -> str | None:
    """Return the host by the headers of an ASGI scope, where they have one that was seen before; None otherwise."""
    authority = None
    for name, value in headers:
        if name == b"host":
            if authority is not None:
                return None
            authority = value
    return _known_raw_hosts.get(authority)


def is_plain(path: str) -> bool:
    """Tell whether a path needs no closer look: it starts with a slash, and is ASCII without a NUL."""
    return path.isascii() and path[:1] == "/" and "\0" not in path


def require_host(authority: str) -> str:
    """Return ``host[:port]`` as it is.  Raises ValueError where it is not of that form."""
    if _host_in(authority) is None:
        raise ValueError(f"not of the form host[:port]: {authority!r}")
    return authority


def _host_in(authority: str) -> str | None:
    """Return the host of ``host[:port]`` in lower case, or None where a URL could not have it."""
    match = _HOST.fullmatch(authority)
    if match is None or int(match[2] or 0) > 65535:
        return None
    host = match[1].lower()
    if host[0] == "[":
        from ipaddress import IPv6Address

        try:
            IPv6Address(host[1:-1])
        except ValueError:
            return None
    return host


def _server_authority(scheme: str, name: str, port: Any) -> str:
    # A server on a unix socket has a path for its name, absolute or not, and no port; gunicorn's ASGI worker gives the
    # first two characters of the path.
    if not name or "/" in name or not str(port).isdecimal():
        return "localhost"
    if ":" in name and not name.startswith("["):
        name = f"[{name}]"
    if int(port) == _DEFAULT_PORTS.get(scheme):
        return name
    return f"{name}:{port}"


def _clean(path: str, root_path: str) -> str:
    if path.startswith("/") or (not path and root_path):
        return path
    absolute = _ABSOLUTE.match(path)
    if absolute is not None and path.startswith("/", absolute.end()):
        return path[absolute.end() :]
    raise HTTPException(400, "Bad Request: the request target is neither a path nor an absolute URL")


def _from_latin1(text: str) -> str:
    """Decode what PEP 3333 ("Unicode Issues") transports as Latin-1 but is UTF-8."""
    try:
        return text.encode("latin-1").decode("utf-8")
    except UnicodeError:
        raise _not_utf8() from None


def _require_utf8(path: str, raw_path: bytes | None) -> None:
    try:
        path.encode("utf-8")  # refuses lone surrogates, another way of writing bytes that are no text
        if "\ufffd" in path:
            # U+FFFD was either sent or put in place of bytes that are no UTF-8.  The raw path tells, if there is one.
            unquote_to_bytes(raw_path or b"%ff").decode("utf-8")
    except UnicodeError:
        raise _not_utf8() from None


def _not_utf8() -> HTTPException:
    return HTTPException(400, "Bad Request: the path is not UTF-8")
