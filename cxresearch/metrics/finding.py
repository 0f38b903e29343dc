"""What every finding about one measure of one item shares."""

from dataclasses import dataclass

import numpy as np

from cxresearch import digits
from cxresearch.findings import Finding, listing, number, phrase
from cxresearch.metrics.answers import Measure
from cxresearch.metrics.sentences import SENTENCES


@dataclass(frozen=True, repr=False, eq=False)
class MeasureFinding(Finding):
    """A finding about one measure of one item."""

    measure: Measure = None
    confidence: float = 0.95

    def say(self, key: str, **values) -> str:
        return phrase(SENTENCES, key, **values)

    @property
    def what(self) -> str:
        return self.label(self.outcome)

    @property
    def by_words(self) -> str:
        return listing(self.label(column) for column in self.by)

    def span(self, row, low: str = "conf_low", high: str = "conf_high") -> str:
        return self.measure.span(row[low], row[high], self.confidence)

    @property
    def headline(self) -> str:
        """The first sentence without its full stop: the title of the figure."""
        return self.sentence().split(". ")[0].rstrip(".")


def base_of(row) -> str:
    """Return n, and the effective n where it is another, in words."""
    n = f"n = {number(row['n'], 0)}"
    same = not np.isfinite(row["n_effective"]) or digits.rounded(row["n_effective"], 0) == row["n"]
    return n if same else f"{n}, effective n = {number(row['n_effective'], 0)}"


def made(kind, function, survey, measure, by, table, summary, checks, *, further=None, hidden=0, **own):
    """Return the finding of `kind` about `measure`, with what the survey knows."""
    by = by if by is None or isinstance(by, str) else ", ".join(by)
    labels = {**survey.labels, measure.key: survey.label(measure.item)}
    return kind(
        function, measure.key, by, table, summary, tuple(checks), labels, further or {}, measure=measure.described(),
        suppressed=int(hidden), domain=survey.condition, **own,
    )  # fmt: skip
