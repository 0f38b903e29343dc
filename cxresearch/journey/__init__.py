"""Where customers lose their way: what is measured, which way they go, which moments count, what a hand-off costs."""

from cxresearch.journey.moments import channel_consistency, moments_of_truth  # noqa: F401
from cxresearch.journey.paths import journey_coverage, journey_paths  # noqa: F401
from cxresearch.journey.resolve import handoff_penalty, repeat_contacts, time_to_resolve  # noqa: F401
