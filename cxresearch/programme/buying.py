"""Buying until leaving, and the money spent: likelihoods with their slopes, and what they predict.

Fader, Hardie & Lee (2005), Marketing Science 24:275-284 (BG/NBD); Fader & Hardie (2007), J. Interactive Marketing
21:76-90 (sBG); Fader, Hardie & Lee (2005), J. Marketing Research 42:415-430 (Gamma-Gamma).
"""

from collections import namedtuple

import numpy as np
from scipy import optimize
from scipy.special import betaln, digamma, gammaln, hyp2f1

# Rows are customers, or cells of alike ones: x events after the first, the last at t of T observed.
Model = namedtuple("Model", "names scores expected alive history")
Fit = namedtuple("Fit", "theta loglik influence")  # influence (n, p) of a customer of each row on the logs of theta


def _bg_nbd(theta, x, t, T):
    """Return loglik (n,) and its slopes (n, 4); special functions once for each number of events."""
    (r, alpha, a, b), (each, of) = theta, np.unique(x, return_inverse=True)
    now, last, left = np.log(alpha + T), np.log(alpha + t), np.maximum(b + x - 1, 1e-300)
    stays = -(r + x) * now
    leaves = np.where(x > 0, np.log(a) - np.log(left) - (r + x) * last, -np.inf)
    total = np.logaddexp(stays, leaves)
    q = np.exp(leaves - total)
    whole = gammaln(r + each) - gammaln(r) + r * np.log(alpha) + betaln(a, b + each) - betaln(a, b)
    both = digamma(a + b) - digamma(a + b + each)
    slopes = (
        (digamma(r + each) - digamma(r))[of] + np.log(alpha) - (1 - q) * now - q * last,
        r / alpha - (r + x) * ((1 - q) / (alpha + T) + q / (alpha + t)),
        both[of] + q / a,
        (both + digamma(b + each) - digamma(b))[of] - q / left,
    )
    return whole[of] + total, np.stack(slopes, axis=1)


def _bg_nbd_alive(theta, x, t, T):
    r, alpha, a, b = theta
    return 1 / (1 + (x > 0) * a / np.maximum(b + x - 1, 1e-300) * ((alpha + T) / (alpha + t)) ** (r + x))


def _bg_nbd_expected(theta, x, t, T, more):
    """Return purchases expected in `more` time: Euler's form of 2F1, small however large x, the plain one for large a."""
    r, alpha, a, b = theta
    a = a + 1e-7 * (abs(a - 1) < 1e-7)
    z = more / (alpha + T + more)
    with np.errstate(all="ignore"):
        missed = (1 - z) ** (a - 1) * hyp2f1(a + b - 1 - r, a - 1, a + b + x - 1, z)
        plain = (1 - z) ** (r + x) * hyp2f1(r + x, b + x, a + b + x - 1, z)
    bought = 1 - np.where(np.isfinite(missed), missed, plain)
    return (a + b + x - 1) / (a - 1) * bought * _bg_nbd_alive(theta, x, t, T)


def _sbg(theta, x, t, T):
    left, stayed = theta[0] + (x < T), theta[1] + x  # who left has missed one payment after x
    both = digamma(theta.sum()) - digamma(left + stayed)
    slopes = (digamma(left) - digamma(theta[0]) + both, digamma(stayed) - digamma(theta[1]) + both)
    return betaln(left, stayed) - betaln(*theta), np.stack(slopes, axis=1)


def _sbg_expected(theta, x, t, T, more):
    a, b = theta
    ahead = np.arange(1, int(round(more)) + 1)
    stays = np.exp(betaln(a, b + T[:, None] + ahead) - betaln(a, b + T[:, None])).sum(axis=1)
    return np.where(x < T, 0.0, stays)


def _gamma_gamma(theta, x, m, _):
    p, q, scale = theta
    whole, shape, money = np.log(scale + m * x), p * x + q, np.log(m) + np.log(x)
    loglik = gammaln(shape) - gammaln(p * x) - gammaln(q) + q * np.log(scale) + p * x * money
    loglik -= np.log(m) + shape * whole
    slopes = (
        x * (digamma(shape) - digamma(p * x) + money - whole),
        digamma(shape) - digamma(q) + np.log(scale) - whole,
        q / scale - shape / (scale + m * x),
    )
    return loglik, np.stack(slopes, axis=1)


def gamma_gamma_mean(theta, x, m):
    """Return the mean payment expected of a customer with x payments of m on average; 0 payments: the mean of all."""
    p, q, scale = theta
    return p * (scale + m * x) / (p * x + q - 1)


MODELS = {
    "bg_nbd": Model(
        ("r", "alpha", "a", "b"), _bg_nbd, _bg_nbd_expected, _bg_nbd_alive,
        lambda x, T, more, counts: x / np.maximum(T, 1 / 7) * more,
    ),
    "sbg": Model(
        ("a", "b"), _sbg, _sbg_expected, lambda theta, x, t, T: (x >= T) * 1.0,
        lambda x, T, more, counts: np.where(x < T, 0.0, more * (counts @ x) / (counts @ np.minimum(x + 1, T))),
    ),
    "gamma_gamma": Model(("p", "q", "scale"), _gamma_gamma, None, None, None),
}  # fmt: skip
ENDLESS = 1e4  # of a and b: where leaving does not vary they run away together, and end at a bound that all find alike
STARTS = {"bg_nbd": [(0.5, 5.0, 0.5, 2.0)], "sbg": [(1.0, 1.0)]}


def slope(total, theta, step: float = 1e-4) -> np.ndarray:
    """Return how a total moves with the log of each parameter."""
    ways = step * np.eye(len(theta))
    return np.array([(total(theta * np.exp(s)) - total(theta * np.exp(-s))) / (2 * step) for s in ways])


def fit(name: str, x, t, T, counts=None) -> Fit:
    """Return the parameters that maximise the likelihood of rows that stand for `counts` customers.

    Of Gamma-Gamma, x are payments and t their mean: the best of three starts, as the likelihood has runaway ridges.
    """
    most = np.array([np.log(ENDLESS) if part in ("a", "b") else 16.0 for part in MODELS[name].names])
    scores, counts = MODELS[name].scores, np.ones(len(x)) if counts is None else counts
    money = [(p, q, (q - 1) * np.mean(t) / p) for p, q in ((1.0, 2.0), (6.0, 4.0), (2.0, 10.0))]

    def target(log):
        with np.errstate(all="ignore"):
            loglik, slopes = scores(np.exp(log), x, t, T)
        return -(counts @ loglik) / counts.sum(), -(counts @ slopes) * np.exp(log) / counts.sum()

    given = dict(jac=True, bounds=[(-16, limit) for limit in most], method="L-BFGS-B")
    given["options"] = {"ftol": 1e-15, "gtol": 1e-9, "maxiter": 1000}
    log = min((optimize.minimize(target, np.log(s), **given) for s in STARTS.get(name, money)), key=lambda f: f.fun).x
    for _ in range(3):  # Newton's last steps
        hessian = slope(lambda theta: target(np.log(theta))[1], np.exp(log), 1e-5)
        free = log < most - 1e-6
        hessian = (hessian + hessian.T)[np.ix_(free, free)] / 2
        move = np.linalg.lstsq(hessian, target(log)[1][free], rcond=1e-12)[0]
        log[free] -= move if np.abs(move).max() < 0.1 else 0.0
    loglik, slopes = scores(np.exp(log), x, t, T)
    influence = np.zeros((len(x), len(log)))  # none of what stands at its bound
    influence[:, free] = (slopes * np.exp(log))[:, free] @ np.linalg.inv(counts.sum() * hessian)
    return Fit(np.exp(log), float(counts @ loglik), influence)
