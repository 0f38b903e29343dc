"""The same question under other choices (every model, every choice in one curve) and of other customers (by group)."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import combinations, product

import numpy as np
import pandas as pd
from scipy import stats

from cxresearch.errors import DataProblem, TooFewRespondents, require_columns, require_share
from cxresearch.figures import PALETTE, QUIET, axes_or_new, forest, intervals, titled
from cxresearch.findings import Check, ends, interval, listing, number, p_words, percent
from cxresearch.inference import adjusted_p_values, critical_value
from cxresearch.inference.pooling import between_variance, shrink
from cxresearch.loyalty import models
from cxresearch.loyalty.cases import Cases, as_columns, cases_of
from cxresearch.loyalty.models import MODELS, PER_POINT, estimate, plan_for
from cxresearch.loyalty.refusals import leak_check, leaks
from cxresearch.loyalty.revenue import RevenueFinding, reasons_against, revenue_by_group, trap_check
from cxresearch.loyalty.sentences import percent_point, say, signed, told
from cxresearch.loyalty.timing import timed
from cxresearch.privacy import pool_small_groups
from cxresearch.survey import as_survey

MOST_CONTROLS = 4  # of which every subset is taken; with more, all, none, and all but one
CAP = 0.01  # share of the largest revenues set to the quantile beneath them


@dataclass(frozen=True, repr=False, eq=False)
class RevenueModels(RevenueFinding):
    """Percent and money per point by model (`term`); `tables` adds groups and left_out, `model` is a dict by model."""

    trap: tuple[float, bool] | None = None

    def sentence(self) -> str:
        t, g = self.table, self.summary
        clear = int(((t["percent_low"] > 0) | (t["percent_high"] < 0)).sum())
        low, high = number(t["percent"].min()), number(t["percent"].max())
        first = say("models", k=len(t), low=low, high=high, clear=clear, n=number(g["n"], 0), **self.words)
        clauses = [say("models open", reasons=listing(self.reasons))] if self.reasons else []
        clauses.append(say("models suit", park=number(g["park"]), suits=g["suits"]))
        if self.trap is not None and self.trap[1]:
            row = t.set_index("term").loc["log_ols"]
            between = interval(row["percent_low"], row["percent_high"], self.confidence)
            naive, means = number(self.trap[0]), number(row["percent"])
            clauses.append(say("models trap", naive=naive, percent=means, interval=between))
        return told(first, *clauses)

    def plot(self, ax=None):
        """Draw percent per point and its interval by model, with zero marked."""
        t = self.table
        title = f"{len(t)} models read from {number(t['percent'].min())} to {number(t['percent'].max())} %"
        names = [MODELS[m].words for m in t["term"]]
        return forest(t, "percent", names=names, unit=self.unit_per_point, title=title, line=0, ax=ax)


def compare_revenue_models(
    customers, *, revenue: str, loyalty: str, controls: Sequence[str] = (), asked: str | None = None, revenue_from=None,
    confidence: float = 0.95, min_rows: int = 100,
) -> RevenueModels:  # fmt: skip
    """Put the question of `fit_loyalty_revenue` to every model that can answer it.

    Parameters are those of `fit_loyalty_revenue`. Without customers of zero revenue there are no two parts; what was left
    out is in ``tables()["left_out"]``. The Park slope (Manning & Mullahy 2001) names the model whose variance suits. In
    log-OLS, revenue whose log spreads differently in the score groups makes exp(b) - 1 differ from the ratio of means,
    even in sign (Manning 1998).

    Examples
    --------
    >>> finding = cx.compare_revenue_models(matched, revenue="revenue", loyalty="recommend", controls=["affluence"])
    >>> finding.tidy()["term"].tolist()
    ['poisson', 'gamma', 'log_ols', 'two_part']
    """
    require_share("confidence", confidence)
    survey, held = as_survey(customers), dict(controls=controls, min_rows=min_rows)
    s = cases_of(survey, revenue=revenue, loyalty=loyalty, **held, what="compare_revenue_models")
    fits, left_out, rows = {}, [], []
    for name in MODELS:
        try:
            fits[name] = got = estimate(s, plan_for(s, name), seen=True)
        except DataProblem as problem:
            if name == "poisson":
                raise
            left_out.append({"term": name, "why": str(problem)})
            continue
        head = {k: v for k, v in got.headline(confidence).items() if k in PER_POINT or k.startswith("ratio")}
        n = int(np.sum(s.y > 0)) if MODELS[name].smeared else s.n
        rows.append({"term": name, **head, "explained": models.explained(s, got), "n": n})
    trap = models.log_trap(s, fits["log_ols"], confidence) if "log_ols" in fits else None
    when, leak = timed(survey.table, asked, revenue_from, s.rows), leaks(s.score, s.y)
    slope, (groups, hidden) = models.park_of(s, fits["poisson"]), revenue_by_group(s, confidence)
    table, agrees = pd.DataFrame(rows), not (trap and trap[1])
    signs = table["percent"].map(np.sign).nunique()
    low, high = table["percent_low"].max(), table["percent_high"].min()
    tested = (
        Check("models agree in sign", signs, "one sign", signs == 1),
        Check("intervals of all models share a value", f"{low:.1f} to {high:.1f} %", "low end under high end", low <= high),
        trap_check("agrees" if agrees else "differs", agrees), when.check(), leak_check(leak),
    )  # fmt: skip
    return RevenueModels.of(
        "compare_revenue_models", s, table,
        {"method": f"{len(rows)} models; score linear", "park": slope, "suits": suits(slope)}, tested,
        reasons=reasons_against(rows[0]["percent_low"], rows[0]["percent_high"], when.late, leak), trap=trap,
        further={"groups": groups, "left_out": pd.DataFrame(left_out, columns=["term", "why"])}, confidence=confidence,
        results={name: got.results for name, got in fits.items() if got.results}, suppressed=hidden,
    )  # fmt: skip


def suits(slope: float) -> str:
    """Return the model whose variance grows with the mean most like `slope`."""
    if not np.isfinite(slope):
        return "any (fitted means hardly differ)"
    return "a linear model" if slope < 0.5 else "poisson" if slope < 1.5 else "gamma"


@dataclass(frozen=True, repr=False, eq=False)
class SpecificationCurve(RevenueFinding):
    """Percent per point under every choice of model, controls and capping, in order of size; `model` is the default's."""

    def sentence(self) -> str:
        t, g, n = self.table, self.summary, number(self.summary["n"], 0)
        row, one_sign = t.iloc[int(g["rank"]) - 1], t["percent"].min() * t["percent"].max() > 0
        read = sorted(t["percent"].abs() if one_sign else t["percent"])
        key = signed("choices", row["percent"]) if one_sign else "choices open"
        first = say(key, k=len(t), n=n, low=number(read[0]), high=number(read[-1]), **self.words)
        above, below, median = percent(g["share"]), percent(g["share_below"]), number(t["percent"].median())
        default = percent_point(row, self.confidence, "choices default", rank=number(g["rank"], 0))
        return told(first, say("choices sides", above=above, below=below, median=median), default)

    def plot(self, ax=None):
        """Draw percent per point with its interval in order of size, the default marked."""
        ax = axes_or_new(ax)
        t, at = self.table, np.arange(1, len(self.table) + 1)
        ax.vlines(at, t["percent_low"], t["percent_high"], color=QUIET, linewidth=1)
        counts = t["held"].map(lambda held: 0 if held == "nothing" else 1 + held.count(", "))
        all_held = (counts > 0) & (counts == counts.max())
        kinds = {"no control": (QUIET, counts == 0), "some controls": (PALETTE[2], (counts > 0) & ~all_held)}
        for words, (colour, which) in (kinds | {"all controls": (PALETTE[0], all_held)}).items():
            if which.any():
                ax.plot(at[which], t["percent"][which], "o", markersize=4, color=colour, label=words)
        i = int(self.summary["rank"])
        ax.plot([i], [t["percent"].iloc[i - 1]], "o", color=PALETTE[1], label="the default: Poisson, all controls")
        ax.axhline(0, color="black", linewidth=0.8)
        ax.set(xlabel="choices, lowest estimate first", ylabel="")
        ax.legend(loc="lower right")
        title = f"{len(t)} choices read from {number(t['percent'].min())} to {number(t['percent'].max())} %"
        return titled(ax, title, self.unit_per_point)


def specification_curve(
    customers, *, revenue: str, loyalty: str, controls: Sequence[str] = (), confidence=0.95, min_rows: int = 100
) -> SpecificationCurve:
    """Put the question under every choice: four models, subsets of the controls, revenue as it is or its top 1 % capped.

    Parameters are those of `fit_loyalty_revenue`. All choices use the same customers: the complete cases of all
    controls. Up to four controls enter in every subset; more in all, none, and all but one. The choices are not
    independent, so the share of intervals above zero is a description and no test (Simonsohn, Simmons & Nelson 2020).
    Where choices read on both sides of zero nothing is established.

    Examples
    --------
    >>> print(cx.specification_curve(matched, revenue="revenue", loyalty="recommend", controls=["affluence"]))
    Under 16 choices of model, controls and capping, a point of Would recommend us goes with ...
    """
    require_share("confidence", confidence)
    question = dict(revenue=revenue, loyalty=loyalty, controls=controls, min_rows=min_rows)
    whole = cases_of(as_survey(customers), **question, what="specification_curve")
    every = list(specifications(whole, lambda s, plan: estimate(s, plan, seen=True)))
    found = [(choice, got) for choice, got in every if got is not None]
    failed = len(every) - len(found)
    heads = [got.headline(confidence) for _, got in found]
    rows = [choice | {k: head[k] for k in PER_POINT[:4]} | {"n": whole.n} for (choice, _), head in zip(found, heads)]
    default = {"model": "poisson", "held": ", ".join(whole.controls) or "nothing", "capped": 0.0}
    table = pd.DataFrame(rows).sort_values(["percent", "model", "held", "capped"], ignore_index=True)
    rank = int(np.flatnonzero((table[list(default)] == list(default.values())).all(axis=1))[0]) + 1
    above, below = float((table["percent_low"] > 0).mean()), float((table["percent_high"] < 0).mean())
    sign = float(max((table["percent"] > 0).mean(), (table["percent"] < 0).mean()))
    low, high = table.loc[rank - 1, ["percent_low", "percent_high"]]
    summary = {
        "method": f"{len(table)} specifications", "share": above, "share_below": below, "rank": rank,
        "established": sign == 1 and bool(low * high > 0),
    }  # fmt: skip
    one_side = max(above, below)
    tested = (
        Check("estimates share one sign", sign, "1", sign == 1, "stops"),
        Check("intervals that exclude zero on one side", one_side, "at least 0.95", one_side >= 0.95),
        Check("specifications that could not be fitted", failed, "0", failed == 0),
    )
    results = next(got.results for choice, got in found if choice == default)
    own = dict(confidence=confidence, results=results)
    return SpecificationCurve.of("specification_curve", whole, table, summary, tested, **own)


def specifications(whole: Cases, ask):
    """Yield every choice, on the same customers, with what `ask` makes of its cases and plan; None if not to be fitted."""
    cap, controls = float(np.quantile(whole.y, 1 - CAP)), whole.controls
    sizes = range(len(controls) + 1) if len(controls) <= MOST_CONTROLS else (0, len(controls) - 1, len(controls))
    subsets = [held for k in sizes for held in combinations(controls, k)]  # fewest first
    for (capped, y), held in product(((0.0, whole.y), (CAP, np.minimum(whole.y, cap))), subsets):
        s = whole.holding(held, y=y)
        for name in MODELS:
            try:
                found = ask(s, plan_for(s, name))
            except DataProblem:
                found = None
            yield {"model": name, "held": ", ".join(held) or "nothing", "capped": capped}, found


FEWEST_GROUPS = 4  # from which the spread between groups can be estimated


@dataclass(frozen=True, repr=False, eq=False)
class LoyaltyByGroup(RevenueFinding):
    """Percent per point: `percent` drawn towards the mean of groups, `own` of the group alone; `model` is a dict by group."""

    def sentence(self) -> str:
        g, t, by, n = self.summary, self.table, self.label(self.group), number(self.summary["n"], 0)
        apart, own = t[t["p_adjusted"] < 1 - self.confidence], len(t) < FEWEST_GROUPS
        between, key = interval(g["percent_low"], g["percent_high"], self.confidence), "own" if own else "percent"
        clauses = [say("groups mean", percent=number(g["percent"]), interval=between), *[say("groups own")] * own]
        if not len(apart):
            return told(say("groups alike", by=by, p=p_words(g["p_value"]), n=n, **self.words), *clauses)
        ends = [interval(r[f"{key}_low"], r[f"{key}_high"], self.confidence) for _, r in apart.iterrows()]
        named = [f"{name} ({number(v)} %, {end})" for name, v, end in zip(apart["group"], apart[key], ends)]
        first = say("groups apart", k=len(apart), groups=len(t), by=by, n=n, **self.words)
        return told(first, say("groups which", named=listing(named)), *clauses)

    def plot(self, ax=None):
        """Draw percent per point by group: own (grey) and drawn towards the mean, with intervals."""
        t, apart = self.table, self.table["p_adjusted"] < 1 - self.confidence
        ax = axes_or_new(ax, rows=2 * len(t))
        own, drawn = ([t[f"{name}{end}"] for end in ("", "_low", "_high")] for name in ("own", "percent"))
        intervals(ax, t["group"], *own, colour=QUIET, offset=0.16, label="the group alone")
        intervals(ax, t["group"], *drawn, offset=-0.16, label="drawn towards the mean")
        ax.axvline(0, color=QUIET, linewidth=1)
        ax.legend(loc="lower right")
        return titled(ax, f"{apart.sum()} of {len(t)} groups depart from the mean", self.unit_per_point)


def loyalty_by_group(
    customers, *, revenue: str, loyalty: str, by: str, controls: Sequence[str] = (), confidence=0.95, min_rows=100
) -> LoyaltyByGroup:
    """Fit the default model in each group of `by` and draw the estimates towards their mean.

    Parameters are those of `fit_loyalty_revenue`. Groups under the floor are pooled; groups under `min_rows` complete
    rows, or that cannot be fitted, are left out and counted. The spread between groups is estimated by Paule & Mandel (1982). A group's estimate is drawn towards the mean as
    far as its precision asks, and its interval allows for not knowing the spread (Morris 1983); with fewer than four
    groups it is not estimable and nothing is drawn. That a group departs from the mean of all is tested group by group
    on its own estimate, corrected by Benjamini & Hochberg (1995); that groups differ at all by Cochran's Q.

    Examples
    --------
    >>> print(cx.loyalty_by_group(matched, revenue="revenue", loyalty="recommend", by="region"))
    That a point of Would recommend us goes with different revenue by Region is not established ...
    """
    survey = as_survey(customers)
    require_share("confidence", confidence)
    table = survey.table
    require_columns(table, by, where="the table of customers")
    groups = pool_small_groups(table[by].astype(object), min_base=max(survey.min_base, 2))
    held = tuple(c for c in as_columns("controls", controls) if c != by)
    question = dict(revenue=revenue, loyalty=loyalty, controls=held, min_rows=min_rows, what="loyalty_by_group")
    inside = np.ones(len(survey.rows), dtype=bool) if survey.domain is None else survey.domain
    rows, results, left_out = [], {}, []
    for name in sorted(groups.dropna().unique(), key=str):
        try:
            domain = inside.copy()
            domain[inside] = (groups == name).to_numpy()
            s = cases_of(replace(survey, domain=domain), **question)  # errors stay those of a domain of one survey
            got = estimate(s, seen=True)
        except DataProblem as problem:
            left_out.append({"group": str(name), "why": str(problem)})
            continue
        at, results[str(name)] = got.terms.index(loyalty), got.results
        error, df = float(np.sqrt(got.covariance[at, at])), float(got.df[at])
        rows.append((str(name), float(got.values[at]), error, df, s.n, s.n_effective))
    if len(rows) < 2:
        raise TooFewRespondents(
            f"loyalty_by_group needs two groups of at least {min_rows} complete rows in {by}; found {len(rows)}"
        )
    own = pd.DataFrame(rows, columns=["group", "b", "error", "df", "n", "n_effective"])
    shown, summary = _drawn(own, confidence)
    tested = (
        Check("groups left out", len(left_out), "0", not left_out),
        Check("groups whose spread can be estimated", len(own), f"at least {FEWEST_GROUPS}", len(own) >= FEWEST_GROUPS),
    )
    return LoyaltyByGroup(
        "loyalty_by_group", revenue, by, shown, summary, tested, labels=survey.labels,
        further={"left_out": pd.DataFrame(left_out, columns=["group", "why"])}, loyalty=loyalty, confidence=confidence,
        currency=survey.currency, results=results, domain=survey.condition,
    )  # fmt: skip


def _drawn(own: pd.DataFrame, confidence: float) -> tuple[pd.DataFrame, dict]:
    """Return the table of groups and the summary of the whole."""
    b, variance, k, z = own["b"].to_numpy(), np.square(own["error"].to_numpy()), len(own), critical_value(confidence)
    w = 1 / (variance + between_variance(b, variance))
    mean, share = w @ b / w.sum(), w / w.sum()
    drawn = shrink(b, variance, confidence=confidence)
    apart = np.sqrt(variance * (1 - 2 * share) + np.sum(share**2 * variance))  # error of a group less the mean with it
    p = 2 * stats.norm.sf(np.abs(b - mean) / np.maximum(apart, 1e-300))
    half = np.array([critical_value(confidence, d) for d in own["df"]]) * own["error"].to_numpy()
    as_percent = lambda values: 100 * np.expm1(values)  # noqa: E731
    columns = ends("percent", *map(as_percent, (drawn.estimate, drawn.low, drawn.high)))
    columns |= ends("own", *map(as_percent, (b, b - half, b + half)))
    table = pd.DataFrame({"group": own["group"], **columns, "n": own["n"]})
    table["p_adjusted"] = adjusted_p_values(p, correction="bh")
    fixed = 1 / variance
    scatter = float(np.sum(fixed * np.square(b - fixed @ b / fixed.sum())))  # Cochran's Q
    p_value = float(stats.chi2.sf(scatter, k - 1))
    reach = z / np.sqrt(w.sum())
    return table, {
        "n": int(own["n"].sum()), "n_effective": float(own["n_effective"].sum()),
        "method": f"Poisson quasi-likelihood in each of {k} groups, drawn towards their mean", "errors": "as a domain",
        **{key: float(as_percent(v)) for key, v in ends("percent", mean, mean - reach, mean + reach).items()},
        "std_between": float(np.sqrt(between_variance(b, variance))), "p_value": p_value,
        "established": bool((table["p_adjusted"] < 1 - confidence).any()),
    }  # fmt: skip
