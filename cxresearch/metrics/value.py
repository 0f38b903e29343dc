"""What promoters, passives and detractors do: the mean of a behaviour in each group."""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from cxresearch.errors import DataProblem
from cxresearch.figures import forest
from cxresearch.findings import Check, Finding, Shown, interval, number, p_words, percent, phrase
from cxresearch.metrics.answers import measured, numeric_answers
from cxresearch.metrics.estimate import base_words, cell_estimates, check_asked, decided, hide, vector
from cxresearch.metrics.sentences import SENTENCES
from cxresearch.privacy import hidden_cells, largest_share, require_base
from cxresearch.survey import as_survey

NAMES = ("detractors", "passives", "promoters")
STEPS = (("promoters", "detractors"), ("promoters", "passives"), ("passives", "detractors"))


@dataclass(frozen=True, repr=False, eq=False)
class PromoterValue(Finding):
    """Mean of a behaviour by recommend group (`group`), in its own unit (shares of yes 0-1); ``further["steps"]`` has
    the differences.
    """

    unit: str = ""
    confidence: float = 0.95
    yes_or_no: bool = False

    @property
    def chart(self):
        return Shown("tidy", "estimate", "conf_low", "conf_high", self._axis)

    @property
    def _axis(self) -> str:
        kind = "Share with" if self.yes_or_no else "Mean"
        return f"{kind} {self.label(self.outcome)}{', ' * bool(self._unit)}{self._unit}"

    @property
    def _unit(self) -> str:
        return "%" if self.yes_or_no else self.unit

    def amount(self, value: float) -> str:
        return percent(value, 1) if self.yes_or_no else f"{number(value)} {self.unit}".strip()

    def sentence(self) -> str:
        t, step = self.table.set_index("group"), self.further["steps"].iloc[0]
        differ = np.isfinite(step["p_adjusted"]) and step["p_adjusted"] < 1 - self.confidence
        first = phrase(
            SENTENCES, "value", what=self._axis.split(",")[0], differs="differs" if differ else "by recommend group",
            **{name: self.amount(t.loc[name, "estimate"]) for name in NAMES},
        )  # fmt: skip
        scale = 100 if self.yes_or_no else 1
        span = interval(scale * step["conf_low"], scale * step["conf_high"], self.confidence)
        bases = " and ".join(number(t.loc[name, "n"], 0) for name in ("promoters", "detractors"))
        known = dict(span=f"{span} {self._unit}".strip(), p=p_words(step["p_adjusted"]), n=bases)
        if not np.isfinite(step["p_adjusted"]):
            known["p"] = "p not available"
        if not differ:
            return f"{first} {phrase(SENTENCES, 'value_open', **known)}"
        size = (
            f"{number(100 * abs(step['estimate']))} percentage points"
            if self.yes_or_no
            else self.amount(abs(step["estimate"]))
        )
        return (
            f"{first} {phrase(SENTENCES, 'value_more' if step['estimate'] > 0 else 'value_less', **known, size=size)}"
        )

    def plot(self, ax=None):
        """Draw the group means with intervals, in the behaviour's unit."""
        t = self.table.iloc[::-1]
        scale = 100 if self.yes_or_no else 1
        shown = t.assign(**{c: t[c].astype(float) * scale for c in ("estimate", "conf_low", "conf_high")})
        unit = f"{self._axis[:1].lower()}{self._axis[1:]}; {percent(self.confidence)} intervals"
        names = [f"{g} ({number(n, 0)})" for g, n in zip(t["group"], t["n"])]
        title = self.sentence().split(". ")[0].rstrip(".")
        return forest(shown, "estimate", names=names, low="conf_low", high="conf_high", unit=unit, title=title, ax=ax)


def promoter_value(customers, item: str, *, value: str, unit: str = "", confidence: float = 0.95) -> PromoterValue:
    """Return the mean of a behaviour, such as revenue or retention, for promoters, passives and detractors.

    Parameters
    ----------
    customers : Survey or DataFrame, (N, .)
        One row per customer with an answer and a behaviour.
    item, value : str
        Recommend item (0-10); numeric column, or one of yes and no, of which shares are taken.
    unit : str
        Unit of `value` for sentences and axes, such as a currency.
    confidence
        As in `nps`.

    Returns
    -------
    PromoterValue

    Raises
    ------
    DataProblem
        Customers that repeat, answers off 0-10, text in `value`.

    Notes
    -----
    Linearised errors, t intervals (Wilson's for shares); the three differences and their intervals are corrected by
    Holm. Which came first is not asked.

    Examples
    --------
    >>> import cxresearch as cx
    >>> study = cx.open_study("data/example/study.yml")
    >>> table = study.matched("responses", "customers", keep="latest")
    >>> print(cx.promoter_value(table, "recommend", value="revenue", unit=study.currency))
    Mean revenue differs: promoters 191.2 EUR, passives 176.9 EUR, detractors 153.0 EUR. ...
    """
    survey = as_survey(customers)
    check_asked(survey, item, value, confidence=confidence)
    asked, table = measured(survey, item, "nps"), survey.table
    yes_or_no = pd.api.types.is_bool_dtype(table[value]) or bool(table[value].dropna().isin([0, 1]).all())
    values = table[value].astype(float).to_numpy() if yes_or_no else numeric_answers(table, value)
    known = asked.answered & ~np.isnan(values)
    if survey.respondent and (again := int(table.loc[known, survey.respondent].dropna().duplicated().sum())):
        raise DataProblem(
            f"customers: {survey.respondent} repeats {again} customers, whose {value} would count once for each answer; "
            "give one row per customer, such as the latest answer: study.matched('responses', 'customers', keep='latest')"
        )
    column, form = "recommend group", "share" if yes_or_no else "mean"
    names = np.select([asked.codes > 0, asked.codes < 0], ["promoters", "detractors"], "passives")
    grouped = table.assign(**{column: pd.Categorical(names, categories=NAMES, ordered=True)})
    grouped.attrs = dict(table.attrs)
    sample = survey.with_table(grouped, min_base=1).sample(known, by=column, what="the value of promoters")
    require_base(len(sample), min_base=survey.min_base, what="the value of promoters")
    held = values[sample.rows]
    found = pd.concat([sample.keys, cell_estimates(sample, held, form, confidence)], axis=1)
    found = found.set_index("group").reindex(NAMES).rename_axis("group").reset_index()
    found["n"] = found["n"].fillna(0).astype(int)
    found["base"] = base_words(found["n"], found["n_effective"])
    named = names[sample.rows]
    found["largest_share"] = [largest_share((sample.weights * held)[named == group]) for group in NAMES]
    hidden = hidden_cells(found, min_base=survey.min_base)
    steps = _steps(sample, held, form, hidden, confidence)
    compared = vector(sample, held, form)
    small = (sample.n < 2).any()
    summary = {
        "p_value": np.nan if small else compared.equal_p_value(), "n": len(held),
        "n_effective": float(np.nansum(found["n_effective"])),
        "method": "shares, linearised, Wilson" if yes_or_no else "means, linearised, t",
        "established": bool(steps["p_adjusted"].iloc[0] < 1 - confidence),
    }  # fmt: skip
    lost = int((asked.answered & np.isnan(values)).sum())
    checks = (*sample.checks, Check(f"answers without {value}", lost, "0", lost == 0))
    return PromoterValue(
        "promoter_value", value, column, hide(found, hidden), summary, checks, survey.labels, {"steps": steps}, unit,
        confidence, yes_or_no, suppressed=int(hidden.sum()), domain=survey.condition,
    )  # fmt: skip


def _steps(sample, held, form, hidden, confidence) -> pd.DataFrame:
    """Return the differences between the three groups; missing where one is hidden or empty."""
    compared, at = vector(sample, held, form), {g: i for i, g in enumerate(sample.keys["group"])}
    gone = {name for name, h in zip(NAMES, hidden) if h or name not in at or sample.n[at[name]] < 2}
    rows = []
    for high, low in STEPS:
        known = not {high, low} & gone
        i, j = (at[high], at[low]) if known else (0, 0)
        c, missing = compared.covariance, 0.0 if known else np.nan
        rows.append({
            "term": f"{high} less {low}", "estimate": compared.raw[i] - compared.raw[j] + missing, "df": compared.df,
            "std_error": np.sqrt(max(c[i, i] + c[j, j] - 2 * c[i, j], 0.0)) + missing, "eligible": known,
            "centre": compared.centre[i] - compared.centre[j] + missing, "tail": compared.df,
        })  # fmt: skip
    steps = decided(pd.DataFrame(rows), correction="holm", confidence=confidence).drop(columns="detectable")
    return steps.assign(p_value=steps["p_value"].where(steps["std_error"].notna()))
