"""Do the items of a scale measure one thing, and is it another thing than the next scale?

References
----------
McDonald (1999), *Test Theory* (omega); Henseler, Ringle & Sarstedt (2015), Journal of the Academy of Marketing
Science 43, 115 (HTMT).
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy import optimize

from cxresearch import digits
from cxresearch.drivers.question import check_chance, check_clusters, check_options, one_thread
from cxresearch.drivers.resampling import weight_batches
from cxresearch.drivers.terms import design_arrays, numeric
from cxresearch.errors import DataProblem, TooFewRespondents, require_columns
from cxresearch.figures import axes_or_new, intervals
from cxresearch.findings import Check, Finding, interval, listing, number, percent
from cxresearch.inference import checked_weights, kish_effective_n, percentile_interval
from cxresearch.inference.agreement import cronbach_alpha, feldt_interval
from cxresearch.inference.shares import em_moments, scaling, unpacked
from cxresearch.privacy import require_base
from cxresearch.survey import as_survey

RELIABLE, DISTINCT = 0.7, 0.85


@dataclass(frozen=True, repr=False, eq=False)
class ScaleReliability(Finding):
    """Reliability of multi-item scales.

    ``tidy()``: one row per scale; `estimate` is Cronbach's alpha with its interval, `omega` beside it.
    ``tables()["htmt"]``: per pair of scales the heterotrait-monotrait ratio of correlations, near 1 where two scales
    measure the same.
    """

    def sentence(self) -> str:
        s, t = self.summary, self.table
        weak = t[t["conf_low"] < RELIABLE]
        each = listing(
            f"{self.label(r.term)} {number(r.estimate, 2)} ({interval(r.conf_low, r.conf_high, s['confidence'], 2)})"
            for r in t.itertuples()
        )
        doubt = (
            f" Not established to reach {RELIABLE}: {listing(self.label(x) for x in weak['term'])}."
            if len(weak)
            else ""
        )
        same = self.further["htmt"][self.further["htmt"]["estimate"] >= DISTINCT] if "htmt" in self.further else ()
        alike = "".join(
            f" {self.label(r.term)} and {self.label(r.other)} hardly differ (HTMT {number(r.estimate, 2)})."
            for r in (same.itertuples() if len(same) else ())
        )
        return f"Cronbach's alpha: {each}; n = {number(s['n'], 0)}.{doubt}{alike}"

    def plot(self, ax=None):
        t = self.table
        ax = axes_or_new(ax, rows=len(t) + 2)
        ax.axvline(RELIABLE, color="black", linewidth=0.8, linestyle=":")
        intervals(ax, [self.label(x) for x in t["term"]], t["estimate"], t["conf_low"], t["conf_high"])
        ax.set_xlabel(f"Cronbach's alpha, with {percent(self.summary['confidence'])} interval; dotted: {RELIABLE}")
        ax.set_title("Reliability of the scales")
        return ax


def _correlation(covariance) -> np.ndarray:
    spread = np.sqrt(np.diag(covariance))
    return covariance / np.outer(spread, spread)


def omegas(covariance: np.ndarray, sizes) -> np.ndarray:
    """Return McDonald's omega of each scale: (sum of loadings)^2 / ((sum of loadings)^2 + sum of uniquenesses).

    Loadings are of one confirmatory model, each item on its own scale's factor, factors correlated, by maximum
    likelihood: log|S| + trace(C S^-1) is least for S = L P L' + U. A single scale needs three items; else missing.
    """
    sizes = list(sizes)
    if len(sizes) == 1 and sizes[0] < 3:
        return np.array([np.nan])
    spread = np.sqrt(np.diag(covariance))
    loading, unique = _confirmatory(_correlation(covariance), sizes)
    out, start = [], 0
    for size in sizes:
        at = slice(start, start + size)
        common = np.sum(loading[at] * spread[at]) ** 2
        out.append(common / (common + np.sum(unique[at] * spread[at] ** 2)))
        start += size
    return np.array(out)


def _confirmatory(correlation, sizes) -> tuple[np.ndarray, np.ndarray]:
    """Return each item's loading and uniqueness."""
    k, f = len(correlation), len(sizes)
    factor = np.repeat(np.arange(f), sizes)
    rows, columns = np.triu_indices(f, 1)

    def unpack(theta):
        loading = np.zeros((k, f))
        loading[np.arange(k), factor] = theta[:k]
        between = np.eye(f)
        between[rows, columns] = between[columns, rows] = theta[2 * k :]
        return loading, np.exp(theta[k : 2 * k]), between

    def discrepancy(theta):
        loading, unique, between = unpack(theta)
        implied = loading @ between @ loading.T + np.diag(unique)
        sign, logdet = np.linalg.slogdet(implied)
        if sign <= 0:
            return 1e6, np.zeros_like(theta)
        inverse = np.linalg.inv(implied)
        g = inverse - inverse @ correlation @ inverse
        slope = (2 * g @ loading @ between)[np.arange(k), factor]
        across = (loading.T @ g @ loading)[rows, columns] * 2
        return logdet + np.sum(inverse * correlation), np.concatenate([slope, np.diag(g) * unique, across])

    start = np.concatenate([np.full(k, 0.7), np.full(k, np.log(0.5)), np.full(len(rows), 0.3)])
    bounds = [(None, None)] * k + [(np.log(1e-4), None)] * k + [(-0.999, 0.999)] * len(rows)
    found = optimize.minimize(
        discrepancy,
        start,
        jac=True,
        method="L-BFGS-B",
        bounds=bounds,
        options={"maxiter": 2000, "ftol": 1e-15, "gtol": 1e-10},
    )
    loading, unique, _ = unpack(found.x)
    return loading[np.arange(k), factor], unique


def htmt(correlation, first, second) -> float:
    """Return the mean correlation between two scales' items over the geometric mean of those within (Henseler 2015)."""

    def within(items):
        part = correlation[np.ix_(items, items)]
        return np.mean(part[np.triu_indices(len(items), 1)])

    return float(np.mean(correlation[np.ix_(first, second)]) / np.sqrt(within(first) * within(second)))


@one_thread
def scale_reliability(
    responses,
    *,
    scales: Mapping[str, list[str]],
    n_boot: int = 1000,
    confidence: float = 0.95,
    min_rows: int = 100,
    seed: int | None = None,
) -> ScaleReliability:
    """Return alpha, omega and HTMT of scales made of several items.

    A simple sample gets Feldt's interval of alpha; with weights, strata or clusters the bootstrap's percentile
    interval, which needs a `seed`. Skipped answers are handled by EM.

    Parameters
    ----------
    scales : dict name -> items, at least two each; an item belongs to one scale.

    Raises
    ------
    DataProblem
        For scales that overlap or have one item, or an item without variance.
    TooFewRespondents
        Under `min_rows` or `min_base` rows that answered at least one item.

    Examples
    --------
    >>> import cxresearch as cx
    >>> study = cx.open_study("data/example/study.yml")
    >>> drivers = ["products", "staff", "delivery"]
    >>> print(cx.scale_reliability(
    ...     study.responses, scales={"service": drivers}, n_boot=200, seed=1
    ... ))
    Cronbach's alpha: service 0.47 (95 % interval 0.41 to 0.52); n = 2,213. Not established to ...
    """
    survey = as_survey(responses)
    responses = survey.table
    weight, strata, cluster, fpc = survey.design
    labels, min_base = survey.labels, survey.min_base
    check_options(confidence=confidence)
    _check_scales(responses, scales)
    design = dict(strata=strata, cluster=cluster, fpc=fpc)
    simple = weight is None and all(c is None for c in design.values())
    require_columns(responses, weight, strata, cluster, fpc, where="responses")
    if not simple:
        check_chance(n_boot, seed)
    items = [i for members in scales.values() for i in members]
    table = np.column_stack([numeric(responses, i) for i in items])
    weights = checked_weights(None if weight is None else numeric(responses, weight), len(responses))
    kept = ~np.isnan(table).all(axis=1) & (weights > 0)
    table, weights = table[kept], weights[kept]
    if len(table) < min_rows:
        raise TooFewRespondents(f"scale_reliability needs at least {min_rows} usable rows; found {len(table)}")
    require_base(len(table), min_base=min_base, what="scale_reliability")
    _refuse_constant(table, items)
    design = design_arrays(responses.loc[kept], **design)
    check_clusters(cluster, len(table), strata=design["strata"], cluster=design["cluster"])
    return _assemble(scales, table, weights, design, simple, n_boot, confidence, seed, weight, labels)


def _check_scales(responses, scales) -> None:
    if not scales:
        raise DataProblem("scales= is empty; name a scale and its items, for example {'loyalty': ['l1', 'l2', 'l3']}")
    seen: dict[str, str] = {}
    for name, items in scales.items():
        if isinstance(items, str) or len(items) < 2:
            raise DataProblem(f"scale {name!r} has fewer than two items; reliability is about how items agree")
        require_columns(responses, *items, where="responses")
        for item in items:
            if item in seen:
                raise DataProblem(f"{item!r} is in scales {seen[item]!r} and {name!r}; an item belongs to one scale")
            seen[item] = name


def _refuse_constant(table, items) -> None:
    for k, item in enumerate(items):
        answers = np.unique(table[~np.isnan(table[:, k]), k])
        if len(answers) < 2:
            found = "is answered by nobody" if not len(answers) else f"has the one answer {answers[0]:g} in all rows"
            raise DataProblem(f"{item!r} {found}; leave it out of its scale")


def _assemble(scales, table, weights, design, simple, n_boot, confidence, seed, weight, labels) -> ScaleReliability:
    moments, spread = em_moments(table, weights), scaling(table, weights)[1]
    covariance = unpacked(moments.covariances())[0] * np.outer(spread, spread)
    drawn = None
    if not simple and n_boot:
        batches = weight_batches(weights, n_boot=n_boot, seed=seed, **design)
        drawn = np.concatenate([unpacked(moments.covariances(w)) for w in batches]) * np.outer(spread, spread)
    sizes = [len(members) for members in scales.values()]
    ends = np.cumsum((0, *sizes))
    places = {name: np.arange(a, b) for name, a, b in zip(scales, ends[:-1], ends[1:])}
    rows = []
    for (name, at), omega in zip(places.items(), omegas(covariance, sizes)):
        alpha = cronbach_alpha(covariance[np.ix_(at, at)])
        low, high = (
            feldt_interval(alpha, len(table), len(at), confidence) if simple else _drawn_ends(drawn, at, confidence)
        )
        rows.append(
            {
                "term": name,
                "estimate": alpha,
                "conf_low": low,
                "conf_high": high,
                "standardised_alpha": cronbach_alpha(_correlation(covariance[np.ix_(at, at)])),
                "omega": omega,
                "n_items": len(at),
                "n": len(table),
            }
        )
    found, further = pd.DataFrame(rows), _pairs(covariance, places)
    summary = {
        "n": len(table),
        **({"n_effective": kish_effective_n(weights)} if weight else {}),
        "method": f"Cronbach's alpha, {'Feldt interval' if simple else 'bootstrap'}; omega by confirmatory factors",
        "confidence": confidence,
    }
    return ScaleReliability(
        "scale_reliability",
        " ".join(scales),
        None,
        found,
        summary,
        _checks(found, further),
        dict(labels or {}),
        further,
    )


def _drawn_ends(drawn, at, confidence) -> tuple[float, float]:
    if drawn is None:
        return np.nan, np.nan
    low, high = percentile_interval([cronbach_alpha(c[np.ix_(at, at)]) for c in drawn], confidence)
    return float(low), float(high)


def _pairs(covariance, places) -> dict[str, pd.DataFrame]:
    correlation, names = _correlation(covariance), list(places)
    rows = [
        {"term": a, "other": b, "estimate": htmt(correlation, places[a], places[b])}
        for i, a in enumerate(names)
        for b in names[i + 1 :]
    ]
    return {"htmt": pd.DataFrame(rows)} if rows else {}


def _checks(table, further) -> tuple[Check, ...]:
    weak = list(table["term"][~(table["estimate"] >= RELIABLE)])
    checks = [Check(f"scales with alpha under {RELIABLE}", listing(weak), "none", not weak)]
    if further:
        largest = float(further["htmt"]["estimate"].max())
        checks.append(Check("largest HTMT", digits.rounded(largest, 3), f"under {DISTINCT}", largest < DISTINCT))
    return tuple(checks)
