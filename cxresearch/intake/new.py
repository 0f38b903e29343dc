"""A first `study.yml` from files that nobody has described."""

import os
import re
from collections.abc import Callable, Sequence
from itertools import combinations
from pathlib import Path
from typing import NamedTuple

import pandas as pd

from cxresearch.errors import StudyProblem, nearest
from cxresearch.intake.column import plain
from cxresearch.intake.decision import Answer, Doubt, Guess, decisions, put_questions
from cxresearch.intake.emit import study_text
from cxresearch.intake.rules import RULES, TableGuess, guess_table
from cxresearch.intake.shape import Said, read_unknown
from cxresearch.sources import Meanings, RawTable, Reading, expand
from cxresearch.study.codes import count

ALIKE = 0.5


class Written(NamedTuple):
    """What was written: the text of the study file, a summary in words, and what questions left open."""

    text: str
    summary: str
    left: str


class _File(NamedTuple):
    path: Path
    reading: Reading
    said: Said
    raw: RawTable

    @property
    def headers(self) -> set[str]:
        return {name.strip() for name in self.raw.frame.columns}


def new_study(
    files: Sequence[Path],
    *,
    out: Path,
    kinds: Sequence[tuple[str, str | Path]] = (),
    ask: Callable[[str], str] | None = None,
) -> Written:
    """Read files and write a first study file; an existing one is never overwritten.

    Files with mostly the same columns become waves of one table, and so do columns of one file that differ in a year
    (NPS_2015, NPS_2016). Guesses carry their reason as a comment and, where they are doubtful, ``confirmed: false``.
    `kinds` are tables, each with the file that is one, where it is not to be guessed. `ask` puts a question and returns
    the answer; EOFError leaves what is open in doubt. Without it nothing is asked.
    """
    if out.exists():
        raise StudyProblem(f"{out} exists and is not overwritten; give another name with --out")
    if not out.parent.is_dir():
        raise StudyProblem(f"there is no folder {str(out.parent)!r} to write {out.name} into")
    if not files and not kinds:
        raise StudyProblem("new needs a file, or --as TABLE=FILE")
    named = {path: kind for kind, f in kinds for path in expand(Path(f)) or [_absent(Path(f))]}
    for kind in named.values():
        if kind not in RULES:
            raise StudyProblem(f"--as {kind!r} is no table{nearest(kind, RULES)}; there are {', '.join(RULES)}")
    paths = list(dict.fromkeys([*(p for file in files for p in (expand(file) or [_absent(file)])), *named]))
    groups = _waves([_File(path, *read_unknown(path)) for path in paths])
    tables = [_table(group, out.parent, named) for group in groups]
    _require_different([table for table, _ in tables], groups)
    guesses = [guess for table, _ in tables for guess in (table.own, *table.items)]
    if ask:
        put_questions(guesses, ask)
    text = study_text(re.sub(r"[\W_]+", " ", paths[0].stem).strip() or "Study", tables)
    with out.open("x", encoding="utf-8") as file:
        file.write(text)
    left = len(decisions(guesses)) if ask else 0
    told = f"; {count(left, 'decision')} left open in it" if left else ""
    return Written(text, "\n".join(_summary(table, source) for table, source in tables), told)


def _absent(path: Path) -> Path:
    raise StudyProblem(f"there is no file {str(path)!r}")


def _summary(table: TableGuess, source) -> str:
    files = ", ".join(dict.fromkeys(source.values())) if isinstance(source, dict) else source
    left = count(len(decisions([table.own, *table.items])), "decision")
    return f"{table.name} from {files}: {len(table.items)} items, {left} to take, {len(table.left)} columns left out"


def _waves(files: list[_File]) -> list[list[_File]]:
    """Return files with mostly the same columns together."""
    groups: list[list[_File]] = []
    for file in files:
        mine = file.headers
        shared = [(len(mine & g[0].headers), ALIKE * min(len(mine), len(g[0].headers))) for g in groups]
        alike = next((group for group, (n, least) in zip(groups, shared) if n >= least and n > 1), None)
        if alike is None:
            groups.append(alike := [])
        alike.append(file)
    return groups


def _require_different(tables: list[TableGuess], groups: list[list[_File]]) -> None:
    for (one, first), (other, second) in combinations(zip(tables, groups, strict=True), 2):
        if one.name == other.name:
            raise StudyProblem(
                f"{first[0].path.name} and {second[0].path.name} both look like {one.name} but have different columns; "
                "write a study file for each and bring them together"
            )


def _table(group: list[_File], folder: Path, named: dict[Path, str]) -> tuple[TableGuess, dict | str]:
    first = group[0].path
    table = guess_table(_together(group), file=first.name, kind=named.get(first))
    for key, (value, reason, doubt) in reversed(group[0].said.items()):
        table.own.given = {key: value} | table.own.given
        table.why[key] = reason
        if doubt:
            table.own.doubts.insert(0, Doubt(key, f"{key} {value}: {reason}", (Answer("yes"),)))
    if any(file.reading != group[0].reading for file in group[1:]):
        raise StudyProblem(
            f"{first.name} and {group[1].path.name} have the same columns but are written differently "
            "(encoding, separator or header rows); write a study file for each"
        )
    source = _relative(first, folder)
    if len(group) == 1:
        return table, dict.fromkeys(table.waves, source) or source
    if table.name != "responses":
        raise StudyProblem(
            f"{', '.join(f.path.name for f in group)} look like parts of one table {table.name}; name them by a pattern "
            "in a study file, for example source: 'sales/*.csv'"
        )
    labels = _wave_labels([file.path for file in group])
    if "id" not in table.own.given and (name := _wave_id(table, group)):
        table.say("id", name, "fills every row, never twice in a wave")
    _where_asked(table.items, dict(zip(labels, group, strict=True)))
    return table, {label: _relative(file.path, folder) for label, file in zip(labels, group, strict=True)}


def _together(group: list[_File]) -> RawTable:
    """Return the rows of all waves under stripped headers."""
    if len(group) == 1:
        return group[0].raw
    frames = [file.raw.frame.rename(columns=str.strip) for file in group]
    meanings = [{k.strip(): v for k, v in by.items()} for file in reversed(group) for by in file.raw.meanings]
    merged = [{k: v for by in meanings[i::3] for k, v in by.items()} for i in range(3)]
    return RawTable(pd.concat(frames, ignore_index=True), meanings=Meanings(*merged))


def _wave_id(table: TableGuess, group: list[_File]) -> str | None:
    """Return the column that names a respondent in every wave, which may repeat between waves."""
    for name in _together(group).frame.columns:
        if all(name in file.headers for file in group) and re.match(RULES["responses"][0].pattern, plain(name)):
            columns = [file.raw.frame.rename(columns=str.strip)[name] for file in group]
            if all(column.notna().all() and not column.duplicated().any() for column in columns):
                table.items = [item for item in table.items if item.column != name]
                return name
    return None


def _wave_labels(paths: Sequence[Path]) -> list[str]:
    """Return the number in which the names of the files differ, or else the names."""
    numbers = [re.findall(r"\d+", path.stem) for path in paths]
    for parts in zip(*numbers, strict=False):
        if len(set(parts)) == len(paths):
            return list(parts)
    return [path.stem for path in paths]


def _where_asked(items: list[Guess], waves: dict[str, _File]) -> None:
    """Name the waves of a column that not all have; two columns whose names differ in their number become one item."""
    for item in items:
        labels = [label for label, file in waves.items() if item.column in file.headers]
        if len(labels) < len(waves):
            item.column = dict.fromkeys(labels, item.column)
    partial = [item for item in items if isinstance(item.column, dict)]
    for item in partial:
        apart = (other for other in partial if other is not item and not set(other.column) & set(item.column))
        twins = [other for other in apart if _core(other) == _core(item)]
        if len(twins) == 1 and item in items and twins[0] in items:
            item.column = {**item.column, **twins[0].column}
            said = f"{' and '.join(item.column.values())} are taken for the same question in different waves"
            item.doubts.append(Doubt("same question", said, (Answer("yes"),)))
            item.doubts += [doubt for doubt in twins[0].doubts if doubt not in item.doubts]
            for key in ("missing", "not_applicable"):
                if both := dict.fromkeys([*item.given.get(key, ()), *twins[0].given.get(key, ())]):
                    item.given[key] = list(both)
            items.remove(twins[0])


def _core(item: Guess) -> str:
    """Return the name of a column without the number of its question."""
    return re.sub(r"^[a-z]*\d+", "", next(iter(item.column.values())).lower())


def _relative(path: Path, folder: Path) -> str:
    """Return the path as a study file in `folder` names it."""
    return Path(os.path.relpath(path.resolve(), folder.resolve())).as_posix()
