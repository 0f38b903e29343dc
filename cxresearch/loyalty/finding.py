"""What `fit_loyalty_revenue` found, in words and as a figure."""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from cxresearch.figures import PALETTE, QUIET, axes_or_new, wrap
from cxresearch.findings import Finding, Shown, describe_columns, interval, listing, number, percent
from cxresearch.loyalty.trouble import Timing

WEAK = 0.02  # of the deviance: below it the score hardly tells customers' revenue apart

describe_columns(
    part=("Part", "equation of the model: mean, any (revenue at all), amount, smear"),
    percent=("Percent", "how much higher revenue is per point of the score, or per unit of the term", 1),
    percent_low=("Percent low", "lower end of its interval", 1),
    percent_high=("Percent high", "upper end of its interval", 1),
    money=("Money", "the same in money per customer", 2),
    money_low=("Money low", "lower end of its interval", 2),
    money_high=("Money high", "upper end of its interval", 2),
    mean_revenue=("Mean revenue", "money per customer", 2),
    received=("Received", "rows given", 0),
    dropped=("Left out", "rows not used", 0),
    errors=("Errors", "how standard errors were computed"),
    explained=("Explained", "share of the Poisson deviance that the score takes beyond the controls (0-1)", 4),
    ratio=("Ratio", "mean revenue of the highest group over the lowest", 3),
    ratio_low=("Ratio low", "lower end of its interval", 3),
    ratio_high=("Ratio high", "upper end of its interval", 3),
    robustness_value=("Robustness value", "partial R² a hidden cause needs, linear model in levels (0-1)", 4),
    e_value=("E-value", "risk ratio a hidden cause needs for the ratio of groups", 2),
    e_value_limit=("E-value of the limit", "the same for the end of the interval nearer 1", 2),
    score=("Score", "value of the loyalty score", 1),
    observed=("Observed", "mean revenue as it is", 2),
    held=("Held constant", "controls in the model"),
    shape=("Shape", "how the score enters: linear, spline, groups"),
    strength=("Strength", "how strong a hidden cause would have to be", 3),
    park=("Park slope", "power of the mean with which the variance grows", 2),
    suits=("Suits", "model whose variance grows alike"),
    why=("Why", "reason why rows, groups or models were left out"),
    test=("Test", "hypothesis tested"),
    known=("Known", "percent per point known beforehand, from a simulation or an experiment", 1),
    moved=("Moved", "percentage points by which the reading without controls exceeds the one with them", 1),
    moved_low=("Moved low", "lower end of its interval", 1),
    moved_high=("Moved high", "upper end of its interval", 1),
    statistic=("Statistic", "F value of the test", 2),
)


@dataclass(frozen=True, repr=False, eq=False)
class LoyaltyRevenue(Finding):
    """Revenue against a loyalty score.

    `tidy` holds coefficients on the model's scale (log of mean revenue; of the odds in part any) with the percentage
    they amount to; `tables` adds headline, groups, with_and_without, shape, sensitivity, bounds, contour, curve, dropped.
    """

    loyalty: str = ""
    controls: tuple[str, ...] = ()
    confidence: float = 0.95
    reasons: tuple[str, ...] = ()
    timing: str = Timing().words()  # when each was measured
    notes: str = ""  # sentences that the reader must not miss

    @property
    def chart(self):
        return Shown("groups", "estimate", "conf_low", "conf_high", "Mean revenue per customer")

    def sentence(self) -> str:
        if self.reasons:
            return f"{self._not_established()} {self._held_and_base()}{self._without()}{self._known()}{self.timing}{self.notes}"
        told = f"{self._headline()} {self._held_and_base()}{self._without()}{self._strength()}"
        return f"{told}{self._known()}{self.timing}{self.notes}"

    def _between(self, scale: str, decimals: int = 1) -> str:
        low, high = self.summary[f"{scale}_low"], self.summary[f"{scale}_high"]
        return interval(low, high, self.confidence, decimals)

    def _headline(self) -> str:
        g = self.summary
        return (
            f"One point more of {self.label(self.loyalty)} goes with {number(abs(g['percent']))} % "
            f"{'more' if g['percent'] > 0 else 'less'} {self.label(self.outcome)} per customer ({self._between('percent')}), "
            f"in money {number(abs(g['money']), 2)} {'more' if g['money'] > 0 else 'less'} ({self._between('money', 2)});"
        )

    def _not_established(self) -> str:
        return (
            f"What a point of {self.label(self.loyalty)} goes with in {self.label(self.outcome)} is not established: "
            f"{listing(self.reasons)}. The model reads {number(self.summary['percent'])} % per point "
            f"({self._between('percent')});"
        )

    def _held_and_base(self) -> str:
        held = (
            f"with {listing(self.label(c) for c in self.controls)} held constant"
            if self.controls
            else "with nothing held constant"
        )
        return f"{held}, {number(self.summary['n'], 0)} customers; an association, not a cause."

    def _without(self) -> str:
        sides = self.further["with_and_without"]
        if len(sides) < 2:
            return ""
        bare = sides.iloc[0]
        return f" Without controls it would read {number(bare['percent'])} % ({interval(bare['percent_low'], bare['percent_high'], self.confidence)})."

    def _known(self) -> str:
        g = self.summary
        if "known" not in g:
            return ""
        truth = g["known"]
        holds = "holds" if g["percent_low"] <= truth <= g["percent_high"] else "does not hold"
        text = f" Here {number(truth)} % is known to be right: the interval {holds} it"
        if len(self.further["with_and_without"]) < 2:
            return f"{text}."
        bare = self.further["with_and_without"].iloc[0]["percent"]
        off = "too high" if bare > truth else "too low"
        moved = interval(g["moved_low"], g["moved_high"], self.confidence)
        clear = g["moved_low"] * g["moved_high"] > 0
        return (
            f"{text}; without controls the reading is {number(abs(bare - truth))} points {off}, and leaving them out moves it by "
            f"{number(g['moved'])} points ({moved}), {'a bias' if clear else 'which chance could do'}."
        )

    def _strength(self) -> str:
        share = self.summary["explained"]
        if not share < WEAK:
            return f" The score accounts for {percent(share, 1)} of the differences in revenue (deviance)."
        return f" The link is weak: the score accounts for {percent(max(share, 0), 1)} of the differences in revenue (deviance)."

    def plot(self, ax=None):
        """Draw mean revenue by score: as it is (dots) and as the model has it (line, band)."""
        ax = axes_or_new(ax)
        curve = self.further["curve"].dropna(subset=["estimate"])
        ax.fill_between(curve["score"], curve["conf_low"], curve["conf_high"], color=PALETTE[0], alpha=0.2, linewidth=0)
        ax.plot(curve["score"], curve["estimate"], color=PALETTE[0], label="model, controls as they are")
        ax.plot(curve["score"], curve["observed"], "o", color=QUIET, label="observed mean")
        ax.set(ylim=(0, _ceiling(curve)), xlabel=wrap(self.label(self.loyalty), 60))
        ax.set_ylabel(f"{wrap(self.label(self.outcome), 28)}\n(money per customer)")
        if self.summary["established"]:
            ax.set_title(f"{number(self.summary['percent'])} % per point ({self._between('percent')})")
        else:
            ax.set_title("What a point goes with: not established")
        ax.legend(loc="lower right")
        return ax

    def plot_sensitivity(self, ax=None):
        """Draw what a hidden cause would leave of the linear model in levels, by its strength; zero is the thick line."""
        ax = axes_or_new(ax)
        grid = self.further["contour"].pivot(index="r2_revenue", columns="r2_score", values="estimate")
        lines = ax.contour(grid.columns, grid.index, grid.to_numpy(), levels=8, colors=QUIET, linewidths=0.8)
        ax.clabel(lines, fmt="%.3g", fontsize=8)
        ax.contour(grid.columns, grid.index, grid.to_numpy(), levels=[0], colors=PALETTE[1], linewidths=2)
        once = self.further["bounds"].query("times == 1").dropna(subset=["r2_score"])
        seen = once[(once["r2_score"] <= grid.columns.max()) & (once["r2_revenue"] <= grid.index.max())]
        for row in seen.itertuples():
            ax.plot(
                row.r2_score, row.r2_revenue, "D", color=PALETTE[0], label=f"as strong as {wrap(self.label(row.term))}"
            )
        for row in once.drop(seen.index).itertuples():
            ax.plot([], [], "D", color=QUIET, label=f"beyond the figure: as strong as {wrap(self.label(row.term))}")
        ax.set_xlabel(f"partial R² of a hidden cause with {wrap(self.label(self.loyalty), 40)}")
        ax.set_ylabel(f"partial R² with {wrap(self.label(self.outcome), 30)}")
        ax.set_title("Money per point left (linear model in levels); thick: none")
        if len(once):
            ax.legend(loc="upper right", frameon=True)
        return ax


def _ceiling(curve: pd.DataFrame) -> float:
    return 1.15 * float(np.nanmax(curve[["observed", "conf_high"]].to_numpy()))
