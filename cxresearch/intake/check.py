"""What a study holds, and whether an analysis may start: tables, items, response quality, joins, decisions."""

from collections.abc import Iterator
from datetime import date
from pathlib import Path

import numpy as np
import pandas as pd

from cxresearch import digits
from cxresearch.errors import DataProblem
from cxresearch.quality import response_quality
from cxresearch.study import Study, open_study
from cxresearch.study.items import Item, decisions
from cxresearch.study.schema import Revenue
from cxresearch.study.table import Loaded

SPEEDER = 1 / 3  # of the median duration; a convention, not a test


def check_study(path: str | Path, *, today: date | None = None) -> dict:
    """Read every table of a study and return what is there, as plain lists, dicts, numbers and text.

    Parameters
    ----------
    path
        The study file or its folder.
    today
        Held against the study's ``delete_after``; without it, the computer's date.

    Returns
    -------
    dict
        ``title``, ``file``, ``tables`` (name, files, rows, waterfall, items), ``quality`` (of responses, or None),
        ``joins`` (what finds no partner), ``privacy`` (what is done), ``taken`` (decisions declared), ``waiting``
        (unconfirmed guesses that change a number), ``unconfirmed`` (those that change none), ``undeclared`` (what the
        study file could say and does not), ``problems`` and ``ok``.

    Raises
    ------
    StudyProblem
        The study file itself is wrong, a file is absent, or the data were to be deleted by now.
    """
    study = open_study(path)
    study.require_in_time(today=today)
    problems: list[str] = []
    loaded = {name: found for name in study.table_names if (found := _read(study, name, problems))}
    guesses = [guess for name in study.table_names for guess in study.guesses(name)]
    return {
        "title": study.title,
        "file": study.path.name,
        "tables": [_table(study, name, found) for name, found in loaded.items()],
        "quality": _quality(study, loaded) if "responses" in loaded else None,
        "joins": _joins(loaded),
        "privacy": study.privacy,
        "taken": [line for name, found in loaded.items() for line in _taken(study, name, found)],
        "waiting": [f"{g.place}: {g.what} {g.says}" for g in guesses if g.counts],
        "unconfirmed": [f"{g.place}: {g.what} {g.says}" for g in guesses if not g.counts],
        "undeclared": list(_undeclared(study, loaded)),
        "problems": problems,
        "ok": not problems and not any(g.counts for g in guesses),
    }


def _read(study: Study, name: str, problems: list[str]) -> Loaded | None:
    try:
        return study.read(name)
    except DataProblem as problem:
        problems.extend(str(problem).splitlines())
        return None


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


# -- tables and items ------------------------------------------------------------------------------------------------


def _table(study: Study, name: str, found: Loaded) -> dict:
    declared = study.declaration(name)
    steps = found.waterfall.table()
    return {
        "name": name,
        "files": list(declared.files().values()) or ["database"],
        "rows": len(found.table),
        "columns": [c for c in type(declared).columns if c in found.table.columns],
        "waterfall": [
            {"step": s, "rows": int(n), "removed": int(r), "reason": why}
            for s, n, r, why in steps.itertuples(index=False)
        ],
        "items": [_item(key, item, found) for key, item in declared.items.items()],
    }


def _item(key: str, item: Item, found: Loaded) -> dict:
    answers = found.table[key]
    valid = answers.dropna()
    kind = f"{item.scale[0]:g} to {item.scale[1]:g}" if item.scale else _kind(item, answers)
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


def _kind(item: Item, answers: pd.Series) -> str:
    if item.multiple:
        return f"{len(item.labels)} choices"
    if item.labels:
        return f"{len(item.labels)} labels"
    return item.type or ("date" if pd.api.types.is_datetime64_any_dtype(answers) else "as stored")


# -- response quality ------------------------------------------------------------------------------------------------


def _quality(study: Study, loaded: dict[str, Loaded]) -> dict:
    responses, declared = loaded["responses"].table, study.declaration("responses")
    items = [key for key, item in declared.items.items() if "verbatim" not in item.role]
    found: dict = {"responses": len(responses), "ratings": 0}
    if items:
        ratings = study.ratings
        quality = response_quality(responses, items=items, ratings=ratings)
        table = quality.tidy().sort_values("share_skipped", ascending=False, kind="stable")
        skipped = {
            row.term: digits.rounded(float(row.share_skipped), 4) for row in table.itertuples() if row.share_skipped > 0
        }
        found |= {
            "ratings": len(ratings),
            "rated": int(quality.summary["n_rated"]),
            "straight_lined": _rounded(quality.summary["share_straight"]),
            "unanswered": int(quality.summary["n_unanswered"]),
            "skipped": skipped,
        }
    return found | _speeders(responses) | _repeated(responses) | _response_rate(loaded)


def _rounded(share) -> float | None:
    return None if share is None or np.isnan(share) else digits.rounded(float(share), 4)


def _speeders(responses: pd.DataFrame) -> dict:
    if "duration" not in responses or not responses["duration"].notna().any():
        return {}
    median = float(responses["duration"].median())
    return {
        "median_seconds": digits.rounded(median, 1),
        "speeders": int((responses["duration"] < SPEEDER * median).sum()),
        "timed": int(responses["duration"].notna().sum()),
    }


def _repeated(responses: pd.DataFrame) -> dict:
    """Count respondents and customers who stand more than once (in one wave, where there are waves)."""
    wave = ["wave"] if "wave" in responses else []
    found = {}
    for who in ("respondent", "customer"):
        if who in responses:
            known = responses[responses[who].notna()]
            found[f"{who}s"] = int(known[who].nunique())
            found[f"{who}s_repeated"] = int(known.loc[known.duplicated([who, *wave]), who].nunique())
    return found


def _response_rate(loaded: dict[str, Loaded]) -> dict:
    responses = loaded["responses"].table
    if "customers" not in loaded or "customer" not in responses:
        return {}
    customers = loaded["customers"].table["customer"]
    answered = customers.isin(pd.Index(responses["customer"].dropna().unique()))
    return {"customers_known": len(customers), "customers_answered": int(answered.sum())}


# -- joins and decisions ---------------------------------------------------------------------------------------------


def _joins(loaded: dict[str, Loaded]) -> list[dict]:
    """Return, for each table with a customer, how many rows find that customer among the customers."""
    tables = {name: found.table["customer"] for name, found in loaded.items() if "customer" in found.table}
    return [
        _join(left, a, right, b)
        for left, a in tables.items()
        for right, b in tables.items()
        if right == "customers" != left or (left == "responses" and right in ("transactions", "interactions"))
    ]


def _join(left: str, a: pd.Series, right: str, b: pd.Series) -> dict:
    known = pd.Index(b.dropna().unique())
    here = a.isin(known)
    return {
        "from": left,
        "to": right,
        "rows": len(a),
        "without_customer": int(a.isna().sum()),
        "without_partner": int((a.notna() & ~here).sum()),
        "matched": int(here.sum()),
        "partners_unused": int((~known.isin(pd.Index(a.dropna().unique()))).sum()),
    }


def _taken(study: Study, name: str, found: Loaded) -> list[str]:
    """Return the decisions that the study file declares about a table, in words."""
    declared = study.declaration(name)
    given = declared.model_fields_set
    lines = [f"tables.{name}.exclude: {header} {', '.join(codes)}" for header, codes in declared.exclude.items()]
    for key in ("encoding", "encoding_errors", "decimal", "dayfirst", "time_format", "negative", "missing", "weight"):
        if key in given and declared.confirmed.get(key) is not False:
            value = getattr(declared, key)
            lines.append(f"tables.{name}.{key}: {', '.join(value) if isinstance(value, tuple) else value}")
    revenue = getattr(declared, "revenue", None)
    if isinstance(revenue, Revenue):
        lines.append(f"tables.{name}.revenue: negative {revenue.negative}, missing {revenue.missing}")
    for key, item in declared.items.items():
        if item.confirmed is not False and (item.missing or item.not_applicable or item.values):
            lines.append(f"{name}, item {key}: {'; '.join(decisions(item, found.coded.get(key, {})))}")
    return lines
