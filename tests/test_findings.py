"""The contract that every finding keeps, the words of sentences, and what `save` writes."""

import dataclasses
import json
import re
import sys
import tomllib
import types
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest

import cxresearch as cx
from cxresearch import findings
from cxresearch.findings import GLOSSARY, Check, Finding, described
from cxresearch.survey import Survey

IDENTIFIERS = {"term", "group", "segment", "wave", "feature"}


@pytest.fixture(scope="module")
def survey() -> pd.DataFrame:
    """Four hundred customers with scores, ratings, spend and behaviour in two clumps."""
    rng = np.random.default_rng(7)
    n = 400
    latent = rng.normal(size=n)
    ratings = {f"d{k}": np.clip(np.round(4 + latent + rng.normal(size=n)), 1, 7) for k in range(4)}
    overall = np.clip(np.round(4 + 0.8 * (ratings["d0"] - 4) + 0.3 * (ratings["d1"] - 4) + rng.normal(size=n)), 1, 7)
    clump = rng.integers(0, 2, n)
    return pd.DataFrame(
        {
            **ratings,
            "overall": overall,
            "recommend": np.clip(np.round(7 + 1.5 * latent + rng.normal(size=n)), 0, 10),
            "ease": np.clip(np.round(5 + latent), 1, 7),
            "region": rng.choice(["North", "South"], n),
            "wave": rng.choice(["2024Q1", "2024Q2"], n),
            "weight": rng.uniform(0.5, 2, n),
            "person": np.arange(n),
            "mix": rng.choice(["new", "old"], n),
            "spend": rng.gamma(1.5, 60 * np.exp(0.1 * latent)) * (rng.random(n) > 0.3),
            "frequency": np.exp(rng.normal(np.where(clump, 3, 1), 0.2)),
            "basket": np.exp(rng.normal(np.where(clump, 2, 4), 0.2)),
        }
    )


LABELS = {"recommend": "Would recommend", "d0": "Products", "overall": "Overall", "spend": "Spend"}
DRIVERS = dict(outcome="overall", drivers=["d0", "d1", "d2", "d3"])
CHANCE = dict(n_boot=100, seed=1)
REVENUE = dict(revenue="spend", loyalty="recommend")
FEATURES = ["frequency", "basket"]


def known(table, **more) -> Survey:
    """Return a table as the survey that most findings are made of."""
    return cx.as_survey(table, labels=LABELS, wave="wave", respondent="person", **more)


RNG = np.random.default_rng(8)
PAYING = dict(customer="customer", time="time", amount="amount")
WHO = pd.DataFrame(
    {"customer": range(150), "since": pd.Timestamp("2024-01-01") + pd.to_timedelta(RNG.integers(0, 300, 150), "D")}
)
PAID = WHO.loc[np.repeat(np.arange(150), RNG.geometric(0.3, 150))].reset_index(drop=True)
PAID["time"] = PAID["since"] + pd.to_timedelta(RNG.integers(0, 60, len(PAID)) * PAID.duplicated("customer"), "D")
PAID = PAID[PAID["time"] < "2025-01-01"].assign(
    amount=np.round(RNG.gamma(2, 15, (PAID["time"] < "2025-01-01").sum()), 2)
)
SHOPS = pd.DataFrame({"shop": np.repeat(range(12), 20), "month": list(range(20)) * 12, "wait": RNG.normal(9, 1, 240)})


def two_segments(table):
    return cx.segment_customers(known(table), features=FEATURES, n_segments=2, n_starts=5, n_boot=10, seed=1)


def as_contacts(table):
    """Return two contacts of each person, a few hours apart, as a table of events."""
    log = pd.concat([table[["person"]].assign(k=k) for k in (0, 1)], ignore_index=True)
    log["step"] = np.where((log["person"] % 2 == 0) & (log["k"] == 1), "shop", "web")
    log["at"] = pd.Timestamp("2024-01-01 09:00") + pd.to_timedelta(log["person"] + log["k"] * 4, unit="h")
    log["closed"] = log["at"] + pd.to_timedelta(5 + log["person"] % 11, unit="h")
    return cx.as_table(log.assign(good=log["person"] % 3 > 0), person="person", labels=LABELS)


def units(table):
    """Forty shops of ten customers each."""
    return known(table.assign(unit=np.arange(len(table)) % 40))


def over_time(table):
    """The same shops in two waves, each a mean."""
    return units(table).table.groupby(["unit", "wave"])[["d0", "d1", "overall"]].mean().reset_index()


def shares(table):
    """The share of each shop that is satisfied."""
    satisfied = units(table).table.assign(share=lambda t: (t["overall"] >= 5) * 1.0).groupby("unit")["share"]
    return satisfied.agg(share="mean", n="size").reset_index()


MAKERS = {
    "response_quality": lambda t: cx.response_quality(known(t), items=["d0", "overall"]),
    "nps": lambda t: cx.nps(known(t, weight="weight"), "recommend", by="region", wave=True),
    "top_box": lambda t: cx.top_box(known(t), "overall", threshold=6, by="region"),
    "effort": lambda t: cx.effort(known(t), "ease", version=2, wave=True),
    "compare_waves": lambda t: cx.compare_waves(known(t), "recommend", worth_acting_on=5),
    "split_change": lambda t: cx.split_change(known(t), "recommend", by="mix"),
    "control_chart": lambda t: cx.control_chart(known(t), "recommend"),
    "league_table": lambda t: cx.league_table(known(t), "recommend", by="region"),
    "answer_spikes": lambda t: cx.answer_spikes(known(t), "recommend", by="region"),
    "promoter_value": lambda t: cx.promoter_value(known(t), "recommend", value="spend"),
    "plan_sample": lambda t: cx.plan_sample(promoters=0.5, detractors=0.2, margin=5),
    "rake": lambda t: cx.rake(t, targets={"region": {"North": 0.4, "South": 0.6}}),
    "driver_importance": lambda t: cx.driver_importance(known(t), **CHANCE, **DRIVERS),
    "compare_drivers": lambda t: cx.compare_drivers(known(t), by="region", **CHANCE, **DRIVERS),
    "penalty_reward": lambda t: cx.penalty_reward(known(t), **CHANCE, **DRIVERS),
    "halo_check": lambda t: cx.halo_check(known(t), **CHANCE, **DRIVERS),
    "importance_performance": lambda t: cx.importance_performance(known(t), **CHANCE, **DRIVERS),
    "simulate_improvement": lambda t: cx.simulate_improvement(
        known(t, scales=dict.fromkeys(["d0", "overall"], (1, 7))), improve={"d0": 1}, **CHANCE, **DRIVERS
    ),
    "scale_reliability": lambda t: cx.scale_reliability(
        known(t), scales={"service": ["d0", "d1"], "price": ["d2", "d3"]}, **CHANCE
    ),
    "fit_loyalty_revenue": lambda t: cx.fit_loyalty_revenue(known(t), **REVENUE),
    "compare_revenue_models": lambda t: cx.compare_revenue_models(known(t), **REVENUE),
    "specification_curve": lambda t: cx.specification_curve(known(t), controls=["d0"], **REVENUE),
    "loyalty_by_group": lambda t: cx.loyalty_by_group(known(t), by="region", **REVENUE),
    "worth_of_a_point": lambda t: cx.worth_of_a_point(known(t), **CHANCE, **REVENUE),
    "segment_customers": two_segments,
    "profile_segments": lambda t: cx.profile_segments(
        known(t), segmentation=two_segments(t), variables=["region", "spend"]
    ),
    "compare_segments": lambda t: cx.compare_segments(known(t), segmentation=two_segments(t), outcome="spend"),
    "typing_tool": lambda t: cx.typing_tool(known(t), segmentation=two_segments(t), items=["d0", "frequency"], seed=1),
    "segment_migration": lambda t: cx.segment_migration(
        known(t), t.assign(basket=t["basket"][::-1].values), segmentation=two_segments(t), customer="person"
    ),
    "acquisition": lambda t: cx.acquisition(WHO, PAID, **PAYING, since="since", until="2025-01-01", **CHANCE),
    "cohort_retention": lambda t: cx.cohort_retention(PAID, **PAYING, until="2025-01-01"),
    "fit_lifetime": lambda t: cx.fit_lifetime(PAID, **PAYING, until="2025-01-01", **CHANCE),
    "cost_ratios": lambda t: cx.cost_ratios(
        pd.DataFrame({"month": pd.period_range("2024-01", periods=12, freq="M").astype(str), "kind": "ads", "a": 90.0}),
        period="month",
        kind="kind",
        amount="a",
        counts={"new": (WHO, "since"), "revenue": (PAID, "time", "amount")},
        roles={"ads": "acquisition"},
        share_for_acquisition=0.5,
        **CHANCE,
    ),
    "payback": lambda t: cx.payback(WHO, PAID, **PAYING, since="since", cost=20, **CHANCE),
    "difference_in_differences": lambda t: cx.difference_in_differences(
        SHOPS, outcome="wait", unit="shop", period="month", treated=range(6), since=10, **CHANCE
    ),
    "interrupted_series": lambda t: cx.interrupted_series(SHOPS, outcome="wait", period="month", since=10),
    "response_bias": lambda t: cx.response_bias(
        known(t), t[:250], "recommend", customer="person", behaviour=["frequency"]
    ),
    "journey_coverage": lambda t: cx.journey_coverage(
        as_contacts(t), touchpoint="step", time="at", measured={"web": "d0", "shop": None}, responses=known(t)
    ),
    "journey_paths": lambda t: cx.journey_paths(as_contacts(t), time="at", step="step", outcome="good", **CHANCE),
    "moments_of_truth": lambda t: cx.moments_of_truth(
        known(t), outcome="overall", touchpoints=["d0", "d1"], low=3, high=5, **CHANCE
    ),
    "channel_consistency": lambda t: cx.channel_consistency(
        known(t), score="overall", channel="region", worth_acting_on=0.5
    ),
    "handoff_penalty": lambda t: cx.handoff_penalty(
        as_contacts(t), time="at", closed="closed", changes="step", landmark=6
    ),
    "repeat_contacts": lambda t: cx.repeat_contacts(as_contacts(t), time="at", topic="step", until="2024-03-01"),
    "time_to_resolve": lambda t: cx.time_to_resolve(
        as_contacts(t), opened="at", closed="closed", until="2024-03-01", by="step"
    ),
    "unit_reliability": lambda t: cx.unit_reliability(units(t), item="overall", unit="unit"),
    "agent_consistency": lambda t: cx.agent_consistency(units(t), score="overall", agent="unit", case_mix=["region"]),
    "lead_lag_units": lambda t: cx.lead_lag_units(
        over_time(t), cause="d0", outcome="overall", unit="unit", period="wave"
    ),
    "service_profit_chain": lambda t: cx.service_profit_chain(
        over_time(t), unit="unit", period="wave", steps=["d0", "d1", "overall"], seed=1
    ),
    "funnel": lambda t: cx.funnel(shares(t), value="share", base="n", unit="unit", kind="share"),
    "process_chart": lambda t: cx.process_chart(
        t.assign(month=np.arange(len(t)) % 12), value="overall", period="month", baseline=6
    ),
    "rater_agreement": lambda t: cx.rater_agreement(
        t.melt(id_vars="person", value_vars=["d0", "d1"]), item="value", rater="variable", case="person", **CHANCE
    ),
    "loyalty_ratios": lambda t: cx.loyalty_ratios(
        known(t, weight="weight"), score="recommend", outcomes=["spend > 0"], claimed=5
    ),
    "stated_shares": lambda t: cx.stated_shares(known(t), items={"overall": 6}, quoted={"overall": 0.3}, quoted_n=1000),
    "said_and_did": lambda t: cx.said_and_did(known(t), said="recommend >= 9", did="spend > 0"),
    "weigh_myths": lambda t: cx.weigh_myths(
        known(t), outcome="overall", kinds={"d0": "service", "d1": "product", "d2": "digital"}, **CHANCE
    ),
    "compare_segment_counts": lambda t: cx.compare_segment_counts(
        known(t), features=FEATURES, counts=[1, 2, 3], n_starts=5, n_boot=10, seed=1
    ),
    "tag_topics": lambda t: cx.tag_topics(written(t), text="said", wave=True),
    "topic_impact": lambda t: cx.topic_impact(written(t), score="recommend", text="said", **CHANCE),
    "tone_of_texts": lambda t: cx.tone_of_texts(written(t), score="recommend", text="said", min_rows=100, seed=1),
    "distinctive_words": lambda t: cx.distinctive_words(written(t), text="said", group="region", min_persons=5),
    "free_topics": lambda t: cx.free_topics(
        written(t), text="said", taxonomy={"late": {"en": ["late"]}}, counts=[2], min_rows=50, seed=1
    ),
    "coding_agreement": lambda t: cx.coding_agreement(
        cx.coding_sheet(written(t), text="said", n=40, seed=1).assign(a=lambda s: s["tagged"], b="none"),
        coders=["a", "b"],
    ),
    "closed_loop": lambda t: cx.closed_loop(
        written(t), score="recommend", asked="asked", followed_up="done", next_score="ease", until="2024-12-31"
    ),
}


SAID = ("The delivery was late.", "Friendly staff, quick answers.", "Prices are too high.", "Great range of plants!")


def written(table):
    """Everybody leaves a comment of three sentences; every other person was followed up."""
    rng = np.random.default_rng(3)
    said = [" ".join(rng.permutation(SAID)[:2]) + f" Order {i} as ever." for i in range(len(table))]
    asked = pd.Timestamp("2024-03-01") + pd.to_timedelta(table["person"] % 60, unit="D")
    done = (asked + pd.to_timedelta(table["person"] % 9, unit="D")).where(table["person"] % 2 == 0)
    return known(table.assign(said=said, asked=asked, done=done), scales={"recommend": (0, 10)})


PACKAGE = Path(cx.__file__).parent


def described_in(*places: str) -> set[str]:
    """Return the columns that the words of the package itself, "", or of rooms describe."""
    read = (tomllib.loads((PACKAGE / place / "words.toml").read_text(encoding="utf-8")) for place in places)
    return {name for found in read for name in found["columns"]}


@pytest.fixture(scope="module", params=MAKERS)
def finding(request, survey) -> Finding:
    return MAKERS[request.param](survey)


def test_a_finding_is_frozen(finding):
    assert dataclasses.is_dataclass(finding)
    with pytest.raises(dataclasses.FrozenInstanceError):
        finding.table = None


def test_tidy_is_a_copy_with_identifiers_as_columns(finding):
    table = finding.tidy()
    assert isinstance(table.index, pd.RangeIndex) and len(table) > 0
    before = finding.tidy()
    table[table.columns[0]] = "changed"
    pd.testing.assert_frame_equal(finding.tidy(), before)
    assert not table.columns.duplicated().any()


def test_every_column_of_every_table_is_in_the_glossary(finding):
    tables = {**finding.tables(), "glance": finding.glance(), "checks": finding.checks()}
    unknown = {
        f"{name}.{column}" for name, t in tables.items() for column in t.columns if not described(column).meaning
    }
    assert unknown == set()
    assert list(finding.tables())[0] == "tidy"


def test_a_room_describes_its_own_columns_so_that_no_title_hangs_on_what_else_was_imported(finding):
    room = type(finding).__module__.split(".")[1] if type(finding) is not Finding else cx._HOME[finding.function]
    own = described_in("", *[room] * (PACKAGE / room).is_dir())
    columns = {c for table in finding.tables().values() for c in table.columns} | set(finding.glance().columns)
    foreign = {c for c in columns - own if c in GLOSSARY or re.sub("_(?:low|high)$", "", c) not in own}
    assert foreign == set()


def test_glance_is_one_row_with_base_and_method(finding):
    row = finding.glance()
    assert len(row) == 1 and {"n", "method"} <= set(row.columns) and row["n"].item() > 0


def test_checks_are_never_empty(finding):
    checks = finding.checks()
    assert list(checks.columns) == list(Check._fields) and len(checks) > 0
    assert checks["ok"].map(lambda v: isinstance(v, (bool, np.bool_))).all()


def test_the_sentence_is_short_prose_with_computed_numbers(finding):
    sentence = finding.sentence()
    assert sentence == repr(finding) and sentence.endswith(".")
    assert re.search(r"\d", sentence) and "nan" not in sentence.lower().split()
    assert not re.search(r"\d\.\d{4,}", sentence), "more than three decimals"
    said = re.sub(r"not (a )?causes?|design effect", "", sentence)
    assert not re.search(r"\b(effect|impact|drives|leads to|causes)\b", said), "a causal word"
    assert len(re.findall(r"\.(?:\s|$)", sentence)) <= 3
    assert len(finding.title.split()) <= 25


def test_the_plot_returns_the_axes_it_was_given_with_words_on_them(finding):
    before = plt.get_fignums()
    ax = plt.subplots()[1]
    assert finding.plot(ax) is ax
    assert len(plt.get_fignums()) == len(before) + 1, "a plot on given axes opens no other figure"
    assert any([ax.get_xlabel(), ax.get_ylabel(), *(ax.get_title(loc=side) for side in ("left", "center"))])
    own = finding.plot()
    assert own is not ax
    if cx._HOME[finding.function] in ("journey", "voice", "programme", "chain", "claims"):
        title = own.get_title(loc="left") or own.get_title()
        assert finding.title.startswith(re.sub(r"\s", " ", title)[:40]), "the title of a figure is the finding"
    plt.close("all")


def test_the_id_names_the_question_and_holds_no_result(finding):
    assert finding.id.startswith(f"{finding.function} {finding.outcome}")
    assert not re.search(r"\d\.\d", finding.id)


def test_the_same_call_gives_the_same_bytes(finding, survey, tmp_path, monkeypatch):
    monkeypatch.setenv(findings.RUN_FOLDER, str(tmp_path / "a"))
    first = cx.save(finding, name="f").parent
    monkeypatch.setenv(findings.RUN_FOLDER, str(tmp_path / "b"))
    second = cx.save(MAKERS[finding.function](survey), name="f").parent
    assert {p.name: p.read_bytes() for p in first.iterdir()} == {p.name: p.read_bytes() for p in second.iterdir()}


def test_markdown_shows_labels_as_text():
    assert findings.as_text("95 % of 7 %") == "95\u00a0% of 7\u00a0%"
    assert findings.as_text("a <b>*x*</b> [l](u)") == r"a &lt;b&gt;\*x\*&lt;/b&gt; \[l\](u)"
    assert findings.as_text("$y$ \\(z") == "<span>&#36;</span>y<span>&#36;</span> <span>&#92;</span>(z"
    assert findings.as_text("http://x.y www.x.y a@x.y") == "http&#58;//x.y www&#46;x.y a&#64;x.y"
    assert [findings.as_text(t) for t in ("- a", "1. b", "c\n# d")] == [r"\- a", r"1\. b", r"c \# d"]


def test_words():
    assert findings.number(1234.56) == "1,234.6"
    assert findings.number(-0.04) == "0.0"
    assert findings.number(float("nan")) == "not available"
    assert findings.interval(1, 2.25, 0.95) == "95 % interval 1.0 to 2.2"
    assert findings.interval(1, 2, 0.995) == "99.5 % interval 1.0 to 2.0"
    assert findings.listing(["a"]) == "a" and findings.listing("abc") == "a, b and c" and findings.listing([]) == "none"


def test_a_readable_table_has_titles_and_decent_decimals():
    table = pd.DataFrame({"term": ["a"], "estimate": [1 / 3], "n": [1234], "ok": [False], "p_value": [np.nan]})
    shown = cx.readable(table)
    assert shown.index.tolist() == ["a"] and shown.index.name == "Term"
    assert shown.iloc[0].to_dict() == {"Estimate": "0.33", "n": "1,234", "OK": "NO", "p": "–"}
    small = cx.readable(pd.DataFrame({"term": ["a"], "p_value": [1e-12], "p_adjusted": [0.0009], "estimate": [0.0001]}))
    assert small.iloc[0].to_dict() == {"p": "< 0.001", "Adjusted p": "< 0.001", "Estimate": "0.00"}


def test_verdicts_and_dates_of_numpy_among_other_cells_are_read_as_what_they_are():
    cells = [np.True_, np.False_, None, np.float64(3), np.datetime64("2024-01-02"), np.datetime64("NaT"), (1, 2)]
    shown = cx.readable(pd.DataFrame({"ok": pd.Series(cells, dtype=object)}).assign(check="c"))
    assert shown["OK"].tolist() == ["yes", "NO", "–", "3", "2024-01-02", "–", "(1, 2)"]


def test_a_readable_table_of_a_finding_calls_items_by_their_labels(survey):
    found = cx.driver_importance(known(survey), **CHANCE, **DRIVERS)
    assert cx.readable(found.tidy().sort_values("rank").filter(["term", "share"])).index[0] == "Products"
    assert "Products" in cx.readable(found.tables()["differences"]).index
    assert found.tidy()["term"][0] == "d0"


def test_saved_text_cannot_run_as_a_formula(survey, tmp_path, monkeypatch):
    monkeypatch.setenv(findings.RUN_FOLDER, str(tmp_path))
    survey = survey.assign(region=np.where(survey["region"] == "North", "=cmd|'/c calc'!A1", "@South"))
    cx.save(cx.nps(survey, "recommend", by="region"), name="scores")
    groups = pd.read_csv(tmp_path / "scores.tidy.csv")["group"]
    assert set(groups) == {"'=cmd|'/c calc'!A1", "'@South"}


def test_a_saved_record_says_what_was_found(survey, tmp_path, monkeypatch):
    monkeypatch.setenv(findings.RUN_FOLDER, str(tmp_path))
    finding = cx.nps(cx.as_survey(survey, labels=LABELS), "recommend")
    record = json.loads(cx.save(finding, name="scores").read_text(encoding="utf-8"))
    assert record["id"] == finding.id and record["sentence"] == finding.sentence()
    assert record["glance"]["n"] == len(survey) and record["tables"]["tidy"] == "scores.tidy.csv"
    with pytest.raises(
        cx.DataProblem, match=r"^name='a/b' must be made of letters, digits, '-' and '_', since it names files$"
    ):
        cx.save(finding, name="a/b")


def test_a_title_is_not_cut_at_a_full_stop_or_a_bracket_of_a_label():
    scores = pd.DataFrame({"q": [10, 9, 3, 8] * 30, "shop": ["St. Mary (old)", "No. 7"] * 60})
    labels = {"q": "Q1. Would you (really) recommend us?"}
    found = cx.nps(cx.as_survey(scores, labels=labels), "q")
    assert found.title == "Q1. Would you (really) recommend us?: net promoter score 25.0 points"
    assert "St. Mary (old)" in cx.nps(cx.as_survey(scores, labels=labels), "q", by="shop").title


def test_a_column_name_means_one_thing(tmp_path, monkeypatch):
    (tmp_path / "words.toml").write_text('[sentences]\n[columns]\nn = ["N", "something else"]\n', encoding="utf-8")
    monkeypatch.setitem(sys.modules, "another_room", types.SimpleNamespace(__file__=str(tmp_path / "__init__.py")))
    with pytest.raises(ValueError, match=r"column 'n' already means 'rows behind the estimate'"):
        findings.words("another_room")


def test_an_analysis_that_refuses_is_shown_as_refused_and_the_rest_of_the_page_stands():
    table = pd.DataFrame({"q": [1, 2, 3, 11]})
    refused = cx.asked(cx.nps, table, "q")
    assert refused.sentence().startswith("This question cannot be asked of these data: q holds 1 values outside 0-10")
    assert refused.established is False and refused.id == "nps q" and refused.plot().get_title() == ""
    assert cx.asked(cx.mean_score, table, "q").glance()["estimate"].item() == pytest.approx(4.25)
    with pytest.raises(cx.StudyProblem):
        cx.asked(cx.open_study, "no/such/study.yml")
