"""The same people in several waves: who recurs, and what that says about two waves together."""

import warnings

import numpy as np
import pandas as pd

from cxresearch import digits
from cxresearch.findings import Check, number
from cxresearch.metrics.sentences import SENTENCES

ID_WORDS = ("respondent", "person", "customer", "panel", "account", "member", "client", "user", "respnum")


def note_of_recurring_ids(survey, sample, codes) -> tuple[str, tuple[Check, ...]]:
    """Return words and checks on people who answered in several waves, whether they were declared or not."""
    wave = sample.keys["wave"].to_numpy()[sample.cell]
    if survey.respondent is not None:
        return _matched_answers(sample.persons, pd.factorize(sample.keys["wave"])[0][sample.cell], codes)
    words = "ids recurring across waves without a respondent column"
    column, count = _recurring(survey, sample, wave)
    if not count:
        return "", (Check(words, 0, "0", True),)
    note = SENTENCES["recurring"].format(count=number(count, 0), column=column)
    warnings.warn(note, stacklevel=3)
    return note, (Check(words, count, "0", False),)


def _matched_answers(people, wave, codes) -> tuple[str, tuple[Check, ...]]:
    """Return what the answers of the same person in neighbouring waves say about the ids."""
    answers = pd.DataFrame({"who": people, "wave": wave, "code": codes}).drop_duplicates(["who", "wave"], keep="last")
    answers = answers.sort_values(["who", "wave"])
    previous = answers.groupby("who")["code"].shift()
    now, before = answers["code"][previous.notna()], previous[previous.notna()]
    n = len(now)
    if n < 3:
        return "", (Check("answers matched to an earlier wave", n, "informative", True, "info"),)
    r = float(np.corrcoef(now, before)[0, 1]) if min(np.std(now), np.std(before)) > 0 else 0.0
    unrelated = bool(r < 2 / np.sqrt(n))
    words, limit = (
        f"correlation of the {n} answers matched to an earlier wave",
        "above zero, or the ids are serial numbers",
    )
    return SENTENCES["serial"] if unrelated and n >= 30 else "", (
        Check(words, digits.rounded(r, 3), limit, not unrelated),
    )


def _recurring(survey, sample, wave) -> tuple[str, int]:
    """Return the first id-like column whose ids recur across waves without being drawn together, and how many do."""
    unit = sample.unit_of_row if sample.clustered else np.arange(len(sample))
    for column in survey.table:
        name = str(column).casefold()
        if column == survey.wave or not (name == "id" or name.endswith("_id") or any(w in name for w in ID_WORDS)):
            continue
        ids = survey.table[column].to_numpy()[sample.rows]
        seen = pd.DataFrame({"id": ids, "wave": wave, "unit": unit}).dropna().drop_duplicates()
        each = seen.groupby("id", observed=True).agg(waves=("wave", "nunique"), units=("unit", "nunique"))
        apart = (each["waves"] > 1) & (each["units"] > 1)
        if len(each) > 0.5 * len(seen) / max(seen["wave"].nunique(), 1) and apart.any():
            return str(column), int(apart.sum())
    return "", 0
