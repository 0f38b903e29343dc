"""What a run will do, settled before anything starts: the study, its notebooks and their parameters, and its reports.

A fan-out has a report for each value of some columns. The whole is taken to be published somewhere, since a report on
it usually is. A value under the minimum base therefore gets no report and is not named anywhere, and where the others
and the whole would tell its size, the smallest of them gets none either.
"""

import hashlib
import json
import os
import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import pandas as pd

from cxresearch.errors import StudyProblem, nearest
from cxresearch.privacy import hidden_values
from cxresearch.runs import notebooks as notebook_files
from cxresearch.runs.notebooks import STUDY, Parameter
from cxresearch.runs.record import sha256
from cxresearch.study import narrow, open_study
from cxresearch.study.narrow import CUSTOMER, Only, as_words
from cxresearch.study.shared import require_unchanged, signature
from cxresearch.survey import natural_key

MOST_CELLS, NAME_LENGTH = 5000, 80  # bytes
WHOLE = "all"
RESERVED = {"con", "prn", "aux", "nul", *(f"{port}{k}" for port in ("com", "lpt") for k in range(1, 10)), WHOLE}


@dataclass(frozen=True)
class Task:
    """One notebook of a run: its file with its digest, and the notebook as read, without outputs.

    `given` are the parameters to inject, `parameters` all of them with their defaults, both without ``study``;
    `headline` names the saved finding that heads the report; `skip` is why the study cannot answer.
    """

    name: str
    path: Path
    sha256: str
    notebook: object
    given: dict
    parameters: dict
    headline: str | None
    skip: str | None


@dataclass(frozen=True)
class Cell:
    """One report of a fan-out: its folder, columns and values (none for the whole study), how many rows, why it is skipped;
    one together for the values under the minimum base, whose label counts them and names none."""

    name: str
    only: Only
    rows: int
    skip: str | None = None
    label: str = "All"


@dataclass(frozen=True)
class Plan:
    """A run that may start: one report, or, with `each`, one for each cell of a fan-out.

    `only` are the notebooks that it was narrowed to; `tasks` are in reading order; `seen` and `inputs` hold size and time
    of change, and the digest, of every file of the study; `ours` says that the notebooks come with the package.
    """

    study: Path
    opened: object
    title: str
    report: str | None
    only: tuple[str, ...]
    project: Path
    tasks: tuple[Task, ...]
    seen: Mapping
    inputs: Mapping[str, str]
    each: tuple[str, ...] = ()
    whole: bool = False
    min_rows: int = 1
    ours: bool = False

    @cached_property
    def cells(self) -> tuple[Cell, ...]:
        """The reports, in reading order: one unless there is a fan-out; reads and checks the tables."""
        self.opened.load_all()
        require_unchanged(dict(self.seen), signature(self.opened), "while it was read")
        if not self.each:
            return (Cell("", (), 0),)
        return tuple(cells_of(self.opened, self.each, whole=self.whole, min_rows=self.min_rows))

    def narrowed(self, only) -> "Plan":
        """Return the plan for a part of the study; notebooks that need what the part does not have are skipped."""
        if not only:
            return replace(self, each=())
        part = self.opened.narrowed(only)
        tasks = tuple(t if t.skip else replace(t, skip=_lacks(t.notebook, part)) for t in self.tasks)
        title = f"{self.title}: {part.part}"
        return replace(self, study=Path(part.reference), title=title, tasks=tasks, each=())


def plan_run(study, *, report=None, only=(), settings=(), notebooks=None, each=(), whole=False, today=None, now=None):
    """Check everything that can be checked without executing, and return the `Plan`.

    Arguments are those of the command line; `settings` (name, text) outrank the report's parameters, `today` and `now`
    are held against ``delete_after`` and ``max_age``. Tables are loaded; those of a fan-out when its cells are asked for.
    """
    folder, project, ours = notebook_files.notebooks_folder(notebooks)
    opened = open_study(study, today=today)
    opened.require_fresh(now=now)
    declared = declared_report(opened, report)
    paths = notebook_files.in_order(folder)
    for names, asked_by in ((declared.notebooks if declared else (), f"report {report!r}"), (only, "--only")):
        known, stems = {p.stem: p for p in paths}, {Path(n).name.removesuffix(".ipynb"): n for n in names}
        for stem in (stem for stem in stems if stem not in known):
            listed = f"{nearest(stem, known)}; there are {', '.join(known)}"
            raise StudyProblem(f"{asked_by}: there is no notebook {stems[stem]!r}{listed}")
        paths = [known[stem] for stem in stems] or paths
    read = {path: notebook_files.read_notebook(path) for path in paths}
    known = {path: notebook_files.read_parameters(notebook, file_name=path.name) for path, notebook in read.items()}
    given = _given(known, declared.parameters if declared else {}, settings, report)
    tasks = []
    for path, notebook in read.items():
        values = {name: p.default for name, p in known[path].items() if name != STUDY} | given[path]
        headline = notebook.metadata.get("cxresearch", {}).get("headline")
        about = sha256(path), notebook, given[path], values, headline, _lacks(notebook, opened)
        tasks.append(Task(path.stem, path, *about))
    each = tuple(each or (declared.each if declared else ()))
    narrow.require_groups(opened, each)
    fan = {"each": each, "whole": whole or bool(declared and declared.whole)}
    fan |= {"min_rows": declared.min_rows} if declared else {}
    file = narrow.split_reference(opened.reference)[0]
    files = sorted({file, *(Path(f).resolve() for f in opened.files)})
    inputs = {Path(os.path.relpath(f, file.parent)).as_posix(): sha256(f) for f in files}
    about = {"study": Path(opened.reference), "opened": opened, "title": opened.title, "report": report}
    about |= {"only": tuple(only), "project": project, "ours": ours}
    plan = Plan(**about, **fan, tasks=tuple(tasks), seen=signature(opened), inputs=inputs)
    if not each:
        plan.cells  # noqa: B018  reads the tables
    return plan


def declared_report(study, name: str | None):
    """Return an entry under ``reports:``, None where none is named."""
    reports = study.reports
    if name is not None and name not in reports:
        listed = f"there are {', '.join(reports)}" if reports else "it names none under 'reports:'"
        raise StudyProblem(f"{Path(study.path).name} has no report {name!r}{nearest(name, reports)}; {listed}")
    return reports.get(name)


def _given(known: dict[Path, dict[str, Parameter]], parameters: dict, settings, report) -> dict[Path, dict]:
    """Return the values that each notebook is given, of a report's declaration and, outranking it, in text."""
    asked = [(name, value, False, f"report {report!r}") for name, value in parameters.items()]
    asked += [(name, text, True, f"--set {name}={text}") for name, text in settings]
    given: dict[Path, dict] = {path: {} for path in known}
    for name, value, in_words, by in asked:
        if name == STUDY:
            raise StudyProblem(f"{by}: the study is the command's first argument, not a parameter")
        holders = {path: names[name] for path, names in known.items() if name in names}
        if not holders:
            every = sorted({n for names in known.values() for n in names} - {STUDY})
            where = ", ".join(path.name for path in known)
            listed = f"there are {', '.join(every)}" if every else "there are none"
            raise StudyProblem(f"{by}: no parameter {name!r} in {where}{nearest(name, every)}; {listed}")
        for path, parameter in holders.items():
            given[path][name] = notebook_files.fitting_value(parameter, value, given_by=by, in_words=in_words)
    return given


def _lacks(notebook, study) -> str | None:
    needs = notebook.metadata.get("cxresearch", {}).get("needs")
    return study.lacks(needs) if needs else None


def cells_of(opened, each: Sequence[str], *, whole: bool = False, min_rows: int = 1) -> list[Cell]:
    """Return the cells of a fan-out in the order of their values, the whole first, those under the base as one last.
    There is a cell for each combination of values that some row has; one with fewer than `min_rows` rows is skipped.
    """
    asked, base = f"--each {' '.join(each)}", opened.min_base
    narrow.require_groups(opened, each)
    if len(set(each)) < len(each):
        raise StudyProblem(f"--each names {', '.join(each)}; name each column once")
    narrow.require_no_contacts(opened, each)
    lost = narrow.cannot_narrow(opened.column_names, each)
    table = next((t for t in opened.column_names if t not in lost), None)
    if table is None:
        raise StudyProblem(f"no table of {opened.path.name} can be narrowed to {' and '.join(each)} at once")
    counts = _counts(opened, list(each), table)
    if len(counts) > MOST_CELLS:
        raise StudyProblem(f"{asked} asks for {len(counts):,} reports; at most {MOST_CELLS:,} are made")
    shown = counts[counts["people"] >= base]
    if shown.empty:
        few = f"none of {len(counts):,} values has {base} people or rows of {table}, the minimum base"
        raise StudyProblem(f"{asked}: {few}; name a column with fewer, larger groups")
    for i, column in enumerate(each):
        narrow.require_no_contact(opened, column, dict.fromkeys(only[i][1] for only in shown["only"]))
    values = [tuple(value for _, value in only) for only in counts["only"]]
    hidden = hidden_values(values, counts["people"], min_base=base)
    beside = "beside the others and the whole, this report would tell the size of one under the minimum base"
    cells = [Cell(WHOLE, (), len(opened.read(table).table))] if whole else []
    for name, (i, row) in zip(safe_names(shown["only"]), shown.iterrows()):
        few = f"{row['rows']} rows of {table}; the report asks for {min_rows}" if row["rows"] < min_rows else None
        skip = beside if hidden[i] else few
        cells.append(Cell(name, row["only"], int(row["rows"]), skip, ", ".join(value for _, value in row["only"])))
    if left := len(counts) - len(shown):
        label = f"{left} value{'s' * (left > 1)} under the minimum base"
        cells.append(Cell("", (), 0, f"fewer than {base} people or rows of {table}, the minimum base", label))
    return cells


def _counts(opened, each: list[str], counted: str) -> pd.DataFrame:
    """Return for each combination of values, in their order, ``only``, ``rows`` and ``people``.
    A column of another table is joined by customer. A value that few people have in its own table is under the base,
    however many rows of another they account for.
    """
    columns, table = opened.column_names, opened.read(counted).table
    joined = pd.DataFrame({c: as_words(table[c]) for c in each if c in columns[counted]})
    elsewhere = [c for c in each if c not in joined]
    joined = joined.assign(_row=range(len(table)), _who=narrow.people_of(counted, table).to_numpy())
    joined = joined.assign(**{CUSTOMER: table[CUSTOMER]}) if elsewhere else joined
    for holder in dict.fromkeys(narrow.holder_of(columns, c) for c in elsewhere):
        theirs = opened.read(holder).table
        values = {c: as_words(theirs[c]) for c in each if c in columns[holder]}
        having = pd.DataFrame({CUSTOMER: theirs[CUSTOMER], **values}).dropna().drop_duplicates()
        joined = joined.merge(having, on=[c for c in having if c in joined])
    people = {c: narrow.people_with(opened, c) for c in elsewhere}
    rows = []
    for *key, n, who in joined.groupby(each)[["_row", "_who"]].nunique().reset_index().to_numpy().tolist():
        only = tuple(zip(each, key))
        rows.append((only, n, min([who, *(people[c][value] for c, value in only if c in people)])))
    rows.sort(key=lambda row: [natural_key(value) for _, value in row[0]])
    return pd.DataFrame(rows, columns=["only", "rows", "people"])


def safe_names(cells: Iterable[Only]) -> list[str]:
    """Return a folder name for each cell: readable, and safe on any file system.
    Where values had to be changed, or names would differ only in capitals, eight digits of their hash follow.
    """
    cells = list(cells)
    joined = ["-".join(value for _, value in only) for only in cells]
    slugs = []
    for text in joined:
        slug = re.sub(r"[^\w-]+", "-", unicodedata.normalize("NFC", text)).strip("-_") or "value"
        slugs.append(slug.encode()[:NAME_LENGTH].decode(errors="ignore").rstrip("-_"))
    times = Counter(slug.casefold() for slug in slugs)
    names = []
    for slug, text, only in zip(slugs, joined, cells):
        as_it_is = slug == text and times[slug.casefold()] == 1 and slug.casefold() not in RESERVED
        names.append(slug if as_it_is else f"{slug}-{hashlib.sha256(json.dumps(only).encode()).hexdigest()[:8]}")
    return names
