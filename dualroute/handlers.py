"""Handlers: a user's callable with all that a request needs to know of it, found out once, when a route is made."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Collection
from types import FunctionType
from typing import Any

from dualroute.callables import describe, is_async_callable
from dualroute.exchange import Call
from dualroute.responses import Response

__all__ = ["Handler"]

_STARRED = inspect.CO_VARARGS | inspect.CO_VARKEYWORDS


class Handler:
    """A callable that answers a connection.

    Args:
        function: called with the connection, and with path parameters by name where its signature asks for them.
        params: the names of the path parameters that its own route has.
        where: how an error message names the route, such as ``Route('/users/{id}')``.
        inline: True for a `def` that never blocks, and so may run on the event loop (``sync_to_thread=False``).
        owner: the endpoint class whose method `function` is; each request then gets an instance of its own.
        skip: how many positional arguments come before the path parameters.

    Raises TypeError where `function` can't be called with the connection and those parameters.
    """

    wanted: tuple[str, ...]
    """The names of the parameters that it takes besides the connection."""
    everything: bool
    """True where it takes every path parameter (``**kwargs``)."""
    passes: int
    """For an adapter that has threads: see `dualroute_asgi.threads.Pace`."""
    completes: bool
    """True for one that completes its response itself: see `complete_in_place`."""

    invoke: Callable[[Any], Any]
    """Calls `function` with a connection, and with all else that it takes."""

    __slots__ = ("completes", "everything", "function", "inline", "invoke", "is_async", "owner", "passes", "wanted")

    def __init__(
        self,
        function: Callable[..., Any],
        *,
        params: Collection[str] = (),
        where: str = "",
        inline: bool = False,
        owner: type[Any] | None = None,
        skip: int | None = None,
    ) -> None:
        self.function: Callable[..., Any] = function
        self.is_async: bool = is_async_callable(function)
        self.inline: bool = inline and not self.is_async
        self.owner: type[Any] | None = owner
        self.passes = 0
        self.completes = False
        self.wanted, self.everything = _binding(function, params, where, skip=skip or (2 if owner else 1))
        self.invoke = self._invoker()

    def __repr__(self) -> str:
        return f"<Handler {describe(self.function)}>"

    def call(self, connection: Any) -> Call:
        """Return the call that answers `connection`."""
        return Call.known(self.invoke, (connection,), self.is_async, self.inline, self)

    def _invoker(self) -> Callable[[Any], Any]:
        """Return what calls the function with a connection: the function itself, where it takes nothing else."""
        function, owner = self.function, self.owner
        takes = self._arguments()
        if owner is None:
            if takes is None:
                return function

            def invoke(connection: Any) -> Any:
                return function(connection, **takes(connection.path_params))

            return invoke
        make = owner.maker()

        def invoke_method(connection: Any) -> Any:
            instance = make()
            instance.connection = connection
            if takes is None:
                return function(instance, connection)
            return function(instance, connection, **takes(connection.path_params))

        return invoke_method

    def _arguments(self) -> Callable[[dict[str, Any]], dict[str, Any]] | None:
        """Return what picks those of a path's parameters that the function takes; None where it takes none."""
        if self.everything:
            return dict
        if not self.wanted:
            return None
        wanted = frozenset(self.wanted)

        def pick(params: dict[str, Any]) -> dict[str, Any]:
            if params.keys() == wanted:
                return params
            return {name: params[name] for name in wanted if name in params}

        return pick

    def complete_in_place(self) -> None:
        """Have a `def` complete the response that it returns in the thread that it has: it returns files, for instance.

        It is called when a handler is first seen to do so, so that all the others have nothing to do with it.
        """
        if self.completes or self.is_async or self.inline:
            return
        self.completes = True
        inner = self.function
        place = 1 if self.owner is not None else 0  # of the connection, behind the instance

        @functools.wraps(inner)
        def function(*args: Any, **params: Any) -> Any:
            response = inner(*args, **params)
            if isinstance(response, Response) and response.incomplete:
                call = response.completion(args[place])
                return call.function(*call.args)
            return response

        self.function = function
        self.invoke = self._invoker()


def _binding(
    function: Callable[..., Any], params: Collection[str], where: str, *, skip: int
) -> tuple[tuple[str, ...], bool]:
    """Return the path parameters to pass by name, and whether the callable takes every one (``**kwargs``)."""
    if type(function) is FunctionType and not function.__dict__:
        # Most are functions that take the connection and no more, or just the path's parameters besides: those are told
        # by their code, in a twentieth of the time that a signature takes to make.
        code = function.__code__
        if not code.co_flags & _STARRED and not code.co_posonlyargcount and not code.co_kwonlyargcount:
            names = code.co_varnames[skip : code.co_argcount]
            if code.co_argcount >= skip and (not names or names == tuple(params)):
                return names, False
    try:
        signature = inspect.signature(function)
    except (TypeError, ValueError):  # some callables written in C have none: they get the connection alone
        return (), False
    positional, named, everything, positionals = 0, [], False, False
    required: list[str] = []
    for parameter in signature.parameters.values():
        if parameter.kind is parameter.VAR_POSITIONAL:
            positionals = True
        elif parameter.kind is parameter.VAR_KEYWORD:
            everything = True
        elif parameter.kind is not parameter.KEYWORD_ONLY and positional < skip:
            positional += 1
        elif parameter.kind is parameter.POSITIONAL_ONLY:
            if parameter.default is parameter.empty:
                raise TypeError(
                    f"{where}: {describe(function)}{signature} takes {parameter.name!r} by position only;"
                    " path parameters are passed by name"
                )
        else:
            named.append(parameter.name)
            if parameter.default is parameter.empty:
                required.append(parameter.name)
    name = describe(function)
    if positional < skip and not positionals:
        raise TypeError(f"{where}: {name}{signature} must take the connection as its first argument")
    missing = [parameter for parameter in required if parameter not in params]
    if missing:
        raise TypeError(
            f"{where}: {name}{signature} wants {_listed(missing)}, which the path does not have"
            f" ({_listed(params) if params else 'it has no parameters'}); the parameters of an enclosing Mount or"
            " Host are in request.path_params"
        )
    taken = [parameter for parameter in named if parameter in params]
    if taken and not everything and len(taken) < len(params):
        left = [parameter for parameter in params if parameter not in taken]
        raise TypeError(
            f"{where}: {name}{signature} takes {_listed(taken)} but not {_listed(left)};"
            " take every parameter of the path, or none and use request.path_params"
        )
    return tuple(named), everything


def _listed(names: Collection[str]) -> str:
    return ", ".join(repr(name) for name in names)
