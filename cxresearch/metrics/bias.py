"""Who answered: responders against the others, the score reweighted to all customers.

References
----------
Rosenbaum & Rubin (1983), Biometrika 70 (propensity); Lunceford & Davidian (2004), Statistics in Medicine 23 (error of
inverse-probability weighted means when the probabilities are fitted); Cohen (1988) (standardised difference).
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy import stats

from cxresearch import digits
from cxresearch.errors import DataProblem, TooFewRespondents, require_columns
from cxresearch.figures import PALETTE, axes_or_new, intervals
from cxresearch.findings import Check, Finding, describe_columns, interval, number, percent
from cxresearch.inference import adjusted_p_values, kish_effective_n
from cxresearch.metrics.cells import require_options
from cxresearch.metrics.scores import numeric_answers, recommend_answers, recommend_codes
from cxresearch.privacy import require_base
from cxresearch.survey import as_survey

MIN_EACH = 30  # responders, and others, that a response model needs
LARGE = 0.2  # standardised difference that is commonly called small but not negligible

describe_columns(
    responders=("Responders", "mean of the customers who answered", 2),
    others=("Others", "mean of the customers who did not answer", 2),
    n_others=("n others", "customers who did not answer", 0),
    response_rate=("Response rate", "customers who answered by all, 0-1", 3),
    reweighted=("Reweighted", "score of responders weighted to resemble all customers, points", 1),
)


@dataclass(frozen=True, repr=False, eq=False)
class ResponseBias(Finding):
    """One row per behaviour (`term`): means and standardised difference (standard deviations) of responders and others.

    ``further["sensitivity"]`` has the score as answered and reweighted to all customers, in points.
    """

    confidence: float = 0.95

    def sentence(self) -> str:
        s, clear = self.summary, self.table[self.table["p_adjusted"] < 1 - self.confidence]
        head = (
            f"{number(s['n'], 0)} of {number(s['n'] + s['n_others'], 0)} customers answered "
            f"({percent(s['response_rate'])})"
        )
        if clear.empty:
            text = f"{head}; no difference in behaviour between them and the others is established."
        else:
            top = digits.largest(clear.assign(size=clear["estimate"].abs()), "size")
            text = (
                f"{head} and differ from the others in {len(clear)} of {len(self.table)} behaviours, most in "
                f"{self.label(top['term'])} "
                f"({number(top['estimate'], 2)} standard deviations, "
                f"{interval(top['conf_low'], top['conf_high'], self.confidence, 2)})."
            )
        plain, reweighted = (row for _, row in self.further["sensitivity"].iterrows())
        return (
            f"{text} Weighted to resemble all customers in these behaviours the net promoter score is "
            f"{number(reweighted['estimate'])} points "
            f"({interval(reweighted['conf_low'], reweighted['conf_high'], self.confidence)}) instead of "
            f"{number(plain['estimate'])}."
        )

    def plot(self, ax=None):
        """Draw the standardised differences, responders less others, with intervals."""
        t = self.table
        ax = axes_or_new(ax, rows=len(t))
        intervals(
            ax, [self.label(k) for k in t["term"]], t["estimate"], t["conf_low"], t["conf_high"], colour=PALETTE[0]
        )
        ax.axvline(0, color="black", linewidth=0.8)
        ax.set_xlabel(f"responders less others, standard deviations; {percent(self.confidence)} intervals")
        ax.set_title(
            f"Response rate {percent(self.summary['response_rate'])}, {number(self.summary['n'], 0)} responders",
            fontsize=10,
        )
        return ax


def response_bias(
    customers, responses: pd.DataFrame, item: str, *, customer: str, behaviour, confidence: float = 0.95
) -> ResponseBias:
    """Compare customers who answered with those who did not, and reweight the score to all of them.

    Parameters
    ----------
    customers : Survey or DataFrame, (N, .)
        One row per customer who could have been asked.
    responses : DataFrame
        Their answers; of a customer's several answers the last row counts. Answers of others are left out and counted.
    score, customer : str
        Recommend item (0-10) in `responses`; column that links both tables.
    behaviour : list of str
        Numeric columns of `customers`, known for all of them (missing values are filled with the median and counted).
    confidence
        As in `nps`.

    Returns
    -------
    ResponseBias

    Raises
    ------
    DataProblem
        Duplicate customers, behaviour that is not numeric or constant, answers off 0-10.
    TooFewRespondents
        Fewer than 30 customers who answered, or who did not.

    Notes
    -----
    Response is modelled by a logistic regression on the standardised behaviours; responders are weighted by
    one over the fitted probability. The error of the reweighted score takes the fit into account (Lunceford & Davidian
    2004). This repairs only what the behaviours say; it is a sensitivity line, not a correction.

    Examples
    --------
    >>> import cxresearch as cx
    >>> study = cx.open_study("data/example/study.yml")
    >>> print(cx.response_bias(
    ...     study.customers, study.responses, "recommend", customer="customer",
    ...     behaviour=["affluence"]
    ... ))
    1,399 of 2,000 customers answered (70 %); no difference in behaviour between them and the ...
    """
    survey = as_survey(customers)
    customers, responses = survey.table, as_survey(responses).table
    score = item
    labels, min_base = survey.labels, survey.min_base
    require_columns(customers, customer, *behaviour, where="customers")
    require_options(responses, score, customer, confidence=confidence, min_base=min_base)
    if customers[customer].duplicated().any():
        raise DataProblem(
            f"customers: {customer} repeats {customers[customer].duplicated().sum()} customers; give one row "
            "per customer"
        )
    answers, strangers = _last_answers(responses, score, customer, customers[customer])
    answered = ~np.isnan(answers)
    if min(answered.sum(), (~answered).sum()) < MIN_EACH:
        raise TooFewRespondents(
            f"response_bias needs at least {MIN_EACH} customers who answered and {MIN_EACH} who did not; "
            f"found {answered.sum()} and {(~answered).sum()}"
        )
    require_base(
        int(min(answered.sum(), (~answered).sum())), min_base=min_base, what="the comparison of responders with others"
    )
    values, filled = _behaviours(customers, behaviour)
    table = _differences(values, answered, behaviour, confidence)
    codes = np.where(answered, recommend_codes(np.nan_to_num(answers)), 0.0)
    sensitivity, weights = _sensitivity(values, answered, codes, confidence)
    summary = {
        "n": int(answered.sum()),
        "n_others": int((~answered).sum()),
        "response_rate": float(answered.mean()),
        "estimate": sensitivity["estimate"].iloc[0],
        "reweighted": sensitivity["estimate"].iloc[1],
        "n_effective": kish_effective_n(weights),
        "method": "standardised differences; inverse-probability weights",
    }
    tested = (
        Check(
            "largest standardised difference",
            digits.rounded(float(table["estimate"].abs().max()), 3),
            f"at most {LARGE:g}",
            bool(table["estimate"].abs().max() <= LARGE),
        ),
        Check(
            "largest response weight / mean",
            digits.rounded(float(weights.max() / weights.mean()), 2),
            "at most 10",
            bool(weights.max() <= 10 * weights.mean()),
        ),
        Check("answers of customers that are not in the table", strangers, "0", strangers == 0),
        Check("missing behaviours filled with the median", filled, "0", filled == 0),
    )
    return ResponseBias(
        "response_bias", score, None, table, summary, tested, labels or {}, {"sensitivity": sensitivity}, confidence
    )


def _last_answers(responses, score, customer, known) -> tuple[np.ndarray, int]:
    kept = pd.DataFrame(
        {"customer": responses[customer].to_numpy(), "score": recommend_answers(responses, score)}
    ).dropna()
    strangers = int((~kept["customer"].isin(known)).sum())
    last = kept.drop_duplicates("customer", keep="last").set_index("customer")["score"]
    return known.map(last).to_numpy(dtype=float), strangers


def _behaviours(customers, behaviour) -> tuple[np.ndarray, int]:
    columns = [numeric_answers(customers, column) for column in behaviour]
    for column, values in zip(behaviour, columns):
        if not np.nanstd(values) > 0:
            raise DataProblem(f"{column} is the same for all customers; leave it out of behaviour")
    table = np.column_stack(columns)
    missing = np.isnan(table)
    table = np.where(missing, np.nanmedian(table, axis=0), table)
    return table, int(missing.sum())


def _differences(values, answered, behaviour, confidence) -> pd.DataFrame:
    yes, no = values[answered], values[~answered]
    spread = np.sqrt((yes.var(axis=0, ddof=1) + no.var(axis=0, ddof=1)) / 2)
    difference = (yes.mean(axis=0) - no.mean(axis=0)) / spread
    error = np.sqrt(yes.var(axis=0, ddof=1) / len(yes) + no.var(axis=0, ddof=1) / len(no)) / spread
    half = stats.norm.ppf((1 + confidence) / 2) * error
    p = 2 * stats.norm.sf(np.abs(difference / error))
    return pd.DataFrame(
        {
            "term": list(behaviour),
            "estimate": difference,
            "std_error": error,
            "conf_low": difference - half,
            "conf_high": difference + half,
            "p_value": p,
            "p_adjusted": adjusted_p_values(p, correction="holm"),
            "responders": yes.mean(axis=0),
            "others": no.mean(axis=0),
            "n": len(yes),
            "n_others": len(no),
        }
    )


def _sensitivity(values, answered, codes, confidence) -> tuple[pd.DataFrame, np.ndarray]:
    design = np.column_stack([np.ones(len(values)), (values - values.mean(axis=0)) / values.std(axis=0)])
    probability = fit_response(design, answered)
    weights = answered / probability
    z, rows = stats.norm.ppf((1 + confidence) / 2), []
    for name, w, scores in (
        ("as answered", answered.astype(float), None),
        ("reweighted", weights, design * (answered - probability)[:, None]),
    ):
        mean = w @ codes / w.sum()
        pull = w * (codes - mean) / w.sum()
        # The fitted probabilities absorb what the behaviours explain of the score: their scores are projected out.
        pull = pull if scores is None else pull - scores @ np.linalg.lstsq(scores, pull, rcond=None)[0]
        error = np.sqrt(np.sum(pull**2))
        rows.append(
            {
                "term": name,
                "estimate": 100 * mean,
                "std_error": 100 * error,
                "conf_low": 100 * max(mean - z * error, -1),
                "conf_high": 100 * min(mean + z * error, 1),
                "n": int(answered.sum()),
                "n_effective": kish_effective_n(w),
            }
        )
    return pd.DataFrame(rows), weights[answered]


def fit_response(design: np.ndarray, answered: np.ndarray) -> np.ndarray:
    """Return the fitted probabilities of a logistic regression, (N,), by Newton's method.

    Parameters
    ----------
    design : (N, k) array
        With a constant.
    answered : (N,) bool array
    """
    beta = np.zeros(design.shape[1])
    for _ in range(50):
        p = 1 / (1 + np.exp(-np.clip(design @ beta, -30, 30)))
        step = np.linalg.lstsq(design.T @ (design * (p * (1 - p))[:, None]), design.T @ (answered - p), rcond=None)[0]
        beta = beta + step
        if np.abs(step).max() < 1e-10:
            break
    return np.clip(1 / (1 + np.exp(-np.clip(design @ beta, -30, 30))), 1e-6, 1)
