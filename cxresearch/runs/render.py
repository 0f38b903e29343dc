"""The pages of a run: one a notebook, and the index. Self-contained: no script, no font, no request to anywhere."""

import re
from functools import cache
from importlib.resources import files
from pathlib import Path
from urllib.parse import quote

from cxresearch.findings import as_text
from cxresearch.privacy.base import POOLED
from cxresearch.runs.execute import FAILED, OK, SKIPPED, Outcome
from cxresearch.runs.folder import GUIDE, INDEX
from cxresearch.runs.page import read_page, sections, title_of, with_anchors
from cxresearch.runs.record import failed_checks, read_findings
from cxresearch.runs.screen import first_screen, saved_of
from cxresearch.runs.summary import movement, not_established, suppressed

SURE = {True: "Established. ", False: "Not established. ", None: ""}  # of the finding that leads a page


def write_page(outcome: Outcome, record: dict, folder: Path, *, with_code: bool) -> None:
    """Write ``<notebook>.html``; a skipped notebook has none."""
    if outcome.status == SKIPPED:
        return
    title, blocks = read_page(outcome.notebook, outcome.failure)
    blocks, contents = with_anchors(blocks)
    entry = next(e for e in record["notebooks"] if e["name"] == outcome.task.name)
    page = _template("page.html.j2").render(
        title=title or outcome.task.name,
        sections=sections(blocks),
        contents=contents,
        card=_card(outcome, entry, folder),
        entry=entry,
        record=record,
        with_code=with_code,
        index=INDEX,
    )
    (folder / f"{outcome.task.name}.html").write_text(page, encoding="utf-8")


def write_index(outcomes: list[Outcome], record: dict, folder: Path, *, previous: Path | None = None) -> Path:
    """Write ``index.html`` and return it, and ``README.md``, which leads readers on a code host.

    Parameters
    ----------
    outcomes, record, folder
        Of the run.
    previous
        The folder of an earlier run, against which movement is told.
    """
    cards = [_card(outcome, entry, folder) for outcome, entry in zip(outcomes, record["notebooks"])]
    told = {
        "title": record["title"],
        "cards": cards,
        "record": record,
        "said": _summary(cards),
        "wrong": _wrong(cards),
        "screen": first_screen(saved_of(folder, record["notebooks"])),
        "moved": movement(previous, folder),
        "open": not_established(cards),
        "suppressed": suppressed(cards),
    }
    (folder / GUIDE).write_text(_guide(told), encoding="utf-8")
    path = folder / INDEX
    path.write_text(_template("index.html.j2").render(told), encoding="utf-8")
    return path


def _guide(told: dict) -> str:
    """Return the run as Markdown in reading order; what comes from data is escaped."""
    screen = [f"- {as_text(text)}" for text, _ in told["screen"]["lines"]]
    lines = [f"# {as_text(told['title'])}", "", *screen, *[""] * bool(screen)]
    lines += [f"{told['said'][:1].upper()}{told['said'][1:]}. In reading order:", ""]
    for place, card in enumerate(told["cards"], start=1):
        file = quote(card["name"])
        link = as_text(card["title"]) if card["status"] == SKIPPED else f"[{as_text(card['title'])}]({file}.ipynb)"
        said = card["sentence"] if card["status"] == OK else f"{card['status']}: {card['reason']}"
        checks = f" {card['checks_said']}." if card["checks"] else ""
        lines.append(f"{place}. {link}: {as_text(' '.join((said or 'see the notebook.').split()))}{checks}")
    lines += ["", "## What could not be established", ""]
    lines += [f"- {as_text(' '.join(t.said.split()))}" for t in told["open"]] or ["Nothing was left open."]
    lines += ["", "## What was suppressed", ""]
    lines += [f"- {as_text(' '.join(t.said.split()))}" for t in told["suppressed"]] or ["Nothing."]
    lines += ["", f"The pages for a browser start at `{INDEX}`; tables and sentences are in `findings/`; how it was"]
    return "\n".join([*lines, "made is in `run.json`.", ""])


def _card(outcome: Outcome, entry: dict, folder: Path) -> dict:
    findings = read_findings(folder, outcome)
    headline = findings[0]["sentence"] if findings and outcome.task.headline else None
    return {
        **entry,
        "title": title_of(outcome.notebook or outcome.task.notebook) or entry["name"],
        "sentence": headline,
        "answer": f"{findings[0].get('title', headline).rstrip('.')}." if headline else None,
        "sure": SURE[findings[0].get("established")] if headline else "",
        "findings_read": findings,
        "pooled": {f["name"]: _pools(folder / "findings" / entry["name"], f["tables"].values()) for f in findings},
        "checks": sum(len(f["checks"]) for f in findings),
        "checks_said": _checks_said(findings),
        "failed_checks": len(failed_checks(findings)),
        "unmet": _merged(failed_checks(findings)),
        "tables": [(f["name"], name, file) for f in findings for name, file in f["tables"].items()],
    }


def _pools(folder: Path, files) -> bool:
    """Say whether one of these tables shows groups that were pooled."""
    return any(POOLED in path.read_text(encoding="utf-8") for path in (folder / f for f in files) if path.is_file())


def _merged(unmet: list[dict]) -> list[dict]:
    """Return checks that several findings report alike as one, with the names of these findings."""
    merged: dict[tuple, dict] = {}
    for check in unmet:
        entry = merged.setdefault(
            (check["check"], str(check["value"]), check["limit"]), {"level": "care", **check, "findings": []}
        )
        entry["findings"].append(check["finding"])
    return list(merged.values())


def _summary(cards: list[dict]) -> str:
    """Return how many notebooks there are and what went wrong, in words."""
    failed = sum(c["status"] == FAILED for c in cards)
    skipped = sum(c["status"] == SKIPPED for c in cards)
    parts = [f"{len(cards)} notebook{'s' * (len(cards) != 1)}"]
    parts += [f"{failed} failed"] * bool(failed) + [f"{skipped} skipped"] * bool(skipped)
    return ", ".join(parts)


def _wrong(cards: list[dict]) -> str:
    """Return what a reader must know before anything else: which questions were not answered for a fault."""
    failed = [c["title"] for c in cards if c["status"] == FAILED]
    return f"{len(failed)} of {len(cards)} questions failed: {', '.join(failed)}" if failed else ""


def _checks_said(findings: list[dict]) -> str:
    """Return how many checks hold, by what those do that fail."""
    checks = [check for f in findings for check in f["checks"]]
    stops, care = (sum(not c["ok"] and c.get("level", "care") == level for c in checks) for level in ("stops", "care"))
    said = [f"{stops} stop{'s' * (stops == 1)} a conclusion"] * bool(stops) + [
        f"{care} ask{'s' * (care == 1)} for care"
    ] * bool(care)
    return f"{len(checks)} check{'s' * (len(checks) != 1)}: {', '.join(said) or 'all hold'}"


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
    environment.filters.update(shown=_shown, moment=_moment, bound=_bound)
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


def _bound(text: str) -> str:
    """Return a sentence in which a line does not end between a number and its percent sign, or within ``n = 12``."""
    return re.sub(r"(?<=\d) (?=%)|(?<=\bn) (?==)|(?<=\bn =) (?=\d)", "\u00a0", text)


def _moment(text: str) -> str:
    """Return ``2026-11-21T22:46:05+00:00`` as ``2026-11-21 22:46 UTC``."""
    return f"{text[:10]} {text[11:16]} UTC"
