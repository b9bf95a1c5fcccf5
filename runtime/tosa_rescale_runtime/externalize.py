# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Compile once: a model split into a skeleton, which is compiled, and parameters, which are not.

Weights, biases, multipliers, shifts, rounding modes, constants beside them and bounds of clamps become parameters that IREE
reads when the executable is loaded. All variants of one graph - every width k, both encodings, both rounding modes, every
alignment, retrained weights - have the same skeleton, byte for byte, so one compile serves them all. Those whose
accumulators are rescaled by shifts alone may have another one, of 32-bit shifts, which is faster and serves all of them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from .builder import Returned, SkeletonBuilder
from .constants import BYTE_WIDTHS, element_dtype, tensor_shape
from .errors import ModuleError
from .graph import MAC_KINDS, Op
from .iree_forms import rewrite_for_iree, widen_weights
from .mlir import Value, ir
from .module import Module
from .signature import Signature, TensorSpec
from .zero_points import fold_zero_points


@dataclass(frozen=True)
class Tap:
    """A value inside the graph to return in addition to the outputs.

    Attributes:
        op: key of the op (`Op.key`), such as `rescale12`.
        operand: position of the operand to return; None returns the op's result.
        channel_sum: return the sum over all but the last dimension, as int64 [C], instead of the tensor. Integers are
            summed as they are, zero point included.

    """

    op: str
    operand: int | None = None
    channel_sum: bool = False

    @property
    def name(self) -> str:
        """The tap as one word, such as `conv2d3.in0.channel_sum`."""
        operand = "" if self.operand is None else f".in{self.operand}"
        return f"{self.op}{operand}{'.channel_sum' if self.channel_sum else ''}"


@dataclass(frozen=True, eq=False)
class Skeleton:
    """A model without its numbers.

    Attributes:
        bytecode: the graph as MLIR bytecode for iree-compile, equal for all variants of one model.
        parameters: the numbers by parameter name: `conv2d3.weight`, `conv2d3.bias` (see `fold_zero_points`);
            `rescale3.words`, int64 [C], for a rescale with a word for each channel, and `rescales`, int64 [R], for the words
            of the others (see `pack_rescale`); `bounds`, int64, of results of 8 and 16 bits (see `pack_bounds`);
            `add2.operand1` and the like for constants that are added, multiplied with or looked up, and `constants.i32` and
            the like for those of one element. With shifts `rescale3.steps`, int32 [C], instead of the words of accumulators.
        signature: what the model takes and gives.
        taps: what the function returns after the model's outputs.
        tap_specs: a spec for each tap, named `Tap.name`.
        words: where the words of each rescale are, by its key: name of the parameter, and position in it; None: all of it.
        shifts: accumulators are rescaled by shifts of 32 bits.

    """

    bytecode: bytes
    parameters: Mapping[str, np.ndarray]
    signature: Signature
    taps: tuple[Tap, ...]
    tap_specs: tuple[TensorSpec, ...]
    words: Mapping[str, tuple[str, int | None]] = field(default_factory=dict)
    shifts: bool = False

    def with_words_of(self, other: Skeleton, key: str) -> dict[str, np.ndarray]:
        """Returns the parameters with the words of one rescale taken from another variant of the same graph.

        Args:
            other: a skeleton with the same bytecode.
            key: of the rescale, such as `rescale12`.

        Raises:
            ModuleError: the skeletons differ, or no parameter holds this rescale.

        """
        if other.bytecode != self.bytecode or key not in self.words:
            raise ModuleError(f"`{key}` cannot be exchanged: the graphs differ, or its multiplier is no constant")
        name, position = self.words[key]
        if position is None:
            return {**self.parameters, name: other.parameters[name]}
        mixed = self.parameters[name].copy()
        mixed[position] = other.parameters[name][position]
        return {**self.parameters, name: mixed}


def externalize(data: bytes | str, taps: Sequence[Tap | str] = (), source: str = "module", shifts: bool = False) -> Skeleton:
    """Splits a TOSA module into skeleton and parameters.

    Args:
        data: the module, bytecode or text, with static shapes.
        taps: values to return in addition, in this order; a string is the key of an op whose result is meant.
        source: what to call the module in messages.
        shifts: take the skeleton of 32-bit shifts, where the rescales of all accumulators are shifts by at least 2 and round
            once.

    Returns:
        The skeleton. Compiled and loaded with its parameters it gives the same bits as the module itself.

    Raises:
        ModuleError: the module cannot be read, has a dynamic shape, takes or gives floating point, a tap names no op, or a
            rescale has a multiplier or shift out of range or rounds in a way that IREE does not execute (`INEXACT_ROUND`).

    """
    module = Module.parse(data, source)
    signature = module.signature
    signature.require_integers(source)
    for spec in (*signature.inputs, *signature.outputs):
        if None in spec.shape:
            raise ModuleError(
                f"{source}: `{spec.name}` has the dynamic shape {list(spec.shape)}; make it static with "
                "`tosa-rescale-opt --tosa-rescale-static-batch`"
            )
    ops = list(module.ops())
    wanted = tuple(Tap(tap) if isinstance(tap, str) else tap for tap in taps)
    values = _tap_values(module, ops, wanted)
    whole = [_value_spec(tap.name, value) for tap, value in zip(wanted, values, strict=True)]
    tap_specs = tuple(
        TensorSpec(spec.name, spec.shape[-1:], np.dtype(np.int64)) if tap.channel_sum else spec
        for tap, spec in zip(wanted, whole, strict=True)
    )

    widen_weights(module)
    builder = SkeletonBuilder(module)
    builder.strip_signedness()
    builder.return_also(
        [
            Returned(value, tap.channel_sum, spec.dtype.kind == "u")
            for tap, value, spec in zip(wanted, values, whole, strict=True)
        ]
    )
    fold_zero_points(ops)
    builder.externalize_weights([op for op in ops if op.kind in MAC_KINDS])
    builder.externalize_constants(ops)
    rescales = [op for op in ops if op.kind == "rescale"]
    shifted = builder.externalize_shifts(rescales) if shifts else set()
    builder.externalize_rescales([op for op in rescales if op.key not in shifted])
    builder.canonicalize()
    rewrite_for_iree(module)
    return Skeleton(module.to_bytecode(), builder.parameters, signature, wanted, tap_specs, builder.words, shifts=bool(shifted))


def _tap_values(module: Module, ops: Sequence[Op], taps: Sequence[Tap]) -> list[Value]:
    by_key = {op.key: op for op in ops}
    found = []
    for tap in taps:
        if tap.op not in by_key:
            raise ModuleError(f"{module.source}: a tap names the op `{tap.op}`, which the graph does not have")
        operation = by_key[tap.op].operation
        if tap.operand is None:
            value = operation.results[0]
        elif tap.operand < len(operation.operands):
            value = operation.operands[tap.operand]
        else:
            raise ModuleError(f"{module.source}: `{tap.op}` has no operand {tap.operand}")
        element = ir.RankedTensorType(value.type).element_type
        odd = isinstance(element, ir.IntegerType) and element.width not in BYTE_WIDTHS
        if odd and (tap.channel_sum or element.width < 32):  # wider ones go out as i64
            raise ModuleError(f"{module.source}: a tap of `{tap.op}` would return `{element}`, which IREE cannot")
        found.append(value)
    return found


def _value_spec(name: str, value: Value) -> TensorSpec:
    return TensorSpec(name, tensor_shape(value.type), element_dtype(ir.RankedTensorType(value.type).element_type))
