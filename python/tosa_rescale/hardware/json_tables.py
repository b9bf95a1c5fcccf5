# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Rescale tables as JSON; `docs/hardware.md` has the schema."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from tosa_rescale.hardware.pairs import NO_ROUND, RescaleTable

VERSION = 1


def json_files(tables: Sequence[RescaleTable], model: str) -> Mapping[str, str]:
    """`rescales.json`: one entry for each rescale, lists on one line."""
    rows = ",\n  ".join(_entry(row) for row in describe(tables))
    return {"rescales.json": f'{{\n "version": {VERSION},\n "model": {json.dumps(model)},\n "rescales": [\n  {rows}\n ]\n}}\n'}


def describe(tables: Sequence[RescaleTable]) -> list[dict[str, Any]]:
    """The entries as plain values."""
    rows, offset = [], 0
    for table in tables:
        twice = bool((table.second_round != NO_ROUND).any())
        rows.append(
            {
                "key": table.key,
                "name": table.name,
                "op": table.op,
                "scope": table.scope,
                "rounding_mode": table.rounding_mode,
                "shape": list(table.shape),
                "input_type": table.input_type,
                "output_type": table.output_type,
                "input_zero_point": table.input_zp,
                "output_zero_point": table.output_zp,
                "channels": table.channels,
                "offset": offset,
                "bits": table.bits,
                "multiplier": table.multiplier.tolist(),
                "shift": table.shift.tolist(),
                "second_round": table.second_round.tolist() if twice else None,
            }
        )
        offset += table.channels
    return rows


def _entry(row: dict[str, Any]) -> str:
    return "{\n   " + ",\n   ".join(f"{json.dumps(key)}: {json.dumps(value)}" for key, value in row.items()) + "\n  }"
