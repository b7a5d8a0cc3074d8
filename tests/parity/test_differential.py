"""Apps and requests that nobody wrote: both protocols answer, see, raise and log the same.

Each theme draws some hundreds of examples, always the same ones, so that a run fails by what was changed alone;
``DUALROUTE_TEST_FULL=1`` draws fifty thousand others in all.  An example on which
the protocols differ is shrunk by Hypothesis and written to ``.hypothesis/differing/``; put it into ``kept/`` with what
mends it, and it is asked ever after.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, note, settings
from hypothesis.database import DirectoryBasedExampleDatabase

from tests.parity.behaviours import BEHAVIOURS
from tests.parity.built import MIDDLEWARE
from tests.parity.differing import Loop, Refused, differences, keep, kept_examples
from tests.parity.tables import THEMES, examples

FOLDER = Path(".hypothesis")
FULL = os.environ.get("DUALROUTE_TEST_FULL") == "1"
EXAMPLES = 50_000 // len(THEMES) + 1 if FULL else 400


@pytest.fixture(scope="module")
def loop() -> Iterator[Loop]:
    loop = Loop()
    yield loop
    loop.close()


@pytest.mark.timeout(7200 if FULL else 600)
@pytest.mark.parametrize("theme", THEMES)
def test_whatever_is_drawn_is_the_same_by_both_protocols(theme: str, loop: Loop) -> None:
    refused = 0
    asked = 0

    @settings(
        max_examples=EXAMPLES,
        deadline=None,
        derandomize=not FULL,
        print_blob=True,
        database=DirectoryBasedExampleDatabase(FOLDER / "examples") if FULL else None,
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.large_base_example],
    )
    @given(examples(THEMES[theme]))
    def ask(example: dict[str, Any]) -> None:
        nonlocal refused, asked
        asked += 1
        try:
            told = differences(example, loop)
        except Refused:
            refused += 1
            return
        if told:
            # Hypothesis ends with the smallest example, so that is the one which stays.
            path = FOLDER / "differing" / f"{theme.replace(' ', '-')}.json"
            keep(example, path)
            note(f"the example is in {path.absolute()}")
            raise AssertionError("\n".join([f"the protocols differ; see {path.absolute()}", *told]))

    ask()
    assert refused < asked / 4, "too many tables are refused for the rest to show much"


def test_a_body_limit_inside_an_asgi_middleware(loop: Loop) -> None:
    example = {
        "app": {
            "routes": [{"kind": "route", "path": "/", "does": {"do": "json"}, "colour": "def"}],
            "middleware": [{"is": "asgi"}, {"is": "body limit", "size": 0}],
        },
        "requests": [
            {
                "method": "GET",
                "target": "/",
                "headers": [["host", "testserver"], ["content-length", "3"]],
                "body": "abc",
            }
        ],
    }
    assert differences(example, loop) == []


def test_all_that_can_be_drawn_is_drawn() -> None:
    met: set[str] = set()

    @settings(
        max_examples=300, derandomize=True, database=None, deadline=None, suppress_health_check=[HealthCheck.too_slow]
    )
    @given(examples(THEMES["answers"]), examples(THEMES["bodies"]), examples(THEMES["middleware"]))
    def draw(answers: dict[str, Any], bodies: dict[str, Any], middleware: dict[str, Any]) -> None:
        text = json.dumps([answers, bodies, middleware])
        met.update(name for name in BEHAVIOURS if f'"do": "{name}"' in text)
        met.update(name for name in MIDDLEWARE if f'"is": "{name}"' in text)

    draw()
    assert {*BEHAVIOURS, *MIDDLEWARE} - met == set()


@pytest.mark.parametrize("path", [pytest.param(path, id=path.stem) for path in kept_examples()])
def test_what_once_differed_is_the_same_now(path: Path, loop: Loop) -> None:
    assert differences(json.loads(path.read_text(encoding="utf-8")), loop) == []
