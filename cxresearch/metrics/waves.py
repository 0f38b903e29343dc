"""Did the net promoter score move: differences between waves, their family, their trend.

References
----------
Rocks (2016), The American Statistician 70(4); Holm (1979); Benjamini & Hochberg (1995); Kish (1965), 12.4: panels with
partial overlap; Schuirmann (1987), J. Pharmacokinetics 15: equivalence.
"""

from itertools import combinations

import numpy as np
import pandas as pd
from scipy import stats

from cxresearch.errors import DataProblem
from cxresearch.findings import Check
from cxresearch.inference import adjusted_p_values
from cxresearch.metrics.card import base_words
from cxresearch.metrics.cells import Sample, draw_sample, require_options
from cxresearch.metrics.contrasts import ScoreVector, equal_p_value, score_vector
from cxresearch.metrics.hiding import hidden_cells, hide
from cxresearch.metrics.movement import CORRECTIONS, DOWN, EQUIVALENT, NO_BASE, OPEN, SMALL, UP, WaveComparison
from cxresearch.metrics.people import codes_of, note_of_recurring_ids, paired_difference, people_in_both, units_of
from cxresearch.metrics.scores import recommend_answers, recommend_codes
from cxresearch.metrics.trend import trend_table
from cxresearch.survey import as_survey


def compare_waves(
    responses,
    item: str,
    *,
    by: str | None = None,
    correction: str = "holm",
    worth_acting_on: float | None = None,
    pairs: str = "all",
    confidence: float = 0.95,
) -> WaveComparison:
    """Return the differences of the net promoter score between waves, and which of them are established.

    Parameters
    ----------
    responses : Survey or DataFrame, (N, .)
    score, wave, by : str
        Recommend item (0-10), wave column, column to split by. With ``wave=None`` (a study of one round) the finding
        says that nothing can be compared.
    respondent : str, optional
        Column that names the same person across waves. Without it waves count as independent; ids that recur are named.
    correction : {"holm", "bh", "none"}
        Of all pairs and groups with a base of 30 or more, together. In a family of two or more the p-values that are
        corrected have t tails on n1 + n0 - 2, since the far tail of the normal is too thin on small bases.
    worth_acting_on : float, optional
        Smallest change, in points, that anybody would act on: smaller ones get no arrow, and an interval within it
        means "no change that matters".
    pairs : {"all", "previous"}
        Every pair of waves, or each wave with the one before.
    confidence
        As in `nps`.

    Returns
    -------
    WaveComparison

    Raises
    ------
    DataProblem
        Fewer than two waves, answers off 0-10, unknown options.

    Notes
    -----
    The difference is of the plain scores; interval and p-value are of the adjusted ones, with variance
    s1^2 / (n1 + 3) + s0^2 / (n0 + 3) - 2 cov (Rocks 2016), the covariance linearised over respondents (or clusters)
    that are in both waves. Where exactly the same people answered both waves, unweighted, it is the
    paired difference with t on n - 1.

    Examples
    --------
    >>> import cxresearch as cx
    >>> study = cx.open_study("data/example/study.yml")
    >>> print(cx.compare_waves(study.responses, "recommend"))
    Would recommend us: a change is not established (adjusted p = 0.151); 2024Q3 to 2024Q4: ...
    """
    survey = as_survey(responses)
    wave = survey.wave
    respondent = survey.respondent
    responses = survey.table_in_time(wave)
    score = item
    weight, strata, cluster, fpc = survey.design
    labels, min_base = survey.labels, survey.min_base
    design = {"weight": weight, "strata": strata, "cluster": cluster, "fpc": fpc}
    require_options(
        responses,
        score,
        wave,
        by,
        respondent,
        *design.values(),
        confidence=confidence,
        min_base=min_base,
        correction=(correction, tuple(CORRECTIONS)),
        pairs=(pairs, ("all", "previous")),
    )
    if wave is None:
        return _without_waves(responses, score, by, worth_acting_on, confidence, labels, min_base)
    if worth_acting_on is not None and not worth_acting_on > 0:
        raise DataProblem(f"worth_acting_on={worth_acting_on!r} must be a number of points above zero")
    scores = recommend_answers(responses, score)
    sample = draw_sample(responses, ~np.isnan(scores), by=by, wave=wave, min_base=min_base, **design)
    require_two_waves(sample, wave)
    codes = recommend_codes(scores[sample.rows])
    people = codes_of(responses, respondent, sample.rows)
    vector = score_vector(sample, codes, units_of(responses, sample, people, strata, cluster))
    table = _pairs_table(sample, codes, vector, people, pairs, confidence)
    judged = _judged(table, correction, worth_acting_on, confidence)
    note, checks = note_of_recurring_ids(responses, wave, respondent, sample, codes, people)
    return _assembled(
        sample, vector, judged, score, by, correction, worth_acting_on, confidence, labels, min_base, note, checks
    )


def _without_waves(responses, score, by, worth, confidence, labels, min_base) -> WaveComparison:
    sample = draw_sample(responses, ~np.isnan(recommend_answers(responses, score)), min_base=min_base)
    columns = [
        "wave_before",
        "wave",
        "estimate",
        "std_error",
        "conf_low",
        "conf_high",
        "p_value",
        "p_adjusted",
        "verdict",
        "n_before",
        "n",
    ]
    summary = {"family": 0, "waves": 1, "n": int(sample.n[0]), "method": "none: one wave"}
    tested = (*sample.tested, Check("waves to compare", 1, "at least 2", False))
    return WaveComparison(
        "compare_waves", score, by, pd.DataFrame(columns=columns), summary, tested, labels or {}, {}, confidence, worth
    )


def require_two_waves(sample: Sample, wave: str) -> None:
    """Refuse a wave column with fewer than two waves."""
    found = sample.keys["wave"].unique().tolist()
    if len(found) < 2:
        raise DataProblem(f"{wave} holds one wave only ({found[0]!r}); a comparison needs two or more")


def _pairs_table(sample: Sample, codes, vector: ScoreVector, people, pairs, confidence) -> pd.DataFrame:
    keys = sample.keys
    groups = keys.groupby("group", sort=False).indices.values() if "group" in keys else [np.arange(len(keys))]
    chosen = [
        pair for cells in groups for pair in (combinations(cells, 2) if pairs == "all" else zip(cells[:-1], cells[1:]))
    ]
    before, after = np.array(chosen).T
    group = {"group": keys["group"].to_numpy()[after]} if "group" in keys else {}
    wave = keys["wave"].to_numpy()
    moments = np.array([_difference(sample, codes, vector, people, i, j) for i, j in chosen])
    centre, error, df, overlap = moments.T
    with np.errstate(invalid="ignore", divide="ignore"):
        half = stats.t.ppf((1 + confidence) / 2, df) * error
        p = 2 * stats.t.sf(np.abs(centre / error), df)
        # A family asks for the far tail, where the normal is too thin for a difference of two shares on small bases.
        tail = 2 * stats.t.sf(
            np.abs(centre / error), np.minimum(df, np.maximum(vector.base[before] + vector.base[after] - 2, 1))
        )
    n = sample.n
    table = {
        "estimate": 100 * (vector.raw[after] - vector.raw[before]),
        "std_error": 100 * error,
        "conf_low": 100 * np.maximum(centre - half, -2),
        "conf_high": 100 * np.minimum(centre + half, 2),
        "p_value": p,
        "n_before": n[before],
        "n": n[after],
        "n_effective": vector.base[after],
        "overlap": overlap.astype(int),
    }
    words = base_words(np.minimum(n[before], n[after]), np.fmin(vector.base[before], vector.base[after]))
    return pd.DataFrame(
        {
            **group,
            "wave_before": wave[before],
            "wave": wave[after],
            **table,
            "base": words,
            "_before": before,
            "_after": after,
            "_tail": tail,
        }
    )


def _difference(sample, codes, vector, people, i, j) -> tuple[float, float, float, int]:
    """Return centre, error, df and people in both cells for cell j minus cell i."""
    c = vector.covariance
    drawn = sample.units.psu_of_row if sample.clustered else people
    both = 0 if drawn is None else people_in_both(sample, drawn, i, j)
    if both and people is not None and sample.plain and both == sample.n[i] == sample.n[j]:
        paired = paired_difference(sample, codes, people, i, j)
        if paired is not None:
            return *paired, both
    variance = c[i, i] + c[j, j] - 2 * c[i, j]
    return vector.centre[j] - vector.centre[i], np.sqrt(max(variance, 0.0)), max(vector.df, 1.0), both


def _judged(table, correction, worth, confidence) -> pd.DataFrame:
    eligible = table["base"].isin(["indicative", "enough"]).to_numpy()
    alone = correction == "none" or eligible.sum() == 1
    adjusted = adjusted_p_values(
        np.where(eligible, table["p_value" if alone else "_tail"], np.nan), correction=correction
    )
    least = worth or 0.0
    found = (adjusted < 1 - confidence) & eligible
    inside = (table["conf_low"] > -least) & (table["conf_high"] < least)
    large = table["estimate"].abs() > least
    verdict = np.select(
        [~eligible, found & large & (table["estimate"] > 0), found & large, inside, found],
        [NO_BASE, UP, DOWN, EQUIVALENT, SMALL],
        OPEN,
    )
    return table.assign(p_adjusted=adjusted, verdict=verdict.astype(object))


def _assembled(
    sample, vector, table, score, by, correction, worth, confidence, labels, min_base, note, checks
) -> WaveComparison:
    waves = sample.keys.assign(
        estimate=100 * vector.raw,
        std_error=100 * np.sqrt(np.diag(vector.covariance)),
        n=sample.n,
        n_effective=vector.base,
    )
    hidden = hidden_cells(waves, min_base=min_base)
    family = int(np.isfinite(table["p_adjusted"]).sum())
    summary = {
        "p_value": _joint(sample, vector),
        "family": family,
        "waves": sample.keys["wave"].nunique(),
        "n": int(sample.n.sum()),
        "n_effective": float(np.nansum(vector.base)),
        "method": "differences of adjusted Wald scores",
        "correction": CORRECTIONS[correction],
    }
    gone = hidden[table["_before"]] | hidden[table["_after"]]
    least = int(min(table["n"].min(), table["n_before"].min()))
    tested = (
        *sample.tested,
        *checks,
        Check("smallest base compared", "hidden" if gone.any() else least, "at least 30 for an arrow", least >= 30),
    )
    shown = hide(table.drop(columns=["_before", "_after", "_tail"]), gone, min_base)
    trend = trend_table(sample, vector, confidence, hidden)
    return WaveComparison(
        "compare_waves",
        score,
        by,
        shown,
        summary,
        tested,
        labels or {},
        {"waves": hide(waves, hidden, min_base), "trend": trend},
        confidence,
        worth,
        note,
    )


def _joint(sample: Sample, vector: ScoreVector) -> float:
    """Return the p-value of "no wave differs from another in any group"; NaN with an empty cell."""
    if (sample.n == 0).any():
        return np.nan
    k = sample.keys["wave"].nunique()
    g = len(sample.keys) // k
    return equal_p_value(vector.centre, vector.covariance, vector.df, blocks=g)
