# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""A llama2.c checkpoint as an integer model: quantized in PyTorch, lowered by ExecuTorch, saved with texts to score.

python make.py stories260K.bin OUT [--activations 16] [--length 64]      (needs the extra `executorch`)

OUT/llama_a16w8.mlirbc takes tokens int32 [1, length] and gives logits. OUT/test.npz holds 200 sequences that the float model
wrote, `x` [200, length] and the token behind each, `y`; OUT/calibration.npz holds 32 others.
"""

from __future__ import annotations

import argparse
import pathlib

import numpy as np
import torch
import tosa_rescale.executorch as te
from executorch.backends.arm.quantizer import (
    TOSAQuantizer,
    get_symmetric_a16w8_quantization_config,
    get_symmetric_quantization_config,
)
from executorch.backends.arm.tosa.compile_spec import TosaCompileSpec
from network import UNSEEN, Llama, read_llama, write_stories
from torch import Tensor
from torch.nn.functional import cross_entropy
from torchao.quantization.pt2e.quantize_pt2e import convert_pt2e, prepare_pt2e
from tosa_rescale import Model

SPECS = {16: "TOSA-1.0+INT+int16", 8: "TOSA-1.0+INT"}
CONFIGURATIONS = {16: get_symmetric_a16w8_quantization_config, 8: get_symmetric_quantization_config}
TEXTS = {"calibration": (32, 1), "test": (200, 0)}
"""How many sequences, and the seed."""


def quantize(model: Llama, texts: Tensor, activations: int) -> torch.fx.GraphModule:
    """The network with 8-bit weights and activations of 16 or 8 bits, their ranges seen on texts int64 [N, length]."""
    quantizer = TOSAQuantizer(TosaCompileSpec(SPECS[activations]))
    quantizer.set_global(CONFIGURATIONS[activations](is_per_channel=True))
    prepared = prepare_pt2e(torch.export.export(model, (texts[:1],)).module(check_guards=False), quantizer)
    with torch.no_grad():
        for text in texts:
            prepared(text[None])
    return convert_pt2e(prepared)


def make(model: Llama, texts: Tensor, activations: int) -> tuple[torch.fx.GraphModule, Model]:
    """The quantized network in PyTorch, and as a model of integers alone, the embedding in it."""
    quantized = quantize(model, texts, activations)
    return quantized, te.load(quantized, (texts[:1],), SPECS[activations])


@torch.no_grad()
def perplexity(model: torch.nn.Module, tokens: Tensor) -> float:
    """Of the tokens int64 [N, length + 1] behind the first ones."""
    logits = torch.cat([model(text[None, :-1]) for text in tokens])
    return float(cross_entropy(logits.flatten(0, 1), tokens[:, 1:].flatten()).exp())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkpoint", type=pathlib.Path)
    parser.add_argument("output", type=pathlib.Path)
    parser.add_argument("--activations", type=int, choices=(16, 8), default=16, help="bits")
    parser.add_argument("--length", type=int, default=64, help="tokens of a sequence")
    options = parser.parse_args()
    options.output.mkdir(parents=True, exist_ok=True)
    real = read_llama(options.checkpoint, options.length)  # both models see what the exact one wrote
    texts = {name: write_stories(real, count, options.length, seed) for name, (count, seed) in TEXTS.items()}
    for name, tokens in texts.items():
        np.savez(options.output / f"{name}.npz", x=tokens[:, :-1].numpy(), y=tokens[:, 1:].numpy())
    masked = read_llama(options.checkpoint, options.length, UNSEEN[options.activations])
    quantized, model = make(masked, texts["calibration"][:, :-1], options.activations)
    model.save(options.output / f"llama_a{options.activations}w8.mlirbc")
    print(model)
    test, some = texts["test"], texts["test"][:16]  # PyTorch takes a second for each sequence of the quantized one
    print(
        f"perplexity in floats {perplexity(real, test):.4f}; of 16 sequences: in floats {perplexity(real, some):.4f},"
        f" quantized in PyTorch {perplexity(quantized, some):.4f}"
    )


if __name__ == "__main__":
    main()
