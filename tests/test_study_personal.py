"""What analyses see of a study: pseudonyms that join, redacted texts, no column that names a person, and no trace of
the key in any result."""

import hashlib

import pandas as pd
import pytest
from conftest import ROOT

import cxresearch as cx
from cxresearch.errors import DataProblem, StudyProblem
from cxresearch.intake import check_study, render
from cxresearch.privacy import PSEUDONYMS
from cxresearch.privacy.identifiers import KEY_OF_RUN, KEY_VARIABLE

KEYS = "a secret of forty-two characters, at least", "another secret of many characters"
TEXT = """
title: Trusted
tables:
  responses:
    source: answers.csv
    id: rid
    customer: card
    cluster: card
    items:
      score: {scale: [0, 10], role: nps}
      card_again: {column: card, type: text}
      said: {role: verbatim}
  customers: {source: people.csv, id: card, items: {home: }}
  transactions: {source: paid.csv, customer: card, time: at, amount: eur}
  interactions: {source: desk.csv, customer: card, time: at, agent: who, text: note}
"""
FILES = {
    "answers": "rid,card,score,said\nr1,007,9,call 601 234 567\nr2,17.0,3,fine\nr3,99,10,\n",
    "people": "card,home,e_mail\n007,North,ann@example.org\n17,South,bob@example.org\n",
    "paid": "card,at,eur\n17,2025-01-02,5\n007,2025-01-03,6\n007,2025-01-04,7\n",
    "desk": "card,at,who,note\n007,2025-01-05,Ann Smith,write to ann@example.org\n",
}


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv(KEY_VARIABLE, KEYS[0])
    (tmp_path / "study.yml").write_text(TEXT, encoding="utf-8")
    for name, content in FILES.items():
        (tmp_path / f"{name}.csv").write_text(content, encoding="utf-8")
    return tmp_path


def with_people(folder, item):
    text = (folder / "study.yml").read_text(encoding="utf-8")
    (folder / "study.yml").write_text(text.replace("{home: }", f"{{home: , {item}}}"), encoding="utf-8")
    return cx.open_study(folder)


def test_no_table_holds_an_id_an_agent_or_a_number_to_call(folder):
    study = cx.open_study(folder)
    told = " ".join(getattr(study, name).table.to_csv() for name in study.table_names)
    assert not [word for word in ("r1", "007", "17.0", "Ann", "601 234", "@example") if word in told]
    responses = study.responses.table
    assert responses["respondent"].str.fullmatch("p[0-9a-f]{20}").all()
    assert responses["said"].tolist()[:2] == ["call [phone]", "fine"] and pd.isna(responses["said"].iloc[2])
    assert study.interactions.table["text"].tolist() == ["write to [e-mail]"]
    assert study.interactions.table["agent"].iloc[0] not in responses["customer"].tolist()


@pytest.mark.parametrize("role", ["{type: text}", "{role: demographic}", "{role: segment, type: text}"])
def test_long_free_texts_are_redacted_whatever_their_role(folder, role):
    said = "I waited for an hour, please ring me on 22 123 45 67"
    home = (folder / "people.csv").read_text(encoding="utf-8").replace("South,", f'"{said}",')
    (folder / "people.csv").write_text(home, encoding="utf-8")
    text = (folder / "study.yml").read_text(encoding="utf-8").replace("{home: }", f"{{home: {role}}}")
    (folder / "study.yml").write_text(text, encoding="utf-8")
    assert cx.open_study(folder).customers.table["home"].tolist() == ["North", said.replace("22 123 45 67", "[phone]")]


def test_one_id_has_one_pseudonym_in_every_table_and_under_every_name(folder):
    study = cx.open_study(folder)
    responses, customers = study.responses.table, study.customers.table
    assert responses["customer"].tolist()[:2] == customers["customer"].tolist()
    assert responses["cluster"].equals(responses["customer"].rename("cluster"))
    assert responses["card_again"].tolist()[:2] == customers["customer"].tolist()
    assert study.transactions.table["customer"].tolist() == [customers["customer"][i] for i in (1, 0, 0)]
    assert study.matched("responses", "customers", keep="all").table["home"].tolist() == ["North", "South"]
    assert responses.attrs[PSEUDONYMS] == ["respondent", "customer", "cluster", "card_again"]


def test_a_column_that_names_a_person_stays_at_the_door_unless_declared(folder):
    study = with_people(folder, "mail: {column: e_mail}")
    with pytest.raises(StudyProblem) as refused:
        study.customers
    assert str(refused.value) == (
        "people.csv: e_mail names a person: e-mail (header and cells: 100 % of filled cells are e-mail addresses); "
        "take item mail out of study.yml, or declare personal: true of it if an analysis needs it as it is"
    )
    (folder / "study.yml").write_text(TEXT.replace("{home: }", "{mail: {column: e_mail, personal: true}}"))
    assert cx.open_study(folder).customers.table["mail"].tolist() == ["ann@example.org", "bob@example.org"]


def test_check_says_what_is_done_and_counts_joins(folder, monkeypatch):
    said = check_study(folder)["privacy"]
    assert said == [
        "ids become pseudonyms: responses.respondent, responses.customer, responses.cluster, responses.card_again, "
        "customers.customer, transactions.customer, interactions.customer, interactions.agent",
        "Pseudonyms are keyed by CXRESEARCH_KEY and this study's title: they stay the same from run to run.",
        "texts are redacted: responses.said, interactions.text",
        "groups under 10 are pooled or hidden",
    ]
    monkeypatch.delenv(KEY_VARIABLE)
    monkeypatch.delenv(KEY_OF_RUN, raising=False)
    page = render(check_study(folder))
    assert "Privacy\n  ids become pseudonyms: " in page and "keyed at random and differ from run to run" in page
    assert "responses -> customers: 2 of 3 rows matched" in page and "007" not in page


def test_a_short_key_is_refused_before_anything_is_read(folder, monkeypatch):
    monkeypatch.setenv(KEY_VARIABLE, "hunter2")
    with pytest.raises(DataProblem, match="CXRESEARCH_KEY holds 7 characters"):
        cx.open_study(folder)


def test_no_result_of_the_bundled_company_depends_on_the_key(monkeypatch):
    found = []
    for secret in KEYS:
        monkeypatch.setenv(KEY_VARIABLE, secret)
        found.append(_results(cx.open_study(ROOT / "data" / "example")))
    first, second = found
    assert first.keys() == second.keys() and [name for name in first if first[name] != second[name]] == []


def _results(study) -> dict[str, str]:
    """Return the digest of every table of analyses that draw clusters, order customers or follow respondents."""
    responses = study.responses
    assert responses.cluster == "cluster" and "cluster" in responses.table.attrs[PSEUDONYMS]
    customers = cx.behaviour(study.transactions, customer="customer", time="time", amount="amount", until="2025-12-31")
    matched = study.matched("responses", "customers")
    drivers = study.columns("driver")[:4]
    nps = study.column("nps")
    made = {
        "nps": cx.nps(responses, nps, by="region", wave=True),
        "drivers": cx.driver_importance(
            responses, outcome=study.column("csat"), drivers=drivers, n_boot=100, seed=7, missing="listwise"
        ),
        "waves": cx.compare_waves(responses, nps),
        "segments": cx.segment_customers(
            customers, features=["recency_days", "frequency"], n_segments=2, n_starts=3, n_boot=5, seed=7
        ),
        "worth": cx.worth_of_a_point(matched, revenue="revenue", loyalty=nps, customer="customer", n_boot=100, seed=7),
        "bias": cx.response_bias(study.customers, responses, nps, customer="customer", behaviour=["revenue"]),
    }
    tables = {f"{name}.{key}": table for name, finding in made.items() for key, table in finding.tables().items()}
    tables["behaviour"] = customers.table.drop(columns="customer")
    tables["sentences"] = pd.DataFrame({"said": [finding.sentence() for finding in made.values()]})
    return {name: hashlib.sha256(table.to_csv().encode()).hexdigest() for name, table in tables.items()}
