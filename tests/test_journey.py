"""The journey: published numbers, planted truths found again, nulls not established, refusals in words, floors."""

import numpy as np
import pandas as pd
import pytest
from proofs import covered, draws, seldom
from scipy import stats

import cxresearch as cx
from cxresearch.errors import DataProblem, TooFewRespondents
from cxresearch.inference.pooling import between_variance
from cxresearch.journey.contacts import closing_rate, event_log
from cxresearch.journey.touchpoints import order_test

DAY0 = pd.Timestamp("2024-01-01 08:00")
PATHS = dict(case="case", time="at", step="step", n_boot=50, seed=1)
HANDED = dict(case="case", time="at", closed="closed", changes="owner")
REPEATS = dict(time="at", topic="topic", customer="customer", until="2024-12-01")
TIMES = dict(case="case", opened="at", closed="closed")


def log_of(paths, *, outcome=None, copies=1, **columns) -> pd.DataFrame:
    """Return contacts an hour apart, one case per path and copy; `outcome` by path."""
    good = outcome or [None] * len(paths)
    rows = [
        {"case": f"{i}-{c}", "at": DAY0 + pd.Timedelta(hours=k), "step": step, "good": good[i]}
        for c in range(copies)
        for i, path in enumerate(paths)
        for k, step in enumerate(path)
    ]
    return pd.DataFrame(rows).assign(**columns)


def check(finding, words):
    """Return the row of the one check whose name holds some words."""
    found = finding.checks()
    (row,) = found[found["check"].str.contains(words)].to_dict("records")
    return row


@pytest.fixture(scope="module")
def helpdesk(shared) -> pd.DataFrame:
    """Cases of a help desk, as they came: 91 rows repeat another; `rework` marks an activity met before in the case."""
    table = pd.read_csv(shared / "data/journeys/helpdesk.csv", parse_dates=["CompleteTimestamp"])
    table = table.set_axis(["case", "step", "at"], axis=1)
    return table.assign(rework=table.groupby(["case", "step"]).cumcount() > 0)


# --- published and recomputed numbers --------------------------------------------------------------------------------


def test_removal_effects_of_three_paths_oracles_journey_1():
    log = log_of([["c1", "c2", "c3"], ["c1"], ["c2", "c3"]], outcome=["yes", "no", "no"], copies=20)
    found = cx.journey_paths(log, outcome="good", **PATHS).tables()["removal"]
    assert found["passes"].round(4).tolist() == [0.5, 1.0, 1.0]
    assert found["share"].round(4).tolist() == [0.2, 0.4, 0.4]


@pytest.mark.parametrize(("duplicates", "statistic", "p"), [("keep", 315.6, 4e-20), ("drop", 249.1, 1e-11)])
def test_order_of_the_help_desk_log_315_6_on_117_df_with_its_91_duplicates_kept(helpdesk, duplicates, statistic, p):
    found = cx.journey_paths(helpdesk.drop(columns="rework"), duplicates=duplicates, **PATHS)
    row = found.tables()["order"].iloc[0]
    assert round(row["likelihood_ratio"], 1) == statistic and row["df"] == 117
    assert row["p_value"] == pytest.approx(p, rel=0.5) and check(found, "duplicates")["value"] == 91
    assert "depends on the step before, too (p < 0.001)" in found.sentence()


def test_help_desk_naive_1_83_landmark_0_89_not_established(helpdesk):
    rework = cx.handoff_penalty(helpdesk, case="case", time="at", event="rework", landmark=24)
    rows = rework.tidy().set_index("term")[["estimate", "conf_low", "conf_high"]].round(2)
    assert rows.loc["naive"].tolist() == [1.83, 1.70, 1.98]
    assert rows.loc["landmark"].tolist() == [0.89, 0.77, 1.04]
    assert rework.tidy().set_index("term").loc["landmark", ["n", "n_handed"]].tolist() == [2515, 222]
    assert rework.established is False and "not established: ratio 0.89" in rework.sentence()
    assert "1.83" in rework.sentence() and not check(rework, "same way")["ok"]
    assert np.exp(rework.model.params[1]) == pytest.approx(rework.tidy()["estimate"][0], abs=1e-8)


def test_help_desk_controlled_for_steps_would_say_0_69_and_such_a_control_is_refused(helpdesk):
    import statsmodels.api as sm

    by = helpdesk.groupby("case")
    opened, steps = by["at"].min(), by.size()
    days = (by["at"].max() - opened).dt.total_seconds() / 86_400
    season = [pd.get_dummies(c, drop_first=True) for c in (opened.dt.strftime("%Y-%m"), opened.dt.day_name())]
    X = pd.concat([*season, by["rework"].any(), np.log(steps).rename("steps")], axis=1)
    fit = sm.GLM(days, sm.add_constant(X).astype(float), family=sm.families.Poisson()).fit()
    assert round(np.exp(fit.params["rework"]), 2) == 0.69
    counted = helpdesk.assign(steps=np.log(helpdesk["case"].map(steps)))
    with pytest.raises(DataProblem, match="steps counts the steps of a case, to which a hand-off adds"):
        cx.handoff_penalty(counted, case="case", time="at", event="rework", landmark=24, controls=["steps"])


def test_tost_moery_calin_jageman_2016_as_in_toster():
    """n 95 and 89, means 5.25 and 5.22, sd .95 and .83, margin .384: t(182) = -2.69, p = .004, 90 % within the margin."""
    rng, parts = np.random.default_rng(1), []
    for name, n, mean, sd in (("control", 95, 5.25, 0.95), ("organic", 89, 5.22, 0.83)):
        x = rng.normal(size=n)
        parts.append(pd.DataFrame({"channel": name, "score": mean + sd * (x - x.mean()) / x.std(ddof=1)}))
    asked = dict(score="score", channel="channel", min_rows=50)
    found = cx.channel_consistency(pd.concat(parts), worth_acting_on=0.384, **asked)
    row = found.tidy().iloc[0]
    t = (row["estimate"] - 0.384) / ((row["conf_high"] - row["conf_low"]) / 2 / stats.t.ppf(0.975, 182))
    assert t == pytest.approx(-2.69, abs=0.02) and stats.t.cdf(t, 182) == pytest.approx(0.004, abs=5e-4)
    assert row["verdict"] == "alike" and found.established and "All 2 channels are alike" in found.sentence()
    narrower = cx.channel_consistency(pd.concat(parts), worth_acting_on=0.2, **asked)
    assert narrower.tidy()["verdict"].item() == "not known" and narrower.established is False
    assert "no difference" not in narrower.sentence()


FREIREICH = {  # weeks in remission, Freireich et al. 1963, Blood 21:699; 0 is still in remission
    "6-MP": ([6, 6, 6, 6, 7, 9, 10, 10, 11, 13, 16, 17, 19, 20, 22, 23, 25, 32, 32, 34, 35],
             [1, 1, 1, 0, 1, 0, 1, 0, 0, 1, 1, 0, 0, 0, 1, 1, 0, 0, 0, 0, 0]),
    "placebo": ([1, 1, 2, 2, 3, 4, 4, 5, 5, 8, 8, 8, 8, 11, 11, 12, 12, 15, 17, 22, 23], [1] * 21),
}  # fmt: skip


def remission() -> pd.DataFrame:
    """Return one row per patient; those in remission left the study then, each on a day of its own."""
    rows = [(arm, w, e) for arm, (weeks, events) in FREIREICH.items() for w, e in zip(weeks, events)]
    t = pd.DataFrame(rows, columns=["arm", "week", "event"]).assign(case=range(len(rows)))
    week = pd.to_timedelta(7 * t["week"], unit="D")
    since, until = pd.Timestamp("2024-01-01"), pd.Timestamp("2026-01-01")
    t["at"] = since + (until - since - week) * (1 - t["event"])
    return t.assign(closed=(t["at"] + week).where(t["event"] == 1))


def test_freireich_1963_medians_23_and_8_s10_0_7529_log_rank_4_17e_5():
    found = cx.time_to_resolve(remission(), until="2026-01-01", by="arm", **TIMES)
    medians = found.tidy().set_index("group")["estimate"] / 24 / 7
    assert medians.to_dict() == pytest.approx({"6-MP": 23, "placebo": 8})
    curve = found.tables()["curves"].set_index(["group", "hours"]).loc[("6-MP", 10 * 7 * 24)]
    assert round(curve["estimate"], 4) == 0.7529 and round(curve["std_error"], 4) == 0.0963
    assert found.glance()["p_value"].item() == pytest.approx(4.17e-5, rel=0.005) and found.established
    assert found.glance()["n_open"].item() == 12  # censored, not dropped


def test_time_varying_rate_equals_statsmodels_phreg_breslow():
    from statsmodels.duration.hazard_regression import PHReg

    rng = np.random.default_rng(3)
    hours, start = np.ceil(rng.exponential(20, 300)), np.where(rng.random(300) < 0.5, rng.exponential(15, 300), np.inf)
    done, passed = (rng.random(300) < 0.8).astype(float), start < hours
    stop, entry = np.append(np.minimum(start, hours), hours[passed]), np.append(np.zeros(300), start[passed])
    event, after = np.append(done * ~passed, done[passed]), np.append(np.zeros(300), np.ones(passed.sum()))
    fit = PHReg(stop, after, status=event, entry=entry, ties="breslow").fit()
    ours = closing_rate(start, hours, done, 0.95)
    assert np.log(ours["estimate"]) == pytest.approx(fit.params[0], abs=1e-6)
    assert np.log([ours["conf_low"], ours["conf_high"]]) == pytest.approx(fit.conf_int()[0], abs=1e-5)


# --- planted truths, and nulls ---------------------------------------------------------------------------------------


def handed(ratio: float, seed: int, n: int = 700, share_open: float = 0.0, hidden: bool = False) -> pd.DataFrame:
    """Return contacts of cases that end after a gamma time; half may be handed on early, which stretches what remains.

    With `hidden`, a third of the cases are hard: they take five times as long, and are handed on more often.
    """
    rng = np.random.default_rng(seed)
    total, moment, meant = rng.gamma(0.8, 60, n), rng.exponential(15, n), rng.random(n)
    hard = rng.random(n) < 1 / 3 if hidden else np.zeros(n, dtype=bool)
    total = np.where(hard, 1.0, 0.2 if hidden else 1.0) * total
    came = (meant < np.where(hard | ~np.bool_(hidden), 0.5, 0.1)) & (moment < total)
    total = np.where(came, moment + ratio * (total - moment), total)
    opened = pd.Timestamp("2024-01-01") + pd.to_timedelta(rng.uniform(0, 2000, n), unit="h")
    closed = opened + pd.to_timedelta(total, unit="h")
    first = pd.DataFrame({"case": range(n), "at": opened, "owner": "desk", "closed": closed})
    second = first.assign(at=opened + pd.to_timedelta(moment, unit="h"), owner="back office")[came]
    log, end = pd.concat([first, second], ignore_index=True), pd.Series(closed).quantile(1 - share_open)
    return log[log["at"] <= end].assign(closed=lambda t: t["closed"].where(t["closed"] <= end))


def test_a_handoff_that_costs_nothing_is_not_established_though_the_naive_ratio_is_large():
    found = [cx.handoff_penalty(handed(1.0, seed), **HANDED) for seed in range(25)]
    assert seldom(np.mean([f.established for f in found]), 25, 0.015)
    assert np.median([f.tidy()["estimate"].iloc[-1] for f in found]) > 1.4


@pytest.mark.parametrize("share_open", [0.0, 0.08])
def test_a_handoff_that_takes_half_as_long_again_is_found(share_open):
    found = [cx.handoff_penalty(handed(1.5, seed, 4000, share_open), landmark=24, **HANDED) for seed in range(3)]
    assert all(f.established and (f.glance()["n_open"].item() > 100) == (share_open > 0) for f in found)
    assert "longer from the landmark on" in found[0].sentence() and "harder from the start" in found[0].sentence()


def test_a_ratio_that_comes_from_harder_cases_fades_at_a_later_landmark_and_is_not_established():
    found = [cx.handoff_penalty(handed(1.0, seed, 4000, hidden=True), **HANDED) for seed in range(4)]
    assert np.mean([f.tidy()["conf_low"].iloc[0] > 1 for f in found]) >= 0.5
    assert not any(f.established for f in found)
    faded = [f for f in found if f.checks().set_index("check").loc["ratio holds at a later landmark", "value"] == "no"]
    assert faded and all("it fades to" in f.sentence() for f in faded)


@pytest.mark.soak
def test_null_ratio_is_established_in_5_percent_and_the_interval_covers_95():
    found = [cx.handoff_penalty(handed(1.0, seed), **HANDED).tidy().iloc[0] for seed in range(2000)]
    assert covered(np.mean([row["conf_low"] <= 1 <= row["conf_high"] for row in found]), 2000)


def order_p(seed: int, n: int = 150) -> float:
    """Return the p-value of the order test on paths of a chain of order one over three touchpoints."""
    rng, line = np.random.default_rng(seed), []
    moves = np.cumsum([[2, 4, 2, 2], [3, 1, 4, 2], [3, 3, 2, 2], [10 / 3, 10 / 3, 10 / 3, 0]], axis=1) / 10
    for _ in range(n):
        line.append(3)
        while (step := int(np.searchsorted(moves[line[-1]], rng.random()))) < 3:
            line.append(step)
        line.append(4)
    before, here, after = np.array(line)[:-2], np.array(line)[1:-1], np.array(line)[2:]
    return order_test(before, here, after, (before != 4) & (here != 4))["p_value"]


@draws(50, 2000)
def test_a_chain_of_order_one_is_rejected_five_times_in_a_hundred(draws):
    assert seldom(np.mean([order_p(seed) < 0.05 for seed in range(draws)]), draws, 0.015)


def rated(seed: int, effect: float, n: int = 600) -> pd.DataFrame:
    """Return ratings 1-5 of two touchpoints under one mood, and an outcome that `effect` ties to the first."""
    rng = np.random.default_rng(seed)
    mood = rng.normal(size=n)
    table = pd.DataFrame({k: np.clip(np.round(3 + 0.5 * mood + rng.normal(size=n)), 1, 5) for k in ("web", "shop")})
    table["outcome"] = 5 - effect * (table["web"] <= 2) + 0.6 * table["shop"] + rng.normal(size=n)
    return table.assign(web=table["web"].mask(rng.random(n) < 0.4))


def moments(table, **more):
    survey = cx.as_survey(table, scales={"web": (1, 5), "shop": (1, 5)}, **more)
    return cx.moments_of_truth(survey, outcome="outcome", touchpoints=["web", "shop"], n_boot=200, seed=1)


@draws(25, 500)
def test_a_touchpoint_without_part_in_the_outcome_is_seldom_established(draws):
    web = [moments(rated(seed, 0.0)).tidy().set_index("term")["established"]["web"] for seed in range(draws)]
    assert seldom(np.mean(web), draws, 0.015)


def test_a_planted_moment_is_found_with_exposure_and_gap():
    found = moments(rated(1, 1.5, n=3000))
    row = found.tidy().set_index("term").loc["web"]
    assert row["established"] and row["good_less_bad_low"] < 1.5 < row["good_less_bad_high"]
    assert row["exposure"] == pytest.approx(0.6, abs=0.03)
    assert row["estimate"] == pytest.approx(row["exposure"] * row["good_less_bad"])
    few = moments(rated(1, 3.0, n=3000).assign(web=lambda t: t["web"].mask((t["web"] <= 2) & (t.index > 100))))
    assert not few.tidy().set_index("term").loc["web", "established"] and check(few, "fewer than 30")["value"] == 1


def test_the_earlier_score_of_the_same_person_is_held_alike():
    table = pd.concat([rated(1, 1.0).assign(wave=wave, person=range(600)) for wave in (1, 2)])
    assert check(moments(table, wave="wave", respondent="person"), "earlier score")["value"] == 0.5


def test_planted_channels_are_found_and_equal_ones_are_alike():
    rng, n = np.random.default_rng(5), 6000
    true = {"phone": 0.0, "email": -0.5, "chat": 0.0, "shop": 0.6}
    log = pd.DataFrame({"id": range(n), "channel": rng.choice([*true], n), "topic": rng.choice(["a", "b"], n)})
    score = 4 + log["channel"].map(true) + (log["topic"] == "a") + rng.normal(size=n)
    asked = dict(score="score", channel="channel", case_mix=["topic"], contact="id", worth_acting_on=0.3)
    found = cx.channel_consistency(pd.DataFrame({"id": range(n), "score": score}), interactions=log, **asked)
    verdicts = found.tidy().set_index(["group", "against"])["verdict"]
    assert verdicts["chat", "phone"] == "alike" and (verdicts.drop(("chat", "phone")) == "different").all()
    assert "shop is rated" in found.sentence() and "above email" in found.sentence()
    low, high = found.glance()[["between_low", "between_high"]].iloc[0]
    assert low < np.std([*true.values()], ddof=1) < high


@draws(300, 20_000)
def test_the_interval_of_the_deviation_between_channels_covers(draws):
    rng, variances, true = np.random.default_rng(2), np.array([0.02, 0.03, 0.05, 0.02, 0.04]), 0.25**2
    means, quantiles = rng.normal(0, np.sqrt(true + variances), (draws, 5)), stats.chi2.ppf([0.975, 0.025], 4)
    low, high = (np.array([between_variance(x, variances, q) for x in means]) for q in quantiles)
    assert covered(np.mean((low <= true) & (true <= high)), draws)


def contacts(seed: int, after_no: float, after_yes: float, n: int = 3000) -> pd.DataFrame:
    """Return first contacts of customers; some come back within the week, more after an unresolved one."""
    rng = np.random.default_rng(seed)
    at, ok = pd.Timestamp("2024-01-01") + pd.to_timedelta(rng.integers(0, 7200, n), unit="h"), rng.random(n) < 0.6
    first = pd.DataFrame({"customer": range(n), "at": at, "topic": rng.choice(["a", "b"], n), "channel": "phone"})
    first["ok"] = ok
    later = first[rng.random(n) < np.where(ok, after_yes, after_no)]
    later = later.assign(at=later["at"] + pd.Timedelta(days=2), channel="email", ok=True)
    return pd.concat([first, later], ignore_index=True)


def test_planted_repeats_are_found_and_equal_ones_are_not_established():
    found = cx.repeat_contacts(contacts(1, 0.35, 0.06), by="ok", channel="channel", **REPEATS)
    shares = found.tidy().set_index("group")
    assert shares.loc["no", "conf_low"] < 0.35 < shares.loc["no", "conf_high"]
    assert found.established and 'after "no"' in found.sentence()
    assert found.glance()["switches"].item() == found.glance()["repeats"].item() > 0
    assert cx.repeat_contacts(contacts(1, 0.1, 0.1), by="ok", **REPEATS).established is False


def test_contacts_not_followed_long_enough_leave_the_denominator():
    at = pd.to_datetime(["2024-01-01", "2024-01-03", "2024-01-09"])
    table = pd.DataFrame({"customer": ["a", "a", "b"], "at": at, "topic": "t"})
    found = cx.repeat_contacts(table, **REPEATS | {"until": "2024-01-12"})
    assert found.glance()[["n", "repeats"]].iloc[0].tolist() == [2, 1]
    assert check(found, "under 7 days")["value"] == 1


def test_counts_are_the_same_from_a_frame_a_file_and_a_plain_count(tmp_path):
    table = contacts(2, 0.3, 0.2)
    table.to_parquet(tmp_path / "contacts.parquet")
    asked = dict(by=["topic", "channel"], channel="channel", **REPEATS)
    frame, file = (cx.repeat_contacts(source, **asked).tidy() for source in (table, tmp_path / "contacts.parquet"))
    pd.testing.assert_frame_equal(frame, file)
    t = table.sort_values(["customer", "at"])
    near = t.groupby(["customer", "topic"])["at"].shift(-1) - t["at"] <= pd.Timedelta(days=7)
    known = t["at"] <= pd.Timestamp("2024-12-01") - pd.Timedelta(days=7)
    plain = (near & known).groupby([t["topic"], t["channel"]]).sum()
    assert frame["repeats"].tolist() == plain.tolist()


# --- order, ties, days, coverage, floors -----------------------------------------------------------------------------


def moves_of(log, **more):
    found = cx.journey_paths(log, **PATHS | more)
    return found, found.tidy().set_index(["term", "group"])["moves"]


def test_rows_are_taken_in_the_order_of_time_and_milliseconds_count():
    log = log_of([["web", "shop", "phone"]], copies=40)
    log["at"] = DAY0 + pd.to_timedelta(log.groupby("case").cumcount(), unit="ms")
    _, moves = moves_of(log.sample(frac=1, random_state=1))
    assert moves["web", "shop"] == moves["shop", "phone"] == moves["phone", "(end)"] == 40


def test_contacts_at_one_moment_are_refused_without_an_order_and_taken_with_one():
    log = log_of([["web", "shop"]], copies=40).assign(at=DAY0, place=[1, 2] * 40)
    tied = r"case 0-0 has different contacts at 2024-01-01 08:00:00 \(40 such ties\); name"
    with pytest.raises(DataProblem, match=tied):
        cx.journey_paths(log, **PATHS)
    _, moves = moves_of(log, order="place")
    assert moves["web", "shop"] == 40 and moves["shop", "web"] == 0
    for first in (2**60, str(2**60)):  # numbers of messages, whose floats are one
        _, moves = moves_of(log.assign(place=[first, type(first)(2**60 + 1)] * 40), order="place")
        assert moves["web", "shop"] == 40 and moves["shop", "web"] == 0


def test_days_without_hours_are_said_and_moves_within_a_day_left_out():
    log = log_of([["web", "shop", "web"]], copies=40)
    log["at"] = DAY0.normalize() + pd.to_timedelta([0, 0, 1] * 40, unit="D")
    found, moves = moves_of(log)
    assert "Times are days without hours" in found.sentence()
    assert moves["web", "shop"] == 0 and moves["shop", "web"] == 40 == check(found, "one moment")["value"]


def test_exact_duplicates_are_left_out_and_counted_or_kept():
    log = pd.concat([log_of([["web", "shop"]], copies=40)] * 2)
    dropped, kept = (cx.journey_paths(log, duplicates=d, **PATHS) for d in ("drop", "keep"))
    assert [f.glance()["n"].item() for f in (dropped, kept)] == [80, 160]
    assert check(dropped, "duplicates")["value"] == check(kept, "duplicates")["value"] == 80


DECLARED = pd.DataFrame(
    {"touchpoint": ["web", "shop", "bill"], "stage": ["before", "purchase", "after"], "kind": ["digital", "personal", None],
     "item": ["site", "staff", None], "owner": ["Web", "Shops", "Finance"]}
)  # fmt: skip


def mapped(min_base=1, **more):
    rng, n = np.random.default_rng(1), 600
    who, step = rng.integers(0, 200, n), rng.choice(["web", "shop", "bill"], n, p=[0.5, 0.3, 0.2])
    log = pd.DataFrame({"customer": who, "step": step, "at": DAY0 + pd.to_timedelta(range(n), unit="h"), "case": who})
    log["owner"] = rng.choice(["Web", "Finance"], n)
    staff = [np.nan] * 150 + [4.0] * 50
    answers = pd.DataFrame({"customer": range(200), "site": rng.integers(1, 6, 200), "staff": staff})
    scales = {"site": (1, 5), "staff": (1, 5)}
    survey = cx.as_survey(answers, scales=scales, labels={"web": "Website"}, min_base=min_base)
    table = cx.as_table(log, person="customer", labels=survey.labels, min_base=min_base)
    asked = dict(touchpoint="step", time="at", measured=DECLARED, responses=survey, case="case", owner="owner")
    return cx.journey_coverage(table, **asked | more), log


def test_coverage_counts_what_is_measured_names_the_blind_spot_and_draws_the_map():
    found, log = mapped()
    rows, shop, share = found.tidy().set_index("term"), log[log["step"] == "shop"], (log["step"] == "bill").mean()
    assert rows.loc["web", "estimate"] == 1 and rows.loc["bill", "estimate"] == 0
    assert rows.loc["shop", "estimate"] == pytest.approx((shop["customer"] >= 150).mean())
    assert found.sentence().startswith(f'{100 * share:.0f} % of contacts happen where nothing is measured: "bill".')
    moved = log.sort_values(["case", "at"])
    count = ((moved["case"] == moved["case"].shift()) & (moved["owner"] != moved["owner"].shift())).sum()
    assert found.tables()["handoffs"]["n"].sum() == count
    ax = found.plot()
    assert [t.get_text() for t in ax.get_xticklabels()] == ["before the purchase", "purchase", "after the purchase"]
    fills = {tuple(np.round(c.get_facecolor()[0][:3], 2)) for c in ax.collections}
    assert (1.0, 1.0, 1.0) in fills and len(fills) > 1 and len(ax.patches) == 2
    assert all(any(words in t.get_text() for t in ax.texts) for words in ("not measured", "Website"))


def test_what_few_persons_stand_behind_is_hidden_with_a_complement():
    found, moves = moves_of(cx.as_table(log_of([["web", "shop"]] * 30 + [["web", "bill"]] * 3), min_base=10))
    assert np.isnan(moves["web", "bill"]) and np.isnan(moves["web", "shop"]) and found.suppressed >= 2
    log = log_of([["web", "shop"]] * 30 + [["web", "bill"]] * 3)
    rated = cx.as_survey(pd.DataFrame({"case": log["case"].unique(), "site": 3.0}))
    asked = dict(touchpoint="step", time="at", measured=dict.fromkeys(["web", "shop"], "site"), responses=rated)
    blind = cx.journey_coverage(cx.as_table(log, person="case", min_base=10), **asked)
    assert blind.sentence().startswith('not available of contacts happen where nothing is measured: "bill".')
    table = contacts(1, 0.3, 0.1).assign(region=lambda t: np.where(t["customer"] < 4, "small", "large"))
    repeats = cx.repeat_contacts(cx.as_table(table, person="customer", min_base=10), by="region", **REPEATS)
    assert repeats.tidy()["estimate"].isna().all() and repeats.suppressed == 2
    times = cx.as_table(remission().assign(arm=lambda t: t["arm"].mask(t.index < 4, "few")), min_base=10)
    times = cx.time_to_resolve(times, until="2026-01-01", by="arm", **TIMES)
    assert times.tidy().set_index("group").loc["few"].isna().all() and times.suppressed >= 2
    rare = DECLARED.assign(item=["site", None, None])
    under = cx.as_survey(pd.DataFrame({"customer": range(200), "site": 3.0}), min_base=201)
    assert mapped(responses=under, measured=rare)[0].tidy()["rating"].isna().all()


# --- what is missing, tied, zoned, or few ----------------------------------------------------------------------------


def test_an_order_column_that_ties_or_is_missing_tells_no_order():
    log = log_of([["web", "shop"]], copies=40).assign(at=DAY0)
    for place in ([1, 1] * 40, [np.nan, np.nan] * 40):
        with pytest.raises(DataProblem, match=r"\(40 such ties\); name the column that tells their order"):
            cx.journey_paths(log.assign(place=place), order="place", **PATHS)
    with pytest.raises(DataProblem, match="place holds 'b'.* no number"):  # 10 would come before 9
        cx.journey_paths(log.assign(place=["b", "a"] * 40), order="place", **PATHS)


def test_copies_of_a_row_within_a_day_do_not_tell_how_others_followed():
    day = DAY0.normalize()
    log = log_of([["web", "shop", "web", "bill"]], copies=40).assign(
        at=[day, day, day, day + pd.Timedelta(days=1)] * 40
    )
    found, moves = moves_of(log, duplicates="keep")
    assert check(found, "one moment")["value"] == 80 and moves.get(("shop", "web"), 0) == 0


def test_an_owner_that_a_row_does_not_name_hides_no_handoff():
    named, gap = handed(1.5, 1), handed(1.5, 1)
    between = gap[gap["owner"] == "back office"].assign(owner=None)
    gap = pd.concat([gap, between.assign(at=between["at"] - pd.Timedelta(minutes=1))])
    first = gap.groupby("case")["at"].transform("min")
    gap = gap[gap["owner"].notna() | (gap["at"] > first)]
    rows = [cx.handoff_penalty(t, landmark=10, **HANDED).tidy()["n_handed"].tolist() for t in (named, gap)]
    assert rows[0][-1] - rows[1][-1] <= 20


def test_a_topic_or_channel_that_is_missing_is_neither_the_same_nor_another():
    at = pd.to_datetime(["2024-01-01", "2024-01-02"])
    table = pd.DataFrame({"customer": "a", "at": at, "topic": [None, None], "channel": ["web", None]})
    row = cx.repeat_contacts(table, channel="channel", **REPEATS).glance().iloc[0]
    assert row["repeats"] == row["switches"] == 0 and row["n"] == 2


def test_a_path_whose_end_nobody_wrote_down_is_counted():
    log = log_of([["web", "shop"], ["shop", "web"]], outcome=["yes", None], copies=40)
    found = cx.journey_paths(log, outcome="good", **PATHS)
    assert check(found, "says no end")["value"] == 40


def test_times_with_a_zone_are_held_against_the_end_in_that_zone_and_days_are_days():
    zoned = pd.date_range("2024-01-01", periods=20, tz="Asia/Tokyo")
    table = pd.DataFrame({"case": range(20), "at": zoned, "closed": zoned + pd.Timedelta(hours=2)})
    plain = table.assign(at=zoned.tz_localize(None), closed=(zoned + pd.Timedelta(hours=2)).tz_localize(None))
    asked = dict(until="2024-01-10 01:00", **TIMES)
    found, other = cx.time_to_resolve(table, **asked), cx.time_to_resolve(plain, **asked)
    pd.testing.assert_frame_equal(found.tidy(), other.tidy())
    assert found.sentence() == other.sentence() and "days without hours" in found.sentence()
    with pytest.raises(DataProblem, match="closed names a time zone and the times of contacts do not"):
        cx.time_to_resolve(plain.assign(closed=table["closed"]), **asked)
    text = plain.assign(at=["2024-01-01 10:00+01:00"] * 10 + ["2024-06-01 10:00+02:00"] * 10)
    with pytest.raises(DataProblem, match="at holds times of several time zones"):
        cx.time_to_resolve(text, **asked)
    blank = plain.assign(closed=plain["closed"].astype(str).where(plain.index > 4, " "))
    assert cx.time_to_resolve(blank, **asked | {"until": "9999-12-31"}).glance()["n_open"].item() == 5


def test_a_control_that_nobody_knows_changes_nothing_and_one_that_counts_down_is_refused():
    log = handed(1.5, 1, 4000)
    found, plain = (cx.handoff_penalty(log.assign(x=np.nan), controls=c, landmark=24, **HANDED) for c in (["x"], []))
    pd.testing.assert_frame_equal(found.tidy(), plain.tidy())
    down = log.assign(left=-log.groupby("case")["case"].transform("size"))
    with pytest.raises(DataProblem, match="left counts the steps"):
        cx.handoff_penalty(down, controls=["left"], landmark=24, **HANDED)


def test_a_rate_or_a_naive_ratio_that_nothing_tells_is_missing():
    log = handed(1.5, 1, 4000)
    moved = log.groupby("case")["owner"].transform("nunique") > 1
    found = cx.handoff_penalty(log.assign(closed=log["closed"].mask(moved)), landmark=24, **HANDED)
    assert found.tables()["hazard"]["estimate"].isna().all()  # no case that was handed on is closed
    ever = cx.handoff_penalty(log[moved], landmark=10, **HANDED)
    assert ever.tidy().set_index("term")["estimate"].isna().to_dict() == {
        "landmark": False,
        "season": False,
        "naive": True,
    }


def test_the_floor_counts_persons_not_accounts_or_rows():
    table = contacts(1, 0.3, 0.1).assign(who=lambda t: t["customer"] % 5)
    with pytest.raises(TooFewRespondents, match="fewer than the 10 of the floor"):
        cx.repeat_contacts(cx.as_table(table, person="who", min_base=10), **REPEATS)
    few = rated(1, 1.5, 3000).assign(person=lambda t: np.where(t["web"] <= 2, t.index % 5, t.index))
    row = moments(few, respondent="person", min_base=10).tidy().set_index("term").loc["web"]
    assert row.isna().all()  # five persons gave the bad ratings
    found = moves_of(cx.as_table(log_of([["web", "shop"]] * 30 + [["bill", "web"]] * 3), min_base=10))[0].tidy()
    assert found.loc[found["term"] == "bill", "n"].isna().all()


def test_rows_of_a_file_come_in_its_order(tmp_path):
    n = 600_000
    pd.DataFrame({"case": 1, "at": DAY0, "row": np.arange(n)}).to_parquet(
        tmp_path / "log.parquet", row_group_size=122_880
    )
    assert (event_log(tmp_path / "log.parquet", "case", "at", ["row"]).table["row"] == np.arange(n)).all()


def test_ids_that_meet_nowhere_are_refused_in_words():
    found, log = mapped()
    survey = cx.as_survey(pd.DataFrame({"customer": list(map(str, range(200))), "site": 3.0, "staff": 4.0}))
    with pytest.raises(DataProblem, match="no customer of the responses has a contact; compare the ids in customer"):
        mapped(responses=survey)
    rated = pd.DataFrame({"contact": list(map(str, range(300))), "score": 3.0})
    told = pd.DataFrame({"contact": range(300), "channel": ["a", "b", "c"] * 100})
    with pytest.raises(TooFewRespondents):
        cx.channel_consistency(rated, score="score", channel="channel", interactions=told, worth_acting_on=1)


# --- what an outside recount and odd tables found -----------------------------------------------------------------------


def test_a_column_of_a_file_called_source_does_not_stand_for_the_row(tmp_path):
    table = contacts(2, 0.3, 0.2).assign(at=DAY0, customer=1, source="web")
    table = table.assign(note=range(len(table)))  # at one moment, on few topics: they differ in the note alone
    table.to_parquet(tmp_path / "contacts.parquet")
    frame, file = (cx.repeat_contacts(t, **REPEATS).glance() for t in (table, tmp_path / "contacts.parquet"))
    assert file["n"].item() == len(table) and file.equals(frame)


@pytest.mark.parametrize("numbers", ["float", "Int64", "object"])
def test_touchpoints_written_as_numbers_are_the_declared_ones_whatever_a_gap_makes_of_them(numbers):
    steps = pd.Series([1, 2, None] * 40, dtype="Int64").astype(numbers)
    if numbers == "object":
        steps = steps.where(steps.index > 60, steps.map({1: "1", 2: 2}))  # 1 and "1" are one touchpoint
    log = pd.DataFrame({"case": np.arange(120) // 3, "at": DAY0 + pd.to_timedelta(range(120), unit="h"), "step": steps})
    answers = cx.as_survey(pd.DataFrame({"case": range(40), "site": 3.0}))
    asked = dict(touchpoint="step", time="at", customer="case", responses=answers, measured={1: "site", "2": None})
    rows = cx.journey_coverage(log, **asked).tidy().set_index("term")
    assert rows["n"].to_dict() == {"1": 40, "2": 40, "not stated": 40} and rows.loc["1", "estimate"] == 1
    assert moves_of(log)[1]["1", "2"] == 40


def test_rows_that_hold_lists_repeat_one_another_where_they_are_written_alike():
    tied = log_of([["web", "shop"]] * 40, outcome=None).assign(tags=lambda t: [["new"]] * len(t))
    other = tied[:5].assign(tags=[["old"]] * 5)
    log = event_log(pd.concat([tied, tied[:3], other], ignore_index=True), "case", "at", ["step"])
    assert len(log.table) == len(tied) + 5 and [c.value for c in log.checks[1:]] == [3, 5]


def test_a_blank_case_is_nobodys():
    log = log_of([["web", "shop"]], copies=40)
    blank = log.assign(case=log["case"].where(log.index > 9, " "))
    found, moves = moves_of(blank)
    assert check(found, "without case")["value"] == 10 and moves["(start)", "web"] == 35


def test_cases_closed_at_once_have_no_mean_and_the_others_have():
    opened = pd.DataFrame({"case": range(40), "at": DAY0, "by": ["at once", "later"] * 20})
    hours = pd.to_timedelta(np.where(opened["by"] == "at once", 0, range(40)), unit="h")
    found = cx.time_to_resolve(opened.assign(closed=DAY0 + hours), until="2024-06-01", by="by", **TIMES)
    rows = found.tidy().set_index("group")
    assert rows["estimate"].to_dict() == {"at once": 0, "later": 19} and rows.loc["later", "mean_hours"] == 20
    assert np.isnan(rows.loc["at once", "mean_hours"]) and found.established


def test_a_refusal_names_the_row_of_the_table_not_of_the_sorted_log():
    log = log_of([["web", "shop"]], copies=40).sample(frac=1, random_state=2, ignore_index=True)
    text = (log["at"] + pd.Timedelta(days=1)).astype(str)
    with pytest.raises(DataProblem, match="row 17: closed holds 'soon'"):
        cx.time_to_resolve(log.assign(closed=text.where(text.index != 17, "soon")), until="2024-06-01", **TIMES)


def test_the_share_of_a_hidden_touchpoint_is_not_what_the_others_leave_of_one():
    paths, ends = [["a", "b"]] * 40 + [["a"]] * 30 + [["c", "b"]] * 4, ["yes"] * 40 + ["no"] * 30 + ["yes"] * 4
    log = log_of(paths, outcome=ends)
    removal = moves_of(cx.as_table(log, min_base=10), outcome="good")[0].tables()["removal"].set_index("term")
    assert removal.loc["c"].drop("cases").isna().all() and removal["share"].sum() == pytest.approx(1)
    few = log_of([["a", "b"]] * 9 + [["b", "a"]] * 30, outcome=["yes"] * 9 + ["no"] * 30)
    found = moves_of(cx.as_table(few, min_base=10), outcome="good")[0]
    assert found.tables()["removal"]["passes"].isna().all() and "end well" not in found.sentence()


def test_the_most_frequent_end_is_named_only_if_no_hidden_one_can_be_larger_and_of_all_lost_paths():
    def sentence(well, **ends):
        lost = [["a", end] for end, n in ends.items() for _ in range(n)]
        log = log_of(lost + well, outcome=["no"] * len(lost) + ["yes"] * len(well))
        return moves_of(cx.as_table(log, min_base=10), outcome="good")[0].sentence()

    assert 'Most lost paths end at "b": 74 % of 122' in sentence(
        [["b"], ["c"], ["d"]] * 30, b=90, c=20, d=12
    )  # c and d are hidden
    assert "What follows what is not shown" in sentence([["a", "a"]] * 30, b=60, c=40, d=4, e=3)  # b is, too


def test_contacts_of_one_customer_are_one_observation_and_paths_of_few_persons_are_not_shown():
    table = contacts(1, 0.3, 0.1).assign(region="all", person=lambda t: t["customer"] % 5)
    alone = pd.DataFrame({"customer": 9_999, "at": DAY0 + pd.to_timedelta([0, 30, 60, 61, 90], unit="D"), "topic": "a"})
    rows = cx.repeat_contacts(pd.concat([table, alone.assign(region="one")]), by="region", **REPEATS).tidy()
    assert rows.set_index("group").loc["one", ["n", "n_effective"]].tolist() == [5, 1]
    with pytest.raises(TooFewRespondents, match="fewer than the 10 of the floor"):
        moves_of(cx.as_table(log_of([["web", "shop"]], copies=40, who=[1, 2] * 40), person="who", min_base=10))


def test_a_contact_is_followed_for_seven_days_only_if_its_seventh_day_is_known():
    days = pd.to_datetime(["2024-01-01", "2024-01-02", "2024-01-08"])
    table = pd.DataFrame({"customer": ["a", "b", "a"], "at": days, "topic": "t"})
    for until, known in (("2024-01-08", 0), ("2024-01-09", 1), ("2024-01-10", 2)):
        if known:
            row = cx.repeat_contacts(table, **REPEATS | {"until": until}).glance().iloc[0]
            assert row[["n", "repeats"]].tolist() == [known, 1]
        else:  # whether the customer came back on the eighth is not known
            with pytest.raises(DataProblem, match="no contact is followed for 7 days"):
                cx.repeat_contacts(table, **REPEATS | {"until": until})


def test_an_owner_that_nobody_wrote_down_is_no_owner_a_case_moves_to():
    log = log_of([["web"] * 4], copies=20, owner=["Web", None, "Web", "Finance"] * 20)
    found = cx.journey_coverage(
        log, touchpoint="step", time="at", customer="case", case="case", owner="owner", measured={}
    )
    assert found.tables()["handoffs"].to_numpy().tolist() == [["Web", "Finance", 20]]


def test_a_length_of_time_may_be_held_alike():
    log = handed(1.5, 1, 4000)
    waits = log.assign(wait=pd.to_timedelta(log["case"] % 3, unit="h"), kind=log["case"] % 3)
    spans, kinds = (
        cx.handoff_penalty(waits.astype({"kind": str}), controls=[c], landmark=24, **HANDED) for c in ("wait", "kind")
    )
    pd.testing.assert_frame_equal(spans.tidy(), kinds.tidy())


def test_what_follows_from_what_is_compared_is_refused_as_a_control_not_shared_out_by_chance():
    rated = pd.DataFrame({"channel": ["a", "b"] * 200, "score": np.arange(400) % 2 + np.arange(400) % 7})
    rated = rated.assign(agent=rated["channel"] + (rated.index // 2 % 3).astype(str))  # nobody works in both
    with pytest.raises(DataProblem, match="agent and channel follow from one another"):
        cx.channel_consistency(rated, score="score", channel="channel", case_mix="agent", worth_acting_on=0.3)
    log = handed(1.5, 1, 4000)
    early = log["case"].map(
        (log["at"] - log.groupby("case")["at"].transform("min") <= pd.Timedelta(days=1)).groupby(log["case"]).sum()
    )
    with pytest.raises(DataProblem, match="known and owner follow from one another"):
        cx.handoff_penalty(log.assign(known=np.where(early > 1, "yes", "no")), controls="known", landmark=24, **HANDED)
    answers = rated.assign(web=np.where(rated["channel"] == "a", 1, 5), outcome=rated["score"])
    with pytest.raises(TooFewRespondents, match="none of web has 100 ratings"):
        cx.moments_of_truth(answers, outcome="outcome", low=2, high=4, controls="channel", n_boot=9, **MOMENTS)


def test_a_control_in_millions_or_named_twice_or_by_its_name_alone_is_the_same_control():
    log = handed(1.5, 1, 4000)
    asked = dict(landmark=24, **HANDED)
    (plain, *others) = [
        cx.handoff_penalty(log.assign(x=times * (log["case"] % 7)), controls=controls, **asked).tidy().iloc[:, 1:4]
        for times, controls in ((1, ["x"]), (10**12, ["x", "x"]), (1, "x"))
    ]
    assert all(np.allclose(plain, other, rtol=1e-8) for other in others)


def test_a_channel_of_one_cluster_has_no_error_to_be_compared_by():
    rng = np.random.default_rng(1)
    rated = pd.DataFrame({"channel": ["a", "b"] * 200, "score": rng.normal(size=400), "shop": ["x", "y"] * 200})
    with pytest.raises(TooFewRespondents, match="0 channel with 100 rated contacts; comparing takes two, each of more"):
        cx.channel_consistency(
            cx.as_survey(rated, cluster="shop"), score="score", channel="channel", worth_acting_on=0.3
        )
    same = cx.channel_consistency(rated.assign(score=3), score="score", channel="channel", worth_acting_on=0.3)
    assert same.tidy()["verdict"].item() == "alike" and same.glance()["between"].item() == 0


def test_the_other_ratings_are_held_alike_whatever_their_scales():
    table, rng = rated(1, 1.5).assign(bill=lambda t: t["shop"]), np.random.default_rng(2)
    table = table.assign(bill=table["bill"].mask(rng.random(600) < 0.5), shop=table["shop"].mask(rng.random(600) < 0.5))
    asked = dict(outcome="outcome", touchpoints=["web", "shop", "bill"], low=2, high=4, n_boot=9, seed=1)
    found = [
        cx.moments_of_truth(cx.as_survey(t, scales={"web": (1, 5), "shop": (1, 5), "bill": bill}), **asked).tidy()
        for t, bill in ((table, (1, 5)), (table.assign(bill=100 * table["bill"]), (100, 500)))
    ]
    rows = [t.set_index("term").loc[["web"], ["estimate", "conf_low", "conf_high"]] for t in found]
    pd.testing.assert_frame_equal(*rows)


def test_a_touchpoint_is_no_control_of_itself():
    table, scales = rated(1, 1.5), {"web": (1, 5)}
    survey = cx.as_survey(table, scales=scales)
    alone, itself = (
        cx.moments_of_truth(survey, outcome="outcome", touchpoints="web", controls=c, n_boot=9, seed=1)
        for c in ([], "web")
    )
    pd.testing.assert_frame_equal(alone.tidy(), itself.tidy())


# --- refusals --------------------------------------------------------------------------------------------------------

LOG = log_of([["web", "shop"]], copies=40, owner=["a", "b"] * 40)
ZONED = LOG.assign(at=LOG["at"].dt.tz_localize("America/New_York"))
CLOSED = LOG.assign(closed=LOG["at"] + pd.Timedelta(hours=5))
ANSWERS = pd.DataFrame({"web": [1.0, 5.0] * 100, "outcome": range(200), "channel": ["a", "b"] * 100})
MOMENTS, CHANNELS = dict(touchpoints=["web"], seed=1), dict(score="web", channel="channel", worth_acting_on=1)


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: cx.journey_paths(LOG, time="at", step="step", seed=1), "interactions name neither case nor customer"),
        (lambda: cx.journey_paths(LOG.assign(step="web"), **PATHS), "step holds one touchpoint, 'web'; a path needs two"),
        (lambda: cx.journey_paths(LOG[:20], **PATHS), "10 paths are fewer than min_cases=30"),
        (lambda: cx.journey_paths(LOG.assign(ok="maybe"), outcome="ok", **PATHS), "ok holds 'maybe'; it must say yes or no"),
        (lambda: cx.journey_paths(LOG.assign(ok="yes"), outcome="ok", **PATHS), "40 of 40 paths end well; both ends"),
        (lambda: cx.journey_paths(LOG.assign(at="soon"), **PATHS), r"row 0: at holds 'soon', which is not a time \(80 of 80"),
        (lambda: cx.journey_paths(LOG.assign(at=7), **PATHS), "at holds '7', which is not a time"),
        (lambda: cx.journey_paths(LOG.drop(columns="step"), **PATHS), "interactions has no column 'step'"),
        (lambda: cx.journey_paths(LOG, duplicates="all", **PATHS), "duplicates='all' is not one of 'drop', 'keep'"),
        (lambda: cx.handoff_penalty(LOG, case="case", time="at"), "either changes=, the column whose change is a hand-off"),
        (lambda: cx.handoff_penalty(CLOSED.assign(closed=DAY0 - pd.Timedelta(hours=1)), **HANDED),
         r"opened at 2024-01-01 08:00:00 is closed at 2024-01-01 07:00:00, before it \(40 of 40 cases\); correct closed"),
        (lambda: cx.handoff_penalty(CLOSED.assign(owner="a"), **HANDED), "0 cases were handed on; 30 are needed in either arm"),
        (lambda: cx.handoff_penalty(CLOSED, **HANDED), "0 cases open 1 hours after their opening had not been handed on; 30"),
        (lambda: cx.handoff_penalty(CLOSED, landmark=0, **HANDED), "landmark=0: cases must be compared from a moment after"),
        (lambda: cx.repeat_contacts(LOG, **REPEATS | {"topic": "step", "customer": "case", "until": "2024-01-02"}),
         "no contact is followed for 7 days; the last one is of 2024-01-01 09:00:00"),
        (lambda: cx.repeat_contacts(LOG, within_days=0, **REPEATS), "within_days=0 must be above 0"),
        (lambda: cx.journey_paths(LOG, confidence=95, **PATHS), "confidence=95 must lie between 0 and 1"),
        (lambda: cx.time_to_resolve(CLOSED, until="2023-01-01", **TIMES), "no case was opened"),
        (lambda: cx.time_to_resolve(CLOSED, until="soon", **TIMES), "until='soon' is no moment that the clock"),
        (lambda: cx.repeat_contacts(ZONED, **REPEATS | {"topic": "step", "customer": "case", "until": "2024-11-03 01:30"}),
         "until='2024-11-03 01:30' is no moment that the clock of the contacts shows once"),
        (lambda: cx.journey_paths(LOG.replace({"step": {"web": "(start)"}}), **PATHS), r"step holds \(start\), as the ends of"),
        (lambda: cx.journey_paths(LOG.replace({"step": {"web": "(end)"}}), **PATHS), "give that touchpoint another name"),
        (lambda: cx.repeat_contacts(LOG, within_days="7", **REPEATS), "within_days='7' must be above 0: a number"),
        (lambda: cx.repeat_contacts(LOG, within_days=np.inf, **REPEATS), "within_days=inf must be above 0: a number"),
        (lambda: cx.journey_paths(LOG, **PATHS | {"confidence": "95 %"}), "confidence='95 %' must lie between 0 and 1"),
        (lambda: cx.handoff_penalty(CLOSED, landmark="a day", **HANDED), "landmark=a day: cases must be compared from"),
        (lambda: cx.time_to_resolve(CLOSED, until=["2025"], **TIMES), "is no moment that the clock"),
        (lambda: mapped(responses=None), r"\(site and staff\), which no responses hold; give responses="),
        (lambda: mapped(500), "customers are fewer than the 500 of the floor"),
        (lambda: mapped(measured=DECLARED.assign(stage="afer")), "stage 'afer' is not one of before, purchase, after; did you"),
        (lambda: mapped(measured=DECLARED.assign(touchpoint=["web", "web", "bill"])), "declared twice: web; give each one item"),
        (lambda: cx.moments_of_truth(ANSWERS, outcome="outcome", **MOMENTS), "web has no declared scale"),
        (lambda: cx.moments_of_truth(ANSWERS, outcome="outcome", low=4, high=2, **MOMENTS), "low= below high="),
        (lambda: cx.moments_of_truth(ANSWERS, outcome="web", **MOMENTS), "ratings other than the outcome"),
        (lambda: cx.moments_of_truth(ANSWERS, outcome="outcome", controls="outcome", **MOMENTS), "controls cannot hold either"),
        (lambda: cx.moments_of_truth(ANSWERS.assign(web=np.inf), outcome="outcome", **MOMENTS), "web holds 'inf'"),
        (lambda: cx.moments_of_truth(ANSWERS, outcome="outcome", low=2, high=4, min_rows=900, **MOMENTS), "none of web has 900"),
        (lambda: cx.channel_consistency(ANSWERS, **CHANNELS | {"worth_acting_on": 0}), "worth acting on, above 0"),
        (lambda: cx.channel_consistency(ANSWERS, **CHANNELS | {"worth_acting_on": "0.3"}), "worth acting on, above 0"),
        (lambda: cx.channel_consistency(ANSWERS, confidence=0.4, **CHANNELS), "confidence=0.4 must be above 0.5: two one-sided"),
        (lambda: cx.channel_consistency(ANSWERS, **CHANNELS, min_rows=150), "0 channel with 150 rated contacts; comparing takes"),
        (lambda: cx.channel_consistency(ANSWERS, **CHANNELS | {"score": "channel"}), "holds 'a' .* no number"),
    ],
)  # fmt: skip
def test_a_refusal_says_where_what_and_what_to_do(call, words):
    with pytest.raises((DataProblem, TooFewRespondents), match=words):
        call()
