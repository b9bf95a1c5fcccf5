# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Networks in plain torch, and their quantization with the Arm backend's own quantizer."""

from __future__ import annotations

import pathlib
import time
from collections.abc import Iterable
from typing import Any

import numpy as np
import torch
from executorch.backends.arm.quantizer import (
    TOSAQuantizer,
    get_symmetric_a16w8_quantization_config,
    get_symmetric_quantization_config,
)
from executorch.backends.arm.tosa.compile_spec import TosaCompileSpec
from torch import Tensor, nn
from torchao.quantization.pt2e.quantize_pt2e import convert_pt2e, prepare_pt2e


class ConvNet(nn.Module):
    """Full, depthwise and pointwise convolutions, a residual add, a linear layer: every value is rounded as TOSA rounds it."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(1, 8, 3, padding=1)
        self.body = nn.Sequential(nn.Conv2d(8, 8, 3, padding=1, groups=8), nn.ReLU(), nn.Conv2d(8, 8, 1))
        self.head = nn.Linear(8 * 8 * 8, 10)

    def forward(self, image: Tensor) -> Tensor:
        x = torch.relu(self.stem(image))
        return self.head((x + self.body(x)).flatten(1))


class Attention(nn.Module):
    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.query, self.key, self.value, self.output = (nn.Linear(width, width) for _ in range(4))

    def forward(self, x: Tensor) -> Tensor:
        batch, tokens, width = x.shape
        size = width // self.heads
        q, k, v = (
            layer(x).reshape(batch, tokens, self.heads, size).transpose(1, 2) for layer in (self.query, self.key, self.value)
        )
        weights = torch.softmax(q @ k.transpose(-1, -2) * size**-0.5, -1)
        return self.output((weights @ v).transpose(1, 2).reshape(batch, tokens, width))


class Layer(nn.Module):
    """A transformer block: attention and two linear layers, each behind a LayerNorm and added to its input."""

    def __init__(self, width: int = 32, heads: int = 2) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.attention = Attention(width, heads)
        self.mlp = nn.Sequential(nn.Linear(width, 2 * width), nn.GELU(), nn.Linear(2 * width, width))

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.attention(self.norm1(x))
        return x + self.mlp(self.norm2(x))


class Encoder(nn.Module):
    """Transformer blocks under the names that encoders have."""

    def __init__(self, layers: int = 1) -> None:
        super().__init__()
        self.encoder = nn.Module()
        self.encoder.layer = nn.ModuleList(Layer() for _ in range(layers))

    def forward(self, embeddings: Tensor) -> Tensor:
        for layer in self.encoder.layer:
            embeddings = layer(embeddings)
        return embeddings


class InvertedResidual(nn.Module):
    def __init__(self, inputs: int, outputs: int, stride: int, expansion: int) -> None:
        super().__init__()
        hidden = inputs * expansion
        expand = [] if expansion == 1 else [conv_norm_relu(inputs, hidden, 1)]
        self.residual = stride == 1 and inputs == outputs
        self.conv = nn.Sequential(
            *expand,
            conv_norm_relu(hidden, hidden, 3, stride, hidden),
            nn.Conv2d(hidden, outputs, 1, bias=False),
            nn.BatchNorm2d(outputs),
        )

    def forward(self, x: Tensor) -> Tensor:
        return x + self.conv(x) if self.residual else self.conv(x)


class MobileNetV2(nn.Module):
    """MobileNetV2 in the structure, and with the names, that vision libraries give it (Sandler et al., 2018, table 2)."""

    BLOCKS = ((1, 16, 1, 1), (6, 24, 2, 1), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1))
    """Expansion, channels, number, stride of the first; the second row's stride is 2 for large images."""

    def __init__(self, classes: int = 10, width: float = 0.25, channels: int = 1) -> None:
        super().__init__()
        size = lambda wanted: max(8, int(wanted * width + 4) // 8 * 8)  # noqa: E731  # a multiple of 8, as everywhere
        features: list[nn.Module] = [conv_norm_relu(channels, inputs := size(32), 3, 2)]
        for expansion, outputs, number, stride in self.BLOCKS:
            for i in range(number):
                features.append(InvertedResidual(inputs, size(outputs), stride if i == 0 else 1, expansion))
                inputs = size(outputs)
        features.append(conv_norm_relu(inputs, last := size(1280), 1))
        self.features = nn.Sequential(*features)
        self.classifier = nn.Sequential(nn.Dropout(0.2), nn.Linear(last, classes))

    def forward(self, image: Tensor) -> Tensor:
        return self.classifier(nn.functional.adaptive_avg_pool2d(self.features(image), (1, 1)).flatten(1))


def conv_norm_relu(inputs: int, outputs: int, kernel: int, stride: int = 1, groups: int = 1) -> nn.Sequential:
    convolution = nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, groups=groups, bias=False)
    return nn.Sequential(convolution, nn.BatchNorm2d(outputs), nn.ReLU6())


def quantize(model: nn.Module, samples: Iterable[tuple[Tensor, ...]], spec: Any = "TOSA-1.0+INT") -> torch.fx.GraphModule:
    """A network as convert_pt2e gives it, calibrated on samples of batch 1; 16-bit activations where the spec has int16."""
    samples = list(samples)
    config = get_symmetric_a16w8_quantization_config if "int16" in str(spec) else get_symmetric_quantization_config
    quantizer = TOSAQuantizer(TosaCompileSpec(spec)).set_global(config(is_per_channel=True))
    prepared = prepare_pt2e(torch.export.export(model.eval(), samples[0]).module(check_guards=False), quantizer)
    with torch.no_grad():
        for sample in samples:
            prepared(*sample)
    return convert_pt2e(prepared)


def digits() -> tuple[tuple[Tensor, Tensor], tuple[Tensor, Tensor]]:
    """The demo's digits as images [N, 1, 32, 32] of 0..1 with labels: to train on, and held out."""
    from tosa_rescale.demo import DATA

    archive = np.load(DATA)

    def images(name: str) -> Tensor:
        small = torch.from_numpy(archive[name].astype(np.float32) / 255).reshape(
            -1, 1, 8, 8
        )  # permuted, it would be channels_last
        return nn.functional.interpolate(small, (32, 32), mode="bilinear")

    labels = [torch.from_numpy(archive[name].astype(np.int64)) for name in ("train_y", "y")]
    return (images("train_x"), labels[0]), (images("x"), labels[1])


def train(model: nn.Module, images: Tensor, labels: Tensor, epochs: int, seed: int = 0) -> None:
    """Trains a classifier by Adam with a falling rate; the images are shifted by up to two pixels."""
    torch.manual_seed(seed)
    batch = 64
    steps = epochs * (len(images) // batch)
    optimizer = torch.optim.AdamW(model.parameters(), 1e-3, weight_decay=1e-4)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 1e-2, steps)
    model.train()
    for _ in range(epochs):
        order = torch.randperm(len(images))
        for index in order[: len(order) // batch * batch].split(batch):
            shift = torch.randint(-2, 3, (2,)).tolist()
            loss = nn.functional.cross_entropy(model(torch.roll(images[index], shift, (2, 3))), labels[index])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
    model.eval()


def trained_mobilenet(folder: pathlib.Path, epochs: int = 40) -> MobileNetV2:
    """The MobileNetV2, trained on digits once for each folder."""
    torch.manual_seed(0)
    model, file = MobileNetV2(), folder / f"mobilenet_v2_{epochs}.pt"
    if file.is_file():
        model.load_state_dict(torch.load(file))
        return model.eval()
    start = time.perf_counter()
    train(model, *digits()[0], epochs)
    torch.save(model.state_dict(), file)
    print(f"MobileNetV2: trained for {time.perf_counter() - start:.0f} s")
    return model
