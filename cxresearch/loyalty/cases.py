"""From a survey to arrays: what is left out and counted, what is regressed on what, whose errors are how large."""

import warnings
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
from scipy import special

from cxresearch.errors import DataProblem, require_columns
from cxresearch.findings import Check, percent
from cxresearch.inference.clusters import two_way
from cxresearch.loyalty import refusals
from cxresearch.loyalty.refusals import is_categorical
from cxresearch.privacy import hidden_cells, pool_small_groups
from cxresearch.survey import Sample, Survey, sampling_units, total_covariance
from cxresearch.survey.sample import distinct

RECOMMEND = ("detractor", "passive", "promoter")
SHAPES = ("linear", "groups")
FEW_CLUSTERS = 40


@dataclass(frozen=True)
class Scale:
    """How a score enters a regression: as a line, cut into groups (lowest first), or, to test the line, as a spline."""

    names: tuple[str, ...]
    edges: np.ndarray  # group g holds scores above edges[g-1] and up to edges[g]
    top: float
    knots: np.ndarray  # of the spline; fewer than three make it a line

    def group(self, score) -> np.ndarray:
        """Return the group code (0 = lowest) of each score."""
        return np.searchsorted(self.edges, score, side="left")

    def columns(self, score, shape: str) -> np.ndarray:
        """Return the (n, q) columns of `shape` at `score`."""
        score = np.asarray(score, dtype=float)
        if shape == "groups":
            return (self.group(score)[:, None] == np.arange(1, len(self.names))).astype(float)
        return score[:, None] if shape == "linear" else natural_spline(score, self.knots)

    def terms(self, loyalty: str, shape: str) -> list[str]:
        """Return the names of those columns."""
        if shape == "groups":
            return [f"{loyalty}[{name}]" for name in self.names[1:]]
        bends = max(len(self.knots) - 2, 0) if shape == "spline" else 0
        return [loyalty, *[f"{loyalty}[bend {i}]" for i in range(1, bends + 1)]]


def scale_of(score, weights=None) -> Scale:
    """Return the groups of a score: recommend groups on 0-10, the same cuts on 1-10, levels, or thirds."""
    quantiles = lambda at, method: np.unique(  # noqa: E731
        np.quantile(score, at, weights=weights, method=method if weights is None else "inverted_cdf")
    )
    levels, knots = np.unique(score), quantiles([0.05, 0.35, 0.65, 0.95], "linear")
    whole = bool(np.all(levels == np.round(levels)))
    if whole and levels[0] >= 0 and levels[-1] <= 10 and levels[-1] >= 9 and levels[0] <= 6:
        names = RECOMMEND if levels[0] == 0 else (f"{levels[0]:.0f}-6", "7-8", "9-10")
        return Scale(names, np.array([6.0, 8.0]), 10.0, knots)
    if len(levels) <= 3:
        return Scale(tuple(f"{v:g}" for v in levels), levels[:-1], float(levels[-1]), knots)
    edges = quantiles([1 / 3, 2 / 3], "inverted_cdf")
    edges = edges[edges < levels[-1]]
    low = [levels[0], *[levels[levels > e][0] for e in edges]]
    names = tuple(
        f"{a:g}" if a == b else f"{a:g}-{b:g}" if a >= 0 else f"{a:g} to {b:g}"
        for a, b in zip(low, [*edges, levels[-1]])
    )
    return Scale(names, edges, float(levels[-1]), knots)


def natural_spline(x, knots) -> np.ndarray:
    """Return x and the bends of a restricted cubic spline, straight beyond the outer knots; (n, max(1, k - 1))."""
    x, t = np.asarray(x, dtype=float), np.asarray(knots, dtype=float)
    if len(t) < 3:
        return x[:, None]
    cube = lambda k: np.maximum(x - k, 0) ** 3  # noqa: E731
    last, gap, size = t[-1], t[-1] - t[-2], (t[-1] - t[0]) ** 2
    bends = [(cube(k) - cube(t[-2]) * (last - k) / gap + cube(last) * (t[-2] - k) / gap) / size for k in t[:-2]]
    return np.column_stack([x, *bends])


@dataclass(frozen=True, kw_only=True)
class Cases:
    """Complete cases as arrays, with the survey's sample of them; or the cells of a table that was never drawn."""

    revenue: str
    loyalty: str
    controls: tuple[str, ...]
    y: np.ndarray  # (n,) money per customer, >= 0
    score: np.ndarray  # (n,)
    weights: np.ndarray  # (n,)
    Z: np.ndarray  # (n, c) control columns
    terms: tuple[str, ...]  # names of the columns of Z
    of_control: np.ndarray  # (c,) which control each column belongs to
    effects: tuple[np.ndarray, ...] = ()  # (n,) codes of the groups that get an intercept each
    clusters: tuple[np.ndarray, ...] = ()  # none, one or two (n,) arrays of codes
    scale: Scale
    dropped: dict[str, int]  # reason -> rows
    rows: np.ndarray  # (n,) positions in the table in view
    received: int
    min_base: int
    drawn: Sample | None = None  # None: cells
    survey: Survey | None = None
    counts: np.ndarray  # (n,) customers behind each row: 1, but for cells
    zeros: np.ndarray  # (n,) share of them without revenue
    logs: np.ndarray  # (n,) mean of y ln y
    largest: np.ndarray  # (n,) the largest amount, by weight

    @property
    def n(self) -> int:
        """Customers, or customers and periods, behind the rows."""
        return int(round(self.counts.sum()))

    @property
    def n_effective(self) -> float:
        return float(self.n) if self.drawn is None else self.drawn.n_effective

    def X(self, shape: str, score=None) -> np.ndarray:
        """Return (n, p): intercept (unless effects hold it), the score in `shape`, the controls."""
        columns = self.scale.columns(self.score if score is None else score, shape)
        return np.column_stack([*([] if self.effects else [np.ones(len(self.y))]), columns, self.Z])

    def names(self, shape: str) -> list[str]:
        """Return the names of the columns of X."""
        return [*([] if self.effects else ["(intercept)"]), *self.scale.terms(self.loyalty, shape), *self.terms]

    def holding(self, held, **changed) -> "Cases":
        """Return the same rows with the controls `held` alone, and what else is `changed`."""
        kept = [i for i, control in enumerate(self.of_control) if self.controls[control] in held]
        owner = np.array([held.index(self.controls[self.of_control[i]]) for i in kept], dtype=int)
        terms = tuple(self.terms[i] for i in kept)
        return replace(self, controls=tuple(held), Z=self.Z[:, kept], terms=terms, of_control=owner, **changed)

    @property
    def is_survey(self) -> bool:
        s = self.survey
        return s is not None and any(name is not None for name in (s.weight, s.strata, s.fpc))

    @property
    def n_clusters(self) -> int | None:
        """Clusters of the coarser of the two ways; None where rows are independent."""
        return min(len(np.unique(c)) for c in self.clusters) if self.clusters else None

    @property
    def jackknifed(self) -> bool:
        """Whether clusters are few, so that each is left out in turn."""
        few = len(self.clusters) == 1 and self.n_clusters < FEW_CLUSTERS
        return few and (self.survey is None or self.survey.strata is None)

    def df(self, p: int) -> float:
        """Return the degrees of freedom of errors of `p` coefficients."""
        units = self.n if self.n_clusters is None else self.n_clusters
        if self.is_survey:
            return float(units - len(np.unique(self.drawn.units.stratum_of_psu[self.drawn.unit_of_row])))
        return float(self.n - p if self.n_clusters is None else units - 1)

    def errors(self) -> str:
        """Return how errors are computed, for `glance`."""
        if len(self.clusters) == 2:
            return f"clustered two ways ({', '.join(str(len(np.unique(c))) for c in self.clusters)} clusters)"
        kinds = ["survey-linearised"] * self.is_survey
        kinds += [f"clustered ({self.n_clusters} clusters)"] * len(self.clusters)
        return ", ".join(kinds) or "robust (HC1)"

    def covariance(self, influence, p: int) -> np.ndarray:
        """Return the covariance (k, k) of estimates from the influences (n, k) of rows: HC1, by cluster, or the design's."""
        # clusters as in Stata and statsmodels, G/(G-1) (n-1)/(n-p); a design without the last factor, as R's svyglm
        if self.drawn is None:
            return self.n / max(self.n - p, 1) * influence.T @ (influence / self.counts[:, None])
        factor = 1.0 if self.is_survey else (self.n - 1) / max(self.n - p, 1)
        if len(self.clusters) < 2:
            return factor * self.drawn.covariance_of(influence)
        given = replace(self.survey, cluster=None).arrays(self.rows)
        units = lambda codes: sampling_units(  # noqa: E731
            len(self.y), cluster=codes, strata=given["strata"], fpc=given["fpc"]
        )
        return two_way(lambda codes: factor * total_covariance(influence, units(codes)), *self.clusters)

    def hide(self, table: pd.DataFrame, code) -> tuple[pd.DataFrame, int]:
        """Return a table of cells of money, those under the floor in distinct persons hidden, and how many are."""
        base, keys = table["n"].to_numpy(), list(table.columns[:1])
        if self.drawn is not None and self.drawn.persons is not None:
            base = distinct(np.asarray(code, dtype=np.int64), self.drawn.persons, len(table))
        hidden = hidden_cells(table.assign(n=base), min_base=self.min_base, keys=keys)
        shown = table.set_index(keys)
        shown = shown.mask(np.broadcast_to(hidden[:, None], shown.shape)) if hidden.any() else shown
        return shown.reset_index(), int(hidden.sum())

    def zeros_check(self, most: float = 0.5) -> Check:
        share = float(self.weights @ self.zeros / self.weights.sum())
        if share > most:
            short = f"{percent(share)} of customers have no {self.revenue}: the window may be shorter than the purchase cycle"
            warnings.warn(short, stacklevel=4)
        limit = f"at most {most:g}; beyond it the window may be shorter than the purchase cycle"
        return Check("share of customers without revenue", share, limit, share <= most)

    def clusters_check(self, least: int = FEW_CLUSTERS, level: str = "care") -> Check:
        limit = f"none, or at least {least}; fewer make errors uncertain"
        value = self.n_clusters or "none: customers taken as independent"
        return Check("clusters", value, limit, self.n_clusters is None or self.n_clusters >= least, level)


def as_columns(name: str, given, *, most: int | None = None) -> tuple[str, ...]:
    """Return one column name, or several, as a tuple."""
    columns = (given,) if isinstance(given, str) else tuple(given or ())
    if most is not None and len(columns) > most:
        raise DataProblem(f"{name} takes at most {most} columns; found {len(columns)}: {', '.join(map(str, columns))}")
    if len(set(columns)) < len(columns):
        raise DataProblem(f"{name} names a column twice: {', '.join(map(str, columns))}")
    return columns


def cases_of(
    survey: Survey, *, revenue: str, loyalty: str, controls=(), effects=(), cluster: str | None = None,
    min_rows: int = 100, what: str = "fit_loyalty_revenue",
) -> Cases:  # fmt: skip
    """Check the survey's table, pool small categories of controls, take complete cases and count what is left out.

    Errors are clustered as the survey says, else by `cluster`, the first effect, or a person with several rows.
    """
    controls, effects = as_columns("controls", controls), as_columns("effects", effects, most=2)
    table, person = survey.table, survey.respondent
    repeated = (person,) if person is not None and table[person].dropna().duplicated().any() else ()
    clusters = as_columns("cluster", survey.cluster or cluster, most=2) or effects[:1] or repeated
    require_columns(table, revenue, loyalty, *controls, *effects, *clusters, where="the table of customers")
    y, score = refusals.check_revenue(table, revenue), refusals.check_score(table, loyalty, revenue)
    for column in controls:
        refusals.check_control(table[column], column, revenue=revenue, y=y, loyalty=loyalty, score=score)
    pooled = {
        c: pool_small_groups(table[c].astype(object), min_base=survey.min_base)
        if is_categorical(table[c]) else table[c].astype(float) for c in controls
    }  # fmt: skip
    complete, dropped = _complete(table, y, score, pooled, effects, clusters, loyalty)
    refusals.require_rows(int(complete.sum()), min_rows, what)
    drawn = replace(survey, cluster=clusters[0] if clusters else None).sample(complete, what=what)
    rows, weightless = drawn.rows, int(complete.sum()) - len(drawn)
    y, score, values = y[rows], score[rows], {c: v.to_numpy()[rows] for c, v in pooled.items()}
    for column in [c for c in controls if is_categorical(table[c])]:
        refusals.check_level(column, values[column], y, revenue)
    Z, terms, of_control = control_columns(values, np.ones(len(rows)))
    if not effects:
        refusals.check_rank(Z, terms)
    refusals.require_two_scores(loyalty, score, len(rows))
    of = lambda c: pd.factorize(table[c].to_numpy()[rows])[0]  # noqa: E731
    codes = [drawn.unit_of_row, *map(of, clusters[1:])][: len(clusters)]
    for name, code in zip(clusters, codes):
        if len(np.unique(code)) < 2:
            raise DataProblem(
                f"cluster {name!r} has one value in all {len(code)} rows; errors between clusters cannot be estimated: "
                "name a column with several, or none"
            )
    return Cases(
        revenue=revenue, loyalty=loyalty, controls=controls, y=y, score=score, weights=drawn.weights, Z=Z, terms=terms,
        of_control=of_control, effects=tuple(map(of, effects)), scale=scale_of(score), rows=rows,
        clusters=() if len(codes) == 1 and len(np.unique(codes[0])) == len(rows) else tuple(codes),  # a row each: none
        dropped=dropped | ({f"{survey.weight} is 0": weightless} if weightless else {}), received=len(table),
        min_base=survey.min_base, drawn=drawn, survey=survey, counts=np.ones(len(rows)),
        zeros=(y == 0).astype(float), logs=special.xlogy(y, y), largest=drawn.weights * y,
    )  # fmt: skip


def _complete(table, y, score, pooled, effects, clusters, loyalty) -> tuple[np.ndarray, dict[str, int]]:
    """Return which rows are complete, and how many are not for which reason."""
    missing = {f"{loyalty} missing": np.isnan(score)} | {f"{c} missing": v.isna() for c, v in pooled.items()}
    missing |= {f"{c} missing": table[c].isna() for c in (*effects, *clusters)}
    complete, dropped = np.ones(len(table), dtype=bool), {}

    def leave_out(reason, rows):
        lost = complete & np.asarray(rows)
        if lost.any():
            dropped[reason] = dropped.get(reason, 0) + int(lost.sum())
        complete[lost] = False

    for reason, rows in missing.items():
        leave_out(reason, rows)
    # A group without any revenue says nothing about the score within it, and its intercept would run to minus infinity.
    for column in (*effects, *effects):
        totals = pd.Series(np.where(complete, y, 0.0)).groupby(table[column].to_numpy()).transform("sum").to_numpy()
        leave_out(f"no revenue in any row of its {column}", ~(totals > 0))
    return complete, dropped


def control_columns(values: dict[str, np.ndarray], sizes) -> tuple[np.ndarray, tuple[str, ...], np.ndarray]:
    """Return the columns of the controls (n, c), their names, and which control each belongs to.

    `sizes` (n,) is how many customers each row stands for.
    """
    # of categories the largest is the one compared with: it gives the others their smallest errors
    blocks, terms, owner = [np.empty((len(sizes), 0))], [], []
    for i, (name, column) in enumerate(values.items()):
        block, names = column, [name]
        if column.dtype == object:
            counts = pd.Series(sizes).groupby(column).sum()
            first = min(counts.index, key=lambda v: (-counts[v], str(v)))
            levels = sorted((v for v in counts.index if v != first), key=str)
            block, names = column[:, None] == np.array(levels, dtype=object), [f"{name}[{v}]" for v in levels]
        blocks, terms, owner = [*blocks, block.astype(float)], [*terms, *names], [*owner, *[i] * len(names)]
    return np.column_stack(blocks), tuple(terms), np.array(owner, dtype=int)
