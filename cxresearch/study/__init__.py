"""`study.yml` -> six checked tables, their codebook, their roles and their waterfalls."""

from cxresearch.study.study import Study, open_study

__all__ = ["Study", "open_study"]
