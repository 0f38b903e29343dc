"""What everybody would answer in every quarter, and who is asked and does.

A rating is round(mean + 1.25 z + shifts) on 1-7, z = halo_loading * halo + block_loading * block + the driver's
own part. Satisfaction is the weighted sum of the met ratings' distances from their means, plus halo, region and
chance; recommend and ease follow satisfaction.
"""

import numpy as np
import pandas as pd

from cxresearch.simulate.truth import DRIVERS, DROP_WAVE, QUARTERS

RATING_MEANS = {"products": 5.3, "prices": 4.6, "magazine": 4.5, "staff": 4.9, "website": 4.9, "delivery": 4.8,
                "returns_service": 4.5, "support": 4.7}  # fmt: skip
RATING_SPREAD = 1.25
# Drivers of one block share more than the halo.
BLOCKS = {"products": 0, "prices": 0, "magazine": 0, "website": 1, "delivery": 1, "staff": 2, "returns_service": 2,
          "support": 2}  # fmt: skip
SATISFACTION_MEAN, SATISFACTION_NOISE = 5.1, 0.7
RECOMMEND_MEAN, RECOMMEND_NOISE = 8.5, 1.7
EASE_MEAN, EASE_PER_SATISFACTION, EASE_NOISE = 5.0, 0.6, 1.0
LASTING = 0.7  # of a driver's own part, how much variance stays with the person from quarter to quarter
ASKED_WITHIN = 14  # days before the end of the quarter


def asked_dates(n: int, *, rng) -> np.ndarray:
    """Return the day each person is, or would be, asked: (n, quarters), within two weeks of the quarter's end."""
    ends = np.array(["2024-03-31", "2024-06-30", "2024-09-30", "2024-12-31"], dtype="datetime64[D]")
    return ends[None, :] - rng.integers(0, ASKED_WITHIN, size=(n, len(ends)))


def met_touchpoints(paid: pd.DataFrame, support: np.ndarray, asked: np.ndarray) -> np.ndarray:
    """Return which drivers each person had met in the year so far: (n, quarters, drivers), from their own records.

    Website: an order on the web or for collection. Delivery: an order on the web. Staff: a purchase in a shop or
    a collection. Returns service: a return. Support: a contact. Products, prices and the magazine: everybody.
    """
    bought = paid["amount"] > 0
    tests = {
        "website": bought & paid["channel"].isin(["web", "collect"]),
        "delivery": bought & (paid["channel"] == "web"),
        "staff": bought & paid["channel"].isin(["shop", "collect"]),
        "returns_service": ~bought,
    }
    met = np.ones((*asked.shape, len(DRIVERS)), dtype=bool)
    for driver, rows in tests.items():
        first = paid.loc[rows].groupby("who")["paid_at"].min().reindex(range(len(asked))).to_numpy()
        met[:, :, DRIVERS.index(driver)] = first[:, None] <= asked  # never is NaT, which compares as False
    met[:, :, DRIVERS.index("support")] = ~np.isnan(support)
    return met


def rate(people: pd.DataFrame, branches: pd.DataFrame, support: np.ndarray, *, planted, rng) -> np.ndarray:
    """Return the ratings (1-7) that everybody would give: (n, quarters, drivers)."""
    n, quarters, drivers = len(people), len(QUARTERS), len(DRIVERS)
    halo, block = planted["halo_loading"], planted["block_loading"]
    own = np.sqrt(LASTING) * rng.standard_normal((n, 1, drivers))
    own = own + np.sqrt(1 - LASTING) * rng.standard_normal((n, quarters, drivers))
    shared = rng.standard_normal((n, 3))[:, None, [BLOCKS[d] for d in DRIVERS]]
    z = halo * people["halo"].to_numpy()[:, None, None] + block * shared + np.sqrt(1 - halo**2 - block**2) * own
    exact = np.array([RATING_MEANS[d] for d in DRIVERS]) + RATING_SPREAD * z
    by_branch = branches.pivot(index="branch", columns="quarter", values="staff_shift")
    exact[:, :, DRIVERS.index("staff")] += by_branch.loc[people["branch"]].to_numpy()
    exact[:, :, DRIVERS.index("support")] += np.nan_to_num(support)
    exact[:, QUARTERS.index(DROP_WAVE), DRIVERS.index("delivery")] -= planted["delivery_drop"]
    return np.clip(np.rint(exact), 1, 7)


def judge(people: pd.DataFrame, ratings: np.ndarray, met: np.ndarray, *, planted, rng) -> dict[str, np.ndarray]:
    """Return recommend (0-10), satisfaction (1-7) and ease (1-7) that everybody would give: (n, quarters) each."""
    shape = ratings.shape[:2]
    distance = np.where(met, ratings - [RATING_MEANS[d] for d in DRIVERS], 0.0)
    pleased = (distance * [planted["driver_weights"][d] for d in DRIVERS]).sum(axis=2)
    pleased += planted["halo_on_satisfaction"] * people["halo"].to_numpy()[:, None]
    pleased += people["region"].map(planted["region_shift"]).to_numpy()[:, None]
    pleased += SATISFACTION_NOISE * rng.standard_normal(shape)
    recommend = RECOMMEND_MEAN + planted["recommend_per_satisfaction"] * pleased
    recommend += planted["recommend_per_affluence"] * people["affluence"].to_numpy()[:, None]
    recommend += RECOMMEND_NOISE * rng.standard_normal(shape)
    ease = EASE_MEAN + EASE_PER_SATISFACTION * pleased + EASE_NOISE * rng.standard_normal(shape)
    return {
        "recommend": np.clip(np.rint(recommend), 0, 10),
        "satisfaction": np.clip(np.rint(SATISFACTION_MEAN + pleased), 1, 7),
        "ease": np.clip(np.rint(ease), 1, 7),
    }


def invite(people: pd.DataFrame, *, waves: int, planted, rng) -> tuple[np.ndarray, np.ndarray]:
    """Return who is invited and who answers, (n, quarters): by region's fraction, then by segment's response rate."""
    shape = (len(people), len(QUARTERS))
    fraction = people["region"].map(planted["sampling_fractions"]).to_numpy()[:, None]
    willing = people["segment"].map(planted["segment_response"]).to_numpy()[:, None]
    invited = rng.random(shape) < fraction
    invited[:, : len(QUARTERS) - waves] = False
    return invited, invited & (rng.random(shape) < willing)


def skip_items(answered: np.ndarray, n_items: int, *, planted, rng) -> np.ndarray:
    """Return which answers are left out, completely at random: (n, quarters, items)."""
    return answered[:, :, None] & (rng.random((*answered.shape, n_items)) < planted["skipped_share"])


def counted_recommend(recommend: np.ndarray, given: np.ndarray) -> np.ndarray:
    """Return the last recommend answer given, or for those who gave none what they would have said last: (n,)."""
    last = given.shape[1] - 1 - np.argmax(given[:, ::-1], axis=1)  # nobody gave one: argmax 0, the last quarter
    return recommend[np.arange(len(recommend)), last]
