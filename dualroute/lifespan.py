"""Lifespan: what an app has to have done before the first request and after the last.

A `DualRoute` or a `Router` may have a lifespan, a function that returns a context manager; a mounted ASGI app may have
a start-up and a shutdown of its own.  Both are run once for each process that serves: by the lifespan of an ASGI
server, and under WSGI in the worker, after the fork, before its first request.  The outer one comes first, and ends
last.

As with requests, nothing is done here: `Lifespan.startup` and `Lifespan.shutdown` yield calls, and the adapters perform
them.  What has to end in the task that it began in (a task group, say) does so, because an adapter performs both in one
task; and a plain context manager has one context for both.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Callable, Generator, Iterable, Iterator, Mapping
from contextvars import copy_context
from typing import TYPE_CHECKING, Any, TypeAlias

from dualroute.callables import describe
from dualroute.exchange import Call

if TYPE_CHECKING:
    from contextlib import AbstractAsyncContextManager, AbstractContextManager

    from dualroute.foreign import ForeignApp
    from dualroute.routing import Router

__all__ = ["AppLifespan", "GivenUp", "Lifespan", "LifespanFunction", "app_lifespan"]

logger: logging.Logger = logging.getLogger("dualroute")

_State: TypeAlias = Mapping[str, Any] | None
LifespanFunction: TypeAlias = Callable[
    [Any],
    "AbstractAsyncContextManager[_State] | AbstractContextManager[_State] | AsyncIterator[_State] | Iterator[_State]",
]
"""Called with the app; returns a context manager of either colour, or is a generator function of either colour."""


class GivenUp(Exception):
    """A part of a shutdown was waited for long enough.

    Args:
        seconds: how long that was.
    """

    def __init__(self, seconds: float) -> None:
        super().__init__(f"after {seconds:g} s")


class AppLifespan:
    """The lifespan of one app.

    Args:
        function: called with the app; returns the context manager.
        app: the app.
    """

    def __init__(self, function: Callable[[Any], Any], app: Any) -> None:
        self._function = function
        self._app = app
        self._warned = False

    def described(self) -> str:
        """Return how a log line or an error names it."""
        return f"the lifespan {describe(getattr(self._function, '__wrapped__', self._function))}"

    def enter(self, entered: list[_Entered]) -> Generator[Call, Any, dict[str, Any]]:
        """Enter the context manager, put the way out at the end of `entered`, and return what there is for requests.

        Raises what entering raises, and TypeError for what is no context manager, or yields no dict.
        """
        manager = self._function(self._app)
        if hasattr(manager, "__aenter__") and hasattr(manager, "__aexit__"):
            given = yield Call.known(manager.__aenter__, (), True)
            leave = Call.known(manager.__aexit__, (None, None, None), True)
        elif hasattr(manager, "__enter__") and hasattr(manager, "__exit__"):
            # The way in and the way out may be called in different threads, and a token is of use in one context only.
            context = copy_context()
            given = yield Call.known(context.run, (manager.__enter__,), False)
            leave = Call.known(context.run, (manager.__exit__, None, None, None), False)
        else:
            raise TypeError(
                f"{self.described()} returned a {type(manager).__name__}, which is no context manager; decorate it with"
                " @contextlib.asynccontextmanager (or @contextlib.contextmanager), and have it yield once"
            )
        entered.append((self.described(), leave))
        if given is None:
            return {}
        if not isinstance(given, Mapping) or not all(isinstance(name, str) for name in given):
            raise TypeError(
                f"{self.described()} yielded a {type(given).__name__}; it must yield a dict, whose keys become"
                " attributes of request.state, or nothing"
            )
        return dict(given)

    def warn_not_run(self) -> None:
        """Log, once, that requests are served which it was not run for."""
        if not self._warned:
            self._warned = True
            logger.warning(
                "%s is not running, and requests are served without it: it was mounted after the start-up, or the"
                " server goes on after the shutdown",
                self.described(),
            )


_Entered: TypeAlias = tuple[str, Call]
"""What was started, in words, and the call that ends it."""


class Lifespan:
    """The start-up and the shutdown of all that is in a router, its own included.

    Args:
        router: the outermost router.

    What is mounted after the start-up is not started.
    """

    def __init__(self, router: Router) -> None:
        self._router = router
        self._entered: list[_Entered] = []
        self._states: dict[AppLifespan, dict[str, Any]] = {}
        self.ending: bool = False
        """Whether the shutdown has begun; an adapter may bound the calls from then on."""
        self.failures: list[str] = []
        """What failed in the shutdown, in words."""
        self.handed_over: bool = False
        """Whether the server has `state`, and hands a copy of it over with each request."""

    @property
    def state(self) -> dict[str, Any]:
        """What the outermost app's own lifespan has left for every request."""
        own = self._own
        return {} if own is None else self._states.get(own, {})

    @property
    def _own(self) -> AppLifespan | None:
        return getattr(self._router, "lifespan", None)

    def needed(self) -> bool:
        """Tell whether there is anything to start."""
        return next(_lives(self._router, ()), None) is not None

    def has_own(self) -> bool:
        """Tell whether there is a lifespan among it that is not a mounted app's."""
        return any(isinstance(life, AppLifespan) for life in _lives(self._router, ()))

    def startup(self, grace: float) -> Generator[Call, Any, None]:
        """Start everything, the outer before the inner, and in declared order.

        Where one fails, those before it are shut down, and what it raised is raised.

        Args:
            grace: how many seconds each mounted app will have for its shutdown.
        """
        started: list[ForeignApp] = []
        try:
            for life in _lives(self._router, ()):
                if isinstance(life, AppLifespan):
                    # An app may be mounted several times, and lives once.
                    if life not in self._states:
                        self._states[life] = yield from life.enter(self._entered)
                    continue
                twin = next((other for other in started if other.app is life.app), None)
                if twin is not None:
                    life.share_life(twin)
                    continue
                yield Call(life.startup)
                started.append(life)
                self._entered.append((life.described(), Call(life.shutdown, grace)))
        except GeneratorExit:
            raise
        except BaseException:
            yield from self.shutdown()
            raise

    def shutdown(self) -> Generator[Call, Any, None]:
        """End everything that was started, the last one first.  What fails is logged, and the rest is ended.

        A cancellation is raised again when all have ended.
        """
        self.ending = True
        cancelled: BaseException | None = None
        while self._entered:
            name, leave = self._entered.pop()
            failure, traceback = "", None
            try:
                yield leave
            except GeneratorExit:
                raise
            except GivenUp as error:
                failure = f"the shutdown of {name} was given up {error}"
            except Exception as error:
                failure, traceback = f"the shutdown of {name} failed", error
            except BaseException as error:  # nobody waits any longer
                failure, cancelled = f"the shutdown of {name} was given up", error
            if failure:
                logger.error(failure, exc_info=traceback)
                self.failures.append(failure if traceback is None else f"{failure}: {told(traceback)}")
            del traceback
        self._states.clear()
        try:
            if cancelled is not None:
                raise cancelled
        finally:
            del cancelled  # no cycle with its traceback, in which this frame is

    @property
    def remaining(self) -> int:
        """How many things there are to end."""
        return len(self._entered)


def states_of(
    lives: Iterable[AppLifespan], lifespan: Lifespan | None, given: bool
) -> tuple[list[dict[str, Any]], bool]:
    """Return what lifespans have left for a request, the outermost first, and whether the server has handed that over.

    Args:
        lives: those around the request.
        lifespan: what is running for the server that it came from, or None.
        given: True where the server has handed over a state, which may be a copy of the outermost app's.
    """
    states = []
    handed_over = False
    for life in lives:
        state = None if lifespan is None else lifespan._states.get(life)
        if lifespan is None or state is None:
            life.warn_not_run()
        else:
            handed_over = handed_over or (given and lifespan.handed_over and life is lifespan._own)
            states.append(state)
    return states, handed_over


def lives_of(router: Router, trail: Iterable[Any]) -> tuple[AppLifespan, ...]:
    """Return the lifespans around what a trail of routes leads to, the outermost first."""
    routers = [router, *(getattr(step, "router", None) for step in trail)]
    found = (getattr(router, "lifespan", None) for router in routers)
    return tuple(life for life in found if life is not None)


def _lives(router: Router, around: tuple[Router, ...]) -> Iterator[AppLifespan | ForeignApp]:
    """Yield what has a lifespan: a router, then what is mounted in it, in mounts, hosts and the default."""
    if router in around:  # a router may be mounted inside itself
        return
    own: AppLifespan | None = getattr(router, "lifespan", None)
    if own is not None:
        yield own
    for route in [*router.routes, router.default_route]:
        foreign = getattr(route, "foreign", None)
        inner = getattr(route, "router", None)
        if foreign is not None and foreign.has_lifespan:
            yield foreign
        elif inner is not None:
            yield from _lives(inner, (*around, router))


def app_lifespan(
    function: LifespanFunction | None, app: Any, on_startup: Any = None, on_shutdown: Any = None
) -> AppLifespan | None:
    """Return the lifespan that an app was given, or None.

    Raises TypeError for what can't be one, and for the two lists of functions that it stands in for.
    """
    where = type(app).__name__
    for name, given in (("on_startup", on_startup), ("on_shutdown", on_shutdown)):
        if given is not None:
            raise TypeError(
                f"{where}({name}=…) is not taken: write a lifespan instead, a function decorated with"
                " @contextlib.asynccontextmanager that takes the app, does what comes before the first request, yields,"
                f" and does what comes after the last; then {where}(lifespan=…)"
            )
    if function is None:
        return None
    return AppLifespan(_checked(function, where), app)


def _checked(function: Any, where: str) -> Callable[[Any], Any]:
    import contextlib
    import inspect

    if not isinstance(function, type) and (hasattr(function, "__aenter__") or hasattr(function, "__enter__")):
        raise TypeError(
            f"{where}(lifespan=…) takes a function that makes a context manager, since an app may live several times;"
            f" not the context manager {describe(function)}"
        )
    if not callable(function):
        raise TypeError(f"{where}(lifespan=…) takes a function that makes a context manager, not {function!r}")
    if inspect.iscoroutinefunction(function):
        raise TypeError(
            f"{where}(lifespan=…): {describe(function)} is an async def that returns; have it yield once, between the"
            " start-up and the shutdown, and decorate it with @contextlib.asynccontextmanager"
        )
    try:
        inspect.signature(function).bind(None)
    except TypeError:
        raise TypeError(
            f"{where}(lifespan=…): {describe(function)}{inspect.signature(function)} must take the app, and nothing"
            " else"
        ) from None
    except ValueError:
        pass  # some callables written in C have no signature
    if inspect.isasyncgenfunction(function):
        return contextlib.asynccontextmanager(function)
    if inspect.isgeneratorfunction(function):
        return contextlib.contextmanager(function)
    return function  # type: ignore[no-any-return]  # as it can be called


def told(error: BaseException) -> str:
    """Return an exception in one line, its kind included: what a KeyError says by itself is a key."""
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text}" if text else type(error).__name__
