"""SECURITY.md: every test that it names is there, every default is the code's, every version that of the extras."""

from __future__ import annotations

import ast
import inspect
import re
import tomllib
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement
from packaging.version import Version

import dualroute
from dualroute.cli import parser
from dualroute.limits import Limits
from dualroute.middleware.cors import CORSMiddleware
from dualroute.middleware.proxy_headers import ProxyHeadersMiddleware
from dualroute.middleware.request_id import RequestIDMiddleware
from dualroute.middleware.sessions import SessionMiddleware
from dualroute.middleware.trustedhost import TrustedHostMiddleware
from dualroute.origins import check_origin
from dualroute.ranges import parse_ranges
from dualroute.staticfiles import StaticFiles

HOME = Path(__file__).resolve().parent.parent
TEXT = (HOME / "SECURITY.md").read_text("utf-8")

NAMES: dict[str, Any] = {
    "DualRoute": dualroute.DualRoute,
    "Limits": Limits,
    "Response.set_cookie": dualroute.Response.set_cookie,
    "Router": dualroute.Router,
    **{
        thing.__name__: thing
        for thing in (
            *(CORSMiddleware, ProxyHeadersMiddleware, RequestIDMiddleware, SessionMiddleware, TrustedHostMiddleware),
            *(StaticFiles, check_origin, parse_ranges),
        )
    },
}


def rows(heading: str) -> list[list[str]]:
    """Return the cells of the table below a heading, its head left out."""
    section = TEXT.split(f"\n## {heading}\n")[1].split("\n## ")[0]
    lines = [line for line in section.splitlines() if line.startswith("| ")]
    found = [[cell.strip() for cell in line.strip("|").split(" | ")] for line in lines[2:]]
    assert found, f"there is a table below {heading!r}"
    return found


@cache
def functions_in(path: str) -> set[str]:
    tree = ast.parse((HOME / path).read_text("utf-8"))
    return {
        node.name
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name.startswith("test_")
    }


NAMED = re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", TEXT)


@pytest.mark.parametrize(("path", "name"), sorted(set(NAMED)))
def test_every_test_that_is_named_is_there(path: str, name: str) -> None:
    assert name in functions_in(path)


def test_every_promise_and_every_default_has_its_test() -> None:
    for *_, shown in [*rows("What we promise"), *rows("Defaults")]:
        assert re.fullmatch(r"`tests/[\w/]+\.py::\w+`", shown), shown


@pytest.mark.parametrize(("setting", "default"), [row[:2] for row in rows("Defaults")])
def test_the_defaults_are_those_of_the_code(setting: str, default: str) -> None:
    match = re.fullmatch(r"`([\w.]+)\((\w+)\)`", setting)
    assert match is not None
    thing, parameter = NAMES[match[1]], match[2]
    if thing in (Limits, dualroute.Router):  # which tell what is not given from what is None
        found = getattr(thing(), parameter)
    else:
        found = inspect.signature(thing).parameters[parameter].default
    assert found == ast.literal_eval(default.strip("`"))


def test_every_limit_is_told_of() -> None:
    told = {setting for setting, *_ in rows("Defaults")}
    limits = [name for name in inspect.signature(Limits).parameters if not name.startswith("_")]
    assert {f"`Limits({name})`" for name in limits} <= told


def test_the_command_listens_on_this_machine_alone() -> None:
    assert parser().parse_args(["run", "app.py"]).host == "127.0.0.1"
    assert "listens on 127.0.0.1 unless" in TEXT


@pytest.mark.parametrize(("package", "version"), [row[:2] for row in rows("Servers")])
def test_the_extras_ask_for_no_version_that_is_older(package: str, version: str) -> None:
    project = tomllib.loads((HOME / "pyproject.toml").read_text("utf-8"))["project"]
    extras = project["optional-dependencies"]
    asked = [Requirement(line) for line in (*project["dependencies"], *extras["servers"], *extras["test"])]
    bounds = [
        Version(specifier.version)
        for requirement in asked
        if requirement.name == package.strip("`")
        for specifier in requirement.specifier
        if specifier.operator == ">="
    ]
    assert bounds, "it is asked for"
    assert min(bounds) >= Version(version)
