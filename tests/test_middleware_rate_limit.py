"""RateLimitMiddleware: so many requests in a time, counted in a store."""

from __future__ import annotations

import asyncio
import sys
import threading
from collections import Counter
from typing import Any

import pytest

from dualroute import DualRoute, Mount, Route
from dualroute.middleware.proxy_headers import ProxyHeadersMiddleware
from dualroute.middleware.rate_limit import Count, MemoryStore, RateLimitMiddleware
from tests.conftest import Serve
from tests.middleware_helper import accepted, denied, handshake, plain, site


class Clock:
    def __init__(self) -> None:
        self.now = 1_000_020.0

    def __call__(self) -> float:
        return self.now


def limits(answer: Any) -> tuple[str | None, ...]:
    return tuple(answer.headers.get(f"ratelimit-{name}") for name in ("limit", "remaining", "reset"))


def test_a_limit(serve: Serve) -> None:
    clock = Clock()
    client = serve(site([RateLimitMiddleware(2, 60, store=MemoryStore(clock=clock))]))
    assert limits(client.get("/")) == ("2", "1", "60")
    clock.now += 0.5
    assert limits(client.get("/async")) == ("2", "0", "60")
    clock.now += 9.5
    answer = client.get("/")
    assert (answer.status_code, answer.text) == (429, "Too Many Requests")
    assert (*limits(answer), answer.headers["retry-after"]) == ("2", "0", "50", "50")
    clock.now += 50
    answer = client.get("/")
    assert (answer.status_code, limits(answer)) == (200, ("2", "1", "60"))


@pytest.mark.parametrize("path", ["/stream", "/fail", "/fail-at-once", "/none", "/flask/stream", "/fastapi/text"])
def test_every_answer_counts_and_tells(serve: Serve, path: str) -> None:
    client = serve(site([RateLimitMiddleware(2, store=MemoryStore(clock=Clock()))]))
    assert [limits(client.get(path)) for _ in range(2)] == [("2", "1", "60"), ("2", "0", "60")]
    assert client.get(path).status_code == 429


class DefStore:
    def __init__(self) -> None:
        self.seen: Counter[str] = Counter()
        self.thread = ""

    def hit(self, key: str, window: float) -> Count:
        self.thread = threading.current_thread().name
        self.seen[key] += 1
        return Count(self.seen[key], window)


class AsyncStore(DefStore):
    async def hit(self, key: str, window: float) -> Count:  # type: ignore[override]
        await asyncio.sleep(0)
        return super().hit(key, window)


@pytest.mark.parametrize("store", [DefStore, AsyncStore, MemoryStore])
def test_stores_of_either_colour(serve: Serve, protocol: str, store: Any) -> None:
    kept = store()
    client = serve(site([RateLimitMiddleware(1, 1000, store=kept, name="all")]))
    assert [client.get("/").status_code for _ in range(2)] == [200, 429]
    if store is not MemoryStore:
        assert kept.seen == {"all:127.0.0.1": 2}
    if store is DefStore:
        assert (kept.thread == "dualroute-handler") == (protocol == "asgi")


def test_a_store_that_fails_is_a_500(serve: Serve) -> None:
    class Broken:
        def hit(self, key: str, window: float) -> Count:
            raise OSError("no connection")

    assert serve(site([RateLimitMiddleware(1, store=Broken())])).get("/").status_code == 500


def test_whose_request_it_is(serve: Serve) -> None:
    def key(connection: Any) -> str | None:
        found: str | None = connection.headers.get("x-user")
        return found

    client = serve(site([RateLimitMiddleware(1, 1000, key=key)]))
    assert [client.get("/", headers={"x-user": user}).status_code for user in "aab"] == [200, 429, 200]
    assert [client.get("/").status_code for _ in range(3)] == [200, 200, 200]


def test_clients_are_told_apart_by_address_and_ipv6_networks_are_one(serve: Serve) -> None:
    client = serve(site([ProxyHeadersMiddleware(), RateLimitMiddleware(1, 1000)]))

    def ask(address: str) -> int:
        return client.get("/", headers={"x-forwarded-for": address}).status_code

    assert [ask("192.0.2.1"), ask("192.0.2.2"), ask("192.0.2.1"), ask("::ffff:192.0.2.1")] == [200, 200, 429, 429]
    assert [ask("2001:db8:0:1::1"), ask("2001:db8:0:1::2"), ask("2001:db8:0:2::1")] == [200, 429, 200]
    assert [ask("unknown"), ask("_hidden")] == [200, 429]


def test_several_limits_tell_of_the_one_that_is_nearest(serve: Serve) -> None:
    clock = Clock()
    inner = Mount(
        "/in", routes=[Route("/", plain)], middleware=[RateLimitMiddleware(2, store=MemoryStore(clock=clock))]
    )
    client = serve(DualRoute([inner, Route("/", plain)], middleware=[RateLimitMiddleware(4, store=MemoryStore())]))
    assert limits(client.get("/in/"))[:2] == ("2", "1")
    assert limits(client.get("/in/"))[:2] == ("2", "0")
    assert client.get("/in/").status_code == 429
    assert limits(client.get("/"))[:2] == ("4", "0")


def test_handshakes_of_websockets_count() -> None:
    app = site([RateLimitMiddleware(1, 1000)])
    assert accepted(handshake(app))
    status, headers = denied(handshake(app))
    assert (status, "retry-after" in headers) == (429, True)


def test_a_memory_store_forgets_what_is_over_and_keeps_no_more_than_it_may() -> None:
    clock = Clock()
    store = MemoryStore(max_keys=3, clock=clock)
    assert [store.hit(key, 60).requests for key in "aabcd"] == [1, 2, 1, 1, 1]
    assert sum(map(len, store._windows.values())) == 3
    assert store.hit("a", 60).requests == 1
    store.hit("a", 10)
    clock.now += 60
    store.hit("a", 60)
    assert [key[0] for key in store._windows] == [10, 60]
    with pytest.raises(ValueError, match="at least 1"):
        MemoryStore(0)


def test_threads_that_count_at_the_same_time_miss_nothing() -> None:
    store = MemoryStore(clock=Clock())
    seen: list[int] = []

    def count() -> None:
        seen.extend(store.hit("a", 60).requests for _ in range(2000))

    threads = [threading.Thread(target=count) for _ in range(8)]
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    finally:
        sys.setswitchinterval(interval)
    assert sorted(seen) == list(range(1, 16001))


@pytest.mark.parametrize(
    ("args", "options", "message"),
    [
        ((0,), {}, "a number of requests, at least 1, not 0"),
        ((1.5,), {}, "a number of requests"),
        ((1, 0), {}, "a number of seconds, more than 0"),
        ((1,), {"store": object()}, r"an object with a method `hit\(key, window\)`"),
        ((1,), {"store": DefStore}, "an object with a method"),
        ((1,), {"key": "x"}, "key is a function"),
    ],
)
def test_options_are_checked(args: Any, options: dict[str, Any], message: str) -> None:
    with pytest.raises((TypeError, ValueError), match=message):
        RateLimitMiddleware(*args, **options)
