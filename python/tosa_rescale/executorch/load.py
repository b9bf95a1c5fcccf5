# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""From a quantized torch program to a model."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

from tosa_rescale.api import Model
from tosa_rescale.core.errors import MissingToolError, OptionError
from tosa_rescale.core.passes import to_bytecode
from tosa_rescale.core.quantization import GraphQuantization
from tosa_rescale.executorch.border import given_input, narrows_input
from tosa_rescale.executorch.environment import HINT, tosa_backend
from tosa_rescale.executorch.errors import ExecutorchError
from tosa_rescale.executorch.lowering import Partition, intercepted
from tosa_rescale.executorch.names import name_border

NAMED_AT_MOST = 5  # operators named in an error; the rest are counted


def load(program: Any, example: Sequence[Any] | None = None, spec: Any = "TOSA-1.0+INT") -> Model:
    """Lowers a quantized PyTorch program to TOSA with ExecuTorch's Arm backend, and reads it.

    Args:
        program: what `convert_pt2e` returned (a torch.nn.Module), or a torch.export.ExportedProgram of it.
        example: inputs as torch.export takes them, a tuple of tensors; not needed for an ExportedProgram. Examples in
            channels_last make an input in NHWC.
        spec: a TOSA specification: "TOSA-1.0+INT", or "TOSA-1.0+INT+int16" for 16-bit activations; or the compile spec of a
            backend (EthosUCompileSpec, VgfCompileSpec, TosaCompileSpec), for the graph that it would get.

    Returns:
        The model, with scales and zero points of its inputs and outputs under their names in PyTorch. Its operators are
        named after the torch modules that they come from. Tokens, positions and masks of int64 are int32 there.

    Raises:
        MissingToolError: torch, executorch or tosa-opt is not installed.
        ExecutorchError: the program is a float one, has dynamic shapes, or is not delegated as a whole; the message names
            the operators.
        OptionError: `spec` is unknown, or without INT; `example` is missing.
    """
    tosa_backend()
    compile_spec = _compile_spec(spec)
    from executorch.backends.arm.tosa.partitioner import TOSAPartitioner
    from executorch.exir import to_edge_transform_and_lower

    exported = _exported(program, example)
    _require_integers(exported)
    _require_static(exported)
    partitions: list[Partition] = []

    def keep(partition: Partition) -> bytes:
        partitions.append(partition)
        return partition.tosa

    with intercepted(keep):
        lowered = to_edge_transform_and_lower(exported, partitioner=[TOSAPartitioner(compile_spec)]).exported_program()
    _require_whole(lowered, len(partitions), str(compile_spec.tosa_spec))
    return _with_names(partitions[0].model(), lowered)


def _compile_spec(spec: Any) -> Any:
    from executorch.backends.arm.common.arm_compile_spec import ArmCompileSpec
    from executorch.backends.arm.tosa.compile_spec import TosaCompileSpec

    known = "give 'TOSA-1.0+INT', or 'TOSA-1.0+INT+int16' for 16-bit activations"
    try:
        made = tosa_backend().filter_tosa_compile_specs(spec) if isinstance(spec, ArmCompileSpec) else TosaCompileSpec(spec)
    except ValueError as error:
        raise OptionError(f"spec: {spec!r} is no TOSA specification ({error}); {known}") from None
    if not made.tosa_spec.support_integer() or made.tosa_spec.support_float():
        raise OptionError(f"spec: {str(made.tosa_spec)!r} is not one of integers alone; {known}")
    return made


def _exported(program: Any, example: Sequence[Any] | None) -> Any:
    try:
        import torch
    except ImportError as error:
        raise MissingToolError(f"torch: is not installed; {HINT}") from error
    if isinstance(program, torch.export.ExportedProgram):
        return program
    if not isinstance(program, torch.nn.Module):
        raise OptionError(
            f"program: is a {type(program).__name__}; give the torch.nn.Module that convert_pt2e returned, or a"
            " torch.export.ExportedProgram of it"
        )
    if example is None:
        raise OptionError("example: is needed to export a torch.nn.Module; give its inputs as a tuple of tensors")
    return torch.export.export(program, tuple(example))


def _require_integers(exported: Any) -> None:
    if not any("quantized_decomposed" in str(node.target) for node in exported.graph.nodes):
        raise ExecutorchError(
            "the program is a float one: it has no quantize operator; quantize it with prepare_pt2e and the TOSAQuantizer,"
            " run some samples through it, and give what convert_pt2e returns"
        )


def _require_static(exported: Any) -> None:
    import torch

    for node in exported.graph.nodes:
        shape = getattr(node.meta.get("val"), "shape", ())
        if node.op == "placeholder" and any(isinstance(extent, torch.SymInt) for extent in shape):
            raise ExecutorchError(
                f"input {node.name}: has the dynamic shape ({', '.join(map(str, shape))}); export the program without"
                " dynamic_shapes"
            )


def _require_whole(lowered: Any, partitions: int, spec: str) -> None:
    """All but the border's conversions must be in one delegate."""
    left = [node for node in lowered.graph.nodes if node.op == "call_function" and not _is_border(node)]
    if left:
        named = ", ".join(_describe(node) for node in left[:NAMED_AT_MOST])
        more = f" and {len(left) - NAMED_AT_MOST} more" if len(left) > NAMED_AT_MOST else ""
        raise ExecutorchError(
            f"{len(left)} operator{'s are' if len(left) > 1 else ' is'} not delegated with {spec}: {named}{more}; change or"
            " leave out what is named, or lower the program with `rescaling`, which takes each delegated part"
        )
    if partitions != 1:
        raise ExecutorchError(
            f"the program is delegated in {partitions} parts, not as a whole; lower it with `rescaling`, which takes each part"
        )


def _is_border(node: Any) -> bool:
    """The delegate, what takes its results apart, and the conversions around it."""
    if any(each in str(node.target) for each in ("executorch_call_delegate", "getitem", "quantized_decomposed")):
        return True
    return narrows_input(node) and all("executorch_call_delegate" in str(user.target) for user in node.users)


def _describe(node: Any) -> str:
    stack = [path for path, kind in node.meta.get("nn_module_stack", {}).values() if not kind.startswith("torch.export.")]
    operator = getattr(node.target, "__name__", str(node.target))
    return f"{operator} (in {stack[-1]})" if stack and stack[-1] else operator


def _with_names(model: Model, lowered: Any) -> Model:
    """Inputs named after the arguments of the torch module, outputs by their position: a delegate may have another order."""
    nodes = list(lowered.graph.nodes)
    (delegate,) = (node for node in nodes if "executorch_call_delegate" in str(node.target))
    results = {int(node.args[1]): node for node in nodes if "getitem" in str(node.target) and node.args[0] is delegate}
    order = list(lowered.graph_signature.user_outputs)

    def result(index: int) -> str:
        node = results.get(index)
        given = [] if node is None else [order.index(each.name) for each in (node, *node.users) if each.name in order]
        return f"output{given[0] if given else index}"

    quantization = model.quantization
    assert quantization is not None  # of every partition
    inputs = [given_input(node).name for node in delegate.args[1:]]
    outputs = [result(index) for index in range(len(quantization.outputs))]
    named = GraphQuantization(
        tuple(dataclasses.replace(q, name=name) for q, name in zip(quantization.inputs, inputs, strict=True)),
        tuple(dataclasses.replace(q, name=name) for q, name in zip(quantization.outputs, outputs, strict=True)),
    )
    module = model.module()
    name_border(module, inputs, outputs)
    return dataclasses.replace(model, bytecode=to_bytecode(module, model.source), quantization=named)
