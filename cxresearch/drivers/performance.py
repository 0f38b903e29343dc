"""Importance against performance: what goes with the outcome, and how well it is rated."""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from cxresearch import digits
from cxresearch.drivers.certainty import certainty
from cxresearch.drivers.figures import draw_map
from cxresearch.drivers.model import DriverFinding, conclude, fit, model_checks
from cxresearch.drivers.question import MISSING, ask, check_options, one_thread, scales_of
from cxresearch.drivers.sentences import base_of, say, share_words, with_interval
from cxresearch.drivers.shapley import share_of
from cxresearch.findings import Check, listing, number
from cxresearch.inference import percentile_interval
from cxresearch.survey import as_survey


@dataclass(frozen=True, repr=False, eq=False)
class ImportancePerformance(DriverFinding):
    """Each driver's share of the explained variance beside its mean rating.

    ``tidy()``: `estimate` is performance (mean rating rescaled to 0-100) among those who rated it, with interval;
    `share` is importance (0-1). Where the lines of a quadrant would be drawn is a choice, so none is.
    """

    tied: tuple[str, ...] = ()

    def headline(self) -> str:
        """Return the first sentence."""
        s, t = self.summary, self.table
        if said := self.no_verdict():
            return said
        top = digits.largest(t, "share")
        share = share_words(top, s["confidence"])
        return say("first", first=self.label(top["term"]), k=len(t), outcome=self.label(self.outcome), share=share)

    def sentence(self) -> str:
        s, t = self.summary, self.table
        top, others = digits.largest(t, "share"), len(t) - 1
        lower = int((~digits.at_least(t["estimate"], top["estimate"])).sum())
        index = with_interval(number(top["estimate"]), top["conf_low"], top["conf_high"], s["confidence"])
        key, counts = "rated", {"lower": lower, "others": others}
        if others == 1:
            key, counts = "rated_other_lower" if lower else "rated_other_higher", {}
        elif lower == 1:
            key, counts = "rated_one", {"others": others}
        rated = say(key, first=self.label(top["term"]), index=index, **counts)
        if self.no_verdict():
            return f"{self.headline()} {rated}"
        standing, named = "map_ahead", {}
        if not s["n_boot"]:
            standing = "map_plain"
        elif len(self.tied) == others:
            standing = "map_open"
        elif self.tied:
            many = len(self.tied) > 4
            names = f"{len(self.tied)} others" if many else listing(map(self.label, self.tied))
            standing, named = "map_tied", {"others": names}
        return f"{self.headline()} {say(standing, base=base_of(s), **named)} {rated}"

    def plot(self, ax=None):
        return draw_map(self, ax)


@one_thread
def importance_performance(
    responses, *, outcome: str, drivers, scale: tuple[float, float] | None = None, missing: str = "em",
    n_boot: int = 1000, confidence: float = 0.95, min_rows: int = 100, seed: int,
) -> ImportancePerformance:  # fmt: skip
    """Put each driver's importance (linear; see `driver_importance`) beside its mean rating, both with intervals.

    Parameters
    ----------
    scale : (lowest, highest) rating that could be given; performance is 100 (mean - lowest) / (highest - lowest).
        None takes the scale that the survey declares for the driver, else the lowest and the highest rating found.

    Raises
    ------
    DataProblem, TooFewRespondents
        As `driver_importance`; also for a rating outside its scale.

    Examples
    --------
    >>> import cxresearch as cx
    >>> study = cx.open_study("data/example/study.yml")
    >>> drivers = ["products", "staff", "delivery"]
    >>> finding = cx.importance_performance(
    ...     study.responses, outcome="satisfaction", drivers=drivers, n_boot=200, seed=1,
    ... )
    >>> finding.tidy()[["term", "estimate", "share"]].round(2)
           term  estimate  share
    0  products     70.25   0.31
    1     staff     65.85   0.32
    2  delivery     59.66   0.37
    """
    survey = as_survey(responses)
    check_options(confidence=confidence, n_boot=n_boot, seed=seed, missing=(missing, MISSING))
    question, _ = ask(
        survey, function="importance_performance", outcome=outcome, drivers=drivers, missing=missing, min_rows=min_rows
    )
    question.ratings("importance_performance")
    scales, declared = scales_of(question, scale)
    model = fit(question, seed=seed)
    p_value, sure = model.test(), certainty(model, n_boot=n_boot, seed=seed, confidence=confidence)
    x = np.column_stack([performance_index(question.given(d), *scales[d]) for d in question.names])
    rated = ~np.isnan(x)
    batches = question.sample.replicates(n_boot, seed=seed) if n_boot else ()
    index = np.concatenate([(w @ np.where(rated, x, 0.0)) / (w @ rated) for w in (question.weights[None], *batches)])
    low, high = percentile_interval(index[1:], confidence) if n_boot else (np.nan, np.nan)
    table = pd.DataFrame(
        {"term": list(question.names), "estimate": index[0], "conf_low": low, "conf_high": high,
         "share": share_of(model.division.parts), "n": rated.sum(axis=0), "share_low": sure.share[0],
         "share_high": sure.share[1]}
    )  # fmt: skip
    told = bool(p_value <= 1 - confidence and len(sure.tied) < len(question.names) - 1)
    summary = {
        "method": "Shapley (LMG); mean ratings, bootstrap", "p_value": p_value, "df": question.df,
        "confidence": confidence, "n_boot": n_boot, "established": told if n_boot else None,
    }  # fmt: skip
    checks = (*model_checks(model, p_value, confidence), *_checks(table, sure), declared)
    more = {"tied": sure.tied, "fitted": model}
    return conclude(ImportancePerformance, "importance_performance", question, table, summary, checks, **more)


def performance_index(ratings, low: float, high: float) -> np.ndarray:
    """Return 100 (rating - low) / (high - low)."""
    return 100 * (np.asarray(ratings, dtype=float) - low) / (high - low)


def _checks(table, sure) -> tuple[Check, ...]:
    fewest = int(table["n"].min())
    spread = float(table["estimate"].max() - table["estimate"].min())
    wide = float((table["conf_high"] - table["conf_low"]).max())
    ratio = digits.rounded(wide / spread, 3) if spread else "no spread"
    precise = bool(spread and wide <= 0.5 * spread)
    return (
        Check("drivers tied with the first", len(sure.tied), "information", True, "info"),
        Check("fewest ratings of a driver", fewest, "at least 100", fewest >= 100),
        Check("widest interval against the spread of performance", ratio, "at most 0.5", precise),
    )
