"""Runs: what is refused before anything starts, what really ran, what is kept. Every kernel here is a real one."""

import atexit
import filecmp
import json
import os
import shutil
import subprocess
import sys
import time
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace

import nbformat
import papermill
import pytest
from tiny import PARAMETERS, tree, write_answer, write_notebook, write_study
from waiting import PATIENCE, descendants

from cxresearch.errors import DataProblem, StudyProblem
from cxresearch.runs.execution import became, without_places
from cxresearch.runs.folder import default_folder, require_free, runs_folder
from cxresearch.runs.make import Pool, make_run, plan_run
from cxresearch.runs.warm import SERVERS

KILL = 'print("alive")\nimport os, signal\nos.kill(os.getpid(), signal.SIGKILL)'


ODD = "Ünsaved {1} #2"  # a file name may hold what papermill formats, what a link cuts off, and any letter
SHOW_ENVIRONMENT = """
import os
names = ("PYTHONHASHSEED", "OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MPLBACKEND", "CXRESEARCH_RUN")
print([os.environ[name] for name in names])
"""


def plan_of(folder, **options):
    return plan_run(folder / "study.yml", notebooks=folder / "notebooks", **options)


# --- refused before anything starts ----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    folder = tmp_path_factory.mktemp("a project")
    write_study(folder)
    for name in ("zebra", "drivers", "answer", "intake"):
        write_notebook(
            folder / "notebooks", name, "1", parameters=PARAMETERS if name == "answer" else 'study = "x"  # y'
        )
    return folder


def refusal(folder, **options) -> str:
    with pytest.raises(StudyProblem) as caught:
        plan_of(folder, **options)
    return str(caught.value)


def test_notebooks_are_read_in_the_order_of_the_method_then_by_name(project):
    assert [t.name for t in plan_of(project).tasks] == ["intake", "drivers", "answer", "zebra"]


def test_a_report_names_its_notebooks_and_parameters_and_the_command_line_outranks_it(project):
    plan = plan_of(project, report="short", settings=[("times", "7")])
    (task,) = plan.tasks
    assert task.given == {"words": "NO", "times": 7}
    assert task.parameters == {"words": "NO", "share": 0.95, "times": 7, "quick": True, "group": None}


READ = [("words", "010", "010"), ("words", "NO", "NO"), ("share", "1", 1.0), ("share", "9e-1", 0.9), ("times", "4", 4)]
READ += [("quick", "no", False), ("group", "cabin", "cabin"), ("group", "None", None), ("group", "['a', 'b']", ["a", "b"])]


@pytest.mark.parametrize(("name", "text", "value"), READ)
def test_a_setting_is_read_as_the_type_of_its_default(project, name, text, value):
    (task,) = plan_of(project, only=["answer"], settings=[(name, text)]).tasks
    assert task.given == {name: value} and type(task.given[name]) is type(value)


KNOWN = "there are intake, drivers, answer, zebra"
REFUSED = {  # a report, a notebook or a setting -> what is said
    "report shrt": "study.yml has no report 'shrt'; did you mean 'short'?; there are short, misspelt, mistyped, elsewhere",
    "report elsewhere": f"report 'elsewhere': there is no notebook 'anwser'; did you mean 'answer'?; {KNOWN}",
    "only zebar.ipynb": f"--only: there is no notebook 'zebar.ipynb'; did you mean 'zebra'?; {KNOWN}",
    "report misspelt": "report 'misspelt': no parameter 'tmes' in intake.ipynb, drivers.ipynb, answer.ipynb, zebra.ipynb; "
    "did you mean 'times'?; there are group, quick, share, times, words",
    "report mistyped": "report 'mistyped': words of answer.ipynb is text (default 'as planned'); found a whole number 2018; "
    "write it in quotation marks",
    "times=many": "times of answer.ipynb is a whole number (default 3); found text 'many'",
    "times=2.5": "times of answer.ipynb is a whole number (default 3); found a number 2.5",
    "times=True": "times of answer.ipynb is a whole number (default 3); found true or false True",
    "quick=1": "quick of answer.ipynb is true or false (default True); found text '1'",
    "share=None": "share of answer.ipynb is a number (default 0.95); found None",
    "share=1e999": "share of answer.ipynb cannot be a number inf; "
    "give text, a finite number, true, false, None, or a list or mapping of these",
    "study=x": "the study is the command's first argument, not a parameter",
    "tmes=1": "no parameter 'tmes' in intake.ipynb, drivers.ipynb, answer.ipynb, zebra.ipynb; did you mean 'times'?; "
    "there are group, quick, share, times, words",
}


@pytest.mark.parametrize("asked", REFUSED)
def test_what_a_run_refuses_word_for_word(project, asked):
    kind, _, name = asked.partition(" ")
    if name:
        assert refusal(project, **{kind: [name] if kind == "only" else name}) == REFUSED[asked]
    else:
        said = refusal(project, settings=[tuple(asked.split("="))])
        assert said == f"--set {asked}: {REFUSED[asked]}"


def test_where_there_is_no_parameter_at_all_it_is_said(project):
    said = refusal(project, only=["zebra"], settings=[("times", "1")])
    assert said == "--set times=1: no parameter 'times' in zebra.ipynb; there are none"


SPOILT = {  # what is done to a notebook -> what is said of it
    "nb.cells.pop(1)": " has no cell tagged 'parameters'; tag the cell that holds its parameters, "
    "or a run could set none of them",
    "nb.cells[1].update(source='times = 3')": ": its parameters cell has no 'study'; "
    'add the line study = "path of study.yml"',
    "nb.cells[1].update(source='study = 1\\ntimes = =')": ": line 2 of its parameters cell is not Python: invalid syntax",
    "nb.metadata.pop('kernelspec')": " names no kernel; open it in JupyterLab, choose one and save it",
    "nb.metadata.kernelspec.update(name='julia-9')": " asks for the kernel 'julia-9', which is not installed; "
    "installed: python3",
}


@pytest.mark.parametrize("spoil", SPOILT)
def test_a_notebook_that_could_not_run_is_refused(tmp_path, monkeypatch, spoil):
    monkeypatch.setenv("JUPYTER_PATH", "")
    write_study(tmp_path)
    path = write_notebook(tmp_path / "notebooks", "n", "1")
    notebook = nbformat.read(path, as_version=4)
    exec(spoil, {"nb": notebook})
    nbformat.write(notebook, path)
    assert refusal(tmp_path) == f"n.ipynb{SPOILT[spoil]}"


def test_a_file_that_is_no_notebook_and_a_folder_without_any_are_refused(tmp_path):
    write_study(tmp_path)
    assert refusal(tmp_path) == f"there is no folder {tmp_path / 'notebooks'}; name the folder with --notebooks"
    (tmp_path / "notebooks").mkdir()
    assert refusal(tmp_path) == f"folder {tmp_path / 'notebooks'} holds no notebook (*.ipynb)"
    (tmp_path / "notebooks" / "n.ipynb").write_text("<<<", encoding="utf-8")
    assert refusal(tmp_path).startswith("n.ipynb is not a notebook: Notebook does not appear to be JSON")


def test_a_study_with_a_wrong_table_is_refused_before_any_kernel_starts(tmp_path):
    write_study(tmp_path)
    write_notebook(tmp_path / "notebooks", "n", "1")
    (tmp_path / "answers.csv").write_text("person,recommend\na,12\n", encoding="utf-8")
    with pytest.raises(DataProblem, match="answers.csv.*12"):
        plan_of(tmp_path)


# --- the folder ------------------------------------------------------------------------------------------------------


def test_runs_of_a_study_go_to_a_folder_named_after_it_and_the_time(tmp_path):
    at = datetime(2026, 11, 21, 22, 46, 5, tzinfo=UTC)
    runs = tmp_path / "reports" / "runs"
    airport = runs_folder(tmp_path, Path("/data/airport/study.yml"))
    first = default_folder(airport, now=at)
    assert first == runs / "airport" / "20261121T224605Z"
    first.mkdir(parents=True)
    assert default_folder(airport, now=at).name == "20261121T224605Z-2"
    assert runs_folder(tmp_path, Path("/data/garden.yml")) == runs / "garden"


def test_a_folder_with_other_things_in_it_is_refused(tmp_path):
    def refused(folder) -> str:
        with pytest.raises(StudyProblem) as caught:
            require_free(folder)
        return str(caught.value)

    require_free(tmp_path)
    require_free(tmp_path / "new")
    thesis = tmp_path / "thesis.docx"
    thesis.touch()
    assert refused(tmp_path) == f"{tmp_path} is not empty and holds no earlier run; name an empty or a new folder"
    assert refused(thesis) == f"{thesis} is a file; name a folder for the run"
    record = {"format": "cxresearch run 1", "files": {"answer.html": "0", "findings/answer/x.json": "0"}}
    (tmp_path / "run.json").write_text(json.dumps(record), encoding="utf-8")
    (tmp_path / "answer.html").touch()
    (tmp_path / "findings").mkdir()
    assert refused(tmp_path) == (
        f"{tmp_path} holds an earlier run and also thesis.docx, which replacing the run would delete; "
        "move it, or name another folder"
    )


# --- what really ran -------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def faulty(tmp_path_factory, pool):
    """One run of notebooks that fail in every way, and one that does not."""
    folder = tmp_path_factory.mktemp("faulty")
    write_study(folder)
    shelf = folder / "notebooks"
    write_answer(shelf)
    write_notebook(shelf, "killed", "saved = 1", KILL, 'print("after")')
    write_notebook(shelf, "leaves", "import sys\nsys.exit(0)", 'print("after")')
    write_notebook(
        shelf,
        "raises",
        "%%md ## Then?",
        "import nbformat, os\nnbformat.read(os.path.abspath('absent'), 4)",
        'print("after")',
    )
    write_notebook(shelf, ODD, SHOW_ENVIRONMENT, headline="promised")
    write_notebook(shelf, "costly", "1/0", needs={"tables": ["costs"], "roles": []})
    made = make_run(plan_of(folder), folder / "reports" / "run", pool=pool)
    return folder, made, json.loads((made.folder / "run.json").read_text(encoding="utf-8"))


def test_each_fault_is_told_and_the_others_finish(faulty):
    _, made, record = faulty
    told = {n["name"]: (n["status"], n["reason"], n["failed_cell"]) for n in record["notebooks"]}
    lacks = told.pop("costly")
    assert told == {
        "answer": ("ok", None, None),
        "killed": ("failed", "cell 5: the kernel died in this cell: killed, or out of memory", 5),
        "leaves": ("failed", "cell 4: left the notebook early (sys.exit); the cells after it did not run", 4),
        "raises": ("failed", "cell 5: FileNotFoundError: [Errno 2] No such file or directory: './absent'", 5),
        ODD: ("failed", "it saved no finding named 'promised', which its metadata names as the headline", None),
    }
    assert lacks[0] == "skipped" and "costs" in lacks[1]
    assert (record["status"], record["exit_status"], made.whole) == ("failed", 1, False)


def test_a_cell_past_its_limit_fails_and_its_kernel_goes(tmp_path, monkeypatch):
    monkeypatch.setenv("CXRESEARCH_EXECUTION", "kernel")
    write_study(tmp_path)
    write_notebook(tmp_path / "notebooks", "slow", "import time\ntime.sleep(600)", "print('after')")
    began = time.monotonic()
    with Pool(1) as kernels:
        made = make_run(plan_of(tmp_path), tmp_path / "run", timeout=3, pool=kernels)
    assert made.record.notebooks[0].reason == "cell 4: took longer than the 3 s a cell may take (--timeout)"
    assert descendants(naming="ipykernel_launcher") == [] and time.monotonic() - began < PATIENCE


def test_a_failed_notebook_keeps_what_ran_and_only_a_whole_one_its_findings(faulty):
    _, made, _ = faulty
    killed = nbformat.read(made.folder / "killed.ipynb", as_version=4)
    counts = [c.get("execution_count") for c in killed.cells]
    assert counts[:4] == [None, 1, 2, 3] and counts[5] is None and killed.cells[5].outputs == []
    assert [p.name for p in (made.folder / "findings").iterdir()] == ["answer"]
    pages = {f"{n}.{kind}" for n in ("answer", "killed", "leaves", "raises", ODD) for kind in ("html", "ipynb")}
    assert {p.name for p in made.folder.iterdir()} == {"findings", "README.md", "index.html", "run.json", *pages}


def test_each_kernel_has_an_environment_of_its_own_and_this_process_keeps_its(faulty):
    _, made, _ = faulty
    notebook = nbformat.read(made.folder / f"{ODD}.ipynb", as_version=4)
    nbformat.validate(notebook)
    assert 'href="%C3%9Cnsaved%20%7B1%7D%20%232.html"' in made.index.read_text(encoding="utf-8")
    assert notebook.cells[-1].outputs[0].text == (
        "['0', '1', '1', 'module://matplotlib_inline.backend_inline', './findings/Ünsaved {1} #2']\n"
    )
    assert "CXRESEARCH_RUN" not in os.environ and not Path.cwd().is_relative_to(made.folder)


def test_no_kernel_and_no_half_folder_outlives_the_run(faulty, pool):
    folder, made, _ = faulty
    assert SERVERS.living == set() and not [p for s in SERVERS.servers.values() for p in descendants(s._forkserver_pid)]
    assert [p.name for p in (folder / "reports").iterdir()] == ["run"]


def test_the_record_says_what_was_run_on_what_with_what(faulty):
    folder, made, record = faulty
    answer = record["notebooks"][0]
    sha = subprocess.run(
        ["sha256sum", folder / "answers.csv"], capture_output=True, text=True, check=True
    ).stdout.split()[0]
    assert record["study"] == "../../study.yml" and record["title"] == "Tiny <company> & sons"
    assert record["inputs"].keys() == {"answers.csv", "study.yml"} and record["inputs"]["answers.csv"] == sha
    assert answer["path"] == "notebooks/answer.ipynb" and len(answer["sha256"]) == 64
    assert answer["parameters"] == {
        "study": "../../study.yml", "words": "as planned", "share": 0.95, "times": 3, "quick": True, "group": None,
    }  # fmt: skip
    assert answer["findings"] == {"answer": "answer everything"} and answer["failed_checks"] == 1
    assert record["versions"]["python"] == ".".join(map(str, sys.version_info[:3])) and "pandas" in record["versions"]
    assert record["git_commit"] is None and 0 < answer["seconds"] <= record["seconds"] + 0.01
    assert datetime.fromisoformat(record["started"]) <= datetime.fromisoformat(record["finished"]) <= datetime.now(UTC)


def test_no_file_of_a_run_names_a_folder_of_this_machine(faulty):
    folder, made, _ = faulty
    assert "site-packages/nbformat" in (made.folder / "raises.html").read_text(encoding="utf-8")
    for name, content in tree(made.folder).items():
        assert str(folder).encode() not in content, name
        assert sys.prefix.encode() not in content, name


def test_an_executed_notebook_holds_no_clock_and_no_metadata_of_papermill(faulty):
    _, made, _ = faulty
    notebook = nbformat.read(made.folder / "answer.ipynb", as_version=4)
    nbformat.validate(notebook)
    assert set(notebook.metadata) == {"cxresearch", "kernelspec", "language_info"}
    assert {key for cell in notebook.cells for key in cell.metadata} == {"tags"}
    assert notebook.cells[2].source == '# Parameters\nstudy = "../../study.yml"\n'


def test_plain_papermill_gives_the_findings_of_the_run(faulty, tmp_path, monkeypatch):
    folder, made, _ = faulty
    monkeypatch.setenv("CXRESEARCH_RUN", str(tmp_path / "findings"))
    monkeypatch.delenv("MPLBACKEND", raising=False)
    papermill.execute_notebook(
        folder / "notebooks" / "answer.ipynb", tmp_path / "out.ipynb", cwd=folder / "notebooks", progress_bar=False
    )
    kept = made.folder / "findings" / "answer"
    assert tree(tmp_path / "findings") == tree(kept) and len(tree(kept)) == 2


def test_a_kernel_that_cannot_start_says_why(tmp_path, monkeypatch, pool):
    write_study(tmp_path)
    write_notebook(tmp_path / "notebooks", "n", "1")
    kernel = tmp_path / "jupyter" / "kernels" / "python3"
    kernel.mkdir(parents=True)
    spec = {
        "argv": [sys.executable, "-c", "raise SystemExit('no such engine')", "{connection_file}"],
        "display_name": "x",
        "language": "python",
    }
    (kernel / "kernel.json").write_text(json.dumps(spec), encoding="utf-8")
    monkeypatch.setenv("JUPYTER_PATH", str(tmp_path / "jupyter"))
    monkeypatch.setenv("JUPYTER_PREFER_ENV_PATH", "0")
    at_exit = []
    monkeypatch.setattr(atexit, "register", at_exit.append)
    monkeypatch.setattr(atexit, "unregister", lambda f: at_exit.remove(f) if f in at_exit else None)
    made = make_run(plan_of(tmp_path), tmp_path / "run", timeout=PATIENCE, pool=pool)
    assert made.record.notebooks[0].reason == "the kernel did not start: no such engine"
    assert [f for f in at_exit if "kernel" in f.__name__ or "wrapped" in f.__name__] == []


def test_a_cell_without_a_reply_fails_whatever_its_metadata_says():
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(s) for s in ("1", "", "2")])
    for cell in notebook.cells:
        cell.metadata["papermill"] = {"status": "completed", "exception": False}

    def told(*answered, problem=None) -> tuple:
        replies = {place: {"status": "ok"} for place in answered}
        entry = became(SimpleNamespace(name="n"), notebook, replies, problem, timeout=1, last_words="")
        return entry.status, entry.reason, entry.failed_cell

    assert told(0) == ("failed", "cell 3: did not run", 3)
    assert told(0, 2) == ("ok", None, None)
    assert told(0, 2, problem=OSError("pipe\nbroke")) == ("failed", "after the last cell: pipe", None)


def test_machine_paths_in_outputs_are_hidden_and_other_text_stays():
    places = Path("/srv/runs/.x-1"), Path("/srv/data/study.yml")
    text = "open /srv/runs/.x-1/a.csv, /srv/data/b.csv, /srv/database/c, http://x/srv/data/d, /tmp/ipykernel_12/34.py:5"
    assert without_places(text, *places) == "open ./a.csv, study/b.csv, /srv/database/c, http://x/srv/data/d, cell:5"
    assert without_places("\x1b[32m/srv/data/b.csv", *places) == "\x1b[32mstudy/b.csv"


# --- what is kept ----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def twice(tmp_path_factory, pool):
    """The same reproducible run made twice, to one folder and to another."""
    folder = tmp_path_factory.mktemp("twice")
    write_study(folder)
    write_answer(folder / "notebooks")
    plan = plan_of(folder)
    return folder, [
        make_run(plan, folder / "reports" / name, reproducible=True, pool=pool).folder for name in ("one", "two")
    ]


def test_two_reproducible_runs_are_the_same_byte_for_byte(twice):
    _, (one, two) = twice
    compared = filecmp.dircmp(one, two)
    assert tree(one) == tree(two) and len(tree(one)) == 7 and not compared.left_only
    record = json.loads((one / "run.json").read_text(encoding="utf-8"))
    assert not {"started", "finished", "seconds", "git_commit"} & {*record, *record["notebooks"][0]}


def test_a_failed_run_does_not_replace_an_earlier_one_and_a_whole_run_does(twice, tmp_path, pool):
    folder, (one, _) = twice
    shutil.copytree(one, tmp_path / "reports" / "run")
    final, before = tmp_path / "reports" / "run", tree(one)
    write_study(tmp_path)
    write_notebook(tmp_path / "notebooks", "answer", "1/0")
    made = make_run(plan_of(tmp_path), final, pool=pool)
    assert made.folder == tmp_path / "reports" / "run-failed" and not made.whole
    assert tree(final) == before
    write_notebook(tmp_path / "notebooks", "answer", "1")
    assert make_run(plan_of(tmp_path), final, pool=pool).folder == final
    assert tree(final).keys() == {"README.md", "answer.html", "answer.ipynb", "index.html", "run.json"}
    assert sorted(p.name for p in final.parent.iterdir()) == ["run", "run-failed"]


def test_an_executed_notebook_runs_again_in_place_and_a_changed_number_turns_nbval_red(tmp_path, pool):
    write_study(tmp_path)
    write_notebook(tmp_path / "notebooks", "answer", "import os\nassert os.path.exists(study)\nprint(1.25)")
    folder = make_run(plan_of(tmp_path), tmp_path / "reports" / "run", reproducible=True, pool=pool).folder
    text = (folder / "answer.ipynb").read_text(encoding="utf-8")
    assert text.count('"1.25\\n"') == 1
    (folder / "changed.ipynb").write_text(text.replace('"1.25\\n"', '"1.26\\n"'), encoding="utf-8")
    done = nbval(folder, "answer.ipynb", "changed.ipynb")
    assert done.returncode == 1
    assert "answer.ipynb ... " in done.stdout and "changed.ipynb ..F" in done.stdout and "1.26" in done.stdout


def nbval(folder: Path, *notebooks: str) -> subprocess.CompletedProcess:
    environment = {k: v for k, v in os.environ.items() if k not in ("CXRESEARCH_RUN", "MPLBACKEND")}
    options = ["-p", "no:cacheprovider", "--rootdir", ".", "--nbval", "--nbval-cell-timeout=120"]
    command = [sys.executable, "-m", "pytest", *options, *notebooks]
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)
