"""Take out of an executed notebook what differs between two runs of the same thing, or names this machine."""

import re
import sys
from dataclasses import dataclass
from pathlib import Path

import cxresearch
from cxresearch.runs.parameters import STUDY

LEFT_OUT = ("papermill", "execution")  # metadata with clocks and paths
ERROR_MARKER = "papermill-error-cell-tag"
INJECTED = "injected-parameters"
BEFORE = r"(^|[^\w/.~…-]|\x1b\[[0-9;]*m)"  # where a path may begin: not within another; after a colour code
# The file name IPython gives a cell, which holds a process id. Looked for only where a word begins: lines may be long.
CELL_FILE = re.compile(r"(?<![^\s\"'(])[^\s\"'(]*ipykernel_\d+[/\\]\d+\.py")


@dataclass(frozen=True)
class Places:
    """Folders whose names must not stay in an output."""

    folder: Path
    study: Path

    def hide(self, text: str) -> str:
        """Return `text` with these folders, the project's, Python's and the user's home named without their place."""
        words = {self.folder: ".", self.study.parent: STUDY, Path(cxresearch.__file__).parents[1]: "…"}
        words |= {Path(sys.prefix): "…", Path.home(): "~"}
        if "ipykernel_" in text:  # a plain search first: outputs may be long
            text = CELL_FILE.sub("cell", text)
        for path, word in words.items():
            if len(path.parts) > 1 and str(path) in text:  # a home of "/" would turn every path
                text = re.sub(rf"{BEFORE}{re.escape(str(path))}(?![\w-])", rf"\g<1>{word}", text)
        return text


def clean(notebook, task, places: Places) -> None:
    """Clean an executed notebook in place: clocks, papermill's paths and error markers, random ids, machine paths."""
    notebook.cells = [c for c in notebook.cells if ERROR_MARKER not in c.metadata.get("tags", [])]
    notebook.metadata.get("language_info", {}).pop("version", None)
    for part in (notebook, *notebook.cells):
        for name in LEFT_OUT:
            part.metadata.pop(name, None)
    for cell in notebook.cells:
        tags = cell.metadata.get("tags", [])
        if INJECTED in tags:
            cell["id"] = f"{re.sub(r'[^A-Za-z0-9_-]', '-', task.name)[:40]}-{INJECTED}"
        elif not tags:
            cell.metadata.pop("tags", None)  # papermill gives every cell an empty list
        if cell.cell_type == "code":
            cell.outputs = _hidden(cell.outputs, places)


def _hidden(value, places: Places):
    if isinstance(value, str):
        return places.hide(value)
    if isinstance(value, list):
        return [_hidden(v, places) for v in value]
    if isinstance(value, dict):
        return type(value)({k: v if k.startswith("image/") else _hidden(v, places) for k, v in value.items()})
    return value
