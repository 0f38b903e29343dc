"""Pseudonyms: the published HMAC, one key a study, the same for ids that look the same, said when they do not last."""

import os
import subprocess
import sys

import pandas as pd
import pytest

from cxresearch.errors import DataProblem
from cxresearch.privacy import PseudonymKey, pseudonymise
from cxresearch.privacy import study_key as key_of_study
from cxresearch.privacy.identifiers import KEY_OF_RUN, KEY_VARIABLE, _hmac, environment_of_run

SECRET = {KEY_VARIABLE: "a secret of forty-two characters, at least"}


def study_key(title: str, *, environ) -> PseudonymKey:
    with pytest.MonkeyPatch.context() as patch:
        for name in (KEY_VARIABLE, KEY_OF_RUN):
            patch.setenv(name, environ.get(name, ""))
        return key_of_study(title)


def one(value, key) -> str:
    return pseudonymise(pd.Series([value], dtype=object), key=key).iloc[0]


def test_hmac_sha_256_of_jefe_is_5bdcc146_rfc_4231_case_2():
    digest = _hmac(b"Jefe", "what do ya want for nothing?").hex()
    assert digest == "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"


def test_ids_that_look_the_same_get_the_same_pseudonym():
    key = study_key("A", environ=SECRET)
    assert len({one(v, key) for v in (17, 17.0, "17", " 17 ", "17.0", "17\u00a0")}) == 1
    assert one("Zo\u00eb", key) == one("Zoe\u0308", key)
    assert len({one(v, key) for v in ("17", "017", "17a", "17A", "17.5", "-17")}) == 6


def test_missing_and_blank_ids_stay_missing_and_rows_keep_their_places():
    ids = pd.Series(["a", None, "b", " ", "a", float("nan")], index=list("uvwxyz"), name="customer")
    made = pseudonymise(ids, key=study_key("A", environ=SECRET))
    assert made.index.tolist() == list("uvwxyz") and made.name == "customer"
    assert made.isna().tolist() == [False, True, False, True, False, True]
    assert made["u"] == made["y"] != made["w"]
    assert made.dropna().str.fullmatch("p[0-9a-f]{20}").all()


def test_every_study_has_a_key_of_its_own():
    a, again, b = (study_key(t, environ=SECRET) for t in ("Study A", " Study A ", "Study B"))
    assert one("x", a) == one("x", again) != one("x", b)
    assert one("x", a) != one("x", study_key("Study A", environ={KEY_VARIABLE: SECRET[KEY_VARIABLE] + "!"}))


def test_a_key_from_the_environment_lasts_and_says_so_without_showing_itself():
    key = study_key("A", environ=SECRET)
    assert key.lasting and repr(key) == "PseudonymKey(lasting=True)"
    assert (
        key.said()
        == "Pseudonyms are keyed by CXRESEARCH_KEY and this study's title: they stay the same from run to run."
    )


def test_without_a_key_one_process_agrees_with_itself_and_not_with_the_next():
    key = study_key("A", environ={})
    assert one("x", key) == one("x", study_key("A", environ={}))
    assert not key.lasting
    assert key.said() == (
        "CXRESEARCH_KEY is not set: pseudonyms are keyed at random and differ from run to run, so that people cannot "
        "be followed from one to the next."
    )
    bare = {name: value for name, value in os.environ.items() if name not in (KEY_VARIABLE, KEY_OF_RUN)}
    code = "import pandas as pd; from cxresearch.privacy import *; key = study_key('A'); "
    code += "print(pseudonymise(pd.Series(['x']), key=key)[0])"
    other = subprocess.run([sys.executable, "-c", code], env=bare, capture_output=True, text=True, check=True).stdout.strip()
    assert other.startswith("p") and other != one("x", key)


def test_the_kernels_of_a_run_agree_without_a_key(monkeypatch):
    monkeypatch.delenv(KEY_VARIABLE, raising=False)
    given = environment_of_run()
    first, second = study_key("A", environ=given), study_key("A", environ=given)
    assert list(given) == [KEY_OF_RUN] and one("x", first) == one("x", second) == one("x", study_key("A", environ={}))
    assert not first.lasting
    monkeypatch.setenv(KEY_VARIABLE, SECRET[KEY_VARIABLE])
    assert environment_of_run() == {}


def test_a_short_key_is_refused():
    with pytest.raises(DataProblem) as refused:
        study_key("A", environ={KEY_VARIABLE: "hunter2"})
    assert str(refused.value) == (
        "CXRESEARCH_KEY holds 7 characters, which can be guessed; give it at least 16, for example from: "
        'python -c "import secrets; print(secrets.token_urlsafe(32))"'
    )


def test_ten_thousand_ids_get_ten_thousand_pseudonyms():
    ids = pd.Series(range(10_000))
    made = pseudonymise(pd.concat([ids, ids]), key=PseudonymKey(b"k" * 32, True))
    assert made.nunique() == 10_000
