"""What customers say, in Polish, Russian and English, and what it goes with."""

from cxresearch.voice.topics import closed_loop, coding_agreement, coding_sheet, distinctive_words  # noqa: F401, I001
from cxresearch.voice.topics import free_topics, tag_topics, tone_of_texts, topic_impact  # noqa: F401
