"""Groups side by side without reading luck as rank; answers that heap where somebody asks for them."""

from dataclasses import dataclass

import numpy as np
import pandas as pd
from matplotlib.ticker import FuncFormatter
from scipy import sparse, stats

from cxresearch import digits
from cxresearch.errors import DataProblem
from cxresearch.figures import PALETTE, forest, wrap
from cxresearch.findings import ends, interval, listing, number
from cxresearch.inference import adjusted_p_values
from cxresearch.inference.pooling import shrink
from cxresearch.metrics.estimate import VERY_SMALL, base_checks, base_words, columns_of_estimate, hide, p_value, vector
from cxresearch.metrics.question import ENDS, MARKS, MeasureFinding, ask


@dataclass(frozen=True, repr=False, eq=False)
class LeagueTable(MeasureFinding):
    """One row per group: plain value with a *simultaneous* interval, shrunken value, mark against the rest."""

    worth_acting_on: float | None = None

    def sentence(self) -> str:
        between, words = self.summary["between"], []
        for _, r in self.moved.iterrows():
            told = self.told(r) | {"size": self.measure.size(r["against_rest"])}
            words.append(self.say(f"league_{r['verdict']}", **told))
        first = self.say("league", first=words[0]) if words else self.say("league_open")
        more = f"{listing(words[1:3])}. " if words[1:] else ""
        more += self.say("league_more", count=len(words) - 3) if len(words) > 3 else ""
        key = "" if between > 0 else "_unknown" if between == 0 else "_few"
        spread = dict(more=more, between=self.measure.size(between))
        spread |= {} if np.isfinite(self.summary["p_value"]) else {"p": "none"}
        return f"{first} {self.say(f'league_spread{key}', **spread)}"

    def plot(self, ax=None):
        """Draw shrunken values (plain ones of fewer than four groups) with intervals; coloured where marked."""
        drawn = bool(self.table["shrunken"].notna().any())
        columns = tuple(ends("shrunken", 0, 0, 0)) if drawn else ENDS
        table = self.table[self.table[columns[0]].notna() & (self.table["base"] != "suppressed")]
        table = table.iloc[digits.descending(table[columns[0]].astype(float), table["group"])]
        shown, kind = self.read(table, *{*columns, "estimate"}), "shrunken" if drawn else "plain, simultaneous"
        options = dict(low=columns[1], high=columns[2], marked=table["verdict"].isin(MARKS), ax=ax)
        options["names"] = [f"{self.label(g)} ({number(n, 0)})" for g, n in zip(table["group"], table["n"])]
        unit = wrap(f"{self.measure.axis}; {kind}, {self.level}; rings: plain", 62)
        ax = forest(shown, columns[0], unit=unit, title=self.title, **options)
        ax.plot(shown["estimate"], range(len(shown)), "o", markerfacecolor="none", color=PALETTE[1], markersize=8)
        return ax


def league_table(
    responses, item: str, *, by, measure: str = "nps", threshold=None, version=None, scoring: str = "mean",
    worth_acting_on: float | None = None, confidence: float = 0.95,
) -> LeagueTable:  # fmt: skip
    """Return a measure of groups, shrunken, with simultaneous intervals and marks against the rest.

    Plain intervals hold for all k groups at once (z at 1 - alpha / 2k around the adjusted centre). The comparisons with
    the rest, of groups with a base of 30 or more, are corrected by Holm, t tails on the group's base less one, since a
    family asks for the far tail. Shrunken values and intervals after Morris (1983) allow for the variance between groups
    being estimated; with fewer than four groups they are not estimable, and missing. The other parameters are as in
    `compare_waves`.

    Parameters
    ----------
    worth_acting_on : float, optional
        Smallest difference from the rest, in the unit of the estimate, that gets a mark.

    Examples
    --------
    >>> print(cx.league_table(study.responses, "recommend", by="region"))
    Would recommend us by Region: East is above by 13.3 points (33.4 points, simultaneous 95 % ...
    """
    given = dict(threshold=threshold, version=version, scoring=scoring, confidence=confidence, worth=worth_acting_on)
    question = ask("league_table", responses, item, measure, by=by, what="the league table", **given)
    sample, asked = question.sample, question.measure
    full, scale = sample.n > 0, asked.units.factor
    if full.sum() < 2:
        raise DataProblem(f"{', '.join(question.by)} has one group with answers; a league table needs two or more")
    compared = vector(sample, question.codes, asked.form)
    estimates = (np.where(full, v, np.nan) for v in (compared.centre, np.diag(compared.covariance)))
    drawn = shrink(*estimates, confidence=confidence)
    table = _league(question, compared, full, drawn, worth_acting_on or 0.0)
    summary = {"between": scale * np.sqrt(drawn.between), "p_value": compared.equal_p_value(np.flatnonzero(full))}
    summary |= {"family": int(full.sum()), "n": int(sample.n.sum()), "n_effective": float(np.nansum(compared.base))}
    summary |= {"method": "simultaneous intervals; shrunken by empirical Bayes"}
    checks, shown = (*sample.checks, *base_checks(table, sample)), hide(table, sample.hidden)
    return question.finding(LeagueTable, shown, summary, checks, worth_acting_on=worth_acting_on)


def _league(question, compared, full, drawn, worth) -> pd.DataFrame:
    """Return plain and shrunken values of the groups, and each against all others."""
    sample, units, error = question.sample, question.measure.units, np.sqrt(np.diag(compared.covariance))
    z = stats.t.ppf(1 - (1 - question.confidence) / (2 * full.sum()), compared.df)
    total = np.where(full, sample.totals, 0.0)
    one = np.eye(len(total), dtype=bool)
    contrast = one - np.where(one, 0.0, total[None, :] / (total.sum() - total)[:, None])
    raw, centre = (contrast @ np.nan_to_num(v) for v in (compared.raw, compared.centre))
    rest = np.where(np.sign(raw) == np.sign(centre), centre, raw)
    rest_error = np.sqrt(np.einsum("ij,jk,ik->i", contrast, np.nan_to_num(compared.covariance), contrast))
    p = p_value(rest, rest_error, np.minimum(compared.df, np.maximum(compared.base - 1, 1)))
    words = base_words(sample.n, compared.base)
    eligible = np.isin(words, ["indicative", "enough"]) & ~sample.hidden
    adjusted = adjusted_p_values(np.where(eligible, p, np.nan), correction="holm")
    clear = (adjusted < 1 - question.confidence) & (np.abs(units.factor * rest) > worth)
    cases = [clear & (rest > 0), clear, eligible]
    verdict = np.select(cases, ["above", "below", "not established"], "base too small").astype(object)
    cut = dict(scale=units.factor, least=units.least, most=units.most)
    columns = columns_of_estimate(compared.raw, error, z * error, centre=compared.centre, **cut)
    more = ends("shrunken", drawn.estimate, drawn.low, drawn.high) | {"against_rest": np.where(full, rest, np.nan)}
    columns |= {name: units.factor * value for name, value in more.items()}
    columns |= {"p_value": np.where(full, p, np.nan), "p_adjusted": adjusted, "verdict": verdict}
    return sample.keys.assign(**columns, n=sample.n, n_effective=compared.base, base=words)


# Answer -> what its neighbours lead one to expect on the log scale. A better agent multiplies each point by the same
# factor, which leaves this unchanged; begging lifts one answer above its neighbours. The 10 has them on one side only.
NEIGHBOURS = {5: {4: 0.5, 6: 0.5}, 9: {8: 0.5, 10: 0.5}, 10: {9: 2.0, 8: -1.0}}


@dataclass(frozen=True, repr=False, eq=False)
class AnswerSpikes(MeasureFinding):
    """One row per group and answer 5, 9, 10 (`term`).

    ``estimate`` is how many times more often the answer is given than its neighbours lead one to expect, compared
    with the same in all other groups (1: no spike); `share` and `rest` are the plain shares.
    """

    def sentence(self) -> str:
        if self.moved.empty:
            return self.say("spikes_none")
        words = []
        for _, r in self.moved.head(4).iterrows():
            span = interval(r["conf_low"], r["conf_high"], self.confidence)
            told = self.told(r) | dict(answer=r["term"], times=number(r["estimate"]), span=span)
            words.append(self.say("spike", **told))
        return f"{self.say('spikes', first=listing(words))} {self.say('spikes_more')}"

    def plot(self, ax=None):
        """Draw the ratios with intervals on a log axis; grey where not established."""
        t = self.table[self.table["estimate"].notna()].astype({"estimate": float})
        t = t.iloc[digits.descending(t["estimate"], t["group"])[:20]]
        names = [f"{self.label(group)}: {answer}" for group, answer in zip(t["group"], t["term"])]
        unit = f"answer by its neighbours, times the other groups' ratio; {self.level}"
        ax = self.dots(t, names, unit, marked=t["verdict"] == "spike", line=1, ax=ax)
        ax.set_xscale("log", base=2)
        ax.xaxis.set_major_formatter(FuncFormatter(lambda v, _: f"{v:g}"))
        return ax


def answer_spikes(responses, item: str, *, by, confidence: float = 0.95) -> AnswerSpikes:
    """Return where answers 5, 9 or 10 heap above their neighbours more than in the other groups (agents, channels).

    log n_a - (log n_{a-1} + log n_{a+1}) / 2, for 10 log n_10 - 2 log n_9 + log n_8 (weighted counts, half added to
    each), group less rest, its error linearised under the survey's design; one-sided, Holm over groups of 30 answers or
    more. A spike is a question about how answers come about, not a proof. Parameters are those of `nps`.

    Examples
    --------
    >>> print(cx.answer_spikes(study.responses, "recommend", by="region"))
    Would recommend us by Region: no spike at 5, 9 or 10 is established (12 comparisons, Holm, ...
    """
    what = "the comparison of answers"
    question = ask("answer_spikes", responses, item, "nps", by=by, what=what, confidence=confidence)
    sample = question.sample
    place = sample.cell * 11 + question.measure.answers[sample.rows].astype(int)
    k, n, weights = len(sample.keys), len(sample), sample.weights / sample.weights.mean()
    counts = np.bincount(place, weights, minlength=11 * k).reshape(k, 11)
    covariance = sample.covariance_of(sparse.csr_array((weights, place, np.arange(n + 1)), shape=(n, 11 * k)))
    parts = [_spikes(sample, counts, covariance, answer, confidence) for answer in NEIGHBOURS]
    table, gone = pd.concat(parts, ignore_index=True), np.tile(sample.hidden, len(NEIGHBOURS))
    eligible = (table["n"] >= VERY_SMALL).to_numpy() & ~gone
    table["p_adjusted"] = adjusted_p_values(np.where(eligible, table["p_value"], np.nan), correction="holm")
    spike = (table["p_adjusted"] < 1 - confidence).to_numpy()
    table["verdict"] = np.select([spike, eligible], ["spike", "not established"], "base too small").astype(object)
    order = np.arange(len(table))
    for p in ("p_value", "p_adjusted"):
        order = order[digits.descending(-table[p].to_numpy()[order])]
    summary = {"n": n, "n_effective": sample.n_effective, "method": "local log ratio against the other groups, Holm"}
    shown = hide(table, gone).iloc[order].reset_index(drop=True)
    return question.finding(AnswerSpikes, shown, summary, sample.checks)


def _spikes(sample, counts, covariance, answer: int, confidence: float) -> pd.DataFrame:
    """Return by group how far one answer stands above its neighbours, compared with all other groups."""
    signs = {answer: 1.0} | {other: -c for other, c in NEIGHBOURS[answer].items()}
    k, rest, df = len(counts), counts.sum(axis=0) - counts, sample.units.df
    difference, pull = np.zeros(k), np.zeros((k, k, 11))
    for a, sign in signs.items():
        difference += sign * (np.log(counts[:, a] + 0.5) - np.log(rest[:, a] + 0.5))
        pull[:, :, a] = -sign / (rest[:, a] + 0.5)[:, None]
        pull[np.arange(k), np.arange(k), a] = sign / (counts[:, a] + 0.5)
    pull = pull.reshape(k, -1)
    error = np.sqrt(np.maximum(np.einsum("ij,jk,ik->i", pull, covariance, pull), 0.0))
    half = stats.t.ppf((1 + confidence) / 2, df) * error
    columns = {"estimate": difference, "conf_low": difference - half, "conf_high": difference + half}
    columns = {name: np.exp(value) for name, value in columns.items()}
    with np.errstate(invalid="ignore", divide="ignore"):
        columns["p_value"] = np.where(error > 0, stats.t.sf(difference / error, df), difference <= 0)
        columns |= {"share": counts[:, answer] / counts.sum(axis=1), "rest": rest[:, answer] / rest.sum(axis=1)}
    return sample.keys.assign(term=answer, **columns, n=sample.n)
