"""Importance against performance: what goes with the outcome, and how well it is rated."""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from cxresearch import digits
from cxresearch.drivers.certainty import read_draws
from cxresearch.drivers.figures import place_labels
from cxresearch.drivers.linear import model_test
from cxresearch.drivers.parts import METHODS
from cxresearch.drivers.question import ask, check_chance, check_options, names_of, one_thread, ratings_only
from cxresearch.drivers.resampling import weight_batches
from cxresearch.drivers.terms import met, numeric
from cxresearch.drivers.treatments import MISSING, fit_terms
from cxresearch.drivers.words import bracketed
from cxresearch.errors import DataProblem
from cxresearch.figures import PALETTE, axes_or_new, wrap
from cxresearch.findings import Check, Finding, listing, number, percent
from cxresearch.inference import kish_effective_n, percentile_interval
from cxresearch.survey import as_survey


@dataclass(frozen=True, repr=False, eq=False)
class ImportancePerformance(Finding):
    """Each driver's share of the explained variance beside its mean rating.

    ``tidy()``: `estimate` is performance (mean rating rescaled to 0-100) among those who rated it, with interval;
    `share` is importance (0-1). Where the lines of a quadrant would be drawn is a choice, so none is.
    """

    tied: tuple[str, ...] = ()

    def sentence(self) -> str:
        s, t = self.summary, self.table
        top = digits.largest(t, "share")
        lower, others = int((~digits.at_least(t["estimate"], top["estimate"])).sum()), len(t) - 1
        rated = (
            f"{lower} of the other {others} drivers {'is' if lower == 1 else 'are'} rated lower"
            if others > 1
            else f"the other driver is rated {'lower' if lower else 'no lower'}"
        )
        if s["p_value"] > 1 - s["confidence"]:
            return (
                f"Not established which driver matters: the {len(t)} drivers go with {self.label(self.outcome)} no more "
                f"than chance gives (p = {number(s['p_value'], 3)}; n = {number(s['n'], 0)}). {self.label(top['term'])}, "
                f"with the largest share, is rated {number(top['estimate'])} of 100"
                f"{bracketed(top['conf_low'], top['conf_high'], s['confidence'])}."
            )
        tie = f", a tie with {listing(map(self.label, self.tied))}" if 0 < len(self.tied) <= 4 else ""
        tie = f", a tie with {len(self.tied)} others" if len(self.tied) > 4 else tie
        return (
            f"{self.label(top['term'])} goes with the largest share of what the drivers explain of "
            f"{self.label(self.outcome)}, "
            f"{percent(top['share'], 1)}"
            f"{bracketed(100 * top['share_low'], 100 * top['share_high'], s['confidence'])}{tie}, and is rated "
            f"{number(top['estimate'])} of 100"
            f"{bracketed(top['conf_low'], top['conf_high'], s['confidence'])}; {rated}. "
            f"n = {number(s['n'], 0)}; no quadrants are drawn, since where to draw them is a choice."
        )

    def plot(self, ax=None):
        t = self.table
        ax = axes_or_new(ax, rows=12)
        ax.hlines(100 * t["share"], t["conf_low"], t["conf_high"], color=PALETTE[0], linewidth=1.5, alpha=0.6)
        ax.vlines(
            t["estimate"], 100 * t["share_low"], 100 * t["share_high"], color=PALETTE[0], linewidth=1.5, alpha=0.6
        )
        ax.plot(t["estimate"], 100 * t["share"], "o", color=PALETTE[0])
        ax.margins(0.12)
        ax.set_xlabel("Performance: mean rating, rescaled to 0-100")
        ax.set_ylabel("Importance: share of the\nexplained variance (%)")
        ax.set_title(f"Importance and performance for {wrap(self.label(self.outcome), 40)}")
        place_labels(ax, t["estimate"], 100 * t["share"], [self.label(x) for x in t["term"]])
        return ax


def performance_index(ratings, low: float, high: float, weights=None) -> float:
    """Return 100 (mean - low) / (high - low) of the ratings that are not missing."""
    ratings = np.asarray(ratings, dtype=float)
    answered = ~np.isnan(ratings)
    return float(
        100
        * (np.average(ratings[answered], weights=None if weights is None else np.asarray(weights)[answered]) - low)
        / (high - low)
    )


@one_thread
def importance_performance(
    responses,
    *,
    outcome: str,
    drivers,
    scale: tuple[float, float] | None = None,
    method: str = "shapley",
    missing: str = "em",
    n_boot: int = 1000,
    confidence: float = 0.95,
    min_rows: int = 100,
    seed: int,
) -> ImportancePerformance:
    """Put each driver's importance (linear; see `driver_importance`) beside its mean rating, both with intervals.

    Parameters
    ----------
    scale : (lowest, highest) rating that could be given; performance is 100 (mean - lowest) / (highest - lowest).
        None takes the lowest and the highest rating that any driver was given.

    Raises
    ------
    DataProblem, TooFewRespondents
        As `driver_importance`; also for a rating outside `scale`.

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
    responses = survey.table
    weight, strata, cluster, fpc = survey.design
    labels, min_base = survey.labels, survey.min_base
    check_options(confidence=confidence, method=(method, METHODS), missing=(missing, MISSING))
    check_chance(n_boot, seed)
    drivers = names_of(drivers)
    design = dict(weight=weight, strata=strata, cluster=cluster, fpc=fpc)
    terms, _ = ask(
        responses,
        function="importance_performance",
        outcome=outcome,
        drivers=drivers,
        missing=missing,
        min_rows=min_rows,
        min_base=min_base,
        design=design,
    )
    ratings_only(terms, "importance_performance")
    scale = scale or found_scale(responses, drivers)
    check_scale(responses, drivers, scale)
    fit = fit_terms(terms, kind="linear", r2="mcfadden", method=method, missing=missing, seed=seed)
    p_value, df = model_test(terms, fit.moments)
    read = read_draws(fit, n_boot=n_boot, seed=seed, confidence=confidence, kind="percentile", df=df)
    index = _indices(terms, scale, n_boot, seed, _raw_means(responses, outcome, drivers, weight))
    table = _table(terms, fit, read, index, confidence)
    summary = {
        "n": len(terms),
        **({"n_effective": kish_effective_n(terms.weights)} if weight else {}),
        "method": f"{method}; mean ratings, bootstrap",
        "p_value": p_value,
        "confidence": confidence,
        "n_boot": n_boot,
    }
    return ImportancePerformance(
        "importance_performance",
        outcome,
        None,
        table,
        summary,
        _checks(table, summary, read),
        dict(labels or {}),
        tied=read.tied,
    )


def found_scale(responses, drivers) -> tuple[float, float]:
    """Return the lowest and the highest rating given to any of the drivers."""
    ratings = np.concatenate([numeric(responses, d) for d in drivers])
    return float(np.nanmin(ratings)), float(np.nanmax(ratings))


def check_scale(responses, drivers, scale) -> None:
    """Refuse a scale upside down and ratings outside it."""
    low, high = scale
    if not low < high:
        raise DataProblem(f"scale=({low:g}, {high:g}) must be (lowest, highest)")
    for d in drivers:
        x = numeric(responses, d)
        outside = x[digits.outside(x, low, high)]
        if outside.size:
            raise DataProblem(
                f"{d!r} holds {outside.size} ratings outside {low:g}-{high:g} (first: {outside[0]:g}); correct "
                f"scale= or declare them missing"
            )


def _raw_means(responses, outcome, drivers, weight) -> dict[str, float]:
    # A never-met touchpoint's column is centred among those who met it and answered the outcome: this puts it back.
    weights = np.ones(len(responses)) if weight is None else numeric(responses, weight)
    asked = ~np.isnan(numeric(responses, outcome)) & (weights > 0)
    means = {}
    for d in drivers:
        x = numeric(responses, d)
        rated = asked & met(responses, d) & ~np.isnan(x)
        means[d] = float(np.average(x[rated], weights=weights[rated]))
    return means


def _rated(terms, term) -> np.ndarray:
    columns = terms.columns[:, terms.columns_of(term)]
    return ~np.isnan(columns[:, 0]) & (columns[:, 1] == 1 if columns.shape[1] == 2 else True)


def _indices(terms, scale, n_boot, seed, means) -> np.ndarray:
    """Return performance (1 + n_boot, p), 0-100: of the sample, then of each replicate."""
    rated = np.stack([_rated(terms, t) for t in terms.names], axis=1)
    starts = [terms.columns_of(t).start for t in terms.names]
    x = terms.columns[:, starts] + [means[t] if t in terms.share_exposed else 0.0 for t in terms.names]
    x = np.where(rated, 100 * (x - scale[0]) / (scale[1] - scale[0]), 0.0)
    batches = weight_batches(terms.weights, n_boot=n_boot, seed=seed, **terms.design)
    return np.concatenate([w @ x / (w @ rated) for w in (terms.weights[None], *batches)])


def _table(terms, fit, read, index, confidence) -> pd.DataFrame:
    low, high = percentile_interval(index[1:], confidence) if len(index) > 1 else (np.nan, np.nan)
    return pd.DataFrame(
        {
            "term": list(terms.names),
            "estimate": index[0],
            "conf_low": low,
            "conf_high": high,
            "share": fit.parts / fit.parts.sum(),
            "n": [int(_rated(terms, t).sum()) for t in terms.names],
            "share_low": read.share[0],
            "share_high": read.share[1],
        }
    )


def _checks(table, summary, read) -> tuple[Check, ...]:
    alpha = 1 - summary["confidence"]
    fewest = int(table["n"].min())
    spread = float(table["estimate"].max() - table["estimate"].min())
    wide = float((table["conf_high"] - table["conf_low"]).max())
    return (
        Check(
            "model beyond chance (p)",
            digits.rounded(summary["p_value"], 4),
            f"at most {number(alpha, 2)}",
            summary["p_value"] <= alpha,
        ),
        Check("drivers tied with the first", len(read.tied), "0", not read.tied),
        Check("fewest ratings of a driver", fewest, "at least 100", fewest >= 100),
        Check(
            "widest interval against the spread of performance",
            digits.rounded(wide / spread, 3) if spread else "no spread",
            "at most 0.5",
            bool(spread and wide <= 0.5 * spread),
        ),
    )
