"""The pages of a run: one a notebook, the index, and the index of a fan-out; templates over its record and its folder.

Self-contained: no script, no font, no request to anywhere.
"""

import re
from pathlib import Path

import jinja2

from cxresearch.errors import DataProblem
from cxresearch.findings import CANNOT, as_text, number, words
from cxresearch.privacy import POOLED
from cxresearch.runs.compare import compare_runs, movement_words
from cxresearch.runs.page import explained, led, plain, read_sections
from cxresearch.runs.record import GUIDE, INDEX, OK, SKIPPED, NotebookEntry, Record, moment, read_findings
from cxresearch.runs.screen import SCORES, SavedFinding, first_screen, notebooks_of, saved_findings
from cxresearch.runs.withhold import WITHHELD

ROWS = 3  # of a headline that are told on the index
say = words(__package__)


def write_pages(record: Record, folder: Path) -> None:
    """Write a page for each notebook that ran, ``index.html``, and ``README.md`` for readers on a code host."""
    from nbformat import v4

    all_of, figures = saved_findings(notebooks_of(folder, record)), {}
    cards = [_card(entry, [s for s in all_of if s.page == entry.name]) for entry in record.notebooks]
    for place, card in enumerate(cards):
        if card["status"] != SKIPPED:
            notebook = folder / f"{card['name']}.ipynb"
            executed = v4.reads_json(notebook.read_text(encoding="utf-8")) if notebook.is_file() else v4.new_notebook()
            sections = read_sections(executed, card["failed_cell"])
            shown = [b for section in sections for b in section.blocks if b.kind in ("html", "finding", "figure")]
            for block in (b for b in shown if b.kind == "figure" and card["status"] == OK):
                figures.setdefault((card["name"], block.finding), block)
            figure, onward = led(sections, card["findings_read"][0]["id"]) if card["answer"] else (None, "")
            known, caption = set(), plain(figure.caption) if figure else ""
            top = explained(f"{card['first']} {card['rest']} {onward} {caption}", known)
            for block in shown:
                block.terms = explained(plain(block.caption if block.kind == "figure" else block.content), known)
            told = {"led": figure, "onward": onward, "terms": top, "card": card}
            told["next"] = next((c for c in cards[place + 1 :] if c["status"] == OK), None)
            _write("page.html.j2", notebook.with_suffix(".html"), record, sections=sections, **told)
    told = {"open": not_established(cards), "suppressed": suppressed(cards), "cards": cards}
    told["screen"] = screen = first_screen(all_of, record.targets)
    drawn = [saved for saved in [*screen["charts"], screen["map"]] if saved and (saved.page, saved["id"]) in figures]
    told["figures"] = {s["id"]: (figures[s.page, s["id"]], say.told("drawn", **s["glance"])) for s in drawn}
    for template, file in (("README.md.j2", GUIDE), ("index.html.j2", INDEX)):
        _write(template, folder / file, record, **told)


def write_batch_index(record: Record, folder: Path) -> None:
    """Write ``index.html`` of a fan-out from its record."""
    _write("batch.html.j2", folder / INDEX, record)


def _card(entry: NotebookEntry, saved: list[SavedFinding]) -> dict:
    """Return what pages show of a notebook: its entry, what it found and how sure that is."""
    lead = next((s for s in saved if s["name"] == entry.headline), None)  # unless it was withheld
    checks = [{"level": "care", **check, "finding": s} for s in saved if s.found for check in s["checks"]]
    failed = [c | {"leads": c["finding"] is lead or not (lead and lead.found)} for c in checks if not c["ok"]]
    levels = [c["level"] if c["leads"] or c["level"] != "stops" else "others" for c in failed]
    unmet: dict[tuple, dict] = {}  # checks that several findings report alike are one, with the names of these
    for check in failed:
        key = check["check"], _shown(check["value"]), check["limit"]
        unmet.setdefault(key, {**check, "findings": []})["findings"].append(check["finding"]["name"])
    first, rest = lead.sentences if lead else ("", "")
    tables = [(s["name"], name, s.folder / file) for s in saved for name, file in s["tables"].items()]
    pooled = {name for name, _, path in tables if path.is_file() and POOLED in path.read_text(encoding="utf-8")}
    return {
        **entry.model_dump(),
        "title": entry.title or entry.name,
        "sentence": lead["sentence"] if lead else None,
        "answer": f"{lead.record.get('title', first).rstrip('.')}." if lead else "",
        "first": first,
        "rest": rest,
        "established": None if lead is None or lead["function"] in SCORES else lead["established"],
        "findings_read": [s.record for s in saved],
        "unasked": [s["title"].removeprefix(CANNOT.capitalize()) for s in saved if not s.found],
        "pooled": [s["name"] for s in saved if s["name"] in pooled],
        "checks": len(checks),
        "failing": {level: levels.count(level) for level in ("stops", "others", "care")},
        "unmet": list(unmet.values()),
        "tables": [(finding, name, path.name) for finding, name, path in tables],
    }


def not_established(cards: list[dict]) -> list[tuple[str, str, str, str]]:
    """Return the questions that were not answered, and the findings that say that they establish nothing.

    A line is the words, the notebook (no name where it has no page), its title and the finding they come from.
    """
    left = [card for card in cards if card["status"] != OK]
    told = [(f"{c['status']}: {c['reason']}", c["name"] * (c["status"] != SKIPPED), c["title"], "") for c in left]
    found = [(f, card) for card in cards for f in card["findings_read"] if f.get("established") is False]
    return told + [(f["sentence"], card["name"], card["title"], f["name"]) for f, card in found]


def suppressed(cards: list[dict]) -> list[tuple[str, str, str, str]]:
    """Return the findings that were withheld, and what is hidden or pooled for its small base, in lines like these."""
    told = [(card["reason"], card["name"], card["title"], "") for card in cards if WITHHELD in (card["reason"] or "")]
    for card in cards:
        where = card["name"], card["title"]
        for f in card["findings_read"]:
            if hidden := f.get("suppressed"):
                told.append((say("hidden_one" if hidden == 1 else "hidden", n=hidden), *where, f["name"]))
        if card["pooled"]:
            told.append((say("pooled", name=POOLED), *where, ", ".join(card["pooled"])))
    return told


def movement(previous: Path, folder: Path) -> list[str]:
    """Return how the run in `folder` differs from an earlier one: a sentence, and what moved of its headlines."""
    since = moment((Record.of(previous) or Record()).started or " " * 16)
    try:
        found = compare_runs(previous, folder)
    except (DataProblem, OSError, KeyError):  # its files are damaged, or of an older format
        return [say("not_comparable", since=since)]
    asked, words, lines = {entry.name for entry in Record.read(folder)[1].notebooks}, macros("moved.txt.j2"), []
    changed = [change for change in found.findings if change.notebook in asked]
    for change in (change for change in changed if change.headline):
        lines += [words.moved(change, ROWS), *(words.turned(change.id, check) for check in change.checks)]
    lines = list(filter(None, lines))
    known = {"since": since, "inputs": ", ".join(c.what for c in found.inputs), "n": found.unchanged}
    data = say.told("other_data" if found.inputs else "same_data", **known)
    counts = say.told("same_one" if found.unchanged == 1 else "same", **known, others=len(changed))
    return [say("against", since=since, data=data, counts=counts, none="" if lines else say["no_headline"]), *lines]


def headline_of(record: Record, folder: Path) -> str | None:
    """Return the sentence that heads a report: of the headlines of its notebooks the first that is an estimate."""
    found = [read_findings(folder, e.name, e.headline)[0] for e in record.notebooks if e.headline in e.findings]
    estimates = [f for f in found if f["glance"].get("estimate") is not None]
    return (estimates or found or [{"sentence": None}])[0]["sentence"]


def _shown(value) -> str:
    """Return a value of JSON as a reader wants it."""
    if value is None or isinstance(value, bool):
        return {None: "–", True: "yes", False: "no"}[value]
    return f"{value:.4g}" if isinstance(value, float) else str(value)


LINES = {"trim_blocks": True, "lstrip_blocks": True, "keep_trailing_newline": True}
TEMPLATES = jinja2.Environment(loader=jinja2.PackageLoader(__package__), undefined=jinja2.StrictUndefined, **LINES)
TEMPLATES.autoescape = lambda name: not name.endswith((".txt.j2", ".md.j2"))
TEMPLATES.filters |= {"shown": _shown, "moment": moment, "movement": movement_words, "number": number, "repr": repr}
TEMPLATES.filters["md"] = lambda text: as_text(" ".join(text.split()))
# a line ends neither between a number and its percent sign, nor within n = 12
TEMPLATES.filters["bound"] = lambda text: re.sub(r"(?<=\d) (?=%)|(?<=\bn) (?==)|(?<=\bn =) (?=\d)", "\u00a0", text)


def rendered(template: str, **told) -> str:
    """Return a template with what it shows; in HTML every text is escaped."""
    return TEMPLATES.get_template(template).render(**told)


def macros(template: str):
    """Return what a template defines, as functions."""
    return TEMPLATES.get_template(template).module


def _write(template: str, path: Path, record: Record, **told) -> None:
    path.write_text(rendered(template, record=record.told(), index=INDEX, **told), encoding="utf-8")
