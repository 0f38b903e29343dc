"""Waves of answers as a panel: each answer with its customer's revenue until the next wave, or why there is none."""

from dataclasses import replace

import numpy as np
import pandas as pd

from cxresearch.transactions.linked import Linked, link_revenue

EARLY, LATE = 0.05, 0.95  # of a wave's answers: a few stragglers do not shorten every window


def link_waves(
    study, *, days: int | None = None, min_rows: int = 100, threads: int | None = None, memory_limit: str | None = None
) -> Linked:
    """Return one row per customer and wave of an opened study, with the revenue in the days before and after the answer.

    Parameters
    ----------
    study
        What `open_study` returns.
    days
        Length of both windows. None: the time from the end of a wave to the start of the next, so that revenue ends
        before the next answer; where gaps differ, the shortest.
    min_rows
        Answers that the same customer's answer in the next wave must follow; fewer make no panel.
    threads, memory_limit
        As in `link_revenue`.

    Returns
    -------
    Linked
        `table`: the responses, what `customers` holds beside them, the columns of `link_revenue`, and `period`, the
        place of the wave in time (0, 1, ...); revenue below zero, from returns, is set to 0 and counted. `waterfall`
        counts what is left out. `lacks` says why there is no panel (`table` is then empty), which `lead_lag` repeats.

    Raises
    ------
    DataProblem
        As `link_revenue`.

    Examples
    --------
    >>> import cxresearch as cx
    >>> study = cx.open_study("data/example/study.yml")
    >>> cx.link_waves(study).waterfall.columns.tolist()
    ['step', 'rows', 'removed', 'reason']
    """
    needs = {"tables": ["responses"], "roles": ["customer", "wave", "asked_at"]}
    lacks = study.lacks(needs) or study.lacks({"tables": ["transactions"]})
    if lacks:
        return _nothing(f"a lead {lacks}")
    asked = study.column("asked_at")
    answers = _with_period(_with_customers(study), asked)
    gap = days or between(answers, asked)
    if gap < 1:
        waves = answers["period"].nunique()
        return _nothing(
            "waves overlap in time" if waves > 1 else f"there is {waves} wave, and a lead needs a later one"
        )
    found = link_revenue(
        answers,
        study.transactions,
        customer="customer",
        asked=asked,
        time="time",
        amount="amount",
        before=int(gap),
        after=int(gap),
        threads=threads,
        memory_limit=memory_limit,
    )
    linked = _one_row_a_wave(found, asked)
    pairs = followed(linked.table)
    if pairs < min_rows:
        why = f"{pairs} answers are followed by one of the same customer in the next wave, fewer than {min_rows}"
        return _nothing(why, linked)
    return linked


def _nothing(why: str, linked: Linked | None = None) -> Linked:
    empty = pd.DataFrame() if linked is None else linked.table[:0]
    steps = pd.DataFrame(columns=["step", "rows", "removed", "reason"]) if linked is None else linked.waterfall
    return Linked(empty, steps, lacks=why)


def _with_customers(study) -> pd.DataFrame:
    answers = study.responses.table
    if "customers" not in study.table_names:
        return answers
    customers = study.customers.table
    further = [c for c in customers.columns if c not in answers.columns]
    return answers.merge(customers[["customer", *further]], on="customer", how="left", validate="many_to_one")


def _with_period(answers: pd.DataFrame, asked: str) -> pd.DataFrame:
    # by the day of the answers, since names of waves need not sort as they came
    order = answers.groupby("wave")[asked].median().dropna().sort_values().index
    return answers.assign(period=answers["wave"].map({wave: i for i, wave in enumerate(order)}).astype(float))


def between(answers: pd.DataFrame, asked: str) -> int:
    """Return the fewest whole days from the end of a wave to the start of the next; 0 with one wave."""
    ends = answers.groupby("period")[asked].quantile([EARLY, LATE]).unstack()
    gaps = (ends[EARLY].shift(-1) - ends[LATE]).dt.days.dropna()
    return int(max(gaps.min(), 0)) if len(gaps) else 0


def _one_row_a_wave(linked: Linked, asked: str) -> Linked:
    whole = linked.table[linked.table["after_complete"].fillna(False).astype(bool) & linked.table["period"].notna()]
    table = whole.sort_values(asked, kind="stable").drop_duplicates(["customer", "period"], keep="last").sort_index()
    money = ["revenue_before", "revenue_after"]
    below = int((table["revenue_after"] < 0).sum())
    said = [
        ("one a customer and wave", "earlier answers in the same wave, or no wave"),
        ("used", f"{below} with more returned than bought: revenue set to 0" if below else ""),
    ]
    last = int(linked.waterfall["rows"].iloc[-1])
    steps = [
        {"step": step, "rows": len(table), "removed": gone, "reason": why if gone or step == "used" else ""}
        for (step, why), gone in zip(said, (last - len(table), 0))
    ]
    waterfall = pd.concat([linked.waterfall, pd.DataFrame(steps)], ignore_index=True)
    return replace(linked, table=table.assign(**{m: np.maximum(table[m], 0) for m in money}), waterfall=waterfall)


def followed(table: pd.DataFrame) -> int:
    """Return how many rows the same customer's row of the next period follows."""
    keys = pd.MultiIndex.from_frame(table[["customer", "period"]])
    return int(pd.MultiIndex.from_arrays([table["customer"], table["period"] + 1]).isin(keys).sum())
