"""What customers are worth, said only where the model foretold what was held out."""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from cxresearch.errors import DataProblem, TooFewRespondents, require_choice, require_share
from cxresearch.figures import PALETTE, QUIET, axes_or_new, titled
from cxresearch.findings import Check, Statement, interval, number, words
from cxresearch.inference import percentile_interval
from cxresearch.privacy import hidden_cells
from cxresearch.programme.likelihoods import MODELS, fit, fit_gamma_gamma, gamma_gamma_mean
from cxresearch.programme.payments import PERIODS, ids_of, money, payments
from cxresearch.survey import Survey, as_survey, as_table

say = words(__package__)

BAND = 0.9, 1.11  # of actual over predicted purchases on hold-out
MONTHS = {"week": 12 * 7 / 365.25, "month": 1, "quarter": 3, "year": 12}
UNRELATED = 0.2  # correlation of how often and how much, at most
SAID = ("actual", "predicted", "ratio", "error", "history")
STEPS = 6  # of the horizon, each discounted from its middle

LABELS = {
    "actual": "Purchases on hold-out", "predicted": "Predicted", "actual_over_predicted": "Actual over predicted",
    "error": "Mean error by customer", "error_of_history": "Mean error of each customer's history", "clv": "Lifetime value",
}  # fmt: skip
DAYS = ", days AS (SELECT customer, moment::DATE AS day, sum(amount) AS value FROM paid WHERE amount >= 0 GROUP BY ALL)"
BUYING = """SELECT customer, (count(*) FILTER (day < '{cut}') - 1)::DOUBLE AS x, date_diff('day', min(day), '{cut}') - 1 AS age,
  date_diff('day', min(day), max(day) FILTER (day < '{cut}')) AS last, (count(*) FILTER (day >= '{cut}'))::DOUBLE AS later,
  sum(value) FILTER (day < '{cut}') - arg_min(value, day) AS money
FROM days GROUP BY customer HAVING min(day) < '{cut}' ORDER BY customer"""
RENEWING = """, due AS (SELECT customer, date_diff('{period}', min(day) OVER (PARTITION BY customer), day) AS k,
  date_diff('{period}', min(day) OVER (PARTITION BY customer), DATE '{cut}') - 1 AS age, value FROM days),
kept AS (SELECT *, dense_rank() OVER (PARTITION BY customer ORDER BY k) - 1 = k AS met FROM due WHERE age >= 0)
SELECT customer, (count(DISTINCT k) FILTER (met AND k <= age) - 1)::DOUBLE AS x, any_value(age) AS age, x AS last,
  (count(DISTINCT k) FILTER (met AND k > age))::DOUBLE AS later, x * avg(value) AS money
FROM kept GROUP BY customer ORDER BY customer"""


@dataclass(frozen=True, repr=False, eq=False)
class Lifetime(Statement):
    """What the model foretold, and what a customer is worth; `augment` gives it by customer."""

    customers: pd.DataFrame = None

    def augment(self, table, *, customer: str) -> Survey:
        """Return customers with ``expected`` purchases over the horizon, ``alive`` and ``clv``.

        ``alive``, the chance of being a customer still, is missing for those who bought once: the model says 1 of each of
        them and cannot know. ``clv`` is missing where it is not established.
        """
        survey = as_survey(table)
        told = self.customers.assign(_id=ids_of(self.customers["customer"])).drop(columns="customer")
        rows = survey.table.assign(_id=ids_of(survey.table[customer]))
        return survey.with_table(rows.merge(told, on="_id", how="left").drop(columns="_id"))


class FittedModel:
    """A model fitted to customers: what it expects of each, and how its parameters hang on each."""

    def __init__(self, model, rows, unit):
        self.model, self.n = MODELS[model], len(rows)
        self.x, self.t, self.T = (rows[c].to_numpy(dtype=float) for c in ("x", "last", "age"))
        size = int(self.T.max()) + 2
        packed = (self.x.astype(np.int64) * size + self.t.astype(np.int64)) * size + self.T.astype(np.int64)
        _, first, self.cell, counts = np.unique(packed, return_index=True, return_inverse=True, return_counts=True)
        self.cells = self.x[first], self.t[first] / unit, self.T[first] / unit
        self.fit = fit(self.model.scores, self.model.starts, *self.cells, counts.astype(float))
        self.influence = (self.fit.scores @ np.linalg.inv(self.fit.hessian))[self.cell]

    def expected(self, edges, discount, theta=None) -> np.ndarray:
        """Return purchases expected of each customer between the edges, each step discounted."""
        theta = self.fit.theta if theta is None else theta
        upto = [self.model.expected(theta, *self.cells, edge) if edge else 0.0 for edge in edges]
        return np.dot(np.diff(np.array(upto[1:], ndmin=2), axis=0, prepend=0.0).T, discount)[self.cell]

    def alive(self) -> np.ndarray:
        known = np.where(self.cells[0] > 0, self.model.alive(self.fit.theta, *self.cells), np.nan)
        return known[self.cell]


def _slope(total, theta) -> np.ndarray:
    """Return how a total moves with the log of each parameter."""
    steps = 1e-4 * np.eye(len(theta))
    return np.array([(total(theta * np.exp(s)) - total(theta * np.exp(-s))) / 2e-4 for s in steps])


def _totals(values, influence, slopes, n_boot, seed) -> np.ndarray:
    """Return totals (B, k) of values (n, k) in resamples of customers, the parameters refitted by one Newton step."""
    sample = as_survey(pd.DataFrame(index=range(len(values)))).sample()
    return np.concatenate([w @ values + w @ influence @ slopes for w in sample.replicates(n_boot, seed=seed)])


def _held_out(told, later, ahead, unit, chance, confidence) -> pd.Series:
    """Return what was held out against what was predicted, by the model and by each customer's own history."""
    predicted = told.expected([0, ahead], [1.0])
    if not (np.isfinite(predicted).all() and predicted.sum() > 0):
        named = ", ".join(f"{name} = {value:.3g}" for name, value in zip(told.model.names, told.fit.theta))
        raise DataProblem(
            f"the model does not settle ({named}): these customers do not buy at rates of their own until they leave"
        )
    move = _slope(lambda theta: told.expected([0, ahead], [1.0], theta).sum(), told.fit.theta)
    slopes = np.column_stack([np.zeros(len(move)), move])
    draws = _totals(np.column_stack([later, predicted]), told.influence, slopes, **chance)
    low, high = percentile_interval(draws[:, 0] / draws[:, 1], confidence)
    history = told.x / np.maximum(told.T, 1) * unit * ahead if told.model.alive is MODELS["bg_nbd"].alive else (
        np.where(told.x < told.T, 0.0, ahead * np.sum(told.x) / np.sum(np.minimum(told.x + 1, told.T)))
    )  # fmt: skip
    found = dict(actual=later.sum(), predicted=predicted.sum(), ratio=later.sum() / predicted.sum(), low=low, high=high)
    errors = dict(error=np.abs(predicted - later).mean(), history=np.abs(history - later).mean())
    return pd.Series(found | errors), predicted


def fit_lifetime(
    transactions, *, customer=None, time=None, amount=None, until=None, holdout=1 / 3, horizon=12, margin=1.0, discount_rate=0.1,
    model="bg_nbd", period="month", n_boot=200, confidence=0.95, min_rows=100, seed,
) -> Lifetime:  # fmt: skip
    """Return what a customer is worth over the months to come, if the model foretells what it was not shown.

    Parameters
    ----------
    transactions, customer, time, amount, until
        As in `acquisition`; the purchases of a customer on one day are one.
    holdout : float
        Last part of the record, 0-1, that the model must foretell.
    horizon : int
        Months.
    margin, discount_rate : float
        Part of a payment that is margin; per year.
    model : {"bg_nbd", "sbg"}
        Customers who leave unseen; or who pay once every `period` until they leave.
    n_boot : int
        Resamples of customers, in each of which the parameters take one Newton step.
    min_rows : int
        Fewest customers to fit.

    Returns
    -------
    Lifetime
        Established only if the interval of actual over predicted lies within 0.9 to 1.11 and the mean error by customer
        is below that of each one's own history; ``clv`` is missing otherwise. Its interval is that of the parameters
        times that of actual over predicted: the parameters' alone is none of a prediction. ``further``: ``parameters``,
        ``holdout``.

    Raises
    ------
    DataProblem
        Nobody buys twice, or the record is too short.
    TooFewRespondents
        Fewer than `min_rows` customers.

    Examples
    --------
    >>> import cxresearch as cx
    >>> study = cx.open_study("data/example/study.yml")
    >>> found = cx.fit_lifetime(study.transactions, until="2025-01-01", n_boot=50, seed=1)
    >>> list(found.tables())
    ['tidy', 'parameters', 'holdout']
    """
    require_choice("model", model, tuple(MODELS))
    for name, value in (("confidence", confidence), ("holdout", holdout)):
        require_share(name, value)
    events, buying, chance = as_table(transactions), model == "bg_nbd", dict(n_boot=n_boot, seed=seed)
    with payments(transactions, until, customer=customer, time=time, amount=amount) as (ask, end, checks):
        past, whole, ahead, cut = _histories(ask, end, holdout, buying, period)
    if len(past) < min_rows:
        few = f"{len(past)} customers bought before {cut.date()}, the hold-out; {min_rows} are needed"
        raise TooFewRespondents(few)
    if not past["x"].any() or ahead <= 0:
        none = f"nobody bought a second time before {cut.date()}: there is no rhythm to learn"
        raise DataProblem(f"{none}; move until or holdout")
    unit = 7.0 if buying else 1.0
    told, final = FittedModel(model, past, unit), FittedModel(model, whole, unit)
    said, predicted = _held_out(told, past["later"].to_numpy(), ahead, unit, chance, confidence)
    close, better = BAND[0] <= said["low"] and said["high"] <= BAND[1], said["error"] < said["history"]
    length = horizon * 365.25 / 12 / 7 if buying else max(round(horizon / MONTHS[period]), 1)
    terms = dict(length=length, horizon=horizon, margin=margin, discount_rate=discount_rate)
    clv, by_customer, more = _worth(final, whole, terms, chance, confidence, said if close and better else None)
    stands = bool(np.isfinite(clv[0]))
    table = pd.DataFrame({"term": list(LABELS), "estimate": [*said[list(SAID)], clv[0]]})
    table["conf_low"], table["conf_high"] = np.nan, np.nan
    table.loc[[2, 5], ["conf_low", "conf_high"]] = [[said["low"], said["high"]], clv[1:]]
    spread = interval(said["low"], said["high"], confidence, 2)
    key = "worth" if stands else "worth_no_money" if close and better else "worth_open"
    words = _worth_in_words(key, said, spread, clv, events.currency, horizon, len(past), buying, confidence)
    gap = float(said["error"] - said["history"])
    checks += (
        Check("interval of actual over predicted on hold-out", spread, "within 0.9 to 1.11", bool(close), "stops"),
        Check("mean error by customer less that of history", gap, "below 0", bool(better), "stops"),
        *more,
    )
    groups, hidden = _by_earlier(past, predicted, events.min_base)
    method = "BG/NBD and Gamma-Gamma" if buying else "shifted beta-geometric"
    summary = {"n": len(past), "method": method, "established": stands}
    return Lifetime(
        "fit_lifetime", "clv", None, table, summary, checks, LABELS, {"parameters": _parameters(told, confidence), "holdout": groups},
        suppressed=hidden, words=words, figure=_foretold, customers=by_customer,
    )  # fmt: skip


def _histories(ask, end, holdout, buying, period):
    """Return customers as they were before the hold-out and at the end, the length of the hold-out, and its first day."""
    start = ask("SELECT min(moment) AS first FROM paid")["first"][0]
    cut = (start + (1 - holdout) * (end - start)).ceil("D")
    if not buying:
        cut, end = (m.to_period(PERIODS[period]).start_time for m in (cut, end))
    sql = DAYS + (BUYING if buying else RENEWING)
    histories = (ask(sql.format(cut=m.date(), period=period)) for m in (cut, end))
    # by what they did, not by id: pseudonyms sort otherwise in every run, and the bootstrap draws by place
    histories = (rows.sort_values([c for c in rows if c != "customer"], kind="stable") for rows in histories)
    past, whole = (rows[rows["age"] >= (not buying)].reset_index(drop=True) for rows in histories)
    periods = (end.to_period(PERIODS[period]) - cut.to_period(PERIODS[period])).n
    return past, whole, (end - cut).days / 7 if buying else periods, cut


def _worth_in_words(key, said, spread, clv, currency, horizon, n, buying, confidence) -> str:
    events, two = "purchases" if buying else "renewals", {k: number(said[k], 2) for k in ("ratio", "error", "history")}
    head = dict(actual=number(said["actual"], 0), predicted=number(said["predicted"], 0), events=events)
    if key == "worth":
        head |= dict(value=money(clv[0], currency), horizon=horizon, span=interval(*clv[1:], confidence, 2))
    return f"{say(key, **head)} {say(key + '_more', **two, spread=spread, n=number(n, 0))}"


def _worth(final, whole, terms, chance, confidence, said):
    """Return lifetime value with its interval, what is known of each customer, and the checks of the money."""
    edges = np.linspace(0, terms["length"], STEPS + 1)
    discount = (1 + terms["discount_rate"]) ** -((np.arange(STEPS) + 0.5) * terms["horizon"] / 12 / STEPS)
    by_customer = pd.DataFrame({"customer": whole["customer"], "expected": final.expected(edges[[0, -1]], [1.0])})
    by_customer = by_customer.assign(alive=final.alive(), clv=np.nan)
    paid = ((final.x > 0) & (whole["money"] > 0)).to_numpy()
    mean = np.where(paid, whole["money"], 0.0) / np.maximum(final.x, 1)
    influence, moves, checks = final.influence, [], ()
    each = np.where(paid, mean, mean[paid].mean() if paid.any() else np.nan)  # a contract's payment is known
    if final.model is MODELS["bg_nbd"]:
        bound = (
            float(np.corrcoef(final.x[paid], mean[paid])[0, 1])
            if np.ptp(final.x[paid]) * np.ptp(mean[paid]) > 0
            else 0.0
        )
        loose = bool(abs(bound) <= UNRELATED)
        checks = (
            Check("correlation of how often and how much", round(bound, 3), "at most 0.2 either way", loose, "stops"),
        )
        try:
            spent = fit_gamma_gamma(final.x[paid], mean[paid])
        except DataProblem as problem:
            return (
                (np.nan,) * 3,
                by_customer,
                (*checks, Check("money", str(problem), "a mean by customer", False, "stops")),
            )
        said = said if loose else None
        value = lambda theta: gamma_gamma_mean(theta, np.where(paid, final.x, 0.0), mean)  # noqa: E731
        each, money_pull = value(spent.theta), np.zeros((len(whole), 3))
        money_pull[paid] = spent.scores @ np.linalg.inv(spent.hessian)
        influence = np.column_stack([influence, money_pull])
    if said is None:
        return (np.nan,) * 3, by_customer, checks
    expected = final.expected(edges, discount)
    if final.model is MODELS["bg_nbd"]:
        moves = _slope(lambda theta: value(theta) @ expected, spent.theta)
    moves = np.append(_slope(lambda theta: each @ final.expected(edges, discount, theta), final.fit.theta), moves)
    values = np.column_stack([expected * each, np.ones(len(each))])
    draws = _totals(values, influence, np.column_stack([moves, np.zeros(len(moves))]), **chance)
    low, high = terms["margin"] * np.array(percentile_interval(draws[:, 0] / draws[:, 1], confidence))
    worth = terms["margin"] * values[:, 0]
    return (worth.mean(), low * min(said["low"], 1), high * max(said["high"], 1)), by_customer.assign(clv=worth), checks


def _parameters(told, confidence) -> pd.DataFrame:
    error = np.sqrt(np.sum(told.influence**2, axis=0))  # of the logs, robust
    ends = {"conf_low": np.exp(-1.96 * error), "conf_high": np.exp(1.96 * error)}
    found = pd.DataFrame({"term": told.model.names, "estimate": told.fit.theta})
    return found.assign(**{c: found["estimate"] * e for c, e in ends.items()})


def _by_earlier(past, predicted, min_base) -> tuple[pd.DataFrame, int]:
    """Return actual and predicted means on hold-out by purchases before, up to seven and more."""
    rows = pd.DataFrame(
        {"earlier": np.minimum(past["x"], 7).astype(int), "actual": past["later"], "predicted": predicted}
    )
    table = rows.groupby("earlier", as_index=False).agg(
        actual=("actual", "mean"), predicted=("predicted", "mean"), n=("actual", "size")
    )
    hidden = hidden_cells(table, min_base=min_base, keys=("earlier",))
    return table.assign(**{c: table[c].mask(hidden) for c in table.columns[1:]}), int(hidden.sum())


def _foretold(finding, ax):
    table, ax = finding.further["holdout"], axes_or_new(ax)
    ax.plot(table["earlier"], table["actual"], "o", color=PALETTE[0], label="actual")
    ax.plot(table["earlier"], table["predicted"], "-", color=QUIET, label="predicted")
    ax.set(
        xlabel="purchases before the hold-out, after the first (7: seven or more)", ylabel="mean purchases on hold-out"
    )
    ax.legend()
    return titled(ax, finding.title, "purchases per customer on hold-out, by purchases before")
