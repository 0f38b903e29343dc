"""Behaviour shared out: the same bytes for any order, threads, shares and workers; contacts; amounts at the limits."""

import os
import signal
import threading
import time
from dataclasses import replace

import duckdb
import numpy as np
import pandas as pd
import pytest
from test_transactions import COLUMNS, by_pandas, refused, sales
from waiting import wait_for

from cxresearch.errors import DataProblem
from cxresearch.inference.events import opened
from cxresearch.transactions import add_contacts, behaviour, totals
from cxresearch.transactions.queries import Columns, Query
from cxresearch.transactions.ranges import adds_up, by_rows
from cxresearch.transactions.rhythm import rhythm
from cxresearch.transactions.shares import shared_out
from cxresearch.transactions.source import parquet_files
from cxresearch.transactions.windows import as_window

UNTIL = {"until": "2024-12-01"}


@pytest.fixture(scope="module")
def cluster():
    distributed = pytest.importorskip("distributed")
    options = {"n_workers": 2, "threads_per_worker": 1, "dashboard_address": None, "silence_logs": 50}
    with distributed.LocalCluster(**options) as cluster:
        yield cluster


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    path = tmp_path_factory.mktemp("sales") / "sales.parquet"
    table = sales(400_000)
    table["customer"] = "c" + table["customer"].astype(str) + "_" + (np.arange(len(table)) % 97).astype(str)
    table["discount"] = (table["amount"].abs() / 7).round(2)
    pd.concat([table, table.head(5)]).to_parquet(path)
    return path


def same(found, expected):
    pd.testing.assert_frame_equal(found, expected, check_exact=True)
    assert found.attrs == expected.attrs


EVERY = {"channel": "channel", "discount": "discount", "category": "channel", **COLUMNS, **UNTIL}


def test_two_workers_give_the_bytes_of_one_process(cluster, file):
    same(behaviour(file, **EVERY, scheduler=cluster.scheduler_address), behaviour(file, **EVERY, threads=1))


def test_shares_by_ranges_of_whole_number_ids_give_the_bytes_of_one_process(cluster, tmp_path):
    table = sales(50_000)
    table.loc[::100, "customer"] = -5
    table.astype({"customer": "Int64"}).mask(table.index.to_series() % 1000 == 7).to_parquet(tmp_path / "sales.parquet")
    asked = {**COLUMNS, **UNTIL, "window": "6 months", "duplicates": "drop"}
    found = behaviour(tmp_path / "sales.parquet", **asked, scheduler=cluster.scheduler_address)
    same(found, behaviour(tmp_path / "sales.parquet", **asked))
    assert found.attrs["waterfall"][2]["removed"] == 1


@pytest.mark.parametrize("ordered", [True, False])
def test_two_shares_of_a_file_hold_about_half_of_its_customers_each(ordered, tmp_path):
    ids = np.repeat(np.arange(60_000), 10)
    rows = pd.DataFrame({"customer": ids if ordered else np.random.default_rng(1).permutation(ids)})
    rows.to_parquet(tmp_path / "ids.parquet", row_group_size=50_000)
    query = Query(Columns("customer", "time", "amount"), as_window("2024-12-01", None), ("customer",), ("value",), 12)
    with opened(tmp_path / "ids.parquet", threads=2, memory_limit=None) as relation:
        first, second = shared_out(relation, query, 2, len(rows))
    below, above = first.own.removeprefix('"customer" < '), second.own.removeprefix('"customer" >= ')
    assert below == above and 0.4 < int(below) / 60_000 < 0.6


def test_a_time_without_beginning_is_incomplete_and_one_without_end_comes_after_until():
    database = duckdb.connect()
    database.execute("CREATE TABLE transactions AS SELECT 1 AS customer, TIMESTAMP '2024-01-05' AS time, 2.5 AS amount")
    database.execute("INSERT INTO transactions VALUES (1, '-infinity', 4), (2, 'infinity', 8), (3, '-infinity', 8)")
    found = behaviour(database, **COLUMNS, **UNTIL)
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
    found = behaviour(table, **COLUMNS, until=until, window=window, months=months, parts=("months",))
    month = pd.cut(table["time"], edges[::-1], right=False, labels=range(17, 0, -1)).astype(int)
    expected = table.groupby(["customer", month]).size().unstack(fill_value=0)
    expected = expected.reindex(columns=range(1, min(months, 5 if window else 17) + 1), fill_value=0)
    names = [name for name in found if name.startswith("month_")]
    np.testing.assert_array_equal(found[names], expected)


@pytest.mark.parametrize("ids", ["int64", "int8", "uint64", "float64", "str"])
def test_totals_that_come_in_several_batches_are_put_in_order(ids, monkeypatch):
    table = sales(3000)
    table["customer"] = (table["customer"] % 200 - (0 if ids == "uint64" else 100)).astype(ids)
    if ids == "uint64":
        table["customer"] += np.uint64(2**64 - 300)
    expected = behaviour(table, **COLUMNS, **UNTIL)
    monkeypatch.setattr(totals, "AT_ONCE", 7)
    same(behaviour(table, **COLUMNS, **UNTIL), expected)
    assert expected["customer"].is_monotonic_increasing and len(expected) == table["customer"].nunique()
    rows = table[(table["customer"] == expected.loc[3, "customer"]) & (table["time"] < UNTIL["until"])]
    assert expected.loc[3, "monetary"] == pytest.approx(rows["amount"].sum())


@pytest.mark.parametrize("ids", [[5, 3, 9], [0, 10**12, -4], np.array([2**64 - 1, 2**64 - 9], np.uint64), [2.5, -1.0]])
def test_whole_numbers_are_ordered_with_and_without_wide_gaps(ids):
    ids = np.asarray(ids)
    np.testing.assert_array_equal(np.sort(ids)[totals._ranks(ids)], ids)


@pytest.mark.parametrize(("rows", "limit", "bits"), [(10, None, 12), (2**17, None, 14), (2**17, "100MB", 12)])
def test_ids_are_counted_in_place_only_where_rows_are_many_and_memory_is_not_limited(rows, limit, bits):
    with opened(pd.DataFrame({"customer": np.arange(rows)}), threads=1, memory_limit=limit) as relation:
        found = relation.query("source", "SELECT current_setting('perfect_ht_threshold')").fetchall()[0][0]
    assert int(found) == bits


@pytest.mark.parametrize("many", [True, False])
@pytest.mark.parametrize(
    "ids, repeated, limit, bits",
    [(int, 1, 127, 16), (str, 1, 127, 16), ("datetime64[s]", 1, 127, 16), (int, 250, 65_535, 53)],
)
def test_counts_too_large_for_the_bits_they_have_in_a_sum_are_counted_apart(
    ids, repeated, limit, bits, many, monkeypatch
):
    table, until = sales(12_000), pd.Timestamp("2024-12-01")
    recent = table["time"] > until - pd.DateOffset(months=3)
    table.loc[recent, "customer"] = np.where(np.arange(recent.sum()) % 3, 7, 31)
    table = table.loc[table.index.repeat(np.where(recent & (table["customer"] == 7), repeated, 1))]
    expected = by_pandas(table, until - pd.DateOffset(months=12), until).set_index("customer")
    assert expected["month_1"].max() > limit  # it would run over into month_2
    monkeypatch.setattr(totals, "APART", 1 if many else 2)
    packings, once = [], totals.unpack
    monkeypatch.setattr(totals, "unpack", lambda *a: packings.append(a[2]) or once(*a))
    table["customer"] = table["customer"].astype(ids)
    parts = ("value", "months", "weekdays")
    found = behaviour(table, **COLUMNS, **UNTIL, window="12 months", threads=2, parts=parts)
    found = found.assign(customer=found["customer"].astype(int)).set_index("customer").sort_index()
    asked = ["frequency", "month_1", "month_12", "active_months", "trend", "weekday_7_share"]
    pd.testing.assert_frame_equal(found[asked], expected[asked], check_dtype=False, atol=1e-9)
    assert packings[-1][0] == bits


@pytest.mark.parametrize("seed", range(5))
def test_only_customers_whose_counts_do_not_fit_are_counted_again(seed, monkeypatch):
    rng, until = np.random.default_rng(seed), pd.Timestamp("2024-12-01")
    months = {n: rng.permutation(12)[: rng.integers(1, 6)] for n in range(40)}
    sizes = {
        n: rng.choice([1, 3, 60, 127, 128, 129, 255, 256, 2048], len(m), p=[0.3, 0.2, 0.1, 0.2, *[0.04] * 5])
        for n, m in months.items()
    }
    rows = [
        (n, until - pd.DateOffset(months=int(k) + 1, hours=-5)) for n in months for k in np.repeat(months[n], sizes[n])
    ]
    table = pd.DataFrame(rows, columns=["customer", "time"]).assign(amount=1.0)
    apart, once = [], totals.totals_sql
    monkeypatch.setattr(totals, "totals_sql", lambda q, *a, **b: apart.append(q.only) or once(q, *a, **b))
    found = behaviour(table, **COLUMNS, **UNTIL, parts=("value", "months")).set_index("customer")
    expected = pd.DataFrame(0, found.index, [f"month_{k}" for k in range(1, 13)])
    for n, (at, size) in enumerate(zip(months.values(), sizes.values())):
        expected.loc[n, [f"month_{k + 1}" for k in at]] = size
    pd.testing.assert_frame_equal(found[expected.columns], expected, check_dtype=False)
    assert apart == [(), tuple(n for n in sizes if sizes[n].max() > 127)]


SUMS = {**COLUMNS, **UNTIL, "parts": ("value", "months", "weekdays")}


@pytest.fixture
def files(tmp_path):
    """Files of unequal lengths, one without rows, with customers in one only, and two with many purchases a month.

    One has more than 127 in half of the rows too.
    """
    table = sales(30_000)
    table.loc[table.index % 40 < 5, "customer"] = 151
    table.loc[table.index % 40 > 27, "customer"] = 152
    table.loc[table["time"] < "2023-03-01", "customer"] += 1000
    cuts, folder = [0, 10, 10, 7000, 29_000, 30_000], tmp_path / "it's here"
    folder.mkdir()
    for i, (start, stop) in enumerate(zip(cuts, cuts[1:])):
        table.iloc[start:stop].to_parquet(folder / f"{i}.parquet", row_group_size=2000)
    return folder


WHOLE = {
    "rhythm": {"parts": ("value", "rhythm")},
    "basket": {"columns": Columns("customer", "time", "amount", basket="ticket")},
    "category": {"columns": Columns("customer", "time", "amount", category="shelf")},
    "dropped duplicates": {"distinct": True},
    "a column of that name": {"fields": ("customer", "FileName")},
}


@pytest.mark.parametrize("change", WHOLE.values(), ids=WHOLE)
def test_rows_are_shared_where_sums_are_all_that_is_asked_for(change):
    query = Query(Columns("customer", "time", "amount"), as_window("2024-12-01", None), (), ("value", "months"), 12)
    assert adds_up(query) and not adds_up(replace(query, **change))


@pytest.mark.parametrize("of", [1, 2, 3, 7, 100])
def test_shares_of_the_rows_hold_each_row_once_and_are_equal(of, files):
    with opened(files, threads=1, memory_limit=None, numbered=True) as relation:
        query = Query(Columns("customer", "time", "amount"), as_window("2024-12-01", None), (), ("value",), 12)
        shares = by_rows(query, parquet_files(relation, str(files)), of)
        rows = [
            relation.query("source", f"SELECT filename, file_row_number FROM source WHERE {share.own}").fetchall()
            for share in shares
        ]
    assert len(set().union(*rows)) == sum(map(len, rows)) == 30_000
    assert {len(found) for found in rows} <= {30_000 // of, -(-30_000 // of)}


@pytest.mark.parametrize("change", [{}, {"window": "5 months"}, {"negative": "drop"}, {"channel": "channel"}])
@pytest.mark.parametrize("ids", ["int64", "str", "datetime64[us]"])
def test_shares_of_the_rows_give_the_bytes_of_one_process(ids, change, cluster, files):
    for path in files.glob("*.parquet"):
        table = pd.read_parquet(path)
        table.assign(customer=table["customer"].astype(ids)).to_parquet(path)
    expected = behaviour(files, **SUMS, **change)
    same(behaviour(files, **SUMS, **change, scheduler=cluster.scheduler_address), expected)
    assert (expected["month_1"] > 127).sum() == 2 and len(expected) >= 152


def test_a_share_of_the_rows_may_have_no_customer(cluster, tmp_path):
    table = sales(100).sort_values("time", ignore_index=True)
    table.to_parquet(tmp_path / "sales.parquet")
    asked = {**COLUMNS, "until": table["time"][20], "parts": ("value",)}
    found = behaviour(tmp_path / "sales.parquet", **asked, scheduler=cluster.scheduler_address)
    same(found, behaviour(tmp_path / "sales.parquet", **asked))
    with pytest.raises(DataProblem, match="no transaction between"):
        behaviour(
            tmp_path / "sales.parquet",
            **{**asked, "until": table["time"][0]},
            scheduler=cluster.scheduler_address,
        )


def test_sums_of_all_shares_of_the_rows_decide_in_which_units_money_is_added(cluster, tmp_path):
    rows = pd.DataFrame({"customer": 1, "time": pd.Timestamp("2024-01-01"), "amount": [5e9, 0.25, 5e9, 0.123456]})
    rows.to_parquet(tmp_path / "sales.parquet")
    found = behaviour(tmp_path / "sales.parquet", **SUMS, scheduler=cluster.scheduler_address)
    same(found, behaviour(tmp_path / "sales.parquet", **SUMS))
    assert found["monetary"].tolist() == [10_000_000_000.37]  # whole hundredths: millionths would pass 2**53


@pytest.mark.parametrize("name", ["FileName", "file_row_number"])
def test_a_table_with_a_column_named_like_the_number_of_a_row_is_shared_by_customers(name, cluster, tmp_path):
    sales(500).assign(**{name: 1}).to_parquet(tmp_path / "sales.parquet")
    found = behaviour(tmp_path / "sales.parquet", **SUMS, scheduler=cluster.scheduler_address)
    same(found, behaviour(tmp_path / "sales.parquet", **SUMS))


@pytest.mark.parametrize("asked", [EVERY, SUMS], ids=["of customers", "of rows"])
def test_a_worker_killed_midway_changes_nothing(asked, cluster, file, tmp_path):
    killed, ended = [], threading.Event()
    if asked == SUMS:  # these are quick
        for i in range(5):
            os.link(file, tmp_path / f"{i}.parquet")
        file = tmp_path
    cluster.wait_for_workers(2)  # one may have been killed before

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
            found = behaviour(file, **asked, scheduler=cluster.scheduler_address)
        finally:
            ended.set()
            killer.join()
        return [found] if killed else None

    (found,) = wait_for(found_with_a_worker_killed, "both workers are at work")
    assert len(killed) == 1
    same(found, behaviour(file, **asked, threads=2))


def test_a_cluster_needs_files_and_an_address_that_answers(cluster, file):
    refused(
        sales(9),
        "workers read files: give a path that all of them reach, or leave out scheduler",
        scheduler=cluster.scheduler_address,
    )
    with pytest.raises(DataProblem) as problem:
        behaviour(file, **COLUMNS, **UNTIL, scheduler="nowhere")
    assert str(problem.value).startswith("scheduler='nowhere' does not answer (")
    assert str(problem.value).endswith("); start it, or leave out scheduler")


def test_order_threads_and_memory_change_no_bit_of_amounts_that_doubles_cannot_hold():
    table = sales(30_000)
    table["amount"] = np.round(table["amount"] / 3, 6)
    expected = behaviour(table, **COLUMNS, **UNTIL, threads=1)
    for seed in range(3):
        shuffled = table.sample(frac=1, random_state=seed)
        same(behaviour(shuffled, **COLUMNS, **UNTIL, threads=2, memory_limit="100MB"), expected)
    same(behaviour(table.iloc[::-1], **COLUMNS, **UNTIL), expected)
    assert expected["monetary"].tolist() == [round(v, 6) for v in expected["monetary"]]


def test_large_money_is_added_in_coarser_units_and_refused_where_no_unit_is_exact():
    table = pd.DataFrame({"customer": 1, "time": pd.to_datetime(["2024-01-01", "2024-02-01"]), "amount": [9e12, 0.25]})
    assert behaviour(table, **COLUMNS, **UNTIL)["monetary"].tolist() == [9e12 + 0.25]
    refused(
        table.assign(amount=1e16),
        "the amounts of one customer add up to more than 9,007,199,254,740,992, beyond which they cannot be added exactly; "
        "correct them, or give them in thousands or millions",
    )


def test_a_customer_with_more_purchases_than_a_shared_sum_holds_is_counted_right():
    n = 9000
    times = pd.Timestamp("2024-11-01") + pd.to_timedelta(np.arange(n), unit="m")
    table = pd.DataFrame({"customer": 1, "time": times, "amount": 1.0})
    found = behaviour(table, **COLUMNS, **UNTIL).iloc[0]
    assert (found["frequency"], found["month_1"], found["month_2"], found["active_months"]) == (n, n, 0, 1)
    assert found["weekday_5_share"] == pytest.approx((times.day_of_week == 4).mean())


def test_gaps_do_not_depend_on_where_batches_end():
    rng = np.random.default_rng(4)
    sizes = rng.integers(1, 30, 200)
    ticks = np.concatenate([np.sort(rng.integers(0, 10**13, n)) for n in sizes])
    whole = rhythm([ticks], sizes)
    for cut in (1, 7, 1000):
        parts = rhythm(np.array_split(ticks, max(1, len(ticks) // cut)), sizes)
        np.testing.assert_array_equal(parts.sd, whole.sd)
    one = np.diff(ticks[: sizes[0]][ticks[: sizes[0]] % 2 == 1] // 2) / 864e8
    np.testing.assert_allclose(whole.sd[0], one.std(ddof=1) if len(one) > 1 else np.nan)


def test_cdnow_holds_23570_customers_and_69659_purchases(shared):
    table = pd.read_csv(
        shared / "data/cdnow/CDNOW_master.txt", sep=r"\s+", names=["customer", "time", "n", "amount"], header=0
    )
    table["time"] = pd.to_datetime(table["time"].astype(str))
    found = behaviour(table, **COLUMNS, until="1998-07-01")
    assert (len(found), found["frequency"].sum()) == (23570, 69659)
    assert found["monetary"].sum() == pytest.approx(table["amount"].sum())
    assert found["tenure_days"].max() == 546


def contacts():
    when = ["2024-11-01", "2024-11-02", "2024-11-03", "2024-12-05", None, "2024-11-09"]
    who, how = [1, 1, 2, 1, 1, 999_999], ["chat", "phone", None, "chat", "chat", "email"]
    return pd.DataFrame({"customer": who, "at": pd.to_datetime(when), "by": how})


ASKED = {"customer": "customer", "time": "at", "channel": "by", "digital": ["chat", "email"], **UNTIL}


def test_contacts_add_their_share_and_the_digital_share_of_the_same_window():
    paid = behaviour(sales(), **COLUMNS, **UNTIL)
    found = add_contacts(paid, contacts(), **ASKED).set_index("customer")
    assert found.loc[[1, 2, 3], "contacts"].tolist() == [2, 1, 0]
    assert found.loc[1, "contact_share"] == pytest.approx(2 / (2 + found.loc[1, "frequency"]))
    assert found.loc[1, "digital_share"] == 0.5 and found.loc[[2, 3], "digital_share"].isna().all()
    steps = add_contacts(paid, contacts(), **ASKED).attrs["contacts"]
    assert [(s["step"], s["rows"], s["reason"]) for s in steps] == [
        ("received", 6, ""),
        ("complete", 5, "no customer or time"),
        ("before until", 4, "at or after 2024-12-01 00:00:00"),
        ("in window", 4, ""),
        ("matched", 3, "customer without a transaction in the window"),
    ]
    same(add_contacts(paid, contacts().iloc[::-1], **ASKED), add_contacts(paid, contacts(), **ASKED))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"digital": ["Chat"]}, "digital=['Chat'] names ['Chat']; by holds chat, email, phone"),
        ({"digital": []}, "digital=[] names no channel; by holds chat, email, phone"),
        (
            {"until": "2025-01-01"},
            "behaviour was observed with window_until 2024-12-01 00:00:00, contacts would be with 2025-01-01 00:00:00; "
            "pass the same until and window",
        ),
        ({"channel": "chanel"}, "interactions has no column 'chanel'"),
    ],
)
def test_contacts_refused(change, message):
    with pytest.raises(DataProblem) as problem:
        add_contacts(behaviour(sales(), **COLUMNS, **UNTIL), contacts(), **(ASKED | change))
    assert str(problem.value) == message
    twice = pd.DataFrame({"customer": [1, 1], "frequency": 1})
    with pytest.raises(DataProblem, match="customer repeats in the table of behaviour; pass one row per customer"):
        add_contacts(twice, contacts(), **ASKED)
