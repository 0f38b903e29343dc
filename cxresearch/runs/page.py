"""An executed notebook as the sections of a page: prose, figures, tables, text, code one click away.

What a notebook shows comes from data, so it may hold anybody's markup: what stands on a page is safe, readable HTML.
"""

import base64
import html
import re
from dataclasses import dataclass, field

import mistune
import nh3

from cxresearch.findings import words

TAGS = set(
    "a abbr b blockquote br caption code dd del div dl dt em h1 h2 h3 h4 h5 h6 hr i kbd li ol p pre s small span "
    "strong sub sup table tbody td tfoot th thead tr u ul".split()
)
ATTRIBUTES = {"th": {"colspan", "rowspan"}, "td": {"colspan", "rowspan"}, "a": {"href"}}
ROW, CELL = re.compile(r"<tr>(.*?)</tr>", re.S), re.compile(r"<(th|td)([^>]*)>(.*?)</\1>", re.S)  # nh3 closed them
NUMBER = re.compile(r"[-−–]?|[-−+]?[\d,]*\.?\d+(e[-+]?\d+)?\s?%?|nan|inf", re.I)
WIDE, WIDEST = 9, 11  # columns from which a table needs small type on paper, and very small type
SCROLLS = '<div class="scroll" tabindex="0" role="group" aria-label="Table">'
SHORT = 14  # rows up to which a table stays on one sheet of paper
INLINE = re.compile(r"</?(a|abbr|b|code|del|em|i|kbd|s|small|span|strong|sub|sup|u)(\s[^>]*)?>")
ANSI = re.compile(r"\x1b\[[0-9;]*[A-Za-z]")
IMAGES = ("image/png", "image/jpeg", SVG := "image/svg+xml")
AXES = re.compile(r"<Axes: .*>|<Figure size .*>", re.S)  # what a plot returns; the figure itself is shown
TITLE = re.compile(r"<h1>.*?</h1>\s*", re.S)
SAVED = re.compile(r"(saved .*\n)+")  # what `cx.save` prints
BARE = re.compile(r"<h2[^>]*>.*</h2>\s*")
HEADING = re.compile(r"<h2>(.*?)</h2>", re.S)
ANALYST = "For the analyst"  # the heading of what the page folds away
CAPTION = ("<p><em>Figure.</em>", "<p><em>Figures.</em>")
TERMS = []  # of art: name, how to find it, what it means
for _key, _meaning in words(__package__).items():
    if _key.startswith("term "):
        _names = _key.removeprefix("term ").split("/")
        _found = "|".join(rf"(?<![\w-]){re.escape(name)}(?![\w²])" for name in _names)
        TERMS.append((_names[0], re.compile(_found, re.I), _meaning))
_markdown = mistune.create_markdown(escape=False, plugins=["table", "strikethrough", "url"])


@dataclass
class Block:
    """A piece of a page: html, finding (both safe HTML), figure (a data address); text, warning, error, code or failing
    (code), none of them escaped yet. A figure has its caption (safe HTML), a text in its place, its size in pixels or
    None for its own, and its rendering for phones if there is one. `finding` is the id of what is shown; `terms` are
    those of art that it is the first of the page to use, with what they mean."""

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


def title_of(notebook) -> str:
    """Return the first Markdown heading as text, or nothing."""
    lines = (line for c in notebook.cells if c.cell_type == "markdown" for line in c.source.splitlines())
    return next((plain(from_markdown(line)) for line in lines if line.startswith("#")), "")


def read_sections(notebook, failed_cell: int | None = None) -> list[Section]:
    """Return the sections of an executed notebook below its title; `failed_cell` counts from 1."""
    reader = _Reader()
    for number, cell in enumerate(notebook.cells, start=1):
        if cell.cell_type == "markdown":
            reader.read_prose(cell.source)
        elif cell.cell_type == "code" and cell.source.strip():
            reader.read_code(cell, failed=number == failed_cell)
    reader.put_code()
    return [section for section in reader.sections if section.blocks]


def explained(text: str, known: set[str]) -> list[tuple[str, str]]:
    """Return the terms of art in a text that are not `known` yet, with what they mean, and note them there."""
    found = [(name, meaning) for name, pattern, meaning in TERMS if name not in known and pattern.search(text)]
    known.update(name for name, _ in found)
    return found


def led(sections: list[Section], finding: str) -> tuple[Block | None, str]:
    """Take out what stands on top, words and first figure of a finding, and headings left with code alone; return the
    figure and what the words say to look at next."""
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

    def add(self, kind: str, content: str, **more) -> None:
        self.sections[-1].blocks.append(Block(kind, content, **more))

    def put_code(self) -> None:
        """Put the code of a section in one place, below what it shows."""
        if self.code:
            self.add("code", "\n\n".join(self.code))
            self.code = []

    def read_prose(self, source: str) -> None:
        markup, blocks = from_markdown(source), self.sections[-1].blocks
        if len(self.sections) == 1 and not blocks:
            markup = TITLE.sub("", markup, count=1)
        figure = next((block for block in reversed(blocks) if block.kind == "figure"), None)
        if markup.startswith(CAPTION) and figure and not figure.caption:  # a table may stand between
            caption, _, markup = markup.partition("</p>")
            figure.caption, figure.alt = f"{caption}</p>", self.sentence or f"{plain(caption)} {self.earlier}".strip()
        headings = [line.lstrip("# ") for line in source.splitlines() if line.startswith("#")]
        if headings:
            self.put_code()
            self.earlier = self.sentence or self.earlier
            self.heading, self.sentence = headings[-1], ""
        before, *parts = HEADING.split(markup)
        if before.strip():
            self.add("html", before.removesuffix("\n") if parts else before)
            before = ""
        for heading, text in zip(parts[::2], parts[1::2]):
            section = Section(f"s{len(self.sections)}", plain(heading))
            self.sections.append(section)
            shown = "" if section.title == ANALYST else f'<h2 id="{section.address}">{heading}</h2>'
            self.add("html", f"{before}{shown}{text}")
            before = ""

    def read_code(self, cell, *, failed: bool) -> None:
        if failed:
            self.put_code()
            self.add("failing", cell.source)
        else:
            self.code.append(cell.source)
        for output in cell.outputs:
            if output.output_type == "error":
                self.add("error", ANSI.sub("", "\n".join(output.traceback)) or f"{output.ename}: {output.evalue}")
            elif output.output_type != "stream":
                self.read_data(output.data, output.get("metadata", {}))
            elif not SAVED.fullmatch(output.text):  # where the tables are, the foot of the index says
                self.add("warning" if output.name == "stderr" else "text", ANSI.sub("", output.text).rstrip())

    def read_data(self, data, metadata) -> None:
        """Add the richest form that a page without scripts can show."""
        if image := next((kind for kind in IMAGES if kind in data), None):
            told = metadata.get(image, {})
            shown = {k: v for k, v in told.items() if k in ("width", "height", "finding")}
            shown["alt"] = self.sentence or f"{self.heading} {self.earlier}".strip()
            shown["narrow"] = _address(image, told["narrow"]) if "narrow" in told else ""
            self.add("figure", _address(image, data[image]), **shown)
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


def from_markdown(text: str) -> str:
    """Return Markdown as safe HTML."""
    return from_html(_markdown(text))


def from_html(markup: str) -> str:
    """Return HTML with an allow-list of tags and attributes, no style, no address but links; tables made readable."""
    clean = nh3.clean(markup, tags=TAGS, attributes=ATTRIBUTES, url_schemes={"http", "https", "mailto"})
    return re.sub(r"<table>.*?</table>", lambda m: _table(m.group()), clean, flags=re.S)


def plain(markup: str) -> str:
    """Return the text of HTML on one line."""
    return " ".join(html.unescape(re.sub(r"<[^>]*>", " ", INLINE.sub("", markup))).split())


def _table(table: str) -> str:
    """Return a table with scopes on its headers, numbers and unmet checks marked, in a box that scrolls by itself.
    Columns are counted from the right (-1), since rows may begin below a span; a cell is (tag, attributes, content).
    """
    parts = table.partition("</thead>") if "<thead>" in table else ("", "", table)
    head, body = ([CELL.findall(row) for row in ROW.findall(part)] for part in parts[::2])
    if len(head) == 2 and len(head[0]) == len(head[1]) and not any("span" in cell[1] for cell in head[0] + head[1]):
        pairs = list(zip(*head))  # of pandas: titles above, the index's name below
        if not any(plain(above[2]) and plain(below[2]) for above, below in pairs):
            head = [[above if plain(above[2]) else below for above, below in pairs]]
    texts: dict[int, list[str]] = {}
    for row in body:
        for place, (tag, _, content) in enumerate(row, start=-len(row)):
            if tag == "td":
                texts.setdefault(place, []).append(plain(content))
    numeric = {place for place, told in texts.items() if all(map(NUMBER.fullmatch, told)) and any(told)}
    titles = [plain(content) for _, _, content in head[-1]] if head else []
    verdict = titles.index("OK") - len(titles) if "OK" in titles else None  # the column that says if a check holds
    rows = {"col": [], "row": []}
    for direction, row in [*(("col", row) for row in head), *(("row", row) for row in body)]:
        cells = ""
        for place, (tag, attributes, content) in enumerate(row, start=-len(row)):
            tag = tag if plain(content) else "td"
            scope = f' scope="{direction}{"group" * ("span" in attributes)}"' if tag == "th" else ""
            unmet = direction == "row" and place == verdict and content == "NO"
            kind = ' class="number"' if place in numeric else ' class="unmet"' if unmet else ""
            cells += f"<{tag}{attributes}{scope}{kind}>{content}</{tag}>"
        rows[direction].append(f"<tr>{cells}</tr>")
    columns = max(map(len, [*head, *body]), default=0)
    sizes = {"wide": columns >= WIDE, "widest": columns >= WIDEST, "short": len(body) <= SHORT}
    size = f' class="{" ".join(name for name, so in sizes.items() if so)}"' if any(sizes.values()) else ""
    thead = f"<thead>{''.join(rows['col'])}</thead>" if head else ""
    caption = "".join(re.findall(r"<caption>.*?</caption>", table, flags=re.S))
    return f"{SCROLLS}<table{size}>{caption}{thead}<tbody>{''.join(rows['row'])}</tbody></table></div>"
