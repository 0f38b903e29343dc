"""Can a unit's mean be trusted? And the table in which employees and customers of units meet.

References
----------
Shrout & Fleiss (1979), Psychological Bulletin 86:420-428; Searle, Casella & McCulloch (1992), *Variance Components*.
"""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pandas as pd

from cxresearch import digits
from cxresearch.chain.finding import opened
from cxresearch.errors import DataProblem, TooFewRespondents, require_columns
from cxresearch.findings import Check, Statement, interval, listing, number, words
from cxresearch.inference.pooling import intraclass, one_way
from cxresearch.survey import Table, as_survey, as_table

say = words(__package__)

NOISY = 0.6  # reliability under which a unit's mean is too noisy to link


def unit_reliability(
    answers, *, item: str, unit: str, period: str | None = None, n: str | None = None, sd: str | None = None,
    confidence: float = 0.95, min_answers: int = 10,
) -> Statement:  # fmt: skip
    """Return how far means of units can be told from chance: ICC with interval, reliability of each unit's mean.

    Parameters
    ----------
    answers : Survey, Table or DataFrame
        One row per answer; or per mean of a unit and period, then with `n` and `sd`, the columns of how many answered
        and their standard deviation. Without these reliability is unknown, and stability over periods is given.
    item, unit, period : columns
        With a period, a mean is that of a unit in a period.
    min_answers : int
        Means of fewer persons (or than the floor) are left out and counted.

    Raises
    ------
    DataProblem
        Text for numbers, a unit twice in a period where rows are means.
    TooFewRespondents
        Fewer than two means are large enough.

    Notes
    -----
    ICC(1) = (MSB - MSW) / (MSB + (k - 1) MSW), k = (N - sum n^2/N)/(J - 1), interval from F (Searle); reliability of a
    mean n r / (1 + n r), r the ratio of variances by REML.

    Examples
    --------
    >>> import cxresearch as cx
    >>> study = cx.open_study("data/example/study.yml")
    >>> responses = study.described(study.responses)
    >>> print(cx.unit_reliability(responses, item="satisfaction", unit="branch"))
    A mean of Overall satisfaction by Branch can be told from chance: reliability 0.75 at 54 answers ...
    """
    given = opened(answers, item, unit, period, n, sd, confidence=confidence)
    values, keys = given.numbers(item), [unit, *([period] if period else [])]
    rows = ~np.isnan(values) & given.table[keys].notna().all(axis=1).to_numpy()
    code, names = pd.factorize(pd.Series([", ".join(map(str, row)) for row in given.table[keys].to_numpy()]))
    once = bool(period) and rows.any() and np.bincount(code[rows]).max() == 1
    if once and (n is None or sd is None):
        return _stability(given, values, rows, item, unit, period, confidence)
    floor, weights = max(min_answers, given.floor), np.ones(len(values)) if n is None else given.numbers(n)
    base = given.base(code, np.flatnonzero(rows)) if n is None else np.bincount(code[rows], weights[rows], len(names))
    kept, met = rows & (base[code] >= floor), np.unique(code[rows])
    if len(np.unique(code[kept])) < 2:
        raise TooFewRespondents(
            f"{len(met)} units hold an answer to {item}, fewer than 2 of them from {floor} persons or more"
        )
    scores, group = values[kept], code[kept]
    if n is not None:
        scores, group = _rows_of(scores, weights[kept], given.numbers(sd)[kept], group)
    fitted, icc = one_way(scores, group), intraclass(scores, group, confidence=confidence)
    table = pd.DataFrame({
        "unit": names[fitted.names], "estimate": fitted.reliability, "mean": fitted.means, "sd_within": np.sqrt(fitted.within),
        "n": fitted.n,
    })  # fmt: skip
    table = table.iloc[digits.descending(table["estimate"], table["unit"])].reset_index(drop=True)
    weak, j, total, sure = (
        int((fitted.reliability < NOISY).sum()),
        len(table),
        int(fitted.n.sum()),
        icc.single > 0 and icc.low > 0,
    )
    known = dict(item=given.label(item), by=listing(map(given.label, keys)), j=j, n=number(total, 0))
    first = (
        say("reliable", average=number(icc.average, 2), size=number(icc.size, 0), **known)
        if sure
        else say("unreliable", **known)
    )
    words = (
        first,
        say(
            "icc",
            icc=number(icc.single, 3),
            span=interval(icc.low, icc.high, confidence, 3),
            weak=weak,
            j=j,
            limit=NOISY,
        ),
    )
    hidden = len(met) - j
    checks = (Check("means of fewer persons than asked for, left out", hidden, "0", hidden == 0, "info"),
              Check(f"units with reliability under {NOISY}", weak, "0", weak == 0), *given.checks)  # fmt: skip
    summary = {"icc": icc.single, "icc_low": icc.low, "icc_high": icc.high, "icc_mean": icc.average, "units": j, "n": total,
               "sd_between": np.sqrt(fitted.between), "sd_within": np.sqrt(fitted.within),
               "method": "one-way REML; ICC with F interval", "established": bool(sure)}  # fmt: skip
    return Statement(
        "unit_reliability", item, ", ".join(keys), table, summary, checks, words=" ".join(words),
        suppressed=hidden, **given.finding, drawn=dict(low="estimate", high="estimate", unit="reliability of the mean, 0-1", line=NOISY),
    )  # fmt: skip


def _rows_of(means, n, sd, group) -> tuple[np.ndarray, np.ndarray]:
    """Return answers with these sizes, means and standard deviations, which is all that variances depend on."""
    n, signs = n.astype(int), lambda m: np.tile([1.0, -1.0], m // 2 + 1)[:m] * (np.arange(m) < m - m % 2)  # noqa: E731
    rows = [m + s * np.sqrt((k - 1) / max(k - k % 2, 1)) * signs(k) for m, s, k in zip(means, sd, n)]
    return np.concatenate(rows), np.repeat(group, n)


def _stability(given, values, rows, item, unit, period, confidence) -> Statement:
    """Return how alike a unit's means of several periods are: all that means alone can tell."""
    icc = intraclass(values[rows], given.table[unit].to_numpy()[rows], confidence=confidence)
    periods, n = given.table[period][rows].nunique(), int(rows.sum())
    table = pd.DataFrame(
        {"term": ["one period's mean"], "estimate": icc.single, "conf_low": icc.low, "conf_high": icc.high, "n": n}
    )
    words = (say("unknown", item=given.label(item), by=given.label(unit), n=n),
             say("stable", periods=periods, icc=number(icc.single, 3), span=interval(icc.low, icc.high, confidence, 3)))  # fmt: skip
    check = Check("n and sd of each mean are known", "unknown", "columns n and sd", False, "stops")
    summary = {"icc": icc.single, "icc_low": icc.low, "icc_high": icc.high, "icc_mean": icc.average, "n": n,
               "method": "stability over periods; ICC with F interval", "established": False}  # fmt: skip
    return Statement("unit_reliability", item, unit, table, summary, (check, *given.checks), words=" ".join(words),
                        drawn=dict(unit="ICC of a unit's means over periods"), **given.finding)  # fmt: skip


def unit_panel(
    employees, answers, *, items: Sequence[str], unit: str = "unit", period: str = "period", answers_unit: str | None = None,
    n: str | None = None, min_answers: int = 10,
) -> Table:  # fmt: skip
    """Return one row per unit and period: what its employees said, and the means of what its customers said.

    Parameters
    ----------
    employees : Table or DataFrame
        One row per unit and period.
    answers : Survey
        With waves that are periods of the employees.
    items : sequence of str
        Of the answers; their means, by weight, stand in columns of these names, their base in ``n_answers``; None is none.
    unit, period, answers_unit : columns
        Of the employees; the unit's column in the answers, where it has another name.
    n : column, optional
        How many employees answered: rows of fewer than the floor are left out.
    min_answers : int
        Means of fewer customers (or than the floor) are missing.

    Raises
    ------
    DataProblem
        No unit and period is in both, or a unit stands twice in a period.

    Examples
    --------
    >>> import cxresearch as cx
    >>> study = cx.open_study("data/example/study.yml")
    >>> cx.unit_panel(
    ...     study.employees, study.described(study.responses), items=["staff", "satisfaction"], answers_unit="branch"
    ... )
    table: ... rows, one person: not named, floor 10
    """
    staff, survey, at = as_table(employees), as_survey(answers), answers_unit or unit
    items = [item for item in items if item is not None]
    table, said, wave = staff.table, survey.table, survey.wave or period
    require_columns(table, unit, period, n, where="employees")
    require_columns(said, at, wave, *items, where="the answers")
    if table.duplicated([unit, period]).any():
        raise DataProblem(
            f"employees: {unit} {table[unit][table.duplicated([unit, period])].iloc[0]!r} stands twice in one {period}; keep one row"
        )
    weights = np.ones(len(said)) if survey.weight is None else said[survey.weight].to_numpy(dtype=float)
    keys = [said[at].astype(str).rename("unit"), said[wave].astype(str).rename("period")]
    person = said[survey.respondent] if survey.respondent else pd.Series(np.arange(len(said)))
    found, floor = (
        {"n_answers": person.where(weights > 0).groupby(keys).nunique()},
        max(survey.min_base, staff.min_base),
    )
    for item in items:
        score = pd.to_numeric(said[item]).astype(float)
        mean = (score * weights).groupby(keys).sum() / (weights * score.notna()).groupby(keys).sum()
        base = person.where(score.notna() & (weights > 0)).groupby(keys).nunique()
        found[item] = mean.where(base >= max(min_answers, floor))
    found = pd.DataFrame(found).dropna(subset=items, how="all").reset_index()
    hidden = np.zeros(len(table), dtype=bool) if n is None else (pd.to_numeric(table[n]) < floor).to_numpy()
    own = table[~hidden].assign(unit=table[unit].astype(str), period=table[period].astype(str))
    joined = own.drop(columns=[c for c in items if c in own]).merge(found, on=["unit", "period"])
    if joined.empty:
        raise DataProblem(
            f"no {unit} and {period} is in both tables with {max(min_answers, floor)} answers or more: employees has "
            f"{listing(own['unit'].unique()[:3])} in {listing(own['period'].unique()[:3])}, the answers have "
            f"{listing(keys[0].unique()[:3])} in {listing(keys[1].unique()[:3])}; write them alike"
        )
    return replace(staff, data=joined, labels={**survey.labels, **staff.labels}, min_base=floor)
