"""The WSGI side of dualroute: the core served to a WSGI server, and WSGI apps mounted in it."""

from dualroute_wsgi.adapter import WSGIAdapter
from dualroute_wsgi.boot import start, stop
from dualroute_wsgi.mounted import WSGIApp

__all__ = ["WSGIAdapter", "WSGIApp", "start", "stop"]
