"""What the first screen claims of the findings of a run, and what it does not."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from browser.rendered import render_again

from cxresearch.runs.deck import write_deck
from cxresearch.runs.record import Record
from cxresearch.runs.screen import first_screen, notebooks_of, saved_findings

EXAMPLE = Path(__file__).parents[1] / "reports" / "example"


@pytest.fixture(scope="module")
def saved():
    return saved_findings(notebooks_of(EXAMPLE, Record.read(EXAMPLE)[1]))


def told(saved, function: str, **highlights) -> dict:
    """Return the screen of a run in which the findings of a function highlight something else."""
    changed = [s.record | {"highlights": s["highlights"] | highlights} for s in saved if s["function"] == function]
    others = iter(changed)
    return first_screen([replace(s, record=next(others)) if s["function"] == function else s for s in saved])


@pytest.mark.parametrize(
    ("lead", "said"),
    [
        (
            ["delivery"],
            "Delivery goes most with Overall satisfaction, Staff in the shop next; Delivery is rated lower.",
        ),
        (
            ["delivery", "staff"],
            "Delivery and Staff in the shop go most with Overall satisfaction, a tie; Delivery is rated",
        ),
        (["delivery", "prices"], "Delivery and Prices go most with Overall satisfaction, a tie."),  # rated alike
        (["delivery", "staff", "products", "prices"], "Which experience goes most with Overall satisfaction is not"),
        ([], "Which experience goes most with Overall satisfaction is not established."),
    ],
)
def test_what_goes_most_with_the_outcome_is_what_the_finding_can_tell_apart(saved, lead, said):
    assert told(saved, "importance_performance", lead=lead)["lines"][2][0].startswith(said)


@pytest.mark.parametrize(
    ("moved", "said"),
    [
        ({"verdict": "rose"}, "in 2024Q4, up 11.0 points on 2024Q3."),
        ({"verdict": "fell"}, "in 2024Q4, down 11.0 points on 2024Q3."),
        ({"verdict": "open"}, "in 2024Q4; a change of 11.0 points from 2024Q3 is not established."),
        ({"verdict": "too_small"}, "in 2024Q4; a change of 11.0 points from 2024Q3 is too small to act on."),
        ({"verdict": "equivalent"}, "in 2024Q4, no change that matters since 2024Q3."),
        ({"verdict": "no_base"}, "whether it moved from 2024Q3 cannot be said, its base is too small."),
        ({"verdict": "rose", "wave": "2024Q3"}, "Net promoter score 26.7 points in 2024Q4."),  # of another wave
    ],
)
def test_every_verdict_on_the_latest_change_has_its_sentence(saved, moved, said):
    assert told(saved, "compare_waves", **moved)["lines"][0][0].endswith(said)


def test_a_level_that_findings_do_not_share_stands_at_each(saved):
    assert first_screen(saved)["base"].endswith("; 95 % intervals")
    screen = told(saved, "worth_of_a_point", level="90 %", count="2 points")
    assert "intervals" not in screen["base"]
    assert [t["notes"][-1].rpartition(" (")[2] for t in screen["tiles"]] == [*["95 %)"] * 3, "90 %)"]
    assert screen["tiles"][-1]["label"] == "2 points more, per customer"


def test_a_worth_that_is_not_established_shows_no_money(saved):
    tile = told(saved, "worth_of_a_point", open="the interval holds zero")["tiles"][-1]
    assert "EUR" not in first_screen([])["base"] and tile["notes"][0] == "the interval holds zero"


def test_an_experience_whose_slope_holds_zero_is_a_description(saved, tmp_path):
    whole = next(s for s in saved if s["function"] == "driver_importance")
    table = whole.table().drop(columns="words")
    table.loc[table["term"].isin(["delivery", "staff"]), "per_point_low"] = -0.1
    table.to_csv(tmp_path / whole["tables"]["tidy"], index=False)
    screen = first_screen([replace(s, folder=tmp_path) if s is whole else s for s in saved])
    sure = {entry["what"]: entry["sure"] for entry in screen["look"]}
    assert sure["Delivery"].startswith("The movement is established; that it goes with Overall satisfaction is not")
    assert sure["Staff in the shop"].startswith("Description only") and sure["Prices"].startswith("Established")


@pytest.mark.parametrize(
    ("item", "aim", "said"),
    [
        ("recommend", 15, "target 15 points: met"),  # the latest wave: 19.6 to 33.4
        ("recommend", 25, "target 25 points: not known whether it is met"),
        ("recommend", 50, "target 50 points: missed"),
        ("satisfaction", 33, "target 33 %: met"),  # all waves: 33.7 to 38.4 %
        ("satisfaction", 40, "target 40 %: missed"),
        ("ease", 64, "target 64 %: not known whether it is met"),
        ("delivery", 10, None),
    ],
)
def test_a_target_is_met_missed_or_not_known_by_the_interval(saved, item, aim, said):
    tiles = first_screen(saved, {item: aim})["tiles"]
    assert [note for tile in tiles for note in tile["notes"] if note.startswith("target")] == [said] * bool(said)


def test_what_is_not_known_says_so_itself_and_nothing_of_the_screen_twice(saved):
    screen = first_screen(saved)
    told = [text for text, _ in screen["lines"] + screen["unknown"]]
    assert len(screen["unknown"]) == 4 and len(set(told)) == len(told)
    assert all("established" in text or "not known" in text for text, _ in screen["unknown"])
    assert "Bought again: that the loyal do so more often is not established: 0 of 9 intervals lie above 1." in told
    assert not any(text.startswith("Would recommend us: a change") for text in told)  # the first line says it
    still = [
        replace(s, record=s.record | {"established": False}) if s["function"] == "touchpoint_trend" else s
        for s in saved
    ]
    screen = first_screen(still)
    assert screen["lines"][1][0] not in [text for text, _ in screen["unknown"]]


def test_a_score_that_is_no_net_score_names_its_item(saved):
    found = [s for s in saved if s["function"] != "nps"]
    assert first_screen(found)["lines"][0][0] == "Overall satisfaction: share answering 6 or above on 1–7, 36.0 %."


def test_a_study_without_answers_is_told_by_its_customers(saved):
    (kinds,) = (s for s in saved if s["function"] == "segment_customers" and s["name"] == "segments")
    assert first_screen([kinds])["base"] == "2,000 customers"


# --- what the audit withholds ----------------------------------------------------------------------------------------

WITHHELD = {"voice", "scorecard", "loyalty_revenue"}


def test_nothing_of_a_withheld_notebook_reaches_the_index_or_the_deck(tmp_path):
    """Its numbers, sentences and quotes stand in no tile, line, card or slide; the others' do."""
    run = tmp_path / "run"
    shutil.copytree(EXAMPLE, run)
    record = json.loads((run / "run.json").read_text(encoding="utf-8"))
    secrets, shown = [], []
    for entry in record["notebooks"]:
        for path in (run / "findings" / entry["name"]).glob("*.json"):
            finding = json.loads(path.read_text(encoding="utf-8"))
            texts = [finding["sentence"], finding["title"], *map(str, (finding.get("highlights") or {}).values())]
            texts += [q for said in (finding.get("highlights") or {}).get("quotes", {}).values() for q in said]
            (secrets if entry["name"] in WITHHELD else shown).extend(t for t in texts if len(t) > 12)
        if entry["name"] in WITHHELD:
            entry |= {"status": "failed", "reason": "withheld, since it gives away a hidden number", "findings": {}}
            shutil.rmtree(run / "findings" / entry["name"])
    (run / "run.json").write_text(json.dumps(record), encoding="utf-8")
    page = (render_again(run, tmp_path / "again") / "index.html").read_text(encoding="utf-8")
    page = page.replace("\u00a0", " ")
    slides = texts_of(write_deck(run, tmp_path / "deck.pptx"))
    assert any(text in page for text in shown) and any(text in slides for text in shown)
    assert [text for text in secrets if text in page or text in slides] == []


def texts_of(deck: Path) -> str:
    """Return every text of a deck, notes and charts included."""
    import zipfile

    with zipfile.ZipFile(deck) as parts:
        return " ".join(parts.read(name).decode("utf-8") for name in parts.namelist() if name.endswith(".xml"))
