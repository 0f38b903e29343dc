"""A frozen tool that assigns new customers to known segments from a few items, kept as a small readable file."""

import json
from collections import namedtuple
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedKFold
from threadpoolctl import threadpool_limits

from cxresearch import digits
from cxresearch.errors import DataProblem, TooFewRespondents, require_columns
from cxresearch.figures import heat_map, titled
from cxresearch.findings import Check, Finding, listing, number, percent
from cxresearch.privacy import hide_cells
from cxresearch.segments.features import complete_values, require_variation, unweighted
from cxresearch.segments.methods import matching, overlap
from cxresearch.segments.migration import kappa
from cxresearch.segments.segmentation import Segmentation, segment_names
from cxresearch.segments.sentences import say
from cxresearch.survey import Survey, as_survey

MOST_ITEMS = 8
UNCLASSIFIED = "unclassified"
FORMAT = "cxresearch typing tool 1"
FOLDS, FLOOR = 5, 0.6  # of the cross-validation; probability under which a customer stays unclassified
USEFUL = 0.4  # kappa above which a tool is worth having


class Scorer(namedtuple("Scorer", "items segments floor centre scale coefficients intercepts")):
    """Multinomial logit on standardised items: all that assigning takes. Arrays (p,), (p,), (k, p), (k,)."""

    def probabilities(self, values: np.ndarray) -> np.ndarray:
        """Return (n, k) probabilities of the segments."""
        score = ((values - self.centre) / self.scale) @ self.coefficients.T + self.intercepts
        score = np.exp(score - score.max(axis=1, keepdims=True))
        return score / score.sum(axis=1, keepdims=True)


@dataclass(frozen=True, repr=False, eq=False, kw_only=True)
class TypingTool(Finding):
    """The tool and how well it does on customers it has not seen."""

    scorer: Scorer
    circular: tuple[str, ...]  # items that segments were made from

    def sentence(self) -> str:
        s, shares = self.summary, ("base_rate", "accuracy", "unclassified", "accuracy_classified")
        values = {name: percent(np.nan_to_num(s[name])) for name in shares} | {"floor": percent(self.scorer.floor)}
        values |= {"n": number(s["n"], 0), "items": len(self.scorer.items), "kappa": number(s["kappa"], 2)}
        said = [say("tool" if s["accuracy"] > s["base_rate"] and s["kappa"] >= USEFUL else "poor tool", **values)]
        said += [say("circular", items=listing(map(self.label, self.circular)))] if self.circular else []
        return " ".join([*said, say("unclassified" if s["unclassified"] < 1 else "all unclassified", **values)])

    def plot(self, ax=None):
        """Draw the share of each segment (rows) that the tool assigns to each (columns), out of sample."""
        grid = self.further["confusion"].pivot(index="segment", columns="assigned", values="share").astype(float)
        shares = {name: percent(self.summary[name]) for name in ("accuracy", "base_rate")}
        return titled(heat_map(100 * grid, ax=ax), say("tool title", **shares), say("tool unit"))

    def save(self, path) -> Path:
        """Write the tool as a readable JSON file; `assign_segments` reads it on any machine with the same results."""
        found = {name: v.tolist() if isinstance(v, np.ndarray) else v for name, v in self.scorer._asdict().items()}
        record, path = {"format": FORMAT} | found, Path(path)
        path.write_text(json.dumps(record, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
        return path


def typing_tool(
    customers, *, segmentation: Segmentation, items: Sequence[str], seed: int, min_rows: int = 100
) -> TypingTool:
    """Learn to assign customers to the segments from at most eight numeric items.

    A multinomial logit on standardised items with a ridge penalty (C = 1). In each fold of the cross-validation the
    segments, too, are found anew without the customers who are then assigned, and matched to the whole's. ``tidy``:
    segment, n, recall, precision. ``tables`` adds confusion. ``glance``: accuracy, base_rate (share of the largest
    segment), kappa, unclassified, accuracy_classified; established is missing where an item is a feature of the segments,
    since accuracy on it is no evidence. Refused are more than eight items, constant or repeated ones, and too few rows,
    in all or in a segment.

    Parameters
    ----------
    customers : Survey or DataFrame
        The features of the segmentation (which say where each belongs) and the items.
    items : sequence of str
        Numeric columns that will be known of new customers. Whoever is less than 60 % likely in each segment stays
        unclassified.

    Examples
    --------
    >>> print(cx.typing_tool(behaved, segmentation=segments, items=["active_months"], seed=1))
    From 1 items ...
    """
    survey = as_survey(customers)
    items, table = tuple(items), survey.table
    require_columns(table, *items, *segmentation.features)
    if not 1 <= len(items) <= MOST_ITEMS:
        raise DataProblem(
            f"items holds {len(items)} columns; a typing tool takes 1 to {MOST_ITEMS}, so choose the most telling"
        )
    x, known = segmentation.read(table)
    values, complete = complete_values(table[known], items)
    x, truth = x[complete], segmentation.fit.rule.predict(x[complete])
    sizes = np.bincount(truth, minlength=segmentation.k)
    if len(truth) < min_rows or sizes.min() < FOLDS:
        raise TooFewRespondents(
            f"typing_tool needs at least {min_rows} complete rows and {FOLDS} a segment; found {len(truth)}, the smallest segment {sizes.min()}"
        )
    require_variation(values, items)
    names = np.array(segment_names(segmentation.k), dtype=object)
    with threadpool_limits(1):
        probability = _out_of_sample(values, x, truth, segmentation, items, seed)
        scorer = _learned(values, names[truth], items)
    assigned, kept, n = probability.argmax(axis=1), probability.max(axis=1) >= FLOOR, len(truth)
    counts, right = overlap(truth, assigned, segmentation.k), assigned == truth
    summary = {"n": n, "method": f"multinomial logit, {FOLDS}-fold cross-validation", "accuracy": float(right.mean())}
    summary |= {"base_rate": float(sizes.max() / n), "kappa": kappa(counts), "unclassified": float(1 - kept.mean())}
    summary["accuracy_classified"] = float(right[kept].mean()) if kept.any() else np.nan
    useful, circular = summary["kappa"] >= USEFUL, tuple(i for i in items if i in segmentation.features)
    beats, lost = bool(useful and summary["accuracy"] > summary["base_rate"]), summary["unclassified"]
    table = pd.DataFrame({"segment": names, "n": sizes, "recall": np.diag(counts) / sizes})
    table = table.assign(precision=np.diag(counts) / np.maximum(counts.sum(axis=0), 1))
    table = hide_cells(table, min_base=survey.min_base)
    confusion = pd.DataFrame(counts / sizes[:, None], index=names, columns=names)[table["n"].notna().to_numpy()]
    confusion = confusion.rename_axis("segment").reset_index().melt("segment", var_name="assigned", value_name="share")
    tested = (
        Check("customers with every item and feature", f"{n} of {len(survey)}", "all", n == len(survey)),
        Check("kappa out of sample", digits.rounded(summary["kappa"], 3), f"at least {USEFUL}", useful),
        Check("unclassified (share)", digits.rounded(lost, 3), "at most 0.2", lost <= 0.2),
        Check("items that segments were made from", listing(circular), "none", not circular),
        segmentation.real(),
        *unweighted(survey.weight),
    )
    return TypingTool(
        "typing_tool", f"segment from {', '.join(items)}", None, table,
        summary | {"established": None if circular else beats}, tested, survey.labels, {"confusion": confusion},
        suppressed=int(table["n"].isna().sum()), domain=survey.condition, scorer=scorer, circular=circular,
    )  # fmt: skip


def _learned(values: np.ndarray, truth: np.ndarray, items) -> Scorer:
    centre, scale = values.mean(axis=0), np.where(values.std(axis=0) > 0, values.std(axis=0), 1.0)
    model = LogisticRegression(C=1.0, solver="newton-cholesky", tol=1e-10, max_iter=2000)
    model.fit((values - centre) / scale, truth)
    coefficients, intercepts = model.coef_, model.intercept_
    if len(model.classes_) == 2:  # scikit-learn keeps one row for two classes
        coefficients, intercepts = np.vstack([0 * coefficients, coefficients]), np.append(0.0, intercepts)
    return Scorer(tuple(items), tuple(map(str, model.classes_)), FLOOR, centre, scale, coefficients, intercepts)


def _out_of_sample(values, x, truth, segmentation: Segmentation, items, seed: int):
    """Return (n, k) probabilities of each customer from segments and a tool that have not seen him."""
    k, rng = segmentation.k, np.random.default_rng(seed)
    probability = np.zeros((len(truth), k))
    for train, test in StratifiedKFold(FOLDS, shuffle=True, random_state=seed).split(values, truth):
        rule = segmentation.fitter.refit(segmentation.fit, x[train], np.ones(len(train), dtype=int), rng)
        found = rule.predict(x[train])
        found = matching(truth[train], found, k)[found]
        if len(np.unique(found)) < 2:
            probability[test, found[0]] = 1
            continue
        scorer = _learned(values[train], found, items)
        probability[np.ix_(test, [int(s) for s in scorer.segments])] = scorer.probabilities(values[test])
    return probability


def assign_segments(customers, tool) -> Survey:
    """Return the same rows with `segment` and `probability` added, by a `TypingTool` or the path of a saved one.

    `segment` is ``'unclassified'`` where the largest `probability` is under the tool's floor, and missing where a row
    lacks an item.

    Examples
    --------
    >>> tool = cx.typing_tool(behaved, segmentation=segments, items=["active_months"], seed=1)
    >>> sorted(set(cx.assign_segments(behaved, tool).table["segment"]))
    ['S1', 'S2']
    """
    survey, scorer = as_survey(customers), tool.scorer if isinstance(tool, TypingTool) else _read(tool)
    table = survey.table
    require_columns(table, *scorer.items)
    values, complete = complete_values(table, scorer.items)
    segment, likely = np.full(len(table), None, dtype=object), np.full(len(table), np.nan)
    if complete.any():
        probability = scorer.probabilities(values)
        likely[complete] = probability.max(axis=1)
        named = np.array(scorer.segments, dtype=object)[probability.argmax(axis=1)]
        segment[complete] = np.where(likely[complete] >= scorer.floor, named, UNCLASSIFIED)
    return survey.with_table(table.assign(segment=segment, probability=likely))


def _read(path) -> Scorer:
    try:
        record = json.loads(Path(path).read_text(encoding="utf-8"))
        if record["format"] != FORMAT:
            raise KeyError("format")
        items, segments, *numbers = (record[name] for name in Scorer._fields)
        return Scorer(tuple(items), tuple(segments), *(np.array(values, dtype=float) for values in numbers))
    except (OSError, ValueError, KeyError, TypeError) as problem:
        raise DataProblem(
            f"{path} is not a typing tool that this version can read ({type(problem).__name__}); save it again with tool.save(path)"
        ) from None
