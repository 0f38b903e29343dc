"""The text of `study.yml`: every value as its author typed it, and the line where it stands.

YAML would turn NO into False, 010 into 8, 1_000 into 1000 and 12:30 into 750; a code list means none of that.
So every value stays text here (only an empty one and ``~`` are nothing), and the schema says which are numbers.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import yaml

from cxresearch.errors import StudyProblem

DEPTH, LARGEST = 20, 5_000_000  # levels of keys, bytes: no study file has more
CONTROL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")  # a terminal would obey them


class Plain(str):
    """Text that was written without quotation marks."""


@dataclass(frozen=True)
class Document:
    """The parsed file: `data` of dicts, lists and text; `lines` from the path of a key to its line (1-based)."""

    name: str
    data: dict
    lines: dict[tuple, int]

    def known(self, path: Iterable) -> tuple:
        """Return `path` without the steps that the file does not have."""
        found: tuple = ()
        for step in path:
            if (*found, step) in self.lines:
                found = (*found, step)
        return found

    def line(self, path: Iterable) -> int:
        """Return the line of `path`, or of the nearest key above it; 0 for the whole file."""
        return self.lines.get(self.known(path), 0)

    def problem(self, path: Iterable, message: str) -> str:
        """Return `message` after the file's name and the line of `path`."""
        line = self.line(path)
        return f"{self.name}, line {line}: {message}" if line else f"{self.name}: {message}"


def refuse(problems: Iterable[str], shown: int = 20) -> None:
    """Raise `StudyProblem` with each of `problems` on a line, if there are any."""
    found = list(problems)
    if found:
        more = [f"and {len(found) - shown} more"] if len(found) > shown else []
        raise StudyProblem("\n".join([*found[:shown], *more]))


def read_document(path: Path) -> Document:
    """Parse a YAML file, keeping text and lines; `StudyProblem` names the line of what cannot be parsed."""
    if (size := path.stat().st_size) > LARGEST:
        raise StudyProblem(f"{path.name} has {size:,} bytes, a study file at most {LARGEST:,}; is it the data?")
    lines: dict[tuple, int] = {}
    try:
        events = yaml.parse(path.read_text(encoding="utf-8-sig"), Loader=yaml.SafeLoader)
        first = next(e for e in events if not isinstance(e, (yaml.StreamStartEvent, yaml.DocumentStartEvent)))
        if not isinstance(first, yaml.MappingStartEvent):
            raise StudyProblem(f"{path.name} holds no keys; a study needs at least title and tables")
        data = _mapping(events, (), lines, path.name)
        next(events)
        if isinstance(more := next(events), yaml.DocumentStartEvent):
            raise StudyProblem(f"{path.name}, line {more.start_mark.line + 1}: a second document; a study is one")
    except UnicodeDecodeError as error:
        raise StudyProblem(
            f"{path.name} is not UTF-8: byte 0x{error.object[error.start]:02x} at position {error.start}; save it "
            "as UTF-8"
        ) from None
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f", line {mark.line + 1}" if mark else ""
        raise StudyProblem(f"{path.name}{where}: not valid YAML: {getattr(error, 'problem', None) or error}") from None
    return Document(path.name, data, lines)


def _value(event: yaml.Event, events, path: tuple, lines: dict[tuple, int], name: str):
    """Return what begins with an event, as typed; an alias is refused, so that nothing is longer than its file."""
    line = event.start_mark.line + 1
    lines.setdefault(path, line)
    if isinstance(event, yaml.AliasEvent):
        raise StudyProblem(
            f"{name}, line {line}: *{event.anchor} repeats what stands elsewhere; write it out, or say what items share "
            'once, under a pattern of their keys: "q*": {scale: [1, 5]}'
        )
    if len(path) > DEPTH:
        raise StudyProblem(f"{name}, line {line}: nested more than {DEPTH} deep; no key of a study is")
    if isinstance(event, yaml.MappingStartEvent):
        return _mapping(events, path, lines, name)
    if isinstance(event, yaml.SequenceStartEvent):
        found: list = []
        while not isinstance(event := next(events), yaml.SequenceEndEvent):
            found.append(_value(event, events, (*path, len(found)), lines, name))
        return found
    text = CONTROL.sub(lambda sign: ascii(sign[0])[1:-1], getattr(event, "value", ""))
    if event.style is None and text in ("", "~"):
        return None
    return Plain(text) if event.style is None else text


def _mapping(events, path: tuple, lines: dict[tuple, int], name: str) -> dict:
    found: dict = {}
    while not isinstance(event := next(events), yaml.MappingEndEvent):
        line = event.start_mark.line + 1
        if not isinstance(event, yaml.ScalarEvent):
            raise StudyProblem(f"{name}, line {line}: a key must be one word or a quoted text")
        key = CONTROL.sub(lambda sign: ascii(sign[0])[1:-1], event.value)
        if key in found:
            raise StudyProblem(
                f"{name}, line {line}: the key {key!r} is given twice, first on line {lines[(*path, key)]}"
            )
        lines[(*path, key)] = line
        found[key] = _value(next(events), events, (*path, key), lines, name)
    return found
