"""Make a run: execute the plan, keep the record, render the pages, give the folder its name."""

from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path

from cxresearch.runs.execute import FAILED, Outcome, execute_plan
from cxresearch.runs.folder import INDEX, building, require_free
from cxresearch.runs.plan import Plan
from cxresearch.runs.pool import Pool
from cxresearch.runs.record import Clock, build_record, now, write_record
from cxresearch.runs.render import write_index, write_page
from cxresearch.runs.summary import previous_run
from cxresearch.runs.withhold import withhold


@dataclass(frozen=True)
class Made:
    """A finished run.

    Attributes
    ----------
    folder, index
        Where it is.
    outcomes
        One a notebook, in reading order.
    """

    folder: Path
    outcomes: tuple[Outcome, ...]

    @property
    def index(self) -> Path:
        return self.folder / INDEX

    @property
    def whole(self) -> bool:
        return all(o.status != FAILED for o in self.outcomes)


def make_run(
    plan: Plan,
    final: Path,
    *,
    timeout=600.0,
    with_code=False,
    reproducible=False,
    jobs=None,
    tell=None,
    pool=None,
    previous=previous_run,
) -> Made:
    """Carry out a plan and return the run.

    Parameters
    ----------
    plan
        From `plan_run`.
    final
        Folder of the run. An earlier run in it is replaced if this one is whole; otherwise this one goes beside it.
    timeout
        Seconds a cell may take.
    with_code
        Show the code on the pages, which otherwise is one click away.
    reproducible
        Leave out clocks, seconds and the git commit, so that the same run gives the same bytes.
    jobs
        Notebooks at a time.
    tell
        Called with each `Outcome` as its notebook ends, and once more if it is withheld.
    pool : Pool, optional
        Where to execute; without it, one with `jobs` places is made for this run.
    previous
        Called with `final` and the record; returns the run that the index compares this one with, or None.

    Raises
    ------
    StudyProblem
        If `final` holds anything that no run wrote.
    """
    final = Path(final).resolve()
    require_free(final)
    with building(final) as place, nullcontext(pool) if pool else Pool(jobs) as pool:
        started, ended = now(), []
        for outcome in execute_plan(plan, place.work, timeout=timeout, pool=pool):
            ended.append(outcome)
            if tell:
                tell(outcome)
        executed = sorted(ended, key=lambda o: plan.tasks.index(o.task))
        outcomes = withhold(plan, executed, place.work)
        for before, outcome in zip(executed, outcomes):
            if tell and outcome is not before:
                tell(outcome)
        record = build_record(plan, outcomes, place.work, None if reproducible else Clock(started, now()))
        write_record(record, place.work)
        for outcome in outcomes:
            write_page(outcome, record, place.work, with_code=with_code)
        write_index(outcomes, record, place.work, previous=previous(final, record))
        return Made(place.publish(whole=record["exit_status"] == 0), tuple(outcomes))
