"""Sessions in a signed cookie: the client keeps them, and can read but not change them."""

from __future__ import annotations

import json
import logging
from base64 import b64decode, b64encode
from collections.abc import Generator, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any, Literal

from dualroute.responses import Response

if TYPE_CHECKING:
    from dualroute.connection import HTTPConnection
    from dualroute.datastructures import Secret

__all__ = ["Session", "SessionMiddleware"]

logger: logging.Logger = logging.getLogger("dualroute")

COOKIE_LIMIT = 4096
"""How many bytes of name and value browsers keep at least, and most of them at most (RFC 6265 section 6.1)."""

TWO_WEEKS = 14 * 24 * 60 * 60


class Session(dict[str, Any]):
    """What `request.session` gives: a dict that knows whether anybody looked at it or changed it."""

    accessed: bool = False
    """True once a handler or a middleware has asked for it."""
    modified: bool = False
    """True once it was changed by a method of its own.  What was changed deeper inside is found when it is saved."""

    def mark_accessed(self) -> None:
        """Take note that somebody looks: the response depends on the cookie."""
        self.accessed = True

    def mark_modified(self) -> None:
        """Take note of a change."""
        self.accessed = self.modified = True

    def __setitem__(self, key: str, value: Any) -> None:
        self.mark_modified()
        super().__setitem__(key, value)

    def __delitem__(self, key: str) -> None:
        self.mark_modified()
        super().__delitem__(key)

    def clear(self) -> None:
        self.mark_modified()
        super().clear()

    def pop(self, key: str, *default: Any) -> Any:
        if key in self:
            self.mark_modified()
        return super().pop(key, *default)

    def popitem(self) -> tuple[str, Any]:
        item = super().popitem()
        self.mark_modified()
        return item

    def setdefault(self, key: str, default: Any = None) -> Any:
        if key not in self:
            self.mark_modified()
        return super().setdefault(key, default)

    def update(self, *args: Any, **kwargs: Any) -> None:
        self.mark_modified()
        super().update(*args, **kwargs)

    def __ior__(self, other: Any) -> Session:  # type: ignore[override,misc]  # dict's own has overloads
        self.mark_modified()
        super().update(other)
        return self


class SessionMiddleware:
    """Keeps `request.session` in a signed cookie.

    The cookie is sent when the session was changed, and again for one that is still used after half of `max_age`, or
    was signed with an older key.  In a websocket the session is that of the handshake: a change of it can't be saved.
    The format is that of Starlette's middleware, so that both can share a cookie.

    Args:
        secret_key: what to sign with; or several keys, of which the first signs and the others are still accepted.
        session_cookie: the name of the cookie.
        max_age: how many seconds a session lasts; None for as long as the browser runs.
        path: the path that the cookie is sent to.
        same_site: when it goes along with requests from other sites: "lax", "strict" or "none".
        https_only: True to have it sent over https only.
        domain: the domain that it is sent to; the one of the request where it is None.
        partitioned: True to keep one for each top-level site; implies `https_only`.

    Raises ValueError for options that no browser accepts together, and RuntimeError where itsdangerous is missing.
    """

    __covers__: frozenset[str] = frozenset(("http", "websocket"))

    def __init__(
        self,
        secret_key: str | bytes | Secret | Sequence[str | bytes | Secret],
        session_cookie: str = "session",
        max_age: int | None = TWO_WEEKS,
        path: str = "/",
        same_site: Literal["lax", "strict", "none"] = "lax",
        https_only: bool = False,
        domain: str | None = None,
        partitioned: bool = False,
    ) -> None:
        try:
            import itsdangerous
        except ImportError:
            raise RuntimeError(
                "SessionMiddleware needs the package itsdangerous: pip install 'dualroute[sessions]'"
            ) from None
        if isinstance(secret_key, Sequence) and not isinstance(secret_key, str | bytes):
            keys = [key if isinstance(key, bytes) else str(key).encode() for key in secret_key]
        else:
            keys = [secret_key if isinstance(secret_key, bytes) else str(secret_key).encode()]
        if secret_key is None or not keys or not all(keys):
            raise ValueError("SessionMiddleware: secret_key is empty, so that anybody could sign")
        if same_site not in ("lax", "strict", "none"):
            raise ValueError(f"SessionMiddleware: same_site is 'lax', 'strict' or 'none', not {same_site!r}")
        if same_site == "none" and not (https_only or partitioned):
            raise ValueError("SessionMiddleware: browsers drop a cookie with same_site='none' unless https_only=True")
        if max_age is not None and max_age <= 0:
            raise ValueError(f"SessionMiddleware: max_age is a number of seconds, or None, not {max_age!r}")
        self._bad = itsdangerous.BadData
        # itsdangerous signs with the last one.
        self._signer = itsdangerous.TimestampSigner(keys[::-1])
        self._newest = itsdangerous.TimestampSigner(keys[0])
        self._several = len(keys) > 1
        self._cookie = session_cookie
        self._max_age = max_age
        self._options: dict[str, Any] = {
            "path": path,
            "domain": domain,
            "secure": https_only,
            "httponly": True,
            "samesite": same_site,
            "partitioned": partitioned,
        }
        Response().set_cookie(session_cookie, "", **self._options)  # refuses what can't be sent

    def __call__(self, connection: HTTPConnection) -> Generator[Any, Any, Response | None]:
        """Open the session, and save it."""
        given = connection.cookies.get(self._cookie)
        session, content, is_stale = self._open(given) if given is not None else (Session(), "{}", False)
        connection.attach("session", session)
        response: Response | None = yield connection
        if response is None or not session.accessed:
            return response
        response.headers.add_vary_header("Cookie")
        try:
            saved = json.dumps(session)
        except (TypeError, ValueError) as error:
            raise TypeError(f"request.session holds what JSON has no form for: {error}") from error
        is_changed = saved != content or (session.modified and saved != "{}")
        if is_changed and saved == "{}":
            response.set_cookie(
                self._cookie, "", max_age=0, expires=datetime.fromtimestamp(0).astimezone(), **self._options
            )
        elif is_changed or (is_stale and saved != "{}"):
            self._save(saved, response)
        return response

    def _open(self, cookie: str) -> tuple[Session, str, bool]:
        """Return the session in a cookie, what it would be saved as, and whether that should be done in any case."""
        try:
            raw = cookie.encode("utf-8")
            data, signed_at = self._signer.unsign(raw, max_age=self._max_age, return_timestamp=True)
            values = json.loads(b64decode(data))
        except (self._bad, ValueError, RecursionError):
            return Session(), "{}", False
        if not isinstance(values, dict):
            return Session(), "{}", False
        age = self._signer.get_timestamp() - int(signed_at.timestamp())
        is_stale = self._max_age is not None and age > self._max_age / 2
        if self._several and not is_stale:
            is_stale = not self._newest.validate(raw)
        return Session(values), json.dumps(values), is_stale

    def _save(self, saved: str, response: Response) -> None:
        value = self._signer.sign(b64encode(saved.encode())).decode("ascii")
        size = len(self._cookie) + len(value)
        if size > COOKIE_LIMIT:
            logger.warning(
                "the session cookie %r has %d bytes, and browsers drop one of more than %d: keep less in the session",
                self._cookie,
                size,
                COOKIE_LIMIT,
            )
        response.set_cookie(self._cookie, value, max_age=self._max_age, **self._options)
