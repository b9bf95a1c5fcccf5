# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""The report page: what it says, against the stored figures; how it behaves, in a browser."""

from __future__ import annotations

import dataclasses
import html.parser
import itertools
import json
import pathlib
import re
import shutil
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import tosa_rescale as tr
from conftest import Cli
from stored_sweeps import Counts, stored_of, sweep_of
from tosa_rescale.core.errors import OutputError
from tosa_rescale.core.version import versions
from tosa_rescale.reporting import sections
from tosa_rescale.reporting.area import LIBRARY, areas, largest_engine
from tosa_rescale.reporting.blocks import signed
from tosa_rescale.reporting.charts import spike_limit
from tosa_rescale.reporting.page import PAGE, read_stored, render
from tosa_rescale.reporting.paper import MODELS, figures_for
from tosa_rescale.reporting.sections import findings
from tosa_rescale.reporting.style import STAND_INS, palette
from tosa_rescale.sweeping.details import MANTISSA_BINS, census
from tosa_rescale.sweeping.results import read_sweep

SAME = Counts(0, 0)
BROWSERS = ("chromium", "chromium-browser", "google-chrome", "chrome")


@pytest.fixture(scope="module")
def swept(demo: tr.Model, digits: tr.Dataset, tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    """A sweep's folder with its page."""
    from tosa_rescale.reporting import write_report

    folder = tmp_path_factory.mktemp("swept")
    result = tr.sweep(
        demo,
        digits.take(40),
        folder,
        bits=(8, 2, 1),
        methods=("narrow", "compensate"),
        errors=2,
        command="tosa-rescale sweep x",
    )
    write_report(folder, result)
    return folder


@pytest.fixture
def copied(swept: pathlib.Path, tmp_path: pathlib.Path) -> pathlib.Path:
    """A copy of it that a test may change."""
    return pathlib.Path(shutil.copytree(swept, tmp_path / "copied"))


class Tables(html.parser.HTMLParser):
    """Caption to rows of cells of every table, every id, every heading, and every address that a page names."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tables: dict[str, list[list[str]]] = {}
        self.ids: list[str] = []
        self.headings: list[int] = []
        self.addresses: list[str] = []
        self.tags: set[str] = set()
        self._caption, self._into = "", ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        named = dict(attrs)
        self.tags.add(tag)
        self.ids += [named["id"] or ""] if "id" in named else []
        self.addresses += [
            v or "" for k, v in attrs if k in ("href", "src", "srcset", "xlink:href", "action", "data", "poster")
        ]
        self.headings += [int(tag[1])] if re.fullmatch("h[1-6]", tag) else []
        if tag == "caption":
            self._caption = ""
        if tag == "tr":
            self.tables.setdefault(self._caption, []).append([])
        if tag in ("td", "th"):
            self.tables[self._caption][-1].append("")
        self._into = tag if tag in ("td", "th", "caption") else ""

    def handle_data(self, data: str) -> None:
        if self._into == "caption":
            self._caption += data
        elif self._into:
            self.tables[self._caption][-1][-1] += data

    def handle_endtag(self, tag: str) -> None:
        self._into = ""


@pytest.fixture(scope="module")
def page(swept: pathlib.Path) -> Tables:
    return Tables((swept / PAGE).read_text())


def test_the_page_has_every_point_with_its_figures(swept: pathlib.Path, page: Tables) -> None:
    points = json.loads((swept / "results.json").read_text())["points"]
    (rows,) = [rows for caption, rows in page.tables.items() if caption.startswith("All points")]
    found = {row[0]: row[1:8] for row in rows[1:]}
    assert len(found) == len(points) == 7
    for point in points[1:]:
        top1, difference, _bounds, _verdict, top5, agreement, largest = found[f"{point['method']}, k = {point['bits']}"]
        assert [top1, top5, agreement] == [f"{point[key]:.2f}" for key in ("top1", "top5", "agreement")]
        assert float(difference.replace("\N{MINUS SIGN}", "-")) == pytest.approx(point["top1"] - points[0]["top1"], abs=0.005)
        assert largest == str(point["max_lsb"])


def test_area_is_that_of_the_synthesised_widths_and_between_them() -> None:
    from tosa_rescale.hardware.cells import stored_cells

    (library,) = (each for each in stored_cells() if each.library == LIBRARY)
    costs = {cost.bits: cost for cost in library.costs if (cost.design, cost.macs) == ("int8", 4)}
    area = areas(4)
    four, seven, eight, whole = (area(bits) for bits in (4, 7, 8, 32))
    assert four and seven and eight and whole and (whole.area, whole.delay, whole.area_delay) == (100, 100, 100)
    assert four.area == pytest.approx(100 * costs[4].area / costs[32].area)
    assert four.delay == pytest.approx(100 * costs[4].period / costs[32].period)
    assert four.area_delay == pytest.approx(four.area * four.delay / 100)
    low, high = max(bits for bits in costs if bits < 7), min(bits for bits in costs if bits > 7)
    below, above = area(low), area(high)
    assert below and above and seven.interpolated and not four.interpolated
    assert seven.area == pytest.approx(below.area + (above.area - below.area) * (7 - low) / (high - low))
    assert area(33) is None


def census_of(bits: int, elementwise: int) -> dict[str, Any]:
    return {"multipliers": {"accumulator": {"bits": {"1": 3, str(bits): 2}}, "elementwise": {"bits": {str(elementwise): 1}}}}


def test_area_is_that_of_the_multipliers_a_point_has() -> None:
    """With a hidden bit k = 4 asks for five significant bits; where they were counted, the count holds."""
    result = sweep_of(1000, 900, {("narrow", 4): SAME, ("compensate", 4): SAME})
    result = dataclasses.replace(result, options={"hidden_bit": True})
    stored = stored_of(result, details={("narrow", 4): census_of(3, 3)})
    assert [stored.significant(point) for point in result.points] == [32, 3, 5]
    (three, five) = (areas(4)(bits) for bits in (3, 5))
    assert three and five
    rows = sections.hardware.section(stored).blocks[0].tables[0].rows
    wanted = [f"{'≈ ' if each.interpolated else ''}{each.area:.1f}" for each in (three, five)]
    assert [row.cells[2] for row in rows[1:]] == wanted


def test_a_tile_says_of_which_engine_its_area_is_and_what_that_leaves_out() -> None:
    result = sweep_of(1000, 900, {("compensate", 1): SAME, ("align", 1): SAME})
    details = {("compensate", 1): census_of(1, 31), ("align", 1): census_of(1, 1)}
    compensate, align = findings.tiles(stored_of(result, details=details))
    most = largest_engine()
    four, sixteen = areas(4)(1), areas(most)(1)
    assert four and sixteen and most > 4
    said = f"area of an engine {signed(four.area - 100, 0)} % with 4 MACs, {signed(sixteen.area - 100, 0)} % with {most};"
    assert [line for line in compensate.lines if line.startswith(said)]
    left = "multipliers of additions and means keep 31 bits, which this area leaves out"
    assert left in compensate.lines and left not in align.lines


def test_the_page_says_what_each_method_does_as_the_sweep_stored_it(swept: pathlib.Path, copied: pathlib.Path) -> None:
    from tosa_rescale.sweeping.methods import METHODS

    said = json.loads((swept / "sweep.json").read_text())["methods"]
    assert said == {name: METHODS[name].says for name in ("narrow", "compensate")}
    assert f"narrow: {said['narrow']}" in (swept / PAGE).read_text()
    state = json.loads((copied / "sweep.json").read_text())
    del state["methods"]  # as an older version wrote it
    (copied / "sweep.json").write_text(json.dumps(state))
    assert read_sweep(copied).says == {}
    assert "Methods:" not in sections.accuracy.section(read_stored(copied)).text[0]


def test_the_marks_of_a_method_that_rises_again_are_those_that_fall() -> None:
    """k = 2 loses more than half a point, and k = 1 does not: no mark speaks of all that follow."""
    result = sweep_of(200, 180, {("narrow", 4): SAME, ("narrow", 2): Counts(3, 0), ("narrow", 1): Counts(1, 0)})
    stored = stored_of(result)
    assert [stored.beyond(point) for point in result.points] == [False, False, True, False]
    assert "narrow k = 2" in sections.accuracy.section(stored).text[2]


# -- charts ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([0.3, 0.5, 0.4, 3700.0, 0.6], 1.25 * 0.6),
        ([0.3, 0.5, 0.4, 2.0, 0.6], None),  # not much larger than the rest
        ([1.0, 2.0], None),
        ([0.0, 0.0, 0.0, 5.0], None),
        ([float("nan"), 0.2, 0.3, 0.3, 90.0], 1.25 * 0.3),
    ],
)
def test_an_axis_ends_before_single_spikes(values: list[float], expected: float | None) -> None:
    assert spike_limit(values) == (None if expected is None else pytest.approx(expected))


def test_a_spike_is_marked_with_its_value() -> None:
    errors = [
        {
            "name": f"r{i}", "op": "conv2d", "bits": 4, "output_bits": 8, "absorbed": False,
            "predicted": {"std": 0.3}, "measured": {"std": 3700.0 if i == 2 else 0.4},
            "isolated": {"histogram": {"0": 9, "1": 1}}, "end_to_end": {"std": 0.5, "largest": 2},
        }
        for i in range(6)
    ]  # fmt: skip
    stored = stored_of(sweep_of(1000, 900, {("narrow", 4): SAME}), errors={"errors-x": errors})
    alone, chain, _ = sections.layers.section(stored).blocks[0].figures
    assert ">3,700<" in alone.svg and "beyond the axis: 3,700" in alone.svg
    assert "beyond the axis" not in chain.svg


def test_a_chart_that_stands_alone_needs_no_page(tmp_path: pathlib.Path) -> None:
    stored = stored_of(sweep_of(1000, 900, {("narrow", 4): Counts(4, 1), ("narrow", 2): Counts(90, 0)}))
    sections.accuracy.metric_figure(stored).write(tmp_path / "accuracy.svg")
    text = (tmp_path / "accuracy.svg").read_text()
    root = ET.fromstring(text)
    assert root.tag == "{http://www.w3.org/2000/svg}svg"
    assert "var(" not in text and not set(STAND_INS) & set(re.findall("#[0-9a-f]{6}", text))
    words = {element.text for element in root.iter("{http://www.w3.org/2000/svg}text")}
    assert {"narrow", "original model", "Top-1 accuracy", "top-1, %"} <= words
    assert palette()["s0"] in text
    sections.accuracy.metric_figure(stored).write(tmp_path / "again.svg")
    assert (tmp_path / "again.svg").read_text() == text


def test_every_rescale_with_an_8_bit_result_is_in_the_table_of_errors(swept: pathlib.Path, page: Tables) -> None:
    (caption,) = [caption for caption in page.tables if caption.startswith("narrow, k = ") and "standard deviation" in caption]
    bits = re.findall(r"k = (\d+)", caption)[0]
    stored = json.loads((swept / "points" / f"narrow-{bits}.json").read_text())
    expected = [e["name"] for e in stored["errors"] if e["output_bits"] == 8]
    assert stored["errors_samples"] == 2 and [row[0] for row in page.tables[caption][1:]] == expected
    # The four shares of a row are all there is.
    assert all(sum(map(float, row[5:9])) == pytest.approx(100, abs=0.03) for row in page.tables[caption][1:])


def test_provenance_names_what_the_figures_came_from(swept: pathlib.Path, page: Tables, demo: tr.Model) -> None:
    import hashlib

    rows = dict(row for row in page.tables["What the figures came from"] if len(row) == 2)
    assert demo.flatbuffer is not None
    assert rows["SHA-256 of the file"] == hashlib.sha256(demo.flatbuffer).hexdigest()
    assert rows["command"] == "tosa-rescale sweep x" and "seed 0" in rows["calibration"]
    assert rows["iree-base-compiler"] == versions()["iree-base-compiler"]


def test_the_page_asks_for_nothing_from_outside(swept: pathlib.Path, page: Tables) -> None:
    assert {address for address in page.addresses if not address.startswith(("#", "data:,"))} == set()
    assert not page.tags & {"script", "iframe", "img", "object", "embed", "video", "audio", "form"}
    text = (swept / PAGE).read_text()
    assert re.findall(r"url\((?!#)[^)]*\)|@import", text) == []


def test_ids_are_unique_and_references_resolve(swept: pathlib.Path, page: Tables) -> None:
    assert len(page.ids) == len(set(page.ids))
    assert {address[1:] for address in page.addresses if address.startswith("#")} <= set(page.ids)
    text = (swept / PAGE).read_text()
    assert set(re.findall(r"url\(#([^)]*)\)", text)) <= set(page.ids)
    named = " ".join(re.findall(r'aria-labelledby="([^"]*)"', text)).split()
    assert named and set(named) <= set(page.ids)


def test_headings_do_not_skip_a_level(page: Tables) -> None:
    assert page.headings[0] == 1 and page.headings.count(1) == 1
    assert all(after <= before + 1 for before, after in itertools.pairwise(page.headings))


def test_no_colour_of_the_drawing_is_left(swept: pathlib.Path) -> None:
    """Every colour is a variable of the style sheet: a fixed one would be unreadable in light or in dark."""
    text = (swept / PAGE).read_text().split("</style>")[1]
    assert re.findall(r"#[0-9a-fA-F]{6}\b", text) == []
    assert set(re.findall(r"var\(--([a-z0-9]+)\)", text)) <= set(re.findall(r"--([a-z0-9]+):", (swept / PAGE).read_text()))


def test_the_command_makes_the_page_again_without_the_model(cli: Cli, copied: pathlib.Path, tmp_path: pathlib.Path) -> None:
    was = (copied / PAGE).read_text()
    (copied / PAGE).unlink()
    assert cli("report", copied).returncode == 0
    assert (copied / PAGE).read_text() == was
    assert cli("report", copied / "sweep.json", "-o", "other.html").returncode == 0
    assert (tmp_path / "other.html").read_text() == was


def test_older_results_still_give_a_page_that_says_what_is_missing(copied: pathlib.Path) -> None:
    shutil.rmtree(copied / "points")
    state = json.loads((copied / "sweep.json").read_text())
    (copied / "sweep.json").write_text(json.dumps({"identity": state["identity"], "points": state["points"]}))
    results = json.loads((copied / "results.json").read_text())
    del results["provenance"], results["identity"]
    (copied / "results.json").write_text(json.dumps(results))
    text = render(read_stored(copied))
    for what in ("the multipliers of the points", "the changes of weights", "hashes, calibration and command"):
        assert f"do not hold {what}" in text
    assert "digits_int8" in text and "errors 16" in text


def test_a_sweep_adds_what_older_results_lack(
    demo: tr.Model, digits: tr.Dataset, copied: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.rmtree(copied / "points")
    monkeypatch.setattr("tosa_rescale.sweeping.local.evaluate", lambda *_, **__: pytest.fail("evaluated again"))
    tr.sweep(demo, digits.take(40), copied, bits=(8, 2, 1), methods=("narrow", "compensate"))
    assert len(read_stored(copied).details) == 7


def test_details_of_another_sweep_do_not_count(
    demo: tr.Model, digits: tr.Dataset, copied: pathlib.Path, tmp_path: pathlib.Path
) -> None:
    tr.sweep(demo, digits.take(41), copied, bits=(2,), force=True)
    assert set(read_stored(copied).details) == {("base", 32), ("narrow", 2)}


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("sweep.json", "{ half", "is not a sweep's state; name the folder"),
        ("sweep.json", '{"points": [1]}', "is not a sweep's state; name the folder"),
        ("sweep.json", '{"points": []}', "the original model is not measured yet; run `tosa-rescale sweep` once more"),
        ("errors-x.json", "{}", "is not what `tosa-rescale errors --json` writes; mend or remove it"),
        ("finetune-x.json", "[1", "is not what `tosa-rescale finetune --json` writes; mend or remove it"),
    ],
)
def test_files_that_are_no_results_are_named(copied: pathlib.Path, name: str, content: str, message: str) -> None:
    (copied / name).write_text(content)
    with pytest.raises(OutputError, match=re.escape(f"{copied / name}: {message}")):
        read_stored(copied / "sweep.json")


def test_a_folder_without_a_sweep_is_named(tmp_path: pathlib.Path) -> None:
    with pytest.raises(OutputError, match=r"holds no sweep.json; name the folder that `tosa-rescale sweep -o` wrote"):
        read_sweep(tmp_path)
    with pytest.raises(OutputError, match=r"nowhere.json: cannot be read: No such file"):
        read_sweep(tmp_path / "nowhere.json")


def test_without_labels_agreement_is_what_counts(demo: tr.Model, digits: tr.Dataset, tmp_path: pathlib.Path) -> None:
    data = digits.take(20)
    data.labels = None
    tr.sweep(demo, data, tmp_path, bits=(2,))
    text = render(read_stored(tmp_path))
    assert "no labels" in text and "Agreement with the original" in text and "Top-1 accuracy" not in text


def test_a_training_beside_the_results_becomes_a_chart(copied: pathlib.Path) -> None:
    history = [{"epoch": e, "agreement": 90.0 + e, "validation_loss": 1 / (e + 1), "seconds": 1.0} for e in range(3)]
    (copied / "finetune-k2.json").write_text(json.dumps({"history": history, "changes": {"layers": []}}))
    (block,) = sections.training.section(read_stored(copied)).blocks
    assert [row.cells[:4] for row in block.tables[0].rows] == [
        ("finetune-k2", str(e), f"{90 + e:.2f}", f"{1 / (e + 1):.4f}") for e in range(3)
    ]


def test_a_training_in_the_sweep_shows_accuracy_on_scored_samples(copied: pathlib.Path) -> None:
    state = json.loads((copied / "sweep.json").read_text())
    entry = {
        "agreement": 1.0,
        "loss": 0.5,
        "validation_loss": 0.25,
        "weights": {"percent": 3.5, "mean_absolute": 1.0, "largest": 2},
    }
    history = [{"epoch": e, "scored": {"top1": 80.0 + e}, **entry} for e in range(2)]
    layer = {"op": "conv2d0", "name": "first", "weights": 200, "changed": 7, "mean_absolute": 1.0, "largest": 2}
    state["points"][2]["training"] = {"history": history, "best_epoch": 1, "changes": {"layers": [layer]}}
    (copied / "sweep.json").write_text(json.dumps(state))
    (block,) = sections.training.section(read_stored(copied)).blocks
    assert [(row.cells[1:], row.mark) for row in block.tables[0].rows] == [
        (("0", "80.00", "0.2500", "3.50", "1.00", "2"), False),
        (("1", "81.00", "0.2500", "3.50", "1.00", "2"), True),
    ]
    assert block.tables[1].rows[0].cells[1:4] == ("first", "200", "3.50")


def test_names_with_markup_stay_text(copied: pathlib.Path) -> None:
    state = json.loads((copied / "sweep.json").read_text())
    state["model"] = "a/<b>&'\".tflite"
    (copied / "sweep.json").write_text(json.dumps(state))
    text = render(read_stored(copied))
    assert "<b>" not in text and "&lt;b&gt;" in text


def test_census_counts_by_value_whatever_the_encoding() -> None:
    # 5 * 2^-10 three ways, 1 * 2^-3 aligned, and zero: f = 5/4 and e = 8; f = 1 and e = 3.
    multipliers = np.array([5, 5 << 28, 5 << 12, 1 << 30, 0], np.int64)
    found = census(multipliers, np.array([10, 38, 22, 33, 5], np.int64))
    assert found["count"] == 5 and found["zeros"] == 1
    assert found["bits"] == {"1": 1, "3": 3} and found["shifts"] == {"3": 1, "8": 3}
    assert found["distinct"] == 2 and found["pairs"] == 2
    assert found["mantissas"][0] == 1 and found["mantissas"][MANTISSA_BINS // 4] == 3 and sum(found["mantissas"]) == 4


def test_census_at_the_border_of_bins() -> None:
    """All 31 bits set is the last bin, not one beyond it."""
    assert census(np.array([2**31 - 1]), np.array([40]))["mantissas"][-1] == 1


@pytest.mark.parametrize(
    ("file", "name"),
    [
        ("efficientnet_lite0_int8.tflite", "EfficientNet-Lite0"),
        ("efficientnet-lite1.tflite", None),
        ("mobilenet_v1_0.25_128_uint8.tflite", "MobileNet-V1"),
        ("MobileNetV2.tflite", "MobileNet-V2"),
        ("mobilenet_v12.tflite", None),
        ("resnet8.tflite", None),
    ],
)
def test_the_papers_figures_stand_beside_their_family(file: str, name: str | None) -> None:
    found = figures_for(file)
    assert (found and found.name) == name


def test_the_papers_figures_fall_with_the_width() -> None:
    """A slip of a digit in the table would most likely break the order, or leave the range."""
    for model in MODELS:
        values = [model.base, *(model.top1[k] for k in sorted(model.top1, reverse=True))]
        assert all(after <= before + 0.02 for before, after in itertools.pairwise(values)) and values[-1] > 0


# -- in a browser ------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    path = next(filter(None, map(shutil.which, BROWSERS)), None)
    if path is None:
        pytest.skip(f"no Chromium found (looked for {', '.join(BROWSERS)})")
    with api.sync_playwright() as driver:
        # Its sandbox needs rights that containers do not give; the page is our own.
        opened = driver.chromium.launch(executable_path=path, args=["--no-sandbox"])
        yield opened
        opened.close()


def opened(browser: Any, folder: pathlib.Path, **options: Any) -> Any:
    page = browser.new_context(**options).new_page()
    page.goto((folder / PAGE).as_uri())
    return page


@pytest.mark.parametrize("width", [360, 768, 1280])
def test_no_width_scrolls_sideways(browser: Any, swept: pathlib.Path, width: int) -> None:
    page = opened(browser, swept, viewport={"width": width, "height": 740})
    page.evaluate("document.querySelectorAll('details').forEach(d => d.open = true)")
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    shown = page.locator("figure svg.narrow" if width < 640 else "figure svg.wide")
    assert shown.count() > 3 and all(shown.nth(i).is_visible() for i in range(shown.count()))
    sizes = page.evaluate(
        "[...document.querySelectorAll('figure svg text')].filter(t => t.checkVisibility())"
        ".map(t => t.getBoundingClientRect().height)"
    )
    assert min(sizes) >= 9  # readable: the drawing is not scaled down


def test_the_page_works_without_script_and_network(browser: Any, swept: pathlib.Path) -> None:
    context = browser.new_context(java_script_enabled=False, offline=True)
    page, asked, failed = context.new_page(), [], []
    page.on("request", lambda request: asked.append(request.url))
    page.on("console", lambda message: failed.append(message.text))
    page.goto((swept / PAGE).as_uri())
    assert [url for url in asked if not url.startswith(("file:", "data:"))] == [] and failed == []
    folded = page.locator("details").first
    assert not folded.locator("table").is_visible()
    folded.locator("summary").click()
    assert folded.locator("table").is_visible()


def test_the_keyboard_reaches_everything(browser: Any, swept: pathlib.Path) -> None:
    page = opened(browser, swept)
    page.keyboard.press("Tab")
    skip = page.locator(":focus")
    assert skip.inner_text() == "Skip to the results"
    assert skip.bounding_box()["y"] >= 0  # it comes into view
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.id") == "content"
    visited = []
    for _ in range(80):
        page.keyboard.press("Tab")
        visited.append(
            page.evaluate("document.activeElement.tagName + ' ' + getComputedStyle(document.activeElement).outlineStyle")
        )
    assert {"SUMMARY solid", "DIV solid"} <= set(visited)  # foldable data and scrolling tables, with a visible focus


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_no_barrier(browser: Any, swept: pathlib.Path, scheme: str) -> None:
    """Contrast, names of images and regions, table headers, landmarks: what axe-core checks."""
    axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="axe-playwright-python is not installed")
    page = opened(browser, swept, color_scheme=scheme)
    page.evaluate("document.querySelectorAll('details').forEach(d => d.open = true)")
    found = axe.Axe().run(page).response["violations"]
    assert [(each["id"], each["nodes"][0]["html"][:200]) for each in found] == []
    background = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert (background == "rgb(255, 255, 255)") == (scheme == "light")
