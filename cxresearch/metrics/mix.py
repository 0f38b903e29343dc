"""Mix against performance: did the value change within groups, or did other people answer."""

from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy import stats

from cxresearch.errors import DataProblem
from cxresearch.findings import Check, p_words
from cxresearch.inference import adjusted_p_values
from cxresearch.metrics.estimate import columns_of_estimate, hide, p_value
from cxresearch.metrics.question import MeasureFinding, ask
from cxresearch.metrics.waves import note_of_recurring_ids

MAX_GROUPS = 60
PARTS = ("change", "performance", "mix")


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
        if not np.isfinite(float(change["estimate"])):
            return self.say("split_hidden", before=self.label(change["wave_before"]), after=self.label(change["wave"]))
        known = self.told(change) | {f"p_{r['term']}": p_words(r["p_adjusted"]) for r in (performance, mix)}
        for r in (change, performance, mix):
            known[r["term"]] = "−" * bool(r["estimate"] < 0) + self.measure.size(r["estimate"])
        clear = tuple(bool(row["p_adjusted"] < 1 - self.confidence) for row in (performance, mix))
        key = {(True, False): "performance", (False, True): "mix", (True, True): "both"}.get(clear, "neither")
        return f"{self.say('split', **known)} {self.say(f'split_{key}', **known)} {self.note}".rstrip()

    def plot(self, ax=None):
        """Draw change, performance and mix of the latest pair of waves, with intervals."""
        return self.dots(self.latest, PARTS, f"change, {self.measure.axis}; {self.level}", line=0, ax=ax)


def split_change(
    responses, item: str, *, by, measure="nps", threshold=None, version=None, scoring="mean", confidence: float = 0.95
):
    """Split the change of a measure between waves into performance and mix.

    Performance = sum of 1/2 (s1 + s0)(N1 - N0), mix = sum of 1/2 (N1 + N0)(s1 - s0) over groups with shares s and
    values N (Kitagawa 1955); they add up to the change. Intervals are linearised (z, or t with a design). All of a group
    that answered in one wave only is mix. A group that is hidden in one pair of waves is hidden in all of them. Each wave
    is set against the one before; the other parameters are as in `compare_waves`.

    Parameters
    ----------
    by : column or list of columns
        At most 60 groups whose shares may have changed, such as a demographic.

    Examples
    --------
    >>> print(cx.split_change(study.responses, "recommend", by="region"))
    Would recommend us, 2024Q3 to 2024Q4: of a change of 11.0 points, 10.7 points is performance ...
    """
    given = dict(threshold=threshold, version=version, scoring=scoring, confidence=confidence)
    question = ask("split_change", responses, item, measure, by=by, moves=True, what="the split of a change", **given)
    waves, sample = question.waves, question.sample
    if not by or len(waves) < 2:
        lacks = "the survey has one wave" if by else "no column of groups is named"
        return question.nothing(f"the change cannot be split, {lacks}")
    levels, n = sample.keys["group"].nunique(), sample.n
    if levels > MAX_GROUPS:
        raise DataProblem(
            f"{', '.join(question.by)} has {levels} groups; a split by more than {MAX_GROUPS} rests on too few answers a "
            "group, so merge groups"
        )
    cells = np.arange(len(sample.keys)).reshape(levels, len(waves))
    # a wave shown beside one and hidden beside another would be given away by the difference; so would a group alone
    hidden = sample.hidden.reshape(cells.shape).any(axis=1)
    if hidden.sum() == 1 and levels > 1:
        hidden[np.argmin(np.where(hidden, np.inf, n.reshape(cells.shape).sum(axis=1)))] = True
    tables, groups = [], []
    for before, after, *at in zip(waves, waves[1:], cells.T, cells.T[1:]):
        parts, by_group = _pair(question, *at)
        both = [int(n[each].sum()) for each in at]
        parts = parts.assign(wave_before=before, wave=after, n_before=both[0], n=both[1])
        tables.append(hide(parts, np.full(len(parts), min(both) < sample.min_base)))
        groups.append(hide(by_group.assign(wave_before=before, wave=after), hidden))
    table = pd.concat(tables, ignore_index=True)
    of_parts = (table["term"] != "change").to_numpy()
    asked = np.where(of_parts, table["p_value"].astype(float), np.nan)
    table["p_adjusted"] = adjusted_p_values(asked, correction="holm")
    note, checks = note_of_recurring_ids(question)
    once = int(((n[cells] == 0).sum(axis=1) > 0).sum())
    alone = Check("groups without answers in some wave (all of them mix)", once, "0", once == 0)
    summary = {"n": len(sample), "n_effective": sample.n_effective, "waves": len(waves)}
    summary["method"] = "Kitagawa split, linearised"
    summary["largest_change"] = float(table.loc[~of_parts, "estimate"].astype(float).abs().max())
    summary["established"] = bool((table["p_adjusted"] < 1 - confidence).any())
    keys = ["wave_before", "wave"]
    table = table[[*keys, *(c for c in table if c not in keys)]]
    further, hidden = {"groups": pd.concat(groups, ignore_index=True)}, hidden.sum() * (len(waves) - 1)
    checks = (*sample.checks, *checks, alone)
    return question.finding(ChangeSplit, table, summary, checks, further=further, hidden=hidden, note=note)


def kitagawa(share_1, share_0, score_1, score_0) -> tuple[np.ndarray, np.ndarray]:
    """Return performance and mix by group, (k,); their sum is the change of the weighted score (Kitagawa 1955)."""
    share_1, share_0, score_1, score_0 = (np.asarray(x, dtype=float) for x in (share_1, share_0, score_1, score_0))
    return (share_1 + share_0) / 2 * (score_1 - score_0), (score_1 + score_0) / 2 * (share_1 - share_0)


def _pair(question, before, after) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return the parts of the change between two waves, and each group's contribution."""
    sample, codes, scale = question.sample, question.codes, question.measure.units.factor
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
        pull_mix = sign * (other - shares @ other)[g] + (share_1 - share_0)[g] / 2 * within
        influence += w[:, None] * np.column_stack([pull, pull_mix])
    covariance = question.together.covariance_of(influence)
    estimate = np.array([performance.sum() + mix.sum(), performance.sum(), mix.sum()])
    sums, df = np.array([[1, 1], [1, 0], [0, 1]]), np.inf if sample.plain else question.together.units.df
    error = np.sqrt(np.maximum(np.einsum("ij,jk,ik->i", sums, covariance, sums), 0))
    half = stats.t.ppf((1 + question.confidence) / 2, df) * error
    p = p_value(estimate, error, df)
    parts = pd.DataFrame({"term": PARTS, **columns_of_estimate(estimate, error, half, scale=scale), "p_value": p})
    groups = {"group": sample.keys["group"].to_numpy()[after], "share_before": share_0, "share_after": share_1}
    groups |= {"score_before": scale * means[before], "score_after": scale * means[after]}
    groups |= {"performance": scale * performance, "mix": scale * mix, "n_before": n[before], "n": n[after]}
    return parts, pd.DataFrame(groups)
