"""Reports on a Dask cluster: two real worker processes, one of them killed midway."""

import json
import os
import signal
import threading
from concurrent.futures import CancelledError

import pytest
from test_runs_batch import SAYS, batch_of, write_markets
from tiny import tree
from waiting import wait_for_end

from cxresearch.cli import main
from cxresearch.errors import StudyProblem
from cxresearch.runs.execution import ClusterPool, trouble_there
from cxresearch.runs.folder import package_digest
from cxresearch.runs.make import make_run
from cxresearch.runs.plan import Task

MARKETS = {f"m{k}": 6 for k in range(6)}


class Lost:
    """A cluster that gives up without a word: what distributed's client does, as far as it is asked here."""

    closed = 0
    fails = True

    def __init__(self, *_, **__):
        type(self).closed = 0

    def close(self):
        type(self).closed += 1

    def get_executor(self, **_):
        return self

    def nthreads(self):
        return {"a": 1}

    def run(self, *_):
        if self.fails:
            raise CancelledError
        return {"a": None}

    def submit(self, *_):
        return self

    def result(self):
        raise CancelledError


def test_a_cluster_that_gives_up_without_a_word_is_left_in_order(monkeypatch, tmp_path):
    distributed = pytest.importorskip("distributed")
    monkeypatch.setattr(distributed, "Client", Lost)
    with pytest.raises(CancelledError):
        ClusterPool("tcp://lost:1", inputs=[])
    assert Lost.closed == 1
    monkeypatch.setattr(Lost, "fails", False)
    task = Task("answer", tmp_path, "", None, {}, {}, None, None)
    with ClusterPool("tcp://lost:1", inputs=[]) as pool:
        entry = pool.execute(task, tmp_path, tmp_path, timeout=1)
    assert Lost.closed == 1
    assert (entry.status, entry.reason) == ("failed", "the cluster could not execute it: CancelledError")


@pytest.fixture(scope="module")
def cluster():
    distributed = pytest.importorskip("distributed")
    options = {"n_workers": 2, "threads_per_worker": 1, "dashboard_address": None, "silence_logs": 50}
    with distributed.LocalCluster(**options) as cluster:
        yield cluster


def inputs(folder) -> list:
    return [folder / "study.yml", folder / "answers.csv"]


def test_the_cluster_gives_what_this_machine_gives(cluster, tmp_path, pool):
    write_markets(tmp_path, {"North": 6, "South": 7})
    batch = batch_of(tmp_path, each=["market"])
    with ClusterPool(cluster.scheduler_address, inputs=inputs(tmp_path)) as there:
        far = make_run(batch, tmp_path / "far", pool=there, reproducible=True)
    near = make_run(batch, tmp_path / "near", pool=pool, reproducible=True)
    assert far.whole and near.whole
    one, other = tree(far.folder), tree(near.folder)
    assert one.keys() == other.keys() and len(one) > 12
    assert [n for n in one if one[n] != other[n] and not n.endswith("log.jsonl")] == []


def test_a_failing_notebook_fails_alone(cluster, tmp_path):
    write_markets(tmp_path, {"North": 6, "South": 7}, notebook="assert 'South' not in study\n" + SAYS)
    with ClusterPool(cluster.scheduler_address, inputs=inputs(tmp_path)) as pool:
        made = make_run(batch_of(tmp_path, each=["market"]), tmp_path / "run", pool=pool)
    assert {r.report: r.status for r in made.reports} == {"North": "ok", "South": "failed"}
    assert made.reports[1].reason.startswith("answer: cell 4: AssertionError")


def test_workers_must_see_the_study_and_run_the_same_package(tmp_path):
    (tmp_path / "a.csv").write_text("12", encoding="utf-8")
    file, absent = str(tmp_path / "a.csv"), str(tmp_path / "b.csv")
    assert trouble_there({file: 2}, package_digest()) is None
    assert trouble_there({absent: 2}, package_digest()) == (
        f"does not see {absent}; put the study where every worker sees it under the same path"
    )
    assert trouble_there({file: 3}, package_digest()) == (
        f"sees another {file}; put the study on a file system that the workers share"
    )
    assert trouble_there({}, "other") == "runs another version of cxresearch; install the same on both"


def test_a_scheduler_that_does_not_answer_is_refused(monkeypatch):
    pytest.importorskip("distributed")
    monkeypatch.setattr("cxresearch.runs.execution.PATIENCE", 1)
    with pytest.raises(StudyProblem, match="^no Dask scheduler answers at tcp://127.0.0.1:9: "):
        ClusterPool("tcp://127.0.0.1:9", inputs=[])


def test_the_command_line_sends_reports_to_a_scheduler(cluster, tmp_path, monkeypatch, capsys):
    write_markets(tmp_path, {"North": 6, "South": 7})
    monkeypatch.chdir(tmp_path)
    command = ["run", "study.yml", "--each", "market", "--out", "out", "--scheduler", cluster.scheduler_address]
    assert main(command) == 0
    assert capsys.readouterr().out.splitlines()[-1] == "out/index.html"
    record = json.loads((tmp_path / "out/North/run.json").read_text(encoding="utf-8"))
    assert record["notebooks"][0]["parameters"]["study"] == "../../study.yml?market=North"


def test_a_killed_worker_loses_no_report(cluster, tmp_path):  # last: what follows would warm another worker
    write_markets(tmp_path, MARKETS, notebook="import time\ntime.sleep(1)\n" + SAYS)
    told, batch = [], batch_of(tmp_path, each=["market"])
    with ClusterPool(cluster.scheduler_address, inputs=inputs(tmp_path)) as pool:
        victim = next(iter(pool._client.run(os.getpid).values()))
        killed = threading.Event()

        def kill(entry):
            told.append(entry)
            if not killed.is_set():
                killed.set()
                os.kill(victim, signal.SIGKILL)

        made = make_run(batch, tmp_path / "run", pool=pool, tell=kill)
    assert killed.is_set() and made.whole and len(made.reports) == len(told) == 6
    assert {r.headline.rpartition(" ")[2] for r in made.reports} == {"6."}
    wait_for_end([victim], "the killed worker ends")
