"""An executed notebook as the sections of a page: prose, figures, tables, text, code one click away."""

import base64
import re
from dataclasses import dataclass, field

from cxresearch.findings import words
from cxresearch.runs.markup import from_html, from_markdown, plain, without_colours

SVG = "image/svg+xml"
IMAGES = ("image/png", "image/jpeg", SVG)
AXES = re.compile(r"<Axes: .*>|<Figure size .*>", re.S)  # what a plot returns; the figure itself is shown
TITLE = re.compile(r"<h1>.*?</h1>\s*", re.S)
SAVED = re.compile(r"(saved .*\n)+")  # what `cx.save` prints
BARE = re.compile(r"<h2[^>]*>.*</h2>\s*")
HEADING = re.compile(r"<h2>(.*?)</h2>", re.S)
ANALYST = "For the analyst"
TERMS = []  # of art: name, how to find it, what it means
for _key, _meaning in words(__package__).items():
    if _key.startswith("term "):
        _names = _key.removeprefix("term ").split("/")
        _found = "|".join(rf"(?<![\w-]){re.escape(name)}(?![\w²])" for name in _names)
        TERMS.append((_names[0], re.compile(_found, re.I), _meaning))
CAPTION = ("<p><em>Figure.</em>", "<p><em>Figures.</em>")


@dataclass
class Block:
    """A piece of a page: html, finding, figure, text, warning, error, code or failing (code).

    Content is safe HTML for ``html`` and ``finding``, a data address for ``figure``, otherwise text, not escaped yet. A
    figure has a caption (safe HTML), a text in its place, its size in pixels on the page or None for its own, and where
    there is one the address of its rendering for phones. `finding` is the id of what it shows; `terms` are those of art
    that it is the first of the page to use, with what they mean.
    """

    kind: str
    content: str
    caption: str = ""
    alt: str = ""
    width: int | None = None
    height: int | None = None
    finding: str = ""
    narrow: str = ""
    terms: list[tuple[str, str]] = field(default_factory=list)


@dataclass
class Section:
    """What stands under a second-level heading, with the address and the text of that; both empty before the first."""

    address: str = ""
    title: str = ""
    blocks: list[Block] = field(default_factory=list)

    @property
    def folded(self) -> bool:
        """Whether only the analyst reads it."""
        return self.title == ANALYST


def title_of(notebook) -> str:
    """Return the first Markdown heading as text, or nothing."""
    prose = (c.source for c in notebook.cells if c.cell_type == "markdown")
    lines = (line for source in prose for line in source.splitlines())
    return next((plain(from_markdown(line)) for line in lines if line.startswith("#")), "")


def read_sections(notebook, failed_cell: int | None = None) -> list[Section]:
    """Return the sections of an executed notebook below its title; `failed_cell` counts from 1."""
    reader = _Reader()
    for number, cell in enumerate(notebook.cells, start=1):
        if cell.cell_type == "markdown":
            reader.read_prose(cell)
        elif cell.cell_type == "code" and cell.source.strip():
            reader.read_code(cell, failed=number == failed_cell)
    reader.flush()
    return [section for section in reader.sections if section.blocks]


def explained(text: str, known: set[str]) -> list[tuple[str, str]]:
    """Return the terms of art in a text that are not `known` yet, with what they mean, and note them there."""
    found = [(name, meaning) for name, pattern, meaning in TERMS if name not in known and pattern.search(text)]
    known.update(name for name, _ in found)
    return found


def led(sections: list[Section], finding: str) -> tuple[Block | None, str]:
    """Take out what stands on top, words and first figure of a finding, and headings left with code alone; return the
    figure and what the words say to look at next.
    """
    taken = {}
    for section in sections:
        for block in list(section.blocks):
            if block.finding == finding and block.kind in ("figure", "finding") and block.kind not in taken:
                taken[block.kind] = block
                section.blocks.remove(block)
        if all(block.kind == "code" or BARE.fullmatch(block.content) for block in section.blocks):
            section.blocks, section.title = [block for block in section.blocks if block.kind == "code"], ""
    onward = taken["finding"].content.partition("</blockquote>")[2] if "finding" in taken else ""
    return taken.get("figure"), plain(re.sub("<strong>.*?</strong>", "", onward))


class _Reader:
    """Where the reading stands: the last heading, the last computed sentence under it and before it, the code since."""

    def __init__(self):
        self.sections = [Section()]
        self.heading = self.sentence = self.earlier = ""
        self.code: list[str] = []

    @property
    def blocks(self) -> list[Block]:
        return self.sections[-1].blocks

    def add(self, kind: str, content: str, **more) -> None:
        self.blocks.append(Block(kind, content, **more))

    def flush(self) -> None:
        if self.code:
            self.add("code", "\n\n".join(self.code))
            self.code = []

    def read_prose(self, cell) -> None:
        markup = from_markdown(cell.source)
        if len(self.sections) == 1 and not self.blocks:
            markup = TITLE.sub("", markup, count=1)
        figure = next((block for block in reversed(self.blocks) if block.kind == "figure"), None)
        if markup.startswith(CAPTION) and figure and not figure.caption:  # a table may stand between
            caption, _, markup = markup.partition("</p>")
            figure.caption, figure.alt = f"{caption}</p>", self.sentence or f"{plain(caption)} {self.earlier}".strip()
        headings = [line.lstrip("# ") for line in cell.source.splitlines() if line.startswith("#")]
        if headings:
            self.flush()  # one place for the code of a section, below what it shows
            self.earlier = self.sentence or self.earlier
            self.heading, self.sentence = headings[-1], ""
        before, *parts = HEADING.split(markup)
        if before.strip():
            self.add("html", before.removesuffix("\n") if parts else before)
            before = ""
        for heading, text in zip(parts[::2], parts[1::2]):
            section = Section(f"s{len(self.sections)}", plain(heading))
            self.sections.append(section)
            shown = "" if section.folded else f'<h2 id="{section.address}">{heading}</h2>'
            self.add("html", f"{before}{shown}{text}")
            before = ""

    def read_code(self, cell, *, failed: bool) -> None:
        if failed:
            self.flush()
            self.add("failing", cell.source)
        else:
            self.code.append(cell.source)
        for output in cell.outputs:
            if output.output_type == "stream" and SAVED.fullmatch(output.text):
                continue  # where the tables are, the foot of the index says
            if output.output_type == "stream":
                self.add("warning" if output.name == "stderr" else "text", without_colours(output.text).rstrip())
            elif output.output_type == "error":
                self.add("error", without_colours("\n".join(output.traceback)) or f"{output.ename}: {output.evalue}")
            else:
                self.read_data(output.data, output.get("metadata", {}))

    def read_data(self, data, metadata) -> None:
        """Add the richest form that a page without scripts can show."""
        image = next((kind for kind in IMAGES if kind in data), None)
        if image:
            told = metadata.get(image, {})
            size = {k: v for k, v in told.items() if k in ("width", "height", "finding")}
            size["narrow"] = _address(image, told["narrow"]) if "narrow" in told else ""
            alt = self.sentence or f"{self.heading} {self.earlier}".strip()
            self.add("figure", _address(image, data[image]), alt=alt, **size)
        elif "text/html" in data:
            self.add("html", from_html(data["text/html"]))
        elif "text/markdown" in data:
            markup = from_markdown(data["text/markdown"])
            self.sentence = plain(markup.partition("</blockquote>")[0])
            self.add("finding", markup, finding=metadata.get("text/markdown", {}).get("finding", ""))
        elif not AXES.fullmatch(data.get("text/plain", "")):
            self.add("text", data.get("text/plain", ""))


def _address(kind: str, content: str) -> str:
    if kind == SVG:
        content = base64.b64encode(content.encode()).decode()
    return f"data:{kind};base64,{''.join(content.split())}"
