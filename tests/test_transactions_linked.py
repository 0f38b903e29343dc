"""Revenue before and after each answer: windows, counts, and what is refused."""

import duckdb
import numpy as np
import pandas as pd
import pytest

from cxresearch.errors import DataProblem
from cxresearch.study import open_study
from cxresearch.survey import as_survey
from cxresearch.transactions import behaviour, link_revenue, link_waves
from cxresearch.transactions.linked import days_between, followed

COLUMNS = dict(customer="customer", asked="asked", time="time", amount="amount", before="90 days", after=30)


def answers(**columns):
    base = {
        "customer": ["a", "a", "b", "c"],
        "asked": pd.to_datetime(["2024-04-01", "2024-06-01", "2024-06-01", "2024-06-01"]),
        "score": [9, 3, 7, 8],
    }
    return pd.DataFrame(base | columns)


def payments():
    rows = [
        ("a", "2024-01-02", 1.0),
        ("a", "2024-01-01", 2.0),
        ("a", "2024-04-01", 4.0),
        ("a", "2024-03-31", 8.0),
        ("a", "2024-05-01", 16.0),
    ]
    rows += [("a", "2024-06-15", -32.0), ("b", "2020-01-01", 64.0), ("z", "2024-06-20", 128.0)]
    return pd.DataFrame(rows, columns=["customer", "time", "amount"]).assign(time=lambda t: pd.to_datetime(t["time"]))


def test_each_payment_counts_before_or_after_an_answer_by_its_moment_and_never_twice():
    table = link_revenue(answers(), payments(), **COLUMNS).table
    assert table["score"].tolist() == [9, 3, 7, 8]
    assert table["revenue_before"].tolist()[:3] == [1 + 8, 4 + 8 + 16, 0] and np.isnan(table["revenue_before"][3])
    assert table["revenue_after"].tolist()[:3] == [4, -32, 0]
    assert table["purchases_after"].tolist()[:3] == [1, 0, 0]


def test_windows_that_reach_beyond_the_last_payment_are_marked_and_every_loss_is_counted():
    found = link_revenue(answers(customer=["a", "a", "b", None]), payments(), **COLUMNS)
    assert (
        found.table["after_complete"].tolist()[:3] == [True, False, False] and found.table["after_complete"].isna()[3]
    )
    assert found.waterfall.to_dict("list") == {
        "step": ["received", "with customer and time", "matched", "window complete"],
        "rows": [4, 3, 3, 1],
        "removed": [0, 1, 0, 2],
        "reason": ["", "no customer or asked", "", "transactions end 2024-06-20 00:00:00"],
    }


def test_a_file_and_a_connection_give_what_the_frame_gives_and_equal_a_loop_in_pandas(tmp_path):
    rng = np.random.default_rng(1)
    paid = pd.DataFrame(
        {
            "customer": rng.integers(1, 40, 3000),
            "time": pd.Timestamp("2024-01-01") + pd.to_timedelta(rng.integers(0, 500, 3000), "D"),
            "amount": rng.integers(1, 90, 3000) / 1.0,
        }
    )
    asked = pd.DataFrame(
        {
            "customer": rng.integers(1, 40, 60),
            "asked": pd.Timestamp("2024-06-01") + pd.to_timedelta(rng.integers(0, 90, 60), "D"),
        },
        index=range(100, 160),
    )
    found = link_revenue(asked, paid, **COLUMNS).table
    for row in asked.itertuples():
        own = paid[paid["customer"] == row.customer]
        inside = own[(own["time"] >= row.asked) & (own["time"] < row.asked + pd.Timedelta(30, "D"))]
        assert found.loc[row.Index, "revenue_after"] == inside["amount"].sum()
    paid.to_parquet(tmp_path / "paid.parquet")
    connection = duckdb.connect()
    connection.from_df(paid).create("transactions")
    for source in (tmp_path / "paid.parquet", connection):
        pd.testing.assert_frame_equal(link_revenue(asked, source, **COLUMNS).table, found)


def test_a_window_shorter_than_the_purchase_cycle_warns():
    with pytest.warns(UserWarning) as caught:
        link_revenue(answers(), payments(), **(COLUMNS | {"after": 15}))
    assert str(caught[0].message) == (  # gaps of 1, 89, 1 and 30 days
        "the window of 15 days after an answer is shorter than the purchase cycle: half of the times between a customer's purchases "
        "are 16 days or longer"
    )
    assert caught[0].filename == __file__


def test_responses_keep_their_design_labels_and_floor():
    survey = as_survey(answers(w=2.0), weight="w", respondent="customer", labels={"score": "Score"}, min_base=3)
    linked = link_revenue(survey, payments(), **COLUMNS)
    assert (linked.weight, linked.respondent, linked.min_base) == ("w", "customer", 3)
    assert linked.label("score") == "Score" and linked.label("revenue_after") == "revenue after the answer"
    assert linked.with_table(linked.table).waterfall is None  # that of other rows


@pytest.mark.parametrize("paid", [int, str, float, "float text"])
def test_an_id_read_as_a_decimal_beside_a_missing_one_meets_its_payments(paid):
    ids = {"a": 101, "b": 102, "z": 103}
    rows = payments().assign(customer=lambda t: t["customer"].map(ids))
    rows["customer"] = (
        rows["customer"].astype(float).astype(str) if paid == "float text" else rows["customer"].astype(paid)
    )
    asked = answers(customer=[101, 101, 102, None])  # 101.0, 101.0, 102.0, NaN
    found = link_revenue(asked, rows, **COLUMNS).table
    assert found["revenue_before"].tolist()[:3] == [9, 28, 0]
    found = link_revenue(asked.assign(customer=["101", " 101", "102", None]), rows, **COLUMNS).table
    assert found["revenue_before"].tolist()[:3] == [9, 28, 0]


def refused(responses, transactions, message):
    with pytest.raises(DataProblem) as problem:
        link_revenue(responses, transactions, **COLUMNS)
    assert str(problem.value) == message


def test_a_payment_years_from_all_others_is_refused_and_planned_dates_are_not():
    ahead = pd.concat([payments(), payments()[:1].assign(time=pd.Timestamp("2199-01-01"))])
    refused(
        answers(), ahead,
        "time holds 2199-01-01, while all other payments lie between 2020-01-01 and 2024-06-20; correct it or leave the rows out",
    )  # fmt: skip
    shift = pd.DateOffset(years=200)
    planned = payments().assign(time=lambda t: t["time"] + shift), answers().assign(asked=lambda t: t["asked"] + shift)
    assert link_revenue(planned[1], planned[0], **COLUMNS).table["revenue_before"].tolist()[:3] == [9, 28, 0]


def test_payments_in_two_currencies_are_refused():
    mixed = payments().assign(currency=["EUR"] * 5 + ["USD"] * 3)
    message = "amount is in 2 currencies (EUR: 5, USD: 3); convert it to one before it is added up"
    refused(answers(), mixed, message)
    with pytest.raises(DataProblem) as problem:
        behaviour(mixed, customer="customer", time="time", amount="amount", until="2025-01-01")
    assert str(problem.value) == message


# --- waves as a panel ---------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def example(root):
    return open_study(root / "data" / "example" / "study.yml")


def test_the_bundled_waves_make_a_panel_whose_windows_end_before_the_next_answer(example):
    found = link_waves(example)
    table = found.table
    assert sorted(table["period"].unique()) == [0, 1, 2, 3]
    assert found.waterfall["step"].tolist()[-2:] == ["one a customer and wave", "used"]
    assert found.waterfall["reason"].iloc[-1].endswith("with more returned than bought: revenue set to 0")
    assert table["revenue_after"].min() == 0 and "affluence" in table.columns
    days = days_between(table, "asked_on")
    later = table.assign(period=table["period"] - 1)[["customer", "period", "asked_on"]]
    both = table.merge(later, on=["customer", "period"], suffixes=("", "_next"))
    inside = both["asked_on"] + pd.Timedelta(days, "D") <= both["asked_on_next"]
    assert len(both) == followed(table) > 400 and inside.mean() > 0.9


def test_a_payment_counts_in_the_panel_as_in_link_revenue(example):
    found, days = link_waves(example, days=20).table, 20
    row = found[found["revenue_after"] > 0].iloc[0]
    paid = example.transactions.table
    own = paid[(paid["customer"] == row["customer"]) & (paid["time"] >= row["asked_on"])]
    assert row["revenue_after"] == pytest.approx(
        own[own["time"] < row["asked_on"] + pd.Timedelta(days, "D")]["amount"].sum()
    )


@pytest.mark.parametrize(
    ("gone", "why"),
    [
        ("    wave: wave ", "a lead needs wave, which study.yml does not declare"),
        ("    customer: customer_id             # the link", "a lead needs customer, which study.yml does not declare"),
    ],
)
def test_a_study_without_waves_or_customers_says_what_a_lead_needs(root, tmp_path, gone, why):
    text = (root / "data" / "example" / "study.yml").read_text(encoding="utf-8")
    assert gone in text
    text = "".join(line for line in text.splitlines(keepends=True) if not line.startswith("waves:"))
    for file in (root / "data" / "example").glob("*.csv"):
        (tmp_path / file.name).symlink_to(file)
    (tmp_path / "study.yml").write_text(text.replace(gone, f"#{gone}"), encoding="utf-8")
    found = link_waves(open_study(tmp_path / "study.yml"))
    assert found.waterfall.iloc[-1].tolist() == ["panel", 0, found.waterfall["rows"].iloc[0], why] and not len(found)


def test_too_few_who_answer_twice_running_make_no_panel(example):
    found = link_waves(example, min_rows=5000)
    pairs = followed(link_waves(example).table)
    assert found.waterfall["reason"].iloc[-1] == (
        f"{pairs} answers are followed by one of the same customer in the next wave, fewer than 5000"
    )
    assert not len(found) and "revenue_after" in found.table and len(found.waterfall) == 7


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"customer": ["q"] * 4},
            "none of 4 responses meets a transaction of its customer; compare the ids in customer of the two tables",
        ),
        ({"revenue_after": 1.0}, "responses already has revenue_after; rename or drop them first"),
        (
            {"asked": "in May"},
            "asked holds no dates; declare it with role asked_at in study.yml, or convert it with pandas.to_datetime",
        ),
        (
            {"customer": pd.Series(["a", 1, 2, 3], dtype=object)},
            "customer holds ids of 2 types (int: 3, str: 1); make them all text, or all numbers",
        ),
        (
            {"asked": pd.Timestamp("2199-01-01")},
            "asked holds 4 dates (latest 2199-01-01) whose whole window before lies after the last payment, 2024-06-20; correct them, or "
            "leave these answers out",
        ),
        (
            {"asked": pd.Timestamp("2024-01-01", tz="UTC")},
            "asked carries a time zone; convert it to local time without one",
        ),
    ],
)
def test_refusals(change, message):
    refused(answers(**change), payments(), message)
