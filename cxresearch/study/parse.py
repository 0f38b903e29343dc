"""From the text of `study.yml` to its model; what is wrong is said with the line and the nearest key."""

import typing
from pathlib import Path

from pydantic import BaseModel, ValidationError

from cxresearch.errors import StudyProblem, nearest
from cxresearch.study.document import Document, read_document
from cxresearch.study.schema import StudyFile

SHOWN = 10


def read_study_file(path: Path) -> tuple[StudyFile, Document]:
    """Return the validated study file and its document; every problem found is in the `StudyProblem` raised."""
    document = read_document(path)
    try:
        return StudyFile.model_validate(document.data), document
    except ValidationError as error:
        raise StudyProblem("\n".join(_problems(error, document))) from None


def _problems(error: ValidationError, document: Document) -> list[str]:
    said: dict[tuple, str] = {}
    for found in sorted(error.errors(include_url=False), key=lambda e: document.line(e["loc"])):
        # The first of several complaints about one place is the one that names the form meant.
        named = found["loc"][-1] if found["type"] in ("missing", "extra_forbidden") else None
        place = (document.known(found["loc"]), named)
        said.setdefault(place, document.problem(found["loc"], _sentence(found, document)))
    problems = list(said.values())
    left = len(problems) - SHOWN
    return problems[:SHOWN] + ([f"and {left} more"] if left > 0 else [])


def _sentence(found: dict, document: Document) -> str:
    place = _dotted(document.known(found["loc"]))
    last = found["loc"][-1] if found["loc"] else ""
    if found["type"] == "extra_forbidden":
        above = document.known(found["loc"][:-1])
        return f"unknown key {last!r} in {_dotted(above)}{nearest(last, _keys_at(above))}"
    if found["type"] == "missing":
        return f"{place} needs the key {last!r}"
    if found["type"] == "literal_error":
        choices = found["ctx"]["expected"].replace("'", "").replace(" or ", ", ").split(", ")
        return (
            f"{place} cannot be "
            f"{found['input']!s}{nearest(found['input'], choices) or '; choices: ' + ', '.join(choices)}"
        )
    if found["type"] == "value_error":
        return f"{place}: {found['ctx']['error']}" if place != "the study" else str(found["ctx"]["error"])
    if found["type"] in ("model_type", "dict_type"):
        return f"{place} must hold keys and values; found {str(found['input'])!r}"
    message = found["msg"][0].lower() + found["msg"][1:]
    shown = f"; found {str(found['input'])!r}" if isinstance(found["input"], str) else ""
    return f"{place}: {message}{shown}"


def _dotted(path: tuple) -> str:
    return ".".join(map(str, path)) or "the study"


def _keys_at(path: tuple) -> list[str]:
    """Return the keys that the model at `path` knows."""
    models: list[type[BaseModel]] = [StudyFile]
    for step in path:
        annotations = [model.model_fields[step].annotation for model in models if step in model.model_fields]
        if annotations:  # a step that is no field is a name in a dict of parts, and the models stay
            models = [m for a in annotations for m in _models_in(a)]
    return [field.alias or name for model in models for name, field in model.model_fields.items()]


def _models_in(annotation) -> list[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [model for inner in typing.get_args(annotation) for model in _models_in(inner)]
