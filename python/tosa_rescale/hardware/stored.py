# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Tables of costs as JSON files: what is known of all, then a line for each row."""

from __future__ import annotations

import dataclasses
import json
import pathlib
from typing import Any, Generic, TypeVar

from tosa_rescale.core.errors import DataError
from tosa_rescale.core.files import PathLike, write_text

Table = TypeVar("Table")


class Row:
    """What rows have in common: something built at a width of the multiplier, with its clock and area."""

    bits: int
    period: float
    area: float

    @property
    def block(self) -> tuple[str, int]:
        """What was built, apart from its width: a name, and MACs."""
        raise NotImplementedError

    @property
    def area_delay(self) -> float:
        """um2 times ns."""
        return self.area * self.period / 1000


RowT = TypeVar("RowT", bound=Row)


class Rows(Generic[RowT]):
    """What tables have in common."""

    costs: tuple[RowT, ...]

    def base_of(self, cost: RowT) -> RowT:
        """The widest multiplier of the same block."""
        return max((each for each in self.costs if each.block == cost.block), key=lambda each: each.bits)


def read_table(path: PathLike, table: type[Table], row: type, command: str) -> Table:
    """Reads a table.

    Args:
        path: its file.
        table: a dataclass whose field `costs` has the rows.
        row: the dataclass of one row.
        command: that makes such a file, for the message.

    Raises:
        DataError: the file is missing or is no such table.
    """
    try:
        read = json.loads(pathlib.Path(path).read_text())
        return table(**{**read, "costs": tuple(row(**each) for each in read["costs"])})
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(f"{path}: is no file of costs in cells ({error}); renew it: {command} -o {path}") from None


def write_table(table: Any, path: PathLike) -> None:
    """Writes a table whole or not at all. Raises OutputError."""
    head = {field.name: getattr(table, field.name) for field in dataclasses.fields(table) if field.name != "costs"}
    rows = ",\n  ".join(json.dumps(dataclasses.asdict(cost)) for cost in table.costs)
    write_text(path, json.dumps(head, indent=1)[:-2] + f',\n "costs": [\n  {rows}\n ]\n}}\n')
