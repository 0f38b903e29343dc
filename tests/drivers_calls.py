"""What the tests of drivers share: the public calls with what a survey knows among their options."""

from functools import wraps

from cxresearch import drivers
from cxresearch.survey import as_survey
from cxresearch.survey.survey import SURVEY_FIELDS


def asked(name: str):
    """Return the public function `name`, which takes the keywords of `as_survey` beside its own."""
    call = getattr(drivers, name)
    keys = [key for key in SURVEY_FIELDS if name != "scale_reliability" or key != "scales"]

    @wraps(call)
    def ask(table, **options):
        known = {key: options.pop(key) for key in keys if key in options}
        return call(as_survey(table, **known) if known else table, **options)

    return ask
