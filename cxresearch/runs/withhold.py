"""Withhold notebooks whose findings, beside those of the others, give away what the minimum base hides."""

import copy
import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from cxresearch.runs.execution import Outcome
from cxresearch.runs.plan import Plan
from cxresearch.runs.record import FAILED, OK

WITHHELD = "withheld, since"  # how the reason begins


def withhold(plan: Plan, outcomes: Sequence[Outcome], folder: Path) -> list[Outcome]:
    """Audit all saved tables together; return the outcomes, those to be withheld as failed and stripped of results.

    A notebook is audited with those before it. Of a withheld one its tables are removed, and its executed copy is
    replaced by one without outputs.
    """
    from cxresearch.privacy import audit_folder

    names = [o.task.name for o in outcomes if o.status == OK]
    try:
        leaks = audit_folder(folder / "findings", notebooks=names, min_base=plan.minimum_base)
        why = {name: f"it gives away a hidden number: {leak.said()}" for name, leak in leaks.items()}
    except ArithmeticError as unsolved:
        why = {name: f"what it gives away could not be computed: {unsolved}" for name in names}
    return [_withheld(o, why[o.task.name], folder) if o.task.name in why else o for o in outcomes]


def _withheld(outcome: Outcome, why: str, folder: Path) -> Outcome:
    import nbformat

    name = outcome.task.name
    notebook = copy.deepcopy(outcome.task.notebook)
    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell.outputs, cell.execution_count = [], None
    shutil.rmtree(folder / "findings" / name, ignore_errors=True)
    nbformat.write(notebook, folder / f"{name}.ipynb")
    return replace(outcome, status=FAILED, reason=f"{WITHHELD} {why}", notebook=notebook)
