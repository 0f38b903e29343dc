"""What customers say, in Polish, Russian and English, and what it goes with."""

from cxresearch.voice.impact import closed_loop, topic_impact  # noqa: F401
from cxresearch.voice.tone import distinctive_words, free_topics, tone_of_texts  # noqa: F401
from cxresearch.voice.topics import coding_agreement, coding_sheet, tag_topics  # noqa: F401
