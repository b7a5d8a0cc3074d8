"""The pages of the documentation as what they are made of: their code blocks, to be run.

A block of Python whose first line is a comment with a file's name, ``# shop.py``, is that file, wherever a page shows
several or a command names one; of HTML, ``<!-- shop.html -->`` is.  All other blocks of Python on a page are run one
after the other, as one module.
"""

from __future__ import annotations

import importlib
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"

_FENCE = re.compile(
    r"^(?P<indent> *)(?P<fence>`{3,})(?P<language>[^\s`]*)[^`\n]*\n(?P<text>.*?)^(?P=indent)(?P=fence)$", re.S | re.M
)
_FILE = re.compile(r"(?:#|<!--) (?P<name>[\w./-]+\.\w+)(?: -->)?\n")


@dataclass(frozen=True)
class Block:
    """A fenced block of a page: its language, its text, and the line of the page that its text begins in."""

    language: str
    text: str
    line: int

    @property
    def file(self) -> str | None:
        """The name of the file that the block is, or None."""
        named = _FILE.match(self.text)
        return None if named is None else named["name"]


class Page:
    """A page of the documentation.

    Args:
        name: its path beneath docs/, such as ``how-to/flask.md``, or ``../README.md``.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self.path = (DOCS / name).resolve()
        self.text = self.path.read_text(encoding="utf-8")

    @cached_property
    def blocks(self) -> list[Block]:
        return [
            Block(
                found["language"],
                re.sub(rf"^{found['indent']}", "", found["text"], flags=re.M),
                self.text.count("\n", 0, found.start("text")) + 1,
            )
            for found in _FENCE.finditer(self.text)
        ]

    def of(self, *languages: str) -> list[Block]:
        """Return the blocks in one of some languages."""
        return [block for block in self.blocks if block.language in languages]

    def write(self, folder: Path) -> list[Path]:
        """Write the files that the page shows, in any language, to a folder; return their paths."""
        written = []
        for block in self.blocks:
            if block.file is not None:
                path = folder / block.file
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(block.text, encoding="utf-8")
                written.append(path)
        return written

    def run(self) -> dict[str, Any]:
        """Run the blocks of Python that are no files, one after the other; return what they define."""
        namespace: dict[str, Any] = {}
        for step in self.steps():
            namespace = step
        return namespace

    def steps(self) -> Iterator[dict[str, Any]]:
        """Run them, and yield what is defined after each of them: one and the same namespace."""
        namespace: dict[str, Any] = {"__name__": self.path.stem}
        for block in self.of("python"):
            if block.file is None:
                # As many lines before it as in the page, so that a traceback names the page's line.
                source = "\n" * (block.line - 1) + block.text
                exec(compile(source, str(self.path), "exec"), namespace)  # that is what is tested
                yield namespace

    def apps(self) -> list[Any]:
        """Run them, and return what they call `app`, one after the other."""
        found: list[Any] = []
        for namespace in self.steps():
            if "app" in namespace and (not found or namespace["app"] is not found[-1]):
                found.append(namespace["app"])
        return found


@contextmanager
def importing(folder: Path) -> Iterator[Any]:
    """Have what a page wrote to a folder imported: yields `importlib.import_module`, and forgets its modules after."""
    sys.path.insert(0, str(folder))
    before = set(sys.modules)
    importlib.invalidate_caches()
    try:
        yield importlib.import_module
    finally:
        sys.path.remove(str(folder))
        for name in set(sys.modules) - before:
            file = getattr(sys.modules[name], "__file__", None)
            if file is not None and Path(file).is_relative_to(folder):
                del sys.modules[name]


def pages() -> list[str]:
    """Return the names of all pages, README included."""
    found = [path.relative_to(DOCS).as_posix() for path in DOCS.rglob("*.md") if "benchmarks" not in path.parts]
    return ["../README.md", *sorted(found)]
