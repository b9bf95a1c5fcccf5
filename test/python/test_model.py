# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Models: read, narrowed, described, written; and every file that is no model."""

from __future__ import annotations

import pathlib
import subprocess
from fractions import Fraction

import numpy as np
import pytest
import tosa_rescale as tr
from conftest import Cli
from runtime_modules import RescaleCase, rescale_module
from runtime_modules import apply_rescale as spec_rescale
from tosa_rescale.core import files
from tosa_rescale.core.errors import FileKindError, ModelError, OutputError, PassError
from tosa_rescale.core.passes import find_tool, parse_diagnostics, run_passes
from tosa_rescale.core.rescales import apply_rescale, compact, significant_bits
from tosa_rescale_runtime import Module

MODELS = ("efficientnet_lite0_int8", "keyword_spotting_int8", "mobilenet_v1_0.25_128_uint8", "resnet8_cifar10_int8")

ADD_FLOAT = """
module {
  func.func @main(%a: tensor<1x4xf32>) -> tensor<1x4xf32> {
    %0 = "tosa.add"(%a, %a) : (tensor<1x4xf32>, tensor<1x4xf32>) -> tensor<1x4xf32>
    return %0 : tensor<1x4xf32>
  }
}
"""


def test_the_border_keeps_its_quantization(demo: tr.Model) -> None:
    assert demo.quantization is not None
    (image,) = demo.quantization.inputs
    # The network is trained on pixels / 255, which int8 holds with scale 1/255 and zero point -128.
    assert image.scale == pytest.approx(1 / 255, rel=1e-6) and image.zero_point == -128
    assert demo.input_spec.shape == (8, 8, 1) and demo.input_spec.dtype == np.int8


def test_significant_bits_counts_from_leading_to_last_one() -> None:
    # 0b1011000 -> 1011 -> 4 bits; powers of two -> 1; 0 -> 0; an odd 31-bit number -> 31.
    assert significant_bits(np.array([0b1011000, 1, 1 << 30, 0, 0x7FFFFFFF])).tolist() == [4, 1, 1, 0, 31]


def test_compact_pairs_have_the_same_value() -> None:
    rng = np.random.default_rng(0)
    multiplier = np.concatenate([rng.integers(0, 1 << 12, 500) << rng.integers(0, 19, 500), [0, 1, 1 << 30]])
    shift = rng.integers(2, 63, len(multiplier))
    small, less = compact(multiplier, shift)
    for m, s, n, t in zip(*(each.tolist() for each in (multiplier, shift, small, less)), strict=True):
        assert m * Fraction(2) ** -s == n * Fraction(2) ** -t
    assert ((small % 2 == 1) | (multiplier == 0)).all() and (less[multiplier == 0] == shift[multiplier == 0]).all()


@pytest.mark.parametrize("double_round", [False, True])
def test_a_rescale_is_applied_as_the_specification_says(double_round: bool) -> None:
    rng = np.random.default_rng(1)
    pairs = (1 << 30, 1234567891, 3 << 29), (31, 40, 33)
    case = RescaleCase("i32", "i8", *pairs, output_zp=-7, double_round=double_round)
    (rescale,) = Module.parse(rescale_module([case], (1, 3))).rescales()
    values = np.concatenate([rng.integers(-3000, 3000, (500, 3)), [[-1, 0, 1], [-(1 << 31), (1 << 31) - 1, 5]]])
    np.testing.assert_array_equal(apply_rescale(rescale, values), spec_rescale(values, case))


@pytest.mark.parametrize(
    ("bits", "encoding"), [(k, "aligned") for k in (31, 8, 4, 1)] + [(k, "scale16") for k in (15, 8, 4, 1)]
)
def test_narrowed_multipliers_have_at_most_k_bits_and_keep_the_specification(demo: tr.Model, bits: int, encoding: str) -> None:
    rescales = demo.narrow(bits, encoding=encoding).info()
    inside = [each for each in rescales if each.scope == "accumulator"]
    assert len(inside) == 11  # nine convolutions, two of which feed adds, and the fully connected layer: see make_demo.py
    assert all(each.bits is not None and each.bits <= bits for each in inside)
    assert all(each.scale32 == (encoding == "aligned") for each in inside)
    assert [each.violations for each in rescales] == [()] * len(rescales)


def test_scope_all_narrows_the_elementwise_rescales_too(demo: tr.Model) -> None:
    rescales = demo.narrow(4, scope="all", elementwise_bits=7).info()
    assert max(r.bits or 0 for r in rescales if r.scope == "accumulator") == 4
    assert 4 < max(r.bits or 0 for r in rescales if r.scope == "elementwise") <= 7


def test_narrowing_twice_is_narrowing_once(demo: tr.Model) -> None:
    once = demo.narrow(5)
    assert once.narrow(5).bytecode == once.bytecode


def test_multipliers_round_as_asked(demo: tr.Model) -> None:
    def first_multipliers(model: tr.Model) -> list[tuple[int, int]]:
        rescale = Module.parse(model.bytecode).rescales()[0]
        assert rescale.multiplier is not None and rescale.shift is not None
        return list(zip(rescale.multiplier.tolist(), rescale.shift.tolist(), strict=True))

    def value(pair: tuple[int, int]) -> float:
        return pair[0] * 2.0 ** -pair[1]

    original = first_multipliers(demo)
    nearest, up, cut = (first_multipliers(demo.narrow(3, multiplier_rounding=r)) for r in ("nearest", "up", "truncate"))
    for exact, a, b, c in zip(map(value, original), map(value, nearest), map(value, up), map(value, cut), strict=True):
        assert c <= exact <= b
        assert a in (b, c) and abs(a - exact) == min(abs(b - exact), abs(c - exact))


def test_saved_state_comes_back(demo: tr.Model, tmp_path: pathlib.Path) -> None:
    narrowed = demo.narrow(4)
    again = tr.load(narrowed.save(tmp_path / "x.mlirbc"))
    assert again.quantization == narrowed.quantization
    assert again.recipe == narrowed.recipe and again.recipe[0].options["bits"] == 4
    assert again.info() == narrowed.info()


def test_text_is_read_back_to_the_same_model(demo: tr.Model, tmp_path: pathlib.Path) -> None:
    again = tr.load(demo.save(tmp_path / "x.mlir"))
    inputs = demo.random_inputs(4)
    expected = demo.compile().run_many(*inputs)
    assert (again.compile().run_many(*inputs)[0] == expected[0]).all()


def test_equal_files_give_equal_bytecode_wherever_they_lie(
    demo: tr.Model, demo_model: pathlib.Path, tmp_path: pathlib.Path
) -> None:
    copy = tmp_path / "other name.tflite"
    copy.write_bytes(demo_model.read_bytes())
    assert tr.load(copy).bytecode == demo.bytecode


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("bits", [8, 4])
def test_real_models_narrow_within_the_specification(shared_models: pathlib.Path, name: str, bits: int) -> None:
    model = tr.load(shared_models / f"{name}.tflite")
    assert all(n is not None for spec in (*model.signature.inputs, *model.signature.outputs) for n in spec.shape)
    for scope in ("accumulator", "all"):
        rescales = model.narrow(bits, scope=scope).info()
        assert all((each.bits or 0) <= bits for each in rescales if scope == "all" or each.scope == "accumulator")
        assert not [(each.name, each.violations) for each in rescales if each.violations]


# -- bad input ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("x.tflite", b"", "is empty"),
        ("x.tflite", b"not a model at all", "not a readable LiteRT model"),
        ("x.mlirbc", b"not a model at all", "x.mlirbc: "),
        ("x.mlirbc", b"ML\xefR\x06truncated", "x.mlirbc: "),
        ("x.mlir", b"func.func @main(", "x.mlir: "),
    ],
)
def test_files_that_hold_no_model_are_named(tmp_path: pathlib.Path, name: str, content: bytes, message: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises((ModelError, PassError), match=message) as caught:
        tr.load(tmp_path / name)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("keep", [0.02, 0.5, 0.9, 0.999])
def test_truncated_models_are_an_error(demo: tr.Model, demo_model: pathlib.Path, tmp_path: pathlib.Path, keep: float) -> None:
    for suffix, data in ((".tflite", demo_model.read_bytes()), (".mlirbc", demo.bytecode)):
        path = tmp_path / f"cut{suffix}"
        path.write_bytes(data[: int(len(data) * keep)])
        with pytest.raises((ModelError, PassError)):
            tr.load(path)


def test_missing_and_unknown_files_are_named(tmp_path: pathlib.Path) -> None:
    with pytest.raises(ModelError, match="No such file"):
        tr.load(tmp_path / "nowhere.tflite")
    with pytest.raises(FileKindError, match=r"unknown suffix '\.onnx'; .*one of \.tflite"):
        tr.load(tmp_path / "x.onnx")
    with pytest.raises(ModelError, match="Is a directory"):
        (tmp_path / "folder.tflite").mkdir()
        tr.load(tmp_path / "folder.tflite")
    (tmp_path / "x.vmfb").write_bytes(b"x")
    with pytest.raises(FileKindError, match="compiled executable; give the model"):
        tr.load(tmp_path / "x.vmfb")


def test_a_float_model_has_no_rescale(tmp_path: pathlib.Path) -> None:
    (tmp_path / "float.mlir").write_text(ADD_FLOAT)
    with pytest.raises(ModelError, match=r"float\.mlir: has no tosa\.rescale \(a float model\?\)"):
        tr.load(tmp_path / "float.mlir").narrow(4)


def test_a_model_that_only_moves_data_is_not_called_a_float_one(cli: Cli, tmp_path: pathlib.Path) -> None:
    module = '"tosa.transpose"(%x) <{perms = array<i32: 0, 2, 1>}> : (tensor<1x2x3xi8>) -> tensor<1x3x2xi8>'
    text = f"func.func @main(%x: tensor<1x2x3xi8>) -> tensor<1x3x2xi8> {{ %y = {module}\n return %y : tensor<1x3x2xi8> }}"
    (tmp_path / "moves.mlir").write_text(f"module {{ {text} }}")
    shown = cli("info", tmp_path / "moves.mlir")
    assert shown.returncode == 2
    assert shown.stderr.endswith(
        "moves.mlir: has no tosa.rescale: it moves integers and multiplies none, so nothing of it is narrowed\n"
    )
    assert "none: it moves integers" in str(tr.load(tmp_path / "moves.mlir").summary().rows)


def test_existing_output_needs_force(demo: tr.Model, tmp_path: pathlib.Path) -> None:
    path = tmp_path / "x.mlirbc"
    path.write_bytes(b"old")
    with pytest.raises(OutputError, match="exists already; pass `force=True`"):
        demo.save(path)
    assert path.read_bytes() == b"old"
    demo.save(path, force=True)
    assert path.read_bytes() != b"old"


def test_a_failed_write_leaves_the_old_file(tmp_path: pathlib.Path) -> None:
    path = tmp_path / "x.bin"
    path.write_bytes(b"old")
    with pytest.raises(OutputError, match="the old file, if any, is as it was"), files.atomic_write(path) as temporary:
        temporary.write_bytes(b"half")
        raise OSError(28, "No space left on device")
    assert path.read_bytes() == b"old"
    assert [each.name for each in tmp_path.iterdir()] == ["x.bin"]


def test_diagnostics_are_read_line_by_line() -> None:
    said = (
        "a.mlir:3:5: error: requires X, got Y\nother\na/b: remark: left alone: why\n"
        "<unknown>:0: error: option\n<stdin>:7:1: error: expected '}'\n"
    )
    assert [(d.where, d.kind, d.text) for d in parse_diagnostics(said)] == [
        ("a.mlir:3:5", "error", "requires X, got Y"),
        ("a/b", "remark", "left alone: why"),
        ("", "error", "option"),
        ("line 7, column 1", "error", "expected '}'"),
    ]


@pytest.mark.parametrize("kind", ["mlirbc", "tflite"])
def test_what_a_pass_says_names_the_operation(demo: tr.Model, tmp_path: pathlib.Path, kind: str) -> None:
    # By the name and as the key that `info` shows, never as a file at line 0 or an unknown place.
    model = tr.load(demo.save(tmp_path / f"m.{kind}"))
    names = {each.name for each in model.info()}
    verify = "tosa-rescale-verify=bits=1 scope=all"
    done = subprocess.run([find_tool(), "-", f"--{verify}"], input=model.bytecode, capture_output=True, check=False)
    said = parse_diagnostics(done.stderr.decode())
    assert done.returncode == 1 and said and len(said) == len(done.stderr.decode().splitlines())
    assert {each.where for each in said} <= names
    with pytest.raises(PassError) as refused:
        run_passes(model.bytecode, [verify], "m.tflite")
    assert str(refused.value).startswith(f"m.tflite: {said[0].where}: 'tosa.rescale' op requires a multiplier of at most 1 ")


@pytest.mark.slow
@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("bits", [8, 4])
def test_real_models_run_bit_exactly(shared_models: pathlib.Path, name: str, bits: int) -> None:
    model = tr.load(shared_models / f"{name}.tflite").narrow(bits)
    assert model.check(2).bit_exact


def test_a_litert_file_is_unpacked_once(demo_model: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from ai_edge_litert import schema_py_generated

    unpacked, real = [], schema_py_generated.ModelT.InitFromPackedBuf

    def counted(data: bytes, position: int) -> object:
        unpacked.append(data)
        return real(data, position)

    monkeypatch.setattr(schema_py_generated.ModelT, "InitFromPackedBuf", counted)
    tr.load(demo_model)
    assert len(unpacked) == 1
