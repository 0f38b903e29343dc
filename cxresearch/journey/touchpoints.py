"""Touchpoints: what is measured of what happens, which way customers go, which moments count, are channels alike.

Lemon & Verhoef (2016), J. Marketing 80:69-96 (stages); Anderson & Goodman (1957), Annals of Math. Statistics 28:89-110
(order); Kemeny & Snell (1976), *Finite Markov Chains*, ch. 3 (removal); Schuirmann (1987), J. Pharmacokinetics and
Biopharmaceutics 15:657-680 (two one-sided tests); Viechtbauer (2007), Statistics in Medicine 26:37-52 (Q-profile).
"""

from itertools import combinations

import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.patches import FancyArrowPatch
from scipy import sparse, stats

from cxresearch import digits
from cxresearch.errors import TooFewRespondents, nearest, require_columns, require_share
from cxresearch.figures import PALETTE, QUIET, TEXT, axes_or_new, heat_map, titled, wrap
from cxresearch.findings import Check, ends, listing, number
from cxresearch.inference import adjusted_p_values, goodman_intervals, percentile_interval, t_interval
from cxresearch.inference.pooling import between_variance
from cxresearch.journey.contacts import Charted, apart, called, design_of, event_log, groups_of, listed, numbers_of, say
from cxresearch.survey import as_survey, as_table

FEW = 30  # bad ratings under which nothing is established of a touchpoint
STAGES = {"before": "before the purchase", "purchase": "purchase", "after": "after the purchase"}
STAGES |= {"not stated": "not stated"}
MARKERS = {"physical": "s", "digital": "D", "personal": "o"}
START, END, WELL, LOST = "(start)", "(end)", "(well)", "(not well)"
MOST = 10  # touchpoints that a heat map can show


def journey_coverage(
    interactions, *, touchpoint, time, measured, responses=None, customer=None, case=None, owner=None, confidence=0.95
) -> Charted:
    """Return which share of the contacts at each touchpoint is of customers who rated it: blind spots by volume.

    Refused: neither case nor customer, an unknown stage, a touchpoint declared twice, no customer in both tables.

    Parameters
    ----------
    interactions, time, touchpoint, customer, case, owner : as in `journey_paths`; case and owner for table ``handoffs``
    measured : dict, touchpoint -> the item of `responses` that rates it or None, or a table of touchpoint, item, stage
        (before, purchase, after), kind (physical, digital, personal) and owner, as a study declares

    Examples
    --------
    >>> seen = dict(touchpoint="touchpoint", measured={"delivery": "delivery"}, responses=study.responses, time="time")
    >>> cx.journey_coverage(study.interactions, **seen).tidy()["term"][0]
    'delivery'
    """
    require_share("confidence", confidence)
    given = pd.DataFrame(measured.items(), columns=["touchpoint", "item"]) if isinstance(measured, dict) else measured
    declared = given.rename(columns={"touchpoint": "term", "item": "measured_by"})
    declared = declared.reindex(columns=["term", "stage", "kind", "measured_by", "owner"]).astype(object)
    declared = declared.where(declared.notna(), None).assign(term=declared["term"].map(called))
    twice = declared.loc[declared["term"].duplicated(), "term"]
    say.refuse_if(len(twice), "twice", names=listing(twice.unique()))
    for stage in declared["stage"].dropna():
        say.refuse_if(stage not in STAGES, "no_stage", stage=stage, near=nearest(stage, STAGES))
    log = event_log(interactions, customer, time, [touchpoint, customer])
    survey, customer = None if responses is None else as_survey(responses), customer or log.source.person
    pairs, seen, total = declared[["term", "measured_by"]].dropna().to_numpy(), log.tied & False, len(log.case)
    code, names = groups_of(log.table[[touchpoint]])
    say.refuse_if(survey is None and len(pairs), "no_responses", names=listing(declared["measured_by"].dropna()))
    for name, item in pairs:
        require_columns(survey.table, item, customer, where="responses")
        met = log.table[customer].isin(survey.table.loc[survey.table[item].notna(), customer])
        seen |= met.to_numpy() & (np.array(names) == name)[code]
    strangers = len(pairs) and not log.table[customer].isin(survey.table[customer]).any()
    say.refuse_if(strangers, "no_match", customer=customer)
    whole, table = log.shares({"measured": seen}, [touchpoint], np.arange(total), confidence)
    table, hidden = table.rename(columns={"group": "term"}).drop(columns="measured"), int(table["n"].isna().sum())
    unmet = declared.loc[~declared["term"].isin(table["term"]), ["term"]].assign(n=0)
    table = pd.concat([table, unmet]).merge(declared, how="left", on="term").fillna({"stage": "not stated"})
    rated = {item: rating_of(survey, item) for _, item in pairs}
    table[["rating", "rating_share"]] = [rated.get(item, (np.nan, np.nan)) for item in table["measured_by"]]
    order = digits.descending(table["n"], table["term"])
    table = table.assign(share=table["n"] / total).iloc[order].reset_index(drop=True)
    blind = table[table["rating"].isna() & (table["n"] != 0)]  # also those whose contacts are hidden
    known = {**whole, "blind": blind["n"].sum(skipna=False) / total}
    known["names"] = listing(f'"{log.label(term)}"' for term in blind["term"][:3])
    check = Check("touchpoints with contacts that nothing measures", len(blind), "0", blind.empty, "info")
    summary = {"n": total, "n_effective": whole["n_effective"], "method": "Wilson, customers as clusters"}
    labels = log.source.labels  # a touchpoint is called what the item that measures it is called
    return Charted.of(
        say, ["all_seen" if blind.empty else "blind", "seen"], known, confidence, "journey_coverage", touchpoint, None,
        table, summary | {"established": None}, (*log.checks, check), source=log.source, suppressed=hidden,
        figure=journey_map, labels=dict(labels) | {spot: labels[item] for spot, item in pairs if item in labels},
        further={"handoffs": moves_between_owners(interactions, case, time, owner)} if case and owner else {},
        drawn={"unit": "share of contacts whose customer rated the touchpoint, 0–1"},
    )  # fmt: skip


def rating_of(survey, item) -> tuple[float, float]:
    """Return the mean of an item, in points and as a share of its scale; missing where nothing may be shown."""
    values = numbers_of(survey.table, item)
    try:
        sample = survey.sample(np.isfinite(values), what=survey.label(item))
    except TooFewRespondents:
        return np.nan, np.nan
    low, high = survey.scales.get(item, (np.nanmin(values), np.nanmax(values)))
    mean = sample.means(values[sample.rows])[0]
    return mean, (mean - low) / (high - low) if high > low else 0.5


def moves_between_owners(interactions, case, time, owner) -> pd.DataFrame:
    """Return how often a case went from one owner to another; pairs of fewer persons than the floor are hidden."""
    log = event_log(interactions, case, time, [owner])
    moves = log.moves(owner)
    moves = moves.assign(person=log.persons[log.case[moves["row"]]])[~log.tied[moves["row"]]]
    counts = moves.groupby(["term", "group"])["person"].agg(n="size", base="nunique").reset_index()
    return log.hide(counts, "term", "group")


def journey_map(finding, ax):
    """Draw stages across, owners down, touchpoints by kind, contacts and rating; arcs are hand-offs between owners."""
    t = finding.table.fillna({"owner": "no owner named", "n": 0})
    moves = finding.further.get("handoffs", pd.DataFrame(columns=["term", "group", "n"])).dropna(subset="n")
    stages = [stage for stage in STAGES if (t["stage"] == stage).any()]
    column, together, share = t["stage"].map(stages.index), t.groupby(["stage", "owner"])["n"], t["rating_share"]
    lanes = [*dict.fromkeys([*t["owner"].iloc[np.argsort(column, kind="stable")], *moves["term"], *moves["group"]])]
    x = column + (together.cumcount() + 0.5) / together.transform("size") - 0.5
    ax, size = axes_or_new(ax, rows=3 * len(lanes) + 2), 60 + 700 * t["n"] / max(t["n"].max(), 1)
    colours = sns.diverging_palette(30, 245, s=85, l=50, as_cmap=True)
    fills = colours((share - share.min()) / (share.max() - share.min() or 1)).tolist()
    below = {"textcoords": "offset points", "ha": "center", "va": "top", "fontsize": TEXT - 1}
    for k, row in enumerate(t.itertuples()):
        at, hollow = (x[k], lanes.index(row.owner)), np.isnan(row.rating)
        style = {"s": size[k], "marker": MARKERS.get(row.kind, "o"), "edgecolor": QUIET, "zorder": 3}
        ax.scatter(*at, color=["white" if hollow else fills[k]], **style)
        words = f"{wrap(finding.label(row.term), 16)}\n{'not measured' if hollow else number(row.rating, 1)}"
        ax.annotate(words, at, (0, -6 - size[k] ** 0.5 / 2), **below)
    style = {"arrowstyle": "-|>", "mutation_scale": 9, "color": PALETTE[1], "alpha": 0.7, "zorder": 2, "clip_on": False}
    for row in moves.itertuples():
        start, end = lanes.index(row.term), lanes.index(row.group)
        bow = {"connectionstyle": f"arc3,rad={np.sign(start - end) * 0.55}", "lw": 0.6 + 4 * row.n / moves["n"].max()}
        ax.add_patch(FancyArrowPatch(*((len(stages) - 0.45, lane) for lane in (start, end)), **style, **bow))
    ax.set_xticks(range(len(stages)), [STAGES[stage] for stage in stages])
    ax.set_yticks(range(len(lanes)), [wrap(lane, 16) for lane in lanes])
    ax.set(xlim=(-0.55, len(stages) - 0.4 + 0.6 * (len(moves) > 0)), ylim=(len(lanes) - 0.25, -0.5))
    arcs = "; arcs: cases handed on between owners" if len(moves) else ""
    ax.set_xlabel(f"dot: contacts; orange to blue: rating, low to high; hollow: not measured{arcs}", fontsize=TEXT - 2)
    return titled(ax, finding.title)


def journey_paths(
    interactions, *, time, step, case=None, outcome=None, order=None, duplicates="drop", n_boot=1000, confidence=0.95,
    min_cases=30, seed,
) -> Charted:  # fmt: skip
    """Return which touchpoint follows which, whether the step before matters too, and what paths that end well pass.

    ``estimate`` = (n_ij + 1/2) / (n_i + K/2), interval Goodman's. Table ``order``: 2 (l2 - l1), df the sum over middle
    touchpoints of (predecessors - 1)(successors - 1). ``removal``: 1 - P(well without s) / P(well), an absorbing chain,
    s being loss: the share of paths that pass s, never what s causes. Moves within a day of no hours are left out.
    Refused: neither case nor customer, one touchpoint, contacts of a case at one moment without `order`; few paths.

    Parameters
    ----------
    interactions, time, step : Table, DataFrame, path or DuckDB relation, a row per contact; when, at which touchpoint
    case : column or columns that join contacts to a path (at least `min_cases`); by default the person of the table
    outcome, order : columns: if the last contact of a path ended well; a number, the order of contacts at one moment
    duplicates : {"drop", "keep"}, rows that repeat another in every column; they are counted either way

    Examples
    --------
    >>> cx.journey_paths(study.interactions, case="case", time="time", step="owner", seed=1).established
    """
    require_share("confidence", confidence)
    log = event_log(interactions, case, time, [step, outcome], order=order, ordered=True, duplicates=duplicates)
    (code, names), cases, persons = groups_of(log.table[[step]]), len(log.starts), log.persons[log.case]
    taken = [name for name in (START, END, WELL, LOST) if name in names]
    say.refuse_if(taken, "own_name", step=step, names=listing(taken))
    say.refuse_if(len(names) < 2, "one_step", step=step, name=names[0])
    say.refuse_if(cases < min_cases, "few_paths", cases=cases, least=min_cases)
    good = np.ones(cases, dtype=bool) if outcome is None else log.said_yes(outcome)[log.last]
    say.refuse_if(outcome and good.all() | ~good.any(), "one_end", outcome=outcome, good=good.sum(), cases=cases)
    states = [START, *names, *((WELL, LOST) if outcome else (END,))]
    here = code.astype(np.int64) + 1  # its place among the states, as those of what comes before and after
    before = np.where(log.first, 0, np.roll(here, 1))
    after = np.where(log.last, len(names) + 2 - good[log.case], np.roll(here, -1))
    clear = ~np.append(log.tied[1:], False)
    i, j = np.append(before[log.first], here[clear]), np.append(here[log.first], after[clear])
    moves = pd.DataFrame({"i": i, "j": j, "case": np.append(log.case[log.first], log.case[clear])})
    table, test = transitions(moves, states, log, confidence), order_test(before, here, after, clear & ~log.tied)
    known, further, told = {"p_value": (p := test["p_value"]), "good": good.sum()}, {"order": pd.DataFrame([test])}, []
    silent = int(log.table[outcome][log.last].isna().sum()) if outcome else 0
    checks = [Check("paths whose last contact says no end, taken as not well", silent, "0", False)] * (silent > 0)
    flow = table[(table["term"] != START) & (table["group"] != END) & (table["term"] != table["group"])]
    if outcome:
        found = passed(moves, names, log.persons, n_boot, confidence, seed)
        met, floor = pd.Series(persons).groupby(code).nunique().to_numpy(), log.source.min_base
        few = (met < floor) | (len(np.unique(log.persons[good])) < floor)
        found = found.mask(few[:, None] & (found.columns != "term"))
        further["removal"] = found.assign(share=found["passes"] / found["passes"].sum(), cases=cases)  # of those shown
        best = digits.largest(found, "passes")
        known |= {**best, "best": log.label(best["term"])}
        told, flow = ["passes"] * (not few.all()), table[table["group"] == LOST]
    top = digits.largest(flow, "moves")
    shown, all_of = (flow, cases - good.sum()) if outcome else (table[table["term"] == top["term"]], top["n"])
    known |= {**top, "moves_of": top["n"], "share": top["moves"] / max(all_of, 1), "lost": all_of}
    known |= {"first": log.label(top["term"]), "then": log.label(top["group"])}
    seen = top["moves"] >= max(all_of - shown["moves"].sum(), 1)  # none that is hidden can be larger
    told = ["paths_hidden" if not seen else "lost_at" if outcome else "follows", *told]
    told += ["order_unknown" if np.isnan(p) else "order" if p < 1 - confidence else "no_order", *log.days]
    summary = {"n": len(code), "cases": cases, "method": "first-order chain", "established": None}
    return Charted.of(
        say, told, known, confidence, "journey_paths", step, None, table, summary, (*log.checks, *checks),
        source=log.source, suppressed=int(table["estimate"].isna().sum()), figure=moves_map, further=further,
    )  # fmt: skip


def transitions(moves, states, log, confidence) -> pd.DataFrame:
    """Return the smoothed shares of what follows each touchpoint; moves of too few persons are hidden."""
    people, parts = moves.assign(person=log.persons[moves["case"]]), []
    for i, rows in people.groupby("i"):
        to = np.arange(1, len(states) if i else states.index(WELL if WELL in states else END))
        found = rows.groupby("j")["person"].agg(["size", "nunique"]).reindex(to, fill_value=0)
        n, moved = len(rows), found["size"].to_numpy()
        part = {"term": states[i], "group": np.take(states, to), "estimate": (moved + 0.5) / (n + len(to) / 2)}
        part |= dict(zip(("conf_low", "conf_high"), goodman_intervals(moved / n, n, confidence)))
        parts.append(pd.DataFrame(part | {"moves": moved, "base": found["nunique"].to_numpy()}))
    table = log.hide(pd.concat(parts, ignore_index=True), "term", "group")
    whole = people.groupby("i")["person"].agg(n="size", base="nunique").rename(states.__getitem__).rename_axis("term")
    return table.assign(n=table["term"].map(log.hide(whole.reset_index(), "term").set_index("term")["n"]))


def order_test(before, here, after, clear) -> dict:
    """Return the likelihood-ratio test of "only the last touchpoint matters" against "the one before it does, too"."""
    found = pd.DataFrame({"a": before, "b": here, "c": after})[clear].value_counts().rename("n").reset_index()
    sums = [found.groupby(keys)["n"].transform("sum") for keys in (["b"], ["a", "b"], ["b", "c"])]
    statistic = 2 * float(np.sum(found["n"] * np.log(found["n"] * sums[0] / (sums[1] * sums[2]))))
    df = int((found.groupby("b")[["a", "c"]].nunique() - 1).prod(axis=1).sum())
    p = float(stats.chi2.sf(statistic, df)) if df else np.nan
    known = {"n": int(clear.sum()), "method": "first against second order"}
    return {"likelihood_ratio": statistic, "df": df, "p_value": p} | known


def passed(moves, names, persons, n_boot, confidence, seed) -> pd.DataFrame:
    """Return which share of the paths that end well passes each touchpoint, with percentile intervals over persons."""
    k = len(names) + 1  # states that are no end
    at = moves["case"], moves["i"] * (k + 2) + moves["j"]
    each = sparse.csr_array((np.ones(len(moves)), at), shape=(len(persons), (k + 2) ** 2))

    def share(counts):
        """Return, (b, k - 1), the chance to reach s times that to end well from it, over that to end well."""
        counts = counts.reshape(-1, k + 2, k + 2)[:, :k]
        chance = counts / np.maximum(counts.sum(axis=2, keepdims=True), 1e-300)
        visits = np.linalg.inv(np.eye(k) - (1 - 1e-13) * chance[:, :, :k])
        well = np.einsum("bij,bj->bi", visits, chance[:, :, k])
        with np.errstate(invalid="ignore", divide="ignore"):
            return (visits[:, 0] / np.einsum("bii->bi", visits) * well / well[:, :1])[:, 1:]

    sample, whole = as_survey(pd.DataFrame({"person": persons}), cluster="person").sample(), share(each.sum(axis=0))[0]
    drawn = np.concatenate([share(weights @ each) for weights in sample.replicates(n_boot, seed=seed)])
    return pd.DataFrame({"term": names, **ends("passes", whole, *percentile_interval(drawn, confidence))})


def moves_map(finding, ax):
    """Draw the shares of what follows the most frequent touchpoints, percent."""
    sizes = finding.table.drop_duplicates("term").set_index("term")["n"].drop(START, errors="ignore")
    wide = 100 * finding.table.pivot(index="term", columns="group", values="estimate")
    shown = [START, *sizes.nlargest(MOST).index, END, WELL, LOST]
    wide = wide.reindex(index=[k for k in shown if k in wide.index], columns=[k for k in shown if k in wide])
    wide = wide.rename(index=finding.label, columns=finding.label)
    return heat_map(wide, unit="what follows, % of the moves from the row's touchpoint", title=finding.title, ax=ax)


def earlier_scores(survey, score) -> np.ndarray:
    """Return the score of the same person in the wave before; missing where persons or waves are not known."""
    if survey.wave is None or survey.respondent is None:
        return np.full(len(score), np.nan)
    place = survey.table[survey.wave].map({wave: k for k, wave in enumerate(survey.wave_order)}).astype(float)
    keys = pd.DataFrame({"person": survey.table[survey.respondent], "place": place})
    known = keys.assign(score=score, place=place + 1).dropna().drop_duplicates(["person", "place"])
    return keys.merge(known, how="left", on=["person", "place"], validate="m:1")["score"].to_numpy()


def moments_of_truth(
    responses, *, outcome, touchpoints, before=None, controls=(), low=None, high=None, n_boot=1000, confidence=0.95,
    min_rows=100, seed,
) -> Charted:  # fmt: skip
    """Return which touchpoints count most: how many meet them, times the outcome after good less after bad ratings.

    ``estimate`` = exposure x good_less_bad, the latter by weighted least squares, the rest held alike:
    an association, established where its interval, for all touchpoints together, lies above 0 with 30 bad ratings.
    Refused: a column that is absent or holds text; a scale neither declared nor given; few ratings everywhere.

    Parameters
    ----------
    responses, outcome, touchpoints : Survey or DataFrame; column; ratings (at least `min_rows`), missing if not met
    before, controls : columns held alike, as is the mean of other ratings; before: by default the outcome a wave ago
    low, high : ratings are bad up to `low`, good from `high` on; by default the lower and the upper two of the scale

    Examples
    --------
    >>> print(cx.moments_of_truth(study.responses, outcome="satisfaction", touchpoints=["delivery"], n_boot=99, seed=1))
    Delivery counts most: ...
    """
    from statsmodels.regression.linear_model import WLS

    survey, touchpoints, controls = as_survey(responses), listed(touchpoints), listed(controls)
    require_columns(survey.table, outcome, *touchpoints, before, *controls, where="responses")
    require_share("confidence", confidence)
    own = not touchpoints or outcome in [*touchpoints, *controls, before]
    say.refuse_if(own, "own_outcome", touchpoints=touchpoints, outcome=outcome)
    score = numbers_of(survey.table, outcome)
    sample = survey.sample(np.isfinite(score), what=survey.label(outcome))
    table, y, level = survey.table.iloc[sample.rows], score[sample.rows], 1 - (1 - confidence) / len(touchpoints)
    earlier = (numbers_of(survey.table, before) if before else earlier_scores(survey, score))[sample.rows]
    prior = table[controls].assign(**{"(before)": earlier})
    ratings = pd.DataFrame({name: numbers_of(table, name) for name in touchpoints}, table.index)
    rated = {name: regressors(survey, sample, name, ratings, prior, (low, high), min_rows) for name in touchpoints}
    designs = {name: X for name, (_, X) in rated.items() if X is not None}
    say.refuse_if(not designs, "few_ratings", names=listing(touchpoints), least=min_rows)
    met = {name: ratings[name].notna().to_numpy() for name in designs}

    def parts(weights):
        """Return the share that met each touchpoint, the gap of its good and bad ratings, their product, (b, 3, k)."""
        share = np.column_stack([weights[:, at].sum(axis=1) for at in met.values()]) / weights.sum(axis=1)[:, None]
        gap = np.column_stack([gaps(X, y[met[name]], weights[:, met[name]]) for name, X in designs.items()])
        return np.stack([share, gap, share * gap], axis=1)

    drawn = np.concatenate([parts(weights) for weights in sample.replicates(n_boot, seed=seed)])
    whole = np.stack([parts(sample.weights[None])[0], *percentile_interval(drawn, level)])
    for k, name in enumerate(designs):
        row = rated[name][0]
        row |= {"exposure": whole[0, 0, k]} | ends("good_less_bad", *whole[:, 1, k]) | ends("estimate", *whole[:, 2, k])
        row["established"] = bool(row["n_low"] >= FEW and row["good_less_bad_low"] > 0)
    found = pd.DataFrame([row for row, _ in rated.values()])
    found = found.sort_values("estimate", ascending=False, kind="stable", ignore_index=True)
    clear, few, out = found[found["established"].eq(True)], int((found["n_low"] < FEW).sum()), len(found) - len(designs)
    checks = (
        *sample.checks,
        Check("touchpoints with too few ratings, left out", out, "0", not out),
        Check(f"touchpoints with fewer than {FEW} bad ratings", few, "0", not few),
        Check("share of rows with an earlier score", round(np.isfinite(earlier).mean(), 3), "information", True),
    )
    top = (found if clear.empty else clear).iloc[0]
    known = {**top, "name": survey.label(top["term"]), "outcome": survey.label(outcome)}
    known["names"] = listing(map(survey.label, clear["term"][1:]))
    keys = ["moment_open" if clear.empty else "moment", "moment_parts", *["moment_more"] * (len(clear) > 1)]
    summary = {"n": len(y), "method": "exposure x adjusted gap, bootstrap", "confidence": level}
    at, unit = met[top["term"]], f"{survey.label(outcome)}, scale points over all: share that met it × good less bad"
    return Charted.of(
        say, keys, known, level, "moments_of_truth", outcome, None, found, summary | {"established": len(clear) > 0},
        checks, source=survey, suppressed=int(found["n"].isna().sum()), drawn={"line": 0.0, "unit": unit},
        fitted=WLS(y[at], designs[top["term"]], weights=sample.weights[at]).fit(),
    )  # fmt: skip


def regressors(survey, sample, name, ratings, prior, cuts, min_rows) -> tuple[dict, np.ndarray | None]:
    """Return how often a touchpoint was rated, and its regressors, bad first; None where that is too seldom."""
    say.refuse_if(name not in survey.scales and None in cuts, "no_scale", name=name)
    worst, best = survey.scales.get(name, (np.nan, np.nan))
    bad, good = worst + 1 if cuts[0] is None else cuts[0], best - 1 if cuts[1] is None else cuts[1]
    say.refuse_if(not bad < good, "no_middle", name=name, bad=f"{bad:g}", good=f"{good:g}")
    x, persons = ratings[name].to_numpy(), np.arange(len(sample)) if sample.persons is None else sample.persons
    parts = {"n": ~np.isnan(x), "n_low": x <= bad, "n_high": x >= good}
    base = {key: int(rows.sum()) for key, rows in parts.items()}
    fewest = min(len(np.unique(persons[parts[key]])) for key in ("n_low", "n_high"))
    if base["n"] < min_rows or fewest < max(2, survey.min_base):
        return {"term": name} | ({} if survey.min_base > 1 else base), None
    scale = np.array([survey.scales.get(other, (0, 1)) for other in ratings], dtype=float)  # they may differ
    halo = ((ratings - scale[:, 0]) / np.ptp(scale, axis=1)).drop(columns=name).mean(axis=1)
    alike = design_of(prior.assign(**{"(halo)": halo}).drop(columns=name, errors="ignore")[parts["n"]])
    x = x[parts["n"]]
    X = np.column_stack([x <= bad, (x > bad) & (x < good), np.ones(len(x)), alike])
    return {"term": name} | base, X if apart(X[:, 0], X[:, 1:]) else None


def gaps(X, y, weights) -> np.ndarray:
    """Return the outcome after good less that after bad ratings, (b,), by weights (b, n); bad is the first column."""
    p = X.shape[1]
    squares = (weights @ (X[:, :, None] * X[:, None, :]).reshape(len(X), -1)).reshape(-1, p, p)
    return -np.einsum("bp,bp->b", np.linalg.pinv(squares, hermitian=True)[:, 0], weights @ (X * y[:, None]))


def channel_consistency(
    contacts, *, score, channel, interactions=None, contact="contact", case_mix=(), worth_acting_on, confidence=0.95,
    min_rows=100,
) -> Charted:  # fmt: skip
    """Return which channels are rated alike, which differently, and of which that is not known, after case mix.

    *Alike*: the 1 - 2 alpha interval of the difference lies within the margin; else *different*: Holm's p is under
    alpha; else *not known*. Least squares, the design's errors; ``glance``: the deviation between channels.
    Refused: a margin that is not above 0, scores that are text; fewer than two channels with `min_rows`.

    Parameters
    ----------
    contacts, score, channel, case_mix : Survey or DataFrame, one row per rated contact; columns; topic, month, agent
    interactions, contact : table with channel and case mix, if not beside the score, and the id of a contact in both
    worth_acting_on : margin in scale points: smaller differences are not worth acting on

    Examples
    --------
    >>> asked = dict(score="contact_rating", channel="channel", interactions=study.interactions, worth_acting_on=0.3)
    >>> print(cx.channel_consistency(study.responses, **asked))
    Whether the 3 channels are alike within ±0.30 is not known for every pair ...
    """
    from statsmodels.regression.linear_model import WLS

    survey, case_mix = as_survey(contacts), listed(case_mix)
    if interactions is not None:
        require_columns(survey.table, score, contact, where="responses")
        require_columns(table := as_table(interactions).table, contact, channel, *case_mix, where="interactions")
        told = table.dropna(subset=contact).drop_duplicates(contact).set_index(contact)[[channel, *case_mix]]
        told = told.reindex(survey.table[contact]).set_axis(survey.table.index)
        survey = survey.with_table(survey.table.assign(**told))
    require_columns(survey.table, score, channel, *case_mix, where="contacts")
    require_share("confidence", confidence)
    say.refuse_if(isinstance(worth_acting_on, str) or not worth_acting_on > 0, "no_margin", margin=worth_acting_on)
    say.refuse_if(confidence <= 0.5, "half_sure", confidence=confidence)
    y, known = numbers_of(survey.table, score), survey.table[channel].notna().to_numpy()
    sample = survey.sample(np.isfinite(y) & known, by=channel, what=survey.label(score))
    kept = np.flatnonzero((sample.n >= max(min_rows, 2)) & ~sample.hidden & (sample.df > 0))  # one cluster has no error
    say.refuse_if((k := len(kept)) < 2, "few_channels", channel=channel, k=k, least=min_rows)
    inside = np.isin(sample.cell, kept)
    rows, weights = sample.rows[inside], sample.weights[inside]
    mix = design_of(survey.table.iloc[rows][case_mix])
    X = np.column_stack([sample.cell[inside][:, None] == kept, mix]).astype(float)
    say.refuse_if(not apart(X[:, 1:k], mix), "no_own", names=listing(case_mix), column=channel)
    fit, (i, j) = WLS(y[rows], X, weights).fit(), np.array(list(combinations(range(k), 2))).T
    each = np.column_stack([np.eye(k), np.tile(np.average(mix, axis=0, weights=weights), (k, 1))])
    influence = np.zeros((len(sample), k))
    influence[inside] = (weights * fit.resid)[:, None] * X @ fit.normalized_cov_params @ each.T
    means, spread, df = each @ fit.params, sample.covariance_of(influence), float(sample.pooled().df[0]) - mix.shape[1]
    gap, error = means[i] - means[j], np.sqrt(spread[i, i] + spread[j, j] - 2 * spread[i, j])
    (*wide, p), (_, *narrow, _) = (t_interval(gap, error, df, level) for level in (confidence, 2 * confidence - 1))
    adjusted, alike = adjusted_p_values(p, correction="holm"), np.max(np.abs(narrow), axis=0) < worth_acting_on
    verdict = np.where(alike, "alike", np.where(adjusted < 1 - confidence, "different", "not known"))
    names, n = sample.keys["group"].to_numpy()[kept], sample.n[kept]
    pairs = pd.DataFrame({
        "group": names[i], "against": names[j], **ends("estimate", *wide), "alike_low": narrow[0],
        "alike_high": narrow[1], "p_value": p, "p_adjusted": adjusted, "verdict": verdict, "n": n[i] + n[j],
    })  # fmt: skip
    quantiles = stats.chi2.ppf([(1 + confidence) / 2, (1 - confidence) / 2], k - 1)
    deviation = [np.sqrt(between_variance(means, np.diag(spread), scatter)) for scatter in (None, *quantiles)]
    left_out = Check(f"channels under {min_rows} contacts, left out", len(sample.n) - k, "0", len(sample.n) == k)
    summary = {"n": len(rows), "method": "least squares, two one-sided tests", **ends("between", *deviation)}
    summary["established"] = bool((verdict == "different").any() or alike.all())
    known = {v.replace(" ", "_"): int((verdict == v).sum()) for v in ("alike", "different", "not known")}
    known |= {"count": k, "margin": worth_acting_on}
    key = "channels_alike" if alike.all() else "channels_differ" if known["different"] else "channels_open"
    if known["different"]:
        top = pairs.loc[pairs["estimate"].abs().where(verdict == "different").idxmax()]
        above, below = top[["group", "against"]].map(survey.label).iloc[:: 1 if top["estimate"] > 0 else -1]
        known = {**top, **known, "above": above, "below": below}
    shown = [f"{survey.label(a)} – {survey.label(b)}" for a, b in zip(names[i], names[j])]
    return Charted.of(
        say, [key, "channels_pairs", "channels_spread"], known | {"n": len(rows)}, confidence,
        "channel_consistency", score, channel, pairs, summary, (*sample.checks, left_out),
        source=survey, suppressed=int(sample.hidden.sum()), fitted=fit,
        drawn={"names": shown, "line": 0.0, "unit": f"{survey.label(score)}: difference, scale points"},
    )  # fmt: skip
