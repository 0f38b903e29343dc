"""Did it move: differences between waves, their family, their trend.

References
----------
Rocks (2016), The American Statistician 70(4); Holm (1979); Benjamini & Hochberg (1995); Kish (1965), 12.4: panels with
partial overlap; Schuirmann (1987), J. Pharmacokinetics 15: equivalence; Satterthwaite (1946), Biometrics Bulletin 2.
"""

from dataclasses import dataclass
from itertools import combinations

import numpy as np
import pandas as pd
from scipy import stats

from cxresearch import digits
from cxresearch.errors import require_choice
from cxresearch.figures import QUIET, forest, wrap
from cxresearch.findings import Check, describe_columns, listing, nothing, number, p_words, percent
from cxresearch.metrics.answers import measured
from cxresearch.metrics.estimate import (
    CORRECTIONS,
    base_words,
    check_asked,
    columns_of,
    decided,
    hide,
    people_together,
    vector,
)
from cxresearch.metrics.finding import MeasureFinding, made
from cxresearch.metrics.people import note_of_recurring_ids
from cxresearch.survey import as_survey

UP, DOWN, EQUIVALENT, SMALL, OPEN, NO_BASE = (
    "up",
    "down",
    "no change that matters",
    "too small to act on",
    "not established",
    "base too small",
)

describe_columns(
    wave_before=("Compared with", "the earlier wave"),
    verdict=("Verdict", "up, down, no change that matters, too small to act on, not established, base too small"),
    n_before=("n before", "rows behind the earlier wave", 0),
    overlap=("In both", "respondents, or clusters where they are declared, that answered in both waves", 0),
    waves=("Waves", "rounds compared", 0),
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
    places = neighbours(sample.keys, pairs)
    ground = differences(sample, together, codes, compared, asked, places)
    table = judged(ground, asked, correction, worth_acting_on, confidence)
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


def neighbours(keys: pd.DataFrame, pairs: str) -> np.ndarray:
    """Return the cells of the earlier and of the later wave, (2, q), within each group."""
    groups = keys.groupby("group", sort=False).indices.values() if "group" in keys else [np.arange(len(keys))]
    chosen = (combinations(cells, 2) if pairs == "all" else zip(cells[:-1], cells[1:]) for cells in groups)
    return np.array([pair for each in chosen for pair in each]).T


def differences(sample, together, codes, compared, measure, places) -> pd.DataFrame:
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
        | {
            "centre": centre,
            "df": df,
            "tail": base[before] + base[after] - 2,
            "eligible": eligible,
            "hidden": gone,
            "hidden_before": sample.hidden[before],
            "hidden_after": sample.hidden[after],
        }  # fmt: skip
    )


def judged(table: pd.DataFrame, measure, correction: str, worth: float | None, confidence: float) -> pd.DataFrame:
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
    shown = hide(found[[c for c in order if c in found]], table["hidden"])
    # the base of a wave that is shown elsewhere is shown here, too, beside one that is not
    bases = {"n_before": "hidden_before", "n": "hidden_after"}
    return shown.assign(**{base: found[base].mask(table[gone].to_numpy(dtype=bool)) for base, gone in bases.items()})


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
