"""A batch: a report for each value of a column. Every notebook here is executed for real."""

import json
import os
import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import nbformat
import pytest
from tiny import DEFINE, tree, write_notebook

from cxresearch.errors import StudyProblem
from cxresearch.runs.deck import write_deck
from cxresearch.runs.folder import digest_of
from cxresearch.runs.make import make_run, plan_run, same_run
from cxresearch.runs.plan import cells_of, safe_names
from cxresearch.study import open_study

STUDY = """\
title: Markets & more
privacy: {minimum_base: 5}
tables:
  responses:
    source: answers.csv
    id: person
    wave: wave
    items:
      recommend: {scale: [0, 10], role: nps}
      market: {role: demographic}
reports:
  monthly: {each: market, whole: true, notebooks: [answer], parameters: {times: 2}}
  rich: {each: [market, wave], min_rows: 8}
"""
MARKETS = {"North": 12, "South": 12, "Ost/West: Łódź": 13, "東京": 12, "East": 3, "Coast": 9}
SAYS = """
import cxresearch as cx
data = cx.open_study(study)
n = len(data.responses)
table = pd.DataFrame({"term": ["all"], "estimate": [float(n * times)], "conf_low": [n - 1.0], "conf_high": [n + 1.0], "n": [n]})
checks = (Check("seen", True, "yes", True),)
finding = Answer("answer", "everything", None, table, {"estimate": float(n * times), "n": n, "method": "count"}, checks)
path = cx.save(finding, name="answer")
"""


def write_markets(folder: Path, markets=MARKETS, *, notebook=SAYS) -> Path:
    """Write a study of some markets, half of each in either wave, and a notebook that counts its rows."""
    folder.mkdir(parents=True, exist_ok=True)
    lines = [f'{m}{i},{2024 + i % 2},{i % 11},"{m}"' for m, n in markets.items() for i in range(n)]
    (folder / "answers.csv").write_text("\n".join(["person,wave,recommend,market", *lines]) + "\n", encoding="utf-8")
    (folder / "study.yml").write_text(STUDY, encoding="utf-8")
    write_notebook(folder / "notebooks", "answer", DEFINE + notebook, headline="answer")
    return folder / "study.yml"


def batch_of(folder: Path, **options):
    return plan_run(folder / "study.yml", notebooks=folder / "notebooks", **options)


def sentences(folder: Path) -> dict[str, str]:
    found = folder.glob("*/findings/answer/answer.json")
    return {p.parts[-4]: json.loads(p.read_text(encoding="utf-8"))["sentence"] for p in found}


# --- the cells -------------------------------------------------------------------------------------------------------


def test_names_of_reports_are_readable_and_differ_on_every_file_system():
    values = ["North", "Łódź", "東京", "A/B", "A-B", "..", "", "con", "all", "x" * 300, "é" * 300, "south", "South", "a.b"]
    names = safe_names([(("market", v),) for v in values])
    assert names[:3] == ["North", "Łódź", "東京"]
    assert len({n.casefold() for n in names}) == len(values)
    assert all(n == Path(n).name and 0 < len(n.encode()) <= 100 and n[0] not in ".-" for n in names)
    assert names[3].startswith("A-B-") and names[5].startswith("value-") and names[7].startswith("con-")
    assert names == safe_names([(("market", v),) for v in values])
    one, other = safe_names([(("a", "x-y"), ("b", "z")), (("a", "x"), ("b", "y-z"))])
    assert one != other, "values that join to the same name"


def test_a_market_under_the_base_gets_no_report_and_the_smallest_beside_it_neither(tmp_path):
    write_markets(tmp_path)
    cells = cells_of(open_study(tmp_path / "study.yml"), ["market"], whole=True)
    assert [(c.label, c.name) for c in cells[:3]] == [("All", "all"), ("Coast", "Coast"), ("North", "North")]
    assert "East" not in str(cells)
    reasons = {c.label: c.skip for c in cells if c.skip}
    assert reasons == {
        "1 value under the minimum base": "fewer than 5 people or rows of responses, the minimum base",
        "Coast": "beside the others and the whole, this report would tell the size of one under the minimum base",
    }


def test_two_markets_under_the_base_hide_each_other(tmp_path):
    write_markets(tmp_path, {"North": 12, "South": 12, "East": 4, "West": 3})
    cells = cells_of(open_study(tmp_path / "study.yml"), ["market"])
    assert [(c.label, c.only) for c in cells if c.skip] == [("2 values under the minimum base", ())]


SOME = ["promoters", "segmentation", "programme", "service_profit_chain"]


@pytest.mark.parametrize("only", [SOME, pytest.param([], marks=pytest.mark.soak)], ids=["some", "all"])
def test_the_smallest_market_of_the_example_gets_its_report_from_every_notebook_that_has_enough_people(
    root, tmp_path, pool, only
):
    coast = f"{root / 'data/example/study.yml'}?region=Coast"
    plan = plan_run(coast, only=only, notebooks=root / "notebooks")
    made = make_run(plan, tmp_path / "run", pool=pool)
    told = {o.name: (o.status, o.reason) for o in made.record.notebooks}
    shown = "".join(str(c.get("outputs")) for c in {o.name: o for o in made.record.notebooks}["promoters"].executed.cells)
    assert "at least 30 customers who answered and 30 who did not" in shown  # refused in its place
    whole = {name for name, (status, reason) in told.items() if status == "skipped" and "which has neither region" in reason}
    assert whole == {"programme", "service_profit_chain"}  # employees and costs are those of all markets
    assert {told[name] for name in set(told) - whole} == {("ok", None)} and "segmentation" in told, told


def test_a_market_with_too_few_rows_for_the_report_says_how_many(tmp_path):
    write_markets(tmp_path, {"North": 12, "South": 7})
    cells = cells_of(open_study(tmp_path / "study.yml"), ["market"], min_rows=10)
    assert {c.label: c.skip for c in cells} == {
        "North": None,
        "South": "7 rows of responses; the report asks for 10",
    }


def test_two_columns_give_a_report_for_each_combination_there_is(tmp_path):
    write_markets(tmp_path, {"North": 20, "South": 20})
    cells = cells_of(open_study(tmp_path / "study.yml"), ["market", "wave"])
    assert [(c.name, c.only, c.rows) for c in cells][:2] == [
        ("North-2024", (("market", "North"), ("wave", "2024")), 10),
        ("North-2025", (("market", "North"), ("wave", "2025")), 10),
    ]
    assert len(cells) == 4


def test_a_thousand_markets_are_planned_in_a_second_or_two(tmp_path):
    markets = {f"m{k}": 6 for k in range(1000)}
    write_markets(tmp_path, markets | {"m7": 2})
    cells = cells_of(open_study(tmp_path / "study.yml"), ["market"], whole=True)
    assert len(cells) == 1001 and [c.label for c in cells[:4]] == ["All", "m0", "m1", "m2"]
    assert sum(c.skip is not None for c in cells) == 2 and len({c.name for c in cells}) == 1001


MANY = "--each market asks for 5,001 reports; at most 5,000 are made"
KNOWN = "there are market, recommend, respondent, wave"


@pytest.mark.parametrize(
    ("each", "markets", "message"),
    [
        ("markt", MARKETS, f"study.yml has no column 'markt'; did you mean 'market'?; {KNOWN}"),
        ("market market", MARKETS, "--each names market, market; name each column once"),
        pytest.param("market", {f"m{k}": 1 for k in range(5001)}, MANY, id="more than anybody reads"),
    ],
)
def test_what_cannot_be_fanned_out_is_refused(tmp_path, each, markets, message):
    write_markets(tmp_path, markets)
    with pytest.raises(StudyProblem) as caught:
        batch_of(tmp_path, each=each.split()).cells  # noqa: B018
    assert str(caught.value) == message


# --- a batch ---------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def made(tmp_path_factory, pool):
    """The report `monthly` of a study, made for each market and the whole."""
    folder = tmp_path_factory.mktemp("a bątch")
    write_markets(folder)
    told = []
    batch = batch_of(folder, report="monthly")
    return folder, make_run(batch, folder / "runs" / "one", pool=pool, tell=told.append), told


def test_each_market_has_a_report_on_its_own_rows(made):
    _, batch, _ = made
    numbers = {
        name: s.removeprefix("The answer to <b>everything</b> is ") for name, s in sentences(batch.folder).items()
    }
    odd = next(n for n in numbers if n.startswith("Ost-West"))
    assert numbers == {"all": "61.", "North": "12.", "South": "12.", odd: "13.", "東京": "12."}


def test_the_log_has_one_line_a_report_and_the_operator_hears_it(made):
    _, batch, told = made
    lines = [json.loads(line) for line in (batch.folder / "log.jsonl").read_text(encoding="utf-8").splitlines()]
    assert sorted(line["report"] for line in lines) == sorted(entry.report for entry in told) and len(lines) == 7
    assert not any(entry.headline for entry in told), "what a report found is told after the audit"
    states = {line["report"]: line["status"] for line in lines}
    assert states == {
        "All": "ok", "North": "ok", "South": "ok", "Ost/West: Łódź": "ok", "東京": "ok", "1 value under the minimum base": "skipped", "Coast": "skipped",
    }  # fmt: skip
    north = next(line for line in lines if line["report"] == "North")
    assert north["headline"].endswith("is 12.") and north["seconds"] > 0 and north["values"] == {"market": "North"}


def test_the_index_leads_to_every_report_and_does_not_tell_a_hidden_size(made):
    _, batch, _ = made
    page = batch.index.read_text(encoding="utf-8")
    assert 'href="North/index.html"' in page and 'href="%E6%9D%B1%E4%BA%AC/index.html"' in page
    assert "fewer than 5 people or rows" in page
    assert "The answer to &lt;b&gt;everything" in page and "<script" not in page
    assert not (batch.folder / "East").exists() and not any(b"East" in c for c in tree(batch.folder).values())


def test_no_row_of_the_data_and_no_hidden_folder_stays(made):
    folder, batch, _ = made
    assert [p.name for p in (folder / "runs").iterdir()] == ["one"]
    assert not any(b"North0" in content for content in tree(batch.folder).values())
    assert all(str(folder).encode() not in content for content in tree(batch.folder).values())


BLIND = "import cxresearch.study.study as opened\nopened.load_table = None\n" + SAYS  # reads what it is lent alone


def test_runs_at_once_in_one_process_lend_each_its_own_tables(tmp_path, pool):
    for k in range(3):
        write_markets(tmp_path / str(k), {"North": 6 + k, "South": 6}, notebook=BLIND)
    plans = [batch_of(tmp_path / str(k)) for k in range(3)]
    with ThreadPoolExecutor(3) as threads:
        made = list(threads.map(lambda plan: make_run(plan, plan.project / "run", pool=pool), plans))
    assert [(run.whole, run.record.notebooks[0].reason) for run in made] == [(True, None)] * 3
    assert [sentences(run.folder.parent)["run"].rpartition(" ")[2] for run in made] == ["12.", "13.", "14."]


def test_tables_are_read_once_for_the_whole_batch(tmp_path, pool, monkeypatch):
    write_markets(tmp_path, {"North": 6, "South": 6}, notebook=BLIND)
    read = []
    import cxresearch.study.study as opened

    monkeypatch.setattr(opened, "load_table", lambda *a, _as=opened.load_table, **k: read.append(a[0]) or _as(*a, **k))
    result = make_run(batch_of(tmp_path, each=["market"]), tmp_path / "run", pool=pool)
    assert result.whole and read == ["responses"]


def test_a_report_of_a_part_runs_again_in_its_place_without_the_batch(made):
    _, batch, _ = made
    import papermill

    place = next(batch.folder.glob("Ost-West*"))
    notebook = nbformat.read(place / "answer.ipynb", as_version=4)
    assert "study.yml?market=Ost%2FWest%3A%20%C5%81%C3%B3d%C5%BA" in notebook.cells[2].source
    before = (place / "findings/answer/answer.json").read_bytes()
    copy = place.with_name("copy")
    shutil.copytree(place, copy)
    try:
        os.environ["CXRESEARCH_RUN"] = str(copy / "again")
        papermill.execute_notebook(copy / "answer.ipynb", None, cwd=copy, progress_bar=False)
        assert (copy / "again/answer.json").read_bytes() == before
    finally:
        del os.environ["CXRESEARCH_RUN"]
        shutil.rmtree(copy)


def test_a_failing_report_fails_the_batch_and_the_others_finish(tmp_path, pool):
    write_markets(tmp_path, {"North": 6, "South": 6}, notebook="assert 'South' not in study\n" + SAYS)
    result = make_run(batch_of(tmp_path, each=["market"]), tmp_path / "run", pool=pool)
    assert {r.report: r.status for r in result.reports} == {"North": "ok", "South": "failed"}
    assert result.reports[1].reason == "answer: cell 4: AssertionError:" and not result.whole
    record = json.loads((result.folder / "run.json").read_text(encoding="utf-8"))
    assert (record["status"], record["exit_status"]) == ("failed", 1)
    assert "South failed." in result.index.read_text(encoding="utf-8")


def test_a_notebook_that_asks_for_more_rows_than_a_market_has_is_skipped_with_the_reason(tmp_path, pool):
    few = "from cxresearch import TooFewRespondents\nraise TooFewRespondents('needs at least 100 rows; found 6')"
    write_markets(tmp_path, {"North": 6, "South": 6}, notebook=few)
    result = make_run(batch_of(tmp_path, each=["market"]), tmp_path / "run", pool=pool)
    assert {r.status for r in result.reports} == {"skipped"} and result.whole
    assert result.reports[0].reason == "answer: needs at least 100 rows; found 6"
    assert not any(p.name.startswith(("answer", "findings")) for p in (result.folder / "North").iterdir())


# --- only what changed -----------------------------------------------------------------------------------------------


@pytest.fixture
def again(made, tmp_path):
    """The batch `made`, copied with its study to a folder of the test's own."""
    folder, _, _ = made
    shutil.copytree(folder, tmp_path / "copy", copy_function=shutil.copy2)
    return tmp_path / "copy"


def states(result) -> dict[str, str]:
    return {r.report: "unchanged" if r.unchanged else r.status for r in result.reports}


def test_an_unchanged_batch_is_linked_and_outlives_the_older_one(again):
    batch = batch_of(again, report="monthly")
    before = tree(again / "runs/one")
    result = make_run(batch, again / "runs/two", pool="nothing is executed")
    assert set(states(result).values()) == {"unchanged", "skipped"}
    one, two = (again / "runs" / name / "North" for name in ("one", "two"))
    assert (two / "answer.html").samefile(one / "answer.html")
    assert not (two / "answer.ipynb").samefile(one / "answer.ipynb"), "JupyterLab saves in place"
    shutil.rmtree(again / "runs/one")
    after = tree(again / "runs/two")
    assert {n: c for n, c in after.items() if "/" in n} == {n: c for n, c in before.items() if "/" in n}
    assert "no change" in result.index.read_text(encoding="utf-8")
    assert same_run(batch, again / "runs/three").folder == again / "runs/two"


@pytest.mark.parametrize(
    "change",
    [
        lambda f, _: (f / "answers.csv").write_bytes((f / "answers.csv").read_bytes() + b"x,2024,1,North\n"),
        lambda f, _: (f / "study.yml").write_text(STUDY.replace("times: 2", "times: 3"), encoding="utf-8"),
        lambda f, _: write_notebook(f / "notebooks", "answer", DEFINE + SAYS + "\n1", headline="answer"),
        lambda _, patch: patch.setattr("cxresearch.runs.folder.package_digest", lambda: "another"),
    ],
    ids=["data", "parameter", "notebook", "package"],
)
def test_what_a_report_follows_from_decides_whether_it_is_made(again, monkeypatch, change):
    digest = digest_of(batch_of(again, report="monthly"), again / "runs/two")
    assert digest_of(batch_of(again, report="monthly"), again / "runs/three") == digest
    change(again, monkeypatch)
    assert digest_of(batch_of(again, report="monthly"), again / "runs/two") != digest


def test_new_data_are_compared_with_the_batch_before(again, pool):
    with open(again / "answers.csv", "a", encoding="utf-8") as file:
        file.write("new,2024,1,North\n")
    result = make_run(batch_of(again, report="monthly"), again / "runs/two", pool=pool)
    moved = {r.report: r.moved for r in result.reports}
    assert (
        moved["North"].startswith("answer everything: all: 24.0 → 26.0 (+2.0, interval ")
        and moved["South"] == "no change"
        and moved.get("1 value under the minimum base") is None
    )
    assert "all: 24.0 → 26.0" in result.index.read_text(encoding="utf-8")
    assert set(states(result).values()) == {"ok", "skipped"}


def test_force_makes_what_is_unchanged(again, pool):
    result = make_run(batch_of(again, report="monthly"), again / "runs/two", pool=pool, force=True)
    assert set(states(result).values()) == {"ok", "skipped"}


@pytest.mark.parametrize("part", ["run.json", "findings/answer/answer.tidy.csv", "answer.html"])
def test_a_report_that_is_damaged_is_made_again(again, pool, part):
    (again / "runs/one/North" / part).write_bytes(b"less")
    result = make_run(batch_of(again, report="monthly"), again / "runs/two", pool=pool)
    assert states(result) == {
        "All": "unchanged", "North": "ok", "South": "unchanged", "Ost/West: Łódź": "unchanged", "東京": "unchanged",
        "1 value under the minimum base": "skipped", "Coast": "skipped",
    }  # fmt: skip


def test_the_deck_of_a_batch_tells_each_report_by_its_name_and_has_no_screen_of_all(tmp_path, pool):
    from pptx import Presentation

    write_markets(tmp_path, {"North": 12, "South": 14})
    made = make_run(batch_of(tmp_path, each=["market"]), tmp_path / "run", pool=pool)
    deck = Presentation(write_deck(made.folder, tmp_path / "batch.pptx"))
    titles = [slide.shapes.title.text_frame.text for slide in deck.slides]
    assert titles[1].startswith("North: The answer") and titles[2].startswith("South: The answer"), titles
    assert titles[3:] == ["What we do not know", "How this was found"]
