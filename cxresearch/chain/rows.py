"""What the findings of the room share: the rows they open, the statement they make, slopes clustered by unit."""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from cxresearch.errors import DataProblem, require_columns, require_share
from cxresearch.findings import Check, Finding, Statement, ends, words
from cxresearch.inference import t_interval
from cxresearch.inference.clusters import cr2
from cxresearch.survey import Survey, Table, as_table
from cxresearch.survey.sample import distinct
from cxresearch.survey.survey import person_codes

say = words(__package__)

NOISY = 0.6  # reliability under which a unit's mean is too noisy to link
UNITS = 30  # with fewer the numbers between units are a description
FEW_CLUSTERS = 40  # below it the errors are CR2 with Bell and McCaffrey's degrees of freedom


@dataclass(frozen=True, eq=False, repr=False)
class Opened(Survey):
    """The rows of an analysis, which count alike, with what is known of them."""

    confidence: float = 0.95
    checks: tuple[Check, ...] = ()

    def base(self, code) -> np.ndarray:
        """Return how many distinct persons, or rows where these are not named, each code counts."""
        k = int(np.max(code, initial=-1)) + 1
        if self.respondent is None or not k:
            return np.bincount(code, minlength=k)
        return distinct(code, person_codes(self.table[self.respondent]), k)

    def found(self, *question, keys, summary, known, checks=(), left=None, figure=None, **drawn) -> Statement:
        """Return function, outcome, group and table as a finding; `left` says what was left out, and how often."""
        what, hidden = left or ("", 0)
        out = (Check(f"{what}, left out", hidden, "0", not hidden, "info"),) if left else ()
        question = *question, summary, (*checks, *out, *self.checks)
        options = dict(suppressed=hidden, figure=figure, drawn=drawn)
        return Statement.of(say, keys, known, self.confidence, *question, source=self, **options)


def opened(data, *keys, numbers, confidence: float, gaps: bool = False) -> Opened:
    """Return the rows that know all `keys` and (but for `gaps`) `numbers`, these as floats; None asks for nothing."""
    if isinstance(data, Finding):  # of a step before this one, that could not be taken
        raise DataProblem(data.sentence().rstrip("."))
    require_share("confidence", confidence)
    source = data if isinstance(data, (Survey, Table)) else as_table(data)
    keys, numbers = ([c for c in columns if c is not None] for columns in (keys, numbers))
    require_columns(table := source.table, *keys, *numbers, where="the table")
    for column in numbers:
        values = pd.to_numeric(table[column], errors="coerce").astype(float)
        text = (values.isna() & table[column].notna()).to_numpy()
        first = dict(row=(at := text.argmax()), value=next(iter(table[column].iloc[at:]), None))
        say.refuse_if(text.any(), "no_numbers", column=column, **first)
        table = table.assign(**{column: values})
    checks, weight = tuple(table.attrs.get("checks", ())), getattr(source, "weight", None)
    if weight:
        checks += (Check("weights", weight, "rows with a weight above zero count alike here", False, "info"),)
        table = table[table[weight] != 0]
    person = getattr(source, "respondent", None) or getattr(source, "person", None)
    table = table.dropna(subset=keys if gaps else [*keys, *numbers]).reset_index(drop=True)
    known = dict(labels=source.labels, min_base=source.min_base, condition=getattr(source, "condition", ""))
    return Opened(table, respondent=person, confidence=confidence, checks=checks, **known)


def require_once(table: pd.DataFrame, keys, where: str) -> None:
    """Refuse a table that holds a unit (of a period) twice."""
    unit, *period = keys
    twice, within = table[unit][table.duplicated(keys)].tolist(), f" in one {period[0]}" if period else ""
    say.refuse_if(twice, "twice", where=where, unit=unit, value=next(iter(twice), None), within=within)


def slopes(table: pd.DataFrame, y: str, columns: list, confidence: float, *, effects: str | None = None) -> dict:
    """Return the slope of `y` on the first of `columns`, the others given, clustered by ``unit``.

    Under 40 units CR2 with its degrees of freedom, else CR1 with t on units less one. `effects` have an intercept each.
    """
    import statsmodels.api as sm

    known = table.dropna(subset=[y, *columns])
    code, names = pd.factorize(known["unit"])
    say.refuse_if((units := len(names)) < 3, "no_units", y=y, x=columns[0], units=units)
    each = np.ones(len(known)) if effects is None else pd.get_dummies(known[effects]).to_numpy(dtype=float)
    X = np.column_stack([known[columns], each])
    fit = sm.OLS(known[y].to_numpy(), X).fit(cov_type="cluster", cov_kwds={"groups": code}, use_t=True)
    covariance, df = cr2(X, fit.resid, code) if units < FEW_CLUSTERS else (fit.cov_params(), [units - 1])
    *found, p = map(float, t_interval(fit.params[0], error := np.sqrt(covariance[0, 0]), df[0], confidence))
    return ends("estimate", *found) | {"std_error": float(error), "p_value": p, "n": len(known), "units": units}


def clear(row) -> bool:
    """Return whether an interval excludes zero."""
    return bool(row["conf_low"] > 0 or row["conf_high"] < 0)


def standard(values: pd.Series) -> pd.Series:
    """Return values less their mean, in standard deviations."""
    say.refuse_if(not values.std() > 0, "no_variance", name=values.name)
    return (values - values.mean()) / values.std()
