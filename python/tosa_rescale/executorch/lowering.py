# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Stands between ExecuTorch's TOSA and what compiles it.

All three of Arm's backends (TOSA, Ethos-U, VGF) call TOSABackend._preprocess for the bytes of a .tosa file and go on with
these. The class is final and the function static, so it is exchanged while a context is entered.
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import threading
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from tosa_rescale.api import Model
from tosa_rescale.core.passes import to_bytecode
from tosa_rescale.core.recipe import Step
from tosa_rescale.executorch.border import Border, read_border
from tosa_rescale.executorch.environment import installed_version, tosa_backend
from tosa_rescale.executorch.errors import ExecutorchError
from tosa_rescale.executorch.names import name_border, name_operators
from tosa_rescale.formats.tosa import deserialize

STEP = "executorch"
"""The first step of the recipe of every model that was lowered here."""

_entered = threading.Lock()


@dataclasses.dataclass(frozen=True)
class Partition:
    """One graph that ExecuTorch delegates, lowered to TOSA.

    Attributes:
        name: ExecuTorch's tag for it, such as "tag0".
        spec: the TOSA specification that it was lowered for, such as "TOSA-1.0+INT".
        tosa: the .tosa flatbuffer that ExecuTorch made.
        border: scales, zero points and memory orders around it.
    """

    name: str
    spec: str
    tosa: bytes
    border: Border

    def model(self) -> Model:
        """The graph as a model, with the names of the torch modules; its recipe says what it was lowered from.

        Raises:
            MissingToolError: tosa-opt is not installed.
            ModelError: the graph cannot be read.
        """
        from tosa_rescale_runtime import Module

        module = Module.parse(deserialize(self.tosa, f"partition {self.name}"), f"partition {self.name}")
        network, border = name_operators(module), self.border.quantization
        name_border(module, [each.name for each in border.inputs], [each.name for each in border.outputs])
        bytecode = to_bytecode(module, network)
        about = {
            "partition": self.name,
            "spec": self.spec,
            "version": installed_version(),
            "graph": hashlib.sha256(bytecode).hexdigest(),
            "orders": [list(order) for order in self.border.orders],
        }
        return Model(bytecode, f"{network} ({self.name})", border, recipe=(Step(STEP, about),))


def lowered_from(model: Model) -> Mapping[str, Any] | None:
    """What a model was lowered from: `partition`, `spec`, `version` of executorch, `graph` (SHA-256 of the module as it was
    lowered) and `orders` (Border.orders); None where it comes from elsewhere."""
    first = model.recipe[0] if model.recipe else None
    return first.options if first is not None and first.name == STEP else None


@contextlib.contextmanager
def intercepted(hand_on: Callable[[Partition], bytes]) -> Iterator[None]:
    """While entered, `hand_on` gives the bytes that ExecuTorch's backends compile, for what this thread lowers.

    Raises:
        MissingToolError: executorch is not installed.
        ExecutorchError: it is of another release than those tested, or a context is entered already.
    """
    backend = tosa_backend()
    if not _entered.acquire(blocking=False):
        raise ExecutorchError(
            "a context of tosa_rescale.executorch is entered already, in this thread or another one; it changes ExecuTorch for"
            " the whole process, so leave that one first"
        )
    original, owner = vars(backend)["_preprocess"], threading.get_ident()

    def preprocess(edge_program: Any, compile_spec: Any) -> Any:
        if threading.get_ident() != owner:
            return original(edge_program, compile_spec)
        return _preprocess(original, edge_program, compile_spec, hand_on)

    try:
        backend._preprocess = staticmethod(preprocess)
        yield
    finally:
        backend._preprocess = original
        _entered.release()


def _preprocess(lower: Any, edge_program: Any, compile_spec: Any, hand_on: Callable[[Partition], bytes]) -> Any:
    from executorch.backends.arm.common.arm_compile_spec import ArmCompileSpec
    from executorch.backends.arm.tosa.backend import arm_get_first_delegation_tag
    from executorch.exir.backend.backend_details import PreprocessResult

    # Lowering changes the program, so what it tells is read first.
    name, border = arm_get_first_delegation_tag(edge_program.graph_module), read_border(edge_program)
    if compile_spec.tosa_debug_mode is None:
        compile_spec.dump_debug_info(ArmCompileSpec.DebugMode.TOSA)
    lowered = lower(edge_program, compile_spec)
    partition = Partition(name, str(compile_spec.tosa_spec), lowered.processed_bytes, border)
    return PreprocessResult(processed_bytes=hand_on(partition))
