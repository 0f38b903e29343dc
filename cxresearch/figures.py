"""The theme and the house figures. A figure draws what a table holds, nothing else."""

import re
import sys
import textwrap

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns

# Okabe and Ito's hues, moved until each stands out from white (3:1), neighbours differ in grey, and no two look alike
# to the colour-blind; tests/test_figures.py measures it. The pages take their colours from here, too.
PALETTE = ("#00548C", "#DA7200", "#00664C", "#D15CA6", "#7A4F00", "#3F95D0", "#1A1A1A")
QUIET = "#747474"
TEXT, TITLE = 10, 12  # points: neighbouring steps of the type scale of the pages, ratio 1.2


def use_theme() -> None:
    """Set the house style for matplotlib and seaborn in this process; crisp figures and uncut tables in a notebook.

    Examples
    --------
    >>> import cxresearch as cx
    >>> cx.use_theme()
    """
    pd.set_option("display.max_colwidth", None)  # pandas would cut a reason or a limit after 50 characters
    pd.set_option("display.html.use_mathjax", False)  # a label with dollar signs is text, not a formula
    if "IPython" in sys.modules and sys.modules["IPython"].get_ipython() is not None:
        from matplotlib_inline.backend_inline import set_matplotlib_formats

        set_matplotlib_formats("retina")
    sns.set_theme(
        context="notebook",
        style="whitegrid",
        palette=list(PALETTE),
        rc={
            "figure.figsize": (7.2, 4.0),
            "figure.dpi": 110,
            "figure.constrained_layout.use": True,
            "axes.spines.top": False,
            "axes.spines.right": False,
            "axes.titlelocation": "left",
            "axes.titlesize": TITLE,
            "axes.labelsize": TEXT,
            "xtick.labelsize": TEXT,
            "ytick.labelsize": TEXT,
            "legend.fontsize": TEXT,
            "legend.frameon": False,
            "legend.handlelength": 1.2,
            "legend.handletextpad": 0.5,
            "legend.columnspacing": 1.2,
            "grid.linewidth": 0.6,
            "svg.hashsalt": "cxresearch",
        },
    )


def axes_or_new(ax=None, *, rows: int | None = None):
    """Return `ax`, or new axes tall enough for `rows` horizontal entries."""
    if ax is not None:
        return ax
    height = 4.0 if rows is None else min(max(2.2, 0.9 + 0.34 * rows), 14)
    return plt.subplots(figsize=(7.2, height), layout="constrained")[1]


def intervals(
    ax, labels, estimate, low, high, *, colour: str = PALETTE[0], offset: float = 0.0, label: str | None = None
):
    """Draw one dot with its interval per label, first label on top, and return `ax`.

    The dots are the last line added, the intervals the lines before it, so that a test can read the data back.
    """
    at = np.arange(len(labels)) + offset
    ax.hlines(at, low, high, color=colour, linewidth=2)
    ax.plot(estimate, at, "o", color=colour, markersize=6, label=label)
    ax.set_yticks(np.arange(len(labels)), [wrap(text) for text in labels])
    ax.set_ylim(len(labels) - 0.4, -0.6)
    ax.grid(axis="y", visible=False)
    return ax


def wrap(text: str, width: int = 34) -> str:
    """Return `text` on at most two lines, cut with an ellipsis where it is longer still."""
    kept = re.sub(r"(?<=\d) (?=%)|(?<=\bn) (?==)|(?<==) (?=\d)", "\u00a0", str(text))  # "95 %" and "n = 12" stay whole
    return textwrap.fill(kept, width, max_lines=2, placeholder=" …").replace("$", r"\$")
