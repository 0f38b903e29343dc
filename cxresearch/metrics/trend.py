"""The trend of a score over waves whose variances are known."""

import numpy as np
import pandas as pd
from scipy import stats

from cxresearch.findings import describe_columns
from cxresearch.metrics.cells import Sample
from cxresearch.metrics.contrasts import ScoreVector

describe_columns(
    lack_of_fit=("Lack of fit p", "p-value of waves scattering around the line no more than sampling allows", 3)
)


def known_variance_trend(scores, covariance, times) -> tuple[float, float, float, float]:
    """Return intercept, slope, slope's error and lack-of-fit chi-square of generalised least squares, scale fixed at 1.

    Parameters
    ----------
    scores : (k,) array
    covariance : (k, k) array
        Of the scores; taken as known.
    times : (k,) array
    """
    x = np.column_stack([np.ones(len(scores)), times])
    inverse = np.linalg.pinv(covariance, hermitian=True)
    cross = np.linalg.inv(x.T @ inverse @ x)
    beta = cross @ x.T @ inverse @ scores
    residual = scores - x @ beta
    return float(beta[0]), float(beta[1]), float(np.sqrt(cross[1, 1])), float(residual @ inverse @ residual)


def times_of(waves) -> tuple[np.ndarray, str]:
    """Return numbers for the waves and their unit: the waves themselves where they are numbers, else 0, 1, 2, ..."""
    try:
        numbers = np.array([float(w) for w in waves])
    except (TypeError, ValueError):
        numbers = np.empty(0)
    steps = np.diff(numbers)
    if steps.size and np.isfinite(numbers).all() and (steps > 0).all():
        return numbers, "per wave" if (steps == 1).all() else "per unit of wave"
    return np.arange(len(waves), dtype=float), "per wave"


def trend_table(sample: Sample, vector: ScoreVector, confidence: float, hidden) -> pd.DataFrame:
    """Return slope, interval, p and lack of fit by group; groups with fewer than three waves on a base are left out."""
    keys = sample.keys
    groups = keys.groupby("group", sort=False).indices if "group" in keys else {None: np.arange(len(keys))}
    rows = []
    for name, cells in groups.items():
        cells = cells[(sample.n[cells] > 0) & ~hidden[cells]]
        if len(cells) < 3:
            continue
        times, unit = times_of(keys["wave"].iloc[cells])
        _, slope, error, chi2 = known_variance_trend(
            vector.centre[cells], vector.covariance[np.ix_(cells, cells)], times
        )
        half = stats.t.ppf((1 + confidence) / 2, vector.df) * error
        p = 2 * stats.t.sf(abs(slope / error), vector.df)
        rows.append(
            {
                **({} if name is None else {"group": name}),
                "term": f"trend, points {unit}",
                "estimate": 100 * slope,
                "std_error": 100 * error,
                "conf_low": 100 * (slope - half),
                "conf_high": 100 * (slope + half),
                "p_value": p,
                "lack_of_fit": stats.chi2.sf(chi2, len(cells) - 2),
                "n": int(sample.n[cells].sum()),
            }
        )
    columns = ["term", "estimate", "std_error", "conf_low", "conf_high", "p_value", "lack_of_fit", "n"]
    return pd.DataFrame(rows, columns=(["group"] if "group" in keys else []) + columns)
