"""Segments of customers: real ones, or none."""

from cxresearch.segments.counts import SegmentCounts, compare_segment_counts
from cxresearch.segments.migration import SegmentMigration, segment_migration
from cxresearch.segments.outcomes import SegmentOutcomes, compare_segments
from cxresearch.segments.partition import segment_customers
from cxresearch.segments.profile import SegmentProfile, profile_segments
from cxresearch.segments.rfm import rfm_cells
from cxresearch.segments.segmentation import Segmentation
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
    "rfm_cells",
    "segment_customers",
    "segment_migration",
    "typing_tool",
]
