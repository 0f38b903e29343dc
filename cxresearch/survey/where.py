"""Conditions on rows: column names, constants, comparisons, and, or, not, in; nothing that runs code."""

import ast
import operator
import re
from collections.abc import Callable, Mapping
from functools import reduce
from typing import NamedTuple

import numpy as np
import pandas as pd
from pandas.api.types import is_bool_dtype, is_datetime64_any_dtype, is_numeric_dtype

from cxresearch.errors import DataProblem, nearest, plain_text, require_columns
from cxresearch.findings import say

EXAMPLE = "write comparisons such as recommend <= 6 and region in ['North', 'South']"
COMPARED = {
    ast.Eq: operator.eq, ast.NotEq: operator.ne, ast.Lt: operator.lt, ast.LtE: operator.le, ast.Gt: operator.gt,
    ast.GtE: operator.ge,
}  # fmt: skip


def rows_where(table: pd.DataFrame, condition: str, *, shown=lambda column: ()) -> np.ndarray:
    """Return which rows of `table` meet `condition`, (N,) bool; a comparison with a missing value is not met, nor is
    its opposite. A name that is no identifier stands in backticks; `shown`: the values of a column that a message may name.
    """
    names = re.findall(r"`([^`]+)`", condition := str(condition).strip())
    quoted = {f"_column_{i}": name for i, name in enumerate(names)}
    places = iter(quoted)
    try:
        tree = ast.parse(re.sub(r"`([^`]+)`", lambda found: next(places), condition), mode="eval")
    except SyntaxError as error:
        raise DataProblem(say("unreadable", condition=condition, why=error.msg, example=EXAMPLE)) from None
    return _Condition(table, condition, quoted, shown).truth(tree.body).fillna(False).to_numpy(dtype=bool)


class _Condition(NamedTuple):
    """A condition on a table: what may stand in it, and which rows meet it."""

    table: pd.DataFrame
    condition: str
    quoted: Mapping[str, str]
    shown: Callable

    def refuse(self, why: str) -> DataProblem:
        return DataProblem(say("condition", condition=self.condition, why=why, example=EXAMPLE))

    def side(self, node):
        """Return a column, or the value of a number or a text."""
        if isinstance(node, ast.Name):
            asked = plain_text(self.quoted.get(node.id, node.id))
            name = next((c for c in self.table.columns if plain_text(c) == asked), asked)
            require_columns(self.table, name, where="the survey")
            return self.table[name]
        try:
            value = ast.literal_eval(node)
        except (TypeError, ValueError):
            value = None
        if not isinstance(value, (int, float, str)):
            raise self.refuse(f"holds {ast.unparse(node)!r} where a column or a constant belongs")
        return value

    def truth(self, node) -> pd.Series:
        """Return whether each row meets `node`: true, false, or missing."""
        if isinstance(node, ast.BoolOp):
            return reduce(operator.and_ if isinstance(node.op, ast.And) else operator.or_, map(self.truth, node.values))
        if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not):
            return ~self.truth(node.operand)
        if isinstance(node, ast.Compare):
            sides = [node.left, *node.comparators]
            return reduce(operator.and_, map(self.compared, sides, node.ops, sides[1:]))
        if isinstance(node, ast.Name) and is_bool_dtype(self.side(node)):
            return self.side(node).astype("boolean")
        raise self.refuse(f"holds {ast.unparse(node)!r}, which is no comparison")

    def compared(self, left, op, right) -> pd.Series:
        """Return the comparison of a column with a constant, or of two columns; missing where they are."""
        if isinstance(op, (ast.In, ast.NotIn)):
            if not isinstance(right, (ast.List, ast.Tuple)) or not right.elts:
                raise self.refuse("asks `in` of something other than a list of constants")
            inside = reduce(operator.or_, [self.compared(left, ast.Eq(), value) for value in right.elts])
            return ~inside if isinstance(op, ast.NotIn) else inside
        if (compare := COMPARED.get(type(op))) is None:
            raise self.refuse("compares by something other than == != < <= > >= in")
        sides = [self.side(left), self.side(right)]
        columns = [side for side in sides if isinstance(side, pd.Series)]
        texts = [isinstance(side, str) or isinstance(side, pd.Series) and not is_numeric_dtype(side) for side in sides]
        if columns and not any(texts):
            return compare(*(side.astype("Float64") if isinstance(side, pd.Series) else float(side) for side in sides))
        if len(columns) != 1:
            both = f"{ast.unparse(left)} with {ast.unparse(right)}"
            raise self.refuse(f"compares {both}, which are not both numbers, or no column")
        column, value = columns[0], sides[sides[0] is columns[0]]
        if is_numeric_dtype(column):
            raise self.refuse(f"compares {column.name}, which holds numbers, with text")
        if is_datetime64_any_dtype(column):
            when = pd.to_datetime(value, errors="coerce") if isinstance(value, str) else pd.NaT
            if pd.isna(when):
                raise self.refuse(f"compares {column.name}, which holds dates, with {value!r}: a date is '2024-03-31'")
            when = when if column.dt.tz is None or when.tzinfo else when.tz_localize(column.dt.tz)
            return compare(*(when if side is value else side for side in sides)).astype("boolean").mask(column.isna())
        if compare not in (operator.eq, operator.ne):
            raise self.refuse(f"asks which texts of {column.name} are larger than {value!r}: name them with `in`")
        codes, levels = pd.factorize(column)
        equal = np.array([plain_text(level) == plain_text(value) for level in levels] + [False])
        if not equal.any():
            known = dict(column=column.name, value=value, nearest=nearest(value, self.shown(column.name)))
            raise DataProblem(say("never_holds", condition=self.condition, **known))
        return compare(pd.Series(equal[codes], column.index, dtype="boolean").mask(codes < 0), True)
