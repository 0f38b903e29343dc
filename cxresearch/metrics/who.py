"""Who answered, and what they do: responders against the others, the behaviour of promoters and detractors."""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from cxresearch import digits
from cxresearch.errors import DataProblem, TooFewRespondents, require_columns
from cxresearch.findings import Check, number, p_words, percent
from cxresearch.inference import adjusted_p_values, critical_value
from cxresearch.metrics.answers import UNITS, Measure, Units, measured, numeric_answers
from cxresearch.metrics.estimate import base_words, cell_estimates, columns_of_estimate, decided, hide, p_value, vector
from cxresearch.metrics.question import MeasureFinding, Question, check_asked
from cxresearch.privacy import hidden_cells, largest_share, require_base
from cxresearch.survey import as_survey, as_table, kish_effective_n
from cxresearch.survey.sample import waves_of

BOUGHT = ("purchases", "spent")  # what transactions say of every customer
MIN_EACH = 30  # responders, and others, that a response model needs
LARGE = 0.2  # standardised difference that is commonly called small but not negligible
NAMES = ("detractors", "passives", "promoters")
STEPS = (("promoters", "detractors"), ("promoters", "passives"), ("passives", "detractors"))


@dataclass(frozen=True, repr=False, eq=False)
class ResponseBias(MeasureFinding):
    """One row per behaviour (`term`): means and standardised difference (standard deviations) of responders and others.

    ``further["sensitivity"]`` has the score as answered and reweighted to all customers, in points.
    """

    counted: str = ""

    def sentence(self) -> str:
        s, value = self.summary, self.measure.value
        clear = self.table[self.table["p_adjusted"] < 1 - self.confidence]
        known = dict(all=number(s["n"] + s["n_others"], 0), rate=percent(s["response_rate"]), counted=self.counted)
        if len(clear):
            top = digits.largest(clear.assign(size=clear["estimate"].abs()), "size")
            known |= dict(term=self.label(top["term"]), yes=number(top["responders"], 1), no=number(top["others"], 1))
        plain, reweighted = (row for _, row in self.further["sensitivity"].iterrows())
        more = dict(reweighted=value(reweighted["estimate"]), plain=value(plain["estimate"]), clear=len(clear))
        more |= dict(span=self.span(reweighted), behaviours=len(self.table), words=f"the {self.measure.words}")
        return f"{self.say('bias_differ' if len(clear) else 'bias_alike', **known)} {self.say('bias_more', **more)}"

    def plot(self, ax=None):
        """Draw the standardised differences, responders less others, with intervals."""
        unit = f"answered {self.counted} less the others, standard deviations; {self.level}"
        names, clear = self.table["term"].map(self.label), self.table["p_adjusted"] < 1 - self.confidence
        return self.dots(self.table, names, unit, line=0, marked=clear, ax=ax)


def response_bias(
    customers, responses, item: str, *, customer: str, behaviour, transactions=None, until=None, confidence=0.95
) -> ResponseBias:
    """Compare customers who answered with those who did not, and reweight the score to all of them.

    Responders are weighted by their design weight times 1 + exp(x'b), one over a logistic probability of response, b
    chosen so that their behaviours add up to those of all customers (Kott & Chang 2010); the error is that of the
    residuals. This repairs only what the behaviours say; it is a sensitivity line, not a correction.

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
        Numeric columns of `customers` (missing values are filled with the median and counted).
    transactions : Table, optional
        Payments, one row each: adds how often each customer bought, and for how much, before the date `until`.

    Examples
    --------
    >>> asked = dict(customer="customer", behaviour=["affluence"])
    >>> print(cx.response_bias(study.customers, study.responses, "recommend", **asked))
    1,399 of 2,000 customers answered at least once in 4 waves (70 %); no difference in behaviour ...
    """
    survey, answers = as_survey(customers), as_survey(responses)
    table, behaviour = survey.table, [behaviour] if isinstance(behaviour, str) else list(behaviour)
    require_columns(table, customer, *behaviour, where="customers")
    if transactions is not None:
        table, behaviour = _with_purchases(table, customer, as_table(transactions), until), [*behaviour, *BOUGHT]
        money = "Money spent" + (f", {answers.currency}" if answers.currency else "")
        survey = survey.with_table(table, labels=dict(zip(BOUGHT, ("Purchases", money))) | dict(survey.labels))
    check_asked(answers, item, customer, confidence=confidence)
    if (again := int(table[customer].duplicated().sum())) > 0:
        raise DataProblem(f"customers: {customer} repeats {again} customers; give one row per customer")
    what, known = "the comparison of responders with others", pd.Index(table[customer])
    latest, strangers = _latest_answers(answers, item, customer, known)
    sample = latest.sample(what=what) if len(latest) else None
    place = known.get_indexer(latest.table[customer])[sample.rows] if sample else np.array([], dtype=int)
    answered = np.isin(np.arange(len(table)), place)
    n, n_others = int(answered.sum()), int((~answered).sum())
    if min(n, n_others) < MIN_EACH:
        raise TooFewRespondents(
            f"response_bias needs at least {MIN_EACH} customers who answered and {MIN_EACH} who did not; "
            f"found {n} and {n_others}"
        )
    least = max(survey.min_base, answers.min_base)
    require_base(min(n, n_others), min_base=least, what=what)
    values, filled = _behaviours(table, behaviour)
    asked = measured(latest, item, "nps")
    sensitivity, weights = _sensitivity(sample, asked, values, place, confidence)
    found = _differences(survey, values, answered, behaviour, confidence, least)
    summary = {"n": n, "n_others": n_others, "response_rate": float(answered.mean())}
    summary |= dict(zip(("estimate", "reweighted"), sensitivity["estimate"]))
    summary["n_effective"] = kish_effective_n(weights)
    summary["method"] = "standardised differences; weights calibrated to all customers"
    summary["established"] = bool((found["p_adjusted"] < 1 - confidence).any())
    largest, heaviest = np.nanmax([0.0, *found["estimate"].abs()]), float(weights.max() / weights.mean())
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
    labels = {key: key.replace("_", " ").capitalize() for key in behaviour} | {**answers.labels, **survey.labels}
    question = Question("response_bias", survey.with_table(table, labels=labels), asked, [], confidence, sample)
    more = dict(hidden=int(found["estimate"].isna().sum()), further={"sensitivity": sensitivity}, counted=counted)
    return question.finding(ResponseBias, found, summary, checks, **more)


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


def _differences(survey, values, answered, behaviour, confidence, least) -> pd.DataFrame:
    """Return standardised differences of those who answered and the others, under the customers' own design."""
    column = "who answered"
    named = survey.table.assign(**{column: np.where(answered, "responders", "others")})
    sample = survey.with_table(named).sample(by=column, what="the comparison of responders with others")
    rows, z = [], critical_value(confidence)
    for k, name in enumerate(behaviour):
        held = values[sample.rows, k]
        compared = vector(sample, held, "mean")
        spread = np.sqrt(np.mean(sample.means((held - compared.raw[sample.cell]) ** 2) * sample.n / (sample.n - 1)))
        difference, error = compared.less([1], [0])[["estimate", "std_error"]].iloc[0] / spread  # others come first
        row = {"term": name} | columns_of_estimate(difference, error, z * error)
        row |= {"p_value": float(p_value(difference, error)), "p_adjusted": np.nan}
        row |= {"responders": compared.raw[1], "others": compared.raw[0], "n": sample.n[1], "n_others": sample.n[0]}
        rows.append(row | {"largest_share": max(largest_share(held[sample.cell == cell]) for cell in (0, 1))})
    table = pd.DataFrame(rows)
    table = hide(table, hidden_cells(table, min_base=least, secondary=False))  # each row is about everybody
    return table.assign(p_adjusted=adjusted_p_values(table["p_value"], correction="holm"))


def _sensitivity(sample, measure, values, place, confidence) -> tuple[pd.DataFrame, np.ndarray]:
    """Return the score as answered and reweighted to all customers, and the weights."""
    design = np.column_stack([np.ones(len(values)), (values - values.mean(axis=0)) / values.std(axis=0)])
    x, y = design[place], measure.codes[sample.rows]
    start = sample.weights / sample.weights.mean()
    weights, tilt = calibrated(start, x, design.sum(axis=0))
    fitted = x @ np.linalg.lstsq(x.T @ (tilt[:, None] * x), x.T @ (tilt * y), rcond=None)[0]
    z, rows = critical_value(confidence), []
    for name, w, explained in (("as answered", start, None), ("reweighted", weights, fitted)):
        mean = w @ y / w.sum()
        pull = w * (y - (mean if explained is None else explained)) / w.sum()
        error = np.sqrt(sample.covariance_of(pull[:, None])[0, 0])
        row = {"term": name} | columns_of_estimate(mean, error, z * error, scale=100, least=-1, most=1)
        rows.append(row | {"n": len(y), "n_effective": kish_effective_n(w)})
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


@dataclass(frozen=True, repr=False, eq=False)
class PromoterValue(MeasureFinding):
    """Mean of a behaviour by recommend group (`group`), in its own unit (shares of yes 0-1); ``further["steps"]`` has
    the differences.
    """

    def sentence(self) -> str:
        t, step = self.table.set_index("group"), self.further["steps"].iloc[0]
        known, p = {name: self.measure.value(t.loc[name, "estimate"]) for name in NAMES}, step["p_adjusted"]
        differ = bool(p < 1 - self.confidence)
        known |= dict(what=self.measure.words, differs="differs" if differ else "by recommend group")
        bases = " and ".join(number(t.loc[name, "n"], 0) for name in ("promoters", "detractors"))
        more = dict(
            span=self.span(step), reach=self.reach(step), p=p_words(p) if np.isfinite(p) else "p not available", n=bases
        )
        key = "value_open" if not differ else "value_more" if step["estimate"] > 0 else "value_less"
        return f"{self.say('value', **known)} {self.say(key, **more, size=self.measure.size(step['estimate']))}"

    def plot(self, ax=None):
        """Draw the group means with intervals, in the behaviour's unit."""
        t = self.table.iloc[::-1]
        names = [f"{g} ({number(n, 0)})" for g, n in zip(t["group"], t["n"])]
        axis = self.measure.axis
        return self.dots(t, names, f"{axis[:1].lower()}{axis[1:]}; {self.level}", ax=ax)


def promoter_value(customers, item: str, *, value: str, unit: str = "", confidence: float = 0.95) -> PromoterValue:
    """Return the mean of a behaviour, such as revenue or retention, for promoters, passives and detractors.

    Linearised errors, t intervals (Wilson's for shares); the three differences and their intervals are corrected by
    Holm. Which came first is not asked.

    Parameters
    ----------
    customers : Survey or DataFrame, (N, .)
        One row per customer with an answer and a behaviour; customers that repeat are refused.
    item, value : str
        Recommend item (0-10); numeric column, or one of yes and no, of which shares are taken.
    unit : str
        Unit of `value` for sentences and axes, such as a currency.
    confidence
        As in `nps`.

    Examples
    --------
    >>> print(cx.promoter_value(matched, "recommend", value="revenue", unit=study.currency))
    Mean revenue differs: promoters 191.2 EUR, passives 176.9 EUR, detractors 153.0 EUR. ...
    """
    survey = as_survey(customers)
    check_asked(survey, item, value, confidence=confidence)
    asked, table = measured(survey, item, "nps"), survey.table
    share = pd.api.types.is_bool_dtype(table[value]) or bool(table[value].dropna().isin([0, 1]).all())
    values = table[value].astype(float).to_numpy() if share else numeric_answers(table, value)
    known = asked.answered & ~np.isnan(values)
    survey.require_each_once(known, value)
    column, form = "recommend group", "share" if share else "mean"
    names = np.select([asked.codes > 0, asked.codes < 0], ["promoters", "detractors"], "passives")
    grouped = table.assign(**{column: pd.Categorical(names, categories=NAMES, ordered=True)})
    grouped.attrs = dict(table.attrs)
    sample = survey.with_table(grouped, min_base=1).sample(known, by=column, what="the value of promoters")
    require_base(len(sample), min_base=survey.min_base, what="the value of promoters")
    held, named = values[sample.rows], names[sample.rows]
    found = pd.concat([sample.keys, cell_estimates(sample, held, form, confidence)], axis=1)
    found = found.set_index("group").reindex(NAMES).rename_axis("group").reset_index()
    found = found.assign(n=found["n"].fillna(0).astype(int), base=base_words(found["n"], found["n_effective"]))
    found["largest_share"] = [largest_share((sample.weights * held)[named == group]) for group in NAMES]
    hidden, compared = hidden_cells(found, min_base=survey.min_base), vector(sample, held, form)
    steps = _steps(sample, compared, hidden, confidence)
    summary = {"p_value": np.nan if (sample.n < 2).any() else compared.equal_p_value(), "n": len(held)}
    summary["n_effective"] = float(np.nansum(found["n_effective"]))
    summary["method"] = "shares, linearised, Wilson" if share else "means, linearised, t"
    summary["established"] = bool(steps["p_adjusted"].iloc[0] < 1 - confidence)
    lost = int((asked.answered & np.isnan(values)).sum())
    checks = (*sample.checks, Check(f"answers without {survey.label(value)}", lost, "0", lost == 0))
    words, units = f"{'Share with' if share else 'Mean'} {survey.label(value)}", Units(1, 1, 1, unit, unit)
    measure = Measure(value, value, form, words, UNITS["share"] if share else units)
    own = dict(measure=measure, confidence=confidence, suppressed=int(hidden.sum()), domain=survey.condition)
    shown, further = hide(found, hidden), {"steps": steps}
    return PromoterValue("promoter_value", value, column, shown, summary, checks, survey.labels, further, **own)


def _steps(sample, compared, hidden, confidence) -> pd.DataFrame:
    """Return the differences between the three groups; missing where one is hidden or empty."""
    at, rows = {group: i for i, group in enumerate(sample.keys["group"])}, []
    gone = {name for name, h in zip(NAMES, hidden) if h or name not in at or sample.n[at[name]] < 2}
    for high, low in STEPS:
        known = not {high, low} & gone
        step = compared.less(*([at[group]] if known else [0] for group in (high, low)))
        step = step.assign(term=f"{high} less {low}", df=compared.df, tail=compared.df, eligible=known)
        step[["estimate", "centre", "std_error"]] *= 1.0 if known else np.nan
        rows.append(step)
    steps = decided(pd.concat(rows, ignore_index=True), correction="holm", confidence=confidence)
    steps = steps[["term", "estimate", "std_error", "conf_low", "conf_high", "p_value", "p_adjusted"]]
    return steps.assign(p_value=steps["p_value"].where(steps["std_error"].notna()))
