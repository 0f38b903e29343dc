"""Retention: a study says what its data are for and until when; past that day it is refused."""

from datetime import date

import pytest
from tiny import STUDY, write_study

from cxresearch.cli import main
from cxresearch.errors import StudyProblem
from cxresearch.intake import check_study
from cxresearch.study import open_study


def study(folder, privacy: str):
    path = write_study(folder)
    path.write_text(
        STUDY.replace("privacy: {minimum_base: 2}", f"privacy: {{minimum_base: 2, {privacy}}}"), encoding="utf-8"
    )
    return path


def test_a_study_is_refused_from_the_day_after(tmp_path):
    path = study(tmp_path, "purpose: service in 2025, delete_after: 2026-06-30")
    open_study(path, today=date(2026, 6, 30))
    with pytest.raises(StudyProblem) as refused:
        open_study(path, today=date(2026, 7, 1))
    assert str(refused.value) == (
        "study.yml, line 2: the data were to be deleted after 2026-06-30, 1 day ago; delete them, or give "
        "privacy.delete_after a later date if their purpose (service in 2025) still needs them"
    )
    with pytest.raises(
        StudyProblem, match="^study.yml, line 2: .* 365 days ago; .* if their purpose still needs them$"
    ):
        open_study(study(tmp_path, "delete_after: 2026-06-30"), today=date(2027, 6, 30))


def test_a_study_that_says_nothing_is_never_refused(tmp_path):
    open_study(write_study(tmp_path), today=date(2999, 1, 1))


def test_the_clock_of_the_computer_is_the_default(tmp_path):
    with pytest.raises(StudyProblem, match="were to be deleted after 2020-01-31"):
        open_study(study(tmp_path, "delete_after: 2020-01-31"))
    with pytest.raises(StudyProblem, match="were to be deleted after 2020-01-31"):
        open_study(f"{tmp_path / 'study.yml'}?wave=2026")


def test_check_refuses_a_study_past_its_day(tmp_path, capsys):
    path = study(tmp_path, "delete_after: 2026-06-30")
    assert check_study(path, today=date(2026, 6, 30))["title"] == "Tiny <company> & sons"
    with pytest.raises(
        StudyProblem, match="^study.yml, line 2: the data were to be deleted after 2026-06-30, 1 day ago"
    ):
        check_study(path, today=date(2026, 7, 1))
    assert main(["check", str(study(tmp_path, "delete_after: 2020-01-31"))]) == 2
    assert capsys.readouterr().err.startswith(
        "cxresearch: study.yml, line 2: the data were to be deleted after 2020-01-31, "
    )


def test_a_date_that_is_none_is_refused_with_its_line(tmp_path):
    with pytest.raises(StudyProblem) as refused:
        open_study(study(tmp_path, "delete_after: 31.12.2026"))
    assert str(refused.value) == (
        "study.yml, line 2: privacy.delete_after: input should be a valid date or datetime, invalid character in year; "
        "found '31.12.2026'"
    )
