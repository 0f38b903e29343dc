"""Weights: raking to known margins, trimming, what unequal weights leave of the base.

References
----------
Deming & Stephan (1940), Annals of Mathematical Statistics 11; Kish (1965), *Survey Sampling*;
Deville & Saerndal (1992), J. American Statistical Association 87: after calibration the error is that of the residuals.
"""

import warnings
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd

from cxresearch import digits
from cxresearch.errors import DataProblem, nearest, require_columns
from cxresearch.figures import PALETTE, QUIET, axes_or_new, wrap
from cxresearch.findings import Check, Finding, describe_columns, listing, number
from cxresearch.inference import kish_effective_n

TOLERANCE = 1e-10  # largest difference, as a share of all, between a margin and its target
MAX_ROUNDS = 1000
MAX_RATIO, MAX_DEFF = 20.0, 2.0

describe_columns(
    kish_deff=(
        "Kish deff",
        "n sum w^2 / (sum w)^2: what unequal weights alone would cost; not the design effect of this estimate",
        2,
    ),
    rounds=("Rounds", "passes over all margins", 0),
    gap_before=("Gap before", "largest difference to a target with the design weights, 0-1", 3),
    gap_after=("Gap after", "largest difference to a target with the raked weights, 0-1", 3),
    weight_ratio=("Max / min", "largest weight by the smallest", 1),
    largest_adjustment=("Largest adjustment", "largest raked weight by its design weight, both with mean 1", 2),
    category=("Category", "answer category of a margin, or of a question"),
    target=("Target", "share that the margin should have, 0-1", 3),
    before=("Before", "share with the design weights, 0-1", 3),
    after=("After", "share with the raked weights, 0-1", 3),
)


@dataclass(frozen=True, repr=False, eq=False)
class Raking(Finding):
    """Weights raked to margins. `tidy` has one row per margin (`term`) and category: target, before, after, n.

    ``further["rounds"]`` traces the convergence.
    """

    weights: np.ndarray = None  # (N,), NaN never
    margins: tuple[str, ...] = ()

    def augment(self, table: pd.DataFrame, *, name: str = "raked_weight") -> pd.DataFrame:
        """Return `table` with the raked weight in a column `name`, and a note of the margins in ``attrs["raked"]``.

        The note lets the scorecard compute errors that know about the raking.
        """
        if len(table) != len(self.weights):
            raise DataProblem(f"the table has {len(table)} rows, the raking had {len(self.weights)}; rake this table")
        added = table.assign(**{name: self.weights})
        goals = {m: dict(zip(part["category"], part["target"])) for m, part in self.table.groupby("term")}
        added.attrs["raked"] = {**table.attrs.get("raked", {}), name: goals}
        return added

    def sentence(self) -> str:
        s = self.summary
        text = (
            f"Raked to {listing(self.label(m) for m in self.margins)} in {s['rounds']} round{'s' if s['rounds'] > 1 else ''}: the largest "
            "gap to a target went from "
            f"{number(100 * s['gap_before'])} to {number(100 * s['gap_after'])} percentage points (n = "
            f"{number(s['n'], 0)}). "
            f"Unequal weights leave an effective base of {number(s['n_effective'], 0)} (Kish design effect "
            f"{number(s['kish_deff'], 2)})."
        )
        warned = [c.check for c in self.tested if not c.ok]
        return text + (f" Doubtful: {listing(warned)}." if warned else "")

    def plot(self, ax=None):
        """Draw each level's share before and after against its target, in percent."""
        t = self.table
        ax = axes_or_new(ax, rows=len(t))
        at = np.arange(len(t))
        ax.hlines(at, 100 * t["before"], 100 * t["target"], color=QUIET, linewidth=1.5)
        ax.plot(100 * t["target"], at, "|", color="black", markersize=14, label="target")
        ax.plot(100 * t["before"], at, "o", color=QUIET, label="before")
        ax.plot(100 * t["after"], at, "o", color=PALETTE[0], label="after")
        ax.set_yticks(at, [wrap(f"{self.label(m)}: {v}") for m, v in zip(t["term"], t["category"])])
        ax.set_ylim(len(t) - 0.4, -0.6)
        ax.set(xlabel="share of responses, %", title="Margins before and after raking")
        ax.grid(axis="y", visible=False)
        ax.legend(loc="best")
        return ax


def rake(responses: pd.DataFrame, *, targets: Mapping, weight: str | None = None, trim: float | None = None) -> Raking:
    """Rake weights so that each margin has its target share (iterative proportional fitting).

    Parameters
    ----------
    responses : DataFrame, (n, .)
        One row per response; no missing value in a margin.
    targets : dict of column -> {level: share or total}
        All margins in shares (each adding up to 1) or all in totals (each adding up to the same). With shares the
        weights keep their sum; with totals they add up to the total.
    weight : str, optional
        Column of design weights, from which the raking starts (1 each if None).
    trim : float, optional
        Cap as a multiple of the mean weight (more than 1); weights above it are cut and all are raked again until
        both hold.

    Returns
    -------
    Raking
        ``augment(table)`` adds the weight.

    Raises
    ------
    DataProblem
        A target level without respondents, a level without a target, missing values, margins that disagree in
        their totals, negative targets, or no convergence.

    Notes
    -----
    w <- w T_level / sum of w in the level, margin after margin, until no margin is further than 1e-10 of the total from
    its target (Deming & Stephan 1940). `weightipy` does the same from equal weights but takes no design weights.

    Examples
    --------
    >>> import cxresearch as cx
    >>> study = cx.open_study("data/example/study.yml")
    >>> raking = cx.rake(
    ...     study.responses, targets={"region": {"Coast": 0.1, "East": 0.2, "North": 0.4, "South": 0.3}}
    ... )
    >>> print(raking)
    Raked to region in 1 round: the largest gap to a target went from 5.6 to 0.0 percentage ...
    """
    require_columns(responses, *targets, weight, where="responses")
    if not targets:
        raise DataProblem(
            "targets is empty; give at least one margin, for example {'region': {'north': 0.4, 'south': 0.6}}"
        )
    if trim is not None and not trim > 1:
        raise DataProblem(f"trim={trim!r} must be more than 1, for example 5: no weight above five times the mean")
    start = _design_weights(responses, weight)
    codes, goals = zip(*(_margin(responses, column, goal, start) for column, goal in targets.items()))
    total = _common_total(targets, start)
    goals = tuple(g / g.sum() * total for g in goals)
    raked, trace = _raked(start, codes, goals, total, trim)
    table = _margin_table(targets, codes, goals, start, raked)
    summary = _summary(table, raked, start, trace)
    tested = tuple(_tests(summary))
    for check in (c for c in tested if not c.ok):
        warnings.warn(
            f"rake: {check.check} is {check.value} ({check.limit}); merge small levels, drop a margin, or trim",
            stacklevel=2,
        )
    return Raking(
        "rake",
        listing(targets),
        None,
        table,
        summary,
        tested,
        further={"rounds": trace},
        weights=raked,
        margins=tuple(targets),
    )


def _design_weights(responses, weight) -> np.ndarray:
    if weight is None:
        return np.ones(len(responses))
    values = pd.to_numeric(responses[weight], errors="coerce").to_numpy(dtype=float, na_value=np.nan)
    bad = ~np.isfinite(values) | (values <= 0)
    if bad.any():
        raise DataProblem(
            f"{weight} is missing, zero or negative in {bad.sum()} of {len(values)} rows; raking starts from "
            "positive design weights"
        )
    return values


def _margin(responses, column, goal, start) -> tuple[np.ndarray, np.ndarray]:
    levels, wanted = list(goal), np.array([float(v) for v in goal.values()])
    if not levels or not np.isfinite(wanted).all() or (wanted < 0).any() or wanted.sum() <= 0:
        raise DataProblem(f"targets of {column}: every target must be a number of zero or more; found {dict(goal)!r}")
    values = responses[column]
    if values.isna().any():
        raise DataProblem(
            f"{column} is missing in {values.isna().sum()} of {len(values)} rows; give them a level with a "
            "target, or drop the rows"
        )
    codes = pd.Index(levels).get_indexer(values)
    if (codes < 0).any():
        found = values[codes < 0].value_counts().index.tolist()
        raise DataProblem(
            f"{column} holds {(codes < 0).sum()} rows of level {found[0]!r} without a "
            f"target{nearest(found[0], levels)}; "
            "give every level a target"
        )
    empty = [lv for lv, n, t in zip(levels, np.bincount(codes, minlength=len(levels)), wanted) if n == 0 and t > 0]
    if empty:
        raise DataProblem(
            f"{column}: target level {empty[0]!r} has no respondents{nearest(empty[0], pd.unique(values))}; "
            "merge it with a neighbouring level, or drop it"
        )
    return codes, wanted


def _common_total(targets, start) -> float:
    sums = {column: float(sum(goal.values())) for column, goal in targets.items()}
    low, high = min(sums, key=sums.get), max(sums, key=sums.get)
    if sums[high] - sums[low] > 1e-4 * sums[high]:
        raise DataProblem(
            f"targets of {low} add up to {sums[low]:g}, those of {high} to {sums[high]:g}; give all margins "
            "the same total"
        )
    first = sums[high]
    return float(start.sum()) if abs(first - 1) < 1e-3 or abs(first - 100) < 1e-1 else first


def _raked(start, codes, goals, total, trim) -> tuple[np.ndarray, pd.DataFrame]:
    w, gaps = start * total / start.sum(), []
    for _ in range(MAX_ROUNDS):
        for code, goal in zip(codes, goals):
            held = np.bincount(code, w, minlength=len(goal))
            w = w * np.divide(goal, held, out=np.zeros(len(goal)), where=held > 0)[code]
        beyond = trim is not None and w.max() > w.mean() * trim * (1 + TOLERANCE)
        gaps.append(max(np.abs(np.bincount(c, w, minlength=len(g)) - g).max() for c, g in zip(codes, goals)) / total)
        if gaps[-1] < TOLERANCE and not beyond:
            return w, pd.DataFrame({"term": np.arange(1, len(gaps) + 1), "value": gaps})
        if beyond:
            w = np.minimum(w, w.mean() * trim)
    raise DataProblem(
        f"raking did not converge in {MAX_ROUNDS} rounds (largest gap {100 * gaps[-1]:.3g} percentage points"
        + (f", trim={trim:g}" if trim is not None else "")
        + "); merge small levels, drop a margin"
        + (", or trim less" if trim is not None else "")
    )


def _margin_table(targets, codes, goals, start, raked) -> pd.DataFrame:
    parts = []
    for (column, goal), code, wanted in zip(targets.items(), codes, goals):
        k = len(wanted)
        shares = {
            "before": np.bincount(code, start, minlength=k) / start.sum(),
            "after": np.bincount(code, raked, minlength=k) / raked.sum(),
        }
        parts.append(
            pd.DataFrame(
                {
                    "term": column,
                    "category": list(goal),
                    "target": wanted / wanted.sum(),
                    **shares,
                    "n": np.bincount(code, minlength=k),
                }
            )
        )
    return pd.concat(parts, ignore_index=True)


def _summary(table, raked, start, trace) -> dict:
    kish = kish_effective_n(raked)
    positive = raked[raked > 0]
    return {
        "n": len(raked),
        "n_effective": kish,
        "method": "raking (iterative proportional fitting)",
        "rounds": len(trace),
        "gap_before": float((table["before"] - table["target"]).abs().max()),
        "gap_after": float((table["after"] - table["target"]).abs().max()),
        "kish_deff": len(raked) / kish,
        "weight_ratio": float(positive.max() / positive.min()),
        "largest_adjustment": float((raked / raked.mean() / (start / start.mean())).max()),
    }


def _tests(summary):
    yield Check(
        "margins meet their targets",
        f"{summary['gap_after']:.1e}",
        f"gap below {TOLERANCE:g}",
        bool(summary["gap_after"] < 10 * TOLERANCE),
    )
    yield Check(
        "largest weight / smallest weight",
        digits.rounded(summary["weight_ratio"], 2),
        f"at most {MAX_RATIO:g}",
        summary["weight_ratio"] <= MAX_RATIO,
    )
    yield Check(
        "Kish design effect",
        digits.rounded(summary["kish_deff"], 3),
        f"at most {MAX_DEFF:g}",
        summary["kish_deff"] <= MAX_DEFF,
    )
