# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""What the sweep says, before any section: one sentence for all of it, one tile for each method.

Everything here follows from the verdict, so that no two statements can contradict one another.
"""

from __future__ import annotations

from tosa_rescale.core.display import count
from tosa_rescale.core.statistics import ERROR
from tosa_rescale.reporting.area import areas, largest_engine
from tosa_rescale.reporting.blocks import Tile, number, signed
from tosa_rescale.reporting.stored import TYPICAL_MACS, Stored
from tosa_rescale.reporting.style import colour
from tosa_rescale.sweeping.results import SweepPoint
from tosa_rescale.sweeping.verdict import Finding, Standing

CONFIDENCE = f"{100 * (1 - ERROR):g} % confidence"


def lead(stored: Stored) -> str:
    """The page's first sentence: what the whole sweep says."""
    verdict, measure = stored.verdict, stored.measure
    sentences = []
    if measure.name == "agreement":
        sentences.append(
            "The data has no labels, so what is measured is agreement: how often a narrowed model decides as the original does."
        )
    if verdict.doubts:
        doubts = "; ".join(verdict.doubts)
        return " ".join(
            [*sentences, f"Nothing is recommended, because the data are in doubt. Of the original model, {doubts}."]
        )
    if verdict.best is not None:
        sentences.append(_recommended(stored, verdict.best))
        if verdict.open is not None:
            narrower = verdict.open.point
            sentences.append(
                f"Whether {narrower.method} at k = {narrower.bits} loses more than {measure.limit} is undecided: "
                f"{_more(stored, verdict.open)}."
            )
    elif verdict.open is not None:
        sentences.append(_undecided(stored, verdict.open))
    else:
        sentences.append(
            f"No method keeps the original’s {measure.label}, {measure.level(measure.base)}, to {measure.limit}: "
            "each loses more at its widest width."
        )
    return " ".join(sentences)


def _recommended(stored: Stored, finding: Finding) -> str:
    point, measure = finding.point, stored.measure
    bits = stored.significant(point)
    shift = ": a pure shift, no multiplier" if bits == 1 else ""
    enough = f"{bits} significant {'bit is' if bits == 1 else 'bits are'} enough{shift}."
    at = f"With {point.method} at k = {point.bits},"
    if measure.name == "agreement":
        return (
            f"{enough} {at} {measure.level(stored.value(point))} of the decisions are the original’s; "
            f"at most {_at_most(stored, finding)} are lost, with {CONFIDENCE}."
        )
    kept = f", and {number(point.evaluation.agreement)} % of the decisions are the original’s"
    return (
        f"{enough} {at} {measure.label} is {measure.level(stored.value(point))} where the original has "
        f"{measure.level(measure.base)}: at most {_at_most(stored, finding)} are lost, with {CONFIDENCE}"
        f"{'' if point.evaluation.agreement is None else kept}."
    )


def _undecided(stored: Stored, finding: Finding) -> str:
    measure, samples = stored.measure, stored.result.base.evaluation.samples
    return (
        f"Undecided: of no width {count(samples, 'sample')} can prove that it loses at most {measure.limit} of "
        f"{measure.label}. The most promising is {finding.point.method} at k = {finding.point.bits}, {measure.label} "
        f"{measure.level(stored.value(finding.point))} where the original has {measure.level(measure.base)}: "
        f"{_between(stored, finding)}; {_more(stored, finding)}."
    )


def _at_most(stored: Stored, finding: Finding) -> str:
    assert finding.loss is not None  # nothing is proven of what was not measured
    return f"{number(max(0.0, finding.loss.high), stored.measure.digits)} {stored.measure.loss_unit}".rstrip()


def _between(stored: Stored, finding: Finding) -> str:
    """The interval of a loss."""
    measure, loss = stored.measure, finding.loss
    if loss is None:
        return f"{measure.label} was not measured"
    if loss.high == float("inf"):
        return f"measured {number(loss.value, measure.digits)} {measure.loss_unit} lost, without bounds".replace("  ", " ")
    low, high = number(loss.low, measure.digits), number(loss.high, measure.digits)
    return f"the loss is between {low} and {high} {measure.loss_unit}".rstrip()


def _more(stored: Stored, finding: Finding) -> str:
    more = stored.verdict.more_samples(finding)
    if more is None:
        return "its loss is too close to what is tolerated, or not bounded, for more samples to decide"
    return f"about {count(more, 'more sample')} would decide"


def tiles(stored: Stored) -> list[Tile]:
    """One finding for each method."""
    return [_tile(stored, i, point) for i, point in stored.all_shown().items()]


def _tile(stored: Stored, series: int, point: SweepPoint) -> Tile:
    measure, verdict = stored.measure, stored.verdict
    finding = verdict.of(point)
    value = f"{measure.label} {measure.level(stored.value(point))}"
    lines = [
        f"{value} ({measure.difference(stored.loss(point))})"
        + ("" if measure.name == "agreement" else f", agreement {number(point.evaluation.agreement)} %")
    ]
    if finding.standing is Standing.KEPT:
        unit = "keeps the accuracy"
        lines.append(f"loses at most {_at_most(stored, finding)}, with {CONFIDENCE}")
        following = [each for each in verdict.of_method(point.method) if each.point.bits < point.bits][:1]
        lines += [f"k = {each.point.bits}: {_standing(stored, each)}" for each in following]
    else:
        unit = {
            Standing.UNDECIDED: "is undecided",
            Standing.FALLEN: f"loses more than {measure.limit}",
            Standing.DOUBTED: "is not judged",
        }[finding.standing]
        lines.append(
            f"{_between(stored, finding)}; {_more(stored, finding)}"
            if finding.standing is Standing.UNDECIDED
            else _standing(stored, finding)
        )
    lines += _cost(stored, point)
    return Tile(point.method, colour(series), f"k = {point.bits}", unit, tuple(lines))


def _standing(stored: Stored, finding: Finding) -> str:
    """A clause about a point that is not proven to keep the accuracy."""
    if finding.standing is Standing.UNDECIDED:
        return f"undecided; {_more(stored, finding)}"
    if finding.standing is Standing.UNTESTED:
        return "not tested, because a wider one is not proven"
    if finding.standing is Standing.DOUBTED:
        return "not judged, because the data are in doubt"
    return f"loses more than {stored.measure.limit}; {_between(stored, finding)}"


def _cost(stored: Stored, point: SweepPoint) -> list[str]:
    bits = stored.significant(point)
    most = largest_engine()
    few, many = areas(TYPICAL_MACS)(bits), areas(most)(bits)
    if few is None or many is None:
        return []
    lines = [
        f"area of an engine {signed(few.area - 100, 0)} % with {TYPICAL_MACS} MACs, "
        f"{signed(many.area - 100, 0)} % with {most}; "
        f"area × delay {signed(few.area_delay - 100, 0)} % and {signed(many.area_delay - 100, 0)} %"
    ]
    wide = stored.left_wide(point)
    if wide is not None:
        lines.append(f"multipliers of additions and means keep {count(wide, 'bit')}, which this area leaves out")
    return lines


def standing_word(stored: Stored, point: SweepPoint) -> str:
    """A word for a table."""
    return {
        Standing.KEPT: "keeps",
        Standing.UNDECIDED: "undecided",
        Standing.FALLEN: "loses more",
        Standing.UNTESTED: "not tested",
        Standing.DOUBTED: "not judged",
    }[stored.verdict.of(point).standing]
