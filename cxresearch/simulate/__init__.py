"""Companies whose truth is known: six tables with planted segments, drivers, revenue, agents and branches."""

from cxresearch.simulate.company import Company, simulate_company
from cxresearch.simulate.truth import Truth

__all__ = ["Company", "Truth", "simulate_company"]
