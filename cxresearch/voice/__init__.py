"""What customers say, in Polish, Russian and English, and what it goes with."""

from cxresearch.voice.impact import closed_loop, distinctive_words, tone_of_texts, topic_impact  # noqa: F401
from cxresearch.voice.topics import coding_agreement, coding_sheet, free_topics, tag_topics  # noqa: F401
