# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""The part of a LiteRT model that TOSA can express in integers, and a flatbuffer of this part alone.

Operators are sorted in execution order. What TOSA has no integers for (float32 operators, custom ones, state, what the
converter refuses) and everything that reads its results stays behind; so the part is a prefix of the network. Where such
operators stand in front of the first integer one, the part begins behind them. A QUANTIZE of a float32 input and a
DEQUANTIZE to a float32 output are the border: the module takes and gives the integers on their inner side.
"""

from __future__ import annotations

import copy
import dataclasses
import difflib
from collections.abc import Mapping, Sequence
from typing import Any

from tosa_rescale.core.errors import ModelError
from tosa_rescale.core.quantization import GraphQuantization, TensorQuantization
from tosa_rescale.formats.litert.forbidden import is_forbidden
from tosa_rescale.formats.litert.operators import FOREIGN, STATEFUL
from tosa_rescale.formats.litert.schema import dtype_of, name_of, op_name, pack, tensor_at

_INTEGERS = ("bool", "int4", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32")
_REALS = ("float16", "bfloat16", "float32", "float64")
_QUANTIZED = ("int8", "uint8", "int16")
_NAMED_AT_MOST = 4


@dataclasses.dataclass(frozen=True)
class BorderTensor:
    """An input or output of the part.

    Attributes:
        index: of the integer tensor.
        inner: its name.
        name: what the file calls it: the float32 tensor's name where that is the file's border.
        outer: of the float32 tensor that the file quantizes, or dequantizes to; None where it has none there.
    """

    index: int
    inner: str
    name: str
    outer: int | None = None


@dataclasses.dataclass(frozen=True)
class Part:
    """Which operators of the first subgraph are TOSA, by position.

    Attributes:
        operators: those of the part.
        inputs, outputs: its border, in the file's order; tensors that the rest of the file reads come last.
        before: operators in front that stay as they are, QUANTIZE at the border left out.
        after: operators behind that stay as they are, DEQUANTIZE at the border left out.
        passed: names of the file's outputs that no operator of the part or behind it makes, as an input passed through.
        whole: the part is the file, border and all.
    """

    operators: tuple[int, ...]
    inputs: tuple[BorderTensor, ...]
    outputs: tuple[BorderTensor, ...]
    before: tuple[int, ...] = ()
    after: tuple[int, ...] = ()
    passed: tuple[str, ...] = ()
    whole: bool = False

    def names(self) -> dict[int, str]:
        """By position, what a module calls the tensors that have another name in the file: those on both sides of its border.

        Integers go by the name of the float32 tensor that the file makes of them, this one by theirs.
        """
        border = (*self.inputs, *self.outputs)
        found: dict[int, str] = {}
        for each in border:
            if each.outer is not None and sum(each.index == other.index or each.outer == other.outer for other in border) == 1:
                found |= {each.outer: each.inner, each.index: each.name}
        return found

    def quantization(self, model: Any) -> GraphQuantization:
        """Scale and zero point of each input and output."""

        def of(border: BorderTensor) -> TensorQuantization:
            known = tensor_at(model, border.index).quantization
            return dataclasses.replace(known, name=border.name, real=border.outer is not None)

        return GraphQuantization(tuple(map(of, self.inputs)), tuple(map(of, self.outputs)))


def find_part(model: Any, source: str, until: str | Sequence[str] | None = None, refused: Mapping[int, str] = {}) -> Part:
    """Finds the part of a model that TOSA can express.

    Args:
        model: a ModelT.
        source: its name, for errors.
        until: names of the tensors that shall be the part's outputs; None: as far as TOSA goes.
        refused: positions of operators that the converter is known to leave, with its reasons.

    Returns:
        The part; the whole model where none of it is quantized (a float one).

    Raises:
        ModelError: `until` names no tensor or none of the part, or an operator without counterpart in TOSA stands before
            every quantized one.
    """
    try:
        sorting = _Sorting(model, refused)
        if not sorting.quantized:
            return sorting.unquantized(source, until)
        return sorting.part(source, [until] if isinstance(until, str) else until)
    except (IndexError, TypeError, ValueError, AttributeError) as error:  # positions that lead nowhere
        raise ModelError(f"{source}: not a readable LiteRT model (truncated or corrupt?)") from error


def cut(model: Any, part: Part) -> Any:
    """A ModelT of the part alone. Tensors keep their positions; those at the border go by the file's names."""
    graph = model.subgraphs[0]
    small = copy.copy(model)
    small.signatureDefs = None  # they name tensors that are gone
    alone = copy.copy(graph)
    small.subgraphs = [alone, *model.subgraphs[1:]]
    alone.tensors = list(graph.tensors)
    sorting = _Sorting(model, {})
    alone.operators = [copy.copy(graph.operators[position]) for position in part.operators]
    for position, operator in zip(part.operators, alone.operators, strict=True):
        operator.inputs = [sorting.read_instead(position, int(i)) for i in operator.inputs]
    alone.inputs, alone.outputs = ([each.index for each in border] for border in (part.inputs, part.outputs))
    for index, name in part.names().items():
        alone.tensors[index] = copy.copy(alone.tensors[index])
        alone.tensors[index].name = name.encode()
    return small


def part_alone(data: bytes, model: Any, part: Part) -> bytes:
    """The flatbuffer of a part; the file's own bytes where the part is the whole file."""
    return data if part.whole else pack(cut(model, part))


def describe(model: Any, operators: Sequence[int]) -> str:
    """Operators for a message: position, kind and result of each."""
    graph = model.subgraphs[0]

    def one(position: int) -> str:
        operator = graph.operators[position]
        results = [name_of(graph.tensors[int(i)]) for i in _some_of(operator.outputs)[:1]]
        return f"operator {position} ({kind_of_operator(model, operator)}{''.join(f' {name!r}' for name in results)})"

    more = f" and {len(operators) - _NAMED_AT_MOST} more" if len(operators) > _NAMED_AT_MOST else ""
    return ", ".join(one(each) for each in operators[:_NAMED_AT_MOST]) + more


def kind_of_operator(model: Any, operator: Any) -> str:
    """Its kind, for a custom one with the name that its maker gave it."""
    code = model.operatorCodes[operator.opcodeIndex]
    custom = "" if code.customCode is None else f" {code.customCode.decode(errors='replace')}"
    return op_name(model, operator) + custom


def _some_of(indices: Any) -> list[int]:
    return [] if indices is None else [int(i) for i in indices if int(i) >= 0]


def _require_sound(model: Any) -> None:
    """Raises IndexError where the first subgraph names tensors, buffers or operator codes that are not there."""
    graph = model.subgraphs[0]
    tensors = [i for each in graph.operators for i in (*_some_of(each.inputs), *_some_of(each.outputs))]
    tensors += [*_some_of(graph.inputs), *_some_of(graph.outputs)]
    positions = (
        (tensors, graph.tensors),
        ([each.buffer for each in graph.tensors], model.buffers),
        ([each.opcodeIndex for each in graph.operators], model.operatorCodes),
    )
    for indices, listed in positions:
        if any(not 0 <= i < len(listed) for i in indices):
            raise IndexError(max(indices))


class _Sorting:
    """Where each operator and activation of a model belongs: `front`, `core` (the part) or `rest`."""

    def __init__(self, model: Any, refused: Mapping[int, str]) -> None:
        self.model = model
        self.graph = model.subgraphs[0]
        self.refused = refused
        _require_sound(model)
        self.reads = [_some_of(each.inputs) for each in self.graph.operators]
        self.makes = [_some_of(each.outputs) for each in self.graph.operators]
        self.kinds = [op_name(model, each) for each in self.graph.operators]
        self.producer = {tensor: position for position, made in enumerate(self.makes) for tensor in made}
        self.dtypes = [dtype_of(each) for each in self.graph.tensors]
        self.inputs, self.outputs = _some_of(self.graph.inputs), _some_of(self.graph.outputs)
        self.same = self._same_inputs()
        self.tensors = dict.fromkeys(self.inputs, "front")
        self.place = [self._sort(position) for position in range(len(self.kinds))]

    def _sort(self, position: int) -> str:
        """An operator's place, from those of what it reads."""
        read = {self.tensors[i] for i in self.reads[position] if i in self.tensors}
        if "rest" in read:
            place = "rest"
        elif self._fits(position):
            place = "core"
        else:
            stateful = self.kinds[position] in STATEFUL or any(self.graph.tensors[i].isVariable for i in self.reads[position])
            place = "rest" if "core" in read or stateful else "front"
        self.tensors.update(dict.fromkeys(self.makes[position], place))
        return place

    def _fits(self, position: int) -> bool:
        """Whether TOSA has integers for an operator."""
        if self.kinds[position] in STATEFUL or self.kinds[position] in FOREIGN or position in self.refused:
            return False
        if is_forbidden(self.model, self.graph.operators[position]):
            return False
        activations = [i for i in self.reads[position] if i in self.tensors]
        if self.kinds[position] == "SHAPE" and activations and activations[0] in self.partners():
            return True
        return all(self.dtypes[i] in _INTEGERS for i in (*activations, *self.makes[position]))

    def read_instead(self, position: int, index: int) -> int:
        """What an operator of the part reads for a tensor: QUANTIZE operators that do the same to one input are one, and a
        SHAPE asks the integers for what their float32 tensor has as well."""
        if self.kinds[position] == "SHAPE":
            return self.partners().get(index, index)
        return self.same.get(index, index)

    def _same_inputs(self) -> dict[int, int]:
        """For each QUANTIZE of a float32 input, the first result with the same quantization."""
        first: dict[Any, int] = {}
        found = {}
        for position, kind in enumerate(self.kinds):
            if kind == "QUANTIZE" and self.reads[position][0] in self.inputs:
                index = self.makes[position][0]
                if self.dtypes[self.reads[position][0]] in _REALS:
                    known = tensor_at(self.model, index)
                    key = (self.reads[position][0], known.dtype, known.scale.tobytes(), known.zero_point.tobytes())
                    found[index] = first.setdefault(key, index)
        return found

    def partners(self) -> dict[int, int]:
        """For each float32 tensor that is quantized, or came from integers, a tensor of these."""
        found: dict[int, int] = {}
        for position, kind in enumerate(self.kinds):
            if kind in ("QUANTIZE", "DEQUANTIZE") and self.reads[position] and self.makes[position]:
                ends = self.reads[position][0], self.makes[position][0]
                inner, outer = ends if kind == "DEQUANTIZE" else ends[::-1]
                if self.dtypes[outer] in _REALS and self.dtypes[inner] in _INTEGERS:
                    found.setdefault(outer, inner)
        return found

    @property
    def quantized(self) -> bool:
        """Whether any operator of the part makes a quantized tensor."""
        core = [position for position, place in enumerate(self.place) if place == "core"]
        made = [i for position in core for i in self.makes[position] if self.dtypes[i] in _QUANTIZED]
        return any(len(tensor_at(self.model, i).scale) for i in made)

    def unquantized(self, source: str, until: str | Sequence[str] | None) -> Part:
        """The whole model, for the converter to judge."""
        foreign = [position for position, kind in enumerate(self.kinds) if kind in FOREIGN or kind in STATEFUL]
        foreign = sorted({*foreign, *self.refused})
        if foreign:
            reasons = [f" ({reason})" for reason in self.refused.values() if reason]
            raise ModelError(
                f"{source}: {describe(self.model, foreign)}: no counterpart in TOSA{''.join(reasons[:1])}, and no quantized "
                "operator before it; give a full-integer model whose quantized layers come first"
            )
        if until is not None:
            raise ModelError(f"{source}: has no quantized operator, so it cannot be cut (a float model?); leave `until` away")
        return self._whole()

    def _whole(self) -> Part:
        inputs, outputs = (tuple(self._border(i) for i in border) for border in (self.inputs, self.outputs))
        return Part(tuple(range(len(self.kinds))), inputs, outputs, whole=True)

    def part(self, source: str, until: Sequence[str] | None) -> Part:
        """The quantized part."""
        real = self._real_outputs()
        named = [self._named(name, real, source) for name in until or ()]
        outputs = self._file_outputs(real) if until is None else named
        core = self._ancestors({each.index for each in outputs}, until is None)
        inputs = self._file_inputs(core)
        whole = (
            len(core) == len(self.kinds)
            and [each.index for each in inputs] == self.inputs
            and [each.index for each in outputs] == self.outputs
        )
        if whole or not inputs or not outputs:
            return self._whole()
        behind = {i for position in core for i in self.makes[position]}
        border = {self.producer[i] for i in real if real[i] in behind}
        border |= {p for p, kind in enumerate(self.kinds) if kind == "QUANTIZE" and self.place[p] == "front"}
        others = [p for p in range(len(self.kinds)) if p not in core and p not in border]
        before = tuple(p for p in others if self.place[p] == "front")
        after = tuple(p for p in others if self.place[p] != "front")
        passed = tuple(name_of(self.graph.tensors[i]) for i in self.outputs if self.tensors.get(i) == "front")
        return Part(tuple(sorted(core)), tuple(inputs), tuple(outputs), before, after, passed if until is None else ())

    def _real_outputs(self) -> dict[int, int]:
        """For each float32 tensor that a DEQUANTIZE makes of integers of the part, these."""
        found = {}
        for position, kind in enumerate(self.kinds):
            if kind == "DEQUANTIZE" and self.reads[position] and self.tensors.get(self.reads[position][0]) == "core":
                found[self.makes[position][0]] = self.reads[position][0]
        return found

    def _file_outputs(self, real: dict[int, int]) -> list[BorderTensor]:
        """The file's outputs that the part makes, then what the rest of the file reads of it."""
        found = []
        for index in self.outputs:
            if index in real:
                found.append(self._border(real[index], index))
            elif self.tensors.get(index) == "core":
                found.append(self._border(index))
        ends = {p for p, made in enumerate(self.makes) if made and made[0] in real and self._ends(made[0])}
        read = {i for p, place in enumerate(self.place) if place == "rest" and p not in ends for i in self.reads[p]}
        left = sorted(i for i in read if self.tensors.get(i) == "core" and i not in {each.index for each in found})
        return [*found, *(self._border(i) for i in left)]

    def _ends(self, tensor: int) -> bool:
        """Whether a tensor is an output of the file, and nothing reads it."""
        return tensor in self.outputs and not any(tensor in reads for reads in self.reads)

    def _named(self, name: str, real: dict[int, int], source: str) -> BorderTensor:
        """The output that `until` asks for."""
        names = [name_of(each) for each in self.graph.tensors]
        known = [i for i, each in enumerate(names) if each == name and i in self.tensors]
        for index in known:
            if index in real:
                return self._border(real[index], index)
            if self.tensors[index] == "core":
                return self._border(index)
        if known:
            position = self.producer.get(known[0])
            made = "is an input" if position is None else f"is made by {describe(self.model, [position])}"
            raise ModelError(f"{source}: `until` {name}: {made}, which is not in the part that TOSA can express")
        inside = [names[i] for i in self.tensors if self.tensors[i] == "core" or i in real]
        near = difflib.get_close_matches(name, inside, n=3, cutoff=0.3) or inside[-3:]
        raise ModelError(f"{source}: `until` {name}: there is no such tensor; the nearest are {', '.join(map(repr, near))}")

    def _ancestors(self, outputs: set[int], everything: bool) -> set[int]:
        """The operators of the part; only those that the outputs need, unless everything is asked for."""
        core = {position for position, place in enumerate(self.place) if place == "core"}
        if everything:
            return core
        needed, open_tensors = set(), list(outputs)
        while open_tensors:
            position = self.producer.get(open_tensors.pop())
            if position in core and position not in needed:
                needed.add(position)
                open_tensors += self.reads[position]
        return needed

    def _file_inputs(self, core: set[int]) -> list[BorderTensor]:
        """What the part reads of the file's inputs, or of what stands in front, in the order of the file's inputs."""
        inner = {i for position in core for i in self.makes[position]}
        read = [self.read_instead(position, i) for position in sorted(core) for i in self.reads[position]]
        unread = [i for i in self.inputs if self.dtypes[i] in _INTEGERS and not any(i in each for each in self.reads)]
        found = [self._input(i) for i in dict.fromkeys([*read, *unread]) if i in self.tensors and i not in inner]
        names = [name_of(self.graph.tensors[i]) for i in self.inputs]
        order = {name: position for position, name in reversed(list(enumerate(names)))}
        return sorted(found, key=lambda each: (order.get(each.name, len(names)), each.index))

    def _border(self, index: int, outer: int | None = None) -> BorderTensor:
        inner = name_of(self.graph.tensors[index])
        return BorderTensor(index, inner, inner if outer is None else name_of(self.graph.tensors[outer]), outer)

    def _input(self, index: int) -> BorderTensor:
        position = self.producer.get(index)
        if position is not None and self.kinds[position] == "QUANTIZE" and self.reads[position][0] in self.inputs:
            outer = self.reads[position][0]
            if self.dtypes[outer] in _REALS:
                return self._border(index, outer)
        return self._border(index)
