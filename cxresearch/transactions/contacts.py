"""Contacts with the company beside purchases: how often, and how much of it by digital channels."""

import pandas as pd

from cxresearch.errors import DataProblem, require_columns
from cxresearch.inference.events import opened, quoted, require_one_id_type, text, time_sql, waterfall_of
from cxresearch.transactions.features import moment
from cxresearch.transactions.windows import Window

CONTACTS = {
    "contacts": "number of contacts",
    "contact_share": "share of contacts among contacts and purchases",
    "digital_share": "share of digital contacts",
}


def with_contacts(
    table: pd.DataFrame, contacts, customer: str, time: str, channel: str, digital: list[str], period: Window, time_zone
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return a table of behaviour with what its customers asked of the company in the same window, and the waterfall."""
    require_one_id_type(contacts, customer)
    with opened(contacts, named="interactions") as relation:
        require_columns(relation, customer, time, channel, where="contacts")
        _require_channels(relation, channel, digital)
        when, who = time_sql(relation, time, time_zone), quoted(customer)
        rows = f"SELECT {who} AS customer, {when} AS time, {quoted(channel)}::VARCHAR AS channel FROM source"
        complete, late = "customer IS NOT NULL AND time IS NOT NULL", f"time >= {moment(period.until)}"
        early = "false" if period.start is None else f"time < {moment(period.start)}"
        counts = relation.query(
            "source",
            f"SELECT customer, count(*) AS contacts, count(channel) AS known, count(*) FILTER (channel IN "
            f"({', '.join(map(text, digital))})) AS digital FROM ({rows}) WHERE {complete} AND NOT {late} AND NOT {early} "
            "GROUP BY customer",
        ).df()
        lost = relation.query(
            "source",
            f"SELECT count(*) FILTER (NOT ({complete})), count(*) FILTER ({complete} AND {late}), "
            f"count(*) FILTER ({complete} AND {early}) FROM ({rows})",
        ).fetchall()[0]
    known = counts[counts["customer"].isin(table[customer])]
    if len(counts) and not len(known):
        raise DataProblem(
            f"none of {len(counts)} customers with contacts has a transaction in the window; compare the ids in {customer} "
            "of the two tables"
        )
    per = known.set_index("customer").reindex(table[customer]).fillna(0).reset_index(drop=True)
    found = table.assign(
        contacts=per["contacts"].astype("int32"),
        contact_share=per["contacts"] / (per["contacts"] + table["frequency"]).where(lambda n: n > 0),
        digital_share=per["digital"] / per["known"].where(per["known"] > 0),
    )
    used = int(counts["contacts"].sum())
    names = ("contacts complete", "contacts before until", "contacts in window", "contacts matched")
    reasons = ("no customer or time", f"at or after {period.until}", f"before {period.start}",
               "customer without a transaction in the window")  # fmt: skip
    removed = (*lost, used - int(known["contacts"].sum()))
    steps = waterfall_of(used + sum(lost), zip(names, removed, reasons))
    return found, steps.replace({"step": {"received": "contacts received"}})


def _require_channels(relation, column: str, digital: list[str]) -> None:
    asked = f"SELECT DISTINCT {quoted(column)}::VARCHAR FROM source ORDER BY 1"
    found = [row[0] for row in relation.query("source", asked).fetchall()]
    unknown = [name for name in digital if name not in found]
    if unknown or not digital:
        raise DataProblem(
            f"digital={digital!r} names {unknown or 'no channel'}; {column} holds {', '.join(n for n in found if n)}"
        )
