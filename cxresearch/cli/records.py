"""The commands on finished runs: `compare`, `verify`, `sign`."""

import json
from pathlib import Path


def add_compare(commands) -> None:
    compare = commands.add_parser(
        "compare",
        help="say what changed from one run to another",
        description="Which inputs, parameters, versions and findings changed between two runs, by how much, with the "
        "interval of a difference where both have one, and which checks turned.",
    )
    compare.add_argument("before", metavar="RUN", help="folder of the earlier run")
    compare.add_argument("after", metavar="RUN", help="folder of the later run")
    compare.add_argument("--json", action="store_true", help="print JSON instead of text")
    compare.add_argument("--ledger", metavar="FILE", help="add every number that moved to a table in FILE (Markdown)")
    compare.add_argument("--title", default="Moved", help="of the ledger's section; one of this title is replaced")
    compare.add_argument("--why", action="append", default=[], metavar="[NOTEBOOK=]TEXT", help="reason in the ledger")
    compare.set_defaults(command=_compare)


def add_verify(commands) -> None:
    verify = commands.add_parser(
        "verify",
        help="execute a run again and hold its tables against it",
        description="Execute a run again from its record and say which files of findings have the same bytes, which are the "
        "same to six digits (last digits depend on the processor) and which differ. Exit status 0 if none differs, "
        "1 if one does, 2 if the run cannot be repeated.",
    )
    verify.add_argument("run", metavar="RUN", help="folder of the run")
    verify.add_argument("--notebooks", metavar="DIR", help="folder of the notebooks; default: notebooks/ here or above")
    verify.set_defaults(command=_verify)


def add_sign(commands) -> None:
    sign = commands.add_parser(
        "sign",
        help="record that somebody has reviewed a run",
        description="Record a sign-off in a run and show it on its pages; it is void once anything in the run changes. "
        "Without --name, say who signed and whether it still holds: exit status 1 if a sign-off is void or there is none.",
    )
    sign.add_argument("run", metavar="RUN", help="folder of the run")
    sign.add_argument("--name", metavar="NAME", help="who signs")
    sign.add_argument("--note", metavar="TEXT", default="", help="what they say")
    sign.set_defaults(command=_sign)


def _compare(given) -> int:
    from cxresearch.runs.compare import compare_runs

    if given.ledger:
        from cxresearch.runs.moved import write_ledger

        why = {name if mark else "": text if mark else name for name, mark, text in (w.partition("=") for w in given.why)}
        rows = write_ledger(given.before, given.after, given.ledger, title=given.title, why=why)
        print(f"{given.ledger}: {rows} row{'s' * (rows != 1)} in {given.title!r}")
        return 0
    found = compare_runs(given.before, given.after)
    print(json.dumps(found.as_dict(), ensure_ascii=False, indent=1) if given.json else _told(found))
    return 0


def _told(found) -> str:
    """Return a comparison as a page for the terminal."""
    parts = {
        "Inputs": [_line(c, digest=True) for c in found.inputs],
        "Parameters": [_line(c) for c in found.parameters],
        "Versions": [_line(c) for c in found.versions],
        "Notebooks": [_line(c) for c in found.notebooks],
        "Findings": [line for f in found.findings for line in _finding(f)],
    }
    lines = [line for title, body in parts.items() if body for line in (title, *(f"  {b}" for b in body), "")]
    same = f"{found.unchanged} finding{'s' * (found.unchanged != 1)} the same to six digits"
    return "\n".join([*lines, same if lines else f"nothing changed: {same}"])


def _line(change, *, digest: bool = False) -> str:
    if change.kind != "changed" or digest:
        return f"{change.what}: {change.kind}"
    return f"{change.what}: {change.before} -> {change.after}"


def _finding(change) -> list[str]:
    from cxresearch.runs.compare import movement_words

    lines = [f"{change.notebook}/{change.name} ({change.id}): {change.kind}"]
    if change.before != change.after:
        lines += [f"  {word}: {text}" for word, text in (("before", change.before), ("now", change.after)) if text]
    lines += [f"  {movement_words(m)}" for m in change.movements]
    lines += [f"  check turned: {c.what}: {c.before} -> {c.after}" for c in change.checks]
    shown = [t for t in change.tables if not (t == "tidy" and change.movements)]
    return lines + ([f"  tables that differ: {', '.join(shown)}"] if shown else [])


def _verify(given) -> int:
    from cxresearch.runs.verify import verify_run

    found = verify_run(given.run, notebooks=given.notebooks)
    for file in found.close:
        print(f"close    {file}: the same to six digits")
    for file in found.different:
        print(f"differs  {file}")
    for change in found.versions:
        print(f"version  {_line(change)}")
    same, close, different = map(len, (found.same, found.close, found.different))
    print(
        f"{same} of {same + close + different} files of findings are byte-identical"
        + (f", {close} the same to six digits" if close else "")
        + (f", {different} different" if different else "")
    )
    return 0 if found.repeated else 1


def _sign(given) -> int:
    from datetime import UTC, datetime

    from cxresearch.runs.compare import read_run
    from cxresearch.runs.signoff import changed_since, said, show_sign_offs, sign_offs, sign_run

    place = read_run(given.run)[0]
    if given.name is not None:
        sign_run(place, name=given.name, note=given.note, now=datetime.now(UTC))
    states = [(s, changed_since(s, place)) for s in sign_offs(place)]
    show_sign_offs(Path(place))
    print("\n".join(said(*state) for state in states) or "nobody has signed this run")
    return int(not states or any(changed for _, changed in states))


def add_deck(commands) -> None:
    deck = commands.add_parser(
        "deck",
        help="write a run's headlines as PowerPoint slides",
        description="Write the headlines of a run as a PowerPoint deck with native charts; notes carry base and method.",
    )
    deck.add_argument("run", metavar="RUN", help="folder of the run")
    deck.add_argument("--out", metavar="FILE", help="where to write it; default: the run's name with .pptx, here")
    deck.add_argument("--one", action="store_true", help="the first slide alone")
    deck.set_defaults(command=_deck)


def _deck(given) -> int:
    from cxresearch.runs.compare import read_run
    from cxresearch.runs.deck import write_deck

    print(write_deck(given.run, given.out or f"{read_run(given.run)[0].resolve().name}.pptx", one=given.one))
    return 0
