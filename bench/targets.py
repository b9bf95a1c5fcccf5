# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""What lowered rescales are worth where 64-bit integers are slow or missing: a model compiled for many targets, as it is and
with one bit lowered to 32 bits, and run where there is something to run it.

python bench/targets.py MODEL [--run "TARGET=COMMAND" ...] [--samples 4] [--only TEXT] [--json docs/how-to/targets.json]

Of each: whether iree-compile takes it, bytes of the vmfb, and the multiplications of 64 bits that are left in the code of the
dispatches: in LLVM IR after its optimisation (those that compute addresses included), in SPIR-V of the kernels. Where the
target is run: how many values of random samples differ from those of the same module on this machine, for which 0 differ from
the formula (test/python/test_lowering.py).

COMMAND is an iree-run-module for the target, in an emulator, such as
`riscv64=qemu-riscv64 b-riscv64/tools/iree-run-module`; bench/README.md says how they are made. x86-64 runs with the one of
IREE's wheel, and so does Vulkan in Mesa's software driver, where `--run "Vulkan, software=iree-run-module"` asks for it.

`no i64` is the same target without 64-bit integers, neither to compute with nor in memory: IREE's own description of it, less
the two.
"""

from __future__ import annotations

import argparse
import re
import shlex
import struct
import subprocess
import tempfile
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

import numpy as np
from common import record
from tosa_rescale import Model
from tosa_rescale import load as load_model
from tosa_rescale_runtime import Executable, prepare_for_iree

CPU = ("--iree-hal-target-device=local", "--iree-hal-local-target-device-backends=llvm-cpu")
RISCV = ("--iree-llvmcpu-target-cpu-features=+m,+a,+f,+d,+c",)
VULKAN = ("--iree-hal-target-device=vulkan",)
METAL = ("--iree-hal-target-device=metal", "--iree-metal-compile-to-metallib=false")
NO_I64 = ((r"\bint64\|", ""), (r"\bb64\|", ""))
# Mesa's llvmpipe: subgroups of 8. Without dot products IREE 3.13 reads i8 as unsigned (docs/iree-issues.md).
SOFTWARE = (
    (r'arch = "[^"]*"', 'arch = ""'),
    (r"subgroup = [\w|]+, dot = (\w+), (mma = \[.*?\], )?", r"subgroup = none, dot = \1, "),
    (r"subgroup_size_choices = \[[\d, ]+\]", "subgroup_size_choices = [8]"),
)


@dataclass(frozen=True)
class Target:
    """What a model is compiled for.

    Attributes:
        flags: of iree-compile.
        edits: patterns and what replaces them in IREE's description of the target.
        device: of iree-run-module.
    """

    flags: tuple[str, ...]
    edits: tuple[tuple[str, str], ...] = ()
    device: str = "local-sync"


def _cpu(triple: str, *flags: str) -> Target:
    return Target((*CPU, f"--iree-llvmcpu-target-triple={triple}-unknown-linux-gnu", *flags))


def _vulkan(name: str, *edits: tuple[str, str]) -> Target:
    return Target((*VULKAN, f"--iree-vulkan-target={name}"), edits, "vulkan")


NO_DOT = ((r"dot = dp4xi8toi32", "dot = none"),)
TARGETS = {
    "x86-64, AVX2": _cpu("x86_64", "--iree-llvmcpu-target-cpu=haswell"),
    "x86-64, AVX-512": _cpu("x86_64", "--iree-llvmcpu-target-cpu=skylake-avx512"),
    "aarch64": _cpu("aarch64", "--iree-llvmcpu-target-cpu=generic"),
    "riscv64": _cpu("riscv64", *RISCV, "--iree-llvmcpu-target-abi=lp64d"),
    "riscv32": _cpu("riscv32", *RISCV, "--iree-llvmcpu-target-abi=ilp32d"),
    "Vulkan, rdna3": _vulkan("rdna3"),
    "Vulkan, rdna3, no i64": _vulkan("rdna3", *NO_I64),
    "Vulkan, valhall": _vulkan("valhall"),
    "Vulkan, vp_android_baseline_2022": _vulkan("vp_android_baseline_2022"),
    "Vulkan, adreno": _vulkan("adreno"),
    "Vulkan, adreno with 8-bit stores": _vulkan("adreno", (r"\|b16,", "|b16|b8,")),
    "Vulkan, software": _vulkan("rdna3", *SOFTWARE),
    "Vulkan, software, no i64": _vulkan("rdna3", *SOFTWARE, *NO_I64),
    "Metal": Target(METAL),
    "Metal without dot products": Target(METAL, NO_DOT),
    "Metal without dot products, no i64": Target(METAL, (*NO_DOT, *NO_I64)),
    "WebGPU": Target(("--iree-hal-target-backends=webgpu-spirv",)),
}
_PRODUCT = re.compile(r"= mul (?:nsw |nuw )*(?:<[^>]* x )?i64\b")
_TYPE_INT, _TYPE_VECTOR, _IMUL, _EXTENDED = 21, 23, 132, (151, 152)
_LIMIT_S = 600


@dataclass(frozen=True)
class Outcome:
    """What became of one module on one target; without bytes where iree-compile refused it, with what it says.

    `differing` of `values` values were not those of this machine; None where it did not run.
    """

    target: str
    model: str
    bytes: int | None = None
    products64: int | None = None
    values: int = 0
    differing: int | None = None
    says: str = ""

    @property
    def cell(self) -> str:
        """For the table."""
        if self.bytes is None:
            return f"refused: `{self.says}`"
        ran = "" if self.differing is None else f", {self.differing} of {self.values} differ"
        return f"{self.bytes:,} bytes, {self.products64}{ran}{f' ({self.says})' if self.says else ''}"


@dataclass(frozen=True)
class Given:
    """A module for IREE, with samples and what it makes of them on this machine."""

    name: str
    module: bytes
    function: str
    inputs: list[np.ndarray] = field(default_factory=list)
    outputs: tuple[np.ndarray, ...] = ()


def given(name: str, model: Model, inputs: list[np.ndarray]) -> Given:
    outputs = Executable.from_constants(model.bytecode, source=name).run_many(*inputs, workers=1)
    return Given(name, prepare_for_iree(model.bytecode), model.signature.function, inputs, outputs)


def try_target(name: str, target: Target, what: Given, runner: str | None) -> Outcome:
    """Compiles a module, counts what is left of 64 bits in it, and runs it."""
    outcome = Outcome(name, what.name)
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        says = _compile(target, what.module, folder)
        if says is not None:
            return replace(outcome, says=says)
        products = sum(len(_PRODUCT.findall(each.read_text())) for each in folder.glob("dump/*.optimized.ll"))
        products += sum(spirv_products(each.read_bytes()) for each in folder.glob("dump/*.spv"))
        outcome = replace(outcome, bytes=(folder / "m.vmfb").stat().st_size, products64=products)
        return outcome if runner is None else _run(target, what, runner, outcome, folder)


def _compile(target: Target, module: bytes, folder: Path) -> str | None:
    """Writes m.vmfb and dump/; what iree-compile says where it refuses."""
    source, flags = folder / "m.mlirbc", target.flags
    source.write_bytes(module)
    dumps = [f"--iree-hal-dump-executable-{each}-to={folder / 'dump'}" for each in ("intermediates", "binaries")]
    if target.edits:
        done = _iree_compile([source, *flags, "--compile-to=flow", "-o", folder / "flow.mlir"])
        if done.returncode:
            return _first_error(done.stderr)
        text = (folder / "flow.mlir").read_text()
        start = text.index("#iree_gpu.target<")
        description = text[start : text.index("\n", start)]
        edited = description
        for pattern, replacement in target.edits:
            edited = re.sub(pattern, replacement, edited)
        source, flags = folder / "edited.mlir", ("--compile-from=flow", *(f for f in flags if "-metal-" in f))
        source.write_text(text.replace(description, edited))
    done = _iree_compile([source, *flags, *dumps, "-o", folder / "m.vmfb"])
    return _first_error(done.stderr) if done.returncode else None


def _iree_compile(arguments: list[str | Path]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["iree-compile", *arguments], capture_output=True, text=True, check=False, timeout=_LIMIT_S)


def _first_error(stderr: str) -> str:
    line = next((line for line in stderr.splitlines() if "error:" in line), "error: no message")
    return re.split(r": %\d|; registered", line.partition("error: ")[2])[0][:120]


def _run(target: Target, what: Given, runner: str, outcome: Outcome, folder: Path) -> Outcome:
    """Runs m.vmfb on each sample, and compares."""
    values = differing = 0
    for index in range(len(what.inputs[0])):
        argv = [*shlex.split(runner), f"--device={target.device}", f"--module={folder / 'm.vmfb'}"]
        argv.append(f"--function={what.function}")
        for at, array in enumerate(what.inputs):
            np.save(folder / f"in{at}.npy", array[index : index + 1])
            argv.append(f"--input=@{folder / f'in{at}.npy'}")
        files = [folder / f"out{at}.npy" for at in range(len(what.outputs))]
        done = subprocess.run(
            [*argv, *(f"--output=@{each}" for each in files)], capture_output=True, text=True, check=False, timeout=_LIMIT_S
        )
        if done.returncode:
            said = (done.stderr.strip() or done.stdout.strip()).splitlines()
            return replace(outcome, says=f"does not run: {said[0].partition('; ')[2][:120] if said else done.returncode}")
        for path, expected in zip(files, what.outputs, strict=True):
            found = np.load(path).view(expected.dtype).reshape(expected[index].shape)
            values += found.size
            differing += int((found != expected[index]).sum())
    return replace(outcome, values=values, differing=differing)


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
    parser.add_argument("--run", action="append", default=[], metavar="TARGET=COMMAND")
    parser.add_argument("--samples", type=int, default=4)
    parser.add_argument("--only", default="", help="targets whose name contains this")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    runners = {"x86-64": "iree-run-module"} | dict(each.split("=", 1) for each in options.run)
    model = load_model(options.model)
    lowered = model.narrow(1, scope="all").lower(rounding="bias", wide_inputs=True)
    inputs = list(model.random_inputs(options.samples))
    modules = [given("original", model, inputs), given("1 bit, lowered", lowered, inputs)]
    rows = []
    print("| target | original: bytes, 64-bit products | 1 bit, lowered |\n|---|---|---|")
    for name, target in TARGETS.items():
        if options.only not in name:
            continue
        runner = next((command for begin, command in runners.items() if name.startswith(begin)), None)
        found = [try_target(name, target, each, runner) for each in modules]
        rows += found
        print(f"| {name} | {found[0].cell} | {found[1].cell} |", flush=True)
        if options.json:
            entry = {"samples": options.samples, "rows": [asdict(each) | {"cell": each.cell} for each in rows]}
            record(options.json, options.model.name, entry)


if __name__ == "__main__":
    main()
