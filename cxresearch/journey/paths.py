"""Which way customers go: transitions, a test of their order, and the share of good ends that pass a touchpoint.

Anderson & Goodman (1957), Annals of Math. Statistics 28:89-110; Kemeny & Snell (1976), *Finite Markov Chains*, ch. 3.
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy import sparse, stats

from cxresearch import digits
from cxresearch.errors import DataProblem, TooFewRespondents
from cxresearch.figures import forest, heat_map
from cxresearch.findings import ends, number, p_words, percent
from cxresearch.inference import goodman_intervals, percentile_interval
from cxresearch.journey.log import JourneyFinding, event_log, span, yes_or_no
from cxresearch.privacy import hidden_cells
from cxresearch.survey import as_survey

START, END, WELL, LOST = "(start)", "(end)", "(well)", "(not well)"
MOST = 10  # touchpoints that a heat map can show


@dataclass(frozen=True, repr=False, eq=False)
class Paths(JourneyFinding):
    """One row per touchpoint (`term`) and what follows it (`group`); `estimate` is a share of the moves from `term`."""

    def plot(self, ax=None):
        """Draw the shares of what follows the most frequent touchpoints, percent."""
        sizes = self.table.drop_duplicates("term").set_index("term")["n"].drop(START, errors="ignore")
        known = [START, *sizes.nlargest(MOST).index, END, WELL, LOST]
        wide = self.table.pivot(index="term", columns="group", values="estimate")
        wide = 100 * wide.reindex(index=[k for k in known if k in wide.index], columns=[k for k in known if k in wide])
        wide.index, wide.columns = wide.index.map(self.label), wide.columns.map(self.label)
        return heat_map(wide, unit="what follows, % of the moves from the row's touchpoint", title=self.title, ax=ax)

    def plot_passes(self, ax=None):
        """Draw the share of the paths that end well that pass each touchpoint."""
        t = self.further["removal"]
        unit = "share of the paths that end well that pass it, 0–1"
        return forest(t, "passes", names=map(self.label, t["term"]), unit=unit, title=self.title, ax=ax)


def journey_paths(
    interactions,
    *,
    time: str,
    step: str,
    case=None,
    outcome: str | None = None,
    order: str | None = None,
    duplicates: str = "drop",
    n_boot: int = 1000,
    confidence: float = 0.95,
    min_cases: int = 30,
    seed,
) -> Paths:
    """Return which touchpoint follows which, whether the step before matters too, and what paths that end well pass.

    Parameters
    ----------
    interactions : Table, DataFrame, path or DuckDB relation, (N, .)
        One row per contact.
    time, step : columns
        When, and at which touchpoint.
    case : column or list of columns, optional
        What joins contacts to a path; by default the person of the table.
    outcome : column, optional
        Yes or no; that of its last contact says whether a path ended well.
    order : column, optional
        Tells the order of contacts of a case at one moment.
    duplicates : {"drop", "keep"}
        Rows that repeat another in every column.
    n_boot, confidence, min_cases, seed
        Bootstrap of persons for what good ends pass; fewest paths.

    Raises
    ------
    DataProblem
        Neither case nor customer, one touchpoint, different contacts of a case at one moment without `order`.
    TooFewRespondents
        Fewer than `min_cases` paths.

    Notes
    -----
    Shares are (n_ij + 1/2) / (n_i + K/2), intervals Goodman's. Table ``order``: 2 (l2 - l1), df the sum over middle
    touchpoints of (predecessors - 1)(successors - 1). ``removal``: 1 - P(well without s) / P(well) of the absorbing
    chain, s leading to loss: the share of paths that pass s, never what s causes. Where times are days, moves between
    contacts of one day are left out.

    Examples
    --------
    >>> import pandas as pd
    >>> import cxresearch as cx
    >>> log = pd.DataFrame({"case": [k // 2 for k in range(80)], "step": ["web", "shop"] * 40})
    >>> log["at"] = pd.date_range("2024-01-01", periods=80, freq="h")
    >>> print(cx.journey_paths(log, case="case", time="at", step="step", seed=1))
    "web" is followed most often by "shop": 98 % of 40 moves ...
    """
    log = event_log(
        interactions, case, time, [step, *([outcome] if outcome else [])], order=order, duplicates=duplicates
    )
    code, names = pd.factorize(log.column(step), sort=True, use_na_sentinel=False)
    k, cases = len(names), len(log.persons)
    if k < 2:
        raise DataProblem(f"interactions: {step} holds one touchpoint, {names[0]!r}; a path needs two")
    if cases < min_cases:
        raise TooFewRespondents(
            f"{cases} paths are fewer than min_cases={min_cases}, too few for shares of what follows"
        )
    good = np.ones(cases, dtype=bool) if outcome is None else yes_or_no(log.column(outcome), outcome)[log.last]
    if outcome and good.all() | ~good.any():
        raise DataProblem(
            f"interactions: by {outcome}, {good.sum()} of {cases} paths end well; both endings are needed"
        )
    states = [*names, START, *([WELL, LOST] if outcome else [END])]
    line, owner, known = padded(code, log, k, np.where(good, k + 1, k + 2))
    move = np.flatnonzero(known)
    pair = line[move] * len(states) + line[move + 1]
    table = transitions(pair, log.persons[owner[move]], states, log.min_base, confidence)
    test = order_test(line, known)
    further, said = {"order": pd.DataFrame([test])}, most_moves(table, log, confidence)
    if outcome:
        each = sparse.csr_array((np.ones(len(pair)), (owner[move], pair)), shape=(cases, len(states) ** 2))
        few = pd.Series(log.persons[log.case]).groupby(code).nunique().to_numpy() < log.min_base
        found = removal(each, names, log, n_boot, confidence, seed)
        further["removal"] = found.assign(**{c: found[c].mask(few) for c in found.columns[1:]}, cases=cases)
        said = [*most_lost(table, log), *most_passed(further["removal"], int(good.sum()), log, confidence)]
    p = test["p_value"]
    known_order = "order_unknown" if np.isnan(p) else "order" if p < 1 - confidence else "no_order"
    said += [(known_order, {} if np.isnan(p) else {"p": p_words(p)}), *([("days", {})] if log.days else [])]
    summary = {"n": len(log.rows), "cases": cases, "method": "first-order chain", "established": None}
    hidden = int(table["estimate"].isna().sum())
    return Paths(
        "journey_paths",
        step,
        None,
        table,
        summary,
        log.checks,
        log.labels,
        further,
        suppressed=hidden,
        said=tuple(said),
    )


def padded(code, log, start, end) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return all paths in one line, each between its start and its end; whose each place is; whether a move is known."""
    cases = len(log.persons)
    line, known = np.full(len(code) + 2 * cases, start), np.ones(len(code) + 2 * cases, dtype=bool)
    place = np.arange(len(code)) + 2 * log.case + 1
    line[place], line[place[log.last] + 1] = code, end
    known[place[log.tied] - 1] = known[place[log.last] + 1] = False
    return line, np.repeat(np.arange(cases), np.bincount(log.case) + 2), known


def transitions(pair, person, states, min_base, confidence) -> pd.DataFrame:
    """Return the smoothed shares of what follows each touchpoint; moves of too few persons are hidden."""
    size, k, parts = len(states), states.index(START), []
    counts = np.bincount(pair, minlength=size**2).reshape(size, size)
    movers = pd.DataFrame({"pair": pair, "person": person}).drop_duplicates()["pair"]
    base = np.bincount(movers, minlength=size**2).reshape(size, size)
    for i in [k, *(i for i in range(k) if counts[i].any())]:
        to = [j for j in range(size) if j != k and (i != k or j < k)]
        n, found = counts[i].sum(), counts[i, to]
        low, high = goodman_intervals(found / n, n, confidence)
        part = {
            "estimate": (found + 0.5) / (n + len(to) / 2),
            "conf_low": low,
            "conf_high": high,
            "moves": found,
            "n": n,
        }
        parts.append(pd.DataFrame({"term": states[i], "group": [states[j] for j in to], **part, "base": base[i, to]}))
    table = pd.concat(parts, ignore_index=True)
    hidden = hidden_cells(table, min_base=min_base, base="base", keys=("term", "group"))
    shown = {c: table[c].mask(hidden) for c in ("estimate", "conf_low", "conf_high", "moves")}
    return table.drop(columns="base").assign(**shown)


def order_test(line, known) -> dict:
    """Return the likelihood-ratio test of "only the last touchpoint matters" against "the one before it does, too"."""
    at = np.flatnonzero(known[:-1] & known[1:])
    found = pd.DataFrame({"a": line[at], "b": line[at + 1], "c": line[at + 2]}).value_counts().rename("n").reset_index()
    sums = [found.groupby(keys)["n"].transform("sum") for keys in (["b"], ["a", "b"], ["b", "c"])]
    statistic = 2 * float(np.sum(found["n"] * np.log(found["n"] * sums[0] / (sums[1] * sums[2]))))
    df = int((found.groupby("b")[["a", "c"]].nunique() - 1).prod(axis=1).sum())
    p = float(stats.chi2.sf(statistic, df)) if df else np.nan
    return {"likelihood_ratio": statistic, "df": df, "p_value": p, "n": len(at), "method": "first against second order"}


def removal(each, names, log, n_boot, confidence, seed) -> pd.DataFrame:
    """Return which share of the paths that end well passes each touchpoint, with percentile intervals over persons."""
    k = len(names)

    def passes(counts):
        """Return, (b, k), the chance to reach s times that to end well from it, over that to end well, by (b, ...) counts."""
        counts = counts.reshape(-1, k + 3, k + 3)[:, : k + 1]
        shares = counts / np.maximum(counts.sum(axis=2, keepdims=True), 1e-300)
        visits = np.linalg.inv(np.eye(k + 1) - (1 - 1e-13) * shares[:, :, : k + 1])
        well = np.einsum("bij,bj->bi", visits, shares[:, :, k + 1])
        with np.errstate(invalid="ignore", divide="ignore"):
            return visits[:, k, :k] / np.einsum("bii->bi", visits)[:, :k] * well[:, :k] / well[:, k, None]

    cases = as_survey(
        pd.DataFrame({"person": log.persons}), cluster="person", respondent="person", min_base=log.min_base
    )
    drawn = [passes(weights @ each) for weights in cases.sample(what="paths").replicates(n_boot, seed=seed)]
    whole = passes(each.sum(axis=0))[0]
    found = ends("passes", whole, *percentile_interval(np.concatenate(drawn), confidence))
    return pd.DataFrame({"term": names, **found, "share": whole / whole.sum()})


def most_moves(table, log, confidence) -> list:
    """Return the sentence on the most frequent move between two touchpoints."""
    inner = table[
        (table["term"] != START) & ~table["group"].isin([END, WELL, LOST]) & (table["term"] != table["group"])
    ]
    if not inner["moves"].notna().any():
        return [("paths_hidden", {})]
    top = inner.loc[inner["moves"].idxmax()]
    first, then = (log.labels.get(top[c], top[c]) for c in ("term", "group"))
    values = {"share": percent(top["estimate"]), "n": number(top["n"], 0), "span": span(top, confidence)}
    return [("follows", {"first": first, "then": then} | values)]


def most_lost(table, log) -> list:
    """Return the sentence on the touchpoint at which most paths end otherwise."""
    lost = table[(table["group"] == LOST) & table["moves"].notna()]
    if lost.empty or lost["moves"].max() == 0:
        return [("paths_hidden", {})]
    top, n = digits.largest(lost, "moves"), lost["moves"].sum()
    return [
        (
            "lost_at",
            {"name": log.labels.get(top["term"], top["term"]), "share": percent(top["moves"] / n), "n": number(n, 0)},
        )
    ]


def most_passed(removal, n, log, confidence) -> list:
    """Return the sentence on the touchpoint that most good ends pass."""
    top = digits.largest(removal, "passes")
    values = {"share": percent(top["passes"]), "span": span(top, confidence, of="passes"), "n": number(n, 0)}
    return [("passes", {"name": log.labels.get(top["term"], top["term"])} | values)]
