"""Direct identifiers: found by header and cells in three languages, and not where one only looks like it."""

import json

import pandas as pd
import pytest

from cxresearch.privacy import find_identifier
from cxresearch.privacy.identifiers import header_words


def kinds(**columns) -> dict[str, str]:
    table = pd.DataFrame({name.replace("__", " "): values for name, values in columns.items()})
    return identifiers(table)


def identifiers(table: pd.DataFrame) -> dict[str, str]:
    found = {str(name): find_identifier(str(name), table.iloc[:, i]) for i, name in enumerate(table.columns)}
    return {name: told.split(" (")[0] for name, told in found.items() if told}


ENGLISH = {
    "First Name": ["Anna", "John", "Mary-Jane", "Seán"],
    "LastName": ["O'Neill", "Smith", "van Dyke", "Li"],
    "E-mail address": ["anna@example.com", "j.smith+cx@mail.example.co.uk", None, "li@example.org"],
    "Mobile": ["+44 7700 900123", "07700 900456", "(020) 7946-0999", "07700900789"],
    "IPAddress": ["192.0.2.1", "198.51.100.7", "2001:db8::1", "203.0.113.9"],
    "LocationLatitude": [51.5074, 52.4862, 53.4808, 55.9533],
    "LocationLongitude": [-0.1278, -1.8904, -2.2426, -3.1883],
    "street address": ["12 High Street", "Flat 3, 45 Mill Lane", "7 Church Road", "221b Baker St"],
    "Postcode": ["SW1A 1AA", "M1 1AE", "EH1 1YZ", "CF10 1EP"],
}
POLISH = {
    "imię": ["Anna", "Łukasz", "Małgorzata", "Żaneta"],
    "nazwisko": ["Kowalska", "Nowak-Wiśniewska", "Żółć", "Zieliński"],
    "adres e-mail": ["a.kowalska@poczta.example.pl", "lukasz@example.pl", "mz@example.com", "zz@example.eu"],
    "telefon": [601234567, 501234567, 221234567, 601234568],
    "adres zamieszkania": ["ul. Długa 5/7, Gdańsk", "Rynek 1", "al. Jana Pawła II 20 m. 3", "Os. Piastów 12"],
    "kod pocztowy": ["80-831", "31-042", "00-133", "31-624"],
    "PESEL": ["44051401359", "02070803628", "90010112345", "85112233445"],
    "szerokość geograficzna": [54.3520, 50.0647, 52.2297, 51.1079],
}
RUSSIAN = {
    "ФИО": ["Иванов Иван Иванович", "Петрова Анна Сергеевна", "Ким Ю", "Ёлкина Ольга"],
    "Имя": ["Иван", "Анна", "Юлия", "Ольга"],
    "Электронная почта": ["ivanov@пример.рф", "anna@example.ru", "yu@example.ru", "o@example.com"],
    "Номер телефона": ["+7 (495) 123-45-67", "8-916-123-45-67", "89161234567", "+7 916 123 45 67"],
    "Телефон": ["84951234567", "89161234568", "89161234569", "89161234560"],
    "Адрес": ["ул. Ленина, д. 5, кв. 7", "пр. Мира, 10", "Невский просп., 1", "Садовая 12"],
    "Индекс": ["101000", "190000", "191186", "630099"],
    "широта": [55.7558, 59.9343, 55.0084, 56.8389],
}
EXPECTED = {
    "First Name": "name", "LastName": "name", "E-mail address": "e-mail", "Mobile": "phone", "IPAddress": "IP address",
    "LocationLatitude": "coordinates", "LocationLongitude": "coordinates",
    "street address": "address", "Postcode": "address",
    "imię": "name", "nazwisko": "name", "adres e-mail": "e-mail", "telefon": "phone", "adres zamieszkania": "address",
    "kod pocztowy": "address", "PESEL": "personal number", "szerokość geograficzna": "coordinates",
    "ФИО": "name", "Имя": "name", "Электронная почта": "e-mail", "Телефон": "phone",
    "Адрес": "address", "Индекс": "address", "широта": "coordinates",
}  # fmt: skip


@pytest.mark.parametrize("columns", [ENGLISH, POLISH, RUSSIAN], ids=["English", "Polish", "Russian"])
def test_every_identifier_of_a_table_is_found_with_its_kind(columns):
    found = identifiers(pd.DataFrame(columns))
    assert found == {name: EXPECTED.get(name, "phone") for name in columns}


def test_some_are_known_by_their_cells_whatever_the_header():
    found = kinds(
        V5=["a@example.com", "b@example.com", "c@example.com"],
        V6=["192.0.2.1", "192.0.2.2", None],
        V7=["+48 601 234 567", "+44 7700 900123", "0048601234568"],
        V8=["52.2297, 21.0122", "54.3520, 18.6466", "50.0647, 19.9450"],
    )
    assert found == {"V5": "e-mail", "V6": "IP address", "V7": "phone", "V8": "coordinates"}


def test_a_header_alone_or_cells_alone_are_not_enough_where_they_may_mean_something_else():
    assert (
        kinds(
            email=["yes", "no", "yes"],  # is the address known?
            airline_name=["Adria Airways", "Air Canada", "Turkish Airlines"],
            name=["Garden", "Kitchen", "Light"],  # of a category
            product__name=["Blue Chair", "Oak Table", "Red Lamp"],
            city=["New York", "Zielona Góra", "Санкт-Петербург"],
            customer_id=[601234567, 601234568, 601234569],
            order=["48601234567", "48601234568", "48601234569"],
            How__long__did__you__wait=[12.25, 3.75, 8.1],
            Ile__lat__jest__Pan__klientem=[1.25, 3.75, 8.15],
            phone__was__answered__quickly=[1, 5, 4],
            address__of__the__problem__satisfied__me=["agree", "disagree", "agree"],
            channel=["phone", "email", "chat"],
            version=["1.2.3", "1.2.4", "10.0.1"],
            answered_at=["2018-12-31 10:30", "2018-12-31 10:31", "2019-01-01 00:00"],
            price=["1 299,00 zł", "12 000 000 руб.", "$5"],
            recommend=[10, 9, 0],
            comment=["Write to me at a@example.com please", "Call me", "Anna was nice"],
        )
        == {}
    )


def test_the_reason_names_header_and_cells_and_gives_their_share():
    cells = pd.Series(["a@example.com", "b@example.com", "none", "c@example.com", None])
    told = "header and cells: 75 % of filled cells are e-mail addresses"
    assert find_identifier("RecipientEmail", cells) == f"e-mail ({told})"


def test_an_empty_column_and_an_empty_table_are_not_reported():
    assert identifiers(pd.DataFrame({"Email": [None, None], "phone": ["", " "]})) == {}
    assert identifiers(pd.DataFrame({"Email": []})) == {}


@pytest.mark.parametrize(
    ("header", "words"),
    [
        ("RecipientLastName", ["recipient", "last", "name"]),
        ("IPAddress", ["ip", "address"]),
        ("E-mail_address", ["email", "address"]),
        ("adres  e-mail", ["adres", "email"]),
        ("НомерТелефона", ["номер", "телефона"]),
        ("customer.first-name", ["customer", "first", "name"]),
    ],
)
def test_headers_are_split_into_words(header, words):
    assert header_words(header) == words


# --- real files ------------------------------------------------------------------------------------------------------

PLACE = {"LocationLatitude": "coordinates", "LocationLongitude": "coordinates"}
REAL = {
    "exports/qualtrics.csv": {"IPAddress": "IP address", **PLACE},
    "exports/qualtrics_legacy.csv": {"V6": "IP address", **PLACE},
}


def tables(folder):
    import pyreadstat

    for path in sorted(p for p in folder.rglob("*") if p.is_file()):
        name = path.relative_to(folder).as_posix()
        if path.suffix == ".csv":
            encoding = "latin-1" if "garden" in name else "utf-8-sig"
            rows = (
                [1, 2] if path.stem == "qualtrics" else [1] if path.stem in ("qualtrics_legacy", "limesurvey") else None
            )
            yield (
                name,
                pd.read_csv(
                    path,
                    sep=";" if path.stem == "limesurvey" else ",",
                    encoding=encoding,
                    skiprows=rows,
                    low_memory=False,
                ),
            )
        elif path.suffix == ".txt" and "CDNOW" in name:
            yield name, pd.read_csv(path, sep=r"\s+")
        elif path.suffix == ".parquet":
            yield name, pd.read_parquet(path)
        elif path.suffix == ".sav":
            yield name, pyreadstat.read_sav(path)[0]
        elif path.suffix == ".json" and "reviews" in name:
            yield name, pd.DataFrame(json.loads(path.read_text(encoding="utf-8")))


def test_published_files_hold_addresses_and_places_in_two_exports_and_no_false_alarm_elsewhere(shared):
    seen = {name: identifiers(table) for name, table in tables(shared / "data")}
    assert len(seen) >= 22
    assert {name: found for name, found in seen.items() if found} == REAL


def test_no_false_alarm_in_the_bundled_company(root):
    seen = {name: identifiers(table) for name, table in tables(root / "data" / "example")}
    assert len(seen) == 6 and not any(seen.values())
