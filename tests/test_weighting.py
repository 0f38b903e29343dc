"""Raking against a published table, a second library, and its own promises."""

import json
import re

import numpy as np
import pandas as pd
import pytest
from estimates import survey_mean

from cxresearch.errors import DataProblem
from cxresearch.findings import GLOSSARY
from cxresearch.metrics import nps
from cxresearch.survey import as_survey
from cxresearch.weighting import rake

COUNTS = np.array([[40, 30, 20, 10], [35, 50, 100, 75], [30, 80, 70, 120], [20, 30, 40, 50]])
ROWS, COLUMNS = dict(enumerate([150, 300, 400, 150])), dict(enumerate([200, 300, 400, 100]))
BOTH = {"row": ROWS, "column": COLUMNS}
TENTHS, SHARES = ({m: {k: v / by for k, v in goal.items()} for m, goal in BOTH.items()} for by in (10, 1000))


READ = [(TENTHS, "percent", 800), (BOTH, "totals", 1000), (SHARES, "shares", 800)]


@pytest.fixture(scope="module")
def table() -> pd.DataFrame:
    row, column = np.indices(COUNTS.shape)
    return pd.DataFrame({name: np.repeat(x.ravel(), COUNTS.ravel()) for name, x in (("row", row), ("column", column))})


def raked_cells(finding, table):
    return finding.augment(table).groupby(["row", "column"])["raked_weight"].sum().unstack()


def test_raked_rows_1_and_4_are_64_56_46_23_35_38_3_82_and_28_75_41_18_63_03_17_03(table):
    cells = raked_cells(rake(table, targets=BOTH), table)
    assert cells.loc[0].round(2).tolist() == [64.56, 46.23, 35.38, 3.82]
    assert cells.loc[3].round(2).tolist() == [28.75, 41.18, 63.03, 17.03]
    assert cells.sum(axis=1).tolist() == pytest.approx([150, 300, 400, 150], abs=0.001)


def test_raking_starts_from_design_weights():
    row, column = np.indices(COUNTS.shape)
    cells = pd.DataFrame({"row": row.ravel(), "column": column.ravel(), "w": COUNTS.ravel()})
    with pytest.warns(UserWarning, match=r"rake: largest weight / smallest weight is 40\.92 \(at most 20\)"):
        finding = rake(as_survey(cells, weight="w"), targets=BOTH)
    assert finding.weights[:4].round(2).tolist() == [64.56, 46.23, 35.38, 3.82]
    assert not finding.checks().set_index("check").loc["largest weight / smallest weight", "ok"]
    assert "Doubtful: largest weight / smallest weight" in finding.sentence()


def test_from_equal_weights_it_agrees_with_weightipy(table):
    weightipy = pytest.importorskip("weightipy")
    theirs = weightipy.weight(table, weightipy.scheme_from_dict(TENTHS, name="w", rim_params={"convcrit": 1e-12}))
    ours = rake(table, targets=BOTH).weights
    assert ours / ours.mean() == pytest.approx(theirs / theirs.mean(), abs=2e-5)


@pytest.mark.parametrize(("targets", "unit", "total"), READ)
def test_shares_and_percent_keep_the_sum_of_the_weights_totals_set_it_and_it_is_said(table, targets, unit, total):
    finding = rake(table, targets=targets)
    assert finding.weights.sum() == pytest.approx(total)
    assert f"targets were read as {unit}" in finding.sentence() and finding.glance()["targets"].item() == unit


def test_a_level_is_the_same_as_number_or_as_text(table):
    as_text = table.assign(row=table["row"].astype(str))
    assert rake(as_text, targets={"row": ROWS}).weights == pytest.approx(rake(table, targets={"row": ROWS}).weights)
    as_floats = {str(k): v for k, v in ROWS.items()}
    assert rake(table.assign(row=table["row"] * 1.0), targets={"row": as_floats}).weights.sum() == pytest.approx(1000)
    with_point = table.assign(row=table["row"].astype(float).astype(str))
    assert rake(with_point, targets={"row": ROWS}).weights == pytest.approx(rake(table, targets={"row": ROWS}).weights)
    for twice in ("1", "1.0", " 1"):
        with pytest.raises(DataProblem, match="^targets of row name ' ?1' twice; name each level once$"):
            rake(table, targets={"row": {**ROWS, twice: 3}})
    below = table.assign(row=(table["row"] - 1).replace(0, "-0.0"))
    assert rake(below, targets={"row": {-1: 150, -0.0: 300, 1: 400, 2: 150}}).weights.sum() == pytest.approx(1000)


@pytest.mark.parametrize("ordered", [True, False])
def test_a_categorical_is_raked_as_its_values_are_whatever_levels_nobody_has(table, ordered):
    held = table.assign(row=pd.Categorical(table["row"], categories=[4, 3, 2, 1, 0], ordered=ordered))
    finding = rake(held, targets={"row": ROWS})
    assert finding.weights == pytest.approx(rake(table, targets={"row": ROWS}).weights)
    assert "raked" in nps(as_survey(finding.augment(held), weight="raked_weight"), "column").glance()["method"].item()
    with pytest.raises(
        DataProblem, match="^row holds 140 rows of level 3 without a target; give every level a target$"
    ):
        rake(held, targets={"row": {k: ROWS[k] for k in range(3)}})


@pytest.mark.parametrize("written", [int, float, str, lambda v: f"{v}.0"])
@pytest.mark.parametrize("held", [int, float, str, lambda v: f" {v}"])
def test_errors_know_about_the_raking_however_its_targets_write_the_levels(held, written):
    rng = np.random.default_rng(6)
    table = pd.DataFrame({"s": rng.integers(0, 11, 300), "g": [held(v) for v in rng.integers(0, 2, 300)]})
    raked = rake(table, targets={"g": {written(0): 0.4, written(1): 0.6}}).augment(table)
    assert "raked" in nps(as_survey(raked, weight="raked_weight"), "s").glance()["method"].item()
    assert json.loads(json.dumps(raked.attrs["raked"])), "a Parquet file keeps what is known of a table as JSON"


def test_the_limit_of_the_margins_is_the_one_that_is_printed(table):
    check = rake(table, targets=BOTH).checks().set_index("check").loc["margins meet their targets"]
    assert check["ok"] and float(check["value"]) < 1e-9 and check["limit"] == "gap below 1e-09"


def test_rows_without_weight_stay_without_and_a_survey_comes_back_weighted(table):
    survey = as_survey(table.assign(w=np.where(table.index % 10 == 0, 0.0, 1.0)), weight="w", min_base=5)
    finding = rake(survey, targets={"row": ROWS})
    raked = finding.augment(survey)
    assert raked.weight == "raked_weight" and raked.min_base == 5 and finding.glance()["n"].item() == 720
    assert not raked.table.loc[raked.table["w"] == 0, "raked_weight"].any()
    assert finding.weights.sum() == pytest.approx(1000)


def test_trimming_rakes_again_until_cap_and_margins_hold(table):
    free = rake(table, targets=BOTH)
    cap = 0.9 * free.weights.max() / free.weights.mean()
    trimmed = rake(table, targets=BOTH, trim=cap)
    assert trimmed.weights.max() / trimmed.weights.mean() <= cap * 1.00001
    assert np.allclose(trimmed.tidy()["after"], trimmed.tidy()["target"], atol=1e-5)
    assert trimmed.glance()["kish_deff"].item() < free.glance()["kish_deff"].item()


def test_the_finding_keeps_the_contract(table):
    finding = rake(table, targets=BOTH)
    assert {"n", "n_effective", "method"} <= set(finding.glance())
    columns = {c for t in (*finding.tables().values(), finding.glance()) for c in t}
    assert columns <= set(GLOSSARY)
    assert finding.sentence().startswith(
        "Raked to row and column in 9 rounds: the largest gap to a target went from 21.9 to 0.0 percentage "
        "points (n = 800)."
    )
    ax, drawn = finding.plot(), 100 * finding.tidy()[["before", "target"]]
    assert ax.get_xlabel().startswith("share of responses, %")
    assert [s[:, 0].tolist() for s in ax.collections[0].get_segments()] == drawn.to_numpy().tolist()


REFUSED = {
    "row: target level 9 has no respondents; merge it with a neighbouring level, or drop it": {"row": {**ROWS, 9: 10}},
    "row holds 140 rows of level 3 without a target; give every level a target": {"row": {k: ROWS[k] for k in range(3)}},
    "targets of row add up to 1000, those of column to 1100; give all margins the same total": {
        "row": ROWS, "column": {**COLUMNS, 0: 300}
    },
    "targets of row: every target must be a number of zero or more; found {0: -1, 1: 300, 2: 400, 3: 150}": {
        "row": {**ROWS, 0: -1}
    },
    "targets is empty; give at least one margin, for example {'region': {'north': 0.4, 'south': 0.6}}": {},
    "responses has no column 'rows'; did you mean 'row'?": {"rows": ROWS},
}  # fmt: skip


@pytest.mark.parametrize(("message", "targets"), REFUSED.items())
def test_targets_that_cannot_be_met_are_refused(table, message, targets):
    with pytest.raises(DataProblem, match=f"^{re.escape(message)}$"):
        rake(table, targets=targets)


def test_missing_margins_and_bad_design_weights_are_refused(table):
    message = "^row is missing in 1 of 800 rows; give them a level with a target, or drop the rows$"
    with pytest.raises(DataProblem, match=message):
        rake(table.assign(row=table["row"].where(table.index > 0)), targets={"row": ROWS})
    message = (
        "^w is missing, negative or not a number in 1 of 800 answered rows .first: row 0.; give every row a weight"
    )
    with pytest.raises(DataProblem, match=message):
        rake(as_survey(table.assign(w=np.where(table.index > 0, 1.0, -1.0)), weight="w"), targets={"row": ROWS})
    message = "^trim=1 must be more than 1, for example 5: no weight above five times the mean$"
    with pytest.raises(DataProblem, match=message):
        rake(table, targets={"row": ROWS}, trim=1)


def test_targets_that_contradict_each_other_do_not_converge():
    table = pd.DataFrame({"a": [0, 0, 1, 1], "b": [0, 0, 1, 1]})
    told = r"^raking did not converge in 1000 rounds \(largest gap \S+ percentage points\); merge small levels, drop a margin$"
    with pytest.raises(DataProblem, match=told):
        rake(table, targets={"a": {0: 0.5, 1: 0.5}, "b": {0: 0.9, 1: 0.1}})


def test_a_margin_itself_has_no_error_after_raking_to_it():
    rng = np.random.default_rng(3)
    n = 400
    promoter = rng.random(n) < 0.5
    table = pd.DataFrame({"s": np.where(promoter, 10, 3), "p": promoter.astype(int)})
    raked = rake(table, targets={"p": {0: 0.4, 1: 0.6}}).augment(table)
    found = nps(as_survey(raked, weight="raked_weight"), "s").tidy().iloc[0]
    assert found["estimate"] == pytest.approx(20) and found["std_error"] == pytest.approx(0, abs=1e-6)
    raked.attrs.clear()
    assert nps(as_survey(raked, weight="raked_weight"), "s").tidy()["std_error"].item() > 4


def test_a_part_of_a_raked_table_counts_its_weights_as_fixed():
    rng = np.random.default_rng(4)
    table = pd.DataFrame({"s": rng.integers(0, 11, 600), "g": rng.integers(0, 2, 600)})
    raked = rake(table, targets={"g": {0: 0.3, 1: 0.7}}).augment(table)
    assert "raked" in nps(as_survey(raked, weight="raked_weight"), "s").glance()["method"].item()
    part = raked[raked["g"] == 0]
    assert "raked" not in nps(as_survey(part, weight="raked_weight"), "s").glance()["method"].item()


def raked_coverage(replicates: int, seed: int) -> tuple[float, float]:
    """Return how often linearised-after-raking and weights-as-fixed intervals cover the truth."""
    rng = np.random.default_rng(seed)
    promoters, detractors = np.array([0.7, 0.45, 0.2]), np.array([0.1, 0.2, 0.5])
    population = np.array([0.3, 0.4, 0.3])
    truth = population @ (promoters - detractors)
    hits = np.zeros(2)
    for _ in range(replicates):
        g = rng.choice(3, 300, p=[0.5, 0.3, 0.2])
        u = rng.random(300)
        v = (u < promoters[g]).astype(float) - (u > 1 - detractors[g])
        w = population[g] / np.bincount(g, minlength=3)[g]
        mean = w @ v
        group_mean = np.bincount(g, w * v) / np.bincount(g, w)
        for i, centre in enumerate((group_mean[g], mean)):
            error = np.sqrt(300 / 299 * np.sum((w * (v - centre)) ** 2))
            hits[i] += abs(mean - truth) < 1.968 * error
    return tuple(hits / replicates)


def test_errors_that_know_about_the_raking_are_those_of_residuals_not_of_fixed_weights():
    residual, fixed = raked_coverage(2000, 1)
    assert 0.925 < residual < 0.975 and fixed > residual
    rng = np.random.default_rng(5)
    table = pd.DataFrame({"g": rng.choice(3, 300, p=[0.5, 0.3, 0.2])})
    table["s"] = np.where(rng.random(300) < np.array([0.7, 0.45, 0.2])[table["g"]], 10, 5)
    raked = rake(table, targets={"g": {0: 0.3, 1: 0.4, 2: 0.3}}).augment(table)
    v, w = np.where(raked["s"] == 10, 1.0, -1.0), raked["raked_weight"].to_numpy()
    centred = v - (raked.assign(v=v).groupby("g")["v"].transform("mean").to_numpy())
    expected = 100 * np.sqrt(survey_mean(centred, weights=w).covariance[0, 0])
    found = nps(as_survey(raked, weight="raked_weight"), "s").tidy()["std_error"].item()
    assert found == pytest.approx(expected, rel=1e-6)
