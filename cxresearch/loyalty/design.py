"""From a table to arrays: what is refused, what is left out and counted, what is regressed on what."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from cxresearch.errors import DataProblem, TooFewRespondents, require_columns
from cxresearch.inference import checked_weights, kish_effective_n
from cxresearch.loyalty.covariance import Sampling
from cxresearch.loyalty.shape import Scale, scale_of
from cxresearch.loyalty.trouble import check_clusters, check_control, check_level, check_revenue, check_score
from cxresearch.privacy import pool_small_groups, require_base


@dataclass(frozen=True)
class Sample:
    """Complete cases as arrays."""

    revenue: str
    loyalty: str
    controls: tuple[str, ...]
    y: np.ndarray  # (n,) money per customer, >= 0
    score: np.ndarray  # (n,)
    weights: np.ndarray  # (n,)
    Z: np.ndarray  # (n, c) control columns
    terms: tuple[str, ...]  # names of the columns of Z
    of_control: np.ndarray  # (c,) which control each column belongs to
    effects: tuple[np.ndarray, ...]  # (n,) codes of the groups that get an intercept each
    sampling: Sampling
    scale: Scale
    dropped: dict[str, int]  # reason -> rows
    rows: np.ndarray  # (n,) positions in the table that was given

    @property
    def n(self) -> int:
        return len(self.y)

    @property
    def n_effective(self) -> float:
        return kish_effective_n(self.weights)

    def X(self, shape: str, *, score=None, controls: bool = True) -> np.ndarray:
        """Return (n, p): intercept (unless effects hold it), the score in `shape`, the controls."""
        columns = [self.scale.columns(self.score if score is None else score, shape)]
        columns += [self.Z] if controls else []
        return np.column_stack(([] if self.effects else [np.ones(self.n)]) + columns)

    def names(self, shape: str, *, controls: bool = True) -> list[str]:
        """Return the names of the columns of X."""
        names = [] if self.effects else ["(intercept)"]
        return names + self.scale.terms(self.loyalty, shape) + (list(self.terms) if controls else [])


def as_columns(name: str, given, *, most: int | None = None) -> tuple[str, ...]:
    """Return one column name, or several, as a tuple."""
    columns = (given,) if isinstance(given, str) else tuple(given or ())
    if most is not None and len(columns) > most:
        raise DataProblem(f"{name} takes at most {most} columns; found {len(columns)}: {', '.join(map(str, columns))}")
    if len(set(columns)) < len(columns):
        raise DataProblem(f"{name} names a column twice: {', '.join(map(str, columns))}")
    return columns


def sample(
    table: pd.DataFrame,
    *,
    revenue: str,
    loyalty: str,
    controls: Sequence[str] = (),
    effects: Sequence[str] = (),
    weight=None,
    strata=None,
    cluster=None,
    fpc=None,
    min_rows: int = 100,
    min_base: int = 1,
    what: str = "fit_loyalty_revenue",
) -> Sample:
    """Check the table, take complete cases and count what is left out.

    `cluster` is one column or a pair; without it, effects are clustered by their first column. Categories of a
    control under `min_base` rows are pooled before complete cases are taken.
    """
    controls, effects = as_columns("controls", controls), as_columns("effects", effects, most=2)
    clusters = as_columns("cluster", cluster, most=2) or effects[:1]
    used = [revenue, loyalty, *controls, *effects, *clusters]
    require_columns(table, *used, weight, strata, fpc, where="the table of customers")
    y = check_revenue(table, revenue)
    score = check_score(table, loyalty, revenue)
    for column in controls:
        check_control(table[column], column, revenue=revenue, y=y, loyalty=loyalty, score=score)
    pooled = {c: _pooled(table[c], min_base) for c in controls}
    kept, dropped = _complete(table, score, pooled, [*effects, *clusters, strata, fpc, weight], loyalty)
    kept, dropped = _with_some_revenue(table, y, kept, effects, dropped)
    _require_rows(kept, min_rows, min_base, what)
    for column in controls:
        check_level(column, pooled[column].to_numpy()[kept], y[kept], revenue)
    Z, terms, of_control = _controls({c: v.to_numpy()[kept] for c, v in pooled.items()}, len(kept), bool(effects))
    codes = [pd.factorize(table[c].to_numpy()[kept])[0] for c in clusters]
    if len(np.unique(score[kept])) < 2:
        raise DataProblem(
            f"{loyalty} has one value ({score[kept][0]:g}) in all {len(kept)} rows used; nothing can go with it"
        )
    check_clusters(clusters, codes)
    codes = [] if len(codes) == 1 and len(np.unique(codes[0])) == len(kept) else codes  # a row each: no clusters
    weights = checked_weights(None if weight is None else table[weight].to_numpy()[kept], len(kept))
    return Sample(
        revenue=revenue,
        loyalty=loyalty,
        controls=controls,
        y=y[kept],
        score=score[kept],
        weights=weights,
        Z=Z,
        terms=tuple(terms),
        of_control=of_control,
        effects=tuple(pd.factorize(table[c].to_numpy()[kept])[0] for c in effects),
        sampling=_sampling(table, kept, codes, strata, fpc, weight),
        scale=scale_of(score[kept]),
        dropped=dropped,
        rows=kept,
    )


def _sampling(table, kept, codes, strata, fpc, weight) -> Sampling:
    return Sampling(
        clusters=tuple(codes),
        strata=None if strata is None else pd.factorize(table[strata].to_numpy()[kept])[0],
        fpc=None if fpc is None else table[fpc].to_numpy(dtype=float)[kept],
        weighted=weight is not None,
    )


def is_categorical(column: pd.Series) -> bool:
    """Return whether a control is a set of categories (text, category, yes/no) and not a number."""
    return not pd.api.types.is_numeric_dtype(column) or pd.api.types.is_bool_dtype(column)


def _pooled(column: pd.Series, min_base: int) -> pd.Series:
    if not is_categorical(column):
        return column.astype(float)
    return pool_small_groups(column.astype(object), min_base=min_base)


def _complete(table, score, pooled, others, loyalty) -> tuple[np.ndarray, dict[str, int]]:
    missing = {f"{loyalty} missing": np.isnan(score)}
    missing |= {f"{c} missing": v.isna().to_numpy() for c, v in pooled.items()}
    missing |= {f"{c} missing": table[c].isna().to_numpy() for c in dict.fromkeys(others) if c is not None}
    gone, dropped = np.zeros(len(table), dtype=bool), {}
    for reason, rows in missing.items():
        dropped |= {reason: int(np.sum(rows & ~gone))} if np.any(rows & ~gone) else {}
        gone |= rows
    return np.flatnonzero(~gone), dropped


def _with_some_revenue(table, y, kept, effects, dropped) -> tuple[np.ndarray, dict[str, int]]:
    # A group without any revenue says nothing about the score within it, and its intercept would run to minus infinity.
    for column in (*effects, *effects):
        totals = pd.Series(y[kept]).groupby(table[column].to_numpy()[kept]).transform("sum").to_numpy()
        lost = int(np.sum(totals == 0))
        reason = f"no revenue in any row of its {column}"
        dropped = dropped | ({reason: dropped.get(reason, 0) + lost} if lost else {})
        kept = kept[totals > 0]
    return kept, dropped


def _require_rows(kept, min_rows, min_base, what) -> None:
    require_base(len(kept), min_base=min_base, what=what)
    if len(kept) < min_rows:
        raise TooFewRespondents(f"{what} needs at least {min_rows} complete rows; found {len(kept)}")


def _controls(pooled: dict[str, np.ndarray], n: int, within: bool) -> tuple[np.ndarray, list[str], np.ndarray]:
    blocks, terms, owner = [], [], []
    for i, (name, values) in enumerate(pooled.items()):
        block, names = _dummies(name, values) if values.dtype == object else (values.astype(float)[:, None], [name])
        blocks, terms, owner = [*blocks, block], [*terms, *names], [*owner, *[i] * len(names)]
    Z = np.column_stack(blocks) if blocks else np.empty((n, 0))
    if not within:
        _require_rank(Z, terms)
    return Z, terms, np.array(owner, dtype=int)


def _dummies(name: str, values) -> tuple[np.ndarray, list[str]]:
    # The largest category is the one compared with: it gives the others their smallest errors.
    order = pd.Series(values).value_counts()
    levels = sorted(sorted(order.index, key=lambda v: (-order[v], str(v)))[1:], key=str)
    columns = [(values == v).astype(float) for v in levels]
    block = np.column_stack(columns) if columns else np.empty((len(values), 0))
    return block, [f"{name}[{v}]" for v in levels]


def _require_rank(Z, terms) -> None:
    if Z.shape[1] == 0:
        return
    S = Z - Z.mean(axis=0)
    S = S / np.maximum(np.sqrt(np.mean(np.square(S), axis=0)), 1e-300)
    _, R = np.linalg.qr(S)
    bad = [t for t, d in zip(terms, np.abs(np.diag(R))) if d < 1e-8 * np.sqrt(len(Z))]
    if bad:
        raise DataProblem(f"control {bad[0]} is constant, or repeats other controls, in the rows used; leave it out")
