"""A first study file from files that nobody has described: every shape, every guess with its reason, none silent."""

import json

import openpyxl
import pandas as pd
import pyreadstat
import pytest

from cxresearch import open_study
from cxresearch.cli import main
from cxresearch.errors import StudyProblem
from cxresearch.intake import check_study, new_study
from cxresearch.study.document import read_document


def new(folder, content, name="export.csv"):
    """Write a file, guess its study, and return (study text, check)."""
    path = folder / name
    if content is not None:
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
    out = folder / "study.yml"
    out.unlink(missing_ok=True)
    text = new_study([path], out=out).text
    assert out.read_text(encoding="utf-8") == text
    return text, check_study(out)


def items(folder):
    """Return item -> what the study file says, values as text."""
    return read_document(folder / "study.yml").data["tables"]["responses"]["items"]


def confirmed(folder):
    """Set every guess to confirmed and open the study."""
    path = folder / "study.yml"
    text = path.read_text(encoding="utf-8").replace("confirmed: false", "confirmed: true").replace(": false", ": true")
    path.write_text(text, encoding="utf-8")
    return open_study(path)


def net_promoter(scores):
    scores = scores.dropna()
    return 100 * ((scores >= 9).mean() - (scores <= 6).mean())


# -- every published file --------------------------------------------------------------------------------------------

NO_TABLE = {
    "codes_2017.txt": "codes_2017.txt holds no table that can be recognised: no separator (comma, semicolon, tab, bar, "
    "spaces) cuts its lines into the same number of cells",
    "panel_multiselect_labels.json": "panel_multiselect_labels.json holds no list of records; flatten it first, for "
    "example with pandas: json_normalize(records).to_csv(...)",
}


def only_waits(text, found):
    """Nothing is wrong, though decisions may be missing, and every doubt is marked for one."""
    assert found["problems"] == [] and found["ok"] == (not found["waiting"])
    assert all("false" in line for line in text.splitlines() if line.strip().startswith("confirmed:"))


OWN = ("survey_", "google_forms", "panel_multiselect.csv", "lounge")  # of which there is a test below


@pytest.mark.parametrize(
    "folder", ["exports", "airport", "textbook", "verbatims", "banks", "employees", "journeys", "cdnow"]
)
def test_every_published_file_goes_through_new_and_check(shared, tmp_path, folder):
    for path in sorted((shared / "data" / folder).iterdir()):
        out = tmp_path / f"{path.name}.yml"
        if path.name in NO_TABLE:
            with pytest.raises(StudyProblem) as caught:
                new_study([path], out=out)
            assert str(caught.value) == NO_TABLE[path.name]
            continue
        if not path.name.startswith(OWN):
            only_waits(new_study([path], out=out).text, check_study(out))


def test_airport_waves_give_40_of_2017_and_31_of_2018_once_confirmed_never_41_6(shared, tmp_path):
    files = [shared / "data" / "airport" / f"survey_{year}.csv" for year in (2017, 2018)]
    text, found = new_study(files, out=tmp_path / "study.yml").text, check_study(tmp_path / "study.yml")
    only_waits(text, found)
    netpro = [line for line in found["waiting"] if "item netpro" in line]
    assert netpro and netpro[0].endswith("item netpro (role nps; scale 0 to 10; missing 11 (243 rows))")
    asked = items(tmp_path)
    table = read_document(tmp_path / "study.yml").data["tables"]["responses"]
    assert table["codes"] == {"0": "missing", "6": "not applicable"} and "missing" not in asked["q7sign"]
    assert asked["q7all"]["missing"] == ["Blank", "BLANK"] and asked["q7all"]["role"] == ["csat"]
    assert asked["q20gender"]["column"] == {"2017": "Q20GENDER", "2018": "Q21Gender"}
    responses = confirmed(tmp_path).responses.table
    scores = responses.groupby("wave")["netpro"].apply(net_promoter).round(1).to_dict()
    assert scores == {"2017": 39.8, "2018": 31.0}


def test_google_forms_net_promoter_score_is_minus_35_9(shared, tmp_path):
    text, found = new(tmp_path, (shared / "data" / "exports" / "google_forms.csv").read_bytes())
    only_waits(text, found)
    # 11/1/2019 may be the first of November or the eleventh of January; and the question does not say what it is
    key = "on_a_scale_of_0_10_how_would_y"
    assert [line.split(": ")[1].split(" (")[0] for line in found["waiting"]] == ["item timestamp", f"item {key}"]
    assert items(tmp_path)[key]["scale"] == ["0", "10"] and items(tmp_path)[key]["role"] == ["csat"]
    scores = confirmed(tmp_path).responses.table[key]
    assert (len(scores), round(net_promoter(scores), 1)) == (39, -35.9)


def test_garden_centre_encoding_in_doubt_and_a_scale_from_one(shared, tmp_path):
    text, found = new(tmp_path, (shared / "data" / "garden_centre" / "customers.csv").read_bytes())
    only_waits(text, found)
    assert "    encoding: latin-1\n" in text and "two systems wrote here" in text
    assert any(line.endswith("tables.responses.encoding (latin-1)") for line in found["unconfirmed"])
    asked = items(tmp_path)
    assert asked["nps"]["scale"] == ["1", "10"] and asked["nps"]["role"] == ["outcome"]


def test_hbat_recommend_is_fractional_and_has_no_net_promoter_score(shared, tmp_path):
    new_study([shared / "data" / "textbook" / "HBAT.sav"], out=tmp_path / "study.yml")
    assert items(tmp_path)["x20"]["role"] == ["outcome"] and items(tmp_path)["x20"]["confirmed"] == "false"
    assert open_study(tmp_path / "study.yml").column("nps", optional=True) is None


def test_soccer_fans_off_scale_zero_and_user_missing_codes(shared, tmp_path):
    text = new_study([shared / "data" / "exports" / "soccer_fan_satisfaction.sav"], out=tmp_path / "study.yml").text
    assert "# the file itself declares 8 (don't know) missing: 12 rows\n" in text
    assert "# ? 1 is the good end, so that more is worse: turn it round with values if it is an outcome\n" in text
    study = confirmed(tmp_path)
    assert study.responses.table["x5"].dropna().between(1, 7).all()
    assert study.responses.table["x5"].notna().sum() == 251 - 12 - 1  # 8 is user-missing, 0 lies off the scale


def test_lounge_two_scales_in_one_column_are_suspected(shared, tmp_path):
    text, found = new(tmp_path, (shared / "data" / "verbatims" / "lounge.csv").read_bytes())
    only_waits(text, found)
    assert "# ? only 67 of 2259 values lie above 5: two scales may be mixed in this column\n" in text
    assert any("item overall_rating" in line for line in found["waiting"])


def test_bank_reviews_zero_is_no_score(shared, tmp_path):
    new_study([shared / "data" / "verbatims" / "bank_reviews_ru.json"], out=tmp_path / "study.yml")
    assert items(tmp_path)["rating"]["missing"] == ["0"] and items(tmp_path)["rating"]["confirmed"] == "false"


def test_panel_multiple_choice_becomes_columns_of_one_and_zero(shared, tmp_path):
    file = shared / "data" / "exports" / "panel_multiselect.csv"
    only_waits(new_study([file], out=tmp_path / "study.yml").text, check_study(tmp_path / "study.yml"))
    assert items(tmp_path)["q3"]["multiple"] == ";" and "97" in items(tmp_path)["q3"]["missing"]
    responses = confirmed(tmp_path).responses.table
    raw = pd.read_csv(file, usecols=["q3"], low_memory=False)["q3"]
    sets = raw.dropna().astype(str).map(lambda cell: set(filter(None, cell.split(";"))))
    assert responses["q3_2"].sum() == sum("2" in cell for cell in sets)
    assert responses["q3_2"].notna().sum() == sum(bool(cell - {"97"}) for cell in sets)


# -- Qualtrics and its neighbours ------------------------------------------------------------------------------------

QUALTRICS = """StartDate,EndDate,Status,IPAddress,Finished,ResponseId,RecipientEmail,Q1,Q2
Start Date,End Date,Response Type,IP Address,Finished,Response ID,Recipient Email,How likely are you to recommend us?,Why?
"{""ImportId"":""startDate""}","{""ImportId"":""endDate""}","{""ImportId"":""status""}","{""ImportId"":""ipAddress""}","{""ImportId"":""finished""}","{""ImportId"":""_recordId""}","{""ImportId"":""recipientEmail""}","{""ImportId"":""QID1""}","{""ImportId"":""QID2""}"
"""


def qualtrics_rows():
    rows = [
        f"2024-01-{i:02d} 10:00:00,2024-01-{i:02d} 10:05:00,0,10.0.0.{i},1,R_{i},p{i}@example.org,{i % 11},fine {i}"
        for i in range(1, 12)
    ]
    preview = "2024-01-20 10:00:00,2024-01-20 10:05:00,1,10.0.0.1,1,R_90,a@example.org,10,"
    unfinished = "2024-01-21 10:00:00,2024-01-21 10:05:00,0,10.0.0.1,0,R_91,b@example.org,10,"
    return QUALTRICS + "\n".join([*rows, preview, unfinished]) + "\n"


def test_qualtrics_previews_and_unfinished_answers_are_excluded_and_counted(tmp_path):
    text, found = new(tmp_path, qualtrics_rows())
    assert "header: [name, label, ignore]" in text and "exclude: {Status: [1], Finished: [0]}" in text
    assert "study.yml, line 18: tables.responses.exclude (Status: 1, Finished: 0)" in found["waiting"]
    assert [s["rows"] for s in found["tables"][0]["waterfall"]] == [13, 11, 11, 11]
    assert items(tmp_path)["q1"]["label"] == "How likely are you to recommend us?"
    assert items(tmp_path)["q1"]["role"] == ["nps"]
    study = confirmed(tmp_path)
    assert (
        sorted(study.responses.table["q1"]) == list(range(11))
        and study.read("responses").table["respondent"].iloc[0] == "R_1"
    )


def test_direct_identifiers_are_left_at_the_door(tmp_path):
    text, _ = new(tmp_path, qualtrics_rows())
    assert "# left out: IPAddress: names a person, IP address" in text
    assert "# left out: RecipientEmail: names a person, e-mail" in text
    assert "example.org" not in text and "10.0.0" not in text


def test_surveymonkey_question_and_option_rows_with_blank_continuations(tmp_path):
    content = (
        "Respondent ID,How satisfied are you with …?,,,Wie zufrieden – insgesamt?\n"
        ",Staff,Prices,Opening hours,Response\n"
        + "".join(f"{100 + i},{1 + i % 5},{1 + i // 2 % 5},{5 - i % 5},{1 + i % 5}\n" for i in range(20))
    ).encode("cp1252")
    text, found = new(tmp_path, content)
    assert "encoding: cp1252" in text and "header: [question, option]" in text and found["problems"] == []
    columns = [item["column"] for item in items(tmp_path).values()]
    assert columns == [
        "How satisfied are you with …?: Staff",
        "How satisfied are you with …?: Prices",
        "How satisfied are you with …?: Opening hours",
        "Wie zufrieden – insgesamt?",
    ]
    assert len(confirmed(tmp_path).responses) == 20


def test_cells_that_spell_out_the_ends_of_a_scale(tmp_path):
    words = {0: "0 - Not at all likely", 10: "10 - Extremely likely"}
    rows = "".join(f"{i},{words.get(i % 11, i % 11)},fine\n" for i in range(44))
    text, found = new(tmp_path, "id,How likely are you to recommend us?,why\n" + rows)
    assert "# ? cells such as '0 - Not at all likely' are taken for their number\n" in text
    assert len(found["waiting"]) == 1 and found["problems"] == []
    study = confirmed(tmp_path)
    assert sorted(study.responses.table[study.column("nps")].unique()) == list(range(11))


def test_decimal_comma_semicolon_and_day_first_dates(tmp_path):
    rows = "".join(f"{i};{i},5;{i + 10:02d}.03.2024;{1 + i % 5}\n" for i in range(1, 15))
    text, found = new(tmp_path, "Nummer;Betrag;Datum;Zufriedenheit insgesamt\n" + rows)
    assert 'separator: ";"' in text and 'decimal: ","' in text and found["problems"] == []
    responses = confirmed(tmp_path).responses.table
    assert responses["betrag"].tolist()[:2] == [1.5, 2.5]
    assert responses["datum"].tolist()[0] == pd.Timestamp(2024, 3, 11)


def test_excel_with_title_merged_header_and_two_sheets(tmp_path):
    book = openpyxl.Workbook()
    sheet = book.active
    sheet.title = "Data"
    sheet.append(["Customer survey, spring"])
    sheet.append(["id", "How do you rate", None, None, "region"])
    sheet.append([None, "staff", "price", "speed", None])
    sheet.merge_cells("B2:D2")
    for i in range(30):
        sheet.append([i, 1 + i % 5, 1 + (i // 2) % 5, 5 - i % 5, "north" if i % 2 else "south"])
    book.create_sheet("Notes").append(["x"])
    book.save(tmp_path / "survey.xlsx")
    text, found = new(tmp_path, None, "survey.xlsx")
    assert "sheet: Data" in text and "header: [ignore, question, option]" in text and found["problems"] == []
    assert [item["column"] for item in items(tmp_path).values()] == [
        "How do you rate: staff",
        "How do you rate: price",
        "How do you rate: speed",
        "region",
    ]
    assert confirmed(tmp_path).responses.table["how_do_you_rate_staff"].mean() == 3.0


def test_a_workbook_of_one_column_has_its_header_in_the_first_row(tmp_path):
    book = openpyxl.Workbook()
    for cell in ("recommend", *(i % 11 for i in range(70))):
        book.active.append([cell])
    book.save(tmp_path / "a.xlsx")
    text, _ = new(tmp_path, None, "a.xlsx")
    assert "header:" not in text and confirmed(tmp_path).responses.table["recommend"].count() == 70


def test_header_rows_of_text_that_end_early_are_recognised(tmp_path):
    rows = "".join(f"{k},{k % 5 + 1},{k % 4 + 1},{k % 5 + 1}\n" for k in range(30))
    text, found = new(tmp_path, f"Survey of spring\nid,overall rating,staff,price\n{rows}")
    assert "header: [ignore, name]" in text and "a title stands over the first 1 rows" in text and found["problems"] == []
    text, found = new(tmp_path, f"id,How do you rate us\n,Staff,Prices,Hours\n{rows}")
    assert "header: [question, option]" in text and found["problems"] == []
    assert [item["column"] for item in items(tmp_path).values()] == [
        f"How do you rate us: {what}" for what in ("Staff", "Prices", "Hours")
    ]


@pytest.mark.parametrize("other", ["id , recommend,staff  rating", "\u200bid,recommend ,staff rating"])
def test_waves_whose_headers_differ_in_spaces_alone_are_one_table(tmp_path, other):
    rows = "".join(f"{k},{k % 11},{k % 5 + 1}\n" for k in range(44))
    (tmp_path / "a_2023.csv").write_text(f"id,recommend,staff rating\n{rows}")
    (tmp_path / "a_2024.csv").write_text(f"{other}\n{rows}")
    new_study([tmp_path / "a_2023.csv", tmp_path / "a_2024.csv"], out=tmp_path / "study.yml")
    found = check_study(tmp_path / "study.yml")
    assert found["problems"] == [] and found["tables"][0]["rows"] == 88
    assert [item["answered"] for item in found["tables"][0]["items"]] == [88, 88]


def test_json_records_under_one_name(tmp_path):
    records = [{"id": i, "overall rating": 1 + i % 5, "region": "n" if i % 2 else "s"} for i in range(30)]
    text, found = new(tmp_path, json.dumps({"answers": records, "columns": ["x"]}), "a.json")
    assert "records: answers" in text and found["problems"] == []
    assert confirmed(tmp_path).responses.table["overall_rating"].max() == 5


def test_parquet(tmp_path):
    frame = pd.DataFrame(
        {"id": range(40), "overall": [1 + i % 5 for i in range(40)], "when": pd.Timestamp("2024-01-01")}
    )
    frame.to_parquet(tmp_path / "a.parquet")
    _, found = new(tmp_path, None, "a.parquet")
    assert found["problems"] == [] and items(tmp_path)["overall"]["role"] == ["csat"]
    assert len(confirmed(tmp_path).responses) == 40


# -- what a guess must not do ----------------------------------------------------------------------------------------


def test_suspicious_codes_are_named_with_their_rows_and_wait(tmp_path):
    rows = "".join(f"{i},{i % 11},{1 + i % 5},{i % 7}\n" for i in range(66))
    text, found = new(
        tmp_path, f"id,recommend,overall rating,staff rating\n{rows}90,11,99,-99\n91,11,FEWER THAN 50,3\n"
    )
    for code, rows, meaning in (("11", 2, "missing"), ("99", 1, "missing"), ("-99", 1, "missing"), ("0", 10, "missing"),
                                ("6", 9, "not applicable")):  # fmt: skip
        assert f"# ? {code} ({rows} rows) lies off the scale: taken for {meaning}\n" in text
    assert "# 'FEWER THAN 50' (1 rows) says that there is no answer\n" in text
    assert len(found["waiting"]) == 3


def test_an_existing_file_is_never_overwritten(tmp_path, capsys):
    (tmp_path / "a.csv").write_text("x\n1\n")
    (tmp_path / "study.yml").write_text("mine")
    assert main(["new", str(tmp_path / "a.csv"), "--out", str(tmp_path / "study.yml")]) == 2
    assert "study.yml exists and is not overwritten; give another name with --out" in capsys.readouterr().err
    assert (tmp_path / "study.yml").read_text() == "mine"


def test_the_command_says_what_comes_next(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a.csv").write_text("id,overall rating\n" + "".join(f"{i},{1 + i % 5}\n" for i in range(20)))
    assert main(["new", "a.csv"]) == 0
    assert capsys.readouterr().out == (
        "responses from a.csv: 1 items, 1 decision to take, 0 columns left out\n"
        "wrote study.yml; look at it, then run: cxresearch check study.yml\n"
    )
    assert main(["check", "study.yml"]) == 2


def test_names_that_yaml_or_python_would_trip_over(tmp_path):
    header = 'NO,yes,"a: b","# c","{d}",class,weight,"é à",12:30,"x\ty","q""q",\n'
    text, found = new(tmp_path, header + "".join("NO,yes,010,x,y,1,red,ü,12:30,t,u,\n" for _ in range(5)))
    assert found["problems"] == []
    study = confirmed(tmp_path)
    assert study.responses.table["no"].tolist() == ["NO"] * 5 and study.responses.table["a_b"].tolist() == ["010"] * 5


def test_a_slip_in_one_number_is_no_decimal_comma_and_is_not_taken_for_a_blank(tmp_path):
    rows = "".join(f"{i},{1 + i % 5},0.5\n" for i in range(40))
    text, found = new(tmp_path, f'id,overall rating,share\n{rows}90,"5,5",0.5\n')
    assert "# ? '5,5' (1 rows) is no number as it is written: correct the file\n" in text
    assert found["problems"] == [
        "export.csv: overall rating holds 1 value that is not a number ('5,5': 1); declare decimal: ',' for the table "
        "('5,5' is then 5.5), or declare them as missing codes of item overall_rating in study.yml"
    ]


def test_codes_of_more_than_six_digits_are_not_rounded_to_one(tmp_path):
    codes = {1_000_001.0: "Leeds", 1_000_002.0: "York", 1_234_567.0: "Hull"}
    frame = pd.DataFrame({"q1": [1 + k % 5 for k in range(40)], "branch": [[*codes][k % 3] for k in range(40)]})
    said = {"column_labels": ["Satisfied overall?", "Branch"], "variable_value_labels": {"branch": codes}}
    pyreadstat.write_sav(frame, str(tmp_path / "a.sav"), **said)
    text, found = new(tmp_path, None, "a.sav")
    assert "labels: {1000001: Leeds, 1000002: York, 1234567: Hull}" in text and found["problems"] == []
    branches = confirmed(tmp_path).responses.table["branch"]
    assert branches.value_counts().to_dict() == {"Leeds": 14, "York": 13, "Hull": 13}


def test_headers_that_stand_twice_are_told_apart(tmp_path):
    text, found = new(tmp_path, "id,x,x\n" + "".join(f"{i},a{i % 2},b{i % 3}\n" for i in range(12)))
    assert found["problems"] == [] and "column: x#1" in text.replace('"', "") and "column: x#2" in text.replace('"', "")


def test_six_files_become_the_six_tables(root, tmp_path):
    names = ("responses", "customers", "transactions", "interactions", "employees", "costs")
    text = new_study([root / "data" / "example" / f"{name}.csv" for name in names], out=tmp_path / "study.yml").text
    found = check_study(tmp_path / "study.yml")
    assert [table["name"] for table in found["tables"]] == list(names) and found["problems"] == []
    assert "    customer: customer_id\n" in text and "    negative: returns\n" in text
    study = confirmed(tmp_path)
    assert study.column("nps") == "recommend" and len(study.columns("driver")) == 8
    declared = open_study(root / "data" / "example")
    assert study.responses.table["recommend"].sum() == declared.responses.table["recommend"].sum()
    assert study.matched("responses", "customers").table["customer"].is_unique


def test_the_keys_of_a_contact_are_found_by_name_and_by_what_stands_below(tmp_path):
    head = "client id,time,contact id,ticket,phase,department,closed,resolved\n"
    rows = "".join(f"C{i % 9},2025-01-{i + 1:02d},K{i},T{i // 2},after,Sales,2025-02-{i + 1:02d},yes\n" for i in range(20))
    text, _ = new(tmp_path, head + rows, "log.csv")
    for key, header in {"contact": "contact id", "case": "ticket", "stage": "phase", "owner": "department",
                        "closed": "closed", "resolved": "resolved"}.items():  # fmt: skip
        assert f"    {key}: {header}\n" in text, key
    (tmp_path / "study.yml").unlink()
    other = (head + rows).replace(",K1,", ",K2,").replace("2025-02-01,yes", "soon,often")
    text, _ = new(tmp_path, other, "log.csv")  # an id twice, a word among the days, no yes
    assert not [key for key in ("contact", "closed", "resolved") if f"    {key}: " in text]


def test_two_different_surveys_are_not_thrown_together(tmp_path):
    (tmp_path / "a.csv").write_text("x,y\n1,2\n")
    (tmp_path / "b.csv").write_text("p,q\n1,2\n")
    with pytest.raises(StudyProblem) as caught:
        new_study([tmp_path / "a.csv", tmp_path / "b.csv"], out=tmp_path / "study.yml")
    assert str(caught.value) == (
        "a.csv and b.csv both look like responses but have different columns; write a study file for each and bring them "
        "together"
    )


def test_a_sentence_in_a_number_column_never_reaches_the_study_file(tmp_path):
    secret = "please call Ann Smith on 555 0199 tomorrow afternoon"
    rows = "".join(f"{i},{1 + i % 5}\n" for i in range(30))
    text, _ = new(tmp_path, f"id,overall rating\n{rows}31,{secret}\n")
    assert "Smith" not in text and "555" not in text


@pytest.mark.parametrize(
    ("encoding", "words", "said"),
    [
        ("cp1250", "Zażółć gęślą jaźń, więc świetnie", "cp1250"),
        ("cp1251", "Очень хорошее обслуживание", "cp1251"),
        ("cp1252", "très bien, größer, señor", "cp1252"),
        ("utf-16", "очень хорошо", "utf-16"),
        ("utf-8-sig", "zażółć", None),
    ],
)
def test_an_encoding_is_detected_and_doubtful_detections_are_said(tmp_path, encoding, words, said):
    rows = "".join(f"{i}\t{1 + i % 5}\t{words} {i}\n" for i in range(30))
    text, found = new(tmp_path, f"id\toverall rating\tsaid\n{rows}".encode(encoding), "a.tsv")
    assert (f"    encoding: {said}\n" in text) == (said is not None)
    assert ("not UTF-8; read as" in text) == (said in ("cp1250", "cp1251", "cp1252"))
    assert found["problems"] == [] and confirmed(tmp_path).responses.table["said"].iloc[3] == f"{words} 3"


# -- shapes as they come in ------------------------------------------------------------------------------------------


def rows_of(*rows, separator=","):
    return "\r\n".join(separator.join(f'"{cell}"' for cell in row) for row in rows) + "\r\n"


def test_a_labelled_end_of_a_battery_is_its_end(tmp_path):
    cells = [[k, *("5 - Very satisfied" if (k + j) % 5 == 4 else (k + j) % 5 + 1 for j in range(3))] for k in range(60)]
    _, found = new(tmp_path, rows_of(["id", "q2_1", "q2_2", "q2_3"], *cells))
    assert {key: item["scale"] for key, item in items(tmp_path).items()} == dict.fromkeys(
        ["q2_1", "q2_2", "q2_3"], ["1", "5"]
    )
    assert found["problems"] == [] and confirmed(tmp_path).responses.table["q2_1"].mean() == 3.0


def test_of_two_scales_as_frequent_in_a_row_no_column_takes_the_wider_of_the_others(tmp_path):
    cells = [[k, k % 7 + 1, (k + 3) % 7 + 1, k % 5 + 1, (k + 2) % 5 + 1] for k in range(70)]
    new(tmp_path, rows_of(["id", "q2_1", "q2_2", "q2_3", "q2_4"], *cells))
    assert [item["scale"][1] for item in items(tmp_path).values()] == ["7", "7", "5", "5"]
    cells = [[k, k % 5 + 1, (k + 3) % 5 + 1, k % 4 + 1, (k + 2) % 4 + 1] for k in range(70)]  # nobody gave the best answer
    new(tmp_path, rows_of(["id", "q2_1", "q2_2", "q2_3", "q2_4"], *cells))
    assert [item["scale"][1] for item in items(tmp_path).values()] == ["5", "5", "5", "5"]


def test_ids_that_start_with_zeros_are_names(tmp_path):
    new(tmp_path, rows_of(["id", "branch", "score"], *[[k, f"{k % 30:04d}", k % 11] for k in range(60)]))
    assert items(tmp_path)["branch"] == {"column": "branch", "type": "text"}
    assert confirmed(tmp_path).responses.table["branch"].iloc[0] == "0000"


def test_payments_under_polish_headers_are_payments(tmp_path):
    paid = [[f"{k % 20:05d}", f"{k % 28 + 1:02d}.{k % 12 + 1:02d}.2024", f"{k + 10},50"] for k in range(100)]
    text, found = new(tmp_path, rows_of(["nr klienta", "data", "kwota"], *paid, separator=";"))
    assert "transactions:" in text and 'decimal: ","' in text and 'time_format: "%d.%m.%Y"' in text
    assert len(found["waiting"]) == 3 and confirmed(tmp_path).transactions.table["amount"].sum() == 6000.0


def test_lines_in_utf_8_and_in_cp1252_in_one_file_are_told_apart(tmp_path):
    lines = [b"id,score,note"] + [
        f"{k},{k % 11},caf\u00e9 {k}".encode("cp1252" if k % 2 else "utf-8") for k in range(40)
    ]
    text, found = new(tmp_path, b"\n".join(lines))
    assert "# 20 lines with other letters than a-z are UTF-8, 20 look like cp1252" in text
    assert "encoding: cp1252\n" in text and found["tables"][0]["rows"] == 40
    assert any(line.endswith("tables.responses.encoding (cp1252)") for line in found["unconfirmed"])


def test_a_time_with_the_name_of_a_zone_is_no_free_text_and_a_year_first_is_a_date(tmp_path):
    new(tmp_path, rows_of(["id", "Timestamp", "asked"], *[
        [k, f"2024/03/{k % 28 + 1:02d} 10:00:00 AM GMT+1", f"2024/03/{k % 28 + 1:02d} 10:00:00"] for k in range(60)
    ]))  # fmt: skip
    assert items(tmp_path)["timestamp"]["type"] == items(tmp_path)["asked"]["type"] == "date"
    table = confirmed(tmp_path).responses.table
    assert str(table["asked"].iloc[1]) == "2024-03-02 10:00:00" and str(table["timestamp"].iloc[1]) == "2024-03-02 09:00:00"


def test_a_year_in_two_digits_is_a_date_and_not_a_time_of_day_before_1950(tmp_path):
    new(tmp_path, rows_of(["id", "visited"], *[[k, f"{k % 28 + 1}/03/24"] for k in range(60)], separator=";"))
    assert items(tmp_path)["visited"] == {"column": "visited", "type": "date", "time_format": "%d/%m/%y"}
    assert confirmed(tmp_path).responses.table["visited"].iloc[0] == pd.Timestamp(2024, 3, 1)


def test_drivers_are_one_decision_and_the_codes_of_a_multiple_choice_are_counted(tmp_path):
    header = ["id", "satisfied_overall", "staff_rating", "price_rating", "range_rating", "used"]
    answers = [[k, *((k * j) % 5 + 1 for j in (1, 2, 3, 4)), "1;99;" if k % 3 == 0 else "1;2;"] for k in range(60)]
    text, found = new(tmp_path, rows_of(header, *answers))
    assert (
        text.count("? the role driver is a guess, and that of 2 items below") == 1 == text.count("the role driver is")
    )
    assert any("item used (missing 99 (20 rows); multiple choice" in line for line in found["waiting"])


@pytest.mark.parametrize("sign", ["\x0b", "\x0c", "\x1c", "\x85", "\u2028", "\u2029"])
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_only_ends_of_lines_end_rows(tmp_path, sign, end):
    rows = [f"{k},{k % 11},all{sign}well{sign}here {k}" for k in range(40)]
    new(tmp_path, end.join(["id,nps,comment", *rows]) + end)
    assert len(confirmed(tmp_path).responses.table) == 40
