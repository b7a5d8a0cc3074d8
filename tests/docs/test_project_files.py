"""The files that a project has beside its code: the change log, the forms for issues, and what is said about both."""

from __future__ import annotations

import re
from datetime import date
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import yaml
from packaging.version import Version

import dualroute
from tests.docs.pages import ROOT

CHANGELOG = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
FORMS = ROOT / ".github" / "ISSUE_TEMPLATE"
HOME = "https://github.com/dualroute/dualroute"

KINDS = ["Added", "Changed", "Deprecated", "Removed", "Fixed", "Security"]
"""The kinds of changes, as https://keepachangelog.com/en/1.1.0/ has them."""


def anchors(path: Path) -> set[str]:
    """Return what the headings of a page are linked by on GitHub."""
    headings = re.findall(r"^#+ (.+)$", path.read_text(encoding="utf-8"), re.M)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


def leads_somewhere(link: str) -> bool:
    """Tell whether a link into the repository leads to a file there, and to a heading of it if it names one."""
    name, _, anchor = link.removeprefix(f"{HOME}/blob/main/").partition("#")
    path = ROOT / name
    return path.is_file() and (not anchor or anchor in anchors(path))


# The change log


def releases() -> list[tuple[str, str, str]]:
    """Return each release with its date and what is said of it."""
    parts = re.split(r"^## \[([^\]]+)\](?: - (\S+))?\n", CHANGELOG, flags=re.M)
    return list(zip(parts[1::3], [day or "" for day in parts[2::3]], parts[3::3], strict=True))


def test_the_change_log_begins_as_the_convention_has_it() -> None:
    assert CHANGELOG.startswith("# Changelog\n")
    assert "https://keepachangelog.com/en/1.1.0/" in CHANGELOG
    assert "https://semver.org/" in CHANGELOG
    assert re.findall(r"^## (.*)$", CHANGELOG, re.M) == [
        f"[{name}]" + (f" - {day}" if day else "") for name, day, _ in releases()
    ]


def test_releases_come_newest_first_each_with_its_date() -> None:
    (first, no_day, _), *released = releases()
    assert (first, no_day) == ("Unreleased", "")
    versions = [Version(name) for name, _, _ in released]
    days = [date.fromisoformat(day) for _, day, _ in released]
    assert all(newer > older for newer, older in pairwise(versions))
    assert all(newer >= older for newer, older in pairwise(days))
    # Between a release and the next change of the version they are the same.
    assert all(version <= Version(dualroute.__version__) for version in versions)


def test_changes_stand_under_their_kinds() -> None:
    for name, _, said in releases():
        kinds = re.findall(r"^### (.*)$", said, re.M)
        assert set(kinds) <= set(KINDS), name
        assert len(kinds) == len(set(kinds)), f"{name} has a kind twice"
        for part in re.split(r"^### .*$", said, flags=re.M)[1:]:
            assert re.search(r"^- \S", part, re.M), f"{name} has a kind without changes"


def test_each_release_has_its_link() -> None:
    links = dict(re.findall(r"^\[([^\]]+)\]: (\S+)$", CHANGELOG, re.M))
    assert list(links) == [name for name, _, _ in releases()]
    assert all(link.startswith(f"{HOME}/") for link in links.values())


# Issues


def form(name: str) -> Any:
    return yaml.safe_load((FORMS / name).read_text(encoding="utf-8"))


@pytest.mark.parametrize("name", ["bug.yml", "feature.yml"])
def test_a_form_is_one_that_github_takes(name: str) -> None:
    content = form(name)
    assert set(content) <= {"name", "description", "title", "labels", "body", "assignees", "projects", "type"}
    assert content["name"]
    assert content["description"]
    names = [item["id"] for item in content["body"]]
    assert len(names) == len(set(names))
    for item in content["body"]:
        assert item["type"] in ("checkboxes", "dropdown", "input", "markdown", "textarea")
        assert item["attributes"]["label"]
        if item["type"] == "dropdown":
            options = item["attributes"]["options"]
            assert all(isinstance(option, str) for option in options), "YAML has taken an option for something else"
            assert len(options) == len(set(options)) > 1
    assert any(item.get("validations", {}).get("required") for item in content["body"])


def test_a_bug_comes_with_what_it_is_found_by() -> None:
    asked = {item["id"]: item["attributes"] for item in form("bug.yml")["body"]}
    assert {"what", "app", "protocol", "server", "versions", "check"} <= set(asked)
    assert "`dualroute check" in asked["check"]["description"]
    assert "`dualroute --version`" in asked["versions"]["description"]
    assert {"WSGI alone", "ASGI alone"} <= set(asked["protocol"]["options"])


def test_what_is_no_issue_is_led_elsewhere() -> None:
    configuration = form("config.yml")
    assert configuration["blank_issues_enabled"] is False
    links = [item["url"] for item in configuration["contact_links"]]
    assert any(link.endswith("SECURITY.md#reporting") for link in links)
    assert [link for link in links if not leads_somewhere(link)] == []


def test_conduct_is_reported_where_security_is() -> None:
    conduct = (ROOT / "CODE_OF_CONDUCT.md").read_text(encoding="utf-8")
    assert "contributor-covenant.org/version/2/1/" in conduct
    relative = re.findall(r"\]\((?!https:)([^)]+)\)", conduct)
    assert relative
    assert [link for link in relative if not leads_somewhere(link)] == []
    assert f"{HOME}/issues" in conduct
