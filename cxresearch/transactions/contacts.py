"""Contacts with the company beside purchases: how often, and how much of it by digital channels."""

import pandas as pd

from cxresearch.errors import DataProblem, require_columns
from cxresearch.inference.events import opened, quoted, require_fields, time_sql
from cxresearch.survey import as_survey, as_table
from cxresearch.transactions.queries import moment
from cxresearch.transactions.source import require_one_id_type
from cxresearch.transactions.windows import Window, as_window


def add_contacts(
    behaviour: pd.DataFrame,
    interactions,
    *,
    customer: str,
    time: str,
    channel: str,
    digital,
    until,
    window=None,
    time_zone: str | None = None,
) -> pd.DataFrame:
    """Return a table of behaviour with what its customers asked of the company in the same window.

    Parameters
    ----------
    behaviour : DataFrame
        One row per customer, with `frequency`, as `behaviour` returns it.
    interactions : path, glob, folder, DataFrame, DuckDB connection or relation
        One row per contact.
    customer, time, channel : str
        Columns of `interactions`; `customer` has the same name and type in `behaviour`.
    digital : list of str
        The channels that count as digital, such as ``["email", "chat"]``.
    until, window, time_zone
        As in `behaviour`, and the same as there: contacts after `until` could be about what comes later.

    Returns
    -------
    DataFrame
        The rows and columns of `behaviour`, then ``contacts`` (in the window), ``contact_share`` (contacts / (contacts +
        purchases), 0-1) and ``digital_share`` (of the contacts with a known channel, 0-1; missing without any).
        ``attrs["contacts"]`` is their waterfall: a list of step, rows, removed, reason.

    Raises
    ------
    DataProblem
        For unknown columns, times as in `behaviour`, customers that repeat, a window other than that of `behaviour`, and
        names in `digital` that no contact has.

    Examples
    --------
    >>> import cxresearch as cx
    >>> study = cx.open_study("data/example/study.yml")
    >>> observed = {"until": "2025-01-01", "window": "12 months", "customer": "customer", "time": "time"}
    >>> table = cx.behaviour(study.transactions, amount="amount", **observed)
    >>> asked = cx.add_contacts(table, study.interactions, channel="channel", digital=["email"], **observed)
    >>> sorted(set(asked) - set(table))
    ['contact_share', 'contacts', 'digital_share']
    """
    behaviour, interactions = as_survey(behaviour).table, as_table(interactions).data
    require_columns(behaviour, customer, "frequency", where="the table of behaviour")
    if behaviour[customer].duplicated().any():
        raise DataProblem(f"{customer} repeats in the table of behaviour; pass one row per customer")
    period = as_window(until, window)
    _require_same_window(behaviour, period)
    require_one_id_type(interactions, customer)
    with opened(interactions, threads=None, memory_limit=None) as relation:
        require_fields(relation, customer, time, channel, where="interactions")
        when = time_sql(relation, time, time_zone)
        rows = (
            f"SELECT {quoted(customer)} AS customer, {when} AS time, {quoted(channel)}::VARCHAR AS channel FROM source"
        )
        _require_channels(relation, rows, channel, list(digital))
        counts, lost = _counted(relation, rows, period, list(digital))
    return _joined(behaviour, counts, lost, customer, period)


def _require_same_window(behaviour: pd.DataFrame, period: Window) -> None:
    start = None if period.start is None else str(period.start)
    for name, value in (("window_until", str(period.until)), ("window_start", start)):
        if name in behaviour.attrs and behaviour.attrs[name] != value:
            raise DataProblem(
                f"behaviour was observed with {name} {behaviour.attrs[name]}, contacts would be with {value}; "
                "pass the same until and window"
            )


def _require_channels(relation, rows: str, column: str, digital: list[str]) -> None:
    found = [r[0] for r in relation.query("source", f"SELECT DISTINCT channel FROM ({rows}) ORDER BY 1").fetchall()]
    unknown = [name for name in digital if name not in found]
    if unknown or not digital:
        raise DataProblem(
            f"digital={digital!r} names {unknown or 'no channel'}; {column} holds {', '.join(n for n in found if n)}"
        )


def _counted(relation, rows: str, period: Window, digital: list[str]):
    """Return contacts by customer, and the rows that are incomplete, too late and too early."""
    complete, late = "customer IS NOT NULL AND time IS NOT NULL", f"time >= {moment(period.until)}"
    early = "false" if period.start is None else f"time < {moment(period.start)}"
    names = ", ".join("'" + name.replace("'", "''") + "'" for name in digital)
    counts = relation.query(
        "source",
        f"SELECT customer, count(*) AS contacts, count(channel) AS known, count(*) FILTER (channel IN ({names})) AS digital "
        f"FROM ({rows}) WHERE {complete} AND NOT {late} AND NOT {early} GROUP BY customer ORDER BY customer",
    ).df()
    lost = relation.query(
        "source",
        f"SELECT count(*) FILTER (NOT ({complete})), count(*) FILTER ({complete} AND {late}), "
        f"count(*) FILTER ({complete} AND {early}) FROM ({rows})",
    ).fetchall()[0]
    return counts, lost


def _joined(behaviour: pd.DataFrame, counts: pd.DataFrame, lost, customer: str, period: Window) -> pd.DataFrame:
    known = counts[counts["customer"].isin(behaviour[customer])]
    per = known.set_index("customer").reindex(behaviour[customer]).fillna(0).reset_index(drop=True)
    out = behaviour.reset_index(drop=True)
    out["contacts"] = per["contacts"].astype("int32")
    out["contact_share"] = per["contacts"] / (per["contacts"] + out["frequency"]).where(lambda n: n > 0)
    out["digital_share"] = per["digital"] / per["known"].where(per["known"] > 0)
    used = int(counts["contacts"].sum())
    steps = [{"step": "received", "rows": used + sum(lost), "removed": 0, "reason": ""}]
    reasons = ("no customer or time", f"at or after {period.until}", f"before {period.start}")
    removed = (*lost, used - int(known["contacts"].sum()))
    names = ("complete", "before until", "in window", "matched")
    for step, n, reason in zip(names, removed, (*reasons, "customer without a transaction in the window")):
        steps.append({"step": step, "rows": steps[-1]["rows"] - n, "removed": n, "reason": reason if n else ""})
    out.attrs = behaviour.attrs | {"contacts": steps}
    return out
