"""What a study holds, and whether an analysis may start: tables, items, response quality, joins, decisions; as a page, too."""

import re
from collections.abc import Iterable, Iterator, Sequence
from datetime import date
from pathlib import Path

import pandas as pd

from cxresearch.errors import DataProblem
from cxresearch.findings import number, percent
from cxresearch.intake.column import PATTERNS
from cxresearch.quality import response_quality
from cxresearch.study import Study, open_study
from cxresearch.study.codes import count
from cxresearch.study.schema import Item, Revenue, decisions
from cxresearch.study.table import Loaded

SAID = "encoding encoding_errors decimal thousands codes dayfirst time_format negative missing weight".split()
ITEM = ("item", "column", "role", "scale", "answered", "found", "codes (rows)")
STEP = ("step", "rows", "removed", "reason")
WIDEST = 34
FILES_SHOWN = 6
SKIPPED_SHOWN = 8
SPEEDER = 1 / 3  # of the median duration; a convention, not a test


def check_study(path: str | Path, *, today: date | None = None) -> dict:
    """Read every table of a study and return what is there, as plain lists, dicts, numbers and text.

    ``title``, ``file``, ``tables`` (name, files, rows, waterfall, items); in words ``quality`` (of responses), ``joins``
    (what finds no partner), ``privacy`` (what is done), ``taken`` (decisions declared), ``waiting`` (unconfirmed guesses
    that change a number), ``unconfirmed`` (those that change none), ``undeclared`` (what the study file could say and does
    not), ``problems`` and ``ok``. `today` is held against the study's ``delete_after``; without it, the computer's date.
    `StudyProblem` where the study file itself is wrong, a file is absent, or the data were to be deleted by now.
    """
    study = open_study(path, today=today)
    problems: list[str] = []
    loaded: dict[str, Loaded] = {}
    for name in study.table_names:
        try:
            loaded[name] = study.read(name)
        except DataProblem as problem:
            problems.extend(str(problem).splitlines())
    guesses = [guess for name in study.table_names for guess in study.guesses(name)]
    return {
        "title": study.title,
        "file": study.path.name,
        "tables": [_table(study, name, found) for name, found in loaded.items()],
        "quality": list(_quality(study, loaded)) if "responses" in loaded else [],
        "joins": list(_joins(loaded)),
        "privacy": study.privacy,
        "taken": [line for name, found in loaded.items() for line in _taken(study, name, found)],
        "waiting": _grouped((g.place, g.what, g.says) for g in guesses if g.counts),
        "unconfirmed": _grouped((g.place, g.what, g.says) for g in guesses if not g.counts),
        "undeclared": list(_undeclared(study, loaded)),
        "problems": problems,
        "ok": not problems and not any(g.counts for g in guesses),
    }


def _grouped(decisions: Iterable[tuple[str, str, str]], form: str = "{}: {} {}") -> list[str]:
    """Return decisions (place, what, says) in words; items that say the same but for counts stand in one line, by name."""
    groups: dict[str, list[tuple[str, str, str]]] = {}
    for place, what, says in decisions:
        same = re.sub(r" \([\d,]+ rows\)", "", says) if what.startswith("item ") else f"{what} {says}"
        groups.setdefault(same, []).append((place, what, says))
    lines = []
    for same, found in groups.items():
        names = ", ".join(what.removeprefix("item ") for _, what, _ in found)
        several = (found[0][0], f"{len(found)} items {names}", same)
        lines.append(form.format(*(found[0] if len(found) == 1 else several)))
    return lines


def _undeclared(study: Study, loaded: dict[str, Loaded]) -> Iterator[str]:
    """Yield what the study file leaves open, and what is taken in its place."""
    if study.version == "1":
        yield f"version: {study.path.name} is read as version 1; write version: 2 above the title"
    if "responses" in loaded and "wave" in (responses := loaded["responses"].table) and not study.waves:
        try:
            order = study.survey_of("responses", responses).wave_order
            yield f"waves: they are taken in the order {', '.join(map(str, order))}; declare waves: [...] to fix it"
        except DataProblem as problem:
            yield f"waves: {problem}; until then whatever speaks of time refuses"
    log = loaded["interactions"].table if "interactions" in loaded else {}
    met = log["touchpoint"].dropna().unique() if "touchpoint" in log and len(study.touchpoints) else ()
    if untold := sorted(set(met) - set(study.touchpoints["touchpoint"])):
        yield f"touchpoints: nothing is said of {', '.join(untold)}, which interactions hold"
    if study.population is None:
        yield "population: no total speaks of more customers than those who answered; declare how many there are in all"


def _table(study: Study, name: str, found: Loaded) -> dict:
    declared = study.declaration(name)
    steps = found.waterfall.table()
    return {
        "name": name,
        "files": list(declared.files().values()) or ["database"],
        "rows": len(found.table),
        "columns": [c for c in type(declared).columns if c in found.table.columns],
        "waterfall": [dict(zip(STEP, (s, int(n), int(r), why))) for s, n, r, why in steps.itertuples(index=False)],
        "items": [_item(key, item, found) for key, item in declared.items.items()],
    }


def _item(key: str, item: Item, found: Loaded) -> dict:
    answers = found.table[key]
    valid = answers.dropna()
    dated = "date" if pd.api.types.is_datetime64_any_dtype(answers) else "as stored"
    words = f"{len(item.labels)} {'choices' if item.multiple else 'labels'}" if item.labels else item.type or dated
    kind = f"{item.scale[0]:g} to {item.scale[1]:g}" if item.scale else words
    spread = f"{valid.min():g} to {valid.max():g}" if item.is_number and len(valid) else f"{valid.nunique()} distinct"
    return {
        "item": key,
        "column": item.column if item.column is not None else key,
        "label": item.label,
        "role": list(item.role),
        "scale": kind,
        "answered": int(answers.notna().sum()),
        "found": spread,
        "codes": {code: int(found.coded.get(key, {}).get(code, 0)) for code in (*item.missing, *item.not_applicable)},
        "confirmed": item.confirmed,
    }


def _quality(study: Study, loaded: dict[str, Loaded]) -> Iterator[str]:
    """Yield in words how carefully and how completely people answered."""
    responses, declared = loaded["responses"].table, study.declaration("responses")
    items = [key for key, item in declared.items.items() if "verbatim" not in item.role]
    if items:
        quality = response_quality(responses, items=items, ratings=study.ratings)
        summary, table = quality.summary, quality.tidy().sort_values("share_skipped", ascending=False, kind="stable")
        if summary["n_rated"]:
            straight, rated = percent(summary["share_straight"], 1), number(summary["n_rated"], 0)
            yield f"straight-lined: {straight} of the {rated} who gave at least three of {len(study.ratings)} ratings"
        if summary["n_unanswered"]:
            yield f"responses without any answer: {summary['n_unanswered']:.0f}"
        skipped = [f"{row.term} {percent(row.share_skipped, 1)}" for row in table.itertuples() if row.share_skipped > 0]
        if skipped:
            yield f"most often skipped: {', '.join(skipped[:SKIPPED_SHOWN])}"
    if "duration" in responses and responses["duration"].notna().any():
        seconds, median = responses["duration"], responses["duration"].median()
        fast, timed = int((seconds < SPEEDER * median).sum()), int(seconds.notna().sum())
        yield f"speeders: {fast} of {timed} took less than a third of the median ({number(median, 0)} s)"
    for who in ("respondent", "customer"):
        if who in responses:
            known = responses[responses[who].notna()]
            again = known.loc[known.duplicated([who, *(["wave"] if "wave" in known else [])]), who].nunique()
            yield f"{number(known[who].nunique(), 0)} {who}s, {again} of them more than once in a wave"
    if "customers" in loaded and "customer" in responses:
        customers = loaded["customers"].table["customer"]
        n, of = int(customers.isin(responses["customer"].dropna()).sum()), len(customers)
        yield f"response rate: {n} of {of} known customers answered ({percent(n / of, 1)})"


def _joins(loaded: dict[str, Loaded]) -> Iterator[str]:
    """Yield in words, for each table with a customer, how many rows find that customer among those of another."""
    tables = {name: found.table["customer"] for name, found in loaded.items() if "customer" in found.table}
    for left, a in tables.items():
        for right, b in tables.items():
            if right == "customers" != left or (left == "responses" and right in ("transactions", "interactions")):
                here, unused = a.isin(b.dropna()), b.dropna()[~b.dropna().isin(a)].nunique()
                yield (
                    f"{left} -> {right}: {here.sum()} of {len(a)} rows matched; {a.isna().sum()} without a customer, "
                    f"{(a.notna() & ~here).sum()} whose customer is not there; {unused} customers of {right} in no row"
                )


def _taken(study: Study, name: str, found: Loaded) -> list[str]:
    """Return the decisions that the study file declares about a table, in words."""
    declared = study.declaration(name)
    given = declared.model_fields_set
    lines = [f"tables.{name}.exclude: {header} {', '.join(codes)}" for header, codes in declared.exclude.items()]
    for key in SAID:
        if key in given and declared.confirmed.get(key) is not False:
            value = getattr(declared, key)
            lines.append(f"tables.{name}.{key}: {', '.join(value) if isinstance(value, tuple) else value}")
    revenue = getattr(declared, "revenue", None)
    if isinstance(revenue, Revenue):
        lines.append(f"tables.{name}.revenue: negative {revenue.negative}, missing {revenue.missing}")
    sure = {k: item for k, item in declared.items.items() if item.confirmed is not False}
    told = {k: item for k, item in sure.items() if item.missing or item.not_applicable or item.values}
    items = [(name, f"item {k}", "; ".join(decisions(item, found.coded.get(k, {})))) for k, item in told.items()]
    return lines + _grouped(items, "{}, {}: {}")


def render(found: dict) -> str:
    """Return the page; the last line says whether an analysis may start."""
    lines = [found["title"], "=" * len(found["title"])]
    for table in found["tables"]:
        lines += ["", *_table_page(table)]
    for key, title in PATTERNS["page"].items():
        if found[key]:
            lines += ["", title, *(f"  {line}" for line in found[key])]
    return "\n".join([*lines, "", verdict(found)]) + "\n"


def verdict(found: dict) -> str:
    """Return in one sentence whether an analysis may start."""
    if found["ok"]:
        return f"{found['file']} and its files agree; nothing stands in the way of a run."
    problems, waiting = len(found["problems"]), len(found["waiting"])
    left = [f"{count(problems, 'problem')} to correct"] if problems else []
    left += [f"{count(waiting, 'decision')} to take (set confirmed: true, or change the guess)"] if waiting else []
    return f"{found['file']} is not ready: {' and '.join(left)}."


def _table_page(table: dict) -> Iterator[str]:
    files = table["files"]
    told = ", ".join(files) if len(files) <= FILES_SHOWN else f"{len(files)} files, {files[0]} to {files[-1]}"
    yield f"Table {table['name']}: {number(table['rows'], 0)} rows from {told}"
    if table["columns"]:
        yield f"  columns: {', '.join(table['columns'])}"
    steps = [(s["step"], number(s["rows"], 0), s["reason"]) for s in table["waterfall"]]
    yield from _grid(("step", "rows", "why"), steps, widest=90)
    if table["items"]:
        yield ""
        yield from _grid(ITEM, [_item_row(item) for item in table["items"]])


def _item_row(item: dict) -> tuple[str, ...]:
    column = item["column"]
    column = ", ".join(dict.fromkeys(column.values())) if isinstance(column, dict) else column
    codes = ", ".join(f"{code} ({n})" for code, n in item["codes"].items())
    mark = "?" if item["confirmed"] is False else ""
    role, answered = ", ".join(item["role"]), number(item["answered"], 0)
    return item["item"] + mark, column, role, item["scale"], answered, item["found"], codes


def _grid(headers: Sequence[str], rows: Sequence[Sequence[str]], widest: int = WIDEST) -> Iterator[str]:
    cells = [[_short(cell, widest) for cell in row] for row in (headers, *rows)]
    widths = [max(len(row[i]) for row in cells) for i in range(len(headers))]
    for row in cells:
        yield "  " + "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()


def _short(text: str, widest: int) -> str:
    text = "".join(c if c.isprintable() else " " for c in text)
    return text if len(text) <= widest else text[: widest - 1] + "…"
