"""The WSGI side of dualroute: the core served to a WSGI server."""

from dualroute_wsgi.adapter import WSGIAdapter

__all__ = ["WSGIAdapter"]
