"""What everybody would answer in every quarter, who is asked and does, and the file that comes back from the field.

A rating is round(mean + 1.25 z + shifts) on 1-7, z = halo_loading * halo + block_loading * block + the driver's
own part. Satisfaction is the weighted sum of the met ratings' distances from their means, plus halo, region and
chance; recommend and ease follow satisfaction.
"""

import numpy as np
import pandas as pd

from cxresearch.simulate.contacts import support_shift
from cxresearch.simulate.truth import DRIVERS, DROP_WAVE, QUARTERS, WORLD
from cxresearch.simulate.verbatims import MARKS, UNINFORMATIVE_SHARE, compose, disturb, tone_of

ITEMS = ("recommend", "satisfaction", "ease", *DRIVERS)
SKIPPED_CODE, NEVER_CODE = 99, 0
CODED_SHARE = 1 / 3  # of the skipped answers, how many the file codes 99; the others are blank
RATING_MEANS, BLOCKS = ([WORLD["ratings"][k][driver] for driver in DRIVERS] for k in ("means", "blocks"))
RATING_SPREAD = 1.25
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
    ways = {"website": ["web", "collect"], "delivery": ["web"], "staff": ["shop", "collect"]}
    tests = {driver: bought & paid["channel"].isin(channels) for driver, channels in ways.items()}
    tests["returns_service"] = ~bought
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
    shared = rng.standard_normal((n, 3))[:, None, BLOCKS]
    z = halo * people["halo"].to_numpy()[:, None, None] + block * shared + np.sqrt(1 - halo**2 - block**2) * own
    exact = np.array(RATING_MEANS) + RATING_SPREAD * z
    by_branch = branches.pivot(index="branch", columns="quarter", values="staff_shift")
    exact[:, :, DRIVERS.index("staff")] += by_branch.loc[people["branch"]].to_numpy()
    exact[:, :, DRIVERS.index("support")] += np.nan_to_num(support)
    exact[:, QUARTERS.index(DROP_WAVE), DRIVERS.index("delivery")] -= planted["delivery_drop"]
    return np.clip(np.rint(exact), 1, 7)


def judge(people: pd.DataFrame, ratings: np.ndarray, met: np.ndarray, *, planted, rng) -> dict[str, np.ndarray]:
    """Return recommend (0-10), satisfaction (1-7) and ease (1-7) that everybody would give: (n, quarters) each."""
    shape = ratings.shape[:2]
    distance = np.where(met, ratings - RATING_MEANS, 0.0)
    pleased = (distance * [planted["driver_weights"][d] for d in DRIVERS]).sum(axis=2)
    pleased += planted["halo_on_satisfaction"] * people["halo"].to_numpy()[:, None]
    pleased += people["region"].map(planted["region_shift"]).to_numpy()[:, None]
    pleased += SATISFACTION_NOISE * rng.standard_normal(shape)
    recommend = RECOMMEND_MEAN + planted["recommend_per_satisfaction"] * pleased
    recommend += planted["recommend_per_affluence"] * people["affluence"].to_numpy()[:, None]
    recommend += RECOMMEND_NOISE * rng.standard_normal(shape)
    ease = EASE_MEAN + EASE_PER_SATISFACTION * pleased + EASE_NOISE * rng.standard_normal(shape)
    exact = {"recommend": (recommend, 0, 10), "satisfaction": (SATISFACTION_MEAN + pleased, 1, 7), "ease": (ease, 1, 7)}
    return {item: np.clip(np.rint(answer), low, high) for item, (answer, low, high) in exact.items()}


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


def everybody(people, paid, contacts, agents, branches, *, waves: int, planted, rng) -> pd.DataFrame:
    """Return one row a person and quarter: invited, answered, every would-be answer, what was skipped, the comment."""
    n, shape = len(people), (len(people), len(QUARTERS))
    asked = asked_dates(n, rng=rng)
    support = support_shift(contacts, agents, asked, planted=planted)
    met = met_touchpoints(paid, support, asked)
    ratings = rate(people, branches, support, planted=planted, rng=rng)
    judged = judge(people, ratings, met, planted=planted, rng=rng)
    invited, answered = invite(people, waves=waves, planted=planted, rng=rng)
    values = np.dstack([*judged.values(), np.where(met, ratings, np.nan)])  # (n, quarters, items)
    skipped = skip_items(answered, len(ITEMS), planted=planted, rng=rng) & ~np.isnan(values)
    who = np.repeat(np.arange(n), shape[1])
    rows = {"who": who, "customer_id": people["customer_id"].to_numpy()[who], "wave": np.tile(QUARTERS, n)}
    rows |= {"asked_on": asked.ravel(), "invited": invited.ravel(), "answered": answered.ravel()}
    rows |= {item: values[:, :, i].ravel() for i, item in enumerate(ITEMS)}
    rows |= {f"{item}_skipped": skipped[:, :, i].ravel() for i, item in enumerate(ITEMS)}
    return comment(pd.DataFrame(rows), planted=planted, rng=rng)


def comment(rows: pd.DataFrame, *, planted, rng) -> pd.DataFrame:
    """Add the tone and topic of each comment: the best-rated driver, the worst-rated, or both; empty without one."""
    ratings = rows[list(DRIVERS)].to_numpy() + 0.5 * rng.random((len(rows), len(DRIVERS)))  # ties fall by chance
    drivers = np.array(DRIVERS)
    best, worst = drivers[np.nanargmax(ratings, axis=1)], drivers[np.nanargmin(ratings, axis=1)]
    tone = tone_of(rows["satisfaction"].to_numpy())
    tone = np.where(rng.random(len(rows)) < UNINFORMATIVE_SHARE, "none", tone)
    commented = rows["answered"] & (rng.random(len(rows)) < planted["comment_share"])
    return rows.assign(comment_tone=np.where(commented, tone, ""), comment_best=best, comment_worst=worst)


def followed_up(rows: pd.DataFrame, *, planted, rng) -> pd.Series:
    """Return when somebody came back to a detractor (NaT: nobody did); those at 0-3 are a quarter likelier than all."""
    given = (rows["answered"] & ~rows["recommend_skipped"]).to_numpy()
    worst, others = given & (rows["recommend"] <= 3).to_numpy(), given & rows["recommend"].between(4, 6).to_numpy()
    share, n = planted["followup_share"], worst.sum() + others.sum()
    rest = max(share * n - 1.25 * share * worst.sum(), 0) / max(others.sum(), 1)
    days = np.floor(rng.exponential(max(planted["followup_days"], 1e-9), size=len(rows)) + 0.5)
    chosen = rng.random(len(rows)) < np.select([worst, others], [1.25 * share, rest], 0.0)
    return (rows["asked_on"] + pd.to_timedelta(days, unit="D")).where(chosen)


def lifted(rows: pd.DataFrame, followed: pd.Series, lift: float) -> pd.DataFrame:
    """Return the answers with `lift` points more of recommend in the quarter after a follow-up."""
    before = followed.notna().groupby(rows["who"]).shift(fill_value=False).to_numpy()
    return rows.assign(recommend=np.clip(np.rint(rows["recommend"] + lift * before), 0, 10))


def claim(recommend: pd.Series, *, planted, rng) -> pd.DataFrame:
    """Return yes, no or a blank for what is claimed of loyalty; forgiving alone depends on recommend."""
    low, ratio = planted["forgive_base"], planted["forgive_ratio"]
    forgiving = np.select([recommend <= 6, recommend <= 8], [low, low * np.sqrt(ratio)], min(low * ratio, 1.0))
    shares = {"problem": planted["problem_share"], "forgive": forgiving, "prefer": planted["prefer_share"]}
    shares |= {"switch": planted["switch_said"], "service_over_price": planted["service_over_price"]}
    drawn = {name: np.where(rng.random(len(recommend)) < share, "yes", "no") for name, share in shares.items()}
    table = pd.DataFrame(drawn, index=recommend.index).astype(object)
    return table.mask(rng.random(table.shape) < planted["skipped_share"], None)


def field_file(everyone: pd.DataFrame, people: pd.DataFrame, *, planted, rng, later) -> pd.DataFrame:
    """Return what the survey platform delivers: the rows that answered, coded, weighted, with their comments.

    What came later than the rest (disturbances of comments, claims) is drawn from `later`.
    """
    rows = everyone.loc[everyone["answered"]].sort_values(["wave", "asked_on", "who"], ignore_index=True)
    person = people.iloc[rows["who"]].reset_index(drop=True)
    coded = {item: _coded(rows[item], rows[f"{item}_skipped"], rng=rng) for item in ITEMS}
    told = zip(person["language"], rows["comment_tone"], rows["comment_best"], rows["comment_worst"])
    comments = [compose(language, tone, *topics, rng=rng) if tone else None for language, tone, *topics in told]
    marks = (rows[f"comment_{mark}"] for mark in MARKS)
    comments = [
        disturb(text, *how, rng=later) if text else None for text, *how in zip(comments, person["language"], *marks)
    ]
    weight = 1 / person["region"].map(planted["sampling_fractions"])  # with mean 1 in every wave
    person = person.assign(weight=(weight / weight.groupby(rows["wave"]).transform("mean")).round(3), comment=comments)
    told = rows.assign(followed_up_on=rows["followed_up"], **coded)
    told["contact_rating"] = told["contact_rating"].fillna(NEVER_CODE).astype(int)
    table = pd.concat(
        [told, person.drop(columns="customer_id"), claim(rows["recommend"], planted=planted, rng=later)], axis=1
    )
    table["response_id"] = [f"R{i:05d}" for i in range(1, len(rows) + 1)]
    return table


def _coded(values: pd.Series, skipped: pd.Series, *, rng) -> pd.Series:
    """Return an item as the file holds it: whole numbers, 0 for never met, 99 or a blank for skipped."""
    coded = values.fillna(NEVER_CODE).astype(int).astype(object)
    as_code = rng.random(len(values)) < CODED_SHARE
    coded[skipped & as_code] = SKIPPED_CODE
    coded[skipped & ~as_code] = None
    return coded
