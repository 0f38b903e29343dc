"""The features of a customer, told once: name, words and SQL; and the query that they make together.

Recency, frequency and monetary value follow Hughes (1994), *Strategic Database Marketing*. Money is added in whole
units of 10**-decimals held in doubles, gaps in whole microseconds: sums of whole numbers are exact, hence the same in
whatever order threads and workers add them.
"""

from dataclasses import dataclass
from typing import NamedTuple

from cxresearch.inference.events import quoted, text
from cxresearch.transactions.windows import Window

PARTS = ("value", "months", "rhythm", "weekdays")
OPTIONAL = ("basket", "category", "channel", "discount")
EXACT = 2**53  # the largest whole number to which doubles count without gaps
COMPLETE = "customer IS NOT NULL AND time > TIMESTAMP '-infinity' AND isfinite(amount)"
DAYS = ("Mondays", "Tuesdays", "Wednesdays", "Thursdays", "Fridays", "Saturdays", "Sundays")


class Feature(NamedTuple):
    """A column: `sql` over the totals of a customer (`bought`, NULL instead of 0: `shares`), and whether segments may rest on it."""

    name: str
    part: str
    words: str
    sql: str
    basis: bool = False


# Total -> SQL over the purchases and returns of a customer. A filter copies the rows it keeps: only the few returns have one.
TOTALS = {
    "n": "count(*)",
    "net": "sum(money)",
    "gross": "sum(abs(money))",
    "first": "epoch_us(min(CASE WHEN bought THEN time END))::DOUBLE",
    "last": "epoch_us(max(CASE WHEN bought THEN time END))::DOUBLE",
    "returns": "count(*) FILTER (NOT bought)",
}
MERGED = {"first": "min", "last": "max"}  # how totals of shares are put together; all others are added
FEATURES = (
    Feature("recency_days", "value", "days since the last purchase", "({until} - last) / 864e8", True),
    Feature("frequency", "always", "number of purchases", "bought::INTEGER", True),
    Feature("monetary", "value", "total spending", "net / {unit}"),
    Feature("tenure_days", "value", "days since the first purchase in the window", "({until} - first) / 864e8"),
    Feature("basket_mean", "value", "mean basket", "round(spent / shares / {unit}, 6)", True),
    Feature("returns", "always", "number of returns", "returns::INTEGER"),
    Feature("returns_share", "value", "share of returns", "returns / n", True),
)
RHYTHM = (
    Feature("gap_mean_days", "rhythm", "days between purchases", "gap_sum / gaps / 864e8"),
    Feature("gap_sd_days", "rhythm", "spread of the days between purchases", "round(gap_sd / 864e8, 9)"),
    Feature("gap_cv", "rhythm", "irregularity of purchases", "round(gap_sd * gaps / gap_sum, 9)"),
)
GAP_SD = "sqrt(greatest(gaps * gap_squares - gap_sum * gap_sum, 0)::DOUBLE / nullif(gaps * (gaps - 1), 0)) AS gap_sd"
DISCOUNT = Feature("discount_share", "discount", "share of money off", "off / nullif(off + spent, 0)", True)
BREADTH = Feature("breadth", "category", "number of categories", "coalesce(breadth, 0)::INTEGER")


@dataclass(frozen=True)
class Query:
    """What is asked of the rows of `source`; `time` and `amount` are SQL that reads them."""

    customer: str
    time: str
    amount: str
    optional: dict[str, str]  # of OPTIONAL, those that there are -> column
    period: Window
    parts: tuple[str, ...]
    months: int
    fields: tuple[str, ...]
    channels: tuple[str, ...] = ()
    drop_negative: bool = False
    distinct: bool = False
    bits: int = 10  # that a count has in a shared sum

    @property
    def whole(self) -> list[str]:
        """What needs all payments of a customer at once, in words."""
        named = [name for name in ("rhythm", "basket", "category") if name in (*self.parts, *self.optional)]
        return named + ["duplicates='drop'"] * self.distinct

    def features(self) -> list[Feature]:
        """Return the columns in order."""
        pulls = {k: self.months + 1 - 2 * k for k in range(1, self.months + 1)}  # month_1 is the latest
        slope = " + ".join(f"{pull} * month_{k}" for k, pull in pulls.items())
        trend = f"round(2 * ({slope}) / {sum(pull**2 for pull in pulls.values())}, 9)"
        active = " + ".join(f"(month_{k} > 0)::INTEGER" for k in pulls)
        found = [
            *FEATURES,
            *(Feature(f"month_{k}", "months", f"purchases in month {k} before the end", f"month_{k}") for k in pulls),
            Feature("active_months", "several months", "active months", active),
            Feature("trend", "several months", "trend of purchases", trend),
            *RHYTHM,
            *(Feature(f"weekday_{d}_share", "weekdays", f"share bought on {day}", f"weekday_{d} / shares")
              for d, day in enumerate(DAYS, 1)),
            *(Feature(f"channel_{c}_share", "channel", f"share bought by {c}", f"channel_{i} / shares", True)
              for i, c in enumerate(self.channels)),
            DISCOUNT,
            BREADTH,
        ]  # fmt: skip
        several = ["several months"] if "months" in self.parts and self.months > 1 else []
        return [f for f in found if f.part in ("always", *self.parts, *self.optional, *several)]

    def counted(self) -> dict[str, int]:
        """Return what purchases are counted by -> how many kinds of it there are."""
        counted = {"month": self.months * ("months" in self.parts), "weekday": 7 * ("weekdays" in self.parts)}
        return {kind: number for kind, number in counted.items() if number}

    def _packed(self) -> dict[str, tuple[str, dict[int, int]]]:
        """Return the sums that hold several counts each, `bits` apart in a HUGEINT: name -> kind, number -> place.

        A sum for each count costs a half more; where a customer has too many purchases, `bits` must be 31.
        """
        most, found = 127 // self.bits, {}
        for kind, number in self.counted().items():
            for first in range(1, number + 1, most):
                places = {k: self.bits * (k - first) for k in range(first, min(first + most, number + 1))}
                found[f"{kind}_from_{first}"] = kind, places
        return found

    def _weight(self, kind: str, places: dict[int, int], first: int, last: int) -> str:
        """Return the SQL of what a purchase adds to a shared sum: by halves, as twelve comparisons a row cost more."""
        if first == last:
            return f"{2 ** places[first] if first in places else 0}::HUGEINT"
        middle = (first + last) // 2
        early = f"time >= {moment(self.period.edge(middle))}" if kind == "month" else f"weekday <= {middle}"
        halves = self._weight(kind, places, first, middle), self._weight(kind, places, middle + 1, last)
        return f"CASE WHEN {early} THEN {halves[0]} ELSE {halves[1]} END"

    def _unpacked(self) -> list[str]:
        """Return the SQL of each count: ``month_1`` and so on."""
        return [
            f"((coalesce({name}, 0) >> {place}) & {2**self.bits - 1})::INTEGER AS {kind}_{k}"
            for name, (kind, places) in self._packed().items()
            for k, place in places.items()
        ]

    def totals(self) -> dict[str, str]:
        """Return total -> SQL over purchases."""
        since, found = moment(self.period.edge(self.months)), dict(TOTALS)
        for name, (kind, places) in self._packed().items():
            counted = f"bought AND time >= {since}" if kind == "month" else "bought"
            found[name] = f"sum(CASE WHEN {counted} THEN {self._weight(kind, places, 1, self.counted()[kind])} END)"
        for i, name in enumerate(self.channels):
            found[f"channel_{i}"] = f"count(*) FILTER (bought AND channel::VARCHAR = {text(name)})"
        found |= {"off": "coalesce(sum(off) FILTER (bought), 0)"} if "discount" in self.optional else {}
        return found | ({"lines": "sum(lines)::BIGINT"} if "basket" in self.optional else {})

    def rows_sql(self, decimals: int = 6, *, keyed: bool = False) -> str:
        """Return the common tables `prepared` (canonical columns, one row a row) and `used` (complete, in the window)."""
        picked = [f"{quoted(self.customer)} AS customer", f"{self.time} AS time", f"{self.amount} AS amount"]
        picked += [f"{quoted(column)} AS {role}" for role, column in self.optional.items()]
        picked += [f"hash({', '.join(map(quoted, self.fields))}) AS key"] if keyed else []
        conditions = [COMPLETE, f"time < {moment(self.period.until)}"]
        conditions += [] if self.period.start is None else [f"time >= {moment(self.period.start)}"]
        conditions += ["amount >= 0"] if self.drop_negative else []
        kept = ["*", f"round(amount::DOUBLE * 1e{decimals}) AS money", "amount >= 0 AS bought"]
        kept += [f"round(discount::DOUBLE * 1e{decimals}) AS off"] if "discount" in self.optional else []
        rows = "(SELECT DISTINCT * FROM source)" if self.distinct else "source"
        return (
            f"prepared AS NOT MATERIALIZED (SELECT {', '.join(picked)} FROM {rows}), "
            f"used AS NOT MATERIALIZED (SELECT {', '.join(kept)} FROM prepared WHERE {' AND '.join(conditions)})"
        )

    def totals_sql(self, decimals: int) -> str:
        """Return the query for the totals of each customer."""
        purchases = "FROM used"
        if "basket" in self.optional:
            extra = ", min(channel) AS channel" if "channel" in self.optional else ""
            extra += ", sum(off) AS off" if "discount" in self.optional else ""
            purchases = (
                f"SELECT *, money >= 0 AS bought FROM (SELECT customer, min(time) AS time, sum(money) AS money, count(*) AS lines"
                f"{extra} FROM used GROUP BY customer, coalesce(basket::VARCHAR, key::VARCHAR))"
            )
        listed = ", ".join(f"{sql} AS {name}" for name, sql in self.totals().items())
        tables, joined = [], ""
        if "rhythm" in self.parts:
            tables.append(f"rhythm AS NOT MATERIALIZED ({GAPS})")
            joined += " LEFT JOIN rhythm USING (customer)"
        if "category" in self.optional:  # grouped twice: a set of categories in every customer's state would cost more
            tables.append(
                "breadths AS NOT MATERIALIZED (SELECT customer, count(*) AS breadth FROM (SELECT DISTINCT customer, category "
                "FROM used WHERE bought AND category IS NOT NULL) GROUP BY customer)"
            )
            joined += " LEFT JOIN breadths USING (customer)"
        return (
            f"WITH {self.rows_sql(decimals, keyed='basket' in self.optional)}, purchases AS NOT MATERIALIZED ({purchases}), "
            f"kinds AS NOT MATERIALIZED (SELECT *, isodow(time) AS weekday FROM purchases), "
            f"plain AS NOT MATERIALIZED (SELECT customer, {listed} FROM kinds GROUP BY customer)"
            + "".join(f", {table}" for table in tables)
            + f" SELECT * FROM plain{joined}"
        )

    def features_sql(self, totals: str, decimals: int) -> str:
        """Return the query for the features (and the totals that `behaviour` checks) from that for the totals."""
        until = int(self.period.until.to_datetime64().astype("datetime64[us]").astype("int64"))
        known = {"until": f"{until}::DOUBLE", "unit": 10**decimals}
        columns = [f"({f.sql.format(**known)}) AS {quoted(f.name)}" for f in self.features()]
        derived = ["*", "n - returns AS bought", "nullif(n - returns, 0) AS shares", "(gross + net) / 2 AS spent"]
        derived += self._unpacked() + ([GAP_SD] if "rhythm" in self.parts else [])
        checked = ["lines::BIGINT AS _rows" if "basket" in self.optional else "n::BIGINT AS _rows", "gross AS _gross"]
        checked += ["off AS _off"] if "discount" in self.optional else []
        checked += ["ties::BIGINT AS _ties"] if "rhythm" in self.parts else []
        return (
            f"WITH totals AS NOT MATERIALIZED ({totals}), derived AS NOT MATERIALIZED (SELECT {', '.join(derived)} FROM totals) "
            f"SELECT customer, {', '.join(columns + checked)} FROM derived"
        )

    def merged_sql(self) -> str:
        """Return the query for the totals of each customer from the totals of shares of the rows."""
        names = [name for name in self.totals() if name not in self._packed()]
        names += ["gaps", "ties"] if "rhythm" in self.parts else []
        names += ["breadth"] if "category" in self.optional else []
        listed = ", ".join(f"{MERGED.get(name, 'sum')}({name}) AS {name}" for name in names)
        large = [*self._packed(), *(["gap_sum", "gap_squares"] if "rhythm" in self.parts else [])]
        listed += "".join(f", sum({name})::HUGEINT AS {name}" for name in large)
        return f"SELECT customer, {listed} FROM source GROUP BY customer"

    def lost_sql(self) -> str:
        """Return the query for the rows lost at each step of the waterfall, one row."""
        late = f"time >= {moment(self.period.until)}"
        early = "false" if self.period.start is None else f"time < {moment(self.period.start)}"
        negative = f"NOT {late} AND NOT {early} AND amount < 0" if self.drop_negative else "false"
        return (
            f"WITH {self.rows_sql()} SELECT (SELECT count(*) FROM source) - count(*), "
            f"count(*) FILTER (NOT ({COMPLETE}) IS TRUE), count(*) FILTER ({COMPLETE} AND {late}), "
            f"count(*) FILTER ({COMPLETE} AND {early}), count(*) FILTER ({COMPLETE} AND {negative}) FROM prepared"
        )

    def repeated_sql(self) -> str:
        """Return the query for the rows of the customers in `cxresearch_tied` that equal an earlier one in every column."""
        return (
            f"WITH {self.rows_sql(keyed=True)} SELECT coalesce(sum(n - 1), 0)::BIGINT FROM "
            "(SELECT count(*) AS n FROM used WHERE customer IN (SELECT customer FROM cxresearch_tied) GROUP BY customer, time, key)"
        )


# Times between purchases at distinct moments, and how many purchases or returns share the moment of another.
GAPS = (
    "SELECT customer, count(*) FILTER (gap > 0 AND bought) AS gaps, sum(gap) FILTER (bought) AS gap_sum, "
    "sum(gap::HUGEINT * gap) FILTER (bought) AS gap_squares, count(*) FILTER (gap = 0) AS ties FROM (SELECT customer, bought, "
    "epoch_us(time) - lag(epoch_us(time)) OVER (PARTITION BY customer, bought ORDER BY time) AS gap FROM purchases) "
    "GROUP BY customer"
)


def moment(time) -> str:
    """Return a timestamp as SQL."""
    return f"TIMESTAMP '{time}'"
