# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Against the TOSA reference model, the specification's own word. Skipped where Arm's tosa-tools are not on PATH."""

from __future__ import annotations

import pathlib
from typing import Any

import numpy as np
import pytest
import tosa_rescale as tr
from tosa_rescale.core.errors import MissingToolError, ModelError
from tosa_rescale.formats.tosa import reference_model_available, run_reference_model, serialize

needs_reference = pytest.mark.skipif(
    not reference_model_available(), reason="tosa_reference_model and tosa-opt are not on PATH"
)

# 168 * 2^-17 in the compact form: right in 64 bits, but outside the range that RESCALE allows at shift 17.
COMPACT = """
module {
  func.func @main(%a: tensor<1x4xi32>) -> tensor<1x4xi8> {
    %m = "tosa.const"() <{values = dense<168> : tensor<1xi32>}> : () -> tensor<1xi32>
    %s = "tosa.const"() <{values = dense<17> : tensor<1xi8>}> : () -> tensor<1xi8>
    %iz = "tosa.const"() <{values = dense<0> : tensor<1xi32>}> : () -> tensor<1xi32>
    %oz = "tosa.const"() <{values = dense<3> : tensor<1xi8>}> : () -> tensor<1xi8>
    %0 = "tosa.rescale"(%a, %m, %s, %iz, %oz) <{scale32 = true, rounding_mode = #tosa.rounding_mode<SINGLE_ROUND>,
      per_channel = false, input_unsigned = false, output_unsigned = false}>
      : (tensor<1x4xi32>, tensor<1xi32>, tensor<1xi8>, tensor<1xi32>, tensor<1xi8>) -> tensor<1x4xi8>
    return %0 : tensor<1x4xi8>
  }
}
"""

REPEATED = """
module {
  func.func @main(%a: tensor<1x4xi8>, %b: tensor<1x4xi8>)
      -> (tensor<1x4xi8>, tensor<1x4xi8>, tensor<1x4xi8>, tensor<1x4xi8>, tensor<1x4xi8>) {
    %0 = "tosa.clamp"(%a) <{min_val = -9 : i8, max_val = 9 : i8}> : (tensor<1x4xi8>) -> tensor<1x4xi8>
    %1 = "tosa.clamp"(%b) <{min_val = -7 : i8, max_val = 7 : i8}> : (tensor<1x4xi8>) -> tensor<1x4xi8>
    return %0, %1, %0, %a, %1 : tensor<1x4xi8>, tensor<1x4xi8>, tensor<1x4xi8>, tensor<1x4xi8>, tensor<1x4xi8>
  }
}
"""


@needs_reference
@pytest.mark.parametrize(
    "rewrite",
    [
        lambda m: m,
        lambda m: m.narrow(8),
        lambda m: m.narrow(4, encoding="scale16"),
        lambda m: m.narrow(1, scope="all"),
        lambda m: m.compensate(1, calibration="none"),
    ],
    ids=["original", "k8", "k4-scale16", "k1-all", "compensated-k1"],
)
def test_the_reference_model_gives_the_same_bits(demo_model: pathlib.Path, rewrite: Any) -> None:
    result = rewrite(tr.load(demo_model)).check(3, engines=["iree", "iree-constant", "reference"])
    assert result.bit_exact and len(result.pairs) == 3


@needs_reference
def test_tosa_files_go_both_ways(demo_model: pathlib.Path, tmp_path: pathlib.Path) -> None:
    original = tr.load(demo_model)
    again = tr.load(original.save(tmp_path / "x.tosa"))
    inputs = original.random_inputs(3)
    assert (again.compile().run_many(*inputs)[0] == original.compile().run_many(*inputs)[0]).all()


@needs_reference
def test_one_tensor_may_be_several_outputs(tmp_path: pathlib.Path) -> None:
    """Also an input may be an output: a .tosa file gives each tensor one name."""
    (tmp_path / "x.mlir").write_text(REPEATED)
    model = tr.load(tmp_path / "x.mlir")
    result = model.check(3, engines=("iree", "reference"))
    assert result.bit_exact and result.pairs["iree", "reference"].values == 3 * 5 * 4
    again = tr.load(model.save(tmp_path / "x.tosa"))
    assert len(again.signature.outputs) == 5 and again.check(3, engines=("iree", "reference")).bit_exact


@needs_reference
def test_the_compact_form_is_unpredictable_and_narrowing_mends_it(tmp_path: pathlib.Path) -> None:
    (tmp_path / "x.mlir").write_text(COMPACT)
    model = tr.load(tmp_path / "x.mlir")
    (info,) = model.info()
    assert len(info.violations) == 1 and "-65536" in info.violations[0]
    values = [np.array([[-3_000_000, -100, 100, 3_000_000]], np.int32)]
    with pytest.raises(ModelError, match="UNPREDICTABLE"):
        run_reference_model(serialize(model.bytecode, "x"), values, 1, "x")
    mended = model.narrow(8, scope="all")
    assert mended.info()[0].violations == ()
    # -100 * 168 / 2^17 + 3 = 2.87 -> 3; 100 likewise 3.13 -> 3; the others saturate.
    assert run_reference_model(serialize(mended.bytecode, "x"), values, 1, "x")[0].tolist() == [[-128, 3, 3, 127]]


def test_missing_tools_are_named(demo_model: pathlib.Path, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = tr.load(demo_model)
    (tmp_path / "x.tosa").write_bytes(b"\0" * 64)
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(MissingToolError, match="need tosa-opt; pip install tosa-tools"):
        model.save(tmp_path / "y.tosa")
    with pytest.raises(MissingToolError, match="need tosa-opt; pip install tosa-tools"):
        tr.load(tmp_path / "x.tosa")
    assert not (tmp_path / "y.tosa").exists()
