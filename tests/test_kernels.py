"""The same findings to six digits whatever kernels of linear algebra and of elementary functions the processor gets.

A processor's kernels are chosen by the environment of the process, so that several can be tried on one machine. The
normal run tries a sample; ``-m soak`` every kernel, all notebooks with their texts and pictures, and the oracle tests.
"""

import base64
import io
import json
import os
import platform
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from conftest import ROOT

from cxresearch.runs.compare import alike

REPORT = ROOT / "reports" / "example"
# Decoded pixels of a picture: a line that moves by a last digit may be drawn over the neighbouring pixel.
MOST_PIXELS, SHADES = 0.005, 16 / 255
ORACLES = (
    "test_drivers_oracles.py",
    "test_drivers_outcomes.py",
    "test_loyalty.py",
    "test_metrics.py",
    "test_inference.py",
)
OLD = {"GLIBC_TUNABLES": "glibc.cpu.hwcaps=-FMA,-AVX2,-AVX512F"}


def plain_numpy() -> dict[str, str]:
    """Return the setting that leaves numpy its baseline: everything it would choose for this processor is off."""
    from numpy._core._multiarray_umath import __cpu_dispatch__, __cpu_features__

    return {"NPY_DISABLE_CPU_FEATURES": " ".join(f for f in __cpu_dispatch__ if __cpu_features__.get(f))}


KERNELS = {
    "Prescott": {"OPENBLAS_CORETYPE": "Prescott", **OLD, **plain_numpy()},
    "Nehalem": {"OPENBLAS_CORETYPE": "Nehalem", **OLD},
    "Sandybridge": {"OPENBLAS_CORETYPE": "Sandybridge"},
    "Haswell": {"OPENBLAS_CORETYPE": "Haswell", "OPENBLAS_NUM_THREADS": "2"},
    "SkylakeX": {"OPENBLAS_CORETYPE": "SkylakeX"},
}
ARCHITECTURE = (
    "import numpy, threadpoolctl; "
    "print(*{i['architecture'] for i in threadpoolctl.threadpool_info() if i['internal_api'] == 'openblas'})"
)


def environment(kernel: str) -> dict[str, str]:
    """Return the environment of a process with a kernel; on a machine that has no such kernel, with two threads."""
    plain = {**os.environ, "OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}
    if platform.machine() in ("x86_64", "AMD64") and platform.libc_ver()[0] == "glibc":
        given = plain | KERNELS[kernel]
        shown = subprocess.run([sys.executable, "-c", ARCHITECTURE], env=given, capture_output=True, text=True)
        if kernel in shown.stdout.replace("Katmai", "Prescott").split():  # as OpenBLAS calls its oldest kernel
            return given
    return plain | {"OPENBLAS_NUM_THREADS": "2"}


def executed(kernel: str, folder, *notebooks: str):
    """Execute notebooks of the example study under a kernel into a folder."""
    only = [word for name in notebooks for word in ("--only", name)]
    words = [sys.executable, "-m", "cxresearch", "run", "data/example/study.yml", "--out", str(folder), *only]
    done = subprocess.run([*words, "--reproducible"], cwd=ROOT, env=environment(kernel), capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-1500:] + done.stderr[-1500:]
    return folder


def differing(folder, notebooks) -> list[str]:
    """Return the files of findings that are not those of the committed report to six digits, or not there."""
    committed = [p for name in notebooks for p in sorted((REPORT / "findings" / name).iterdir())]
    made = {p: folder / p.relative_to(REPORT) for p in committed}
    assert len(committed) > len(notebooks)
    return [p.name for p, q in made.items() if not q.is_file() or not alike(p.name, p.read_bytes(), q.read_bytes())]


def outputs(path) -> list[dict]:
    """Return what a notebook's cells put out, each as type -> content."""
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    found = [o for c in cells for o in c.get("outputs", ())]
    return [o["data"] if "data" in o else {o["name"]: o["text"]} for o in found]


def unlike(before: dict, after: dict) -> list[str]:
    """Return the types of an output that differ: text in any letter, a picture in more than a few pixels."""
    if before.keys() != after.keys():
        return ["types"]
    same = {"image/png": same_picture}
    pairs = {kind: (_joined(before[kind]), _joined(after[kind])) for kind in before}
    return [kind for kind, pair in pairs.items() if not same.get(kind, str.__eq__)(*pair)]


def _joined(content) -> str:
    return (
        "".join(content) if isinstance(content, list) else content if isinstance(content, str) else json.dumps(content)
    )


def same_picture(before: str, after: str) -> bool:
    from matplotlib.image import imread

    a, b = (imread(io.BytesIO(base64.b64decode(text)), format="png") for text in (before, after))
    return a.shape == b.shape and np.mean((np.abs(a - b) > SHADES).any(axis=-1)) <= MOST_PIXELS


@pytest.mark.parametrize("kernel, notebook", [("Prescott", "drivers"), ("Haswell", "scorecard")])
def test_a_sample_of_the_report_has_the_same_findings_and_outputs_under_another_kernel(kernel, notebook, tmp_path):
    folder = executed(kernel, tmp_path / "run", notebook)
    assert differing(folder, [notebook]) == []
    pairs = list(zip(outputs(REPORT / f"{notebook}.ipynb"), outputs(folder / f"{notebook}.ipynb"), strict=True))
    assert len(pairs) > 3 and [unlike(*pair) for pair in pairs if unlike(*pair)] == []


@pytest.mark.soak
@pytest.mark.parametrize("kernel", KERNELS)
def test_the_whole_report_has_the_same_findings_texts_and_pictures_under_every_kernel(kernel, tmp_path):
    notebooks = [p.stem for p in sorted(REPORT.glob("*.ipynb"))]
    folder = executed(kernel, tmp_path / "run")
    assert differing(folder, notebooks) == []
    for name in notebooks:
        pairs = zip(outputs(REPORT / f"{name}.ipynb"), outputs(folder / f"{name}.ipynb"), strict=True)
        assert [unlike(*pair) for pair in pairs if unlike(*pair)] == [], name


@pytest.mark.soak
@pytest.mark.parametrize("kernel", KERNELS)
def test_published_values_are_met_under_every_kernel(kernel):
    files = [f"tests/{name}" for name in ORACLES]
    words = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-p", "no:xdist", "-q", "-m", "not soak", *files]
    done = subprocess.run(words, cwd=ROOT, env=environment(kernel), capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-3000:]


def interpreter(version: str) -> str | None:
    """Return the path of another Python, where there is one."""
    kept = sorted(Path.home().glob(f".pyenv/versions/{version}.*/bin/python{version}"))
    return str(kept[-1]) if kept else shutil.which(f"python{version}")


@pytest.mark.soak
@pytest.mark.parametrize("version", ["3.11", "3.12", "3.13"])
def test_the_report_is_the_same_under_another_python(version, tmp_path):
    if (python := interpreter(version)) is None:
        pytest.skip(f"there is no Python {version}")
    make = ["make", f"PYTHON={python}", f"VENV={tmp_path / 'venv'}"]
    for words in ([*make, "run"], [tmp_path / "venv/bin/cxresearch", "verify", "reports/example"]):
        done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]


def test_pictures_and_texts_that_differ_are_told():
    def picture(*dark) -> str:
        from matplotlib.image import imsave

        image, file = np.ones((20, 50, 3)), io.BytesIO()
        for at in dark:
            image[at] = 0
        imsave(file, image, format="png")
        return base64.b64encode(file.getvalue()).decode()

    few, many = [(0, k) for k in range(4)], [(k, 0) for k in range(9)]
    assert unlike({"image/png": picture()}, {"image/png": picture(*few)}) == []
    assert unlike({"image/png": picture()}, {"image/png": picture(*many)}) == ["image/png"]
    assert unlike({"text/plain": ["a 1.2"]}, {"text/plain": ["a 1.3"]}) == ["text/plain"]
    assert unlike({"text/plain": "a"}, {"text/html": "a"}) == ["types"]
