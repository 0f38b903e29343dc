"""The pages of a run: one a notebook, the index, and the index of a fan-out; four templates over its record.

Self-contained: no script, no font, no request to anywhere.
"""

import re
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import NamedTuple

from cxresearch.errors import DataProblem
from cxresearch.findings import CANNOT, as_text
from cxresearch.privacy.base import POOLED
from cxresearch.runs.compare import CHANGED, FindingChange, compare_runs, movement_words
from cxresearch.runs.execution import Outcome
from cxresearch.runs.page import led, read_page, sections, title_of, with_anchors
from cxresearch.runs.record import (
    FAILED,
    FORMAT,
    GUIDE,
    INDEX,
    OK,
    SKIPPED,
    NotebookEntry,
    Record,
    ReportEntry,
    failed_checks,
    read_findings,
)  # fmt: skip
from cxresearch.runs.screen import SCORES, first_screen, saved_of
from cxresearch.runs.shelf import runs_on
from cxresearch.runs.withhold import WITHHELD

ROWS = 3  # of a headline that are told on the index
BRACKETS = re.compile(r" \([^()]*\)")
SURE = {True: "Established. ", False: "Not established. ", None: ""}  # of the finding that leads a page


class Told(NamedTuple):
    """A line of the index: the words, the notebook (no name where it has no page) and the finding they come from."""

    said: str
    name: str
    title: str
    finding: str = ""


class Moved(NamedTuple):
    """What changed since an earlier run: one sentence, and a line a headline."""

    said: str
    lines: tuple[str, ...] = ()


def write_page(outcome: Outcome, record: Record, folder: Path) -> None:
    """Write ``<notebook>.html``; a skipped notebook has none."""
    if outcome.status == SKIPPED:
        return
    title, blocks = read_page(outcome.notebook, outcome.failure)
    place = next(place for place, e in enumerate(record.notebooks) if e.name == outcome.name)
    entry, card = record.notebooks[place], _card(outcome, record.notebooks[place], folder)
    figure = None
    if card["answer"]:
        figure, blocks = led(blocks, card["findings_read"][0]["id"])
    blocks, contents = with_anchors(blocks)
    after = next((e for e in record.notebooks[place + 1 :] if e.status == OK), None)
    told = {"title": title or outcome.name, "sections": sections(blocks), "contents": contents, "entry": entry}
    _write("page.html.j2", folder / f"{outcome.name}.html", record, card=card, led=figure, next=after, **told)


def write_index(outcomes: list[Outcome], record: Record, folder: Path, *, previous: Path | None = None) -> None:
    """Write ``index.html``, with what moved since a previous run, and ``README.md`` for readers on a code host."""
    cards = [_card(outcome, entry, folder) for outcome, entry in zip(outcomes, record.notebooks)]
    counts = {word: sum(card["status"] == word for card in cards) for word in (FAILED, SKIPPED)}
    said = [counted(len(cards), "notebook"), *(f"{n} {word}" for word, n in counts.items() if n)]
    told = {"title": record.title, "cards": cards, "said": ", ".join(said), "moved": movement(previous, folder)}
    failed = [card["title"] for card in cards if card["status"] == FAILED]
    wrong = f"{len(failed)} of {len(cards)} questions failed: {', '.join(failed)}" if failed else ""
    screen = first_screen(saved_of(folder, [e.model_dump() for e in record.notebooks]), record.targets)
    told |= {"open": not_established(cards), "suppressed": suppressed(cards), "wrong": wrong, "screen": screen}
    for template, file in (("README.md.j2", GUIDE), ("index.html.j2", INDEX)):
        _write(template, folder / file, record, **told)


def write_batch_index(record: Record, folder: Path) -> None:
    """Write ``index.html`` of a fan-out from its record."""
    counts = {
        "failed": sum(r.status == FAILED for r in record.reports),
        "skipped": sum(r.status == SKIPPED for r in record.reports),
        "unchanged since an earlier run": sum(r.unchanged for r in record.reports),
    }
    said = ", ".join([counted(len(record.reports), "report"), *(f"{n} {word}" for word, n in counts.items() if n)])
    _write("batch.html.j2", folder / INDEX, record, title=record.title, said=said)


def counted(n: int, noun: str) -> str:
    return f"{n} {noun}{'s' * (n != 1)}"


def _card(outcome: Outcome, entry: NotebookEntry, folder: Path) -> dict:
    findings = read_findings(folder, entry.name, outcome.task.headline)
    home, lead = folder / "findings" / entry.name, findings[0] if findings and outcome.task.headline else {}
    asked = [f for f in findings if f.get("glance", {}).get("method") != "none"]
    unmet: dict[tuple, dict] = {}  # checks that several findings report alike are one, with the names of these
    for check in failed_checks(asked):
        key, leads = (check["check"], str(check["value"]), check["limit"]), not lead or check["finding"] == lead["name"]
        merged = unmet.setdefault(key, {"level": "care", **check, "findings": [], "leads": leads})
        merged["findings"].append(check["finding"])
    first, rest = _first_sentence(lead) if lead else ("", "")
    return {
        **entry.model_dump(exclude_unset=True),
        "title": title_of(outcome.notebook or outcome.task.notebook) or entry.name,
        "sentence": lead.get("sentence"),
        "answer": f"{lead.get('title', first).rstrip('.')}." if lead else "",
        "first": first,
        "rest": rest,
        "sure": SURE[None if lead.get("function") in SCORES else lead.get("established")],
        "checks_said": _checks_said(asked),
        "findings_read": findings,
        "unasked": [f["title"].removeprefix(CANNOT.capitalize()) for f in findings if f not in asked],
        "pooled": [f["name"] for f in findings if _pools(home / file for file in f["tables"].values())],
        "checks": sum(len(f["checks"]) for f in asked),
        "unmet": list(unmet.values()),
        "tables": [(f["name"], name, file) for f in findings for name, file in f["tables"].items()],
    }


def _first_sentence(finding: dict) -> tuple[str, str]:
    """Return the first sentence of a finding, which its title is without what stands in brackets, and the others."""
    told, title = finding["sentence"], BRACKETS.sub("", finding.get("title", ""))
    ends = (match.start() + 1 for match in re.finditer(r"\.(?= |$)", told))
    end = next((end for end in ends if BRACKETS.sub("", told[: end - 1]) == title), len(told))
    return told[:end], told[end:].strip()


def _checks_said(findings: list[dict]) -> str:
    """Return how many checks hold, by what those do that fail."""
    checks = [check for f in findings for check in f["checks"]]
    stops, care = (sum(not c["ok"] and c.get("level", "care") == level for c in checks) for level in ("stops", "care"))
    said = [f"{stops} stop{'s' * (stops == 1)} a conclusion"] * bool(stops)
    said += [f"{care} ask{'s' * (care == 1)} for care"] * bool(care)
    return f"{counted(len(checks), 'check')}: {', '.join(said) or 'all hold'}"


def _pools(files) -> bool:
    """Say whether one of these tables shows groups that were pooled."""
    return any(POOLED in path.read_text(encoding="utf-8") for path in files if path.is_file())


# --- what the index says beyond the headlines ------------------------------------------------------------------------


def not_established(cards: list[dict]) -> list[Told]:
    """Return the questions that were not answered, and the findings that say that they establish nothing."""
    found = [(f, card) for card in cards for f in card["findings_read"] if f.get("established") is False]
    return _unanswered(cards) + [Told(f["sentence"], card["name"], card["title"], f["name"]) for f, card in found]


def suppressed(cards: list[dict]) -> list[Told]:
    """Return the notebooks that were withheld, and what is hidden or pooled for its small base."""
    told = _unanswered([card for card in cards if (card["reason"] or "").startswith(WITHHELD)])
    for card in cards:
        where = card["name"], card["title"]
        hidden = [f for f in card["findings_read"] if f.get("suppressed")]
        told += [Told(f"{counted(f['suppressed'], 'part')} hidden for a small base", *where, f["name"]) for f in hidden]
        if card["pooled"]:
            told.append(Told(f"small groups are pooled as “{POOLED}”", *where, ", ".join(card["pooled"])))
    return told


def _unanswered(cards: list[dict]) -> list[Told]:
    left = [card for card in cards if card["status"] in (FAILED, SKIPPED)]
    shown = [card["name"] if card["status"] == FAILED else "" for card in left]
    return [Told(f"{c['status']}: {c['reason']}", name, c["title"]) for c, name in zip(left, shown)]


def movement(previous: Path | None, folder: Path) -> Moved:
    """Return how the headlines of the run in `folder` differ from those of an earlier one."""
    if previous is None:
        return Moved("No earlier run of this study is kept beside this one.")
    since = f"the run of {_moment((Record.of(previous) or Record()).started or ' ' * 16)}"
    try:
        found = compare_runs(previous, folder)
    except (DataProblem, OSError, KeyError):
        return Moved(f"It cannot be compared with {since}.")
    asked = {entry.name for entry in Record.read(folder)[1].notebooks}
    changed = [change for change in found.findings if change.notebook in asked]
    lines = tuple(line for change in changed if change.headline for line in _lines(change))
    data = "the same data" if not found.inputs else "other data: " + ", ".join(c.what for c in found.inputs)
    counts = f"{found.unchanged} finding{' is' if found.unchanged == 1 else 's are'} the same, {len(changed)} not"
    return Moved(f"Against {since}, on {data}. {counts}{'' if lines else '; no headline changed'}.", lines)


def _lines(change: FindingChange):
    if change.kind != CHANGED:
        yield f"{change.id}: {change.kind}"
    elif change.movements:
        told = "; ".join(movement_words(m).replace("->", "→") for m in change.movements[:ROWS])
        left = len(change.movements) - ROWS
        yield f"{change.id}: {told}{f'; and {left} more' if left > 0 else ''}"
    elif change.before != change.after:
        yield f"{change.id}, before: {change.before}"
    yield from (f"{change.id}, check “{c.what}”: {c.before} → {c.after}" for c in change.checks)


def previous_run(final: Path, record: Record) -> Path | None:
    """Return the newest earlier run of the same study and report beside `final`, or the one that `final` replaces.

    A run that must come out the same every time carries no date and has none.
    """
    if record.started is None:
        return None
    for folder in runs_on(final.parent):
        earlier = Record.read(folder)[1]
        same = (earlier.title, earlier.report, earlier.format) == (record.title, record.report, FORMAT)
        if same and earlier.status == OK and (earlier.started or "~") < record.started:
            return folder
    return None


def headline_of(report: Path) -> str | None:
    """Return the sentence that heads a report: of the headlines of its notebooks the first that is an estimate."""
    entries = [entry for entry in Record.read(report)[1].notebooks if entry.headline in entry.findings]
    found = [read_findings(report, entry.name, entry.headline)[0] for entry in entries]
    estimates = [f for f in found if f["glance"].get("estimate") is not None]
    return (estimates or found or [{"sentence": None}])[0]["sentence"]


def moved_since(previous: Path | None, before: dict, report: ReportEntry, folder: Path) -> str | None:
    """Return how the headline of a report differs from that of the batch before, or None if that has none."""
    if previous is None or not report.headline:
        return None
    same = before.get(tuple(report.values.items()))
    if not same or not same.headline:
        return "new"
    if report.unchanged or same.headline == report.headline:
        return "no change"
    try:
        found = compare_runs(previous / same.folder, folder / report.folder).findings
    except (DataProblem, OSError, KeyError):
        return None
    movements = next((f.movements for f in found if f.after == report.headline), ())
    return movement_words(movements[0]).replace("->", "→") if movements else f"was: {same.headline}"


# --- templates -------------------------------------------------------------------------------------------------------


def _write(template: str, path: Path, record: Record, **told) -> None:
    page = _environment().get_template(template).render(record=record.told(), index=INDEX, **told)
    path.write_text(page, encoding="utf-8")


@cache
def _environment():
    import jinja2

    environment = jinja2.Environment(
        loader=jinja2.FunctionLoader(lambda name: (files(__package__) / "templates" / name).read_text("utf-8")),
        autoescape=lambda name: name is None or ".html" in name or name.endswith(".css"),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters.update(shown=_shown, moment=_moment, bound=_bound, md=lambda t: as_text(" ".join(t.split())))
    return environment


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
