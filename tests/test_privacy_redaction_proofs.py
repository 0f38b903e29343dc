"""Redaction held against random numbers of many formats: nearly all of them go, nearly no date or amount does."""

import ipaddress
import re

import numpy as np
import pytest

from cxresearch.privacy.redaction import redact_text

SENTENCES = (
    "Call me back on {}, please.", "I left {} with the desk.", "{}", "nikt nie oddzwonił: {}; czekam", "mój to {} i nic",
    "({})", "Никто не ответил, вот {} — жду", "мой {}, спасибо", "they have {}. Nothing came", "znam {}/brak odpowiedzi",
)  # fmt: skip
PHONES = {  # 0 is any digit, N any but 0 and 1
    "Poland, mobile": ("+48 N00 000 000", "N00 000 000", "N00-000-000", "N00000000", "0048N00000000", "+48N00000000", "N00.000.000"),
    "Poland, landline": ("22 N00 00 00", "(22) N00-00-00", "22 N000000", "+48 22 N00 00 00", "(012) N00 00 00", "61N000000", "22/N00 00 00"),
    "United Kingdom": ("07N00 000000", "020 N000 0000", "+44 (0)20 N000 0000", "01N00 000000", "07N00-000-000", "(0161) N00 0000", "07N00000000"),
    "United States": ("(N00) N00-0000", "N00-N00-0000", "N00.N00.0000", "1-N00-N00-0000", "+1 N00 N00 0000", "N00N000000", "N00 N00-0000"),
    "Russia": ("8 (N00) 000-00-00", "+7 N00 000-00-00", "8N000000000", "8-N00-000-00-00", "+7N000000000", "8 N00 000 00 00", "(N00) 000-00-00"),
    "Germany": ("030 N0000000", "030/N000000", "0171-N000000", "+49 (0)171 N000000", "0N00 / N0 00 00", "089 N0 00 00 00", "0049 30 N0000000"),
    "France": ("06 N0 00 00 00", "01.N0.00.00.00", "+33 6 N0 00 00 00", "06N0000000", "01-N0-00-00-00", "+33(0)6 N0 00 00 00"),
    "Spain, Italy, Portugal": ("9N0 000 000", "91 N00 00 00", "06 N000 0000", "02-N0000000", "+39 02 N000 0000", "21 N00 00 00", "34N N000000"),
    "North": ("08-N00 000 00", "N0 00 00 00", "+45 N0 00 00 00", "N00 00 000", "+358 40 N00 0000", "070-N00 00 00", "040 N000000"),
    "Asia, America": ("+91 9N000 00000", "138 N000 0000", "03-N000-0000", "(11) 9N000-0000", "+55 11 9N000 0000", "N000 0000", "010-N000-0000"),
}  # fmt: skip
OTHERS = {
    "PESEL": ("00N00N00000",),
    "passport": (
        "AA0000000",
        "000000000",
        "AAA000000",
        "00 00 000000",
        "00AA00000",
        "aa0000000",
        "A00000000",
        "AA 0000000",
    ),
    "order of a customer": ("0N0000000000", "N0000000", "A-N0000000"),
}
IBANS = {
    "PL": 24,
    "DE": 18,
    "GB": "AAAA00000000000000",
    "FR": 23,
    "ES": 20,
    "NL": "AAAA0000000000",
    "IT": "A0000000000000000000000",
}


def filled(rng, pattern: str) -> str:
    drawn = {"0": "0123456789", "N": "23456789", "A": "ABCDEFGHJKLMNPRSTUVWXYZ", "a": "abcdefghijklmnoprstuwyz"}
    return "".join(str(rng.choice(list(drawn[c]))) if c in drawn else c for c in pattern)


def phone(rng, patterns) -> str:
    return filled(rng, str(rng.choice(patterns)))


def card(rng) -> str:
    digits = filled(rng, str(rng.choice(["4", "51", "37"])))
    digits += filled(rng, "0" * (15 - len(digits)))
    total = sum(sum(divmod(int(d) * (2 if i % 2 == 0 else 1), 10)) for i, d in enumerate(reversed(digits)))
    digits += str(-total % 10)
    sign = str(rng.choice(["", " ", "-"]))
    return sign.join(re.findall("....", digits))


def iban(rng) -> str:
    country = str(rng.choice(list(IBANS)))
    shape = IBANS[country]
    account = filled(rng, "0" * shape if isinstance(shape, int) else shape)
    check = 98 - int("".join(str(int(c, 36)) for c in f"{account}{country}00")) % 97
    text = f"{country}{check:02d}{account}"
    text = " ".join(re.findall(".{1,4}", text)) if rng.random() < 0.5 else text
    return text.lower() if rng.random() < 0.5 else text


def mail(rng) -> str:
    local = filled(rng, str(rng.choice(["aaaa.aaaaaa", "aaa+00", "aaaaa_aa", "AAAA", "a-aaaaa00", "żaa.ółaa"])))
    return (
        f"{local}@{filled(rng, str(rng.choice(['aaaa.example.com', 'aaa-aa.pl', 'AAA.COM', 'почта.рф', 'aa.co.uk'])))}"
    )


def ip(rng) -> str:
    return ".".join(str(n) for n in rng.integers(0, 256, 4))


def ipv6(rng) -> str:
    address = ipaddress.IPv6Address(bytes(rng.integers(0, 256, 16).tolist()))
    if rng.random() < 0.5:  # a short one: its middle is nothing
        address = ipaddress.IPv6Address(int(address) & ~((1 << 96) - (1 << 16)))
    text = address.exploded if rng.random() < 0.3 else str(address)
    return text.upper() if rng.random() < 0.3 else text


NUMBERS = {f"phone, {name}": lambda rng, p=p: phone(rng, p) for name, p in PHONES.items()}
NUMBERS |= {name: lambda rng, p=p: phone(rng, p) for name, p in OTHERS.items()}
NUMBERS |= {"card": card, "IBAN": iban, "e-mail": mail, "IPv4": ip, "IPv6": ipv6}


def disguised(rng, number: str, kind: str) -> str:
    """Return a number as people and forms spoil it: glued to a word, with signs that have no width, in wide digits."""
    way = rng.integers(6)
    if way == 0 and "e-mail" not in kind and not kind.startswith("IP") and kind != "IBAN":
        return str(rng.choice(["nr", "tel", "id", "тел"])) + number
    if way == 1:
        return str(rng.choice(["\u200b", "\u00ad", "\u2060", "\ufeff", "\u200d"])).join(number)
    if way == 2:
        return "".join(chr(ord(c) + 0xFEE0) if "!" < c <= "~" else c for c in number)
    return number


def left(text: str, number: str, kind: str) -> bool:
    """Whether something of a number can still be read: any digit, or the name before the @."""
    return number.split("@")[0] in text if kind == "e-mail" else bool(re.search(r"\d", text))


@pytest.mark.parametrize("draws", [150, pytest.param(2_000, marks=pytest.mark.soak)])
@pytest.mark.parametrize("kind", NUMBERS)
def test_of_random_numbers_at_least_995_in_1000_go(kind, draws):
    rng = np.random.default_rng(20261129)
    kept = []
    for _ in range(draws):
        number = NUMBERS[kind](rng)
        text = str(rng.choice(SENTENCES)).format(disguised(rng, number, kind))
        if left(redact_text(text), number, kind):
            kept.append((text, redact_text(text)))
    assert len(kept) <= 0.005 * draws, f"{len(kept)} of {draws} stay, such as {kept[:5]}"


# --- what must stay ---------------------------------------------------------------------------------------------------


def day(rng) -> str:
    on = np.datetime64("1950-01-01") + np.timedelta64(int(rng.integers(0, 30_000)), "D")
    year, month, date = str(on).split("-")
    shapes = [
        "{y}-{m}-{d}", "{d}.{m}.{y}", "{m}/{d}/{y}", "{d}.{m}.{s}", "{y}/{m}/{d}", "{d} maja {y}", "{y}-{m}-{d} 14:30",
        "{y}-{m}-{d}T09:05:11Z", "{y}{m}{d}", "{d}-{m}-{y}", "{d}.{m}.{y}-{d}.{m}.{y}", "{d}.{m}.{s} 08:15", "{d}.{m}.{y} 10:30-11:45",
        "{y}-{y}", "May {d}, {y}", "{d} {m} {y}", "{y} г.", "{d}/{m}/{y} - {d}/{m}/{y}",
    ]  # fmt: skip
    return str(rng.choice(shapes)).format(y=year, m=month, d=date, s=year[2:])


def grouped(rng, most: float, sign: str) -> str:
    return f"{int(10 ** rng.uniform(1, most)):,}".replace(",", sign)


def amount(rng) -> str:
    thousands, decimal = [(",", "."), (".", ","), (" ", ","), ("\u00a0", ","), ("\u202f", ","), ("", "."), ("", ",")][
        rng.integers(7)
    ]
    number = grouped(rng, 8, thousands) + (f"{decimal}{rng.integers(100):02d}" if rng.random() < 0.4 else "")
    before, after = [
        ("$", ""), ("€ ", ""), ("£", ""), ("PLN ", ""), ("", " zł"), ("", " PLN"), ("", "€"), ("", " руб."), ("", " USD"),
        ("", " euros"), ("", " ₽"), ("", "zł"), ("", " злотых"), ("", " złotych"),
    ][rng.integers(14)]  # fmt: skip
    span = rng.random() < 0.1 and decimal not in number
    return f"{before}{number}{'-' + number.replace(number[0], '9', 1) if span else ''}{after}"


def size(rng) -> str:
    units = [
        "pieces",
        "pcs",
        "sztuk",
        "szt.",
        "штук",
        "шт.",
        "units",
        "items",
        "kg",
        "orders",
        "zamówień",
        "visitors",
        "заказов",
    ]
    return f"{grouped(rng, 6.9, str(rng.choice(['', ' ', ',', '.'])))} {rng.choice(units)}"


def rating(rng) -> str:
    scores = rng.integers(0, 11, int(rng.integers(3, 12)))
    shapes = [
        f"{scores[0]}/10", f"{scores[0]} out of 10", " ".join(map(str, scores)), f"{scores[0] / 2}/5", f"{10 * scores[0]} %", f"{rng.random() * 100:.1f} %",
        ", ".join(map(str, scores)), "-".join(map(str, scores)), f"{rng.random() * 10:.8f}", f"{scores[0]}/10, {scores[1]}/10, {scores[2]}/10",
        "/".join(map(str, scores)),
    ]  # fmt: skip
    return str(rng.choice(shapes))


def duration(rng) -> str:
    h, m, s, t, u = (int(rng.integers(0, n)) for n in (24, 60, 60, 24, 60))
    shapes = [
        f"{h}:{m:02d}", f"{h:02d}:{m:02d}:{s:02d}", f"{h:02d}:{m:02d}-{t:02d}:{u:02d}", f"{h:02d}.{m:02d}-{t:02d}.{u:02d}", f"{h} h {m} min",
        f"{m} minutes", f"{m}-{m + 15} min", f"{h}h{m:02d}m{s:02d}s", f"{h} dni {t} godzin", f"{m * 37} секунд", f"{h:02d}:{m:02d} - {t:02d}:{u:02d}",
        f"{h}:{m:02d} {t}:{u:02d} {h}:{u:02d}", f"24/7 {h}:{m:02d}", f"{m} {s} {h} minut",
    ]  # fmt: skip
    return str(rng.choice(shapes))


ORDINARY = {"date": day, "amount": amount, "order size": size, "rating": rating, "time taken": duration}
AROUND = (
    "it was {} that day",
    "{}",
    "Zapłaciłem {}, niestety",
    "было {} и ничего",
    "From {} on.",
    "({})",
    "{}!",
    "około {} - nic",
)


@pytest.mark.parametrize("draws", [300, pytest.param(2_000, marks=pytest.mark.soak)])
@pytest.mark.parametrize("kind", ORDINARY)
def test_of_dates_amounts_sizes_ratings_and_times_at_most_5_in_1000_go(kind, draws):
    rng = np.random.default_rng(20261130)
    texts = [str(rng.choice(AROUND)).format(ORDINARY[kind](rng)) for _ in range(draws)]
    gone = [(text, redact_text(text)) for text in texts if redact_text(text) != text]
    assert len(gone) <= 0.005 * draws, f"{len(gone)} of {draws} go, such as {gone[:5]}"


# --- names ------------------------------------------------------------------------------------------------------------

INTRODUCTIONS = (
    "my name is", "My name's", "my name’s", "My full name is", "I am called", "nazywam się", "nazywam sie", "Mam na imię",
    "mam na imie", "moje imię to", "moje nazwisko", "na imię mam", "Imię i nazwisko:", "Name:", "surname:", "Меня зовут", "меня зовут",
    "моё имя", "мое имя", "Моя фамилия", "зовут меня", "ФИО:", "имя:",
)  # fmt: skip
NAMES = (
    "anna kowalska", "john smith", "łukasz", "Żaneta Żółć", "иван петров", "Ёлкина Ольга", "maria", "JAN NOWAK", "mary-jane o'neill",
    "ludwig van beethoven", "Анна", "józef", "Jozef Wozniak", "Li Wei", "Zoe\u0308 Brown", "gosc\u0301 wojciech",
)  # fmt: skip


@pytest.mark.parametrize(
    "after", ["", ", I waited", ". Czekałem", " and I waited", " i czekałem", " и я ждал", "\nthe rest"]
)
def test_names_after_an_introduction_go_however_they_are_written(after):
    kept = []
    for introduction in INTRODUCTIONS:
        for name in NAMES:
            text = f"{introduction} {name}{after}"
            if redact_text(text) != f"{introduction} [name]{after}":
                kept.append((text, redact_text(text)))
    assert kept == []
