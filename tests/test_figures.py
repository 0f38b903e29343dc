"""A figure draws what the table holds: nbval does not look at images, so the drawn data are held here."""

import re

import matplotlib
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from matplotlib.collections import LineCollection, PathCollection, PolyCollection, QuadMesh
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
        elif isinstance(artist, PolyCollection):
            found += [np.ravel(path.vertices) for path in artist.get_paths()]
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


def linear(colour: str) -> np.ndarray:
    """Return red, green, blue as light (IEC 61966-2-1)."""
    rgb = np.array(matplotlib.colors.to_rgb(colour))
    return np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)


def lab(light: np.ndarray) -> np.ndarray:
    """Return lightness and the two opponent axes (CIE 1976, D65)."""
    rows = [[0.4124564, 0.3575761, 0.1804375], [0.2126729, 0.7151522, 0.0721750], [0.0193339, 0.1191920, 0.9503041]]
    xyz = np.array(rows) @ np.clip(light, 0, 1) / [0.95047, 1.0, 1.08883]
    x, y, z = np.where(xyz > 216 / 24389, np.cbrt(xyz), (24389 / 27 * xyz + 16) / 116)
    return np.array([116 * y - 16, 500 * (x - y), 200 * (y - z)])


# Machado, Oliveira and Fernandes (2009), table 1: the whole loss of one kind of cone, on linear light.
SEEN = {
    "all": np.eye(3),
    "protanopia": [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
    "deuteranopia": [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]],
    "tritanopia": [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.303900]],
}
HOUSE = (*figures.PALETTE, figures.QUIET)


def contrast(one: str, other: str) -> float:
    dark, light = sorted(linear(c) @ [0.2126, 0.7152, 0.0722] for c in (one, other))
    return (light + 0.05) / (dark + 0.05)


def nearest(colours, matrix) -> float:
    seen = [lab(np.array(matrix) @ linear(c)) for c in colours]
    return min(np.linalg.norm(a - b) for i, a in enumerate(seen) for b in seen[:i])


def test_every_colour_stands_out_from_white_paper_by_three_to_one_wcag_1_4_11():
    assert contrast("black", "white") == pytest.approx(21)
    assert {c: contrast(c, "white") for c in HOUSE if contrast(c, "white") < 3} == {}


@pytest.mark.parametrize("sight", SEEN)
def test_no_two_colours_look_alike_to_any_eye_machado_2009(sight):
    assert nearest(HOUSE, SEEN[sight]) >= 10  # CIE 1976; 2.3 is just noticeable


def test_the_simulation_sees_a_red_and_a_green_that_deuteranopes_confuse():
    pair = ("#b06a00", "#708c00")
    assert nearest(pair, SEEN["all"]) > 30 > 10 > nearest(pair, SEEN["deuteranopia"])


def test_neighbours_and_the_three_colours_of_a_scorecard_differ_in_grey():
    lightness = {c: lab(linear(c))[0] for c in HOUSE}
    steps = [abs(lightness[a] - lightness[b]) for a, b in zip(figures.PALETTE, figures.PALETTE[1:])]
    trio = (figures.PALETTE[1], figures.QUIET, figures.PALETTE[0])  # detractors, passives, promoters
    steps += [abs(lightness[a] - lightness[b]) for a, b in zip(trio, trio[1:])]
    assert min(steps) >= 10


def test_pages_and_figures_share_colours_and_steps_of_one_type_scale(root):
    style = (root / "cxresearch/runs/templates/style.css").read_text(encoding="utf-8")
    light = dict(re.findall(r"--([\w-]+): (#\w+)", style.split("@media", 1)[0]))
    assert {light["link"], light["finding"]} == {figures.PALETTE[0].lower()} and light["ink"] == figures.PALETTE[
        6
    ].lower()
    assert f"--finding: {figures.PALETTE[5].lower()}" in style.split("prefers-color-scheme: dark")[1]
    scale = {round(1.2**k, 3) for k in (-1, 0, 0.5, 1, 3)}
    sizes = [s for s in re.findall(r"(?:font-size: |--(?:small|section|title): )([\d.]+)rem", style)]
    assert {round(float(s), 3) for s in sizes} <= scale
    assert figures.TITLE / figures.TEXT == 1.2


def test_intervals_are_drawn_first_label_on_top():
    ax = plt.subplots()[1]
    figures.intervals(ax, ["a", "b"], [1.0, 2.0], [0.5, 1.5], [1.5, 2.5])
    assert ax.collections[-1].get_offsets().tolist() == [[1.0, 0.0], [2.0, 1.0]]
    assert ax.get_ylim()[0] > ax.get_ylim()[1]
    assert [t.get_text() for t in ax.get_yticklabels()] == ["a", "b"]
    plt.close("all")


@pytest.mark.parametrize(("version", "scoring"), [(1, "agree"), (2, "agree"), (1, "net"), (2, "net"), (2, "mean")])
def test_the_bars_of_effort_are_coloured_by_the_scoring_that_is_reported(version, scoring):
    answers = np.repeat(
        np.arange(1, 8 if version == 2 else 6), [5, 4, 3, 6, 7] if version == 1 else [3, 2, 4, 5, 6, 8, 7]
    )
    card = cx.effort(pd.DataFrame({"ease": answers}), "ease", version=version, scoring=scoring)
    ax = card.plot()
    drawn_share = {bars.get_label().rsplit(",", 1)[0]: sum(p.get_height() for p in bars) for bars in ax.containers}
    expected = {
        "agree": lambda d: d["counted as easy"] - 100 * card.glance()["estimate"].item(),
        "net": lambda d: d["easy"] - d["hard"] - card.glance()["estimate"].item(),
        "mean": lambda d: d["answers"] - 100,
    }[scoring]
    assert expected(drawn_share) == pytest.approx(0, abs=1e-9)
    plt.close(ax.figure)


# --- the rendering for phones ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", EXPECTED)
def test_a_figure_for_phones_is_narrow_draws_the_same_and_leaves_the_figure_as_it_was(name, survey, monkeypatch):  # noqa: F811
    with matplotlib.rc_context():
        assert not hasattr(MAKERS[name](survey).plot().figure, "again"), "who explores does not wait for it"
        monkeypatch.setenv("CXRESEARCH_RUN", "a run")
        cx.use_theme()
        figure = MAKERS[name](survey).plot().figure
        size, before = figure.get_size_inches().tolist(), drawn(figure.axes[0])
        narrow = figures.for_phones(figure.again)
        narrow.draw_without_rendering()
        assert narrow is not figure and narrow.get_size_inches()[0] == figures.NARROW
        assert narrow.get_tightbbox().width < 1.1 * figures.NARROW
        for ax in narrow.axes:
            for labels in (ax.get_xticklabels(), ax.get_yticklabels()):
                names = [text.get_window_extent() for text in labels if text.get_text()]
                assert not any(one.overlaps(other) for one, other in zip(names, names[1:]))
        assert np.array_equal(drawn(narrow.axes[0]), before) == np.array_equal(drawn(figure.axes[0]), before) is True
        assert figure.get_size_inches().tolist() == size and figures.wrap("a " * 20, 34).count("\n") == 1
        plt.close("all")


@pytest.mark.parametrize("across", [figures.WIDE, figures.NARROW])
def test_names_of_lines_and_dots_do_not_lie_on_one_another(across, monkeypatch):
    monkeypatch.setitem(figures._page, "across", across)
    levels = [4.7, 4.6, 4.62, 4.61, 4.4, 4.3, 4.31, 4.2]
    names = [f"Touchpoint {k}" for k in range(len(levels))]
    rows = [{"wave": wave, "at": level, "name": name} for level, name in zip(levels, names) for wave in "ab"]
    lines = figures.over_waves(pd.DataFrame(rows), "at", by="name")
    dots = figures.axes_or_new(rows=12)
    dots.scatter(x := np.array([1, 2, 3, 4, 1.1, 2.1, 2.2, 4.1]), y := np.array(levels))
    figures.dots_named(dots, x, y, names, [[(a - 0.1, b), (a + 0.1, b)] for a, b in zip(x, y)])
    for ax in (lines, dots):
        ax.figure.draw_without_rendering()
        boxes = [text.get_window_extent() for text in ax.texts]
        assert len(boxes) == len(names) and [text.get_text().replace("\n", " ") for text in dots.texts] == names
        assert not any(one.count_overlaps(boxes[:k]) for k, one in enumerate(boxes))
        assert max(box.x1 for box in boxes) <= ax.figure.bbox.width + 1
    plt.close("all")


def test_a_figure_is_shown_alike_as_often_as_it_is_asked_for_and_nothing_of_it_is_cut():
    from base64 import b64decode
    from io import BytesIO

    from PIL import Image

    table = pd.DataFrame({"a": [1.0, 2.0], "a_low": [0.5, 1.5], "a_high": [1.5, 2.5]})
    ax = figures.forest(table, "a", names=["Alpha", "Beta"], title="Beta is above Alpha")
    ax.text(1.3, 0.5, "beside the axes", transform=ax.transAxes).set_in_layout(True)
    for out in (False, True):  # within the figure, and beyond it
        if out:
            ax.text(2.0, 0.5, "far beside the figure", transform=ax.transAxes)
            ax.figure.set_layout_engine("none")
        (first, size), (_, again) = figures._pictures(ax.figure), figures._pictures(ax.figure)
        assert size["width"] == pytest.approx(again["width"], abs=2)
        picture = np.asarray(Image.open(BytesIO(b64decode(first))).convert("L"))
        edges = (picture[0], picture[-1], picture[:, 0], picture[:, -1])
        assert picture.shape[::-1] == pytest.approx((2 * size["width"], 2 * size["height"]), abs=1)
        assert min(map(np.min, edges)) > 250 and picture.min() < 100


def test_a_figure_without_a_window_is_shown_and_one_that_cannot_be_drawn_keeps_its_size():
    bare = matplotlib.figure.Figure(figsize=(3, 2))
    bare.add_subplot().plot([1, 2])
    picture, told = figures._pictures(bare)
    assert picture and told["width"] > 100 and bare.dpi == matplotlib.rcParams["figure.dpi"]
    bare.axes[0].set_title("$\\nothing$")  # is no mathematics that matplotlib knows
    for _ in range(2):
        with pytest.raises(ValueError, match="nothing"):
            figures._pictures(bare)
    assert bare.dpi == matplotlib.rcParams["figure.dpi"]


def test_the_unit_of_a_narrow_panel_is_not_cut_at_the_edge_of_the_figure():
    table = pd.DataFrame({"a": [1.0, 2.0], "a_low": [0.5, 1.5], "a_high": [1.5, 2.5]})
    unit = "standard deviations from all customers; below: segment and its share"
    names = ["Alpha with a name that takes half of the width", "Beta"]
    ax = figures.forest(table, "a", names=names)
    figures.titled(ax, "Beta is above Alpha", unit)
    _, told = figures._pictures(ax.figure)
    ax.figure.draw_without_rendering()
    right, dpi = ax.unit.get_window_extent().x1, ax.figure.dpi
    assert right > ax.figure.bbox.width, "the case is none"
    left = min(label.get_window_extent().x0 for label in ax.get_yticklabels())
    assert told["width"] >= right - left + 0.1 * dpi


def test_a_heat_map_of_many_rows_and_columns_names_each_of_them():
    many = pd.DataFrame(np.eye(60), [f"row {k}" for k in range(60)], [f"column {k}" for k in range(60)])
    ax = figures.heat_map(many)
    assert len(ax.get_xticklabels()) == len(ax.get_yticklabels()) == 60
    plt.close("all")
