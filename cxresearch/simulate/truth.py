"""What is planted in a simulated company, and the record of it."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

import pandas as pd

from cxresearch.errors import DataProblem, nearest

QUARTERS = ("2024Q1", "2024Q2", "2024Q3", "2024Q4")

# One name, one planted number (or one number a segment, region, driver or answer group). `truth=` replaces them.
PLANTED: Mapping[str, object] = MappingProxyType(
    {
        # behaviour in 2024, by segment
        "segment_shares": {"digital": 0.28, "rare": 0.24, "bargain": 0.26, "fading": 0.22},
        "segment_purchases": {"digital": 12.0, "rare": 3.0, "bargain": 8.0, "fading": 4.0},
        "segment_basket": {"digital": 17.0, "rare": 240.0, "bargain": 55.0, "fading": 30.0},
        "segment_web": {"digital": 0.85, "rare": 0.1, "bargain": 0.45, "fading": 0.15},
        "segment_returns": {"digital": 0.01, "rare": 0.01, "bargain": 0.45, "fading": 0.01},
        "segment_discounted": {"digital": 0.15, "rare": 0.1, "bargain": 0.75, "fading": 0.2},
        "segment_contacts": {"digital": 0.5, "rare": 0.3, "bargain": 0.8, "fading": 0.3},
        "segment_age": {"digital": -0.6, "rare": 0.5, "bargain": 0.0, "fading": 0.3},
        # revenue in 2025
        "segment_spend": {"digital": 110.0, "rare": 150.0, "bargain": 120.0, "fading": 60.0},
        "revenue_per_point": math.log(1.05),
        "revenue_per_affluence": 0.25,
        "zero_share": 0.3,
        "gamma_shape": 1.2,
        "churn_rates": {"detractor": 0.16, "passive": 0.07, "promoter": 0.04},
        # who answers
        "segment_response": {"digital": 0.42, "rare": 0.3, "bargain": 0.36, "fading": 0.18},
        "sampling_fractions": {"North": 0.7, "South": 0.9, "East": 1.0, "Coast": 1.0},
        "skipped_share": 0.02,
        "comment_share": 0.4,
        # what they answer
        "driver_weights": {"products": 0.2, "prices": 0.12, "magazine": 0.0, "staff": 0.25, "website": 0.09, "delivery": 0.3,
                           "returns_service": 0.05, "support": 0.16},
        "halo_loading": 0.5,
        "halo_on_satisfaction": 0.3,
        "block_loading": 0.4,
        "region_shift": {"North": -0.25, "South": 0.0, "East": 0.25, "Coast": 0.5},
        "delivery_drop": 1.0,
        "agent_sd": 0.5,
        "resolved_lift": 0.8,
        "recommend_per_satisfaction": 1.6,
        "recommend_per_affluence": 0.7,
        # employee -> customer -> profit, by branch and quarter
        "staff_per_engagement": 1.0,
        "profit_per_satisfaction": 40.0,
        "reverse_profit_on_engagement": 0.0,
        "employee_sd": 0.7,
        # journeys: contacts, cases, hand-offs
        "channel_shift": {"phone": 0.0, "email": -0.2, "chat": 0.0, "shop": 0.3},
        "switch_on_rating": -0.5,
        "complaint_on_rating": -1.0,
        "complaint_share": {"first": 0.15, "second": 0.6},
        "repeat_if_unresolved": 0.35,
        "repeat_if_resolved": 0.06,
        "hard_share": 0.3,
        "hard_hours_ratio": 2.5,
        "handoff_share": 0.5,
        "handoff_hours_ratio": 1.0,
        "programme_wait_ratio": 0.8,
        "wait_trend": -0.01,
        "agent_drift": 2.0,
        "new_share": 0.12,
        # what is written, and what follows from it
        "neutral_share": 0.15,
        "misspelt_share": 0.08,
        "contact_data_share": 0.02,
        "followup_share": 0.6,
        "followup_days": 3.0,
        "followup_lift": 0.0,
        # what is said of loyalty
        "problem_share": 0.25,
        "forgive_base": 0.35,
        "forgive_ratio": 2.0,
        "prefer_share": 0.7,
        "switch_said": 0.8,
        "service_over_price": 0.45,
    }
)  # fmt: skip
DRIVERS = tuple(PLANTED["driver_weights"])
SEGMENTS = tuple(PLANTED["segment_shares"])
REGIONS = tuple(PLANTED["sampling_fractions"])
DROP_WAVE = "2024Q3"

# Where a planted number makes sense; a name that is not here may be any finite number.
_RANGES = {
    **dict.fromkeys(("segment_shares", "segment_web", "segment_returns", "segment_discounted"), (0, 1)),
    **dict.fromkeys(("segment_response", "churn_rates", "skipped_share", "comment_share"), (0, 1)),
    **dict.fromkeys(("segment_purchases", "segment_contacts", "followup_days"), (0, 100)),
    **dict.fromkeys(("segment_basket", "segment_spend"), (1, 10_000)),
    **dict.fromkeys(("halo_loading", "block_loading"), (0, 0.7)),  # their squares must leave room for the driver itself
    "sampling_fractions": (0.01, 1),
    **dict.fromkeys(("revenue_per_point", "revenue_per_affluence", "wait_trend"), (-1, 1)),
    "zero_share": (0, 0.99),
    "gamma_shape": (0.1, 100),
    **dict.fromkeys(("agent_sd", "employee_sd"), (0, 5)),
    **dict.fromkeys(
        ("complaint_share", "repeat_if_unresolved", "repeat_if_resolved", "hard_share", "handoff_share"), (0, 0.9)
    ),
    **dict.fromkeys(
        ("hard_hours_ratio", "handoff_hours_ratio", "programme_wait_ratio", "agent_drift", "forgive_ratio"), (0.1, 10)
    ),
    **dict.fromkeys(("new_share", "neutral_share", "misspelt_share", "contact_data_share"), (0, 1)),
    **dict.fromkeys(("problem_share", "forgive_base", "prefer_share", "switch_said", "service_over_price"), (0, 1)),
    "followup_share": (0, 0.75),
}


@dataclass(frozen=True, eq=False)
class Truth:
    """What was planted, by name (``truth["revenue_per_point"]``), and what nobody in the field can see.

    Attributes
    ----------
    planted
        Name -> number, or name -> {segment, region, driver or answer group: number}; units in `simulate_company`.
    customers
        One row a person: `segment`, `affluence`, `counted_recommend` (the answer that counts for revenue),
        `expected_spend` (money in 2025), `listed` (False: answered, but is missing from customers.csv).
    answers
        One row a person and quarter: whether they were `invited` and `answered`, every answer that they gave or would
        have given (NaN: never met the touchpoint), the topic and tone of their comment, what disturbs it, and whether they were `followed_up`.
    agents, branches
        The planted shift of each agent's support ratings; engagement, the staff ratings' shift and the mean
        satisfaction of all customers, per branch and quarter.
    contacts
        One row a contact, repeated ones included: `hard`, `again` (repeats another), `switched` (in another channel),
        `handed_at`, and the `rating` that it would get.
    treated
        The branches where the programme runs.
    """

    planted: Mapping[str, object]
    customers: pd.DataFrame
    answers: pd.DataFrame
    agents: pd.DataFrame
    branches: pd.DataFrame
    contacts: pd.DataFrame
    treated: tuple[str, ...]

    def __getitem__(self, key: str):
        return self.planted[key]


def planted_values(overrides: Mapping | None) -> Mapping[str, object]:
    """Return the planted values with `overrides` in place; a part of a group may be replaced alone."""
    values = {key: dict(value) if isinstance(value, Mapping) else value for key, value in PLANTED.items()}
    for key, value in (overrides or {}).items():
        _require_known(key, PLANTED, "truth")
        if isinstance(PLANTED[key], Mapping):
            values[key] |= _checked_group(key, value)
        else:
            values[key] = _checked_number(key, key, value)
    total = sum(values["segment_shares"].values())
    if abs(total - 1) > 1e-6:
        raise DataProblem(f"truth: segment_shares sum to {total:g}; they must sum to 1")
    return MappingProxyType(values)


def _checked_group(key: str, value) -> dict[str, float]:
    if not isinstance(value, Mapping):
        part, usual = next(iter(PLANTED[key].items()))
        raise DataProblem(f"truth: {key}={value!r} must name its parts, for example {{{part!r}: {usual}}}")
    for part in value:
        _require_known(part, PLANTED[key], f"truth: {key}")
    return {part: _checked_number(key, f"{key}[{part!r}]", v) for part, v in value.items()}


def _checked_number(key: str, name: str, value) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
        raise DataProblem(f"truth: {name}={value!r} is not a finite number")
    low, high = _RANGES.get(key, (-math.inf, math.inf))
    if not low <= value <= high:
        raise DataProblem(f"truth: {name}={value!r} must lie between {low:g} and {high:g}")
    return value


def _require_known(key, known, where: str) -> None:
    if key not in known:
        raise DataProblem(f"{where} has no key {key!r}{nearest(key, known) or '; known: ' + ', '.join(known)}")
