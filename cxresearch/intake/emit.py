"""Guesses as the text of a study file: each with its reason as a comment."""

import json
import re

from cxresearch.intake.guess import Guess
from cxresearch.intake.kinds import TableGuess

PLAIN = re.compile(r"[A-Za-z_][A-Za-z0-9_ ./%()-]*[A-Za-z0-9_)]|[A-Za-z]|-?\d{1,15}(\.\d{1,15})?")
WORDS_OF_YAML = {"null", "true", "false", "yes", "no", "on", "off", "y", "n", "none"}
WIDE = 112
ORDER = "column scale type missing not_applicable values multiple labels time_format role label".split()


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
    lines = _comment(table.why, 2) + [f"  {table.name}:"]
    lines.append(f"    {'sources' if isinstance(source, dict) else 'source'}: {flow(source)}")
    for key, value, reason in table.keys:
        lines += _comment(reason, 4) + [f"    {key}: {flow(value)}"]
    if table.doubtful:
        lines += [
            "    # Look at each of these, then set it to true.",
            f"    confirmed: {flow(dict.fromkeys(table.doubtful, False))}",
        ]
    if table.items:
        lines.append("    items:")
        for item in table.items:
            lines += _item(item)
    for left in table.left:
        lines += _comment(f"left out: {left}", 4)
    return lines


def _item(item: Guess) -> list[str]:
    reasons = [*item.reasons, *(f"? {doubt}" for doubt in item.doubts)]
    given = {"column": item.column} | item.given | ({"confirmed": False} if item.doubts else {})
    order = sorted(given, key=lambda key: ORDER.index(key) if key in ORDER else len(ORDER))
    lines = [line for reason in reasons for line in _comment(reason, 6)]
    written = flow({key: given[key] for key in order})
    if len(written) + len(item.key) < WIDE:
        return [*lines, f"      {item.key}: {written}"]
    return [*lines, f"      {item.key}:", *(f"        {key}: {flow(given[key])}" for key in order)]


def _comment(text: str, indent: int) -> list[str]:
    plain = "".join(c if c.isprintable() else " " for c in text)
    return [f"{' ' * indent}# {plain[:300]}"]


def flow(value) -> str:
    """Return a value in YAML on one line."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{scalar(k)}: {flow(v)}" for k, v in value.items()) + "}"
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(flow(v) for v in value) + "]"
    if isinstance(value, bool):
        return "true" if value else "false"
    return scalar(value)


def scalar(value) -> str:
    """Return one value; text that YAML could take for something else, or that holds its signs, in quotation marks."""
    if isinstance(value, (int, float)):
        return f"{value:g}" if abs(value) < 1e15 else repr(value)
    text = str(value)
    safe = PLAIN.fullmatch(text) and text.lower() not in WORDS_OF_YAML
    return text if safe else _quoted(text)


def _quoted(text: str) -> str:
    """Return text in double quotation marks; what is not printable is written as its code."""
    return "".join(
        c if c.isprintable() or c == " " else f"\\u{ord(c):04x}" for c in json.dumps(text, ensure_ascii=False)
    )
