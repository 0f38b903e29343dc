"""Published surveys and purchases, from their study file to the index page, through the command that a user types.

One is a process of its own; the others run in this one, in the pool that it has warmed.
"""

import json
import re
import subprocess
import sys
from contextlib import nullcontext
from pathlib import Path

import pandas as pd
import pytest
from conftest import ROOT

from cxresearch.cli import main

STUDIES = ROOT / "tests" / "studies"
COMMAND = Path(sys.executable).parent / "cxresearch"


def words_of(study: Path, folder: Path, *more: str) -> list[str]:
    return ["run", str(study), "--out", str(folder), *more]


def recorded(folder: Path) -> dict:
    """Return the notebooks of a run's record by name."""
    record = json.loads((folder / "run.json").read_text(encoding="utf-8"))
    assert '"/' not in json.dumps(record), "an absolute path"
    return {n["name"]: n for n in record["notebooks"]}


def table(folder: Path, notebook: str, name: str) -> pd.DataFrame:
    return pd.read_csv(folder / "findings" / notebook / name)


def sentences(folder: Path, notebook: str) -> str:
    files = sorted((folder / "findings" / notebook).glob("*.json"))
    return "\n".join(json.loads(f.read_text(encoding="utf-8"))["sentence"] for f in files)


@pytest.fixture(scope="module")
def ran(shared, tmp_path_factory, pool):
    """A function that runs a study in this process and returns the folder and the notebooks of its record."""

    def run(study: str, *more: str) -> tuple[Path, dict]:
        folder = tmp_path_factory.mktemp("real") / study
        with pytest.MonkeyPatch.context() as patch:
            patch.chdir(ROOT)
            patch.setattr("cxresearch.runs.make.Pool", lambda jobs: nullcontext(pool))
            assert main(words_of(STUDIES / f"{study}.yml", folder, *more)) == 0
        return folder, recorded(folder)

    return run


@pytest.fixture(scope="module")
def airport(ran):
    return ran("airport", "--set", "n_boot=100")


@pytest.fixture(
    scope="module",
    params=[["intake", "scorecard", "loyalty_revenue"], pytest.param([], marks=pytest.mark.soak)],
    ids=len,
)
def garden_centre(ran, request):
    """Of three notebooks, or of all: what it says in words takes a while to be read."""
    return ran("garden_centre", "--set", "n_boot=100", *(f"--only={name}" for name in request.param))


@pytest.fixture(scope="module", params=[["--only=segmentation"], pytest.param([], marks=pytest.mark.soak)], ids=len)
def grocery(ran, request):
    return ran("grocery", "--set", "n_boot=10", "--set", "most_segments=3", *request.param)


@pytest.fixture(scope="module", params=[10, pytest.param(1, marks=pytest.mark.soak)], ids=["a tenth", "all"])
def cdnow(shared, tmp_path_factory, request):
    """The run, and the purchases: of every customer, or of one in ten."""
    folder = tmp_path_factory.mktemp("real") / "cdnow"
    study, bought = STUDIES / "cdnow.yml", shared / "data" / "cdnow" / "CDNOW_master.txt"
    if request.param > 1:
        head, *rows = bought.read_text(encoding="utf-8").splitlines()
        kept = [row for row in rows if int(row.split()[0]) % request.param == 0]
        bought = folder.with_name("bought.txt")
        bought.write_text("\n".join([head, *kept]) + "\n", encoding="utf-8")
        text = re.sub(r"source: .*", "source: bought.txt", study.read_text(encoding="utf-8"))
        study = folder.with_name("cdnow.yml")
        study.write_text(text, encoding="utf-8")
    words = words_of(study, folder, "--set", "n_boot=20", "--set", "most_segments=4")
    done = subprocess.run([COMMAND, *words], capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0, done.stdout[-1000:] + done.stderr[-3000:]
    assert Path(done.stdout.strip().splitlines()[-1]).samefile(folder / "index.html")
    names = ["customer", "day", "discs", "amount"]
    return folder, recorded(folder), pd.read_csv(bought, sep=r"\s+", names=names, header=0)


def test_airport_net_promoter_score_is_40_4_and_35_1_weighted_never_41_6(airport):
    folder, notebooks = airport
    assert notebooks["scorecard"]["status"] == "ok"
    waves = table(folder, "scorecard", "score_by_wave.tidy.csv").set_index("wave")
    assert waves["n"].to_dict() == {2017: 2746, 2018: 2650}
    assert waves["estimate"].round(1).to_dict() == {2017: 40.4, 2018: 35.1}
    assert "41.6" not in sentences(folder, "scorecard")


def test_airport_drivers_keep_never_used_out_of_the_ratings(airport):
    folder, notebooks = airport
    assert notebooks["drivers"]["status"] == "ok"
    shares = table(folder, "drivers", "driver_importance.tidy.csv").set_index("term")
    assert len(shares) == 14 and shares["share"].sum() == pytest.approx(1)
    # Parking was met by fewer than the signs; a code of 6 read as a rating would have made everybody meet it.
    assert shares.at["parking", "share_exposed"] < 0.75 < shares.at["signs", "share_exposed"]
    record = json.loads((folder / "findings" / "drivers" / "driver_importance.json").read_text(encoding="utf-8"))
    assert record["glance"]["n"] > 4500  # of 5,640; complete cases on every rating would leave under 1,200


def test_airport_notebooks_without_their_table_are_skipped_with_the_reason(airport):
    folder, notebooks = airport
    for name, needed in {"segmentation": "transactions", "loyalty_revenue": "customers"}.items():
        assert notebooks[name]["status"] == "skipped"
        assert notebooks[name]["reason"] == f"needs table {needed}, which airport.yml does not declare"
        assert notebooks[name]["reason"] in (folder / "index.html").read_text(encoding="utf-8")


def test_garden_centre_weak_link_is_told_as_weak(garden_centre):
    folder, notebooks = garden_centre
    assert notebooks["loyalty_revenue"]["status"] == "ok"
    headline = json.loads(
        (folder / "findings" / "loyalty_revenue" / "loyalty_revenue.json").read_text(encoding="utf-8")
    )
    assert headline["glance"]["explained"] < 0.02
    assert re.search(r"weak|not established", headline["sentence"])


def test_garden_centre_of_one_wave_and_no_net_promoter_item_has_a_whole_scorecard(garden_centre):
    folder, notebooks = garden_centre
    assert notebooks["scorecard"]["status"] == "ok"
    files = (folder / "findings" / "scorecard").glob("*.json")
    said = {f.stem: json.loads(f.read_text(encoding="utf-8"))["sentence"] for f in files}
    assert said["score"] == said["score_by_wave"] == said["satisfaction"]
    assert "answering 9 or above on 1–10 52.6 % (95 % interval 51.7 to 53.4 %; n = 13,893)" in said["score"]
    assert said["changes"] == "Satisfaction: whether it moved cannot be said, the survey has one wave."
    refused = [name for name, words in said.items() if words.startswith("This question cannot be asked")]
    assert len(said) == 8 and sorted(refused) == ["crosstab", "touchpoints"]  # no column of groups, no rated touchpoint


def test_garden_centre_names_the_negative_revenues_and_decodes_the_bytes(garden_centre):
    folder, notebooks = garden_centre
    assert notebooks["intake"]["status"] == "ok"
    page = (folder / "intake.html").read_text(encoding="utf-8")
    assert "Satisfaction" in page and "\ufffd" not in page
    from cxresearch import open_study

    reasons = " ".join(open_study(ROOT / "tests/studies/garden_centre.yml").waterfall("customers")["reason"])
    assert "220" in reasons


def test_grocery_behaviour_holds_every_household_and_every_cent(grocery):
    folder, notebooks = grocery
    assert notebooks["segmentation"]["status"] == "ok"
    from cxresearch import behaviour, open_study

    payments = open_study(ROOT / "tests/studies/grocery.yml").transactions
    features = behaviour(payments, until="2018-01-02").table
    assert len(features) == 2469 and features["monetary"].sum() == pytest.approx(4_596_039.58, abs=0.005)
    sizes = table(folder, "segmentation", "segments.tidy.csv")
    assert sizes["n"].sum() <= 2469 and sizes["n"].sum() > 2400


def test_cdnow_whose_customers_are_known_by_purchases_alone_has_no_structure_worth_naming(cdnow):
    folder, notebooks, bought = cdnow
    ran = {name: n["status"] for name, n in notebooks.items()}
    assert ran.pop("segmentation") == "ok" and set(ran.values()) == {"skipped"}
    recent = bought[bought["day"] >= 19970701]["customer"].nunique()  # the twelve months before the last day
    said = sentences(folder, "segmentation")
    assert f"No structure worth naming is established: none of 2 to 4 segments tried on {recent:,} customers" in said
    assert "nothing says who the segments are" in said


def test_no_row_of_a_person_reaches_the_report(airport):
    folder, _ = airport
    for path in folder.rglob("*"):
        if path.suffix in (".html", ".ipynb", ".json"):
            assert "RESPNUM" not in path.read_text(encoding="utf-8"), path
