"""Who answered, how they were asked, and what promoters do."""

import re

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from scipy import stats

from cxresearch.errors import DataProblem, TooFewRespondents
from cxresearch.metrics import answer_spikes, nps, promoter_value, response_bias
from cxresearch.metrics.who import calibrated
from cxresearch.survey import as_survey

SHARES = np.array([1, 1, 1, 2, 3, 6, 7, 12, 22, 22, 20]) / 97


@pytest.fixture(autouse=True)
def closed_figures():
    yield
    plt.close("all")


def company(n: int, seed: int, *, slope: float = 1.0) -> tuple[pd.DataFrame, pd.DataFrame, float]:
    """Return customers, responses and the true score of all: those who spend more answer and recommend more."""
    rng = np.random.default_rng(seed)
    spend = rng.normal(size=n)
    promoter = 1 / (1 + np.exp(-0.8 * spend))
    u = rng.random(n)
    scores = np.where(u < promoter, 10, np.where(u > 0.8, 3, 7))
    answered = rng.random(n) < 1 / (1 + np.exp(0.3 - slope * spend))
    customers = pd.DataFrame({"customer": np.arange(n), "spend": spend, "tenure": rng.gamma(2, 2, n)})
    responses = pd.DataFrame({"customer": np.arange(n)[answered], "s": scores[answered]})
    return customers, responses, 100 * ((scores >= 9).mean() - (scores <= 6).mean())


def biased(customers, responses, **options):
    return response_bias(customers, responses, "s", customer="customer", behaviour=["spend", "tenure"], **options)


def test_reweighted_responders_add_up_to_all_customers():
    rng = np.random.default_rng(1)
    x = np.column_stack([np.ones(500), rng.normal(size=(500, 2))])
    answered = rng.random(500) < 1 / (1 + np.exp(-x @ [0.2, 1.0, -0.5]))
    start = rng.uniform(0.5, 2, answered.sum())
    weights, tilt = calibrated(start, x[answered], x.sum(axis=0))
    assert weights @ x[answered] == pytest.approx(x.sum(axis=0)) and (weights > start).all()
    assert np.linalg.lstsq(x[answered], np.log(tilt / start))[1] == pytest.approx(0, abs=1e-12), "logistic response"


def test_reweighting_moves_the_score_to_that_of_all_customers():
    customers, responses, truth = company(20_000, 2)
    finding = biased(customers, responses)
    plain, reweighted = finding.tables()["sensitivity"].itertuples(index=False)
    assert plain.estimate == pytest.approx(nps(responses, "s").tidy()["estimate"].item())
    assert plain.conf_low > truth + 5 and abs(reweighted.estimate - truth) < 2 * reweighted.std_error
    row = finding.tidy().set_index("term").loc["spend"]
    assert row["estimate"] > 0.5 and row["p_adjusted"] < 1e-6
    assert "differ from the others, most in Spend" in finding.sentence() and "1 of 2 behaviours" in finding.sentence()
    assert not finding.checks().set_index("check").loc["largest standardised difference", "ok"]


def test_standardised_differences_are_welch_on_the_pooled_deviation():
    customers, responses, _ = company(600, 3)
    found = biased(customers, responses).tidy().set_index("term").loc["tenure"]
    yes = customers["customer"].isin(responses["customer"])
    a, b = customers.loc[yes, "tenure"], customers.loc[~yes, "tenure"]
    assert found["estimate"] == pytest.approx((a.mean() - b.mean()) / np.sqrt((a.var() + b.var()) / 2))
    assert found["p_value"] == pytest.approx(2 * stats.norm.sf(abs(stats.ttest_ind(a, b, equal_var=False).statistic)))


def reweighted_coverage(replicates: int) -> float:
    """Cover the expected score of the customers at hand, promoters drawn anew by each replicate."""
    hits = 0
    for seed in range(replicates):
        customers, responses, _ = company(800, seed)
        truth = (
            100 * np.mean(1 / (1 + np.exp(-0.8 * np.random.default_rng(99).normal(size=200_000))))
            - 100 * TRUE_DETRACTORS
        )
        row = biased(customers, responses).tables()["sensitivity"].iloc[1]
        hits += row["conf_low"] <= truth <= row["conf_high"]
    return hits / replicates


# Detractors are those above 0.8 who are not promoters: E min(0.2, 1 - p), p = logistic(0.8 z).
TRUE_DETRACTORS = float(
    np.minimum(0.2, 1 - 1 / (1 + np.exp(-0.8 * np.random.default_rng(98).normal(size=400_000)))).mean()
)


def test_reweighted_intervals_cover():
    assert reweighted_coverage(60) > 0.95 - 0.015 - 2 * np.sqrt(0.95 * 0.05 / 100)


@pytest.mark.soak
def test_reweighted_intervals_cover_whole():
    assert abs(reweighted_coverage(2000) - 0.95) < 0.015 + 2 * np.sqrt(0.95 * 0.05 / 2000)


def test_where_answering_has_nothing_to_do_with_behaviour_nothing_is_established():
    customers, responses, _ = company(3000, 4, slope=0.0)
    assert "no difference in behaviour from the others is established" in biased(customers, responses).sentence()


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        (
            lambda c, r: (pd.concat([c, c[:2]]), r),
            DataProblem,
            "customers: customer repeats 2 customers; give one row per customer",
        ),
        (
            lambda c, r: (c.assign(spend=1), r),
            DataProblem,
            "spend is the same for all customers; leave it out of behaviour",
        ),
        (
            lambda c, r: (c, r[:10]),
            TooFewRespondents,
            "response_bias needs at least 30 customers who answered and 30 who did not; found 10 and 490",
        ),
        (lambda c, r: (c.drop(columns="spend"), r), DataProblem, "customers has no column 'spend'"),
    ],
)
def test_customers_that_cannot_be_compared_are_refused(change, error, message):
    customers, responses, _ = company(500, 5)
    with pytest.raises(error, match=f"^{re.escape(message)}$"):
        biased(*change(customers, responses))


def test_answers_of_strangers_are_left_out_and_counted():
    customers, responses, _ = company(500, 6)
    extra = pd.DataFrame({"customer": [10_000, 10_001], "s": [0, 0]})
    finding = biased(customers, pd.concat([responses, extra]))
    assert finding.glance()["n"].item() == len(responses)
    assert finding.checks().set_index("check").loc["answers of customers that are not in the table", "value"] == 2


# --- spikes ---------------------------------------------------------------------------------------------------------


def asked(n: int, seed: int, *, begging: float = 0.0) -> pd.DataFrame:
    """Ten agents; agent 3 turns a share of lower answers into 9s, agent 7 is simply better."""
    rng = np.random.default_rng(seed)
    agent = rng.integers(0, 10, n)
    scores = rng.choice(11, n, p=SHARES)
    scores = np.where((agent == 3) & (rng.random(n) < begging) & (scores < 9), 9, scores)
    tilted = SHARES * np.exp(0.3 * np.arange(11))
    better = rng.choice(11, n, p=tilted / tilted.sum())
    return pd.DataFrame(
        {"s": np.where((agent == 7) & (begging > 0), better, scores), "agent": [f"A{a}" for a in agent]}
    )


def test_a_begging_agent_spikes_at_9_and_a_better_one_does_not():
    finding = answer_spikes(asked(5000, 1, begging=0.4), "s", by="agent")
    found = finding.tidy()
    spikes = found[found["verdict"] == "spike"]
    assert ("A3", 9) in set(zip(spikes["group"], spikes["term"])) and "A7" not in set(spikes["group"])
    assert "A3 at 9 (" in finding.sentence() and finding.established


def test_agents_alike_spike_in_at_most_5_in_100_tables():
    shown = [
        answer_spikes(asked(2000, seed), "s", by="agent").tidy()["verdict"].eq("spike").any() for seed in range(100)
    ]
    assert np.mean(shown) <= 0.05 + 2 * np.sqrt(0.05 * 0.95 / 60)


# --- value ----------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def valued() -> pd.DataFrame:
    rng = np.random.default_rng(7)
    scores = rng.choice(11, 900, p=SHARES)
    return pd.DataFrame(
        {
            "s": scores,
            "revenue": rng.gamma(2, 30 + 3 * scores),
            "w": rng.uniform(0.5, 2, 900),
            "c": np.repeat(range(300), 3),
        }
    )


def test_group_means_and_differences_are_those_of_their_customers(valued):
    finding = promoter_value(valued, "s", value="revenue", unit="EUR")
    found = finding.tidy().set_index("group")
    promoters, detractors = valued.loc[valued["s"] >= 9, "revenue"], valued.loc[valued["s"] <= 6, "revenue"]
    assert found.loc["promoters", "estimate"] == pytest.approx(promoters.mean())
    assert found.loc["promoters", ["conf_low", "conf_high"]].tolist() == pytest.approx(
        stats.t.interval(0.95, len(promoters) - 1, promoters.mean(), promoters.sem())
    )
    step = finding.tables()["steps"].iloc[0]
    assert step["std_error"] == pytest.approx(np.hypot(promoters.sem(), detractors.sem()), rel=0.01)
    assert finding.sentence().endswith("an association only.") and "EUR" in finding.sentence()
    assert finding.plot().get_xlabel().replace("\u00a0", " ") == "mean revenue, EUR; 95 % intervals"
    labelled = promoter_value(as_survey(valued, labels={"revenue": "Revenue, net"}), "s", value="revenue", unit="EUR")
    assert labelled.sentence().startswith("Mean Revenue, net ")


def test_less_is_said_as_a_size_whose_interval_is_one_of_sizes(valued):
    finding = promoter_value(valued.assign(left=(valued["s"] <= 6) | (valued.index % 20 == 0)), "s", value="left")
    step = finding.tables()["steps"].iloc[0]
    assert step["conf_high"] < 0
    size, low, high = (f"{-100 * step[name]:.1f}" for name in ("estimate", "conf_high", "conf_low"))
    words = f"Promoters have {size} percentage points less than detractors (95 % interval {low} to {high} %, adjusted p"
    assert words in finding.sentence()


def test_groups_under_the_minimum_base_are_hidden(valued):
    few = valued[(valued["s"] > 6) | (valued.index < 40)]
    finding = promoter_value(as_survey(few, min_base=60), "s", value="revenue")
    found = finding.tidy().set_index("group")
    assert found["n"].isna().sum() >= 2 and np.isnan(found.loc["detractors", "estimate"].item())
    assert finding.tables()["steps"]["estimate"].isna().any()
    assert [text.get_text() for text in finding.plot().get_yticklabels()][-1] == "detractors (not available)"


def test_customers_that_repeat_are_refused(valued):
    table = valued.assign(who=valued["c"])
    message = (
        r"^600 of 900 rows repeat a customer \(who\), whose revenue would count more than once; keep one answer of each"
    )
    with pytest.raises(DataProblem, match=message):
        promoter_value(as_survey(table, respondent="who"), "s", value="revenue")
    assert (
        promoter_value(as_survey(table.drop_duplicates("who"), respondent="who"), "s", value="revenue")
        .glance()["n"]
        .item()
        == 300
    )


@pytest.mark.parametrize("kind", [bool, int, float])
def test_yes_and_no_are_shown_as_percent(valued, kind):
    stayed = (valued["revenue"] > valued["revenue"].median()).astype(kind)
    finding = promoter_value(valued.assign(stayed=stayed), "s", value="stayed")
    share = stayed[valued["s"] >= 9].mean()
    assert finding.tidy().set_index("group").loc["promoters", "estimate"] == pytest.approx(share)
    assert f"promoters {100 * share:.1f} %" in finding.sentence() and "percentage points" in finding.sentence()
    assert finding.plot().get_xlabel().replace("\u00a0", " ") == "share with stayed, %; 95 % intervals"


def test_differences_of_value_rest_on_one_correction(valued):
    steps = promoter_value(valued, "s", value="revenue").tables()["steps"]
    outside = (steps["conf_low"] > 0) | (steps["conf_high"] < 0)
    assert ((steps["p_adjusted"] < 0.05) == outside).all() and (steps["p_adjusted"] >= steps["p_value"]).all()


def test_purchases_of_responders_and_others_are_compared():
    customers, responses, _ = company(2000, 9, slope=0.0)
    bought = customers["customer"].isin(responses["customer"])
    rng = np.random.default_rng(1)
    rows = np.repeat(customers["customer"].to_numpy(), rng.poisson(np.where(bought, 3, 2)))
    money = pd.DataFrame({"customer": rows, "time": pd.Timestamp("2024-05-01"), "amount": rng.gamma(2, 10, len(rows))})
    money = pd.concat([money, money.assign(time=pd.Timestamp("2025-05-01")), money.head(50).assign(amount=-5.0)])
    finding = biased(customers, responses, transactions=money, until="2025-01-01")
    found = finding.tidy().set_index("term").loc["purchases"]
    counts = pd.Series(rows).value_counts().reindex(customers["customer"]).fillna(0).to_numpy()
    assert [found["responders"], found["others"]] == pytest.approx([counts[bought].mean(), counts[~bought].mean()])
    assert "most in Purchases (3." in finding.sentence() and finding.established


def test_the_design_of_the_answers_counts_in_the_score_of_responders():
    customers, responses, _ = company(3000, 10)
    responses = responses.assign(w=np.where(responses["s"] == 10, 0.5, 1.5), wave=2)
    early = responses.assign(wave=1, s=0).head(200)
    survey = as_survey(pd.concat([responses, early], ignore_index=True), weight="w", wave="wave")
    finding = biased(customers, survey)
    plain = finding.tables()["sensitivity"].iloc[0]
    expected = nps(as_survey(responses, weight="w"), "s").tidy().iloc[0]
    assert [plain["estimate"], plain["std_error"]] == pytest.approx(
        expected[["estimate", "std_error"]].tolist(), rel=1e-6
    )
    assert "answered at least once in 2 waves" in finding.sentence(), (
        "the latest answer counts, whatever the order of rows"
    )
    assert "not answering counts customers who were never drawn, too" in set(finding.checks()["check"])


def test_behaviour_that_tells_who_answered_is_refused():
    customers, responses, _ = company(500, 11)
    customers["spend"] = customers["customer"].isin(responses["customer"]).astype(float)
    with pytest.raises(DataProblem, match="^behaviour: no weights make those who answered resemble all customers"):
        biased(customers, responses)


def test_spikes_take_the_design():
    table = asked(3000, 3, begging=0.4)
    halved = pd.concat([table, table], ignore_index=True).assign(who=[*range(3000)] * 2)
    once, twice = (answer_spikes(s, "s", by="agent").tidy().set_index(["group", "term"])["p_value"] for s in (
        table, as_survey(halved, cluster="who")))  # fmt: skip
    naive = answer_spikes(halved, "s", by="agent").tidy().set_index(["group", "term"])["p_value"]
    at = ("A3", 9)
    assert np.log(twice[at]) == pytest.approx(np.log(once[at]), rel=0.1) and naive[at] < twice[at] / 100
    weighted = as_survey(table.assign(w=np.where(table["agent"] == "A3", 0.0, 1.0)), weight="w")
    found = answer_spikes(weighted, "s", by="agent").tidy().query("group == 'A3'")
    assert (found["n"] == 0).all() and found["verdict"].eq("base too small").all(), "rows without weight never count"
