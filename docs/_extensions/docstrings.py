"""Docstrings as the reference shows them.

They are plain text with three habits: a single backtick is around a name, two are around what is quoted as it is, and a
paragraph that is indented is code.  What they name in annotations need not be there when a program runs, since much is
imported for type checkers alone; here it is imported all the same.
"""

from __future__ import annotations

import ast
import importlib
import inspect
import pkgutil
import re
import sys
from collections.abc import Iterable, Iterator
from typing import Any, Generic

from docutils import nodes
from sphinx.addnodes import pending_xref
from sphinx.application import Sphinx
from sphinx.domains.python import ObjectEntry
from sphinx.environment import BuildEnvironment
from sphinx.util.nodes import make_refnode

PACKAGES = ("dualroute", "dualroute_asgi", "dualroute_wsgi")

INSTANCES = {
    "app": "dualroute.DualRoute",
    "connection": "dualroute.requests.HTTPConnection",
    "request": "dualroute.Request",
    "response": "dualroute.Response",
    "websocket": "dualroute.WebSocket",
}
"""By the names that docstrings have for an object, what it is one of."""

INTERNAL = frozenset(
    (
        "AppLifespan",
        "AwaitableForm",
        "CountingList",
        "ForeignApp",
        "Found",
        "LoopThread",
        "Pace",
        "Parameter",
        "RouteList",
        "Servable",
        "T",
        "Target",
        "Template",
    )
)
"""What the annotations of public names mention, and no user needs to know more of."""

_NAME = re.compile(r"[A-Za-z_][\w.]*(?=\(|$)")


def setup(app: Sphinx) -> dict[str, Any]:
    """Connect all that to Sphinx."""
    app.add_role("name", name_role)
    app.connect("config-inited", lambda app, config: config.autodoc_type_aliases.update(import_for_annotations()))
    # Before napoleon, which sees to the sections.
    app.connect("autodoc-process-docstring", mark_code, priority=400)
    app.connect("autodoc-process-docstring", keep_colons, priority=400)
    app.connect("autodoc-process-signature", name_aliases)
    app.connect("object-description-transform", leave_out_object)
    app.connect("autodoc-process-bases", leave_out_internal_bases)
    app.connect("missing-reference", resolve)
    return {"parallel_read_safe": True, "parallel_write_safe": True}


# Names


def name_role(
    role: str, rawtext: str, text: str, lineno: int, inliner: Any, options: Any = None, content: Any = ()
) -> tuple[list[nodes.Node], list[nodes.system_message]]:
    """Return a name as a literal that leads to its entry, if there is one: see `resolve`."""
    context = inliner.document.settings.env.ref_context
    reference = pending_xref(
        rawtext,
        nodes.literal(rawtext, text, classes=["xref", "py"]),
        refdomain="",
        reftype="name",
        reftarget=text,
        refexplicit=False,
    )
    reference["py:module"] = context.get("py:module")
    reference["py:class"] = context.get("py:class")
    return [reference], []


def resolve(app: Sphinx, env: BuildEnvironment, node: pending_xref, contnode: Any) -> nodes.Node | None:
    """Lead a name of a docstring, or of an annotation, to its entry.

    What others have defined is shown as it is, and so are type variables, and names of a docstring without an entry,
    such as those of arguments.  A name of ours in an annotation has to have one: None makes that a warning.
    """
    target = node["reftarget"]
    if node["reftype"] == "name":
        entry = found(env, target, node["py:module"], node["py:class"])
        if entry is None:
            return contnode
        return make_refnode(app.builder, node["refdoc"], entry.docname, entry.node_id, contnode, target)
    if node.get("refdomain") != "py":
        return None
    package, _, name = target.partition(".")
    name = name.rpartition(".")[2]
    if package not in PACKAGES or name.startswith("_") or name in INTERNAL:
        return contnode
    entry = found(env, name, None, None)  # by the name that it is imported by, which need not be where it is defined
    return (
        None
        if entry is None
        else make_refnode(app.builder, node["refdoc"], entry.docname, entry.node_id, contnode, target)
    )


def found(env: BuildEnvironment, text: str, module: str | None, cls: str | None) -> ObjectEntry | None:
    """Return the entry that is meant by a name in the docstring of a class or a module."""
    named = _NAME.match(text)
    if named is None:
        return None
    objects = env.get_domain("py").objects
    name = named[0]
    first, _, rest = name.partition(".")
    candidates = [f"{module}.{cls}.{name}", f"{module}.{name}", name, f"dualroute.{name}"]
    if rest and first in INSTANCES:
        candidates.append(f"{INSTANCES[first]}.{rest}")
    for candidate in candidates:
        if candidate in objects:
            return objects[candidate]
    # The one entry of that name in whichever module: a class or a function, and no attribute.
    others = {
        (entry.docname, entry.node_id): entry
        for known, entry in objects.items()
        if known.endswith(f".{name}") and known.removesuffix(f".{name}") in sys.modules
    }
    return others.popitem()[1] if len(others) == 1 else None


# Annotations


def import_for_annotations() -> dict[str, str]:
    """Import what the modules import for type checkers alone; return the aliases among their names, to be kept."""
    aliases: dict[str, str] = {}
    for module in modules():
        tree = ast.parse(inspect.getsource(module))
        for statement in tree.body:
            if isinstance(statement, ast.If) and ast.unparse(statement.test) == "TYPE_CHECKING":
                imports = [node for node in statement.body if isinstance(node, ast.Import | ast.ImportFrom)]
                exec(compile(ast.Module(imports, []), str(module.__file__), "exec"), vars(module))
            elif (
                isinstance(statement, ast.AnnAssign)
                and isinstance(statement.target, ast.Name)
                and ast.unparse(statement.annotation) == "TypeAlias"
                and statement.target.id in module.__all__
                and statement.target.id != "Environ"  # a dict; it stands in a property, whose annotation has no hook
            ):
                aliases[statement.target.id] = f"~{module.__name__}.{statement.target.id}"
    return aliases


def modules() -> Iterator[Any]:
    """Import and yield every module of the three packages, but for what is run and not imported."""
    for package in PACKAGES:
        yield importlib.import_module(package)
        for module in pkgutil.walk_packages(sys.modules[package].__path__, f"{package}."):
            if not module.name.endswith("__main__"):
                yield importlib.import_module(module.name)


def name_aliases(
    app: Sphinx, what: str, name: str, obj: Any, options: Any, signature: str | None, returns: str | None
) -> tuple[str | None, str | None]:
    """Have an alias within an annotation by its name; autodoc has one by its name where it is all of an annotation."""

    def named(text: str | None) -> str | None:
        return text and re.sub(r"TypeAliasForwardRef\('([~\w.]+)'\)", r"\1", text)

    return named(signature), named(returns)


def leave_out_internal_bases(app: Sphinx, name: str, obj: Any, options: Any, bases: list[Any]) -> None:
    """Put in the place of base classes that no module lists among its names those that they have."""
    bases[:] = list(dict.fromkeys(_public(bases))) or [object]


def leave_out_object(app: Sphinx, domain: str, objtype: str, content: Any) -> None:
    """Leave out the line that names the bases of a class where it has none."""
    first = content[0] if len(content) else None
    if isinstance(first, nodes.paragraph) and first.astext() == "Bases: object":
        content.remove(first)


def _is_public(cls: type[Any]) -> bool:
    return cls.__name__ not in INTERNAL and cls.__name__ in sys.modules[cls.__module__].__all__


def _public(bases: Iterable[Any]) -> Iterator[Any]:
    for base in bases:
        cls = getattr(base, "__origin__", base)
        if cls.__module__.partition(".")[0] not in PACKAGES or _is_public(cls):
            if cls not in (object, Generic):
                yield base
        else:
            yield from _public(getattr(cls, "__orig_bases__", cls.__bases__))


# Text


def keep_colons(app: Sphinx, what: str, name: str, obj: Any, options: Any, lines: list[str]) -> None:
    """Keep what stands before a colon in the docstring of an attribute from being taken for its type."""
    if what in ("attribute", "data", "property"):
        lines[:0] = ["..", ""]  # an empty comment: napoleon looks for a type in the first line that is not blank


def mark_code(app: Sphinx, what: str, name: str, obj: Any, options: Any, lines: list[str]) -> None:
    """Mark the indented paragraphs of a docstring as code.

    The sections of the Google style are indented as well, but directly below their heading.
    """
    marked: list[str] = []
    for index, line in enumerate(lines):
        before = lines[index - 2] if index > 1 else ""
        if (
            line.startswith("    ")
            and not lines[index - 1].strip()
            and before.strip()
            and not before.startswith(" ")
            and not before.endswith("::")
        ):
            marked += [f".. code-block:: {_language(lines[index:])}", ""]
        marked.append(line)
    lines[:] = marked


def _language(lines: list[str]) -> str:
    code = inspect.cleandoc("\n".join(["", *_indented(lines)]))
    try:
        compile(code, "docstring", "exec", ast.PyCF_ONLY_AST)
    except SyntaxError:
        return "text"
    return "python"


def _indented(lines: list[str]) -> Iterator[str]:
    for line in lines:
        if line.strip() and not line.startswith("    "):
            return
        yield line
