"""Configuration: settings from the process's environment and from a ``.env`` file, converted and checked when read.

    config = Config(".env")
    DEBUG = config("DEBUG", cast=bool, default=False)
    DATABASE_PASSWORD = config("DATABASE_PASSWORD", cast=Secret)

A value in the environment comes before one in the file, and that before the default.
"""

from __future__ import annotations

import os
import re
import warnings
from collections.abc import Callable, Iterator, Mapping, MutableMapping
from os import PathLike
from typing import Any, Final, TypeVar, overload

__all__ = ["Config", "Environ", "EnvironError", "environ", "parse_env_file", "undefined"]

_T = TypeVar("_T")

_TRUE = ("true", "1", "yes", "on")
_FALSE = ("false", "0", "no", "off")

# A name as shells have it, and also with the dots and hyphens that some tools write.
_LINE = re.compile(r"\s*(?:export\s+)?([A-Za-z_][A-Za-z0-9_.-]*)\s*=[^\S\n]*", re.ASCII)
_SINGLE = re.compile(r"'([^']*)'")
_DOUBLE = re.compile(r'"((?:[^"\\]|\\.)*)"', re.DOTALL)
_ESCAPE = re.compile(r"\\(.)", re.DOTALL)
_ESCAPED = {"n": "\n", "r": "\r", "t": "\t", '"': '"', "\\": "\\", "$": "$"}
_AFTER_QUOTES = re.compile(r"[^\S\n]*(#[^\n]*)?(?=\n|\Z)")


class undefined:
    """Stands for a default that was not given, since None is a value like any other."""


class EnvironError(Exception):
    """A variable of an `Environ` was changed after it had been read."""


class Environ(MutableMapping[str, str]):
    """Environment variables that can't be changed once they were read, so that nobody goes on with an old value.

    Args:
        environ: the mapping that holds them; the process's own if there is none.
    """

    def __init__(self, environ: MutableMapping[str, str] = os.environ) -> None:
        self._environ = environ
        self._read: set[str] = set()

    def __getitem__(self, key: str) -> str:
        self._read.add(key)
        return self._environ[key]

    def __setitem__(self, key: str, value: str) -> None:
        self._refuse_if_read(key, "set")
        self._environ[key] = value

    def __delitem__(self, key: str) -> None:
        self._refuse_if_read(key, "delete")
        del self._environ[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self._environ)

    def __len__(self) -> int:
        return len(self._environ)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} of {len(self)} variables>"  # values may be secret

    def _refuse_if_read(self, key: str, verb: str) -> None:
        if key in self._read:
            raise EnvironError(
                f"can't {verb} environ[{key!r}]: it has been read already, and what was read would not change;"
                " do it before the configuration is imported"
            )


environ: Final[Environ] = Environ()
"""The environment of the process."""


class Config:
    """Settings by name.

    Args:
        env_file: a ``.env`` file.  A warning says so where there is none.
        environ: where the environment variables are.
        env_prefix: what the names of all settings start with, there and in the file.
        encoding: that of the file.

    Raises ValueError for a line of the file that can't be read, quoting its number.
    """

    def __init__(
        self,
        env_file: str | PathLike[str] | None = None,
        environ: Mapping[str, str] = environ,
        env_prefix: str = "",
        encoding: str = "utf-8",
    ) -> None:
        self.environ: Mapping[str, str] = environ
        self.env_prefix: str = env_prefix
        self.file_values: dict[str, str] = {}
        if env_file is not None:
            try:
                with open(env_file, encoding=encoding) as file:
                    text = file.read()
            except FileNotFoundError:
                warnings.warn(f"config file {os.fspath(env_file)!r} was not found", stacklevel=2)
            else:
                self.file_values = parse_env_file(text, os.fspath(env_file))

    @overload
    def __call__(self, key: str, *, default: None) -> str | None: ...

    @overload
    def __call__(self, key: str, cast: type[_T], default: _T = ...) -> _T: ...

    @overload
    def __call__(self, key: str, cast: type[str] = ..., default: str = ...) -> str: ...

    @overload
    def __call__(self, key: str, cast: Callable[[Any], _T], default: Any = ...) -> _T: ...

    @overload
    def __call__(self, key: str, cast: type[str] = ..., default: _T = ...) -> _T | str: ...

    def __call__(self, key: str, cast: Callable[[Any], Any] | None = None, default: Any = undefined) -> Any:
        """Return a setting: see `get`."""
        return self.get(key, cast, default)

    def get(self, key: str, cast: Callable[[Any], Any] | None = None, default: Any = undefined) -> Any:
        """Return a setting.

        Args:
            key: its name, less the prefix.
            cast: what to convert it with: ``bool`` takes true, 1, yes, on, false, 0, no and off in any case; any other
                callable is called with the text.
            default: what stands in where it is not set.  It is converted too, unless it is None.

        Raises KeyError where it is not set and there is no default, and ValueError where it can't be converted.  The
        message of the latter holds the text, unless it is to be a Secret.
        """
        name = self.env_prefix + key
        for values in (self.environ, self.file_values):
            if name in values:
                return _cast(name, values[name], cast)
        if default is undefined:
            raise KeyError(f"setting {name!r} is missing, and has no default")
        return _cast(name, default, cast)


def _cast(name: str, value: Any, cast: Callable[[Any], Any] | None) -> Any:
    if cast is None or value is None:
        return value
    if cast is bool and isinstance(value, str):
        word = value.strip().lower()
        if word in _TRUE or word in _FALSE:
            return word in _TRUE
        raise ValueError(
            f"setting {name!r} is {value!r}, which is no bool; write one of {', '.join((*_TRUE, *_FALSE))}"
        )
    try:
        return cast(value)
    except (TypeError, ValueError) as error:
        what = getattr(cast, "__name__", None) or type(cast).__name__
        from dualroute.datastructures import Secret

        if isinstance(cast, type) and issubclass(cast, Secret):
            raise ValueError(f"setting {name!r} is no valid {what}") from None
        raise ValueError(f"setting {name!r} is {value!r}, which is no valid {what}: {error}") from error


def parse_env_file(text: str, name: str = ".env") -> dict[str, str]:
    r"""Return the variables that the text of a ``.env`` file sets.

    A line is ``NAME=value``, with or without ``export`` before it.  Empty lines count for nothing, nor does what
    follows a ``#`` at the start of a line or after a space.  In single quotes everything stands for itself; in double
    quotes ``\n``, ``\r``, ``\t``, ``\"``, ``\\`` and ``\$`` are escapes.  Either may span lines.  Of a name that
    repeats, the last one counts.  Nothing is expanded.

    Args:
        text: what the file holds.
        name: its name, for errors.

    Raises ValueError for a line that is none of this, with its number; the line may hold a secret, so it is not shown.
    """
    values: dict[str, str] = {}
    text = text.removeprefix("\ufeff").replace("\r\n", "\n")
    position = 0
    while position < len(text):
        end = text.find("\n", position)
        end = len(text) if end < 0 else end
        line = text[position:end].strip()
        if not line or line.startswith("#"):
            position = end + 1
            continue
        number = text.count("\n", 0, position) + 1
        start = _LINE.match(text, position, end)
        if start is None:
            raise ValueError(f"{name}, line {number}: expected NAME=value")
        value, position = _value(text, start.end(), end, f"{name}, line {number}")
        values[start[1]] = value
    return values


def _value(text: str, start: int, end: int, where: str) -> tuple[str, int]:
    """Return the value that starts at `start`, in a line that ends at `end`, and where the next line starts."""
    quote = text[start : start + 1]
    if quote not in ("'", '"') or not quote:
        bare = "" if text[start:end].startswith("#") else re.split(r"\s#", text[start:end], maxsplit=1)[0]
        return bare.strip(), end + 1
    quoted = (_SINGLE if quote == "'" else _DOUBLE).match(text, start)
    if quoted is None:
        raise ValueError(f"{where}: the quote {quote} is not closed")
    rest = _AFTER_QUOTES.match(text, quoted.end())
    if rest is None:
        raise ValueError(f"{where}: something follows the closing quote {quote}")
    value = quoted[1] if quote == "'" else _ESCAPE.sub(lambda found: _ESCAPED.get(found[1], found[0]), quoted[1])
    return value, rest.end() + 1
