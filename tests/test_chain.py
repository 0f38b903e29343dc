"""The service-profit chain: published numbers, planted truths, nulls, refusals."""

import time

import numpy as np
import pandas as pd
import pytest
from proofs import covered, draws, hits, seldom

import cxresearch as cx
from cxresearch.chain import RUN_LENGTH, _signals, chance_limit, product_interval

RAIL = [(55, 53, 54), (26, 37, 32), (78, 91, 85), (92, 100, 96), (49, 51, 50), (80, 85, 83)]
TARGETS = [(9, 2, 5, 8), (6, 1, 3, 2), (8, 4, 6, 8), (7, 1, 2, 6), (10, 5, 6, 9), (6, 2, 4, 7)]
ORDER = dict(cause="x", outcome="y", unit="unit", period="period")
CHAIN = dict(unit="unit", period="period", seed=1)
AGENTS = dict(score="score", agent="agent")


def long(groups) -> pd.DataFrame:
    return pd.DataFrame([(str(g + 1), v) for g, row in enumerate(groups) for v in row], columns=["agent", "score"])


def panel(rng, units=60, periods=8, *, ahead=0.0, lasting=0.0, now=0.0) -> pd.DataFrame:
    """Units over periods: what the cause adds to the outcome of the next period or of its own; what lies behind both."""
    trait, x = lasting * rng.normal(size=(units, 1)), rng.normal(size=(units, periods))
    y = rng.normal(size=(units, periods)) + now * x + ahead * np.hstack([np.zeros((units, 1)), x[:, :-1]])
    unit, period = np.indices((units, periods)).reshape(2, -1)
    return pd.DataFrame({"unit": unit, "period": period, "x": (x + trait).ravel(), "y": (y + trait).ravel()})


def contacts(rng, sd, *, agents=30, hard=0.0) -> pd.DataFrame:
    """Ratings of agents with planted means; topics that are `hard` go to the first agents more often."""
    who = np.repeat(np.arange(agents), rng.integers(10, 40, agents))
    topic = rng.random(len(who)) < np.where(who < agents / 2, 0.7, 0.2)
    score = 5 + rng.normal(0, sd, agents)[who] - hard * topic + rng.normal(0, 1.2, len(who))
    return pd.DataFrame({"agent": who, "topic": topic, "score": score})


def shops(rng, sd=0.0, k=40, times=1.0) -> pd.DataFrame:
    """Shares of shops whose true shares differ by `sd`, or whose chance errors are so many times as large."""
    n = rng.integers(40, 400, k)
    share = rng.binomial(n, np.clip(0.2 + rng.normal(0, sd, k), 0, 1)) / n
    return pd.DataFrame({"shop": np.arange(k), "n": n, "share": np.clip(0.2 + times * (share - 0.2), 0, 1)})


FUNNEL = dict(value="share", base="n", unit="shop", kind="share")

# --- published numbers -----------------------------------------------------------------------------------------------


def test_rail_of_pinheiro_and_bates_2000():
    found = cx.agent_consistency(long(RAIL), min_ratings=3, **AGENTS)
    g, league = found.glance().iloc[0], found.tidy().set_index("group")
    blups = [-12.3915, -34.5309, 18.0089, 29.2439, -16.3567, 16.0263]
    assert (g["sd_between"], g["sd_within"]) == pytest.approx((24.80546, 4.020779), rel=1e-6)
    assert list(league["estimate"][list("123456")] - 66.5) == pytest.approx(blups, abs=5e-5)
    assert g["sd_between"] ** 2 / (g["sd_between"] ** 2 + g["sd_within"] ** 2) == pytest.approx(0.97440, abs=5e-6)
    assert list(league.index) == ["4", "3", "6", "1", "5", "2"], "the best first"


def test_one_rater_of_shrout_and_fleiss_1979_and_its_interval():
    g = cx.unit_reliability(long(TARGETS), item="score", unit="agent", min_answers=4).glance().iloc[0]
    assert (g["icc"], g["icc_low"], g["icc_high"]) == pytest.approx((0.1657, -0.1329, 0.7226), abs=6e-5)
    assert g["icc_mean"] == pytest.approx(0.4428, abs=5e-5) and not g["established"]


def test_dyestuff_and_its_f_interval(oracles):
    table = pd.read_csv(oracles / "dyestuff.csv").rename(columns=str.lower)
    g = cx.unit_reliability(table, item="yield", unit="batch", min_answers=5).glance().iloc[0]
    assert (g["icc_low"], g["icc_high"], g["icc_mean"]) == pytest.approx((0.0839, 0.8479, 0.78253), abs=1e-4)
    assert (g["sd_between"] ** 2, g["sd_within"] ** 2) == pytest.approx((1764.05, 2451.25), rel=1e-5)


def test_means_with_n_and_sd_tell_what_their_answers_tell():
    rng = np.random.default_rng(3)
    rows = pd.DataFrame({"unit": np.repeat(np.arange(12), rng.integers(10, 24, 12))})
    rows["score"] = rng.normal(0, 0.5, 12)[rows["unit"]] + rng.normal(4, 1, len(rows))
    means = rows.groupby("unit")["score"].agg(["mean", "std", "size"]).reset_index().assign(period=1)
    whole = cx.unit_reliability(rows, item="score", unit="unit")
    asked = dict(item="mean", unit="unit", period="period")
    found = cx.unit_reliability(means, n="size", sd="std", **asked)
    pd.testing.assert_series_equal(found.glance().iloc[0], whole.glance().iloc[0], check_names=False)
    with pytest.raises(cx.DataProblem, match="the table of means: unit 0 stands twice in one period; keep one row"):
        cx.unit_reliability(pd.concat([means, means]), n="size", sd="std", **asked)
    later = means.assign(period=2, mean=means["mean"] + np.linspace(0, 0.1, 12))
    bare = cx.unit_reliability(pd.concat([means, later]), **asked)
    assert bare.sentence().startswith("How reliable a mean of mean by unit is, is unknown:")
    assert bare.established is False


def test_the_indirect_part_of_preacher_and_hayes_2004():
    slopes = {"estimate": 0.81857, "std_error": 0.29902}, {"estimate": 0.40389, "std_error": 0.18081}
    found = product_interval(*slopes, n_boot=500_000, confidence=0.95, seed=1)
    assert found == pytest.approx((0.0199, 0.7845), abs=0.006)


@pytest.mark.parametrize("n, low, high", [(50, -0.0161, 0.2401), (100, 0.0142, 0.1984), (400, 0.0554, 0.1478)])
def test_funnel_limits_of_spiegelhalter_2005(n, low, high):
    found = [chance_limit("share", 0.1, np.array([n]), None, tail)[0] for tail in (0.001, 0.999)]
    assert found == pytest.approx([low, high], abs=6e-5)


@pytest.mark.parametrize("rules, published", [((1,), 370.4), ((1, 2), 225.4), ((1, 4), 152.7), ((1, 2, 3, 4), 91.75)])
@draws(200, 5_000)
def test_run_lengths_of_champ_and_woodall_1987(draws, rules, published):
    assert RUN_LENGTH[rules] == pytest.approx(published, abs=0.05)
    rng, lengths = np.random.default_rng(5), []
    for _ in range(draws):
        signal = np.flatnonzero(_signals(rng.standard_normal(2500), rules) != "none")
        lengths.append(signal[0] + 1 if len(signal) else 2500)
    assert np.mean(lengths) == pytest.approx(published, abs=3 * published / np.sqrt(draws))


@pytest.mark.parametrize("kind, low, high", [("share", 0.0524, 0.4102), ("rate", 6.484, 33.216)])
def test_charts_of_montgomery(kind, low, high):
    """p chart of samples of 50 with a mean of .2313; c chart of single units with a mean of 19.85."""
    table, baseline = pd.DataFrame({"t": range(26), "v": [19.85 + (-1) ** i for i in range(26)]}), 20
    if kind == "share":
        table, baseline = pd.DataFrame({"t": np.repeat(np.arange(40), 50), "v": 0.0}), 39
        table.loc[np.random.default_rng(1).choice(1950, round(0.2313 * 1950), replace=False), "v"] = 1.0
    found = cx.process_chart(table, value="v", period="t", kind=kind, baseline=baseline).tidy().iloc[-1]
    assert (found["limit_low"], found["limit_high"]) == pytest.approx((low, high), abs=5e-4)


@pytest.mark.parametrize("level, alpha", [("nominal", 0.7434), ("ordinal", 0.8154), ("interval", 0.8491)])
def test_four_coders_of_krippendorff_2011(level, alpha):
    coders = ["123321412...", "1233224125.3", ".3332342251.", "1233244125 1.".replace(" ", "")]
    rows = [(r, k, int(m)) for r, line in enumerate(coders) for k, m in enumerate(line) if m != "."]
    sheet = pd.DataFrame(rows, columns=["coder", "case", "mark"])
    found = cx.rater_agreement(sheet, item="mark", rater="coder", case="case", level=level, n_boot=200, seed=1)
    assert found.tidy()["estimate"].item() == pytest.approx(alpha, abs=5e-5)
    assert found.glance()["n"].item() == 11, "the case of one coder tells nothing"


def test_nhs_trusts_give_the_sentence_that_engagement_first_is_not_established(shared):
    asked = dict(cause="engagement", outcome="mortality", unit="trust", period="year")
    raw = pd.read_csv(shared / "data/employees/nhs_trusts.csv").dropna(subset=["Year.index"])
    named = {"Code": "trust", "Year.index": "year", "Engagement.index": "engagement", "SHMI.index": "mortality"}
    rows = raw.rename(columns=named)
    found = cx.lead_lag_units(rows, **asked)
    unclear = "That engagement comes before mortality is not established in 142 units. It goes with the period before"
    assert found.sentence().startswith(unclear) and found.established is False
    assert "The reverse, given the past, is established as well: -0.05" in found.sentence()
    # with the year before and after that each row of the file names, the table of the study comes back
    parts = [raw.assign(trust=raw["Code"], year=raw["Year.index"] + by, engagement=raw[f"Engagement.{at}"],
                        mortality=raw[f"SHMI.{at}"]) for by, at in ((0, "index"), (-1, "before"), (1, "after"))]  # fmt: skip
    whole = pd.concat(parts).groupby(["trust", "year"], as_index=False)[["engagement", "mortality"]].first()
    r = cx.lead_lag_units(whole, **asked).tidy().set_index("term")
    page = {"same period": -0.215, "next period": -0.208, "period before (lead)": -0.220, "within units": -0.013,
            "next period, given the present": -0.021, "reverse: cause later, given its present": -0.047}  # fmt: skip
    assert list(r["estimate"][list(page)]) == pytest.approx(list(page.values()), abs=0.02)
    assert r.loc["between units", "conf_high"] < 0 < r.loc["within units", "conf_high"]
    assert rows[["engagement", "mortality"]].corr().iloc[0, 1] == pytest.approx(-0.148, abs=5e-4)
    stable = cx.unit_reliability(rows, item="engagement", unit="trust", period="year").glance().iloc[0]
    assert (stable["icc"], stable["icc_mean"]) == pytest.approx((0.395, 0.790), abs=0.005)


def test_the_example_company_s_links_are_those_of_its_page(root):
    study, steps = cx.open_study(root / "data/example/study.yml"), ["engagement", "staff", "satisfaction", "profit"]
    made = cx.unit_panel(study.employees, study.described(study.responses), items=steps[1:3], answers_unit="branch")
    found = cx.service_profit_chain(made, steps=steps, lag=0, **CHAIN).tidy()
    assert len(made) > 60 and found["estimate"].iloc[:3].between(0.3, 0.75).all()


# --- planted truths and nulls ----------------------------------------------------------------------------------------


@draws(60, 10_000)
def test_the_sd_of_agents_is_covered_whatever_topics_they_get(draws):
    def one(rng):
        g = cx.agent_consistency(contacts(rng, 0.5, hard=1.0), case_mix=["topic"], **AGENTS).summary
        return g["sd_between_low"] <= 0.5 <= g["sd_between_high"]

    assert covered(hits(draws, one), draws)


def test_agents_who_are_alike_differ_only_by_their_topics():
    table = contacts(np.random.default_rng(2), 0.0, agents=40, hard=1.5)
    raw, fair = (cx.agent_consistency(table, case_mix=mix, worth_acting_on=0.3, **AGENTS) for mix in ([], ["topic"]))
    assert raw.sentence().startswith("Agents do not serve alike in score: true means differ by")
    assert fair.sentence().startswith("Agents serve alike in score: they differ by") and fair.established is True
    unsure = cx.agent_consistency(table, case_mix=["topic"], **AGENTS)
    assert unsure.sentence().startswith("Whether agents serve alike in score is not known")
    assert unsure.established is False


def test_one_contact_s_ratings_count_once_and_those_of_no_known_contact_each():
    table = contacts(np.random.default_rng(4), 0.5).assign(contact=lambda t: [None, None, *t.index[2:]])
    twice = pd.concat([table, table[3::3]], ignore_index=True)
    found = cx.agent_consistency(twice, occasion="contact", **AGENTS)
    pd.testing.assert_frame_equal(found.tidy(), cx.agent_consistency(table, **AGENTS).tidy())
    assert found.checks()["value"][0] == len(table[3::3])


@draws(40, 5_000)
@pytest.mark.parametrize("units", [60, 32])
def test_what_goes_ahead_is_covered_and_the_reverse_is_a_null(draws, units):
    inside, reverse = [], []
    for k in range(draws):
        made = panel(np.random.default_rng([11, k]), units, 6, ahead=0.6)
        r = cx.lead_lag_units(made, **ORDER).table.set_index("term")
        truth = 0.6 * made["x"].std() / made["y"].std()
        low, high = r.loc["next period, given the present", ["conf_low", "conf_high"]]
        inside.append(low <= truth <= high)
        reverse.append(r.loc["reverse: cause later, given its present", "p_value"] < 0.05)
    assert covered(np.mean(inside), draws) and seldom(np.mean(reverse), draws)


@pytest.mark.parametrize("truth, units, established, said", [
    (dict(ahead=0.6), 60, True, "x goes before y: 0."),
    (dict(lasting=1.0), 60, False, "That x comes before y is not established in 60 units. It goes with the period before"),
    (dict(ahead=0.6), 20, False, "Description only, 20 units and at least 30 are needed"),
    (dict(now=0.6), 60, True, "x and y move together within units"),
])  # fmt: skip
def test_first_only_in_the_next_period_and_where_the_lead_is_nothing(truth, units, established, said):
    found = cx.lead_lag_units(panel(np.random.default_rng(4), units, **truth), **ORDER)
    assert found.sentence().startswith(said) and found.established is established


def test_thousands_of_units_take_seconds():
    made, start = panel(np.random.default_rng(1), 6000, 3), time.process_time()
    assert cx.lead_lag_units(made, **ORDER).glance()["units"].item() == 6000
    assert time.process_time() - start < 10, "errors by unit must not ask each pair of units"


@draws(40, 2_000)
def test_nothing_goes_first_and_no_chain_holds_where_nothing_is_planted(draws):
    def one(rng):
        made = panel(rng, 40, 4).assign(z=rng.normal(size=160))
        chain = cx.service_profit_chain(made, steps=["x", "z", "y"], **CHAIN)
        return np.array([cx.lead_lag_units(made, **ORDER).established, chain.established])

    alarms = np.mean([one(np.random.default_rng([7, k])) for k in range(draws)], axis=0)
    assert all(seldom(share, draws) for share in alarms)


def test_links_are_corrected_for_what_is_known_of_reliability():
    made = panel(np.random.default_rng(5), ahead=0.8)
    made["z"] = made["y"] + np.random.default_rng(6).normal(0, 1, len(made))
    raw, known, noisy = (
        cx.service_profit_chain(made, steps="xyz", reliability=trust, **CHAIN)
        for trust in (None, {"x": 0.8, "y": 0.9}, {"x": 0.5, "y": 0.9})
    )
    first = known.tidy().iloc[0]
    assert first["corrected"] == pytest.approx(first["estimate"] / np.sqrt(0.72))
    assert raw.sentence().startswith("All 2 links hold between 60 units") and raw.tidy()["corrected"].isna().all()
    assert raw.sentence().endswith("no correlation is corrected for it.") and raw.established is True
    assert noisy.established is False and noisy.sentence().endswith("Reliability of x is under 0.6: too noisy to link.")


def test_columns_may_have_any_name_and_a_step_named_twice_is_one():
    made = panel(np.random.default_rng(5), ahead=0.8).rename(columns={"x": "mood", "y": "sales"})
    odd = made.assign(x=1.0, y="none", own=0, apart="a")
    asked = dict(unit="unit", period="period")
    kept = made.assign(period=made["period"].astype("category"))  # one of which has no period before it
    alone, beside = (cx.lead_lag_units(t, cause="mood", outcome="sales", **asked) for t in (made, odd))
    pd.testing.assert_frame_equal(alone.tidy(), beside.tidy())
    pd.testing.assert_frame_equal(cx.lead_lag_units(kept, cause="mood", outcome="sales", **asked).tidy(), alone.tidy())
    named = odd.rename(columns={"mood": "apart", "sales": "x", "apart": "mood", "x": "sales"})
    pd.testing.assert_frame_equal(cx.lead_lag_units(named, cause="apart", outcome="x", **asked).tidy(), alone.tidy())
    once, twice = (
        cx.service_profit_chain(made, steps=s, **CHAIN) for s in (["mood", "sales"], ["mood", "mood", "sales"])
    )
    pd.testing.assert_frame_equal(once.tidy(), twice.tidy())
    assert twice.sentence().startswith("All 1 links hold")


def test_week_2_comes_before_week_10_in_chains_panels_and_charts():
    made = panel(np.random.default_rng(5), periods=12, ahead=0.8)
    weeks = made.assign(period=[f"week {p + 1}" for p in made["period"]])
    both = (
        [cx.lead_lag_units(t, **ORDER) for t in (made, weeks)],
        [cx.service_profit_chain(t, steps="xy", **CHAIN) for t in (made, weeks)],
    )
    answers = cx.as_survey(made.loc[made.index.repeat(12), ["unit", "period", "y"]], wave="period")
    joined = cx.unit_panel(made.drop(columns="y"), answers, items=["y"])  # its periods are text
    for one, other in (*both, (both[0][0], cx.lead_lag_units(joined, **ORDER))):
        pd.testing.assert_frame_equal(one.tidy(), other.tidy())
    table = made.assign(t=made["period"] + 1, who=np.where(made["unit"] < 30, "a", "b"))
    asked = dict(value="x", period="t", by="who", baseline=6)
    charts = [cx.process_chart(t, **asked).tidy() for t in (table, table.assign(t=[f"week {t}" for t in table["t"]]))]
    pd.testing.assert_frame_equal(*(chart.drop(columns="wave") for chart in charts))
    assert list(charts[1]["wave"][:3]) == ["week 1", "week 2", "week 3"]


@pytest.mark.parametrize("name", ["mean", "std", "size", "n", "estimate", "wave", "group", "centre", "alarm"])
def test_a_chart_s_columns_may_have_any_name(name):
    table = pd.DataFrame({"t": np.repeat(np.arange(9), 20), "v": np.random.default_rng(1).normal(size=180)})
    table, asked = table.assign(who=np.tile(list("ab"), 90)), dict(value="v", period="t", by="who")
    plain = cx.process_chart(table, baseline=6, rules=1, **asked)
    assert set(plain.tidy()["group"]) == {"a", "b"}
    for role, column in asked.items():
        other = cx.process_chart(table.rename(columns={column: name}), baseline=6, **asked | {role: name})
        pd.testing.assert_frame_equal(other.tidy(), plain.tidy())
    with pytest.raises(cx.DataProblem, match="no chart has two or more baseline periods"):
        cx.process_chart(table, baseline=6, **asked | {"by": "t"})


def test_a_link_of_few_units_makes_the_whole_chain_a_description():
    made = panel(np.random.default_rng(5), ahead=0.8).assign(z=lambda t: (t["y"] + t["x"]).where(t["unit"] < 20))
    found = cx.service_profit_chain(made, steps="xyz", **CHAIN | {"lag": 0})
    assert (
        found.sentence().startswith("Description only, 20 units and at least 30 are needed") and not found.established
    )


def monthly(rng):
    table = pd.DataFrame({"t": np.repeat(np.arange(24), 25), "v": rng.normal(4, 1, 600)})
    return cx.process_chart(table, value="v", period="t", baseline=12, rules=(1, 2, 4))


@draws(60, 5_000)
@pytest.mark.parametrize("made", [
    lambda rng: cx.funnel(shops(rng), **FUNNEL), lambda rng: cx.funnel(shops(rng, 0.03), **FUNNEL), monthly,
    lambda rng: cx.funnel(shops(rng, times=1.4), dispersion="multiplicative", **FUNNEL),
])  # fmt: skip
def test_a_unit_like_the_rest_and_a_stable_process_are_seldom_named(draws, made):
    assert seldom(hits(draws, lambda rng: made(rng).established), draws, 0.015)


def test_an_outlier_does_not_hide_itself_in_the_spread():
    table = shops(np.random.default_rng(3), 0.03)
    table.loc[7, ["share", "n"]] = 0.6, 200
    found = cx.funnel(table, **FUNNEL)
    assert found.sentence().startswith(
        "7 lies outside what its base and the common spread allow; 1 of 40 units do (Holm)."
    )
    assert (found.tidy()[["limit2_low", "limit3_low"]] >= 0).all(axis=None)


@pytest.mark.parametrize("things", [1, 2, 3, 6, 7])
@pytest.mark.parametrize("sds, times", [(3, 1), (2, 2), (1, 6), (0, 9)])
def test_a_point_on_a_line_is_not_beyond_it_whatever_its_last_digit(sds, times, things):
    """Counts of periods of so many things: their sd is the root of the mean count."""
    for root in (2, 3, 4, 5):
        counts = [root**2 - 1, root**2 + 1, root**2, *[root**2 + sds * root] * times, root**2]
        table = pd.DataFrame({"t": np.repeat(np.arange(len(counts)), things), "v": np.repeat(counts, things) / things})
        found = cx.process_chart(table, value="v", period="t", kind="rate", baseline=3, rules=(1, 2, 3, 4))
        assert set(found.tidy()["alarm"]) == {"none"}


def test_an_agent_who_drifts_is_found():
    rng = np.random.default_rng(8)
    table = pd.DataFrame({"agent": np.repeat(list("ABCDEF"), 24 * 20), "t": np.tile(np.repeat(np.arange(24), 20), 6)})
    table["v"] = rng.normal(5, 1, len(table)) - 1.0 * ((table["agent"] == "C") & (table["t"] >= 18))
    found = cx.process_chart(table, value="v", period="t", by="agent", baseline=18, rules=(1, 4))
    marked = found.tidy()[found.tidy()["alarm"] == "rule 1"]
    assert found.established is True and "C in" in found.sentence() and (marked["group"] == "C").mean() > 0.6
    assert "one false alarm in 153 points of a stable process; 18 periods set the centre." in found.sentence()


# --- refusals and hiding ---------------------------------------------------------------------------------------------

ONE = pd.DataFrame({"unit": ["a", "b"], "period": 1, "x": [1.0, 2.0], "y": [2.0, 1.0]})
RATED = pd.DataFrame({"agent": list("abcdefgh"), "score": range(8), "topic": "t"})
SHOPS = pd.DataFrame({"shop": list("abcdef"), "share": [0.1, 0.2, 0.1, 0.2, 0.1, 1.2], "n": 50})
PROCESS = dict(value="score", period="agent", baseline=4)
RATERS = dict(item="score", rater="topic", case="agent", seed=1)
SAID = cx.as_survey(pd.DataFrame({"shop": ["s1"] * 20, "wave": "2024Q1", "q": 5}), wave="wave")
STAFF = pd.DataFrame({"unit": ["B01", "B02"], "period": "2024Q1", "engagement": [3.0, 4.0]})
REFUSED = [
    (cx.unit_panel, STAFF, dict(answers=SAID, items=["q"], answers_unit="shop"),
     "no unit and period is in both tables with 10 answers or more: employees has B01 and B02 in 2024Q1, "
     "the answers have s1 in 2024Q1; write them alike"),
    (cx.lead_lag_units, ONE, ORDER, "period has one value; what comes first needs two periods or more"),
    (cx.lead_lag_units, pd.concat([ONE, ONE]), ORDER, "the panel: unit 'a' stands twice in one period; keep one row"),
    (cx.lead_lag_units, ONE.assign(x=[1.0, "low"]), ORDER, "x must hold numbers; row 1 and others hold text, such as 'low'"),
    (cx.lead_lag_units, panel(np.random.default_rng(1), 2), ORDER, "y and x are known together in 2 units; 3 are needed at least"),
    (cx.lead_lag_units, panel(np.random.default_rng(1)).assign(x=1.0), ORDER,
     "x has one value in all units and periods: nothing goes with it"),
    (cx.lead_lag_units, panel(np.random.default_rng(1)).assign(calm=3.0), ORDER | {"cause": "calm"},
     "calm has one value in all units and periods: nothing goes with it"),
    (cx.service_profit_chain, panel(np.random.default_rng(1)).assign(y=0.3), CHAIN | {"steps": "xy"},
     "y has one value in all units and periods: nothing goes with it"),
    (cx.lead_lag_units, panel(np.random.default_rng(1)).assign(x=lambda t: t["unit"] % 7), ORDER,
     "60 units and 480 rows do not tell x within units from what else y is compared by: nothing is left to say how sure its slope is"),
    (cx.lead_lag_units, panel(np.random.default_rng(1), 3, 2), ORDER,
     "3 units and 3 rows do not tell x from what else y after is compared by: nothing is left to say how sure its slope is"),
    (cx.agent_consistency, RATED, AGENTS,
     "0 of 8 agents have 10 ratings or more from 1 persons or more; 5 are needed to say how much agents differ"),
    *((function, table, options, f"{column} holds infinite values; make them missing") for function, table, options, column in (
        (cx.lead_lag_units, ONE.assign(y=[1.0, np.inf]), ORDER, "y"), (cx.funnel, SHOPS.assign(n=np.inf), FUNNEL, "n"),
        (cx.process_chart, RATED.assign(score=-np.inf), PROCESS, "score"))),
    (cx.agent_consistency, RATED.assign(score="good"), AGENTS,
     "score must hold numbers; row 0 and others hold text, such as 'good'"),
    (cx.funnel, SHOPS, FUNNEL, "share holds 0.1 to 1.2; a share lies from 0 to 1"),
    (cx.funnel, SHOPS.assign(shop="a"), FUNNEL, "the funnel: shop 'a' stands twice; keep one row"),
    (cx.funnel, SHOPS[:3], FUNNEL, "3 units have a share and a base of 1 or more; a funnel needs five"),
    (cx.funnel, SHOPS, FUNNEL | {"kind": "mean"}, "kind='mean' needs sd=, the column of the standard deviation of a unit's answers"),
    (cx.process_chart, RATED, PROCESS | {"rules": (2,)}, "rules=(2,): choose among 1, 2, 3, 4, rule 1 always among them"),
    *((cx.process_chart, RATED, PROCESS | {"rules": rules}, f"rules={rules!r}: choose among 1, 2, 3, 4, rule 1 always among them")
      for rules in (None, 4, "14", ("1", "4"), (1, 5))),
    *((cx.process_chart, RATED, PROCESS | {"baseline": b}, f"baseline={b!r} must be a whole number, 0 or more")
      for b in (2.5, 4.0, "4", None, True)),
    *((cx.rater_agreement, RATED, RATERS | {"n_boot": b}, f"n_boot={b!r} must be a whole number, 1 or more")
      for b in (0, -1, 2.5, "9", None, True)),
    *((cx.rater_agreement, RATED, RATERS | {"confidence": b}, f"confidence={b!r} must lie between 0 and 1, for example 0.95")
      for b in ("0.95", None, 95)),
    (cx.process_chart, RATED, PROCESS | {"kind": "share"}, "score must be 0 or 1 in every row for kind='share'"),
    (cx.process_chart, RATED, PROCESS | {"kind": "individuals", "baseline": 1},
     "baseline=1: no chart has two or more baseline periods that vary and one after them"),
    (cx.rater_agreement, pd.concat([RATED, RATED]), RATERS, "the sheet: topic 't' stands twice in one agent; keep one row"),
    (cx.rater_agreement, RATED, RATERS, "0 cases have two of 1 raters; agreement needs two raters and ten such cases"),
    (cx.unit_reliability, RATED, dict(item="score", unit="agent"),
     "8 units hold an answer to score, fewer than 2 of them from 10 persons or more"),
    (cx.service_profit_chain, panel(np.random.default_rng(1)), CHAIN | {"steps": "xy", "reliability": {"x": 1.4}},
     "reliability of x is 1.4; it lies above 0 and at most at 1"),
    (cx.service_profit_chain, panel(np.random.default_rng(1)), CHAIN | {"steps": "xy", "lag": 8},
     "lag=8 must be a whole number of periods, from 0 to 7"),
    *((cx.service_profit_chain, panel(np.random.default_rng(1)), CHAIN | {"steps": "xy", "lag": lag},
       f"lag={lag} must be a whole number of periods, from 0 to 7") for lag in (True, 1.0, 1.5, -1)),
    (cx.service_profit_chain, panel(np.random.default_rng(1)), CHAIN | {"steps": "xx"}, "steps=['x']: a chain has two steps or more"),
    (cx.unit_panel, STAFF, dict(answers=cx.as_survey(SAID.table.assign(q="good"), wave="wave"), items=["q"], answers_unit="shop"),
     "q must hold numbers; row 0 and others hold none, such as 'good'"),
    *((cx.unit_panel, STAFF, dict(answers=SAID, items=items, answers_unit="shop"),
       f"items={items!r} must name columns of the answers, none of them called unit or period")
      for items in ([], [None], None, ["unit"], ["q", "period"])),
    (cx.rated_contacts, pd.DataFrame({"contact": ["c1"], "q": 5}),
     dict(interactions=pd.DataFrame({"contact": ["c1", "c1"], "time": "2025-01-01", "agent": ["X", "Y"]}), rating="q"),
     "interactions: contact 'c1' stands twice; keep one row"),
]  # fmt: skip


@pytest.mark.parametrize("function, table, options, message", REFUSED, ids=lambda v: getattr(v, "__name__", ""))
def test_what_cannot_be_asked_is_refused_with_the_reason(function, table, options, message):
    with pytest.raises(cx.DataProblem) as caught:
        function(table, **options)
    assert str(caught.value) == message


def test_employees_under_the_floor_and_units_of_few_answers_are_hidden():
    answers = pd.DataFrame({"shop": np.repeat(list("abcd"), [30, 30, 6, 30]), "wave": "1", "q": 5.0})
    staff = pd.DataFrame({"unit": list("abcd"), "period": "1", "engagement": [3.0, 4.0, 5.0, 4.0]})
    staff["n"] = [20, 8, 20, None]  # how many they are is not known: perhaps a few
    answers, staff = cx.as_survey(answers, wave="wave", min_base=10), cx.as_table(staff, min_base=10)
    made = cx.unit_panel(staff, answers, items=["q"], answers_unit="shop", n="n")
    assert made.table["unit"].tolist() == ["a"]
    counted = staff.table.dropna().assign(n=lambda t: t["n"].astype(int))
    assert cx.unit_panel(counted, answers, items=["q"], answers_unit="shop", n="n").table["n"].dtype == int
    many = panel(np.random.default_rng(1), ahead=0.6).assign(n=20)
    many.loc[many["unit"] == 3, "n"] = 4
    said = many.loc[many.index.repeat(12), ["unit", "period", "y"]].rename(columns={"period": "wave"})
    staff, said = cx.as_table(many.drop(columns="y"), min_base=10), cx.as_survey(said, wave="wave")
    made = cx.unit_panel(staff, said, items=["y"], n="n")
    found = cx.service_profit_chain(made, steps="xy", **CHAIN)
    assert found.glance()["units"].item() == 59
    left = found.checks().set_index("check").loc["rows of fewer employees than the floor, left out"]
    assert left["value"] == 8 and not left["ok"], "what the panel left out is told by what is found in it"
    ratings = contacts(np.random.default_rng(9), 0.5).assign(who=lambda t: np.where(t["agent"] == 3, -1, t.index))
    ratings = cx.as_table(ratings, person="who", min_base=5)
    for found in (cx.agent_consistency(ratings, **AGENTS), cx.unit_reliability(ratings, item="score", unit="agent")):
        assert "3" not in set(found.tidy().iloc[:, 0].astype(str)) and found.suppressed == 1


def test_a_rating_of_no_known_customer_leaves_the_others_theirs():
    calls = pd.DataFrame({"contact": [7, 8], "customer": [1, 2], "agent": ["X", "Y"], "time": "2025-01-01"})
    answers = pd.DataFrame({"customer": [1, 2, None], "contact": [8, None, None], "day": "2025-01-02", "q": [5, 6, 7]})
    for kind in (float, "Int64", object):
        told = answers.astype({"customer": kind, "contact": kind})
        near = cx.rated_contacts(cx.as_survey(told.drop(columns="contact"), asked_at="day"), calls, rating="q")
        by_id = cx.rated_contacts(cx.as_survey(told), calls, rating="q")
        assert near.table["agent"].tolist() == ["X", "Y"] and by_id.table["agent"].tolist() == ["Y"]
    with pytest.raises(cx.DataProblem, match="no column 'customer'"):
        cx.rated_contacts(answers[["day", "q"]], calls, rating="q")
    with pytest.raises(cx.DataProblem, match="no rating 'q' has a contact"):
        cx.rated_contacts(cx.as_survey(answers[:2].assign(contact=["8", "7"])), calls, rating="q")


def test_a_rating_is_joined_to_its_contact_or_to_the_last_before_it_and_this_is_said():
    calls = pd.DataFrame({"contact": ["c1", "c2", "c3", "c4"], "customer": ["a", "a", "b", "b"], "agent": list("XYXZ"),
                          "time": ["2025-01-01", "2025-01-20", "2025-01-05", None]})  # fmt: skip
    days = pd.to_datetime(["2025-01-22", "2025-01-06", "2025-06-01"])
    answers = pd.DataFrame({"customer": ["a", "b", "b"], "day": days, "q": [5, 6, 7]})
    last = cx.rated_contacts(cx.as_survey(answers, asked_at="day"), calls, rating="q").table
    assert dict(zip(last["q"], last["agent"])) == {5: "Y", 6: "X"}, "a contact long ago is not what is rated"
    assert last.attrs["checks"][0].value == "the customer's last within 30 days before the answer"
    named = cx.rated_contacts(answers.assign(contact=["c1", None, "c3"]), calls, rating="q").table
    assert dict(zip(named["q"], named["agent"])) == {5: "X", 7: "X"} and set(named["month"]) == {"2025-01"}
    timed = answers.rename(columns={"day": "time"})
    same = cx.rated_contacts(cx.as_survey(timed, asked_at="time"), calls, rating="q").table
    assert same[["q", "agent", "time"]].equals(last[["q", "agent", "time"]]), "the time is the contact's"
    undated = cx.rated_contacts(answers.assign(contact=["c1", "c4", "c3"]), calls, rating="q").table
    assert dict(zip(undated["q"], undated["agent"])) == {5: "X", 6: "Z", 7: "X"} and undated["month"].isna().sum() == 1
    with pytest.raises(cx.DataProblem, match="no rating 'q' has a contact: neither by id nor within 30 days"):
        cx.rated_contacts(answers.assign(contact="none"), calls, rating="q")


CALLS = pd.DataFrame({"customer": ["a", "a"], "agent": ["X", "Y"], "time": ["2025-01-01 09:00", "2025-01-20 09:00"]})


@pytest.mark.parametrize("called, answered, agent", [
    ([t + "+01:00" for t in CALLS["time"]], "2025-01-20T08:30Z", "Y"),  # half an hour after, by the same clock
    (pd.to_datetime(CALLS["time"]).dt.tz_localize("Europe/Warsaw"), pd.Timestamp("2025-01-20 08:30", tz="UTC"), "Y"),
    (pd.to_datetime(CALLS["time"]).dt.tz_localize("UTC"), pd.Timestamp("2025-01-20 09:30", tz="Europe/Warsaw"), "X"),
    (["2025-01-01T09:00+01:00", "2025-06-20T09:00+02:00"], "2025-06-20T07:30Z", "Y"),  # winter and summer
    (["2025-01-01", "2025-01-20 09:00:30"], "2025-01-20 10:00", "Y"),
    (CALLS["time"].add("Z").astype(object).map(pd.Timestamp), "2025-01-20T09:30:00.5+01", "X"),
    (["2025-01-20", "9999-12-31"], pd.Timestamp("2025-01-21").date(), "X"),
    (pd.Series(["2025-01-01", None]).astype("category"), "2025-01-21", "X"),
])  # fmt: skip
def test_times_of_zones_are_compared_as_moments(called, answered, agent):
    rated = cx.as_survey(pd.DataFrame({"customer": ["a"], "q": 5, "day": [answered]}), asked_at="day")
    found = cx.rated_contacts(rated, CALLS.assign(time=called), rating="q", within_days=60).table
    assert found["agent"].tolist() == [agent]


@pytest.mark.parametrize("where, column, value, told", [
    ("interactions", "time", "soon", "interactions: time must hold times; row 1 and others hold none, such as 'soon'"),
    ("interactions", "time", 45678, "interactions: time must hold times; row 1 and others hold none, such as '45678'"),
    ("interactions", "time", "20.01.2025", "interactions: time must hold times; row 1 and others hold none, such as '20.01.2025'"),
    ("responses", "day", "soon", "responses: day must hold times; row 0 and others hold none, such as 'soon'"),
    ("responses", "day", "2025-01-21T10:00Z", "some of day and time are of a time zone, others are not: which came first is not known"),
])  # fmt: skip
def test_times_that_cannot_be_read_or_compared_are_refused(where, column, value, told):
    rated, calls = pd.DataFrame({"customer": ["a"], "q": 5, "day": ["2025-01-21"]}, dtype=object), CALLS.astype(object)
    table = calls if where == "interactions" else rated
    table.loc[len(table) - 1, column] = value
    with pytest.raises(cx.DataProblem) as caught:
        cx.rated_contacts(cx.as_survey(rated, asked_at="day"), calls, rating="q")
    assert str(caught.value) == told
    if where == "interactions":
        with pytest.raises(cx.DataProblem, match="time must hold times"):
            cx.rated_contacts(rated.assign(contact=1), calls.assign(contact=[1, 2]), rating="q")


def test_contacts_or_ratings_that_nobody_made_are_no_contact_of_a_rating():
    rated = pd.DataFrame({"customer": ["a", "b"], "q": [5, 6], "day": "2025-01-21"})
    for calls, answers in ((CALLS.assign(customer=None), rated), (CALLS, rated.assign(q=None))):
        with pytest.raises(cx.DataProblem, match="no rating 'q' has a contact|responses has no rows"):
            cx.rated_contacts(cx.as_survey(answers, asked_at="day"), calls, rating="q")


@pytest.mark.parametrize("days", [-1, None, "30", float("nan")])
def test_days_before_an_answer_are_a_number(days):
    with pytest.raises(cx.DataProblem, match="within_days=.* must be a whole number, 0 or more"):
        cx.rated_contacts(cx.as_survey(pd.DataFrame({"customer": ["a"], "q": 5, "day": "2025-01-21"}), asked_at="day"),
                          CALLS, rating="q", within_days=days)  # fmt: skip
