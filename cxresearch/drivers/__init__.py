"""Drivers of an outcome: divide explained variance among them, say how sure that is, and what to do about them."""

from cxresearch.drivers import sentences  # noqa: F401  (names the columns)
from cxresearch.drivers.actions import (
    ImportancePerformance,
    PenaltyReward,
    SimulatedImprovement,
    importance_performance,
    penalty_reward,
    simulate_improvement,
)
from cxresearch.drivers.compare import DriverComparison, compare_drivers
from cxresearch.drivers.importance import DriverImportance, HaloCheck, driver_importance, halo_check
from cxresearch.drivers.reliability import ScaleReliability, scale_reliability

__all__ = [
    "DriverComparison",
    "DriverImportance",
    "HaloCheck",
    "ImportancePerformance",
    "PenaltyReward",
    "ScaleReliability",
    "SimulatedImprovement",
    "compare_drivers",
    "driver_importance",
    "halo_check",
    "importance_performance",
    "penalty_reward",
    "scale_reliability",
    "simulate_improvement",
]
