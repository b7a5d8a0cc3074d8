"""What can be found out about a user's callable: its colour, its name, the arguments it takes.

The colour is `def` or `async def` and decides how an adapter performs a call.  It is read off the callable itself,
through `functools.partial`, bound methods and instances with ``__call__``.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import Any

__all__ = ["arguments_for", "describe", "endpoint_name", "is_async_callable"]


def is_async_callable(function: Any) -> bool:
    """Tell whether calling `function` gives a coroutine.

    Seen through are functools.partial, bound methods, instances whose ``__call__`` is `async def`, and callables that
    were marked by `inspect.markcoroutinefunction` or its asgiref twin.
    """
    while isinstance(function, functools.partial):
        function = function.func
    if _is_coroutine_function(function):
        return True
    if isinstance(function, type) or inspect.isroutine(function):
        return False
    return _is_coroutine_function(getattr(function, "__call__", None))  # noqa: B004


def _is_coroutine_function(function: Any) -> bool:
    # `_is_coroutine` is the mark that asgiref and asyncio leave on Python 3.11; inspect looks for its successor.
    return inspect.iscoroutinefunction(function) or type(getattr(function, "_is_coroutine", None)) is object


def arguments_for(function: Callable[..., Any], path_params: dict[str, Any]) -> dict[str, Any]:
    """Return those of `path_params` that `function` takes by name, all of them where it takes ``**kwargs``."""
    parameters = inspect.signature(function).parameters
    if any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters.values()):
        return dict(path_params)
    return {name: value for name, value in path_params.items() if name in parameters}


def describe(function: Any) -> str:
    """Return the name by which a user knows a callable, with its module."""
    while isinstance(function, functools.partial):
        function = function.func
    name = getattr(function, "__qualname__", None)
    if name is None:
        function = type(function)
        name = function.__qualname__
    return f"{function.__module__}.{name}"


def endpoint_name(endpoint: Any) -> str:
    """Return the name that a route takes from its endpoint."""
    return describe(endpoint).rpartition(".")[2]
