"""Runs: plan, execute, record, render. `plan_run` checks; `make_run` carries out what `plan_run` returned.

Names are imported when first used: the process that is forked for each notebook needs none of them.
"""

import importlib

_HOME = {"Run": "make", "make_run": "make", "Plan": "plan", "Task": "plan", "plan_run": "plan", "Pool": "execution"}
__all__ = sorted(_HOME)


def __getattr__(name: str):
    if name not in _HOME:
        raise AttributeError(f"module 'cxresearch.runs' has no attribute {name!r}")
    return getattr(importlib.import_module(f"cxresearch.runs.{_HOME[name]}"), name)
