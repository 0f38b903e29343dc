"""An opened study: its tables, roles, labels and design, in the words that notebooks use; and its parts."""

from collections import defaultdict, namedtuple
from collections.abc import Iterable, Mapping
from copy import copy
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Self

import pandas as pd

from cxresearch.errors import StudyProblem, TooFewRespondents, nearest, plain_text, require_choice
from cxresearch.findings import number
from cxresearch.privacy import study_key
from cxresearch.study import narrow, schema
from cxresearch.study.codes import count
from cxresearch.study.document import Document, refuse, say
from cxresearch.study.narrow import CUSTOMER, Only, as_words
from cxresearch.study.schema import COLUMNS, COUNTING, OUTCOMES, ROLES, TABLES, Item, StudyFile, Table, Touchpoint
from cxresearch.study.shared import lent_table
from cxresearch.study.table import SHOWN, Loaded, find_files, guarded, load_table, names_in, reasons
from cxresearch.survey import Survey
from cxresearch.survey import Table as Events

DESIGN = {"weight": "weight", "strata": "stratum", "cluster": "cluster", "fpc": "fpc", "wave": "wave"}
GROUPINGS = ("demographic", "segment")
# What nobody has confirmed yet: file and line, what it is (item recommend), what it says, whether it changes a number.
Guess = namedtuple("Guess", "place what says counts")
HARMLESS = {"encoding", "encoding_errors"}  # keys of a table whose guess changes at most how text looks


def open_study(path: str | Path, *, today: date | None = None) -> "Study":
    """Open a study: validate `study.yml`, find its files; a table is read and checked when it is first asked for.

    `path` is the study file or its folder; with ``?market=North`` after it, the part of the study with that value
    (`cxresearch.study.narrow`). `today`, by default the computer's date, is held against ``privacy.delete_after``.

    Raises
    ------
    StudyProblem, DataProblem
        The file is absent or wrong, a source is absent, the data were to be deleted; ``CXRESEARCH_KEY`` is too short.

    Examples
    --------
    >>> import cxresearch as cx
    >>> study = cx.open_study("data/example/study.yml")
    >>> study.column("nps")
    'recommend'
    >>> study.waterfall("responses").iloc[0].tolist()
    ['received', np.int64(2216), np.int64(0), 'responses.csv: 2216 rows']
    """
    path, only = narrow.split_reference(path)
    path = path / "study.yml" if path.is_dir() else path
    if not path.is_file():
        near = nearest(path.name, names_in(path.parent, "*.y*ml"))
        raise StudyProblem(say("no study", path=repr(str(path)), near=near))
    whole = Study(path, *schema.read_study_file(path))
    late = ((today or date.today()) - whole.delete_after).days if whole.delete_after else 0
    if late > 0:
        why = f" ({whole.purpose})" if whole.purpose else ""
        told = say("overdue", day=whole.delete_after, ago=count(late, "day"), why=why)
        raise StudyProblem(f"{whole._document.place(('privacy', 'delete_after'))}: {told}")
    whole._require_known_words()
    return whole.narrowed(only) if only else whole


class Study:
    """Checked tables whose columns are named by item key; made by `open_study`.

    ``responses`` and ``customers`` are surveys; ``transactions``, ``interactions``, ``employees`` and ``costs`` events.

    path, title, currency, version, waves, population, programme, reports, purpose, delete_after, taxonomy : as declared
    min_base : the disclosure floor, in distinct persons
    cost_roles, kinds, targets : kind of cost -> what it is for; driver -> what it is about; item -> what is aimed at
    labels : item -> words, or its key
    files : every source file, each once, in the order of declaration; a part of a study rests on all of them
    table_names, column_names : the tables declared; table -> the columns that it is declared to have
    revenue_window : first and last day (ISO) that the customers' revenue covers; None where the study does not say
    only, part, reference : columns and values of a part of a study, none for the whole; in words; what opens it again
    """

    def __init__(self, path: Path, declared: StudyFile, document: Document):
        for key in ("title", "currency", "version", "waves", "population", "programme", "reports"):
            setattr(self, key, getattr(declared, key))
        self.path, self._document, self._touchpoints = path, document, declared.touchpoints
        self.purpose, self.delete_after = declared.privacy.purpose, declared.privacy.delete_after
        self.min_base, self.cost_roles = declared.privacy.minimum_base, getattr(declared.tables.costs, "roles", {})
        self.taxonomy = declared.taxonomy and path.parent / declared.taxonomy
        self._files, self._key = find_files(path.parent, declared, document), study_key(self.title)
        found = [path for files in self._files.values() for paths in files.values() for path in paths]
        self.files: list[Path] = list(dict.fromkeys(filter(None, [*found, self.taxonomy])))
        self._narrow(self, {name: table for name, table in declared.tables if table is not None}, (), {})

    def _narrow(self, whole: "Study", tables: dict[str, Table], only: Only, lost: dict[str, str]) -> None:
        """Make this a part of a study that nothing has been read of; `lost` are tables that it cannot have."""
        self._whole, self._declared, self._lost, self._is_group = whole, tables, lost, not only
        self.only, self.part = only, ", ".join(f"{column} = {value}" for column, value in only)
        self.reference = narrow.reference_to(self.path.resolve(), only)
        self.table_names = list(tables)
        self.column_names = {name: table.column_names for name, table in tables.items()}
        every = [(name, column) for name, table in tables.items() for column in table.declared()]
        self._every_item = [(name, column.name, column.said) for name, column in every if isinstance(column.said, Item)]
        items = [(key, item) for _, key, item in self._every_item]
        self.kinds = {key: item.kind for key, item in items if item.kind}
        self.targets = {key: item.target for key, item in items if item.target is not None}
        self.labels = {key: key for key, _ in items} | {key: item.label for key, item in items if item.label}
        revenue = getattr(tables.get("customers"), "revenue", None)
        self.revenue_window = tuple(day and str(day) for day in (revenue and revenue.from_, revenue and revenue.to))
        self._loaded, self._guarded, self._matched = {}, {}, {}
        # What was asked of parts of each table, two of which may tell of few; and what is hidden of it.
        self._domains, self._decided = defaultdict(list), defaultdict(dict)

    def __repr__(self) -> str:
        return f"Study {self.title!r}: {', '.join(self._declared)}"

    @property
    def queries(self) -> dict[str, str]:
        """Table -> digest of the query it comes from and of the rows that this returned; reads these tables, whole."""
        whole = self._whole
        return {name: whole.read(name).digest for name, table in whole._declared.items() if table.database is not None}

    @property
    def privacy(self) -> list[str]:
        """What is done so that the tables name nobody, one sentence each."""
        every = [(f"{name}.", table) for name, table in self._declared.items()]
        ids, texts = ([of + c for of, d in every for c in getattr(d, key)] for key in ("id_columns", "text_columns"))
        said = [f"ids become pseudonyms: {', '.join(ids)}", self._key.said()] if ids else []
        said += [f"texts are redacted: {', '.join(texts)}"] if texts else []
        return [*said, f"groups under {self.min_base} are pooled or hidden"]

    def load_all(self) -> None:
        """Read and check every declared table now."""
        for name in self._declared:
            self.read(name)
        self._require_decided(*self._declared)

    def read(self, name: str) -> Loaded:
        """Return a declared table with its waterfall although guesses may be left in it: what `check` looks at."""
        if name not in self._loaded and self.only:
            self._loaded[name] = self._narrowed_table(name)
        elif name not in self._loaded:
            of = {"folder": self.path.parent, "min_base": self.min_base, "currency": self.currency}
            found = lent_table(self, name) or load_table(name, self._declared[name], self._files[name], **of)
            self._require_held(name, found.table)
            self._loaded[name] = found
        return self._loaded[name]

    def declaration(self, name: str) -> Table:
        """Return what the study file says about a table."""
        return self._declared[name]

    def _load(self, name: str) -> Loaded:
        if name not in self._declared:
            told = dict(tables=", ".join(self._declared), near=nearest(name, self._declared))
            raise StudyProblem(say("undeclared", file=self.path.name, name=repr(name), **told))
        loaded = self.read(name)
        self._require_decided(name)
        return loaded

    def _table(self, name: str) -> pd.DataFrame:
        loaded, declared = self._load(name).table, self._declared[name]
        if name not in self._guarded:
            self._guarded[name] = guarded(loaded, declared, self._key)
        table = self._guarded[name].copy()  # a notebook may add columns to its own copy
        # An analysis refuses or names a scale it is not made for; 1-10 and 0-10 cannot be told apart by the answers.
        table.attrs["scales"] = {key: tuple(item.scale) for key, item in declared.items.items() if item.scale}
        return table

    def waterfall(self, table: str) -> pd.DataFrame:
        """Return step, rows, removed and reason of a table: received, valid, deduplicated, (matched,) used."""
        return self._matched.get(table, self._load(table).waterfall).table()

    def survey_of(self, name: str, table: pd.DataFrame) -> Survey:
        """Return a table of the study as a survey: what the study file says of its design, items, waves and floor."""
        found = {key: column if column in table.columns else None for key, column in DESIGN.items()}
        person = next((c for c in (*self._items("respondent", name), "respondent", "customer") if c in table), None)
        asked, items = next(iter(self._items("asked_at", name)), None), self._declared[name].items.items()
        held = {plain_text(label) for label in pd.unique(table["wave"].dropna())} if found["wave"] else set()
        waves = tuple(label for label in self.waves if plain_text(label) in held)
        survey = Survey(
            table, **found, asked_at=asked, respondent=person, labels=self.labels, scales=table.attrs.get("scales", {}),
            roles={key: tuple(item.role) for key, item in items if item.role}, min_base=self.min_base,
            multiple={key: tuple(item.choices(key)) for key, item in items if item.multiple},
            currency=self.currency, population=self.population if name == "customers" else None,
            sources=tuple(wave for wave in self._files[name] if wave is not None),
            taken=self._domains[name], decided=self._decided[name], **self._beside(name),
        )  # fmt: skip
        return replace(survey, waves=waves) if waves else survey

    def _of(self, name: str) -> Survey | Events:
        """Return a table as notebooks have it: responses and customers as surveys, the others as tables of events."""
        table = self._table(name)
        if name in ("responses", "customers"):
            return self.survey_of(name, table)
        person = "customer" if "customer" in table else None
        return Events(table, person, self.labels, self.min_base, self.currency, {c: c for c in table.columns})

    def matched(self, left: str, right: str, *, keep: str = "latest", answered: str | None = None) -> Survey:
        """Return two tables joined on their customer (inner join), and count the rows in the waterfall of `left`.

        In `right` a customer stands once; of a column in both, that of `left` stays. `keep` "all" of several responses
        of a customer, or the "latest", by asked_at or else by wave, in which an outcome (role nps, csat, ces or
        outcome), or the one named by `answered`, was answered, so that all that is told is about the same customers.
        """
        require_choice("keep", keep, ("latest", "all"))
        for name, loaded in {left: self._load(left), right: self._load(right)}.items():
            if "customer" not in loaded.table.columns:
                raise StudyProblem(say("no customer", table=name, file=self.path.name))
        survey, others = self.survey_of(left, self._table(left)), self._table(right)
        if others["customer"].duplicated().any():
            raise StudyProblem(say("customers twice", left=left, right=right))
        rows, counts = survey.table, {}

        def leave(why: str, out: pd.Series) -> None:
            nonlocal rows
            counts[why], rows = int(out.sum()), rows[~out]

        leave("without a customer", rows["customer"].isna())
        absent = pd.Index(others["customer"]).get_indexer(rows["customer"]) < 0  # isin is slow on long text columns
        leave(f"whose customer is not in {right}", absent)
        if keep == "latest":
            outcomes = [answered] if answered else [key for role in OUTCOMES for key in self._items(role, left)]
            leave("without any answered outcome", rows[outcomes].isna().all(axis=1) & bool(outcomes))
            if rows["customer"].duplicated().any():
                order = next(iter(self._items("asked_at", left)), "wave")
                if order not in rows:
                    raise StudyProblem(say("no latest", table=left))
                ranks = {w: i for i, w in enumerate(survey.wave_order)} if order == "wave" else {}
                when = rows[order].map(ranks) if ranks else rows[order]
                dated = rows.loc[when.sort_values(kind="stable", na_position="first").index, "customer"]
                leave("earlier than the customer's latest", dated.duplicated(keep="last").reindex(rows.index))
        twice = [column for column in others.columns if column in rows.columns and column != "customer"]
        joined = rows.merge(others.drop(columns=twice), on="customer", how="inner", validate="many_to_one")
        shared = f"{' and '.join(twice)} as in {left}, which {right} have too" if twice else ""
        why = "; ".join(filter(None, (reasons(counts), shared)))
        self._matched[left] = self._load(left).waterfall.before_use("matched", len(joined), why)
        scales = others.attrs["scales"] | dict(survey.scales)
        return survey.with_table(joined, scales=scales, respondent="customer", population=self.population)

    def described(self, survey: Survey) -> Survey:
        """Return a survey with what the customers table says of each customer beside it, where the study has one."""
        if "customers" not in self._declared:
            return survey
        table, customers = survey.table, self._table("customers")
        told = customers[["customer", *customers.columns.difference(table.columns, sort=False)]]
        joined = table.merge(told, on="customer", how="left", validate="many_to_one")
        joined.attrs = table.attrs
        return survey.with_table(joined, labels={**self.labels, **survey.labels})

    def narrowed(self, only: Only) -> Self:
        """Return the part in which each (column, value) of `only` holds, too; see `cxresearch.study.narrow`.

        `StudyProblem` where a column is in no table or holds persons; tables under the minimum base are refused.
        """
        whole, only = self._whole, (*self.only, *only)
        columns = [column for column, _ in only]
        narrow.require_groups(whole, columns)
        lost, part = narrow.cannot_narrow(whole.column_names, columns), copy(whole)
        tables = {name: table for name, table in whole._declared.items() if name not in lost}
        if not tables:
            raise StudyProblem(say("no part", file=self.path.name, columns=" and ".join(columns)))
        part._narrow(whole, tables, only, lost)
        return part

    def _narrowed_table(self, name: str) -> Loaded:
        # Once, before any of its rows is seen or its values are told: a part that names somebody.
        if not self._is_group:
            narrow.require_group(self._whole, next(iter(self._declared)), self.only)
            self._is_group = True
        whole, kept = self._whole.read(name), narrow.kept_rows(self._whole, name, self.only)
        if not kept.any():
            raise TooFewRespondents(say("no row in the part", file=self.path.name, table=name, part=self.part))
        table = whole.table[kept].reset_index(drop=True)
        why = reasons({f"not {self.part}": len(kept) - len(table)})
        return whole._replace(table=table, waterfall=whole.waterfall.before_use("narrowed", len(table), why))

    def _beside(self, name: str) -> dict:
        """Return what a survey of a part is told of the rest of the study, beside which its cells are hidden."""
        if not self.only:
            return {}
        whole, known, told = self._whole, self._whole.column_names, {}
        for column in (column for column, _ in self.only if column not in known[name]):
            # it stands in another table: what the first row of a customer says
            of = whole.read(narrow.holder_of(known, *dict(self.only))).table
            told[column] = whole.read(name).table[CUSTOMER].map(as_words(of[column]).groupby(of[CUSTOMER]).first())
        outside = ~narrow.kept_rows(whole, name, self.only).to_numpy()
        return {"outside": whole._table(name).assign(**told)[outside], "only": dict(self.only)}

    def require_fresh(self, *, now: datetime | None = None) -> None:
        """Raise `StudyProblem` if a file is older than the ``max_age`` of its table at `now` (by default, now)."""
        now, problems = now or datetime.now(UTC), []
        ages = {name: table.max_age for name, table in self._declared.items() if table.max_age}
        for name, path in [(n, path) for n in ages for paths in self._files[n].values() for path in paths]:
            changed = datetime.fromtimestamp(path.stat().st_mtime, UTC)
            if (age := now - changed) > schema.as_time(ages[name]):
                days, hours = age / timedelta(days=1), age / timedelta(hours=1)
                ago = f"{number(days, 0)} days" if days >= 2 else f"{number(hours)} hours"
                why = say("stale", file=path.name, ago=ago, at=f"{changed:%Y-%m-%d %H:%M}", max_age=ages[name])
                problems.append(f"{self._document.place(('tables', name, 'max_age'))}: {why}")
        refuse(problems)

    def guesses(self, name: str) -> list[Guess]:
        """Return what the study file says of a table with ``confirmed: false``, with counts once it has been read."""
        table, loaded, at, found = self._declared[name], self._loaded.get(name), ("tables", name), []
        for key in (key for key, confirmed in table.confirmed.items() if not confirmed):
            says = schema.written(table.model_dump(by_alias=True, exclude_unset=True).get(key))
            found.append(((*at, "confirmed", key), f"tables.{name}.{key}", says, key not in HARMLESS))
        for key, item in ((c.name, c.said) for c in table.declared() if getattr(c.said, "confirmed", None) is False):
            coded = loaded and loaded.coded[key]
            counts = COUNTING & set(item.role) or item.values or item.multiple or coded is None or coded.total()
            of = at if (own := key in table.columns) else (*at, "items")
            says, lines = "; ".join(schema.decisions(item, coded)) or "label", self._document.lines
            patterns = (path[-2] for path in reversed(lines) if path[:-2] == of and path[-1] == "confirmed")
            by = key if (*of, key, "confirmed") in lines else next(p for p in patterns if fnmatchcase(key, p))
            found.append(((*of, by), f"item {key}", says, bool(counts or own)))
        return [Guess(self._document.place(place), what, f"({says})", counts) for place, what, says, counts in found]

    def _require_decided(self, *names: str) -> None:
        waiting = [guess for name in names for guess in self.guesses(name) if guess.counts]
        if waiting:
            many = "a guess that changes" if len(waiting) == 1 else f"{len(waiting)} guesses that change"
            lines = [f"{guess.place}: {guess.what} {guess.says}" for guess in waiting]
            raise StudyProblem("\n".join([say("undecided", file=self.path.name, many=many), *lines]))

    def _require_known_words(self) -> None:
        """Raise `StudyProblem` for an item of a touchpoint, a unit or a taxonomy that the study does not have."""
        items = self._declared["responses"].items if "responses" in self._declared else {}
        columns = dict.fromkeys(column for names in self.column_names.values() for column in names)
        unit, file = [self.programme.unit] if self.programme else [], self.taxonomy
        slips = self._slips(("programme", "unit"), unit, columns, "no table has as a column; they have")
        for key, met in self._touchpoints.items():
            slips += self._slips(("touchpoints", key, "item"), [met.item], items, "is no item of responses; these are")
        if file and not file.is_file():
            near = names_in(file.parent, "*.y*ml")
            slips += self._slips(("taxonomy",), [file.name], near, "does not exist; there are")
        refuse(slips)

    def _require_held(self, name: str, table: pd.DataFrame) -> None:
        """Refuse declared waves, kinds of cost and units that no row holds, and waves left out, each with its line."""
        unit, treated = (self.programme.unit, self.programme.treated) if self.programme else ("", ())
        slips: list[str] = []
        asked = [(("waves",), "wave", self.waves)] if name == "responses" and self.waves else []
        asked += [(("tables", "costs", "roles"), "kind", self.cost_roles)] if name == "costs" else []
        asked += [(("programme", "treated"), unit, treated)] if unit in table else []
        for path, column, words in asked:
            held = as_words(table[column]).dropna().unique() if column in table else ()
            slips += self._slips(path, words, held, f"no row of {name} holds; they hold")
            plain = [plain_text(word) for word in words]
            if path == ("waves",) and (absent := [wave for wave in held if plain_text(wave) not in plain]):
                slips.append(f"{self._document.place(path)}: {say('waves left out', absent=', '.join(absent))}")
        refuse(slips)

    def _slips(self, path: tuple, words: Iterable[str | None], known: Iterable, where: str) -> list[str]:
        """Return what is wrong with each of `words`, declared at `path`, that is not among `known`."""
        plain, place = [plain_text(value) for value in known], self._document.place
        told = ", ".join(plain) if 0 < len(plain) <= SHOWN["values"] else f"{len(plain) or 'no'} others"
        wrong = [(i, word) for i, word in enumerate(words) if word and plain_text(word) not in plain]
        said = f"which {where} {told}"
        return [f"{place((*path, i))}: {'.'.join(path)} names {w!r}, {said}{nearest(w, plain)}" for i, w in wrong]

    def lacks(self, needs: Mapping[str, list[str]]) -> str | None:
        """Return why a notebook with these `needs` (tables, roles, keys) cannot run on this study, or None.

        A role is looked for in the needed tables; ``nps|csat`` is met by either. Keys are attributes of a study.
        """
        tables = needs.get("tables", ())
        if lost := next((name for name in tables if name in self._lost), None):
            return say("needs a customer", table=lost, column=self._lost[lost])
        what = [f"table {name}" for name in tables if name not in self._declared]
        for choices in [] if what else (role.split("|") for role in needs.get("roles", ())):
            if not any(self.column(c, table=t, optional=True) for c in choices for t in tables or (None,)):
                item = "" if set(choices) <= set(COLUMNS) - set(ROLES) else "an item with role "
                what.append(item + " or ".join(choices))
        what += [k for k in needs.get("keys", ()) if not getattr(self, "_touchpoints" if k == "touchpoints" else k)]
        return say("needs", what=what[0], file=self.path.name) if what else None

    def column(self, role: str, *, table: str | None = None, optional: bool = False) -> str | None:
        """Return the column with a role: the key of the first such item, or weight, wave, ... where declared.

        `role` is nps, outcome (without one: csat), ..., or a named column: wave, revenue, ... It is looked for in one
        `table`, by default in all, responses first; without one `StudyProblem`, or None if `optional`.
        """
        found = self.columns(role, table=table) or (self.columns("csat", table=table) if role == "outcome" else [])
        if not found and not optional:
            tables = ", ".join(self._declared)
            remedy = f"give an item the role {role}" if role in ROLES else f"declare it in one of the tables {tables}"
            raise StudyProblem(say("no column", file=self.path.name, role=role, remedy=remedy))
        return found[0] if found else None

    def columns(self, *roles: str, table: str | None = None) -> list[str]:
        """Return every column with one of `roles`, each once, role after role; in a part no grouping of one value."""
        parts = [part for name, part in self._declared.items() if table in (None, name)]
        found: list[str] = []
        for role in roles:
            if role not in ROLES and role not in COLUMNS:
                raise StudyProblem(f"unknown role {role!r}{nearest(role, (*ROLES, *COLUMNS))}")
            items = self._items(role, table)
            if self.only and role in GROUPINGS:
                held = {key: [t for t, part in self._declared.items() if key in part.items] for key in items}
                items = [key for key in items if any(self.read(t).table[key].nunique() > 1 for t in held[key])]
            found += items or [role] * any(role in part.columns and role in part.column_names for part in parts)
        return list(dict.fromkeys(found))

    @property
    def touchpoints(self) -> pd.DataFrame:
        """One row per declared touchpoint: touchpoint, stage, kind, item, owner; None where the study does not say."""
        rows = [{"touchpoint": key} | declared.model_dump() for key, declared in self._touchpoints.items()]
        return pd.DataFrame(rows, columns=["touchpoint", *Touchpoint.model_fields], dtype=object)

    @property
    def ratings(self) -> list[str]:
        """Items of the responses on their commonest scale without recommend: asked together, answered alike or not."""
        by_scale, others = defaultdict(list), {"nps", "demographic", "contact_rating"}
        for name, key, item in self._every_item:
            if name == "responses" and item.scale and others.isdisjoint(item.role):
                by_scale[item.scale].append(key)
        return max(by_scale.values(), key=len, default=[])

    def _items(self, role: str, table: str | None) -> list[str]:
        return list(dict.fromkeys(k for name, k, i in self._every_item if role in i.role and table in (None, name)))

    @property
    def codebook(self) -> pd.DataFrame:
        """One row per item: where it comes from, its scale, codes, role and label."""
        rows = []
        for name, key, item in self._every_item:
            scale = f"{item.scale[0]:g}-{item.scale[1]:g}" if item.scale else item.type or ""
            said = [schema.written(getattr(item, c)) for c in ("role", "missing", "not_applicable", "labels")]
            rows.append([name, key, schema.written(item.column or key), item.label or key, said[0], scale, *said[1:]])
        columns = ["table", "item", "column", "label", "role", "scale", "missing", "not_applicable", "labels"]
        return pd.DataFrame(rows, columns=columns)

    @property
    def observed_until(self) -> str:
        """First day (ISO) that behaviour must not reach: of the revenue window, or else the one after the last payment."""
        start = self.revenue_window[0]
        return start or str((self._load("transactions").table["time"].max() + pd.Timedelta(days=1)).date())


for _name in TABLES:
    setattr(Study, _name, property(lambda study, name=_name: study._of(name), doc=say(_name.capitalize())))
