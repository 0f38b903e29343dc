"""The answers of everybody in every quarter, and the file that comes back from the field."""

import numpy as np
import pandas as pd

from cxresearch.simulate.answers import asked_dates, invite, judge, met_touchpoints, rate, skip_items
from cxresearch.simulate.contacts import support_shift
from cxresearch.simulate.truth import DRIVERS, QUARTERS
from cxresearch.simulate.verbatims import UNINFORMATIVE_SHARE, compose, disturb, tone_of

ITEMS = ("recommend", "satisfaction", "ease", *DRIVERS)
SKIPPED_CODE, NEVER_CODE = 99, 0
CODED_SHARE = 1 / 3  # of the skipped answers, how many the file codes 99; the others are blank


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
    rows = {
        "who": np.repeat(np.arange(n), shape[1]),
        "customer_id": np.repeat(people["customer_id"].to_numpy(), shape[1]),
        "wave": np.tile(QUARTERS, n),
        "asked_on": asked.ravel(),
        "invited": invited.ravel(),
        "answered": answered.ravel(),
    }
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
    shares = {"problem": planted["problem_share"], "forgive": forgiving, "prefer": planted["prefer_share"],
              "switch": planted["switch_said"], "service_over_price": planted["service_over_price"]}  # fmt: skip
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
    marks = zip(
        comments, person["language"], *(rows[f"comment_{mark}"] for mark in ("neutral", "misspelt", "contact_data"))
    )
    comments = [disturb(text, *how, rng=later) if text else None for text, *how in marks]
    return pd.DataFrame(
        {
            "response_id": [f"R{i:05d}" for i in range(1, len(rows) + 1)],
            "wave": rows["wave"],
            "customer_id": rows["customer_id"],
            "asked_on": rows["asked_on"].dt.strftime("%Y-%m-%d"),
            "region": person["region"],
            "age_group": person["age_group"],
            "weight": _weights(rows["wave"], person["region"], planted),
            **coded,
            "language": person["language"],
            "comment": comments,
            "contact_id": rows["contact_id"],
            "contact_rating": rows["contact_rating"].fillna(NEVER_CODE).astype(int),
            "followed_up_on": rows["followed_up"].dt.strftime("%Y-%m-%d"),
            **claim(rows["recommend"], planted=planted, rng=later),
        }
    )


def _coded(values: pd.Series, skipped: pd.Series, *, rng) -> pd.Series:
    """Return an item as the file holds it: whole numbers, 0 for never met, 99 or a blank for skipped."""
    coded = values.fillna(NEVER_CODE).astype(int).astype(object)
    as_code = rng.random(len(values)) < CODED_SHARE
    coded[skipped & as_code] = SKIPPED_CODE
    coded[skipped & ~as_code] = None
    return coded


def _weights(wave: pd.Series, region: pd.Series, planted) -> pd.Series:
    """Return one over the region's sampling fraction, with mean 1 in every wave."""
    inverse = 1 / region.map(planted["sampling_fractions"])
    return (inverse / inverse.groupby(wave).transform("mean")).round(3)
