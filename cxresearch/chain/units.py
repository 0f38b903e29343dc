"""Can a unit's mean be trusted? And the table in which employees and customers of units meet.

References
----------
Shrout & Fleiss (1979), Psychological Bulletin 86:420-428; Searle, Casella & McCulloch (1992), *Variance Components*.
"""

from dataclasses import replace

import numpy as np
import pandas as pd

from cxresearch import digits
from cxresearch.chain.rows import NOISY, opened, require_once, say
from cxresearch.errors import require_columns
from cxresearch.findings import Check, Statement, ends, listing
from cxresearch.inference.pooling import intraclass, one_way
from cxresearch.survey import Table, as_survey, as_table
from cxresearch.survey.survey import person_codes


def unit_reliability(
    answers, *, item, unit, period=None, n=None, sd=None, confidence: float = 0.95, min_answers: int = 10
) -> Statement:
    """Return how far means of units can be told from chance: ICC with interval, reliability of each unit's mean.

    ICC(1) = (MSB - MSW) / (MSB + (k - 1) MSW), k = (N - sum n^2/N)/(J - 1), interval from F; reliability of a mean
    n r / (1 + n r), r the ratio of variances by REML (Searle et al. 1992).

    Parameters
    ----------
    answers : Survey, Table or DataFrame
        One row per answer; or per mean of a unit and period, of which `n` and `sd` tell how many answered and their
        standard deviation: without these reliability is unknown, and stability over periods is given.
    item, unit, period, n, sd : columns
    min_answers : int, means of fewer persons (or than the floor) are left out and counted

    Raises
    ------
    DataProblem
        Text for numbers, a unit twice in a period where rows are means, fewer than two means that are large enough.

    Examples
    --------
    >>> responses = (study := cx.open_study("data/example/study.yml")).described(study.responses)
    >>> print(cx.unit_reliability(responses, item="satisfaction", unit="branch"))
    A mean of Overall satisfaction by Branch can be told from chance: reliability 0.75 at 54 answers ...
    """
    delivered = (n, sd) if n is not None and sd is not None else ()
    keys = [unit, *([] if period is None else [period])]
    given = opened(answers, *keys, numbers=[item, *delivered], confidence=confidence)
    table, known = given.table, dict(item=given.label(item), by=listing(map(given.label, keys)), limit=NOISY)
    code, names = pd.factorize(pd.Series([", ".join(map(str, row)) for row in table[keys].to_numpy()], dtype=object))
    if delivered:
        require_once(table, keys, "the table of means")
    elif period is not None and len(names) == len(table) > 0:  # one row per unit and period
        return _stability(given, item, unit, period)
    floor = max(min_answers, given.min_base)
    base = np.bincount(code, table[n], len(names)) if delivered else given.base(code)
    kept, j = base[code] >= floor, int((base >= floor).sum())
    say.refuse_if(j < 2, "few_in_units", units=len(names), item=item, floor=floor)
    scores, group = table[item].to_numpy()[kept], code[kept]
    if delivered:
        scores, group = _answers_of(scores, table[n].to_numpy()[kept], table[sd].to_numpy()[kept], group)
    fitted, icc = one_way(scores, group), intraclass(scores, group, confidence=confidence)
    columns = {"unit": names[fitted.names], "estimate": fitted.reliability, "mean": fitted.means}
    found = pd.DataFrame(columns | {"sd_within": np.sqrt(fitted.within), "n": fitted.n})
    found = found.iloc[digits.descending(found["estimate"], found["unit"])].reset_index(drop=True)
    weak, sure = int((fitted.reliability < NOISY).sum()), icc.low > 0
    summary = ends("icc", icc.single, icc.low, icc.high)
    summary |= {"icc_mean": icc.average, "units": j, "n": int(fitted.n.sum())}
    summary |= {"sd_between": np.sqrt(fitted.between), "sd_within": np.sqrt(fitted.within)}
    summary |= {"method": "one-way REML; ICC with F interval", "established": sure}
    told = dict(keys=["reliable" if sure else "unreliable", "icc"], known=known | dict(size=icc.size, weak=weak))
    told["checks"] = [Check(f"units with reliability under {NOISY}", weak, "0", weak == 0)]
    told["left"] = "means of fewer persons than asked for", len(names) - j
    drawn = dict(low="estimate", high="estimate", unit="reliability of the mean, 0-1", line=NOISY)
    return given.found("unit_reliability", item, ", ".join(keys), found, summary=summary, **told, **drawn)


def _answers_of(means, n, sd, group) -> tuple[np.ndarray, np.ndarray]:
    """Return answers with these sizes, means and standard deviations, which is all that variances depend on."""
    rows = []
    for mean, size, spread in zip(means, n.astype(int), sd):
        signs = np.append(np.resize([1.0, -1.0], size - size % 2), np.zeros(size % 2))
        rows.append(mean + spread * np.sqrt((size - 1) / max(size - size % 2, 1)) * signs)
    return np.concatenate(rows), np.repeat(group, n.astype(int))


def _stability(given, item, unit, period) -> Statement:
    """Return how alike a unit's means of several periods are: all that means alone can tell."""
    icc, n = intraclass(given.table[item], given.table[unit], confidence=given.confidence), len(given.table)
    row = [{"term": "one period's mean", **ends("estimate", icc.single, icc.low, icc.high), "n": n}]
    summary = ends("icc", icc.single, icc.low, icc.high) | {"icc_mean": icc.average, "n": n}
    summary |= {"method": "stability over periods; ICC with F interval", "established": False}
    known = dict(item=given.label(item), unit=given.label(unit), periods=given.table[period].nunique())
    told = dict(keys=["unknown", "stable"], summary=summary, known=known, unit="ICC of a unit's means over periods")
    told["checks"] = [Check("n and sd of each mean are known", "unknown", "columns n and sd", False, "stops")]
    return given.found("unit_reliability", item, unit, pd.DataFrame(row), **told)


def unit_panel(
    employees, answers, *, items, unit="unit", period="period", answers_unit=None, n=None, min_answers: int = 10
) -> Table:
    """Return one row per unit and period: what its employees said, and the means of what its customers said.

    Parameters
    ----------
    employees : Table or DataFrame
        One row per `unit` and `period`; with the column `n`, how many answered, rows under the floor leave and are counted.
    answers : Survey, its waves are the periods; `answers_unit` is the unit's column where it has another name there
    items : sequence of columns of the answers, their means, by weight, take these names; None is none. Of fewer than
        `min_answers` persons (or than the floor) they are missing.

    Raises
    ------
    DataProblem
        No unit and period is in both, or a unit stands twice in a period.

    Examples
    --------
    >>> responses = (study := cx.open_study("data/example/study.yml")).described(study.responses)
    >>> cx.unit_panel(study.employees, responses, items=["staff", "satisfaction"], answers_unit="branch")
    table: ... rows, one person: not named, floor 10
    """
    staff, survey, at = as_table(employees), as_survey(answers), answers_unit or unit
    items, keys, wave = [item for item in items if item is not None], ["unit", "period"], survey.wave or period
    own, said, floor = staff.table, survey.table, max(survey.min_base, staff.min_base)
    require_columns(own, unit, period, n, where="employees")
    require_columns(said, at, wave, *items, where="the answers")
    require_once(own, [unit, period], "employees")
    weights = np.ones(len(said)) if survey.weight is None else said[survey.weight].to_numpy(dtype=float)
    person = person_codes(said[survey.respondent]) if survey.respondent else np.arange(len(said))
    rows = said[[at, wave]].astype(str).set_axis(keys, axis=1).assign(weight=weights, person=person)
    means = {}
    for item in items:
        scored = rows.assign(score=pd.to_numeric(said[item]) * weights)[said[item].notna() & (weights > 0)]
        scored = scored.groupby(keys)
        enough = scored["person"].nunique() >= max(min_answers, floor)
        means[item] = (scored["score"].sum() / scored["weight"].sum()).where(enough)
    means = pd.DataFrame(means).dropna(how="all").reset_index()
    few = np.zeros(len(own), dtype=bool) if n is None else (pd.to_numeric(own[n]) < floor).to_numpy()
    shown = own[~few].assign(unit=own[unit].astype(str), period=own[period].astype(str))
    panel = shown.drop(columns=items, errors="ignore").merge(means, on=keys)
    have = (listing(t[key].unique()[:3]) for t in (shown, rows) for key in keys)
    have = dict(zip(("there", "then", "here", "now"), have), unit=unit, period=period, floor=max(min_answers, floor))
    say.refuse_if(panel.empty, "no_panel", **have)
    left = Check("rows of fewer employees than the floor, left out", int(few.sum()), "0", not few.any(), "info")
    panel.attrs["checks"] = (left,)
    return replace(staff, data=panel, labels={**survey.labels, **staff.labels}, min_base=floor)
