# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""What lowered rescales are worth where 64-bit integers are slow or missing: a model compiled for many targets, as it is and
with one bit lowered to 32 bits.

python bench/targets.py MODEL [--json FILE]

Of each: whether iree-compile takes it, bytes of the vmfb, and the multiplications of 64 bits that are left in the code of the
dispatches: in LLVM IR after its optimisation (those that compute addresses included), in SPIR-V of the kernels.
"""

from __future__ import annotations

import argparse
import json
import re
import struct
import subprocess
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path

from tosa_rescale import load as load_model
from tosa_rescale_runtime import prepare_for_iree

CPU = ("--iree-hal-target-device=local", "--iree-hal-local-target-device-backends=llvm-cpu")
TARGETS = {
    "x86-64, AVX2": (*CPU, "--iree-llvmcpu-target-triple=x86_64-unknown-linux-gnu", "--iree-llvmcpu-target-cpu=haswell"),
    "x86-64, AVX-512": (
        *CPU,
        "--iree-llvmcpu-target-triple=x86_64-unknown-linux-gnu",
        "--iree-llvmcpu-target-cpu=skylake-avx512",
    ),
    "aarch64": (*CPU, "--iree-llvmcpu-target-triple=aarch64-unknown-linux-gnu", "--iree-llvmcpu-target-cpu=generic"),
    "riscv64": (
        *CPU,
        "--iree-llvmcpu-target-triple=riscv64-unknown-linux-gnu",
        "--iree-llvmcpu-target-cpu-features=+m,+a,+f,+d,+c",
        "--iree-llvmcpu-target-abi=lp64d",
    ),
    "riscv32": (
        *CPU,
        "--iree-llvmcpu-target-triple=riscv32-unknown-linux-gnu",
        "--iree-llvmcpu-target-cpu-features=+m,+a,+f,+d,+c",
        "--iree-llvmcpu-target-abi=ilp32d",
    ),
    "Vulkan, rdna3": ("--iree-hal-target-device=vulkan", "--iree-vulkan-target=rdna3"),
    "Vulkan, valhall": ("--iree-hal-target-device=vulkan", "--iree-vulkan-target=valhall"),
    "Vulkan, adreno": ("--iree-hal-target-device=vulkan", "--iree-vulkan-target=adreno"),
}
_PRODUCT = re.compile(r"= mul (?:nsw |nuw )*(?:<[^>]* x )?i64\b")
_TYPE_INT, _TYPE_VECTOR, _IMUL, _EXTENDED = 21, 23, 132, (151, 152)
_LIMIT_S = 600


@dataclass(frozen=True)
class Compiled:
    """What became of one module on one target; without bytes where iree-compile refused it."""

    target: str
    model: str
    bytes: int | None
    products64: int | None
    says: str = ""


def compile_for(name: str, flags: tuple[str, ...], model: str, module: bytes) -> Compiled:
    """Compiles a module, and counts what is left of 64 bits in it."""
    with tempfile.TemporaryDirectory() as folder:
        source, output, dump = (Path(folder, each) for each in ("m.mlirbc", "m.vmfb", "dump"))
        source.write_bytes(module)
        argv = ["iree-compile", source, *flags, f"--iree-hal-dump-executable-intermediates-to={dump}"]
        argv += [f"--iree-hal-dump-executable-binaries-to={dump}", "-o", output]
        done = subprocess.run(argv, capture_output=True, text=True, check=False, timeout=_LIMIT_S)
        if done.returncode:
            says = next((line for line in done.stderr.splitlines() if "error:" in line), "no message")
            return Compiled(name, model, None, None, says.partition("error: ")[2][:120])
        products = sum(len(_PRODUCT.findall(each.read_text())) for each in dump.glob("*.optimized.ll"))
        products += sum(spirv_products(each.read_bytes()) for each in dump.glob("*.spv"))
        return Compiled(name, model, output.stat().st_size, products)


def spirv_products(binary: bytes) -> int:
    """Multiplications in a SPIR-V module that give 64 bits, of 64-bit integers or of 32-bit ones in two halves."""
    words = struct.unpack(f"<{len(binary) // 4}I", binary[: len(binary) // 4 * 4])
    wide: set[int] = set()
    products, at = 0, 5  # behind the header
    while at < len(words):
        length, code = words[at] >> 16, words[at] & 0xFFFF
        if (code == _TYPE_INT and words[at + 2] == 64) or (code == _TYPE_VECTOR and words[at + 2] in wide):
            wide.add(words[at + 1])
        elif (code == _IMUL and words[at + 1] in wide) or code in _EXTENDED:
            products += 1
        at += max(length, 1)
    return products


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    model = load_model(options.model)
    lowered = model.narrow(1, scope="all").lower(rounding="bias", wide_inputs=True)
    modules = {"original": model.bytecode, "1 bit, lowered": lowered.bytecode}
    rows = []
    print("| target | original: bytes, 64-bit products | 1 bit, lowered |\n|---|---|---|")
    for target, flags in TARGETS.items():
        found = [compile_for(target, flags, name, prepare_for_iree(each)) for name, each in modules.items()]
        rows += found
        cells = [f"{each.bytes:,}, {each.products64}" if each.bytes else f"refused: {each.says}" for each in found]
        print(f"| {target} | {cells[0]} | {cells[1]} |", flush=True)
    if options.json:
        options.json.write_text(json.dumps([asdict(each) for each in rows], indent=2) + "\n")


if __name__ == "__main__":
    main()
