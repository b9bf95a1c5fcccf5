# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Names that tell a flatbuffer's tensors apart.

Tensors are recognised by name from then on. LiteRT's quantizer gives one name to several: where two operators read an int16
tensor at another scale, each gets a QUANTIZE of its own, and all results have the name of the tensor and `_requantized`.
"""

from __future__ import annotations

from typing import Any

from tosa_rescale.formats.litert.schema import name_of


def name_apart(model: Any) -> bool:
    """Gives results of operators of a ModelT's first subgraph names of their own. Changes `model`.

    Inputs, outputs and constants keep theirs, and so does the first of several others.

    Returns:
        Whether any changed.
    """
    graph = model.subgraphs[0]
    made = [int(i) for operator in graph.operators for i in operator.outputs if int(i) >= 0]
    border = {int(i) for i in (*graph.inputs, *graph.outputs)}
    used = {name_of(tensor) for tensor in graph.tensors}
    taken = {name_of(graph.tensors[i]) for i in set(range(len(graph.tensors))) - set(made) | border}
    changed = False
    for index in made:
        name = name_of(graph.tensors[index])
        if index in border:
            continue
        if name in taken:
            number = next(n for n in range(1, len(graph.tensors) + 1) if f"{name}_{n}" not in used)
            name = f"{name}_{number}"
            graph.tensors[index].name = name.encode()
            changed = True
        used.add(name)
        taken.add(name)
    return changed
