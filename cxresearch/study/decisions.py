"""Decisions that a study file takes, and those that it leaves to somebody: ``confirmed: false``."""

from collections import Counter
from typing import NamedTuple

from cxresearch.study.document import Document
from cxresearch.study.items import Item, Part, said_by
from cxresearch.study.schema import Table

# Roles that decide what is computed, or from whom.
COUNTING = {"nps", "csat", "ces", "outcome", "driver", "control", "asked_at"}
# Keys of a table whose guess changes at most how text looks.
HARMLESS = {"encoding", "encoding_errors"}


class Guess(NamedTuple):
    """Something that nobody has confirmed yet."""

    place: str
    """File and line."""
    what: str
    """``item recommend``, or ``tables.responses.weight``."""
    says: str
    """What it says, with counts."""
    counts: bool
    """Whether it changes a number."""


def guesses(name: str, table: Table, loaded, document: Document) -> list[Guess]:
    """Return every guess of one table, and for each whether it changes a number; `loaded` is None if it is not read."""
    path = ("tables", name)
    found = []
    for key, confirmed in table.confirmed.items():
        if not confirmed:
            place = _place(document, (*path, "confirmed", key))
            what = f"tables.{name}.{key}"
            found.append(Guess(place, what, f"({_said(getattr(table, key))})", key not in HARMLESS))
    typed = document.data["tables"][name].get("items") or {}
    bulk: dict[str, list[str]] = {}
    for key, item in table.items.items():
        if item.confirmed is False:
            bulk.setdefault(said_by(typed, key, "confirmed"), []).append(key)
    for said, keys in bulk.items():
        items = [table.items[key] for key in keys]
        coded = loaded and sum((loaded.coded.get(key, Counter()) for key in keys), Counter())
        says = decisions(items[0], coded)
        counts = any(COUNTING & set(item.role) or item.values or item.multiple for item in items)
        what = f"item {said}" if said in table.items else f"{len(keys)} items {said}"
        touched = loaded is None or sum(coded.values())
        place = _place(document, (*path, "items", said))
        found.append(Guess(place, what, f"({'; '.join(says) or 'label'})", bool(counts or touched)))
    return found


def _place(document: Document, path: tuple) -> str:
    return f"{document.name}, line {document.line(path)}"


def decisions(item: Item, coded) -> list[str]:
    """Return in words what an item decides: scale, codes set aside with their counts (if known), values, role."""
    said = []
    if item.role:
        said.append(f"role {', '.join(item.role)}")
    if item.scale:
        said.append(f"scale {item.scale[0]:g} to {item.scale[1]:g}")
    for word, codes in (("missing", item.missing), ("not applicable", item.not_applicable)):
        if codes:
            rows = ["" if coded is None else f" ({coded.get(code, 0)} rows)" for code in codes]
            said.append(f"{word} " + ", ".join(map("".join, zip(codes, rows))))
    if item.values:
        pairs = [f"{code} is {value:g}" for code, value in item.values.items()]
        said.append("stored " + ", ".join(pairs[:3]) + (", ..." if len(pairs) > 3 else ""))
    if item.multiple:
        said.append(f"multiple choice separated by {item.multiple!r}")
    return said


def _said(value) -> str:
    if isinstance(value, Part):
        value = value.model_dump(exclude_unset=True, by_alias=True)
    if isinstance(value, dict):
        return ", ".join(f"{k}: {_said(v)}" for k, v in value.items())
    return ", ".join(map(str, value)) if isinstance(value, (tuple, list)) else str(value)
