"""Hooks for gunicorn: the start-up when a worker boots, and not at its first request.

    gunicorn -c python:dualroute_wsgi.gunicorn main:app

A configuration of one's own takes them by name::

    from dualroute_wsgi.gunicorn import post_worker_init, worker_exit

They run in the worker, so never before the fork, with ``--preload`` either.  A start-up that fails ends the worker with
gunicorn's exit code for that, and gunicorn itself then stops, with the reason in its log.
"""

from __future__ import annotations

from typing import Any

from dualroute_wsgi.boot import start, stop

__all__ = ["post_worker_init", "worker_exit"]

_KINDS = {"SyncWorker", "ThreadWorker", "AsyncWorker"}
"""The worker classes of gunicorn's that speak WSGI, or are the base of those that do."""


def post_worker_init(worker: Any) -> None:
    """Run the start-up of the app that a worker has loaded.  Raises what it failed with.

    Workers that speak ASGI run it by themselves, and are left alone.
    """
    if _KINDS.isdisjoint(kind.__name__ for kind in type(worker).__mro__):
        return
    if not _is_ours(worker.wsgi):
        worker.log.warning(
            "dualroute_wsgi.gunicorn: %r is no dualroute app; one that is inside it has its start-up at the first"
            " request, unless a hook of yours calls dualroute_wsgi.start(app)",
            worker.wsgi,
        )
        return
    start(worker.wsgi)


def worker_exit(server: Any, worker: Any) -> None:
    """Run the shutdown, when a worker has served its last request."""
    stop()


def _is_ours(app: Any) -> bool:
    kind = app if isinstance(app, type) else type(app)
    return any(base.__module__.partition(".")[0] in ("dualroute", "dualroute_wsgi") for base in kind.__mro__)
