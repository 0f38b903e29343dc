"""Behaviour: the numbers against pandas, the sources, the leakage guard, and what is refused."""

import duckdb
import numpy as np
import pandas as pd
import pytest

from cxresearch.errors import DataProblem
from cxresearch.transactions import behaviour

COLUMNS = dict(customer="customer", time="time", amount="amount")


def sales(n=4000, seed=1):
    rng = np.random.default_rng(seed)
    time = pd.Timestamp("2023-01-01") + pd.to_timedelta(rng.integers(0, 730 * 86400, n), unit="s")
    table = pd.DataFrame(
        {"customer": rng.integers(1, 151, n), "time": time, "amount": np.round(rng.gamma(2, 20, n), 2)}
    )
    table.loc[rng.random(n) < 0.05, "amount"] *= -1
    table["channel"] = rng.choice(["web", "shop"], n, p=[0.3, 0.7])
    return table


def by_pandas(table, start, until):
    """The same quantities the slow way, one customer at a time."""
    used = table[(table["time"] >= start) & (table["time"] < until)]
    rows = []
    for customer, own in used.groupby("customer"):
        bought = own[own["amount"] >= 0].sort_values("time")
        gaps = bought["time"].diff().dt.total_seconds().dropna() / 86400
        counts = [
            (
                (bought["time"] >= until - pd.DateOffset(months=k))
                & (bought["time"] < until - pd.DateOffset(months=k - 1))
            ).sum()
            for k in range(1, 13)
        ]
        rows.append(
            {
                "customer": customer,
                "recency_days": (until - bought["time"].max()).total_seconds() / 86400,
                "frequency": len(bought),
                "monetary": own["amount"].sum(),
                "tenure_days": (until - bought["time"].min()).total_seconds() / 86400,
                "basket_mean": bought["amount"].mean(),
                "returns_share": (own["amount"] < 0).mean(),
                "gap_mean_days": gaps.mean(),
                "gap_sd_days": gaps.std(),
                "gap_cv": gaps.std() / gaps.mean(),
                "month_1": counts[0],
                "month_12": counts[11],
                "active_months": int(np.sum(np.array(counts) > 0)),
                "trend": np.polyfit(-np.arange(12), counts, 1)[0],
                "weekday_7_share": (bought["time"].dt.day_of_week == 6).mean(),
                "channel_web_share": (bought["channel"] == "web").mean(),
            }
        )
    return pd.DataFrame(rows)


def table_of(transactions, **asked):
    """The table of behaviour, and its record of rows as a list."""
    found = behaviour(transactions, **asked)
    table = found.table
    table.attrs["waterfall"] = found.waterfall.to_dict("records")
    return table


def test_every_feature_equals_a_row_by_row_computation_in_pandas():
    table, until = sales(), pd.Timestamp("2024-11-16")
    found = table_of(table, **COLUMNS, until=until, window="12 months", channel="channel")
    expected = by_pandas(table, until - pd.DateOffset(months=12), until)
    pd.testing.assert_frame_equal(found[expected.columns.tolist()], expected, check_dtype=False, atol=1e-6)


def test_grocery_holds_2469_households_155848_baskets_and_sales_of_4596039_58(shared):
    found = table_of(
        shared / "data/grocery/transactions.parquet",
        customer="household_id",
        time="transaction_timestamp",
        amount="sales_value",
        basket="basket_id",
        category="product_id",
        discount="retail_disc",
        until="2018-01-02",
    )
    assert len(found) == 2469 and found["household_id"].is_monotonic_increasing
    assert found["frequency"].sum() == 155848
    assert round(found["monetary"].sum(), 2) == 4596039.58
    assert found.attrs["waterfall"][0]["rows"] == found.attrs["waterfall"][-1]["rows"] == 1469307


def test_gift_shop_cancellations_are_returns_and_its_107927_rows_without_customer_are_counted(shared):
    table = pd.read_parquet(shared / "data/gift_shop/transactions_2009_2010.parquet")
    table["amount"] = table["Quantity"] * table["Price"]
    found = table_of(
        table, customer="Customer ID", time="InvoiceDate", amount="amount", until="2011-01-01", basket="Invoice"
    )
    complete = found.attrs["waterfall"][2]
    assert (complete["removed"], complete["reason"]) == (107927, "no customer, time or amount")
    known = table.dropna(subset="Customer ID")
    assert found["monetary"].sum() == pytest.approx(known["amount"].sum())
    by_invoice = known.groupby(["Customer ID", "Invoice"])["amount"].sum().round(6)
    assert found["returns"].sum() == (by_invoice < 0).sum() > 0


def test_nothing_at_or_after_until_changes_any_feature():
    table, until = sales(), pd.Timestamp("2024-07-01")
    later = table[table["time"] >= until].assign(amount=1e9)
    leaky = pd.concat([table[table["time"] < until], later, later.assign(time=pd.Timestamp("2099-01-01"))])
    found = table_of(leaky, **COLUMNS, until=until)
    pd.testing.assert_frame_equal(found, table_of(table[table["time"] < until], **COLUMNS, until=until))
    step = found.attrs["waterfall"][3]
    assert (step["step"], step["removed"], step["reason"]) == (
        "before until",
        2 * len(later),
        "at or after 2024-07-01 00:00:00",
    )


def test_a_purchase_at_until_is_out_and_one_at_the_start_of_the_window_is_in():
    times = ["2024-01-01", "2024-06-30 23:59:59", "2024-07-01", "2023-12-31 23:59:59"]
    table = pd.DataFrame({"customer": 1, "time": pd.to_datetime(times, format="ISO8601"), "amount": [1.0, 2, 4, 8]})
    found = table_of(table, **COLUMNS, until="2024-07-01", window="6 months")
    assert found["monetary"].tolist() == [3.0] and found["frequency"].tolist() == [2]
    assert [c for c in found if c.startswith("month_")] == [f"month_{k}" for k in range(1, 7)]


def test_file_glob_folder_partitions_relation_connection_and_frame_agree(tmp_path):
    table = sales()
    (tmp_path / "parts").mkdir()
    table.to_parquet(tmp_path / "all.parquet")
    table.to_csv(tmp_path / "all.csv", index=False)
    for i, part in enumerate(np.array_split(table.index, 3)):
        table.loc[part].to_parquet(tmp_path / f"parts/{i}.parquet")
    table.assign(year=table["time"].dt.year).to_parquet(tmp_path / "hive", partition_cols=["year"])
    connection = duckdb.connect()
    connection.from_df(table).create("transactions")
    expected = table_of(table, **COLUMNS, until="2024-12-01")
    sources = [
        tmp_path / "all.parquet",
        tmp_path / "all.csv",
        f"{tmp_path}/parts/*.parquet",
        tmp_path / "parts",
        tmp_path / "hive",
    ]
    for source in [*sources, connection, connection.table("transactions")]:
        pd.testing.assert_frame_equal(table_of(source, **COLUMNS, until="2024-12-01"), expected)


def test_order_of_rows_threads_and_a_small_memory_limit_change_nothing():
    table = sales(60_000)
    expected = table_of(table, **COLUMNS, until="2024-12-01", threads=1)
    shuffled = table.sample(frac=1, random_state=3)
    pd.testing.assert_frame_equal(
        table_of(shuffled, **COLUMNS, until="2024-12-01", threads=2, memory_limit="100MB"), expected
    )


def test_a_customer_with_one_purchase_has_no_gap_and_one_with_only_returns_no_recency():
    table = pd.DataFrame(
        {"customer": ["a", "b"], "time": pd.to_datetime(["2024-01-31", "2024-01-30"]), "amount": [5.0, -3.0]}
    )
    found = table_of(table, **COLUMNS, until="2024-02-01").set_index("customer")
    assert found.loc["a", ["recency_days", "frequency", "tenure_days"]].tolist() == [1.0, 1, 1.0]
    assert found.loc[:, ["gap_mean_days", "gap_sd_days", "gap_cv"]].isna().all(axis=None)
    assert found.loc["b", ["frequency", "monetary", "returns_share"]].tolist() == [0, -3.0, 1.0]
    assert np.isnan(found.loc["b", "recency_days"])


def test_duplicated_rows_are_counted_or_dropped_as_declared():
    table = sales(500)
    doubled = pd.concat([table, table.head(7)])
    kept = table_of(doubled, **COLUMNS, until="2025-01-01")
    assert kept.attrs["waterfall"][1]["reason"] == "7 equal to another row in every column, kept"
    dropped = table_of(doubled, **COLUMNS, until="2025-01-01", duplicates="drop")
    assert dropped.attrs["waterfall"][1] == {
        "step": "deduplicated",
        "rows": 500,
        "removed": 7,
        "reason": "equal to another row in every column",
    }
    pd.testing.assert_frame_equal(dropped, table_of(table, **COLUMNS, until="2025-01-01"))


@pytest.mark.parametrize("many", [3, 1500])
@pytest.mark.parametrize("form", ["datetime64[ns]", "datetime64[s]", "str", "date", "UTC"])
def test_repeated_rows_are_counted_in_whatever_form_times_come(form, many):
    table = sales(4000).drop_duplicates(["customer", "time"])
    if form == "date":
        table["time"] = table["time"].dt.normalize()
        table = table.drop_duplicates(["customer", "time"])
    coincide = table.head(many).assign(amount=lambda t: t["amount"] + 1)
    doubled = pd.concat([table, coincide, table.tail(many), table.tail(2)], ignore_index=True)
    if form == "date":
        doubled["time"] = doubled["time"].dt.date
    elif form == "UTC":
        doubled["time"] = doubled["time"].dt.tz_localize(form)
    else:
        doubled["time"] = doubled["time"].astype(form)
    zone = {"time_zone": "America/New_York"} if form == "UTC" else {}
    assert (
        table_of(doubled, **COLUMNS, until="2025-01-02", **zone)
        .attrs["waterfall"][1]["reason"]
        .startswith(f"{many + 2} equal")
    )


def test_parts_limit_what_is_computed():
    found = table_of(sales(), **COLUMNS, until="2025-01-01", parts=("value", "months"))
    assert found.attrs["waterfall"][1]["reason"] == ""  # not looked for
    full = table_of(sales(), **COLUMNS, until="2025-01-01")
    pd.testing.assert_frame_equal(found, full[found.columns.tolist()])
    assert "gap_cv" in full and "gap_cv" not in found


def test_a_named_time_zone_decides_where_a_month_begins():
    table = pd.DataFrame(
        {"customer": [1], "time": pd.to_datetime(["2024-06-30 23:30"]).tz_localize("UTC"), "amount": [1.0]}
    )
    assert table_of(table, **COLUMNS, until="2024-08-01", time_zone="UTC")["month_1"].tolist() == [0]
    assert table_of(table, **COLUMNS, until="2024-08-01", time_zone="Europe/Warsaw")["month_1"].tolist() == [1]
    refused(table, "time carries a time zone; say where days begin, for example time_zone='Europe/Warsaw'")
    refused(
        table,
        "time_zone='Europe/Warsav' is not known; did you mean 'Europe/Warsaw'?",
        time_zone="Europe/Warsav",
        starts=True,
    )


def refused(table, message, starts=False, **options):
    with pytest.raises(DataProblem) as problem:
        behaviour(table, **{**COLUMNS, "until": "2025-01-01", **options})
    found = str(problem.value)
    assert found.startswith(message[:-1]) if starts else found == message


def test_amounts_with_currency_signs_are_refused():
    table = sales(300)
    text = table.assign(amount=["€ 12,50"] * 5 + table["amount"].astype(str).tolist()[5:])
    refused(
        text,
        "amount: 5 of 300 values are not plain numbers (for example '€ 12,50'); remove currency signs and thousands separators",
    )


def test_amounts_as_plain_text_are_read_as_numbers():
    table = sales(300)
    pd.testing.assert_frame_equal(
        table_of(table.assign(amount=table["amount"].astype(str)), **COLUMNS, until="2025-01-01"),
        table_of(table, **COLUMNS, until="2025-01-01"),
    )


def test_text_that_is_no_date_is_refused():
    table = pd.DataFrame({"customer": [1, 2], "time": ["2024-05-01", "yesterday"], "amount": [1.0, 2.0]})
    refused(
        table,
        "time: 1 of 2 values are not dates (for example 'yesterday'); write them as 2024-12-31 or 2024-12-31 18:30:00",
    )


def test_ids_of_mixed_type_are_refused():
    table = pd.DataFrame(
        {"customer": pd.Series([7, "7", "8"], dtype=object), "time": pd.Timestamp("2024-01-01"), "amount": 1.0}
    )
    refused(table, "customer holds ids of 2 types (int: 1, str: 2); make them all text, or all numbers")


def test_an_empty_window_says_where_the_rows_went():
    refused(
        sales(300),
        "no transaction between 2021-12-02 00:00:00 and 2022-01-01 00:00:00 (300: at or after 2022-01-01 00:00:00); move until or lengthen the window",
        until="2022-01-01",
        window=30,
    )


def test_future_dates_are_left_out_and_counted():
    table = pd.concat(
        [sales(300), pd.DataFrame({"customer": [1], "time": pd.Timestamp("2205-01-01"), "amount": [1e6]})]
    )
    step = table_of(table, **COLUMNS, until="2025-01-01").attrs["waterfall"][3]
    assert (step["removed"], step["reason"]) == (1, "at or after 2025-01-01 00:00:00")


def test_negative_amounts_can_be_dropped():
    table = sales(300)
    n = int((table["amount"] < 0).sum())
    dropped = table_of(table, **COLUMNS, until="2025-01-01", negative="drop")
    assert dropped.attrs["waterfall"][-1]["removed"] == n
    pd.testing.assert_frame_equal(dropped, table_of(table[table["amount"] >= 0], **COLUMNS, until="2025-01-01"))


def test_other_refusals(tmp_path):
    refused(sales(9), "transactions has no column 'Amount'; did you mean 'amount'?", amount="Amount")
    refused(sales(9), "until='soon' is not a date without time zone, for example '2024-12-31'", until="soon")
    refused(
        sales(9),
        "window='a while' is not a length of time; give days, or text such as '90 days' or '12 months'",
        window="a while",
    )
    refused(sales(9), "negative='refund' is not one of 'returns', 'drop'", negative="refund")
    refused(tmp_path / "none.parquet", f"{tmp_path / 'none.parquet'}: no Parquet or CSV file found")
    refused(sales(9), "time carries no time zone, so time_zone='UTC' cannot be used; leave it out", time_zone="UTC")
    refused(
        duckdb.connect(),
        "the connection holds 0 tables (none) and none is called transactions; pass connection.table('NAME')",
    )
    refused(
        duckdb.connect(), "threads and memory_limit belong to the connection that was passed; set them there", threads=1
    )
    many = sales(300).assign(channel=range(300))
    refused(
        many,
        "channel holds 300 values; shares are given for at most 20 channels, so group them first",
        channel="channel",
    )


def test_a_column_written_with_other_signs_is_named_in_payments_too():
    payments = pd.DataFrame({"customer": [1], "kwote\u0328": [1.0], "time": pd.to_datetime(["2024-01-01"])})
    with pytest.raises(DataProblem, match="transactions writes 'kwotę' with other signs"):
        behaviour(payments, customer="customer", time="time", amount="kwotę", until="2025-01-01")
