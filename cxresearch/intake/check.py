"""What a study holds and whether an analysis may start: tables, items, quality, joins, decisions; and a page."""

import re
from collections.abc import Iterable, Iterator, Sequence
from datetime import date
from pathlib import Path

import pandas as pd

from cxresearch.errors import DataProblem
from cxresearch.findings import number, percent
from cxresearch.intake.look import PATTERNS, say
from cxresearch.quality import response_quality
from cxresearch.study import Study, open_study
from cxresearch.study.codes import count
from cxresearch.study.schema import Item, Revenue, decisions, written
from cxresearch.study.table import Loaded

SAID = "encoding encoding_errors decimal thousands codes dayfirst time_format negative missing weight".split()
ITEM = ("item", "column", "role", "scale", "answered", "found", "codes (rows)")
SPEEDER = 1 / 3  # of the median duration; a convention, not a test


def check_study(path: str | Path, *, today: date | None = None) -> dict:
    """Read every table of a study and return what is there, as plain lists, dicts, numbers and text.

    ``title``, ``file``, ``tables`` (name, files, rows, waterfall, items), ``ok``; in words ``quality`` (of responses),
    ``joins`` (what finds no partner), ``privacy`` (what is done), ``taken`` (decisions declared), ``waiting``
    (unconfirmed guesses that change a number), ``unconfirmed`` (that change none), ``undeclared`` (what is left open),
    ``problems``. `today` is held against the study's ``delete_after``; without it, the computer's date.
    `StudyProblem` where the study file itself is wrong, a file is absent, or the data were to be deleted by now.
    """
    study = open_study(path, today=today)
    problems, loaded = [], {}
    for name in study.table_names:
        try:
            loaded[name] = study.read(name)
        except DataProblem as problem:
            problems += str(problem).splitlines()
    guesses = [(g.counts, (g.place, g.what, g.says)) for name in study.table_names for g in study.guesses(name)]
    return {
        "title": study.title,
        "file": study.path.name,
        "tables": [_table(study, name, found) for name, found in loaded.items()],
        "quality": list(_quality(study, loaded)) if "responses" in loaded else [],
        "joins": list(_joins(loaded)),
        "privacy": study.privacy,
        "taken": [line for name, found in loaded.items() for line in _taken(study, name, found)],
        "waiting": list(_grouped(said for counts, said in guesses if counts)),
        "unconfirmed": list(_grouped(said for counts, said in guesses if not counts)),
        "undeclared": list(_undeclared(study, {name: found.table for name, found in loaded.items()})),
        "problems": problems,
        "ok": not problems and not any(counts for counts, _ in guesses),
    }


def _grouped(decisions: Iterable[tuple[str, str, str]], form: str = "{}: {} {}") -> Iterator[str]:
    """Yield decisions (place, what, says) in words; items that say the same but for counts in one line, by name."""
    groups: dict[str, list[tuple[str, str, str]]] = {}
    for place, what, says in decisions:
        same = re.sub(r" \([\d,]+ rows\)", "", says) if what.startswith("item ") else f"{what} {says}"
        groups.setdefault(same, []).append((place, what, says))
    for same, group in groups.items():
        names = ", ".join(what.removeprefix("item ") for _, what, _ in group)
        yield form.format(*(group[0] if len(group) == 1 else (group[0][0], f"{len(group)} items {names}", same)))


def _undeclared(study: Study, tables: dict[str, pd.DataFrame]) -> Iterator[str]:
    """Yield in words what the study file leaves open, and what is taken in its place."""
    if study.version == "1":
        yield say("version 1", file=study.path.name)
    if "wave" in tables.get("responses", ()) and not study.waves:
        try:
            order = map(str, study.survey_of("responses", tables["responses"]).wave_order)
            yield say("no waves", order=", ".join(order))
        except DataProblem as problem:
            yield say("no order", problem=problem)
    if "touchpoint" in tables.get("interactions", ()) and len(study.touchpoints):
        met = tables["interactions"].groupby("touchpoint")["customer"].nunique()
        if untold := sorted(set(met.index[met >= study.min_base]) - set(study.touchpoints["touchpoint"])):
            yield say("untold", names=", ".join(untold))
    if study.population is None:
        yield say("no population")


def _table(study: Study, name: str, found: Loaded) -> dict:
    declared = study.declaration(name)
    return {
        "name": name,
        "files": list(declared.files().values()) or ["database"],
        "rows": len(found.table),
        "columns": [c for c in type(declared).columns if c in found.table.columns],
        "waterfall": found.waterfall.table().to_dict("records"),
        "items": [_item(key, item, found) for key, item in declared.items.items()],
    }


def _item(key: str, item: Item, found: Loaded) -> dict:
    answers, codes = found.table[key], found.coded.get(key, {})
    valid = answers.dropna()
    dated = "date" if pd.api.types.is_datetime64_any_dtype(answers) else "as stored"
    words = f"{len(item.labels)} {'choices' if item.multiple else 'labels'}" if item.labels else item.type or dated
    spread = f"{valid.min():g} to {valid.max():g}" if item.is_number and len(valid) else f"{valid.nunique()} distinct"
    return {
        "item": key,
        "column": key if item.column is None else item.column,
        "label": item.label,
        "role": list(item.role),
        "scale": f"{item.scale[0]:g} to {item.scale[1]:g}" if item.scale else words,
        "answered": len(valid),
        "found": spread,
        "codes": {code: int(codes.get(code, 0)) for code in (*item.missing, *item.not_applicable)},
        "confirmed": item.confirmed,
    }


def _quality(study: Study, loaded: dict[str, Loaded]) -> Iterator[str]:
    """Yield in words how carefully and how completely people answered."""
    responses, declared = loaded["responses"].table, study.declaration("responses")
    if items := [key for key, item in declared.items.items() if "verbatim" not in item.role]:
        quality = response_quality(responses, items=items, ratings=study.ratings)
        yield quality.sentence()
        if unanswered := quality.summary["n_unanswered"]:
            yield f"responses without any answer: {unanswered}"
    seconds = responses["duration"].dropna() if "duration" in responses else ()
    if len(seconds):
        fast, median = int((seconds < SPEEDER * seconds.median()).sum()), number(seconds.median(), 0)
        yield f"speeders: {fast} of {len(seconds)} took less than a third of the median ({median} s)"
    for who in responses.columns.intersection(["respondent", "customer"]):
        known = responses[responses[who].notna()]
        again = known.loc[known.duplicated([who, *known.columns.intersection(["wave"])]), who].nunique()
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
                counts = {"matched": here.sum(), "blank": a.isna().sum(), "absent": (a.notna() & ~here).sum()}
                yield say("join", left=left, right=right, rows=len(a), unused=unused, **counts)


def _taken(study: Study, name: str, found: Loaded) -> Iterator[str]:
    """Yield the decisions that the study file declares about a table, in words."""
    declared = study.declaration(name)
    for header, codes in declared.exclude.items():
        yield f"tables.{name}.exclude: {header} {', '.join(codes)}"
    for key in SAID:
        if key in declared.model_fields_set and declared.confirmed.get(key) is not False:
            yield f"tables.{name}.{key}: {written(getattr(declared, key))}"
    if isinstance(revenue := getattr(declared, "revenue", None), Revenue):
        yield f"tables.{name}.revenue: negative {revenue.negative}, missing {revenue.missing}"
    sure = {key: item for key, item in declared.items.items() if item.confirmed is not False}
    told = {k: item for k, item in sure.items() if item.missing or item.not_applicable or item.values}
    says = ((name, f"item {k}", "; ".join(decisions(item, found.coded.get(k, {})))) for k, item in told.items())
    yield from _grouped(says, "{}, {}: {}")


def render(found: dict) -> str:
    """Return the page; the last line says whether an analysis may start."""
    lines = [found["title"], "=" * len(found["title"])]
    for table in found["tables"]:
        lines += ["", f"Table {table['name']}: {number(table['rows'], 0)} rows from {', '.join(table['files'])}"]
        lines += [f"  columns: {', '.join(table['columns'])}"] * bool(table["columns"])
        steps = ((s["step"], number(s["rows"], 0), s["reason"]) for s in table["waterfall"])
        lines += _grid([("step", "rows", "why"), *steps], widest=90)
        if table["items"]:
            lines += ["", *_grid([ITEM, *map(_item_row, table["items"])], widest=34)]
    for key, title in PATTERNS["page"].items():
        if found[key]:
            lines += ["", title, *(f"  {line}" for line in found[key])]
    kinds = {"problems": "problem", "waiting": "decision"}
    left = [say(key, n=count(len(found[key]), one)) for key, one in kinds.items() if found[key]]
    verdict = say("ready" if found["ok"] else "not ready", file=found["file"], left=" and ".join(left))
    return "\n".join([*lines, "", verdict]) + "\n"


def _item_row(item: dict) -> tuple[str, ...]:
    columns = item["column"].values() if isinstance(item["column"], dict) else [item["column"]]
    codes = ", ".join(f"{code} ({n})" for code, n in item["codes"].items())
    name, role = item["item"] + "?" * (item["confirmed"] is False), ", ".join(item["role"])
    where, answered = ", ".join(dict.fromkeys(columns)), number(item["answered"], 0)
    return name, where, role, item["scale"], answered, item["found"], codes


def _grid(rows: list[Sequence[str]], widest: int) -> Iterator[str]:
    """Yield rows as lines in columns, the first of them the headers; cells are cut to the widest."""
    printable = [["".join(c if c.isprintable() else " " for c in cell) for cell in row] for row in rows]
    cells = [[cell if len(cell) <= widest else f"{cell[: widest - 1]}…" for cell in row] for row in printable]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    for row in cells:
        yield "  " + "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
