"""The error of a body that is no JSON, in a module of its own, since it takes `json` to make it."""

from __future__ import annotations

from json import JSONDecodeError
from typing import Any

from dualroute.exceptions import MalformedBody

__all__ = ["MalformedJSON"]


class MalformedJSON(JSONDecodeError, MalformedBody):
    """The body of a request does not parse as JSON: status 400.

    It is the JSONDecodeError that `json.loads` raised as well, for code that catches that.

    Args:
        error: what `json.loads` raised.
    """

    def __init__(self, error: JSONDecodeError) -> None:
        JSONDecodeError.__init__(self, error.msg, error.doc, error.pos)
        MalformedBody.__init__(self, f"Bad Request: the body is not valid JSON: {error}")

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (JSONDecodeError(self.msg, self.doc, self.pos),)
