"""10,000 mixed exchanges, 64 at once: each response belongs to its request, and nothing of one is seen by another."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest
from websockets.asyncio.client import connect

from tests.servers.conftest import client_of
from tests.servers.launching import BOUND, GEVENT, Running, by_name, eventually, running

AT_ONCE = 64
EACH = 2_500
"""How many exchanges there are with each server."""

KINDS = ("plain", "stream", "body", "form")
SERVERS = (*map(by_name, ("gunicorn-gthread", "uvicorn-httptools", "gunicorn-asgi", "granian-asgi")), GEVENT)


@pytest.fixture(scope="module", params=SERVERS, ids=str)
def crossed(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    yield from running(request.param, tmp_path_factory.mktemp("crossed"), "crossed_apps:app")


class Lane:
    """One client, which asks one thing after the other, on a connection that it keeps where the server does."""

    def __init__(self, server: Running, number: int) -> None:
        self.server = server
        self.name = f"lane{number}"
        self.done: Counter[str] = Counter()
        self._reader: asyncio.StreamReader | None = None
        self._writer: asyncio.StreamWriter | None = None

    async def ask(self, number: int) -> None:
        """Have one exchange, of a kind that its number says, and see that all that comes back is its own."""
        colour = ("def", "async")[number % 2]
        token = f"{self.name}-{number}"
        query = f"token={token}&pause={number % 5 / 1000}"
        if self.server.server.protocol == "asgi" and number % 11 == 0:
            await self._talk(token, query)
            return
        kind = KINDS[number // 2 % 4]
        content = {"body": token, "form": f"other=1&token={token}"}.get(kind, "")
        head = [
            f"{'POST' if content else 'GET'} /{kind}/{colour}/{token}?{query} HTTP/1.1",
            "Host: crossed",
            f"X-Token: {token}",
            f"Cookie: token={token}",
        ]
        if content:
            kinds = {"body": "text/plain", "form": "application/x-www-form-urlencoded"}
            head += [f"Content-Type: {kinds[kind]}", f"Content-Length: {len(content)}"]
        status, headers, body = await self._exchange("\r\n".join([*head, "", content]).encode())
        assert status == 200, (token, status, body)
        if kind == "stream":
            assert body.decode().split() == [token] * 6
        else:
            assert set(json.loads(body).values()) == {token}
        assert headers["x-own"] == f"None {token} {token}"
        self.done[f"{kind} {colour}"] += 1

    async def _talk(self, token: str, query: str) -> None:
        headers = {"X-Token": token, "Cookie": f"token={token}"}
        url = f"ws://{self.server.address}/talk/{token}?{query}"
        async with connect(url, additional_headers=headers, proxy=None, open_timeout=BOUND) as websocket:
            for message in range(3):
                await websocket.send(f"{token}/{message}")
                answer = json.loads(await asyncio.wait_for(websocket.recv(), BOUND))
                assert answer.pop("body") == f"{token}/{message}"
                assert set(answer.values()) == {token}
        self.done["websocket"] += 1

    async def _exchange(self, request: bytes) -> tuple[int, dict[str, str], bytes]:
        while True:
            is_kept = self._writer is not None
            if self._writer is None:
                self._reader, self._writer = await asyncio.open_connection(self.server.host, self.server.port)
            assert self._reader is not None
            try:
                self._writer.write(request)
                head = await self._reader.readuntil(b"\r\n\r\n")
            except (asyncio.IncompleteReadError, ConnectionError) as error:
                self.close()
                # A server may give up a connection that it has kept; a request that met with that is sent again.
                if not is_kept or (isinstance(error, asyncio.IncompleteReadError) and error.partial):
                    raise
                continue
            first, *lines = head.decode().split("\r\n")[:-2]
            headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
            if headers.get("transfer-encoding", "").lower() == "chunked":
                body = await self._chunks(self._reader)
            else:
                body = await self._reader.readexactly(int(headers["content-length"]))
            if headers.get("connection", "").lower() == "close":
                self.close()
            return int(first.split()[1]), headers, body

    @staticmethod
    async def _chunks(reader: asyncio.StreamReader) -> bytes:
        body = b""
        while size := int(await reader.readuntil(b"\r\n"), 16):
            body += (await reader.readexactly(size + 2))[:-2]
        await reader.readexactly(2)
        return body

    def close(self) -> None:
        if self._writer is not None:
            self._writer.close()
        self._reader = self._writer = None


def ask_all(server: Running, count: int) -> Counter[str]:
    """Have so many exchanges, as many at once as there are lanes; return how many of each kind there were."""

    async def drive(lane: Lane, numbers: Iterator[int]) -> Counter[str]:
        try:
            for number in numbers:
                await asyncio.wait_for(lane.ask(number), BOUND)
        finally:
            lane.close()
        return lane.done

    async def main() -> Counter[str]:
        numbers = iter(range(count))
        done = await asyncio.gather(*(drive(Lane(server, lane), numbers) for lane in range(AT_ONCE)))
        return sum(done, Counter())

    return asyncio.run(main())


def counts(server: Running) -> dict[str, Any]:
    with client_of(server) as client:
        answer: dict[str, Any] = client.get("/counts", headers={"x-token": "counts"}).json()
        return answer


def test_each_response_belongs_to_its_request_and_nothing_piles_up(crossed: Running) -> None:
    ask_all(crossed, 4 * AT_ONCE)  # whatever is kept for further requests is there after these
    before = counts(crossed)
    done = ask_all(crossed, EACH)
    assert sum(done.values()) == EACH
    assert {f"{kind} {colour}" for kind in KINDS for colour in ("def", "async")} <= set(done)
    assert ("websocket" in done) == (crossed.server.protocol == "asgi")

    def is_as_before() -> bool:
        now = counts(crossed)
        return all(now[name] <= before[name] for name in ("tasks", "loops", "threads")) and now["pid"] == before["pid"]

    eventually(is_as_before, f"no more tasks, event loops and threads than {before}; {counts(crossed)}")
    assert "Traceback" not in crossed.output
