"""Conditions on rows: column names, constants, comparisons, and, or, not, in; nothing that runs code."""

import ast
import operator
import re
from functools import reduce

import numpy as np
import pandas as pd

from cxresearch.errors import DataProblem, nearest, plain_text, require_columns

EXAMPLE = "write comparisons such as recommend <= 6 and region in ['North', 'South']"
COMPARED = {
    ast.Eq: operator.eq, ast.NotEq: operator.ne, ast.Lt: operator.lt, ast.LtE: operator.le, ast.Gt: operator.gt,
    ast.GtE: operator.ge,
}  # fmt: skip
MIRRORED = {ast.Lt: ast.Gt, ast.LtE: ast.GtE, ast.Gt: ast.Lt, ast.GtE: ast.LtE}


def rows_where(table: pd.DataFrame, condition: str, *, shown=lambda column: ()) -> np.ndarray:
    """Return which rows of `table` meet `condition`, (N,) bool; a comparison with a missing value is not met, nor is
    its opposite.

    Parameters
    ----------
    table : DataFrame
    condition : str
        A column whose name is no identifier stands in backticks.
    shown : callable
        Column -> the values that a message may name.

    Raises
    ------
    DataProblem
        Anything but comparisons of columns with constants, or a text that its column never holds.
    """
    quoted: dict[str, str] = {}

    def placeholder(found: re.Match) -> str:
        quoted[name := f"_column_{len(quoted)}"] = found[1]
        return name

    def refuse(why: str) -> DataProblem:
        return DataProblem(f"the condition {condition!r} {why}; {EXAMPLE}")

    def column_of(node) -> pd.Series:
        if not isinstance(node, ast.Name):
            raise refuse(f"holds {ast.unparse(node)!r} where a column or a constant belongs")
        asked = plain_text(quoted.get(node.id, node.id))
        name = next((c for c in table.columns if plain_text(c) == asked), asked)
        require_columns(table, name, where="the survey")
        return table[name]

    def truth(node) -> pd.Series:
        """Return whether each row meets `node`: true, false, or missing."""
        if isinstance(node, ast.BoolOp):
            joined = operator.and_ if isinstance(node.op, ast.And) else operator.or_
            return reduce(joined, map(truth, node.values))
        if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not):
            return ~truth(node.operand)
        if isinstance(node, ast.Compare):
            sides = [node.left, *node.comparators]
            return reduce(operator.and_, [compared(a, op, b) for a, op, b in zip(sides, node.ops, sides[1:])])
        if isinstance(node, ast.Name) and pd.api.types.is_bool_dtype(column_of(node)):
            return column_of(node).astype("boolean")
        raise refuse(f"holds {ast.unparse(node)!r}, which is no comparison")

    def compared(left, op, right) -> pd.Series:
        if isinstance(op, (ast.In, ast.NotIn)):
            if not isinstance(right, (ast.List, ast.Tuple)) or not right.elts:
                raise refuse("asks `in` of something other than a list of constants")
            inside = reduce(operator.or_, [compared(left, ast.Eq(), value) for value in right.elts])
            return ~inside if isinstance(op, ast.NotIn) else inside
        if type(op) not in COMPARED:
            raise refuse("compares by something other than == != < <= > >= in")
        constant = [_constant(side) for side in (left, right)]
        if constant[0] is not None and constant[1] is None:
            left, right, constant, op = right, left, constant[::-1], MIRRORED.get(type(op), type(op))()
        column, same = column_of(left), COMPARED[type(op)]
        value = column_of(right) if constant[1] is None else constant[1]
        if pd.api.types.is_numeric_dtype(column):
            if isinstance(value, str) or (constant[1] is None and not pd.api.types.is_numeric_dtype(value)):
                raise refuse(f"compares {column.name}, which holds numbers, with text")
            return same(column.astype("Float64"), value.astype("Float64") if constant[1] is None else float(value))
        if constant[1] is None:
            raise refuse(f"compares {column.name} with a column, which is for numbers")
        if pd.api.types.is_datetime64_any_dtype(column):
            when = pd.to_datetime(value, errors="coerce") if isinstance(value, str) else pd.NaT
            if pd.isna(when):
                raise refuse(f"compares {column.name}, which holds dates, with {value!r}: a date is '2024-03-31'")
            when = when if column.dt.tz is None or when.tzinfo else when.tz_localize(column.dt.tz)
            return same(column, when).astype("boolean").mask(column.isna())
        if not isinstance(op, (ast.Eq, ast.NotEq)):
            raise refuse(f"asks which texts of {column.name} are larger than {value!r}: name them with `in`")
        codes, levels = pd.factorize(column)
        equal = np.array([plain_text(level) == plain_text(value) for level in levels] + [False])
        if not equal.any():
            near = nearest(value, shown(column.name))
            raise DataProblem(f"the condition {condition!r}: {column.name} never holds {value!r}{near}; correct it")
        found = pd.Series(equal[codes], index=column.index, dtype="boolean").mask(codes < 0)
        return ~found if isinstance(op, ast.NotEq) else found

    try:
        tree = ast.parse(re.sub(r"`([^`]+)`", placeholder, str(condition).strip()), mode="eval")
    except SyntaxError as error:
        raise DataProblem(f"the condition {condition!r} cannot be read ({error.msg}); {EXAMPLE}") from None
    return truth(tree.body).fillna(False).to_numpy(dtype=bool)


def _constant(node):
    """Return the value of a number or a text, signs included; None of anything else."""
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub) and isinstance(node.operand, ast.Constant):
        return -node.operand.value
    allowed = isinstance(node, ast.Constant) and isinstance(node.value, (str, int, float))
    return node.value if allowed else None
