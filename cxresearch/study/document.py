"""The text of `study.yml`: every value as its author typed it, and the line where it stands.

YAML would turn NO into False, 010 into 8, 1_000 into 1000 and 12:30 into 750; a code list means none of that.
So every value stays text here (only an empty one and ``~`` are nothing), and the schema says which are numbers.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import yaml

from cxresearch.errors import StudyProblem

DEPTH, NODES = 20, 100_000  # an alias that holds itself, or aliases of aliases, would never end
NULL, MERGE = "tag:yaml.org,2002:null", "tag:yaml.org,2002:merge"


class Plain(str):
    """Text that was written without quotation marks."""


class _AsTyped(yaml.SafeLoader):
    """Resolves nothing but an empty value, ``~`` and the merge key ``<<``."""

    yaml_implicit_resolvers = {
        first: [
            (tag, pattern)
            for tag, pattern in yaml.SafeLoader.yaml_implicit_resolvers.get(first, [])
            if tag in (NULL, MERGE)
        ]
        for first in ("", "~", "<")
    }


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
    try:
        loader = _AsTyped(path.read_text(encoding="utf-8-sig"))
        node = loader.get_single_node()
    except UnicodeDecodeError as error:
        raise StudyProblem(
            f"{path.name} is not UTF-8: byte 0x{error.object[error.start]:02x} at position {error.start}; save it "
            "as UTF-8"
        ) from None
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f", line {mark.line + 1}" if mark else ""
        raise StudyProblem(f"{path.name}{where}: not valid YAML: {getattr(error, 'problem', None) or error}") from None
    if not isinstance(node, yaml.MappingNode):
        raise StudyProblem(f"{path.name} holds no keys; a study needs at least title and tables")
    lines: dict[tuple, int] = {}
    return Document(path.name, _mapping(node, (), lines, path.name), lines)


def _value(node: yaml.Node, path: tuple, lines: dict[tuple, int], name: str):
    lines.setdefault(path, node.start_mark.line + 1)
    if len(path) > DEPTH or len(lines) > NODES:
        raise StudyProblem(
            f"{name}, line {lines[path]}: nested more than {DEPTH} deep, or more than {NODES:,} values; write it "
            "without aliases"
        )
    if isinstance(node, yaml.MappingNode):
        return _mapping(node, path, lines, name)
    if isinstance(node, yaml.SequenceNode):
        return [_value(child, (*path, i), lines, name) for i, child in enumerate(node.value)]
    if node.tag == NULL:
        return None
    return Plain(node.value) if node.style is None else node.value


def _mapping(node: yaml.MappingNode, path: tuple, lines: dict[tuple, int], name: str) -> dict:
    inherited: dict = {}
    own: dict = {}
    for key_node, value_node in node.value:
        line = key_node.start_mark.line + 1
        if not isinstance(key_node, yaml.ScalarNode):
            raise StudyProblem(f"{name}, line {line}: a key must be one word or a quoted text")
        if key_node.tag == MERGE:
            sources = value_node.value if isinstance(value_node, yaml.SequenceNode) else [value_node]
            for source in sources:
                inherited = _value(source, path, lines, name) | inherited
            continue
        key = key_node.value
        if key in own:
            raise StudyProblem(
                f"{name}, line {line}: the key {key!r} is given twice, first on line {lines[(*path, key)]}"
            )
        lines[(*path, key)] = line
        own[key] = _value(value_node, (*path, key), lines, name)
    return inherited | own
