"""docs/architecture.md: its map has every module and no other, and its walls are those that are checked."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

from tests.docs.pages import DOCS, ROOT

TEXT = (DOCS / "architecture.md").read_text("utf-8")


def the_map() -> set[str]:
    """Return the modules in the map, by their paths beneath the source root."""
    block = TEXT.split("\n## The rooms\n")[1].split("```\n", 1)[1].split("```", 1)[0]
    # An entry begins two columns in, and goes on further in.
    entries: list[str] = []
    for line in block.splitlines():
        if line.startswith("   "):
            entries[-1] += " " + line.strip()
        else:
            entries.append(line)
    found: set[str] = set()
    package = ""
    for entry in entries:
        name = entry.split()[0]
        if not entry.startswith(" "):
            package = name if name == "dualroute/" else ""
            continue
        folder = package + name if name.endswith("/") else package
        found.update(folder + module for module in re.findall(r"\b\w+\.py\b", entry))
    return found


def the_modules() -> set[str]:
    roots = {ROOT: ["dualroute"], ROOT / "adapters": ["dualroute_asgi", "dualroute_wsgi"]}
    return {
        path.relative_to(root).as_posix()
        for root, packages in roots.items()
        for package in packages
        for path in (root / package).rglob("*.py")
        if path.name != "__init__.py"
    }


def test_the_map_has_every_module_and_no_other() -> None:
    assert the_map() == the_modules()


def contract(name: str) -> dict[str, list[str]]:
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
    (found,) = [each for each in settings["tool"]["importlinter"]["contracts"] if each["id"] == name]
    return dict(found)


def row(name: str) -> list[str]:
    """Return the names in backticks in a row of the table of walls."""
    (line,) = [line for line in TEXT.splitlines() if line.startswith(f"| {name} |")]
    return re.findall(r"`([\w.]+)`", line)


def test_the_walls_are_those_that_are_checked() -> None:
    core = contract("neutral-core")
    assert row("what the core imports never") == core["forbidden_modules"]
    outside = {line.split(" -> ")[0].removesuffix(".**") for line in core["ignore_imports"]}
    assert set(row("what stands outside of that wall")) == outside
    assert row("what knows nothing of one another") == contract("two-adapters")["modules"]


def test_every_file_that_is_named_is_there() -> None:
    for name in re.findall(r"`((?:tests|docs|adapters|dualroute)/[\w./-]*)`", TEXT):
        assert (ROOT / name).exists(), name


def test_every_module_that_the_text_names_is_there() -> None:
    modules = {Path(name).name for name in the_modules()} | {"__init__.py"}
    assert set(re.findall(r"`(\w+\.py)`", TEXT)) <= modules
