# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Tables of costs as JSON files: what is known of all, then a line for each row."""

from __future__ import annotations

import dataclasses
import json
import pathlib
from typing import Any, TypeVar

from tosa_rescale.core.errors import DataError
from tosa_rescale.core.files import PathLike, write_text

Table = TypeVar("Table")


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
