"""What customers pay: purchases and returns of 2024, revenue of 2025, and what the company spends."""

import numpy as np
import pandas as pd

CATEGORIES = ("garden", "furniture", "kitchen", "light", "textiles")
CATEGORY_SHARES = (0.35, 0.15, 0.2, 0.1, 0.2)
YEAR, NEXT_YEAR = np.datetime64("2024-01-01"), np.datetime64("2025-01-01")
FADED_AFTER = 120  # days into 2024 after which the fading segment buys no more
BEHAVIOUR = ("purchases", "basket", "web", "returns", "discounted", "spend")


def behaviour_of(people: pd.DataFrame, planted) -> pd.DataFrame:
    """Return the planted behaviour of each person's segment, one row a person."""
    return pd.DataFrame({name: people["segment"].map(planted[f"segment_{name}"]) for name in BEHAVIOUR})


def purchases_2024(people: pd.DataFrame, *, planted, rng) -> pd.DataFrame:
    """Return the purchases and returns of 2024; everybody buys at least twice and keeps the first purchase.

    Purchases are 2 + Poisson around the segment's number, baskets log-normal around the segment's basket (0.15 between
    customers, 0.35 within) and, as revenue will in 2025, they grow with affluence.
    """
    habit, n = behaviour_of(people, planted), len(people)
    usual = np.exp(0.15 * rng.standard_normal(n)) * np.exp(planted["revenue_per_affluence"] * people["affluence"] / 2)
    count = 2 + rng.poisson(np.maximum(habit["purchases"] - 2, 0) * np.exp(0.1 * rng.standard_normal(n)))
    who = np.repeat(np.arange(n), count)
    last_day = np.where(people["segment"] == "fading", FADED_AFTER, 366)[who]
    day = np.floor(last_day * rng.random(len(who))).astype(int)
    basket = (habit["basket"] * usual).to_numpy()[who] * np.exp(0.35 * rng.standard_normal(len(who)))
    bought = _described(who, YEAR + day, np.round(np.maximum(basket, 1), 2), habit=habit, rng=rng)
    return pd.concat([bought, _returns(bought, day, habit=habit, rng=rng)], ignore_index=True)


def _returns(bought: pd.DataFrame, day: np.ndarray, *, habit: pd.DataFrame, rng) -> pd.DataFrame:
    back = rng.random(len(bought)) < habit["returns"].to_numpy()[bought["who"]]
    back &= bought["who"].duplicated().to_numpy()
    later = np.minimum(day[back] + rng.integers(1, 15, size=back.sum()), 365)
    part = rng.choice([0.5, 1.0], size=back.sum(), p=[0.4, 0.6])
    returned = bought.loc[back].copy()
    return returned.assign(paid_at=YEAR + later, amount=-np.round(returned["amount"] * part, 2), discount=0)


def revenue_2025(people: pd.DataFrame, counted: np.ndarray, *, planted, rng) -> pd.DataFrame:
    """Return each person's expected and actual spending in 2025, in cents exact.

    Zero with probability `zero_share`, whatever the answer; otherwise gamma. In all, E[spend | segment, answer,
    affluence] = segment_spend * exp(revenue_per_point * answer + revenue_per_affluence * affluence).
    """
    level = behaviour_of(people, planted)["spend"].to_numpy()
    growth = planted["revenue_per_point"] * counted + planted["revenue_per_affluence"] * people["affluence"].to_numpy()
    expected = level * np.exp(growth)
    buys = rng.random(len(people)) >= planted["zero_share"]
    shape = planted["gamma_shape"]
    spend = buys * rng.gamma(shape, expected / (1 - planted["zero_share"]) / shape)
    return pd.DataFrame({"expected": expected, "cents": np.rint(100 * spend).astype(np.int64)})


def purchases_2025(people: pd.DataFrame, *, planted, rng) -> pd.DataFrame:
    """Return the purchases of 2025, which add up to each person's `cents` and end with their membership."""
    habit, cents, until = behaviour_of(people, planted), people["cents"].to_numpy(), people["until"].to_numpy()
    count = np.where(cents > 0, 1 + np.minimum(cents // (160 * habit["basket"].to_numpy()), 40), 0).astype(int)
    who = np.repeat(np.arange(len(people)), count)
    piece = _split(cents, count, rng=rng)
    last = np.where(np.isnat(until), np.datetime64("2025-12-31"), until.astype("datetime64[D]"))
    days_left = (last - NEXT_YEAR).astype(int)[who] + 1
    day = np.floor(days_left * rng.random(len(who))).astype(int)
    bought = _described(who, NEXT_YEAR + day, piece / 100, habit=habit, rng=rng)
    return bought[piece > 0]


def _split(cents: np.ndarray, count: np.ndarray, *, rng) -> np.ndarray:
    """Return whole cents, `count` pieces a person, that add up to each person's `cents`."""
    who = np.repeat(np.arange(len(cents)), count)
    weight = rng.gamma(6.0, size=len(who))
    total = np.bincount(who, weight, minlength=len(cents))
    before = np.concatenate([[0.0], np.cumsum(total)])[who]
    reached = np.rint((np.cumsum(weight) - before) / total[who] * cents[who]).astype(np.int64)
    last = np.cumsum(count)[count > 0] - 1
    reached[last] = cents[count > 0]
    earlier = np.concatenate([[0], reached[:-1]])
    earlier[np.cumsum(count)[count > 0] - count[count > 0]] = 0
    return np.maximum(reached - earlier, 0)


def _described(who, paid_at, amount, *, habit: pd.DataFrame, rng) -> pd.DataFrame:
    n = len(who)
    web, discounted = (habit[name].to_numpy()[who] for name in ("web", "discounted"))
    channel = np.where(rng.random(n) < web, "web", np.where(rng.random(n) < 0.75, "shop", "collect"))
    category = np.array(CATEGORIES)[rng.choice(len(CATEGORIES), size=n, p=CATEGORY_SHARES)]
    reduced, share = rng.random(n) < discounted, rng.choice([0.1, 0.2, 0.3], size=n)  # of the price before
    discount = np.where(reduced, np.ceil(amount * share / (1 - share)), 0).astype(int)
    paid = {"who": who, "paid_at": paid_at, "amount": amount, "channel": channel}
    return pd.DataFrame(paid | {"category": category, "discount": discount})


def monthly_costs(n_customers: int, *, rng) -> pd.DataFrame:
    """Return 24 months of costs by kind, in whole currency, proportional to the number of customers."""
    months = [f"{year}-{month:02d}" for year in (2024, 2025) for month in range(1, 13)]
    a_customer = {"marketing": 2.4, "service": 1.1, "retention": 0.6}
    drawn = {kind: each * n_customers * np.exp(0.1 * rng.standard_normal(24)) for kind, each in a_customer.items()}
    rows = [(m, kind, round(float(drawn[kind][i]))) for i, m in enumerate(months) for kind in a_customer]
    return pd.DataFrame(rows, columns=["month", "kind", "amount"])
