"""Importance against performance: what goes with the outcome, and how well it is rated."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd

from cxresearch.drivers.certainty import draw_all
from cxresearch.drivers.figures import place_labels
from cxresearch.drivers.parts import METHODS
from cxresearch.drivers.question import ask, check_chance, check_options, names_of, one_thread, ratings_only
from cxresearch.drivers.resampling import replicate_weights, share_draws
from cxresearch.drivers.terms import met, numeric
from cxresearch.drivers.treatments import MISSING, fit_terms
from cxresearch.errors import DataProblem
from cxresearch.figures import PALETTE, axes_or_new, wrap
from cxresearch.findings import Check, Finding, interval, number, percent
from cxresearch.inference import kish_effective_n, percentile_interval


@dataclass(frozen=True, repr=False, eq=False)
class ImportancePerformance(Finding):
    """Each driver's share of the explained variance beside its mean rating.

    ``tidy()``: `estimate` is performance (mean rating rescaled to 0-100) among those who rated it, with interval;
    `share` is importance (0-1). Where the lines of a quadrant would be drawn is a choice, so none is.
    """

    def sentence(self) -> str:
        s, t = self.summary, self.table
        top = t.loc[t["share"].idxmax()]
        lower = int((t["estimate"] < top["estimate"]).sum())
        return (
            f"{self.label(top['term'])} goes with the largest share of what the drivers explain of "
            f"{self.label(self.outcome)}, "
            f"{percent(top['share'], 1)} "
            f"({interval(100 * top['share_low'], 100 * top['share_high'], s['confidence'])}), and is rated "
            f"{number(top['estimate'])} of 100 "
            f"({interval(top['conf_low'], top['conf_high'], s['confidence'])}); {lower} of the other "
            f"{len(t) - 1} drivers are rated lower. "
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
    responses: pd.DataFrame,
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
    weight: str | None = None,
    strata: str | None = None,
    cluster: str | None = None,
    fpc: str | None = None,
    labels: Mapping[str, str] | None = None,
    min_base: int = 1,
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
    """
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
    table = _table(terms, fit, scale, n_boot, seed, confidence, _raw_means(responses, outcome, drivers, weight))
    summary = {
        "n": len(terms),
        **({"n_effective": kish_effective_n(terms.weights)} if weight else {}),
        "method": f"{method}; mean ratings, bootstrap",
        "confidence": confidence,
        "n_boot": n_boot,
    }
    return ImportancePerformance(
        "importance_performance", outcome, None, table, summary, _checks(table), dict(labels or {})
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
        outside = x[(x < low) | (x > high)]
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


def _table(terms, fit, scale, n_boot, seed, confidence, means) -> pd.DataFrame:
    shares = fit.parts / fit.parts.sum()
    draws = draw_all(fit, n_boot=n_boot, seed=seed).parts if n_boot else np.full((1, len(shares)), np.nan)
    share_low, share_high = percentile_interval(share_draws(draws), confidence) if n_boot else (np.nan, np.nan)
    rng = np.random.default_rng(seed)
    weights = [terms.weights[None]]
    if n_boot:
        weights.append(
            replicate_weights(
                terms.weights, n_boot=n_boot, rng=rng, strata=terms.strata, cluster=terms.cluster, fpc=terms.fpc
            )
        )
    weights = np.concatenate(weights)
    rows = []
    for k, d in enumerate(terms.names):
        columns = terms.columns[:, terms.columns_of(d)]
        rated = ~np.isnan(columns[:, 0]) & (columns[:, 1] == 1 if columns.shape[1] == 2 else True)
        x = columns[rated, 0] + (means[d] if d in terms.share_exposed else 0.0)
        index = 100 * (weights[:, rated] @ x / weights[:, rated].sum(axis=1) - scale[0]) / (scale[1] - scale[0])
        low, high = percentile_interval(index[1:], confidence) if n_boot else (np.nan, np.nan)
        rows.append(
            {
                "term": d,
                "estimate": index[0],
                "conf_low": low,
                "conf_high": high,
                "share": shares[k],
                "n": int(rated.sum()),
            }
        )
    return pd.DataFrame(rows).assign(share_low=share_low, share_high=share_high)


def _checks(table) -> tuple[Check, ...]:
    fewest = int(table["n"].min())
    spread = float(table["estimate"].max() - table["estimate"].min())
    wide = float((table["conf_high"] - table["conf_low"]).max())
    return (
        Check("fewest ratings of a driver", fewest, "at least 100", fewest >= 100),
        Check(
            "widest interval against the spread of performance",
            round(wide / spread, 3) if spread else "no spread",
            "at most 0.5",
            bool(spread and wide <= 0.5 * spread),
        ),
    )
