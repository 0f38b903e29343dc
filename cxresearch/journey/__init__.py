"""Where customers lose their way: what is measured, which way they go, which moments count, what a hand-off costs."""

from cxresearch.journey.moments import channel_consistency, moments_of_truth
from cxresearch.journey.paths import journey_coverage, journey_paths
from cxresearch.journey.resolve import handoff_penalty, repeat_contacts, time_to_resolve

__all__ = ["channel_consistency", "handoff_penalty", "journey_coverage", "journey_paths", "moments_of_truth"]
__all__ += ["repeat_contacts", "time_to_resolve"]
