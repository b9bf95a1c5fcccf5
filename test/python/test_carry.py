# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""16-bit tensors that are only widened again, kept in 32 bits: against integers of Python, the reference model and the twin."""

from __future__ import annotations

import pathlib

import numpy as np
import pytest
import tosa_rescale as tr
from conftest import ROOT
from encoder_module import INPUT_SCALE, EncoderText, encoder, encoder_inputs
from tosa_rescale.cli import main
from tosa_rescale.core.errors import OptionError
from tosa_rescale.core.passes import run_passes
from tosa_rescale.demo import MODEL
from tosa_rescale.formats.tosa import reference_model_available
from tosa_rescale_runtime import Executable, Module

TOKENS, WIDTH = 8, 32


def carried(model: tr.Model) -> bytes:
    return run_passes(model.bytecode, ["tosa-rescale-carry", "tosa-rescale-verify=bits=31 scope=all"]).bytecode


def load_text(folder: pathlib.Path, text: str) -> tr.Model:
    path = folder / "model.mlir"
    path.write_text(text)
    return tr.load(path)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> tr.Model:
    return load_text(tmp_path_factory.mktemp("encoder"), encoder(1, tokens=TOKENS, width=WIDTH))


def rescaled(values: np.ndarray, multiplier: int, shift: int) -> np.ndarray:
    return (values.astype(object) * multiplier + (1 << (shift - 1))) >> shift


def test_the_sum_of_carried_squares_is_what_integers_of_any_width_make(tmp_path: pathlib.Path) -> None:
    text = EncoderText(TOKENS, WIDTH, 1)
    squares = text.times(text.input, text.input)
    model = load_text(tmp_path, text.module(text.narrow(text.reduce("reduce_sum", text.widen(squares), 2))))
    made = carried(model)
    before, after = (Module.parse(each).rescales() for each in (model.bytecode, made))
    assert len(before) - len(after) == 1
    narrow, total = after[-2:]
    # 2^15 * 32 * 2^10 is less than 2^31, and 2^11 would not be.
    assert narrow.output_bits == 32
    assert narrow.shift.item() == before[-3].shift.item() - 10 and total.shift.item() == before[-1].shift.item() + 10
    x = encoder_inputs(6, TOKENS, WIDTH)[:, 0]
    x[5] = -32768  # saturates
    fine = rescaled(np.square(x.astype(np.int64)), narrow.multiplier.item(), narrow.shift.item())
    sums = np.clip(fine, -32768 << 10, 32767 << 10).sum(-1, keepdims=True)
    expected = np.clip(rescaled(sums, total.multiplier.item(), total.shift.item()), -32768, 32767)
    np.testing.assert_array_equal(Executable.build(made).run_many(x, workers=1)[0], expected.astype(np.int16))


def test_squares_that_16_bits_round_to_nothing_add_up(tmp_path: pathlib.Path) -> None:
    text = EncoderText(TOKENS, WIDTH, 1)
    mean = text.mean(text.times(text.input, text.input))
    model = load_text(tmp_path, text.module(mean))
    x = np.full((1, 1, TOKENS, WIDTH), 100, np.int16)  # 100^2 of 2^-24 are three tenths of a step of the squares
    x[0, 0, 0, 0] = 32000
    variance = np.square(x * INPUT_SCALE).mean(-1)
    found = [Executable.build(each).run_many(x[0], workers=1)[0] for each in (model.bytecode, carried(model))]
    rounded, kept = (each.reshape(TOKENS) * mean.scale for each in found)
    assert (rounded[1:] == 0).all() and np.allclose(kept[1:], variance[0, 0, 1:], atol=mean.scale)
    assert variance[0, 0, 1] > mean.scale


def test_a_carried_encoder_has_fewer_rescales_and_the_same_bits_everywhere(model: tr.Model) -> None:
    made = model.compensate(1, scope="all", calibration="none", carry=True)
    plain = model.compensate(1, scope="all", calibration="none")
    before, after = (len(Module.parse(each).rescales()) for each in (model.bytecode, carried(model)))
    assert f"{before - after} of the {before} rescales are gone" in (ROOT / "docs/alignment.md").read_text()
    assert len(made.info()) == len(plain.info()) - 10 and not any(each.above(1) for each in made.info())
    assert made.recipe[-1].options["carry"] and not plain.recipe[-1].options["carry"]
    run_passes(made.bytecode, ["tosa-rescale-verify=bits=1 scope=all"])
    engines = ["iree", "tf", *(["reference"] if reference_model_available() else [])]
    assert made.check(2, engines=engines).bit_exact


def test_samples_measure_against_the_carried_model_and_not_what_it_is_better_than(model: tr.Model) -> None:
    samples = encoder_inputs(6, TOKENS, WIDTH)[:, 0]
    made = model.compensate(4, scope="all", calibration=samples, carry=True)
    expected = Executable.build(carried(model)).run_many(samples, workers=1)[0].astype(int)
    found = Executable.build(made.bytecode).run_many(samples, workers=1)[0].astype(int)
    assert made.recipe[-1].options["mean_lsb"] == pytest.approx(np.abs(found - expected).mean())


def test_the_command_line_carries(model: tr.Model, tmp_path: pathlib.Path) -> None:
    source, made = tmp_path / "x.mlirbc", tmp_path / "y.mlirbc"
    source.write_bytes(model.bytecode)
    argv = ["compensate", str(source), "-o", str(made), "--bits", "1", "--scope", "all", "--carry", "--calibration", "none"]
    assert main(argv) == 0
    expected = model.compensate(1, scope="all", calibration="none", carry=True)
    assert [each.bits for each in tr.load(made).info()] == [each.bits for each in expected.info()]
    assert tr.load(made).recipe[-1].options["carry"]


def test_what_cannot_be_carried_is_one_line(model: tr.Model) -> None:
    with pytest.raises(
        OptionError, match=r"^carry: .*digits_int8\.tflite came from a \.tflite, whose kernels .*; leave it out$"
    ):
        tr.load(MODEL).compensate(1, scope="all", carry=True, calibration="none")
    with pytest.raises(OptionError, match=r"^bits_of: names rescales that `carry` takes away .*; run tosa-rescale-carry first"):
        model.compensate(1, scope="all", carry=True, calibration="none", bits_of={model.info()[0].key: 3})
