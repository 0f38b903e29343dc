"""Read one table from a text file, Excel, Parquet, SPSS, JSON records or a database, as it was stored.

Nothing is interpreted here: text stays text ("5", "NA", "007"), because only the codebook knows what a cell means.
Columns are looked up by their exact header first, then by the header without surrounding whitespace.
Bytes that the encoding does not know stop the reading, unless a replacement was declared; then they are counted.
"""

from cxresearch.sources.database import database_file, read_query, require_no_password
from cxresearch.sources.files import GLOB, expand, kind_of, read_table
from cxresearch.sources.reading import WHITESPACE, Meanings, RawTable, Reading

__all__ = [
    "GLOB",
    "WHITESPACE",
    "Meanings",
    "RawTable",
    "Reading",
    "database_file",
    "expand",
    "kind_of",
    "read_query",
    "read_table",
    "require_no_password",
]
