"""Cell output as safe, readable HTML: what a notebook shows comes from data, so it may hold anybody's markup."""

import html
import re

import mistune
import nh3

TAGS = set(
    "a abbr b blockquote br caption code dd del div dl dt em h1 h2 h3 h4 h5 h6 hr i kbd li ol p pre s small span "
    "strong sub sup table tbody td tfoot th thead tr u ul".split()
)
SPANS = {"colspan", "rowspan"}
ATTRIBUTES = {"th": SPANS, "td": SPANS, "a": {"href"}}
NUMBER = re.compile(r"[-−–]?|[-−+]?[\d,]*\.?\d+(e[-+]?\d+)?\s?%?|nan|inf", re.I)
WIDE, WIDEST = 9, 11  # columns from which a table needs small type on paper, and very small type
SHORT = 14  # rows up to which a table stays on one sheet of paper
INLINE = re.compile(r"</?(a|abbr|b|code|del|em|i|kbd|s|small|span|strong|sub|sup|u)(\s[^>]*)?>")
ANSI = re.compile(r"\x1b\[[0-9;]*[A-Za-z]")
_markdown = mistune.create_markdown(escape=False, plugins=["table", "strikethrough", "url"])


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


def without_colours(text: str) -> str:
    """Return terminal text without its colour codes."""
    return ANSI.sub("", text)


def _rows(part: str) -> list[list[tuple[str, str, str]]]:
    """Return the cells (tag, attributes, content) of each row; nh3 has closed every tag."""
    rows = re.findall(r"<tr>(.*?)</tr>", part, flags=re.S)
    return [re.findall(r"<(th|td)([^>]*)>(.*?)</\1>", row, flags=re.S) for row in rows]


def _table(table: str) -> str:
    """Return a table with scopes on its headers, numbers marked, in a box that scrolls by itself."""
    head_part, _, body_part = table.partition("</thead>") if "<thead>" in table else ("", "", table)
    caption = "".join(re.findall(r"<caption>.*?</caption>", table, flags=re.S))
    head, body = _one_header(_rows(head_part)), _rows(body_part)
    numeric, verdict = _numeric_columns(body), _verdict_column(head)
    head_html = "".join(_row(row, "col", numeric) for row in head)
    body_html = "".join(_row(row, "row", numeric, verdict) for row in body)
    columns = max(map(len, [*head, *body]), default=0)
    sizes = {"wide": columns >= WIDE, "widest": columns >= WIDEST, "short": len(body) <= SHORT}
    kinds = " ".join(kind for kind, so in sizes.items() if so)
    size = f' class="{kinds}"' if kinds else ""
    thead = f"<thead>{head_html}</thead>" if head else ""
    return (
        '<div class="scroll" tabindex="0" role="group" aria-label="Table">'
        f"<table{size}>{caption}{thead}<tbody>{body_html}</tbody></table></div>"
    )


def _one_header(rows):
    """Return pandas' two header rows, titles above and the index's name below, as one."""
    if len(rows) != 2 or len(rows[0]) != len(rows[1]) or any("span" in cell[1] for row in rows for cell in row):
        return rows
    pairs = list(zip(*rows))
    if any(plain(above[2]) and plain(below[2]) for above, below in pairs):
        return rows
    return [[above if plain(above[2]) else below for above, below in pairs]]


def _numeric_columns(body) -> set[int]:
    """Return the columns, counted from the right (-1), in which every data cell is a number or empty, not all empty."""
    seen: dict[int, list[str]] = {}
    for row in body:
        for place, (tag, _, content) in enumerate(row, start=-len(row)):
            if tag == "td":
                seen.setdefault(place, []).append(plain(content))
    return {p for p, texts in seen.items() if all(map(NUMBER.fullmatch, texts)) and any(map(str.strip, texts))}


def _verdict_column(head) -> int | None:
    """Return the column, counted from the right, that says whether a check holds."""
    titles = [plain(content) for _, _, content in head[-1]] if head else []
    return titles.index("OK") - len(titles) if "OK" in titles else None


def _row(row, direction: str, numeric: set[int], verdict: int | None = None) -> str:
    cells = []
    for place, (tag, attributes, content) in enumerate(row, start=-len(row)):
        tag = tag if plain(content) else "td"
        scope = f' scope="{direction}{"group" if "span" in attributes else ""}"' if tag == "th" else ""
        kind = "number" if place in numeric else "unmet" if place == verdict and content == "NO" else ""
        marked = f' class="{kind}"' if kind else ""
        cells.append(f"<{tag}{attributes}{scope}{marked}>{content}</{tag}>")
    return f"<tr>{''.join(cells)}</tr>"
