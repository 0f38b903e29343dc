"""Are drivers of one segment or wave the drivers of another? Shares side by side, and their differences."""

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import combinations

import numpy as np
import pandas as pd

from cxresearch.drivers.certainty import draw_all
from cxresearch.drivers.figures import legend_below
from cxresearch.drivers.linear import model_test
from cxresearch.drivers.parts import METHODS
from cxresearch.drivers.question import ask, check_chance, check_options, names_of, one_thread
from cxresearch.drivers.resampling import ranks, share_draws
from cxresearch.drivers.treatments import MISSING, fit_terms
from cxresearch.errors import DataProblem, require_columns
from cxresearch.figures import PALETTE, axes_or_new, intervals, wrap
from cxresearch.findings import Check, Finding, interval, listing, number, percent
from cxresearch.inference import kish_effective_n, percentile_interval
from cxresearch.privacy import pool_small_groups


@dataclass(frozen=True, repr=False, eq=False)
class DriverComparison(Finding):
    """Importance of the same drivers in several groups.

    ``tidy()``: one row per group and driver, as `driver_importance`. ``tables()["differences"]``: per pair of groups
    and driver the difference of shares (0-1), group less other group, with intervals that hold for all rows together.
    """

    def sentence(self) -> str:
        d, s = self.further["differences"], self.summary
        bases = listing(
            f"{g} (n = {number(n, 0)})" for g, n in self.table.groupby("group", sort=False)["n"].first().items()
        )
        apart = d[d["told_apart"]]
        if apart.empty:
            return (
                f"Not established that the drivers of {self.label(self.outcome)} differ between {bases}: no "
                f"share's difference excludes zero "
                f"when all {len(d)} are looked at together."
            )
        most = apart.loc[apart["estimate"].abs().idxmax()]
        return (
            f"Between {bases}, {len(apart)} of {len(d)} shares differ. The largest difference is "
            f"{self.label(most['term'])}: {most['group']} less "
            f"{most['other_group']} {number(100 * most['estimate'])} points of share "
            f"({interval(100 * most['conf_low'], 100 * most['conf_high'], s['confidence'])}, "
            "all comparisons together)."
        )

    def plot(self, ax=None):
        order = self.table.groupby("term")["share"].mean().sort_values(ascending=False).index
        groups = list(self.table["group"].unique())
        ax = axes_or_new(ax, rows=len(order) * (1 + len(groups) // 2) + 2)
        for k, g in enumerate(groups):
            t = self.table[self.table["group"] == g].set_index("term").loc[order]
            intervals(
                ax,
                [self.label(x) for x in order],
                100 * t["share"],
                100 * t["share_low"],
                100 * t["share_high"],
                colour=PALETTE[k % len(PALETTE)],
                offset=0.5 * (k - (len(groups) - 1) / 2) / len(groups),
                label=wrap(str(g)),
            )
        ax.set_xlim(left=0)
        ax.set_xlabel(f"Share of the explained variance (%), with {percent(self.summary['confidence'])} interval")
        ax.set_title(f"What goes with {wrap(self.label(self.outcome), 50)}, by {wrap(self.label(self.group), 30)}")
        legend_below(ax, columns=min(len(groups), 4))
        return ax


@one_thread
def compare_drivers(
    responses: pd.DataFrame,
    *,
    outcome: str,
    drivers,
    by: str,
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
    weight: str | None = None,
    strata: str | None = None,
    cluster: str | None = None,
    fpc: str | None = None,
    labels: Mapping[str, str] | None = None,
    min_base: int = 1,
) -> DriverComparison:
    """Compare the drivers' shares between the values of `by`, a segment or a wave.

    Each group is analysed as `driver_importance` does (see there for the parameters). Differences are drawn by
    independent bootstraps of the groups; their intervals are the bootstrap standard error times one critical value
    for all pairs and drivers. Respondents who answered in several groups make them too wide, not too narrow, when
    they answer alike. Groups under `min_base` are pooled first.

    Raises
    ------
    DataProblem
        As `driver_importance`, naming the group; also where `by` has fewer than two groups.
    """
    require_columns(responses, by, where="responses")
    check_options(confidence=confidence, method=(method, METHODS), missing=(missing, MISSING))
    check_chance(n_boot, seed)
    if not n_boot:
        raise DataProblem("compare_drivers needs replicates to say whether shares differ; give n_boot of at least 100")
    groups = pool_small_groups(responses[by], min_base=min_base)
    names = sorted(groups.dropna().unique(), key=str)
    if len(names) < 2:
        raise DataProblem(f"{by!r} has {len(names)} group(s); at least two are needed to compare drivers")
    options = dict(
        outcome=outcome,
        drivers=names_of(drivers),
        blocks=blocks,
        always=names_of(always),
        not_applicable=not_applicable,
        missing=missing,
        min_rows=min_rows,
        min_base=min_base,
        design=dict(weight=weight, strata=strata, cluster=cluster, fpc=fpc),
    )
    found = {
        g: _one(responses[groups == g], g, by, options, dict(kind=kind, r2=r2, method=method), n_boot, (seed, k))
        for k, g in enumerate(names)
    }
    table = pd.concat([_rows(g, fit, draws, confidence) for g, (fit, draws) in found.items()], ignore_index=True)
    n = sum(len(fit.terms) for fit, _ in found.values())
    weights = np.concatenate([fit.terms.weights for fit, _ in found.values()])
    summary = {
        "n": n,
        **({"n_effective": kish_effective_n(weights)} if weight else {}),
        "method": f"{method} in each group, independent bootstraps",
        "confidence": confidence,
        "n_boot": n_boot,
    }
    return DriverComparison(
        "compare_drivers",
        outcome,
        by,
        table,
        summary,
        _checks(found, confidence),
        dict(labels or {}),
        {"differences": _differences(found, confidence)},
    )


def _one(rows, group, by, options, model, n_boot, seed):
    try:
        terms, _ = ask(rows, function="compare_drivers", **options)
        fit = fit_terms(terms, missing=options["missing"], seed=seed[0], **model)
    except DataProblem as problem:
        raise type(problem)(f"{by} = {group!r}: {problem}") from None
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


def _differences(found, confidence) -> pd.DataFrame:
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
    return table.assign(std_error=error, conf_low=low, conf_high=high, told_apart=(low > 0) | (high < 0))


def _checks(found, confidence) -> tuple[Check, ...]:
    fewest = min(len(fit.terms) for fit, _ in found.values())
    unsure = [g for g, (fit, _) in found.items() if model_test(fit)[0] > 1 - confidence]
    return (
        Check("rows of the smallest group", fewest, "at least 200", fewest >= 200),
        Check("groups whose drivers are not beyond chance", listing(unsure), "none", not unsure),
    )
