"""Are drivers of one segment or wave the drivers of another? Shares side by side, and their differences."""

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import combinations

import numpy as np
import pandas as pd

from cxresearch import digits
from cxresearch.drivers.certainty import draw_all
from cxresearch.drivers.figures import legend_below
from cxresearch.drivers.likelihood import R2
from cxresearch.drivers.linear import model_test
from cxresearch.drivers.parts import METHODS
from cxresearch.drivers.question import ask, check_chance, check_options, names_of, one_thread
from cxresearch.drivers.resampling import ranks, share_draws
from cxresearch.drivers.terms import check_question, numeric
from cxresearch.drivers.treatments import KINDS, MISSING, NOT_APPLICABLE, fit_terms
from cxresearch.errors import DataProblem, TooFewRespondents, require_columns
from cxresearch.figures import PALETTE, axes_or_new, intervals, wrap
from cxresearch.findings import Check, Finding, interval, listing, number, percent
from cxresearch.inference import kish_effective_n, percentile_interval
from cxresearch.privacy import pool_small_groups, require_base
from cxresearch.survey import as_survey


@dataclass(frozen=True, repr=False, eq=False)
class DriverComparison(Finding):
    """Importance of the same drivers in several groups.

    ``tidy()``: one row per group and driver, as `driver_importance`. ``tables()["differences"]``: per pair of groups
    and driver the difference of shares (0-1), group less other group, with intervals that hold for all rows together.
    """

    left_out: tuple[str, ...] = ()
    by_chance: tuple[str, ...] = ()

    def sentence(self) -> str:
        d, s = self.further["differences"], self.summary
        if d.empty:
            return (
                f"The drivers of {self.label(self.outcome)} are not compared: {s['method'].removeprefix('none: ')}; "
                f"n = {number(s['n'], 0)}."
            )
        return self._found(d, s) + (
            f" Left out for want of answers: {listing(self.left_out)}." if self.left_out else ""
        )

    def _found(self, d, s) -> str:
        bases = listing(
            f"{g} (n = {number(n, 0)})" for g, n in self.table.groupby("group", sort=False)["n"].first().items()
        )
        apart = d[d["told_apart"]]
        chance = f"in {listing(self.by_chance)} they go with it no more than chance gives" if self.by_chance else ""
        if apart.empty:
            why = chance or f"no share's difference excludes zero when all {len(d)} are looked at together"
            return f"Not established that the drivers of {self.label(self.outcome)} differ between {bases}: {why}."
        most = digits.largest(apart.assign(size=apart["estimate"].abs()), "size")
        verb = "differs" if len(apart) == 1 else "differ"
        return (
            f"Between {bases}, {len(apart)} of {len(d)} shares {verb}. The largest difference is "
            f"{self.label(most['term'])}: {most['group']} less "
            f"{most['other_group']} {number(100 * most['estimate'])} points of share "
            f"({interval(100 * most['conf_low'], 100 * most['conf_high'], s['confidence'])}, "
            f"all comparisons together){'; ' if chance else ''}{chance}."
        )

    def plot(self, ax=None):
        shares = self.table.groupby("term")["share"].mean()
        order = shares.index[digits.descending(shares, shares.index)]
        groups = list(self.table["group"].unique())
        if not groups:
            ax = axes_or_new(ax, rows=1)
            ax.set_axis_off()
            ax.set_title("no two groups to compare")
            return ax
        ax = axes_or_new(ax, rows=round(len(order) * (0.6 + 0.3 * len(groups))) + 2)
        for k, g in enumerate(groups):
            t = self.table[self.table["group"] == g].set_index("term").loc[order]
            intervals(
                ax,
                [self.label(x) for x in order],
                100 * t["share"],
                100 * t["share_low"],
                100 * t["share_high"],
                colour=PALETTE[k % len(PALETTE)],
                offset=0.7 * (k - (len(groups) - 1) / 2) / len(groups),
                label=wrap(str(g)),
            )
        ax.set_xlim(left=0)
        ax.set_xlabel(f"Share of the explained variance (%), with {percent(self.summary['confidence'])} interval")
        ax.set_title(f"What goes with {wrap(self.label(self.outcome), 50)}, by {wrap(self.label(self.group), 30)}")
        legend_below(ax, columns=min(len(groups), 4))
        return ax


@one_thread
def compare_drivers(
    responses,
    *,
    outcome: str,
    drivers,
    by: str | None,
    kind: str = "linear",
    r2: str = "mcfadden",
    method: str = "shapley",
    blocks: Mapping[str, list[str]] | None = None,
    always=(),
    not_applicable: str = "exposure",
    missing: str = "em",
    n_boot: int = 1000,
    confidence: float = 0.95,
    min_rows: int = 100,
    seed: int,
) -> DriverComparison:
    """Compare the drivers' shares between the values of `by`, a segment or a wave.

    Each group is analysed as `driver_importance` does (see there for the parameters). Differences are drawn by
    independent bootstraps of the groups; their intervals are the bootstrap standard error times one critical value
    for all pairs and drivers. Where the drivers of a group are not beyond chance, its shares are noise and none of
    them is told apart. Respondents who answered in several groups make them too wide, not too narrow, when
    they answer alike. Groups under `min_base` are pooled first; those with too few answers are left out and named.

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
    Between 18-29 (n = 610), 30-44 (n = 592), 45-59 (n = 518) and 60+ (n = 433), 1 of 18 shares ...
    """
    survey = as_survey(responses)
    responses = survey.table
    weight, strata, cluster, fpc = survey.design
    labels, min_base = survey.labels, survey.min_base
    require_columns(responses, by, weight, strata, cluster, fpc, where="responses")
    check_options(
        confidence=confidence,
        kind=(kind, KINDS),
        r2=(r2, R2),
        method=(method, METHODS),
        missing=(missing, MISSING),
        not_applicable=(not_applicable, NOT_APPLICABLE),
    )
    check_chance(n_boot, seed)
    if not n_boot:
        raise DataProblem("compare_drivers needs replicates to say whether shares differ; give n_boot of at least 100")
    drivers, always = names_of(drivers), names_of(always)
    check_question(responses, outcome=outcome, drivers=drivers, blocks=blocks, always=always)
    options = dict(
        outcome=outcome,
        drivers=drivers,
        blocks=blocks,
        always=always,
        not_applicable=not_applicable,
        missing=missing,
        min_rows=min_rows,
        min_base=min_base,
        design=dict(weight=weight, strata=strata, cluster=cluster, fpc=fpc),
    )
    model = dict(kind=kind, r2=r2, method=method)
    found, left_out = _each_group(responses, by, options, model, n_boot, seed)
    shown = (outcome, by, confidence, n_boot, labels)
    if len(found) < 2:
        return _not_compared(responses, found, left_out, min_base, *shown)
    return _compared(found, left_out, method, weight is not None, *shown)


def _compared(found, left_out, method, weighted, outcome, by, confidence, n_boot, labels) -> DriverComparison:
    chance = [g for g, (fit, _) in found.items() if model_test(fit.terms, fit.moments)[0] > 1 - confidence]
    weights = np.concatenate([fit.terms.weights for fit, _ in found.values()])
    summary = {
        "n": len(weights),
        **({"n_effective": kish_effective_n(weights)} if weighted else {}),
        "method": f"{method} in each group, independent bootstraps",
        "confidence": confidence,
        "n_boot": n_boot,
    }
    return DriverComparison(
        "compare_drivers",
        outcome,
        by,
        pd.concat([_rows(g, fit, draws, confidence) for g, (fit, draws) in found.items()], ignore_index=True),
        summary,
        _checks(found, left_out, chance),
        dict(labels or {}),
        {"differences": _differences(found, chance, confidence)},
        tuple(map(str, left_out)),
        tuple(map(str, chance)),
    )


def _each_group(responses, by, options, model, n_boot, seed) -> tuple[dict, dict]:
    """Return fit and draws by group, and what is wrong with the groups that have too few answers."""
    if by is None:
        return {}, {}
    groups = pool_small_groups(responses[by], min_base=options["min_base"])
    found, left_out = {}, {}
    for k, g in enumerate(sorted(groups.dropna().unique(), key=str)):
        try:
            found[g] = _one(responses[groups == g], g, by, options, model, n_boot, (seed, k))
        except TooFewRespondents as problem:
            left_out[g] = str(problem)
    return found, left_out


def _not_compared(responses, found, left_out, min_base, outcome, by, confidence, n_boot, labels) -> DriverComparison:
    answered = int((~np.isnan(numeric(responses, outcome))).sum())
    if not answered:
        raise TooFewRespondents(f"no row of {len(responses)} answered {outcome!r} and can be used")
    require_base(answered, min_base=min_base, what="compare_drivers")
    have = f"of {len(found) + len(left_out)} group(s) of {by}, {len(found)} can be analysed, and two are needed"
    have += f" ({next(iter(left_out.values()))})" if left_out else ""
    why = "there is no column of groups" if by is None else have
    columns = ["group", "term", "estimate", "conf_low", "conf_high", "share", "share_low", "share_high", "rank", "n"]
    summary = {
        "n": answered,
        "method": f"none: {why}",
        "confidence": confidence,
        "n_boot": n_boot,
    }
    return DriverComparison(
        "compare_drivers",
        outcome,
        by,
        pd.DataFrame(columns=columns),
        summary,
        (Check("groups that can be analysed", len(found), "at least 2", False),),
        dict(labels or {}),
        {"differences": pd.DataFrame(columns=["group", "other_group", *columns[1:5], "std_error", "told_apart"])},
        tuple(map(str, left_out)),
    )


def _one(rows, group, by, options, model, n_boot, seed):
    try:
        terms, _ = ask(rows, function="compare_drivers", **options)
        fit = fit_terms(terms, missing=options["missing"], seed=seed[0], **model)
    except DataProblem as problem:
        raise type(problem)(f"{by} = {getattr(group, 'item', lambda: group)()!r}: {problem}") from None
    return fit, draw_all(fit, n_boot=n_boot, seed=seed)


def _rows(group, fit, draws, confidence) -> pd.DataFrame:
    low, high = percentile_interval(draws.parts, confidence)
    share_low, share_high = percentile_interval(share_draws(draws.parts), confidence)
    return pd.DataFrame(
        {
            "group": group,
            "term": list(fit.terms.names),
            "estimate": fit.parts,
            "conf_low": low,
            "conf_high": high,
            "share": fit.parts / fit.parts.sum(),
            "share_low": share_low,
            "share_high": share_high,
            "rank": ranks(fit.parts),
            "n": len(fit.terms),
        }
    )


def _differences(found, chance, confidence) -> pd.DataFrame:
    rows, centred = [], []
    for a, b in combinations(found, 2):
        drawn = share_draws(found[a][1].parts) - share_draws(found[b][1].parts)
        estimate = found[a][0].parts / found[a][0].parts.sum() - found[b][0].parts / found[b][0].parts.sum()
        rows.append(
            pd.DataFrame({"group": a, "other_group": b, "term": list(found[a][0].terms.names), "estimate": estimate})
        )
        centred.append(drawn - drawn.mean(axis=0))
    table, centred = pd.concat(rows, ignore_index=True), np.concatenate(centred, axis=1)
    error = np.maximum(centred.std(axis=0, ddof=1), 1e-12)
    half = np.quantile(np.abs(centred / error).max(axis=1), confidence) * error
    low, high = table["estimate"] - half, table["estimate"] + half
    sure = ~table[["group", "other_group"]].isin(chance).any(axis=1)
    return table.assign(std_error=error, conf_low=low, conf_high=high, told_apart=((low > 0) | (high < 0)) & sure)


def _checks(found, left_out, chance) -> tuple[Check, ...]:
    fewest = min(len(fit.terms) for fit, _ in found.values())
    return (
        Check("rows of the smallest group", fewest, "at least 200", fewest >= 200),
        Check("groups left out for want of answers", listing(map(str, left_out)), "none", not left_out),
        Check("groups whose drivers are not beyond chance", listing(map(str, chance)), "none", not chance),
    )
