# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Ops that IREE lowers by itself, against the TOSA specification's arithmetic in plain NumPy; and what it misreads."""

from __future__ import annotations

import itertools
import re
from typing import Any

import numpy as np
import pytest
from conftest import ROOT
from runtime_modules import RescaleCase, apply_rescale, constant, function, rescale, tensor
from tosa_rescale_runtime import DEFAULT_FLAGS, CompileError, Executable, Module, ModuleError, compile_module, prepare_for_iree

FAST = ("--iree-hal-target-device=local", "--iree-hal-local-target-device-backends=llvm-cpu", "--iree-opt-level=O0")
SHAPE = (1, 5, 7, 3)
NUMPY = {"i1": np.bool_, "i8": np.int8, "i16": np.int16, "i32": np.int32}
NAN = "nan_mode = #tosa.nan_mode<PROPAGATE>"


def op_module(
    kind: str, inputs: list[str], result: tuple[tuple[int, ...], str], attributes: str = "", constants: Any = ()
) -> str:
    """One op on inputs of shape SHAPE, followed by constant operands (values, element)."""
    arguments = [(f"x{i}", tensor(SHAPE, element)) for i, element in enumerate(inputs)]
    body = "".join(constant(f"k{i}", values, element) for i, (values, element) in enumerate(constants))
    types = [kind for _, kind in arguments] + [tensor(np.shape(values), element) for values, element in constants]
    names = [f"%x{i}" for i in range(len(inputs))] + [f"%k{i}" for i in range(len(constants))]
    given = f" <{{{attributes}}}>" if attributes else ""
    body += f'    %y = "tosa.{kind}"({", ".join(names)}){given} : ({", ".join(types)}) -> {tensor(*result)}\n'
    return function(arguments, body, [("y", tensor(*result))])


def values_of(element: str, seed: int = 0, shape: tuple[int, ...] = SHAPE) -> np.ndarray:
    """Extremes, small numbers with many ties, and numbers of any size."""
    rng = np.random.default_rng(seed)
    if element == "i1":
        return rng.integers(0, 2, shape).astype(bool)
    info = np.iinfo(NUMPY[element])
    every = [np.full(shape, info.min), np.full(shape, info.max), rng.integers(-2, 3, shape)]
    return np.choose(rng.integers(0, 4, shape), [*every, rng.integers(info.min, info.max, shape)]).astype(info.dtype)


def run(text: str, *arrays: np.ndarray) -> np.ndarray:
    return Executable.from_constants(text, flags=FAST, cache=False).run(*arrays)[0]


PAIRS = [(a, b) for a in NUMPY for b in NUMPY if a != b]


@pytest.mark.parametrize(("source", "target"), PAIRS)
def test_cast_keeps_the_low_bits_and_compares_booleans_with_zero(source, target):
    x = values_of(source)
    np.testing.assert_array_equal(run(op_module("cast", [source], (SHAPE, target)), x), x.astype(NUMPY[target]))


@pytest.mark.parametrize("axis", range(4))
@pytest.mark.parametrize("element", ["i8", "i16"])
def test_argmax_takes_the_lowest_index_of_equals(element, axis):
    x = values_of(element)
    result = tuple(n for i, n in enumerate(SHAPE) if i != axis)
    text = op_module("argmax", [element], (result, "i32"), f"axis = {axis} : i32, {NAN}")
    np.testing.assert_array_equal(run(text, x), x.argmax(axis))


REDUCTIONS = [("reduce_max", "i8"), ("reduce_min", "i16"), ("reduce_sum", "i32"), ("reduce_all", "i1"), ("reduce_any", "i1")]


@pytest.mark.parametrize("axis", range(4))
@pytest.mark.parametrize(("kind", "element"), REDUCTIONS)
def test_reductions(kind, element, axis):
    x = values_of(element)
    if kind == "reduce_sum":
        x >>= 4  # so that no sum overflows, which the specification leaves open
    result = tuple(1 if i == axis else n for i, n in enumerate(SHAPE))
    attributes = f"axis = {axis} : i32" + (f", {NAN}" if kind in ("reduce_max", "reduce_min") else "")
    reduce = {"reduce_max": np.max, "reduce_min": np.min, "reduce_sum": np.sum, "reduce_all": np.all, "reduce_any": np.any}
    text = op_module(kind, [element], (result, element), attributes)
    np.testing.assert_array_equal(run(text, x), reduce[kind](x, axis=axis, keepdims=True))


def test_table_of_256_entries():
    table, x = np.random.default_rng(1).integers(-128, 128, 256), values_of("i8")
    np.testing.assert_array_equal(
        run(op_module("table", ["i8"], (SHAPE, "i8"), "", [(table, "i8")]), x), table[x.astype(int) + 128]
    )


def test_table_of_513_entries_interpolates():
    table, x = (np.sin(np.arange(513) / 40) * 32767).astype(int), values_of("i16")
    wide = x.astype(int) + 32768
    index, fraction = wide >> 7, wide & 127
    expected = (table[index] << 7) + (table[index + 1] - table[index]) * fraction
    np.testing.assert_array_equal(run(op_module("table", ["i16"], (SHAPE, "i32"), "", [(table, "i16")]), x), expected)


@pytest.mark.parametrize("round_up", [False, True])
@pytest.mark.parametrize("element", ["i8", "i16", "i32"])
def test_arithmetic_right_shift(element, round_up):
    x = values_of(element)
    shift = np.random.default_rng(2).integers(0, np.iinfo(x.dtype).bits, SHAPE).astype(x.dtype)
    text = op_module("arithmetic_right_shift", [element, element], (SHAPE, element), f"round = {str(round_up).lower()}")
    half = ((x.astype(np.int64) >> np.maximum(shift.astype(np.int64) - 1, 0)) & 1) * (shift > 0) * round_up
    np.testing.assert_array_equal(run(text, x, shift), (x.astype(np.int64) >> shift.astype(np.int64)) + half)


WIDE = RescaleCase("i48", "i16", (20000,), (36,), scale32=False)


def int16_layer(bias: list[int]) -> tuple[str, np.ndarray, np.ndarray]:
    """A layer with int16 inputs and i48 accumulators, an input, and what it gives."""
    rng = np.random.default_rng(3)
    weight = rng.integers(-127, 128, (8, 1, 1, 4), dtype=np.int8)
    image, out = (2, 1, 1, 4), (2, 1, 1, 8)
    body = constant("w", weight, "i8") + constant("b", bias, "i48") + constant("xz", [0], "i16") + constant("wz", [0], "i8")
    body += (
        '    %a = "tosa.conv2d"(%x, %w, %b, %xz, %wz) <{acc_type = i48, dilation = array<i64: 1, 1>, '
        "pad = array<i64: 0, 0, 0, 0>, stride = array<i64: 1, 1>}> : "
        f"({tensor(image, 'i16')}, {tensor(weight.shape, 'i8')}, tensor<{len(bias)}xi48>, tensor<1xi16>, tensor<1xi8>) "
        f"-> {tensor(out, 'i48')}\n"
    )
    text = function([("x", tensor(image, "i16"))], body + rescale("y", "a", out, WIDE), [("y", tensor(out, "i16"))])
    x = values_of("i16", shape=image)
    accumulator = np.einsum("nhwc,oc->nhwo", x.astype(np.int64), weight[:, 0, 0].astype(np.int64)) + np.array(bias)
    return text, x, apply_rescale(accumulator, WIDE)


BIASES = {"mixed": [-5000000 * i for i in range(-3, 5)], "splat": [-5000000] * 8, "one-for-all": [-5000000]}


@pytest.mark.parametrize("bias", BIASES.values(), ids=BIASES)
def test_negative_48_bit_biases(bias):
    text, x, expected = int16_layer(bias)
    np.testing.assert_array_equal(run(text, x), expected)
    np.testing.assert_array_equal(Executable.build(text, flags=FAST, cache=False).run(x)[0], expected)
    prepared = prepare_for_iree(Module.parse(text).to_bytecode())
    vmfb = compile_module(prepared, FAST, cache=False)
    np.testing.assert_array_equal(Executable(vmfb, Module.parse(text).signature).run(x)[0], expected)


def test_padding_of_an_accumulator_by_a_negative_constant():
    text, x, expected = int16_layer([0] * 8)
    padding = constant("p", [-5000000], "i48") + (
        '    %s = "tosa.const_shape"() <{values = dense<[0, 0, 1, 0, 0, 0, 0, 0]> : tensor<8xindex>}> : () -> !tosa.shape<8>\n'
        '    %q = "tosa.pad"(%a, %s, %p) : (tensor<2x1x1x8xi48>, !tosa.shape<8>, tensor<1xi48>) -> tensor<2x2x1x8xi48>\n'
    )
    head, mark, tail = text.partition("    %y_m")
    tail = tail.replace("(%a,", "(%q,").replace("(tensor<2x1x1x8xi48>,", "(tensor<2x2x1x8xi48>,")
    text = head + padding + mark + tail.replace("tensor<2x1x1x8xi16>", "tensor<2x2x1x8xi16>")
    text = text.replace("-> (tensor<2x1x1x8xi16>)", "-> (tensor<2x2x1x8xi16>)")
    filled = np.full((2, 1, 1, 8), apply_rescale(np.array([-5000000]), WIDE)[0])
    np.testing.assert_array_equal(run(text, x), np.concatenate([filled, expected], 1))


def test_iree_still_takes_negative_48_bit_constants_for_positive_ones():
    """Fails when IREE mends it: then `_widen_constants` can go."""
    text, x, expected = int16_layer([-5000000] * 8)
    got = Executable(compile_module(text.encode(), FAST, cache=False), Module.parse(text).signature).run(x)[0]
    assert (got == 32767).all() and (expected < 32767).all()


def int4_layer() -> tuple[str, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(4)
    weight = rng.integers(-7, 8, (8, 1, 1, 3))
    out = (*SHAPE[:3], 8)
    body = constant("w", weight, "i4") + constant("b", [3] * 8, "i32") + constant("xz", [0], "i8") + constant("wz", [0], "i4")
    body += (
        '    %a = "tosa.conv2d"(%x, %w, %b, %xz, %wz) <{acc_type = i32, dilation = array<i64: 1, 1>, '
        "pad = array<i64: 0, 0, 0, 0>, stride = array<i64: 1, 1>}> : "
        f"({tensor(SHAPE, 'i8')}, {tensor(weight.shape, 'i4')}, tensor<8xi32>, tensor<1xi8>, tensor<1xi4>) "
        f"-> {tensor(out, 'i32')}\n"
    )
    case = RescaleCase("i32", "i8", (1 << 30,), (33,))
    text = function([("x", tensor(SHAPE, "i8"))], body + rescale("y", "a", out, case), [("y", tensor(out, "i8"))])
    x = values_of("i8")
    return text, x, apply_rescale(np.einsum("nhwc,oc->nhwo", x.astype(int), weight[:, 0, 0]) + 3, case)


@pytest.mark.parametrize("build", [Executable.build, Executable.from_constants], ids=["parameters", "constants"])
def test_weights_of_4_bits(build):
    text, x, expected = int4_layer()
    np.testing.assert_array_equal(build(text, flags=FAST, cache=False).run(x)[0], expected)


def test_iree_still_does_not_compile_weights_of_4_bits():
    """Fails when IREE mends it: then `widen_weights` can go."""
    with pytest.raises(CompileError, match=r"memref\.get_global"):
        compile_module(int4_layer()[0].encode(), FAST, cache=False)


PRODUCTS = [
    (2, 6, 6, 8, 0, 5),
    (3, 6, 8, 4, -128, 2),
    (2, 1, 5, 3, 7, -9),
    (1, 4, 3, 5, 1, 2),
    (2, 9, 8, 9, 3, 3),
    (4, 9, 8, 7, 3, 0),
]
"""Matrices, rows, depth, columns and the zero points of products of several matrices."""


def several_products(batch, rows, depth, columns, zero, other, turned=False) -> tuple[str, list[np.ndarray], np.ndarray]:
    """A module, inputs and what it gives; `turned`: its second input is the transpose of the second operand, as keys are."""
    rng = np.random.default_rng(7)
    shapes = [(batch, rows, depth), (batch, depth, columns)]
    given = [rng.integers(-128, 128, shape, np.int8) for shape in shapes]
    expected = (given[0].astype(np.int32) - zero) @ (given[1].astype(np.int32) - other)
    types = [tensor(shape, "i8") for shape in shapes]
    second, inputs = types[1], [("a", types[0]), ("b", types[1])]
    result = tensor((batch, rows, columns), "i32")
    body = constant("p", [zero], "i8") + constant("q", [other], "i8")
    if turned:
        inputs[1] = ("t", tensor((batch, columns, depth), "i8"))
        given[1] = np.ascontiguousarray(given[1].transpose(0, 2, 1))
        body += f'    %b = "tosa.transpose"(%t) <{{perms = array<i32: 0, 2, 1>}}> : ({inputs[1][1]}) -> {second}\n'
    body += f'    %y = "tosa.matmul"(%a, %b, %p, %q) : ({", ".join(types)}, tensor<1xi8>, tensor<1xi8>) -> {result}\n'
    return function(inputs, body, [("y", result)]), given, expected


@pytest.mark.parametrize("build", [Executable.build, Executable.from_constants], ids=["parameters", "constants"])
@pytest.mark.parametrize("turned", [False, True], ids=["", "turned"])
@pytest.mark.parametrize("case", PRODUCTS)
def test_products_of_several_matrices_with_zero_points(case, turned, build):
    text, given, expected = several_products(*case, turned)
    np.testing.assert_array_equal(build(text, cache=False).run(*given)[0], expected)


def test_iree_still_takes_the_sums_of_other_columns():
    """Fails when IREE mends it: then `correct_products` can leave the first zero point."""
    zero = 3
    text, given, expected = several_products(2, 9, 8, 9, zero, 0, turned=True)
    got = Executable(compile_module(text.encode(), DEFAULT_FLAGS, cache=False), Module.parse(text).signature).run(*given)[0]
    np.testing.assert_array_equal(got[0], expected[0])
    assert (got[1] != expected[1]).any()
    # Every row misses by the same: what is wrong is the sum of a column, times the zero point.
    missed = got[1] - expected[1]
    np.testing.assert_array_equal(missed, np.broadcast_to(missed[0], missed.shape))
    assert not (missed % zero).any()


def test_iree_still_takes_the_sums_of_other_rows():
    """Fails when IREE mends it: then `correct_products` can go."""
    text, given, expected = several_products(*PRODUCTS[0])
    got = Executable(compile_module(text.encode(), DEFAULT_FLAGS, cache=False), Module.parse(text).signature).run(*given)[0]
    np.testing.assert_array_equal(got[0], expected[0])
    sums = given[0][1].astype(np.int32).sum(1, keepdims=True)
    # Of rows two further on; the last two are beyond the sums, and anything.
    np.testing.assert_array_equal(got[1, :4], (expected[1] + PRODUCTS[0][-1] * sums)[:4] - PRODUCTS[0][-1] * sums[2:])


@pytest.mark.parametrize("build", [Executable.build, Executable.from_constants], ids=["parameters", "constants"])
@pytest.mark.parametrize(("stride", "out_pad"), [((2, 3), (0, 0, 0, 0)), ((2, 2), (-1, 1, -2, 0)), ((1, 1), (-1, 0, 2, -1))])
def test_transposed_convolutions_of_16_bits(stride, out_pad, build):
    """TRANSPOSE_CONV2D of the specification: every input adds its products where it lands."""
    rng = np.random.default_rng(9)
    x, w = rng.integers(-(1 << 15), 1 << 15, (1, 4, 3, 5)).astype(np.int16), rng.integers(-127, 128, (2, 3, 4, 5))
    bias = np.array([-5000000, 70000])
    height, width = (3 * stride[0] + out_pad[0] + out_pad[1] + 3, 2 * stride[1] + out_pad[2] + out_pad[3] + 4)
    expected = np.broadcast_to(bias, (1, height, width, 2)).astype(np.int64)
    for iy, ix, ky, kx in itertools.product(range(4), range(3), range(3), range(4)):
        oy, ox = iy * stride[0] + out_pad[0] + ky, ix * stride[1] + out_pad[2] + kx
        if 0 <= oy < height and 0 <= ox < width:
            expected[:, oy, ox] += x[:, iy, ix].astype(np.int64) @ w[:, ky, kx].T
    body = constant("w", w, "i8") + constant("b", bias, "i48") + constant("xz", [0], "i16") + constant("wz", [0], "i8")
    shape = expected.shape
    attributes = ", ".join(
        f"{name} = array<i64: {', '.join(map(str, v))}>" for name, v in (("out_pad", out_pad), ("stride", stride))
    )
    body += (
        f'    %a = "tosa.transpose_conv2d"(%x, %w, %b, %xz, %wz) <{{acc_type = i48, {attributes}}}> : '
        f"({tensor(x.shape, 'i16')}, {tensor(w.shape, 'i8')}, tensor<2xi48>, tensor<1xi16>, tensor<1xi8>) "
        f"-> {tensor(shape, 'i48')}\n"
    )
    text = function([("x", tensor(x.shape, "i16"))], body + rescale("y", "a", shape, WIDE), [("y", tensor(shape, "i16"))])
    np.testing.assert_array_equal(build(text, flags=FAST, cache=False).run(x)[0], apply_rescale(expected, WIDE))


def test_iree_still_does_not_compile_transposed_convolutions_of_16_bits():
    """Fails when IREE mends it: then `convolve_instead` can go."""
    page = (ROOT / "docs" / "iree-issues.md").read_text()
    (module,) = [part for part in re.findall(r"```mlir\n(.*?)```", page, re.DOTALL) if "transpose_conv2d" in part]
    with pytest.raises(CompileError, match=r"'tosa\.reshape' op illegal"):
        compile_module(module.encode(), FAST, cache=False)


def test_iree_still_refuses_padded_convolutions_of_160_channels():
    """Fails when IREE mends it: then a second try is for images of 1 x 1 alone."""
    from iree.compiler.tools import CompilerToolError, compile_str

    page = (ROOT / "docs" / "iree-issues.md").read_text()
    (module,) = [part for part in re.findall(r"```mlir\n(.*?)```", page, re.DOTALL) if "16x1x3x160xi8" in part]
    flags = [*(flag for flag in DEFAULT_FLAGS if "target-cpu" not in flag), "--iree-llvmcpu-target-cpu=rocketlake"]
    with pytest.raises(CompilerToolError, match="failed to run translation"):
        compile_str(module, extra_args=flags)
    assert compile_module(module.encode(), flags, cache=False)


def test_iree_still_loses_the_sign_of_bytes_without_dot_products(tmp_path):
    """Fails when IREE mends it: nothing in the kernel extends a sign."""
    page = (ROOT / "docs" / "iree-issues.md").read_text()
    (module,) = [part for part in re.findall(r"```mlir\n(.*?)```", page, re.DOTALL) if "16x1x1x16xi8" in part]

    def kernel(target):
        folder = tmp_path / target
        flags = ["--iree-hal-target-device=vulkan", f"--iree-vulkan-target={target}"]
        compile_module(module.encode(), [*flags, f"--iree-hal-dump-executable-intermediates-to={folder}"], cache=False)
        (text,) = [each.read_text() for each in folder.glob("*.spirv.mlir")]
        return text

    signed = re.compile("SConvert|ShiftRightArithmetic|BitFieldSExtract|SDot")
    assert not signed.search(kernel("vp_android_baseline_2022"))
    assert signed.search(kernel("valhall"))


def test_iree_still_multiplies_bytes_as_words(tmp_path):
    """Fails when IREE mends it: then the figures against XNNPACK in bench/README.md are to be measured again."""
    page = (ROOT / "docs" / "iree-issues.md").read_text()
    modules = [part for part in re.findall(r"```mlir\n(.*?)```", page, re.DOTALL) if "x14x" in part]
    products, depthwise = modules

    def instructions(name, module):
        flags = [*FAST[:2], "--iree-llvmcpu-target-cpu=cascadelake", "--iree-llvmcpu-target-triple=x86_64-unknown-linux-gnu"]
        flags += ["--iree-opt-data-tiling=true", "--iree-llvmcpu-enable-ukernels=all"]
        compile_module(module.encode(), [*flags, f"--iree-hal-dump-executable-intermediates-to={tmp_path / name}"], cache=False)
        (text,) = [each.read_text() for each in (tmp_path / name).glob("*.s")]
        return set(re.findall(r"\bvp(?:dp|mul)\w+", text))

    found = instructions("products", products)
    assert "vpdpwssd" in found and "vpdpbusd" not in found
    found = instructions("depthwise", depthwise)
    assert "vpmulld" in found and not any(each.startswith("vpdp") for each in found)


@pytest.mark.parametrize("build", [Executable.build, Executable.from_constants], ids=["parameters", "constants"])
def test_floating_point_is_refused_in_one_line(build):
    text = function([("x", "tensor<1x4xf32>")], "", [("x", "tensor<1x4xf32>")])
    with pytest.raises(ModuleError) as caught:
        build(text, source="net.mlir")
    assert str(caught.value) == (
        "net.mlir: requires integer inputs and outputs, got float32 for `input0`; "
        "quantize the model with integer inputs and outputs"
    )
