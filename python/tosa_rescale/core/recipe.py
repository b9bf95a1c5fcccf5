# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""What a module carries of its own history: module attributes `tosa_rescale.inputs`, `.outputs` and `.recipe`."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

from tosa_rescale.core.attributes import INPUTS, OUTPUTS, RECIPE
from tosa_rescale.core.passes import to_bytecode
from tosa_rescale.core.quantization import GraphQuantization, TensorQuantization


@dataclasses.dataclass(frozen=True)
class Step:
    """One step of a model's recipe: its name and the options it was given."""

    name: str
    options: dict[str, Any]

    def short(self) -> str:
        """Its name and width."""
        return f"{self.name} bits={self.options['bits']}" if "bits" in self.options else self.name

    def __str__(self) -> str:
        return " ".join([self.name, *(f"{key}={value}" for key, value in self.options.items())])


def attach_state(bytecode: bytes, quantization: GraphQuantization | None, recipe: tuple[Step, ...], source: str) -> bytes:
    """The module with its state as attributes. JSON strings: they print, they parse, and no dialect is needed."""
    from tosa_rescale_runtime import Module

    module = Module.parse(bytecode, source)
    values = {RECIPE: [dataclasses.asdict(step) for step in recipe]}
    if quantization is not None:
        values[INPUTS] = [dataclasses.asdict(each) for each in quantization.inputs]
        values[OUTPUTS] = [dataclasses.asdict(each) for each in quantization.outputs]
    for name, value in values.items():
        module.set_text_attribute(name, json.dumps(value))
    return to_bytecode(module, source)


def read_state(bytecode: bytes, source: str) -> tuple[GraphQuantization | None, tuple[Step, ...]]:
    """The state that `attach_state` wrote; (None, ()) where there is none."""
    from tosa_rescale_runtime import Module

    module = Module.parse(bytecode, source)

    def value(name: str) -> list[dict[str, Any]] | None:
        text = module.text_attribute(name)
        return None if text is None else json.loads(text)

    inputs, outputs, recipe = value(INPUTS), value(OUTPUTS), value(RECIPE)
    quantization = None
    if inputs is not None and outputs is not None:
        quantization = GraphQuantization(
            tuple(TensorQuantization(**each) for each in inputs), tuple(TensorQuantization(**each) for each in outputs)
        )
    return quantization, tuple(Step(**each) for each in recipe or ())
