# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Arm's tosa-tools, where installed: .tosa files and the TOSA reference model.

They pin packages against ours and mostly live in an environment of their own; here they are executables, beside the Python
that runs or on PATH.
"""

from __future__ import annotations

import pathlib
import re
import shutil
import subprocess
import sysconfig
import tempfile
from collections.abc import Sequence

import numpy as np
from tosa_rescale_runtime import Module

from tosa_rescale.core.attributes import LOWERED
from tosa_rescale.core.errors import MissingToolError, ModelError
from tosa_rescale.core.passes import run_passes_on

HINT = "pip install tosa-tools here, or in an environment of its own and put its bin folder on PATH"
# What tosa-opt writes as an operator's name: the location's text, such as `loc("dense"("model.tflite":0:0))`.
_NAME = re.compile(r'^loc\("(?P<name>(?:[^"\\]|\\.)*)"')
_FUSED = re.compile(r'[\[ ]"((?:[^"\\]|\\.)*)"\(')
_LOWERED_MARK = f"|{LOWERED}"
"""Ends the name of an operator that has the attribute: a .tosa file keeps names, and no attributes but the operator's own."""


def deserialize(data: bytes, source: str) -> bytes:
    """A .tosa flatbuffer as MLIR bytecode.

    Raises:
        MissingToolError: tosa-opt is not installed.
        ModelError: it cannot be read.
    """
    with tempfile.TemporaryDirectory(prefix="tosa-rescale-") as name:
        folder = pathlib.Path(name)
        (folder / "in.tosa").write_bytes(data)
        (folder / "empty.mlir").write_text("module {}\n")
        _tosa_opt(
            ["empty.mlir", "--tosa-deserialize=tosa-flatbuffer-filename=in.tosa", "--emit-bytecode", "-o", "out.mlirbc"],
            folder,
            source,
        )
        return _with_clean_names((folder / "out.mlirbc").read_bytes(), source)


def find_tool(name: str) -> str | None:
    """A program of tosa-tools: in this installation's scripts folder, else on PATH; None where it is not installed."""
    installed = pathlib.Path(sysconfig.get_path("scripts")) / name
    return str(installed) if installed.is_file() else shutil.which(name)


def operator_name(text: str) -> str:
    """The tensor names in what a .tosa file has as an operator's name, joined by `;`; empty where there is none."""
    if named := _NAME.match(text):
        return named["name"]
    return ";".join(_FUSED.findall(text)) if text.startswith("loc(") else text


def _with_clean_names(bytecode: bytes, source: str) -> bytes:
    """The module with the source's tensor names as locations, as the LiteRT converter writes them, and marks as attributes."""
    from tosa_rescale_runtime.mlir import ir

    module = Module.parse(bytecode, source)
    with module.ir.context:
        unknown = ir.Location.unknown()
        for view in module.block.operations:
            location = view.operation.location
            name = operator_name(location.name_str) if isinstance(location, ir.NameLoc) else ""
            if name.endswith(_LOWERED_MARK):
                name = name.removesuffix(_LOWERED_MARK)
                view.operation.attributes[LOWERED] = ir.UnitAttr.get()
            view.operation.location = ir.Location.name(name) if name else unknown
    return run_passes_on(module, [], source).bytecode


def _with_marked_names(bytecode: bytes, source: str) -> bytes:
    """The module with a mark in the name of every operation that belongs to a lowered rescale; see `_with_clean_names`."""
    from tosa_rescale_runtime.mlir import ir

    module = Module.parse(bytecode, source)
    marked = [view.operation for view in module.block.operations if LOWERED in view.operation.attributes]
    if not marked:
        return bytecode
    with module.ir.context:
        for operation in marked:
            operation.location = ir.Location.name(operator_name(str(operation.location)) + _LOWERED_MARK)
    return run_passes_on(module, [], source).bytecode


def _with_outputs_apart(bytecode: bytes, source: str) -> bytes:
    """The module with a tensor of its own for each output: a .tosa file names a tensor once, as one output or as an input."""
    from tosa_rescale_runtime.mlir import ir

    module = Module.parse(bytecode, source)
    end = list(module.block.operations)[-1].operation
    seen: set[ir.Value] = set(module.block.arguments)
    copied = False
    for position, value in enumerate(list(end.operands)):
        if value in seen:
            with end.location:
                copy = ir.Operation.create("tosa.identity", [value.type], [value], ip=ir.InsertionPoint(end))
            end.operands[position] = copy.result
            copied = True
        seen.add(value)
    return run_passes_on(module, [], source).bytecode if copied else bytecode


def serialize(bytecode: bytes, source: str) -> bytes:
    """A TOSA module as .tosa flatbuffer; of attributes it keeps which operations belong to lowered rescales.

    Raises:
        MissingToolError: tosa-opt is not installed.
        ModelError: the module has something that the format lacks.
    """
    with tempfile.TemporaryDirectory(prefix="tosa-rescale-") as name:
        folder = pathlib.Path(name)
        bytecode = _with_outputs_apart(_with_marked_names(bytecode, source), source)
        (folder / "in.mlirbc").write_bytes(bytecode)
        (folder / "in.mlir").write_text(Module.parse(bytecode, source).to_generic_text())
        passes = ["--tosa-convert-integer-type-to-signless", "--tosa-serialize", "--tosa-flatbuffer-filename=out.tosa"]
        try:
            _tosa_opt(["in.mlirbc", *passes, "-o", "/dev/null"], folder, source)
        except ModelError:
            # Bytecode has no form of its own for the properties of some ops, such as cast; the generic text has.
            _tosa_opt(["in.mlir", *passes, "-o", "/dev/null"], folder, source)
        return (folder / "out.tosa").read_bytes()


def reference_model_available() -> bool:
    """Whether tosa_reference_model and tosa-opt are installed."""
    return all(find_tool(tool) for tool in ("tosa_reference_model", "tosa-opt"))


def run_reference_model(tosa: bytes, inputs: Sequence[np.ndarray], outputs: int, source: str) -> list[np.ndarray]:
    """Runs a .tosa flatbuffer on the TOSA reference model.

    Args:
        tosa: the flatbuffer.
        inputs: one array for each input, batch dimension included.
        outputs: number of outputs.
        source: the model's name, for errors.

    Raises:
        MissingToolError: tosa_reference_model is not installed.
        ModelError: the reference model says UNPREDICTABLE or ERROR.
    """
    tool = find_tool("tosa_reference_model")
    if tool is None:
        raise MissingToolError(f"tosa_reference_model: not found; {HINT}")
    input_files, output_files = ([f"{role}{i}.npy" for i in range(n)] for role, n in (("in", len(inputs)), ("out", outputs)))
    with tempfile.TemporaryDirectory(prefix="tosa-rescale-") as name:
        folder = pathlib.Path(name)
        (folder / "model.tosa").write_bytes(tosa)
        for file, array in zip(input_files, inputs, strict=True):
            np.save(folder / file, array)
        # The names are those that `tosa-opt --tosa-serialize` gives; without them the tool asks for a test description.
        argv = [
            *(tool, "--tosa_file", "model.tosa", "--flatbuffer_dir", ".", "--output_dir", "."),
            *("--operator_fbs", str(_schema(pathlib.Path(tool)))),
            *("--ifm_name", ",".join(f"TosaInput_{i}" for i in range(len(inputs))), "--ifm_file", ",".join(input_files)),
            *("--ofm_name", ",".join(f"TosaOutput_{i}" for i in range(outputs)), "--ofm_file", ",".join(output_files)),
        ]
        done = subprocess.run(argv, cwd=folder, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            verdict = {1: "UNPREDICTABLE", 2: "ERROR"}.get(done.returncode, f"status {done.returncode}")
            said = [line for line in (done.stdout + done.stderr).splitlines() if line.strip() and " AT /" not in line]
            raise ModelError(f"{source}: the TOSA reference model says {verdict}: {said[0] if said else 'no message'}")
        return [np.load(folder / file) for file in output_files]


def _schema(tool: pathlib.Path) -> pathlib.Path:
    """tosa.fbs of the environment that the reference model is installed in."""
    beside = tool.resolve().parent / "tosa.fbs"
    found = [beside] if beside.is_file() else sorted(tool.parent.parent.glob("lib/python*/site-packages/bin/tosa.fbs"))
    if not found:
        raise MissingToolError(f"tosa.fbs: not found near {tool}; {HINT}")
    return found[0]


def require_tosa_opt(source: str) -> str:
    """The path of tosa-opt.

    Args:
        source: the file that needs it, for the error.

    Raises:
        MissingToolError: it is not installed.
    """
    tool = find_tool("tosa-opt")
    if tool is None:
        raise MissingToolError(f"{source}: .tosa files need tosa-opt; {HINT}")
    return tool


def _tosa_opt(arguments: Sequence[str], folder: pathlib.Path, source: str) -> None:
    tool = require_tosa_opt(source)
    done = subprocess.run([tool, *arguments], cwd=folder, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        errors = [line.split("error: ", 1)[1] for line in done.stderr.splitlines() if "error: " in line]
        raise ModelError(f"{source}: tosa-opt refused it: {errors[0] if errors else 'no message'}")
