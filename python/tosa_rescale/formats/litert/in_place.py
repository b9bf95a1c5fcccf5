# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Writes new constants over the old ones where they are as long: the rest of the file stays byte for byte as it was."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from tosa_rescale.formats.litert.patch import Constant, Edit
from tosa_rescale.formats.litert.schema import schema


def in_place(flatbuffer: bytes, model: Any, edits: Sequence[Edit], scales: Mapping[int, float]) -> bytes | None:
    """Replaces bytes of equal length; None where that is not possible.

    Args:
        flatbuffer: the file, without an archive behind it.
        model: its ModelT.
        edits: new constants.
        scales: new scales of activations, by position of the tensor.
    """
    wanted = _by_tensor(model, edits)
    if wanted is None:
        return None
    root = schema().Model.GetRootAs(flatbuffer)
    writes = _writes(root, wanted, scales)
    if writes is None or _shared(root, writes, wanted, scales):
        return None
    out = bytearray(flatbuffer)
    for position, data in writes.items():
        out[position : position + len(data)] = data
    return bytes(out)


def _writes(root: Any, wanted: Mapping[int, Constant], scales: Mapping[int, float]) -> dict[int, bytes] | None:
    """What to write by position in the file; None where a vector has another length, or two contents."""
    writes: dict[int, bytes] = {}
    graph = root.Subgraphs(0)

    def put(position: int, data: bytes) -> bool:
        return writes.setdefault(position, data) == data

    for index, constant in wanted.items():
        tensor = graph.Tensors(index)
        quantization, buffer = tensor.Quantization(), root.Buffers(tensor.Buffer())
        zero_points = [] if quantization is None or quantization.ZeroPointIsNone() else quantization.ZeroPointAsNumpy()
        fits = (
            quantization is not None
            and buffer.DataLength() == len(constant.data)
            and quantization.ScaleLength() == len(constant.scale)
            and (len(constant.scale) == 1 or quantization.QuantizedDimension() == constant.axis)
            and not np.any(zero_points)
        )
        if not (
            fits
            and put(_vector(buffer, 4), constant.data)
            and put(_vector(quantization, 8), constant.scale.astype("<f4").tobytes())
        ):
            return None
    for index, scale in scales.items():
        if not put(_vector(graph.Tensors(index).Quantization(), 8), np.array([scale], "<f4").tobytes()):
            return None
    return writes


def _shared(root: Any, writes: Mapping[int, bytes], wanted: Mapping[int, Constant], scales: Mapping[int, float]) -> bool:
    """Whether a tensor that keeps its content lies on what is replaced: a writer may let several share one vector."""
    for number in range(root.SubgraphsLength()):
        for index in range(root.Subgraphs(number).TensorsLength()):
            tensor = root.Subgraphs(number).Tensors(index)
            quantization = tensor.Quantization()
            mine = number == 0 and (index in wanted or index in scales)
            if not mine and quantization is not None and quantization.ScaleLength() and _vector(quantization, 8) in writes:
                return True
            buffer = root.Buffers(tensor.Buffer())
            if not (number == 0 and index in wanted) and buffer.DataLength() and _vector(buffer, 4) in writes:
                return True
    return False


def _vector(table: Any, field: int) -> int:
    """Position in the file of a vector's first element; `field` is its slot in the table's vtable."""
    slot = table._tab.Offset(field)
    return int(table._tab.Vector(slot)) if slot else -1


def _by_tensor(model: Any, edits: Sequence[Edit]) -> dict[int, Constant] | None:
    """New content by tensor; None where tensors would have to be added or split."""
    wanted: dict[int, Constant] = {}
    users = Counter(int(i) for graph in model.subgraphs[:1] for op in graph.operators for i in op.inputs)
    edited: Counter[int] = Counter()
    for edit in edits:
        if edit.bias is not None and edit.layer.bias is None:
            return None
        for tensor, constant in ((edit.layer.weights, edit.weights), (edit.layer.bias, edit.bias)):
            if tensor is None or constant is None:
                continue
            edited[tensor.index] += 1
            if not wanted.setdefault(tensor.index, constant).same(constant):
                return None
    if any(users[index] != count for index, count in edited.items()):
        return None  # an operator without a patch reads it too
    return wanted
