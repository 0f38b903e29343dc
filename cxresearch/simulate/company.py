"""A simulated company: six tables as they would arrive, and the truth behind them."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

import numpy as np
import pandas as pd

from cxresearch.errors import DataProblem
from cxresearch.simulate import contacts as desk
from cxresearch.simulate import money, people, survey
from cxresearch.simulate.survey import SATISFACTION_MEAN, counted_recommend
from cxresearch.simulate.truth import QUARTERS, WORLD, Truth, planted_values
from cxresearch.simulate.verbatims import marked

EXAMPLE_SEED = 2029  # of the company in data/example
ERASED = 5  # people who answered and whom customers.csv no longer holds
REPEATED = 3  # responses delivered twice
BLANK_WORDS = 4  # ratings of the products that read "Blank"
SHOUTED = 6  # contacts whose channel is written in capitals
MIN_CUSTOMERS = 200
# A stream each; new ones at the end, so that what the others draw stays as it is.
STREAMS = ("people", "units", "bought", "contacts", "survey", "field", "revenue", "spent", "dirt", "journeys", "programme",
           "loop", "voice", "since", "steps", "units_asked", "marks")  # fmt: skip
PROFIT_MEAN, PROFIT_NOISE = 100.0, 5.0  # thousands a branch and quarter


@dataclass(frozen=True, repr=False, eq=False)
class Company:
    """What `simulate_company` returns.

    Attributes
    ----------
    tables
        Name -> DataFrame: responses, customers, transactions, interactions, employees, costs, each exactly as
        written to its file, dirty cells included.
    truth
        What was planted: `Truth`.
    """

    tables: Mapping[str, pd.DataFrame]
    truth: Truth

    def write(self, folder) -> None:
        """Write each table to ``<folder>/<name>.csv`` (UTF-8, comma, newline ends); `folder` is made if absent."""
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        for name, table in self.tables.items():
            table.to_csv(folder / f"{name}.csv", index=False, lineterminator="\n", encoding="utf-8")

    def __repr__(self) -> str:
        return "simulated company: " + ", ".join(f"{len(table):,} {name}" for name, table in self.tables.items())


def simulate_company(*, seed: int, n_customers: int = 2000, waves: int = 4, truth: Mapping | None = None) -> Company:
    """Simulate Kestrel & Finch, a home and garden retailer with 40 branches and a web shop, for 2024 and 2025.

    Parameters
    ----------
    seed : int
        Same seed, same tables. Each part draws from a stream of its own, so that replacing a planted value leaves
        the chance in the other parts as it was.
    n_customers : int
        Rows of the customers table, at least 200.
    waves : int
        How many of the quarterly surveys took place, 1-4; the last is always that of 2024Q4.
    truth : mapping, optional
        Planted values to replace, by name: numbers (``{"revenue_per_point": 0.0}``) or parts of a group
        (``{"driver_weights": {"delivery": 0}}``). All stand in ``world.toml``, what each means and its unit in
        ``data/README.md``; ``company.truth.planted`` holds those that were used.

    Returns
    -------
    Company

    Raises
    ------
    DataProblem
        If an argument is out of range, or `truth` holds an unknown key or an impossible value.

    Notes
    -----
    Affluence raises both recommend and revenue: without it, a regression of revenue on recommend finds about 1.6
    times the planted `revenue_per_point`. Halo raises all ratings and satisfaction: in a regression, every driver
    takes a part of it, even the magazine, whose weight is zero.

    Examples
    --------
    >>> import cxresearch as cx
    >>> company = cx.simulate_company(seed=1, n_customers=300)
    >>> sorted(company.tables)
    ['costs', 'customers', 'employees', 'interactions', 'responses', 'transactions']
    """
    planted = planted_values(truth)
    _require_whole("seed", seed, 0, None)
    _require_whole("n_customers", n_customers, MIN_CUSTOMERS, None)
    _require_whole("waves", waves, 1, len(QUARTERS))
    streams = dict(zip(STREAMS, np.random.default_rng(seed).spawn(len(STREAMS))))
    everyone = people.invent_people(n_customers + ERASED, planted=planted, rng=streams["people"])
    branches = people.measure_engagement(planted=planted, rng=streams["units"])
    agents = desk.invent_agents(planted=planted, rng=streams["units"])
    bought = money.purchases_2024(everyone, planted=planted, rng=streams["bought"])
    contacts = desk.invent_contacts(everyone, agents, planted=planted, rng=streams["contacts"])
    answers = survey.everybody(everyone, bought, contacts, agents, branches,
                               waves=waves, planted=planted, rng=streams["survey"])  # fmt: skip
    followed = survey.followed_up(answers, planted=planted, rng=streams["loop"])
    answers = marked(answers, planted=planted, rng=streams["marks"])
    answers = survey.lifted(answers.assign(followed_up=followed), followed, planted["followup_lift"])
    treated = desk.treated_branches(rng=streams["programme"])
    calls = desk.follow_contacts(contacts, everyone, treated, planted=planted, rng=streams["journeys"])
    calls["rating"] = desk.rate_contacts(calls, agents, planted=planted, rng=streams["journeys"])
    everyone = _with_outcomes(everyone, answers, planted=planted, rng=streams["revenue"])
    everyone["listed"] = _listed(answers, rng=streams["dirt"])
    everyone = people.with_new_customers(everyone, bought, planted=planted, rng=streams["since"])
    calls["customer_id"] = everyone["customer_id"].to_numpy()[calls["who"]]
    calls = calls[everyone["listed"].to_numpy()[calls["who"]]].reset_index(drop=True)
    answers = _with_rated_contacts(answers, calls)
    spent = money.purchases_2025(everyone, planted=planted, rng=streams["spent"])
    units = _with_profit(branches, everyone, answers, planted=planted, rng=streams["units"])
    log = desk.with_steps(calls, rng=streams["steps"])
    paid = pd.concat([bought, spent]).sort_values(["paid_at", "who"], kind="stable", ignore_index=True)
    paid["customer_id"] = everyone["customer_id"].to_numpy()[paid["who"]]
    tables = {
        "responses": survey.field_file(
            answers, everyone, planted=planted, rng=streams["field"], later=streams["voice"]
        ),
        "customers": everyone.rename(columns={"segment": "planted_segment"}).assign(spend_2025=everyone["cents"] / 100),
        "transactions": paid[everyone["listed"].to_numpy()[paid["who"]]],
        "interactions": log,
        "employees": people.ask_employees(units, planted=planted, rng=streams["units_asked"]),
        "costs": money.monthly_costs(n_customers, rng=streams["units"]),
    }
    tables["customers"] = tables["customers"][everyone["listed"]]
    people_truth = everyone.rename(columns={"counted": "counted_recommend", "expected": "expected_spend"})
    people_truth = people_truth.drop(columns=["cents", "since", "until"])
    told = calls.drop(columns=["who", "at", "note"])
    record = Truth(
        planted, people_truth, answers.drop(columns="who"), agents, units.drop(columns="profit"), told, tuple(treated)
    )
    first = log[~log["again"] & log["customer_id"].notna() & (log["channel"] == "phone")].sort_values(["at", "who"])
    tables = {name: _as_file(name, table) for name, table in tables.items()}
    return Company(MappingProxyType(_soiled(tables, first.index, rng=streams["dirt"])), record)


def _as_file(name: str, table: pd.DataFrame) -> pd.DataFrame:
    """Return the columns of a file, its days and minutes written out."""
    columns = WORLD["files"][name]
    written = {c: table[c].dt.strftime(WORLD["times"].get(c, "%Y-%m-%d")) for c in table.select_dtypes("datetime")}
    return table.assign(**written)[columns].reset_index(drop=True)


def _require_whole(name: str, value, low: int, high: int | None) -> None:
    whole = isinstance(value, (int, np.integer)) and not isinstance(value, bool)
    if not whole or value < low or (high is not None and value > high):
        bounds = f"{low} or more" if high is None else f"{low} to {high}"
        raise DataProblem(f"simulate_company: {name}={value!r} must be a whole number, {bounds}")


def _with_outcomes(everyone: pd.DataFrame, answers: pd.DataFrame, *, planted, rng) -> pd.DataFrame:
    """Add what follows from the last recommend answer: spending in 2025 and the end of the membership."""
    shape = (len(everyone), len(QUARTERS))
    given = (answers["answered"] & ~answers["recommend_skipped"]).to_numpy().reshape(shape)
    counted = counted_recommend(answers["recommend"].to_numpy().reshape(shape), given)
    group = np.select([counted <= 6, counted <= 8], ["detractor", "passive"], "promoter")
    leaves = rng.random(len(everyone)) < pd.Series(group).map(planted["churn_rates"]).to_numpy()
    day = np.datetime64("2025-04-01") + rng.integers(0, 270, size=len(everyone)).astype("timedelta64[D]")
    spend = money.revenue_2025(everyone, counted, planted=planted, rng=rng)
    until = np.where(leaves, day, np.datetime64("NaT", "D"))
    return everyone.assign(counted=counted, until=until, expected=spend["expected"], cents=spend["cents"])


def _listed(answers: pd.DataFrame, *, rng) -> np.ndarray:
    """Return who is in customers.csv: all but a few who answered and whose account was erased since."""
    ever = answers.groupby("who")["answered"].any().to_numpy()
    if ever.sum() < ERASED:
        raise DataProblem(
            f"simulate_company: only {ever.sum()} people answered, {ERASED} are needed; "
            "raise n_customers, segment_response or sampling_fractions"
        )
    listed = np.ones(len(ever), dtype=bool)
    listed[rng.choice(np.flatnonzero(ever), size=ERASED, replace=False)] = False
    return listed


def _with_profit(branches, everyone, answers, *, planted, rng) -> pd.DataFrame:
    """Add each branch and quarter's mean satisfaction of all its customers, answered or not, and its profit."""
    branch = everyone["branch"].to_numpy()[answers["who"]]
    means = answers.groupby([branch, answers["wave"]])["satisfaction"].mean()
    here = means.reindex(pd.MultiIndex.from_frame(branches[["branch", "quarter"]])).to_numpy()
    here = np.where(np.isnan(here), SATISFACTION_MEAN, here)  # a branch nobody belongs to
    profit = PROFIT_MEAN + planted["profit_per_satisfaction"] * (here - SATISFACTION_MEAN)
    profit = np.round(profit + PROFIT_NOISE * rng.standard_normal(len(here)), 1)
    return branches.assign(satisfaction=here, profit=profit)


def _with_rated_contacts(answers: pd.DataFrame, calls: pd.DataFrame) -> pd.DataFrame:
    """Add the last contact before each answer and its rating; none where there was no contact."""
    place = desk.rated_contact(answers, calls)
    had = pd.Series(place >= 0, index=answers.index)
    told = calls.iloc[place.clip(0)].reset_index(drop=True)
    return answers.assign(contact_id=told["contact_id"].where(had, None), contact_rating=told["rating"].where(had))


def _soiled(tables: dict[str, pd.DataFrame], calls: pd.Index, *, rng) -> dict[str, pd.DataFrame]:
    """Plant the dirty cells that data/README.md lists; `calls` are the first contacts by phone."""
    responses = tables["responses"].copy()
    said = responses.index[responses["products"].notna()]
    responses.loc[rng.choice(said, size=min(BLANK_WORDS, len(said)), replace=False), "products"] = "Blank"
    again = responses.iloc[np.sort(rng.choice(len(responses), size=REPEATED, replace=False))]
    responses = pd.concat([responses, again], ignore_index=True)
    contacts = tables["interactions"].copy()
    contacts.loc[rng.choice(calls, size=min(SHOUTED, len(calls)), replace=False), "channel"] = "PHONE"
    return tables | {"responses": responses.rename(columns={"recommend": "recommend  "}), "interactions": contacts}
