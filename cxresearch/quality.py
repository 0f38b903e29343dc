"""How well a survey was answered: skipped, not applicable, straight-lined.

References
----------
Krosnick (1991), Response strategies for coping with the cognitive demands of attitude measures in surveys, *Applied
Cognitive Psychology* 5:213-236 (straight-lining as satisficing). The limits of the checks are conventions, not tests.
"""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from cxresearch import digits
from cxresearch.errors import DataProblem, require_columns
from cxresearch.findings import Check, Finding, describe_columns, listing, number, percent
from cxresearch.privacy import hide_small_bases, require_base
from cxresearch.survey import as_survey

MOST_SKIPPED = 0.20  # an item skipped by more than a fifth describes those who answered it, not the sample
MOST_STRAIGHT = 0.05

describe_columns(
    n_answered=("Answered", "rows with a valid answer", 0),
    share_answered=("Answered share", "valid answers among all rows, 0-1", 3),
    share_skipped=("Skipped share", "met the question, gave no valid answer, 0-1", 3),
    share_not_met=("Not applicable share", "never met what the item asks about, 0-1", 3),
    n_waves=("Waves", "rounds of the survey", 0),
    n_ratings=("Ratings", "items on one scale, asked together", 0),
    n_rated=("Rated", "rows that gave at least three of the ratings", 0),
    n_unanswered=("Unanswered", "rows without any valid answer", 0),
    share_straight=("Straight-lined", "one answer to all ratings, among those who gave at least three, 0-1", 3),
)


class ResponseQuality(Finding):
    """What came in, item by item (shares 0-1 of all responses)."""

    def sentence(self) -> str:
        s = self.summary
        waves = f" in {s['n_waves']} waves" if s["n_waves"] > 1 else ""
        words = f"{number(s['n'], 0)} responses{waves}: {self._most('share_skipped', 'skipped')}"
        if self.table["share_not_met"].max() > 0:
            words += f", {self._most('share_not_met', 'not applicable')}"
        if s["n_rated"]:
            words += (
                f". Of the {number(s['n_rated'], 0)} who gave at least three ratings, "
                f"{percent(s['share_straight'], 1)} gave one answer to everything they rated"
            )
        failed = [c.check for c in self.tested if not c.ok]
        return f"{words}." if not failed else f"{words}; look before analysing at: {listing(failed)}."

    def _most(self, column: str, what: str) -> str:
        shares = self.table[column]
        if not shares.max() > 0:
            return f"no item was {what}"
        worst = digits.largest(self.table, column)
        return f"most often {what} was {self.label(worst['term'])} ({percent(worst[column])})"

    def plot(self, ax=None):
        """Draw answered, skipped and not applicable per item as parts of one bar (percent of responses)."""
        from cxresearch import figures  # `cxresearch check` counts without drawing, and drawing costs seconds to import

        ax = figures.axes_or_new(ax, rows=len(self.table) + 2)
        at, left = np.arange(len(self.table)), np.zeros(len(self.table))
        for column, word, colour in (
            ("share_answered", "answered", figures.PALETTE[0]),
            ("share_skipped", "skipped", figures.PALETTE[1]),
            ("share_not_met", "not applicable", "#C9C9C9"),
        ):
            width = 100 * self.table[column].to_numpy(dtype=float)
            ax.barh(at, width, left=left, color=colour, label=word, height=0.72)
            left += np.nan_to_num(width)
        ax.set_yticks(at, [figures.wrap(self.label(term)) for term in self.table["term"]])
        ax.invert_yaxis()
        ax.set(xlim=(0, 100), xlabel="percent of responses")
        ax.grid(axis="y", visible=False)
        ax.set_title("How the items were answered", pad=26)
        ax.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=3, borderaxespad=0.2)
        return ax


def response_quality(
    responses, *, items: Sequence[str], ratings: Sequence[str] = (), wave: str | None = None
) -> ResponseQuality:
    """Count what was answered, skipped and not applicable, and who gave one answer to everything.

    Parameters
    ----------
    responses : Survey or DataFrame
        One row a response. An item with a boolean companion column ``<item>_met`` was not applicable where it is False.
    items : sequence of str
        Items to describe.
    ratings : sequence of str
        Items on one common scale, asked together; straight-lining is looked for among them.
    wave : str, optional
        Column of the wave: adds a table of the skipped share by item and wave.

    Returns
    -------
    ResponseQuality
        ``tidy()``: one row an item, shares 0-1 of all responses that add up to 1.

    Raises
    ------
    DataProblem
        If the table is empty, a column is absent, or no item is named.
    TooFewRespondents
        If there are fewer than `min_base` responses.

    Examples
    --------
    >>> import cxresearch as cx
    >>> study = cx.open_study("data/example/study.yml")
    >>> print(cx.response_quality(study.responses, items=["recommend", "satisfaction"]))
    2,213 responses: most often skipped was satisfaction (3 %); look before analysing at: ...
    """
    survey = as_survey(responses)
    responses = survey.table
    labels, min_base = survey.labels, survey.min_base
    if not len(items):
        raise DataProblem("response_quality needs at least one item; found none")
    require_columns(responses, *items, *ratings, wave, where="responses")
    require_base(len(responses), min_base=min_base, what="response quality")
    table = _item_table(responses, items)
    rated, straight = _straight_lined(responses[list(ratings)])
    summary = {
        "n": len(responses),
        "n_waves": int(responses[wave].nunique()) if wave else 1,
        "n_ratings": len(ratings),
        "n_rated": int(rated.sum()),
        "share_straight": float(straight.sum() / rated.sum()) if rated.any() else np.nan,
        "n_unanswered": int(responses[list(items)].isna().all(axis=1).sum()),
        "method": "counts",
    }
    further = {"waves": _by_wave(responses, items, wave, min_base)} if wave else {}
    return ResponseQuality(
        "response_quality", "responses", None, table, summary, _checks(table, summary), labels or {}, further
    )


def _item_table(responses: pd.DataFrame, items: Sequence[str]) -> pd.DataFrame:
    answered = responses[list(items)].notna().to_numpy()
    met = np.column_stack([_met(responses, item) for item in items])
    return pd.DataFrame(
        {
            "term": list(items),
            "n": len(responses),
            "n_answered": answered.sum(axis=0),
            "share_answered": answered.mean(axis=0),
            "share_skipped": (met & ~answered).mean(axis=0),
            "share_not_met": (~met & ~answered).mean(axis=0),
        }
    )


def _met(responses: pd.DataFrame, item: str) -> np.ndarray:
    companion = f"{item}_met"
    return responses[companion].to_numpy(dtype=bool) if companion in responses else np.ones(len(responses), dtype=bool)


def _straight_lined(ratings: pd.DataFrame) -> tuple[np.ndarray, np.ndarray]:
    """Return who gave at least three ratings, and who of them gave one answer throughout."""
    if ratings.shape[1] < 3:
        none = np.zeros(len(ratings), dtype=bool)
        return none, none
    rated = (ratings.notna().sum(axis=1) >= 3).to_numpy()
    # Not nunique, which looks at a million rows one by one.
    return rated, rated & digits.at_most(ratings.max(axis=1), ratings.min(axis=1)).to_numpy()


def _by_wave(responses: pd.DataFrame, items: Sequence[str], wave: str, min_base: int) -> pd.DataFrame:
    parts = [_item_table(rows, items).assign(wave=name) for name, rows in responses.groupby(wave, sort=True)]
    table = pd.concat(parts, ignore_index=True)
    return hide_small_bases(table[["term", "wave", *table.columns[1:-1]]], min_base=min_base)


def _checks(table: pd.DataFrame, summary: dict) -> tuple[Check, ...]:
    skipped, straight = float(table["share_skipped"].max()), summary["share_straight"]
    checks = [
        Check("highest share skipped", digits.rounded(skipped, 3), f"at most {MOST_SKIPPED}", skipped <= MOST_SKIPPED),
        Check("responses without any answer", summary["n_unanswered"], "0", summary["n_unanswered"] == 0),
    ]
    if summary["n_rated"]:
        checks.append(
            Check(
                "straight-lined ratings",
                digits.rounded(straight, 3),
                f"at most {MOST_STRAIGHT}",
                straight <= MOST_STRAIGHT,
            )
        )
    return tuple(checks)
