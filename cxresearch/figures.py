"""The theme and the house figures. A figure draws what a table holds, nothing else."""

import re
import sys
import textwrap
from binascii import b2a_base64
from io import BytesIO
from itertools import chain, product
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib import rc_params_from_file
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.ticker import FixedLocator
from matplotlib.transforms import Bbox

# Okabe and Ito's hues, moved until each stands out from white (3:1), neighbours differ in grey, and no two look alike
# to the colour-blind; tests/test_figures.py measures it. The pages take their colours from here, too.
PALETTE = ("#00548C", "#DA7200", "#00664C", "#D15CA6", "#7A4F00", "#3F95D0", "#1A1A1A")
QUIET = "#747474"
STYLE = rc_params_from_file(Path(__file__).with_name("house.mplstyle"), use_default_template=False)
WIDE, NARROW, PAINTS = 7.2, 4.2, 128  # inches across, and on a phone; colours of a picture
_page = {"across": WIDE}  # what is drawn for now
TEXT, TITLE = STYLE["axes.labelsize"], STYLE["axes.titlesize"]  # points: steps of the pages' type scale, ratio 1.2


def use_theme() -> None:
    """Set the house style for matplotlib and seaborn in this process; crisp figures and uncut tables in a notebook.

    Examples
    --------
    >>> cx.use_theme()
    """
    # pandas would cut a reason or a limit after 50 characters; a label with dollar signs is text, not a formula
    pd.set_option("display.max_colwidth", None, "display.html.use_mathjax", False)
    if "IPython" in sys.modules and (shell := sys.modules["IPython"].get_ipython()) is not None:
        from matplotlib_inline.backend_inline import set_matplotlib_formats

        set_matplotlib_formats("retina")
        shell.display_formatter.formatters["image/png"].for_type(plt.Figure, _pictures)
    sns.set_theme(context="notebook", style="whitegrid", palette=list(PALETTE), rc=dict(STYLE))


def _pictures(figure):
    """Return the picture of a figure; its metadata name the finding that it shows and hold the one for phones."""
    if not figure.axes:
        return None
    dpi = figure.dpi
    figure.set_dpi(2 * dpi)
    try:
        picture, size = _compact(figure)
    finally:
        figure.set_dpi(dpi)
    told = size | {"finding": getattr(figure, "finding", "")}
    if hasattr(figure, "again"):
        told["narrow"], _ = _compact(small := for_phones(figure.again))
        plt.close(small)
    return picture, told


def _compact(figure) -> tuple[str, dict]:
    """Return a PNG in base64 with a palette of colours, a third of its size, and the width and height it is shown in. A
    figure that holds all that is drawn is drawn once, and cut to its tight box; `savefig` draws and encodes it twice.
    """
    from PIL import Image, ImageOps

    canvas = figure.canvas if isinstance(figure.canvas, FigureCanvasAgg) else FigureCanvasAgg(figure)
    canvas.draw()
    units = [ax.unit for ax in figure.axes if hasattr(ax, "unit")]  # for which no layout makes room
    inches = [unit.get_window_extent().transformed(figure.dpi_scale_trans.inverted()) for unit in units]
    box, edge = Bbox.union([figure.get_tightbbox(), *inches]), plt.rcParams["savefig.pad_inches"]
    if box.x0 < 0 or box.y0 < 0 or (box.max > figure.get_size_inches()).any():
        parts = [*units, *figure.texts, *figure.legends]
        parts += chain(*(ax.get_default_bbox_extra_artists() for ax in figure.axes))
        figure.savefig(made := BytesIO(), bbox_inches="tight", dpi=figure.dpi, bbox_extra_artists=parts)
        drawn = Image.open(made).convert("RGB")
    else:
        left, bottom, right, top = (box.extents * figure.dpi).round().astype(int)
        drawn = Image.fromarray(np.asarray(canvas.buffer_rgba())).convert("RGB")
        drawn = drawn.crop((left, drawn.height - top, right, drawn.height - bottom))
        drawn = ImageOps.expand(drawn, round(edge * figure.dpi), "white")
    fewer = drawn.quantize(PAINTS, Image.Quantize.MAXCOVERAGE, dither=0)
    fewer.save(made := BytesIO(), "png", compress_level=8)
    return b2a_base64(made.getvalue(), newline=False).decode(), {"width": drawn.width // 2, "height": drawn.height // 2}


def for_phones(plot):
    """Return the figure that `plot` draws in the width of a phone, its words on more lines."""
    _page["across"] = NARROW
    try:
        figure = (ax := plot()).figure
        ax.set_xlabel(wrap(ax.get_xlabel().replace("\n", " "), 60, 3))
    finally:
        _page["across"] = WIDE
    figure.suptitle(ax.get_title("left"), x=0, ha="left", fontsize=TITLE)  # above the names of rows, too
    below = ax.unit.get_text().count("\n") + 1 if hasattr(ax, "unit") else 0
    ax.set_title(" " * bool(below), loc="left", fontsize=1, pad=14 * below)
    if isinstance(ax.yaxis.get_major_locator(), FixedLocator):  # rows with names
        lines = [text.get_text().count("\n") + 1 for text in ax.get_yticklabels()]
        figure.set_figheight(max(1.2 * figure.get_figheight(), 1.5 + 0.18 * len(lines) * max(lines, default=0)))
    figure.set_dpi(2 * figure.dpi)
    figure.draw_without_rendering()
    figure.set_layout_engine("none")  # what is laid out need not be so again
    if below:
        ax.unit.set_x(-ax.bbox.x0 / ax.bbox.width)
    names = [text.get_window_extent() for text in ax.get_xticklabels() if text.get_text()]
    if any(one.x1 + 4 > other.x0 for one, other in zip(names, names[1:])):
        ax.tick_params(axis="x", labelrotation=90)
        figure.set_layout_engine("constrained")
    return figure


def columns(most: int) -> int:
    """Return how many columns of a legend stand side by side."""
    return most if _page["across"] == WIDE else 1


def axes_or_new(ax=None, *, rows: float = 3.1 / 0.34):
    """Return `ax`, or new axes tall enough for `rows` horizontal entries."""
    size = _page["across"], min(max(2.2, 0.9 + 0.34 * rows), 14)
    return plt.subplots(figsize=size, layout="constrained")[1] if ax is None else ax


def titled(ax, title: str, unit: str = ""):
    """Write the finding as the title of a figure and the unit below it, and return `ax`."""
    unit = wrap(unit, 88)
    ax.set_title(wrap(title, 64, lines=3), pad=6 + 14 * (unit.count("\n") + bool(unit)))
    if unit:
        ax.unit = ax.text(0, 1.02, unit, fontsize=TEXT, color=QUIET, va="bottom", transform=ax.transAxes)
        ax.unit.set_in_layout(False)
    return ax


def dots_named(ax, x, y, names, arms):
    """Name each dot where its name lies on the fewest other names and `arms` (two ends each), and return `ax`."""
    ax.figure.draw_without_rendering()
    arms, order, named = [Bbox(ax.transData.transform(ends)) for ends in arms], [*zip(names, x, y)], []
    for _ in range(2):  # again, those first that found no free place
        order = [entry for _, entry in sorted(named, key=lambda end: -end[0][0])] or order
        while named:
            named.pop()[0][-1].remove()
        for name, *at in order:
            tried, others = [], [place[2] for place, _ in named]
            for far, va, ha in product((4, 14, 26), ("bottom", "top"), ("left", "right")):
                shift = (6 if ha == "left" else -6, far if va == "bottom" else -far)
                text = ax.annotate(wrap(name, 26), at, shift, textcoords="offset points", ha=ha, va=va, fontsize=TEXT)
                box = text.get_window_extent()
                outside = box.x0 < ax.bbox.x0 or box.x1 > ax.figure.bbox.width or box.y0 < ax.bbox.y0
                bad = box.count_overlaps(arms) + 5 * box.count_overlaps(others) + 20 * outside
                tried.append((bad, len(tried), box, text))
            best, *left = sorted(tried)
            named.append((best, (name, *at)))
            for *_, text in left:
                text.remove()
    return ax


def written(words, ax=None):
    """Write words, or the sentence of a finding, where a figure would stand, and return the Axes."""
    words, ax = getattr(words, "says", words), axes_or_new(ax, rows=1)
    ax.text(0.5, 0.5, wrap(words, 60, lines=6), ha="center", va="center", transform=ax.transAxes)
    ax.set_axis_off()
    return ax


def rows_named(ax, names):
    """Name the horizontal entries of a figure, the first one on top, and return `ax`."""
    ax.set_yticks(np.arange(len(names)), [wrap(name) for name in names])
    ax.set_ylim(len(names) - 0.4, -0.6)
    ax.grid(axis="y", visible=False)
    return ax


def intervals(ax, names, estimate, low, high, *, colour=PALETTE[0], offset: float = 0.0, label: str | None = None):
    """Draw one dot with its interval per name, in one `colour` or one each, and return `ax`; a hidden row keeps its place."""
    at, dots, hue = np.arange(len(names)) + offset, np.asarray(estimate, float), np.broadcast_to(colour, len(names))
    known = np.isfinite(dots)
    ax.hlines(at, low, high, color=hue, linewidth=2)
    ax.scatter(dots[known], at[known], c=list(hue[known]), s=42, linewidth=0, zorder=3, label=label)
    return rows_named(ax, names)


def forest(table, value: str, *, names, low=None, high=None, marked=None, unit="", title="", line=None, ax=None):
    """Draw a dot with its interval (ends in `low` and `high`, else ``value_low``, ...) per row, grey where not `marked`."""
    ax = axes_or_new(ax, rows=len(table))
    if line is not None:
        ax.axvline(line, color=QUIET, linewidth=1, linestyle="--", zorder=0)
    hue = PALETTE[0] if marked is None else np.where(np.asarray(marked, dtype=bool), PALETTE[0], QUIET)
    intervals(ax, list(names), table[value], table[low or f"{value}_low"], table[high or f"{value}_high"], colour=hue)
    ax.set(xlabel=unit, ylabel="")
    return titled(ax, title) if title else ax


def over_waves(table: pd.DataFrame, value: str, *, low=None, high=None, by=None, marked=(), unit="", title="", ax=None):
    """Draw a value by wave, one line a level of `by`, named at its end, grey where not `marked`; intervals are bands."""
    room, waves = WIDE / _page["across"], list(dict.fromkeys(table["wave"]))
    parts = [(None, table)] if by is None else list(table.groupby(by, sort=False, observed=True))
    words = [wrap(str(name), int(22.4 * room)) for name, _ in parts]
    tall = [name.count("\n") + 1 for name in words]
    ax, colours, named = axes_or_new(ax, rows=max(9.12, 0.6 * sum(tall))), iter(PALETTE), []
    for (name, part), shown, lines in zip(parts, words, tall):
        lit = by is None or name in marked
        colour = next(colours, PALETTE[0]) if lit else QUIET
        at, y = np.array([waves.index(wave) for wave in part["wave"]]), part[value].to_numpy(dtype=float)
        if lit and low is not None:
            ax.fill_between(at, *part[[low, high]].astype(float).to_numpy().T, color=colour, alpha=0.15, linewidth=0)
        sns.lineplot(x=at, y=y, marker="o", color=colour, linewidth=2.2 if lit else 1.2, ax=ax, legend=False)
        known = np.isfinite(y)
        if by is not None and known.any():
            named.append((y[known][-1], at[known][-1], lines, shown, colour))
    named.sort(key=lambda end: end[0])
    bottom, top = ax.get_ylim()
    high = (top - bottom) * min(0.065, 1 / sum(tall)) * np.array([lines for _, _, lines, *_ in named])
    middle = np.cumsum(high) - high / 2  # of names one on another; those of lines that end side by side move apart
    below = np.maximum.accumulate(np.maximum([end for end, *_ in named] - middle, bottom))
    look = dict(fontsize=TEXT, va="center", annotation_clip=False)
    for (y, x, _, name, colour), place in zip(named, middle + np.minimum(below, top - high.sum())):
        ax.annotate(name, (x, y), (x + 0.06 * room, place), color=colour, **look)
    ax.set_xticks(range(len(waves)), [wrap(str(wave), 14) for wave in waves])
    ax.set(xlabel="", ylabel=unit)
    ax.margins(x=0.05 if by is None else 0.18)
    return titled(ax, title) if title else ax


def heat_map(table: pd.DataFrame, *, decimals: int = 0, unit="", title="", centre: float | None = None, ax=None):
    """Draw a table of numbers as a heat map with its values in the cells (missing ones blank), and return the Axes."""
    ax = axes_or_new(ax, rows=2 + len(table))
    one = centre is None
    hues = sns.light_palette(PALETTE[0], as_cmap=True) if one else sns.diverging_palette(40, 240, as_cmap=True)
    look = dict(annot=True, fmt=f".{decimals}f", cmap=hues, center=centre, cbar=False, linewidths=1)
    sns.heatmap(table.astype(float), ax=ax, xticklabels=1, yticklabels=1, **look)
    ax.set_xticklabels([wrap(str(name), 18) for name in table.columns], rotation=0)
    ax.set_yticklabels([wrap(str(name)) for name in table.index], rotation=0)
    ax.set(xlabel=unit, ylabel="")
    return titled(ax, title) if title else ax


def wrap(text: str, width: int = 34, lines: int = 2) -> str:
    """Return `text` on at most `lines` lines, cut with an ellipsis where it is longer still."""
    kept = re.sub(r"(?<=\d) (?=%)|(?<=\bn) (?==)|(?<==) (?=\d)", "\u00a0", str(text))  # "95 %" and "n = 12" stay whole
    if _page["across"] < WIDE:
        width, lines = max(int(width * NARROW / WIDE), 8), 2 * lines
    filled = textwrap.fill(kept, width, max_lines=lines, placeholder=" …", break_long_words=width > 14)
    return filled.replace("$", r"\$")
