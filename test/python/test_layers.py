# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Imports point one way: no circle between files, no arrow against the order of layers in docs/architecture.md.

Read from the syntax trees, so that an import inside a function or under TYPE_CHECKING counts like any other.
"""

from __future__ import annotations

import ast
import pathlib
import re
from collections.abc import Iterator, Mapping

import pytest

ROOT = pathlib.Path(__file__).parents[2]
SOURCES = {"tosa_rescale": ROOT / "python" / "tosa_rescale", "tosa_rescale_runtime": ROOT / "runtime" / "tosa_rescale_runtime"}
ARCHITECTURE = ROOT / "docs" / "architecture.md"


def modules() -> dict[str, pathlib.Path]:
    """Every Python file by its dotted name; a package stands for its `__init__`."""
    found = {}
    for package, folder in SOURCES.items():
        for path in sorted(folder.rglob("*.py")):
            parts = path.relative_to(folder).with_suffix("").parts
            found[".".join((package, *(parts[:-1] if parts[-1] == "__init__" else parts)))] = path
    return found


def imported(name: str, path: pathlib.Path, known: Mapping[str, pathlib.Path]) -> Iterator[str]:
    """The files of ours that a file imports; `from package import module` names the module."""
    for node in ast.walk(ast.parse(path.read_text(), str(path))):
        if isinstance(node, ast.Import):
            yield from (each.name for each in node.names if each.name in known)
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                package = name.split(".") if path.name == "__init__.py" else name.split(".")[:-1]
                base = ".".join([*package[: len(package) - node.level + 1], *([node.module] if node.module else [])])
            for each in node.names:
                whole = f"{base}.{each.name}"
                if whole in known:
                    yield whole
                elif base in known:
                    yield base


@pytest.fixture(scope="module")
def graph() -> dict[str, set[str]]:
    known = modules()
    return {name: set(imported(name, path, known)) - {name} for name, path in known.items()}


def layers() -> list[tuple[str, ...]]:
    """The order of layers as the documentation gives it, lowest first; those on one line do not know each other."""
    (text,) = re.findall(r"<!-- layers: (.*?) -->", ARCHITECTURE.read_text(), re.S)
    return [tuple(part.split()) for part in text.split("<")]


def layer_of(name: str) -> str:
    """The layer that a file belongs to: the folder below the package, or a file's own name there."""
    package, _, rest = name.partition(".")
    return "runtime" if package == "tosa_rescale_runtime" else (rest.split(".")[0] or "__init__")


def circles(graph: Mapping[str, set[str]]) -> list[list[str]]:
    """The strongly connected components of more than one file (Tarjan, 1972)."""
    index: dict[str, int] = {}
    low: dict[str, int] = {}
    stack: list[str] = []
    found: list[list[str]] = []

    def visit(node: str) -> None:
        index[node] = low[node] = len(index)
        stack.append(node)
        for other in sorted(graph[node]):
            if other not in index:
                visit(other)
                low[node] = min(low[node], low[other])
            elif other in stack:
                low[node] = min(low[node], index[other])
        if low[node] == index[node]:
            component = stack[stack.index(node) :]
            del stack[stack.index(node) :]
            if len(component) > 1:
                found.append(sorted(component))

    for node in sorted(graph):
        if node not in index:
            visit(node)
    return found


def test_no_files_import_each_other_in_a_circle(graph: dict[str, set[str]]) -> None:
    assert circles(graph) == []


def test_a_circle_is_found() -> None:
    assert circles({"a": {"b"}, "b": {"c"}, "c": {"b"}, "d": {"a"}}) == [["b", "c"]]


def test_every_folder_has_its_place_in_the_order(graph: dict[str, set[str]]) -> None:
    assert {layer_of(name) for name in graph} == {layer for group in layers() for layer in group}


def test_no_import_points_against_the_order(graph: dict[str, set[str]]) -> None:
    rank = {layer: height for height, group in enumerate(layers()) for layer in group}
    against = [
        f"{name} -> {other}"
        for name, others in graph.items()
        for other in sorted(others)
        if layer_of(name) != layer_of(other) and rank[layer_of(other)] >= rank[layer_of(name)]
    ]
    assert against == []


def test_lazy_and_type_checking_imports_count() -> None:
    known = {"p": pathlib.Path(), "p.a": pathlib.Path(), "p.b": pathlib.Path()}
    text = "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from p.a import X\ndef f():\n    from p import b\n"
    path = pathlib.Path(__file__).with_name("unused.py")

    class Text(type(path)):  # type: ignore[misc]
        def read_text(self, *_: object, **__: object) -> str:
            return text

    assert set(imported("p.c", Text(path), known)) == {"p.a", "p.b"}


KNOWN_BY = {
    "tensorflow": ("twin", "data"),  # data: a tf.data.Dataset is recognised, where TensorFlow is loaded already
    "torch": ("executorch",),
    "executorch": ("executorch",),
    "ray": ("sweeping",),
    "click": ("cli",),
    "rich": ("core", "cli"),
    "PIL": ("data",),
    "jinja2": ("reporting",),
    "yaml": ("driver", "cli"),
    "ai_edge_litert": ("formats", "measure"),
    "tosa_converter_for_tflite": ("formats",),
    "iree": ("runtime", "driver"),
}
"""Packages of others, and the only layers that import them."""


@pytest.mark.parametrize("package", KNOWN_BY)
def test_packages_of_others_are_known_in_their_layer_alone(package: str) -> None:
    knows = set()
    for name, path in modules().items():
        for node in ast.walk(ast.parse(path.read_text(), str(path))):
            names = [each.name for each in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) and not node.level else []
            if any(each.split(".")[0] == package for each in names):
                knows.add(layer_of(name))
    assert knows <= {*KNOWN_BY[package], "demo"}  # demo: the script that made its model and data
