"""The theme and the house figures. A figure draws what a table holds, nothing else."""

import re
import sys
import textwrap
from binascii import b2a_base64
from contextlib import contextmanager
from functools import partial
from io import BytesIO
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib import rc_params_from_file
from matplotlib.ticker import FixedLocator
from matplotlib.transforms import IdentityTransform

# Okabe and Ito's hues, moved until each stands out from white (3:1), neighbours differ in grey, and no two look alike
# to the colour-blind; tests/test_figures.py measures it. The pages take their colours from here, too.
PALETTE = ("#00548C", "#DA7200", "#00664C", "#D15CA6", "#7A4F00", "#3F95D0", "#1A1A1A")
QUIET = "#747474"
STYLE = rc_params_from_file(Path(__file__).with_name("house.mplstyle"), use_default_template=False)
NARROW, PAINTS = 4.2, 32  # inches across on a phone; colours of a picture
ABOVE = 1.02  # where the unit stands, in parts of the height
TEXT, TITLE = STYLE["axes.labelsize"], STYLE["axes.titlesize"]  # points: steps of the pages' type scale, ratio 1.2


def use_theme() -> None:
    """Set the house style for matplotlib and seaborn in this process; crisp figures and uncut tables in a notebook.

    Examples
    --------
    >>> cx.use_theme()
    """
    pd.set_option("display.max_colwidth", None)  # pandas would cut a reason or a limit after 50 characters
    pd.set_option("display.html.use_mathjax", False)  # a label with dollar signs is text, not a formula
    shell = sys.modules["IPython"].get_ipython() if "IPython" in sys.modules else None
    if shell is not None:
        from IPython.core.pylabtools import retina_figure
        from matplotlib_inline.backend_inline import set_matplotlib_formats

        def with_finding(figure):
            """Return the picture, its metadata naming the finding that it shows and holding the one for phones."""
            if not (drawn := retina_figure(figure)):
                return drawn
            told = drawn[1] | {"finding": getattr(figure, "finding", "")}
            with narrowed(figure):
                return _compact(drawn[0]), told | {"narrow": _compact(retina_figure(figure)[0])}

        set_matplotlib_formats("retina")
        shell.display_formatter.formatters["image/png"].for_type(plt.Figure, with_finding)
    sns.set_theme(context="notebook", style="whitegrid", palette=list(PALETTE), rc=dict(STYLE))


def _compact(picture: bytes) -> str:
    """Return a picture in base64 with a palette of colours, a third of its size."""
    from PIL import Image

    Image.open(BytesIO(picture)).convert("RGB").quantize(PAINTS, dither=0).save(made := BytesIO(), "png", optimize=True)
    return b2a_base64(made.getvalue(), newline=False).decode()


@contextmanager
def narrowed(figure):
    """Lend a figure in the width of a phone: its words on more lines, what it draws as it was."""
    size, undo = figure.get_size_inches().copy(), []
    figure.set_size_inches(NARROW, size[1])
    for ax in figure.axes:
        undo += _rewrapped(ax, NARROW / size[0])
        if legend := ax.get_legend():
            legend.set_in_layout(False)  # it may be wider than the figure
    figure.draw_without_rendering()
    for ax in figure.axes:
        for text in (ax._left_title, *_units(ax)):  # above the names of rows, too
            undo.append(partial(text.set_x, text.get_position()[0]))
            text.set_x(-ax.bbox.x0 / ax.bbox.width)
        ax.xaxis.label.set_x((figure.bbox.width / 2 - ax.bbox.x0) / ax.bbox.width)
        names = [t.get_window_extent() for t in ax.get_xticklabels() if t.get_text()]
        if any(one.x1 > other.x0 for one, other in zip(names, names[1:])):
            undo.append(partial(ax.tick_params, axis="x", labelrotation=ax.get_xticklabels()[0].get_rotation()))
            ax.tick_params(axis="x", labelrotation=90)
        if (legend := ax.get_legend()) is None:
            continue
        legend.set_in_layout(True)
        if legend.get_window_extent().width > figure.bbox.width:  # one name a line
            place = dict(loc="upper left", borderaxespad=legend.borderaxespad, bbox_transform=IdentityTransform())
            undo.append(partial(setattr, ax, "legend_", legend))
            words = [text.get_text() for text in legend.get_texts()]
            ax.legend(legend.legend_handles, words, bbox_to_anchor=legend.get_bbox_to_anchor(), **place)
    try:
        yield figure
    finally:
        figure.set_size_inches(size)
        for put_back in undo:
            put_back()


def _units(ax) -> list:
    """Return the texts between a title and its axes."""
    return [text for text in ax.texts if text.get_position()[1] == ABOVE]


def _rewrapped(ax, part: float) -> list:
    """Break the words of some axes for a `part` of their width, make room for them, and return what undoes it."""

    def again(words: str, width: float, lines: int = 12) -> str:
        return wrap(words.replace("\n", " ").replace(r"\$", "$"), max(int(width * part), 8), lines)

    undo, units = [partial(ax.xaxis.label.set_x, 0.5)], _units(ax)
    for text in [*ax.texts, ax.xaxis.label]:
        undo.append(partial(text.set_text, text.get_text()))
        beside = getattr(text, "anncoords", "") == "offset points"
        if beside or not hasattr(text, "anncoords"):  # a name at the end of a line has its place
            text.set_text(again(text.get_text(), 24 if beside else 90 if text in [*units, ax.xaxis.label] else 60))
    rows, fixed = 0, [axis for axis in (ax.xaxis, ax.yaxis) if isinstance(axis.get_major_locator(), FixedLocator)]
    for axis in fixed:
        names = [text.get_text() for text in axis.get_ticklabels()]
        undo.append(partial(axis.set_ticklabels, names))
        axis.set_ticklabels(shown := [again(n, 34 if axis is ax.yaxis else 76 / len(names), 4) for n in names])
        rows = sum(name.count("\n") + 1.4 for name in shown)  # of the lower axis first
    if ax.yaxis in fixed:
        ax.figure.set_figheight(max(ax.figure.get_figheight(), 1.5 + 0.19 * rows))
    title, below = ax.get_title("left"), max((t.get_text().count("\n") + 1 for t in units), default=0)
    undo.append(partial(ax.set_title, title, loc="left", pad=20 if below else 6))
    ax.set_title(again(title, 74), loc="left", pad=6 + 14 * below)
    return undo


def axes_or_new(ax=None, *, rows: int | None = None):
    """Return `ax`, or new axes tall enough for `rows` horizontal entries."""
    if ax is not None:
        return ax
    height = 4.0 if rows is None else min(max(2.2, 0.9 + 0.34 * rows), 14)
    return plt.subplots(figsize=(7.2, height), layout="constrained")[1]


def titled(ax, title: str, unit: str = ""):
    """Write the finding as the title of a figure and the unit below it, and return `ax`."""
    ax.set_title(wrap(title, 64, lines=3), pad=20 if unit else 6)
    if unit:
        ax.text(0, ABOVE, wrap(unit, 100), transform=ax.transAxes, fontsize=TEXT, color=QUIET, va="bottom")
    return ax


def written(words: str, ax=None):
    """Write `words` where a figure would stand, and return the Axes."""
    ax = axes_or_new(ax, rows=1)
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
    look = dict(c=list(hue[known]), s=42, linewidth=0, zorder=3, label=label)
    sns.scatterplot(x=dots[known], y=at[known], ax=ax, legend=False, **look)
    return rows_named(ax, names)


def forest(table, value: str, *, names, low=None, high=None, marked=None, unit="", title="", line=None, ax=None):
    """Draw one dot with its interval per row, first row on top, and return the Axes.

    Intervals stand in ``value_low`` and ``value_high`` unless `low` and `high` name other columns; rows not `marked` are
    grey; a dashed `line` marks the whole, or no difference. The `unit` stands below the axis, the finding above it.
    """
    ax = axes_or_new(ax, rows=len(table))
    inside = np.full(len(table), True) if marked is None else np.asarray(marked, dtype=bool)
    if line is not None:
        ax.axvline(line, color=QUIET, linewidth=1, linestyle="--", zorder=0)
    ends = (table[low or f"{value}_low"], table[high or f"{value}_high"])
    intervals(ax, list(names), table[value], *ends, colour=np.where(inside, PALETTE[0], QUIET))
    ax.set(xlabel=unit, ylabel="")
    return titled(ax, title) if title else ax


def over_waves(table: pd.DataFrame, value: str, *, low=None, high=None, by=None, marked=(), unit="", title="", ax=None):
    """Draw a value by wave, one line a level of `by`, each named at its end; those `marked` in colour, others grey.

    `table` has the waves in order of time in its column ``wave``; intervals are bands.
    """
    ax = axes_or_new(ax)
    waves = list(dict.fromkeys(table["wave"]))
    parts = [("", table)] if by is None else list(table.groupby(by, sort=False, observed=True))
    colours, named = iter(PALETTE), []
    for name, part in parts:
        lit = by is None or name in marked
        colour = next(colours, PALETTE[0]) if lit else QUIET
        at, y = [waves.index(wave) for wave in part["wave"]], part[value].to_numpy(dtype=float)
        if lit and low is not None:
            ends = (part[low].astype(float), part[high].astype(float))
            ax.fill_between(at, *ends, color=colour, alpha=0.15, linewidth=0)
        sns.lineplot(x=at, y=y, marker="o", color=colour, linewidth=2.2 if lit else 1.2, ax=ax, legend=False)
        if by is not None and np.isfinite(y).any():
            last = np.flatnonzero(np.isfinite(y))[-1]
            named.append((y[last], at[last], wrap(str(name), 22), colour))
    place, gap = -np.inf, 0.055 * np.ptp(ax.get_ylim())  # names of lines that end side by side move apart
    for y, x, name, colour in sorted(named, key=lambda end: end[0]):
        place = max(y, place + gap * (1 + name.count("\n")))
        where = {"xytext": (x + 0.06, place), "textcoords": "data", "va": "center", "annotation_clip": False}
        ax.annotate(name, (x, y), color=colour, **where)
    ax.set_xticks(range(len(waves)), [wrap(str(wave), 14) for wave in waves])
    ax.set(xlabel="", ylabel=unit)
    ax.margins(x=0.05 if by is None else 0.18)
    return titled(ax, title) if title else ax


def heat_map(table: pd.DataFrame, *, decimals: int = 0, unit="", title="", centre: float | None = None, ax=None):
    """Draw a table of numbers as a heat map with its values in the cells (missing ones blank), and return the Axes."""
    ax = axes_or_new(ax, rows=2 + len(table))
    hues = sns.light_palette(PALETTE[0], as_cmap=True)
    hues = hues if centre is None else sns.diverging_palette(40, 240, as_cmap=True)
    options = {"annot": True, "fmt": f".{decimals}f", "center": centre, "cbar": False, "linewidths": 1}
    sns.heatmap(table.astype(float), cmap=hues, ax=ax, **options)
    ax.set_xticklabels([wrap(str(name), 18) for name in table.columns], rotation=0)
    ax.set_yticklabels([wrap(str(name)) for name in table.index], rotation=0)
    ax.set(xlabel=unit, ylabel="")
    return titled(ax, title) if title else ax


def wrap(text: str, width: int = 34, lines: int = 2) -> str:
    """Return `text` on at most `lines` lines, cut with an ellipsis where it is longer still."""
    kept = re.sub(r"(?<=\d) (?=%)|(?<=\bn) (?==)|(?<==) (?=\d)", "\u00a0", str(text))  # "95 %" and "n = 12" stay whole
    return textwrap.fill(kept, width, max_lines=lines, placeholder=" …").replace("$", r"\$")
