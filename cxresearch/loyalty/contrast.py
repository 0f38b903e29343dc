"""What a fitted model says a point goes with: ratios and money, with errors by the delta method or the jackknife."""

from dataclasses import dataclass, replace

import numpy as np
from scipy import stats

from cxresearch import digits
from cxresearch.inference import critical_value
from cxresearch.inference.clusters import cr2, jackknife
from cxresearch.loyalty.covariance import influence_covariance
from cxresearch.loyalty.design import Sample
from cxresearch.loyalty.ladder import Plan, RevenueFit, fit_revenue
from cxresearch.loyalty.models import fit_glm, fit_within, log_link, power_deviance

STATISTICS = ("log_ratio", "money", "log_contrast", "mean")


@dataclass(frozen=True)
class Estimates:
    """A model's coefficients and its answers, with one covariance."""

    fit: RevenueFit
    values: np.ndarray  # (P + 4,) coefficients, then STATISTICS
    covariance: np.ndarray  # (P + 4, P + 4)
    df: np.ndarray  # (P + 4,)
    errors: str  # how the errors were computed
    influence: np.ndarray | None = None  # (n, P + 4) of rows on the values; None under the jackknife

    def interval(self, name: str, confidence: float) -> tuple[float, float, float, float]:
        """Return estimate, low, high and p of one of STATISTICS."""
        i = len(self.fit.coef) + STATISTICS.index(name)
        return self.interval_at(i, confidence)

    def interval_at(self, i: int, confidence: float) -> tuple[float, float, float, float]:
        """Return estimate, low, high and p of the value at position `i`."""
        value, error = self.values[i], np.sqrt(max(self.covariance[i, i], 0.0))
        half = critical_value(confidence, self.df[i]) * error
        p = 2 * stats.t.sf(abs(value) / error, self.df[i]) if error > 0 else np.nan
        return float(value), float(value - half), float(value + half), float(p)


@dataclass(frozen=True)
class Scenarios:
    """The sample as it is, a point higher, and as if all were in the lowest or the highest group; built once."""

    now: tuple
    up: tuple
    bottom: tuple
    top: tuple
    can_rise: np.ndarray  # (n,) whose score can be a point higher within the scale


def scenarios(s: Sample, plan: Plan) -> Scenarios:
    """Return the design matrices of the four scenarios.

    Lowest and highest group are entered at their mean scores. Whoever is at the top of the scale cannot rise and
    does not count in the answer per point.
    """
    at = lambda score: (s.X(plan.shape, score=score, controls=plan.controls), s.scale.group(score))  # noqa: E731
    code = s.scale.group(s.score)
    level = lambda g: np.full(s.n, np.average(s.score[code == g], weights=s.weights[code == g] + 1e-12))  # noqa: E731
    can_rise = digits.at_most(s.score + 1, s.scale.top)
    can_rise = can_rise if np.any(can_rise & (s.weights > 0)) else np.ones(s.n, dtype=bool)
    return Scenarios(at(s.score), at(s.score + 1), at(level(code.min())), at(level(code.max())), can_rise)


def answers(fit: RevenueFit, coef, cases: Scenarios, weights) -> tuple[np.ndarray, np.ndarray]:
    """Return STATISTICS (4,) at `coef`, and the influence (n, 4) of rows through the averages they enter."""
    rising, everyone = weights * cases.can_rise, weights
    now, up = fit.mean(coef, *cases.now), fit.mean(coef, *cases.up)
    bottom, top = fit.mean(coef, *cases.bottom), fit.mean(coef, *cases.top)
    a, b = _average(up, rising), _average(now, rising)
    c, d = _average(top, everyone), _average(bottom, everyone)
    money = _average(up - now, rising)
    mean = _average(now, everyone)
    log_ratio = a[1] / a[0] - b[1] / b[0]
    values = np.array([np.log(a[0] / b[0]), money[0], np.log(c[0] / d[0]), mean[0]])
    return values, np.column_stack([log_ratio, money[1], c[1] / c[0] - d[1] / d[0], mean[1]])


def _average(values, weights) -> tuple[float, np.ndarray]:
    share = weights / weights.sum()
    mean = share @ values
    return float(mean), share * (values - mean)


def estimate(s: Sample, plan: Plan) -> Estimates:
    """Fit a plan and return its coefficients and answers with their errors.

    Few clusters (under 40): each cluster is left out in turn and everything refitted (CV3, t with G - 1); for
    log-OLS with one smearing factor the coefficients take CR2 with Bell-McCaffrey degrees of freedom.
    """
    fit, cases = fit_revenue(s, plan), scenarios(s, plan)
    values, own = answers(fit, fit.coef, cases, s.weights)
    p = len(fit.coef)
    whole = np.concatenate([fit.coef, values])
    df = np.full(len(whole), s.sampling.degrees_of_freedom(s.n, p))
    if s.sampling.few and len(s.sampling.clusters) == 1 and s.sampling.strata is None:
        return _by_jackknife(s, plan, fit, cases, df)
    slopes = gradient(lambda coef: answers(fit, coef, cases, s.weights)[0], fit.coef)  # (4, p)
    influence = np.column_stack([fit.influence, own + fit.influence @ slopes.T])
    return Estimates(fit, whole, influence_covariance(influence, s.sampling, p), df, s.sampling.words(), influence)


def _by_jackknife(s: Sample, plan: Plan, fit: RevenueFit, cases: Scenarios, df) -> Estimates:
    def everything(weights):
        again = fit_revenue(s, plan, weights)
        return np.concatenate([again.coef, answers(again, again.coef, cases, weights)[0]])

    whole, covariance = jackknife(everything, s.sampling.clusters[0], s.weights)
    words = f"cluster jackknife (CV3, {s.sampling.n_clusters} clusters)"
    if plan.model == "log_ols" and not (plan.smear_by_group or s.effects or s.sampling.is_survey):
        covariance, df = _with_cr2(s, plan, fit, covariance, df.copy())
        words = f"CR2, {s.sampling.n_clusters} clusters"
    return Estimates(fit, whole, covariance, df, words)


def _with_cr2(s: Sample, plan: Plan, fit: RevenueFit, covariance, df):
    bought, X = s.y > 0, s.X(plan.shape, controls=plan.controls)
    k = X.shape[1]
    residual = np.log(s.y[bought]) - X[bought] @ fit.coef[:k]
    block, freedom = cr2(X[bought], residual, s.sampling.clusters[0][bought])
    covariance[:k, :k], df[:k] = block, freedom
    if plan.shape == "linear":  # the ratio per point is then exp(coefficient)
        slope, ratio = 1, len(fit.coef)
        covariance[ratio, ratio], df[ratio] = block[slope, slope], freedom[slope]
    return covariance, df


def percent_moved(s: Sample, bare: Estimates, held: Estimates, confidence: float) -> tuple[float, float, float]:
    """Return by how many percentage points `bare` reads more per point than `held`, and the interval of that.

    Both come from the same customers, so the error is that of the difference of their influences (stacked estimating
    equations); missing ends under the jackknife.
    """
    at = [len(e.fit.coef) + STATISTICS.index("log_ratio") for e in (bare, held)]
    growth = [np.exp(e.values[i]) for e, i in zip((bare, held), at)]
    value = 100 * (growth[0] - growth[1])
    if bare.influence is None or held.influence is None:
        return value, np.nan, np.nan
    influence = 100 * (growth[0] * bare.influence[:, at[0]] - growth[1] * held.influence[:, at[1]])
    error = np.sqrt(influence_covariance(influence[:, None], s.sampling, len(held.fit.coef))[0, 0])
    half = critical_value(confidence, float(held.df[at[1]])) * error
    return float(value), float(value - half), float(value + half)


def gradient(function, at) -> np.ndarray:
    """Return the (k, p) derivatives of `function` (p,) -> (k,) by central differences."""
    columns = []
    for j in range(len(at)):
        step = np.zeros(len(at))
        step[j] = 1e-5 * max(abs(at[j]), 1e-2)
        columns.append((function(at + step) - function(at - step)) / (2 * step[j]))
    return np.stack(columns, axis=1)


def explained(s: Sample, plan: Plan, fit: RevenueFit) -> float:
    """Return the share of the Poisson deviance, left by the controls, that the score takes away (0-1)."""
    used = s.weights * (s.y > 0) if plan.model == "log_ols" else s.weights
    with_score = fit.mean(fit.coef, s.X(plan.shape, controls=plan.controls), s.scale.group(s.score))
    base = np.column_stack(([] if s.effects else [np.ones(s.n)]) + ([s.Z] if plan.controls else []))
    if s.effects:
        base = base if base.size else np.zeros((s.n, 1))
        without = fit_within(base, s.y, used, s.effects, log_link(1.0)).mu
    else:
        without = fit_glm(base, s.y, used, log_link(1.0)).mu
    left, start = (used @ power_deviance(s.y, mu, 1.0) for mu in (with_score, without))
    return float(1 - left / start) if start > 0 else np.nan


def log_trap(s: Sample, plan: Plan, got: Estimates, confidence: float) -> tuple[float, bool] | None:
    """Return the percentage per point that log-OLS reads with one smearing factor, and whether it misleads.

    It misleads when spreads differ among the score groups (Manning 1998) and it lies outside the interval of the
    ratio of means, or on its other side of zero. None where spreads do not differ.
    """
    if not plan.smear_by_group:
        return None
    naive = replace(plan, smear_by_group=False)
    value = answers(fit := fit_revenue(s, naive), fit.coef, scenarios(s, naive), s.weights)[0][0]
    honest, low, high, _ = got.interval("log_ratio", confidence)
    return float(100 * np.expm1(value)), bool(value * honest < 0 or not low <= value <= high)
