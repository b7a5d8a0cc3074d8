"""Messages that reach the websockets of all workers, on all machines, by Redis pub/sub.

    pip install "dualroute[servers]" redis
    redis-server --port 6379 &
    REDIS_URL=redis://127.0.0.1:6379/0 uvicorn --workers 2 --app-dir docs/examples fan_out:app

- a websocket at ``/messages`` takes what a client says and gives it what everybody says
- a POST to ``/messages`` says something too, from a WSGI worker as well
- ``/health`` tells whether this process hears Redis at the moment
"""

import asyncio
import logging
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

from dualroute import (
    DualRoute,
    HTTPException,
    JSONResponse,
    Limits,
    Request,
    Response,
    Route,
    WebSocket,
    WebSocketException,
    WebSocketRoute,
)
from dualroute.concurrency import run_until_first_complete

logger = logging.getLogger("fan_out")

CHANNEL = "messages"

BACKLOG = 100
"""How many messages wait for one client before it is given up."""

SILENCE = 5.0
"""How many seconds Redis may be silent before it is asked whether it is there."""


class Hub:
    """One subscription to Redis for this process, handed out to all of its websockets.

    Args:
        url: where Redis is.
    """

    def __init__(self, url: str) -> None:
        # A connection that has gone stale is made anew once.  To wait for longer is the listener's business.
        retry = Retry(NoBackoff(), 1)
        self._redis = Redis.from_url(
            url, decode_responses=True, socket_connect_timeout=2, socket_timeout=5, retry=retry
        )
        self._clients: set[Client] = set()
        self.is_listening = False

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Listen in the meantime."""
        listener = asyncio.create_task(self._listen_always())
        try:
            yield
        finally:
            listener.cancel()
            await asyncio.wait([listener])
            await self._redis.aclose()

    async def say(self, text: str) -> None:
        """Tell everybody.  Raises RedisError where that can't be done."""
        await self._redis.publish(CHANNEL, text)

    @asynccontextmanager
    async def client(self) -> AsyncIterator["Client"]:
        """Be told in the meantime."""
        client = Client()
        self._clients.add(client)
        try:
            yield client
        finally:
            self._clients.discard(client)

    async def _listen_always(self) -> None:
        pause = 0.1
        while True:
            try:
                await self._listen()
            except (RedisError, OSError) as error:
                if self.is_listening:
                    pause = 0.1
                self.is_listening = False
                logger.warning("Redis is not heard, trying again in %.1f s: %s", pause, error)
            await asyncio.sleep(pause)
            pause = min(2 * pause, 5)

    async def _listen(self) -> None:
        async with self._redis.pubsub() as subscription:
            await subscription.subscribe(CHANNEL)
            is_asked = False
            while True:
                message = await subscription.get_message(timeout=SILENCE)
                if message is not None:
                    is_asked = False
                    self._take(message)
                elif is_asked:
                    raise TimeoutError(f"no word for {2 * SILENCE:g} s")
                else:
                    is_asked = True
                    await subscription.ping()  # the answer to it is a message too

    def _take(self, message: dict[str, Any]) -> None:
        if message["type"] == "subscribe":
            self.is_listening = True
        elif message["type"] == "message":
            # Nothing is awaited here, so nobody is waited for.
            for client in self._clients:
                client.tell(message["data"])


class Client:
    """What waits for one websocket."""

    def __init__(self) -> None:
        self._messages: asyncio.Queue[str] = asyncio.Queue(BACKLOG)
        self._overflow = asyncio.Event()

    def tell(self, text: str) -> None:
        """Put a message behind those that wait."""
        try:
            self._messages.put_nowait(text)
        except asyncio.QueueFull:
            self._overflow.set()

    async def next(self) -> str:
        """Return the next message."""
        return await self._messages.get()

    async def give_up(self) -> None:
        """Wait until too many messages wait; raises WebSocketException then."""
        await self._overflow.wait()
        logger.warning("a client is too slow, and is given up")
        raise WebSocketException(1013, "too slow")


async def messages(websocket: WebSocket) -> None:
    hub: Hub = websocket.state.hub
    await websocket.accept()
    async with hub.client() as client:
        await run_until_first_complete(
            (hear, {"websocket": websocket, "hub": hub}),
            (pass_on, {"websocket": websocket, "client": client}),
            (client.give_up, {}),
        )


async def hear(websocket: WebSocket, hub: Hub) -> None:
    async for text in websocket.iter_text():
        try:
            await hub.say(text)
        except RedisError:
            raise WebSocketException(1011, "nobody can be told now") from None


async def pass_on(websocket: WebSocket, client: Client) -> None:
    while True:
        await websocket.send_text(await client.next())


async def post(request: Request) -> Response:
    hub: Hub = request.state.hub
    try:
        await hub.say(await request.text())
    except RedisError:
        raise HTTPException(503, "nobody can be told now", headers={"retry-after": "1"}) from None
    return JSONResponse({"said": True}, status_code=202)


async def health(request: Request) -> Response:
    return JSONResponse({"listening": request.state.hub.is_listening})


@asynccontextmanager
async def lifespan(app: DualRoute) -> AsyncIterator[dict[str, Any]]:
    hub = Hub(os.environ.get("REDIS_URL", "redis://127.0.0.1:6379/0"))
    async with hub.running():
        yield {"hub": hub}


app = DualRoute(
    [
        Route("/messages", post, methods=["POST"]),
        Route("/health", health),
        WebSocketRoute("/messages", messages),
    ],
    lifespan=lifespan,
    limits=Limits(max_body_size=64 * 1024, max_message_size=64 * 1024),
)
