"""Segments of customers: real ones, or none."""

from cxresearch.segments.evidence import SegmentCounts, compare_segment_counts
from cxresearch.segments.migration import SegmentMigration, segment_migration
from cxresearch.segments.outcomes import SegmentOutcomes, compare_segments
from cxresearch.segments.profile import SegmentProfile, profile_segments
from cxresearch.segments.segmentation import Segmentation, segment_customers
from cxresearch.segments.tool import TypingTool, assign_segments, typing_tool

__all__ = [
    "SegmentCounts",
    "SegmentMigration",
    "SegmentOutcomes",
    "SegmentProfile",
    "Segmentation",
    "TypingTool",
    "assign_segments",
    "compare_segment_counts",
    "compare_segments",
    "profile_segments",
    "segment_customers",
    "segment_migration",
    "typing_tool",
]
