# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Reading and editing modules."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
from runtime_modules import ConvNet, RescaleCase, constant, function, rescale_module, tensor
from tosa_rescale_runtime import Module, ModuleError, input_limits


def test_import_loads_neither_iree_nor_tensorflow():
    code = (
        "import sys, tosa_rescale_runtime\n"
        "print([m for m in sys.modules if m.split('.')[0] in ('iree', 'tensorflow', 'ai_edge_litert', 'PIL', 'click')])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_text_and_bytecode_give_the_same_module():
    text = ConvNet.random().text()
    module = Module.parse(text)
    again = Module.parse(module.to_bytecode())
    assert again.to_text() == module.to_text()


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "is empty"),
        (b"\x1c\x00\x00\x00TFL3\xff\xfe", "neither MLIR bytecode nor text"),
        (b"hello", "is not a readable MLIR module"),
        (b"ML\xefRjunk", "is not a readable MLIR module"),
        (Module.parse(ConvNet.random().text()).to_bytecode()[:300], "is not a readable MLIR module"),
        ("module {}", "has no function"),
    ],
)
def test_bad_input_is_one_line(data, message):
    with pytest.raises(ModuleError, match=message) as caught:
        Module.parse(data, "model.mlirbc")
    assert str(caught.value).startswith("model.mlirbc: ")
    assert "\n" not in str(caught.value)


def test_signature_takes_names_from_the_converter():
    text = ConvNet.random().text().replace("-> (tensor<1x6x6x8xi8>) {", "-> (tensor<1x6x6x8xi8>) attributes "
        '{tf.entry_function = {inputs = "image", outputs = "logits"}} {')  # fmt: skip
    signature = Module.parse(text).signature
    assert signature.function == "main"
    assert [(s.name, s.shape, s.dtype) for s in (*signature.inputs, *signature.outputs)] == [
        ("image", (1, 6, 6, 4), np.dtype(np.int8)),
        ("logits", (1, 6, 6, 8), np.dtype(np.int8)),
    ]


def test_signature_of_a_dynamic_unsigned_input():
    text = rescale_module([RescaleCase("ui8", "i8", (1 << 30,), (30,), 128)], (1, 4, 3)).replace("<1x4x3x", "<?x4x3x")
    spec = Module.parse(text).signature.inputs[0]
    assert (spec.name, spec.shape, spec.dtype) == ("input0", (None, 4, 3), np.dtype(np.uint8))


def test_ops_have_stable_keys_and_names_from_locations():
    text = ConvNet.random().text().replace(
        "-> tensor<1x6x6x8xi32>\n", '-> tensor<1x6x6x8xi32> loc("net/conv;net/bias")\n', 1
    )  # fmt: skip
    ops = list(Module.parse(text).ops())
    assert [op.key for op in ops] == ["conv2d0", "rescale0", "reshape0", "depthwise_conv2d0", "rescale1"]
    assert [op.name for op in ops][:2] == ["net/conv", "rescale0"]


def test_rescales_are_read_whole():
    case = RescaleCase("ui8", "i8", (5, 6, 7), (31, 32, 33), input_zp=200, output_zp=-3, double_round=True)
    (read,) = Module.parse(rescale_module([case], (1, 4, 3))).rescales()
    assert read.multiplier is not None and read.multiplier.tolist() == [5, 6, 7]
    assert read.shift is not None and read.shift.tolist() == [31, 32, 33]
    assert (read.input_zp, read.output_zp, read.input_unsigned, read.output_unsigned) == (200, -3, True, False)
    assert (read.rounding_mode, read.per_channel, read.scale32) == ("DOUBLE_ROUND", True, True)
    assert (read.input_bits, read.output_bits, read.shape, read.info) == (8, 8, (1, 4, 3), {})


def test_rescale_carries_the_annotation():
    text = rescale_module([RescaleCase("i32", "i8", (5,), (31,))], (1, 4, 3)).replace(
        "output_unsigned = false}>",
        'output_unsigned = false}> {tosa_rescale.info = {scope = "accumulator", bits = 8 : i32, mac = true, '
        "range = array<i64: -9, 8>, all = [1 : i64, 2.5 : f32]}}",
    )
    (read,) = Module.parse(text).rescales()
    assert read.info == {"scope": "accumulator", "bits": 8, "mac": True, "range": [-9, 8], "all": [1, 2.5]}


@pytest.mark.parametrize(
    ("values", "element"),
    [
        ([[1, -2], [3, 127]], "i8"),
        ([[7, 7], [7, 7]], "i32"),
        ([-(1 << 47), (1 << 47) - 1, -1], "i48"),
        ([-5, -5, -5], "i48"),
        (list(range(-100, 100)), "i48"),
        ([-8, 7, 0], "i4"),
        ([1 << 40, -(1 << 62)], "i64"),
        ([200, 0], "ui8"),
    ],
)
def test_constants_of_every_type_are_read(values, element):
    shape = np.array(values).shape
    kind = f"tensor<{'x'.join(map(str, shape))}x{element}>"
    body = constant("c", values, element) + f'    %i = "tosa.identity"(%c) : ({kind}) -> {kind}\n'
    module = Module.parse(function([("x", "tensor<1xi8>")], body, [("i", kind)]))
    read = module.constant(module.op("identity0"), 0)
    assert read is not None and read.tolist() == values


def test_constant_is_replaced_for_one_user_only():
    module = Module.parse(ConvNet.random().text())
    conv, depthwise = module.op("conv2d0"), module.op("depthwise_conv2d0")
    module.set_constant(conv, 4, np.array([1], np.int8))  # the weight zero point that both share
    module.set_constant(depthwise, 1, np.zeros((3, 3, 8, 1), np.int64))
    again = Module.parse(module.to_bytecode())
    values = [again.constant(again.op(key), 4) for key in ("conv2d0", "depthwise_conv2d0")]
    assert [v.tolist() for v in values if v is not None] == [[1], [0]]
    weight = again.constant(again.op("depthwise_conv2d0"), 1)
    assert weight is not None and weight.shape == (3, 3, 8, 1) and not weight.any()


@pytest.mark.parametrize(
    ("operand", "value", "message"),
    [
        (0, np.zeros((1, 6, 6, 4), np.int8), "is not a constant"),
        (2, np.zeros(7, np.int32), "requires a constant of shape"),
        (1, np.full((8, 3, 3, 4), 128), "requires elements of type `i8`"),
    ],
)
def test_constant_that_does_not_fit_is_refused(operand, value, message):
    module = Module.parse(ConvNet.random().text())
    with pytest.raises(ModuleError, match=message):
        module.set_constant(module.op("conv2d0"), operand, value)


def test_inputs_that_are_indices_take_the_rows_of_the_smallest_table():
    ids, flat, rows = tensor((2, 3), "i32"), tensor((1, 6), "i32"), tensor((1, 6, 4), "i8")
    body = (
        constant("large", np.zeros((1, 30, 4), int), "i8")
        + constant("small", np.zeros((1, 7, 4), int), "i8")
        + constant("one", np.ones((1, 6), int), "i32")
        + '    %shape = "tosa.const_shape"() <{values = dense<[1, 6]> : tensor<2xindex>}> : () -> !tosa.shape<2>\n'
        + f'    %flat = "tosa.reshape"(%x, %shape) : ({ids}, !tosa.shape<2>) -> {flat}\n'
        + f'    %a = "tosa.gather"(%large, %flat) : ({tensor((1, 30, 4), "i8")}, {flat}) -> {rows}\n'
        + f'    %b = "tosa.gather"(%small, %flat) : ({tensor((1, 7, 4), "i8")}, {flat}) -> {rows}\n'
        + f'    %next = "tosa.add"(%y, %one) : ({flat}, {flat}) -> {flat}\n'
        + f'    %c = "tosa.gather"(%small, %next) : ({tensor((1, 7, 4), "i8")}, {flat}) -> {rows}\n'
        + f'    %d = "tosa.gather"(%t, %one) : ({tensor((1, 7, 4), "i48")}, {flat}) -> {tensor((1, 6, 4), "i48")}\n'
    )
    # Indices that are counted from the end where they are negative, as Keras's embeddings have them.
    body += constant("zero", np.zeros((1, 6), int), "i32") + constant("count", np.full((1, 6), 7), "i32")
    body += (
        f'    %negative = "tosa.greater"(%zero, %z) : ({flat}, {flat}) -> {tensor((1, 6), "i1")}\n'
        + f'    %wrapped = "tosa.add"(%z, %count) : ({flat}, {flat}) -> {flat}\n'
        + f'    %chosen = "tosa.select"(%negative, %wrapped, %z) : ({tensor((1, 6), "i1")}, {flat}, {flat}) -> {flat}\n'
        + f'    %e = "tosa.gather"(%small, %chosen) : ({tensor((1, 7, 4), "i8")}, {flat}) -> {rows}\n'
    )
    inputs = [("x", ids), ("y", flat), ("t", tensor((1, 7, 4), "i48")), ("z", flat)]
    results = [("a", rows), ("b", rows), ("c", rows), ("d", tensor((1, 6, 4), "i48")), ("e", rows)]
    found = input_limits(Module.parse(function(inputs, body, results)))
    # What indices are looked up in may be anything.
    assert found == ((0, 6), (-1, 5), (-(1 << 47), (1 << 47) - 1), (0, 6))


@pytest.mark.parametrize(
    "steps",
    [
        ["add(x, 1)"],
        ["sub(x, 3)"],
        ["sub(5, x)"],
        ["mul(x, 2)"],
        ["mul(x, -3)", "add(v0, 6)"],
        ["mul(x, 0)"],
        ["minimum(x, 4)"],
        ["maximum(x, 2)"],
        ["minimum(x, 100)", "maximum(v0, -7)"],
        ["add(x, 2)", "maximum(v0, 0)", "minimum(v1, 6)"],
        ["minimum(6, x)", "maximum(0, v0)"],
        ["add(x, 0 1 2)"],
        ["mul(x, 1 2)", "sub(v0, 1)"],
        ["add(x, 120)", "minimum(v0, 6)"],
        ["minimum(x, -1)"],
    ],
)
def test_computed_indices_take_what_leads_to_a_row(steps):
    """Every value of int8 is tried: just those whose results are rows of the table, none by wrapping around, are allowed."""
    kind, rows, count = tensor((1, 6), "i8"), 7, 0
    body = constant("table", np.zeros((1, rows, 4), int), "i8") + constant("shift", [0], "i8")
    values = {"x": np.arange(-128, 128)[:, None]}
    wraps, y = np.zeros(256, bool), np.zeros((256, 1), int)
    for i, step in enumerate(steps):
        op, operands = step.rstrip(")").split("(")
        names = []
        for each in operands.split(", "):
            if each not in values:
                values[f"c{count}"] = np.array([list(map(int, each.split()))])
                body += constant(f"c{count}", np.resize(values[f"c{count}"], (1, 6)), "i8")
                each, count = f"c{count}", count + 1
            names.append(each)
        y = {"add": np.add, "sub": np.subtract, "mul": np.multiply, "minimum": np.minimum, "maximum": np.maximum}[op](
            *(values[each] for each in names)
        )
        wraps |= ((y < -128) | (y > 127)).any(1)
        values[f"v{i}"] = y
        given = ", ".join(f"%{each}" for each in (*names, *(["shift"] if op == "mul" else [])))
        types = ", ".join([kind] * 2 + ([tensor((1,), "i8")] if op == "mul" else []))
        body += f'    %v{i} = "tosa.{op}"({given}) : ({types}) -> {kind}\n'
    indices, made = tensor((1, 6), "i32"), tensor((1, 6, 4), "i8")
    body += f'    %i = "tosa.cast"(%v{len(steps) - 1}) : ({kind}) -> {indices}\n'
    body += f'    %y = "tosa.gather"(%table, %i) : ({tensor((1, rows, 4), "i8")}, {indices}) -> {made}\n'
    ((low, high),) = input_limits(Module.parse(function([("x", kind)], body, [("y", made)])))
    good = np.flatnonzero(((y >= 0) & (y < rows)).all(1) & ~wraps) - 128
    assert (low, high) == ((good.min(), good.max()) if good.size else (-128, 127))
