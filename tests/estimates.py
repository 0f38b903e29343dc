"""Weighted means by a survey's design, as tests hold other estimates against them."""

from types import SimpleNamespace

import numpy as np
import pandas as pd

from cxresearch.inference.shares import packed, residual_variances, shapley_parts, standardised
from cxresearch.survey import as_survey


def survey_mean(values, *, weights=None, **design) -> SimpleNamespace:
    """Return means (k,), their linearised covariance (k, k) and df of one column of values or of several."""
    values = np.asarray(values, dtype=float)
    values = values[:, None] if values.ndim == 1 else values
    given = {name: np.asarray(column) for name, column in {"weight": weights, **design}.items() if column is not None}
    sample = as_survey(pd.DataFrame({"row": range(len(values)), **given}), **{name: name for name in given}).sample()
    kept, w = values[sample.rows], sample.weights / sample.weights.sum()
    mean = w @ kept
    return SimpleNamespace(
        mean=mean, covariance=sample.covariance_of(w[:, None] * (kept - mean)), df=float(sample.df[0])
    )


def lmg(x, y) -> np.ndarray:
    """Return the Shapley (LMG) parts (p,) of R² of (n, p) columns for an (n,) outcome."""
    z = standardised(np.column_stack([x, y]).astype(float), np.ones(len(y)))
    return shapley_parts(residual_variances(packed(z.T @ z / len(z)), [1] * (z.shape[1] - 1)))[:, 0]
