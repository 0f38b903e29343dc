"""Many customers: the cells of a table too large for memory, as weighted rows of the same cases.

For integer scores and categorical controls a Poisson fit and its robust errors need, of each combination of score and
categories, the number of customers and the sums of revenue and of its square. A cell stands as two rows of half its
customers each, one standard deviation above and below its mean, which have the same sums.
"""

from collections.abc import Sequence

import duckdb
import numpy as np
import pandas as pd

from cxresearch import digits
from cxresearch.errors import DataProblem, require_columns
from cxresearch.inference.events import opened, quoted
from cxresearch.loyalty import refusals
from cxresearch.loyalty.cases import Cases, as_columns, control_columns, scale_of
from cxresearch.privacy import pool_small_groups, require_base
from cxresearch.survey import Table

MOST_CELLS = 100_000
NAMED = "the table of customers"


def cells_as_cases(
    table: Table, *, revenue: str, loyalty: str, controls: Sequence[str] = (), min_rows: int = 100,
    what: str = "fit_loyalty_revenue", threads: int | None = None, memory_limit: str | None = None,
) -> Cases:  # fmt: skip
    """Return the cells of a table as cases; controls are categories, numbers too, and small ones are pooled."""
    controls = as_columns("controls", controls)
    given = dict(revenue=revenue, loyalty=loyalty, controls=controls, threads=threads, memory_limit=memory_limit)
    cells, received = read_cells(table.data, **given)
    sizes = cells["n"].to_numpy(dtype=float)
    n, lost = int(sizes.sum()), received - int(sizes.sum())
    require_base(n, min_base=table.min_base, what=what)
    refusals.require_rows(n, min_rows, what)
    mean = cells["total"].to_numpy() / sizes
    spread = np.sqrt(np.maximum(cells["squares"].to_numpy() / sizes - mean**2, 0.0))
    twice = lambda values: np.tile(np.asarray(values), 2)  # noqa: E731
    score, counts = twice(cells[loyalty].to_numpy(dtype=float)), twice(sizes / 2)
    refusals.require_two_scores(loyalty, score, n)
    Z, terms, of_control = control_columns({c: twice(_pooled(cells, c, table.min_base)) for c in controls}, counts)
    refusals.check_rank(Z, terms)
    return Cases(
        revenue=revenue, loyalty=loyalty, controls=controls, y=np.concatenate([mean + spread, mean - spread]),
        score=score, weights=counts, Z=Z, terms=terms, of_control=of_control, scale=scale_of(score, counts),
        dropped={"score or a control missing": lost} if lost else {}, rows=np.arange(len(score)), received=received,
        min_base=table.min_base, counts=counts, zeros=twice(cells["zeros"] / sizes), logs=twice(cells["logs"] / sizes),
        largest=twice(cells["largest"].to_numpy(dtype=float)),
    )  # fmt: skip


def leak_of_cells(s: Cases) -> str | None:
    """Return how the score tells who bought nothing, from cells scaled to some 100,000 customers, or None."""
    half = len(s.score) // 2
    scaled, zeros = 2 * s.counts[:half] * min(1.0, 1e5 / s.n), s.zeros[:half]
    parts = np.concatenate([scaled * zeros, scaled * (1 - zeros)]).round().astype(int)
    score, nothing = np.tile(s.score[:half], 2), np.repeat([True, False], half)
    return refusals.gives_away(np.repeat(score, parts), np.repeat(nothing, parts), "has no revenue", "have no revenue")


def read_cells(customers, *, revenue, loyalty, controls, threads=None, memory_limit=None) -> tuple[pd.DataFrame, int]:
    """Return one row a cell (loyalty, controls, n, total, squares, zeros, largest, logs) and the number of rows read."""
    score, y = quoted(loyalty), quoted(revenue)  # scores whole, but for the last digits of a computed one
    keys = ", ".join((f"round({score}) AS {score}", *map(quoted, controls)))
    complete = " AND ".join(f"{quoted(c)} IS NOT NULL" for c in (loyalty, *controls))
    broken = f"count(*) FILTER (abs({score} - round({score})) > {digits.LAST})"
    with opened(customers, threads=threads, memory_limit=memory_limit) as relation:
        require_columns(relation, revenue, loyalty, *controls, where=NAMED)
        try:
            found = relation.aggregate(
                f"count(*), count(*) FILTER ({y} < 0), count(*) - count({y}), min({y}), max({y}), {broken}"
            )
            n, negative, missing, lowest, highest, fractions = found.fetchall()[0]
        except duckdb.Error:
            why = f"{revenue} and {loyalty} must be numbers; the engine reads at least one of them as text"
            raise DataProblem(why) from None
        if not n:
            raise DataProblem(f"{NAMED} has no rows")
        refusals.require_money(revenue, n, negative, missing, lowest, highest or 0.0)
        if fractions:
            why = f"{fractions} values that are not whole numbers; round it, or hand over a DataFrame"
            raise DataProblem(f"{loyalty} holds {why}")
        cells = relation.query(
            "customers",
            f'SELECT {keys}, count(*) AS "n", fsum({y}) AS "total", fsum({y} * {y}) AS "squares", '
            f'count(*) FILTER ({y} = 0) AS "zeros", max({y}) AS "largest", '
            f'coalesce(fsum({y} * ln({y})) FILTER ({y} > 0), 0) AS "logs" '
            f"FROM customers WHERE {complete} GROUP BY ALL LIMIT {MOST_CELLS + 1}",
        ).df()
    if len(cells) > MOST_CELLS:
        advice = "leave out the control with the most values, or band it"
        raise DataProblem(f"score and controls make more than {MOST_CELLS} cells; {advice}")
    return cells.sort_values([loyalty, *controls], ignore_index=True), int(n)


def _pooled(cells: pd.DataFrame, control: str, min_base: int) -> np.ndarray:
    sizes = cells.groupby(control)["n"].sum().sort_values(kind="stable")
    # how far a category lies above the base does not matter, only the order: small stand-ins pool alike
    stand_in = np.minimum(sizes.to_numpy(), 2 * min_base + np.arange(len(sizes)))
    names = np.repeat(sizes.index.to_numpy(dtype=object), stand_in)
    pooled = pool_small_groups(pd.Series(names, dtype=object), min_base=min_base)
    return cells[control].map(dict(zip(names, pooled))).astype(object).to_numpy()
