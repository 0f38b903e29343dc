"""What the first screen claims of the findings of a run, and what it does not."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from cxresearch.runs.screen import first_screen, saved_of

EXAMPLE = Path(__file__).parents[1] / "reports" / "example"


@pytest.fixture(scope="module")
def saved():
    return saved_of(EXAMPLE, json.loads((EXAMPLE / "run.json").read_text(encoding="utf-8"))["notebooks"])


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
