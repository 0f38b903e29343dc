"""Segments of customers: real ones, or none."""

from cxresearch.segments.evidence import SegmentCounts, compare_segment_counts  # noqa: F401
from cxresearch.segments.migration import SegmentMigration, segment_migration  # noqa: F401
from cxresearch.segments.outcomes import SegmentOutcomes, compare_segments  # noqa: F401
from cxresearch.segments.profile import SegmentProfile, profile_segments  # noqa: F401
from cxresearch.segments.segmentation import Segmentation, segment_customers  # noqa: F401
from cxresearch.segments.tool import TypingTool, assign_segments, typing_tool  # noqa: F401
