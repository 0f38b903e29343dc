"""Comments in English, Polish and Russian, put together from a topic and a tone. No names, no contact data."""

import numpy as np

TONES = ("positive", "mixed", "negative")
UNINFORMATIVE_SHARE = 0.06

# language -> topic -> (good, good, bad, bad): clauses that can stand alone or be joined by "but".
CLAUSES = {
    "en": {
        "products": ("the range of plants is excellent", "I always find what I need",
                     "half of what I wanted was sold out", "the garden chair broke after two weeks"),
        "prices": ("the prices are fair", "good value for money",
                   "everything has become too expensive", "the price at the till was higher than on the shelf"),
        "magazine": ("the magazine is full of ideas", "I enjoy reading the magazine",
                     "the magazine goes straight into the bin", "too many leaflets in my letterbox"),
        "staff": ("the staff gave me patient advice", "friendly people in the shop",
                  "nobody in the shop had time for me", "the staff were rude at the counter"),
        "website": ("the website is easy to use", "ordering online took two minutes",
                    "the website kept logging me out", "I could not find the lamps on the website"),
        "delivery": ("the parcel came a day early", "delivery was quick and careful",
                     "the delivery came a week late", "the driver left the parcel in the rain"),
        "returns_service": ("returning a lamp was no trouble at all", "the refund came the next day",
                            "I waited three weeks for my refund", "sending things back is complicated"),
        "support": ("the helpline solved it at once", "support called back as promised",
                    "I was passed from one desk to the next", "support never answered my message"),
    },
    "pl": {
        "products": ("wybór roślin jest świetny", "zawsze znajduję to, czego szukam",
                     "połowy rzeczy nie było na półce", "krzesło ogrodowe pękło po dwóch tygodniach"),
        "prices": ("ceny są uczciwe", "dobry stosunek jakości do ceny",
                   "wszystko bardzo podrożało", "cena w kasie była wyższa niż na półce"),
        "magazine": ("magazyn jest pełen pomysłów", "lubię czytać wasz magazyn",
                     "magazyn od razu ląduje w koszu", "za dużo ulotek w skrzynce"),
        "staff": ("obsługa cierpliwie mi doradziła", "mili ludzie w sklepie",
                  "nikt w sklepie nie miał dla mnie czasu", "obsługa przy kasie była nieuprzejma"),
        "website": ("strona jest bardzo wygodna", "zamówienie w internecie zajęło dwie minuty",
                    "strona ciągle mnie wylogowywała", "na stronie trudno było znaleźć lampy"),
        "delivery": ("paczka przyszła dzień wcześniej", "dostawa szybka i staranna",
                     "dostawa spóźniła się o tydzień", "kurier zostawił paczkę na deszczu"),
        "returns_service": ("zwrot lampy poszedł bez problemu", "pieniądze oddano następnego dnia",
                            "na zwrot pieniędzy czekam trzy tygodnie", "odsyłanie rzeczy jest skomplikowane"),
        "support": ("infolinia pomogła od razu", "oddzwonili tak, jak obiecali",
                    "odsyłano mnie od okienka do okienka", "nikt nie odpowiedział na moją wiadomość"),
    },
    "ru": {
        "products": ("отличный выбор растений", "всегда нахожу то, что нужно",
                     "половины товаров не было в наличии", "садовый стул сломался через две недели"),
        "prices": ("цены справедливые", "хорошее качество за свои деньги",
                   "всё очень подорожало", "цена на кассе оказалась выше, чем на полке"),
        "magazine": ("в журнале много идей", "мне нравится читать ваш журнал",
                     "журнал сразу идёт в мусор", "слишком много листовок в ящике"),
        "staff": ("продавцы терпеливо помогли советом", "приветливые люди в магазине",
                  "в магазине ни у кого не было на меня времени", "на кассе мне нагрубили"),
        "website": ("сайт очень удобный", "заказ на сайте занял две минуты",
                    "сайт всё время выбрасывал меня", "на сайте трудно найти лампы"),
        "delivery": ("посылка пришла на день раньше", "доставка быстрая и аккуратная",
                     "доставка опоздала на неделю", "курьер оставил посылку под дождём"),
        "returns_service": ("лампу вернули без проблем", "деньги вернули на следующий день",
                            "жду возврата денег три недели", "отправить товар обратно очень сложно"),
        "support": ("служба поддержки сразу решила вопрос", "мне перезвонили, как обещали",
                    "меня переключали с одного отдела на другой", "поддержка так и не ответила на сообщение"),
    },
}  # fmt: skip
JOINED_BY = {"en": ", but ", "pl": ", ale ", "ru": ", но "}
CLOSING = {
    "en": {"positive": ("", " Thank you!", " I will come again."), "mixed": ("",),
           "negative": ("", " Very disappointing.", " I expect better.")},
    "pl": {"positive": ("", " Dziękuję!", " Na pewno wrócę."), "mixed": ("",),
           "negative": ("", " Bardzo mnie to rozczarowało.", " Oczekuję czegoś więcej.")},
    "ru": {"positive": ("", " Спасибо!", " Обязательно приду ещё."), "mixed": ("",),
           "negative": ("", " Большое разочарование.", " Хотелось бы лучшего.")},
}  # fmt: skip
UNINFORMATIVE = {
    "en": ("nothing", "ok", "no comment"),
    "pl": ("brak", "nie wiem", "ok"),
    "ru": ("нет", "не знаю", "ничего"),
}


def tone_of(satisfaction: np.ndarray) -> np.ndarray:
    """Return the tone of a comment: positive from 6, negative up to 4, mixed between."""
    return np.select([satisfaction >= 6, satisfaction <= 4], ["positive", "negative"], "mixed")


def compose(language: str, tone: str, best: str, worst: str, *, rng) -> str:
    """Return one comment: on the best-rated driver, on the worst, or on both where the tone is mixed."""
    if tone == "none":
        return str(rng.choice(UNINFORMATIVE[language]))
    good, bad = CLAUSES[language][best][rng.integers(0, 2)], CLAUSES[language][worst][rng.integers(2, 4)]
    text = {"positive": good, "negative": bad, "mixed": good + JOINED_BY[language] + bad}[tone]
    return text[0].upper() + text[1:] + "." + str(rng.choice(CLOSING[language][tone]))
