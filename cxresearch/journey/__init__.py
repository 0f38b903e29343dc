"""Where customers lose their way: what is measured, which way they go, which moments count, what a hand-off costs."""

# ruff: noqa: F401
from cxresearch.journey.contacts import handoff_penalty, repeat_contacts, time_to_resolve
from cxresearch.journey.touchpoints import channel_consistency, journey_coverage, journey_paths, moments_of_truth
