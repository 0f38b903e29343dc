"""What a run will do, settled before anything starts: the study, its notebooks, their parameters, what is skipped."""

import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

from cxresearch.errors import StudyProblem, nearest
from cxresearch.runs.matrix import Cell, cells_of
from cxresearch.runs.notebooks import (
    OURS,
    STUDY,
    Parameter,
    fitting_value,
    in_order,
    notebooks_folder,
    project_of,
    read_notebook,
    read_parameters,
    value_from_text,
)
from cxresearch.runs.record import sha256
from cxresearch.study.narrow import require_groups, split_reference
from cxresearch.study.shared import require_unchanged, signature


@dataclass(frozen=True)
class Task:
    """One notebook of a run: its file, and the notebook as read, without outputs.

    `sha256` is of the file; `given` are the parameters to inject, `parameters` all of them with their defaults, both
    without ``study``; `headline` names the saved finding that heads the report; `skip` is why the study cannot answer.
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
        self.require_unchanged("while it was read")
        if not self.each:
            return (Cell("", (), 0),)
        return tuple(cells_of(self.opened, self.each, whole=self.whole, min_rows=self.min_rows))

    def require_unchanged(self, when: str) -> None:
        """Raise `StudyProblem` if a file of the study is not what it was when the plan was made."""
        require_unchanged(dict(self.seen), signature(self.opened), when)

    def narrowed(self, only) -> "Plan":
        """Return the plan for a part of the study; notebooks that need what the part does not have are skipped."""
        if not only:
            return replace(self, each=())
        part = self.opened.narrowed(only)
        tasks = tuple(t if t.skip else replace(t, skip=_lacks(t.notebook, part)) for t in self.tasks)
        title = f"{self.title}: {part.part}"
        return replace(self, study=Path(part.reference), title=title, tasks=tasks, each=())


def plan_run(
    study, *, report=None, only=(), settings=(), notebooks=None, each=(), whole=False, today=None, now=None
) -> Plan:
    """Check everything that can be checked without executing, and return the plan.

    Arguments are those of the command line; `settings` (name, text) outrank the report's parameters, `today` and `now`
    are held against ``delete_after`` and ``max_age``. The tables are loaded and checked; those of a fan-out when its
    cells are asked for. Raises `StudyProblem` and `DataProblem`.
    """
    from cxresearch.study import open_study

    folder = notebooks_folder(notebooks)
    opened = open_study(study, today=today)
    opened.require_fresh(now=now)
    declared = declared_report(opened, report)
    wanted, parameters = (declared.notebooks, declared.parameters) if declared else ((), {})
    paths = _selected(_selected(in_order(folder), wanted, f"report {report!r}"), only, "--only")
    read = {path: read_notebook(path) for path in paths}
    known = {path: read_parameters(notebook, file_name=path.name) for path, notebook in read.items()}
    given = _given(known, parameters, settings, report)
    each = tuple(each or (declared.each if declared else ()))
    require_groups(opened, each)
    seen = signature(opened)
    file = split_reference(opened.reference)[0]
    files = sorted({file, *(Path(f).resolve() for f in opened.files)})
    plan = Plan(
        Path(opened.reference),
        opened,
        opened.title,
        report,
        tuple(only),
        project_of(folder),
        tuple(_task(path, read[path], known[path], given[path], opened) for path in paths),
        seen,
        {Path(os.path.relpath(f, file.parent)).as_posix(): sha256(f) for f in files},
        each,
        whole or bool(declared and declared.whole),
        declared.min_rows if declared else 1,
        folder in OURS and project_of(folder) != folder.parent,
    )
    if not each:
        plan.cells  # noqa: B018  reads the tables
    return plan


def _selected(paths: list[Path], names, asked_by: str) -> list[Path]:
    """Return the notebooks named, in the order named; all of them if none is."""
    known = {p.stem: p for p in paths}
    stems = {Path(name).name.removesuffix(".ipynb"): name for name in names}
    for stem, name in stems.items():
        if stem not in known:
            listed = f"{nearest(stem, known)}; there are {', '.join(known)}"
            raise StudyProblem(f"{asked_by}: there is no notebook {name!r}{listed}")
    return [known[stem] for stem in stems] or paths


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
    for name, value, is_text, by in asked:
        if name == STUDY:
            raise StudyProblem(f"{by}: the study is the command's first argument, not a parameter")
        holders = {path: names[name] for path, names in known.items() if name in names}
        if not holders:
            every = sorted({n for names in known.values() for n in names} - {STUDY})
            where = ", ".join(path.name for path in known)
            listed = f"there are {', '.join(every)}" if every else "there are none"
            raise StudyProblem(f"{by}: no parameter {name!r} in {where}{nearest(name, every)}; {listed}")
        for path, parameter in holders.items():
            read = value_from_text(parameter, value) if is_text else value
            given[path][name] = fitting_value(parameter, read, given_by=by)
    return given


def _task(path: Path, notebook, known: dict[str, Parameter], given: dict, study) -> Task:
    ours = notebook.metadata.get("cxresearch", {})
    defaults = {name: p.default for name, p in known.items() if name != STUDY}
    known_ones, skip = {**defaults, **given}, _lacks(notebook, study)
    return Task(path.stem, path, sha256(path), notebook, given, known_ones, ours.get("headline"), skip)


def _lacks(notebook, study) -> str | None:
    needs = notebook.metadata.get("cxresearch", {}).get("needs")
    return study.lacks(needs) if needs else None
