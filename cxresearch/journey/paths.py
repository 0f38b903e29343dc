"""What is measured of what happens, which way customers go, and the map of the journey.

Lemon & Verhoef (2016), J. Marketing 80:69-96 (stages); Anderson & Goodman (1957), Annals of Math. Statistics 28:89-110 (order);
Kemeny & Snell (1976), *Finite Markov Chains*, ch. 3 (removal).
"""

import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.patches import FancyArrowPatch
from scipy import sparse, stats

from cxresearch import digits
from cxresearch.errors import TooFewRespondents, nearest, require_columns, require_share
from cxresearch.figures import PALETTE, QUIET, TEXT, axes_or_new, heat_map, titled, wrap
from cxresearch.findings import Check, ends, listing, number
from cxresearch.inference import goodman_intervals, percentile_interval
from cxresearch.journey.log import JourneyFinding, event_log, groups_of, said_yes, say
from cxresearch.journey.moments import numbers_of
from cxresearch.privacy import hide_cells
from cxresearch.survey import as_survey

STAGES = {"before": "before the purchase", "purchase": "purchase", "after": "after the purchase"}
STAGES["not stated"] = "not stated"
MARKERS = {"physical": "s", "digital": "D", "personal": "o"}
START, END, WELL, LOST = "(start)", "(end)", "(well)", "(not well)"
MOST = 10  # touchpoints that a heat map can show


def journey_coverage(
    interactions, *, touchpoint, time, measured, responses=None, customer=None, case=None, owner=None, confidence=0.95
) -> JourneyFinding:
    """Return which share of the contacts at each touchpoint is of customers who rated it: blind spots by volume; the map.

    Parameters
    ----------
    interactions, time : as in `journey_paths`
    touchpoint : column
    measured : dict or DataFrame
        Touchpoint -> the item of `responses` (a Survey or DataFrame) that rates it, or None; or a table of touchpoint, item,
        stage (before, purchase, after), kind (physical, digital, personal) and owner, as a study declares.
    customer : column, optional, in both tables; by default the person of the contacts
    case, owner : columns, optional
        With both the moves of a case from one owner to another are counted (table ``handoffs``).

    Raises
    ------
    DataProblem
        Neither case nor customer, an unknown stage, an item that the responses lack.

    Examples
    --------
    >>> seen = dict(touchpoint="touchpoint", measured={"delivery": "delivery"}, responses=study.responses, time="time")
    >>> cx.journey_coverage(study.interactions, **seen).tidy()["term"][0]
    'delivery'
    """
    require_share("confidence", confidence)
    declared, log = touchpoints_of(measured), event_log(interactions, customer, time, [touchpoint, customer])
    survey, customer = None if responses is None else as_survey(responses), customer or log.source.person
    at, seen = log.table[touchpoint].astype(str), np.zeros(len(log.case), dtype=bool)
    pairs = declared[["term", "measured_by"]].dropna().to_numpy()
    for name, item in pairs if survey else ():
        require_columns(survey.table, item, customer, where="responses")
        answered = survey.table.loc[survey.table[item].notna(), customer]
        seen |= ((at == name) & log.table[customer].isin(answered)).to_numpy()
    groups, every, total = ([], [touchpoint]), np.arange(len(seen)), len(seen)
    whole, table = (log.shares({"measured": seen}, by, every, confidence) for by in groups)
    table, whole = table.rename(columns={"group": "term"}).drop(columns="measured"), whole.iloc[0]
    hidden, unmet = int(table["n"].isna().sum()), declared.loc[~declared["term"].isin(table["term"]), ["term"]]
    table = pd.concat([table, unmet.assign(n=0)]).merge(declared, how="left", on="term").fillna({"stage": "not stated"})
    table[["rating", "rating_share"]] = [rating_of(survey, item) for item in table["measured_by"]]
    table = table.assign(share=table["n"] / total)
    table = table.iloc[digits.descending(table["n"], table["term"])].reset_index(drop=True)
    blind = table[table["rating"].isna() & (table["n"] > 0)]
    names = listing(f'"{log.label(term)}"' for term in blind["term"][:3])
    told = (
        say,
        ["blind" if len(blind) else "all_seen", "seen"],
        {**whole, "blind": blind["n"].sum() / total, "names": names},
    )
    check = Check("touchpoints with contacts that nothing measures", len(blind), "0", blind.empty, "info")
    summary = {"n": total, "n_effective": whole["n_effective"], "method": "Wilson, customers as clusters"}
    question = "journey_coverage", touchpoint, None, table, summary | {"established": None}, (*log.checks, check)
    more = {"further": {"handoffs": moves_between_owners(interactions, case, time, owner)} if case and owner else {}}
    more |= {"drawn": {"unit": "share of contacts whose customer rated the touchpoint, 0–1"}, "figure": journey_map}
    labels = log.source.labels  # a touchpoint is called what the item that measures it is called
    more["labels"] = dict(labels) | {spot: labels[item] for spot, item in pairs if item in labels}
    return JourneyFinding.of(*told, confidence, *question, source=log.source, suppressed=hidden, **more)


def touchpoints_of(measured) -> pd.DataFrame:
    """Return the touchpoints with stage, kind, item and owner, missing where not declared; refuse unknown stages."""
    table = isinstance(measured, pd.DataFrame)
    declared = measured if table else pd.DataFrame(measured.items(), columns=["touchpoint", "item"])
    declared = declared.rename(columns={"touchpoint": "term", "item": "measured_by"})
    declared = declared.reindex(columns=["term", "stage", "kind", "measured_by", "owner"]).astype(object)
    for stage in declared["stage"].dropna():
        say.refuse_if(stage not in STAGES, "no_stage", stage=stage, near=nearest(stage, STAGES))
    return declared.where(declared.notna(), None).assign(term=declared["term"].astype(str))


def rating_of(survey, item) -> tuple[float, float]:
    """Return the mean of an item, in points and as a share of its scale; missing where nothing may be shown."""
    if survey is None or not isinstance(item, str):
        return np.nan, np.nan
    values = numbers_of(survey.table, item)
    try:
        sample = survey.sample(np.isfinite(values), what=survey.label(item))
    except TooFewRespondents:
        return np.nan, np.nan
    mean = sample.means(values[sample.rows])[0]
    low, high = survey.scales.get(item, (np.nanmin(values), np.nanmax(values)))
    return mean, (mean - low) / (high - low) if high > low else 0.5


def moves_between_owners(interactions, case, time, owner) -> pd.DataFrame:
    """Return how often a case went from one owner to another; pairs of fewer persons than the floor are hidden."""
    log = event_log(interactions, case, time, [owner])
    cell, names = groups_of(log.table[[owner]])
    moved = np.flatnonzero(~log.first & ~log.tied & (cell != np.roll(cell, 1)))
    moves = pd.DataFrame({"term": np.take(names, cell[moved - 1]), "group": np.take(names, cell[moved])})
    people = moves.assign(person=log.persons[log.case[moved]]).groupby(["term", "group"])["person"]
    counts = people.agg(n="size", base="nunique").reset_index()
    return hide_cells(counts, min_base=log.source.min_base, base="base", keys=("term", "group")).drop(columns="base")


def journey_map(finding, ax):
    """Draw stages across, owners down; dots, squares and diamonds are personal, physical and digital touchpoints.

    They are sized by contacts and coloured by rating, hollow where not measured; arcs are hand-offs between owners.
    """
    t = finding.table.assign(lane=finding.table["owner"].fillna("no owner named"), n=finding.table["n"].fillna(0))
    moves = finding.further.get("handoffs", pd.DataFrame(columns=["term", "group", "n"])).dropna(subset="n")
    stages = [stage for stage in STAGES if (t["stage"] == stage).any()]
    by_stage = t.sort_values("stage", key=lambda column: column.map(stages.index), kind="stable")
    lanes = list(dict.fromkeys([*by_stage["lane"], *moves["term"], *moves["group"]]))
    together, share = t.groupby(["stage", "lane"])["n"], t["rating_share"]
    x = t["stage"].map(stages.index) + (together.cumcount() + 0.5) / together.transform("size") - 0.5
    ax, size = axes_or_new(ax, rows=3 * len(lanes) + 2), 60 + 700 * t["n"] / max(t["n"].max(), 1)
    colours = sns.diverging_palette(30, 245, s=85, l=50, as_cmap=True)
    fills = colours((share - share.min()) / (share.max() - share.min() or 1)).tolist()
    below = {"textcoords": "offset points", "ha": "center", "va": "top", "fontsize": TEXT - 1}
    for k, row in enumerate(t.itertuples()):
        at, hollow = (x[k], lanes.index(row.lane)), np.isnan(row.rating)
        style = {"s": size[k], "marker": MARKERS.get(row.kind, "o"), "edgecolor": QUIET, "zorder": 3}
        ax.scatter(*at, color=["white" if hollow else fills[k]], **style)
        words = f"{wrap(finding.label(row.term), 16)}\n{'not measured' if hollow else number(row.rating, 1)}"
        ax.annotate(words, at, (0, -6 - size[k] ** 0.5 / 2), **below)
    for row in moves.itertuples():
        start, end = lanes.index(row.term), lanes.index(row.group)
        style = {"arrowstyle": "-|>", "mutation_scale": 9, "color": PALETTE[1], "alpha": 0.7, "zorder": 2}
        style["linewidth"] = 0.6 + 4 * row.n / moves["n"].max()
        style["connectionstyle"] = f"arc3,rad={np.sign(start - end) * 0.55}"
        ax.add_patch(FancyArrowPatch(*[(len(stages) - 0.45, lane) for lane in (start, end)], clip_on=False, **style))
    ax.set_xticks(range(len(stages)), [STAGES[stage] for stage in stages])
    ax.set_yticks(range(len(lanes)), [wrap(lane, 16) for lane in lanes])
    ax.set(xlim=(-0.55, len(stages) - 0.4 + 0.6 * (len(moves) > 0)), ylim=(len(lanes) - 0.25, -0.5))
    arcs = "; arcs: cases handed on between owners" if len(moves) else ""
    ax.set_xlabel(f"dot: contacts; orange to blue: rating, low to high; hollow: not measured{arcs}", fontsize=TEXT - 2)
    return titled(ax, finding.title)


def journey_paths(
    interactions, *, time, step, case=None, outcome=None, order=None, duplicates="drop", n_boot=1000, confidence=0.95,
    min_cases=30, seed,
) -> JourneyFinding:  # fmt: skip
    """Return which touchpoint follows which, whether the step before matters too, and what paths that end well pass.

    Parameters
    ----------
    interactions : Table, DataFrame, path or DuckDB relation, (N, .), one row per contact
    time, step : columns, when, and at which touchpoint
    case : column or list of columns, optional
        What joins contacts to a path (at least `min_cases`); by default the person of the table.
    outcome : column, optional, yes or no; that of its last contact says whether a path ended well
    order : column, optional, tells the order of contacts of a case at one moment
    duplicates : {"drop", "keep"}, rows that repeat another in every column; they are counted either way
    n_boot, confidence, seed : bootstrap of persons for what good ends pass

    Returns
    -------
    JourneyFinding
        ``estimate`` = (n_ij + 1/2) / (n_i + K/2), interval Goodman's. Table ``order``: 2 (l2 - l1), df the sum over middle
        touchpoints of (predecessors - 1)(successors - 1). ``removal``: 1 - P(well without s) / P(well) of the absorbing chain,
        s leading to loss: the share of paths that pass s, never what s causes. Moves within a day of no hours are left out.

    Raises
    ------
    DataProblem, TooFewRespondents
        Neither case nor customer, one touchpoint, different contacts of a case at one moment without `order`; few paths.

    Examples
    --------
    >>> cx.journey_paths(study.interactions, case="case", time="time", step="owner", seed=1).established
    """
    log = event_log(interactions, case, time, [step, outcome], order=order, ordered=True, duplicates=duplicates)
    (code, names), cases, floor = groups_of(log.table[[step]]), len(log.persons), log.source.min_base
    say.refuse_if(len(names) < 2, "one_step", step=step, name=names[0])
    say.refuse_if(cases < min_cases, "few_paths", cases=cases, least=min_cases)
    last = np.append(log.first[1:], True)
    good = np.ones(cases, dtype=bool) if outcome is None else said_yes(log.table[outcome])[last]
    alike = outcome and good.all() | ~good.any()
    say.refuse_if(alike, "one_end", outcome=outcome, good=good.sum(), cases=cases)
    states, k = [START, *names, *((WELL, LOST) if outcome else (END,))], len(names) + 1
    line, known = np.zeros(len(code) + 2 * cases, dtype=np.int64), np.ones(len(code) + 2 * cases, dtype=bool)
    owner = np.repeat(np.arange(cases), np.bincount(log.case) + 2)
    place = np.arange(len(code)) + 2 * log.case + 1  # each path between start and end
    line[place], line[place[last] + 1] = code + np.int64(1), np.where(good, k, k + 1)
    known[place[log.tied] - 1] = known[place[last] + 1] = False
    move = np.flatnonzero(known)
    pair, person = line[move] * len(states) + line[move + 1], log.persons[owner[move]]
    table, test, removal = transitions(pair, person, states, k, floor, confidence), order_test(line, known), None
    if outcome:
        each = sparse.csr_array((np.ones(len(pair)), (owner[move], pair)), shape=(cases, len(states) ** 2))
        removal = passed(each, names, log.persons, n_boot, confidence, seed)
        few = pd.Series(log.persons[log.case]).groupby(code).nunique().to_numpy() < floor
        removal = removal.mask(few[:, None] & (removal.columns != "term")).assign(cases=cases)
    keys, known = most(table, removal, log)
    p = test["p_value"]
    keys += ["order_unknown" if np.isnan(p) else "order" if p < 1 - confidence else "no_order", *log.days]
    known |= {"p_value": p, "good": good.sum()}
    summary = {"n": len(log.case), "cases": cases, "method": "first-order chain", "established": None}
    further = {"order": pd.DataFrame([test])} | ({"removal": removal} if outcome else {})
    more = {"suppressed": int(table["estimate"].isna().sum()), "figure": moves_map, "further": further}
    question = "journey_paths", step, None, table, summary, log.checks
    return JourneyFinding.of(say, keys, known, confidence, *question, source=log.source, **more)


def transitions(pair, person, states, k, min_base, confidence) -> pd.DataFrame:
    """Return the smoothed shares of what follows each touchpoint; moves of too few persons are hidden."""
    movers = pd.DataFrame({"pair": pair, "person": person}).drop_duplicates()["pair"]
    counts, base = (np.bincount(v, minlength=len(states) ** 2).reshape(-1, len(states)) for v in (pair, movers))
    parts = []
    for i in np.flatnonzero(counts.any(axis=1)):
        to = np.arange(1, len(states) if i else k)
        n, found = counts[i].sum(), counts[i, to]
        low, high = goodman_intervals(found / n, n, confidence)
        part = {"term": states[i], "group": np.take(states, to), "estimate": (found + 0.5) / (n + len(to) / 2)}
        part |= {"conf_low": low, "conf_high": high, "moves": found, "n": n, "base": base[i, to]}
        parts.append(pd.DataFrame(part))
    table = pd.concat(parts, ignore_index=True)
    shown = hide_cells(table.drop(columns="n"), min_base=min_base, base="base", keys=("term", "group"))
    return shown.drop(columns="base").assign(n=table["n"])


def order_test(line, known) -> dict:
    """Return the likelihood-ratio test of "only the last touchpoint matters" against "the one before it does, too"."""
    at = np.flatnonzero(known[:-1] & known[1:])
    found = pd.DataFrame({"a": line[at], "b": line[at + 1], "c": line[at + 2]}).value_counts().rename("n").reset_index()
    sums = [found.groupby(keys)["n"].transform("sum") for keys in (["b"], ["a", "b"], ["b", "c"])]
    statistic = 2 * float(np.sum(found["n"] * np.log(found["n"] * sums[0] / (sums[1] * sums[2]))))
    df = int((found.groupby("b")[["a", "c"]].nunique() - 1).prod(axis=1).sum())
    p = float(stats.chi2.sf(statistic, df)) if df else np.nan
    return {"likelihood_ratio": statistic, "df": df, "p_value": p, "n": len(at), "method": "first against second order"}


def passed(each, names, persons, n_boot, confidence, seed) -> pd.DataFrame:
    """Return which share of the paths that end well passes each touchpoint, with percentile intervals over persons."""
    k = len(names) + 1  # states that are no end

    def share(counts):
        """Return, (b, k - 1), the chance to reach s times that to end well from it, over that to end well."""
        counts = counts.reshape(-1, k + 2, k + 2)[:, :k]
        moves = counts / np.maximum(counts.sum(axis=2, keepdims=True), 1e-300)
        visits = np.linalg.inv(np.eye(k) - (1 - 1e-13) * moves[:, :, :k])
        well = np.einsum("bij,bj->bi", visits, moves[:, :, k])
        with np.errstate(invalid="ignore", divide="ignore"):
            return (visits[:, 0] / np.einsum("bii->bi", visits) * well / well[:, :1])[:, 1:]

    sample = as_survey(pd.DataFrame({"person": persons}), cluster="person").sample()
    drawn = np.concatenate([share(weights @ each) for weights in sample.replicates(n_boot, seed=seed)])
    whole = share(each.sum(axis=0))[0]
    found = ends("passes", whole, *percentile_interval(drawn, confidence))
    return pd.DataFrame({"term": names, **found, "share": whole / whole.sum()})


def most(table, removal, log) -> tuple[list[str], dict]:
    """Return what is told of paths: where most are lost and what most good ends pass, or else the most frequent move."""
    between = (table["term"] != START) & (table["group"] != END) & (table["term"] != table["group"])
    moves, known, lost = table[between if removal is None else table["group"] == LOST], {}, removal is not None
    keys = ["paths_hidden" if not moves["moves"].max() > 0 else "lost_at" if lost else "follows", *["passes"] * lost]
    if lost:
        best = digits.largest(removal, "passes")
        known = {**best, "best": log.label(best["term"]), "lost": moves["moves"].sum()}
    if moves["moves"].max() > 0:
        top = digits.largest(moves, "moves")
        known = {**top, "moves_of": top["n"], **known, "first": log.label(top["term"]), "then": log.label(top["group"])}
        known["share"] = top["moves"] / moves["moves"].sum()
    return keys, known


def moves_map(finding, ax):
    """Draw the shares of what follows the most frequent touchpoints, percent."""
    sizes = finding.table.drop_duplicates("term").set_index("term")["n"].drop(START, errors="ignore")
    wide = 100 * finding.table.pivot(index="term", columns="group", values="estimate")
    shown = [START, *sizes.nlargest(MOST).index, END, WELL, LOST]
    wide = wide.reindex(index=[k for k in shown if k in wide.index], columns=[k for k in shown if k in wide])
    wide = wide.rename(index=finding.label, columns=finding.label)
    return heat_map(wide, unit="what follows, % of the moves from the row's touchpoint", title=finding.title, ax=ax)
