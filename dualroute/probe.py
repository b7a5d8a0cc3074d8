"""What is to be served: the target that the command line names, the app found in it, and its route table.

`dualroute.cli` never imports the user's code into its own process.  A short-lived one, the *probe*, imports it with
the path that the servers will have, and answers with the object's name, the route table (`dualroute.inspection`)
and what else is asked: the tables of a migration (`dualroute.migration`), where a request leads
(`dualroute.explaining`), or how the app answers by either protocol (`dualroute.cli.comparing`).  So nothing that the
code does at import (threads, prints, an endless loop, ``sys.exit``) can harm the supervision of the servers, and what
the probe could import, the servers can.

`parse_target` and `probe` are for the command's process, `answer` is what the probe runs.
"""

from __future__ import annotations

import importlib
import inspect
import json
import os
import sys
import tempfile
import traceback
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


def probe(
    family: Family,
    target: Target,
    *,
    legacy: bool = False,
    match: tuple[str, str] | None = None,
    check: dict[str, Any] | None = None,
) -> dict[str, Any]:
    """Have the target imported, and return its attribute, the directory of its code, and its routes.

    The routes are there as "routes" (a summary, in rows), "table" (see `dualroute.inspection`) and "flat" (those of
    them that answer something).  With `legacy` there is also "legacy": the heading, the rows and the total of each
    `MigrationTable`; with `match`, a method and a URL, "match": an `Explanation`; with `check`, options,
    "check": what came of asking the app by both protocols (see `dualroute.cli.comparing`).
    """
    # The command's own module is imported for what it imports from the standard library (socket, say): the servers have
    # loaded that too before they put the target's directory on the path.
    program = f"import dualroute.cli.serve; from dualroute.probe import answer; answer({legacy}, {match})"
    arguments = [target.text, target.module, target.attribute, target.directory, target.file]
    with tempfile.TemporaryDirectory() as folder:
        if check is not None:
            # Not on the command line, which is only so long.
            path = os.path.join(folder, "options.json")
            with open(path, "w", encoding="utf-8") as file:
                json.dump(check, file)
            program = f"{program[:-1]}, {path!r})"
        line, code = family.run([sys.executable, "-P", "-c", program, *arguments])
    if not line:
        from dualroute.supervisor import ending

        raise CLIError(f"{target.text}: importing it ended the process, which {ending(code)}")
    found: dict[str, Any] = json.loads(line)
    if "error" in found:
        raise CLIError(found["error"])
    found["directory"] = found["directory"] or target.directory
    return found


def answer(legacy: bool = False, match: tuple[str, str] | None = None, options: str = "") -> None:
    """Run the probe: the process's arguments are the target's, and the file descriptor that takes the answer.

    `options` is the file that holds those of a check.
    """
    text, module, attribute, directory, file, descriptor = sys.argv[1:]
    sys.path.insert(0, directory)
    answer: dict[str, Any]
    try:
        from dualroute.inspection import flattened, route_table, summary_rows

        found = _import(Target(text, module, attribute, directory, file))
        attribute, app = _find_app(found, text, attribute)
        top = getattr(sys.modules[module.partition(".")[0]], "__file__", None)
        table = route_table(app)
        answer = {"attribute": attribute, "directory": top and os.path.dirname(top), "table": table}
        answer |= {"routes": list(summary_rows(table)), "flat": list(flattened(table))}
        if legacy:
            from dualroute.migration import migration_tables

            answer["legacy"] = [(one.heading, one.rows, one.total) for one in migration_tables(app)]
        if match is not None:
            from dualroute.explaining import explain

            answer["match"] = explain(app, *match).as_values()
        if options:
            from dualroute.cli import comparing

            answer["check"] = comparing.check(app, table, json.loads(Path(options).read_text(encoding="utf-8")))
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
