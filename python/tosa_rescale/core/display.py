# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""How values show themselves: a few lines where they are printed, a small table in a notebook.

A class says what is worth knowing of it, `summary`, and gets both forms. A layer above it may add a drawing (`draws`), which
stands over the table.
"""

from __future__ import annotations

import dataclasses
import html
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

D = TypeVar("D", bound=Callable[[Any], str])

_DRAWINGS: dict[type, Callable[[Any], str]] = {}


@dataclasses.dataclass(frozen=True)
class Summary:
    """What is worth knowing of a value.

    Attributes:
        title: one line.
        rows: cells of a table; without `columns`, pairs of what it is and its value.
        columns: titles; those of figures end with the figures, the first one begins with its texts.
        notes: sentences below the table.
    """

    title: str
    rows: Sequence[Sequence[str]]
    columns: Sequence[str] = ()
    notes: Sequence[str] = ()

    def text(self) -> str:
        """The table in plain text: title, rows, notes, one a line."""
        every = [self.columns, *self.rows] if self.columns else list(self.rows)
        widths = [max(map(len, cells)) for cells in zip(*every, strict=True)]

        def aligned(cells: Sequence[str]) -> str:
            # Of pairs the value begins at the left, as a sentence; figures in columns end at the right.
            sides = [str.ljust, *([str.rjust if self.columns else str.ljust] * (len(cells) - 1))]
            return "  ".join(side(cell, width) for side, cell, width in zip(sides, cells, widths, strict=True)).rstrip()

        return "\n".join([self.title, *(f"  {aligned(cells)}" for cells in every), *self.notes])

    def html(self) -> str:
        """The same as HTML, everything escaped; colours and font are the page's own."""
        head = "".join(
            f'<th scope="col" style="text-align: {_side(i, True)}">{_safe(c)}</th>' for i, c in enumerate(self.columns)
        )
        parts = [
            f'<table><caption style="text-align: left; font-weight: bold">{_safe(self.title)}</caption>',
            f"<thead><tr>{head}</tr></thead>" if head else "",
            "<tbody>",
            *(f"<tr>{''.join(self._cell(i, cell) for i, cell in enumerate(cells))}</tr>" for cells in self.rows),
            "</tbody></table>",
            *(f"<p>{_safe(note)}</p>" for note in self.notes),
        ]
        return "".join(parts)

    def _cell(self, place: int, text: str) -> str:
        side = _side(place, bool(self.columns))
        if place == 0:
            return f'<th scope="row" style="text-align: {side}">{_safe(text)}</th>'
        return f'<td style="text-align: {side}">{_safe(text)}</td>'


def _side(place: int, columns: bool) -> str:
    return "right" if columns and place else "left"


def _safe(text: str) -> str:
    return html.escape(str(text))


class Shown:
    """A value that shows itself. A dataclass that inherits from it needs `repr=False`."""

    def summary(self) -> Summary:
        """What is worth knowing of it."""
        raise NotImplementedError

    def __repr__(self) -> str:
        return self.summary().text()

    def _repr_html_(self) -> str:
        """What Jupyter shows."""
        return _drawing(self) + self.summary().html()


def draws(kind: type) -> Callable[[D], D]:
    """Registers what draws values of a class, as HTML; it stands over the table. An empty text: there is nothing to draw."""

    def register(draw: D) -> D:
        _DRAWINGS[kind] = draw
        return draw

    return register


def _drawing(value: object) -> str:
    draw = next((_DRAWINGS[kind] for kind in type(value).__mro__ if kind in _DRAWINGS), None)
    return "" if draw is None else draw(value)


def significant(value: float) -> str:
    """Two digits behind the point, or as many as a small value needs."""
    return f"{value:.2f}" if value == 0 or abs(value) >= 0.1 else f"{value:.3g}"


def count(number: int, noun: str) -> str:
    """A number with its noun: 1 bit, 2 bits, 1,000 samples."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"
