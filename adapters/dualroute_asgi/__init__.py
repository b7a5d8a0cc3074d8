"""The ASGI side of dualroute: the core served to an ASGI server, and ASGI apps mounted in it."""

from dualroute_asgi.adapter import ASGIAdapter
from dualroute_asgi.mounted import ASGIApp
from dualroute_asgi.threads import ThreadPool

__all__ = ["ASGIAdapter", "ASGIApp", "ThreadPool"]
