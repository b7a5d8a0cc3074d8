"""What a run leaves behind: its tables as text, and charts of what they say.

The charts are drawn with matplotlib, which is loaded when there is something to draw.  The same figures make the same
files, byte by byte.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.benchmarks.harness import environment

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["FIGURES", "Bars", "Lines", "Section", "draw", "slug", "write"]

FIGURES = "figures.md"
"""The file with all tables, and with links to the charts beside it."""

_OURS = "#1f6fbf"
_OTHERS = "#9a9fa6"
_TEXT = "#24292f"
_STYLE: Any = {
    "axes.edgecolor": "#c4c8cc",
    "axes.labelcolor": _TEXT,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.titlesize": 12,
    "axes.titleweight": "bold",
    "figure.facecolor": "white",  # a chart is read on dark pages too
    "font.family": "sans-serif",
    "font.size": 10,
    "svg.fonttype": "none",
    "svg.hashsalt": "dualroute",
    "text.color": _TEXT,
    "xtick.color": _TEXT,
    "ytick.color": _TEXT,
}
_WIDTH = 8.0


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


def slug(title: str) -> str:
    """Return a title as the name of a file."""
    return re.sub("[^a-z0-9]+", "-", title.lower()).strip("-")


def write(sections: Iterable[Section], folder: Path) -> None:
    """Write `FIGURES` and the charts, as SVG, to a folder, which is made where there is none.

    Raises ValueError for two charts of one name.
    """
    folder.mkdir(parents=True, exist_ok=True)
    names: set[str] = set()
    lines = ["# Figures", "", f"Measured with {environment()}."]
    for section in sections:
        lines += ["", f"## {section.title}", "", "```text", section.text, "```"]
        for chart in section.charts:
            if chart.name in names:
                raise ValueError(f"two charts have the name {chart.name!r}")
            names.add(chart.name)
            save(chart, folder / f"{chart.name}.svg")
            lines += ["", f"![{chart.title}]({chart.name}.svg)"]
    (folder / FIGURES).write_text("\n".join(lines) + "\n", encoding="utf-8")


def save(chart: Bars | Lines, path: Path) -> None:
    """Draw a chart to a file, in the format that its suffix says."""
    import matplotlib as mpl

    with mpl.rc_context(_STYLE):
        metadata = {"Creator": None, "Date": None} if path.suffix == ".svg" else None
        draw(chart).savefig(path, metadata=metadata)


def draw(chart: Bars | Lines) -> Figure:
    """Return a chart as a figure."""
    return _bars(chart) if isinstance(chart, Bars) else _lines(chart)


def is_ours(name: str) -> bool:
    """Tell whether a candidate is one of ours, by its name."""
    return name.lower().startswith("dualroute") or name in ("ASGIApp", "WSGIApp")


def _bars(chart: Bars) -> Figure:
    from matplotlib.figure import Figure

    # In inches from the edges: what is above and below the bars is as high whatever their number.
    height = 0.3 * len(chart.values) + 1.1
    figure = Figure(figsize=(_WIDTH, height))
    label = max((len(name) * (0.096 if is_ours(name) else 0.08) for name in chart.values), default=0) + 0.25
    axes = figure.add_axes((label / _WIDTH, 0.62 / height, 1 - (label + 0.3) / _WIDTH, 1 - 1.08 / height))
    names = list(chart.values)
    figures = list(chart.values.values())
    # Where no bar has our name, all of them are about ours.
    marked = [is_ours(name) for name in names] if any(map(is_ours, names)) else [True] * len(names)
    bars = axes.barh(names, figures, color=[_OURS if ours else _OTHERS for ours in marked], height=0.72)
    axes.bar_label(bars, [_written(value) for value in figures], padding=4)
    axes.invert_yaxis()
    axes.set_xlim(0, max(figures, default=1) * 1.12 or 1)
    axes.set_ylim(len(names) - 0.4, -0.6)
    axes.tick_params(axis="y", length=0)
    for tick, name in zip(axes.get_yticklabels(), names, strict=True):
        if is_ours(name):
            tick.set_fontweight("bold")
    axes.set_xlabel(f"{chart.unit} ({'more' if chart.more_is_better else 'less'} is better)")
    figure.text(0.15 / _WIDTH, 1 - 0.27 / height, chart.title, fontsize=12, fontweight="bold", va="center")
    return figure


_DASHES = ("-", "--", ":", "-.")
_MARKERS = ("o", "s", "^", "D", "v", "P", "X", "<", ">", "*")
_GREYS = ("#4d5359", "#7a8087", "#9a9fa6")


def _lines(chart: Lines) -> Figure:
    from matplotlib.figure import Figure

    height = 4.8
    figure = Figure(figsize=(_WIDTH, height))
    label = max(map(len, chart.values), default=0) * 0.08 + 0.45
    axes = figure.add_axes((0.85 / _WIDTH, 0.62 / height, 1 - (0.85 + label) / _WIDTH, 1 - 1.15 / height))
    axes.set_xscale("log")
    axes.set_yscale("log")
    ends: list[tuple[float, float, str]] = []
    drawn = {True: 0, False: 0}
    for name, values in chart.values.items():
        ours = is_ours(name)
        index = drawn[ours]
        drawn[ours] += 1
        points = [(x, value) for x, value in zip(chart.x, values, strict=True) if value is not None]
        if not points:
            continue
        colour = _OURS if ours else _GREYS[index % len(_GREYS)]
        axes.plot(
            [x for x, _ in points],
            [value for _, value in points],
            color=colour,
            linestyle=_DASHES[index % len(_DASHES)],
            linewidth=2.2 if ours else 1.4,
            marker=_MARKERS[index % len(_MARKERS)],
            markersize=5,
            zorder=3 if ours else 2,
        )
        ends.append((*points[-1], name))
    figures = [value for values in chart.values.values() for value in values if value is not None]
    # From one power of ten to another, so that there are two at least to read off.
    bottom, top = math.floor(math.log10(min(figures))), math.ceil(math.log10(max(figures)))
    powers = [10.0**power for power in range(bottom, max(top, bottom + 1) + 1)]
    axes.set_ylim(powers[0], powers[-1])
    axes.set_yticks(powers, [f"{power:,.10g}" for power in powers])
    axes.set_xticks(list(chart.x), [f"{x:,.10g}" for x in chart.x])
    axes.minorticks_off()
    axes.grid(color="#e4e6e9", linewidth=0.8)
    axes.set_xlabel(chart.x_label)
    axes.set_ylabel(chart.unit)
    _label_ends(axes, ends)
    figure.text(0.15 / _WIDTH, 1 - 0.27 / height, chart.title, fontsize=12, fontweight="bold", va="center")
    return figure


def _label_ends(axes: Any, ends: list[tuple[float, float, str]]) -> None:
    """Name the lines to the right of their ends, as far apart from one another as the names need."""
    low, high = (math.log(limit) for limit in axes.get_ylim())
    ends = sorted(ends, key=lambda end: end[1])
    places = _apart([(math.log(value) - low) / (high - low) for _, value, _ in ends], room=0.062)
    for (x, value, name), place in zip(ends, places, strict=True):
        axes.annotate(
            name,
            (x, value),
            xytext=(1.04, place),
            textcoords="axes fraction",
            arrowprops={"arrowstyle": "-", "color": _OTHERS, "linewidth": 0.6, "shrinkA": 1, "shrinkB": 4},
            color=_OURS if is_ours(name) else _TEXT,
            fontweight="bold" if is_ours(name) else "normal",
            va="center",
        )


def _apart(places: list[float], room: float) -> list[float]:
    """Return places in ascending order, pushed apart until there is so much room between any two."""
    for _ in range(1000):
        moved = False
        for index in range(len(places) - 1):
            lacking = room - (places[index + 1] - places[index])
            if lacking > 1e-6:
                places[index] -= lacking / 2
                places[index + 1] += lacking / 2
                moved = True
        if not moved:
            break
    return places


def _written(value: float) -> str:
    """Return a figure with three digits that say something, or all of those before the point."""
    if value >= 100:
        return f"{value:,.0f}"
    return f"{value:.1f}" if value >= 10 else f"{value:.2f}"
