"""What promoters, passives and detractors do: the mean of a behaviour in each group."""

from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy import stats

from cxresearch.figures import PALETTE, axes_or_new, intervals
from cxresearch.findings import Check, Finding, Shown, interval, number, percent
from cxresearch.inference import adjusted_p_values
from cxresearch.metrics.card import base_words, p_words
from cxresearch.metrics.cells import draw_sample, require_options
from cxresearch.metrics.contrasts import means_p_value
from cxresearch.metrics.hiding import hidden_cells, hide
from cxresearch.metrics.scores import numeric_answers, recommend_answers
from cxresearch.metrics.shares import mean_columns
from cxresearch.privacy import largest_share
from cxresearch.survey import as_survey

NAMES = ("detractors", "passives", "promoters")
STEPS = (("promoters", "detractors"), ("promoters", "passives"), ("passives", "detractors"))


@dataclass(frozen=True, repr=False, eq=False)
class PromoterValue(Finding):
    """Mean of a behaviour by recommend group (`group`), in its own unit; ``further["steps"]`` has the differences."""

    value: str = ""
    unit: str = ""
    confidence: float = 0.95

    @property
    def chart(self):
        title = f"Mean {self.label(self.value)}{', ' * bool(self.unit)}{self.unit}"
        return Shown("tidy", "estimate", "conf_low", "conf_high", title)

    def sentence(self) -> str:
        t, step = self.table.set_index("group"), self.further["steps"].iloc[0]
        unit = f" {self.unit}" if self.unit else ""
        parts = ", ".join(
            f"{g} {number(t.loc[g, 'estimate'])}{unit} (n = {number(t.loc[g, 'n'], 0)})" for g in NAMES[::-1]
        )
        found = "differ" if step["p_adjusted"] < 1 - self.confidence else "are not established to differ"
        return (
            f"Mean {self.label(self.value)}: {parts}. Promoters and detractors {found}: difference "
            f"{number(step['estimate'])}{unit} "
            f"({interval(step['conf_low'], step['conf_high'], self.confidence)}, adjusted "
            f"{p_words(step['p_adjusted'])}), an association only."
        )

    def plot(self, ax=None):
        """Draw the group means with intervals, in the behaviour's unit."""
        t = self.table.iloc[::-1]
        ax = axes_or_new(ax, rows=3)
        names = [f"{g} ({number(n, 0)})" for g, n in zip(t["group"], t["n"])]
        intervals(ax, names, t["estimate"], t["conf_low"], t["conf_high"], colour=PALETTE[0])
        ax.set_xlabel(
            f"mean {self.label(self.value)}{f', {self.unit}' if self.unit else ''}; "
            f"{percent(self.confidence)} intervals"
        )
        ax.set_title("By recommend group (base in brackets)", fontsize=10)
        return ax


def promoter_value(customers, item: str, *, value: str, unit: str = "", confidence: float = 0.95) -> PromoterValue:
    """Return the mean of a behaviour, such as revenue or retention, for promoters, passives and detractors.

    Parameters
    ----------
    customers : Survey or DataFrame, (N, .)
        One row per customer with an answer and a behaviour.
    score, value : str
        Recommend item (0-10); numeric column.
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
        Answers off 0-10, text in `value`.

    Notes
    -----
    Linearised errors, t intervals; the three differences are corrected by Holm. Which came first is not asked.

    Examples
    --------
    >>> import cxresearch as cx
    >>> study = cx.open_study("data/example/study.yml")
    >>> table = study.matched("responses", "customers", keep="latest")
    >>> print(cx.promoter_value(
    ...     table, "recommend", value="revenue", unit=study.currency
    ... ))
    Mean revenue: promoters 191.2 EUR (n = 676), passives 176.9 EUR (n = 357), detractors 153.0 ...
    """
    survey = as_survey(customers)
    customers = survey.table
    score = item
    weight, strata, cluster, fpc = survey.design
    labels, min_base = survey.labels, survey.min_base
    design = {"weight": weight, "strata": strata, "cluster": cluster, "fpc": fpc}
    require_options(customers, score, value, *design.values(), confidence=confidence, min_base=min_base)
    scores, values = recommend_answers(customers, score), numeric_answers(customers, value)
    known = ~np.isnan(scores) & ~np.isnan(values)
    names = pd.Categorical(
        np.where(scores >= 9, "promoters", np.where(scores <= 6, "detractors", "passives")),
        categories=NAMES,
        ordered=True,
    )
    column = "recommend group"
    sample = draw_sample(customers.assign(**{column: names}), known, by=column, **design)
    held = values[sample.rows]
    table = pd.concat([sample.keys, mean_columns(sample, held, confidence)], axis=1)
    table = table.set_index("group").reindex(NAMES).rename_axis("group").reset_index()
    table[["n"]] = table[["n"]].fillna(0).astype(int)
    table["base"] = base_words(table["n"], table["n_effective"])
    named = names[sample.rows]
    table["largest_share"] = [largest_share((sample.weights * held)[named == group]) for group in table["group"]]
    hidden = hidden_cells(table, min_base=min_base)
    table = hide(table, hidden, min_base)
    summary = {
        "p_value": means_p_value(sample, held),
        "n": len(held),
        "n_effective": float(np.nansum(table["n_effective"])),
        "method": "means, linearised, t",
    }
    lost = int((~np.isnan(scores) & np.isnan(values)).sum())
    tested = (*sample.tested, Check(f"answers without {value}", lost, "0", lost == 0))
    return PromoterValue(
        "promoter_value",
        value,
        column,
        table,
        summary,
        tested,
        labels or {},
        {"steps": _steps(sample, held, table, confidence)},
        value,
        unit,
        confidence,
    )


def _steps(sample, values, table, confidence) -> pd.DataFrame:
    covariance, place = sample.covariance(values), {g: i for i, g in enumerate(sample.keys["group"])}
    means, rows = table.set_index("group")["estimate"].astype(float), []
    for high, low in STEPS:
        known = high in place and low in place
        contrast = np.zeros(len(place))
        if known:
            contrast[[place[high], place[low]]] = 1, -1
        error = float(np.sqrt(contrast @ covariance @ contrast)) if known else np.nan
        rows.append({"term": f"{high} less {low}", "estimate": means[high] - means[low], "std_error": error})
    steps = pd.DataFrame(rows)
    steps.loc[steps["estimate"].isna(), "std_error"] = np.nan
    t = stats.t.ppf((1 + confidence) / 2, sample.units.df)
    steps["conf_low"], steps["conf_high"] = (
        steps["estimate"] - t * steps["std_error"],
        steps["estimate"] + t * steps["std_error"],
    )
    steps["p_value"] = 2 * stats.t.sf(np.abs(steps["estimate"] / steps["std_error"]), sample.units.df)
    steps["p_adjusted"] = adjusted_p_values(steps["p_value"], correction="holm")
    return steps
