"""Lifespan: what mounted apps have to have done before the first request and after the last.

A mounted ASGI app may have a start-up and a shutdown of its own.  They are run once for each process that serves: by
the lifespan of an ASGI server, and under WSGI in the worker, after the fork, before its first request.
"""

from __future__ import annotations

import logging
from collections.abc import Generator, Iterator
from typing import TYPE_CHECKING, Any

from dualroute.exchange import Call

if TYPE_CHECKING:
    from dualroute.foreign import ForeignApp
    from dualroute.routing import Router

__all__ = ["Lifespan"]

logger: logging.Logger = logging.getLogger("dualroute")


class Lifespan:
    """The start-up and the shutdown of all that is mounted in a router.

    Args:
        router: the outermost router.

    What is mounted after the start-up is not started.
    """

    def __init__(self, router: Router) -> None:
        self._router = router
        self._started: list[ForeignApp] = []

    def needed(self) -> bool:
        """Tell whether there is anything to start."""
        return next(mounted_apps(self._router, ()), None) is not None

    def startup(self) -> Generator[Call, Any, None]:
        """Start each app, in declared order; where one fails, shut down those before it and raise what it raised."""
        for app in mounted_apps(self._router, ()):
            # An app may be mounted several times, and lives once.
            twin = next((other for other in self._started if other.app is app.app), None)
            if twin is not None:
                app.share_life(twin)
                continue
            try:
                yield Call(app.startup)
            except BaseException:
                yield from self.shutdown()
                raise
            self._started.append(app)

    def shutdown(self) -> Generator[Call, Any, None]:
        """Shut down each app that was started, the last one first."""
        while self._started:
            app = self._started.pop()
            try:
                yield Call(app.shutdown)
            except Exception:
                logger.exception("the shutdown of %s failed", app.described())


def mounted_apps(router: Router, around: tuple[Router, ...]) -> Iterator[ForeignApp]:
    """Yield the mounted apps that have a lifespan, those inside mounts, hosts and defaults included."""
    if router in around:  # a router may be mounted inside itself
        return
    for route in [*router.routes, router.default_route]:
        foreign = getattr(route, "foreign", None)
        inner = getattr(route, "router", None)
        if foreign is not None and foreign.has_lifespan:
            yield foreign
        elif inner is not None:
            yield from mounted_apps(inner, (*around, router))
