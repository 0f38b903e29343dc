"""From the files that a study declares for a table to one checked table with its waterfall."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import pandas as pd

from cxresearch.errors import StudyProblem, nearest
from cxresearch.sources import RawTable, Reading, database_file, read_query, read_table
from cxresearch.study.codes import names, row_numbers
from cxresearch.study.document import refuse
from cxresearch.study.items import Item, Revenue
from cxresearch.study.part import Part
from cxresearch.study.schema import Table
from cxresearch.study.waterfall import Waterfall, reasons

IDS_SHOWN = 5
FILES_SHOWN = 6
VALUES_SHOWN = 12


class Loaded(NamedTuple):
    """A checked table and how its rows came about."""

    table: pd.DataFrame
    waterfall: Waterfall
    coded: dict[str, Counter]
    """Item -> how often each declared code was set aside."""
    digest: str | None = None
    """Of a query and of the rows that it returned (SHA-256); None for files."""


def load_table(
    name: str,
    table: Table,
    files: Mapping[str | None, Sequence[Path]],
    *,
    folder: Path,
    min_base: int = 1,
    currency: str | None = None,
) -> Loaded:
    """Read, check and name the columns of one table.

    Parameters
    ----------
    name
        Of the table, for messages.
    table
        What `study.yml` declares.
    files
        Wave (None without one) -> its files; none for a database.
    folder
        Where a database file is looked for.
    min_base
        Counts below it are not told in messages.
    currency
        Of the study: an amount that is written in another is refused.

    Raises
    ------
    StudyProblem
        With every problem of every column, one a line.
    """
    parts: list[Part] = []
    received: dict[str, str] = {}
    for part, came in _parts(name, table, files, folder, currency):
        parts.append(part)
        received |= came
    frames = [part.frame() for part in parts]
    coded = {key: sum((part.coded.get(key, Counter()) for part in parts), Counter()) for key in table.items}
    nothing = [*_excludes_nothing(name, table, parts, min_base), *_codes_nothing(name, table, coded)]
    refuse([*(p for part in parts for p in part.problems)] or nothing)
    whole = (
        pd.concat(frames, keys=range(len(frames)))
        if len(frames) > 1
        else frames[0].set_axis(pd.MultiIndex.from_product([[0], frames[0].index]))
    )
    waterfall = Waterfall()
    waterfall.add("received", sum(part.received for part in parts), _listed(received))
    counts = sum((part.counts for part in parts), Counter())
    waterfall.add("valid", len(whole), reasons(counts))
    whole, why = _deduplicated(whole, table, parts)
    waterfall.add("deduplicated", len(whole), why)
    if not len(whole):
        raise StudyProblem(f"tables.{name} has no rows left: {reasons(counts)}")
    waterfall.add("used", len(whole))
    return Loaded(whole.reset_index(drop=True), waterfall, coded, parts[0].digest)


def wanted_columns(table: Table, wave: str | None) -> dict[str, str]:
    """Return header -> what in `study.yml` asks for it, for one wave (all waves if None)."""
    wanted: dict[str, str] = {}
    for key, _ in type(table).columns.values():
        declared = getattr(table, key)
        if isinstance(declared, str):
            wanted.setdefault(declared, f"{key} in study.yml")
        elif isinstance(declared, Revenue):
            wanted.setdefault(declared.column, "revenue in study.yml")
        elif isinstance(declared, Item):
            wanted.setdefault(declared.header(key, wave), f"{key} in study.yml")
    for header in table.exclude:
        wanted.setdefault(header, "exclude in study.yml")
    for key, item in table.items.items():
        by_wave = isinstance(item.column, dict) and wave is None
        for header in item.column.values() if by_wave else [item.header(key, wave)]:
            if header is not None:
                wanted.setdefault(header, f"item {key} in study.yml")
    return wanted


def _parts(
    name: str, table: Table, files: Mapping[str | None, Sequence[Path]], folder: Path, currency: str | None
) -> Iterator[tuple[Part, dict[str, str]]]:
    """Yield each part, with file -> what was received."""
    for wave, file, raw in _raw_tables(name, table, files, folder):
        came = {file: ", ".join([f"{len(raw.frame)} rows", *raw.notes])}
        for label, rows in _waves(raw.frame, table, wave, file):
            of = {"file": file, "wave": label, "table": table, "table_name": name, "currency": currency}
            yield Part(rows, **of, meanings=raw.meanings, digest=raw.digest), came


def _raw_tables(
    name: str, table: Table, files: Mapping[str | None, Sequence[Path]], folder: Path
) -> Iterator[tuple[str | None, str, RawTable]]:
    """Yield wave, file (or what stands for it in messages) and cells."""
    if table.database is not None:
        found = read_query(table.database, table.query, folder=folder, name=name, wanted=wanted_columns(table, None))
        file = database_file(table.database, folder)
        yield None, file.name if file else f"the query of tables.{name}", found
    for wave, paths in files.items():
        for path in paths:
            yield wave, path.name, read_table(path, wanted=wanted_columns(table, wave), reading=reading_of(table))


def _excludes_nothing(name: str, table: Table, parts: Sequence[Part], min_base: int) -> Iterator[str]:
    """Yield what is wrong with values to exclude that no row holds: a slip of the pen there would pass unseen."""
    held = sum((part.excluded for part in parts), Counter())
    for header, codes in table.exclude.items():
        for code in (code for code in codes if not held[header, code]):
            stored = pd.concat([part.stored[header] for part in parts]).value_counts()
            shown = [
                f"{value} ({n})" if n >= min_base else f"{value} (under {min_base})" for value, n in stored.items()
            ]
            told = ", ".join(shown) if len(shown) <= VALUES_SHOWN else f"{len(shown)} different values"
            yield (
                f"tables.{name}.exclude: {header} holds {told or 'nothing'}; no row is {code!r}"
                f"{nearest(code, stored.index[:VALUES_SHOWN])}; correct it or take it out"
            )


def _codes_nothing(name: str, table: Table, coded: Mapping[str, Counter]) -> Iterator[str]:
    """Yield what is wrong with a code for all ratings that none of them holds."""
    for code in table.codes:
        if not any(counts[code] for counts in coded.values()):
            ratings = sum(item.scale is not None for item in table.items.values())
            yield f"tables.{name}.codes: none of {ratings} ratings holds {code} off its scale; correct it or take it out"


def reading_of(table: Table) -> Reading:
    """Return how the files of a table are to be read."""
    return Reading(table.encoding, table.encoding_errors, table.separator, table.sheet, table.header, table.records)


def _listed(received: Mapping[str, str]) -> str:
    shown = [f"{file}: {what}" for file, what in list(received.items())[:FILES_SHOWN]]
    return "; ".join(shown) + (f"; and {len(received) - FILES_SHOWN} more files" if len(received) > FILES_SHOWN else "")


def _waves(frame: pd.DataFrame, table: Table, wave: str | None, file: str) -> Iterator[tuple[str | None, pd.DataFrame]]:
    """Split a file by its wave column where headers differ between waves."""
    column = getattr(table, "wave", None)
    by_wave = {key: item.column for key, item in table.items.items() if isinstance(item.column, dict)}
    if column is None or not by_wave:
        yield wave, frame
        return
    labels = names(frame[column])
    for key, headers in by_wave.items():
        for absent in sorted(set(headers) - set(labels.dropna())):
            raise StudyProblem(
                f"{file}: item {key} in study.yml names wave {absent!r}, which column {column} does not hold"
            )
    for label in labels.unique():
        rows = labels.isna() if pd.isna(label) else labels == label
        yield (None if pd.isna(label) else label), frame[rows]


def _deduplicated(whole: pd.DataFrame, table: Table, parts: Sequence[Part]) -> tuple[pd.DataFrame, str]:
    """Drop rows that repeat another in every declared column; refuse two contents under one id."""
    keys = [column for column in type(table).unique if column in whole.columns]
    if not keys or keys == ["wave"]:
        return whole, "not looked for: no id is declared" if type(
            table
        ).unique else "not looked for: a row has no id of its own"
    repeated = whole.duplicated(keys, keep=False)
    if not repeated.any():
        return whole, ""
    exact = whole[repeated].duplicated()
    kept = whole.drop(exact.index[exact])
    clash = kept.duplicated(keys, keep=False)
    if clash.any():
        raise StudyProblem(_clashes(kept[clash], keys, table, parts))
    return kept, reasons({"equal to another in every declared column": int(exact.sum())})


def _clashes(clash: pd.DataFrame, keys: list[str], table: Table, parts: Sequence[Part]) -> str:
    groups = clash.groupby(keys, sort=False)
    shown = []
    for i, (values, rows) in enumerate(groups):
        if i == IDS_SHOWN:
            break
        places = {parts[p].file: row_numbers(at.index.get_level_values(1)) for p, at in rows.groupby(level=0)}
        where = (
            "; ".join(places.values())
            if len({part.file for part in parts}) == 1
            else "; ".join(f"{file} {at}" for file, at in places.items())
        )
        shown.append(f"{', '.join(map(str, values))} ({where})")
    more = f" and {groups.ngroups - IDS_SHOWN} more" if groups.ngroups > IDS_SHOWN else ""
    file = next(iter({part.file: None for part in parts}))
    declared = [getattr(table, type(table).columns[k][0], None) or k for k in keys]
    what = (
        f"{groups.ngroups} {'value' if groups.ngroups == 1 else 'values'} of {' and '.join(declared)} in rows "
        "with different content"
    )
    remedy = "correct the file" + (
        ", or declare the wave column in study.yml" if "respondent" in keys and "wave" not in keys else ""
    )
    return f"{file}: {what}: {', '.join(shown)}{more}; {remedy}"
