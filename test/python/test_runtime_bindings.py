# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""However element-wise code is fused, no dispatch meets the 32 buffers that IREE's runtime binds."""

from __future__ import annotations

import numpy as np
import pytest
from runtime_modules import ConvNet, RescaleCase, apply_rescale, constant, function, rescale, tensor
from tosa_rescale_runtime import (
    DEFAULT_FLAGS,
    Executable,
    ExecutionError,
    Module,
    compile_module,
    externalize,
    prepare_for_iree,
)
from tosa_rescale_runtime.bindings import limit_bindings

FAST = ("--iree-hal-target-device=local", "--iree-hal-local-target-device-backends=llvm-cpu", "--iree-opt-level=O0")
SHAPE = (1, 4, 4, 8)
I8, I32 = tensor(SHAPE, "i8"), tensor(SHAPE, "i32")


def add(name: str, one: str, other: str) -> str:
    return f'    %{name} = "tosa.add"(%{one}, %{other}) : ({I32}, {I32}) -> {I32}\n'


def random_inputs(text: str) -> list[np.ndarray]:
    rng = np.random.default_rng(0)
    return [rng.integers(-100, 100, spec.shape).astype(spec.dtype) for spec in Module.parse(text).signature.inputs]


class Chain:
    """x, and `length` times: rescale to i32, add y, rescale to i8; every rescale has other numbers."""

    def __init__(self, length: int) -> None:
        self.up = [RescaleCase("i8", "i32", ((1 << 30) + 7 * i,), (29,), input_zp=i % 5 - 2) for i in range(length)]
        self.down = [RescaleCase("i32", "i8", ((1 << 30) + 11 * i,), (31,), output_zp=i % 3) for i in range(length)]

    def text(self) -> str:
        body, last = "", "x"
        for i, (up, down) in enumerate(zip(self.up, self.down, strict=True)):
            body += rescale(f"u{i}", last, SHAPE, up) + add(f"s{i}", f"u{i}", "y") + rescale(f"d{i}", f"s{i}", SHAPE, down)
            last = f"d{i}"
        return function([("x", I8), ("y", I32)], body, [(last, I8)])

    def apply(self, x: np.ndarray, y: np.ndarray) -> list[np.ndarray]:
        """What each rescale gives, two for each link."""
        values = []
        for up, down in zip(self.up, self.down, strict=True):
            values.append(apply_rescale(x, up))
            x = apply_rescale(values[-1] + y, down)
            values.append(x)
        return values


@pytest.mark.parametrize("length", [40, 200])
@pytest.mark.parametrize("flags", [FAST, DEFAULT_FLAGS], ids=["no-optimization", "default"])
def test_long_chain_of_rescales_and_adds(length, flags):
    chain = Chain(length)
    text = chain.text()
    x, y = random_inputs(text)
    executable = Executable.build(text, flags=flags, cache=False)
    np.testing.assert_array_equal(executable.run(x, y)[0], chain.apply(x, y)[-1])


def test_chain_that_returns_every_rescale():
    """Each tap is a result more that the fused dispatch writes."""
    chain = Chain(40)
    text = chain.text()
    x, y = random_inputs(text)
    keys = [each.key for each in Module.parse(text).rescales()]
    executable = Executable.build(text, taps=keys, flags=FAST, cache=False)
    for value, expected in zip(executable.run(x, y)[1:], chain.apply(x, y), strict=True):
        np.testing.assert_array_equal(value, expected)


def sum_of(operands: list[str], body: str, arguments: list[tuple[str, str]]) -> str:
    total = operands[0]
    for i, operand in enumerate(operands[1:]):
        body += add(f"s{i}", total, operand)
        total = f"s{i}"
    return function(arguments, body, [(total, I32)])


@pytest.mark.parametrize("build", [Executable.build, Executable.from_constants], ids=["parameters", "constants"])
def test_sum_of_sixty_inputs(build):
    names = [f"a{i}" for i in range(60)]
    text = sum_of(names, "", [(name, I32) for name in names])
    values = random_inputs(text)
    np.testing.assert_array_equal(build(text, flags=FAST, cache=False).run(*values)[0], sum(values))


@pytest.mark.parametrize("build", [Executable.build, Executable.from_constants], ids=["parameters", "constants"])
def test_sum_of_sixty_constants(build):
    values = np.random.default_rng(1).integers(-1000, 1000, (60, *SHAPE))
    body = "".join(constant(f"a{i}", value, "i32") for i, value in enumerate(values))
    text = sum_of(["x", *(f"a{i}" for i in range(60))], body, [("x", I32)])
    (x,) = random_inputs(text)
    np.testing.assert_array_equal(build(text, flags=FAST, cache=False).run(x)[0], x + values.sum(0))


def convolution(number: int, weight: np.ndarray) -> str:
    kind = tensor(weight.shape, "i8")
    return (
        constant(f"w{number}", weight, "i8")
        + constant(f"b{number}", [number] * 8, "i32")
        + constant(f"xz{number}", [0], "i8")
        + constant(f"wz{number}", [0], "i8")
        + f'    %c{number} = "tosa.conv2d"(%x, %w{number}, %b{number}, %xz{number}, %wz{number}) <{{acc_type = i32, '
        "dilation = array<i64: 1, 1>, pad = array<i64: 0, 0, 0, 0>, stride = array<i64: 1, 1>}> : "
        f"({I8}, {kind}, tensor<8xi32>, tensor<1xi8>, tensor<1xi8>) -> {I32}\n"
    )


@pytest.mark.parametrize("layers", [1, 60], ids=["one-accumulator", "one-for-each"])
def test_sum_of_sixty_rescales_with_multipliers_for_each_channel(layers):
    """One accumulator that all of them read, or sixty; the words of each are a buffer of their own."""
    rng = np.random.default_rng(2)
    weights = rng.integers(-127, 128, (layers, 8, 1, 1, 8), dtype=np.int8)
    cases = [RescaleCase("i32", "i32", tuple(rng.integers(1 << 30, (1 << 31) - 1, 8).tolist()), (34,) * 8) for _ in range(60)]
    body = "".join(convolution(i, weight) for i, weight in enumerate(weights))
    body += "".join(rescale(f"r{i}", f"c{i % layers}", SHAPE, case) for i, case in enumerate(cases))
    text = sum_of([f"r{i}" for i in range(60)], body, [("x", I8)])
    (x,) = random_inputs(text)
    accumulators = [
        np.einsum("nhwc,oc->nhwo", x.astype(np.int64), w[:, 0, 0].astype(np.int64)) + i for i, w in enumerate(weights)
    ]
    expected = sum(apply_rescale(accumulators[i % layers], case) for i, case in enumerate(cases))
    np.testing.assert_array_equal(Executable.build(text, flags=FAST, cache=False).run(x)[0], expected)


@pytest.mark.parametrize("rescaled", [False, True])
def test_concat_of_sixty_inputs(rescaled):
    names = [f"a{i}" for i in range(60)]
    case = RescaleCase("i8", "i8", (3 << 29,), (31,))
    body = "".join(rescale(f"r{i}", name, SHAPE, case) for i, name in enumerate(names)) if rescaled else ""
    operands = ", ".join(f"%{'r' if rescaled else 'a'}{i}" for i in range(60))
    result = tensor((1, 4, 4, 480), "i8")
    body += f'    %y = "tosa.concat"({operands}) <{{axis = 3 : i32}}> : ({", ".join([I8] * 60)}) -> {result}\n'
    text = function([(name, I8) for name in names], body, [("y", result)])
    values = random_inputs(text)
    expected = np.concatenate([apply_rescale(v, case) if rescaled else v for v in values], -1)
    np.testing.assert_array_equal(Executable.build(text, flags=FAST, cache=False).run(*values)[0], expected)


def barriers(text: str | bytes) -> int:
    module = Module.parse(text)  # owns the block
    return limit_bindings(module.block)


def test_networks_of_usual_shape_get_no_barrier():
    for text in (ConvNet.random().text(), Chain(200).text()):
        assert barriers(externalize(text).bytecode) == 0


def test_what_waits_for_a_convolution_is_not_counted():
    """Of 30 links x + conv(x), each convolution reads the sum before: no dispatch holds two of the sums."""
    body, last = "", "x"
    case = RescaleCase("i32", "i8", (1 << 30,) * 8, (38,) * 8)
    arguments = [("x", I8), *((f"a{i}", I32) for i in range(30))]
    for i in range(30):
        body += convolution(i, np.ones((8, 1, 1, 8), np.int8)).replace("(%x,", f"(%{last},")
        body += rescale(f"r{i}", last, SHAPE, RescaleCase("i8", "i32", (1 << 30,), (30,)))
        body += add(f"p{i}", f"c{i}", f"a{i}") + add(f"s{i}", f"p{i}", f"r{i}") + rescale(f"d{i}", f"s{i}", SHAPE, case)
        last = f"d{i}"
    assert barriers(function(arguments, body, [(last, I8)])) == 0


@pytest.mark.parametrize(("inputs", "expected"), [(20, 0), (21, 1), (60, 2), (61, 3)])
def test_barriers_are_put_where_needed_only(inputs, expected):
    names = [f"a{i}" for i in range(inputs)]
    assert barriers(sum_of(names, "", [(name, I32) for name in names])) == expected


def test_iree_still_needs_the_barriers():
    """Fails when IREE keeps to the limit by itself: then bindings.py can go, and the words need not be packed."""
    names = [f"a{i}" for i in range(40)]
    text = sum_of(names, "", [(name, I32) for name in names])
    vmfb = compile_module(text.encode(), FAST, cache=False)
    executable = Executable(vmfb, Module.parse(text).signature)
    with pytest.raises(ExecutionError, match="binding count 41 > 32"):
        executable.run(*random_inputs(text))
    prepared = prepare_for_iree(text.encode())
    ours = Executable(compile_module(prepared, FAST, cache=False), Module.parse(prepared).signature)
    values = random_inputs(text)
    np.testing.assert_array_equal(ours.run(*values)[0], sum(values))
