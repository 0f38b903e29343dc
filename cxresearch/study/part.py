"""One file of a table while its columns are checked and take the study's names.

A `Part` collects what is wrong (`problems`), which rows a declaration leaves out (`out`) and how many cells or rows
a declaration touched (`counts`), so that one reading tells the researcher everything.
"""

from collections import Counter

import pandas as pd

from cxresearch import digits
from cxresearch.sources import Meanings
from cxresearch.study.codes import (
    Refused,
    Writing,
    advice,
    amounts,
    answers,
    choices,
    coded,
    contradiction,
    count,
    dates,
    flags,
    holds,
    names,
    row_numbers,
)
from cxresearch.study.items import Item, Revenue
from cxresearch.study.personal import id_columns, names_a_person
from cxresearch.study.schema import Table


class Part:
    """The rows of one file (or of one wave in it).

    Parameters
    ----------
    file, wave
        For messages, and for headers that differ between waves.
    raw
        The columns as stored; its index counts the file's rows from 0.
    table, table_name
        What the study declares.
    """

    def __init__(
        self,
        raw: pd.DataFrame,
        *,
        file: str,
        wave: str | None,
        table: Table,
        table_name: str,
        meanings: Meanings = Meanings(),
        digest: str | None = None,
        currency: str | None = None,
    ):
        self.raw, self.file, self.wave, self.table, self.name = raw, file, wave, table, table_name
        self.meanings, self.digest, self.ids, self.currency = meanings, digest, id_columns(table), currency
        self.problems: list[str] = []
        self.coded: dict[str, Counter[str]] = {}  # item -> how often a stored code was set aside
        self.counts: Counter[str] = Counter()
        self.excluded: Counter[tuple[str, str]] = Counter()  # header and code of `exclude` -> rows that hold it
        self.out = pd.Series(False, index=raw.index)

    def frame(self) -> pd.DataFrame:
        """Return the checked columns under the study's names; what is wrong stands in `problems`."""
        self._exclude()
        done: dict[str, pd.Series] = {}
        for column, (key, kind) in type(self.table).columns.items():
            declared = getattr(self.table, key)
            if declared is not None:
                self._try(done, column, declared, kind)
            elif column == "wave" and self.wave is not None:
                done[column] = pd.Series(self.wave, index=self.raw.index, dtype="str")
        for key, item in self.table.items.items():
            self._try(done, key, item, "item")
        return pd.DataFrame(done, index=self.raw.index)[~self.out]

    def _exclude(self) -> None:
        """Leave out the rows that the study declares to be no data, before anything else is asked of them."""
        self.stored = {header: names(self.raw[header]) for header in self.table.exclude}
        for header, codes in self.table.exclude.items():
            for code in codes:
                found = coded(self.raw[header], [code])
                self.excluded[header, code] += int(found.sum())
                self._drop(found, f"with {header} {code} (exclude)")
        self.received, self.raw = len(self.raw), self.raw[~self.out]
        self.out = self.out[~self.out]

    def _try(self, done: dict[str, pd.Series], key: str, declared: str | Item | Revenue, kind: str) -> None:
        header = (
            declared
            if isinstance(declared, str)
            else declared.header(key, self.wave)
            if isinstance(declared, Item)
            else declared.column
        )
        stored = self.raw[header] if header is not None else pd.Series(float("nan"), index=self.raw.index)
        try:
            if isinstance(declared, Item):
                done |= self._item(stored, declared, key)
            elif isinstance(declared, Revenue):
                done[key] = self._revenue(stored, declared)
            else:
                done[key] = getattr(self, f"_{kind}")(stored, key)
        except Refused as refused:
            self.problems.append(f"{self.file}: {header} {refused}")

    def _drop(self, where: pd.Series, why: str) -> None:
        new = where & ~self.out
        self.out |= where
        self.counts[why] += int(new.sum())

    def _writing(self, declared: Item | Revenue | None = None) -> Writing:
        own = {key: getattr(declared, key, None) for key in Writing._fields}
        return Writing(**{key: getattr(self.table, key) if own[key] is None else own[key] for key in own})

    def _dates(self, stored: pd.Series) -> pd.Series:
        return dates(stored, dayfirst=self.table.dayfirst, time_format=self.table.time_format)

    # -- one method for each way in which a column may be read (the kinds in schema.Table.columns) -------------------

    def _item(self, stored: pd.Series, item: Item, key: str) -> dict[str, pd.Series]:
        header = item.header(key, self.wave)
        if problem := contradiction(self.meanings.codes.get(header, {}), item, key):
            raise Refused(problem)
        if key not in self.ids and (why := names_a_person(stored, header, item)):
            raise Refused(
                f"names a person: {why}; take item {key} out of study.yml, or declare personal: true of it if an "
                "analysis needs it as it is"
            )
        self._count_codes(stored, item, key)
        stored = self._without_user_missing(stored, header, item)
        if item.multiple:
            columns, absent = choices(stored, item, key)
        else:
            values, absent = answers(stored, item, key, self._writing(item))
            columns = {key: values}
        return columns | ({f"{key}_met": ~absent} if item.not_applicable else {})

    def _without_user_missing(self, stored: pd.Series, header: str | None, item: Item) -> pd.Series:
        """Return the column without what its file declares as missing; a code declared not applicable stays."""
        for low, high in self.meanings.missing.get(header, ()):
            gone = stored == low if low == high else ~digits.outside(stored, low, high) & stored.notna()
            stored = stored.mask(gone & ~coded(stored, item.not_applicable))
        return stored

    def _count_codes(self, stored: pd.Series, item: Item, key: str) -> None:
        counts = self.coded.setdefault(key, Counter())
        for code in (*item.missing, *item.not_applicable):
            found = holds(stored, item.multiple, code) if item.multiple else coded(stored, [code], self._writing(item))
            counts[code] += int(found.sum())

    def _id(self, stored: pd.Series, key: str) -> pd.Series:
        return self._complete(names(stored), key)

    def _words(self, stored: pd.Series, key: str) -> pd.Series:
        return names(stored)

    def _complete(self, found: pd.Series, key: str) -> pd.Series:
        blank = found.isna()
        if blank.any():
            raise Refused(
                f"is blank in {count(blank.sum(), 'row')} ({row_numbers(blank)}), but every row needs its {key}; correct the file"
            )
        return found

    def _flag(self, stored: pd.Series, key: str) -> pd.Series:
        return flags(stored)

    def _time(self, stored: pd.Series, key: str) -> pd.Series:
        return self._dates(stored)

    def _number(self, stored: pd.Series, key: str, may_be_blank: bool = True) -> pd.Series:
        found = self._numbers(stored, key)
        blank, negative = found.isna() & (not may_be_blank), found < 0
        said = [
            f"is {what} in {count(where.sum(), 'row')} ({row_numbers(where)})"
            for what, where in (("missing", blank), ("negative", negative))
            if where.any()
        ]
        if said:
            raise Refused(
                f"{' and '.join(said)}; a {key} is a number from 0 up: correct the file, or leave {key} out of "
                "study.yml"
            )
        return found

    def _weight(self, stored: pd.Series, key: str) -> pd.Series:
        found = self._number(stored, key, may_be_blank=False)
        if not found.sum():
            raise Refused(f"is 0 in every row; leave {key} out of study.yml")
        return found

    def _numbers(self, stored: pd.Series, what: str, revenue: Revenue | None = None) -> pd.Series:
        """Return a column as numbers, or say which cells are none; `what` names one of them."""
        writing = self._writing(revenue)
        found, told = amounts(stored, writing, revenue.codes if revenue else (), self.currency)
        self.counts.update(told)
        if found.other.any():
            n = int(found.other.sum())
            examples = ", ".join(repr(str(v)) for v in stored[found.other].unique()[:3])
            raise Refused(
                f"holds {n} {what}{'s that are no numbers' if n > 1 else ' that is no number'} ({examples}; "
                f"{row_numbers(found.other)}); {advice(stored, found, writing)}write plain numbers"
            )
        return found.values

    def _money(self, stored: pd.Series, key: str) -> pd.Series:
        return self._complete(self._numbers(stored, "amount"), key)

    def _event_id(self, stored: pd.Series, key: str) -> pd.Series:
        return self._present(names(stored), key)

    def _event_time(self, stored: pd.Series, key: str) -> pd.Series:
        return self._present(self._dates(stored), key)

    def _present(self, found: pd.Series, key: str) -> pd.Series:
        blank = found.isna()
        if blank.any() and self.table.missing == "error":
            raise Refused(
                f"is blank in {count(blank.sum(), 'row')} ({row_numbers(blank)}); declare missing: drop in tables.{self.name} "
                "of study.yml, or correct the file"
            )
        self._drop(blank, f"without {key} (missing: drop)")
        return found

    def _amount(self, stored: pd.Series, key: str) -> pd.Series:
        found = self._present(self._numbers(stored, "amount"), key)
        negative = found < 0
        if negative.any() and self.table.negative == "error":
            raise Refused(
                f"is negative in {count(negative.sum(), 'row')} ({row_numbers(negative)}; lowest {found.min():g}); "
                f"declare negative: returns or negative: drop in tables.{self.name} of study.yml"
            )
        if self.table.negative == "drop":
            self._drop(negative, f"with negative {key} (negative: drop)")
        else:
            self.counts[f"with negative {key} kept as returns (negative: returns)"] += int(negative.sum())
        return found

    def _revenue(self, stored: pd.Series, declared: Revenue) -> pd.Series:
        found = self._numbers(stored, "amount", declared)
        for what, where in (("missing", found.isna()), ("negative", found < 0)):
            decision = getattr(declared, what)
            if where.any() and decision == "error":
                lowest = f"; lowest {found.min():g}" if what == "negative" else ""
                raise Refused(
                    f"is {what} in {count(where.sum(), 'row')} ({row_numbers(where)}{lowest}); "
                    f"decide what that means: revenue: {{{what}: keep}}, zero or drop in tables.{self.name} of "
                    "study.yml"
                )
            if decision == "drop":
                self._drop(where, f"with {what} revenue ({what}: drop)")
            else:
                done = "set to 0" if decision == "zero" else "kept"
                self.counts[f"with {what} revenue {done} ({what}: {decision})"] += int(where.sum())
                found = found.mask(where, 0.0) if decision == "zero" else found
        return found
