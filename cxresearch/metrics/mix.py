"""Mix against performance: did the score change within groups, or did other people answer.

References
----------
Kitagawa (1955), J. American Statistical Association 50(272), 1168-1194.
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy import stats

from cxresearch.errors import DataProblem
from cxresearch.figures import PALETTE, axes_or_new, intervals, wrap
from cxresearch.findings import Check, Finding, describe_columns, interval, number, percent
from cxresearch.inference import adjusted_p_values, total_covariance
from cxresearch.metrics.card import p_words
from cxresearch.metrics.cells import Sample, draw_sample, require_options
from cxresearch.metrics.hiding import hidden_cells, hide
from cxresearch.metrics.people import codes_of, note_of_recurring_ids, units_of
from cxresearch.metrics.scores import recommend_answers, recommend_codes
from cxresearch.metrics.waves import require_two_waves
from cxresearch.survey import as_survey

MAX_GROUPS = 60
PARTS = ("change", "performance", "mix")

describe_columns(
    share_before=("Share before", "share of the group in the earlier wave, 0-1", 3),
    share_after=("Share after", "share of the group in the later wave, 0-1", 3),
    score_before=("Score before", "the group's score in the earlier wave, points", 1),
    score_after=("Score after", "the group's score in the later wave, points", 1),
    performance=("Performance", "part of the change from the group's own score, points", 2),
    largest_change=("Largest change", "largest change between two waves, points", 1),
    mix=("Mix", "part of the change from the group's share, points", 2),
)


@dataclass(frozen=True, repr=False, eq=False)
class ChangeSplit(Finding):
    """Rows change, performance and mix (`term`) for each wave against the one before, in points.

    ``p_adjusted`` is Holm's over performance and mix of all pairs of waves.

    ``further["groups"]`` has the shares, scores and contributions of each group.
    """

    confidence: float = 0.95
    mix: str = ""
    note: str = ""

    def sentence(self) -> str:
        if not len(self.table):
            return (
                f"{self.label(self.outcome)}: the change cannot be split ({self.summary['method']}; n = "
                f"{number(self.summary['n'], 0)})."
            )
        rows = self.table[self.table["wave"] == self.table["wave"].iloc[-1]]
        change, performance, mix = (rows.iloc[i] for i in range(len(PARTS)))
        if not np.isfinite(float(change["estimate"])):
            return (
                f"{self.label(self.outcome)}: the split by {self.label(self.mix)} is not shown, its base is too small."
            )
        return (
            f"{self.label(self.outcome)}, {self.label(change['wave_before'])} to "
            f"{self.label(change['wave'])}: of a change of {self._words(change)}, "
            f"{self._words(performance)} is performance within {self.label(self.mix)} and {self._words(mix)} "
            "is mix, who answered "
            f"(n = {number(change['n_before'], 0)} and {number(change['n'], 0)}). "
            f"{self._verdict(performance, mix)}{self.note}"
        )

    def _words(self, row) -> str:
        return f"{number(row['estimate'])} points ({interval(row['conf_low'], row['conf_high'], self.confidence)})"

    def _verdict(self, performance, mix) -> str:
        alpha = 1 - self.confidence
        family = 2 * self.table["wave"].nunique()
        words = [
            f"{name} {'is established' if row['p_adjusted'] < alpha else 'is not established'} (adjusted "
            f"{p_words(row['p_adjusted'])})"
            for name, row in (("A change in performance", performance), ("a change in mix", mix))
        ]
        return f"{words[0]}, {words[1]}; Holm, family of {family}."

    def plot(self, ax=None):
        """Draw change, performance and mix of the latest pair of waves, in points, with intervals."""
        ax = axes_or_new(ax, rows=3)
        if not len(self.table):
            ax.set_title("nothing to split")
            return ax
        rows = self.table[self.table["wave"] == self.table["wave"].iloc[-1]]
        intervals(
            ax,
            ["change", "performance", "mix"],
            rows["estimate"],
            rows["conf_low"],
            rows["conf_high"],
            colour=PALETTE[0],
        )
        ax.axvline(0, color="black", linewidth=0.8)
        ax.set_xlabel(f"points of net promoter score; {percent(self.confidence)} intervals")
        row = rows.iloc[0]
        ax.set_title(
            wrap(f"{self.label(row['wave_before'])} → {self.label(row['wave'])}, by {self.label(self.mix)}", 60),
            fontsize=10,
        )
        return ax


def split_change(responses, item: str, *, by: str | None, confidence: float = 0.95) -> ChangeSplit:
    """Split the change of the net promoter score between waves into performance and mix.

    Parameters
    ----------
    responses : Survey or DataFrame, (N, .)
    score, wave : str
        Recommend item (0-10) and wave column; each wave is set against the one before. With ``wave=None`` or
        ``mix=None`` (a study that has none) the finding says that nothing can be split.
    mix : str
        Column of groups whose shares may have changed, such as a demographic.
    respondent : str, optional
        Column that names the same person across waves, as in `compare_waves`.
    confidence
        As in `nps`.

    Returns
    -------
    ChangeSplit

    Raises
    ------
    DataProblem
        Fewer than two waves, more than 60 groups, answers off 0-10.

    Notes
    -----
    Performance = sum of 1/2 (s1 + s0)(N1 - N0), mix = sum of 1/2 (N1 + N0)(s1 - s0) over groups with shares s and
    scores N (Kitagawa 1955); they add up to the change. Intervals are linearised (z, or t with a design). A group that
    answered in one wave only has no change of its own: its score is held, and all of it is mix.

    Examples
    --------
    >>> import cxresearch as cx
    >>> study = cx.open_study("data/example/study.yml")
    >>> print(cx.split_change(
    ...     study.responses, "recommend", by="region"
    ... ))
    Would recommend us, 2024Q3 to 2024Q4: of a change of 11.0 points (95 % interval 1.4 to ...
    """
    survey = as_survey(responses)
    wave = survey.wave
    respondent = survey.respondent
    responses = survey.table_in_time(wave)
    score = item
    mix = by
    weight, strata, cluster, fpc = survey.design
    labels, min_base = survey.labels, survey.min_base
    design = {"weight": weight, "strata": strata, "cluster": cluster, "fpc": fpc}
    require_options(responses, score, wave, mix, respondent, *design.values(), confidence=confidence, min_base=min_base)
    scores = recommend_answers(responses, score)
    if wave is None or mix is None:
        return _unsplit(responses, scores, score, wave, mix, confidence, labels, min_base)
    sample = draw_sample(responses, ~np.isnan(scores), by=mix, wave=wave, min_base=min_base, **design)
    require_two_waves(sample, wave)
    levels, waves = sample.keys["group"].nunique(), list(pd.unique(sample.keys["wave"]))
    if levels > MAX_GROUPS:
        raise DataProblem(
            f"{mix} has {levels} groups; a split by more than {MAX_GROUPS} rests on too few answers a group, "
            "so merge groups"
        )
    codes = recommend_codes(scores[sample.rows])
    cells = np.arange(len(sample.keys)).reshape(levels, len(waves))
    people = codes_of(responses, respondent, sample.rows)
    units = units_of(responses, sample, people, strata, cluster)
    pairs = [_pair(sample, codes, cells[:, t - 1], cells[:, t], units, confidence) for t in range(1, len(waves))]
    note, checks = note_of_recurring_ids(responses, wave, respondent, sample, codes, people)
    return _assembled(sample, waves, pairs, cells, score, mix, confidence, labels, min_base, note, checks)


def _unsplit(responses, scores, score, wave, mix, confidence, labels, min_base) -> ChangeSplit:
    sample = draw_sample(responses, ~np.isnan(scores), min_base=min_base)
    why = "waves" if wave is None else "a column of groups"
    columns = [
        "wave_before",
        "wave",
        "term",
        "estimate",
        "std_error",
        "conf_low",
        "conf_high",
        "p_value",
        "n_before",
        "n",
    ]
    summary = {"n": int(sample.n[0]), "waves": 0, "largest_change": np.nan, "method": f"none: without {why}"}
    tested = (*sample.tested, Check(f"{why} to split by", 0, "at least 2", False))
    return ChangeSplit(
        "split_change",
        score,
        mix,
        pd.DataFrame(columns=columns),
        summary,
        tested,
        labels or {},
        {},
        confidence,
        mix or "",
    )


def kitagawa(share_1, share_0, score_1, score_0) -> tuple[np.ndarray, np.ndarray]:
    """Return performance and mix by group, (k,); their sum is the change of the weighted score (Kitagawa 1955)."""
    share_1, share_0, score_1, score_0 = (np.asarray(x, dtype=float) for x in (share_1, share_0, score_1, score_0))
    return (share_1 + share_0) / 2 * (score_1 - score_0), (score_1 + score_0) / 2 * (share_1 - share_0)


def _pair(sample: Sample, codes, before, after, units, confidence) -> tuple[pd.DataFrame, pd.DataFrame]:
    means, totals = sample.means(codes), sample.totals
    share_0, share_1 = (totals[c] / totals[c].sum() for c in (before, after))
    score_0, score_1 = means[before], means[after]
    score_0, score_1 = np.where(np.isnan(score_0), score_1, score_0), np.where(np.isnan(score_1), score_0, score_1)
    score_0, score_1 = np.nan_to_num(score_0), np.nan_to_num(score_1)
    performance, mix = kitagawa(share_1, share_0, score_1, score_0)
    own, other = (score_1 - score_0) / 2, (score_1 + score_0) / 2
    weight_of_score = (share_1 + share_0) / 2
    influence = np.zeros((len(codes), 2))
    for cells, shares, sign in ((before, share_0, -1), (after, share_1, 1)):
        influence += _influence(
            sample, codes, means, cells, shares, sign, own, other, weight_of_score, share_1 - share_0
        )
    covariance = total_covariance(influence, units)
    parts = _parts(performance.sum(), mix.sum(), covariance, np.inf if sample.plain else sample.units.df, confidence)
    n = sample.n
    groups = {
        "group": sample.keys["group"].to_numpy()[after],
        "share_before": share_0,
        "share_after": share_1,
        "score_before": 100 * means[before],
        "score_after": 100 * means[after],
        "performance": 100 * performance,
        "mix": 100 * mix,
        "n_before": n[before],
        "n": n[after],
    }
    return parts, pd.DataFrame(groups)


def _influence(sample, codes, means, cells, shares, sign, own, other, weight_of_score, moved) -> np.ndarray:
    """Return each answer's pull on performance and mix through its wave's shares and scores, (n, 2)."""
    place = np.full(len(sample.keys), -1)
    place[cells] = np.arange(len(cells))
    g = place[sample.cell]
    inside = g >= 0
    w = np.where(inside, sample.weights, 0.0) / sample.totals[cells].sum()
    within = np.where(inside, (codes - np.nan_to_num(means)[sample.cell]) / np.maximum(shares[g], 1e-300), 0.0)
    # Shares enter performance with one sign in both waves (half their sum) and mix with two; scores the reverse.
    performance = (own - shares @ own)[g] + sign * weight_of_score[g] * within
    mix = sign * (other - shares @ other)[g] + moved[g] / 2 * within
    return w[:, None] * np.column_stack([performance, mix])


def _parts(performance, mix, covariance, df, confidence) -> pd.DataFrame:
    estimate = np.array([performance + mix, performance, mix])
    sums = np.array([[1, 1], [1, 0], [0, 1]])
    error = np.sqrt(np.maximum(np.einsum("ij,jk,ik->i", sums, covariance, sums), 0))
    half = stats.t.ppf((1 + confidence) / 2, df) * error
    with np.errstate(invalid="ignore", divide="ignore"):
        p = np.where(error > 0, 2 * stats.t.sf(np.abs(estimate / error), df), np.where(estimate == 0, 1.0, 0.0))
    columns = {"estimate": estimate, "std_error": error, "conf_low": estimate - half, "conf_high": estimate + half}
    return pd.DataFrame({"term": PARTS, **{name: 100 * v for name, v in columns.items()}, "p_value": p})


def _assembled(sample, waves, pairs, cells, score, mix, confidence, labels, min_base, note, checks) -> ChangeSplit:
    n = sample.n
    hidden = hidden_cells(sample.keys.assign(n=n), min_base=min_base)
    tables, groups = [], []
    for t, (parts, by_group) in enumerate(pairs, start=1):
        steps = {"wave_before": waves[t - 1], "wave": waves[t]}
        tables.append(parts.assign(**steps, n_before=n[cells[:, t - 1]].sum(), n=n[cells[:, t]].sum()))
        groups.append(hide(by_group.assign(**steps), hidden[cells[:, t - 1]] | hidden[cells[:, t]], min_base))
    table = pd.concat(tables, ignore_index=True)
    table = hide(table, (table[["n_before", "n"]].min(axis=1) < min_base).to_numpy(), min_base)
    once = int(((n[cells] == 0).sum(axis=1) > 0).sum())
    parts = (table["term"] != "change").to_numpy()
    table["p_adjusted"] = adjusted_p_values(np.where(parts, table["p_value"].astype(float), np.nan), correction="holm")
    gap = float(np.abs(table.loc[table["term"] == "change", "estimate"].to_numpy(float)).max())
    tested = (
        *sample.tested,
        *checks,
        Check("groups without answers in some wave (all of them mix)", once, "0", once == 0),
    )
    summary = {
        "n": int(n.sum()),
        "n_effective": float(sample.pooled().kish[0]),
        "waves": len(waves),
        "largest_change": gap,
        "method": "Kitagawa split, linearised",
    }
    return ChangeSplit(
        "split_change",
        score,
        mix,
        table[["wave_before", "wave", *[c for c in table if c not in ("wave_before", "wave")]]],
        summary,
        tested,
        labels or {},
        {"groups": pd.concat(groups, ignore_index=True)},
        confidence,
        mix,
        note,
    )
