# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Small TOSA modules as text in generic form, and the specification's arithmetic in NumPy, for the tests of the runtime."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

_NUMPY = {"i8": np.int8, "ui8": np.uint8, "i16": np.int16, "ui16": np.uint16, "i32": np.int32}


@dataclass(frozen=True)
class RescaleCase:
    """One `tosa.rescale` on a tensor [1, rows, channels]."""

    source: str
    target: str
    multiplier: tuple[int, ...]
    shift: tuple[int, ...]
    input_zp: int = 0
    output_zp: int = 0
    double_round: bool = False
    scale32: bool = True

    @property
    def per_channel(self) -> bool:
        return len(self.multiplier) > 1


def tensor(shape: tuple[int, ...], element: str) -> str:
    return f"tensor<{'x'.join([*map(str, shape), element])}>"


def constant(name: str, values: Any, element: str) -> str:
    values = np.asarray(values)
    kind = tensor(values.shape, element)
    return f'    %{name} = "tosa.const"() <{{values = dense<{str(values.tolist()).lower()}> : {kind}}}> : () -> {kind}\n'


def rescale(name: str, operand: str, shape: tuple[int, ...], case: RescaleCase) -> str:
    """Text of one rescale of `operand`, constants included."""
    source, target = tensor(shape, case.source), tensor(shape, case.target)
    scale = "i32" if case.scale32 else "i16"
    count = len(case.multiplier)
    elements = [element.removeprefix("u") for element in (case.source, case.target)]
    # Zero points are signless: 128 of an unsigned tensor is stored as -128.
    zero_points = [
        np.array([zp]).astype(_NUMPY.get(element, np.int64))
        for zp, element in zip((case.input_zp, case.output_zp), elements, strict=True)
    ]
    return (
        constant(f"{name}_m", case.multiplier, scale)
        + constant(f"{name}_s", case.shift, "i8")
        + constant(f"{name}_iz", zero_points[0], elements[0])
        + constant(f"{name}_oz", zero_points[1], elements[1])
        + f'    %{name} = "tosa.rescale"(%{operand}, %{name}_m, %{name}_s, %{name}_iz, %{name}_oz) <{{'
        f"scale32 = {str(case.scale32).lower()}, "
        f"rounding_mode = #tosa.rounding_mode<{'DOUBLE' if case.double_round else 'SINGLE'}_ROUND>, "
        f"per_channel = {str(case.per_channel).lower()}, "
        f"input_unsigned = {str(case.source.startswith('u')).lower()}, "
        f"output_unsigned = {str(case.target.startswith('u')).lower()}}}> : "
        f"({source}, tensor<{count}x{scale}>, tensor<{count}xi8>, tensor<1x{elements[0]}>, tensor<1x{elements[1]}>)"
        f" -> {target}\n"
    )


def function(arguments: list[tuple[str, str]], body: str, results: list[tuple[str, str]]) -> str:
    """Text of a module with one function; arguments and results are (name, type)."""
    taken = ", ".join(f"%{name}: {kind}" for name, kind in arguments)
    given = ", ".join(kind for _, kind in results)
    names = ", ".join(f"%{name}" for name, _ in results)
    return f"module {{\n  func.func @main({taken}) -> ({given}) {{\n{body}    return {names} : {given}\n  }}\n}}\n"


def rescale_module(cases: list[RescaleCase], shape: tuple[int, ...]) -> str:
    """A module with one input, one rescale and one output for each case."""
    arguments = [(f"x{i}", tensor(shape, case.source)) for i, case in enumerate(cases)]
    results = [(f"y{i}", tensor(shape, case.target)) for i, case in enumerate(cases)]
    body = "".join(rescale(f"y{i}", f"x{i}", shape, case) for i, case in enumerate(cases))
    return function(arguments, body, results)


def apply_rescale(values: np.ndarray, case: RescaleCase) -> np.ndarray:
    """RESCALE of the TOSA specification, on Python integers, with saturation to the output type."""
    shape = values.shape
    multiplier = np.broadcast_to(np.array(case.multiplier, object), shape[-1:])
    shift = np.broadcast_to(np.array(case.shift, object), shape[-1:])
    limits = np.iinfo(_NUMPY[case.target])
    out = []
    for index, value in enumerate(values.reshape(-1).tolist()):
        m, s = int(multiplier[index % shape[-1]]), int(shift[index % shape[-1]])
        value -= case.input_zp
        rounding = 1 << (s - 1)
        if case.double_round and s > 31:
            rounding += (1 << 30) if value >= 0 else -(1 << 30)
        out.append(min(max(((value * m + rounding) >> s) + case.output_zp, limits.min), limits.max))
    return np.array(out, _NUMPY[case.target]).reshape(shape)


@dataclass(frozen=True, eq=False)
class ConvNet:
    """conv2d, rescale, depthwise_conv2d through a reshaped constant, rescale: what the real models are made of."""

    weight: np.ndarray
    bias: np.ndarray
    depthwise: np.ndarray
    depthwise_bias: np.ndarray
    first: RescaleCase
    second: RescaleCase

    @classmethod
    def random(cls, seed: int = 0, channels: int = 8) -> ConvNet:
        rng = np.random.default_rng(seed)
        multiplier = tuple(rng.integers(1 << 30, (1 << 31) - 1, channels).tolist())
        shift = tuple(rng.integers(38, 41, channels).tolist())
        return cls(
            weight=rng.integers(-127, 128, (channels, 3, 3, 4), dtype=np.int8),
            bias=rng.integers(-2000, 2000, channels, dtype=np.int32),
            depthwise=rng.integers(-127, 128, (1, 3, 3, channels), dtype=np.int8),
            depthwise_bias=rng.integers(-2000, 2000, channels, dtype=np.int32),
            first=RescaleCase("i32", "i8", multiplier, shift, output_zp=-5, double_round=True),
            second=RescaleCase("i32", "i8", multiplier[::-1], shift, output_zp=7, double_round=True),
        )

    def narrowed(self, bits: int, encoding: str = "aligned") -> ConvNet:
        """The same net with multipliers of `bits` significant bits under SINGLE_ROUND."""

        def narrow(case: RescaleCase) -> RescaleCase:
            drop = 31 - bits
            compact = [min((m + (1 << drop >> 1)) >> drop, (1 << bits) - 1) for m in case.multiplier]
            if encoding == "scale16":
                shift = tuple(s - drop for s in case.shift)
                return replace(case, multiplier=tuple(compact), shift=shift, scale32=False, double_round=False)
            return replace(case, multiplier=tuple(m << drop for m in compact), double_round=False)

        return replace(self, first=narrow(self.first), second=narrow(self.second))

    def text(self, shared_zero_points: bool = True) -> str:
        channels = len(self.bias)
        image, middle = (1, 6, 6, 4), (1, 6, 6, channels)
        weight = tensor(self.weight.shape, "i8")
        body = constant("zp", [self.first.output_zp], "i8") + constant("wz", [0], "i8") + constant("xz", [3], "i8")
        body += constant("w", self.weight, "i8") + constant("b", self.bias, "i32")
        body += constant("dw", self.depthwise, "i8") + constant("db", self.depthwise_bias, "i32")
        if not shared_zero_points:
            body += constant("wz2", [0], "i8")
        attributes = "{acc_type = i32, dilation = array<i64: 1, 1>, pad = array<i64: 1, 1, 1, 1>, stride = array<i64: 1, 1>}"
        body += (
            f'    %a = "tosa.conv2d"(%x, %w, %b, %xz, %wz) <{attributes}> : ({tensor(image, "i8")}, {weight}, '
            f"tensor<{channels}xi32>, tensor<1xi8>, tensor<1xi8>) -> {tensor(middle, 'i32')}\n"
        )
        body += rescale("r", "a", middle, self.first)
        body += (
            f'    %shape = "tosa.const_shape"() <{{values = dense<[3, 3, {channels}, 1]> : tensor<4xindex>}}> : '
            "() -> !tosa.shape<4>\n"
            f'    %dwr = "tosa.reshape"(%dw, %shape) : (tensor<1x3x3x{channels}xi8>, !tosa.shape<4>) '
            f"-> tensor<3x3x{channels}x1xi8>\n"
            f'    %c = "tosa.depthwise_conv2d"(%r, %dwr, %db, %zp, %{"wz" if shared_zero_points else "wz2"}) <{attributes}> : '
            f"({tensor(middle, 'i8')}, tensor<3x3x{channels}x1xi8>, tensor<{channels}xi32>, tensor<1xi8>, tensor<1xi8>) "
            f"-> {tensor(middle, 'i32')}\n"
        )
        body += rescale("y", "c", middle, self.second)
        return function([("x", tensor(image, "i8"))], body, [("y", tensor(middle, "i8"))])

    def apply(self, x: np.ndarray) -> np.ndarray:
        """What the net computes, by plain sums."""
        return self.layers(x)[-1]

    def layers(self, x: np.ndarray) -> tuple[np.ndarray, ...]:
        """First accumulator, first rescale, second accumulator, second rescale."""

        def windows(values: np.ndarray, zero_point: int) -> np.ndarray:
            padded = np.pad(values.astype(np.int64) - zero_point, ((0, 0), (1, 1), (1, 1), (0, 0)))
            # [1, rows, columns, channels, 3, 3]
            return np.lib.stride_tricks.sliding_window_view(padded, (3, 3), axis=(1, 2))

        first = np.einsum("nhwckl,oklc->nhwo", windows(x, 3), self.weight.astype(np.int64)) + self.bias
        middle = apply_rescale(first, self.first)
        depthwise = self.depthwise[0].astype(np.int64)
        second = np.einsum("nhwckl,klc->nhwc", windows(middle, self.first.output_zp), depthwise) + self.depthwise_bias
        return first, middle, second, apply_rescale(second, self.second)


def shared_file(*parts: str) -> Path:
    """A real model or image beside the repository; skips the test where there is none."""
    root = Path(os.environ.get("TOSA_RESCALE_SHARED", Path(__file__).parents[3] / "shared"))
    path = root.joinpath(*parts)
    if not path.exists():
        pytest.skip(f"{path} is missing; set TOSA_RESCALE_SHARED to the folder of real models")
    return path
