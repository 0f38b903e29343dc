"""Are drivers of one segment or wave the drivers of another? Shares side by side, and their differences."""

from dataclasses import dataclass, replace
from itertools import combinations

import numpy as np
import pandas as pd
import seaborn as sns

from cxresearch import digits
from cxresearch.drivers.model import fit, half_widths, legend_below, share_unit
from cxresearch.drivers.question import ask, check_options, check_question, names_of, numeric, one_thread
from cxresearch.drivers.sentences import none_of, say
from cxresearch.drivers.shapley import ranks, share_of
from cxresearch.errors import DataProblem, TooFewRespondents, require_columns
from cxresearch.figures import axes_or_new, intervals, titled, wrap
from cxresearch.findings import Check, Finding, ends, interval, listing, nothing, number
from cxresearch.inference import percentile_interval
from cxresearch.survey import UNSTATED, Survey, as_survey, kish_effective_n


@dataclass(frozen=True, repr=False, eq=False)
class DriverComparison(Finding):
    """Importance of the same drivers in several groups.

    ``tidy()``: one row per group and driver, as `driver_importance`. ``tables()["differences"]``: per pair of groups
    and driver the difference of shares (0-1), group less other group, with intervals that hold for all rows together.
    """

    left_out: tuple[str, ...] = ()
    by_chance: tuple[str, ...] = ()
    untested: tuple[str, ...] = ()

    @property
    def model(self):
        raise DataProblem("compare_drivers fits one model a group; ask driver_importance of survey.where(...) for one")

    def headline(self) -> str:
        d, words = self.further["differences"], {"outcome": self.label(self.outcome)}
        apart, words["k"] = int(d["told_apart"].sum()), self.table["group"].nunique()
        if not apart:
            return say("alike", **words)
        return say("differs", all=len(d), **words) if apart == 1 else say("differ", all=len(d), apart=apart, **words)

    def sentence(self) -> str:
        d, unsure = self.further["differences"], [*self.by_chance, *self.untested]
        bases, apart = self.table.groupby("group", sort=False)["n"].first(), d[d["told_apart"]]
        groups = listing(f"{g} (n = {number(n, 0)})" for g, n in bases.items())
        if not len(apart):
            why = say("why_none", all=len(d))
            if unsure:
                key = "why_chance" if self.by_chance else "why_few"
                why = say(key, groups=listing(self.by_chance or self.untested))
            said = [self.headline(), say("alike_note", groups=groups, why=why)]
        else:
            most = digits.largest(apart.assign(size=apart["estimate"].abs()), "size")
            bounds = interval(100 * most["conf_low"], 100 * most["conf_high"], self.summary["confidence"])
            whose = {"term": self.label(most["term"]), "group": most["group"], "other": most["other_group"]}
            largest = say("largest", difference=number(100 * most["estimate"]), interval=bounds, **whose)
            said = [self.headline(), say("compared", groups=groups), largest]
            said += [say("by_chance", groups=listing(unsure))] if unsure else []
        said += [say("left_out", groups=listing(self.left_out))] if self.left_out else []
        return " ".join(said)

    def plot(self, ax=None):
        shares = self.table.groupby("term")["share"].mean()
        order = shares.index[digits.descending(shares, shares.index)]
        groups = list(self.table["group"].unique())
        ax = axes_or_new(ax, rows=round(len(order) * (0.6 + 0.3 * len(groups))) + 2)
        names = [self.label(x) for x in order]
        shades = sns.color_palette("blend:#7898B0,#00304F", len(groups))  # one hue: groups are no kinds of their own
        for k, g in enumerate(groups):
            t = 100 * self.table.query("group == @g").set_index("term").loc[order].filter(like="share")
            look = {"colour": shades.as_hex()[k], "label": wrap(str(g))}
            intervals(ax, names, *t.to_numpy().T, offset=0.7 * (k - (len(groups) - 1) / 2) / len(groups), **look)
        ax.set_xlim(left=0)
        ax.set_xlabel(share_unit(self.summary))
        legend_below(ax, columns=min(len(groups), 4))
        return titled(ax, self.title)


@one_thread
def compare_drivers(
    responses, *, outcome: str, drivers, by: str | None, not_applicable: str = "exposure", missing: str = "em",
    n_boot: int = 1000, confidence: float = 0.95, min_rows: int = 100, seed: int,
) -> Finding:  # fmt: skip
    """Compare the drivers' shares between the values of `by`, a segment or a wave.

    Each group is analysed as `driver_importance` does (see there for the parameters), as a domain of the survey: all
    groups share the replicates of its design, so that clusters that lie in several groups, and respondents where they
    are the clusters, count as what they are. The intervals of differences are the bootstrap standard error times one
    critical value for all pairs and drivers. Where the drivers of a group are not beyond chance, or clusters are too
    few to tell, its shares are noise and none of them is told apart. Groups under the floor are pooled first; those
    with too few answers are left out and named; with fewer than two left, or `by` None, nothing is compared. Refused is
    what `driver_importance` refuses, naming the group.

    Examples
    --------
    >>> ask = {"outcome": "satisfaction", "drivers": drivers, "by": "age_group", "n_boot": 100, "seed": 1}
    >>> print(cx.compare_drivers(study.responses, **ask))
    Not established that the drivers of Overall satisfaction differ between 4 groups. Compared are 18-29 (n = 610), ...
    """
    survey = as_survey(responses)
    choices = {"not_applicable": not_applicable, "missing": missing}
    check_options(confidence=confidence, n_boot=n_boot, seed=seed, **choices)
    if not n_boot:
        raise DataProblem("compare_drivers needs replicates; give n_boot of at least 100")
    require_columns(survey.table, by, where="responses")
    check_question(survey.table, outcome=outcome, drivers=names_of(drivers), blocks={}, always=[])
    ask_each = {"outcome": outcome, "drivers": drivers, "min_rows": min_rows, **choices}
    models, left_out, n = _each_group(survey, by, ask_each, seed)
    if len(models) < 2:
        why = "there is no column of groups"
        if by is not None:
            groups, first = len(models) + len(left_out), f" ({next(iter(left_out.values()))})" if left_out else ""
            why = f"of {groups} group(s) of {by}, {len(models)} can be analysed, and two are needed{first}"
        why = f"the drivers of {survey.label(outcome)} are not compared: {why}; n = {number(n, 0)}"
        return nothing("compare_drivers", outcome, by, why, n=n, labels=survey.labels)
    drawn = {g: model.draws(n_boot, seed).parts for g, model in models.items()}
    p_values = {g: model.test() for g, model in models.items()}
    chance = [g for g, p in p_values.items() if p > 1 - confidence]
    untested = [g for g, p in p_values.items() if np.isnan(p)]
    differences = _differences(models, drawn, [*chance, *untested], confidence)
    weights = np.concatenate([model.question.sample.weights for model in models.values()])
    summary = {
        "n": len(weights), **({} if survey.weight is None else {"n_effective": kish_effective_n(weights)}),
        "method": "Shapley (LMG) in each group, one bootstrap of the design", "confidence": confidence,
        "n_boot": n_boot, "established": bool(differences["told_apart"].any()),
    }  # fmt: skip
    table = pd.concat([_rows(g, model, drawn[g], confidence) for g, model in models.items()], ignore_index=True)
    fewest = int(table["n"].min())
    checks = (
        Check("rows of the smallest group", fewest, "at least 200", fewest >= 200),
        none_of("groups left out for want of answers", left_out),
        none_of("groups whose drivers are not beyond chance", chance),
        none_of("groups with too few clusters to test", untested),
    )
    return DriverComparison(
        "compare_drivers", outcome, by, table, summary, checks, dict(survey.labels), {"differences": differences},
        *(tuple(map(str, groups)) for groups in (left_out, chance, untested)),
        suppressed=int((survey.table[by].value_counts() < survey.min_base).sum()), domain=survey.condition,
    )  # fmt: skip


def _each_group(survey: Survey, by, options, seed) -> tuple[dict, dict, int]:
    """Return the model of each group, what is wrong with the groups that have too few answers, and n."""
    sample = survey.sample(~np.isnan(numeric(survey.table[options["outcome"]])), by=by, what="compare_drivers")
    models, left_out = {}, {}
    groups = [] if by is None else sample.keys["group"].tolist()
    whole = np.arange(len(survey.rows)) if survey.domain is None else np.flatnonzero(survey.domain)
    for k, g in enumerate(groups):
        if g == UNSTATED or not (sample.cell == k).any():
            continue
        inside = np.zeros(len(survey.rows), dtype=bool)
        inside[whole[sample.rows[sample.cell == k]]] = True
        try:
            question, _ = ask(replace(survey, domain=inside), function="compare_drivers", **options)
            models[g] = fit(question, seed=seed)
        except DataProblem as problem:
            said = f"{by} = {g!r}: {problem}"
            if not isinstance(problem, TooFewRespondents):
                raise type(problem)(said) from None
            left_out[g] = said
    return models, left_out, len(sample)


def _rows(group, model, drawn, confidence) -> pd.DataFrame:
    parts, (low, high) = model.division.parts, percentile_interval(drawn, confidence)
    return pd.DataFrame(
        {"group": group, "term": list(model.question.names), "estimate": parts, "conf_low": low, "conf_high": high,
         **ends("share", share_of(parts), *percentile_interval(share_of(drawn), confidence)), "rank": ranks(parts),
         "n": len(model.question)}
    )  # fmt: skip


def _differences(models, drawn, unsure, confidence) -> pd.DataFrame:
    rows, differences = [], []
    least = min(map(len, drawn.values()))  # a group may lack an answer in some replicates
    for a, b in combinations(models, 2):
        differences.append(share_of(drawn[a][:least]) - share_of(drawn[b][:least]))
        estimate = share_of(models[a].division.parts) - share_of(models[b].division.parts)
        names = list(models[a].question.names)
        rows.append(pd.DataFrame({"group": a, "other_group": b, "term": names, "estimate": estimate}))
    table, differences = pd.concat(rows, ignore_index=True), np.concatenate(differences, axis=1)
    half = half_widths(differences, confidence)
    low, high = table["estimate"] - half, table["estimate"] + half
    apart = ((low > 0) | (high < 0)) & ~table[["group", "other_group"]].isin(unsure).any(axis=1)
    error = differences.std(axis=0, ddof=1)
    return table.assign(std_error=error, conf_low=low, conf_high=high, told_apart=apart)
