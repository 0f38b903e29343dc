"""Figures of driver findings; each draws what a table of the finding holds."""

import matplotlib.pyplot as plt
import numpy as np

from cxresearch.figures import PALETTE, QUIET, axes_or_new, intervals, wrap
from cxresearch.findings import percent


def draw_importance(finding, ax=None):
    """Draw ranked shares with their intervals, relative weights beside them, and the share of a random driver."""
    table = finding.tidy().sort_values("rank")
    ax = axes_or_new(ax, rows=len(table) + 2)
    at = np.arange(len(table))
    ax.plot(
        100 * table["relative_weight"],
        at,
        "D",
        color=QUIET,
        markersize=5,
        markerfacecolor="none",
        label="relative weight (Johnson)",
    )
    floor = 100 * finding.summary["noise_floor"] / finding.summary["r2"] if finding.summary["r2"] > 0 else np.nan
    ax.axvline(floor, color=QUIET, linewidth=1, linestyle=":", label="a random driver")
    intervals(
        ax,
        [finding.label(t) for t in table["term"]],
        100 * table["share"],
        100 * table["share_low"],
        100 * table["share_high"],
        label=finding.summary["method"].split(",")[0].split(";")[0],
    )
    ax.set_xlim(left=0)
    sure = f", with {percent(finding.summary['confidence'])} interval" if finding.summary["n_boot"] else ""
    ax.set_xlabel(f"Share of the explained variance (%){sure}")
    ax.set_title(f"What goes with {wrap(finding.label(finding.outcome), 60)}")
    legend_below(ax, columns=3)
    return ax


def legend_below(ax, *, columns: int) -> None:
    """Put the legend under the axis label, where no interval reaches."""
    ax.legend(loc="upper center", bbox_to_anchor=(0.4, 0), borderaxespad=5, ncols=columns)


def draw_ranks(finding, ax=None):
    """Draw the probability of each rank per driver (%), with its values."""
    if "ranks" not in finding.further:
        return draw_importance(finding, ax)
    order = finding.tidy().sort_values("rank")["term"]
    wide = finding.further["ranks"].pivot(index="term", columns="rank", values="probability").loc[order]
    ax = (
        ax
        if ax is not None
        else plt.subplots(figsize=(max(5.5, 3.2 + 0.45 * len(wide)), 1.6 + 0.36 * len(wide)), layout="constrained")[1]
    )
    ax.imshow(wide.to_numpy(), cmap="Blues", vmin=0, vmax=1, aspect="auto")
    for (i, j), value in np.ndenumerate(wide.to_numpy()):
        if value > 0.005:
            ax.text(
                j,
                i,
                f"{100 * value:.0f}",
                ha="center",
                va="center",
                fontsize=8.5,
                color="white" if value > 0.55 else "black",
            )
    ax.set_xticks(np.arange(len(wide)), wide.columns)
    ax.set_yticks(np.arange(len(wide)), [wrap(finding.label(t)) for t in wide.index])
    ax.grid(visible=False)
    ax.set_xlabel("Rank (1 = largest share)")
    ax.set_title("Probability of each rank (%)", color=PALETTE[-1])
    return ax


def place_labels(ax, x, y, texts) -> None:
    """Write a label beside each point where it covers no other label and no other point; a line leads to far ones."""
    ax.figure.canvas.draw()
    renderer = ax.figure.canvas.get_renderer()
    points = ax.transData.transform(np.column_stack([x, y]))
    taken, frame = [(*(p - 5), *(p + 5)) for p in points], ax.get_window_extent(renderer)
    for k, (point, text) in enumerate(zip(points, texts)):
        note = ax.annotate(
            wrap(text, 24),
            (np.asarray(x)[k], np.asarray(y)[k]),
            xytext=(0, 0),
            textcoords="offset points",
            fontsize=8.5,
        )
        box = note.get_window_extent(renderer)
        others = taken[:k] + taken[k + 1 :]
        shift = next((s for s in _shifts(box.width, box.height) if _free(point + s, box, others, frame)), (8, 4))
        note.remove()
        corner = point + shift
        taken.append((*corner, *(corner + (box.width, box.height))))
        scale = 72 / ax.figure.dpi
        gap = np.maximum(0, np.maximum(shift, -shift - (box.width, box.height)))  # from the point to the label's edge
        far = np.hypot(*gap) > 20
        ax.annotate(
            wrap(text, 24),
            (np.asarray(x)[k], np.asarray(y)[k]),
            xytext=(shift[0] * scale, shift[1] * scale),
            textcoords="offset points",
            fontsize=8.5,
            arrowprops={"arrowstyle": "-", "color": QUIET, "linewidth": 0.6} if far else None,
        )


def _shifts(width, height):
    """Yield places of a label's lower left corner against its point, near ones first (pixels)."""
    for gap in (8, 16, 28, 44, 64, 90, 120):
        for across, up in (
            (gap, gap / 3),
            (gap, -height - gap / 3),
            (-width - gap, gap / 3),
            (-width - gap, -height - gap / 3),
            (-width / 2, gap),
            (-width / 2, -height - gap),
        ):
            yield np.array([across, up])


def _free(corner, box, taken, frame) -> bool:
    left, low, right, high = corner[0], corner[1], corner[0] + box.width, corner[1] + box.height
    if left < frame.x0 or right > frame.x1 or low < frame.y0 or high > frame.y1:
        return False
    return all(right < t[0] or left > t[2] or high < t[1] or low > t[3] for t in taken)
