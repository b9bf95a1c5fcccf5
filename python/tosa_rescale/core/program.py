# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""The Program: a TOSA module with what is known of it. Data, and what follows from the data alone.

Every step is a function from a program to a program of the same kind: `def step(program: P, ...) -> P`. `tosa_rescale.Model`
is the program that users see; no other layer needs more than this class.
"""

from __future__ import annotations

import dataclasses
import functools
import hashlib
from collections.abc import Sequence
from typing import TYPE_CHECKING, Self, TypeVar

import numpy as np

from tosa_rescale.core.display import count
from tosa_rescale.core.errors import ModelError
from tosa_rescale.core.passes import Diagnostic
from tosa_rescale.core.quantization import GraphQuantization, TensorQuantization
from tosa_rescale.core.recipe import Step

if TYPE_CHECKING:
    from tosa_rescale_runtime import Module, Signature

P = TypeVar("P", bound="Program")

SHIFTS = ("arithmetic_right_shift", "logical_left_shift")
"""Ops that a lowered rescale has one of."""


@dataclasses.dataclass(frozen=True)
class InputSpec:
    """What a graph's input takes.

    Attributes:
        shape: of one sample: without the first dimension where that counts samples (see Signature.batched).
        dtype: of its integers.
        quantization: scale and zero point; None where unknown.
        name: of the input in the file that the model came from. Inputs of one name take the same real values.
        limits: least and largest value; None: those of `dtype`. Of indices into a table its rows, of i48 those of 48 bits.
    """

    shape: tuple[int, ...]
    dtype: np.dtype
    quantization: TensorQuantization | None
    name: str = "input"
    limits: tuple[int, int] | None = None

    @property
    def range(self) -> tuple[int, int]:
        """Least and largest value."""
        if self.limits is not None:
            return self.limits
        return (0, 1) if self.dtype.kind == "b" else (int(np.iinfo(self.dtype).min), int(np.iinfo(self.dtype).max))


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class Program:
    """An integer model as a TOSA module.

    Attributes:
        bytecode: the module, MLIR bytecode.
        source: the file it came from, for messages.
        quantization: scale and zero point of the graph's inputs and outputs; None where unknown.
        flatbuffer: the LiteRT file it came from; None where it came from another kind.
        recipe: the steps that made it, in order.
        remarks: what the last step left alone, and why.
    """

    bytecode: bytes
    source: str = "model"
    quantization: GraphQuantization | None = None
    flatbuffer: bytes | None = None
    recipe: tuple[Step, ...] = ()
    remarks: tuple[Diagnostic, ...] = ()

    def after(self, bytecode: bytes, step: Step, remarks: Sequence[Diagnostic] = ()) -> Self:
        """The program that a step made of this one."""
        return dataclasses.replace(self, bytecode=bytecode, recipe=(*self.recipe, step), remarks=tuple(remarks))

    def module(self) -> Module:
        """The module, parsed anew: a caller may change it."""
        from tosa_rescale_runtime import Module

        return Module.parse(self.bytecode, self.source)

    @functools.cached_property
    def signature(self) -> Signature:
        """Names, shapes and dtypes of the graph's inputs and outputs."""
        return self.module().signature

    @functools.cached_property
    def fingerprint(self) -> str:
        """SHA-256 of the module, in hexadecimal digits."""
        return hashlib.sha256(self.bytecode).hexdigest()

    @functools.cached_property
    def input_specs(self) -> tuple[InputSpec, ...]:
        """What the graph's inputs take, in order."""
        from tosa_rescale_runtime import input_limits

        known = self.quantization.inputs if self.quantization else ()
        integers = all(each.dtype.kind in "iub" for each in self.signature.inputs)
        limits = input_limits(self.module()) if integers else ()
        specs = []
        for i, each in enumerate(self.signature.inputs):
            quantization = known[i] if i < len(known) else None
            # One float32 input that the file quantizes in several ways is several inputs of the module, of one name.
            name = quantization.name if quantization is not None and quantization.real else each.name
            shape = tuple(int(n or 1) for n in self.signature.sample_shape(each))
            spec = InputSpec(shape, each.dtype, quantization, name)
            narrower = integers and limits[i] != spec.range
            specs.append(dataclasses.replace(spec, limits=limits[i]) if narrower else spec)
        return tuple(specs)

    @property
    def input_spec(self) -> InputSpec:
        """What the graph's only input takes.

        Raises:
            ModelError: the graph has several inputs.
        """
        if len(self.input_specs) != 1:
            raise ModelError(f"{self.source}: has {count(len(self.input_specs), 'input')}; data for one can be given")
        return self.input_specs[0]

    @functools.cached_property
    def has_rescales(self) -> bool:
        """The module has a tosa.rescale, or the shift that one was lowered to: no float model, nor one that only moves data."""
        return any(op.kind in ("rescale", *SHIFTS) for op in self.module().ops())

    def require_rescales(self) -> None:
        """Raises ModelError when the module has no rescale, as a float model or one that only moves data."""
        if self.has_rescales:
            return
        if self.is_real:
            raise ModelError(f"{self.source}: has no tosa.rescale (a float model?); give a full-integer one")
        raise ModelError(
            f"{self.source}: has no tosa.rescale: it moves integers and multiplies none, so nothing of it is narrowed"
        )

    @property
    def is_real(self) -> bool:
        """The module takes or gives floating point, as a float model does."""
        return any(each.dtype.kind not in "iub" for each in (*self.signature.inputs, *self.signature.outputs))
