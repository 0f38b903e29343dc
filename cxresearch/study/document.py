"""The text of `study.yml`: every value as its author typed it, and the line where it stands.

YAML would turn NO into False, 010 into 8, 1_000 into 1000 and 12:30 into 750; a code list means none of that.
So every value stays text here (only an empty one and ``~`` are nothing), and the schema says which are numbers.
"""

import re
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

import yaml

from cxresearch.errors import StudyProblem
from cxresearch.findings import words

say = words(__package__)

DEPTH, LARGEST = 20, 5_000_000  # levels of keys, bytes: no study file has more
CONTROL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")  # a terminal would obey them


class Plain(str):
    """Text that was written without quotation marks."""


class Document(NamedTuple):
    """The parsed file: `data` of dicts, lists and text; `lines` from the path of a key to its line (1-based)."""

    name: str
    data: dict
    lines: dict[tuple, int]

    def known(self, path: Iterable) -> tuple:
        """Return `path` without the steps that the file does not have."""
        found: tuple = ()
        for step in path:
            found = (*found, step) if (*found, step) in self.lines else found
        return found

    def place(self, path: Iterable) -> str:
        """Return the file's name and the line of `path`, or of the nearest key above it; no line for the whole file."""
        known = self.known(path)
        return f"{self.name}, line {self.lines[known]}" if known else self.name


def refuse(problems: Iterable[str], shown: int = 20) -> None:
    """Raise `StudyProblem` with each of `problems` on a line, if there are any."""
    if found := list(problems):
        raise StudyProblem("\n".join(found[:shown] + [f"and {len(found) - shown} more"] * (len(found) > shown)))


def read_document(path: Path) -> Document:
    """Parse a YAML file, keeping text and lines; `StudyProblem` names the line of what cannot be parsed."""
    file, lines = path.name, {}

    def refuse_if(forbidden, sentence: str, **known) -> None:
        if forbidden:
            raise StudyProblem(say(sentence, file=file, **known))

    def value(event: yaml.Event, at: tuple):
        """Return what begins with an event, as typed; an alias is refused, so that nothing is longer than its file."""
        line = event.start_mark.line + 1
        refuse_if(isinstance(event, yaml.AliasEvent), "alias", line=line, anchor=getattr(event, "anchor", None))
        refuse_if(len(at) > DEPTH, "deep", line=line, depth=DEPTH)
        if isinstance(event, yaml.ScalarEvent):
            text = visible(event)
            return text if event.style is not None else None if text in ("", "~") else Plain(text)
        found: dict = {}
        is_list = isinstance(event, yaml.SequenceStartEvent)
        while not isinstance(event := next(events), yaml.CollectionEndEvent):
            line = event.start_mark.line + 1
            refuse_if(not (is_list or isinstance(event, yaml.ScalarEvent)), "key of several", line=line)
            key = len(found) if is_list else visible(event)
            refuse_if(key in found, "key twice", line=line, key=repr(key), first=lines.get((*at, key)))
            lines[(*at, key)] = line
            found[key] = value(event if is_list else next(events), (*at, key))
        return list(found.values()) if is_list else found

    def visible(event: yaml.ScalarEvent) -> str:
        """Return text in which what a terminal would obey is written out: \\x1b and not the sign of escape."""
        return CONTROL.sub(lambda sign: ascii(sign[0])[1:-1], event.value)

    size = path.stat().st_size
    refuse_if(size > LARGEST, "too large", size=f"{size:,}", largest=f"{LARGEST:,}")
    try:
        events = yaml.parse(path.read_text(encoding="utf-8-sig"), Loader=yaml.SafeLoader)
        first = next(e for e in events if not isinstance(e, (yaml.StreamStartEvent, yaml.DocumentStartEvent)))
        refuse_if(not isinstance(first, yaml.MappingStartEvent), "no keys at all")
        data = value(first, ())
        next(events)
        more = next(events)
        refuse_if(isinstance(more, yaml.DocumentStartEvent), "second document", line=more.start_mark.line + 1)
    except UnicodeDecodeError as error:
        byte = f"{error.object[error.start]:02x}"
        raise StudyProblem(say("not UTF-8", file=file, byte=byte, position=error.start)) from None
    except yaml.YAMLError as error:
        where = f", line {mark.line + 1}" if (mark := getattr(error, "problem_mark", None)) else ""
        why = getattr(error, "problem", None) or error
        raise StudyProblem(say("not YAML", file=file, where=where, why=why)) from None
    return Document(file, data, lines)
