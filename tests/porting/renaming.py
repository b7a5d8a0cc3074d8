"""From a Starlette application to one of ours: its imports are renamed, and nothing else.

from starlette.applications import Starlette    →    from dualroute.applications import DualRoute as Starlette
from starlette.routing import Mount, Route      →    from dualroute.routing import Mount, Route
"""

from __future__ import annotations

import re
import shutil
from pathlib import Path

__all__ = ["APPS", "copied", "renamed"]

APPS = Path(__file__).parent / "apps"
"""The applications as they are written for Starlette, with their templates and files."""

_RENAMES = (
    (
        re.compile(r"^from starlette\.applications import Starlette$", re.MULTILINE),
        "from dualroute.applications import DualRoute as Starlette",
    ),
    (re.compile(r"^(from|import) starlette\b", re.MULTILINE), r"\1 dualroute"),
)


def renamed(source: str) -> str:
    """Return the source of a Starlette application as that of one of ours."""
    for pattern, replacement in _RENAMES:
        source = pattern.sub(replacement, source)
    return source


def copied(folder: Path, *, ported: bool) -> Path:
    """Copy the applications into a new folder, those for Starlette or those that were ported, and return it."""
    shutil.copytree(APPS, folder, ignore=shutil.ignore_patterns("__pycache__"))
    if ported:
        for module in folder.glob("*.py"):
            module.write_text(renamed(module.read_text(encoding="utf-8")), encoding="utf-8")
    return folder
