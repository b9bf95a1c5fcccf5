# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Writes weights, biases and multipliers back into the LiteRT flatbuffer that a model came from.

LiteRT stores no multiplier: every kernel derives it from scales, `M = S_x * S_w / S_y`. So a multiplier `m * 2^-s` is
written as the weight scale `S_w' = m * 2^-s * S_y / S_x`, and an unmodified runtime multiplies by it. float32 scales hold
it to 2^-23; the error is always upward, so a tool that cuts bits off finds `m` again (`weight_scales`).

Plain data only, no MLIR: the caller reads weights and multipliers from the module and matches its operators with
`match_layers`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from tosa_rescale.core.display import count
from tosa_rescale.core.errors import ModelError
from tosa_rescale.formats.litert.archive import archive_start, with_archive
from tosa_rescale.formats.litert.in_place import in_place
from tosa_rescale.formats.litert.multipliers import MAX_SCALE_EXCESS
from tosa_rescale.formats.litert.part import Part, find_part
from tosa_rescale.formats.litert.patch import ConstantPatch, LayerPatch, edit, require_patches, scales_by_position, some
from tosa_rescale.formats.litert.rebuild import rebuild
from tosa_rescale.formats.litert.schema import LitertLayer, layers_of, litert_layers, unpack


def write_litert(
    original: bytes,
    layers: Sequence[LayerPatch],
    *,
    part: Part | None = None,
    constants: Sequence[ConstantPatch] = (),
    activation_scales: Mapping[str, float] | None = None,
    unexpressed: Sequence[str] = (),
    allow_partial: bool = False,
    source: str = "model",
) -> bytes:
    """Writes new weights, biases and multipliers into a flatbuffer.

    Where every new constant is as long as the old one, its bytes are replaced in place and the rest of the file stays byte
    for byte as it was. Else (per-channel promotion, constants shared with other operators, a missing bias) the file is rebuilt
    with the same content; metadata, signatures and an attached ZIP archive of labels are kept. A model with uint8
    activations becomes an int8 one with per-channel weights between QUANTIZE operators, its inputs and outputs still uint8;
    so do only the operators of the part, where that is not the whole.

    Args:
        original: the flatbuffer that the model came from.
        layers: what becomes of each operator. A uint8 model needs one for every multiply-accumulate operator.
        constants: new elements and scales of constants that operators add or multiply with.
        part: what of the file the patches belong to; None: all that TOSA can express.
        activation_scales: new scales of activations, by tensor name; the zero points stay. Every multiply-accumulate operator
            that reads or writes such a tensor needs a patch, with the multiplier for the new scales.
        unexpressed: names of rescales narrowed in the module that scales cannot express (element-wise ones).
        allow_partial: write the file without them.
        source: the flatbuffer's name, for errors.

    Returns:
        The flatbuffer.

    Raises:
        ModelError: not a readable LiteRT flatbuffer; a patch that does not fit its operator; an operator without int8 kernel
            in a uint8 model; rescales in `unexpressed` without `allow_partial`.
    """
    if unexpressed and not allow_partial:
        raise ModelError(
            f"{source}: {count(len(unexpressed), 'narrowed multiplier')} cannot be expressed by scales: {some(unexpressed)}; "
            "narrow layers with constant weights only, compensate with `scope='all'` for a .tflite (in Python `for_litert`),"
            " which moves scales instead, or pass `allow_partial=True` to leave these at full width"
        )
    start = archive_start(original)
    flatbuffer = original[:start]
    model = unpack(flatbuffer, source)
    part = part or find_part(model, source)
    listed = {layer.operator: layer for layer in layers_of(model, source) if layer.operator in part.operators}
    scales = scales_by_position(model, part, activation_scales or {}, source)
    unsigned = any(layer.input.dtype == "uint8" for layer in listed.values())
    require_patches(listed, layers, scales, unsigned, source)
    edits = [edit(listed, patch, scales, source) for patch in layers]
    before = layers_of(model, source)
    written = None if unsigned or constants else in_place(flatbuffer, model, edits, scales)
    if written is None:
        written = rebuild(model, part, edits, constants, scales, unsigned, source)
    _verify(written, layers, before, source)
    return written if start == len(original) else with_archive(written, original, start)


def _verify(data: bytes, patches: Sequence[LayerPatch], before: Sequence[LitertLayer], source: str) -> None:
    """Reads the written file back: every patched multiplier must come out of the scales as it went in."""
    # QUANTIZE operators shift positions, not the order.
    after = {old.operator: new for old, new in zip(before, litert_layers(data, source), strict=True)}
    for patch in patches:
        multiplier = np.asarray(patch.multiplier, np.int64)
        wanted = np.ldexp(multiplier.astype(np.float64), -np.asarray(patch.shift).astype(np.int32))
        excess = after[patch.operator].multiplier[multiplier > 0] / wanted[multiplier > 0] - 1
        if np.any((excess < 0) | (excess > MAX_SCALE_EXCESS)):
            # A defect of this file.
            raise AssertionError(f"operator {patch.operator}: multiplier off by {np.abs(excess).max():g}")
