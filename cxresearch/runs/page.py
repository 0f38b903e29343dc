"""An executed notebook as the blocks of a page: prose, figures, tables, text, code one click away."""

import base64
import re
from dataclasses import dataclass, field, replace

from cxresearch.runs.execution import Failure
from cxresearch.runs.markup import from_html, from_markdown, plain, without_colours

SVG = "image/svg+xml"
IMAGES = ("image/png", "image/jpeg", SVG)
AXES = re.compile(r"<Axes: .*>|<Figure size .*>", re.S)  # what a plot returns; the figure itself is shown
ANCHORED = re.compile(r'<h2 id="(\w+)">(.*?)</h2>', re.S)
ANALYST = "For the analyst"
TITLE = re.compile(r"<h1>.*?</h1>\s*", re.S)
SAVED = re.compile(r"(saved .*\n)+")  # what `cx.save` prints
HEADING = re.compile(r"<h2>(.*?)</h2>", re.S)
CAPTION = ("<p><em>Figure.</em>", "<p><em>Figures.</em>")


@dataclass(frozen=True)
class Block:
    """A piece of a page: html, finding, figure, text, warning, error, code, failing (code) or mark.

    Content is safe HTML for ``html`` and ``finding``, a data address for ``figure``, otherwise text, not escaped yet. A
    figure has a caption (safe HTML), a text in its place, and its size in pixels on the page or None for its own.
    `finding` is the id of what it shows.
    """

    kind: str
    content: str
    caption: str = ""
    alt: str = ""
    width: int | None = None
    height: int | None = None
    finding: str = ""


@dataclass
class _Reader:
    """Where the reading stands: the last heading, the last computed sentence under it and before it, the code since."""

    failure: Failure | None
    blocks: list[Block] = field(default_factory=list)
    heading: str = ""
    sentence: str = ""
    earlier: str = ""
    code: list[str] = field(default_factory=list)

    def add(self, kind: str, content: str) -> None:
        self.blocks.append(Block(kind, content))

    def flush(self) -> None:
        if self.code:
            self.add("code", "\n\n".join(self.code))
            self.code = []


def led(blocks: list[Block], finding: str) -> tuple[Block | None, list[Block]]:
    """Take out the words of the finding that leads a page, and its first figure, which is returned: both stand on top."""
    figure, told = (
        next((b for b in blocks if (b.kind, b.finding) == (kind, finding)), None) for kind in ("figure", "finding")
    )
    return figure, [b for b in blocks if b is not figure and b is not told]


def read_page(notebook, failure: Failure | None = None) -> tuple[str, list[Block]]:
    """Return the title, which is the first heading, and the blocks of an executed notebook below it."""
    reader = _Reader(failure)
    for index, cell in enumerate(notebook.cells):
        if cell.cell_type == "markdown":
            _read_prose(reader, cell)
        elif cell.cell_type == "code" and cell.source.strip():
            _read_code(reader, cell, failed=failure is not None and failure.cell == index)
    reader.flush()
    blocks = [replace(b, content=TITLE.sub("", b.content, count=1)) for b in reader.blocks[:1]] + reader.blocks[1:]
    return title_of(notebook), [b for b in blocks if b.content.strip()]


def with_anchors(blocks: list[Block]) -> tuple[list[Block], list[tuple[str, str]]]:
    """Return the blocks with their second-level headings made addresses, and (address, heading) of each."""
    contents: list[tuple[str, str]] = []

    def anchored(match) -> str:
        contents.append((f"s{len(contents) + 1}", plain(match.group(1))))
        return f'<h2 id="{contents[-1][0]}">{match.group(1)}</h2>'

    made = [replace(b, content=HEADING.sub(anchored, b.content)) if b.kind == "html" else b for b in blocks]
    return made, contents


def sections(blocks: list[Block]) -> list[tuple[str, list[Block]]]:
    """Return the blocks section by section, each with its address where it is folded: what only the analyst reads."""
    found: list[tuple[str, list[Block]]] = [("", [])]
    for block in blocks:
        if block.kind == "html" and (heading := ANCHORED.search(block.content)):
            folded = plain(heading[2]) == ANALYST
            found.append((heading[1] if folded else "", []))
            block = replace(block, content=ANCHORED.sub("", block.content, count=1)) if folded else block
        found[-1][1].append(block)
    return [section for section in found if section[1]]


def title_of(notebook) -> str:
    """Return the first Markdown heading as text, or nothing."""
    prose = (c.source for c in notebook.cells if c.cell_type == "markdown")
    lines = (line for source in prose for line in source.splitlines())
    return next((plain(from_markdown(line)) for line in lines if line.startswith("#")), "")


def _read_prose(reader: _Reader, cell) -> None:
    markup = from_markdown(cell.source)
    if markup.startswith(CAPTION) and reader.blocks and reader.blocks[-1].kind == "figure":
        caption, _, markup = markup.partition("</p>")
        alt = reader.sentence or f"{plain(caption)} {reader.earlier}".strip()
        reader.blocks[-1] = replace(reader.blocks[-1], caption=f"{caption}</p>", alt=alt)
    if not markup.strip():
        return
    headings = [line.lstrip("# ") for line in cell.source.splitlines() if line.startswith("#")]
    if headings:
        reader.flush()  # one place for the code of a section, below what it shows
        reader.earlier = reader.sentence or reader.earlier
        reader.heading, reader.sentence = headings[-1], ""
    reader.add("html", markup)


def _read_code(reader: _Reader, cell, *, failed: bool) -> None:
    if failed:
        reader.flush()
        reader.add("failing", cell.source)
        reader.add("mark", reader.failure.reason)
    else:
        reader.code.append(cell.source)
    for output in cell.outputs:
        _read_output(reader, output)


def _read_output(reader: _Reader, output) -> None:
    if output.output_type == "stream" and SAVED.fullmatch(output.text):
        return  # where the tables are, the foot of the index says
    if output.output_type == "stream":
        reader.add("warning" if output.name == "stderr" else "text", without_colours(output.text).rstrip())
    elif output.output_type == "error":
        reader.add("error", without_colours("\n".join(output.traceback)) or f"{output.ename}: {output.evalue}")
    else:
        _read_data(reader, output.data, output.get("metadata", {}))


def _read_data(reader: _Reader, data, metadata) -> None:
    """Add the richest form that a page without scripts can show."""
    image = next((kind for kind in IMAGES if kind in data), None)
    if image:
        size = {k: v for k, v in metadata.get(image, {}).items() if k in ("width", "height", "finding")}
        alt = reader.sentence or f"{reader.heading} {reader.earlier}".strip()
        reader.blocks.append(Block("figure", _address(image, data[image]), alt=alt, **size))
    elif "text/html" in data:
        reader.add("html", from_html(data["text/html"]))
    elif "text/markdown" in data:
        markup = from_markdown(data["text/markdown"])
        reader.sentence = plain(markup)
        reader.blocks.append(Block("finding", markup, finding=metadata.get("text/markdown", {}).get("finding", "")))
    elif not AXES.fullmatch(data.get("text/plain", "")):
        reader.add("text", data.get("text/plain", ""))


def _address(kind: str, content: str) -> str:
    if kind == SVG:
        content = base64.b64encode(content.encode()).decode()
    return f"data:{kind};base64,{''.join(content.split())}"
