"""Redaction: what points at a person goes in three languages; years, dates, prices and scores stay."""

import json
import re
import unicodedata

import numpy as np
import pandas as pd
import pytest

from cxresearch.privacy import redact
from cxresearch.privacy.redaction import luhn, redact_text

GOES = [
    ("Write to anna.nowak+1@poczta.example.pl.", "Write to [e-mail]."),
    ("почта: иван@пример.рф, жду", "почта: [e-mail], жду"),
    ("ANNA(at)example.org or anna [at] example [dot] org", "[e-mail] or [e-mail]"),
    ("anna.nowak(małpa)poczta.example.pl, napisz", "[e-mail], napisz"),
    ("иван(собака)пример точка рф", "[e-mail]"),
    ("reach me: anna at example dot co dot uk", "reach me: [e-mail]"),
    ("anna {a} example.com and anna<at>example.org", "[e-mail] and [e-mail]"),
    ("Call me on +44 7700 900123!", "Call me on [phone]!"),
    ("Pozdrawiam, \x85Ewa Nowak", "Pozdrawiam, \x85[name]"),
    ("zadzwońcie 601 234 567 po 17", "zadzwońcie [phone] po 17"),
    ("tel. 22 123 45 67, dziękuję", "tel. [phone], dziękuję"),
    ("мой телефон 8 (916) 123-45-67.", "мой телефон [phone]."),
    ("(212) 555-0123 is mine", "[phone] is mine"),
    ("phone: 555-0123", "phone: [phone]"),
    ("paid with 4111 1111 1111 1111 in May", "paid with [card] in May"),
    ("card 5500005555555559", "card [card]"),
    ("konto PL61 1090 1014 0000 0712 1981 2874 proszę", "konto [IBAN] proszę"),
    ("GB82WEST12345698765432", "[IBAN]"),
    ("order 20231234567 never came", "order [number] never came"),
    ("PESEL 44051401359", "PESEL [number]"),
    ("passport AB1234567", "passport [number]"),
    ("NINO QQ 12 34 56 C", "NINO [number]"),
    ("601_234_567 or 601*234*567 or 22·123·45·67", "[phone] or [phone] or [phone]"),
    ("mam na imie ania a nazywam sie kowalska", "mam na imie [name] a nazywam sie [name]"),
    ("from 192.168.100.101 again", "from [IP address] again"),
    ("see https://survey.example.com/r?uid=98ab then", "see [link] then"),
    ("www.example.com/orders/1234567", "[link]"),
    ("My name is John Smith and I waited", "My name is [name] and I waited"),
    ("my name is john, I waited", "my name is [name], I waited"),
    ("Mr. O'Neill and Dr Li helped", "Mr. [name] and Dr [name] helped"),
    ("Regards, Anna Kowalska", "Regards, [name]"),
    ("Dear Mrs Smith", "Dear Mrs [name]"),
    ("Nazywam się Jan Kowalski. Czekałem", "Nazywam się [name]. Czekałem"),
    ("mam na imię łukasz", "mam na imię [name]"),
    ("Pani Małgorzata była miła", "Pani [name] była miła"),
    ("z panem Żółcińskim, dobrze", "z panem [name], dobrze"),
    ("Pozdrawiam, Ewa", "Pozdrawiam, [name]"),
    ("Меня зовут Иван Петров, жду", "Меня зовут [name], жду"),
    ("меня зовут анна и я", "меня зовут [name] и я"),
    ("госпожа Ёлкина помогла", "госпожа [name] помогла"),
    ("С уважением, Ольга Ким", "С уважением, [name]"),
]
STAYS = [
    "I shop at example.org, and (at) the counter they were kind",
    "Look at the dot (a) and at point (b).",
    "In 2018 I waited; since 1999, 2015-2019 and 2016 2017 2018.",
    "On 2018-12-31, 31.12.2018, 12/31/2018 10:30, 20181231 and 2019-11-01 10:30-11:45.",
    "1 299,00 zł, 12 000 000 руб., 1,250,000.00 USD, $1000000, 601 234 567 PLN, 100.000 €, 12.500.000",
    "10/10, 9 out of 10; 10 9 8 7 10 9 10 9 10; 3.14159265; 99 %; 100000",
    "Flight BA1234, gate 45, room 12-14, A320-200, ISO 9001, 24/7, 3x3",
    "Dear Sir, Dear Customer Service, Hi all, Pan kierownik, Pani z obsługi, Szanowni Państwo, Уважаемый Клиент",
    "My names are many. Miss the old shop. Mr is a title; drove through. Подъехал г-н.",
    "https://www.example.com/help and www.example.com",
    "52.2297, 21.0122 metres; 1 000 000 visitors; 5 stars, 4 stars",
    "Pan Pani Państwo",
    "paid 1234567.89; from 0830-1000 and 2230-2400; 9-11 10.10; 11.10. 2024; B777-300 3x4x3",
    "",
    "=cmd|' /C calc'!A0",
]


@pytest.mark.parametrize(("text", "expected"), GOES, ids=[e for _, e in GOES])
def test_what_points_at_a_person_goes(text, expected):
    assert redact(pd.Series([text, expected])).texts.tolist() == [expected] * 2, "once more changes nothing"


@pytest.mark.parametrize("text", STAYS)
def test_what_does_not_stays(text):
    assert redact(pd.Series([text])).texts.tolist() == [text]


def test_texts_that_one_look_at_all_lets_pass_lose_nothing():
    """What `redact` does not look at closer, `redact_text` would leave, whatever signs and spaces stand between."""
    said = [text for text, _ in GOES] + STAYS
    spaced, joined = [t.replace(" ", "\u00a0") for t in said], [re.sub(r"(\w)(\w)", "\\1\u200b\\2", t) for t in said]
    apart = [unicodedata.normalize("NFD", t) for t in said]
    wide = ["".join(chr(ord(c) + 0xFEE0) if "!" <= c <= "~" else c for c in t) for t in said]
    texts = [*said, *spaced, *joined, *apart, *wide, *map(str.upper, said), *map(str.lower, said)]
    assert redact(pd.Series(texts)).texts.tolist() == [redact_text(t) for t in texts]


def test_counts_are_of_redactions_in_every_row():
    texts = pd.Series(
        ["a@example.com or b@example.com", "nothing", "a@example.com or b@example.com", None, "+48 601 234 567"],
        index=list("vwxyz"),
    )
    redacted = redact(texts)
    assert redacted.texts.tolist()[:3] == ["[e-mail] or [e-mail]", "nothing", "[e-mail] or [e-mail]"]
    assert redacted.texts.isna().tolist() == [
        False,
        False,
        False,
        True,
        False,
    ] and redacted.texts.index.tolist() == list("vwxyz")
    assert {kind: n for kind, n in redacted.counts.items() if n} == {"e-mail": 4, "phone": 1}


def test_text_stays_text_and_numbers_are_touched_only_where_something_goes():
    redacted = redact(pd.Series(["fine", 7, 4111111111111111, np.nan, ""], dtype=object)).texts
    assert redacted.tolist()[:3] == ["fine", 7, "[card]"] and redacted[4] == "" and pd.isna(redacted[3])


def test_an_empty_series_is_redacted_to_an_empty_one():
    redacted = redact(pd.Series([], dtype=object))
    assert len(redacted.texts) == 0 and sum(redacted.counts.values()) == 0


def test_luhn_accepts_79927398713_and_no_other_last_digit():
    assert [luhn(f"7992739871{d}") for d in range(10)] == [d == 3 for d in range(10)]


def test_published_verbatims_keep_almost_every_word(shared):
    folder = shared / "data" / "verbatims"
    english = pd.concat(
        [pd.read_csv(folder / f)["content"] for f in ("lounge.csv", "seat.csv")], ignore_index=True
    ).dropna()
    redacted = redact(english)
    assert sum(redacted.counts.values()) < 0.02 * len(english)
    words, left = english.str.split().str.len().sum(), redacted.texts.str.split().str.len().sum()
    assert left > 0.999 * words
    assert json.dumps(redacted.texts.iloc[0]) == json.dumps(english.iloc[0])


def test_321_russian_bank_reviews_lose_3_names_3_phones_and_13_long_numbers(shared):
    file = shared / "data" / "verbatims" / "bank_reviews_ru.json"
    reviews = [r["TEXT"] for r in json.loads(file.read_text(encoding="utf-8"))["responses"]]
    counts = redact(pd.Series(reviews)).counts
    assert len(reviews) == 321  # the numbers are of orders and of clerks; dates, times, sums of roubles and years stay
    assert {k: n for k, n in counts.items() if n} == {"phone": 3, "number": 13, "name": 3}
