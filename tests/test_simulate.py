"""The simulated company: the committed files, their dictionary, and whether what was planted can be found again."""

import re
import subprocess
import sys
from functools import cache

import numpy as np
import pandas as pd
import pytest
import statsmodels.api as sm
from conftest import ROOT

import cxresearch as cx
from cxresearch import DataProblem, simulate_company
from cxresearch.simulate.company import EXAMPLE_SEED
from cxresearch.simulate.truth import PLANTED, Truth
from cxresearch.simulate.verbatims import CLAUSES, NEUTRAL, UNINFORMATIVE, compose

EXAMPLE = ROOT / "data" / "example"
DICTIONARY = (ROOT / "data" / "README.md").read_text(encoding="utf-8")
TABLES = ("responses", "customers", "transactions", "interactions", "employees", "costs")
DRIVERS = list(PLANTED["driver_weights"])
NEVER_MET = ("staff", "website", "delivery", "returns_service", "support")


@cache
def company(**arguments):
    return simulate_company(**{"seed": EXAMPLE_SEED, **arguments})


@pytest.fixture(scope="module")
def example():
    return company()


@pytest.fixture(scope="module")
def large():
    """Large enough for a planted value to show through the chance."""
    return company(seed=12, n_customers=25_000)


@pytest.fixture(scope="module")
def otherwise():
    """The same chance, with other values planted."""
    truth = {"revenue_per_point": 0.0, "halo_on_satisfaction": 0, "handoff_hours_ratio": 1.5}
    return simulate_company(seed=12, n_customers=25_000, truth=truth)


def least_squares(table: pd.DataFrame, outcome: str, terms: list[str]):
    return sm.OLS(table[outcome], sm.add_constant(table[terms].astype(float))).fit(cov_type="HC1")


def revenue_fit(table: pd.DataFrame, *terms: str):
    design = sm.add_constant(table[list(terms)])
    return sm.GLM(table["spend_2025"], design, family=sm.families.Poisson()).fit(cov_type="HC1")


def answered_with_revenue(made) -> pd.DataFrame:
    """Customers with the last recommend answer that they gave, as a researcher would join them."""
    answers = made.truth.answers
    given = answers[answers["answered"] & ~answers["recommend_skipped"]]
    last = given.groupby("customer_id")["recommend"].last().reset_index()
    return made.tables["customers"].merge(last, on="customer_id", validate="one_to_one")


def behaviour_features(transactions: pd.DataFrame) -> pd.DataFrame:
    """Return standardised logarithms of behaviour in 2024, one row a customer."""
    paid = transactions.assign(day=pd.to_datetime(transactions["paid_at"])).query("day < '2025-01-01'")
    bought = paid[paid["amount"] > 0].groupby("customer_id")
    features = pd.DataFrame(
        {
            "recency": (pd.Timestamp("2025-01-01") - bought["day"].max()).dt.days,
            "frequency": bought.size(),
            "monetary": paid.groupby("customer_id")["amount"].sum(),
            "basket": bought["amount"].mean(),
            "returns": paid.groupby("customer_id")["amount"].agg(lambda a: (a < 0).mean()),
            "web": bought["channel"].agg(lambda c: (c == "web").mean()),
        }
    )
    logs = np.log1p(features)
    return (logs - logs.mean()) / logs.std()


def rand_index(made) -> float:
    from sklearn.cluster import KMeans
    from sklearn.metrics import adjusted_rand_score
    from threadpoolctl import threadpool_limits

    features = behaviour_features(made.tables["transactions"])
    with threadpool_limits(1):
        found = KMeans(4, n_init=20, random_state=0).fit_predict(features)
    return adjusted_rand_score(made.truth.customers.set_index("customer_id")["segment"].loc[features.index], found)


# -- the files --------------------------------------------------------------------------------------------------------


def test_the_committed_files_are_made_again_byte_for_byte(tmp_path):
    command = [sys.executable, "-m", "cxresearch.simulate", str(tmp_path)]
    said = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert said.startswith("simulated company: 2,216 responses, 2,000 customers, 22,463 transactions, ")
    for name in TABLES:
        assert (tmp_path / f"{name}.csv").read_bytes() == (EXAMPLE / f"{name}.csv").read_bytes(), name
    assert sorted(p.name for p in tmp_path.iterdir()) == sorted(f"{name}.csv" for name in TABLES)
    assert (EXAMPLE / "transactions.csv").stat().st_size < 900_000


def test_another_seed_gives_another_company(example):
    other = company(seed=1)
    for name in TABLES:
        assert not other.tables[name].equals(example.tables[name]), name


def test_replacing_a_value_leaves_the_chance_elsewhere_as_it_was(example):
    flat = simulate_company(seed=EXAMPLE_SEED, truth={"revenue_per_point": 0.0})
    for name in ("responses", "interactions", "employees"):
        assert flat.tables[name].equals(example.tables[name]), name
    assert not flat.tables["customers"]["spend_2025"].equals(example.tables["customers"]["spend_2025"])


def test_it_works_small():
    small = simulate_company(seed=1, n_customers=400)
    assert len(small.tables["customers"]) == 400 and len(small.tables["employees"]) == 160
    once = simulate_company(seed=1, n_customers=400, waves=1)
    assert once.tables["responses"]["wave"].unique().tolist() == ["2024Q4"]


def test_the_study_file_declares_every_column_and_opens(example):
    study = cx.open_study(EXAMPLE / "study.yml")
    study.load_all()
    text = (EXAMPLE / "study.yml").read_text(encoding="utf-8")
    for name in TABLES:
        for column in example.tables[name].columns.drop("planted_segment", errors="ignore"):  # no company has it
            assert re.search(rf"[: ]{column.strip()}\b", text), (name, column)
    assert study.customers.table["revenue"].sum() == pytest.approx(example.tables["customers"]["spend_2025"].sum())
    assert study.waterfall("responses")["removed"].sum() == 3
    assert len(study.matched("responses", "customers", keep="all")) == len(study.responses) - _unlisted(example).sum()
    assert study.columns("driver") == DRIVERS and study.column("control") == "affluence"


def _unlisted(made) -> pd.Series:
    responses = made.tables["responses"].drop_duplicates()
    return ~responses["customer_id"].isin(made.tables["customers"]["customer_id"])


# -- the dictionary ---------------------------------------------------------------------------------------------------


def rows_of(text: str) -> list[list[str]]:
    """Return the cells of the table rows in a part of the dictionary, without head and rule."""
    lines = [line for line in text.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[2:]]


def part(heading: str) -> str:
    return re.split(r"\n##+ ", DICTIONARY.split(heading, 1)[1])[0]


@pytest.mark.parametrize("name", TABLES)
def test_the_dictionary_lists_the_columns_and_counts_the_rows_of(name):
    table = pd.read_csv(EXAMPLE / f"{name}.csv", dtype=str, keep_default_na=False)
    heading = re.search(rf"### `{name}.csv`: ([\d,]+) rows", DICTIONARY)
    assert int(heading[1].replace(",", "")) == len(table)
    described = {row[0].strip("`"): row[1:] for row in rows_of(part(heading[0]))}
    assert list(described) == [c.strip() for c in table.columns]
    for column, (kind, scale, codes) in described.items():
        _agrees(table[next(c for c in table.columns if c.strip() == column)], kind, scale, codes)


def _agrees(values: pd.Series, kind: str, scale: str, codes: str) -> None:
    known = set(re.findall(r"`([^`]+)`", codes))
    held = values[values != ""]
    if kind == "category":
        span = [f"{c[0]}{i:02d}" for c, n in (("B01", 40), ("A01", 20)) if c in known for i in range(1, n + 1)]
        assert set(held) == (set(span) or known), values.name
    elif kind == "date":
        assert pd.to_datetime(held, format="%Y-%m-%d").dt.year.between(2016, 2025).all()
    elif kind in ("number", "whole number"):
        found = held[~held.isin(known)].astype(float)
        assert known <= set(held), values.name
        assert kind == "number" or (found % 1 == 0).all()
        if "–" in scale:
            low, high = map(float, scale.split("–"))
            assert found.between(low, high).all(), values.name
    else:
        assert kind == "text"
    blanks_explained = "blank" in codes or not (values == "").any()
    assert blanks_explained, values.name


def test_the_dictionary_names_every_planted_value(example):
    listed = {row[0].strip("`"): row[1] for row in rows_of(part("## What was planted"))}
    planted = example.truth.planted
    groups = {k: v for k, v in planted.items() if not isinstance(v, float | int)}
    parts = {k: ", ".join(f"{p} {x:g}" for p, x in v.items()) for k, v in groups.items()}
    assert listed == parts | {k: f"{v:.4g}" for k, v in planted.items() if k not in parts}
    assert f"seed {EXAMPLE_SEED}," in DICTIONARY


def test_the_dictionary_tells_the_dirty_cells(example):
    listed = [int(row[1]) for row in rows_of(part("## Dirty cells"))]
    responses = pd.read_csv(EXAMPLE / "responses.csv", dtype=str, keep_default_na=False)
    asked = responses[["recommend  ", "satisfaction", "ease", *DRIVERS]]
    unlisted = set(responses["customer_id"]) - set(example.tables["customers"]["customer_id"])
    assert listed == [
        sum(c != c.strip() for t in example.tables.values() for c in t.columns),
        responses.duplicated().sum(),
        (asked == "99").to_numpy().sum(),
        (asked == "").to_numpy().sum(),
        (asked == "Blank").to_numpy().sum(),
        len(unlisted),
        (example.tables["interactions"]["channel"] == "PHONE").sum(),
    ]
    assert (asked["products"] == "Blank").sum() == 4


def test_the_dictionary_tells_what_nobody_in_the_field_can_see(example):
    answers = example.truth.answers
    scores = answers.groupby("wave")["recommend"].agg(lambda r: 100 * ((r >= 9).mean() - (r <= 6).mean()))
    joined = answered_with_revenue(example)
    with_it, without = revenue_fit(joined, "recommend", "affluence"), revenue_fit(joined, "recommend")
    low, high = with_it.conf_int().loc["recommend"]
    *told, rand = [row[1] for row in rows_of(part("## What nobody"))]
    assert told == [
        *(f"{score:.1f}" for score in scores),
        f"{with_it.params['recommend']:.4f}",
        f"{low:.4f} to {high:.4f}",
        f"{without.params['recommend']:.4f}",
    ]
    assert rand_index(example) == pytest.approx(float(rand), abs=0.02)
    assert low < example.truth["revenue_per_point"] < high


# -- what was planted -------------------------------------------------------------------------------------------------


def test_revenue_is_the_sum_of_the_transactions_of_2025_to_the_cent(example):
    customers, paid = example.tables["customers"], example.tables["transactions"]
    of_2025 = paid[paid["paid_at"] >= "2025"]
    assert (of_2025["amount"] > 0).all()
    sums = of_2025.groupby("customer_id")["amount"].sum().reindex(customers["customer_id"], fill_value=0).round(2)
    assert sums.to_numpy().tolist() == customers["spend_2025"].round(2).tolist()
    last = of_2025.groupby("customer_id")["paid_at"].max().reindex(customers["customer_id"]).to_numpy()
    left = customers["until"].notna() & pd.notna(last)
    assert (last[left] <= customers["until"][left]).all()


def test_revenue_per_point_is_found_with_affluence_and_60_percent_too_high_without(large):
    joined = answered_with_revenue(large)
    planted = large.truth["revenue_per_point"]
    fit, naive = revenue_fit(joined, "recommend", "affluence"), revenue_fit(joined, "recommend")
    assert fit.params["recommend"] == pytest.approx(planted, abs=2.5 * fit.bse["recommend"])
    assert fit.params["affluence"] == pytest.approx(0.25, abs=2.5 * fit.bse["affluence"])
    assert 0.45 < (naive.params["recommend"] - fit.params["recommend"]) / planted < 0.75


def test_revenue_keeps_its_expectation_its_zeros_and_its_null(large, otherwise):
    people = large.truth.customers[["customer_id", "expected_spend", "counted_recommend"]]
    known = large.tables["customers"].merge(people)
    zero = known["spend_2025"] == 0
    error = known["spend_2025"] - known["expected_spend"]
    assert abs(error.mean()) < 3 * error.std() / np.sqrt(len(known))
    assert zero.mean() == pytest.approx(0.3, abs=3 * np.sqrt(0.21 / len(known)))
    assert abs(np.corrcoef(zero, known["counted_recommend"])[0, 1]) < 3 / np.sqrt(len(known))
    fit = revenue_fit(answered_with_revenue(otherwise), "recommend", "affluence")
    assert abs(fit.params["recommend"]) < 2.5 * fit.bse["recommend"]


@pytest.mark.soak
def test_the_interval_of_revenue_per_point_covers_95_in_100():
    replicates, held, found = 400, 0, []
    for seed in range(1000, 1000 + replicates):
        made = simulate_company(seed=seed)
        fit = revenue_fit(answered_with_revenue(made), "recommend", "affluence")
        low, high = fit.conf_int().loc["recommend"]
        held += low < made.truth["revenue_per_point"] < high
        found.append(fit.params["recommend"])
    assert abs(held / replicates - 0.95) <= 0.015 + 2 * np.sqrt(0.95 * 0.05 / replicates)
    assert np.mean(found) == pytest.approx(PLANTED["revenue_per_point"], abs=3 * np.std(found) / np.sqrt(replicates))


def test_detractors_leave_more_often(large):
    known = large.tables["customers"].merge(large.truth.customers[["customer_id", "counted_recommend"]])
    group = pd.cut(known["counted_recommend"], [-1, 6, 8, 10], labels=["detractor", "passive", "promoter"])
    left = known["until"].notna().groupby(group, observed=True).mean()
    for name, rate in large.truth["churn_rates"].items():
        assert left[name] == pytest.approx(rate, abs=0.01)


@pytest.mark.parametrize("seed", [EXAMPLE_SEED, 1, 2])
def test_k_means_on_behaviour_finds_the_segments(seed):
    assert rand_index(company(seed=seed) if seed != EXAMPLE_SEED else company()) >= 0.9


def test_drivers_are_found_in_their_order_and_halo_reaches_the_magazine(large, otherwise):
    complete = large.truth.answers.dropna(subset=DRIVERS)
    fit = least_squares(complete, "satisfaction", DRIVERS)
    weights = large.truth["driver_weights"]
    assert fit.params[DRIVERS].sort_values().index.tolist() == sorted(weights, key=weights.get)
    assert 0.02 < fit.params["magazine"] < 0.08
    fit = least_squares(otherwise.truth.answers.dropna(subset=DRIVERS), "satisfaction", DRIVERS)
    for driver, weight in weights.items():  # the ends of the scale cost some 3 %
        assert fit.params[driver] == pytest.approx(0.97 * weight, abs=0.03), driver


def test_a_halo_runs_through_all_ratings_and_blocks_share_more(large):
    found, kept = large.truth.answers[DRIVERS].corr(), 0.92  # of a correlation, after rounding to 1-7
    assert found.loc["magazine", "website"] == pytest.approx(kept * 0.5**2, abs=0.02)
    assert found.loc["products", "magazine"] == pytest.approx(kept * (0.5**2 + 0.4**2), abs=0.02)
    assert found.loc["staff", "returns_service"] > found.loc["staff", "website"] + 0.05


def test_never_met_is_never_met_in_the_records(example):
    rows, tables = example.tables["responses"].drop_duplicates(), example.tables
    rows = rows[~_unlisted(example)]
    paid, contacts = tables["transactions"], tables["interactions"]
    bought = paid["amount"] > 0
    records = {
        "website": paid.loc[bought & (paid["channel"] != "shop")].set_index("customer_id")["paid_at"],
        "delivery": paid.loc[bought & (paid["channel"] == "web")].set_index("customer_id")["paid_at"],
        "staff": paid.loc[bought & (paid["channel"] != "web")].set_index("customer_id")["paid_at"],
        "returns_service": paid.loc[~bought].set_index("customer_id")["paid_at"],
        "support": contacts.set_index("customer_id")["at"],
    }
    for driver in NEVER_MET:
        first = records[driver].groupby(level=0).min().reindex(rows["customer_id"]).fillna("9999").to_numpy()
        assert ((rows[driver] == 0).to_numpy() == (first > rows["asked_on"].to_numpy())).all(), driver
        assert 0.05 < (rows[driver] == 0).mean() < 0.95, driver


def test_agents_differ_by_what_was_planted(large):
    first = large.truth.contacts[~large.truth.contacts["again"]]  # the survey's support knows of no others
    contacts = first[["customer_id", "agent", "resolved"]].assign(at=first["opened_at"].dt.normalize())
    answers = large.truth.answers[["customer_id", "asked_on", "support"]].dropna().sort_values("asked_on")
    contacts = contacts.sort_values("at", kind="stable")
    joined = pd.merge_asof(answers, contacts, left_on="asked_on", right_on="at", by="customer_id").dropna()
    groups = joined.groupby("agent")["support"]
    within, sizes, k = groups.var().mean(), groups.size(), groups.ngroups
    between = groups.mean().var() - within / sizes.mean()
    assert np.sqrt(between * (k - 1) / k) == pytest.approx(large.truth["agent_sd"], abs=0.04)
    planted = large.truth.agents.set_index("agent")["shift"]
    assert planted.std(ddof=0) == pytest.approx(0.5) and planted.mean() == pytest.approx(0)
    assert groups.mean().corr(planted) > 0.97
    resolved = joined.groupby("resolved")["support"].mean()
    assert resolved["yes"] - resolved["no"] == pytest.approx(large.truth["resolved_lift"], abs=0.08)


def test_the_paths_from_engagement_to_profit(large):
    answers = large.truth.answers.merge(large.truth.customers[["customer_id", "branch", "region"]], on="customer_id")
    staff = answers.groupby(["branch", "wave"])["staff"].mean().rename("staff").rename_axis(["branch", "quarter"])
    units = large.truth.branches.merge(staff.reset_index())
    units = units.merge(large.tables["employees"].drop(columns="engagement"))
    regions = large.tables["customers"].drop_duplicates("branch").set_index("branch")["region"]
    apart = pd.get_dummies(units["quarter"] + units["branch"].map(regions), drop_first=True)
    units, nuisance = pd.concat([units, apart], axis=1), list(apart.columns)

    rise = least_squares(units, "staff", ["engagement", *nuisance]).params["engagement"]
    assert rise == pytest.approx(0.95 * large.truth["staff_per_engagement"], abs=0.06)
    met = answers["staff"].notna().mean()
    path = least_squares(units, "satisfaction", ["staff", *nuisance]).params["staff"]
    assert path == pytest.approx(met * large.truth["driver_weights"]["staff"], abs=0.05)
    profit = least_squares(units, "profit", ["satisfaction"])
    assert profit.params["satisfaction"] == pytest.approx(40, abs=3 * profit.bse["satisfaction"])


def test_delivery_drops_in_one_wave_and_takes_recommend_with_it(large):
    means = large.truth.answers.groupby("wave")[["delivery", "products", "recommend"]].mean()
    usual = means.drop(index="2024Q3").mean()
    change = means.loc["2024Q3"] - usual
    assert change["delivery"] == pytest.approx(-1, abs=0.06)
    assert change["products"] == pytest.approx(0, abs=0.03)
    assert -0.45 < change["recommend"] < -0.2


def test_who_answers_depends_on_segment_and_region_and_weights_mend_the_region(large):
    answers = large.truth.answers.merge(large.truth.customers[["customer_id", "segment", "region"]], on="customer_id")
    for segment, rate in large.truth["segment_response"].items():
        rows = answers[(answers["segment"] == segment) & answers["invited"]]
        assert rows["answered"].mean() == pytest.approx(rate, abs=0.02)
    assert answers.loc[answers["invited"], "answered"].mean() == pytest.approx(0.32, abs=0.02)
    responses = large.tables["responses"]
    assert responses.groupby("wave")["weight"].mean().to_numpy() == pytest.approx(np.ones(4), abs=0.002)
    unweighted = responses["region"].value_counts(normalize=True)
    weighted = responses.groupby("region")["weight"].sum() / responses["weight"].sum()
    assert unweighted["North"] < 0.35 and weighted["North"] == pytest.approx(0.4, abs=0.01)


def test_recommend_has_a_plausible_score_and_follows_satisfaction(example):
    answers = example.truth.answers
    score = 100 * ((answers["recommend"] >= 9).mean() - (answers["recommend"] <= 6).mean())
    assert 15 < score < 35
    assert 0.6 < answers["recommend"].corr(answers["satisfaction"]) < 0.85
    assert set(answers["recommend"]) == set(range(11)) and set(answers["satisfaction"]) == set(range(1, 8))


def test_comments_say_what_was_rated(example):
    responses = example.tables["responses"].drop_duplicates().reset_index(drop=True)
    answers = example.truth.answers.query("answered")
    told = responses.merge(answers, on=["customer_id", "wave"], suffixes=("", "_given"), validate="one_to_one")
    assert told["comment"].notna().mean() == pytest.approx(0.4, abs=0.03)
    assert set(told["language"]) == {"en", "pl", "ru"}
    for tone, topic, clauses in (("positive", "comment_best", slice(0, 2)), ("negative", "comment_worst", slice(2, 4))):
        rows = told[(told["comment_tone"] == tone) & ~told["comment_misspelt"]]
        said = zip(rows["comment"], rows["language"], rows[topic])
        held = [any(c[1:] in comment for c in CLAUSES[lang][t][clauses]) for comment, lang, t in said]
        assert len(held) > 50 and all(held)
    assert (told.loc[told["comment_tone"] == "negative", "satisfaction_given"] <= 4).all()
    assert told.loc[told["comment_tone"] == "none", "comment"].isin(sum(UNINFORMATIVE.values(), [])).all()


def test_comments_hold_invented_contact_data_where_planted_and_every_topic_in_three_languages(example):
    told = with_comments(example)
    held = told["comment"].str.contains(r"\d|@|www|http")
    assert (held == told["comment_contact_data"]).all() and held.any()
    assert told.loc[held, "comment"].str.contains(r"k\d{6}@example\.org|\+48 601\d{6}").all()
    assert {lang: set(topics) for lang, topics in CLAUSES.items()} == dict.fromkeys(("en", "pl", "ru"), set(DRIVERS))
    rng = np.random.default_rng(1)
    assert ", ale " in compose("pl", "mixed", "staff", "delivery", rng=rng)


def with_comments(made) -> pd.DataFrame:
    """Comments with what is true of them."""
    responses = made.tables["responses"].drop_duplicates()
    answers = made.truth.answers.query("answered")
    told = responses.merge(answers, on=["customer_id", "wave"], suffixes=("", "_given"), validate="one_to_one")
    return told[told["comment"].notna()]


def near(share: float, n: int, sd: float = 0.5) -> object:
    return pytest.approx(share, abs=3 * sd / np.sqrt(n))


def test_comments_are_disturbed_as_planted(large):
    told = with_comments(large)
    told = told[told["comment_tone"] != "none"]
    neutral = told["comment_neutral"] != ""
    topics = 8 - 1 - (told["comment_best"] != told["comment_worst"]).mean()  # neither the praised nor the blamed one
    assert neutral.mean() == near(large.truth["neutral_share"] * topics / 8, len(told), 0.4)
    assert not (told["comment_neutral"] == told["comment_worst"]).any()
    assert told["comment_misspelt"].mean() == near(large.truth["misspelt_share"], len(told), 0.3)
    assert told["comment_contact_data"].mean() == near(large.truth["contact_data_share"], len(told), 0.2)
    plain = told[~told["comment_misspelt"] & neutral]
    mention = [NEUTRAL[lang][topic][1:] for lang, topic in zip(plain["language"], plain["comment_neutral"])]
    assert all(said in text for said, text in zip(mention, plain["comment"]))
    polish = told[told["comment_misspelt"] & (told["language"] == "pl") & ~told["comment_contact_data"]]
    assert not polish["comment"].str.contains("[ąćęłńóśźż]").any() and len(polish) > 50


def test_new_customers_join_with_their_first_purchase(large):
    customers, people = large.tables["customers"], large.truth.customers.query("listed").reset_index(drop=True)
    paid = large.tables["transactions"].query("amount > 0").groupby("customer_id")["paid_at"].min()
    first = paid.reindex(customers["customer_id"]).to_numpy()
    assert people["new"].mean() == near(large.truth["new_share"], len(people), 0.33)
    assert (customers["since"][people["new"]] == first[people["new"]]).all()
    assert (customers["since"][~people["new"]] < "2024").all()


def test_employees_answer_with_a_sampling_error(large):
    units = large.truth.branches.merge(large.tables["employees"], on=["branch", "quarter"], suffixes=("_true", ""))
    z = (units["engagement"] - units["engagement_true"]) * np.sqrt(units["n"]) / large.truth["employee_sd"]
    assert z.mean() == near(0, 160, 1.0) and z.std() == pytest.approx(1, abs=0.17)
    assert units["sd"].mean() == pytest.approx(0.7, abs=0.03) and units["n"].between(8, 40).all()
    back = simulate_company(seed=3, n_customers=200, truth={"reverse_profit_on_engagement": 0.02})
    null = simulate_company(seed=3, n_customers=200)
    assert back.tables["responses"].equals(null.tables["responses"])  # what employees say moves nobody
    moved = (back.tables["employees"]["engagement"] - null.tables["employees"]["engagement"]).to_numpy().reshape(-1, 4)
    profit = null.tables["employees"]["profit"].to_numpy().reshape(-1, 4)
    ends = ((moved + 1e-9) % 1 == 0).all()
    assert not ends and np.polyfit(profit[:, :-1].ravel(), moved[:, 1:].ravel(), 1)[0] == pytest.approx(0.02, abs=0.003)


def test_ratings_of_contacts_follow_channel_switch_matter_and_agent(large):
    rated = large.truth.contacts.assign(fine=lambda t: (t["resolved"] == "yes").astype(float))
    rated["agent_shift"] = rated["agent"].map(large.truth.agents.set_index("agent")["shift"])
    rated["complains"] = rated["matter"] == "complaint"
    for channel in ("email", "chat", "shop"):
        rated[channel] = rated["channel"] == channel
    terms = ["agent_shift", "fine", "complains", "switched", "email", "chat", "shop"]
    fit = least_squares(rated, "rating", terms)
    t = large.truth
    planted = [1, t["resolved_lift"], t["complaint_on_rating"], t["switch_on_rating"], -0.2, 0, 0.3]
    for term, value in zip(terms, planted):  # the ends of the scale cost some 3 %
        assert fit.params[term] == pytest.approx(0.97 * value, abs=0.02 + 3 * fit.bse[term]), term
    raw = rated.groupby("agent")["rating"].mean()
    first = raw[raw.index > "A05"].mean() - raw[raw.index <= "A05"].mean()
    shift = large.truth.agents.set_index("agent")["shift"]
    assert first - (shift[5:].mean() - shift[:5].mean()) == pytest.approx(
        0.45 * 0.97, abs=0.05
    )  # a raw league is wrong


def test_a_response_names_the_last_contact_before_it(example):
    rows = example.tables["responses"].drop_duplicates()
    log = example.tables["interactions"].dropna(subset="customer_id").sort_values("opened_at", kind="stable")
    rated = rows.dropna(subset="contact_id")
    assert ((rows["contact_rating"] > 0) == rows["contact_id"].notna()).all() and len(rated) > 500
    for row in rated.sample(60, random_state=1).itertuples():
        before = log[(log["customer_id"] == row.customer_id) & (log["opened_at"] <= row.asked_on + " 00:00")]
        assert before["contact_id"].iloc[-1] == row.contact_id
    given = example.truth.contacts.set_index("contact_id")["rating"]
    assert (given.loc[rated["contact_id"]].to_numpy() == rated["contact_rating"].to_numpy()).all()


def test_customers_return_by_whether_they_were_helped(large):
    log = large.tables["interactions"].dropna(subset="customer_id")
    log = log.assign(at=pd.to_datetime(log["opened_at"])).sort_values(["customer_id", "topic", "at"], kind="stable")
    same = (log["customer_id"] == log["customer_id"].shift(-1)) & (log["topic"] == log["topic"].shift(-1))
    back = same & (log["at"].shift(-1) - log["at"] <= pd.Timedelta(days=7))
    inside = log["at"] < "2025-12-24"
    for resolved, name in (("no", "repeat_if_unresolved"), ("yes", "repeat_if_resolved")):
        rows = back[inside & (log["resolved"] == resolved)]
        chance = large.truth[name] + (1 - large.truth[name]) * 0.005  # somebody who asks again anyway
        assert rows.mean() == near(chance, len(rows), np.sqrt(chance * (1 - chance)) + 0.03)


def hours_of(made) -> pd.DataFrame:
    known = made.truth.contacts.query("opened_at < '2025-12-01'")
    hours = (known["closed_at"] - known["opened_at"]) / pd.Timedelta(hours=1)
    after = (known["handed_at"] - known["opened_at"]) / pd.Timedelta(hours=1)
    return known.assign(hours=hours, after=after, handed=after.notna())


def test_a_hand_off_costs_nothing_though_it_looks_as_if_it_did(large):
    cases = hours_of(large)
    means = cases.groupby("handed")["hours"].mean()
    assert 1.5 < means[True] / means[False] < 1.8  # the naive comparison
    assert cases["hard"].mean() == near(large.truth["hard_share"], len(cases))
    means = cases.groupby("hard")["hours"].mean()
    assert means[True] / means[False] == pytest.approx(large.truth["hard_hours_ratio"], abs=0.1)
    for landmark in (6, 12, 24):  # among cases that are open then, of whatever hardness
        still = cases[cases["hours"] > landmark].assign(early=lambda t: t["after"] <= landmark)
        means = still.groupby("early")["hours"].mean() - landmark
        assert means[True] / means[False] == pytest.approx(1, abs=0.08)


def test_hand_offs_may_be_made_to_cost(large, otherwise):
    rest = [(t["hours"] - t["after"])[t["handed"]].mean() for t in map(hours_of, (otherwise, large))]
    assert rest[0] / rest[1] == pytest.approx(1.5, abs=0.03)


def test_the_log_says_who_had_a_case(example):
    log, contacts = example.tables["interactions"], example.truth.contacts
    steps = log[log["customer_id"].isna()]
    assert len(steps) == contacts["handed_at"].notna().sum() and steps["channel"].isna().all()
    assert log["contact_id"].is_unique and (log.groupby("case_id").size() <= 2).all()
    assert (log[log["customer_id"].notna()]["owner"] == "Service").all() and not (steps["owner"] == "Service").any()
    assert (steps["opened_at"] <= steps["closed_at"].fillna("9999")).all()


def test_the_programme_shortens_waiting_where_it_runs_and_the_trend_everywhere(large):
    contacts = large.truth.contacts.assign(log_wait=lambda t: np.log(t["wait"].clip(0.1)))
    branch = large.truth.customers.set_index("customer_id")["branch"]
    contacts["treated"] = contacts["customer_id"].map(branch).isin(large.truth.treated)
    contacts["after"] = contacts["opened_at"] >= "2025-01-01"
    means = contacts.groupby(["treated", "after"])["log_wait"].mean()
    change = means[True, True] - means[True, False], means[False, True] - means[False, False]
    assert change[1] == pytest.approx(12.2 * large.truth["wait_trend"], abs=0.06)  # without any programme
    assert change[0] - change[1] == pytest.approx(np.log(large.truth["programme_wait_ratio"]), abs=0.08)
    ratings = contacts.groupby(["treated", "after"])["rating"].mean()
    assert ratings[True, True] - ratings[True, False] == pytest.approx(
        ratings[False, True] - ratings[False, False], abs=0.1
    )
    drift = contacts[contacts["agent"] == "A13"].groupby(contacts["opened_at"] >= "2025-07-01")["log_wait"].mean()
    assert drift[True] - drift[False] == pytest.approx(np.log(large.truth["agent_drift"]) - 0.12, abs=0.12)
    assert cx.open_study(EXAMPLE).programme.treated == company().truth.treated


def test_detractors_are_followed_up_to_no_effect_that_looks_like_one(large):
    answers = large.truth.answers
    given = answers[answers["answered"] & ~answers["recommend_skipped"]]
    low = given[given["recommend"] <= 6]
    assert low["followed_up"].notna().mean() == near(large.truth["followup_share"], len(low))
    worst = low[low["recommend"] <= 3]
    assert worst["followed_up"].notna().mean() == near(1.25 * large.truth["followup_share"], len(worst))
    assert given[given["recommend"] > 6]["followed_up"].isna().all()
    days = (low["followed_up"] - low["asked_on"]).dt.days.dropna()
    assert days.mean() == near(large.truth["followup_days"], len(days), 3.0)
    then = answers.groupby("customer_id")["recommend"].shift(-1)
    pairs = low.assign(then=then.loc[low.index]).dropna(subset="then")
    gain = (pairs["then"] - pairs["recommend"]).groupby(pairs["followed_up"].notna()).mean()
    assert gain.min() > 1  # back to the mean, whether anybody came or not
    fit = least_squares(pairs.assign(back=pairs["followed_up"].notna()), "then", ["back", "recommend"])
    assert abs(fit.params["back"]) < 3 * fit.bse["back"]


def test_a_follow_up_may_be_made_to_help():
    kind, null = (simulate_company(seed=4, n_customers=400, truth={"followup_lift": lift}) for lift in (2.0, 0.0))
    before, after = null.truth.answers["recommend"], kind.truth.answers["recommend"]
    helped = (
        null.truth.answers["followed_up"].notna().groupby(null.truth.answers["customer_id"]).shift(fill_value=False)
    )
    assert (
        (after - before)[~helped].eq(0).all() and (after == (before + 2).clip(upper=10))[helped].all() and helped.any()
    )


def test_what_is_said_of_loyalty_has_the_planted_shares(large):
    rows = large.tables["responses"].drop_duplicates()
    answers = large.truth.answers.query("answered")[["customer_id", "wave", "recommend"]]
    rows = rows.drop(columns="recommend  ").merge(answers, on=["customer_id", "wave"], validate="one_to_one")
    said = {c: rows[c].dropna() == "yes" for c in ("problem", "forgive", "prefer", "switch", "service_over_price")}
    for column, name in {"problem": "problem_share", "prefer": "prefer_share", "switch": "switch_said",
                         "service_over_price": "service_over_price"}.items():  # fmt: skip
        assert said[column].mean() == near(large.truth[name], len(rows)), column
    group = pd.cut(rows["recommend"], [-1, 6, 8, 10], labels=["detractor", "passive", "promoter"])
    forgiving = said["forgive"].groupby(group, observed=True).mean()
    assert forgiving["detractor"] == near(large.truth["forgive_base"], (group == "detractor").sum())
    assert forgiving["promoter"] / forgiving["detractor"] == pytest.approx(large.truth["forgive_ratio"], abs=0.1)
    assert rows["prefer"].isna().mean() == near(large.truth["skipped_share"], len(rows), 0.15)


def test_buying_again_does_not_depend_on_the_answer(large):
    known = answered_with_revenue(large)
    again = (known["spend_2025"] > 0).groupby(
        pd.cut(known["recommend"], [-1, 6, 8, 10], labels=["d", "p", "r"]), observed=True
    )
    assert again.mean()["r"] / again.mean()["d"] == pytest.approx(1, abs=0.04)


# -- what is refused --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("truth", "message"),
    [
        ({"xyz": 1}, "truth has no key 'xyz'; known: " + ", ".join(PLANTED)),
        ({"delivery_drp": 0.1}, "truth has no key 'delivery_drp'; did you mean 'delivery_drop'?"),
        ({"driver_weights": {"delivry": 1}}, "truth: driver_weights has no key 'delivry'; did you mean 'delivery'?"),
        ({"gamma_shape": "1"}, "truth: gamma_shape='1' is not a finite number"),
        ({"zero_share": 1.5}, "truth: zero_share=1.5 must lie between 0 and 0.99"),
        ({"churn_rates": 0.1}, "truth: churn_rates=0.1 must name its parts, for example {'detractor': 0.16}"),
        ({"segment_shares": {"digital": 0.5}}, "truth: segment_shares sum to 1.22; they must sum to 1"),
        (
            {"segment_response": dict.fromkeys(PLANTED["segment_shares"], 0)},
            "simulate_company: only 0 people answered, 5 are needed; "
            "raise n_customers, segment_response or sampling_fractions",
        ),
    ],
)
def test_an_impossible_truth_is_refused(truth, message):
    with pytest.raises(DataProblem) as refused:
        simulate_company(seed=1, truth=truth)
    assert str(refused.value) == message


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"seed": -1}, "simulate_company: seed=-1 must be a whole number, 0 or more"),
        ({"seed": 1, "n_customers": 10}, "simulate_company: n_customers=10 must be a whole number, 200 or more"),
        ({"seed": 1, "waves": 5}, "simulate_company: waves=5 must be a whole number, 1 to 4"),
    ],
)
def test_an_impossible_company_is_refused(arguments, message):
    with pytest.raises(DataProblem) as refused:
        simulate_company(**arguments)
    assert str(refused.value) == message


def test_a_part_of_a_group_is_replaced_alone():
    made = simulate_company(seed=1, n_customers=200, truth={"driver_weights": {"delivery": 0}})
    assert isinstance(made.truth, Truth)
    assert made.truth["driver_weights"] == {**PLANTED["driver_weights"], "delivery": 0}
