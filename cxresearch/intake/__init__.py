"""The door: a first `study.yml` from files that nobody has described, and the page that says what a study holds."""

from cxresearch.intake.check import check_study, render
from cxresearch.intake.new import new_study

__all__ = ["check_study", "new_study", "render"]
