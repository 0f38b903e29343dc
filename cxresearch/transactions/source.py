"""What a table of transactions must hold: ids of one type, amounts that are numbers; the rows of its files."""

import pandas as pd

from cxresearch.errors import DataProblem
from cxresearch.inference.events import CSV, kind, pattern_of, quoted, refuse_unreadable, text

WHOLE = ("TINYINT", "SMALLINT", "INTEGER", "BIGINT", "HUGEINT", "UTINYINT", "USMALLINT", "UINTEGER", "UBIGINT")
NUMERIC = (*WHOLE, "FLOAT", "DOUBLE")


def parquet_files(relation, path: str) -> list[tuple[str, int]]:
    """Return each file at a path and how many rows it has; none where they are not Parquet."""
    pattern = pattern_of(path)
    if pattern.lower().endswith(CSV):
        return []
    asked = f"SELECT file_name, num_rows FROM parquet_file_metadata({text(pattern)}) ORDER BY file_name"
    return relation.query("source", asked).fetchall()


def require_one_id_type(table, column: str) -> None:
    """Raise `DataProblem` if a DataFrame's column mixes ids of several types: 7 and '7' would be two customers."""
    if isinstance(table, pd.DataFrame) and column in table.columns and table[column].dtype == object:
        types = table[column].dropna().map(lambda v: type(v).__name__).value_counts().sort_index()
        if len(types) > 1:
            found = ", ".join(f"{name}: {n}" for name, n in types.items())
            raise DataProblem(f"{column} holds ids of {len(types)} types ({found}); make them all text, or all numbers")


def amount_sql(relation, column: str) -> str:
    """Return the SQL that reads an amount as a number; refuse text that is not one."""
    found = kind(relation, column)
    if found.startswith("DECIMAL") or found in NUMERIC:
        return f"{quoted(column)}::DOUBLE"
    cast = f"TRY_CAST({quoted(column)} AS DOUBLE)"
    remedy = "remove currency signs and thousands separators"
    refuse_unreadable(relation, column, cast, "are not plain numbers", remedy)
    return cast
