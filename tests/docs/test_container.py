"""The how-to page about containers: its instructions are carried out in a folder, without an engine."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import pytest

from tests.docs.pages import ROOT, Page
from tests.servers.launching import START, STOP, eventually, free_port

PAGE = "how-to/container.md"
INSTALL = 300.0
"""How many seconds an instruction may take."""


@dataclass
class Stage:
    """One stage of an image, in a folder that stands for its root.

    The last one has a fresh virtual environment.  One before it installs nothing, and has the Python of this process.
    """

    root: Path
    folder: Path
    environ: dict[str, str]
    settings: dict[str, str] = field(default_factory=dict)

    @classmethod
    def begun(cls, root: Path, *, is_last: bool) -> Stage:
        programs = Path(sys.executable).parent
        if is_last:
            subprocess.run([sys.executable, "-m", "venv", str(root / "python")], check=True)
            programs = root / "python" / "bin"
        root.mkdir(exist_ok=True)
        environ = {
            # How this machine reaches a package index, and nothing else of it.
            **{name: value for name, value in os.environ.items() if name.startswith(("PIP_", "HTTP", "http", "SSL_"))},
            "PATH": f"{programs}:/usr/bin:/bin",
            "HOME": str(root),
        }
        return cls(root, root, environ)

    def path(self, name: str) -> Path:
        return self.root / name.lstrip("/") if name.startswith("/") else self.folder / name

    def run(self, words: list[str], **options: object) -> subprocess.Popen[bytes]:
        return subprocess.Popen(words, cwd=self.folder, env=self.environ, **options)  # type: ignore[call-overload,no-any-return]


def instructions(text: str) -> Iterator[tuple[str, str]]:
    """Yield the instructions of a Containerfile, each with what follows its name."""
    for line in re.sub(r"\\\n\s*", "", text).splitlines():
        if line.strip():
            name, _, rest = line.partition(" ")
            yield name, rest


class Builder:
    """Carries out the instructions of a Containerfile.

    Args:
        text: the file.
        context: the folder that it is built from.
        folder: an empty folder.
    """

    def __init__(self, text: str, context: Path, folder: Path) -> None:
        self._context = context
        self._folder = folder
        self._stages: dict[str, Stage] = {}
        self.stage: Stage
        for name, rest in instructions(text):
            getattr(self, f"_{name.lower()}")(rest)

    def _from(self, rest: str) -> None:
        image, _, name = rest.partition(" AS ")
        assert image.startswith("python:"), "a virtual environment stands for it"
        self.stage = Stage.begun(self._folder / (name or "last"), is_last=not name)
        self._stages[name] = self.stage

    def _workdir(self, rest: str) -> None:
        self.stage.folder = self.stage.path(rest)
        self.stage.folder.mkdir(parents=True, exist_ok=True)

    def _env(self, rest: str) -> None:
        for word in rest.split():
            name, _, value = word.partition("=")
            self.stage.environ[name] = value

    def _copy(self, rest: str) -> None:
        *options, source, target = rest.split()
        other = next((option.removeprefix("--from=") for option in options if option.startswith("--from=")), None)
        found = self._context / source if other is None else self._stages[other].path(source)
        shutil.copytree(found, self.stage.path(target), dirs_exist_ok=True)

    def _run(self, rest: str) -> None:
        command = re.sub(r"(?<=\s)/(?=\w)", f"{self.stage.root}/", rest)
        done = subprocess.run(
            ["sh", "-ec", command],
            cwd=self.stage.folder,
            env=self.stage.environ,
            capture_output=True,
            text=True,
            timeout=INSTALL,
            check=False,
        )
        assert done.returncode == 0, f"{command}\n{done.stdout}{done.stderr}"

    def _keep(self, name: str, rest: str) -> None:
        self.stage.settings[name] = rest

    def _user(self, rest: str) -> None:
        self._keep("user", rest)

    def _expose(self, rest: str) -> None:
        self._keep("expose", rest)

    def _stopsignal(self, rest: str) -> None:
        self._keep("stopsignal", rest)

    def _healthcheck(self, rest: str) -> None:
        self._keep("healthcheck", rest.partition("CMD ")[2])

    def _cmd(self, rest: str) -> None:
        self._keep("cmd", rest)


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Stage:
    folder = tmp_path_factory.mktemp("image")
    context = folder / "context"
    Page(PAGE).write(context)
    # The package as it is here takes the place of the one in the index.
    wheels = folder / "published"
    subprocess.run(
        [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", str(wheels), str(ROOT)],
        check=True,
        timeout=INSTALL,
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PIP_FIND_LINKS", str(wheels))
        patch.setenv("PIP_DISABLE_PIP_VERSION_CHECK", "1")
        return Builder(Page(PAGE).of("dockerfile")[0].text, context, folder).stage


def commands() -> list[str]:
    """Return the commands of the page, for each server, as they stand there."""
    return [rest for block in Page(PAGE).of("dockerfile") for name, rest in instructions(block.text) if name == "CMD"]


@contextmanager
def running(image: Stage, command: str, port: int) -> Iterator[subprocess.Popen[bytes]]:
    name, *options = json.loads(command.replace("8000", str(port)))
    program = shutil.which(name, path=image.environ["PATH"])
    assert program is not None
    process = image.run([program, *options], start_new_session=True)
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def health(image: Stage, port: int) -> int:
    """Return what the health check ends with: 0 is well."""
    words = json.loads(image.settings["healthcheck"].replace("8000", str(port)))
    return image.run(words, stderr=subprocess.DEVNULL).wait(STOP)


@pytest.mark.timeout(INSTALL)
@pytest.mark.parametrize("command", commands(), ids=["uvicorn", "gunicorn"])
def test_the_command_serves_is_well_and_stops_by_the_signal(image: Stage, command: str) -> None:
    port = free_port()
    assert health(image, port) != 0, "nobody is there yet"
    with running(image, command, port) as process:
        eventually(lambda: process.poll() is not None or health(image, port) == 0, "the container is well", START)
        answer = httpx.get(f"http://127.0.0.1:{port}/", trust_env=False)
        assert answer.json() == {"shop": "open"}
        number = getattr(signal, image.settings["stopsignal"])
        process.send_signal(number)
        assert process.wait(STOP) in (0, -number)
    assert health(image, port) != 0


@pytest.mark.timeout(INSTALL)
def test_the_image_has_what_runs_and_nothing_else(image: Stage) -> None:
    assert int(image.settings["user"]) > 0, "no root, and a number"
    assert image.settings["expose"] == "8000"
    assert not image.path("/wheels").exists()
    assert not image.path("/src").exists()
    listed = subprocess.run(
        [str(image.root / "python" / "bin" / "python"), "-m", "pip", "list", "--format=json"],
        capture_output=True,
        check=True,
    )
    names = {package["name"] for package in json.loads(listed.stdout)}
    assert {"shop", "dualroute", "uvicorn", "gunicorn"} <= names
    assert "hatchling" not in names
