"""The examples are started as their docstrings and the pages say."""

from __future__ import annotations

import re
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest

from tests.docs.examples import EXAMPLES
from tests.docs.pages import Page, pages
from tests.test_cli import Command, free_port

OURS = {"quick_start.py": "Hello from ", "chat/main.py": "<title>Chat</title>", "uploads/main.py": "<h1>Uploads</h1>"}
OURS |= {"events.py": "<h1>Headlines</h1>", "notes.py": "<h1>Notes</h1>"}


def test_each_is_served_by_both_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("UPLOADS", str(tmp_path / "uploads"))
    monkeypatch.setenv("NOTES_DB", str(tmp_path / "notes.db"))
    commands: list[Command] = []
    try:
        for name in OURS:
            assert f"    dualroute run docs/examples/{name}\n" in (EXAMPLES / name).read_text(encoding="utf-8")
            # By its whole path, so that the checkout is not the working directory, from which Python imports.
            commands.append(Command(str(EXAMPLES / name), "--port", str(free_port()), cwd=tmp_path))
        for command, beginning in zip(commands, OURS.values(), strict=True):
            for protocol in ("ASGI", "WSGI"):
                url = command.url(protocol)
                answer = httpx.get(url, follow_redirects=True, trust_env=False)
                assert answer.status_code == 200
                assert beginning in answer.text
        with ThreadPoolExecutor(len(commands)) as pool:
            assert list(pool.map(Command.stop, commands)) == [0] * len(commands)
    finally:
        for command in commands:
            command.end()


@pytest.mark.parametrize("name", pages())
def test_no_page_names_an_example_that_is_not_there(name: str) -> None:
    for path in re.findall(r"docs/examples/([\w./-]*\w)", Page(name).text):
        assert (EXAMPLES / path).exists(), path
