"""From a question to the rows and columns that answer it: the same checks for every analysis of drivers."""

from functools import lru_cache, wraps

import numpy as np
from threadpoolctl import ThreadpoolController

from cxresearch.drivers.resampling import design_units
from cxresearch.drivers.terms import Terms, build_terms, check_base, check_question
from cxresearch.errors import DataProblem, TooFewRespondents, require_choice, require_share


@lru_cache(maxsize=1)
def _pools() -> ThreadpoolController:
    return ThreadpoolController()


def one_thread(analysis):
    """Run an analysis with one linear-algebra thread: its many small products are slower on several, and differ."""

    @wraps(analysis)
    def run(*args, **kwargs):
        with _pools().limit(limits=1):
            return analysis(*args, **kwargs)

    return run


def names_of(columns) -> list[str]:
    """Return a list of column names from a list or one name."""
    return [columns] if isinstance(columns, str) else list(columns)


def check_chance(n_boot: int, seed) -> None:
    """Refuse a bootstrap without a seed or with too few replicates."""
    if n_boot != int(n_boot):
        raise DataProblem(f"n_boot={n_boot} must be a whole number of replicates")
    if n_boot and n_boot < 100:
        raise DataProblem(
            f"n_boot={n_boot} replicates are too few for an interval; ask for at least 100, or 0 for none"
        )
    if n_boot and seed is None:
        raise DataProblem("the bootstrap is random: give a seed, for example seed=1, or n_boot=0 for no interval")


def check_options(*, confidence: float, **choices) -> None:
    """Refuse an option that is not among its choices; each of `choices` is (value, allowed)."""
    for name, (value, allowed) in choices.items():
        require_choice(name, value, allowed)
    require_share("confidence", confidence)


def ask(
    table,
    *,
    function: str,
    outcome,
    drivers,
    missing: str,
    min_rows: int,
    min_base: int,
    blocks=None,
    always=(),
    not_applicable="exposure",
    design,
    least: int = 2,
) -> tuple[Terms, Terms]:
    """Return the terms to fit, and those of everyone who answered the outcome."""
    check_question(table, outcome=outcome, drivers=drivers, blocks=blocks, always=always, least=least)
    everyone = build_terms(
        table, outcome=outcome, drivers=drivers, blocks=blocks, always=always, not_applicable=not_applicable, **design
    )
    terms = everyone.rows(everyone.complete()) if missing == "listwise" else everyone
    check_base(terms, min_rows=min_rows, min_base=min_base, function=function, complete=missing == "listwise")
    check_clusters(design["cluster"], len(terms), strata=terms.strata, cluster=terms.cluster)
    return terms, everyone


def check_clusters(name, n: int, *, strata, cluster) -> None:
    """Refuse clusters that leave nothing to compare: how they vary is what intervals rest on."""
    stratum, unit = design_units(n, strata, cluster)
    if cluster is not None and unit.max() == stratum.max():
        found = "one cluster" if stratum.max() == 0 else "one cluster in each stratum"
        raise TooFewRespondents(
            f"{name!r} as cluster: the {n} rows are {found}, so nothing says how clusters vary; "
            "take a finer cluster, or leave cluster= out"
        )


def ratings_only(terms: Terms, function: str) -> np.ndarray:
    """Return the columns (n, p + 1) of terms that are one rating each, and the outcome; refuse others."""
    other = [t for t in terms.names if t not in terms.rating]
    if other:
        raise DataProblem(f"{function} needs drivers that are ratings; {other[0]!r} is not a number")
    return terms.columns[:, [*terms.rating.values(), terms.columns.shape[1] - 1]]
