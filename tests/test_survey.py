"""Surveys: the order of waves, the floor, weights, domains, the one resampler."""

import numpy as np
import pandas as pd
import pytest

import cxresearch as cx
from cxresearch.errors import DataProblem, StudyProblem

# promoters and detractors of four waves of 200: the score falls 50, 30, 10, -10
FALLING = ((0.6, 0.1), (0.5, 0.2), (0.4, 0.3), (0.3, 0.4))
DAYS = ("2024-08-15", "2024-11-15", "2025-02-15", "2025-05-15")
LABELS = {
    "quarters": ("Q3 2024", "Q4 2024", "Q1 2025", "Q2 2025"),
    "months": ("Jan 2025", "Feb 2025", "Mar 2025", "Apr 2025"),
    "plain": ("Wave B", "Wave A", "Wave D", "Wave C"),
}


def falling(labels, *, dated: bool) -> pd.DataFrame:
    rows = []
    for label, day, (up, down) in zip(labels, DAYS, FALLING, strict=True):
        up, down = round(200 * up), round(200 * down)
        rows += [(label, day, score) for score in [9] * up + [3] * down + [8] * (200 - up - down)]
    table = pd.DataFrame(rows, columns=["wave", "asked_on", "rec"]).assign(rid=lambda t: "r" + t.index.astype(str))
    return table if dated else table.drop(columns="asked_on")


def scores(survey) -> dict:
    """Return wave -> net score, in the order of the cells."""
    sample = survey.sample(wave=True)
    rec = survey.table["rec"].to_numpy()[sample.rows]
    net = sample.means(np.where(rec >= 9, 100.0, np.where(rec <= 6, -100.0, 0.0)))
    return dict(zip(sample.keys["wave"], net.round(6)))


def study_of(folder, table, *, waves=""):
    table.to_csv(folder / "answers.csv", index=False)
    asked = ", asked_on: {role: asked_at}" if "asked_on" in table else ""
    (folder / "study.yml").write_text(
        f"version: 2\ntitle: T\n{waves}tables:\n  responses: {{source: answers.csv, id: rid, wave: wave, items: "
        f"{{rec: {{scale: [0, 10], role: nps}}{asked}}}}}\n",
        encoding="utf-8",
    )
    return cx.open_study(folder)


TOLD = [(kind, dated) for kind in LABELS for dated in (True, False) if dated or kind != "plain"]


@pytest.mark.parametrize(("kind", "dated"), TOLD)
def test_the_order_of_waves_is_the_order_of_time(kind, dated, tmp_path):
    survey = study_of(tmp_path, falling(LABELS[kind], dated=dated)).responses
    assert list(scores(survey).items()) == list(zip(LABELS[kind], (50, 30, 10, -10)))


def test_waves_whose_time_nothing_tells_are_refused_and_may_be_declared(tmp_path):
    table = falling(LABELS["plain"], dated=False)
    with pytest.raises(DataProblem, match="Wave A, Wave B, Wave C, Wave D came; declare waves: "):
        scores(study_of(tmp_path, table).responses)
    declared = study_of(tmp_path, table, waves="waves: [Wave B, Wave A, Wave D, Wave C]\n").responses
    assert list(scores(declared).values()) == [50, 30, 10, -10]


def test_declared_waves_are_held_against_all_rows_with_their_lines(tmp_path):
    table = falling(LABELS["quarters"], dated=False)
    with pytest.raises(StudyProblem) as refused:
        study_of(tmp_path, table, waves="waves:\n  - Q3 2024\n  - Q5 2024\n  - Q1 2025\n").responses  # noqa: B018
    assert str(refused.value).splitlines() == [
        "study.yml, line 5: waves names 'Q5 2024', which no row of responses holds; they hold Q3 2024, Q4 2024, "
        "Q1 2025, Q2 2025; did you mean 'Q4 2024', 'Q3 2024', 'Q2 2025'?",
        "study.yml, line 3: waves leaves out Q4 2024, Q2 2025, which responses hold; name every wave, first to last",
    ]


def latest(folder, waves="") -> list:
    answers = [(f"C{i}", wave, score) for i in range(60) for wave, score in (("Q4 2024", 3), ("Q1 2025", 10))]
    pd.DataFrame(answers, columns=["cust", "wave", "rec"]).to_csv(folder / "a.csv", index=False)
    pd.DataFrame({"cust": [f"C{i}" for i in range(60)], "spend": np.arange(60)}).to_csv(folder / "c.csv", index=False)
    (folder / "study.yml").write_text(
        f"title: T\n{waves}tables:\n  responses: {{source: a.csv, customer: cust, wave: wave, items: {{rec: {{scale: "
        "[0, 10], role: nps}}}\n  customers: {source: c.csv, id: cust, items: {spend: {type: number}}}\n"
    )
    return cx.open_study(folder).matched("responses", "customers").table["rec"].unique().tolist()


def test_the_latest_answer_is_that_of_the_last_wave(tmp_path):
    assert latest(tmp_path) == [10.0]
    assert latest(tmp_path, "waves: [Q1 2025, Q4 2024]\n") == [3.0]  # declared, it holds whatever the labels say
