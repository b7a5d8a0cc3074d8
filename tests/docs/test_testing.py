"""The how-to page about tests: its files are written, and its commands run."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.docs.pages import Page

PAGE = Page("how-to/testing.md")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("testing")
    PAGE.write(folder)
    return folder


def printed(command: str, folder: Path) -> str:
    """Run a command with the programs that are installed beside this Python; return what it prints."""
    environ = {name: value for name, value in os.environ.items() if not name.startswith(("PYTEST", "COV"))}
    environ["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), environ["PATH"]])
    environ["NO_COLOR"] = "1"
    done = subprocess.run(
        ["sh", "-ec", command], cwd=folder, env=environ, capture_output=True, text=True, timeout=110, check=False
    )
    assert done.returncode == 0, f"{command}\n{done.stdout}{done.stderr}"
    return done.stdout


def same(text: str) -> list[str]:
    """Return the lines without what differs from run to run, and how far a run has come."""
    return [re.sub(r"in \d+\.\d+s", "in 0.00s", re.sub(r" +\[ *\d+%\]$", "", line)) for line in text.splitlines()]


@pytest.mark.timeout(400)  # each command is a process, and some start further ones
def test_each_command_prints_what_the_page_says(folder: Path) -> None:
    blocks = PAGE.of("sh", "text")
    commands = [block for block in blocks if block.language == "sh"]
    assert len(commands) == 3
    for block, following in zip(blocks[::2], blocks[1::2], strict=True):
        assert (block.language, following.language) == ("sh", "text")
        first, *others = block.text.splitlines()
        output = same(printed(first, folder))
        for line in same(following.text):
            assert line in output, f"{PAGE.name}:{following.line}: {line!r} is not in\n" + "\n".join(output)
        for command in others:
            printed(command, folder)


def test_check_fails_where_answers_differ(folder: Path) -> None:
    (folder / "differing.py").write_text(
        "from dualroute import DualRoute, PlainTextResponse, Route\n"
        "app = DualRoute([Route('/', lambda request: PlainTextResponse(str(request.environ is None)))])\n"
    )
    command = [sys.executable, "-m", "dualroute", "check", "differing.py"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 1
