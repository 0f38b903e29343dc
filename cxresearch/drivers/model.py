"""The one model under every analysis of drivers, its replicates, and how sure they make of shares, ranks and ties."""

import warnings
from dataclasses import dataclass

import numpy as np
import pandas as pd

from cxresearch import digits, figures
from cxresearch.drivers.likelihood import RAREST, Likelihood, fit_likelihood
from cxresearch.drivers.question import Question
from cxresearch.drivers.sentences import base_of, say
from cxresearch.drivers.shapley import Division, divide, noise_floor, ranks, share_of
from cxresearch.errors import DataProblem
from cxresearch.figures import QUIET, axes_or_new, forest, titled
from cxresearch.findings import Check, Finding, listing, number, p_words, percent
from cxresearch.inference import joint_p_value, percentile_interval
from cxresearch.inference.shares import TOLERANCE, Moments, as_correlations, em_moments, scaling, unpacked

ROUNDS, CLOSE = 100, 1e-8  # of the loadings of one factor
LEAST = 4  # ratings whose departures from one factor can be tested
NULL = 1e-8  # eigenvalue of correlations under which columns are sums of each other


@dataclass(frozen=True)
class Draws:
    """What replicates gave; parts are None where nothing is divided."""

    parts: np.ndarray | None  # (B, p)
    coefficients: np.ndarray
    slopes: np.ndarray
    correlations: np.ndarray


@dataclass(frozen=True)
class Model:
    """Point estimates and what it takes to draw replicates."""

    question: Question
    kind: str
    moments: Moments
    correlation: np.ndarray  # (m + 1, m + 1), outcome last
    coefficients: np.ndarray  # (m,) standardised, of the whole model; of a likelihood per standard deviation
    slopes: np.ndarray  # (m,) outcome points per point of the column, by least squares whatever the kind
    scale: np.ndarray  # (m,) outcome's standard deviation over the column's
    division: Division | None  # None where only slopes are asked for
    floor: tuple[float, float]  # part of a random driver, mean and what 19 of 20 stay below
    likelihood: Likelihood | None = None

    def draw(self, weights: np.ndarray) -> Draws:
        """Return what each row of `weights` (B, n) gives."""
        covariances = self.moments.covariances(weights)
        packed = as_correlations(covariances)
        matrices = unpacked(packed)
        coefficients = standardised_coefficients(matrices)
        slopes = _in_points(coefficients, covariances, self.scale)
        parts = None
        if self.likelihood is not None:
            parts, coefficients = self.likelihood.draw(weights)
        elif self.division is not None:
            parts = self.division.of(packed)
        return Draws(parts, coefficients, slopes, matrices)

    def draws(self, n_boot: int, seed) -> Draws:
        """Return `n_boot` bootstrap replicates; those that lack an answer of the outcome are left out."""
        done = [vars(self.draw(w)) for w in self.question.sample.replicates(n_boot, seed=seed)]
        found = {k: None if done[0][k] is None else np.concatenate([d[k] for d in done]) for k in done[0]}
        usable = slice(None) if found["parts"] is None else np.isfinite(found["parts"]).all(axis=1)
        return Draws(**{k: None if v is None else v[usable] for k, v in found.items()})

    def test(self) -> float:
        """Return the p-value of "no term goes with the outcome beyond the controls"; missing with too few clusters.

        Rao's score test with the design's covariance of the mean products of term and outcome, freed from the controls.
        """
        scores, w = _scores(self.moments, self.question.n_always), self.question.sample.weights
        mean = w @ scores / w.sum()
        covariance = self.question.sample.covariance_of(w[:, None] * (scores - mean) / w.sum())
        return joint_test(mean, covariance, self.question.df)

    def checks(self, p_value: float, confidence: float) -> tuple[Check, ...]:
        """Return the checks that every analysis shares: the model's test, and whether it can be asked at all."""
        checks = (*self.question.few_units(), *(self.likelihood.checks if self.likelihood else ()))
        if np.isnan(p_value):
            name, least = "sampling units to test the model", f"above {len(self.question.names) + 1}"
            return (*checks, Check(name, int(self.question.df), least, False, "stops"))
        value, limit = digits.rounded(p_value, 4), f"at most {number(1 - confidence, 2)}"
        return (*checks, Check("model beyond chance (p)", value, limit, p_value <= 1 - confidence, "stops"))

    def halo_test(self, draws: Draws) -> float:
        """Return the p-value of "the outcome goes with the ratings only through what they have in common"."""
        columns = [c for c in self.question.rating.values() if self.correlation[c, c] > 0]
        if len(columns) < LEAST:
            return np.nan
        at = np.array([*columns, len(self.correlation) - 1])
        point, drawn = self.correlation[at[:, None], at][None], draws.correlations[:, at[:, None], at]
        return common_only_test(point, drawn, self.question.df)

    def dependent_terms(self) -> list[str]:
        """Return the terms that are constant, or of which the other columns leave less than they are."""
        among, found = self.correlation[:-1, :-1], []
        if np.linalg.eigvalsh(among)[0] > NULL:
            return []
        for term in self.question.names:
            own = self.question.rating.get(term)
            own = np.r_[self.question.columns_of(term)] if own is None else np.array([own])
            others = np.setdiff1d(np.arange(len(among)), np.r_[self.question.columns_of(term)])
            inside, across = among[np.ix_(own, own)], among[np.ix_(own, others)]
            inverse = np.linalg.pinv(among[np.ix_(others, others)], hermitian=True, rcond=NULL)
            left = inside - across @ inverse @ across.T
            rank = np.sum(np.linalg.eigvalsh(inside) > NULL)
            if rank == 0 or np.sum(np.linalg.eigvalsh(left) > NULL) < rank:
                found.append(term)
        return found

    def results(self):
        """Return the statsmodels fit whose point estimates are this model's; see `Finding.model`."""
        import statsmodels.api as sm
        from statsmodels.miscmodels.ordinal_model import OrderedModel

        q, likelihood = self.question, self.likelihood
        if q.skipped:
            why = "skipped answers were kept by maximum likelihood (missing='em'), which statsmodels' fits cannot"
            raise DataProblem(f"{why}; ask with missing='listwise' for a fit of the complete rows")
        y, x = q.columns[:, -1], sm.add_constant(self.frame(), has_constant="add")
        if likelihood is None:
            return sm.WLS(y, x, weights=q.sample.weights).fit()
        weighted = np.ptp(q.sample.weights) > 0
        if self.kind == "binary" and not weighted:
            return sm.Logit(likelihood.code, x).fit(disp=0, tol=1e-12)
        if self.kind == "binary":
            w = q.sample.weights * (len(q) / q.sample.weights.sum())
            return sm.GLM(likelihood.code, x, family=sm.families.Binomial(), var_weights=w).fit(tol=1e-13)
        if weighted:
            raise DataProblem("statsmodels' OrderedModel takes no weights; the weighted fit stands in tidy()")
        mean, spread = (a[:-1] for a in scaling(q.columns, q.sample.weights))
        b = likelihood.coefficients / spread
        cuts = likelihood.fits.parameters[-1][: likelihood.model.cuts] + mean @ b
        start = np.concatenate([b, cuts[:1], np.log(np.diff(cuts))])
        ordered = OrderedModel(y, self.frame(), distr="logit")
        return ordered.fit(start_params=start, method="newton", disp=0, tol=1e-9)

    def frame(self) -> pd.DataFrame:
        """Return the model's columns by name."""
        names = [f"control {k + 1}" for k in range(self.question.n_always)]
        for term, size in zip(self.question.names, self.question.sizes):
            more = ["met"] if term in self.question.met else [str(k + 2) for k in range(size - 1)]
            names += [term, *(f"{term} {word}" for word in more[: size - 1])]
        return pd.DataFrame(self.question.columns[:, :-1], columns=names)


def fit(question: Question, *, kind: str = "linear", seed=None, divided: bool = True) -> Model:
    """Return the model of a question; skipped answers are handled by EM, which only a linear model can."""
    if kind != "linear" and question.skipped:
        lost = int((~question.complete()).sum())
        why = f"missing='em' is for kind='linear'; {lost} of {len(question)} rows skipped an answer"
        raise DataProblem(f"{why}: use missing='listwise', or kind='linear'")
    columns, weights = question.columns, question.sample.weights
    if kind == "binary":
        columns = np.column_stack([columns[:, :-1], columns[:, -1] == columns[:, -1].max()]).astype(float)
    moments = em_moments(columns, weights)
    covariances = moments.covariances()
    packed = as_correlations(covariances)
    matrices = unpacked(packed)
    spread = scaling(columns, weights)[1]
    coefficients, scale = standardised_coefficients(matrices), spread[-1] / spread[:-1]
    slopes, likelihood, division, floor = _in_points(coefficients, covariances, scale)[0], None, None, (0.0, 0.0)
    if divided:
        division = divide(packed, sizes=question.sizes, n_always=question.n_always, seed=seed)
        floor = noise_floor(division.by_size, question.sample.n_effective)
    if kind != "linear":
        values, vectors = np.linalg.eigh(matrices[0, :-1, :-1])
        dependent = np.sum(vectors[:, values < NULL] ** 2, axis=1) > 1e-6  # columns that are constant, or in a sum
        likelihood = fit_likelihood(question, kind, dependent, division.methods["relative_weights"])
        division, floor, coefficients = likelihood.division, likelihood.floor, likelihood.coefficients[None]
    return Model(question, kind, moments, matrices[0], coefficients[0], slopes, scale, division, floor, likelihood)


def standardised_coefficients(matrices: np.ndarray) -> np.ndarray:
    """Return the coefficients (batch, m) of all columns from (batch, m + 1, m + 1) correlations, outcome last."""
    among, target = matrices[:, :-1, :-1], matrices[:, :-1, -1:]
    near = among + 1e-9 * np.eye(among.shape[1])  # dependent drivers share; one refinement takes the ridge out again
    first = np.linalg.solve(near, target)
    return (first + np.linalg.solve(near, target - among @ first))[:, :, 0]


def _in_points(coefficients, covariances, scale) -> np.ndarray:
    """Return standardised coefficients (B, m) in points of the outcome per point of the column."""
    variance = np.maximum(np.diagonal(unpacked(covariances), axis1=1, axis2=2), 0.0)
    ratio = variance[:, -1:] / np.where(variance[:, :-1] > TOLERANCE, variance[:, :-1], np.nan)
    return coefficients * np.sqrt(ratio) * scale


def joint_test(estimates, covariance, df: float) -> float:
    """Return the p-value of "all are zero" in the directions that vary; missing with too few clusters to tell."""
    values, vectors = np.linalg.eigh(covariance)
    free = values > 1e-9 * max(values[-1], 0.0)
    if not free.any():  # all is known without an error, or nothing varies
        return float(np.abs(estimates).max() < 1e-12)
    return joint_p_value(estimates @ vectors[:, free], np.diag(values[free]), df)


def _scores(moments: Moments, n_always: int) -> np.ndarray:
    """Return each row's products of term columns and outcome, centred and freed from the controls, (n, m)."""
    m, w = moments.n_columns, moments.weights / moments.weights.sum()
    among, mean = unpacked(moments.covariances())[0], w @ moments.rows[:, -m:]
    away = np.eye(m)  # column j: j less its fit on the controls
    away[:n_always] -= np.linalg.pinv(among[:n_always, :n_always], hermitian=True) @ among[:n_always]
    terms, outcome, (i, j) = away[:, n_always:-1], away[:, -1:], np.triu_indices(m)
    products = terms[i] * outcome[j] + (i < j)[:, None] * terms[j] * outcome[i]
    shift, level = mean @ terms, mean @ outcome
    return moments.rows @ np.concatenate([products, -level * terms - outcome * shift]) + level * shift


# --- halo ------------------------------------------------------------------------------------------------------------


def one_factor_loadings(correlations: np.ndarray, start: np.ndarray | None = None) -> np.ndarray:
    """Return the loadings (batch, p) of one common factor from (batch, p, p) correlations, by minres."""
    off = correlations * (1 - np.eye(correlations.shape[-1]))
    loading = start
    if loading is None:
        loading = np.linalg.eigh(correlations)[1][:, :, -1]
        loading = loading * np.sqrt(np.maximum((loading[:, None] @ off @ loading[:, :, None])[:, :, 0], 1e-6))
    for _ in range(ROUNDS):
        others = np.maximum(np.sum(loading**2, axis=1, keepdims=True) - loading**2, 1e-9)
        before, loading = loading, (loading + np.einsum("bij,bj->bi", off, loading) / others) / 2
        if np.abs(loading - before).max() < CLOSE:
            break
    return loading


def common_only_test(matrices: np.ndarray, drawn: np.ndarray, df: float) -> float:
    """Return the p-value of "the outcome's correlations with the drivers are proportional to their loadings".

    The departures d from cov(x_j, y) = k loading_j, k by least squares, have the bootstrap covariance C, and d' C^-1 d
    tells. Given are correlations, outcome last, (1, p + 1, p + 1) of the sample and (B, p + 1, p + 1) of replicates.
    """
    loadings = one_factor_loadings(matrices[:, :-1, :-1])
    # Departures are orthogonal to the loadings: p - 1 directions are free.
    free = np.linalg.svd(loadings)[2][1:]
    departures = free @ _departures(matrices, loadings)[0]
    start = np.repeat(loadings, len(drawn), axis=0)
    spread = free @ _departures(drawn, one_factor_loadings(drawn[:, :-1, :-1], start)).T
    return joint_test(departures, np.atleast_2d(np.cov(spread)), df)


def _departures(matrices, loadings) -> np.ndarray:
    with_outcome = matrices[:, :-1, -1]
    scale = np.sum(loadings * with_outcome, axis=1) / np.maximum(np.sum(loadings**2, axis=1), 1e-12)
    return with_outcome - scale[:, None] * loadings


# --- certainty --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Certainty:
    """What the draws gave; missing values where none were asked for."""

    ends: dict[str, tuple]  # column -> low and high (p,); of slopes and the like missing where a term is no rating
    probability: np.ndarray  # (p, p), term x rank
    pairs: tuple  # first, second, difference of shares, low, high
    tied: tuple[str, ...]  # terms that cannot be excluded as the largest, the largest estimate apart
    r2: tuple[float, float]  # ends for the joint R²
    halo: float  # p-value of "the outcome goes with the drivers only through what they have in common"


def certainty(model: Model, *, n_boot: int, seed, confidence: float) -> Certainty:
    """Return what `n_boot` replicates say, or a record of missing values for none."""
    names, rating, shares = model.question.names, model.question.rating, share_of(model.division.parts)
    p = len(names)
    if not n_boot:
        columns = ("conf", "share", "rank", "correlation", "coefficient", "per_point")
        nothing = dict.fromkeys(columns, (np.full(p, np.nan),) * 2)
        return Certainty(nothing, np.full((p, p), np.nan), (np.empty(0),) * 5, (), (np.nan, np.nan), np.nan)
    draws = model.draws(n_boot, seed)
    drawn, drawn_ranks = share_of(draws.parts), ranks(draws.parts)
    tail = [(1 - confidence) / 2, (1 + confidence) / 2]
    ends = {"conf": percentile_interval(draws.parts, confidence), "share": percentile_interval(drawn, confidence)}
    ends["rank"] = tuple(np.quantile(drawn_ranks, tail, axis=0, method="nearest"))
    of_columns = {"correlation": draws.correlations[:, :-1, -1], "coefficient": draws.coefficients}
    for name, values in {**of_columns, "per_point": draws.slopes}.items():
        known = [values[:, rating[t]] if t in rating else np.full(len(values), np.nan) for t in names]
        with warnings.catch_warnings(action="ignore"):  # a term of several columns, or that never varies, has none
            ends[name] = percentile_interval(np.column_stack(known), confidence)
    probability = np.stack([np.mean(drawn_ranks == k + 1, axis=0) for k in range(p)], axis=1)
    pairs = simultaneous_differences(shares, drawn, confidence)
    r2 = tuple(float(e) for e in percentile_interval(draws.parts.sum(axis=1), confidence))
    return Certainty(
        ends, probability, pairs, _tied(names, shares, drawn, pairs, confidence), r2, model.halo_test(draws)
    )


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

    If all terms were equal, some pair would be called different with probability 1 - confidence at most.
    """
    first, second = np.triu_indices(len(estimate), 1)
    difference, half = estimate[first] - estimate[second], half_widths(draws[:, first] - draws[:, second], confidence)
    return first, second, difference, difference - half, difference + half


def half_widths(drawn: np.ndarray, confidence: float) -> np.ndarray:
    """Return half-widths (k,) of intervals that hold together, from draws (B, k): one quantile of the largest |t|."""
    centred, error = np.abs(drawn - drawn.mean(axis=0)), drawn.std(axis=0, ddof=1)
    largest = np.divide(centred, error, out=np.zeros_like(centred), where=error > 1e-12).max(axis=1)
    return np.quantile(largest, confidence) * error


def could_be_first(estimate, draws, confidence: float) -> np.ndarray:
    """Return which terms cannot be excluded as the largest: with `confidence` the truly largest is among them.

    Excluded is what falls short by more than the quantile of the largest standardised difference drawn (Hsu 1981).
    """
    drawn = draws[:, None, :] - draws[:, :, None]  # [draw, term, rival]
    error, itself = np.maximum(drawn.std(axis=0, ddof=1), 1e-12), np.diag(np.full(len(estimate), np.inf))
    largest = ((drawn - drawn.mean(axis=0)) / error - itself).max(axis=2)
    behind = ((estimate - estimate[:, None]) / error - itself).max(axis=1)
    return behind <= np.quantile(largest, confidence, axis=0)


# --- findings --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, repr=False, eq=False)
class DriverFinding(Finding):
    """A finding of the model of all drivers, `fitted`; `tied` are the terms that may be the first as well."""

    fitted: Model | None = None
    tied: tuple[str, ...] = ()

    @property
    def model(self):
        """The statsmodels fit whose point estimates are the finding's: WLS, Logit (GLM if weighted), OrderedModel."""
        return self.fitted.results()

    def no_verdict(self) -> str:
        """Return the first sentence of a model that tells nothing, and nothing where it does."""
        s = self.summary
        words = {"k": len(self.table), "outcome": self.label(self.outcome), "base": base_of(s)}
        rarest = [c.value for c in self.tested if c.check == RAREST and not c.ok]
        if np.isnan(s["p_value"]):
            return say("few_units", units=f"{number(s['df'], 0)} free", **words)
        if rarest:
            return say("stopped", rarest=f"{rarest[0]} rows", **words)
        return say("chance", p=p_words(s["p_value"]), **words) if s["p_value"] > 1 - s["confidence"] else ""

    def standing(self, room: str, **words) -> str:
        """Return the sentence on what can be told apart from the first."""
        if not self.tied:
            return say(f"{room}_ahead", **words)
        if len(self.tied) == len(self.table) - 1:
            return say(f"{room}_open", **words)
        others = listing(map(self.label, self.tied)) if len(self.tied) <= 4 else f"{len(self.tied)} others"
        return say(f"{room}_tied", others=others, **words)


def conclude(kind, function: str, question: Question, table, summary, checks, tables=None, **more) -> Finding:
    """Return the finding of a question, with its bases, labels and domain."""
    survey, bases = question.survey, {"n": len(question)}
    bases |= {} if survey.weight is None else {"n_effective": question.sample.n_effective}
    return kind(
        function, question.outcome, None, table, {**bases, **summary}, tuple(checks), dict(survey.labels),
        tables or {}, domain=survey.condition, **more,
    )  # fmt: skip


def in_percent(table, *columns):
    """Return the table with columns of shares, and their ends, in percent."""
    named = [c for column in columns for c in (column, f"{column}_low", f"{column}_high") if c in table]
    return table.assign(**{c: 100 * table[c] for c in named})


def share_unit(summary) -> str:
    """Return the unit of an axis of shares."""
    sure = f", with {percent(summary['confidence'])} interval" if summary["n_boot"] else ""
    return f"Share of the explained variance (%){sure}"


def legend_below(ax, *, columns: int) -> None:
    """Put the legend under the axis label, where no interval reaches."""
    ax.legend(loc="upper center", bbox_to_anchor=(0.4, 0), borderaxespad=5, ncols=figures.columns(columns))


def draw_shares(finding, share: str, beside: str, meaning: str, ax=None, *, floor: float | None = None):
    """Draw ranked shares with their intervals, another rule's as hollow diamonds, and the share of a random driver."""
    table = in_percent(finding.table.sort_values("rank"), share, beside)
    ax, at = axes_or_new(ax, rows=len(table) + 3), np.arange(len(table))
    if floor is not None:
        ax.axvline(100 * floor, color=QUIET, linewidth=1, linestyle=":", label="a random driver")
    ax.plot(table[beside], at, "D", color=QUIET, markersize=5, markerfacecolor="none", label=meaning)
    forest(table, share, names=[finding.label(t) for t in table["term"]], unit=share_unit(finding.summary), ax=ax)
    ax.set_xlim(left=0)
    legend_below(ax, columns=1 if floor is None else 2)
    return titled(ax, finding.title)
