"""Ten beliefs about customer experience, each with what would refute it (see ``beliefs.csv``).

Lindeman, Merenda & Gold (1980), *Introduction to Bivariate and Multivariate Analysis*, 119 ff. (shares of R²);
Feldt (1965), Psychometrika 30:357-370 (alpha); Newcombe (1998), Statistics in Medicine 17:857-872 (Wilson).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property, partial

import numpy as np
import pandas as pd

from cxresearch.claims.shares import LEAST, held, say, wilson_of
from cxresearch.errors import require_columns, require_share
from cxresearch.findings import Check, Statement, ends, listing
from cxresearch.inference import percentile_interval, t_interval
from cxresearch.inference.pooling import cronbach_alpha, feldt_interval
from cxresearch.inference.shares import as_correlations, em_moments, residual_variances, shapley_parts, unpacked
from cxresearch.survey import Survey, as_survey, as_table

KINDS = ("service", "product", "price", "digital", "personal", "emotion")
BEHAVIOUR, FOLDS, ANSWERS = ("frequency", "recency", "tenure", "monetary"), 10, 100


def weigh_myths(
    responses, *, outcome, kinds: Mapping[str, str], satisfaction=None, customers=None, owners=None, revenue=None,
    n_boot: int = 1000, confidence: float = 0.95, seed,
) -> Statement:  # fmt: skip
    """Weigh ten beliefs about customer experience: refuted, supported, open, or not to be tested on these data.

    Parts of R² by LMG (answers missing at random, EM), interval by the survey's bootstrap; shares Wilson on the design's
    base; alpha Feldt; R² added in ten folds, interval of the mean gain. All intervals hold together (Bonferroni over
    those tested), so that a verdict is its interval against its limit.

    Parameters
    ----------
    responses : Survey or DataFrame
    outcome, satisfaction, revenue : columns; the last two are optional, revenue is that after the answer
    kinds : mapping driver -> service, product, price, digital, personal or emotion
    customers : Table or DataFrame of all customers, with a column ``customer``, optional
    owners : mapping driver -> department that answers for it, optional

    Raises
    ------
    DataProblem
        An unknown kind, a column that is not there, fewer than 100 answers to the outcome.

    Examples
    --------
    >>> kinds = {"staff": "personal", "support": "service", "website": "digital", "products": "product", "prices": "price"}
    >>> print(cx.weigh_myths(study.responses, outcome="satisfaction", kinds=kinds, n_boot=100, seed=1))
    Of ten beliefs ... are refuted here, ... supported, ... open, ... cannot be tested (n = 2,...
    """
    survey, everyone = as_survey(responses), None if customers is None else as_table(customers).table
    require_share("confidence", confidence)
    require_columns(survey.table, outcome, satisfaction, revenue, *kinds, where="responses")
    for kind in kinds.values():
        say.refuse_if(kind not in KINDS, "no_known_kind", kind=kind, known=listing(KINDS))
    data = _Data(survey, outcome, dict(kinds), satisfaction, everyone, owners or {}, revenue, n_boot, seed)
    answered = int(np.isfinite(data.answers([outcome])).sum())
    say.refuse_if(answered < ANSWERS, "few_answers", n=answered, outcome=outcome, least=ANSWERS)
    beliefs = held("beliefs")
    tests = [getattr(data, test)(of) for test, of in zip(beliefs["test"], beliefs["of"])]
    k = sum(map(callable, tests))
    level, rows = 1 - (1 - confidence) / max(k, 1), []
    told = beliefs[["belief", "estimated", "limit", "side"]].fillna({"estimated": ""})
    for test, (belief, estimated, limit, side) in zip(tests, told.itertuples(index=False)):
        able = callable(test)
        *span, n = test(level) if able else (np.nan, np.nan, np.nan, 0)
        beyond, within = (span[1] > limit, span[2] < limit)[:: 1 if side == "above" else -1]
        verdict = "refuted" if beyond else "supported" if within else "not established"
        row = {"term": belief, "estimated": estimated, **ends("estimate", *span)}
        row["rule"], row["verdict"] = (f"interval {side} {limit:g}", verdict) if able else ("", "cannot be tested")
        rows.append(row | {"n": n, "untested": "" if able else test})
    table = pd.DataFrame(rows)
    counts = table["verdict"].value_counts()
    refuted, supported, unsure = (int(counts.get(v, 0)) for v in ("refuted", "supported", "not established"))
    names = listing(f"“{t}”" for t in table["term"][table["verdict"] == "refuted"])
    known = dict(supported=supported, open=unsure, untested=len(table) - k, k=k, names=names)
    check = Check("beliefs that these data cannot test", len(table) - k, "0", k == len(table), "info")
    summary = {"refuted": refuted, "tested": k, "n": answered, "method": "a rule a belief; Bonferroni"}
    summary["established"] = bool(refuted + supported)
    told = say, ["myths", "myths more" if refuted else "no myths"], known, confidence
    question = "weigh_myths", outcome, None, table, summary, (check,)
    marked = table["verdict"][table["estimate"].notna()] == "refuted"
    drawn = dict(unit="estimate with interval; in colour: refuted", marked=marked)
    return Statement.of(*told, *question, source=survey, drawn=drawn)


@dataclass(frozen=True)
class _Data:
    """What the beliefs are tested on; a test says why it cannot be made, or takes a level for estimate, low, high, n."""

    survey: Survey
    outcome: str
    kinds: Mapping[str, str]
    satisfaction: str | None
    customers: pd.DataFrame | None
    owner_of: Mapping[str, str]
    revenue: str | None
    n_boot: int
    seed: int

    def answers(self, columns) -> np.ndarray:
        table = self.survey.table
        return np.column_stack([pd.to_numeric(table[c]).to_numpy(dtype=float, na_value=np.nan) for c in columns])

    @cached_property
    def parts(self) -> tuple[np.ndarray, int]:
        """Each driver's share of the explained variance, (drivers, 1 + n_boot): the estimate, then draws; and rows."""
        columns, sizes = self.answers([*self.kinds, self.outcome]), [1] * len(self.kinds)
        rows = np.isfinite(columns[:, -1]) & np.isfinite(columns[:, :-1]).any(axis=1)
        sample = self.survey.sample(rows, what=self.outcome)
        moments = em_moments(columns[sample.rows], sample.weights)
        weights = [None, *sample.replicates(self.n_boot, seed=self.seed)]
        drawn = (as_correlations(moments.covariances(w)) for w in weights)
        parts = np.concatenate([shapley_parts(residual_variances(one, sizes)) for one in drawn], axis=1)
        return parts / parts.sum(axis=0), len(sample)

    def explained(self, items, level):
        parts, n = self.parts
        share, *drawn = parts[[item in items for item in self.kinds]].sum(axis=0)
        return float(share), *map(float, percentile_interval(drawn, level)), n

    def kind(self, kind):
        items = [item for item, its in self.kinds.items() if its == kind]
        if 0 < len(items) < len(self.kinds):
            return partial(self.explained, items)
        return say("one kind" if items else "no kind", kind=kind)

    def owners(self, _):
        owned: dict[str, list[str]] = {}
        for item in self.kinds:
            if isinstance(owner := self.owner_of.get(item), str):
                owned.setdefault(owner, []).append(item)
        if len(owned) < 2:
            return say["no owners"]
        return partial(self.explained, sorted(owned.values(), key=lambda items: -self.explained(items, 0.5)[0])[1])

    def product(self, _):
        items = [item for item, kind in self.kinds.items() if kind == "product"]
        if len(items) != 1:
            return say["no product"]
        ratings, y = self.answers([*items, self.outcome]).T
        low, top = self.survey.scales.get(self.outcome, (np.nanmin(y), np.nanmax(y)))
        best = ratings >= self.survey.scales.get(items[0], (0, np.nanmax(ratings)))[1]
        poor = np.where(best & np.isfinite(y), y <= (low + top) / 2, np.nan)
        if np.isfinite(poor).sum() < max(LEAST, self.survey.min_base):
            return say["few products"]
        return partial(wilson_of, self.survey, poor, items[0])

    def cost(self, _):
        return say["no cost"]

    def added(self, of):
        """Test the R² of revenue that other ratings add to satisfaction, or behaviour to the score, in folds of persons."""
        first, more = self.outcome, [c for c in BEHAVIOUR if c in self.survey.table]
        if of == "satisfaction":
            first, more = self.satisfaction, [item for item in self.kinds if item != self.satisfaction]
        if self.revenue is None or first is None or not more:
            return say[f"no {of}"]
        from sklearn.linear_model import LinearRegression
        from sklearn.model_selection import PredefinedSplit, cross_val_predict

        columns = self.answers([self.revenue, first, *more])
        sample = self.survey.sample(np.isfinite(columns[:, :2]).all(axis=1), what=self.revenue)
        values, w = columns[sample.rows], sample.weights
        values = np.where(np.isnan(values), np.nanmean(values, axis=0), values)
        codes, y = np.arange(len(values)) if sample.persons is None else sample.persons, values[:, 0]
        folds = PredefinedSplit(np.random.default_rng(self.seed).permutation(codes.max() + 1)[codes] % FOLDS)
        asked = dict(y=y, cv=folds, params={"sample_weight": w})
        one, all_ = (y - cross_val_predict(LinearRegression(), values[:, 1:k], **asked) for k in (2, values.shape[1]))
        gain = (one**2 - all_**2) / np.average((y - np.average(y, weights=w)) ** 2, weights=w)
        mean, error = float(sample.means(gain)[0]), float(np.sqrt(sample.variance(gain)[0]))
        return lambda level: (*t_interval(mean, error, np.inf, level)[:3], len(values))

    def silent(self, _):
        if self.customers is None or "customer" not in self.customers or "customer" not in self.survey.table:
            return say["no customers"]
        silent = ~self.customers["customer"].isin(self.survey.table["customer"])
        return partial(wilson_of, Survey(self.customers), silent.to_numpy(dtype=float), "customers")

    def alpha(self, _):
        if len(self.kinds) < 2:
            return say["few ratings"]
        columns = self.answers(self.kinds)
        sample = self.survey.sample(np.isfinite(columns).any(axis=1), what="ratings")
        moments = em_moments(columns[sample.rows], sample.weights)
        alpha = cronbach_alpha(unpacked(as_correlations(moments.covariances()))[0])
        k, n = len(self.kinds), sample.n_effective
        return lambda level: (alpha, *feldt_interval(alpha, n, k, level), len(sample))
