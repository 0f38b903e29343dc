"""One table of models of mean revenue, each asked the same four questions, with errors from the influence of rows."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
from scipy import special, stats

from cxresearch import digits
from cxresearch.errors import DataProblem
from cxresearch.findings import ends
from cxresearch.inference import critical_value
from cxresearch.inference.clusters import cr2, jackknife
from cxresearch.loyalty.cases import Cases
from cxresearch.loyalty.glm import GAMMA, LEVELS, LOGIT, POISSON, Family, Fit, fit_glm, gradient, library
from cxresearch.loyalty.refusals import refuse_separation

STATISTICS = ("log_ratio", "money", "log_contrast", "mean")
PER_POINT = ("percent", "percent_low", "percent_high", "p_value", "money", "money_low", "money_high")


class Part(NamedTuple):
    """One equation of a model."""

    name: str
    family: Family
    response: Callable  # y -> (n,)
    bought: bool  # fitted to customers with revenue only


class Model(NamedTuple):
    """A model of mean revenue: its equations, and the mean on the money scale from their linear predictors."""

    words: str
    parts: tuple[Part, ...]
    mean: Callable  # etas, one an equation -> (n,)
    power: float  # of the mean with which its variance grows
    smeared: bool = False
    effects: bool = False  # whether it has a form with absorbed intercepts


MODELS = {
    "poisson": Model(
        "Poisson quasi-likelihood, log link", (Part("mean", POISSON, np.asarray, False),), np.exp, 1.0, effects=True
    ),
    "gamma": Model("gamma quasi-likelihood, log link", (Part("mean", GAMMA, np.asarray, False),), np.exp, 2.0),
    "log_ols": Model(
        "least squares on log revenue, Duan smearing",
        (Part("mean", LEVELS, lambda y: np.log(np.where(y > 0, y, 1.0)), True),),
        np.exp, 2.0, smeared=True, effects=True,
    ),
    "two_part": Model(
        "logit of any revenue times gamma of the amount",
        (Part("any", LOGIT, lambda y: (y > 0).astype(float), False), Part("amount", GAMMA, np.asarray, True)),
        lambda any_, amount: special.expit(any_) * np.exp(amount), 2.0,
    ),
}  # fmt: skip


@dataclass(frozen=True)
class Plan:
    """What is fitted; fixed on the whole sample, so that refits differ by their weights alone."""

    name: str
    shape: str = "linear"
    smear_by_group: bool = False
    spread_p: float | None = None  # p of equal log spread among the score groups

    @property
    def model(self) -> Model:
        return MODELS[self.name]


POISSON_LINE = Plan("poisson")


def plan_for(s: Cases, name: str, shape: str = "linear") -> Plan:
    """Return the plan of a model: whether smearing goes by group."""
    if s.effects and not MODELS[name].effects:
        within = " or ".join(repr(key) for key, model in MODELS.items() if model.effects)
        raise DataProblem(f"effects are fitted with {within}; model={name!r} has no such form")
    if s.drawn is None and name != "poisson":
        raise DataProblem(f"a table in files is fitted by model='poisson'; model={name!r} needs a DataFrame")
    if name == "two_part":
        if np.all(s.y > 0):
            raise DataProblem(f"two_part needs customers without {s.revenue}; all {s.n} have some: take gamma")
        refuse_separation(s.loyalty, s.score, s.y == 0, f"has no {s.revenue}", "the outcome")
    plan = Plan(name, shape)
    if not plan.model.smeared:
        return plan
    p = spread_test(_equation(s, plan, plan.model.parts[0], s.weights)[2], s)
    return replace(plan, smear_by_group=p < 0.05, spread_p=p)


@dataclass(frozen=True)
class RevenueFit:
    """A fitted model of E[revenue | score, controls]; once estimated, with its answers and one covariance."""

    plan: Plan
    parts: tuple[str, ...]  # (P,) mean, any, amount or smear
    terms: tuple[str, ...]  # (P,)
    coef: np.ndarray  # (P,)
    influence: np.ndarray  # (n, P)
    offsets: tuple  # of absorbed intercepts, one an equation
    results: object = None  # statsmodels', where a reader sees the fit
    values: np.ndarray | None = None  # (P + 4,) coefficients, then STATISTICS
    covariance: np.ndarray | None = None  # (P + 4, P + 4)
    df: np.ndarray | None = None  # (P + 4,)
    errors: str = ""  # how the errors were computed

    def mean(self, coef, X, group) -> np.ndarray:
        """Return expected money per customer (n,) at `coef` for a design X (n, p) and score groups (n,)."""
        model, p = self.plan.model, X.shape[1]
        etas = [X @ coef[i * p : (i + 1) * p] + offset for i, offset in enumerate(self.offsets)]
        if model.smeared:
            smear = coef[len(etas) * p :]
            etas[-1] = etas[-1] + (smear[group] if self.plan.smear_by_group else smear[0])
        return model.mean(*etas)

    def interval(self, name, confidence: float) -> tuple[float, float, float, float]:
        """Return estimate, low, high and p of one of STATISTICS, of a term, or of the value at a position."""
        i = name
        if isinstance(name, str):
            i = len(self.coef) + STATISTICS.index(name) if name in STATISTICS else self.terms.index(name)
        value, error = self.values[i], np.sqrt(max(self.covariance[i, i], 0.0))
        half = critical_value(confidence, self.df[i]) * error
        p = 2 * stats.t.sf(abs(value) / error, self.df[i]) if error > 0 else np.nan
        return float(value), float(value - half), float(value + half), float(p)

    def headline(self, confidence: float) -> dict[str, float]:
        """Return percent and money per point, and the ratio of the highest to the lowest group, with intervals."""
        point, amount, contrast, mean = (self.interval(name, confidence) for name in STATISTICS)
        out = ends("percent", *(100 * np.expm1(point[:3]))) | {"p_value": point[3]} | ends("money", *amount[:3])
        out |= ends("ratio", *np.exp(contrast[:3])) | {"mean_revenue": mean[0]}
        return {name: float(value) for name, value in out.items()}


def _equation(s: Cases, plan: Plan, part: Part, weights) -> tuple[np.ndarray, Fit, np.ndarray]:
    """Return the design, the fit and the residual (missing where the equation leaves a row out) of one equation."""
    X, response = s.X(plan.shape), part.response(s.y)
    fit = fit_glm(X, response, weights * (s.y > 0) if part.bought else weights, part.family, effects=s.effects)
    return X, fit, np.where(s.y > 0, response - fit.eta, np.nan) if part.family is LEVELS else response - fit.mu


def fit_revenue(s: Cases, plan: Plan, weights=None) -> RevenueFit:
    """Fit `plan` to the sample, with other weights (n,) where a refit asks for them."""
    weights, model = s.weights if weights is None else weights, plan.model
    names, parts, terms, coef, influence, offsets = s.names(plan.shape), [], [], [], [], []
    for part in model.parts:
        X, fit, residual = _equation(s, plan, part, weights)
        parts, terms = [*parts, *[part.name] * len(names)], [*terms, *names]
        coef, influence = [*coef, fit.coef], [*influence, fit.influence]
        offsets.append(fit.eta - X @ fit.coef if s.effects else 0.0)
    if model.smeared:
        groups = s.scale.names if plan.smear_by_group else ("",)
        code = s.scale.group(s.score) if plan.smear_by_group else np.zeros(len(s.y), dtype=int)
        smear, pull = smearing(X, residual, weights, code, len(groups), fit.influence)
        coef, influence, parts = [*coef, smear], [*influence, pull], [*parts, *["smear"] * len(groups)]
        terms = [*terms, *[f"log smear[{g}]" if g else "log smear" for g in groups]]
    whole = np.concatenate(coef), np.column_stack(influence)
    return RevenueFit(plan, tuple(parts), tuple(terms), *whole, tuple(offsets))


def library_results(s: Cases, fit: RevenueFit):
    """Return statsmodels' results of a fit, or, of a model of two equations, a dict of them by part."""
    if fit.results is not None:
        return fit.results
    if s.effects:
        raise DataProblem("statsmodels has no absorbed intercepts; the coefficients and their errors stand in tidy()")
    X, y, weights = s.X(fit.plan.shape), s.y, s.weights
    if s.drawn is None:  # a cell's two rows have one mean, which is what the coefficients need
        half = len(y) // 2
        X, y, weights = X[:half], (y[:half] + y[half:]) / 2, 2 * weights[:half]
    found, p = {}, X.shape[1]
    for i, part in enumerate(fit.plan.model.parts):
        w, at = weights * (y > 0) if part.bought else weights, slice(i * p, (i + 1) * p)
        found[part.name] = library(X, part.response(y), w, part.family, fit.terms[:p], fit.coef[at])
    return found if len(found) > 1 else found["mean"]


def smearing(X, residual, weights, group, k: int, influence) -> tuple[np.ndarray, np.ndarray]:
    """Return log mean exp(residual) of each of `k` groups (of all, where one has none), and the influence of rows on it."""
    known = np.isfinite(residual)
    w, factor = weights * known, np.where(known, np.exp(np.where(known, residual, 0.0)), 0.0)
    logs, influences = np.empty(k), np.empty((len(X), k))
    for g in range(k):
        member = w * (group == g)
        member = member if member.sum() > 0 else w
        share = member / member.sum()
        smear = share @ factor
        logs[g] = np.log(smear)
        influences[:, g] = share * (factor - smear) / smear - influence @ ((share * factor) @ X / smear)
    return logs, influences


def spread_test(residual, s: Cases) -> float:
    """Return p of equal variance of log residuals among the score groups (Koenker 1981, J. Econometrics 17:107-112)."""
    known = np.isfinite(residual)
    squares, group = np.square(residual[known]), s.scale.group(s.score[known])
    means = np.bincount(group, squares) / np.maximum(np.bincount(group), 1)
    explained = np.sum(np.square(means[group] - squares.mean())) / np.sum(np.square(squares - squares.mean()))
    return float(stats.chi2.sf(known.sum() * explained, max(len(np.unique(group)) - 1, 1)))


def park(y, mu, weights) -> float:
    """Return how the variance grows with the mean: 0 constant, 1 Poisson, 2 gamma; missing where means hardly differ."""
    logs = np.log(mu)  # the squared residuals themselves, with a log link, since zeros have no log
    try:
        X = np.column_stack([np.ones(len(y)), logs])
        return np.nan if np.ptp(logs) < 1e-6 else float(fit_glm(X, np.square(y - mu), weights, GAMMA).coef[1])
    except DataProblem:
        return np.nan


def park_of(s: Cases, fit: RevenueFit) -> float:
    """Return the Park slope of a fit: of the equation of amounts alone where there are two, on customers with revenue."""
    X, bought = s.X(fit.plan.shape), s.y > 0
    if len(fit.offsets) > 1:
        return park(s.y[bought], np.exp(X[bought] @ fit.coef[X.shape[1] :]), s.weights[bought])
    used = bought if fit.plan.model.smeared else np.ones(len(s.y), dtype=bool)
    return park(s.y[used], fit.mean(fit.coef, X, s.scale.group(s.score))[used], s.weights[used])


def scenarios(s: Cases, plan: Plan) -> tuple[tuple, np.ndarray]:
    """Return designs and groups now, a point up, all lowest, all highest; and who (n,) can rise, and counts per point."""
    code = s.scale.group(s.score)
    level = lambda g: np.full(len(code), np.average(s.score[code == g], weights=s.weights[code == g]))  # noqa: E731
    scores = (s.score, s.score + 1, level(code.min()), level(code.max()))
    can_rise = digits.at_most(s.score + 1, s.scale.top)
    designs = tuple((s.X(plan.shape, v), s.scale.group(v)) for v in scores)
    return designs, can_rise if np.any(can_rise) else np.ones(len(code), dtype=bool)


def answers(fit: RevenueFit, coef, cases: tuple, weights) -> tuple[np.ndarray, np.ndarray]:
    """Return STATISTICS (4,) at `coef`, and the influence (n, 4) of rows through the averages they enter."""

    def average(values, weights):
        share = weights / weights.sum()
        mean = share @ values
        return float(mean), share * (values - mean)

    designs, can_rise = cases
    now, up, bottom, top = (fit.mean(coef, *design) for design in designs)
    a, b, money = (average(values, weights * can_rise) for values in (up, now, up - now))
    c, d, mean = (average(values, weights) for values in (top, bottom, now))
    values = np.array([np.log(a[0] / b[0]), money[0], np.log(c[0] / d[0]), mean[0]])
    return values, np.column_stack([a[1] / a[0] - b[1] / b[0], money[1], c[1] / c[0] - d[1] / d[0], mean[1]])


def estimate(s: Cases, plan: Plan = POISSON_LINE, *, seen: bool = False) -> RevenueFit:
    """Fit a plan and return its coefficients and answers with their errors; what is `seen` is fitted by statsmodels.

    Few clusters (under 40): each cluster is left out in turn and everything refitted (CV3, t with G - 1); for
    log-OLS with one smearing factor the coefficients take CR2 with Bell-McCaffrey degrees of freedom.
    """
    fit, cases = fit_revenue(s, plan), scenarios(s, plan)
    if seen and not s.effects and s.drawn is not None:
        results = library_results(s, fit)
        params = [found.params for found in (results.values() if isinstance(results, dict) else [results])]
        coef = np.concatenate([*params, fit.coef[sum(map(len, params)) :]])
        fit = replace(fit, coef=coef, results=results)
    values, own = answers(fit, fit.coef, cases, s.weights)
    p, whole = len(fit.coef), np.concatenate([fit.coef, values])
    df = np.full(len(whole), s.df(p))
    if s.jackknifed:
        return _by_jackknife(s, fit, cases, df)
    slopes = gradient(lambda coef: answers(fit, coef, cases, s.weights)[0], fit.coef)  # (4, p)
    influence = np.column_stack([fit.influence, own + fit.influence @ slopes.T])
    return replace(fit, values=whole, covariance=s.covariance(influence, p), df=df, errors=s.errors())


def _by_jackknife(s: Cases, fit: RevenueFit, cases: tuple, df) -> RevenueFit:
    """Return the estimates with the errors of refits without each cluster, or CR2's for the coefficients of log-OLS."""
    plan = fit.plan

    def everything(weights):
        again = fit_revenue(s, plan, weights)
        return np.concatenate([again.coef, answers(again, again.coef, cases, weights)[0]])

    whole, covariance = jackknife(everything, s.clusters[0], s.weights)
    words = f"cluster jackknife (CV3, {s.n_clusters} clusters)"
    if plan.model.smeared and not (plan.smear_by_group or s.effects or s.is_survey):
        bought, X = s.y > 0, cases[0][0][0]
        k, words = X.shape[1], f"CR2, {s.n_clusters} clusters"
        residual = np.log(s.y[bought]) - X[bought] @ fit.coef[:k]
        covariance[:k, :k], df[:k] = cr2(X[bought], residual, s.clusters[0][bought])
        if plan.shape == "linear":  # the ratio per point is then exp(coefficient)
            ratio = len(fit.coef)
            covariance[ratio, ratio], df[ratio] = covariance[1, 1], df[1]
    return replace(fit, values=whole, covariance=covariance, df=df, errors=words)


def explained(s: Cases, fit: RevenueFit) -> float:
    """Return the share of the Poisson deviance, left by the controls, that the score takes away (0-1)."""
    plan = fit.plan
    used = s.weights * (s.y > 0) if plan.model.smeared else s.weights
    with_score = fit.mean(fit.coef, s.X(plan.shape), s.scale.group(s.score))
    base = np.column_stack([np.full(len(s.y), float(not s.effects)), s.Z])
    without = fit_glm(base, s.y, used, POISSON, effects=s.effects).mu
    left, start = (used @ (s.logs - s.y * np.log(mu) - s.y + mu) for mu in (with_score, without))
    return float(1 - left / start) if start > 0 else np.nan


def reading(s: Cases, plan: Plan) -> float:
    """Return the log ratio per point of a plan, without its error."""
    fit = fit_revenue(s, plan)
    return answers(fit, fit.coef, scenarios(s, plan), s.weights)[0][0]


def log_trap(s: Cases, got: RevenueFit, confidence: float) -> tuple[float, bool] | None:
    """Return the percentage per point of log-OLS with one smearing factor, and whether it misleads; None if spreads agree.

    It misleads outside the interval of the ratio of means, or on its other side of zero (Manning 1998).
    """
    if not got.plan.smear_by_group:
        return None
    value = reading(s, replace(got.plan, smear_by_group=False))
    honest, low, high, _ = got.interval("log_ratio", confidence)
    return float(100 * np.expm1(value)), bool(value * honest < 0 or not low <= value <= high)
