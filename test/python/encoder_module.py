# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""An encoder of transformer blocks as TOSA text: activations of int16, weights of int8, in the forms that ExecuTorch emits.

A float network with random weights is run while the text is made, and each tensor has the scale that its values ask for. One
feature of one token is an outlier, as trained encoders have them: the squares of its LayerNorms fill 16 bits, and those of
other tokens are a few codes.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Sequence

import numpy as np
from runtime_modules import tensor

INPUT_SCALE = 2.0**-12
EPSILON = 1e-3
_CODES = np.arange(-32768, 32768 + 1, 128)  # at which the 513 entries of a table stand


@dataclasses.dataclass(frozen=True, eq=False)
class Real:
    """A tensor of the text, and the float values that it stands for.

    Attributes:
        name: in the text.
        element: its type.
        scale: of a step.
        x: values.
    """

    name: str
    element: str
    scale: float
    x: np.ndarray


class EncoderText:
    """Builds the text op by op.

    Args:
        tokens, width, heads: of the encoder.
        seed: of weights and of the input that scales are chosen with.
    """

    def __init__(self, tokens: int, width: int, heads: int, seed: int = 0) -> None:
        self.rng = np.random.default_rng(seed)
        self.tokens, self.width, self.heads = tokens, width, heads
        self._lines: list[str] = []
        x = np.clip(self.rng.standard_normal((1, tokens, width)), -7, 7)
        x[0, 0, 0] = 7.9
        self.input = Real("arg0", "i16", INPUT_SCALE, x)

    def emit(self, op: str, operands: Sequence[tuple[str, str]], shape: tuple[int, ...], element: str, given: str = "") -> str:
        """One op; operands are names and types."""
        name = f"v{len(self._lines)}"
        names, kinds = ", ".join(f"%{each}" for each, _ in operands), ", ".join(kind for _, kind in operands)
        self._lines.append(f'    %{name} = "tosa.{op}"({names}) {given} : ({kinds}) -> {tensor(shape, element)}\n')
        return name

    def constant(self, values: np.ndarray, element: str) -> tuple[str, str]:
        """A constant; its name and type."""
        values = np.asarray(values)
        kind = tensor(values.shape, element)
        if element == "i8" and values.size > 64:
            text = f'"0x{np.ascontiguousarray(values, np.int8).tobytes().hex()}"'
        else:
            text = str(values.tolist())
        name = f"v{len(self._lines)}"
        self._lines.append(f'    %{name} = "tosa.const"() <{{values = dense<{text}> : {kind}}}> : () -> {kind}\n')
        return name, kind

    def rescale(self, value: Real, element: str, scale: float, ratio: np.ndarray | None = None) -> Real:
        """To another type and scale; `ratio` gives multipliers for each channel in the place of the scales' ratio."""
        multipliers = np.atleast_1d(value.scale / scale if ratio is None else ratio)
        wide = value.element == "i48"
        bits = 15 if wide else 31
        fractions, exponents = np.frexp(multipliers)
        m, s = np.round(fractions * 2.0**bits).astype(np.int64), bits - exponents
        m, s = np.where(m == 1 << bits, m >> 1, m), np.where(m == 1 << bits, s - 1, s)
        given = (
            f"<{{scale32 = {str(not wide).lower()}, rounding_mode = #tosa.rounding_mode<SINGLE_ROUND>, "
            f"per_channel = {str(len(m) > 1).lower()}, "
            "input_unsigned = false, output_unsigned = false}>"
        )
        operands = [
            (value.name, tensor(value.x.shape, value.element)),
            self.constant(m, "i16" if wide else "i32"),
            self.constant(s, "i8"),
            self.constant(np.zeros(1, int), value.element),
            self.constant(np.zeros(1, int), element),
        ]
        return Real(self.emit("rescale", operands, value.x.shape, element, given), element, scale, value.x)

    def narrow(self, value: Real) -> Real:
        """To int16 at the scale that the values ask for."""
        return self.rescale(value, "i16", (float(np.abs(value.x).max()) or value.scale) / 32000)

    def widen(self, value: Real) -> Real:
        """To i32 at the same scale."""
        return self.rescale(value, "i32", value.scale)

    def shaped(self, value: Real, *shape: int) -> Real:
        if value.x.shape == shape:
            return value
        given = f"<{{values = dense<{list(shape)}> : tensor<{len(shape)}xindex>}}>"
        kind = f"!tosa.shape<{len(shape)}>"
        name = f"v{len(self._lines)}"
        self._lines.append(f'    %{name} = "tosa.const_shape"() {given} : () -> {kind}\n')
        operands = [(value.name, tensor(value.x.shape, value.element)), (name, kind)]
        return Real(self.emit("reshape", operands, shape, value.element), value.element, value.scale, value.x.reshape(shape))

    def transposed(self, value: Real, *order: int) -> Real:
        x = value.x.transpose(order)
        given = f"<{{perms = array<i32: {', '.join(map(str, order))}>}}>"
        name = self.emit("transpose", [(value.name, tensor(value.x.shape, value.element))], x.shape, value.element, given)
        return Real(name, value.element, value.scale, x)

    def elementwise(self, op: str, a: Real, b: Real, x: np.ndarray, scale: float) -> Real:
        operands = [(each.name, tensor(each.x.shape, each.element)) for each in (a, b)]
        operands += [self.constant(np.zeros(1, int), "i8")] if op == "mul" else []
        return Real(self.emit(op, operands, x.shape, "i32", ""), "i32", scale, x)

    def plus(self, a: Real, b: Real, sign: int = 1) -> Real:
        """a + b or a - b, in int16."""
        scale = 2 * max(a.scale, b.scale) / (1 << 12)  # as ExecuTorch: 12 bits in front of the larger one
        wide, other = (self.rescale(each, "i32", scale) for each in (a, b))
        return self.narrow(self.elementwise("add" if sign > 0 else "sub", wide, other, a.x + sign * b.x, scale))

    def times(self, a: Real, b: Real) -> Real:
        """Element by element, in int16."""
        return self.narrow(self.elementwise("mul", self.widen(a), self.widen(b), a.x * b.x, a.scale * b.scale))

    def folded_constant(self, values: np.ndarray) -> Real:
        """A constant of int16."""
        scale = float(np.abs(values).max()) / 32000
        name, _ = self.constant(np.round(values / scale).astype(np.int64), "i16")
        return Real(name, "i16", scale, values)

    def reduce(self, op: str, value: Real, axis: int) -> Real:
        x = getattr(value.x, {"reduce_sum": "sum", "reduce_max": "max"}[op])(axis=axis, keepdims=True)
        operands = [(value.name, tensor(value.x.shape, value.element))]
        name = self.emit(op, operands, x.shape, value.element, f"<{{axis = {axis} : i32}}>")
        return Real(name, value.element, value.scale, x)

    def table(self, value: Real, function: Callable[[np.ndarray], np.ndarray]) -> Real:
        """A function by a table of 513 entries, in int16."""
        scale = float(np.abs(function(value.x)).max()) / 32000
        entries = np.clip(np.round(function(_CODES * value.scale) / scale), -32768, 32767).astype(np.int64)
        operands = [(value.name, tensor(value.x.shape, "i16")), self.constant(entries, "i16")]
        name = self.emit("table", operands, value.x.shape, "i32")
        return self.rescale(Real(name, "i32", scale / 128, function(value.x)), "i16", scale)

    def linear(self, value: Real, outputs: int) -> Real:
        """A layer over [tokens, inputs] with a multiplier for each channel, as `conv2d` over [tokens, 1, 1, inputs]."""
        inputs = value.x.shape[-1]
        w = self.rng.standard_normal((outputs, inputs)) / math.sqrt(inputs)
        scales = np.abs(w).max(1) / 127
        b = self.rng.standard_normal(outputs) / 4
        operands = [
            (value.name, tensor((self.tokens, 1, 1, inputs), "i16")),
            self.constant(np.round(w / scales[:, None]).astype(np.int64).reshape(outputs, 1, 1, inputs), "i8"),
            self.constant(np.round(b / (scales * value.scale)).astype(np.int64), "i48"),
            self.constant(np.zeros(1, int), "i16"),
            self.constant(np.zeros(1, int), "i8"),
        ]
        given = "<{acc_type = i48, pad = array<i64: 0, 0, 0, 0>, stride = array<i64: 1, 1>, dilation = array<i64: 1, 1>}>"
        x = value.x.reshape(self.tokens, 1, 1, inputs) @ w.T + b
        made = Real(self.emit("conv2d", operands, x.shape, "i48", given), "i48", 1.0, x)
        scale = float(np.abs(x).max()) / 32000
        return self.rescale(made, "i16", scale, value.scale * scales / scale)

    def matmul(self, a: Real, b: Real) -> Real:
        operands = [(each.name, tensor(each.x.shape, "i16")) for each in (a, b)]
        operands += [self.constant(np.zeros(1, int), "i16") for _ in range(2)]
        x = a.x @ b.x
        return self.narrow(Real(self.emit("matmul", operands, x.shape, "i48"), "i48", a.scale * b.scale, x))

    def mean(self, value: Real) -> Real:
        """Over the last axis: a sum, times a constant."""
        count = value.x.shape[-1]
        total = self.narrow(self.reduce("reduce_sum", self.widen(value), value.x.ndim - 1))
        return self.times(total, self.folded_constant(np.full((1,) * value.x.ndim, 1 / count)))

    def layer_norm(self, value: Real) -> Real:
        shape = value.x.shape
        centred = self.plus(value, self.mean(value), -1)
        inverse = self.table(self.mean(self.times(centred, centred)), lambda v: 1 / np.sqrt(np.maximum(v, 0) + EPSILON))
        gamma = 1 + self.rng.standard_normal((1,) * (len(shape) - 1) + shape[-1:]) / 8
        beta = self.rng.standard_normal(gamma.shape) / 8
        scaled = self.times(self.times(centred, inverse), self.folded_constant(gamma))
        return self.plus(scaled, self.folded_constant(beta))

    def softmax(self, value: Real) -> Real:
        axis = value.x.ndim - 1
        powers = self.table(self.plus(value, self.reduce("reduce_max", value, axis), -1), lambda v: np.exp(np.minimum(v, 0)))
        total = self.narrow(self.reduce("reduce_sum", self.widen(powers), axis))
        return self.times(powers, self.table(total, lambda v: 1 / np.maximum(v, 0.5)))

    def block(self, value: Real, hidden: int) -> Real:
        """Self-attention and two linear layers, a LayerNorm after each, over [1, tokens, width]."""
        size = self.width // self.heads
        flat = self.shaped(value, self.tokens, 1, 1, self.width)

        def head(order: tuple[int, int, int]) -> Real:
            return self.transposed(self.shaped(self.linear(flat, self.width), self.tokens, self.heads, size), *order)

        scores = self.matmul(head((1, 0, 2)), head((1, 2, 0)))
        weights = self.softmax(self.times(scores, self.folded_constant(np.full((1, 1, 1), 1 / math.sqrt(size)))))
        mixed = self.transposed(self.matmul(weights, head((1, 0, 2))), 1, 0, 2)
        attended = self.linear(self.shaped(mixed, self.tokens, 1, 1, self.width), self.width)
        value = self.layer_norm(self.plus(value, self.shaped(attended, 1, self.tokens, self.width)))
        inner = self.table(
            self.linear(self.shaped(value, self.tokens, 1, 1, self.width), hidden), lambda v: v / (1 + np.exp(-1.702 * v))
        )
        result = self.shaped(self.linear(inner, self.width), 1, self.tokens, self.width)
        return self.layer_norm(self.plus(value, result))

    def module(self, result: Real) -> str:
        """The whole module, which takes the input and gives `result`."""
        kinds = tensor(self.input.x.shape, "i16"), tensor(result.x.shape, "i16")
        body = "".join(self._lines)
        return (
            f'module {{\n  func.func @main(%arg0: {kinds[0]} {{ml_program.identifier = "x"}}) -> '
            f'({kinds[1]} {{ml_program.identifier = "y"}}) {{\n{body}    return %{result.name} : {kinds[1]}\n  }}\n}}\n'
        )


def encoder(layers: int, tokens: int = 16, width: int = 64, heads: int = 2, hidden: int | None = None, seed: int = 0) -> str:
    """An encoder of some layers, [1, tokens, width] to the same."""
    text = EncoderText(tokens, width, heads, seed)
    value = text.input
    for _ in range(layers):
        value = text.block(value, hidden or 4 * width)
    return text.module(value)


def encoder_inputs(count: int, tokens: int = 16, width: int = 64, seed: int = 1) -> np.ndarray:
    """Samples [count, 1, tokens, width] with the outlier."""
    x = np.clip(np.random.default_rng(seed).standard_normal((count, 1, tokens, width)), -7, 7)
    x[:, 0, 0, 0] = 7.9
    return np.round(x / INPUT_SCALE).astype(np.int16)
