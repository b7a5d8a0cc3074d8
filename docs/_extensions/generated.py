"""Directives for what autodoc does not read: `commandline`, off the command's parser, and `constants`, off a module."""

from __future__ import annotations

import argparse
import importlib
import re
from typing import Any

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

from dualroute.cli import parser


def setup(app: Sphinx) -> dict[str, Any]:
    """Tell Sphinx of the directives."""
    app.add_directive("commandline", CommandLine)
    app.add_directive("constants", Constants)
    return {"parallel_read_safe": True, "parallel_write_safe": True}


class Constants(SphinxDirective):
    """An entry for each name that a module lists, with its value."""

    required_arguments = 1

    def run(self) -> list[nodes.Node]:
        """Return the entries."""
        name = self.arguments[0]
        module = importlib.import_module(name)
        lines = [
            line
            for own in module.__all__
            for line in (f".. py:data:: {name}.{own}", f"   :value: {vars(module)[own]!r}", "")
        ]
        return self.parse_text_to_nodes("\n".join(lines))


class CommandLine(SphinxDirective):
    """One section for each command: its usage, what it does, its arguments and options."""

    def run(self) -> list[nodes.Node]:
        """Return the sections."""
        return [self._section(name, command) for name, command in commands(parser()).items()]

    def _section(self, name: str, command: argparse.ArgumentParser) -> nodes.section:
        section = nodes.section(ids=[f"dualroute-{name}"], names=[f"dualroute-{name}"])
        section += nodes.title("", "", nodes.literal("", f"dualroute {name}"))
        section += nodes.literal_block("", usage(command), language="text")
        for text in (command.description, command.epilog):
            self._add_text(section, text or "")
        options = nodes.definition_list()
        for action in command._actions:  # argparse has no other way to ask
            if not isinstance(action, argparse._HelpAction):
                options += nodes.definition_list_item(
                    "",
                    nodes.term("", "", nodes.literal("", invocation(action))),
                    nodes.definition("", nodes.paragraph("", "", *self._inline(explained(action, command)))),
                )
        section += options
        return section

    def _add_text(self, section: nodes.section, text: str) -> None:
        for paragraph in re.split(r"\n\s*\n", text.strip("\n")):
            if paragraph.startswith("  "):
                section += nodes.literal_block(
                    "", "\n".join(line[2:] for line in paragraph.split("\n")), language="text"
                )
            elif paragraph.strip():
                section += nodes.paragraph("", "", *self._inline(" ".join(paragraph.split())))

    def _inline(self, text: str) -> list[nodes.Node]:
        """Return text with its quotations, in backticks, as literals."""
        parts = re.split(r"`([^`]+)`", text)
        return [nodes.literal("", part) if at % 2 else nodes.Text(part) for at, part in enumerate(parts) if part]


def commands(top: argparse.ArgumentParser) -> dict[str, argparse.ArgumentParser]:
    """Return the commands of a parser by name."""
    (sub,) = [action for action in top._actions if isinstance(action, argparse._SubParsersAction)]
    return dict(sub.choices)


def usage(command: argparse.ArgumentParser) -> str:
    """Return the usage of a command as one that fits the width of a page."""
    formatter = argparse.HelpFormatter(command.prog, width=88)
    formatter.add_usage(command.usage, command._actions, command._mutually_exclusive_groups, prefix="")
    return formatter.format_help().strip()


def invocation(action: argparse.Action) -> str:
    """Return how an argument or an option is written."""
    if not action.option_strings:
        return str(action.metavar or action.dest)
    value = "" if action.nargs == 0 else f" {action.metavar or action.dest.upper()}"
    return ", ".join(f"{option}{value}" for option in action.option_strings)


def explained(action: argparse.Action, command: argparse.ArgumentParser) -> str:
    """Return the help of an argument, its values filled in."""
    return (action.help or "") % {**vars(action), "prog": command.prog}
