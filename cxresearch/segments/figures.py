"""Figures of segments: profile, stability, map. No figure draws a customer."""

import numpy as np
import pandas as pd
from matplotlib.patches import Ellipse

from cxresearch.figures import PALETTE, QUIET, axes_or_new, heat_map, titled, wrap
from cxresearch.findings import number, percent

HALF, MOST = 1.177, 2.146  # standard deviations that hold 50 % and 90 % of a Gaussian in the plane


def colour_of(position: int) -> str:
    return PALETTE[position % len(PALETTE)]


def draw_profile(finding, ax=None):
    """Draw standardised differences by feature (rows) and segment (columns), with values."""
    profile, shown = finding.further["profile"], finding.table
    grid = profile.pivot(index="feature", columns="segment", values="std_difference").astype(float)
    grid = grid.reindex(index=list(dict.fromkeys(profile["feature"])), columns=list(shown["segment"]))
    heads = [f"{s} {'hidden' if pd.isna(v) else percent(v)}" for s, v in zip(shown["segment"], shown["share"])]
    grid = grid.set_axis([finding.feature_label(f) for f in grid.index]).set_axis(heads, axis=1)
    ax = heat_map(grid, decimals=1, centre=0, ax=ax)
    title = (
        f"{finding.k} segments are separated and stable" if finding.established else "The segments are not established"
    )
    return titled(ax, title, "mean less that of all customers, in standard deviations; under each segment its share")


def draw_stability(finding, limits: dict[float, str], ax=None):
    """Draw each segment's Jaccard similarity as a bar, with the `limits` of Hennig (2007) as lines."""
    table = finding.table
    ax = axes_or_new(ax, rows=len(table) + 3)
    at = np.arange(len(table))
    ax.barh(at, table["jaccard"].fillna(0), color=[colour_of(i) for i in at], height=0.6)
    for y, value in zip(at, table["jaccard"]):
        inside = pd.notna(value) and value > 0.15
        words, place = "hidden" if pd.isna(value) else number(value, 2), value - 0.01 if inside else 0.01
        ax.text(place, y, words, va="center", ha="right" if inside else "left", color="white" if inside else "black")
    for limit, words in limits.items():
        ax.axvline(limit, color=QUIET, linewidth=1, linestyle="--")
        ax.text(limit, len(table) - 0.42, f" {words}", va="bottom", fontsize=8.5, color=QUIET)
    ax.set_yticks(at, table["segment"])
    ax.set(xlim=(0, 1.12), ylim=(len(table) + 0.2, -0.6), xlabel="mean Jaccard similarity to refits, 0–1")
    ax.grid(axis="y", visible=False)
    found = int((table["jaccard"] >= min(v for v, words in limits.items() if words == "stable")).sum())
    return titled(ax, f"{found} of {len(table)} segments are found again in resampled customers")


def plane(x: np.ndarray, labels: np.ndarray, names) -> tuple[pd.DataFrame, list[list[tuple[str, str]]], float]:
    """Return where `k` segments lie in the plane that shows most of their differences.

    Returns
    -------
    table
        One row a segment: segment position (`x`, `y`) and the three parts of its covariance in the plane.
    axes
        Of each axis the two features that it goes with most: more or less, and the feature.
    shown
        Part of the differences between segments, in spreads within them, that lies in the plane (0-1).
    """
    sizes = np.bincount(labels)
    centres = np.stack([x[labels == j].mean(axis=0) for j in range(len(sizes))])
    within = np.atleast_2d(np.cov(x - centres[labels], rowvar=False)) + 1e-9 * np.eye(x.shape[1])
    root = np.linalg.inv(np.linalg.cholesky(within)).T
    apart = (centres - x.mean(axis=0)) @ root * np.sqrt(sizes / len(x))[:, None]
    strength, directions = np.linalg.svd(apart)[1:]
    flat = (x - x.mean(axis=0)) @ root @ directions[:2].T
    flat = np.column_stack([flat, np.zeros(len(x))])[:, :2]  # one feature: flat
    rows = []
    for j in range(len(sizes)):
        own = flat[labels == j]
        spread = np.cov(own, rowvar=False) if len(own) > 1 else np.zeros((2, 2))
        rows.append((*own.mean(axis=0), spread[0, 0], spread[1, 1], spread[0, 1]))
    shown = float(np.square(strength[:2]).sum() / max(np.square(strength).sum(), 1e-300))
    places = pd.DataFrame(rows, columns=["x", "y", "x_spread", "y_spread", "xy_spread"])
    return places, [_axis(x, column, names) for column in flat.T], shown


def _axis(x: np.ndarray, column: np.ndarray, names) -> list[tuple[str, str]]:
    if np.ptp(column) == 0:
        return []
    r = np.array([np.corrcoef(column, feature)[0, 1] for feature in x.T])
    top = np.argsort(-np.abs(r))[:2]
    return [("more" if r[i] > 0 else "less", names[i]) for i in top if abs(r[i]) >= 0.3]


def draw_map(places: pd.DataFrame, axes: list[str], shown: float, ax=None):
    """Draw each segment as ellipses that would hold 50 and 90 % of a Gaussian with its spread, and its name."""
    ax = axes_or_new(ax)
    for position, row in enumerate(places.dropna(subset="x").itertuples()):
        covariance = np.array([[row.x_spread, row.xy_spread], [row.xy_spread, row.y_spread]])
        values, vectors = np.linalg.eigh(covariance)
        angle = float(np.degrees(np.arctan2(vectors[1, 1], vectors[0, 1])))
        for reach, alpha in ((MOST, 0.15), (HALF, 0.3)):
            width, height = 2 * reach * np.sqrt(np.maximum(values[::-1], 1e-4))
            shape = Ellipse((row.x, row.y), width, height, angle=angle, color=colour_of(position), alpha=alpha, lw=0)
            ax.add_patch(shape)
        ax.text(row.x, row.y, row.segment, ha="center", va="center", fontweight="bold")
    ax.autoscale_view()
    ax.set_aspect("equal", adjustable="datalim")
    labels = [f"{wrap(words, 44)} →" if words else "" for words in axes]
    ax.set(xlabel=labels[0], ylabel=labels[1])
    title = f"{percent(shown)} of the differences between segments lie in this plane"
    return titled(ax, title, "spreads within segments; ellipses hold about 50 % and 90 % of a segment")
