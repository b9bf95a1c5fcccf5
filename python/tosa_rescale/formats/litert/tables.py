# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Tables of a LiteRT flatbuffer for other scales: what its reader makes of LOGISTIC, RSQRT, GELU, SOFTMAX and the like."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from tosa_rescale.core.display import count
from tosa_rescale.core.errors import ModelError
from tosa_rescale.formats.litert.export import moved_scales
from tosa_rescale.formats.litert.patch import scales_by_position
from tosa_rescale.formats.litert.read import Conversion, convert_like, original_of
from tosa_rescale.formats.litert.schema import name_of, op_name, pack

if TYPE_CHECKING:
    from tosa_rescale_runtime import Module

    from tosa_rescale.core.program import Program


@dataclasses.dataclass(frozen=True)
class MovedTable:
    """A table that was computed anew.

    Attributes:
        name: of the tensor that it makes.
        kind: LiteRT's operator, such as RSQRT.
        factor: what the scale of its input was multiplied by.
    """

    name: str
    kind: str
    factor: float


def compute_tables(program: Program, module: Module) -> tuple[bool, list[MovedTable]]:
    """Writes the tables of an aligned module as the reader of the file makes them for the module's scales. Changes `module`.

    The table of a LiteRT operator is a function of two scales, so it need not be interpolated, and a file with these scales
    gives the same table, bit for bit.

    Args:
        program: what the module was made from; it came from a .tflite.
        module: its module after alignment, which notes the factors of scales.

    Returns:
        Whether the module changed, and the tables whose input has another scale.

    Raises:
        ModelError: the flatbuffer does not become such a module.
    """
    tables = [op for op in module.ops() if op.kind == "table"]
    if not tables:
        return False, []
    _, conversion = original_of(program)
    scales = moved_scales(module, conversion.alone, program.source)
    if not scales:
        return False, []
    kinds = _operators(conversion, scales)
    made = _tables_at(program, conversion, scales)
    if len(made) != len(tables):
        raise ModelError(
            f"{program.source}: has {count(len(made), 'table')} in its flatbuffer and {len(tables)} in the module;"
            " compensate with `table_error=0`"
        )
    changed = False
    for op, entries in zip(tables, made, strict=True):
        before = module.constant(op, 1)
        if before is None or not np.array_equal(before, entries):
            module.set_constant(op, 1, entries)
            changed = True
    names = dict.fromkeys(name for op in tables if (name := module.tensor_name(op)) in kinds)
    return changed, [MovedTable(name, *kinds[name]) for name in names if name is not None]


def _tables_at(program: Program, conversion: Conversion, scales: Mapping[str, float]) -> list[np.ndarray]:
    """The entries of each table that the flatbuffer becomes with other scales, in program order. Changes `conversion`."""
    from tosa_rescale_runtime import Module

    model = conversion.model
    for index, scale in scales_by_position(model, conversion.part, scales, program.source).items():
        model.subgraphs[0].tensors[index].quantization.scale = np.array([scale], np.float32)
    module = Module.parse(convert_like(pack(model), program).bytecode, program.source)
    found = [module.constant(op, 1) for op in module.ops() if op.kind == "table"]
    return [each for each in found if each is not None]


def _operators(conversion: Conversion, scales: Mapping[str, float]) -> dict[str, tuple[str, float]]:
    """Kind and factor of the input's scale of each operator whose first input has another scale, by its result's name."""
    model, renamed, found = conversion.model, conversion.part.names(), {}
    tensors = model.subgraphs[0].tensors
    for operator in (model.subgraphs[0].operators[position] for position in conversion.part.operators):
        if not len(operator.inputs) or int(operator.inputs[0]) < 0:
            continue
        read = tensors[int(operator.inputs[0])]
        if (name := name_of(read)) in scales:
            factor = scales[name] / float(read.quantization.scale[0])
            made = int(operator.outputs[0])
            found[renamed.get(made, name_of(tensors[made]))] = (op_name(model, operator), factor)
    return found
