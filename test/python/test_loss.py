# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""What a training compares: the place in the graph, likelihoods or real values, and the steps that count."""

from __future__ import annotations

import pathlib
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from encoder_module import EncoderText, Real, encoder, encoder_inputs
from tosa_rescale_runtime import Module

pytest.importorskip("tensorflow")

import tosa_rescale as tr
from tosa_rescale.core.changes import weight_changes
from tosa_rescale.core.errors import DataError, OptionError
from tosa_rescale.core.options import FinetuneOptions
from tosa_rescale.core.quantization import TensorQuantization
from tosa_rescale.data.dataset import Dataset, Preprocessing
from tosa_rescale.twin import read_graph
from tosa_rescale.twin.backend import tf
from tosa_rescale.twin.finetune import Finetuned, finetune
from tosa_rescale.twin.loss_point import loss_point
from tosa_rescale.twin.losses import divergence, fitting_loss, squares
from tosa_rescale.twin.samples import weights_of

TOKENS, WIDTH, CLASSES = 4, 16, 6


def ending(end: Callable[[EncoderText, Real], Real]) -> tr.Model:
    """A linear layer of 6 outputs over 4 tokens with an end of its own."""
    text = EncoderText(TOKENS, WIDTH, 1)
    logits = text.linear(text.shaped(text.input, TOKENS, 1, 1, WIDTH), CLASSES)
    made = end(text, text.shaped(logits, 1, TOKENS, CLASSES))
    return tr.Model(Module.parse(text.module(made)).to_bytecode(), "ending")


def gated(text: EncoderText, logits: Real) -> Real:
    """A softmax times what it is the softmax of: no softmax."""
    return text.times(text.softmax(logits), logits)


def tempered(text: EncoderText, logits: Real) -> Real:
    """A softmax of logits that went through an activation."""
    return text.softmax(text.table(logits, np.tanh))


@pytest.mark.parametrize(
    ("end", "before"),
    [
        (lambda text, logits: logits, None),
        (EncoderText.softmax, "rescale"),
        (EncoderText.layer_norm, None),  # a table of 513 entries too, and of no classes
        (lambda text, logits: text.table(logits, np.tanh), None),
        (gated, None),
        (tempered, None),  # its decisions are those of the activation, not of the layer
    ],
    ids=["logits", "softmax", "layer-norm", "activation", "gated", "tempered"],
)
def test_the_loss_is_taken_before_a_softmax_and_nothing_else(end: Any, before: str | None) -> None:
    graph = read_graph(Module.parse(ending(end).bytecode))
    point = loss_point(graph)
    assert (None if point is None else point.kind) == before
    if point is not None:
        # The logits in 16 bits: what the layer's own rescale gives.
        made = next(node for node in graph.nodes if node.kind == "conv2d")
        assert point.operands[0] == made.result and point.bits == 16


# -- an encoder ----------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def original() -> tr.Model:
    return tr.Model(Module.parse(encoder(1, TOKENS, WIDTH)).to_bytecode(), "encoder")


def sentences(count: int = 24, **extras: np.ndarray) -> Dataset:
    return Dataset("sentences", encoder_inputs(count, TOKENS, WIDTH)[:, 0], None, Preprocessing(), extras)


def trained(original: tr.Model, data: Dataset, **options: Any) -> Finetuned[tr.Model]:
    start = original.narrow(2, scope="all")
    return finetune(start, data, teacher=original, options=FinetuneOptions(**{"epochs": 1, "validation": 0.25, **options}))


def test_an_encoder_comes_nearer_to_its_own_outputs(original: tr.Model) -> None:
    found = trained(original, sentences(), epochs=2)
    start, best = (found.history[i].get("folded", found.history[i]) for i in (0, found.best_epoch))
    assert found.best_epoch > 0 and best["validation_loss"] < start["validation_loss"]
    # The loss is the part of the values' variance that is error, by NumPy from what IREE computes.
    held_out = sentences().take(6)
    ours, theirs = (np.asarray(tr.run(model, held_out)) for model in (found.model, original))
    difference = ours.astype(np.float64) - theirs
    assert best["agreement"] == pytest.approx(100 * (1 - best["validation_loss"]))
    assert best["validation_loss"] == pytest.approx(np.mean(difference**2) / theirs.astype(float).var(), rel=0.2)
    # As exact as any other, and its multipliers as narrow as before.
    assert found.model.check(sentences(2), engines=["iree", "tf", "tf64"]).bit_exact
    assert max(each.bits or 0 for each in found.model.info()) <= 2


def test_steps_that_a_mask_leaves_out_do_not_count(original: tr.Model) -> None:
    mask = np.ones((24, TOKENS), np.uint8)
    mask[:, 2:] = 0
    start = original.narrow(2, scope="all")
    found = trained(original, sentences(mask=mask), learning_rate=1e-9)
    held_out = sentences().take(6)
    ours, theirs = (np.asarray(tr.run(model, held_out)).astype(float) for model in (start, original))
    errors = ((ours - theirs) ** 2).mean((0, 2))  # by token; the first is the outlier
    everything = np.asarray(tr.run(original, sentences().drop(6)))[:, :2].astype(float).var()
    assert found.loss == "squares"
    assert found.history[0]["validation_loss"] == pytest.approx(errors[:2].mean() / everything, rel=1e-3)
    weights = weights_of(sentences(mask=mask), (TOKENS,))
    assert weights.shape == mask.shape and weights.mean() == 1 and not weights[:, 2:].any()
    assert weights_of(sentences(mask=mask), (7,)).shape == (24,)  # of another length: not of these steps
    with pytest.raises(DataError, match="sentences: `mask` leaves no step to learn from; it is 1 where a step is real"):
        weights_of(sentences(mask=mask * 0), (TOKENS,))


def test_the_losses_are_their_formulas() -> None:
    rng = np.random.default_rng(3)
    wanted, found = rng.standard_normal((2, 5, 3, 7)).astype(np.float32)

    def likelihoods(x: np.ndarray) -> np.ndarray:
        return np.exp(x) / np.exp(x).sum(-1, keepdims=True)

    p, q = likelihoods(wanted.astype(float)), likelihoods(found.astype(float))
    loss, same = divergence(tf.constant(wanted), tf.constant(found))
    np.testing.assert_allclose(loss, (p * np.log(p / q)).sum(-1), rtol=1e-4)
    np.testing.assert_array_equal(same, wanted.argmax(-1) == found.argmax(-1))
    loss, decisions = squares(tf.constant(wanted), tf.constant(found))
    np.testing.assert_allclose(loss, ((wanted - found) ** 2).mean(-1), rtol=1e-5)
    assert decisions is None


def test_the_output_suggests_the_loss(original: tr.Model) -> None:
    x, tokens = encoder_inputs(8, TOKENS, WIDTH)[:, 0], np.zeros((8, TOKENS), np.int64)
    scale = TensorQuantization("y", 0.1, 0)

    def suggested(shape: tuple[int, ...], labels: np.ndarray | None = None, takes: tuple[int, ...] = (TOKENS, WIDTH)) -> str:
        data = Dataset("data", x, labels, Preprocessing())
        return fitting_loss(shape, [takes], scale, np.dtype(np.int16), data).value

    # Vectors of a sequence are real values, unless the labels are the tokens that come next.
    assert suggested((TOKENS, WIDTH)) == "squares"
    assert suggested((TOKENS, WIDTH), tokens) == "divergence"
    assert suggested((10,)) == "divergence"  # classes
    assert suggested((640,), takes=(640,)) == "squares"  # an input, rebuilt
    assert suggested((1,)) == "squares"  # a regression
    assert suggested((8, 8, 21)) == "divergence"  # pixels
    assert suggested((8, 8, 3), takes=(4, 4, 3)) == "squares"  # a picture


def test_bad_losses_are_refused(original: tr.Model, demo_model: pathlib.Path, demo_data: pathlib.Path) -> None:
    with pytest.raises(OptionError, match="loss: 'cosine' is not one of auto, divergence, squares"):
        FinetuneOptions(loss="cosine")  # type: ignore[arg-type]
    with pytest.raises(OptionError, match="loss: squares compares with a teacher; with labels it is cross-entropy, leave it"):
        tr.load(demo_model).finetune(tr.load_data(demo_data).take(8), teacher="labels", loss="squares")
    single = ending(lambda text, logits: text.reduce("reduce_max", logits, 2))
    with pytest.raises(OptionError, match=r"loss: divergence .* the output \[4, 1\] of ending has one value; choose squares"):
        finetune(single, sentences(4), teacher=single, options=FinetuneOptions(loss="divergence"))  # type: ignore[arg-type]


def test_a_rate_that_is_too_large_is_brought_down_before_anything_moves(original: tr.Model) -> None:
    found = trained(original, sentences(), learning_rate=1000.0)
    assert found.history[1]["validation_loss"] < 2 * found.history[0]["validation_loss"]


# -- a vision transformer --------------------------------------------------------------------------------------------------


def test_a_trained_transformer_of_shifts_stays_one_in_its_file(demo_data: pathlib.Path, tmp_path: pathlib.Path) -> None:
    original = tr.load(pathlib.Path(tr.__file__).parent / "demo" / "digits_transformer_int8.tflite")
    start = original.compensate(1, scope="all", calibration="none")
    with np.load(demo_data) as file:
        data = Dataset("digits", file["train_x"][:80], None, Preprocessing())
    # At one bit it is as good as the original already; from another model there is something to learn.
    found = finetune(start, data, teacher=original.narrow(2, scope="all"), options=FinetuneOptions(epochs=1))
    assert found.loss == "divergence"
    assert found.best_epoch == 1 and found.changes.percent > 0
    assert [each.bits for each in found.model.info()] == [each.bits for each in start.info()]
    again = tr.load(found.model.save(tmp_path / "tuned.tflite"))
    assert weight_changes(found.model.bytecode, again.bytecode).percent == 0
    # Scales of a file are float32, which leaves multipliers that miss one bit by next to nothing.
    assert sum(each.above(1) for each in again.info()) == sum(each.above(1) for each in start.info())
    assert found.model.check(data.take(3), engines=["iree", "tf"]).bit_exact
