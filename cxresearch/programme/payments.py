"""How this room reads payments, dates and periods, and writes money."""

from contextlib import contextmanager

import numpy as np
import pandas as pd

from cxresearch.errors import DataProblem, require_choice
from cxresearch.findings import Check, interval, number
from cxresearch.inference.events import amount_sql, opened, quoted, require_fields, require_one_id_type, time_sql
from cxresearch.survey import as_table

PERIODS = {"week": "W", "month": "M", "quarter": "Q", "year": "Y"}


def moment(name: str, value) -> pd.Timestamp:
    """Return a date that was given, or refuse it."""
    found = pd.to_datetime(str(value), errors="coerce")
    if found is pd.NaT or found.tz is not None:
        raise DataProblem(f"{name}={value!r} is not a date without time zone; write it as 2025-01-01")
    return found


@contextmanager
def payments(transactions, until, *, customer=None, time=None, amount=None):
    """Yield `ask`, which answers SQL on the payments before `until`, `paid` (customer, moment, amount), its end and checks.

    Without `until` the record ends with the day of the last payment.
    """
    events = as_table(transactions)
    roles = {"customer": customer, "time": time, "amount": amount}
    columns = {role: column or events.roles.get(role) for role, column in roles.items()}
    if absent := [role for role, column in columns.items() if column is None]:
        raise DataProblem(f"the payments do not say which column is the {absent[0]}; name it with {absent[0]}=")
    require_one_id_type(events.data, columns["customer"])
    with opened(events.data) as source:
        require_fields(source, *columns.values())
        day, sum_paid = time_sql(source, columns["time"], None), amount_sql(source, columns["amount"])
        rows = f"SELECT {quoted(columns['customer'])} AS customer, {day} AS moment, {sum_paid} AS amount FROM source"
        whole = "customer IS NOT NULL AND moment IS NOT NULL AND amount IS NOT NULL"
        last = source.query("source", f"SELECT max(moment)::DATE + 1 FROM ({rows}) WHERE {whole}").fetchall()[0][0]
        end = moment("until", last if until is None else until)
        paid = f"WITH paid AS (SELECT * FROM ({rows}) WHERE {whole} AND moment < TIMESTAMP '{end}')"
        lost = source.query("source", f"SELECT count(*) FROM ({rows}) WHERE NOT ({whole})").fetchall()[0][0]
        ask = lambda sql: source.query("source", f"{paid} {sql}").df()  # noqa: E731
        if last is None or not ask("SELECT count(*) AS n FROM paid")["n"][0]:
            raise DataProblem(f"no payment before {until} has a customer, a time and an amount; move until")
        yield ask, end, (Check("payments without customer, time or amount, left out", lost, "0", lost == 0),)


def complete_until(ask, until: pd.Timestamp, period: str) -> pd.Timestamp:
    """Return the first moment of the period that is not observed to its end.

    The record ends at `until`, or earlier, where it falls silent for longer than it ever did before.
    """
    require_choice("period", period, tuple(PERIODS))
    day = ask("SELECT DISTINCT moment::DATE AS day FROM paid ORDER BY 1")["day"]
    silence = day.diff().max() if len(day) > 1 else pd.Timedelta(days=1)
    end = min(until, day.iloc[-1] + silence)
    start = end.to_period(PERIODS[period]).start_time
    if (start.to_period(PERIODS[period]) - day.iloc[0].to_period(PERIODS[period])).n < 2:
        raise DataProblem(
            f"the payments from {day.iloc[0].date()} to {day.iloc[-1].date()} hold fewer than two complete periods "
            f"({period}); nothing can be compared: take shorter periods or a longer record"
        )
    return start


def ids_of(column) -> pd.Series:
    """Return ids as they are compared: text, 101.0 being 101."""
    return pd.Series(column).astype(str).str.strip().str.replace(r"^(-?\d+)\.0$", r"\1", regex=True)


def names_of(times, period: str) -> np.ndarray:
    """Return what periods are called: 2024-05, 2024Q2, 2024."""
    return pd.Series(times).dt.to_period(PERIODS[period]).astype(str).to_numpy()


def money(value: float, currency: str | None, decimals: int = 2) -> str:
    """Return an amount with its currency."""
    return f"{number(value, decimals)} {currency or '(currency not stated)'}"


def sized(estimate, low, high, confidence, decimals=2) -> dict[str, str]:
    """Return the size and the span of a change whose direction the sentence says."""
    low, high = (low, high) if estimate >= 0 else (-high, -low)
    return {"size": number(abs(estimate), decimals), "span": span_of(low, high, confidence, decimals)}


def span_of(low, high, confidence, decimals=2) -> str:
    """Return an interval in words, also where it has no ends."""
    ended = np.isfinite(low) and np.isfinite(high)
    return interval(low, high, confidence, decimals) if ended else "an interval without ends"
