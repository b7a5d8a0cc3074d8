"""What users write is checked by mypy and pyright: what is right passes, and each mistake is found where it is made.

A line of snippets/wrong.py that has a mistake ends in a comment with the rules that it breaks:
``# mypy: arg-type; pyright: reportArgumentType``.  Both checkers run once, over both files.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest

SNIPPETS = Path(__file__).parent / "snippets"
WRONG = "wrong.py"
NAMES = ["right.py", WRONG]
EXPECTED = re.compile(r"  # mypy: ([\w, -]+); pyright: ([\w, ]+)$")

Errors = dict[tuple[str, int], set[str]]
"""The rules that are broken, by file and line."""


def expected(checker: int) -> Errors:
    """Return what snippets/wrong.py says, of mypy (1) or of pyright (2)."""
    lines = (SNIPPETS / WRONG).read_text(encoding="utf-8").splitlines()
    found = ((number, EXPECTED.search(line)) for number, line in enumerate(lines, 1))
    return {(WRONG, number): set(match[checker].split(", ")) for number, match in found if match}


def sources() -> list[str]:
    """Return the folders from which the packages are imported, unless they are installed."""
    folders = {Path(str(import_module(name).__file__)).parents[1] for name in ("dualroute", "dualroute_asgi")}
    return sorted(str(folder) for folder in folders if "site-packages" not in folder.parts)


def run(*command: str, cwd: Path) -> str:
    # Python shows both checkers where the packages are; what pyright has to say about its own version is left out.
    environ = {**os.environ, "MYPYPATH": os.pathsep.join(sources()), "PYRIGHT_PYTHON_IGNORE_WARNINGS": "1"}
    if sources():
        environ["PYTHONPATH"] = os.pathsep.join(sources())
    ran = subprocess.run(
        [sys.executable, "-m", *command], cwd=cwd, capture_output=True, text=True, timeout=600, check=False, env=environ
    )
    assert ran.returncode in (0, 1), ran.stdout + ran.stderr
    return ran.stdout


def by_mypy(folder: Path) -> Errors:
    (folder / "mypy.ini").write_text("[mypy]\nstrict = true\nexplicit_package_bases = true\n")
    options = ["--config-file", "mypy.ini", "--cache-dir", "cache", "--output", "json"]
    found: Errors = {}
    for line in run("mypy", *options, *NAMES, cwd=folder).splitlines():
        error = json.loads(line)
        if error["severity"] == "error":
            found.setdefault((Path(error["file"]).name, error["line"]), set()).add(error["code"])
    return found


def by_pyright(folder: Path) -> Errors:
    settings = {"include": NAMES, "exclude": [], "typeCheckingMode": "standard", "extraPaths": sources()}
    (folder / "pyrightconfig.json").write_text(json.dumps(settings))
    options = ["--project", str(folder), "--pythonpath", sys.executable, "--outputjson"]
    found: Errors = {}
    told = json.loads(run("pyright", *options, cwd=folder))
    assert told["summary"]["filesAnalyzed"] == len(NAMES)
    for error in told["generalDiagnostics"]:
        if error["severity"] == "error":
            place = Path(error["file"]).name, error["range"]["start"]["line"] + 1
            found.setdefault(place, set()).add(error.get("rule", "error"))
    return found


@pytest.mark.timeout(600)
@pytest.mark.parametrize("checker", ["mypy", "pyright"])
def test_what_is_right_passes_and_each_mistake_is_found(checker: str, tmp_path: Path) -> None:
    for name in NAMES:
        shutil.copy(SNIPPETS / name, tmp_path)
    found = by_mypy(tmp_path) if checker == "mypy" else by_pyright(tmp_path)
    assert found == expected(1 if checker == "mypy" else 2)


def test_there_are_mistakes_to_be_found() -> None:
    assert len(expected(1)) == len(expected(2)) > 50
