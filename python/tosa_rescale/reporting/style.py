# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""How a series looks, the same in a chart, in its legend and on a tile: a method has one colour on the whole page."""

from __future__ import annotations

import dataclasses
import functools
import importlib.resources
import re
from collections.abc import Mapping, Sequence
from typing import Any

SERIES = 6
"""Number of series that have a colour, a marker and a dash pattern of their own; beyond it they repeat."""

# Colours that occur nowhere else stand for the page's variables while matplotlib draws.
STAND_INS = {f"#0102{i:02x}": name for i, name in enumerate(("ink", "soft", "line", "page", *(f"s{n}" for n in range(SERIES))))}
INK, SOFT, LINE, PAGE = (list(STAND_INS)[i] for i in range(4))
COLOURS = tuple(list(STAND_INS)[4:])

_MARKERS = ("o", "s", "^", "D", "v", "P")
_DASHES = ("-", (0, (6, 2)), (0, (2, 1.5)), (0, (6, 2, 1, 2)), (0, (8, 3)), (0, (1, 1)))

# The same as SVG, in a box of 38 x 14: what the legend shows is what the chart draws.
_MARKER_PATHS = (
    "M14.5 7a4.5 4.5 0 1 0 9 0a4.5 4.5 0 1 0 -9 0",
    "M15 3h8v8h-8z",
    "M19 2.2l5 9h-10z",
    "M19 1.8l5.2 5.2l-5.2 5.2l-5.2-5.2z",
    "M19 11.8l5-9h-10z",
    "M17 2h4v3h3v4h-3v3h-4v-3h-3v-4h3z",
)
_LEGEND_DASHES = ("", "9 3", "4 2.5", "9 3 3 3", "12 5", "2 2")
DASHED, DOTTED = (0, (5, 4)), (0, (1, 2))


@dataclasses.dataclass(frozen=True)
class LegendEntry:
    """An entry of a chart's legend; colour is the name of a CSS variable, marker and dashes are SVG's."""

    name: str
    colour: str
    marker: str = ""
    dashes: str = ""
    line: bool = True


def colour(series: int) -> str:
    """The CSS variable of a series."""
    return f"s{series % SERIES}"


def look_of(series: int) -> dict[str, Any]:
    """Colour, marker and dashes of a series, as matplotlib has them."""
    i = series % SERIES
    return {
        "color": COLOURS[i],
        "marker": _MARKERS[i],
        "linestyle": _DASHES[i],
        "linewidth": 1.8,
        "markersize": 5.5,
        "markeredgecolor": PAGE,
        "markeredgewidth": 0.8,
    }


def entry(series: int, name: str, line: bool = True, marker: bool = True) -> LegendEntry:
    """The legend of one series that is drawn with a line, with markers, or both."""
    i = series % SERIES
    return LegendEntry(name, colour(series), _MARKER_PATHS[i] if marker else "", _LEGEND_DASHES[i], line)


def series_legend(names: Mapping[int, str] | Sequence[str], base: bool = True) -> tuple[LegendEntry, ...]:
    """The legend of a chart.

    Args:
        names: of the series, by their number, which is what colour and marker go by.
        base: with the original model's line.
    """
    numbered = names if isinstance(names, Mapping) else dict(enumerate(names))
    entries = [entry(i, name) for i, name in numbered.items()]
    return (*entries, LegendEntry("original model", "soft", dashes="5 4")) if base else tuple(entries)


def proxy(entry: LegendEntry) -> Any:
    """A legend's entry as matplotlib has it, for a chart that stands alone."""
    from matplotlib.lines import Line2D

    if entry.colour in _SERIES_NAMES:
        look = look_of(_SERIES_NAMES.index(entry.colour))
        less = {**({} if entry.marker else {"marker": "none"}), **({} if entry.line else {"linestyle": "none"})}
        return Line2D([], [], **{**look, **less}, label=entry.name)
    line = DASHED if entry.dashes else "-"
    return Line2D([], [], color=SOFT if entry.colour == "soft" else INK, linestyle=line, linewidth=1.2, label=entry.name)


_SERIES_NAMES = tuple(colour(i) for i in range(SERIES))


@functools.cache
def palette() -> dict[str, str]:
    """Name to colour of the page's light form, as its style sheet has them."""
    css = importlib.resources.files("tosa_rescale.reporting").joinpath("page.css").read_text()
    light = css.split("@media")[0]
    return dict(re.findall(r"--([a-z0-9]+): (#[0-9a-f]{6});", light))
