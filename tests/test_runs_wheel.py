"""A wheel in a bare environment, and a study in an empty folder: that is enough for a report."""

import json
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest
from conftest import ROOT
from tiny import write_study


def test_a_built_wheel_makes_a_report_in_an_empty_folder(tmp_path):
    uv = shutil.which("uv") or str(Path(sys.executable).with_name("uv"))
    if not Path(uv).exists():
        pytest.skip("the wheel is built with uv, which is not here")
    source, bare = tmp_path / "source", tmp_path / "bare"
    shutil.copytree(ROOT / "cxresearch", source / "cxresearch", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copytree(ROOT / "notebooks", source / "notebooks")
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source / name)

    def ran(*words, **more) -> str:
        done = subprocess.run(words, capture_output=True, text=True, timeout=600, **more)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    ran(uv, "build", "-q", "--wheel", "--out-dir", str(tmp_path), str(source))
    ran(uv, "venv", "-q", "--python", sys.executable, str(bare))
    (wheel,) = tmp_path.glob("*.whl")
    ran(uv, "pip", "install", "-q", "--no-deps", "--python", str(bare / "bin/python"), str(wheel))
    site = next((bare / "lib").glob("python*/site-packages"))
    (site / "libraries.pth").write_text(sysconfig.get_path("purelib") + "\n", encoding="utf-8")  # what the wheel needs
    shutil.rmtree(source)
    study = write_study(tmp_path / "data")
    empty = tmp_path / "empty"
    empty.mkdir()
    where = ran(bare / "bin/python", "-c", "import cxresearch; print(cxresearch.__file__)", cwd=empty)
    assert where.startswith(str(bare))
    told = ran(bare / "bin/cxresearch", "run", str(study), "--only", "intake", cwd=empty).splitlines()
    assert told[0] == "notebooks: those that come with cxresearch; a folder 'notebooks' here would come first"
    assert told[-1].startswith("reports/runs/data/") and (empty / told[-1]).is_file()
    (entry,) = json.loads((empty / told[-1]).with_name("run.json").read_text(encoding="utf-8"))["notebooks"]
    assert (entry["path"], entry["status"]) == ("cxresearch/notebooks/intake.ipynb", "ok")
