"""The pages of a run: one a notebook, and the index. Self-contained: no script, no font, no request to anywhere."""

from functools import cache
from importlib.resources import files
from pathlib import Path

from cxresearch.runs.execute import FAILED, SKIPPED, Outcome
from cxresearch.runs.folder import INDEX
from cxresearch.runs.page import read_page, title_of
from cxresearch.runs.record import failed_checks, read_findings


def write_page(outcome: Outcome, record: dict, folder: Path, *, with_code: bool) -> None:
    """Write ``<notebook>.html``; a skipped notebook has none."""
    if outcome.status == SKIPPED:
        return
    title, blocks = read_page(outcome.notebook, outcome.failure)
    entry = next(e for e in record["notebooks"] if e["name"] == outcome.task.name)
    page = _template("page.html.j2").render(
        title=title or outcome.task.name, blocks=blocks, entry=entry, record=record, with_code=with_code, index=INDEX
    )
    (folder / f"{outcome.task.name}.html").write_text(page, encoding="utf-8")


def write_index(outcomes: list[Outcome], record: dict, folder: Path) -> Path:
    """Write ``index.html`` and return it: each notebook's headline, its failed checks, its links."""
    cards = [_card(outcome, entry, folder) for outcome, entry in zip(outcomes, record["notebooks"])]
    page = _template("index.html.j2").render(title=record["title"], cards=cards, record=record, said=_summary(cards))
    path = folder / INDEX
    path.write_text(page, encoding="utf-8")
    return path


def _card(outcome: Outcome, entry: dict, folder: Path) -> dict:
    findings = read_findings(folder, outcome)
    headline = findings[0]["sentence"] if findings and outcome.task.headline else None
    return {
        **entry,
        "title": title_of(outcome.notebook or outcome.task.notebook) or entry["name"],
        "sentence": headline,
        "checks": sum(len(f["checks"]) for f in findings),
        "unmet": _merged(failed_checks(findings)),
        "tables": [(f["name"], name, file) for f in findings for name, file in f["tables"].items()],
    }


def _merged(unmet: list[dict]) -> list[dict]:
    """Return checks that several findings report alike as one, with the names of these findings."""
    merged: dict[tuple, dict] = {}
    for check in unmet:
        entry = merged.setdefault((check["check"], str(check["value"]), check["limit"]), {**check, "findings": []})
        entry["findings"].append(check["finding"])
    return list(merged.values())


def _summary(cards: list[dict]) -> str:
    """Return how many notebooks there are and what went wrong, in words."""
    failed = sum(c["status"] == FAILED for c in cards)
    skipped = sum(c["status"] == SKIPPED for c in cards)
    unmet = sum(c["failed_checks"] for c in cards)
    parts = [f"{len(cards)} notebook{'s' * (len(cards) != 1)}"]
    parts += [f"{failed} failed"] * bool(failed) + [f"{skipped} skipped"] * bool(skipped)
    parts += [f"{unmet} check{'s' * (unmet != 1)} not met"] * bool(unmet)
    return ", ".join(parts)


@cache
def _environment():
    import jinja2

    environment = jinja2.Environment(
        loader=jinja2.FunctionLoader(_source),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters.update(shown=_shown, moment=_moment)
    return environment


def _source(name: str) -> str:
    return (files(__package__) / "templates" / name).read_text(encoding="utf-8")


def _template(name: str):
    return _environment().get_template(name)


def _shown(value) -> str:
    """Return a value of JSON as a reader wants it."""
    if value is None:
        return "–"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _moment(text: str) -> str:
    """Return ``2026-11-21T22:46:05+00:00`` as ``2026-11-21 22:46 UTC``."""
    return f"{text[:10]} {text[11:16]} UTC"
