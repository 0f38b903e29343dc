"""run.json: what was run, on what, with what, and what became of it. True on failure, too; no path of a machine."""

import hashlib
import importlib.metadata
import json
import os
import platform
import subprocess
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import cxresearch
from cxresearch.runs.execute import FAILED, FORKED, KERNEL, OK, Outcome, study_from
from cxresearch.runs.folder import FORMAT, RECORD
from cxresearch.runs.page import title_of
from cxresearch.runs.parameters import STUDY
from cxresearch.runs.plan import Plan

PACKAGES = "duckdb ipykernel matplotlib numpy pandas papermill pyarrow scikit-learn scipy seaborn statsmodels".split()


@dataclass(frozen=True)
class Clock:
    """When a run took place; None stands for a run that must come out the same every time."""

    started: datetime
    finished: datetime

    @property
    def seconds(self) -> float:
        return round((self.finished - self.started).total_seconds(), 2)


def now() -> datetime:
    return datetime.now(UTC)


def read_findings(folder: Path, outcome: Outcome) -> list[dict]:
    """Return the records that a notebook saved with `cx.save`, the headline first."""
    files = sorted((folder / "findings" / outcome.task.name).glob("*.json"))
    records = [{"name": path.stem, **json.loads(path.read_text(encoding="utf-8"))} for path in files]
    return sorted(records, key=lambda r: r["name"] != outcome.task.headline)


def failed_checks(findings: list[dict]) -> list[dict]:
    """Return every check that does not hold, with the name of its finding."""
    return [{"finding": f["name"], **check} for f in findings for check in f["checks"] if not check["ok"]]


def build_record(plan: Plan, outcomes: list[Outcome], folder: Path, clock: Clock | None) -> dict:
    """Return the content of run.json.

    Parameters
    ----------
    plan, outcomes
        What was to be done and what became of it, in reading order.
    folder
        The run's folder.
    clock
        None leaves out clocks, seconds and the git commit, so that the same run gives the same bytes.
    """
    failed = any(o.status == FAILED for o in outcomes)
    return {
        "format": FORMAT,
        "status": FAILED if failed else OK,
        "exit_status": int(failed),
        "title": plan.title,
        "study": study_from(folder, plan.study),
        "report": plan.report,
        **({"digest": plan.digest} if plan.digest and clock else {}),
        **(_timed(plan, clock) if clock else {}),
        **(_execution(outcomes) if clock else {}),
        "versions": versions(),
        "inputs": input_digests(plan),
        **({"queries": dict(plan.queries)} if plan.queries else {}),
        **({"privacy": list(plan.privacy)} if plan.privacy else {}),
        "notebooks": [_notebook(plan, o, folder, clock) for o in outcomes],
    }


def write_record(record: dict, folder: Path) -> None:
    text = json.dumps(record, indent=1, ensure_ascii=False, allow_nan=False)
    (folder / RECORD).write_text(text + "\n", encoding="utf-8")


def _timed(plan: Plan, clock: Clock) -> dict:
    return {
        "started": clock.started.isoformat(timespec="seconds"),
        "finished": clock.finished.isoformat(timespec="seconds"),
        "seconds": clock.seconds,
        "git_commit": git(plan.project, "rev-parse", "HEAD"),
        "git_changed": bool(git(plan.project, "status", "--porcelain", "--untracked-files=no")),
    }


def _execution(outcomes: list[Outcome]) -> dict:
    """Return in what kind of process the notebooks ran, and why in kernels if any did."""
    kinds = {o.execution for o in outcomes if o.execution}
    why = sorted({o.why_kernel for o in outcomes if o.why_kernel})
    return {"execution": KERNEL if KERNEL in kinds else FORKED, "why_kernel": "; ".join(why) or None} if kinds else {}


def git(folder: Path, *words: str) -> str | None:
    """Return what a git command prints in `folder`, or None where there is no git, no repository or no commit."""
    try:
        done = subprocess.run(["git", "-C", str(folder), *words], capture_output=True, text=True, timeout=20)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() or None if done.returncode == 0 else None


def versions() -> dict[str, str]:
    """Return the versions of Python, of this package and of what the numbers and pages come from."""
    return {
        "python": platform.python_version(),
        "cxresearch": cxresearch.__version__,
        **{name: importlib.metadata.version(name) for name in PACKAGES},
    }


def sha256(path: Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def input_digests(plan: Plan) -> dict[str, str]:
    """Return the digest of the study and of each of its files, by path relative to the study's folder."""
    if plan.inputs is not None:
        return dict(plan.inputs)
    home = plan.study.parent
    files = sorted({plan.file, *(Path(f).resolve() for f in plan.files)})
    return {Path(os.path.relpath(f, home)).as_posix(): sha256(f) for f in files}


def everything_read(record: dict) -> dict[str, str]:
    """Return the digests of a record's files, and of its queries, by name."""
    return record["inputs"] | {f"query of tables.{t}": digest for t, digest in record.get("queries", {}).items()}


def _notebook(plan: Plan, outcome: Outcome, folder: Path, clock: Clock | None) -> dict:
    task = outcome.task
    findings = read_findings(folder, outcome)
    cell = outcome.failure.cell if outcome.failure else None
    return {
        "name": task.name,
        "title": title_of(task.notebook) or task.name,
        "path": Path(os.path.relpath(task.path, plan.project)).as_posix(),
        "sha256": sha256(task.path),
        "status": outcome.status,
        "reason": outcome.reason,
        "failed_cell": None if cell is None else cell + 1,
        **({"traceback": list(outcome.failure.traceback)} if outcome.failure and outcome.failure.traceback else {}),
        "parameters": {STUDY: study_from(folder, plan.study), **task.parameters},
        "headline": task.headline,
        "findings": {f["name"]: f["id"] for f in findings},
        "failed_checks": len(failed_checks(findings)),
        **({"seconds": round(outcome.seconds, 2)} if clock else {}),
    }
