"""Are drivers of one segment or wave the drivers of another? Shares side by side, and their differences."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from itertools import combinations

import numpy as np
import pandas as pd

from cxresearch import digits
from cxresearch.drivers.certainty import half_widths
from cxresearch.drivers.figures import legend_below, share_unit
from cxresearch.drivers.model import Draws, Model, fit
from cxresearch.drivers.question import (
    KINDS,
    MISSING,
    NOT_APPLICABLE,
    ask,
    check_options,
    check_question,
    names_of,
    numeric,
    one_thread,
)
from cxresearch.drivers.sentences import say
from cxresearch.drivers.shapley import ranks, share_of
from cxresearch.errors import DataProblem, TooFewRespondents, require_columns
from cxresearch.figures import PALETTE, axes_or_new, intervals, titled, wrap
from cxresearch.findings import Check, Finding, interval, listing, nothing, number
from cxresearch.inference import percentile_interval
from cxresearch.survey import UNSTATED, Survey, as_survey
from cxresearch.survey.units import kish_effective_n


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
        """Return the first sentence."""
        d, outcome, k = self.further["differences"], self.label(self.outcome), self.table["group"].nunique()
        apart = int(d["told_apart"].sum())
        if not apart:
            return say("alike", outcome=outcome, k=k)
        many = {} if apart == 1 else {"apart": apart}
        return say("differs" if apart == 1 else "differ", all=len(d), outcome=outcome, k=k, **many)

    def sentence(self) -> str:
        d, said = self.further["differences"], [self.headline()]
        bases = self.table.groupby("group", sort=False)["n"].first()
        groups = listing(f"{g} (n = {number(n, 0)})" for g, n in bases.items())
        why = say("why_none", all=len(d))
        if self.by_chance:
            why = say("why_chance", groups=listing(self.by_chance))
        elif self.untested:
            why = say("why_few", groups=listing(self.untested))
        apart, unsure = d[d["told_apart"]], [*self.by_chance, *self.untested]
        said.append(say("compared", groups=groups) if len(apart) else say("alike_note", groups=groups, why=why))
        if len(apart):
            most = digits.largest(apart.assign(size=apart["estimate"].abs()), "size")
            ends = interval(100 * most["conf_low"], 100 * most["conf_high"], self.summary["confidence"])
            said.append(say(
                "largest", term=self.label(most["term"]), group=most["group"], other=most["other_group"],
                difference=number(100 * most["estimate"]), interval=ends,
            ))  # fmt: skip
            if unsure:
                said.append(say("by_chance", groups=listing(unsure)))
        if self.left_out:
            said.append(say("left_out", groups=listing(self.left_out)))
        return " ".join(said)

    def plot(self, ax=None):
        shares = self.table.groupby("term")["share"].mean()
        order = shares.index[digits.descending(shares, shares.index)]
        groups = list(self.table["group"].unique())
        ax = axes_or_new(ax, rows=round(len(order) * (0.6 + 0.3 * len(groups))) + 2)
        names = [self.label(x) for x in order]
        for k, g in enumerate(groups):
            t = 100 * self.table[self.table["group"] == g].set_index("term").loc[order, _SHARES]
            look = {"colour": PALETTE[k % len(PALETTE)], "label": wrap(str(g))}
            intervals(ax, names, *t.to_numpy().T, offset=0.7 * (k - (len(groups) - 1) / 2) / len(groups), **look)
        ax.set_xlim(left=0)
        ax.set_xlabel(share_unit(self.summary))
        legend_below(ax, columns=min(len(groups), 4))
        return titled(ax, self.headline())


_SHARES = ["share", "share_low", "share_high"]


@one_thread
def compare_drivers(
    responses, *, outcome: str, drivers, by: str | None, kind: str = "linear",
    blocks: Mapping[str, list[str]] | None = None, always=(), not_applicable: str = "exposure", missing: str = "em",
    n_boot: int = 1000, confidence: float = 0.95, min_rows: int = 100, seed: int,
) -> Finding:  # fmt: skip
    """Compare the drivers' shares between the values of `by`, a segment or a wave.

    Each group is analysed as `driver_importance` does (see there for the parameters), as a domain of the survey: all
    groups share the replicates of its design, so that clusters that lie in several groups, and respondents where they
    are the clusters, count as what they are. The intervals of differences are the bootstrap standard error times one
    critical value for all pairs and drivers. Where the drivers of a group are not beyond chance, or clusters are too
    few to tell, its shares are noise and none of them is told apart. Groups under the floor are pooled first; those
    with too few answers are left out and named.

    Parameters
    ----------
    by : column, or None where a study has none
        With fewer than two groups that can be analysed the finding says that nothing is compared.

    Raises
    ------
    DataProblem
        As `driver_importance`, naming the group.

    Examples
    --------
    >>> import cxresearch as cx
    >>> study = cx.open_study("data/example/study.yml")
    >>> drivers = ["products", "staff", "delivery"]
    >>> finding = cx.compare_drivers(
    ...     study.responses, outcome="satisfaction", drivers=drivers, by="age_group", n_boot=100, seed=1,
    ... )
    >>> print(finding)
    Not established that the drivers of Overall satisfaction differ between 4 groups. Compared are 18-29 (n = 610), ...
    """
    survey = as_survey(responses)
    check_options(
        confidence=confidence, n_boot=n_boot, seed=seed, kind=(kind, KINDS), missing=(missing, MISSING),
        not_applicable=(not_applicable, NOT_APPLICABLE),
    )  # fmt: skip
    if not n_boot:
        raise DataProblem("compare_drivers needs replicates to say whether shares differ; give n_boot of at least 100")
    table = survey.table
    require_columns(table, by, where="responses")
    check_question(table, outcome=outcome, drivers=names_of(drivers), blocks=blocks, always=names_of(always))
    answered = ~np.isnan(numeric(table[outcome]))
    if not answered.any():
        raise TooFewRespondents(f"no row of {len(table)} answered {outcome!r} and can be used")
    options = dict(
        outcome=outcome, drivers=drivers, blocks=blocks, always=always, not_applicable=not_applicable, missing=missing,
        min_rows=min_rows,
    )  # fmt: skip
    found, left_out, n = _each_group(survey, answered, by, options, kind, n_boot, seed)
    if len(found) < 2:
        have = f"of {len(found) + len(left_out)} group(s) of {by}, {len(found)} can be analysed, and two are needed"
        have += f" ({next(iter(left_out.values()))})" if left_out else ""
        why = "there is no column of groups" if by is None else have
        why = f"the drivers of {survey.label(outcome)} are not compared: {why}; n = {number(n, 0)}"
        return nothing("compare_drivers", outcome, by, why, n=n, labels=survey.labels)
    p_values = {g: model.test() for g, (model, _) in found.items()}
    chance = [g for g, p in p_values.items() if p > 1 - confidence]
    untested = [g for g, p in p_values.items() if np.isnan(p)]
    differences = _differences(found, [*chance, *untested], confidence)
    weights = np.concatenate([model.question.weights for model, _ in found.values()])
    summary = {
        "n": len(weights), **({} if survey.weight is None else {"n_effective": kish_effective_n(weights)}),
        "method": "Shapley (LMG) in each group, one bootstrap of the design", "confidence": confidence,
        "n_boot": n_boot, "established": bool(differences["told_apart"].any()),
    }  # fmt: skip
    rows = pd.concat([_rows(g, *parts, confidence) for g, parts in found.items()], ignore_index=True)
    return DriverComparison(
        "compare_drivers", outcome, by, rows, summary, _checks(found, left_out, chance, untested), dict(survey.labels),
        {"differences": differences}, tuple(map(str, left_out)), tuple(map(str, chance)), tuple(map(str, untested)),
        suppressed=int((table[by].value_counts() < survey.min_base).sum()), domain=survey.condition,
    )  # fmt: skip


def _each_group(survey: Survey, answered, by, options, kind, n_boot, seed) -> tuple[dict, dict, int]:
    """Return model and draws by group, what is wrong with the groups that have too few answers, and n."""
    sample = survey.sample(answered, by=by, what="compare_drivers")
    found, left_out = {}, {}
    groups = [] if by is None else sample.keys["group"].tolist()
    whole = np.arange(len(survey.rows)) if survey.domain is None else np.flatnonzero(survey.domain)
    for k, g in enumerate(groups):
        if g == UNSTATED or not (sample.cell == k).any():
            continue
        inside = np.zeros(len(survey.rows), dtype=bool)
        inside[whole[sample.rows[sample.cell == k]]] = True
        try:
            question, _ = ask(replace(survey, domain=inside), function="compare_drivers", **options)
            model = fit(question, kind=kind, seed=seed)
            found[g] = model, model.draws(n_boot, seed)
        except DataProblem as problem:
            said = f"{by} = {g!r}: {problem}"
            if not isinstance(problem, TooFewRespondents):
                raise type(problem)(said) from None
            left_out[g] = said
    return found, left_out, len(sample)


def _rows(group, model: Model, draws: Draws, confidence) -> pd.DataFrame:
    parts, drawn = model.division.parts, share_of(draws.parts)
    (low, high), (share_low, share_high) = (percentile_interval(d, confidence) for d in (draws.parts, drawn))
    return pd.DataFrame(
        {"group": group, "term": list(model.question.names), "estimate": parts, "conf_low": low, "conf_high": high,
         "share": share_of(parts), "share_low": share_low, "share_high": share_high, "rank": ranks(parts),
         "n": len(model.question)}
    )  # fmt: skip


def _differences(found, unsure, confidence) -> pd.DataFrame:
    rows, drawn = [], []
    least = min(len(draws.parts) for _, draws in found.values())  # a group may lack an answer in some replicates
    for a, b in combinations(found, 2):
        drawn.append(share_of(found[a][1].parts[:least]) - share_of(found[b][1].parts[:least]))
        estimate = share_of(found[a][0].division.parts) - share_of(found[b][0].division.parts)
        names = list(found[a][0].question.names)
        rows.append(pd.DataFrame({"group": a, "other_group": b, "term": names, "estimate": estimate}))
    table, drawn = pd.concat(rows, ignore_index=True), np.concatenate(drawn, axis=1)
    half = half_widths(drawn, confidence)
    low, high = table["estimate"] - half, table["estimate"] + half
    sure = ~table[["group", "other_group"]].isin(unsure).any(axis=1)
    return table.assign(
        std_error=drawn.std(axis=0, ddof=1), conf_low=low, conf_high=high, told_apart=((low > 0) | (high < 0)) & sure
    )


def _checks(found, left_out, chance, untested) -> tuple[Check, ...]:
    fewest = min(len(model.question) for model, _ in found.values())
    none = [
        ("groups left out for want of answers", left_out),
        ("groups whose drivers are not beyond chance", chance),
        ("groups with too few clusters to test", untested),
    ]
    smallest = Check("rows of the smallest group", fewest, "at least 200", fewest >= 200)
    return smallest, *(Check(name, listing(map(str, groups)), "none", not groups) for name, groups in none)
