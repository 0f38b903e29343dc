"""What a run will do, settled before anything starts: the study, its notebooks, their parameters, what is skipped."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from cxresearch.errors import StudyProblem, nearest
from cxresearch.runs.notebooks import in_order, notebooks_folder, read_notebook
from cxresearch.runs.parameters import STUDY, Parameter, fitting_value, read_parameters, value_from_text
from cxresearch.study.narrow import split_reference
from cxresearch.study.shared import require_unchanged, signature


@dataclass(frozen=True)
class Task:
    """One notebook of a run.

    Attributes
    ----------
    name, path
        File stem and file.
    notebook
        The notebook as read, without outputs.
    given
        Parameters to inject, besides ``study``.
    parameters
        All parameters, defaults included, besides ``study``.
    headline
        Name of the saved finding whose sentence heads the report, or None.
    skip
        Why the study cannot answer this notebook's question, or None.
    """

    name: str
    path: Path
    notebook: object
    given: dict
    parameters: dict
    headline: str | None
    skip: str | None


@dataclass(frozen=True)
class Plan:
    """A run that may start.

    Attributes
    ----------
    study, files
        What opens the study, or a part of it (``study.yml?market=North``), and every file that it names.
    title
        The study's title.
    report
        Name of the entry under ``reports:``, or None for all notebooks.
    project
        Folder that holds the notebooks folder.
    tasks
        The notebooks, in reading order.
    minimum_base
        The study's: no base under it is shown.
    queries
        Table -> digest of its query and of the rows that this returned, for tables from a database.
    privacy
        What is done so that no result names anybody, one sentence each.
    inputs
        Digest of each input by its path from the study, where they are known already; None has a run find them.
    digest
        Of all that the run's content follows from (`cxresearch.runs.unchanged`), where it is known.
    """

    study: Path
    files: tuple[Path, ...]
    title: str
    report: str | None
    project: Path
    tasks: tuple[Task, ...]
    minimum_base: int
    queries: Mapping[str, str] = field(default_factory=dict)
    privacy: tuple[str, ...] = ()
    inputs: Mapping[str, str] | None = None
    digest: str | None = None

    @property
    def file(self) -> Path:
        """``study.yml`` itself."""
        return split_reference(self.study)[0]


def plan_run(study, *, report=None, only=(), settings=(), notebooks=None, today=None, now=None) -> Plan:
    """Check everything that can be checked without executing, and return the plan; `plan_study` says how."""
    return plan_study(study, report=report, only=only, settings=settings, notebooks=notebooks, today=today, now=now)[0]


def plan_study(study, *, report=None, only=(), settings=(), notebooks=None, today=None, now=None, load=True):
    """Check everything that can be checked without executing; return the plan and the opened study.

    Parameters
    ----------
    study : path
        ``study.yml``, or a part of it (``study.yml?market=North``). All of its tables are loaded and checked.
    report : str, optional
        Entry under ``reports:`` of the study; without it, every notebook of the folder.
    only : sequence of str
        Names of notebooks to keep.
    settings : sequence of (name, text)
        Parameters as given on the command line; they outrank those of the report.
    notebooks : path, optional
        Folder of the notebooks; without it, ``notebooks/`` in the working folder or the nearest parent that has one.
    today : date, optional
        Held against the study's ``delete_after``; without it, the computer's date.
    now : datetime, optional
        Held against the ``max_age`` of its tables; without it, the computer's time.
    load : bool
        False leaves the tables for later: `load_unchanged`.

    Raises
    ------
    StudyProblem, DataProblem
        If the study, the report, a notebook or a parameter is wrong, the data were to be deleted by now, or a file
        is older than its table allows.
    """
    from cxresearch.study import open_study

    folder = notebooks_folder(notebooks)
    opened = open_study(study)
    opened.require_in_time(today=today)
    opened.require_fresh(now=now)
    wanted, parameters = _report(opened, report)
    paths = _selected(_selected(in_order(folder), wanted, f"report {report!r}"), only, "--only")
    read = {path: read_notebook(path) for path in paths}
    known = {path: read_parameters(notebook, file_name=path.name) for path, notebook in read.items()}
    given = _given(known, parameters, settings, report)
    if load:
        load_unchanged(opened)
    tasks = tuple(_task(path, read[path], known[path], given[path], opened) for path in paths)
    base = opened.min_base
    plan = Plan(Path(opened.reference), tuple(opened.files), opened.title, report, folder.parent, tasks, base)
    return replace(plan, queries=opened.queries, privacy=tuple(opened.privacy)), opened


def load_unchanged(opened) -> dict:
    """Read and check every table of a study; return the signature of its files, which stayed the same meanwhile."""
    seen = signature(opened)
    opened.load_all()
    require_unchanged(seen, signature(opened), "while it was read")
    return seen


def narrowed_plan(plan: Plan, opened, only) -> Plan:
    """Return the plan for a part of the study; notebooks that need what the part does not have are skipped.

    Parameters
    ----------
    plan, opened
        Of the whole study, from `plan_study`.
    only
        Columns and values of the part.
    """
    part = opened.narrowed(only)
    tasks = tuple(t if t.skip else replace(t, skip=_lacks(t.notebook, part)) for t in plan.tasks)
    return replace(plan, study=Path(part.reference), title=f"{plan.title}: {part.part}", tasks=tasks)


def _selected(paths: list[Path], names, asked_by: str) -> list[Path]:
    """Return the notebooks named, in the order named; all of them if none is."""
    known = {p.stem: p for p in paths}
    stems = {Path(name).name.removesuffix(".ipynb"): name for name in names}
    for stem, name in stems.items():
        if stem not in known:
            raise StudyProblem(
                f"{asked_by}: there is no notebook {name!r}{nearest(stem, known)}; there are {', '.join(known)}"
            )
    return [known[stem] for stem in stems] or paths


def _report(study, name: str | None) -> tuple[tuple[str, ...], dict]:
    """Return the notebooks and parameters of an entry under ``reports:``; no notebooks stands for all."""
    if name is None:
        return (), {}
    reports, file = study.reports, Path(study.path).name
    if name not in reports:
        listed = f"there are {', '.join(reports)}" if reports else "it names none under 'reports:'"
        raise StudyProblem(f"{file} has no report {name!r}{nearest(name, reports)}; {listed}")
    return reports[name].notebooks, reports[name].parameters


def _given(known: dict[Path, dict[str, Parameter]], parameters: dict, settings, report) -> dict[Path, dict]:
    given: dict[Path, dict] = {path: {} for path in known}
    for name, value in parameters.items():
        _spread(given, known, name, lambda _, v=value: v, f"report {report!r}")
    for name, text in settings:
        _spread(given, known, name, lambda p, t=text: value_from_text(p, t), f"--set {name}={text}")
    return given


def _spread(given, known, name: str, value_for, given_by: str) -> None:
    """Set parameter `name` in every notebook that has it."""
    if name == STUDY:
        raise StudyProblem(f"{given_by}: the study is the command's first argument, not a parameter")
    holders = [path for path in known if name in known[path]]
    if not holders:
        every = sorted({n for names in known.values() for n in names} - {STUDY})
        where = ", ".join(path.name for path in known)
        listed = f"there are {', '.join(every)}" if every else "there are none"
        raise StudyProblem(f"{given_by}: no parameter {name!r} in {where}{nearest(name, every)}; {listed}")
    for path in holders:
        parameter = known[path][name]
        given[path][name] = fitting_value(parameter, value_for(parameter), given_by=given_by)


def _task(path: Path, notebook, known: dict[str, Parameter], given: dict, study) -> Task:
    ours = notebook.metadata.get("cxresearch", {})
    defaults = {name: p.default for name, p in known.items() if name != STUDY}
    return Task(path.stem, path, notebook, given, {**defaults, **given}, ours.get("headline"), _lacks(notebook, study))


def _lacks(notebook, study) -> str | None:
    needs = notebook.metadata.get("cxresearch", {}).get("needs")
    return study.lacks(needs) if needs else None
