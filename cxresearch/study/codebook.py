"""The codebook: what the study file says of each item, as a table."""

from collections.abc import Iterable

import pandas as pd

from cxresearch.study.items import Item


def codebook(items: Iterable[tuple[str, str, Item]]) -> pd.DataFrame:
    """Return one row per item of (table, key, item): where it comes from, its scale, codes, role and label."""
    rows = [
        {
            "table": name,
            "item": key,
            "column": ", ".join(f"{w}: {h}" for w, h in item.column.items())
            if isinstance(item.column, dict)
            else item.column or key,
            "label": item.label or key,
            "role": ", ".join(item.role),
            "scale": f"{item.scale[0]:g}-{item.scale[1]:g}" if item.scale else item.type or "",
            "missing": ", ".join(item.missing),
            "not_applicable": ", ".join(item.not_applicable),
            "labels": ", ".join(f"{code}: {words}" for code, words in item.labels.items()),
        }
        for name, key, item in items
    ]
    return pd.DataFrame(
        rows, columns=["table", "item", "column", "label", "role", "scale", "missing", "not_applicable", "labels"]
    )
