"""Trusted hosts: requests with any other Host are refused."""

from __future__ import annotations

import logging
from collections.abc import Generator, Sequence
from typing import TYPE_CHECKING, Any

from dualroute.responses import PlainTextResponse, RedirectResponse, Response
from dualroute.targets import require_host

if TYPE_CHECKING:
    from dualroute.connection import HTTPConnection

__all__ = ["TrustedHostMiddleware"]

logger: logging.Logger = logging.getLogger("dualroute")


class TrustedHostMiddleware:
    """Refuses requests and websocket handshakes for a host that is not in the list (400).

    Behind a proxy that says the host in a header of its own, put `ProxyHeadersMiddleware` further out.

    Args:
        allowed_hosts: names and addresses without a port; ``*.example.org`` for every subdomain, ``*`` for any host.
        www_redirect: True to redirect (307) from ``example.org`` where only ``www.example.org`` is in the list.

    Raises TypeError or ValueError for an entry that no host could be.
    """

    __covers__: frozenset[str] = frozenset(("http", "websocket"))

    def __init__(self, allowed_hosts: Sequence[str] | None = None, www_redirect: bool = True) -> None:
        if isinstance(allowed_hosts, str):
            raise TypeError(
                f"TrustedHostMiddleware: allowed_hosts is a list of str, not {allowed_hosts!r}:"
                f" write [{allowed_hosts!r}]"
            )
        hosts = ["*"] if allowed_hosts is None else [host.lower() for host in allowed_hosts]
        for host in hosts:
            _check(host)
        self._any = "*" in hosts
        self._hosts = frozenset(host for host in hosts if not host.startswith("*"))
        self._suffixes = tuple(host[1:] for host in hosts if host.startswith("*."))
        self._www_redirect = www_redirect

    def __call__(self, connection: HTTPConnection) -> Generator[Any, Any, Response | None]:
        """Refuse the connection, or let it pass."""
        host = connection.target.host
        if self._any or connection.is_malformed or host in self._hosts or host.endswith(self._suffixes):
            response: Response | None = yield connection
            return response
        if self._www_redirect and f"www.{host}" in self._hosts:
            return RedirectResponse(connection.url.replace(netloc=f"www.{connection.url.netloc}"))
        logger.info("refused: the host %s is none of the trusted hosts", host)
        return PlainTextResponse("Invalid host header", status_code=400)


def _check(host: str) -> None:
    name = host[2:] if host.startswith("*.") else host
    if host == "*":
        return
    try:
        if ":" in name and not name.startswith("["):
            raise ValueError
        require_host(name)
        if name.rpartition("]")[2].count(":"):
            raise ValueError
    except ValueError:
        raise ValueError(
            f"TrustedHostMiddleware: {host!r} is no host; write a name or an address without a port ('example.org',"
            " '127.0.0.1', '[::1]'), '*.example.org' for every subdomain, or '*' for any host"
        ) from None
