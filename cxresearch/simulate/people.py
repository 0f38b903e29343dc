"""The people behind the tables: who they are, where they shop, what they bring to every answer."""

import numpy as np
import pandas as pd

from cxresearch.simulate.truth import QUARTERS, REGIONS, SEGMENTS

REGION_SHARES = (0.4, 0.3, 0.2, 0.1)
BRANCHES_IN_REGION = (16, 12, 8, 4)
AGE_GROUPS = ("18-29", "30-44", "45-59", "60+")
LANGUAGES = ("en", "pl", "ru")
ENGAGEMENT_MEAN = 3.6
BRANCHES = np.array([f"B{i:02d}" for i in range(1, sum(BRANCHES_IN_REGION) + 1)])  # those of the first region first


def invent_people(n: int, *, planted, rng) -> pd.DataFrame:
    """Return `n` people, one a row, with their segment, region, branch and traits.

    Affluence is standard normal in this very company (mean 0, standard deviation 1, before rounding) and, like the
    region, independent of the segment: leaving the segment out of a regression of revenue biases nothing.
    """
    shares = np.array([planted["segment_shares"][s] for s in SEGMENTS])
    segment = np.array(SEGMENTS)[rng.choice(len(SEGMENTS), size=n, p=shares / shares.sum())]
    region = rng.choice(len(REGIONS), size=n, p=REGION_SHARES)
    first = np.concatenate([[0], np.cumsum(BRANCHES_IN_REGION)])[region]
    branch = first + rng.integers(0, np.array(BRANCHES_IN_REGION)[region])
    age = pd.Series(segment).map(planted["segment_age"]).to_numpy() + rng.standard_normal(n)
    since = np.datetime64("2016-01-01") + rng.integers(0, 2920, size=n).astype("timedelta64[D]")
    named = {"customer_id": [f"C{i:0{max(4, len(str(n)))}d}" for i in range(1, n + 1)], "segment": segment}
    named |= {"region": np.array(REGIONS)[region], "branch": BRANCHES[branch]}
    affluence = np.round(standardised(rng.standard_normal(n)), 2)
    age_group = np.array(AGE_GROUPS)[np.digitize(age, (-0.7, 0.1, 0.9))]
    language = np.array(LANGUAGES)[rng.choice(3, size=n, p=(0.5, 0.3, 0.2))]
    traits = {"age_group": age_group, "language": language, "halo": standardised(rng.standard_normal(n))}
    return pd.DataFrame(named | {"affluence": affluence, "since": since} | traits)


def measure_engagement(*, planted, rng) -> pd.DataFrame:
    """Return one row per branch and quarter: engagement (1-5) and how the branch shifts the ratings of its staff."""
    branches, quarters = BRANCHES, len(QUARTERS)
    lasting = 0.45 * standardised(_within_regions(rng.standard_normal(len(branches))))[:, None]
    service = 0.2 * _within_regions(rng.standard_normal(len(branches)))[:, None]
    # What a branch owes to anything but engagement is unrelated to it, in this very company.
    service = service - lasting * (lasting * service).sum() / (lasting**2).sum()
    engagement = ENGAGEMENT_MEAN + lasting + 0.15 * rng.standard_normal((len(branches), quarters))
    engagement = np.clip(np.round(engagement, 2), 1, 5)
    shift = planted["staff_per_engagement"] * (engagement - ENGAGEMENT_MEAN) + service
    units = pd.DataFrame({"branch": np.repeat(branches, quarters), "quarter": np.tile(QUARTERS, len(branches))})
    return units.assign(engagement=engagement.ravel(), staff_shift=shift.ravel())


def ask_employees(branches: pd.DataFrame, *, planted, rng) -> pd.DataFrame:
    """Add what a survey of the employees sees: how many answered, their spread, and a mean with its sampling error.

    With `reverse_profit_on_engagement`, a good quarter raises the engagement of the next, by points a thousand EUR.
    """
    n = rng.integers(8, 41, size=len(branches))
    spread = planted["employee_sd"] * np.sqrt(rng.chisquare(n - 1) / (n - 1))
    before = (branches["profit"] - branches["profit"].mean()).groupby(branches["branch"]).shift(fill_value=0.0)
    mean = branches["engagement"] + planted["employee_sd"] / np.sqrt(n) * rng.standard_normal(len(n))
    mean = np.clip(np.round(mean + planted["reverse_profit_on_engagement"] * before, 2), 1, 5)
    return branches.assign(engagement=mean, n=n, sd=np.round(spread, 2))


def with_new_customers(people: pd.DataFrame, bought: pd.DataFrame, *, planted, rng) -> pd.DataFrame:
    """Let some have joined in 2024, on the day of their first purchase."""
    first = bought[bought["amount"] > 0].groupby("who")["paid_at"].min().reindex(range(len(people))).to_numpy()
    new = rng.random(len(people)) < planted["new_share"]
    return people.assign(since=np.where(new, first, people["since"].to_numpy()), new=new)


def _within_regions(draws: np.ndarray) -> np.ndarray:
    """Return `draws`, one per branch, with mean 0 in every region: regions differ by `region_shift` alone."""
    region = np.repeat(np.arange(len(REGIONS)), BRANCHES_IN_REGION)
    return draws - (np.bincount(region, draws) / BRANCHES_IN_REGION)[region]


def standardised(draws: np.ndarray) -> np.ndarray:
    """Return `draws` with mean 0 and standard deviation 1 exactly, so that a planted spread is the spread found."""
    return (draws - draws.mean()) / draws.std()
