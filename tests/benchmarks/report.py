"""What a run leaves behind: its tables as text, and charts of what they say."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

__all__ = ["Bars", "Lines", "Section"]


@dataclass(frozen=True)
class Bars:
    """One figure for each candidate.

    Args:
        name: the name of the file, without its suffix.
        title: what is shown.
        unit: of the figures, such as "µs" or "requests/s".
        values: the figures by candidate, in the order to show them in.
        more_is_better: True where a longer bar is a better one.
    """

    name: str
    title: str
    unit: str
    values: Mapping[str, float]
    more_is_better: bool = False


@dataclass(frozen=True)
class Lines:
    """How a figure of each candidate grows, on logarithmic axes.

    Args:
        name: the name of the file, without its suffix.
        title: what is shown.
        unit: of the figures.
        x_label: what the figures grow with.
        x: how much of that there is.
        values: by candidate, a figure for each of `x`; None where there is none.
    """

    name: str
    title: str
    unit: str
    x_label: str
    x: Sequence[float]
    values: Mapping[str, Sequence[float | None]]


@dataclass(frozen=True)
class Section:
    """One table of a run.

    Args:
        title: its heading.
        text: the table, as it is printed.
        charts: what to draw of it.
    """

    title: str
    text: str
    charts: Sequence[Bars | Lines] = field(default=())
