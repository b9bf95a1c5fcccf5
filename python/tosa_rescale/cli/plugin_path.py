# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""`tosa-rescale plugin-path`."""

from __future__ import annotations

import pathlib

from tosa_rescale.cli import options
from tosa_rescale.core.errors import MissingToolError

PLUGIN = pathlib.Path(__file__).parents[1] / "lib" / "TosaRescalePlugin.so"


@options.command("plugin-path")
def plugin_path() -> int:
    """Print where the passes lie as a plugin for mlir-opt: mlir-opt --load-pass-plugin=$(tosa-rescale plugin-path)."""
    from tosa_rescale.cli import show

    if not PLUGIN.is_file():
        raise MissingToolError(f"{PLUGIN}: is not there, as this is no installed package; pip install tosa-rescale")
    show.plain(str(PLUGIN))
    return 0
