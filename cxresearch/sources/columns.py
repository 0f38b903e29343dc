"""From header rows to the names of columns, and from a declared name to a position."""

from collections import Counter
from collections.abc import Sequence

from cxresearch.errors import StudyProblem, nearest, plain_text
from cxresearch.sources.reading import Header

# What a header row may hold. A question stands once over its options, so its blank neighbours repeat it.
HEADERS = ("name", "label", "question", "option", "ignore")
# What SurveyMonkey writes under a question that has no options.
NO_OPTION = ("response", "open-ended response")


def compose(rows: Header, header: Sequence[str], n_columns: int) -> tuple[list[str], dict[str, str]]:
    """Return the names of the columns, and name -> label where a row of labels is declared.

    Parameters
    ----------
    rows
        The cells of each header row.
    header
        What each row holds, of `HEADERS`.
    n_columns
        Rows that are shorter end in blanks.
    """
    held = {what: [*row, *[""] * (n_columns - len(row))] for what, row in zip(header, rows, strict=True)}
    if "question" in held:
        held["name"] = _joined(held["question"], held.get("option", [""] * n_columns))
    names = held.get("name", [""] * n_columns)
    names = [name if name.strip() else f"column {i + 1}" for i, name in enumerate(names)]
    labels = dict(zip(names, held.get("label", ()), strict=False))
    return names, {name: label.strip() for name, label in labels.items() if label.strip()}


def _joined(questions: Sequence[str], options: Sequence[str]) -> list[str]:
    """Return 'question: option', a blank question being the one before it."""
    joined, current = [], ""
    for question, option in zip(questions, options, strict=True):
        current = question.strip() or current
        named = option.strip() if option.strip().lower() not in NO_OPTION else ""
        joined.append(f"{current.rstrip(' :')}: {named}" if named and current else current or named)
    return joined


def numbered(names: Sequence[str]) -> list[str]:
    """Return the names by which columns can be asked for: one that stands twice is ``x#1``, ``x#2``."""
    plain = [plain_text(name) for name in names]
    times, seen, found = Counter(plain), Counter(), []
    for name, same in zip(names, plain, strict=True):
        seen[same] += 1
        found.append(name if times[same] == 1 else f"{same}#{seen[same]}")
    return found


def position(headers: Sequence[str], name: str, why: str, file: str) -> int:
    """Return where the column `name` stands; `why` says what asks for it."""
    plain = [plain_text(h) for h in headers]
    for candidates, asked in ((list(headers), name), (plain, plain_text(name))):
        if candidates.count(asked) > 1:
            raise StudyProblem(
                f"{file} has {candidates.count(asked)} columns {asked!r} ({why}); "
                f"say which one is meant: '{asked}#1' is the first"
            )
        if asked in candidates:
            return candidates.index(asked)
    asked, _, place = name.rpartition("#")
    places = [i for i, h in enumerate(plain) if h == plain_text(asked)]
    if place.isdecimal() and 1 <= int(place) <= len(places) > 1:
        return places[int(place) - 1]
    raise StudyProblem(f"{file} has no column {name!r} ({why}){nearest(name, plain)}")
