"""The ASGI side of dualroute: the core served to an ASGI server."""

from dualroute_asgi.adapter import ASGIAdapter
from dualroute_asgi.threads import ThreadPool

__all__ = ["ASGIAdapter", "ThreadPool"]
