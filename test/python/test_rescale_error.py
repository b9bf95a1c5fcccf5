# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""The error of each rescale against plain NumPy on a small net whose layers are known, and on the demo."""

from __future__ import annotations

import dataclasses
import json
import pathlib

import numpy as np
import pytest
import tosa_rescale as tr
from runtime_modules import ConvNet, RescaleCase, apply_rescale, constant, function, rescale, tensor
from tosa_rescale.core.errors import DataError, ModelError
from tosa_rescale.data.dataset import Dataset, Preprocessing
from tosa_rescale.measure.engines import make_engine
from tosa_rescale.measure.folded import folded_like
from tosa_rescale.measure.rescale_error import RescaleError, rescale_errors
from tosa_rescale_runtime import Module

SAMPLES = np.random.default_rng(3).integers(-128, 128, (3, 6, 6, 4), np.int8, endpoint=False)
WIDE_SHIFT = 39
"""Keeps most accumulators of the small net from saturating."""


def data() -> Dataset:
    return Dataset("x", SAMPLES, None, Preprocessing())


def net() -> ConvNet:
    plain = ConvNet.random()
    cases = (
        dataclasses.replace(case, shift=tuple(s + WIDE_SHIFT - max(case.shift) for s in case.shift))
        for case in (plain.first, plain.second)
    )
    first, second = cases
    return dataclasses.replace(plain, first=first, second=second)


def model(of: ConvNet, text: str | None = None) -> tr.Model:
    return tr.Model(Module.parse(text or of.text()).to_bytecode(), "net")


def layers(of: ConvNet, x: np.ndarray = SAMPLES) -> tuple[np.ndarray, ...]:
    """As ConvNet.layers, over samples."""
    return tuple(np.concatenate(each) for each in zip(*(of.layers(row[None]) for row in x), strict=True))


def assert_errors(
    found: RescaleError, wide: RescaleCase, narrow: RescaleCase, before: np.ndarray, now: np.ndarray, chain: np.ndarray
) -> None:
    """Holds one entry against formulas: accumulators of the original, of the narrowed layer, the network's difference."""
    m_wide, m_narrow = (np.array(c.multiplier) * 0.5 ** np.array(c.shift) for c in (wide, narrow))
    exact = before * m_wide
    inside = (exact + wide.output_zp >= -128) & (exact + wide.output_zp <= 127)
    assert 0.3 < inside.mean() < 1
    assert found.saturated == pytest.approx(100 * (1 - inside.mean()))
    alone = apply_rescale(now, narrow).astype(int)
    measured = (alone - wide.output_zp - exact)[inside]
    assert found.measured is not None
    assert (found.measured.mean, found.measured.std) == pytest.approx((measured.mean(), measured.std()))
    # Eq. 5: what the multiplier leaves, and a rounding error that takes every value the shift allows equally often.
    kept, rounding = now * m_narrow - exact, np.zeros_like(exact)
    variance = np.zeros_like(exact)
    for channel, (m, s) in enumerate(zip(narrow.multiplier, narrow.shift, strict=True)):
        fractions = np.arange(0, 1, float(m & -m) * 0.5**s)
        errors = np.floor(fractions + 0.5) - fractions
        rounding[..., channel], variance[..., channel] = errors.mean(), errors.var()
    assert variance.max() == pytest.approx(1 / 12, rel=1e-3)
    expected = (kept + rounding)[inside]
    assert found.predicted is not None
    assert found.predicted.mean == pytest.approx(expected.mean())
    assert found.predicted.std == pytest.approx(np.sqrt(expected.var() + variance[inside].mean()))
    steps = alone - apply_rescale(before, wide).astype(int)
    assert found.isolated is not None
    assert found.isolated.histogram == {s: int((steps == s).sum()) for s in np.unique(steps).tolist()}
    assert (found.isolated.largest, found.isolated.off) == (abs(steps).max(), pytest.approx(100 * (steps != 0).mean()))
    assert found.end_to_end.histogram == {s: int((chain == s).sum()) for s in np.unique(chain).tolist()}
    assert (found.end_to_end.mean, found.end_to_end.std) == pytest.approx((chain.mean(), chain.std()))
    assert found.values == chain.size


def test_a_narrowed_net_has_the_error_that_numpy_finds() -> None:
    original = net()
    narrow = original.narrowed(2)
    first, second = rescale_errors(model(narrow), model(original), data())
    theirs, ours = layers(original), layers(narrow)
    chains = [a.astype(int) - b for a, b in ((ours[1], theirs[1]), (ours[3], theirs[3]))]
    # Alone, a layer reads what the original feeds to it; only the end of the chain knows of the first layer's error.
    assert_errors(first, original.first, narrow.first, theirs[0], theirs[0], chains[0])
    assert_errors(second, original.second, narrow.second, theirs[2], theirs[2], chains[1])
    assert (first.op, first.scope, first.bits, first.output_bits) == ("conv2d", "accumulator", 2, 8)
    assert not first.absorbed
    assert first.scale is None
    # Two bits are wrong by up to an eighth, though not where the narrowed layer saturates; the chain adds to it.
    assert first.predicted is not None
    assert first.measured is not None
    assert first.predicted.std > 1
    assert first.predicted.std == pytest.approx(first.measured.std, rel=0.1)
    assert second.isolated is not None
    assert second.end_to_end.std > second.isolated.std


def test_weights_that_absorb_the_change_are_part_of_the_prediction() -> None:
    original = net()

    def shift_only(case: RescaleCase) -> RescaleCase:
        """The power of two above each multiplier, so that weights shrink and none clips."""
        powers, shifts = (1 << 30,) * len(case.shift), tuple(s - 1 for s in case.shift)
        return dataclasses.replace(case, multiplier=powers, shift=shifts, double_round=False)

    narrow = dataclasses.replace(original, first=shift_only(original.first), second=shift_only(original.second))

    def folded(weights: np.ndarray, wide: RescaleCase, thin: RescaleCase, axis: int) -> np.ndarray:
        ratio = np.array(wide.multiplier) / np.array(thin.multiplier) / 2
        shape = [1] * weights.ndim
        shape[axis] = -1
        return np.rint(weights * ratio.reshape(shape)).astype(np.int8)

    absorbed = dataclasses.replace(
        narrow,
        weight=folded(original.weight, original.first, narrow.first, 0),
        depthwise=folded(original.depthwise, original.second, narrow.second, 3),
    )
    first, second = rescale_errors(model(absorbed), model(original), data())
    theirs, ours = layers(original), layers(absorbed)
    # The second layer by itself: its own weights behind the original first layer.
    alone = layers(dataclasses.replace(absorbed, weight=original.weight, first=original.first))
    assert_errors(first, original.first, absorbed.first, theirs[0], ours[0], ours[1].astype(int) - theirs[1])
    assert_errors(second, original.second, absorbed.second, theirs[2], alone[2], ours[3].astype(int) - theirs[3])
    assert first.absorbed
    assert second.absorbed
    plain = rescale_errors(model(narrow), model(original), data())[0]
    assert plain.predicted is not None
    assert first.predicted is not None
    assert first.predicted.std < plain.predicted.std


def test_a_tensor_with_another_scale_is_compared_in_its_own_steps() -> None:
    original = net()
    # The first result in half the steps: as it came, but for one shift more, and taken back by the second.
    aligned = dataclasses.replace(
        original,
        first=dataclasses.replace(original.first, shift=tuple(s + 1 for s in original.first.shift)),
        second=dataclasses.replace(original.second, shift=tuple(s - 1 for s in original.second.shift)),
    )
    factor = "{tosa_rescale.scale_factor = 2.0 : f64}"
    noted = aligned.text().replace("output_unsigned = false}> :", f"output_unsigned = false}}> {factor} :", 1)
    first, second = rescale_errors(model(aligned, noted), model(original), data())
    zero = original.first.output_zp
    steps = (layers(aligned)[1].astype(int) - zero) - (layers(original)[1].astype(int) - zero) / 2
    assert (first.end_to_end.mean, first.end_to_end.std) == pytest.approx((steps.mean(), steps.std()))
    assert first.end_to_end.largest == (127 - zero) / 2  # where the original saturates and the aligned net does not
    assert first.aligned
    assert not second.aligned
    # Without the steps that made it, nobody knows what it was meant to be.
    assert first.isolated is None
    assert first.predicted is None


@pytest.mark.parametrize("calibration", ["none", "samples"])
def test_an_aligned_model_is_measured_against_what_alignment_intended(
    demo: tr.Model, digits: tr.Dataset, calibration: str
) -> None:
    # With samples the scales follow from their ranges, which the module no longer has.
    aligned = demo.compensate(1, calibration=digits.take(8) if calibration == "samples" else "none", scope="all")
    found = rescale_errors(aligned, demo, digits.take(8))
    assert any(each.aligned for each in found)
    assert {each.bits for each in found} == {1}
    for each in found:
        # Against the original's multipliers a factor of a few per cent would move the tensor by several steps.
        assert each.isolated is not None
        assert each.isolated.std < 1
        if each.output_bits == 32:  # 2^20 for a step of the operands
            assert each.end_to_end.std < 2 * 2**20
    evaluated = aligned.evaluate(digits.take(8), reference=demo)
    assert evaluated.histogram == found[-1].end_to_end.histogram
    assert found[-1].scale == pytest.approx(demo.quantization.outputs[0].scale if demo.quantization else 0)


def test_a_layer_with_a_batch_of_its_own_is_measured() -> None:
    # A transformer's dense layer: tokens are the convolution's batch.
    rng = np.random.default_rng(0)
    w, b = rng.integers(-127, 128, (5, 1, 1, 6), np.int8), rng.integers(-99, 99, 5).astype(np.int32)
    wide = RescaleCase("i32", "i8", (1518500249,), (38,), double_round=True)
    thin = RescaleCase("i32", "i8", (1 << 30,), (37,))

    def text(weights: np.ndarray, case: RescaleCase) -> str:
        body = constant("w", weights, "i8") + constant("b", b, "i32") + constant("z", [0], "i8")
        body += '    %s = "tosa.const_shape"() <{values = dense<[4, 1, 1, 6]> : tensor<4xindex>}> : () -> !tosa.shape<4>\n'
        body += '    %t = "tosa.reshape"(%x, %s) : (tensor<1x4x6xi8>, !tosa.shape<4>) -> tensor<4x1x1x6xi8>\n'
        attributes = "acc_type = i32, pad = array<i64: 0, 0, 0, 0>, stride = array<i64: 1, 1>, dilation = array<i64: 1, 1>"
        kinds = "tensor<4x1x1x6xi8>, tensor<5x1x1x6xi8>, tensor<5xi32>, tensor<1xi8>, tensor<1xi8>"
        body += f'    %a = "tosa.conv2d"(%t, %w, %b, %z, %z) <{{{attributes}}}> : ({kinds}) -> tensor<4x1x1x5xi32>\n'
        body += rescale("y", "a", (4, 1, 1, 5), case)
        return function([("x", "tensor<1x4x6xi8>")], body, [("y", "tensor<4x1x1x5xi8>")])

    folded = np.rint(w * (1518500249 / 2**31)).astype(np.int8)
    x = rng.integers(-128, 128, (2, 4, 6), np.int8)
    made = [tr.Model(Module.parse(text(*each)).to_bytecode(), "dense") for each in ((folded, thin), (w, wide))]
    (found,) = rescale_errors(*made, Dataset("x", x, None, Preprocessing()))
    now, before = (apply_rescale(x.astype(int) @ v[:, 0, 0].T.astype(int) + b, c) for v, c in ((folded, thin), (w, wide)))
    steps = now.astype(int) - before
    assert found.absorbed
    assert found.isolated is not None
    assert found.isolated.histogram == {s: int((steps == s).sum()) for s in np.unique(steps).tolist()}
    assert found.isolated == found.end_to_end


def added_constant() -> tr.Model:
    """Two inputs' rescales around an addition, one of them of a constant, which alignment folds."""
    rng = np.random.default_rng(8)
    shape = (1, 4, 6)
    into = (RescaleCase("i8", "i32", (1518500250,), (11,)), RescaleCase("i8", "i32", (1233445566,), (12,), input_zp=3))
    body = constant("c", rng.integers(-128, 128, shape), "i8")
    body += rescale("a", "x", shape, into[0]) + rescale("b", "c", shape, into[1])
    kind = tensor(shape, "i32")
    body += f'    %s = "tosa.add"(%a, %b) : ({kind}, {kind}) -> {kind}\n'
    body += rescale("y", "s", shape, RescaleCase("i32", "i8", (1411223344,), (50,), output_zp=-4))
    return tr.Model(Module.parse(function([("x", tensor(shape, "i8"))], body, [("y", tensor(shape, "i8"))])).to_bytecode(), "m")


def test_constants_that_alignment_folded_are_no_rescales_of_the_original() -> None:
    original = added_constant()
    x = np.random.default_rng(9).integers(-128, 128, (3, 4, 6), np.int8)
    aligned = original.compensate(1, scope="all", calibration="none")
    assert [len(each.info()) for each in (original, aligned)] == [3, 2]
    folded = folded_like(original, aligned)
    assert len(folded.module().rescales()) == 2 and folded_like(original, original.narrow(1)) is original
    (before, after) = (make_engine("iree", each).run_many([x])[0] for each in (original, folded))
    np.testing.assert_array_equal(before, after)
    first, last = rescale_errors(aligned, original, Dataset("x", x, None, Preprocessing()))
    assert (first.key, last.key, first.bits) == ("rescale0", "rescale1", 1)
    assert last.isolated is not None and last.isolated.std < 1
    assert last.end_to_end.histogram == aligned.evaluate(x, reference=original).histogram


def test_entries_survive_json(demo: tr.Model) -> None:
    found = rescale_errors(demo.narrow(2), demo, 2)
    assert tuple(RescaleError.from_dict(json.loads(json.dumps(each.as_dict()))) for each in found) == found


def test_another_model_and_empty_data_are_refused(demo: tr.Model) -> None:
    with pytest.raises(ModelError, match=r"has other rescales or inputs than .*give the model it was made from"):
        rescale_errors(model(net()), demo, 1)
    with pytest.raises(DataError, match="holds no samples"):
        rescale_errors(demo, demo, 0)


def test_the_command_shows_a_table(cli, demo_model: pathlib.Path, demo_data: pathlib.Path, tmp_path: pathlib.Path) -> None:
    tr.load(demo_model).compensate(2, calibration="none").save(tmp_path / "c.mlirbc")
    done = cli("errors", "c.mlirbc", "--reference", demo_model, "--data", demo_data, "--take", 4, "--quiet", "--json", "e.json")
    assert done.returncode == 0, done.stderr
    assert "predicted is what they leave of it" in " ".join(done.stdout.split())
    found = [RescaleError.from_dict(each) for each in json.loads((tmp_path / "e.json").read_text())]
    assert any(each.absorbed for each in found)
    done = cli("errors", "c.mlirbc", "--reference", "none.tflite", "--data", demo_data)
    assert done.returncode == 2
    assert done.stderr.startswith("tosa-rescale: error: none.tflite")
