"""Start-up and shutdown by hand, for a server or a script that can say when a worker begins and ends.

Without it the start-up comes with a worker's first request, and the shutdown when the process exits.
"""

from __future__ import annotations

import sys
from typing import Any

from dualroute.foreign import shown
from dualroute.serving import Servable
from dualroute_wsgi.adapter import WSGIAdapter

__all__ = ["start", "stop"]


def start(app: Any) -> None:
    """Run the start-up of `app` in this process now.

    Call it after the fork, if the server forks.  A second call does nothing.

    Args:
        app: a DualRoute, a Router, an endpoint class, or a WSGIAdapter.

    Raises what the start-up failed with, and TypeError for an app of another kind.
    """
    served = app._router() if isinstance(app, type) and hasattr(app, "_router") else app
    if isinstance(served, Servable):
        served = served.wsgi_adapter
    if not isinstance(served, WSGIAdapter):
        name = shown(app) if callable(app) else repr(app)
        raise TypeError(f"a DualRoute, a Router or another app of dualroute can be started, not {name}")
    served.get_ready()


def stop() -> None:
    """Run the shutdown of every app that was started in this process, and end its event loop.

    What takes too long is logged and given up.  No request may be served after it.
    """
    loops = sys.modules.get("dualroute_wsgi.loop")  # without it, nothing was started
    if loops is not None:
        loops.close_worker_loop()
