"""Mix against performance: did the value change within groups, or did other people answer.

References
----------
Kitagawa (1955), J. American Statistical Association 50(272), 1168-1194.
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy import stats

from cxresearch.errors import DataProblem
from cxresearch.figures import forest, wrap
from cxresearch.findings import Check, describe_columns, nothing, number, p_words, percent
from cxresearch.inference import adjusted_p_values
from cxresearch.metrics.answers import measured
from cxresearch.metrics.estimate import check_asked, columns_of, hide, people_together
from cxresearch.metrics.finding import MeasureFinding, made
from cxresearch.metrics.people import note_of_recurring_ids
from cxresearch.survey import as_survey

MAX_GROUPS = 60
PARTS = ("change", "performance", "mix")

describe_columns(
    share_before=("Share before", "share of the group in the earlier wave, 0-1", 3),
    share_after=("Share after", "share of the group in the later wave, 0-1", 3),
    score_before=("Score before", "the group's value in the earlier wave, in the measure's unit", 1),
    score_after=("Score after", "the group's value in the later wave, in the measure's unit", 1),
    performance=("Performance", "part of the change from the group's own value, in the measure's unit", 2),
    largest_change=("Largest change", "largest change between two waves, in the measure's unit", 1),
    mix=("Mix", "part of the change from the group's share, in the measure's unit", 2),
)


@dataclass(frozen=True, repr=False, eq=False)
class ChangeSplit(MeasureFinding):
    """Rows change, performance and mix (`term`) for each wave against the one before, in the measure's unit.

    ``p_adjusted`` is Holm's over performance and mix of all pairs of waves that are shown.
    ``further["groups"]`` has the shares, values and contributions of each group.
    """

    note: str = ""

    @property
    def latest(self) -> pd.DataFrame:
        return self.table[self.table["wave"] == self.table["wave"].iloc[-1]]

    def sentence(self) -> str:
        change, performance, mix = (row for _, row in self.latest.iterrows())
        known = dict(what=self.what, by=self.by_words, before=self.label(change["wave_before"]))
        known["after"] = self.label(change["wave"])
        if not np.isfinite(float(change["estimate"])):
            return self.say("split_hidden", **known)
        signed = {
            row["term"]: "−" * bool(row["estimate"] < 0) + self.measure.size(row["estimate"])
            for row in (change, performance, mix)
        }
        clear = [row["p_adjusted"] < 1 - self.confidence for row in (performance, mix)]
        key = {(True, False): "performance", (False, True): "mix", (True, True): "both"}.get(
            tuple(map(bool, clear)), "neither"
        )
        second = self.say(
            f"split_{key}", p_performance=p_words(performance["p_adjusted"]), p_mix=p_words(mix["p_adjusted"]),
            family=self.summary["family"], n_before=number(change["n_before"], 0), n=number(change["n"], 0),
        )  # fmt: skip
        return f"{self.say('split', **known, **signed)} {second} {self.note}".rstrip()

    def plot(self, ax=None):
        """Draw change, performance and mix of the latest pair of waves, with intervals."""
        columns = ["estimate", "conf_low", "conf_high"]
        shown = self.latest.assign(**{c: self.latest[c].astype(float) * self.measure.shown for c in columns})
        return forest(
            shown, "estimate", names=PARTS, low="conf_low", high="conf_high", line=0, title=self.headline, ax=ax,
            unit=wrap(f"change, {self.measure.axis}; {percent(self.confidence)} intervals", 62),
        )  # fmt: skip


def split_change(
    responses,
    item: str,
    *,
    by,
    measure: str = "nps",
    threshold=None,
    version=None,
    scoring="mean",
    confidence: float = 0.95,
):
    """Split the change of a measure between waves into performance and mix.

    Parameters
    ----------
    responses : Survey or DataFrame, (N, .)
        Each wave is set against the one before. With one wave, or ``by=None``, the finding says that nothing can be
        split.
    item : str
    by : column or list of columns
        Groups whose shares may have changed, such as a demographic.
    measure, threshold, version, scoring
        As in `compare_waves`.
    confidence
        As in `nps`.

    Returns
    -------
    ChangeSplit

    Raises
    ------
    DataProblem
        More than 60 groups, answers off the measure's scale, waves whose order nothing tells.

    Notes
    -----
    Performance = sum of 1/2 (s1 + s0)(N1 - N0), mix = sum of 1/2 (N1 + N0)(s1 - s0) over groups with shares s and
    values N (Kitagawa 1955); they add up to the change. Intervals are linearised (z, or t with a design). A group that
    answered in one wave only has no change of its own: its value is held, and all of it is mix. A group that is hidden
    in one pair of waves is hidden in all of them.

    Examples
    --------
    >>> import cxresearch as cx
    >>> study = cx.open_study("data/example/study.yml")
    >>> print(cx.split_change(study.responses, "recommend", by="region"))
    Would recommend us, 2024Q3 to 2024Q4: of a change of 11.0 points, 10.7 points is performance ...
    """
    survey = as_survey(responses)
    check_asked(survey, item, *columns_of(by), confidence=confidence)
    asked = measured(survey, item, measure, threshold=threshold, version=version, scoring=scoring)
    sample = None
    if by and survey.wave is not None:
        sample = survey.sample(asked.answered, by=by, wave=True, what="the split of a change")
    if sample is None or sample.keys["wave"].nunique() < 2:
        lacks = "the survey has one wave" if by else "no column of groups is named"
        why = f"{survey.label(item)}: the change cannot be split, {lacks}"
        return nothing("split_change", asked.key, None, why, n=int(asked.answered.sum()), labels=survey.labels)
    waves, levels = list(pd.unique(sample.keys["wave"])), sample.keys["group"].nunique()
    if levels > MAX_GROUPS:
        raise DataProblem(
            f"{', '.join(columns_of(by))} has {levels} groups; a split by more than {MAX_GROUPS} rests on too few answers a "
            "group, so merge groups"
        )
    codes, n, scale = asked.codes[sample.rows], sample.n, asked.factor
    cells = np.arange(len(sample.keys)).reshape(levels, len(waves))
    together = people_together(survey, sample, asked.answered, by=by, wave=True)
    hidden = closed(sample.hidden.reshape(cells.shape), n.reshape(cells.shape))
    tables, groups = [], []
    for t in range(1, len(waves)):
        parts, by_group = _pair(sample, together, codes, cells[:, t - 1], cells[:, t], scale, confidence)
        steps = {"wave_before": waves[t - 1], "wave": waves[t]}
        both = n[cells[:, t - 1]].sum(), n[cells[:, t]].sum()
        parts = parts.assign(**steps, n_before=both[0], n=both[1])
        tables.append(hide(parts, np.full(len(parts), min(both) < survey.min_base)))
        groups.append(hide(by_group.assign(**steps), hidden))
    table = pd.concat(tables, ignore_index=True)
    of_parts = (table["term"] != "change").to_numpy()
    table["p_adjusted"] = adjusted_p_values(
        np.where(of_parts, table["p_value"].astype(float), np.nan), correction="holm"
    )
    note, checks = note_of_recurring_ids(survey, sample, codes)
    once = int(((n[cells] == 0).sum(axis=1) > 0).sum())
    alone = Check("groups without answers in some wave (all of them mix)", once, "0", once == 0)
    summary = {
        "n": int(n.sum()), "n_effective": sample.n_effective, "waves": len(waves),
        "family": int(np.isfinite(table["p_adjusted"]).sum()), "method": "Kitagawa split, linearised",
        "largest_change": float(table.loc[~of_parts, "estimate"].astype(float).abs().max()),
        "established": bool((table["p_adjusted"] < 1 - confidence).any()),
    }  # fmt: skip
    keys = ["wave_before", "wave"]
    return made(
        ChangeSplit, "split_change", survey, asked, by, table[[*keys, *(c for c in table if c not in keys)]], summary,
        (*sample.checks, *checks, alone), further={"groups": pd.concat(groups, ignore_index=True)},
        hidden=hidden.sum() * (len(waves) - 1), confidence=confidence, note=note,
    )  # fmt: skip


def closed(hidden: np.ndarray, n: np.ndarray) -> np.ndarray:
    """Return which groups to hide in every pair of waves, (g,): hiding pair by pair, the same wave would be shown beside
    one and hidden beside another, and the difference would give it away.

    One group alone is never hidden: the others and the whole would tell its value.
    """
    gone = hidden.any(axis=1)
    if gone.sum() == 1 and len(gone) > 1:
        rest = np.where(gone, np.inf, n.sum(axis=1))
        gone[int(np.argmin(rest))] = True
    return gone


def kitagawa(share_1, share_0, score_1, score_0) -> tuple[np.ndarray, np.ndarray]:
    """Return performance and mix by group, (k,); their sum is the change of the weighted score (Kitagawa 1955)."""
    share_1, share_0, score_1, score_0 = (np.asarray(x, dtype=float) for x in (share_1, share_0, score_1, score_0))
    return (share_1 + share_0) / 2 * (score_1 - score_0), (score_1 + score_0) / 2 * (share_1 - share_0)


def _pair(sample, together, codes, before, after, scale, confidence) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return the parts of the change between two waves, and each group's contribution."""
    means, totals, n = sample.means(codes), sample.totals, sample.n
    share_0, share_1 = (totals[c] / totals[c].sum() for c in (before, after))
    score_0, score_1 = means[before], means[after]
    score_0, score_1 = np.where(np.isnan(score_0), score_1, score_0), np.where(np.isnan(score_1), score_0, score_1)
    score_0, score_1 = np.nan_to_num(score_0), np.nan_to_num(score_1)
    performance, mix = kitagawa(share_1, share_0, score_1, score_0)
    influence = np.zeros((len(codes), 2))
    for cells, shares, sign in ((before, share_0, -1), (after, share_1, 1)):
        place = np.full(len(sample.keys), -1)
        place[cells] = np.arange(len(cells))
        g, own, other = place[sample.cell], (score_1 - score_0) / 2, (score_1 + score_0) / 2
        w = np.where(g >= 0, sample.weights, 0.0) / totals[cells].sum()
        within = np.where(g >= 0, (codes - np.nan_to_num(means)[sample.cell]) / np.maximum(shares[g], 1e-300), 0.0)
        # Shares enter performance with one sign in both waves (half their sum) and mix with two; scores the reverse.
        pull = (own - shares @ own)[g] + sign * ((share_1 + share_0) / 2)[g] * within
        influence += w[:, None] * np.column_stack(
            [pull, sign * (other - shares @ other)[g] + (share_1 - share_0)[g] / 2 * within]
        )
    covariance = together.covariance_of(influence)
    estimate = np.array([performance.sum() + mix.sum(), performance.sum(), mix.sum()])
    sums, df = np.array([[1, 1], [1, 0], [0, 1]]), np.inf if sample.plain else together.units.df
    error = np.sqrt(np.maximum(np.einsum("ij,jk,ik->i", sums, covariance, sums), 0))
    half = stats.t.ppf((1 + confidence) / 2, df) * error
    with np.errstate(invalid="ignore", divide="ignore"):
        p = np.where(error > 0, 2 * stats.t.sf(np.abs(estimate / error), df), np.where(estimate == 0, 1.0, 0.0))
    columns = {"estimate": estimate, "std_error": error, "conf_low": estimate - half, "conf_high": estimate + half}
    groups = {"group": sample.keys["group"].to_numpy()[after], "share_before": share_0, "share_after": share_1}
    groups |= {"score_before": scale * means[before], "score_after": scale * means[after]}
    groups |= {"performance": scale * performance, "mix": scale * mix, "n_before": n[before], "n": n[after]}
    parts = pd.DataFrame({"term": PARTS, **{name: scale * v for name, v in columns.items()}, "p_value": p})
    return parts, pd.DataFrame(groups)
