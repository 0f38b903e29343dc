"""What notebooks call at their beginning: the study that their parameters name, each of them checked, and the answer."""

import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal

import pandas as pd
from pydantic import AfterValidator, Field, TypeAdapter

from cxresearch.errors import StudyProblem, nearest
from cxresearch.findings import Finding, as_text, words
from cxresearch.study import Study, open_study

say = words(__package__)
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
