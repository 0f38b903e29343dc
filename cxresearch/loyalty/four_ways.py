"""The score's coefficient in a panel, four ways: pooled, beside customers' means, with effects, in differences.

References
----------
Mundlak (1978), Econometrica 46:69-85; Hausman, Hall & Griliches (1984), Econometrica 52:909-938.
"""

import numpy as np
import pandas as pd
from scipy import stats

from cxresearch.inference import critical_value
from cxresearch.inference.clusters import cr2
from cxresearch.loyalty.contrast import Estimates, estimate
from cxresearch.loyalty.covariance import Sampling, influence_covariance
from cxresearch.loyalty.design import Sample, sample
from cxresearch.loyalty.ladder import Plan
from cxresearch.loyalty.models import LEVELS, fit_glm
from cxresearch.loyalty.shape import wald


def keeps_two_rows(table: pd.DataFrame, customer: str) -> bool:
    """Return whether most customers have two rows: an intercept each leaves something to compare only then."""
    return len(table) > 0 and bool((table[customer].value_counts() >= 2).mean() > 0.5)


def four_ways(panel, asked: dict, cluster, confidence: float, min_rows: int) -> tuple[pd.DataFrame, float]:
    """Return the coefficient of the score by model, and p of the Wald test that customers' means add nothing."""
    revenue, loyalty, customer, period, controls = asked.values()
    common = {"revenue": revenue, "loyalty": loyalty, "cluster": cluster, "min_rows": min_rows}
    table, means = with_means(panel, customer, (loyalty, *controls))
    fits = {
        "pooled, period effects": sample(panel, controls=controls, effects=(period,), **common),
        "customer means beside the score (Mundlak)": sample(
            table, controls=(*controls, *means), effects=(period,), **common
        ),
    }
    within = None
    if keeps_two_rows(panel.dropna(subset=[loyalty]), customer):
        within = sample(panel, controls=controls, effects=(customer, period), **common)
        fits["customer and period effects"] = within
    got = {name: estimate(s, Plan("poisson", "linear")) for name, s in fits.items()}
    rows = [_model(name, got[name], loyalty, s.n, confidence) for name, s in fits.items()]
    rows += [] if within is None else [_differences(within, panel, customer, period, loyalty, confidence)]
    mundlak = got["customer means beside the score (Mundlak)"]
    at = [mundlak.fit.terms.index(name) for name in means]
    return pd.DataFrame(rows), wald(mundlak.values[at], mundlak.covariance[np.ix_(at, at)], float(mundlak.df[at[0]]))[1]


def with_means(panel: pd.DataFrame, customer: str, columns) -> tuple[pd.DataFrame, list[str]]:
    """Return the panel with each customer's mean of every numeric column that varies within customers; their names."""
    found = {}
    for column in columns:
        if not pd.api.types.is_numeric_dtype(panel[column]) or pd.api.types.is_bool_dtype(panel[column]):
            continue
        own = panel.groupby(customer)[column].transform("mean")
        if not np.allclose(panel[column].fillna(own), own):
            found[f"customer mean of {column}"] = own
    return panel.assign(**found), list(found)


def _model(name: str, got: Estimates, loyalty: str, n: int, confidence: float) -> dict:
    value, low, high, p = got.interval_at(got.fit.terms.index(loyalty), confidence)
    percents = {k: 100 * np.expm1(v) for k, v in zip(("percent", "percent_low", "percent_high"), (value, low, high))}
    return {"term": name, **percents, "p_value": p, "n": n}


def _differences(s: Sample, panel: pd.DataFrame, customer: str, period: str, loyalty: str, confidence: float) -> dict:
    """Return the linear coefficient of changes of revenue on changes of the score, in percent of mean revenue."""
    order = np.lexsort((pd.factorize(panel[period].to_numpy()[s.rows], sort=True)[0], s.effects[0]))
    who, when = s.effects[0][order], pd.factorize(panel[period].to_numpy()[s.rows], sort=True)[0][order]
    next_to = (who[1:] == who[:-1]) & (when[1:] == when[:-1] + 1)
    diff = lambda v: np.diff(v[order], axis=0)[next_to]  # noqa: E731
    dummies = (when[1:][next_to][:, None] == np.unique(when[1:][next_to])).astype(float)
    X = np.column_stack([diff(s.score), diff(s.Z), dummies])
    fit = fit_glm(X, diff(s.y), np.ones(len(X)), LEVELS)
    sampling = Sampling(clusters=tuple(c[order][1:][next_to] for c in s.sampling.clusters))
    error, df = _error_and_df(X, diff(s.y) - fit.mu, fit.influence, sampling)
    half, scale = critical_value(confidence, df) * error, 100 / s.y.mean()
    p = 2 * stats.t.sf(abs(fit.coef[0]) / error, df)
    ends = {"percent": fit.coef[0], "percent_low": fit.coef[0] - half, "percent_high": fit.coef[0] + half}
    return {"term": "first differences, linear", **{k: v * scale for k, v in ends.items()}, "p_value": p, "n": len(X)}


def _error_and_df(X, residual, influence, sampling: Sampling) -> tuple[float, float]:
    """Return error and degrees of freedom of the first coefficient: CR2 where clusters are few."""
    if sampling.few and len(sampling.clusters) == 1:
        covariance, df = cr2(X, residual, sampling.clusters[0])
        return float(np.sqrt(covariance[0, 0])), float(df[0])
    covariance = influence_covariance(influence, sampling, X.shape[1])
    return float(np.sqrt(covariance[0, 0])), sampling.degrees_of_freedom(len(X), X.shape[1])
