"""Notebooks for exploring a study: copies beside it, with its path in their parameters cell."""

import json
import os
import re
from pathlib import Path

import nbformat

from cxresearch.errors import StudyProblem
from cxresearch.runs.notebooks import notebooks_folder
from cxresearch.runs.parameters import STUDY, TAG

ASSIGNED = re.compile(rf"^{STUDY} = (['\"]).*?\1", re.M)


def notebooks_for(study=None, *, notebooks=None) -> Path:
    """Return the folder of notebooks to open.

    Parameters
    ----------
    study : path, optional
        ``study.yml`` or its folder; it must open. Without it, or if it is the study that the notebooks name, the
        notebooks themselves are returned; otherwise copies in ``notebooks/`` beside it. A copy that exists is kept: it
        may hold somebody's work.
    notebooks : path, optional
        Folder of the notebooks; without it, ``notebooks/`` here or in the nearest parent folder.

    Raises
    ------
    StudyProblem
        If the study or the notebooks cannot be read.
    """
    folder = notebooks_folder(notebooks)
    if study is None:
        return folder
    from cxresearch.study import open_study

    path = Path(open_study(study).path).resolve()
    read = {p.name: nbformat.read(p, as_version=4) for p in sorted(folder.glob("*.ipynb"))}
    if all(_named(notebook, folder) == path for notebook in read.values()):
        return folder
    copies = path.parent / "notebooks"
    if copies.resolve() == folder:
        raise StudyProblem(f"{folder} lies beside the study and names another; set its parameter 'study' there")
    copies.mkdir(exist_ok=True)
    for name, notebook in read.items():
        if not (copies / name).exists():
            nbformat.write(_with_study(notebook, path, copies), copies / name)
    return copies


def _parameters_cell(notebook):
    return next((c for c in notebook.cells if TAG in c.metadata.get("tags", [])), None)


def _named(notebook, folder: Path) -> Path | None:
    """Return the study that a notebook names."""
    cell = _parameters_cell(notebook)
    found = ASSIGNED.search(cell.source) if cell else None
    return (folder / found.group().split("=", 1)[1].strip()[1:-1]).resolve() if found else None


def _with_study(notebook, study: Path, folder: Path):
    cell = _parameters_cell(notebook)
    if cell is not None:
        near = Path(os.path.relpath(study, folder)).as_posix()
        cell.source = ASSIGNED.sub(lambda _: f"{STUDY} = {json.dumps(near, ensure_ascii=False)}", cell.source, count=1)
    return notebook
