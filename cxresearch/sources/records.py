"""JSON records: a list of objects, or one line an object; nested values under ``outer.inner``."""

import json
from pathlib import Path

import pandas as pd

from cxresearch.errors import StudyProblem, nearest
from cxresearch.sources.encoding import utf8
from cxresearch.sources.reading import Choose, RawTable, Reading

DEPTH = 20


def read_records(path: Path, choose: Choose, reading: Reading) -> RawTable:
    if not path.stat().st_size:
        raise StudyProblem(f"{path.name} is empty")
    content, notes = utf8(path, reading)
    text = (content if isinstance(content, bytes) else content.read_bytes()).decode("utf-8-sig")
    rows = [_flat(record, path.name, i) for i, record in enumerate(_records(_parsed(text, path.name), reading, path))]
    names = list(dict.fromkeys(key for row in rows for key in row))
    positions = choose([names], len(names))
    frame = pd.DataFrame(
        {i: pd.Series([row.get(names[p]) for row in rows], dtype=object) for i, p in enumerate(positions)}
    )
    return RawTable(frame, notes)


def _parsed(text: str, file: str):
    try:
        return json.loads(text)
    except RecursionError:
        raise StudyProblem(f"{file} is nested too deeply to be a table") from None
    except json.JSONDecodeError as error:
        lines = [line for line in text.splitlines() if line.strip()]
        try:
            return [json.loads(line) for line in lines] if len(lines) > 1 else _not_json(file, error)
        except json.JSONDecodeError:
            _not_json(file, error)


def _not_json(file: str, error: json.JSONDecodeError):
    raise StudyProblem(f"{file} is not valid JSON: line {error.lineno}, column {error.colno}: {error.msg}")


def _records(found, reading: Reading, path: Path) -> list[dict]:
    """Return the list of records, found by its declared name or because it is the only one."""
    lists = {None: found} if isinstance(found, list) else _lists(found) if isinstance(found, dict) else {}
    if reading.records is not None:
        if reading.records not in lists:
            raise StudyProblem(
                f"{path.name} has no list {reading.records!r}{nearest(reading.records, filter(None, lists))}"
            )
        return _checked(lists[reading.records], path.name)
    if len(lists) > 1:
        names = ", ".join(map(repr, lists))
        raise StudyProblem(
            f"{path.name} holds {len(lists)} lists ({names}); declare which one in study.yml, for example "
            f"records: {next(iter(lists))}"
        )
    if not lists:
        raise StudyProblem(f"{path.name} holds no list of records")
    return _checked(next(iter(lists.values())), path.name)


def _lists(found: dict) -> dict[str, list]:
    return {key: value for key, value in found.items() if isinstance(value, list) and value}


def _checked(rows: list, file: str) -> list[dict]:
    for i, row in enumerate(rows):
        if not isinstance(row, dict):
            raise StudyProblem(f"{file}: record {i + 1} is no object with names and values; found {type(row).__name__}")
    return rows


def _flat(record: dict, file: str, i: int, prefix: str = "", depth: int = 0) -> dict:
    """Return a record with ``outer.inner`` for what is nested; a list of plain values becomes ``a;b``."""
    flat: dict = {}
    for key, value in record.items():
        if isinstance(value, dict) and depth < DEPTH:
            flat |= _flat(value, file, i, f"{prefix}{key}.", depth + 1)
        elif isinstance(value, (dict, list)):
            if isinstance(value, dict) or any(isinstance(v, (dict, list)) for v in value):
                raise StudyProblem(
                    f"{file}: {prefix}{key} of record {i + 1} holds a list of records, not one value; flatten it first"
                )
            flat[f"{prefix}{key}"] = ";".join("" if v is None else str(v) for v in value)
        else:
            flat[f"{prefix}{key}"] = value
    return flat
