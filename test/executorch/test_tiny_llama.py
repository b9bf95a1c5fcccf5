# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""The language model of examples/tiny_llama: its files, its network, and what becomes of it as integers."""

from __future__ import annotations

import dataclasses
import pathlib
import struct
import sys

import pytest

pytest.importorskip("executorch", reason="the extra `executorch` is not installed; make test-executorch")

import numpy as np
import torch

sys.path.insert(0, str(pathlib.Path(__file__).parents[2] / "examples" / "tiny_llama"))

import make
import sweep
import tell
from checkpoint import BEGIN, Sizes, read_checkpoint, read_vocabulary, shapes, text_of
from network import read_llama, write_stories
from tosa_rescale_runtime import Executable

pytest_plugins = ("torch_fixtures",)

SHARED = pathlib.Path(__file__).parents[3] / "shared" / "models"
SIZES = Sizes(width=16, hidden=24, layers=1, heads=4, kv_heads=2, vocabulary=32, length=16)
LENGTH = 8


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    """A Llama of random weights in the format of llama2.c."""
    random = np.random.default_rng(0)
    angles = np.arange(SIZES.length)[:, None] * 10000.0 ** (-np.arange(0, SIZES.head, 2) / SIZES.head)
    parts = {name: random.normal(0, shape[-1] ** -0.5, shape) for name, shape in shapes(SIZES).items() if shape}
    for name in ("attention_norm", "feed_norm", "last_norm"):
        parts[name] = random.uniform(0.5, 1.5, shapes(SIZES)[name])
    parts |= {"cosines": np.cos(angles), "sines": np.sin(angles)}
    parts["embedding"] = random.normal(0, 0.3, shapes(SIZES)["embedding"])
    file = tmp_path_factory.mktemp("llama") / "random.bin"
    file.write_bytes(
        struct.pack("<7i", *dataclasses.astuple(SIZES)) + b"".join(p.astype("<f4").tobytes() for p in parts.values())
    )
    return file


def reference_logits(path: pathlib.Path, tokens: list[int]) -> np.ndarray:
    """The network in NumPy's float64, step by step, with the pairs of a rotation beside each other as the file has them."""
    s, w = read_checkpoint(path)
    w = {name: value.astype(np.float64) for name, value in w.items()}

    def norm(x: np.ndarray, gain: np.ndarray) -> np.ndarray:
        return x / np.sqrt(np.mean(x * x) + 1e-5) * gain

    def turned(x: np.ndarray, step: int) -> np.ndarray:
        pairs = x.reshape(-1, s.head // 2, 2)
        turn = (w["cosines"][step] + 1j * w["sines"][step]) * (pairs[..., 0] + 1j * pairs[..., 1])
        return np.stack([turn.real, turn.imag], -1).reshape(-1, s.head)

    kept: list[list[tuple[np.ndarray, np.ndarray]]] = [[] for _ in range(s.layers)]
    found = []
    for step, token in enumerate(tokens):
        x = w["embedding"][token]
        for layer in range(s.layers):
            normed = norm(x, w["attention_norm"][layer])
            queries = turned(w["query"][layer] @ normed, step)
            kept[layer].append((turned(w["key"][layer] @ normed, step), (w["value"][layer] @ normed).reshape(-1, s.head)))
            mixed = []
            for head in range(s.heads):
                at = head // (s.heads // s.kv_heads)
                scores = np.array([keys[at] @ queries[head] for keys, _ in kept[layer]]) * s.head**-0.5
                weights = np.exp(scores - scores.max())
                mixed.append(sum(p * values[at] for p, (_, values) in zip(weights / weights.sum(), kept[layer], strict=True)))
            x = x + w["output"][layer] @ np.concatenate(mixed)
            normed = norm(x, w["feed_norm"][layer])
            gate = w["gate"][layer] @ normed
            x = x + w["down"][layer] @ (gate / (1 + np.exp(-gate)) * (w["up"][layer] @ normed))
        found.append(w["classifier"] @ norm(x, w["last_norm"]))
    return np.stack(found)


def test_the_network_is_the_one_of_the_checkpoint(checkpoint: pathlib.Path) -> None:
    model = read_llama(checkpoint, LENGTH)
    tokens = [BEGIN, 7, 30, 7, 0, 12, 5, 9]
    expected = reference_logits(checkpoint, tokens)
    past: list[list[torch.Tensor]] = [[] for _ in model.blocks]
    with torch.no_grad():
        whole = model(torch.tensor([tokens]))[0].numpy()
        steps = [model.next(torch.tensor([token]), step, past)[0].numpy() for step, token in enumerate(tokens)]
    assert expected.std() > 0.3
    np.testing.assert_allclose(whole, expected, atol=1e-4)
    np.testing.assert_allclose(np.stack(steps), expected, atol=1e-4)


def test_the_same_seed_writes_the_same_stories(checkpoint: pathlib.Path) -> None:
    model = read_llama(checkpoint, LENGTH)
    first, again, other = (write_stories(model, 4, LENGTH, seed) for seed in (0, 0, 1))
    assert torch.equal(first, again) and not torch.equal(first, other)
    assert first.shape == (4, LENGTH + 1) and (first[:, 0] == BEGIN).all()


def test_files_that_are_none_are_refused(checkpoint: pathlib.Path, tmp_path: pathlib.Path) -> None:
    broken = tmp_path / "broken.bin"
    broken.write_bytes(checkpoint.read_bytes()[:-4])
    with pytest.raises(SystemExit, match=r"broken\.bin: has \d+ weights, its header asks for \d+"):
        read_checkpoint(broken)
    broken.write_bytes(b"1234")
    with pytest.raises(SystemExit, match="is too short for the header"):
        read_checkpoint(broken)
    with pytest.raises(SystemExit, match="--length: 17 is out of range; the model knows sequences of 2 to 16 tokens"):
        read_llama(checkpoint, 17)


def test_pieces_become_text(tmp_path: pathlib.Path) -> None:
    pieces = [b"<unk>", b"\n<s>\n", b"\n</s>\n", b"<0xC3>", b"<0xA4>", b" Once", b" b"]
    file = tmp_path / "tokens.bin"
    file.write_bytes(struct.pack("<i", 7) + b"".join(struct.pack("<fi", 0, len(p)) + p for p in pieces))
    assert read_vocabulary(file, 7) == pieces
    assert text_of([1, 5, 6, 3, 4, 2], pieces) == "Once b\u00e4"
    with pytest.raises(SystemExit, match="has 7 tokens, the model 8"):
        read_vocabulary(file, 8)


@pytest.mark.slow
def test_a_random_llama_becomes_shifts_alone(checkpoint: pathlib.Path, tmp_path: pathlib.Path) -> None:
    """RMSNorm, rotary positions, grouped queries, causal softmax, SwiGLU and the embedding, as integers of 16 bits."""
    network = read_llama(checkpoint, LENGTH)
    texts = write_stories(network, 12, LENGTH, 1)
    quantized, model = make.make(network, texts[:, :-1], 16)
    assert model.signature.inputs[0].shape == (1, LENGTH) and model.signature.inputs[0].dtype == np.int32
    assert make.perplexity(quantized, texts) < 1.02 * make.perplexity(network, texts)
    shifts = sweep.make(model, "none", 1, texts)
    assert all(each.power_of_two for each in shifts.info())
    tokens = texts[:2, :-1].int().numpy()
    assert shifts.check([tokens], engines=("iree", "reference"))
    scale = model.quantization.outputs[0].scale  # type: ignore[union-attr]
    with torch.no_grad():
        real = network(torch.from_numpy(tokens)).numpy()
    for each in (model, shifts):
        found = Executable.build(each.bytecode, source=each.source).run_many(tokens[:1])[0].reshape(LENGTH, -1) * scale
        assert np.corrcoef(found.ravel(), real[0].ravel())[0, 1] > 0.99
    assert tell.tell(shifts)[0] == BEGIN


@pytest.mark.slow
def test_the_real_one_keeps_its_perplexity() -> None:
    file = SHARED / "stories260K.bin"
    if not file.is_file():
        pytest.skip(f"{file} is not there")
    model = read_llama(file, 32)
    texts = write_stories(model, 16, 32, 0)
    assert make.perplexity(model, texts) < 4.5  # nats of 1.297 published on real stories, 3.66
    assert make.perplexity(make.quantize(model, texts[:4, :-1], 16), texts) < 1.02 * make.perplexity(model, texts)
