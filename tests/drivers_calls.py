"""What the tests of drivers share: the public calls with what a survey knows among their options."""

from functools import wraps
from inspect import signature

from cxresearch import drivers
from cxresearch.survey import as_survey


def asked(name: str):
    """Return the public function `name`, which takes the keywords of `as_survey` beside its own."""
    call = getattr(drivers, name)
    keys = [key for key in list(signature(as_survey).parameters)[1:] if name != "scale_reliability" or key != "scales"]

    @wraps(call)
    def ask(table, **options):
        known = {key: options.pop(key) for key in keys if key in options}
        return call(as_survey(table, **known) if known else table, **options)

    return ask
