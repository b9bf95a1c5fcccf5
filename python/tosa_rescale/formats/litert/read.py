# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Reads a LiteRT flatbuffer: finds the part that TOSA can express, converts it, and keeps the file for writing back."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from tosa_rescale.core.errors import ModelError
from tosa_rescale.core.files import PathLike, read_file
from tosa_rescale.core.passes import Diagnostic
from tosa_rescale.core.program import Program
from tosa_rescale.core.recipe import Step
from tosa_rescale.formats.litert.convert import Refusal, convert
from tosa_rescale.formats.litert.means import with_weighted_means
from tosa_rescale.formats.litert.part import Part, describe, find_part, part_alone
from tosa_rescale.formats.litert.pools import with_weighted_pools
from tosa_rescale.formats.litert.schema import layers_of, name_of, op_name, unpack
from tosa_rescale.formats.litert.shapes import resolve_shapes
from tosa_rescale.formats.litert.simplify import simplify
from tosa_rescale.formats.litert.sixteen_bits import may_be_narrow, widen
from tosa_rescale.formats.litert.softmax import may_wrap, saturate_softmaxes
from tosa_rescale.formats.litert.sums import may_sum, multiply_once
from tosa_rescale.formats.module import sound

Shapes = Mapping[str, Sequence[int]]
# What the converter writes that the kernels do not compute.
_OF_CONVERTER = ((may_wrap, saturate_softmaxes), (may_sum, multiply_once), (may_be_narrow, widen))
_ATTEMPTS = 8  # conversions; each but the last one found operators that the converter leaves


@dataclasses.dataclass(frozen=True)
class Conversion:
    """A flatbuffer as TOSA.

    Attributes:
        bytecode: the module, with static shapes.
        model: the flatbuffer's ModelT.
        part: what of it the module stands for.
        alone: a flatbuffer of this part alone, with integers at its border.
    """

    bytecode: bytes
    model: Any
    part: Part
    alone: bytes


def read_flatbuffer(
    data: bytes, source: str, batch: int = 1, until: str | None = None, shapes: Shapes | None = None
) -> Program:
    """Reads a LiteRT flatbuffer; see tosa_rescale.formats.read.read."""
    simplified = simplify(data, source)
    data = simplified.data
    conversion = convert_part(data, source, batch, until, shapes, simplified.model)
    part, model = conversion.part, conversion.model
    left = [f"{describe(model, each)} {where}" for each, where in ((part.before, "in front"), (part.after, "behind")) if each]
    left += [f"output {name!r}, which no operator of the part makes" for name in part.passed]
    left += [f"signature {name!r}, which is another graph of the file" for name in _other_signatures(model)]
    remarks = tuple(Diagnostic(source, "remark", each) for each in simplified.remarks)
    recipe: tuple[Step, ...] = ()
    if left:
        ends = ", ".join(each.name for each in part.outputs)
        remarks += (Diagnostic(source, "remark", f"stays as it is: {'; '.join(left)}; the module's outputs are {ends}"),)
        recipe = (Step("cut", {"outputs": [each.name for each in part.outputs], "left": left}),)
    return Program(conversion.bytecode, source, part.quantization(model), data, recipe, remarks)


def _other_signatures(model: Any) -> list[str]:
    """Names of the signatures that enter a file by another graph than its first, which is the one that is read."""
    return [(each.signatureKey or b"").decode(errors="replace") for each in model.signatureDefs or () if each.subgraphIndex]


def original_of(program: Program, original: PathLike | None = None) -> tuple[bytes, Conversion]:
    """The flatbuffer that a program was read from, and its conversion: the same part, for inputs of the same shapes.

    Args:
        program: the program.
        original: the .tflite that it was made from; None: the one that it was loaded from.

    Raises:
        ModelError: there is none, or it has not the program's outputs.
    """
    data = program.flatbuffer if original is None else read_file(original)
    if data is None:
        raise ModelError(f"{program.source}: came from no .tflite; name the one it was made from (`original`)")
    simplified = simplify(data, program.source)
    data, model = simplified.data, simplified.model
    if any(step.options.get("weighted_means") for step in program.recipe):
        made = _made_by_convolutions(program)
        data = with_weighted_means(with_weighted_pools(data, made, program.source), made, program.source)
        model = unpack(data, program.source)
    return data, convert_like(data, program, model)


def _made_by_convolutions(program: Program) -> set[str]:
    """Names of the tensors that a program's convolutions make."""
    module = program.module()
    return {module.tensor_name(op) or op.name for op in module.ops() if op.kind in ("conv2d", "depthwise_conv2d")}


def convert_like(data: bytes, program: Program, model: Any = None) -> Conversion:
    """Converts a flatbuffer to a module with a program's inputs and outputs.

    Args:
        data: the flatbuffer.
        program: the program.
        model: the flatbuffer's ModelT; None: it is unpacked.

    Raises:
        ModelError: it has no such part.
    """
    model = model or unpack(data, program.source)
    until, shapes = _border_of(model, program)
    return convert_part(data, program.source, 1, until, shapes, model)


def part_like(data: bytes, program: Program) -> bytes:
    """The part of a flatbuffer with a program's inputs and outputs, alone. Raises ModelError where it has no such part."""
    model = unpack(data, program.source)
    until, _ = _border_of(model, program)
    return part_alone(data, model, find_part(model, program.source, until))


def _border_of(model: Any, program: Program) -> tuple[list[str] | None, Shapes]:
    """`until` and `shapes` that give a program's signature."""
    names = [each.name for each in program.signature.outputs]
    inputs = {each.name: tuple(n or 1 for n in each.shape) for each in program.signature.inputs}
    furthest = find_part(model, program.source)
    known = {name for each in furthest.inputs for name in (each.name, each.inner)}
    # A module that went through a format without names has others than the file, and stands for all of it.
    named = {name_of(each) for each in model.subgraphs[0].tensors}
    everything = {each.name for each in furthest.outputs} == set(names) or (furthest.whole and not named.issuperset(names))
    return None if everything else names, {name: shape for name, shape in inputs.items() if name in known}


def convert_part(
    data: bytes,
    source: str,
    batch: int = 1,
    until: str | Sequence[str] | None = None,
    shapes: Shapes | None = None,
    model: Any = None,
) -> Conversion:
    """Converts as much of a flatbuffer as TOSA can express; see tosa_rescale.formats.read.read, and `convert_like`."""
    model = model or unpack(data, source)
    refused: dict[int, str] = {}
    for _ in range(_ATTEMPTS):
        part = find_part(model, source, until, refused)
        _require_weights(model, part, source)
        alone = part_alone(data, model, part)
        converted = convert(alone, source, resolve_shapes(model, part, source, batch, shapes))
        if not converted.refusals:
            return Conversion(sound(converted.bytecode, source, batch, _OF_CONVERTER), model, part, alone)
        found = _positions(model, part, converted.refusals)
        if not found:
            raise ModelError(f"{source}: cannot be converted to TOSA: {_in_words(converted.refusals[0])}")
        refused |= found
    raise ModelError(f"{source}: cannot be converted to TOSA: {describe(model, sorted(refused))} and more have no counterpart")


def _require_weights(model: Any, part: Part, source: str) -> None:
    """Raises ModelError where weights of the part have scales that are no numbers, and with them no values."""
    for layer in layers_of(model, source):
        if layer.operator in part.operators and not np.all(np.isfinite(layer.weights.scale)):
            lost = layer.weights.scale[~np.isfinite(layer.weights.scale)][0]
            raise ModelError(
                f"{source}: {describe(model, [layer.operator])}: its weights have the scale {lost:g}, so their values are lost;"
                " LiteRT's converter loses them where a first state of zeros meets a bias: convert with a fixed batch"
            )


def _positions(model: Any, part: Part, refusals: Sequence[Refusal]) -> dict[int, str]:
    """The operators of the part that the converter means, with its reasons."""
    graph = model.subgraphs[0]
    border = {each.index: each.name for each in part.outputs}
    found: dict[int, str] = {}
    for refusal in refusals:
        made = {p: [int(i) for i in graph.operators[p].outputs] for p in part.operators}
        by_name = {p for p in made if any({name_of(graph.tensors[i]), border.get(i, "")} & refusal.names for i in made[p])}
        of_kind = {p for p in made if refusal.kind == op_name(model, graph.operators[p])}
        found |= dict.fromkeys(by_name & of_kind or by_name or of_kind, refusal.reason)
    return found


def _in_words(refusal: Refusal) -> str:
    names = ", ".join(map(repr, sorted(refusal.names)[:1]))
    return f"{refusal.kind or 'an operator'} {names}: {refusal.reason or 'has no counterpart in TOSA'}"
