"""The taxonomy: topic -> patterns of words in each language; matched word by word, several topics a text.

``topic: {label: Delivery, en: [deliver*, parcel*, "left outside"], pl: [...], ru: [...], not: [deliverable*]}``
A pattern is a word, ``*`` stands for the rest of it; two or three words with a space stand next to one another.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import pandas as pd
import yaml

from cxresearch.errors import DataProblem, nearest
from cxresearch.voice.texts import LANGUAGES, SHORT, Texts, matches

OTHER = "other"
SHIPPED = Path(__file__).with_name("taxonomy.yml")
KEYS = ("label", *LANGUAGES, "not")


def read_taxonomy(taxonomy=None) -> dict[str, dict]:
    """Return a taxonomy: the shipped one, or that of a path or a mapping, looked through.

    Raises
    ------
    DataProblem
        A file that cannot be read, a topic without patterns, a word that is no key, a pattern without letters.
    """
    where = "the taxonomy"
    if taxonomy is None or isinstance(taxonomy, (str, Path)):
        where = Path(taxonomy or SHIPPED).name
        try:
            taxonomy = yaml.safe_load(Path(taxonomy or SHIPPED).read_text(encoding="utf-8"))
        except (OSError, UnicodeDecodeError, yaml.YAMLError) as problem:
            raise DataProblem(f"{where}: the taxonomy cannot be read ({type(problem).__name__}); it is YAML: topic, then "
                              "label, en, pl, ru, not") from problem  # fmt: skip
    if not isinstance(taxonomy, Mapping) or not taxonomy:
        raise DataProblem(f"{where} must hold topics, each with patterns under en, pl or ru")
    return {str(topic): _topic(where, str(topic), entry) for topic, entry in taxonomy.items()}


def _topic(where: str, topic: str, entry) -> dict:
    if not isinstance(entry, Mapping):
        raise DataProblem(f"{where}: topic {topic!r} must hold label, en, pl, ru, not; found {type(entry).__name__}")
    if strange := [key for key in entry if key not in KEYS]:
        raise DataProblem(f"{where}: topic {topic!r} has {strange[0]!r}{nearest(str(strange[0]), KEYS)}; known are {', '.join(KEYS)}")  # fmt: skip
    found = {key: [entry[key]] if isinstance(entry.get(key), str) else list(entry.get(key) or ()) for key in KEYS[1:]}
    if not any(found[code] for code in LANGUAGES):
        raise DataProblem(f"{where}: topic {topic!r} has no pattern in any language")
    for key, patterns in found.items():
        bad = [p for p in patterns if not isinstance(p, str) or sum(c.isalnum() for c in p) < 2 or len(p.split()) > 3]
        if bad:
            raise DataProblem(f"{where}: topic {topic!r}, {key}: {bad[0]!r} is no pattern: one to three words of two "
                              "letters or more, * for the rest of a word")  # fmt: skip
    return {"label": str(entry.get("label") or topic)} | found


@dataclass(frozen=True, eq=False)
class Tags:
    """Which topics each clause of each text has, and in which tone it speaks."""

    texts: Texts
    taxonomy: Mapping[str, Mapping]
    own: bool  # a taxonomy of the study: a topic that matches nothing is a mistake of its author

    @property
    def topics(self) -> list[str]:
        return list(self.taxonomy)

    @property
    def labels(self) -> dict[str, str]:
        return {topic: entry["label"] for topic, entry in self.taxonomy.items()} | {OTHER: "Other"}

    def waterfall(self) -> pd.DataFrame:
        """Return how many rows there are, hold a text, and say something."""
        rows = [len(self.texts.texts), int(self.texts.given.sum()), int(self.informative.sum())]
        reasons = ["", "no text", "nothing said, such as 'no comment', or two words without a topic"]
        steps = ["rows", "with a text", "that say something"]
        return pd.DataFrame({"step": steps, "rows": rows, "removed": [0, *-np.diff(rows)], "reason": reasons})

    @cached_property
    def hits(self) -> np.ndarray:
        """Which words speak of each topic, (m, K)."""
        return np.column_stack([self._hit(entry) for entry in self.taxonomy.values()])

    def _hit(self, entry) -> np.ndarray:
        texts, out = self.texts, matches(self.texts.words, [p for p in entry["not"] if " " not in p])
        single = {c: matches(texts.words, [p for p in entry[c] if " " not in p]) & ~out for c in LANGUAGES}
        found = texts.by_language(single)
        for pattern in (p for p in entry["not"] if " " in p):
            for step in range(len(pattern.split())):
                found[step:] &= ~self._phrase(LANGUAGES, pattern)[: len(found) - step]
        for code in LANGUAGES:
            for pattern in (p for p in entry[code] if " " in p):
                found |= self._phrase((code,), pattern)
        return found

    def _phrase(self, codes, pattern: str) -> np.ndarray:
        """Return where the words of a pattern follow one another within a clause, (m,): at the first of them."""
        texts, found = self.texts, np.zeros(len(self.texts.word), dtype=bool)
        parts = [matches(texts.words, [part]) for part in pattern.split()]
        at = np.flatnonzero(parts[0][texts.word]) if all(part.any() for part in parts) else np.empty(0, dtype=int)
        for step, part in enumerate(parts):
            at = at[at + step < len(found)]
            follows = part[texts.word[at + step]]
            at = at[follows & (texts.clause[at] == texts.clause[at + step])]
        found[at[np.isin(texts.language[texts.row[at]], (*codes, "undecided"))]] = True
        return found

    @cached_property
    def clauses(self) -> np.ndarray:
        """Which topics each clause has, (c, K)."""
        found = np.zeros((self.texts.clauses, len(self.topics)), dtype=bool)
        at, topic = np.nonzero(self.hits)
        found[self.texts.clause[at], topic] = True
        return found

    def mentioned(self, tone: str = "any") -> np.ndarray:
        """Return which texts have each topic, (N, K): in any clause, or in one that praises, complains, or does neither."""
        spoken = self.texts.tone
        inside = {"any": spoken == spoken, "negative": spoken < 0, "positive": spoken > 0, "neutral": spoken == 0}[tone]
        found = np.zeros((len(self.texts.texts), len(self.topics)), dtype=bool)
        at, topic = np.nonzero(self.clauses & inside[:, None])
        found[self.texts.row_of_clause[at], topic] = True
        return found

    @cached_property
    def informative(self) -> np.ndarray:
        """Which texts say something, (N,): more than two words, or a topic."""
        return self.texts.given & ~self.texts.empty & ((self.texts.length > SHORT) | self.mentioned().any(axis=1))

    def patterns(self) -> pd.DataFrame:
        """Return one row per topic and word form that it matched: ``topic``, ``word``, ``n`` (times), most frequent first."""
        at, topic = np.nonzero(self.hits)
        pairs = pd.DataFrame({"topic": topic, "word": self.texts.word[at]}).value_counts().reset_index(name="n")
        pairs["topic"], pairs["word"] = np.array(self.topics)[pairs["topic"]], self.texts.words[pairs["word"]]
        return pairs.sort_values(["topic", "n", "word"], ascending=[True, False, True], ignore_index=True)


def tag(texts: Texts, taxonomy=None) -> Tags:
    """Return the topics of texts.

    Raises
    ------
    DataProblem
        A pattern that takes a third of all words, a topic of one's own that takes none.
    """
    tags = Tags(texts, read_taxonomy(taxonomy), taxonomy is not None)
    if not tags.own:
        return tags
    times = np.bincount(texts.word, minlength=len(texts.words))
    common = np.argsort(-times, kind="stable")[:200]  # what takes a third of all words takes it among these
    for topic, entry in tags.taxonomy.items():
        for pattern in (p for code in LANGUAGES for p in entry[code] if " " not in p):
            taken = times[common][matches(texts.words[common], [pattern])].sum() / max(len(texts.word), 1)
            if taken >= 1 / 3:
                raise DataProblem(
                    f"the taxonomy: topic {topic!r}: {pattern!r} takes {100 * taken:.0f} % of all words; write it "
                    "longer, or name what it must not take under not:"
                )
    if not (found := tags.hits.any(axis=0)).all():
        idle = tags.topics[int(np.argmin(found))]
        raise DataProblem(f"the taxonomy: topic {idle!r} matches no word of {int(texts.given.sum())} texts; mend its "
                          "patterns (they are word beginnings, such as deliver*), or take it out")  # fmt: skip
    return tags
