from __future__ import annotations

import re
from http import HTTPStatus

import pytest
import starlette.status

from dualroute import status

RENAMED = {
    "HTTP_413_REQUEST_ENTITY_TOO_LARGE": "HTTP_413_CONTENT_TOO_LARGE",
    "HTTP_414_REQUEST_URI_TOO_LONG": "HTTP_414_URI_TOO_LONG",
    "HTTP_416_REQUESTED_RANGE_NOT_SATISFIABLE": "HTTP_416_RANGE_NOT_SATISFIABLE",
    "HTTP_422_UNPROCESSABLE_ENTITY": "HTTP_422_UNPROCESSABLE_CONTENT",
}


@pytest.mark.parametrize("name", status.__all__)
def test_a_name_says_its_number(name: str) -> None:
    number = re.fullmatch(r"(?:HTTP|WS)_([0-9]+)_[A-Z_]+", name)
    assert number is not None
    assert getattr(status, name) == int(number[1])


def test_every_status_that_python_knows_has_a_name() -> None:
    numbers = {getattr(status, name) for name in status.__all__}
    assert {one.value for one in HTTPStatus} <= numbers


def test_every_name_of_starlette_s_is_there() -> None:
    assert [name for name in dir(starlette.status) if re.match("(HTTP|WS)_", name) and not hasattr(status, name)] == []


def test_a_name_that_a_newer_rfc_replaced_is_the_same_number() -> None:
    for old, new in RENAMED.items():
        assert getattr(status, old) == getattr(status, new)
