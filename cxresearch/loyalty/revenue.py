"""Revenue against loyalty: how much more revenue goes with a point, and how sure that is."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from os import PathLike

import numpy as np
import pandas as pd
from scipy import stats

from cxresearch import digits
from cxresearch.errors import DataProblem, require_choice, require_share
from cxresearch.figures import PALETTE, QUIET, axes_or_new, titled, wrap
from cxresearch.findings import ENDS, Check, Finding, Shown, ends, listing, number, p_words, percent
from cxresearch.inference import critical_value
from cxresearch.loyalty import models
from cxresearch.loyalty.cases import SHAPES, Cases, as_columns, cases_of
from cxresearch.loyalty.glm import gradient
from cxresearch.loyalty.hidden import benchmark_bounds, contour, hidden_cause, levels_model
from cxresearch.loyalty.models import MODELS, PER_POINT, Plan, RevenueFit, estimate, plan_for
from cxresearch.loyalty.refusals import leak_check, leaks, refuse_lagged_revenue
from cxresearch.loyalty.sentences import money, percent_point, say, signed, size_interval, told
from cxresearch.loyalty.timing import Timing, timed
from cxresearch.privacy import pool_small_groups
from cxresearch.survey import Table, as_survey, as_table

WEAK = 0.02  # of the deviance: below it the score hardly tells customers' revenue apart
STRAIGHT = 0.05  # p of a test of the line under which it bends


@dataclass(frozen=True, repr=False, eq=False)
class RevenueFinding(Finding):
    """What the findings on loyalty and revenue share: the score, the level of the intervals, the reasons against."""

    loyalty: str = ""
    confidence: float = 0.95
    reasons: tuple[str, ...] = ()
    currency: str | None = None
    notes: tuple[str, ...] = ()  # clauses that the reader must not miss
    results: object = None  # statsmodels', or a dict of them by model or group
    cases: Cases | None = None  # of one fit
    fit: RevenueFit | None = None

    @property
    def model(self):
        if self.fit is not None:
            return models.library_results(self.cases, self.fit)
        return self.results or super().model

    @property
    def words(self) -> dict[str, str]:
        """The labels of score and revenue, for templates."""
        return {"score": self.label(self.loyalty), "revenue": self.label(self.outcome)}

    @property
    def unit_per_point(self) -> str:
        return f"% more {self.label(self.outcome)} per point of {self.label(self.loyalty)} (below zero: less)"

    @classmethod
    def of(cls, function: str, s: Cases, table, summary: dict, tested, *, reasons=(), **own):
        """Return the finding on cases, whose bases and survey it states; `own` is what this one holds besides."""
        whole = {"n": s.n, "n_effective": s.n_effective} | summary
        given = dict(outcome=s.revenue, group=None, loyalty=s.loyalty)
        if s.survey is not None:
            given |= dict(labels=s.survey.labels, currency=s.survey.currency, domain=s.survey.condition)
        whole.setdefault("established", not reasons)
        return cls(function, table=table, summary=whole, tested=tuple(tested), reasons=reasons, **(given | own))


@dataclass(frozen=True, repr=False, eq=False)
class LoyaltyRevenue(RevenueFinding):
    """Revenue against a loyalty score.

    `tidy` holds coefficients on the model's scale (log of mean revenue; of the odds in part any) with the percentage
    they amount to; `tables` adds groups, with_and_without, shape, bounds, curve. `model` gives statsmodels' results, whose
    `summary()` shows the model's errors and not the design's.
    """

    @property
    def chart(self):
        return Shown("groups", *ENDS, f"Mean revenue per customer, {self.currency or 'money'}")

    def sentence(self) -> str:
        g, n, sides = self.summary, number(self.summary["n"], 0), self.further["with_and_without"]
        held = [self.label(c) for c in self.cases.controls]
        clauses = [say("held", controls=listing(held)) if held else say("nothing held")]
        clauses += [percent_point(sides.iloc[0], self.confidence, "bare")] if len(sides) > 1 else []
        if self.reasons:
            first = say("point open", reasons=listing(self.reasons), **self.words)
            return told(first, percent_point(g, self.confidence, "reading", n=n), *clauses, *self.notes)
        first = percent_point(g, self.confidence, "point", n=n, **self.words)
        size = dict(sign=g["money"], decimals=2, unit=self.currency or "")
        between = size_interval(g["money_low"], g["money_high"], self.confidence, **size)
        amount, rising = money(g["money"], self.currency), number(g["rising"], 0)
        second = say(signed("money", g["money"]), money=amount, interval=between, rising=rising)
        share = g["explained"]  # a small one with a decimal, and in words where it rounds to nothing
        shown = "under 0.1 %" if 0 < share < 0.0005 else percent(max(share, 0), 1)
        return told(first, second, *clauses, say("weak" if share < WEAK else "strength", share=shown), *self.notes)

    def plot(self, ax=None):
        """Draw mean revenue by score: as it is (dots) and as the model has it (line, band)."""
        ax = axes_or_new(ax)
        curve = self.further["curve"].dropna(subset=["estimate"])
        ax.fill_between(curve["score"], curve["conf_low"], curve["conf_high"], color=PALETTE[0], alpha=0.2, linewidth=0)
        ax.plot(curve["score"], curve["estimate"], color=PALETTE[0], label="model, controls as they are")
        ax.plot(curve["score"], curve["observed"], "o", color=QUIET, label="observed mean")
        ceiling = 1.15 * float(np.nanmax(curve[["observed", "conf_high"]].to_numpy()))
        ax.set(ylim=(0, ceiling), xlabel=wrap(self.label(self.loyalty), 60), ylabel="")
        ax.legend(loc="lower right")
        title = percent_point(self.summary, self.confidence)
        title = "What a point goes with: not established" if self.reasons else title
        return titled(ax, title, f"{self.label(self.outcome)}, {self.currency or 'money'} per customer")

    def plot_sensitivity(self, ax=None):
        """Draw what a hidden cause would leave of the linear model in levels, by its strength; zero is the thick line."""
        ax = axes_or_new(ax)
        most = min(0.9, max(0.05, 2.5 * self.summary["robustness_value"]))
        strength, remaining = contour(levels_model(self.cases), most=most)
        lines = ax.contour(strength, strength, remaining, levels=8, colors=QUIET, linewidths=0.8)
        ax.clabel(lines, fmt="%.3g", fontsize=8)
        ax.contour(strength, strength, remaining, levels=[0], colors=PALETTE[1], linewidths=2)
        once = self.further["bounds"].query("times == 1").dropna(subset=["r2_score"])
        for row in once.itertuples():
            seen, control = max(row.r2_score, row.r2_revenue) <= most, wrap(self.label(row.term))
            at = ([row.r2_score], [row.r2_revenue]) if seen else ([], [])
            words = f"as strong as {control}" if seen else f"beyond the figure: as strong as {control}"
            ax.plot(*at, "D", color=PALETTE[0] if seen else QUIET, label=words)
        ax.set_xlabel(f"partial R² of a hidden cause with {wrap(self.label(self.loyalty), 40)}")
        ax.set_ylabel(f"partial R² with {wrap(self.label(self.outcome), 30)}")
        if len(once):
            ax.legend(loc="upper right", frameon=True)
        unit = f"{self.currency or 'money'} per point left, linear model in levels; thick: none"
        share = number(100 * self.summary["robustness_value"])
        return titled(ax, f"A hidden cause must explain {share} % of what is left of both", unit)


def fit_loyalty_revenue(
    customers, *, revenue: str, loyalty: str, controls: Sequence[str] = (), model: str = "poisson",
    shape: str = "linear", effects: Sequence[str] = (), asked: str | None = None, revenue_from=None,
    confidence: float = 0.95, min_rows: int = 100, threads: int | None = None, memory_limit: str | None = None,
) -> LoyaltyRevenue:  # fmt: skip
    """Regress revenue on a loyalty score and say what a point goes with.

    The headline is the mean of revenue with every score a point higher over the mean as it is, among customers who
    can rise a point within the scale, less 1; in the default model exactly exp(b) - 1. Quasi-likelihood (Santos Silva &
    Tenreyro 2006) with HC1, clustered (Cameron, Gelbach & Miller 2011) or linearised (Binder 1983) errors; under 40
    clusters the cluster jackknife (MacKinnon, Nielsen & Webb 2023), or CR2 for 'log_ols'. t quantiles on n - p,
    clusters - 1, or clusters - strata degrees of freedom.

    Parameters
    ----------
    customers : Survey or DataFrame, Table or path
        One row per customer, or per customer and period. A Table (`as_table`) or the path or pattern of Parquet or CSV
        files is read by the database engine, in cells: scores must be whole, controls are categories, numbers too.
    revenue, loyalty
        Columns of money per customer in the window, zero or more, and of the score, on any numeric scale.
    controls
        Columns held constant: numbers as they are, text and yes/no as categories.
    model
        'poisson' (zeros kept), 'gamma' (zeros kept, variance as the mean squared), 'log_ols' (customers with revenue
        only, Duan smearing, by score group when spreads differ) or 'two_part'.
    shape
        How the score enters: 'linear' or 'groups'.
    effects
        Up to two columns (customer, period) whose groups get an intercept each: 'poisson' and 'log_ols'.
    asked, revenue_from
        Column that dates the score; first day of the revenue window, a column or a date. A score measured on or after
        that day takes the headline away. None: not known.
    threads, memory_limit
        Of the engine, for a table in files; a limit such as '500MB' makes it spill to disk.

    Raises
    ------
    DataProblem
        Negative or missing revenue, currencies or scales mixed, a constant score, one cluster, a control that is made
        of the revenue, an option that the model does not have; `TooFewRespondents` for fewer than `min_rows` complete
        rows, or persons than the floor.

    Examples
    --------
    >>> print(cx.fit_loyalty_revenue(matched, revenue="revenue", loyalty="recommend", controls=["affluence"]))
    One point more of Would recommend us goes with 3.9 % more revenue per customer (95 % ...
    """
    require_choice("model", model, MODELS)
    require_choice("shape", shape, SHAPES)
    require_share("confidence", confidence)
    question = dict(revenue=revenue, loyalty=loyalty, controls=controls, min_rows=min_rows)
    if isinstance(customers, (Table, str, PathLike)):
        from cxresearch.loyalty.cells import cells_as_cases, leak_of_cells

        if effects or asked is not None or revenue_from is not None:
            why = "a table in files is read in cells without them"
            raise DataProblem(f"effects, asked and revenue_from need a DataFrame; {why}")
        s = cells_as_cases(as_table(customers), threads=threads, memory_limit=memory_limit, **question)
        labels, when, leak = as_table(customers).labels, Timing(), leak_of_cells(s)
    else:
        if threads is not None or memory_limit is not None:
            raise DataProblem("threads and memory_limit are the engine's; they go with a path, or with as_table(...)")
        survey = as_survey(customers)
        s = cases_of(survey, effects=effects, **question)
        if len(s.effects) == 2:
            refuse_lagged_revenue(survey.table, revenue, s.controls, *as_columns("effects", effects))
        labels, when, leak = survey.labels, timed(survey.table, asked, revenue_from, s.rows), leaks(s.score, s.y)
    plan = plan_for(s, model, shape)
    got = estimate(s, plan, seen=True)
    head = got.headline(confidence)
    reasons = reasons_against(head["percent_low"], head["percent_high"], when.late, leak)
    bare = s.holding(())
    sides = [("nothing", estimate(bare, plan_for(bare, plan.name, plan.shape), seen=True))] if s.controls else []
    sides = [(held, side.headline(confidence)) for held, side in [*sides, (", ".join(s.controls) or "nothing", got)]]
    sides = pd.DataFrame([{"held": held, **{k: h[k] for k in PER_POINT}, "n": s.n} for held, h in sides])
    bends, levels, trap = tests_of_shape(s, plan), levels_model(s), models.log_trap(s, got, confidence)
    (groups, hidden), (curve, hidden_scores) = revenue_by_group(s, confidence), revenue_by_score(s, got, confidence)
    trapped = [say(signed("trap", trap[0]), percent=number(abs(trap[0])))] if trap and trap[1] else []
    summary = {
        "received": s.received, "dropped": s.received - s.n,
        "method": f"{plan.model.words}; score {plan.shape}" + (f"; {len(s.y) // 2} cells" if s.drawn is None else ""),
        "errors": got.errors, **head, "established": not reasons, "explained": models.explained(s, got),
        "rising": int(round(np.sum(s.counts * digits.at_most(s.score + 1, s.scale.top)))),
        **hidden_cause(levels, head, confidence),
    }  # fmt: skip
    further = {
        "groups": groups, "with_and_without": sides, "shape": bends.drop(columns=["low", "high"]),
        "bounds": benchmark_bounds(s, confidence=confidence), "curve": curve,
    }  # fmt: skip
    return LoyaltyRevenue.of(
        "fit_loyalty_revenue", s, _coefficients(got, confidence), summary,
        _checks(s, got, sides, bends, trap, when, leak), reasons=reasons, labels=labels, further=further,
        suppressed=hidden + hidden_scores, confidence=confidence, cases=s, fit=got,
        notes=(*bend_words(bends, plan), when.words(), *trapped),
    )  # fmt: skip


def reasons_against(low: float, high: float, late: float | None, leak: str | None) -> tuple[str, ...]:
    """Return why a headline with the interval `low` to `high` cannot be given; empty when it can."""
    reasons = ["the interval holds zero"] if not low * high > 0 else []
    if late:
        reasons.append(f"the score was measured after the revenue window began for {percent(late)} of customers")
    if leak:
        reasons.append(f"the score gives the revenue away ({leak})")
    return tuple(reasons)


def tests_of_shape(s: Cases, plan: Plan) -> pd.DataFrame:
    """Return tests that the line bends or steps differ, and `low` and `high`, the neighbours with the largest step."""
    code, rows = s.scale.group(s.score), []
    met = np.unique(code)
    means = np.bincount(code, s.weights * s.y)[met] / np.bincount(code, s.weights)[met]
    at = int(np.argmax(np.abs(np.diff(means)))) if len(met) > 1 else 0
    where = s.scale.names[met[at]], s.scale.names[met[min(at + 1, len(met) - 1)]]
    bends, three = len(s.scale.knots) >= 3, len(s.scale.names) == 3
    for shape, test in [("spline", "curvature")] * bends + [("groups", "upper step = lower step")] * three:
        found = np.nan, np.nan
        try:
            got = estimate(s, replace(plan, shape=shape))
            first = s.scale.terms(s.loyalty, shape)[0]
            eye, k = np.eye(len(got.coef)), len(got.coef)
            at = np.flatnonzero([t == first if shape == "groups" else "[bend " in t for t in got.terms])
            R = eye[at + 1] - 2 * eye[at] if shape == "groups" else eye[at]
            found = wald(R @ got.coef, R @ got.covariance[:k, :k] @ R.T, float(got.df[0]))
        except DataProblem:  # a score group without any revenue has no finite coefficient; its check then says so
            pass
        rows.append((shape, test, *found, *where))
    return pd.DataFrame(rows, columns=["shape", "test", "statistic", "p_value", "low", "high"])


def wald(value, covariance, df: float) -> tuple[float, float]:
    """Return F and p for the hypothesis that all of `value` (k,) are zero, on k and `df` degrees of freedom."""
    k = len(value)
    statistic = float(value @ np.linalg.pinv(covariance, hermitian=True) @ value) / k
    return statistic, float(stats.f.sf(statistic, k, df))


def bend_words(bends: pd.DataFrame, plan: Plan) -> tuple[str, ...]:
    """Return the sentence that the line is not straight and where the change lies, or nothing."""
    bent = bends[(bends["test"] == "curvature") & (bends["p_value"] < STRAIGHT)]
    if plan.shape != "linear" or not len(bent):
        return ()
    row = bent.iloc[0]
    return (say("bend", p=p_words(row["p_value"]), low=row["low"], high=row["high"]),)


def revenue_by_group(s: Cases, confidence: float) -> tuple[pd.DataFrame, int]:
    """Return mean money, median, zeros and largest share by group of the score, small ones pooled; and how many are hidden."""
    names = pd.Series(np.array(s.scale.names, dtype=object)[s.scale.group(s.score)])
    shown = names if s.drawn is None else pool_small_groups(names, min_base=s.min_base)
    order = [g for g in dict.fromkeys((*s.scale.names, *pd.unique(shown))) if g in set(shown)]
    code = shown.map({g: i for i, g in enumerate(order)}).to_numpy(dtype=int)
    n, mean, low, high, largest = _money(s, code, len(order), confidence)
    median = [np.nan if s.drawn is None else weighted_median(s, code == g) for g in range(len(order))]
    zeros = np.bincount(code, s.weights * s.zeros) / np.bincount(code, s.weights)
    table = pd.DataFrame({"group": order, "n": n, "estimate": mean, "conf_low": low, "conf_high": high})
    return s.hide(table.assign(median=median, zeros=zeros, largest_share=largest), code)


def _money(s: Cases, code, k: int, confidence: float) -> tuple[np.ndarray, ...]:
    """Return n, mean revenue with its t interval (a domain's, a ratio), and the largest customer's part by code."""
    member = (code[:, None] == np.arange(k)).astype(float) * s.weights[:, None]
    total = s.y @ member
    mean = total / member.sum(axis=0)
    influence = member * (s.y[:, None] - mean) / member.sum(axis=0)
    n = np.bincount(code, s.counts, minlength=k).round().astype(int)
    df = np.full(k, s.df(1)) if s.clusters else np.minimum(s.df(1), n - 1)
    reach = np.array([critical_value(confidence, d) if d > 0 else np.nan for d in df])
    half = reach * np.sqrt(np.diag(s.covariance(influence, 1)))
    largest = [s.largest[code == g].max() / total[g] if total[g] > 0 else 0.0 for g in range(k)]
    return n, mean, mean - half, mean + half, np.array(largest)


def weighted_median(s: Cases, inside) -> float:
    """Return the middle revenue of the rows `inside`, halfway between two where exactly half the weight lies under."""
    at = dict(weights=s.weights[inside], method="inverted_cdf")
    return float(np.quantile(s.y[inside], 0.5, **at) - np.quantile(-s.y[inside], 0.5, **at)) / 2


def revenue_by_score(s: Cases, got: RevenueFit, confidence: float) -> tuple[pd.DataFrame, int]:
    """Return observed and fitted mean revenue at up to eleven values of the score, and how many are hidden."""
    levels, code = np.unique(s.score, return_inverse=True)
    if len(levels) > 11:
        cut = np.unique(np.quantile(s.score, np.linspace(0, 1, 11)))
        code = np.unique(np.clip(np.searchsorted(cut, s.score, side="left") - 1, 0, None), return_inverse=True)[1]
        levels = np.bincount(code, s.score) / np.bincount(code)
    plan, share, k = got.plan, s.weights / s.weights.sum(), len(got.coef)
    at = [np.full(len(code), v) for v in levels]
    cases = [(s.X(plan.shape, v), s.scale.group(v)) for v in at]
    means = lambda coef: np.log([share @ got.mean(coef, *case) for case in cases])  # noqa: E731
    logs, slopes = means(got.coef), gradient(means, got.coef)
    spread = np.sqrt(np.maximum(np.diag(slopes @ got.covariance[:k, :k] @ slopes.T), 0))
    half = critical_value(confidence, float(got.df[0])) * spread
    n, observed, *_, largest = _money(s, code, len(levels), confidence)
    fitted = {"estimate": np.exp(logs), "conf_low": np.exp(logs - half), "conf_high": np.exp(logs + half)}
    table = pd.DataFrame({"score": levels, "n": n, "observed": observed, **fitted, "largest_share": largest})
    return s.hide(table, code)


def _coefficients(got: RevenueFit, confidence: float) -> pd.DataFrame:
    rows = []
    for i, (part, term) in enumerate(zip(got.parts, got.terms)):
        value, low, high, p = got.interval(i, confidence)
        error = float(np.sqrt(max(got.covariance[i, i], 0.0)))
        shown = part != "smear" and term != "(intercept)"
        percents = 100 * np.expm1([value, low, high]) if shown else [np.nan] * 3
        numbers = {"estimate": value, "std_error": error, "conf_low": low, "conf_high": high, "p_value": p}
        rows.append({"part": part, "term": term, **numbers, **ends("percent", *percents)})
    return pd.DataFrame(rows)


def _checks(s: Cases, fit: RevenueFit, sides, bends, trap, when: Timing, leak) -> list[Check]:
    plan, lost, most = fit.plan, s.received - s.n, 0.2
    why = ", ".join(f"{reason}: {n}" for reason, n in s.dropped.items())
    value = f"{lost} of {s.received}" + (f" ({why})" if why else "")
    found = [
        Check("customers left out", value, f"at most {100 * most:.0f} %", lost <= most * s.received), s.zeros_check(),
        when.check(), leak_check(leak), s.clusters_check(),
    ]  # fmt: skip
    slope, power = models.park_of(s, fit), plan.model.power
    of, whose = (" of the amounts", "their") if len(fit.offsets) > 1 else ("", "the")
    limit = f"within 0.5 of {power:.2g}; else errors stay valid and another model is more precise"
    suits = bool(np.isnan(slope) or abs(slope - power) <= 0.5)
    found.append(Check(f"variance{of} grows as this power of {whose} mean (Park)", slope, limit, suits))
    bare, held = sides.iloc[0], sides.iloc[-1]
    if len(sides) > 1:
        name, limit = "percent per point without and with controls", "without lies in the interval with"
        value = f"{bare['percent']:.1f} % without, {held['percent']:.1f} % with"
        found.append(Check(name, value, limit, bool(held["percent_low"] <= bare["percent"] <= held["percent_high"])))
    if plan.spread_p is not None:
        name, p = "log revenue spreads alike in the score groups (p)", plan.spread_p
        limit = "at least 0.05; below it smearing goes by group and the coefficient alone misleads"
        found.append(Check(name, p, limit, p >= 0.05))
    if trap is not None:
        found.append(trap_check(f"{trap[0]:.1f} % against {held['percent']:.1f} %", not trap[1]))
    return found + line_checks(bends, plan.shape == "linear")


def trap_check(value: str, agrees: bool) -> Check:
    """Return the check that log-OLS reads what the means read."""
    return Check("coefficient of log revenue agrees with the means", value, "same sign, within the interval", agrees)


def line_checks(bends: pd.DataFrame, line: bool = True) -> list[Check]:
    """Return the checks of a straight line, which only a model with one can fail."""
    limit = "at least 0.05 for a straight line"
    return [
        Check(f"{b.test} (p)", b.p_value, limit, not line or bool(b.p_value >= STRAIGHT)) for b in bends.itertuples()
    ]
