"""The finding of a comparison of waves: verdicts, words and figure."""

from dataclasses import dataclass

import numpy as np

from cxresearch import digits
from cxresearch.figures import PALETTE, QUIET, axes_or_new, intervals, wrap
from cxresearch.findings import Finding, describe_columns, interval, listing, number, percent
from cxresearch.metrics.card import p_words

CORRECTIONS = {"holm": "Holm", "bh": "Benjamini-Hochberg", "none": "no correction"}
UP, DOWN, EQUIVALENT, SMALL, OPEN, NO_BASE = (
    "up",
    "down",
    "no change that matters",
    "too small to act on",
    "not established",
    "base too small",
)

describe_columns(
    wave_before=("Compared with", "the earlier wave"),
    verdict=("Verdict", "up, down, no change that matters, too small to act on, not established, base too small"),
    n_before=("n before", "rows behind the earlier wave", 0),
    overlap=("In both", "respondents, or clusters where they are declared, that answered in both waves", 0),
    family=("Family", "comparisons corrected together", 0),
    correction=("Correction", "how p-values were corrected for their family"),
    waves=("Waves", "rounds compared", 0),
)


@dataclass(frozen=True, repr=False, eq=False)
class WaveComparison(Finding):
    """One row per pair of waves (and group): the later minus the earlier net promoter score, in points.

    ``further``: ``waves`` (each wave's score), ``trend`` (points per wave).
    """

    confidence: float = 0.95
    worth_acting_on: float | None = None
    note: str = ""

    def sentence(self) -> str:
        if self.summary["waves"] < 2:
            return (
                f"{self.label(self.outcome)}: whether the score moved cannot be said, the study has one wave (n = "
                f"{number(self.summary['n'], 0)})."
            )
        if self.table["estimate"].isna().all():
            return f"{self.label(self.outcome)}: no two waves have a base that may be shown."
        head = self._groups_words() if "group" in self.table else self._pair_words(self._latest(self.table))
        return f"{self.label(self.outcome)}: {head}{self._family_words()}{self.note}"

    def _latest(self, table):
        shown = table[table["estimate"].notna()]
        last = shown[shown["wave"] == shown["wave"].iloc[-1]]
        return last.iloc[-1]

    def _pair_words(self, row) -> str:
        moved = {UP: "rose", DOWN: "fell"}.get(row["verdict"])
        span = interval(row["conf_low"], row["conf_high"], self.confidence)
        base = f"n = {number(row['n_before'], 0)} and {number(row['n'], 0)}"
        size = (
            f"{number(abs(row['estimate']))} points from {self.label(row['wave_before'])} to {self.label(row['wave'])}"
        )
        if moved:
            return (
                f"the net promoter score {moved} {size} (difference {number(row['estimate'])}, {span}, {base}, "
                f"adjusted {p_words(row['p_adjusted'])})."
            )
        why = {
            EQUIVALENT: f"no change that matters: the interval lies within ±{number(self.worth_acting_on or 0)} points",
            SMALL: f"a change, but none above the {number(self.worth_acting_on or 0)} points declared worth acting on",
            NO_BASE: "the base is too small to say",
        }.get(row["verdict"], f"a change is not established (adjusted {p_words(row['p_adjusted'])})")
        return (
            f"{why}; {self.label(row['wave_before'])} to {self.label(row['wave'])}: difference "
            f"{number(row['estimate'])} points ({span}, {base})."
        )

    def _groups_words(self) -> str:
        moved = self.table[self.table["verdict"].isin([UP, DOWN])]
        if moved.empty:
            return "no change is established in any group."
        rows = moved.iloc[digits.descending(-moved["p_adjusted"].astype(float), moved["group"])[:3]]
        words = [
            f"{self.label(r['group'])} {r['verdict']} {number(abs(r['estimate']))} points from "
            f"{self.label(r['wave_before'])} to {self.label(r['wave'])} "
            f"({interval(r['conf_low'], r['conf_high'], self.confidence)}, n = {number(r['n_before'], 0)} and "
            f"{number(r['n'], 0)})"
            for _, r in rows.iterrows()
        ]
        return f"{len(moved)} of {self.summary['family']} changes are established: {listing(words)}" + (
            ", first of all." if len(moved) > 3 else "."
        )

    def _family_words(self) -> str:
        s = self.summary
        if s["family"] <= 1:
            return ""
        moved = int(self.table["verdict"].isin([UP, DOWN]).sum())
        joint = f" Joint test of no difference: {p_words(s['p_value'])};" if np.isfinite(s["p_value"]) else " "
        return f"{joint} {moved} of {s['family']} pairs established ({s['correction']}, family of {s['family']})."

    def plot(self, ax=None):
        """Draw the differences, in points, with intervals; grey: not established; band: not worth acting on."""
        table = self.table[self.table["estimate"].notna()]
        if len(table) > 24:
            table = (
                table[table["verdict"].isin([UP, DOWN])] if table["verdict"].isin([UP, DOWN]).any() else table.tail(24)
            )
        table = table.head(40)
        ax = axes_or_new(ax, rows=max(len(table), 1))
        ax.set_title(wrap(self.label(self.outcome), 60) if len(table) else "no two waves to compare", fontsize=10)
        names = [self._row_name(row) for _, row in table.iterrows()]
        clear = table["verdict"].isin([UP, DOWN]).to_numpy()
        intervals(ax, names, table["estimate"], table["conf_low"], table["conf_high"], colour=QUIET)
        at = np.flatnonzero(clear)
        ax.hlines(at, table["conf_low"][clear], table["conf_high"][clear], color=PALETTE[0], linewidth=2)
        ax.plot(table["estimate"][clear], at, "o", color=PALETTE[0])
        if self.worth_acting_on:
            ax.axvspan(-self.worth_acting_on, self.worth_acting_on, color=QUIET, alpha=0.15, zorder=0)
        ax.axvline(0, color="black", linewidth=0.8)
        ax.set_xlabel(
            wrap(
                f"change in net promoter score, points; {percent(self.confidence)} intervals; grey: not established", 62
            )
        )
        return ax

    def _row_name(self, row) -> str:
        pair = f"{self.label(row['wave_before'])} → {self.label(row['wave'])}"
        return f"{self.label(row['group'])}: {pair}" if "group" in row else pair
