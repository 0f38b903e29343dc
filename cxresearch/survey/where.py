"""Conditions on rows: column names, constants, comparisons, and, or, not, in; nothing that runs code."""

import ast
import operator
import re

import numpy as np
import pandas as pd

from cxresearch.errors import DataProblem, nearest, plain_text, require_columns

EXAMPLE = "for example \"recommend <= 6 and region in ['North', 'South']\""
_COMPARED = {
    ast.Eq: operator.eq, ast.NotEq: operator.ne, ast.Lt: operator.lt, ast.LtE: operator.le, ast.Gt: operator.gt,
    ast.GtE: operator.ge,
}  # fmt: skip


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
        Anything but comparisons of columns with constants, or a value that its column never holds.
    """
    names: dict[str, str] = {}

    def placeholder(found: re.Match) -> str:
        names[name := f"_column_{len(names)}"] = found[1]
        return name

    try:
        tree = ast.parse(re.sub(r"`([^`]+)`", placeholder, str(condition).strip()), mode="eval")
    except SyntaxError as error:
        raise DataProblem(f"the condition {condition!r} cannot be read ({error.msg}); write {EXAMPLE}") from None
    met = _Condition(table, str(condition), names, shown).truth(tree.body)
    return met.fillna(False).to_numpy(dtype=bool)


class _Condition:
    """One condition on one table."""

    def __init__(self, table, condition, names, shown):
        self.table, self.condition, self.names, self.shown = table, condition, names, shown

    def refuse(self, why: str) -> DataProblem:
        return DataProblem(f"the condition {self.condition!r} {why}; write {EXAMPLE}")

    def truth(self, node) -> pd.Series:
        """Return whether each row meets `node`: true, false, or missing."""
        if isinstance(node, ast.BoolOp):
            parts = [self.truth(value) for value in node.values]
            joined = operator.and_ if isinstance(node.op, ast.And) else operator.or_
            first, *rest = parts
            for part in rest:
                first = joined(first, part)
            return first
        if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not):
            return ~self.truth(node.operand)
        if isinstance(node, ast.Compare):
            sides = [node.left, *node.comparators]
            found = [self.compared(a, op, b) for a, op, b in zip(sides, node.ops, sides[1:])]
            return found[0] if len(found) == 1 else np.logical_and.reduce(found)
        if isinstance(node, ast.Name) and pd.api.types.is_bool_dtype(self.column(node)):
            return self.column(node).astype("boolean")
        raise self.refuse(f"holds {ast.unparse(node)!r}, which is no comparison")

    def column(self, node: ast.Name) -> pd.Series:
        name = self.names.get(node.id, node.id)
        if name not in self.table.columns:
            name = next((c for c in self.table.columns if plain_text(c) == plain_text(name)), name)
        require_columns(self.table, name, where="the survey")
        return self.table[name]

    def constant(self, node):
        if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub) and isinstance(node.operand, ast.Constant):
            return -node.operand.value
        if isinstance(node, ast.Constant) and isinstance(node.value, (str, int, float)):
            return node.value
        raise self.refuse(f"holds {ast.unparse(node)!r}; only column names and constants may be compared")

    def compared(self, left, op, right) -> pd.Series:
        if isinstance(op, (ast.In, ast.NotIn)):
            if not isinstance(left, ast.Name) or not isinstance(right, (ast.List, ast.Tuple)) or not right.elts:
                raise self.refuse("asks `in` of something other than a column and a list of constants")
            column = self.column(left)
            found = [self.pair(column, ast.Eq(), self.constant(value)) for value in right.elts]
            inside = np.logical_or.reduce(found) if len(found) > 1 else found[0]
            return ~inside if isinstance(op, ast.NotIn) else inside
        if type(op) not in _COMPARED:
            raise self.refuse("compares by something other than == != < <= > >= in")
        if isinstance(left, ast.Name) and isinstance(right, ast.Name):
            pair = [self.column(side) for side in (left, right)]
            if not all(pd.api.types.is_numeric_dtype(side) for side in pair):
                raise self.refuse(f"compares {pair[0].name} with {pair[1].name}, which are not both numbers")
            return _COMPARED[type(op)](*(side.astype("Float64") for side in pair))
        if isinstance(right, ast.Name) and not isinstance(left, ast.Name):
            swapped = {ast.Lt: ast.Gt, ast.LtE: ast.GtE, ast.Gt: ast.Lt, ast.GtE: ast.LtE}
            return self.pair(self.column(right), swapped.get(type(op), type(op))(), self.constant(left))
        if not isinstance(left, ast.Name):
            raise self.refuse(f"compares {ast.unparse(left)!r}, which is no column")
        return self.pair(self.column(left), op, self.constant(right))

    def pair(self, column: pd.Series, op, value) -> pd.Series:
        """Return the comparison of a column with a constant; missing where the column is."""
        ordered = not isinstance(op, (ast.Eq, ast.NotEq))
        if pd.api.types.is_numeric_dtype(column):
            if isinstance(value, str):
                raise self.refuse(f"compares {column.name}, which holds numbers, with the text {value!r}")
            return _COMPARED[type(op)](column.astype("Float64"), float(value))
        if pd.api.types.is_datetime64_any_dtype(column):
            when = pd.to_datetime(value, errors="coerce") if isinstance(value, str) else pd.NaT
            if pd.isna(when):
                raise self.refuse(
                    f"compares {column.name}, which holds dates, with {value!r}; write a date as '2024-03-31'"
                )
            when = when.tz_localize(column.dt.tz) if column.dt.tz is not None and when.tzinfo is None else when
            return _COMPARED[type(op)](column, when).astype("boolean").mask(column.isna())
        if ordered:
            raise self.refuse(f"asks which texts of {column.name} are larger than {value!r}; name them with `in`")
        codes, levels = pd.factorize(column)
        level = [plain_text(found) for found in levels]
        if plain_text(value) not in level:
            raise DataProblem(
                f"{column.name} never holds {value!r}{nearest(value, self.shown(column.name))}, so the condition "
                f"{self.condition!r} asks for something else than it says; correct it"
            )
        same = np.array([found == plain_text(value) for found in level] + [False])[codes]
        equal = pd.Series(same, index=column.index, dtype="boolean").mask(codes < 0)
        return ~equal if isinstance(op, ast.NotEq) else equal
