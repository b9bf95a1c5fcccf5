# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""How an evaluation grows with the workers of a cluster on this machine, and what a sweep over ImageNet would take on many.

python bench/cluster.py MODEL.tflite IMAGES [--take 256] [--workers 1,2,4] [--hosts 1,4,16] [--cores 16] [--gigabits 1,10]
"""

from __future__ import annotations

import argparse
import dataclasses
import pickle
import time
from pathlib import Path

import tosa_rescale as tr
from tosa_rescale.sweeping.cluster import LARGEST_SHARD, connect
from tosa_rescale.sweeping.cluster_tasks import BASE
from tosa_rescale.sweeping.methods import MethodContext

IMAGES, BYTES = 50_000, 6.7e9
"""ImageNet's validation set: the images and the size of its archive."""

WIDTHS = 8


@dataclasses.dataclass(frozen=True)
class Growth:
    """Samples a second with some workers, and the seconds that a sample takes a worker, decoding included."""

    workers: int
    rate: float
    seconds: float


def measure(model: tr.Model, data: tr.Dataset, workers: int) -> Growth:
    """The second of two evaluations: in the first one workers start, compile and load."""
    with connect("local", workers) as cluster:
        for _ in range(2):
            began = time.perf_counter()
            (found,) = cluster.points(MethodContext(model, workers=1), data, [BASE], None)
            wall = time.perf_counter() - began
    return Growth(workers, len(data) / wall, found.seconds / len(data))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path)
    parser.add_argument("images", type=Path)
    parser.add_argument("--take", type=int, default=256)
    parser.add_argument("--cores", type=int, default=16, help="of each host")
    for name, default in (("workers", "1,2,4"), ("hosts", "1,4,16"), ("gigabits", "1,10")):
        parser.add_argument(
            f"--{name}",
            type=lambda text: [int(part) for part in text.split(",")],
            default=[int(part) for part in default.split(",")],
        )
    options = parser.parse_args()
    model, data = tr.load(options.model), tr.load_data(options.images).take(options.take)
    shard = len(pickle.dumps(data[: min(LARGEST_SHARD, len(data))].detached())) / min(LARGEST_SHARD, len(data))
    grown = [measure(model, data, workers) for workers in options.workers]
    for each in grown:
        times = each.rate / grown[0].rate
        print(f"{each.workers} workers: {each.rate:.1f} samples/s ({times:.2f}x), a sample {1000 * each.seconds:.1f} ms")
    print(f"bytes moved a sample: {shard:,.0f}; of the model: {len(model.bytecode):,}")

    # Shards leave the first host once for each host that works on them: with as many points as hosts, or more, on every one.
    # A host that holds a shard may hand it on, so this is the most that the first host sends.
    alone = grown[0].seconds
    for hosts in options.hosts:
        computed = WIDTHS * IMAGES * alone / (hosts * options.cores)
        for gigabits in options.gigabits:
            sent = BYTES * min(WIDTHS, hosts - 1) / (gigabits * 1e9 / 8)
            bottleneck = "the first host's network" if sent > computed else "cores"
            print(
                f"{hosts} hosts of {options.cores} cores, {gigabits} Gbit/s: {computed:,.0f} s of computing,"
                f" {sent:,.0f} s of sending; bottleneck: {bottleneck}"
            )


if __name__ == "__main__":
    main()
