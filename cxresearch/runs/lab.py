"""Notebooks for exploring a study: copies beside it, with its path in their parameters cell."""

import json
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

import nbformat

from cxresearch.errors import StudyProblem
from cxresearch.progress import WANTED
from cxresearch.runs.notebooks import STUDY, TAG, notebooks_folder

KERNEL = {
    "argv": [sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}"],
    "display_name": "CX research",
    "language": "python",
    "metadata": {"debugger": True},
}
NO_NEWS = {"@jupyterlab/apputils-extension:notification": {"fetchNews": "false", "checkForUpdates": False}}
ASSIGNED = re.compile(rf"^{STUDY} = (['\"])(?P<path>.*?)\1", re.M)


def notebooks_for(study=None, *, notebooks=None) -> Path:
    """Return the folder of notebooks to open: the notebooks themselves, or copies beside a study that they do not name.

    A copy that exists is kept: it may hold somebody's work.
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
    line = f"{STUDY} = {json.dumps(Path(os.path.relpath(path, copies)).as_posix(), ensure_ascii=False)}"
    for name, notebook in read.items():
        if not (copies / name).exists():
            cell = _parameters_cell(notebook)
            cell.source = ASSIGNED.sub(lambda _: line, cell.source, count=1)
            nbformat.write(notebook, copies / name)
    return copies


def _parameters_cell(notebook):
    tagged = (c for c in notebook.cells if TAG in c.metadata.get("tags", []))
    return next(tagged, nbformat.v4.new_code_cell())


def _named(notebook, folder: Path) -> Path | None:
    """Return the study that a notebook names."""
    found = ASSIGNED.search(_parameters_cell(notebook).source)
    return (folder / found["path"]).resolve() if found else None


def open_lab(study=None, *, notebooks=None, browser: bool) -> int:
    """Run JupyterLab on `notebooks_for` a study until it ends, and return its exit status."""
    folder = notebooks_for(study, notebooks=notebooks)
    words = [sys.executable, "-m", "jupyterlab", f"--ServerApp.root_dir={folder.parent}"]
    words += [f"--LabApp.default_url=/lab/tree/{folder.name}", *(["--no-browser"] if not browser else [])]
    words += ["--allow-root"] if hasattr(os, "geteuid") and os.geteuid() == 0 else []  # in a container one often is
    with tempfile.TemporaryDirectory(prefix="cxr-lab-") as place:
        try:
            return subprocess.run(words, env=_environment(Path(place))).returncode
        except KeyboardInterrupt:  # JupyterLab got it, too, and has ended
            return 0


def _environment(place: Path) -> dict[str, str]:
    """Return the environment with the kernel's name and without news, kept in `place`; the user's stays."""
    files = {
        "data/kernels/python3/kernel.json": KERNEL,  # the name that the notebooks ask for
        "config/labconfig/default_setting_overrides.json": NO_NEWS,
    }
    for name, content in files.items():
        (place / name).parent.mkdir(parents=True)
        (place / name).write_text(json.dumps(content), encoding="utf-8")
    paths = {"JUPYTER_PATH": str(place / "data"), "JUPYTER_CONFIG_PATH": str(place / "config")}
    paths = {k: os.pathsep.join(filter(None, [ours, os.environ.get(k)])) for k, ours in paths.items()}
    return {**os.environ, **paths, WANTED: "1", "OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}
