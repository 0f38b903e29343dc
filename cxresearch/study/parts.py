"""A study as a whole and its parts."""

from copy import copy
from typing import Self

from cxresearch.errors import TooFewRespondents
from cxresearch.study.groups import require_group, require_groups, require_no_contact, require_no_contacts
from cxresearch.study.narrow import Only, cannot_narrow, kept_rows, reference_to
from cxresearch.study.schema import Table
from cxresearch.study.tables import Loaded

GROUPINGS = ("demographic", "segment")


def declared_columns(table: Table) -> list[str]:
    """Return the named columns that a table will have."""
    declared = [column for column, (key, _) in type(table).columns.items() if getattr(table, key) is not None]
    return declared + (["wave"] if getattr(table, "sources", None) else [])


class Parts:
    """What an opened study can say of its parts, and how one is made."""

    def narrowed(self, only: Only) -> Self:
        """Return the part of the study in which each (column, value) of `only` holds; see `cxresearch.study.narrow`.

        Of a part, the part of this part. Under the minimum base, its tables are refused with `TooFewRespondents`.

        Raises
        ------
        StudyProblem
            If no table has a column, or it holds ids, texts or contacts.
        """
        whole, only = self._whole, (*self.only, *only)
        columns = [column for column, _ in only]
        require_groups(whole, columns)
        part = copy(whole)
        part._lost = cannot_narrow(whole.column_names, columns)
        part._declared = {name: table for name, table in whole._declared.items() if name not in part._lost}
        part._loaded, part._guarded, part._matched, part._domains = {}, {}, {}, {}
        part.only, part._whole, part._is_group = only, whole, False
        return part

    @property
    def part(self) -> str:
        """The part in words, ``market = North``; empty for the whole study."""
        return ", ".join(f"{column} = {value}" for column, value in self.only)

    @property
    def reference(self) -> str:
        """What opens the same part of the study again."""
        return reference_to(self.path.resolve(), self.only)

    @property
    def column_names(self) -> dict[str, list[str]]:
        """Table -> the columns that it is declared to have."""
        return {
            name: [*declared_columns(table), *(c for key, i in table.items.items() for c in (key, *i.further(key)))]
            for name, table in self._declared.items()
        }

    def _dividing(self, role: str, items: list[str]) -> list[str]:
        if not self.only or role not in GROUPINGS:
            return items
        tables = [(table.items, name) for name, table in self._declared.items()]
        return [k for k in items if any(k in of and self.read(name).table[k].nunique() > 1 for of, name in tables)]

    def _require_group(self) -> None:
        """Refuse, once, a part that names somebody: before any of its rows is seen or its values are told."""
        if self._is_group:
            return
        require_no_contacts(self._whole, [column for column, _ in self.only])
        for column, value in self.only:
            require_no_contact(self._whole, column, [value])
        require_group(self._whole, next(iter(self._declared)), self.only, self._minimum_base)
        self._is_group = True

    def _part(self, name: str) -> Loaded:
        self._require_group()
        whole = self._whole.read(name)
        kept = kept_rows(name, lambda table: self._whole.read(table).table, self._whole.column_names, self.only)
        if not kept.any():
            raise TooFewRespondents(f"{self.path.name}: no row of table {name} is left by {self.part}")
        table = whole.table[kept].reset_index(drop=True)
        return whole._replace(table=table, waterfall=whole.waterfall.narrowed(len(table), f"not {self.part}"))
