"""What customers are worth, by models of buying until leaving, said only where they foretold what was held out.

Fader, Hardie & Lee (2005), Marketing Science 24:275-284 (BG/NBD); Fader & Hardie (2007), J. Interactive Marketing
21:76-90 (sBG); Fader, Hardie & Lee (2005), J. Marketing Research 42:415-430 (Gamma-Gamma).
"""

from collections import namedtuple
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy import optimize
from scipy.special import betaln, digamma, gammaln, hyp2f1

from cxresearch.errors import require_choice, require_share
from cxresearch.findings import ENDS, Finding, ends, interval
from cxresearch.inference import percentile_interval
from cxresearch.privacy import hide_cells
from cxresearch.programme.shared import PERIODS, elapsed, ids_of, payments, resampled, say, statement
from cxresearch.survey import Survey, as_survey

BAND = 0.9, 1.11  # of actual over predicted purchases on hold-out
RUNAWAY = 1e3  # a parameter so large tells of no heterogeneity, not of a value
ENDLESS = 1e4  # of a and b: where leaving does not vary they run away together, and end at a bound that all find alike
STEPS = 6  # of the horizon, each discounted from its middle
TERMS = ("actual", "predicted", "actual_over_predicted", "error", "error_of_history", "clv")
BUYING = """SELECT customer, (count(*) FILTER (day < '{cut}') - 1)::DOUBLE AS x,
  date_diff('day', first, '{cut}') - 1 AS age, date_diff('day', first, max(day) FILTER (day < '{cut}')) AS last,
  (count(*) FILTER (day >= '{cut}'))::DOUBLE AS later, sum(value) FILTER (day < '{cut}') - arg_min(value, day) AS money
FROM days WHERE first < '{cut}' GROUP BY customer, first ORDER BY customer"""
RENEWING = """, due AS (SELECT customer, date_diff('{period}', first, day) AS k, value,
  date_diff('{period}', first, DATE '{cut}') - 1 AS age FROM days),
kept AS (SELECT *, dense_rank() OVER (PARTITION BY customer ORDER BY k) - 1 = k AS met FROM due WHERE age >= 0)
SELECT customer, (count(DISTINCT k) FILTER (met AND k <= age) - 1)::DOUBLE AS x, any_value(age) AS age, x AS last,
  (count(DISTINCT k) FILTER (met AND k > age))::DOUBLE AS later, x * avg(value) AS money
FROM kept GROUP BY customer ORDER BY customer"""
# Rows are cells of customers who are alike: x events after the first, the last at t of T observed.
Model = namedtuple("Model", "names scores expected alive history starts")


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
    """Return purchases expected in `more` time: Euler's form of 2F1, small for large x, the plain one for large a."""
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
    slopes = (
        x * (digamma(shape) - digamma(p * x) + money - whole),
        digamma(shape) - digamma(q) + np.log(scale) - whole,
        q / scale - shape / (scale + m * x),
    )
    return loglik - np.log(m) - shape * whole, np.stack(slopes, axis=1)


MODELS = {
    "bg_nbd": Model(
        ("r", "alpha", "a", "b"), _bg_nbd, _bg_nbd_expected, _bg_nbd_alive,
        lambda x, T, more, counts: x / np.maximum(T, 1 / 7) * more, lambda t: [(0.5, 5.0, 0.5, 2.0)],
    ),
    "sbg": Model(
        ("a", "b"), _sbg, _sbg_expected, lambda theta, x, t, T: (x >= T) * 1.0,
        lambda x, T, more, counts: np.where(x < T, 0.0, more * (counts @ x) / (counts @ np.minimum(x + 1, T))),
        lambda t: [(1.0, 1.0)],
    ),  # of Gamma-Gamma, x are payments and t their mean; its likelihood has runaway ridges
    "gamma_gamma": Model(
        ("p", "q", "scale"), _gamma_gamma, None, None, None,
        lambda t: [(p, q, (q - 1) * t / p) for p, q in ((1.0, 2.0), (6.0, 4.0), (2.0, 10.0))],
    ),
}  # fmt: skip


def slope(total, theta, step: float = 1e-4) -> np.ndarray:
    """Return how a total moves with the log of each parameter."""
    ways = step * np.eye(len(theta))
    return np.array([(total(theta * np.exp(s)) - total(theta * np.exp(-s))) / (2 * step) for s in ways])


class Fitted:
    """A model fitted by maximum likelihood to cells of alike customers; `influence` (n, p) is theirs on log theta."""

    def __init__(self, name: str, x, t, T):
        alike = pd.DataFrame({"x": x, "t": t, "T": T}).groupby(["x", "t", "T"])
        cells = alike.size().reset_index(name="count").astype(float)
        *self.cells, self.counts = cells.to_numpy().T.copy()
        self.model, self.cell = MODELS[name], alike.ngroup().to_numpy()
        scores, counts, n = self.model.scores, self.counts, self.counts.sum()

        def target(log):
            with np.errstate(all="ignore"):
                loglik, slopes = scores(np.exp(log), *self.cells)
            return -(counts @ loglik) / n, -(counts @ slopes) * np.exp(log) / n

        most = np.array([np.log(ENDLESS) if part in ("a", "b") else 16.0 for part in self.model.names])
        given = dict(jac=True, bounds=[(-16, limit) for limit in most], method="L-BFGS-B")
        given["options"] = {"ftol": 1e-15, "gtol": 1e-9, "maxiter": 1000}
        tried = (optimize.minimize(target, np.log(s), **given) for s in self.model.starts(counts @ self.cells[1] / n))
        log = min(tried, key=lambda found: found.fun).x
        for _ in range(3):  # Newton's last steps
            hessian = slope(lambda theta: target(np.log(theta))[1], np.exp(log), 1e-5)
            free = log < most - 1e-6
            hessian = (hessian + hessian.T)[np.ix_(free, free)] / 2
            move = np.linalg.lstsq(hessian, target(log)[1][free], rcond=1e-12)[0]
            log[free] -= move if np.abs(move).max() < 0.1 else 0.0
        self.theta = np.exp(log)
        loglik, slopes = scores(self.theta, *self.cells)
        self.loglik, influence = float(counts @ loglik), np.zeros_like(slopes)  # none on what stands at its bound
        influence[:, free] = (slopes * self.theta)[:, free] @ np.linalg.inv(n * hessian)
        self.influence = influence[self.cell]

    def parameters(self) -> pd.DataFrame:
        """Return the parameters with intervals by robust errors of their logs; none for those that run away."""
        away, pair = self.theta >= RUNAWAY, np.isin(self.model.names, ("a", "b"))  # a pair has but a ratio
        known = np.where(away | (pair & (away & pair).any()), np.nan, self.theta)
        reach = np.exp(1.96 * np.sqrt(np.sum(self.influence**2, axis=0)))
        return pd.DataFrame({"term": self.model.names, **ends("estimate", known, known / reach, known * reach)})

    def expected(self, edges, discount=(1.0,), theta=None) -> np.ndarray:
        """Return purchases expected of each customer up to the edges, each step discounted."""
        upto = [self.model.expected(self.theta if theta is None else theta, *self.cells, edge) for edge in edges]
        return (np.diff(np.array(upto), axis=0, prepend=0.0).T @ discount)[self.cell]


@dataclass(frozen=True, repr=False, eq=False)
class Lifetime(Finding):
    """What the model foretold, and what a customer is worth; `augment` gives it by customer."""

    customers: pd.DataFrame = None

    def augment(self, table, *, customer: str) -> Survey:
        """Return customers with ``expected`` purchases, ``alive`` (missing for who bought once) and ``clv``."""
        survey = as_survey(table)
        told = self.customers.assign(_id=ids_of(self.customers["customer"])).drop(columns="customer")
        rows = survey.table.assign(_id=ids_of(survey.table[customer]))
        return survey.with_table(rows.merge(told, on="_id", how="left").drop(columns="_id"))


def _held_out(told, later, ahead, chance, confidence) -> tuple[pd.Series, np.ndarray]:
    """Return what was held out against what was predicted, by the model and by each customer's own history."""
    predicted = told.expected([ahead])
    named = ", ".join(f"{name} = {value:.3g}" for name, value in zip(told.model.names, told.theta))
    say.refuse_if(not (np.isfinite(predicted).all() and predicted.sum() > 0), "unsettled", named=named)
    move = slope(lambda theta: told.expected([ahead], theta=theta).sum(), told.theta)
    draws = resampled(np.column_stack([later, predicted + told.influence @ move]), **chance)
    low, high = percentile_interval(draws[:, 0] / draws[:, 1], confidence)
    history = told.model.history(told.cells[0], told.cells[2], ahead, told.counts)[told.cell]
    errors = dict(error=np.abs(predicted - later).mean(), history=np.abs(history - later).mean())
    said = dict(actual=later.sum(), predicted=predicted.sum(), ratio=later.sum() / predicted.sum())
    return pd.Series(said | errors | dict(low=low, high=high)), predicted


def _worth(final, rows, length, horizon, discount_rate, stands, chance, confidence) -> tuple:
    """Return money to come per customer with the parameters' interval, what is known of each, checks of the money."""
    x, contract = final.cells[0][final.cell], final.model is MODELS["sbg"]  # whose payment is known
    alive = np.where(x > 0, final.model.alive(final.theta, *final.cells)[final.cell], np.nan)
    customers = rows[["customer"]].assign(expected=final.expected([length]), alive=alive, clv=np.nan)
    paid, found, spent = ((x > 0) & (rows["money"] > 0)).to_numpy(), {}, None
    mean = np.where(paid, rows["money"], 0.0) / np.maximum(x, 1)
    if not contract:
        varied = paid.any() and np.ptp(x[paid]) * np.ptp(mean[paid]) > 0
        bound = round(float(np.corrcoef(x[paid], mean[paid])[0, 1]), 3) if varied else 0.0
        found["bound"] = bound, abs(bound) <= 0.2, "stops"
        spent = Fitted("gamma_gamma", x[paid], mean[paid], x[paid]) if paid.any() else None
        if spent is None or spent.theta[0] > RUNAWAY or spent.theta[1] <= 1:
            found["money"] = say["runaway"], False, "stops"
    if not (stands and all(ok for _, ok, _ in found.values())):
        return np.full(3, np.nan), customers, found

    def value(theta):  # the mean payment expected of a customer
        if contract:
            return np.where(paid, mean, mean[paid].mean())
        p, q, scale = theta
        return p * (scale + mean * x) / (p * x * paid + q - 1)

    def coming(theta):
        return final.expected(np.linspace(0, length, STEPS + 1)[1:], discount, theta)

    discount = (1 + discount_rate) ** -((np.arange(STEPS) + 0.5) * horizon / 12 / STEPS)
    expected, each = coming(final.theta), value(spent and spent.theta)
    totals = expected * each + final.influence @ slope(lambda theta: each @ coming(theta), final.theta)
    if spent:
        totals[paid] += spent.influence @ slope(lambda theta: value(theta) @ expected, spent.theta)
    draws = resampled(np.column_stack([totals, np.ones(len(x))]), **chance)
    span = percentile_interval(draws[:, 0] / draws[:, 1], confidence)
    return np.array([expected @ each / len(x), *span]), customers.assign(clv=expected * each), found


def fit_lifetime(
    transactions, *, customer=None, time=None, amount=None, until=None, holdout=1 / 3, horizon=12, margin=1.0,
    discount_rate=0.1, model="bg_nbd", period="month", n_boot=200, confidence=0.95, min_rows=100, seed,
) -> Lifetime:  # fmt: skip
    """Return what a customer is worth over the months to come, if the model foretells what it was not shown.

    Established only if the interval of actual over predicted lies within 0.9 to 1.11 and the mean error by customer is
    below that of each one's history. The interval of ``clv`` is the parameters' times that of actual over predicted.

    Parameters
    ----------
    transactions, customer, time, amount, until : as in `acquisition`; the purchases of a customer on one day are one
    holdout : float, last part of the record, 0-1, that the model must foretell
    horizon, margin, discount_rate : months; part of a payment that is margin; per year
    model : {"bg_nbd", "sbg"}, customers who leave unseen; or who pay once every `period` until they leave
    n_boot, min_rows : resamples of customers (parameters take one Newton step in each); fewest customers to fit

    Raises
    ------
    DataProblem : nobody buys twice, the record is too short, or (TooFewRespondents) fewer than `min_rows` customers.

    Examples
    --------
    >>> print(cx.fit_lifetime(study.transactions, until="2025-01-01", n_boot=50, seed=1))
    Customer lifetime value is not established: ...
    """
    require_choice("model", model, ("bg_nbd", "sbg"))
    require_choice("period", period, PERIODS)
    for name, value in (("confidence", confidence), ("holdout", holdout)):
        require_share(name, value)
    buying, chance = model == "bg_nbd", dict(n_boot=n_boot, seed=seed)
    with payments(transactions, until, customer=customer, time=time, amount=amount) as paid:
        start, end = paid.ask("SELECT min(moment) AS first FROM source")["first"][0], paid.end
        cut = (start + (1 - holdout) * (end - start)).ceil("D")
        if not buying:
            cut, end = (m.to_period(PERIODS[period]).start_time for m in (cut, end))
        found = [paid.ask(BUYING if buying else RENEWING, end, cut=m.date(), period=period) for m in (cut, end)]
    # by what they did, not by id: pseudonyms sort otherwise in every run, and the bootstrap draws by place
    found = [rows[rows["age"] >= (not buying)].sort_values(list(rows)[1:], kind="stable") for rows in found]
    past, whole = (rows.reset_index(drop=True) for rows in found)
    say.refuse_if(len(past) < min_rows, "few_customers", n=len(past), cut=cut.date(), floor=min_rows)
    say.refuse_if(not past["x"].any() or end <= cut, "nobody_twice", cut=cut.date())
    unit, ahead, length = 7.0, (end - cut).days / 7, horizon * 365.25 / 12 / 7
    if not buying:
        later = end + pd.DateOffset(months=horizon)
        steps = [elapsed(*days, period) for days in ((cut, end), (end, later))]
        unit, ahead, length = 1.0, steps[0], max(steps[1], 1)
    told, final = (Fitted(model, rows["x"], rows["last"] / unit, rows["age"] / unit) for rows in (past, whole))
    said, predicted = _held_out(told, past["later"].to_numpy(), ahead, chance, confidence)
    close, better = BAND[0] <= said["low"] and said["high"] <= BAND[1], said["error"] < said["history"]
    clv, customers, more = _worth(final, whole, length, horizon, discount_rate, close and better, chance, confidence)
    customers["clv"] *= margin
    clv, stands = margin * clv * (1, min(said["low"], 1), max(said["high"], 1)), bool(np.isfinite(clv[0]))
    table = pd.DataFrame({"term": TERMS, "estimate": [*said[:5], clv[0]]}).assign(conf_low=np.nan, conf_high=np.nan)
    table.loc[[2, 5], ENDS[1:]] = [said[["low", "high"]].tolist(), clv[1:]]
    past = past.assign(earlier=np.minimum(past["x"], 7).astype(int), predicted=predicted)
    means = dict(actual=("later", "mean"), predicted=("predicted", "mean"), n=("later", "size"))
    groups = past.groupby("earlier").agg(**means).reset_index()
    groups = hide_cells(groups, min_base=paid.events.min_base, keys=("earlier",))
    key = "worth" if stands else "worth_no_money" if close and better else "worth_open"
    known = {**said, **ends("clv", *clv), **ends("ratio", *said[["ratio", "low", "high"]]), "horizon": horizon}
    known |= dict(unit=paid.unit, events=say["of_" + model])
    gap, spread = float(said["error"] - said["history"]), interval(said["low"], said["high"], confidence, 2)
    found = paid.checks | dict(foretold=(spread, close, "stops"), gap_error=(gap, better, "stops")) | more
    summary = {"n": len(past), "method": say["model_" + model], "established": stands}
    return statement(
        [key, f"{key}_more"], known, confidence, "fit_lifetime", "clv", None, table, summary, kind=Lifetime,
        source=paid.events, found=found, further={"parameters": told.parameters(), "holdout": groups},
        figure=dict(of="holdout", x="earlier", columns={"actual": "o", "predicted": "-"}, axes="foretold"),
        customers=customers,
    )  # fmt: skip
