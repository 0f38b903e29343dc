"""The tables and checks of a driver finding."""

import numpy as np
import pandas as pd
from scipy import stats

from cxresearch import digits
from cxresearch.drivers.certainty import Certainty
from cxresearch.drivers.linear import LinearFit, dependent_columns
from cxresearch.drivers.parts import METHODS
from cxresearch.drivers.resampling import design_units, ranks
from cxresearch.drivers.subsets import average_coefficients, conditional_dominance
from cxresearch.findings import Check, listing, number
from cxresearch.inference.shares import TOLERANCE, unpacked

DOMINANCE = 15  # terms up to which the dominance table is written
COEFFICIENTS = 10  # terms up to which all models are solved for their coefficients


def importance_table(fit: LinearFit, read: Certainty) -> pd.DataFrame:
    """Return one row per term, in the order asked."""
    terms = fit.terms
    shares = _shares(fit.parts)
    return pd.DataFrame(
        {
            "term": list(terms.names),
            "estimate": fit.parts,
            "conf_low": read.part[0],
            "conf_high": read.part[1],
            "share": shares,
            "share_low": read.share[0],
            "share_high": read.share[1],
            "rank": ranks(fit.parts),
            "rank_low": read.rank[0],
            "rank_high": read.rank[1],
            "relative_weight": _shares(fit.methods["relative_weights"]),
            "correlation": _of_rating(fit, fit.correlation[:-1, -1]),
            "coefficient": _of_rating(fit, fit.coefficients),
            "direction": _directions(fit, read),
            **(
                {"share_exposed": [terms.share_exposed.get(t, 1.0) for t in terms.names]} if terms.share_exposed else {}
            ),
            "n": [_answers(terms, t) for t in terms.names],
        }
    )


def _answers(terms, term: str) -> int:
    columns = terms.columns[:, terms.columns_of(term)]
    answered = ~np.isnan(columns).any(axis=1)
    return int(
        (answered & (columns[:, 1] == 1)).sum()
        if term in terms.share_exposed and columns.shape[1] == 2
        else answered.sum()
    )


def _shares(parts: np.ndarray) -> np.ndarray:
    total = parts.sum()
    return parts / total if total > 1e-12 else np.full_like(parts, np.nan)


def _of_rating(fit, values) -> list[float]:
    return [float(values[fit.terms.rating[t]]) if t in fit.terms.rating else np.nan for t in fit.terms.names]


def _directions(fit, read) -> list[str]:
    r, b = np.array(_of_rating(fit, fit.correlation[:-1, -1])), np.array(_of_rating(fit, fit.coefficients))
    words = []
    for k in range(len(r)):
        sure = [not (low <= 0 <= high) for low, high in (read.correlation[:, k], read.coefficient[:, k])]
        if np.isnan(r[k]):
            words.append("several columns")
        elif r[k] * b[k] < 0 and all(sure):
            words.append("conflict")
        else:
            words.append("unclear" if not sure[0] or r[k] == 0 else "positive" if r[k] > 0 else "negative")
    return words


def further_tables(fit: LinearFit, read: Certainty) -> dict[str, pd.DataFrame]:
    """Return ranks, differences and methods, and where they apply dominance, imputation and exposure."""
    names = np.array(fit.terms.names)
    tables = {"methods": _methods(fit)}
    if len(read.pairs[0]):
        first, second, difference, low, high = read.pairs
        p = len(names)
        tables["ranks"] = pd.DataFrame(
            {
                "term": np.repeat(names, p),
                "rank": np.tile(np.arange(1, p + 1), p),
                "probability": read.probability.ravel(),
            }
        )
        tables["differences"] = pd.DataFrame(
            {
                "term": names[first],
                "other": names[second],
                "estimate": difference,
                "conf_low": low,
                "conf_high": high,
                "told_apart": (low > 0) | (high < 0),
            }
        )
    if fit.residuals is not None and len(names) <= DOMINANCE:
        gains = conditional_dominance(fit.residuals)
        tables["dominance"] = pd.DataFrame(
            {
                "term": np.repeat(names, len(names)),
                "n_entered": np.tile(np.arange(len(names)), len(names)),
                "estimate": gains.ravel(),
            }
        )
    if isinstance(fit, LinearFit) and set(fit.terms.sizes) == {1} and not fit.terms.n_always:
        tables["diagnostics"] = _diagnostics(fit)
        if len(names) <= COEFFICIENTS:
            tables["coefficients"] = _coefficients(fit)
    if read.pooled is not None:
        tables["imputation"] = read.pooled
    if fit.terms.share_exposed:
        tables["exposure"] = _exposure(fit)
    return tables


def _methods(fit) -> pd.DataFrame:
    shares = {m: _shares(fit.methods[m]) for m in METHODS}
    return pd.DataFrame(
        {"term": list(fit.terms.names), **shares, **{f"rank_{m}": ranks(fit.methods[m]) for m in METHODS}}
    )


def _diagnostics(fit) -> pd.DataFrame:
    """Return squared coefficients, Pratt's b r and CAR scores (Zuber & Strimmer 2011): parts of R² by other rules."""
    among, r, b = fit.correlation[:-1, :-1], fit.correlation[:-1, -1], fit.coefficients
    values, vectors = np.linalg.eigh(among)
    root = (vectors / np.sqrt(np.maximum(values, TOLERANCE))) * (values > TOLERANCE)
    return pd.DataFrame(
        {
            "term": list(fit.terms.names),
            "squared_coefficient": b**2,
            "pratt": b * r,
            "car": (root @ vectors.T @ r) ** 2,
        }
    )


def _coefficients(fit) -> pd.DataFrame:
    """Return each driver's mean coefficient, in points of the outcome a point, over the models of each size."""
    names, columns, weights = fit.terms.names, fit.terms.columns, fit.terms.weights
    spreads = np.sqrt(np.diag(unpacked(fit.moments.covariances())[0]))
    spreads = spreads * [_spread(column, weights) for column in columns.T]
    points = spreads[-1] / np.where(spreads[:-1] > 0, spreads[:-1], np.nan)
    return pd.DataFrame(
        {
            "term": np.repeat(list(names), len(names)),
            "n_entered": np.tile(np.arange(len(names)), len(names)),
            "estimate": (average_coefficients(fit.correlation) * points[:, None]).ravel(),
        }
    )


def _exposure(fit) -> pd.DataFrame:
    """Return the slope among those who met a touchpoint, the share that did, and their product."""
    terms, rows = fit.terms, []
    y = terms.columns[:, -1]
    spread = _spread(y, terms.weights)
    for term, share in terms.share_exposed.items():
        x = terms.columns[:, terms.rating[term]]
        x_spread = _spread(x, terms.weights)
        slope = fit.coefficients[terms.rating[term]] * spread / x_spread if x_spread > 0 else np.nan
        rows.append(
            {
                "term": term,
                "share_exposed": share,
                "exposed_slope": slope,
                "aggregate_slope": slope * share,
                "n": _answers(terms, term),
            }
        )
    return pd.DataFrame(rows)


def _spread(x, weights) -> float:
    answered = ~np.isnan(x)
    mean = np.average(x[answered], weights=weights[answered])
    return float(np.sqrt(np.average((x[answered] - mean) ** 2, weights=weights[answered])))


def importance_checks(fit: LinearFit, read: Certainty, table, summary, everyone, *, min_rows: int) -> tuple[Check, ...]:
    """Return the checks of the data, the model and the order of the drivers."""
    alpha = 1 - summary["confidence"]
    terms = fit.terms
    checks = [
        Check("rows used", len(terms), f"at least {min_rows}; {terms.received} received", len(terms) >= min_rows),
        Check(
            "model beyond chance (p)",
            digits.rounded(summary["p_value"], 4),
            f"at most {number(alpha, 2)}",
            summary["p_value"] <= alpha,
        ),
    ]
    if terms.cluster is not None:
        stratum, unit = design_units(len(terms), terms.strata, terms.cluster)
        df = int(unit.max() - stratum.max())
        checks.append(Check("clusters less strata", df, "at least 20, else intervals are too narrow", df >= 20))
    if np.isnan(everyone.columns).any():
        share = float(everyone.complete().mean())
        checks.append(
            Check(
                "share of rows that skipped nothing",
                digits.rounded(share, 3),
                "at least 0.5, else compare the table of missing",
                share >= 0.5,
            )
        )
    checks += [_dependent(fit), _agreement(fit)]
    if summary["n_boot"]:
        checks += _certainty_checks(fit, read, table, summary, alpha)
    if fit.error.any():
        ratio = float(fit.error.max() / fit.parts.sum())
        checks.append(
            Check("largest sampling error of a share", digits.rounded(ratio, 5), "at most 0.005", ratio <= 0.005)
        )
    return (*checks, *fit.checks)


def _dependent(fit) -> Check:
    found = [t for t in fit.terms.names if dependent_columns(fit.correlation)[fit.terms.columns_of(t)].any()]
    return Check("drivers constant or a sum of others", listing(found), "none", not found)


def _agreement(fit) -> Check:
    orders = np.array([ranks(fit.methods[m]) for m in METHODS], dtype=float)
    rho = (
        float(np.min(np.atleast_1d(stats.spearmanr(orders.T).statistic)))
        if len(fit.parts) > 2
        else 1.0 - 2.0 * (len({tuple(o) for o in orders}) > 1)
    )
    return Check("lowest rank correlation of four methods", digits.rounded(rho, 3), "at least 0.7", bool(rho >= 0.7))


def _certainty_checks(fit, read, table, summary, alpha) -> list[Check]:
    conflicts = list(table["term"][table["direction"] == "conflict"])
    low = list(table["term"][table["estimate"] <= fit.floor[1]])
    checks = [
        Check("drivers tied with the first", len(read.tied), "0", not read.tied),
        Check("sign of coefficient against correlation", listing(conflicts), "none", not conflicts),
        Check("parts a random driver could get", listing(low), f"none at or under {number(fit.floor[1], 5)}", not low),
    ]
    if np.isfinite(read.halo):
        checks.append(
            Check(
                "more than a common halo (p)",
                digits.rounded(read.halo, 4),
                f"at most {number(alpha, 2)}",
                read.halo <= alpha,
            )
        )
    return checks
