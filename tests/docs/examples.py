"""The examples, served by real servers."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from tests.docs.pages import DOCS
from tests.frameworks.sites import all_at_once
from tests.servers.launching import Running, Server, by_name, require

__all__ = ["EXAMPLES", "served"]

EXAMPLES = DOCS / "examples"


@contextmanager
def served(target: str, folder: Path, *servers: str | Server, **options: Any) -> Iterator[dict[str, Running]]:
    """Serve an example by several servers at once, each by its name.

    Args:
        target: its module and the app in it.
        folder: an empty folder, in which each server has one of its own to work in.
        servers: the servers, or their names.
        options: as for `Running`.
    """
    starts = {}
    for server in (by_name(server) if isinstance(server, str) else server for server in servers):
        require(server)
        (folder / server.name).mkdir()
        starts[server.name] = partial(Running, server, folder / server.name, target, path=EXAMPLES, **options)
    with all_at_once(starts) as running:
        yield running
