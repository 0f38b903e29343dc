"""What a table of events must hold: ids of one type, amounts that are numbers; and how its rows are counted."""

import pandas as pd

from cxresearch.errors import DataProblem
from cxresearch.inference.events import kind, quoted, refuse_unreadable, text

NUMERIC = ("TINYINT", "SMALLINT", "INTEGER", "BIGINT", "HUGEINT", "UTINYINT", "USMALLINT", "UINTEGER", "UBIGINT",
           "FLOAT", "DOUBLE")  # fmt: skip


def require_one_id_type(table, column: str) -> None:
    """Raise `DataProblem` if a DataFrame's column mixes ids of several types: 7 and '7' would be two customers."""
    if isinstance(table, pd.DataFrame) and column in table.columns and table[column].dtype == object:
        types = table[column].dropna().map(lambda v: type(v).__name__).value_counts().sort_index()
        if len(types) > 1:
            found = ", ".join(f"{name}: {n}" for name, n in types.items())
            raise DataProblem(f"{column} holds ids of {len(types)} types ({found}); make them all text, or all numbers")


def amount_sql(relation, column: str) -> str:
    """Return the SQL that reads an amount as a number; refuse text that is not one, and amounts in several currencies."""
    _require_one_currency(relation, column)
    found = kind(relation, column)
    if found.startswith("DECIMAL") or found in NUMERIC:
        return f"{quoted(column)}::DOUBLE"
    cast = f"TRY_CAST({quoted(column)} AS DOUBLE)"
    remedy = "remove currency signs and thousands separators"
    refuse_unreadable(relation, column, cast, "are not plain numbers", remedy)
    return cast


def _require_one_currency(relation, amount: str) -> None:
    if "currency" not in relation.columns:
        return
    asked = "SELECT currency, count(*) FROM source WHERE currency IS NOT NULL GROUP BY 1 ORDER BY 1"
    found = relation.query("source", asked).fetchall()
    if len(found) > 1:
        listed = ", ".join(f"{name}: {n}" for name, n in found)
        raise DataProblem(f"{amount} is in {len(found)} currencies ({listed}); convert it to one before it is added up")


def id_sql(relation, column: str) -> str:
    """Return the SQL of an id as text: 101.0, read so beside a missing one, is 101."""
    q = quoted(column)
    if kind(relation, column) in ("FLOAT", "DOUBLE") or kind(relation, column).startswith("DECIMAL"):
        return f"CASE WHEN {q} = trunc({q}) THEN {q}::HUGEINT::VARCHAR ELSE {q}::VARCHAR END"
    return f"regexp_replace(trim({q}::VARCHAR), {text(r'^(-?[0-9]+)[.]0$')}, {text(chr(92) + '1')})"


def waterfall_of(received: int, steps) -> pd.DataFrame:
    """Return step, rows, removed, reason from the (step, removed, reason) that follow `received`."""
    rows = [{"step": "received", "rows": received, "removed": 0, "reason": ""}]
    for step, removed, reason in steps:
        rows.append(
            {"step": step, "rows": rows[-1]["rows"] - removed, "removed": removed, "reason": reason if removed else ""}
        )
    return pd.DataFrame(rows)
