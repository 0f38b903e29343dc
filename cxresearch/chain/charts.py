"""Units against limits that know their base, and periods against a stable process.

Spiegelhalter (2005), Statistics in Medicine 24:1185-1202 (funnels); Montgomery (2013), *Statistical Quality Control*;
Laney (2002), Quality Engineering 14:531-537; Champ & Woodall (1987), Technometrics 29:393-399 (run lengths).
"""

import numpy as np
import pandas as pd
from scipy import special, stats

from cxresearch import digits
from cxresearch.chain.units import opened, say
from cxresearch.errors import require_choice
from cxresearch.figures import PALETTE, QUIET, axes_or_new, over_waves, titled
from cxresearch.findings import Check, Statement, listing, number
from cxresearch.inference import adjusted_p_values
from cxresearch.inference.pooling import between_variance

BOUNDS = dict.fromkeys(("mean", "individuals"), (-np.inf, np.inf)) | dict.fromkeys(("share", "laney"), (0.0, 1.0))
BOUNDS |= {"rate": (0.0, np.inf)}
TAIL, WINSORISED = 0.1, 0.6787  # winsorised at each end; what that leaves of the variance of normal values
SPAN = 1.128  # mean moving range of two normal values, in sd
# Points of a stable process per false alarm, by rules (Champ & Woodall 1987, table 1).
RUN_LENGTH = {"1": 370.40, "12": 225.44, "13": 166.05, "14": 152.73, "123": 132.89, "124": 122.05, "134": 105.78}
RUN_LENGTH |= {"1234": 91.75}
RULES = {2: (3, 2, 2.0), 3: (5, 4, 1.0), 4: (8, 8, 0.0)}  # of so many points so many beyond so many sd, on one side


def chance_limit(kind: str, centre: float, base, error, tail: float) -> np.ndarray:
    """Return a normal limit of a mean, the interpolated binomial or Poisson one of a share or rate, not cut at its ends.

    With r the least count whose distribution reaches the tail: (r - (F(r) - tail) / f(r)) / base (Spiegelhalter 2005).
    """
    if kind == "mean":
        return centre + stats.norm.ppf(tail) * error
    law = stats.binom(np.rint(base), centre) if kind == "share" else stats.poisson(base * centre)
    r = law.ppf(tail)
    return (r - (law.cdf(r) - tail) / law.pmf(r)) / (np.rint(base) if kind == "share" else base)


def funnel(
    units, *, value, base, unit, kind: str, sd=None, dispersion: str = "additive", confidence: float = 0.95
) -> Statement:
    """Return which units lie outside limits that know their base and what units commonly differ by.

    Limits of shares and rates are exact, interpolated (Spiegelhalter 2005), and cut at 0 (a share's at 1). The verdict
    is Holm's over all units: without it 1 unit in 500 lies beyond 3 sd by chance alone.

    Parameters
    ----------
    units : Table or DataFrame, one row per unit. Units under the floor are left out and counted.
    value, base, unit, sd : columns
        Cases, exposure or answers behind the value; of a mean the standard deviation of a unit's answers.
    kind : {"share", "rate", "mean"}
    dispersion : {"additive", "multiplicative"}
        How the units' own spread widens the limits: a variance between them (Paule-Mandel), or a factor, from the mean
        of z^2; from scores winsorised at a tenth of each end, so that outliers do not hide themselves.

    Raises
    ------
    DataProblem
        Shares outside 0-1, a mean without sd, a unit twice, fewer than five units.

    Examples
    --------
    >>> import pandas as pd
    >>> shops = pd.DataFrame({"shop": list("ABCDEF"), "share": [0.1, 0.12, 0.09, 0.11, 0.1, 0.1], "n": [100] * 6})
    >>> print(cx.funnel(shops, value="share", base="n", unit="shop", kind="share"))
    No unit of 6 lies outside what its base and the common spread allow (Holm). Centre 0.10...
    """
    require_choice("kind", kind, ("share", "rate", "mean"))
    require_choice("dispersion", dispersion, ("additive", "multiplicative"))
    say.refuse_if(kind == "mean" and sd is None, "no_sd")
    given = opened(units, unit, numbers=[value, base, sd], confidence=confidence, once="the funnel")
    low, high = BOUNDS[kind]
    ends = (f"{end:g}" for end in (given.table[value].min(), given.table[value].max(), low, high))
    ends = dict(zip(("least", "most", "low", "high"), ends))
    say.refuse_if(digits.outside(given.table[value], low, high).any(), "beyond", value=value, kind=kind, **ends)
    known = given.table[given.table[base] > 0]
    table = known[known[base] >= given.min_base]
    k, hidden, y, n = len(table), len(known) - len(table), table[value].to_numpy(), table[base].to_numpy()
    say.refuse_if(k < 5, "few_in_funnel", k=k, value=value, floor=given.min_base)
    centre = float(n @ y / n.sum())
    spread = table[sd].to_numpy() if sd else np.sqrt(centre * (1 - centre) if kind == "share" else centre)
    error = spread / np.sqrt(n)
    say.refuse_if(not (error > 0).all(), "no_chance", value=value, centre=f"{centre:g}")
    wide, size = _widening((y - centre) / error, error, dispersion)
    found = pd.DataFrame({"unit": table[unit].to_numpy(), "estimate": y, "base_size": n})
    for name, tail in {"2_low": 0.025, "2_high": 0.975, "3_low": 0.001, "3_high": 0.999}.items():
        reach = chance_limit(kind, centre, n, error, tail) - centre
        found[f"limit{name}"] = np.clip(centre + wide * reach, low, high)
    z = (y - centre) / (wide * error)
    df = k - 1 if size else np.inf
    found["p_adjusted"] = adjusted_p_values(2 * stats.t.sf(np.abs(z), df), correction="holm")
    clear = found["p_adjusted"] < 1 - confidence
    found["verdict"] = np.select([clear & (z > 0), clear], ["above", "below"], "inside").astype(object)
    some, first = bool(clear.any()), given.label(found["unit"].iloc[int(found["p_adjusted"].argmin())])
    summary = {"centre": centre, "overdispersion": float(np.mean(((y - centre) / error) ** 2)), "units": k}
    summary |= {"n": int(n.sum()), "method": f"{kind} funnel, {dispersion} dispersion", "established": some}
    keys = ["funnel" if some else "funnel calm", "centre", dispersion if size else "plain limits"]
    told = dict(keys=keys, summary=summary, left=("units under the floor", hidden))
    told["known"] = dict(first=first, k=int(clear.sum()), size=size, expected=0.002 * k)
    return given.found("funnel", value, unit, found, figure=_funnel_figure, unit=given.label(value), **told)


def _widening(z, error, dispersion) -> tuple[np.ndarray, float]:
    """Return by what limits are widened, and the size of the units' own spread; 0 where chance explains it."""
    winsorised = np.clip(z, *np.quantile(z, [TAIL, 1 - TAIL])) / np.sqrt(WINSORISED)
    if dispersion == "additive":
        tau2 = between_variance(winsorised * error, error**2)
        return np.sqrt(1 + tau2 / error**2), float(np.sqrt(tau2))
    factor = float(np.sqrt(max(np.mean(winsorised**2), 1.0)))
    return np.full(z.shape, factor), factor if factor > 1 else 0.0


def _funnel_figure(finding, ax=None):
    """Draw values against their base within the limits; units that lie outside are named."""
    ax, t = axes_or_new(ax), finding.table.sort_values("base_size")
    for column, style in (("limit2_low", ":"), ("limit2_high", ":"), ("limit3_low", "--"), ("limit3_high", "--")):
        ax.plot(t["base_size"], t[column], linestyle=style, color=QUIET, linewidth=1)
    ax.axhline(finding.summary["centre"], color=QUIET, linewidth=1)
    for inside, colour, size in ((True, PALETTE[0], 5), (False, PALETTE[1], 8)):
        part = t[(t["verdict"] == "inside") == inside]
        ax.plot(part["base_size"], part["estimate"], "o", color=colour, markersize=size)
    for row in t[t["verdict"] != "inside"].itertuples():
        ax.annotate(finding.label(row.unit), (row.base_size, row.estimate), xytext=(5, 4), textcoords="offset points")
    ax.set(xlabel="base", ylabel=finding.drawn["unit"])
    return titled(ax, finding.title, "dotted: 2 sd, dashed: 3 sd")


def process_chart(
    ratings, *, value, period, by=None, kind: str = "mean", baseline: int, rules=(1,), confidence: float = 0.95
) -> Statement:
    """Return where a process left its limits, and how many false alarms the rules raise by themselves.

    Established is a change whose point lies beyond 3 sd by Holm's p over all points: signals alone are expected at times.

    Parameters
    ----------
    ratings : Survey, Table or DataFrame
        One row per rating; of ``"individuals"`` per period; of ``"rate"`` per thing in which events are counted.
    value, period, by : columns, periods are those that occur, in order; one chart per group of `by`, such as an agent
    kind : {"mean", "individuals", "share", "rate", "laney"}
        X-bar with the mean S of the baseline, moving ranges, p, u, and p' (Laney 2002).
    baseline : int, how many first periods set the centre and limits
    rules : sequence of int
        1 beyond 3 sd, always; 2 two of three beyond 2; 3 four of five beyond 1; 4 eight on one side.

    Raises
    ------
    DataProblem
        Rules without 1, fewer than two baseline periods, no variance in the baseline.

    Examples
    --------
    >>> rated = cx.rated_contacts(study.responses, study.interactions, rating="contact_rating")
    >>> print(cx.process_chart(rated, value="contact_rating", period="month", baseline=6, rules=(1, 4)))
    Rating of the last contact: a change is not established, 0 signals where 0.1 false alarms are expected ...
    """
    require_choice("kind", kind, BOUNDS)
    length = RUN_LENGTH.get("".join(map(str, sorted(rules))))
    say.refuse_if(length is None, "no_rules", rules=repr(rules))
    given = opened(ratings, period, by, numbers=[value], confidence=confidence)
    share = kind not in ("share", "laney") or given.table[value].isin([0, 1]).all()
    say.refuse_if(not share, "no_share", value=value, kind=kind)
    groups = given.table.groupby([*([by] if by else []), period], observed=True)
    cells = groups[value].agg(["mean", "std", "size"]).reset_index()
    hidden = given.base(groups.ngroup().to_numpy()) < given.min_base
    parts = cells[~hidden].groupby(by, sort=False, observed=True) if by else [(None, cells[~hidden])]
    charts = [chart for _, part in parts if (chart := _chart(part, kind, baseline, sorted(rules))) is not None]
    say.refuse_if(not charts, "no_chart", baseline=baseline)
    names = {"mean": "estimate", "size": "n", period: "wave", **({by: "group"} if by else {})}
    found = pd.concat(charts, ignore_index=True).rename(columns=names)
    p = adjusted_p_values(found.pop("p_value"), correction="holm")
    worst, sure = found.iloc[int(np.argmin(p))], bool(p.min() < 1 - confidence)
    signals, expected, chosen = int((found["alarm"] != "none").sum()), len(found) / length, listing(sorted(rules))
    first = f"{given.label(worst['group'])} in {worst['wave']}" if by else worst["wave"]
    known = dict(what=given.label(value), first=first, expected=expected, cells=len(found), rules=chosen)
    summary = {"baseline": baseline, "signals": signals, "run_length": length, "n": int(found["n"].sum())}
    summary |= {"method": f"{kind} chart, rules {chosen}", "established": sure}
    usual, few = f"about {number(expected, 1)}", bool(signals <= expected + 3 * np.sqrt(expected))
    told = dict(keys=["signals" if sure else "signals open", "run length"], summary=summary, known=known)
    told["checks"] = [Check("signals beyond the false alarms expected", signals, usual, few, "info")]
    told |= dict(left=("points under the floor", int(hidden.sum())), figure=_chart_figure, unit=given.label(value))
    return given.found("process_chart", value, by, found, **told)


def _chart(cells: pd.DataFrame, kind: str, baseline: int, rules) -> pd.DataFrame | None:
    """Return the points of one chart with limits, signals and p of rule 1; None where the baseline tells nothing."""
    first, n, y = cells.iloc[:baseline], cells["size"].to_numpy(dtype=float), cells["mean"].to_numpy()
    if not 2 <= baseline < len(cells):
        return None
    weights = n[:baseline] / n[:baseline].sum()
    centre = float(y[:baseline] @ weights)
    if kind == "mean":
        many = first[first["size"] > 1]
        half = many["size"] / 2
        c4 = np.exp(special.gammaln(half) - special.gammaln(half - 0.5)) * np.sqrt(2 / (many["size"] - 1))
        sd = (many["std"] / c4).mean()
    elif kind == "individuals":
        sd, n = np.mean(np.abs(np.diff(y[:baseline]))) / SPAN, np.ones(len(n))
    else:
        sd = np.sqrt(centre if kind == "rate" else centre * (1 - centre))
    if not sd > 0:
        return None
    error = sd / np.sqrt(n)
    if kind == "laney":
        error = error * np.mean(np.abs(np.diff((y - centre)[:baseline] / error[:baseline]))) / SPAN
    later = np.arange(len(n)) >= baseline  # these owe nothing to the centre, whose own error counts
    own = np.sqrt(error**2 + later * np.sum((weights * error[:baseline]) ** 2))
    df = baseline - 1 if kind in ("individuals", "laney") else max(first["size"].sum() - baseline, 1)
    low, high = (np.clip(centre + side * error, *BOUNDS[kind]) for side in (-3, 3))
    limits = dict(centre=centre, limit_low=low, limit_high=high, alarm=_signals((y - centre) / error, rules))
    return cells.drop(columns="std").assign(**limits, p_value=2 * stats.t.sf(np.abs(y - centre) / own, df))


def _signals(z: np.ndarray, rules) -> np.ndarray:
    """Return by point the first rule that marks it, in words, or "none"."""
    found = np.where(np.abs(z) > 3, "rule 1", "none").astype(object)
    for rule in rules[1:]:
        window, least, reach = RULES[rule]
        for side in (1, -1):
            beyond = np.convolve(side * z > reach, np.ones(window), "full")[: len(z)]
            found[(found == "none") & (beyond >= least) & (side * z > reach)] = f"rule {rule}"
    return found


def _chart_figure(finding, ax=None):
    """Draw the periods, those of the groups with signals within their limits; signals in rings."""
    t = finding.table.sort_values("wave", kind="stable")
    out, by, places = t[t["alarm"] != "none"], "group" if "group" in t else None, list(pd.unique(t["wave"]))
    drawn = dict(low="limit_low", high="limit_high", by=by, marked=set(out["group"]) if by else (), ax=ax)
    ax = over_waves(t, "estimate", unit=finding.drawn["unit"], **drawn)
    at = [places.index(wave) for wave in out["wave"]]
    ax.plot(at, out["estimate"], "o", color=PALETTE[6], markerfacecolor="none", markersize=10, zorder=3)
    ax.tick_params(axis="x", rotation=45 if len(places) > 8 else 0)
    return titled(ax, finding.title, "band: limits at 3 sd; rings: signals")
