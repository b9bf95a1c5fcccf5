# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""The executable that this checkout makes of a model against the one of another checkout, and against the constants.

python bench/skeletons.py MODEL --other CHECKOUT [--repeats 60]

The other checkout compiles in a process of its own; all run in this one, in turn, on one core. Results are compared, too.
"""

from __future__ import annotations

import argparse
import os
import pickle
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
from common import interleaved, load, random_inputs
from tosa_rescale_runtime import Executable

_BUILD = """
import pickle, sys
from tosa_rescale_runtime import Executable
made = Executable.build(open(sys.argv[1], "rb").read())
pickle.dump((made.vmfb, dict(made.parameters)), open(sys.argv[2], "wb"))
"""


def build_in(checkout: Path, data: bytes, like: Executable) -> Executable:
    """Builds a module with the runtime of another checkout."""
    with tempfile.TemporaryDirectory() as folder:
        source, result = Path(folder, "in.mlirbc"), Path(folder, "out.pickle")
        source.write_bytes(data)
        environment = {**os.environ, "PYTHONPATH": str(checkout / "runtime")}
        subprocess.run([sys.executable, "-c", _BUILD, source, result], env=environment, check=True)
        vmfb, parameters = pickle.loads(result.read_bytes())
    return Executable(vmfb, like.signature, parameters)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path)
    parser.add_argument("--other", type=Path, help="root of another checkout")
    parser.add_argument("--repeats", type=int, default=60)
    options = parser.parse_args()

    data = load(options.model)
    ours = Executable.build(data)
    made = {"this checkout": ours, "constants": Executable.from_constants(data)}
    if options.other is not None:
        made["other checkout"] = build_in(options.other, data, ours)
    arrays = [random_inputs((1, *(n or 1 for n in spec.shape)), spec.dtype, 1)[0] for spec in ours.inputs]
    expected = ours.run(*arrays)
    for name, executable in made.items():
        for one, other in zip(executable.run(*arrays), expected, strict=True):
            np.testing.assert_array_equal(one, other, err_msg=name)
    medians = interleaved({name: lambda e=executable: e.run(*arrays) for name, executable in made.items()}, options.repeats)
    for name, seconds in medians.items():
        print(f"{name:16s} {seconds * 1e3:8.2f} ms   {seconds / medians['this checkout']:5.3f} of this checkout's time")


if __name__ == "__main__":
    main()
