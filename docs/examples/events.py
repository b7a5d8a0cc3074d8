"""Headlines: server-sent events that a browser shows as they come, and that it asks for again where it was cut off.

    dualroute run docs/examples/events.py

Open either address, in two tabs, and publish something.  Each process has headlines of its own, so the two servers do
not share theirs, and neither do several workers of one: for that, keep them in a place that all can reach.

Under WSGI a stream holds a thread as long as it lasts, so the server needs threads:
``gunicorn --threads 100 events:app``.
"""

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from secrets import token_hex
from typing import Any

from dualroute import (
    DualRoute,
    EventSourceResponse,
    HTMLResponse,
    HTTPEndpoint,
    HTTPException,
    JSONResponse,
    Limits,
    Request,
    Response,
    Route,
    ServerSentEvent,
)

RETRY = 1_000  # milliseconds that a browser waits before it comes back
PING = 15.0  # seconds of silence after which a comment shows that the connection is alive
KEPT = 1_000  # headlines, for those who come back


class Headlines:
    """What was published, and who waits for more.  All of it happens on the one event loop of the process."""

    def __init__(self) -> None:
        self._run = token_hex(4)  # numbers begin anew with each process, so an id says which one it is of
        self._count = 0
        self._kept: deque[tuple[int, str]] = deque(maxlen=KEPT)
        self._news = asyncio.Event()

    def publish(self, text: str) -> str:
        self._count += 1
        self._kept.append((self._count, text))
        news, self._news = self._news, asyncio.Event()
        news.set()
        return self._id(self._count)

    async def after(self, event_id: str | None) -> AsyncIterator[ServerSentEvent]:
        """Yield what came after an event, all that is kept where the id says nothing, and then what comes."""
        seen = self._number(event_id)
        yield ServerSentEvent(retry=RETRY)
        while True:
            news = self._news  # taken before looking, so that what comes meanwhile is not missed
            for number, text in list(self._kept):
                if number > seen:
                    seen = number
                    yield ServerSentEvent({"text": text}, event="headline", id=self._id(number))
            await news.wait()

    def _id(self, number: int) -> str:
        return f"{self._run}-{number}"

    def _number(self, event_id: str | None) -> int:
        run, _, number = (event_id or "").partition("-")
        return int(number) if run == self._run and number.isdecimal() and len(number) < 19 else 0


@asynccontextmanager
async def lifespan(app: DualRoute) -> AsyncIterator[dict[str, Any]]:
    yield {"headlines": Headlines()}


class Events(HTTPEndpoint):
    async def get(self, request: Request) -> Response:
        headlines: Headlines = request.state.headlines
        return EventSourceResponse(headlines.after(request.last_event_id), ping=PING)

    async def post(self, request: Request) -> Response:
        text = (await request.text()).strip()
        if not text:
            raise HTTPException(422, "A headline has text.")
        headlines: Headlines = request.state.headlines
        return JSONResponse({"id": headlines.publish(text)}, status_code=201)


PAGE = """<!DOCTYPE html>
<html lang="en">
<meta charset="utf-8">
<title>Headlines</title>
<style>body { font: 1rem/1.5 sans-serif; max-width: 40rem; margin: 1rem auto; padding: 0 1rem }
form { display: flex; gap: .5rem }
input { flex: 1; font: inherit }</style>
<h1>Headlines</h1>
<form><input name="text" placeholder="What is new?" maxlength="500" required> <button>Publish</button></form>
<p id="state" role="status">Connecting&hellip;</p>
<ol reversed></ol>
<script>
const form = document.querySelector("form"), list = document.querySelector("ol");
const say = text => { document.getElementById("state").textContent = text; };

const source = new EventSource("events");
source.onopen = () => say("Connected.");
source.onerror = () => say(source.readyState === EventSource.CLOSED
  ? "The server refuses to send events." : "The connection was lost, trying again…");
source.addEventListener("headline", event => {
  const item = document.createElement("li");
  item.textContent = JSON.parse(event.data).text;  // as text, so that nothing in it is taken for HTML
  item.dataset.id = event.lastEventId;
  list.prepend(item);
});

form.onsubmit = async event => {
  event.preventDefault();
  const answer = await fetch("events", {method: "POST", body: form.elements.text.value});
  if (answer.ok) form.reset(); else say(await answer.text());
};
</script>
</html>
"""


async def page(request: Request) -> Response:
    return HTMLResponse(PAGE)


app = DualRoute(
    [Route("/", page), Route("/events", Events)],
    lifespan=lifespan,
    limits=Limits(max_body_size=2_000),
)
