"""What the command prints, and how: tables, one-line messages, colour where there is a terminal to show it."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from typing import TextIO

__all__ = ["BOLD", "DIM", "GREEN", "RED", "aligned", "can_print", "put", "say", "styled"]

BOLD, DIM, RED, GREEN = "1", "2", "31", "32"


def aligned(head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """Return the lines of a table, or none where it has no rows."""
    table = [head, *rows] if rows else []
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in table]


def styled(text: str, style: str, stream: TextIO | None = None) -> str:
    """Return the text in a style where `stream` (stdout) is a terminal and the user has not set NO_COLOR."""
    shown: TextIO = stream or sys.stdout
    if os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb" or not shown.isatty():
        return text
    return f"\033[{style}m{text}\033[0m"


def can_print(text: str) -> bool:
    """Tell whether stdout's encoding has these characters."""
    try:
        text.encode(sys.stdout.encoding or "ascii")
    except (LookupError, UnicodeEncodeError):
        return False
    return True


def say(message: object) -> None:
    """Print one line to stderr."""
    put("dualroute: " + " ".join(str(message).split()), sys.stderr)


def put(text: str, stream: TextIO) -> None:
    """Print, if anybody is still there to read it."""
    try:
        print(text, file=stream, flush=True)
    except OSError:
        # The terminal was closed, or a pipe's reader left.  What is buffered would fail again when Python exits.
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
