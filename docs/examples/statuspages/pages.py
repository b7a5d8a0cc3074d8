"""The pages, as one router that belongs to whoever makes it: nothing here is shared by two of them."""

import asyncio
import html
import inspect
import re
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, TypeAlias
from urllib.parse import quote

from dualroute import HTMLResponse, HTTPException, JSONResponse, Request, Response, Route, Router, SyncRequest
from dualroute.concurrency import run_in_threadpool
from statuspages.exposition import CONTENT_TYPE, NAME, exposed

Check: TypeAlias = Callable[[], None] | Callable[[], Awaitable[None]]
"""Raises an exception where something is not as it should be: a `def` or an `async def`."""

Gauge: TypeAlias = Callable[[], float]
"""Returns a number; it may block."""


class StatusPages(Router):
    """``/health`` and ``/metrics``, to be mounted anywhere.

    Args:
        checks: what ``/health`` asks, by name.
        gauges: what ``/metrics`` tells, by the name of the metric.
        timeout: how many seconds the checks may take, after which the answer is 503.

    Raises ValueError for a name that can't stand in a URL, or be that of a metric.
    """

    def __init__(
        self,
        *,
        checks: Mapping[str, Check] | None = None,
        gauges: Mapping[str, Gauge] | None = None,
        timeout: float = 5,
    ) -> None:
        self._checks = dict(checks or {})
        self._gauges = dict(gauges or {})
        self._outcomes: Counter[tuple[str, str]] = Counter()
        for name in self._checks:
            if not re.fullmatch(r"[\w.-]+", name):
                raise ValueError(f"the name of a check is made of letters, digits, '_', '.' and '-': {name!r}")
        for name in self._gauges:
            if not NAME.fullmatch(name):
                raise ValueError(f"{name!r} can't be the name of a metric")
        super().__init__(
            [
                Route("/", self.index, name="index"),
                Route("/health", self.health, name="health", timeout=timeout),
                Route("/health/{name}", self.check, name="check", timeout=timeout),
                Route("/metrics", self.metrics, name="metrics"),
            ]
        )

    def index(self, request: SyncRequest) -> Response:
        links = [(route, self.link(request, route)) for route in ("health", "metrics")]
        items = "".join(f'<li><a href="{html.escape(url)}">{route}</a></li>' for route, url in links)
        return HTMLResponse(f"<!DOCTYPE html><title>Status</title><ul>{items}</ul>")

    async def health(self, request: Request) -> Response:
        """Run all checks at once."""
        errors = await asyncio.gather(*map(self.error_of, self._checks))
        told = {
            name: {"ok": error is None, "error": error, "url": self.link(request, "check", name=name)}
            for name, error in zip(self._checks, errors, strict=True)
        }
        return answer(not any(errors), {"checks": told})

    async def check(self, request: Request, name: str) -> Response:
        """Run one of them."""
        if name not in self._checks:
            raise HTTPException(404, f"There is no check {name!r}")
        error = await self.error_of(name)
        return answer(error is None, {"error": error})

    def metrics(self, request: SyncRequest) -> Response:
        """Tell what was counted, and ask the gauges: they may block, so this is a `def`."""
        outcomes = [({"check": check, "outcome": end}, count) for (check, end), count in self._outcomes.copy().items()]
        text = exposed("statuspages_checks_total", "counter", "Checks by their outcome.", outcomes)
        for name, gauge in self._gauges.items():
            text += exposed(name, "gauge", f"What {name} is now.", [({}, gauge())])
        return Response(text, media_type=CONTENT_TYPE)

    async def error_of(self, name: str) -> str | None:
        """Run a check, and return what it failed with."""
        check = self._checks[name]
        try:
            if inspect.iscoroutinefunction(check):
                await check()
            else:
                await run_in_threadpool(check)
        except Exception as error:
            self._outcomes[name, "failed"] += 1
            return str(error) or type(error).__name__
        self._outcomes[name, "ok"] += 1
        return None

    def link(self, request: Request | SyncRequest, route: str, **params: Any) -> str:
        """Return the URL of one of these pages, wherever they are mounted."""
        here = request.url.replace(path=quote(request.root_path), query="")
        return str(self.url_path_for(route, **params).make_absolute_url(here))


def answer(ok: bool, told: dict[str, Any]) -> Response:
    """Return what a load balancer reads off the status, and people off the body."""
    return JSONResponse({"ok": ok, **told}, status_code=200 if ok else 503, headers={"cache-control": "no-store"})
