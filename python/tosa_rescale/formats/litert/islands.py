# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Islands of float32: operators that only move data, between a DEQUANTIZE and a QUANTIZE of one scale and zero point.

LiteRT's converter leaves them now and then, from one run to the next, around a SPLIT for instance. Quantizing what was just
dequantized gives the integer back, so such an operator moves integers; read as it stands it would cut the network in two.
"""

from __future__ import annotations

import copy
from typing import Any

from tosa_rescale.formats.litert.float_arithmetic import FLOAT_ARITHMETIC
from tosa_rescale.formats.litert.operators import INT8_VERSIONS, MOVES
from tosa_rescale.formats.litert.schema import op_name, tensor_at


class Islands:
    """The operators of the first subgraph that move dequantized integers to where these are quantized again.

    Args:
        model: a ModelT.

    Attributes:
        carried: for each float32 tensor that holds dequantized integers, the integer tensor with their scale.
        movers: positions of the operators that can move integers instead.
    """

    def __init__(self, model: Any) -> None:
        self.model, self.graph = model, model.subgraphs[0]
        self.kinds = [op_name(model, each) for each in self.graph.operators]
        self.reads = [[int(i) for i in each.inputs if int(i) >= 0] for each in self.graph.operators]
        self.makes = [[int(i) for i in each.outputs] for each in self.graph.operators]
        self.readers: dict[int, list[int]] = {}
        for position, tensors in enumerate(self.reads):
            for index in tensors:
                self.readers.setdefault(index, []).append(position)
        self.carried: dict[int, int] = {}
        self.movers = self._carriers()
        while left := {position for position in self.movers if not self._ends_in_integers(position)}:
            self.movers -= left

    def _carriers(self) -> set[int]:
        """Operators whose float32 operands all hold integers of one scale. Operators are in execution order."""
        found = set()
        for position, kind in enumerate(self.kinds):
            if kind == "DEQUANTIZE":
                if self._quantization(self.reads[position][0]) is not None:
                    self.carried[self.makes[position][0]] = self.reads[position][0]
            elif kind in MOVES and not getattr(self.graph.operators[position].builtinOptions, "fusedActivationFunction", 0):
                real = [i for i in self.reads[position] if self.graph.tensors[i].type == 0]
                kept = {self._quantization(self.carried[i]) if i in self.carried else None for i in real}
                if real and len(kept) == 1 and None not in kept:
                    found.add(position)
                    self.carried |= dict.fromkeys(self.makes[position], self.carried[real[0]])
        return found

    def _ends_in_integers(self, position: int) -> bool:
        """Whether all that reads an operator's results moves them on, or quantizes them as they were."""
        outputs = {int(i) for i in self.graph.outputs}
        for index in self.makes[position]:
            readers = self.readers.get(index, [])
            if index in outputs or not all(reader in self.movers or self._gives_back(reader) for reader in readers):
                return False
        return any(self.readers.get(index) for index in self.makes[position])

    def _gives_back(self, position: int) -> bool:
        """Whether an operator quantizes to the very integers that were dequantized."""
        source, made = self.reads[position][0], self.makes[position][0]
        return self.kinds[position] == "QUANTIZE" and self._quantization(made) == self._quantization(self.carried[source])

    def _quantization(self, index: int) -> tuple[str, float, int] | None:
        """Type, scale and zero point of a tensor; None where it has not one of each."""
        tensor = tensor_at(self.model, index)
        if len(tensor.scale) != 1:
            return None
        return tensor.dtype, float(tensor.scale[0]), int(tensor.zero_point[0])

    def join(self) -> None:
        """Rewrites the graph: the movers read, make and hand on integers, and what nothing reads any more is gone."""
        bypassed = {}  # from the float32 tensor to the integer one that stands for it
        gone: set[int] = set()
        for position in sorted(self.movers):
            operator = self.graph.operators[position]
            for index in self.makes[position]:
                quantizers = [each for each in self.readers.get(index, []) if self._gives_back_here(each)]
                if quantizers and len(self.readers[index]) == len(quantizers) == 1:
                    bypassed[index] = self.makes[quantizers[0]][0]
                    gone.add(quantizers[0])
                else:
                    self._as_integers(index)
            operator.inputs = [self._integer(int(i), bypassed) for i in operator.inputs]
            operator.outputs = [bypassed.get(int(i), int(i)) for i in operator.outputs]
            code = self.model.operatorCodes[operator.opcodeIndex]
            code.version = max(code.version, INT8_VERSIONS.get(self.kinds[position], 1))
        while unread := self._unread(gone):
            gone |= unread
        self.graph.operators = [each for p, each in enumerate(self.graph.operators) if p not in gone]

    def _unread(self, gone: set[int]) -> set[int]:
        """Operators of islands whose results no other operator reads, nor the caller."""
        read = {int(i) for p, each in enumerate(self.graph.operators) if p not in gone for i in each.inputs}
        read |= {int(i) for i in self.graph.outputs}
        kinds = ("DEQUANTIZE", *FLOAT_ARITHMETIC)
        return {p for p, kind in enumerate(self.kinds) if kind in kinds and p not in gone and self.makes[p][0] not in read}

    def _gives_back_here(self, position: int) -> bool:
        return position not in self.movers and self._gives_back(position)

    def _integer(self, index: int, bypassed: dict[int, int]) -> int:
        """What a mover reads instead of a tensor."""
        if index not in self.carried:
            return index
        made_by_mover = any(index in self.makes[position] for position in self.movers)
        return bypassed.get(index, index) if made_by_mover else self.carried[index]

    def _as_integers(self, index: int) -> None:
        """A float32 tensor between movers, as the integers that it held."""
        tensor, like = self.graph.tensors[index], self.graph.tensors[self.carried[index]]
        tensor.type = like.type
        tensor.quantization = copy.copy(like.quantization)
