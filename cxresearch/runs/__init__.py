"""Runs: plan, execute, record, render. `make.plan_run` checks; `make.make_run` carries out what it returned."""
