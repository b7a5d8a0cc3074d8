"""What is to be served: the target that the command line names, the app found in it, and its route table.

`dualroute.cli` never imports the user's code into its own process.  A short-lived one, the *probe*, imports it with
the path that the servers will have, and answers with the object's name, the route table and, where that is asked for,
the tables of a migration (`dualroute.migration`): so nothing that the code
does at import (threads, prints, an endless loop, ``sys.exit``) can harm the supervision of the servers, and what the
probe could import, the servers can.

`parse_target` and `probe` are for the command's process, `answer` is what the probe runs.
"""

from __future__ import annotations

import importlib
import inspect
import json
import os
import sys
import traceback
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dualroute.supervisor import Family

__all__ = ["CLIError", "Target", "answer", "parse_target", "probe"]

# A module of one of these names would be taken for the real one, or the real one for it.
TAKEN = {"asgiref", "dualroute", "dualroute_asgi", "dualroute_wsgi", "gunicorn", "uvicorn", "werkzeug"}


class CLIError(Exception):
    """Something that the user can put right, told in one line."""


@dataclass
class Target:
    """What is to be served, as the command line names it.

    Args:
        text: the file or module, as messages quote it.
        module: the module's name for import.
        attribute: the app's name in it, or "" to look for it.
        directory: what goes to the front of the import path: the file's, less the packages it is in, as for a script
            that Python runs; the working directory for a module.
        file: the file, where the target is one.
    """

    text: str
    module: str
    attribute: str
    directory: str
    file: str = ""


def parse_target(text: str) -> Target:
    """Return the target that the command line names.

    Raises CLIError where there is no such file, or it can't be imported by its name.
    """
    path, attribute = text, ""
    if not os.path.exists(text) and ":" in text:
        path, _, attribute = text.rpartition(":")
        if not attribute.isidentifier():
            raise CLIError(f"{text}: {attribute!r} is no attribute name; expected FILE.py:NAME or MODULE:NAME")
    is_file = path.endswith(".py") or os.sep in path or os.path.exists(path)
    if not is_file:
        if not path or not all(part.isidentifier() for part in path.split(".")):
            raise CLIError(f"{text}: neither a file nor MODULE:NAME")
        return Target(path, path, attribute, os.getcwd())
    if os.path.isdir(path):
        raise CLIError(f"{path}: is a directory; name the file in it that holds the app")
    if not os.path.exists(path):
        raise CLIError(f"{path}: no such file")
    if not path.endswith(".py"):
        raise CLIError(f"{path}: not a Python file, its name doesn't end in .py")
    return _file_target(path, attribute)


def _file_target(path: str, attribute: str) -> Target:
    """Find the name by which a file is imported: its stem, after the packages that it is in."""
    file = Path(path).absolute()
    directory = file.parent
    names = [] if file.stem == "__init__" else [file.stem]
    while (directory / "__init__.py").exists() and directory != directory.parent:
        names.insert(0, directory.name)
        directory = directory.parent
    for name in names:
        if not name.isidentifier():
            raise CLIError(f"{path}: can't be imported, as {name!r} is not a Python name; rename it")
    if names[0] in TAKEN or names[0] in sys.stdlib_module_names:
        raise CLIError(f"{path}: can't be imported, as {names[0]!r} is the name of a module it needs; rename it")
    if "," in str(directory):  # which gunicorn takes for a list
        raise CLIError(f"{path}: can't be imported from {directory}, which has a comma in its name")
    return Target(path, ".".join(names), attribute, str(directory), str(file))


# The probe: a process of its own.


def probe(family: Family, target: Target, *, legacy: bool = False) -> dict[str, Any]:
    """Have the target imported, and return its attribute, the directory of its code, and its routes.

    With `legacy` there is also "legacy": the heading, the rows and the total of each `MigrationTable`.
    """
    # The command's own module is imported for what it imports from the standard library (socket, say): the servers have
    # loaded that too before they put the target's directory on the path.
    program = f"import dualroute.cli; from dualroute.probe import answer; answer(legacy={legacy})"
    arguments = [target.text, target.module, target.attribute, target.directory, target.file]
    line, code = family.run([sys.executable, "-P", "-c", program, *arguments])
    if not line:
        from dualroute.supervisor import ending

        raise CLIError(f"{target.text}: importing it ended the process, which {ending(code)}")
    found: dict[str, Any] = json.loads(line)
    if "error" in found:
        raise CLIError(found["error"])
    found["directory"] = found["directory"] or target.directory
    return found


def answer(*, legacy: bool = False) -> None:
    """Run the probe: the arguments are the target's, and the file descriptor that takes the answer."""
    text, module, attribute, directory, file, descriptor = sys.argv[1:]
    sys.path.insert(0, directory)
    answer: dict[str, Any]
    try:
        found = _import(Target(text, module, attribute, directory, file))
        attribute, app = _find_app(found, text, attribute)
        top = getattr(sys.modules[module.partition(".")[0]], "__file__", None)
        answer = {"attribute": attribute, "directory": top and os.path.dirname(top), "routes": list(_rows(app))}
        if legacy:
            from dualroute.migration import migration_tables

            answer["legacy"] = [(table.heading, table.rows, table.total) for table in migration_tables(app)]
    except CLIError as error:
        answer = {"error": str(error)}
    with open(int(descriptor), "w", encoding="utf-8") as pipe:
        pipe.write(json.dumps(answer) + "\n")


def _import(target: Target) -> ModuleType:
    try:
        module = importlib.import_module(target.module)
    except BaseException as error:  # SystemExit among them
        name = getattr(error, "name", None)
        if isinstance(error, ModuleNotFoundError) and name and f"{target.module}.".startswith(f"{name}."):
            raise CLIError(f"{target.text}: no module named {name!r}, in {target.directory} or elsewhere") from None
        _print_traceback(error)
        what = traceback.format_exception_only(error)[-1].strip()
        raise CLIError(f"{target.text}: can't be imported: {what}") from None
    if target.file and not os.path.samefile(getattr(module, "__file__", None) or os.devnull, target.file):
        raise CLIError(
            f"{target.text}: importing {target.module!r} gives another module,"
            f" {getattr(module, '__file__', None) or 'a built-in one'}; rename the file"
        )
    return module


def _print_traceback(error: BaseException) -> None:
    """Print the traceback from the user's first frame on."""
    own = (__file__, importlib.__file__)
    printed = traceback.TracebackException.from_exception(error)
    frames = list(printed.stack)
    while frames and (frames[0].filename in own or frames[0].filename.startswith("<frozen importlib")):
        del frames[0]
    printed.stack = traceback.StackSummary.from_list(frames)
    print("".join(printed.format()), end="", file=sys.stderr, flush=True)


def _find_app(module: ModuleType, text: str, attribute: str) -> tuple[str, Any]:
    """Return the app of a module, and the attribute that holds it."""
    from dualroute import DualRoute, Router

    if attribute:
        if not hasattr(module, attribute):
            from difflib import get_close_matches

            near = get_close_matches(attribute, [name for name in vars(module) if not name.startswith("_")], 1)
            raise CLIError(f"{text}: has no {attribute!r}" + (f"; did you mean {near[0]!r}?" if near else ""))
        app = getattr(module, attribute)
        if not _may_be_app(app):
            raise CLIError(f"{text}: {attribute!r} is no app; expected a DualRoute, not {type(app).__name__}")
        return attribute, app
    for name in ("app", "application"):
        if _may_be_app(getattr(module, name, None)):
            return name, getattr(module, name)
    # One object may well have several names; the first one is as good as any.
    apps = {id(value): name for name, value in reversed(vars(module).items()) if isinstance(value, (DualRoute, Router))}
    if len(apps) > 1:
        names = " or ".join(f"{text}:{name}" for name in reversed(apps.values()))
        raise CLIError(f"{text}: holds several apps; say which one: {names}")
    if not apps:
        raise CLIError(f"{text}: holds no app: no attribute 'app' or 'application', and no DualRoute or Router object")
    name = next(iter(apps.values()))
    return name, getattr(module, name)


def _may_be_app(value: object) -> bool:
    """Tell whether a value can answer both protocols: an object with ``__call__``, or an endpoint class."""
    from dualroute import HTTPEndpoint

    if isinstance(value, type):
        return issubclass(value, HTTPEndpoint)
    return callable(value) and not inspect.isroutine(value)


# The route table.


def _rows(app: Any, around: tuple[Any, ...] = ()) -> Iterator[tuple[str, str, str, str]]:
    """Yield the path, methods, name and endpoint of each route, and of the default after them, as the path ``*``.

    What is inside a mount, a host or a default follows it, indented.
    """
    from dualroute import Host, Mount, Router, WebSocketRoute
    from dualroute.callables import describe
    from dualroute.routing import RoutesItself, router_of

    router = router_of(app) if isinstance(app, RoutesItself) else getattr(app, "router", app)
    if router in around:  # mounted inside itself
        return
    indent = "  " * len(around)
    for route in getattr(router, "routes", ()):
        target = getattr(route, "app", None) or getattr(route, "endpoint", route)
        if (foreign := getattr(route, "foreign", None)) is not None:
            target = foreign.app
        path = route.host if isinstance(route, Host) else getattr(route, "path", repr(route))
        if isinstance(route, Host):
            methods = "host"
        elif isinstance(route, Mount):
            path, methods = f"{path}/*", "mount"
        elif isinstance(route, WebSocketRoute):
            methods = "websocket (ASGI only)"
        elif route.rule is not None:
            methods = "rule"
        else:
            methods = ", ".join(sorted(getattr(route, "methods", None) or ()))
        endpoint = "" if isinstance(target, Router) else describe(target)
        yield indent + path, methods, getattr(route.rule or route, "name", None) or "", endpoint
        if isinstance(route, (Mount, Host)) or (route.rule is not None and getattr(route, "router", None) is not None):
            yield from _rows(route, (*around, router))
    if isinstance(router, Router) and router.default is not None:
        default = router.default if router.foreign_default is None else router.foreign_default.app
        yield f"{indent}*", "", "", "" if isinstance(default, Router) else describe(default)
        yield from _rows(router_of(router.default), (*around, router))
