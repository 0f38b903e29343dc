"""What surrounds a run at night: alone or not, latest, retention, room, the call for help; two at once, and kills."""

import json
import os
import random
import signal
import socket
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from test_runs_batch import write_markets
from tiny import write_notebook
from waiting import PATIENCE, descendants, wait_for, wait_for_end

from cxresearch.cli import main
from cxresearch.errors import DataProblem, StudyProblem
from cxresearch.runs.folder import (
    Overlap,
    alone,
    broken_off,
    building,
    default_folder,
    held,
    is_free,
    is_whole,
    point_latest,
    prune,
    publish,
    reports_made,
    runs_on,
)
from cxresearch.runs.make import End, as_words, make_run, plan_run
from cxresearch.runs.record import BATCH, FORMAT, Record


def write_run(folder: Path, *, report=None, status="ok", finished="2026-01-01T03:00:00+00:00") -> Path:
    folder.mkdir(parents=True)
    record = {"format": FORMAT, "status": status, "report": report, "finished": finished, "notebooks": []}
    (folder / "run.json").write_text(json.dumps(record), encoding="utf-8")
    return folder


def night(k: int) -> str:
    return f"2026-01-{k:02}T03:00:00+00:00"


# --- latest, retention, room -----------------------------------------------------------------------------------------


def test_latest_names_a_run_by_a_relative_link_and_is_replaced_in_one_step(tmp_path):
    for name in ("one", "two"):
        point_latest(write_run(tmp_path / name))
        assert os.readlink(tmp_path / "latest") == name
    assert sorted(p.name for p in tmp_path.iterdir()) == ["latest", "one", "two"]


def test_where_links_cannot_be_made_latest_is_a_file(tmp_path, monkeypatch):
    def refuse(*_, **__):
        raise OSError("not permitted")

    monkeypatch.setattr(Path, "symlink_to", refuse)
    point_latest(write_run(tmp_path / "one"))
    assert (tmp_path / "latest.txt").read_text(encoding="utf-8") == "one\n"


def test_a_folder_called_latest_is_not_replaced(tmp_path):
    (tmp_path / "latest").mkdir()
    with pytest.raises(StudyProblem) as caught:
        point_latest(write_run(tmp_path / "one"))
    assert str(caught.value) == f"{tmp_path / 'latest'} is a folder; remove it, so that it can name the latest run"


def test_retention_removes_the_oldest_runs_of_the_report_and_never_the_latest_whole_one_or_a_signed_one(tmp_path):
    for k in range(1, 7):
        write_run(tmp_path / f"r{k}", report="monthly", finished=night(k), status="ok" if k <= 3 else "failed")
    write_run(tmp_path / "other", report="weekly", finished=night(1))
    (tmp_path / "r1" / "sign-offs.json").write_text("[]", encoding="utf-8")
    (tmp_path / "thesis").mkdir()
    removed = prune(tmp_path, report="monthly", keep=2)
    assert sorted(p.name for p in removed) == ["r2", "r4"]
    assert sorted(p.name for p in tmp_path.iterdir()) == ["other", "r1", "r3", "r5", "r6", "thesis"]


def test_a_folder_is_replaced_without_a_moment_in_which_there_is_none(tmp_path):
    write_run(tmp_path / "run", status="ok")
    seen, stop = set(), threading.Event()

    def look():
        while not stop.is_set():
            seen.add((tmp_path / "run" / "run.json").exists())

    watcher = threading.Thread(target=look)
    watcher.start()
    for _ in range(50):
        with building(tmp_path / "run") as work:
            record = {"format": FORMAT, "status": "ok", "notebooks": []}
            (work / "run.json").write_text(json.dumps(record), encoding="utf-8")
            publish(work, tmp_path / "run", whole=True)
    stop.set()
    watcher.join()
    assert seen == {True} and [p.name for p in tmp_path.iterdir()] == ["run"]


def test_two_starts_in_one_second_get_two_folders(tmp_path):
    final = default_folder(tmp_path)
    with building(final) as one, building(final) as other:
        assert publish(one, final, whole=True) == final
        assert publish(other, final, whole=False) == final.with_name(f"{final.name}-2")
    assert sorted(p.name for p in tmp_path.iterdir()) == [final.name, f"{final.name}-2"]


def test_a_lock_names_its_holder_and_is_closed_before_its_file_goes(tmp_path):
    with building(tmp_path / "run") as work:
        (lock,) = tmp_path.glob("*.lock")
        assert lock.name == f"{work.name}.lock" and f"-{socket.gethostname()}-{os.getpid()}-" in lock.name
        assert not is_free(lock) and lock.exists()
    assert list(tmp_path.iterdir()) == []
    order, unlink = [], Path.unlink
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Path, "unlink", lambda path, **more: order.append(lock_is_open(path)) or unlink(path, **more))
        with held(tmp_path / "lock"):
            assert lock_is_open(tmp_path / "lock")
    assert order == [False]


def lock_is_open(path: Path) -> bool:
    return str(path) in {os.path.realpath(f) for f in Path("/proc/self/fd").iterdir()}


def test_a_run_under_way_is_not_taken_for_a_broken_one(tmp_path):
    with building(tmp_path / "run") as work:
        assert broken_off(tmp_path) == []
    left = tmp_path / ".run-123-abcdef"
    left.mkdir()
    assert broken_off(tmp_path) == [left] and broken_off(tmp_path, name="other") == [] and not work.exists()


# --- alone or not ----------------------------------------------------------------------------------------------------

HOLD = """
import sys, time
from pathlib import Path
from cxresearch.runs.folder import alone
with alone(Path(sys.argv[1]), "monthly", overlap=sys.argv[2]):
    print("held", flush=True)
    time.sleep(600)
"""


@pytest.fixture
def other(tmp_path):
    """A process that holds the place of a report's run."""
    started = []

    def start(overlap: str):
        command = [sys.executable, "-c", HOLD, str(tmp_path), overlap]
        started.append(subprocess.Popen(command, stdout=subprocess.PIPE, text=True))
        assert started[-1].stdout.readline() == "held\n"
        return started[-1]

    yield start
    for process in started:
        process.kill()
        process.wait()


@pytest.mark.parametrize("overlap", ["allow", "skip"])
def test_a_start_beside_another_is_allowed_or_skipped_however_the_other_started(tmp_path, other, overlap):
    holder = other(overlap)
    with alone(tmp_path, "weekly", overlap="skip"):
        pass
    with pytest.raises(Overlap) as caught, alone(tmp_path, "monthly", overlap="skip"):
        pass
    assert str(caught.value).startswith(f"a run (process {holder.pid} on {socket.gethostname()}, since 20")
    assert str(caught.value).endswith(" UTC) is under way; this one is skipped")
    with alone(tmp_path, "monthly", overlap="allow"):
        holder.kill()
        holder.wait()
        with pytest.raises(Overlap), alone(tmp_path, "monthly", overlap="skip"):
            pass
    with alone(tmp_path, "monthly", overlap="skip"):
        pass


# --- telling fails ---------------------------------------------------------------------------------------------------


def test_a_finished_report_stays_when_its_line_cannot_be_told(project, pool):
    shelf, batch = shelf_of(project), plan_run("study.yml", each=["market"], notebooks="notebooks")

    def tell(_):
        raise OSError("the terminal is gone")

    with pytest.raises(OSError, match="the terminal is gone"):
        make_run(batch, shelf / "20260102T030000Z", pool=pool, tell=tell)
    (left,) = broken_off(shelf)
    made = [place.parent for place in left.glob("*/run.json")]
    assert made and all(is_whole(place) for place in made)


class Holds:
    """A pool whose notebooks last until they are stopped."""

    jobs = 2

    def __init__(self):
        self.ended, self.told = threading.Event(), []

    def execute(self, *_, **__):
        self.told.append(self.ended.wait(20))

    def stop(self, _):
        self.ended.set()


@pytest.mark.parametrize("started", [1, 2])
def test_a_run_broken_off_while_its_notebooks_are_being_started_stops_them(project, monkeypatch, started):
    asked = []

    class Interrupted(ThreadPoolExecutor):
        def submit(self, *job):
            asked.append(super().submit(*job))
            if len(asked) == started:
                raise KeyboardInterrupt
            return asked[-1]

    monkeypatch.setattr("cxresearch.runs.make.ThreadPoolExecutor", Interrupted)
    batch, pool = plan_run("study.yml", each=["market"], notebooks="notebooks"), Holds()
    with pytest.raises(KeyboardInterrupt):
        make_run(batch, shelf_of(project) / "20260102T030000Z", pool=pool)
    assert pool.told == [True] * started


def test_a_log_that_cannot_be_written_costs_no_run_its_place(project, warm, capsys):
    assert main(["run", "study.yml", "--log", "no/such/folder.jsonl"]) == 2
    assert "No such file or directory: 'no/such/folder.jsonl'" in capsys.readouterr().err
    assert (shelf_of(project) / "latest" / "run.json").is_file()


# --- the call for help -----------------------------------------------------------------------------------------------


def test_the_command_for_failures_finds_the_run_in_its_environment_and_no_shell_reads_it(tmp_path, capfd):
    show = "import os, sys; print(sys.argv[1], os.environ['CXRESEARCH_FAILED_RUN'], os.environ['CXRESEARCH_FAILURE'])"
    run = tmp_path / "$(touch x) ; ünï"
    words = [sys.executable, "-c", show, "$HOME; $(touch y)"]
    with End(words, tmp_path, run, "a; `b`"):
        pass
    assert capfd.readouterr() == (f"$HOME; $(touch y) {run} a; `b`\n", "") and list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("words", "trouble"),
    [
        ([sys.executable, "-c", "raise SystemExit(3)"], "ended with 3"),
        (["no-such-program"], "did not run: [Errno 2] No such file or directory: 'no-such-program'"),
    ],
)
def test_a_command_for_failures_that_fails_is_told(tmp_path, capsys, words, trouble):
    with End(words, tmp_path, None, "x"):
        pass
    assert capsys.readouterr().err == f"cxresearch: the command for failures, {words[0]}, {trouble}\n"


def test_a_command_for_failures_is_read_without_a_shell():
    assert as_words("mail -s 'it failed' ops") == ["mail", "-s", "it failed", "ops"]
    with pytest.raises(DataProblem, match="the command 'mail \"x' for failures cannot be read: No closing quotation"):
        as_words('mail "x')
    with pytest.raises(DataProblem, match="the command for failures is empty"):
        as_words(" ")


# --- from the command line -------------------------------------------------------------------------------------------

TALK = "print(times)"
TWO = {"North": 6, "South": 6}


@pytest.fixture
def project(tmp_path, monkeypatch):
    write_markets(tmp_path, TWO)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def shelf_of(project: Path) -> Path:
    return project / "reports" / "runs" / project.name


def visible(shelf: Path) -> list[str]:
    return sorted(p.name for p in shelf.iterdir() if not p.name.startswith("."))


@pytest.mark.usefixtures("warm")
def test_a_night_of_the_command(project, capsys, monkeypatch):
    monkeypatch.setattr("cxresearch.runs.folder.package_digest", lambda: "the same")
    assert main(["run", "study.yml", "--each", "market", "--jobs", "2", "--log", "all.jsonl"]) == 0
    out, err = capsys.readouterr()
    *lines, last = out.splitlines()
    assert sorted(line.split()[:2] for line in lines) == [["ok", "North"], ["ok", "South"]]
    assert Path(last).is_file() and err == ""
    assert os.readlink(shelf_of(project) / "latest") == Path(last).parent.name
    assert main(["run", "study.yml", "--each", "market", "--log", "all.jsonl", "--keep", "1"]) == 0
    out, _ = capsys.readouterr()
    assert out.splitlines() == ["unchanged since that run; --force makes it again", last]
    assert visible(shelf_of(project)) == sorted([Path(last).parent.name, "latest"])
    logged = [json.loads(line) for line in Path("all.jsonl").read_text(encoding="utf-8").splitlines()]
    assert [e["unchanged"] for e in logged] == [False, False, True, True] and len({e["run"] for e in logged}) == 1
    assert (shelf_of(project) / "latest/North/findings/answer/answer.json").is_file()


@pytest.mark.usefixtures("warm")
def test_a_failed_run_is_kept_but_not_latest_and_calls_for_help(project, capfd):
    write_notebook(project / "notebooks", "answer", TALK)
    assert main(["run", "study.yml", "--jobs", "1"]) == 0
    latest = os.readlink(shelf_of(project) / "latest")
    write_notebook(project / "notebooks", "answer", "1/0")
    text = (project / "study.yml").read_text(encoding="utf-8")
    call = f"[{sys.executable}, -c, \"import os; print(os.environ['CXRESEARCH_FAILED_RUN'])\"]"
    (project / "study.yml").write_text(text + f"  nightly: {{on_failure: {call}}}\n", encoding="utf-8")
    capfd.readouterr()
    assert main(["run", "study.yml", "nightly"]) == 1
    assert os.readlink(shelf_of(project) / "latest") == latest
    runs = visible(shelf_of(project))
    assert len(runs) == 3 and str(shelf_of(project)) in capfd.readouterr().out


def test_refusals_call_for_help_too(project, capfd):
    os.utime("answers.csv", (1, 1))
    text = (project / "study.yml").read_text(encoding="utf-8").replace("id: person", "id: person\n    max_age: 3 days")
    (project / "study.yml").write_text(text, encoding="utf-8")
    call = f"{sys.executable} -c \"import os; print(os.environ['CXRESEARCH_FAILURE'])\""
    assert main(["run", "study.yml", "--on-failure", call]) == 2
    out, err = capfd.readouterr()
    assert "answers.csv was last changed" in out and "max_age is 3 days" in err
    assert list(shelf_of(project).glob("2*")) == []


# --- two at once, and killed at a random moment ----------------------------------------------------------------------


def start(project: Path, *options: str) -> subprocess.Popen:
    command = [sys.executable, "-m", "cxresearch", "run", "study.yml", "--each", "market", "--jobs", "2", *options]
    return subprocess.Popen(command, cwd=project, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


MOST_WRITTEN = 40  # about as many files as a batch of two reports writes


def files_below(folder: Path) -> int:
    return sum(len(files) for _, _, files in os.walk(folder))


def require_whole(run: Path) -> None:
    """A folder that can be seen is a whole batch: every report that its record names, and all of their files."""
    record = json.loads((run / "run.json").read_text(encoding="utf-8"))
    assert record["format"] == BATCH and record["status"] == "ok" and len(record["reports"]) == 2
    for report in record["reports"]:
        inner = json.loads((run / report["folder"] / "run.json").read_text(encoding="utf-8"))
        assert inner["status"] == "ok"
        for part in ("index.html", "answer.html", "answer.ipynb", "findings/answer/answer.json"):
            assert (run / report["folder"] / part).stat().st_size > 0
    assert (run / "index.html").read_text(encoding="utf-8").rstrip().endswith("</html>")


REPEATED = [1, *(pytest.param(k, marks=pytest.mark.soak) for k in range(2, 51))]


@pytest.mark.parametrize("repetition", REPEATED)
def test_two_batches_at_once_neither_mix_nor_block(project, repetition):
    runs = [start(project, "--force") for _ in range(2)]
    ends = [run.communicate(timeout=300) for run in runs]
    assert [run.returncode for run in runs] == [0, 0], ends
    made = [project / out.splitlines()[-1] for out, _ in ends]
    assert made[0] != made[1]
    for index in made:
        require_whole(index.parent)
    assert os.readlink(shelf_of(project) / "latest") in {index.parent.name for index in made}
    assert broken_off(shelf_of(project)) == [] and not list(shelf_of(project).glob(".2*"))


@pytest.mark.usefixtures("warm")
@pytest.mark.parametrize("seed", REPEATED)
def test_a_batch_killed_at_a_random_moment_leaves_nothing_that_looks_whole(project, seed, capsys):
    """It is killed when it has written some files; what can be seen is whole, the next start takes over and cleans up."""
    written, run = random.Random(seed).randrange(MOST_WRITTEN), start(project, "--force")
    wait_for(lambda: run.poll() is not None or files_below(shelf_of(project)) >= written, "the batch is that far")
    children = descendants(run.pid)
    run.kill()
    run.communicate()
    for name in set(visible(shelf_of(project))) - {"latest"} if shelf_of(project).is_dir() else ():
        require_whole(shelf_of(project) / name)
    wait_for_end(children)
    assert main(["run", "study.yml", "--each", "market"]) == 0
    require_whole((project / capsys.readouterr().out.splitlines()[-1]).parent)
    assert not [p for p in shelf_of(project).glob(".2*") if p.is_dir()]


def test_a_broken_off_batch_is_taken_over(project, pool):
    """The report that was finished when SIGTERM came is linked by the next start, the other one is made."""
    slow = "import time\ntime.sleep(0 if 'North' in study else 600)"
    write_notebook(project / "notebooks", "answer", slow)
    run = start(project)
    shelf = shelf_of(project)
    assert run.stdout.readline().split()[:2] == ["ok", "North"]
    children = descendants(run.pid)
    assert children and run.poll() is None
    run.send_signal(signal.SIGTERM)
    out, err = run.communicate(timeout=PATIENCE)
    assert run.returncode == 130 and "interrupted; reports kept for the next start: 1" in err
    wait_for_end(children)
    assert visible(shelf) == []
    (left,) = broken_off(shelf)
    assert [p.name for p in left.iterdir() if p.is_dir()] == ["North"]
    assert list(reports_made([left]).values()) == [left / "North"]
    write_run(shelf / "20260101T030000Z", finished=night(1))
    batch = plan_run(project / "study.yml", each=["market"], notebooks=project / "notebooks")
    made = make_run(batch, shelf / "20260102T030000Z", pool=pool, timeout=1)
    assert [(r.report, r.status, r.unchanged) for r in made.reports] == [
        ("North", "ok", True),
        ("South", "failed", False),
    ]
    assert broken_off(shelf) == [] and not left.exists()


# --- data that change under way, latest, ends ------------------------------------------------------------------------

APPENDS = """
with open(OTHER, "a", encoding="utf-8") as file:
    file.write("late,2024,1,North\\n")
"""


@pytest.mark.usefixtures("warm")
@pytest.mark.parametrize("each", [[], ["--each", "market"]])
@pytest.mark.parametrize("reads_again", [False, True])
def test_data_that_change_while_a_run_is_under_way_fail_it(project, capsys, each, reads_again):
    """Rows appended by somebody: seen by the next notebook that reads, or at the end."""
    answers = str(project / "answers.csv")
    write_notebook(project / "notebooks", "answer", "1")
    write_notebook(project / "notebooks", "m_appends", APPENDS.replace("OTHER", repr(answers)))
    if reads_again:
        write_notebook(project / "notebooks", "z_reads", "import cxresearch as cx\ncx.open_study(study).responses")
    status = main(["run", "study.yml", *each, "--jobs", "1", "--only", "answer", "m_appends", *["z_reads"] * reads_again])
    out, err = capsys.readouterr()
    assert status != 0 and "answers.csv changed" in out + err
    assert "latest" not in (p.name for p in shelf_of(project).iterdir())
    assert not [r for r in runs_on(shelf_of(project)) if Record.read(r)[1].status == "ok"]


@pytest.mark.usefixtures("warm")
def test_latest_follows_the_data_back_and_a_run_of_some_notebooks_counts_for_nothing(project, capsys, monkeypatch):
    write_notebook(project / "notebooks", "answer", TALK)
    write_notebook(project / "notebooks", "other", TALK)
    first = (project / "answers.csv").read_bytes()
    text = (project / "study.yml").read_text(encoding="utf-8")
    (project / "study.yml").write_text(text + "  nightly: {keep: 1, notebooks: [answer, other]}\n", encoding="utf-8")

    def run(*more) -> str:
        assert main(["run", "study.yml", *more, "--jobs", "1"]) == 0
        return Path(capsys.readouterr().out.splitlines()[-1]).parent.name

    latest = shelf_of(project) / "latest"
    before = run()
    (project / "answers.csv").write_bytes(first + b"new,2024,1,North\n")
    assert run() == os.readlink(latest) != before
    (project / "answers.csv").write_bytes(first)
    assert run() == before == os.readlink(latest)
    night = run("nightly")
    run("nightly", "--only", "answer")
    assert os.readlink(latest) == night and (latest / "run.json").is_file()


@pytest.mark.parametrize(
    ("spoilt", "status", "told"),
    [("raise KeyboardInterrupt", 130, "KeyboardInterrupt"), ("raise MemoryError('no memory')", 3, "no memory")],
)
def test_every_end_that_is_not_well_calls_for_help(project, capfd, monkeypatch, spoilt, status, told):
    def spoil(*_, **__):
        exec(spoilt)

    monkeypatch.setattr("cxresearch.runs.make.plan_run", spoil)
    call = f"{sys.executable} -c \"import os; print('help:', os.environ['CXRESEARCH_FAILURE'])\""
    assert main(["run", "study.yml", "--on-failure", call]) == status
    out, err = capfd.readouterr()
    assert f"help: {told}\n" in out and (status != 3 or "ours to mend" in err)


def test_what_a_killed_run_left_is_swept_wherever_it_lies(project, warm):
    left = project / "elsewhere" / f".out-{os.getpid()}-abcdef"
    left.mkdir(parents=True)
    write_notebook(project / "notebooks", "answer", "1")
    assert main(["run", "study.yml", "--out", "elsewhere/out"]) == 0
    assert [p.name for p in left.parent.iterdir()] == ["out"]


ALL_OF_A_BATCH = ("run.json", "index.html", "log.jsonl")


@pytest.mark.usefixtures("warm")
def test_a_batch_is_signed_compared_verified_and_made_into_a_deck(project, capsys):
    out = ["--out", "reports/runs/mine"]
    assert main(["run", "study.yml", "--each", "market", "--jobs", "1", *out]) == 0
    capsys.readouterr()
    batch = project / "reports" / "runs" / "mine"
    assert main(["compare", str(batch), str(batch)]) == 0
    assert capsys.readouterr().out == "nothing changed: 2 findings the same to six digits\n"
    assert main(["sign", str(batch), "--name", "Ada"]) == 0
    assert main(["verify", str(batch)]) == 0
    out, _ = capsys.readouterr()
    assert out.endswith("14 of 14 files are byte-identical\n"), out
    assert main(["deck", str(batch), "--out", "two.pptx"]) == 0 and (project / "two.pptx").is_file()
    capsys.readouterr()
    (batch / "North" / ".hidden").touch()
    (batch / "South" / "empty").mkdir()
    (batch / "link").symlink_to("North")
    assert main(["sign", str(batch)]) == 1
    assert "Void: since then North/.hidden, South/empty/, link changed." in capsys.readouterr().out
    for name, was, now in (("North/answer.html", "24", "25"), *((n, "is 6.", "is 66.") for n in ALL_OF_A_BATCH)):
        text = (batch / name).read_text(encoding="utf-8")
        (batch / name).write_text(text.replace(was, now, 1), encoding="utf-8")
    assert main(["verify", str(batch)]) == 1
    differs = [line for line in capsys.readouterr().out.splitlines() if line.startswith("differs")]
    assert differs[0] == "differs  North/.hidden: not in the repetition"
    changed = ("North/answer.html", *ALL_OF_A_BATCH[1:])
    assert differs[1:] == [f"differs  {name}: not the same to six digits" for name in changed]
