"""Answers: are they on the scale they are said to be on, and what is measured of them."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import pandas as pd

from cxresearch import digits
from cxresearch.errors import DataProblem, TooFewRespondents, require_choice
from cxresearch.findings import Check, interval, number

ONES_WITHOUT_ZERO = 10  # answers of 1 and none of 0: on 0-10 less likely than one in a thousand if 0 is as common
PROMOTER_CLASSES = dict(enumerate(["detractors 0–6"] * 7 + ["passives 7–8"] * 2 + ["promoters 9–10"] * 2))
PARTS = ("promoters", "passives", "detractors")
EFFORT_SCALES = {1: (1, 5), 2: (1, 7)}
# Version and scoring -> answers that count for and against, and words. Version 1 asks how much effort (low is good),
# version 2 whether it was easy.
EFFORT = {
    (1, "mean"): ((), (), "mean (1–5, low is good)"),
    (1, "agree"): ((1, 2), (), "share of low effort (1–2 on 1–5)"),
    (1, "net"): ((1, 2), (4, 5), "net (1–2 minus 4–5 on 1–5)"),
    (2, "mean"): ((), (), "mean (1–7, high is good)"),
    (2, "agree"): ((5, 6, 7), (), "share agreeing (5–7 on 1–7)"),
    (2, "net"): ((6, 7), (1, 2, 3), "net (6–7 minus 1–3 on 1–7)"),
}


class Units(NamedTuple):
    """How a mean of codes is told: its factor in tables, that to a reader, decimals, units of value and change, ends."""

    factor: int
    shown: int
    decimals: int
    value: str
    change: str
    least: float = -np.inf
    most: float = np.inf


UNITS = {
    "net": Units(100, 1, 1, "points", "points", -1.0, 1.0),
    "share": Units(1, 100, 1, "%", "percentage points", 0.0, 1.0),
    "mean": Units(1, 1, 2, "", "scale points"),
}


@dataclass(frozen=True, eq=False)
class Measure:
    """What is measured of an item: a code of each answer, and the words and unit of the mean of the codes."""

    key: str  # names the question in a finding's id
    item: str
    form: str  # net: codes -1, 0, 1; share: 0, 1; mean: the answers
    words: str
    units: Units
    answers: np.ndarray | None = None  # (N,) of the rows in view, missing as NaN; a finding has none
    codes: np.ndarray | None = None  # (N,)
    classes: Mapping[float, str] | None = None  # answer -> class, for colours
    scale: tuple[float, float] | None = None
    parts: tuple[str, ...] = ()  # names of the shares coded 1, 0, -1
    declared: bool = True
    short: str = ""  # the words without the name of the score that a label says already

    @property
    def answered(self) -> np.ndarray:
        return ~np.isnan(self.answers)

    @property
    def axis(self) -> str:
        unit = self.units.value or self.units.change
        return f"{self.words}, {unit}" if unit else self.words

    def value(self, estimate: float) -> str:
        """Return an estimate in words, with its unit."""
        return f"{number(estimate * self.units.shown, self.units.decimals)} {self.units.value}".rstrip()

    def size(self, change: float) -> str:
        """Return a change without its sign, with its unit."""
        return f"{number(abs(change) * self.units.shown, self.units.decimals)} {self.units.change}".rstrip()

    def span(self, low: float, high: float, confidence: float) -> str:
        """Return an interval in words; points of a score or scale go without their name."""
        ends = interval(low * self.units.shown, high * self.units.shown, confidence, self.units.decimals)
        return f"{ends} {self.units.value}".rstrip() if self.units.value != "points" else ends


def measured(survey, item: str, measure: str, *, threshold=None, version=None, scoring="mean") -> Measure:
    """Return what `measure` takes from the answers to `item`; refuse answers off its scale."""
    require_choice("measure", measure, ("nps", "top_box", "mean", "effort"))
    table, declared, key, parts = survey.table, declared_scale(survey.table, item), item, ()
    short = ""
    if measure == "nps":
        form, words, parts, scale, classes = "net", "net promoter score", PARTS, (0, 10), PROMOTER_CLASSES
        answers = recommend_answers(table, item)
        codes = np.where(np.isnan(answers), np.nan, (answers >= 9).astype(float) - (answers <= 6))
    elif measure == "effort":
        require_choice("version", version, (1, 2))
        require_choice("scoring", scoring, ("mean", "agree", "net"))
        form, (good, bad, words) = {"agree": "share"}.get(scoring, scoring), EFFORT[version, scoring]
        key, words = f"{item} version {version} {scoring}", f"customer effort score {version}.0, {words}"
        short = EFFORT[version, scoring][2]
        parts, scale = ("easy", "neither", "hard") if scoring == "net" else (), EFFORT_SCALES[version]
        instead, name = "; choose the other version, or ", f"customer effort {version}.0"
        answers = _fixed_scale(table, item, scale, name, asked="asked", instead=instead)
        codes = np.isin(answers, good).astype(float) - np.isin(answers, bad) if good else answers
        names = parts or (("", "answers") if scoring == "mean" else ("counted as easy", "other"))
        ordered = range(scale[0], scale[1] + 1)[:: 1 if version == 2 else -1]  # from hard to easy
        classes = {float(v): names[0 if v in good else 2 if v in bad else 1] for v in ordered}
    else:
        answers = numeric_answers(table, item, declared)
        given = np.unique(answers[~np.isnan(answers)])
        if not len(given):
            raise TooFewRespondents(f"responses: none of {len(table)} rows holds an answer to {item}")
        low, high = scale = declared or (float(given[0]), float(given[-1]))
        steps = given if declared is None else np.arange(low, high + 1)
        form, words, codes = "mean", f"mean on {low:g}–{high:g}", answers
        classes = dict.fromkeys(steps.tolist(), "answers")
    if measure == "top_box":
        threshold = high - 1 if threshold is None else threshold
        if not low < threshold <= high:
            raise DataProblem(
                f"threshold={threshold!r} must lie above {low:g} and at most at {high:g}, the ends of {item}; "
                "answers at or above it count"
            )
        form, key, names = "share", f"{item} >= {threshold:g}", (f"below {threshold:g}", f"{threshold:g} or above")
        words = f"share answering {names[1]} on {low:g}–{high:g}"
        codes = digits.at_least(answers, threshold)
        classes = {float(v): names[int(digits.at_least(v, threshold))] for v in steps}
    codes = np.where(np.isnan(answers), np.nan, codes)
    sure = declared is not None
    return Measure(key, item, form, words, UNITS[form], answers, codes, classes, scale, parts, sure, short)


def scale_checks(measure: Measure, sample) -> list[Check]:
    """Return what speaks for another scale: in one wave it looks like a fall."""
    given = measure.answers[sample.rows]
    if measure.parts == PARTS:
        zeros, ones = int((given == 0).sum()), int((given == 1).sum())
        fine = measure.declared or zeros > 0 or ones == 0
        return [Check("scale is 0–10, not 1–10: answers of 0", zeros, "more than 0 where 1 is answered", fine)]
    high = measure.scale[1]
    top = pd.Series(given).groupby(sample.cell).max().reindex(range(len(sample.keys)))
    short = int(((top < high) & (sample.n >= 30)).sum())
    words = f"cells of 30 answers or more in which nobody answered {high:g} (a shorter scale?)"
    return [Check(words, short, "0", not short)]


def numeric_answers(table: pd.DataFrame, item: str, scale=None, *, whole: str = "") -> np.ndarray:
    """Return the item's answers as floats, (n,), missing as NaN; refuse text and answers off `scale`.

    Fractions are refused where `whole` says why answers are whole.
    """
    answers = table[item]
    if pd.api.types.is_bool_dtype(answers):
        raise DataProblem(f"{item} holds yes/no values; an answer on a rating scale is needed")
    values = digits.whole(pd.to_numeric(answers, errors="coerce").to_numpy(dtype=float, na_value=np.nan))
    declare = f"declare them as missing codes of item {item} in study.yml"
    _refuse(item, answers[np.isnan(values) & answers.notna().to_numpy()], "that are not numbers", declare)
    if whole:
        _refuse(item, values[np.isfinite(values) & (values != np.floor(values))], "fractional", whole)
    if scale is not None:
        _refuse(item, values[digits.outside(values, *scale)], f"outside {scale[0]:g}-{scale[1]:g}", declare)
    return values


def _refuse(item: str, bad, kind: str, remedy: str) -> None:
    """Refuse the values `bad`, if there are any, with the three most common."""
    if not len(bad):
        return
    counts = pd.Series(bad).value_counts()
    shown = ", ".join(f"{v:g}: {n}" if isinstance(v, float) else f"{v!r}: {n}" for v, n in counts.head(3).items())
    more = f" and {len(counts) - 3} more" if len(counts) > 3 else ""
    values = "fractional values" if kind == "fractional" else f"values {kind}"
    raise DataProblem(f"{item} holds {len(bad)} {values} ({shown}{more}); {remedy}")


def declared_scale(table: pd.DataFrame, item: str) -> tuple[float, float] | None:
    """Return the scale that ``table.attrs["scales"]`` declares for `item`, or None."""
    scale = table.attrs.get("scales", {}).get(item)
    return None if scale is None else (scale[0], scale[1])


def _fixed_scale(table: pd.DataFrame, item: str, ends: tuple[int, int], name: str, *, asked: str, instead: str):
    """Return whole answers on the one scale that `name` has, (n,), refusing a declaration of another."""
    declared = declared_scale(table, item)
    if declared is not None and tuple(declared) != ends:
        raise DataProblem(
            f"{item} is declared on a scale of {declared[0]:g}-{declared[1]:g}; {name} is {asked} on "
            f"{ends[0]}-{ends[1]}{instead}top_box(item={item!r}, threshold=...)"
        )
    return numeric_answers(table, item, ends, whole=f"{name} is {asked} for whole answers on {ends[0]}-{ends[1]}")


def recommend_answers(table: pd.DataFrame, item: str) -> np.ndarray:
    """Return 0-10 recommend answers, (n,), refusing every other scale.

    A 1-10 item cannot be told from a 0-10 item answer by answer. It is refused where the table declares it
    (``attrs["scales"]``), and, without a declaration, where there are many answers of 1 and none of 0.
    """
    name, scale = "a net promoter score", declared_scale(table, item)
    values = _fixed_scale(table, item, (0, 10), name, asked="defined", instead=" only, use ")
    ones = int((values == 1).sum())
    if scale is None and ones >= ONES_WITHOUT_ZERO and not (values == 0).any():
        raise DataProblem(
            f"{item} holds {ones} answers of 1 and none of 0, as a 1-10 scale does; a net promoter score is "
            f"defined on 0-10 only, use top_box(item={item!r}, threshold=9), or declare the scale [0, 10] of item "
            f"{item} in study.yml"
        )
    return values
