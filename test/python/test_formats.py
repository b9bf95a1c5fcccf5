# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Whole networks in and out: float32 borders, parts that are no TOSA, open extents.

The oracle is LiteRT's interpreter with its reference kernels, on the file as the user has it. Real values go in and come
out; a border that is taken off and put on again must not change a bit of them.
"""

from __future__ import annotations

import pathlib
import warnings
from collections.abc import Callable

import numpy as np
import pytest
import tosa_rescale as tr
from tosa_rescale.core.errors import FileKindError, ModelError
from tosa_rescale.core.quantization import TensorQuantization
from tosa_rescale.formats.litert.export import litert_part
from tosa_rescale.formats.read import read_content

pytest.importorskip("tensorflow")
with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    import networks

FLOAT = [name for name in networks.NETWORKS if name not in ("classifier_int8", "classifier_uint8", "detection_custom", "lstm")]


@pytest.fixture
def read(tmp_path: pathlib.Path) -> Callable[..., tr.Model]:
    """A network by name or bytes, as `load` reads it."""

    def load(network: str | bytes, **options: object) -> tr.Model:
        path = tmp_path / "model.tflite"
        path.write_bytes(networks.NETWORKS[network]() if isinstance(network, str) else network)
        return tr.load(path, **options)  # pyright: ignore[reportArgumentType]

    return load


def real_inputs(model: tr.Model, seed: int = 0) -> dict[str, np.ndarray]:
    """Real values for every input, some of them beyond its range."""
    rng = np.random.default_rng(seed)
    specs = zip(model.input_specs, model.signature.inputs, strict=True)
    return {spec.name: rng.normal(0, 1.2, [n or 1 for n in each.shape]).astype(np.float32) for spec, each in specs}


def through_integers(model: tr.Model, data: bytes, inputs: dict[str, np.ndarray]) -> list[np.ndarray]:
    """What LiteRT makes of the model's integers, as the border says that they are to be read."""
    assert model.quantization is not None
    specs = model.input_specs
    integers = [spec.quantization.quantize(inputs[spec.name], spec.dtype) for spec in specs if spec.quantization]
    results = networks.run_litert(data, integers)
    known = model.quantization.outputs
    return [each.dequantize(r) if each.real else r for each, r in zip(known, results, strict=True)]


# Borders


@pytest.mark.parametrize("name", FLOAT)
def test_the_border_that_is_taken_off_changes_no_bit(read: Callable[..., tr.Model], name: str) -> None:
    model = read(name)
    assert model.flatbuffer is not None and model.quantization is not None
    assert all(each.real for each in model.quantization.inputs)
    assert all(spec.dtype.kind in "iu" for spec in (*model.signature.inputs, *model.signature.outputs))
    inputs = real_inputs(model)
    expected = networks.run_litert(model.flatbuffer, [inputs[name] for name in dict.fromkeys(inputs)])
    found = through_integers(model, litert_part(model), inputs)
    assert [each.dtype for each in found] == [each.dtype for each in expected]
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_array_equal(one, other)


def test_quantizing_is_that_of_litert() -> None:
    quantization = TensorQuantization("x", float(np.float32(0.0243)), -7, True)
    halves = (np.arange(-300, 300) + 0.5).astype(np.float32) * np.float32(quantization.scale)
    values = np.concatenate([halves, np.nextafter(halves, 99), np.nextafter(halves, -99), np.float32([1e6, -1e6, 0])])
    identity = networks.quantize_alone(len(values), quantization.scale, quantization.zero_point)
    (expected,) = networks.run_litert(identity, [values])
    np.testing.assert_array_equal(quantization.quantize(values, np.dtype(np.int8)), expected)


@pytest.mark.parametrize("name", ["pose", "two_inputs", "classifier_uint8", "gru"])
def test_engines_agree_on_a_module_without_its_border(read: Callable[..., tr.Model], name: str) -> None:
    assert read(name).narrow(3, scope="all").check(2, engines=("iree", "tf")).bit_exact


@pytest.mark.parametrize("name", networks.NETWORKS)
def test_networks_are_written_back_as_they_came(read: Callable[..., tr.Model], tmp_path: pathlib.Path, name: str) -> None:
    model = read(name)
    assert model.to_litert() == model.flatbuffer  # nothing was rewritten
    narrowed = model.compensate(1, scope="all", calibration="none")
    written = narrowed.to_litert()
    assert outside(written) == outside(model.flatbuffer or b"")
    (tmp_path / "written.tflite").write_bytes(written)
    again = tr.load(tmp_path / "written.tflite")
    assert again.quantization == model.quantization and again.signature == model.signature
    assert widest(again, narrowed) <= 1e-6  # float32 scales hold a multiplier to 2^-23
    state = tr.load(narrowed.save(tmp_path / "x.mlirbc"))
    assert state.quantization == model.quantization
    assert state.save(tmp_path / "y.tflite", original=tmp_path / "model.tflite").read_bytes() == written


def outside(data: bytes) -> list[tuple[str, str, int, list[int]]]:
    """Names, types and shapes of a file's inputs and outputs."""
    graph = networks.unpack(data).subgraphs[0]
    tensors = [graph.tensors[int(i)] for i in (*graph.inputs, *graph.outputs)]
    return [(str(len(graph.inputs)), each.name.decode(), each.type, list(each.shape)) for each in tensors]


def widest(model: tr.Model, narrowed: tr.Model) -> float:
    """How far the multipliers of MAC layers are from the narrowed ones, relatively, at most."""
    found = [
        [
            layer.rescale and np.log2(np.ldexp(np.float64(m), -s))
            for layer in each.mac_layers()
            if layer.rescale
            for m, s in [(each.constant(layer.rescale, 1), each.constant(layer.rescale, 2))]
        ]
        for each in (model.module(), narrowed.module())
    ]
    return max(np.abs(one - other).max() for one, other in zip(*found, strict=True))
