# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""What a graph takes and gives."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from .errors import ModuleError


@dataclass(frozen=True)
class TensorSpec:
    """One input or output of the graph.

    Attributes:
        name: the tensor's name in the source model, else `input0`, `output0` and so on.
        shape: extents; None stands for a dynamic one.
        dtype: the NumPy type that holds the elements (`ui8` is uint8; `i48` and other odd widths are held in the next
            wider signed type).

    """

    name: str
    shape: tuple[int | None, ...]
    dtype: np.dtype[Any]


@dataclass(frozen=True)
class Signature:
    """What a graph takes and gives, and what a sample is.

    A graph is *batched* where every input has a first dimension of 1, or a dynamic one: that dimension counts samples. A
    first dimension of any other size belongs to the data, as in a linear layer over [2, 16]; then a sample is the whole
    tensor, and so it is where an input has no dimension. The inputs of one graph are all batched or none is.

    N samples of an input or output [1, 8, 8, 3] are [N, 8, 8, 3] where the graph is batched, else [N, 1, 8, 8, 3]. N samples
    of an output [16] are [N, 16], and those of an output [2, 16] are [N, 2, 16], batched or not; so are those of an input
    [2, 16], which only a graph that is not batched has.

    Attributes:
        function: symbol name of the function.
        inputs: one spec for each argument, in order.
        outputs: one spec for each result, in order.

    """

    function: str
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]

    @property
    def batched(self) -> bool:
        """Whether the first dimension of the inputs counts samples."""
        return all(spec.shape[:1] in ((1,), (None,)) for spec in self.inputs)

    def sample_shape(self, spec: TensorSpec) -> tuple[int | None, ...]:
        """Returns the shape of one sample of an input, an output or a tap: N samples are an array `[N, *sample_shape]`.

        Args:
            spec: an input, an output or a tap of this graph.

        Returns:
            Its shape, without the first dimension where that counts samples; None stands for a dynamic extent.

        """
        return spec.shape[1:] if self.batched and spec.shape[:1] in ((1,), (None,)) else spec.shape

    def require_integers(self, source: str) -> None:
        """Refuses graphs that take or give floating point.

        Args:
            source: what to call the graph in messages.

        Raises:
            ModuleError: an input or output is none of integers or booleans.

        """
        for spec in (*self.inputs, *self.outputs):
            if spec.dtype.kind not in "iub":
                raise ModuleError(
                    f"{source}: requires integer inputs and outputs, got {spec.dtype} for `{spec.name}`; quantize the model "
                    "with integer inputs and outputs"
                )
