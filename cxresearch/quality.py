"""How well a survey was answered; Krosnick (1991), *Applied Cognitive Psychology* 5:213-236 (satisficing)."""

from contextlib import suppress

import numpy as np
import pandas as pd

from cxresearch import digits
from cxresearch.errors import DataProblem, require_columns
from cxresearch.findings import Check, Finding, say
from cxresearch.privacy import require_base
from cxresearch.survey import as_survey, person_codes, waves_of

MOST_SKIPPED, MOST_STRAIGHT = 0.20, 0.05  # conventions: an item skipped more often tells of those who answered it
FEWEST = 3  # items rated, under which one answer to all says nothing
MANY = 5  # items rated, from which one answer to all is a reason to look; of three or four, alert people do it, too


def response_quality(responses, *, items, ratings=()) -> Finding:
    """Count what was answered, skipped and not applicable, and who gave one answer to everything.

    Tables: items, shares 0-1 of all responses; ``straight``, by how many items were rated; ``waves``, items by wave.

    Parameters
    ----------
    responses : Survey or DataFrame; where a boolean column ``<item>_met`` is False, the item was not applicable
    items, ratings : columns to describe; those on one scale, asked together, among which straight-lining is looked for

    Examples
    --------
    >>> print(cx.response_quality(study.responses, items=["recommend", "satisfaction"]))
    2,213 responses in 4 waves: most often skipped was Overall satisfaction (3 %).
    """
    survey, items, ratings = as_survey(responses), list(items), list(ratings)
    table, wave, floor = survey.table[survey.weights() > 0], survey.wave, survey.min_base
    say.refuse_if(not items, "no_items")
    require_columns(table, *items, *ratings, where="responses")
    table.index = person_codes(table[survey.respondent]) if survey.respondent else range(len(table))  # the floor's
    require_base(table.index.nunique(), min_base=floor, what="response quality")
    found, rated = _item_table(table, items), table[ratings].astype(float)
    one = digits.at_most(rated.max(axis=1), rated.min(axis=1))  # not nunique, which looks at rows one by one
    rows = pd.DataFrame({"n_given": rated.notna().sum(axis=1), "share_straight": 1.0 * one, "persons": table.index})
    some, many = (rows[rows["n_given"] >= least] for least in (FEWEST, MANY))
    by = some.groupby("n_given")
    straight = by.agg(n=("persons", "size"), share_straight=("share_straight", "mean"), persons=("persons", "nunique"))
    p = pd.Series(rated.to_numpy().ravel()).value_counts(normalize=True).to_numpy()
    straight["share_by_chance"] = [float(np.sum(p**k)) for k in straight.index]
    counts = {} if straight.empty else {"straight": straight}
    if wave is not None and table[wave].notna().any():
        with suppress(DataProblem):  # where nothing tells their order, waves stand by their names
            table[wave] = waves_of(table[wave], survey.wave_order)
        parts = table.groupby(wave, sort=True, observed=True)
        known = [_item_table(part, items, wave=name, persons=part.index.nunique()) for name, part in parts]
        counts["waves"] = pd.concat(known).set_index(["term", "wave"])
    shown = (t.drop(columns="persons").mask(t["persons"] < floor, axis=0).reset_index() for t in counts.values())
    share, unanswered = many["share_straight"].mean(), int(table[items].isna().all(axis=1).sum())
    skipped, unmet = (digits.largest(found, column) for column in ("share_skipped", "share_not_met"))
    summary = {
        "n": len(table), "n_waves": 1 if wave is None else int(table[wave].nunique()), "n_ratings": len(ratings),
        "n_rated": len(some), "share_straight": some["share_straight"].mean(), "n_many": len(many),
        "share_straight_many": share, "n_unanswered": unanswered, "method": "counts",
    }  # fmt: skip
    at_most = lambda what, v, most: Check(what, digits.rounded(v, 3), f"at most {most}", bool(v <= most))  # noqa: E731
    checks = [at_most("highest share skipped", skipped["share_skipped"], MOST_SKIPPED)]
    checks += [Check("responses without any answer", unanswered, "0", unanswered == 0)]
    checks += [at_most(f"straight-lined ratings of {MANY} or more items", share, MOST_STRAIGHT)] * (len(many) > 0)
    first = ("skipped" if skipped["share_skipped"] > 0 else "complete") + "_once" * (summary["n_waves"] < 2)
    keys = [first, *["not_met"] * bool(unmet["share_not_met"] > 0), *["straight"] * (len(many) > 0)]
    known = {"skipped": survey.label(skipped["term"]), "share_skipped": skipped["share_skipped"], "many": MANY}
    known |= {"unmet": survey.label(unmet["term"]), "share_not_met": unmet["share_not_met"]}
    question = ("response_quality", "responses", None, found, summary, tuple(checks))
    return Finding.of(say, keys, known, 0.95, *question, source=survey, further=dict(zip(counts, shown)), figure=_bars)


def _bars(finding: Finding, ax):
    """Draw answered, skipped and not applicable per item as parts of one bar (percent of responses)."""
    from cxresearch import figures  # `cxresearch check` counts without drawing, and drawing costs seconds to import

    parts = {"answered": figures.PALETTE[0], "skipped": figures.PALETTE[1], "not applicable": "#C9C9C9"}
    ax, table = figures.axes_or_new(ax, rows=len(finding.table) + 2), finding.table
    shares = 100 * table[["share_answered", "share_skipped", "share_not_met"]].set_axis(list(parts), axis=1)
    shares.plot.barh(stacked=True, width=0.72, color=parts, ax=ax)
    figures.rows_named(ax, [finding.label(term) for term in table["term"]])
    ax.set(xlim=(0, 100), xlabel="percent of responses")
    ax.legend(loc="upper left", bbox_to_anchor=(0, -0.12), ncols=figures.columns(3), borderaxespad=0.2)
    return figures.titled(ax, finding.sentence().split(". ")[0].rstrip("."))


def _item_table(responses: pd.DataFrame, items: list[str], **wave) -> pd.DataFrame:
    answered = responses[items].notna().to_numpy()
    never = [responses.get(f"{i}_met", pd.Series(True, responses.index)).eq(False) for i in items]  # missing is none
    met = ~np.column_stack([column.to_numpy(dtype=bool, na_value=False) for column in never])
    shares = {"answered": answered, "skipped": met & ~answered, "not_met": ~met & ~answered}
    columns = {"term": items, **wave, "n": len(responses), "n_answered": answered.sum(axis=0)}
    return pd.DataFrame(columns | {f"share_{name}": rows.mean(axis=0) for name, rows in shares.items()})
