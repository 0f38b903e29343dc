"""Did it move: differences between waves, their family, their trend; every touchpoint over time.

References
----------
Rocks (2016), The American Statistician 70(4); Holm (1979); Benjamini & Hochberg (1995); Kish (1965), 12.4: panels with
partial overlap; Schuirmann (1987), J. Pharmacokinetics 15: equivalence; Satterthwaite (1946), Biometrics Bulletin 2.
"""

import warnings
from dataclasses import dataclass, replace
from itertools import combinations

import numpy as np
import pandas as pd
from scipy import stats

from cxresearch import digits
from cxresearch.errors import DataProblem, TooFewRespondents, require_choice
from cxresearch.figures import QUIET, forest, over_waves, wrap
from cxresearch.findings import Check, describe_columns, listing, nothing, number, p_words, percent
from cxresearch.metrics.answers import measured
from cxresearch.metrics.estimate import (
    CORRECTIONS,
    base_words,
    cell_estimates,
    check_asked,
    columns_of,
    decided,
    hide,
    people_together,
    vector,
)
from cxresearch.metrics.scorecard import MeasureFinding, made
from cxresearch.metrics.sentences import SENTENCES
from cxresearch.survey import as_survey

UP, DOWN, EQUIVALENT, SMALL, OPEN, NO_BASE = (
    "up",
    "down",
    "no change that matters",
    "too small to act on",
    "not established",
    "base too small",
)
ID_WORDS = ("respondent", "person", "customer", "panel", "account", "member", "client", "user", "respnum")

describe_columns(
    wave_before=("Compared with", "the earlier wave"),
    verdict=("Verdict", "up, down, no change that matters, too small to act on, not established, base too small"),
    n_before=("n before", "rows behind the earlier wave", 0),
    overlap=("In both", "respondents, or clusters where they are declared, that answered in both waves", 0),
    waves=("Waves", "rounds compared", 0),
    items=("Items", "touchpoints", 0),
    lack_of_fit=("Lack of fit p", "p-value of waves scattering around the line no more than sampling allows", 3),
)


@dataclass(frozen=True, repr=False, eq=False)
class WaveComparison(MeasureFinding):
    """One row per pair of waves (and group): the later minus the earlier, in points, shares (0-1) or scale points.

    ``further``: ``waves`` (each wave's value), ``trend`` (change per wave).
    """

    worth_acting_on: float | None = None
    note: str = ""

    def sentence(self) -> str:
        if self.table["estimate"].isna().all():
            return self.say("nothing_shown", what=self.what)
        words = self._groups_words() if self.by else self._pair_words(self._latest())
        return f"{words} {self.note}".rstrip()

    def _latest(self):
        shown = self.table[self.table["estimate"].notna()]
        return shown[shown["wave"] == shown["wave"].iloc[-1]].iloc[-1]

    def _pair_words(self, row) -> str:
        pair = dict(what=self.what, before=self.label(row["wave_before"]), after=self.label(row["wave"]))
        tested = dict(span=self.span(row), p=p_words(row["p_adjusted"]))
        size = {UP: "rose", DOWN: "fell", EQUIVALENT: "equivalent", SMALL: "too_small", NO_BASE: "no_base"}
        key = size.get(row["verdict"], "open")
        values = {
            **dict.fromkeys(("rose", "fell"), tested | {"words": self.measure.words, "size": self.measure.size(row["estimate"])}),
            "equivalent": {"span": tested["span"], "worth": self.measure.size(self.worth_acting_on or 0)},
            "too_small": {"span": tested["span"], "worth": self.measure.size(self.worth_acting_on or 0)},
            "no_base": {"words": self.measure.words},
            "open": tested,
        }[key]  # fmt: skip
        bases = dict(n_before=number(row["n_before"], 0), n=number(row["n"], 0))
        if key == "open":
            second = self.say("bases_detectable", **bases, detectable=self.measure.size(row["detectable"]))
        else:
            second = self.say("bases", **bases)
        return f"{self.say(key, **pair, **values)} {second}" + (
            f" {self._family()}" if self.summary["family"] > 1 else ""
        )

    def _family(self) -> str:
        s, moved = self.summary, int(self.table["verdict"].isin([UP, DOWN]).sum())
        known = dict(moved=moved, family=s["family"], correction=s["correction"])
        return (
            self.say("family", **known, p=p_words(s["p_value"]))
            if np.isfinite(s["p_value"])
            else self.say("family_only", **known)
        )

    def _groups_words(self) -> str:
        s, moved = self.summary, self.table[self.table["verdict"].isin([UP, DOWN])]
        if moved.empty:
            return self.say("groups_open", what=self.what, by=self.by_words, family=s["family"], correction=s["correction"],
                            n=number(s["n"], 0))  # fmt: skip
        rows = moved.iloc[digits.descending(-moved["p_adjusted"].astype(float), moved["group"])[:3]]
        parts = [
            self.say(
                "group_part", group=self.label(r["group"]), verdict=r["verdict"], size=self.measure.size(r["estimate"]),
                before=self.label(r["wave_before"]), after=self.label(r["wave"]), span=self.span(r),
                n_before=number(r["n_before"], 0), n=number(r["n"], 0),
            ) for _, r in rows.iterrows()
        ]  # fmt: skip
        first = rows.iloc[0]
        head = self.say(
            "groups_moved", what=self.what, moved=len(moved), family=s["family"], words=first["verdict"],
            group=self.label(first["group"]), before=self.label(first["wave_before"]), after=self.label(first["wave"]),
        )  # fmt: skip
        return f"{head} {self.say('listed', parts=listing(parts))}"

    def plot(self, ax=None):
        """Draw the differences with intervals; grey: not established; band: not worth acting on."""
        table = self.table[self.table["estimate"].notna()]
        moved = table["verdict"].isin([UP, DOWN])
        if len(table) > 24:
            table = (table[moved] if moved.any() else table.tail(24)).head(40)
        shown = table.assign(
            **{c: table[c].astype(float) * self.measure.shown for c in ("estimate", "conf_low", "conf_high")}
        )
        names = [f"{self.label(a)} → {self.label(b)}" for a, b in zip(table["wave_before"], table["wave"])]
        names = [f"{self.label(g)}: {name}" for g, name in zip(table["group"], names)] if self.by else names
        unit = f"change, {self.measure.axis}; {percent(self.confidence)} intervals, corrected; grey: not established"
        ax = forest(
            shown, "estimate", names=names, low="conf_low", high="conf_high", line=0, unit=wrap(unit, 62),
            marked=table["verdict"].isin([UP, DOWN]), title=self.headline, ax=ax,
        )  # fmt: skip
        if self.worth_acting_on:
            reach = self.worth_acting_on * self.measure.shown
            ax.axvspan(-reach, reach, color=QUIET, alpha=0.15, zorder=0)
        return ax


def compare_waves(
    responses,
    item: str,
    *,
    measure: str = "nps",
    by=None,
    pairs: str = "previous",
    correction: str = "holm",
    worth_acting_on: float | None = None,
    threshold: float | None = None,
    version: int | None = None,
    scoring: str = "mean",
    confidence: float = 0.95,
):
    """Return the differences of a measure between waves, and which of them are established.

    Parameters
    ----------
    responses : Survey or DataFrame, (N, .)
        With one wave the finding says that nothing can be compared.
    item : str
    measure : {"nps", "top_box", "mean", "effort"}
        With `threshold` of `top_box`, or `version` and `scoring` of `effort`.
    by : column or list of columns, optional
    pairs : {"previous", "all"}
        Each wave with the one before, or every pair of waves.
    correction : {"holm", "bh", "none"}
        Of all pairs and groups with a base of 30 or more, together. In a family of two or more the p-values that are
        corrected have t tails on n1 + n0 - 2. The intervals rest on the same correction as the p-values.
    worth_acting_on : float, optional
        Smallest change, in the unit of the estimate (points, share 0-1, scale points), that anybody would act on:
        smaller ones get no arrow, and an interval within it means "no change that matters".
    confidence
        As in `nps`.

    Returns
    -------
    WaveComparison
        `detectable` is the change that 4 of 5 such surveys would have found.

    Raises
    ------
    DataProblem
        Answers off the measure's scale, waves whose order nothing tells, unknown options.

    Notes
    -----
    The difference is of the plain values; interval and p-value are of the adjusted ones, for net scores with variance
    s1^2 / (n1 + 3) + s0^2 / (n0 + 3) - 2 cov (Rocks 2016), the covariance linearised over respondents (or clusters)
    that are in both waves. Where exactly the same people answered both waves, unweighted, it is the paired difference
    with t on n - 1. Means have Welch's t where there is no design.

    Examples
    --------
    >>> import cxresearch as cx
    >>> study = cx.open_study("data/example/study.yml")
    >>> print(cx.compare_waves(study.responses, "recommend"))
    Would recommend us: a change from 2024Q3 to 2024Q4 is not established (adjusted p = 0.076; ...
    """
    survey = as_survey(responses)
    check_asked(survey, item, *columns_of(by), confidence=confidence, worth=worth_acting_on)
    require_choice("correction", correction, CORRECTIONS)
    require_choice("pairs", pairs, ("previous", "all"))
    asked = measured(survey, item, measure, threshold=threshold, version=version, scoring=scoring)
    sample = None if survey.wave is None else survey.sample(asked.answered, by=by, wave=True, what="the comparison")
    if sample is None or sample.keys["wave"].nunique() < 2:
        why = f"{survey.label(item)}: whether it moved cannot be said, the survey has one wave"
        return nothing("compare_waves", asked.key, by, why, n=int(asked.answered.sum()), labels=survey.labels)
    codes = asked.codes[sample.rows]
    together = people_together(survey, sample, asked.answered, by=by, wave=True)
    compared = vector(sample, codes, asked.form, together)
    places = _pairs(sample.keys, pairs)
    ground = _differences(sample, together, codes, compared, asked, places)
    table = _judged(ground, asked, correction, worth_acting_on, confidence)
    note, checks = note_of_recurring_ids(survey, sample, codes)
    waves = sample.keys.assign(
        estimate=asked.factor * compared.raw, std_error=asked.factor * np.sqrt(np.diag(compared.covariance)), n=sample.n,
        n_effective=compared.base,
    )  # fmt: skip
    blocks = len(sample.keys) // sample.keys["wave"].nunique()
    least = int(min(ground["n"].min(), ground["n_before"].min()))
    shown = "hidden" if ground["hidden"].any() else least
    small = Check("smallest base compared", shown, "at least 30 for an arrow", least >= 30)
    summary = {
        "p_value": np.nan if (sample.n == 0).any() else compared.equal_p_value(blocks=blocks),
        "family": int(np.isfinite(table["p_adjusted"]).sum()),
        "waves": sample.keys["wave"].nunique(),
        "n": int(sample.n.sum()),
        "n_effective": float(np.nansum(compared.base)),
        "method": {"net": "differences of adjusted Wald scores", "share": "differences of adjusted Wald shares"}.get(
            asked.form, "differences of means"),
        "correction": CORRECTIONS[correction],
        "established": bool(table["verdict"].isin([UP, DOWN]).any()),
    }  # fmt: skip
    further = {"waves": hide(waves, sample.hidden), "trend": trend_table(sample, compared, asked, confidence)}
    return made(
        WaveComparison, "compare_waves", survey, asked, by, table, summary, (*sample.checks, *checks, small),
        further=further, hidden=sample.hidden.sum(), confidence=confidence, worth_acting_on=worth_acting_on, note=note,
    )  # fmt: skip


def _pairs(keys: pd.DataFrame, pairs: str) -> np.ndarray:
    """Return the cells of the earlier and of the later wave, (2, q), within each group."""
    groups = keys.groupby("group", sort=False).indices.values() if "group" in keys else [np.arange(len(keys))]
    chosen = (combinations(cells, 2) if pairs == "all" else zip(cells[:-1], cells[1:]) for cells in groups)
    return np.array([pair for each in chosen for pair in each]).T


def _differences(sample, together, codes, compared, measure, places) -> pd.DataFrame:
    """Return the difference of each pair of cells and what its test stands on (see `decided`)."""
    before, after = places
    c, n, base = compared.covariance, sample.n, compared.base
    centre = compared.centre[after] - compared.centre[before]
    error = np.sqrt(np.maximum(c[after, after] + c[before, before] - 2 * c[before, after], 0.0))
    df = np.full(len(after), max(compared.df, 1.0))
    if measure.form == "mean" and sample.plain:
        v, held = np.diag(c), np.maximum(n - 1.0, 1.0)
        with np.errstate(invalid="ignore", divide="ignore"):
            df = (v[after] + v[before]) ** 2 / (v[after] ** 2 / held[after] + v[before] ** 2 / held[before])
    overlap, unit = np.zeros(len(after), dtype=int), together.unit_of_row
    for q, (i, j) in enumerate(zip(before, after) if together.units.psu_of_row is not None else ()):
        overlap[q] = len(np.intersect1d(unit[sample.cell == i], unit[sample.cell == j]))
        if sample.plain and overlap[q] == n[i] == n[j]:
            centre[q], error[q], df[q] = _paired(sample, codes, unit, i, j) or (centre[q], error[q], df[q])
    words = base_words(np.minimum(n[before], n[after]), np.fmin(base[before], base[after]))
    gone, wave = sample.hidden[before] | sample.hidden[after], sample.keys["wave"].to_numpy()
    eligible = np.isin(words, ["indicative", "enough"]) & ~gone
    keys = {"group": sample.keys["group"].to_numpy()[after]} if "group" in sample.keys else {}
    return pd.DataFrame(
        keys
        | {"wave_before": wave[before], "wave": wave[after]}
        | {"estimate": measure.factor * (compared.raw[after] - compared.raw[before]), "std_error": error}
        | {"n_before": n[before], "n": n[after], "n_effective": base[after], "overlap": overlap, "base": words}
        | {"centre": centre, "df": df, "tail": base[before] + base[after] - 2, "eligible": eligible, "hidden": gone}
    )


def _judged(table: pd.DataFrame, measure, correction: str, worth: float | None, confidence: float) -> pd.DataFrame:
    """Return the differences with their intervals, p-values and verdicts; values of hidden ones missing."""
    most = {"net": 2, "share": 1}.get(measure.form, np.inf)
    found = decided(table, correction=correction, confidence=confidence, scale=measure.factor, most=most)
    found["verdict"] = _verdicts(found, worth, confidence)
    order = [
        "term",
        "group",
        "wave_before",
        "wave",
        "estimate",
        "std_error",
        "conf_low",
        "conf_high",
        "p_value",
        "n_before",
    ]
    order += ["n", "n_effective", "overlap", "base", "p_adjusted", "detectable", "verdict"]
    return hide(found[[c for c in order if c in found]], table["hidden"])


def _paired(sample, codes, people, i: int, j: int):
    """Return mean, error and df of cell j minus cell i for people with one answer in each; None if nobody changed."""
    at_i, at_j = np.flatnonzero(sample.cell == i), np.flatnonzero(sample.cell == j)
    difference = codes[at_j[np.argsort(people[at_j])]] - codes[at_i[np.argsort(people[at_i])]]
    spread = difference.std(ddof=1) if len(difference) > 1 else 0.0
    return (difference.mean(), spread / np.sqrt(len(difference)), len(difference) - 1.0) if spread > 0 else None


def _verdicts(table: pd.DataFrame, worth: float | None, confidence: float) -> np.ndarray:
    least = worth or 0.0
    eligible = table["base"].isin(["indicative", "enough"]).to_numpy()
    found = (table["p_adjusted"] < 1 - confidence).to_numpy() & eligible
    large = (table["estimate"].abs() > least).to_numpy()
    inside = ((table["conf_low"] > -least) & (table["conf_high"] < least)).to_numpy()
    cases = [~eligible, found & large & (table["estimate"] > 0), found & large, inside, found]
    return np.select(cases, [NO_BASE, UP, DOWN, EQUIVALENT, SMALL], OPEN).astype(object)


# --- trend -----------------------------------------------------------------------------------------------------------


def known_variance_trend(scores, covariance, times) -> tuple[float, float, float, float]:
    """Return intercept, slope, slope's error and lack-of-fit chi-square of generalised least squares, scale fixed at 1."""
    x = np.column_stack([np.ones(len(scores)), times])
    inverse = np.linalg.pinv(covariance, hermitian=True)
    cross = np.linalg.inv(x.T @ inverse @ x)
    beta = cross @ x.T @ inverse @ scores
    residual = scores - x @ beta
    return float(beta[0]), float(beta[1]), float(np.sqrt(cross[1, 1])), float(residual @ inverse @ residual)


def _times(waves) -> tuple[np.ndarray, str]:
    """Return numbers for the waves and their unit: the waves themselves where they are numbers, else 0, 1, 2, ..."""
    numbers = pd.to_numeric(pd.Series(list(waves)), errors="coerce").to_numpy(dtype=float)
    steps = np.diff(numbers)
    if np.isfinite(numbers).all() and (steps > 0).all():
        return numbers, "per wave" if (steps == 1).all() else "per unit of wave"
    return np.arange(len(waves), dtype=float), "per wave"


def trend_table(sample, compared, measure, confidence: float) -> pd.DataFrame:
    """Return slope, interval, p and lack of fit by group; groups with fewer than three waves on a base are left out."""
    keys, scale = sample.keys, measure.factor
    groups = keys.groupby("group", sort=False).indices if "group" in keys else {None: np.arange(len(keys))}
    unit, rows = {"net": "points", "share": "share"}.get(measure.form, "scale points"), []
    for name, cells in groups.items():
        cells = cells[(sample.n[cells] > 0) & ~sample.hidden[cells]]
        if len(cells) < 3:
            continue
        times, step = _times(keys["wave"].iloc[cells])
        _, slope, error, chi2 = known_variance_trend(
            compared.centre[cells], compared.covariance[np.ix_(cells, cells)], times
        )
        half = stats.t.ppf((1 + confidence) / 2, compared.df) * error
        rows.append(
            ({} if name is None else {"group": name})
            | {"term": f"trend, {unit} {step}", "estimate": scale * slope, "std_error": scale * error}
            | {"conf_low": scale * (slope - half), "conf_high": scale * (slope + half)}
            | {"p_value": 2 * stats.t.sf(abs(slope / error), compared.df)}
            | {"lack_of_fit": stats.chi2.sf(chi2, len(cells) - 2), "n": int(sample.n[cells].sum())}
        )
    columns = ["term", "estimate", "std_error", "conf_low", "conf_high", "p_value", "lack_of_fit", "n"]
    return pd.DataFrame(rows, columns=(["group"] if "group" in keys else []) + columns)


# --- the same people in several waves --------------------------------------------------------------------------------


def note_of_recurring_ids(survey, sample, codes) -> tuple[str, tuple[Check, ...]]:
    """Return words and checks on people who answered in several waves, whether they were declared or not."""
    wave = sample.keys["wave"].to_numpy()[sample.cell]
    if survey.respondent is not None:
        return _matched_answers(sample.persons, pd.factorize(sample.keys["wave"])[0][sample.cell], codes)
    words = "ids recurring across waves without a respondent column"
    column, count = _recurring(survey, sample, wave)
    if not count:
        return "", (Check(words, 0, "0", True),)
    note = SENTENCES["recurring"].format(count=number(count, 0), column=column)
    warnings.warn(note, stacklevel=3)
    return note, (Check(words, count, "0", False),)


def _matched_answers(people, wave, codes) -> tuple[str, tuple[Check, ...]]:
    """Return what the answers of the same person in neighbouring waves say about the ids."""
    answers = pd.DataFrame({"who": people, "wave": wave, "code": codes}).drop_duplicates(["who", "wave"], keep="last")
    answers = answers.sort_values(["who", "wave"])
    previous = answers.groupby("who")["code"].shift()
    now, before = answers["code"][previous.notna()], previous[previous.notna()]
    n = len(now)
    if n < 3:
        return "", (Check("answers matched to an earlier wave", n, "informative", True, "info"),)
    r = float(np.corrcoef(now, before)[0, 1]) if min(np.std(now), np.std(before)) > 0 else 0.0
    unrelated = bool(r < 2 / np.sqrt(n))
    words, limit = (
        f"correlation of the {n} answers matched to an earlier wave",
        "above zero, or the ids are serial numbers",
    )
    return SENTENCES["serial"] if unrelated and n >= 30 else "", (
        Check(words, digits.rounded(r, 3), limit, not unrelated),
    )


def _recurring(survey, sample, wave) -> tuple[str, int]:
    """Return the first id-like column whose ids recur across waves without being drawn together, and how many do."""
    unit = sample.unit_of_row if sample.clustered else np.arange(len(sample))
    for column in survey.table:
        name = str(column).casefold()
        if column == survey.wave or not (name == "id" or name.endswith("_id") or any(w in name for w in ID_WORDS)):
            continue
        ids = survey.table[column].to_numpy()[sample.rows]
        seen = pd.DataFrame({"id": ids, "wave": wave, "unit": unit}).dropna().drop_duplicates()
        each = seen.groupby("id", observed=True).agg(waves=("wave", "nunique"), units=("unit", "nunique"))
        apart = (each["waves"] > 1) & (each["units"] > 1)
        if len(each) > 0.5 * len(seen) / max(seen["wave"].nunique(), 1) and apart.any():
            return str(column), int(apart.sum())
    return "", 0


# --- touchpoints -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, repr=False, eq=False)
class TouchpointTrend(MeasureFinding):
    """One row per touchpoint (`term`) and pair of neighbouring waves: the change, with an interval that holds for all.

    ``further["levels"]`` has each touchpoint's value by wave.
    """

    def sentence(self) -> str:
        s, moved = self.summary, self.moved
        known = dict(family=s["family"], measure=self.measure.words)
        if moved.empty:
            smallest = self.measure.size(self.table["detectable"].min())
            more = self.say("touch_base", family=s["family"], detectable=smallest, n=number(s["n"], 0))
            return f"{self.say('touch_open', **known, items=s['items'])} {more}"
        words = [
            self.say(
                "touch_rose" if row["estimate"] > 0 else "touch_fell", name=self.label(row["term"]),
                size=self.measure.size(row["estimate"]), wave=self.label(row["wave"]),
            ) for _, row in moved.iterrows()
        ]  # fmt: skip
        more = self.say("touch_more", parts=listing(words[:5]), family=s["family"], n=number(s["n"], 0))
        return f"{self.say('touch_moved', **known, moved=len(moved), first=words[0])} {more}"

    @property
    def moved(self) -> pd.DataFrame:
        """The established changes, largest first."""
        found = self.table[self.table["verdict"].isin([UP, DOWN])]
        return found.iloc[digits.descending(found["estimate"].abs().astype(float), found["term"])]

    def plot(self, ax=None):
        """Draw every touchpoint over the waves, those that moved in colour."""
        table = self.further["levels"]
        columns = ["estimate", "conf_low", "conf_high"]
        shown = table.assign(
            term=table["term"].map(self.label), wave=table["wave"].map(self.label),
            **{c: table[c].astype(float) * self.measure.shown for c in columns},
        )  # fmt: skip
        marked = {self.label(term) for term in self.moved["term"]}
        return over_waves(
            shown, "estimate", low="conf_low", high="conf_high", by="term", marked=marked, title=self.headline,
            unit=wrap(self.measure.axis, 50), ax=ax,
        )  # fmt: skip


def touchpoint_trend(
    responses, items, *, measure: str = "mean", threshold: float | None = None, confidence: float = 0.95
) -> TouchpointTrend:
    """Return every touchpoint by wave, and which moved between neighbouring waves.

    Parameters
    ----------
    responses : Survey or DataFrame, (N, .)
    items : list of str
        Ratings on one scale; an item that nobody answered in some wave has no change there.
    measure : {"mean", "top_box", "nps"}
        With `threshold` of `top_box`.
    confidence
        As in `nps`.

    Returns
    -------
    TouchpointTrend

    Raises
    ------
    DataProblem
        No item, items on different scales, one wave, waves whose order nothing tells.

    Notes
    -----
    All changes are one family, and their intervals hold together: p-values times the size of the family, intervals at
    1 - alpha / family, both with t tails; bases under 30 are left out of it.

    Examples
    --------
    >>> import cxresearch as cx
    >>> study = cx.open_study("data/example/study.yml")
    >>> print(cx.touchpoint_trend(study.responses, ["products", "delivery", "staff"]))
    2 of 9 changes between neighbouring waves are established (mean on 1–7): Delivery fell 0.94 scale ...
    """
    survey, items = as_survey(responses), list(columns_of(items))
    require_choice("measure", measure, ("mean", "top_box", "nps"))
    if not items:
        raise DataProblem("touchpoint_trend needs at least one item; found none")
    check_asked(survey, *items, confidence=confidence)
    order = survey.wave_order if survey.wave else ()
    if len(order) < 2:
        why = "whether touchpoints moved cannot be said, the survey has one wave"
        return nothing("touchpoint_trend", listing(items), None, why, n=len(survey), labels=survey.labels)
    asked = [measured(survey, item, measure, threshold=threshold) for item in items]
    if len({m.words for m in asked}) > 1:
        raise DataProblem(
            f"touchpoints must be on one scale to be compared; found {listing(f'{m.item} ({m.words})' for m in asked)}; "
            "compare those of one scale, or declare the scales of the items"
        )
    changes, levels, checks, hidden = [], [], [], 0
    for one in asked:
        try:
            sample = survey.sample(one.answered, wave=True, what=survey.label(one.item))
        except TooFewRespondents as few:
            checks.append(Check(f"{survey.label(one.item)}: rows with an answer", str(few), "enough to show", False))
            continue
        codes = one.codes[sample.rows]
        together = people_together(survey, sample, one.answered, wave=True)
        compared, places = vector(sample, codes, one.form, together), _pairs(sample.keys, "previous")
        changes.append(_differences(sample, together, codes, compared, one, places).assign(term=one.item))
        level = cell_estimates(sample, codes, one.form, confidence)
        levels.append(hide(pd.concat([sample.keys, level], axis=1).assign(term=one.item), sample.hidden))
        hidden += int(sample.hidden.sum())
    if not changes:
        raise TooFewRespondents("touchpoint_trend: none of the items has enough answers to be shown")
    all_of_them = replace(asked[0], key=", ".join(items), item=", ".join(items))
    ground = pd.concat(changes, ignore_index=True).drop(columns=["overlap", "n_effective"])
    table = _judged(ground, all_of_them, "bonferroni", None, confidence)
    small = int((table["verdict"] == NO_BASE).sum())
    checks.append(Check("changes on a base under 30, not tested", small, "0", small == 0))
    summary = {
        "items": len(changes), "waves": len(order), "family": int(np.isfinite(table["p_adjusted"]).sum()),
        "n": int(sum(level["n"].sum() for level in levels)), "method": f"neighbouring waves, {asked[0].words}",
        "correction": "Bonferroni, simultaneous", "established": bool(table["verdict"].isin([UP, DOWN]).any()),
    }  # fmt: skip
    levels = pd.concat(levels, ignore_index=True)
    return made(
        TouchpointTrend, "touchpoint_trend", survey, all_of_them, None, table, summary, checks, hidden=hidden,
        further={"levels": levels[["term", *levels.columns[:-1]]]}, confidence=confidence,
    )  # fmt: skip
