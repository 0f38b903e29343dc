"""Documents that list things are held to what stands; commands that they promise are run."""

import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest
from conftest import ROOT

import cxresearch as cx
from cxresearch.cli import main
from cxresearch.findings import GLOSSARY

DOCUMENTS = [
    ROOT / "README.md",
    ROOT / "CONTRIBUTING.md",
    ROOT / "reports/README.md",
    *sorted((ROOT / "docs").glob("*.md")),
]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def table_after(heading: str, text: str) -> list[list[str]]:
    """Return the cells of the first table after a heading, without its head."""
    rows = re.search(r"^\|.*\n\|[-| ]+\n((?:\|.*\n)+)", text.split(heading, 1)[1], flags=re.M).group(1)
    return [[cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]] for line in rows.splitlines()]


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda p: p.name)
def test_every_file_that_a_document_links_or_names_is_there(document):
    text = document.read_text(encoding="utf-8")
    linked = [t.split("#")[0] for t in re.findall(r"\]\(([^)\s]+)\)", text) if not t.startswith("http")]
    named = re.findall(r"`((?:tests|docs|data|cxresearch|notebooks|reports|benchmarks)/[\w./-]+)`", text)
    absent = [t for t in linked if not (document.parent / t).exists()] + [n for n in named if not (ROOT / n).exists()]
    assert [a for a in absent if not a.startswith(("data/raw", "reports/runs"))] == []


def test_the_readme_table_lists_the_notebooks_with_their_questions_and_needs():
    listed = {row[0].strip("`"): row[1:] for row in table_after("## What each notebook answers", README)}
    books = {p.stem: nbformat.read(p, as_version=4) for p in (ROOT / "notebooks").glob("*.ipynb")}
    assert set(listed) == set(books)
    for name, nb in books.items():
        assert nb.cells[0].source.splitlines()[0] == f"# {listed[name][0]}"
        assert all(table in listed[name][1] for table in nb.metadata["cxresearch"]["needs"]["tables"]), name


def test_the_readme_shows_the_two_commands_first_and_make_knows_every_target():
    first_block = README.split("```")[1]
    assert "make run" in first_block and "make test" in first_block and README.index("make run") < 1200
    targets = set(re.findall(r"\bmake ([a-z]+)", "".join(d.read_text(encoding="utf-8") for d in DOCUMENTS)))
    known = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), flags=re.M))
    assert targets <= known


def test_the_readme_is_at_most_two_screens():
    assert len(README.splitlines()) <= 100


def test_the_readme_library_example_runs(monkeypatch):
    monkeypatch.chdir(ROOT)
    exec(compile(README.split("```python")[1].split("```")[0], "README.md", "exec"), {})


def test_the_readme_papermill_command_runs(tmp_path):
    command = re.search(r"^\.venv/bin/(papermill .+)$", README, flags=re.M).group(1).split()
    command[-1] = str(tmp_path / command[-1])
    done = subprocess.run(
        [Path(sys.executable).parent / command[0], *command[1:]], cwd=ROOT, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert nbformat.read(command[-1], as_version=4).cells[-1].execution_count


# Commands that a test elsewhere runs, or that cannot be run where the tests are.
RUN_ELSEWHERE = {
    "make run": "by hand on a clean clone; what it calls is run below",
    "make test": "runs this",
    "python3 -m venv .venv": "what `make` does, without its fallback",
    "conda env create": "conda is not to be had; tests/test_environment.py compares the files",
    ".venv/bin/papermill": "above",
    "make lab": "tests/browser/test_lab.py",
    "cxresearch new survey": "below, on the survey itself",
    "cxresearch check study.yml": "below, on the survey itself",
    "cxresearch run study.yml": "tests/test_real_studies.py",
    ".venv/bin/python -m pytest --nbval": "the second half of `make test`",
    ".venv/bin/nbdiff": "tests/test_reports.py",
}
CALLED = re.compile(r"^(?:\.venv/bin/)?cxresearch (run|compare|verify|sign|deck|schedule) ")


def commands() -> list[str]:
    """Return every line of every shell block of the documents, without its comment."""
    blocks = [b for d in DOCUMENTS for b in re.findall(r"```sh\n(.*?)```", d.read_text("utf-8"), flags=re.S)]
    lines = [line.split("#")[0].strip() for block in blocks for line in block.splitlines()]
    return list(dict.fromkeys(line for line in lines if line))


def test_every_command_of_the_documents_is_run_by_a_test():
    left = [c for c in commands() if not CALLED.match(c) and not c.startswith(tuple(RUN_ELSEWHERE))]
    assert left == []


def test_the_commands_on_runs_run_in_the_order_of_the_readme(tmp_path, monkeypatch, warm, capsys):
    """Once each, in a copy with two quick notebooks; `verify` holds the committed report against the project itself."""
    for folder in ("data/example", "reports/example"):
        shutil.copytree(ROOT / folder, tmp_path / folder)
    for name in ("claims", "effort"):
        (tmp_path / "notebooks").mkdir(exist_ok=True)
        shutil.copy(ROOT / "notebooks" / f"{name}.ipynb", tmp_path / "notebooks")
    called = [c for c in commands() if CALLED.match(c) and not c.startswith("cxresearch run study.yml")]
    tried = dict.fromkeys(tuple(shlex.split(c)[1:]) for c in called)
    assert [words[0] for words in tried][:5] == ["run", "compare", "verify", "sign", "deck"]
    for words in tried:
        monkeypatch.chdir(ROOT if words[0] == "verify" else tmp_path)
        assert main([*words]) == 0, (words, capsys.readouterr())


def test_the_tutorial_s_first_commands_run_on_an_airport_survey(shared, tmp_path, capsys):
    years = [str(shared / "data" / "airport" / f"survey_{year}.csv") for year in (2017, 2018)]
    assert main(["new", *years, "--out", str(tmp_path / "study.yml")]) == 0
    assert main(["check", str(tmp_path / "study.yml")]) == 2
    assert "confirmed" in capsys.readouterr().out


def test_the_architecture_table_lists_the_modules():
    text = (ROOT / "docs/architecture.md").read_text(encoding="utf-8")
    listed = {row[0].strip("`") for row in table_after("## Modules", text)}
    there = {
        p.name.removesuffix(".py")
        for p in (ROOT / "cxresearch").iterdir()
        if p.name[0] not in "_." and p.suffix in ("", ".py")
    }
    assert listed == there


def test_the_glossary_lists_every_column():
    for name in cx.__all__:
        getattr(cx, name)  # an analysis adds its columns when it is imported
    text = (ROOT / "docs/glossary.md").read_text(encoding="utf-8")
    listed = {row[0].strip("`"): row[1] for row in table_after("## Columns", text)}
    assert listed == {name: column.meaning for name, column in GLOSSARY.items()}


def test_the_glossary_lists_every_term_of_art_with_the_words_of_the_pages():
    from cxresearch.runs.page import TERMS

    listed = table_after("## Terms of art", (ROOT / "docs/glossary.md").read_text(encoding="utf-8"))
    assert [[name.split(", ")[0], meaning] for name, meaning in listed] == [[name, said] for name, _, said in TERMS]
