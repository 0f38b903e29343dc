"""Partition customers, and say whether the parts are real.

A partition always exists; segments need not. They are called established only if neighbouring segments are separated
by an emptier region (`structure`; for categorical items: if no smaller number of classes has a larger BIC) and every
segment is found again in resampled customers (`stability`).
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from cxresearch.errors import require_columns
from cxresearch.findings import Finding, describe_columns, listing, number, percent
from cxresearch.segments.figures import draw_map, draw_profile, draw_stability
from cxresearch.segments.methods import Rule
from cxresearch.segments.profiles import segment_names, suggested_names
from cxresearch.segments.scaling import Coding, Scaling
from cxresearch.segments.structure import Structure
from cxresearch.survey import as_survey

HIGHLY, STABLE, DOUBTFUL = 0.85, 0.75, 0.6  # Hennig (2007): stable from .75; under .6 not to be trusted

describe_columns(
    jaccard=("Stability", "mean Jaccard similarity to the nearest segment of refits to resampled customers, 0-1", 2),
    stability=("Verdict", "what the Jaccard similarity means (Hennig 2007)"),
    silhouette=("Silhouette", "mean silhouette width, -1 to 1", 2),
    suggested_name=("Suggested name", "from the two most distinguishing features"),
    std_difference=("Std. difference", "mean less that of all customers, in standard deviations", 2),
    transform=("Transform", "what was done to a feature before scaling"),
    n_segments=("Segments", "how many segments", 0),
    form=("Form", "kind of model, with its family of covariances"),
    n_starts=("Starts", "random starts of the optimiser", 0),
    n_boot=("Replicates", "bootstrap replicates", 0),
    starts_at_best=("Starts at best", "starts that ended in the reported solution", 0),
    within=("Within", "sum of squares within segments, on the scaled features", 1),
    log_likelihood=("Log-likelihood", "of the model, natural logarithm", 1),
    low=("Lowest", "value below which a feature was cut, in its own unit", 2),
    high=("Highest", "value above which a feature was cut, in its own unit", 2),
    drawn_in=("Drawn in", "values beyond the lowest and highest that were set to these", 0),
    x=("x", "place on the first axis of the map, in spreads within segments", 2),
    y=("y", "place on the second axis of the map", 2),
    x_spread=("x spread", "variance of the segment along the first axis", 2),
    y_spread=("y spread", "variance of the segment along the second axis", 2),
    xy_spread=("xy spread", "covariance of the segment between the axes", 2),
    scale=("Scale", "spread that a feature was divided by, after its transform", 2),
)


@dataclass(frozen=True, repr=False, eq=False, kw_only=True)
class Segmentation(Finding):
    """Segments of customers; `augment` assigns any table that has the features.

    Attributes
    ----------
    features
        Columns that the segments rest on.
    reader, rule
        The frozen way from a table to a common scale (or codes), and from there to a segment.
    structure
        Prediction strength and separation.
    supported
        The largest number of segments, at most the one asked for, that the data hold apart; 1 if none.
    plane
        Of the map: what its two axes go with, and which part (0-1) of the differences between segments it shows.
    """

    features: tuple[str, ...]
    reader: Scaling | Coding
    rule: Rule
    structure: Structure
    supported: int
    plane: tuple[list[str], float]

    @property
    def k(self) -> int:
        return len(self.rule.shares)

    @property
    def categorical(self) -> bool:
        return isinstance(self.reader, Coding)

    @property
    def separated(self) -> bool:
        """Whether the data hold apart as many segments as were asked for."""
        return self.supported == self.k

    @property
    def established(self) -> bool:
        """Whether the segments are separated and each is stable."""
        return self.separated and bool(self.summary["min_jaccard"] >= STABLE)

    def sentence(self) -> str:
        return f"{self._verdict()}{self._optimiser()}"

    def _optimiser(self) -> str:
        reached, tried = self.summary["starts_at_best"], self.summary["n_starts"]
        if reached > 1:
            return ""
        return f" The optimiser reached this solution from {reached} of {tried} starts only, so a better one may exist: raise n_starts before judging the segments."

    def _verdict(self) -> str:
        basis = f"by {len(self.features)} features of {number(self.summary['n'], 0)} customers"
        if not self.separated:
            return self._not_separated(basis)
        if not self.established:
            weak = self.table.dropna(subset="jaccard").query(f"jaccard < {STABLE}")
            found = (
                listing(f"{s} ({number(j, 2)})" for s, j in zip(weak["segment"], weak["jaccard"]))
                if len(weak)
                else "a segment below the minimum base"
            )
            return (
                f"{self.k} segments {basis} are not established: found again too rarely in {self.summary['n_boot']} resamples is "
                f"{found}; a Jaccard similarity of {STABLE} is required. The sizes are {self._sizes()}."
            )
        names = suggested_names(
            self.further["profile"].dropna(subset="std_difference"), categorical=self.categorical, label=self.label
        )
        return (
            f"{self.k} segments {basis} are separated and stable (lowest Jaccard similarity {number(self.summary['min_jaccard'], 2)} over "
            f"{self.summary['n_boot']} resamples): {self._sizes()}. Against all customers, {'; '.join(f'{s} has {name}' for s, name in names.items())}."
        )

    def _not_separated(self, basis: str) -> str:
        strength = f"prediction strength {number(self.structure.prediction_strength, 2)}"
        why = f"neighbouring segments are not separated, p = {number(self.structure.p_value, 3)}; {strength}"
        why = f"a smaller number has a larger BIC; {strength}" if self.categorical else why
        if self.supported > 1:
            return f"{self.k} segments {basis} are not established ({why}); {self.supported} are the most that the data hold apart. The sizes are {self._sizes()}."
        return f"No structure worth naming is established: the {self.k} segments {basis} divide one cloud ({why}). The sizes are {self._sizes()}."

    def _sizes(self) -> str:
        shown = self.table.dropna(subset="n")
        words = [f"{s} {percent(share)}" for s, share in zip(shown["segment"], shown["share"])]
        return listing(words + (["the rest below the minimum base"] if len(shown) < len(self.table) else []))

    def plot(self, ax=None):
        """Draw the profile: standardised differences by feature (rows) and segment (columns), with values."""
        return draw_profile(self, ax)

    def plot_stability(self, ax=None):
        """Draw each segment's Jaccard similarity, with the limits below which it is doubtful, or not to be trusted."""
        return draw_stability(self, {DOUBTFUL: "doubtful", STABLE: "stable", HIGHLY: "highly\nstable"}, ax)

    def plot_map(self, ax=None):
        """Draw where the segments lie in the plane that shows most of their differences; no customer is drawn."""
        axes, shown = self.plane
        return draw_map(self.further["map"], ["; ".join(self._axis_words(a)) for a in axes], shown, ax)

    def _axis_words(self, axis: str) -> list[str]:
        pairs = [part.split(" ", 1) for part in axis.split("; ") if part]
        return [f"{more} {self.feature_label(feature)}" for more, feature in pairs]

    def feature_label(self, feature: str) -> str:
        """Return the words for a feature, or for a category of an item."""
        item, _, category = feature.partition(": ")
        return f"{self.label(item)}: {category}" if self.categorical else self.label(feature)

    def augment(self, table: pd.DataFrame) -> pd.DataFrame:
        """Return the same rows with `segment` added by the frozen rule; missing where a feature is."""
        table = as_survey(table).table
        require_columns(table, *self.features)
        x, complete = self.reader.read(table)
        segment = pd.Series(None, index=table.index, dtype=object)
        if complete.any():
            segment.loc[complete] = np.array(segment_names(self.k), dtype=object)[self.rule.assign(x)]
        return table.assign(segment=segment)

    def posterior(self, table: pd.DataFrame) -> tuple[np.ndarray, np.ndarray]:
        """Return (m, k) probabilities of belonging for the rows that have every feature, and which rows those are."""
        x, complete = self.reader.read(table)
        return self.rule.posterior(x), complete
