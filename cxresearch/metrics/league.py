"""Groups side by side without reading luck as rank; answers that heap where somebody asks for them.

References
----------
Paule & Mandel (1982), J. Research NBS 87; Morris (1983), J. American Statistical Association 78 (empirical Bayes);
Goldstein & Spiegelhalter (1996), J. R. Statist. Soc. A 159 (league tables); Agresti (2013), *Categorical Data
Analysis*, 2.4 and 3.1 (log odds ratios and their errors).
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd
from matplotlib.ticker import FuncFormatter
from scipy import sparse, stats

from cxresearch import digits
from cxresearch.errors import DataProblem, require_choice
from cxresearch.figures import PALETTE, forest, wrap
from cxresearch.findings import describe_columns, ends, interval, listing, number, p_words, percent
from cxresearch.inference import adjusted_p_values
from cxresearch.inference.pooling import shrink
from cxresearch.metrics.answers import measured
from cxresearch.metrics.estimate import (
    CORRECTIONS,
    VERY_SMALL,
    base_checks,
    base_words,
    check_asked,
    columns_of,
    hide,
    vector,
)
from cxresearch.metrics.finding import MeasureFinding, made
from cxresearch.survey import as_survey

describe_columns(
    shrunken=("Shrunken", "estimate drawn towards the mean of the groups as far as its base is small", 1),
    shrunken_low=("Shrunken low", "lower end of the shrunken estimate's interval", 1),
    shrunken_high=("Shrunken high", "upper end of the shrunken estimate's interval", 1),
    against_rest=("Against the rest", "group less all other respondents, in the measure's unit", 1),
    between=("Between groups", "standard deviation of the groups' true values, in the measure's unit", 2),
    rest=("Rest", "share of the answer among all other groups, 0-1", 3),
)


@dataclass(frozen=True, repr=False, eq=False)
class LeagueTable(MeasureFinding):
    """One row per group: plain value with a *simultaneous* interval, shrunken value, mark against the rest."""

    worth_acting_on: float | None = None

    def sentence(self) -> str:
        s, marked = self.summary, self.table[self.table["verdict"].isin(["above", "below"])]
        known = dict(what=self.what, by=self.by_words)
        spread = dict(family=number(s["family"], 0), p=p_words(s["p_value"]) if np.isfinite(s["p_value"]) else "none")
        spread |= dict(n=number(s["n"], 0), more="")
        if marked.empty:
            first = self.say("league_open", **known)
        else:
            words = [
                self.say(
                    f"league_{r['verdict']}", group=self.label(r["group"]), size=self.measure.size(r["against_rest"]),
                    value=self.measure.value(r["estimate"]), span=self.span(r), n=number(r["n"], 0),
                ) for _, r in marked.iterrows()
            ]  # fmt: skip
            first = self.say("league", **known, first=words[0])
            rest = f"{listing(words[1:3])}. " if words[1:] else ""
            spread["more"] = rest + (self.say("league_more", count=len(words) - 3) if len(words) > 3 else "")
        if not np.isfinite(s["between"]):
            return f"{first} {self.say('league_spread_few', **spread)}"
        if s["between"] == 0:
            return f"{first} {self.say('league_spread_unknown', **spread)}"
        return f"{first} {self.say('league_spread', **spread, between=self.measure.size(s['between']))}"

    def plot(self, ax=None):
        """Draw shrunken values (plain ones of fewer than four groups) with intervals; coloured where marked."""
        drawn = bool(self.table["shrunken"].notna().any())
        value, low, high = (
            ("shrunken", "shrunken_low", "shrunken_high") if drawn else ("estimate", "conf_low", "conf_high")
        )
        table = self.table[self.table[value].notna() & (self.table["base"] != "suppressed")]
        table = table.iloc[digits.descending(table[value].astype(float), table["group"])]
        shown = table.assign(**{c: table[c].astype(float) * self.measure.shown for c in ("estimate", value, low, high)})
        kind = "shrunken" if drawn else "plain, simultaneous"
        ax = forest(
            shown, value, names=[f"{self.label(g)} ({number(n, 0)})" for g, n in zip(table["group"], table["n"])],
            low=low, high=high, marked=table["verdict"].isin(["above", "below"]), title=self.headline, ax=ax,
            unit=wrap(f"{self.measure.axis}; {kind}, {percent(self.confidence)} intervals; rings: plain", 62),
        )  # fmt: skip
        at = np.arange(len(shown))
        ax.plot(shown["estimate"], at, "o", markerfacecolor="none", color=PALETTE[1], markersize=8)
        return ax


def league_table(
    responses, item: str, *, by, measure: str = "nps", threshold=None, version=None, scoring: str = "mean",
    correction: str = "holm", worth_acting_on: float | None = None, confidence: float = 0.95,
) -> LeagueTable:  # fmt: skip
    """Return a measure of groups, shrunken, with simultaneous intervals and marks against the rest.

    Parameters
    ----------
    responses : Survey or DataFrame, (N, .)
    item : str
    by : column or list of columns
    measure, threshold, version, scoring
        As in `compare_waves`.
    correction : {"holm", "bh", "none"}
        Of the comparisons with the rest, groups with a base of 30 or more.
    worth_acting_on : float, optional
        Smallest difference from the rest, in the unit of the estimate, that gets a mark.
    confidence
        As in `nps`.

    Returns
    -------
    LeagueTable

    Raises
    ------
    DataProblem
        Fewer than two groups, answers off the measure's scale.

    Notes
    -----
    Plain intervals hold for all k groups at once (z at 1 - alpha / 2k around the adjusted centre). P-values have t
    tails on the group's base less one, since a family asks for the far tail. Shrunken values and their intervals after
    Morris (1983), which allow for the variance between groups being estimated; with fewer than four groups they are
    not estimable, and missing.

    Examples
    --------
    >>> import cxresearch as cx
    >>> study = cx.open_study("data/example/study.yml")
    >>> print(cx.league_table(study.responses, "recommend", by="region"))
    Would recommend us by Region: East is above by 13.3 points (33.4 points, simultaneous 95 % ...
    """
    survey = as_survey(responses)
    check_asked(survey, item, *columns_of(by), confidence=confidence, worth=worth_acting_on)
    require_choice("correction", correction, CORRECTIONS)
    asked = measured(survey, item, measure, threshold=threshold, version=version, scoring=scoring)
    sample = survey.sample(asked.answered, by=by, what="the league table")
    full = sample.n > 0
    if full.sum() < 2:
        raise DataProblem(f"{', '.join(columns_of(by))} has one group with answers; a league table needs two or more")
    compared, scale = vector(sample, asked.codes[sample.rows], asked.form), asked.factor
    drawn = shrink(
        *(np.where(full, v, np.nan) for v in (compared.centre, np.diag(compared.covariance))), confidence=confidence
    )
    table = _league(sample, compared, full, drawn, asked, correction, worth_acting_on or 0.0, confidence)
    summary = {
        "between": scale * float(np.sqrt(drawn.between)),
        "p_value": compared.equal_p_value(np.flatnonzero(full)),
        "family": int(full.sum()),
        "n": int(sample.n.sum()),
        "n_effective": float(np.nansum(compared.base)),
        "method": "simultaneous intervals; shrunken by empirical Bayes",
        "established": bool(table["verdict"].isin(["above", "below"])[~sample.hidden].any()),
    }
    return made(
        LeagueTable, "league_table", survey, asked, by, hide(table, sample.hidden), summary,
        (*sample.checks, *base_checks(table, sample)), hidden=sample.hidden.sum(), confidence=confidence,
        worth_acting_on=worth_acting_on,
    )  # fmt: skip


def _league(sample, compared, full, drawn, measure, correction, worth, confidence) -> pd.DataFrame:
    """Return plain and shrunken values of the groups, and each against all others."""
    error, scale = np.sqrt(np.diag(compared.covariance)), measure.factor
    most = {"net": (-1, 1), "share": (0, 1)}.get(measure.form, (-np.inf, np.inf))
    z = stats.t.ppf(1 - (1 - confidence) / (2 * full.sum()), compared.df)
    total = np.where(full, sample.totals, 0.0)
    one = np.eye(len(total), dtype=bool)
    contrast = one - np.where(one, 0.0, total[None, :] / (total.sum() - total)[:, None])
    raw, centre = (contrast @ np.nan_to_num(v) for v in (compared.raw, compared.centre))
    rest = np.where(np.sign(raw) == np.sign(centre), centre, raw)
    rest_error = np.sqrt(np.einsum("ij,jk,ik->i", contrast, np.nan_to_num(compared.covariance), contrast))
    with np.errstate(invalid="ignore", divide="ignore"):
        p = 2 * stats.t.sf(np.abs(rest / rest_error), np.minimum(compared.df, np.maximum(compared.base - 1, 1)))
    words = base_words(sample.n, compared.base)
    eligible = np.isin(words, ["indicative", "enough"]) & ~sample.hidden
    adjusted = adjusted_p_values(np.where(eligible, p, np.nan), correction=correction)
    clear = (adjusted < 1 - confidence) & (np.abs(scale * rest) > worth)
    cases = [clear & (rest > 0), clear, eligible]
    return pd.DataFrame(
        {name: sample.keys[name] for name in sample.keys}
        | {"estimate": scale * compared.raw, "std_error": scale * error}
        | {"conf_low": scale * np.maximum(compared.centre - z * error, most[0])}
        | {"conf_high": scale * np.minimum(compared.centre + z * error, most[1])}
        | ends("shrunken", *(scale * v for v in (drawn.estimate, drawn.low, drawn.high)))
        | {
            "against_rest": scale * np.where(full, rest, np.nan),
            "p_value": np.where(full, p, np.nan),
            "p_adjusted": adjusted,
        }
        | {"verdict": np.select(cases, ["above", "below", "not established"], "base too small").astype(object)}
        | {"n": sample.n, "n_effective": compared.base, "base": words}
    )


# --- answers that heap -----------------------------------------------------------------------------------------------

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
        spikes = self.table[self.table["verdict"] == "spike"]
        known = dict(what=self.what, by=self.by_words)
        family = dict(family=number(self.summary["family"], 0), n=number(self.summary["n"], 0))
        if spikes.empty:
            return self.say("spikes_none", **known, **family)
        words = [
            self.say(
                "spike", group=self.label(r["group"]), answer=r["term"], times=number(r["estimate"]), n=number(r["n"], 0),
                span=interval(r["conf_low"], r["conf_high"], self.confidence), p=p_words(r["p_adjusted"]),
            ) for _, r in spikes.head(4).iterrows()
        ]  # fmt: skip
        return f"{self.say('spikes', **known, first=listing(words))} {self.say('spikes_more', **family)}"

    def plot(self, ax=None):
        """Draw the ratios with intervals on a log axis; grey where not established."""
        t = self.table[self.table["estimate"].notna()].astype({"estimate": float})
        t = t.iloc[digits.descending(t["estimate"], t["group"])[:20]]
        unit = f"answer by its neighbours, times the other groups' ratio; {percent(self.confidence)} intervals"
        ax = forest(
            t, "estimate", names=[f"{self.label(g)}: {a}" for g, a in zip(t["group"], t["term"])], low="conf_low",
            high="conf_high", marked=t["verdict"] == "spike", line=1, unit=wrap(unit, 62), title=self.headline, ax=ax,
        )  # fmt: skip
        ax.set_xscale("log", base=2)
        ax.xaxis.set_major_formatter(FuncFormatter(lambda v, _: f"{v:g}"))
        return ax


def answer_spikes(responses, item: str, *, by, confidence: float = 0.95) -> AnswerSpikes:
    """Return where answers 5, 9 or 10 heap above their neighbours more than in the other groups (agents, channels).

    Parameters
    ----------
    responses : Survey or DataFrame, (N, .)
    item : str
        Recommend item (0-10).
    by : column or list of columns
        Agents, channels or the like.
    confidence
        As in `nps`.

    Returns
    -------
    AnswerSpikes

    Raises
    ------
    DataProblem
        Answers off 0-10, missing columns.

    Notes
    -----
    log n_a - (log n_{a-1} + log n_{a+1}) / 2, for 10 log n_10 - 2 log n_9 + log n_8 (weighted counts, half added to
    each), group less rest, its error linearised under the survey's design; one-sided, Holm over groups of 30 answers or
    more. A spike is a question about how answers come about, not a proof.

    Examples
    --------
    >>> import cxresearch as cx
    >>> study = cx.open_study("data/example/study.yml")
    >>> print(cx.answer_spikes(study.responses, "recommend", by="region"))
    Would recommend us by Region: no spike at 5, 9 or 10 is established (12 comparisons, Holm, ...
    """
    survey = as_survey(responses)
    check_asked(survey, item, *columns_of(by), confidence=confidence)
    asked = measured(survey, item, "nps")
    sample = survey.sample(asked.answered, by=by, what="the comparison of answers")
    place = sample.cell * 11 + asked.answers[sample.rows].astype(int)
    k, n = len(sample.keys), len(sample)
    weights = sample.weights / sample.weights.mean()
    counts = np.bincount(place, weights, minlength=11 * k).reshape(k, 11)
    covariance = sample.covariance_of(sparse.csr_array((weights, place, np.arange(n + 1)), shape=(n, 11 * k)))
    table = pd.concat(
        [_spikes(sample, counts, covariance, answer, confidence) for answer in NEIGHBOURS], ignore_index=True
    )
    eligible = ((table["n"] >= VERY_SMALL) & ~np.tile(sample.hidden, len(NEIGHBOURS))).to_numpy()
    table["p_adjusted"] = adjusted_p_values(np.where(eligible, table["p_value"], np.nan), correction="holm")
    spike = (table["p_adjusted"] < 1 - confidence).to_numpy()
    table["verdict"] = np.select([spike, eligible], ["spike", "not established"], "base too small").astype(object)
    gone = np.tile(sample.hidden, len(NEIGHBOURS))
    order = np.arange(len(table))
    for p in ("p_value", "p_adjusted"):
        order = order[digits.descending(-table[p].to_numpy()[order])]
    summary = {
        "n": n, "n_effective": sample.n_effective, "family": int(eligible.sum()),
        "method": "local log ratio against the other groups, Holm", "established": bool((spike & ~gone).any()),
    }  # fmt: skip
    shown = hide(table, gone).iloc[order].reset_index(drop=True)
    return made(
        AnswerSpikes, "answer_spikes", survey, asked, by, shown, summary, sample.checks, hidden=sample.hidden.sum(),
        confidence=confidence,
    )  # fmt: skip


def _spikes(sample, counts, covariance, answer: int, confidence: float) -> pd.DataFrame:
    """Return by group how far one answer stands above its neighbours, compared with all other groups."""
    signs = {answer: 1.0} | {other: -c for other, c in NEIGHBOURS[answer].items()}
    k, rest = len(counts), counts.sum(axis=0) - counts
    difference, pull = np.zeros(k), np.zeros((k, k, 11))
    for a, sign in signs.items():
        difference += sign * (np.log(counts[:, a] + 0.5) - np.log(rest[:, a] + 0.5))
        pull[:, :, a] = -sign / (rest[:, a] + 0.5)[:, None]
        pull[np.arange(k), np.arange(k), a] = sign / (counts[:, a] + 0.5)
    pull = pull.reshape(k, -1)
    error = np.sqrt(np.maximum(np.einsum("ij,jk,ik->i", pull, covariance, pull), 0.0))
    half = stats.t.ppf((1 + confidence) / 2, sample.units.df) * error
    with np.errstate(invalid="ignore", divide="ignore"):
        columns = {"share": counts[:, answer] / counts.sum(axis=1), "rest": rest[:, answer] / rest.sum(axis=1)}
        p = np.where(error > 0, stats.t.sf(difference / error, sample.units.df), 1.0)
    return sample.keys.assign(
        term=answer, estimate=np.exp(difference), conf_low=np.exp(difference - half), conf_high=np.exp(difference + half),
        p_value=p, **columns, n=sample.n,
    )  # fmt: skip
