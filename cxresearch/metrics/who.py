"""Who answered: responders against the others, the score reweighted to all customers.

References
----------
Kott & Chang (2010), J. American Statistical Association 105 (calibration that models response); Deville & Saerndal
(1992), J. American Statistical Association 87 (its error); Cohen (1988) (standardised difference).
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy import stats

from cxresearch import digits
from cxresearch.errors import DataProblem, TooFewRespondents, require_columns
from cxresearch.figures import forest, wrap
from cxresearch.findings import Check, describe_columns, number, percent
from cxresearch.inference import adjusted_p_values
from cxresearch.metrics.answers import measured, numeric_answers
from cxresearch.metrics.estimate import check_asked, precision, vector
from cxresearch.metrics.finding import MeasureFinding, made
from cxresearch.privacy import require_base
from cxresearch.survey import as_survey, as_table
from cxresearch.survey.sample import waves_of
from cxresearch.survey.units import kish_effective_n

BOUGHT = ("purchases", "spent")  # what transactions say of every customer
MIN_EACH = 30  # responders, and others, that a response model needs
LARGE = 0.2  # standardised difference that is commonly called small but not negligible

describe_columns(
    responders=("Responders", "mean of the customers who answered", 2),
    others=("Others", "mean of the customers who did not answer", 2),
    n_others=("n others", "customers who did not answer", 0),
    response_rate=("Response rate", "customers who answered, in any wave, by all, 0-1", 3),
    reweighted=("Reweighted", "value of responders weighted to resemble all customers", 1),
)


@dataclass(frozen=True, repr=False, eq=False)
class ResponseBias(MeasureFinding):
    """One row per behaviour (`term`): means and standardised difference (standard deviations) of responders and others.

    ``further["sensitivity"]`` has the score as answered and reweighted to all customers, in points.
    """

    counted: str = ""

    def sentence(self) -> str:
        s, clear = self.summary, self.table[self.table["p_adjusted"] < 1 - self.confidence]
        known = dict(n=number(s["n"], 0), all=number(s["n"] + s["n_others"], 0), rate=percent(s["response_rate"]))
        if clear.empty:
            first = self.say("bias_alike", **known, counted=self.counted)
        else:
            top = digits.largest(clear.assign(size=clear["estimate"].abs()), "size")
            means = dict(term=self.label(top["term"]), yes=number(top["responders"], 1), no=number(top["others"], 1))
            first = self.say("bias_differ", **known, counted=self.counted, **means)
        plain, reweighted = (row for _, row in self.further["sensitivity"].iterrows())
        values = dict(
            reweighted=self.measure.value(reweighted["estimate"]), plain=self.measure.value(plain["estimate"])
        )
        more = dict(clear=len(clear), behaviours=len(self.table), words=f"the {self.measure.words}")
        return f"{first} {self.say('bias_more', **more, **values, span=self.span(reweighted))}"

    def plot(self, ax=None):
        """Draw the standardised differences, responders less others, with intervals."""
        t = self.table
        return forest(
            t, "estimate", names=[self.label(k) for k in t["term"]], low="conf_low", high="conf_high", line=0, ax=ax,
            marked=t["p_adjusted"] < 1 - self.confidence, title=self.headline,
            unit=wrap(f"answered {self.counted} less the others, standard deviations; {percent(self.confidence)} intervals", 62),
        )  # fmt: skip


def response_bias(
    customers,
    responses,
    item: str,
    *,
    customer: str,
    behaviour,
    transactions=None,
    until=None,
    confidence: float = 0.95,
) -> ResponseBias:
    """Compare customers who answered with those who did not, and reweight the score to all of them.

    Parameters
    ----------
    customers : Survey or DataFrame, (N, .)
        One row per customer who could have been asked, with the design of their own if they are a sample.
    responses : Survey or DataFrame
        Their answers, whose weights and clusters count; of a customer's several answers the latest. Answers of others
        are left out and counted.
    item, customer : str
        Recommend item (0-10) in `responses`; column that links both tables.
    behaviour : list of str
        Numeric columns of `customers`, known for all of them (missing values are filled with the median and counted).
    transactions : Table, optional
        Payments, one row each: adds how often each customer bought, and for how much, before the date `until`.
    confidence
        As in `nps`.

    Returns
    -------
    ResponseBias

    Raises
    ------
    DataProblem
        Duplicate customers, behaviour that is not numeric, is constant or separates those who answered, answers off
        0-10.
    TooFewRespondents
        Fewer than 30 customers who answered, or who did not.

    Notes
    -----
    Responders are weighted by their design weight times 1 + exp(x'b), one over a logistic probability of response, b
    chosen so that their behaviours add up to those of all customers (Kott & Chang 2010); the error is that of the
    residuals. This repairs only what the behaviours say; it is a sensitivity line, not a correction.

    Examples
    --------
    >>> import cxresearch as cx
    >>> study = cx.open_study("data/example/study.yml")
    >>> print(cx.response_bias(
    ...     study.customers, study.responses, "recommend", customer="customer", behaviour=["affluence"]
    ... ))
    1,399 of 2,000 customers answered at least once in 4 waves (70 %); no difference in behaviour ...
    """
    survey, answers = as_survey(customers), as_survey(responses)
    table, behaviour = survey.table, [behaviour] if isinstance(behaviour, str) else list(behaviour)
    require_columns(table, customer, *behaviour, where="customers")
    if transactions is not None:
        table, behaviour = _with_purchases(table, customer, as_table(transactions), until), [*behaviour, *BOUGHT]
        survey = survey.with_table(table, labels=_bought(answers.currency) | dict(survey.labels))
    check_asked(answers, item, customer, confidence=confidence)
    if (again := int(table[customer].duplicated().sum())) > 0:
        raise DataProblem(f"customers: {customer} repeats {again} customers; give one row per customer")
    latest, strangers = _latest_answers(answers, item, customer, table[customer])
    sample = latest.sample(what="the comparison of responders with others") if len(latest) else None
    place = (
        pd.Index(table[customer]).get_indexer(latest.table[customer])[sample.rows]
        if sample
        else np.array([], dtype=int)
    )
    answered = np.isin(np.arange(len(table)), place)
    few = int(min(answered.sum(), (~answered).sum()))
    if few < MIN_EACH:
        raise TooFewRespondents(
            f"response_bias needs at least {MIN_EACH} customers who answered and {MIN_EACH} who did not; "
            f"found {answered.sum()} and {(~answered).sum()}"
        )
    floor = max(survey.min_base, answers.min_base)
    require_base(few, min_base=floor, what="the comparison of responders with others")
    values, filled = _behaviours(table, behaviour)
    asked = measured(latest, item, "nps")
    sensitivity, weights = _sensitivity(sample, asked, values, place, confidence)
    found = _differences(survey, values, answered, behaviour, confidence)
    summary = {
        "n": int(answered.sum()), "n_others": int((~answered).sum()), "response_rate": float(answered.mean()),
        "estimate": sensitivity["estimate"].iloc[0], "reweighted": sensitivity["estimate"].iloc[1],
        "n_effective": kish_effective_n(weights), "method": "standardised differences; weights calibrated to all customers",
        "established": bool((found["p_adjusted"] < 1 - confidence).any()),
    }  # fmt: skip
    largest, heaviest = float(found["estimate"].abs().max()), float(weights.max() / weights.mean())
    checks = [
        Check("largest standardised difference", digits.rounded(largest, 3), f"at most {LARGE:g}", largest <= LARGE),
        Check("largest response weight / mean", digits.rounded(heaviest, 2), "at most 10", heaviest <= 10),
        Check("answers of customers that are not in the table", strangers, "0", strangers == 0),
        Check("missing behaviours filled with the median", filled, "0", filled == 0),
    ]
    if answers.weight and not survey.weight:
        words = "not answering counts customers who were never drawn, too"
        checks.append(Check(words, f"sampled, weighted by {answers.weight}", "known", True, "info"))
    waves = 1 if answers.wave is None else answers.table[answers.wave].nunique()
    counted = f"at least once in {waves} waves" if waves > 1 else "once or more"
    both = survey.with_table(table, labels={**answers.labels, **survey.labels})
    return made(
        ResponseBias, "response_bias", both, asked, None, found, summary, checks, further={"sensitivity": sensitivity},
        confidence=confidence, counted=counted,
    )  # fmt: skip


def _bought(currency) -> dict[str, str]:
    return dict(zip(BOUGHT, ("Purchases", "Money spent" + (f", {currency}" if currency else ""))))


def _with_purchases(table, customer: str, transactions, until):
    """Return the customers with how often they bought, and for how much; those who never did with zero."""
    rows, roles = transactions.table, transactions.roles
    person, time, amount = transactions.person or customer, roles.get("time", "time"), roles.get("amount", "amount")
    require_columns(rows, person, time, amount, where="transactions")
    inside = (rows[amount] > 0).to_numpy() & (True if until is None else (rows[time] < pd.Timestamp(until)).to_numpy())
    totals = rows[inside].groupby(person, observed=True)[amount].agg(["size", "sum"]).reindex(table[customer])
    return table.assign(**dict(zip(BOUGHT, totals.fillna(0).to_numpy(dtype=float).T)))


def _latest_answers(answers, item: str, customer: str, known):
    """Return a survey of the latest answer of each known customer, and how many answers are of strangers."""
    measure, table = measured(answers, item, "nps"), answers.table
    when = np.zeros(len(table)) if answers.wave is None else waves_of(table[answers.wave], answers.wave_order).cat.codes
    order = np.argsort(np.asarray(when), kind="stable")
    kept = table.iloc[order][measure.answered[order]]
    inside = kept[customer].isin(known)
    rows = kept[inside].drop_duplicates(customer, keep="last").reset_index(drop=True)
    rows.attrs = dict(table.attrs)
    return answers.with_table(rows), int((~inside).sum())


def _behaviours(table, behaviour) -> tuple[np.ndarray, int]:
    """Return the behaviours, (N, k), missing ones filled with the median, and how many were."""
    columns = [numeric_answers(table, column) for column in behaviour]
    for column, values in zip(behaviour, columns):
        if not np.nanstd(values) > 0:
            raise DataProblem(f"{column} is the same for all customers; leave it out of behaviour")
    values = np.column_stack(columns)
    missing = np.isnan(values)
    return np.where(missing, np.nanmedian(values, axis=0), values), int(missing.sum())


def _differences(survey, values, answered, behaviour, confidence) -> pd.DataFrame:
    """Return standardised differences of those who answered and the others, under the customers' own design."""
    column = "who answered"
    named = survey.table.assign(**{column: np.where(answered, "responders", "others")})
    sample = survey.with_table(named).sample(by=column, what="the comparison of responders with others")
    rows = []
    for k, name in enumerate(behaviour):
        held = values[sample.rows, k]
        compared = vector(sample, held, "mean")
        spread = np.sqrt(np.mean(precision(sample, held, "mean")[0] * sample.n / (sample.n - 1)))
        contrast = np.array([-1.0, 1.0])  # others come first
        error = np.sqrt(contrast @ compared.covariance @ contrast) / spread
        difference = contrast @ compared.raw / spread
        half = stats.norm.ppf((1 + confidence) / 2) * error
        rows.append({
            "term": name, "estimate": difference, "std_error": error, "conf_low": difference - half,
            "conf_high": difference + half, "p_value": 2 * stats.norm.sf(abs(difference / error)), "p_adjusted": np.nan,
            "responders": compared.raw[1], "others": compared.raw[0], "n": sample.n[1], "n_others": sample.n[0],
        })  # fmt: skip
    table = pd.DataFrame(rows)
    return table.assign(p_adjusted=adjusted_p_values(table["p_value"], correction="holm"))


def _sensitivity(sample, measure, values, place, confidence) -> tuple[pd.DataFrame, np.ndarray]:
    """Return the score as answered and reweighted to all customers, and the weights."""
    design = np.column_stack([np.ones(len(values)), (values - values.mean(axis=0)) / values.std(axis=0)])
    x, y = design[place], measure.codes[sample.rows]
    start = sample.weights / sample.weights.mean()
    weights, tilt = calibrated(start, x, design.sum(axis=0))
    fitted = x @ np.linalg.lstsq(x.T @ (tilt[:, None] * x), x.T @ (tilt * y), rcond=None)[0]
    z, rows = stats.norm.ppf((1 + confidence) / 2), []
    for name, w, explained in (("as answered", start, None), ("reweighted", weights, fitted)):
        mean = w @ y / w.sum()
        pull = w * (y - (mean if explained is None else explained)) / w.sum()
        error = np.sqrt(sample.covariance_of(pull[:, None])[0, 0])
        rows.append({
            "term": name, "estimate": 100 * mean, "std_error": 100 * error, "conf_low": 100 * max(mean - z * error, -1),
            "conf_high": 100 * min(mean + z * error, 1), "n": len(y), "n_effective": kish_effective_n(w),
        })  # fmt: skip
    return pd.DataFrame(rows), weights


def calibrated(start, x, totals) -> tuple[np.ndarray, np.ndarray]:
    """Return weights start (1 + exp(x'b)) under which the rows of `x` (n, k) add up to `totals` (k,), and start exp(x'b)."""
    beta = np.zeros(x.shape[1])
    beta[0] = np.log(max(totals[0] / start.sum() - 1, 1e-6))
    for _ in range(100):
        tilt = start * np.exp(np.clip(x @ beta, -30, 30))
        gap = totals - x.T @ (start + tilt)
        if np.abs(gap).max() < 1e-9 * totals[0]:
            return start + tilt, tilt
        step = np.linalg.lstsq(x.T @ (tilt[:, None] * x), gap, rcond=None)[0]
        beta = beta + step / max(1.0, np.abs(step).max() / 2)
    raise DataProblem(
        "behaviour: no weights make those who answered resemble all customers, since a behaviour tells the two apart; "
        "leave out the behaviour that differs most"
    )
