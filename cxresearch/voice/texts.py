"""Free texts as words, clauses, tone and topics: redacted first, in a known language, what says nothing counted apart.

A pattern is one to three words in a row; ``*`` at the end of a word stands for the rest of it, alone for up to three
words of the same clause (*take * back*). Words are compared in lower case, without accents and apostrophes. A clause
ends at a stop or *but*, its parts at a comma or *and*; what has no tone in its part has that of its clause.
"""

import re
import unicodedata
from bisect import bisect_left
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache, cached_property
from itertools import chain
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import yaml

from cxresearch.errors import DataProblem, require_columns
from cxresearch.findings import words as words_of
from cxresearch.privacy import redact
from cxresearch.survey import Survey, as_survey

say = words_of(__package__)

LANGUAGES = ("en", "pl", "ru", "undecided")
NAMES = {"english": "en", "angielski": "en", "английский": "en", "polish": "pl", "polski": "pl", "польский": "pl"}
NAMES |= {"russian": "ru", "rosyjski": "ru", "русский": "ru"}
KEYS = ("label", "en", "pl", "ru", "en_weak", "pl_weak", "ru_weak", "not")
PATTERN = re.compile(r"(?=.*\w.*\w)\w+\*?(?: (?:\* )?\w+\*?){0,2}")
TOKEN = re.compile(r"[^\W_]+(?:['’`][^\W_]+)*|[:;]-?(?:[()]|d\b)|[.!?;:…\n]+|,|[☹☺❤\U0001f300-\U0001faff]")
NO_WORDS = r"\[[\p{L}\p{N}_ -]+\]|<[^<>]{1,200}>|&#?\w+;"  # what stands for what was taken out, markup (RE2)
APART = 4  # how far a word may stand from the one before ``*``
SHORT, LONG = 2, 5  # words: no more say nothing without a topic; so many are not the same in two texts by chance
SKIPPED, STOP, COMMA, TURN, JOIN, NEGATOR, REPORT = range(2, 9)  # kinds of words beside praise 1, complaint -1, none 0
# More words win, then longer ones, then a later list.
KINDS = dict(functions=SKIPPED, intensifiers=SKIPPED, joins=JOIN, turns=TURN, reports=REPORT, negators=NEGATOR)
KINDS |= dict(praise=1, complaint=-1, neutral=0)


def folded(text: str) -> str:
    """Return a word or pattern as they are compared: *Późno* as pozno, *sooo* as so, *don't* as dont, ё as е."""
    plain = unicodedata.normalize("NFKD", text.lower().replace("ł", "l").replace("-", " "))
    plain = "".join(c for c in plain if not unicodedata.combining(c) and c not in "'’`")
    return re.sub(r"([^\Ww])\1{2,}", r"\1", plain)


def _listed(patterns) -> list:
    """Return the patterns of a list, or of a text with commas between them, folded."""
    patterns = patterns.split(",") if isinstance(patterns, str) else patterns or ()
    return [folded(p).strip() if isinstance(p, str) else p for p in patterns]


@cache
def word_lists() -> dict[str, dict[str, list[str]]]:
    """Return the words of each language: what tells it, what turns, praises and complains, and what says nothing."""
    lists = _shipped_words()
    return {code: {kind: _listed(words) for kind, words in lists[code].items()} for code in LANGUAGES[:3]}


@cache
def _shipped_words() -> dict[str, dict]:
    return yaml.safe_load(Path(__file__).with_name("words.yml").read_text(encoding="utf-8"))


@cache
def shipped() -> dict[str, dict]:
    """Return the taxonomy of the package."""
    return read_taxonomy(Path(__file__).with_name("taxonomy.yml"))


def read_taxonomy(taxonomy) -> dict[str, dict]:
    """Return the taxonomy of a mapping or a file; refused where it is none."""
    where = Path(taxonomy).name if isinstance(taxonomy, (str, Path)) else "the taxonomy"
    try:
        if isinstance(taxonomy, (str, Path)):
            taxonomy = yaml.safe_load(Path(taxonomy).read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as problem:
        known = dict(where=where, problem=type(problem).__name__, keys=", ".join(KEYS))
        raise DataProblem(say("unreadable", **known)) from problem
    say.refuse_if(not isinstance(taxonomy, Mapping) or not taxonomy, "no_topics", where=where)
    found = {}
    for topic, entry in taxonomy.items():
        at, mapped = dict(where=where, topic=topic), isinstance(entry, Mapping)
        has = ", ".join(map(repr, sorted(map(str, entry)))) if mapped else repr(entry)
        say.refuse_if(not mapped or not set(entry) <= set(KEYS), "no_entry", **at, keys=", ".join(KEYS), has=has)
        patterns = {key: _listed(entry.get(key)) for key in KEYS[1:]}
        say.refuse_if(not any(patterns[key] for key in KEYS[1:-1]), "no_patterns", **at)
        for pattern in chain.from_iterable(patterns.values()):
            fits = isinstance(pattern, str) and PATTERN.fullmatch(pattern)
            say.refuse_if(not fits, "no_pattern", **at, pattern=pattern)
        found[str(topic)] = {"label": str(entry.get("label") or topic)} | patterns
    return found


@dataclass(frozen=True, eq=False)
class Texts:
    """The texts of a survey, and their tokens (words, stops and commas) one after the other."""

    survey: Survey
    taxonomy: Mapping[str, Mapping]
    texts: np.ndarray  # (N,) redacted, None where there is none
    code: np.ndarray  # (N,) which of `LANGUAGES`
    row: np.ndarray  # (m,) text of each token
    word: np.ndarray  # (m,) position in `words`
    words: list[str]  # (v,) distinct tokens, folded, in order

    @cached_property
    def _order(self) -> tuple[np.ndarray, np.ndarray]:
        """Return tokens by word, and where those of each word begin, (v + 1,)."""
        order = np.argsort(self.word, kind="stable")
        return order, np.searchsorted(self.word[order], np.arange(len(self.words) + 1))

    def _span(self, part: str) -> tuple[int, int]:
        """Return which of the words a word of a pattern matches: from, and up to."""
        stem = part.rstrip("*")
        return bisect_left(self.words, stem), bisect_left(self.words, stem + ("\U0010ffff" if part != stem else "\0"))

    @cached_property
    def _run(self) -> np.ndarray:
        """Number of the words in a row, without a stop or comma, to which each token belongs, (m,)."""
        return np.cumsum(np.append(True, self.row[1:] != self.row[:-1]) | ~self.spelled[self.word])

    def at(self, pattern: str, language: str | None = None) -> np.ndarray:
        """Return the tokens at which a pattern begins: of texts in a language, or in none that is known."""
        parts = pattern.replace(" * ", " ~").split(" ")
        (low, high), *rest = spans = [self._span(part.lstrip("~")) for part in parts]
        if any(low == high for low, high in spans):
            return np.empty(0, dtype=np.int64)
        order, start = self._order
        found = last = order[start[low] : start[high]]
        for part, (low, high) in zip(parts[1:], rest):
            near = np.minimum(last[:, None] + 1 + np.arange(APART if part[0] == "~" else 1), len(self.word) - 1)
            fits = (self._run[near] == self._run[last][:, None]) & (near > last[:, None])
            fits &= (self.word[near] >= low) & (self.word[near] < high)
            kept = fits.any(axis=1)
            found, last = found[kept], near[kept, fits[kept].argmax(axis=1)]
        spoken = self.code[self.row[found]]
        return found if language is None else found[(spoken == LANGUAGES.index(language)) | (spoken == 3)]

    @cached_property
    def kind(self) -> np.ndarray:
        """What each token does in its clause, (m,): one of the kinds above."""
        found = np.zeros(len(self.word), dtype=np.int8)
        for code, lists in word_lists().items():
            listed = [(pattern, kind) for name, kind in KINDS.items() for pattern in lists[name]]
            for pattern, kind in sorted(listed, key=lambda entry: (entry[0].count(" "), len(entry[0].rstrip("*")))):
                at = self.at(pattern, code)
                for step in range(pattern.count(" "), -1, -1):
                    found[at + step] = SKIPPED if step else kind
        mark = np.array([w[0] in ".!?;:…\n" and w[-1] not in "()d" for w in self.words])[self.word]
        comma = np.array([w == "," for w in self.words])[self.word]
        return np.select([mark, comma], [STOP, COMMA], found)

    @cached_property
    def part(self) -> np.ndarray:
        """Number of the part of each token, (m,), running through all texts."""
        return self._pieces((STOP, COMMA), (TURN, JOIN))

    @cached_property
    def clause(self) -> np.ndarray:
        """Number of the clause of each part, (p,)."""
        return self._pieces((STOP,), (TURN,))[np.append(True, np.diff(self.part) > 0)]

    def _pieces(self, after, before) -> np.ndarray:
        new, ended = np.append(True, self.row[1:] != self.row[:-1]), np.append(False, np.isin(self.kind[:-1], after))
        return np.cumsum(new | ended | np.isin(self.kind, before)) - 1

    @cached_property
    def tone(self) -> np.ndarray:
        """Tone of each part, (p,): above zero is praise, below complaint; of its clause where it has none of its own.

        A negator turns the next two words that count; alone it complains, unless a report follows (*I did not order*).
        """
        counts = np.flatnonzero(~np.isin(self.kind, (SKIPPED, STOP, COMMA, JOIN, TURN)))
        kind, part = self.kind[counts], self.part[counts]
        tone, negator = np.where(abs(kind) == 1, kind, 0), kind == NEGATOR
        turned, idle = np.zeros(len(kind), dtype=bool), negator.copy()
        for step in (1, 2):
            near = negator[:-step] & (part[step:] == part[:-step])
            turned[step:] |= near
            idle[:-step] &= ~(near & ((tone[step:] != 0) | (kind[step:] == REPORT)))
        tone = np.where(idle, -1, np.where(turned, -tone, tone))
        own = np.bincount(part, tone, minlength=self.part[-1] + 1)
        return np.where(own != 0, own, np.bincount(self.clause, own)[self.clause])

    @cached_property
    def hits(self) -> np.ndarray:
        """Which tokens speak of each topic, (m, K): weak ones where nothing else does (docs/methods.md, Voice)."""
        found, weak = np.zeros((2, len(self.word), len(self.taxonomy)), dtype=bool)
        for k, entry in enumerate(self.taxonomy.values()):
            for code in LANGUAGES[:3]:
                for held, key in ((found, code), (weak, f"{code}_weak")):
                    for pattern in entry[key]:
                        held[self.at(pattern, code), k] = True
            for pattern in entry["not"]:
                at = (self.at(pattern)[:, None] + np.arange(pattern.count(" ") + 1)).ravel()
                found[at[at < len(found)], k] = weak[at[at < len(found)], k] = False
        (at, topic), k = np.nonzero(found), len(self.taxonomy)
        said = np.bincount(self.part[at] * k + topic, minlength=k * (self.part[-1] + 1)).reshape(-1, k)
        found[at, topic] = 2 * said[self.part[at], topic] > said.max(axis=1)[self.part[at]]
        told = said.any(axis=1)
        there = np.bincount(self.clause, np.where(told, self.tone, 0))[self.clause]
        told |= (np.bincount(self.clause, told) > 0)[self.clause] & (there * self.tone >= 0)
        at = np.flatnonzero(weak.any(axis=1) & ~told[self.part])
        _, first, place = np.unique(self.part[at], return_index=True, return_inverse=True)
        found[at] |= weak[at] & weak[at[first]][place]
        return found

    def mentioned(self, tone: str = "any") -> np.ndarray:
        """Return which texts have each topic, (N, K): at all, or in a part that praises, complains, or does neither."""
        sign = {"negative": -1, "neutral": 0, "positive": 1}.get(tone)
        at, topic = np.nonzero(self.hits)
        fits = np.ones(len(at), dtype=bool) if sign is None else np.sign(self.tone[self.part[at]]) == sign
        found = np.zeros((len(self.texts), len(self.taxonomy)), dtype=bool)
        found[self.row[at[fits]], topic[fits]] = True
        return found

    @cached_property
    def spelled(self) -> np.ndarray:
        """Which of the words are words, not marks, (v,)."""
        return np.array([w[:1].isalnum() for w in self.words], dtype=bool)

    @cached_property
    def length(self) -> np.ndarray:
        """Words of each text, (N,)."""
        return np.bincount(self.row, self.spelled[self.word], minlength=len(self.texts)).astype(int)

    @cached_property
    def given(self) -> np.ndarray:
        return pd.notna(self.texts)

    @cached_property
    def says(self) -> np.ndarray:
        """Which texts say something, (N,): not "no comment", and more than two words or a topic."""
        nothing = {said for lists in word_lists().values() for said in lists["nothing"]}
        short = [folded(text or "") for text in np.where(self.length <= LONG, self.texts, "")]
        empty = np.array([" ".join(re.findall(r"[^\W_]+", text)) in nothing for text in short]) | (self.length == 0)
        return self.given & ~empty & ((self.length > SHORT) | self.mentioned().any(axis=1))

    @cached_property
    def repeated(self) -> pd.Series:
        """How often each text of five words or more stands that stands in several rows, by text."""
        counts = pd.Series(self.texts)[self.length >= LONG].value_counts()
        return counts[counts > 1]

    @property
    def labels(self) -> dict[str, str]:
        """Words for the survey's items and for topics."""
        topics = {topic: entry["label"] for topic, entry in self.taxonomy.items()}
        return dict(self.survey.labels) | topics | {"other": "Other"}

    def table_of(self, at: np.ndarray) -> pd.DataFrame:
        """Return one row per word of some texts, (N,) bool: ``row``, ``word``, ``language``, without function words."""
        ordinary = [w for lists in word_lists().values() for w in lists["functions"]]
        kept = (self.spelled & ~np.isin(self.words, ordinary))[self.word] & at[self.row]
        row, words = self.row[kept], np.array(self.words, dtype=object)[self.word[kept]]
        return pd.DataFrame({"row": row, "word": words, "language": np.array(LANGUAGES)[self.code[row]]})


def read_texts(responses, text: str, *, language: str | None = None, taxonomy=None) -> Texts:
    """Return the texts of a column, redacted, in words; refused where column, language or taxonomy make no sense."""
    survey = as_survey(responses)
    say.refuse_if(text is None, "no_column")
    require_columns(survey.table, text, language, where="responses")
    clean = redact(_plain(survey.table[text])).texts
    said = clean.notna() & (clean != "") & (survey.weights(asked=False) != 0)
    texts = clean.where(said, None).to_numpy(dtype=object)
    say.refuse_if(not pd.notna(texts).any(), "no_text", text=text, n=len(texts))
    plain = pc.replace_substring_regex(pa.array(texts, pa.string()), NO_WORDS, " ")
    declared = None if language is None else _declared(survey, language)
    pieces = pc.split_pattern(_in_own_letters(plain, declared), " ")
    distinct = pc.list_flatten(pieces).dictionary_encode()
    tokens = [TOKEN.findall(piece.lower()) for piece in distinct.dictionary.to_pylist()]
    size, piece = np.array([len(t) for t in tokens], dtype=int), distinct.indices.to_numpy()
    code, raw = pd.factorize(np.array(list(chain.from_iterable(tokens)), dtype=object))
    row = np.repeat(pc.list_parent_indices(pieces).to_numpy(), size[piece])
    shift = (np.cumsum(size) - size)[piece] - (np.cumsum(size[piece]) - size[piece])
    code = code[np.repeat(shift, size[piece]) + np.arange(len(row))]
    words, place = np.unique(np.array([folded(w) for w in raw], dtype=object), return_inverse=True)
    spoken = np.full(len(texts), 3)
    topics = shipped() if taxonomy is None else read_taxonomy(taxonomy)
    found = Texts(survey, topics, texts, spoken, row, place[code], words.tolist())
    script = [4 if re.search("[а-яё]", w) else 2 if re.search("[ąćęłńóśźż]", w) else 0 for w in raw]
    spoken[:] = _told(found, np.array(script, dtype=int)[code]) if declared is None else declared
    if taxonomy is not None:
        _require_sense(found)
    return found


def require_texts(count: int, least: int, who: str, what: str = "texts that say something") -> None:
    """Refuse to say anything of fewer than `least`."""
    say.refuse_if(count < least, "few_texts", who=who, least=least, what=what, n=count)


def _plain(values: pd.Series) -> pd.Series:
    """Return texts in composed letters, without signs of no width and blanks around."""
    texts = values.map(lambda value: unicodedata.normalize("NFC", str(value)), na_action="ignore").astype("str")
    return texts.str.replace("[\u200b-\u200f\u2060\ufeff]", "", regex=True).str.strip()


def _in_own_letters(texts: pa.Array, declared: np.ndarray | None) -> pa.Array:
    """Return texts with Russian in Latin letters written in its own: told by signs, ruled out by words of others."""
    latin = _shipped_words()["latin"]
    words, runs, others = (latin[key].replace(", ", "|") for key in ("words", "runs", "others"))
    signs = pc.count_substring_regex(texts, rf"(?i)\b(?:{words})\b|{runs}")
    against = pc.count_substring_regex(texts, rf"(?i)\b(?:{others})\b|[ąćęłńóśźż]")
    russian = pc.greater(signs, pc.add(pc.multiply(against, 3), 1))
    if declared is not None:
        russian = pc.and_not(russian, pa.array(declared < 2))
    said = (re.sub("(?<=[aeou])y(?![aeou])", "й", text.lower()) for text in texts.filter(russian).to_pylist())
    own = [re.sub("|".join(latin["letters"]), lambda letters: latin["letters"][letters[0]], text) for text in said]
    return pc.replace_with_mask(texts, russian, pa.array(own, pa.string()))


def _told(texts: Texts, script: np.ndarray) -> np.ndarray:
    """Return the language of each text: by script, by letters that only Polish has, by words that one language has."""
    votes = np.zeros((2, len(texts.texts)), dtype=int)
    for vote, code in zip(votes, LANGUAGES):
        known = np.zeros(len(texts.words), dtype=bool)
        for pattern in chain.from_iterable(word_lists()[code].values()):
            known[slice(*texts._span(pattern))] = True
        vote += np.bincount(texts.row, known[texts.word], minlength=len(vote)).astype(int)
    best = np.zeros(len(texts.texts), dtype=int)
    np.maximum.at(best, texts.row, script)
    return np.select([best == 4, best == 2, votes[0] > votes[1], votes[1] > votes[0]], [2, 1, 0, 1], 3)


def _declared(survey: Survey, language: str) -> np.ndarray:
    """Return the language of each row as a column says it."""
    values = _plain(survey.table[language]).str.lower()
    found = values.str.replace(r"[-_].*", "", regex=True).replace(NAMES).where(values.notna(), LANGUAGES[3])
    found = found.where(found.isin(LANGUAGES))
    strange = found.isna().to_numpy()
    said = ", ".join(map(repr, sorted(values[strange].unique())[:3]))
    say.refuse_if(strange.any(), "no_language", column=language, said=said, n=strange.sum(), row=np.argmax(strange))
    return found.map(LANGUAGES.index).to_numpy()


def _require_sense(texts: Texts) -> None:
    """Refuse a taxonomy of one's own with a pattern that takes a third of all words, or a topic that takes none."""
    everything = max(int(texts.length.sum()), 1)
    for k, (topic, entry) in enumerate(texts.taxonomy.items()):
        for pattern in chain.from_iterable(entry[key] for key in KEYS[1:-1]):
            share = len(texts.at(pattern)) / everything
            say.refuse_if(share >= 1 / 3, "takes_all", topic=topic, pattern=pattern, share=share)
        say.refuse_if(not texts.hits[:, k].any(), "takes_none", topic=topic, n=texts.given.sum())
