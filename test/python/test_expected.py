# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Whether scales move: errors that are expected without samples, and what is kept of aligned and other candidates."""

from __future__ import annotations

import pathlib

import numpy as np
import pytest
import tosa_rescale as tr
import zoo_networks
from runtime_modules import RescaleCase, rescale_module
from tosa_rescale.cli import main
from tosa_rescale.core.attributes import SCALE_FACTOR
from tosa_rescale.core.errors import ModelError
from tosa_rescale.rewrite.compensate import Compensator, _Candidate
from tosa_rescale.rewrite.expected import moving_error, narrowing_error
from tosa_rescale_runtime import Executable, Module


def module(*cases: RescaleCase) -> Module:
    return Module.parse(rescale_module(list(cases), (1, 2, 2)))


def test_narrowing_costs_the_square_of_what_the_multiplier_misses() -> None:
    # 0.75 becomes 0.5: a third less, of values of 2^8 / 8 = 32; and of 2^16 / 8.
    for source, target, size in (("i8", "i8", 32), ("i8", "i32", 32), ("i32", "i16", 8192), ("i16", "i16", 8192)):
        wide, power = (module(RescaleCase(source, target, (m,), (31,))) for m in (3 << 29, 1 << 30))
        ratio = (1 << 30) / (3 << 29)
        assert narrowing_error(wide, power) == pytest.approx((size * (ratio - 1)) ** 2)
        assert narrowing_error(wide, wide) == 0
    both = [module(RescaleCase("i8", "i32", (m,), (20,)), RescaleCase("i32", "i32", (m,), (31,))) for m in (3 << 29, 1 << 30)]
    assert narrowing_error(*both) == pytest.approx(2 * (32 / 3) ** 2)  # an operand of an addition is one of 8 bits


def test_another_scale_costs_two_roundings_or_less() -> None:
    made = module(*[RescaleCase("i8", "i8", (1 << 30,), (30,))] * 3)
    for op, factor in zip((op for op in made.ops() if op.kind == "rescale"), (1.0, 1.5, 1.001), strict=True):
        made.set_attribute(op, SCALE_FACTOR, factor)
    assert moving_error(made) == pytest.approx((1 + 1.5**2) / 12 + (32 * 0.001) ** 2)


@pytest.fixture(scope="module")
def network(tmp_path_factory: pytest.TempPathFactory) -> tr.Model:
    path = tmp_path_factory.mktemp("expected") / "network.tflite"
    path.write_bytes(zoo_networks.mobilenet_v2())
    return tr.load(path)


def moved(model: tr.Model) -> bool:
    return any(each.scale_factor != 1 for each in model.info())


def test_scales_move_for_one_bit_and_stay_for_eight(network: tr.Model) -> None:
    one, eight = (network.compensate(bits, scope="all", calibration="none") for bits in (1, 8))
    assert one.recipe[-1].options["aligned"] and moved(one)
    assert not eight.recipe[-1].options["aligned"] and not moved(eight)
    assert not any(each.above(8) for each in eight.info())
    plain = network.compensate(8, scope="all", calibration="none", align=False)
    assert plain.bytecode == eight.bytecode and "aligned" not in plain.recipe[-1].options


def test_where_both_are_without_error_scales_stay_with_alignment(network: tr.Model) -> None:
    made = network.compensate(31, scope="all", calibration="none")
    assert made.recipe[-1].options["aligned"] and not moved(made)  # more than 8 bits need no other scales


def test_with_samples_the_nearest_candidate_is_kept(network: tr.Model, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[_Candidate] = []
    choose = Compensator._choose

    def noted(self: Compensator, found: list[_Candidate]) -> tuple[_Candidate, float | None]:
        seen.extend(found)
        return choose(self, found)

    monkeypatch.setattr(Compensator, "_choose", noted)
    samples = network.random_inputs(8, 0)[0]
    (expected,) = Executable.build(network.bytecode).run_many(samples)
    for bits in (1, 8):
        seen.clear()
        made = network.compensate(bits, scope="all", calibration=samples)
        distances = {}
        for each in seen:
            (found,) = Executable.build(each.bytecode).run_many(samples)
            distances.setdefault(each.aligned, []).append(np.abs(found.astype(int) - expected).mean())
        best = {aligned: min(each) for aligned, each in distances.items()}
        recorded = made.recipe[-1].options
        assert set(best) == {True, False} and recorded["mean_lsb"] == min(best.values()) == best[recorded["aligned"]]


def test_what_a_tflite_holds_is_kept_where_one_is_written(tmp_path: pathlib.Path) -> None:
    """With many bits, scales that stay are nearer; then a file of LiteRT cannot hold the multiplier of a mean."""
    import networks
    import tensorflow as tf

    def network(wave: tf.Tensor) -> dict[str, tf.Tensor]:
        x = tf.nn.relu(tf.nn.conv1d(wave, networks._weights(0, 7, 5, 8), 3, "SAME") + 0.1)
        return {"scores": networks._dense(tf.reduce_mean(x, 1), 1, 4)}

    path, out = tmp_path / "wave.tflite", tmp_path / "out.tflite"
    path.write_bytes(networks.convert(network, {"wave": (1, 33, 5)}))
    model = tr.load(path)
    nearest = model.compensate(6, scope="all", calibration="none")
    assert not nearest.recipe[-1].options["aligned"]
    with pytest.raises(ModelError, match=r"1 narrowed multiplier cannot be expressed by scales: Mean; .*for_litert"):
        nearest.to_litert()
    moved = model.compensate(6, scope="all", calibration="none", for_litert=True)
    assert moved.recipe[-1].options["aligned"] and not any(each.above(6) for each in moved.info())
    arguments = ["compensate", str(path), "-o", str(out), "--bits", "6", "--scope", "all", "--calibration", "none"]
    assert main(arguments) == 0 and out.read_bytes() == moved.to_litert()
    assert main([*arguments, "--force", "--allow-partial"]) == 0 and out.read_bytes() == nearest.to_litert(allow_partial=True)
