"""A figure draws what the table holds: nbval does not look at images, so the drawn data are held here."""

import matplotlib
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from matplotlib.collections import LineCollection, PathCollection, QuadMesh
from test_findings import MAKERS, survey  # noqa: F401  (a fixture)

import cxresearch as cx
from cxresearch import figures


def drawn(ax) -> np.ndarray:
    """Return every finite number that the lines, dots, bars and cells of some axes stand for."""
    found = [np.ravel(line.get_xydata()) for line in ax.lines]
    for artist in ax.collections:
        if isinstance(artist, LineCollection):
            found += [np.ravel(segment) for segment in artist.get_segments()]
        elif isinstance(artist, PathCollection):
            found.append(np.ravel(artist.get_offsets()))
        elif isinstance(artist, QuadMesh):
            found.append(np.ravel(np.ma.filled(artist.get_array(), np.nan)))
    found += [np.ravel([p.get_width(), p.get_height()]) for bars in ax.containers for p in bars]
    for image in ax.images:
        found.append(np.ravel(image.get_array()))
    numbers = np.concatenate([np.asarray(f, dtype=float) for f in found])
    return numbers[np.isfinite(numbers)]


def missing(values, ax) -> list[float]:
    there = drawn(ax)
    return [v for v in np.ravel(values) if not np.isclose(there, v, rtol=1e-9, atol=1e-9).any()]


# finding -> what its figure must hold, in the units of its axes
EXPECTED = {
    "response_quality": lambda f: 100 * f.tidy()[["share_answered", "share_skipped", "share_not_met"]],
    "nps": lambda f: f.tidy()[["estimate", "conf_low", "conf_high"]],
    "top_box": lambda f: 100 * f.tidy()[["estimate", "conf_low", "conf_high"]],
    "effort": lambda f: f.tidy()[["estimate", "conf_low", "conf_high"]],
    "driver_importance": lambda f: 100 * f.tidy()[["share", "share_low", "share_high"]],
    "fit_loyalty_revenue": lambda f: f.tables()["curve"][["estimate"]],
    "segment_customers": lambda f: f.tables()["profile"][["std_difference"]],
}


@pytest.mark.parametrize("name", EXPECTED)
def test_the_figure_holds_the_numbers_of_the_table(name, survey):  # noqa: F811
    finding = MAKERS[name](survey)
    ax = finding.plot()
    assert missing(EXPECTED[name](finding).to_numpy(dtype=float), ax) == []
    plt.close(ax.figure)


def test_a_number_that_is_not_drawn_is_caught(survey):  # noqa: F811
    ax = MAKERS["nps"](survey).plot()
    assert missing([12345.0], ax) == [12345.0]


def test_the_theme_is_set_once_for_all_and_text_is_never_mathematics():
    with matplotlib.rc_context():
        cx.use_theme()
        assert matplotlib.rcParams["axes.spines.top"] is False
        cycle = [matplotlib.colors.to_hex(c["color"]).upper() for c in matplotlib.rcParams["axes.prop_cycle"]]
        assert cycle == list(figures.PALETTE)
    assert figures.wrap("costs $5 to $7") == r"costs \$5 to \$7"
    assert figures.wrap("word " * 40).count("\n") == 1 and figures.wrap("word " * 40).endswith("…")


def test_intervals_are_drawn_first_label_on_top():
    ax = plt.subplots()[1]
    figures.intervals(ax, ["a", "b"], [1.0, 2.0], [0.5, 1.5], [1.5, 2.5])
    assert ax.lines[-1].get_xdata().tolist() == [1.0, 2.0]
    assert ax.get_ylim()[0] > ax.get_ylim()[1]
    assert [t.get_text() for t in ax.get_yticklabels()] == ["a", "b"]
    plt.close("all")


@pytest.mark.parametrize(("version", "scoring"), [(1, "agree"), (2, "agree"), (1, "net"), (2, "net"), (2, "mean")])
def test_the_bars_of_effort_are_coloured_by_the_scoring_that_is_reported(version, scoring):
    answers = np.repeat(
        np.arange(1, 8 if version == 2 else 6), [5, 4, 3, 6, 7] if version == 1 else [3, 2, 4, 5, 6, 8, 7]
    )
    card = cx.effort(pd.DataFrame({"ease": answers}), item="ease", version=version, scoring=scoring)
    ax = card.plot()
    drawn_share = {bars.get_label().rsplit(",", 1)[0]: sum(p.get_height() for p in bars) for bars in ax.containers}
    expected = {
        "agree": lambda d: d["counted as easy"] - 100 * card.glance()["estimate"].item(),
        "net": lambda d: d["easy"] - d["hard"] - card.glance()["estimate"].item(),
        "mean": lambda d: d["answers"] - 100,
    }[scoring]
    assert expected(drawn_share) == pytest.approx(0, abs=1e-9)
    plt.close(ax.figure)
