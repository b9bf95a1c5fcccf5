# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Compile once: a model split into a skeleton, which is compiled, and parameters, which are not.

Weights, biases, multipliers, shifts and rounding modes become parameters that IREE reads when the executable is loaded.
All variants of one graph - every width k, both encodings, both rounding modes, retrained weights - have the same
skeleton, byte for byte, so one compile serves them all.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from .errors import ModuleError
from .mlir import Attribute, Block, Operation, Type, Value, ir
from .module import (
    Module,
    Op,
    TensorSpec,
    accumulator_producer,
    constant_value,
    element_dtype,
    erase_dead_constants,
    make_constant,
    read_rescale,
    static_shape,
    tensor_shape,
)

SCOPE = "model"
"""The parameter scope that the skeleton names; IREE's tools ask for it as `--parameters=model=FILE`."""

_WEIGHT_OPERANDS = {
    "conv2d": (1, 2),
    "conv3d": (1, 2),
    "depthwise_conv2d": (1, 2),
    "transpose_conv2d": (1, 2),
    "fully_connected": (1, 2),
    "matmul": (0, 1),
}
_OPERAND_NAMES = {1: "weight", 2: "bias"}
_MAX_SHIFT = 62


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
        parameters: the numbers, by parameter name such as `conv2d3.weight` or `rescale3.multiplier`.
        function: symbol name of the function.
        inputs: what the function takes.
        outputs: what it gives: the model's outputs, then one for each tap.

    """

    bytecode: bytes
    parameters: Mapping[str, np.ndarray]
    function: str
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]


def externalize(data: bytes | str, taps: Sequence[Tap | str] = (), source: str = "module") -> Skeleton:
    """Splits a TOSA module into skeleton and parameters.

    Args:
        data: the module, bytecode or text, with static shapes.
        taps: values to return in addition, in this order; a string is the key of an op whose result is meant.
        source: what to call the module in messages.

    Returns:
        The skeleton. Compiled and loaded with its parameters it gives the same bits as the module itself.

    Raises:
        ModuleError: the module cannot be read, has a dynamic shape, a tap names no op, or a rescale has a shift outside
            1..62 or rounds in a way that IREE does not execute (`INEXACT_ROUND`).

    """
    module = Module.parse(data, source)
    signature = module.signature
    for spec in (*signature.inputs, *signature.outputs):
        if None in spec.shape:
            raise ModuleError(
                f"{source}: `{spec.name}` has the dynamic shape {list(spec.shape)}; make it static with "
                "`tosa-rescale-opt --tosa-rescale-static-batch`"
            )
    ops = list(module.ops())
    tapped = _tap_values(module, ops, [Tap(tap) if isinstance(tap, str) else tap for tap in taps])
    value_specs = [_value_spec(tap.name, value) for tap, value in tapped]
    tap_specs = tuple(
        TensorSpec(spec.name, spec.shape[-1:], np.dtype(np.int64)) if tap.channel_sum else spec
        for (tap, _), spec in zip(tapped, value_specs, strict=True)
    )

    builder = _Builder(module)
    builder.strip_signedness()
    builder.return_also([(tap, value, spec.dtype.kind == "u") for (tap, value), spec in zip(tapped, value_specs, strict=True)])
    for op in ops:
        if op.kind in _WEIGHT_OPERANDS:
            builder.externalize_weights(op)
    for op in ops:
        if op.operation.name == "tosa.rescale":
            builder.externalize_rescale(op)
    builder.canonicalize()
    return Skeleton(
        module.to_bytecode(), builder.parameters, signature.function, signature.inputs, signature.outputs + tap_specs
    )


def _tap_values(module: Module, ops: list[Op], taps: list[Tap]) -> list[tuple[Tap, Value]]:
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
        odd = isinstance(element, ir.IntegerType) and element.width not in (1, 8, 16, 32, 64)
        if odd and (tap.channel_sum or element.width < 32):  # wider ones go out as i64
            raise ModuleError(f"{module.source}: a tap of `{tap.op}` would return `{element}`, which IREE cannot")
        found.append((tap, value))
    return found


def _value_spec(name: str, value: Value) -> TensorSpec:
    return TensorSpec(name, tensor_shape(value.type), element_dtype(ir.RankedTensorType(value.type).element_type))


def rescale_parameters(
    multiplier: np.ndarray, shift: np.ndarray, double_round: bool, name: str = "rescale"
) -> dict[str, np.ndarray]:
    """Puts one rescale into the form that the skeleton computes with.

    The skeleton computes `(v*multiplier + round + (v & mask)) >> shift`. Under SINGLE_ROUND `round` is the specification's
    `1 << (shift-1)` and `mask` 0. DOUBLE_ROUND adds 1 << 30 where v >= 0 and takes it off where v < 0: `round` then has the
    1 << 30 in it, and `mask` is the sign bit of 32, so that `v & mask` is -(1 << 31) for negative v.

    Args:
        multiplier: integers [C] or [].
        shift: integers of the same shape, 1..62.
        double_round: round twice where the shift is above 31, as `DOUBLE_ROUND` asks.
        name: what to call the rescale in messages.

    Returns:
        `multiplier` and `mask` as int32, `shift` and `round` as int64.

    Raises:
        ModuleError: a shift is outside 1..62.

    """
    if shift.size and (shift.min() < 1 or shift.max() > _MAX_SHIFT):
        raise ModuleError(f"`{name}` requires shifts in 1..{_MAX_SHIFT}, got [{shift.min()}, {shift.max()}]")
    twice = (shift > 31) & double_round
    return {
        "multiplier": multiplier.astype(np.int32),
        "shift": shift.astype(np.int64),
        "round": (np.int64(1) << (shift - 1)) + np.where(twice, 1 << 30, 0),
        "mask": np.where(twice, -(1 << 31), 0).astype(np.int32),
    }


class _Builder:
    """Rewrites one module in place and collects its parameters."""

    def __init__(self, module: Module) -> None:
        self.module = module
        self.context = module.ir.context
        self.location = ir.Location.unknown(self.context)
        self.parameters: dict[str, np.ndarray] = {}
        self._globals = ir.InsertionPoint(module.function)

    def return_also(self, taps: list[tuple[Tap, Value, bool]]) -> None:
        """Appends the taps, each with whether it counts as unsigned, to the function's results."""
        if not taps:
            return
        terminator = self.module.block.operations[len(self.module.block.operations) - 1].operation
        values = [
            _channel_sum(value, unsigned, terminator) if tap.channel_sum else _returnable(value, terminator)
            for tap, value, unsigned in taps
        ]
        returned = [*terminator.operands, *values]
        with self.location:
            ir.Operation.create("func.return", operands=returned, ip=ir.InsertionPoint(terminator))
            terminator.erase()
            self._update_function_type()

    def _update_function_type(self) -> None:
        block = self.module.block
        returned = block.operations[len(block.operations) - 1].operands
        kind = ir.FunctionType.get([a.type for a in block.arguments], [v.type for v in returned], self.context)
        self.module.function.attributes["function_type"] = ir.TypeAttr.get(kind, self.context)

    def parameter(self, name: str, value: np.ndarray, element: Type, before: Operation) -> Value:
        """Records a parameter and builds the load of it in front of an op."""
        self.parameters[name] = np.ascontiguousarray(value)
        with self.location:
            tensor = ir.RankedTensorType.get(value.shape, element)
            initial = ir.Attribute.parse(f'#flow.parameter.named<"{SCOPE}"::"{name}"> : {tensor}')
            ir.Operation.create(
                "util.global",
                attributes={
                    "sym_name": ir.StringAttr.get(name),
                    "sym_visibility": ir.StringAttr.get("private"),
                    "type": ir.TypeAttr.get(tensor),
                    "initial_value": initial,
                },
                ip=self._globals,
            )
            load = ir.Operation.create(
                "util.global.load",
                results=[tensor],
                attributes={"global": ir.FlatSymbolRefAttr.get(name), "is_immutable": ir.UnitAttr.get()},
                ip=ir.InsertionPoint(before),
            )
        return load.result

    def externalize_weights(self, op: Op) -> None:
        """Turns constant weights and biases of one op into parameters."""
        operation = op.operation
        for operand in _WEIGHT_OPERANDS[op.kind]:
            value = constant_value(operation.operands[operand])
            if value is None:
                continue
            element = ir.RankedTensorType(operation.operands[operand].type).element_type
            role = "operand" + str(operand) if op.kind == "matmul" else _OPERAND_NAMES[operand]
            if role == "bias":
                # [1] stands for [C]; a pass that corrects biases needs [C].
                value = np.broadcast_to(value, static_shape(operation.result.type)[-1:])
            name = f"{op.key}.{role}"
            if ir.IntegerType(element).width > 32:
                word = ir.IntegerType.get_signless(64, self.context)
                loaded = _reinterpret(self.parameter(name, value, word, operation), element, operation)
            else:
                loaded = self.parameter(name, value, element, operation)
            operation.operands[operand] = loaded

    def externalize_rescale(self, op: Op) -> None:
        """Replaces one rescale by the same arithmetic on parameters."""
        operation = op.operation
        rescale = read_rescale(op)
        if rescale.rounding_mode not in ("SINGLE_ROUND", "DOUBLE_ROUND"):
            raise ModuleError(f"`{op.key}` requires SINGLE_ROUND or DOUBLE_ROUND, got {rescale.rounding_mode}")
        if rescale.multiplier is None or rescale.shift is None or rescale.input_zp is None or rescale.output_zp is None:
            return  # Not constants: IREE lowers the op as it stands.
        double_round = rescale.rounding_mode == "DOUBLE_ROUND"
        if double_round and rescale.input_bits > 32:
            raise ModuleError(f"`{op.key}` requires SINGLE_ROUND for its {rescale.input_bits}-bit input, got DOUBLE_ROUND")
        by_channel = rescale.per_channel or accumulator_producer(operation) is not None
        channels = static_shape(operation.result.type)[-1:] if by_channel else ()
        multiplier, shift = (
            np.broadcast_to(value if channels else value.reshape(-1)[0], channels)
            for value in (rescale.multiplier, rescale.shift)
        )
        values = rescale_parameters(multiplier, shift, double_round, op.key)
        loaded = {
            role: self.parameter(
                f"{op.key}.{role}",
                value,
                ir.IntegerType.get_signless(value.dtype.itemsize * 8, self.context),
                operation,
            )
            for role, value in values.items()
        }
        result = _build_rescale(
            operation,
            loaded,
            input_zp=rescale.input_zp,
            output_zp=rescale.output_zp,
            input_unsigned=rescale.input_unsigned,
            output_unsigned=rescale.output_unsigned,
        )
        operation.result.replace_all_uses_with(result)
        operation.erase()

    def canonicalize(self) -> None:
        """Removes what may differ between variants of one graph without changing what it computes."""
        block = self.module.block
        # How constants are shared and where they stand depends on the passes that were run: give each use its own.
        for view in list(block.operations):
            for position, value in enumerate(view.operation.operands):
                if isinstance(value.owner, ir.Block):
                    continue
                definition = value.owner.operation
                if definition.name in ("tosa.const", "tosa.const_shape"):
                    clone = definition.clone(ip=ir.InsertionPoint(view.operation))
                    view.operation.operands[position] = clone.results[0]
        erase_dead_constants(block)
        _strip_attributes(self.module.ir.operation)
        self.module.strip_locations()

    def strip_signedness(self) -> None:
        """Makes every tensor signless.

        `ui8` occurs at the edges of the graph only, where rescales say by a flag what it means; the arithmetic that
        replaces them is signless.
        """

        def signless(tensor: Type) -> Type:
            if not isinstance(tensor, ir.RankedTensorType):
                return tensor
            element = tensor.element_type
            if not isinstance(element, ir.IntegerType) or element.is_signless:
                return tensor
            with self.location:
                return ir.RankedTensorType.get(tensor.shape, ir.IntegerType.get_signless(element.width))

        block = self.module.block
        for view in list(block.operations):
            operation = view.operation
            if operation.name == "tosa.const" and signless(operation.result.type) != operation.result.type:
                value = constant_value(operation.result)
                assert value is not None
                bits = value.view(np.dtype(f"int{value.dtype.itemsize * 8}"))
                operation.result.replace_all_uses_with(make_constant(operation, bits, signless(operation.result.type)))
        for value in [*block.arguments, *(result for view in block.operations for result in view.operation.results)]:
            value.set_type(signless(value.type))
        self._update_function_type()


def _strip_attributes(root: Operation) -> None:
    """Removes the attributes that an op's own dialect does not know, and those of arguments and results."""

    def visit(operation: Operation) -> Any:
        for name in list(operation.attributes.keys()):
            if "." in name or name in ("arg_attrs", "res_attrs"):
                del operation.attributes[name]
        return ir.WalkResult.ADVANCE

    root.walk(visit)


class _Body:
    """Builds scalar arithmetic in the body of a `linalg.generic`."""

    def __init__(self, block: Block, location: Any) -> None:
        self._ip = ir.InsertionPoint(block)
        self._location = location
        self._constants: dict[tuple[int, int], Value] = {}

    def integer(self, width: int) -> Type:
        return ir.IntegerType.get_signless(width, self._location.context)

    def op(self, name: str, *operands: Value, result: Type | None = None, **attributes: Attribute) -> Value:
        created = ir.Operation.create(
            f"arith.{name}",
            results=[result or operands[-1].type],
            operands=list(operands),
            attributes=attributes,
            ip=self._ip,
            loc=self._location,
        )
        return created.result

    def constant(self, value: int, width: int) -> Value:
        if (value, width) not in self._constants:
            attribute = ir.IntegerAttr.get(self.integer(width), value)
            self._constants[value, width] = self.op("constant", result=self.integer(width), value=attribute)
        return self._constants[value, width]

    def resize(self, value: Value, width: int, unsigned: bool = False) -> Value:
        have = ir.IntegerType(value.type).width
        if have == width:
            return value
        name = "trunci" if have > width else "extui" if unsigned else "extsi"
        return self.op(name, value, result=self.integer(width))

    def finish(self, value: Value) -> None:
        ir.Operation.create("linalg.yield", operands=[value], ip=self._ip, loc=self._location)


def _generic(
    before: Operation,
    inputs: list[Value],
    init: Value,
    maps: list[Attribute],
    iterators: Sequence[str],
) -> tuple[Operation, _Body, list[Value]]:
    """Builds a `linalg.generic` with an empty body; returns it, its body and the body's arguments."""
    location = ir.Location.unknown(before.context)
    with location:
        kinds = [ir.Attribute.parse(f"#linalg.iterator_type<{iterator}>") for iterator in iterators]
        generic = ir.Operation.create(
            "linalg.generic",
            results=[init.type],
            operands=[*inputs, init],
            attributes={
                "indexing_maps": ir.ArrayAttr.get([ir.AffineMapAttr.get(m) for m in maps]),
                "iterator_types": ir.ArrayAttr.get(kinds),
                "operandSegmentSizes": ir.DenseI32ArrayAttr.get([len(inputs), 1]),
            },
            regions=1,
            ip=ir.InsertionPoint(before),
        )
        elements = [ir.RankedTensorType(value.type).element_type for value in (*inputs, init)]
        block = generic.regions[0].blocks.append(*elements, arg_locs=[location] * len(elements))
    return generic, _Body(block, location), list(block.arguments)


def _empty(before: Operation, shape: Sequence[int], element: Type) -> Value:
    with ir.Location.unknown(before.context):
        tensor = ir.RankedTensorType.get(shape, element)
        return ir.Operation.create("tensor.empty", results=[tensor], ip=ir.InsertionPoint(before)).result


def _build_rescale(
    operation: Operation,
    parameters: Mapping[str, Value],
    *,
    input_zp: int,
    output_zp: int,
    input_unsigned: bool,
    output_unsigned: bool,
) -> Value:
    """Builds the arithmetic of one rescale in front of it and returns the result.

    Widths follow IREE's own lowering (zero points in 32 bits, product in 64), so that the bits agree also where the
    specification leaves the result open.
    """
    source = operation.operands[0]
    if ir.IntegerType(ir.RankedTensorType(source.type).element_type).width > 32:
        source = _reinterpret(source, ir.IntegerType.get_signless(64, operation.context), operation)
    shape = static_shape(operation.result.type)
    rank = len(shape)
    element = ir.RankedTensorType(operation.result.type).element_type
    with ir.Location.unknown(operation.context):
        identity = ir.AffineMap.get_identity(rank)
        per_channel = len(static_shape(parameters["shift"].type)) == 1
        last = [ir.AffineExpr.get_dim(rank - 1)] if per_channel else []
        channel = ir.AffineMap.get(rank, 0, last)
    operands = [parameters["multiplier"], parameters["shift"], parameters["round"], parameters["mask"]]
    generic, body, arguments = _generic(
        operation,
        [source, *operands],
        _empty(operation, shape, element),
        [identity, *([channel] * len(operands)), identity],
        ["parallel"] * rank,
    )
    value, multiplier, shift, rounding, mask = arguments[:5]
    with ir.Location.unknown(operation.context):
        width = max(32, ir.IntegerType(value.type).width)
        value = body.resize(value, width, input_unsigned)
        if input_zp:
            value = body.op("subi", value, body.constant(input_zp, width))
        product = body.op("muli", body.resize(value, 64), body.resize(multiplier, 64))
        product = body.op("addi", product, rounding)
        if width == 32:  # Wider values come with SINGLE_ROUND only.
            product = body.op("addi", product, body.resize(body.op("andi", value, mask), 64))
        product = body.op("shrsi", product, shift)
        result = body.resize(product, 32)
        if output_zp:
            result = body.op("addi", result, body.constant(output_zp, 32))
        bits = ir.IntegerType(element).width
        if bits < 32:
            low = 0 if output_unsigned else -(1 << (bits - 1))
            high = low + (1 << bits) - 1
            result = body.op("maxsi", result, body.constant(low, 32))
            result = body.op("minsi", result, body.constant(high, 32))
        body.finish(body.resize(result, bits))
    return generic.result


def _reinterpret(value: Value, element: Type, before: Operation) -> Value:
    """Builds a cast between i48 and i64 tensors that costs nothing.

    IREE holds i48 in 64 bits from its first pass on. A cast that only names both types becomes the identity there; one that
    extends or truncates would become ill-formed. Parameters and constants come in 64 bits, because IREE has no parameters
    of 48 bits and takes negative i48 constants for positive ones.
    """
    with ir.Location.unknown(before.context):
        tensor = ir.RankedTensorType.get(static_shape(value.type), element)
        return ir.Operation.create(
            "builtin.unrealized_conversion_cast", results=[tensor], operands=[value], ip=ir.InsertionPoint(before)
        ).result


def _returnable(value: Value, before: Operation) -> Value:
    """The value as IREE can return it: i48 in 64 bits."""
    element = ir.RankedTensorType(value.type).element_type
    if not isinstance(element, ir.IntegerType) or element.width in (1, 8, 16, 32, 64):
        return value
    return _reinterpret(value, ir.IntegerType.get_signless(64, before.context), before)


def _channel_sum(value: Value, unsigned: bool, before: Operation) -> Value:
    """Builds the int64 sum over all but the last dimension."""
    shape = static_shape(value.type)
    rank = len(shape)
    location = ir.Location.unknown(before.context)
    with location:
        i64 = ir.IntegerType.get_signless(64)
        zero = ir.Operation.create(
            "arith.constant",
            results=[i64],
            attributes={"value": ir.IntegerAttr.get(i64, 0)},
            ip=ir.InsertionPoint(before),
        ).result
        empty = _empty(before, shape[-1:], i64)
        fill = ir.Operation.create(
            "linalg.fill",
            results=[empty.type],
            operands=[zero, empty],
            attributes={"operandSegmentSizes": ir.DenseI32ArrayAttr.get([1, 1])},
            regions=1,
            ip=ir.InsertionPoint(before),
        )
        block = fill.regions[0].blocks.append(i64, i64, arg_locs=[location, location])
        ir.Operation.create("linalg.yield", operands=[block.arguments[0]], ip=ir.InsertionPoint(block))
        identity = ir.AffineMap.get_identity(rank)
        channel = ir.AffineMap.get(rank, 0, [ir.AffineExpr.get_dim(rank - 1)])
    generic, body, arguments = _generic(
        before, [value], fill.result, [identity, channel], ["reduction"] * (rank - 1) + ["parallel"]
    )
    with location:
        body.finish(body.op("addi", body.resize(arguments[0], 64, unsigned), arguments[1]))
    return generic.result
