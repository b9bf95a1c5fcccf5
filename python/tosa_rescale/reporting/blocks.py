# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""What the report page is made of: sections of figures and tables, which the template renders."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence

from tosa_rescale.reporting import charts

# One for each of charts.SERIES, in a box of 38 x 14: what the legend shows is what the chart draws.
_MARKER_PATHS = (
    "M14.5 7a4.5 4.5 0 1 0 9 0a4.5 4.5 0 1 0 -9 0",
    "M15 3h8v8h-8z",
    "M19 2.2l5 9h-10z",
    "M19 1.8l5.2 5.2l-5.2 5.2l-5.2-5.2z",
    "M19 11.8l5-9h-10z",
    "M17 2h4v3h3v4h-3v3h-4v-3h-3v-4h3z",
)
_DASHES = ("", "9 3", "4 2.5", "9 3 3 3", "12 5", "2 2")


@dataclasses.dataclass(frozen=True)
class Row:
    """Cells of a table's row; a marked one stands out."""

    cells: tuple[str, ...]
    mark: bool = False


@dataclasses.dataclass(frozen=True)
class Table:
    """A table. `text` are the positions of columns that hold no numbers; a folded one is shown on demand."""

    caption: str
    columns: tuple[str, ...]
    rows: tuple[Row, ...]
    text: tuple[int, ...] = (0,)
    folded: bool = False


@dataclasses.dataclass(frozen=True)
class LegendEntry:
    """A line of a chart's legend; colour is the name of a CSS variable."""

    name: str
    colour: str
    marker: str = ""
    dashes: str = ""


@dataclasses.dataclass(frozen=True)
class Figure:
    """A chart with its text alternative and, where no table beside it has them, its data."""

    title: str
    caption: str
    svg: str
    legend: tuple[LegendEntry, ...] = ()
    table: Table | None = None


@dataclasses.dataclass(frozen=True)
class Block:
    """Part of a section."""

    heading: str = ""
    text: tuple[str, ...] = ()
    figures: tuple[Figure, ...] = ()
    tables: tuple[Table, ...] = ()


@dataclasses.dataclass(frozen=True)
class Section:
    """A section; `missing` says what it lacks and how to get it."""

    id: str
    title: str
    text: tuple[str, ...] = ()
    blocks: tuple[Block, ...] = ()
    missing: str = ""


@dataclasses.dataclass(frozen=True)
class Tile:
    """One finding, large."""

    name: str
    colour: str
    big: str
    unit: str
    lines: tuple[str, ...]


def rows(cells: Sequence[Sequence[str]], marked: Sequence[bool] | None = None) -> tuple[Row, ...]:
    """Rows of a table, some of them marked."""
    flags = marked or [False] * len(cells)
    return tuple(Row(tuple(each), flag) for each, flag in zip(cells, flags, strict=True))


def series_legend(names: Mapping[int, str] | Sequence[str], base: bool = True) -> tuple[LegendEntry, ...]:
    """The legend of a chart.

    Args:
        names: of the series, by their number, which is what colour and marker go by.
        base: with the original model's line.
    """
    numbered = names if isinstance(names, Mapping) else dict(enumerate(names))
    entries = [
        LegendEntry(name, f"s{i % charts.SERIES}", _MARKER_PATHS[i % charts.SERIES], _DASHES[i % charts.SERIES])
        for i, name in numbered.items()
    ]
    return (*entries, LegendEntry("original model", "soft", dashes="5 4")) if base else tuple(entries)


def number(value: float | None, digits: int = 2) -> str:
    """A number for people; a dash where there is none."""
    if value is None:
        return "–"
    return f"{value:,.{digits}f}".replace("-", "−")


def signed(value: float | None, digits: int = 2) -> str:
    """A difference for people, with its sign."""
    if value is None:
        return "–"
    rounded = round(value, digits)
    return number(0.0 if rounded == 0 else rounded, digits) if rounded <= 0 else f"+{number(rounded, digits)}"
