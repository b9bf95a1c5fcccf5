# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Running executables and comparing what they give."""

from __future__ import annotations

import gc
import operator
import signal
from dataclasses import replace

import numpy as np
import pytest
from runtime_modules import ConvNet, RescaleCase, apply_rescale, function, rescale, rescale_module
from tosa_rescale_runtime import (
    Cache,
    Comparison,
    Executable,
    ExecutionError,
    compare,
    compare_all,
    first_difference,
    workers,
)

FAST = ("--iree-hal-target-device=local", "--iree-hal-local-target-device-backends=llvm-cpu", "--iree-opt-level=O0")
NET = ConvNet.random()


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    return Cache(tmp_path_factory.mktemp("cache"))


@pytest.fixture(scope="module")
def executable(cache):
    return Executable.build(NET.text(), taps=["rescale0", "rescale1"], flags=FAST, cache=cache)


@pytest.fixture(scope="module")
def samples():
    return np.random.default_rng(0).integers(-128, 128, (12, 6, 6, 4), dtype=np.int8)


@pytest.mark.parametrize("workers", [1, 2, 5, None])  # more than 1: processes
def test_run_many_keeps_the_order(executable, samples, workers):
    done: list[int] = []
    results = executable.run_many(samples, workers=workers, progress=done.append)
    assert sum(done) == len(samples)
    for index in range(len(samples)):
        np.testing.assert_array_equal(results[0][index], NET.apply(samples[index : index + 1])[0])


def linear(shape: tuple[int, ...]) -> str:
    """y = rescale(x) of any shape: every number is tripled."""
    return rescale_module([RescaleCase("i8", "i16", (3 << 28,), (28,))], shape)


@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize("shape", [(2, 16), (16,), (), (3, 1, 4)])
def test_a_first_dimension_that_is_fixed_belongs_to_the_sample(cache, shape, workers):
    executable = Executable.build(linear(shape), flags=FAST, cache=cache)
    x = np.random.default_rng(2).integers(-128, 128, (5, *shape), dtype=np.int8)
    assert not executable.signature.batched
    np.testing.assert_array_equal(executable.run_many(x, workers=workers)[0], x.astype(np.int16) * 3)
    np.testing.assert_array_equal(executable.run(x[0, ...])[0], x[0].astype(np.int16) * 3)
    with pytest.raises(ExecutionError, match="requires shape"):
        executable.run_many(x[..., None])


@pytest.mark.parametrize("shape", [(1, 16), (1,), (1, 1, 3)])
def test_a_first_dimension_of_one_counts_samples(cache, shape):
    executable = Executable.build(linear(shape), flags=FAST, cache=cache)
    x = np.random.default_rng(2).integers(-128, 128, (5, *shape[1:]), dtype=np.int8)
    assert executable.signature.batched
    np.testing.assert_array_equal(executable.run_many(x)[0], x.astype(np.int16) * 3)


def test_one_input_that_is_not_batched_decides_for_the_graph(cache):
    """A mask [3] beside an image [1, 4, 3]: samples are whole tensors, outputs too."""
    case = RescaleCase("i8", "i16", (3 << 28,), (28,))
    body = rescale("y0", "x0", (1, 4, 3), case) + rescale("y1", "x1", (3,), case)
    text = function(
        [("x0", "tensor<1x4x3xi8>"), ("x1", "tensor<3xi8>")], body, [("y0", "tensor<1x4x3xi16>"), ("y1", "tensor<3xi16>")]
    )
    executable = Executable.build(text, taps=["rescale0"], flags=FAST, cache=cache)
    rng = np.random.default_rng(3)
    x = rng.integers(-128, 128, (5, 1, 4, 3), dtype=np.int8), rng.integers(-128, 128, (5, 3), dtype=np.int8)
    assert not executable.signature.batched
    assert [executable.signature.sample_shape(spec) for spec in executable.outputs] == [(1, 4, 3), (3,), (1, 4, 3)]
    for result, expected in zip(executable.run_many(*x), (x[0], x[1], x[0]), strict=True):
        np.testing.assert_array_equal(result, expected.astype(np.int16) * 3)


def test_no_samples_give_empty_results(executable, samples):
    results = executable.run_many(samples[:0])
    assert [r.shape for r in results] == [(0, 6, 6, 8)] * 3


def test_results_outlive_later_runs_and_the_executable(cache, samples):
    own = Executable.build(NET.text(), flags=FAST, cache=cache)
    first = own.run(samples[:1])[0]
    kept = first.copy()
    for index in range(1, len(samples)):
        own.run(samples[index : index + 1])
    del own
    gc.collect()
    np.testing.assert_array_equal(first, kept)


def test_unsigned_results_and_several_inputs(cache):
    cases = [
        RescaleCase("ui8", "i8", (1 << 30,), (30,), 128, 0),
        RescaleCase("i8", "ui8", (1 << 30,), (30,), 0, 128),
    ]
    unsigned = Executable.build(rescale_module(cases, (1, 4, 3)), flags=FAST, cache=cache)
    rng = np.random.default_rng(1)
    x = rng.integers(0, 256, (5, 4, 3), dtype=np.uint8), rng.integers(-128, 128, (5, 4, 3), dtype=np.int8)
    results = unsigned.run_many(*x)
    assert [r.dtype for r in results] == [np.int8, np.uint8]
    for case, given, result in zip(cases, x, results, strict=True):
        np.testing.assert_array_equal(result, apply_rescale(given, case))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda e, x: e.run(), "requires 1 input, got 0"),
        (lambda e, x: e.run(x), r"requires shape \[1, 6, 6, 4\], got \[12, 6, 6, 4\]"),
        (lambda e, x: e.run(x[:1].astype(np.uint8)), "requires dtype int8, got uint8"),
        (lambda e, x: e.run(x[:1].tolist()), "requires dtype int8, got list"),
        (lambda e, x: e.run_many(x[:, :5]), r"requires shape \[12, 6, 6, 4\], got \[12, 5, 6, 4\]"),
        (lambda e, x: e.run_many(x[0]), "requires shape"),
        (lambda e, x: e.with_parameters({}), "parameter `bounds` is missing"),
        (lambda e, x: e.with_parameters({**e.parameters, "more": x}), "parameter `more` is unknown"),
        (lambda e, x: e.with_parameters({**e.parameters, "conv2d0.bias": x}), "requires int32 .8., got int8"),
    ],
)
def test_what_does_not_fit_is_refused(executable, samples, call, message):
    with pytest.raises(ExecutionError, match=message):
        call(executable, samples)


def test_vmfb_that_is_none_is_refused(executable, samples):
    broken = Executable(b"not a vmfb" * 100, executable.signature)
    with pytest.raises(ExecutionError, match="cannot load the executable"):
        broken.run(samples[:1])


def test_failing_sample_ends_run_many(executable, samples):
    def fail(count: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        executable.run_many(samples, workers=2, progress=fail)


def test_failure_in_a_worker_process_is_reported(executable, samples):
    broken = Executable(b"not a vmfb" * 100, executable.signature)
    with pytest.raises(ExecutionError, match="cannot load the executable"):
        broken.run_many(samples, workers=2)


def test_worker_process_that_died_is_replaced(executable, samples):
    expected = executable.run_many(samples, workers=1)
    executable.run_many(samples, workers=2)
    assert workers._idle
    for worker in workers._idle:
        worker._process.kill()
        worker._process.wait()
    np.testing.assert_array_equal(executable.run_many(samples, workers=2)[0], expected[0])


@pytest.mark.parametrize(
    ("wish", "message"),
    [
        # Only the kernel, or someone in its place, sends SIGKILL: memory is not named otherwise.
        (signal.SIGKILL, "a worker process was killed (SIGKILL), as the kernel does when memory is short; use fewer workers"),
        (signal.SIGTERM, "a worker process failed (signal SIGTERM) and said nothing"),
    ],
)
def test_worker_process_that_dies_at_work_is_reported(executable, samples, wish, message):
    worker = workers.Worker()
    worker.run(executable, [samples[:1]])
    worker._process.send_signal(wish)
    worker._process.wait()
    with pytest.raises(ExecutionError) as caught:
        worker.run(executable, [samples])
    assert str(caught.value) == message
    worker.close()


def test_worker_process_that_fails_says_why(executable, samples):
    """An executable that cannot be read on the other side ends the process with a traceback there."""
    worker = workers.Worker()
    broken = replace(executable, taps=(_BreaksOnArrival(),))
    with pytest.raises(ExecutionError) as caught:
        worker.run(broken, [samples])
    assert str(caught.value) == "a worker process failed (exit status 1): ZeroDivisionError: integer modulo by zero"
    worker.close()


class _BreaksOnArrival:
    def __reduce__(self):
        return operator.mod, (1, 0)


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("", ""),
        ("note\nx.c:3: error: binding count 35 > 32\nerror: more\n", "x.c:3: error: binding count 35 > 32"),
        ('hello\nTraceback (most recent call last):\n  File "x"\n    error()\nKeyError: 3\n', "KeyError: 3"),
        ("only this\nand that\n", "only this"),
    ],
)
def test_first_error_of_what_a_process_wrote(text, line):
    assert workers.first_error(text) == line


def test_comparison_figures():
    actual = np.array([[1, 2, 3], [0, 255, 9]], np.uint8)
    expected = np.array([[1, 4, 3], [0, -1, 8]], np.int16)
    assert compare(actual, expected) == Comparison(6, 3, 256, 259 / 6, {-2: 1, 0: 3, 1: 1, 256: 1})
    assert not compare(actual, expected).exact
    assert compare(actual, actual).exact


def test_comparisons_add_up():
    rng = np.random.default_rng(0)
    actual, expected = rng.integers(-5, 5, (2, 50))
    parts = compare_all([actual[:20], actual[20:]], [expected[:20], expected[20:]])
    whole = compare(actual, expected)
    assert parts.histogram == whole.histogram
    assert (parts.values, parts.mismatches, parts.max_lsb) == (whole.values, whole.mismatches, whole.max_lsb)
    assert parts.mean_lsb == pytest.approx(whole.mean_lsb)
    assert compare(actual[:0], expected[:0]) == Comparison(0, 0, 0, 0.0, {})


@pytest.mark.parametrize(
    ("actual", "expected", "message"),
    [
        (np.zeros(3, int), np.zeros(4, int), "requires equal shapes"),
        (np.zeros(3), np.zeros(3, int), "requires integers"),
    ],
)
def test_what_cannot_be_compared_is_refused(actual, expected, message):
    with pytest.raises(ValueError, match=message):
        compare(actual, expected)


def test_first_difference_names_the_rescale(executable, samples):
    other = ConvNet.random().narrowed(3)
    changed = executable.with_parameters(
        {
            **executable.parameters,
            **{k: v for k, v in Executable.build(other.text(), cache=False, flags=FAST).parameters.items() if "rescale1" in k},
        }
    )
    one, two = executable.run(samples[:1]), changed.run(samples[:1])
    found = first_difference(executable.outputs[1:], one[1:], two[1:])
    assert found is not None and found[0].name == "rescale1"
    assert first_difference(executable.outputs[1:], one[1:], one[1:]) is None
