"""What is planted in a simulated company (``world.toml``), and the record of it."""

import math
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.resources import files
from types import MappingProxyType

import pandas as pd

from cxresearch.errors import DataProblem, nearest

WORLD = tomllib.loads(files(__package__).joinpath("world.toml").read_text(encoding="utf-8"))
PLANTED: Mapping[str, object] = MappingProxyType(
    WORLD["planted"]
)  # name -> number, or part -> number; `truth=` replaces
QUARTERS = ("2024Q1", "2024Q2", "2024Q3", "2024Q4")
DROP_WAVE = "2024Q3"
DRIVERS, SEGMENTS, REGIONS = (tuple(PLANTED[k]) for k in ("driver_weights", "segment_shares", "sampling_fractions"))


@dataclass(frozen=True, eq=False)
class Truth:
    """What was planted, by name (``truth["revenue_per_point"]``), and what nobody in the field can see.

    Attributes
    ----------
    planted
        Name -> number, or name -> {segment, region, driver or answer group: number}; units in ``data/README.md``.
    customers
        One row a person: `segment`, `affluence`, `counted_recommend` (the answer that counts for revenue),
        `expected_spend` (money in 2025), `listed` (False: answered, but is missing from customers.csv).
    answers
        One row a person and quarter: `invited`, `answered`, every answer given or not (NaN: never met the touchpoint),
        topic and tone of the comment, what disturbs it, and whether they were `followed_up`.
    agents, branches
        The shift of each agent's support ratings; by branch and quarter engagement, the staff ratings' shift and the
        mean satisfaction of all customers.
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
    values = dict(PLANTED)
    for key, value in (overrides or {}).items():
        _require_known(key, PLANTED, "truth")
        if not isinstance(usual := PLANTED[key], Mapping):
            values[key] = _checked_number(key, key, value)
            continue
        if not isinstance(value, Mapping):
            part, number = next(iter(usual.items()))
            raise DataProblem(f"truth: {key}={value!r} must name its parts, for example {{{part!r}: {number}}}")
        for part in value:
            _require_known(part, usual, f"truth: {key}")
        values[key] = usual | {part: _checked_number(key, f"{key}[{part!r}]", v) for part, v in value.items()}
    total = sum(values["segment_shares"].values())
    if abs(total - 1) > 1e-6:
        raise DataProblem(f"truth: segment_shares sum to {total:g}; they must sum to 1")
    return MappingProxyType(values)


def _checked_number(key: str, name: str, value) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
        raise DataProblem(f"truth: {name}={value!r} is not a finite number")
    low, high = WORLD["ranges"].get(key, (-math.inf, math.inf))
    if not low <= value <= high:
        raise DataProblem(f"truth: {name}={value!r} must lie between {low:g} and {high:g}")
    return value


def _require_known(key, known, where: str) -> None:
    if key not in known:
        raise DataProblem(f"{where} has no key {key!r}{nearest(key, known) or '; known: ' + ', '.join(known)}")
