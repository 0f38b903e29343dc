"""Excel workbooks: one sheet, its merged headers spread over the columns they cover."""

from pathlib import Path

import pandas as pd

from cxresearch.errors import StudyProblem, nearest
from cxresearch.sources.reading import Choose, RawTable, Reading

LOCKED = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"  # an encrypted .xlsx is wrapped in an OLE file


def read_excel(path: Path, choose: Choose, reading: Reading) -> RawTable:
    rows = cells(path, reading.sheet)
    if not rows:
        raise StudyProblem(f"{path.name} is empty")
    n = len(reading.header)
    if len(rows) < n:
        raise StudyProblem(f"{path.name} has {len(rows)} rows, but study.yml declares {n} header rows")
    positions = choose([[_word(cell) for cell in row] for row in rows[:n]], len(rows[0]))
    body = {i + n - 1: row for i, row in enumerate(rows[n:]) if any(cell != "" for cell in row)}
    columns = [pd.Series({i: None if row[p] == "" else row[p] for i, row in body.items()}) for p in positions]
    return RawTable(pd.concat(columns, axis=1) if body and columns else pd.DataFrame(columns=range(len(positions))))


def sheets(path: Path) -> list[str]:
    """Return the names of the sheets."""
    return _book(path).sheet_names


def _book(path: Path):
    from python_calamine import CalamineWorkbook, PasswordError

    if not path.stat().st_size:
        raise StudyProblem(f"{path.name} is empty")
    try:
        return CalamineWorkbook.from_path(path)
    except PasswordError:
        raise StudyProblem(_locked(path)) from None
    except Exception:
        if path.suffix.lower() in (".xlsx", ".xlsm", ".xlsb") and path.open("rb").read(8) == LOCKED:
            raise StudyProblem(_locked(path)) from None
        raise


def _locked(path: Path) -> str:
    return f"{path.name} is protected by a password; save it without one"


def cells(path: Path, sheet: str | None) -> list[list]:
    """Return the rows of a sheet, or of the only one."""
    book = _book(path)
    names = book.sheet_names
    if sheet is None and len(names) > 1:
        raise StudyProblem(
            f"{path.name} has {len(names)} sheets ({', '.join(map(repr, names))}); declare which one in study.yml, "
            f"for example sheet: {names[0]}"
        )
    if sheet is not None and sheet not in names:
        raise StudyProblem(f"{path.name} has no sheet {sheet!r}{nearest(sheet, names)}")
    return book.get_sheet_by_name(sheet or names[0]).to_python()


def _word(cell) -> str:
    """Return a header cell as text: a year stored as 2018.0 is called 2018."""
    return f"{cell:g}" if isinstance(cell, float) and cell == int(cell) and abs(cell) < 1e15 else str(cell)
