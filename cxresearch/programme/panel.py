"""One reader of panels and series: means by unit and period, the date of the programme, what is known of a unit."""

import pandas as pd

from cxresearch.errors import nearest
from cxresearch.findings import listing
from cxresearch.inference.events import amount_sql, opened, quoted, require_fields
from cxresearch.programme.shared import moment, refuse_if
from cxresearch.survey import Survey, as_table, natural_key


def _asked(panel, sql, *columns) -> pd.DataFrame:
    """Return the answer to SQL on the rows of a panel; `sql` maps the relation to it."""
    data = panel.table if isinstance(panel, Survey) else as_table(panel).data
    with opened(data, named="panel") as source:
        require_fields(source, *columns, where="the panel")
        return source.query("source", sql(source)).df()


def read_panel(panel, outcome, unit, period, more=(), every=None) -> pd.DataFrame:
    """Return means by unit (one for all where it is None) and period in the order of time, with weight and persons."""
    refuse_if(outcome is None, "no_outcome")
    weight, person = (getattr(panel, name, None) for name in ("weight", "respondent"))
    w, who = quoted(weight) if weight else "1", f"DISTINCT {quoted(person)}" if person else "*"
    place, time = quoted(unit) if unit else "0", quoted(period)
    at = time if every is None else f"date_trunc('{every}', {time}::TIMESTAMP)"

    def sql(source):
        of = {name: amount_sql(source, name) for name in (outcome, *more)}
        means = ", ".join(f"sum({w} * {value}) / sum({w}) AS {quoted(name)}" for name, value in of.items())
        whole = " AND ".join(f"{value} IS NOT NULL" for value in (place, time, *of.values()))
        found = f"SELECT {place} AS unit, {at} AS period, {means}, sum({w})::DOUBLE AS weight, count({who}) AS n"
        return f"{found} FROM source WHERE {whole} GROUP BY ALL HAVING sum({w}) > 0"

    cells = _asked(panel, sql, outcome, unit, period, *more)
    refuse_if(not len(cells), "no_row", columns=listing([outcome, period, *more]))
    text = not (hasattr(cells["period"], "dt") or pd.api.types.is_numeric_dtype(cells["period"]))
    order = sorted(cells["period"].unique(), key=natural_key if text else None)
    cells["t"] = cells["period"].map({p: i for i, p in enumerate(order)})
    return cells.rename(columns={outcome: "y"}).sort_values(["unit", "t"], ignore_index=True)


def start_in(cells, since) -> int:
    """Return the place of the first period of the programme; refuse a date outside the data."""
    order = list(cells.drop_duplicates("t").sort_values("t")["period"])
    dates = hasattr(order[0], "year")
    since = moment("since", since) if dates else since
    place = sum(p < since if dates else natural_key(p) < natural_key(since) for p in order)
    refuse_if(not 0 < place < len(order), "outside", since=since, first=order[0], last=order[-1])
    return place


def by_unit(panel, unit, column, names) -> pd.Series:
    """Return what a column says of each unit; refuse one that changes within a unit."""
    u, c = quoted(unit), quoted(column)
    sql = f"SELECT {u} AS unit, min({c}) AS value, count(DISTINCT {c}) AS values FROM source WHERE {u} IS NOT NULL GROUP BY 1"
    found = _asked(panel, lambda source: sql, unit, column).set_index("unit").reindex(names)
    mixed = found.index[found["values"] > 1]
    refuse_if(len(mixed), "mixed_unit", column=column, unit=unit, value=", ".join(map(repr, mixed[:1])))
    return found["value"]


def treated_units(panel, names, unit, treated):
    """Return for each unit whether the programme runs there: from a list of units, or a column of two values."""
    if isinstance(treated, str):
        found = by_unit(panel, unit, treated, names)
        values = sorted(found.dropna().unique(), key=natural_key)
        refuse_if(len(values) != 2, "not_two", column=repr(treated), n=len(values), found=listing(values[:5]))
        return found.eq(values[1]).to_numpy()
    unknown = next((v for v in treated if v not in names), None)
    refuse_if(unknown is not None, "no_unit", found=repr(unknown), unit=unit, near=nearest(unknown, names))
    return pd.Series(names).isin(list(treated)).to_numpy()
