"""Buying until leaving, and the money spent: likelihoods with their slopes, and what they predict.

Fader, Hardie & Lee (2005), Marketing Science 24:275-284 (BG/NBD); Fader & Hardie (2007), J. Interactive Marketing
21:76-90 (sBG); Fader, Hardie & Lee (2005), J. Marketing Research 42:415-430 (Gamma-Gamma).
"""

from collections import namedtuple

import numpy as np
from scipy import optimize
from scipy.special import betaln, digamma, gammaln, hyp2f1

from cxresearch.errors import DataProblem

# Rows are customers, or cells of alike ones: x events after the first, the last at t of T observed.
Model = namedtuple("Model", "names starts scores expected alive")
Fit = namedtuple("Fit", "theta loglik hessian scores")  # of the logs of the parameters; scores (n, p) by row
RUNAWAY = 1e3


def _bg_nbd(theta, x, t, T):
    (r, alpha, a, b), (each, of) = theta, np.unique(x, return_inverse=True)
    took = lambda values: values[of]  # special functions once for each number of events  # noqa: E731
    now, last = np.log(alpha + T), np.log(alpha + t)
    stays = -(r + x) * now
    with np.errstate(divide="ignore"):
        leaves = np.where(x > 0, np.log(a) - np.log(np.maximum(b + x - 1, 1e-300)) - (r + x) * last, -np.inf)
    total = np.logaddexp(stays, leaves)
    q = np.exp(leaves - total)
    loglik = took(gammaln(r + each) - gammaln(r) + r * np.log(alpha) + betaln(a, b + each) - betaln(a, b)) + total
    slopes = (
        took(digamma(r + each) - digamma(r)) + np.log(alpha) - (1 - q) * now - q * last,
        r / alpha - (r + x) * ((1 - q) / (alpha + T) + q / (alpha + t)),
        took(digamma(a + b) - digamma(a + b + each)) + q / a,
        took(digamma(b + each) - digamma(a + b + each) - digamma(b) + digamma(a + b))
        - q / np.maximum(b + x - 1, 1e-300),
    )
    return loglik, np.stack(slopes, axis=1)


def _bg_nbd_alive(theta, x, t, T):
    r, alpha, a, b = theta
    odds = a / np.maximum(b + x - 1, 1e-300) * ((alpha + T) / (alpha + t)) ** (r + x)
    return 1 / (1 + np.where(x > 0, odds, 0.0))


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
    a, b = theta
    gone = x < T
    first, second = a + gone, b + x  # who left has missed one payment after x
    slopes = [
        digamma(v) - digamma(first + second) - digamma(v0) + digamma(a + b) for v, v0 in ((first, a), (second, b))
    ]
    return betaln(first, second) - betaln(a, b), np.stack(slopes, axis=1)


def _sbg_expected(theta, x, t, T, more):
    a, b = theta
    ahead = np.arange(1, int(round(more)) + 1)
    stays = np.exp(betaln(a, b + T[:, None] + ahead) - betaln(a, b + T[:, None])).sum(axis=1)
    return np.where(x < T, 0.0, stays)


MODELS = {
    "bg_nbd": Model(("r", "alpha", "a", "b"), ((0.5, 5.0, 0.5, 2.0),), _bg_nbd, _bg_nbd_expected, _bg_nbd_alive),
    "sbg": Model(("a", "b"), ((1.0, 1.0),), _sbg, _sbg_expected, lambda theta, x, t, T: (x >= T).astype(float)),
}


def _gamma_gamma(theta, x, m, _):
    p, q, scale = theta
    whole = np.log(scale + m * x)
    loglik = (
        gammaln(p * x + q) - gammaln(p * x) - gammaln(q) + q * np.log(scale) + (p * x - 1) * np.log(m)
        + p * x * np.log(x) - (p * x + q) * whole
    )  # fmt: skip
    slopes = (
        x * (digamma(p * x + q) - digamma(p * x) + np.log(m) + np.log(x) - whole),
        digamma(p * x + q) - digamma(q) + np.log(scale) - whole,
        q / scale - (p * x + q) / (scale + m * x),
    )
    return loglik, np.stack(slopes, axis=1)


def gamma_gamma_mean(theta, x, m):
    """Return the mean payment expected of a customer with x payments of m on average; 0 payments: the mean of all."""
    p, q, scale = theta
    return p * (scale + m * x) / (p * x + q - 1)


def fit(scores, starts, x, t, T, counts) -> Fit:
    """Return the parameters that maximise the likelihood of rows that stand for `counts` customers."""
    total = counts.sum()

    def target(log):
        with np.errstate(over="ignore", invalid="ignore"):
            loglik, slopes = scores(np.exp(log), x, t, T)
        return -(counts @ loglik) / total, -(counts @ slopes) * np.exp(log) / total

    options = {"ftol": 1e-15, "gtol": 1e-9, "maxiter": 1000}
    tries = [
        optimize.minimize(target, np.log(s), jac=True, method="L-BFGS-B", bounds=[(-16, 16)] * len(s), options=options)
        for s in starts
    ]
    log = min(tries, key=lambda found: found.fun).x
    for _ in range(3):  # Newton's last steps, with the slopes' differences
        step = 1e-5 * np.eye(len(log))
        hessian = np.array([(target(log + s)[1] - target(log - s)[1]) / 2e-5 for s in step])
        move = np.linalg.lstsq((hessian + hessian.T) / 2, target(log)[1], rcond=1e-12)[0]
        log = log - move if np.abs(move).max() < 0.1 else log
    loglik, slopes = scores(np.exp(log), x, t, T)
    return Fit(np.exp(log), float(counts @ loglik), total * (hessian + hessian.T) / 2, slopes * np.exp(log))


def fit_gamma_gamma(x, m, counts=None) -> Fit:
    """Return the money model of customers with x >= 1 later payments of m > 0 on average, the best of three starts."""
    starts = [(p, q, p * 0 + (q - 1) * m.mean() / p) for p, q in ((1.0, 2.0), (6.0, 4.0), (2.0, 10.0))]
    found = fit(_gamma_gamma, starts, x, m, x, np.ones(len(x)) if counts is None else counts)
    if found.theta[0] > RUNAWAY or found.theta[1] <= 1:
        raise DataProblem(
            f"the money model runs away (p above {RUNAWAY:,.0f} or q at most 1): payments of one customer "
            "vary too little, or have no mean; the purchases expected stand, money does not"
        )
    return found
