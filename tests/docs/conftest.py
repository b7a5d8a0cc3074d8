"""What the tests of several pages start with: the files of their page in a folder, and a browser."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.docs.browser import Browser, chromium
from tests.docs.pages import Page


@pytest.fixture(scope="module")
def written(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder with the files of `PAGE`, the module's page."""
    folder = tmp_path_factory.mktemp("page")
    Page(request.module.PAGE).write(folder)
    return folder


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    with chromium(tmp_path_factory.mktemp("browser")) as browser:
        yield browser
