"""What a page has its readers do: commands of Python, tests of their own, and code that is quoted from an example."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import textwrap
from pathlib import Path

from tests.docs.pages import DOCS, Block, Page
from tests.servers.launching import START

__all__ = ["EXAMPLES", "from_example", "is_quoted", "require_quoted", "run_python", "run_tests"]

EXAMPLES = DOCS / "examples"


def from_example(page: Page) -> list[Block]:
    """Return the blocks of a page that are named as a file of an example is."""
    return [block for block in page.of("python") if block.file is not None and (EXAMPLES / block.file).is_file()]


def is_quoted(text: str, source: str) -> bool:
    """Tell whether some lines stand in a source as they are, at whatever indentation."""
    lines = re.sub(r"\A# \S+\n", "", text)
    return any(f"\n{textwrap.indent(lines, ' ' * indent)}" in f"\n{source}" for indent in (0, 4, 8))


def require_quoted(page: Page, number: int) -> None:
    """Fail unless a page quotes so many blocks from examples, each of them rightly."""
    blocks = from_example(page)
    assert len(blocks) == number
    for block in blocks:
        assert block.file is not None
        source = (EXAMPLES / block.file).read_text(encoding="utf-8")
        assert is_quoted(block.text, source), f"{page.name}:{block.line} is not in {block.file}"


def run_python(folder: Path, *arguments: str) -> str:
    """Run Python in a folder, and return what it printed."""
    done = subprocess.run(
        [sys.executable, *arguments],
        cwd=folder,
        # What plugins of pytest there are is no business of a page's, and to load them takes seconds.
        env={**os.environ, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"},
        capture_output=True,
        text=True,
        timeout=START,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def run_tests(folder: Path, *names: str, passed: int) -> None:
    """Have pytest run tests in a folder, and fail unless so many pass, and all."""
    printed = run_python(folder, "-m", "pytest", "-q", "-p", "no:cacheprovider", *names)
    assert f"\n{passed} passed in " in printed, printed
