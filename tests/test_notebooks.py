"""The limits of a shipped notebook: a question, short cells, no logic, no result in prose, nothing stored, no rows shown."""

import ast
import copy
import json
import re

import nbformat
import pytest
from conftest import ROOT

import cxresearch as cx
from cxresearch.runs.notebooks import FITTING, say, what_next

NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
MOST_CELLS, MOST_LINES, MOST_PARAMETERS = 25, 6, 10
ALLOWED_IMPORTS = {"cxresearch", "IPython.display"}
ALLOWED_DIGITS = (
    r"10\.\d{4,}/\S+",  # DOI
    r"\b(19|20)\d\d\b",  # year
    r"[−-]?\b\d{1,3}\s?[–…]\s?\d{1,3}\b",  # ends of a scale
    r"^\s*\d+\.\s",  # list number
)
LOGIC = (
    ast.FunctionDef,
    ast.AsyncFunctionDef,
    ast.Lambda,
    ast.ClassDef,
    ast.For,
    ast.While,
    ast.If,
    ast.IfExp,
    ast.Try,
)
LOGIC += (ast.ListComp, ast.DictComp, ast.SetComp, ast.GeneratorExp, ast.With)
SHOWS_ROWS = {"head", "tail", "sample", "to_string"}


def faults(nb) -> list[str]:
    """Return every limit that a notebook breaks."""
    found = [] if len(nb.cells) <= MOST_CELLS else [f"{len(nb.cells)} cells"]
    first = nb.cells[0]
    if first.cell_type != "markdown" or not re.match(r"# .+\?", first.source):
        found.append("the title is not a question")
    if "What this does not show" not in "".join(c.source for c in nb.cells if c.cell_type == "markdown"):
        found.append("no section 'What this does not show'")
    if len([c for c in nb.cells if "parameters" in c.metadata.get("tags", [])]) != 1:
        found.append("not exactly one parameters cell")
    for number, cell in enumerate(nb.cells, 1):
        found += [f"cell {number}: {fault}" for fault in (_prose if cell.cell_type == "markdown" else _code)(cell)]
    return found


def _prose(cell) -> list[str]:
    text = cell.source
    for pattern in ALLOWED_DIGITS:
        text = re.sub(pattern, "", text, flags=re.M)
    return [f"a number typed into prose: {m.group()!r}" for m in re.finditer(r"\S*\d\S*", text)]


def _code(cell) -> list[str]:
    lines = [line for line in cell.source.splitlines() if line.strip() and not line.strip().startswith("#")]
    parameters = "parameters" in cell.metadata.get("tags", [])
    found = [] if len(lines) <= (MOST_PARAMETERS if parameters else MOST_LINES) else [f"{len(lines)} lines of code"]
    if any(len(line) > 120 for line in lines):
        found.append("a line over 120 characters")
    if parameters:
        found += [f"parameter without a comment: {line}" for line in lines if not re.match(r"\w+ = .+  # .+", line)]
    if cell.source.rstrip().endswith(";") and "nbval-ignore-output" not in cell.metadata.get("tags", []):
        # nbval executes cells in a way that does not honour it, and would see an output more
        found.append("a trailing semicolon; give the result a name instead")
    if cell.get("outputs") or cell.get("execution_count"):
        found.append("a stored output")
    return found + [fault for node in ast.walk(ast.parse(cell.source)) for fault in _node(node)]


def _node(node) -> list[str]:
    if isinstance(node, LOGIC):
        return [f"{type(node).__name__} in a notebook"]
    if isinstance(node, ast.Import):
        return [f"imports {a.name}" for a in node.names if a.name not in ALLOWED_IMPORTS]
    if isinstance(node, ast.ImportFrom) and node.module not in ALLOWED_IMPORTS:
        return [f"imports {node.module}"]
    if isinstance(node, ast.Attribute) and node.attr in SHOWS_ROWS:
        return [f"shows rows with .{node.attr}"]
    return []


def analysis_calls(nb) -> list[ast.Call]:
    """Return the calls ``cx.something(...)`` of a notebook."""
    trees = [ast.parse(c.source) for c in nb.cells if c.cell_type == "code"]
    calls = [n for t in trees for n in ast.walk(t) if isinstance(n, ast.Call)]
    return [c for c in calls if ast.unparse(c.func).startswith("cx.")]


def bare_tables(call: ast.Call) -> list[str]:
    """Return the call if a survey's table goes into it without floor: ``.table`` itself, or a survey made anew of it."""
    given = [*call.args, *(k.value for k in call.keywords)]
    bare = any(isinstance(a, ast.Attribute) and a.attr == "table" for a in given)
    floor = any(k.arg == "min_base" for k in call.keywords)
    return [ast.unparse(call)] if bare and not floor and ast.unparse(call.func) != "cx.readable" else []


def parameters_of(nb) -> dict:
    """Return the parameters of a notebook with their defaults."""
    cell = next(c for c in nb.cells if "parameters" in c.metadata.get("tags", []))
    return {n.targets[0].id: ast.literal_eval(n.value) for n in ast.parse(cell.source).body}


@pytest.fixture(params=NOTEBOOKS, ids=lambda p: p.stem)
def notebook(request):
    return nbformat.read(request.param, as_version=4)


def test_the_five_notebooks_are_there():
    assert {"intake", "scorecard", "segmentation", "loyalty_revenue", "drivers"} <= {p.stem for p in NOTEBOOKS}


def test_a_shipped_notebook_keeps_the_limits(notebook):
    nbformat.validate(notebook)
    assert faults(notebook) == []


def test_a_shipped_notebook_says_what_it_needs_and_what_heads_it(notebook):
    ours = notebook.metadata["cxresearch"]
    if ours.get("interactive"):  # answers somebody's choices: no run executes it, nothing is saved
        assert set(ours) == {"needs", "interactive"} and ours["needs"]["tables"]
        return
    saved = [c.source for c in notebook.cells if c.cell_type == "code" and "cx.save(" in c.source]
    assert set(ours) == {"needs", "headline"} and ours["needs"]["tables"]
    assert any(f'name="{ours["headline"]}"' in source for source in saved)
    assert notebook.metadata.kernelspec.name == "python3"


def test_a_shipped_notebook_starts_from_the_bundled_study(notebook):
    parameters = next(c.source for c in notebook.cells if "parameters" in c.metadata.get("tags", []))
    assert parameters.startswith('study = "../data/example/study.yml"  # ')


def test_a_shipped_notebook_passes_surveys_so_that_weights_and_floor_go_along(notebook):
    assert [fault for call in analysis_calls(notebook) for fault in bare_tables(call)] == []


def test_a_table_taken_out_of_its_survey_is_caught():
    bare, floor = "cx.nps(data.responses.table, 'x')", "cx.nps(cx.as_survey(t.table, min_base=data.min_base), 'x')"
    with_design = "cx.nps(data.responses.with_table(t.table), 'x')"
    caught = {code: bare_tables(ast.parse(code).body[0].value) for code in (bare, floor, with_design)}
    assert caught == {bare: [bare], floor: [], with_design: []}


@pytest.mark.parametrize(
    ("plant", "fault"),
    [
        (("markdown", "The score rose to 41.6."), "a number typed into prose: '41.6.'"),
        (("code", "def f():\n    return None"), "FunctionDef in a notebook"),
        (("code", "a = [x for x in y]"), "ListComp in a notebook"),
        (("code", "if a:\n    b = None"), "If in a notebook"),
        (("code", "\n".join("abcdefg")), "7 lines of code"),
        (("code", "import numpy as np"), "imports numpy"),
        (("code", "from cxresearch.metrics import nps"), "imports cxresearch.metrics"),
        (("code", "data.responses.table.head()"), "shows rows with .head"),
    ],
)
def test_a_broken_limit_is_caught(plant, fault):
    nb = copy.deepcopy(nbformat.read(NOTEBOOKS[0], as_version=4))
    kind, source = plant
    nb.cells[-1:] = [getattr(nbformat.v4, f"new_{kind}_cell")(source)]
    assert [f for f in faults(nb) if f.endswith(fault)]


def test_a_stored_output_is_caught():
    nb = nbformat.read(NOTEBOOKS[0], as_version=4)
    cell = next(c for c in nb.cells if c.cell_type == "code")
    cell.outputs, cell.execution_count = [nbformat.v4.new_output("stream", text="41.6")], 1
    assert [f for f in faults(nb) if f.endswith("a stored output")]


def test_a_twenty_sixth_cell_is_caught():
    nb = nbformat.read(NOTEBOOKS[0], as_version=4)
    nb.cells += [nbformat.v4.new_markdown_cell("more")] * (MOST_CELLS + 1 - len(nb.cells))
    assert "26 cells" in faults(nb)


# --- parameters --------------------------------------------------------------------------------------------------------

STUDY = str(ROOT / "data/example/study.yml")


def test_the_second_cell_checks_every_parameter_and_no_later_cell_gives_one_another_meaning(notebook):
    first, second, *later = (c for c in notebook.cells if c.cell_type == "code")
    given = parameters_of(notebook)
    assert "cx.study_of(vars())" in second.source and set(given) - {"study"} <= set(FITTING)
    assigned = {n.id for c in (second, *later) for n in ast.walk(ast.parse(c.source)) if isinstance(n, ast.Name)
                and isinstance(n.ctx, ast.Store)}  # fmt: skip
    assert assigned & set(FITTING) == set()  # that cell can be run again
    assert cx.study_of(given | {"study": STUDY}).path == ROOT / "data/example/study.yml"


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("group", "regoin", "table responses has no column 'regoin'; did you mean 'region'?; there are age_group, "),
        ("group", ["region", "x"], "table responses has no column 'x'; there are"),
        ("unit", "brnch", "the study has no column 'brnch'; did you mean 'branch'?"),
        ("value", None, "table customers has no column None"),
        ("confidence", 95, "give a number between 0 and 1, such as 0.95"),
        ("confidence", True, "give a number between 0 and 1"),
        ("seed", 1.0, "give a whole number, 0 or more"),
        ("measure", "NPS", "give one of 'nps', 'top_box', 'mean', or None"),
        ("until", "soon", 'give a day, such as "2025-01-01", or None'),
        ("window", 0, 'give days, or text such as "12 months", or None'),
        ("taxonomy", "none.yml", "give the path of a file, or None"),
        ("bought", "", "give a condition on customers"),
    ],
)
def test_a_wrong_parameter_is_named_with_what_was_found_and_what_there_is(name, value, said):
    with pytest.raises(cx.StudyProblem) as refused:
        cx.study_of({"study": STUDY, name: value})
    assert str(refused.value).startswith(f"parameter {name} = {value!r}: {said}")


def test_an_answer_is_the_sentence_and_what_to_look_at_next_by_how_sure_it_is():
    study = cx.open_study(STUDY)
    shown, about = cx.answer(score := cx.nps(study.responses, "recommend", wave=True))._repr_markdown_()
    assert shown.startswith(score._repr_markdown_()[0]) and about == {"finding": score.id}
    assert shown.endswith("**What to look at next.** " + what_next(score)) and "would settle" in what_next(score)
    found = cx.driver_importance(
        study.responses, outcome="satisfaction", drivers=["prices", "delivery"], n_boot=100, seed=1
    )
    assert what_next(found).startswith("Start with Delivery: ")
    refused = cx.asked(cx.effort, study.responses, "absent", version=2, scoring="net")
    assert refused.summary["method"] == "none" and what_next(refused).startswith("Add what the study lacks")


def test_every_function_that_heads_a_page_has_words_for_what_comes_next():
    heads = {n.metadata["cxresearch"].get("headline") for n in (nbformat.read(p, as_version=4) for p in NOTEBOOKS)} - {
        None
    }
    records = [
        json.loads(p.read_text("utf-8"))
        for p in (ROOT / "reports/example/findings").glob("*/*.json")
        if p.stem in heads
    ]
    missing = {r["function"] for r in records if f"onward_found_{r['function']}" not in say}
    assert len(records) >= len(heads) and missing == set()
