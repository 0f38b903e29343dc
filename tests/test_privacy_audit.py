"""The audit of a run: finds what an attacker with a linear programme finds, across tables and notebooks."""

import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from proofs import draws
from test_privacy_suppression import cells, margin, publish, random_table, recovered

import cxresearch as cx
from cxresearch.privacy import POOLED, audit_folder, audit_tables, hidden_cells
from cxresearch.privacy.audit import Known, Leak, Release, read_findings


def finding(name: str, table: pd.DataFrame, *, total=np.nan, outcome="recommend", by="region", file="tidy") -> Release:
    """Make a finding as read from its files: text, with nothing where a value is hidden."""
    shown = table.assign(
        **{
            c: [("" if pd.isna(v) else f"{v:.10g}") for v in table[c]]
            for c in table.columns
            if c.startswith(("n", "largest"))
        }
    ).astype(str)
    return Release(name, outcome, by if "group" in table else None, float(total), {f"{name}.{file}.csv": shown})


def hide(table: pd.DataFrame, mask) -> pd.DataFrame:
    return table.assign(n=table["n"].astype(float).mask(mask))


def regions(*n, names="abcdefgh") -> pd.DataFrame:
    return pd.DataFrame({"group": list(names[: len(n)]), "n": np.array(n, dtype=float)})


def published(table: pd.DataFrame, *, secondary: bool) -> list[Release]:
    """Return three findings (both keys, by group, by wave), with the n of all in each."""
    parts = {"both": table, "groups": margin(table, "group"), "waves": margin(table, "wave")}
    total = table["n"].sum()
    return [
        finding(k, hide(t, hidden_cells(t, min_base=10, secondary=secondary)), total=total) for k, t in parts.items()
    ]


# --- against the attacker --------------------------------------------------------------------------------------------


def test_the_audit_passes_what_suppression_protects_and_finds_what_the_attacker_finds_otherwise():
    rng, found = np.random.default_rng(12), 0
    for _ in range(40):
        table = random_table(rng)
        assert audit_tables(published(table, secondary=True)) == []
        if found < 40:  # the attacker is slow; enough is enough
            leaks = audit_tables(published(table, secondary=False))
            assert len(leaks) == recovered(*publish(table, min_base=10, secondary=False))
            found += len(leaks)
    assert found >= 40


# --- single traps ----------------------------------------------------------------------------------------------------


def test_a_lone_hidden_group_is_the_whole_less_the_others():
    (leak,) = audit_tables([finding("nb/score", regions(50, np.nan, 40), total=97)])
    assert leak == Leak("nb/score.tidy.csv", "region=b", "its hidden base can be computed from the tables of this run")
    assert leak.said() == "nb/score.tidy.csv, region=b: its hidden base can be computed from the tables of this run"


def test_two_hidden_groups_cover_each_other_unless_together_they_are_none():
    assert audit_tables([finding("nb/score", regions(50, np.nan, np.nan), total=97)]) == []
    leaks = audit_tables([finding("nb/score", regions(50, np.nan, np.nan), total=50)])
    assert [leak.cell for leak in leaks] == ["region=b", "region=c"]


def categories(feature: str, **n) -> pd.DataFrame:
    """Return how many of each segment are in the categories a, b, c of a feature."""
    rows = [(segment, feature, c, float(k)) for segment, ks in n.items() for c, k in zip("abc", ks)]
    return pd.DataFrame(rows, columns=["segment", "feature", "category", "n"])


def test_categories_of_each_segment_are_cells_of_their_own_and_add_up_to_it():
    sizes = finding("nb/segments", pd.DataFrame({"segment": ["S1", "S2"], "n": [60.0, 40.0]}), total=100, outcome="a")
    gone = [np.nan] * 3
    safe = pd.concat([categories("plan", S1=gone, S2=gone), categories("home", S1=(20, 20, 20), S2=(10, 15, 15))])
    assert audit_tables([sizes, finding("nb/who", safe, total=100, outcome="plan", file="cells")]) == []
    open_ = pd.concat([categories("plan", S1=(30, 25, np.nan), S2=gone), categories("home", S1=gone, S2=gone)])
    (leak,) = audit_tables([sizes, finding("nb/who", open_, total=100, outcome="plan", file="cells")])
    assert leak.said() == (
        "nb/who.cells.csv of plan, category=c, segment=S1: its hidden base can be computed from the tables of this run"
    )


def test_a_group_hidden_in_one_table_and_shown_in_another_is_found():
    first = finding("nb/score", regions(50, np.nan, np.nan), total=97)
    second = finding(
        "nb/agree", regions(50, 7, 40), total=97, outcome="overall"
    )  # the same people: every number agrees
    assert [leak.reason for leak in audit_tables([first, second])] == ["its hidden base is shown in another table"] * 2


def test_tables_that_contradict_each_other_are_not_put_together():
    first = finding("nb/score", regions(50, np.nan, np.nan), total=97)
    second = finding("nb/agree", regions(49, 7, 41), total=97, outcome="overall")
    assert audit_tables([first, second]) == []


def test_another_outcome_with_another_n_is_about_other_people():
    first = finding("nb/score", regions(50, np.nan, np.nan), total=97)
    second = finding("nb/agree", regions(50, 7, 41), total=98, outcome="overall")
    assert audit_tables([first, second]) == []


def test_waves_of_one_table_and_groups_of_another_give_away_a_cell_of_a_third():
    both = cells(np.array([[4, 30], [50, 60]]))
    shown = finding("nb/both", hide(both, [True, False, False, False]))
    waves = finding("nb/waves", margin(both, "wave"))
    assert audit_tables([shown]) == []
    assert [leak.cell for leak in audit_tables([shown, waves])] == ["region=g0, wave=0"]


def test_the_wave_before_in_a_table_of_changes_counts_too():
    change = pd.DataFrame(
        {
            "group": ["a", "b"],
            "wave_before": ["1", "1"],
            "wave": ["2", "2"],
            "n_before": [20.0, np.nan],
            "n": [30.0, 40.0],
        }
    )
    waves = pd.DataFrame({"wave": ["1", "2"], "n": [24.0, 70.0]})
    assert [leak.cell for leak in audit_tables([finding("nb/change", change), finding("nb/waves", waves)])] == [
        "region=b, wave=1"
    ]


def test_a_finding_whose_n_is_that_of_its_last_wave_is_still_put_beside_the_others():
    both = cells(np.array([[4, 30], [50, 60]]))
    parts = [
        finding("nb/waves", margin(both, "wave"), total=144),
        finding("nb/both", hide(both, [True, False, False, False]), total=90),
    ]
    assert [leak.cell for leak in audit_tables(parts)] == ["region=g0, wave=0"]


def test_a_table_that_does_not_add_up_is_left_out_and_the_others_still_count():
    touchpoints = pd.DataFrame(
        {"term": ["x", "y", "z"], "n": [90.0, np.nan, 95.0]}
    )  # people meet several: no partition
    groups = finding("nb/score", regions(50, np.nan, 40), total=97)
    leaks = audit_tables([finding("nb/drivers", touchpoints, total=97), groups])
    assert [leak.cell for leak in leaks] == ["region=b"]


def test_a_count_repeated_on_several_rows_is_one_count():
    answers = pd.DataFrame({"group": list("aabbcc"), "share": ["0.5"] * 6, "n": [50, 50, np.nan, np.nan, 40, 40.0]})
    assert [leak.cell for leak in audit_tables([finding("nb/score", answers, total=97)])] == ["region=b"]


def test_what_cannot_be_audited_is_a_leak():
    (leak,) = audit_tables([finding("nb/score", regions(50, np.nan, np.nan), total=-97)])
    assert leak.reason == "it cannot be audited, since some table counts less than nobody"


def test_a_base_shown_under_the_minimum_is_reported_where_the_minimum_is_known():
    saved = finding("nb/score", regions(50, 7, 40), total=97)
    assert audit_tables([saved]) == []
    (leak,) = audit_tables([saved], Known(10))
    assert leak.said() == "nb/score.tidy.csv, region=b: its base is shown and lies under the minimum base of 10"


def test_a_sum_of_money_that_is_mostly_one_contributor_is_reported():
    table = regions(50, 40).assign(largest_share=[0.2, 0.7])
    (leak,) = audit_tables([finding("nb/worth", table, total=90)])
    assert leak.said() == "nb/worth.tidy.csv, region=b: more than half of its money is one contributor's"
    assert audit_tables([finding("nb/worth", table, total=90)], Known(10)) == [leak]
    assert audit_tables([finding("nb/worth", table, total=90)], Known(1)) == [], "the study hides nobody"


# --- folders ---------------------------------------------------------------------------------------------------------


def save(folder, notebook: str, name: str, table: pd.DataFrame, *, total, outcome="recommend", by=("region",)):
    place = folder / notebook
    place.mkdir(parents=True, exist_ok=True)
    table.to_csv(place / f"{name}.tidy.csv", index=False)
    record = {"id": f"nps {outcome}", "glance": {"n": total}, "tables": {"tidy": f"{name}.tidy.csv"}}
    record |= {"outcome": outcome, "by": list(by)}
    (place / f"{name}.json").write_text(json.dumps(record), encoding="utf-8")


def test_the_finding_that_gives_a_cell_away_is_withheld_and_not_the_one_that_hides_it(tmp_path):
    both = cells(np.array([[4, 30], [50, 60]]))
    save(tmp_path, "first", "both", hide(both, [True, False, False, False]), total=None)
    save(tmp_path, "second", "waves", margin(both, "wave"), total=144, by=())
    save(tmp_path, "second", "other", regions(50, 40), total=90, outcome="overall >= 4")
    names = ["first", "second"]
    withheld = audit_folder(tmp_path, notebooks=names)
    assert {k: v.said() for k, v in withheld.items()} == {
        "second/waves": "first/both.tidy.csv, region=g0, wave=0: its hidden base can be computed from the tables of "
        "this run"
    }
    assert list(audit_folder(tmp_path, notebooks=["second", "first"])) == ["first/both"]
    assert audit_folder(tmp_path) == withheld
    beside = read_findings(tmp_path / "second")
    assert list(audit_folder(tmp_path, notebooks=["first"], beside=beside)) == ["first/both"]


@draws(3, 30)
def test_scorecards_of_thin_groups_pass_the_audit_together(draws, tmp_path, monkeypatch):
    rng, hidden = np.random.default_rng(4), 0
    for i in range(draws):
        monkeypatch.setenv("CXRESEARCH_RUN", str(tmp_path / str(i) / "scorecard"))
        n = int(rng.integers(60, 250))
        people = pd.DataFrame({"recommend": rng.integers(0, 11, n), "satisfaction": rng.integers(1, 6, n)})
        people["region"] = rng.choice(list("abcde"), n, p=rng.dirichlet(np.ones(5)))
        people["wave"] = rng.choice(["1", "2", "3"], n, p=rng.dirichlet(np.full(3, 4.0)))
        people.loc[rng.random(n) < 0.1, "satisfaction"] = np.nan
        for name, keys in {
            "all": {},
            "groups": {"by": "region"},
            "waves": {"wave": True},
            "both": {"by": "region", "wave": True},
        }.items():
            survey = cx.as_survey(people, wave="wave", min_base=10)
            found = cx.nps(survey, "recommend", **keys)
            cx.save(found, name=name)
            cx.save(cx.top_box(survey, "satisfaction", threshold=4, **keys), name=f"top_{name}")
            hidden += int(found.tidy()["n"].isna().sum())
        assert audit_folder(tmp_path / str(i), Known(10)) == {}
    assert hidden > 10


def test_an_empty_or_absent_folder_withholds_nothing(tmp_path):
    assert audit_folder(tmp_path) == {} and audit_folder(tmp_path / "none") == {}
    assert audit_folder(tmp_path, notebooks=["absent"]) == {}


def test_a_table_without_columns_and_a_finding_without_n_are_read(tmp_path):
    save(tmp_path, "nb", "empty", pd.DataFrame(), total=None)
    assert audit_folder(tmp_path) == {}


def test_findings_are_read_with_outcome_group_and_hidden_counts(tmp_path):
    save(tmp_path, "nb", "score", regions(50, np.nan), total=97)
    (saved,) = read_findings(tmp_path / "nb")
    assert (saved.name, saved.outcome, saved.by, saved.total) == ("nb/score", "recommend", "region", 97)
    table, whole = saved.parts
    shown, hidden = (table.cells[frozenset({("group region", name)})] for name in "ab")
    assert table.keys == ["group region"] and shown == 50 and np.isnan(hidden)
    assert whole.cells == {frozenset(): 97.0}


# --- what tables tell of each other ----------------------------------------------------------------------------------

NESTED = Known(10, {("branch", "region"): {"a": "North", "b": "North", "c": "South", "d": "South", "e": "South"}})


@pytest.mark.parametrize("branches, n", [("abcde", [50, *[np.nan] * 3, 30]), (["a", "e", POOLED], [50, 30, 24])])
def test_a_region_less_its_branches_is_the_hidden_one(branches, n):
    shown = finding("nb/branches", regions(*n, names=branches), total=104, by="branch")
    wide = finding("nb/regions", pd.DataFrame({"group": ["North", "South"], "n": [57.0, 47.0]}), total=104)
    assert audit_tables([shown, wide], Known(10)) == [], "no grouping determines the other"
    assert [leak.cell for leak in audit_tables([shown, wide], NESTED)] == ["branch=b"]


def test_a_part_of_the_study_is_the_group_that_it_is_of():
    whole = finding("nb/score", pd.DataFrame({"wave": ["1", "2"], "n": [200.0, 200.0]}), total=400, by=None)
    part = finding("nb/score", pd.DataFrame({"wave": ["1", "2"], "n": [194.0, 200.0]}), total=394, by=None)
    (leak, *_) = audit_tables([whole, replace(part, only=(("region", "Big"),))], Known(10))
    assert leak.reason == "less what is shown by region, fewer than the minimum base of 10 are left"
    safe = [t.assign(n=t["n"].astype(float) - 50) for t in part.tables.values()]
    safe = replace(part, total=294.0, tables={"x": safe[0].astype(str)}, only=(("region", "Big"),))
    assert audit_tables([whole, safe], Known(10)) == []


def test_what_a_part_and_the_whole_both_pool_is_a_group_of_the_part():
    ages = ["old", "mid", POOLED]
    whole = finding("nb/score", regions(50, 60, 60, names=ages), total=170, by="age")
    part = finding("nb/score", regions(np.nan, np.nan, 22, names=ages), total=46, by="age")
    waves = regions(*[np.nan, 10, 11] * 2, names=ages * 2).assign(wave=[1, 1, 1, 2, 2, 2])
    waves = finding("nb/waves", waves, total=46, by="age")
    leaks = audit_tables([whole, *(replace(saved, only=(("region", "A"),)) for saved in (part, waves))], Known(10))
    assert [leak.cell for leak in leaks] == ["age=old, region=A"]


def test_two_means_of_one_thing_over_almost_the_same_people_tell_of_the_few():
    groups = regions(700, 691).assign(estimate=2.0, largest_share=0.1)
    spent = pd.DataFrame({"term": ["revenue"], "responders": [3.0], "n": [1399.0], "largest_share": [0.1]})
    first = finding("nb/value", groups, total=1391, outcome="revenue")
    second = finding("nb/bias", spent, total=1399)
    (leak,) = audit_tables([first, second], Known(10))
    assert leak.said() == "nb/bias, all: revenue is averaged over it twice, and fewer than 10 people are not in both"
    assert audit_tables([first, second], Known(1)) == []


def test_digits_beyond_those_of_the_page_tell_the_audit_nothing(root):
    def as_shown(table: pd.DataFrame) -> pd.DataFrame:
        numbers = table.loc[:, ~table.columns.str.match("n$|n_|largest|score|wave")].apply(pd.to_numeric, errors="coerce")
        return table.assign(**{c: numbers[c].round(1).astype(str) for c in numbers if numbers[c].notna().any()})

    places = [root / "reports" / "example" / "findings" / name for name in ("promoters", "scorecard")]
    found = [saved for place in places for saved in read_findings(place)]
    shown = [replace(saved, tables={f: as_shown(t) for f, t in saved.tables.items()}) for saved in found]
    assert any(not a.tables[f].equals(b.tables[f]) for a, b in zip(found, shown) for f in a.tables)
    leaks = audit_tables(found, Known(100))
    assert leaks and audit_tables(shown, Known(100)) == leaks


@pytest.mark.parametrize(
    "table, outcome",
    [
        (pd.DataFrame({"term": ["spent"], "responders": [3.0], "others": [2.0], "n": [50.0]}), "recommend"),
        (regions(50, 40).assign(estimate=2.0), "revenue"),
    ],
)
def test_a_table_of_money_says_how_much_of_it_is_one_contributors(table, outcome):
    saved = finding("nb/worth", table, total=90, outcome=outcome)
    (leak,) = audit_tables([saved], Known(10))
    assert leak.said() == (
        "nb/worth.tidy.csv, all: it averages money and does not say how much of it is one contributor's"
    )
    assert audit_tables([saved], Known(1)) == []


def test_a_programme_that_is_not_solved_withholds_the_finding(tmp_path, monkeypatch):
    save(tmp_path, "nb", "score", regions(50, np.nan, np.nan), total=97)
    save(tmp_path, "nb", "other", regions(50, 40), total=90, outcome="overall")
    unsolved = type("Unsolved", (), {"status": 1, "message": "time limit reached"})()
    monkeypatch.setattr("scipy.optimize.linprog", lambda *_, **__: unsolved)
    assert {name: leak.said() for name, leak in audit_folder(tmp_path, Known(10)).items()} == {
        "nb/score": "nb/score, all: whether it gives a hidden number away was not computed: the linear programme was "
        "not solved: time limit reached"
    }
