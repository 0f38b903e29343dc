"""The command line: what it costs, what it prints, how it ends."""

import os
import pty
import signal
import subprocess
import sys
import termios
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from tiny import write_notebook, write_study

from cxresearch.cli import main

HEAVY = ("numpy", "pandas", "matplotlib", "papermill", "nbformat", "jinja2", "yaml", "tqdm", "asyncio", "pydantic")


@pytest.fixture
def project(tmp_path, monkeypatch, warm) -> Path:
    """A folder with a study and one notebook, as working folder."""
    write_study(tmp_path)
    write_notebook(tmp_path / "notebooks", "answer", "print(times)")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def ended(*arguments: str) -> int:
    """Return the exit status, whichever way the command ends."""
    try:
        return main(list(arguments))
    except SystemExit as end:
        return end.code


def test_help_and_a_wrong_command_line_import_nothing_heavy():
    code = (
        "import sys\nfrom cxresearch.cli import main\n"
        "for words in (['--help'], ['run', '--help'], ['fly']):\n"
        "    try: main(words)\n    except SystemExit: pass\n"
        f"print([m for m in {HEAVY} if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"


SIGNS = """
import sys
from cxresearch.cli import main
main(["sign", sys.argv[1]])
print([m for m in ("ipykernel", "IPython", "jinja2", "mistune", "papermill", "nbformat") if m in sys.modules])
"""


def test_a_sign_off_needs_nothing_that_executes_or_renders(tmp_path):
    (tmp_path / "run.json").write_text('{"format": "cxresearch run 1"}', encoding="utf-8")
    done = subprocess.run([sys.executable, "-c", SIGNS, str(tmp_path)], capture_output=True, text=True, check=True)
    assert done.stdout == "nobody has signed this run\n[]\n"


def test_a_run_is_started_from_any_thread(project):
    """Only the main thread may say what a signal does."""
    with ThreadPoolExecutor(1) as other:
        assert other.submit(main, ["run", "study.yml", "--out", "out"]).result() == 0
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL


def test_the_module_is_the_command_in_any_folder(tmp_path):
    words = [sys.executable, "-m", "cxresearch", "run", "x.yml"]
    done = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (2, "") and done.stderr == "cxresearch: there is no study file 'x.yml'\n"


def test_a_run_ends_with_the_path_of_its_index_page(project, capsys):
    assert ended("run", "study.yml", "--set", "times=8") == 0
    out, err = capsys.readouterr()
    first, last = out.splitlines()
    assert first.split() == ["ok", "answer", first.split()[2], "s"]
    index = Path(last)
    assert index.parts[:2] == ("reports", "runs") and index.parts[2] == project.name and index.name == "index.html"
    assert index.is_file() and '"8\\n"' in (index.parent / "answer.ipynb").read_text(encoding="utf-8")
    assert err == "", "no terminal waits for the bar"


def test_a_bar_with_the_time_left_stands_in_a_terminal_only(project):
    theirs, ours = pty.openpty()
    termios.tcsetwinsize(ours, (24, 80))
    with open(theirs, "rb", buffering=0) as terminal:
        done = subprocess.run([sys.executable, "-m", "cxresearch", "run", "study.yml"], stdout=-1, stderr=ours)
        os.close(ours)
        shown = terminal.read(1 << 16).decode()
    assert done.returncode == 0 and "1/1" in shown and "<00:00" in shown, shown


def test_a_failed_notebook_ends_with_one_and_still_gives_a_page(project, capsys):
    write_notebook(project / "notebooks", "broken", "1/0")
    write_notebook(project / "notebooks", "costly", "1", needs={"tables": ["costs"], "roles": []})
    assert ended("run", "study.yml", "--out", "out", "--only", "broken", "costly") == 1
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("skipped  costly") and "costs" in lines[0]
    assert lines[1].startswith("failed   broken") and lines[1].endswith("cell 4: ZeroDivisionError: division by zero")
    assert lines[2] == "out/index.html"


def test_a_run_whose_notebooks_are_all_skipped_ends_well(project, capsys):
    write_notebook(project / "notebooks", "costly", "1", needs={"tables": ["costs"], "roles": []})
    assert ended("run", "study.yml", "--out", "out", "--only", "costly") == 0
    assert "Skipped, for want of data (1)" in Path("out/index.html").read_text(encoding="utf-8")


KNOWN = "no parameter 'tmes' in answer.ipynb; did you mean 'times'?; there are group, quick, share, times, words"
WRONG = {  # words of the command -> what the last line says
    "run study.yml --set tmes=8": f"cxresearch: --set tmes=8: {KNOWN}",
    "run study.yml --notebooks nowhere": "cxresearch: there is no folder nowhere; name the folder with --notebooks",
    "run study.yml --out notebooks": "cxresearch: notebooks is not empty and holds no earlier run; "
    "name an empty or a new folder",
    "run study.yml --out study.yml/run": "cxresearch: cannot make a folder in {here}/study.yml: Not a directory; "
    "name another with --out",
    "run study.yml --set times": "error: argument --set: 'times' is not NAME=VALUE",
    "run study.yml --timeout 0": "error: argument --timeout: '0' is not a whole number above 0",
    "schedule study.yml --every mondy": "argument --every: invalid choice: 'mondy'",
    "run study.yml --jobs 0": "argument --jobs: '0' is not a whole number above 0",
    "run study.yml --overlap never": "argument --overlap: invalid choice: 'never'",
    "run": "error: the following arguments are required: STUDY",
    "run absent.yml": "cxresearch: there is no study file 'absent.yml'",
}


@pytest.mark.parametrize("words", WRONG)
def test_a_users_mistake_is_told_in_a_sentence_and_ends_with_two(project, capsys, words):
    assert ended(*words.split()) == 2
    out, err = capsys.readouterr()
    assert out == "" and WRONG[words].format(here=project) in err.splitlines()[-1] and "Traceback" not in err


def test_the_notebooks_of_a_parent_folder_are_found(project, monkeypatch, capsys):
    (project / "deep" / "er").mkdir(parents=True)
    monkeypatch.chdir(project / "deep" / "er")
    assert ended("run", "../../study.yml", "--only", "anser") == 2
    said = "cxresearch: --only: there is no notebook 'anser'; did you mean 'answer'?; there are answer\n"
    assert capsys.readouterr().err == said
