"""Tables of different things joined: employees and answers by unit and period, ratings and the contacts they are about."""

from dataclasses import replace

import numpy as np
import pandas as pd

from cxresearch.errors import DataProblem, require_columns
from cxresearch.findings import Check, listing
from cxresearch.survey import Survey, Table, as_survey, as_table
from cxresearch.survey.survey import person_codes


def unit_panel(
    employees, answers, *, items, unit="unit", period="period", answers_unit=None, n=None, min_answers: int = 10
) -> Table:
    """Return one row per unit and period: what its employees said, and the means of what its customers said.

    Parameters
    ----------
    employees, n : one row per `unit` and `period`; the column of how many answered: fewer than the floor leave
    answers, answers_unit : Survey, its waves are the periods; its column of units where that has another name
    items, min_answers : columns of the answers (None is none): weighted means, of so many persons and the floor

    Examples
    --------
    >>> responses = (study := cx.open_study("data/example/study.yml")).described(study.responses)
    >>> cx.unit_panel(study.employees, responses, items=["staff", "satisfaction"], answers_unit="branch")
    table: ... rows, one person: not named, floor 10
    """
    staff, survey, keys = as_table(employees), as_survey(answers), ["unit", "period"]
    named = [item for item in items or () if item is not None]
    if not named or {*named} & {*keys}:
        raise DataProblem(f"items={items!r} must name columns of the answers, none of them called unit or period")
    said, at, wave = survey.table, answers_unit or unit, survey.wave or period
    require_columns(staff.table, unit, period, *([n] if n else []), where="employees")
    require_columns(said, at, wave, *named, where="the answers")
    own = staff.table.dropna(subset=[unit, period])
    require_once(own, unit, period, where="employees")
    person = person_codes(said[survey.respondent]) if survey.respondent else np.arange(len(said))
    rows = said[[at, wave]].astype(str).set_axis(keys, axis=1).assign(weight=survey.weights(), person=person)
    means, floor = {}, max(survey.min_base, staff.min_base)
    for item in named:
        scored = rows.assign(score=values_of(said[item]) * rows["weight"])
        cells = scored[said[item].notna() & (rows["weight"] > 0)].groupby(keys)
        enough = cells["person"].nunique() >= (least := max(min_answers, floor))
        means[item] = (cells["score"].sum() / cells["weight"].sum()).where(enough)
    few = np.zeros(len(own), dtype=bool) if n is None else ~(values_of(own[n]) >= floor)  # nor where nobody knows
    shown = own[~few]
    shown[keys] = shown[[unit, period]].astype(str)
    means = pd.DataFrame(means).dropna(how="all").reset_index()
    panel = shown.drop(columns=named, errors="ignore").merge(means, on=keys)
    if panel.empty:
        units, periods, their_units, theirs = (listing(t[key].unique()[:3]) for t in (shown, rows) for key in keys)
        told = f"no {unit} and {period} is in both tables with {least} answers or more: employees has"
        raise DataProblem(f"{told} {units} in {periods}, the answers have {their_units} in {theirs}; write them alike")
    left = "rows of fewer employees than the floor, left out"
    panel.attrs["checks"] = (Check(left, int(few.sum()), "0", not few.any(), "info"),)
    return replace(staff, data=panel, labels={**survey.labels, **staff.labels}, min_base=floor)


def rated_contacts(responses, interactions, *, rating, within_days: int = 30) -> Survey:
    """Return the ratings with the contact that each is about: its agent, channel, time, ``month`` and ``occasion``.

    `interactions` has one row per contact, with its ``time``. Where both tables name the ``contact``, this joins them;
    else a rating is of the ``customer``'s last in `within_days` before the answer, and a check says so.

    Examples
    --------
    >>> cx.rated_contacts(study.responses, study.interactions, rating="support")
    survey: ... rows, weighted by weight, strata stratum, cluster cluster, floor 10
    """
    if isinstance(within_days, bool) or not isinstance(within_days, (int, np.integer)) or within_days < 0:
        raise DataProblem(f"within_days={within_days!r} must be a whole number, 0 or more")
    survey, contacts = as_survey(responses), as_table(interactions).table
    require_columns(survey.table, rating, where="responses")
    rated, asked = survey.table.dropna(subset=[rating]), survey.asked_at or "asked_at"
    named = "contact" in rated and "contact" in contacts
    require_columns(contacts, "time", by := "contact" if named else "customer", where="interactions")
    contacts = contacts[[c for c in contacts if c in (by, "time") or c not in rated]].dropna(subset=[by])
    called, contacts["time"] = contacts["time"], values_of(contacts["time"], "interactions")
    if by in rated and rated[by].dtype != contacts[by].dtype:  # 7 and, since some id is missing, 7.0
        rated, contacts = rated.astype({by: object}), contacts.astype({by: object})
    if named:
        found, how = rated.drop(columns="time", errors="ignore").merge(contacts, on=by), "named by id"
    else:
        require_columns(rated, by, asked, where="responses")
        times = [t.dropna()[:1] if t.dtype.kind == "M" else t for t in (rated[asked], called)]  # all of one zone
        if pd.concat([t.astype("string") for t in times]).str.contains(r":[\d.]+(?:Z|[+-][\d:]+)$").nunique() > 1:
            told = f"some of {asked} and time are of a time zone, others are not: which came first is not known"
            raise DataProblem(told)
        rated = rated.assign(answered=values_of(rated[asked], "responses")).drop(columns="time", errors="ignore")
        rated = rated.dropna(subset=[by, "answered"]).sort_values("answered", kind="stable")
        sides = dict(left_on="answered", right_on="time", by=by, tolerance=pd.Timedelta(days=within_days))
        dated = contacts.dropna(subset=["time"]).sort_values("time", kind="stable")
        found = pd.merge_asof(rated, dated, **sides).dropna(subset=["time"])
        how = f"the customer's last within {within_days} days before the answer"
    if found.empty:
        told = f"no rating {rating!r} has a contact: neither by id nor within {within_days} days before the answer"
        raise DataProblem(told)
    if named:  # each rating is of one contact
        require_once(contacts[contacts[by].isin(found[by])], by, where="interactions")
    occasion = found[by] if named else found[by].astype(str) + " " + found["time"].astype(str)
    found = found.assign(month=found["time"].dt.strftime("%Y-%m"), occasion=occasion).reset_index(drop=True)
    found.attrs["checks"] = (Check("the contact of a rating", how, "named by id", named),)
    return survey.with_table(found, **({"asked_at": None} if survey.asked_at == "time" else {}))  # it is the contact's


def require_once(table: pd.DataFrame, first: str, *second: str, where: str) -> None:
    """Refuse a table in which a key, or two together, stands twice."""
    for value in table[first][table.duplicated([first, *second])]:
        within = "".join(f" in one {key}" for key in second)
        raise DataProblem(f"{where}: {first} {value!r} stands twice{within}; keep one row")


def values_of(given: pd.Series, times_of: str = "") -> pd.Series:
    """Return a column as floats, or as times of a table, those of a zone in UTC; what cannot be read is refused."""
    if times_of:
        given = given if given.dtype.kind == "M" else given.astype("string")  # numbers would count from 1970
        values = pd.to_datetime(given, errors="coerce", format="ISO8601", utc=True).dt.tz_localize(None)
        values, kind, where = values.astype("datetime64[us]"), "times", f"{times_of}: "
    else:
        values = pd.to_numeric(given.astype(object), errors="coerce").astype(float).replace([np.inf, -np.inf], np.nan)
        kind, where = "numbers", ""
    for row in np.flatnonzero(values.isna() & given.notna()):
        told = f"{where}{given.name} must hold {kind}; row {row} and others hold none, such as {given.iloc[row]!r}"
        raise DataProblem(told)
    return values
