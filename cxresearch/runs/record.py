"""run.json: what was run, on what, with what, and what became of it. True on failure, too; no path of a machine."""

import hashlib
import importlib.metadata
import json
import os
import platform
import re
import socket
import subprocess
from functools import cache
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, Field, ValidationError

import cxresearch
from cxresearch.errors import StudyProblem

RECORD, INDEX, GUIDE, LOG, SIGN_OFFS = "run.json", "index.html", "README.md", "log.jsonl", "sign-offs.json"
OK, FAILED, SKIPPED = "ok", "failed", "skipped"
FORMAT, BATCH = "cxresearch run 1", "cxresearch batch 1"  # mark a folder as ours
PACKAGES = "duckdb ipykernel matplotlib numpy pandas papermill pyarrow scikit-learn scipy seaborn statsmodels".split()


class NotebookEntry(BaseModel):
    """What became of one notebook, with the reason in one line unless all is well; `failed_cell` counts from 1.

    `findings` are name -> id, `withheld` are name -> reason of those that the reports of a batch would give something
    away together with. Not written: the notebook as `executed`, and the class of the `error` that the failing cell raised.
    """

    name: str
    title: str = ""
    path: str = ""
    sha256: str = ""
    status: str = OK
    reason: str | None = None
    failed_cell: int | None = None
    traceback: list[str] = []
    parameters: dict[str, Any] = {}
    headline: str | None = None
    findings: dict[str, str] = {}
    failed_checks: int = 0
    withheld: dict[str, str] = {}
    seconds: float | None = None
    executed: Any = Field(None, exclude=True, repr=False)
    error: str | None = Field(None, exclude=True)

    def count(self, folder: Path) -> None:
        """Set what the findings tell that lie in the folder of the run."""
        found = read_findings(folder, self.name, self.headline)
        self.findings = {f["name"]: f["id"] for f in found}
        self.failed_checks = sum(not check["ok"] for f in found for check in f["checks"])


class ReportEntry(BaseModel):
    """What became of one report of a batch: its folder, or None."""

    report: str
    values: dict[str, str] = {}
    folder: str | None = None
    unchanged: bool = False
    status: str = OK
    reason: str | None = None
    headline: str | None = None
    seconds: float | None = None
    finished: str | None = None
    digest: str | None = None
    moved: str | None = None


class Record(BaseModel):
    """The content of run.json; what is not set is not written.

    A run has `notebooks`, a batch has `reports`. `digest` is of all that it follows from, `files` are the digests of
    what it consists of (of a report in a batch, its record), `moved` is told against an earlier run. `only` says that
    it is not the whole report.
    """

    format: Literal["cxresearch run 1", "cxresearch batch 1"] = FORMAT
    status: str = OK
    exit_status: int = 0
    title: str = ""
    study: str = ""
    report: str | None = None
    only: list[str] = []
    each: list[str] = []
    digest: str | None = None
    started: str | None = None
    finished: str | None = None
    seconds: float | None = None
    git_commit: str | None = None
    git_changed: bool = False
    versions: dict[str, str] = {}
    inputs: dict[str, str] = {}
    queries: dict[str, str] = {}
    privacy: list[str] = []
    targets: dict[str, float] = {}
    notebooks: list[NotebookEntry] = []
    reports: list[ReportEntry] = []
    moved: list[str] = []
    files: dict[str, str] = {}

    @classmethod
    def read(cls, run) -> tuple[Path, "Record"]:
        """Return the folder and the record of a run or batch, named by its folder or a file in it; refuse another."""
        place = Path(run).parent if Path(run).is_file() else Path(run)
        try:
            return place, cls.model_validate_json((place / RECORD).read_bytes())
        except OSError:
            why = f"{run} is not the folder of a run: it has no {RECORD}"
        except ValidationError as problem:
            where = ".".join(map(str, problem.errors()[0]["loc"])) or "content"
            why = f"{place / RECORD} is not the record of a run of this format ({FORMAT}): see its {where}"
        raise StudyProblem(why)

    @classmethod
    def of(cls, folder: Path) -> "Record | None":
        """Return the record of a folder, None where it is no run."""
        try:
            return cls.read(folder)[1]
        except StudyProblem:
            return None

    def runs(self, folder: Path) -> "list[tuple[str, Path, Record]]":
        """Return label, folder and record of each report in a batch; of a run itself, without a label."""
        made = [(r.report, folder / r.folder) for r in self.reports if r.folder]
        return [(label, *Record.read(place)) for label, place in made] if self.format == BATCH else [("", folder, self)]

    def write_log(self, folder: Path) -> None:
        """Write the line of each report; what moved since the last batch stands in the record."""
        lines = [report.model_dump_json(exclude_unset=True, exclude={"moved"}) + "\n" for report in self.reports]
        (folder / LOG).write_text("".join(lines), encoding="utf-8")

    def told(self) -> dict:
        """Return what is set, as it is written."""
        return self.model_dump(exclude_unset=True)

    def write(self, folder: Path) -> None:
        (folder / RECORD).write_text(json.dumps(self.told(), indent=1, ensure_ascii=False) + "\n", encoding="utf-8")

    @property
    def everything_read(self) -> dict[str, str]:
        """Digests of the files, and of the queries, by name."""
        return self.inputs | {f"query of tables.{t}": digest for t, digest in self.queries.items()}

    @property
    def became(self) -> dict:
        """Status and reason by those of the notebooks, or reports."""
        entries = [(n.name, n) for n in self.notebooks] + [(r.report, r) for r in self.reports]
        status = next((s for s in (FAILED, OK) if any(e.status == s for _, e in entries)), SKIPPED)
        reasons = [f"{name}: {e.reason}" for name, e in entries if e.status == status and e.reason]
        return {"status": status, "reason": "; ".join(reasons) or None}


def moment(text: str) -> str:
    """Return ``2026-11-21T22:46:05+00:00`` as ``2026-11-21 22:46 UTC``."""
    return f"{text[:10]} {text[11:16]} UTC"


def commit(folder: Path) -> dict:
    """Return the commit of a project and whether its files are others; None where there is no git, repository or commit."""
    words = ["git", "-C", str(folder), "status", "--porcelain=v2", "--branch", "--untracked-files=no"]
    try:
        told = subprocess.run(words, capture_output=True, text=True, timeout=20).stdout.splitlines()
    except (OSError, subprocess.TimeoutExpired):
        told = []
    head = next((line.split()[2] for line in told if line.startswith("# branch.oid")), "(initial)")
    changed = any(not line.startswith("#") for line in told)
    return {"git_commit": None if head == "(initial)" else head, "git_changed": changed}


@cache
def versions() -> dict[str, str]:
    """Return the versions of Python, of this package and of what the numbers and pages come from."""
    found = {name: importlib.metadata.version(name) for name in PACKAGES}
    return {"python": platform.python_version(), "cxresearch": cxresearch.__version__, **found}


def sha256(path: Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def hidden(path: Path) -> Path:
    """Return a name beside `path` that no other process has: a dot, its name, this host and process."""
    host = re.sub(r"[^\w.-]", "_", socket.gethostname())
    return path.with_name(f".{path.name}-{host}-{os.getpid()}-{os.urandom(3).hex()}")


def read_findings(folder: Path, notebook: str, headline: str | None) -> list[dict]:
    """Return the records that a notebook of the run in `folder` saved with `cx.save`, the headline first."""
    files = sorted((folder / "findings" / notebook).glob("*.json"))
    records = [{"name": path.stem, **json.loads(path.read_text(encoding="utf-8"))} for path in files]
    return sorted(records, key=lambda r: r["name"] != headline)
