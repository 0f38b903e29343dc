"""Take out of free text what points at a person: addresses, numbers, and names that a phrase announces.

Digits are read as runs, whatever stands between them: seven and more go, unless they are dates, times, amounts, round
numbers or scores. What goes leaves its kind in brackets, such as ``[phone]``. A name that nothing announces ("Anna at
the desk was kind") is not found: texts are shown above the minimum base, too.
"""

import re
import unicodedata
from collections import Counter
from collections.abc import Callable
from functools import cache, partial
from typing import NamedTuple

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from cxresearch.privacy.identifiers import PERSONAL, RULES, forms, is_ip

KINDS = ("link", "e-mail", "IBAN", "card", "IP address", "phone", "number", "name")


def listed(table: str, *keys: str) -> list[str]:
    """Return words or phrases of ``personal.toml``."""
    found = [PERSONAL[table][key] for key in keys]
    return [word for words in found for word in (words.split() if isinstance(words, str) else words)]


def _patterns() -> dict[str, re.Pattern]:
    """Return the patterns of ``personal.toml`` by name; phrases in them are in whatever case, an apostrophe may be curly."""
    made = {}
    for table, key in ((part, key) for part in ("amounts", "phones", "names") for key in PERSONAL[part]):
        phrases = sorted(forms(listed(table, key)), key=lambda phrase: (-len(phrase), phrase))
        first = "".join(sorted({re.escape(form[0]) for form in phrases}))  # most places are done with after one letter
        made[f"{table}.{key}"] = f"(?i:(?=[{first}])(?:{'|'.join(map(re.escape, phrases))}))".replace("'", "['’]")
    for name, pattern in PERSONAL["patterns"].items():
        text = pattern if isinstance(pattern, str) else f"(?:{'|'.join(pattern)})"
        made[name] = re.sub(r"\{\{([\w.]+)\}\}", lambda found: made[found[1]], text)
    return {name: re.compile(made[name]) for name in PERSONAL["patterns"]}


PATTERNS = _patterns() | {"e-mail": re.compile(RULES[0].cells, re.I)}
NOBODY, PARTICLES = set(listed("names", "nobody")), set(listed("names", "particles"))
MEASURES = {word.lower() for word in listed("amounts", "before", "after", "units")}


class Redacted(NamedTuple):
    """Texts with brackets instead of what was taken out, and kind -> how often."""

    texts: pd.Series
    counts: dict[str, int]


def redact(texts: pd.Series) -> Redacted:
    """Return free texts without links that hold an id, e-mail, IBAN, card, IP, phone, long numbers and announced names.

    Missing cells stay missing; a cell that is no text is returned as it is unless something is taken out of it.
    """
    positions, values = pd.factorize(texts)
    made, counts = np.array(values, dtype=object), dict.fromkeys(KINDS, 0)
    times = np.bincount(positions[positions >= 0], minlength=len(values)).tolist()
    held = pa.array([str(value).encode(errors="replace") for value in values], pa.string())
    suspect = pc.match_substring_regex(held, SUSPECT)
    for i in np.flatnonzero(suspect.to_numpy(zero_copy_only=False)):
        text = redact_text(str(values[i]), found := Counter())
        made[i] = text if found else made[i]
        counts |= {kind: counts[kind] + n * times[i] for kind, n in found.items()}
    taken = pd.api.extensions.take(made, positions, allow_fill=True, fill_value=None)
    redacted = pd.Series(taken, index=texts.index, name=texts.name, dtype=object).where(texts.notna(), texts)
    return Redacted(redacted, counts)


def redact_text(text: str, found: Counter | None = None) -> str:
    """Return one text redacted; `found`, if given, counts the kinds. A text that keeps everything stays as it was."""
    found = Counter() if found is None else found
    whole, before = text, found.total()
    if not text.isascii():
        text = unicodedata.normalize("NFC", text).translate(_folding())

    def replaced(judge: Callable[[re.Match], Judged], match: re.Match) -> str:
        if (judged := judge(match)) is None:
            return match.group()
        found[judged[1]] += 1
        return f"{judged[0]}[{judged[1]}]{judged[2]}"

    for name, judge in JUDGES.items():
        text = PATTERNS[name].sub(partial(replaced, judge), text)
    return text if found.total() > before else whole


@cache
def _folding() -> dict[int, str | None]:
    """Return what stands for wide letters, digits of any script, spaces, dashes, and signs that have no width."""
    table: dict[int, str | None] = {0x2212: "-"} | {c: chr(c - 0xFEE0) for c in range(0xFF01, 0xFF5F)}
    signs = {"Cf": None, "Zs": " ", "Pd": "-"}
    kinds = {c: unicodedata.category(chr(c)) for c in range(0x80, 0x10000)}
    table |= {c: str(unicodedata.decimal(chr(c))) for c, kind in kinds.items() if kind == "Nd"}
    return table | {c: signs[kind] for c, kind in kinds.items() if kind in signs}


Judged = tuple[str, str, str] | None  # what stays before, the kind of what goes, what stays after


def _whole(kind: str, goes: Callable[[str], object]) -> Callable[[re.Match], Judged]:
    return lambda match: ("", kind, "") if goes(match.group()) else None


def _iban(match: re.Match) -> Judged:
    """Judge the longest part up to the end of a word whose check digits are right (ISO 13616)."""
    text = match.group()
    for end in range(len(text), 14, -1):
        plain = re.sub("[ -]", "", text[:end])
        ends = plain[-1].isalnum() and not re.match(r"\w", match.string[match.start() + end :])
        if ends and len(plain) >= 15 and sum(map(str.isdigit, plain)) >= 10:
            if int("".join(str(int(c, 36)) for c in plain[4:] + plain[:4])) % 97 == 1:
                return "", "IBAN", text[end:]
    return None


def _run(match: re.Match) -> Judged:
    text = match["run"] or ""
    digits = re.sub(r"\D", "", text)
    before = match.string[max(0, match.start() - 30) : match.start()]
    called = len(digits) >= 6 and PATTERNS["called"].search(before)
    if len(digits) >= 6 and is_ip(text):
        return "", "IP address", ""
    if len(digits) < 7 and not called:
        return None
    paid = PATTERNS["paid"].fullmatch(text) and PATTERNS["paid_before"].search(before)
    if not called and "+" not in text and (paid or PATTERNS["ordinary"].fullmatch(text)):
        return None
    if 13 <= len(digits) <= 19 and luhn(digits):
        return "", "card", ""
    grouped = called or text[0] in "+0(" or not text.isdigit()
    return "", "phone" if grouped and len(digits) <= 15 else "number", ""


def luhn(digits: str) -> bool:
    """Return whether the last digit is the check digit of the others (ISO/IEC 7812)."""
    doubled = [2 * int(d) - 9 * (d > "4") for d in digits[-2::-2]]
    return len(set(digits)) > 1 and (sum(doubled) + sum(map(int, digits[-1::-2]))) % 10 == 0


def _name(match: re.Match) -> Judged:
    """Judge the words after an announcement: capitals; after an introduction the first two, however written."""
    words, introduced, n = match["words"].split(" "), match.re is PATTERNS["introduced"], 0
    for i, word in enumerate(words):
        after_particle = i and words[i - 1].lower() in PARTICLES
        small = introduced and (i < 2 or after_particle) or i and word.lower() in PARTICLES
        if word.lower() in NOBODY or not (word[0].isupper() or small):
            break
        n = i + 1
    while n > 1 and words[n - 1].lower() in PARTICLES:
        n -= 1
    return (match["said"], "name", "".join(f" {w}" for w in words[n:])) if n else None


def _mixed(text: str) -> bool:
    """Judge letters and digits in one word: ``AB1234567``, but not ``10h30m15s``."""
    return sum(map(str.isdigit, text)) >= 6 and not MEASURES.issuperset(re.findall(r"[^\W\d_]+", text.lower()))


JUDGES = {
    "link": _whole("link", lambda url: "?" in url or PATTERNS["with_id"].search(url.split("//")[-1].partition("/")[2])),
    "e-mail": _whole("e-mail", bool),
    "written": _whole("e-mail", bool),
    "iban": _iban,
    "ipv6": _whole("IP address", lambda text: len(re.findall("[0-9a-f]+", text, re.I)) > 1 and is_ip(text)),
    "mixed": _whole("number", _mixed),
    "run": _run,
    "introduced": _name,
    "announced": _name,
}

# Holds wherever something is found, in a text not yet folded; all texts at once (RE2) cost a tenth of asking each.
STEMS = "|".join(forms(listed("names", "stems")))
_WHO = "|".join(map(re.escape, forms(listed("names", "titles", "greetings"))))
_WHO = _WHO.replace(r"\ ", r"[\s\p{Z}\p{C}]").replace(r"\-", r"\p{Pd}")
SUSPECT = (
    rf"[\p{{Nd}}\p{{Cf}}\p{{M}}@\x{{FF01}}-\x{{FF5E}}]|(?i:://|www\.|:.*:|{STEMS})"
    r"|(?i:[(\[{<]\PL?(?:at|a|ma.pa|собака)\PL?[)\]}>]|\PL(?:dot|kropka|точка)\PL)"
    rf"|(?:^|[^\p{{L}}\p{{N}}_])(?i:{_WHO})[.,]?[\s\p{{Z}}\p{{C}}]+[\p{{Lu}}\p{{Lt}}\p{{N}}]"
)
