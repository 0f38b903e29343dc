"""The notebooks of a project: where they are, in which order they are read, and which parameters they have.

papermill only warns about a parameter it does not know and says nothing about one of the wrong type; both are refused
here before anything starts.
"""

import ast
import json
import sys
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from pydantic import JsonValue, TypeAdapter

import cxresearch
from cxresearch.errors import StudyProblem

ORDER = "intake scorecard effort promoters segmentation loyalty_revenue drivers service_profit_chain claims".split()
# those that come with the package: beside its source, or where a wheel puts them
OURS = (Path(cxresearch.__file__).resolve().parents[1] / "notebooks", Path(sys.prefix, "share/cxresearch/notebooks"))
STUDY = "study"  # the parameter every notebook has; set from the command's first argument
TAG = "parameters"
WORDS = {
    str: "text",
    bool: "true or false",
    int: "a whole number",
    float: "a number",
    list: "a list",
    dict: "a mapping",
}
NAMED_TYPES = {kind.__name__: kind for kind in WORDS}
TRUE_FALSE = {"true": True, "yes": True, "false": False, "no": False}


def notebooks_folder(given=None) -> Path:
    """Return the folder of the notebooks: `given`, or ``notebooks/`` here or in the nearest parent, or the package's."""
    here = Path.cwd()
    candidates = [Path(given)] if given else [*(p / "notebooks" for p in (here, *here.parents)), *OURS]
    found = next((p for p in candidates if p.is_dir()), None)
    if found is None:
        where = f"there is no folder {given}" if given else "there is no folder 'notebooks' here or in a parent folder"
        raise StudyProblem(f"{where}; name the folder with --notebooks")
    if not any(found.glob("*.ipynb")):
        raise StudyProblem(f"folder {given or 'notebooks'} holds no notebook (*.ipynb)")
    return found.resolve()


def project_of(folder: Path) -> Path:
    """Return the project, which holds the notebooks and ``reports``; with the package's, the working folder."""
    return Path.cwd() if folder in OURS and not folder.is_relative_to(Path.cwd()) else folder.parent


def in_order(folder: Path) -> list[Path]:
    """Return the notebooks as they are to be read: those of `ORDER`, then by name; without those that ask somebody."""
    places = {name: place for place, name in enumerate(ORDER)}
    found = (path for path in folder.glob("*.ipynb") if not is_interactive(path))
    return sorted(found, key=lambda path: (places.get(path.stem, len(ORDER)), path.stem))


def is_interactive(path: Path) -> bool:
    """Return whether a notebook's metadata say that it waits for somebody's choices, so that no run can execute it."""
    try:
        metadata = json.loads(path.read_text(encoding="utf-8"))["metadata"]
        return bool(metadata.get("cxresearch", {}).get("interactive", False))
    except (ValueError, KeyError, TypeError, AttributeError, OSError):
        return False  # not a notebook: reading it says so


def read_notebook(path: Path):
    """Return the notebook without outputs; refuse one that no kernel here could execute."""
    with without_slow_grammar():
        import nbformat
    from jupyter_client.kernelspec import KernelSpecManager

    try:
        notebook = nbformat.v4.upgrade(nbformat.read(path, as_version=4))
    except (nbformat.reader.NotJSONError, nbformat.ValidationError, UnicodeDecodeError, AttributeError) as error:
        raise StudyProblem(f"{path.name} is not a notebook: {str(error).splitlines()[0]}") from None
    kernel = notebook.metadata.get("kernelspec", {}).get("name")
    if not kernel:
        raise StudyProblem(f"{path.name} names no kernel; open it in JupyterLab, choose one and save it")
    installed = sorted(KernelSpecManager().find_kernel_specs())
    if kernel not in installed:
        found = f"which is not installed; installed: {', '.join(installed)}"
        raise StudyProblem(f"{path.name} asks for the kernel {kernel!r}, {found}")
    return notebook


@contextmanager
def without_slow_grammar():
    """Import what imports jsonschema without a grammar of 0.9 s, for a format that no notebook uses.

    jsonschema does without when told that the package is absent.
    """
    slow = "rfc3987_syntax"
    absent = slow not in sys.modules and "jsonschema._format" not in sys.modules
    if absent:
        sys.modules[slow] = None
    try:
        yield
    finally:
        if absent:
            del sys.modules[slow]


# --- parameters -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Parameter:
    """One assignment of a parameters cell; a default that is no literal is its source, an open type is None."""

    name: str
    default: object
    type: type | None
    notebook: str


def read_parameters(notebook, *, file_name: str) -> dict[str, Parameter]:
    """Return the parameters of a notebook by name; refuse one whose parameters cell is missing or has no ``study``.

    The cell is read with `ast`: papermill's own inspection passes over a line with a second ``=``, even in its comment.
    """
    cells = [c for c in notebook.cells if c.cell_type == "code" and TAG in c.metadata.get("tags", [])]
    if not cells:
        advice = "tag the cell that holds its parameters, or a run could set none of them"
        raise StudyProblem(f"{file_name} has no cell tagged 'parameters'; {advice}")
    try:
        tree = ast.parse(cells[0].source)
    except SyntaxError as error:
        at = f"{file_name}: line {error.lineno} of its parameters cell"
        raise StudyProblem(f"{at} is not Python: {error.msg}") from None
    found = dict(_assignments(tree, file_name))
    if STUDY not in found:
        raise StudyProblem(
            f"{file_name}: its parameters cell has no 'study'; add the line study = \"path of study.yml\""
        )
    return found


def _assignments(tree, file_name):
    for node in tree.body:
        if not isinstance(node, (ast.Assign, ast.AnnAssign)) or node.value is None:
            continue
        target = node.target if isinstance(node, ast.AnnAssign) else node.targets[0]
        if isinstance(target, ast.Name):
            default, known = _literal(node.value)
            declared = getattr(getattr(node, "annotation", None), "id", None)
            kind = NAMED_TYPES.get(declared) or (type(default) if known and default is not None else None)
            yield target.id, Parameter(target.id, default, list if kind is tuple else kind, file_name)


def _literal(node) -> tuple[object, bool]:
    try:
        return ast.literal_eval(node), True
    except ValueError:
        return ast.unparse(node), False


def value_from_text(parameter: Parameter, text: str):
    """Return the value that ``--set NAME=text`` means for `parameter`: read as the type of its default.

    Where the default is text, the text is taken as it stands (``NO`` is Norway, ``010`` stays ``010``).
    """
    if parameter.type is str:
        return text
    if parameter.type is bool:
        return TRUE_FALSE.get(text.strip().casefold(), text)
    try:
        return ast.literal_eval(text.strip())
    except (ValueError, SyntaxError):
        return text


def fitting_value(parameter: Parameter, value, *, given_by: str):
    """Return `value` as the notebook shall get it; refuse another type, or what no notebook can hold.

    A whole number serves for a number; true is not 1; a date or NaN cannot be written into a notebook.
    """
    value = list(value) if isinstance(value, tuple) else value
    if parameter.type is float and type(value) is int:
        value = float(value)
    where = f"{given_by}: {parameter.name} of {parameter.notebook}"
    try:
        TypeAdapter(JsonValue).validate_python(value)
        json.dumps(value, allow_nan=False)
    except ValueError:
        why = "give text, a finite number, true, false, None, or a list or mapping of these"
        raise StudyProblem(f"{where} cannot be {_found(value)}; {why}") from None
    if parameter.type is not None and type(value) is not parameter.type:
        quote = "; write it in quotation marks" if parameter.type is str and value is not None else ""
        expected = f"{WORDS[parameter.type]} (default {parameter.default!r})"
        raise StudyProblem(f"{where} is {expected}; found {_found(value)}{quote}")
    return value


def _found(value) -> str:
    word = WORDS.get(type(value))
    return f"{word} {value!r}" if word else "None" if value is None else f"{type(value).__name__} {value}"
