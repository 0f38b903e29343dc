"""Five models of the mean of revenue, each asked the same question through the same record.

References
----------
Santos Silva & Tenreyro (2006), Rev. Econ. Stat. 88:641-658 (Poisson with zeros); Duan (1983), JASA 78:605-610
(smearing); Manning (1998), J. Health Econ. 17:283-295 (log-OLS when spreads differ); Manning & Mullahy (2001),
J. Health Econ. 20:461-494 (Park test); Dunn & Smyth (2005), Stat. Comput. 15:267-280 (Tweedie density).
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from scipy import optimize, special, stats

from cxresearch.errors import DataProblem
from cxresearch.loyalty.design import Sample
from cxresearch.loyalty.models import LEVELS, LOGIT, Fit, fit_glm, fit_within, log_link, power_deviance
from cxresearch.loyalty.trouble import has_no_finite_slope

MODELS = ("poisson", "gamma", "log_ols", "two_part", "tweedie")
WITH_EFFECTS = ("poisson", "log_ols")
PROFILE_ROWS = 2000  # the Tweedie power is profiled on at most so many rows, evenly spaced
NAMES = {
    "poisson": "Poisson quasi-likelihood, log link",
    "gamma": "gamma quasi-likelihood, log link",
    "log_ols": "least squares on log revenue, Duan smearing",
    "two_part": "logit of any revenue times gamma of the amount",
    "tweedie": "Tweedie quasi-likelihood, log link, profiled power",
}


@dataclass(frozen=True)
class Plan:
    """What is fitted; fixed on the whole sample, so that refits differ by their rows alone."""

    model: str
    shape: str
    controls: bool = True
    smear_by_group: bool = False
    power: float = 1.0
    spread_p: float | None = None  # p of equal log spread among the score groups


@dataclass(frozen=True)
class RevenueFit:
    """A fitted model of E[revenue | score, controls]."""

    plan: Plan
    parts: tuple[str, ...]  # (P,) mean, any, amount or smear
    terms: tuple[str, ...]  # (P,)
    coef: np.ndarray  # (P,)
    influence: np.ndarray  # (n, P)
    mean: Callable  # coef, X, group -> (n,) expected money per customer


def plan_for(s: Sample, model: str, shape: str, *, controls: bool = True) -> Plan:
    """Return the plan of a model: whether smearing goes by group, and the Tweedie power.

    Raises
    ------
    DataProblem
        If the model cannot answer: effects in a model without a within form, no zeros for two parts.
    """
    if s.effects and model not in WITH_EFFECTS:
        raise DataProblem(
            f"effects are fitted with {' or '.join(map(repr, WITH_EFFECTS))}; model={model!r} has no such form"
        )
    plan = Plan(model, shape, controls)
    if model == "two_part" and np.all(s.y > 0):
        raise DataProblem(f"two_part needs customers without {s.revenue}; all {s.n} have some: take gamma")
    if model == "two_part" and has_no_finite_slope(s.score, s.y == 0):
        raise DataProblem(
            f"{s.loyalty} alone tells who has no {s.revenue} (perfect separation): a score recorded after the outcome, or "
            "computed from it, does this; find out when it was recorded"
        )
    if model == "tweedie":
        return replace(plan, power=tweedie_power(s.X(shape, controls=controls), s.y, s.weights))
    if model == "gamma":
        return replace(plan, power=2.0)
    if model == "log_ols":
        p = spread_test(_log_fit(s, plan, s.weights)[1], s)
        return replace(plan, smear_by_group=p < 0.05, spread_p=p)
    return plan


def fit_revenue(s: Sample, plan: Plan, weights=None, *, start=None) -> RevenueFit:
    """Fit `plan` to the sample, with other weights (n,) where a refit asks for them."""
    weights = s.weights if weights is None else weights
    if plan.model == "log_ols":
        return _fit_log_ols(s, plan, weights)
    if plan.model == "two_part":
        return _fit_two_part(s, plan, weights, start)
    X, family = s.X(plan.shape, controls=plan.controls), log_link(plan.power)
    if s.effects:
        fit = fit_within(X, s.y, weights, s.effects, family)
    else:
        fit = fit_glm(X, s.y, weights, family, start=start)
    offset = fit.eta - X @ fit.coef if s.effects else 0.0
    names = s.names(plan.shape, controls=plan.controls)
    mean = lambda coef, X, group: np.exp(X @ coef + offset)  # noqa: E731
    return RevenueFit(plan, ("mean",) * len(names), tuple(names), fit.coef, fit.influence, mean)


# --- log-OLS ---------------------------------------------------------------------------------------------------------


def _log_fit(s: Sample, plan: Plan, weights) -> tuple[Fit, np.ndarray]:
    bought = s.y > 0
    logs = np.log(np.where(bought, s.y, 1.0))
    X, w = s.X(plan.shape, controls=plan.controls), weights * bought
    fit = fit_within(X, logs, w, s.effects, LEVELS) if s.effects else fit_glm(X, logs, w, LEVELS)
    return fit, np.where(bought, logs - fit.eta, np.nan)


def _fit_log_ols(s: Sample, plan: Plan, weights) -> RevenueFit:
    fit, residual = _log_fit(s, plan, weights)
    X = s.X(plan.shape, controls=plan.controls)
    group = s.scale.group(s.score) if plan.smear_by_group else np.zeros(s.n, dtype=int)
    k = len(s.scale.names) if plan.smear_by_group else 1
    log_smear, influence = smearing(X, residual, weights, group, k, fit.influence)
    p, offset = len(fit.coef), fit.eta - X @ fit.coef if s.effects else 0.0
    by_group = plan.smear_by_group

    def mean(coef, X, group):
        return np.exp(X @ coef[:p] + offset + (coef[p:][group] if by_group else coef[p]))

    names = s.names(plan.shape, controls=plan.controls)
    smears = [f"log smear[{g}]" for g in s.scale.names] if by_group else ["log smear"]
    parts = ("mean",) * p + ("smear",) * k
    coef = np.concatenate([fit.coef, log_smear])
    return RevenueFit(plan, parts, (*names, *smears), coef, np.column_stack([fit.influence, influence]), mean)


def smearing(X, residual, weights, group, k: int, influence) -> tuple[np.ndarray, np.ndarray]:
    """Return log mean exp(residual) of each of `k` groups, (k,), and the influence of rows on it, (n, k).

    Rows without a residual (no revenue) do not count. A group without any takes the factor of all.
    """
    known = np.isfinite(residual)
    w, factor = weights * known, np.where(known, np.exp(np.where(known, residual, 0.0)), 0.0)
    logs, influences = np.empty(k), np.empty((len(X), k))
    for g in range(k):
        member = w * (group == g)
        member = member if member.sum() > 0 else w
        share = member / member.sum()
        smear = share @ factor
        logs[g] = np.log(smear)
        slope = -(share * factor) @ X / smear
        influences[:, g] = share * (factor - smear) / smear + influence @ slope
    return logs, influences


def spread_test(residual, s: Sample) -> float:
    """Return p of equal variance of log residuals among the score groups (Koenker 1981, J. Econometrics 17:107-112)."""
    known = np.isfinite(residual)
    squares, group = np.square(residual[known]), s.scale.group(s.score[known])
    means = np.bincount(group, squares) / np.maximum(np.bincount(group), 1)
    explained = np.sum(np.square(means[group] - squares.mean())) / np.sum(np.square(squares - squares.mean()))
    return float(stats.chi2.sf(known.sum() * explained, max(len(np.unique(group)) - 1, 1)))


# --- two parts, Tweedie, Park ------------------------------------------------------------------------------------------


def _fit_two_part(s: Sample, plan: Plan, weights, start) -> RevenueFit:
    X, bought = s.X(plan.shape, controls=plan.controls), s.y > 0
    p = X.shape[1]
    first = fit_glm(X, bought.astype(float), weights, LOGIT, start=None if start is None else start[:p])
    second = fit_glm(X, s.y, weights * bought, log_link(2.0), start=None if start is None else start[p:])
    names = s.names(plan.shape, controls=plan.controls)
    mean = lambda coef, X, group: special.expit(X @ coef[:p]) * np.exp(X @ coef[p:])  # noqa: E731
    coef, influence = np.concatenate([first.coef, second.coef]), np.column_stack([first.influence, second.influence])
    return RevenueFit(plan, ("any",) * p + ("amount",) * p, (*names, *names), coef, influence, mean)


def tweedie_power(X, y, weights) -> float:
    """Return the power between 1 and 2 at which the profile likelihood of a log-link Tweedie model is highest."""
    step = max(1, -(-len(y) // PROFILE_ROWS))
    X, y, weights = X[::step], y[::step], weights[::step]
    # without zeros the series is slow and the saddlepoint close (Nelder & Pregibon 1987, Biometrika 74:221-232)
    density = saddlepoint_log_density if np.all(y > 0) else tweedie_log_density

    def loss(power):
        mu = fit_glm(X, y, weights, log_link(power)).mu
        inner = lambda log_phi: -weights @ density(y, mu, power, np.exp(log_phi))  # noqa: E731
        guess = np.log(weights @ power_deviance(y, mu, power) / weights.sum())
        return optimize.minimize_scalar(
            inner, bounds=(guess - 2, guess + 2), method="bounded", options={"xatol": 1e-8}
        ).fun

    return float(optimize.minimize_scalar(loss, bounds=(1.05, 1.95), method="bounded", options={"xatol": 1e-7}).x)


def tweedie_log_density(y, mu, power: float, phi: float) -> np.ndarray:
    """Return the log density of a Tweedie variable, 1 < power < 2, by Wright's generalised Bessel function."""
    a = (2 - power) / (power - 1)
    kernel = (y * mu ** (1 - power) / (1 - power) - mu ** (2 - power) / (2 - power)) / phi
    positive = np.where(y > 0, y, 1.0)
    log_z = a * np.log(positive) - a * np.log(power - 1) - (1 + a) * np.log(phi) - np.log(2 - power)
    with np.errstate(over="ignore"):
        series = special.log_wright_bessel(a, 0.0, np.exp(log_z))
    return kernel + np.where(y > 0, series - np.log(positive), 0.0)


def saddlepoint_log_density(y, mu, power: float, phi: float) -> np.ndarray:
    """Return the saddlepoint approximation of the same for y > 0."""
    return -power_deviance(y, mu, power) / (2 * phi) - np.log(2 * np.pi * phi * y**power) / 2


def park(y, mu, weights) -> float:
    """Return how the variance of revenue grows with its mean: 0 constant, 1 Poisson, 2 gamma, 3 inverse Gaussian.

    The slope of log E[(y - mu)^2] on log mu, fitted to the squared residuals themselves with a log link, since
    zeros have no log (Manning & Mullahy 2001, modified Park test). Missing where fitted means hardly differ.
    """
    logs = np.log(mu)
    if np.ptp(logs) < 1e-6:
        return np.nan
    squares = np.square(y - mu)
    try:
        return float(fit_glm(np.column_stack([np.ones(len(y)), logs]), squares, weights, log_link(2.0)).coef[1])
    except DataProblem:
        return np.nan
