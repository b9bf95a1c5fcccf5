# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Modules of one TOSA op, with inputs full of ties and extremes: what conformance and the twin's tests compare engines on.

Names and contents follow from this file alone, so that test/conformance/ops.npz needs to hold answers only.
"""

from __future__ import annotations

import dataclasses
import itertools
import zlib
from collections.abc import Iterator, Sequence

import numpy as np
from runtime_modules import constant, function, tensor
from tosa_rescale_runtime import Module

DTYPES = {"i1": np.bool_, "i8": np.int8, "i16": np.int16, "i32": np.int32, "i48": np.int64}
LIMITS = {"i1": (0, 1), "i8": (-128, 127), "i16": (-(1 << 15), (1 << 15) - 1), "i32": (-(1 << 31), (1 << 31) - 1)}
KINDS = ("ties", "ends", "any")
"""How inputs are drawn: from three values, from the ends of the range and around 0, or all alike."""

Operand = tuple[str, np.ndarray] | list[int]


Inputs = Sequence[tuple[str, tuple[int, ...]]]
"""Element and shape of each argument."""


def op_text(kind: str, inputs: Inputs, extra: list[Operand], given: str, result: str, tag: str) -> tuple[list, str, tuple]:
    """The parts of a function for one op; see `op_module`.

    Args:
        tag: makes the names of its values unique.

    Returns:
        Arguments, body and result, for `function`.
    """
    body, names, kinds = "", [], []
    for index, operand in enumerate(extra):
        name = f"c{tag}_{index}"
        if isinstance(operand, list):
            rank = len(operand)
            body += (
                f'    %{name} = "tosa.const_shape"() <{{values = dense<{operand}> : tensor<{rank}xindex>}}>'
                f" : () -> !tosa.shape<{rank}>\n"
            )
            kinds.append(f"!tosa.shape<{rank}>")
        else:
            body += constant(name, operand[1], operand[0])
            kinds.append(tensor(operand[1].shape, operand[0]))
        names.append(name)
    arguments = [(f"x{tag}_{i}", tensor(shape, element)) for i, (element, shape) in enumerate(inputs)]
    operands = ", ".join(f"%{name}" for name in [*(name for name, _ in arguments), *names])
    types = ", ".join([*(kind for _, kind in arguments), *kinds])
    properties = f" <{{{given}}}>" if given else ""
    body += f'    %y{tag} = "tosa.{kind}"({operands}){properties} : ({types}) -> {result}\n'
    return arguments, body, (f"y{tag}", result)


def op_module(kind: str, inputs: Inputs, extra: list[Operand], given: str, result: str) -> Module:
    """A module of one op.

    Args:
        kind: of the op.
        inputs: element and shape of each argument.
        extra: operands behind them: constants (element, array), or shapes.
        given: the op's properties, as text.
        result: type of the result.
    """
    arguments, body, returned = op_text(kind, inputs, extra, given, result, "")
    return Module.parse(function(arguments, body, [returned]))


@dataclasses.dataclass(frozen=True, eq=False)
class OpCase:
    """One op and its inputs.

    Attributes:
        name: unique.
        kind: of the op.
        inputs: element and integers of each argument.
        extra: constants and shapes behind them.
        given: properties, as text.
        shape, element: of the result.
    """

    name: str
    kind: str
    inputs: tuple[tuple[str, np.ndarray], ...]
    extra: list[Operand]
    given: str
    shape: tuple[int, ...]
    element: str

    def module(self) -> Module:
        """The module; its arguments have exactly the inputs' shapes."""
        return module_of([self])

    @property
    def arrays(self) -> list[np.ndarray]:
        """The inputs."""
        return [array for _, array in self.inputs]


def module_of(cases: Sequence[OpCase]) -> Module:
    """A module of several cases: their inputs one after the other, and an output for each."""
    arguments, body, results = [], "", []
    for tag, case in enumerate(cases):
        shapes = [(element, array.shape) for element, array in case.inputs]
        kind = tensor(case.shape, case.element)
        own, text, result = op_text(case.kind, shapes, case.extra, case.given, kind, str(tag))
        arguments, body, results = arguments + own, body + text, [*results, result]
    return Module.parse(function(arguments, body, results))


def rng_of(name: str) -> np.random.Generator:
    """Random numbers that depend on a case's name alone."""
    return np.random.default_rng(zlib.crc32(name.encode()))


def draw(rng: np.random.Generator, how: str, shape: tuple[int, ...], element: str, low: int, high: int) -> np.ndarray:
    """Integers in low..high; see KINDS."""
    if how == "any" or element == "i1":
        values = rng.integers(low, high, shape, np.int64, endpoint=True)
    else:
        few = [low, low + 1, high - 1, high, *(v for v in (-1, 0, 1) if low <= v <= high)]
        values = rng.choice(few if how == "ends" else rng.integers(low, high, 3, endpoint=True), shape)
    return values.astype(DTYPES[element])


class Cases:
    """Collects cases of one op after the other."""

    def __init__(self) -> None:
        self.found: list[OpCase] = []

    def add(
        self,
        kind: str,
        inputs: Sequence[tuple[str, tuple[int, ...]]],
        extra: list[Operand],
        given: str,
        result: tuple[tuple[int, ...], str],
        limits: tuple[int, int] | None = None,
        label: str = "",
    ) -> None:
        """Adds an op with each way to draw its inputs.

        Args:
            kind, extra, given: see `OpCase`.
            inputs: element and shape of each argument.
            result: shape and element of the result.
            limits: of the inputs; None: those of their type.
            label: tells cases of one op apart.
        """
        for how in KINDS if any(element != "i1" for element, _ in inputs) else KINDS[-1:]:
            name = "-".join(each for each in (kind, inputs[0][0], label, how) if each)
            rng = rng_of(name)
            arrays = tuple((e, draw(rng, how, shape, e, *(limits or LIMITS[e]))) for e, shape in inputs)
            self.found.append(OpCase(name, kind, arrays, extra, given, *result))

    def put(
        self,
        name: str,
        inputs: Sequence[tuple[str, np.ndarray]],
        extra: list[Operand],
        given: str,
        result: tuple[tuple[int, ...], str],
    ) -> None:
        """Adds one op with these inputs; its name begins with its kind."""
        self.found.append(OpCase(name, name.split("-")[0], tuple(inputs), extra, given, *result))


def zero(element: str, value: int = 0) -> Operand:
    return element, np.array([value], DTYPES[element])


def listed(**values: Sequence[int]) -> str:
    return ", ".join(f"{name} = array<i64: {', '.join(map(str, v))}>" for name, v in values.items())


def places(extent: int, kernel: int, before: int, after: int, stride: int, dilation: int = 1) -> int:
    """How many places a window has on one dimension; stride divides what is left, as the specification asks."""
    reach = extent + before + after - (kernel - 1) * dilation - 1
    assert reach % stride == 0
    return reach // stride + 1


def _pools(cases: Cases) -> None:
    for element in ("i8", "i16"):
        for shape, axis in (((3, 5, 7), 0), ((3, 5, 7), 1), ((2, 3, 21), 2), ((1, 4, 4, 3), 3), ((9,), 0)):
            left = shape[:axis] + shape[axis + 1 :]
            label = "x".join(map(str, shape)) + f"-{axis}"
            cases.add("argmax", [(element, shape)], [], f"axis = {axis} : i32", (left, "i32"), label=label)
        for kernel, stride, pad, size in (
            ((3, 2), (1, 1), (1, 0, 1, 0), (7, 5)),
            ((2, 3), (2, 2), (0, 1, 1, 1), (5, 7)),
            ((7, 5), (1, 1), (0, 0, 0, 0), (7, 5)),
            ((1, 1), (2, 1), (0, 0, 0, 0), (7, 4)),
        ):
            (h, w), (top, bottom, left_, right) = size, pad
            out = (
                places(h, kernel[0], top, bottom, stride[0]),
                places(w, kernel[1], left_, right, stride[1]),
            )
            given, label = listed(kernel=kernel, stride=stride, pad=pad), "x".join(map(str, (*kernel, *size)))
            cases.add("max_pool2d", [(element, (2, h, w, 3))], [], given, ((2, *out, 3), element), label=label)
            for zps in ((0, 0), (-128, 127), (127, -128), (3, -5)) if element == "i8" else ((0, 0),):
                extra = [zero(element, zp) for zp in zps]
                named = f"{label}-{zps[0]},{zps[1]}"
                result = (2, *out, 3), element
                cases.add("avg_pool2d", [(element, (2, h, w, 3))], extra, f"acc_type = i32, {given}", result, label=named)


def _macs(cases: Cases) -> None:
    rng = rng_of("weights")
    for element, acc, zps in (("i8", "i32", (0, -128, 127, 5)), ("i16", "i48", (0,))):
        big = 1 << (30 if acc == "i32" else 46)
        for zp, (pad, stride, dilation, size) in itertools.product(
            zps,
            (
                ((0, 0, 0, 0), (1, 1), (1, 1), (5, 6)),
                ((1, 1, 0, 1), (2, 1), (1, 2), (7, 7)),
                ((1, 1, 1, 1), (1, 1), (1, 1), (3, 5)),
            ),
        ):
            out = tuple(places(size[i], (3, 2)[i], pad[2 * i], pad[2 * i + 1], stride[i], dilation[i]) for i in range(2))
            given = f"acc_type = {acc}, " + listed(pad=pad, stride=stride, dilation=dilation)
            label = "x".join(map(str, (*size, *stride))) + f"-{zp}"
            for kind, weight, channels in (("conv2d", (4, 3, 2, 3), 4), ("depthwise_conv2d", (3, 2, 3, 2), 6)):
                w = rng.choice([-128, -127, 0, 1, 127, 3], weight).astype(np.int8)
                bias = rng.integers(-big, big, channels if zp != 5 else 1).astype(DTYPES[acc])
                # A zero point of the weights is legal with 8-bit inputs.
                extra = [("i8", w), (acc, bias), zero(element, zp), zero("i8", -7 if zp == 127 else 0)]
                cases.add(kind, [(element, (2, *size, 3))], extra, given, ((2, *out, channels), acc), label=label)
        w = rng.integers(-127, 128, (3, 2, 3, 2, 2)).astype(np.int8)
        extra = [("i8", w), (acc, rng.integers(-big, big, 3).astype(DTYPES[acc])), zero(element, zps[-1]), zero("i8")]
        given = f"acc_type = {acc}, " + listed(pad=(1, 0, 0, 1, 1, 1), stride=(1, 2, 1), dilation=(1, 1, 2))
        out = (places(3, 2, 1, 0, 1), places(4, 3, 0, 1, 2), places(5, 2, 1, 1, 1, 2))
        cases.add("conv3d", [(element, (2, 3, 4, 5, 2))], extra, given, ((2, *out, 3), acc))
        for out_pad, stride in (((0, 0, 0, 0), (2, 3)), ((-1, 0, -1, 1), (1, 2)), ((1, 2, 0, 1), (2, 1))):
            size = tuple((n - 1) * s + out_pad[2 * i] + out_pad[2 * i + 1] + k for i, (n, s, k) in
                         enumerate(zip((3, 4), stride, (3, 2), strict=True)))  # fmt: skip
            w = rng.integers(-128, 128, (4, 3, 2, 3)).astype(np.int8)
            extra = [("i8", w), (acc, rng.integers(-big, big, 4).astype(DTYPES[acc])), zero(element, zps[-1]), zero("i8")]
            given = f"acc_type = {acc}, " + listed(out_pad=out_pad, stride=stride)
            label = ",".join(map(str, (*out_pad, *stride)))
            cases.add("transpose_conv2d", [(element, (2, 3, 4, 3))], extra, given, ((2, *size, 4), acc), label=label)
        # Many inputs at the ends: partial sums pass 2^24, and with 16 bits 2^38.
        w = rng.choice([-128, 127], (2, 1, 1, 1200)).astype(np.int8)
        extra = [("i8", w), (acc, np.array([1, -3], DTYPES[acc])), zero(element, zps[-1]), zero("i8")]
        given = f"acc_type = {acc}, " + listed(pad=(0,) * 4, stride=(1, 1), dilation=(1, 1))
        cases.add("conv2d", [(element, (3, 1, 1, 1200))], extra, given, ((3, 1, 1, 2), acc), label="deep")
        for zp in zps:
            extra = [zero(element, zp), zero(element, -zp if zp != -128 else 127)]
            inputs = [(element, (3, 5, 70)), (element, (3, 70, 2))]
            cases.add("matmul", inputs, extra, "", ((3, 5, 2), acc), label=str(zp))


def _elements(cases: Cases) -> None:
    pair = [("i32", (3, 1, 40)), ("i32", (1, 7, 40))]
    both = (3, 7, 40)
    for kind in ("add", "sub"):
        cases.add(kind, pair, [], "", (both, "i32"), (-(1 << 30), (1 << 30) - 1))
    for kind in ("maximum", "minimum"):
        cases.add(kind, pair, [], "", (both, "i32"))
    for kind in ("equal", "greater", "greater_equal"):
        cases.add(kind, pair, [], "", (both, "i1"))
    for element in ("i8", "i16"):
        cases.add("mul", [(element, (3, 1, 40)), (element, (1, 7, 40))], [zero("i8")], "", (both, "i32"))
    cases.add("mul", pair, [zero("i8")], "", (both, "i32"), (-46340, 46340))
    for shift in (1, 2, 17, 31, 40, 62):
        # The result must fit 32 bits.
        limit = min(1 << (31 + shift) // 2, 1 << 31) - 1
        cases.add("mul", pair, [zero("i8", shift)], "", (both, "i32"), (-limit, limit), label=f"shift{shift}")
    cases.add("abs", [("i32", (5, 40))], [], "", ((5, 40), "i32"), (1 - (1 << 31), (1 << 31) - 1))
    for element, zps in (("i8", (0, -128, 127, 9)), ("i16", (0,)), ("i32", (0,))):
        limits = (1 - (1 << 31), (1 << 31) - 1) if element == "i32" else None
        for a, b in itertools.product(zps, zps):
            extra = [zero(element, a), zero(element, b)]
            cases.add("negate", [(element, (5, 40))], extra, "", ((5, 40), element), limits, f"{a},{b}")
    for element, (low, high) in itertools.product(("i8", "i16"), ((-128, 127), (-5, 99), (0, 0), (-128, -100), (6, 127))):
        given = f"min_val = {low} : {element}, max_val = {high} : {element}, nan_mode = #tosa.nan_mode<PROPAGATE>"
        cases.add("clamp", [(element, (5, 40))], [], given, ((5, 40), element), label=f"{low},{high}")
    for source, target in itertools.permutations(("i1", "i8", "i16", "i32"), 2):
        cases.add("cast", [(source, (5, 40))], [], "", ((5, 40), target), label=target)
    for element in ("i1", "i8", "i16", "i32"):
        rng = rng_of(f"select-{element}")
        picked = ("i1", rng.integers(0, 2, (3, 1, 40)).astype(bool))
        a, b = ((element, draw(rng, "any", shape, element, *LIMITS[element])) for shape in ((3, 7, 1), (1, 7, 40)))
        cases.put(f"select-{element}", [picked, a, b], [], "", (both, element))
    a, b = (draw(rng_of(name), "any", (3, 40), "i32", *LIMITS["i32"]) for name in ("dividend", "divisor"))
    b[:, :20] = draw(rng_of("small"), "any", (3, 20), "i32", -9, 9)
    a[:, :4], b[:, :4] = (-(1 << 31), (1 << 31) - 1, 7, -7), (2, -1, 2, 2)
    cases.put("intdiv-i32", [("i32", a), ("i32", np.where(b == 0, 3, b).astype(np.int32))], [], "", ((3, 40), "i32"))


def _bits(cases: Cases) -> None:
    for element, bits in (("i8", 8), ("i16", 16), ("i32", 32)):
        shape = (3, 200)
        for kind in ("bitwise_and", "bitwise_or", "bitwise_xor"):
            cases.add(kind, [(element, (3, 1, 9)), (element, (1, 5, 9))], [], "", ((3, 5, 9), element))
        cases.add("bitwise_not", [(element, (3, 9))], [], "", ((3, 9), element))
        for how in ("ends", "any"):
            rng = rng_of(f"shift-{element}-{how}")
            x = element, draw(rng, how, shape, element, *LIMITS[element])
            right = element, rng.integers(0, bits, shape).astype(DTYPES[element])
            left = element, rng.integers(0, min(32, bits), shape).astype(DTYPES[element])
            for flag in ("true", "false"):
                given = f"round = {flag}"
                cases.put(f"arithmetic_right_shift-{element}-{flag}-{how}", [x, right], [], given, (shape, element))
            cases.put(f"logical_right_shift-{element}-{how}", [x, right], [], "", (shape, element))
            cases.put(f"logical_left_shift-{element}-{how}", [x, left], [], "", (shape, element))
    for kind in ("logical_and", "logical_or", "logical_xor"):
        cases.add(kind, [("i1", (3, 1, 9)), ("i1", (1, 5, 9))], [], "", ((3, 5, 9), "i1"))
    cases.add("logical_not", [("i1", (3, 9))], [], "", ((3, 9), "i1"))
    powers = np.concatenate([[0, -1, -(1 << 31)], *([(1 << n) - 1, 1 << n] for n in range(31))]).astype(np.int32)
    cases.put("clz-i32", [("i32", powers[None])], [], "", ((1, len(powers)), "i32"))


def _tables(cases: Cases) -> None:
    rng = rng_of("tables")
    x = np.arange(-128, 128).astype(np.int8).reshape(2, 128)
    cases.put("table-i8", [("i8", x)], [("i8", rng.integers(-128, 128, 256).astype(np.int8))], "", ((2, 128), "i8"))
    # Neighbours may differ by 16 bits at most.
    entries = {"rising": np.arange(-256, 257) * 127, "any": rng.integers(-16000, 16000, 513), "low": np.full(513, -32768)}
    x = np.arange(-(1 << 15), 1 << 15, 7).astype(np.int16)
    x = np.concatenate([x, [-32768, 32767, 0, -1, 127, 128, -128, -129]]).astype(np.int16)[None]
    for name, table in entries.items():
        cases.put(f"table-i16-{name}", [("i16", x)], [("i16", table.astype(np.int16))], "", (x.shape, "i32"))
    # Up, down, and by odd fractions; offsets before the first pixel.
    for element, mode, (scale, offset, border, size) in itertools.product(
        ("i8", "i16"),
        ("NEAREST_NEIGHBOR", "BILINEAR"),
        (
            ((4, 2, 6, 4), (-1, 1), (1, 1), (3, 4)),
            ((2, 1, 2, 1), (0, 0), (0, 0), (3, 3)),
            ((2, 1, 2, 1), (0, 0), (1, 1), (3, 3)),
            ((4, 8, 2, 6), (2, 1), (-2, 1), (7, 11)),
            ((3, 5, 7, 2), (0, -2), (0, 0), (6, 4)),
            ((1, 1, 16, 15), (0, 0), (0, 0), (2, 16)),
        ),
    ):
        extents = []
        for axis in range(2):
            n, d = scale[2 * axis : 2 * axis + 2]
            reach = (size[axis] - 1) * n - offset[axis] + border[axis]
            # The border takes what does not divide.
            border = tuple(b - reach % d if i == axis else b for i, b in enumerate(border))
            extents.append((reach - reach % d) // d + 1)
        target = element if mode != "BILINEAR" else {"i8": "i32", "i16": "i48"}[element]
        extra: list[Operand] = [list(scale), list(offset), list(border)]
        label = f"{mode[:4]}-{','.join(map(str, (*scale, *offset)))}-{border[0]}"
        result = (2, *extents, 3), target
        cases.add("resize", [(element, (2, *size, 3))], extra, f"mode = #tosa.resize_mode<{mode}>", result, label=label)


def _reductions(cases: Cases) -> None:
    shape = (3, 5, 7)
    for axis in range(3):
        result, given = (*shape[:axis], 1, *shape[axis + 1 :]), f"axis = {axis} : i32"
        limit = (1 << 31) // 7 - 1
        cases.add("reduce_sum", [("i32", shape)], [], given, (result, "i32"), (-limit, limit), str(axis))
        for element, kind in itertools.product(("i8", "i16", "i32"), ("reduce_max", "reduce_min")):
            cases.add(kind, [(element, shape)], [], given, (result, element), label=str(axis))
        for kind in ("reduce_all", "reduce_any"):
            # Mostly alike, so that both answers occur.
            flags = rng_of(f"{kind}-{axis}").integers(0, 8, shape)
            x = flags > 0 if kind == "reduce_all" else flags == 0
            cases.put(f"{kind}-i1-{axis}", [("i1", x)], [], given, (result, "i1"))


def _movements(cases: Cases) -> None:
    shape = (2, 3, 4)
    for element in ("i1", "i8", "i16", "i32"):
        fill: Operand = element, np.array([LIMITS[element][0] if element != "i1" else 1], DTYPES[element])
        rows: list[tuple[str, list[Operand], str, tuple[int, ...]]] = [
            ("reshape", [[4, 3, 2]], "", (4, 3, 2)),
            ("transpose", [], "perms = array<i32: 2, 0, 1>", (4, 2, 3)),
            ("slice", [[1, 0, 2], [1, 3, 2]], "", (1, 3, 2)),
            ("pad", [[1, 0, 0, 2, 1, 1], fill], "", (3, 5, 6)),
            ("reverse", [], "axis = 1 : i32", shape),
            ("tile", [[2, 1, 3]], "", (4, 3, 12)),
            ("identity", [], "", shape),
        ]
        for kind, extra, given, result in rows:
            cases.add(kind, [(element, shape)], extra, given, (result, element))
        for axis in range(3):
            other = tuple(n + 1 if i == axis else n for i, n in enumerate(shape))
            result = tuple(2 * n + 1 if i == axis else n for i, n in enumerate(shape))
            given = f"axis = {axis} : i32"
            cases.add("concat", [(element, shape), (element, other)], [], given, (result, element), label=str(axis))
        if element == "i1":
            continue
        rng = rng_of(f"gather-{element}")
        values, new = (element, draw(rng, "any", (2, 6, 3), element, *LIMITS[element])), (2, 4, 3)
        index = rng.integers(0, 6, (2, 4)).astype(np.int32)
        cases.put(f"gather-{element}", [values, ("i32", index)], [], "", (new, element))
        index = np.stack([rng.permutation(6)[:4] for _ in range(2)]).astype(np.int32)
        given_ = element, draw(rng, "any", new, element, *LIMITS[element])
        cases.put(f"scatter-{element}", [values, ("i32", index), given_], [], "", ((2, 6, 3), element))


def op_cases() -> Iterator[OpCase]:
    """All cases, in a fixed order."""
    cases = Cases()
    for family in (_pools, _macs, _elements, _bits, _tables, _reductions, _movements):
        family(cases)
    names = [case.name for case in cases.found]
    assert len(set(names)) == len(names)
    yield from cases.found
