"""Execute a run again from its record, and hold every file of findings against the one it left.

On one processor the bytes are the same; on another, which computes last digits differently, numbers to six digits.
"""

import tempfile
from dataclasses import dataclass, replace
from pathlib import Path

from cxresearch.errors import StudyProblem
from cxresearch.runs.alike import alike
from cxresearch.runs.compare import CHANGED, Change, changes, read_run
from cxresearch.runs.make import make_run
from cxresearch.runs.parameters import STUDY
from cxresearch.runs.plan import Plan, plan_run
from cxresearch.runs.record import everything_read, input_digests, sha256, versions


@dataclass(frozen=True)
class Verified:
    """What came of executing a run again.

    Attributes
    ----------
    same
        Files of findings that are byte-identical.
    close
        Files whose text is the same and whose numbers are to six digits: another processor, the same findings.
    different
        Files that say something else, or that only one of the two has, each with what is the matter.
    versions
        Versions that are not those of the run: where tables differ, the first place to look.
    """

    same: tuple[str, ...]
    close: tuple[str, ...]
    different: tuple[str, ...]
    versions: tuple[Change, ...]

    @property
    def identical(self) -> bool:
        """Whether every byte is the same."""
        return not self.close and not self.different

    @property
    def repeated(self) -> bool:
        """Whether nothing differs within six digits."""
        return not self.different


def verify_run(folder, *, notebooks=None, timeout=600.0, jobs=None, tell=None) -> Verified:
    """Execute the notebooks of a run with the parameters of its record and compare what they save.

    Parameters
    ----------
    folder : path
        Of the run, or a file in it.
    notebooks : path, optional
        Folder of the notebooks; without it, ``notebooks/`` here or in the nearest parent folder.
    timeout, jobs, tell
        As for `make_run`.

    Raises
    ------
    StudyProblem
        If there is no run, or an input or a notebook is not what it was: then the run cannot be repeated.
    """
    place, record = read_run(folder)
    plan = _plan_again(place, record, notebooks)
    with tempfile.TemporaryDirectory(prefix="cxr-verify-") as beside:
        again = make_run(plan, Path(beside, "run"), timeout=timeout, jobs=jobs, tell=tell)
        was, now = _findings(place), _findings(again.folder)
    found = changes(was, now)
    close = tuple(c.what for c in found if c.kind == CHANGED and alike(c.what, c.before, c.after))
    different = tuple(f"{c.what}: {_word(c)}" for c in found if c.what not in close)
    same = tuple(sorted(f for f in was if was[f] == now.get(f)))
    return Verified(same, close, different, changes(record["versions"], versions()))


def _plan_again(place: Path, record: dict, notebooks) -> Plan:
    study = place / record["study"]
    entries = {entry["name"]: entry for entry in record["notebooks"]}
    plan = plan_run(study, only=list(entries), notebooks=notebooks)
    now = {"inputs": input_digests(plan), "queries": plan.queries}
    changed = [c.what for c in changes(everything_read(record), everything_read(now))]
    changed += [t.path.name for t in plan.tasks if sha256(t.path) != entries[t.name]["sha256"]]
    if changed:
        raise StudyProblem(
            f"{place} cannot be repeated: {', '.join(changed)} changed since it was made; "
            "put the earlier state back, or make a new run and compare the two"
        )
    return replace(plan, report=record["report"], tasks=tuple(_as_recorded(t, entries[t.name]) for t in plan.tasks))


def _as_recorded(task, entry: dict):
    recorded = {name: value for name, value in entry["parameters"].items() if name != STUDY}
    given = {name: value for name, value in recorded.items() if value != task.parameters[name]}
    return replace(task, given=given, parameters=recorded)


def _findings(folder: Path) -> dict[str, bytes]:
    """Return the content of every file of findings, by path."""
    home = folder / "findings"
    return {p.relative_to(home).as_posix(): p.read_bytes() for p in sorted(home.rglob("*")) if p.is_file()}


def _word(change: Change) -> str:
    return {"new": "only in the repetition", "gone": "not in the repetition", "changed": "not the same to six digits"}[
        change.kind
    ]
