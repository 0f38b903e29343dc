"""A small project in a folder, the command line run on it as a process of its own, and what is left afterwards."""

import json
import os
import subprocess
import sys
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest
from tiny import write_answer, write_notebook, write_study
from waiting import running, wait_for

from cxresearch.cli import main

ENGINES = ("forked", "kernel")
HOLD = "import pathlib, time\npathlib.Path('../holds').touch()\ntime.sleep(600)"  # the runs folder: others see it
LEAVE = """
import subprocess, sys
wait = [sys.executable, "-c", "import time; time.sleep(600)"]
started = [subprocess.Popen(wait), subprocess.Popen(wait, start_new_session=DAEMON)]
"""


@dataclass
class Scene:
    """A project with one notebook that is well, and those that a test adds."""

    folder: Path
    engine: str

    @classmethod
    def of(cls, folder: Path, engine: str, **notebooks) -> "Scene":
        write_study(folder)
        write_answer(folder / "notebooks")
        for name, cells in notebooks.items():
            write_notebook(folder / "notebooks", name, *cells)
        return cls(folder, engine)

    @property
    def shelf(self) -> Path:
        return self.folder / "reports" / "runs" / self.folder.name

    def command(self, *more: str) -> list[str]:
        return [sys.executable, "-m", "cxresearch", "run", "study.yml", *more]

    @property
    def environment(self) -> dict[str, str]:
        choice = {"CXRESEARCH_EXECUTION": self.engine} if self.engine == "kernel" else {}
        return {**os.environ, **choice}

    def run(self, *more: str, **options) -> subprocess.CompletedProcess:
        return subprocess.run(
            self.command(*more), cwd=self.folder, env=self.environment, capture_output=True, text=True, **options
        )

    def run_here(self, pool) -> None:
        """Run the project well, as the command does, in this process and the pool that it has warmed."""
        with pytest.MonkeyPatch.context() as patch:
            patch.chdir(self.folder)
            patch.setattr("cxresearch.runs.make.Pool", lambda jobs: nullcontext(pool))
            assert main(["run", "study.yml"]) == 0

    def start(self, *more: str) -> subprocess.Popen:
        """Start a run in the background and wait until its notebook `hold` is under way; it writes to `said`."""
        with open(self.folder / "said", "w", encoding="utf-8") as said:
            process = subprocess.Popen(
                self.command(*more), cwd=self.folder, env=self.environment, stdout=said, stderr=said,
                start_new_session=True,
            )  # fmt: skip
        wait_for(lambda: (self.shelf / "holds").exists() or process.poll() is not None, "the notebook holds")
        assert process.poll() is None, (self.folder / "said").read_text(encoding="utf-8")
        return process

    def runs(self) -> list[str]:
        """Return the runs on the shelf and the folders in which one is being made; locks and logs are not runs."""
        return sorted(p.name for p in self.shelf.iterdir() if p.is_dir()) if self.shelf.is_dir() else []

    def record(self, run: str = "latest") -> dict:
        return json.loads((self.shelf / run / "run.json").read_text(encoding="utf-8"))

    def processes(self) -> list[psutil.Process]:
        """Return the living processes that work in this project."""
        found = []
        for process in psutil.process_iter():
            try:
                if running(process) and process.cwd().startswith(str(self.folder)):
                    found.append(process)
            except psutil.Error:
                pass
        return found

    def assert_quiet(self) -> None:
        """No process of the project is alive; ones just killed may take a moment."""
        wait_for(lambda: not self.processes(), "no process is left")

    def assert_no_half_run(self) -> None:
        """Whatever has a name on the shelf is a whole run folder with a true record."""
        for name in self.runs():
            assert not name.startswith("."), name
            record = self.record(name)
            for notebook in record["notebooks"]:
                assert (self.shelf / name / f"{notebook['name']}.html").is_file() or notebook["status"] == "skipped"
