# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Constants that alignment wrote at another scale: where they are in the flatbuffer, and their scales there."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from tosa_rescale.core.attributes import SCALE_FACTOR
from tosa_rescale.core.errors import ModelError
from tosa_rescale.core.rescales import compact
from tosa_rescale.formats.litert.multipliers import weight_scales
from tosa_rescale.formats.litert.patch import ConstantPatch
from tosa_rescale.formats.litert.schema import LitertTensor, name_of, tensor_at

if TYPE_CHECKING:
    from tosa_rescale_runtime import Module, Op

    from tosa_rescale.formats.litert.read import Conversion

SAME_OCTAVE = 2.0**-20  # in log2: what float32 scales leave of a ratio


def moved_constants(module: Module, conversion: Conversion, scales: Mapping[str, float], source: str) -> list[ConstantPatch]:
    """The constants of a module that have another scale than in the flatbuffer, for its operators.

    Args:
        module: the module; the op that makes such a constant notes what its scale was multiplied by.
        conversion: the flatbuffer.
        scales: new scales of activations, by tensor name.
        source: the flatbuffer's name, for errors.

    Raises:
        ModelError: no operator of the flatbuffer has such a constant.
    """
    found: dict[tuple[int, int], ConstantPatch] = {}
    for op in module.ops():
        if op.kind not in _ANYWHERE | _IN_PLACE:
            continue
        for position, operand in enumerate(op.operation.operands):
            constant = _source(operand)
            if constant is None or SCALE_FACTOR not in constant.attributes:
                continue
            patch = _patch(module, op, position, constant, conversion, scales, source)
            found[patch.operator, patch.slot] = patch
    return list(found.values())


_ANYWHERE = {"add", "sub", "mul"}
"""Kinds of ops with one constant at most, which may be either operand."""
_IN_PLACE = {"concat", "maximum", "minimum"}
"""Kinds of ops whose operands are those of LiteRT's operator, in order, at one scale."""


def _source(value: Any) -> Any:
    """The `tosa.const` that a value comes from through rescales and reshapes; None where it comes from none."""
    owner = value.owner
    while getattr(owner, "name", "") in ("tosa.rescale", "tosa.reshape"):
        owner = owner.operands[0].owner
    return owner if getattr(owner, "name", "") == "tosa.const" else None


def _patch(
    module: Module, op: Op, operand: int, constant: Any, conversion: Conversion, scales: Mapping[str, float], source: str
) -> ConstantPatch:
    from tosa_rescale_runtime import constant_value

    model = conversion.model
    graph = model.subgraphs[0]
    renamed = conversion.part.names()
    results = ((int(i), p) for p in conversion.part.operators for i in graph.operators[p].outputs)
    made = {renamed.get(i, name_of(graph.tensors[i])): p for i, p in results}
    position = made.get(module.tensor_name(op) or "")
    operator = None if position is None else graph.operators[position]
    slots = [] if operator is None else _constant_slots(model, operator)
    if op.kind in _IN_PLACE:
        slots = [slot for slot in slots if slot == operand]
    value = constant_value(constant.results[0])
    if position is None or operator is None or len(slots) != 1 or value is None:
        raise ModelError(
            f"{source}: no operator of the flatbuffer has the constant of {op.name!r}, which has a new scale; compensate with"
            " `align=False`"
        )
    (slot,) = slots
    tensor, output = tensor_at(model, int(operator.inputs[slot])), tensor_at(model, int(operator.outputs[0]))
    if op.kind == "mul":
        scale = _for_multiplier(module, op, tensor_at(model, int(operator.inputs[1 - slot])), output, scales)
    elif op.kind in _IN_PLACE:
        scale = scales.get(output.name, float(output.scale[0]))
    else:
        scale = _snapped(float(tensor.scale[0]) * float(constant.attributes[SCALE_FACTOR].value), conversion, scales)
    return ConstantPatch(position, slot, value.astype(tensor.dtype).reshape(tensor.shape), scale)


def _constant_slots(model: Any, operator: Any) -> list[int]:
    inputs = [int(i) for i in operator.inputs]
    return [slot for slot, i in enumerate(inputs) if i >= 0 and tensor_at(model, i).value is not None]


def _for_multiplier(module: Module, op: Op, factor: LitertTensor, output: LitertTensor, scales: Mapping[str, float]) -> float:
    """The scale from which LiteRT derives the multiplier behind a product with another factor."""
    input_scale, output_scale = (scales.get(tensor.name, float(tensor.scale[0])) for tensor in (factor, output))
    result = op.operation.results[0]
    reader = next(each for each in module.ops() if each.kind == "rescale" and each.operation.operands[0] == result)
    multiplier, shift = module.constant(reader, 1), module.constant(reader, 2)
    assert multiplier is not None and shift is not None  # alignment wrote them
    return float(weight_scales(*compact(multiplier, shift), input_scale, output_scale)[0])


def _snapped(scale: float, conversion: Conversion, scales: Mapping[str, float]) -> float:
    """A scale that is a whole octave from another one but for float32's rounding is exactly that."""
    known = list(scales.values())
    for tensor in conversion.model.subgraphs[0].tensors:
        given = None if tensor.quantization is None else tensor.quantization.scale
        if given is not None and len(given) == 1:
            known.append(float(given[0]))
    for each in known:
        octaves = np.log2(scale / each)
        if abs(octaves - round(octaves)) < SAME_OCTAVE:
            return float(np.ldexp(each, round(octaves)))
    return scale
