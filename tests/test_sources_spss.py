"""SPSS files whose codes are not the answers: the net promoter score comes out right, or is refused."""

from contextlib import nullcontext

import numpy as np
import pandas as pd
import pyreadstat
import pytest

from cxresearch import nps, open_study
from cxresearch.errors import StudyProblem
from cxresearch.intake import check_study, new_study
from cxresearch.sources import Reading, read_table

# Of 71 answers on 0-10 25 are promoters and 19 detractors: 100 (25 - 19) / 71 = 8.45. Stored as 1-11 without a
# decision, the score of the codes would be 36 or 13.
ANSWERS = np.repeat(np.arange(11), [4, 1, 1, 2, 2, 4, 5, 12, 15, 13, 12])
TRUTH = 8.45
ENDS = {0: "0 - not at all likely", 10: "10 - extremely likely"}
NUMBERED = {i: ENDS.get(i, str(i)) for i in range(11)}

SHIFTED = {i: i + 1 for i in range(11)}  # 0-10 stored as 1-11
MOVED = {0: 11} | {i: i for i in range(1, 11)}  # 0 stored as 11


def survey(folder, stored, labels, *, missing=None, name="survey.sav"):
    """Write the answers as `stored` (answer -> code) with the labels of these answers."""
    codes = [float(stored[a]) for a in ANSWERS]
    frame = pd.DataFrame({"id": np.arange(len(codes), dtype=float), "q1": codes})
    words = {"q1": {float(stored[a]): text for a, text in labels.items()}} if labels else {}
    pyreadstat.write_sav(
        frame,
        str(folder / name),
        column_labels=["Respondent", "How likely are you to recommend us?"],
        variable_value_labels=words,
        missing_ranges=missing or {},
    )
    return folder / name


def study(folder, item):
    text = f"title: T\ntables:\n  responses:\n    source: survey.sav\n    items:\n      q1: {item}\n"
    (folder / "study.yml").write_text(text)
    return open_study(folder / "study.yml")


def score(opened):
    return round(nps(opened.responses, opened.column("nps")).tidy()["estimate"].iloc[0], 2)


REVERSED = {i: 11 - i for i in range(11)}
WORDS = {0: "Not at all likely", 10: "Extremely likely"}


@pytest.mark.parametrize(("stored", "labels"), [
    (SHIFTED, NUMBERED), (SHIFTED, ENDS), (MOVED, NUMBERED), (MOVED, ENDS), (REVERSED, NUMBERED), (REVERSED, WORDS),
    (SHIFTED, WORDS), (SHIFTED, WORDS | {5: "Neutral"}), (SHIFTED, {i: f"{i:02d} points" for i in range(11)}),
    (SHIFTED, {i: f"[{i}]" for i in range(11)}), (SHIFTED, {0: "0 Detractor", 6: "6 Detractor", 9: "9 Promoter", 10: "10"}),
    (MOVED, WORDS), (MOVED, {0: "0"}), (MOVED, {0: "Not at all likely (0)", 10: "Extremely likely (10)"}),
    (MOVED, {0: "Zdecydowanie nie polecę", 10: "Zdecydowanie polecę"}),
])  # fmt: skip
def test_whatever_the_labels_look_like_the_score_is_8_45(tmp_path, stored, labels):
    survey(tmp_path, stored, labels)
    text = new_study([tmp_path / "survey.sav"], out=tmp_path / "study.yml").text
    assert ("# stored codes are not the answers: " in text) or labels not in (NUMBERED, ENDS)
    assert len(check_study(tmp_path / "study.yml")["waiting"]) == 1
    with pytest.raises(StudyProblem, match="item q1"):
        open_study(tmp_path / "study.yml").responses
    (tmp_path / "study.yml").write_text(text.replace("confirmed: false", "confirmed: true"))
    assert score(open_study(tmp_path / "study.yml")) == TRUTH


@pytest.mark.parametrize("stored", [SHIFTED, MOVED], ids=["1-11", "0-as-11"])
def test_without_labels_new_waits_for_a_decision(tmp_path, stored):
    survey(tmp_path, stored, None)
    text = new_study([tmp_path / "survey.sav"], out=tmp_path / "study.yml").text
    assert "# ? decide: 1-11 for 0-10 (values: {1: 0, 2: 1, ..., 11: 10}), 11 for 0 (values: " in text
    found = check_study(tmp_path / "study.yml")
    assert len(found["waiting"]) == len(found["problems"]) == 1 and "and never 0: is 11 a blank" in found["problems"][0]
    (tmp_path / "study.yml").write_text(text.replace("confirmed: false", "confirmed: true"))
    with pytest.raises(StudyProblem, match="and never 0: is 11 a blank, or do 1-11 stand for 0-10, or 11 for 0"):
        open_study(tmp_path / "study.yml").responses
    decided = {id(SHIFTED): "1: 0, 2: 1, 3: 2, 4: 3, 5: 4, 6: 5, 7: 6, 8: 7, 9: 8, 10: 9, 11: 10"}.get(
        id(stored), "11: 0, " + ", ".join(f"{i}: {i}" for i in range(1, 11))
    )
    assert score(study(tmp_path, f"{{scale: [0, 10], role: nps, values: {{{decided}}}}}")) == TRUTH


@pytest.mark.parametrize("stored", [SHIFTED, MOVED], ids=["1-11", "0-as-11"])
@pytest.mark.parametrize("labels", [NUMBERED, ENDS, None], ids=["all-labels", "end-labels", "no-labels"])
@pytest.mark.parametrize("codes", ["", ", missing: [11]", ", not_applicable: [11]"])
def test_a_hand_written_study_that_ignores_the_coding_is_refused(tmp_path, stored, labels, codes):
    survey(tmp_path, stored, labels)
    with pytest.raises(StudyProblem) as caught:
        study(tmp_path, f"{{scale: [0, 10], role: nps{codes}}}").responses
    assert str(caught.value).startswith("survey.sav: q1 ")


@pytest.mark.parametrize(("stored", "labels", "item", "told"), [
    (SHIFTED, ENDS, "missing: [11]", "stores codes whose labels say other numbers (1: '0 - not at all likely', 11: '10 - "
     "extremely likely'); declare which answer each code stands for: values: {1: 0, 11: 10, ...} of item q1 in study.yml"),
    (MOVED, None, "missing: [11]", "holds 11 4 times and never 0: is 11 a blank, or do 1-11 stand for 0-10, or 11 for 0? "
     "Declare values: {1: 0, ..., 11: 10} or {11: 0, 1: 1, ..., 10: 10} of item q1 in study.yml, or missing: [11] with "
     "confirmed: true if it is a blank"),
    (MOVED, None, "values: {1: 0, 2: 1}", "holds 69 codes that 'values' of item q1 in study.yml does not explain (8: 15, 9: "
     "13, 10: 12, 7: 12, 6: 5, ...); add them there, or to its missing codes"),
])  # fmt: skip
def test_the_refusals_word_for_word(tmp_path, stored, labels, item, told):
    survey(tmp_path, stored, labels)
    with pytest.raises(StudyProblem) as caught:
        study(tmp_path, f"{{scale: [0, 10], {item}, role: nps}}").responses  # noqa: B018
    assert str(caught.value) == f"survey.sav: q1 {told}"


def test_a_blank_11_beside_a_stored_0_is_no_doubt(tmp_path):
    stored = {i: i for i in range(11)}
    survey(tmp_path, stored, {0: "not at all", 10: "extremely"})
    assert score(study(tmp_path, "{scale: [0, 10], missing: [11], role: nps}")) == TRUTH


def test_user_missing_values_and_ranges_are_missing_and_a_declared_not_applicable_stays_apart(tmp_path):
    frame = pd.DataFrame({"a": [1.0, 5.0, 8.0, -77.0, -3.0], "b": [1.0, 2.0, 3.0, 8.0, 9.0]})
    ranges = {"a": [{"lo": -99.0, "hi": -1.0}, {"lo": 8.0, "hi": 8.0}], "b": [8.0, 9.0]}
    pyreadstat.write_sav(frame, str(tmp_path / "survey.sav"), missing_ranges=ranges)
    (tmp_path / "study.yml").write_text(
        "title: T\ntables: {responses: {source: survey.sav, items: {a: {scale: [1, 5]}, b: {scale: [1, 5], "
        "not_applicable: [9]}}}}\n"
    )
    responses = open_study(tmp_path / "study.yml").responses.table
    assert responses["a"].isna().tolist() == [False, False, True, True, True]
    assert responses["b"].isna().tolist() == [False, False, False, True, True]
    assert responses["b_met"].tolist() == [True, True, True, True, False]


def test_a_truncated_file_is_refused(tmp_path):
    path = survey(tmp_path, SHIFTED, NUMBERED)
    whole = path.read_bytes()
    for keep in (len(whole) - 40, len(whole) // 2, 100, 10):
        path.write_bytes(whole[:keep])
        with pytest.raises(StudyProblem, match=r"^survey.sav "):
            study(tmp_path, "{scale: [0, 10], role: nps, values: {1: 0, 2: 1}}").responses


def test_a_declared_encoding_is_that_of_the_names_of_columns_too(tmp_path):
    frame, path = pd.DataFrame({"zaqy": [1.0, 5.0], "b": ["aqqb", "x"]}), tmp_path / "survey.sav"
    pyreadstat.write_sav(frame, str(path), column_labels=["Jaq?", "B"])
    written = path.read_bytes().replace(b"zaqy", b"za\xbfy").replace(b"ZAQY", b"ZA\xafY")
    path.write_bytes(written.replace(b"aqqb", b"a\xbf\xf3b").replace(b"Jaq?", b"Ja\xbf?"))
    raw = read_table(path, reading=Reading(encoding=("cp1250",)))
    assert raw.frame.to_dict("list") == {"zaży": [1.0, 5.0], "b": ["ażób", "x"]}
    assert raw.meanings.labels == {"zaży": "Jaż?", "b": "B"}


def test_codes_that_are_text_are_held_against_their_labels_as_numbers_are(tmp_path):
    stored = ["1"] * 4 + ["2"] * 3 + ["5"] * 2 + ["-9"]
    words = {"1": "5 - excellent", "2": "4 - good", "5": "1 - very poor", "-9": "refused"}
    frame = pd.DataFrame({"q1": stored})
    pyreadstat.write_sav(
        frame, str(tmp_path / "survey.sav"), variable_value_labels={"q1": words}, missing_ranges={"q1": ["-9"]}
    )
    with pytest.raises(
        StudyProblem, match="stores codes whose labels say other numbers .1: '5 - excellent', 2: '4 - good'"
    ):
        study(tmp_path, "{scale: [1, 5], role: csat}").responses  # noqa: B018
    meant = study(tmp_path, "{scale: [1, 5], role: csat, values: {1: 5, 2: 4, 5: 1}}").responses.table["q1"]
    assert meant.tolist()[:9] == [5.0] * 4 + [4.0] * 3 + [1.0] * 2 and np.isnan(meant.iloc[9])


@pytest.mark.parametrize("form", ["{}) {}", "({}) {}", "( {} ) {}", "{} ({})", "{}. {}"])
@pytest.mark.parametrize("scale", ["[1, 5]", "[0, 10]"])
def test_a_label_s_number_may_stand_in_brackets(tmp_path, form, scale):
    frame = pd.DataFrame({"q1": [1.0, 2.0, 5.0]})
    for turned in (True, False):
        labels = {code: form.format(6 - code if turned else code, "words") for code in frame["q1"]}
        labels = {code: words.replace(".0", "") for code, words in labels.items()}
        pyreadstat.write_sav(frame, str(tmp_path / "survey.sav"), variable_value_labels={"q1": labels})
        opened = study(tmp_path, f"{{scale: {scale}}}")
        with pytest.raises(StudyProblem, match="labels say other numbers") if turned else nullcontext():
            assert opened.responses.table["q1"].sum() == 8
