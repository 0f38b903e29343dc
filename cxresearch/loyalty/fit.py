"""Revenue against loyalty: how much more revenue goes with a point, and how sure that is."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pandas as pd

from cxresearch.errors import DataProblem, require_choice, require_share
from cxresearch.findings import percent
from cxresearch.inference import critical_value
from cxresearch.loyalty.checks import all_checks
from cxresearch.loyalty.contrast import Estimates, estimate, explained, gradient, log_trap, percent_moved
from cxresearch.loyalty.design import Sample, sample
from cxresearch.loyalty.finding import LoyaltyRevenue
from cxresearch.loyalty.groups import revenue_by_group
from cxresearch.loyalty.ladder import MODELS, NAMES, Plan, plan_for
from cxresearch.loyalty.panel import refuse_lagged_revenue
from cxresearch.loyalty.sensitivity import benchmark_bounds, contour, hidden_cause, levels_model, strength_table
from cxresearch.loyalty.shape import SHAPES, wald
from cxresearch.loyalty.trouble import Timing, leaks, timed
from cxresearch.privacy import hide_cells, largest_share
from cxresearch.survey import as_survey


def fit_loyalty_revenue(
    customers,
    *,
    revenue: str,
    loyalty: str,
    controls: Sequence[str] = (),
    model: str = "poisson",
    shape: str = "linear",
    effects: Sequence[str] = (),
    time: str | Sequence[str] | None = None,
    known: float | None = None,
    confidence: float = 0.95,
    min_rows: int = 100,
    seed: int | None = None,
) -> LoyaltyRevenue:
    """Regress revenue on a loyalty score and say what a point goes with.

    The headline is the mean of revenue with every score a point higher over the mean as it is, among customers who
    can rise a point within the scale, less 1; in the default model exactly exp(b) - 1.

    Parameters
    ----------
    customers : Survey or DataFrame
        One row per customer, or per customer and period.
    revenue
        Column of money per customer in the window, zero or more.
    loyalty
        Column of the score, any numeric scale.
    controls
        Columns held constant: numbers as they are, text and yes/no as categories.
    model
        'poisson' (zeros kept), 'gamma' (zeros kept, variance as the mean squared), 'log_ols' (customers with revenue
        only, Duan smearing, by score group when spreads differ), 'two_part' or 'tweedie'.
    shape
        How the score enters: 'linear', 'spline' (natural cubic, four knots) or 'groups'.
    effects
        Up to two columns (customer, period) whose groups get an intercept each: 'poisson' and 'log_ols'.
    time
        Column that dates the score; or that column and the first day of the revenue window, a column or a date. A
        score measured on or after that day takes the headline away. None, also in place of the column: not known.
    known
        Percent per point where it is known: planted in a simulation, or found by an experiment. The sentence then says
        whether the intervals hold it, with and without the controls.
    seed
        Given: intervals of the group means are bootstrapped (BCa). None: they are t intervals.

    Returns
    -------
    LoyaltyRevenue
        `tidy`: part, term, estimate, std_error, conf_low, conf_high, p_value, percent and its interval.

    Raises
    ------
    DataProblem
        Negative or missing revenue, currencies or scales mixed, a constant score, one cluster, a control that is the
        revenue, dates in the future, an option that the model does not have.
    TooFewRespondents
        Fewer than `min_rows` complete rows, or than `min_base`.

    Notes
    -----
    Quasi-likelihood (Santos Silva & Tenreyro 2006) with HC1, clustered (Cameron, Gelbach & Miller 2011) or linearised
    (Binder 1983) errors; under 40 clusters the cluster jackknife (MacKinnon, Nielsen & Webb 2023), or CR2 for
    'log_ols'. t quantiles on n - p, clusters - 1, or clusters - strata degrees of freedom.

    Examples
    --------
    >>> import cxresearch as cx
    >>> study = cx.open_study("data/example/study.yml")
    >>> table = study.matched("responses", "customers", keep="latest")
    >>> finding = cx.fit_loyalty_revenue(
    ...     table, revenue="revenue", loyalty="recommend", controls=["affluence"]
    ... )
    >>> print(finding)
    One point more of Would recommend us goes with 3.9 % more revenue per customer (95 % ...
    """
    survey = as_survey(customers)
    customers = survey.table
    weight, strata, cluster, fpc = survey.design
    labels, min_base = survey.labels, survey.min_base
    require_choice("model", model, MODELS)
    require_choice("shape", shape, SHAPES)
    require_share("confidence", confidence)
    s = sample(
        customers,
        revenue=revenue,
        loyalty=loyalty,
        controls=controls,
        effects=effects,
        weight=weight,
        strata=strata,
        cluster=cluster,
        fpc=fpc,
        min_rows=min_rows,
        min_base=min_base,
    )
    if len(s.effects) == 2:
        refuse_lagged_revenue(customers.reset_index(drop=True), revenue, s.controls, *effects)
    when = timed(customers, time, s.rows)
    plan = plan_for(s, model, shape)
    got = estimate(s, plan)
    return _finding(s, plan, got, when, known, confidence, min_base, seed, labels, len(customers))


def _finding(s, plan, got, when: Timing, known, confidence, min_base, seed, labels, received) -> LoyaltyRevenue:
    head, leak = headline(got, confidence), leaks(s.score, s.y)
    reasons = reasons_against(head, when.late, leak)
    bare = estimate(s, plan_for(s, plan.model, plan.shape, controls=False)) if s.controls else None
    sides = with_and_without(s, bare, got, confidence)
    shape_tests = tests_of_shape(s, plan)
    strength = hidden_cause(s, head, confidence)
    further = {
        "headline": _headline_table(head, s),
        "groups": revenue_by_group(s, confidence=confidence, min_base=min_base, seed=seed),
        "with_and_without": sides,
        "shape": shape_tests,
        "sensitivity": strength_table(strength),
        "bounds": benchmark_bounds(s, confidence=confidence),
        "contour": contour(*levels_model(s), most=min(0.9, max(0.05, 2.5 * strength["robustness_value"]))),
        "curve": curve(s, plan, got, confidence, min_base),
        "dropped": pd.DataFrame({"why": list(s.dropped), "n": list(s.dropped.values())}),
    }
    summary = {
        **_summary(s, plan, got, received),
        **head,
        "established": not reasons,
        "explained": explained(s, plan, got.fit),
        **strength,
        **_known(s, bare, got, known, confidence),
    }
    trap = log_trap(s, plan, got, confidence)
    found = {"late": when.late, "timed": when.asked is not None, "leak": leak, "sides": sides, "received": received}
    tested = all_checks(s, plan, got, **found, shape_tests=shape_tests, trap=trap)
    return LoyaltyRevenue(
        function="fit_loyalty_revenue",
        outcome=s.revenue,
        group=None,
        table=_coefficients(got, confidence),
        summary=summary,
        tested=tested,
        labels=labels or {},
        further=further,
        loyalty=s.loyalty,
        controls=s.controls,
        confidence=confidence,
        reasons=reasons,
        timing=when.words(),
        notes=_trap_words(trap),
    )


def _known(s, bare, got, known, confidence: float) -> dict:
    """Return what is known beforehand and how far leaving the controls out moves the estimate; nothing if nothing is."""
    if known is None:
        return {}
    moved = (np.nan, np.nan, np.nan) if bare is None else percent_moved(s, bare, got, confidence)
    return {"known": float(known), **dict(zip(("moved", "moved_low", "moved_high"), moved))}


def _summary(s, plan, got, received: int) -> dict:
    return {
        "n": s.n,
        "n_effective": s.n_effective,
        "received": received,
        "dropped": received - s.n,
        "method": f"{NAMES[plan.model]}; score {plan.shape}",
        "errors": got.errors,
    }


def _trap_words(trap) -> str:
    if trap is None or not trap[1]:
        return ""
    return (
        f" The log-OLS trap: the coefficient alone reads {abs(trap[0]):.1f} % {'more' if trap[0] > 0 else 'less'}, "
        "because revenue spreads differently in the score groups."
    )


def headline(got: Estimates, confidence: float) -> dict[str, float]:
    """Return percent and money per point, and the ratio of the highest to the lowest group, with intervals."""
    point, money, contrast, mean = (got.interval(k, confidence) for k in ("log_ratio", "money", "log_contrast", "mean"))
    out = {k: 100 * np.expm1(v) for k, v in zip(("percent", "percent_low", "percent_high"), point)}
    out |= {"p_value": point[3]} | dict(zip(("money", "money_low", "money_high"), money))
    out |= {k: float(np.exp(v)) for k, v in zip(("ratio", "ratio_low", "ratio_high"), contrast)}
    return {k: float(v) for k, v in (out | {"mean_revenue": mean[0]}).items()}


def reasons_against(head: dict, late: float | None, leak: str | None) -> tuple[str, ...]:
    """Return why the headline cannot be given; empty when it can."""
    reasons = ["the interval holds zero"] if not head["percent_low"] * head["percent_high"] > 0 else []
    if late:
        reasons.append(f"the score was measured after the revenue window began for {percent(late)} of customers")
    if leak:
        reasons.append(f"the score gives the revenue away ({leak})")
    return tuple(reasons)


def with_and_without(s: Sample, bare: Estimates | None, got: Estimates, confidence: float) -> pd.DataFrame:
    """Return the headline without and with the controls, side by side (one row when there are none)."""
    sides = [(", ".join(s.controls) or "nothing", got)]
    if bare is not None:
        sides.insert(0, ("nothing", bare))
    keys = ("percent", "percent_low", "percent_high", "p_value", "money", "money_low", "money_high")
    heads = [(held, headline(e, confidence)) for held, e in sides]
    return pd.DataFrame([{"held": held, **{k: h[k] for k in keys}, "n": s.n} for held, h in heads])


def tests_of_shape(s: Sample, plan: Plan) -> pd.DataFrame:
    """Return tests that the line bends, and that the upper step between groups is not the lower one."""
    rows = []
    for shape, test, pick in (("spline", "curvature", _bends), ("groups", "upper step = lower step", _steps)):
        if pick is _bends and len(s.scale.knots) < 3 or pick is _steps and len(s.scale.names) != 3:
            continue
        value, p = _shape_test(s, replace(plan, shape=shape), pick)
        rows.append({"shape": shape, "test": test, "statistic": value, "p_value": p})
    return pd.DataFrame(rows, columns=["shape", "test", "statistic", "p_value"])


def _shape_test(s: Sample, plan: Plan, pick) -> tuple[float, float]:
    try:
        got = estimate(s, plan)
    except DataProblem:  # a score group without any revenue has no finite coefficient; its check then says so
        return np.nan, np.nan
    R, k = pick(got, s), len(got.fit.coef)
    return wald(R @ got.fit.coef, R @ got.covariance[:k, :k] @ R.T, float(got.df[0]))


def _bends(got: Estimates, s: Sample) -> np.ndarray:
    return np.eye(len(got.fit.coef))[["[bend " in t for t in got.fit.terms]]


def _steps(got: Estimates, s: Sample) -> np.ndarray:
    middle, top = s.scale.terms(s.loyalty, "groups")
    at = [i for i, t in enumerate(got.fit.terms) if t == middle]
    R = np.zeros((len(at), len(got.fit.coef)))
    for row, i in enumerate(at):
        R[row, i], R[row, got.fit.terms.index(top, i)] = -2.0, 1.0
    return R


def curve(s: Sample, plan: Plan, got: Estimates, confidence: float, min_base: int) -> pd.DataFrame:
    """Return observed and fitted mean revenue at up to eleven values of the score, bases under `min_base` hidden."""
    levels, code = np.unique(s.score, return_inverse=True)
    if len(levels) > 11:
        edges = np.unique(np.quantile(s.score, np.linspace(0, 1, 11)))
        code = np.clip(np.searchsorted(edges, s.score, side="left") - 1, 0, None)
        code = np.unique(code, return_inverse=True)[1]
        levels = np.bincount(code, s.score) / np.bincount(code)
    cases = [(s.X(plan.shape, score=np.full(s.n, v)), s.scale.group(np.full(s.n, v))) for v in levels]
    share, k = s.weights / s.weights.sum(), len(got.fit.coef)
    means = lambda coef: np.log([share @ got.fit.mean(coef, *case) for case in cases])  # noqa: E731
    logs, slopes = means(got.fit.coef), gradient(means, got.fit.coef)
    half = critical_value(confidence, float(got.df[0])) * np.sqrt(
        np.maximum(np.diag(slopes @ got.covariance[:k, :k] @ slopes.T), 0)
    )
    mass = np.bincount(code, s.weights)
    table = pd.DataFrame(
        {
            "score": levels,
            "n": np.bincount(code),
            "observed": np.bincount(code, s.weights * s.y) / np.where(mass > 0, mass, np.nan),
            "estimate": np.exp(logs),
            "conf_low": np.exp(logs - half),
            "conf_high": np.exp(logs + half),
            "largest_share": [largest_share((s.weights * s.y)[code == i]) for i in range(len(levels))],
        }
    )
    return hide_cells(table, min_base=min_base, keys=("score",))


def _coefficients(got: Estimates, confidence: float) -> pd.DataFrame:
    rows = []
    for i, (part, term) in enumerate(zip(got.fit.parts, got.fit.terms)):
        value, low, high, p = got.interval_at(i, confidence)
        numbers = {
            "estimate": value,
            "std_error": float(np.sqrt(max(got.covariance[i, i], 0.0))),
            "conf_low": low,
            "conf_high": high,
        }
        ends = {"percent": value, "percent_low": low, "percent_high": high}
        shown = part != "smear" and term != "(intercept)"
        percents = {k: 100 * np.expm1(v) if shown else np.nan for k, v in ends.items()}
        rows.append({"part": part, "term": term, **numbers, "p_value": p, **percents})
    return pd.DataFrame(rows)


def _headline_table(head: dict, s: Sample) -> pd.DataFrame:
    top, bottom = s.scale.names[-1], s.scale.names[0]
    terms = {
        "percent": "percent per point",
        "money": "money per point",
        "ratio": f"{top} over {bottom}, ratio of means",
    }
    return pd.DataFrame(
        [
            {"term": words, "estimate": head[k], "conf_low": head[f"{k}_low"], "conf_high": head[f"{k}_high"], "n": s.n}
            for k, words in terms.items()
        ]
    )
