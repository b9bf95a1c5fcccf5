# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""What narrow multipliers are expected to cost where no samples say it: the errors that they and moved scales bring.

Of a tensor of b bits nothing is known but that it fills its type; as values of four standard deviations do, its square is
taken to be (2^b / 8)^2. Errors are mean squares in steps of the tensor as it came, added up over the network.
"""

from __future__ import annotations

import numpy as np
from tosa_rescale_runtime import Module, Rescale

from tosa_rescale.core.attributes import COMPENSATED


def narrowing_error(original: Module, narrowed: Module) -> float:
    """What other multipliers cost: a value q becomes q times the ratio of the new one to the old one.

    Args:
        original: a module.
        narrowed: the same with other multipliers, weights and biases. Where weights make up for the multiplier, it costs
            nothing.
    """
    before = original.rescales()
    # An operand of an addition in 32 bits comes from a tensor of fewer.
    narrowest = min(min(each.input_bits, each.output_bits) for each in before)
    ops = [op for op in narrowed.ops() if op.kind == "rescale"]
    after = narrowed.rescales()
    return sum(
        _square(old, narrowest) * float(np.mean((_real(new) / _real(old) - 1) ** 2))
        for old, new, op in zip(before, after, ops, strict=True)
        if narrowed.attribute(op, COMPENSATED) is None and _is_known(old) and _is_known(new)
    )


def moving_error(aligned: Module) -> float:
    """What other scales cost: a tensor rounded to both scales, or, where these hardly differ, values off by their ratio."""
    factors = [(each.scale_factor, _square(each, 16)) for each in aligned.rescales() if each.output_bits <= 16]
    return sum(min((1 + factor**2) / 12, square * (factor - 1) ** 2) for factor, square in factors)


def _real(rescale: Rescale) -> np.ndarray:
    assert rescale.multiplier is not None and rescale.shift is not None
    return np.ldexp(rescale.multiplier.astype(np.float64), -rescale.shift)


def _is_known(rescale: Rescale) -> bool:
    return rescale.multiplier is not None and rescale.shift is not None and bool(rescale.multiplier.all())


def _square(rescale: Rescale, otherwise: int) -> float:
    """The mean square of the tensor of 8 or 16 bits at either end, or of one of `otherwise` bits."""
    bits = min(rescale.input_bits, rescale.output_bits)
    return (2.0 ** (bits if bits <= 16 else otherwise) / 8) ** 2
