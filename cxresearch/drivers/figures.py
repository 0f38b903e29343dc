"""Figures of driver findings that the house figures do not have; each draws what a table of the finding holds."""

import numpy as np
import seaborn as sns

from cxresearch import digits
from cxresearch.figures import PALETTE, QUIET, axes_or_new, forest, titled, wrap
from cxresearch.findings import percent


def in_percent(table, *columns):
    """Return the table with columns of shares, and their ends, in percent."""
    named = [c for column in columns for c in (column, f"{column}_low", f"{column}_high") if c in table]
    return table.assign(**{c: 100 * table[c] for c in named})


def share_unit(summary) -> str:
    """Return the unit of an axis of shares."""
    sure = f", with {percent(summary['confidence'])} interval" if summary["n_boot"] else ""
    return f"Share of the explained variance (%){sure}"


def legend_below(ax, *, columns: int) -> None:
    """Put the legend under the axis label, where no interval reaches."""
    ax.legend(loc="upper center", bbox_to_anchor=(0.4, 0), borderaxespad=5, ncols=columns)


def draw_shares(finding, share: str, beside: str, meaning: str, ax=None, *, floor: float | None = None):
    """Draw ranked shares with their intervals, another rule's as hollow diamonds, and the share of a random driver."""
    table = in_percent(finding.table.sort_values("rank"), share, beside)
    ax, at = axes_or_new(ax, rows=len(table) + 3), np.arange(len(table))
    if floor is not None:
        ax.axvline(100 * floor, color=QUIET, linewidth=1, linestyle=":", label="a random driver")
    ax.plot(table[beside], at, "D", color=QUIET, markersize=5, markerfacecolor="none", label=meaning)
    forest(table, share, names=[finding.label(t) for t in table["term"]], unit=share_unit(finding.summary), ax=ax)
    ax.set_xlim(left=0)
    legend_below(ax, columns=1 if floor is None else 2)
    return titled(ax, finding.headline())


def draw_map(finding, ax=None):
    """Draw importance over performance as crosses, numbered, with a key: labels of any number and length."""
    t = in_percent(finding.tidy(), "share").iloc[digits.descending(finding.table["share"], finding.table["term"])]
    ax = axes_or_new(ax, rows=12 + len(t) // 2)
    ax.hlines(t["share"], t["conf_low"], t["conf_high"], color=PALETTE[0], linewidth=1.5, alpha=0.5)
    ax.vlines(t["estimate"], t["share_low"], t["share_high"], color=PALETTE[0], linewidth=1.5, alpha=0.5)
    sns.scatterplot(x=t["estimate"], y=t["share"], color=PALETTE[0], s=170, ax=ax, zorder=3)
    for k, row in enumerate(t.itertuples(), start=1):
        place = {"ha": "center", "va": "center", "color": "white", "fontsize": 8.5, "zorder": 4}
        ax.text(row.estimate, row.share, str(k), **place)
        ax.plot([], [], " ", label=f"{k}  {wrap(finding.label(row.term), 36)}")
    ax.set_xlabel("Performance: mean rating, rescaled to 0-100")
    ax.set_ylabel("Importance: share of the\nexplained variance (%)")
    key = {"ncols": 2, "handlelength": 0, "handletextpad": 0, "fontsize": 8.5}
    ax.legend(loc="upper center", bbox_to_anchor=(0.45, 0), borderaxespad=4.5, **key)
    return titled(ax, finding.headline())
