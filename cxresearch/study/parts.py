"""A study as a whole and its parts."""

from copy import copy
from typing import Self

from cxresearch.errors import StudyProblem, TooFewRespondents
from cxresearch.study.narrow import Only, cannot_narrow, kept_rows, reference_to, require_known
from cxresearch.study.personal import id_columns
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

        Raises
        ------
        StudyProblem
            If no table has a column.
        """
        columns = [column for column, _ in only]
        require_known(self.column_names, columns, self.path.name)
        for column in columns:
            if any(column in id_columns(table) for table in self._declared.values()):
                raise StudyProblem(f"{self.path.name}: {column} names people, and a part of a study is no person")
        part = copy(self)
        part._lost = cannot_narrow(self.column_names, columns)
        part._declared = {name: table for name, table in self._declared.items() if name not in part._lost}
        part._loaded, part._guarded, part._matched = {}, {}, {}
        part.only, part._whole = tuple(only), self
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

    def _part(self, name: str) -> Loaded:
        whole = self._whole.read(name)
        kept = kept_rows(name, lambda table: self._whole.read(table).table, self._whole.column_names, self.only)
        if not kept.any():
            raise TooFewRespondents(f"{self.path.name}: no row of table {name} is left by {self.part}")
        table = whole.table[kept].reset_index(drop=True)
        return whole._replace(table=table, waterfall=whole.waterfall.narrowed(len(table), f"not {self.part}"))
