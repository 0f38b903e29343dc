"""Free texts as words, clauses, tone and topics: redacted first, in a known language, what says nothing counted apart.

What a pattern is stands at the head of ``taxonomy.yml``, what clauses and their parts are in docs/methods.md (Voice).
"""

import re
import unicodedata
from bisect import bisect_left
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache, cached_property
from html import unescape
from itertools import chain
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import yaml

from cxresearch.errors import DataProblem, composed, require_columns
from cxresearch.findings import words as words_of
from cxresearch.privacy import redact
from cxresearch.survey import Survey, as_survey

say = words_of(__package__)

LANGUAGES = ("en", "pl", "ru", "undecided")
KEYS = ("label", "en", "pl", "ru", "en_weak", "pl_weak", "ru_weak", "not")
PATTERN = re.compile(r"(?=.*\w.*\w)\w+\*?(?: (?:\* )?\w+\*?){0,2}")
TOKEN = re.compile(r"[^\W_]+(?:['’`][^\W_]+)*|[:;]-?(?:[()]|d\b)|[.!?;:…\n]+|,|[☹☺❤\U0001f300-\U0001faff]")
NO_WORDS = r"\[[\p{L}\p{N}_ -]+\]|<[^<>]{1,200}>|&#?\w+;"  # what stands for what was taken out, markup (RE2)
APART = 4  # how far a word may stand from the one before ``*``
SHORT, LONG = 2, 5  # words: no more say nothing without a topic; so many are not the same in two texts by chance
SIGNS = {"negative": -1, "neutral": 0, "positive": 1}  # of a part's tone
NEGATOR, REPORT, SKIPPED, STOP, COMMA, TURN, JOIN = range(2, 9)  # kinds of words beside praise 1, complaint -1, none 0
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
    return [folded(p).strip() if isinstance(p, str) else p for p in (patterns if np.iterable(patterns) else [patterns])]


@cache
def shipped() -> tuple[dict, dict]:
    """Return the taxonomy of the package; the words of each language, names of languages, Russian in Latin letters."""
    words = yaml.safe_load(Path(__file__).with_name("words.yml").read_text(encoding="utf-8"))
    lists = {code: {kind: _listed(its) for kind, its in words[code].items()} for code in LANGUAGES[:3]}
    return read_taxonomy(Path(__file__).with_name("taxonomy.yml")), words | lists


def read_taxonomy(taxonomy) -> dict[str, dict]:
    """Return the taxonomy of a mapping or a file; refused where it is none."""
    where = "the taxonomy"
    if isinstance(taxonomy, (str, Path)):
        where = Path(taxonomy).name
        try:
            text = Path(taxonomy).read_text(encoding="utf-8")  # a short file of aliases can hang whoever reads it
            say.refuse_if(any(isinstance(event, yaml.AliasEvent) for event in yaml.parse(text)), "alias", where=where)
            taxonomy = yaml.safe_load(text)
        except (OSError, UnicodeDecodeError, yaml.YAMLError, RecursionError) as problem:
            raise DataProblem(say("unreadable", where=where, problem=type(problem).__name__)) from problem
    say.refuse_if(not isinstance(taxonomy, Mapping) or not taxonomy, "no_topics", where=where)
    found = {}
    for topic, entry in taxonomy.items():
        mapped = isinstance(entry, Mapping)
        at = dict(where=where, topic=topic, has=", ".join(sorted(map(repr, entry))) if mapped else repr(entry))
        say.refuse_if(str(topic) in found or re.fullmatch("(?i)other|none|.*[;|].*", str(topic)), "no_name", **at)
        say.refuse_if(not mapped or not set(entry) <= set(KEYS), "no_entry", **at)
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
    labels: Mapping[str, str]  # words for the survey's items and for topics
    texts: np.ndarray  # (N,) redacted, None where there is none
    who: np.ndarray  # (N,) whom each is of: the floor counts persons
    code: np.ndarray  # (N,) which of `LANGUAGES`
    row: np.ndarray  # (m,) text of each token
    word: np.ndarray  # (m,) position in `words`
    words: list[str]  # (v,) distinct tokens, folded, in order

    given = cached_property(lambda self: pd.notna(self.texts))
    spelled = cached_property(lambda self: np.array([w[0].isalnum() for w in self.words], dtype=bool)[self.word])
    length = cached_property(lambda self: self.counted(self.spelled).astype(int))  # words of each text
    _first = cached_property(lambda self: np.diff(self.row, prepend=-1) > 0)  # token of its text
    _run = cached_property(lambda self: np.cumsum(self._first | ~self.spelled))  # of words without a mark, by token
    _order = cached_property(lambda self: np.argsort(self.word, kind="stable"))  # tokens by word, and where each begins
    _start = cached_property(lambda self: np.searchsorted(self.word[self._order], np.arange(len(self.words) + 1)))

    def counted(self, values) -> np.ndarray:
        """Return the sums of values of tokens (m,) by text, (N,)."""
        return np.bincount(self.row, values, minlength=len(self.texts))

    def span(self, part: str) -> tuple[int, int]:
        """Return which of the words a word of a pattern matches: from, and up to."""
        stem, rest = part.strip("~*"), "\U0010ffff" if part.endswith("*") else "\0"
        return bisect_left(self.words, stem), bisect_left(self.words, stem + rest)

    def at(self, pattern: str, language: str | None = None) -> np.ndarray:
        """Return the tokens at which a pattern begins: of texts in a language, or in none that is known."""
        parts = pattern.replace(" * ", " ~").split(" ")
        (low, high), *rest = spans = [self.span(part) for part in parts]
        if any(low == high for low, high in spans):
            return np.empty(0, dtype=np.int64)
        found = last = self._order[self._start[low] : self._start[high]]
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
        """What each token does in its clause, (m,): more words win, then longer ones, then a later list."""
        mark = [STOP if w[0] in ".!?;:…\n" and w[-1] not in "()d" else COMMA if w == "," else 0 for w in self.words]
        found = np.array(mark, dtype=np.int8)[self.word]
        for code in LANGUAGES[:3]:
            listed = [(pattern, kind) for name, kind in KINDS.items() for pattern in shipped()[1][code][name]]
            for pattern, kind in sorted(listed, key=lambda entry: (entry[0].count(" "), len(entry[0].rstrip("*")))):
                at = self.at(pattern, code)
                for step in range(pattern.count(" "), -1, -1):
                    found[at + step] = SKIPPED if step else kind
        return found

    @cached_property
    def parts(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Part of each token, (m,); clause and tone of each part, (p,): above zero is praise; a negator turns the next two
        words that count, alone it complains, unless a report follows (*I did not order*)."""
        before = np.append(0, self.kind)[:-1]
        opens = self._first | (before == STOP) | (self.kind == TURN)
        part = np.cumsum(opens | (before == COMMA) | (self.kind == JOIN)) - 1
        clause = np.cumsum(opens)[np.diff(part, prepend=-1) > 0] - 1
        kind, place = self.kind[self.kind < SKIPPED], part[self.kind < SKIPPED]
        tone, negator = np.where(abs(kind) == 1, kind, 0), kind == NEGATOR
        turned, idle = np.zeros(len(kind), dtype=bool), negator.copy()
        for step in (1, 2):
            near = negator[:-step] & (place[step:] == place[:-step])
            turned[step:] |= near
            idle[:-step] &= ~(near & ((tone[step:] != 0) | (kind[step:] == REPORT)))
        own = np.bincount(place, np.where(idle, -1, np.where(turned, -tone, tone)), minlength=len(clause))
        return part, clause, np.where(own != 0, own, np.bincount(clause, own)[clause])

    @cached_property
    def hits(self) -> tuple[np.ndarray, np.ndarray]:
        """Tokens and the topics that they speak of, (h,) each: weak ones where nothing else does (docs/methods.md, Voice)."""
        (part, clause, tone), k = self.parts, len(self.taxonomy)
        found, weak = held = np.zeros((2, len(self.word), k), dtype=bool)
        for topic, entry in enumerate(self.taxonomy.values()):
            for key in KEYS[1:-1]:
                for pattern in entry[key]:
                    held[int(key.endswith("_weak")), self.at(pattern, key[:2]), topic] = True
            for pattern in entry["not"]:
                at = self.at(pattern)[:, None] + np.arange(pattern.count(" ") + 1)
                held[:, np.minimum(at, len(self.word) - 1), topic] = False
        at, topic = np.nonzero(found)
        said = np.bincount(part[at] * k + topic, minlength=k * len(clause)).reshape(-1, k)
        found[at, topic] = 2 * said[part[at], topic] > said.max(axis=1)[part[at]]
        told = said.any(axis=1)
        whole, toned = (np.bincount(clause, values)[clause] for values in (told, np.where(told, tone, 0)))
        told |= (whole > 0) & (toned * tone >= 0)
        at = np.flatnonzero(weak.any(axis=1) & ~told[part])
        _, first, place = np.unique(part[at], return_index=True, return_inverse=True)
        found[at] |= weak[at] & weak[at[first]][place]
        return np.nonzero(found)

    def mentioned(self, tone: str = "any") -> np.ndarray:
        """Return which texts have each topic, (N, K): at all, or in a part that praises, complains, or does neither."""
        (at, topic), (part, _, tones) = self.hits, self.parts
        fits = np.sign(tones[part[at]]) == SIGNS[tone] if tone in SIGNS else slice(None)
        found = np.zeros((len(self.texts), len(self.taxonomy)), dtype=bool)
        found[self.row[at[fits]], topic[fits]] = True
        return found

    @cached_property
    def says(self) -> np.ndarray:
        """Which texts say something, (N,): not "no comment", and more than two words or a topic."""
        nothing = {said for code in LANGUAGES[:3] for said in shipped()[1][code]["nothing"]}
        short = [folded(text or "") for text in np.where(self.length <= LONG, self.texts, "")]
        empty = np.array([" ".join(re.findall(r"[^\W_]+", text)) in nothing for text in short]) | (self.length == 0)
        return self.given & ~empty & ((self.length > SHORT) | self.mentioned().any(axis=1))

    def table_of(self, at) -> pd.DataFrame:
        """Return word, text, language and person of tokens."""
        row, words = self.row[at], np.array(self.words, dtype=object)
        said = {"word": words[self.word[at]], "row": row, "language": np.array(LANGUAGES)[self.code[row]]}
        return pd.DataFrame(said | {"who": self.who[row]})

    def telling(self, texts: np.ndarray) -> pd.DataFrame:
        """Return the table of the words of some texts, (N,) bool, without function words."""
        ordinary = {w for code in LANGUAGES[:3] for w in shipped()[1][code]["functions"]}
        telling = np.array([w not in ordinary for w in self.words], dtype=bool)
        return self.table_of(self.spelled & telling[self.word] & texts[self.row])


def read_texts(responses, text: str, *, language: str | None = None, taxonomy=None) -> Texts:
    """Return the texts of a column, redacted, in words; refused where column, language or taxonomy make no sense."""
    survey = as_survey(responses)
    say.refuse_if(text is None, "no_column")
    require_columns(survey.table, text, language, where="responses")
    written = survey.table[text].astype("str").str.replace(r"&#?\w+;", lambda sign: unescape(sign[0]), regex=True)
    clean = redact(written.map(composed, na_action="ignore").astype("str")).texts
    said = clean.notna() & (clean != "") & (survey.weights(asked=False) != 0)
    texts, persons = clean.where(said, None).to_numpy(dtype=object), survey.every[1]
    say.refuse_if(not said.any(), "no_text", text=text, n=len(texts))
    declared = None if language is None else _declared(survey.table[language])
    plain = _in_own_letters(pc.replace_substring_regex(pa.array(texts, pa.string()), NO_WORDS, " "), declared)
    pieces = pc.split_pattern(plain, " ")
    distinct = pc.list_flatten(pieces).dictionary_encode()
    tokens = [[folded(token) for token in TOKEN.findall(p.lower())] for p in distinct.dictionary.to_pylist()]
    words, place = np.unique(np.array([*chain.from_iterable(tokens)], dtype=object), return_inverse=True)
    ends = np.cumsum([0, *map(len, tokens)], dtype=np.int32)
    tokens = pa.ListArray.from_arrays(ends, place).take(distinct.indices)
    row = pc.list_parent_indices(pieces).take(pc.list_parent_indices(tokens)).to_numpy()
    topics = shipped()[0] if taxonomy is None else read_taxonomy(taxonomy)
    labels = {**survey.labels, **{topic: entry["label"] for topic, entry in topics.items()}, "other": "Other"}
    who = np.arange(len(texts)) if persons is None else persons[: len(texts)]
    code = np.full(len(texts), 3) if declared is None else declared
    found = Texts(survey, topics, labels, texts, who, code, row, pc.list_flatten(tokens).to_numpy(), words.tolist())
    if declared is None:
        code[:] = _told(found, plain)
    for k, (topic, entry) in enumerate([] if taxonomy is None else topics.items()):
        for pattern in chain.from_iterable(entry[key] for key in KEYS[1:-1]):
            share = len(found.at(pattern)) / max(int(found.length.sum()), 1)
            say.refuse_if(share >= 1 / 3, "takes_all", topic=topic, pattern=pattern, share=share)
        say.refuse_if(k not in found.hits[1], "takes_none", topic=topic, n=found.given.sum())
    return found


def _declared(column: pd.Series) -> np.ndarray:
    """Return the language of each row as a column says it."""
    values = redact(column.map(composed, na_action="ignore").astype("str")).texts.str.lower()  # it may hold comments
    found = values.str.replace(r"[-_].*", "", regex=True).replace(shipped()[1]["names"]).fillna(LANGUAGES[3])
    strange = ~found.isin(LANGUAGES).to_numpy()
    said = ", ".join(repr(value[:40]) for value in sorted(values[strange].unique())[:3])
    say.refuse_if(strange.any(), "no_language", column=column.name, said=said, n=strange.sum(), row=np.argmax(strange))
    return found.map(LANGUAGES.index).to_numpy()


def _in_own_letters(texts: pa.Array, declared: np.ndarray | None) -> pa.Array:
    """Return texts with Russian in Latin letters written in its own: told by signs, ruled out by words of others."""
    latin = shipped()[1]["latin"]
    words, runs, others = (latin[key].replace(", ", "|") for key in ("words", "runs", "others"))
    signs = pc.count_substring_regex(texts, rf"(?i)\b(?:{words})\b|{runs}").fill_null(0).to_numpy()
    at = np.flatnonzero((signs > 1) & (True if declared is None else declared >= 2))
    near, enough = texts.take(pa.array(at)), rf"(?i)\b(?:{words})\b|\S\s+\S+\s+\S"  # one of the words, or three of any
    against = pc.count_substring_regex(near, rf"(?i)\b(?:{others})\b|[ąćęłńóśźż]").to_numpy()
    told = pc.match_substring_regex(near, enough).to_numpy(zero_copy_only=False) & (signs[at] > 3 * against + 1)
    russian = pa.array(np.isin(np.arange(len(texts)), at[told]))
    said = (re.sub("(?<=[aeou])y(?![aeou])", "й", text.lower()) for text in texts.filter(russian).to_pylist())
    own = [re.sub("|".join(latin["letters"]), lambda letters: latin["letters"][letters[0]], text) for text in said]
    return pc.replace_with_mask(texts, russian, pa.array(own, pa.string()))


def _told(texts: Texts, plain: pa.Array) -> np.ndarray:
    """Return the language of each text: by script, by letters that only Polish has, by words that one language has."""
    known = np.zeros((3, len(texts.words)), dtype=bool)
    for k, code in enumerate(LANGUAGES[:2]):
        for pattern in chain.from_iterable(shipped()[1][code].values()):
            known[k, slice(*texts.span(pattern))] = True
    known[2] = [re.search("[а-я]", word) is not None for word in texts.words]
    english, polish, russian = (texts.counted(at[texts.word]) for at in known)
    letters = pc.match_substring_regex(plain, "(?i)[ąćęłńóśźż]").fill_null(False).to_numpy(zero_copy_only=False)
    return np.select([russian > 0, letters, english > polish, polish > english], [2, 1, 0, 1], 3)
