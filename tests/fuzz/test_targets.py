"""Each fuzz target, fed by hypothesis: what its words make together, its seeds changed a little, and any bytes."""

from __future__ import annotations

import pytest
from hypothesis import given, settings

from tests.fuzz.feeding import TOLERATED, inputs
from tests.fuzz.registry import KEPT, Target, seeds_of, words_of
from tests.fuzz.targets import TARGETS

ALL = pytest.mark.parametrize("target", TARGETS.values(), ids=str)


@ALL
def test_no_input_is_too_much(target: Target) -> None:
    for seed in seeds_of(target.name):
        target.check(seed)

    @settings(max_examples=80, deadline=None, database=None, suppress_health_check=TOLERATED)
    @given(inputs(target.name))
    def feed(data: bytes) -> None:
        target.check(data)

    feed()


@ALL
def test_what_once_failed_does_so_no_more(target: Target) -> None:
    for path in sorted(KEPT.glob(f"{target.name}-*")):
        target.check(path.read_bytes())


def test_what_was_kept_is_of_a_target() -> None:
    kept = [path.name.partition("-")[0] for path in KEPT.iterdir()]
    assert kept, "there is something to be tried again"
    assert set(kept) <= set(TARGETS)


@ALL
def test_a_target_has_words_and_seeds_to_begin_with(target: Target) -> None:
    assert words_of(target.name)
    assert seeds_of(target.name)
