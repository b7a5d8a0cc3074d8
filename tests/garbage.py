"""How much of what some work leaves behind only the garbage collector can free."""

from __future__ import annotations

import gc
from collections.abc import Callable

__all__ = ["garbage_of"]


def garbage_of(work: Callable[[], object], times: int, warm_up: int = 3) -> int:
    """Return how many objects in reference cycles are left when `work` was done so many times.

    Args:
        work: what to do.
        times: how often.
        warm_up: how often before that, for what is made once.
    """
    for _ in range(warm_up):
        work()
    gc.collect()
    # What is there by now is never looked at again: in a process with much in it that takes longer than the work.
    gc.freeze()
    gc.disable()
    try:
        for _ in range(times):
            work()
        return gc.collect()
    finally:
        gc.enable()
