"""What the tests share: where the project and the published data lie."""

import os
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
    from cxresearch.runs import Pool

    with Pool(2, forked=True) as forks:
        yield forks


@pytest.fixture
def warm(pool, monkeypatch):
    """Commands and runs that would warm a pool of their own use that one."""
    monkeypatch.setattr("cxresearch.runs.make.Pool", lambda jobs: nullcontext(pool))
    monkeypatch.setattr("cxresearch.runs.batch.Pool", lambda jobs: nullcontext(pool))


@pytest.fixture(scope="session")
def oracles(shared) -> Path:
    return shared / "oracles"
