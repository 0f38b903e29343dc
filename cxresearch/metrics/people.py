"""The same people in several waves: who recurs, and what that says about two waves together."""

import warnings

import numpy as np
import pandas as pd

from cxresearch import digits
from cxresearch.findings import Check, number
from cxresearch.inference import SamplingUnits, sampling_units
from cxresearch.metrics.cells import Sample

ID_WORDS = ("respondent", "person", "customer", "panel", "account", "member", "client", "user", "respnum")


def codes_of(table: pd.DataFrame, column: str | None, rows) -> np.ndarray | None:
    """Return one code per person, (n,); people without an id are each their own."""
    if column is None:
        return None
    codes, found = pd.factorize(table[column].to_numpy()[rows])
    unknown = codes < 0
    codes[unknown] = len(found) + np.arange(int(unknown.sum()))
    return codes


def units_of(table, sample: Sample, people, strata: str | None, cluster: str | None) -> SamplingUnits:
    """Return the units of comparisons between waves: clusters, else people, else the sample's own."""
    if people is None or cluster is not None:
        return sample.units
    return sampling_units(
        len(people), strata=None if strata is None else table[strata].to_numpy()[sample.rows], cluster=people
    )


def people_in_both(sample: Sample, people, i: int, j: int) -> int:
    """Return how many people answered in both cells."""
    return len(np.intersect1d(people[sample.cell == i], people[sample.cell == j]))


def paired_difference(sample: Sample, codes, people, i: int, j: int) -> tuple[float, float, float] | None:
    """Return mean, error and df of cell j minus cell i for people with one answer in each; None if nobody changed."""
    at_i, at_j = np.flatnonzero(sample.cell == i), np.flatnonzero(sample.cell == j)
    difference = codes[at_j[np.argsort(people[at_j])]] - codes[at_i[np.argsort(people[at_i])]]
    spread = difference.std(ddof=1) if len(difference) > 1 else 0.0
    if spread == 0:
        return None
    return difference.mean(), spread / np.sqrt(len(difference)), len(difference) - 1.0


def note_of_recurring_ids(table, wave, respondent, sample: Sample, codes, people) -> tuple[str, tuple[Check, ...]]:
    """Return words and checks on people who answered in several waves, whether they were declared or not."""
    if respondent is not None:
        return _declared(sample, codes, people)
    column, count = _recurring(table, wave, sample)
    if not count:
        return "", (Check("ids recurring across waves without a respondent column", 0, "0", True),)
    note = (
        f" The waves were treated as independent although {number(count, 0)} ids of {column!r} overlap between waves: "
        f"pass respondent={column!r} if they are the same people."
    )
    warnings.warn(note.strip(), stacklevel=3)
    return note, (Check("ids recurring across waves without a respondent column", count, "0", False),)


def _declared(sample: Sample, codes, people) -> tuple[str, tuple[Check, ...]]:
    waves = pd.factorize(sample.keys["wave"])[0][sample.cell]
    answers = (
        pd.DataFrame({"who": people, "wave": waves, "code": codes})
        .drop_duplicates(["who", "wave"], keep="last")
        .sort_values(["who", "wave"])
    )
    previous = answers.groupby("who")["code"].shift()
    matched = answers["code"][previous.notna()], previous[previous.notna()]
    n = len(matched[0])
    if n < 3:
        return "", (Check("answers matched to an earlier wave", n, "informative", True),)
    r = float(np.corrcoef(*matched)[0, 1]) if min(np.std(m) for m in matched) > 0 else 0.0
    unrelated = bool(r < 2 / np.sqrt(n))
    note = (
        " The ids recur, but answers of the same id are unrelated, as with serial numbers."
        if unrelated and n >= 30
        else ""
    )
    return note, (
        Check(
            f"correlation of the {n} answers matched to an earlier wave",
            digits.rounded(r, 3),
            "above zero, or the ids are serial numbers",
            not unrelated,
        ),
    )


def _recurring(table, wave, sample: Sample) -> tuple[str, int]:
    """Return the first id-like column whose ids recur across waves without being drawn together, and how many do."""
    for column in table.columns:
        name = str(column).casefold()
        if column == wave or not (name == "id" or name.endswith("_id") or any(w in name for w in ID_WORDS)):
            continue
        pairs = (
            table[[column, wave]]
            .iloc[sample.rows]
            .assign(_unit=sample.units.psu_of_row if sample.clustered else np.arange(len(sample.rows)))
        )
        pairs = pairs.dropna().drop_duplicates()
        each = pairs.groupby(column, observed=True).agg(waves=(wave, "nunique"), units=("_unit", "nunique"))
        apart = (each["waves"] > 1) & (each["units"] > 1)
        looks_like_ids = len(each) > 0.5 * len(pairs) / max(pairs[wave].nunique(), 1)
        if looks_like_ids and apart.any():
            return str(column), int(apart.sum())
    return "", 0
