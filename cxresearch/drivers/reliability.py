"""Do the items of a scale measure one thing, and is it another thing than the next scale?"""

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import combinations

import numpy as np
import pandas as pd

from cxresearch import digits
from cxresearch.drivers.question import check_clusters, check_options, numeric, one_thread
from cxresearch.drivers.sentences import base_of, none_of, say, with_interval
from cxresearch.errors import DataProblem, TooFewRespondents, require_columns
from cxresearch.figures import forest
from cxresearch.findings import Check, Finding, listing, number, percent
from cxresearch.inference import percentile_interval
from cxresearch.inference.pooling import cronbach_alpha, feldt_interval, one_factor_omega
from cxresearch.inference.shares import em_moments, scaling, unpacked
from cxresearch.survey import as_survey

RELIABLE, DISTINCT = 0.7, 0.85


@dataclass(frozen=True, repr=False, eq=False)
class ScaleReliability(Finding):
    """Reliability of multi-item scales.

    ``tidy()``: one row per scale; `estimate` is Cronbach's alpha, `omega` beside it. ``tables()["htmt"]``: per pair of
    scales the heterotrait-monotrait ratio of correlations, near 1 where two scales measure the same.
    """

    def headline(self) -> str:
        s = self.summary
        each = listing(
            with_interval(f"{self.label(r.term)} {number(r.estimate, 2)}", r.conf_low, r.conf_high, s["confidence"], 2)
            for r in self.table.itertuples()
        )
        return say("alpha", scales=each, base=base_of(s))

    def sentence(self) -> str:
        t, said = self.table, [self.headline()]
        weak = t["term"][t["conf_low"] < RELIABLE]
        if len(weak):
            said.append(say("weak", scales=listing(self.label(x) for x in weak)))
        pairs = self.further["htmt"].query(f"estimate >= {DISTINCT}").itertuples() if len(t) > 1 else ()
        for r in pairs:
            said.append(say("same", a=self.label(r.term), b=self.label(r.other), ratio=number(r.estimate, 2)))
        return " ".join(said)

    def plot(self, ax=None):
        names = [self.label(x) for x in self.table["term"]]
        unit = f"Cronbach's alpha, with {percent(self.summary['confidence'])} interval; dashed: {RELIABLE}"
        options = {"low": "conf_low", "high": "conf_high", "unit": unit, "title": self.headline(), "line": RELIABLE}
        return forest(self.table, "estimate", names=names, ax=ax, **options)


def htmt(correlation, first, second) -> float:
    """Return the mean correlation between two scales' items over the geometric mean of those within (Henseler 2015)."""

    def within(items):
        part = correlation[np.ix_(items, items)]
        return np.mean(part[np.triu_indices(len(items), 1)])

    return float(np.mean(correlation[np.ix_(first, second)]) / np.sqrt(within(first) * within(second)))


@one_thread
def scale_reliability(
    responses, *, scales: Mapping[str, list[str]], n_boot: int = 1000, confidence: float = 0.95, min_rows: int = 100,
    seed: int | None = None,
) -> ScaleReliability:  # fmt: skip
    """Return alpha, omega and HTMT of scales made of several items.

    A simple sample without skipped answers gets Feldt's interval of alpha; else it is the bootstrap's percentile
    interval, which needs a `seed`. Skipped answers are handled by EM. Omega is McDonald's, of one factor a scale.
    `scales` is a dict of name to items. Refused are scales that overlap or have one item, an item without variance, and
    too few rows that answered an item.

    Examples
    --------
    >>> print(cx.scale_reliability(study.responses, scales={"service": drivers}, n_boot=200, seed=1))
    Cronbach's alpha: service 0.47 (95 % interval 0.41 to 0.52); n = 2,213, ... Not established to ...
    """
    survey = as_survey(responses)
    check_options(confidence=confidence, n_boot=0, seed=seed)
    _check_scales(survey.table, scales)
    items = [i for members in scales.values() for i in members]
    answers = np.column_stack([numeric(survey.table[i]) for i in items])
    sample = survey.sample(~np.isnan(answers).all(axis=1), what="scale_reliability")
    answers, n = answers[sample.rows], len(sample)
    if n < min_rows:
        raise TooFewRespondents(f"scale_reliability needs at least {min_rows} usable rows; found {n}")
    _refuse_constant(answers, items)
    check_clusters(survey, sample)
    skipped = bool(np.isnan(answers).any())
    simple = sample.plain and not skipped  # Feldt's interval is of complete answers of a simple sample
    moments = em_moments(answers, sample.weights)
    spread = scaling(answers, sample.weights)[1]
    batches = ()
    if not simple:
        check_options(confidence=confidence, n_boot=n_boot, seed=seed)
        if not n_boot:
            raise DataProblem("scale_reliability needs replicates; give n_boot of at least 100")
        batches = sample.replicates(n_boot, seed=seed)
    covariances = np.concatenate([unpacked(moments.covariances(w)) for w in (None, *batches)])
    found, *drawn = covariances * np.outer(spread, spread)
    table, pairs = _table(scales, found, drawn, n, confidence)
    effective = {} if survey.weight is None else {"n_effective": sample.n_effective}
    how = "Feldt interval" if simple else "bootstrap" + ("; skipped answers by em" if skipped else "")
    summary = {
        "n": n, **effective, "method": f"Cronbach's alpha, {how}; omega of one factor a scale",
        "confidence": confidence, "established": bool((table["conf_low"] >= RELIABLE).all()),
    }  # fmt: skip
    checks = [none_of(f"scales with alpha under {RELIABLE}", table["term"][~(table["estimate"] >= RELIABLE)])]
    if len(pairs):
        largest = float(pairs["estimate"].max())
        checks.append(Check("largest HTMT", digits.rounded(largest, 3), f"under {DISTINCT}", largest < DISTINCT))
    return ScaleReliability(
        "scale_reliability", " ".join(scales), None, table, summary, tuple(checks), dict(survey.labels),
        {"htmt": pairs} if len(pairs) else {}, domain=survey.condition,
    )  # fmt: skip


def _check_scales(responses, scales) -> None:
    if not scales:
        raise DataProblem("scales= is empty; name a scale and its items, for example {'loyalty': ['l1', 'l2', 'l3']}")
    seen: dict[str, str] = {}
    for name, items in scales.items():
        if isinstance(items, str) or len(items) < 2:
            raise DataProblem(f"scale {name!r} has fewer than two items; reliability is about how items agree")
        require_columns(responses, *items, where="responses")
        for item in items:
            if seen.setdefault(item, name) != name or items.count(item) > 1:
                raise DataProblem(f"{item!r} is in scales {seen[item]!r} and {name!r}; an item belongs to one scale")


def _refuse_constant(table, items) -> None:
    for k, item in enumerate(items):
        answers = np.unique(table[~np.isnan(table[:, k]), k])
        if len(answers) < 2:
            found = "is answered by nobody" if not len(answers) else f"has the one answer {answers[0]:g} in all rows"
            raise DataProblem(f"{item!r} {found}; leave it out of its scale")


def _table(scales, covariance, drawn, n, confidence) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return one row a scale, and the ratios of pairs of scales."""
    ends = np.cumsum((0, *map(len, scales.values())))
    places = {name: np.arange(a, b) for name, a, b in zip(scales, ends[:-1], ends[1:])}
    correlation, rows = covariance / np.sqrt(np.outer(np.diag(covariance), np.diag(covariance))), []
    for name, at in places.items():
        own = np.ix_(at, at)
        alpha = cronbach_alpha(covariance[own])
        low, high = feldt_interval(alpha, n, len(at), confidence)
        if drawn:
            low, high = percentile_interval([cronbach_alpha(c[own]) for c in drawn], confidence)
        rows.append(
            {"term": name, "estimate": alpha, "conf_low": low, "conf_high": high,
             "standardised_alpha": cronbach_alpha(correlation[own]), "omega": one_factor_omega(covariance[own]),
             "n_items": len(at), "n": n}
        )  # fmt: skip
    pairs = [(a, b, htmt(correlation, places[a], places[b])) for a, b in combinations(places, 2)]
    return pd.DataFrame(rows), pd.DataFrame(pairs, columns=["term", "other", "estimate"])
