"""From a WSGI environ to the ASGI scope it amounts to, and from a scope to the environ (PEP 3333).

Neither knows more than the other, but for what WSGI can't show: repeated headers are joined into one, and a name with
an underscore is dropped, because WSGI can't tell it from the same name with a hyphen.  A Content-Length beside a
Transfer-Encoding is dropped too (RFC 9112 section 6.3): nothing is to believe it.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from dualroute.paths import quote_path
from dualroute.targets import Target
from dualroute.types import Environ, Scope

if TYPE_CHECKING:
    from dualroute.datastructures import Address

__all__ = [
    "environ_after_scope",
    "environ_from_scope",
    "environ_headers",
    "has_untrue_length",
    "joined_headers",
    "readdressed_environ",
    "readdressed_scope",
    "scope_after_environ",
    "scope_content_type",
    "scope_from_environ",
    "scope_headers",
    "wsgi_text",
]


def scope_from_environ(environ: Environ, target: Target) -> dict[str, Any]:
    """Return the ASGI scope ("HTTP Connection Scope") that a WSGI environ amounts to."""
    port = str(environ.get("SERVER_PORT") or "")
    client = environ.get("REMOTE_ADDR")
    client_port = str(environ.get("REMOTE_PORT") or "0")
    return {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.4"},
        "http_version": str(environ.get("SERVER_PROTOCOL", "HTTP/1.1")).partition("/")[2] or "1.1",
        "method": target.method,
        "scheme": environ["wsgi.url_scheme"],
        "path": target.root_path + target.path,
        "raw_path": quote_path(target.root_path + target.path).encode("ascii"),
        "query_string": str(environ.get("QUERY_STRING", "")).encode("latin-1"),
        "root_path": target.root_path,
        "headers": [(name.encode("latin-1"), value.encode("latin-1")) for name, value in environ_headers(environ)],
        "client": (client, int(client_port) if client_port.isdecimal() else 0) if client else None,
        "server": (environ["SERVER_NAME"], int(port) if port.isdecimal() else None),
        "extensions": {},
    }


# Whether there are further processes can't be known, and to say so is on the safe side.
_SERVER: Environ = {
    "wsgi.version": (1, 0),
    "wsgi.multithread": True,
    "wsgi.multiprocess": True,
    "wsgi.run_once": False,
}


def environ_from_scope(scope: Scope, target: Target) -> Environ:
    """Return the WSGI environ that an ASGI scope amounts to, the body left out (``wsgi.input``).

    Args:
        scope: the scope, of type "http".
        target: what was read off it: see `target_from_scope`.
    """
    server = scope.get("server")
    client = scope.get("client")
    name, port = (server[0], server[1]) if server else ("localhost", None)
    scheme: str = scope.get("scheme") or "http"
    if not name or "/" in name:  # a unix socket
        name = "localhost"
    environ: Environ = {
        **_SERVER,
        "REQUEST_METHOD": target.method,
        "SCRIPT_NAME": wsgi_text(target.root_path),
        "PATH_INFO": wsgi_text(target.path),
        "QUERY_STRING": (scope.get("query_string") or b"").decode("latin-1"),
        "SERVER_NAME": name,
        "SERVER_PORT": str(port or (443 if scheme == "https" else 80)),
        "SERVER_PROTOCOL": f"HTTP/{scope.get('http_version') or '1.1'}",
        "wsgi.url_scheme": scheme,
        "wsgi.errors": sys.stderr,
        "dualroute.scope": scope,
    }
    if client and client[0]:
        environ["REMOTE_ADDR"] = client[0]
        if client[1]:
            environ["REMOTE_PORT"] = str(client[1])
    for raw_name, raw_value in scope["headers"]:
        key = _known_keys.get(raw_name)
        if key is None:
            key = _environ_key(raw_name)
        if not key:
            continue
        value = raw_value.decode("latin-1")
        if key in environ:
            value = f"{environ[key]}{'; ' if key == 'HTTP_COOKIE' else ','}{value}"
        environ[key] = value
    if environ.get("HTTP_TRANSFER_ENCODING"):
        environ.pop("CONTENT_LENGTH", None)
    return environ


# Header names seen, with their keys.  A client chooses its headers, so the memory is bounded.
_known_keys: dict[bytes, str] = {}
_KNOWN_KEYS_LIMIT = 1024
_LONGEST_KNOWN = 64


def _environ_key(raw_name: bytes) -> str:
    """Return the key of a request header in an environ; none for a name with an underscore."""
    key = raw_name.decode("latin-1").upper().replace("-", "_")
    if b"_" in raw_name:
        key = ""
    elif key not in ("CONTENT_TYPE", "CONTENT_LENGTH"):
        key = f"HTTP_{key}"
    if len(raw_name) <= _LONGEST_KNOWN:
        if len(_known_keys) >= _KNOWN_KEYS_LIMIT:
            _known_keys.clear()
        _known_keys[raw_name] = key
    return key


def wsgi_text(text: str) -> str:
    """Return text as WSGI transports it: each byte of its UTF-8 as a Latin-1 character ("Unicode Issues")."""
    return text if text.isascii() else text.encode("utf-8").decode("latin-1")


def environ_headers(environ: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Return the request headers in an environ."""
    headers = []
    for key, value in environ.items():
        if key.startswith("HTTP_"):
            # CGI's own two come without the prefix; a copy of them with it is a client's doing or a server's habit.
            if key not in ("HTTP_CONTENT_TYPE", "HTTP_CONTENT_LENGTH"):
                headers.append((key[5:].replace("_", "-").lower(), value))
        elif key == "CONTENT_LENGTH" and has_untrue_length(environ):
            pass
        elif key in ("CONTENT_TYPE", "CONTENT_LENGTH") and value:
            headers.append((key.replace("_", "-").lower(), value))
    return headers


def has_untrue_length(environ: Mapping[str, Any]) -> bool:
    """Tell whether a Content-Length is not that of the body, which is chunked (RFC 9112 section 6.3)."""
    return bool(environ.get("HTTP_TRANSFER_ENCODING") and environ.get("wsgi.input_terminated"))


def scope_content_type(raw: Iterable[tuple[bytes, bytes]]) -> str | None:
    """Return the Content-Type of a scope, as `scope_headers` has it, or None."""
    found = [value for name, value in raw if len(name) == 12 and name.lower() == b"content-type"]
    return b",".join(found).decode("latin-1") if found else None


def joined_headers(raw: Iterable[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
    """Return the headers of a scope as a mounted ASGI app is to see them: without underscores, and with one Cookie.

    HTTP/2 splits cookies into several headers, which are one again for whoever has no use for that (RFC 9113 section
    8.2.3); a client may send several over HTTP/1.1 too.
    """
    headers = [pair for pair in raw if 95 not in pair[0]]  # an underscore, which takes longer to look for as bytes
    cookies = [value for name, value in headers if name == b"cookie"]
    if len(cookies) > 1:
        headers = [pair for pair in headers if pair[0] != b"cookie"]
        headers.append((b"cookie", b"; ".join(cookies)))
    names = [name for name, value in headers if value]
    if b"transfer-encoding" in names and b"content-length" in names:
        headers = [pair for pair in headers if pair[0] != b"content-length"]
    return headers


def scope_headers(raw: Iterable[tuple[bytes, bytes]]) -> dict[str, str]:
    """Return the request headers of a scope, each name once."""
    headers: dict[str, str] = {}
    for raw_name, raw_value in raw:
        name = raw_name.decode("latin-1").lower()
        if "_" in name:
            continue
        value = raw_value.decode("latin-1")
        known = headers.get(name)
        headers[name] = value if known is None else f"{known}{'; ' if name == 'cookie' else ','}{value}"
    if headers.get("transfer-encoding"):
        headers.pop("content-length", None)
    return headers


def readdressed_environ(
    environ: Environ, target: Target, scheme: str, client: Address | None, server: tuple[str, int] | None
) -> Environ:
    """Return an environ with other facts about where the request came from and went to."""
    environ = {
        **environ,
        "wsgi.url_scheme": scheme,
        "HTTP_HOST": target.authority,
        "SCRIPT_NAME": wsgi_text(target.root_path),
        "PATH_INFO": wsgi_text(target.path),
    }
    if "HTTPS" in environ:
        environ["HTTPS"] = "on" if scheme == "https" else "off"
    for key, value in (
        ("REMOTE_ADDR", client.host if client else ""),
        ("REMOTE_PORT", str(client.port) if client and client.port else ""),
    ):
        if value:
            environ[key] = value
        else:
            environ.pop(key, None)
    environ.pop("REMOTE_HOST", None)
    if server is not None:
        environ["SERVER_NAME"], environ["SERVER_PORT"] = server[0], str(server[1])
    return environ


def readdressed_scope(
    scope: Scope, target: Target, scheme: str, client: Address | None, server: tuple[str, int] | None
) -> Scope:
    """Return a scope with other facts about where the request came from and went to."""
    path = target.root_path + target.path
    same_path = target.root_path == (scope.get("root_path") or "").rstrip("/")
    return {
        **scope,
        "scheme": scheme,
        "root_path": target.root_path,
        "path": path,
        "raw_path": scope.get("raw_path") if same_path else quote_path(path).encode("ascii"),
        "client": None if client is None else (client.host, client.port),
        "server": scope.get("server") if server is None else server,
        "headers": [
            (b"host", target.authority.encode("latin-1")),
            *(pair for pair in scope["headers"] if pair[0] != b"host"),
        ],
    }


def environ_after_scope(environ: Environ, scope: Scope, target: Target) -> Environ:
    """Return an environ as it is where an ASGI middleware has passed on another scope than that of the environ."""
    told = environ_from_scope(scope, target)
    kept = {key: value for key, value in environ.items() if not _is_told(key)}
    for key in ("SCRIPT_NAME", "PATH_INFO", "SERVER_PROTOCOL", "dualroute.scope", "wsgi.errors", *_SERVER):
        told.pop(key)
    return {**kept, **told}


def _is_told(key: str) -> bool:
    return key.startswith("HTTP_") or key in ("CONTENT_TYPE", "CONTENT_LENGTH", "REMOTE_ADDR", "REMOTE_PORT")


def scope_after_environ(scope: Scope, environ: Environ, target: Target) -> Scope:
    """Return a scope as it is where a WSGI middleware has passed on another environ than that of the scope."""
    told = scope_from_environ(environ, target)
    names = ("method", "scheme", "query_string", "headers", "client", "server")
    return {**scope, **{name: told[name] for name in names}}
