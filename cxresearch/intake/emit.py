"""Guesses as the text of a study file: each with its reason as a comment."""

import json
import re

from cxresearch.intake.decision import Guess
from cxresearch.intake.rules import TableGuess

PLAIN = re.compile(r"[A-Za-z_][A-Za-z0-9_ ./%()-]*[A-Za-z0-9_)]|[A-Za-z]|-?\d{1,15}(\.\d{1,15})?")
WORDS_OF_YAML = {"null", "true", "false", "yes", "no", "on", "off", "y", "n", "none"}
WIDE = 112
ORDER = (
    "column scale type decimal thousands missing not_applicable values multiple labels time_format role label".split()
)


def study_text(title: str, tables: list[tuple[TableGuess, dict | str]]) -> str:
    """Return the study file; `tables` are guesses with their source (a file, or wave: file)."""
    lines = [
        "# A first study file, guessed from the files themselves. Each guess has its reason beside it. What carries",
        "# confirmed: false is doubtful: look at it, change it or set it to true. `cxresearch check` lists what is left.",
        "version: 2",
        f"title: {scalar(title)}",
        "privacy: {minimum_base: 10}",
        "tables:",
    ]
    for table, source in tables:
        lines += ["", *_table(table, source)]
    return "\n".join(lines) + "\n"


def _table(table: TableGuess, source) -> list[str]:
    lines = [_comment(table.reason, 2), f"  {table.name}:"]
    lines.append(f"    {'sources' if isinstance(source, dict) else 'source'}: {flow(source)}")
    items = [(item, item.written()) for item in table.items]
    codes, doubtful = _shared_codes(items)
    written = table.own.written() | ({"codes": codes} if codes else {})
    why = table.why | {"codes": "what these codes mean in every rating on whose scale they do not lie"}
    for key, value in written.items():
        lines += [_comment(why.get(key, "answered"), 4), f"    {key}: {flow(value)}"]
    open_ = [doubt.topic for doubt in table.own.open if doubt.topic in written] + ["codes"] * doubtful
    if open_:
        told = _comment("Look at each of these, then set it to true.", 4)
        lines += [told, f"    confirmed: {flow(dict.fromkeys(open_, False))}"]
    lines += ["    items:"] * bool(items)
    for item, given in items:
        lines += _item(item, given, codes if doubtful else {})
    return [*lines, *(_comment(f"left out: {left}", 4) for left in table.left)]


def _shared_codes(items: list[tuple[Guess, dict]]) -> tuple[dict, bool]:
    """Take the codes that ratings share out of them; return code -> what it means, and whether somebody has to look."""
    rated = [(item, given) for item, given in items if "scale" in given and "values" not in given]
    said: dict[object, list[str]] = {}
    for _, given in rated:
        for meaning in ("missing", "not_applicable"):
            for code in given.get(meaning, ()):
                said.setdefault(code, []).append(meaning)
    codes = {code: found[0] for code, found in said.items() if len(found) > 1 and len(set(found)) == 1}
    doubtful = any(codes.keys() & set(doubt.codes) for item, _ in rated for doubt in item.open)
    for _, given in rated:
        for meaning in ("missing", "not_applicable"):
            if own := [code for code in given.get(meaning, ()) if code not in codes]:
                given[meaning] = own
            else:
                given.pop(meaning, None)
    return {code: meaning.replace("_", " ") for code, meaning in codes.items()}, doubtful


def _item(item: Guess, given: dict, shared: dict) -> list[str]:
    """Return the lines of an item; a doubt about codes of the whole table is that of the table."""
    told = [doubt for doubt in item.open if doubt.shown]
    alone = [d for d in told if not ("scale" in given and d.codes and set(d.codes) <= shared.keys())]
    taken = [f"{d.found}: {d.answers[item.taken[d.topic]].words}" for d in item.doubts if d.topic in item.taken]
    given = {"column": item.column} | given | ({"confirmed": False} if alone else {})
    order = sorted(given, key=lambda key: ORDER.index(key) if key in ORDER else len(ORDER))
    reasons = [*item.reasons, *taken, *(f"? {doubt.found}" for doubt in told)]
    lines = [_comment(reason, 6) for reason in reasons]
    written = flow({key: given[key] for key in order})
    if len(written) + len(item.key) < WIDE:
        return [*lines, f"      {item.key}: {written}"]
    return [*lines, f"      {item.key}:", *(f"        {key}: {flow(given[key])}" for key in order)]


def _comment(text: str, indent: int) -> str:
    return f"{' ' * indent}# " + "".join(c if c.isprintable() else " " for c in text)[:300]


def flow(value) -> str:
    """Return a value in YAML on one line."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{scalar(k)}: {flow(v)}" for k, v in value.items()) + "}"
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(flow(v) for v in value) + "]"
    return str(value).lower() if isinstance(value, bool) else scalar(value)


def scalar(value) -> str:
    """Return one value; text that YAML could take for something else, or that holds its signs, in quotation marks."""
    if isinstance(value, (int, float)):
        return f"{value:g}" if abs(value) < 1e15 else repr(value)
    text = str(value)
    if PLAIN.fullmatch(text) and text.lower() not in WORDS_OF_YAML:
        return text
    quoted = json.dumps(text, ensure_ascii=False)  # and what is not printable is written as its code
    return "".join(c if c.isprintable() or c == " " else f"\\u{ord(c):04x}" for c in quoted)
