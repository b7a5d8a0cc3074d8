"""Handlers of what rules lead to: they are given what the rule's pattern matched, by position or by name, as text.

A route's handler names the parameters it wants.  A rule's is given all that its pattern's groups matched, as Tornado
has it, and an endpoint class is made with the rule's `target_kwargs`.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Any

from dualroute.callables import describe
from dualroute.exceptions import HTTPException
from dualroute.exchange import Call
from dualroute.handlers import Handler
from dualroute.matchers import Groups
from dualroute.serving import Servable
from dualroute.written import writing

__all__ = ["Arguments", "RuleHandler", "SessionHandler", "expected_by", "is_function_endpoint", "require_call"]


class Arguments(tuple[Any, ...]):
    """What a rule has for its endpoint: the values by position, and with them those by name.

    `named` are the values by name, and `made_with` is what an endpoint class is made with.
    """

    named: Mapping[str, Any]
    made_with: Mapping[str, Any]

    @classmethod
    def of(cls, args: Iterable[Any], named: Mapping[str, Any], made_with: Mapping[str, Any]) -> Arguments:
        """Return arguments as text; bytes are decoded.  Raises HTTPException(400) for bytes that are no UTF-8."""
        self = cls([_text(value) for value in args])
        self.named = {name: _text(value) for name, value in named.items()}
        self.made_with = made_with
        return self


def _text(value: Any) -> Any:
    if not isinstance(value, bytes):
        return value
    try:
        return value.decode("utf-8")
    except UnicodeDecodeError:
        raise HTTPException(400, f"Bad Request: {value[:40]!r} in the path is not UTF-8") from None


class RuleHandler(Handler):
    """A handler that is given all that its rule's pattern matched, by position or by name: see `Arguments`.

    Args:
        function: the function, or the method of `owner`.
        groups: what it is going to be given, where that is known.
        params: not looked at.
        where: how an error message names the rule.
        inline: True for a `def` that never blocks.
        owner: the endpoint class.

    Raises TypeError where the function can't be called with that.
    """

    __slots__ = ()

    def __init__(
        self,
        function: Callable[..., Any],
        *,
        groups: Groups | None,
        params: Collection[str] = (),
        where: str = "",
        inline: bool = False,
        owner: type[Any] | None = None,
    ) -> None:
        if groups is not None:
            require_call(function, 2 if owner else 1, groups, where)
        super().__init__(_accepting_anything, inline=inline, owner=owner)
        plain = Call(function)
        self.function: Callable[..., Any] = function if owner else writing(function, plain.is_async)
        self.is_async: bool = plain.is_async
        self.inline: bool = inline and not plain.is_async

    def call(self, connection: Any) -> Call:
        function, args = self.function, connection.path_args
        if self.owner is not None:
            instance = self.owner(**args.made_with)
            instance.connection = connection
            function = functools.partial(function, instance, **args.named)
        elif args.named:
            function = functools.partial(function, **args.named)
        return Call.known(function, (connection, *args), self.is_async, self.inline, self)


class SessionHandler(Handler):
    """The handler of a WebSocketEndpoint class that is a rule's target."""

    __slots__ = ()

    def call(self, connection: Any) -> Call:
        assert self.owner is not None, "there is a class"
        instance = self.owner(**connection.path_args.made_with)
        instance.connection = connection
        return Call.known(functools.partial(self.function, instance), (connection,), True)


def _accepting_anything(*args: Any, **kwargs: Any) -> None:
    """Stand in for a function whose arguments were looked at before."""


def require_call(function: Callable[..., Any], before: int, groups: Groups, where: str) -> None:
    """Raise TypeError for a function that can't be called with `before` arguments and what `groups` give."""
    try:
        signature = inspect.signature(function)
    except (TypeError, ValueError):  # some callables written in C have none
        return
    try:
        signature.bind(*[None] * (before + groups.positions), **dict.fromkeys(groups.names))
    except TypeError as error:
        given = [f"{groups.positions} by position"] * bool(groups.positions) + [
            f"{name!r} by name" for name in groups.names
        ]
        raise TypeError(
            f"{where}: {describe(function)}{signature} can't be called with the request and what the rule's matcher"
            f" gives ({', '.join(given) or 'nothing'}): {error}"
        ) from None


def is_function_endpoint(app: Any, groups: Groups | None) -> bool:
    """Tell whether a callable is to be called with a request and what `groups` match.

    Its first parameter's name tells it from an app, as `foreign_app` has it, and so does the number of those after it.
    """
    if isinstance(app, Servable) or not callable(app):
        return False
    try:
        parameters = list(inspect.signature(app).parameters.values())
    except (TypeError, ValueError):
        return False
    taken = [item for item in parameters if item.kind in (item.POSITIONAL_ONLY, item.POSITIONAL_OR_KEYWORD)]
    if not taken or taken[0].name in ("environ", "env", "scope"):
        return False
    required = sum(item.default is item.empty for item in taken[1:])
    return (
        taken[0].name in ("request", "connection")
        or required == 0
        or (groups is not None and required == groups.positions)
    )


def expected_by(function: Any, groups: Groups | None) -> tuple[str, ...]:
    """Return the names of what `on_connect` is given: by name, and those of its parameters that are by position."""
    parameters = list(inspect.signature(function).parameters)[2:]
    if groups is None:
        return tuple(parameters)
    return (*parameters[: groups.positions], *groups.names)
