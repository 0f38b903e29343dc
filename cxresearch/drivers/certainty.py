"""How sure: what bootstrap draws say of shares, ranks, differences and ties.

References
----------
Hsu (1981), Annals of Statistics 9, 1026 (multiple comparisons with the best).
"""

from dataclasses import dataclass

import numpy as np

from cxresearch import digits
from cxresearch.drivers.model import Model
from cxresearch.drivers.shapley import ranks, share_of
from cxresearch.inference import percentile_interval


@dataclass(frozen=True)
class Certainty:
    """What the draws gave; arrays of missing values where none were asked for."""

    # (2, p) ends of intervals; the last three of the terms that are one rating, missing elsewhere
    part: np.ndarray
    share: np.ndarray
    rank: np.ndarray
    correlation: np.ndarray
    coefficient: np.ndarray
    slope: np.ndarray
    probability: np.ndarray  # (p, p), term x rank
    pairs: tuple  # first, second, difference of shares, low, high
    tied: tuple[str, ...]  # terms that cannot be excluded as the largest, the largest estimate apart
    r2: tuple[float, float]  # ends for the joint R²
    halo: float  # p-value of "the outcome goes with the drivers only through what they have in common"


def certainty(model: Model, *, n_boot: int, seed, confidence: float) -> Certainty:
    """Return what `n_boot` replicates say, or a record of missing values for none."""
    names, parts = model.question.names, model.division.parts
    p = len(names)
    if not n_boot:
        nothing = np.full((2, p), np.nan)
        return Certainty(*[nothing] * 6, np.full((p, p), np.nan), (np.empty(0),) * 5, (), (np.nan, np.nan), np.nan)
    draws = model.draws(n_boot, seed)
    shares, drawn = share_of(parts), share_of(draws.parts)
    drawn_ranks = ranks(draws.parts)
    tail = [(1 - confidence) / 2, (1 + confidence) / 2]
    pairs = simultaneous_differences(shares, drawn, confidence)
    return Certainty(
        np.stack(percentile_interval(draws.parts, confidence)),
        np.stack(percentile_interval(drawn, confidence)),
        np.quantile(drawn_ranks, tail, axis=0, method="nearest"),
        *(
            _of_ratings(model, d, confidence)
            for d in (draws.correlations[:, :-1, -1], draws.coefficients, draws.slopes)
        ),
        np.stack([np.mean(drawn_ranks == k + 1, axis=0) for k in range(p)], axis=1),
        pairs,
        _tied(names, shares, drawn, pairs, confidence),
        tuple(float(e) for e in percentile_interval(draws.joint, confidence)),
        model.halo_test(draws),
    )


def _of_ratings(model: Model, drawn, confidence) -> np.ndarray:
    out, rating = np.full((2, len(model.question.names)), np.nan), model.question.rating
    rated = [k for k, term in enumerate(model.question.names) if term in rating]
    columns = drawn[:, [rating[model.question.names[k]] for k in rated]]
    usable = np.isfinite(columns).any(axis=0)  # a rating that never varies has no slope
    if rated and usable.any():
        out[:, np.array(rated)[usable]] = percentile_interval(columns[:, usable], confidence)
    return out


def _tied(names, shares, drawn, pairs, confidence) -> tuple[str, ...]:
    if np.isnan(shares).any():
        return tuple(names[1:])
    # Where no pair at all is told apart, none is excluded: with equal drivers that happens 95 times in 100.
    apart = np.any((pairs[3] > 0) | (pairs[4] < 0))
    near = could_be_first(shares, drawn, confidence) if apart else np.ones(len(shares), dtype=bool)
    first, *others = digits.descending(shares)
    return tuple(names[k] for k in others if near[k])


def simultaneous_differences(estimate, draws, confidence: float):
    """Return first, second, difference, low, high of all pairs, with intervals that hold together.

    The half-width is the bootstrap standard error times one critical value for all pairs: the quantile of the
    largest |draw - estimate| / standard error. If all terms were equally important, some pair would be called
    different with probability 1 - confidence at most, however many pairs there are.
    """
    first, second = np.triu_indices(len(estimate), 1)
    difference, half = estimate[first] - estimate[second], half_widths(draws[:, first] - draws[:, second], confidence)
    return first, second, difference, difference - half, difference + half


def half_widths(drawn: np.ndarray, confidence: float) -> np.ndarray:
    """Return half-widths (k,) of intervals that hold together, from draws (B, k)."""
    centred, error = np.abs(drawn - drawn.mean(axis=0)), drawn.std(axis=0, ddof=1)
    largest = np.divide(centred, error, out=np.zeros_like(centred), where=error > 1e-12).max(axis=1)
    return np.quantile(largest, confidence) * error


def could_be_first(estimate, draws, confidence: float) -> np.ndarray:
    """Return which terms cannot be excluded as the largest: with `confidence` the truly largest is among them.

    Term i is excluded when the largest estimate exceeds its own by more than the quantile of the largest of its
    p - 1 standardised differences, drawn by bootstrap (Hsu 1981).
    """
    ahead = np.ones(len(estimate), dtype=bool)
    for i in range(len(estimate)):
        drawn = np.delete(draws, i, axis=1) - draws[:, [i]]
        error = np.maximum(drawn.std(axis=0, ddof=1), 1e-12)
        limit = np.quantile(((drawn - drawn.mean(axis=0)) / error).max(axis=1), confidence)
        ahead[i] = np.max((np.delete(estimate, i) - estimate[i]) / error) <= limit
    return ahead
