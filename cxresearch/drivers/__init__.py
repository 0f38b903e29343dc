"""Drivers of an outcome: divide explained variance among them, say how sure that is, and what to do about them."""

from cxresearch.drivers import sentences  # noqa: F401  (names the columns)
from cxresearch.drivers.actions import importance_performance, penalty_reward, simulate_improvement  # noqa: F401
from cxresearch.drivers.compare import compare_drivers  # noqa: F401
from cxresearch.drivers.importance import driver_importance, halo_check  # noqa: F401
from cxresearch.drivers.reliability import scale_reliability  # noqa: F401
