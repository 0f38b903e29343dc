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
from cxresearch.journey.log import JourneyFinding, design_of, numbers_of, say
from cxresearch.survey import as_survey, as_table

FEW = 30  # bad ratings under which nothing is established of a touchpoint


def earlier_scores(survey, score) -> np.ndarray:
    """Return the score of the same person in the wave before; missing where persons or waves are not known."""
    if survey.wave is None or survey.respondent is None:
        return np.full(len(score), np.nan)
    place = survey.table[survey.wave].map({wave: k for k, wave in enumerate(survey.wave_order)}).astype(float)
    keys = pd.DataFrame({"person": survey.table[survey.respondent], "place": place})
    known = keys.assign(score=score, place=place + 1).dropna().drop_duplicates(["person", "place"])
    return keys.merge(known, how="left", on=["person", "place"], validate="m:1")["score"].to_numpy()


def moments_of_truth(
    responses, *, outcome, touchpoints, before=None, controls=(), low=None, high=None, n_boot=1000, confidence=0.95,
    min_rows=100, seed,
) -> JourneyFinding:  # fmt: skip
    """Return which touchpoints count most: how many meet them, times the outcome after good less after bad ratings.

    ``estimate`` = exposure x good_less_bad, the latter by weighted least squares on bad, middle, good and what is held alike:
    an association, established where its interval, for all touchpoints together, lies above 0 with 30 bad ratings.
    Refused: a column that is absent or holds text; a scale that is not declared where it is needed; few ratings everywhere.

    Parameters
    ----------
    responses, outcome, touchpoints : Survey or DataFrame; column; columns of ratings (at least `min_rows`), missing if not met
    before, controls : held alike, as is the mean of the other ratings: an earlier score of the person, by default the outcome
        in the wave before, and columns
    low, high : ratings are bad up to `low`, good from `high` on; by default the lower and the upper two of the scale

    Examples
    --------
    >>> print(cx.moments_of_truth(study.responses, outcome="satisfaction", touchpoints=["delivery"], n_boot=99, seed=1))
    Delivery counts most: ...
    """
    from statsmodels.regression.linear_model import WLS

    survey = as_survey(responses)
    require_columns(survey.table, outcome, *touchpoints, before, *controls, where="responses")
    require_share("confidence", confidence)
    own = not touchpoints or outcome in touchpoints
    say.refuse_if(own, "own_outcome", touchpoints=touchpoints, outcome=outcome)
    score = numbers_of(survey.table, outcome)
    sample = survey.sample(np.isfinite(score), what=survey.label(outcome))
    table, y, level = survey.table.iloc[sample.rows], score[sample.rows], 1 - (1 - confidence) / len(touchpoints)
    earlier = (numbers_of(survey.table, before) if before else earlier_scores(survey, score))[sample.rows]
    prior = table[list(controls)].assign(**{"(before)": earlier})
    ratings = pd.DataFrame({name: numbers_of(table, name) for name in touchpoints}, table.index)
    rated = {name: regressors(survey, sample, name, ratings, prior, (low, high), min_rows) for name in touchpoints}
    designs = {name: X for name, (_, X) in rated.items() if X is not None}
    say.refuse_if(not designs, "few_ratings", names=listing(touchpoints), least=min_rows)
    met = {name: ratings[name].notna().to_numpy() for name in designs}

    def parts(weights):
        """Return the share that met each touchpoint, the gap between its good and bad ratings, their product, (b, 3, k)."""
        share = np.column_stack([weights[:, at].sum(axis=1) for at in met.values()]) / weights.sum(axis=1)[:, None]
        gap = np.column_stack([gaps(X, y[met[name]], weights[:, met[name]]) for name, X in designs.items()])
        return np.stack([share, gap, share * gap], axis=1)

    drawn = np.concatenate([parts(weights) for weights in sample.replicates(n_boot, seed=seed)])
    whole = np.stack([parts(sample.weights[None])[0], *percentile_interval(drawn, level)])
    for k, name in enumerate(designs):
        row = rated[name][0]
        row |= {"exposure": whole[0, 0, k]} | ends("good_less_bad", *whole[:, 1, k]) | ends("estimate", *whole[:, 2, k])
        row["established"] = bool(row["n_low"] >= FEW and row["good_less_bad_low"] > 0)
    found = pd.DataFrame([row for row, _ in rated.values()])
    found = found.sort_values("estimate", ascending=False, kind="stable", ignore_index=True)
    clear, few, out = found[found["established"].eq(True)], int((found["n_low"] < FEW).sum()), len(found) - len(designs)
    checks = (
        *sample.checks,
        Check("touchpoints with too few ratings, left out", out, "0", not out),
        Check(f"touchpoints with fewer than {FEW} bad ratings", few, "0", not few),
        Check("share of rows with an earlier score", round(np.isfinite(earlier).mean(), 3), "information", True),
    )
    top = (found if clear.empty else clear).iloc[0]
    known = {**top, "name": survey.label(top["term"]), "outcome": survey.label(outcome)}
    known["names"] = listing(map(survey.label, clear["term"][1:]))
    keys = ["moment_open" if clear.empty else "moment", "moment_parts", *["moment_more"] * (len(clear) > 1)]
    summary = {"n": len(y), "method": "exposure x adjusted gap, bootstrap", "confidence": level}
    at, unit = met[top["term"]], f"{survey.label(outcome)}, scale points over all: share that met it × good less bad"
    return JourneyFinding.of(
        say, keys, known, level, "moments_of_truth", outcome, None, found, summary | {"established": len(clear) > 0}, checks,
        source=survey, suppressed=int(found["n"].isna().sum()), drawn={"line": 0.0, "unit": unit},
        fitted=WLS(y[at], designs[top["term"]], weights=sample.weights[at]).fit(),
    )  # fmt: skip


def regressors(survey, sample, name, ratings, prior, cuts, min_rows) -> tuple[dict, np.ndarray | None]:
    """Return how often a touchpoint was rated, and its regressors, bad first; None where that is too seldom."""
    say.refuse_if(name not in survey.scales and None in cuts, "no_scale", name=name)
    worst, best = survey.scales.get(name, (np.nan, np.nan))
    bad, good = worst + 1 if cuts[0] is None else cuts[0], best - 1 if cuts[1] is None else cuts[1]
    say.refuse_if(not bad < good, "no_middle", name=name, bad=f"{bad:g}", good=f"{good:g}")
    x, persons = ratings[name].to_numpy(), np.arange(len(sample)) if sample.persons is None else sample.persons
    parts = {"n": ~np.isnan(x), "n_low": x <= bad, "n_high": x >= good}
    base = {key: int(rows.sum()) for key, rows in parts.items()}
    fewest = min(len(np.unique(persons[parts[key]])) for key in ("n_low", "n_high"))
    if base["n"] < min_rows or fewest < max(2, survey.min_base):
        return {"term": name} | ({} if survey.min_base > 1 else base), None
    halo = ratings.drop(columns=name).mean(axis=1)
    alike = design_of(prior.assign(**{"(halo)": halo})[parts["n"]])
    x = x[parts["n"]]
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

    By weighted least squares with the design's errors. *Alike*: the 1 - 2 alpha interval of the difference lies within the
    margin; else *different*: Holm's p-value is under alpha; else *not known*. ``glance``: the deviation between channels.
    Refused: a margin that is not above 0, scores that are text; fewer than two channels with enough rows.

    Parameters
    ----------
    contacts : Survey or DataFrame, one row per rated contact; channels with fewer than `min_rows` are left out and counted
    score, channel, case_mix : columns; what contacts are about (topic, month, agent) is held alike
    interactions, contact : table with channel and case mix, if not beside the score, and the id of a contact in both
    worth_acting_on : margin in scale points: smaller differences are not worth acting on

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
        require_columns(survey.table, score, contact, where="responses")
        require_columns(table := as_table(interactions).table, contact, channel, *case_mix, where="interactions")
        told = table.dropna(subset=contact).drop_duplicates(contact).set_index(contact)[[channel, *case_mix]]
        told = told.reindex(survey.table[contact]).set_axis(survey.table.index)
        survey = survey.with_table(survey.table.assign(**told))
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
    fit, (i, j) = WLS(y[rows], X, weights).fit(), np.array(list(combinations(range(k), 2))).T
    each = np.column_stack([np.eye(k), np.tile(np.average(mix, axis=0, weights=weights), (k, 1))])
    influence = np.zeros((len(sample), k))
    influence[inside] = (weights * fit.resid)[:, None] * X @ fit.normalized_cov_params @ each.T
    means, spread, df = each @ fit.params, sample.covariance_of(influence), float(sample.pooled().df[0]) - mix.shape[1]
    gap, error = means[i] - means[j], np.sqrt(spread[i, i] + spread[j, j] - 2 * spread[i, j])
    (*wide, p), (_, *narrow, _) = (t_interval(gap, error, df, level) for level in (confidence, 2 * confidence - 1))
    adjusted, alike = adjusted_p_values(p, correction="holm"), np.max(np.abs(narrow), axis=0) < worth_acting_on
    verdict = np.where(alike, "alike", np.where(adjusted < 1 - confidence, "different", "not known"))
    names, n = sample.keys["group"].to_numpy()[kept], sample.n[kept]
    pairs = pd.DataFrame({
        "group": names[i], "against": names[j], **ends("estimate", *wide), "alike_low": narrow[0], "alike_high": narrow[1],
        "p_value": p, "p_adjusted": adjusted, "verdict": verdict, "n": n[i] + n[j],
    })  # fmt: skip
    quantiles = stats.chi2.ppf([(1 + confidence) / 2, (1 - confidence) / 2], k - 1)
    deviation = [np.sqrt(between_variance(means, np.diag(spread), scatter)) for scatter in (None, *quantiles)]
    left_out = Check(f"channels under {min_rows} contacts, left out", len(sample.n) - k, "0", len(sample.n) == k)
    summary = {"n": len(rows), "method": "least squares, two one-sided tests", **ends("between", *deviation)}
    summary["established"] = bool((verdict == "different").any() or alike.all())
    known = {v.replace(" ", "_"): int((verdict == v).sum()) for v in ("alike", "different", "not known")}
    known |= {"count": k, "margin": worth_acting_on}
    key = "channels_alike" if alike.all() else "channels_differ" if known["different"] else "channels_open"
    if known["different"]:
        top = pairs.loc[pairs["estimate"].abs().where(verdict == "different").idxmax()]
        above, below = top[["group", "against"]].map(survey.label).iloc[:: 1 if top["estimate"] > 0 else -1]
        known = {**top, **known, "above": above, "below": below}
    shown = [f"{survey.label(a)} – {survey.label(b)}" for a, b in zip(names[i], names[j])]
    return JourneyFinding.of(
        say, [key, "channels_pairs", "channels_spread"], known | {"n": len(rows)}, confidence,
        "channel_consistency", score, channel, pairs, summary, (*sample.checks, left_out),
        source=survey, suppressed=int(sample.hidden.sum()), fitted=fit,
        drawn={"names": shown, "line": 0.0, "unit": f"{survey.label(score)}: difference, scale points"},
    )  # fmt: skip
