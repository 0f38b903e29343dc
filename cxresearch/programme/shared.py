"""What the seven questions share: tables read by roles, payments, checks, periods, resamples, one figure."""

from collections import namedtuple
from contextlib import contextmanager
from functools import partial

import numpy as np
import pandas as pd

from cxresearch.errors import require_choice, require_columns
from cxresearch.figures import PALETTE, QUIET, axes_or_new, titled
from cxresearch.findings import Check, Finding, words
from cxresearch.inference.events import amount_sql, opened, quoted, require_one_id_type, time_sql
from cxresearch.survey import Survey, as_survey, as_table

say = words(__package__)
PERIODS = {"week": "W", "month": "M", "quarter": "Q", "year": "Y"}
Payments = namedtuple("Payments", "ask end checks events customer unit")
DAYS = """WITH days AS (SELECT customer, moment::DATE AS day, min(moment::DATE) OVER (PARTITION BY customer) AS first,
  sum(value) AS value FROM source WHERE value IS NOT NULL AND moment < TIMESTAMP '{end}' GROUP BY 1, 2) """


def statement(keys, known, confidence, *question, source, found, figure=None, kind=Finding, **more):
    """Return what is told; `found`: checks, name=(value, ok) or with level; `figure` may be options of `lines`."""
    table, further = question[3], more.get("further", {})
    named = {term: say["name_" + term] for term in table.iloc[:, 0] if f"name_{term}" in say}
    hidden = sum(int(part["n"].isna().sum()) for part in (table, *further.values()) if "n" in part)
    said = ((say["check_" + k], v, say["limit_" + k], bool(ok), *level) for k, (v, ok, *level) in found.items())
    if isinstance(figure, dict):
        axes = [say.told(f"{figure['axes']}_{part}", **known) for part in ("x", "y", "unit")]
        figure = partial(lines, **figure | dict(axes=axes))
    more = dict(suppressed=hidden, labels=named | dict(source.labels), figure=figure) | more
    return kind.of(say, keys, known, confidence, *question, tuple(Check(*row) for row in said), source=source, **more)


def moment(name: str, value) -> pd.Timestamp:
    """Return a date that was given, or refuse it."""
    found = pd.to_datetime(str(value), errors="coerce")
    say.refuse_if(found is pd.NaT or found.tz is not None, "no_date", name=name, value=repr(value))
    return found


def elapsed(start, end, period: str) -> int:
    """Return how many periods lie between those of two days."""
    return (end.to_period(PERIODS[period]) - start.to_period(PERIODS[period])).n


@contextmanager
def relation(table, where: str, **columns):
    """Yield the relation over a table, its columns (named, or as it says) called by their roles, and those columns."""
    about = table if isinstance(table, Survey) else as_table(table)
    columns = {role: column or about.roles.get(role) for role, column in columns.items()}
    lacking = next((role for role, column in columns.items() if column is None), None)
    say.refuse_if(lacking, "no_column", where=where, role=lacking)
    with opened(about.table if isinstance(about, Survey) else about.data, named=where.split()[-1]) as source:
        require_columns(source, *columns.values(), where=where)
        read = {"time": partial(time_sql, time_zone=None), "amount": amount_sql}
        named = {role: read.get(role.rstrip("0123456789")) for role in columns}
        said = {role: how(source, columns[role]) if how else quoted(columns[role]) for role, how in named.items()}
        yield source.project(", ".join(f"{sql} AS {role}" for role, sql in said.items())), columns


@contextmanager
def payments(transactions, until, period=None, **given):
    """Yield `ask`, which answers SQL on orders, `source` (payments of one moment), or on `days`, and their end."""
    events = as_table(transactions)
    with relation(events, "transactions", **given) as (rows, columns):
        require_one_id_type(events.data, columns["customer"])
        paid = rows.filter("customer IS NOT NULL AND time IS NOT NULL AND amount IS NOT NULL")
        last, n = paid.aggregate("max(time)::DATE + 1, count(*)").fetchall()[0]
        lost = rows.count("*").fetchall()[0][0] - n
        say.refuse_if(not n, "no_payment", until=until)
        end = moment("until", last if until is None else until)  # the day after the last
        sums = "customer, time AS moment, sum(amount) AS net, sum(amount) FILTER (amount >= 0) AS value"
        paid = paid.filter(f"time < TIMESTAMP '{end}'").aggregate(sums)
        ask = lambda sql, end=end, **of: paid.query("source", (DAYS + sql).format(end=end, **of)).df()  # noqa: E731
        say.refuse_if(ask("SELECT 1 FROM source LIMIT 1").empty, "no_payment", until=end.date())
        if period:  # the record ends at `until`, or earlier, where it falls silent for longer than it ever did before
            require_choice("period", period, PERIODS)
            day = ask("SELECT DISTINCT moment::DATE AS day FROM source ORDER BY 1")["day"]
            silence = day.diff().max() if len(day) > 1 else pd.Timedelta(days=1)
            end = min(end, day.iloc[-1] + silence).to_period(PERIODS[period]).start_time
            ends = dict(first=day.iloc[0].date(), last=day.iloc[-1].date(), period=period)
            say.refuse_if(elapsed(day.iloc[0], end, period) < 2, "one_period", **ends)
        known = events, columns["customer"], events.currency or say["no_currency"]
        yield Payments(ask, end, dict(incomplete=(lost, lost == 0)), *known)


def ids_of(column) -> pd.Series:
    """Return ids as they are compared: text, 101.0 being 101."""
    return pd.Series(column).astype(str).str.strip().str.replace(r"^(-?\d+)\.0$", r"\1", regex=True)


def resampled(columns, sample=None, *, n_boot: int, seed) -> np.ndarray:
    """Return the totals (B, k) of columns (n, k) in the replicates of a sample, by default of rows drawn alike."""
    sample = sample or as_survey(pd.DataFrame(index=range(len(columns)))).sample()
    return np.concatenate([weights @ columns for weights in sample.replicates(n_boot, seed=seed)])


def lines(finding, ax, *, x, columns, axes, of="tidy", dashed=None):
    """Draw columns (name -> style) of a table over x, a single one's band; `dashed`: a method of the axes, a place."""
    table, ax = finding.tables()[of], axes_or_new(ax)
    counted = pd.api.types.is_numeric_dtype(table[x])
    at = table[x] if counted else np.arange(len(table))
    if len(columns) == 1:
        ax.fill_between(at, table["conf_low"], table["conf_high"], color=PALETTE[0], alpha=0.15, linewidth=0)
    for (column, style), colour in zip(columns.items(), (PALETTE[0], QUIET, PALETTE[1])):
        ax.plot(at, table[column], style, color=colour, markersize=4, label=say.get("line_" + column))
    if dashed:
        getattr(ax, dashed[0])(dashed[1], color=QUIET, linestyle="--", linewidth=1)
    if not counted:
        some = at[:: max(len(at) // 6, 1)]
        ax.set_xticks(some, table[x].iloc[some])
    if len(columns) > 1:
        ax.legend()
    ax.set(xlabel=axes[0], ylabel=axes[1])
    return titled(ax, finding.title, axes[2])
