"""The index of a batch: each report's headline, and how it moved since the batch before."""

import json
from pathlib import Path

from cxresearch.errors import DataProblem
from cxresearch.runs.compare import compare_runs, movement_words
from cxresearch.runs.execute import FAILED, SKIPPED
from cxresearch.runs.folder import INDEX
from cxresearch.runs.render import _template
from cxresearch.runs.unchanged import record_of


def headline_of(report: Path) -> str | None:
    """Return the sentence that heads a report: of the headlines of its notebooks the first that is an estimate."""
    found = list(_headlines(report).values())
    estimates = [f for f in found if f["glance"].get("estimate") is not None]
    return (estimates or found or [{"sentence": None}])[0]["sentence"]


def _headlines(report: Path) -> dict[str, dict]:
    found = {}
    for entry in record_of(report).get("notebooks", ()):
        path = report / "findings" / entry["name"] / f"{entry['headline']}.json"
        if entry["headline"] and path.is_file():
            found[entry["name"]] = json.loads(path.read_text(encoding="utf-8"))
    return found


def reports_by_value(batch: Path | None) -> dict[tuple, dict]:
    """Return values -> entry of each report of a batch that has a folder; one skipped may be several."""
    reports = record_of(batch)["reports"] if batch else ()
    return {tuple(r["values"].items()): r for r in reports if r["folder"]}


def moved_since(previous: Path | None, before: dict, report: dict, folder: Path) -> str | None:
    """Return how the headline of a report differs from that of the batch before, or None if that has none.

    Parameters
    ----------
    previous
        Folder of the batch before, or None.
    before
        Its `reports_by_value`.
    report
        Its entry in the log.
    folder
        Of this batch.
    """
    if previous is None or not report.get("headline"):
        return None
    same = before.get(tuple(report["values"].items()), {})
    if not same.get("headline"):
        return "new"
    if report["unchanged"] or same["headline"] == report["headline"]:
        return "no change"
    try:
        found = compare_runs(previous / same["folder"], folder / report["folder"]).findings
    except (DataProblem, OSError, KeyError):
        return None
    of_headline = (f.movements for f in found if f.after == report["headline"])
    movements = next(of_headline, ())
    return movement_words(movements[0]).replace("->", "→") if movements else f"was: {same['headline']}"


def write_batch_index(record: dict, folder: Path) -> None:
    """Write ``index.html`` of a batch from its record."""
    page = _template("batch.html.j2").render(
        title=record["title"], record=record, said=_summary(record["reports"]), index=INDEX
    )
    (folder / INDEX).write_text(page, encoding="utf-8")


def _summary(reports: list[dict]) -> str:
    counts = {
        "failed": sum(r["status"] == FAILED for r in reports),
        "skipped": sum(r["status"] == SKIPPED for r in reports),
        "unchanged since an earlier run": sum(r["unchanged"] for r in reports),
    }
    whole = f"{len(reports)} report{'s' * (len(reports) != 1)}"
    return ", ".join([whole, *(f"{n} {word}" for word, n in counts.items() if n)])
