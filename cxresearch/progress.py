"""A bar on long steps, for somebody who waits: in a JupyterLab that `cxresearch lab` opened, and nowhere else, because a
report must not hold a bar, and must not differ by how long a step took.
"""

import os
import sys
from collections.abc import Iterable, Iterator

WANTED = "CXRESEARCH_PROGRESS"


def progress(steps: Iterable, *, what: str, total: int | None = None) -> Iterator:
    """Yield the steps, `total` of them, behind a bar named `what` that goes away at the end, if somebody waits."""
    if not os.environ.get(WANTED):
        yield from steps
        return
    # Chosen here: `tqdm.auto` silences its warning for all threads at once, and not always in time for this one.
    if "ipykernel" in sys.modules:
        from tqdm.notebook import tqdm
    else:
        from tqdm import tqdm
    yield from tqdm(steps, desc=what, total=total, leave=False, delay=0.5)
