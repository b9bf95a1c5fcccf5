# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Choosing among forms of a network: the same choice as on all samples, on fewer of them."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.stats
import tosa_rescale as tr
from tosa_rescale.rewrite.nearest import DOUBT, FIRST, Nearest, still_in_question
from tosa_rescale.rewrite.observe import Runner

SAMPLES = 4 * FIRST


@pytest.fixture(scope="module")
def inputs(demo: tr.Model) -> list[np.ndarray]:
    return list(demo.random_inputs(SAMPLES, seed=1))


@pytest.fixture(scope="module")
def outputs(demo: tr.Model, inputs: list[np.ndarray]) -> tuple[np.ndarray, ...]:
    return demo.compile().run_many(*inputs)


@pytest.fixture
def ran(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, int]]:
    """Spans of the samples that are run."""
    spans, real = [], Runner.run

    def counted(self: Runner, executable: object, begin: int, end: int) -> tuple[np.ndarray, ...]:
        spans.append((begin, end))
        return real(self, executable, begin, end)

    monkeypatch.setattr(Runner, "run", counted)
    return spans


def distance(model: tr.Model, inputs: list[np.ndarray], outputs: tuple[np.ndarray, ...]) -> float:
    return float(np.abs(model.compile().run_many(*inputs)[0].astype(int) - outputs[0]).mean())


def test_the_nearest_is_chosen_and_measured_on_all_samples(
    demo: tr.Model, inputs: list[np.ndarray], outputs: tuple[np.ndarray, ...], ran: list[tuple[int, int]]
) -> None:
    forms = [demo.narrow(bits) for bits in (1, 12, 2)]
    position, found = Nearest(demo, inputs, outputs).choose([each.bytecode for each in forms])
    distances = [distance(each, inputs, outputs) for each in forms]
    assert position == int(np.argmin(distances)) == 1
    assert found == pytest.approx(distances[1], rel=1e-12)
    # The others are far off: they are run on the first samples only, and no sample is run twice.
    assert ran == [(0, FIRST)] * 3 + [(FIRST, SAMPLES)]


def test_equal_forms_are_run_once_and_the_first_is_chosen(
    demo: tr.Model, inputs: list[np.ndarray], outputs: tuple[np.ndarray, ...], ran: list[tuple[int, int]]
) -> None:
    far, near = demo.narrow(1).bytecode, demo.narrow(12).bytecode
    assert Nearest(demo, inputs, outputs).choose([far, near, bytes(bytearray(near)), far])[0] == 1
    assert len(ran) == 3
    ran.clear()
    assert Nearest(demo, inputs, outputs).choose([near, near])[0] == 0
    assert ran == [(0, SAMPLES)]


def test_what_is_close_is_decided_on_all_samples(
    demo: tr.Model, inputs: list[np.ndarray], outputs: tuple[np.ndarray, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    # The first samples prefer the second form, but by less than chance does; all samples together prefer the first one.
    noise = np.array([9, 0, 7, 1, 8, 2, 6, 0])
    off = {b"first": np.full(SAMPLES, 5), b"second": np.concatenate([noise, np.full(SAMPLES - FIRST, 9)])}
    assert off[b"second"][:FIRST].mean() < 5 < off[b"second"].mean()
    monkeypatch.setattr(Runner, "executable", lambda _, program: program.bytecode)
    monkeypatch.setattr(
        Runner, "run", lambda _, form, begin, end: [outputs[0][begin:end].astype(int) + off[form][begin:end, None]]
    )
    assert Nearest(demo, inputs, outputs).choose(list(off)) == (0, 5.0)


@pytest.mark.parametrize("samples", [2, 8, 16])
def test_forms_drop_out_by_the_paired_test(samples: int) -> None:
    rng = np.random.default_rng(samples)
    dropped = 0
    for _ in range(200):
        shared = rng.exponential(1, samples)
        distances = np.array([shared + rng.normal(shift, 0.3, samples) for shift in (0, 0.1, 0.4, 1.5)])
        nearest = int(distances.mean(axis=1).argmin())
        left = still_in_question(distances)
        assert left[0] == nearest
        for form in {0, 1, 2, 3} - {nearest}:
            p = scipy.stats.ttest_rel(distances[form], distances[nearest], alternative="greater").pvalue
            assert (form in left) == (p >= DOUBT)
            dropped += form not in left
    assert 0 < dropped < 600


def test_one_sample_and_equal_distances_decide_nothing() -> None:
    assert still_in_question(np.array([[2.0], [1.0], [3.0]])) == [1, 0, 2]
    assert still_in_question(np.ones((3, FIRST))) == [0, 1, 2]
    # Farther by the same on every sample is farther for certain.
    assert still_in_question(np.array([np.ones(FIRST), np.full(FIRST, 2.0)])) == [0]
