"""What every analysis of a measure starts from, and what every finding about it can say."""

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import pandas as pd

from cxresearch import digits
from cxresearch.errors import DataProblem, require_columns, require_share
from cxresearch.figures import forest, wrap
from cxresearch.findings import ENDS, Finding, Shown, listing, nothing, number, p_words, percent, words
from cxresearch.metrics.answers import Measure, measured
from cxresearch.metrics.estimate import MAX_JOINT, vector
from cxresearch.survey import Survey, as_survey
from cxresearch.survey.survey import person_codes

say = words(__package__)

MARKS = ("up", "down", "above", "below", "spike")  # verdicts that establish something
CHARTED = "nps top_box mean_score effort compare_waves split_change league_table promoter_value".split()


@dataclass(frozen=True, repr=False, eq=False)
class MeasureFinding(Finding):
    """A finding about one measure of one item."""

    measure: Measure = None
    confidence: float = 0.95

    @property
    def what(self) -> str:
        return self.label(self.outcome)

    def say(self, key: str, **known) -> str:
        """Return the sentence `key` with what it names: of `known`, of the summary, of the question."""
        s, p = self.summary, self.summary.get("p_value", np.nan)
        words = {**s, "what": self.what, "by": listing(map(self.label, self.by)), "n": number(s["n"], 0)}
        words |= {"words": self.measure.words} if self.measure else {}
        words |= {"p": p_words(p)} if np.isfinite(p) else {}
        return say.told(key, **words | known)

    def told(self, row) -> dict[str, str]:
        """Return what a row holds in words, by the names that sentences have for it."""
        names = {"group": "group", "wave": "after", "wave_before": "before", "term": "name", "verdict": "verdict"}
        words = {name: self.label(row[column]) for column, name in names.items() if column in row}
        words |= {column: number(row[column], 0) for column in ("n_before", "n") if column in row}
        words |= {"p": p_words(row["p_adjusted"])} if "p_adjusted" in row else {}
        words |= {"value": self.measure.value(row["estimate"]), "size": self.measure.size(row["estimate"])}
        return words | {"span": self.span(row), "reach": self.reach(row), "base": base_of(row)}

    def span(self, row) -> str:
        return self.measure.span(row["conf_low"], row["conf_high"], self.confidence)

    def reach(self, row) -> str:
        """Return the interval of the size of a change: of one that fell by 20, 10 to 30."""
        low, high = sorted((1 if row["estimate"] > 0 else -1) * row[end] for end in ENDS[1:])
        return self.measure.span(low, high, self.confidence)

    @property
    def chart(self) -> Shown | None:
        """What a deck shows: the estimates in words and unit of the measure, where one column tells the rows apart."""
        told_apart = any(key in self.table and self.table[key].is_unique for key in ("group", "wave", "term"))
        change = "change, " * (self.function in ("compare_waves", "split_change"))
        words = f"{change}{self.measure.axis}" if self.function in CHARTED else ""
        return Shown("tidy", *ENDS, words) if words and told_apart else None

    @property
    def highlights(self) -> dict:
        """The score of the latest wave, or of all, in words; of a comparison of waves, its latest change."""
        if self.function not in ("nps", "top_box", "mean_score", "effort", "compare_waves"):
            return {}
        waves = "wave" in self.table and not self.by
        shown = self.table.dropna(subset=["estimate"]) if waves else pd.DataFrame([self.summary])
        if shown.empty or "estimate" not in shown:
            return {}
        row = shown.iloc[-1]
        kept = {name: str(row[name]) for name in ("wave", "wave_before", "verdict") if name in row}
        told = self.measure.value if self.function != "compare_waves" else self.measure.size
        units = self.measure.units
        ends = row["conf_low"] * units.shown, row["conf_high"] * units.shown
        kept |= {"value": told(row["estimate"]), "ends": " to ".join(number(end, units.decimals) for end in ends)}
        kept |= {"measure": self.measure.short or self.measure.words, "scale": units.shown}
        return kept | {"level": percent(self.confidence), "n": number(row["n"], 0)}

    @property
    def moved(self) -> pd.DataFrame:
        """The rows whose verdict establishes something."""
        return self.table[self.table["verdict"].isin(MARKS)]

    @property
    def level(self) -> str:
        return f"{percent(self.confidence)} intervals"

    def read(self, table: pd.DataFrame, *columns: str) -> pd.DataFrame:
        """Return `table` with its estimates and their ends, or `columns`, as a reader has them: shares in percent."""
        shown = {c: table[c].astype(float) * self.measure.units.shown for c in columns or ENDS}
        return table.assign(**shown)

    def dots(self, table: pd.DataFrame, names, unit: str, **options):
        """Draw one dot with its interval per row of `table`."""
        options = dict(low="conf_low", high="conf_high", title=self.title) | options
        return forest(self.read(table), "estimate", names=names, unit=wrap(unit, 62), **options)


def base_of(row) -> str:
    """Return n, and the effective n where it is another, in words."""
    n, effective = f"n = {number(row['n'], 0)}", row.get("n_effective", np.nan)
    same = not np.isfinite(effective) or digits.rounded(effective, 0) == row["n"]
    return n if same else f"{n}, effective n = {number(effective, 0)}"


def columns_of(by) -> list[str]:
    """Return the columns of `by`: one, several or none."""
    return [by] if isinstance(by, str) else list(by or ())


def check_asked(survey, *columns, confidence: float = 0.95, worth: float | None = None) -> None:
    """Refuse columns that the survey lacks, a confidence off 0-1, and a change worth acting on that is none."""
    require_columns(survey.rows, *columns, where="responses")
    require_share("confidence", confidence)
    if worth is not None and not worth > 0:
        raise DataProblem(f"worth_acting_on={worth!r} must be a number above zero")


@dataclass(frozen=True, eq=False)
class Question:
    """One measure of one item by the cells of a survey."""

    function: str
    survey: Survey
    measure: Measure
    by: list[str]
    confidence: float
    sample: object  # None where cells should be waves and the survey has none

    @cached_property
    def codes(self) -> np.ndarray:
        return self.measure.codes[self.sample.rows]

    @property
    def waves(self) -> list:
        return [] if self.sample is None else list(pd.unique(self.sample.keys.get("wave", pd.Series(dtype=object))))

    @cached_property
    def together(self):
        """The sample with people as its units, where people are known and no clusters: they answer in several waves."""
        survey, person = self.survey, "person in several waves"
        if survey.respondent is None or survey.cluster is not None:
            return self.sample
        rows = survey.rows.assign(**{person: person_codes(survey.rows[survey.respondent])})
        return replace(survey, rows=rows, cluster=person).sample(self.measure.answered, by=self.by, wave=True)

    def equal_p_value(self) -> float:
        """Return the joint p-value of equal groups, or of equal waves; NaN for one cell, for both, or for too many."""
        sample, few = self.sample, 2 if self.measure.form == "mean" else 1
        if sample.keys.shape[1] != 1 or len(sample.keys) > MAX_JOINT or (sample.n < few).any():
            return np.nan
        return vector(sample, self.codes, self.measure.form).equal_p_value()

    def nothing(self, why: str) -> Finding:
        """Return the finding that says why these data cannot be asked."""
        words, by = f"{self.survey.label(self.measure.item)}: {why}", ", ".join(self.by) or None
        n = int(self.measure.answered.sum())
        return nothing(self.function, self.measure.key, by, words, n=n, labels=self.survey.labels)

    def finding(self, kind, table, summary, checks, *, further=None, hidden=None, **own):
        """Return the finding of `kind` with what the survey knows, the size of its family, and nobody's answers."""
        tested = {"family": int(table["p_adjusted"].notna().sum())} if "p_adjusted" in table else {}
        if "verdict" in table:
            tested["established"] = bool(table["verdict"].isin(MARKS).any())
        labels = {**self.survey.labels, self.measure.key: self.survey.label(self.measure.item)}
        own |= dict(measure=replace(self.measure, answers=None, codes=None), confidence=self.confidence)
        hidden = self.sample.hidden.sum() if hidden is None else hidden
        own |= dict(suppressed=int(hidden), domain=self.survey.condition)
        by, known = ", ".join(self.by) or None, tested | summary
        return kind(self.function, self.measure.key, by, table, known, tuple(checks), labels, further or {}, **own)


def ask(
    function, responses, item, measure, *, what, by=None, wave=False, moves=False, confidence=0.95, worth=None, **how
) -> Question:
    """Return the question, its columns, options and answers checked; `moves`: by waves, where the survey has them."""
    survey = as_survey(responses)
    check_asked(survey, item, *columns_of(by), confidence=confidence, worth=worth)
    asked = measured(survey, item, measure, **how)
    known = not moves or survey.wave is not None
    sample = survey.sample(asked.answered, by=by, wave=wave or moves, what=what, of=(item,)) if known else None
    return Question(function, survey, asked, columns_of(by), confidence, sample)
