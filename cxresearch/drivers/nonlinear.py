"""Binary and ordered outcomes: the fit of all subsets behind the same interface as the linear model."""

from dataclasses import dataclass, replace

import numpy as np

from cxresearch import digits
from cxresearch.drivers.binary import Logit, logistic_relative_weights, tjur_unexplained
from cxresearch.drivers.likelihood import (
    EXACTLY,
    NEAR,
    SubsetFits,
    filled_totals,
    fit_subsets,
    null_loglik,
    replicate_logliks,
    unexplained,
)
from cxresearch.drivers.linear import Draws, dependent_columns
from cxresearch.drivers.ordered import CumulativeLogit, parallel_lines
from cxresearch.drivers.parts import FROM_SUBSETS, METHODS, noise_floor, parts_of
from cxresearch.drivers.subsets import mean_by_size
from cxresearch.drivers.terms import Terms
from cxresearch.errors import DataProblem
from cxresearch.findings import Check
from cxresearch.inference import kish_effective_n
from cxresearch.inference.shares import Moments, complete_moments, scaling, standardised, unpacked

MOST_TERMS = 14
MOST_LEVELS = 11
LARGEST_ERROR = 10.0  # a tenth of it would be large: likelihoods with a maximum stay far below
MODELS = {"binary": Logit, "ordered": CumulativeLogit}


@dataclass(frozen=True)
class LikelihoodFit:
    """As `LinearFit`, with 1 - pseudo-R² of each subset as `residuals`."""

    terms: Terms
    moments: Moments
    model: Logit | CumulativeLogit
    fits: SubsetFits
    r2: str
    method: str
    parts: np.ndarray
    methods: dict[str, np.ndarray]
    by_size: np.ndarray
    residuals: np.ndarray
    correlation: np.ndarray
    coefficients: np.ndarray
    error: np.ndarray
    floor: tuple[float, float]
    checks: tuple[Check, ...] = ()

    @property
    def joint(self) -> float:
        """Pseudo-R² of all terms, beyond the controls."""
        return float(self.residuals[0] - self.residuals[-1])

    def draw(self, weights: np.ndarray) -> Draws:
        """Return parts, joint pseudo-R², coefficients and correlations for each row of `weights` (B, n)."""
        weights = self._scaled(weights)
        if self.r2 == "tjur":
            left = tjur_unexplained(self.model, self.fits.parameters, self.fits.inverse, weights)
        else:
            left = self._unexplained(weights, replicate_logliks(self.model, self.fits, weights))
        score = weights @ self.model.rows(self.fits.parameters[-1])[1]
        return self._of(weights, left, score, self.moments.correlations(weights))

    def draw_filled(self, weights, filled, correlations) -> Draws:
        """Return the same for rows completed in each replicate, with their packed `correlations`."""
        if self.r2 == "tjur" or self.method == "relative_weights":
            return Draws.joined([self._with(c, filled.at, w).draw(w[None]) for c, w in zip(filled.columns, weights)])
        weights = self._scaled(weights)
        mean, spread = scaling(self.terms.columns, self.terms.weights)
        columns = ((filled.columns - mean) / spread)[:, :, :-1]
        more = filled_totals(self.model, self.fits, weights, filled.at, columns)
        rest = weights.copy()
        rest[:, filled.at] = 0.0
        left = self._unexplained(weights, replicate_logliks(self.model, self.fits, rest, more))
        score = rest @ self.model.rows(self.fits.parameters[-1])[1] + more[1][:, -1]
        return self._of(weights, left, score, correlations)

    def _scaled(self, weights) -> np.ndarray:
        return np.ascontiguousarray(weights * (self.model.weights.sum() / weights.sum(axis=1, keepdims=True)))

    def _unexplained(self, weights, loglik) -> np.ndarray:
        return unexplained(loglik, null_loglik(self.terms.columns[:, -1], weights), len(self.terms), self.r2)

    def _with(self, columns, at, weights) -> "LikelihoodFit":
        """Return the fit with other rows `at`, whose subsets still stand where this one's do."""
        whole = self.terms.columns.copy()
        whole[at] = columns
        mean, spread = scaling(self.terms.columns, self.terms.weights)
        x = ((whole - mean) / spread)[:, :-1]
        model = self.model.like(x, np.arange(len(x)), self.model.weights)
        terms = replace(self.terms, columns=whole)
        return replace(self, terms=terms, model=model, moments=complete_moments(whole, self.terms.weights))

    def _of(self, weights, left, score, correlations) -> Draws:
        if self.method == "relative_weights":
            parts = np.stack(
                [_relative_weights(self.terms, self.model, w, c[:, None]) for w, c in zip(weights, correlations.T)],
                axis=1,
            )
        else:
            parts = FROM_SUBSETS[self.method](left)
        full = self.fits.parameters[-1] + score @ self.fits.inverse[-1]
        coefficients = full[:, -(self.terms.columns.shape[1] - 1) :]
        return Draws(parts.T, left[0] - left[-1], coefficients, unpacked(correlations))


def fit_likelihood(terms: Terms, *, kind: str, r2: str, method: str) -> LikelihoodFit:
    """Return the fits of all subsets for a binary or ordered outcome; rows must be complete."""
    if r2 == "tjur" and kind != "binary":
        raise DataProblem(
            "r2='tjur' is a difference of two probabilities, for kind='binary' only; choose 'mcfadden' or 'nagelkerke'"
        )
    y = _outcome(terms, kind)
    weights = terms.weights * (len(terms) / terms.weights.sum())
    columns = standardised(terms.columns, weights)[:, :-1]
    model = MODELS[kind](columns, y, weights)
    members = _members(terms, model.n_parameters - columns.shape[1])
    fits = fit_subsets(model, members, near=EXACTLY if r2 == "tjur" else NEAR)
    null = float(null_loglik(y, weights[None])[0])
    residuals = (
        tjur_unexplained(model, fits.parameters)[:, 0]
        if r2 == "tjur"
        else unexplained(fits.loglik, null, len(terms), r2)
    )
    moments = complete_moments(np.column_stack([terms.columns[:, :-1], y]), weights)
    correlations = moments.correlations()
    _refuse_separation(model, fits, unpacked(correlations)[0])
    methods = {m: FROM_SUBSETS[m](residuals[:, None])[:, 0] for m in FROM_SUBSETS}
    methods["relative_weights"] = _relative_weights(terms, model, weights, correlations)
    return LikelihoodFit(
        terms,
        moments,
        model,
        fits,
        r2,
        method,
        methods[method],
        {m: methods[m] for m in METHODS},
        mean_by_size(residuals),
        residuals,
        unpacked(correlations)[0],
        fits.parameters[-1][-columns.shape[1] :],
        np.zeros(len(terms.sizes)),
        _floor(fits, residuals, null, weights, r2),
        _lines(model) if kind == "ordered" else (),
    )


def _refuse_separation(model, fits: SubsetFits, correlation) -> None:
    """Refuse a fit whose standard errors, per standard deviation of a driver, show that its slopes run away."""
    sure = ~dependent_columns(correlation)
    errors = np.sqrt(np.diagonal(fits.inverse[-1])[-len(sure) :])
    if np.any(errors[sure] > LARGEST_ERROR):
        raise DataProblem(model.diverges)


def _outcome(terms: Terms, kind: str) -> np.ndarray:
    """Return 0/1, or the answers; refuse what the kind cannot be."""
    if len(terms.sizes) > MOST_TERMS:
        raise DataProblem(
            f"kind={kind!r} fits every subset of at most {MOST_TERMS} terms; found {len(terms.sizes)}: group "
            f"drivers into blocks, or use kind='linear'"
        )
    answers = np.unique(terms.columns[:, -1])
    if kind == "binary" and len(answers) != 2:
        raise DataProblem(
            f"kind='binary' needs an outcome with two different answers; found {len(answers)} "
            f"({', '.join(f'{a:g}' for a in answers[:5])}{', …' if len(answers) > 5 else ''})"
        )
    if kind == "ordered" and not 3 <= len(answers) <= MOST_LEVELS:
        raise DataProblem(
            f"kind='ordered' needs an outcome with 3 to {MOST_LEVELS} different answers; found {len(answers)}"
        )
    return (terms.columns[:, -1] == answers[1]).astype(float) if kind == "binary" else terms.columns[:, -1]


def _members(terms: Terms, first: int) -> list[np.ndarray]:
    ends = first + terms.n_always + np.cumsum((0, *terms.sizes))
    return [np.arange(a, b) for a, b in zip(ends[:-1], ends[1:])]


def _relative_weights(terms: Terms, model, weights, correlations) -> np.ndarray:
    """Return relative weights (p,): logistic for a binary outcome, else (and with controls) of the linear model."""
    if isinstance(model, Logit) and not terms.n_always:
        columns = logistic_relative_weights(model.x[:, 1:], model.y, weights)
        return np.add.reduceat(columns, np.cumsum((0, *terms.sizes[:-1])))
    return parts_of(correlations, sizes=terms.sizes, n_always=terms.n_always, method="relative_weights")[:, 0]


def _floor(fits: SubsetFits, residuals, null: float, weights, r2: str) -> tuple[float, float]:
    """Return what a random driver gets: twice its gain in log-likelihood is chi-square on one degree of freedom."""
    n, unequal = len(weights), len(weights) / kish_effective_n(weights)
    if r2 == "tjur":
        return noise_floor(mean_by_size(residuals), n / unequal)
    by_size = np.ones(1)
    if r2 == "nagelkerke":
        by_size = np.exp(2 * (null - mean_by_size(fits.loglik)) / n)
    scale = -2 * null if r2 == "mcfadden" else n * (1 - np.exp(2 * null / n))
    mean = float(by_size.mean() * unequal / scale)
    return mean, 3.841 * mean


def _lines(model: CumulativeLogit) -> tuple[Check, ...]:
    try:
        p_value = parallel_lines(model)[1]
    except DataProblem:
        return (
            Check("parallel lines (Brant, p)", "not computed: some answer is given by too few", "at least 0.05", False),
        )
    return (Check("parallel lines (Brant, p)", digits.rounded(p_value, 4), "at least 0.05", p_value >= 0.05),)
