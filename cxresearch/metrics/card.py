"""The finding of a scorecard: one number per group and wave, its interval, its base, and the answers behind it."""

import textwrap
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd

from cxresearch import digits
from cxresearch.figures import PALETTE, QUIET, axes_or_new, intervals, wrap
from cxresearch.findings import Check, Finding, describe_columns, interval, number, percent
from cxresearch.metrics.cells import Sample
from cxresearch.metrics.hiding import hidden_cells, hide

KEYS = ("group", "wave")
SUPPRESSED, VERY_SMALL, INDICATIVE = (
    10,
    30,
    100,
)  # bases below which a number is not shown, bears no arrow, is indicative

describe_columns(
    promoters=("Promoters", "share of promoters, 0-1", 3),
    passives=("Passives", "share of passives, 0-1", 3),
    detractors=("Detractors", "share of detractors, 0-1", 3),
    easy=("Easy", "share of answers that count as easy, 0-1", 3),
    neither=("Neither", "share of answers that count as neither easy nor hard, 0-1", 3),
    hard=("Hard", "share of answers that count as hard, 0-1", 3),
    base=("Base", "what the base allows: suppressed, very small (no arrows), indicative, enough"),
    kish_deff=(
        "Kish deff",
        "n sum w^2 / (sum w)^2: what unequal weights alone would cost; not the design effect of this estimate",
        2,
    ),
)


@dataclass(frozen=True)
class Measure:
    """What is measured, in words and units."""

    words: str  # "net promoter score"
    unit: str  # points, share, mean
    axis: str  # label of the axis
    answers: Mapping[float, str]  # answer -> class, for colours
    method: str


@dataclass(frozen=True, repr=False, eq=False)
class Scorecard(Finding):
    """One row per group and wave (columns only where asked for).

    ``estimate``, ``std_error`` and the interval are in points (-100...100) for net scores, shares (0-1) for top boxes
    and agreement, scale points for means. ``base`` says what `n` and `n_effective` allow. ``further`` holds
    ``distribution`` (share of each answer) and, for net promoter scores, ``groups`` (simultaneous intervals).
    """

    measure: Measure = None
    confidence: float = 0.95

    @property
    def id(self) -> str:
        return super().id + (" over waves" if "wave" in self.table else "")

    def value(self, estimate: float) -> str:
        """Return an estimate in words, with its unit."""
        unit = self.measure.unit
        return (
            percent(estimate, 1)
            if unit == "share"
            else number(estimate, 1 if unit == "points" else 2) + (" points" if unit == "points" else "")
        )

    def between(self, low: float, high: float) -> str:
        unit = self.measure.unit
        if unit == "share":
            return interval(100 * low, 100 * high, self.confidence) + " %"
        return interval(low, high, self.confidence, 1 if unit == "points" else 2)

    def sentence(self) -> str:
        s = self.summary
        what = f"{self.label(self.outcome)}: {self.measure.words}"
        if s["base"] == "suppressed":
            return f"{what} is not shown: its base is under {SUPPRESSED} ({self._base_words(s)})."
        text = (
            f"{what} {self.value(s['estimate'])} ({self.between(s['conf_low'], s['conf_high'])}, {s['method']}; "
            f"{self._base_words(s)}"
        )
        return text + ("" if s["base"] == "enough" else f", a base that is {s['base']}") + ")." + self._parts_words()

    def _base_words(self, row) -> str:
        n = f"n = {number(row['n'], 0)}"
        return (
            n
            if digits.rounded(row["n_effective"], 0) == row["n"]
            else f"{n}, effective n = {number(row['n_effective'], 0)}"
        )

    def _parts_words(self) -> str:
        keys = [k for k in KEYS if k in self.table]
        if not keys:
            return ""
        shown = self.table[self.table["estimate"].notna() & (self.table["base"] != "suppressed")]
        left = len(self.table) - len(shown)
        hidden = f"{left} of {len(self.table)} cells are not shown for their small base" if left else ""
        if len(shown) < 2:
            return f" {hidden}." if hidden else ""
        return (
            " "
            f"{self._ends_words(shown, keys)}{'; ' + hidden if hidden else ''}."
            f"{self._joint_words('waves' if keys == ['wave'] else 'groups')}"
        )

    def _ends_words(self, shown, keys) -> str:
        if keys == ["wave"]:
            return f"By wave: first {self._row_words(shown.iloc[0])}, last {self._row_words(shown.iloc[-1])}"
        ranked = shown[shown["base"] != "very small"] if (shown["base"] != "very small").sum() > 1 else shown
        order = ranked["estimate"].astype(float)
        top, bottom = (ranked.iloc[digits.descending(sign * order, ranked[keys[0]])[0]] for sign in (1, -1))
        return f"Highest {self._row_words(top)}, lowest {self._row_words(bottom)}"

    def _joint_words(self, what: str) -> str:
        p = self.summary.get("p_value", np.nan)
        if not np.isfinite(p):
            return ""
        if p < 1 - self.confidence:
            return f" The {what} differ (joint test, {p_words(p)})."
        return f" A difference between the {what} is not established (joint test, {p_words(p)})."

    def _row_words(self, row) -> str:
        name = ", ".join(self.label(row[k]) for k in KEYS if k in row)
        return (
            f"{name} {self.value(row['estimate'])} ({self.between(row['conf_low'], row['conf_high'])}, "
            f"{self._base_words(row)})"
        )

    def plot(self, ax=None):
        """Draw the trend where waves were asked for, dots where groups were, else the distribution of the answers."""
        keys = [k for k in KEYS if k in self.table]
        draw = {(): _draw_distribution, ("group",): _draw_groups}.get(tuple(keys), _draw_trend)
        return draw(self, ax)


def assemble(
    sample: Sample,
    part,
    whole,
    *,
    function,
    item,
    by,
    measure: Measure,
    answers,
    labels,
    confidence,
    min_base,
    tested=(),
    further=None,
):
    """Return the scorecard of `part` (columns by cell) and `whole` (the same for one cell)."""
    keep = [c for c in part.columns if c != "df"]
    table = pd.concat([sample.keys, part[keep]], axis=1)
    table["base"] = base_words(table["n"], table["n_effective"])
    hidden = hidden_cells(table, min_base=min_base)
    tables = {"distribution": _distribution(sample, answers), **(further or {})}
    kish = float(np.sum(sample.weights) ** 2 / np.sum(sample.weights**2))
    one = whole.drop(columns="df", errors="ignore").iloc[0].to_dict()
    summary = {
        **one,
        "base": base_words([one["n"]], [one["n_effective"]])[0],
        "method": measure.method,
        "confidence": confidence,
        "kish_deff": one["n"] / kish,
    }
    checks = (*sample.tested, *tested, *_base_checks(table, hidden, min_base))
    return Scorecard(
        function,
        item,
        by,
        hide(table, hidden, min_base),
        summary,
        checks,
        labels or {},
        {name: hide(t, np.repeat(hidden, len(t) // len(table)), min_base) for name, t in tables.items()},
        measure,
        confidence,
    )


def base_words(n, n_effective) -> np.ndarray:
    """Return what each base allows, by the smaller of n and effective n, (k,)."""
    smaller = np.fmin(np.asarray(n, dtype=float), np.asarray(n_effective, dtype=float))
    bins = np.digitize(np.nan_to_num(smaller), [SUPPRESSED, VERY_SMALL, INDICATIVE])
    return np.array(["suppressed", "very small", "indicative", "enough"], dtype=object)[bins]


def p_words(p: float) -> str:
    """Return ``p < 0.001`` or ``p = 0.012``."""
    return "p < 0.001" if p < 0.001 else f"p = {number(p, 3)}"


def _base_checks(table, hidden, min_base):
    small = int((table["base"][~hidden] == "suppressed").sum())
    yield Check(f"cells under the smallest base of {SUPPRESSED}", small, "0", small == 0)
    if min_base > 1:
        yield Check("cells hidden by the minimum base", int(hidden.sum()), "0", not hidden.any())
    empty = int((table["n"] == 0).sum())
    if len(table) > 1:
        yield Check("empty cells", empty, "0", empty == 0)


def _distribution(sample: Sample, answers) -> pd.DataFrame:
    codes, values = pd.factorize(answers, sort=True)
    k, a = len(sample.keys), len(values)
    weight = np.bincount(sample.cell * a + codes, sample.weights, minlength=k * a).reshape(k, a)
    with np.errstate(invalid="ignore"):
        share = weight / weight.sum(1, keepdims=True)
    table = sample.keys.loc[sample.keys.index.repeat(a)].reset_index(drop=True)
    return table.assign(term=np.tile(values, k), share=share.ravel(), n=np.repeat(sample.n, a))


# --- figures --------------------------------------------------------------------------------------------------------


def _draw_distribution(card: Scorecard, ax):
    ax = axes_or_new(ax)
    table, classes = card.further["distribution"], card.measure.answers
    names = list(dict.fromkeys(classes.values()))
    colours = dict(zip(names, (PALETTE[1], QUIET, PALETTE[0]) if len(names) == 3 else (QUIET, PALETTE[0])))
    for name, colour in colours.items():
        rows = table[[classes.get(t) == name for t in table["term"]]]
        ax.bar(
            rows["term"],
            100 * rows["share"],
            color=colour,
            label=f"{name}, {percent(rows['share'].sum(), 1)}",
            width=0.8,
        )
    ax.set_xticks(list(classes))
    ax.set(xlabel=f"answer to “{wrap(card.label(card.outcome), 60)}”", ylabel="share of answers, %")
    head = (
        f"{card.measure.words[:1].upper()}{card.measure.words[1:]}: {card.value(card.summary['estimate'])}, n = "
        f"{number(card.summary['n'], 0)}"
    )
    ax.set_title(wrap(head, 70), fontsize=10, pad=24)
    ax.grid(axis="x", visible=False)
    ax.set_ylim(0, max(100 * table["share"].max() * 1.08, 1))
    ax.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=len(colours), borderaxespad=0.2)
    return ax


def _shown(card: Scorecard) -> pd.DataFrame:
    table = card.table[card.table["estimate"].notna() & (card.table["base"] != "suppressed")].copy()
    scale = 100 if card.measure.unit == "share" else 1
    for column in ("estimate", "conf_low", "conf_high"):
        table[column] = table[column].astype(float) * scale
    return table


def _draw_groups(card: Scorecard, ax):
    table = _shown(card)
    table = table.iloc[digits.descending(table["estimate"], table["group"])]
    ax = axes_or_new(ax, rows=max(len(table), 1))
    names = [_based(card.label(g), n, b) for g, n, b in zip(table["group"], table["n"], table["base"])]
    intervals(ax, names, table["estimate"], table["conf_low"], table["conf_high"])
    overall = card.summary["estimate"] * (100 if card.measure.unit == "share" else 1)
    ax.axvline(overall, color=QUIET, linewidth=1, linestyle="--", zorder=0)
    ax.set_xlabel(wrap(f"{card.measure.axis}; {percent(card.confidence)} intervals; dashed: all", 62))
    ax.set_title(wrap(f"By {card.label(card.group)} (base in brackets)", 60), fontsize=10)
    return ax


def _draw_trend(card: Scorecard, ax):
    ax = axes_or_new(ax)
    table = _shown(card)
    waves = list(dict.fromkeys(card.table["wave"]))
    groups = list(dict.fromkeys(table["group"])) if "group" in table else [None]
    for i, group in enumerate(groups[: len(PALETTE)]):
        rows = table if group is None else table[table["group"] == group]
        at = np.array([waves.index(w) for w in rows["wave"]]) + (
            0.06 * (i - (len(groups) - 1) / 2) if len(groups) > 1 else 0
        )
        ax.vlines(at, rows["conf_low"], rows["conf_high"], color=PALETTE[i], linewidth=1.6)
        if group is None:
            ax.fill_between(at, rows["conf_low"], rows["conf_high"], color=PALETTE[i], alpha=0.12, linewidth=0)
        ax.plot(
            at, rows["estimate"], "o-", color=PALETTE[i], label=None if group is None else wrap(card.label(group), 24)
        )
    ax.set_xticks(range(len(waves)), [card.label(w) for w in waves], rotation=45 if len(waves) > 8 else 0)
    ax.set_xlim(-0.5, len(waves) - 0.5)
    left = f"; first {len(PALETTE)} of {len(groups)} groups" if len(groups) > len(PALETTE) else ""
    ax.set(xlabel=f"wave; {percent(card.confidence)} intervals{left}", ylabel=wrap(card.measure.axis, 44))
    ax.set_title(wrap(card.label(card.outcome), 70), fontsize=10)
    if len(groups) > 1:
        ax.legend(title=card.label(card.group), loc="upper left", bbox_to_anchor=(1, 1))
    ax.grid(axis="x", visible=False)
    return ax


def _based(name: str, n: float, base: str) -> str:
    return f"{textwrap.shorten(name, 34, placeholder='…')} ({number(n, 0)}{'' if base == 'enough' else ', ' + base})"
