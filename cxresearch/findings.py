"""The contract of a result, the glossary of its columns, the words of its sentences."""

import html
import json
import math
import os
import re
import sys
import tomllib
from collections import namedtuple
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import cache, partial, wraps
from pathlib import Path
from string import Formatter
from typing import ClassVar

import pandas as pd
from pandas.api.types import is_bool, is_number, is_scalar

from cxresearch import digits
from cxresearch.errors import DataProblem, StudyProblem, TooFewRespondents, require_share

CANNOT = "this question cannot be asked of these data: "
RUN_FOLDER = "CXRESEARCH_RUN"  # set by a run for each notebook; unset when somebody explores
LINE_BREAKS = re.compile(r"\s*[\n\r\x0b\x0c\x1c-\x1e\x85\u2028\u2029]\s*")
FORMULA = tuple("=+-@\t\r\n＝＋－＠")  # a cell that starts so is run by some spreadsheet
IDENTIFIERS = ("term", "group", "segment", "wave", "feature", "check", "table", "item", "step")  # they lead a table
ENDS = ["estimate", "conf_low", "conf_high"]  # the columns of an estimate and its interval
ITEMS = ("term", "other", "feature", "outcome")  # columns whose item keys are shown in the study's words
Column = namedtuple("Column", "title meaning decimals", defaults=[None])  # of a table: what a reader sees of it
Check = namedtuple("Check", "check value limit ok level", defaults=["care"])  # failed, it "stops", or is "info"
Shown = namedtuple("Shown", "table value low high title")  # what a deck's chart shows; a title in % is of shares


class Words(dict):
    """The sentences of a room by id."""

    def __call__(self, key: str, /, **known) -> str:
        """Return the sentence `key` with those of the values that it names, written as it asks (see `_written`)."""
        parts = Formatter().parse(self[key])
        return "".join(t + ("" if name is None else _written(known[name], spec, how)) for t, name, spec, how in parts)

    told = __call__  # of a finding; the plain call is for refusals, too

    def refuse_if(self, forbidden, key: str, /, **values) -> None:
        """Raise the sentence `key` where something is forbidden: few_... is `TooFewRespondents`, others `DataProblem`."""
        if forbidden:
            raise (TooFewRespondents if key.startswith("few_") else DataProblem)(self(key, **values))


GLOSSARY: dict[str, Column] = {}  # of every table of every finding; units stand on the axes


@cache
def words(package: str) -> Words:
    """Return the sentences of a package's ``words.toml``; its columns join the glossary, where a name means one thing."""
    found = tomllib.loads(Path(sys.modules[package].__file__).with_name("words.toml").read_text(encoding="utf-8"))
    for name, entry in found["columns"].items():
        if GLOSSARY.setdefault(name, Column(*entry)) != Column(*entry):
            raise ValueError(f"column {name!r} already means {GLOSSARY[name].meaning!r}")
    return Words(found["sentences"])


say = words("cxresearch")


def _marked(plot):
    """Return a method that draws, whose figure carries the id of the finding it shows, and how to draw it again."""

    @wraps(plot)
    def draw(self, *args, **options):
        ax = plot(self, *args, **options)
        if figure := getattr(ax, "figure", None):
            figure.finding = self.id
            # IPython would draw it at the end of the cell and throw that away: pictures are drawn when they are shown.
            if type(figure.canvas).__name__ == "FigureCanvasAgg":
                figure.stale = False
            if RUN_FOLDER in os.environ and not args and options.get("ax") is None:
                figure.again = partial(plot, self, **options)  # for the width of a phone, which pages alone show
        return ax

    return draw


@dataclass(frozen=True, repr=False, eq=False)
class Finding:
    """What an analysis found; its `id` names the question and holds no number, so that two runs can be compared."""

    function: str  # the question: the public function,
    outcome: str  # what was measured,
    group: str | None  # the column it was split by
    table: pd.DataFrame  # one row per part; what `tidy` copies
    summary: Mapping[str, object]  # the values of the one row of `glance`; always `n` and `method`
    tested: tuple[Check, ...]  # never empty
    labels: Mapping[str, str] = field(default_factory=dict)  # item key -> words for sentences and plots
    further: Mapping[str, pd.DataFrame] = field(default_factory=dict)  # tables by name, for what one cannot hold
    suppressed: int = field(default=0, kw_only=True)  # cells hidden or pooled for their base
    domain: str = field(default="", kw_only=True)  # the condition that rows meet (`Survey.where`)
    fitted: object = field(default=None, kw_only=True)  # the statsmodels results object behind it
    says: str = field(default="", kw_only=True)  # the sentence
    figure: Callable | None = field(default=None, kw_only=True)  # (finding, ax) -> Axes
    drawn: Mapping[str, object] = field(default_factory=dict, kw_only=True)  # options of `figures.forest`; its `scale`
    highlights: ClassVar = {}  # what a first screen shows of the finding, in words: value, interval, verdict, quotes
    chart: ClassVar = None  # what a deck's chart shows (`Shown`); None where the tables speak for themselves
    by = property(lambda self: tuple(self.group.split(", ")) if self.group else (), doc="Columns that it is split by.")

    def __init_subclass__(cls, **options):
        super().__init_subclass__(**options)
        for name in [name for name in vars(cls) if name.startswith("plot")]:
            setattr(cls, name, _marked(vars(cls)[name]))

    @property
    def id(self) -> str:
        parts = {"": f"{self.function} {self.outcome}", " by ": self.group, " where ": self.domain}
        return "".join(f"{word}{part}" for word, part in parts.items() if part)

    @property
    def established(self) -> bool | None:
        """Whether the headline stands; None where nothing is claimed, False where a check stops it."""
        stopped = any(check.level == "stops" and not check.ok for check in self.tested)
        claimed = False if stopped else self.summary.get("established")
        return None if claimed is None else bool(claimed)

    def tidy(self) -> pd.DataFrame:
        """Return one row per part, as a copy."""
        return self._of_this(self.table)

    def tables(self) -> dict[str, pd.DataFrame]:
        """Return every table by name, `tidy` first."""
        return {"tidy": self.tidy(), **{name: self._of_this(table) for name, table in self.further.items()}}

    def glance(self) -> pd.DataFrame:
        """Return exactly one row about the whole; `established` is missing where nothing is claimed."""
        return self._of_this(pd.DataFrame([dict(self.summary) | {"established": self.established}]))

    def checks(self) -> pd.DataFrame:
        """Return check, value, limit, ok, level; never empty."""
        return self._of_this(pd.DataFrame(self.tested, columns=list(Check._fields)))

    def _of_this(self, table: pd.DataFrame) -> pd.DataFrame:
        """Return a copy that carries the finding's id, so that what a notebook shows of it can be told, and its words."""
        found = table.copy()
        found.attrs |= {"finding": self.id, "labels": dict(self.labels)}
        return found

    @property
    def model(self):
        """The statsmodels results object, where a model was fitted."""
        if self.fitted is None:
            raise DataProblem(f"{self.function} fits no model that statsmodels has; its numbers stand in tidy()")
        return self.fitted

    @property
    def title(self) -> str:
        """The first sentence without what stands in brackets, for figures and first screens."""
        words = {*map(str, self.labels.values()), *self.table.select_dtypes(["object", "string"]).stack().map(str)}
        known = "|".join(map(re.escape, sorted(filter(re.compile(r"[.(]").search, words), key=len)[::-1])) or "(?!)"
        first = re.match(rf"(?:{known}|(?!\. ).)*", self.sentence(), re.S)[0]  # what stands in a label ends nothing
        return re.sub(rf"({known})| \([^()]*\)", lambda m: m[1] or "", first).rstrip(".")

    def label(self, key) -> str:
        """Return the words for an item key, or the key itself."""
        return str(self.labels.get(key, key))

    @classmethod
    def of(cls, say: Words, keys, known: Mapping, confidence: float, *question, source, **options) -> "Finding":
        """Return a finding on `source`; its sentences name values of summary and `known`, ``x_span`` x_low to x_high."""
        options = dict(labels=source.labels, domain=getattr(source, "condition", "")) | options
        values = {**question[4], **known}
        require_share("confidence", confidence)
        spans = {f"{k[:-3]}span": (values[k], values[f"{k[:-3]}high"], confidence) for k in values if k[-4:] == "_low"}
        return cls(*question, says=" ".join(say.told(key, **{**spans, **values}) for key in keys), **options)

    def sentence(self) -> str:
        """Return the finding in one or two sentences, every number computed."""
        return self.says

    @_marked
    def plot(self, ax=None):
        """Draw the figure of the finding, or one dot with its interval per row, on `ax` (or a new one) and return it."""
        if self.figure is not None:
            return self.figure(self, ax)
        from cxresearch.figures import forest

        options = dict(zip(("value", "low", "high"), ENDS), title=self.title) | self.drawn
        shown = self.table[self.table[options["value"]].notna()]
        ends, scale = [*{options[end] for end in ("value", "low", "high")}], options.pop("scale", 1)
        shown = shown.assign(**shown[ends].mul(scale, axis=0))  # by a number, or one for each row
        return forest(shown, ax=ax, **{"names": map(self.label, shown.iloc[:, 0])} | options)

    def __repr__(self) -> str:
        return self.sentence()

    def _repr_markdown_(self) -> tuple[str, dict]:
        return f"> {as_text(self.sentence())}", {"finding": self.id}


def nothing(function: str, outcome: str, by: str | None, why: str, *, n: int = 0, labels=None) -> Finding:
    """Return the finding of a question that these data cannot be asked, `why` being a sentence without its full stop."""
    from cxresearch.figures import written

    check = Check("the data can answer the question", why, "they can", False, "stops")
    summary = {"n": n, "method": "none", "established": False}
    table, told = pd.DataFrame({"term": [], "estimate": [], "n": []}), f"{why[:1].upper()}{why[1:]}."
    return Finding(function, outcome, by, table, summary, (check,), dict(labels or {}), says=told, figure=written)


def asked(analysis, /, *arguments, **options) -> Finding:
    """Return what `analysis`, such as ``cx.nps``, finds or, where the data cannot answer, the finding that says why: the
    rest of a page stands. A study that is itself wrong raises `StudyProblem`.

    Examples
    --------
    >>> print(cx.asked(cx.nps, study.responses, "satisfaction"))
    This question cannot be asked of these data: satisfaction is declared on a scale of 1-7; ...
    """
    try:
        return analysis(*arguments, **options)
    except StudyProblem:
        raise
    except DataProblem as problem:
        outcome = next((a for a in arguments if isinstance(a, str)), "answers")
        return nothing(analysis.__name__, outcome, None, f"{CANNOT}{problem}".rstrip("."))


def ends(name: str, estimate, low, high) -> dict[str, object]:
    """Return an estimate and the ends of its interval as columns: name, name_low, name_high; estimate, conf_low, ..."""
    return dict(zip(ENDS if name == "estimate" else (name, f"{name}_low", f"{name}_high"), (estimate, low, high)))


def number(value: float, decimals: int = 1) -> str:
    """Return ``1,234.5``, never ``-0.0``; a missing value reads ``not available``."""
    if value is None or not math.isfinite(value):
        return "not available"
    text = f"{digits.significant(value, digits.SETTLED):,.{decimals}f}"
    return text.lstrip("-") if float(text.replace(",", "")) == 0 else text


def percent(share: float, decimals: int = 0) -> str:
    """Return a share (0-1) as ``12 %``."""
    return f"{number(100 * share, decimals)} %"


def interval(low: float, high: float, confidence: float, decimals: int = 1) -> str:
    """Return ``95 % interval 1.2 to 3.4``."""
    return f"{100 * confidence:.3g} % interval {number(low, decimals)} to {number(high, decimals)}"


def p_words(p: float) -> str:
    """Return ``p = 0.012``, and ``p < 0.001`` below it."""
    return "p < 0.001" if p < 0.001 else f"p = {number(p, 3)}"


def _written(value, spec: str, how: str | None) -> str:
    """Return a value by `spec`: ``2`` decimals, ``2%`` of a share, ``2p`` in points, ``2s`` unsigned; a tuple as interval."""
    if not spec:
        return {None: str, "r": repr, "p": p_words}[how](value)
    decimals, scale = int(spec.rstrip("%ps")), 100 if {*spec} & {*"%p"} else 1
    ends = [scale * v for v in value[:2]] if isinstance(value, tuple) else [scale * value]
    ends = [-v for v in ends[::-1]] if spec.endswith("s") and sum(ends) < 0 else ends
    text = number(*ends, decimals) if len(ends) == 1 else interval(*ends, value[2], decimals)
    return f"{text} %" if spec.endswith("%") and text[-1].isdigit() else text


def listing(words: Iterable[str]) -> str:
    """Return ``a, b and c``."""
    *first, last = [str(w) for w in words] or ["none"]
    return f"{', '.join(first)} and {last}" if first else last


def as_text(text: str) -> str:
    """Escape what Markdown, HTML and MathJax would read as markup: labels come from data and are text, on one line."""
    text = LINE_BREAKS.sub(" ", text).strip().replace("\\", "\\\\")
    text = re.sub(r"^([-+=]|\d+[.)])", lambda m: f"{m[0][:-1]}\\{m[0][-1]}", text)
    text = html.escape(re.sub(r"[`*_\[\]|~#!]", r"\\\g<0>", text), quote=False)
    text = text.replace("://", "&#58;//").replace("@", "&#64;")  # else an address in a label becomes a link
    text = re.sub(r"(?i)\b(www|mailto)([.:])", lambda m: f"{m[1]}&#{ord(m[2])};", text)
    # MathJax looks for its marks in the finished page, but never across the end of an element.
    text = text.replace("$", "<span>&#36;</span>").replace("\\\\", "<span>&#92;</span>")
    return re.sub(r"(?<=\d) %", "\u00a0%", text)  # a line must not end between a number and its percent sign


class Readable(pd.DataFrame):
    """A table for a reader; what a notebook shows of it carries the id of its finding."""

    _constructor = property(lambda self: Readable)

    def _repr_html_(self):
        shown = super()._repr_html_()
        return (shown, {"finding": self.attrs["finding"]}) if "finding" in self.attrs else shown


def readable(table: pd.DataFrame) -> pd.DataFrame:
    """Return `table` as a reader wants it, as text: titles of the glossary, sensible decimals, identifiers first, labels.

    Examples
    --------
    >>> cx.readable(cx.nps(study.responses, "recommend").tidy()).index.name
    'Estimate'
    """
    words = {name: table.attrs.get("labels", {}) if name in ITEMS else {} for name in table}
    cells = {name: [_cell(name, words[name].get(v, v)) for v in column] for name, column in table.items()}
    shown = pd.DataFrame(cells, dtype=object).set_axis([described(name).title for name in table], axis=1)
    keys = [described(name).title for name in table.columns if name in IDENTIFIERS]
    found = Readable(shown.set_index(keys or list(shown.columns[:1])))
    found.attrs = dict(table.attrs)
    return found


def described(name) -> Column:
    """Return what a column is called and means; an end of an interval is described with what it is an end of."""
    whole, _, end = str(name).rpartition("_")
    if name not in GLOSSARY and end in ("low", "high") and whole in GLOSSARY:
        return GLOSSARY[whole]._replace(title=f"{GLOSSARY[whole].title}, {end}")
    return GLOSSARY.get(name, Column(str(name).replace("_", " ").capitalize(), ""))


def _cell(name, value) -> str:
    if is_bool(value):
        return "yes" if value else "NO" if name == "ok" else "no"  # a failed check must not be overlooked
    if not is_number(value):
        return "–" if is_scalar(value) and pd.isna(value) else str(value)
    if not math.isfinite(value):
        return "–"
    if value < 0.001 and re.match(r"p_|(\w+_)?p_value$|lack_of_fit$", str(name)):
        return "< 0.001"
    _, meaning, decimals = described(name)
    if decimals is None:
        decimals = 0 if digits.significant(value, digits.SETTLED).is_integer() else 2
    elif decimals and re.search(r"0-1\)?$", meaning):  # tables hold shares 0-1; readers see percent
        if re.search(r"\bshare\b|\bpart of the\b", meaning) or str(name).startswith(("share", "response_rate")):
            return percent(float(value), max(decimals - 2, 0))
    return number(float(value), decimals)


def save(finding: Finding, *, name: str) -> Path:
    """Write a finding's tables (CSV) and its sentence, checks and summary (JSON), and print where.

    Within a run they go to the run's folder; otherwise to ``reports/runs/interactive/`` of the project that holds
    the working folder. A `name` that is not made of letters, digits, ``-`` and ``_`` is refused.
    """
    if not name or not name.replace("-", "").replace("_", "").isalnum():
        raise DataProblem(f"name={name!r} must be made of letters, digits, '-' and '_', since it names files")
    here, running = Path.cwd(), os.environ.get(RUN_FOLDER)
    projects = (p for p in (here, *here.parents) if (p / "notebooks").is_dir() and (p / "reports").is_dir())
    root = next(projects, here.parent if here.name == "notebooks" else here)
    folder = Path(running or os.path.relpath(root / "reports" / "runs" / "interactive"))
    folder.mkdir(parents=True, exist_ok=True)
    tables, path, seen = finding.tables(), folder / f"{name}.json", set()
    files = {key: f"{name}.{key}.csv" for key in tables}
    for key, table in tables.items():
        written = csv_safe(digits.kept_table(table))
        written.to_csv(folder / files[key], index=False, float_format="%.15g", lineterminator="\n")
        seen |= {v for column in table.select_dtypes(["object", "string"]) for v in table[column] if isinstance(v, str)}
    record = {
        "id": finding.id, "function": finding.function, "what": finding.label(finding.outcome), "title": finding.title,
        "outcome": finding.outcome, "by": list(finding.by), "established": finding.established,
        "suppressed": finding.suppressed, "sentence": finding.sentence(), "glance": _plain(finding.glance())[0],
        "checks": _plain(finding.checks()), "tables": files,
        "labels": {str(key): str(words) for key, words in finding.labels.items() if key in seen},
    }  # fmt: skip
    record |= {"chart": finding.chart._asdict()} if finding.chart else {}
    record |= {"highlights": finding.highlights} if finding.highlights else {}
    path.write_text(json.dumps(record, indent=1, ensure_ascii=False, allow_nan=False) + "\n", encoding="utf-8")
    shown = Path("findings", folder.name, path.name) if running else path
    print(f"saved {finding.id}: {shown.as_posix()} and {len(files)} table(s)")
    return path


def csv_safe(table: pd.DataFrame) -> pd.DataFrame:
    """Return `table` with text that a spreadsheet would run as a formula made plain by a leading apostrophe."""

    def safe(value):
        if not isinstance(value, str):
            return value
        whole = re.sub(r"\r\n?", "\n", value)  # pandas does not quote a carriage return, and a new row would begin
        return f"'{whole}" if value.startswith(FORMULA) else whole

    return table.rename(columns=safe).map(safe)


def _plain(table: pd.DataFrame) -> list[dict]:
    return json.loads(digits.kept_table(table).to_json(orient="records", double_precision=15, default_handler=str))
