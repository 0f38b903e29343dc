"""Did it move: differences between waves, their family, their trend; every touchpoint at once."""

import warnings
from dataclasses import dataclass, replace
from itertools import combinations

import numpy as np
import pandas as pd
from scipy import stats

from cxresearch import digits
from cxresearch.errors import DataProblem, TooFewRespondents, require_choice
from cxresearch.figures import QUIET, over_waves, wrap
from cxresearch.findings import Check, listing, nothing, number, words
from cxresearch.inference import CORRECTIONS, critical_value
from cxresearch.metrics.answers import measured
from cxresearch.metrics.estimate import base_words, cell_estimates, columns_of_estimate, decided, hide, p_value, vector
from cxresearch.metrics.question import ENDS, MeasureFinding, Question, ask, check_asked, columns_of
from cxresearch.survey import as_survey

say = words(__package__)

UP, DOWN, EQUIVALENT, SMALL = "up", "down", "no change that matters", "too small to act on"
OPEN, NO_BASE = "not established", "base too small"
SENTENCE_OF = {UP: "rose", DOWN: "fell", EQUIVALENT: "equivalent", SMALL: "too_small", OPEN: "open", NO_BASE: "no_base"}
UNIT_OF_TREND = {"net": "points", "share": "share", "mean": "scale points"}
MOST_DRAWN = 24  # changes, beyond which a figure shows those that are established
ID_WORDS = ("respondent", "person", "customer", "panel", "account", "member", "client", "user", "respnum")


@dataclass(frozen=True, repr=False, eq=False)
class WaveComparison(MeasureFinding):
    """One row per pair of waves (and group): the later minus the earlier, in points, shares (0-1) or scale points.

    ``further``: ``waves`` (each wave's value), ``trend`` (change per wave).
    """

    worth_acting_on: float | None = None
    note: str = ""

    def sentence(self) -> str:
        shown = self.table[self.table["estimate"].notna()]
        if shown.empty:
            return self.say("nothing_shown")
        words = self._groups_words() if self.by else self._pair_words(shown.iloc[-1])
        return f"{words} {self.note}".rstrip()

    @property
    def highlights(self) -> dict:
        """The latest change in words, and the id of its verdict."""
        told = super().highlights
        return told and told | {"verdict": SENTENCE_OF[told["verdict"]]}

    def _pair_words(self, row) -> str:
        size, known = self.measure.size, self.told(row) | {"moved": len(self.moved)}
        known |= {"worth": size(self.worth_acting_on or 0), "detectable": size(row["detectable"])}
        said = [self.say(SENTENCE_OF[row["verdict"]], **known)]
        said.append(self.say("bases_detectable" if row["verdict"] == OPEN else "bases", **known))
        if self.summary["family"] > 1:
            key = "family" if np.isfinite(self.summary["p_value"]) else "family_only"
            said.append(self.say(key, moved=len(self.moved)))
        return " ".join(said)

    def _groups_words(self) -> str:
        moved = self.moved
        if moved.empty:
            return self.say("groups_open")
        rows = moved.iloc[digits.descending(-moved["p_adjusted"].astype(float), moved["group"])[:3]]
        told = [self.told(row) for _, row in rows.iterrows()]
        first = self.say("groups_moved", **told[0], moved=len(moved))
        return f"{first} {self.say('listed', parts=listing(self.say('group_part', **part) for part in told))}"

    def plot(self, ax=None):
        """Draw the differences with intervals; grey: not established; band: not worth acting on."""
        table = self.table[self.table["estimate"].notna()]
        if len(table) > MOST_DRAWN:
            table = (table.tail(MOST_DRAWN) if self.moved.empty else self.moved).head(40)
        names = [f"{self.label(a)} → {self.label(b)}" for a, b in zip(table["wave_before"], table["wave"])]
        names = [f"{self.label(g)}: {name}" for g, name in zip(table["group"], names)] if self.by else names
        unit = f"change, {self.measure.axis}; {self.level}, corrected; grey: not established"
        ax = self.dots(table, names, unit, line=0, marked=table["verdict"].isin([UP, DOWN]), ax=ax)
        if self.worth_acting_on:
            reach = self.worth_acting_on * self.measure.units.shown
            ax.axvspan(-reach, reach, color=QUIET, alpha=0.15, zorder=0)
        return ax


def compare_waves(
    responses, item: str, *, measure: str = "nps", by=None, pairs: str = "previous", correction: str = "holm",
    worth_acting_on: float | None = None, threshold: float | None = None, version: int | None = None,
    scoring: str = "mean", confidence: float = 0.95,
):  # fmt: skip
    """Return the differences of a measure between waves, and which of them are established.

    The difference is of the plain values; interval and p-value are of the adjusted ones, for net scores with variance
    s1^2 / (n1 + 3) + s0^2 / (n0 + 3) - 2 cov (Rocks 2016), the covariance linearised over respondents (or clusters)
    that are in both waves. Where exactly the same people answered both waves, unweighted, it is the paired difference
    with t on n - 1. Means have Welch's t where there is no design. `detectable` is the change that 4 of 5 such surveys
    would have found.

    Parameters
    ----------
    responses : Survey or DataFrame, (N, .)
        With one wave the finding says that nothing can be compared.
    measure : {"nps", "top_box", "mean", "effort"}
        Of `item`, with `threshold` of `top_box`, or `version` and `scoring` of `effort`.
    by, confidence
        As in `nps`.
    pairs : {"previous", "all"}
        Each wave with the one before, or every pair of waves.
    correction : {"holm", "bh", "none"}
        Of all pairs and groups with a base of 30 or more, together. In a family of two or more the p-values that are
        corrected have t tails on n1 + n0 - 2. The intervals rest on the same correction as the p-values.
    worth_acting_on : float, optional
        Smallest change, in the unit of the estimate (points, share 0-1, scale points), that anybody would act on:
        smaller ones get no arrow, and an interval within it means "no change that matters".

    Examples
    --------
    >>> print(cx.compare_waves(study.responses, "recommend"))
    Would recommend us: a change from 2024Q3 to 2024Q4 is not established (adjusted p = 0.076; ...
    """
    require_choice("correction", correction, CORRECTIONS)
    require_choice("pairs", pairs, ("previous", "all"))
    given = dict(by=by, moves=True, what="the comparison", confidence=confidence, worth=worth_acting_on)
    given |= dict(threshold=threshold, version=version, scoring=scoring)
    question = ask("compare_waves", responses, item, measure, **given)
    if len(question.waves) < 2:
        return question.nothing("whether it moved cannot be said, the survey has one wave")
    sample, asked = question.sample, question.measure
    compared = vector(sample, question.codes, asked.form, question.together)
    ground = differences(question, compared, neighbours(sample.keys, pairs))
    table = judged(ground, asked, correction, worth_acting_on, confidence)
    note, checks = note_of_recurring_ids(question)
    waves = sample.keys.assign(estimate=asked.units.factor * compared.raw)
    waves["std_error"] = asked.units.factor * np.sqrt(np.diag(compared.covariance))
    waves = waves.assign(n=sample.n, n_effective=compared.base)
    least = int(min(ground["n"].min(), ground["n_before"].min()))
    base = "hidden" if ground["hidden"].any() else least
    small = Check("smallest base compared", base, "at least 30 for an arrow", least >= 30)
    kind = {"net": "adjusted Wald scores", "share": "adjusted Wald shares", "mean": "means"}[asked.form]
    k = len(question.waves)
    p = np.nan if (sample.n == 0).any() else compared.equal_p_value(blocks=len(sample.keys) // k)
    summary = {"p_value": p, "waves": k, "n": len(sample), "n_effective": float(np.nansum(compared.base))}
    summary |= {"method": f"differences of {kind}", "correction": CORRECTIONS[correction]}
    further = {"waves": hide(waves, sample.hidden), "trend": _trend(sample, compared, asked, confidence)}
    options = dict(further=further, worth_acting_on=worth_acting_on, note=note)
    return question.finding(WaveComparison, table, summary, (*sample.checks, *checks, small), **options)


def neighbours(keys: pd.DataFrame, pairs: str) -> np.ndarray:
    """Return the cells of the earlier and of the later wave, (2, q), within each group."""
    groups = keys.groupby("group", sort=False).indices.values() if "group" in keys else [np.arange(len(keys))]
    chosen = (combinations(cells, 2) if pairs == "all" else zip(cells[:-1], cells[1:]) for cells in groups)
    return np.array([pair for each in chosen for pair in each]).T


def differences(question, compared, places) -> pd.DataFrame:
    """Return the difference of each pair of cells and what its test stands on (see `decided`)."""
    (before, after), sample, form = places, question.sample, question.measure.form
    n, base, keys = sample.n, compared.base, sample.keys
    found = compared.less(after, before)
    if form == "mean" and sample.plain:  # Welch
        v, held = np.diag(compared.covariance), np.maximum(n - 1.0, 1.0)
        with np.errstate(invalid="ignore", divide="ignore"):
            parts = v[after] ** 2 / held[after] + v[before] ** 2 / held[before]
            found["df"] = (v[after] + v[before]) ** 2 / parts
    overlap, unit = np.zeros(len(after), dtype=int), question.together.unit_of_row
    for q, (i, j) in enumerate(zip(before, after) if question.together.units.psu_of_row is not None else ()):
        at_i, at_j = (np.flatnonzero(sample.cell == cell) for cell in (i, j))
        overlap[q] = len(np.intersect1d(unit[at_i], unit[at_j]))
        if sample.plain and overlap[q] == n[i] == n[j]:  # the same people: paired, unless nobody changed
            pairs = question.codes[at_j[np.argsort(unit[at_j])]] - question.codes[at_i[np.argsort(unit[at_i])]]
            if len(pairs) > 1 and pairs.std() > 0:
                error = pairs.std(ddof=1) / np.sqrt(len(pairs))
                found.loc[q, ["centre", "std_error", "df"]] = pairs.mean(), error, len(pairs) - 1.0
    found["estimate"] *= question.measure.units.factor
    found = found.assign(wave_before=keys["wave"].to_numpy()[before], wave=keys["wave"].to_numpy()[after])
    found = found.assign(group=keys["group"].to_numpy()[after]) if "group" in keys else found
    words = base_words(np.minimum(n[before], n[after]), np.fmin(base[before], base[after]))
    found = found.assign(n_before=n[before], n=n[after], n_effective=base[after], overlap=overlap, base=words)
    found = found.assign(hidden_before=sample.hidden[before], hidden_after=sample.hidden[after])
    found["hidden"] = found["hidden_before"] | found["hidden_after"]
    return found.assign(eligible=np.isin(words, ["indicative", "enough"]) & ~found["hidden"])


def judged(table: pd.DataFrame, measure, correction: str, worth: float | None, confidence: float) -> pd.DataFrame:
    """Return the differences with their intervals, p-values and verdicts; values of hidden ones missing."""
    found = decided(table, correction=correction, confidence=confidence, units=measure.units)
    eligible, up, least = table["eligible"], found["estimate"] > 0, worth or 0.0
    clear = (found["p_adjusted"] < 1 - confidence) & eligible
    large, inside = found["estimate"].abs() > least, (found["conf_low"] > -least) & (found["conf_high"] < least)
    cases = [~eligible, clear & large & up, clear & large, inside, clear]
    found["verdict"] = np.select(cases, [NO_BASE, UP, DOWN, EQUIVALENT, SMALL], OPEN).astype(object)
    order = "term group wave_before wave estimate std_error conf_low conf_high p_value n_before n n_effective"
    order = f"{order} overlap base p_adjusted detectable verdict".split()
    shown = hide(found[[c for c in order if c in found]], table["hidden"])
    # the base of a wave that is shown elsewhere is shown here, too, beside one that is not
    bases = {"n_before": "hidden_before", "n": "hidden_after"}
    return shown.assign(**{base: found[base].mask(table[gone]) for base, gone in bases.items()})


def _trend(sample, compared, measure, confidence: float) -> pd.DataFrame:
    """Return slope, interval, p and lack of fit by group, by generalised least squares with the known covariance.

    The slope is that of the plain values; interval, p and lack of fit are of the adjusted ones, as of a change.
    Groups with fewer than three waves on a base are left out. Waves that are numbers are their own times.
    """
    keys, scale, df, rows = sample.keys, measure.units.factor, compared.df, []
    groups = keys.groupby("group", sort=False).indices if "group" in keys else {None: np.arange(len(keys))}
    for name, cells in groups.items():
        cells = cells[(sample.n[cells] > 0) & ~sample.hidden[cells]]
        if len(cells) < 3:
            continue
        times = pd.to_numeric(keys["wave"].iloc[cells].astype(object), errors="coerce").to_numpy(dtype=float)
        numbered = np.isfinite(times).all() and (np.diff(times) > 0).all()
        times = times if numbered else np.arange(len(cells), dtype=float)
        step = "per wave" if (np.diff(times) == 1).all() else "per unit of wave"
        x, scores = np.column_stack([np.ones(len(cells)), times]), compared.centre[cells]
        covariance = compared.covariance[np.ix_(cells, cells)]
        drawn = bool(covariance.any())  # else everybody was asked
        inverse = np.linalg.pinv(covariance, hermitian=True) if drawn else np.eye(len(cells))
        cross = np.linalg.inv(x.T @ inverse @ x)
        beta, plain = (cross @ x.T @ inverse @ s for s in (scores, compared.raw[cells]))
        error = drawn * np.sqrt(cross[1, 1])
        residual, half = scores - x @ beta, critical_value(confidence, df) * error
        row = {"group": name, "term": f"trend, {UNIT_OF_TREND[measure.form]} {step}"}
        row |= columns_of_estimate(plain[1], error, half, centre=beta[1], scale=scale)
        lack = stats.chi2.sf(residual @ inverse @ residual, len(cells) - 2) if drawn else np.nan
        row |= {"p_value": float(p_value(beta[1], error, df)), "n": int(sample.n[cells].sum())}
        rows.append(row | {"lack_of_fit": lack})
    columns = "group term estimate std_error conf_low conf_high p_value lack_of_fit n".split()
    return pd.DataFrame(rows, columns=columns if "group" in keys else columns[1:])


def note_of_recurring_ids(question) -> tuple[str, tuple[Check, ...]]:
    """Return words and checks on people who answered in several waves, whether they were declared or not."""
    survey, sample = question.survey, question.sample
    wave = sample.keys["wave"].to_numpy()[sample.cell]
    if survey.respondent is not None:
        order = pd.factorize(sample.keys["wave"])[0][sample.cell]
        return _matched_answers(pd.DataFrame({"who": sample.persons, "wave": order, "code": question.codes}))
    words = "ids recurring across waves without a respondent column"
    column, count = _recurring(survey, sample, wave)
    if not count:
        return "", (Check(words, 0, "0", True),)
    note = say("recurring", count=number(count, 0), column=column)
    warnings.warn(note, stacklevel=3)
    return note, (Check(words, count, "0", False),)


def _matched_answers(answers: pd.DataFrame) -> tuple[str, tuple[Check, ...]]:
    """Return what the answers of the same person in neighbouring waves say about the ids."""
    answers = answers.drop_duplicates(["who", "wave"], keep="last").sort_values(["who", "wave"])
    both = answers.assign(before=answers.groupby("who")["code"].shift()).dropna(subset="before")
    n = len(both)
    if n < 3:
        return "", (Check("answers matched to an earlier wave", n, "informative", True, "info"),)
    varied = both[["code", "before"]].nunique().min() > 1
    r = float(np.corrcoef(both["code"], both["before"])[0, 1]) if varied else 0.0
    related, words = bool(r >= 2 / np.sqrt(n)), f"correlation of the {n} answers matched to an earlier wave"
    check = Check(words, digits.rounded(r, 3), "above zero, or the ids are serial numbers", related)
    return "" if related or n < 30 else say["serial"], (check,)


def _recurring(survey, sample, wave) -> tuple[str, int]:
    """Return the first id-like column whose ids recur across waves without being drawn together, and how many do."""
    unit = sample.unit_of_row if sample.clustered else np.arange(len(sample))
    for column in survey.table:
        name = str(column).casefold()
        if column == survey.wave or not (name == "id" or name.endswith("_id") or any(w in name for w in ID_WORDS)):
            continue
        seen = pd.DataFrame({"id": survey.table[column].to_numpy()[sample.rows], "wave": wave, "unit": unit})
        seen = seen.dropna().drop_duplicates()
        each = seen.groupby("id", observed=True).agg(waves=("wave", "nunique"), units=("unit", "nunique"))
        apart = (each["waves"] > 1) & (each["units"] > 1)
        if len(each) > 0.5 * len(seen) / max(seen["wave"].nunique(), 1) and apart.any():
            return str(column), int(apart.sum())
    return "", 0


@dataclass(frozen=True, repr=False, eq=False)
class TouchpointTrend(MeasureFinding):
    """One row per touchpoint (`term`) and pair of neighbouring waves: the change, with an interval that holds for all.

    ``further["levels"]`` has each touchpoint's value by wave; those on another scale than most are `left` out.
    """

    left: tuple[str, ...] = ()

    def sentence(self) -> str:
        moved, known = self.moved, {"measure": self.measure.words, "moved": len(self.moved)}
        one, names = "_one" * (len(self.left) == 1), listing(map(self.label, self.left))
        left = " " + self.say(f"touch_left{one}", count=len(self.left), names=names) if self.left else ""
        if moved.empty:
            smallest = self.measure.size(self.table["detectable"].min())
            return f"{self.say('touch_open', **known)} {self.say('touch_base', detectable=smallest)}{left}"
        rows = [row for _, row in moved.head(5).iterrows()]
        parts = [self.say("touch_rose" if row["estimate"] > 0 else "touch_fell", **self.told(row)) for row in rows]
        first, more = self.say("touch_moved", **known, first=parts[0]), self.say("touch_more", parts=listing(parts))
        return f"{first} {more}{left}"

    @property
    def title(self) -> str:
        """How the touchpoint with the largest established change moved."""
        return super().title if self.moved.empty else self.course(self.moved["term"].iloc[0])

    @property
    def highlights(self) -> dict:
        """How each touchpoint moved that did, in words; what the levels are measured in."""
        return {"moved": {term: self.course(term) for term in self.moved["term"]}, "unit": self.measure.words}

    def course(self, term: str) -> str:
        """Return a touchpoint's largest established change, and whether the next wave brought it back."""
        changes = self.moved[self.moved["term"].eq(term)]
        first, levels = changes.iloc[0], self.further["levels"].set_index(["term", "wave"])
        back = changes[changes["wave_before"].eq(first["wave"]) & (changes["estimate"] * first["estimate"] < 0)]
        key, known = "touch_rose" if first["estimate"] > 0 else "touch_fell", self.told(first)
        if len(back):
            was, now = levels.loc[(term, first["wave_before"])], levels.loc[(term, back["wave"].iloc[0]), "estimate"]
            if was["conf_low"] <= now <= was["conf_high"]:
                return self.say(f"{key}_back", **known, later=self.label(back["wave"].iloc[0]))
        return self.say(key, **known)

    @property
    def moved(self) -> pd.DataFrame:
        """The established changes, largest first."""
        found = super().moved
        return found.iloc[digits.descending(found["estimate"].abs().astype(float), found["term"])]

    def plot(self, ax=None):
        """Draw every touchpoint over the waves, those that moved in colour."""
        levels, (value, low, high) = self.read(self.further["levels"]), ENDS
        levels = levels.assign(term=levels["term"].map(self.label), wave=levels["wave"].map(self.label))
        marked, unit = set(self.moved["term"].map(self.label)), wrap(self.measure.axis, 50)
        options = dict(low=low, high=high, by="term", marked=marked, title=self.title, unit=unit)
        return over_waves(levels, value, ax=ax, **options)


def touchpoint_trend(
    responses, items, *, measure: str = "mean", threshold: float | None = None, confidence: float = 0.95
):
    """Return every touchpoint by wave, and which moved between neighbouring waves; see `nps` for the rest.

    Parameters
    ----------
    items : list of str
        Ratings; those on another scale than most are left out and named. All changes are one family, and their
        intervals hold together (Bonferroni, t tails); bases under 30 are left out of it.
    measure : {"mean", "top_box", "nps"}
        With `threshold` of `top_box`.

    Examples
    --------
    >>> print(cx.touchpoint_trend(study.responses, ["products", "delivery", "staff"]))
    2 of 9 changes between neighbouring waves are established (mean on 1–7): Delivery fell 0.94 scale ...
    """
    survey, items = as_survey(responses), list(columns_of(items))
    require_choice("measure", measure, ("mean", "top_box", "nps"))
    if not items:
        raise DataProblem("touchpoints over time need at least one rated item; found none")
    check_asked(survey, *items, confidence=confidence)
    order = survey.wave_order if survey.wave else ()
    if len(order) < 2:
        why = "whether touchpoints moved cannot be said, the survey has one wave"
        return nothing("touchpoint_trend", listing(items), None, why, n=len(survey), labels=survey.labels)
    changes, levels, checks, followed = [], [], [], {}
    for item in items:
        try:
            asked = measured(survey, item, measure, threshold=threshold)
            followed[item] = asked, survey.sample(asked.answered, wave=True, what=survey.label(item))
        except TooFewRespondents as few:
            checks.append(Check(f"{survey.label(item)}: rows with an answer", str(few), "enough to show", False))
    scales = [asked.words for asked, _ in followed.values()]
    left = [item for item, words in zip(followed, scales) if words != max(scales, key=scales.count)]
    if left:
        limit = f"one scale, as it is declared ({max(scales, key=scales.count)})"
        checks.append(Check("touchpoints on another scale", listing(map(survey.label, left)), limit, False))
    followed, hidden = {item: followed[item] for item in followed if item not in left}, 0
    for item, (asked, sample) in followed.items():
        if sample.hidden.any():  # with the other findings of a page its bases could be worked out from those shown
            words, hidden = f"{survey.label(item)}: waves under the floor", hidden + 1
            checks.append(Check(words, "left out", "every wave can be shown", False))
            continue
        question = Question("touchpoint_trend", survey, asked, [], confidence, sample)
        compared = vector(sample, question.codes, asked.form, question.together)
        changes.append(differences(question, compared, neighbours(sample.keys, "previous")).assign(term=item))
        level = cell_estimates(sample, question.codes, asked.form, confidence)
        levels.append(pd.concat([sample.keys, level], axis=1).assign(term=item))
    if not changes:
        raise TooFewRespondents("touchpoint_trend: none of the items has enough answers to be shown")
    whole = replace(question, measure=replace(asked, key=", ".join(items), item=", ".join(items)))
    ground = pd.concat(changes, ignore_index=True).drop(columns=["overlap", "n_effective"])
    table = judged(ground, whole.measure, "bonferroni", None, confidence)
    small = int((table["verdict"] == NO_BASE).sum())
    checks.append(Check("changes on a base under 30, not tested", small, "0", small == 0))
    levels = pd.concat(levels, ignore_index=True)
    summary = {"items": len(changes), "waves": len(order), "n": int(levels["n"].sum())}
    summary |= {"method": f"neighbouring waves, {asked.words}", "correction": "Bonferroni, simultaneous"}
    further, left = {"levels": levels[["term", *levels.columns[:-1]]]}, tuple(left)
    return whole.finding(TouchpointTrend, table, summary, checks, further=further, hidden=hidden, left=left)
