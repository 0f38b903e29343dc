"""Who the segments are: means, standardised differences, and names computed from them."""

import numpy as np
import pandas as pd

from cxresearch import digits

NOTABLE = 0.3  # standard deviations from the mean of all customers before a feature may enter a name


def segment_names(k: int) -> list[str]:
    """Return S1 … Sk."""
    return [f"S{j + 1}" for j in range(k)]


def profile_table(values: np.ndarray, scaled: np.ndarray, labels: np.ndarray, features) -> pd.DataFrame:
    """Return one row per segment and feature.

    `estimate` is the segment's mean in the feature's own unit; `std_difference` its mean less that of all customers,
    on the common scale, in standard deviations of all customers.
    """
    rows = []
    for j, name in enumerate(segment_names(labels.max() + 1)):
        inside = labels == j
        for i, feature in enumerate(features):
            rows.append((name, feature, values[inside, i].mean(), scaled[inside, i].mean(), int(inside.sum())))
    return pd.DataFrame(rows, columns=["segment", "feature", "estimate", "std_difference", "n"])


def suggested_names(profile: pd.DataFrame, *, categorical: bool = False, label=str) -> dict[str, str]:
    """Return segment -> words from its two most distinguishing features: ``high frequency, low recency_days``.

    For categorical items, whose features read ``item: category``, the two categories most over-represented, one an item.
    """
    names = {}
    for segment, part in profile.groupby("segment", sort=False):
        ranked = part if not categorical else part[part["std_difference"] > 0]
        ranked = ranked.iloc[digits.descending(ranked["std_difference"].abs(), ranked["feature"])]
        ranked = ranked[ranked["std_difference"].abs() >= NOTABLE]
        top = (ranked if not categorical else ranked[~ranked["feature"].str.split(": ").str[0].duplicated()]).head(2)
        words = [_words(f, d, categorical, label) for f, d in zip(top["feature"], top["std_difference"])]
        names[segment] = ", ".join(words) or "values near the average"
    return names


def _words(feature: str, difference: float, categorical: bool, label) -> str:
    if categorical:
        item, category = feature.split(": ", 1)
        return f"more often {label(item)}: {category}"
    return f"{'high' if difference > 0 else 'low'} {label(feature)}"


def hidden_segments(sizes: np.ndarray, min_base: int) -> np.ndarray:
    """Return which segments must be hidden so that none under `min_base` can be read off the total."""
    hidden = sizes < min_base
    for j in np.argsort(sizes, kind="stable"):
        if hidden.any() and (hidden.sum() < 2 or sizes[hidden].sum() < min_base):
            hidden[j] = True
    return hidden
