# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Operators that move data in float32, between a DEQUANTIZE and a QUANTIZE: LiteRT's converter leaves such now and then."""

from __future__ import annotations

import copy
import warnings
from typing import Any

import numpy as np
import pytest
import tosa_rescale as tr

pytest.importorskip("tensorflow")
with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    import networks
    import tensorflow as tf
    from networks import schema

Op = schema.BuiltinOperator


def split_and_joined(x: tf.Tensor) -> dict[str, tf.Tensor]:
    """A network whose middle moves data only: reshape, split, concatenation."""
    moved = tf.reshape(networks._dense(x, 0, 12), (1, 3, 4))
    first, second = tf.split(moved, 2, 2)
    return {"scores": networks._dense(tf.reshape(tf.concat([second, first], 1), (1, 12)), 1, 5)}


def with_islands(data: bytes, kinds: tuple[int, ...], factor: float = 1.0) -> bytes:
    """The same network; operators of `kinds` stand in float32 between DEQUANTIZE and QUANTIZE, whose scale is `factor` times
    the scale of what was dequantized."""
    model = networks.unpack(data)
    graph = model.subgraphs[0]
    codes = {kind: len(model.operatorCodes) + at for at, kind in enumerate((Op.DEQUANTIZE, Op.QUANTIZE))}
    names = [each.builtinCode for each in model.operatorCodes]
    model.operatorCodes += [networks.operator_code(kind, version=2) for kind in codes]

    def real(index: int) -> int:
        tensor = copy.copy(graph.tensors[index])
        tensor.type, tensor.quantization, tensor.name = schema.TensorType.FLOAT32, None, tensor.name + b"/real"
        graph.tensors.append(tensor)
        return len(graph.tensors) - 1

    def convert(kind: int, before: int, after: int) -> Any:
        operator = schema.OperatorT()
        operator.opcodeIndex, operator.inputs, operator.outputs = codes[kind], [before], [after]
        return operator

    ordered = []
    for operator in graph.operators:
        if names[operator.opcodeIndex] not in kinds:
            ordered.append(operator)
            continue
        integers = [int(i) for i in operator.inputs if graph.tensors[i].type == schema.TensorType.INT8]
        made = [int(i) for i in operator.outputs]
        inner = {index: real(index) for index in dict.fromkeys([*integers, *made])}
        operator.inputs = [inner.get(int(i), int(i)) for i in operator.inputs]
        operator.outputs = [inner[i] for i in made]
        for index in made:
            quantization = copy.copy(graph.tensors[index].quantization)
            quantization.scale = np.float32(quantization.scale) * np.float32(factor)
            graph.tensors[index].quantization = quantization
        ordered += [convert(Op.DEQUANTIZE, i, inner[i]) for i in dict.fromkeys(integers)]
        ordered += [operator, *(convert(Op.QUANTIZE, inner[i], i) for i in made)]
    graph.operators = ordered
    return networks.pack(model)


@pytest.fixture(scope="module")
def plain() -> bytes:
    return networks.convert(split_and_joined, {"x": (1, 6)}, "int8")


@pytest.mark.parametrize("kinds", [(Op.SPLIT,), (Op.CONCATENATION,), (Op.RESHAPE,), (Op.RESHAPE, Op.SPLIT, Op.CONCATENATION)])
def test_islands_are_read_as_the_integers_that_they_move(kinds: tuple[int, ...], plain: bytes, tmp_path) -> None:
    islands = with_islands(plain, kinds)
    (tmp_path / "islands.tflite").write_bytes(islands)
    model = tr.load(tmp_path / "islands.tflite")
    (remark,) = model.remarks
    assert "moves integers instead of float32" in remark.text and "stays" not in remark.text
    draw = np.random.default_rng(0).integers(-128, 128, (64, 1, 6), np.int8)
    written = networks.unpack(model.to_litert())
    assert not {Op.DEQUANTIZE, Op.QUANTIZE} & {
        written.operatorCodes[o.opcodeIndex].builtinCode for o in written.subgraphs[0].operators
    }
    for each in draw:  # LiteRT itself computes the same of the file as it came and as it is written
        asked = networks.run_litert(islands, [each])
        assert all(map(np.array_equal, asked, networks.run_litert(model.to_litert(), [each])))
    narrowed = model.compensate(1, scope="all", calibration="none")
    assert all(each.bits == 1 for each in narrowed.info())
    assert not tr.load(narrowed.save(tmp_path / "back.tflite")).remarks


@pytest.mark.parametrize("kinds", [(Op.SPLIT,), (Op.RESHAPE,)])
def test_an_island_that_changes_the_scale_stays(kinds: tuple[int, ...], plain: bytes, tmp_path) -> None:
    (tmp_path / "islands.tflite").write_bytes(with_islands(plain, kinds, factor=1.5))
    (remark,) = tr.load(tmp_path / "islands.tflite").remarks
    assert remark.text.startswith("stays as it is") and "QUANTIZE" in remark.text


def test_an_island_that_the_file_gives_out_stays(plain: bytes, tmp_path) -> None:
    model = networks.unpack(with_islands(plain, (Op.SPLIT,)))
    graph = model.subgraphs[0]
    split = next(each for each in graph.operators if model.operatorCodes[each.opcodeIndex].builtinCode == Op.SPLIT)
    graph.outputs = [*graph.outputs, int(split.outputs[0])]
    model.signatureDefs = []
    (tmp_path / "islands.tflite").write_bytes(networks.pack(model))
    (remark,) = tr.load(tmp_path / "islands.tflite").remarks
    assert remark.text.startswith("stays as it is") and "SPLIT" in remark.text
