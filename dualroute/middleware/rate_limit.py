"""A limit on how many requests a client may make in a time, counted in a store of one's choice."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Generator
from ipaddress import ip_address
from itertools import count
from math import ceil
from time import time
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from dualroute.callables import describe, is_async_callable
from dualroute.exchange import Call
from dualroute.responses import PlainTextResponse, Response

if TYPE_CHECKING:
    from dualroute.connection import HTTPConnection

__all__ = ["Count", "MemoryStore", "RateLimitMiddleware", "RateLimitStore", "client_key"]


class Count(NamedTuple):
    """How many requests a client has made in a window, this one included, and how many seconds are left of that."""

    requests: int
    left: float


class RateLimitStore(Protocol):
    """Where requests are counted.  `hit` may be `def` or `async def`."""

    def hit(self, key: str, window: float) -> Count | Awaitable[Count]:
        """Count one more request.

        Args:
            key: whose request it is.
            window: how many seconds the count goes on before it begins anew.
        """
        ...


class MemoryStore:
    """Counts in the memory of the process: each worker process counts by itself.

    The windows are fixed: they begin for all clients at the same times.

    Args:
        max_keys: how many clients are remembered in a window; beyond that the first of them are forgotten.
        clock: tells the time in seconds.

    Raises ValueError where that is less than one.
    """

    sync_to_thread: bool = False
    """`hit` never blocks, so it needs no thread."""

    def __init__(self, max_keys: int = 100_000, *, clock: Callable[[], float] = time) -> None:
        if max_keys < 1:
            raise ValueError(f"MemoryStore: max_keys must be at least 1, not {max_keys}")
        self._max_keys = max_keys
        self._clock = clock
        # By the length of a window and its number.  Threads count here at the same time, without a lock: setdefault
        # and the step of a counter are one operation each.
        self._windows: dict[tuple[float, int], dict[str, count[int]]] = {}

    def hit(self, key: str, window: float) -> Count:
        """Count one more request."""
        now = self._clock()
        number = int(now // window)
        counters = self._windows.get((window, number))
        if counters is None:
            for known in list(self._windows):
                if known[0] == window and known[1] < number:
                    self._windows.pop(known, None)
            counters = self._windows.setdefault((window, number), {})
        counter = counters.get(key)
        if counter is None:
            if len(counters) >= self._max_keys:
                try:
                    counters.pop(next(iter(counters)), None)
                except (RuntimeError, StopIteration):  # another thread was at it too
                    pass
            counter = counters.setdefault(key, count(1))
        return Count(next(counter), (number + 1) * window - now)


def client_key(connection: HTTPConnection) -> str:
    """Return the client's address, of an IPv6 address the network (/64) that one client has all of.

    Clients whose address is not known (a unix socket, without `ProxyHeadersMiddleware`) are one.
    """
    client = connection.client
    if client is None:
        return "unknown"
    try:
        address = ip_address(client.host)
    except ValueError:
        return client.host
    if address.version == 6:
        mapped = getattr(address, "ipv4_mapped", None)
        return str(mapped) if mapped else f"{address.packed[:8].hex()}::/64"
    return str(address)


class RateLimitMiddleware:
    """Answers 429 where a client makes more than `limit` requests in `window` seconds; websocket handshakes count too.

    Answers say how things stand: RateLimit-Limit, RateLimit-Remaining, RateLimit-Reset (seconds) and, with a 429,
    Retry-After.  Behind a proxy, put `ProxyHeadersMiddleware` further out, or all clients are one.

    Args:
        limit: how many requests.
        window: in how many seconds.
        key: returns whose request it is, by default `client_key`; None for one that is not counted.  It must not block.
        store: where it is counted; by default a `MemoryStore`.  Limits that share one count apart if their names
            differ.
        name: what the keys of this limit begin with in the store.

    Raises TypeError or ValueError for what can be no limit and no store.
    """

    __covers__: frozenset[str] = frozenset(("http", "websocket"))

    def __init__(
        self,
        limit: int,
        window: float = 60,
        *,
        key: Callable[[Any], str | None] = client_key,
        store: RateLimitStore | None = None,
        name: str = "",
    ) -> None:
        if not isinstance(limit, int) or limit < 1:
            raise ValueError(f"RateLimitMiddleware: the limit is a number of requests, at least 1, not {limit!r}")
        if not window > 0:
            raise ValueError(f"RateLimitMiddleware: the window is a number of seconds, more than 0, not {window!r}")
        if not callable(key) or is_async_callable(key):
            raise TypeError(f"RateLimitMiddleware: key is a function in plain `def`, not {key!r}")
        self.store: RateLimitStore = MemoryStore() if store is None else store
        hit = getattr(self.store, "hit", None)
        if isinstance(store, type) or not callable(hit):
            raise TypeError(
                "RateLimitMiddleware: a store is an object with a method `hit(key, window)`;"
                f" {describe(store) if isinstance(store, type) else repr(store)} is not"
            )
        self._hit: Callable[..., Any] = hit
        self._is_async = is_async_callable(hit)
        self._inline = not self._is_async and not getattr(self.store, "sync_to_thread", True)
        self._limit = limit
        self._window = window
        self._key = key
        self._name = name

    def __call__(self, connection: HTTPConnection) -> Generator[Any, Any, Response | None]:
        """Count the request, and refuse it or let it pass."""
        key = self._key(connection)
        response: Response | None
        if key is None:
            response = yield connection
            return response
        call = Call.known(self._hit, (f"{self._name}:{key}", self._window), self._is_async, self._inline)
        requests, left = yield call
        remaining, reset = max(0, self._limit - requests), max(1, ceil(left))

        def label(response: Response) -> None:
            # Where there are several limits, the one that is nearest to its end is told.
            told = response.headers.get("ratelimit-remaining", "")
            if not told.isdecimal() or int(told) > remaining:
                response.headers["ratelimit-limit"] = str(self._limit)
                response.headers["ratelimit-remaining"] = str(remaining)
                response.headers["ratelimit-reset"] = str(reset)

        if requests > self._limit:
            response = PlainTextResponse("Too Many Requests", status_code=429, headers={"retry-after": str(reset)})
            label(response)
            return response
        connection.amend(label)
        response = yield connection
        if response is not None:
            label(response)
        return response
