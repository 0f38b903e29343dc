"""What customers are worth, said only where the model foretold what was held out."""

from dataclasses import dataclass
from functools import partial

import numpy as np
import pandas as pd

from cxresearch.errors import TooFewRespondents, require_choice, require_share
from cxresearch.findings import Check, Statement, interval, number
from cxresearch.inference import percentile_interval
from cxresearch.privacy import hide_cells
from cxresearch.programme.buying import MODELS, fit, gamma_gamma_mean, slope
from cxresearch.programme.shared import (
    PERIODS, ids_of, lines, money, payments, refuse_if, resampled, say, steps_between,
)  # fmt: skip
from cxresearch.survey import Survey, as_survey, as_table

BAND = 0.9, 1.11  # of actual over predicted purchases on hold-out
STEPS = 6  # of the horizon, each discounted from its middle
TERMS = ("actual", "predicted", "actual_over_predicted", "error", "error_of_history", "clv")
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
    """A model fitted to customers, alike ones as one: what it expects of each, and their influence on its parameters."""

    def __init__(self, name, rows, unit):
        alike = rows.groupby(["x", "last", "age"])
        cells = alike.size().reset_index(name="count").astype(float)
        self.model, self.cell, self.counts = MODELS[name], alike.ngroup().to_numpy(), cells["count"].to_numpy()
        self.cells = tuple(cells[c].to_numpy() / by for c, by in (("x", 1), ("last", unit), ("age", unit)))
        self.fit = fit(name, *self.cells, self.counts)
        self.theta, self.influence = self.fit.theta, self.fit.influence[self.cell]

    def expected(self, edges, discount=(1.0,), theta=None) -> np.ndarray:
        """Return purchases expected of each customer up to the edges, each step discounted."""
        upto = [self.model.expected(self.theta if theta is None else theta, *self.cells, edge) for edge in edges]
        return (np.diff(np.array(upto), axis=0, prepend=0.0).T @ discount)[self.cell]


def _held_out(told, later, ahead, chance, confidence) -> tuple[pd.Series, np.ndarray]:
    """Return what was held out against what was predicted, by the model and by each customer's own history."""
    predicted = told.expected([ahead])
    named = ", ".join(f"{name} = {value:.3g}" for name, value in zip(told.model.names, told.theta))
    refuse_if(not (np.isfinite(predicted).all() and predicted.sum() > 0), "unsettled", named=named)
    move = slope(lambda theta: told.expected([ahead], theta=theta).sum(), told.theta)
    draws = resampled(None, np.column_stack([later, predicted + told.influence @ move]), **chance)
    low, high = percentile_interval(draws[:, 0] / draws[:, 1], confidence)
    x, _, T = told.cells
    errors = [np.abs(v - later).mean() for v in (predicted, told.model.history(x, T, ahead, told.counts)[told.cell])]
    ratio = later.sum() / predicted.sum()
    names = ("actual", "predicted", "ratio", "error", "history", "low", "high")
    return pd.Series([later.sum(), predicted.sum(), ratio, *errors, low, high], names), predicted


def _money(final, rows, stands) -> tuple:
    """Return the mean payment to come of each customer, its influence and its slopes on a total, whether it fits, checks."""
    x = final.cells[0][final.cell]
    paid = ((x > 0) & (rows["money"] > 0)).to_numpy()
    mean = np.where(paid, rows["money"], 0.0) / np.maximum(x, 1)
    if final.model is MODELS["sbg"]:  # a contract's payment is known
        return np.where(paid, mean, mean[paid].mean()), np.zeros((len(x), 0)), lambda expected: [], stands, ()
    varied = np.ptp(x[paid]) * np.ptp(mean[paid]) > 0
    bound = float(np.corrcoef(x[paid], mean[paid])[0, 1]) if varied else 0.0
    checks = (Check(say["bound"], round(bound, 3), "at most 0.2 either way", abs(bound) <= 0.2, "stops"),)
    spent = fit("gamma_gamma", x[paid], mean[paid], x[paid])
    if spent.theta[0] > 1e3 or spent.theta[1] <= 1:
        return mean, None, None, False, (*checks, Check("money", say["runaway"], "a mean by customer", False, "stops"))
    value = lambda theta: gamma_gamma_mean(theta, np.where(paid, x, 0.0), mean)  # noqa: E731
    influence = np.zeros((len(x), 3))
    influence[paid] = spent.influence
    moves = lambda expected: slope(lambda theta: value(theta) @ expected, spent.theta)  # noqa: E731
    return value(spent.theta), influence, moves, stands and abs(bound) <= 0.2, checks


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

    Raises
    ------
    DataProblem
        Nobody buys twice, or the record is too short.
    TooFewRespondents
        Fewer than `min_rows` customers.

    Notes
    -----
    Established only if the interval of actual over predicted lies within 0.9 to 1.11 and the mean error by customer is below
    that of each one's own history; ``clv`` is missing otherwise. Its interval is that of the parameters times that of
    actual over predicted: the parameters' alone is none of a prediction. ``further``: ``parameters``, ``holdout``.

    Examples
    --------
    >>> import cxresearch as cx
    >>> study = cx.open_study("data/example/study.yml")
    >>> print(cx.fit_lifetime(study.transactions, until="2025-01-01", n_boot=50, seed=1))
    Customer lifetime value is not established: ...
    """
    require_choice("model", model, ("bg_nbd", "sbg"))
    for name, value in (("confidence", confidence), ("holdout", holdout)):
        require_share(name, value)
    events, buying, chance = as_table(transactions), model == "bg_nbd", dict(n_boot=n_boot, seed=seed)
    with payments(transactions, until, customer=customer, time=time, amount=amount) as (ask, end, checks):
        start = ask("SELECT min(moment) AS first FROM paid")["first"][0]
        cut = (start + (1 - holdout) * (end - start)).ceil("D")
        if not buying:
            cut, end = (m.to_period(PERIODS[period]).start_time for m in (cut, end))
        sql = DAYS + (BUYING if buying else RENEWING)
        past, whole = (ask(sql.format(cut=m.date(), period=period)) for m in (cut, end))
    # by what they did, not by id: pseudonyms sort otherwise in every run, and the bootstrap draws by place
    kept = (rows.sort_values([c for c in rows if c != "customer"], kind="stable") for rows in (past, whole))
    past, whole = (rows[rows["age"] >= (not buying)].reset_index(drop=True) for rows in kept)
    if len(past) < min_rows:
        raise TooFewRespondents(say("few_customers", n=len(past), cut=cut.date(), floor=min_rows))
    refuse_if(not past["x"].any() or end <= cut, "nobody_twice", cut=cut.date())
    later = end + pd.DateOffset(months=horizon)
    unit, ahead, length = 7.0, (end - cut).days / 7, horizon * 365.25 / 12 / 7
    if not buying:
        unit, ahead, length = 1.0, steps_between(cut, end, period), max(steps_between(end, later, period), 1)
    told, final = FittedModel(model, past, unit), FittedModel(model, whole, unit)
    said, predicted = _held_out(told, past["later"].to_numpy(), ahead, chance, confidence)
    close, better = BAND[0] <= said["low"] and said["high"] <= BAND[1], said["error"] < said["history"]
    each, influence, moves, stands, more = _money(final, whole, close and better)
    by_customer = pd.DataFrame({"customer": whole["customer"], "expected": final.expected([length])}).assign(clv=np.nan)
    alive = np.where(final.cells[0] > 0, final.model.alive(final.theta, *final.cells), np.nan)
    by_customer.insert(2, "alive", alive[final.cell])
    clv = (np.nan,) * 3
    if stands:
        discount = (1 + discount_rate) ** -((np.arange(STEPS) + 0.5) * horizon / 12 / STEPS)
        coming = lambda theta=None: final.expected(np.linspace(0, length, STEPS + 1)[1:], discount, theta)  # noqa: E731
        expected = coming()
        by_customer["clv"] = margin * expected * each
        move = [*slope(lambda theta: each @ coming(theta), final.theta), *moves(expected)]
        totals = expected * each + np.hstack([final.influence, influence]) @ move
        draws = resampled(None, np.column_stack([totals, np.ones(len(each))]), **chance)
        low, high = margin * np.array(percentile_interval(draws[:, 0] / draws[:, 1], confidence))
        clv = by_customer["clv"].mean(), low * min(said["low"], 1), high * max(said["high"], 1)
    table = pd.DataFrame({"term": TERMS, "estimate": [*said[:5], clv[0]]}).assign(conf_low=np.nan, conf_high=np.nan)
    table.loc[[2, 5], ["conf_low", "conf_high"]] = [[said["low"], said["high"]], clv[1:]]
    error = np.sqrt(np.sum(told.influence**2, axis=0))  # of the logs, robust
    parameters = pd.DataFrame({"term": told.model.names, "estimate": told.theta})
    parameters["conf_low"], parameters["conf_high"] = (told.theta * np.exp(z * 1.96 * error) for z in (-1, 1))
    earlier = past.assign(earlier=np.minimum(past["x"], 7).astype(int), predicted=predicted).groupby("earlier")
    groups = earlier.agg(actual=("later", "mean"), predicted=("predicted", "mean"), n=("later", "size")).reset_index()
    groups = hide_cells(groups, min_base=events.min_base, keys=("earlier",))
    spread = interval(said["low"], said["high"], confidence, 2)
    key = "worth" if stands else "worth_no_money" if close and better else "worth_open"
    head = dict(actual=number(said["actual"], 0), predicted=number(said["predicted"], 0))
    head |= (
        dict(value=money(clv[0], events.currency), horizon=horizon, span=interval(*clv[1:], confidence, 2))
        if stands
        else {}
    )
    two = {k: number(said[k], 2) for k in ("ratio", "error", "history")} | dict(spread=spread, n=number(len(past), 0))
    words = say(key, events="purchases" if buying else "renewals", **head) + " " + say(f"{key}_more", **two)
    checks += (
        Check(say["foretold"], spread, "within 0.9 to 1.11", bool(close), "stops"),
        Check(say["gap_error"], float(said["error"] - said["history"]), "below 0", bool(better), "stops"),
        *more,
    )
    summary = {"n": len(past), "method": say["model_" + model], "established": stands}
    drawn = {"actual": ("o", "actual"), "predicted": ("-", "predicted")}
    axes = tuple(say[f"foretold_{part}"] for part in ("x", "y", "unit"))
    return Lifetime(
        "fit_lifetime", "clv", None, table, summary, checks, {term: say[f"name_{term}"] for term in TERMS},
        {"parameters": parameters, "holdout": groups}, suppressed=int(groups["n"].isna().sum()), words=words,
        figure=partial(lines, of="holdout", x="earlier", columns=drawn, axes=axes, band=False), customers=by_customer,
    )  # fmt: skip
