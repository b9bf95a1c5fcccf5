# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Hypothesis strategies: batches of multipliers, narrowing options, and small integer networks as TOSA text.

A process or a compilation for every multiplier would take minutes, so one example is a whole batch.
"""

from __future__ import annotations

import os
from dataclasses import dataclass

import numpy as np
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from runtime_modules import RescaleCase, constant, function, rescale, tensor

LARGE = os.environ.get("TOSA_RESCALE_FUZZ") == "large"  # make fuzz

# Processes and compilations take as long as the machine is busy: no deadline. Equal runs everywhere but in `make fuzz`.
settings.register_profile(
    "tosa_rescale", deadline=None, derandomize=not LARGE, suppress_health_check=[HealthCheck.too_slow], print_blob=True
)
settings.load_profile("tosa_rescale")


def budget(small: int) -> settings:
    """Settings for `small` examples in the ordinary tests, and twenty times as many in `make fuzz`."""
    return settings(max_examples=small * 20 if LARGE else small)


@st.composite
def multipliers(draw: st.DrawFn) -> int:
    """A 32-bit multiplier: normalized mostly, near where k bits are just enough, or any, or 0."""
    kind = draw(st.sampled_from(("normalized", "normalized", "edge", "any", "zero")))
    if kind == "normalized":
        return draw(st.integers(1 << 30, (1 << 31) - 1))
    if kind == "edge":  # a few bits at the top, and the carry, the tie and the slack around them
        bits = draw(st.integers(1, 31))
        top = draw(st.integers(1 << (bits - 1), (1 << bits) - 1)) << (31 - bits)
        near = draw(st.sampled_from((0, 1, -1, 255, 256, 257, (1 << 31 - bits) >> 1, (1 << 31 - bits) - 1)))
        return min(max(top + near, 1), (1 << 31) - 1)
    return 0 if kind == "zero" else draw(st.integers(1, (1 << 31) - 1))


pairs = st.tuples(multipliers(), st.integers(2, 62))
batches = st.lists(pairs, min_size=2, max_size=64)


@dataclass(frozen=True)
class Narrowing:
    """Options of one narrowing."""

    bits: int
    rounding: str
    encoding: str


@st.composite
def narrowings(draw: st.DrawFn) -> Narrowing:
    encoding = draw(st.sampled_from(("aligned", "scale16")))
    bits = draw(st.integers(1, 15 if encoding == "scale16" else 31))
    return Narrowing(bits, draw(st.sampled_from(("nearest", "up", "truncate"))), encoding)


int8 = st.integers(-128, 127)


@st.composite
def networks(draw: st.DrawFn) -> str:
    """A network of one to three layers, each conv2d, depthwise_conv2d, add or fully connected, with random constants."""
    seed = draw(st.integers(0, 2**32 - 1))  # of weights: nothing is learnt from shrinking these one by one
    rng = np.random.default_rng(seed)
    side, channels, zero_point = draw(st.integers(1, 6)), draw(st.integers(1, 8)), draw(int8)
    image = graph_input = tensor((1, side, side, channels), "i8")
    body, value = constant("wz", [0], "i8"), "x"
    kinds = draw(st.lists(st.sampled_from(("conv2d", "depthwise_conv2d", "add", "fully_connected")), min_size=1, max_size=3))
    for index, kind in enumerate(kinds):
        shape, name, output_zp = (1, side, side, channels), f"v{index}", draw(int8)
        if kind == "add":
            # Both sides to int32 as in LiteRT, times 2^18 at most, so that sums stay far from 2^31.
            for part in "ab":
                scale = (draw(st.integers(1 << 30, (1 << 31) - 1)),)
                widened = RescaleCase("i8", "i32", scale, (draw(st.integers(13, 20)),), input_zp=zero_point)
                body += rescale(f"{name}{part}", value, shape, widened)
            kind_32 = tensor(shape, "i32")
            body += f'    %{name}s = "tosa.add"(%{name}a, %{name}b) : ({kind_32}, {kind_32}) -> {kind_32}\n'
            accumulator, shifts = f"{name}s", (45, 52)
        else:
            kernel = 1 if kind == "fully_connected" else draw(st.sampled_from((1, 3)))
            depthwise = kind == "depthwise_conv2d"
            kind_of_op = kind if depthwise else "conv2d"
            outputs = channels if depthwise else draw(st.integers(1, 8))
            extent = (kernel, kernel, channels, 1) if depthwise else (outputs, kernel, kernel, channels)
            pad = kernel // 2
            weight, bias = tensor(extent, "i8"), f"tensor<{outputs}xi32>"
            body += constant(f"{name}w", rng.integers(-127, 128, extent), "i8")
            body += constant(f"{name}b", rng.integers(-5000, 5000, outputs), "i32")
            body += constant(f"{name}z", [zero_point], "i8")
            channels = outputs
            shape = (1, side, side, channels)
            body += (
                f'    %{name}c = "tosa.{kind_of_op}"(%{value}, %{name}w, %{name}b, %{name}z, %wz) '
                f"<{{acc_type = i32, dilation = array<i64: 1, 1>, pad = array<i64: {pad}, {pad}, {pad}, {pad}>, "
                f"stride = array<i64: 1, 1>}}> : ({image}, {weight}, {bias}, tensor<1xi8>, tensor<1xi8>)"
                f" -> {tensor(shape, 'i32')}\n"
            )
            accumulator, shifts = f"{name}c", (36, 44)
        count = channels if draw(st.booleans()) else 1
        case = RescaleCase(
            "i32",
            "i8",
            tuple(rng.integers(1 << 30, (1 << 31) - 1, count).tolist()),
            tuple(rng.integers(*shifts, count).tolist()),
            output_zp=output_zp,
            double_round=draw(st.booleans()),
        )
        body += rescale(name, accumulator, shape, case)
        value, zero_point, image = name, output_zp, tensor(shape, "i8")
    return function([("x", graph_input)], body, [(value, image)])
