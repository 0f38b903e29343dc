"""Which drivers go with the outcome: parts of explained variance with their uncertainty."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from cxresearch.drivers.assembly import further_tables, importance_checks, importance_table
from cxresearch.drivers.certainty import read_draws
from cxresearch.drivers.figures import draw_importance, draw_ranks
from cxresearch.drivers.likelihood import R2
from cxresearch.drivers.linear import LinearFit, model_test
from cxresearch.drivers.parts import METHODS
from cxresearch.drivers.question import ask, check_chance, check_options, names_of, one_thread
from cxresearch.drivers.treatments import KINDS, MISSING, NOT_APPLICABLE, compare_treatments, fit_terms
from cxresearch.findings import Finding, Shown, interval, listing, number, percent
from cxresearch.inference import kish_effective_n
from cxresearch.survey import as_survey

MODEL_WORDS = {"linear": "", "binary": "; logistic, {}", "ordered": "; cumulative logit, {}"}
PSEUDO = {"mcfadden": "a McFadden R²", "nagelkerke": "a Nagelkerke R²", "tjur": "a Tjur R²"}
INTERVALS = ("percentile", "bca")
TREATED = {"em": "em", "imputed": "imputation"}


@dataclass(frozen=True, repr=False, eq=False)
class DriverImportance(Finding):
    """How the explained variance of an outcome divides among its drivers.

    ``tidy()`` has one row per term, in the order asked: `estimate` (part of R², 0-1) with `conf_low`, `conf_high`;
    `share` (of the terms' joint R², 0-1) with `share_low`, `share_high`; `rank` with the interval of its bootstrap
    draws; Johnson's relative weight as a share; correlation and standardised coefficient; `direction`; the share
    that met the touchpoint. ``tables()`` adds ranks (probability of each), differences (all pairs, intervals that
    hold together), methods, and where they apply missing, exposure, dominance, diagnostics (Pratt, CAR) and
    coefficients (means over the models of each size, in points of the outcome a point).
    """

    tied: tuple[str, ...] = field(default=())

    @property
    def chart(self):
        return Shown("tidy", "share", "share_low", "share_high", "Share of explained variance")

    def sentence(self) -> str:
        s = self.summary
        if s["p_value"] > 1 - s["confidence"]:
            return self._not_established()
        return f"{self._together()} {self._first()}"

    def _base(self) -> str:
        effective = f", effective {number(self.summary['n_effective'], 0)}" if "n_effective" in self.summary else ""
        return f"n = {number(self.summary['n'], 0)}{effective}"

    def _explained(self, limits: bool = False) -> str:
        s = self.summary
        if s["measure"] != "R²":
            ends = f" ({interval(s['r2_low'], s['r2_high'], s['confidence'], 3)})" if limits else ""
            return f"{s['measure']} of {number(s['r2'], 3)} for {self.label(self.outcome)}{ends}"
        ends = f" ({interval(100 * s['r2_low'], 100 * s['r2_high'], s['confidence'])})" if limits else ""
        return f"{percent(s['r2'], 1)} of the variance of {self.label(self.outcome)}{ends}"

    def _not_established(self) -> str:
        s = self.summary
        return (
            f"Not established: with {self._base()} the {len(self.table)} drivers together account for "
            f"{self._explained()}, "
            f"which is no more than chance gives (p = {number(s['p_value'], 3)}); no order of the drivers "
            f"should be read from it."
        )

    def _together(self) -> str:
        return (
            f"The {len(self.table)} drivers together account for "
            f"{self._explained(limits=bool(self.summary['n_boot']))}; {self._base()}."
        )

    def _first(self) -> str:
        s, top = self.summary, self.table.loc[self.table["rank"].idxmin()]
        name, size = self.label(top["term"]), percent(top["share"], 1)
        if not s["n_boot"]:
            return f"{name} goes with the largest share of that, {size}; no interval was asked for."
        shown = f"{size} ({interval(100 * top['share_low'], 100 * top['share_high'], s['confidence'])})"
        if s["halo_p_value"] > 1 - s["confidence"]:
            return (
                f"Not established which of them matters: what all ratings have in common accounts for it (halo; "
                f"p = {number(s['halo_p_value'], 3)} "
                f"against it). {name} has the largest share, {shown}."
            )
        if len(self.tied) == len(self.table) - 1:
            return f"{name} has the largest share, {shown}, but it is a tie: no driver can be told apart from it."
        if self.tied:
            others = listing(self.label(t) for t in self.tied) if len(self.tied) <= 4 else f"{len(self.tied)} others"
            return f"{name} goes with the largest share of that, {shown}, tied with {others}."
        return f"{name} goes with the largest share of that, {shown}, ahead of every other driver."

    def plot(self, ax=None):
        return draw_importance(self, ax)

    def plot_ranks(self, ax=None):
        """Draw the probability of each rank as a heat map with its values, and return the Axes."""
        return draw_ranks(self, ax)


@one_thread
def driver_importance(
    responses,
    *,
    outcome: str,
    drivers,
    kind: str = "linear",
    r2: str = "mcfadden",
    method: str = "shapley",
    blocks: Mapping[str, list[str]] | None = None,
    always=(),
    not_applicable: str = "exposure",
    missing: str = "em",
    n_boot: int = 1000,
    interval: str = "percentile",
    confidence: float = 0.95,
    min_rows: int = 100,
    seed: int | None,
) -> DriverImportance:
    """Divide the explained variance of `outcome` among `drivers`.

    The part of a driver is its gain in R² averaged over all orders in which drivers can enter (LMG, the Shapley
    value): all 2^p subsets are computed up to 22 terms, beyond that some 4,000 sampled orders stand for all. Johnson's
    relative weights stand beside it. The parts sum to R², less what `always` explains.

    Parameters
    ----------
    responses : Survey or DataFrame, one row per response
        Ratings are numbers; text columns are categorical drivers, entered as one term of dummies.
    drivers : list of columns
        A driver with a companion column ``<driver>_met`` (False: never met the touchpoint) is by default one term of
        two columns, exposure x (rating - mean among the exposed) and exposure.
    kind : {"linear", "binary", "ordered"}
        Least squares; logistic regression of the larger of two answers; cumulative logit of 3 to 11 answers. The last
        two fit every subset of at most 14 terms by maximum likelihood and divide a pseudo-R².
    r2 : {"mcfadden", "nagelkerke", "tjur"}
        Which pseudo-R² of kinds "binary" and "ordered" (the last for "binary" only).
    method : {"shapley", "relative_weights", "first", "last"}
        Whose parts stand in `estimate`: averaged over orders, Johnson's, alone, or added last.
    blocks : dict name -> drivers, optional
        Drivers that share one part. Drivers in no block stand for themselves.
    always : list of columns
        Controls: partialled out first, in every subset.
    not_applicable : {"exposure", "exclude"}
        What a never-met touchpoint becomes; "exclude" leaves out rows that never met one of them.
    missing : {"em", "listwise", "imputed"}
        Skipped answers: maximum likelihood under joint normality (every row that answered the outcome and at least
        one driver is used; kind "linear"), complete rows only, or the mean of 20 imputations, with one imputation
        inside each replicate of the bootstrap.
    n_boot : int
        Bootstrap replicates (clusters within strata); 0 gives no interval.
    interval : {"percentile", "bca"}
    seed : int
        May be None where nothing is random: `n_boot` 0 and at most 22 terms.

    Raises
    ------
    DataProblem
        For a question or data that cannot be answered; the message names the column.
    TooFewRespondents
        Under `min_rows` rows, under `min_base`, or with no more rows than columns.

    References
    ----------
    Lindeman, Merenda & Gold (1980); Johnson (2000); Grömping (2006, 2007).

    Examples
    --------
    >>> import cxresearch as cx
    >>> study = cx.open_study("data/example/study.yml")
    >>> drivers = ["products", "staff", "delivery"]
    >>> finding = cx.driver_importance(
    ...     study.responses, outcome="satisfaction", drivers=drivers, n_boot=200, seed=1,
    ... )
    >>> finding.tidy()[["term", "share", "rank"]].round(2)
           term  share  rank
    0  products   0.31     3
    1     staff   0.32     2
    2  delivery   0.37     1
    """
    survey = as_survey(responses)
    responses = survey.table
    weight, strata, cluster, fpc = survey.design
    labels, min_base = survey.labels, survey.min_base
    check_options(
        confidence=confidence,
        kind=(kind, KINDS),
        r2=(r2, R2),
        method=(method, METHODS),
        missing=(missing, MISSING),
        not_applicable=(not_applicable, NOT_APPLICABLE),
        interval=(interval, INTERVALS),
    )
    check_chance(n_boot, seed)
    design = dict(weight=weight, strata=strata, cluster=cluster, fpc=fpc)
    terms, everyone = ask(
        responses,
        function="driver_importance",
        outcome=outcome,
        drivers=names_of(drivers),
        blocks=blocks,
        always=names_of(always),
        not_applicable=not_applicable,
        missing=missing,
        min_rows=min_rows,
        min_base=min_base,
        design=design,
    )
    options = dict(kind=kind, r2=r2, method=method, seed=seed)
    fit = fit_terms(terms, missing=missing, **options)
    p_value, df = model_test(fit.terms, fit.moments)
    read = read_draws(fit, n_boot=n_boot, seed=seed, confidence=confidence, kind=interval, df=df)
    table = importance_table(fit, read)
    further = further_tables(fit, read)
    if np.isnan(everyone.columns).any():
        further["missing"] = compare_treatments(fit, everyone, missing=missing, min_rows=min_rows, **options)
    summary = _summary(fit, read, p_value, confidence, n_boot, missing, interval, kind, r2, weighted=weight is not None)
    return DriverImportance(
        "driver_importance",
        outcome,
        None,
        table,
        summary,
        importance_checks(fit, read, table, summary, everyone, min_rows=min_rows),
        dict(labels or {}),
        further,
        tied=read.tied,
    )


def _summary(fit: LinearFit, read, p_value, confidence, n_boot, missing, interval, kind, r2, *, weighted: bool) -> dict:
    sampled = fit.residuals is None
    how = {
        "shapley": f"Shapley (LMG), {'sampled orders' if sampled else f'{len(fit.residuals)} subsets'}",
        "first": "alone",
        "last": "added last",
        "relative_weights": "relative weights (Johnson)",
    }[fit.method]
    skipped = bool(np.isnan(fit.terms.columns).any())
    return {
        "n": len(fit.terms),
        **({"n_effective": kish_effective_n(fit.terms.weights)} if weighted else {}),
        "method": how
        + MODEL_WORDS[kind].format(PSEUDO[r2][2:])
        + (f"; skipped answers by {TREATED[missing]}" if skipped else "")
        + (f"; {interval} bootstrap" if n_boot else ""),
        "measure": "R²" if kind == "linear" else PSEUDO[r2],
        "r2": fit.joint,
        "r2_low": read.r2[0],
        "r2_high": read.r2[1],
        "p_value": p_value,
        "halo_p_value": read.halo,
        "noise_floor": fit.floor[0],
        "confidence": confidence,
        "n_boot": n_boot,
    }
