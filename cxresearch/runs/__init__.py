"""Runs: plan, execute, record, render. `plan_run` checks; `make_run` carries out what `plan_run` returned."""

from cxresearch.runs.make import Made, make_run
from cxresearch.runs.plan import Plan, Task, plan_run

__all__ = ["Made", "Plan", "Task", "make_run", "plan_run"]
