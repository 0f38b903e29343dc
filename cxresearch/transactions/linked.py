"""Responses joined to the revenue before and after them, inside DuckDB: one row a response, none lost silently."""

import warnings
from dataclasses import replace

import numpy as np
import pandas as pd

from cxresearch.errors import DataProblem, require_columns
from cxresearch.inference.events import amount_sql, id_sql, opened, quoted, require_one_id_type, time_sql, waterfall_of
from cxresearch.privacy.identifiers import looks_like
from cxresearch.survey import Survey, as_survey, as_table
from cxresearch.transactions.windows import as_length

LABELS = {
    "revenue_before": "revenue before the answer",
    "purchases_before": "purchases before the answer",
    "revenue_after": "revenue after the answer",
    "purchases_after": "purchases after the answer",
    "after_complete": "payments cover the window after the answer",
}
EARLY, LATE = 0.05, 0.95  # of a wave's answers: a few stragglers do not shorten every window


def link_revenue(
    responses, transactions, *, customer: str, asked: str, time: str, amount: str, before, after,
    time_zone: str | None = None, threads: int | None = None, memory_limit: str | None = None,
) -> Survey:  # fmt: skip
    """Return each response with its customer's revenue in the window before and in the window after the answer.

    Parameters
    ----------
    responses : Survey or DataFrame
        One row per response with `customer` and `asked`.
    transactions : Table, path, glob, folder, DataFrame, DuckDB connection or relation
        As in `behaviour`; `customer` has the same name there.
    customer, asked, time, amount : str
        Columns.
    before, after : int or str
        Lengths of the windows: days, or ``'90 days'``, ``'12 months'``. Before: ``asked - before <= time < asked``;
        after: ``asked <= time < asked + after``. No transaction is in both windows of one response.
    time_zone, threads, memory_limit
        As in `behaviour`.

    Returns
    -------
    Survey
        The responses with their design, and revenue_before, revenue_after (sum of amounts, returns included, in their
        unit), purchases_before, purchases_after (amounts >= 0) and after_complete. A customer who bought nothing in a
        window has 0; a response without customer or time, or whose customer is in no transaction, has missing values.
        `after_complete` is False where the transactions end before the window does: that revenue is too low by
        construction. ``waterfall`` counts responses received, with a customer and a time, seen among the transactions,
        with windows that the transactions cover in full; rows are counted, not removed.

    Raises
    ------
    DataProblem
        For unknown columns, columns that would be overwritten, ids of mixed type, unreadable times or amounts, several
        currencies, a payment that lies years from all others, answers long after the last payment, or if no response
        meets a transaction.

    Warns
    -----
    UserWarning
        If the window after the answer is shorter than half of the times between a customer's purchases.

    Examples
    --------
    >>> import cxresearch as cx
    >>> study = cx.open_study("data/example/study.yml")
    >>> linked = cx.link_revenue(
    ...     study.responses, study.transactions, customer="customer", asked="asked_on", time="time",
    ...     amount="amount", before="90 days", after="90 days"
    ... )
    >>> linked.waterfall["rows"].tolist()
    [2213, 2213, 2204, 2204]
    """
    survey, events = as_survey(responses), as_table(transactions)
    table = survey.table
    require_columns(table, customer, asked, where="responses")
    taken = [c for c in LABELS if c in table.columns]
    if taken:
        raise DataProblem(f"responses already has {', '.join(taken)}; rename or drop them first")
    require_one_id_type(table, customer)
    require_one_id_type(events.data, customer)
    windows = _windows(table, customer, asked, as_length("before", before), as_length("after", after))
    with opened(events.data, threads=threads, memory_limit=memory_limit) as relation:
        require_columns(relation, customer, time, amount, where="transactions")
        used = (
            f"used AS (SELECT {id_sql(relation, customer)} AS id, {time_sql(relation, time, time_zone)} AS time, "
            f"{amount_sql(relation, amount)} AS amount FROM source WHERE {quoted(customer)} IS NOT NULL)"
        )
        last = _last(relation, used, time)
        sums, cycle = _sums(relation, used, windows)
    if not sums["known"].any():
        raise DataProblem(
            f"none of {len(table)} responses meets a transaction of its customer; compare the ids in {customer} of the two tables"
        )
    late = windows["start"] > last
    if late.any():
        raise DataProblem(
            f"{asked} holds {int(late.sum())} dates (latest {windows['asked'].max():%Y-%m-%d}) whose whole window before lies after "
            f"the last payment, {last:%Y-%m-%d}; correct them, or leave these answers out"
        )
    length = (windows["finish"] - windows["asked"]).dt.days.median()
    if cycle is not None and length < cycle:
        warnings.warn(
            f"the window of {length:.0f} days after an answer is shorter than the purchase cycle: half of the times between a "
            f"customer's purchases are {cycle:.0f} days or longer",
            stacklevel=2,
        )
    added = sums[sums["known"]].drop(columns="known")
    added["after_complete"] = (windows["finish"] <= last)[added.index].astype("boolean")
    found = table.assign(**{c: added[c].reindex(range(len(table))).array for c in LABELS})
    n, complete = len(windows), int(added["after_complete"].sum())
    waterfall = waterfall_of(len(table), [
        ("with customer and time", len(table) - n, f"no {customer} or {asked}"),
        ("matched", n - len(added), "the customer is in no transaction"),
        ("window complete", len(added) - complete, f"transactions end {last}"),
    ])  # fmt: skip
    known = {"currency": survey.currency or events.currency, "min_base": max(survey.min_base, events.min_base)}
    return survey.with_table(found, labels={**LABELS, **survey.labels}, waterfall=waterfall, **known)


def _windows(table: pd.DataFrame, customer: str, asked: str, before, after) -> pd.DataFrame:
    """Return id, asked, start and finish of the responses with a customer and a time, by their place."""
    if not pd.api.types.is_datetime64_any_dtype(table[asked]):
        raise DataProblem(
            f"{asked} holds no dates; declare it with role asked_at in study.yml, or convert it with pandas.to_datetime"
        )
    if getattr(table[asked].dtype, "tz", None) is not None:
        raise DataProblem(f"{asked} carries a time zone; convert it to local time without one")
    found = pd.DataFrame({"id": table[customer].to_numpy(), "asked": table[asked].to_numpy()}).dropna()
    found = found.assign(id=found["id"].map(looks_like), start=found["asked"] - before, finish=found["asked"] + after)
    return found.rename_axis("row")


def _last(relation, used: str, time: str) -> pd.Timestamp:
    """Return the last payment; refuse one that lies further from all others than they from each other, and over a year."""
    days = "SELECT DISTINCT time::DATE AS day FROM used WHERE isfinite(time)"
    asked = f"WITH {used}, days AS ({days}) SELECT (SELECT max(time) FROM used WHERE isfinite(time)), min(day), max(day, 2) FROM days"
    last, first, days = relation.query("source", asked).fetchall()[0]
    if last is None:
        raise DataProblem(f"no transaction has a customer and a {time}; there is nothing to link to")
    last, first, earlier = map(pd.Timestamp, (last, first, days[-1]))
    if len(days) > 1 and last - earlier > max(earlier - first, pd.Timedelta(365, "D")):
        raise DataProblem(
            f"{time} holds {last:%Y-%m-%d}, while all other payments lie between {first:%Y-%m-%d} and {earlier:%Y-%m-%d}; correct it "
            "or leave the rows out"
        )
    return last


def _sums(relation, used: str, windows: pd.DataFrame) -> tuple[pd.DataFrame, float | None]:
    """Return the sums by row, whether its customer is in any transaction, and the purchase cycle in days.

    The query runs on whatever connection holds the transactions, which stay there; DuckDB finds the DataFrame
    `cxresearch_windows` by its name in this function.
    """
    cxresearch_windows = windows.reset_index()  # noqa: F841
    asking = (
        f"WITH windows AS (SELECT * FROM cxresearch_windows), {used}, theirs AS MATERIALIZED (FROM used WHERE "
        "id IN (SELECT id FROM windows) AND isfinite(amount) AND time IS NOT NULL)"
    )
    sums = relation.query(
        "source",
        asking + " SELECT row, round(coalesce(sum(amount) FILTER (time < asked), 0), 6) AS revenue_before, "
        "count(amount) FILTER (time < asked AND amount >= 0) AS purchases_before, "
        "round(coalesce(sum(amount) FILTER (time >= asked), 0), 6) AS revenue_after, "
        "count(amount) FILTER (time >= asked AND amount >= 0) AS purchases_after, "
        "bool_or(windows.id IN (SELECT id FROM theirs)) AS known "
        "FROM windows LEFT JOIN theirs ON windows.id = theirs.id AND time >= start AND time < finish GROUP BY row",
    ).df()
    cycle = relation.query(
        "source",
        asking + ", days AS (SELECT DISTINCT id, time::DATE AS day FROM theirs WHERE amount > 0), "
        "gaps AS (SELECT day - lag(day) OVER (PARTITION BY id ORDER BY day) AS gap FROM days) SELECT median(gap) FROM gaps",
    ).fetchall()[0][0]
    return sums.set_index("row").sort_index(), cycle


def link_waves(
    study, *, days: int | None = None, min_rows: int = 100, threads: int | None = None, memory_limit: str | None = None
) -> Survey:
    """Return one row per customer and wave of an opened study, with the revenue in the days before and after the answer.

    Parameters
    ----------
    study
        What `open_study` returns.
    days
        Length of both windows. None: the time from the end of a wave to the start of the next, so that revenue ends
        before the next answer; where gaps differ, the shortest.
    min_rows
        Answers that the same customer's answer in the next wave must follow; fewer make no panel.
    threads, memory_limit
        As in `behaviour`.

    Returns
    -------
    Survey
        The responses, what `customers` holds beside them, the columns of `link_revenue`, and `period`, the place of the
        wave in time (0, 1, ...); revenue below zero, from returns, is set to 0 and counted. ``waterfall`` counts what is
        left out. Where there is no panel the survey has no rows, and the last reason of its waterfall says why.

    Raises
    ------
    DataProblem
        As `link_revenue`.

    Examples
    --------
    >>> import cxresearch as cx
    >>> study = cx.open_study("data/example/study.yml")
    >>> cx.link_waves(study).waterfall.columns.tolist()
    ['step', 'rows', 'removed', 'reason']
    """
    needs = {"tables": ["responses"], "roles": ["customer", "wave", "asked_at"]}
    lacks = study.lacks(needs) or study.lacks({"tables": ["transactions"]})
    if lacks:
        survey = study.responses if "responses" in study.table_names else as_survey(pd.DataFrame())
        return _no_panel(survey, waterfall_of(len(survey), []), f"a lead {lacks}")
    asked, survey = study.column("asked_at"), study.described(study.responses)
    places = {wave: float(i) for i, wave in enumerate(survey.wave_order)}
    answers = survey.table.assign(period=survey.table["wave"].map(places))
    gap = days or days_between(answers, asked)
    if gap < 1:
        waves = answers["period"].nunique()
        why = "waves overlap in time" if waves > 1 else f"there is {waves} wave, and a lead needs a later one"
        return _no_panel(survey, waterfall_of(len(survey), []), why)
    linked = link_revenue(
        survey.with_table(answers), study.transactions, customer="customer", asked=asked, time="time", amount="amount",
        before=int(gap), after=int(gap), threads=threads, memory_limit=memory_limit,
    )  # fmt: skip
    panel = _one_row_a_wave(linked, asked)
    pairs = followed(panel.table)
    if pairs < min_rows:
        why = f"{pairs} answers are followed by one of the same customer in the next wave, fewer than {min_rows}"
        return _no_panel(panel, panel.waterfall, why)
    return panel


def _no_panel(survey: Survey, waterfall: pd.DataFrame, why: str) -> Survey:
    rows = int(waterfall["rows"].iloc[-1])
    waterfall = pd.concat([waterfall, waterfall_of(rows, [("panel", rows, why)])[1:]], ignore_index=True)
    waterfall.loc[len(waterfall) - 1, "reason"] = why
    return replace(survey, rows=survey.rows[:0], domain=None, waves=None, waterfall=waterfall)


def days_between(answers: pd.DataFrame, asked: str) -> int:
    """Return the fewest whole days from the end of a wave to the start of the next; 0 with one wave."""
    ends = answers.groupby("period")[asked].quantile([EARLY, LATE]).unstack()
    gaps = (ends[EARLY].shift(-1) - ends[LATE]).dt.days.dropna()
    return int(max(gaps.min(), 0)) if len(gaps) else 0


def _one_row_a_wave(linked: Survey, asked: str) -> Survey:
    whole = linked.table[linked.table["after_complete"].fillna(False).astype(bool) & linked.table["period"].notna()]
    table = whole.sort_values(asked, kind="stable").drop_duplicates(["customer", "period"], keep="last").sort_index()
    below = int((table["revenue_after"] < 0).sum())
    rows, n = int(linked.waterfall["rows"].iloc[-1]), len(table)
    why, zero = (
        "earlier answers in the same wave, or no wave",
        f"{below} with more returned than bought: revenue set to 0",
    )
    more = waterfall_of(rows, [("one a customer and wave", rows - n, why), ("used", 0, "")])[1:]
    more.loc[2, "reason"] = zero if below else ""
    money = {m: np.maximum(table[m], 0) for m in ("revenue_before", "revenue_after")}
    return linked.with_table(table.assign(**money), waterfall=pd.concat([linked.waterfall, more], ignore_index=True))


def followed(table: pd.DataFrame) -> int:
    """Return how many rows the same customer's row of the next period follows."""
    keys = pd.MultiIndex.from_frame(table[["customer", "period"]])
    return int(pd.MultiIndex.from_arrays([table["customer"], table["period"] + 1]).isin(keys).sum())
