"""The door: a first `study.yml` from files that nobody has described, and the page that says what a study holds."""

from cxresearch.intake.check import check_study
from cxresearch.intake.new import new_study
from cxresearch.intake.page import render

__all__ = ["check_study", "new_study", "render"]
