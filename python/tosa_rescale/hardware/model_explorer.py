# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Figures of rescales as node data of Model Explorer, which draws them over the graph of the .tflite; `docs/hardware.md`.

One file a figure, each the data of one graph. Nodes are named by the output tensors of the flatbuffer's operators, as Model
Explorer allows, and the converter makes these names the locations of TOSA's ops. An operator that became several rescales, as
an addition does, shows the largest of their figures.
"""

from __future__ import annotations

import json
import pathlib
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from tosa_rescale.core.errors import DataError
from tosa_rescale.core.files import PathLike
from tosa_rescale.core.rescales import describe_rescales
from tosa_rescale.hardware.pairs import RescaleTable

if TYPE_CHECKING:
    from tosa_rescale.core.program import Program

Figures = Mapping[str, float]
"""One number for each rescale, by key."""

_COLOURS = ("#f7fbff", "#6baed6", "#08519c")  # of the smallest, the middle and the largest number
_TEXTS = ("#000000", "#000000", "#ffffff")


def node_data_files(program: Program, tables: Sequence[RescaleTable], figures: Mapping[str, Figures]) -> dict[str, str]:
    """The files, by name.

    Args:
        program: the model.
        tables: its rescales, see `read_tables`.
        figures: more of them by name, such as those of `read_figures`.

    Returns:
        `bits.json`, `shift.json`, `range.json`, and a file for each of `figures`.
    """
    module = program.module()
    nodes = {op.key: module.tensor_name(op) for op in module.ops() if op.kind == "rescale"}
    known = _operator_outputs(program)
    wanted = {table.key: name for table in tables if (name := nodes[table.key]) and (known is None or name in known)}
    titles = {
        "bits": ("multiplier bits", {table.key: table.bits for table in tables}),
        "shift": ("largest shift", {table.key: int(table.shift.max()) for table in tables}),
        "range": ("bits of the value before the rescale", _range_bits(program)),
        **{name: (_TITLES.get(name, name), values) for name, values in figures.items()},
    }
    return {f"{name}.json": _node_data(title, values, wanted) for name, (title, values) in titles.items()}


def _node_data(title: str, values: Figures, nodes: Mapping[str, str]) -> str:
    results: dict[str, dict[str, float]] = {}
    for key, node in nodes.items():
        if key in values and values[key] >= results.get(node, {"value": values[key]})["value"]:
            results[node] = {"value": values[key]}
    stops = [
        {"stop": i / (len(_COLOURS) - 1), "bgColor": colour, "textColor": text}
        for i, (colour, text) in enumerate(zip(_COLOURS, _TEXTS, strict=True))
    ]
    return json.dumps({"name": f"tosa-rescale: {title}", "results": results, "gradient": stops}, indent=1) + "\n"


def _range_bits(program: Program) -> dict[str, float]:
    """Width of the two's complement number that holds what each rescale can be given, where that is proved."""
    found = {}
    for each in describe_rescales(program):
        if each.value_min is not None and each.value_max is not None:
            found[each.key] = max((~each.value_min if each.value_min < 0 else each.value_min), each.value_max).bit_length() + 1
    return found


def _operator_outputs(program: Program) -> set[str] | None:
    """Names of the tensors that the flatbuffer's operators make; None where there is no flatbuffer."""
    if program.flatbuffer is None:
        return None
    from tosa_rescale.formats.litert.schema import name_of, unpack

    graph = unpack(program.flatbuffer, program.source).subgraphs[0]
    return {name_of(graph.tensors[int(i)]) for operator in graph.operators for i in operator.outputs}


_TITLES = {"error": "error end to end, LSB (standard deviation)", "sensitivity": "cost of this rescale alone, mean LSB"}
_PLACES = {"error": ("end_to_end", "std"), "sensitivity": ("mean_lsb",)}
_COMMANDS = {"error": "errors", "sensitivity": "sensitivity"}


def read_figures(path: PathLike, kind: str, tables: Sequence[RescaleTable]) -> dict[str, float]:
    """What a command wrote with --json, as one number for each rescale.

    Args:
        path: the file.
        kind: `error`, of `tosa-rescale errors`; `sensitivity`, of `tosa-rescale sensitivity`.
        tables: the rescales of the model.

    Raises:
        DataError: the file is missing, is not what the command writes, or is of another model.
    """
    remedy = f"give what `tosa-rescale {_COMMANDS[kind]} --json` wrote"
    try:
        rows = json.loads(pathlib.Path(path).read_bytes())
        found = {str(row["key"]): float(_at(row, _PLACES[kind])) for row in rows}
        names = {str(row["key"]): str(row["name"]) for row in rows}
    except OSError as error:
        raise DataError(f"{path}: {error.strerror}; {remedy}") from None
    except (ValueError, TypeError, KeyError, AttributeError):
        raise DataError(f"{path}: holds no figures of this kind; {remedy}") from None
    ours = {table.key: table.name for table in tables}
    for key in sorted(names.keys() & ours.keys()):
        if names[key] != ours[key]:
            raise DataError(f"{path}: {key} is {names[key]}, and {ours[key]} in this model; {remedy} for this model")
    return found


def _at(row: Any, place: Sequence[str]) -> Any:
    for name in place:
        row = row[name]
    return row
