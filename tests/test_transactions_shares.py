"""Behaviour shared out: the same bytes for any order, threads, shares and workers; contacts; amounts at the limits."""

import os
import re
import signal
import threading
import time
import zlib

import duckdb
import numpy as np
import pandas as pd
import pytest
from test_transactions import COLUMNS, refused, sales, table_of
from waiting import wait_for

from cxresearch.errors import DataProblem
from cxresearch.inference.events import opened
from cxresearch.study import open_study
from cxresearch.survey import as_table
from cxresearch.transactions import behaviour
from cxresearch.transactions.cluster import shares_of

UNTIL = {"until": "2024-12-01"}


@pytest.fixture(scope="module")
def cluster():
    distributed = pytest.importorskip("distributed")
    options = {"n_workers": 2, "threads_per_worker": 1, "dashboard_address": None, "silence_logs": 50}
    with distributed.LocalCluster(**options) as cluster:
        yield cluster


@pytest.fixture(scope="module")
def by_customer(tmp_path_factory):
    """Files that hold all payments of their customers."""
    folder, table = tmp_path_factory.mktemp("by customer"), sales(400_000)
    table["customer"] = "c" + table["customer"].astype(str) + "_" + (np.arange(len(table)) % 97).astype(str)
    table["discount"] = (table["amount"].abs() / 7).round(2)
    table = pd.concat([table, table.head(5)])
    for part, rows in table.groupby(table["customer"].map(lambda c: zlib.crc32(c.encode())) % 5):
        rows.to_parquet(folder / f"{part}.parquet")
    return folder


def same(found, expected):
    pd.testing.assert_frame_equal(found, expected, check_exact=True)
    assert found.attrs == expected.attrs


EVERY = {"channel": "channel", "discount": "discount", "category": "channel", **COLUMNS, **UNTIL}


def test_two_workers_give_the_bytes_of_one_process(cluster, by_customer):
    found = table_of(by_customer, **EVERY, scheduler=cluster.scheduler_address)
    same(found, table_of(by_customer, **EVERY, threads=1))
    assert found.attrs["waterfall"][1]["reason"] == "5 equal to another row in every column, kept"


def test_a_time_without_beginning_is_incomplete_and_one_without_end_comes_after_until():
    database = duckdb.connect()
    database.execute("CREATE TABLE transactions AS SELECT 1 AS customer, TIMESTAMP '2024-01-05' AS time, 2.5 AS amount")
    database.execute("INSERT INTO transactions VALUES (1, '-infinity', 4), (2, 'infinity', 8), (3, '-infinity', 8)")
    found = table_of(database, **COLUMNS, **UNTIL)
    assert found[["customer", "frequency", "monetary"]].values.tolist() == [[1, 1, 2.5]]
    assert [step["removed"] for step in found.attrs["waterfall"]] == [0, 0, 2, 1, 0, 0]


@pytest.mark.parametrize("window", [None, "5 months"])
@pytest.mark.parametrize("months", [1, 7, 12, 17])
@pytest.mark.parametrize(
    "until",
    ["2024-12-01", "2024-11-16 07:30", "2024-10-28", "2024-03-29", "2024-08-30 00:00:01", "2024-12-31", "2025-02-28"],
)
def test_months_are_counted_back_from_until_whatever_its_day_and_hour(until, months, window):
    edges = [pd.Timestamp(until) - pd.DateOffset(months=k) for k in range(18)]
    table = sales(2000)
    near = [edge + pd.Timedelta(s, "s") for edge in edges[::-1] for s in (-1, 0, 1)]
    table = pd.concat([table, table.iloc[: len(near)].assign(time=near)], ignore_index=True)
    table = table[(table["time"] >= edges[5 if window else 17]) & (table["time"] < edges[0]) & (table["amount"] >= 0)]
    found = table_of(table, **COLUMNS, until=until, window=window, months=months, parts=("months",))
    month = pd.cut(table["time"], edges[::-1], right=False, labels=range(17, 0, -1)).astype(int)
    expected = table.groupby(["customer", month]).size().unstack(fill_value=0)
    expected = expected.reindex(columns=range(1, min(months, 5 if window else 17) + 1), fill_value=0)
    names = [name for name in found if name.startswith("month_")]
    np.testing.assert_array_equal(found[names], expected)


@pytest.mark.parametrize(("rows", "limit", "bits"), [(10, None, 12), (2**17, None, 14), (2**17, "100MB", 12)])
def test_ids_are_counted_in_place_only_where_rows_are_many_and_memory_is_not_limited(rows, limit, bits):
    with opened(pd.DataFrame({"customer": np.arange(rows)}), threads=1, memory_limit=limit) as relation:
        found = relation.query("source", "SELECT current_setting('perfect_ht_threshold')").fetchall()[0][0]
    assert int(found) == bits


SUMS = {**COLUMNS, **UNTIL, "parts": ("value", "months", "weekdays")}


@pytest.fixture
def files(tmp_path):
    """Files of unequal lengths, one without rows, with customers in one only and customers in all."""
    table, cuts, folder = sales(30_000), [0, 10, 10, 7000, 29_000, 30_000], tmp_path / "it's here"
    table.loc[table["time"] < "2023-03-01", "customer"] += 1000
    folder.mkdir()
    for i, (start, stop) in enumerate(zip(cuts, cuts[1:])):
        table.iloc[start:stop].to_parquet(folder / f"{i}.parquet")
    return folder


@pytest.mark.parametrize("change", [{}, {"window": "5 months"}, {"negative": "drop"}, {"channel": "channel"}])
@pytest.mark.parametrize("ids", ["int64", "str", "datetime64[us]"])
def test_totals_of_shares_of_the_files_give_the_bytes_of_one_process(ids, change, cluster, files):
    for path in files.glob("*.parquet"):
        table = pd.read_parquet(path)
        table.assign(customer=table["customer"].astype(ids)).to_parquet(path)
    expected = table_of(files, **SUMS, **change)
    same(table_of(files, **SUMS, **change, scheduler=cluster.scheduler_address), expected)
    assert len(expected) >= 150


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"parts": ("value", "rhythm")}, "rhythm"),
        ({"basket": "channel"}, "basket"),
        ({"category": "channel", "duplicates": "drop"}, "category, duplicates='drop'"),
    ],
)
def test_what_needs_all_payments_of_a_customer_needs_files_split_by_customer(change, named, cluster, files):
    n = pd.concat(map(pd.read_parquet, files.glob("*.parquet")))["customer"].nunique()
    with pytest.raises(DataProblem) as problem:
        behaviour(files, **(SUMS | change), scheduler=cluster.scheduler_address)
    few, said = re.fullmatch(r"(\d+) customers (.*)", str(problem.value)).groups()
    assert 100 < int(few) <= n and said == (
        f"have payments in files of several workers, and {named} needs all payments of a customer at once; split the files by "
        f"customer, or leave out {named}"
    )


def test_ids_of_another_type_in_one_file_are_refused(cluster, files):
    path = files / "4.parquet"
    pd.read_parquet(path).assign(customer="c1").to_parquet(path)
    with pytest.raises(DataProblem, match="customer is of another type in some of the files .*; write it as one"):
        behaviour(files, **SUMS, scheduler=cluster.scheduler_address)


def test_shares_are_about_equal_and_hold_each_file_once(files):
    paths = [str(path) for path in sorted(files.glob("*.parquet"))]
    for of in (1, 2, 3, 9):
        shares = shares_of(paths, of)
        assert sorted(sum(shares, [])) == paths and len(shares) == min(of, 5) and all(shares)
    assert [paths[3]] in shares_of(paths, 2)  # the largest alone


def test_a_share_may_have_no_customer(cluster, files):
    first = sales(30_000)["time"].iloc[:10].min()
    rows = pd.concat(map(pd.read_parquet, files.glob("*.parquet")))
    asked = {**COLUMNS, "until": first + pd.Timedelta(1, "s"), "window": 1, "parts": ("value",)}
    found = table_of(files, **asked, scheduler=cluster.scheduler_address)
    same(found, table_of(files, **asked))
    assert len(found) < rows["customer"].nunique()
    with pytest.raises(DataProblem, match="no transaction between"):
        behaviour(files, **{**asked, "until": "2022-01-01"}, scheduler=cluster.scheduler_address)


def test_sums_of_all_shares_decide_in_which_units_money_is_added(cluster, tmp_path):
    rows = pd.DataFrame({"customer": 1, "time": pd.Timestamp("2024-01-01"), "amount": [5e9, 0.25, 5e9, 0.123456]})
    rows[:2].to_parquet(tmp_path / "0.parquet")
    rows[2:].to_parquet(tmp_path / "1.parquet")
    found = table_of(tmp_path, **SUMS, scheduler=cluster.scheduler_address)
    same(found, table_of(tmp_path, **SUMS))
    assert found["monetary"].tolist() == [10_000_000_000.37]  # whole hundredths: millionths would pass 2**53


def test_a_worker_killed_midway_changes_nothing(cluster, by_customer):
    killed, ended = [], threading.Event()
    cluster.wait_for_workers(2)

    def kill_when_both_work():
        from distributed import Client

        with Client(cluster.scheduler_address) as client:
            while not killed and not ended.is_set():
                busy = [address for address, tasks in client.processing().items() if tasks]
                if len(busy) == 2:
                    pid = next(w.pid for w in cluster.workers.values() if w.worker_address == busy[0])
                    os.kill(pid, signal.SIGKILL)
                    killed.append(pid)
                time.sleep(0.002)

    def found_with_a_worker_killed():  # None where the moment was missed
        ended.clear()
        killer = threading.Thread(target=kill_when_both_work)
        killer.start()
        try:
            found = table_of(by_customer, **EVERY, scheduler=cluster.scheduler_address)
        finally:
            ended.set()
            killer.join()
        return [found] if killed else None

    (found,) = wait_for(found_with_a_worker_killed, "both workers are at work")
    assert len(killed) == 1
    same(found, table_of(by_customer, **EVERY, threads=2))


def test_a_cluster_needs_files_and_an_address_that_answers(cluster, files):
    refused(
        sales(9),
        "workers read files: give a path that all of them reach, or leave out scheduler",
        scheduler=cluster.scheduler_address,
    )
    with pytest.raises(DataProblem) as problem:
        behaviour(files, **COLUMNS, **UNTIL, scheduler="nowhere")
    assert str(problem.value).startswith("scheduler='nowhere' does not answer (")
    assert str(problem.value).endswith("); start it, or leave out scheduler")


def test_order_threads_and_memory_change_no_bit_of_amounts_that_doubles_cannot_hold():
    table = sales(30_000)
    table["amount"] = np.round(table["amount"] / 3, 6)
    expected = table_of(table, **COLUMNS, **UNTIL, threads=1)
    for seed in range(3):
        shuffled = table.sample(frac=1, random_state=seed)
        same(table_of(shuffled, **COLUMNS, **UNTIL, threads=2, memory_limit="100MB"), expected)
    same(table_of(table.iloc[::-1], **COLUMNS, **UNTIL), expected)
    assert expected["monetary"].tolist() == [round(v, 6) for v in expected["monetary"]]


def test_large_money_is_added_in_coarser_units_and_refused_where_no_unit_is_exact():
    table = pd.DataFrame({"customer": 1, "time": pd.to_datetime(["2024-01-01", "2024-02-01"]), "amount": [9e12, 0.25]})
    assert table_of(table, **COLUMNS, **UNTIL)["monetary"].tolist() == [9e12 + 0.25]
    refused(
        table.assign(amount=1e16),
        "the amounts of one customer add up to more than 9,007,199,254,740,992, beyond which they cannot be added exactly; "
        "correct them, or give them in thousands or millions",
    )


@pytest.mark.parametrize("n", [1022, 1023, 1024, 9000])
def test_counts_are_right_whether_or_not_they_fit_the_bits_of_a_shared_sum(n):
    times = pd.Timestamp("2024-11-01") + pd.to_timedelta(np.arange(n), unit="m")
    others = sales(3000).assign(customer=2)
    table = pd.concat([pd.DataFrame({"customer": 1, "time": times, "amount": 1.0}), others[others["amount"] >= 0]])
    found = table_of(table, **COLUMNS, **UNTIL).set_index("customer")
    assert found.loc[1, ["frequency", "month_1", "month_2", "active_months"]].tolist() == [n, n, 0, 1]
    assert found.loc[1, "weekday_5_share"] == pytest.approx((times.day_of_week == 4).mean())
    november = table[(table["customer"] == 2) & (table["time"] >= "2024-11-01") & (table["time"] < "2024-12-01")]
    assert found.loc[2, "month_1"] == len(november) > 50


def test_gaps_are_those_between_distinct_moments_whether_mean_spread_or_their_ratio():
    table = sales(20_000)
    table["time"] = table["time"].dt.normalize()  # dated by the day: purchases coincide
    found = table_of(table, **COLUMNS, until="2025-01-02").set_index("customer")
    days = table[table["amount"] >= 0].drop_duplicates(["customer", "time"]).sort_values("time")
    gaps = (days.groupby("customer")["time"].diff().dt.total_seconds() / 86400).groupby(days["customer"])
    expected = pd.DataFrame({"gap_mean_days": gaps.mean(), "gap_sd_days": gaps.std()})
    expected["gap_cv"] = expected["gap_sd_days"] / expected["gap_mean_days"]
    pd.testing.assert_frame_equal(found[expected.columns.tolist()], expected, atol=1e-8)
    assert (found["frequency"] > gaps.count() + 1).any()
    twice = pd.DataFrame({"customer": 1, "time": pd.to_datetime(["2024-01-01", "2024-01-01"]), "amount": 1.0})
    assert table_of(twice, **COLUMNS, **UNTIL)[["gap_mean_days", "gap_cv"]].isna().all(axis=None)


def test_moments_years_apart_give_exact_spreads_in_any_order():
    times = pd.to_datetime(
        ["1960-01-01", "1975-06-30 12:34:56.789012", "1999-12-31", "2024-11-30 23:59:59.999999"], format="ISO8601"
    )
    table = pd.DataFrame({"customer": 1, "time": times, "amount": 1.0})
    gaps = np.diff(times.to_numpy().astype("datetime64[us]")).astype(float) / 864e8
    found = table_of(table, **COLUMNS, **UNTIL)
    assert found["gap_sd_days"].tolist() == pytest.approx([gaps.std(ddof=1)], rel=1e-12)
    same(table_of(table[::-1], **COLUMNS, **UNTIL), found)


def test_cdnow_holds_23570_customers_and_69659_purchases(shared):
    table = pd.read_csv(
        shared / "data/cdnow/CDNOW_master.txt", sep=r"\s+", names=["customer", "time", "n", "amount"], header=0
    )
    table["time"] = pd.to_datetime(table["time"].astype(str))
    found = table_of(table, **COLUMNS, until="1998-07-01")
    assert (len(found), found["frequency"].sum()) == (23570, 69659)
    assert found["monetary"].sum() == pytest.approx(table["amount"].sum())
    assert found["tenure_days"].max() == 546


def contacts():
    when = ["2024-11-01", "2024-11-02", "2024-11-03", "2024-12-05", None, "2024-11-09"]
    who, how = [1, 1, 2, 1, 1, 999_999], ["chat", "phone", None, "chat", "chat", "email"]
    return pd.DataFrame({"customer": who, "time": pd.to_datetime(when), "by": how})


ASKED = {**COLUMNS, **UNTIL, "contact_channel": "by", "digital": ["chat", "email"]}


def test_contacts_add_their_share_and_the_digital_share_of_the_same_window():
    survey = behaviour(sales(), contacts=contacts(), **ASKED)
    found = survey.table.set_index("customer")
    assert found.loc[[1, 2, 3], "contacts"].tolist() == [2, 1, 0]
    assert found.loc[1, "contact_share"] == pytest.approx(2 / (2 + found.loc[1, "frequency"]))
    assert found.loc[1, "digital_share"] == 0.5 and found.loc[[2, 3], "digital_share"].isna().all()
    assert survey.waterfall[["step", "rows", "reason"]].values.tolist()[6:] == [
        ["contacts received", 6, ""],
        ["contacts complete", 5, "no customer or time"],
        ["contacts before until", 4, "at or after 2024-12-01 00:00:00"],
        ["contacts in window", 4, ""],
        ["contacts matched", 3, "customer without a transaction in the window"],
    ]
    same(table_of(sales(), contacts=contacts().iloc[::-1], **ASKED), table_of(sales(), contacts=contacts(), **ASKED))
    assert "contacts" in table_of(sales(), contacts=contacts(), **ASKED, parts=("months",))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"digital": ["Chat"]}, "digital=['Chat'] names ['Chat']; by holds chat, email, phone"),
        ({"digital": []}, "digital=[] names no channel; by holds chat, email, phone"),
        ({"contact_channel": "chanel"}, "contacts has no column 'chanel'"),
        (
            {"contacts": contacts().assign(customer=range(900, 906))},
            "none of 4 customers with contacts has a transaction in the window; compare the ids in customer of the two tables",
        ),
    ],
)
def test_contacts_refused(change, message):
    with pytest.raises(DataProblem) as problem:
        behaviour(sales(), **{"contacts": contacts(), **ASKED, **change})
    assert str(problem.value) == message


def test_behaviour_is_a_survey_with_words_features_money_and_the_floor_of_its_table(root):
    study = open_study(root / "data" / "example" / "study.yml")
    found = behaviour(
        study.transactions, until="2025-01-01", window="12 months", contacts=study.interactions, digital=["chat"]
    )
    assert (found.respondent, found.currency, found.min_base) == ("customer", "EUR", study.min_base)
    assert set(found.table.columns) - {"customer"} == set(found.labels)
    assert found.label("tenure_days") == "days since the first purchase in the window"
    assert found.label("channel_web_share") == "share bought by web"
    assert found.columns_of("feature") == [
        "recency_days", "frequency", "basket_mean", "returns_share", "channel_web_share", "discount_share"
    ]  # fmt: skip
    known = as_table(study.transactions.table, person="customer", min_base=25)
    assert behaviour(known, **COLUMNS, until="2025-01-01").min_base == 25
    with pytest.raises(DataProblem) as problem:
        behaviour(study.transactions.table, until="2025-01-01")
    assert str(problem.value) == "the table does not say which column is the customer; name it with customer="
