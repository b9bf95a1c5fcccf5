# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""What Python users meet in a notebook: values that show themselves, and arguments in every form that is at hand."""

from __future__ import annotations

import base64
import io
import pathlib
import re
import sys
import types
import xml.etree.ElementTree as ET
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
import tosa_rescale as tr
from tosa_rescale.core.display import Summary, draws
from tosa_rescale.core.errors import DataError, ModelError, OptionError, TosaRescaleError
from tosa_rescale.core.parsing import parse_widths
from tosa_rescale.core.progress import Bars, Cell, Silent, chosen
from tosa_rescale.sweeping.results import read_sweep

FAST = ("iree", "iree-constant")
UNTYPED: Any = tr
"""The package as those see it who have no type checker."""


@pytest.fixture(scope="module")
def arrays(digits: tr.Dataset) -> tuple[np.ndarray, np.ndarray]:
    """The first digits and their classes."""
    assert isinstance(digits.samples, np.ndarray) and isinstance(digits.labels, np.ndarray)
    return digits.samples[:24], digits.labels[:24]


@pytest.fixture(scope="module")
def swept(demo: tr.Model, arrays: tuple[np.ndarray, np.ndarray], tmp_path_factory: pytest.TempPathFactory) -> tr.SweepResult:
    return tr.sweep(demo, arrays, tmp_path_factory.mktemp("swept"), bits="1-2", methods="narrow")


def rows_of(html: str) -> list[list[str]]:
    """The cells of an HTML table; what is no well-formed markup fails."""
    table = ET.fromstring(f"<div>{html}</div>").find("table")
    assert table is not None
    return [["".join(cell.itertext()) for cell in row] for row in table.iter("tr")]


# -- values show themselves --------------------------------------------------------------------------------------------


def test_a_model_is_three_lines(demo: tr.Model) -> None:
    assert repr(demo).splitlines() == [
        "digits_int8.tflite: 21 rescales, widest 31 bits",
        "  takes image int8 [1, 8, 8, 1], gives Identity int8 [1, 10]",
        "  steps: none, as it came",
    ]
    narrowed = demo.narrow(3, scope="all").narrow(1)
    title, _, steps = repr(narrowed).splitlines()
    assert title.endswith("widest 3 bits") and steps == "  steps: narrow bits=3, then narrow bits=1"


def test_a_models_table_counts_the_widths_of_its_rescales(demo: tr.Model) -> None:
    narrowed = demo.narrow(2)
    rows = dict(rows_of(narrowed._repr_html_()))
    widths = [each.bits or 0 for each in narrowed.info()]
    assert rows["rescales by bits"] == ", ".join(f"{k}: {widths.count(k)}" for k in sorted(set(widths)))
    assert rows["takes"] == "image int8 [1, 8, 8, 1]" and rows["steps"] == "narrow bits=2"


def test_an_evaluation_shows_the_figures_that_it_has(demo: tr.Model, arrays: tuple[np.ndarray, np.ndarray]) -> None:
    found = demo.narrow(2).evaluate(arrays, reference=demo)
    rows = dict(rows_of(found._repr_html_()))
    assert rows["samples"] == "24" and rows["max difference"] == f"{found.max_lsb} LSB"
    assert rows["top1"].startswith(f"{found.top1:.2f} %, loss ")
    assert repr(found).splitlines()[0] == "Evaluation" and len(repr(found)) < 1000  # no histogram
    alone = dict(rows_of(demo.evaluate(arrays)._repr_html_()))
    assert "agreement" not in alone and "loss" not in alone["top1"]


def test_a_check_shows_its_verdict_and_is_it(demo: tr.Model) -> None:
    found = demo.check(2, engines="iree, iree-constant")
    assert found and bool(found) is found.bit_exact is True
    assert rows_of(found._repr_html_()) == [
        ["engines", "values", "mismatches", "max LSB"],
        ["iree = iree-constant", "20", "0", "0"],
    ]
    compared = types.SimpleNamespace(values=20, mismatches=1, max_lsb=3, exact=False)
    wrong = tr.CheckResult(2, {("iree", "tf"): compared})  # type: ignore[dict-item]
    assert not wrong and repr(wrong).startswith("NOT bit-exact on 2 samples")


def test_a_data_set_says_what_it_holds(arrays: tuple[np.ndarray, np.ndarray], demo: tr.Model) -> None:
    found = tr.as_dataset(arrays, tr.Preprocessing(mean=0, std=255))
    rows = dict(rows_of(found._repr_html_()))
    classes = arrays[1]
    assert rows["samples"] == "24: uint8 [8, 8, 1]"
    assert rows["labels"] == f"classes {classes.min()} to {classes.max()}, {len(set(classes.tolist()))} of them"
    assert rows["preprocessing"] == "mean=0.0, std=255.0"


def test_a_sweep_is_its_table(swept: tr.SweepResult) -> None:
    rows = rows_of(swept._repr_html_())
    assert rows[0][:2] == ["method", "bits"]
    assert [row[:2] for row in rows[1:]] == [["base", "32"], ["narrow", "2"], ["narrow", "1"]]
    for point, row in zip(swept.points, rows[1:], strict=True):
        assert row[2].split()[0] == f"{point.evaluation.top1:.2f}"
        lost = point is not swept.base and swept.base.evaluation.top1 - point.evaluation.top1 > 0.5  # type: ignore[operator]
        assert row[2].endswith("*") == lost
    assert "*" in repr(swept) and "* loses more than 0.5 points of top1, as measured" in repr(swept)


def test_a_sweep_is_its_chart(swept: tr.SweepResult) -> None:
    pytest.importorskip("matplotlib")
    image = ET.fromstring(f"<div>{swept._repr_html_()}</div>").find("img")
    assert image is not None and image.get("alt", "").startswith("Top-1 accuracy over significant bits k.")
    kind, _, data = image.get("src", "").partition(",")
    assert kind == "data:image/svg+xml;base64"
    drawn = ET.fromstring(base64.b64decode(data))
    texts = ["".join(each.itertext()) for each in drawn.iter("{http://www.w3.org/2000/svg}text")]
    assert {"32", "2", "1", "narrow", "original model"} <= set(texts)


def test_without_matplotlib_the_table_stands_alone(swept: tr.SweepResult, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    assert "<img" not in swept._repr_html_() and len(rows_of(swept._repr_html_())) == 4


def test_names_are_no_markup() -> None:
    summary = Summary("<b>", [("<script>", "a&b")], ("x", '"'), ["<i>"])
    html = summary.html()
    assert not re.search(r"<(b|script|i)>", html)
    assert rows_of(html.removesuffix("<p>&lt;i&gt;</p>")) == [["x", '"'], ["<script>", "a&b"]]
    assert summary.text() == '<b>\n  x           "\n  <script>  a&b\n<i>'


def test_a_drawing_goes_to_subclasses_too() -> None:
    from tosa_rescale.core.display import Shown

    class Base(Shown):
        def summary(self) -> Summary:
            return Summary("t", [("a", "b")])

    class Below(Base):
        pass

    assert Below()._repr_html_().startswith("<table>")
    draws(Base)(lambda _: "<hr/>")
    assert Below()._repr_html_().startswith("<hr/><table>")


# -- arguments in the form at hand -------------------------------------------------------------------------------------


def test_data_of_every_form_gives_the_same(
    demo: tr.Model, arrays: tuple[np.ndarray, np.ndarray], tmp_path: pathlib.Path
) -> None:
    images, labels = arrays
    np.savez(tmp_path / "d.npz", x=images, y=labels)

    def batches() -> Iterator[tuple[np.ndarray, np.ndarray]]:
        for start in range(0, len(images), 5):
            yield images[start : start + 5], labels[start : start + 5]

    forms: list[Any] = [arrays, {"x": images, "y": labels}, batches(), str(tmp_path / "d.npz"), tmp_path / "d.npz"]
    found = [demo.narrow(1).evaluate(each) for each in forms]
    assert len({each.top1 for each in found}) == 1 and {each.samples for each in found} == {24}
    compensated = {demo.compensate(2, calibration=each, samples=8).bytecode for each in (images, [images], tmp_path / "d.npz")}
    assert len(compensated) == 1
    assert demo.check(images[:2], engines=FAST).samples == demo.check([images[:2]], engines=FAST).samples == 2


def test_image_files_are_a_data_set(demo: tr.Model, arrays: tuple[np.ndarray, np.ndarray], tmp_path: pathlib.Path) -> None:
    from PIL import Image

    paths = [tmp_path / f"{i}.png" for i in range(3)]
    for path, image in zip(paths, arrays[0], strict=False):
        Image.fromarray(image[..., 0]).save(path)
    whole = tr.Preprocessing(crop_fraction=1)
    for form in (paths, iter(paths), tuple(map(str, paths))):
        found = tr.as_dataset(form, whole)
        assert len(found) == 3 and found.labels is None
        np.testing.assert_array_equal(demo(found), demo(arrays[0][:3]))
    with pytest.raises(DataError, match=r"nowhere\.png: is no image file"):
        demo(["nowhere.png"])


def test_models_of_every_form_give_the_same(
    demo: tr.Model, demo_model: pathlib.Path, arrays: tuple[np.ndarray, np.ndarray], tmp_path: pathlib.Path
) -> None:
    narrowed = demo.narrow(2)
    by_model = narrowed.evaluate(arrays, reference=demo)
    for form in (demo_model, str(demo_model)):
        assert narrowed.evaluate(arrays, reference=form).histogram == by_model.histogram
    path = narrowed.save(tmp_path / "n.mlirbc")
    assert tr.evaluate(path, arrays, reference=demo_model).histogram == by_model.histogram
    assert tr.check(path, 1, engines=FAST)
    (tmp_path / "s").mkdir()
    assert len(tr.sweep(path, arrays, tmp_path / "s", bits=1).points) == 2


def test_calling_a_model_runs_it(demo: tr.Model, demo_model: pathlib.Path) -> None:
    (inputs,) = demo.random_inputs(3)
    (expected,) = demo.compile().run_many(inputs)
    np.testing.assert_array_equal(demo(inputs), expected)
    np.testing.assert_array_equal(demo(inputs[1]), expected[1])
    np.testing.assert_array_equal(demo(*demo.random_inputs(3), engine="iree-constant", workers=1), expected)
    np.testing.assert_array_equal(tr.run(demo_model, inputs), expected)
    quantization = demo.input_spec.quantization
    assert quantization is not None
    np.testing.assert_array_equal(demo(quantization.dequantize(inputs)), expected)  # real values are quantized
    with pytest.raises(DataError, match="has 1 input, got 2 arrays"):
        demo(inputs, inputs)


def test_widths_in_every_form() -> None:
    assert parse_widths(4) == (4,) and parse_widths(np.int64(4)) == (4,) and parse_widths(32) == (32,)
    assert parse_widths("1-3,8") == parse_widths([1, 2, 3, 8]) == parse_widths(["1-3", 8]) == parse_widths(iter((1, 2, 3, 8)))
    for wrong in (True, 4.0, None, [], [4.0], 33, "x"):
        with pytest.raises(OptionError, match=r"^bits: "):
            parse_widths(wrong)


def test_the_smallest_width_is_found(demo: tr.Model, demo_data: pathlib.Path) -> None:
    found = demo.compensate("auto", data=demo_data, max_drop=5, samples=8)
    kept = demo.compensate(found.recipe[-1].options["bits"], samples=8)
    assert found.bytecode == kept.bytecode
    assert found.evaluate(demo_data, reference=demo).metrics["top1"].loss <= 5  # type: ignore[operator]


def test_a_report_from_python(swept: tr.SweepResult, tmp_path: pathlib.Path) -> None:
    pytest.importorskip("jinja2")
    assert swept.folder is not None
    pages = [tr.report(swept), tr.report(str(swept.folder)), tr.report(read_sweep(swept.folder), tmp_path / "p.html")]
    assert pages == [swept.folder / "report.html", swept.folder / "report.html", tmp_path / "p.html"]
    assert pages[0].read_text() == pages[2].read_text() and "digits_int8" in pages[0].read_text()


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda m, d: m.narrow(True), OptionError, "bits: True is not a whole number"),
        (lambda m, d: m.narrow(4.0), OptionError, "bits: 4.0 is not a whole number"),
        (lambda m, d: m.narrow("auto"), OptionError, "bits: 'auto' is not a whole number"),
        (lambda m, d: m.narrow(4, hidden_bit=2), OptionError, "hidden-bit: 2 is not one of true, false"),
        (lambda m, d: m.with_bits({"conv": 3}), OptionError, r"bits_of: 'conv' is none of the 21 rescales .*\(rescale"),
        (lambda m, d: m.with_bits({"rescale1": 3.0}), OptionError, "bits_of: rescale1: 3.0 is not a whole number"),
        (lambda m, d: m.with_bits(3), OptionError, "bits_of: int is no mapping; give widths by key, such as"),
        (lambda m, d: m.compensate(2, samples=1.5), OptionError, "samples: 1.5 is not a whole number"),
        (lambda m, d: m.compensate(2, calibration=3), DataError, "calibration: int is no data set"),
        (lambda m, d: m.compensate(2, data=d), OptionError, "data: has no effect unless bits is auto"),
        (lambda m, d: m.compensate("auto"), OptionError, "bits: auto measures accuracy and needs data"),
        (lambda m, d: m.compensate("auto", data=d, bits_of={"rescale1": 1}), OptionError, "bits_of: has no effect with"),
        (lambda m, d: m.evaluate(3), DataError, "data: int is no data set"),
        (lambda m, d: m.evaluate(d, reference=3), ModelError, "reference: int is no model; give one, or the path of a file"),
        (lambda m, d: m.evaluate(d, workers=0), OptionError, "workers: 0 is out of range"),
        (lambda m, d: m.evaluate(d, workers="two"), OptionError, "workers: 'two' is not a whole number"),
        (lambda m, d: m.evaluate(d, progress=3), OptionError, "progress: int shows no progress"),
        (lambda m, d: m.evaluate(d, engine="tflite"), OptionError, "engine: 'tflite' is not one of iree"),
        (lambda m, d: m.check(True), OptionError, "inputs: True is not a whole number"),
        (lambda m, d: m.check(2.0), OptionError, "inputs: 2.0 is not a whole number"),
        (lambda m, d: m.check(0), OptionError, "inputs: 0 is out of range"),
        (lambda m, d: m.check(1, engines=3), OptionError, "engines: 3 is no name"),
        (lambda m, d: m.check(1, engines="iree"), OptionError, "engines: iree cannot be compared"),
        (lambda m, d: UNTYPED.sweep(m, d, "x", methods=3), OptionError, "methods: 3 is no name"),
        (lambda m, d: UNTYPED.sweep(m, d, "x", methods="narow"), OptionError, "methods: 'narow' is not one of narrow"),
        (lambda m, d: UNTYPED.sweep(m, d, "x", errors=True), OptionError, "errors: True is not a whole number"),
        (lambda m, d: UNTYPED.sweep(m, d, "x", bits=True), OptionError, "bits: True is not a whole number"),
        (lambda m, d: UNTYPED.evaluate(b"x", d), ModelError, "model: bytes is no model"),
        (lambda m, d: UNTYPED.load(3), ModelError, "path: int is no path of a model"),
        (lambda m, d: UNTYPED.load_data(3), DataError, "path: int is no path of data"),
        (lambda m, d: UNTYPED.report(3), OptionError, "results: int is no sweep"),
    ],
)  # fmt: skip
def test_a_wrong_argument_is_named(
    call: Callable[..., Any], error: type[TosaRescaleError], message: str, demo: tr.Model, arrays: tuple[np.ndarray, np.ndarray]
) -> None:
    with pytest.raises(error, match=message) as caught:
        call(demo, arrays)
    assert "\n" not in str(caught.value)
    assert not pathlib.Path("x").exists()


# -- progress ----------------------------------------------------------------------------------------------------------


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture
def notebook(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """IPython with a kernel; what is displayed lands here, in order."""
    shown: list[str] = []

    class Handle:
        def update(self, html: Any) -> None:
            shown.append(html.data)

    def display(html: Any, display_id: bool) -> Handle:
        assert display_id
        shown.append(html.data)
        return Handle()

    kernel = types.SimpleNamespace(kernel=object())
    module = types.ModuleType("IPython")
    module.get_ipython = lambda: kernel  # type: ignore[attr-defined]
    module.display = types.ModuleType("IPython.display")  # type: ignore[attr-defined]
    module.display.HTML = lambda data: types.SimpleNamespace(data=data)  # type: ignore[attr-defined]
    module.display.display = display  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "IPython", module)
    monkeypatch.setitem(sys.modules, "IPython.display", module.display)
    return shown


def test_progress_is_on_where_somebody_looks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stderr", io.StringIO())
    assert isinstance(chosen(None), Silent) and isinstance(chosen(False), Silent) and isinstance(chosen(True), Bars)
    monkeypatch.setattr(sys, "stderr", Terminal())
    assert isinstance(chosen(None), Bars) and isinstance(chosen(False), Silent)


@pytest.mark.usefixtures("notebook")
def test_progress_is_on_in_a_notebook() -> None:
    assert isinstance(chosen(None), Cell) and isinstance(chosen(False), Silent)


def test_a_cell_shows_tasks_and_clears_itself(notebook: list[str]) -> None:
    cell = Cell()
    with cell.task("sweep", 2) as advance, cell.task("<compiling>", None):
        advance(1)
    assert "sweep 0/2" in notebook[0] and "&lt;compiling&gt; ..." in notebook[1]
    assert "sweep 1/2, 0:00 left" in notebook[-2] and notebook[-1] == ""


def test_python_shows_progress_by_default(
    notebook: list[str], demo: tr.Model, arrays: tuple[np.ndarray, np.ndarray], tmp_path: pathlib.Path
) -> None:
    tr.sweep(demo, arrays, tmp_path / "a", bits=2)
    assert any("sweep 0/2" in each for each in notebook) and notebook[-1] == ""
    seen = len(notebook)
    demo.evaluate(arrays, progress=False)
    assert len(notebook) == seen


def test_a_real_notebook(tmp_path: pathlib.Path) -> None:
    """A kernel of its own runs a cell for each kind of value, and gives both forms of each."""
    nbformat, nbclient = pytest.importorskip("nbformat"), pytest.importorskip("nbclient")
    pytest.importorskip("ipykernel")
    cells = [
        "import tosa_rescale as tr\nfrom tosa_rescale.demo import DATA, MODEL\nmodel = tr.load(MODEL)\nmodel",
        "data = tr.load_data(DATA).take(20)\ndata",
        "model.evaluate(data)",
        "model.check(1, engines='iree,iree-constant')",
        "tr.sweep(model, data, 'out', bits='1-2')",
    ]
    book = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(each) for each in cells])
    nbclient.NotebookClient(book, timeout=300, resources={"metadata": {"path": str(tmp_path)}}).execute()
    for cell in book.cells:
        (result,) = (each for each in cell.outputs if each.output_type == "execute_result")
        assert "<table" in result.data["text/html"] and result.data["text/plain"]
        assert [each for each in cell.outputs if each.output_type in ("stream", "error")] == []
    assert "data:image/svg+xml" in book.cells[-1].outputs[-1].data["text/html"]
