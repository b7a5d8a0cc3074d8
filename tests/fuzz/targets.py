"""All targets, by name."""

from __future__ import annotations

from tests.fuzz import of_answers, of_bodies, of_paths, of_requests, of_sessions
from tests.fuzz.registry import TARGETS

__all__ = ["TARGETS"]

_ = of_answers, of_bodies, of_paths, of_requests, of_sessions  # imported for the targets that they register
