"""The command `lab`: JupyterLab on the notebooks, with the study set."""

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from cxresearch.progress import WANTED

KERNEL = {
    "argv": [sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}"],
    "display_name": "CX research",
    "language": "python",
    "metadata": {"debugger": True},
}
NO_NEWS = {"@jupyterlab/apputils-extension:notification": {"fetchNews": "false", "checkForUpdates": False}}


def add_lab(commands) -> None:
    lab = commands.add_parser(
        "lab",
        help="open JupyterLab on the notebooks",
        description="Open JupyterLab on the notebooks. With a study, on copies of them in a folder 'notebooks' beside it, "
        "with its path in their parameters cell; copies that are there already are kept as they are.",
    )
    lab.add_argument("study", metavar="STUDY", nargs="?", help="path of study.yml; default: the notebooks as they are")
    lab.add_argument("--notebooks", metavar="DIR", help="folder of the notebooks; default: notebooks/ here or above")
    lab.add_argument(
        "--port", metavar="N", type=int, help="port on this machine; default: the first free one from 8888"
    )
    lab.add_argument("--no-browser", action="store_true", help="print the address, open no browser")
    lab.set_defaults(command=_lab)


def _lab(given) -> int:
    from cxresearch.runs.lab import notebooks_for

    folder = notebooks_for(given.study, notebooks=given.notebooks)
    words = [sys.executable, "-m", "jupyterlab", f"--ServerApp.root_dir={folder.parent}"]
    words += [f"--LabApp.default_url=/lab/tree/{folder.name}", *(["--no-browser"] if given.no_browser else [])]
    words += [f"--port={given.port}"] if given.port else []
    words += ["--allow-root"] if hasattr(os, "geteuid") and os.geteuid() == 0 else []  # in a container one often is
    with tempfile.TemporaryDirectory(prefix="cxr-lab-") as place:
        try:
            return subprocess.run(words, env=_environment(Path(place))).returncode
        except KeyboardInterrupt:  # JupyterLab got it, too, and has ended
            return 0


def _environment(place: Path) -> dict[str, str]:
    """Return the environment with the kernel's name and without news, kept in `place`: nothing of the user's changes."""
    for path, content in (
        ("data/kernels/python3/kernel.json", KERNEL),  # the name that the notebooks ask for
        ("config/labconfig/default_setting_overrides.json", NO_NEWS),
    ):
        file = place / path
        file.parent.mkdir(parents=True)
        file.write_text(json.dumps(content), encoding="utf-8")

    def first(variable: str, folder: str) -> str:
        return os.pathsep.join(filter(None, [str(place / folder), os.environ.get(variable)]))

    paths = {
        "JUPYTER_PATH": first("JUPYTER_PATH", "data"),
        "JUPYTER_CONFIG_PATH": first("JUPYTER_CONFIG_PATH", "config"),
    }
    return {**os.environ, **paths, WANTED: "1", "OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}
