# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""The shapes of a LiteRT model's inputs where the file leaves extents open."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from tosa_rescale.core.errors import ModelError
from tosa_rescale.formats.litert.part import Part


def resolve_shapes(
    model: Any, part: Part, source: str, batch: int, shapes: Mapping[str, Sequence[int]] | None
) -> list[list[int]] | None:
    """The shape of each input of a part.

    Args:
        model: a ModelT.
        part: of it.
        source: its name, for errors.
        batch: extent of a first dimension that is open.
        shapes: whole shapes by the name of the input.

    Returns:
        None where the file leaves nothing open.

    Raises:
        ModelError: another dimension than the first is open and no shape is given, or a shape names no input or contradicts
            the file.
    """
    graph = model.subgraphs[0]
    given = dict(shapes or {})
    known = [name for each in part.inputs for name in (each.name, each.inner)]
    if strange := [name for name in given if name not in known]:
        raise ModelError(f"{source}: `shapes` {strange[0]}: there is no such input; give one of {', '.join(known[::2])}")
    found = []
    for each in part.inputs:
        declared = declared_shape(graph.tensors[each.index])
        shape = given.get(each.name, given.get(each.inner))
        found.append(
            _filled(declared, each.name, source, batch) if shape is None else _fitting(declared, shape, each.name, source)
        )
    tensors = {int(i) for position in part.operators for i in _touched(graph.operators[position]) if int(i) >= 0}
    dynamic = any(extent < 0 for i in tensors for extent in declared_shape(graph.tensors[i]))
    return found if dynamic else None


def declared_shape(tensor: Any) -> list[int]:
    """A tensor's extents as the file has them; -1 for an open one."""
    signature = tensor.shapeSignature
    shape = tensor.shape if signature is None or not len(signature) else signature
    return [] if shape is None else [int(extent) for extent in shape]


def _touched(operator: Any) -> list[int]:
    return [*(() if operator.inputs is None else operator.inputs), *(() if operator.outputs is None else operator.outputs)]


def _filled(declared: Sequence[int], name: str, source: str, batch: int) -> list[int]:
    """The shape with the batch in the first dimension."""
    if any(extent < 0 for extent in declared[1:]):
        shown = name if name.isprintable() else repr(name)
        text = ",".join("?" if extent < 0 else str(extent) for extent in declared)
        raise ModelError(f"{source}: input {name!r} has the open shape {text}; give all extents with `shapes` {shown}={text}")
    return [batch if extent < 0 else extent for extent in declared]


def _fitting(declared: Sequence[int], shape: Sequence[int], name: str, source: str) -> list[int]:
    """The shape that was given, held against what the file has."""
    text = ",".join("?" if extent < 0 else str(extent) for extent in declared)
    got = ",".join(map(str, shape))
    if len(shape) != len(declared) or any(extent not in (-1, n) for extent, n in zip(declared, shape, strict=True)):
        raise ModelError(f"{source}: `shapes` {name}={got}: contradicts the model's shape {text}")
    if any(extent < 1 for extent in shape):
        raise ModelError(f"{source}: `shapes` {name}={got}: every extent must be 1 or more")
    return [int(extent) for extent in shape]
