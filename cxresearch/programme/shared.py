"""What the seven questions share: tables read by roles, payments, checks, periods, resamples, one figure."""

from collections import namedtuple
from contextlib import contextmanager
from functools import partial

import numpy as np
import pandas as pd

from cxresearch.errors import require_columns
from cxresearch.figures import PALETTE, QUIET, axes_or_new, titled
from cxresearch.findings import Check, Finding, words
from cxresearch.inference.events import amount_sql, id_sql, opened, quoted, time_sql
from cxresearch.survey import Survey, as_table

say = words(__package__)
PERIODS = {"week": "W", "month": "M", "quarter": "Q", "year": "Y"}
QUARTERS = {f"-?Q{quarter}$": f"-{3 * quarter - 2:02}" for quarter in range(1, 5)}
UNCLEAR = r"\d{1,2}\D\d{1,2}\D|.*:\d\d(\.\d+)?(Z|[+-]\d\d(:?\d\d)?)$"
Read = namedtuple("Read", "rows columns about names")


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


def between(value, low, high=np.finfo(float).max) -> bool:
    return pd.api.types.is_number(value) and low < value <= high  # text is no number


def dates(values) -> pd.Series:
    """Return the times that are written, missing where nobody knows: the month of 05/11/2024, the clock of a zone."""
    text = ids_of(values).replace({r"^(\d{4})(\d\d)$": r"\1-\2"} | QUARTERS, regex=True)
    return pd.to_datetime(text.mask(text.str.match(UNCLEAR)), errors="coerce", format="mixed")


def moment(name: str, value) -> pd.Timestamp:
    """Return a date that was given, or refuse it."""
    found = dates([value])[0]
    say.refuse_if(found is pd.NaT, "no_date", name=name, value=repr(value))
    return found


@contextmanager
def relation(table, where: str, **columns):
    """Yield a table: its columns by their roles in `rows`, which these are, what is known `about` it, all `names`."""
    about = table if isinstance(table, Survey) else as_table(table)
    columns = {role: column or about.roles.get(role) for role, column in columns.items()}
    lacking = next((role for role, column in columns.items() if column is None), None)
    say.refuse_if(lacking, "no_column", where=where, role=lacking)
    data = about.table if isinstance(about, Survey) else about.data
    if isinstance(data, pd.DataFrame):
        require_columns(data, *columns.values(), where=where)
        data = data.copy(deep=False)
        for column in columns.values():  # times of a zone as the clock showed them, periods as text
            if isinstance(data[column].dtype, pd.DatetimeTZDtype):
                data[column] = data[column].dt.tz_localize(None)
            elif isinstance(data[column].dtype, pd.PeriodDtype):
                data[column] = data[column].astype(str).where(data[column].notna(), None)
    with opened(data, named=where.split()[-1]) as source:
        require_columns(source, *columns.values(), where=where)
        kinds = dict(zip(source.columns, map(str, source.types)))
        zoned = next((c for c in columns.values() if kinds[c] == "TIMESTAMP WITH TIME ZONE"), None)
        say.refuse_if(zoned, "zoned", column=zoned)
        read = {"time": partial(time_sql, time_zone=None), "amount": amount_sql, "customer": id_sql}
        named = {role: read.get(role.rstrip("0123456789")) for role in columns}
        said = {role: how(source, columns[role]) if how else quoted(columns[role]) for role, how in named.items()}
        yield Read(source.project(", ".join(f"{sql} AS {role}" for role, sql in said.items())), columns, about, kinds)


def ids_of(column) -> pd.Series:
    """Return ids as they are compared: text, 101.0 being 101."""
    return pd.Series(column).astype(str).str.strip().str.replace(r"^(-?\d+)\.0$", r"\1", regex=True)


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
