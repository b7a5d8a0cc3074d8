"""Convertors: what a path parameter may look like, and what it becomes.

A convertor is named after the colon in ``{user_id:int}``.  Its `regex` says which text it takes, `convert` turns
that text into a value for the handler, and `to_string` turns a value back into text for a URL.
"""

from __future__ import annotations

import math
import re
import uuid
from typing import Any, ClassVar, Generic, TypeVar

__all__ = ["CONVERTOR_TYPES", "Convertor", "register_url_convertor"]

T = TypeVar("T")


class Convertor(Generic[T]):
    """The base of every convertor: subclass it, set `regex`, write both methods, then register an instance.

    `regex` may hold groups of its own.  A parameter whose regex can match a slash takes part of the path that
    spans several segments, as `path` does.
    """

    regex: ClassVar[str] = ""

    def convert(self, value: str) -> T:
        """Return the value for the text that `regex` matched.  Raise ValueError to say that it is no match."""
        raise NotImplementedError(f"{type(self).__name__} must define convert(value)")

    def to_string(self, value: T) -> str:
        """Return the text for `value` in a URL path, not percent-encoded.  Raise ValueError to refuse it."""
        raise NotImplementedError(f"{type(self).__name__} must define to_string(value)")


class StringConvertor(Convertor[str]):
    """``str``, the default: any text without a slash, at least one character."""

    regex = "[^/]+"

    def convert(self, value: str) -> str:
        return value

    def to_string(self, value: str) -> str:
        text = str(value)
        if not text:
            raise ValueError("must not be empty")
        if "/" in text:
            raise ValueError(f"must not contain a slash: {text!r}")
        return text


class PathConvertor(Convertor[str]):
    """``path``: the rest of the path, slashes included; it may be empty."""

    regex = ".*"

    def convert(self, value: str) -> str:
        return value

    def to_string(self, value: str) -> str:
        return str(value)


class IntegerConvertor(Convertor[int]):
    """``int``: decimal digits.  A number too long for int() (see sys.set_int_max_str_digits) is no match."""

    regex = "[0-9]+"

    def convert(self, value: str) -> int:
        return int(value)

    def to_string(self, value: int) -> str:
        number = int(value)
        if number < 0:
            raise ValueError(f"negative integers are not supported: {number}")
        return str(number)


class FloatConvertor(Convertor[float]):
    """``float``: digits, and optionally a point and more digits; not so many that it would be infinite."""

    regex = r"[0-9]+(\.[0-9]+)?"

    def convert(self, value: str) -> float:
        number = float(value)
        if math.isinf(number):
            raise ValueError(f"{value[:20]}… is more than a float can be")
        return number

    def to_string(self, value: float) -> str:
        number = float(value)
        if not math.isfinite(number) or number < 0:
            raise ValueError(f"must be a finite number that is not negative: {number}")
        from decimal import Decimal

        # repr() has as many digits as it takes to get the number back, but may have an exponent, which the regex does
        # not take.
        text = format(Decimal(repr(abs(number))), "f")
        return text.rstrip("0").rstrip(".") if "." in text else text


class UUIDConvertor(Convertor[uuid.UUID]):
    """``uuid``: with hyphens or without, in either case; written with them."""

    regex = "[0-9a-fA-F]{8}-?[0-9a-fA-F]{4}-?[0-9a-fA-F]{4}-?[0-9a-fA-F]{4}-?[0-9a-fA-F]{12}"

    def convert(self, value: str) -> uuid.UUID:
        return uuid.UUID(value)

    def to_string(self, value: uuid.UUID) -> str:
        return str(value if isinstance(value, uuid.UUID) else uuid.UUID(str(value)))


CONVERTOR_TYPES: dict[str, Convertor[Any]] = {
    "str": StringConvertor(),
    "path": PathConvertor(),
    "int": IntegerConvertor(),
    "float": FloatConvertor(),
    "uuid": UUIDConvertor(),
}
"""The registered convertors by name."""


def register_url_convertor(key: str, convertor: Convertor[Any]) -> None:
    """Make `convertor` available as ``{parameter:key}`` in the routes made from now on.

    Raises ValueError where `key` is no identifier or the convertor's regex does not compile, and TypeError where
    `convertor` is a class, or lacks one of `regex`, `convert` and `to_string`.
    """
    if not key.isidentifier():
        raise ValueError(f"a convertor's name must be an identifier, not {key!r}")
    if isinstance(convertor, type):
        raise TypeError(f"register an instance: register_url_convertor({key!r}, {convertor.__name__}())")
    if not (isinstance(getattr(convertor, "regex", None), str) and convertor.regex):
        raise TypeError(f"convertor {key!r} needs a regex that is not empty")
    for method in ("convert", "to_string"):
        if not callable(getattr(convertor, method, None)):
            raise TypeError(f"convertor {key!r} needs a method {method}(value)")
    try:
        re.compile(convertor.regex)
    except re.error as error:
        raise ValueError(f"the regex of convertor {key!r} does not compile: {convertor.regex!r}: {error}") from error
    CONVERTOR_TYPES[key] = convertor
