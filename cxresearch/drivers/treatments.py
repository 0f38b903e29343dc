"""Which model is fitted to which rows: the kind of outcome and the treatment of skipped answers."""

import numpy as np
import pandas as pd

from cxresearch.drivers.imputation import fit_imputed
from cxresearch.drivers.linear import fit_linear
from cxresearch.drivers.nonlinear import fit_likelihood
from cxresearch.drivers.parts import EXACT_DRAWS
from cxresearch.drivers.terms import Terms
from cxresearch.errors import DataProblem

KINDS = ("linear", "binary", "ordered")
NOT_APPLICABLE = ("exposure", "exclude")
MISSING = ("em", "listwise", "imputed")
MOST_IMPUTED = 10  # terms of a likelihood up to which imputation is shown beside the treatment asked for


def fit_terms(terms: Terms, *, kind: str, r2: str, method: str, missing: str, seed):
    """Return the fit of `terms`; skipped answers are handled by EM or imputed (listwise rows are left out before)."""

    def complete(rows: Terms):
        return (
            fit_linear(rows, method=method, seed=seed)
            if kind == "linear"
            else fit_likelihood(rows, kind=kind, r2=r2, method=method)
        )

    if not np.isnan(terms.columns).any():
        return complete(terms)
    if missing == "imputed":
        if seed is None:
            raise DataProblem("missing='imputed' is random: give a seed, for example seed=1")
        return fit_imputed(terms, complete, seed=seed)
    if kind != "linear":
        skipped = int((~terms.complete()).sum())
        raise DataProblem(
            f"missing='em' is for kind='linear'; {skipped} of {len(terms)} rows skipped an answer: use "
            f"missing='imputed' or 'listwise'"
        )
    return complete(terms)


def compare_treatments(fit, everyone: Terms, *, missing: str, min_rows: int, **options) -> pd.DataFrame:
    """Return parts and shares by each treatment of skipped answers, the one asked for first.

    EM is for linear models only; imputation needs a seed, and is left out where 20 more fits would take minutes.
    Listwise is missing where fewer than `min_rows` rows are complete.
    """
    rows = everyone.rows(everyone.complete())
    usable = len(rows) >= max(min_rows, rows.columns.shape[1] + 1) and np.ptp(rows.columns[:, -1]) > 0
    linear, p = options["kind"] == "linear", len(everyone.names)
    asked = {
        "em": linear,
        "imputed": options["seed"] is not None and p <= (EXACT_DRAWS if linear else MOST_IMPUTED),
        "listwise": True,
    }
    parts = {missing: (len(fit.terms), fit.parts)}
    for how in (h for h, wanted in asked.items() if wanted and h != missing):
        of = rows if how == "listwise" else everyone
        nothing = how == "listwise" and not usable
        found = np.full(p, np.nan) if nothing else fit_terms(of, missing=how, **options).parts
        parts[how] = len(of), found
    return pd.concat(
        [
            pd.DataFrame({"term": list(fit.terms.names), "method": how, "estimate": p, "share": p / p.sum(), "n": n})
            for how, (n, p) in parts.items()
        ],
        ignore_index=True,
    )
