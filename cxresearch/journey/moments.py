"""Which touchpoints go with the outcome, and whether channels are alike.

Schuirmann (1987), J. Pharmacokinetics and Biopharmaceutics 15:657-680 (two one-sided tests); Viechtbauer (2007),
Statistics in Medicine 26:37-52 (Q-profile interval).
"""

from itertools import combinations

import numpy as np
import pandas as pd
from scipy import optimize, stats

from cxresearch.errors import DataProblem, TooFewRespondents, require_columns, require_share
from cxresearch.findings import Check, ends, listing, number, percent
from cxresearch.inference import adjusted_p_values, critical_value, percentile_interval
from cxresearch.inference.pooling import between_variance
from cxresearch.journey.log import JourneyFinding, span
from cxresearch.survey import as_survey, as_table

FEW = 30  # bad ratings under which nothing is established of a touchpoint


def ratings_of(table: pd.DataFrame, column: str) -> np.ndarray:
    """Return a column of numbers as floats, missing where there is none; refuse text."""
    values = pd.to_numeric(table[column], errors="coerce")
    if (lost := values.isna() & table[column].notna()).any():
        raise DataProblem(f"{column} holds {table.loc[lost, column].iloc[0]!r} ({lost.sum()} rows), which is no number")
    return values.to_numpy(dtype=float, na_value=np.nan)


def design_of(table: pd.DataFrame) -> np.ndarray:
    """Return controls (n, p): numbers with a column of "not known", others by value less the first; none constant."""
    parts = [np.zeros((len(table), 0))]
    for _, column in table.items():
        known = column.notna().to_numpy()
        if pd.api.types.is_numeric_dtype(column.dtype) and column.nunique() > 2:
            x = column.to_numpy(dtype=float, na_value=np.nan)
            parts.append(np.column_stack([np.where(known, x - x[known].mean(), 0.0), ~known]))
        else:
            code, levels = pd.factorize(column, sort=True, use_na_sentinel=False)
            parts.append((code[:, None] == np.arange(1, len(levels))).astype(float))
    found = np.concatenate(parts, axis=1)
    return found[:, np.ptp(found, axis=0) > 0]


def earlier_scores(survey, score) -> np.ndarray:
    """Return the score of the same person in the wave before; missing where persons or waves are not known."""
    if survey.wave is None or survey.respondent is None:
        return np.full(len(score), np.nan)
    t, order = survey.table, {wave: k for k, wave in enumerate(survey.wave_order)}
    keys = pd.DataFrame({"person": t[survey.respondent], "place": t[survey.wave].map(order).astype(float)})
    known = keys.assign(score=score).dropna().drop_duplicates(["person", "place"])
    return keys.assign(place=keys["place"] - 1).merge(known, how="left", validate="m:1")["score"].to_numpy()


def moments_of_truth(
    responses,
    *,
    outcome: str,
    touchpoints: list[str],
    before: str | None = None,
    controls=(),
    low: float | None = None,
    high: float | None = None,
    n_boot: int = 1000,
    confidence: float = 0.95,
    min_rows: int = 100,
    seed,
) -> JourneyFinding:
    """Return which touchpoints count most: how many meet them, times the outcome after good less after bad ratings.

    Parameters
    ----------
    responses : Survey or DataFrame, (N, .)
    outcome : column
    touchpoints : list of columns
        Ratings, missing where the touchpoint was not met.
    before : column, optional
        An earlier score of the same person; by default the outcome in the wave before.
    controls : columns
        Held alike, besides the earlier score and the mean of the other touchpoints' ratings (halo).
    low, high : float, optional
        Ratings are bad up to `low`, good from `high` on; by default the lower and the upper two of the scale.
    n_boot, confidence, seed
        Bootstrap of the survey's units; intervals hold for all touchpoints together (Bonferroni).
    min_rows : int
        Fewest rows that rated a touchpoint.

    Raises
    ------
    DataProblem
        A column that is absent or holds text; a scale that is not declared where it is needed.
    TooFewRespondents
        No touchpoint with enough rows.

    Notes
    -----
    ``estimate`` = exposure x good_less_bad. The latter is from weighted least squares of the outcome on bad, middle and good among
    the rows that rated the touchpoint: an association. Established is what has an interval of the gap without 0 and 30
    bad ratings. ``model`` is the fit of the touchpoint named first.

    Examples
    --------
    >>> import cxresearch as cx
    >>> answers = cx.open_study("data/example/study.yml").responses
    >>> print(cx.moments_of_truth(answers, outcome="satisfaction", touchpoints=["delivery"], n_boot=99, seed=1))
    Delivery counts most: ...
    """
    from statsmodels.regression.linear_model import WLS

    survey = as_survey(responses)
    require_columns(survey.table, outcome, *touchpoints, before, *controls, where="responses")
    require_share("confidence", confidence)
    if not touchpoints or outcome in touchpoints:
        raise DataProblem(f"touchpoints={touchpoints!r} must name ratings other than the outcome {outcome!r}")
    score = ratings_of(survey.table, outcome)
    sample = survey.sample(np.isfinite(score), what=survey.label(outcome))
    table, y, level = survey.table.iloc[sample.rows], score[sample.rows], 1 - (1 - confidence) / len(touchpoints)
    earlier = ratings_of(survey.table, before) if before else earlier_scores(survey, score)
    prior = table[list(controls)].assign(**{"(before)": earlier[sample.rows]})
    ratings = pd.DataFrame({name: ratings_of(table, name) for name in touchpoints}, table.index)
    designs, rows = {}, []
    for name in touchpoints:
        row, met, X = rated(survey, name, ratings, prior, (low, high), min_rows)
        rows.append(row)
        designs |= {} if X is None else {name: (met, X)}
    if not designs:
        raise TooFewRespondents(f"none of {listing(touchpoints)} has {min_rows} ratings, bad and good ones among them")
    drawn = {name: [] for name in designs}
    for weights in sample.replicates(n_boot, seed=seed):
        for name, (met, X) in designs.items():
            exposed = weights[:, met].sum(axis=1) / weights.sum(axis=1)
            drawn[name].append(np.stack([exposed, gaps(X, y[met], weights[:, met])]))
    for row in (row for row in rows if row["term"] in designs):
        (met, X), (exposed, gap) = designs[row["term"]], np.concatenate(drawn[row["term"]], axis=1)
        exposure, value = np.average(met, weights=sample.weights), gaps(X, y[met], sample.weights[None, met])[0]
        row |= {"exposure": exposure, **ends("good_less_bad", value, *percentile_interval(gap, level))}
        low_end, high_end = percentile_interval(exposed * gap, level)
        row |= {"estimate": exposure * value, "conf_low": low_end, "conf_high": high_end}
        row["established"] = bool(row["n_low"] >= FEW and row["good_less_bad_low"] > 0)
    found = pd.DataFrame(rows).sort_values("estimate", ascending=False, kind="stable", ignore_index=True)
    clear, few = found[found["established"].eq(True)], int((found["n_low"] < FEW).sum())
    known = prior["(before)"].notna().mean()
    checks = (
        *sample.checks,
        Check("touchpoints with too few ratings, left out", len(found) - len(designs), "0", len(found) == len(designs)),
        Check(f"touchpoints with fewer than {FEW} bad ratings", few, "0", not few),
        Check("share of rows with an earlier score", round(float(known), 3), "information", True),
    )
    top = (found if clear.empty else clear).iloc[0]
    values = {
        "name": survey.label(top["term"]),
        "value": number(top["estimate"], 2),
        "span": span(top, level, 2, scale=1),
    }
    said = [("moment_open" if clear.empty else "moment", values | {"outcome": survey.label(outcome)})]
    parts = {name: number(top[name], 0) for name in ("n", "n_low")} | {"gap": number(top["good_less_bad"], 2)}
    said.append(("moment_parts", parts | {"met": percent(top["exposure"])}))
    said += [("moment_more", {"names": listing(map(survey.label, clear["term"][1:]))})] if len(clear) > 1 else []
    summary = {"n": len(y), "method": "exposure x adjusted gap, bootstrap", "confidence": level}
    met, X = designs[top["term"]]
    return JourneyFinding(
        "moments_of_truth", outcome, None, found, summary | {"established": len(clear) > 0}, checks, survey.labels,
        suppressed=int(found["n"].isna().sum()), domain=survey.condition, said=tuple(said), line=0.0,
        unit=f"{survey.label(outcome)}, scale points over all: share that met it × good less bad",
        fitted=WLS(y[met], X, weights=sample.weights[met]).fit(),
    )  # fmt: skip


def rated(survey, name, ratings, prior, cuts, min_rows) -> tuple[dict, np.ndarray, np.ndarray | None]:
    """Return the bases of a touchpoint, who met it, and its regressors, bad first; None where ratings are too few."""
    if name not in survey.scales and None in cuts:
        raise DataProblem(
            f"{name} has no declared scale; give low= and high=, or as_survey(..., scales={{{name!r}: ...}})"
        )
    bounds = survey.scales.get(name, (np.nan, np.nan))
    bad, good = bounds[0] + 1 if cuts[0] is None else cuts[0], bounds[1] - 1 if cuts[1] is None else cuts[1]
    if not bad < good:
        raise DataProblem(
            f"{name}: ratings cannot be bad up to {bad:g} and good from {good:g} on; give low= below high="
        )
    x, others = ratings[name].to_numpy(), ratings.drop(columns=name)
    met = np.isfinite(x)
    base = {"n": int(met.sum()), "n_low": int((x <= bad).sum()), "n_high": int((x >= good).sum())}
    if base["n"] < min_rows or min(base["n_low"], base["n_high"]) < max(2, survey.min_base):
        return {"term": name} | ({} if survey.min_base > 1 else base), met, None
    alike = design_of(prior.assign(**{"(halo)": others.mean(axis=1)})[met])
    x = x[met]
    return {"term": name} | base, met, np.column_stack([x <= bad, (x > bad) & (x < good), np.ones(len(x)), alike])


def gaps(X, y, weights) -> np.ndarray:
    """Return the outcome after good less that after bad ratings, (b,), by weights (b, n); bad is the first column."""
    p = X.shape[1]
    squares = (weights @ (X[:, :, None] * X[:, None, :]).reshape(len(X), -1)).reshape(-1, p, p)
    return -np.einsum("bp,bp->b", np.linalg.pinv(squares, hermitian=True)[:, 0], weights @ (X * y[:, None]))


def channel_consistency(
    contacts,
    *,
    score: str,
    channel: str,
    interactions=None,
    contact: str = "contact",
    case_mix=(),
    worth_acting_on: float,
    confidence: float = 0.95,
    min_rows: int = 100,
) -> JourneyFinding:
    """Return which channels are rated alike, which differently, and of which that is not known, after case mix.

    Parameters
    ----------
    contacts : Survey or DataFrame, (N, .)
        One row per rated contact.
    score, channel : columns
    interactions, contact : Table or DataFrame, and column, optional
        Where channel and case mix stand, if not beside the score; and the id of a contact, in both tables.
    case_mix : columns
        What contacts are about, held alike: topic, month, agent.
    worth_acting_on : float
        Margin in scale points: smaller differences are not worth acting on.
    confidence, min_rows
        1 - alpha; channels with fewer rows are left out and counted.

    Raises
    ------
    DataProblem
        A margin that is not above 0, scores that are text.
    TooFewRespondents
        Fewer than two channels with enough rows.

    Notes
    -----
    Weighted least squares on channel and case mix, with the design's errors. *Alike*: the 1 - 2 alpha interval of the
    difference lies within the margin (two one-sided tests); else *different*: Holm's p-value of the pairs is under alpha;
    else *not known*. The deviation between channels is Paule and Mandel's, its interval the Q-profile's.

    Examples
    --------
    >>> import pandas as pd
    >>> import cxresearch as cx
    >>> rated = pd.DataFrame({"channel": ["web", "web", "phone"] * 200, "score": [3, 4, 4, 5, 4, 5] * 100})
    >>> print(cx.channel_consistency(rated, score="score", channel="channel", worth_acting_on=0.8))
    All 2 channels are alike: ...
    """
    from statsmodels.regression.linear_model import WLS

    survey = as_survey(contacts)
    if interactions is not None:
        survey = beside(survey, as_table(interactions).table, score, contact, [channel, *case_mix])
    require_columns(survey.table, score, channel, *case_mix, where="contacts")
    require_share("confidence", confidence)
    if not worth_acting_on > 0:
        raise DataProblem(
            f"worth_acting_on={worth_acting_on!r} must be the smallest difference worth acting on, above 0"
        )
    y = ratings_of(survey.table, score)
    sample = survey.sample(
        np.isfinite(y) & survey.table[channel].notna().to_numpy(), by=channel, what=survey.label(score)
    )
    kept = np.flatnonzero((sample.n >= max(min_rows, 2)) & ~sample.hidden)
    if (k := len(kept)) < 2:
        raise TooFewRespondents(f"{channel}: {k} channel with {min_rows} rated contacts; comparing takes two")
    inside = np.isin(sample.cell, kept)
    rows, weights = sample.rows[inside], sample.weights[inside]
    mix = design_of(survey.table.iloc[rows][list(case_mix)])
    fit = WLS(
        y[rows], np.column_stack([sample.cell[inside][:, None] == kept, mix]) @ np.eye(k + mix.shape[1]), weights
    ).fit()
    contrast = np.column_stack([np.eye(k), np.tile(np.average(mix, axis=0, weights=weights), (k, 1))])
    influence = np.zeros((len(sample), k))
    influence[inside] = (weights * fit.resid)[:, None] * fit.model.exog @ fit.normalized_cov_params @ contrast.T
    means, covariance = contrast @ fit.params, sample.covariance_of(influence)
    df, names, n = float(sample.pooled().df[0]) - mix.shape[1], sample.keys["group"].to_numpy()[kept], sample.n[kept]
    pairs = paired(names, means, covariance, n, df, worth_acting_on, 1 - confidence)
    half = critical_value(confidence, df) * np.sqrt(np.diag(covariance))
    each = {"group": names, "estimate": means, "conf_low": means - half, "conf_high": means + half, "n": n}
    between = ends("between", *spread(means, np.diag(covariance), confidence))
    said = consistency_words(survey, pairs, between, k, len(rows), worth_acting_on, confidence)
    left_out = Check(f"channels under {min_rows} contacts, left out", len(sample.n) - k, "0", len(sample.n) == k)
    established = said[0][0] != "channels_open"
    summary = {"n": len(rows), "method": "least squares, two one-sided tests", **between, "established": established}
    return JourneyFinding(
        "channel_consistency", score, channel, pairs, summary, (*sample.checks, left_out), survey.labels,
        {"channels": pd.DataFrame(each)}, suppressed=int(sample.hidden.sum()), domain=survey.condition, said=tuple(said),
        unit=f"{survey.label(score)}: difference, scale points", line=0.0, fitted=fit,
    )  # fmt: skip


def beside(survey, interactions, score, contact, columns):
    """Return answers with what the interactions say of the contact that each rates."""
    require_columns(survey.table, score, contact, where="responses")
    require_columns(interactions, contact, *columns, where="interactions")
    told = interactions[[contact, *columns]].dropna(subset=contact).drop_duplicates(contact)
    kept = survey.table.drop(columns=columns, errors="ignore")
    return survey.with_table(kept.merge(told, on=contact, how="left", validate="m:1"))


def consistency_words(survey, pairs, between, k, n, worth_acting_on, confidence) -> list:
    """Return the sentences: what differs most, or whether all are alike; pairs by verdict; the deviation."""
    counts, margin = pairs["verdict"].value_counts(), {"margin": number(worth_acting_on, 2), "n": number(n, 0)}
    said, differ = ("channels_open", {"count": k} | margin), pairs[pairs["verdict"] == "different"]
    if len(differ):
        top = differ.loc[differ["estimate"].abs().idxmax()]
        above, below = (top["group"], top["against"])[:: 1 if top["estimate"] > 0 else -1]
        ordered = dict(zip(("conf_low", "conf_high"), sorted(np.abs([top["conf_low"], top["conf_high"]]))))
        gap = {"gap": number(abs(top["estimate"]), 2), "span": span(ordered, confidence, 2, scale=1)}
        said = ("channels_differ", {"above": survey.label(above), "below": survey.label(below)} | gap | margin)
    elif counts.get("alike", 0) == len(pairs):
        said = ("channels_alike", {"count": k} | margin)
    verdicts = {key: int(counts.get(key.replace("_", " "), 0)) for key in ("alike", "different", "not_known")}
    words = {"spread": number(between["between"], 2), "span": span(between, confidence, 2, of="between", scale=1)}
    return [said, ("channels_pairs", verdicts), ("channels_spread", words)]


def paired(names, means, covariance, n, df, margin, alpha) -> pd.DataFrame:
    """Return every pair of channels with its difference and whether it is alike, different or not known."""
    i, j = np.array(list(combinations(range(len(names)), 2))).T
    gap, error = means[i] - means[j], np.sqrt(covariance[i, i] + covariance[j, j] - 2 * covariance[i, j])
    wide, narrow = (critical_value(1 - a, df) * error for a in (alpha, 2 * alpha))
    p = 2 * stats.t.sf(np.abs(gap) / error, df)
    adjusted, alike = adjusted_p_values(p, correction="holm"), np.abs(gap) + narrow < margin
    verdict = np.where(alike, "alike", np.where(adjusted < alpha, "different", "not known"))
    found = {"group": names[i], "against": names[j], "estimate": gap, "conf_low": gap - wide, "conf_high": gap + wide}
    found |= {"alike_low": gap - narrow, "alike_high": gap + narrow, "p_value": p, "p_adjusted": adjusted}
    return pd.DataFrame(found | {"verdict": verdict, "n": n[i] + n[j]})


def spread(means, variances, confidence) -> tuple[float, float, float]:
    """Return the standard deviation between groups and the ends of its Q-profile interval."""

    def surplus(between, limit):
        w = 1 / (variances + between)
        return w @ np.square(means - w @ means / w.sum()) - limit

    limits = stats.chi2.ppf([(1 + confidence) / 2, (1 - confidence) / 2], len(means) - 1)
    most = (np.ptp(means) ** 2 * len(means) + variances.max()) / limits[1]
    bounds = [optimize.brentq(surplus, 0.0, most, (q,)) if surplus(0.0, q) > 0 else 0.0 for q in limits]
    return tuple(np.sqrt([between_variance(means, variances), *bounds]))
