"""Comments in English, Polish and Russian, put together from a topic and a tone. No names, no contact data.

The words stand in ``verbatims.json``: language -> topic -> good, good, bad, bad (clauses that can stand alone or be
joined by "but"), what joins them, closing words by tone, and comments that say nothing.
"""

import json
from importlib.resources import files

import numpy as np

UNINFORMATIVE_SHARE = 0.06
_WORDS = json.loads(files(__package__).joinpath("verbatims.json").read_text(encoding="utf-8"))
CLAUSES, JOINED_BY, CLOSING, UNINFORMATIVE = (_WORDS[k] for k in ("clauses", "joined_by", "closing", "uninformative"))


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
