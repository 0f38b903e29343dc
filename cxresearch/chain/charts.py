"""Units against limits that know their base, and periods against a stable process.

References
----------
Spiegelhalter (2005), Statistics in Medicine 24:1185-1202 (funnels); Montgomery (2013), *Statistical Quality Control*;
Laney (2002), Quality Engineering 14:531-537; Champ & Woodall (1987), Technometrics 29:393-399 (run lengths).
"""

from dataclasses import replace

import numpy as np
import pandas as pd
from scipy import special, stats

from cxresearch import digits
from cxresearch.chain.finding import opened
from cxresearch.errors import DataProblem, TooFewRespondents, require_choice
from cxresearch.figures import PALETTE, QUIET, axes_or_new, titled
from cxresearch.findings import Check, Statement, listing, number, words
from cxresearch.inference import adjusted_p_values
from cxresearch.inference.pooling import between_variance

say = words(__package__)

KINDS, CHARTS = ("share", "rate", "mean"), ("mean", "individuals", "share", "rate", "laney")
TAIL, WINSORISED = 0.1, 0.6787  # winsorised at each end; what that leaves of the variance of normal values
SPAN = 1.128  # mean moving range of two normal values, in sd
# Points of a stable process per false alarm, by rules (Champ & Woodall 1987, table 1).
RUN_LENGTH = {(1,): 370.40, (1, 2): 225.44, (1, 3): 166.05, (1, 4): 152.73, (1, 2, 3): 132.89, (1, 2, 4): 122.05,
              (1, 3, 4): 105.78, (1, 2, 3, 4): 91.75}  # fmt: skip
RULES = {2: (3, 2, 2.0), 3: (5, 4, 1.0), 4: (8, 8, 0.0)}  # of so many points so many beyond so many sd, on one side


class Funnel(Statement):
    """One row per unit: value, base, limits at 2 and 3 sd, verdict."""

    def plot(self, ax=None):
        """Draw values against their base within the limits; units that lie outside are named."""
        ax, t = axes_or_new(ax), self.table.sort_values("base_size")
        for column, style in (("limit2_low", ":"), ("limit2_high", ":"), ("limit3_low", "--"), ("limit3_high", "--")):
            ax.plot(t["base_size"], t[column], linestyle=style, color=QUIET, linewidth=1)
        ax.axhline(self.summary["centre"], color=QUIET, linewidth=1)
        out = t["verdict"] != "inside"
        ax.plot(t["base_size"], t["estimate"], "o", color=PALETTE[0], markersize=5)
        ax.plot(t["base_size"][out], t["estimate"][out], "o", color=PALETTE[1], markersize=8)
        for row in t[out].itertuples():
            ax.annotate(self.label(row.unit), (row.base_size, row.estimate), xytext=(5, 4), textcoords="offset points")
        ax.set(xlabel="base", ylabel=self.drawn["unit"])
        return titled(ax, self.title, "dotted: 2 sd, dashed: 3 sd")


def exact_limit(kind: str, centre: float, base, tail: float) -> np.ndarray:
    """Return the interpolated binomial or Poisson limit of a share or rate, not cut at its ends (Spiegelhalter 2005).

    With r the least count whose distribution reaches the tail: (r - (F(r) - tail) / f(r)) / base.
    """
    law = stats.binom(base, centre) if kind == "share" else stats.poisson(np.asarray(base) * centre)
    r = law.ppf(tail)
    return (r - (law.cdf(r) - tail) / law.pmf(r)) / base


def funnel(
    units, *, value: str, base: str, unit: str, kind: str, sd: str | None = None, dispersion: str = "additive",
    confidence: float = 0.95,
) -> Funnel:  # fmt: skip
    """Return which units lie outside limits that know their base and what units commonly differ by.

    Parameters
    ----------
    units : Table or DataFrame
        One row per unit. Units under the floor are left out and counted.
    value, base, unit : columns
        Share (0-1), rate or mean; cases, exposure or answers behind it.
    kind : {"share", "rate", "mean"}
    sd : column, optional
        Standard deviation of a unit's answers, for ``kind="mean"``.
    dispersion : {"additive", "multiplicative", "none"}
        How the units' own spread widens the limits: a variance between them (Paule-Mandel), or a factor of all limits,
        the mean of z^2; from scores winsorised at a tenth of each end (and put back to the normal's variance), so that
        outliers do not hide themselves.

    Raises
    ------
    DataProblem
        Shares outside 0-1, a mean without sd, a unit twice.
    TooFewRespondents
        Fewer than five units.

    Notes
    -----
    Limits of shares and rates are exact, interpolated, and cut at 0 (a share's at 1). The verdict is Holm's over all
    units. Without it 1 unit in 500 lies beyond 3 sd by chance alone.

    Examples
    --------
    >>> import cxresearch as cx
    >>> import pandas as pd
    >>> shops = pd.DataFrame({"shop": list("ABCDEF"), "share": [0.1, 0.12, 0.09, 0.11, 0.1, 0.1], "n": [100] * 6})
    >>> print(cx.funnel(shops, value="share", base="n", unit="shop", kind="share"))
    No unit of 6 lies outside what its base and the common spread allow (Holm). Centre 0.10...
    """
    require_choice("kind", kind, KINDS)
    require_choice("dispersion", dispersion, ("additive", "multiplicative", "none"))
    given = opened(units, value, base, unit, sd, confidence=confidence)
    if kind == "mean" and sd is None:
        raise DataProblem("kind='mean' needs sd=, the column of the standard deviation of a unit's answers")
    if given.table[unit].duplicated().any():
        raise DataProblem(
            f"{unit} {given.table[unit][given.table[unit].duplicated()].iloc[0]!r} stands twice; a funnel has one row per unit"
        )
    y, n = given.numbers(value), given.numbers(base)
    if kind == "share" and digits.outside(y, 0.0, 1.0).any() or (kind == "rate" and (y < 0).any()):
        raise DataProblem(
            f"{value} holds {np.nanmin(y):g} to {np.nanmax(y):g}; a {kind} lies at 0 or above"
            + (" and at most at 1" if kind == "share" else "")
        )
    known = ~np.isnan(y) & (n > 0)
    kept = known & (n >= given.floor)
    if kept.sum() < 5:
        raise TooFewRespondents(
            f"{int(kept.sum())} units have a {value} and a base of {given.floor} or more; a funnel needs five"
        )
    y, n, names = y[kept], n[kept], given.table[unit][kept]
    centre = float(n @ y / n.sum())
    spread = given.numbers(sd)[kept] if sd else np.sqrt(centre * (1 - centre) if kind == "share" else centre)
    error = np.broadcast_to(spread, y.shape) / np.sqrt(n)
    if not (error > 0).all():
        raise DataProblem(f"{value} has no variance by chance (centre {centre:g}): limits cannot be drawn")
    wide, size = _widening((y - centre) / error, error, dispersion)
    limits = {}
    for z in (2, 3):
        tails = (1 - 0.95) / 2 if z == 2 else (1 - 0.998) / 2
        for name, tail in (("low", tails), ("high", 1 - tails)):
            plain = (
                centre + stats.norm.ppf(tail) * error
                if kind == "mean"
                else exact_limit(kind, centre, np.rint(n) if kind == "share" else n, tail)
            )
            reach = centre + wide * (plain - centre)
            limits[f"limit{z}_{name}"] = (
                reach if kind == "mean" else np.clip(reach, 0.0, 1.0 if kind == "share" else np.inf)
            )
    z = (y - centre) / (wide * error)
    p = adjusted_p_values(2 * stats.t.sf(np.abs(z), np.inf if size is None else len(z) - 1), correction="holm")
    verdict = np.where(p < 1 - confidence, np.where(z > 0, "above", "below"), "inside").astype(object)
    table = pd.DataFrame(
        {"unit": names.to_numpy(), "estimate": y, "base_size": n, **limits, "p_adjusted": p, "verdict": verdict}
    )
    out, k, hidden = table[verdict != "inside"], len(table), int((known & ~kept).sum())
    words = (
        say("funnel", first=f"{given.label(out.iloc[np.argmin(out['p_adjusted'])]['unit'])}", k=len(out), units=k) if len(out) else say("funnel calm", units=k),
        say("funnel more", centre=number(centre, 3), expected=number(0.002 * k, 1), units=k, spread=say("plain limits") if size is None
            else say(dispersion, size=number(size, 3 if dispersion == "additive" else 2))),
    )  # fmt: skip
    summary = {"centre": centre, "overdispersion": float(np.mean(((y - centre) / error) ** 2)), "units": k, "n": int(n.sum()),
               "method": f"{kind} funnel, {dispersion} dispersion", "established": bool(len(out))}  # fmt: skip
    check = Check("units under the floor, left out", hidden, "0", hidden == 0, "info")
    return Funnel("funnel", value, unit, table, summary, (check, *given.checks), words=" ".join(words), suppressed=hidden,
                  drawn=dict(unit=given.label(value)), **given.finding)  # fmt: skip


def _widening(z, error, dispersion) -> tuple[np.ndarray, float | None]:
    """Return by what limits are widened, and the size of the units' own spread; None where chance explains it."""
    low, high = np.quantile(z, [TAIL, 1 - TAIL])
    winsorised = np.clip(z, low, high) / np.sqrt(WINSORISED)
    if dispersion == "additive":
        tau2 = between_variance(winsorised * error, error**2)
        return np.sqrt(1 + tau2 / error**2), float(np.sqrt(tau2)) or None
    factor = np.sqrt(max(np.mean(winsorised**2), 1.0)) if dispersion == "multiplicative" else 1.0
    return np.full(z.shape, factor), float(factor) if factor > 1 else None


class ProcessChart(Statement):
    """One row per period (and group): value, centre, limits, signal."""

    def plot(self, ax=None):
        """Draw the periods with their limits (the groups with signals, at most six); signals in rings."""
        ax, t = axes_or_new(ax), self.table
        if "group" in t:
            t = t[t["group"].isin(list(dict.fromkeys(t["group"][t["alarm"] != "none"]))[:6] or t["group"].iloc[:1])]
        waves = sorted(t["wave"].unique())
        for k, (name, part) in enumerate(t.groupby("group", sort=False) if "group" in t else [("", t)]):
            at = [waves.index(w) for w in part["wave"]]
            ax.fill_between(at, part["limit_low"], part["limit_high"], step="mid", color=PALETTE[k], alpha=0.08)
            ax.plot(
                at,
                part["estimate"],
                "o-",
                color=PALETTE[k],
                markersize=4,
                label=self.label(name) if name != "" else None,
            )
            out = (part["alarm"] != "none").to_numpy()
            ax.plot(
                np.array(at)[out],
                part["estimate"][out],
                "o",
                color=PALETTE[6],
                markerfacecolor="none",
                markersize=10,
                zorder=3,
            )
        ax.set_xticks(
            range(len(waves)),
            [str(w) for w in waves],
            rotation=45 if len(waves) > 8 else 0,
            ha="right" if len(waves) > 8 else "center",
        )
        ax.set(xlabel="", ylabel=self.drawn["unit"])
        if "group" in t:
            ax.legend(loc="center left", bbox_to_anchor=(1.0, 0.5))
        return titled(ax, self.title, "band: limits at 3 sd; rings: signals")


def process_chart(
    ratings, *, value: str, period: str, by: str | None = None, kind: str = "mean", baseline: int, rules=(1,),
    confidence: float = 0.95,
) -> Statement:  # fmt: skip
    """Return where a process left its limits, and how many false alarms the rules raise by themselves.

    Parameters
    ----------
    ratings : Survey, Table or DataFrame
        One row per rating; of ``"individuals"`` per period; of ``"rate"`` per thing in which events are counted.
    value, period : columns
        Periods are those that occur, in order.
    by : column, optional
        One chart per group, such as an agent.
    kind : {"mean", "individuals", "share", "rate", "laney"}
        X-bar with the mean S of the baseline, moving ranges, p, u, and p' (Laney).
    baseline : int
        How many first periods set the centre and limits.
    rules : sequence of int
        1 beyond 3 sd; 2 two of three beyond 2; 3 four of five beyond 1; 4 eight on one side. 1 is always among them.
    confidence : float
        Of a change, Holm's over all points beyond 3 sd: signals alone are expected now and then.

    Raises
    ------
    DataProblem
        Rules without 1, fewer than two baseline periods, no variance in the baseline.

    Examples
    --------
    >>> import cxresearch as cx
    >>> import numpy as np
    >>> import pandas as pd
    >>> rng = np.random.default_rng(1)
    >>> ratings = pd.DataFrame({"month": np.repeat(np.arange(12), 30), "score": rng.normal(5, 1, 360)})
    >>> ratings.loc[ratings["month"] == 10, "score"] -= 2
    >>> print(cx.process_chart(ratings, value="score", period="month", baseline=8))
    score: 1 signals, the clearest 10, where 0.0 false alarms are expected in 12 points. ...
    """
    require_choice("kind", kind, CHARTS)
    rules = tuple(sorted(rules))
    if rules not in RUN_LENGTH:
        raise DataProblem(f"rules={rules!r}: choose among 1, 2, 3, 4, rule 1 always among them")
    given = opened(ratings, value, period, by, confidence=confidence)
    table = (
        given.table.assign(**{value: given.numbers(value)})
        .dropna(subset=[value, period, *([by] if by else [])])
        .reset_index(drop=True)
    )
    if kind in ("share", "laney") and not table[value].isin([0, 1]).all():
        raise DataProblem(f"{value} must be 0 or 1 in every row for kind={kind!r}")
    keys = [by, period] if by else [period]
    code = table.groupby(keys, sort=True, observed=True).ngroup().to_numpy()
    cells = table.groupby(keys, sort=True, observed=True)[value].agg(["mean", "std", "size"]).reset_index()
    cells["hidden"] = replace(given, table=table).base(code, np.arange(len(table))) < given.floor
    parts = cells.groupby(by, sort=False, observed=True) if by else [(None, cells)]
    shown = [_chart(part[~part["hidden"]].reset_index(drop=True), kind, baseline, rules, name) for name, part in parts]
    found = (
        pd.concat([part for part in shown if part is not None], ignore_index=True)
        if any(p is not None for p in shown)
        else None
    )
    if found is None:
        raise DataProblem(
            f"baseline={baseline!r}: no chart has two or more baseline periods that vary and one after them"
        )
    p = adjusted_p_values(found.pop("p_value"), correction="holm")
    found = found.rename(columns={"mean": "estimate", "size": "n", period: "wave", **({by: "group"} if by else {})})
    out, points, length = found[found["alarm"] != "none"], len(found), RUN_LENGTH[rules]
    sure, expected = bool((p < 1 - confidence).any()), points / length
    worst = found.iloc[int(np.argmin(p))] if sure else None
    first = (
        "" if not sure else str(worst["wave"]) if by is None else f"{given.label(worst['group'])} in {worst['wave']}"
    )
    known = dict(what=given.label(value), k=len(out), expected=number(expected, 1), cells=points)
    words = (say("signals", first=first, **known) if sure else say("signals open", **known),
             say("run length", rules=listing(rules), length=number(length, 0), baseline=baseline))  # fmt: skip
    hidden = int(cells["hidden"].sum())
    summary = {"baseline": baseline, "signals": len(out), "run_length": length, "n": int(found["n"].sum()),
               "method": f"{kind} chart, rules {listing(rules)}", "established": sure}  # fmt: skip
    checks = (Check("signals beyond the false alarms expected", len(out), f"about {number(expected, 1)}", len(out) <= expected + 3 * np.sqrt(expected), "info"),
              Check("points under the floor, left out", hidden, "0", hidden == 0, "info"), *given.checks)  # fmt: skip
    return ProcessChart("process_chart", value, by, found, summary, checks, words=" ".join(words), suppressed=hidden,
                        drawn=dict(unit=given.label(value)), **given.finding)  # fmt: skip


def _chart(cells: pd.DataFrame, kind: str, baseline: int, rules, name) -> pd.DataFrame | None:
    """Return the points of one chart with limits, signals and p of rule 1; None where the baseline tells nothing."""
    first = cells.iloc[:baseline]
    if not 2 <= baseline < len(cells):
        return None
    n, centre = cells["size"].to_numpy(dtype=float), float(first["mean"] @ first["size"] / first["size"].sum())
    if kind == "mean":
        known = first[first["size"] > 1]
        c4 = np.exp(special.gammaln(known["size"] / 2) - special.gammaln((known["size"] - 1) / 2)) * np.sqrt(
            2 / (known["size"] - 1)
        )
        sd = np.mean(known["std"] / c4) if len(known) else np.nan
    elif kind == "individuals":
        sd, n = np.mean(np.abs(np.diff(first["mean"]))) / SPAN, np.ones(len(n))
    else:
        sd = np.sqrt(centre if kind == "rate" else centre * (1 - centre))
    if not sd > 0:
        return None
    error = sd / np.sqrt(n)
    if kind == "laney":
        error = error * np.mean(np.abs(np.diff((first["mean"] - centre) / error[:baseline]))) / SPAN
    z = (cells["mean"].to_numpy() - centre) / error
    low, high = {"share": (0, 1), "laney": (0, 1), "rate": (0, np.inf)}.get(kind, (-np.inf, np.inf))
    own = error**2 + np.sum((first["size"] / first["size"].sum()) ** 2 * error[:baseline] ** 2) * (
        np.arange(len(n)) >= baseline
    )
    df = baseline - 1 if kind in ("individuals", "laney") else max(first["size"].sum() - baseline, 1)
    return cells.drop(columns=["std", "hidden"]).assign(
        centre=centre, limit_low=np.maximum(centre - 3 * error, low), limit_high=np.minimum(centre + 3 * error, high),
        alarm=_signals(z, rules), p_value=2 * stats.t.sf(np.abs(cells["mean"] - centre) / np.sqrt(own), df),
    )  # fmt: skip


def _signals(z: np.ndarray, rules) -> np.ndarray:
    """Return by point the first rule that marks it, in words, or "none"."""
    found = np.where(np.abs(z) > 3, "rule 1", "none").astype(object)
    for rule in rules[1:]:
        window, least, reach = RULES[rule]
        for side in (1, -1):
            beyond = np.convolve(side * z > reach, np.ones(window), "full")[: len(z)]
            found[(found == "none") & (beyond >= least) & (side * z > reach)] = f"rule {rule}"
    return found
