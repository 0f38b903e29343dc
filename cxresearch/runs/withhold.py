"""Withhold notebooks whose findings, beside those of the others, give away what the minimum base hides."""

import copy
import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from cxresearch.runs.execute import FAILED, OK, Outcome
from cxresearch.runs.plan import Plan


def withhold(plan: Plan, outcomes: Sequence[Outcome], folder: Path) -> list[Outcome]:
    """Audit all saved tables together; return the outcomes, those to be withheld as failed and stripped of results.

    Parameters
    ----------
    plan
        Of the run; its minimum base is held against every base shown.
    outcomes
        In reading order: a notebook is audited with those before it.
    folder
        The run's folder. Of a withheld notebook its tables are removed, and its executed copy is replaced by one
        without outputs.
    """
    from cxresearch.privacy import audit_folder

    names = [o.task.name for o in outcomes if o.status == OK]
    leaks = audit_folder(folder / "findings", notebooks=names, min_base=plan.minimum_base)
    return [_withheld(o, leaks[o.task.name].said(), folder) if o.task.name in leaks else o for o in outcomes]


def _withheld(outcome: Outcome, why: str, folder: Path) -> Outcome:
    import nbformat

    name = outcome.task.name
    notebook = copy.deepcopy(outcome.task.notebook)
    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell.outputs, cell.execution_count = [], None
    shutil.rmtree(folder / "findings" / name, ignore_errors=True)
    nbformat.write(notebook, folder / f"{name}.ipynb")
    return replace(
        outcome, status=FAILED, reason=f"withheld, since it gives away a hidden number: {why}", notebook=notebook
    )
