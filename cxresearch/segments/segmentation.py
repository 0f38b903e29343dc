"""Partition customers, and say whether the parts are real.

A partition always exists; segments need not. They are called established only if neighbouring segments are separated
by an emptier region (for categorical items: if no smaller number of classes has a larger BIC) and every segment is found
again in resampled customers.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from cxresearch import digits
from cxresearch.errors import DataProblem, TooFewRespondents, require_columns
from cxresearch.figures import forest, heat_map, titled
from cxresearch.findings import Check, Finding, listing, number, percent
from cxresearch.privacy import hide_cells
from cxresearch.segments.evidence import MOST_SCORE, STABLE, checks_of, evidence_of, largest_supported
from cxresearch.segments.features import Coding, Scaling, dominated, prepared
from cxresearch.segments.methods import Fit, Fitter
from cxresearch.segments.sentences import in_units, in_words, say
from cxresearch.survey import Survey, as_survey

NOTABLE = 0.3  # standard deviations from the mean of all customers before a feature may enter a name


@dataclass(frozen=True, repr=False, eq=False, kw_only=True)
class Segmentation(Finding):
    """Segments of customers; `augment` assigns any table that has the features."""

    features: tuple[str, ...]
    reader: Scaling | Coding  # the frozen way from a table to a common scale, or to codes
    fit: Fit  # and from there to a segment
    fitter: Fitter  # the method that found it
    centres: np.ndarray  # (k, m) means on the common scale: what segmentations are matched by

    @property
    def k(self) -> int:
        return self.fit.k

    @property
    def categorical(self) -> bool:
        return isinstance(self.reader, Coding)

    def sentence(self) -> str:
        s, shown = self.summary, self.table.dropna(subset="n").assign(share=lambda t: t["share"].map(percent))
        rows = shown.assign(words=shown["jaccard"].map(lambda j: number(j, 2)), name=shown["suggested_name"])
        rest = [say("hidden")] if len(shown) < self.k else []
        said = {key: [say(key, **row) for row in rows.to_dict("records")] for key in ("profile", "size")}
        weak = [say("weak", **row) for row in rows.to_dict("records") if row["jaccard"] < STABLE]
        values = {name: number(s[name], 2) for name in ("min_jaccard", "prediction_strength", "separation_score")}
        values |= {"k": self.k, "n": number(s["n"], 0), "p": len(self.features), "stable": STABLE, "limit": MOST_SCORE}
        values |= {"profile": "; ".join(said["profile"] + rest), "sizes": listing(said["size"] + rest)}
        key = "established" if self.established else "not stable" if s["supported"] == self.k else None
        key = key or ("fewer" if s["supported"] > 1 else "one") + (" classes" if self.categorical else " segments")
        found = say(key, **{**s, **values, "method": say(s["method"])}, weak=listing(weak or [say("weak hidden")]))
        return found if s["starts_at_best"] > 1 else f"{found} {say('optimiser', **s)}"

    def plot(self, ax=None):
        """Draw the profile: standardised differences by feature (rows) and segment (columns), with values."""
        profile = self.further["profile"]
        grid = profile.pivot(index="feature", columns="segment", values="std_difference").astype(float)
        grid = grid.reindex(index=list(dict.fromkeys(profile["feature"])), columns=list(self.table["segment"]))
        grid.columns = [f"{s} {'hidden' if pd.isna(v) else percent(v)}" for s, v in zip(grid, self.table["share"])]
        item = lambda name: name.partition(": ")[0] if self.categorical else name  # noqa: E731
        grid.index = [self.label(item(name)) + name.removeprefix(item(name)) for name in grid.index]
        ax = heat_map(grid, decimals=1, centre=0, ax=ax)
        title = "established title" if self.established else "doubtful title"
        return titled(ax, say(title, k=self.k), say("segments unit"))

    def plot_stability(self, ax=None):
        """Draw each segment's Jaccard similarity, and the limit from which it is stable."""
        found, options = self.table["jaccard"] >= STABLE, {"low": "jaccard", "high": "jaccard", "line": STABLE}
        ax = forest(self.table, "jaccard", names=list(self.table["segment"]), marked=found, **options, ax=ax)
        ax.set_xlim(0, 1.02)
        return titled(ax, say("stability title", k=self.k, found=int(found.sum())), say("stability unit"))

    def augment(self, table) -> Survey:
        """Return the same rows with `segment` added by the frozen rule; missing where a feature is."""
        survey = as_survey(table)
        x, complete = self.read(survey.table)
        segment = np.full(len(complete), None, dtype=object)
        if complete.any():
            segment[complete] = np.array(segment_names(self.k), dtype=object)[self.fit.rule.predict(x)]
        return survey.with_table(survey.table.assign(segment=segment))

    def read(self, table: pd.DataFrame) -> tuple[np.ndarray, np.ndarray]:
        """Return the rows that have every feature, on the common scale or in codes, and which rows those are."""
        require_columns(table, *self.features)
        return self.reader.read(table)

    def real(self) -> Check:
        """Return the check without which nothing about these segments stands."""
        found = "yes" if self.established else "no"
        return Check("segments established", found, "yes", found == "yes", "stops")


def stands(finding: Finding) -> bool:
    """Return whether no check stops a finding."""
    return all(check.ok for check in finding.tested if check.level == "stops")


def segment_customers(
    customers, *, features: Sequence[str], n_segments: int, method: str = "kmeans", n_starts: int = 50,
    n_boot: int = 100, min_rows: int = 100, seed: int,
) -> Segmentation:  # fmt: skip
    """Partition customers into `n_segments` by their features, and test whether the parts are real.

    ``tidy``: segment (S1 the largest), n, share, silhouette, jaccard, stability, suggested_name, description (means
    in natural units). ``tables`` adds profile (estimate in the feature's unit or as share of a category,
    std_difference), scaling and, for mixtures, families. ``glance`` has separation_score, which is no p-value.
    Refused are features that are unknown, constant, not numeric or the same twice, and fewer than `min_rows` complete
    rows.

    Parameters
    ----------
    customers : Survey or DataFrame
        One row per customer. Rows without every feature are left out and counted; weights are not used.
    features : sequence of str
        Numeric columns (shares, counts, money, days alike); for latent classes categorical items. Those that are never
        negative and have a skewness over 1 are taken as log(1 + x); ``tables()["scaling"]`` says which.
    n_segments : int
        At least 2.
    method : ``'kmeans'``, ``'mixture'`` or ``'latent_class'``
        A mixture is Gaussian, its family of covariances (spherical, diagonal, common, free) chosen by BIC.
    n_starts, n_boot : int
        Random starts of the reported fit (a mixture divides them among the families), and resamples for the Jaccard
        similarities (Hennig 2007).

    Examples
    --------
    >>> segments = cx.segment_customers(behaved, features=["recency_days", "frequency"], n_segments=2, n_boot=10, seed=1)
    >>> segments.tidy()["suggested_name"].tolist()
    ['here lately, frequent', 'long away, rare']
    """
    survey = as_survey(customers)
    if not isinstance(n_segments, (int, np.integer)) or n_segments < 2:
        raise DataProblem(
            f"n_segments={n_segments!r} must be a whole number of at least 2; one segment is what the others are tested against"
        )
    options = dict(method=method, min_rows=min_rows, most=n_segments, caller="segment_customers")
    basis = prepared(survey, features, **options)
    fit = basis.fitter.fit(basis.x, n_segments, n_starts=n_starts, seed=seed)
    sizes, names = np.bincount(fit.labels, minlength=fit.k), segment_names(fit.k)
    if empty := int((sizes == 0).sum()):
        # A mixture or a class model may fit a part to which nobody most likely belongs; it has no profile and no size.
        raise TooFewRespondents(
            f"segment_customers: {empty} of the {fit.k} segments asked for would hold nobody; ask for fewer segments"
        )
    found = evidence_of(basis, fit, n_boot=n_boot, seed=seed)
    supported = largest_supported(basis, found, n_starts=min(n_starts, 10), seed=seed + 2)
    segment, standard = np.array(names, dtype=object)[fit.labels], basis.standard
    means = [pd.DataFrame(values, columns=basis.names).groupby(segment).mean() for values in (basis.shown, standard)]
    profile = pd.concat([mean.loc[names].stack() for mean in means], axis=1, keys=["estimate", "std_difference"])
    profile = profile.rename_axis(["segment", "feature"]).reset_index()
    profile["n"] = profile["segment"].map(dict(zip(names, sizes)))
    gone = dominated(pd.DataFrame(basis.shown, columns=basis.names), segment, survey.min_base)
    profile["estimate"] = profile["estimate"].mask(profile["feature"].isin(gone))
    words = [_words(part, basis.categorical, survey) for _, part in profile.groupby("segment", sort=False)]
    table = pd.DataFrame({"segment": names, "n": sizes, "share": sizes / sizes.sum(), "silhouette": found.silhouettes})
    table = table.assign(jaccard=found.jaccard, stability=found.stability)
    table["suggested_name"], table["description"] = zip(*words)
    table = hide_cells(table, min_base=survey.min_base)
    scaling = basis.reader.table()
    told = scaling["feature"].isin(gone) & (scaling["transform"] == "none")  # from a mean of logs no sum follows
    hidden = profile["segment"].isin(table.loc[table["n"].isna(), "segment"])
    hidden |= profile["feature"].isin(scaling.loc[told, "feature"])
    shown = {name: profile[name].mask(hidden) for name in ("estimate", "std_difference", "n")}
    further = {"profile": profile.assign(**shown), "scaling": scaling[~told]}
    further |= {"families": pd.DataFrame(fit.families, columns=["form", "bic"])} if fit.families else {}
    kept = ("form", "bic", "silhouette", "min_jaccard", "prediction_strength", "separation_score")
    summary = {"n": len(basis.x), "n_segments": fit.k, "supported": supported, "method": method, "n_starts": n_starts}
    summary |= {"starts_at_best": fit.starts_at_best, "n_boot": n_boot, "within": fit.within}
    summary |= {"log_likelihood": fit.log_likelihood} | {name: found.row[name] for name in kept}
    summary["established"] = supported == fit.k and found.row["min_jaccard"] >= STABLE
    outcome = f"{method} on {', '.join(basis.reader.features)}"
    return Segmentation(
        "segment_customers", outcome, None, table, summary, checks_of(basis, found, n_starts, supported),
        survey.labels, further, suppressed=int(table["n"].isna().sum()), domain=survey.condition,
        features=basis.reader.features, reader=basis.reader, fit=fit, fitter=basis.fitter, centres=means[1].loc[names].to_numpy(),
    )  # fmt: skip


def segment_names(k: int) -> list[str]:
    """Return S1 … Sk."""
    return [f"S{j + 1}" for j in range(k)]


def _words(part: pd.DataFrame, categorical: bool, survey: Survey) -> tuple[str, str]:
    """Return a segment's name from its two most distinguishing features, and its means in natural units.

    Of categorical items the two categories most over-represented, one an item, stand for both.
    """
    part = part.assign(item=part["feature"].str.partition(": ")[0] if categorical else part["feature"])
    part["label"] = [survey.label(item) + f.removeprefix(item) for item, f in zip(part["item"], part["feature"])]
    ranked = part.iloc[digits.descending(part["std_difference"].abs(), part["feature"])]
    ranked = ranked[(ranked["std_difference"] if categorical else ranked["std_difference"].abs()) >= NOTABLE]
    top = ranked.drop_duplicates("item").head(2)
    names = [in_words(r.feature, r.std_difference, r.label, categorical=categorical) for r in top.itertuples()]
    rows = (top if categorical else part.dropna(subset="estimate")).itertuples()
    means = [in_units(r.feature, r.estimate, r.label, survey.currency, categorical=categorical) for r in rows]
    return ", ".join(dict.fromkeys(names)) or "near the average", ", ".join(means) or "near the average"
