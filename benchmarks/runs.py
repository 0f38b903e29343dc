"""Reports a minute: the runner against papermill and nbconvert as a shell loop, papermill in one process, and the limit.

Run: ``python -m benchmarks.runs`` on an idle machine (six minutes; papermill, whose loops are
linear, takes 12 of the 24 parameter sets, with ``--quick`` 3, and is scaled up). The last line is JSON:

- ``cli_loop_ratio``: 24 reports of a light notebook as ``papermill`` + ``nbconvert --to html`` from a shell, by ours with
  its pages, start and warm-up included; at least 12.
- ``one_process_ratio``: the same by papermill in one process, without HTML, by ours with it; at least 4.
- ``provisioner_ratio``: papermill in one process with ordinary kernels, by the same with warm ones; at least 3.
- ``limit_ratio``: all notebooks of the project, ours (warm, pages included) by the same cells as plain Python in as many
  warm processes, values formatted and figures drawn; at most 1.3.
- ``killed_known_seconds``: from SIGKILL of a notebook's process until its failure is known; at most 0.5.
- ``growth_mb``: of the runner and the process it forks, from the 50th to the 200th report.
"""

import argparse
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
LIGHT = "effort"
SETS = [round(0.76 + 0.01 * i, 2) for i in range(24)]  # values of the notebook's `confidence`
WORKERS = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
OURS = "from benchmarks.runs import make_reports; make_reports(__import__('sys').argv[1])"
ONE_PROCESS = """
import sys, papermill
for value in sys.argv[2:]:
    papermill.execute_notebook(sys.argv[1], f"one-{value}.ipynb", {"confidence": float(value)}, progress_bar=False)
"""
PLAIN = "from benchmarks.runs import plain_cells; plain_cells(__import__('sys').argv[1:])"


def make_reports(folder) -> None:
    """Make a report with pages for each parameter set, in one pool; planned once."""
    from cxresearch.runs.make import Pool, make_run, plan_run

    folder = Path(folder)
    with Pool(WORKERS) as pool:
        plan = plan_run(folder / "data" / "example" / "study.yml", only=[LIGHT], notebooks=folder / "notebooks")

        def make(value):
            (task,) = plan.tasks
            given = {"confidence": value}
            task = replace(task, given=given, parameters=task.parameters | given)
            made = make_run(replace(plan, tasks=(task,)), folder / "reports" / "runs" / str(value), pool=pool)
            assert made.whole, made.record.notebooks[0].reason

        with ThreadPoolExecutor(WORKERS) as threads:
            list(threads.map(make, SETS))


def plain_cells(paths) -> None:
    """Wait for a line, then execute the cells of notebooks in this process, as a script that shows what it finds."""
    import builtins

    import IPython.display
    import nbformat

    from cxresearch.runs.warm import import_all

    import_all()
    shown = IPython.core.formatters.DisplayFormatter()
    notebooks = {Path(p): nbformat.read(p, as_version=4) for p in paths}
    builtins.display = IPython.display.display = lambda *values: [shown.format(v) for v in values]
    print("ready", flush=True)
    for line in sys.stdin:
        path = Path(line.strip())
        os.chdir(path.parent)
        _execute(notebooks[path], shown)
        print("done", flush=True)


def _execute(notebook, shown) -> None:
    import ast
    import io

    import matplotlib.pyplot as plt

    names = {"__name__": "__main__"}
    for cell in (c for c in notebook.cells if c.cell_type == "code"):
        tree = ast.parse(cell.source)
        last = tree.body.pop() if tree.body and isinstance(tree.body[-1], ast.Expr) else None
        exec(compile(tree, "cell", "exec"), names)
        if last is not None:
            value = eval(compile(ast.Expression(last.value), "cell", "eval"), names)
            if value is not None:
                shown.format(value)
        for number in plt.get_fignums():
            plt.figure(number).savefig(io.BytesIO(), format="png", bbox_inches="tight")
        plt.close("all")


def seconds_of(*words, cwd, **environment) -> float:
    began = time.monotonic()
    subprocess.run(words, cwd=cwd, env={**os.environ, **environment}, check=True, capture_output=True)
    return time.monotonic() - began


def cli_loop(folder: Path, values) -> float:
    """Return the seconds of papermill and nbconvert, started from a shell for each report."""
    place, commands = folder / "notebooks", Path(sys.executable).parent
    seconds = 0.0
    for value in values:
        out = f"loop-{value}.ipynb"
        seconds += seconds_of(commands / "papermill", f"{LIGHT}.ipynb", out, "-p", "confidence", str(value), cwd=place)
        seconds += seconds_of(commands / "jupyter", "nbconvert", "--to", "html", "--log-level", "ERROR", out, cwd=place)
    return seconds * len(SETS) / len(values)


def one_process(folder: Path, values, provisioner: str = "local-provisioner") -> float:
    """Return the seconds of papermill called for each report in one process."""
    words = [sys.executable, "-c", ONE_PROCESS, f"{LIGHT}.ipynb", *map(str, values)]
    seconds = seconds_of(*words, cwd=folder / "notebooks", JUPYTER_DEFAULT_PROVISIONER_NAME=provisioner)
    return seconds * len(SETS) / len(values)


def plain(paths) -> float:
    """Return the seconds in which warm processes execute the cells of all notebooks, the longest first."""
    words = [sys.executable, "-c", PLAIN, *map(str, paths)]
    one = {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1", "PYDEVD_DISABLE_FILE_VALIDATION": "1"}
    environment = {**os.environ, **one, "MPLBACKEND": "agg", "CXRESEARCH_RUN": tempfile.mkdtemp()}
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    workers = [subprocess.Popen(words, cwd=ROOT, env=environment, **pipes) for _ in range(WORKERS)]
    queue = list(paths)

    def until(worker, word) -> None:  # the notebooks print, too
        while worker.stdout.readline() != f"{word}\n":
            assert worker.poll() is None, "a plain notebook failed"

    def serve(worker) -> None:
        while queue:
            print(queue.pop(0), file=worker.stdin, flush=True)
            until(worker, "done")

    for worker in workers:
        until(worker, "ready")
    began = time.monotonic()
    with ThreadPoolExecutor(WORKERS) as threads:
        list(threads.map(serve, workers))
    seconds = time.monotonic() - began
    for worker in workers:
        worker.communicate()
    return seconds


def warm_runs(folder: Path, turns: int) -> tuple[float, float, dict[str, float]]:
    """Return seconds of all notebooks in a warm pool and as plain Python (best of `turns`), and each one's seconds."""
    from cxresearch.runs.make import Pool, make_run, plan_run

    plan = plan_run(folder / "data" / "example" / "study.yml", notebooks=folder / "notebooks")
    ours, limit, each = [], [], {}
    with Pool(WORKERS) as pool:
        light = replace(plan, tasks=tuple(t for t in plan.tasks if t.name == LIGHT))
        make_run(light, folder / "reports" / "runs" / "first", pool=pool)
        for turn in range(turns):
            began = time.monotonic()
            made = make_run(plan, folder / "reports" / "runs" / f"all-{turn}", pool=pool)
            ours.append(time.monotonic() - began)
            assert made.whole, [o.reason for o in made.record.notebooks]
            each = {o.name: round(o.seconds, 2) for o in made.record.notebooks}
            limit.append(plain([t.path for t in plan.tasks]))
    return min(ours), min(limit), each


def killed(folder: Path) -> float:
    """Return the seconds from the kill of a notebook's process until its failure is known."""
    import nbformat

    from cxresearch.runs.make import Pool, plan_run

    notebook = nbformat.read(folder / "notebooks" / f"{LIGHT}.ipynb", as_version=4)
    notebook.cells = notebook.cells[:3]
    cell = "import os, time\nopen('pid', 'w').write(str(os.getpid()))\ntime.sleep(60)"
    notebook.cells.append(nbformat.v4.new_code_cell(cell))
    notebook.metadata.cxresearch.headline = None
    nbformat.write(notebook, folder / "notebooks" / "sleeps.ipynb")
    plan = plan_run(folder / "data" / "example" / "study.yml", only=["sleeps"], notebooks=folder / "notebooks")
    at, work = [], folder / "reports" / "runs" / "killed"
    work.mkdir(parents=True)

    def kill() -> None:
        while not (work / "pid").is_file() or not (work / "pid").read_text():
            time.sleep(0.01)
        at.append(time.monotonic())
        os.kill(int((work / "pid").read_text()), signal.SIGKILL)

    with Pool(1) as pool:
        thread = threading.Thread(target=kill)
        thread.start()
        outcome = pool.execute(plan.tasks[0], plan.study, work, timeout=60)
        known = time.monotonic() - at[0]
        thread.join()
    (folder / "notebooks" / "sleeps.ipynb").unlink()
    assert "died" in outcome.reason, outcome.reason
    return known


def growth(folder: Path, reports: int = 200) -> float:
    """Return the growth in MB of the runner and the process it forks, from the 50th report to the last."""
    import psutil

    from cxresearch.runs.make import Pool, make_run, plan_run

    def size() -> float:
        me = psutil.Process()
        return sum(p.memory_info().rss for p in (me, *me.children())) / 1e6

    plan = plan_run(folder / "data" / "example" / "study.yml", only=[LIGHT], notebooks=folder / "notebooks")
    with Pool(WORKERS) as pool, ThreadPoolExecutor(WORKERS) as threads:
        sizes = []
        for block in range(reports // 50):
            finals = [folder / "reports" / "runs" / f"m{block}-{i}" for i in range(50)]
            list(threads.map(lambda final: make_run(plan, final, pool=pool), finals))
            sizes.append(size())
    return sizes[-1] - sizes[0]


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--quick", action="store_true", help="3 of the 24 parameter sets for papermill, no memory")
    quick = parser.parse_args().quick
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for part in ("data", "notebooks"):
            shutil.copytree(ROOT / part, folder / part)
        values = SETS[: 3 if quick else 12]
        ours = seconds_of(sys.executable, "-c", OURS, str(folder), cwd=ROOT)
        print(f"ours {ours:.1f} s for {len(SETS)} reports with pages, {WORKERS} workers", flush=True)
        loop, single = cli_loop(folder, values), one_process(folder, values)
        warm_kernels = one_process(folder, SETS[:3] if quick else SETS, "cxresearch-warm")
        for left in (*folder.glob("notebooks/loop-*"), *folder.glob("notebooks/one-*")):
            left.unlink()
        print(f"papermill + nbconvert from a shell {loop:.1f} s; papermill in one process {single:.1f} s", flush=True)
        print(f"papermill in one process with warm kernels {warm_kernels:.1f} s", flush=True)
        warm, limit, each = warm_runs(folder, 1 if quick else 2)
        print(f"all notebooks {warm:.1f} s, plain {limit:.1f} s; each {each}", flush=True)
        result = {
            "cli_loop_ratio": round(loop / ours, 1),
            "one_process_ratio": round(single / ours, 1),
            "provisioner_ratio": round(single / warm_kernels, 2),
            "limit_ratio": round(warm / limit, 2),
            "killed_known_seconds": round(killed(folder), 3),
            **({} if quick else {"growth_mb": round(growth(folder), 1)}),
        }
    print(json.dumps(result))


if __name__ == "__main__":
    main()
