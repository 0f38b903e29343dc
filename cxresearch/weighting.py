"""Weights raked to known margins (Deming & Stephan 1940, Annals of Mathematical Statistics 11)."""

import warnings
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd

from cxresearch import digits
from cxresearch.errors import DataProblem, nearest, plain_text, require_columns
from cxresearch.findings import Check, Finding, listing, say
from cxresearch.privacy.identifiers import looks_like
from cxresearch.survey import Survey, as_survey, kish_effective_n

TOLERANCE = 1e-10  # largest difference, as a share of all, between a margin and its target
MET = 1e-9  # the same of the margins as they come out, rounding included
MAX_ROUNDS = 1000
RATIO, DEFF = 20.0, 2.0  # more of them is doubtful


@dataclass(frozen=True, repr=False, eq=False)
class Raking(Finding):
    """Weights raked to margins: target, before, after, n by margin (`term`) and category."""

    weights: np.ndarray = None  # (N,), NaN never

    def augment(self, table, *, name: str = "raked_weight"):
        """Return `table` with the weight in a column `name`, a survey weighted by it; errors know of it by ``attrs["raked"]``."""
        rows = table.table if isinstance(table, Survey) else table
        say.refuse_if(len(rows) != (n := len(self.weights)), "other_rows", rows=len(rows), n=n)
        added = rows.assign(**{name: self.weights})
        goals = {}
        for margin, part in self.table.groupby("term"):  # as the rows write the levels, so that they are found again
            its = {_level(v): v for v in rows[margin].unique().tolist()} if margin in rows else {}
            goals[margin] = {its.get(_level(v), v): share for v, share in zip(part["category"], part["target"])}
        added.attrs["raked"] = {**rows.attrs.get("raked", {}), name: goals}
        return table.with_table(added, weight=name) if isinstance(table, Survey) else added


def rake(responses, *, targets: Mapping, trim: float | None = None) -> Raking:
    """Rake weights so that each margin has its target share; ``augment(responses)`` of the finding adds the weight.

    Parameters
    ----------
    responses : Survey or DataFrame (N, .), weights of which (else 1 each) it starts from; rows of weight zero keep it
    targets : dict of column -> {level: share, percent or total}, each margin adding up to 1, to 100, or to one total,
        which the weights then add up to; else they keep their sum
    trim : cap as a multiple of the mean weight, above 1: weights above it are cut and all raked again until both hold

    Raises
    ------
    DataProblem : a level without respondents or target, missing values, margins of different totals, no convergence

    Examples
    --------
    >>> print(cx.rake(study.responses, targets={"region": {"Coast": 0.1, "East": 0.2, "North": 0.4, "South": 0.3}}))
    Raked to Region in 1 round: the largest gap to a target went from 2.4 to 0.0 percentage ...
    """
    survey = as_survey(responses)
    table, start = survey.table, survey.weights()
    require_columns(table, *targets, where="responses")
    say.refuse_if(not targets, "no_targets", example={"region": {"north": 0.4, "south": 0.6}})
    say.refuse_if(trim is not None and not trim > 1, "trim", trim=trim)
    say.refuse_if(not start.any(), "no_start", weight=survey.weight)
    codes, parts = zip(*(_margin(table, start, column, goal) for column, goal in targets.items()))
    goals = [part["target"].to_numpy() for part in parts]
    sums = pd.Series([goal.sum() for goal in goals], list(targets))
    least, most = sums.min(), sums.max()
    ends = dict(low=sums.idxmin(), least=f"{least:g}", high=sums.idxmax(), most=f"{most:g}")
    say.refuse_if(most - least > 1e-4 * most, "totals_differ", **ends)
    unit = "shares" if abs(most - 1) < 1e-3 else "percent" if abs(most - 100) < 1e-1 else "totals"
    total = float(most if unit == "totals" else start.sum())
    goals = [goal / goal.sum() * total for goal in goals]
    raked, rounds = _raked(start, codes, goals, total, trim)
    margins, n = pd.concat(parts, ignore_index=True), int((start > 0).sum())
    margins["target"] = np.concatenate([goal / goal.sum() for goal in goals])
    margins["after"] = np.concatenate([np.bincount(c, raked, len(g)) / raked.sum() for c, g in zip(codes, goals)])
    before, gap = (float((margins[k] - margins["target"]).abs().max()) for k in ("before", "after"))
    ratio, deff = float(raked.max() / raked[raked > 0].min()), n / (kish := kish_effective_n(raked))
    adjusted = raked / raked.mean() / np.where(start > 0, start / start.mean(), np.inf)
    summary = {
        "n": n, "n_effective": kish, "method": "raking (iterative proportional fitting)", "rounds": rounds,
        "gap_before": before, "gap_after": gap, "kish_deff": deff, "weight_ratio": ratio,
        "largest_adjustment": float(adjusted.max()), "targets": unit,
    }  # fmt: skip
    checks = (
        Check("margins meet their targets", f"{gap:.1e}", f"gap below {MET:g}", gap < MET),
        Check("largest weight / smallest weight", digits.rounded(ratio, 2), f"at most {RATIO:g}", ratio <= RATIO),
        Check("Kish design effect", digits.rounded(deff, 3), f"at most {DEFF:g}", deff <= DEFF),
        Check("how the targets were read", f"{unit}, adding up to {most:g}", "as meant", True, "info"),
        Check("rows left out, the weight being 0", len(table) - n, "information", True, "info"),
    )
    doubtful = [check for check in checks if not check.ok]
    for check in doubtful:
        warnings.warn(say("warned", check=check.check, value=check.value, limit=check.limit), stacklevel=2)
    keys = ["raked" if rounds > 1 else "raked_once", "base", *["doubtful"][: len(doubtful)]]
    known = {"margins": listing(map(survey.label, targets)), "checks": listing(c.check for c in doubtful)}
    names = [f"{survey.label(margin)}: {level}" for margin, level in zip(margins["term"], margins["category"])]
    drawn = dict(value="after", low="before", high="target", scale=100, names=names, unit=say["raked_axis"])
    question = ("rake", ", ".join(targets), None, margins, summary, checks)
    return Raking.of(say, keys, known, 0.95, *question, source=survey, weights=raked, drawn=drawn)


def _level(value) -> str:
    """Return a level as it is compared: 1, 1.0, "1" and "1.0" are one, whoever wrote it down."""
    return {"-0": "0"}.get(level := looks_like(plain_text(value)), level)


def _margin(table, start, column, goal) -> tuple[np.ndarray, pd.DataFrame]:
    """Return each row's place among the levels of the targets, and the levels with targets, shares before, and n."""
    levels, wanted, values = list(goal), np.array([float(v) for v in goal.values()]), table[column]
    unfit = not (levels and np.isfinite(wanted).all() and (wanted >= 0).all() and wanted.sum() > 0)
    say.refuse_if(unfit, "no_number", column=column, goal=dict(goal))
    say.refuse_if(missing := values.isna().sum(), "margin_missing", column=column, missing=missing, n=len(values))
    names = list(map(_level, levels))
    say.refuse_if(len({*names}) < len(names), "level_twice", column=column, level=max(names, key=names.count))
    found, seen = pd.factorize(values)
    codes = pd.Index(names).get_indexer([*map(_level, seen)])[found]
    if len(lost := values[codes < 0].astype(object).value_counts()):  # of a categorical, not of levels nobody has
        level = lost.index.tolist()[0]
        raise DataProblem(say("no_target", column=column, n=lost.sum(), level=level, nearest=nearest(level, levels)))
    n = np.bincount(codes[start > 0], minlength=len(levels))
    if empty := [level for level, count, t in zip(levels, n, wanted) if count == 0 and t > 0]:
        raise DataProblem(say("no_respondents", column=column, level=empty[0], nearest=nearest(empty[0], seen)))
    shares = {"target": wanted, "before": np.bincount(codes, start, len(n)) / start.sum(), "after": np.nan, "n": n}
    return codes, pd.DataFrame({"term": column, "category": levels, **shares})


def _raked(start, codes, goals, total, trim) -> tuple[np.ndarray, int]:
    """Return the weights that meet the goals, w <- w goal / sum of w in the level, margin after margin, and the rounds."""
    w = start * total / start.sum()
    for rounds in range(1, MAX_ROUNDS + 1):
        for code, goal in zip(codes, goals):
            held = np.bincount(code, w, minlength=len(goal))
            w = w * np.divide(goal, held, out=np.zeros(len(goal)), where=held > 0)[code]
        beyond = trim is not None and w.max() > w.mean() * trim * (1 + TOLERANCE)
        gap = max(np.abs(np.bincount(c, w, minlength=len(g)) - g).max() for c, g in zip(codes, goals)) / total
        if gap < TOLERANCE and not beyond:
            return w, rounds
        w = np.minimum(w, w.mean() * trim) if beyond else w
    trimmed, less = ("", "") if trim is None else (f", trim={trim:g}", ", or trim less")
    raise DataProblem(say("unsettled", rounds=MAX_ROUNDS, gap=f"{100 * gap:.3g}", trimmed=trimmed, less=less))
