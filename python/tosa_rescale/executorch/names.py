# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Names operators after the torch modules that they come from, such as `encoder.layer.0.attention.query`.

With its debug mode TOSA, ExecuTorch writes a JSON text into the location of every operator, which MLIR reads as the location's
name. It has `torch_info.nn_module_stack`, the modules around the call from the outermost to the innermost as [path, type], and
`torch_info.torch_fn`, the function with a number, such as `add_1` or `bmm.default_1`.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tosa_rescale_runtime import Module

_Stack = list[tuple[str, str]]


def name_operators(module: Module) -> str:
    """Gives every operator of a lowered module its name; those without debug information keep theirs.

    Some of what the Arm quantizer takes apart, such as the mean inside a LayerNorm, has lost its modules. It gets those of what
    reads it, which for all parts but the last is the same module.

    Args:
        module: deserialized from what ExecuTorch wrote; changed in place.

    Returns:
        The class name of the outermost torch module; "model" where nothing tells it.
    """
    from tosa_rescale_runtime.mlir import ir

    known = [(op, info) for op in module.ops() if (info := _torch_info(module.tensor_name(op))) is not None]
    stacks: dict[Any, _Stack] = {}
    for op, info in reversed(known):  # readers come after what they read
        readers = (use.owner.operation for result in op.operation.results for use in result.uses)
        stacks[op.operation] = _stack(info) or next((stacks[each] for each in readers if stacks.get(each)), [])
    inner = _with_children(path for stack in stacks.values() for path, _ in stack)
    with module.ir.context:
        for op, info in known:
            function = info["torch_fn"][0].replace(".default", "")
            op.operation.location = ir.Location.name(_name(stacks[op.operation], function, inner))
    return next((kind.rsplit(".", 1)[-1] for stack in stacks.values() for path, kind in stack if not path), "model")


def name_border(module: Module, inputs: Sequence[str], outputs: Sequence[str]) -> None:
    """Gives inputs and outputs their names, where Module.signature reads them."""
    from tosa_rescale_runtime.mlir import ir

    with module.ir.context:
        listed = {role: ir.StringAttr.get(",".join(names)) for role, names in (("inputs", inputs), ("outputs", outputs))}
        module.function.attributes["tf.entry_function"] = ir.DictAttr.get(listed)


def _torch_info(location: str | None) -> dict[str, Any] | None:
    if not location or not location.startswith("{"):
        return None
    try:
        return json.loads(location)["torch_info"]
    except (ValueError, KeyError):
        return None


def _stack(info: dict[str, Any]) -> _Stack:
    """The user's modules around a call, outermost first, as (path, type)."""
    stack = info.get("nn_module_stack")
    if not isinstance(stack, dict):  # a sentence that says there is none
        return []
    # torch.export wraps the model in classes of its own.
    return [(path, kind) for path, kind in stack.values() if not kind.startswith("torch.export.")]


def _with_children(paths: Iterable[str]) -> set[str]:
    """The paths that others lie below."""
    return {path.rsplit(".", cut)[0] for path in set(paths) for cut in range(1, path.count(".") + 1)}


def _name(stack: _Stack, function: str, inner: set[str]) -> str:
    """The module's path; where that module has others inside, with the function that it calls itself."""
    path = stack[-1][0] if stack else ""
    if not path:
        return function
    return f"{path}.{function}" if path in inner else path
