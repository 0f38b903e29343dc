"""How much groups differ, each one's value drawn towards the mean of all; do items measure one thing, do raters agree?

Paule & Mandel (1982), J. Res. Natl. Bur. Stand. 87:377-385; Morris (1983), JASA 78:47-55; Searle, Casella & McCulloch
(1992), *Variance Components*, 3.6-3.8 and 6.6; Shrout & Fleiss (1979), Psychological Bulletin 86:420-428; Cronbach (1951),
Feldt (1965), McDonald (1999) (items); Krippendorff (2011) (raters).
"""

from collections import namedtuple

import numpy as np
from scipy import special

from cxresearch.errors import DataProblem, require_choice
from cxresearch.findings import say
from cxresearch.inference import critical_value

LEVELS = ("nominal", "ordinal", "interval")
Shrunken = namedtuple("Shrunken", "estimate std_error low high pull mean between")  # the first five (k,)
Intraclass = namedtuple("Intraclass", "single low high average size p_value")


def between_variance(estimates, variances, scatter: float | None = None) -> float:
    """Return the variance between groups, 0 at least, at which the weighted scatter is its df (Paule & Mandel 1982), or
    `scatter`: quantiles of chi-square with that df give the ends of an interval (Viechtbauer 2007).
    """
    x, v = np.asarray(estimates, dtype=float), np.asarray(variances, dtype=float)
    limit = len(x) - 1 if scatter is None else scatter
    if not (len(x) and np.isfinite(x).all() and (v > 0).all()):
        return np.nan
    from scipy.optimize import brentq  # statsmodels' `combine_effects` stops at 0 where variances are very unlike

    def surplus(between):
        w = 1 / (v + between)
        return w @ np.square(x - w @ x / w.sum()) - limit

    most = len(x) * np.ptp(x) ** 2 / min(limit, 1.0)  # the scatter is less there
    return brentq(surplus, 0.0, most, xtol=1e-15 * most) if most > 0 and surplus(0.0) > 0 else 0.0


def shrink(estimates, variances, *, confidence: float = 0.95) -> Shrunken:
    """Return `estimates` (k,) with sampling `variances` (k,) drawn towards their mean (Morris 1983); NaN under four known."""
    estimates, variances = np.asarray(estimates, dtype=float), np.asarray(variances, dtype=float)
    known, columns = np.isfinite(estimates) & np.isfinite(variances), np.full((5, len(estimates)), np.nan)
    x, v, k = estimates[known], variances[known], known.sum()
    if k < 4:
        return Shrunken(*columns, np.nan, np.nan)
    t2 = between_variance(x, v)
    w = 1 / (v + t2)
    mean, pull = w @ x / w.sum(), (k - 3) / (k - 1) * v * w
    unsure = 2 / (k - 3) * pull**2 * (w @ v / w.sum() + t2) * w  # of the pull itself, relative
    error = np.sqrt(v * (1 - (1 - w / w.sum()) * pull) + unsure * np.square(x - mean))
    drawn, half = x + pull * (mean - x), critical_value(confidence) * error
    columns[:, known] = drawn, error, drawn - half, drawn + half, pull
    return Shrunken(*columns, float(mean), t2)


class OneWay(namedtuple("OneWay", "mean between within names n means effects")):
    """Variances between and within J groups, their mean; by group (J,) observed means and drawn effects (BLUP)."""

    icc = property(lambda self: self.between / (self.between + self.within))
    reliability = property(lambda self: self.between / (self.between + self.within / self.n), doc="Of each mean, (J,).")


def _groups(values, group):
    """Return the groups' names, sizes and means, and the sum of squares within."""
    values, (names, code) = np.asarray(values, dtype=float), np.unique(np.asarray(group), return_inverse=True)
    n = np.bincount(code)
    largest, missing = n.max(initial=0), np.isnan(values).sum()
    poor = len(n) < 2 or largest < 2 or not np.isfinite(values).all()
    say.refuse_if(poor, "one_way", groups=len(n), largest=largest, missing=missing)
    means = np.bincount(code, values) / n
    return names, n, means, float(np.sum(np.square(values - means[code])))


def one_way(values, group) -> OneWay:
    """Return the variances between and within groups by restricted maximum likelihood, found by their ratio r."""
    names, n, means, within = _groups(values, group)
    say.refuse_if(within == 0, "alike")
    from scipy.optimize import brentq

    def at(ratio):
        """Return w_j = n_j / (1 + n_j r), m and s2, the criterion (N - 1) ln s2 + sum ln(1 + n_j r) + ln sum w, its slope."""
        w = n / (1 + n * ratio)
        mean = w @ means / w.sum()
        s2 = (within + w @ np.square(means - mean)) / (n.sum() - 1)
        criterion = (n.sum() - 1) * np.log(s2) + np.sum(np.log1p(n * ratio)) + np.log(w.sum())
        return w, mean, s2, criterion, w.sum() - w @ w / w.sum() - w**2 @ np.square(means - mean) / s2

    grid = np.concatenate([[0.0], np.exp(np.linspace(-18, 18, 73))])
    best = int(np.argmin([at(ratio)[3] for ratio in grid]))
    inner = 0 < best < len(grid) - 1
    ratio = brentq(lambda r: at(r)[4], grid[best - 1], grid[best + 1], xtol=1e-14) if inner else 0.0
    w, mean, s2, *_ = at(ratio)
    return OneWay(float(mean), float(ratio * s2), float(s2), names, n, means, ratio * w * (means - mean))


def intraclass(values, group, *, confidence: float = 0.95) -> Intraclass:
    """Return ICC(1), one answer's share of variance between groups, with its F interval, ICC(2), a mean's, and the p-value
    of "no variance between groups"; unequal groups count as `size` = (N - sum n^2 / N) / (J - 1) answers each.
    """
    _, n, means, within = _groups(values, group)
    total, df = n.sum(), (len(n) - 1, n.sum() - len(n))
    size = (total - n @ n / total) / df[0]
    ratio = n @ np.square(means - n @ means / total) / df[0] / (within / df[1])
    f = ratio / np.append(1.0, special.fdtri(*df, [(1 + confidence) / 2, (1 - confidence) / 2]))
    return Intraclass(*map(float, (*(f - 1) / (f + size - 1), 1 - 1 / ratio, size, special.fdtrc(*df, ratio))))


def cronbach_alpha(covariance) -> float:
    """Return k/(k - 1) (1 - trace/sum) of a (k, k) covariance matrix of items."""
    k = len(covariance)
    return float(k / (k - 1) * (1 - np.trace(covariance) / np.sum(covariance)))


def feldt_interval(alpha: float, n: float, k: int, confidence: float) -> tuple[float, float]:
    """Return 1 - (1 - alpha) F at both tails, F on n - 1 and (n - 1)(k - 1) degrees of freedom (Feldt 1965)."""
    ends = special.fdtri(n - 1, (n - 1) * (k - 1), [(1 + confidence) / 2, (1 - confidence) / 2])
    return tuple(map(float, 1 - (1 - alpha) * ends))


def one_factor_omega(covariance) -> float:
    """Return McDonald's omega of one factor, (sum of loadings)^2 over the variance of the sum; missing under three items.

    Maximum likelihood (Joreskog 1967): of the matrix scaled by the uniquenesses the first eigenvalue gives the loadings,
    the rest, t, the criterion, sum of t - ln t - 1.
    """
    if (k := len(covariance)) < 3:
        return np.nan
    from scipy.optimize import minimize

    spread = np.sqrt(np.diag(covariance))
    correlation = covariance / np.outer(spread, spread)

    def scaled(log_unique):
        return np.linalg.eigh(correlation / np.exp(np.add.outer(log_unique, log_unique) / 2))

    def criterion(log_unique):
        (*rest, _), vectors = scaled(log_unique)
        return np.sum(rest - np.log(rest) - 1), np.subtract(1, rest) @ (vectors[:, :-1] ** 2).T

    start, options = -np.log(np.diag(np.linalg.inv(correlation))), {"ftol": 1e-15, "gtol": 1e-10}
    found = minimize(criterion, start, jac=True, method="L-BFGS-B", bounds=[(np.log(1e-4), 0.0)] * k, options=options).x
    root, (values, vectors) = np.exp(found / 2), scaled(found)
    common = np.sum(spread * root * vectors[:, -1]) ** 2 * max(values[-1] - 1, 0.0)
    return float(common / (common + np.sum(np.square(spread * root))))


def krippendorff_alpha(ratings, *, level: str) -> float:
    """Return Krippendorff's alpha of (raters, units) numbers or codes, NaN where a rater did not rate; NaN if all are one."""
    require_choice("level", level, LEVELS)
    ratings = np.asarray(ratings, dtype=float)
    known = ~np.isnan(ratings)
    values, code = np.unique(ratings[known], return_inverse=True)
    counts = np.zeros((ratings.shape[1], len(values)))
    np.add.at(counts, (np.nonzero(known)[1], code), 1.0)
    counts = counts[counts.sum(axis=1) > 1]
    if not len(counts):
        raise DataProblem("alpha compares values of one unit; no unit is rated twice")
    pairable = counts / (counts.sum(axis=1, keepdims=True) - 1)
    observed, total = pairable.T @ counts - np.diag(pairable.sum(axis=0)), counts.sum(axis=0)
    place = values if level == "interval" else np.cumsum(total) - total / 2  # mean ranks
    gaps = np.subtract.outer(place, place)
    distance = gaps != 0 if level == "nominal" else gaps**2
    expected = np.sum(distance * np.outer(total, total)) / (total.sum() - 1)
    return float(1 - np.sum(distance * observed) / expected) if expected > 0 else np.nan
