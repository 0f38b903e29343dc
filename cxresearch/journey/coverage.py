"""What is measured of what happens, and the map of the journey. Stages: Lemon & Verhoef (2016), J. Marketing 80:69-96."""

from dataclasses import dataclass

import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.patches import FancyArrowPatch

from cxresearch import digits
from cxresearch.errors import DataProblem, nearest, require_columns, require_share
from cxresearch.figures import PALETTE, QUIET, TEXT, axes_or_new, titled, wrap
from cxresearch.findings import Check, listing, number, percent
from cxresearch.journey.log import JourneyFinding, event_log, span
from cxresearch.journey.moments import ratings_of
from cxresearch.privacy import hidden_cells
from cxresearch.survey import as_survey

STAGES = ("before", "purchase", "after")
MARKERS = {"physical": "s", "digital": "D", "personal": "o"}


@dataclass(frozen=True, repr=False, eq=False)
class Coverage(JourneyFinding):
    """One row per touchpoint (`term`); `estimate` is the share of its contacts whose customer rated it.

    ``handoffs`` is a further table where cases have owners: how often a case went from one to another.
    """

    def plot(self, ax=None):
        """Draw contacts by touchpoint, the measured part of them in colour."""
        t = self.table[self.table["n"] > 0]
        ax, at = axes_or_new(ax, rows=len(t)), np.arange(len(t))
        ax.barh(at, t["n"], color="white", edgecolor=QUIET, height=0.6, label="not measured")
        ax.barh(at, t["n"] * t["estimate"].fillna(0), color=PALETTE[0], height=0.6, label="measured")
        ax.set_yticks(at, [wrap(self.label(term)) for term in t["term"]])
        ax.set(xlabel="contacts", ylim=(len(t) - 0.4, -0.6))
        ax.grid(axis="y", visible=False)
        ax.legend(loc="lower right")
        return titled(ax, self.title)

    def plot_map(self, ax=None):
        """Draw the journey: stages across, owners down, touchpoints as dots, hand-offs between owners as arcs.

        Dots are sized by contacts and coloured by rating; hollow ones are not measured. Squares are physical, diamonds
        digital, circles personal.
        """
        t = self.table.assign(lane=self.table["owner"].fillna("no owner named"))
        moves = self.further.get("handoffs", pd.DataFrame(columns=["term", "group", "n"])).dropna(subset="n")
        stages = [s for s in (*STAGES, "not stated") if (t["stage"].fillna("not stated") == s).any()]
        lanes = list(
            dict.fromkeys([*t.sort_values("stage", key=lambda c: c.map(stages.index))["lane"], *moves["term"]])
        )
        lanes += [lane for lane in dict.fromkeys(moves["group"]) if lane not in lanes]
        ax = axes_or_new(ax, rows=2 * len(lanes) + 3)
        worst, best = t["rating_share"].min(), t["rating_share"].max()
        colours = sns.diverging_palette(30, 245, s=85, l=50, as_cmap=True)
        for (stage, lane), part in t.groupby(["stage", "lane"], sort=False):
            for k, r in enumerate(part.itertuples()):
                x, y = stages.index(stage) + (k + 0.5) / len(part) - 0.5, lanes.index(lane)
                fill = "white" if np.isnan(r.rating_share) else colours((r.rating_share - worst) / (best - worst or 1))
                size = 60 + 700 * (r.n if np.isfinite(r.n) else 0) / max(t["n"].max(), 1)
                ax.scatter(x, y, s=size, color=[fill], marker=MARKERS.get(r.kind, "o"), edgecolor=QUIET, zorder=3)
                rated = "not measured" if np.isnan(r.rating) else number(r.rating, 1)
                words = f"{wrap(self.label(r.term), 16)}\n{rated}"
                ax.annotate(
                    words,
                    (x, y),
                    (0, -6 - size**0.5 / 2),
                    textcoords="offset points",
                    ha="center",
                    va="top",
                    fontsize=TEXT - 1,
                )
        edge = len(stages) - 0.45
        for r in moves.itertuples():
            start, end = lanes.index(r.term), lanes.index(r.group)
            width = 0.6 + 4 * r.n / moves["n"].max()
            style = dict(arrowstyle="-|>", mutation_scale=9, color=PALETTE[1], alpha=0.7, linewidth=width)
            bend = f"arc3,rad={-0.55 if end > start else 0.55}"
            ax.add_patch(FancyArrowPatch((edge, start), (edge, end), connectionstyle=bend, zorder=2, **style))
        ax.set_xticks(range(len(stages)), [f"{s} the purchase" if s in ("before", "after") else s for s in stages])
        ax.set_yticks(range(len(lanes)), [wrap(lane, 16) for lane in lanes])
        ax.set(xlim=(-0.55, len(stages) - 0.4 + 0.6 * bool(len(moves))), ylim=(len(lanes) - 0.25, -0.5))
        arcs = "; arcs: cases handed on between owners" if len(moves) else ""
        ax.set_xlabel(
            f"dot: contacts; orange to blue: rating, low to high; hollow: not measured{arcs}", fontsize=TEXT - 2
        )
        return titled(ax, self.title)


def journey_coverage(
    interactions,
    *,
    touchpoint: str,
    measured,
    responses=None,
    customer: str | None = None,
    contact: str | None = None,
    time: str | None = None,
    case: str | None = None,
    owner: str | None = None,
    confidence: float = 0.95,
) -> Coverage:
    """Return which part of the contacts at each touchpoint is measured: blind spots by volume, and the map.

    Parameters
    ----------
    interactions : Table, DataFrame, path or DuckDB relation, (N, .)
        One row per contact.
    touchpoint : column
    measured : dict or DataFrame
        Touchpoint -> the item of `responses` that rates it, or None; or a table of touchpoint, item, stage (before,
        purchase, after), kind and owner, as a study declares.
    responses : Survey or DataFrame, optional
        Without it nothing is measured.
    customer : column, optional
        In both tables; by default the person of the contacts.
    contact : column, optional
        The contact that an answer rates, in both tables: it is measured, too.
    time, case, owner : columns, optional
        With all three hand-offs between owners are counted: consecutive contacts of a case with another owner.

    Raises
    ------
    DataProblem
        Neither case nor customer, an unknown stage, an item that the responses lack.

    Notes
    -----
    A contact is measured if its customer has answered the touchpoint's item. Intervals are Wilson's on the base that
    customers as clusters leave.

    Examples
    --------
    >>> import cxresearch as cx
    >>> study = cx.open_study("data/example/study.yml")
    >>> items = {"delivery": "delivery", "returns": "returns_service"}
    >>> seen = dict(touchpoint="touchpoint", measured=items, responses=study.responses)
    >>> cx.journey_coverage(study.interactions, **seen).tidy()["term"][0]
    'delivery'
    """
    require_share("confidence", confidence)
    declared = declared_touchpoints(measured)
    wanted = [touchpoint, *(c for c in (contact,) if c)]
    log = event_log(interactions, customer, time, wanted, ordered=False)
    customer = customer or log.person
    survey = None if responses is None else as_survey(responses)
    items = [item for item in declared["item"].dropna() if survey is not None]
    if items:
        require_columns(survey.table, *items, customer, where="responses")
    cell, names = log.cells([touchpoint])
    seen, rows = seen_by(log, survey, customer, contact, declared.set_index("touchpoint")["item"], cell, names), []
    for name, at in zip(names, log.places(cell, names, cell >= 0)):
        rows.append({"term": name, **log.share(seen, at, confidence)})
    rows += [{"term": name, "n": 0, "persons": np.inf} for name in declared["touchpoint"] if name not in names]
    table = pd.DataFrame(rows).merge(declared.rename(columns={"touchpoint": "term"}), how="left", on="term")
    table["stage"] = table["stage"].fillna("not stated")
    table = pd.concat([table, pd.DataFrame([rating_of(survey, item) for item in table["item"]])], axis=1)
    blind = table["rating"].isna() & (table["n"] > 0)
    hidden = hidden_cells(table.assign(group=table["term"]), min_base=log.min_base, base="persons", keys=("group",))
    total = int(table["n"].sum())
    table["share"] = table["n"] / total
    columns = ["n", "share", "estimate", "conf_low", "conf_high"]
    table = table.assign(**{c: table[c].mask(hidden) for c in columns}).drop(columns="persons")
    table = (
        table.rename(columns={"item": "measured_by"})
        .iloc[digits.descending(table["n"], table["term"])]
        .reset_index(drop=True)
    )
    whole, unseen = (
        log.share(seen, np.arange(len(cell)), confidence),
        table[table["rating"].isna() & (table["n"] > 0)],
    )
    share = {"share": percent(unseen["n"].sum() / total)}
    said = [
        ("blind", share | {"names": listing(f'"{log.labels.get(t, t)}"' for t in unseen["term"][:3])})
        if len(unseen)
        else ("all_seen", {})
    ]
    said.append(
        ("seen", {"share": percent(whole["estimate"]), "span": span(whole, confidence), "n": number(whole["n"], 0)})
    )
    further = {} if not (time and case and owner) else {"handoffs": handoffs(interactions, case, time, owner)}
    summary = {"n": total, "n_effective": whole["n_effective"], "method": "Wilson, customers as clusters"}
    checks = (
        *log.checks,
        Check("touchpoints with contacts that nothing measures", int(blind.sum()), "0", not blind.any(), "info"),
    )
    return Coverage(
        "journey_coverage", touchpoint, None, table, summary | {"established": None}, checks, log.labels, further,
        suppressed=int(hidden.sum()), said=tuple(said), unit="share of contacts whose customer rated the touchpoint, 0–1",
    )  # fmt: skip


def declared_touchpoints(measured) -> pd.DataFrame:
    """Return touchpoint, stage, kind, item and owner, missing where not declared; refuse unknown stages."""
    pairs = (
        measured
        if isinstance(measured, pd.DataFrame)
        else pd.DataFrame(measured.items(), columns=["touchpoint", "item"])
    )
    declared = pairs.reindex(columns=["touchpoint", "stage", "kind", "item", "owner"]).astype(object)
    wrong = [s for s in declared["stage"].dropna() if s not in STAGES]
    if wrong:
        raise DataProblem(f"stage {wrong[0]!r} is not one of {', '.join(STAGES)}{nearest(wrong[0], STAGES)}")
    return declared.where(declared.notna(), None).assign(stage=declared["stage"].fillna("not stated"))


def seen_by(log, survey, customer, contact, item_of, cell, names) -> np.ndarray:
    """Return which contacts are measured, (n,): their customer answered the touchpoint's item, or an answer rates them."""
    seen = np.zeros(len(cell), dtype=bool)
    if survey is None:
        return seen
    persons, t = log.column(customer), survey.table
    for k, name in enumerate(names):
        if (item := item_of.get(name)) is not None:
            seen |= (cell == k) & persons.isin(t.loc[t[item].notna(), customer]).to_numpy()
    return seen if contact is None else seen | log.column(contact).isin(t[contact].dropna()).to_numpy()


def rating_of(survey, item) -> dict:
    """Return the mean of an item, in points and as a share of its scale; missing where nothing may be shown."""
    if survey is None or not isinstance(item, str):
        return {"rating": np.nan, "rating_share": np.nan}
    values = ratings_of(survey.table, item)
    known = np.isfinite(values)
    if not known.any():
        return {"rating": np.nan, "rating_share": np.nan}
    sample = survey.sample(known, what=survey.label(item))
    mean, (low, high) = (
        float(sample.means(values[sample.rows])[0]),
        survey.scales.get(item, (np.nanmin(values), np.nanmax(values))),
    )
    return {"rating": mean, "rating_share": (mean - low) / (high - low) if high > low else 0.5}


def handoffs(interactions, case, time, owner) -> pd.DataFrame:
    """Return how often a case went from one owner to another; pairs of fewer persons than the floor are hidden."""
    log = event_log(interactions, case, time, [owner], ordered=False)
    cell, names = log.cells([owner])
    moved = ~log.first & ~log.tied & (cell != np.roll(cell, 1))
    found = pd.DataFrame({"term": np.roll(cell, 1), "group": cell, "person": log.persons[log.case]})[moved]
    counts = found.groupby(["term", "group"])["person"].agg(n="size", base="nunique").reset_index()
    counts[["term", "group"]] = counts[["term", "group"]].map(lambda k: names[k])
    hidden = hidden_cells(counts, min_base=log.min_base, base="base", keys=("term", "group"))
    return counts.assign(n=counts["n"].mask(hidden)).drop(columns="base")
