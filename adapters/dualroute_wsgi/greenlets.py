"""Greenlets in the place of threads, as gevent has them: whether an event loop can run in one beside the requests.

Where gevent has patched the standard library, a thread that is started is a greenlet, and a lock, a queue or a selector
that is waited for lets the others go on.  So the worker's event loop runs in a greenlet as it does in a thread, as long
as it waits by what was patched.  Nothing here loads gevent or asyncio.
"""

from __future__ import annotations

import selectors
import sys

__all__ = ["are_threads", "obstacle"]

_WAITED_BY = ("threading", "queue", "select", "socket")
"""The modules of the standard library that the event loop and the requests wait by."""


def are_threads() -> bool:
    """Tell whether a thread that is started in this process is a greenlet."""
    monkey = sys.modules.get("gevent.monkey")
    return monkey is not None and bool(monkey.is_module_patched("threading"))


def obstacle() -> str | None:
    """Return why no `async def` can be served in this process, where threads are greenlets; None where they can."""
    asyncio = sys.modules.get("asyncio")
    if asyncio is None or not are_threads():
        return None
    unpatched = [name for name in _WAITED_BY if not sys.modules["gevent.monkey"].is_module_patched(name)]
    parking = sys.modules.get("dualroute_wsgi.parking")
    probe = asyncio.new_event_loop()
    probe.close()
    if type(probe) is not asyncio.SelectorEventLoop:
        reason = (
            f"the event loop policy asks for {type(probe).__module__}.{type(probe).__name__}; leave it at asyncio's"
        )
    elif unpatched:
        reason = f"gevent has not patched {' and '.join(unpatched)}; call gevent.monkey.patch_all()"
    elif parking is not None and not issubclass(parking.ParkingSelector, selectors.DefaultSelector):
        reason = "dualroute_wsgi.loop was imported before gevent patched the standard library; patch first"
    else:
        return None
    return f"`async def` can't be served by gevent in this process: {reason}, or serve the app with another worker"
