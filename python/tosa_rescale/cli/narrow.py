# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""`tosa-rescale narrow`."""

from __future__ import annotations

from typing import Any

from tosa_rescale.cli import options
from tosa_rescale.core.options import NarrowOptions


@options.command("narrow")
@options.model
@options.output
@options.options_of(NarrowOptions)
@options.allow_partial
@options.force
def narrow(model: str, output: str, allow_partial: bool, force: bool, **given: Any) -> int:
    """Narrow the rescale multipliers of MODEL to K bits."""
    from tosa_rescale.cli import common, show
    from tosa_rescale.core.files import require_writable

    asked = options.taken(NarrowOptions, given)
    require_writable(output, force)
    loaded = common.load(model)
    common.require_output(loaded, output)
    narrowed = loaded.narrow(**asked.as_dict())
    show.remarks(narrowed)
    common.save(narrowed, output, force, allow_partial=allow_partial)
    show.narrowed(narrowed, asked, output)
    return 0
