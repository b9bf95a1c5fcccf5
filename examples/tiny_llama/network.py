# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""A Llama in PyTorch, for sequences of one length: RMSNorm, rotary positions, grouped queries, SwiGLU."""

from __future__ import annotations

import pathlib

import torch
from checkpoint import BEGIN, Sizes, read_checkpoint
from torch import Tensor, nn
from torch.nn import functional

UNSEEN = {16: -128.0, 8: -64.0}
"""Added to the score of a later token, by the bits of activations: scores lie between -40 and 25, and in 8 bits a larger
number would take the steps from those that count."""


class Norm(nn.Module):
    """RMSNorm."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))

    def forward(self, x: Tensor) -> Tensor:
        return x * torch.rsqrt((x * x).mean(-1, keepdim=True) + 1e-5) * self.weight


class Attention(nn.Module):
    """Causal attention; the heads of queries that share keys and values stand below each other as rows of one product."""

    def __init__(self, sizes: Sizes) -> None:
        super().__init__()
        self.sizes = sizes
        self.query = nn.Linear(sizes.width, sizes.heads * sizes.head, bias=False)
        self.key = nn.Linear(sizes.width, sizes.kv_heads * sizes.head, bias=False)
        self.value = nn.Linear(sizes.width, sizes.kv_heads * sizes.head, bias=False)
        self.output = nn.Linear(sizes.heads * sizes.head, sizes.width, bias=False)

    def forward(self, x: Tensor, cosines: Tensor, sines: Tensor, mask: Tensor, past: list[Tensor] | None = None) -> Tensor:
        batch, steps, _ = x.shape
        heads, kv_heads, head = self.sizes.heads, self.sizes.kv_heads, self.sizes.head

        def split(values: Tensor, count: int) -> Tensor:
            return values.reshape(batch, steps, count, head).transpose(1, 2)

        queries = rotated(split(self.query(x), heads), cosines, sines).reshape(batch, kv_heads, -1, head)
        keys = rotated(split(self.key(x), kv_heads), cosines, sines)
        values = split(self.value(x), kv_heads)
        if past is not None:
            keys, values = (torch.cat(each, 2) for each in zip(past or [keys[:, :, :0]] * 2, (keys, values), strict=True))
            past[:] = [keys, values]
        scores = (queries @ keys.transpose(-1, -2) * head**-0.5).reshape(batch, heads, steps, -1)
        weights = torch.softmax(scores + mask, -1).reshape(batch, kv_heads, -1, scores.shape[-1])
        mixed = (weights @ values).reshape(batch, heads, steps, head)
        return self.output(mixed.transpose(1, 2).reshape(batch, steps, -1))


def rotated(x: Tensor, cosines: Tensor, sines: Tensor) -> Tensor:
    """Rotary positions of [batch, heads, steps, head]; the two of a pair lie half of a head apart."""
    first, second = x.chunk(2, -1)
    return torch.cat([first * cosines - second * sines, first * sines + second * cosines], -1)


class Block(nn.Module):
    def __init__(self, sizes: Sizes) -> None:
        super().__init__()
        self.attention_norm, self.feed_norm = Norm(sizes.width), Norm(sizes.width)
        self.attention = Attention(sizes)
        self.gate = nn.Linear(sizes.width, sizes.hidden, bias=False)
        self.up = nn.Linear(sizes.width, sizes.hidden, bias=False)
        self.down = nn.Linear(sizes.hidden, sizes.width, bias=False)

    def forward(self, x: Tensor, cosines: Tensor, sines: Tensor, mask: Tensor, past: list[Tensor] | None = None) -> Tensor:
        x = x + self.attention(self.attention_norm(x), cosines, sines, mask, past)
        normed = self.feed_norm(x)
        return x + self.down(functional.silu(self.gate(normed)) * self.up(normed))


class Llama(nn.Module):
    """Tokens [batch, steps] to logits [batch, steps, vocabulary]; at most `sizes.length` steps.

    A step sees itself and those before it, so what stands behind it does not matter: a shorter text may be filled up.
    """

    def __init__(self, sizes: Sizes, unseen: float = UNSEEN[16]) -> None:
        super().__init__()
        self.sizes = sizes
        self.embedding = nn.Embedding(sizes.vocabulary, sizes.width)
        self.blocks = nn.ModuleList(Block(sizes) for _ in range(sizes.layers))
        self.last_norm = Norm(sizes.width)
        self.classifier = nn.Linear(sizes.width, sizes.vocabulary, bias=False)
        self.register_buffer("cosines", torch.ones(sizes.length, sizes.head // 2))
        self.register_buffer("sines", torch.zeros(sizes.length, sizes.head // 2))
        self.register_buffer("mask", torch.full((sizes.length, sizes.length), unseen).triu(1))

    def forward(self, tokens: Tensor) -> Tensor:
        steps = tokens.shape[1]
        x = self.embedding(tokens)
        for block in self.blocks:
            x = block(x, self.cosines[:steps], self.sines[:steps], self.mask[:steps, :steps])
        return self.classifier(self.last_norm(x))

    def next(self, tokens: Tensor, step: int, past: list[list[Tensor]]) -> Tensor:
        """Logits [batch, vocabulary] behind the token at one step; `past` keeps the keys and values of each block."""
        x = self.embedding(tokens)[:, None]
        for block, kept in zip(self.blocks, past, strict=True):
            x = block(x, self.cosines[step], self.sines[step], self.mask[step, : step + 1], kept)
        return self.classifier(self.last_norm(x))[:, 0]


def read_llama(path: pathlib.Path, length: int, unseen: float = UNSEEN[16]) -> Llama:
    """The Llama of a llama2.c checkpoint, for sequences of at most `length` tokens.

    The file has the two of a rotated pair beside each other; they are sorted apart, in queries and keys alike.
    """
    sizes, weights = read_checkpoint(path)
    if not 2 <= length <= sizes.length:
        raise SystemExit(f"--length: {length} is out of range; the model knows sequences of 2 to {sizes.length} tokens")
    model = Llama(sizes, unseen)
    apart = torch.arange(sizes.head).reshape(-1, 2).T.reshape(-1)

    def tensor(name: str, layer: int | None = None) -> Tensor:
        found = torch.tensor(weights[name] if layer is None else weights[name][layer])
        if name in ("query", "key"):
            found = found.reshape(-1, sizes.head, sizes.width)[:, apart].reshape(-1, sizes.width)
        return found

    state = {f"{name}.weight": tensor(name) for name in ("embedding", "last_norm", "classifier")}
    for layer in range(sizes.layers):
        state |= {
            f"blocks.{layer}.{name}.weight": tensor(name, layer)
            for name in ("attention_norm", "feed_norm", "gate", "up", "down")
        }
        state |= {
            f"blocks.{layer}.attention.{name}.weight": tensor(name, layer) for name in ("query", "key", "value", "output")
        }
    state |= {"cosines": tensor("cosines"), "sines": tensor("sines"), "mask": model.mask}
    model.load_state_dict(state)
    return model.eval()


@torch.no_grad()
def write_stories(model: Llama, count: int, length: int, seed: int) -> Tensor:
    """What the float model writes: tokens int64 [count, length + 1] drawn from its probabilities, each from a beginning."""
    generator = torch.Generator().manual_seed(seed)
    tokens = [torch.full((count,), BEGIN)]
    past: list[list[Tensor]] = [[] for _ in model.blocks]
    for step in range(length):
        probabilities = torch.softmax(model.next(tokens[-1], step, past), -1)
        tokens.append(torch.multinomial(probabilities, 1, generator=generator)[:, 0])
    return torch.stack(tokens, 1)
