"""Runs as pages: the committed example rendered anew, and a run whose every text comes from somebody else."""

import json
import shutil
from pathlib import Path

import nbformat

from cxresearch.runs.execute import Outcome
from cxresearch.runs.plan import Task
from cxresearch.runs.render import write_index, write_page


def render_again(run: Path, folder: Path) -> Path:
    """Render the pages of a run from its executed notebooks into a copy of its folder."""
    shutil.copytree(run, folder, ignore=shutil.ignore_patterns("*.html", "README.md"))
    record = json.loads((folder / "run.json").read_text(encoding="utf-8"))
    outcomes = []
    for entry in record["notebooks"]:
        path = folder / f"{entry['name']}.ipynb"
        executed = nbformat.read(path, as_version=4)
        task = Task(entry["name"], path, executed, {}, {}, entry["headline"], None)
        outcomes.append(Outcome(task, entry["status"], entry["reason"], executed))
    return _written(outcomes, record, folder)


def render_foreign(notebook, text: str, folder: Path) -> Path:
    """Render a run whose title, report, parameters, file names, versions, sentence, checks and reason are `text`."""
    sentence = f"{text} {text} is not established. {text} is hidden."
    saved = {
        "id": text,
        "sentence": sentence,
        "checks": [{"check": text, "value": text, "limit": text, "ok": False}],
        "tables": {},
    }
    (folder / "findings" / "answer").mkdir(parents=True)
    (folder / "findings" / "answer" / "main.json").write_text(json.dumps(saved), encoding="utf-8")
    record = {
        "title": text,
        "study": text,
        "report": text,
        "versions": {"cxresearch": text, text: text},
        "inputs": {text: "0" * 64},
        "notebooks": [
            {"name": "answer", "status": "ok", "reason": None, "failed_cell": None, "parameters": {text: text}},
            {"name": "other", "status": "failed", "reason": text, "failed_cell": 1, "parameters": {text: text}},
            {"name": "third", "status": "skipped", "reason": text, "failed_cell": None, "parameters": {}},
        ],
    }
    statuses = [("answer", "main"), ("other", None), ("third", None)]
    outcomes = [
        Outcome(
            Task(name, folder / f"{name}.ipynb", notebook, {}, {}, headline, None), e["status"], e["reason"], notebook
        )
        for (name, headline), e in zip(statuses, record["notebooks"])
    ]
    return _written(outcomes, record, folder)


def _written(outcomes, record, folder: Path) -> Path:
    for outcome in outcomes:
        write_page(outcome, record, folder, with_code=False)
    write_index(outcomes, record, folder)
    return folder
