"""Every fault for real: killed, too slow, out of memory, wrong, interrupted, without disk, without input.

After each: the folder, `latest`, the record, the processes and the exit status.
"""

import json
import os
import resource
import shutil
import signal
import subprocess
from contextlib import suppress

import psutil
import pytest
from scene import ENGINES, HOLD, LEAVE, Scene
from waiting import PATIENCE, descendants, wait_for_end

KILLED = 'print("alive", flush=True)\nimport os, signal\nos.kill(os.getpid(), signal.SIGKILL)'
GREEDY = "import numpy as np\nnp.ones(2**33)"  # 64 GiB, under a limit of 8
CRASHED = "import os\nos._exit(3)"
LOSES = "import os\nos.remove('../../../../answers.csv')\nimport cxresearch as cx\ncx.open_study(study).responses"
LIMIT = 8 * 2**30
MOSTLY_FORKED = ["forked", pytest.param("kernel", marks=pytest.mark.soak)]


@pytest.fixture(scope="module", params=ENGINES)
def faulty(request, tmp_path_factory, pool):
    """A first run that is whole, and a second in which every other notebook has a fault."""
    scene = Scene.of(tmp_path_factory.mktemp("faulty"), request.param)
    scene.run_here(pool)
    whole = os.readlink(scene.shelf / "latest")
    Scene.of(
        scene.folder,
        request.param,
        killed=["saved = 1", KILLED, "1"],
        greedy=[GREEDY],
        wrong=["1/0"],
        leaves=["import sys\nsys.exit(0)"],
        crashed=[CRASHED],
        litters=[LEAVE.replace("DAEMON", str(request.param == "forked"))],
        zloses=[LOSES],  # read after the others, or it would take their input
    )
    done = scene.run("--jobs", "2", preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_AS, (LIMIT, LIMIT)))
    (failed,) = set(scene.runs()) - {whole, "latest"}
    return scene, whole, failed, done


def test_each_fault_is_in_the_record_with_its_cell_and_the_others_finish(faulty):
    scene, _, failed, _ = faulty
    told = {n["name"]: (n["status"], n["reason"], n["failed_cell"]) for n in scene.record(failed)["notebooks"]}
    greedy = told.pop("greedy")
    assert greedy[0] == "failed" and "Unable to allocate 64.0 GiB" in greedy[1] and greedy[2] == 4
    loses = told.pop("zloses")
    assert loses[0] == "failed" and "answers.csv" in loses[1] and loses[2] == 4
    assert told == {
        "answer": ("ok", None, None),
        "killed": ("failed", "cell 5: the kernel died in this cell: killed, or out of memory", 5),
        "wrong": ("failed", "cell 4: ZeroDivisionError: division by zero", 4),
        "leaves": ("failed", "cell 4: left the notebook early (sys.exit); the cells after it did not run", 4),
        "crashed": ("failed", "cell 4: the kernel died in this cell: it left with exit status 3", 4),
        "litters": ("ok", None, None),
    }


def test_the_record_holds_the_traceback(faulty):
    scene, _, failed, _ = faulty
    record = scene.record(failed)
    traceback = next(n["traceback"] for n in record["notebooks"] if n["name"] == "wrong")
    assert traceback[-1] == "ZeroDivisionError: division by zero" and "----> 1 1/0" in traceback
    assert (record["status"], record["exit_status"]) == ("failed", 1)


def test_a_failed_run_leaves_latest_and_exits_with_1(faulty):
    scene, whole, failed, done = faulty
    assert done.returncode == 1 and os.readlink(scene.shelf / "latest") == whole
    assert scene.record()["status"] == "ok"
    assert scene.runs() == sorted([whole, failed, "latest"])
    scene.assert_no_half_run()


def test_no_process_outlives_a_run_not_even_what_a_notebook_left_behind(faulty):
    scene, *_ = faulty
    scene.assert_quiet()


@pytest.mark.parametrize("engine", MOSTLY_FORKED)
def test_a_cell_past_its_time_is_in_the_record_and_the_others_finish(tmp_path, engine):
    slow = "print('before')\nimport time\ntime.sleep(600)"
    scene = Scene.of(tmp_path / "study", engine, quick=["1"], slow=[slow])
    only = ("--only=quick", "--only=slow")  # the notebook that is well imports much, which may itself take that long
    done = scene.run("--timeout", "5", "--jobs", "2", *only)
    (failed,) = scene.runs()
    told = {n["name"]: (n["status"], n["reason"], n["failed_cell"]) for n in scene.record(failed)["notebooks"]}
    assert done.returncode == 1 and told == {
        "quick": ("ok", None, None),
        "slow": ("failed", "cell 4: took longer than the 5 s a cell may take (--timeout)", 4),
    }
    executed = json.loads((scene.shelf / failed / "slow.ipynb").read_text(encoding="utf-8"))
    assert executed["cells"][3]["outputs"][0]["text"] == ["before\n"]
    scene.assert_quiet()


STOPS = [
    *[(engine, number) for engine in ENGINES for number in (signal.SIGINT, signal.SIGKILL)],
    ("forked", signal.SIGTERM),
    pytest.param("kernel", signal.SIGTERM, marks=pytest.mark.soak),
]


@pytest.mark.parametrize(("engine", "number"), STOPS)
def test_a_stopped_run_leaves_no_process_and_nothing_that_looks_whole(tmp_path, pool, engine, number):
    scene = Scene.of(tmp_path / "study", engine, hold=[LEAVE.replace("DAEMON", "False"), HOLD])
    process = scene.start("--jobs", "2")
    assert len(scene.processes()) >= (4 if engine == "forked" else 3)  # runner, (zygote,) notebook, what it started
    kernels = descendants(process.pid, naming="ipykernel")
    os.killpg(process.pid, number) if number == signal.SIGINT else process.send_signal(number)
    process.wait(PATIENCE)
    if number == signal.SIGKILL:
        assert process.returncode == -signal.SIGKILL
        if engine == "kernel":  # ipykernel looks for its parent once a second, and what it started is not its to end
            wait_for_end(kernels, "the kernel misses its parent")
            for left in scene.processes():
                with suppress(psutil.NoSuchProcess):
                    left.kill()
        scene.assert_quiet()
        assert all(name.startswith(".") for name in scene.runs())
        shutil.rmtree(scene.folder / "notebooks")
        Scene.of(scene.folder, engine)
        scene.run_here(pool)
        scene.assert_no_half_run()
    else:
        said = (scene.folder / "said").read_text(encoding="utf-8")
        assert process.returncode == 130 and "interrupted; nothing was kept of this run" in said
        assert "Traceback" not in said
        assert scene.runs() == []
        scene.assert_quiet()


FULL = """
mount -t tmpfs -o size=24m tmpfs "$1" && cp -r "$2"/. "$1" && cd "$1" || exit 99
shift 2
"$@" >"$KEEP/said"
status=$?
rm -f filling
cp -r . "$KEEP"
cat "$KEEP/said"
exit $status
"""
FILL = """
with open("../../../../filling", "wb", buffering=0) as file:
    try:
        while True:
            file.write(bytes(4096))
    except OSError as full:
        print(full.strerror)
"""


# What an open file without a name takes is free again when its process ends.
TAKE = """
import os, pathlib, time
keep = pathlib.Path(os.environ["KEEP"])
file = open("taken", "wb", buffering=0)
os.remove("taken")
def take():
    while True:
        file.write(bytes(4096))
"""
TAKES_AND_HOLDS = """
try:
    take()
except OSError:
    (keep / "full").touch()
while "vends" not in (keep / "said").read_text():  # the command tells of a notebook when it has been stored, or not
    time.sleep(0.05)
"""
ENDS_MEANWHILE = """
import os, pathlib, time
keep = pathlib.Path(os.environ["KEEP"])
while not (keep / "full").exists():
    time.sleep(0.05)
"""


def on_a_small_disk(scene, place, keep, *more: str) -> subprocess.CompletedProcess:
    """Run the project on a disk of 24 MB, mounted where only this command sees it."""
    place.mkdir()
    keep.mkdir()
    options = ["-m"] if os.geteuid() == 0 else ["-rm"]
    words = ["unshare", *options, "sh", "-c", FULL, "sh", str(place), str(scene.folder), *scene.command(*more)]
    environment = {**scene.environment, "KEEP": str(keep), "PYTHONUNBUFFERED": "1"}
    done = subprocess.run(words, env=environment, capture_output=True, text=True)
    assert done.returncode != 99, done.stderr
    return done


@pytest.mark.parametrize("engine", MOSTLY_FORKED)
def test_a_full_disk_leaves_nothing_that_looks_whole(tmp_path, engine):
    scene = Scene.of(tmp_path / "study", engine, zfills=[FILL])
    keep = tmp_path / "kept"
    done = on_a_small_disk(scene, tmp_path / "disk", keep)
    assert done.returncode == 2 and "No space left on device" in done.stderr, (done.stdout, done.stderr)
    kept = Scene(keep, engine)
    shelf = keep / "reports" / "runs" / "disk"
    left = sorted(p.name for p in shelf.iterdir()) if shelf.is_dir() else []
    assert [n for n in left if not n.startswith(".") or n.startswith(".disk")] == []
    kept.assert_quiet()


@pytest.mark.parametrize("engine", MOSTLY_FORKED)
def test_a_disk_that_is_full_for_a_while_fails_the_notebooks_that_meet_it_and_the_others_finish(tmp_path, engine):
    scene = Scene.of(
        tmp_path / "study", engine, takes=[TAKE, "take()"], uholds=[TAKE, TAKES_AND_HOLDS], vends=[ENDS_MEANWHILE]
    )
    only = [f"--only={name}" for name in ("takes", "answer")]
    done = on_a_small_disk(scene, tmp_path / "disk", tmp_path / "one", "--jobs", "1", *only)
    assert done.returncode == 1, done.stderr
    record = json.loads((tmp_path / "one" / done.stdout.splitlines()[-1]).with_name("run.json").read_text())
    assert {n["name"]: (n["status"], n["reason"], n["failed_cell"]) for n in record["notebooks"]} == {
        "answer": ("ok", None, None),
        "takes": ("failed", "cell 5: OSError: [Errno 28] No space left on device", 5),
    }
    only = [f"--only={name}" for name in ("uholds", "vends")]
    done = on_a_small_disk(scene, tmp_path / "disk2", tmp_path / "two", "--jobs", "2", *only)
    assert done.returncode == 1, done.stderr
    record = json.loads((tmp_path / "two" / done.stdout.splitlines()[-1]).with_name("run.json").read_text())
    assert {n["name"]: (n["status"], n["reason"], n["failed_cell"]) for n in record["notebooks"]} == {
        "uholds": ("ok", None, None),
        "vends": ("failed", "its executed notebook cannot be stored: No space left on device", None),
    }
