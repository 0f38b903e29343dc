"""How sure: what the bootstrap draws of parts, ranks, coefficients and halo say."""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from cxresearch import digits
from cxresearch.drivers.halo import common_only_test
from cxresearch.drivers.imputation import ImputedFit
from cxresearch.drivers.linear import Draws, LinearFit
from cxresearch.drivers.resampling import (
    could_be_first,
    deleted_weights,
    ends,
    rank_probabilities,
    ranks,
    share_draws,
    simultaneous_differences,
    weight_batches,
)
from cxresearch.inference import percentile_interval

TWICE = 200  # replicates whose skipped answers are imputed a second time


@dataclass(frozen=True)
class Certainty:
    """What the draws gave; arrays of missing values where none were asked for.

    Attributes
    ----------
    part, share, rank, correlation, coefficient : (2, p) arrays
        Ends of the intervals; the last two of the terms that are one rating, missing elsewhere.
    probability : (p, p) array, term x rank
    pairs : first, second, difference of shares, low, high
    tied : terms that cannot be excluded as the largest, the largest estimate apart
    r2 : ends for the joint R²
    pooled : Rubin's standard errors, where answers were imputed
    halo : p-value of "the outcome goes with the drivers only through what they have in common"
    """

    part: np.ndarray
    share: np.ndarray
    rank: np.ndarray
    correlation: np.ndarray
    coefficient: np.ndarray
    probability: np.ndarray
    pairs: tuple
    tied: tuple[str, ...]
    r2: tuple[float, float]
    halo: float
    pooled: pd.DataFrame | None = None


def read_draws(fit: LinearFit, *, n_boot: int, seed, confidence: float, kind: str, df: float) -> Certainty:
    """Return what `n_boot` replicates say, or a record of missing values for none."""
    p = len(fit.parts)
    if not n_boot:
        nothing = np.full((2, p), np.nan)
        empty = np.empty(0)
        return Certainty(
            nothing,
            nothing,
            nothing,
            nothing,
            nothing,
            np.full((p, p), np.nan),
            (empty,) * 5,
            (),
            (np.nan, np.nan),
            np.nan,
        )
    draws = draw_all(fit, n_boot=n_boot, seed=seed)
    # The acceleration is of one completed copy: noise of new imputations would swamp the deletion of a few rows.
    whole = fit.each[0] if isinstance(fit, ImputedFit) else fit
    deleted = whole.draw(_deleted(fit)).parts if kind == "bca" else None
    shares, drawn = fit.parts / fit.parts.sum(), share_draws(draws.parts)
    tail = np.nanquantile(ranks(draws.parts), [(1 - confidence) / 2, (1 + confidence) / 2], axis=0, method="nearest")
    pairs = simultaneous_differences(shares, drawn, confidence)
    return Certainty(
        np.stack(ends(fit.parts, draws.parts, deleted, confidence, kind)),
        np.stack(ends(shares, drawn, None if deleted is None else share_draws(deleted), confidence, kind)),
        tail,
        _of_ratings(fit, draws.correlations[:, :-1, -1], confidence),
        _of_ratings(fit, draws.coefficients, confidence),
        rank_probabilities(draws.parts),
        pairs,
        _tied(fit, shares, drawn, pairs, confidence),
        tuple(float(e) for e in percentile_interval(draws.joint, confidence)),
        _halo(fit, draws, df),
        fit.pooled(seed) if isinstance(fit, ImputedFit) else None,
    )


def draw_all(fit: LinearFit, *, n_boot: int, seed) -> Draws:
    """Return `n_boot` bootstrap replicates of the fit, a bounded number of weights at a time.

    Where answers are imputed, the first replicates are imputed a second time, to take one imputation's noise out.
    """
    terms, done, again = fit.terms, [], None
    for weights in weight_batches(terms.weights, n_boot=n_boot, seed=seed, **terms.design):
        done.append(fit.draw(weights))
        if isinstance(fit, ImputedFit) and again is None:
            again = fit.draw(weights[:TWICE])
    return Draws.joined(done) if again is None else fit.settled(Draws.joined(done), again)


def _deleted(fit) -> np.ndarray:
    return deleted_weights(fit.terms.weights, strata=fit.terms.strata, cluster=fit.terms.cluster)


def _of_ratings(fit, drawn, confidence) -> np.ndarray:
    out = np.full((2, len(fit.parts)), np.nan)
    for k, term in enumerate(fit.terms.names):
        if term in fit.terms.rating:
            out[:, k] = percentile_interval(drawn[:, fit.terms.rating[term]], confidence)
    return out


def _tied(fit, shares, drawn, pairs, confidence) -> tuple[str, ...]:
    # Where no pair at all is told apart, none is excluded: with equal drivers that happens 95 times in 100.
    apart = np.any((pairs[3] > 0) | (pairs[4] < 0))
    near = could_be_first(shares, drawn, confidence) if apart else np.ones(len(shares), dtype=bool)
    first, *others = digits.descending(shares)
    return tuple(fit.terms.names[k] for k in others if near[k])


def _halo(fit, draws: Draws, df: float) -> float:
    columns = [c for c in fit.terms.rating.values() if fit.correlation[c, c] > 0]
    if len(columns) < 4 or df < len(columns):
        return float("nan")
    at = np.array([*columns, len(fit.correlation) - 1])
    return common_only_test(fit.correlation[at[:, None], at][None], draws.correlations[:, at[:, None], at], df)[1]
