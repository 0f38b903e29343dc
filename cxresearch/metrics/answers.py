"""Answers: are they on the scale they are said to be on, and what is measured of them.

References
----------
Reichheld (2003), Harvard Business Review 81(12): promoters 9-10, passives 7-8, detractors 0-6 on 0-10;
Dixon, Freeman & Toman (2010), Harvard Business Review 88(7) (effort, version 1); CEB (2013) (version 2).
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from cxresearch import digits
from cxresearch.errors import DataProblem, require_choice
from cxresearch.findings import Check, interval, number, percent

MEASURES = ("nps", "top_box", "mean", "effort")
ONES_WITHOUT_ZERO = 10  # answers of 1 and none of 0: on 0-10 less likely than one in a thousand if 0 is as common
PROMOTER_CLASSES = {
    **dict.fromkeys(range(7), "detractors 0–6"),
    **dict.fromkeys((7, 8), "passives 7–8"),
    **dict.fromkeys((9, 10), "promoters 9–10"),
}
EFFORT_SCALES = {1: (1, 5), 2: (1, 7)}
# Answers that count for and against: version 1 asks how much effort (low is good), version 2 whether it was easy.
EFFORT_BOXES = {
    (1, "agree"): ((1, 2), ()),
    (1, "net"): ((1, 2), (4, 5)),
    (2, "agree"): ((5, 6, 7), ()),
    (2, "net"): ((6, 7), (1, 2, 3)),
}
EFFORT_WORDS = {
    (1, "mean"): "customer effort score 1.0, mean (1–5, low is good)",
    (1, "agree"): "customer effort score 1.0, share of low effort (1–2 on 1–5)",
    (1, "net"): "customer effort score 1.0, net (1–2 minus 4–5 on 1–5)",
    (2, "mean"): "customer effort score 2.0, mean (1–7, high is good)",
    (2, "agree"): "customer effort score 2.0, share agreeing (5–7 on 1–7)",
    (2, "net"): "customer effort score 2.0, net (6–7 minus 1–3 on 1–7)",
}


@dataclass(frozen=True, eq=False)
class Measure:
    """What is measured of an item: a code of each answer, and the words and unit of the mean of the codes."""

    key: str  # names the question in a finding's id
    item: str
    form: str  # net: codes -1, 0, 1, in points; share: 0, 1; mean: the answers
    answers: np.ndarray  # (N,) of the rows in view, missing as NaN
    codes: np.ndarray  # (N,)
    words: str
    classes: Mapping[float, str]  # answer -> class, for colours
    scale: tuple[float, float]
    parts: tuple[str, ...] = ()  # names of the shares coded 1, 0, -1
    declared: bool = False

    @property
    def answered(self) -> np.ndarray:
        return ~np.isnan(self.answers)

    def described(self) -> "Measure":
        """Return the measure without anybody's answers, as a finding keeps it."""
        return replace(self, answers=np.empty(0), codes=np.empty(0))

    @property
    def factor(self) -> int:
        return 100 if self.form == "net" else 1

    @property
    def axis(self) -> str:
        return self.words + {"net": ", points", "share": ", %", "mean": ", scale points"}[self.form]

    def value(self, estimate: float) -> str:
        """Return an estimate in words, with its unit."""
        if self.form == "share":
            return percent(estimate, 1)
        return f"{number(estimate)} points" if self.form == "net" else number(estimate, 2)

    def size(self, change: float) -> str:
        """Return a change without its sign, with its unit."""
        unit = {"net": "points", "share": "percentage points", "mean": "scale points"}[self.form]
        return f"{number(abs(change) * self.shown, self.decimals)} {unit}"

    def span(self, low: float, high: float, confidence: float) -> str:
        """Return an interval in words."""
        ends = interval(low * self.shown, high * self.shown, confidence, self.decimals)
        return f"{ends} %" if self.form == "share" else ends

    @property
    def shown(self) -> int:
        """What a value is multiplied with for a reader."""
        return 100 if self.form == "share" else 1

    @property
    def decimals(self) -> int:
        return 2 if self.form == "mean" else 1


def measured(survey, item: str, measure: str, *, threshold=None, version=None, scoring="mean") -> Measure:
    """Return what `measure` takes from the answers to `item`; refuse answers off its scale."""
    require_choice("measure", measure, MEASURES)
    table = survey.table
    if measure == "nps":
        answers = recommend_answers(table, item)
        return Measure(
            item, item, "net", answers, recommend_codes(answers), "net promoter score", PROMOTER_CLASSES, (0, 10),
            ("promoters", "passives", "detractors"), declared=declared_scale(table, item) is not None,
        )  # fmt: skip
    if measure == "effort":
        return _effort(table, item, version, scoring)
    answers = numeric_answers(table, item)
    declared = declared_scale(table, item)
    if declared is not None:
        require_within(answers, item, *declared)
    low, high = declared or (float(np.nanmin(answers)), float(np.nanmax(answers)))
    steps = [
        float(v) for v in (np.unique(answers[~np.isnan(answers)]) if declared is None else np.arange(low, high + 1))
    ]
    if measure == "mean":
        words = f"mean on {low:g}–{high:g}"
        return Measure(item, item, "mean", answers, answers, words, dict.fromkeys(steps, "answers"), (low, high))
    threshold = high - 1 if threshold is None else threshold
    if not low < threshold <= high:
        raise DataProblem(
            f"threshold={threshold!r} must lie above {low:g} and at most at {high:g}, the ends of {item}; "
            "answers at or above it count"
        )
    codes = np.where(np.isnan(answers), np.nan, digits.at_least(answers, threshold))
    classes = {v: f"{threshold:g} or above" if digits.at_least(v, threshold) else f"below {threshold:g}" for v in steps}
    words = f"share answering {threshold:g} or above on {low:g}–{high:g}"
    return Measure(f"{item} >= {threshold:g}", item, "share", answers, codes, words, classes, (low, high))


def _effort(table, item: str, version, scoring: str) -> Measure:
    require_choice("version", version, (1, 2))
    require_choice("scoring", scoring, ("mean", "agree", "net"))
    low, high = EFFORT_SCALES[version]
    declared = declared_scale(table, item)
    if declared is not None and tuple(declared) != (low, high):
        raise DataProblem(
            f"{item} is declared on a scale of {declared[0]}-{declared[1]}; customer effort {version}.0 is "
            f"asked on {low}-{high}; choose the other version, or top_box(item={item!r}, threshold=...)"
        )
    answers = numeric_answers(table, item)
    require_whole(answers, item, why=f"customer effort {version}.0 is answered in whole numbers on {low}-{high}")
    require_within(answers, item, low, high)
    good, bad = EFFORT_BOXES.get((version, scoring), ((), ()))
    codes = np.isin(answers, good).astype(float) - np.isin(answers, bad)
    codes = answers if scoring == "mean" else np.where(np.isnan(answers), np.nan, codes)
    names = {"mean": ("answers",) * 3, "agree": ("counted as easy", "", "other"), "net": ("easy", "hard", "neither")}
    ordered = range(low, high + 1) if version == 2 else range(high, low - 1, -1)  # from hard to easy
    classes = {float(v): names[scoring][0 if v in good else 1 if v in bad else 2] for v in ordered}
    form = {"mean": "mean", "agree": "share", "net": "net"}[scoring]
    parts = ("easy", "neither", "hard") if scoring == "net" else ()
    key, words = f"{item} version {version} {scoring}", EFFORT_WORDS[version, scoring]
    return Measure(key, item, form, answers, codes, words, classes, (low, high), parts)


def scale_checks(measure: Measure, sample) -> list[Check]:
    """Return what speaks for another scale: in one wave it looks like a fall."""
    given = measure.answers[sample.rows]
    if measure.words == "net promoter score":
        zeros, ones = int((given == 0).sum()), int((given == 1).sum())
        fine = measure.declared or zeros > 0 or ones == 0
        return [Check("scale is 0–10, not 1–10: answers of 0", zeros, "more than 0 where 1 is answered", fine)]
    high = measure.scale[1]
    top = pd.Series(given).groupby(sample.cell).max().reindex(range(len(sample.keys)))
    short = int(((top < high) & (sample.n >= 30)).sum())
    return [
        Check(
            f"cells of 30 answers or more in which nobody answered {high:g} (a shorter scale?)", short, "0", not short
        )
    ]


# --- answers ---------------------------------------------------------------------------------------------------------


def numeric_answers(table: pd.DataFrame, item: str) -> np.ndarray:
    """Return the item's answers as floats, (n,), missing as NaN; refuse text."""
    answers = table[item]
    if pd.api.types.is_bool_dtype(answers):
        raise DataProblem(f"{item} holds yes/no values; an answer on a rating scale is needed")
    values = digits.whole(pd.to_numeric(answers, errors="coerce").to_numpy(dtype=float, na_value=np.nan))
    lost = np.isnan(values) & answers.notna().to_numpy()
    if lost.any():
        raise DataProblem(
            f"{item} holds {lost.sum()} values that are not numbers ({_tally(answers[lost])}); "
            f"declare them as missing codes of item {item} in study.yml"
        )
    return values


def require_whole(values: np.ndarray, item: str, *, why: str) -> None:
    """Refuse fractional answers."""
    seen = values[~np.isnan(values)]
    bad = seen[seen != np.floor(seen)]
    if bad.size:
        raise DataProblem(f"{item} holds {bad.size} fractional values ({_tally(bad)}); {why}")


def require_within(values: np.ndarray, item: str, low: int, high: int) -> None:
    """Refuse answers outside `low` to `high`."""
    bad = values[digits.outside(values, low, high)]
    if bad.size:
        raise DataProblem(
            f"{item} holds {bad.size} values outside {low:g}-{high:g} ({_tally(bad)}); "
            f"declare them as missing codes of item {item} in study.yml"
        )


def declared_scale(table: pd.DataFrame, item: str) -> tuple[float, float] | None:
    """Return the scale that ``table.attrs["scales"]`` declares for `item`, or None."""
    scale = table.attrs.get("scales", {}).get(item)
    return None if scale is None else (scale[0], scale[1])


def recommend_answers(table: pd.DataFrame, item: str) -> np.ndarray:
    """Return 0-10 recommend answers, (n,), refusing every other scale.

    A 1-10 item cannot be told from a 0-10 item answer by answer. It is refused where the table declares it
    (``attrs["scales"]``), and, without a declaration, where there are many answers of 1 and none of 0.
    """
    scale = declared_scale(table, item)
    if scale is not None and tuple(scale) != (0, 10):
        raise DataProblem(
            f"{item} is declared on a scale of {scale[0]:g}-{scale[1]:g}; a net promoter score is defined on 0-10 only, "
            f"use top_box(item={item!r}, threshold=...)"
        )
    values = numeric_answers(table, item)
    require_whole(values, item, why="a net promoter score is defined for whole answers on 0-10 only")
    require_within(values, item, 0, 10)
    ones = int((values == 1).sum())
    if scale is None and ones >= ONES_WITHOUT_ZERO and not (values == 0).any():
        raise DataProblem(
            f"{item} holds {ones} answers of 1 and none of 0, as a 1-10 scale does; a net promoter score is "
            f"defined on 0-10 only, use top_box(item={item!r}, threshold=9), or declare the scale [0, 10] of item "
            f"{item} in study.yml"
        )
    return values


def recommend_codes(scores: np.ndarray) -> np.ndarray:
    """Return 1 for promoters (9-10), 0 for passives (7-8), -1 for detractors (0-6), (n,); missing stays missing."""
    return np.where(np.isnan(scores), np.nan, (scores >= 9).astype(float) - (scores <= 6))


def _tally(values) -> str:
    counts = pd.Series(values).value_counts().head(3)
    more = pd.Series(values).nunique() - len(counts)
    shown = ", ".join(f"{v:g}: {n}" if isinstance(v, float) else f"{v!r}: {n}" for v, n in counts.items())
    return shown + (f" and {more} more" if more else "")
