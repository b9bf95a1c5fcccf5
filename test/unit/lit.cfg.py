# Configuration of the C++ unit tests: `lit test/unit`. They need a compiler and nothing of MLIR.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

import os
import pathlib
import shutil

import lit.formats

HERE = pathlib.Path(__file__).resolve().parent

config.name = "tosa-rescale unit"
config.test_format = lit.formats.ShTest(execute_external=False)
config.suffixes = [".cpp"]
config.test_source_root = str(HERE)
config.test_exec_root = os.path.join(
    lit_config.params.get("exec_root", os.environ.get("TMPDIR", "/tmp")), f"tosa-rescale-lit-{os.getuid()}", "unit"
)

compiler = os.environ.get("CXX") or shutil.which("g++") or shutil.which("clang++")
if not compiler:
    lit_config.fatal("no C++ compiler found: install g++ or set CXX")
config.substitutions += [("%cxx", compiler), ("%passes_src", str(HERE.parent.parent / "passes"))]
