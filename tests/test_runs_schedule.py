"""Timetables, each read by the program it is for."""

import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import require_program
from tiny import write_study

from cxresearch.cli import main
from cxresearch.runs.schedule import EVERY, timetable

NASTY = '50 % of $HOME\'s "best" {{ data }} 客户'


@pytest.fixture
def project(tmp_path) -> Path:
    """A project whose path holds whatever a scheduler could misread."""
    home = tmp_path / NASTY
    write_study(home / "data")
    return home


def line_of(project: Path, **changes) -> str:
    return timetable(project / "data" / "study.yml", project=project, report="short", kind="cron", **changes)


def units_of(study: Path, project: Path, **changes) -> dict[str, str]:
    text = timetable(study, project=project, report="short", kind="systemd", **changes)
    _, *parts = re.split(r"^# ~/.config/systemd/user/(.*)\n", text, flags=re.M)
    return dict(zip(parts[::2], parts[1::2]))


def ran(*words, **more) -> subprocess.CompletedProcess:
    return subprocess.run(words, capture_output=True, text=True, timeout=300, **more)


@pytest.mark.parametrize("every", EVERY)
def test_cron_takes_the_line(project, tmp_path, every):
    require_program("crontab")
    table = tmp_path / "table"
    table.write_text(line_of(project, every=every, at="23:07"), encoding="utf-8")
    checked = ran("crontab", "-n", str(table))
    assert checked.returncode == 0, checked.stderr
    table.write_text("61 3 * * * true\n")
    assert ran("crontab", "-n", str(table)).returncode == 1  # so it does look


def test_the_shell_finds_the_project_after_cron_has_read_the_percent_signs(project):
    line = line_of(project).splitlines()[1]
    command = line.split(maxsplit=5)[5].replace("\\%", "%")
    changed_into = command.split(" && ")[0]
    assert ran("sh", "-c", f"{changed_into} && pwd").stdout == f"{project}\n"
    assert "%" not in line.replace("\\%", "")


@pytest.mark.parametrize("every", ["day", "weekday", "sunday", "month"])
def test_systemd_takes_service_and_timer(project, tmp_path, every):
    require_program("systemd-analyze")
    units = units_of(project / "data" / "study.yml", project, every=every)
    for name, text in units.items():
        (tmp_path / name).write_text(text, encoding="utf-8")
    checked = ran("systemd-analyze", "verify", "--man=no", *(str(tmp_path / name) for name in units))
    assert checked.returncode == 0 and str(tmp_path) not in checked.stderr, checked.stderr
    when = next(line.partition("=")[2] for line in units["cxresearch-data-short.timer"].splitlines() if "OnCal" in line)
    assert "Next elapse" in ran("systemd-analyze", "calendar", when).stdout


def test_systemd_hands_the_words_on_as_they_are(project, tmp_path):
    """systemd-run would need a running manager; its documented quoting is undone by hand instead."""
    study = shutil.copy(project / "data" / "study.yml", project / "data" / f"{NASTY}.yml")
    text = units_of(study, project)["cxresearch-50-of-home-s-best-data-short.service"]
    command = next(line.partition("=")[2] for line in text.splitlines() if line.startswith("ExecStart"))
    words = [w.replace("$$", "$").replace("%%", "%") for w in shlex.split(command)]
    assert words == [sys.executable, "-m", "cxresearch", "run", f"data/{NASTY}.yml", "short"]


@pytest.mark.parametrize(
    "words, message",
    [
        (["--at", "24:00"], "--at '24:00' is not a time of day; write it as 03:00"),
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


def test_a_study_outside_the_project_keeps_its_path_and_jobs_are_handed_on(tmp_path, capsys, monkeypatch):
    study = write_study(tmp_path / "elsewhere")
    (tmp_path / "project").mkdir()
    monkeypatch.chdir(tmp_path / "project")
    assert main(["schedule", str(study), "--as", "systemd", "--jobs", "4"]) == 0
    assert f'"{study}" "--jobs" "4"' in capsys.readouterr().out
