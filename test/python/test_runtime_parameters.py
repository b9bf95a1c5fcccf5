# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Compile once: the skeleton with parameters gives the bits of the module with constants, and of the specification."""

from __future__ import annotations

import itertools
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from runtime_modules import (
    ConvNet,
    RescaleCase,
    apply_rescale,
    constant,
    function,
    rescale,
    rescale_module,
    shared_file,
    tensor,
)
from tosa_rescale_runtime import Cache, Executable, ExecutionError, ModuleError, Tap, compare_all, externalize
from tosa_rescale_runtime import compile as compile_file
from tosa_rescale_runtime.arithmetic import pack_rescale

FAST = ("--iree-hal-target-device=local", "--iree-hal-local-target-device-backends=llvm-cpu", "--iree-opt-level=O0")
SHAPE = (1, 64, 3)
ZERO_POINTS = {"i8": (0, 5, -128), "ui8": (0, 131, 255), "i16": (0,), "ui16": (0, 32768), "i32": (0,)}


def build_both(text: str, cache: Cache) -> tuple[Executable, Executable]:
    return Executable.build(text, flags=FAST, cache=cache), Executable.from_constants(text, flags=FAST, cache=cache)


@pytest.fixture
def cache(tmp_path):
    return Cache(tmp_path)


def edge_values(case: RescaleCase, rng: np.random.Generator) -> np.ndarray:
    """Inputs around every place where the arithmetic may go wrong: ties, saturation, both signs, extremes."""
    info = np.iinfo({"i8": np.int8, "ui8": np.uint8, "i16": np.int16, "ui16": np.uint16, "i32": np.int32}[case.source])
    values = [0, 1, -1, 2, -2, info.min, info.max, info.min + 1, info.max - 1]
    for multiplier, shift in zip(case.multiplier, case.shift, strict=True):
        # v * m / 2^s is half an odd number, or a bound of the output type, near these v.
        for half in (1, 3, 5, 253, 255, 257, 511, 65535):
            tie = (half << shift) // (2 * multiplier) if multiplier else 0
            values += [sign * (tie + step) + case.input_zp for sign in (1, -1) for step in (-1, 0, 1)]
    values += rng.integers(info.min, info.max, 40, endpoint=True).tolist()
    # `scale32` admits values in [-2^(s-1), 2^(s-1)) only.
    bound = min(1 << (min(case.shift) - 1), 1 << 31) - 1 if case.scale32 else 1 << 31
    low, high = max(info.min, case.input_zp - bound), min(info.max, case.input_zp + bound)
    # scale16 requires that the result fits 32 bits; with these m and s every i32 does.
    count = int(np.prod(SHAPE))
    return np.resize(np.clip(np.array(values, object), low, high), count).reshape(SHAPE).astype(info.dtype)


def cases_of(source: str, target: str) -> list[RescaleCase]:
    scales = [
        ((1518500250,), (37,), True, True),  # the common form of a model
        ((1518500250,), (37,), True, False),
        ((1518500250, 1073741824, 2147483647), (37, 31, 33), True, True),  # 31 and above meet in one tensor
        ((168 << 23, 1 << 30, 3 << 29), (40, 38, 30), True, False),  # aligned k = 8, 1, 2
        ((168, 1, 3), (17, 9, 2), False, False),  # the same widths as scale16
        ((1 << 30,), (30,), True, True),  # identity; DOUBLE_ROUND has no effect below 32
        ((1 << 30,), (62,), True, True),
        ((0,), (31,), True, False),
    ]
    made = []
    for number, (multiplier, shift, scale32, double) in enumerate(scales):
        if not scale32 and source == "i32" and target == "i32" and 3 in multiplier:
            multiplier, shift = (168, 1, 3), (17, 9, 4)
        zps = itertools.cycle(ZERO_POINTS[source]), itertools.cycle(ZERO_POINTS[target])
        input_zp, output_zp = (list(itertools.islice(z, number + 1))[-1] for z in zps)
        made.append(RescaleCase(source, target, multiplier, shift, input_zp, output_zp, double, scale32))
    return made


@pytest.mark.parametrize("source", ["i8", "ui8", "i16", "ui16", "i32"])
def test_rescale_equals_constants_and_specification(source, cache):
    targets = {"ui8": ["i8", "i16"], "ui16": ["i16"]}.get(source, ["i8", "ui8", "i16", "ui16", "i32"])
    cases = [case for target in targets for case in cases_of(source, target)]
    rng = np.random.default_rng(0)
    inputs = [edge_values(case, rng) for case in cases]
    externalized, constants = (e.run(*inputs) for e in build_both(rescale_module(cases, SHAPE), cache))
    for case, x, ours, theirs in zip(cases, inputs, externalized, constants, strict=True):
        expected = apply_rescale(x, case)
        np.testing.assert_array_equal(ours, expected, err_msg=str(case))
        np.testing.assert_array_equal(theirs, expected, err_msg=str(case))
        assert ours.dtype == expected.dtype


def test_48_bit_accumulator(cache):
    """int16 activations: the accumulator and the bias are i48, the multiplier i16."""
    rng = np.random.default_rng(1)
    channels = 8
    weight = rng.integers(-127, 128, (channels, 1, 1, 64), dtype=np.int8)
    bias = np.array([-(1 << 40), 1 << 40, 0, -1, 1 << 35, -(1 << 35), 12345, -12345], np.int64)
    case = RescaleCase(
        "i48", "i16", (23170, 16384, 32767, 3, 1, 20000, 30000, 25000), (40, 40, 38, 25, 22, 37, 34, 34), scale32=False
    )
    image, out = (1, 5, 5, 64), (1, 5, 5, channels)
    body = constant("w", weight, "i8") + constant("b", bias, "i48")
    body += constant("xz", [0], "i16") + constant("wz", [0], "i8")
    body += (
        '    %a = "tosa.conv2d"(%x, %w, %b, %xz, %wz) <{acc_type = i48, dilation = array<i64: 1, 1>, '
        "pad = array<i64: 0, 0, 0, 0>, stride = array<i64: 1, 1>}> : "
        f"({tensor(image, 'i16')}, {tensor(weight.shape, 'i8')}, tensor<{channels}xi48>, tensor<1xi16>, tensor<1xi8>) "
        f"-> {tensor(out, 'i48')}\n"
    )
    body += rescale("y", "a", out, case)
    text = function([("x", tensor(image, "i16"))], body, [("y", tensor(out, "i16"))])
    x = rng.integers(-32768, 32768, image, dtype=np.int16)
    accumulator = np.einsum("nhwc,oc->nhwo", x.astype(np.int64), weight[:, 0, 0].astype(np.int64)) + bias
    expected = apply_rescale(accumulator, case)
    for executable in build_both(text, cache):
        np.testing.assert_array_equal(executable.run(x)[0], expected)
    tapped = Executable.build(text, taps=[Tap("rescale0", 0)], flags=FAST, cache=cache).run(x)
    np.testing.assert_array_equal(tapped[0], expected)
    np.testing.assert_array_equal(tapped[1], accumulator)
    with pytest.raises(ModuleError, match="would return `i48`"):
        externalize(text, [Tap("rescale0", 0, channel_sum=True)])
    assert externalize(text).parameters["conv2d0.bias"].dtype == np.int64


def test_network_equals_constants_and_plain_sums(cache):
    rng = np.random.default_rng(2)
    net = ConvNet.random()
    x = rng.integers(-128, 128, (1, 6, 6, 4), dtype=np.int8)
    for executable in build_both(net.text(), cache):
        np.testing.assert_array_equal(executable.run(x)[0], net.apply(x))


def count_compilations(monkeypatch) -> list[str]:
    made: list[str] = []
    run = compile_file._run_compiler

    def counted(bytecode, flags, key):
        made.append(key)
        return run(bytecode, flags, key)

    monkeypatch.setattr(compile_file, "_run_compiler", counted)
    return made


def test_one_compile_serves_every_width_encoding_and_weight(cache, monkeypatch):
    made = count_compilations(monkeypatch)
    rng = np.random.default_rng(3)
    x = rng.integers(-128, 128, (1, 6, 6, 4), dtype=np.int8)
    base = ConvNet.random()
    retrained = ConvNet.random(seed=9)
    variants = [base, *(base.narrowed(k) for k in (30, 8, 4, 1)), base.narrowed(8, "scale16"), retrained.narrowed(3)]
    skeleton = externalize(base.text())
    first = Executable.from_skeleton(skeleton, flags=FAST, cache=cache)
    for net in variants:
        other = externalize(net.text())
        assert other.bytecode == skeleton.bytecode
        # Both ways to the same: compiled again, which the cache answers, and with the parameters swapped.
        for executable in (
            Executable.from_skeleton(other, flags=FAST, cache=cache),
            first.with_parameters(other.parameters),
        ):
            np.testing.assert_array_equal(executable.run(x)[0], net.apply(x))
    assert len(made) == 1


def test_skeleton_does_not_depend_on_how_constants_are_shared():
    net = ConvNet.random()
    assert externalize(net.text(True)).bytecode == externalize(net.text(False)).bytecode


def test_skeleton_does_not_depend_on_the_multiplier_being_per_channel():
    net = ConvNet.random()
    per_tensor = replace(net, first=replace(net.first, multiplier=net.first.multiplier[:1], shift=net.first.shift[:1]))
    assert externalize(per_tensor.text()).bytecode == externalize(net.text()).bytecode
    assert externalize(per_tensor.text()).parameters["rescale0.words"].shape == (8,)


def test_skeleton_ignores_locations_and_foreign_attributes():
    text = ConvNet.random().text()
    marked = text.replace("module {", 'module attributes {tosa_rescale.recipe = ["narrow"]} {')
    marked = marked.replace("}> : (tensor<1x6x6x8xi32>", "}> {tosa_rescale.bits = 4 : i32} : (tensor<1x6x6x8xi32>")
    assert marked.count("tosa_rescale.bits") == 2
    # The blank lines move every location.
    assert externalize("\n\n" + marked).bytecode == externalize(text).bytecode


def test_taps_return_inner_values_in_addition(cache):
    net = ConvNet.random()
    taps = [
        Tap("rescale0"),
        Tap("conv2d0"),
        Tap("depthwise_conv2d0", operand=0, channel_sum=True),
        Tap("conv2d0", channel_sum=True),
    ]
    executable = Executable.build(net.text(), taps=["rescale0", *taps[1:]], flags=FAST, cache=cache)
    assert [spec.name for spec in executable.outputs[1:]] == [
        "rescale0", "conv2d0", "depthwise_conv2d0.in0.channel_sum", "conv2d0.channel_sum",
    ]  # fmt: skip
    x = np.random.default_rng(4).integers(-128, 128, (3, 6, 6, 4), dtype=np.int8)
    many = executable.run_many(x, workers=2)
    for index in range(len(x)):
        first, middle, _, last = net.layers(x[index : index + 1])
        np.testing.assert_array_equal(many[0][index], last[0])
        np.testing.assert_array_equal(many[1][index], middle[0])
        np.testing.assert_array_equal(many[2][index], first[0])
        np.testing.assert_array_equal(many[3][index], middle[0].astype(np.int64).sum((0, 1)))
        np.testing.assert_array_equal(many[4][index], first[0].sum((0, 1)))
    # The same, a few samples at a time, outputs and taps apart.
    for chunk, sizes in ((1, [1, 1, 1]), (2, [2, 1]), (9, [3])):
        parts = list(executable.run_taps(x, chunk=chunk))
        assert [len(part.outputs[0]) for part in parts] == sizes
        assert [tuple(part.taps) for part in parts] == [tuple(taps)] * len(sizes)
        np.testing.assert_array_equal(np.concatenate([part.outputs[0] for part in parts]), many[0])
        for tap, expected in zip(taps, many[1:], strict=True):
            np.testing.assert_array_equal(np.concatenate([part.taps[tap] for part in parts]), expected)
    with pytest.raises(ExecutionError, match="chunk: 0 is out of range; give at least 1"):
        next(executable.run_taps(x, chunk=0))


def test_taps_of_all_sizes_and_ranks_come_back_apart(cache):
    # One result for each width of elements; a scalar is a tensor without dimensions.
    text = """"builtin.module"() ({
  "func.func"() <{function_type = (tensor<2x3xi8>) -> (tensor<2x3xi8>, tensor<i32>), sym_name = "main"}> ({
  ^bb0(%x: tensor<2x3xi8>):
    %zero = "tosa.const"() <{values = dense<0> : tensor<1x1xi32>}> : () -> tensor<1x1xi32>
    %none = "tosa.const_shape"() <{values = dense<> : tensor<0xindex>}> : () -> !tosa.shape<0>
    %wide = "tosa.cast"(%x) : (tensor<2x3xi8>) -> tensor<2x3xi16>
    %wider = "tosa.cast"(%x) : (tensor<2x3xi8>) -> tensor<2x3xi32>
    %above = "tosa.greater"(%wider, %zero) : (tensor<2x3xi32>, tensor<1x1xi32>) -> tensor<2x3xi1>
    %row = "tosa.reduce_sum"(%wider) <{axis = 0 : i32}> : (tensor<2x3xi32>) -> tensor<1x3xi32>
    %sum = "tosa.reduce_sum"(%row) <{axis = 1 : i32}> : (tensor<1x3xi32>) -> tensor<1x1xi32>
    %scalar = "tosa.reshape"(%sum, %none) : (tensor<1x1xi32>, !tosa.shape<0>) -> tensor<i32>
    %y = "tosa.abs"(%wider) : (tensor<2x3xi32>) -> tensor<2x3xi32>
    %low = "tosa.cast"(%y) : (tensor<2x3xi32>) -> tensor<2x3xi8>
    "func.return"(%low, %scalar) : (tensor<2x3xi8>, tensor<i32>) -> ()
  }) : () -> ()
}) : () -> ()
"""
    x = np.random.default_rng(0).integers(-128, 128, (2, 3), dtype=np.int8)
    taps = ["cast1", "greater0", "cast0", "reshape0", Tap("cast0", 0), "reduce_sum0"]
    got = Executable.build(text, taps=taps, flags=FAST, cache=cache).run(x)
    wide = x.astype(np.int32)
    wanted = [abs(wide).astype(np.int8), wide.sum(), wide, x > 0, x.astype(np.int16), wide.sum(), x, wide.sum(0, keepdims=True)]
    for found, expected in zip(got, wanted, strict=True):
        assert found.shape == expected.shape
        np.testing.assert_array_equal(found, expected)


def test_channel_sum_of_an_unsigned_input_counts_it_as_unsigned(cache):
    text = rescale_module([RescaleCase("ui8", "i8", (1 << 30,), (30,), input_zp=128)], SHAPE)
    executable = Executable.build(text, taps=[Tap("rescale0", 0, True)], flags=FAST, cache=cache)
    x = np.full(SHAPE, 200, np.uint8)
    y, total = executable.run(x)
    np.testing.assert_array_equal(y, np.full(SHAPE, 72, np.int8))
    np.testing.assert_array_equal(total, np.full(3, 64 * 200))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (ConvNet.random().text().replace("DOUBLE_ROUND", "INEXACT_ROUND"), "requires SINGLE_ROUND or DOUBLE_ROUND"),
        (rescale_module([RescaleCase("i32", "i8", (1 << 30,), (63,))], SHAPE), "requires shifts in 1..62"),
        (
            rescale_module([RescaleCase("i32", "i8", (-3,), (40,))], SHAPE),
            r"requires multipliers in 0..2147483647, got \[-3, -3\]",
        ),
        (
            rescale_module([RescaleCase("i32", "i8", (1 << 30,), (30,))], SHAPE).replace("1x64x3", "?x64x3"),
            "dynamic shape",
        ),
    ],
)
def test_what_cannot_be_externalized_is_refused(text, message):
    with pytest.raises(ModuleError, match=message) as caught:
        externalize(text, source="net.mlir")
    assert "\n" not in str(caught.value)


def test_tap_of_an_unknown_op_is_refused():
    with pytest.raises(ModuleError, match="names the op `rescale7`"):
        externalize(ConvNet.random().text(), ["rescale7"])


def test_words_of_a_rescale():
    twice = pack_rescale(np.array([5, (1 << 31) - 1]), np.array([31, 62]), double_round=True)
    np.testing.assert_array_equal(twice, [5 | 31 << 32, ((1 << 31) - 1) | 62 << 32 | 1 << 40])
    assert int(pack_rescale(np.array(5), np.array(40), double_round=False)) == 5 | 40 << 32


def test_real_model_equals_constants(tmp_path):
    """MobileNet-V1 0.25 uint8: unsigned edges, softmax tables, depthwise layers."""
    converter = pytest.importorskip("tosa_converter_for_tflite")
    model = shared_file("models", "mobilenet_v1_0.25_128_uint8.tflite")
    converted = tmp_path / "model.mlirbc"
    converter.tflite_flatbuffer_to_tosa_mlir(str(model), str(converted))
    data = converted.read_bytes()
    # Two compilations that share as little as possible: the flags that users get, and no optimization.
    externalized = Executable.build(data)
    constants = Executable.from_constants(data, flags=FAST)
    x = np.random.default_rng(5).integers(0, 256, (8, 128, 128, 3), dtype=np.uint8)
    difference = compare_all(externalized.run_many(x), constants.run_many(x))
    assert difference.values == 8 * 1001
    assert difference.exact


def clamped_module(bounds: tuple[tuple[int, int], ...], addend: int, factors: tuple[int, ...], entries: np.ndarray) -> str:
    """Clamps of an argument, of a rescale that nothing else reads and of one that is returned, too; constants beside them."""
    shape, kind, wide = (1, 4, 3), tensor((1, 4, 3), "i8"), tensor((1, 4, 3), "i32")
    case = RescaleCase("i8", "i8", (3 << 28,), (29,))

    def clamp(name: str, operand: str, limits: tuple[int, int]) -> str:
        low, high = limits
        return (
            f'    %{name} = "tosa.clamp"(%{operand}) <{{min_val = {low} : i8, max_val = {high} : i8}}> : ({kind}) -> {kind}\n'
        )

    body = clamp("a", "x", bounds[0]) + rescale("r", "a", shape, case) + clamp("b", "r", bounds[1])
    body += rescale("q", "b", shape, case) + clamp("c", "q", bounds[2])
    body += constant("entries", entries.astype(np.int8), "i8")
    body += f'    %t = "tosa.table"(%c, %entries) : ({kind}, tensor<256xi8>) -> {kind}\n'
    body += rescale("w", "t", shape, RescaleCase("i8", "i32", (1 << 30,), (30,)))
    body += constant("addend", np.full((1, 1, 1), addend), "i32") + constant("factors", np.reshape(factors, (1, 1, 3)), "i32")
    body += constant("none", np.zeros(1, int), "i8")
    body += f'    %s = "tosa.add"(%w, %addend) : ({wide}, tensor<1x1x1xi32>) -> {wide}\n'
    body += f'    %m = "tosa.mul"(%s, %factors, %none) : ({wide}, tensor<1x1x3xi32>, tensor<1xi8>) -> {wide}\n'
    return function([("x", kind)], body, [("b", kind), ("q", kind), ("m", wide)])


def test_clamps_and_constants_are_parameters(cache, monkeypatch):
    made = count_compilations(monkeypatch)
    rng = np.random.default_rng(8)
    x = np.concatenate([np.array([-128, -127, -1, 0, 1, 126, 127], np.int8), rng.integers(-128, 128, 5, np.int8)])
    x = x.reshape(1, 4, 3)
    case = RescaleCase("i8", "i8", (3 << 28,), (29,))
    for bounds in (((-128, 127),) * 3, ((-100, 90), (-50, 127), (-3, 77)), ((5, 5), (-128, 127), (0, 6))):
        addend, factors = int(rng.integers(-9, 9)), tuple(rng.integers(-9, 9, 3).tolist())
        entries = rng.integers(-128, 128, 256)
        executable = Executable.build(clamped_module(bounds, addend, factors, entries), flags=FAST, cache=cache)
        b = np.clip(apply_rescale(np.clip(x, *bounds[0]), case), *bounds[1])
        q = apply_rescale(b, case)
        m = (entries[np.clip(q, *bounds[2]).astype(int) + 128] + addend) * factors
        for got, expected in zip(executable.run(x), (b, q, m), strict=True):
            np.testing.assert_array_equal(got, expected)
    assert len(made) == 1


def test_a_clamp_behind_a_rescale_does_not_show_in_the_skeleton():
    case = RescaleCase("i32", "i16", (1 << 30,), (40,))
    kinds = tensor(SHAPE, "i32"), tensor(SHAPE, "i16")
    plain = function([("x", kinds[0])], rescale("y", "x", SHAPE, case), [("y", kinds[1])])
    clamp = f'    %z = "tosa.clamp"(%y) <{{min_val = -300 : i16, max_val = 200 : i16}}> : ({kinds[1]}) -> {kinds[1]}\n'
    clamped = function([("x", kinds[0])], rescale("y", "x", SHAPE, case) + clamp, [("z", kinds[1])])
    one, other = externalize(plain), externalize(clamped)
    assert one.bytecode == other.bytecode
    assert one.parameters["bounds"].tolist() == [(-32768 & 0xFFFFFFFF) | 32767 << 32]
    assert other.parameters["bounds"].tolist() == [(-300 & 0xFFFFFFFF) | 200 << 32]


# -- the skeleton of shifts --------------------------------------------------------------------------------------------


def test_shifts_of_32_bits_give_the_same_bits() -> None:
    net = ConvNet.random(3)
    image = np.random.default_rng(3).integers(-128, 128, (1, 6, 6, 4), dtype=np.int8)
    # From 2, the least that it takes, over the ties of usual ones to those that leave nothing.
    for shifts in ((2, 3, 4, 5, 6, 7, 8, 9), (10, 11, 12, 13, 14, 15, 16, 17), (29, 30, 31, 32, 33, 2, 9, 32)):
        cases = [
            replace(case, multiplier=(1 << 29,) * 8, shift=tuple(s + 29 for s in order), double_round=False)
            for case, order in ((net.first, shifts), (net.second, shifts[::-1]))
        ]
        one = replace(net, first=cases[0], second=cases[1])
        skeleton = externalize(one.text(), shifts=True)
        assert skeleton.shifts and skeleton.parameters["rescale0.steps"].tolist() == [min(s, 32) - 1 for s in shifts]
        np.testing.assert_array_equal(Executable.from_skeleton(skeleton).run(image)[0], one.apply(image))


def test_all_shift_only_models_share_a_skeleton() -> None:
    net = ConvNet.random(4)
    narrow = net.narrowed(1)
    other = replace(narrow, bias=net.bias[::-1].copy(), first=replace(narrow.first, shift=(40,) * 8))
    first, second = (externalize(each.text(), shifts=True) for each in (narrow, other))
    assert first.shifts and first.bytecode == second.bytecode
    assert first.bytecode != externalize(narrow.text()).bytecode


@pytest.mark.parametrize(
    "change",
    [{"multiplier": (3 << 28,) * 8}, {"shift": (30,) * 8}, {"double_round": True}, {"multiplier": (0,) * 8}],
    ids=["product", "shift of 1", "double round", "zero"],
)
def test_what_is_no_shift_takes_the_skeleton_of_all(change: dict[str, Any]) -> None:
    net = ConvNet.random(5).narrowed(1)
    case = replace(net.first, multiplier=(1 << 29,) * 8, shift=(38,) * 8)
    good = replace(net, first=case, second=case)
    assert externalize(good.text(), shifts=True).shifts
    odd = replace(good, second=replace(case, **change))
    found = externalize(odd.text(), shifts=True)
    assert not found.shifts and found.bytecode == externalize(odd.text()).bytecode
