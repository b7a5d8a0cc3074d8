"""Every block of Python in every page compiles, and those that are no files run."""

from __future__ import annotations

import json
import tomllib

import pytest

from tests.docs.pages import Page, pages

PAGES = pages()


@pytest.mark.parametrize("name", PAGES)
def test_the_python_of_a_page_runs(name: str) -> None:
    page = Page(name)
    for block in page.of("python"):
        compile(block.text, f"{page.path}:{block.line}", "exec")
    page.run()


@pytest.mark.parametrize("name", PAGES)
def test_the_data_of_a_page_can_be_read(name: str) -> None:
    for block in Page(name).of("json", "toml"):
        (json.loads if block.language == "json" else tomllib.loads)(block.text)
