"""Figures of segments: profile, stability, map, flow. No figure draws a customer."""

import numpy as np
import pandas as pd
from matplotlib.patches import Ellipse, PathPatch
from matplotlib.path import Path

from cxresearch.figures import PALETTE, QUIET, axes_or_new, wrap
from cxresearch.findings import number, percent

HALF, MOST = 1.177, 2.146  # standard deviations that hold 50 % and 90 % of a Gaussian in the plane


def colour_of(position: int) -> str:
    return PALETTE[position % len(PALETTE)]


def heat_map(grid: pd.DataFrame, words: pd.DataFrame, *, ax=None, cmap: str, limits: tuple[float, float], label: str):
    """Draw the numbers of `grid` as colours with `words` in the cells, and return the axes."""
    import seaborn as sns

    ax = axes_or_new(ax, rows=len(grid) + 3)
    low, high = limits
    sns.heatmap(
        grid.astype(float),
        ax=ax,
        cmap=cmap,
        vmin=low,
        vmax=high,
        annot=words.to_numpy(),
        fmt="",
        linewidths=0.5,
        cbar_kws={"label": label},
    )
    ax.tick_params(axis="y", rotation=0)
    ax.grid(visible=False)
    return ax


def draw_profile(finding, ax=None):
    """Draw standardised differences by feature (rows) and segment (columns), with values."""
    profile = finding.further["profile"]
    grid = profile.pivot(index="feature", columns="segment", values="std_difference").astype(float)
    grid = grid.reindex(index=list(dict.fromkeys(profile["feature"])), columns=list(finding.table["segment"]))
    scale = "standard deviations from all customers"
    ax = heat_map(grid, grid.map(number), ax=ax, cmap="RdBu_r", limits=(-2, 2), label=scale)
    ax.set_yticks(np.arange(len(grid)) + 0.5, [wrap(finding.feature_label(f)) for f in grid.index], rotation=0)
    ax.set_xticks(np.arange(grid.shape[1]) + 0.5, _heads(finding.table), rotation=0)
    title = "Profile of the segments" + ("" if finding.established else " (not established)")
    ax.set(xlabel="", ylabel="", title=title)
    return ax


def _heads(table: pd.DataFrame) -> list[str]:
    return [
        f"{s}\n{'hidden' if pd.isna(share) else percent(share)}" for s, share in zip(table["segment"], table["share"])
    ]


def draw_stability(finding, limits: dict[float, str], ax=None):
    """Draw each segment's Jaccard similarity as a bar, with the `limits` of Hennig (2007) as lines."""
    table = finding.table
    ax = axes_or_new(ax, rows=len(table) + 3)
    at = np.arange(len(table))
    ax.barh(at, table["jaccard"].fillna(0), color=[colour_of(i) for i in at], height=0.6)
    for y, value in zip(at, table["jaccard"]):
        inside = pd.notna(value) and value > 0.15
        ax.text(
            value - 0.01 if inside else 0.01,
            y,
            "hidden" if pd.isna(value) else number(value, 2),
            va="center",
            ha="right" if inside else "left",
            color="white" if inside else "black",
        )
    for limit in limits:
        ax.axvline(limit, color=QUIET, linewidth=1, linestyle="--")
    ax.set_yticks(at, table["segment"])
    ax.set_ylim(len(table) - 0.4, -0.6)
    ax.set(xlim=(0, 1.01), xlabel="mean Jaccard similarity to refits, 0–1", title="Are the segments found again?")
    lines = ax.secondary_xaxis("top")
    lines.set_xticks(list(limits), list(limits.values()))
    lines.tick_params(length=0, labelsize=8.5)
    ax.grid(axis="y", visible=False)
    return ax


def plane(x: np.ndarray, labels: np.ndarray, names) -> tuple[pd.DataFrame, list[str], float]:
    """Return where `k` segments lie in the plane that shows most of their differences.

    Returns
    -------
    table
        One row a segment: segment position (`x`, `y`) and the three parts of its covariance in the plane.
    axes
        The two features that each axis goes with most.
    shown
        Part of the differences between segments, in spreads within them, that lies in the plane (0-1).
    """
    sizes = np.bincount(labels)
    centres = np.stack([x[labels == j].mean(axis=0) for j in range(len(sizes))])
    within = np.atleast_2d(np.cov(x - centres[labels], rowvar=False)) + 1e-9 * np.eye(x.shape[1])
    root = np.linalg.inv(np.linalg.cholesky(within)).T
    apart = (centres - x.mean(axis=0)) @ root * np.sqrt(sizes / len(x))[:, None]
    strength, directions = np.linalg.svd(apart)[1:]
    flat = np.column_stack([(x - x.mean(axis=0)) @ root @ directions[:2].T, np.zeros(len(x))])[
        :, :2
    ]  # one feature: flat
    rows = []
    for j in range(len(sizes)):
        own = flat[labels == j]
        spread = np.cov(own, rowvar=False) if len(own) > 1 else np.zeros((2, 2))
        rows.append((*own.mean(axis=0), spread[0, 0], spread[1, 1], spread[0, 1]))
    told = [_told(x, column, names) for column in flat.T]
    shown = float(np.square(strength[:2]).sum() / max(np.square(strength).sum(), 1e-300))
    return pd.DataFrame(rows, columns=["x", "y", "x_spread", "y_spread", "xy_spread"]), told, shown


def _told(x: np.ndarray, column: np.ndarray, names) -> str:
    if np.ptp(column) == 0:
        return ""
    r = np.array([np.corrcoef(column, feature)[0, 1] for feature in x.T])
    top = np.argsort(-np.abs(r))[:2]
    return "; ".join(f"{'more' if r[i] > 0 else 'less'} {names[i]}" for i in top if abs(r[i]) >= 0.3)


def draw_map(places: pd.DataFrame, axes: list[str], shown: float, ax=None):
    """Draw each segment as ellipses that would hold 50 and 90 % of a Gaussian with its spread, and its name."""
    ax = axes_or_new(ax)
    for position, row in enumerate(places.dropna(subset="x").itertuples()):
        covariance = np.array([[row.x_spread, row.xy_spread], [row.xy_spread, row.y_spread]])
        values, vectors = np.linalg.eigh(covariance)
        angle = float(np.degrees(np.arctan2(vectors[1, 1], vectors[0, 1])))
        for reach, alpha in ((MOST, 0.15), (HALF, 0.3)):
            width, height = 2 * reach * np.sqrt(np.maximum(values[::-1], 1e-4))
            ax.add_patch(
                Ellipse((row.x, row.y), width, height, angle=angle, color=colour_of(position), alpha=alpha, lw=0)
            )
        ax.text(row.x, row.y, row.segment, ha="center", va="center", fontweight="bold")
    ax.autoscale_view()
    ax.set_aspect("equal", adjustable="datalim")
    labels = [f"{wrap(words, 44)} →" if words else "" for words in axes]
    ax.set(xlabel=labels[0], ylabel=labels[1], title=f"Map of the segments ({percent(shown)} of their differences)")
    return ax


def draw_flow(counts: np.ndarray, hidden: np.ndarray, names: list[str], ax=None):
    """Draw how many customers (share of all) went from each earlier to each later segment; hidden cells stay white."""
    ax = axes_or_new(ax)
    share, k = np.where(hidden, 0, counts) / counts.sum(), len(names)
    gap = 0.03
    left, right = (np.concatenate([[0], np.cumsum(s + gap)[:-1]]) for s in (share.sum(axis=1), share.sum(axis=0)))
    for side, starts, sizes, ha in ((0, left, share.sum(axis=1), "right"), (1, right, share.sum(axis=0), "left")):
        for j, (start, size) in enumerate(zip(starts, sizes)):
            ax.add_patch(PathPatch(_band(side - 0.02, side + 0.02, start, start, size), color=colour_of(j), lw=0))
            words = names[j] if hidden[j].any() and not side or hidden[:, j].any() else f"{names[j]} {percent(size)}"
            ax.text(side + (0.04 if side else -0.04), start + size / 2, words, ha=ha, va="center")
    out, into = left.copy(), right.copy()
    for i in range(k):
        for j in range(k):
            if not hidden[i, j]:
                band = _band(0.02, 0.98, out[i], into[j], share[i, j])
                ax.add_patch(PathPatch(band, color=colour_of(i), alpha=0.7 if i == j else 0.4, lw=0))
            out[i], into[j] = out[i] + share[i, j], into[j] + share[i, j]
    ax.set(xlim=(-0.25, 1.25), ylim=(1 + gap * k, -gap), title="Where customers of the earlier segments are later")
    ax.set_xticks([0, 1], ["earlier", "later"])
    ax.set_yticks([])
    ax.spines[["left", "bottom"]].set_visible(False)
    ax.grid(visible=False)
    return ax


def _band(x0: float, x1: float, y0: float, y1: float, size: float) -> Path:
    middle = (x0 + x1) / 2
    points = [(x0, y0), (middle, y0), (middle, y1), (x1, y1), (x1, y1 + size), (middle, y1 + size), (middle, y0 + size), (x0, y0 + size), (x0, y0)]  # fmt: skip
    codes = [Path.MOVETO, *[Path.CURVE4] * 3, Path.LINETO, *[Path.CURVE4] * 3, Path.CLOSEPOLY]
    return Path(points, codes)
