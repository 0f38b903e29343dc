"""What every analysis of drivers refuses, word for word, and the kinds of column that it takes as they come."""

import re

import numpy as np
import pandas as pd
import pytest
from drivers_calls import asked

import cxresearch as cx
from cxresearch.errors import DataProblem

DRIVERS = ["d1", "d2", "d3", "d4"]
I = np.arange(400)  # noqa: E741
PLAIN = dict(outcome="y", drivers=DRIVERS, n_boot=100, seed=1)
RISE = dict(improve={"d1": 1}, scales=dict.fromkeys([*DRIVERS, *range(4)], (1, 10)) | {"y": (-20, 40)})
CALLS = {
    "driver_importance": lambda t, **k: asked("driver_importance")(t, **(PLAIN | k)),
    "compare_drivers": lambda t, **k: asked("compare_drivers")(t, **(PLAIN | {"by": "g"} | k)),
    "penalty_reward": lambda t, **k: asked("penalty_reward")(t, **(PLAIN | k)),
    "halo_check": lambda t, **k: asked("halo_check")(t, **(PLAIN | k)),
    "importance_performance": lambda t, **k: asked("importance_performance")(t, **(PLAIN | k)),
    "simulate_improvement": lambda t, **k: asked("simulate_improvement")(t, **(PLAIN | RISE | k)),
}
every = pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)


def survey() -> pd.DataFrame:
    rng = np.random.default_rng(1)
    x = np.clip(np.round(6 + 2 * (0.6 * rng.normal(size=(400, 1)) + 0.8 * rng.normal(size=(400, 4)))), 1, 10)
    t = pd.DataFrame(x, columns=DRIVERS).assign(g=np.where(I % 2, "b", "a"))
    return t.assign(y=t["d1"] + 0.5 * t["d2"] + rng.normal(size=400))


def refused(call, message, table, **options):
    with pytest.raises(DataProblem, match="^" + re.escape(message) + "$"):
        call(table, **options)


@every
def test_a_question_that_names_columns_wrongly(call):
    t = survey()
    twice = "'d1' is named twice among drivers= and always=; name each driver once"
    both = "'y' is the outcome and a driver at once; take it off drivers= and always="
    refused(call, "responses has no column 'd22'; did you mean 'd2'?", t, drivers=["d1", "d22", "d3", "d4"])
    refused(call, "responses has no column 'Y'; did you mean 'y'?", t, outcome="Y")
    refused(call, twice, t, drivers=["d1", "d1", "d2", "d3"])
    refused(call, both, t, drivers=["d1", "y"])
    refused(call, "the survey has no column 'wieght'", t, weight="wieght")
    refused(call, "responses has no rows", t[:0])
    refused(call, "a survey must be a table with named columns; found ndarray", t.to_numpy())
    same = pd.concat([t, t[["d1"]]], axis=1)
    refused(call, "responses has 2 columns named 'd1'; rename or drop all but one", same)


@every
def test_chance_without_a_seed_or_with_a_strange_number_of_replicates(call):
    t = survey()
    seedless = "the bootstrap is random: give a seed, for example seed=1, or n_boot=0 for no interval"
    few = "n_boot=-5 replicates are too few for an interval; ask for at least 100, or 0 for none"
    refused(call, seedless, t, seed=None)
    refused(call, few, t, n_boot=-5)
    refused(call, "n_boot=100.5 must be a whole number of replicates", t, n_boot=100.5)
    refused(call, "confidence=95 must lie between 0 and 1, for example 0.95", t, confidence=95)


ONE = {name: call for name, call in CALLS.items() if name != "compare_drivers"}  # that one names the group before


@pytest.mark.parametrize("call", ONE.values(), ids=ONE)
def test_columns_that_cannot_be_read(call):
    t = survey()
    tail = "; declare them as missing codes in study.yml, or convert the column to numbers"
    loose = "'d1' holds numbers as categories without an order; give the categories an order, or convert the column to numbers"
    refused(call, "'d1' holds numbers stored as text ('6')" + tail, t.assign(d1="6"))
    mixed = t.assign(d1=t["d1"].astype(object).where(I > 0, "none"))
    refused(call, "'d1' holds 1 text value(s) ('none': 1)" + tail, mixed)
    day = pd.Timestamp("2024-01-01")
    refused(call, "'d1' holds dates; take the column off, or convert the column to numbers", t.assign(d1=day))
    refused(call, "'d1' holds 1 infinite value(s); make them missing", t.assign(d1=t["d1"].where(I > 0, np.inf)))
    refused(call, loose.replace("d1", "y"), t.assign(y=pd.Categorical(t["d1"])))
    nobody = "'d2' is answered by nobody among the 400 rows that answered the outcome; leave it out"
    refused(call, nobody, t.assign(d2=np.nan))
    refused(call, "no row of 400 answered 'y' and can be used", t.assign(y=np.nan))
    refused(call, "all 400 answers to the outcome are 7; there is no variance to divide", t.assign(y=7))


@pytest.mark.parametrize("call", ONE.values(), ids=ONE)
def test_designs_that_cannot_be_used(call):
    t = survey()
    gaps = (
        "w is missing, negative or not a number in 3 of 400 answered rows (first: row 0); give every row a weight of "
        "zero or more, or drop the row"
    )
    alone = (
        "'c' as cluster: the 400 rows are one cluster, so nothing says how clusters vary; take a finer cluster, or "
        "leave cluster= out"
    )
    refused(call, gaps, t.assign(w=np.where(I < 3, np.nan, 1)), weight="w")
    refused(call, "responses: none of 400 rows holds an answer and a weight", t.assign(w=0), weight="w")
    refused(call, alone, t.assign(c=1), cluster="c")
    refused(
        call, alone.replace("one cluster", "one cluster in each stratum"), t.assign(c=I % 2), cluster="c", strata="c"
    )
    fraction = "fpc: sampling fractions must lie between 0 and 1; divide the sample by the population of its stratum"
    refused(call, fraction, t.assign(f=2.0), fpc="f")


def test_a_scale_s_items_and_design_are_refused_alike():
    t = survey().assign(c=1)
    with pytest.raises(DataProblem, match="^'c' as cluster: the 400 rows are one cluster, so nothing says"):
        cx.scale_reliability(cx.as_survey(t, cluster="c"), scales={"s": DRIVERS}, seed=1)
    with pytest.raises(DataProblem, match="^'d1' holds dates; take the column off, or convert the column to numbers$"):
        cx.scale_reliability(t.assign(d1=pd.Timestamp("2024-01-01")), scales={"s": DRIVERS})


def test_compare_drivers_names_the_group_and_what_it_lacks():
    t = survey()
    call = CALLS["compare_drivers"]
    numbers = t.assign(g=I % 2, d1=t["d1"].where(I != 1, np.inf))
    refused(call, "g = 1: 'd1' holds 1 infinite value(s); make them missing", numbers)
    assert call(t.assign(d2=np.nan)).sentence() == (
        "The drivers of y are not compared: of 2 group(s) of g, 0 can be analysed, and two are needed (g = 'a': 'd2' "
        "is answered by nobody among the 200 rows that answered the outcome; leave it out); n = 400."
    )


@pytest.mark.parametrize("name", [n for n in CALLS if n != "simulate_improvement"])
@pytest.mark.parametrize(
    "kind",
    [
        lambda d: d.astype("Int64"),
        lambda d: d.astype("Float64"),
        lambda d: d.astype("double[pyarrow]"),
        lambda d: d.astype(int).astype(object),
        lambda d: pd.Series(pd.Categorical(d.astype("Int64"), ordered=True)),
    ],
    ids=["Int64", "Float64", "pyarrow", "object", "ordered categories"],
)
def test_numbers_of_any_kind_are_numbers(name, kind):
    """A column type changes nothing, skipped answers included."""
    t, missing = survey(), dict(drivers=DRIVERS[:3] + ["d4"])
    as_floats = t.assign(d1=t["d1"].where(I > 5))
    as_given = t.assign(d1=kind(t["d1"]).where(I > 5) if name else None)
    first, second = (CALLS[name](table, **missing).tidy() for table in (as_floats, as_given))
    pd.testing.assert_frame_equal(first, second)


def test_yes_and_no_are_one_and_zero_and_ordered_words_are_categories():
    t = survey()
    ask = CALLS["driver_importance"]
    as_numbers, as_bool = (ask(t.assign(d1=(t["d1"] > 6).astype(k))).tidy() for k in (float, bool))
    pd.testing.assert_frame_equal(as_numbers, as_bool)
    words = pd.cut(t["d1"], [0, 4, 7, 11], labels=["bad", "fair", "good"])
    found = ask(t.assign(d1=words)).tidy().set_index("term")
    assert found.loc["d1", "direction"] == "several columns"
    loose = ask(t.assign(d1=words.cat.rename_categories([1, 2, 3]).astype("category").cat.as_unordered())).tidy()
    np.testing.assert_allclose(found["estimate"], loose["estimate"])


def test_columns_may_have_numbers_as_names_and_labels_may_be_missing():
    t = survey().rename(columns={d: k for k, d in enumerate(DRIVERS)})
    named = dict(drivers=[0, 1, 2, 3], labels={0: "First", "0": "First"})
    assert "First" in CALLS["driver_importance"](t, **named).sentence()
    assert "First" in CALLS["simulate_improvement"](t, **named, improve={0: 1}).sentence()


def test_few_clusters_are_a_failed_check():
    checks = CALLS["driver_importance"](survey().assign(c=I // 40), cluster="c").checks().set_index("check")
    assert checks.loc["clusters less strata", "value"] == 9 and not checks.loc["clusters less strata", "ok"]
