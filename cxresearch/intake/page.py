"""The result of a check as a page of text for the terminal."""

from collections.abc import Iterator, Sequence

from cxresearch.findings import number, percent

WIDEST = 34
SHOWN = 40
SKIPPED_SHOWN = 8


def render(found: dict) -> str:
    """Return the page; the last line says whether an analysis may start."""
    lines = [found["title"], "=" * len(found["title"])]
    for table in found["tables"]:
        lines += ["", *_table(table)]
    if found["quality"]:
        lines += ["", *_section("Response quality", _quality(found["quality"]))]
    if found["joins"]:
        lines += ["", *_section("Joins on the customer", [_join(join) for join in found["joins"]])]
    for key, title in (
        ("privacy", "Privacy"),
        ("taken", "Decisions taken"),
        ("unconfirmed", "Guesses that change no number (look when you can)"),
        ("undeclared", "Not declared (nothing waits for it)"),
        ("waiting", "Decisions missing: each of these guesses changes a number"),
        ("problems", "Problems"),
    ):
        if found[key]:
            lines += ["", *_section(title, _cut(found[key], SHOWN if key in ("taken", "unconfirmed") else None))]
    return "\n".join([*lines, "", verdict(found)]) + "\n"


def verdict(found: dict) -> str:
    """Return in one sentence whether an analysis may start."""
    if found["ok"]:
        return f"{found['file']} and its files agree; nothing stands in the way of a run."
    left = []
    if found["problems"]:
        left.append(f"{_count(len(found['problems']), 'problem')} to correct")
    if found["waiting"]:
        left.append(f"{_count(len(found['waiting']), 'decision')} to take (set confirmed: true, or change the guess)")
    return f"{found['file']} is not ready: {' and '.join(left)}."


def _count(n: int, noun: str) -> str:
    return f"{n} {noun}" + ("" if n == 1 else "s")


def _section(title: str, lines: Sequence[str]) -> list[str]:
    return [title, *(f"  {line}" for line in lines)]


def _cut(lines: Sequence[str], most: int | None) -> list[str]:
    if most is None or len(lines) <= most:
        return list(lines)
    return [*lines[:most], f"and {len(lines) - most} more"]


def _table(table: dict) -> Iterator[str]:
    yield f"Table {table['name']}: {number(table['rows'], 0)} rows from {', '.join(_cut(table['files'], 6))}"
    if table["columns"]:
        yield f"  columns: {', '.join(table['columns'])}"
    steps = [(s["step"], number(s["rows"], 0), s["reason"]) for s in table["waterfall"]]
    yield from _grid(("step", "rows", "why"), steps, widest=90)
    if table["items"]:
        yield ""
        yield from _grid(
            ("item", "column", "role", "scale", "answered", "found", "codes (rows)"),
            [_item(item) for item in table["items"]],
        )


def _item(item: dict) -> tuple[str, ...]:
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


def _quality(quality: dict) -> Iterator[str]:
    if quality.get("rated"):
        yield (
            f"straight-lined: {percent(quality['straight_lined'], 1)} of the {number(quality['rated'], 0)} who gave at "
            f"least three of {quality['ratings']} ratings"
        )
    if "median_seconds" in quality:
        yield (
            f"speeders: {quality['speeders']} of {quality['timed']} took less than a third of the median "
            f"({number(quality['median_seconds'], 0)} s)"
        )
    for who in ("respondent", "customer"):
        if f"{who}s" in quality:
            yield f"{number(quality[f'{who}s'], 0)} {who}s, {quality[f'{who}s_repeated']} of them more than once in a wave"
    if quality.get("unanswered"):
        yield f"responses without any answer: {quality['unanswered']}"
    if skipped := quality.get("skipped"):
        worst = [f"{item} {percent(share, 1)}" for item, share in list(skipped.items())[:SKIPPED_SHOWN]]
        yield f"most often skipped: {', '.join(worst)}"
    if "customers_known" in quality:
        known, answered = quality["customers_known"], quality["customers_answered"]
        yield f"response rate: {answered} of {known} known customers answered ({percent(answered / known, 1)})"


def _join(join: dict) -> str:
    return (
        f"{join['from']} -> {join['to']}: {join['matched']} of {join['rows']} rows matched; {join['without_customer']} "
        f"without a customer, {join['without_partner']} whose customer is not there; {join['partners_unused']} customers "
        f"of {join['to']} in no row"
    )
