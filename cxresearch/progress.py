"""A bar on long steps, for somebody who waits in a JupyterLab that `cxresearch lab` opened: a report must not hold one."""

import importlib
import os
import sys

WANTED = "CXRESEARCH_PROGRESS"


def progress(steps, *, what: str, total: int | None = None):
    """Return the steps, `total` of them, behind a bar named `what` that goes away at the end, if somebody waits."""
    if not os.environ.get(WANTED):
        return steps
    # Chosen here: `tqdm.auto` silences its warning for all threads at once, and not always in time for this one.
    module = "tqdm.notebook" if "ipykernel" in sys.modules else "tqdm"
    return importlib.import_module(module).tqdm(steps, desc=what, total=total, leave=False, delay=0.5)
