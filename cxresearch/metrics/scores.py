"""Answers: are they on the scale they are said to be on, and how are they coded.

References
----------
Reichheld (2003), Harvard Business Review 81(12): promoters 9-10, passives 7-8, detractors 0-6 on 0-10.
"""

import numpy as np
import pandas as pd

from cxresearch import digits
from cxresearch.errors import DataProblem

ONES_WITHOUT_ZERO = (
    10  # so many answers of 1 and none of 0: on 0-10 less likely than one in a thousand if 0 is as common
)


def numeric_answers(table: pd.DataFrame, item: str) -> np.ndarray:
    """Return the item's answers as floats, (n,), missing as NaN; refuse text."""
    answers = table[item]
    if pd.api.types.is_bool_dtype(answers):
        raise DataProblem(f"{item} holds yes/no values; an answer on a rating scale is needed")
    values = digits.whole(pd.to_numeric(answers, errors="coerce").to_numpy(dtype=float, na_value=np.nan))
    lost = np.isnan(values) & answers.notna().to_numpy()
    if lost.any():
        raise DataProblem(
            f"{item} holds {lost.sum()} values that are not numbers ({_tally(answers[lost])}); "
            f"declare them as missing codes of item {item} in study.yml"
        )
    return values


def require_whole(values: np.ndarray, item: str, *, why: str) -> None:
    """Refuse fractional answers."""
    seen = values[~np.isnan(values)]
    bad = seen[seen != np.floor(seen)]
    if bad.size:
        raise DataProblem(f"{item} holds {bad.size} fractional values ({_tally(bad)}); {why}")


def require_within(values: np.ndarray, item: str, low: int, high: int) -> None:
    """Refuse answers outside `low` to `high`."""
    bad = values[digits.outside(values, low, high)]
    if bad.size:
        raise DataProblem(
            f"{item} holds {bad.size} values outside {low}-{high} ({_tally(bad)}); "
            f"declare them as missing codes of item {item} in study.yml"
        )


def declared_scale(table: pd.DataFrame, item: str) -> tuple[float, float] | None:
    """Return the scale that ``table.attrs["scales"]`` declares for `item`, or None."""
    scale = table.attrs.get("scales", {}).get(item)
    return None if scale is None else (scale[0], scale[1])


def recommend_answers(table: pd.DataFrame, item: str) -> np.ndarray:
    """Return 0-10 recommend answers, (n,), refusing every other scale.

    A 1-10 item cannot be told from a 0-10 item answer by answer. It is refused where the table declares it
    (``attrs["scales"]``), and, without a declaration, where there are many answers of 1 and none of 0.

    Raises
    ------
    DataProblem
        Answers that are text, fractional, outside 0-10, or on another scale.
    """
    scale = declared_scale(table, item)
    if scale is not None and tuple(scale) != (0, 10):
        raise DataProblem(
            f"{item} is declared on a scale of {scale[0]}-{scale[1]}; a net promoter score is defined on 0-10 only, "
            f"use top_box(item={item!r}, threshold=...)"
        )
    values = numeric_answers(table, item)
    require_whole(values, item, why="a net promoter score is defined for whole answers on 0-10 only")
    require_within(values, item, 0, 10)
    ones = int((values == 1).sum())
    if scale is None and ones >= ONES_WITHOUT_ZERO and not (values == 0).any():
        raise DataProblem(
            f"{item} holds {ones} answers of 1 and none of 0, as a 1-10 scale does; a net promoter score is "
            "defined on 0-10 only, "
            f"use top_box(item={item!r}, threshold=9), or declare the scale [0, 10] of item {item} in study.yml"
        )
    return values


def recommend_codes(scores: np.ndarray) -> np.ndarray:
    """Return 1 for promoters (9-10), 0 for passives (7-8), -1 for detractors (0-6), (n,)."""
    return (scores >= 9).astype(float) - (scores <= 6)


def _tally(values) -> str:
    counts = pd.Series(values).value_counts().head(3)
    more = pd.Series(values).nunique() - len(counts)
    shown = ", ".join(f"{v:g}: {n}" if isinstance(v, float) else f"{v!r}: {n}" for v, n in counts.items())
    return shown + (f" and {more} more" if more else "")
