"""Comments in English, Polish and Russian, put together from a topic and a tone. No names.

The words stand in ``verbatims.json``: language -> topic -> good, good, bad, bad (clauses that can stand alone or be
joined by "but"), what joins them, closing words by tone, and comments that say nothing.
"""

import json
from importlib.resources import files

import numpy as np
import pandas as pd

UNINFORMATIVE_SHARE = 0.06
MARKS = ("neutral", "misspelt", "contact_data")
_WORDS = json.loads(files(__package__).joinpath("verbatims.json").read_text(encoding="utf-8"))
CLAUSES, JOINED_BY, CLOSING, UNINFORMATIVE = (_WORDS[k] for k in ("clauses", "joined_by", "closing", "uninformative"))
NEUTRAL, CONTACT_DATA = _WORDS["neutral"], _WORDS["contact_data"]
PLAIN_LETTERS = str.maketrans("ąćęłńóśźżĄĆĘŁŃÓŚŹŻёЁ", "acelnoszzACELNOSZZеЕ")


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


def marked(rows: pd.DataFrame, *, planted, rng) -> pd.DataFrame:
    """Add what a comment that says something also is (`MARKS`): `neutral` names a topic and does not judge it."""
    n, topics = len(rows), np.array(list(NEUTRAL["en"]))
    said = ~rows["comment_tone"].isin(("", "none")).to_numpy()
    drawn = {name: said & (rng.random(n) < planted[f"{name}_share"]) for name in MARKS}
    topic = topics[rng.integers(0, len(topics), size=n)]
    judged = (topic == rows["comment_best"].to_numpy()) | (topic == rows["comment_worst"].to_numpy())
    drawn["neutral"] = np.where(drawn["neutral"] & ~judged, topic, "")
    return rows.assign(**{f"comment_{name}": mark for name, mark in drawn.items()})


def disturb(text: str, language: str, neutral: str, misspelt: bool, contact_data: bool, *, rng) -> str:
    """Return a comment as it was typed; a misspelt one lacks the marks of its letters, or changes two about."""
    if neutral:
        mention = NEUTRAL[language][neutral]
        text = f"{mention[0].upper()}{mention[1:]}. {text}"
    if misspelt and text == (text := text.translate(PLAIN_LETTERS)):
        at = rng.choice([i for i in range(1, len(text) - 1) if text[i : i + 2].isalpha()])
        text = text[:at] + text[at + 1] + text[at] + text[at + 2 :]
    place = int(rng.integers(100_000, 999_999)) if contact_data else 0
    return f"{text} {CONTACT_DATA[language].format(place=place)}" if contact_data else text
