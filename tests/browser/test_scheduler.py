"""Jupyter's own scheduler, in the server that JupyterLab talks to, executes a notebook of the project unchanged."""

import json
import shutil
import urllib.request
from pathlib import Path

import nbformat
from waiting import PATIENCE, wait_for

ROOT = Path(__file__).resolve().parents[2]


def asked(lab, path: str, content=None) -> dict:
    """Send a request to the server's scheduler; return its answer."""
    data = None if content is None else json.dumps(content).encode()
    headers = {"Authorization": f"token {lab.token}", "Content-Type": "application/json"}
    request = urllib.request.Request(f"{lab.url}/scheduler/{path}", data=data, headers=headers)
    with urllib.request.urlopen(request, timeout=PATIENCE) as answer:
        return json.loads(answer.read())


def test_a_job_of_jupyters_scheduler_executes_a_notebook_with_the_study_as_its_parameter(jupyterlab):
    for part in ("data", "notebooks"):
        shutil.copytree(ROOT / part, jupyterlab.folder / "scheduled" / part)
    (environment,) = asked(jupyterlab, "runtime_environments")
    study = jupyterlab.folder / "scheduled" / "data" / "example" / "study.yml"
    job = {
        "name": "effort",
        "input_uri": "scheduled/notebooks/effort.ipynb",
        "runtime_environment_name": environment["name"],
        "output_formats": ["ipynb"],
        "parameters": {"study": repr(str(study)), "confidence": 0.9},  # written into the cell as they stand
    }
    number = asked(jupyterlab, "jobs", job)["job_id"]

    def ended():
        job = asked(jupyterlab, f"jobs/{number}")
        return job if job["status"] in ("COMPLETED", "FAILED") else None

    found = wait_for(ended, "the job ends")
    assert found["status"] == "COMPLETED", found["status_message"]
    staged = jupyterlab.folder.parent / "jupyter_data_dir" / "scheduler_staging_area" / number
    (executed,) = staged.glob("effort-*.ipynb")
    notebook = nbformat.read(executed, as_version=4)
    said = [
        o.data["text/markdown"]
        for c in notebook.cells
        for o in c.get("outputs", [])
        if "text/markdown" in o.get("data", {})
    ]
    assert "90\u00a0% interval" in said[0]
    assert "reports/runs/interactive/effort.json" in found["packaged_files"]
