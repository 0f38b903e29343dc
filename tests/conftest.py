"""What the tests share: where the project and the published data lie."""

import os
import shutil
from contextlib import nullcontext
from pathlib import Path

import pytest

# Small matrices are faster on one thread, and last digits then do not depend on the machine's load.
for name in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(name, "1")
os.environ.setdefault("MPLBACKEND", "agg")

ROOT = Path(__file__).resolve().parents[1]
SHARED = ROOT.parent / "shared"
NO_SHARED = "the published surveys and reference numbers are not beside the project"
# Any of these programs -> Debian packages, and what is skipped without it.
PROGRAMS = {
    "chromium chromium-browser google-chrome": (
        "chromium fonts-dejavu-core",
        "the tests of pages in a browser are skipped",
    ),
    "pdftotext": ("poppler-utils", "the tests of pages on paper and of the deck are skipped"),
    "soffice": ("libreoffice-impress", "the test that opens the deck in it is skipped"),
    "crontab": ("cron", "the tests of crontab lines are skipped"),
    "systemd-analyze": ("systemd", "the tests of systemd timers are skipped"),
    "initdb /usr/lib/postgresql/*/bin/initdb": ("postgresql", "the tests on a PostgreSQL server are skipped"),
}


def found_program(names: str) -> bool:
    """Whether one of some programs is on this system; a path is a pattern."""
    return any(any(Path("/").glob(n[1:])) if n.startswith("/") else shutil.which(n) for n in names.split())


def absent_programs() -> list[str]:
    """Return a line for each program of the system that tests need and that is not there."""
    return [
        f"{names.split()[0]} is absent: {skipped}; apt-get install {packages} brings it"
        for names, (packages, skipped) in PROGRAMS.items()
        if not found_program(names)
    ]


def pytest_report_header() -> list[str]:
    return absent_programs() + ([] if SHARED.is_dir() else [f"{NO_SHARED}: the tests on them are skipped"])


def require_program(name: str) -> None:
    """Skip a test whose program is absent, in the words of the header."""
    said = next((line for line in absent_programs() if line.startswith(f"{name} ")), None)
    if said:
        pytest.skip(said)


@pytest.fixture(scope="session")
def root() -> Path:
    return ROOT


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of published data; a test that asks for it is skipped where it is absent."""
    if not SHARED.is_dir():
        pytest.skip(NO_SHARED)
    return SHARED


@pytest.fixture(scope="session")
def pool():
    """A real pool for all that is executed in this process: to warm one takes seconds."""
    from cxresearch.runs.make import Pool

    with Pool(2) as forks:
        yield forks


@pytest.fixture
def warm(pool, monkeypatch):
    """Commands and runs that would warm a pool of their own use that one."""
    monkeypatch.setattr("cxresearch.runs.make.Pool", lambda jobs=None: nullcontext(pool))


@pytest.fixture(scope="session")
def oracles(shared) -> Path:
    return shared / "oracles"
