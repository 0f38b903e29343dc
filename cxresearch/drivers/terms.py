"""From a table of responses to the columns of a model: ratings, dummies, blocks, exposure; every refusal is here."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from cxresearch import digits
from cxresearch.errors import DataProblem, TooFewRespondents, require_columns
from cxresearch.inference import checked_weights
from cxresearch.privacy import require_base

MET = "_met"  # suffix of the companion column that says who met the touchpoint
MOST_LEVELS = 30
NUMBERS = ("integer", "floating", "mixed-integer-float", "boolean", "decimal", "empty")  # as pandas infers of objects


@dataclass(frozen=True)
class Terms:
    """The model's columns, row by row.

    Attributes
    ----------
    names
        The p terms: drivers, or blocks of them.
    columns : (n, m) array
        Control columns, then the terms' columns in order, then the outcome; missing where an answer was skipped.
    sizes
        Columns of each term.
    n_always
        Control columns.
    rating : dict term -> column
        The column whose sign is the term's, for terms that are one rating.
    share_exposed : dict term -> share (0-1, weighted) of the rows that met it, where never-met is declared.
    received : rows of the table, before any was left out.
    """

    names: tuple[str, ...]
    columns: np.ndarray
    sizes: tuple[int, ...]
    n_always: int
    rating: Mapping[str, int]
    share_exposed: Mapping[str, float]
    weights: np.ndarray
    strata: np.ndarray | None
    cluster: np.ndarray | None
    fpc: np.ndarray | None
    received: int

    def __len__(self) -> int:
        return len(self.columns)

    @property
    def design(self) -> dict[str, np.ndarray | None]:
        """Strata, clusters and sampling fractions, by name."""
        return dict(strata=self.strata, cluster=self.cluster, fpc=self.fpc)

    def rows(self, kept) -> "Terms":
        """Return the terms of the rows where `kept` holds."""
        design = {k: None if v is None else v[kept] for k, v in self.design.items()}
        return replace(self, columns=self.columns[kept], weights=self.weights[kept], **design)

    def complete(self) -> np.ndarray:
        """Return which rows skipped nothing."""
        return ~np.isnan(self.columns).any(axis=1)

    def columns_of(self, term: str) -> slice:
        """Return where the columns of `term` stand."""
        start = self.n_always + sum(self.sizes[: self.names.index(term)])
        return slice(start, start + self.sizes[self.names.index(term)])


def check_question(table, *, outcome, drivers, blocks, always, least: int = 2) -> None:
    """Refuse a question that names columns twice, wrongly or too few of them."""
    require_columns(table, outcome, *drivers, *always, where="responses")
    if outcome in (*drivers, *always):
        raise DataProblem(f"{outcome!r} is the outcome and a driver at once; take it off drivers= and always=")
    twice = sorted({d for d in (*drivers, *always) if (*drivers, *always).count(d) > 1})
    if twice:
        raise DataProblem(f"{twice[0]!r} is named twice among drivers= and always=; name each driver once")
    if not len(drivers):
        raise DataProblem("drivers= is empty; name the columns whose part is asked for")
    if len(drivers) < least:
        raise DataProblem(
            f"drivers= names {len(drivers)} column(s); at least {least} are needed to divide anything among them"
        )
    _check_blocks(blocks or {}, drivers)
    if least > 1 and any(set(members) >= set(drivers) for members in (blocks or {}).values()):
        raise DataProblem("blocks= puts all drivers into one block; at least 2 terms are needed to divide anything")


def _check_blocks(blocks, drivers) -> None:
    seen: dict[str, str] = {}
    for name, members in blocks.items():
        if isinstance(members, str) or not len(members):
            raise DataProblem(f"blocks[{name!r}] must be a list of drivers; found {members!r}")
        for member in members:
            if member not in drivers:
                raise DataProblem(f"blocks[{name!r}] holds {member!r}, which is not among drivers=")
            if member in seen:
                raise DataProblem(
                    f"{member!r} is in blocks {seen[member]!r} and {name!r}; a driver belongs to one block"
                )
            seen[member] = name
        if name in drivers and name not in members:
            raise DataProblem(f"block {name!r} has the name of a driver that is not in it; rename the block")


def build_terms(
    table: pd.DataFrame,
    *,
    outcome,
    drivers,
    blocks=None,
    always=(),
    not_applicable="exposure",
    weight=None,
    strata=None,
    cluster=None,
    fpc=None,
) -> Terms:
    """Return the columns of the model for the rows that answered the outcome and have weight.

    A driver with a companion column ``<driver>_met`` and not_applicable="exposure" becomes two columns:
    exposure x (rating - mean among the exposed), and exposure; a row that never met it holds zeros. With "exclude"
    rows that never met any of the drivers are left out.
    """
    require_columns(table, weight, strata, cluster, fpc, where="responses")
    y = numeric(table, outcome)
    weights = _weights(table, weight)
    kept = ~np.isnan(y) & (weights > 0)
    if not_applicable == "exclude":
        kept &= np.logical_and.reduce([met(table, d) for d in (*drivers, *always)])
    rows = table.loc[kept]
    if not len(rows):
        raise TooFewRespondents(f"no row of {len(table)} answered {outcome!r} and can be used")
    weights = weights[kept]
    parts = {d: driver_columns(rows, d, weights, not_applicable) for d in (*always, *drivers)}
    members = _members(drivers, blocks or {})
    columns = [parts[a] for a in always] + [parts[d] for names in members.values() for d in names]
    sizes = tuple(sum(parts[d].shape[1] for d in names) for names in members.values())
    n_always = sum(parts[a].shape[1] for a in always)
    starts = n_always + np.cumsum((0, *sizes))
    rated = {
        t: int(s) for (t, names), s in zip(members.items(), starts) if len(names) == 1 and is_rating(rows, names[0])
    }
    exposed = {
        t: float(np.average(met(rows, n[0]), weights=weights))
        for t, n in members.items()
        if len(n) == 1 and f"{n[0]}{MET}" in table.columns and not_applicable == "exposure"
    }
    design = design_arrays(rows, strata=strata, cluster=cluster, fpc=fpc)
    terms = Terms(
        tuple(members),
        np.column_stack([*columns, y[kept]]),
        sizes,
        n_always,
        rated,
        exposed,
        weights,
        received=len(table),
        **design,
    )
    answered_some = ~np.isnan(terms.columns[:, n_always:-1]).all(axis=1)
    return terms if answered_some.all() else terms.rows(answered_some)


def _members(drivers, blocks) -> dict[str, list[str]]:
    block_of = {d: name for name, inside in blocks.items() for d in inside}
    members: dict[str, list[str]] = {}
    for d in drivers:
        members.setdefault(str(block_of.get(d, d)), []).append(d)
    return members


def design_arrays(rows, *, strata=None, cluster=None, fpc=None) -> dict[str, np.ndarray | None]:
    """Return the design's columns by role; refuse missing values, and sampling fractions outside 0-1."""
    design: dict[str, np.ndarray | None] = {}
    for role, column in (("strata", strata), ("cluster", cluster), ("fpc", fpc)):
        design[role] = None if column is None else rows[column].to_numpy()
        missing = 0 if column is None else int(rows[column].isna().sum())
        if missing:
            raise DataProblem(
                f"{column!r} as {role}: {missing} of {len(rows)} are missing; give every row a value, or drop the row"
            )
    if fpc is not None and not ((numeric(rows, fpc) >= 0) & (numeric(rows, fpc) < 1)).all():
        raise DataProblem(f"{fpc!r} as fpc must be the sampling fraction of the row's stratum, at least 0 and below 1")
    return design


def _weights(table, weight) -> np.ndarray:
    try:
        return checked_weights(None if weight is None else numeric(table, weight), len(table))
    except DataProblem as problem:
        raise DataProblem(str(problem).replace("weights:", f"{weight!r} as weight:", 1)) from None


def met(table, driver: str) -> np.ndarray:
    """Return who met the touchpoint: everybody where no companion column says otherwise."""
    if f"{driver}{MET}" not in table.columns:
        return np.ones(len(table), dtype=bool)
    return table[f"{driver}{MET}"].to_numpy() != False  # noqa: E712  (a missing companion is no "never met")


def is_rating(table, driver: str) -> bool:
    """Return whether the driver is numbers, as they are or as objects or in ordered categories; not categories."""
    values = table[driver]
    if isinstance(values.dtype, pd.CategoricalDtype):
        return values.cat.ordered and pd.api.types.is_numeric_dtype(values.cat.categories.dtype)
    if values.dtype == object:
        return pd.api.types.infer_dtype(values, skipna=True) in NUMBERS
    return pd.api.types.is_numeric_dtype(values.dtype)


def numeric(table: pd.DataFrame, column: str) -> np.ndarray:
    """Return the column as floats; refuse text and dates, naming it."""
    values = table[column]
    if not is_rating(table, column):
        raise DataProblem(f"{column!r} holds {_not_numbers(values)}, or convert the column to numbers")
    out = pd.to_numeric(values.astype(object)) if isinstance(values.dtype, pd.CategoricalDtype) else values
    out = out.to_numpy(dtype=float, na_value=np.nan)
    if np.isinf(out).any():
        raise DataProblem(f"{column!r} holds {int(np.isinf(out).sum())} infinite value(s); make them missing")
    return digits.whole(out)


def _not_numbers(values: pd.Series) -> str:
    if pd.api.types.is_datetime64_any_dtype(values.dtype):
        return "dates; take the column off"
    text = values[pd.to_numeric(values.astype(object), errors="coerce").isna() & values.notna()]
    if len(text):
        return f"{len(text)} text value(s) ({_counted(text)}); declare them as missing codes in study.yml"
    if isinstance(values.dtype, pd.CategoricalDtype):
        return "numbers as categories without an order; give the categories an order"
    return f"numbers stored as text ({values.dropna().iloc[0]!r}); declare them as missing codes in study.yml"


def _counted(text: pd.Series) -> str:
    counts = text.astype(str).value_counts().sort_index(kind="stable").sort_values(ascending=False, kind="stable")
    return ", ".join(f"{v!r}: {c}" for v, c in counts.head(3).items()) + (", …" if len(counts) > 3 else "")


def driver_columns(rows, driver: str, weights, not_applicable: str) -> np.ndarray:
    """Return the model's columns of one driver, (n, k)."""
    answered = rows[driver].notna()
    if not answered.any():
        raise TooFewRespondents(
            f"{driver!r} is answered by nobody among the {len(rows)} rows that answered the outcome; leave it out"
        )
    if is_categorical(rows[driver]):
        return _dummies(rows[driver])
    x = numeric(rows, driver)
    exposed = met(rows, driver)
    if not_applicable != "exposure" or f"{driver}{MET}" not in rows.columns:
        return x[:, None]
    x = np.where(exposed, x, np.nan)
    base = exposed & ~np.isnan(x)
    if not base.any():
        raise TooFewRespondents(f"{driver!r} is answered by nobody who met it; leave it out")
    centred = np.where(exposed, x - np.average(x[base], weights=weights[base]), 0.0)
    return centred[:, None] if exposed.all() else np.column_stack([centred, exposed.astype(float)])


def is_categorical(values: pd.Series) -> bool:
    """Return whether the answers are categories: declared so, without numbers in order, or text throughout."""
    if isinstance(values.dtype, pd.CategoricalDtype):
        return not (values.cat.ordered and pd.api.types.is_numeric_dtype(values.cat.categories.dtype))
    if pd.api.types.is_datetime64_any_dtype(values.dtype) or pd.api.types.is_numeric_dtype(values.dtype):
        return False
    return bool(pd.to_numeric(values, errors="coerce").isna().all())


def _dummies(values: pd.Series) -> np.ndarray:
    levels = sorted(values.dropna().astype(str).unique())
    if len(levels) > MOST_LEVELS:
        raise DataProblem(
            f"{values.name!r} holds {len(levels)} different texts, too many for a categorical driver (at most "
            f"{MOST_LEVELS}); group them first"
        )
    text = values.astype(str).to_numpy()
    columns = np.column_stack([text == level for level in levels[1:] or levels]).astype(float)
    columns[values.isna().to_numpy()] = np.nan
    return columns


def check_base(terms: Terms, *, min_rows: int, min_base: int, function: str, complete: bool) -> None:
    """Refuse too few rows, an outcome without variance, and as many columns as rows."""
    n, m = terms.columns.shape
    require_base(n, min_base=min_base, what=function)
    if n < min_rows:
        raise TooFewRespondents(
            f"{function} needs at least {min_rows} {'complete' if complete else 'usable'} rows; found {n}"
        )
    if n <= m:
        raise TooFewRespondents(f"{function} has {m - 1} driver columns and {n} rows; it needs more rows than columns")
    if np.ptp(terms.columns[:, -1]) == 0:
        raise DataProblem(
            f"all {n} answers to the outcome are {terms.columns[0, -1]:g}; there is no variance to divide"
        )
    for term in terms.names:
        answers = int((~np.isnan(terms.columns[:, terms.columns_of(term)]).any(axis=1)).sum())
        if answers < min_base:
            raise TooFewRespondents(
                f"{term!r} is answered by fewer than the {min_base} rows that the study's minimum base asks "
                f"for; leave it out"
            )
