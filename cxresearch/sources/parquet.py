"""Parquet files."""

from pathlib import Path

import pandas as pd

from cxresearch.errors import StudyProblem
from cxresearch.sources.reading import Choose, RawTable, Reading


def read_parquet(path: Path, choose: Choose, reading: Reading) -> RawTable:
    from pyarrow import parquet

    file = parquet.ParquetFile(path)
    names = file.schema_arrow.names
    positions = choose([names], len(names))
    table = file.read(columns=[names[p] for p in positions])
    return RawTable(arrow_frame(table.select([names[p] for p in positions]), path.name))


def arrow_frame(table, name: str) -> pd.DataFrame:
    """Return an Arrow table as a frame in which a missing cell does not round a whole number."""
    import pyarrow as pa

    whole = {t: pd.Int64Dtype() for t in (pa.int8(), pa.int16(), pa.int32(), pa.int64())}
    nested = [field.name for field in table.schema if pa.types.is_nested(field.type)]
    if nested:
        raise StudyProblem(
            f"{name}: column {nested[0]!r} holds lists or records, not one value a row; flatten it first"
        )
    simple = [_simple(field, pa) for field in table.schema]
    return table.cast(pa.schema(simple)).to_pandas(types_mapper=whole.get)


def _simple(field, pa):
    """Return the field with dictionaries as text and decimals as floats, which pandas would keep as objects."""
    if pa.types.is_dictionary(field.type):
        return field.with_type(field.type.value_type)
    return field.with_type(pa.float64()) if pa.types.is_decimal(field.type) else field
