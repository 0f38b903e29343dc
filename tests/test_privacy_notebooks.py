"""No shipped notebook shows a row of a table: what it displays is a finding, or a table made of many rows."""

import ast
import re

import nbformat
import pytest
from conftest import ROOT

from cxresearch.study.schema import TABLES

NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
ROWS = {
    "head",
    "tail",
    "sample",
    "table",
    "iloc",
    "loc",
    "itertuples",
    "iterrows",
    "nlargest",
    "nsmallest",
    "matched",
    "augment",
    "to_string",
}
HOLDERS = {"print", "display", "readable", "str", "repr"}


def shown(code: str):
    """Yield what a cell displays or prints: its last expression, and the arguments of print, display and readable."""
    tree = ast.parse(re.sub(r"^\s*[%!].*$", "", code, flags=re.M))
    if tree.body and isinstance(tree.body[-1], ast.Expr):
        yield tree.body[-1].value
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and _name(node.func) in HOLDERS:
            yield from node.args


def shows_rows(node) -> bool:
    """Whether an expression is a table of the study, or rows taken from one."""
    if isinstance(node, ast.Subscript):
        return shows_rows(node.value)
    if isinstance(node, ast.Call):
        return _name(node.func) in ROWS or (
            isinstance(node.func, ast.Attribute)
            and node.func.attr in ("copy", "dropna", "sort_values")
            and shows_rows(node.func.value)
        )
    return isinstance(node, ast.Attribute) and (node.attr in TABLES or node.attr in ROWS)


def _name(function) -> str:
    return function.attr if isinstance(function, ast.Attribute) else getattr(function, "id", "")


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda p: p.stem)
def test_no_cell_displays_rows(path):
    cells = [c.source for c in nbformat.read(path, as_version=4).cells if c.cell_type == "code"]
    assert [c for c in cells if any(shows_rows(node) for node in shown(c))] == []


@pytest.mark.parametrize(
    "code",
    ["data.responses", "data.responses.table.head()", "x = 1\ndata.customers.table[['customer']]",
     "print(data.interactions.sample(3))",
     "cx.readable(data.responses.table.dropna())", "found.augment(data.responses)", "data.matched('responses', 'customers')"],
)  # fmt: skip
def test_rows_would_be_noticed(code):
    assert any(shows_rows(node) for node in shown(code))


@pytest.mark.parametrize(
    "code",
    [
        "cx.nps(data.responses, 'x')",
        "cx.readable(found.tidy())",
        "found.plot();",
        "rows = data.responses",
        "len(data.responses)",
    ],
)
def test_findings_are_not_taken_for_rows(code):
    assert not any(shows_rows(node) for node in shown(code))


def test_no_id_of_the_bundled_company_stands_in_the_committed_report():
    folder = ROOT / "reports" / "example"
    if not folder.is_dir():
        pytest.skip("reports/example is not there")
    import pandas as pd

    data = ROOT / "data" / "example"
    ids = {
        *pd.read_csv(data / "customers.csv", dtype=str)["customer_id"],
        *pd.read_csv(data / "responses.csv", dtype=str)["response_id"],
    }
    files = [p for p in folder.rglob("*") if p.suffix in (".html", ".ipynb", ".csv", ".json")]
    assert files and {p.name: found for p in files if (found := ids & words(p.read_text(encoding="utf-8")))} == {}


def words(text: str) -> set[str]:
    """Return the words of a file, those that letters of an encoded image happen to make left out."""
    return set(re.findall(r"\w+", re.sub(r'base64,[\w+/=]+|"image/png": "[^"]*"', "", text)))


def test_an_id_would_be_noticed():
    assert "C0042" in words('<td>C0042</td><img src="data:image/png;base64,C0043+A=">') and "C0043" not in words(
        "base64,+C0043"
    )
