"""Read one table from a text file, Excel, Parquet, SPSS, JSON records or a database, as it was stored.

Nothing is interpreted here: text stays text ("5", "NA", "007"), because only the codebook knows what a cell means.
Columns are looked up by their exact header first, then by the header without surrounding whitespace.
"""

# ruff: noqa: F401
from cxresearch.sources.database import database_file, read_query, without_password
from cxresearch.sources.files import GLOB, READERS, expand, naming, read_table, reader_of
from cxresearch.sources.reading import HEADERS, NO_OPTION, WHITESPACE, Meanings, RawTable, Reading
from cxresearch.sources.text import detect, separator_of, utf8
from cxresearch.sources.workbook import cells, sheets
