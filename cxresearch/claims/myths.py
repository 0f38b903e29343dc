"""Ten beliefs about customer experience, each with what would refute it.

References
----------
Lindeman, Merenda & Gold (1980), *Introduction to Bivariate and Multivariate Analysis*, 119 ff. (shares of R²);
Feldt (1965), Psychometrika 30:357-370 (alpha); Newcombe (1998), Statistics in Medicine 17:857-872 (Wilson).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from cxresearch.errors import DataProblem, TooFewRespondents, require_columns, require_share
from cxresearch.findings import Check, Statement, listing, number, words
from cxresearch.inference import critical_value, percentile_interval, wilson_interval
from cxresearch.inference.agreement import cronbach_alpha, feldt_interval
from cxresearch.inference.shares import as_correlations, em_moments, residual_variances, shapley_parts, unpacked
from cxresearch.survey import Survey, as_survey, as_table

say = words(__package__)

KINDS = ("service", "product", "price", "digital", "personal", "emotion")
MOST, SOME, RELIABLE, FOLDS = 0.5, 0.10, 0.7, 10
# Belief -> what is estimated, and the limit; refuted where the interval lies beyond it on the side named.
MYTHS = {
    "customer experience is only service": ("share of explained variance of service", MOST, "below"),
    "only the customer experience team is responsible": (
        "contacts, or explained variance, of the second largest owner",
        SOME,
        "above",
    ),
    "only the front line matters": ("share of explained variance of personal contact", MOST, "below"),
    "customer experience is user experience": ("share of explained variance of digital", MOST, "below"),
    "a good product guarantees a good experience": (
        "low outcomes among those whose product is in the top box",
        SOME,
        "above",
    ),
    "customers must be happy at any cost": ("", np.nan, "above"),
    "only satisfaction matters": ("R² of revenue that other ratings add, out of fold", 0.0, "above"),
    "customer experience is the voice of the customer": ("customers who never answered", SOME, "above"),
    "customer experience is hard to measure": ("reliability (alpha) of the ratings", RELIABLE, "above"),
    "the score is enough": ("R² of revenue that behaviour adds to the score, out of fold", 0.0, "above"),
}


@dataclass(frozen=True)
class _Data:
    """What the beliefs are tested on; None where the study has none."""

    survey: Survey
    outcome: str
    kinds: Mapping[str, str]
    product: str | None
    satisfaction: str | None
    customers: pd.DataFrame | None
    interactions: pd.DataFrame | None
    owners: Mapping[str, str]
    revenue: str | None
    n_boot: int
    seed: int

    def answers(self, columns) -> np.ndarray:
        return np.column_stack(
            [pd.to_numeric(self.survey.table[c]).to_numpy(dtype=float, na_value=np.nan) for c in columns]
        )


def weigh_myths(
    responses, *, outcome: str, kinds: Mapping[str, str], product: str | None = None, satisfaction: str | None = None,
    customers=None, interactions=None, owners: Mapping[str, str] | None = None, revenue: str | None = None,
    myths: Sequence[str] | None = None, n_boot: int = 1000, confidence: float = 0.95, seed,
) -> Statement:  # fmt: skip
    """Weigh ten beliefs about customer experience: refuted, supported, open, or not to be tested on these data.

    Parameters
    ----------
    responses : Survey or DataFrame
    outcome : column
        Overall rating or recommendation.
    kinds : mapping driver -> kind
        service, product, price, digital, personal or emotion.
    product, satisfaction, revenue : columns, optional
        Of the responses: the rating of the product (by default the one driver of that kind); satisfaction; revenue of the customer after the answer.
    customers, interactions : Table or DataFrame, optional
        All customers, with a column ``customer``; contacts with a column ``owner``.
    owners : mapping driver -> department, optional
        Who answers for what is rated; used where contacts name no owner.
    myths : sequence of str, optional
        Some of the ten; by default all.

    Raises
    ------
    DataProblem
        An unknown kind or belief, a column that is not there.
    TooFewRespondents
        Fewer than 100 answers to the outcome.

    Notes
    -----
    Parts of R² by LMG (answers missing at random, EM), interval by the survey's bootstrap; shares Wilson on the design's
    base; alpha Feldt; R² added in ten folds, interval of the mean gain. All intervals hold together (Bonferroni over
    those tested), so that a verdict is its interval against its limit.

    Examples
    --------
    >>> import cxresearch as cx
    >>> study = cx.open_study("data/example/study.yml")
    >>> kinds = {"staff": "personal", "support": "service", "website": "digital", "products": "product", "prices": "price"}
    >>> print(cx.weigh_myths(study.responses, outcome="satisfaction", kinds=kinds, product="products", n_boot=100, seed=1))
    Of ten beliefs ... are refuted here, ... supported, ... open, ... cannot be tested (n = 2,...
    """
    survey = as_survey(responses)
    require_share("confidence", confidence)
    require_columns(survey.table, outcome, product, satisfaction, revenue, *kinds, where="responses")
    asked = list(MYTHS) if myths is None else list(myths)
    if unknown := [*(k for k in kinds.values() if k not in KINDS), *(m for m in asked if m not in MYTHS)]:
        raise DataProblem(f"{unknown[0]!r} is not known; kinds are {listing(KINDS)}, beliefs are those of the table")
    products = [item for item, kind in kinds.items() if kind == "product"]
    product = product or (products[0] if len(products) == 1 else None)
    frames = [None if t is None else as_table(t).table for t in (customers, interactions)]
    data = _Data(
        survey, outcome, dict(kinds), product, satisfaction, *frames, dict(owners or {}), revenue, n_boot, seed
    )
    answered = int(np.isfinite(data.answers([outcome])).sum())
    if answered < 100:
        raise TooFewRespondents(f"{answered} answers to {outcome}; ten beliefs need 100 at least")
    testers = dict(
        zip(MYTHS, (_service, _owners, _personal, _digital, _product, _cost, _gain, _silent, _alpha, _behaviour))
    )
    reasons = {myth: testers[myth](data, None) for myth in asked}
    tested = [myth for myth, reason in reasons.items() if reason is None]
    level = 1 - (1 - confidence) / max(len(tested), 1)
    rows = []
    for myth in asked:
        statistic, limit, side = MYTHS[myth]
        estimate, low, high, n = testers[myth](data, level) if myth in tested else (np.nan,) * 3 + (0,)
        beyond, within = (low > limit, high < limit) if side == "above" else (high < limit, low > limit)
        verdict = (
            "cannot be tested"
            if myth not in tested
            else "refuted"
            if beyond
            else "supported"
            if within
            else "not established"
        )
        rule = f"interval {side} {limit:g}" if myth in tested else ""
        rows.append({"term": myth, "estimated": statistic, "estimate": estimate, "conf_low": low, "conf_high": high, "rule": rule,
                     "verdict": verdict, "n": n, "untested": reasons[myth] or ""})  # fmt: skip
    table = pd.DataFrame(rows)
    counts = table["verdict"].value_counts()
    of = lambda verdict: int(counts.get(verdict, 0))  # noqa: E731
    names = listing(f"“{t}”" for t in table["term"][table["verdict"] == "refuted"])
    words = (
        say("myths", refuted=of("refuted"), supported=of("supported"), open=of("not established"), untested=of("cannot be tested"), n=number(answered, 0)),
        say("myths more", names=names, k=len(tested)) if of("refuted") else say("no myths", k=len(tested)),
    )  # fmt: skip
    check = Check(
        "beliefs that these data cannot test", len(asked) - len(tested), "0", len(tested) == len(asked), "info"
    )
    summary = {"refuted": of("refuted"), "tested": len(tested), "n": answered, "method": "a rule a belief; Bonferroni",
               "established": bool(of("refuted") + of("supported"))}  # fmt: skip
    return Statement("weigh_myths", outcome, None, table, summary, (check,), dict(survey.labels), words=" ".join(words), domain=survey.condition,
                  drawn=dict(unit="estimate with interval; in colour: refuted", line=None, marked=table["verdict"][table["estimate"].notna()] == "refuted"))  # fmt: skip


# --- the ten: each returns why it cannot be tested (level None), or estimate, low, high and n ---------------------------


def _lmg_share(data: _Data, named, level: float):
    """Return the part of explained variance of the items `named`, its interval, and n."""
    columns = data.answers([*data.kinds, data.outcome])
    rows = np.isfinite(columns[:, -1]) & np.isfinite(columns[:, :-1]).any(axis=1)
    sample = data.survey.sample(rows, what=data.outcome)
    kept = columns[sample.rows]
    moments = em_moments(kept, sample.weights)
    inside = np.array([item in named for item in data.kinds])

    def share(correlations):
        parts = shapley_parts(residual_variances(correlations, [1] * len(inside)))
        return parts[inside].sum(axis=0) / parts.sum(axis=0)

    drawn = [share(as_correlations(moments.covariances(w))) for w in sample.replicates(data.n_boot, seed=data.seed)]
    low, high = percentile_interval(np.concatenate(drawn), level)
    return float(share(as_correlations(moments.covariances()))[0]), float(low), float(high), len(sample)


def _part_of(kind: str):
    """Return the tester of "this kind has most of the explained variance"."""

    def tester(data: _Data, level):
        named = [item for item, its in data.kinds.items() if its == kind]
        if not named or len(named) == len(data.kinds):
            return f"the study has no driver of kind {kind}" if not named else f"all drivers are of kind {kind}"
        return None if level is None else _lmg_share(data, named, level)

    return tester


_service, _personal, _digital = map(_part_of, ("service", "personal", "digital"))


def _wilson(share: float, n: float, level: float, rows: int):
    return (float(share), *map(float, wilson_interval(share, n, level)), rows)


def _owners(data: _Data, level):
    """Take contacts by owner where they are known, else explained variance by the owner of what is rated."""
    contacts = (
        None if data.interactions is None or "owner" not in data.interactions else data.interactions["owner"].dropna()
    )
    owned = {item: owner for item, owner in data.owners.items() if item in data.kinds and isinstance(owner, str)}
    if (contacts is None or contacts.empty) and len(set(owned.values())) < 2:
        return "the study has neither contacts with an owner nor drivers of two owners"
    if level is None:
        return None
    if contacts is not None and len(contacts):
        counts = contacts.value_counts()
        return _wilson(counts.iloc[1] / len(contacts) if len(counts) > 1 else 0.0, len(contacts), level, len(contacts))
    parts = {owner: [item for item, its in owned.items() if its == owner] for owner in sorted(set(owned.values()))}
    once = replace(data, n_boot=1)
    second = sorted(parts, key=lambda owner: -_lmg_share(once, parts[owner], level)[0])[1]
    return _lmg_share(data, parts[second], level)


def _product(data: _Data, level):
    if data.product is None:
        return "the study has no rating of the product"
    ratings, y = data.answers([data.product])[:, 0], data.answers([data.outcome])[:, 0]
    low, top = data.survey.scales.get(data.outcome, (np.nanmin(y), np.nanmax(y)))
    best = ratings >= data.survey.scales.get(data.product, (0, np.nanmax(ratings)))[1]
    rows = best & np.isfinite(y)
    if rows.sum() < max(30, data.survey.min_base):
        return "fewer than 30 rate the product in its top box"
    if level is None:
        return None
    sample = data.survey.sample(rows, what=data.product)
    poor = (y <= (low + top) / 2).astype(float)[sample.rows]
    share, variance = sample.means(poor)[0], sample.variance(poor)[0]
    n = share * (1 - share) / variance if variance > 0 and not sample.plain else sample.n_effective
    return _wilson(share, n, level, len(sample))


def _cost(data: _Data, level):
    return "the study has no cost of what is done for a customer"


def _added(data: _Data, first: Sequence[str], more: Sequence[str], level):
    """Return the R² of revenue that `more` adds to `first` in ten folds of persons, and its interval."""
    columns = data.answers([data.revenue, *first, *more])
    known = np.isfinite(columns[:, [0, *range(1, len(first) + 1)]]).all(axis=1)
    sample = data.survey.sample(known, what=data.revenue)
    values = columns[sample.rows]
    values = np.where(np.isnan(values), np.nanmean(values, axis=0), values)
    codes = np.arange(len(values)) if sample.persons is None else sample.persons
    fold = np.random.default_rng(data.seed).permutation(codes.max() + 1)[codes] % FOLDS
    loss, y = [], values[:, 0]
    for width in (1 + len(first), values.shape[1]):
        X, residual = np.column_stack([np.ones(len(y)), values[:, 1:width]]), np.empty(len(y))
        for k in range(FOLDS):
            w = np.sqrt(sample.weights) * (fold != k)
            residual[fold == k] = (y - X @ np.linalg.lstsq(X * w[:, None], y * w, rcond=None)[0])[fold == k]
        loss.append(residual**2)
    gain = (loss[0] - loss[1]) / np.average((y - np.average(y, weights=sample.weights)) ** 2, weights=sample.weights)
    mean, half = sample.means(gain)[0], critical_value(level) * np.sqrt(sample.variance(gain)[0])
    return float(mean), float(mean - half), float(mean + half), len(values)


def _gain(data: _Data, level):
    if data.revenue is None or data.satisfaction is None:
        return "the study has no revenue beside satisfaction"
    return (
        None
        if level is None
        else _added(data, [data.satisfaction], [k for k in data.kinds if k != data.satisfaction], level)
    )


def _behaviour(data: _Data, level):
    columns = [c for c in ("frequency", "recency", "tenure", "monetary") if c in data.survey.table]
    if data.revenue is None or not columns:
        return "the study has no behaviour before the answer beside revenue"
    return None if level is None else _added(data, [data.outcome], columns, level)


def _silent(data: _Data, level):
    if data.customers is None or "customer" not in data.customers or "customer" not in data.survey.table:
        return "the study has no list of all customers"
    if level is None:
        return None
    silent = ~data.customers["customer"].isin(data.survey.table["customer"])
    return _wilson(silent.mean(), len(silent), level, len(silent))


def _alpha(data: _Data, level):
    if len(data.kinds) < 2:
        return "the study has fewer than two ratings"
    if level is None:
        return None
    columns = data.answers(data.kinds)
    sample = data.survey.sample(np.isfinite(columns).any(axis=1), what="ratings")
    kept = columns[sample.rows]
    alpha = cronbach_alpha(unpacked(as_correlations(em_moments(kept, sample.weights).covariances()))[0])
    return alpha, *feldt_interval(alpha, sample.n_effective, len(data.kinds), level), len(sample)
