# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""`tosa-rescale lower`."""

from __future__ import annotations

from typing import Any

from tosa_rescale.cli import options
from tosa_rescale.core.options import LowerOptions


@options.command("lower")
@options.model
@options.output
@options.options_of(LowerOptions)
@options.force
def lower(model: str, output: str, force: bool, **given: Any) -> int:
    """Write the rescales of MODEL as operations of 32 bits, where that is proven exact.

    A .tflite holds scales, and no operations in their place: OUTPUT is of another kind.
    """
    from tosa_rescale.cli import common, show
    from tosa_rescale.core.errors import OptionError
    from tosa_rescale.core.files import FileKind, kind_of, require_writable

    asked = options.taken(LowerOptions, given)
    require_writable(output, force)
    if kind_of(output) is FileKind.LITERT:
        raise OptionError(f"output: {output}: a .tflite cannot hold lowered rescales; write .mlirbc, .mlir, .tosa or .vmfb")
    loaded = common.load(model)
    common.require_output(loaded, output)
    lowered = loaded.lower(**asked.as_dict())
    show.remarks(lowered)
    common.save(lowered, output, force)
    show.lowered(lowered, output)
    return 0
