"""Ten beliefs about customer experience, each with what would refute it (see ``beliefs.csv``).

Lindeman, Merenda & Gold (1980), *Introduction to Bivariate and Multivariate Analysis*, 119 ff. (shares of R²);
Feldt (1965), Psychometrika 30:357-370 (alpha); Newcombe (1998), Statistics in Medicine 17:857-872 (Wilson).
"""

from collections.abc import Mapping
from functools import cache, partial

import numpy as np
import pandas as pd

from cxresearch.claims.shares import LEAST, held, say, wilson_of
from cxresearch.errors import require_columns, require_share
from cxresearch.findings import Check, Statement, ends, listing
from cxresearch.inference import percentile_interval, t_interval
from cxresearch.inference.pooling import cronbach_alpha, feldt_interval
from cxresearch.inference.shares import as_correlations, em_moments, residual_variances, shapley_parts, unpacked
from cxresearch.survey import Survey, as_survey, as_table

KINDS = ("service", "product", "price", "digital", "personal", "emotion")
BEHAVIOUR, FOLDS, ANSWERS = ("frequency", "recency", "tenure", "monetary"), 10, 100


def weigh_myths(
    responses, *, outcome, kinds: Mapping[str, str], satisfaction=None, customers=None, owners=None, revenue=None,
    n_boot: int = 1000, confidence: float = 0.95, seed,
) -> Statement:  # fmt: skip
    """Weigh ten beliefs about customer experience: refuted, supported, open, or not to be tested on these data.

    Parts of R² by LMG (answers missing at random, EM), interval by the survey's bootstrap; shares Wilson on the design's
    base; alpha Feldt; R² added in ten folds, interval of the mean gain. All intervals hold together (Bonferroni over
    those tested), so that a verdict is its interval against its limit.

    Parameters
    ----------
    responses : Survey or DataFrame
    outcome, satisfaction, revenue : columns; the last two are optional, revenue is that after the answer
    kinds : mapping driver -> service, product, price, digital, personal or emotion
    customers : Table or DataFrame of all customers, with a column ``customer``, optional
    owners : mapping driver -> department that answers for it, optional

    Raises
    ------
    DataProblem
        An unknown kind, a column that is not there, fewer than 100 answers to the outcome.

    Examples
    --------
    >>> kinds = {"staff": "personal", "support": "service", "website": "digital", "products": "product", "prices": "price"}
    >>> print(cx.weigh_myths(study.responses, outcome="satisfaction", kinds=kinds, n_boot=100, seed=1))
    Of ten beliefs ... are refuted here, ... supported, ... open, ... cannot be tested (n = 2,...
    """
    survey, everyone = as_survey(responses), None if customers is None else as_table(customers).table
    require_share("confidence", confidence)
    require_columns(survey.table, outcome, satisfaction, revenue, *kinds, where="responses")
    for kind in kinds.values():
        say.refuse_if(kind not in KINDS, "no_known_kind", kind=kind, known=listing(KINDS))
    answered = int(np.isfinite(_answers(survey, outcome)).sum())
    say.refuse_if(answered < ANSWERS, "few_answers", n=answered, outcome=outcome, least=ANSWERS)
    others, past = [item for item in kinds if item != satisfaction], [c for c in BEHAVIOUR if c in survey.table]
    tests = _explained(survey, outcome, kinds, owners or {}, n_boot, seed) | _rated(survey, outcome, kinds, everyone)
    tests["satisfaction"] = _added(survey, revenue, satisfaction, others, seed) or say["no satisfaction"]
    tests["behaviour"] = _added(survey, revenue, outcome, past, seed) or say["no behaviour"]
    k, rows = sum(map(callable, tests.values())), []
    level = 1 - (1 - confidence) / max(k, 1)
    for name, belief, estimated, limit, side in held("beliefs").fillna({"estimated": ""}).itertuples(index=False):
        able = callable(test := tests[name])
        *span, n = test(level) if able else (np.nan, np.nan, np.nan, 0)
        beyond, within = (span[1] > limit, span[2] < limit)[:: 1 if side == "above" else -1]
        verdict = "refuted" if beyond else "supported" if within else "not established"
        row = {"term": belief, "estimated": estimated, **ends("estimate", *span)}
        row["rule"], row["verdict"] = (f"interval {side} {limit:g}", verdict) if able else ("", "cannot be tested")
        rows.append(row | {"n": n, "untested": "" if able else test})
    table = pd.DataFrame(rows)
    refuted, supported, unsure = ((table["verdict"] == v).sum() for v in ("refuted", "supported", "not established"))
    names = listing(f"“{term}”" for term in table["term"][table["verdict"] == "refuted"])
    known = dict(supported=supported, open=unsure, untested=len(table) - k, k=k, names=names)
    check = Check("beliefs that these data cannot test", len(table) - k, "0", k == len(table), "info")
    summary = {"refuted": int(refuted), "tested": k, "n": answered, "method": "a rule a belief; Bonferroni"}
    summary["established"] = bool(refuted + supported)
    told = say, ["myths", "myths more" if refuted else "no myths"], known, confidence
    question = "weigh_myths", outcome, None, table, summary, (check,)
    marked = table["verdict"][table["estimate"].notna()] == "refuted"
    drawn = dict(unit="estimate with interval; in colour: refuted", marked=marked)
    return Statement.of(*told, *question, source=survey, drawn=drawn)


# What follows returns tests by belief: of a level they return estimate, low, high, n; a text says why one cannot be made.


def _answers(survey: Survey, *columns: str) -> np.ndarray:
    """Return answers as numbers, (n, columns)."""
    return survey.table[[*columns]].apply(pd.to_numeric).to_numpy(dtype=float, na_value=np.nan)


def _explained(survey: Survey, outcome, kinds, owners, n_boot, seed) -> dict:
    """Return the tests of explained variance (LMG): of kinds of drivers, of the owner who answers for the second most."""

    @cache
    def parts() -> tuple[np.ndarray, int]:
        """Return each driver's share of the explained variance, (drivers, 1 + n_boot): the estimate, then draws; and rows."""
        columns = _answers(survey, *kinds, outcome)
        known = np.isfinite(columns)
        sample = survey.sample(known[:, -1] & known[:, :-1].any(axis=1), what=outcome)
        moments = em_moments(columns[sample.rows], sample.weights)
        weights = None, *sample.replicates(n_boot, seed=seed)
        drawn = (residual_variances(as_correlations(moments.covariances(w)), [1] * len(kinds)) for w in weights)
        parts = np.concatenate([*map(shapley_parts, drawn)], axis=1)
        return parts / parts.sum(axis=0), len(sample)

    def of(items, level):
        shares, n = parts()
        share, *drawn = shares[[item in items for item in kinds]].sum(axis=0)
        return share, *percentile_interval(drawn, level), n

    tests = {}
    for kind in ("service", "personal", "digital"):
        items = [item for item, its in kinds.items() if its == kind]
        known = 0 < len(items) < len(kinds)
        tests[kind] = partial(of, items) if known else say("one kind" if items else "no kind", kind=kind)
    owner = pd.Series({item: owners.get(item) for item in kinds}, dtype=object)
    owned = [list(items.index) for _, items in owner.groupby(owner, sort=False)]
    second = sorted(owned, key=lambda items: -of(items, 0.5)[0])[1:2] if len(owned) > 1 else []
    return tests | {"owners": partial(of, *second) if second else say["no owners"]}


def _rated(survey: Survey, outcome, kinds, everyone) -> dict:
    """Return the tests of the product, of those who never answer, of reliability (alpha), and that of cost."""
    tests = {
        "cost": say["no cost"],
        "product": say["no product"],
        "silent": say["no customers"],
        "alpha": say["few ratings"],
    }
    items = [item for item, kind in kinds.items() if kind == "product"]
    if len(items) == 1:
        ratings, y = _answers(survey, *items, outcome).T
        low, top = survey.scales.get(outcome, (np.nanmin(y), np.nanmax(y)))
        best = ratings >= survey.scales.get(items[0], (0, np.nanmax(ratings)))[1]
        poor = np.where(best & np.isfinite(y), y <= (low + top) / 2, np.nan)
        enough = np.isfinite(poor).sum() >= max(LEAST, survey.min_base)
        tests["product"] = partial(wilson_of, survey, poor, items[0]) if enough else say["few products"]
    if everyone is not None and "customer" in everyone and "customer" in survey.table:
        silent = ~everyone["customer"].isin(survey.table["customer"]).to_numpy()
        tests["silent"] = partial(wilson_of, Survey(everyone), silent.astype(float), "customers")
    if (k := len(kinds)) > 1:
        columns = _answers(survey, *kinds)
        sample = survey.sample(np.isfinite(columns).any(axis=1), what="ratings")
        moments = em_moments(columns[sample.rows], sample.weights)
        alpha = cronbach_alpha(unpacked(as_correlations(moments.covariances()))[0])
        tests["alpha"] = lambda level: (alpha, *feldt_interval(alpha, sample.n_effective, k, level), len(sample))
    return tests


def _added(survey: Survey, revenue, first, more, seed):
    """Return the test of the R² of revenue that `more` columns add to the first, in folds of persons; None without them."""
    if revenue is None or first is None or not more:
        return None
    from sklearn.linear_model import LinearRegression
    from sklearn.model_selection import PredefinedSplit, cross_val_predict

    columns = _answers(survey, revenue, first, *more)
    sample = survey.sample(np.isfinite(columns[:, :2]).all(axis=1), what=revenue)
    values, w = columns[sample.rows], sample.weights
    values = np.where(np.isnan(values), np.nanmean(values, axis=0), values)
    codes, y = np.arange(len(values)) if sample.persons is None else sample.persons, values[:, 0]
    folds = PredefinedSplit(np.random.default_rng(seed).permutation(codes.max() + 1)[codes] % FOLDS)
    asked = dict(y=y, cv=folds, params={"sample_weight": w})
    one, all_ = (y - cross_val_predict(LinearRegression(), values[:, 1:k], **asked) for k in (2, values.shape[1]))
    gain = (one**2 - all_**2) / np.average((y - np.average(y, weights=w)) ** 2, weights=w)
    mean, error = float(sample.means(gain)[0]), float(np.sqrt(sample.variance(gain)[0]))
    return lambda level: (*t_interval(mean, error, np.inf, level)[:3], len(values))
