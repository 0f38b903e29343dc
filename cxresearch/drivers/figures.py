"""Figures of driver findings that the house figures do not have; each draws what a table of the finding holds."""

import numpy as np
import seaborn as sns

from cxresearch.figures import PALETTE, QUIET, axes_or_new, forest, titled, wrap
from cxresearch.findings import percent

MOST_NAMED = 12  # points whose labels stand beside them; more are numbered


def in_percent(table, *columns):
    """Return the table with columns of shares, and their ends, in percent."""
    named = [c for column in columns for c in (column, f"{column}_low", f"{column}_high") if c in table]
    return table.assign(**{c: 100 * table[c] for c in named})


def draw_importance(finding, ax=None):
    """Draw ranked shares with their intervals, relative weights beside them, and the share of a random driver."""
    table = in_percent(finding.tidy().sort_values("rank"), "share", "relative_weight")
    ax = axes_or_new(ax, rows=len(table) + 3)
    r2 = finding.summary["r2"]
    floor = 100 * finding.summary["noise_floor"] / r2 if r2 > 0 else np.nan
    ax.axvline(floor, color=QUIET, linewidth=1, linestyle=":", label="a random driver")
    hollow(ax, table["relative_weight"], "relative weight (Johnson)")
    forest(table, "share", names=[finding.label(t) for t in table["term"]], unit=share_unit(finding.summary), ax=ax)
    ax.set_xlim(left=0)
    legend_below(ax, columns=2)
    return titled(ax, finding.headline())


def share_unit(summary) -> str:
    """Return the unit of an axis of shares."""
    sure = f", with {percent(summary['confidence'])} interval" if summary["n_boot"] else ""
    return f"Share of the explained variance (%){sure}"


def hollow(ax, values, label: str) -> None:
    """Draw a hollow diamond on each row: the same quantity by another rule."""
    at = np.arange(len(values))
    ax.plot(values, at, "D", color=QUIET, markersize=5, markerfacecolor="none", label=label)


def legend_below(ax, *, columns: int) -> None:
    """Put the legend under the axis label, where no interval reaches."""
    ax.legend(loc="upper center", bbox_to_anchor=(0.4, 0), borderaxespad=5, ncols=columns)


def draw_map(finding, ax=None):
    """Draw importance over performance as crosses, each named beside it, or numbered with a key where they are many."""
    t = in_percent(finding.tidy(), "share")
    names = [finding.label(x) for x in t["term"]]
    numbered = len(names) > MOST_NAMED or max(map(len, names)) > 40
    ax = axes_or_new(ax, rows=12 + (len(names) // 2 if numbered else 0))
    ax.hlines(t["share"], t["conf_low"], t["conf_high"], color=PALETTE[0], linewidth=1.5, alpha=0.6)
    ax.vlines(t["estimate"], t["share_low"], t["share_high"], color=PALETTE[0], linewidth=1.5, alpha=0.6)
    sns.scatterplot(x=t["estimate"], y=t["share"], color=PALETTE[0], s=42, linewidth=0, ax=ax, zorder=3)
    ax.margins(0.12)
    ax.set_xlabel("Performance: mean rating, rescaled to 0-100")
    ax.set_ylabel("Importance: share of the\nexplained variance (%)")
    if numbered:
        for k, name in enumerate(names):
            ax.plot([], [], " ", label=f"{k + 1}  {wrap(name, 40)}")
        ax.legend(loc="upper center", bbox_to_anchor=(0.45, 0), borderaxespad=4, ncols=2, handlelength=0, fontsize=8.5)
        names = [str(k + 1) for k in range(len(names))]
    titled(ax, finding.headline())
    place_labels(ax, t["estimate"].to_numpy(), t["share"].to_numpy(), names)
    return ax


def place_labels(ax, x, y, texts) -> None:
    """Write a label beside each point where it covers no other label and no other point; a line leads to far ones."""
    ax.figure.canvas.draw()
    renderer, scale = ax.figure.canvas.get_renderer(), 72 / ax.figure.dpi
    points = ax.transData.transform(np.column_stack([x, y]))
    taken, frame = [(*(p - 5), *(p + 5)) for p in points], ax.get_window_extent(renderer)

    def write(k, shift, **options):
        place = {"xytext": shift * scale, "textcoords": "offset points", "fontsize": 8.5}
        return ax.annotate(wrap(texts[k], 24), (x[k], y[k]), **place, **options)

    for k, point in enumerate(points):
        note = write(k, np.zeros(2))
        box = note.get_window_extent(renderer)
        note.remove()
        others, size = taken[:k] + taken[k + 1 :], np.array([box.width, box.height])
        shift = next((s for s in _shifts(*size) if _free(point + s, size, others, frame)), np.array([8.0, 4.0]))
        taken.append((*(point + shift), *(point + shift + size)))
        gap = np.maximum(0, np.maximum(shift, -shift - size))  # from the point to the label's edge
        far = {"arrowstyle": "-", "color": QUIET, "linewidth": 0.6} if np.hypot(*gap) > 20 else None
        write(k, shift, arrowprops=far)


def _shifts(width, height):
    """Yield places of a label's lower left corner against its point, near ones first (pixels)."""
    for gap in (8, 16, 28, 44, 64, 90, 120):
        sides = [(gap, gap / 3), (gap, -height - gap / 3), (-width - gap, gap / 3), (-width - gap, -height - gap / 3)]
        for across, up in (*sides, (-width / 2, gap), (-width / 2, -height - gap)):
            yield np.array([across, up])


def _free(corner, size, taken, frame) -> bool:
    left, low, right, high = *corner, *(corner + size)
    if left < frame.x0 or right > frame.x1 or low < frame.y0 or high > frame.y1:
        return False
    return all(right < t[0] or left > t[2] or high < t[1] or low > t[3] for t in taken)
