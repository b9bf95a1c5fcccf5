# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Runs the LiteRT to TOSA converter; executed as a process of its own by convert.py.

Not imported: the converter and LiteRT's interpreter are C++ that may abort on a corrupt file, and they write to standard
error behind Python's back. In the working folder it reads `model.tflite` and, where the graph has dynamic extents,
`shapes.json` (extents of each input, in order), and writes `model.mlirbc` and, where the converter left operators,
`left.json` (kind and names of each).

Usage: python -P _converter.py
"""

import json
import pathlib
import re
from collections.abc import Callable
from typing import Any

from tosa_converter_for_tflite import TosaConverterDebugInfo, TosaConverterOutputFormat, tflite_flatbuffer_to_tosa_mlir

LEFT = re.compile(r'^ +(?:%[^=]* = )?"?tfl\.(?P<kind>\w+)"?[( ].* loc\((?P<location>#loc\d*)\)$', re.MULTILINE)
LOCATION = re.compile(r"^(?P<name>#loc\d*) = loc\((?P<value>.*)\)$", re.MULTILINE)
QUOTED = re.compile(r'"((?:[^"\\]|\\.)*)"')


FILLED = {"FILL", "BROADCAST_TO"}  # operators that make constants of other types than integers of shapes


def make_static(data: bytes, shapes: list[list[int]]) -> bytes:
    """The model with the extents that its tensors have for inputs of these shapes, as LiteRT's interpreter finds them.

    What is computed from extents alone becomes a constant: the converter crashes where it meets shapes that it does not know,
    as those of the first state of a recurrent layer.
    """
    import flatbuffers
    import numpy as np
    from ai_edge_litert import schema_py_generated
    from ai_edge_litert.interpreter import Interpreter, OpResolverType

    interpreter = Interpreter(
        model_content=data,
        experimental_op_resolver_type=OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES,
        experimental_preserve_all_tensors=True,
    )
    details = interpreter.get_input_details()
    for each, shape in zip(details, shapes, strict=True):
        interpreter.resize_tensor_input(each["index"], shape)
    interpreter.allocate_tensors()
    for each, shape in zip(details, shapes, strict=True):
        interpreter.set_tensor(each["index"], np.zeros(shape, each["dtype"]))
    interpreter.invoke()  # shapes that are computed are known only then
    schema: Any = schema_py_generated
    model = schema.ModelT.InitFromPackedBuf(data, 0)
    found = {each["index"]: each["shape"] for each in interpreter.get_tensor_details()}
    for index, tensor in enumerate(model.subgraphs[0].tensors):
        if index in found and tensor.shape is not None:
            tensor.shape, tensor.shapeSignature = np.array(found[index], np.int32), None
    fold_extents(model, schema, interpreter.get_tensor)
    builder = flatbuffers.Builder(len(data))
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output())


def fold_extents(model: Any, schema: Any, value_of: Callable[[int], Any]) -> None:
    """Makes what follows from the extents of tensors alone constants of the first subgraph. Changes `model`.

    Args:
        model: a ModelT with static shapes.
        schema: the classes of LiteRT's flatbuffer.
        value_of: the value that a tensor has, an array, by position.
    """
    import numpy as np

    graph, folded, kept = model.subgraphs[0], set(), []
    kinds = {number: kind for kind, number in vars(schema.BuiltinOperator).items() if isinstance(number, int)}
    integers = {schema.TensorType.INT32, schema.TensorType.INT64, schema.TensorType.BOOL}

    def is_constant(index: int) -> bool:
        data = model.buffers[graph.tensors[index].buffer].data
        return index in folded or (data is not None and len(data) > 0)

    for operator in graph.operators:
        code = model.operatorCodes[operator.opcodeIndex]
        kind = kinds.get(max(code.builtinCode, code.deprecatedBuiltinCode))
        read, made = ([int(i) for i in ends if i >= 0] for ends in (operator.inputs, operator.outputs))
        follows = any(i in folded for i in read) and all(is_constant(i) for i in read)
        small = all(graph.tensors[i].type in integers for i in made) or kind in FILLED
        if not (kind == "SHAPE" or (follows and small)) or not made or set(made) & {int(i) for i in graph.outputs}:
            kept.append(operator)
            continue
        for index in made:
            buffer = schema.BufferT()
            buffer.data = np.frombuffer(value_of(index).tobytes(), np.uint8)
            model.buffers.append(buffer)
            graph.tensors[index].buffer = len(model.buffers) - 1
            folded.add(index)
    graph.operators = kept


def left_operators(text: str) -> list[dict[str, object]]:
    """The operators of the LiteRT dialect in a module's text: kind in upper case, and the tensor names of its location."""
    locations = {each["name"]: each["value"] for each in LOCATION.finditer(text)}

    def names(value: str, depth: int = 0) -> list[str]:
        found = [name for joined in QUOTED.findall(value) for name in (joined, *joined.split(";"))]
        if depth < 4 and value.startswith("fused"):
            for each in re.findall(r"#loc\d*", value):
                found += names(locations.get(each, ""), depth + 1)
        return found

    found = LEFT.finditer(text)
    return [{"kind": each["kind"].upper(), "names": names(locations.get(each["location"], ""))} for each in found]


def main() -> None:
    shapes = pathlib.Path("shapes.json")
    if shapes.exists():
        model = pathlib.Path("model.tflite")
        model.write_bytes(make_static(model.read_bytes(), json.loads(shapes.read_text())))
    # Locations carry the tensor names of the flatbuffer; they are how an op is recognised from then on.
    tflite_flatbuffer_to_tosa_mlir("model.tflite", "model.mlirbc", debug_info=TosaConverterDebugInfo.Enable)
    if b"\0tfl\0" not in pathlib.Path("model.mlirbc").read_bytes():
        return
    # Bytecode of a dialect that no other tool knows cannot be read; text can, and is only made where it may be needed.
    tflite_flatbuffer_to_tosa_mlir(
        "model.tflite", "model.mlir", output_format=TosaConverterOutputFormat.Text, debug_info=TosaConverterDebugInfo.Enable
    )
    if left := left_operators(pathlib.Path("model.mlir").read_text(errors="replace")):
        pathlib.Path("left.json").write_text(json.dumps(left))


if __name__ == "__main__":
    main()
