# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Whole networks in and out: float32 borders, parts that are no TOSA, open extents.

The oracle is LiteRT's interpreter with its reference kernels, on the file as the user has it. Real values go in and come
out; a border that is taken off and put on again must not change a bit of them.
"""

from __future__ import annotations

import copy
import dataclasses
import pathlib
import warnings
from collections.abc import Callable

import numpy as np
import pytest
import tosa_rescale as tr
from tosa_rescale.core.errors import FileKindError, MissingToolError, ModelError
from tosa_rescale.core.quantization import TensorQuantization
from tosa_rescale.formats.litert.export import litert_part
from tosa_rescale.formats.litert.schema import litert_layers
from tosa_rescale.formats.read import read_content
from tosa_rescale.formats.tosa import deserialize, find_tool, operator_name

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
    values = np.concatenate([halves, np.nextafter(halves, 99), np.nextafter(halves, -99), np.array([1e6, -1e6, 0], np.float32)])
    identity = networks.quantize_alone(len(values), quantization.scale, quantization.zero_point)
    (expected,) = networks.run_litert(identity, [values])
    np.testing.assert_array_equal(quantization.quantize(values, np.dtype(np.int8)), expected)


@pytest.mark.parametrize("name", ["pose", "segmentation", "two_inputs", "classifier_uint8", "gru"])
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
    return max(
        np.abs(one / other - 1)[other > 0].max(initial=0)
        for one, other in zip(multipliers(model), multipliers(narrowed), strict=True)
    )


def multipliers(model: tr.Model) -> list[np.ndarray]:
    """Those of each MAC layer, float64 [C]."""
    module = model.module()
    keys = {layer.rescale.key for layer in module.mac_layers() if layer.rescale}
    rescales = [each for each in module.rescales() if each.key in keys]
    return [
        np.ldexp(each.multiplier.astype(np.float64), -each.shift)
        for each in rescales
        if each.multiplier is not None and each.shift is not None
    ]


def test_an_int16_network_runs_in_litert_as_written(read: Callable[..., tr.Model]) -> None:
    model = read("classifier_int16x8")
    inputs = real_inputs(model)
    (before,) = networks.run_litert(model.flatbuffer or b"", inputs)
    (after,) = networks.run_litert(model.compensate(1, calibration="none").to_litert(), inputs)
    assert np.abs(before - after).max() < 0.02 and (before != after).any()  # scores of a softmax


def test_a_uint8_part_is_int8_and_the_rest_reads_uint8(read: Callable[..., tr.Model]) -> None:
    model = read(networks.with_custom_op(networks.detection("uint8"), "Nothing"))
    assert [spec.dtype for spec in model.signature.outputs] == [np.uint8, np.uint8]
    written = networks.unpack(model.compensate(1, calibration="none").to_litert()).subgraphs[0]
    custom = written.operators[-1]
    assert [written.tensors[int(i)].type for i in custom.inputs] == [networks.schema.TensorType.UINT8] * 2


# Parts


def test_what_stays_behind_is_said_and_recorded(read: Callable[..., tr.Model], tmp_path: pathlib.Path) -> None:
    model = read("detection_custom")
    (remark,) = model.remarks
    assert remark.text == (
        "stays as it is: operator 10 (CUSTOM TFLite_Detection_PostProcess 'result0') behind; the module's outputs are "
        "Identity1, Identity_11"
    )
    (step,) = tr.load(model.save(tmp_path / "x.mlirbc")).recipe
    assert step.name == "cut" and step.options["outputs"] == ["Identity1", "Identity_11"]


def test_the_rest_of_a_file_gives_what_it_gave(read: Callable[..., tr.Model]) -> None:
    model = read("lstm")
    inputs = real_inputs(model)
    written = model.compensate(8, calibration="none").to_litert()
    (before,), (after,) = (networks.run_litert(data, inputs) for data in (model.flatbuffer or b"", written))
    assert np.abs(before - after).max() < 0.02 and np.abs(before).max() > 0.1
    assert [name for name, *_ in _operators(written)] == [name for name, *_ in _operators(model.flatbuffer or b"")]


def _operators(data: bytes) -> list[tuple[int, list[int], list[int]]]:
    model = networks.unpack(data)
    found = [(model.operatorCodes[op.opcodeIndex].builtinCode, op.inputs, op.outputs) for op in model.subgraphs[0].operators]
    return [(code, list(inputs), list(outputs)) for code, inputs, outputs in found]


@pytest.mark.parametrize("name", ["unique", "nothing known", "float behind", "float in front"])
def test_networks_are_read_as_far_as_tosa_goes(read: Callable[..., tr.Model], name: str) -> None:
    data, left, outputs = networks.odd(name)
    model = read(data)
    assert left in model.remarks[0].text
    assert [each.name for each in model.signature.outputs] == outputs
    assert model.narrow(2).to_litert() != data
    assert _operators(model.narrow(2).to_litert()) == _operators(data)


def test_a_tensor_can_end_the_part(read: Callable[..., tr.Model], tmp_path: pathlib.Path) -> None:
    whole = read("pose")
    model = read("pose", until="Identity_1")
    assert [each.name for each in model.signature.outputs] == ["Identity_1"]
    assert model.quantization and model.quantization.outputs[0].real
    inputs = real_inputs(model)
    expected = networks.run_litert(whole.flatbuffer or b"", inputs)[1]
    np.testing.assert_array_equal(through_integers(model, litert_part(model), inputs)[0], expected)
    before, after = (litert_layers(each.to_litert()) for each in (whole, model.narrow(1)))
    changed = [not np.array_equal(one.multiplier, other.multiplier) for one, other in zip(before, after, strict=True)]
    assert changed == [True, True, False, True]  # the third one is the other head


@pytest.mark.parametrize("bits", [None, 4])
def test_a_tensor_can_end_the_part_of_a_file_of_integers_alone(
    bits: int | None, read: Callable[..., tr.Model], tmp_path: pathlib.Path
) -> None:
    """LiteRT is asked for the inner tensor of the whole file, as its makers wrote it or as we write it."""
    data = networks.classifier("int8")
    graph = networks.unpack(data).subgraphs[0]
    inner = next(i for i, each in enumerate(graph.tensors) if each.name == b"Mean")
    model = read(data, until="Mean")
    model = model if bits is None else model.narrow(bits)
    written = networks.unpack(model.to_litert())
    written.subgraphs[0].outputs, written.signatureDefs = [inner], []
    asked = np.random.default_rng(0).integers(-128, 128, (4, 8, 8, 3), np.int8)
    for each in asked:
        expected, found = (networks.run_litert(data, [each[None]]) for data in (networks.pack(written), litert_part(model)))
        assert len(expected) == len(found) == 1
        np.testing.assert_array_equal(found[0], expected[0])
    assert tr.run(model, asked, engine="litert").shape == (4, *found[0].shape[1:])


def test_a_module_without_names_belongs_to_the_whole_file(read: Callable[..., tr.Model], tmp_path: pathlib.Path) -> None:
    model = read(networks.classifier("int8")).narrow(4)
    module = model.module()
    del module.function.attributes["tf.entry_function"]
    nameless = dataclasses.replace(model, bytecode=module.to_bytecode())
    assert [each.name for each in nameless.signature.outputs] == ["output0"]
    assert nameless.to_litert() == model.to_litert()


def test_a_tensor_that_cannot_end_the_part_is_named(read: Callable[..., tr.Model]) -> None:
    with pytest.raises(ModelError, match=r"`until` Idenity_1: there is no such tensor; the nearest are 'Identity_1'"):
        read("pose", until="Idenity_1")
    with pytest.raises(ModelError, match=r"`until` image: is an input, which is not in the part"):
        read("pose", until="image")
    with pytest.raises(ModelError, match=r"`until` result0: is made by operator 10 \(CUSTOM TFLite_Det.*, which is not in the"):
        read("detection_custom", until="result0")


def test_a_model_without_a_quantized_part_names_the_operator(read: Callable[..., tr.Model]) -> None:
    data = networks.with_custom_op(networks.floating(), "Mine")
    with pytest.raises(ModelError, match=r"operator \d+ \(CUSTOM Mine 'result0'\): no counterpart in TOSA, and no quantized"):
        read(data)
    with pytest.raises(ModelError, match="has no quantized operator, so it cannot be cut"):
        read(networks.floating(), until="Identity")
    with pytest.raises(ModelError, match=r"has no tosa\.rescale"):
        read(networks.floating()).narrow(1)


def test_a_float_model_is_written_as_it_came(read: Callable[..., tr.Model]) -> None:
    assert read(networks.floating()).to_litert() == networks.floating()


# Open extents


def test_open_extents_are_given(read: Callable[..., tr.Model]) -> None:
    data = networks.attention(length=None)
    with pytest.raises(
        ModelError, match=r"input 'tokens' has the open shape 1,\?,8; give all extents with `shapes` tokens=1,\?,8"
    ):
        read(data)
    model = read(data, shapes={"tokens": (1, 5, 8)})
    assert model.signature.inputs[0].shape == (1, 5, 8)
    inputs = real_inputs(model)
    expected = networks.run_litert(data, inputs)
    np.testing.assert_array_equal(through_integers(model, litert_part(model), inputs)[0], expected[0])
    assert read(model.compensate(1, scope="all", calibration="none").to_litert(), shapes={"tokens": (1, 3, 8)}).info()


@pytest.mark.parametrize(
    ("shape", "message"),
    [
        ({"tokens": (1, 5, 9)}, r"`shapes` tokens=1,5,9: contradicts the model's shape 1,\?,8"),
        ({"tokens": (5, 8)}, r"`shapes` tokens=5,8: contradicts the model's shape 1,\?,8"),
        ({"tokens": (1, 0, 8)}, r"`shapes` tokens=1,0,8: every extent must be 1 or more"),
        ({"words": (1, 5, 8)}, r"`shapes` words: there is no such input; give one of tokens"),
    ],
)
def test_shapes_that_do_not_fit_are_named(
    read: Callable[..., tr.Model], shape: dict[str, tuple[int, ...]], message: str
) -> None:
    with pytest.raises(ModelError, match=message):
        read(networks.attention(length=None), shapes=shape)


def test_an_open_batch_is_a_batch(read: Callable[..., tr.Model]) -> None:
    model = read("classifier_batch", batch=3)
    assert model.signature.inputs[0].shape == (3, 8, 8, 3)
    assert model.compensate(2, calibration="none").to_litert() != model.flatbuffer


def test_a_state_that_is_filled_to_a_computed_shape_is_a_constant(read: Callable[..., tr.Model]) -> None:
    model = read(networks.recurrent())
    assert not model.remarks and model.to_litert() == model.flatbuffer
    (compared,) = model.check(4, engines=("iree", "litert")).pairs.values()
    assert compared.max_lsb <= 1  # LiteRT's own tables of tanh


def test_other_signatures_are_named_and_stay(read: Callable[..., tr.Model]) -> None:
    packed = networks.unpack(networks.classifier())
    other = networks.schema.SignatureDefT()
    other.signatureKey, other.subgraphIndex, other.inputs, other.outputs = b"train", 1, [], []
    packed.subgraphs.append(copy.deepcopy(packed.subgraphs[0]))
    packed.subgraphs[1].name = b"train"
    packed.signatureDefs = [*(packed.signatureDefs or []), other]
    model = read(networks.pack(packed))
    assert [each.text.split(";")[0] for each in model.remarks] == [
        "stays as it is: signature 'train', which is another graph of the file"
    ]
    written = networks.unpack(model.compensate(1, calibration="none").to_litert())
    assert len(written.subgraphs) == 2 and written.signatureDefs[-1].signatureKey == b"train"


def test_the_place_of_the_least_is_found(read: Callable[..., tr.Model]) -> None:
    import tensorflow as tf

    def call(image: tf.Tensor) -> dict[str, tf.Tensor]:
        return {"least": tf.argmin(image, 1, tf.int32), "other": networks._conv(image, 0, 2)}

    model = read(networks.convert(call, {"image": (1, 16, 4, 3)}, border="int8"))
    images = np.random.default_rng(0).integers(-128, 128, (64, 16, 4, 3), np.int8)
    images[:8] = -128  # the first of equals, and the number whose negative does not fit
    places = next(each for each in model(images) if each.shape == (64, 4, 3))
    np.testing.assert_array_equal(places, images.argmin(1))


def test_computed_shapes_become_constants(read: Callable[..., tr.Model]) -> None:
    model = read(networks.computed_shape())
    assert model.signature.inputs[0].shape == (1, 4, 4, 3)
    inputs = real_inputs(model)
    expected = networks.run_litert(model.flatbuffer or b"", inputs)
    np.testing.assert_array_equal(through_integers(model, litert_part(model), inputs)[0], expected[0])


# Kinds of files


def test_a_file_of_another_kind_is_named(demo: tr.Model, demo_model: pathlib.Path, tmp_path: pathlib.Path) -> None:
    for suffix, data, message in (
        (".mlirbc", demo_model.read_bytes(), r"x.mlirbc: holds a LiteRT model \(.tflite\); rename it to x.tflite"),
        (".tflite", demo.bytecode, r"x.tflite: holds MLIR bytecode \(.mlirbc\); rename it to x.mlirbc"),
        (".tosa", demo.bytecode, r"x.tosa: holds MLIR bytecode"),
        (".mlirbc", b"\0\0\0\0TOSA", r"x.mlirbc: holds a TOSA flatbuffer \(.tosa\); rename it to x.tosa"),
    ):
        path = tmp_path / f"x{suffix}"
        path.write_bytes(data)
        with pytest.raises(FileKindError, match=message):
            tr.load(path)


def test_content_says_its_kind(demo: tr.Model, demo_model: pathlib.Path) -> None:
    for data in (demo_model.read_bytes(), demo.bytecode, demo.module().to_generic_text().encode()):
        program = read_content(data, "<stdin>")
        assert program.signature == demo.signature and program.has_rescales
    assert read_content(demo_model.read_bytes(), "x").bytecode == demo.bytecode
    with pytest.raises(ModelError, match="x: is empty"):
        read_content(b" \n", "x")
    with pytest.raises(ModelError, match=r"`until` is for \.tflite files; this is MLIR bytecode"):
        read_content(demo.bytecode, "x", until="y")


# .tosa


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ('loc("dense;relu"("model.tflite":0:0))', "dense;relu"),
        ('loc(fused["one"("m.tflite":0:0), "two"("m.tflite":0:0)])', "one;two"),
        ('loc(""("main"("in.tosa":0:0)))', ""),
        ("loc(unknown)", ""),
        ("", ""),
        ("encoder.layer.0", "encoder.layer.0"),
    ],
)
def test_names_of_tosa_operators_come_out_clean(text: str, name: str) -> None:
    assert operator_name(text) == name


@pytest.mark.skipif(find_tool("tosa-opt") is None, reason="tosa-opt is not installed: pip install tosa-tools")
def test_a_tosa_file_keeps_the_names_of_its_operators(demo: tr.Model, tmp_path: pathlib.Path) -> None:
    again = tr.load(demo.save(tmp_path / "x.tosa"))
    assert [each.name for each in again.info()] == [each.name for each in demo.info()]
    content = (tmp_path / "x.tosa").read_bytes()
    assert read_content(content, "<stdin>").bytecode == again.bytecode


def test_tools_are_found_beside_the_python_that_runs(monkeypatch: pytest.MonkeyPatch, tmp_path: pathlib.Path) -> None:
    (tmp_path / "tosa-opt").touch()
    monkeypatch.setenv("PATH", "/nowhere")
    monkeypatch.setattr("sysconfig.get_path", lambda kind: str(tmp_path))
    assert find_tool("tosa-opt") == str(tmp_path / "tosa-opt")
    assert find_tool("tosa_reference_model") is None
    with pytest.raises(MissingToolError, match=r"x: \.tosa files need tosa-opt; pip install tosa-tools here, or"):
        monkeypatch.setattr("sysconfig.get_path", lambda kind: "/nowhere")
        deserialize(b"\0\0\0\0TOSA", "x")
