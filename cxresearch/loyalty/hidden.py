"""How strong a cause that was not measured would have to be to carry the finding away."""

import numpy as np
import pandas as pd
from scipy import stats

from cxresearch.errors import DataProblem
from cxresearch.inference import e_value
from cxresearch.loyalty.cases import Cases
from cxresearch.loyalty.glm import LEVELS, fit_glm


def partial_r2(t: float, df: float) -> float:
    """Return t^2 / (t^2 + df): the share of what is left of the outcome that the term takes (0-1)."""
    return float(t**2 / (t**2 + df))


def robustness_value(t: float, df: float, *, alpha: float | None = None) -> float:
    """Return the partial R² (0-1) that a hidden cause needs with score and revenue alike to undo the estimate."""
    f = abs(t) / np.sqrt(df)
    if alpha is not None:
        critical = stats.t.ppf(1 - alpha / 2, df - 1) / np.sqrt(df - 1)
        if f <= critical:
            return 0.0
        if f > 1 / critical:
            return float((f**2 - critical**2) / (1 + f**2))
        f = f - critical
    return float((np.sqrt(f**4 + 4 * f**2) - f**2) / 2)


def bias_of(std_error: float, df: float, r2_revenue, r2_score):
    """Return how far a hidden cause of that strength can move a least-squares coefficient."""
    return std_error * np.sqrt(df * r2_revenue * r2_score / (1 - r2_score))


def levels_model(s: Cases) -> tuple[float, float, float]:
    """Return coefficient, classical error and df of the score in the unweighted linear model of revenue."""
    X = np.column_stack([s.score, s.Z, *([] if s.effects else [np.ones(len(s.y))])])
    absorbed = sum(len(np.unique(g)) - 1 for g in s.effects) + bool(s.effects)
    fit, df = fit_glm(X, s.y, s.counts, LEVELS, effects=s.effects), float(s.n - X.shape[1] - absorbed)
    if df < 2:
        raise DataProblem(f"the linear model has {df:.0f} degrees of freedom; leave out controls or effects")
    return float(fit.coef[0]), float(np.sqrt(s.counts @ np.square(s.y - fit.mu) / df * fit.bread[0, 0])), df


def hidden_cause(levels: tuple[float, float, float], head: dict, confidence: float) -> dict[str, float]:
    """Return robustness values of the linear model in levels and E-values of the ratio of groups."""
    t, df = levels[0] / levels[1], levels[2]
    return {
        "robustness_value": robustness_value(t, df), "partial_r2": partial_r2(t, df),
        "robustness_value_limit": robustness_value(t, df, alpha=1 - confidence), "e_value": e_value(head["ratio"]),
        "e_value_limit": e_value(head["ratio_low"], head["ratio_high"]),
    }  # fmt: skip


def benchmark_bounds(s: Cases, *, times=(1.0, 2.0, 3.0), confidence: float = 0.95) -> pd.DataFrame:
    """Return what a hidden cause `times` as strong as each control would leave of the linear model in levels."""
    columns = ["term", "times", "r2_score", "r2_revenue", "estimate", "std_error", "conf_low", "conf_high"]
    if not s.controls or s.effects:
        return pd.DataFrame(columns=columns)
    estimate, error, df = levels_model(s)
    rows = []
    for i, control in enumerate(s.controls):
        own = _strength(s, np.flatnonzero(s.of_control == i))
        for k in times:
            score, revenue = bounds(*own, k)
            remaining = np.sign(estimate) * (abs(estimate) - bias_of(error, df, revenue, score))
            spread = error * np.sqrt((1 - revenue) / (1 - score)) * np.sqrt(df / (df - 1))
            half = stats.t.ppf((1 + confidence) / 2, df - 1) * spread
            rows.append((control, k, score, revenue, remaining, spread, remaining - half, remaining + half))
    return pd.DataFrame(rows, columns=columns)


def _strength(s: Cases, block) -> tuple[float, float]:
    """Return the joint partial R² of the columns `block` of Z with the score, and with revenue given score and others."""

    def taken(X, y, columns):
        squares = lambda X: s.counts @ np.square(y - fit_glm(X, y, s.counts, LEVELS).mu)  # noqa: E731
        return 1 - squares(X) / squares(np.delete(X, columns, axis=1))

    ones = np.ones((len(s.y), 1))
    with_score = taken(np.column_stack([ones, s.Z]), s.score, block + 1)
    return with_score, taken(np.column_stack([ones, s.score, s.Z]), s.y, block + 2)


def bounds(r2_score: float, r2_revenue: float, k: float) -> tuple[float, float]:
    """Return partial R² with score and revenue of a cause k times as strong as a control; missing if too strong."""
    score = k * r2_score / (1 - r2_score)
    if score >= 1:
        return np.nan, np.nan
    shared = k * r2_score**2 / ((1 - k * r2_score) * (1 - r2_score))
    revenue = ((np.sqrt(k) + np.sqrt(shared)) / np.sqrt(1 - shared)) ** 2 * r2_revenue / (1 - r2_revenue)
    return float(score), float(min(revenue, 1.0))


def contour(levels: tuple[float, float, float], *, most: float, steps: int = 21):
    """Return strengths 0 to `most` (steps,) and what a hidden cause of each would leave (revenue's by score's)."""
    estimate, error, df = levels
    strength = np.linspace(0, most, steps)
    score, revenue = np.meshgrid(strength, strength)
    return strength, np.sign(estimate) * (abs(estimate) - bias_of(error, df, revenue, score))
