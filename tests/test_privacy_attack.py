"""A whole study attacked: all that a run and its batch publish together, by linear programming over every person's place.

The attacker knows which groupings determine one another, and knows of every number that is shown, in whichever report.
"""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy import sparse
from scipy.optimize import linprog

import cxresearch as cx
from benchmarks.privacy import save_report
from benchmarks.privacy import write_study as write_ordinary
from cxresearch.errors import DataProblem, TooFewRespondents
from cxresearch.findings import RUN_FOLDER
from cxresearch.privacy import audit_folder
from cxresearch.runs.withhold import known_of

STUDY = """\
title: Simulated
currency: EUR
privacy: {minimum_base: 10}
tables:
  responses:
    source: answers.csv
    id: person
    wave: wave
    items:
      recommend: {scale: [0, 10], role: nps}
      region: {role: demographic}
      branch: {role: demographic}
      age: {role: demographic}
"""
DIMENSIONS = ("region", "branch", "age", "wave")


def write_study(folder, rng, *, n: int, thin: float):
    """Write a study of branches nested in regions, some of them small, with ages and two waves."""
    branches = pd.DataFrame({"branch": [f"B{i}" for i in range(7)], "region": [f"R{i % 3}" for i in range(7)]})
    drawn = rng.choice(7, size=n, p=rng.dirichlet(np.full(7, thin)))
    table = branches.iloc[drawn].reset_index(drop=True)
    table["age"] = rng.choice(["young", "mid", "old"], size=n, p=rng.dirichlet(np.full(3, 2.0)))
    table["wave"] = rng.choice(["2024Q1", "2024Q2"], size=n, p=[0.4, 0.6])
    table["recommend"] = np.where(rng.random(n) < 0.05, "", rng.integers(0, 11, n).astype(str))
    table["person"] = [f"p{i}" for i in range(n)]
    folder.mkdir(parents=True, exist_ok=True)
    table.to_csv(folder / "answers.csv", index=False)
    (folder / "study.yml").write_text(STUDY, encoding="utf-8")
    return folder / "study.yml", table[table["recommend"] != ""].reset_index(drop=True)


def published(study, own: dict) -> list[tuple[dict, float]]:
    """Return what the reports on the whole or on a part show: the groups that are counted together, and their n."""
    data, found = cx.open_study(study), []
    for by in (None, *(c for c in data.columns("demographic") if c not in own)):
        for wave in (False, True):
            try:
                table = cx.nps(data.responses, "recommend", by=by, wave=wave).tidy()
            except TooFewRespondents:
                continue
            named = set(table["group"]) if by else ()
            for row in table.to_dict("records"):
                if pd.notna(row["n"]):
                    cell = {k: {v} for k, v in own.items()} | ({"wave": {row["wave"]}} if wave else {})
                    if by:  # the pool is whoever is not named
                        pool = str(row["group"]).startswith("other")
                        cell[by] = ("not", named - {row["group"]}) if pool else {row["group"]}
                    found.append((cell, float(row["n"])))
    return found


class Attacker:
    """Knows which combinations of groups there may be, and asks what a number can be at least and at most."""

    def __init__(self, people: pd.DataFrame):
        levels = [
            people[["region", "branch"]].drop_duplicates(),
            *(people[[c]].drop_duplicates() for c in ("age", "wave")),
        ]
        self.atoms = levels[0].merge(levels[1], how="cross").merge(levels[2], how="cross")
        self.rows, self.values = [], []

    def inside(self, cell: dict) -> np.ndarray:
        found = np.ones(len(self.atoms), dtype=bool)
        for column, kept in cell.items():
            one_of = self.atoms[column].isin(kept[1] if isinstance(kept, tuple) else kept).to_numpy()
            found &= ~one_of if isinstance(kept, tuple) else one_of
        return found

    def learns(self, found) -> None:
        for cell, n in found:
            self.rows.append(self.inside(cell).astype(float))
            self.values.append(n)

    def recovers(self, people: pd.DataFrame, min_base: int) -> list:
        """Return the groups of fewer people than the base whose number has one value only."""
        true = people.groupby(list(DIMENSIONS)).size()
        true = self.atoms.merge(true.rename("n").reset_index(), how="left")["n"].fillna(0).to_numpy()
        known = sparse.csr_array(np.array(self.rows))
        assert np.allclose(known @ true, self.values), "the attacker reads the tables as they are"
        keys = [[d] for d in DIMENSIONS] + [[a, b] for i, a in enumerate(DIMENSIONS) for b in DIMENSIONS[:i]]
        keys += [["region", "age", "wave"], ["branch", "age", "wave"]]
        told = []
        for names in keys:
            for level, part in self.atoms.groupby(names):
                asked = np.zeros(len(self.atoms))
                asked[part.index] = 1.0
                if 0 < asked @ true < min_base:
                    ends = [linprog(s * asked, A_eq=known, b_eq=self.values, method="highs") for s in (1, -1)]
                    if all(e.status == 0 for e in ends) and abs(ends[0].fun + ends[1].fun) < 1e-6:
                        told.append((names, level, asked @ true))
        return told


def attacked(folder, rng, *, n: int, thin: float, parts=("region",)) -> tuple[list, int]:
    """Return what is recovered from a run and its batches, and how many numbers were shown."""
    study, people = write_study(folder, rng, n=n, thin=thin)
    attacker, shown = Attacker(people), []
    for column in (None, *parts):
        for value in ("",) if column is None else sorted(people[column].unique()):
            try:
                shown += published(f"{study}?{column}={value}" if column else study, {column: value} if column else {})
            except TooFewRespondents:
                pass
    attacker.learns(shown)
    return attacker.recovers(people, 10), len(shown)


def attack(folder, seed: int) -> list:
    rng = np.random.default_rng([29, seed])
    return attacked(folder / str(seed), rng, n=int(rng.integers(150, 600)), thin=1.0)[0]


def test_nobody_is_recovered_from_a_run_and_the_reports_on_its_parts(tmp_path):
    assert [attack(tmp_path, seed) for seed in (0, 1, 2, 11, 24, 149, 159)] == [[]] * 7


@pytest.mark.soak
def test_nobody_is_recovered_from_200_runs_and_the_reports_on_their_parts(tmp_path):
    assert {seed: told for seed in range(200) if (told := attack(tmp_path, seed))} == {}


def test_394_of_400_tell_of_six_in_a_report_on_them_alone(tmp_path):
    table = pd.DataFrame({"person": [f"p{i}" for i in range(400)], "wave": "1", "recommend": 7, "age": "old"})
    table = table.assign(region=["Big"] * 394 + ["Small"] * 6, branch="B")
    table.to_csv(tmp_path / "answers.csv", index=False)
    (tmp_path / "study.yml").write_text(STUDY, encoding="utf-8")
    for region in ("Big", "Small"):
        with pytest.raises(TooFewRespondents, match="under the minimum base|fewer than 10 people"):
            cx.open_study(f"{tmp_path / 'study.yml'}?region={region}").responses  # noqa: B018
    assert cx.nps(cx.open_study(tmp_path).responses, "recommend").glance()["n"].item() == 400


# --- reports as they are: ordinary ones, and one with a customer who dominates ---------------------------------------


def reported(folder, seed: int, *, richest: float | None = None, **size) -> tuple[int, dict]:
    """Return how many findings a report saves, and which of them the audit withholds."""
    study = write_ordinary(folder, np.random.default_rng([7, seed]), **size)
    if richest:
        money = pd.read_csv(folder / "customers.csv")
        money.assign(revenue=money["revenue"].mask(money.index == 5, richest)).to_csv(
            folder / "customers.csv", index=False
        )
    made = save_report(str(study), folder)
    return made, audit_folder(folder / "findings", known_of(cx.open_study(study)))


def withheld_of(folder, seeds) -> tuple[int, int]:
    found = [reported(folder / str(seed), seed) for seed in seeds]
    return sum(made for made, _ in found), sum(len(gone) for _, gone in found)


def test_an_ordinary_study_loses_no_finding(tmp_path):
    made, gone = withheld_of(tmp_path, range(2))
    assert made >= 2 * 23 and gone <= 0.02 * made


@pytest.mark.soak
def test_40_ordinary_studies_lose_one_finding_in_fifty_at_most(tmp_path):
    made, gone = withheld_of(tmp_path, range(40))
    assert made >= 40 * 23 and gone <= 0.02 * made


def test_the_money_of_a_customer_who_dominates_is_not_told(tmp_path):
    made, gone = reported(tmp_path, 1, richest=5e5, n=900)
    shown = {path.name: pd.read_csv(path) for path in (tmp_path / "findings" / "value").glob("*.csv")}
    assert made >= 23 and not {"value/value", "value/bias"} & set(gone), "hidden by the analyses themselves"
    bias = shown["bias.tidy.csv"].iloc[0]
    value = shown["value.tidy.csv"]
    sums = [bias["responders"] * bias["n"], bias["others"] * bias["n_others"], *(value["estimate"] * value["n"])]
    assert bias["largest_share"] != bias["largest_share"] and len(sums) == 5
    assert [s for s in sums if abs(s / 5e5 - 1) < 0.1] == []


def spending(folder, richest: float, *, n=600) -> Path:
    """Write a study with an item of amounts that nothing calls money, one of them `richest`, and ids mapped to a number."""
    rng = np.random.default_rng(3)
    table = pd.DataFrame({"person": 1_000_000 + 7 * np.arange(n), "region": rng.choice(["A", "B"], n), "branch": "B"})
    table = table.assign(age=rng.choice(["young", "old"], n), wave="1", recommend=rng.integers(0, 11, n))
    table = table.assign(minutes=rng.gamma(4, 3, n).round(1), wallet=rng.gamma(1, 200, n).round(2))
    table.loc[5, "wallet"] = richest
    table.to_csv(folder / "answers.csv", index=False)
    more = "".join(f"      {item}: {{type: number, role: outcome}}\n" for item in ("wallet", "minutes"))
    more += "      number: {column: person, type: number}\n"
    (folder / "study.yml").write_text(STUDY + more, encoding="utf-8")
    return folder / "study.yml"


@pytest.mark.parametrize("by", ["region", None])
def test_an_item_of_amounts_is_money_whatever_it_is_called(tmp_path, monkeypatch, by):
    study = cx.open_study(spending(tmp_path, 2e7))
    monkeypatch.setenv(RUN_FOLDER, str(tmp_path / "findings" / "scorecard"))
    found = cx.mean_score(study.responses, "wallet", by=by)
    assert (found.tidy()["estimate"] * found.tidy()["n"]).max() == pytest.approx(2e7, rel=0.01), "it is told"
    cx.save(found, name="wallet")
    cx.save(cx.mean_score(study.responses, "minutes", by=by), name="minutes")
    cx.save(cx.nps(study.responses, "recommend", by=by), name="score")
    assert {name: leak.reason for name, leak in audit_folder(tmp_path / "findings", known_of(study)).items()} == {
        "scorecard/wallet": "it averages money and does not say how much of it is one contributor's"
    }


def test_amounts_of_which_nobody_has_the_most_are_shown(tmp_path, monkeypatch):
    study = cx.open_study(spending(tmp_path, 100.0))
    monkeypatch.setenv(RUN_FOLDER, str(tmp_path / "findings" / "scorecard"))
    cx.save(cx.mean_score(study.responses, "wallet", by="region"), name="wallet")
    assert audit_folder(tmp_path / "findings", known_of(study)) == {}


def test_ids_mapped_to_a_number_are_pseudonyms_of_which_nothing_is_computed(tmp_path):
    responses = cx.open_study(spending(tmp_path, 100.0)).responses
    with pytest.raises(DataProblem, match="number holds 600 values that are not numbers") as refused:
        cx.mean_score(responses, "number", by="region")
    assert "100000" not in str(refused.value)


pytestmark = pytest.mark.usefixtures("own_environment")


@pytest.fixture
def own_environment(monkeypatch):
    monkeypatch.setenv(RUN_FOLDER, "")
