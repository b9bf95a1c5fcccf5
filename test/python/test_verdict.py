# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""What a report recommends: nothing that the samples do not prove, and no two statements that contradict one another."""

from __future__ import annotations

import dataclasses
import re
from collections import defaultdict
from typing import Any

import pytest
from hypothesis import given
from stored_sweeps import Counts, by_metric, stored_of, sweep_of, sweeps, without_labels
from strategies import budget
from tosa_rescale.core.errors import OptionError
from tosa_rescale.reporting.area import Candidate, front
from tosa_rescale.reporting.charts import Chart
from tosa_rescale.reporting.page import render
from tosa_rescale.reporting.sections import accuracy, findings, hardware
from tosa_rescale.reporting.stored import Stored
from tosa_rescale.sweeping.results import SweepResult
from tosa_rescale.sweeping.verdict import Standing, judge

SAME = Counts(0, 0)


def page_of(result: SweepResult, monkeypatch: pytest.MonkeyPatch) -> str:
    """The page's text, its charts left out."""
    monkeypatch.setattr(Chart, "inline", lambda self: "")
    return render(stored_of(result))


# -- sentences ---------------------------------------------------------------------------------------------------------


def test_labels_that_do_not_fit_recommend_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """An original that is right on 6 of 500 samples can lose no more than 1.2 points, whatever becomes of the network."""
    text = page_of(sweep_of(500, 6, {("narrow", 1): Counts(6, 0, 493)}), monkeypatch)
    assert (
        "Nothing is recommended, because the data are in doubt. Of the original model, top-1 is 1.20 %, as with labels that do "
        "not fit: check labels and `label_offset`."
    ) in text
    assert "enough" not in text
    assert "keeps the accuracy <" not in text


def test_a_warning_of_the_evaluation_recommends_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    result = sweep_of(1000, 900, {("narrow", 4): SAME})
    base = dataclasses.replace(result.base.evaluation, warnings=("top-1 is 9.00 %, and chance is 10.00 %",))
    doubtful = dataclasses.replace(result, points=(dataclasses.replace(result.base, evaluation=base), *result.points[1:]))
    assert findings.lead(stored_of(result)).startswith("4 significant bits are enough")
    text = page_of(doubtful, monkeypatch)
    assert (
        "Nothing is recommended, because the data are in doubt. Of the original model, top-1 is 9.00 %, and chance is 10.00 %."
        in text
    )
    assert "k = 4 <small>is not judged</small>" in text


def test_the_loss_that_is_allowed_decides_the_verdict() -> None:
    # Two lost of 500 are at most 1.25 points: more than half a point may be lost, and two are not.
    found = stored_of(sweep_of(500, 490, {("narrow", 1): Counts(2, 0)}))
    assert found.verdict.best is None
    allowed = found.allowing(2.0)
    assert allowed.verdict.best is not None and allowed.verdict.best.point.bits == 1
    assert "at most 2 points" in render(allowed) and "at most 0.5 points" in render(found)
    assert found.allowing(None) is found
    for wrong in (-0.5, float("nan"), float("inf"), "much"):
        with pytest.raises(OptionError, match=r"^max-drop: .*; give .* of at least 0$"):
            found.allowing(wrong)  # type: ignore[arg-type]


def test_twenty_samples_decide_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    result = sweep_of(20, 20, {("narrow", 4): SAME, ("narrow", 1): Counts(3, 0)})
    text = page_of(result, monkeypatch)
    assert "Undecided: of no width 20 samples can prove that it loses at most 0.5 points of top-1." in text
    # Nothing differs at k = 4: 598 samples without a difference would prove it.
    assert (
        "The most promising is narrow at k = 4, top-1 100.00 % where the original has 100.00 %: "
        "the loss is between −14.00 and 14.00 points; about 600 more samples would decide."
    ) in text
    assert "enough" not in text


def test_an_original_that_is_always_right(monkeypatch: pytest.MonkeyPatch) -> None:
    text = page_of(sweep_of(1000, 1000, {("narrow", 4): SAME, ("narrow", 2): Counts(40, 0)}), monkeypatch)
    assert (
        "4 significant bits are enough. With narrow at k = 4, top-1 is 100.00 % where the original has 100.00 %: at most "
        "0.30 points are lost, with 95 % confidence, and 100.00 % of the decisions are the original’s."
    ) in text
    assert "k = 2: loses more than 0.5 points; the loss is between 2.9" in text


def test_an_original_near_chance_that_is_plausible_is_judged_by_pairs() -> None:
    """10 % of ten classes with most decisions different: as many gains as losses, which no single accuracy shows."""
    result = sweep_of(1000, 100, {("narrow", 1): Counts(90, 90, 700)})
    assert findings.lead(stored_of(result)).startswith("Undecided: of no width 1,000 samples can prove")


def test_every_method_falls_at_its_widest() -> None:
    stored = stored_of(sweep_of(1000, 900, {("narrow", 4): Counts(100, 0), ("narrow", 2): Counts(500, 0)}))
    assert findings.lead(stored) == (
        "No method keeps the original’s top-1, 90.00 %, to 0.5 points: each loses more at its widest width."
    )


def test_a_narrower_width_that_may_do_is_named_with_the_samples_it_takes() -> None:
    stored = stored_of(sweep_of(2000, 1800, {("narrow", 4): SAME, ("narrow", 2): Counts(8, 4)}))
    lead = findings.lead(stored)
    assert lead.startswith("4 significant bits are enough.")
    assert re.search(r"Whether narrow at k = 2 loses more than 0.5 points is undecided: about [\d,]+ more samples would", lead)


def test_without_labels_the_verdict_is_about_agreement() -> None:
    stored = stored_of(without_labels(sweep_of(2000, 1000, {("narrow", 4): Counts(0, 0, 2), ("narrow", 1): Counts(0, 0, 90)})))
    lead = findings.lead(stored)
    assert "no labels" in lead
    assert (
        "4 significant bits are enough. With narrow at k = 4, 99.90 % of the decisions are the original’s; "
        "at most 0.31 points are lost, with 95 % confidence."
    ) in lead


def test_a_metric_where_less_is_better_has_its_direction() -> None:
    points = {("narrow", 8): (0.001, -0.002, 0.004), ("narrow", 4): (0.02, 0.015, 0.03)}
    result = by_metric("mse", 0.25, points, unit="", more_is_better=False, tolerance=0.01)
    stored = stored_of(result)
    assert findings.lead(stored).startswith(
        "8 significant bits are enough. With narrow at k = 8, mse is 0.251 where the original has 0.250: at most 0.004 are lost"
    )
    (table,) = accuracy.section(stored).blocks[0].tables
    assert [row.cells[2] for row in table.rows] == ["–", "+0.001", "+0.020"]
    assert "narrow k = 4" in accuracy.section(stored).text[2]


def test_a_metric_without_bounds_proves_nothing() -> None:
    result = by_metric("f1", 0.9, {("narrow", 8): (0.0, -0.1, 0.1)}, unit="")
    figure = dataclasses.replace(result.points[1].evaluation.metrics["f1"], loss_low=None, loss_high=None)
    found = dataclasses.replace(result.points[1].evaluation, metrics={"f1": figure})
    bare = dataclasses.replace(result, points=(result.base, dataclasses.replace(result.points[1], evaluation=found)))
    assert judge(result).best is not None
    assert judge(bare).best is None
    assert findings.lead(stored_of(bare)).startswith("Undecided")


@pytest.mark.parametrize("unit", ["%", ""])
def test_an_average_over_samples_that_do_not_differ_proves_no_more_than_their_number(unit: str) -> None:
    """Drawn again from 200 equal samples, bounds are as equal: 0 to 0. One in 600 may still lose everything."""
    verdict = judge(by_metric("miou", 90.0, {("narrow", 8): (0.0, 0.0, 0.0)}, unit=unit))
    finding = verdict.findings["narrow", 8]
    assert finding.standing is Standing.UNDECIDED
    more = verdict.more_samples(finding)
    assert (more in range(398, 430)) if unit else (more is None)


# -- the choice --------------------------------------------------------------------------------------------------------


def chosen(result: SweepResult, **options: Any) -> tuple[str, int] | None:
    best = judge(result, **options).best
    return None if best is None else (best.point.method, best.point.bits)


def test_the_narrowest_proven_width_wins_then_agreement_then_cost() -> None:
    points = {("narrow", 4): SAME, ("compensate", 4): SAME, ("compensate", 2): Counts(2, 2, 9), ("align", 2): Counts(2, 2, 1)}
    assert chosen(sweep_of(20_000, 15_000, points)) == ("align", 2)
    equal = {("narrow", 2): SAME, ("align", 2): SAME}
    assert chosen(sweep_of(20_000, 15_000, equal)) == ("narrow", 2)
    assert chosen(sweep_of(20_000, 15_000, equal), cost=lambda p: {"narrow": 2.0, "align": 1.0}[p.method]) == ("align", 2)


def test_what_is_narrower_than_an_unproven_width_is_not_claimed() -> None:
    """Testing from wide to narrow up to the first that is not proven keeps the error of the whole at that of one test."""
    fallen = judge(sweep_of(2000, 1800, {("narrow", 8): Counts(90, 0), ("narrow", 4): Counts(9, 4)}))
    assert [each.standing for each in fallen.of_method("narrow")] == [Standing.FALLEN, Standing.UNTESTED]
    verdict = judge(sweep_of(2000, 1800, {("narrow", 8): Counts(9, 4), ("narrow", 4): SAME, ("narrow", 2): Counts(90, 0)}))
    standings = [each.standing for each in verdict.of_method("narrow")]
    assert standings == [Standing.UNDECIDED, Standing.UNTESTED, Standing.FALLEN]
    assert verdict.best is None


def test_the_samples_that_decide_a_width_decide_all_wider_ones() -> None:
    verdict = judge(sweep_of(400, 360, {("narrow", 8): Counts(2, 1), ("narrow", 4): SAME}))
    wide, narrow = (verdict.findings["narrow", k] for k in (8, 4))
    alone = judge(sweep_of(400, 360, {("narrow", 4): SAME}))
    few = alone.more_samples(alone.findings["narrow", 4])
    assert few is not None
    assert verdict.more_samples(wide) == verdict.more_samples(narrow)
    assert (verdict.more_samples(narrow) or 0) > few


def test_methods_share_the_error() -> None:
    one = judge(sweep_of(1000, 900, {("narrow", 4): SAME}))
    two = judge(sweep_of(1000, 900, {("narrow", 4): SAME, ("align", 4): SAME}))
    assert (one.error, two.error) == (0.05, 0.025)
    first, second = one.findings["narrow", 4].loss, two.findings["narrow", 4].loss
    assert first is not None
    assert second is not None
    assert first.high < second.high


def test_results_without_pairs_take_every_difference_for_the_worst() -> None:
    """Of 16 different decisions 4 net losses: at worst 10 losses and 6 gains."""
    points = {("narrow", 4): Counts(4, 0, 12)}
    old, paired = (sweep_of(400, 360, points, paired=paired) for paired in (False, True))
    worst = sweep_of(400, 360, {("narrow", 4): Counts(10, 6)})
    losses = [judge(each).findings["narrow", 4].loss for each in (old, worst, paired)]
    assert losses[0] == losses[1]
    assert losses[0] is not None
    assert losses[2] is not None
    assert losses[2].high < losses[0].high


# -- the front ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("points", "expected"),
    [
        # Cost, bounds of the loss, rank: the dearer one is proven better, or it is not.
        ([(100, 0.0, 0.0, 9), (50, 0.1, 0.4, 8)], [0, 1]),
        ([(100, 0.0, 0.0, 9), (50, -0.1, 0.4, 8)], [1]),
        ([(100, 0.0, 0.0, 9), (50, -0.1, 0.4, 8), (40, 9.0, 11.0, 1)], [1, 2]),
        ([(50, 0.0, 1.0, 1), (50, 0.2, 1.2, 2)], [1]),  # of the same cost the better measured one
        ([(50, 0.0, 1.0, 1), (50, 0.0, 1.0, 1)], [0, 1]),  # equals do not beat one another
        ([(50, float("-inf"), float("inf"), 1), (60, 0.0, 0.1, 2)], [0]),
    ],
)
def test_the_front_is_what_is_worth_its_cost(points: list[tuple[float, float, float, float]], expected: list[int]) -> None:
    assert front([Candidate(cost, low, high, (rank,)) for cost, low, high, rank in points]) == expected


def test_noise_is_not_on_the_front() -> None:
    """k = 4 is half a sample in a thousand better than k = 2, as chance has it."""
    stored = stored_of(sweep_of(2000, 1800, {("narrow", 4): Counts(3, 4), ("narrow", 2): Counts(4, 4)}))
    (table,) = hardware.section(stored).blocks[0].tables
    assert [row.cells[0] for row in table.rows if row.mark] == ["narrow, k = 2"]


# -- no contradiction --------------------------------------------------------------------------------------------------


WORDS = {
    "keeps the accuracy": "keeps",
    "keeps": "keeps",
    "is undecided": "undecided",
    "undecided": "undecided",
    "not tested": "not tested",
    "is not judged": "not judged",
    "not judged": "not judged",
    "loses more": "loses",
}


def claims(stored: Stored) -> dict[tuple[str, int], set[str]]:
    """All that a page says about whether a point keeps the accuracy, from its sentences, tiles and tables."""
    found: dict[tuple[str, int], set[str]] = defaultdict(set)
    lead = findings.lead(stored)
    for pattern, word in (
        (r"With (\w+) at k = (\d+),", "keeps"),
        (r"Whether (\w+) at k = (\d+) loses more", "undecided"),
        (r"The most promising is (\w+) at k = (\d+),", "undecided"),
    ):
        for method, k in re.findall(pattern, lead):
            found[method, int(k)].add(word)
    for tile in findings.tiles(stored):
        k = int(tile.big.removeprefix("k = "))
        found[tile.name, k].add(WORDS["loses more" if tile.unit.startswith("loses more") else tile.unit])
        for line in tile.lines:
            for other, word in re.findall(r"^k = (\d+): (undecided|not tested|not judged|loses more)", line):
                found[tile.name, int(other)].add(WORDS[word])
            if line.startswith("loses at most"):
                found[tile.name, k].add("keeps")
    for row in accuracy.section(stored).blocks[0].tables[0].rows[1:]:
        method, k = row.cells[0].split(", k = ")
        found[method, int(k)].add(WORDS[row.cells[4]])
        if row.mark:
            found[method, int(k)].add("keeps")
    return found


def number_of(text: str) -> float:
    return float(text.replace("−", "-").replace(",", "").replace("+", ""))


@budget(150)
@given(sweeps())
def test_no_two_statements_of_a_page_contradict_one_another(result: SweepResult) -> None:
    stored = stored_of(result)
    lead, found = findings.lead(stored), claims(stored)
    assert {key: said for key, said in found.items() if len(said) != 1} == {}
    keeps = {key for key, said in found.items() if said == {"keeps"}}

    # The first sentence recommends exactly where something is kept, and the narrowest of it.
    recommended = re.findall(r"With (\w+) at k = (\d+),", lead)
    assert len(recommended) == bool(keeps)
    if recommended:
        assert int(recommended[0][1]) == min(k for _, k in keeps)
        assert "enough" in lead
        (most,) = re.findall(r"at most ([\d.]+) points are lost", lead)
        assert float(most) <= 0.5
    else:
        assert "enough" not in lead
        assert "Undecided" in lead or "No method keeps" in lead or "Nothing is recommended" in lead
    if "No method keeps" in lead:
        for method in result.methods:
            assert found[method, max(p.bits for p in result.of_method(method))] == {"loses"}

    # What is said to be kept was measured so, and is narrower than nothing that was not.
    for point in result.points[1:]:
        loss, said = stored.loss(point), found[point.method, point.bits]
        assert loss is not None
        assert not (said == {"keeps"} and loss > 0.5)
        assert not (said == {"loses"} and loss <= 0.5)
    rows = accuracy.section(stored).blocks[0].tables[0].rows[1:]
    for row in rows:
        if " … " in row.cells[3]:
            low, high = map(number_of, row.cells[3].split(" … "))
            better = number_of(row.cells[2])
            assert low - 0.01 <= -better <= high + 0.01
    fallen = result.degradation_point
    said = accuracy.section(stored).text[2]
    for method in result.methods:
        k = fallen(method)
        assert (f"{method} k = {k}" if k is not None else f"{method} none") in said
        assert k is None or found[method, k] != {"keeps"}


@budget(100)
@given(sweeps())
def test_nothing_is_recommended_that_so_few_samples_cannot_prove(result: SweepResult) -> None:
    """Without a gain, 597 samples at least are needed: 0.995 ** 597 is just above 0.05."""
    best = judge(result).best
    if best is None:
        return
    found = best.point.evaluation
    paired = found.paired
    if found.metrics[result.metric or ""].name == "agreement" or (paired is not None and paired[1] == 0):
        assert found.samples > 597


@budget(100)
@given(sweeps())
def test_the_front_holds_no_point_that_a_cheaper_one_may_match(result: SweepResult) -> None:
    stored = stored_of(result)
    (table,) = hardware.section(stored).blocks[0].tables
    on = [row.cells[0] for row in table.rows if "area" in row.cells[-1].split(", ")]
    assert on
    losses = {"original": (0.0, 0.0)}
    for (method, k), finding in stored.verdict.findings.items():
        assert finding.loss is not None
        losses[f"{method}, k = {k}"] = (finding.loss.low, finding.loss.high)
    cost = {row.cells[0]: float(row.cells[2].removeprefix("≈ ")) for row in table.rows}
    for one in on:
        for other in on:
            if cost[one] > cost[other]:
                assert losses[one][1] < losses[other][0]
