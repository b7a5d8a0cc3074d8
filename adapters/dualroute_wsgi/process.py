"""The number of this process, kept: to ask the system for it at each request costs more than some answers do."""

from __future__ import annotations

import os

__all__ = ["pid"]

pid: int = os.getpid()
"""Of this process, also after a fork."""


def _renew() -> None:
    global pid
    pid = os.getpid()


os.register_at_fork(after_in_child=_renew)
