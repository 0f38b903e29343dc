"""pyproject.toml is the one source of dependencies; environment.yml, the lock and what is installed agree with it."""

import importlib.metadata
import re
import tomllib

import conftest
import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

CONDA_NAMES = {"python-duckdb": "duckdb"}  # conda-forge's name -> the package index's
BENCHMARKS_ONLY = "benchmarks"


def declared(pyproject: str) -> dict[str, Requirement]:
    project = tomllib.loads(pyproject)["project"]
    extras = {k: v for k, v in project["optional-dependencies"].items() if k != BENCHMARKS_ONLY}
    wanted = [Requirement(line) for line in [*project["dependencies"], *sum(extras.values(), [])]]
    return {canonicalize_name(r.name): r for r in wanted}


def conda(environment: str) -> dict[str, Requirement]:
    entries = yaml.safe_load(environment)["dependencies"]
    lines = [e for e in entries if isinstance(e, str) and e.split()[0] not in ("python", "pip")]
    lines += [e for block in entries if isinstance(block, dict) for e in block["pip"] if not e.startswith("-e ")]
    found = [Requirement(line) for line in lines]
    return {canonicalize_name(CONDA_NAMES.get(r.name, r.name)): r for r in found}


def locked(lock: str) -> dict[str, list[str]]:
    versions: dict[str, list[str]] = {}
    for name, version in re.findall(r"^([A-Za-z0-9._-]+)==([^\s;]+)", lock, flags=re.M):
        versions.setdefault(canonicalize_name(name), []).append(version)
    return versions


def drift(pyproject: str, environment: str, lock: str) -> list[str]:
    """Return what the three files disagree on."""
    wanted, there, pinned = declared(pyproject), conda(environment), locked(lock)
    python = tomllib.loads(pyproject)["project"]["requires-python"]
    problems = [f"environment.yml has {n}, pyproject.toml does not" for n in there.keys() - wanted.keys()]
    problems += [f"environment.yml lacks {n}" for n in wanted.keys() - there.keys()]
    problems += [
        f"{n}: pyproject.toml {wanted[n].specifier}, environment.yml {there[n].specifier}"
        for n in wanted.keys() & there.keys()
        if wanted[n].specifier != there[n].specifier
    ]
    problems += [f"the lock lacks {n}" for n in wanted.keys() - pinned.keys()]
    problems += [
        f"the lock pins {n} {v}, pyproject.toml wants {wanted[n].specifier}"
        for n in wanted.keys() & pinned.keys()
        for v in pinned[n]
        if not wanted[n].specifier.contains(v)
    ]
    if f"python {python}" not in yaml.safe_load(environment)["dependencies"]:
        problems.append(f"environment.yml does not ask for python {python}")
    return sorted(problems)


@pytest.fixture(scope="module")
def files(root) -> list[str]:
    return [(root / n).read_text(encoding="utf-8") for n in ("pyproject.toml", "environment.yml", "requirements.lock")]


def test_pyproject_environment_and_lock_agree(files):
    assert drift(*files) == []


def test_what_is_installed_meets_the_declared_bounds(files):
    versions = {n: importlib.metadata.version(n) for n in declared(files[0])}
    assert {n: v for n, v in versions.items() if not declared(files[0])[n].specifier.contains(v)} == {}


@pytest.mark.parametrize(
    ("which", "old", "new", "complaint"),
    [
        (0, '"pandas>=3.0"', '"pandas>=3.1"', "pandas: pyproject.toml >=3.1, environment.yml >=3.0"),
        (0, '"papermill>=2.7"', '"papermill>=99"', "the lock pins papermill 2.7.0, pyproject.toml wants >=99"),
        (1, "  - seaborn >=0.13.2\n", "", "environment.yml lacks seaborn"),
        (1, "  - pip\n", "  - pip\n  - polars >=1\n", "environment.yml has polars, pyproject.toml does not"),
        (1, "python >=3.11", "python >=3.10", "environment.yml does not ask for python >=3.11"),
        (2, "\nstatsmodels==", "\nother==", "the lock lacks statsmodels"),
    ],
)
def test_a_planted_drift_is_caught(files, which, old, new, complaint):
    changed = list(files)
    assert old in changed[which]
    changed[which] = changed[which].replace(old, new)
    assert complaint in drift(*changed)


def test_the_lock_names_no_address_and_no_folder(files):
    assert re.findall(r"https?://|file:|\s/\w|--index", files[2]) == []


def test_the_licences_of_the_package_hold_no_gpl_dependency(files):
    # GPL peers may be measured against (the benchmarks extra), never depended on.
    assert "pingouin" not in declared(files[0])


def test_what_the_system_lacks_is_named_with_its_package(monkeypatch):
    monkeypatch.setattr(conftest.shutil, "which", lambda name: None if name == "soffice" else f"/bin/{name}")
    assert conftest.absent_programs() == [
        "soffice is absent: the test that opens the deck in it is skipped; apt-get install libreoffice-impress brings it"
    ]
    with pytest.raises(pytest.skip.Exception, match="^soffice is absent"):
        conftest.require_program("soffice")


def test_continuous_integration_installs_what_the_tests_need():
    needed = {package for packages, _ in conftest.PROGRAMS.values() for package in packages.split()}
    script = (conftest.ROOT / ".ci/run").read_text(encoding="utf-8")
    assert {p for line in re.findall(r"wanted\+=\(([^)]*)\)", script) for p in line.split()} == needed
