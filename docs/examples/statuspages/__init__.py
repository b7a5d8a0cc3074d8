"""statuspages: a library that brings ``/health`` and ``/metrics`` to an application of any framework.

    from statuspages import StatusPages

    status = StatusPages(checks={"database": ask_database}, gauges={"jobs_waiting": count_jobs})

`status` is a WSGI and an ASGI application at once, to be mounted in whatever application there is; the folder `library`
beside this one has six.
"""

from statuspages.pages import Check, Gauge, StatusPages

__all__ = ["Check", "Gauge", "StatusPages"]
