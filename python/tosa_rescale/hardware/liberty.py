# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Liberty files: what synthesis, simulation and power need to know of a standard-cell library.

Delay and energy tables stay with the tools, which read the files themselves. Parsers on PyPI build a tree of every table,
which takes minutes for the tens of megabytes of a library of today; here only the groups around cells and pins are walked.
"""

from __future__ import annotations

import bisect
import dataclasses
import gzip
import pathlib
import re
import zlib
from collections.abc import Iterator, Sequence, Set

from tosa_rescale.core.errors import DataError
from tosa_rescale.core.files import PathLike

_SECONDS = {"fs": 1e-3, "ps": 1.0, "ns": 1e3, "us": 1e6}  # in picoseconds
_FARADS = {"ff": 1.0, "pf": 1e3}  # in femtofarads
_WATTS = {"pw": 1e-6, "nw": 1e-3, "uw": 1.0, "mw": 1e3, "w": 1e6}  # in microwatts
_TOO_COARSE = "give a library with non-linear delay tables (NLDM)"


@dataclasses.dataclass(frozen=True)
class Cell:
    """One cell.

    Attributes:
        name: as netlists have it.
        leakage: in uW.
        inputs: pin to capacitance in fF.
        outputs: pin to function, in Liberty's notation; of a flip-flop, over `state`.
        state: names of a flip-flop's state and its inverse; empty for logic.
        next_state: what the flip-flop takes at the clock's edge; empty for logic and latches.
        clock: the pin of the clock, with its function.
        forced: functions that clear and preset the flip-flop whatever the clock does.
        usable: not marked `dont_use`.
        area: in um2.
        drive: largest load that its outputs may have, in fF.
    """

    name: str
    leakage: float
    inputs: dict[str, float]
    outputs: dict[str, str]
    state: tuple[str, ...] = ()
    next_state: str = ""
    clock: str = ""
    forced: tuple[str, ...] = ()
    usable: bool = True
    area: float = 0.0
    drive: float = 0.0


@dataclasses.dataclass(frozen=True)
class Library:
    """Liberty files that belong together.

    Attributes:
        name: of the first file's library, without the corner that ends it.
        files: uncompressed.
        lean: the same without tables of power, for tools that read none: most of a file.
        cells: by name.
        voltage: nominal, in V.
        femtofarads: in one of the files' own unit of capacitance.
    """

    name: str
    files: tuple[pathlib.Path, ...]
    lean: tuple[pathlib.Path, ...]
    cells: dict[str, Cell]
    voltage: float
    femtofarads: float = 1.0

    def driver(self) -> str:
        """The buffer that stands for what drives a block's inputs: of twice the drive of the weakest."""
        buffers = [cell for cell in self.cells.values() if cell.usable and _is_buffer(cell)]
        if not buffers:
            raise DataError(f"{self.name}: has no buffer; add the library's file of buffers and inverters")
        # Delay cells are buffers too; they are large for what they drive.
        strength = max(cell.drive / max(cell.area, 1e-9) for cell in buffers)
        real = [cell for cell in buffers if 4 * cell.drive >= strength * cell.area]
        weakest = min(cell.drive for cell in real)
        return min(real, key=lambda cell: (abs(cell.drive - 2 * weakest), cell.area, cell.name)).name

    def load(self) -> float:
        """What an output drives, in fF: four inputs of that buffer."""
        return 4 * sum(self.cells[self.driver()].inputs.values())


def _is_buffer(cell: Cell) -> bool:
    if len(cell.inputs) != 1 or len(cell.outputs) != 1 or cell.state:
        return False
    return re.sub(r"[()\s]", "", next(iter(cell.outputs.values()))) == next(iter(cell.inputs))


def read_library(paths: Sequence[PathLike], folder: pathlib.Path) -> Library:
    """Reads Liberty files, plain or gzip, that make up one library.

    Args:
        paths: the files; one of them must have flip-flops.
        folder: where uncompressed copies go, for the tools.

    Raises:
        DataError: a file is missing or is not Liberty, has no delay tables, or none has flip-flops or buffers; the files'
            voltages differ.
    """
    if not paths:
        raise DataError("liberty: no file is given; give the .lib or .lib.gz files of one library")
    cells: dict[str, Cell] = {}
    names, voltages, files, lean, units = [], [], [], [], []
    for index, path in enumerate(paths):
        text = _text(path)
        groups = _Groups(_without_comments(text))
        name, body = groups.library(path)
        found = {cell.name: cell for cell in groups.cells(path, body)}
        if not found:
            raise DataError(f"{path}: has no cells; give a standard-cell library")
        if not re.search(r"\bcell_rise\b", text) or not re.search(r"\bcell_fall\b", text):
            raise DataError(f"{path}: has no delay tables (cell_rise, cell_fall); {_TOO_COARSE}")
        cells |= found
        names.append(name)
        voltages.append(groups.number(body, "nom_voltage", 0.0))
        units.append(groups.farads(path))
        files.append(folder / f"{index}.lib")
        files[-1].write_text(text)
        lean.append(folder / f"{index}-lean.lib")
        lean[-1].write_text(groups.without({"internal_power", "leakage_power", "output_current_rise", "output_current_fall"}))
    where = ", ".join(str(path) for path in paths)
    if len(set(voltages)) > 1:
        raise DataError(f"{where}: nominal voltages differ ({voltages}); give files of one library and corner")
    if not any(cell.next_state and cell.usable for cell in cells.values()):
        raise DataError(f"{where}: has no flip-flops (`ff` groups); add the library's file of sequential cells")
    if len(set(units)) > 1:
        raise DataError(f"{where}: units of capacitance differ; give files of one library")
    library = Library(_plain_name(names), tuple(files), tuple(lean), cells, voltages[0], units[0])
    library.driver()
    return library


def _plain_name(names: Sequence[str]) -> str:
    """The library's name: what the files' names have in common, without the corner's voltage and temperature."""
    first = re.split(r"_(?:typ|slow|fast|tt|ss|ff)(?:_|$)", names[0], flags=re.IGNORECASE)[0]
    if len(names) == 1:
        return first
    common = re.split(r"_(?:AO|OA|SEQ|SIMPLE|INVBUF)(?:_|$)", first)[0]
    return common if all(name.startswith(common) for name in names) else first


def _text(path: PathLike) -> str:
    try:
        data = pathlib.Path(path).read_bytes()
        if data[:2] == b"\x1f\x8b":
            data = gzip.decompress(data)
        return data.decode("latin-1")
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(
            f"{path}: cannot be read ({getattr(error, 'strerror', None) or error}); give a .lib or .lib.gz file"
        ) from None


def _without_comments(text: str) -> str:
    return re.sub(r"/\*.*?\*/|//[^\n]*", "", text, flags=re.DOTALL)


class _Groups:
    """The nesting of a Liberty text. A body is a pair of positions: behind a group's brace, and of the one that closes it."""

    def __init__(self, text: str) -> None:
        self.text = text
        self._ends: dict[int, int] = {}
        stack: list[int] = []
        self.whole = True
        for found in re.finditer(r"[{}]", text):
            if found[0] == "{":
                stack.append(found.start())
            elif stack:
                self._ends[stack.pop()] = found.start()
            else:
                self.whole = False
        self.whole = self.whole and not stack
        self._opens = sorted(self._ends)

    def library(self, path: PathLike) -> tuple[str, tuple[int, int]]:
        """Name and body of the file's library."""
        start = re.match(r"\s*library\s*\(\s*\"?([^)\"]*)\"?\s*\)\s*\{", self.text)
        if start is None:
            raise DataError(
                f"{path}: is no Liberty file (it does not begin with `library (...) {{`); give a .lib or .lib.gz file"
            )
        if not self.whole:
            raise DataError(f"{path}: is cut off (its braces do not close); fetch the file anew")
        return start[1].strip(), (start.end(), self._ends[start.end() - 1])

    def inside(self, body: tuple[int, int]) -> Iterator[tuple[str, str, tuple[int, int]]]:
        """Kind, name and body of each group directly in a body."""
        position, end = body
        while True:
            index = bisect.bisect_left(self._opens, position)
            if index == len(self._opens) or self._opens[index] >= end:
                return
            brace = self._opens[index]
            head = re.search(r"(\w+)\s*\(([^()]*)\)\s*$", self.text[max(position, brace - 400) : brace])
            if head is not None:
                yield head[1], head[2].strip().strip('"'), (brace + 1, self._ends[brace])
            position = self._ends[brace] + 1

    def without(self, kinds: Set[str]) -> str:
        """The text without groups of some kinds."""
        parts, position = [], 0
        for found in re.finditer(rf"\b(?:{'|'.join(sorted(kinds))})\s*\([^()]*\)\s*\{{", self.text):
            if found.start() >= position:
                parts.append(self.text[position : found.start()])
                position = self._ends[found.end() - 1] + 1
        return "".join([*parts, self.text[position:]])

    def attribute(self, body: tuple[int, int], name: str) -> str:
        """A simple attribute's value, without quotes; empty where it is missing. Groups in the body are passed over."""
        position, end = body
        for _, _, (start, stop) in self.inside(body):
            found = self._find(name, position, start)
            if found:
                return found
            position = stop
        return self._find(name, position, end)

    def _find(self, name: str, start: int, end: int) -> str:
        found = re.compile(rf'\b{name}\s*:\s*(?:"([^"]*)"|([^;\n]*))').search(self.text, start, end)
        return (found[1] or found[2] or "").strip() if found else ""

    def number(self, body: tuple[int, int], name: str, missing: float) -> float:
        try:
            return float(self.attribute(body, name))
        except ValueError:
            return missing

    def farads(self, path: PathLike) -> float:
        """The unit of capacitance, in fF."""
        found = re.search(r"\bcapacitive_load_unit\s*\(\s*([\d.]+)\s*,\s*\"?(\w+)\"?\s*\)", self.text)
        return _unit(path, "capacitive_load_unit", f"{found[1]}{found[2]}" if found else "", _FARADS)

    def cells(self, path: PathLike, library: tuple[int, int]) -> Iterator[Cell]:
        """The cells of a library's body."""
        watts = _unit(path, "leakage_power_unit", self.attribute(library, "leakage_power_unit") or "1nW", _WATTS)
        farads = self.farads(path)
        _unit(path, "time_unit", self.attribute(library, "time_unit"), _SECONDS)
        for kind, name, body in self.inside(library):
            if kind == "cell":
                yield self._cell(name, body, watts, farads)

    def _cell(self, name: str, body: tuple[int, int], watts: float, farads: float) -> Cell:
        inputs, outputs, drive = {}, {}, 0.0
        leakages: dict[str, list[float]] = {}  # by the supply that it is drawn from, one for each state of the inputs
        sequential: dict[str, object] = {}
        for kind, label, inner in self.inside(body):
            if kind == "pin":
                if self.attribute(inner, "direction") == "input":
                    inputs[label] = farads * self.number(inner, "capacitance", 0.0)
                else:
                    outputs[label] = self.attribute(inner, "function")
                    drive = max(drive, farads * self.number(inner, "max_capacitance", 0.0))
            elif kind in ("ff", "latch"):
                sequential = {
                    "state": tuple(part.strip().strip('"') for part in label.split(",")),
                    "next_state": self.attribute(inner, "next_state"),
                    "clock": self.attribute(inner, "clocked_on"),
                    "forced": tuple(filter(None, (self.attribute(inner, "clear"), self.attribute(inner, "preset")))),
                }
            elif kind == "leakage_power":
                leakages.setdefault(self.attribute(inner, "related_pg_pin"), []).append(self.number(inner, "value", 0.0))
        mean = sum(sum(each) / len(each) for each in leakages.values())
        leakage = watts * self.number(body, "cell_leakage_power", mean)
        usable = self.attribute(body, "dont_use") != "true"
        area = self.number(body, "area", 0.0)
        return Cell(name, leakage, inputs, outputs, usable=usable, area=area, drive=drive, **sequential)  # type: ignore[arg-type]


def _unit(path: PathLike, name: str, said: str, known: dict[str, float]) -> float:
    found = re.fullmatch(r"([\d.]+)\s*([a-zA-Z]+)", said.strip())
    if found is None or found[2].lower() not in known:
        raise DataError(f"{path}: {name} is `{said}`, which is none of {', '.join(known)}; give a complete library")
    return float(found[1]) * known[found[2].lower()]
