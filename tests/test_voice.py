"""Voice: what texts say in three languages, clause by clause, and what it goes with."""

import json
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from proofs import seldom

import cxresearch as cx
from cxresearch.errors import DataProblem, TooFewRespondents
from cxresearch.findings import RUN_FOLDER
from cxresearch.voice.texts import LANGUAGES, read_texts
from cxresearch.voice.topics import area_under_curve, contribution, log_odds


def read(*texts, **options):
    return read_texts(pd.DataFrame({"said": texts}), "said", **options)


def topics_of(*texts: str, tone: str = "any") -> list[set[str]]:
    found = read(*texts)
    return [{t for t, flag in zip(found.taxonomy, flags) if flag} for flags in found.mentioned(tone)]


# --- published numbers ------------------------------------------------------------------------------------------------


def test_hanley_and_mcneil_1982_ratings_give_an_area_of_8932_and_an_error_of_0325():
    normal, abnormal = (33, 6, 6, 11, 2), (3, 2, 2, 11, 33)
    rating = np.concatenate([np.repeat(range(1, 6), normal), np.repeat(range(1, 6), abnormal)])
    area, error = area_under_curve(rating, np.arange(len(rating)) >= sum(normal))
    assert (round(area, 4), round(error, 4)) == (0.8932, 0.0325)


def test_log_odds_of_three_words_monroe_colaresi_and_quinn_2008_formula():
    odds, error = log_odds((10, 5, 1), (2, 5, 9), (1.2, 1, 1))
    assert odds / error == pytest.approx([3.0699, 0, -2.8856], abs=1e-4)


def test_a_topic_of_200_at_minus_10_among_1000_at_30_contributes_minus_10():
    value = np.concatenate([np.repeat([100.0, -100.0], [90, 110]), np.repeat([100.0, -100.0], [560, 240])])
    flags = (np.arange(1000) < 200)[:, None]
    assert value.mean() == 30 and value[:200].mean() == -10
    assert contribution(np.ones((1, 1000)), flags, value)[0, 0] == pytest.approx(-10)


# --- languages, clauses, topics ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "language"),
    [
        ("The parcel came late.", "en"),
        ("Paczka przyszła późno.", "pl"),
        ("Paczka przyszla bardzo pozno i nie dziala", "pl"),
        ("Посылка пришла поздно.", "ru"),
        ("ok", "undecided"),
        ("Express!", "undecided"),
    ],
)
def test_the_language_is_told_by_script_letters_and_words(text, language):
    assert LANGUAGES[read(text).code[0]] == language


@pytest.mark.parametrize(
    ("text", "topic", "tone"),
    [
        ("The delivery was late, but the staff were friendly.", "delivery", "negative"),
        ("The delivery was late, but the staff were friendly.", "staff", "positive"),
        ("Dostawa byla spozniona, ale obsluga mila.", "delivery", "negative"),
        ("Dostawa była spóźniona, ale obsługa miła.", "staff", "positive"),
        ("Доставка опоздала, зато продавцы вежливые.", "delivery", "negative"),
        ("Доставка опоздала, но продавцы вежливые.", "staff", "positive"),
        ("The parcel came on Monday.", "delivery", "neutral"),
        ("The staff were not friendly at all.", "staff", "negative"),
        ("Obsługa nie była miła.", "staff", "negative"),
        ("Продавцы не вежливые.", "staff", "negative"),
        ("There was never a problem with the website.", "website", "positive"),
        ("The parcel came on Monday :D", "delivery", "positive"),
        ("The parcel came: daily, on Monday", "delivery", "neutral"),
    ],
)
def test_a_topic_has_the_tone_of_its_clause(text, topic, tone):
    found = read(text)
    k = list(found.taxonomy).index(topic)
    assert [t for t in ("negative", "neutral", "positive") if found.mentioned(t)[0, k]] == [tone]


LATIN = {  # letters that Russian in Latin ones has, too
    "en": [
        "It's late and it's broken: that's what the courier's note said.", "Mr Khan of the khaki shop was rude",
        "Let's be fair, the cat's bed arrived and the kit's lid fits.", "Sikh staff in khaki turbans, kind and quick",
        "ALL THAT'S LEFT: A POT'S HANDLE, IT'S WHAT I GOT", "Khaki shirt, khaki belt",
    ],
    "pl": [
        "Nie ma kopij ani linij, wypij to sam", "Wypij kawę i zabij czas, bo paczki wciąż nie ma",
        "Prosze o zwrot, bukhalter nie zna linij ani kopij", "Przy kasie khaki i zhanna, bardzo dlugo",
    ],
    "ru": [
        "Kur'er opozdal, posylka razbita, nichego ne otvechayut", "Za vozvrat spasibo, no den'gi shli dolgo, ochen' dolgo",
        "The North Face: dostavka opozdala, nikto nichego ne znaet, khozhu cherez den' i menya ne slyshat",
        "prodavtsy vezhlivyye, tol'ko tsena ne raduyet",
    ],
}  # fmt: skip


@pytest.mark.parametrize("said", [
    "Zhang zhu", "Zhang", "Khan Zhou", "Zhou Zhang and Zhu", "Zhang Zhu Zhou", "Guangzhou, Zhengzhou, Zhongshan", "Sikh zhu", "Akhmed Zhanna",
])  # fmt: skip
def test_two_foreign_words_and_chinese_names_are_no_russian(said):
    for one in (said, said.upper(), said.lower()):
        found = read(one)
        assert LANGUAGES[found.code[0]] != "ru" and not any(re.search("[а-яё]", word) for word in found.words), one
    assert LANGUAGES[read("Zhang zhu").code[0]] == "undecided"


@pytest.mark.parametrize("said", [
    "ne khochu", "Spasibo, ochen' dolgo", "Dostavka khoroshaya, prodavtsy vezhlivyye", "khochu pokhvalit' etot bank",
])  # fmt: skip
def test_short_russian_in_latin_letters_is_told_by_one_of_its_words_or_in_three(said):
    assert LANGUAGES[read(said).code[0]] == "ru"


@pytest.mark.parametrize("language", LATIN)
def test_russian_in_latin_letters_is_read_as_russian_and_nothing_else_is(language):
    for said in LATIN[language]:
        for one in (said, said.upper()) if language != "ru" else (said,):
            assert any(re.search("[а-яё]", word) for word in read(one).words) is (language == "ru"), one
    told = ["russian" if language == "ru" else language] * len(LATIN[language])
    found = read_texts(pd.DataFrame({"said": LATIN[language], "of": told}), "said", language="of")
    assert any(re.search("[а-яё]", word) for word in found.words) is (language == "ru")


def test_rows_declared_english_or_polish_keep_their_letters():
    said = "spasibo, nichego ne ponimayu"
    assert "спасибо" in read(said).words
    for declared in ("en", "Polski"):
        found = read_texts(pd.DataFrame({"said": [said], "of": [declared]}), "said", language="of")
        assert "spasibo" in found.words and "спасибо" not in found.words


def test_a_text_has_several_topics_and_one_without_any_is_other_not_forced():
    both, none = topics_of("The courier was rude and the refund took ages.", "Everything went as I expected.")
    assert both >= {"delivery", "returns"} and none == set()


def test_weak_patterns_speak_where_nothing_else_does_and_a_lone_star_is_some_words_of_the_clause():
    topics = {"goods": {"en_weak": ["boots", "dress*"]}, "shops": {"en_weak": ["shop"]}}
    topics["returns"] = {"en": ["sent * back", "exchang*"], "not": ["sent * back home"]}
    expected = {
        "The boots leak": ["goods"],
        "It was hard to exchange, the dress is lovely": ["goods", "returns"],
        "I exchanged my boots, the dress is lovely": ["returns"],  # no other judgement of the dress
        "Boots from the shop": ["goods"],  # the first of two weak ones
        "The shop has boots": ["shops"],
        "I sent the blue boots back": ["returns"],
        "sent it. Back again": [],
        "they sent me right back home": [],
        "I sent those four very old things back": [],
    }
    found = read(*expected, taxonomy=topics, language=None).mentioned()
    assert [[t for t, there in zip(topics, row) if there] for row in found] == list(expected.values())


def test_words_stand_next_to_one_another_and_longer_ones_can_be_left_out():
    said = "a call-centre answered|the centre of town, I could call it|centre call|call. Centre|call centre music"
    line = read(*said.split("|"), taxonomy={"line": {"en": ["call centre"], "not": "call centre music"}})
    assert line.mentioned()[:, 0].tolist() == [True, False, False, False, False]


def test_what_says_nothing_is_counted_and_left_out():
    said = ("no comment", "Brak uwag.", "не знаю", None, "", "price!", "well well", "The garden chair broke again")
    assert read(*said).says.tolist() == [False] * 5 + [True, False, True]
    steps = cx.tag_topics(pd.DataFrame({"said": said}), text="said").tables()["texts"]
    assert steps["rows"].tolist() == [8, 6, 2] and steps["removed"].tolist() == [0, 2, 4]


def test_texts_are_redacted_before_anything_else_and_what_stands_for_them_is_no_word():
    found = read("Call me at +48 601 234 567 or write to anna@example.org, the <b>delivery</b> was late &amp; bad")
    assert "601" not in found.texts[0] and "anna" not in found.texts[0]
    assert not {"anna", "601", "phone", "b", "amp"} & set(found.words)


@pytest.mark.parametrize("said", ["anna&#64;example&#46;org", "&#x2b;48 601&nbsp;234&#8203;&nbsp;567", "anna&commat;example.org"])
def test_contact_data_written_in_signs_of_html_is_redacted_and_other_text_with_them_is_read(said):
    found = read(f"The delivery &amp; staff&notes caf&eacute; {said}").texts[0]
    assert re.fullmatch(r"The delivery & staff&notes café \[(e-mail|phone)\]", found)


def test_a_column_of_comments_named_as_the_language_shows_no_contact_data_and_no_whole_comment():
    said = ["The delivery was late, write to anna@example.org or call +48 601 234 567 please, " + "I wait. " * 50] * 9
    with pytest.raises(DataProblem, match="known are en, pl, ru") as told:
        read_texts(pd.DataFrame({"said": said}), "said", language="said")
    assert "anna" not in str(told.value) and "601" not in str(told.value) and len(str(told.value)) < 250


@pytest.mark.parametrize(
    "text", ["=HYPERLINK(1) the delivery was late", "<script>x</script> the *delivery* was $late$"]
)
def test_markup_and_formulas_in_texts_stay_text(text):
    table = pd.DataFrame({"said": [text] * 3})
    quoted = cx.tag_topics(table, text="said").quotes()._repr_markdown_()[0]
    assert "<script>" not in quoted and "\\*delivery" in quoted or "HYPERLINK" in quoted
    assert not cx.coding_sheet(table, text="said", seed=1)["text"].str.startswith("=").any()


def test_a_text_of_ten_thousand_words_takes_no_longer_than_as_many_words_in_short_ones():
    import time

    said = "the delivery was late but staff, as ever, were not rude; "
    took = []
    for texts in ([said * 1_000], [said] * 1_000):
        start = time.process_time()
        read(*texts).mentioned("negative")
        took.append(time.process_time() - start)
    assert took[0] < 5 * took[1] + 0.5


def test_quotes_of_an_unknown_tone_are_refused_and_nobody_complains_most_where_nobody_complains():
    found = cx.tag_topics(pd.DataFrame({"said": ["The parcel came on Monday."] * 30}), text="said")
    assert "complain most" not in found.sentence()
    with pytest.raises(DataProblem, match="tone='any' is not one of 'negative', 'neutral', 'positive'"):
        found.quotes(tone="any")


# --- refusals -----------------------------------------------------------------------------------------------------------

TEXT = pd.DataFrame({"said": ["The delivery was late"] * 300, "score": [0, 10] * 150, "code": ["en"] * 299 + ["xx"]})


@pytest.mark.parametrize(
    ("taxonomy", "message"),
    [
        ({"all": {"en": ["de*", "the"]}}, "'the' takes|takes \\d+ % of all words"),
        ({"zebras": {"en": ["zebra*"]}}, "topic 'zebras' matches no word of 300 texts"),
        ({"x": {"de": ["liefer*"]}}, "topic 'x' must hold label, en, pl, ru, en_weak, pl_weak, ru_weak, not; it has 'de'"),
        ({"x": {"en": []}}, "has no pattern in any language"),
        ({"x": {"en": ["*"]}}, r"'\*' is no pattern"),
        ({"x": {"en": 5}}, "5 is no pattern"),
        ({"x": ["late"]}, "must hold label, en, pl, ru, en_weak, pl_weak, ru_weak, not"),
        ([], "must hold topics"),
        ({"other": {"en": ["late"]}}, "a topic cannot be called 'other'"),
        ({"none": {"en": ["late"]}}, "a topic cannot be called 'none'"),
        ({"a; b": {"en": ["late"]}}, "a topic cannot be called 'a; b'"),
        ({"1": {"en": ["late"]}, 1: {"en": ["delivery"]}}, "a topic cannot be called 1"),
    ],
)
def test_a_taxonomy_that_takes_everything_nothing_or_is_none_is_refused(taxonomy, message):
    short = TEXT.assign(said="the delivery late")
    with pytest.raises(DataProblem, match=message):
        cx.tag_topics(short, text="said", taxonomy=taxonomy)


BOMB = "a: &a {en: [van]}\n" + "".join(
    f"{new}: &{new} {{<<: [{', '.join([f'*{old}'] * 9)}]}}\n" for old, new in zip("abcdefghijklmnopqrst", "bcdefghijklmnopqrstu")
)


@pytest.mark.parametrize(("text", "message"), [
    ("delivery: [", "own.yml: the taxonomy cannot be read"),
    (BOMB, r"own.yml: a taxonomy takes no aliases \(\*name\); write out"),
    ("delivery: " + "[" * 3000 + "]" * 3000, r"own.yml: the taxonomy cannot be read \(RecursionError\)"),
])  # fmt: skip
def test_a_taxonomy_that_cannot_be_read_is_refused_with_its_place(tmp_path, text, message):
    (tmp_path / "own.yml").write_text(text, encoding="utf-8")
    with pytest.raises(DataProblem, match=message):
        cx.tag_topics(TEXT, text="said", taxonomy=tmp_path / "own.yml")


OTHERS = [
    (cx.tag_topics, TEXT, dict(language="code"), r"code holds 'xx' \(1 rows, first: row 299\); known are en, pl, ru"),
    (cx.tag_topics, TEXT, dict(text=None), "declare an item with the role verbatim"),
    (cx.tag_topics, TEXT.assign(said=None), {}, "holds no text"),
    (cx.tone_of_texts, TEXT[:150], dict(score="score", seed=1), "tone_of_texts needs at least 200 texts"),
    (cx.free_topics, TEXT, dict(seed=1), "free_topics needs at least 200 texts"),
    (cx.topic_impact, TEXT.assign(score=9), dict(score="score", seed=1), "same answer"),
    (cx.distinctive_words, TEXT, dict(group="said"), "holds 1 groups"),
]


@pytest.mark.parametrize("said", ["601 234 567", "-", "???", ":)"])
def test_texts_without_any_word_say_nothing_and_are_refused_by_number(said):
    table = pd.DataFrame({"said": [said] * 30, "score": [0, 10] * 15})
    assert not read(*table["said"]).says.any() and cx.coding_sheet(table, text="said", seed=1).empty
    with pytest.raises(TooFewRespondents, match="none of 30 rows holds an answer"):
        cx.tag_topics(table, text="said")
    with pytest.raises(TooFewRespondents, match="at least 100 texts that say something; found 0"):
        cx.topic_impact(table, score="score", text="said", seed=1)


@pytest.mark.parametrize("function, table, options, words", OTHERS, ids=lambda v: getattr(v, "__name__", ""))
def test_other_refusals(function, table, options, words):
    with pytest.raises(TooFewRespondents if "at least" in words else DataProblem, match=words):
        function(table, **{"text": "said"} | options)


# --- what it goes with --------------------------------------------------------------------------------------------------


def planted(n: int, seed: int, effect: float) -> pd.DataFrame:
    """A third each complain of delivery, of prices, of nothing; a complaint of delivery lowers the mean by `effect`."""
    rng = np.random.default_rng(seed)
    what = rng.choice(3, n)
    late = what == 0
    said = np.array(["The delivery was late.", "The prices are terrible.", "Everything went as it should."])[what]
    praise = rng.random(n) < 0.5
    said = np.where(praise, np.char.add(said.astype(str), " The staff were friendly."), said.astype(str))
    return pd.DataFrame({"said": said, "score": 5 + praise - effect * late + rng.normal(size=n)})


def test_free_topics_of_one_seed_are_the_same_each_time():
    said = pd.read_csv(Path(__file__).with_name("clauses.csv"))["said"].sample(300, random_state=1).tolist()
    said += ["My garden gnome collection keeps growing", "The neighbours admire gnomes", "It all went as it should today"] * 40
    options = dict(text="said", taxonomy={"own": {"en": ["deliver*"]}}, counts=[4], min_rows=100, seed=1)
    found = [cx.free_topics(pd.DataFrame({"said": said}), **options) for _ in range(4)]
    assert len({f.glance()["come_again"].item() for f in found}) == 1


def test_free_topics_where_no_word_is_said_often_enough_are_not_stable():
    said = ["the parcel", *(f"word{a}{b}x another{b}{a}y third{a}z{b}" for a in "abcdefghijklmnop" for b in "abcdefghijklm")]
    table = cx.as_survey(pd.DataFrame({"said": said}), min_base=250)
    found = cx.free_topics(table, text="said", taxonomy={"own": {"en": ["parcel"]}}, seed=1)
    assert found.established is False and "No stable topics" in found.sentence()


def test_a_figure_says_it_where_no_topic_may_be_shown():
    said = ["The delivery was late.", "Nice friendly staff here.", "The prices are terrible."] * 4
    found = cx.tag_topics(cx.as_survey(pd.DataFrame({"said": said}), min_base=10), text="said")
    assert "No topic has a base" in found.sentence() and found.plot().texts


@pytest.mark.parametrize("zone", [("Europe/Warsaw", None), (None, "Europe/Warsaw"), ("Europe/Warsaw", "Europe/London")])
@pytest.mark.parametrize("until", [None, "2025-04-01", pd.Timestamp("2025-04-01", tz="Europe/Warsaw")])
def test_dates_of_answers_follow_ups_and_the_end_meet_in_time_zones_or_by_the_clock(zone, until):
    table = follow_ups(400, 5, 0.0)
    zoned = table.assign(**{c: table[c].dt.tz_localize(z) for c, z in zip(("asked", "done"), zone) if z})
    dates = dict(score="score", asked="asked", followed_up="done", next_score="next", until=until)
    found = cx.closed_loop(cx.as_survey(zoned, scales={"score": (0, 10)}), **dates).tidy().set_index("term")
    assert 0 < found.at["followed up", "estimate"] < 1


UNREAD = [
    (dict(until="soon"), "until: 1 values are no dates"), (dict(until=5), "until: 1 values are no dates"),
    (dict(until=["2025-04-01"]), "until: 1 values are no dates"), (dict(asked=3.0), "asked: 400 values are no dates"),
    (dict(done="yes"), "done: 400 values are no dates"), (dict(done=True), "done: 400 values are no dates"),
    (dict(done=["2025-05-01", "01.05.2025", "", None] * 100), r"done: 100 values are no dates, or written .* \(first: row 1\)"),
    (dict(done=["2025-03-01T10:00+01:00", "2025-04-01T10:00+02:00"] * 200), "done holds dates of several time zones"),
]  # fmt: skip


@pytest.mark.parametrize(("given", "message"), UNREAD)
def test_what_cannot_be_read_as_a_date_is_refused_and_counts_as_no_blank(given, message):
    dates = dict(score="score", asked="asked", followed_up="done", until=given.pop("until", None))
    table = cx.as_survey(follow_ups(400, 5, 0.0).assign(**given), scales={"score": (0, 10)})
    with pytest.raises(DataProblem, match=message):
        cx.closed_loop(table, **dates)


def test_dates_written_as_text_with_blanks_give_what_dates_give():
    table = follow_ups(400, 5, 0.0)
    text = table.assign(**{c: table[c].dt.strftime(" %Y-%m-%d ").fillna(" ") for c in ("asked", "done")})
    for written in (text, text.astype({"asked": "category", "done": object})):
        pd.testing.assert_frame_equal(loop_of(written).tidy(), loop_of(table).tidy())


def test_an_answer_without_a_date_is_nobodys_next_answer():
    first = follow_ups(600, 5, 0.0).assign(who=range(600))
    undated = first.assign(score=first["next"], asked=pd.NaT, done=pd.NaT)
    table = cx.as_survey(pd.concat([undated, first], ignore_index=True), scales={"score": (0, 10)})
    found = cx.closed_loop(table, score="score", asked="asked", followed_up="done", person="who", until="2025-04-01")
    assert set(found.tidy()["term"]) == {"followed up"} and "too few answered again" in found.sentence()


def test_a_planted_complaint_is_found_and_named():
    found = cx.topic_impact(planted(800, 1, 1.5), score="score", text="said", n_boot=200, seed=1)
    with pytest.raises(DataProblem, match="confidence=95 must lie between 0 and 1"):
        cx.topic_impact(planted(800, 1, 1.5), score="score", text="said", n_boot=20, confidence=95, seed=1)
    assert found.established and "omplaints about Delivery" in found.sentence()
    assert found.model.params.shape[0] >= 3


def test_on_a_null_hardly_any_topic_is_established():
    rng, tables = np.random.default_rng(3), [planted(300, seed, 0.0) for seed in range(20)]
    tables = [table.assign(score=rng.normal(size=len(table))) for table in tables]
    found = [cx.topic_impact(table, score="score", text="said", n_boot=100, seed=1) for table in tables]
    assert seldom(np.mean([f.established for f in found]), 20)


def follow_ups(n: int, seed: int, lift: float) -> pd.DataFrame:
    """Scores 0-6 that rise by themselves; six in ten are followed up, the lowest first."""
    rng = np.random.default_rng(seed)
    level = rng.normal(5, 1.5, n)
    first = np.clip(np.round(level + rng.normal(0, 1.5, n)), 0, 10)
    called = (first <= 6) & (rng.random(n) < np.where(first <= 3, 0.8, 0.5))
    second = np.clip(np.round(level + rng.normal(0, 1.5, n) + lift * called), 0, 10)
    asked = pd.Timestamp("2025-01-01") + pd.to_timedelta(rng.integers(0, 60, n), "D")
    days = pd.to_timedelta(np.where(called, rng.integers(0, 12, n), 0), "D")
    table = pd.DataFrame({"score": first, "next": second, "asked": asked, "done": asked + days})
    return table.assign(done=table["done"].where(called))


def loop_of(table):
    dates = dict(asked="asked", followed_up="done", until="2025-04-01")
    return cx.closed_loop(cx.as_survey(table, scales={"score": (0, 10)}), score="score", next_score="next", **dates)


@pytest.mark.parametrize(("lift", "established"), [(0.0, False), (1.5, True)])
def test_a_follow_up_is_held_against_the_same_score_not_followed_up(lift, established):
    found = loop_of(follow_ups(1500, 5, lift))
    rows = found.tidy().set_index("term")
    assert rows.at["naive gain", "estimate"] > 0.5  # low scores rise by themselves
    assert found.established is established
    assert ("not established" in found.sentence()) is (not established)


def test_the_floor_of_a_follow_up_counts_persons_not_their_answers():
    table = follow_ups(600, 5, 0.0).assign(score=lambda t: t["score"].clip(upper=6), who=[*range(300), *[*range(12)] * 25])
    dates = dict(score="score", asked="asked", followed_up="done", next_score="next", until="2025-04-01")
    late = table["asked"] < "2025-01-20"
    survey = cx.as_survey(table[late], min_base=10, respondent="who", scales={"score": (0, 10)})
    curve = cx.closed_loop(survey, **dates).tables()["curve"]
    waited = (table["done"].fillna(pd.Timestamp("2025-04-01")) - table["asked"]).dt.days
    persons = {day: table["who"][late & (waited >= day)].nunique() for day in waited[late].unique()}
    assert set(curve["days_since"]) == {day for day, n in persons.items() if n >= 10} | {7}
    few = table.assign(who=[*range(300), *range(300)], done=table["done"].where(table.index < 300))
    few.loc[few["done"].isna(), "who"] %= 9  # nine persons were not followed up, many times each
    many, named = (cx.as_survey(few, min_base=10, scales={"score": (0, 10)}, respondent=who) for who in (None, "who"))
    assert "difference" in set(cx.closed_loop(many, **dates).tidy()["term"])
    for asked in (cx.closed_loop(named, **dates), cx.closed_loop(many, **dates, person="who")):
        assert set(asked.tidy()["term"]) == {"followed up"} and "not known" in asked.sentence()
    with pytest.raises(TooFewRespondents):
        cx.closed_loop(cx.as_survey(few.assign(who=few.index % 9), min_base=10), **dates, person="who")


@pytest.mark.soak
def test_a_follow_up_without_a_lift_is_not_established_in_95_of_100():
    assert seldom(np.mean([bool(loop_of(follow_ups(800, seed, 0.0)).established) for seed in range(300)]), 300)


def test_coding_by_hand_gives_precision_recall_and_alpha_by_language():
    texts = ["The delivery was late.", "Dostawa byla spozniona.", "Доставка опоздала.", "Nice staff, high prices."] * 10
    sheet = cx.coding_sheet(pd.DataFrame({"said": texts}), text="said", n=40, seed=1)
    assert list(sheet) == ["row", "language", "text", "tagged"] and len(sheet) == 40
    sheet["first"], sheet["second"] = sheet["tagged"], sheet["tagged"].replace("prices; staff", "staff")
    found = cx.coding_agreement(sheet, coders=["first", "first"])
    assert found.tidy()[["topic_precision", "estimate", "alpha"]].to_numpy() == pytest.approx(1.0)
    assert cx.coding_agreement(sheet, coders=["second"]).tidy().set_index("language").at["all", "topic_precision"] < 1
    with pytest.raises(DataProblem, match="leaves 1 texts out \\(first: row 0\\)"):
        cx.coding_agreement(sheet.assign(first=[None, *sheet["first"][1:]]), coders=["first"])


SHEET = pd.DataFrame({"language": ["en", "en", "pl"] * 10, "tagged": ["delivery; staff", "none", "prices"] * 10})


@pytest.mark.parametrize(("coded", "message"), [
    (5, "leaves 30 texts out"), (True, "leaves 30 texts out"), ([*SHEET["tagged"][1:], 5], "leaves 1 texts out .first: row 29"),
    ([["prices"]] * 30, "leaves 30 texts out"), ([*SHEET["tagged"][1:], " "], "leaves 1 texts out .first: row 29"),
])  # fmt: skip
def test_a_sheet_coded_in_anything_but_words_is_refused_whoever_coded_it(coded, message):
    for coders in ("first", "tagged"):
        with pytest.raises(DataProblem, match=message):
            cx.coding_agreement(SHEET.assign(first=SHEET["tagged"]).assign(**{coders: coded}), coders="first")
    for nobody in ([], None):
        with pytest.raises(DataProblem, match="at least one coder"):
            cx.coding_agreement(SHEET, coders=nobody)


def test_topics_of_coders_are_read_without_their_case_and_a_semicolon_at_the_end_adds_none():
    for coded in (SHEET["tagged"].str.title(), SHEET["tagged"] + ";", " " + SHEET["tagged"] + " ; "):
        for given in (coded, coded.astype("category"), coded.astype("string"), coded.astype(object)):
            found = cx.coding_agreement(SHEET.assign(first=given), coders=["first"]).tidy()
            assert (found[["estimate", "topic_precision"]] == 1).all(axis=None)


@pytest.mark.parametrize("kind", [object, "str", "string", "category"])
def test_texts_of_a_sheet_whose_language_is_missing_are_of_the_undecided(kind):
    sheet = SHEET.assign(first=SHEET["tagged"], language=SHEET["language"].where(SHEET.index != 4).astype(kind))
    rows = cx.coding_agreement(sheet, coders=["first"]).tidy().set_index("language")
    assert rows["n"].to_dict() == {"en": 19, "pl": 10, "undecided": 1, "all": 30}


def test_topics_of_fewer_persons_than_the_floor_are_hidden_and_not_quoted():
    table = pd.DataFrame({"said": ["The delivery was late again."] * 60 + ["My refund never arrived, bad."] * 4})
    found = cx.tag_topics(cx.as_survey(table, min_base=10), text="said")
    rows = found.tidy().set_index("term")
    assert np.isnan(rows.at["returns", "estimate"]) and rows.at["delivery", "estimate"] > 0.9
    assert set(found.quotes()) == {"Delivery"} and found.suppressed >= 1
    assert not any("refund" in str(w) for w in found.tables()["patterns"]["word"])


def test_the_floor_of_word_forms_and_languages_counts_persons_not_how_often_they_say_it():
    said = ["The delivery was late again."] * 60 + ["Kurier Kurier, kurierem przez kuriera"] * 12 + ["Посылка пришла."] * 3
    who = [*range(60), *[99] * 12, 100, 101, 102]
    table = pd.DataFrame({"said": said, "who": who, "score": [0, 10] * 37 + [0]})
    survey = cx.as_survey(table, respondent="who", min_base=10, scales={"score": (0, 10)})
    found = cx.tag_topics(survey, text="said").tables()
    assert set(found["patterns"]["word"]) == {"delivery"} and found["languages"]["language"].tolist() == ["en"]
    words = cx.distinctive_words(survey, text="said", group="score").tidy()["word"]
    assert set(words) == {"delivery", "late"}


def test_a_first_screen_gets_two_redacted_complaints_a_topic_and_no_table_gets_any(tmp_path, monkeypatch):
    monkeypatch.setenv("CXRESEARCH_RUN", str(tmp_path))
    late = [f"The delivery was late again, write to me{k} at anna{k}@example.com." for k in range(20)]
    table = pd.DataFrame({"said": [*late, *["The delivery was quick, thank you."] * 20, "My refund never came, bad."]})
    found = cx.tag_topics(cx.as_survey(table, min_base=10), text="said")
    quotes = found.highlights["quotes"]
    assert set(quotes) == {"delivery"} and len(quotes["delivery"]) == 2  # refunds: one text, under the floor
    assert all("late again" in said and "[e-mail]" in said and "anna" not in said for said in quotes["delivery"])
    cx.save(found, name="topics")
    assert json.loads((tmp_path / "topics.json").read_text(encoding="utf-8"))["highlights"]["quotes"] == quotes
    assert not any("late again" in path.read_text(encoding="utf-8") for path in tmp_path.glob("*.csv"))


# --- real texts ---------------------------------------------------------------------------------------------------------

FOOD = {
    "food": {"en": "food, foods, cater*, buffet, snack*, meal*, breakfast, dish*, sandwich*, cheese*"},
    "clean": {"en": ["clean*", "dirty", "tidy", "toilet*", "washroom*", "shower*"]},
    "staff": {"en": ["staff", "service", "attendant*", "reception*"]},
}


@pytest.fixture(scope="module")
def lounge(shared):
    return pd.read_csv(shared / "data" / "verbatims" / "lounge.csv")


def test_lounge_food_looks_harmless_by_mention_and_is_a_complaint_by_clause(lounge):
    found = cx.topic_impact(lounge, score="recommended", text="content", taxonomy=FOOD, n_boot=100, seed=1)
    rows = found.tidy().set_index(["term", "tone"])
    assert rows.at[("food", "negative"), "conf_high"] < 0 < rows.at[("food", "positive"), "conf_low"]
    points = 100.0 * lounge["recommended"].to_numpy()
    flags = read_texts(lounge, "content", taxonomy=FOOD).mentioned()[:, :1]
    mention = contribution(np.ones((1, len(lounge))), flags, points)[0, 0]
    assert mention > rows.at[("food", "negative"), "estimate"] + 5


def test_lounge_complaints_by_clause_agree_with_the_rating_of_the_touchpoint(lounge):
    found = read_texts(lounge, "content", taxonomy=FOOD)
    net = found.mentioned("positive").astype(float) - found.mentioned("negative")
    for k, rating in enumerate(("catering_rating", "cleanliness_rating", "staff_service_rating")):
        known = lounge[rating].notna().to_numpy()
        by_clause = np.corrcoef(net[known, k], lounge[rating][known])[0, 1]
        by_mention = np.corrcoef(found.mentioned()[known, k], lounge[rating][known])[0, 1]
        assert by_clause > 0.25 and abs(by_mention) < 0.2


@pytest.mark.parametrize("name", ["lounge", "seat"])
def test_no_english_review_is_read_as_russian(shared, name):
    found = read_texts(pd.read_csv(shared / "data" / "verbatims" / f"{name}.csv"), "content")
    assert not [word for word in found.words if re.search("[а-яё]", word)] and (found.code != 2).all()


def reviews_of(shared) -> pd.DataFrame:
    path = shared / "data" / "verbatims" / "bank_reviews_ru.json"
    return pd.DataFrame(json.loads(path.read_text(encoding="utf-8"))["responses"])


def test_russian_bank_reviews_hold_the_placeholder_of_the_portal_17_times(shared):
    found = read_texts(reviews_of(shared), "TEXT")
    assert pd.Series(found.texts).value_counts().iloc[0] == 17 and {LANGUAGES[c] for c in found.code} == {"ru"}


def test_tone_of_russian_bank_reviews_agrees_with_their_stars(shared):
    reviews = reviews_of(shared)
    reviews["RATING"] = pd.to_numeric(reviews["RATING"]).where(lambda stars: stars > 0)
    found = cx.tone_of_texts(reviews, text="TEXT", score="RATING", folds=3, seed=1)
    assert found.established and found.glance()["auc"].item() > 0.9 and found.glance()["auc_words"].item() > 0.85


@pytest.mark.parametrize("language", ["en", "pl", "ru"])
def test_topics_and_tone_of_labelled_clauses_are_found_and_right(language):
    """Precision and recall (micro) of topics, and the tone of topics that were found, on clauses of five writers.

    Each set was labelled before the words were read, and words were mended by kinds of misses afterwards (of the first
    set by its half *mended* only). What was measured before is the better guide to texts of others. First set:
    precision .85, .83, .89, recall .80, .75, .76 in English, Polish, Russian; fresh one, after that mending:
    precision .75, .79, .73, recall .81, .89, .89, tone .81, .90, .84. Second set, by a writer who had not read the words,
    before mending: precision .76, .82, .85, recall .77, .89, .86, tone .76, .77, .87. The clauses *held* are of a fourth
    writer, and no word was chosen with them in view: precision .90, .88, .84, recall .90, .92, .92, tone .77, .80, .85
    before the mending with those *developed*. These are of a fifth writer, across trades and full of figures of speech:
    unseen, precision .75, .73, .65, recall .76, .76, .64, tone .73, .65, .57; the third of them that was kept apart, after
    mending with the rest: precision .80, .79, .68, recall .81, .76, .72, tone .84, .75, .72. Mend from others than those
    held, so that they go on telling what to expect.
    """
    sheet = pd.read_csv(Path(__file__).with_name("clauses.csv"), keep_default_na=False).query("language == @language")
    found, tones = read(*sheet["said"]), {"-": "negative", "0": "neutral", "+": "positive"}
    keys, told = list(found.taxonomy), found.mentioned()
    said = [{topic.rstrip("-0+"): topic[-1] for topic in topics.split()} for topics in sheet["topics"]]
    truth = np.array([[key in topics for key in keys] for topics in said])
    tones = {sign: found.mentioned(tone) for sign, tone in tones.items()}
    for part, least in dict(mended=0.9, measured=0.9, fresh=0.9, second=0.9, developed=0.83, held=0.83).items():
        at = (sheet["part"] == part).to_numpy()[:, None]
        assert (told & truth & at).sum() >= least * max((told & at).sum(), (truth & at).sum()), part
        hits = [(i, k, said[i][keys[k]]) for i, k in zip(*np.nonzero(told & truth & at))]
        assert np.mean([tones[sign][i, k] for i, k, sign in hits if sign in tones]) >= 0.72, part


# --- no contact data anywhere --------------------------------------------------------------------------------------------

CONTACTS = [
    "anna.nowak@example.org", "+48 601 234 567", "601-234-567", "22 635 12 34", "+7 (495) 123-45-67", "8 916 123 45 67",
    "+44 20 7946 0958", "020 7946 0958", "07700 900123", "+1 (212) 555-0142", "212-555-0142", "+49 30 901820",
    "030 901820", "+49 151 23456789", "PL61 1090 1014 0000 0712 1981 2874", "DE89370400440532013000",
    "GB29 NWBK 6016 1331 9268 19", "4111 1111 1111 1111", "5555555555554444",
]  # fmt: skip


def strings_of(value) -> str:
    return value.to_csv() if isinstance(value, pd.DataFrame) else str(value)


def test_no_contact_data_in_anything_that_voice_gives(tmp_path, monkeypatch):
    monkeypatch.setenv(RUN_FOLDER, str(tmp_path))
    around = ["The delivery was late, call {} please.", "Dostawa byla spozniona, kontakt {} prosze."]
    around += ["Доставка опоздала, мой номер {} жду."]
    said = [a.format(c) for c in CONTACTS for a in around for _ in range(4)]  # everybody's stands in several texts
    n, rng = len(said), np.random.default_rng(1)
    table = pd.DataFrame({"said": said, "score": rng.choice([0, 3, 9, 10], n)})
    table = table.assign(asked="2025-01-01", done="2025-01-04")
    own, options = {"prices": {"en": ["please"]}}, dict(text="said")
    tagged = cx.tag_topics(table, **options)
    found = {
        "topics": tagged,
        "impact": cx.topic_impact(table, score="score", n_boot=20, seed=1, **options),
        "tone": cx.tone_of_texts(table, score="score", seed=1, **options),
        "words": cx.distinctive_words(table.assign(side=table["score"] > 5), group="side", min_persons=2, **options),
        "free": cx.free_topics(table, taxonomy=own, counts=[2], min_rows=50, seed=1, **options),
        "loop": cx.closed_loop(table, score="score", asked="asked", followed_up="done"),
    }
    out = [strings_of(tagged.quotes(each=500)), strings_of(cx.coding_sheet(table, n=n, seed=1, **options))]
    for name, finding in found.items():
        cx.save(finding, name=name)  # tables, sentence, summary and checks
        out += map(strings_of, finding.tables().values())
    texts = read_texts(table, "said")
    out += [*texts.texts, *texts.words, *(f.read_text(encoding="utf-8") for f in tmp_path.rglob("*.*"))]
    assert len(list(tmp_path.rglob("*.json"))) == len(found)
    told = "\n".join(out)
    parts = {p for c in CONTACTS for p in [c, c.replace(" ", ""), *re.findall(r"[\w.]+@|\d{5,}", c)]}
    assert not [p for p in sorted(parts) if p in told]
    assert all(not any(ch.isdigit() for ch in t) for t in texts.texts)
