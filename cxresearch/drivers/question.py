"""From a survey to the rows and columns that answer a question of drivers; every refusal is here."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import lru_cache, wraps

import numpy as np
import pandas as pd
from threadpoolctl import ThreadpoolController

from cxresearch import digits
from cxresearch.errors import DataProblem, TooFewRespondents, require_choice, require_columns, require_share
from cxresearch.findings import Check
from cxresearch.survey import Sample, Survey, as_survey

MET = "_met"  # suffix of the companion column that says who met the touchpoint
MOST_LEVELS = 30
KINDS, NOT_APPLICABLE, MISSING = ("linear", "binary", "ordered"), ("exposure", "exclude"), ("em", "listwise")
NUMBERS = ("integer", "floating", "mixed-integer-float", "boolean", "decimal", "empty")  # as pandas infers of objects


pools = lru_cache(ThreadpoolController)  # the libraries are looked for once, when first asked


def one_thread(analysis):
    """Run an analysis with one linear-algebra thread: its many small products are slower on several, and differ."""

    @wraps(analysis)
    def run(*args, **kwargs):
        with pools().limit(limits=1):
            return analysis(*args, **kwargs)

    return run


@dataclass(frozen=True)
class Question:
    """The model's columns, row by row, with the sample they come from."""

    survey: Survey
    sample: Sample
    outcome: str
    names: tuple[str, ...]  # the p terms: drivers, or blocks of them
    columns: np.ndarray  # (n, m) controls, the terms' columns in order, the outcome; missing where skipped
    sizes: tuple[int, ...]  # columns of each term
    n_always: int  # control columns
    rating: Mapping[str, int]  # term -> the column whose sign is the term's, for terms that are one rating
    met: Mapping[str, np.ndarray]  # term -> (n,) who met the touchpoint, where never-met is declared
    source: Mapping[str, object]  # term -> column of the survey, for terms that are one driver

    def __len__(self) -> int:
        return len(self.columns)

    @property
    def df(self) -> float:
        """Sampling units less strata."""
        return float(self.sample.df[0])

    @property
    def skipped(self) -> bool:
        return bool(np.isnan(self.columns).any())

    def complete(self) -> np.ndarray:
        """Return which rows skipped nothing."""
        return ~np.isnan(self.columns).any(axis=1)

    def columns_of(self, term: str) -> slice:
        """Return where the columns of `term` stand."""
        start = self.n_always + sum(self.sizes[: self.names.index(term)])
        return slice(start, start + self.sizes[self.names.index(term)])

    def rated(self, term: str) -> np.ndarray:
        """Return who answered the term's questions, and met it where that is asked."""
        answered = ~np.isnan(self.columns[:, self.columns_of(term)]).any(axis=1)
        return answered & self.met.get(term, True)

    def where(self, kept) -> "Question":
        """Return the question of the rows where `kept` holds."""
        inside = np.zeros(len(self.survey), dtype=bool)
        inside[self.sample.rows[kept]] = True
        sample, met = self.survey.sample(inside), {t: who[kept] for t, who in self.met.items()}
        return replace(self, sample=sample, columns=self.columns[kept], met=met)

    def never(self, term: str) -> np.ndarray:
        """Return who never met the touchpoint."""
        return ~self.met.get(term, np.ones(len(self), dtype=bool))

    def given(self, term: str) -> np.ndarray:
        """Return the ratings of the question's rows as they were given, missing where the touchpoint was not met."""
        rows, driver = self.survey.table.iloc[self.sample.rows], self.source[term]
        return np.where(met(rows, driver), numeric(rows[driver]), np.nan)

    def few_units(self) -> tuple[Check, ...]:
        """Return the check of the clusters, where there are any."""
        limit = "at least 20, else intervals are too narrow"
        return (Check("clusters less strata", int(self.df), limit, self.df >= 20),) if self.survey.cluster else ()


def names_of(columns) -> list:
    """Return a list of column names from a list or one name."""
    return [columns] if isinstance(columns, str) else list(columns)


def check_options(
    *, confidence: float, n_boot: int, seed, kind="linear", missing="em", not_applicable="exposure"
) -> None:
    """Refuse an option that is not among its choices, and a bootstrap without a seed or too small."""
    require_choice("kind", kind, KINDS)
    require_choice("missing", missing, MISSING)
    require_choice("not_applicable", not_applicable, NOT_APPLICABLE)
    require_share("confidence", confidence)
    if n_boot != int(n_boot):
        raise DataProblem(f"n_boot={n_boot} must be a whole number of replicates")
    if n_boot and n_boot < 100:
        least = "ask for at least 100, or 0 for none"
        raise DataProblem(f"n_boot={n_boot} replicates are too few for an interval; {least}")
    if n_boot and seed is None:
        raise DataProblem("the bootstrap is random: give a seed, for example seed=1, or n_boot=0 for no interval")


def question_of(function: str, responses, *, n_boot, confidence, seed, kind="linear", **asked):
    """Return the question to fit, and that of everyone, with every option checked; see `ask`."""
    choices = {name: asked[name] for name in ("missing", "not_applicable") if name in asked}
    check_options(confidence=confidence, n_boot=n_boot, seed=seed, kind=kind, **choices)
    return ask(as_survey(responses), function=function, **asked)


def ratings_of(function: str, responses, **options) -> Question:
    """Return the question of drivers that are ratings, for an analysis that rests on replicates; see `question_of`."""
    question, _ = question_of(function, responses, **options)
    if not options["n_boot"]:
        raise DataProblem(f"{function} needs replicates; give n_boot of at least 100")
    if other := [t for t in question.names if t not in question.rating]:
        raise DataProblem(f"{function} needs drivers that are ratings; {other[0]!r} is not a number")
    return question


def ask(
    survey: Survey, *, function: str, outcome, drivers, missing: str, min_rows: int, blocks=None, always=(),
    not_applicable="exposure", least: int = 2,
) -> tuple[Question, Question]:  # fmt: skip
    """Return the question to fit, and that of everyone who answered the outcome and at least one driver.

    A driver with a companion column ``<driver>_met`` is, by "exposure", two columns: exposure x (rating - mean among
    the exposed), and exposure, zeros in rows that never met it; "exclude" leaves those rows out.
    """
    table, drivers, always = survey.table, names_of(drivers), names_of(always)
    check_question(table, outcome=outcome, drivers=drivers, blocks=blocks, always=always, least=least)
    answered = ~np.isnan(numeric(table[outcome]))
    if not_applicable == "exclude":
        answered &= np.logical_and.reduce([met(table, d) for d in (*drivers, *always)])
    if not answered.any():
        raise TooFewRespondents(f"no row of {len(table)} answered {outcome!r} and can be used")
    sample = survey.sample(answered, what=function)
    rows = table if len(sample) == len(table) else table.iloc[sample.rows]
    rows.attrs = {}  # pandas copies them with every column that is taken
    parts = {d: driver_columns(rows, d, sample.weights, not_applicable) for d in (*always, *drivers)}
    block_of = {d: name for name, inside in (blocks or {}).items() for d in inside}
    members: dict[str, list] = {}
    for d in drivers:
        members.setdefault(str(block_of.get(d, d)), []).append(d)
    n_always = sum(parts[a].shape[1] for a in always)
    sizes = tuple(sum(parts[d].shape[1] for d in names) for names in members.values())
    starts = n_always + np.cumsum((0, *sizes))
    alone = {t: (names[0], int(s)) for (t, names), s in zip(members.items(), starts) if len(names) == 1}
    exposed = not_applicable == "exposure"
    everyone = Question(
        survey, sample, outcome, tuple(members),
        np.column_stack([*(parts[d] for d in always), *(parts[d] for names in members.values() for d in names),
                         numeric(rows[outcome])]),
        sizes, n_always,
        {t: start for t, (d, start) in alone.items() if is_rating(rows[d])},
        {t: met(rows, d) for t, (d, _) in alone.items() if exposed and f"{d}{MET}" in table.columns},
        {t: d for t, (d, _) in alone.items()},
    )  # fmt: skip
    some = ~np.isnan(everyone.columns[:, n_always:-1]).all(axis=1)
    everyone = everyone if some.all() else everyone.where(some)
    asked = everyone.where(everyone.complete()) if missing == "listwise" and everyone.skipped else everyone
    _check_base(asked, min_rows=min_rows, function=function, complete=missing == "listwise")
    return asked, everyone


def check_question(table, *, outcome, drivers, blocks, always, least: int = 2) -> None:
    """Refuse a question that names columns twice, wrongly or too few of them."""
    named = [*drivers, *always]
    require_columns(table, outcome, *named, where="responses")
    if outcome in named:
        raise DataProblem(f"{outcome!r} is the outcome and a driver at once; take it off drivers= and always=")
    if twice := sorted({d for d in named if named.count(d) > 1}):
        raise DataProblem(f"{twice[0]!r} is named twice among drivers= and always=; name each driver once")
    if not len(drivers):
        raise DataProblem("drivers= is empty; name the columns whose part is asked for")
    if len(drivers) < least:
        few = f"at least {least} are needed to divide anything among them"
        raise DataProblem(f"drivers= names {len(drivers)} column(s); {few}")
    seen: dict[str, str] = {}
    for name, members in (blocks or {}).items():
        if isinstance(members, str) or not len(members):
            raise DataProblem(f"blocks[{name!r}] must be a list of drivers; found {members!r}")
        if unknown := [d for d in members if d not in drivers]:
            raise DataProblem(f"blocks[{name!r}] holds {unknown[0]!r}, which is not among drivers=")
        if twice := [d for d in members if seen.setdefault(d, name) != name or list(members).count(d) > 1]:
            both = f"{seen[twice[0]]!r} and {name!r}"
            raise DataProblem(f"{twice[0]!r} is in blocks {both}; a driver belongs to one block")
        if name in drivers and name not in members:
            raise DataProblem(f"block {name!r} has the name of a driver that is not in it; rename the block")
        if least > 1 and set(members) >= set(drivers):
            raise DataProblem("blocks= puts all drivers into one block; at least 2 terms are needed to divide anything")


def _check_base(question: Question, *, min_rows: int, function: str, complete: bool) -> None:
    """Refuse too few rows or sampling units, an outcome without variance, and as many columns as rows."""
    n, m = question.columns.shape
    if n < min_rows:
        rows = "complete" if complete else "usable"
        raise TooFewRespondents(f"{function} needs at least {min_rows} {rows} rows; found {n}")
    if n <= m:
        raise TooFewRespondents(f"{function} has {m - 1} driver columns and {n} rows; it needs more rows than columns")
    if np.ptp(question.columns[:, -1]) == 0:
        one = f"{question.columns[0, -1]:g}"
        raise DataProblem(f"all {n} answers to the outcome are {one}; there is no variance to divide")
    for term in question.names:
        answers = ~np.isnan(question.columns[:, question.columns_of(term)]).any(axis=1)
        if persons_in(question.sample, answers) < (floor := question.sample.min_base):
            few = f"fewer than the {floor} rows that the study's minimum base asks for"
            raise TooFewRespondents(f"{term!r} is answered by {few}; leave it out")
    check_clusters(question.survey, question.sample)


def persons_in(sample: Sample, rows: np.ndarray) -> int:
    """Return how many distinct persons the rows are: what the floor counts."""
    return int(rows.sum()) if sample.persons is None else len(np.unique(sample.persons[rows]))


def check_clusters(survey: Survey, sample: Sample) -> None:
    """Refuse clusters that leave nothing to compare: how they vary is what intervals rest on."""
    if survey.cluster is None or sample.df[0] >= 1:
        return
    one = "one cluster" if len(np.unique(sample.unit_of_row)) == 1 else "one cluster in each stratum"
    raise TooFewRespondents(
        f"{survey.cluster!r} as cluster: the {len(sample)} rows are {one}, so nothing says how clusters vary; take a "
        "finer cluster, or leave cluster= out"
    )


# --- columns ---------------------------------------------------------------------------------------------------------


def met(table, driver: str) -> np.ndarray:
    """Return who met the touchpoint: everybody where no companion column says otherwise."""
    if f"{driver}{MET}" not in table.columns:
        return np.ones(len(table), dtype=bool)
    return table[f"{driver}{MET}"].to_numpy() != False  # noqa: E712  (a missing companion is no "never met")


def is_rating(values: pd.Series) -> bool:
    """Return whether answers are numbers, as they are or as objects or in ordered categories; not categories."""
    if isinstance(values.dtype, pd.CategoricalDtype):
        return values.cat.ordered and pd.api.types.is_numeric_dtype(values.cat.categories.dtype)
    if values.dtype == object:
        return pd.api.types.infer_dtype(values, skipna=True) in NUMBERS
    return pd.api.types.is_numeric_dtype(values.dtype)


def numeric(values: pd.Series) -> np.ndarray:
    """Return a column as floats; refuse text and dates, naming it."""
    if not is_rating(values):
        raise DataProblem(f"{values.name!r} holds {_not_numbers(values)}, or convert the column to numbers")
    out = pd.to_numeric(values.astype(object)) if isinstance(values.dtype, pd.CategoricalDtype) else values
    out = out.to_numpy(dtype=float, na_value=np.nan)
    if np.isinf(out).any():
        raise DataProblem(f"{values.name!r} holds {int(np.isinf(out).sum())} infinite value(s); make them missing")
    return digits.whole(out)


def _not_numbers(values: pd.Series) -> str:
    if pd.api.types.is_datetime64_any_dtype(values.dtype):
        return "dates; take the column off"
    text = values[pd.to_numeric(values.astype(object), errors="coerce").isna() & values.notna()]
    if len(text):
        counts = text.astype(str).value_counts().sort_index(kind="stable").sort_values(ascending=False, kind="stable")
        found = ", ".join(f"{v!r}: {c}" for v, c in counts.head(3).items()) + (", …" if len(counts) > 3 else "")
        return f"{len(text)} text value(s) ({found}); declare them as missing codes in study.yml"
    if isinstance(values.dtype, pd.CategoricalDtype):
        return "numbers as categories without an order; give the categories an order"
    return f"numbers stored as text ({values.dropna().iloc[0]!r}); declare them as missing codes in study.yml"


def driver_columns(rows, driver: str, weights, not_applicable: str) -> np.ndarray:
    """Return the model's columns of one driver, (n, k)."""
    values = rows[driver]
    rating = is_rating(values)
    x = numeric(values) if rating else np.where(values.isna(), np.nan, 0.0)
    if np.isnan(x).all():
        nobody = f"nobody among the {len(rows)} rows that answered the outcome"
        raise TooFewRespondents(f"{driver!r} is answered by {nobody}; leave it out")
    if not rating and not pd.api.types.is_datetime64_any_dtype(values.dtype):
        declared = isinstance(values.dtype, pd.CategoricalDtype)
        if declared or pd.to_numeric(values, errors="coerce").isna().all():  # text throughout
            return _dummies(values)
    x = x if rating else numeric(values)
    if not_applicable != "exposure" or f"{driver}{MET}" not in rows.columns:
        return x[:, None]
    exposed = met(rows, driver)
    base = exposed & ~np.isnan(x)
    if not base.any():
        raise TooFewRespondents(f"{driver!r} is answered by nobody who met it; leave it out")
    centred = np.where(exposed, x - np.average(x[base], weights=weights[base]), 0.0)
    return centred[:, None] if exposed.all() else np.column_stack([centred, exposed.astype(float)])


def _dummies(values: pd.Series) -> np.ndarray:
    levels = sorted(values.dropna().astype(str).unique())
    if len(levels) > MOST_LEVELS:
        many = f"{len(levels)} different texts, too many for a categorical driver (at most {MOST_LEVELS})"
        raise DataProblem(f"{values.name!r} holds {many}; group them first")
    text = values.astype(str).to_numpy()
    columns = np.column_stack([text == level for level in levels[1:] or levels]).astype(float)
    columns[values.isna().to_numpy()] = np.nan
    return columns


# --- scales ----------------------------------------------------------------------------------------------------------


def scale_of(survey: Survey, item: str) -> tuple[float, float] | None:
    """Return the lowest and the highest answer that the item allowed, as declared; None where nobody said."""
    if item not in survey.scales:
        return None
    low, high = map(float, survey.scales[item])
    if not low < high:
        raise DataProblem(f"the scale of {item!r}, ({low:g}, {high:g}), must be (lowest, highest)")
    x = numeric(survey.table[item])
    outside = x[digits.outside(x, low, high)]
    if outside.size:
        raise DataProblem(
            f"{item!r} holds {outside.size} ratings outside {low:g}-{high:g} (first: {outside[0]:g}); correct its "
            "scale or declare them missing"
        )
    return low, high


def scales_of(question: Question) -> tuple[dict[str, tuple[float, float]], Check]:
    """Return the scale of each term, and the check that they are declared: the ends found may be too narrow."""
    survey, source = question.survey, question.source
    scales = {t: scale_of(survey, source[t]) for t in question.names}
    undeclared = [t for t, scale in scales.items() if scale is None]
    if undeclared:
        found = np.concatenate([numeric(survey.table[source[t]]) for t in undeclared])
        scales |= dict.fromkeys(undeclared, (float(np.nanmin(found)), float(np.nanmax(found))))
    limit = "none, else the ends are those found"
    return scales, Check("drivers without a declared scale", len(undeclared), limit, not undeclared)
