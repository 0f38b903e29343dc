"""Free texts as words and clauses: redacted, in a known language, the ones that say nothing counted apart.

A clause ends at a full stop, a question mark, a semicolon or a word such as *but*: praise and complaint often share a
sentence, and what is said of a topic is said in its clause.
"""

import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from itertools import chain
from pathlib import Path

import numpy as np
import pandas as pd
import yaml

from cxresearch.errors import DataProblem, TooFewRespondents, require_columns
from cxresearch.findings import number
from cxresearch.privacy import redact
from cxresearch.survey import Survey

LANGUAGES = ("en", "pl", "ru")
UNDECIDED = "undecided"
NAMES = {"english": "en", "angielski": "en", "английский": "en", "polish": "pl", "polski": "pl", "польский": "pl",
         "russian": "ru", "rosyjski": "ru", "русский": "ru"}  # fmt: skip
TOKEN = re.compile(r"[^\W_]+(?:['’-][^\W_]+)*|[.!?;:…\n]+")
CYRILLIC, POLISH = re.compile(r"[а-яё]"), re.compile(r"[ąćęłńóśźż]")
SHORT = 2  # words: a text without a topic that has no more says nothing
LONG = 5  # words: two people do not write the same text of so many by chance


@cache
def word_lists() -> dict:
    """Return the words of each language: functions, negators, turns, praise, complaint, and texts that say nothing."""
    return yaml.safe_load((Path(__file__).parent / "words.yml").read_text(encoding="utf-8"))


def folded(text: str) -> str:
    """Return a text as words are compared: lower case, without accents (people leave them out), ё as е."""
    plain = unicodedata.normalize("NFKD", text.lower().replace("ł", "l"))
    return "".join(c for c in plain if not unicodedata.combining(c))


def globs(patterns: Sequence[str]) -> re.Pattern:
    """Return one expression for words of which any pattern (``*`` stands for the rest of a word) is true."""
    parts = [re.escape(folded(p)).replace(r"\*", r"\w*") for p in patterns]
    return re.compile("|".join(parts) or r"(?!)")


@dataclass(frozen=True, eq=False)
class Texts:
    """The texts of a survey, one row each, and their words one after the other."""

    survey: Survey
    texts: np.ndarray  # (N,) redacted, None where there is none
    language: np.ndarray  # (N,) en, pl, ru, undecided
    row: np.ndarray  # (m,) text of each word
    clause: np.ndarray  # (m,) number of its clause, running through all texts
    word: np.ndarray  # (m,) position in `words`
    words: np.ndarray  # (v,) distinct words, folded

    @cached_property
    def given(self) -> np.ndarray:
        """Which rows hold a text, (N,)."""
        return pd.notna(self.texts)

    @cached_property
    def length(self) -> np.ndarray:
        """Words of each text, (N,)."""
        return np.bincount(self.row, minlength=len(self.texts))

    @cached_property
    def empty(self) -> np.ndarray:
        """Which texts say nothing by themselves, such as "no comment", (N,)."""
        said = {folded(text) for lists in word_lists().values() for text in lists["nothing"]}
        plain = (" ".join(re.findall(r"[^\W_]+", folded(text))) if text else "" for text in self.texts)
        return np.array([text in said or not text for text in plain]) & self.given

    @cached_property
    def repeated(self) -> pd.DataFrame:
        """Texts of five words or more that stand in several rows: ``category`` (the text), ``n``; most frequent first."""
        long = pd.Series(self.texts)[self.given & (self.length >= LONG)]
        counts = long.value_counts()
        found = counts[counts > 1].rename_axis("category").reset_index(name="n")
        return found.sort_values(["n", "category"], ascending=[False, True], ignore_index=True)

    def flags(self, kind: str) -> np.ndarray:
        """Return which words are of a kind in the language of their text, (m,); without a language in any."""
        hit = {code: self._matches(tuple(lists[kind])) for code, lists in word_lists().items()}
        return self.by_language(hit)

    def by_language(self, hit: dict) -> np.ndarray:
        """Return (m, ...) flags of words from those of the vocabulary in each language, (v, ...)."""
        spoken = self.language[self.row]
        found = np.logical_or.reduce([flags for flags in hit.values()])[self.word]
        for code, flags in hit.items():
            at = spoken == code
            found[at] = flags[self.word[at]]
        return found

    def _matches(self, patterns) -> np.ndarray:
        return matches(self.words, patterns)

    @cached_property
    def tone(self) -> np.ndarray:
        """Tone of each clause, (c,): above zero is praise, below complaint; a negator within two words turns it."""
        turned = self.flags("negators")
        tone = self.flags("praise").astype(float) - self.flags("complaint")
        near = np.zeros(len(turned), dtype=bool)
        for back in (1, 2):
            near[back:] |= turned[:-back] & (self.clause[back:] == self.clause[:-back])
        tone[near] *= -1
        return np.bincount(self.clause, tone, minlength=self.clauses)

    @property
    def clauses(self) -> int:
        return int(self.clause[-1]) + 1 if len(self.clause) else 0

    @cached_property
    def row_of_clause(self) -> np.ndarray:
        found = np.zeros(self.clauses, dtype=np.int64)
        found[self.clause] = self.row
        return found


def matches(words: np.ndarray, patterns) -> np.ndarray:
    """Return which words match one of the patterns, (v,)."""
    whole = globs(patterns).fullmatch
    return np.fromiter((whole(word) is not None for word in words), dtype=bool, count=len(words))


def read_texts(survey: Survey, text: str, *, language: str | None = None) -> Texts:
    """Return the texts of a column, redacted, in words and clauses.

    Raises
    ------
    DataProblem
        The column is absent, holds no text, or `language` holds a value that is none of the three languages.
    """
    table = survey.table
    require_columns(table, text, language, where="responses")
    clean = redact(table[text].map(_plain, na_action="ignore"))
    texts = clean.texts.where(clean.texts.notna() & (clean.texts != ""), None).to_numpy(dtype=object)
    if not pd.notna(texts).any():
        raise DataProblem(f"{text} holds no text in any of {len(table)} rows; name the column that holds comments")
    lower = [t.lower() if t else "" for t in texts]
    tokens = [TOKEN.findall(t) for t in lower]
    row = np.repeat(np.arange(len(tokens)), [len(t) for t in tokens])
    word, words = pd.factorize(np.fromiter(chain.from_iterable(tokens), dtype=object, count=len(row)))
    plain = np.array([folded(w) for w in words], dtype=object)
    code, vocabulary = pd.factorize(plain)
    stop = np.array([not w[:1].isalnum() for w in vocabulary])[code][word]
    turns = matches(vocabulary, tuple(chain.from_iterable(x["turns"] for x in word_lists().values())))[code][word]
    new = np.append(True, row[1:] != row[:-1])
    clause = np.cumsum(new | np.append(False, stop[:-1]) | turns) - 1
    said = ~stop
    parts = dict(row=row[said], clause=pd.factorize(clause[said])[0], word=code[word][said], words=vocabulary)
    spoken = _declared(table, language) if language else _spoken(lower, **parts)
    return Texts(survey, texts, spoken, **parts)


def require_texts(count: int, least: int, who: str, what: str = "texts that say something") -> None:
    """Refuse to say anything of fewer than `least`."""
    if count < least:
        raise TooFewRespondents(f"{who} needs at least {least} {what}; found {count}")


def _plain(value) -> str:
    return re.sub(r"[\u200b-\u200f\u2060\ufeff]", "", unicodedata.normalize("NFC", str(value))).strip()


def _declared(table, language: str) -> np.ndarray:
    """Return the language of each row as a column says it."""
    values = table[language].map(_plain, na_action="ignore").str.lower()
    known = values.str.extract(r"^([a-z]{2})(?:[-_][a-z]+)?$")[0]
    code = known.where(known.isin(LANGUAGES), values.map(NAMES)).where(values.notna(), UNDECIDED)
    if code.isna().any():
        found = sorted(values[code.isna()].unique())
        raise DataProblem(
            f"{language} holds {', '.join(map(repr, found[:3]))} ({number(int(code.isna().sum()), 0)} rows, first: row "
            f"{int(np.argmax(code.isna()))}); known are en, pl, ru: recode it, or leave the language out to have it told"
        )
    return code.to_numpy(dtype=object)


def _spoken(lower: list[str], row, word, words, clause) -> np.ndarray:
    """Return the language of each text: by script, by letters, by words that only one language has."""
    cyrillic = np.array([CYRILLIC.search(t) is not None for t in lower])
    polish = np.array([POLISH.search(t) is not None for t in lower])
    votes = [np.bincount(row, matches(words, tuple(word_lists()[code]["functions"]))[word], minlength=len(lower))
             for code in ("en", "pl")]  # fmt: skip
    return np.select(
        [cyrillic, polish, votes[0] > votes[1], votes[1] > votes[0]], ["ru", "pl", "en", "pl"], UNDECIDED
    ).astype(object)
