# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""What an import loads, in a process of its own."""

from __future__ import annotations

import subprocess
import sys

HEAVY = ("tensorflow", "ray", "iree", "keras", "matplotlib", "ai_edge_litert", "tosa_converter_for_tflite", "PIL")


def loaded_by(statement: str) -> list[str]:
    code = f"import sys; {statement}; print(*sorted({{name.split('.')[0] for name in sys.modules}}))"
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()


def test_importing_the_package_loads_no_heavy_dependency() -> None:
    assert not set(HEAVY) & set(loaded_by("import tosa_rescale"))


def test_the_runtime_knows_nothing_of_the_users_package() -> None:
    assert "tosa_rescale" not in loaded_by("import tosa_rescale_runtime")


def test_running_a_model_loads_no_training_code() -> None:
    engines = "engines=('iree', 'iree-constant')"
    loaded = loaded_by(
        f"import tosa_rescale as tr; from tosa_rescale.demo import MODEL; tr.load(MODEL).narrow(4).check(1, {engines})"
    )
    assert "iree" in loaded
    assert not {"tensorflow", "keras"} & set(loaded)


def test_the_package_exports_all_that_a_public_signature_names() -> None:
    """A user can name, import and construct whatever a method takes or gives."""
    import ast
    import pathlib

    import tosa_rescale as tr

    elsewhere = {
        "pathlib",
        "np",
        "Any",
        "Mapping",
        "Sequence",
        "PathLike",
        "Executable",
        "Summary",
        "str",
        "int",
        "bool",
        "float",
        "bytes",
        "list",
        "dict",
        "tuple",
    }
    trees = [ast.parse(path.read_text()) for path in pathlib.Path(tr.__file__).with_name("api").glob("*.py")]
    named = set()
    for node in (each for tree in trees for each in ast.walk(tree)):
        if isinstance(node, ast.FunctionDef) and not node.name.startswith("_"):
            annotations = [each.annotation for each in (*node.args.args, *node.args.kwonlyargs)] + [node.returns]
            named |= {part.id for each in annotations if each for part in ast.walk(each) if isinstance(part, ast.Name)}
    assert named - elsewhere <= set(dir(tr))
