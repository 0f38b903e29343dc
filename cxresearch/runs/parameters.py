"""The parameters of a notebook: what its parameters cell names, and whether a given value fits.

papermill only warns about a parameter it does not know and says nothing about one of the wrong type; both are refused
here before anything starts. The cell is read with `ast`: papermill's own inspection passes over a line that holds a
second ``=``, even in its comment.
"""

import ast
import json
from dataclasses import dataclass

from pydantic import JsonValue, TypeAdapter

from cxresearch.errors import StudyProblem

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


@dataclass(frozen=True)
class Parameter:
    """One assignment of a parameters cell; a default that is no literal is its source, an open type is None."""

    name: str
    default: object
    type: type | None
    notebook: str


def read_parameters(notebook, *, file_name: str) -> dict[str, Parameter]:
    """Return the parameters of a notebook by name; refuse one whose parameters cell is missing or has no ``study``."""
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
