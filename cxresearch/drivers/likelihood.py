"""Binary and ordered outcomes: maximum-likelihood fits of every subset of terms, in batches, by Newton's method.

What McFadden's R² leaves unexplained on each subset stands where residual variances stand in the linear case.
"""

from dataclasses import dataclass

import numpy as np
from scipy import special, stats

from cxresearch import digits
from cxresearch.drivers.question import Question
from cxresearch.drivers.shapley import METHODS, Division, first_and_last, mean_by_size
from cxresearch.errors import DataProblem
from cxresearch.findings import Check
from cxresearch.inference.shares import shapley_parts, standardised, subset_sizes

STEPS = 60
TOGETHER = 32  # subsets in one product with the replicates' weights
# Of the Newton decrement: adding it to the log-likelihood then leaves an error of third order, below 1e-6; the whole
# model's last step leaves none.
NEAR, EXACTLY = 1e-3, 1e-10
CHUNK = 1 << 14  # linear predictors held at once: they stay in the cache
MOST_TERMS, MOST_LEVELS = 14, 11
LARGEST_ERROR = 10.0  # a tenth of it would be large: likelihoods with a maximum stay far below
RAREST, FEWEST = "rows of the rarest answer", 10  # rows of the rarest answer: under it likelihoods say next to nothing


class Diverged(Exception):
    """A likelihood has no maximum."""


class CumulativeLogit:
    """Likelihood of ordered categories: logit P(y <= j) = cut_j - columns b; the J - 1 cuts come first."""

    def __init__(self, columns: np.ndarray, y: np.ndarray, weights: np.ndarray):
        self.levels, self.code = np.unique(y, return_inverse=True)
        self.order = np.argsort(self.code, kind="stable")  # rows of an answer stand together: slices, not copies
        stop = np.cumsum(np.bincount(self.code))
        self.rows_of = [slice(a, b) for a, b in zip((0, *stop[:-1]), stop)]
        self.cuts, m = len(self.levels) - 1, columns.shape[1]
        self.columns, self.weights, self.n_parameters = columns, weights, self.cuts + m
        self._x, self._w = columns[self.order], weights[self.order]
        self._triangle = i, j = np.triu_indices(m)
        self._weighted = (self._x * self._w[:, None]).T.copy()
        self._pairs = (self._x[:, i] * self._x[:, j] * self._w[:, None]).T.copy()

    def start(self) -> np.ndarray:
        """Return the parameters of the model without columns."""
        share = np.cumsum(np.bincount(self.code, self.weights))[:-1] / self.weights.sum()
        return np.concatenate([np.log(share / (1 - share)), np.zeros(self.columns.shape[1])])

    def _derivatives(self, parameters):
        """Return log-likelihood and its derivatives in both ends of each answer's interval, (n, G), in their order."""
        linear = self._x @ parameters[:, self.cuts :].T
        fa, fb = np.ones_like(linear), np.zeros_like(linear)
        for c in range(self.cuts):
            for f, rows in ((fa, self.rows_of[c]), (fb, self.rows_of[c + 1])):
                special.expit(parameters[:, c] - linear[rows], out=f[rows])
        between, da, db = fa - fb, np.zeros_like(fa), np.zeros_like(fa)
        with np.errstate(divide="ignore", invalid="ignore"):
            loglik = np.log(between)  # crossed cuts give a missing likelihood, and the step is halved
            for c in range(self.cuts):  # the outer ends of the lowest and the highest answer do not move
                under, over = self.rows_of[c], self.rows_of[c + 1]
                da[under] = fa[under] * (1 - fa[under]) / between[under]
                db[over] = fb[over] * (fb[over] - 1) / between[over]
        return loglik, da, db, fa, fb

    def evaluate(self, parameters: np.ndarray):
        """Return log-likelihoods (G,), scores (G, k) and informations (G, k, k) at (G, k) parameters."""
        total, k, w = len(parameters), self.n_parameters, self._w
        loglik, score, information = np.empty(total), np.empty((total, k)), np.zeros((total, k, k))
        at_once = max(1, CHUNK // len(w))
        i, j = self._triangle
        for start in range(0, total, at_once):
            part = slice(start, start + at_once)
            value, da, db, fa, fb = self._derivatives(parameters[part])
            both, curved, found = da + db, np.zeros_like(da), information[part]
            loglik[part], score[part, self.cuts :] = w @ value, -(self._weighted @ both).T
            for c in range(self.cuts):
                under, over = self.rows_of[c], self.rows_of[c + 1]
                score[part, c] = w[under] @ da[under] + w[over] @ db[over]
                up = da[under] * (both[under] + 2 * fa[under] - 1)  # less the second derivatives, of both ends
                low = db[over] * (both[over] + 2 * fb[over] - 1)
                curved[under] += up
                curved[over] += low
                found[:, c, c] = w[under] @ (up - da[under] * db[under]) + w[over] @ (low - da[over] * db[over])
                across = self._weighted[:, under] @ up + self._weighted[:, over] @ low
                found[:, c, self.cuts :] = found[:, self.cuts :, c] = -across.T
                if c + 1 < self.cuts:
                    found[:, c, c + 1] = found[:, c + 1, c] = w[over] @ (da[over] * db[over])
            found[:, self.cuts + i, self.cuts + j] = found[:, self.cuts + j, self.cuts + i] = (self._pairs @ curved).T
        return loglik, score, information

    def rows(self, parameters: np.ndarray):
        """Return each respondent's log-likelihood (n,) and score (n, k) at (k,) parameters."""
        loglik, da, db = (d[:, 0] for d in self._derivatives(parameters[None])[:3])
        score = np.zeros((len(da), self.n_parameters))
        score[:, self.cuts :] = -(da + db)[:, None] * self._x
        for c in range(self.cuts):
            score[self.rows_of[c], c], score[self.rows_of[c + 1], c] = da[self.rows_of[c]], db[self.rows_of[c + 1]]
        place = np.argsort(self.order)
        return loglik[place], score[place]


def parallel_lines(model: CumulativeLogit) -> tuple[float, float, int]:
    """Return chi-square, p and degrees of freedom of Brant's test that one slope serves all cuts.

    The Wald statistic of the differences between the slopes of one binary logit a cut, fitted to the same respondents.
    """
    cuts, m = model.cuts, model.columns.shape[1]
    logits = [CumulativeLogit(model.columns, model.code > j, model.weights) for j in range(cuts)]
    fits = [fit_subsets(logit, []) for logit in logits]
    x = np.column_stack([-np.ones(len(model.code)), model.columns])
    fitted = np.stack([special.expit(model.columns @ f.parameters[0][1:] - f.parameters[0][0]) for f in fits])
    covariance = np.empty((cuts * m, cuts * m))
    for j in range(cuts):
        for k in range(cuts):
            shared = model.weights * (fitted[max(j, k)] * (1 - fitted[min(j, k)]))
            block = fits[j].inverse[0] @ ((x * shared[:, None]).T @ x) @ fits[k].inverse[0]
            covariance[j * m : j * m + m, k * m : k * m + m] = block[1:, 1:]
    slopes = np.concatenate([fit.parameters[0][1:] for fit in fits])
    contrast = np.hstack([np.tile(np.eye(m), (cuts - 1, 1)), -np.eye((cuts - 1) * m)])
    difference = contrast @ slopes
    value = float(difference @ np.linalg.pinv(contrast @ covariance @ contrast.T, hermitian=True) @ difference)
    df = (cuts - 1) * m
    return value, float(stats.chi2.sf(value, df)), df


@dataclass(frozen=True)
class SubsetFits:
    """Every subset's model."""

    parameters: np.ndarray  # (2^p, k), zero where a term is not in the subset
    loglik: np.ndarray  # (2^p,)
    inverse: np.ndarray  # (2^p, k, k), inverse information, zero for what is not in the subset


def fit_subsets(model, members) -> SubsetFits:
    """Fit every subset of terms, the largest first and exactly; what is in no term's `members` is in every subset."""
    p, k = len(members), model.n_parameters
    holds = np.ones((1 << p, k), dtype=bool)
    for i, columns in enumerate(members):
        holds[np.ix_(np.arange(1 << p) >> i & 1 == 0, columns)] = False
    fits = SubsetFits(np.zeros((1 << p, k)), np.zeros(1 << p), np.zeros((1 << p, k, k)))
    full = np.array([(1 << p) - 1])
    _newton(model, fits, full, model.start()[None], holds, EXACTLY)
    for size in range(p - 1, -1, -1):
        subsets = np.flatnonzero(subset_sizes(p) == size)
        _newton(model, fits, subsets, _start(fits, subsets, members), holds, NEAR)
    return fits


def _start(fits, subsets, members) -> np.ndarray:
    """Return each subset's quadratic approximation from the model with its lowest missing term."""
    p = len(members)
    start = np.empty((len(subsets), fits.parameters.shape[1]))
    missing = ~subsets & ((1 << p) - 1)
    lowest = np.log2(missing & -missing).astype(int)
    for i in np.unique(lowest):
        here, columns = np.flatnonzero(lowest == i), members[i]
        parents = subsets[here] | 1 << i
        inverse, value = fits.inverse[parents], fits.parameters[parents]
        pivot = inverse[:, columns[:, None], columns] + 1e-12 * np.eye(len(columns))
        move = np.linalg.solve(pivot, value[:, columns, None])
        start[here] = value - (inverse[:, :, columns] @ move)[:, :, 0]
        start[np.ix_(here, columns)] = 0.0
    return start


def _newton(model, fits, subsets, parameters, holds, near) -> None:
    """Fill in the fits of `subsets`, from `parameters`; a step that lowers the likelihood is halved."""
    inside = holds[subsets]
    parameters = parameters * inside
    loglik, score, information = model.evaluate(parameters)
    open_ = np.arange(len(subsets))
    for _ in range(STEPS):
        inverse = _inverse(information, inside[open_])
        step = (inverse @ (score * inside[open_])[:, :, None])[:, :, 0]
        decrement = np.sum(step * score * inside[open_], axis=1) / 2
        done = decrement < near
        at = subsets[open_[done]]
        fits.parameters[at] = parameters[open_[done]] + step[done]
        fits.loglik[at] = loglik[open_[done]] + decrement[done]
        fits.inverse[at] = inverse[done]
        open_, step = open_[~done], step[~done]
        if not len(open_):
            return
        size = np.ones(len(open_))
        for _ in range(20):
            moved = parameters[open_] + size[:, None] * step
            new, score, information = model.evaluate(moved)
            worse = ~(new >= loglik[open_] - 1e-9)
            if not worse.any():
                break
            size[worse] /= 2
        parameters[open_], loglik[open_] = moved, new
    raise Diverged


def _inverse(information, inside) -> np.ndarray:
    both = inside[:, :, None] & inside[:, None, :]
    k = inside.shape[1]
    scale = np.trace(information, axis1=1, axis2=2)[:, None] / k
    filled = np.where(both, information, 0.0)
    filled[:, np.arange(k), np.arange(k)] += np.where(inside, 1e-10 * scale, 1.0)
    try:
        return np.where(both, np.linalg.inv(filled), 0.0)
    except np.linalg.LinAlgError:  # nothing is left of the information where all probabilities are 0 or 1
        raise Diverged from None


def null_loglik(y: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Return the log-likelihood of answers' own shares by row of `weights` (B, n); missing where an answer is."""
    levels, code = np.unique(y, return_inverse=True)
    counts = np.stack([weights[:, code == k].sum(axis=1) for k in range(len(levels))])
    shares = counts / counts.sum(axis=0)
    with np.errstate(divide="ignore", invalid="ignore"):
        return weights.shape[1] * np.sum(shares * np.log(shares), axis=0)


def replicate_logliks(model, fits: SubsetFits, weights: np.ndarray) -> np.ndarray:
    """Return every subset's maximised log-likelihood under each row of `weights` (B, n), as (2^p, B).

    One Newton step from the sample's fit with its information I: l_w(b) + u_w' I^-1 u_w / 2, u_w the replicate's score:
    the error is of order n^(-1/2) in a log-likelihood of order n. Weights sum to the model's.
    """
    out, free = np.empty((len(fits.loglik), len(weights))), fits.inverse.diagonal(axis1=1, axis2=2) != 0
    for start in range(0, len(out), TOGETHER):
        subsets = range(start, min(start + TOGETHER, len(out)))
        rows = [model.rows(fits.parameters[s]) for s in subsets]
        rows = [np.column_stack([loglik, score[:, free[s]]]) for s, (loglik, score) in zip(subsets, rows)]
        totals = weights @ np.concatenate(rows, axis=1)  # one wide product is faster than many
        for s, total in zip(subsets, np.split(totals, np.cumsum([r.shape[1] for r in rows])[:-1], axis=1)):
            score, inverse = total[:, 1:], fits.inverse[s][np.ix_(free[s], free[s])]
            out[s] = total[:, 0] + np.sum((score @ inverse) * score, axis=1) / 2
    return out


@dataclass(frozen=True)
class Likelihood:
    """The fits of all subsets, the division of McFadden's R² that they give, and its replicates."""

    model: CumulativeLogit
    fits: SubsetFits
    code: np.ndarray  # (n,) the outcome: 0 and 1, or the answers
    division: Division
    floor: tuple[float, float]
    checks: tuple[Check, ...]

    @property
    def coefficients(self) -> np.ndarray:
        """Coefficients of the whole model, per standard deviation of a column."""
        return self.fits.parameters[-1][self.model.cuts :]

    def draw(self, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return parts (B, p) and coefficients (B, m); missing where a replicate lacks an answer."""
        weights = np.ascontiguousarray(weights * (self.model.weights.sum() / weights.sum(axis=1, keepdims=True)))
        rest = replicate_logliks(self.model, self.fits, weights) / null_loglik(self.code, weights)
        score = weights @ self.model.rows(self.fits.parameters[-1])[1]
        moved = self.fits.parameters[-1] + score @ self.fits.inverse[-1]
        return shapley_parts(rest).T, moved[:, self.model.cuts :]


def fit_likelihood(question: Question, kind: str, dependent: np.ndarray, weights_parts: np.ndarray) -> Likelihood:
    """Return the fits of all subsets of complete rows; `dependent` (m,) marks columns that are a sum of others."""
    code = _outcome(question, kind)
    weights = question.sample.weights * (len(question) / question.sample.weights.sum())
    columns = standardised(question.columns, weights)[:, :-1]
    model = CumulativeLogit(columns, code, weights)
    ends = model.cuts + question.n_always + np.cumsum((0, *question.sizes))
    try:
        fits = fit_subsets(model, [np.arange(a, b) for a, b in zip(ends[:-1], ends[1:])])
    except Diverged:
        raise _separated(question, kind, code) from None
    # Standard errors, per standard deviation of a driver, show that slopes run away.
    if np.any(np.sqrt(np.diagonal(fits.inverse[-1])[model.cuts :])[~dependent] > LARGEST_ERROR):
        raise _separated(question, kind, code)
    null = float(null_loglik(code, weights[None])[0])
    rest = fits.loglik / null
    methods = dict(zip(METHODS, (shapley_parts(rest[:, None])[:, 0], weights_parts, *first_and_last(rest))))
    division = Division(
        question.sizes, question.n_always, methods["shapley"], methods, mean_by_size(rest), rest, 0 * weights_parts
    )
    # Twice what a random driver gains in log-likelihood is chi-square on one degree of freedom.
    mean = len(weights) / question.sample.n_effective / (-2 * null)
    floor = (mean, float(stats.chi2.ppf(0.95, 1)) * mean)
    rarest = int(min(np.sum(code == level) for level in np.unique(code)))
    checks = (Check(RAREST, rarest, f"at least {FEWEST}", rarest >= FEWEST, "stops"),)
    return Likelihood(model, fits, code, division, floor, checks + (_lines(model) if kind == "ordered" else ()))


def _outcome(question: Question, kind: str) -> np.ndarray:
    """Return 0/1, or the answers; refuse what the kind cannot be."""
    if len(question.sizes) > MOST_TERMS:
        raise DataProblem(
            f"kind={kind!r} fits every subset of at most {MOST_TERMS} terms; found {len(question.sizes)}: group "
            f"drivers into blocks, or use kind='linear'"
        )
    y = question.columns[:, -1]
    answers = np.unique(y)
    if kind == "binary" and len(answers) != 2:
        found = ", ".join(f"{a:g}" for a in answers[:5]) + (", …" if len(answers) > 5 else "")
        raise DataProblem(f"kind='binary' needs an outcome with two different answers; found {len(answers)} ({found})")
    if kind == "ordered" and not 3 <= len(answers) <= MOST_LEVELS:
        needs = f"needs an outcome with 3 to {MOST_LEVELS} different answers"
        raise DataProblem(f"kind='ordered' {needs}; found {len(answers)}")
    return (y == answers[1]).astype(float) if kind == "binary" else y


def _separated(question: Question, kind: str, code) -> DataProblem:
    """Return the refusal of a likelihood without a maximum, naming the terms that separate the answers alone."""

    def separates(x) -> bool:
        cuts = [(x[code <= level], x[code > level]) for level in np.unique(code)[:-1]]
        return any(low.max() <= high.min() or high.max() <= low.min() for low, high in cuts)

    columns = {t: question.columns[:, question.columns_of(t)] for t in question.names}
    found = [t for t, x in columns.items() if any(np.ptp(c) > 0 and separates(c) for c in x.T)]
    who = " and ".join(map(repr, found[:3])) if found else "some drivers together"
    tell, leave = ("tells", "leave it out") if len(found) == 1 else ("tell", "leave out the driver that does")
    return DataProblem(
        f"kind={kind!r}: the likelihood has no maximum, because {who} {tell} the outcome's answers apart without an "
        f"error; {leave}, or use kind='linear'"
    )


def _lines(model: CumulativeLogit) -> tuple[Check, ...]:
    name, limit = "parallel lines (Brant, p)", "at least 0.05"
    try:
        p_value = parallel_lines(model)[1]
    except Diverged:
        return (Check(name, "not computed: some answer is given by too few", limit, False),)
    return (Check(name, digits.rounded(p_value, 4), limit, p_value >= 0.05),)
