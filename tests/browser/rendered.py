"""Runs as pages: the committed example rendered anew, and a run whose every text comes from somebody else."""

import json
import shutil
from pathlib import Path

import nbformat
import pandas as pd

from cxresearch.findings import csv_safe
from cxresearch.runs.record import Record
from cxresearch.runs.render import write_pages

FUNCTIONS = (  # whose findings the first screen shows
    "nps compare_waves touchpoint_trend driver_importance importance_performance response_quality worth_of_a_point "
    "segment_customers journey_coverage tag_topics"
).split()


def render_again(run: Path, folder: Path) -> Path:
    """Render the pages of a run from its executed notebooks into a copy of its folder."""
    shutil.copytree(run, folder, ignore=shutil.ignore_patterns("*.html", "README.md"))
    write_pages(Record.read(folder)[1], folder)
    return folder


def render_foreign(notebook, text: str, folder: Path) -> Path:
    """Render a run whose title, report, parameters, file names, versions, findings, checks and reason are `text`."""
    sentence = f"{text} {text} is not established. {text} is hidden."
    place = folder / "findings" / "answer"
    place.mkdir(parents=True)
    checks = [{"check": text, "value": text, "limit": text, "ok": False, "level": level} for level in ("care", "stops")]
    said = {"what": text, "outcome": text, "title": text, "sentence": sentence, "by": [], "established": True, "checks": checks}
    measured = {"wave": text, "wave_before": text, "verdict": "open", "value": text, "ends": text, "measure": text}
    measured |= {"level": text, "scale": 1, "lead": [text], "count": text}
    measured |= {"n": text, "moved": {text: text}, "unit": text, "average": True, "quotes": {text: [text]}}
    row = {"term": text, "wave": text, "estimate": 1.5, "conf_low": 1.0, "conf_high": 2.0, "share": 0.5, "n": 12}
    row |= {"share_low": 0.4, "share_high": 0.6, "segment": text, "suggested_name": text, "description": text}
    row |= {"measured_by": text, "owner": text, "negative": 0.2, "per_point_low": 0.1}
    table = pd.DataFrame([row, row | {"term": f"{text} 2", "wave": f"{text} 2", "estimate": 2.5}])
    files = {"tidy": "all.tidy.csv", "levels": "all.tidy.csv"}
    csv_safe(table).to_csv(place / "all.tidy.csv", index=False)
    for function in FUNCTIONS:
        saved = said | {"id": f"{function} {text}", "function": function, "tables": files, "labels": {}}
        saved |= {"highlights": measured, "glance": {"n": 12}, "chart": {"title": text}}
        (place / f"{function}.json").write_text(json.dumps(saved), encoding="utf-8")
    (place / "main.json").write_text(
        json.dumps(said | {"id": text, "function": "f", "established": False, "tables": {}, "labels": {}}),
        encoding="utf-8",
    )
    record = {
        "title": text,
        "study": text,
        "report": text,
        "versions": {"cxresearch": text, text: text},
        "inputs": {text: "0" * 64},
        "targets": {text.partition(" ")[0]: 1},
        "notebooks": [
            {"name": "answer", "headline": "main", "reason": None, "parameters": {text: text}},
            {"name": "other", "status": "failed", "reason": text, "failed_cell": 1, "parameters": {text: text}},
            {"name": "third", "status": "skipped", "reason": text, "parameters": {}},
        ],
    }
    for entry in record["notebooks"]:
        entry |= {"title": text, "status": entry.get("status", "ok")}
        nbformat.write(notebook, folder / f"{entry['name']}.ipynb")
    write_pages(Record(**record), folder)
    return folder
