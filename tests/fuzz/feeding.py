"""How hypothesis makes inputs for a target."""

from __future__ import annotations

from hypothesis import HealthCheck
from hypothesis import strategies as st

from tests.fuzz.registry import seeds_of, words_of

__all__ = ["TOLERATED", "inputs"]

TOLERATED = (HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.large_base_example)
"""What hypothesis would else complain of on a machine that is busy."""


def inputs(name: str) -> st.SearchStrategy[bytes]:
    """Return inputs for a target: any bytes, bytes and words together, and seeds of which a part was replaced."""
    pieces = st.binary(max_size=4)
    if words := words_of(name):
        pieces = st.sampled_from(words) | pieces
    together = st.lists(pieces, max_size=20).map(b"".join)
    ways = [together, st.binary(max_size=80)]
    if seeds := seeds_of(name):
        places = st.tuples(st.integers(0, 200), st.integers(0, 6))
        ways.append(st.builds(_replaced, st.sampled_from(seeds), places, st.lists(pieces, max_size=2).map(b"".join)))
    return st.one_of(ways)


def _replaced(seed: bytes, place: tuple[int, int], piece: bytes) -> bytes:
    at = place[0] % (len(seed) + 1)
    return seed[:at] + piece + seed[at + place[1] :]
