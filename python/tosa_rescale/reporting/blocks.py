# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""What the report page is made of: sections of figures and tables, which the template renders."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from tosa_rescale.core.files import PathLike, write_text
from tosa_rescale.reporting.charts import Chart
from tosa_rescale.reporting.style import LegendEntry


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
class Figure:
    """A chart with its caption, its legend and, where no table beside it has them, its data."""

    chart: Chart
    caption: str
    legend: tuple[LegendEntry, ...] = ()
    table: Table | None = None

    @property
    def title(self) -> str:
        """The chart's."""
        return self.chart.title

    @property
    def svg(self) -> str:
        """The chart as it stands in the page. Raises MissingToolError."""
        return self.chart.inline()

    def write(self, path: PathLike) -> None:
        """Writes the chart as an SVG file with its legend. Raises MissingToolError and OutputError."""
        write_text(path, self.chart.alone(self.legend))


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
