"""Timetables, each read by the program it is for."""

import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from conftest import require_program
from tiny import write_study

from cxresearch.cli import main
from cxresearch.runs.schedule import EVERY, as_airflow, as_crontab, as_systemd, as_workflow, timetable

NASTY = '50 % of $HOME\'s "best" {{ data }} 客户'


@pytest.fixture
def project(tmp_path) -> Path:
    """A project whose path holds whatever a scheduler could misread."""
    home = tmp_path / NASTY
    write_study(home / "data")
    return home


def planned(project: Path, **changes):
    return timetable(project / "data" / "study.yml", project=project, **{"report": "short", **changes})


def ran(*words, **more) -> subprocess.CompletedProcess:
    return subprocess.run(words, capture_output=True, text=True, timeout=300, **more)


@pytest.mark.parametrize("every", EVERY)
def test_cron_takes_the_line(project, tmp_path, every):
    require_program("crontab")
    table = tmp_path / "table"
    table.write_text(as_crontab(planned(project, every=every, at="23:07")), encoding="utf-8")
    checked = ran("crontab", "-n", str(table))
    assert checked.returncode == 0, checked.stderr
    table.write_text("61 3 * * * true\n")
    assert ran("crontab", "-n", str(table)).returncode == 1  # so it does look


def test_the_shell_finds_the_project_after_cron_has_read_the_percent_signs(project):
    line = as_crontab(planned(project)).splitlines()[1]
    command = line.split(maxsplit=5)[5].replace("\\%", "%")
    changed_into = command.split(" && ")[0]
    assert ran("sh", "-c", f"{changed_into} && pwd").stdout == f"{project}\n"
    assert "%" not in line.replace("\\%", "")


@pytest.mark.parametrize("every", ["day", "weekday", "sunday", "month"])
def test_systemd_takes_service_and_timer(project, tmp_path, every):
    require_program("systemd-analyze")
    units = as_systemd(planned(project, every=every))
    for name, text in units.items():
        (tmp_path / name).write_text(text, encoding="utf-8")
    checked = ran("systemd-analyze", "verify", "--man=no", *(str(tmp_path / name) for name in units))
    assert checked.returncode == 0 and str(tmp_path) not in checked.stderr, checked.stderr
    when = next(line.partition("=")[2] for line in units["cxresearch-data-short.timer"].splitlines() if "OnCal" in line)
    assert "Next elapse" in ran("systemd-analyze", "calendar", when).stdout


def test_systemd_hands_the_words_on_as_they_are(project, tmp_path):
    """systemd-run would need a running manager; its documented quoting is undone by hand instead."""
    study = (
        shutil.copy(project / "data" / "study.yml", project / "data" / NASTY.replace("/", ""))
        and project / "data" / NASTY
    )
    plan = timetable(study.rename(study.with_suffix(".yml")), project=project, report="short")
    text = as_systemd(plan)["cxresearch-50-of-home-s-best-data-short.service"]
    command = next(line.partition("=")[2] for line in text.splitlines() if line.startswith("ExecStart"))
    words = [w.replace("$$", "$").replace("%%", "%") for w in shlex.split(command)]
    assert words == [sys.executable, "-m", "cxresearch", "run", f"data/{NASTY}.yml", "short"]


def test_the_workflow_is_yaml_with_the_keys_of_a_workflow(project):
    flow = yaml.safe_load(as_workflow(planned(project, every="weekday", at="4:30")))
    assert flow["on"]["schedule"] == [{"cron": "30 4 * * 1-5"}]
    steps = flow["jobs"]["report"]["steps"]
    assert shlex.split(steps[4]["run"])[1:] == ["-m", "cxresearch", "run", "data/study.yml", "short"]


@pytest.fixture(scope="module")
def airflow(tmp_path_factory) -> dict:
    """An Airflow of its own: its dependencies would not live beside ours."""
    home = tmp_path_factory.mktemp("airflow")
    uv = Path(sys.executable).with_name("uv")
    uv = str(uv) if uv.exists() else shutil.which("uv")
    if uv is None:
        pytest.skip("Airflow is installed with uv, which is not here")
    python = home / "env" / "bin" / "python"
    made = ran(uv, "venv", "-q", "--python", sys.executable, str(home / "env"))
    packages = ("apache-airflow-core>=3.0", "apache-airflow-providers-standard")
    made = made if made.returncode else ran(uv, "pip", "install", "-q", "--python", str(python), *packages)
    assert made.returncode == 0, made.stderr
    return {"python": str(python), "env": {**os.environ, "AIRFLOW_HOME": str(home / "home")}}


def test_airflow_imports_the_dag_and_leaves_the_command_as_it_is(project, tmp_path, airflow):
    dags = tmp_path / "dags"
    dags.mkdir()
    (dags / "report.py").write_text(as_airflow(planned(project, every="month")), encoding="utf-8")
    look = (
        "from airflow.dag_processing.dagbag import DagBag\n"
        f"bag = DagBag({str(dags)!r})\n"
        "assert not bag.import_errors, bag.import_errors\n"
        "dag = bag.dags['cxresearch-data-short']\n"
        "import jinja2\n"
        "print(jinja2.Template(dag.get_task('run').bash_command).render(data='replaced').split(' && ')[0])\n"
        "print(dag.schedule if hasattr(dag, 'schedule') else dag.timetable.summary)\n"
    )
    seen = ran(airflow["python"], "-c", look, env=airflow["env"])
    assert seen.returncode == 0, seen.stderr
    changed_into, when = seen.stdout.splitlines()[-2:]
    assert shlex.split(changed_into) == ["cd", str(project)] and when == "0 3 1 * *"


@pytest.mark.parametrize(
    "words, message",
    [
        (["--at", "24:00"], "--at '24:00' is not a time of day; write it as 03:00"),
        (
            ["--every", "mondy"],
            "--every 'mondy' is not known; did you mean 'monday', 'month'?; there are day, weekday, monday, tuesday, "
            "wednesday, thursday, friday, saturday, sunday, month",
        ),
        (
            ["shrt"],
            "study.yml has no report 'shrt'; did you mean 'short'?; there are short, misspelt, mistyped, elsewhere",
        ),
    ],
)
def test_what_cannot_be_planned_is_refused(tmp_path, capsys, monkeypatch, words, message):
    write_study(tmp_path)
    monkeypatch.chdir(tmp_path)
    assert main(["schedule", "study.yml", *words]) == 2
    assert capsys.readouterr().err == f"cxresearch: {message}\n"


def test_a_study_outside_the_project_has_no_workflow(tmp_path, capsys, monkeypatch):
    study = write_study(tmp_path / "elsewhere")
    (tmp_path / "project").mkdir()
    monkeypatch.chdir(tmp_path / "project")
    assert main(["schedule", str(study), "--as", "workflow"]) == 2
    assert "lies outside the project" in capsys.readouterr().err
    assert main(["schedule", str(study), "--as", "systemd", "--jobs", "4"]) == 0
    assert '"--jobs" "4"' in capsys.readouterr().out
