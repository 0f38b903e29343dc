"""Which touchpoints go with the outcome, and whether channels are alike.

Schuirmann (1987), J. Pharmacokinetics and Biopharmaceutics 15:657-680 (two one-sided tests); Viechtbauer (2007),
Statistics in Medicine 26:37-52 (Q-profile interval).
"""

from itertools import combinations

import numpy as np
import pandas as pd
from scipy import stats

from cxresearch.errors import require_columns, require_share
from cxresearch.findings import Check, ends, listing
from cxresearch.inference import adjusted_p_values, percentile_interval, t_interval
from cxresearch.inference.pooling import between_variance
from cxresearch.journey.log import JourneyFinding, say
from cxresearch.survey import as_survey, as_table

FEW = 30  # bad ratings under which nothing is established of a touchpoint


def numbers_of(table: pd.DataFrame, column: str) -> np.ndarray:
    """Return a column of numbers as floats, missing where there is none; refuse text."""
    values = pd.to_numeric(table[column], errors="coerce")
    lost = table[column][values.isna() & table[column].notna()]
    say.refuse_if(len(lost), "no_number", column=column, value=next(iter(lost), None), n=len(lost))
    return values.to_numpy(dtype=float, na_value=np.nan)


def design_of(table: pd.DataFrame) -> np.ndarray:
    """Return controls (n, p): numbers with a column of "not known", others by value less the first; none constant."""
    parts = [np.zeros((len(table), 0))]
    for _, column in table.items():
        if pd.api.types.is_numeric_dtype(column.dtype) and column.nunique() > 2:
            parts.append(np.column_stack([(column - column.mean()).fillna(0.0), column.isna()]))
        else:
            parts.append(pd.get_dummies(column.astype(object), drop_first=True, dummy_na=True))
    found = np.concatenate(parts, axis=1).astype(float)
    return found[:, np.ptp(found, axis=0) > 0]


def earlier_scores(survey, score) -> np.ndarray:
    """Return the score of the same person in the wave before; missing where persons or waves are not known."""
    if survey.wave is None or survey.respondent is None:
        return np.full(len(score), np.nan)
    place = survey.table[survey.wave].map({wave: k for k, wave in enumerate(survey.wave_order)}).astype(float)
    keys = pd.DataFrame({"person": survey.table[survey.respondent], "place": place})
    known = keys.assign(score=score).dropna().drop_duplicates(["person", "place"])
    return keys.assign(place=place - 1).merge(known, how="left", validate="m:1")["score"].to_numpy()


def moments_of_truth(
    responses, *, outcome, touchpoints, before=None, controls=(), low=None, high=None, n_boot=1000, confidence=0.95,
    min_rows=100, seed,
) -> JourneyFinding:  # fmt: skip
    """Return which touchpoints count most: how many meet them, times the outcome after good less after bad ratings.

    Parameters
    ----------
    responses : Survey or DataFrame, (N, .)
    outcome, touchpoints : column and list of columns
        Ratings of touchpoints are missing where they were not met; fewest are `min_rows`.
    before, controls : column and columns, optional, held alike: an earlier score of the same person (by default the
        outcome in the wave before), the mean of the other touchpoints' ratings (halo), and the controls
    low, high : float, optional
        Ratings are bad up to `low`, good from `high` on; by default the lower and the upper two of the scale.
    n_boot, confidence, seed : bootstrap of the survey's units; intervals hold for all touchpoints together (Bonferroni)

    Returns
    -------
    JourneyFinding
        ``estimate`` = exposure x good_less_bad, the latter from weighted least squares of the outcome on bad, middle and
        good: an association. Established is an interval of it above 0 with 30 bad ratings. ``model``: the first one's fit.

    Raises
    ------
    DataProblem, TooFewRespondents
        A column that is absent or holds text; a scale that is not declared where it is needed; few ratings everywhere.

    Examples
    --------
    >>> print(cx.moments_of_truth(study.responses, outcome="satisfaction", touchpoints=["delivery"], n_boot=99, seed=1))
    Delivery counts most: ...
    """
    from statsmodels.regression.linear_model import WLS

    survey = as_survey(responses)
    require_columns(survey.table, outcome, *touchpoints, before, *controls, where="responses")
    require_share("confidence", confidence)
    circle = not touchpoints or outcome in touchpoints
    say.refuse_if(circle, "own_outcome", touchpoints=touchpoints, outcome=outcome)
    score = numbers_of(survey.table, outcome)
    sample = survey.sample(np.isfinite(score), what=survey.label(outcome))
    table, y, level = survey.table.iloc[sample.rows], score[sample.rows], 1 - (1 - confidence) / len(touchpoints)
    earlier = numbers_of(survey.table, before) if before else earlier_scores(survey, score)
    prior = table[list(controls)].assign(**{"(before)": earlier[sample.rows]})
    ratings = pd.DataFrame({name: numbers_of(table, name) for name in touchpoints}, table.index)
    rated = {name: bases(survey, name, ratings, prior, (low, high), min_rows) for name in touchpoints}
    designs = {name: (ratings[name].notna().to_numpy(), X) for name, (_, X) in rated.items() if X is not None}
    say.refuse_if(not designs, "few_ratings", names=listing(touchpoints), least=min_rows)

    def parts(weights):
        """Return the share that met each touchpoint, and the gap between its good and bad ratings, (2, touchpoints, b)."""
        met = [weights[:, at].sum(axis=1) / weights.sum(axis=1) for at, _ in designs.values()]
        return np.array([met, [gaps(X, y[at], weights[:, at]) for at, X in designs.values()]])

    drawn = np.concatenate([parts(weights) for weights in sample.replicates(n_boot, seed=seed)], axis=2)
    whole, limits = parts(sample.weights[None])[..., 0], percentile_interval(np.moveaxis(drawn, 2, 0), level)
    for k, name in enumerate(designs):
        row = rated[name][0] | {"exposure": whole[0, k]}
        row |= ends("good_less_bad", whole[1, k], *(limit[1, k] for limit in limits)) | {"estimate": whole[:, k].prod()}
        row["conf_low"], row["conf_high"] = percentile_interval(drawn[:, k].prod(axis=0), level)
        rated[name] = row | {"established": bool(row["n_low"] >= FEW and row["good_less_bad_low"] > 0)}, designs[name]
    found = pd.DataFrame([row for row, _ in rated.values()])
    found = found.sort_values("estimate", ascending=False, kind="stable", ignore_index=True)
    clear, few, out = found[found["established"].eq(True)], int((found["n_low"] < FEW).sum()), len(found) - len(designs)
    checks = (
        *sample.checks,
        Check("touchpoints with too few ratings, left out", out, "0", not out),
        Check(f"touchpoints with fewer than {FEW} bad ratings", few, "0", not few),
        Check("share of rows with an earlier score", round(prior["(before)"].notna().mean(), 3), "information", True),
    )
    top = (found if clear.empty else clear).iloc[0]
    known = {**top, "name": survey.label(top["term"]), "outcome": survey.label(outcome)}
    known["names"] = listing(map(survey.label, clear["term"][1:]))
    keys = ["moment_open" if clear.empty else "moment", "moment_parts", *["moment_more"] * (len(clear) > 1)]
    summary = {"n": len(y), "method": "exposure x adjusted gap, bootstrap", "confidence": level}
    summary["established"] = len(clear) > 0
    met, X = designs[top["term"]]
    unit = f"{survey.label(outcome)}, scale points over all: share that met it × good less bad"
    more = {"fitted": WLS(y[met], X, weights=sample.weights[met]).fit(), "drawn": {"line": 0.0, "unit": unit}}
    question = "moments_of_truth", outcome, None, found, summary, checks
    hidden = int(found["n"].isna().sum())
    return JourneyFinding.of(say, keys, known, level, *question, source=survey, suppressed=hidden, **more)


def bases(survey, name, ratings, prior, cuts, min_rows) -> tuple[dict, np.ndarray | None]:
    """Return how often a touchpoint was rated, and its regressors, bad first; None where that is too seldom."""
    say.refuse_if(name not in survey.scales and None in cuts, "no_scale", name=name)
    bounds = survey.scales.get(name, (np.nan, np.nan))
    bad, good = bounds[0] + 1 if cuts[0] is None else cuts[0], bounds[1] - 1 if cuts[1] is None else cuts[1]
    say.refuse_if(not bad < good, "no_middle", name=name, bad=f"{bad:g}", good=f"{good:g}")
    met = ratings[name].notna().to_numpy()
    x = ratings[name].to_numpy()[met]
    base = {"n": len(x), "n_low": int((x <= bad).sum()), "n_high": int((x >= good).sum())}
    if base["n"] < min_rows or min(base["n_low"], base["n_high"]) < max(2, survey.min_base):
        return {"term": name} | ({} if survey.min_base > 1 else base), None
    halo = ratings.drop(columns=name).mean(axis=1)
    alike = design_of(prior.assign(**{"(halo)": halo})[met])
    return {"term": name} | base, np.column_stack([x <= bad, (x > bad) & (x < good), np.ones(len(x)), alike])


def gaps(X, y, weights) -> np.ndarray:
    """Return the outcome after good less that after bad ratings, (b,), by weights (b, n); bad is the first column."""
    p = X.shape[1]
    squares = (weights @ (X[:, :, None] * X[:, None, :]).reshape(len(X), -1)).reshape(-1, p, p)
    return -np.einsum("bp,bp->b", np.linalg.pinv(squares, hermitian=True)[:, 0], weights @ (X * y[:, None]))


def channel_consistency(
    contacts, *, score, channel, interactions=None, contact="contact", case_mix=(), worth_acting_on, confidence=0.95,
    min_rows=100,
) -> JourneyFinding:  # fmt: skip
    """Return which channels are rated alike, which differently, and of which that is not known, after case mix.

    Parameters
    ----------
    contacts : Survey or DataFrame, (N, .)
        One row per rated contact; channels with fewer than `min_rows` are left out and counted.
    score, channel, case_mix : columns, the case mix, held alike, is what contacts are about: topic, month, agent
    interactions, contact : Table or DataFrame, and column, optional
        Where channel and case mix stand, if not beside the score; and the id of a contact, in both tables.
    worth_acting_on : float, margin in scale points: smaller differences are not worth acting on

    Returns
    -------
    JourneyFinding
        Pairs, by weighted least squares with the design's errors. *Alike*: the 1 - 2 alpha interval of the difference lies
        within the margin; else *different*: Holm's p-value of the pairs is under alpha; else *not known*. ``glance``: the
        deviation between channels (Paule-Mandel, interval Q-profile).

    Raises
    ------
    DataProblem, TooFewRespondents
        A margin that is not above 0, scores that are text; fewer than two channels with enough rows.

    Examples
    --------
    >>> import pandas as pd
    >>> rated = {"channel": ["web", "web", "phone"] * 200, "score": [3, 4, 4, 5, 4, 5] * 100}
    >>> print(cx.channel_consistency(pd.DataFrame(rated), score="score", channel="channel", worth_acting_on=0.8))
    All 2 channels are alike: ...
    """
    from statsmodels.regression.linear_model import WLS

    survey = as_survey(contacts)
    if interactions is not None:
        survey = beside(survey, as_table(interactions).table, score, contact, [channel, *case_mix])
    require_columns(survey.table, score, channel, *case_mix, where="contacts")
    require_share("confidence", confidence)
    say.refuse_if(not worth_acting_on > 0, "no_margin", margin=worth_acting_on)
    y, known = numbers_of(survey.table, score), survey.table[channel].notna().to_numpy()
    sample = survey.sample(np.isfinite(y) & known, by=channel, what=survey.label(score))
    kept = np.flatnonzero((sample.n >= max(min_rows, 2)) & ~sample.hidden)
    say.refuse_if((k := len(kept)) < 2, "few_channels", channel=channel, k=k, least=min_rows)
    inside = np.isin(sample.cell, kept)
    rows, weights = sample.rows[inside], sample.weights[inside]
    mix = design_of(survey.table.iloc[rows][list(case_mix)])
    X = np.column_stack([sample.cell[inside][:, None] == kept, mix]).astype(float)
    fit = WLS(y[rows], X, weights).fit()
    i, j = np.array(list(combinations(range(k), 2))).T
    each = np.column_stack([np.eye(k), np.tile(np.average(mix, axis=0, weights=weights), (k, 1))])
    influence = np.zeros((len(sample), k))
    influence[inside] = (weights * fit.resid)[:, None] * X @ fit.normalized_cov_params @ each.T
    means, spread, df = each @ fit.params, sample.covariance_of(influence), float(sample.pooled().df[0]) - mix.shape[1]
    gap, error = means[i] - means[j], np.sqrt(spread[i, i] + spread[j, j] - 2 * spread[i, j])
    (*wide, p), (_, *narrow, _) = (t_interval(gap, error, df, level) for level in (confidence, 2 * confidence - 1))
    adjusted, alike = adjusted_p_values(p, correction="holm"), np.max(np.abs(narrow), axis=0) < worth_acting_on
    verdict = np.where(alike, "alike", np.where(adjusted < 1 - confidence, "different", "not known"))
    names, n = sample.keys["group"].to_numpy()[kept], sample.n[kept]
    pairs = {"group": names[i], "against": names[j], **ends("estimate", *wide)}
    pairs |= {"alike_low": narrow[0], "alike_high": narrow[1], "p_value": p, "p_adjusted": adjusted}
    pairs = pd.DataFrame(pairs | {"verdict": verdict, "n": n[i] + n[j]})
    quantiles = stats.chi2.ppf([(1 + confidence) / 2, (1 - confidence) / 2], k - 1)
    deviation = [np.sqrt(between_variance(means, np.diag(spread), scatter)) for scatter in (None, *quantiles)]
    left_out = Check(f"channels under {min_rows} contacts, left out", len(sample.n) - k, "0", len(sample.n) == k)
    summary = {"n": len(rows), "method": "least squares, two one-sided tests", **ends("between", *deviation)}
    summary["established"] = bool((verdict == "different").any() or alike.all())
    shown = {"names": [f"{survey.label(a)} – {survey.label(b)}" for a, b in zip(names[i], names[j])], "line": 0.0}
    shown["unit"] = f"{survey.label(score)}: difference, scale points"
    key, known = said_of(pairs, survey)
    known |= {"count": k, "n": len(rows), "margin": worth_acting_on}
    told = say, [key, "channels_pairs", "channels_spread"], known, confidence
    question = "channel_consistency", score, channel, pairs, summary, (*sample.checks, left_out)
    more = {"suppressed": int(sample.hidden.sum()), "fitted": fit, "drawn": shown}
    return JourneyFinding.of(*told, *question, source=survey, **more)


def beside(survey, interactions, score, contact, columns):
    """Return answers with what the interactions say of the contact that each rates."""
    require_columns(survey.table, score, contact, where="responses")
    require_columns(interactions, contact, *columns, where="interactions")
    told = interactions[[contact, *columns]].dropna(subset=contact).drop_duplicates(contact)
    kept = survey.table.drop(columns=columns, errors="ignore")
    return survey.with_table(kept.merge(told, on=contact, how="left", validate="m:1"))


def said_of(pairs, survey) -> tuple[str, dict]:
    """Return what is told of pairs: which differ most, or whether all are alike; how many have which verdict."""
    counts, differ = pairs["verdict"].value_counts(), pairs[pairs["verdict"] == "different"]
    known = {v.replace(" ", "_"): int(counts.get(v, 0)) for v in ("alike", "different", "not known")}
    if differ.empty:
        return "channels_alike" if known["alike"] == len(pairs) else "channels_open", known
    top = differ.loc[differ["estimate"].abs().idxmax()]
    above, below = top[["group", "against"]].map(survey.label).iloc[:: 1 if top["estimate"] > 0 else -1]
    return "channels_differ", {**top, **known, "above": above, "below": below}
