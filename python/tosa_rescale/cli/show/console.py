# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""What all that commands print is made of: tables that fit the terminal, and sentences.

A table gives way to a narrow terminal in two steps: names lose their beginnings, as their ends tell layers apart, then minor
columns go, and a line says which. A file or a pipe has no width: there, and with --wide, nothing is left out.
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import click

from tosa_rescale.cli.options import TALK, WIDE

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

UNLIMITED = 100_000
"""Columns of a console that has no width of its own."""

LEAST_NAME = 14
"""Characters of a name that remain before columns go."""


@dataclasses.dataclass(frozen=True)
class Column:
    """A column of a table.

    Attributes:
        title: at its top.
        left: its texts begin at the left; figures end at the right.
        minor: 0 stays; of the others the largest goes first where the terminal is narrow.
        name: its texts are names of layers and may lose their beginnings.
    """

    title: str
    left: bool = False
    minor: int = 0
    name: bool = False


def line(text: str) -> None:
    """A sentence for people, on standard output."""
    _console().print(text, markup=False)


def listing(title: str, parts: Sequence[str]) -> None:
    """A sentence `title: part, part`, that breaks between parts only."""
    console = _console()
    lines = [f"{title}:"]
    for index, part in enumerate(parts):
        text = part if index == len(parts) - 1 else f"{part},"
        if len(lines[-1]) + 1 + len(text) > console.width:
            lines.append(" ")
        lines[-1] += f" {text}"
    for each in lines:
        console.print(each, markup=False)


def plain(text: str) -> None:
    """A text for a shell, on standard output: as it is, in one line, whatever the width."""
    click.echo(text)


def note(text: str) -> None:
    """A sentence on standard error; -q leaves it out."""
    if _meta(TALK) != "quiet":
        click.echo(text, err=True)


def table(
    columns: Sequence[Column], rows: Sequence[Sequence[str]], title: str | None = None, console: Console | None = None
) -> None:
    """Prints a table that fits the terminal.

    Args:
        columns: the columns.
        rows: one text for each column.
        title: above the table.
    """
    console = _console()
    shown = list(range(len(columns)))
    gone: list[str] = []
    while True:
        names = UNLIMITED
        excess = _width(_made(columns, rows, shown, title, names)) - console.width
        if excess > 0 and (named := [i for i in shown if columns[i].name]):
            longest = max(len(row[i]) for row in [*rows, [each.title for each in columns]] for i in named)
            names = max(LEAST_NAME, longest - excess)
            excess -= max(0, longest - names)
        minor = max((i for i in shown if columns[i].minor), key=lambda i: columns[i].minor, default=None)
        if excess <= 0 or minor is None:
            break
        shown.remove(minor)
        gone.append(columns[minor].title)
    console.print(_made(columns, rows, shown, title, names))
    if gone:
        console.print(f"not shown at this width: {', '.join(reversed(gone))}; --wide shows all", markup=False)


def _made(
    columns: Sequence[Column], rows: Sequence[Sequence[str]], shown: Sequence[int], title: str | None, names: int
) -> Table:
    import rich.box
    import rich.markup
    import rich.table

    made = rich.table.Table(title=title, box=rich.box.SIMPLE_HEAD, show_edge=False, pad_edge=False, title_justify="left")
    for i in shown:
        made.add_column(columns[i].title, justify="left" if columns[i].left else "right", no_wrap=True)
    for row in rows:
        texts = [_ending(row[i], names) if columns[i].name else row[i] for i in shown]
        made.add_row(*map(rich.markup.escape, texts))
    return made


def _ending(text: str, length: int) -> str:
    """The end of a text that is too long."""
    return text if len(text) <= length else f"…{text[len(text) - length + 1 :]}"


def _width(made: Table) -> int:
    from rich.console import Console
    from rich.measure import Measurement

    roomy = Console(width=UNLIMITED)
    return Measurement.get(roomy, roomy.options, made).maximum


def _console() -> Console:
    from rich.console import Console

    console = Console(highlight=False)
    unlimited = _meta(WIDE) or not (console.is_terminal or os.environ.get("COLUMNS"))
    return Console(highlight=False, width=UNLIMITED, soft_wrap=True) if unlimited else console


def _meta(key: str) -> Any:
    context = click.get_current_context(silent=True)
    return None if context is None else context.meta.get(key)
