"""Notebooks: where those of a project are, their order and parameters, what they call, and copies for exploring a study.

papermill only warns about a parameter it does not know and says nothing about one of the wrong type; both are refused
here before anything starts.
"""

import ast
import importlib
import json
import os
import re
import subprocess
import sys
import tempfile
import tomllib
from collections import namedtuple
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Annotated, Literal

import pandas as pd
from pydantic import AfterValidator, Field, JsonValue, TypeAdapter

import cxresearch
from cxresearch.errors import StudyProblem, nearest
from cxresearch.findings import Finding, as_text, words
from cxresearch.progress import WANTED
from cxresearch.study import Study, open_study

ORDER = "intake scorecard effort promoters segmentation loyalty_revenue drivers service_profit_chain claims".split()
# those that come with the package: beside its source, or where a wheel puts them
OURS = (Path(cxresearch.__file__).resolve().parents[1] / "notebooks", Path(sys.prefix, "share/cxresearch/notebooks"))
STUDY = "study"  # the parameter every notebook has; set from the command's first argument
TAG = "parameters"
SLOW_GRAMMAR = "rfc3987_syntax"  # 0.9 s, for a format that no notebook uses; jsonschema does without it if it is absent
say = words(__package__)


def import_lightly(name: str):
    """Return a module that imports jsonschema, imported without a slow grammar."""
    absent = SLOW_GRAMMAR not in sys.modules and "jsonschema._format" not in sys.modules
    sys.modules.update({SLOW_GRAMMAR: None} if absent else {})
    try:
        return importlib.import_module(name)
    finally:
        if absent:
            sys.modules.pop(SLOW_GRAMMAR, None)


def notebooks_folder(given=None) -> tuple[Path, Path, bool]:
    """Return the folder of the notebooks (`given`, or ``notebooks/`` here or in the nearest parent, or the package's),
    the project, which holds them and ``reports`` (with the package's, the working folder), and if they are the package's.
    """
    here = Path.cwd()
    candidates = [Path(given)] if given else [*(p / "notebooks" for p in (here, *here.parents)), *OURS]
    found = next((p for p in candidates if p.is_dir()), None)
    if found is None:
        where = f"there is no folder {given}" if given else "there is no folder 'notebooks' here or in a parent folder"
        raise StudyProblem(f"{where}; name the folder with --notebooks")
    if not any(found.glob("*.ipynb")):
        raise StudyProblem(f"folder {given or 'notebooks'} holds no notebook (*.ipynb)")
    folder, here = found.resolve(), Path.cwd()
    project = here if folder in OURS and not folder.is_relative_to(here) else folder.parent
    return folder, project, project != folder.parent


def in_order(folder: Path) -> list[Path]:
    """Return the notebooks as they are to be read: those of `ORDER`, then by name; without those that ask somebody."""

    def asks(path: Path) -> bool:
        try:
            return json.loads(path.read_text(encoding="utf-8"))["metadata"]["cxresearch"]["interactive"]
        except (ValueError, KeyError, TypeError, OSError):  # nothing is said; reading what is no notebook says so
            return False

    places = {name: place for place, name in enumerate(ORDER)}
    found = (path for path in folder.glob("*.ipynb") if not asks(path))
    return sorted(found, key=lambda path: (places.get(path.stem, len(ORDER)), path.stem))


def read_notebook(path: Path):
    """Return the notebook without outputs; refuse one that no kernel here could execute."""
    nbformat = import_lightly("nbformat")
    from jupyter_client.kernelspec import KernelSpecManager

    try:
        notebook = nbformat.v4.upgrade(nbformat.read(path, as_version=4))
    except (nbformat.reader.NotJSONError, nbformat.ValidationError, UnicodeDecodeError, AttributeError) as error:
        raise StudyProblem(f"{path.name} is not a notebook: {str(error).splitlines()[0]}") from None
    kernel = notebook.metadata.get("kernelspec", {}).get("name")
    if not kernel:
        raise StudyProblem(f"{path.name} names no kernel; open it in JupyterLab, choose one and save it")
    if kernel not in (installed := sorted(KernelSpecManager().find_kernel_specs())):
        found = f"which is not installed; installed: {', '.join(installed)}"
        raise StudyProblem(f"{path.name} asks for the kernel {kernel!r}, {found}")
    return notebook


# parameters, as a notebook declares them and as a run gives them
WORDS = {str: "text", bool: "true or false", int: "a whole number", float: "a number"}
WORDS |= {list: "a list", dict: "a mapping"}
NAMED_TYPES = {kind.__name__: kind for kind in WORDS}
TRUE_FALSE = {"true": True, "yes": True, "false": False, "no": False}
# One assignment of a parameters cell; a default that is no literal is its source, an open type is None.
Parameter = namedtuple("Parameter", "name default type notebook")


def parameters_cell(notebook):
    """Return the cell of a notebook that holds its parameters, None where none is tagged so."""
    return next((c for c in notebook.cells if c.cell_type == "code" and TAG in c.metadata.get("tags", [])), None)


def read_parameters(notebook, *, file_name: str) -> dict[str, Parameter]:
    """Return the parameters of a notebook by name; refuse one whose parameters cell is missing or has no ``study``.

    The cell is read with `ast`: papermill's own inspection passes over a line with a second ``=``, even in its comment.
    """
    cell = parameters_cell(notebook)
    if cell is None:
        advice = "tag the cell that holds its parameters, or a run could set none of them"
        raise StudyProblem(f"{file_name} has no cell tagged 'parameters'; {advice}")
    try:
        tree = ast.parse(cell.source)
    except SyntaxError as error:
        at = f"{file_name}: line {error.lineno} of its parameters cell"
        raise StudyProblem(f"{at} is not Python: {error.msg}") from None
    found = {}
    for node in tree.body:
        target = getattr(node, "target", None) or getattr(node, "targets", [None])[0]
        if isinstance(node, (ast.Assign, ast.AnnAssign)) and isinstance(target, ast.Name) and node.value:
            try:
                default = ast.literal_eval(node.value)
                kind = {type(None): None, tuple: list}.get(type(default), type(default))
            except ValueError:
                default, kind = ast.unparse(node.value), None
            declared = getattr(getattr(node, "annotation", None), "id", None)
            found[target.id] = Parameter(target.id, default, NAMED_TYPES.get(declared, kind), file_name)
    if STUDY not in found:
        line = 'add the line study = "path of study.yml"'
        raise StudyProblem(f"{file_name}: its parameters cell has no 'study'; {line}")
    return found


def fitting_value(parameter: Parameter, value, *, given_by: str, in_words: bool = False):
    """Return `value` as the notebook shall get it; refuse another type, or what no notebook can hold.

    What is given `in_words` (``--set NAME=words``) is read as the type of the default; where that is text, it is taken
    as it stands (``NO`` is Norway, ``010`` stays ``010``). A whole number serves for a number; true is not 1; a date or
    NaN cannot be written into a notebook.
    """
    if in_words and parameter.type is bool:
        value = TRUE_FALSE.get(value.strip().casefold(), value)
    elif in_words and parameter.type is not str:
        with suppress(ValueError, SyntaxError):
            value = ast.literal_eval(value.strip())
    value = list(value) if isinstance(value, tuple) else value
    if parameter.type is float and type(value) is int:
        value = float(value)
    where, word = f"{given_by}: {parameter.name} of {parameter.notebook}", WORDS.get(type(value))
    found = f"{word} {value!r}" if word else "None" if value is None else f"{type(value).__name__} {value}"
    try:
        TypeAdapter(JsonValue).validate_python(value)
        json.dumps(value, allow_nan=False)
    except ValueError:
        why = "give text, a finite number, true, false, None, or a list or mapping of these"
        raise StudyProblem(f"{where} cannot be {found}; {why}") from None
    if parameter.type is not None and type(value) is not parameter.type:
        quote = "; write it in quotation marks" if parameter.type is str and value is not None else ""
        expected = f"{WORDS[parameter.type]} (default {parameter.default!r})"
        raise StudyProblem(f"{where} is {expected}; found {found}{quote}")
    return value


# what fits a parameter of the notebooks, by its name
FITTING = tomllib.loads(Path(__file__).with_name("parameters.toml").read_text(encoding="utf-8"))
KINDS = {"number": float, "whole": int, "text": str, "span": Annotated[int, Field(ge=1)] | str, "names": str | list}
KINDS["day"] = Annotated[object, AfterValidator(pd.Timestamp)]
KINDS["file"] = Annotated[str, AfterValidator(lambda path: Path(path).resolve(strict=True))]
MOST = 20  # columns that a refusal lists


def study_of(given: Mapping[str, object]) -> Study:
    """Return the study that the parameters of a notebook name, after each of them was checked; `given` is ``vars()``.

    Raises
    ------
    StudyProblem
        If a parameter does not fit: it is named, with what was found and what there is.

    Examples
    --------
    >>> cx.study_of({"study": "data/example/study.yml", "group": "region", "confidence": 0.9}).path.name
    'study.yml'
    """
    study = open_study(given["study"])
    for name in FITTING.keys() & given.keys():
        _check(study, name, given[name], **FITTING[name])
    return study


def _check(study, name: str, value, *, type="", choices=(), columns=None, words="", open=False, **limits) -> None:
    """Refuse a value of a parameter that does not fit."""
    if open and value is None:
        return
    if columns is not None:
        there = sorted({c for table, names in study.column_names.items() if columns in ("", table) for c in names})
        absent = [column for column in (value if isinstance(value, list) else [value]) if column not in there]
        if not absent:
            return
        more = f" and {len(there) - MOST} more" if len(there) > MOST else ""
        where = f"table {columns} has" if columns else "the study has"
        what = f"{where} no column {absent[0]!r}{nearest(absent[0], there)}; there are {', '.join(there[:MOST])}{more}"
        raise StudyProblem(f"parameter {name} = {value!r}: {what}")
    try:
        kind = Literal[tuple(choices)] if choices else Annotated[KINDS[type], Field(**limits)]
        TypeAdapter(kind).validate_python(value, strict=True)
    except (ValueError, TypeError, OSError):
        fits = f"one of {', '.join(map(repr, choices))}" if choices else words
        raise StudyProblem(f"parameter {name} = {value!r}: give {fits}{', or None' if open else ''}") from None


def answer(finding: Finding):
    """Return the finding that heads a notebook as its answer, in Markdown: its sentence, and what to look at next.

    Examples
    --------
    >>> print(cx.answer(cx.nps(study.responses, "recommend")).data)
    > Would recommend us: net promoter score 22.9 points ... **What to look at next.** See which touchpoint moved, ...
    """
    from IPython.display import Markdown

    told, about = finding._repr_markdown_()
    return Markdown(f"{told}\n\n**{say['next']}** {as_text(what_next(finding))}", metadata=about)


def what_next(finding: Finding) -> str:
    """Return what to look at next: what an established finding leads to, or what would settle one that is not."""
    if finding.summary["method"] == "none":
        return say("next_refused")
    ending = "onward_open" if finding.established is False else "onward_found"
    ranked = finding.function == "driver_importance"
    first = finding.label(finding.table.set_index("term")["share"].idxmax()) if ranked else ""
    return say.told(next(key for key in (f"{ending}_{finding.function}", ending) if key in say), first=first)


# in JupyterLab
ASSIGNED = re.compile(rf"^{STUDY} = (['\"])(?P<path>.*?)\1", re.M)
NO_NEWS = {"@jupyterlab/apputils-extension:notification": {"fetchNews": "false", "checkForUpdates": False}}


def notebooks_for(study=None, *, notebooks=None) -> Path:
    """Return the folder of notebooks to open: they, or copies beside a study that they do not name; old copies are kept."""
    nbformat, folder = import_lightly("nbformat"), notebooks_folder(notebooks)[0]
    if study is None:
        return folder
    path = Path(open_study(study).path).resolve()
    read = {p.name: nbformat.read(p, as_version=4) for p in sorted(folder.glob("*.ipynb"))}
    cells = {name: cell for name, notebook in read.items() if (cell := parameters_cell(notebook))}
    named = {name: found["path"] for name, cell in cells.items() if (found := ASSIGNED.search(cell.source))}
    if len(named) == len(read) and {(folder / other).resolve() for other in named.values()} == {path}:
        return folder
    copies = path.parent / "notebooks"
    if copies.resolve() == folder:
        raise StudyProblem(f"{folder} lies beside the study and names another; set its parameter 'study' there")
    copies.mkdir(exist_ok=True)
    line = f"{STUDY} = {json.dumps(Path(os.path.relpath(path, copies)).as_posix(), ensure_ascii=False)}"
    for name, notebook in read.items():
        if not (copies / name).exists():
            if name in named:
                cells[name].source = ASSIGNED.sub(lambda _: line, cells[name].source, count=1)
            nbformat.write(notebook, copies / name)
    return copies


def open_lab(study=None, *, notebooks=None, browser: bool) -> int:
    """Run JupyterLab on `notebooks_for` a study and return its exit status; what it sets, it sets for this once."""
    from ipykernel.kernelspec import get_kernel_dict

    folder = notebooks_for(study, notebooks=notebooks)
    command = [sys.executable, "-m", "jupyterlab", f"--ServerApp.root_dir={folder.parent}"]
    command += [f"--LabApp.default_url=/lab/tree/{folder.name}", *(["--no-browser"] if not browser else [])]
    command += ["--allow-root"] if hasattr(os, "geteuid") and os.geteuid() == 0 else []  # in a container one often is
    files = {  # the kernel under the name that the notebooks ask for
        "JUPYTER_PATH": ("kernels/python3/kernel.json", get_kernel_dict() | {"display_name": "CX research"}),
        "JUPYTER_CONFIG_PATH": ("labconfig/default_setting_overrides.json", NO_NEWS),
    }
    with tempfile.TemporaryDirectory(prefix="cxr-lab-") as place:
        environment = {**os.environ, WANTED: "1", "OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}
        for name, (file, content) in files.items():
            path = Path(place, name, file)
            path.parent.mkdir(parents=True)
            path.write_text(json.dumps(content), encoding="utf-8")
            environment[name] = os.pathsep.join(filter(None, [str(Path(place, name)), os.environ.get(name)]))
        try:
            return subprocess.run(command, env=environment).returncode
        except KeyboardInterrupt:  # JupyterLab got it, too, and has ended
            return 0
