# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Operators that LiteRT's converter leaves in float32 between a DEQUANTIZE and a QUANTIZE: moves, negations and squares."""

from __future__ import annotations

import copy
import functools
import pathlib
import warnings
from typing import Any

import numpy as np
import pytest
import tosa_rescale as tr
from tosa_rescale_runtime import Executable

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


def layer_norms(x: tf.Tensor, square: bool = False, width: int = 8) -> dict[str, tf.Tensor]:
    """A layer normalization as Keras 3 writes it, which negates a mean, and a root-mean-square one, which squares."""
    y = networks._dense(x, 0, width)
    mean = tf.reduce_mean(y, -1, True)
    inverse = tf.math.rsqrt(tf.reduce_mean(tf.math.squared_difference(y, mean), -1, True) + 1e-3)
    y = networks._dense(y * inverse + (-mean * inverse), 1, width)
    if square:
        y = y * tf.math.rsqrt(tf.reduce_mean(tf.square(y), -1, True) + 1e-3)
    return {"y": networks._dense(y, 2, 5)}


@pytest.fixture(scope="module")
def negating() -> bytes:
    """The converter has no quantized NEG, so it leaves it in float32."""
    return networks.convert(layer_norms, {"x": (4, 6)}, "int8")


@pytest.fixture(scope="module")
def squaring() -> bytes:
    return networks.convert(functools.partial(layer_norms, square=True), {"x": (4, 6)}, "int8")


def kinds_of(data: bytes) -> list[int]:
    model = networks.unpack(data)
    return [model.operatorCodes[each.opcodeIndex].builtinCode for each in model.subgraphs[0].operators]


def test_a_negation_computes_with_integers(negating: bytes, tmp_path) -> None:
    assert {Op.NEG, Op.DEQUANTIZE} <= set(kinds_of(negating))
    (tmp_path / "norm.tflite").write_bytes(negating)
    model = tr.load(tmp_path / "norm.tflite")
    (remark,) = model.remarks
    assert remark.text.startswith("computes with integers instead of float32") and "SUB" in remark.text
    written = model.to_litert()
    assert not {Op.NEG, Op.DEQUANTIZE, Op.QUANTIZE} & set(kinds_of(written))
    draw = np.random.default_rng(0).integers(-128, 128, (64, 4, 6), np.int8)
    for each in draw:  # LiteRT in float32 between integers is the oracle
        assert all(map(np.array_equal, networks.run_litert(negating, [each]), networks.run_litert(written, [each])))


def test_every_rescale_behind_negations_and_squares_is_a_shift(squaring: bytes, tmp_path) -> None:
    assert {Op.NEG, Op.SQUARE, Op.DEQUANTIZE} <= set(kinds_of(squaring))
    (tmp_path / "norms.tflite").write_bytes(squaring)
    narrowed = tr.load(tmp_path / "norms.tflite").compensate(1, scope="all", calibration="none")
    assert len(narrowed.info()) > 20 and all(each.bits == 1 for each in narrowed.info())
    back = narrowed.save(tmp_path / "back.tflite")
    assert not {Op.NEG, Op.SQUARE, Op.DEQUANTIZE, Op.QUANTIZE} & set(kinds_of(back.read_bytes()))
    assert not tr.load(back).remarks


def test_a_mean_of_a_number_of_values_that_is_no_power_of_two_leaves_two_multipliers_wide(tmp_path) -> None:
    """As docs/alignment.md says; fails when they can be narrow."""
    data = networks.convert(functools.partial(layer_norms, width=12), {"x": (4, 6)}, "int8")
    (tmp_path / "norm.tflite").write_bytes(data)
    narrowed = tr.load(tmp_path / "norm.tflite").compensate(1, scope="all", calibration="none")
    assert sum(each.bits > 1 for each in narrowed.info()) == 2


def island_of(kind: int, given: tuple[float, int], made: tuple[float, int]) -> bytes:
    """DEQUANTIZE, one operator and QUANTIZE of int8 [1, 256], with scales and zero points of both ends."""
    model, graph = schema.ModelT(), schema.SubGraphT()
    model.version, model.subgraphs, model.buffers = 3, [graph], [schema.BufferT()]
    model.operatorCodes = [networks.operator_code(each, version=2) for each in (Op.DEQUANTIZE, kind, Op.QUANTIZE)]
    graph.tensors, graph.operators, graph.inputs, graph.outputs = [], [], [0], [3]
    for name, numbers in ((b"x", given), (b"real", None), (b"result", None), (b"y", made)):
        tensor = schema.TensorT()
        tensor.name, tensor.shape, tensor.buffer = name, np.array([1, 256], np.int32), 0
        tensor.type = schema.TensorType.FLOAT32 if numbers is None else schema.TensorType.INT8
        if numbers is not None:
            tensor.quantization = schema.QuantizationParametersT()
            tensor.quantization.scale = np.array(numbers[:1], np.float32)
            tensor.quantization.zeroPoint = np.array(numbers[1:], np.int64)
        graph.tensors.append(tensor)
    for position in range(3):
        operator = schema.OperatorT()
        operator.opcodeIndex, operator.inputs, operator.outputs = position, [position], [position + 1]
        graph.operators.append(operator)
    return networks.pack(model)


INTEGERS = np.arange(-128, 128).reshape(1, 256)


def computed(kind: int, given: tuple[float, int], made: tuple[float, int], folder: pathlib.Path) -> np.ndarray:
    (folder / "island.tflite").write_bytes(island_of(kind, given, made))
    (found,) = Executable.build(tr.load(folder / "island.tflite").bytecode, cache=False).run(INTEGERS.astype(np.int8))
    return found


@pytest.mark.parametrize("scales", [(0.5, 0.5), (0.0072, 0.0124), (0.0341, 0.0173)])
def test_every_integer_is_negated_as_in_float32(scales: tuple[float, float], tmp_path) -> None:
    given, made = (np.float32(each) for each in scales)
    real = -(INTEGERS - 5) * np.float64(given) / np.float64(made)
    nearest = np.floor(np.abs(real) + 0.5) * np.sign(real)
    np.testing.assert_array_equal(computed(Op.NEG, (given, 5), (made, -7), tmp_path), np.clip(nearest - 7, -128, 127))


def test_every_integer_is_squared_as_the_kernel_of_mul_does(tmp_path) -> None:
    """LiteRT's MultiplyByQuantizedMultiplier: the high half of twice the product, rounded, then shifted and rounded."""
    given, made = np.float32(0.031), np.float32(0.0173)
    factor, exponent = np.frexp(np.float64(given) * np.float64(given) / np.float64(made))
    multiplier = int(np.floor(factor * 2**31 + 0.5))
    high = ((INTEGERS - 5) ** 2 * multiplier + (1 << 30)) >> 31
    expected = np.clip(((high + (1 << (-exponent - 1))) >> -exponent) - 7, -128, 127)
    np.testing.assert_array_equal(computed(Op.SQUARE, (given, 5), (made, -7), tmp_path), expected)


def test_a_negation_that_the_file_gives_out_in_float32_is_computed_twice(negating: bytes, tmp_path) -> None:
    model = networks.unpack(negating)
    graph = model.subgraphs[0]
    negation = next(each for each in graph.operators if model.operatorCodes[each.opcodeIndex].builtinCode == Op.NEG)
    graph.outputs = [*graph.outputs, int(negation.outputs[0])]
    model.signatureDefs = []
    data = networks.pack(model)
    (tmp_path / "given.tflite").write_bytes(data)
    loaded = tr.load(tmp_path / "given.tflite")
    assert any("stays as it is" in each.text and "NEG" in each.text for each in loaded.remarks)
    assert Op.NEG in kinds_of(loaded.to_litert()) and Op.SUB in kinds_of(loaded.to_litert())
    draw = np.random.default_rng(0).integers(-128, 128, (4, 4, 6), np.int8)
    for each in draw:
        asked, got = networks.run_litert(data, [each]), networks.run_litert(loaded.to_litert(), [each])
        assert len(asked) == 2 and all(map(np.array_equal, asked, got))
